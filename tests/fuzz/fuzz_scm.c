/* fuzz_scm.c - any messages, with any number of fds and credentials beside them, to who expects one
 * fd: it gets one above 2 that is close-on-exec, or an error, and nothing else stays open.
 *
 * Two bytes are a message: how many bytes and fds; whether credentials or a pidfd come with it. The
 * first byte is the kind of socket.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "sys/scm.h"
#include "fuzz.h"

#define FDS_MAX 16

static void send_one(int sock, const uint8_t *how)
{
	char bytes[4] = { 0 }, room[CMSG_SPACE(sizeof(int) * FDS_MAX)] = { 0 };
	struct iovec iov = { bytes, how[0] & 3 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t n = how[0] >> 2 & (FDS_MAX - 1), len = sizeof(int) * n;

	if (n) {
		struct cmsghdr *c;

		msg.msg_control = room;
		msg.msg_controllen = CMSG_SPACE(len);
		c = CMSG_FIRSTHDR(&msg);
		*c = (struct cmsghdr){ CMSG_LEN(len), SOL_SOCKET, SCM_RIGHTS };
		for (size_t i = 0; i < n; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &(int){ STDERR_FILENO },
			       sizeof(int));
	}
	(void)sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void pass(int sock, uint8_t how)
{
	int creds = how & 1, pidfd = how >> 1 & 1;

	(void)setsockopt(sock, SOL_SOCKET, SO_PASSCRED, &creds, sizeof creds);
	(void)setsockopt(sock, SOL_SOCKET, 76 /* SO_PASSPIDFD */, &pidfd, sizeof pidfd);
}

static void receive(int sock)
{
	struct err err;
	int fd = scm_recv_fd(sock, 0, &err);

	if (fd < 0)
		return;
	if (fd <= STDERR_FILENO || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
		abort();
	(void)close(fd);
}

void judge(const uint8_t *data, size_t size)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	int before = lowest_free(), ends[2];

	if (size < 3 ||
	    socketpair(AF_UNIX, types[data[0] % COUNT(types)] | SOCK_CLOEXEC, 0, ends) < 0)
		return;
	for (size_t i = 1; i + 1 < size && i < 64; i += 2) {
		pass(ends[0], data[i + 1]);
		send_one(ends[1], data + i);
		if (data[i + 1] & 4)
			receive(ends[0]);
	}
	if (data[0] & 128)
		(void)shutdown(ends[1], SHUT_WR);
	for (int i = 0; i < 4; i++)
		receive(ends[0]);
	(void)close(ends[0]);
	(void)close(ends[1]);
	if (lowest_free() != before)
		abort();
}
