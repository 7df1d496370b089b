/* test_sys_steer.c - row T12 of the TAP contract: which queue a frame comes out of. */
#include "tap_testing.h"

#include <limits.h>

#include "sys/steer.h"

#define MORE_FRAGMENTS 0x2000

static const char *programs; /* folder of the object files, NULL when there is no clang */

static void t12_queue_n(void **state)
{
	(void)state;
	for (unsigned n = 0; n < QUEUES; n++) {
		must(make(QUEUES, SETTINGS(.steering = TUN_QUEUE, .steering_queue = n)));
		up("tap0");
		all_to((int)n);
		(void)close_range(FD, FD + QUEUES, 0);
	}
	assert_int_equal(make(QUEUES, SETTINGS(.steering = TUN_QUEUE, .steering_queue = QUEUES)),
			 -EINVAL);
	assert_says("enabled are 0 to 3");
	assert_int_equal(
		make(QUEUES, SETTINGS(.enabled = 2, .steering = TUN_QUEUE, .steering_queue = 2)),
		-EINVAL);
}

static void t12_automq_spreads(void **state)
{
	int counts[QUEUES];

	(void)state;
	must(make(QUEUES, SETTINGS()));
	up("tap0");
	spread(4, IPPROTO_UDP, 64, counts);
	for (int k = 0; k < QUEUES; k++)
		assert_true(counts[k] > 0);
	/* and takes the place of a program */
	must(tun_set(FD, QUEUES, SETTINGS(.steering = TUN_QUEUE, .steering_queue = 1), false,
		     &err));
	all_to(1);
	must(tun_set(FD, QUEUES, SETTINGS(), false, &err));
	spread(4, IPPROTO_UDP, 64, counts);
	for (int k = 0; k < QUEUES; k++)
		assert_true(counts[k] > 0);
}

/* Fair within a factor of two and a half; with 256 flows chance alone stays far within. */
static void t12_hash_spreads(void **state)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };
	int counts[QUEUES];

	(void)state;
	must(make(QUEUES, SETTINGS(.steering = TUN_HASH)));
	up("tap0");
	for (int family = 4; family <= 6; family += 2)
		for (size_t i = 0; i < COUNT(protos); i++) {
			spread(family, protos[i], 256, counts);
			for (int k = 0; k < QUEUES; k++)
				assert_in_range(counts[k], 26, 160);
		}
}

static void t12_hash_keeps_a_flow_together(void **state)
{
	int seen = 0;

	(void)state;
	must(make(QUEUES, SETTINGS(.steering = TUN_HASH)));
	up("tap0");
	for (uint16_t i = 0; i < 32; i++)
		for (int family = 4; family <= 6; family += 2) {
			struct flow there = {
				family, IPPROTO_TCP, 1, 2, (uint16_t)(1024 + i), 80, 0
			};
			struct flow back = there;
			uint8_t frame[128];
			int counts[QUEUES], queue = queue_of(&there);
			size_t len;

			len = frame_of(&back, frame);
			if (family == 4) { /* addresses and ports change places */
				memcpy(frame + 14 + 12, (uint8_t[]){ 10, 0, 1, 2, 10, 0, 0, 1 }, 8);
				memcpy(frame + 14 + 24,
				       (uint16_t[]){ htons(80), htons(there.sport) }, 4);
			} else {
				frame[14 + 8 + 15] = 2;
				frame[14 + 24 + 15] = 1;
				memcpy(frame + 14 + 40,
				       (uint16_t[]){ htons(80), htons(there.sport) }, 4);
			}
			send_to("tap0", frame, len);
			take(1, counts);
			assert_int_equal(counts[queue], 1);
			seen |= 1 << queue;
		}
	assert_int_equal(seen, (1 << QUEUES) - 1);
}

/* The same ports between many addresses. */
static void t12_hash_sees_addresses(void **state)
{
	int counts[QUEUES];

	(void)state;
	must(make(QUEUES, SETTINGS(.steering = TUN_HASH)));
	up("tap0");
	for (int family = 4; family <= 6; family += 2) {
		memset(counts, 0, sizeof counts);
		for (uint8_t to = 1; to < 129; to++)
			counts[queue_of(&(struct flow){ family, IPPROTO_UDP, 1, to, 53, 53, 0 })]++;
		for (int k = 0; k < QUEUES; k++)
			assert_in_range(counts[k], 13, 80);
	}
}

/* All fragments of a datagram, of which the first alone has ports, come out of one queue. */
static void t12_hash_of_fragments_and_others(void **state)
{
	int seen = 0;

	(void)state;
	must(make(QUEUES, SETTINGS(.steering = TUN_HASH)));
	up("tap0");
	for (uint8_t to = 1; to < 64; to++) {
		struct flow first = { 4, IPPROTO_UDP, 1, to, 5000, 53, MORE_FRAGMENTS };
		struct flow middle = {
			4, IPPROTO_UDP, 1, to, 0xdead, 0xbeef, MORE_FRAGMENTS | 100
		};
		struct flow last = { 4, IPPROTO_UDP, 1, to, 0xcafe, 0x1234, 200 };
		struct flow ping = { 4, IPPROTO_ICMP, 1, to, 0x0800, to, 0 };
		struct flow reply = { 4, IPPROTO_ICMP, 1, to, 0, 0x5555, 0 };
		int queue = queue_of(&first);

		assert_int_equal(queue_of(&middle), queue);
		assert_int_equal(queue_of(&last), queue);
		assert_int_equal(queue_of(&ping), queue_of(&reply));
		seen |= 1 << queue;
	}
	assert_int_equal(seen, (1 << QUEUES) - 1);
	assert_int_equal(queue_of(&(struct flow){ .family = 0 }), 0); /* neither IPv4 nor IPv6 */
}

/* Cut within the headers: a load beyond its end sends it to queue 0. */
static void t12_hash_of_a_short_frame(void **state)
{
	struct flow flow = { 4, IPPROTO_UDP, 1, 2, 7, 8, 0 };
	uint8_t frame[128];
	int counts[QUEUES];

	(void)state;
	must(make(QUEUES, SETTINGS(.steering = TUN_HASH)));
	up("tap0");
	(void)frame_of(&flow, frame);
	for (size_t len = 20; len < 40; len++) {
		send_to("tap0", frame, len);
		take(1, counts);
		if (len < 34)
			assert_int_equal(counts[0], 1);
	}
}

static const char *program(const char *name, char path[PATH_MAX])
{
	if (!programs) {
		print_message("SKIP: no clang to make an object file\n");
		skip();
	}
	(void)snprintf(path, PATH_MAX, "%s/steer_%s.o", programs, name);
	return path;
}

static void t12_a_program_of_the_users(void **state)
{
	char path[PATH_MAX];
	struct flow flow = { 4, IPPROTO_UDP, 1, 2, 7, 8, 0 };
	uint8_t frame[128];
	int counts[QUEUES], seen = 0;

	(void)state;
	must(make(QUEUES,
		  SETTINGS(.steering = TUN_OBJECT, .steering_object = program("turns", path))));
	up("tap0");
	for (int k = 0; k < 64; k++) /* the kernel's own frames take turns as well */
		seen |= 1 << queue_of(&flow);
	assert_int_equal(seen, (1 << QUEUES) - 1);
	must(tun_set(FD, QUEUES,
		     SETTINGS(.steering = TUN_OBJECT, .steering_object = program("first", path)),
		     false, &err));
	(void)frame_of(&flow, frame);
	for (size_t len = 60; len < 80; len++) {
		send_to("tap0", frame, len);
		take(1, counts);
		assert_int_equal(counts[len & 1], 1);
	}
}

static void t12_programs_that_do_not_load(void **state)
{
	char path[PATH_MAX];
	struct tun_settings set = { PLAIN, .steering = TUN_OBJECT };
	static const struct {
		const char *name, *words;
	} cases[] = {
		{ "nowhere", "No such file" },
		{ "empty", "no program" },
		{ "refused",
		  "load failed: Permission denied: invalid bpf_context access off=4000" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		set.steering_object = program(cases[i].name, path);
		assert_true(make(QUEUES, &set) < 0);
		assert_says(cases[i].name);
		assert_null(strchr(err.msg, '\n'));
		assert_says(cases[i].words);
		assert_false(is_open(FD));
	}
	set.steering_object = "/proc/self/exe"; /* an ELF of another machine */
	assert_true(make(QUEUES, &set) < 0);
	assert_says("not a valid eBPF object file");
	set.steering_object = "/etc/passwd";
	assert_int_equal(make(QUEUES, &set), -ENOEXEC);
	assert_says("not a proper ELF object");
	(void)link_of("tap0", 0);
}

/* An object file is refused, with the exit status of what is missing here. */
static void t12_built_without_libbpf(void **state)
{
	(void)state;
	if (steer_has_objects())
		return; /* the tests above have loaded some */
	assert_int_equal(make(2, SETTINGS(.steering = TUN_OBJECT, .steering_object = "/x.o")),
			 -ENOSYS);
	assert_int_equal(err.status, EXIT_UNABLE);
	assert_says("built without libbpf");
	assert_false(is_open(FD));
}

static int steer_unprivileged(void *arg)
{
	(void)arg;
	if (setresuid(65534, 65534, 65534) < 0)
		return 1;
	return tun_set(FD, 2, SETTINGS(.steering = TUN_HASH), false, &err) == -EPERM &&
			       err.status == EXIT_UNABLE && strstr(err.msg, "CAP_BPF")
		       ? 0
		       : 2;
}

static void t12_without_leave(void **state)
{
	struct spawned child;

	(void)state;
	must(make(2, SETTINGS()));
	must(spawn_fork(0, NULL, 0, steer_unprivileged, NULL, &child, &err));
	assert_int_equal(testing_exit(&child), 0);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
	const struct CMUnitTest tests[] = {
		TEST(t12_queue_n),
		TEST(t12_automq_spreads),
		TEST(t12_hash_spreads),
		TEST(t12_hash_keeps_a_flow_together),
		TEST(t12_hash_sees_addresses),
		TEST(t12_hash_of_fragments_and_others),
		TEST(t12_hash_of_a_short_frame),
		TEST(t12_a_program_of_the_users),
		TEST(t12_programs_that_do_not_load),
		TEST(t12_built_without_libbpf),
		TEST(t12_without_leave),
	};

	tap_start(120);
	programs = argc > 1 ? argv[1] : NULL;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
