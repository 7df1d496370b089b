/* cell.c - a cell's init.
 *
 * Theory of operation. The init is pid 1 of its pid namespace, so the kernel kills all that is
 * inside when it ends. It waits for three things: a child to reap, SIGTERM, and the guardian's
 * end; on the last two it asks all to end, waits for the grace, and exits. SIGTERM is blocked and
 * read from a signalfd: a pid 1 never gets a signal that it has no handler for, but it gets those
 * that it blocks. It holds two fds and /dev/null, and none of the caller's.
 *
 * What is seen of the outside is settled before anybody is told that the cell can be joined.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "sys/child.h"
#include "sys/mnt.h"
#include "sys/spawn.h"

#define CELL_COMM   "tapnet-init"
#define CELL_TRY_MS 5 /* between two looks at whether anybody is left */

enum { CELL_GUARDIAN = 3, CELL_SIGNALS, CELL_REPORT }; /* the init's fds */

/* ---- the namespaces */

static void cell_check(int report, enum child_step step, int code)
{
	if (code < 0)
		child_fail(report, step, code);
}

static void cell_surroundings(const struct cell *cell, int report)
{
	const char *name = cell->hostname;

	if (cell->netns >= 0)
		cell_check(report, CHILD_NETNS, setns(cell->netns, CLONE_NEWNET) < 0 ? -errno : 0);
	if (!name)
		return;
	cell_check(report, CHILD_HOSTNAME, sethostname(name, strlen(name)) < 0 ? -errno : 0);
	cell_check(report, CHILD_HOSTS, mnt_private());
	if (cell->hosts)
		cell_check(report, CHILD_HOSTS, mnt_hosts(cell->hosts));
	cell_check(report, CHILD_PROC, mnt_proc());
	cell_check(report, CHILD_SYS, mnt_sys());
}

/* ---- the init */

/* Copies fds to numbers that none of them has yet, then down to their own; closes all others. */
static int cell_fds(int guardian, int signals, int report)
{
	const int from[] = { guardian, signals, report }, first = CELL_GUARDIAN;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), up[COUNT(from)];

	for (int i = 0; i < (int)COUNT(from); i++) {
		up[i] = fcntl(from[i], F_DUPFD_CLOEXEC, first + (int)COUNT(from));
		if (up[i] < 0)
			return -errno;
	}
	for (int i = 0; i < (int)COUNT(from); i++)
		if (null < 0 || dup2(null, i) < 0) /* not CLOEXEC: 0, 1, 2 are always there */
			return -errno;
	for (int i = 0; i < (int)COUNT(from); i++)
		if (dup3(up[i], first + i, O_CLOEXEC) < 0)
			return -errno;
	child_close((const int[]){ CELL_GUARDIAN, CELL_SIGNALS, CELL_REPORT }, (int)COUNT(from));
	return 0;
}

/* Reaps what has ended, and takes the signals that told of it. True when one was SIGTERM. */
static bool cell_signals(void)
{
	struct signalfd_siginfo info;
	bool term = false;

	while (read(CELL_SIGNALS, &info, sizeof info) == sizeof info)
		term |= info.ssi_signo == SIGTERM;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return term;
}

/* -1 is all in this pid namespace but ourselves, also those that joined it from outside. */
static int cell_end(unsigned grace_ms)
{
	int64_t deadline = io_now_ms() + grace_ms;

	(void)kill(-1, SIGTERM);
	(void)kill(-1, SIGCONT); /* the stopped ones must see it too */
	while (kill(-1, 0) == 0 && io_left_ms(deadline) > 0) {
		(void)io_wait(CELL_SIGNALS, POLLIN, io_now_ms() + CELL_TRY_MS);
		(void)cell_signals();
	}
	return 0;
}

static int cell_live(unsigned grace_ms)
{
	struct pollfd polls[] = { { .fd = CELL_GUARDIAN, .events = POLLIN },
				  { .fd = CELL_SIGNALS, .events = POLLIN } };

	for (;;) {
		if (poll(polls, COUNT(polls), -1) < 0 && errno != EINTR)
			return 1;
		if (polls[0].revents || (polls[1].revents && cell_signals()))
			return cell_end(grace_ms);
	}
}

static void cell_main(const struct cell *cell, int report) __attribute__((noreturn));
static void cell_main(const struct cell *cell, int report)
{
	const struct child_report ready = { .step = CHILD_READY };
	sigset_t mask;
	int signals;
	const uint64_t start_time = child_start_time();

	child_signals();
	cell_check(report, CHILD_MARK, start_time ? 0 : -EIO);
	child_mark(cell->mark, start_time);
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGTERM);
	(void)sigaddset(&mask, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &mask, NULL);
	(void)prctl(PR_SET_NAME, CELL_COMM);
	cell_check(report, CHILD_SESSION, setsid() < 0 ? -errno : 0);
	cell_surroundings(cell, report);
	cell_check(report, CHILD_CWD, chdir("/") < 0 ? -errno : 0);
	signals = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
	cell_check(report, CHILD_FDS, signals < 0 ? -errno : 0);
	cell_check(report, CHILD_FDS, cell_fds(cell->guardian, signals, report));
	(void)io_write_all(CELL_REPORT, &ready, sizeof ready);
	(void)close(CELL_REPORT);
	child_exit(cell_live(cell->grace_ms));
}

int cell_start(const struct cell *cell, struct spawned *ret_spawned, struct err *err)
{
	autofd int report = -1, report_child = -1, pidfd = -1;
	uint64_t flags = CLONE_NEWPID | (cell->hostname ? CLONE_NEWNS | CLONE_NEWUTS : 0u);
	pid_t pid;
	int r = child_pipe(&report, &report_child, err);

	*ret_spawned = SPAWNED_NONE;
	if (r < 0)
		return r;
	if (cell->mark)
		*cell->mark = (struct spawn_mark){ 0 };
	pid = child_clone(flags, -1, cell->mark, &pidfd);
	if (pid == 0)
		cell_main(cell, report_child);
	if (pid < 0)
		return err_sys(err, -errno, "cannot make a process namespace");
	*ret_spawned = (struct spawned){ .pid = pid,
					 .pidfd = take_fd(&pidfd),
					 .report = take_fd(&report) };
	return 0;
}

int cell_result(struct spawned *spawned, int64_t deadline, struct err *err)
{
	struct child_report report = { .step = CHILD_READY, .code = -ECHILD };
	int r = child_hear(spawned->report, deadline, &report);

	if (r < 0)
		return err_sys(err, r, "not known whether a node's init is ready");
	if (r == 0 || report.step != CHILD_READY)
		return child_failed(spawned, &report, err); /* the end without words: killed */
	fd_closep(&spawned->report);
	return 0;
}
