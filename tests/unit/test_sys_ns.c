/* test_sys_ns.c - network namespaces: made at their number, emptied, and known to be gone. */
#include "sys_testing.h"

#include <errno.h>
#include <sys/stat.h>

#define AT 310 /* an fd number where nothing else is */

static int home;

static int leave(void **state)
{
	(void)state;
	must(ns_enter_net(home, &err));
	(void)close_range(AT, AT + 100, 0);
	return 0;
}

static void made_at_its_number(void **state)
{
	uint64_t inode;
	autofd int self = -1;

	(void)state;
	assert_int_equal(must(ns_make_net(AT, in_ms(LONG_MS), &err)), AT);
	assert_int_equal(fcntl(AT, F_GETFD), FD_CLOEXEC);
	inode = ns_inode(AT);
	assert_true(inode != 0 && inode != ns_inode(home));
	self = must(ns_self("net", &err));
	assert_true(ns_inode(self) == inode); /* the caller stays in it */
	must(ns_enter_net(home, &err));
	fd_closep(&self);
	self = must(ns_self("net", &err));
	assert_true(ns_inode(self) == ns_inode(home));
	assert_true(ns_inode(-1) == 0);
}

static void what_is_no_namespace(void **state)
{
	autofd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(ns_enter_net(null, &err), -EINVAL);
	assert_int_equal(ns_self("nothing", &err), -ENOENT);
}

/* In a user namespace with room for two. */
static int use_up_quota(void *arg)
{
	int64_t before = io_now_ms();

	(void)arg;
	if (io_write_file(AT_FDCWD, "/proc/sys/user/max_net_namespaces", "2") < 0)
		return 1;
	if (ns_make_net(AT, in_ms(LONG_MS), &err) < 0 ||
	    ns_make_net(AT + 1, in_ms(LONG_MS), &err) < 0)
		return 2;
	if (ns_make_net(AT + 2, in_ms(100), &err) != -ENOSPC ||
	    !strstr(err.msg, "max_net_namespaces"))
		return 3;
	if (io_now_ms() - before < 100)
		return 4; /* it did not try again */
	(void)close(AT);  /* we stand in the second */
	return ns_make_net(AT + 2, in_ms(LONG_MS), &err) == AT + 2 ? 0 : 5;
}

static void waits_for_room(void **state)
{
	struct spawned child;

	(void)state;
	must(spawn_fork(CLONE_NEWUSER, NULL, 0, use_up_quota, NULL, &child, &err));
	assert_int_equal(testing_exit(&child), 0);
}

/* ---- killing */

static void sleeper(int netns, struct spawned *ret_spawned)
{
	static const char *const argv[] = { "sleep", "100", NULL };
	struct spawn spawn;

	testing_spawn(&spawn, argv);
	spawn.netns = netns;
	must(spawn_run(&spawn, ret_spawned, &err));
}

static int by_inode(const void *a, const void *b)
{
	const struct ns_id *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static void all_inside_are_killed(void **state)
{
	struct spawned inside[300], outside;
	struct ns_id ids[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		must(ns_make_net(AT + i, in_ms(LONG_MS), &err));
		ids[i] = (struct ns_id){ ns_inode(AT + i), i ? ns_cookie() : 0 };
	}
	qsort(ids, 3, sizeof *ids, by_inode);
	sleeper(home, &outside);
	for (size_t i = 0; i < COUNT(inside); i++) /* more than one round */
		sleeper(AT + (int)(i % 3), &inside[i]);
	/* We are inside ourselves, and are spared. */
	assert_int_equal(must(ns_kill_inside(ids, 3, in_ms(LONG_MS), &err)), (int)COUNT(inside));
	for (size_t i = 0; i < COUNT(inside); i++)
		assert_int_equal(testing_exit(&inside[i]), SIGKILL);
	assert_int_equal(must(ns_kill_inside(ids, 3, in_ms(LONG_MS), &err)), 0);
	assert_int_equal(must(ns_kill_inside(ids, 0, in_ms(LONG_MS), &err)), 0);
	assert_int_equal(io_wait(outside.pidfd, POLLIN, in_ms(0)), 0);
	assert_int_equal(pidfd_signal(outside.pidfd, SIGKILL), 0);
	assert_int_equal(testing_exit(&outside), SIGKILL);
	assert_childless();
}

static void a_namespace_of_the_same_inode_is_not_meant(void **state)
{
	struct spawned inside;
	struct ns_id id;

	(void)state;
	must(ns_make_net(AT, in_ms(LONG_MS), &err));
	id = (struct ns_id){ ns_inode(AT), ns_cookie() };
	assert_true(id.cookie != 0);
	sleeper(AT, &inside);
	must(ns_enter_net(home, &err));
	id.cookie++;
	assert_int_equal(must(ns_kill_inside(&id, 1, in_ms(LONG_MS), &err)), 0);
	id.cookie--;
	assert_true(ns_cookie() != id.cookie); /* it came back from its look */
	assert_int_equal(must(ns_kill_inside(&id, 1, in_ms(LONG_MS), &err)), 1);
	assert_int_equal(testing_exit(&inside), SIGKILL);
	assert_childless();
}

/* ---- sensor */

static int arm(struct ns_sensor *sensor)
{
	int r = ns_sensor_arm(sensor, &err);

	return r < 0 ? r : ns_sensor_armed(sensor, &err);
}

static void the_sensor_leaves_no_trace(void **state)
{
	struct ns_sensor sensor;
	cpu_set_t before, after;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
	must(arm(&sensor));
	must(ns_sensor_wait(&sensor, in_ms(LONG_MS), &err));
	assert_childless();
	assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
	assert_true(CPU_EQUAL(&before, &after));
	assert_true(ns_sensor_wait(&sensor, in_ms(100), &err) < 0); /* it is disarmed */
	must(arm(&sensor));
	ns_sensor_drop(&sensor);
	ns_sensor_drop(&sensor);
	must(ns_sensor_arm(&sensor, &err));
	ns_sensor_drop(&sensor); /* before it is armed */
	assert_childless();
	assert_true(ns_sensor_armed(&sensor, &err) < 0);
}

static void the_sensor_keeps_its_deadline(void **state)
{
	struct ns_sensor sensor;
	int64_t before;

	(void)state;
	must(arm(&sensor));
	before = io_now_ms();
	assert_int_equal(ns_sensor_wait(&sensor, before, &err),
			 -ETIMEDOUT); /* an RCU period is longer */
	assert_true(io_now_ms() - before < LONG_MS);
	assert_childless();
}

/* In a user namespace with a quota: when the sensor says that all is gone, there is room for as
 * many again, at once. */
static int fill_drop_fill(void *arg)
{
	struct ns_sensor sensor;

	(void)arg;
	/* Without a user of its own it may not make the sensor's user namespace. */
	if (io_write_file(AT_FDCWD, "/proc/self/uid_map", "0 0 1") < 0 ||
	    io_write_file(AT_FDCWD, "/proc/self/setgroups", "deny") < 0 ||
	    io_write_file(AT_FDCWD, "/proc/self/gid_map", "0 0 1") < 0 ||
	    io_write_file(AT_FDCWD, "/proc/sys/user/max_net_namespaces", "21") < 0)
		return 1;
	if (ns_make_net(AT + 90, in_ms(LONG_MS), &err) < 0 || arm(&sensor) < 0)
		return 2;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 19; i++)
			if (ns_make_net(AT + i, io_now_ms(), &err) < 0)
				return 3 + round;
		if (ns_enter_net(AT + 90, &err) < 0 || close_range(AT, AT + 18, 0) < 0)
			return 5;
		if (round == 0 && ns_sensor_wait(&sensor, in_ms(LONG_MS), &err) < 0)
			return 6;
	}
	return 0;
}

static void the_sensor_tells_the_truth(void **state)
{
	struct spawned child;

	(void)state;
	must(spawn_fork(CLONE_NEWUSER, NULL, 0, fill_drop_fill, NULL, &child, &err));
	assert_int_equal(testing_exit(&child), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, leave)
	const struct CMUnitTest tests[] = {
		TEST(made_at_its_number),
		TEST(what_is_no_namespace),
		TEST(waits_for_room),
		TEST(all_inside_are_killed),
		TEST(a_namespace_of_the_same_inode_is_not_meant),
		TEST(the_sensor_leaves_no_trace),
		TEST(the_sensor_keeps_its_deadline),
		TEST(the_sensor_tells_the_truth),
	};

	testing_start(120);
	home = ns_self("net", &err);
	return home < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
