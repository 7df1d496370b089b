/* wire.c - tapnet-wire: a wire between two TAPs whose fds it was given, in one process.
 *
 * What comes from one is sent to the other, as it is; the vnet headers of the two may differ. If
 * both have one, TCP's segments go through whole, as over a veth: the copies are what costs. A
 * side that takes no more pauses the reading of the other (tap.h), whose queue in the kernel then
 * fills: the wire itself drops nothing, keeps one frame and needs no more memory.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "guest/loop.h"
#include "guest/say.h"
#include "guest/tap.h"

enum {
	END_A,
	END_B,
	ENDS,
	TAG_SHIFT = 16, /* a queue's tag: number of the end << TAG_SHIFT | queue */
};

static const char wire_help[] =
	"Usage: tapnet-wire --a N:N… --b N:N…\n"
	"A wire between two TAP devices: what comes from one is sent to the other.\n"
	"\n"
	"  --a FDS, --b FDS    the queues' fds of each, as 3:4:5:6\n"
	"  --help, --version\n"
	"\n"
	"Vnet headers are found out: if both have one, TCP's segments go through whole.\n"
	"A side that takes no more frames pauses the other; none is dropped. SIGUSR1 prints the\n"
	"counters, SIGTERM prints them and ends. A device that disappears ends it with status 1;\n"
	"status 2 is a mistake in these options.\n";

static const char *const names[ENDS] = { "a", "b" };

struct wire {
	bool help, version;
	unsigned n_fds[ENDS];
	int fds[ENDS][TAP_QUEUES_MAX];
	struct tap taps[ENDS];
	struct loop loop;
};

static int wire_options(struct wire *wire, int argc, char **argv, struct err *err)
{
	static const struct option longopts[] = {
		{ "a", required_argument, NULL, END_A },
		{ "b", required_argument, NULL, END_B },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", longopts, NULL)) != -1) {
		if (c == ':')
			return err_set(err, -EINVAL, "%s needs a value", argv[optind - 1]);
		if (c == '?')
			return err_set(err, -EINVAL, "unknown option \"%s\"", argv[optind - 1]);
		if (c == 'h' || c == 'v') {
			wire->help |= c == 'h';
			wire->version |= c == 'v';
		} else if (wire->n_fds[c]) {
			return err_set(err, -EINVAL, "--%s is given twice", names[c]);
		} else if (say_fds(optarg, wire->fds[c], &wire->n_fds[c], err) < 0) {
			return err_wrap(err, "--%s", names[c]);
		}
	}
	if (wire->help || wire->version)
		return 0;
	if (optind < argc)
		return err_set(err, -EINVAL, "unexpected argument \"%s\"", argv[optind]);
	for (unsigned i = 0; i < ENDS; i++)
		if (!wire->n_fds[i])
			return err_set(err, -EINVAL, "--%s is missing", names[i]);
	for (unsigned i = 0; i < wire->n_fds[END_A]; i++)
		for (unsigned j = 0; j < wire->n_fds[END_B]; j++)
			if (wire->fds[END_A][i] == wire->fds[END_B][j])
				return err_set(err, -EINVAL, "fd %d is given twice",
					       wire->fds[END_A][i]);
	return 0;
}

static void wire_print(const struct wire *wire, unsigned end)
{
	const struct tap *tap = &wire->taps[end];

	printf("%s: ", names[end]);
	say_queues(tap);
	printf(", ");
	if (tap->hdr_len)
		printf("vnet header of %zu bytes%s\n", tap->hdr_len,
		       tap->whole ? ", whole segments" : "");
	else
		puts("no vnet header");
}

/* What came from an end was sent to the other, or waits there, or was refused by its device. */
static void direction_print(const struct tap *from, const struct tap *to, const char *name)
{
	uint64_t in = 0, out = 0, refused = 0;

	for (unsigned i = 0; i < from->n_queues; i++)
		in += from->queues[i].count.in;
	for (unsigned i = 0; i < to->n_queues; i++) {
		out += to->queues[i].count.out;
		refused += to->queues[i].count.failed + to->queues[i].count.full;
	}
	printf("%s: %" PRIu64 " came, %" PRIu64 " went, %u wait, %" PRIu64 " were refused\n", name,
	       in, out, to->n_kept, refused);
}

static void wire_counters(const void *arg)
{
	const struct wire *wire = arg;

	for (unsigned i = 0; i < ENDS; i++)
		say_counters(names[i], &wire->taps[i]);
	direction_print(&wire->taps[END_A], &wire->taps[END_B], "a to b");
	direction_print(&wire->taps[END_B], &wire->taps[END_A], "b to a");
}

static int wire_queue(void *arg, uint64_t tag, uint32_t events, struct err *err)
{
	struct wire *wire = arg;
	unsigned end = (unsigned)(tag >> TAG_SHIFT), queue = tag & ((1U << TAG_SHIFT) - 1);
	int r = tap_event(&wire->taps[end], queue, events, NULL, NULL);

	return r < 0 ? say_gone(r, names[end], err) : 0;
}

static int wire_second(void *arg, struct err *err)
{
	struct wire *wire = arg;

	for (unsigned i = 0; i < ENDS; i++) {
		int r = tap_recheck(&wire->taps[i]);

		if (r < 0)
			return say_gone(r, names[i], err);
		if (r > 0)
			wire_print(wire, i);
	}
	return 0;
}

static int wire_run(struct wire *wire, struct err *err)
{
	struct tap *a = &wire->taps[END_A], *b = &wire->taps[END_B];
	int r;

	for (unsigned i = 0; i < ENDS; i++)
		if (tap_adopt(&wire->taps[i], wire->fds[i], wire->n_fds[i], TAP_VNET_AUTO, err) < 0)
			return err_wrap(err, "%s", names[i]);
	if (tap_device_same(&a->device, &b->device))
		return err_set(err, -EINVAL, "a and b are one device (%.15s)", a->device.ifname);
	tap_join(a, b);
	if (loop_init(&wire->loop, err) < 0)
		return err->code;
	for (unsigned i = 0; i < ENDS; i++)
		if (tap_watch(&wire->taps[i], wire->loop.epoll, (uint64_t)i << TAG_SHIFT, err) < 0)
			return err_wrap(err, "%s", names[i]);
	for (unsigned i = 0; i < ENDS; i++)
		wire_print(wire, i);
	puts("ready");
	r = loop_run(&wire->loop, err);
	wire_counters(wire);
	return r;
}

int main(int argc, char **argv)
{
	static struct wire wire;
	struct err err;
	int r;

	(void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	if (wire_options(&wire, argc, argv, &err) < 0) {
		say_error("tapnet-wire", &err, "Try 'tapnet-wire --help'.\n");
		return EXIT_INVALID;
	}
	if (wire.help || wire.version) {
		(void)fputs(wire.help ? wire_help : "tapnet-wire " TAPNET_VERSION "\n", stdout);
		return EXIT_FINE;
	}
	wire.loop = LOOP_INIT;
	wire.loop.arg = &wire;
	wire.loop.queue = wire_queue;
	wire.loop.second = wire_second;
	wire.loop.counters = wire_counters;
	r = wire_run(&wire, &err);
	if (r < 0)
		say_error("tapnet-wire", &err, "");
	for (unsigned i = 0; i < ENDS; i++)
		tap_free(&wire.taps[i]);
	loop_free(&wire.loop);
	return r < 0 ? EXIT_GONE : EXIT_FINE;
}
