/* loop.c - see loop.h. */
#include "guest/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "base/fd.h"

enum { EVENTS = 64 };

#define TAG_SIGNAL UINT64_MAX
#define TAG_TICK   (UINT64_MAX - 1)

static int watch(struct loop *loop, int fd, uint64_t tag, const char *what, struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = tag };

	if (fd < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_sys(err, -errno, "%s", what);
	return 0;
}

int loop_init(struct loop *loop, struct err *err)
{
	struct itimerspec each = { .it_interval.tv_sec = 1, .it_value.tv_sec = 1 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	/* A console that nobody reads any more is no reason to end. */
	(void)signal(SIGPIPE, SIG_IGN);
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0)
		return err_sys(err, -errno, "epoll");
	loop->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (watch(loop, loop->signals, TAG_SIGNAL, "signals", err) < 0)
		return err->code;
	loop->tick = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (watch(loop, loop->tick, TAG_TICK, "the timer", err) < 0)
		return err->code;
	if (timerfd_settime(loop->tick, 0, &each, NULL) < 0)
		return err_sys(err, -errno, "the timer");
	return 0;
}

static bool signal_ends(struct loop *loop)
{
	struct signalfd_siginfo info;

	if (read(loop->signals, &info, sizeof info) != (ssize_t)sizeof info)
		return false;
	if (info.ssi_signo == SIGUSR1)
		loop->counters(loop->arg);
	return info.ssi_signo != SIGUSR1;
}

static int event_take(struct loop *loop, const struct epoll_event *ev, bool *ret_end,
		      struct err *err)
{
	uint64_t n;

	if (ev->data.u64 == TAG_SIGNAL)
		*ret_end |= signal_ends(loop);
	else if (ev->data.u64 != TAG_TICK)
		return loop->queue(loop->arg, ev->data.u64, ev->events, err);
	else if (read(loop->tick, &n, sizeof n) == (ssize_t)sizeof n)
		return loop->second(loop->arg, err);
	return 0;
}

int loop_run(struct loop *loop, struct err *err)
{
	struct epoll_event events[EVENTS];
	bool end = false;
	int r = 0;

	while (!end && r >= 0) {
		int n = epoll_wait(loop->epoll, events, EVENTS, -1);

		if (n < 0 && errno != EINTR)
			return err_sys(err, -errno, "epoll");
		if (loop->lock)
			loop->lock();
		for (int i = 0; i < n && r >= 0; i++)
			r = event_take(loop, &events[i], &end, err);
		if (loop->unlock)
			loop->unlock();
	}
	return r < 0 ? r : 0;
}

void loop_free(struct loop *loop)
{
	fd_closep(&loop->tick);
	fd_closep(&loop->signals);
	fd_closep(&loop->epoll);
}
