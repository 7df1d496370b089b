/* ready.c - waiting until a guest or service is ready. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "op/proc.h"
#include "op/program.h"
#include "sys/nlr.h"

#define TRY_MS	   100	/* between two tries of tcp and exec */
#define CONNECT_MS 1000 /* of one try */
#define LOOK_MS	   500	/* who should wake us may lack the memory for it */

static const struct rec ready_table[] = {
	REC(REC_U32, struct op_ready, kind),
	REC(REC_U32, struct op_ready, proc_step),
	REC(REC_U32, struct op_ready, from),
	REC(REC_STR, struct op_ready, pattern),
	REC(REC_IP, struct op_ready, addr),
	REC(REC_U32, struct op_ready, port),
	REC_SUB(struct op_ready, program, program_table),
	REC(REC_U32, struct op_ready, cell_step),
	REC(REC_U32, struct op_ready, after_ms),
	REC(REC_U32, struct op_ready, timeout_ms),
	REC(REC_STR, struct op_ready, node),
	REC_END,
};

/* Lets ms pass, serving everybody else. 0, or -ECANCELED. */
static int ready_pause(struct ctx *ctx, int64_t until)
{
	int r = ctx->wait(ctx, -1, 0, until);

	return r < 0 ? r : 0;
}

static int try_tcp(struct ctx *ctx, const struct op_ready *ready, int64_t deadline, struct err *err)
{
	int family = ready->addr.family == 4 ? AF_INET : AF_INET6, r, error = 0;
	struct sockaddr_in in4 = { .sin_family = AF_INET,
				   .sin_port = htons((uint16_t)ready->port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons((uint16_t)ready->port) };
	socklen_t len = sizeof error;
	autofd int fd = -1;
	int64_t until = io_now_ms() + CONNECT_MS;

	r = ctx_enter(ctx, ready->from, err);
	if (r < 0)
		return r;
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, -errno, "socket");
	memcpy(&in4.sin_addr, ready->addr.b, 4);
	memcpy(&in6.sin6_addr, ready->addr.b, 16);
	r = family == AF_INET ? connect(fd, (struct sockaddr *)&in4, sizeof in4)
			      : connect(fd, (struct sockaddr *)&in6, sizeof in6);
	if (r < 0 && errno != EINPROGRESS)
		return 0;
	r = ctx->wait(ctx, fd, POLLOUT, until < deadline ? until : deadline);
	if (r <= 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error)
		return 0;
	return 1;
}

static int try_exec(struct ctx *ctx, uint32_t i, int64_t deadline, struct err *err)
{
	const struct op_ready *ready = ctx_step(ctx, i)->args;
	autofd int pidfd = ctx_cell(ctx, ready->cell_step, err);
	struct started_program program autoprogram = { 0 };
	struct spawned spawned = SPAWNED_NONE;
	int r;

	if (pidfd < 0)
		return pidfd;
	r = program_fill(ctx, &ready->program, NULL, &program, err);
	if (r < 0)
		return r;
	r = spawn_run(
		&(struct spawn){
			.argv = (const char *const *)program.argv,
			.env = (const char *const *)program.env,
			.cwd = ctx->dir,
			.in = -1,
			.out = -1,
			.err = -1,
			.tty = -1,
			.cell = pidfd,
			.netns = -1,
			.mntns = -1,
			.die_with_parent = true,
			.nofile = ctx->nofile,
			.uid = -1,
			.gid = -1,
			.rights = RIGHTS_NODE,
		},
		&spawned, err);
	if (r < 0)
		return err_wrap(err, "ready: exec \"%s\"", program_name(&ready->program));
	r = program_wait(ctx, &spawned, (uint32_t)io_left_ms(deadline), err);
	fd_closep(&spawned.pidfd);
	return r == 0 ? 1 : r == -ECANCELED ? r : 0;
}

/* With STP a port carries nothing while it listens and learns; in a loop some end up blocked. */
static int try_stp(struct ctx *ctx, const struct step *step, struct err *err)
{
	const struct op_ready *ready = step->args;
	struct arena arena = ARENA_NONE;
	struct nlr_view view;
	int r = ctx_enter(ctx, step->space, err), forward = 0, undecided = 0;

	if (r == 0)
		r = arena_init(&arena, (size_t)256 << 20, err);
	if (r == 0)
		r = nlr_view(&arena, &view, err);
	for (int i = 0; r == 0 && i < view.n_links; i++)
		if (view.links[i].master == ready->port) {
			forward += view.links[i].port_state == BR_STATE_FORWARDING;
			undecided += view.links[i].port_state == BR_STATE_LISTENING ||
				     view.links[i].port_state == BR_STATE_LEARNING;
		}
	arena_free(&arena);
	return r < 0 ? r : forward && !undecided;
}

static int try_once(struct ctx *ctx, uint32_t i, int64_t deadline, struct err *err)
{
	const struct step *step = ctx_step(ctx, i);
	const struct op_ready *ready = step->args;

	if (ready->kind == WAIT_TCP)
		return try_tcp(ctx, ready, deadline, err);
	if (ready->kind == WAIT_EXEC)
		return try_exec(ctx, i, deadline, err);
	return try_stp(ctx, step, err);
}

static int ready_console(struct ctx *ctx, struct proc *proc, int64_t deadline, struct err *err)
{
	char byte;

	while (!proc->seen && proc->state == PROC_RUNNING) {
		int64_t look = io_now_ms() + LOOK_MS;
		int r = ctx->wait(ctx, proc->notify[0], POLLIN, look < deadline ? look : deadline);

		if (r == 0 && io_now_ms() >= deadline)
			return 0;
		if (r < 0)
			return err_sys(err, r, "not waited for");
		if (r > 0)
			(void)!read(proc->notify[0], &byte, 1);
	}
	return proc->seen;
}

static const char *ready_words(const struct op_ready *ready, char out[256])
{
	char ip[IP_TEXT];

	switch ((enum ready_wait)ready->kind) {
	case WAIT_CONSOLE:
		(void)snprintf(out, 256, "console \"%s\"", ready->pattern);
		break;
	case WAIT_TCP:
		(void)snprintf(out, 256, "tcp %s port %u", ip_text(&ready->addr, ip), ready->port);
		break;
	case WAIT_EXEC:
		(void)snprintf(out, 256, "exec \"%s\"", program_name(&ready->program));
		break;
	case WAIT_AFTER:
		(void)snprintf(out, 256, "%g s", ready->after_ms / 1000.0);
		break;
	case WAIT_STP:
		(void)snprintf(out, 256, "its ports to forward");
		break;
	}
	return out;
}

/* "vm1 was not ready in 60 s (waited for console "login:")" and its last words. */
static int ready_failed(struct ctx *ctx, uint32_t i, struct proc *proc, struct err *err)
{
	const struct step *step = ctx_step(ctx, i);
	const struct op_ready *ready = step->args;
	const struct op_proc *op = proc ? ctx_step(ctx, proc->step)->args : NULL;
	char words[256], status[64];

	if (proc && proc->state != PROC_RUNNING)
		err_set(err, -EREMOTEIO, "it %s before it was ready (waited for %s)",
			spawn_status_words(proc->status, status), ready_words(ready, words));
	else if (io_now_ms() >= ctx->deadline)
		err_set(err, -ETIMEDOUT,
			"not ready when the lab's --timeout was over (waited for %s)",
			ready_words(ready, words));
	else
		err_set(err, -ETIMEDOUT, "not ready in %g s (waited for %s)",
			ready->timeout_ms / 1000.0, ready_words(ready, words));
	if (op)
		program_last_words(ctx, op->log, 0, err);
	return err->code;
}

static int ready_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_ready *ready = ctx_step(ctx, i)->args;
	bool has_proc = ready->kind != WAIT_STP && ready->kind != WAIT_AFTER;
	struct proc *proc = has_proc ? ctx_proc(ctx, ready->proc_step) : NULL;
	int64_t own = io_now_ms() + ready->timeout_ms;
	int64_t deadline = own < ctx->deadline ? own : ctx->deadline;
	int r = 0;

	if (ready->kind == WAIT_AFTER)
		r = ready_pause(ctx, io_now_ms() + ready->after_ms);
	if (ready->kind == WAIT_AFTER)
		return r < 0 ? err_sys(err, r, "not waited for") : 0;
	if (ready->kind == WAIT_CONSOLE) {
		r = ready_console(ctx, proc, deadline, err);
		return r < 0 ? r : r > 0 ? 0 : ready_failed(ctx, i, proc, err);
	}
	while (io_now_ms() < deadline && (!proc || proc->state == PROC_RUNNING)) {
		r = try_once(ctx, i, deadline, err);
		if (r > 0)
			return 0;
		if (r == 0)
			r = ready_pause(ctx, io_now_ms() + TRY_MS);
		if (r < 0)
			return r == -ECANCELED ? err_sys(err, r, "not waited for") : r;
	}
	return ready_failed(ctx, i, proc, err);
}

static void ready_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_ready *ready = step->args;
	char words[256];

	(void)plan;
	strbuf_printf(out, "wait for %s", ready_words(ready, words));
	if (ready->kind != WAIT_AFTER)
		strbuf_printf(out, ", at most %g s", ready->timeout_ms / 1000.0);
}

const struct op op_ready = {
	.name = "ready",
	.args = ready_table,
	.size = sizeof(struct op_ready),
	.apply = ready_apply,
	.describe = ready_describe,
	.undone_by = "nothing",
};
