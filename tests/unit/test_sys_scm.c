/* test_sys_scm.c - an fd over a socket: exactly one, or an error in words and nothing left open.
 *
 * The contract's T7: one byte with SCM_RIGHTS; level, type, length and MSG_CTRUNC are checked, the
 * fd is close-on-exec, and an end without one is an error, never fd 0.
 */
#include "sys_testing.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "sys/scm.h"

static int ours, theirs; /* the two ends */
static int open_before;

static int count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void pair(int type)
{
	int ends[2];

	open_before = count_open();
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
	ours = ends[0];
	theirs = ends[1];
}

/* Both ends closed: nothing else is open but `more` fds. */
static void unpair(int more)
{
	fd_closep(&ours);
	fd_closep(&theirs);
	assert_int_equal(count_open(), open_before + more);
}

/* What a hostile peer sends: len bytes, and beside them anything. */
static void send_raw(size_t len, int type, const void *control, size_t size)
{
	static char bytes[64];
	_Alignas(struct cmsghdr) char room[2048] = { 0 };
	struct iovec iov = { bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (control) {
		struct cmsghdr *c = (void *)room;

		msg.msg_control = room;
		msg.msg_controllen = CMSG_SPACE(size);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = type;
		c->cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(c), control, size);
	}
	assert_int_equal(sendmsg(theirs, &msg, 0), (ssize_t)len);
}

static void send_fds(int n)
{
	int fds[100];

	for (int i = 0; i < n; i++)
		fds[i] = 2;
	send_raw(1, SCM_RIGHTS, fds, sizeof(int) * (size_t)n);
}

static void refused(int code, const char *words)
{
	assert_int_equal(scm_recv_fd(ours, in_ms(LONG_MS), &err), code);
	if (!strstr(err.msg, words))
		print_error("not in \"%s\": %s\n", err.msg, words);
	assert_non_null(strstr(err.msg, words));
}

/* ---- what works */

static void t07_one_byte_and_one_fd(void **state)
{
	struct stat sent, got;
	int file = memfd_create("sent", MFD_CLOEXEC), fd;

	(void)state;
	pair(SOCK_STREAM);
	must(scm_send_fd(theirs, file, &err));
	fd = must(scm_recv_fd(ours, in_ms(LONG_MS), &err));
	assert_true(fd > 2);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fstat(file, &sent), 0);
	assert_int_equal(fstat(fd, &got), 0);
	assert_int_equal(sent.st_ino, got.st_ino);
	unpair(1);
	(void)close(fd);
	(void)close(file);
}

/* With 0 closed the kernel gives that number to what comes: it is moved above 2. */
static void t07_never_fd_0_1_or_2(void **state)
{
	int saved[3], fd;

	(void)state;
	pair(SOCK_STREAM);
	for (int i = 0; i < 3; i++) {
		must(scm_send_fd(theirs, 2, &err));
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
	}
	for (int i = 0; i < 3; i++) {
		(void)close(i);
		fd = scm_recv_fd(ours, in_ms(LONG_MS), &err);
		assert_true(fcntl(i, F_GETFD) < 0);
		(void)dup2(saved[i], i);
		(void)close(saved[i]);
		assert_true(fd > 2);
		(void)close(fd);
	}
	unpair(0);
}

static void t07_a_message_with_two_fds_beside_it(void **state)
{
	int fds[SCM_FDS], sent[SCM_FDS] = { 1, 2 };
	char data[16];

	(void)state;
	pair(SOCK_SEQPACKET);
	must(scm_send(theirs, "hello", 5, sent, 2, &err));
	must(scm_send(theirs, "none", 4, NULL, 0, &err));
	assert_int_equal(scm_recv(ours, in_ms(LONG_MS), data, sizeof data, fds, &err), 5);
	assert_memory_equal(data, "hello", 5);
	assert_true(fds[0] > 2 && fds[1] > 2);
	(void)close(fds[0]);
	(void)close(fds[1]);
	assert_int_equal(scm_recv(ours, in_ms(LONG_MS), data, sizeof data, fds, &err), 4);
	assert_true(fds[0] == -1 && fds[1] == -1);
	fd_closep(&theirs);
	assert_int_equal(scm_recv(ours, in_ms(LONG_MS), data, sizeof data, fds, &err), 0);
	unpair(0);
}

/* ---- hostile peers */

static void t07_the_end_is_no_fd(void **state)
{
	(void)state;
	pair(SOCK_STREAM);
	fd_closep(&theirs);
	refused(-ENODATA, "no fd came before the end");
	unpair(0);
}

static void t07_a_byte_without_rights(void **state)
{
	(void)state;
	pair(SOCK_STREAM);
	send_raw(1, 0, NULL, 0);
	refused(-EBADMSG, "a byte came without an fd");
	unpair(0);
}

/* Room for one fd is room for two, for alignment's sake: both must be seen, and closed. */
static void t07_two_fds(void **state)
{
	(void)state;
	pair(SOCK_STREAM);
	send_fds(2);
	refused(-EMSGSIZE, "more than one fd came");
	unpair(0);
}

static void t07_a_hundred_fds(void **state)
{
	(void)state;
	pair(SOCK_STREAM);
	send_fds(100);
	refused(-EMSGSIZE, "more fds came than expected");
	unpair(0);
}

/* Only what the socket itself was told to deliver can come: credentials, where it asks for them. */
static void t07_credentials_instead_of_rights(void **state)
{
	struct ucred self = { getpid(), getuid(), getgid() };
	int on = 1;

	(void)state;
	pair(SOCK_STREAM);
	assert_int_equal(setsockopt(ours, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
	send_raw(1, SCM_CREDENTIALS, &self, sizeof self);
	refused(-EBADMSG, "something else than fds");
	send_fds(1); /* the kernel adds them to this one, too */
	refused(-EBADMSG, "something else than fds");
	unpair(0);
}

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
/* A pidfd is an fd as well, and must not stay. */
static void t07_a_pidfd_beside_it(void **state)
{
	int on = 1;

	(void)state;
	pair(SOCK_STREAM);
	if (setsockopt(ours, SOL_SOCKET, SO_PASSPIDFD, &on, sizeof on) == 0) {
		send_raw(1, 0, NULL, 0);
		refused(-EBADMSG, "something else than fds");
		send_fds(1); /* for both there is no room */
		refused(-EMSGSIZE, "more fds came than expected");
	}
	unpair(0);
}

static void t07_nothing_until_the_deadline(void **state)
{
	int64_t begin = io_now_ms();

	(void)state;
	pair(SOCK_STREAM);
	assert_int_equal(scm_recv_fd(ours, in_ms(50), &err), -ETIMEDOUT);
	assert_non_null(strstr(err.msg, "in time"));
	assert_true(io_now_ms() - begin >= 50);
	unpair(0);
}

static void t07_longer_messages_and_empty_ones(void **state)
{
	int fd = 2;

	(void)state;
	pair(SOCK_SEQPACKET);
	send_raw(2, SCM_RIGHTS, &fd, sizeof fd);
	refused(-EMSGSIZE, "a longer message");
	send_raw(0, SCM_RIGHTS, &fd, sizeof fd);
	refused(-EBADMSG, "an fd came without a byte");
	unpair(0);
}

/* No number is free for what comes: the kernel leaves it out, and so it is said. */
static void t07_no_number_is_free(void **state)
{
	struct rlimit limit, less;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	pair(SOCK_STREAM);
	send_fds(1);
	less = limit;
	less.rlim_cur = (rlim_t)(ours > theirs ? ours : theirs) + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &less), 0);
	refused(-EMSGSIZE, "than this process may open");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	unpair(0);
}

static void t07_no_socket(void **state)
{
	int file = memfd_create("file", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(scm_recv_fd(file, in_ms(LONG_MS), &err), -ENOTSOCK);
	assert_int_equal(scm_send_fd(file, 2, &err), -ENOTSOCK);
	(void)close(file);
}

static void t07_nobody_listens(void **state)
{
	(void)state;
	pair(SOCK_STREAM);
	fd_closep(&ours);
	assert_int_equal(scm_send_fd(theirs, 2, &err), -EPIPE);
	unpair(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t07_one_byte_and_one_fd),
		cmocka_unit_test(t07_never_fd_0_1_or_2),
		cmocka_unit_test(t07_a_message_with_two_fds_beside_it),
		cmocka_unit_test(t07_the_end_is_no_fd),
		cmocka_unit_test(t07_a_byte_without_rights),
		cmocka_unit_test(t07_two_fds),
		cmocka_unit_test(t07_a_hundred_fds),
		cmocka_unit_test(t07_credentials_instead_of_rights),
		cmocka_unit_test(t07_a_pidfd_beside_it),
		cmocka_unit_test(t07_nothing_until_the_deadline),
		cmocka_unit_test(t07_longer_messages_and_empty_ones),
		cmocka_unit_test(t07_no_number_is_free),
		cmocka_unit_test(t07_no_socket),
		cmocka_unit_test(t07_nobody_listens),
	};

	testing_start(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
