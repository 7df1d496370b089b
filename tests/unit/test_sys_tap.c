/* test_sys_tap.c - what a TAP can be told, and what becomes of it in the hands of others. Tests of the
 * TAP contract have its row's number in their name; those of T12 are in test_sys_steer.c. */
#include "tap_testing.h"

#include <grp.h>
#include <limits.h>
#include <linux/filter.h>

#define OTHER	400 /* fd of a second device */
#define IFINDEX 700

static struct tun_adopted adopted;

/* ---- closing: the linker gives us every close() of the program */

int __real_close(int fd);
int __wrap_close(int fd);
static int closes[1024];

int __wrap_close(int fd)
{
	if (fd >= 0 && fd < (int)COUNT(closes))
		closes[fd]++;
	return __real_close(fd);
}

/* ---- T2, T3: making */

static void t02_what_was_asked_for_is_there(void **state)
{
	(void)state;
	for (unsigned queues = 1; queues <= 2; queues++)
		for (int header = 0; header <= 1; header++) {
			unsigned asked = IFF_TAP | IFF_NO_PI | (header ? IFF_VNET_HDR : 0u) |
					 (queues > 1 ? IFF_MULTI_QUEUE : 0u);

			must(make(queues, SETTINGS(.vnet_hdr = header)));
			for (int k = 0; k < (int)queues; k++) {
				assert_int_equal(state_of(FD + k).flags, asked);
				assert_true(fcntl(FD + k, F_GETFL) & O_NONBLOCK);
				assert_int_equal(fcntl(FD + k, F_GETFD), FD_CLOEXEC);
			}
			assert_false(link_of("tap0", 1).tun.pi);
			assert_memory_equal(link_of("tap0", 1).mac.b, mac.b, sizeof mac.b);
			(void)close_range(FD, FD + 1, 0);
		}
}

/* A step that fails late, of a device that was to persist: every queue is closed, each once. */
static void t03_a_failure_closes_every_queue_once(void **state)
{
	static const struct tun_settings refused[] = {
		{ PLAIN, .vnet_hdr = true, .endian = TUN_BIG },
		{ PLAIN, .steering = TUN_OBJECT, .steering_object = "/nowhere.o" },
		{ PLAIN, .vnet_hdr = true, .offload = TUN_F_CSUM | 0x80000000u },
		{ .owner = LONG_MAX & 0xffffffff, .group = -1 }, /* user -1: nobody's number */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(refused); i++) {
		struct tun_make wish = { .name = "tap0",
					 .queues = QUEUES,
					 .persist = true,
					 .first_fd = FD,
					 .set = refused[i] };
		int r;

		memset(closes, 0, sizeof closes);
		r = tun_make(&wish, &err);
		if (r == 0 && i == 0) { /* a kernel with cross-endian support */
			assert_int_equal(ioctl(FD, TUNSETPERSIST, 0L), 0);
			(void)close_range(FD, FD + QUEUES, 0);
			continue;
		}
		assert_true(r < 0);
		assert_says("\"tap0\": ");
		for (int k = 0; k < QUEUES; k++) {
			assert_int_equal(closes[FD + k], 1);
			assert_false(is_open(FD + k));
		}
		(void)link_of("tap0", 0);
	}
}

static void t03_a_failure_at_a_queue_closes_those_before(void **state)
{
	(void)state;
	memset(closes, 0, sizeof closes);
	assert_int_equal(make(257, SETTINGS(.sndbuf = 4096)), -E2BIG);
	assert_says("no more than 256");
	for (int k = 0; k < 257; k++)
		assert_int_equal(closes[FD + k], 1);
	(void)link_of("tap0", 0);
}

/* ---- T9 */

static void t09_sndbuf_is_that_of_every_queue(void **state)
{
	(void)state;
	must(make(QUEUES, SETTINGS()));
	for (int k = 0; k < QUEUES; k++)
		assert_int_equal(state_of(FD + k).sndbuf, INT_MAX); /* 0 is "no limit" */
	must(tun_set(FD, QUEUES, SETTINGS(.sndbuf = 65536, .enabled = 2), false, &err));
	for (int k = 0; k < QUEUES; k++) /* those attached later, too */
		assert_int_equal(state_of(FD + k).sndbuf, 65536);
	assert_int_equal(tun_set(FD, QUEUES, SETTINGS(.sndbuf = -1), false, &err), -EINVAL);
	assert_says("send buffer of -1");
	assert_int_equal(state_of(FD).sndbuf, 65536); /* refused before anything was done */
}

/* ---- T10: adopting */

/* What a guest, or an instance before us, may leave behind. */
static void spoil(int fd)
{
	int twelve = 12, sndbuf = 4096, little = 1;

	assert_int_equal(ioctl(fd, TUNSETVNETHDRSZ, &twelve), 0);
	assert_int_equal(ioctl(fd, TUNSETSNDBUF, &sndbuf), 0);
	assert_int_equal(ioctl(fd, TUNSETVNETLE, &little), 0);
	assert_int_equal(ioctl(fd, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4)), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1L), 0);
}

static void t10_adopt_a_fresh_one(void **state)
{
	(void)state;
	raw(FD, "tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	must(tun_adopt(FD, 1, NULL, SETTINGS(), &adopted, &stale, &err));
	assert_string_equal(stale.text, "");
	assert_string_equal(adopted.name, "tap0");
	assert_int_equal(adopted.ifindex, link_of("tap0", 1).ifindex);
	assert_true(adopted.vnet_hdr);
	assert_false(adopted.persist);
	assert_true(fcntl(FD, F_GETFL) & O_NONBLOCK);
}

/* Left by its maker with a header of 12 bytes, and opened again: the size is still there. */
static void t10_adopt_says_what_was_stale(void **state)
{
	int twelve = 12;

	(void)state;
	raw(FD, "tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	assert_int_equal(ioctl(FD, TUNSETVNETHDRSZ, &twelve), 0);
	assert_int_equal(ioctl(FD, TUNSETPERSIST, 1L), 0);
	(void)close(FD);
	raw(FD, "tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	must(tun_adopt(FD, 1, NULL, SETTINGS(), &adopted, &stale, &err));
	assert_string_equal(stale.text, "vnet header 12, not 10; persistent");
	assert_int_equal(state_of(FD).vnet_hdr_size, 10);
	assert_true(adopted.persist);
	assert_true(state_of(FD).flags & IFF_PERSIST); /* its life is its owner's affair */
	assert_int_equal(ioctl(FD, TUNSETPERSIST, 0L), 0);
}

static void t10_adopt_all_of_what_was_stale(void **state)
{
	static const int shown[QUEUES] = { 7, 9, 8, 12 };
	struct sock_filter drop = { .code = BPF_RET | BPF_K, .k = 0 };
	struct sock_fprog filter = { .len = 1, .filter = &drop };
	int off = 0;

	(void)state;
	must(make(QUEUES, SETTINGS(.vnet_hdr = true)));
	up("tap0");
	spoil(FD);
	assert_int_equal(ioctl(FD, TUNATTACHFILTER, &filter), 0);
	assert_int_equal(ioctl(FD, TUNSETCARRIER, &off), 0);
	must(tun_queue(FD + 2, false, &err));
	must(tun_adopt(FD, QUEUES, shown, SETTINGS(.vnet_hdr_len = 12), &adopted, &stale, &err));
	assert_string_equal(stale.text, "vnet header 12, not 10; vnet header little-endian; "
					"offloads csum tso4; send buffer 4096; fd 8 detached; "
					"persistent");
	for (int k = 0; k < QUEUES; k++) {
		assert_int_equal(state_of(FD + k).vnet_hdr_size, 12); /* as asked for */
		assert_int_equal(state_of(FD + k).endian, TUN_NATIVE);
		assert_int_equal(state_of(FD + k).sndbuf, INT_MAX);
		assert_false(state_of(FD + k).detached);
	}
	assert_int_equal(offloads_of("tap0"), 0);
	assert_false(link_of("tap0", 1).carrier); /* left alone */
	assert_int_equal(ioctl(FD, TUNSETPERSIST, 0L), 0);
}

/* Its device is in another namespace than the one that we, or the opener, are in. */
static void t10_adopt_from_another_namespace(void **state)
{
	autofd int there = -1, here = -1;
	struct ifreq ifr = { .ifr_name = "tap0" };
	uint32_t ifindex;

	(void)state;
	here = must(ns_self("net", &err));
	raw(FD, "tap0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
	raw(FD + 1, "tap0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
	ifindex = link_of("tap0", 1).ifindex;
	there = must(ns_make_net(-1, in_ms(LONG_MS), &err));
	must(tun_adopt(FD, 2, NULL, SETTINGS(), &adopted, &stale, &err));
	assert_int_equal(adopted.ifindex, ifindex);
	assert_int_equal(ioctl(FD, TUNGETIFF, &ifr), 0);
	assert_int_equal(ns_inode(must(ns_self("net", &err))), ns_inode(there)); /* we are back */
	(void)close_range(FD, FD + 1, 0);
}

/* Each is refused, in the caller's numbers, and nothing has changed. */
static void refuse(unsigned queues, const char *words)
{
	static const int shown[] = { 11, 13 };
	struct tun_state before = { 0 }, after = { 0 };
	int flags = fcntl(FD, F_GETFL);
	struct err ignored;
	int r, had = tun_state(FD, &before, &ignored);

	assert_true(tun_adopt(FD, queues, shown, SETTINGS(.vnet_hdr_len = 20), &adopted, &stale,
			      &err) < 0);
	assert_says(words);
	r = tun_state(FD, &after, &ignored);
	assert_int_equal(r, had);
	assert_memory_equal(&after, &before, sizeof after);
	assert_int_equal(fcntl(FD, F_GETFL), flags);
	assert_string_equal(stale.text, "");
	(void)close_range(FD, FD + 1, 0);
}

static void t10_refused_what_is_no_tap(void **state)
{
	(void)state;
	refuse(1, "fd 11 is not open");
	assert_int_equal(dup2(STDIN_FILENO, FD), FD);
	refuse(1, "fd 11 is not a TAP queue");
	must(tun_open(FD, &err));
	refuse(1, "fd 11 is attached to no TAP device");
	raw(FD, "tun0", IFF_TUN | IFF_NO_PI);
	refuse(1, "\"tun0\", which is a TUN");
	raw(FD, "tap0", IFF_TAP);
	refuse(1, "packet information");
	raw(FD, "tap0", IFF_TAP | IFF_NO_PI);
	must(tun_open(FD + 1, &err));
	refuse(2, "fd 13 is attached to no TAP device");
}

static void t10_refused_queues_of_two_devices(void **state)
{
	const unsigned flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;

	(void)state;
	raw(FD, "tap0", flags);
	raw(FD + 1, "tap1", flags);
	refuse(2, "fd 11 is a queue of \"tap0\", fd 13 of \"tap1\"");
	raw(FD, "tap0", flags | IFF_VNET_HDR);
	raw(FD + 1, "tap1", flags);
	refuse(2, "has no vnet header");
	raw(FD, "tap0", flags);
	must(ns_make_net(-1, in_ms(LONG_MS), &err));
	raw(FD + 1, "tap0", flags); /* the same name, elsewhere */
	refuse(2, "fd 13 of another \"tap0\"");
}

static void t10_refused_the_same_queue_twice(void **state)
{
	(void)state;
	must(make(2, SETTINGS()));
	assert_int_equal(dup3(FD, FD + 1, O_CLOEXEC), FD + 1);
	refuse(2, "fds 11 and 13 are the same queue");
}

static void t10_refused_what_cannot_be_set(void **state)
{
	(void)state;
	must(make(2, SETTINGS()));
	assert_int_equal(
		tun_adopt(FD, 2, NULL, SETTINGS(.offload = TUN_F_CSUM), &adopted, &stale, &err),
		-EINVAL);
	assert_says("need a vnet header");
	assert_int_equal(tun_adopt(FD, 2, NULL, SETTINGS(.enabled = 3), &adopted, &stale, &err),
			 -EINVAL);
	assert_int_equal(tun_adopt(FD, 0, NULL, SETTINGS(), &adopted, &stale, &err), -EINVAL);
}

static int adopt_unprivileged(void *arg)
{
	(void)arg;
	if (setresuid(65534, 65534, 65534) < 0)
		return 1;
	return tun_adopt(FD, 1, NULL, SETTINGS(), &adopted, &stale, &err) == -EPERM &&
			       err.status == EXIT_UNABLE && strstr(err.msg, "not allowed")
		       ? 0
		       : 2;
}

static void t10_what_may_not_be_looked_at(void **state)
{
	struct spawned child;

	(void)state;
	must(make(1, SETTINGS()));
	must(spawn_fork(0, NULL, 0, adopt_unprivileged, NULL, &child, &err));
	assert_int_equal(testing_exit(&child), 0);
}

/* ---- T11: the kernel's rules */

static void t11_header_sizes(void **state)
{
	static const unsigned sizes[] = { 10, 12, 20, 65536 };

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		must(make(2, SETTINGS(.vnet_hdr = i % 2 == 0, .vnet_hdr_len = sizes[i])));
		assert_int_equal(state_of(FD + 1).vnet_hdr_size, sizes[i]);
		(void)close_range(FD, FD + 1, 0);
	}
	assert_int_equal(make(1, SETTINGS(.vnet_hdr = true, .vnet_hdr_len = 9)), -EINVAL);
	assert_says("10 bytes at least");
	must(make(1, SETTINGS(.vnet_hdr = true)));
	assert_int_equal(ioctl(FD, TUNSETVNETHDRSZ, &(int){ 9 }), -1); /* the kernel's own rule */
}

static void t11_byte_orders(void **state)
{
	int r, big = 0;

	(void)state;
	must(make(1, SETTINGS(.vnet_hdr = true, .endian = TUN_LITTLE)));
	assert_int_equal(state_of(FD).endian, TUN_LITTLE);
	must(tun_set(FD, 1, SETTINGS(), false, &err));
	assert_int_equal(state_of(FD).endian, TUN_NATIVE);
	r = tun_set(FD, 1, SETTINGS(.endian = TUN_BIG), false, &err);
	if (ioctl(FD, TUNGETVNETBE, &big) == 0 || __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) {
		assert_int_equal(r, 0);
		return;
	}
	assert_int_equal(r, -EINVAL);
	assert_int_equal(err.status, EXIT_UNABLE);
	assert_says("no cross-endian vnet headers");
}

#define ALL_OFFLOADS 7
static const unsigned offload_bits[ALL_OFFLOADS] = { TUN_F_CSUM,    TUN_F_TSO4, TUN_F_TSO6,
						     TUN_F_TSO_ECN, TUN_F_UFO,	TUN_F_USO4,
						     TUN_F_USO6 };

/* Every combination: ours is refused if and only if the kernel's is, and in words. */
static void t11_offloads_all_combinations(void **state)
{
	bool uso;

	(void)state;
	must(make(1, SETTINGS(.vnet_hdr = true)));
	uso = ioctl(FD, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6)) == 0;
	for (unsigned set = 0; set < 1u << ALL_OFFLOADS; set++) {
		unsigned offload = 0;
		int kernel, ours;

		for (int i = 0; i < ALL_OFFLOADS; i++)
			offload |= set >> i & 1 ? offload_bits[i] : 0;
		kernel = ioctl(FD, TUNSETOFFLOAD, (unsigned long)offload);
		ours = tun_set(FD, 1, SETTINGS(.offload = offload), false, &err);
		assert_int_equal(ours == 0, kernel == 0);
		if (ours == 0)
			assert_int_equal(offloads_of("tap0"), offload & ~(unsigned)TUN_F_UFO);
		else if (uso) /* by our rules, before the kernel was asked */
			assert_int_equal(err.status, EXIT_FINE);
		err.status = EXIT_FINE;
	}
	(void)close(FD);
	must(make(2, SETTINGS(.vnet_hdr = true, .offload = TUN_F_CSUM | TUN_F_TSO6)));
	assert_int_equal(offloads_of("tap0"), TUN_F_CSUM | TUN_F_TSO6);
}

static void t11_offloads_refused_in_words(void **state)
{
	static const struct {
		unsigned offload;
		const char *words;
	} cases[] = {
		{ TUN_F_TSO4, "need csum" },
		{ TUN_F_CSUM | TUN_F_TSO_ECN, "ecn needs tso4 or tso6" },
		{ TUN_F_CSUM | TUN_F_USO4, "uso4 and uso6 go together" },
		{ TUN_F_CSUM | 0x40000000, "this kernel has no offload" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(make(1, SETTINGS(.vnet_hdr = true, .offload = cases[i].offload)),
				 -EINVAL);
		assert_says(cases[i].words);
	}
	assert_int_equal(err.status, EXIT_UNABLE);
	assert_int_equal(make(1, SETTINGS(.offload = TUN_F_CSUM)), -EINVAL);
	assert_says("need a vnet header");
}

/* In a child: may this user attach a queue to tap0? */
static int join(void *arg)
{
	const uid_t *ids = arg;
	struct ifreq ifr = { .ifr_name = "tap0",
			     .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE };

	if (tun_open(OTHER, &err) < 0 || setgroups(0, NULL) < 0 ||
	    setresgid(ids[1], ids[1], ids[1]) < 0 || setresuid(ids[0], ids[0], ids[0]) < 0)
		return 2;
	return ioctl(OTHER, TUNSETIFF, &ifr) == 0 ? 0 : 1;
}

static int joins(uid_t uid, gid_t gid)
{
	struct spawned child;

	must(spawn_fork(0, NULL, 0, join, (uid_t[]){ uid, gid }, &child, &err));
	return WEXITSTATUS(testing_exit(&child));
}

static void t11_owner_and_group(void **state)
{
	(void)state;
	must(make(2, &(struct tun_settings){ .owner = 1234, .group = -1 }));
	assert_int_equal(joins(1234, 77), 0);
	assert_int_equal(joins(1235, 77), 1);
	must(tun_set(FD, 2, &(struct tun_settings){ .owner = -1, .group = 55 }, false, &err));
	assert_int_equal(joins(1234, 55), 0);
	assert_int_equal(joins(1234, 56), 1);
}

static void t11_carrier(void **state)
{
	(void)state;
	must(make(2, SETTINGS(.carrier_off = true)));
	up("tap0");
	assert_false(link_of("tap0", 1).carrier);
	must(tun_set(FD, 2, SETTINGS(), false, &err));
	assert_true(link_of("tap0", 1).carrier);
	must(tun_set(FD, 2, SETTINGS(.carrier_off = true), false, &err));
	assert_false(link_of("tap0", 1).carrier);
}

/* Whatever a guest did with its fds: when it is started again, the device is as at first. */
static void t11_a_guests_traces_are_wiped(void **state)
{
	struct sock_filter drop = { .code = BPF_RET | BPF_K, .k = 0 };
	struct sock_fprog filter = { .len = 1, .filter = &drop };

	(void)state;
	must(make(QUEUES, SETTINGS(.vnet_hdr = false, .steering = TUN_QUEUE, .steering_queue = 0)));
	up("tap0");
	spoil(FD);
	assert_int_equal(ioctl(FD, TUNSETCARRIER, &(int){ 0 }), 0);
	must(tun_queue(FD, false, &err)); /* the kernel's queue 0 is the last one's now */
	must(tun_queue(FD, true, &err));
	assert_int_equal(ioctl(FD, TUNATTACHFILTER, &filter), 0);
	must(tun_queue(FD + 1, false, &err));
	assert_int_equal(tun_queue(FD + 1, true, &err), -EPROTO); /* the kernel says it did */
	assert_says("did not attach");
	must(tun_set(FD, QUEUES, SETTINGS(.steering = TUN_QUEUE, .steering_queue = 1), false,
		     &err));
	for (int k = 0; k < QUEUES; k++) {
		struct tun_state queue = state_of(FD + k);

		assert_int_equal(queue.vnet_hdr_size, 10);
		assert_int_equal(queue.sndbuf, INT_MAX);
		assert_int_equal(queue.endian, TUN_NATIVE);
		assert_false(queue.detached);
		assert_false(queue.flags & IFF_PERSIST);
	}
	assert_int_equal(offloads_of("tap0"), 0);
	assert_true(link_of("tap0", 1).carrier);
	all_to(1);
}

/* ---- T13: enabled queues */

static void t13_enabled_at_first(void **state)
{
	int counts[QUEUES];

	(void)state;
	must(make(QUEUES, SETTINGS(.enabled = 2)));
	for (int k = 0; k < QUEUES; k++)
		assert_int_equal(state_of(FD + k).flags & IFF_DETACH_QUEUE,
				 k < 2 ? 0 : IFF_DETACH_QUEUE);
	up("tap0");
	spread(4, IPPROTO_UDP, 32, counts); /* none is lost in a queue that nobody reads */
	assert_int_equal(counts[0] + counts[1], 32);
	assert_true(counts[0] > 0 && counts[1] > 0);
	must(tun_set(FD, QUEUES, SETTINGS(.enabled = 3), false, &err));
	for (int k = 0; k < QUEUES; k++)
		assert_int_equal(state_of(FD + k).detached, k >= 3);
	assert_int_equal(make_of("tap1", OTHER, 2, SETTINGS(.enabled = 3)), -EINVAL);
	assert_says("3 of 2 queues");
}

/* Doing it twice is fine; a detached queue can still send; with all detached the device stays. */
static void t13_queue_by_queue(void **state)
{
	uint8_t frame[128];
	size_t len = frame_of(&(struct flow){ 4, IPPROTO_UDP, 1, 2, 3, 4, 0 }, frame);
	uint64_t before;

	(void)state;
	must(make(QUEUES, SETTINGS()));
	up("tap0");
	for (int twice = 0; twice < 2; twice++)
		for (int k = 0; k < QUEUES; k++) {
			must(tun_queue(FD + k, false, &err));
			assert_true(state_of(FD + k).detached);
		}
	assert_true(link_of("tap0", 1).carrier);
	assert_int_equal(read(FD, frame, sizeof frame), -1);
	assert_int_equal(errno, EAGAIN);
	len = frame_of(&(struct flow){ 4, IPPROTO_UDP, 1, 2, 3, 4, 0 }, frame);
	before = link_of("tap0", 1).rx_packets;
	assert_int_equal(write(FD + 3, frame, len), len);
	assert_int_equal(link_of("tap0", 1).rx_packets, before + 1);
	for (int twice = 0; twice < 2; twice++)
		for (int k = 0; k < QUEUES; k++) {
			must(tun_queue(FD + k, true, &err));
			assert_false(state_of(FD + k).detached);
		}
}

/* After any order of detaching, "queue N" is the Nth fd again. */
static void t13_the_order_comes_back(void **state)
{
	(void)state;
	must(make(QUEUES, SETTINGS()));
	up("tap0");
	for (int k = 0; k < QUEUES - 1; k++) {
		must(tun_queue(FD + k, false, &err));
		must(tun_queue(FD + (k * 3 + 1) % QUEUES, false, &err));
		must(tun_queue(FD + k, true, &err));
	}
	for (unsigned n = 0; n < QUEUES; n++) {
		must(tun_set(FD, QUEUES, SETTINGS(.steering = TUN_QUEUE, .steering_queue = n),
			     false, &err));
		all_to((int)n);
	}
}

static void t13_all_of_the_most_queues(void **state)
{
	int64_t begin;

	(void)state;
	must(make(256, SETTINGS(.enabled = 1)));
	begin = io_now_ms();
	must(tun_set(FD, 256, SETTINGS(), false, &err));
	print_message("256 queues set anew in %d ms\n", (int)(io_now_ms() - begin));
	for (int k = 0; k < 256; k++)
		assert_false(state_of(FD + k).detached);
}

/* ---- unattached: for programs that make the device themselves */

static void unattached(void **state)
{
	struct tun_state queue;
	struct ifreq ifr = { .ifr_name = "tap9", .ifr_flags = IFF_TAP | IFF_NO_PI };

	(void)state;
	assert_int_equal(must(tun_open(FD, &err)), FD);
	assert_int_equal(fcntl(FD, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(FD, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(tun_state(FD, &queue, &err), -EBADFD);
	must(ns_make_net(-1, in_ms(LONG_MS),
			 &err)); /* where we go now is not where its device is */
	assert_int_equal(ioctl(FD, TUNSETIFF, &ifr), 0);
	(void)link_of("tap9", 0);
	must(ns_enter_net(ioctl(FD, TUNGETDEVNETNS), &err));
	(void)link_of("tap9", 1);
	must(tun_open(FD, &err)); /* a new one at the number of an old one, whose device ends */
	(void)link_of("tap9", 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
	const struct CMUnitTest tests[] = {
		TEST(t02_what_was_asked_for_is_there),
		TEST(t03_a_failure_closes_every_queue_once),
		TEST(t03_a_failure_at_a_queue_closes_those_before),
		TEST(t09_sndbuf_is_that_of_every_queue),
		TEST(t10_adopt_a_fresh_one),
		TEST(t10_adopt_says_what_was_stale),
		TEST(t10_adopt_all_of_what_was_stale),
		TEST(t10_adopt_from_another_namespace),
		TEST(t10_refused_what_is_no_tap),
		TEST(t10_refused_queues_of_two_devices),
		TEST(t10_refused_the_same_queue_twice),
		TEST(t10_refused_what_cannot_be_set),
		TEST(t10_what_may_not_be_looked_at),
		TEST(t11_header_sizes),
		TEST(t11_byte_orders),
		TEST(t11_offloads_all_combinations),
		TEST(t11_offloads_refused_in_words),
		TEST(t11_owner_and_group),
		TEST(t11_carrier),
		TEST(t11_a_guests_traces_are_wiped),
		TEST(t13_enabled_at_first),
		TEST(t13_queue_by_queue),
		TEST(t13_the_order_comes_back),
		TEST(t13_all_of_the_most_queues),
		TEST(unattached),
	};

	tap_start(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
