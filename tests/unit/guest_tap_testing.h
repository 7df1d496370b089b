/* guest_tap_testing.h - a TAP of sockets, for the tests of the packet path: a socket pair can do what no TAP
 * does when it is asked: be full, give a message of any length, be interrupted. */
#ifndef TAPNET_TESTS_GUEST_TAP_TESTING_H
#define TAPNET_TESTS_GUEST_TAP_TESTING_H

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "guest/tap.h"

enum { QUEUES = 3, BIG = TAP_HDR_MAX + TAP_FRAME_MAX };

/* --- the kernel's side ------------------------------------------------------------------------ */

static unsigned interrupts, reads, writes;
static int detached_fd = -1, gone_fd = -1, refused;
static unsigned long offloads;

ssize_t read(int fd, void *data, size_t len)
{
	reads++;
	if (interrupts && interrupts--) {
		errno = EINTR;
		return -1;
	}
	return syscall(SYS_read, fd, data, len);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
	writes++;
	if (interrupts && interrupts--) {
		errno = EINTR;
		return -1;
	}
	if (refused) {
		errno = refused;
		return -1;
	}
	return syscall(SYS_writev, fd, parts, n);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	struct ifreq *ifr;

	va_start(args, request);
	ifr = va_arg(args, struct ifreq *);
	va_end(args);
	if (request == TUNSETOFFLOAD && offloads) {
		offloads = (unsigned long)ifr;
		return 0;
	}
	errno = request != TUNGETIFF ? ENOTTY : fd == gone_fd ? EBADFD : 0;
	if (errno)
		return -1;
	ifr->ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (fd == detached_fd ? IFF_DETACH_QUEUE : 0));
	return 0;
}

/* --- a TAP of sockets, and the other ends of its queues --------------------------------------- */

struct side {
	struct tap tap;
	int far[QUEUES];
	int epoll;
};

static struct side a, b;
static uint8_t big[BIG + 1];

static inline void side_open(struct side *side, unsigned n, size_t hdr_len, int epoll, uint64_t tag)
{
	struct timeval limit = { .tv_sec = 5 };
	int fds[QUEUES], ends[2];
	struct err err;

	memset(side->far, 0xff, sizeof side->far);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
			0);
		fds[i] = ends[0];
		side->far[i] = ends[1];
		assert_int_equal(setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit),
				 0);
	}
	assert_int_equal(tap_init(&side->tap, fds, n, hdr_len, &err), 0);
	side->epoll = epoll;
	assert_int_equal(tap_watch(&side->tap, epoll, tag, &err), 0);
}

static inline void side_close(struct side *side)
{
	tap_free(&side->tap);
	for (unsigned i = 0; i < QUEUES; i++)
		fd_closep(&side->far[i]);
}

static inline int setup(void **state)
{
	(void)state;
	a = b = (struct side){ .far = { -1, -1, -1 }, .epoll = -1 };
	a.epoll = epoll_create1(EPOLL_CLOEXEC);
	interrupts = reads = writes = 0;
	detached_fd = gone_fd = -1;
	refused = 0;
	offloads = 0;
	return a.epoll < 0;
}

static inline int teardown(void **state)
{
	(void)state;
	side_close(&b);
	side_close(&a);
	fd_closep(&a.epoll);
	return 0;
}

static struct {
	unsigned n;
	size_t len;
	uint8_t frame[TAP_FRAME_MAX];
} got;

static inline void got_input(void *arg, const uint8_t *frame, size_t len)
{
	(void)arg;
	got.n++;
	got.len = len;
	memcpy(got.frame, frame, len);
}

/* A frame whose flow, number and length can be seen. */
static inline uint8_t *frame_make(unsigned flow, unsigned number, size_t len)
{
	for (size_t i = 0; i < len; i++)
		big[i] = (uint8_t)(i * 7 + 1);
	big[11] = (uint8_t)flow;
	big[12] = big[13] = 0x88;
	memcpy(big + 14, &number, sizeof number);
	return big;
}

static inline unsigned frame_number(const uint8_t *frame)
{
	unsigned number;

	memcpy(&number, frame + 14, sizeof number);
	return number;
}

/* As a kernel would bring it: a header of zeros, or the one given, then the frame. */
static inline void bring(struct side *side, unsigned queue, const struct virtio_net_hdr *hdr,
			 size_t len)
{
	static uint8_t message[BIG];
	size_t hdr_len = side->tap.hdr_len;

	memset(message, 0, hdr_len);
	if (hdr)
		memcpy(message, hdr, sizeof *hdr);
	memcpy(message + hdr_len, big, len);
	assert_int_equal(send(side->far[queue], message, hdr_len + len, 0), hdr_len + len);
}

static inline size_t fetch(struct side *side, unsigned queue)
{
	ssize_t n = recv(side->far[queue], big, sizeof big, MSG_DONTWAIT);

	return n < 0 ? 0 : (size_t)n;
}

static const size_t headers[] = { 0, 10, 12, 20, 4096, TAP_HDR_MAX };

/* Sends until one is kept; the number of frames that were sent. */
static inline unsigned fill(struct side *side, unsigned flow, size_t len)
{
	unsigned n = 0;

	while (side->tap.n_kept == 0 && n < 100000)
		tap_send(&side->tap, frame_make(flow, n++, len), len);
	assert_int_equal(side->tap.n_kept, 1);
	return n;
}

/* Handles what epoll says now; the number of its events. */
static inline int turn(tap_input *input)
{
	struct epoll_event events[16];
	int n = epoll_wait(a.epoll, events, COUNT(events), 0);

	for (int i = 0; i < n; i++) {
		struct side *side = events[i].data.u64 < 100 ? &a : &b;
		unsigned queue = (unsigned)(events[i].data.u64 % 100);

		assert_int_equal(
			tap_event(&side->tap, queue, events[i].events, input, side->tap.peer), 0);
	}
	return n;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
