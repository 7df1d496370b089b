/* test_op_helper.c - a bridge helper is run, its fd is taken, and with any error nothing is left.
 *
 * The contract's T6 with hostile fakes: this very program, told what to do by its first argument.
 */
#include "sys_testing.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/str.h"
#include "op/helper.h"
#include "sys/scm.h"

#define AT	  70
#define HELPER_MS 20000 /* of helpers that come to an end: no test waits for it */

static struct slot *slot; /* shared, as the journal's are */
static struct ctx ctx;
static struct plan plan;

/* ---- the fakes */

static const char *argument(int argc, char **argv, const char *begin)
{
	for (int i = 1; i < argc; i++)
		if (str_starts(argv[i], begin))
			return argv[i] + strlen(begin);
	return "";
}

/* Sends n times the fd of a file with the options in it. */
static void fake_send(int sock, int argc, char **argv, int n)
{
	int file = memfd_create("tap", MFD_CLOEXEC);

	for (int i = 2; i < argc; i++)
		dprintf(file, "%s ", argv[i]);
	for (int i = 0; i < n; i++)
		if (scm_send_fd(sock, file, &err) < 0)
			_exit(99);
}

static void fake_two(int sock)
{
	int fds[] = { 1, 2 };

	(void)scm_send(sock, "", 1, fds, 2, &err);
}

static void fake_hang(void)
{
	for (;;)
		(void)pause();
}

/* A process that goes on alone; with own, in a session of its own. */
static void fake_daemon(bool own)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (own)
			(void)setsid();
		fake_hang();
	}
	while (own && getsid(pid) != pid)
		(void)poll(NULL, 0, 1);
}

static int fake(int argc, char **argv)
{
	const char *what = argv[1];
	int sock = atoi(argument(argc, argv, "--fd="));

	(void)alarm(60);
	(void)fprintf(stderr, "this is %s\n", what);
	if (str_eq(what, "good") || str_eq(what, "fails-after") || str_eq(what, "hangs-after"))
		fake_send(sock, argc, argv, 1);
	else if (str_eq(what, "twice"))
		fake_send(sock, argc, argv, 2);
	else if (str_eq(what, "two"))
		fake_two(sock);
	else if (str_eq(what, "byte"))
		(void)!write(sock, "", 1);
	else if (str_eq(what, "closes"))
		(void)close(sock);
	else if (str_eq(what, "leaves") || str_eq(what, "daemon"))
		fake_daemon(str_eq(what, "daemon"));
	if (str_eq(what, "leaves") || str_eq(what, "daemon"))
		fake_send(sock, argc, argv, 1);
	if (str_eq(what, "hangs") || str_eq(what, "hangs-after"))
		fake_hang();
	return str_eq(what, "fails") || str_eq(what, "fails-after") ? 3 : 0;
}

/* ---- what is left */

static int count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int test_wait(struct ctx *self, int fd, short events, int64_t deadline)
{
	(void)self;
	return io_wait(fd, events, deadline);
}

static int get(const char *what, const char *bridge, bool vnet_hdr, uint32_t timeout_ms)
{
	const char *argv[] = { what[0] == '/' ? what : "/proc/self/exe", what };
	struct program helper = { .argv = argv, .argc = what[0] == '/' ? 1 : 2 };

	return helper_get(&ctx, 0, &helper, bridge, vnet_hdr, AT, timeout_ms, &err);
}

/* It is refused with these words, and neither an fd nor a process is left. */
static void refused(const char *what, uint32_t timeout_ms, int code, const char *words)
{
	int before = count_open();

	assert_int_equal(get(what, "br0", false, timeout_ms), code);
	if (!strstr(err.msg, words))
		print_error("not in \"%s\": %s\n", err.msg, words);
	assert_non_null(strstr(err.msg, words));
	assert_int_equal(count_open(), before);
	assert_childless();
}

static void t06_sends_a_tap(void **state)
{
	char text[256] = "";
	int before = count_open();

	(void)state;
	must(get("good", "a-bridge", true, HELPER_MS));
	assert_true(pread(AT, text, sizeof text - 1, 0) > 0);
	assert_string_equal(text, "--use-vnet --fd=3 --br=a-bridge ");
	assert_int_equal(fcntl(AT, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(count_open(), before + 1);
	assert_childless();
	(void)close(AT);
	must(get("good", "br0", false, HELPER_MS));
	memset(text, 0, sizeof text);
	assert_true(pread(AT, text, sizeof text - 1, 0) > 0);
	assert_string_equal(text, "--fd=3 --br=br0 ");
	(void)close(AT);
}

static void t06_sends_nothing(void **state)
{
	(void)state;
	refused("nothing", HELPER_MS, -ENODATA,
		"exited with 0, but sent no fd\n    this is nothing");
	refused("closes", HELPER_MS, -ENODATA, "sent no fd");
}

static void t06_sends_something_else(void **state)
{
	(void)state;
	refused("byte", HELPER_MS, -EBADMSG, "a byte came without an fd");
	refused("two", HELPER_MS, -EMSGSIZE, "more than one fd came");
	refused("twice", HELPER_MS, -EMSGSIZE, "more than one fd came");
}

static void t06_exits_with_another_status(void **state)
{
	(void)state;
	refused("fails", HELPER_MS, -EREMOTEIO, "exited with 3\n    this is fails");
	refused("fails-after", HELPER_MS, -EREMOTEIO, "exited with 3");
	refused("/nowhere/helper", HELPER_MS, -ENOENT, "could not start: No such file");
}

static void t06_hangs(void **state)
{
	(void)state;
	refused("hangs", 300, -ETIMEDOUT, "not done within 0.3 s, killed");
	refused("hangs-after", 300, -ETIMEDOUT, "not done within 0.3 s, killed");
}

/* What it leaves in its session is killed, and the TAP is taken all the same. */
static void t06_leaves_a_process(void **state)
{
	int before = count_open(), status;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	must(get("leaves", "br0", false, HELPER_MS));
	assert_int_equal(count_open(), before + 1);
	(void)close(AT);
	assert_true(waitpid(-1, &status, 0) > 0); /* it came to us, as its reaper */
	assert_true(WIFSIGNALED(status));
	assert_childless();
}

/* One that left its session as well still holds the socket, and could hold the TAP. It is the
 * teardown that ends it. */
static void t06_daemonises(void **state)
{
	int before = count_open();
	int pid = 0;

	(void)state;
	assert_int_equal(get("daemon", "br0", false, HELPER_MS), -EBUSY);
	assert_non_null(strstr(err.msg, "holds its end of the socket"));
	assert_int_equal(count_open(), before);
	FILE *f = fopen("/proc/thread-self/children", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	(void)fclose(f);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_childless();
}

/* A worker that is killed: the helper goes with it, and its mark was there to be found. */
static int starter(void *arg)
{
	(void)arg;
	return get("hangs-after", "br0", false, HELPER_MS) < 0;
}

static void t06_its_mark_is_known_while_it_runs(void **state)
{
	struct spawned spawned;
	int64_t deadline = in_ms(LONG_MS);
	pid_t pid;
	int pidfd, status;

	(void)state;
	slot->mark = (struct spawn_mark){ 0 };
	must(spawn_fork(0, NULL, 0, starter, NULL, &spawned, &err));
	while (!(pid = __atomic_load_n(&slot->mark.pid, __ATOMIC_ACQUIRE)) &&
	       io_now_ms() < deadline)
		(void)poll(NULL, 0, 1);
	pidfd = must(spawn_pidfd(pid, slot->mark.start_time));
	assert_int_equal(pidfd_signal(spawned.pidfd, SIGKILL), 0);
	(void)testing_exit(&spawned);
	assert_int_equal(spawn_wait(pidfd, deadline, &status), 1); /* it came to us */
	assert_int_equal(WTERMSIG(status), SIGKILL);
	(void)close(pidfd);
	assert_childless();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t06_sends_a_tap),
		cmocka_unit_test(t06_sends_nothing),
		cmocka_unit_test(t06_sends_something_else),
		cmocka_unit_test(t06_exits_with_another_status),
		cmocka_unit_test(t06_hangs),
		cmocka_unit_test(t06_leaves_a_process),
		cmocka_unit_test(t06_daemonises),
		cmocka_unit_test(t06_its_mark_is_known_while_it_runs),
	};

	if (argc > 1)
		return fake(argc, argv);
	testing_start(120);
	if (mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0)
		return 1;
	slot = testing_shared(sizeof *slot);
	plan = (struct plan){ .lab = "a-lab", .n_steps = 1 };
	ctx = CTX_NONE;
	ctx.plan = &plan;
	ctx.slots = slot;
	ctx.dir = ctx.run = "/mnt";
	ctx.run_fd = open("/mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ctx.wait = test_wait;
	ctx.deadline = INT64_MAX;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
