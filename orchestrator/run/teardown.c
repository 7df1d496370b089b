/* teardown.c - see teardown.h.
 *
 *   programs (SIGTERM, a grace, SIGKILL; all at once) ─▶ down hooks, while our TAP fds are open ─▶
 *   what else runs inside ─▶ many links by group, one message a namespace ─▶ TAP fds ─▶ namespaces,
 *   back to back ─▶ what is in the host ─▶ the run directory ─▶ the kernel has let go, if somebody waits
 *
 * Each phase tells what it could not do and goes on: a failure never keeps the rest from being undone.
 */
#include "run/teardown.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "run/fault.h"
#include "sys/ns.h"
#include "sys/pidfd.h"

#define KILL_MS	   3000	 /* SIGKILL takes effect well within this */
#define LINKS_MS   60000 /* a thousand TAPs are deleted in less than a second */
#define TURN_MS	   1	 /* between two looks at what does not tell by itself */
#define CLOSE_MAX  512	 /* queues: about where both take the same time */
#define CONFIRM_MS 60000 /* the kernel lets go of thousands of namespaces in a few seconds */

static int plain_wait(struct ctx *ctx, int fd, short events, int64_t deadline)
{
	(void)ctx;
	if (fd >= 0)
		return io_wait(fd, events, deadline);
	(void)poll(NULL, 0, io_left_ms(deadline));
	return 0;
}

/* ---- memory: without any left a lab comes down all the same */

struct victim {
	int pidfd;
	uint32_t step;
};

struct way_down {
	struct victim *programs, *cells; /* room for one a step */
	struct ns_id *spaces;
};

static struct way_down *way_down(int n_steps)
{
	size_t n = (size_t)n_steps;
	struct way_down *way =
		calloc(1, sizeof *way + n * (sizeof *way->spaces + 2 * sizeof *way->programs));

	if (!way)
		return NULL;
	way->spaces = (struct ns_id *)(void *)(way + 1);
	way->programs = (struct victim *)(void *)(way->spaces + n);
	way->cells = way->programs + n;
	return way;
}

int teardown_ctx(struct ctx *ctx, struct journal *journal, const char *run, int run_fd,
		 bool have_fds, struct err *err)
{
	int r;

	*ctx = CTX_NONE;
	ctx->plan = journal->plan;
	ctx->slots = journal->slots;
	ctx->dir = journal->meta.dir;
	ctx->run = run;
	ctx->run_fd = run_fd;
	ctx->env = (const char *const *)journal->meta.env;
	ctx->nofile = journal->meta.nofile;
	ctx->owner_uid = journal->meta.owner_uid;
	ctx->trust_hooks = journal->meta.trust_hooks;
	ctx->have_fds = have_fds;
	ctx->wait = plain_wait;
	ctx->deadline = INT64_MAX;
	ctx->host_net = ns_self("net", err);
	if (ctx->host_net < 0)
		return ctx->host_net;
	r = nlb_init(&ctx->batch, err);
	if (r == 0)
		ctx->way_down = way_down(ctx->plan->n_steps);
	return r < 0 || ctx->way_down ? r : err_sys(err, -ENOMEM, "no memory to come down with");
}

void teardown_free(struct ctx *ctx)
{
	nlb_free(&ctx->batch);
	free(ctx->way_down);
	ctx->way_down = NULL;
	fd_closep(&ctx->host_net);
}

void teardown_problem(struct teardown_result *result, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	result->left = true;
	strbuf_printf(&result->problems, "%s%s", result->problems.len ? "\n" : "", text);
}

/* ---- programs */

struct victims {
	struct victim *v;
	int n;
};

#define OP_BIT(op) (UINT64_C(1) << (op))

/* Programs of these ops that still run, in room for all. */
static struct victims victims_of(struct ctx *ctx, uint64_t ops, struct victim *room,
				 struct teardown_result *result)
{
	struct victims victims = { .v = room };

	for (int i = 0; i < ctx->plan->n_steps; i++) {
		const struct spawn_mark *mark = &ctx->slots[i].mark;
		int pidfd;

		if (!(OP_BIT(ctx->plan->steps[i].op) & ops) || !mark->pid)
			continue;
		pidfd = spawn_pidfd(mark->pid, mark->start_time);
		if (pidfd >= 0)
			victims.v[victims.n++] = (struct victim){ pidfd, (uint32_t)i };
		else if (pidfd != -ESRCH)
			teardown_problem(result, "%s: its process cannot be reached: %s",
					 ctx->plan->steps[i].what, strerror(-pidfd));
	}
	return victims;
}

static void victims_signal(const struct victims *victims, int sig)
{
	for (int i = 0; i < victims->n; i++)
		if (victims->v[i].pidfd >= 0)
			(void)pidfd_signal(victims->v[i].pidfd, sig);
}

/* Waits for all until the deadline, reaping our own. Returns how many are left. */
static int victims_wait(struct victims *victims, int64_t deadline)
{
	int left = 0;

	for (int i = 0; i < victims->n; i++) {
		int status, r;

		if (victims->v[i].pidfd < 0)
			continue;
		r = spawn_wait(victims->v[i].pidfd, deadline, &status);
		if (r == 0 || r == -ENOMEM)
			left++;
		else
			fd_closep(&victims->v[i].pidfd);
	}
	return left;
}

/* Until the first of them ends, or it is time to see whether it cannot. */
static void cells_turn(const struct victims *cells, int64_t deadline)
{
	int64_t turn = io_now_ms() + TURN_MS;
	int i = 0;

	while (cells->v[i].pidfd < 0) /* one is left */
		i++;
	(void)io_wait(cells->v[i].pidfd, POLLIN, turn < deadline ? turn : deadline);
}

/* The same for inits of cells. One ends only when the programs that joined it are reaped: those of
 * a killed worker are ours. With both dead they are the host's init's, and where that does not reap
 * (in many a container) a cell's init never gets to its end: it is enough that it has let go. */
static int cells_wait(const struct ctx *ctx, struct victims *cells, int64_t deadline)
{
	int left;

	for (;;) {
		while (ctx->have_fds && waitpid(-1, NULL, WNOHANG) > 0)
			;
		left = victims_wait(cells, io_now_ms());
		for (int i = 0; i < cells->n && !ctx->have_fds; i++)
			left -= cells->v[i].pidfd >= 0 &&
				spawn_let_go(ctx->slots[cells->v[i].step].mark.pid);
		if (left <= 0 || io_now_ms() >= deadline)
			return left;
		cells_turn(cells, deadline);
	}
}

static void victims_free(struct victims *victims)
{
	for (int i = 0; i < victims->n; i++)
		fd_closep(&victims->v[i].pidfd);
}

static uint32_t grace_of(const struct ctx *ctx, const struct victims *victims)
{
	uint32_t grace = 0;

	for (int i = 0; i < victims->n; i++) {
		const struct op_proc *proc = ctx_step(ctx, victims->v[i].step)->args;

		grace = proc->grace_ms > grace ? proc->grace_ms : grace;
	}
	return grace;
}

static void count_programs(const struct ctx *ctx, const struct victims *victims,
			   struct teardown_result *result)
{
	for (int i = 0; i < victims->n; i++) {
		const struct op_proc *proc = ctx_step(ctx, victims->v[i].step)->args;

		if (proc->kind == PROC_GUEST)
			result->guests++;
		else
			result->services++;
	}
}

/* Of a hook or a TAP's helper that its starter's death killed, whatever it had started. */
static void stop_abandoned(const struct ctx *ctx, struct teardown_result *result)
{
	char lab[128];

	(void)snprintf(lab, sizeof lab, "TAPNET_LAB=%s", ctx->plan->lab);
	for (int i = 0; i < ctx->plan->n_steps; i++)
		if (OP_BIT(ctx->plan->steps[i].op) & (OP_BIT(OP_HOOK) | OP_BIT(OP_TAP)) &&
		    ctx->slots[i].mark.pid &&
		    (slot_get(&ctx->slots[i]) == SLOT_INTENT ||
		     slot_get(&ctx->slots[i]) == SLOT_UNDOING) &&
		    spawn_kill_session(ctx->slots[i].mark.pid, lab, io_now_ms() + KILL_MS) < 0)
			teardown_problem(result,
					 "%s: what its hook or helper started cannot be killed",
					 ctx->plan->steps[i].what);
}

/* Hooks, execs and bridge helpers that were under way: their whole groups. */
static void stop_commands(struct ctx *ctx, struct teardown_result *result)
{
	struct way_down *way = ctx->way_down;
	struct victims victims = victims_of(ctx, OP_BIT(OP_EXEC) | OP_BIT(OP_HOOK) | OP_BIT(OP_TAP),
					    way->programs, result);

	for (int i = 0; i < victims.n; i++)
		(void)kill(-ctx->slots[victims.v[i].step].mark.pid, SIGKILL);
	victims_signal(&victims, SIGKILL);
	if (victims_wait(&victims, io_now_ms() + KILL_MS))
		teardown_problem(result, "a hook, exec or helper under way cannot be killed");
	victims_free(&victims);
	stop_abandoned(ctx, result);
}

/* Kills our children. How many there are at least, -errno when that cannot be seen. */
static int kill_children(void)
{
	autofd int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	char text[4096], *end;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	int found = 0;

	if (n < 0)
		return -errno;
	text[n] = '\0';
	for (const char *p = text;; p = end) {
		pid_t pid = (pid_t)strtol(p, &end, 10);

		if (pid <= 0 || *end != ' ') /* after each; what is cut off comes the next time */
			return found;
		found++;
		(void)kill(pid, SIGKILL);
	}
}

/* Those of hooks whose lab's processes are both dead came to the host's init: what they have of a
 * hook's environment tells them. */
static void stop_daemons(const struct ctx *ctx, struct teardown_result *result)
{
	static const char *const events[] = { "TAPNET_EVENT=up", "TAPNET_EVENT=down", NULL };
	char lab[128];

	(void)snprintf(lab, sizeof lab, "TAPNET_LAB=%s", ctx->plan->lab);
	if (spawn_kill_env(lab, events, io_now_ms() + KILL_MS) < 0)
		teardown_problem(result, "a process that a hook left cannot be killed");
}

/* Daemons of hooks, helpers of a killed worker: whatever came to guardian or worker as their
 * reaper. The children of a `gc` may be those of the shell that became it. */
static void stop_orphans(struct teardown_result *result)
{
	int64_t deadline = io_now_ms() + KILL_MS;

	for (;;) {
		int n = kill_children();

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (n == 0)
			return;
		if (io_now_ms() > deadline) {
			teardown_problem(result,
					 "a process that a hook left cannot be seen or killed");
			return;
		}
		(void)poll(NULL, 0, 1);
	}
}

static void stop_programs(struct ctx *ctx, struct teardown_result *result)
{
	struct way_down *way = ctx->way_down;
	struct victims procs = victims_of(ctx, OP_BIT(OP_PROC), way->programs, result),
		       cells = victims_of(ctx, OP_BIT(OP_CELL), way->cells, result);

	count_programs(ctx, &procs, result);
	victims_signal(&procs, SIGTERM);
	if (victims_wait(&procs, io_now_ms() + grace_of(ctx, &procs)))
		victims_signal(&procs, SIGKILL);
	victims_signal(&cells, SIGKILL); /* and everything in their pid namespaces */
	if (victims_wait(&procs, io_now_ms() + KILL_MS) ||
	    cells_wait(ctx, &cells, io_now_ms() + KILL_MS))
		teardown_problem(result, "a guest or service cannot be killed");
	victims_free(&procs);
	victims_free(&cells);
}

static int by_inode(const void *a, const void *b)
{
	const struct ns_id *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* What `exec` and `shell` left in a node is found by the node's namespace. Where we do not hold it,
 * it may be dead and its inode another's: then only one with a cookie is known for sure. */
static void stop_inside(struct ctx *ctx, struct teardown_result *result)
{
	struct ns_id *ids = ((struct way_down *)ctx->way_down)->spaces;
	struct err err;
	int n = 0, r;

	for (int i = 0; i < ctx->plan->n_steps; i++)
		if (ctx->plan->steps[i].op == OP_NETNS && ctx->slots[i].ns.inode &&
		    (ctx->have_fds || ctx->slots[i].ns.cookie))
			ids[n++] = ctx->slots[i].ns;
	if (!n)
		return;
	qsort(ids, (size_t)n, sizeof *ids, by_inode);
	r = ns_kill_inside(ids, n, io_now_ms() + KILL_MS, &err);
	if (r < 0)
		teardown_problem(result, "%s", err.msg);
	else
		result->killed += r;
}

/* ---- hooks */

static bool armed(const struct ctx *ctx, int i)
{
	enum slot_state state = slot_get(&ctx->slots[i]);

	return state == SLOT_INTENT || state == SLOT_DONE || state == SLOT_UNDOING;
}

static void undo_phase(struct ctx *ctx, enum undo_phase phase, struct teardown_result *result)
{
	for (int i = ctx->plan->n_steps - 1; i >= 0; i--) {
		const struct op *op = op_of(&ctx->plan->steps[i]);
		struct err err = { 0 };

		if (op->phase != phase || !armed(ctx, i) || fault_leak((uint32_t)i))
			continue;
		if (op->undo(ctx, (uint32_t)i, &err) == 0)
			slot_set(&ctx->slots[i], SLOT_UNDONE);
		else /* the next `gc` finds it armed, unless it is known to have had its turn */
			teardown_problem(result, "%s: %s", ctx->plan->steps[i].what, err.msg);
	}
}

/* Of a teardown before this one, that nobody heard. */
static void tell_lost(const struct ctx *ctx, struct teardown_result *result)
{
	for (int i = 0; i < ctx->plan->n_steps; i++)
		if (slot_get(&ctx->slots[i]) == SLOT_LOST)
			teardown_problem(result, "%s: its down hook failed before",
					 ctx->plan->steps[i].what);
}

void teardown_told(struct ctx *ctx)
{
	for (int i = 0; i < ctx->plan->n_steps; i++)
		if (slot_get(&ctx->slots[i]) == SLOT_LOST)
			slot_set(&ctx->slots[i], SLOT_UNDONE);
}

static void down_hooks(struct ctx *ctx, struct teardown_result *result)
{
	for (int i = 0; i < ctx->plan->n_steps; i++)
		if (ctx->plan->steps[i].op == OP_HOOK && armed(ctx, i) &&
		    ((const struct op_hook *)ctx->plan->steps[i].args)->down.argc)
			result->hooks++;
	undo_phase(ctx, UNDO_HOOK, result);
}

/* ---- links, fds, namespaces */

/* In which namespaces the links are to be deleted before the fds are closed. The kernel waits for all processors once a
 * group, and a little for each queue that is closed: few are sooner closed. But a TAP that does not
 * persist it deletes at its close, alone; and with one of somebody else's, in the switch, the
 * namespace would stay. */
struct groups {
	bool all, switch_too;
};

static struct groups groups_of(const struct ctx *ctx, const struct journal_head *head)
{
	bool helped = false;
	uint32_t queues = 0;

	for (int i = 0; i < ctx->plan->n_steps; i++) {
		const struct op_tap *tap = ctx->plan->steps[i].args;

		if (ctx->plan->steps[i].op != OP_TAP || !armed(ctx, i))
			continue;
		queues += tap->queues;
		helped = helped || tap->source == TAP_HELPED;
	}
	return (struct groups){ .all = queues > CLOSE_MAX, .switch_too = helped || head->plugged };
}

static bool by_group(const struct ctx *ctx, const struct groups *groups, uint32_t space)
{
	return (groups->all && ctx->plan->spaces[space].taps) ||
	       (groups->switch_too && space == SPACE_SWITCH);
}

static void delete_groups(struct ctx *ctx, const struct journal_head *head,
			  struct teardown_result *result)
{
	const struct groups groups = groups_of(ctx, head);

	for (int i = 0; i < ctx->plan->n_steps; i++) {
		const struct step *step = &ctx->plan->steps[i];
		struct err err = { 0 };
		int nl, r;

		if (step->op != OP_NETNS || slot_get(&ctx->slots[i]) != SLOT_DONE ||
		    !by_group(ctx, &groups, step->space))
			continue;
		nl = ctx_nl(ctx, step->space, &err);
		if (nl < 0)
			continue; /* never made, or gone: then its links are too */
		nlb_delgroup(&ctx->batch, (uint32_t)i, LINK_GROUP);
		r = nlb_flush(&ctx->batch, nl, io_now_ms() + LINKS_MS, &err);
		if (r < 0 && r != -ENODEV) /* no link has the group */
			teardown_problem(result, "links of %s: %s", step->what, strerror(-r));
	}
	ctx_leave(ctx);
}

static void count_made(const struct ctx *ctx, struct teardown_result *result)
{
	for (int i = 0; i < ctx->plan->n_steps; i++) {
		if (!armed(ctx, i))
			continue;
		result->taps += ctx->plan->steps[i].op == OP_TAP;
		result->namespaces += ctx->plan->steps[i].op == OP_NETNS;
	}
}

/* TAPs first: a namespace goes with its last holder. */
static void close_fds(struct ctx *ctx, struct teardown_result *result)
{
	undo_phase(ctx, UNDO_FD, result);
	if (ctx->have_fds)
		(void)close_range(FD_PLANNED, (unsigned)ctx->plan->fd_end - 1, 0);
}

void teardown_confirm(struct teardown_result *result)
{
	struct err err;

	if (result->sensor.sock >= 0 && !result->sensor.going)
		(void)ns_sensor_armed(&result->sensor, &err);
	if (result->sensor.sock >= 0 &&
	    ns_sensor_wait(&result->sensor, io_now_ms() + CONFIRM_MS, &err) < 0)
		teardown_problem(result, "%s", err.msg);
	result->ms = io_now_ms() - result->start;
}

void teardown_run(struct ctx *ctx, struct journal *journal, bool confirm,
		  struct teardown_result *result)
{
	struct err err;

	*result = (struct teardown_result){ .start = io_now_ms(),
					    .sensor = NS_SENSOR_NONE,
					    .problems = STRBUF_INIT };
	journal->head->state = JOURNAL_DOWN;
	ctx->wait = plain_wait; /* a worker's own loop is closed by now */
	tell_lost(ctx, result);
	stop_commands(ctx, result);
	stop_programs(ctx, result);
	count_made(ctx, result);
	down_hooks(ctx, result); /* they may stop what the up hooks started; then we do */
	stop_inside(ctx, result);
	if (ctx->have_fds)
		stop_orphans(result);
	else
		stop_daemons(ctx, result);
	if (confirm && result->namespaces > 0)
		(void)ns_sensor_arm(&result->sensor, &err);
	if (ctx->have_fds)
		delete_groups(ctx, journal->head, result);
	ctx_leave(ctx);
	if (ctx->have_fds) /* else the namespaces were dropped before */
		(void)ns_sensor_armed(&result->sensor, &err); /* it took its time meanwhile */
	close_fds(ctx, result);
	if (ctx->have_fds)
		ns_sensor_go(&result->sensor);
	undo_phase(ctx, UNDO_HOST, result);
	ctx_leave(ctx);
}

static void word(struct strbuf *out, int n, const char *one)
{
	if (n)
		strbuf_printf(out, "%s%d %s%s", out->len ? ", " : "", n, one, n == 1 ? "" : "s");
}

void teardown_words(const struct teardown_result *result, struct strbuf *out)
{
	word(out, result->guests, "guest");
	word(out, result->services, "service");
	word(out, result->taps, "TAP");
	word(out, result->namespaces, "namespace");
	word(out, result->hooks, "down hook");
	if (!out->len)
		strbuf_puts(out, "nothing");
}
