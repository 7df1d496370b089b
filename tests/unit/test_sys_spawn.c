/* test_sys_spawn.c - what a program finds when it starts, and what its starter learns. */
#include "sys_testing.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/str.h"

#define SELF "/proc/self/exe"

static char text[65536];

/* ---- this program as the child: prints what it finds */

static int child_fds(void)
{
	for (int fd = 0; fd < 8192; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("%d%s ", fd, fcntl(fd, F_GETFD) & FD_CLOEXEC ? "!" : "");
	return 0;
}

/* The paths behind the fds that are given as arguments. */
static int child_paths(char **argv)
{
	char link[64], path[256];

	for (; *argv; argv++) {
		(void)snprintf(link, sizeof link, "/proc/self/fd/%s", *argv);
		ssize_t n = readlink(link, path, sizeof path - 1);

		printf("%.*s ", n < 0 ? 1 : (int)n, n < 0 ? "-" : path);
	}
	return 0;
}

/* ---- fds */

static int memory_file(const char *name)
{
	int fd = memfd_create(name, 0); /* no CLOEXEC: it must not survive all the same */

	assert_true(fd >= 0);
	return fd;
}

static void fds_are_exactly_these(void **state)
{
	const char *argv[] = { SELF, "--fds", NULL };
	struct spawn_fd fds[] = { { .to = 3 }, { .to = 4 }, { .to = 9 } };
	struct spawn spawn;
	int stray[40];

	(void)state;
	for (size_t i = 0; i < COUNT(stray); i++)
		stray[i] = memory_file("stray");
	for (size_t i = 0; i < COUNT(fds); i++)
		fds[i].from = memory_file("given");
	testing_spawn(&spawn, argv);
	spawn.fds = fds;
	spawn.n_fds = COUNT(fds);
	assert_int_equal(testing_output(&spawn, text, sizeof text), 0);
	assert_string_equal(text, "0 1 2 3 4 9 ");
	spawn.n_fds = 0;
	assert_int_equal(testing_output(&spawn, text, sizeof text), 0);
	assert_string_equal(text, "0 1 2 ");
	for (size_t i = 0; i < COUNT(stray); i++)
		(void)close(stray[i]);
	for (size_t i = 0; i < COUNT(fds); i++)
		(void)close(fds[i].from);
}

/* Sources and targets swap places, one source serves twice, and sources lie among targets. */
static void targets_collide_with_sources(void **state)
{
	const char *argv[] = { SELF, "--paths", "50", "51", "52", "53", "0", NULL };
	struct spawn_fd fds[] = { { 51, 50 }, { 50, 51 }, { 53, 52 }, { 53, 53 } };
	struct spawn spawn;

	(void)state;
	for (int fd = 50; fd < 54; fd++) {
		char name[8];
		int memory;

		(void)snprintf(name, sizeof name, "m%d", fd);
		memory = memory_file(name);
		assert_int_equal(dup2(memory, fd), fd);
		(void)close(memory);
	}
	testing_spawn(&spawn, argv);
	spawn.fds = fds;
	spawn.n_fds = COUNT(fds);
	spawn.in = 52;
	assert_int_equal(testing_output(&spawn, text, sizeof text), 0);
	assert_string_equal(text, "/memfd:m51 (deleted) /memfd:m50 (deleted) /memfd:m53 (deleted) "
				  "/memfd:m53 (deleted) /memfd:m52 (deleted) ");
	(void)close_range(50, 53, 0);
}

/* A guest's are as many as the limit on open files lets us have, and need not be had twice. */
static void as_many_as_can_be_open(void **state)
{
	enum { FROM = 64, N = 200 };
	const char *argv[] = { SELF, "--paths", "3", "202", NULL };
	struct spawn_fd fds[N];
	struct rlimit limit, few;
	struct spawn spawn;
	int memory = memory_file("given");

	(void)state;
	for (int i = 0; i < N; i++) {
		fds[i] = (struct spawn_fd){ .from = FROM + i, .to = STDERR_FILENO + 1 + i };
		assert_int_equal(dup2(memory, FROM + i), FROM + i);
	}
	testing_spawn(&spawn, argv);
	spawn.fds = fds;
	spawn.n_fds = N;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = (struct rlimit){ FROM + N + 8, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(testing_output(&spawn, text, sizeof text), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_string_equal(text, "/memfd:given (deleted) /memfd:given (deleted) ");
	(void)close_range(FROM, FROM + N - 1, 0);
	(void)close(memory);
}

static void standard_fds_without_one_are_null(void **state)
{
	const char *argv[] = { SELF, "--paths", "0", "2", NULL };
	struct spawn spawn;

	(void)state;
	testing_spawn(&spawn, argv);
	spawn.err = -1;
	assert_int_equal(testing_output(&spawn, text, sizeof text), 0);
	assert_string_equal(text, "/dev/null /dev/null ");
}

static void fds_that_cannot_be_given(void **state)
{
	const char *argv[] = { "true", NULL }, *nothing[] = { NULL };
	struct spawn_fd fds[] = { { 0, 2 }, { -1, 3 }, { 4000, 3 } };
	struct spawned spawned;
	struct spawn spawn;

	(void)state;
	testing_spawn(&spawn, argv);
	spawn.n_fds = 1;
	for (size_t i = 0; i < 2; i++) {
		spawn.fds = &fds[i];
		assert_int_equal(spawn_start(&spawn, &spawned, &err), -EINVAL);
	}
	spawn.fds = &fds[2]; /* not open: found by the child */
	assert_int_equal(spawn_run(&spawn, &spawned, &err), -EBADF);
	testing_spawn(&spawn, nothing);
	assert_int_equal(spawn_start(&spawn, &spawned, &err), -EINVAL);
	assert_childless();
}

/* ---- signals, session, terminal */

static void signals_are_as_in_a_new_login(void **state)
{
	const char *argv[] = { "grep", "-E", "^Sig(Blk|Ign|Cgt):", "/proc/self/status", NULL };
	struct spawn spawn;
	sigset_t all, old;

	(void)state;
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &old);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGUSR1, SIG_IGN);
	(void)signal(SIGRTMIN, SIG_IGN);
	testing_spawn(&spawn, argv);
	assert_int_equal(testing_output(&spawn, text, sizeof text), 0);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGUSR1, SIG_DFL);
	(void)signal(SIGRTMIN, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	assert_non_null(strstr(text, "SigBlk:\t0000000000000000\n"));
	assert_non_null(strstr(text, "SigIgn:\t0000000000000000\n"));
	assert_non_null(strstr(text, "SigCgt:\t0000000000000")); /* grep has a handler of its own */
}

static void a_session_of_its_own(void **state)
{
	const char *argv[] = { "sh", "-c", "sleep 100 & exec sleep 100", NULL };
	struct spawned spawned;
	struct spawn spawn;

	(void)state;
	testing_spawn(&spawn, argv);
	must(spawn_run(&spawn, &spawned, &err));
	assert_int_equal(getpgid(spawned.pid), spawned.pid);
	assert_int_equal(getsid(spawned.pid), spawned.pid);
	assert_int_equal(kill(-spawned.pid, SIGKILL), 0); /* a time limit kills the whole group */
	assert_int_equal(testing_exit(&spawned), SIGKILL);
	spawn.foreground = true;
	argv[2] = "exec sleep 100";
	must(spawn_run(&spawn, &spawned, &err));
	assert_int_equal(getpgid(spawned.pid), getpgid(0));
	assert_int_equal(getsid(spawned.pid), getsid(0));
	assert_int_equal(pidfd_signal(spawned.pidfd, SIGKILL), 0);
	assert_int_equal(testing_exit(&spawned), SIGKILL);
}

static void a_terminal_controls(void **state)
{
	const char *argv[] = { "sh", "-c",
			       "stty size; tty; echo typed >/dev/tty; read line; echo got $line",
			       NULL };
	struct spawned spawned;
	struct spawn spawn;
	int master, slave;

	(void)state;
	must(spawn_pty(&master, &slave, &err));
	assert_int_equal(fcntl(master, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(slave, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(master, F_GETFL) & O_NONBLOCK);
	testing_spawn(&spawn, argv);
	spawn.tty = slave;
	must(spawn_run(&spawn, &spawned, &err));
	(void)close(slave);
	assert_int_equal(io_write_all(master, "hello\n", 6), 0);
	testing_read(master, text, sizeof text);
	(void)close(master);
	assert_int_equal(testing_exit(&spawned), 0);
	assert_non_null(strstr(text, "24 80\r\n"));
	assert_non_null(strstr(text, "/dev/pts/"));
	assert_non_null(strstr(text, "typed\r\n"));
	assert_non_null(strstr(text, "got hello\r\n"));
}

/* ---- what cannot be started */

static int failure(const char *program, const char *cwd)
{
	const char *argv[] = { program, NULL };
	struct spawned spawned;
	struct spawn spawn;
	int r;

	testing_spawn(&spawn, argv);
	spawn.cwd = cwd;
	r = spawn_run(&spawn, &spawned, &err);
	assert_int_equal(spawned.pid, -1);
	assert_int_equal(spawned.pidfd, -1);
	assert_int_equal(spawned.report, -1);
	assert_childless();
	return r;
}

static void a_script(const char *path, mode_t mode, const char *content)
{
	autofd int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(io_write_all(fd, content, strlen(content)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
}

static void why_it_did_not_start(void **state)
{
	(void)state;
	assert_int_equal(failure("no-such-program", NULL), -ENOENT);
	assert_string_equal(err.msg, "could not start: No such file or directory");
	assert_int_equal(failure("/no/such/program", NULL), -ENOENT);
	assert_int_equal(failure("", NULL), -ENOENT);
	assert_int_equal(failure("/etc/passwd", NULL), -EACCES);
	assert_string_equal(err.msg, "could not start: Permission denied");
	assert_int_equal(failure("true", "/no/such/folder"), -ENOENT);
	assert_non_null(strstr(err.msg, "working directory"));
	a_script("plain", 0700, "true\n");
	assert_int_equal(failure("./plain", "."), -ENOEXEC);
	a_script("lost", 0700, "#!/no/such/interpreter\n");
	assert_int_equal(failure("./lost", "."), -ENOENT);
	assert_non_null(strstr(err.msg, "interpreter"));
}

static void looked_up_in_its_own_path(void **state)
{
	const char *argv[] = { "probe", NULL }, *env[] = { "X=1", NULL, NULL };
	char path[256], cwd[64];
	struct spawned spawned;
	struct spawn spawn;

	(void)state;
	assert_non_null(getcwd(cwd, sizeof cwd));
	assert_int_equal(mkdir("one", 0700), 0);
	assert_int_equal(mkdir("two", 0700), 0);
	a_script("one/probe", 0600, "#!/bin/sh\nexit 1\n"); /* no leave to execute: passed over */
	a_script("two/probe", 0700, "#!/bin/sh\nexit 2\n");
	a_script("probe", 0700, "#!/bin/sh\nexit 3\n");
	testing_spawn(&spawn, argv);
	spawn.env = env;
	(void)snprintf(path, sizeof path, "PATH=/nowhere:%s/one:%s/two", cwd, cwd);
	env[1] = path;
	must(spawn_run(&spawn, &spawned, &err));
	assert_int_equal(WEXITSTATUS(testing_exit(&spawned)), 2);
	spawn.cwd = cwd;
	env[1] = "PATH=one::two"; /* an empty part is the working directory */
	must(spawn_run(&spawn, &spawned, &err));
	assert_int_equal(WEXITSTATUS(testing_exit(&spawned)), 3);
	env[1] = "PATH=/nowhere:one";
	assert_int_equal(spawn_run(&spawn, &spawned, &err), -EACCES);
	env[1] = NULL; /* none: the usual places */
	argv[0] = "true";
	must(spawn_run(&spawn, &spawned, &err));
	assert_int_equal(testing_exit(&spawned), 0);
	argv[0] = "two/probe"; /* with a slash: from the working directory */
	must(spawn_run(&spawn, &spawned, &err));
	assert_int_equal(WEXITSTATUS(testing_exit(&spawned)), 2);
}

static void environment_and_user(void **state)
{
	const char *env[] = { "PATH=/usr/bin:/bin", "A=b c", NULL };
	struct spawn spawn;

	(void)state;
	testing_spawn(&spawn, NULL);
	spawn.env = env;
	spawn.uid = 65534;
	spawn.gid = 65534;
	assert_int_equal(
		testing_shell(&spawn, "echo $(id -u) $(id -g) $(id -G) $A; pwd", text, sizeof text),
		0);
	assert_string_equal(text, "65534 65534 65534 b c\n/\n");
}

static void namespaces_of_its_own(void **state)
{
	autofd int home = must(ns_self("net", &err)),
		   node = must(ns_make_net(-1, in_ms(LONG_MS), &err));
	struct spawn spawn;
	char host[256];

	(void)state;
	must(ns_enter_net(home, &err));
	assert_int_equal(gethostname(host, sizeof host), 0);
	testing_spawn(&spawn, NULL);
	spawn.netns = node;
	spawn.hostname = "elsewhere";
	spawn.fresh_sys = true;
	assert_int_equal(testing_shell(&spawn,
				       "hostname; ls /sys/class/net; stat -Lc %i /proc/self/ns/net",
				       text, sizeof text),
			 0);
	assert_true(str_starts(text, "elsewhere\nlo\n"));
	assert_true(strtoull(strrchr(text, 'o') + 1, NULL, 10) == ns_inode(node));
	assert_int_equal(gethostname(text, sizeof text), 0);
	assert_string_equal(text, host);
}

/* ---- the starter's knowledge */

static void how_it_ended(void **state)
{
	struct spawned spawned;
	const char *argv[] = { "sh", "-c", "exit 3", NULL };
	struct spawn spawn;
	char words[64];
	int status;

	(void)state;
	testing_spawn(&spawn, argv);
	must(spawn_run(&spawn, &spawned, &err));
	assert_string_equal(spawn_status_words(testing_exit(&spawned), words), "exited with 3");
	argv[2] = "kill -TERM $$";
	must(spawn_run(&spawn, &spawned, &err));
	assert_string_equal(spawn_status_words(testing_exit(&spawned), words), "killed by SIGTERM");
	assert_string_equal(spawn_status_words(40, words), "killed by signal 40");
	argv[2] = "exec sleep 100";
	must(spawn_run(&spawn, &spawned, &err));
	assert_int_equal(spawn_wait(spawned.pidfd, in_ms(20), &status), 0);
	assert_int_equal(pidfd_signal(spawned.pidfd, SIGKILL), 0);
	assert_int_equal(spawn_wait(spawned.pidfd, in_ms(LONG_MS), &status), 1);
	assert_int_equal(spawn_wait(spawned.pidfd, in_ms(LONG_MS), &status), -ECHILD);
	(void)close(spawned.pidfd);
}

static void a_process_by_its_identity(void **state)
{
	const char *argv[] = { "sleep", "100", NULL };
	struct spawn_mark *mark = testing_shared(sizeof *mark);
	struct spawned spawned;
	struct spawn spawn;
	int pidfd;

	(void)state;
	testing_spawn(&spawn, argv);
	spawn.mark = mark;
	must(spawn_run(&spawn, &spawned, &err));
	assert_int_equal(mark->pid, spawned.pid);
	assert_true(mark->start_time && mark->start_time == spawn_start_time(spawned.pid));
	pidfd = spawn_pidfd(mark->pid, mark->start_time);
	assert_true(pidfd >= 0);
	(void)close(pidfd);
	assert_int_equal(spawn_pidfd(mark->pid, mark->start_time - 1), -ESRCH);
	assert_int_equal(spawn_pidfd(0, 0), -ESRCH);
	assert_int_equal(pidfd_signal(spawned.pidfd, SIGKILL), 0);
	assert_int_equal(testing_exit(&spawned), SIGKILL);
	assert_int_equal(spawn_pidfd(mark->pid, mark->start_time), -ESRCH);
	assert_true(spawn_start_time(mark->pid) == 0);
	argv[0] = "no-such-program";
	assert_int_equal(spawn_run(&spawn, &spawned, &err), -ENOENT);
	assert_int_equal(mark->pid, 0);
}

/* A starter that is killed at a moment that varies, with its program on the way. */
struct short_life {
	struct spawn_mark mark;
	int32_t ran; /* set by the program */
};

static int starter(void *arg)
{
	struct short_life *life = arg;
	const char *argv[] = { "sh", "-c", "echo >&3; exec sleep 100", NULL };
	struct spawn_fd given = { .from = life->ran, .to = 3 };
	struct spawned spawned;
	struct spawn spawn;

	testing_spawn(&spawn, argv);
	spawn.fds = &given;
	spawn.n_fds = 1;
	spawn.mark = &life->mark;
	spawn.die_with_parent = true;
	if (spawn_start(&spawn, &spawned, &err) < 0)
		return 1;
	(void)pause();
	return 0;
}

static void a_killed_starter(void **state)
{
	struct short_life *life = testing_shared(sizeof *life);
	int never = 0, ran = 0;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	/* Later and later, until the moment has been seen from both sides. */
	for (int i = 0; i < 60 || (i < 400 && (!never || !ran)); i++) {
		struct timespec t = { .tv_nsec = i * 50000 };
		struct spawned spawned;
		int ends[2];

		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		*life = (struct short_life){ .ran = ends[1] };
		must(spawn_fork(0, NULL, 0, starter, life, &spawned, &err));
		(void)nanosleep(&t, NULL);
		assert_int_equal(pidfd_signal(spawned.pidfd, SIGKILL), 0);
		assert_int_equal(testing_exit(&spawned), SIGKILL);
		while (waitpid(-1, NULL, 0) > 0) /* its program, which is ours now, dies with it */
			;
		(void)close(ends[1]);
		testing_read(ends[0], text, sizeof text);
		(void)close(ends[0]);
		if (life->mark.pid == 0) /* proves that it never ran */
			assert_string_equal(text, "");
		never += life->mark.pid == 0;
		ran += *text != '\0';
	}
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	assert_true(never > 0);
	assert_true(ran > 0);
}

static int adder(void *arg)
{
	int *numbers = arg;

	numbers[2] = numbers[0] + numbers[1];
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			numbers[3] += fd;
	return 7;
}

static void a_fork_without_a_program(void **state)
{
	int *numbers = testing_shared(4096), keep[] = { 60, 63 };
	struct spawned spawned;

	(void)state;
	for (int fd = 58; fd < 70; fd++)
		assert_int_equal(dup2(0, fd), fd);
	numbers[0] = 40;
	numbers[1] = 2;
	must(spawn_fork(0, keep, 2, adder, numbers, &spawned, &err));
	assert_int_equal(WEXITSTATUS(testing_exit(&spawned)), 7);
	assert_int_equal(numbers[2], 42);
	assert_int_equal(numbers[3], 60 + 63);
	(void)close_range(58, 69, 0);
	assert_int_equal(spawn_fork(CLONE_FILES, keep, 2, adder, numbers, &spawned, &err), -EINVAL);
	assert_int_equal(spawn_fork(CLONE_VM, NULL, 0, adder, numbers, &spawned, &err), -EINVAL);
}

static double ms_of_spawns(int n)
{
	const char *argv[] = { "/bin/true", NULL };
	struct timespec a, b;
	struct spawn spawn;

	testing_spawn(&spawn, argv);
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < n; i++) {
		struct spawned spawned;

		must(spawn_run(&spawn, &spawned, &err));
		assert_int_equal(testing_exit(&spawned), 0);
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6) / n;
}

/* The bound is loose, as machines differ; closing fds one by one would take seconds. */
static void thousands_of_fds_cost_little(void **state)
{
	struct rlimit limit;
	double few, many;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < 5000) {
		print_message("SKIP: needs 5000 fds\n");
		skip();
	}
	few = ms_of_spawns(20);
	for (int fd = 500; fd < 4500; fd++)
		assert_int_equal(dup2(0, fd), fd);
	many = ms_of_spawns(20);
	(void)close_range(500, 4499, 0);
	print_message("a program: %.2f ms, with 4000 fds open %.2f ms\n", few, many);
	assert_true(many < few + 20);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fds_are_exactly_these),
		cmocka_unit_test(targets_collide_with_sources),
		cmocka_unit_test(as_many_as_can_be_open),
		cmocka_unit_test(standard_fds_without_one_are_null),
		cmocka_unit_test(fds_that_cannot_be_given),
		cmocka_unit_test(signals_are_as_in_a_new_login),
		cmocka_unit_test(a_session_of_its_own),
		cmocka_unit_test(a_terminal_controls),
		cmocka_unit_test(why_it_did_not_start),
		cmocka_unit_test(looked_up_in_its_own_path),
		cmocka_unit_test(environment_and_user),
		cmocka_unit_test(namespaces_of_its_own),
		cmocka_unit_test(how_it_ended),
		cmocka_unit_test(a_process_by_its_identity),
		cmocka_unit_test(a_killed_starter),
		cmocka_unit_test(a_fork_without_a_program),
		cmocka_unit_test(thousands_of_fds_cost_little),
	};

	if (argc > 1 && strcmp(argv[1], "--fds") == 0)
		return child_fds();
	if (argc > 1 && strcmp(argv[1], "--paths") == 0)
		return child_paths(argv + 2);
	testing_start(120);
	/* Files are made on a tmpfs that is seen here only. */
	if (mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0 || chdir("/mnt") < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
