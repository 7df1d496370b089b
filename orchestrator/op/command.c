/* command.c - programs that run and end on the way up or down: exec and hooks. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "op/program.h"
#include "sys/ns.h"
#include "sys/trust.h"
#include "sys/tun.h"

#define SAY_MAX ((size_t)64 << 10)

/* ---- exec */

static const struct rec exec_table[] = {
	REC_SUB(struct op_exec, program, program_table),
	REC(REC_U32, struct op_exec, timeout_ms),
	REC(REC_U32, struct op_exec, cell_step),
	REC(REC_STR, struct op_exec, log),
	REC_END,
};

static void exec_say(struct ctx *ctx, uint32_t i, off_t from)
{
	const struct op_exec *exec = ctx_step(ctx, i)->args;
	autofd int fd =
		openat(ctx->run_fd, exec->log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char *text autofree = malloc(SAY_MAX);
	ssize_t n = fd >= 0 && text ? pread(fd, text, SAY_MAX, from) : -1;

	if (n > 0 && ctx->say)
		ctx->say(ctx, ctx_step(ctx, i), text, (size_t)n);
}

static int exec_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_exec *exec = ctx_step(ctx, i)->args;
	autofd int pidfd = ctx_cell(ctx, exec->cell_step, err);
	off_t from = 0;
	struct spawn spawn = { .cell = pidfd,
			       .netns = -1,
			       .mntns = -1,
			       .rights = RIGHTS_NODE,
			       .mark = &ctx->slots[i].mark };
	int r;

	if (pidfd < 0)
		return pidfd;
	r = program_run(ctx, &spawn, &exec->program, exec->log, exec->timeout_ms, &from, err);
	exec_say(ctx, i, from);
	return r < 0 ? err_wrap(err, "exec \"%s\"", program_name(&exec->program)) : 0;
}

static void exec_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_exec *exec = step->args;

	(void)plan;
	strbuf_puts(out, "exec ");
	program_describe(&exec->program, out);
}

const struct op op_exec = {
	.name = "exec",
	.args = exec_table,
	.size = sizeof(struct op_exec),
	.apply = exec_apply,
	.phase = UNDO_PROC,
	.describe = exec_describe,
	.undone_by = "nothing: it has ended",
};

/* ---- hooks: up and down, always in pairs */

static const struct rec hook_table[] = {
	REC_SUB(struct op_hook, up, program_table),
	REC_SUB(struct op_hook, down, program_table),
	REC(REC_U32, struct op_hook, up_timeout_ms),
	REC(REC_U32, struct op_hook, down_timeout_ms),
	REC(REC_INT, struct op_hook, fd),
	REC(REC_U32, struct op_hook, up_fds),
	REC(REC_U32, struct op_hook, down_fds),
	REC(REC_STR, struct op_hook, log),
	REC_END,
};

/* Of a hook that is a file. Root runs none that others could have written; fd -1: it goes by name. */
static int hook_open(const struct ctx *ctx, const struct program *program, struct trusted *ret,
		     struct err *err)
{
	char *name autofree = NULL;

	*ret = TRUSTED_NONE;
	if (geteuid() != 0 || ctx->trust_hooks || !program->argc ||
	    !strchr(program->argv[0], '/') || program_name(program) != program->argv[0]) /* sh -c */
		return 0;
	name = program_expand(ctx, program->argv[0]);
	if (!name)
		return err_sys(err, -ENOMEM, "no memory for a path");
	return trust_open(ctx->dir, name, ctx->owner_uid, ret, err);
}

/* Runs in the step's space; of the host's nothing else is changed for it. fresh: an empty network
 * namespace instead, since the lab's is gone. */
static int hook_run(struct ctx *ctx, uint32_t i, const struct program *program, uint32_t timeout_ms,
		    uint32_t n_fds, int gone, struct err *err)
{
	const struct step *step = ctx_step(ctx, i);
	const struct op_hook *hook = step->args;
	struct spawn_fd *fds autofree = calloc((size_t)n_fds + 1, sizeof *fds);
	const char *more[] = { gone >= 0 ? "TAPNET_GONE=1" : NULL, NULL };
	bool node = step->space > SPACE_SWITCH;
	bool down = program == &hook->down;
	struct trusted file autotrusted = TRUSTED_NONE;
	struct tun_state tap;
	struct err ignored;
	off_t from;
	int r;
	struct spawn spawn = {
		.env = more,
		.cell = -1,
		.netns = step->space == SPACE_HOST ? -1
			 : gone >= 0		   ? gone
						   : ctx->plan->spaces[step->space].fd,
		.mntns = ctx->have_fds ? ctx->plan->spaces[step->space].mounts : -1,
		.hostname = node ? ctx->plan->spaces[step->space].name : NULL,
		.fresh_sys = step->space != SPACE_HOST && !ctx->have_fds,
		.fds = fds,
		.n_fds = hook->fd >= 0 && ctx->have_fds ? (int)n_fds : 0,
		.rights = step->space == SPACE_HOST ? RIGHTS_HELD : RIGHTS_NODE,
		.cwd_optional = down, /* the lab's folder may be gone by then */
		.apart = down,
		.mark = &ctx->slots[i].mark,
	};

	if (!fds)
		return err_sys(err, -ENOMEM, "%s", program_name(program));
	for (int k = 0; k < (int)n_fds; k++)
		fds[k] = (struct spawn_fd){ .from = hook->fd + k, .to = 3 + k };
	if (hook->fd >= 0 && ctx->have_fds && tun_state(hook->fd, &tap, &ignored) == 0)
		ctx->ifname = tap.name;
	ctx->slots[i].mark = (struct spawn_mark){ 0 };
	r = hook_open(ctx, program, &file, err);
	spawn.file = file.file.fd >= 0 ? &file.file : NULL;
	if (r == 0)
		r = program_run(ctx, &spawn, program, hook->log, timeout_ms, &from, err);
	ctx->ifname = NULL;
	return r;
}

static int hook_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_hook *hook = ctx_step(ctx, i)->args;
	struct trusted down autotrusted = TRUSTED_NONE;
	int r = hook_open(ctx, &hook->down, &down, err);

	if (r == -EPERM) /* what nobody may undo is not done; a file that is not there may come */
		return err_wrap(err, "down hook \"%s\"", program_name(&hook->down));
	if (!hook->up.argc)
		return 0;
	r = hook_run(ctx, i, &hook->up, hook->up_timeout_ms, hook->up_fds, -1, err);
	return r < 0 ? err_wrap(err, "up hook \"%s\"", program_name(&hook->up)) : 0;
}

/* An up hook that never got as far as execve has nothing to undo; its starter's children are dead
 * when the mark is read. */
static bool hook_needs_down(const struct ctx *ctx, uint32_t i)
{
	const struct op_hook *hook = ctx_step(ctx, i)->args;

	if (!hook->down.argc)
		return false;
	return slot_get(&ctx->slots[i]) != SLOT_INTENT || !hook->up.argc ||
	       ctx->slots[i].mark.pid != 0;
}

/* What there was not enough of may be there for the next `gc`. */
static bool is_shortage(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EAGAIN || r == -ENOSPC ||
	       r == -ETIMEDOUT || r == -ECHILD || r == -ENOBUFS || r == -EINTR || r == -EBUSY;
}

static int hook_undo(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct step *step = ctx_step(ctx, i);
	const struct op_hook *hook = step->args;
	autofd int gone = -1;
	int r;

	if (!hook_needs_down(ctx, i))
		return 0;
	if (!ctx->have_fds && step->space != SPACE_HOST) {
		r = ns_make_net(-1, io_now_ms() + hook->down_timeout_ms, err);
		if (r < 0)
			return err_wrap(err, "down hook \"%s\"", program_name(&hook->down));
		gone = r;
		(void)ns_enter_net(ctx->host_net, err);
	}
	slot_set(&ctx->slots[i], SLOT_UNDOING);
	r = hook_run(ctx, i, &hook->down, hook->down_timeout_ms, hook->down_fds, gone, err);
	/* It has run, or cannot: a second time would not be for the better. */
	if (r < 0 && (ctx->slots[i].mark.pid || !is_shortage(r)))
		slot_set(&ctx->slots[i], SLOT_LOST);
	return r < 0 ? err_wrap(err, "down hook \"%s\"", program_name(&hook->down)) : 0;
}

static void hook_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_hook *hook = step->args;

	(void)plan;
	strbuf_puts(out, "up hook ");
	if (hook->up.argc)
		program_describe(&hook->up, out);
	else
		strbuf_puts(out, "-");
	if (hook->down.argc) {
		strbuf_puts(out, "  (down: ");
		program_describe(&hook->down, out);
		strbuf_puts(out, ")");
	}
}

const struct op op_hook = {
	.name = "hook",
	.args = hook_table,
	.size = sizeof(struct op_hook),
	.apply = hook_apply,
	.phase = UNDO_HOOK,
	.undo = hook_undo,
	.describe = hook_describe,
	.undone_by = "its down hook",
};
