/* worker.c - see run.h: builds the lab, then serves it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "run/executor.h"
#include "run/loop.h"
#include "run/run.h"
#include "sys/ns.h"

#define PROGRESS_MS 20 /* no eye sees more */

static int worker_wait(struct ctx *ctx, int fd, short events, int64_t deadline)
{
	return loop_wait(ctx->owner, fd, events,
			 deadline < ctx->deadline ? deadline : ctx->deadline);
}

static void worker_say(struct ctx *ctx, const struct step *step, const char *text, size_t len)
{
	struct loop *loop = ctx->owner;

	report_send(loop->caller, REPORT_OUTPUT, (uint32_t)(step - ctx->plan->steps), text, len);
}

static bool is_gone(int pidfd)
{
	return io_wait(pidfd, POLLIN, io_now_ms()) > 0;
}

static int worker_progress(struct executor *executor, uint32_t done)
{
	struct loop *loop = executor->owner;
	int64_t now = io_now_ms();

	if (loop->stop)
		return -ECANCELED;
	if (now == loop->looked_ms) /* steps take microseconds */
		return 0;
	loop->looked_ms = now;
	if (now >= loop->told_ms + PROGRESS_MS) {
		loop->told_ms = now;
		report_send(loop->caller, REPORT_PROGRESS, done, NULL, 0);
	}
	if (io_wait(loop->caller, POLLIN, now) > 0) /* it never writes: it is gone */
		return -ECANCELED;
	return is_gone(loop->guardian) ? -ECANCELED : 0;
}

static void worker_started(struct executor *executor, uint32_t step)
{
	struct loop *loop = executor->owner;

	loop_watch(loop, ctx_proc(executor->ctx, step));
}

static int worker_prepare(struct worker *worker, struct ctx *ctx, struct loop *loop,
			  struct err *err)
{
	int r;

	(void)prctl(PR_SET_NAME, "tapnet-work");
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	journal_guard(worker->journal);
	worker->journal->head->worker =
		(struct spawn_mark){ .pid = getpid(), .start_time = spawn_start_time(getpid()) };
	r = teardown_ctx(ctx, worker->journal, worker->dir->path, worker->dir->fd, true, err);
	if (r < 0)
		return r;
	ctx->guardian = worker->guardian;
	ctx->deadline = io_now_ms() + worker->request->timeout_ms;
	ctx->wait = worker_wait;
	ctx->say = worker_say;
	ctx->owner = loop;
	loop->ctx = ctx;
	loop->journal = worker->journal;
	loop->guardian = worker->guardian;
	loop->caller = worker->report;
	loop->owner = worker->journal->meta.uid;
	r = procs_init(ctx, err);
	return r < 0 ? r : loop_init(loop, worker->dir->fd, err);
}

/* The caller has what it waited for; from here on it is not our business, or, in the foreground,
 * its end is ours. */
static void worker_ready(struct worker *worker, struct loop *loop)
{
	bool stays = worker->request->foreground;

	if (!stays) /* before it is told: its end is not our caller's giving up */
		worker->journal->head->report = -1;
	journal_keep(worker->journal, 0, 0);
	report_send(loop->caller, REPORT_READY, 0, NULL, 0);
	if (!stays)
		loop_leave_caller(loop);
}

/* What went wrong may be the consequence of something else. */
static void worker_failed(struct worker *worker, int r, struct err *err)
{
	worker->journal->head->keep_logs = true;
	worker->journal->head->state = JOURNAL_FAILED;
	if (is_gone(worker->guardian))
		err_set(err, -ECANCELED, "its guardian was killed");
	else if (r == -ECANCELED)
		err_set(err, r, "given up");
	report_error(worker->report, err);
}

int worker_main(void *arg)
{
	struct worker *worker = arg;
	struct journal_head *head = worker->journal->head;
	struct loop loop = { .epoll = -1, .signals = -1, .listen = -1, .caller = -1 };
	struct ctx ctx;
	struct executor executor = { .ctx = &ctx,
				     .journal = worker->journal,
				     .progress = worker_progress,
				     .started = worker_started,
				     .owner = &loop };
	struct err err = { 0 };
	int r = worker_prepare(worker, &ctx, &loop, &err);

	if (r == 0)
		r = executor_run(&executor, &err);
	if (r < 0)
		worker_failed(worker, r, &err);
	else
		head->state = JOURNAL_READY;
	if (worker->request->ttl_ms)
		loop.expires = io_now_ms() + worker->request->ttl_ms;
	ctx.deadline = INT64_MAX;
	if (r == 0 || (worker->request->keep && !loop.stop)) {
		worker_ready(worker, &loop);
		loop_run(&loop);
	}
	loop_close(&loop);
	if (is_gone(worker->guardian)) /* looked at last: the loop need not have turned since */
		run_finish(&ctx, worker->journal, worker->dir, &worker->watch, false);
	return r < 0;
}
