/* main.c - tapnet-guest: a small guest for labs without an emulator.
 *
 * It is handed the fds of its TAPs, needs no privilege and makes nothing. One thread waits for
 * everything (queues, signals, the second's tick) in one epoll set; the stack has another for its
 * timers (stack.h).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "guest/nic.h"
#include "guest/options.h"
#include "guest/ping.h"
#include "guest/service.h"
#include "guest/stack.h"

enum {
	EXIT_GONE = 1, /* a device is gone, or could not be used */
	EVENTS = 64,
	TAG_SHIFT = 16, /* a queue's tag: number of the card << TAG_SHIFT | queue */
};

#define TAG_SIGNAL UINT64_MAX
#define TAG_TICK   (UINT64_MAX - 1)

struct guest {
	struct options options;
	struct nic nics[OPT_NICS_MAX];
	struct ping pings[OPT_PING_MAX];
	int epoll, signals, tick;
	bool end;
};

static void complain(const struct err *err, const char *hint)
{
	autostr struct strbuf text = STRBUF_INIT;

	strbuf_safe(&text, err->msg, strlen(err->msg));
	(void)fprintf(stderr, "tapnet-guest: error: %s\n%s", text.text, hint);
}

static int watch(struct guest *guest, int fd, uint64_t tag, const char *what, struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = tag };

	if (fd < 0 || epoll_ctl(guest->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_sys(err, -errno, "%s", what);
	return 0;
}

/* Blocks the signals before the stack starts its thread, so that they come here only. */
static int events_init(struct guest *guest, struct err *err)
{
	struct itimerspec each = { .it_interval.tv_sec = 1, .it_value.tv_sec = 1 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	(void)signal(SIGPIPE,
		     SIG_IGN); /* a console that nobody reads any more is no reason to end */
	guest->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (guest->epoll < 0)
		return err_sys(err, -errno, "epoll");
	guest->signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (watch(guest, guest->signals, TAG_SIGNAL, "signals", err) < 0)
		return err->code;
	guest->tick = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (watch(guest, guest->tick, TAG_TICK, "the timer", err) < 0)
		return err->code;
	if (timerfd_settime(guest->tick, 0, &each, NULL) < 0)
		return err_sys(err, -errno, "the timer");
	return 0;
}

static int guest_start(struct guest *guest, struct err *err)
{
	const struct options *opt = &guest->options;

	for (unsigned i = 0; i < opt->n_nics; i++)
		if (nic_start(&guest->nics[i], guest->epoll, (uint64_t)i << TAG_SHIFT, err) < 0)
			return err->code;
	for (unsigned i = 0; i < opt->n_listen; i++)
		if (service_listen(opt->listen[i], opt->name, err) < 0)
			return err->code;
	for (unsigned i = 0; i < opt->n_nics; i++)
		nic_print(&guest->nics[i]);
	for (unsigned i = 0; i < opt->n_listen; i++)
		printf("listening on port %u\n", opt->listen[i]);
	puts("ready");
	for (unsigned i = 0; i < opt->n_ping; i++) {
		uint16_t id = (uint16_t)((unsigned)getpid() + i);

		if (ping_start(&guest->pings[i], &opt->ping[i], opt->count, id, err) < 0)
			return err->code;
		ping_tick(&guest->pings[i]);
	}
	return 0;
}

static void counters_print(const struct guest *guest)
{
	for (unsigned i = 0; i < guest->options.n_nics; i++)
		nic_print_counters(&guest->nics[i]);
}

static void signal_take(struct guest *guest)
{
	struct signalfd_siginfo info;

	if (read(guest->signals, &info, sizeof info) != (ssize_t)sizeof info)
		return;
	if (info.ssi_signo == SIGUSR1)
		counters_print(guest);
	else
		guest->end = true;
}

static void tick_take(struct guest *guest)
{
	uint64_t n;

	if (read(guest->tick, &n, sizeof n) != (ssize_t)sizeof n)
		return;
	for (unsigned i = 0; i < guest->options.n_ping; i++)
		ping_tick(&guest->pings[i]);
	for (unsigned i = 0; i < guest->options.n_nics; i++)
		if (tap_recheck(&guest->nics[i].tap))
			nic_print(&guest->nics[i]);
}

static int event_take(struct guest *guest, const struct epoll_event *ev, struct err *err)
{
	struct nic *nic;
	int r;

	if (ev->data.u64 == TAG_SIGNAL) {
		signal_take(guest);
	} else if (ev->data.u64 == TAG_TICK) {
		tick_take(guest);
	} else {
		nic = &guest->nics[ev->data.u64 >> TAG_SHIFT];
		r = nic_event(nic, ev->data.u64 & ((1U << TAG_SHIFT) - 1), ev->events);
		if (r == -EBADFD)
			return err_set(err, r, "%s: the device is gone", nic->name);
		if (r < 0)
			return err_sys(err, r, "%s", nic->name);
	}
	return 0;
}

static int guest_loop(struct guest *guest, struct err *err)
{
	struct epoll_event events[EVENTS];
	int r = 0;

	while (!guest->end && r >= 0) {
		int n = epoll_wait(guest->epoll, events, EVENTS, -1);

		if (n < 0 && errno != EINTR)
			return err_sys(err, -errno, "epoll");
		stack_lock();
		for (int i = 0; i < n && r >= 0; i++)
			r = event_take(guest, &events[i], err);
		stack_unlock();
	}
	return r;
}

static int guest_run(struct guest *guest, struct err *err)
{
	int r;

	for (unsigned i = 0; i < guest->options.n_nics; i++)
		if (nic_open(&guest->nics[i], i, &guest->options.nics[i], err) < 0)
			return err->code;
	if (events_init(guest, err) < 0)
		return err->code;
	stack_init();
	stack_lock();
	r = guest_start(guest, err);
	stack_unlock();
	if (r >= 0)
		r = guest_loop(guest, err);
	/* From here on the lock is kept, so the stack's thread touches nothing of what is freed. */
	stack_lock();
	counters_print(guest);
	for (unsigned i = 0; i < guest->options.n_ping; i++)
		ping_stop(&guest->pings[i]);
	return r;
}

static void guest_free(struct guest *guest)
{
	for (unsigned i = 0; i < guest->options.n_nics; i++)
		nic_close(&guest->nics[i]);
	fd_closep(&guest->tick);
	fd_closep(&guest->signals);
	fd_closep(&guest->epoll);
}

int main(int argc, char **argv)
{
	static struct guest guest = { .epoll = -1, .signals = -1, .tick = -1 };
	struct err err;
	int r;

	(void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	if (options_parse(argc, argv, &guest.options, &err) < 0) {
		complain(&err, "Try 'tapnet-guest --help'.\n");
		return EXIT_INVALID;
	}
	if (guest.options.help || guest.options.version) {
		(void)fputs(guest.options.help ? options_help : "tapnet-guest " TAPNET_VERSION "\n",
			    stdout);
		return EXIT_FINE;
	}
	r = guest_run(&guest, &err);
	if (r < 0)
		complain(&err, "");
	guest_free(&guest);
	return r < 0 ? EXIT_GONE : EXIT_FINE;
}
