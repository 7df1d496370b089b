/* guardian.c - see run.h: the process that waits, and tears down. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "run/run.h"
#include "sys/ns.h"
#include "sys/pidfd.h"
#include "sys/spawn.h"

#define LOCK_TRIES 10
#define STOP_MS	   3000 /* a worker that was asked to stop ends within this, or is killed */

/* Calls fn for each fd of the caller's that the plan adopts. 0, or what fn returned first. */
static int each_adopted(const struct plan *plan,
			int (*fn)(const struct step *step, struct op_fd *fd, void *arg), void *arg)
{
	for (int i = 0; i < plan->n_steps; i++) {
		const struct op_tap *tap = plan->steps[i].args;

		for (int k = 0; plan->steps[i].op == OP_TAP && k < tap->n_adopted; k++) {
			int r = fn(&plan->steps[i], &tap->adopted[k], arg);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* ---- fds */

struct adoption {
	const struct plan *plan;
	int *fds; /* copies above all planned numbers, in the plan's order */
	int n;
	struct err *err;
};

static int count_adopted(const struct step *step, struct op_fd *fd, void *arg)
{
	(void)step;
	(void)fd;
	++*(int *)arg;
	return 0;
}

static int lift(const struct step *step, struct op_fd *fd, void *arg)
{
	struct adoption *adoption = arg;
	int copy = fcntl(fd->from, F_DUPFD_CLOEXEC, adoption->plan->fd_end);

	if (copy < 0) {
		err_sys(adoption->err, -errno, "fd %d of the caller", fd->from);
		err_at(adoption->err, step->line, step->col);
		return adoption->err->code;
	}
	adoption->fds[adoption->n++] = copy;
	(void)close(fd->from); /* the caller keeps its own */
	return 0;
}

static int place(const struct step *step, struct op_fd *fd, void *arg)
{
	struct adoption *adoption = arg;
	int copy = adoption->fds[adoption->n++];

	(void)step;
	return dup3(copy, fd->to, O_CLOEXEC) < 0
		       ? err_sys(adoption->err, -errno, "cannot take over fd %d", fd->from)
		       : 0;
}

/* Fills every planned fd number, so that no other open takes it, and the table has its size before
 * it is shared: each later doubling would cost a grace period of the kernel's. */
static int fill_fds(const struct plan *plan, struct err *err)
{
	autofd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return err_sys(err, -errno, "cannot open /dev/null");
	for (int fd = plan->fd_end - 1; fd >= FD_PLANNED; fd--)
		if (dup3(null, fd, O_CLOEXEC) < 0)
			return err_sys(err, -errno, "cannot reserve %d fds", plan->fd_end);
	return 0;
}

/* Planned fds, and in them those of the caller's that the plan adopts: these were opened under any
 * number, so they are lifted out of the way first. */
static int reserve_fds(const struct plan *plan, struct err *err)
{
	struct adoption adoption = { .plan = plan, .err = err };
	int n = 0, r;

	(void)each_adopted(plan, count_adopted, &n);
	adoption.fds = calloc((size_t)n + 1, sizeof *adoption.fds);
	if (!adoption.fds)
		return err_sys(err, -ENOMEM, "no memory for %d fds", n);
	r = each_adopted(plan, lift, &adoption);
	n = adoption.n;
	adoption.n = 0;
	if (r == 0)
		r = fill_fds(plan, err);
	if (r == 0)
		r = each_adopted(plan, place, &adoption);
	for (int i = 0; i < n; i++)
		(void)close(adoption.fds[i]);
	free(adoption.fds);
	return r;
}

/* 0, 1 and 2 are the caller's: who reads them must see their end when the caller ends. */
static int detach_stdio(struct err *err)
{
	autofd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd <= 2; fd++)
		if (null < 0 ||
		    dup2(null, fd) < 0) /* not CLOEXEC: a program's 0, 1, 2 are always there */
			return err_sys(err, -errno, "cannot open /dev/null");
	return 0;
}

struct guardian {
	const struct up_request *request;
	struct labdir dir;
	int report;
	struct journal journal;
	int self, signals;
	struct watch watch;
	int64_t up_by; /* the worker has given the way up up by then */
	bool asked;    /* to come down, by somebody who waits for it */
	struct spawned worker;
	sigset_t mask;
	struct ctx ctx;
};

/* The directory may be removed under us by the end of the last lab of this name; or by a `down` that
 * came after our caller was killed, and said that nothing is there. */
static int take_lab(struct labdir *dir, int report, struct err *err)
{
	char name[sizeof dir->name];
	int r;

	memcpy(name, dir->name, sizeof name);
	for (int tries = LOCK_TRIES;; tries--) {
		r = labdir_lock(dir, err);
		if ((r == 0 || r == -ESTALE) && io_wait(report, POLLRDHUP, io_now_ms()) > 0)
			return err_set(err, -ECANCELED, "who called is gone");
		if (r != -ESTALE || !tries)
			break;
		labdir_close(dir);
		r = labdir_open(name, true, dir, err);
		if (r < 0)
			return r;
	}
	if (r == -EBUSY) {
		err_set(err, r, "it is being brought up or down by another: try again");
		err->status = EXIT_STATE;
	}
	return r;
}

/* Programs of a node may read /proc/1/environ, and that is where the caller's is. What of it they are
 * to have is in the journal. */
static void forget_environment(void)
{
	extern char **environ;

	for (char **e = environ; *e; e++)
		if (!str_starts(*e, "TAPNET_") && !str_starts(*e, "XDG_RUNTIME_DIR="))
			memset(*e, 0, strlen(*e));
}

static int guardian_prepare(struct guardian *guardian, struct err *err)
{
	const struct up_request *request = guardian->request;
	struct labdir *dir = &guardian->dir;
	int r;

	/* Suspended, it would not see that its caller is gone. */
	(void)prctl(PR_SET_PDEATHSIG, SIGCONT);
	(void)setsid();
	(void)prctl(PR_SET_NAME, "tapnet-guard");
	forget_environment();
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&guardian->mask);
	sigaddset(&guardian->mask, SIGTERM);
	sigaddset(&guardian->mask, SIGINT);
	sigaddset(&guardian->mask, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &guardian->mask, NULL);
	r = detach_stdio(err);
	if (r == 0)
		r = take_lab(dir, guardian->report, err);
	if (r < 0)
		return r;
	labdir_forget_failed(dir);
	r = journal_create(dir->fd, &request->meta, request->plan, &guardian->journal, err);
	if (r < 0)
		return err_wrap(err, "%s", dir->path);
	guardian->journal.head->report = guardian->report;
	guardian->journal.head->guardian =
		(struct spawn_mark){ .pid = getpid(), .start_time = spawn_start_time(getpid()) };
	guardian->self = spawn_pidfd(getpid(), guardian->journal.head->guardian.start_time);
	guardian->signals = signalfd(-1, &guardian->mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (guardian->self < 0 || guardian->signals < 0)
		return err_sys(err, guardian->self < 0 ? guardian->self : -errno,
			       "cannot prepare the guardian");
	guardian->watch = watch_open(&guardian->dir);
	r = journal_copy(&guardian->journal, err);
	if (r < 0)
		return r;
	journal_guard(&guardian->journal);
	r = teardown_ctx(&guardian->ctx, &guardian->journal, dir->path, dir->fd, true, err);
	return r < 0 ? r : reserve_fds(request->plan, err);
}

/* The journal's file is gone, or nobody finds it any more: a login manager removed the run directory. */
static bool run_dir_gone(const struct guardian *guardian)
{
	struct stat ours, there;

	return !labdir_in_place(&guardian->dir) || fstat(guardian->journal.fd, &ours) < 0 ||
	       fstatat(guardian->dir.fd, "journal", &there, 0) < 0 || ours.st_ino != there.st_ino;
}

/* The worker's own business; one that is suspended hears neither its caller nor its clock. */
static bool given_up(const struct guardian *guardian, const struct pollfd *caller)
{
	const struct journal_head *head = guardian->journal.head;

	return (caller->revents && head->report >= 0) ||
	       (head->state == JOURNAL_UP && io_now_ms() >= guardian->up_by);
}

static bool told_to_stop(struct guardian *guardian, const struct pollfd *signals,
			 const struct pollfd *watched)
{
	struct signalfd_siginfo info;
	bool told = signals->revents && read(guardian->signals, &info, sizeof info) > 0;

	guardian->asked |= told;
	if (watched->revents && watch_written(&guardian->watch))
		journal_mend(&guardian->journal, true);
	return told || (watched->revents && run_dir_gone(guardian));
}

static void kill_worker(struct guardian *guardian)
{
	struct err err = { 0 };

	err_set(&err, -ETIMEDOUT, "its worker did not answer, and was killed");
	report_error(guardian->journal.head->report, &err);
	(void)pidfd_signal(guardian->worker.pidfd, SIGKILL);
}

/* When there is something to do although nothing happens. */
static int64_t guardian_until(const struct guardian *guardian, bool asked, int64_t deadline)
{
	return !asked && guardian->journal.head->state == JOURNAL_UP ? guardian->up_by : deadline;
}

/* All at once, or, without the memory for that, one by one. */
static void guardian_turn(struct pollfd *p, size_t n, int ms)
{
	if (poll(p, n, ms) >= 0)
		return;
	io_nap();
	for (size_t i = 0; i < n; i++) {
		bool ready = p[i].fd >= 0 && io_wait(p[i].fd, p[i].events, io_now_ms()) > 0;

		p[i].revents = ready ? p[i].events : 0;
	}
}

/* Waits for the worker's end; asks for it when told to, and then insists. */
static void guardian_watch(struct guardian *guardian)
{
	int64_t deadline = INT64_MAX;
	bool asked = false;
	int status;

	for (;;) {
		int64_t until = guardian_until(guardian, asked, deadline);
		struct pollfd p[4] = { { .fd = guardian->worker.pidfd, .events = POLLIN },
				       { .fd = guardian->signals, .events = POLLIN },
				       { .fd = guardian->watch.fd, .events = POLLIN },
				       { .fd = asked ? -1 : guardian->journal.head->report,
					 .events = POLLRDHUP } };

		guardian_turn(p, COUNT(p), until == INT64_MAX ? -1 : io_left_ms(until));
		if (p[0].revents) {
			(void)spawn_wait(guardian->worker.pidfd, io_now_ms(), &status);
			return;
		}
		if (told_to_stop(guardian, &p[1], &p[2]) || (!asked && given_up(guardian, &p[3]))) {
			(void)pidfd_signal(guardian->worker.pidfd, SIGTERM);
			deadline = io_now_ms() + STOP_MS;
			asked = true;
		} else if (io_now_ms() >= deadline) {
			kill_worker(guardian);
			deadline = INT64_MAX;
		}
	}
}

/* One digit, whether something is left, and what. */
static void tell_waiters(struct journal *journal, bool left, const char *problems)
{
	char text[DOWN_WORDS];
	int n = snprintf(text, sizeof text, "%c%s", left ? '1' : '0', problems);
	size_t len = n < (int)sizeof text ? (size_t)n : sizeof text - 1;

	for (int i = 0; i < JOURNAL_WAITERS; i++) {
		int fd = journal->head->waiters[i];

		if (fd < 0)
			continue;
		(void)send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)close(fd);
		journal->head->waiters[i] = -1;
	}
}

/* Does anybody wait for our words? */
static bool awaited(const struct journal_head *head)
{
	bool waits = head->report >= 0;

	for (int i = 0; i < JOURNAL_WAITERS; i++)
		waits |= head->waiters[i] >= 0;
	return waits;
}

void run_finish(struct ctx *ctx, struct journal *journal, struct labdir *dir,
		const struct watch *watch, bool asked)
{
	struct teardown_result result;
	struct strbuf words autostr = STRBUF_INIT;
	int report;
	struct err err;

	journal_mend(journal, false);
	watch_forget(watch);
	report = journal->head->report;
	teardown_run(ctx, journal, asked || awaited(journal->head), &result);
	if (awaited(journal->head))
		teardown_told(ctx);
	/* What could not be undone keeps its journal, for `gc`. */
	if (result.left)
		labdir_unlock(dir);
	else if (labdir_remove(dir, journal->head->keep_logs, &err) < 0)
		teardown_problem(&result, "%s", err.msg);
	teardown_confirm(&result);
	if (result.left) {
		strbuf_puts(&words, result.problems.text);
	} else {
		teardown_words(&result, &words);
		strbuf_printf(&words, " in %lld ms", (long long)result.ms);
	}
	report_send(report, REPORT_UNDONE, result.left, words.text, words.len);
	tell_waiters(journal, result.left, result.problems.text);
	strbuf_free(&result.problems);
}

static int guardian_main(void *arg)
{
	struct guardian *guardian = arg;
	struct err err = { 0 };
	struct worker worker = { .request = guardian->request,
				 .journal = &guardian->journal,
				 .dir = &guardian->dir,
				 .report = guardian->report };
	int r = guardian_prepare(guardian, &err);

	if (r == 0) {
		worker.guardian = guardian->self;
		worker.watch = guardian->watch;
		worker.signals = &guardian->mask;
		r = spawn_fork(CLONE_FILES, NULL, 0, worker_main, &worker, &guardian->worker, &err);
	}
	if (r < 0) { /* nothing was made but the directory, if that is ours */
		report_error(guardian->report, &err);
		r = guardian->journal.head ? labdir_remove(&guardian->dir, false, &err)
					   : labdir_discard(&guardian->dir, &err);
		report_send(guardian->report, REPORT_UNDONE, r < 0, err.msg,
			    r < 0 ? strlen(err.msg) : 0);
		return 1;
	}
	guardian->up_by = io_now_ms() + guardian->request->timeout_ms + STOP_MS;
	guardian_watch(guardian);
	run_finish(&guardian->ctx, &guardian->journal, &guardian->dir, &guardian->watch,
		   guardian->asked);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

struct keep {
	int *fds;
	int n;
};

static int keep_adopted(const struct step *step, struct op_fd *fd, void *arg)
{
	struct keep *keep = arg;

	(void)step;
	keep->fds[keep->n++] = fd->from;
	return 0;
}

/* All that the guardian takes along of the caller's fds, ascending. */
static int guardian_fork(struct guardian *guardian, struct spawned *spawned, struct err *err)
{
	const int own[] = { guardian->dir.base_fd, guardian->dir.fd, guardian->report };
	struct keep keep = { 0 };
	int n = 0, r;

	(void)each_adopted(guardian->request->plan, count_adopted, &n);
	keep.fds = calloc(COUNT(own) + (size_t)n, sizeof *keep.fds);
	if (!keep.fds)
		return err_sys(err, -ENOMEM, "cannot start the guardian");
	memcpy(keep.fds, own, sizeof own);
	keep.n = COUNT(own);
	(void)each_adopted(guardian->request->plan, keep_adopted, &keep);
	qsort(keep.fds, (size_t)keep.n, sizeof *keep.fds, by_number);
	r = spawn_fork(0, keep.fds, keep.n, guardian_main, guardian, spawned, err);
	free(keep.fds);
	return r;
}

int run_up(const struct up_request *request, const struct labdir *dir, int *ret_fd,
	   int *ret_guardian, struct err *err)
{
	autofd int mine = -1, theirs = -1;
	struct guardian guardian = {
		.request = request, .dir = *dir, .self = -1, .signals = -1, .watch = WATCH_NONE
	};
	struct spawned spawned = SPAWNED_NONE;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, -errno, "socketpair");
	mine = pair[0];
	theirs = pair[1];
	guardian.report = theirs;
	guardian.journal = JOURNAL_NONE;
	guardian.worker = SPAWNED_NONE;
	r = guardian_fork(&guardian, &spawned, err);
	if (r < 0)
		return r;
	fd_closep(&spawned.report);
	*ret_fd = take_fd(&mine);
	*ret_guardian = take_fd(&spawned.pidfd);
	return 0;
}
