/* test_sys_cell.c - cells: what their programs see, and how they end. */
#include "sys_testing.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/str.h"
#include "sys/mnt.h"

static char text[16384];
static int node = -1, home = -1;
static struct spawn_mark *mark;

#define HOSTS "/mnt/hosts"

static struct cell cell_of(int guardian, unsigned grace_ms)
{
	return (struct cell){ .guardian = guardian,
			      .netns = node,
			      .hostname = "r1",
			      .hosts = HOSTS,
			      .grace_ms = grace_ms,
			      .mark = mark };
}

static void start(const struct cell *cell, struct spawned *ret_spawned)
{
	must(cell_start(cell, ret_spawned, &err));
	must(cell_result(ret_spawned, in_ms(LONG_MS), &err));
	assert_int_equal(ret_spawned->report, -1);
}

static void end(struct spawned *init)
{
	assert_int_equal(pidfd_signal(init->pidfd, SIGKILL), 0);
	assert_int_equal(testing_exit(init), SIGKILL);
	assert_childless();
}

static int ourselves(void)
{
	return must(pidfd_of(getpid()));
}

static void inside_it_is_a_world_of_its_own(void **state)
{
	autofd int self = ourselves();
	struct cell cell = cell_of(self, 1000);
	struct spawned init;
	struct spawn spawn;
	char host[256];

	(void)state;
	start(&cell, &init);
	testing_spawn(&spawn, NULL);
	spawn.cell = init.pidfd;
	assert_int_equal(testing_shell(&spawn, "ps -eo pid=,comm=", text, sizeof text), 0);
	assert_non_null(strstr(text, "1 tapnet-init\n"));
	assert_non_null(strstr(text, " ps\n"));
	assert_int_equal(testing_shell(&spawn, "ps -eo pid= | wc -l", text, sizeof text), 0);
	assert_true(atoi(text) <= 4); /* the init, the shell and its two */
	assert_int_equal(testing_shell(&spawn, "hostname; cat /etc/hosts; ls /sys/class/net", text,
				       sizeof text),
			 0);
	assert_string_equal(text, "r1\n192.0.2.1 r1\nin-the-node\nlo\n");
	assert_int_equal(testing_shell(&spawn, "stat -Lc %i /proc/self/ns/net", text, sizeof text),
			 0);
	assert_true(strtoull(text, NULL, 10) == ns_inode(node));
	end(&init);
	assert_int_equal(gethostname(host, sizeof host), 0);
	assert_string_not_equal(host, "r1");
}

static void nothing_leaks_out(void **state)
{
	autofd int self = ourselves();
	struct cell cell = cell_of(self, 1000);
	struct strbuf before autostr = STRBUF_INIT, after autostr = STRBUF_INIT;
	struct spawned init;
	struct spawn spawn;

	(void)state;
	/* The worst case: our mounts are shared with whom copies them. */
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL), 0);
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/mounts", 1 << 20, &before), 0);
	start(&cell, &init);
	testing_spawn(&spawn, NULL);
	spawn.cell = init.pidfd;
	assert_int_equal(
		testing_shell(&spawn, "mount -t tmpfs tmpfs /tmp && echo done", text, sizeof text),
		0);
	assert_string_equal(text, "done\n");
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/mounts", 1 << 20, &after), 0);
	assert_string_equal(before.text, after.text);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	end(&init);
}

/* A program in a cell is our child, by its pid as we see it, and we can make others outside. */
static void its_programs_are_our_children(void **state)
{
	autofd int self = ourselves();
	struct cell cell = cell_of(self, 1000);
	struct spawn_mark *program = testing_shared(sizeof *program);
	const char *argv[] = { "sleep", "100", NULL };
	struct spawned init, spawned;
	struct spawn spawn;

	(void)state;
	start(&cell, &init);
	assert_int_equal(mark->pid, init.pid);
	assert_true(mark->start_time == spawn_start_time(init.pid));
	testing_spawn(&spawn, argv);
	spawn.cell = init.pidfd;
	spawn.mark = program;
	spawn.die_with_parent = true;
	must(spawn_run(&spawn, &spawned, &err));
	assert_int_equal(program->pid, spawned.pid);
	assert_true(program->start_time == spawn_start_time(spawned.pid));
	assert_int_equal(pidfd_signal(spawned.pidfd, SIGTERM), 0);
	assert_int_equal(testing_exit(&spawned), SIGTERM);
	spawn.cell = -1;
	assert_int_equal(
		testing_shell(&spawn, "echo $$; readlink /proc/self/ns/pid", text, sizeof text), 0);
	assert_int_equal(atoi(text), program->pid); /* back outside: the number is the same there */
	end(&init);
}

/* In a user namespace, where what was there before is not ours to enter again. */
static int join_as_a_user(void *arg)
{
	autofd int self = pidfd_of(getpid()), net = -1;
	struct cell cell = cell_of(self, 100);
	struct spawned init;
	struct spawn spawn;

	(void)arg;
	if (io_write_file(AT_FDCWD, "/proc/self/uid_map", "0 0 1") < 0)
		return 1;
	net = ns_make_net(-1, in_ms(LONG_MS), &err);
	cell.netns = net;
	if (cell_start(&cell, &init, &err) < 0 || cell_result(&init, in_ms(LONG_MS), &err) < 0)
		return 2;
	testing_spawn(&spawn, (const char *const[]){ "sh", "-c", "test $$ -lt 20", NULL });
	spawn.cell = init.pidfd;
	for (int i = 0; i < 2; i++) {
		struct spawned spawned;
		int status;

		if (spawn_run(&spawn, &spawned, &err) < 0)
			return 3;
		if (spawn_wait(spawned.pidfd, in_ms(LONG_MS), &status) != 1 || status)
			return 4;
	}
	return pidfd_signal(init.pidfd, SIGKILL) < 0;
}

static void without_rights_outside(void **state)
{
	struct spawned child;

	(void)state;
	must(spawn_fork(CLONE_NEWUSER | CLONE_NEWNS, NULL, 0, join_as_a_user, NULL, &child, &err));
	assert_int_equal(testing_exit(&child), 0);
}

static void pids_alone(void **state)
{
	autofd int self = ourselves();
	struct cell cell = { .guardian = self, .netns = -1, .grace_ms = 100 };
	struct spawned init;
	struct spawn spawn;
	char host[256];

	(void)state;
	start(&cell, &init);
	testing_spawn(&spawn, NULL);
	spawn.cell = init.pidfd;
	assert_int_equal(gethostname(host, sizeof host), 0);
	assert_int_equal(testing_shell(&spawn, "hostname | tr -d '\\n'", text, sizeof text), 0);
	assert_string_equal(text, host);
	assert_int_equal(testing_shell(&spawn, "echo $$", text, sizeof text), 0);
	assert_true(atoi(text) < 20);
	spawn.netns = node;
	assert_int_equal(testing_shell(&spawn, "stat -Lc %i /proc/self/ns/net", text, sizeof text),
			 0);
	assert_true(strtoull(text, NULL, 10) == ns_inode(node));
	end(&init);
}

static void the_init_holds_nothing_of_ours(void **state)
{
	autofd int self = ourselves();
	struct cell cell = cell_of(self, 1000);
	struct spawned init;
	struct spawn spawn;
	char command[128];

	(void)state;
	for (int fd = 100; fd < 200; fd++)
		assert_int_equal(dup2(0, fd), fd);
	start(&cell, &init);
	(void)close_range(100, 199, 0);
	(void)snprintf(command, sizeof command,
		       "ls /proc/%d/fd | tr '\\n' ' '; readlink /proc/%d/fd/[012]", init.pid,
		       init.pid);
	testing_spawn(&spawn, NULL);
	assert_int_equal(testing_shell(&spawn, command, text, sizeof text), 0);
	assert_string_equal(text, "0 1 2 3 4 /dev/null\n/dev/null\n/dev/null\n");
	end(&init);
}

/* ---- the end */

#define TRAPS "trap 'echo term; exit 0' TERM; echo up; while :; do sleep 0.01; done"

/* Starts a program in the cell, waits for its first word; the end of its output is its end. */
static int inside(const struct spawned *init, const char *command, struct spawned *ret_spawned)
{
	const char *argv[] = { "sh", "-c", command, NULL };
	struct spawn spawn;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	testing_spawn(&spawn, argv);
	spawn.cell = init->pidfd;
	spawn.out = ends[1];
	spawn.err = -1; /* the shell tells there of what is killed */
	must(spawn_run(&spawn, ret_spawned, &err));
	(void)close(ends[1]);
	assert_int_equal(io_wait(ends[0], POLLIN, in_ms(LONG_MS)), 1);
	assert_int_equal(read(ends[0], text, 3), 3);
	return ends[0];
}

static int sleeper(void *arg)
{
	(void)arg;
	(void)pause();
	return 0;
}

static void the_guardians_death_is_the_end(void **state)
{
	struct spawned guardian, init, traps, stubborn;
	autofd int heard = -1, silence = -1;
	struct cell cell;
	int64_t before;

	(void)state;
	must(spawn_fork(0, (const int[]){ 0 }, 1, sleeper, NULL, &guardian, &err));
	cell = cell_of(guardian.pidfd, 300);
	start(&cell, &init);
	heard = inside(&init, TRAPS, &traps);
	silence = inside(&init, "trap '' TERM; echo up; exec sleep 100", &stubborn);
	before = io_now_ms();
	assert_int_equal(pidfd_signal(guardian.pidfd, SIGKILL), 0);
	assert_int_equal(testing_exit(&guardian), SIGKILL);
	testing_read(heard, text, sizeof text);
	assert_string_equal(text, "term\n"); /* asked first */
	assert_int_equal(testing_exit(&traps), 0);
	assert_int_equal(testing_exit(&stubborn), SIGKILL); /* then not asked */
	assert_in_range(io_now_ms() - before, 290, 3000);
	assert_int_equal(testing_exit(&init), 0);
	assert_childless();
}

static void sigterm_is_the_end_too(void **state)
{
	autofd int self = ourselves(), heard = -1;
	struct cell cell = cell_of(self, 4000);
	struct spawned init, traps;
	int64_t before;

	(void)state;
	start(&cell, &init);
	heard = inside(&init, TRAPS, &traps);
	before = io_now_ms();
	assert_int_equal(pidfd_signal(init.pidfd, SIGTERM), 0);
	assert_int_equal(testing_exit(&traps), 0);
	assert_int_equal(testing_exit(&init), 0);
	assert_true(io_now_ms() - before < 2000); /* the grace is for those who need it */
	assert_childless();
}

static void a_killed_init_takes_all_along(void **state)
{
	autofd int self = ourselves(), out = -1;
	struct cell cell = cell_of(self, 4000);
	struct spawned init, spawned;
	struct spawn spawn;
	const char *argv[] = { "true", NULL };

	(void)state;
	start(&cell, &init);
	out = inside(&init, "(trap '' TERM; sleep 100 & sleep 100) & echo up; exec sleep 100",
		     &spawned);
	assert_int_equal(pidfd_signal(init.pidfd, SIGKILL), 0);
	assert_int_equal(testing_exit(&spawned), SIGKILL);
	testing_read(out, text, sizeof text); /* also those that it left behind */
	assert_string_equal(text, "");
	assert_int_equal(testing_exit(&init), SIGKILL);
	/* Nobody joins a cell that is gone, and we are where we were. */
	testing_spawn(&spawn, argv);
	spawn.cell = must(spawn_pidfd(getpid(), spawn_start_time(getpid())));
	must(spawn_run(&spawn, &spawned, &err)); /* our own pid namespace: no cell, but allowed */
	assert_int_equal(testing_exit(&spawned), 0);
	(void)close(spawn.cell);
	assert_childless();
}

static void a_dead_cell_is_not_joined(void **state)
{
	autofd int self = ourselves(), pidfd = -1;
	struct cell cell = cell_of(self, 4000);
	struct spawned init, spawned;
	const char *argv[] = { "true", NULL };
	struct spawn spawn;

	(void)state;
	start(&cell, &init);
	pidfd = dup(init.pidfd);
	end(&init);
	testing_spawn(&spawn, argv);
	spawn.cell = pidfd;
	assert_int_equal(spawn_run(&spawn, &spawned, &err), -ESRCH);
	assert_non_null(strstr(err.msg, "could not join"));
	spawn.cell = -1;
	must(spawn_run(&spawn, &spawned, &err));
	assert_int_equal(testing_exit(&spawned), 0);
	assert_childless();
}

/* Orphans of a program become the init's, and it reaps them. */
static void the_init_reaps(void **state)
{
	autofd int self = ourselves();
	struct cell cell = cell_of(self, 1000);
	struct spawned init;
	struct spawn spawn;

	(void)state;
	start(&cell, &init);
	testing_spawn(&spawn, NULL);
	spawn.cell = init.pidfd;
	assert_int_equal(
		testing_shell(
			&spawn,
			"(true & true & sleep 0.05 & ) >&-; sleep 0.2; ps -eo stat= | grep -c Z",
			text, sizeof text),
		W_EXITCODE(1, 0));
	assert_string_equal(text, "0\n");
	end(&init);
}

static void what_a_cell_lacks_is_told(void **state)
{
	autofd int self = ourselves();
	struct cell cell = cell_of(self, 1000);
	struct spawned init;

	(void)state;
	cell.hosts = "/no/such/file";
	must(cell_start(&cell, &init, &err));
	assert_int_equal(cell_result(&init, in_ms(LONG_MS), &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/etc/hosts"));
	assert_int_equal(init.pidfd, -1);
	assert_childless();
}

static void many_cells_at_once(void **state)
{
	autofd int self = ourselves();
	struct cell cell = cell_of(self, 1000);
	struct spawned inits[50];
	int64_t before = io_now_ms();

	(void)state;
	for (size_t i = 0; i < COUNT(inits); i++)
		must(cell_start(&cell, &inits[i], &err));
	for (size_t i = 0; i < COUNT(inits); i++)
		must(cell_result(&inits[i], in_ms(LONG_MS), &err));
	print_message("a cell: %.2f ms\n", (double)(io_now_ms() - before) / COUNT(inits));
	for (size_t i = 0; i < COUNT(inits); i++)
		assert_int_equal(pidfd_signal(inits[i].pidfd, SIGTERM), 0);
	for (size_t i = 0; i < COUNT(inits); i++)
		assert_int_equal(testing_exit(&inits[i]), 0);
	assert_childless();
}

/* ---- mount namespaces without an init */

static void names_for_plain_nodes(void **state)
{
	struct spawn spawn;

	(void)state;
	assert_int_equal(mnt_make(&(struct mnt){ .base = -1, .hosts = HOSTS }, 320, &err), 320);
	assert_childless();
	assert_int_equal(fcntl(320, F_GETFD), FD_CLOEXEC);
	testing_spawn(&spawn, NULL);
	spawn.netns = node;
	spawn.mntns = 320;
	spawn.hostname = "plain";
	spawn.fresh_sys = true;
	assert_int_equal(testing_shell(&spawn, "hostname; cat /etc/hosts; ls /sys/class/net", text,
				       sizeof text),
			 0);
	assert_string_equal(text, "plain\n192.0.2.1 r1\nin-the-node\nlo\n");
	(void)close(320);
	assert_int_equal(mnt_make(&(struct mnt){ .base = -1, .hosts = "/no/such/file" }, 320, &err),
			 -ENOENT);
	assert_int_equal(fcntl(320, F_GETFD), -1);
	assert_childless();
}

/* A node's own: with the lab's names and its own /sys. Who made it is where it was, in a chroot too. */
static void mounts_of_one_node(void **state)
{
	char before[PATH_MAX], after[PATH_MAX];
	struct spawn spawn;
	struct stat root, same;
	autofd int own = ns_self("mnt", &err), now = -1;
	int lab;

	(void)state;
	assert_non_null(getcwd(before, sizeof before));
	assert_int_equal(stat("/", &root), 0);
	lab = mnt_make(&(struct mnt){ .base = -1, .hosts = HOSTS }, -1, &err);
	assert_true(lab >= 0);
	must(ns_enter_net(node, &err));
	assert_int_equal(mnt_make(&(struct mnt){ .base = lab, .sys = true }, 320, &err), 320);
	must(ns_enter_net(home, &err));
	assert_non_null(getcwd(after, sizeof after));
	assert_string_equal(after, before);
	assert_int_equal(stat("/", &same), 0);
	assert_true(root.st_ino == same.st_ino && root.st_dev == same.st_dev);
	now = ns_self("mnt", &err);
	assert_true(ns_inode(now) == ns_inode(own));
	testing_spawn(&spawn, NULL);
	spawn.netns = node;
	spawn.mntns = 320;
	assert_int_equal(
		testing_shell(&spawn, "cat /etc/hosts; ls /sys/class/net", text, sizeof text), 0);
	assert_string_equal(text, "192.0.2.1 r1\nin-the-node\nlo\n");
	(void)close(320);
	assert_int_equal(mnt_make(&(struct mnt){ .base = node }, 320, &err), -EINVAL);
	fd_closep(&now);
	now = ns_self("mnt", &err);
	assert_true(ns_inode(now) == ns_inode(own));
	(void)close(lab);
}

static int in_a_chroot(void *arg)
{
	(void)arg;
	if (mkdir("/mnt/jail", 0755) < 0 || mount("tmpfs", "/mnt/jail", "tmpfs", 0, NULL) < 0 ||
	    chroot("/mnt/jail") < 0 || mkdir("/proc", 0755) < 0 || mkdir("/here", 0755) < 0 ||
	    chdir("/here") < 0 || mount("proc", "/proc", "proc", 0, NULL) < 0)
		return 1;
	if (mnt_make(&(struct mnt){ .base = -1 }, -1, &err) < 0)
		return 2;
	return access("../here", F_OK) < 0 || access("/here", F_OK) < 0;
}

static void root_stays_in_a_chroot(void **state)
{
	struct spawned child;

	(void)state;
	must(spawn_fork(CLONE_NEWNS, NULL, 0, in_a_chroot, NULL, &child, &err));
	assert_int_equal(testing_exit(&child), 0);
}

static bool prepare(void)
{
	autofd int fd = -1;
	struct spawn spawn;

	if (mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0)
		return false;
	fd = open(HOSTS, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 || io_write_all(fd, "192.0.2.1 r1\n", 13) < 0)
		return false;
	home = ns_self("net", &err);
	node = ns_make_net(-1, in_ms(LONG_MS), &err);
	mark = testing_shared(sizeof *mark);
	testing_spawn(&spawn, NULL);
	return testing_shell(&spawn, "ip link add in-the-node type bridge", text, sizeof text) ==
		       0 &&
	       ns_enter_net(home, &err) == 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inside_it_is_a_world_of_its_own),
		cmocka_unit_test(nothing_leaks_out),
		cmocka_unit_test(its_programs_are_our_children),
		cmocka_unit_test(without_rights_outside),
		cmocka_unit_test(pids_alone),
		cmocka_unit_test(the_init_holds_nothing_of_ours),
		cmocka_unit_test(the_guardians_death_is_the_end),
		cmocka_unit_test(sigterm_is_the_end_too),
		cmocka_unit_test(a_killed_init_takes_all_along),
		cmocka_unit_test(a_dead_cell_is_not_joined),
		cmocka_unit_test(the_init_reaps),
		cmocka_unit_test(what_a_cell_lacks_is_told),
		cmocka_unit_test(many_cells_at_once),
		cmocka_unit_test(names_for_plain_nodes),
		cmocka_unit_test(mounts_of_one_node),
		cmocka_unit_test(root_stays_in_a_chroot),
	};

	testing_start(120);
	return prepare() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
