/* test_sys_tun.c - TAPs: many queues, persistence, and nothing left when one step fails. */
#include "sys_testing.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "sys/nlr.h"
#include "sys/nlw.h"
#include "sys/tun.h"
#include "sys/tunlive.h"

#define FD 300 /* of the first queue; nothing else is there */

static const struct mac mac = { { 2, 0, 0, 0, 0, 0xc } };
static struct arena arena;

static int enter(void **state)
{
	(void)state;
	must(ns_make_net(-1, in_ms(LONG_MS), &err)); /* its fd goes with the program */
	must(arena_init(&arena, (size_t)16 << 20, &err));
	return 0;
}

static int leave(void **state)
{
	(void)state;
	(void)close_range(FD, FD + 300, 0);
	arena_free(&arena);
	return 0;
}

static bool exists(const char *name)
{
	struct nlr_link link;

	return must(nlr_link_find(&arena, name, &link, &err)) == 1;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void many_queues(void **state)
{
	struct tun_state queue;
	struct nlr_link link;

	(void)state;
	must(tun_make(&(struct tun_make){ .name = "tap0",
					  .ifindex = 700,
					  .queues = 4,
					  .mac = &mac,
					  .first_fd = FD,
					  .set = { .vnet_hdr = true, .owner = -1, .group = -1 } },
		      &err));
	for (int k = 0; k < 4; k++) {
		must(tun_state(FD + k, &queue, &err));
		assert_string_equal(queue.name, "tap0");
		assert_int_equal(queue.flags &
					 (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE),
				 IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
		assert_false(queue.flags & (IFF_PERSIST | IFF_DETACH_QUEUE));
		assert_int_equal(queue.vnet_hdr_size, 10);
		assert_int_equal(fcntl(FD + k, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(FD + k, F_GETFL) & O_NONBLOCK);
	}
	assert_false(is_open(FD + 4));
	assert_int_equal(must(nlr_link_get(&arena, 700, &link, &err)), 1);
	assert_string_equal(link.name, "tap0");
	assert_memory_equal(&link.mac, &mac, sizeof mac);
	assert_false(link.up);
	(void)close_range(FD, FD + 3, 0);
	assert_false(exists("tap0"));
}

static void one_queue_without_header(void **state)
{
	struct tun_state queue;

	(void)state;
	must(tun_make(&(struct tun_make){ .name = "a-fifteen-chars", .queues = 1, .first_fd = FD },
		      &err));
	must(tun_state(FD, &queue, &err));
	assert_string_equal(queue.name, "a-fifteen-chars");
	assert_false(queue.flags & (IFF_VNET_HDR | IFF_MULTI_QUEUE));
	assert_int_equal(tun_queue(FD, false, &err), -EINVAL); /* the only one */
	assert_int_equal(tun_queue(FD, true, &err), 0);
}

static void a_chosen_header(void **state)
{
	struct tun_state queue;

	(void)state;
	must(tun_make(
		&(struct tun_make){
			.name = "tap0",
			.queues = 1,
			.first_fd = FD,
			.set = { .vnet_hdr = true, .vnet_hdr_len = 12, .owner = -1, .group = -1 } },
		&err));
	must(tun_state(FD, &queue, &err));
	assert_int_equal(queue.vnet_hdr_size, 12);
}

static void persistent_lives_without_holders(void **state)
{
	struct tun_state queue;
	struct nlbatch batch;
	struct nlr_link link;
	autofd int nl = must(nlw_open(&err));

	(void)state;
	must(tun_make(
		&(struct tun_make){ .name = "tap0", .queues = 2, .persist = true, .first_fd = FD },
		&err));
	must(tun_state(FD, &queue, &err));
	assert_true(queue.flags & IFF_PERSIST);
	(void)close_range(FD, FD + 1, 0);
	assert_int_equal(must(nlr_link_find(&arena, "tap0", &link, &err)), 1);
	/* It is not adopted by one that makes a device of its name. */
	assert_int_equal(
		tun_make(&(struct tun_make){ .name = "tap0", .queues = 2, .first_fd = FD }, &err),
		-EBUSY);
	assert_non_null(strstr(err.msg, "exists already"));
	assert_false(is_open(FD));
	must(nlb_init(&batch, &err));
	nlb_dellink(&batch, 0, link.ifindex);
	must(nlb_flush(&batch, nl, in_ms(LONG_MS), &err));
	nlb_free(&batch);
	assert_false(exists("tap0"));
}

static void name_or_index_taken(void **state)
{
	struct tun_make make = { .name = "tap0", .ifindex = 700, .queues = 3, .first_fd = FD };

	(void)state;
	must(tun_make(&make, &err));
	make.first_fd = FD + 10;
	assert_int_equal(tun_make(&make, &err), -EBUSY);
	make.name = "tap1"; /* the index alone */
	assert_int_equal(tun_make(&make, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "ifindex 700"));
	assert_false(exists("tap1"));
	assert_false(is_open(FD + 10));
	assert_true(is_open(FD));
}

static void the_kernels_limit_of_queues(void **state)
{
	struct tun_make make = { .name = "tap0", .queues = 257, .persist = true, .first_fd = FD };

	(void)state;
	assert_int_equal(tun_make(&make, &err), -E2BIG);
	assert_non_null(strstr(err.msg, "no more than 256"));
	for (int k = 0; k < 257; k++)
		assert_false(is_open(FD + k));
	assert_false(exists("tap0"));
	make.queues = 256;
	must(tun_make(&make, &err));
	assert_int_equal(ioctl(FD, TUNSETPERSIST, 0L), 0);
}

static void no_number_for_queue_k(void **state)
{
	struct rlimit old, low = { .rlim_cur = FD + 2 };

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(
		tun_make(&(struct tun_make){ .name = "tap0", .queues = 4, .first_fd = FD }, &err),
		-EBADF);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_false(is_open(FD));
	assert_false(is_open(FD + 1));
	assert_false(exists("tap0"));
}

static void a_mac_that_is_refused(void **state)
{
	const struct mac multicast = { { 1, 0, 0, 0, 0, 1 } };

	(void)state;
	assert_int_equal(tun_make(&(struct tun_make){ .name = "tap0",
						      .queues = 2,
						      .mac = &multicast,
						      .persist = true,
						      .first_fd = FD },
				  &err),
			 -EADDRNOTAVAIL);
	assert_false(is_open(FD));
	assert_false(exists("tap0"));
}

static void names_are_whole(void **state)
{
	static const char *const names[] = { "", "sixteen-is-many-", "tap%d" };

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++)
		assert_int_equal(
			tun_make(
				&(struct tun_make){ .name = names[i], .queues = 1, .first_fd = FD },
				&err),
			-EINVAL);
	assert_false(is_open(FD));
}

static void detach_and_attach_twice(void **state)
{
	struct tun_state queue;

	(void)state;
	must(tun_make(&(struct tun_make){ .name = "tap0", .queues = 2, .first_fd = FD }, &err));
	for (int i = 0; i < 2; i++) {
		must(tun_queue(FD + 1, false, &err));
		must(tun_state(FD + 1, &queue, &err));
		assert_true(queue.flags & IFF_DETACH_QUEUE);
	}
	for (int i = 0; i < 2; i++) {
		must(tun_queue(FD + 1, true, &err));
		must(tun_state(FD + 1, &queue, &err));
		assert_false(queue.flags & IFF_DETACH_QUEUE);
	}
}

static void a_guests_traces_are_wiped(void **state)
{
	int twelve = 12, sndbuf = 1, big;
	struct tun_state queue;

	(void)state;
	must(tun_make(&(struct tun_make){ .name = "tap0",
					  .queues = 1,
					  .first_fd = FD,
					  .set = { .vnet_hdr = true, .owner = -1, .group = -1 } },
		      &err));
	assert_int_equal(ioctl(FD, TUNSETVNETHDRSZ, &twelve), 0);
	assert_int_equal(ioctl(FD, TUNSETSNDBUF, &sndbuf), 0);
	assert_int_equal(ioctl(FD, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4)), 0);
	assert_int_equal(ioctl(FD, TUNSETPERSIST, 1L), 0);
	must(tun_set(FD, 1, &(struct tun_settings){ .vnet_hdr = true, .owner = -1, .group = -1 },
		     false, &err));
	must(tun_state(FD, &queue, &err));
	assert_int_equal(queue.vnet_hdr_size, 10);
	assert_false(queue.flags & IFF_PERSIST);
	assert_int_equal(ioctl(FD, TUNGETSNDBUF, &big), 0);
	assert_true(big > 1 << 30);
}

static void a_device_that_is_gone(void **state)
{
	struct tun_state queue;
	struct nlbatch batch;
	autofd int nl = must(nlw_open(&err)), null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	must(tun_make(
		&(struct tun_make){ .name = "tap0", .ifindex = 700, .queues = 1, .first_fd = FD },
		&err));
	must(nlb_init(&batch, &err));
	nlb_dellink(&batch, 0, 700);
	must(nlb_flush(&batch, nl, in_ms(LONG_MS), &err));
	nlb_free(&batch);
	assert_int_equal(tun_state(FD, &queue, &err), -EBADFD);
	assert_int_equal(tun_queue(FD, true, &err), -EBADFD);
	assert_int_equal(tun_state(null, &queue, &err), -ENOTTY);
}

/* In a child with a /dev of its own: what a user is told who cannot have TAPs. */
static int without_device(void *arg)
{
	const char *expected = arg;
	struct tun_make make = { .name = "tap0", .queues = 1, .first_fd = FD };

	if (mount("tmpfs", "/dev/net", "tmpfs", 0, NULL) < 0)
		return 1;
	if (strcmp(expected, "no leave") == 0) {
		if (close(open("/dev/net/tun", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) < 0 ||
		    setresuid(65534, 65534, 65534) < 0)
			return 2;
		return tun_make(&make, &err) == -EACCES && strstr(err.msg, "chmod 0666") ? 0 : 3;
	}
	return tun_make(&make, &err) == -ENOENT && strstr(err.msg, "modprobe tun") ? 0 : 4;
}

/* Row T15: what anybody is told, and what who holds the fds may do while no guest reads. */
static void t15_queues_as_the_device_tells_them(void **state)
{
	struct nlr_link link;
	struct mac read;

	(void)state;
	must(tun_make(&(struct tun_make){ .name = "tap0",
					  .queues = 4,
					  .mac = &mac,
					  .persist = true,
					  .first_fd = FD,
					  .set = { .vnet_hdr = true, .owner = 7, .group = -1 } },
		      &err));
	must(tun_queue(FD + 2, false, &err));
	assert_int_equal(must(nlr_link_find(&arena, "tap0", &link, &err)), 1);
	assert_true(link.tun.told && link.tun.vnet_hdr && link.tun.persist && link.tun.multi_queue);
	assert_false(link.tun.pi);
	assert_int_equal(link.tun.queues, 3);
	assert_int_equal(link.tun.disabled, 1);
	assert_int_equal(link.tun.owner, 7);
	assert_int_equal(link.tun.group, -1);
	must(tun_carrier(FD, false, &err));
	must(nlr_link_find(&arena, "tap0", &link, &err));
	assert_false(link.carrier);
	must(tun_mac(FD, &(struct mac){ { 2, 0, 0, 0, 0, 0xd } }, &err));
	must(tun_mac_of(FD + 3, &read, &err));
	assert_int_equal(read.b[5], 0xd);
	assert_int_equal(tun_netns(FD), tun_netns(FD + 1));
	assert_int_equal(tun_netns(STDIN_FILENO), 0);
	must(tun_drain(FD, &err));
	assert_string_equal(tun_flag_name(IFF_TAP | IFF_PERSIST, 1), "persist");
	assert_null(tun_flag_name(IFF_TAP | IFF_PERSIST, 2));
}

static int holds(void *unused)
{
	struct tun_holder *holders = NULL;
	int n = 0, ours = 0;

	(void)unused;
	must(tun_holders(&arena, &holders, &n, &err));
	for (int i = 0; i < n; i++)
		if (holders[i].pid == getppid() && holders[i].netns == tun_netns(FD)) {
			assert_string_equal(holders[i].state.name, "tap0");
			assert_int_equal(holders[i].state.detached, ours == 1);
			assert_true(tun_same(getppid(), holders[i].fd, getpid(), FD + ours));
			assert_false(tun_same(getppid(), holders[i].fd, getpid(), FD + 1 - ours));
			ours++;
		}
	return ours == 2 ? 0 : 1;
}

static void t15_who_holds_a_queue(void **state)
{
	struct spawned child;

	(void)state;
	must(tun_make(&(struct tun_make){ .name = "tap0", .queues = 2, .first_fd = FD }, &err));
	must(tun_queue(FD + 1, false, &err));
	must(spawn_fork(0, NULL, 0, holds, NULL, &child, &err));
	assert_int_equal(testing_exit(&child), 0);
}

static void the_device_is_missing_or_closed(void **state)
{
	static char cases[][16] = { "missing", "no leave" };
	struct spawned child;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		must(spawn_fork(CLONE_NEWNS, NULL, 0, without_device, cases[i], &child, &err));
		assert_int_equal(testing_exit(&child), 0);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
	const struct CMUnitTest tests[] = {
		TEST(many_queues),
		TEST(one_queue_without_header),
		TEST(a_chosen_header),
		TEST(persistent_lives_without_holders),
		TEST(name_or_index_taken),
		TEST(the_kernels_limit_of_queues),
		TEST(no_number_for_queue_k),
		TEST(a_mac_that_is_refused),
		TEST(names_are_whole),
		TEST(detach_and_attach_twice),
		TEST(a_guests_traces_are_wiped),
		TEST(a_device_that_is_gone),
		TEST(t15_queues_as_the_device_tells_them),
		TEST(t15_who_holds_a_queue),
		TEST(the_device_is_missing_or_closed),
	};

	testing_start(120);
	if (access("/dev/net/tun", R_OK | W_OK) < 0) {
		(void)fprintf(stderr, "SKIP: /dev/net/tun is not there\n");
		return SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
