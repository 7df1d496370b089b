/* proc.c - cells, guests and services.
 *
 * A cell is a pid namespace with a tiny init (for a node also a mount and a uts namespace); its
 * programs are our children that joined it. So we have their exit status at first hand, and
 * killing the init kills everything that they left.
 */
#include "op/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "op/program.h"
#include "op/taps.h"
#include "sys/pidfd.h"
#include "sys/vhost.h"

#define EXEC_MS	       10000 /* a program is executed well within this */
#define BACKOFF_MS     1000  /* before the first new start; doubled for each, up to: */
#define BACKOFF_MAX_MS 30000
#define LOG_MAX	       ((off_t)64 << 20)

/* ---- cell */

static const struct rec cell_table[] = {
	REC(REC_STR, struct op_cell, hostname),
	REC(REC_U32, struct op_cell, grace_ms),
	REC_END,
};

static int op_cell_start(struct ctx *ctx, uint32_t i, struct spawned *ret_spawned, struct err *err)
{
	const struct step *step = ctx_step(ctx, i);
	const struct op_cell *cell = step->args;
	char hosts[512];
	int n = snprintf(hosts, sizeof hosts, "%s/hosts", ctx->run);

	if (n < 0 || (size_t)n >= sizeof hosts)
		return err_sys(err, -ENAMETOOLONG, "%s", ctx->run);
	return cell_start(
		&(struct cell){
			.guardian = ctx->guardian,
			.netns = cell->hostname ? ctx->plan->spaces[step->space].fd : -1,
			.hostname = cell->hostname,
			.hosts = cell->hostname ? hosts : NULL,
			.grace_ms = cell->grace_ms,
			.mark = &ctx->slots[i].mark,
		},
		ret_spawned, err);
}

static int op_cell_finish(struct ctx *ctx, uint32_t i, struct spawned *spawned, struct err *err)
{
	int r = cell_result(spawned, io_now_ms() + EXEC_MS, err);

	(void)ctx;
	(void)i;
	fd_closep(&spawned->pidfd); /* found again by its mark */
	return r < 0 ? err_wrap(err, "cannot make its process namespace") : 0;
}

static void cell_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_cell *cell = step->args;

	(void)plan;
	if (cell->hostname)
		strbuf_printf(out, "pid, mount and uts namespaces, hostname %s", cell->hostname);
	else
		strbuf_puts(out, "pid namespace");
}

const struct op op_cell = {
	.name = "cell",
	.args = cell_table,
	.size = sizeof(struct op_cell),
	.start = op_cell_start,
	.finish = op_cell_finish,
	.phase = UNDO_PROC,
	.describe = cell_describe,
	.undone_by = "SIGKILL of its init",
};

/* ---- proc */

static const struct rec fd_table[] = {
	REC(REC_INT, struct op_fd, from),
	REC(REC_INT, struct op_fd, to),
	REC_END,
};

static const struct rec proc_table[] = {
	REC_SUB(struct op_proc, program, program_table),
	REC(REC_U32, struct op_proc, kind),
	REC(REC_U32, struct op_proc, cell_step),
	REC(REC_U32, struct op_proc, grace_ms),
	REC(REC_STR, struct op_proc, node),
	REC(REC_STR, struct op_proc, name),
	REC(REC_STR, struct op_proc, log),
	REC_SUBS(struct op_proc, fds, n_fds, fd_table, struct op_fd),
	REC(REC_BOOL, struct op_proc, restart),
	REC_END,
};

/* A pattern is watched from the program's first byte on. */
static int proc_watch(struct proc *proc, const struct step *step, struct err *err)
{
	const struct op_ready *ready = step->args;
	int r = regcomp(&proc->pattern, ready->pattern, REG_EXTENDED | REG_NOSUB);
	char words[128];

	if (r) {
		(void)regerror(r, &proc->pattern, words, sizeof words);
		err_at(err, step->line, step->col);
		return err_set(err, -EINVAL, "console \"%s\": %s", ready->pattern, words);
	}
	proc->watching = true;
	return pipe2(proc->notify, O_CLOEXEC | O_NONBLOCK) < 0 ? err_sys(err, -errno, "pipe") : 0;
}

int procs_init(struct ctx *ctx, struct err *err)
{
	int n = 0, r = 0;

	for (int i = 0; i < ctx->plan->n_steps; i++)
		n += ctx->plan->steps[i].op == OP_PROC;
	ctx->procs = calloc((size_t)n + 1, sizeof *ctx->procs);
	if (!ctx->procs)
		return err_sys(err, -ENOMEM, "no memory for %d programs", n);
	for (int i = 0; i < ctx->plan->n_steps; i++)
		if (ctx->plan->steps[i].op == OP_PROC)
			ctx->procs[ctx->n_procs++] = (struct proc){ .step = (uint32_t)i,
								    .spawned = SPAWNED_NONE,
								    .master = -1,
								    .log = -1,
								    .notify = { -1, -1 } };
	for (int i = 0; i < ctx->plan->n_steps && r == 0; i++) {
		const struct step *step = &ctx->plan->steps[i];
		const struct op_ready *ready = step->args;

		if (step->op == OP_READY && ready->kind == WAIT_CONSOLE)
			r = proc_watch(ctx_proc(ctx, ready->proc_step), step, err);
	}
	return r;
}

struct proc *ctx_proc(struct ctx *ctx, uint32_t step)
{
	for (int k = 0; k < ctx->n_procs; k++)
		if (ctx->procs[k].step == step)
			return &ctx->procs[k];
	return NULL;
}

/* What was opened for one start; the others are the plan's. */
static void proc_fds_close(const struct op_proc *op, struct spawn_fd *fds)
{
	for (int k = 0; k < op->n_fds; k++)
		if (op->fds[k].from < 0)
			fd_closep(&fds[k].from);
}

static int proc_fds(const struct op_proc *op, struct spawn_fd *fds, struct err *err)
{
	int r = 0;

	for (int k = 0; k < op->n_fds; k++)
		fds[k] = (struct spawn_fd){ .from = op->fds[k].from, .to = op->fds[k].to };
	for (int k = 0; k < op->n_fds && r >= 0; k++)
		if (op->fds[k].from < 0)
			r = fds[k].from = vhost_open(err);
	if (r < 0)
		proc_fds_close(op, fds);
	return r < 0 ? r : 0;
}

/* Programs of a node join its cell whole; a guest's cell has pids only, and its place on the
 * network is the step's space. */
static int proc_spawn(struct ctx *ctx, struct proc *proc, struct err *err)
{
	const struct step *step = ctx_step(ctx, proc->step);
	const struct op_proc *op = step->args;
	autofd int slave = -1, pidfd = ctx_cell(ctx, op->cell_step, err);
	struct started_program program autoprogram = { 0 };
	struct spawn_fd *fds autofree = calloc((size_t)op->n_fds + 1, sizeof *fds);
	int r;

	if (pidfd < 0)
		return pidfd;
	if (!fds)
		return err_sys(err, -ENOMEM, "cannot start %s", program_name(&op->program));
	r = program_fill(ctx, &op->program, NULL, &program, err);
	if (r < 0)
		return r;
	fd_closep(&proc->master);
	r = spawn_pty(&proc->master, &slave, err);
	if (r == 0)
		r = proc_fds(op, fds, err);
	if (r < 0)
		return r;
	ctx->slots[proc->step].mark = (struct spawn_mark){ 0 };
	r = spawn_start(
		&(struct spawn){
			.argv = (const char *const *)program.argv,
			.env = (const char *const *)program.env,
			.cwd = ctx->dir,
			.in = -1,
			.out = -1,
			.err = -1,
			.tty = slave,
			.fds = fds,
			.n_fds = op->n_fds,
			.cell = pidfd,
			.netns = op->kind == PROC_GUEST
					 ? (step->space == SPACE_HOST
						    ? -1
						    : ctx->plan->spaces[step->space].fd)
					 : -1,
			.mntns = -1,
			.nofile = ctx->nofile,
			.uid = program.uid,
			.gid = program.gid,
			.rights = RIGHTS_NODE,
			.mark = &ctx->slots[proc->step].mark,
		},
		&proc->spawned, err);
	proc_fds_close(op, fds);
	return r;
}

static int op_proc_start(struct ctx *ctx, uint32_t i, struct spawned *ret_spawned, struct err *err)
{
	const struct op_proc *op = ctx_step(ctx, i)->args;
	struct proc *proc = ctx_proc(ctx, i);
	int r;

	proc->log = program_log(ctx, op->log, err);
	if (proc->log < 0)
		return proc->log;
	if (!proc->tail)
		proc->tail = calloc(1, PROC_TAIL);
	if (!proc->tail)
		return err_sys(err, -ENOMEM, "cannot start %s", program_name(&op->program));
	r = taps_note(ctx, proc, err);
	if (r == 0)
		r = proc_spawn(ctx, proc, err);
	*ret_spawned = proc->spawned;
	return r < 0 ? err_wrap(err, "%s", program_name(&op->program)) : 0;
}

static int proc_collect(struct ctx *ctx, struct proc *proc, struct err *err)
{
	const struct op_proc *op = ctx_step(ctx, proc->step)->args;
	int r = spawn_result(&proc->spawned, io_now_ms() + EXEC_MS, err);

	if (r < 0) {
		fd_closep(&proc->spawned.pidfd);
		return err_wrap(err, "%s", program_name(&op->program));
	}
	proc->state = PROC_RUNNING;
	proc->started_ms = io_now_ms();
	return 0;
}

static int op_proc_finish(struct ctx *ctx, uint32_t i, struct spawned *spawned, struct err *err)
{
	(void)spawned; /* the proc has it */
	return proc_collect(ctx, ctx_proc(ctx, i), err);
}

static void proc_log(struct proc *proc, const char *data, size_t len)
{
	off_t size = proc->log < 0 ? LOG_MAX : lseek(proc->log, 0, SEEK_END);

	if (size < LOG_MAX)
		(void)io_write_all(proc->log, data,
				   len); /* a full disk costs the log, not the guest */
}

static void proc_line(struct proc *proc, char c)
{
	if (c != '\n' && proc->line_len < PROC_LINE - 1) {
		if (c != '\r' && c != '\0')
			proc->line[proc->line_len++] = c;
	}
	proc->line[proc->line_len] = '\0';
	if (c == '\n')
		proc->line_len = 0;
}

static void proc_wake(struct proc *proc)
{
	if (proc->notify[1] >= 0)
		(void)!write(proc->notify[1], "", 1);
}

/* A prompt has no newline at its end, so the unfinished line is looked at as well. */
static void proc_match(struct proc *proc)
{
	if (!proc->watching || proc->seen || regexec(&proc->pattern, proc->line, 0, NULL, 0) != 0)
		return;
	proc->seen = true;
	proc_wake(proc);
}

bool proc_read(struct proc *proc, proc_sink *sink, void *arg)
{
	char data[4096];
	ssize_t n = read(proc->master, data, sizeof data);

	if (n < 0 && errno != EIO) /* not now */
		return true;
	if (n <= 0) /* EIO: nobody holds the other end */
		return false;
	proc_log(proc, data, (size_t)n);
	for (ssize_t k = 0; k < n; k++) {
		if (data[k] == '\n')
			proc_match(proc);
		proc_line(proc, data[k]);
		proc->tail[proc->tail_len++ % PROC_TAIL] = data[k];
	}
	proc_match(proc);
	if (sink)
		sink(arg, proc, data, (size_t)n);
	return true;
}

static int64_t proc_backoff(const struct proc *proc)
{
	int64_t ms = BACKOFF_MS;

	for (unsigned k = 0; k < proc->restarts && ms < BACKOFF_MAX_MS; k++)
		ms *= 2;
	return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

static void proc_note(struct proc *proc, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void proc_note(struct proc *proc, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n > 0)
		proc_log(proc, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* What comes after an end, or after a start that failed. */
static void proc_next(const struct op_proc *op, struct proc *proc)
{
	proc->state = PROC_ENDED;
	if (proc->again) {
		proc->state = PROC_BACKOFF;
		proc->again_ms = io_now_ms();
	} else if (op->restart && (proc->status != 0 || *proc->trouble)) {
		proc->state = PROC_BACKOFF;
		proc->again_ms = io_now_ms() + proc_backoff(proc);
	}
}

/* A guest ends with what it left in its process group: the next one must be alone on the queues.
 * Until it is reaped, nobody else can be given that group's number. */
static void proc_reap(const struct op_proc *op, struct proc *proc)
{
	if (op->kind == PROC_GUEST)
		(void)kill(-proc->spawned.pid, SIGKILL);
	if (spawn_wait(proc->spawned.pidfd, io_now_ms(), &proc->status) < 0)
		proc->status = 0;
	fd_closep(&proc->spawned.pidfd);
	proc->ended_ms = io_now_ms();
	proc->kill_ms = 0;
}

void proc_ended(struct ctx *ctx, struct proc *proc)
{
	const struct op_proc *op = ctx_step(ctx, proc->step)->args;
	char words[64];
	struct err err;

	proc_reap(op, proc);
	proc_note(proc, "[%s %s]\r\n", op->node, spawn_status_words(proc->status, words));
	if (!proc->again && proc->ended_ms - proc->started_ms > PROC_STABLE_MS)
		proc->restarts = 0;
	if (taps_rest(ctx, op, &err) < 0)
		proc_note(proc, "[%s]\r\n", err.msg);
	proc_next(op, proc);
	proc_wake(proc);
}

static int proc_start(struct ctx *ctx, struct proc *proc, struct err *err)
{
	int r = taps_ready(ctx, proc, err);

	if (r == 0)
		r = proc_spawn(ctx, proc, err);
	return r < 0 ? r : proc_collect(ctx, proc, err);
}

int proc_again(struct ctx *ctx, struct proc *proc, struct err *err)
{
	const struct op_proc *op = ctx_step(ctx, proc->step)->args;
	int r = proc_start(ctx, proc, err);
	struct err ignored;

	if (!proc->again)
		proc->restarts++;
	proc->again = false;
	*proc->trouble = '\0';
	if (r == 0)
		return 0;
	(void)snprintf(proc->trouble, sizeof proc->trouble, "%.*s", (int)sizeof proc->trouble - 1,
		       err->msg);
	proc_note(proc, "[%s could not be started: %s]\r\n", op->node, err->msg);
	(void)taps_rest(ctx, op, &ignored);
	proc_next(op, proc);
	return r;
}

void proc_restart(struct ctx *ctx, struct proc *proc)
{
	const struct op_proc *op = ctx_step(ctx, proc->step)->args;

	proc->again = true;
	if (proc->state == PROC_RUNNING) {
		(void)pidfd_signal(proc->spawned.pidfd, SIGTERM);
		proc->kill_ms = io_now_ms() + op->grace_ms;
	} else {
		proc->state = PROC_BACKOFF;
		proc->again_ms = io_now_ms();
	}
}

void proc_free(struct proc *proc)
{
	if (proc->watching)
		regfree(&proc->pattern);
	free(proc->tail);
	free(proc->kept);
	fd_closep(&proc->spawned.pidfd);
	fd_closep(&proc->spawned.report);
	fd_closep(&proc->master);
	fd_closep(&proc->log);
	fd_closep(&proc->notify[0]);
	fd_closep(&proc->notify[1]);
}

static void proc_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_proc *op = step->args;

	(void)plan;
	strbuf_puts(out, op->kind == PROC_GUEST ? "guest " : "service ");
	program_describe(&op->program, out);
}

const struct op op_proc = {
	.name = "proc",
	.args = proc_table,
	.size = sizeof(struct op_proc),
	.start = op_proc_start,
	.finish = op_proc_finish,
	.phase = UNDO_PROC,
	.describe = proc_describe,
	.undone_by = "SIGTERM, a grace, SIGKILL",
};
