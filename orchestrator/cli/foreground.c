/* foreground.c - a command at the caller's terminal: exec, shell, run.
 *
 * The command shares our process group, so what the terminal sends (Ctrl-C) reaches both: it is the
 * command's business, and we outlive it. What somebody sends to us alone is passed on.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"
#include "sys/pidfd.h"
#include "sys/spawn.h"

#define GRACE_MS 5000 /* of a command whose lab is gone */

static const int passed_on[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 };

static int signals_open(sigset_t *ret_before)
{
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < COUNT(passed_on); i++)
		(void)sigaddset(&set, passed_on[i]);
	(void)sigprocmask(SIG_BLOCK, &set, ret_before);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void pass_on(int signals, int pidfd)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
		if (info.ssi_code <= 0) /* of a process, not of the terminal */
			(void)pidfd_signal(pidfd, (int)info.ssi_signo);
}

/* Waits for its end; lab is readable when the lab ends before. Returns whether it did. */
static bool wait_end(int pidfd, int signals, int lab, int *ret_status)
{
	struct pollfd p[] = { { .fd = pidfd, .events = POLLIN },
			      { .fd = signals, .events = POLLIN },
			      { .fd = lab, .events = POLLIN } };
	bool lost = false;

	while (!p[0].revents) {
		if (poll(p, COUNT(p), -1) < 0)
			continue;
		if (p[1].revents)
			pass_on(signals, pidfd);
		if (p[2].revents) {
			lost = true;
			p[2].fd = -1;
			(void)pidfd_signal(pidfd, SIGTERM);
			if (io_wait(pidfd, POLLIN, io_now_ms() + GRACE_MS) <= 0)
				(void)pidfd_signal(pidfd, SIGKILL);
		}
	}
	if (spawn_wait(pidfd, INT64_MAX, ret_status) < 0)
		*ret_status = 0;
	pass_on(signals, pidfd); /* it is gone; so these end here, too */
	return lost;
}

bool cli_in_front(void)
{
	return isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

/* A shell with job control leaves the terminal to a process group that is no more. */
static void take_terminal(void)
{
	sigset_t set, before;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTTOU);
	(void)sigprocmask(SIG_BLOCK, &set, &before);
	if (tcgetpgrp(STDIN_FILENO) != getpgrp())
		(void)tcsetpgrp(STDIN_FILENO, getpgrp());
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int cli_foreground(const struct spawn *spawn, int lab)
{
	bool terminal = cli_in_front(), lost;
	struct spawned spawned = SPAWNED_NONE;
	sigset_t before;
	autofd int signals = signals_open(&before);
	struct err err;
	int status, r;

	(void)fflush(stdout);
	r = signals < 0 ? err_sys(&err, -errno, "signalfd") : spawn_run(spawn, &spawned, &err);
	if (r < 0) {
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		cli_complain("%s: %s", spawn->argv[0], err.msg);
		return !spawned.unexecuted ? EXIT_OWN : r == -ENOENT ? 127 : 126;
	}
	lost = wait_end(spawned.pidfd, signals, lab, &status);
	fd_closep(&spawned.pidfd);
	if (terminal)
		take_terminal();
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (lost)
		cli_complain("%s: its lab came down before it ended", spawn->argv[0]);
	return lost ? EXIT_OWN : exit_status(status);
}
