/* main.c - tapnet-guest: a small guest for labs without an emulator.
 *
 * It is handed the fds of its TAPs, needs no privilege and makes nothing. One thread waits for
 * everything (queues, signals, the second's tick) in one epoll set; the stack has another for its
 * timers (stack.h).
 */
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "guest/loop.h"
#include "guest/nic.h"
#include "guest/options.h"
#include "guest/ping.h"
#include "guest/say.h"
#include "guest/service.h"
#include "guest/stack.h"

enum { TAG_SHIFT = 16 }; /* a queue's tag: number of the card << TAG_SHIFT | queue */

struct guest {
	struct options options;
	struct nic nics[OPT_NICS_MAX];
	struct ping pings[OPT_PING_MAX];
	struct loop loop;
};

static int guest_start(struct guest *guest, struct err *err)
{
	const struct options *opt = &guest->options;

	for (unsigned i = 0; i < opt->n_nics; i++)
		if (nic_start(&guest->nics[i], guest->loop.epoll, (uint64_t)i << TAG_SHIFT, err) <
		    0)
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

static void guest_counters(const void *arg)
{
	const struct guest *guest = arg;

	for (unsigned i = 0; i < guest->options.n_nics; i++)
		nic_print_counters(&guest->nics[i]);
}

static int guest_queue(void *arg, uint64_t tag, uint32_t events, struct err *err)
{
	struct guest *guest = arg;
	struct nic *nic = &guest->nics[tag >> TAG_SHIFT];
	int r = nic_event(nic, tag & ((1U << TAG_SHIFT) - 1), events);

	return r < 0 ? say_gone(r, nic->name, err) : 0;
}

static int guest_second(void *arg, struct err *err)
{
	struct guest *guest = arg;

	for (unsigned i = 0; i < guest->options.n_ping; i++)
		ping_tick(&guest->pings[i]);
	for (unsigned i = 0; i < guest->options.n_nics; i++) {
		int r = tap_recheck(&guest->nics[i].tap);

		if (r < 0)
			return say_gone(r, guest->nics[i].name, err);
		if (r > 0)
			nic_print(&guest->nics[i]);
	}
	return 0;
}

static int guest_run(struct guest *guest, struct err *err)
{
	int r;

	for (unsigned i = 0; i < guest->options.n_nics; i++)
		if (nic_open(&guest->nics[i], i, &guest->options.nics[i], err) < 0)
			return err->code;
	if (loop_init(&guest->loop, err) < 0)
		return err->code;
	stack_init();
	stack_lock();
	r = guest_start(guest, err);
	stack_unlock();
	if (r >= 0)
		r = loop_run(&guest->loop, err);
	/* From here on the lock is kept, so the stack's thread touches nothing of what is freed. */
	stack_lock();
	guest_counters(guest);
	for (unsigned i = 0; i < guest->options.n_ping; i++)
		ping_stop(&guest->pings[i]);
	return r;
}

static void guest_free(struct guest *guest)
{
	for (unsigned i = 0; i < guest->options.n_nics; i++)
		nic_close(&guest->nics[i]);
	loop_free(&guest->loop);
}

int main(int argc, char **argv)
{
	static struct guest guest;
	struct err err;
	int r;

	(void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	if (options_parse(argc, argv, &guest.options, &err) < 0) {
		say_error("tapnet-guest", &err, "Try 'tapnet-guest --help'.\n");
		return EXIT_INVALID;
	}
	if (guest.options.help || guest.options.version) {
		(void)fputs(guest.options.help ? options_help : "tapnet-guest " TAPNET_VERSION "\n",
			    stdout);
		return EXIT_FINE;
	}
	guest.loop = LOOP_INIT;
	guest.loop.arg = &guest;
	guest.loop.queue = guest_queue;
	guest.loop.second = guest_second;
	guest.loop.counters = guest_counters;
	guest.loop.lock = stack_lock;
	guest.loop.unlock = stack_unlock;
	r = guest_run(&guest, &err);
	if (r < 0)
		say_error("tapnet-guest", &err, "");
	guest_free(&guest);
	return r < 0 ? EXIT_GONE : EXIT_FINE;
}
