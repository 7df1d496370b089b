/* scm.c - fds over a socket.
 *
 * Theory of operation. The kernel puts fds into our table while it copies control messages, and
 * says MSG_CTRUNC when some were left out: for want of room, or of free numbers. So each control
 * message is looked through before anything is judged, all of its fds are noted or closed, and only
 * then comes the verdict. Room is counted in aligned units, so a buffer for one fd lets in two: the
 * length of a control message counts them, never the size of the buffer.
 */
#include "sys/scm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/io.h"

#ifndef SCM_PIDFD
#define SCM_PIDFD 4 /* since Linux 6.5; an fd, too */
#endif
#define FIRST_FD 3 /* those below are not what a peer may give us */

union control { /* room for SCM_FDS fds, aligned */
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int) * SCM_FDS)];
};

int scm_send(int sock, const void *data, size_t len, const int *fds, int n_fds, struct err *err)
{
	union control control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (n_fds > SCM_FDS)
		return err_set(err, -EINVAL, "%d fds are too many for one message", n_fds);
	if (n_fds) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n_fds);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n_fds);
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? err_sys(err, -errno, "cannot send") : 0;
}

/* ---- receiving */

struct taken {
	int fds[SCM_FDS];
	int n;	   /* fds that came, those closed included */
	int wrong; /* -errno */
};

static void taken_close(struct taken *taken)
{
	for (int i = 0; i < SCM_FDS; i++)
		fd_closep(&taken->fds[i]);
}

/* Owns fd from here on. */
static void take_one(struct taken *taken, int fd)
{
	autofd int low = fd < FIRST_FD ? fd : -1;

	if (low >= 0) {
		fd = fcntl(low, F_DUPFD_CLOEXEC, FIRST_FD);
		if (fd < 0)
			taken->wrong = -errno;
	}
	if (taken->n < SCM_FDS)
		taken->fds[taken->n] = fd;
	else
		fd_closep(&fd);
	taken->n++;
}

static void take_control(struct msghdr *msg, struct taken *taken)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t len = c->cmsg_len < CMSG_LEN(0) ? 0 : c->cmsg_len - CMSG_LEN(0);
		bool rights = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS;
		bool pidfd = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_PIDFD;

		if (!rights || len % sizeof(int))
			taken->wrong = -EBADMSG;
		for (size_t at = 0; (rights || pidfd) && at + sizeof(int) <= len;
		     at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
			take_one(taken, fd);
		}
	}
}

static int recv_judge(ssize_t n, const struct msghdr *msg, const struct taken *taken,
		      struct err *err)
{
	if (taken->wrong == -EBADMSG)
		return err_set(err, -EBADMSG, "something else than fds came with the message");
	if (taken->wrong)
		return err_sys(err, taken->wrong, "no place for the fd that came");
	if (msg->msg_flags & MSG_CTRUNC)
		return err_set(err, -EMSGSIZE,
			       "more fds came than expected, or than this process may open");
	if (msg->msg_flags & MSG_TRUNC)
		return err_set(err, -EMSGSIZE, "a longer message came than expected");
	if (n == 0 && taken->n) /* where messages have bounds, one of no bytes may have fds */
		return err_set(err, -EBADMSG, "an fd came without a byte");
	return 0;
}

ssize_t scm_recv(int sock, int64_t deadline, void *data, size_t size, int fds[SCM_FDS],
		 struct err *err)
{
	union control control;
	struct iovec iov = { data, size };
	struct msghdr msg;
	struct taken taken = { .fds = { -1, -1 } };
	ssize_t n;
	int r;

	for (int i = 0; i < SCM_FDS; i++)
		fds[i] = -1;
	do {
		r = io_wait(sock, POLLIN, deadline);
		if (r <= 0)
			return r ? err_sys(err, r, "cannot wait for a message")
				 : err_set(err, -ETIMEDOUT, "no message came in time");
		msg = (struct msghdr){ .msg_iov = &iov,
				       .msg_iovlen = 1,
				       .msg_control = &control,
				       .msg_controllen = sizeof control };
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n < 0)
		return err_sys(err, -errno, "cannot receive");
	take_control(&msg, &taken);
	r = recv_judge(n, &msg, &taken, err);
	if (r < 0) {
		taken_close(&taken);
		return r;
	}
	memcpy(fds, taken.fds, sizeof taken.fds);
	return n;
}

/* ---- the protocol of QEMU's bridge helper */

int scm_send_fd(int sock, int fd, struct err *err)
{
	return scm_send(sock, "", 1, &fd, 1, err);
}

int scm_recv_fd(int sock, int64_t deadline, struct err *err)
{
	int fds[SCM_FDS], r = 0;
	char byte = 0;
	ssize_t n = scm_recv(sock, deadline, &byte, sizeof byte, fds, err);

	if (n == 0)
		r = err_set(err, -ENODATA, "no fd came before the end");
	else if (n > 0 && fds[0] < 0)
		r = err_set(err, -EBADMSG, "a byte came without an fd");
	else if (n > 0 && fds[1] >= 0)
		r = err_set(err, -EMSGSIZE, "more than one fd came");
	else if (n > 0)
		return fds[0];
	for (int i = 0; i < SCM_FDS; i++)
		fd_closep(&fds[i]);
	return n < 0 ? (int)n : r;
}
