/* test_guest_tap.c - the packet path of tapnet-guest and tapnet-wire, on sockets instead of TAPs.
 *
 * A socket pair can do what no TAP does when it is asked: be full, give a message of any length,
 * be interrupted. Contract: T16 (sending) and T17 (receiving).
 */
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

static void side_open(struct side *side, unsigned n, size_t hdr_len, int epoll, uint64_t tag)
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

static void side_close(struct side *side)
{
	tap_free(&side->tap);
	for (unsigned i = 0; i < QUEUES; i++)
		fd_closep(&side->far[i]);
}

static int setup(void **state)
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

static int teardown(void **state)
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

static void got_input(void *arg, const uint8_t *frame, size_t len)
{
	(void)arg;
	got.n++;
	got.len = len;
	memcpy(got.frame, frame, len);
}

/* A frame whose flow, number and length can be seen. */
static uint8_t *frame_make(unsigned flow, unsigned number, size_t len)
{
	for (size_t i = 0; i < len; i++)
		big[i] = (uint8_t)(i * 7 + 1);
	big[11] = (uint8_t)flow;
	big[12] = big[13] = 0x88;
	memcpy(big + 14, &number, sizeof number);
	return big;
}

static unsigned frame_number(const uint8_t *frame)
{
	unsigned number;

	memcpy(&number, frame + 14, sizeof number);
	return number;
}

/* As a kernel would bring it: a header of zeros, or the one given, then the frame. */
static void bring(struct side *side, unsigned queue, const struct virtio_net_hdr *hdr, size_t len)
{
	static uint8_t message[BIG];
	size_t hdr_len = side->tap.hdr_len;

	memset(message, 0, hdr_len);
	if (hdr)
		memcpy(message, hdr, sizeof *hdr);
	memcpy(message + hdr_len, big, len);
	assert_int_equal(send(side->far[queue], message, hdr_len + len, 0), hdr_len + len);
}

static size_t fetch(struct side *side, unsigned queue)
{
	ssize_t n = recv(side->far[queue], big, sizeof big, MSG_DONTWAIT);

	return n < 0 ? 0 : (size_t)n;
}

static const size_t headers[] = { 0, 10, 12, 20, 4096, TAP_HDR_MAX };

/* --- T16 -------------------------------------------------------------------------------------- */

static void t16_a_header_of_zeros_is_prepended(void **state)
{
	static const uint8_t zeros[TAP_HDR_MAX];
	static uint8_t want[1500];

	(void)state;
	for (unsigned i = 0; i < COUNT(headers); i++) {
		side_open(&a, 1, headers[i], a.epoll, 0);
		memcpy(want, frame_make(1, 2, sizeof want), sizeof want);
		tap_send(&a.tap, big, sizeof want);
		assert_int_equal(fetch(&a, 0), headers[i] + sizeof want);
		assert_memory_equal(big, zeros, headers[i]);
		assert_memory_equal(big + headers[i], want, sizeof want);
		assert_int_equal(a.tap.queues[0].count.out, 1);
		side_close(&a);
	}
}

static void t16_short_frames_are_padded(void **state)
{
	static const uint8_t zeros[TAP_FRAME_MIN];

	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	for (size_t len = 14; len <= TAP_FRAME_MIN + 1; len++) {
		size_t whole = len < TAP_FRAME_MIN ? TAP_FRAME_MIN : len;

		frame_make(0, 0, len);
		memset(big + len, 0xee, 100);
		tap_send(&a.tap, big, len);
		assert_int_equal(fetch(&a, 0), 12 + whole);
		assert_memory_equal(big + 12 + len, zeros, whole - len);
	}
	assert_int_equal(a.tap.queues[0].count.padded, TAP_FRAME_MIN - 14);
}

/* Sends until one is kept; the number of frames that were sent. */
static unsigned fill(struct side *side, unsigned flow, size_t len)
{
	unsigned n = 0;

	while (side->tap.n_kept == 0 && n < 100000)
		tap_send(&side->tap, frame_make(flow, n++, len), len);
	assert_int_equal(side->tap.n_kept, 1);
	return n;
}

/* Handles what epoll says now; the number of its events. */
static int turn(tap_input *input)
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

static void t16_a_frame_that_is_not_taken_is_kept_and_sent_in_order(void **state)
{
	unsigned n, next = 0;

	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	n = fill(&a, 0, 1500);
	tap_send(&a.tap, frame_make(0, n++, 60),
		 60); /* there might be room: not before the other */
	assert_int_equal(a.tap.n_kept, 2);
	assert_int_equal(turn(got_input), 0); /* and nobody spins */
	while (next < n) {
		size_t len = fetch(&a, 0);

		if (len)
			assert_int_equal(frame_number(big + 12), next++);
		else
			assert_int_equal(turn(got_input), 1);
	}
	assert_int_equal(a.tap.n_kept, 0);
	assert_int_equal(a.tap.queues[0].count.kept, 2);
	assert_int_equal(a.tap.queues[0].count.out, n);
	assert_int_equal(turn(got_input), 0);
}

static void t16_what_is_kept_is_bounded(void **state)
{
	struct tap_counters *count;
	unsigned n;

	(void)state;
	side_open(&a, 1, 0, a.epoll, 0);
	n = fill(&a, 0, 1500);
	for (unsigned i = 0; i < 1000; i++)
		tap_send(&a.tap, frame_make(0, n++, 100), 100);
	count = &a.tap.queues[0].count;
	assert_int_equal(a.tap.n_kept, TAP_KEPT_MAX);
	assert_int_equal(count->full, 1001 - TAP_KEPT_MAX);
	assert_int_equal(count->out + count->full + a.tap.n_kept, n);
}

static void t16_a_queue_that_is_full_does_not_let_others_overtake(void **state)
{
	unsigned flow = 0, n, queue = QUEUES;

	(void)state;
	side_open(&a, 2, 0, a.epoll, 0);
	n = fill(&a, 0, 1500);
	/* Another flow, of the other queue: it waits, too. */
	for (flow = 1; flow < 100 && a.tap.n_kept < 10; flow++)
		tap_send(&a.tap, frame_make(flow, n++, 100), 100);
	assert_int_equal(a.tap.queues[0].count.out + a.tap.queues[1].count.out, n - 10);
	assert_true(a.tap.queues[0].count.kept && a.tap.queues[1].count.kept);
	for (unsigned i = 0; i < 2; i++)
		if (a.tap.queues[i].count.out)
			queue = i;
	while (fetch(&a, queue))
		;
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(a.tap.n_kept, 0);
}

static void t16_an_interruption_is_retried(void **state)
{
	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	interrupts = 3;
	tap_send(&a.tap, frame_make(0, 7, 100), 100);
	assert_int_equal(writes, 4);
	assert_int_equal(fetch(&a, 0), 112);
	frame_make(0, 8, 100);
	bring(&a, 0, NULL, 100);
	interrupts = 3;
	got.n = 0;
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(got.n, 1);
	assert_int_equal(reads, 5); /* and one that finds nothing more */
}

static void t16_what_the_device_refuses_is_counted(void **state)
{
	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	refused = EIO; /* the device is down */
	tap_send(&a.tap, frame_make(0, 7, 100), 100);
	assert_int_equal(a.tap.queues[0].count.failed, 1);
	refused = EAGAIN;
	tap_send(&a.tap, frame_make(0, 7, 100), 100);
	refused = EIO; /* it went down while a frame was kept, and says nothing */
	assert_int_equal(tap_recheck(&a.tap), 0);
	assert_int_equal(a.tap.n_kept, 0);
	assert_int_equal(a.tap.queues[0].count.failed, 2);
	assert_int_equal(a.tap.queues[0].count.out, 0);
}

/* --- T17 -------------------------------------------------------------------------------------- */

static void t17_the_header_is_stripped(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(headers); i++) {
		side_open(&a, 1, headers[i], a.epoll, 0);
		got.n = 0;
		frame_make(3, 4, 1000);
		bring(&a, 0, NULL, 1000);
		assert_int_equal(turn(got_input), 1);
		assert_int_equal(got.n, 1);
		assert_int_equal(got.len, 1000);
		assert_memory_equal(got.frame, big, 1000);
		side_close(&a);
	}
}

static void t17_short_frames_are_padded(void **state)
{
	static const uint8_t zeros[TAP_FRAME_MIN];

	(void)state;
	side_open(&a, 1, 10, a.epoll, 0);
	memset(big, 0xee, 1500); /* what was there before must not be seen */
	bring(&a, 0, NULL, 1500);
	assert_int_equal(turn(got_input), 1);
	for (size_t len = 1; len <= TAP_FRAME_MIN + 1; len++) {
		size_t whole = len < TAP_FRAME_MIN ? TAP_FRAME_MIN : len;

		bring(&a, 0, NULL, len);
		assert_int_equal(turn(got_input), 1);
		assert_int_equal(got.len, whole);
		assert_memory_equal(got.frame, big, len);
		assert_memory_equal(got.frame + len, zeros, whole - len);
	}
	assert_int_equal(a.tap.queues[0].count.padded, TAP_FRAME_MIN - 1);
}

static void t17_what_is_shorter_than_its_header_is_counted(void **state)
{
	(void)state;
	memset(big, 0, 100);
	for (unsigned i = 0; i < COUNT(headers); i++) {
		side_open(&a, 1, headers[i], a.epoll, 0);
		got.n = 0;
		for (size_t len = 0; len <= 20 && len <= headers[i]; len++) {
			assert_int_equal(send(a.far[0], big, len, 0), len);
			assert_int_equal(turn(got_input), 1);
			assert_int_equal(a.tap.queues[0].count.runt, len + 1);
		}
		assert_int_equal(got.n, 0);
		assert_int_equal(a.tap.queues[0].count.in, 0);
		side_close(&a);
	}
}

static void t17_what_is_too_long_is_counted(void **state)
{
	int room = 1 << 20;

	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	got.n = 0;
	assert_int_equal(setsockopt(a.far[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
	bring(&a, 0, NULL, TAP_FRAME_MAX);
	bring(&a, 0, NULL, TAP_FRAME_MAX + 1);
	bring(&a, 0, NULL, TAP_FRAME_MAX + 1000);
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(got.n, 1);
	assert_int_equal(got.len, TAP_FRAME_MAX);
	assert_int_equal(a.tap.queues[0].count.giant, 2);
}

static void t17_at_most_50_frames_a_wakeup(void **state)
{
	(void)state;
	side_open(&a, 2, 0, a.epoll, 0);
	for (unsigned i = 0; i < 120; i++) {
		frame_make(0, i, 60);
		bring(&a, 0, NULL, 60);
		bring(&a, 1, NULL, 60);
	}
	for (unsigned want = 100; want <= 200; want += 100) {
		got.n = reads = 0;
		assert_int_equal(turn(got_input), 2);
		assert_int_equal(got.n, TAP_BURST * 2);
		assert_int_equal(reads, TAP_BURST * 2);
	}
	got.n = 0;
	assert_int_equal(turn(got_input), 2);
	assert_int_equal(got.n, 40);
	assert_int_equal(turn(got_input), 0);
}

static void t17_runts_count_for_the_burst(void **state)
{
	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(send(a.far[0], big, 5, 0), 5);
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(a.tap.queues[0].count.runt, TAP_BURST);
}

static void t17_reading_pauses_while_a_frame_is_kept(void **state)
{
	(void)state;
	side_open(&a, 2, 0, a.epoll, 0);
	fill(&a, 0, 1500);
	got.n = reads = 0;
	frame_make(0, 0, 60);
	bring(&a, 0, NULL, 60);
	bring(&a, 1, NULL, 60);
	assert_int_equal(turn(got_input), 0);
	/* As when epoll had told of both before the frame was kept. */
	assert_int_equal(tap_event(&a.tap, 1, EPOLLIN, got_input, NULL), 0);
	assert_int_equal(reads, 0);
	while (fetch(&a, 0) || fetch(&a, 1))
		;
	while (turn(got_input))
		;
	assert_int_equal(a.tap.n_kept, 0);
	assert_int_equal(got.n, 2);
}

static void t17_a_detached_queue_is_not_polled(void **state)
{
	(void)state;
	side_open(&a, 2, 0, a.epoll, 0);
	detached_fd = a.tap.queues[1].fd;
	assert_int_equal(tap_recheck(&a.tap), 1);
	assert_int_equal(tap_recheck(&a.tap), 0);
	assert_int_equal(a.tap.n_attached, 1);
	reads = 0;
	bring(&a, 1, NULL, 60);
	assert_int_equal(turn(got_input), 0);
	assert_int_equal(tap_event(&a.tap, 1, EPOLLIN, got_input, NULL), 0);
	assert_int_equal(reads, 0);
	for (unsigned flow = 0; flow < 50; flow++)
		tap_send(&a.tap, frame_make(flow, 0, 60), 60);
	assert_int_equal(a.tap.queues[0].count.out, 50);
	detached_fd = -1;
	assert_int_equal(tap_recheck(&a.tap), 1);
	got.n = 0;
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(got.n, 1);
}

static void t17_a_device_that_is_gone_is_told(void **state)
{
	(void)state;
	side_open(&a, 1, 0, a.epoll, 0);
	assert_int_equal(tap_event(&a.tap, 0, EPOLLIN | EPOLLERR, got_input, NULL), -EBADFD);
	gone_fd = a.tap.queues[0].fd;
	assert_int_equal(tap_recheck(&a.tap), -EBADFD);
}

/* --- both: a wire ----------------------------------------------------------------------------- */

static void wire_open(unsigned n_a, size_t hdr_a, unsigned n_b, size_t hdr_b)
{
	side_open(&a, n_a, hdr_a, a.epoll, 0);
	side_open(&b, n_b, hdr_b, a.epoll, 100);
	tap_join(&a.tap, &b.tap);
}

/* The sender fills what the kernel holds for the wire, whose other side takes a frame at times. */
static void t16_a_slow_side_pauses_the_other(void **state)
{
	enum { FRAMES = 3000, LEN = 1000 };
	unsigned sent = 0, came = 0, paused = 0, blocked = 0;
	struct tap_counters *in = NULL, *out = NULL;

	(void)state;
	wire_open(1, 0, 1, 12);
	in = &a.tap.queues[0].count;
	out = &b.tap.queues[0].count;
	while (came < FRAMES) {
		while (sent < FRAMES && send(a.far[0], frame_make(1, sent, LEN), LEN, 0) == LEN)
			sent++;
		if (!turn(NULL) && b.tap.n_kept > 0) {
			unsigned before = reads + writes;

			for (int i = 0; i < 10; i++)
				assert_int_equal(turn(NULL), 0); /* nobody spins */
			assert_int_equal(reads + writes, before);
			paused += sent < FRAMES;
			blocked++;
		}
		assert_true(b.tap.n_kept <= 1);
		assert_int_equal(in->in, out->out + b.tap.n_kept);
		for (int i = 0; i < 3 && fetch(&b, 0) == 12 + LEN; i++)
			assert_int_equal(frame_number(big + 12), came++);
	}
	assert_true(paused > 10 && blocked > 100);
	assert_int_equal(sent, FRAMES);
	assert_int_equal(in->in, FRAMES);
	assert_int_equal(out->out, FRAMES);
	assert_int_equal(out->full + out->failed, 0);
}

/* One way is blocked: the other goes on. */
static void t16_a_pause_is_of_one_direction(void **state)
{
	(void)state;
	wire_open(1, 0, 1, 0);
	fill(&b, 0, 1500);
	bring(&a, 0, NULL, 60);
	assert_int_equal(turn(NULL), 0);
	for (unsigned i = 0; i < 100; i++) {
		frame_make(0, i, 60);
		bring(&b, 0, NULL, 60);
		assert_int_equal(turn(NULL), 1);
		assert_int_equal(fetch(&a, 0), 60);
		assert_int_equal(frame_number(big), i);
	}
	assert_int_equal(a.tap.queues[0].count.in, 0);
}

static void t16_headers_of_two_lengths(void **state)
{
	(void)state;
	wire_open(1, 20, 1, 10);
	frame_make(1, 42, 700);
	bring(&a, 0, NULL, 700);
	assert_int_equal(turn(NULL), 1);
	assert_int_equal(fetch(&b, 0), 710);
	assert_int_equal(frame_number(big + 10), 42);
	memmove(big, big + 10, 700);
	bring(&b, 0, NULL, 700);
	assert_int_equal(turn(NULL), 1);
	assert_int_equal(fetch(&a, 0), 720);
	assert_int_equal(frame_number(big + 20), 42);
}

/* The sum of 16 bits as IP has it, over the bytes from `start` on. */
static unsigned sum_of(const uint8_t *data, size_t start, size_t len)
{
	unsigned sum = 0;

	for (size_t i = start; i < len; i += 2)
		sum += (unsigned)data[i] << 8 | (i + 1 < len ? data[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void t17_a_checksum_is_finished(void **state)
{
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .csum_start = 34,
				      .csum_offset = 6 };

	(void)state;
	side_open(&a, 1, 10, a.epoll, 0);
	for (size_t len = 60; len < 200; len++) {
		frame_make(0, (unsigned)len, len);
		big[40] = 0x12; /* a part of the sum: the addresses' */
		big[41] = (uint8_t)len;
		bring(&a, 0, &hdr, len);
		assert_int_equal(turn(got_input), 1);
		assert_int_equal(got.len, len);
		/* All of it and the part that was there add up to 0, which is 0xffff, too. */
		assert_int_equal((sum_of(got.frame, 34, len) + 0x1200 + len) % 0xffff, 0);
	}
	memset(big, 0xff, 60);
	bring(&a, 0, &hdr, 60);
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(got.frame[40] << 8 | got.frame[41], 0xffff); /* 0 would say: no sum */
}

static void t17_what_should_have_been_cut_is_counted(void **state)
{
	struct virtio_net_hdr hdrs[] = {
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 60, .csum_offset = 39 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 65535, .csum_offset = 65535 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 65 },
	};

	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	frame_make(0, 0, 100);
	got.n = 0;
	for (unsigned i = 0; i < COUNT(hdrs); i++) {
		bring(&a, 0, &hdrs[i], 100);
		assert_int_equal(turn(got_input), 1);
		assert_int_equal(a.tap.queues[0].count.gso, i + 1);
	}
	assert_int_equal(got.n, 0);
	hdrs[0] = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					   .csum_start = 60,
					   .csum_offset = 38 };
	bring(&a, 0, &hdrs[0], 100);
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(got.n, 1);
}

/* Two ends with vnet headers, and a kernel that leaves segments whole: they are passed on with what
 * the header says, also when they had to wait. All else of the header stays here. */
static void t16_whole_segments_are_passed_on(void **state)
{
	struct virtio_net_hdr hdr = { .flags = 0xff,
				      .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				      .hdr_len = 54,
				      .gso_size = 1448,
				      .csum_start = 34,
				      .csum_offset = 16 };
	struct virtio_net_hdr want = hdr, got_hdr;
	static const uint8_t zeros[20];
	int waited = 0;

	(void)state;
	want.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	offloads = 1;
	wire_open(1, 10, 1, 20);
	assert_int_equal(offloads, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN);
	for (unsigned i = 0; i < 100 && waited < 3; i++) {
		frame_make(1, i, 60000);
		bring(&a, 0, &hdr, 60000);
		(void)turn(NULL);
		if (!b.tap.n_kept)
			continue;
		waited++;
		while (fetch(&b, 0) == 60020) {
			memcpy(&got_hdr, big, sizeof got_hdr);
			assert_memory_equal(&got_hdr, &want, sizeof want);
			assert_memory_equal(big + sizeof want, zeros, 10);
			(void)turn(NULL);
		}
	}
	assert_int_equal(waited, 3);
	hdr.flags =
		VIRTIO_NET_HDR_F_DATA_VALID; /* of this end's kernel: the other knows nothing of it */
	hdr.gso_type = VIRTIO_NET_HDR_GSO_NONE;
	frame_make(1, 0, 100);
	bring(&a, 0, &hdr, 100);
	while (turn(NULL))
		;
	assert_int_equal(fetch(&b, 0), 120);
	assert_memory_equal(big, zeros, 20);
	assert_int_equal(a.tap.queues[0].count.gso, 0);
}

static void t16_segments_are_cut_for_an_end_without_header(void **state)
{
	(void)state;
	offloads = 1;
	wire_open(1, 10, 1, 0);
	assert_int_equal(offloads, 1); /* not asked for */
	assert_false(a.tap.whole || b.tap.whole);
}

/* Messages of any length and content: nothing is read or written that should not be (the
 * sanitizers look), and what came is what went and what was dropped. */
static void t17_any_message_of_any_length(void **state)
{
	static const size_t lens[] = { 0, 10, 12, 20 };
	uint64_t random = 88172645463325252u;

	(void)state;
	for (unsigned round = 0; round < COUNT(lens) * COUNT(lens); round++) {
		struct tap_counters *in = NULL, *out = NULL;
		unsigned went = 0;

		offloads = round % 2;
		wire_open(1, lens[round % COUNT(lens)], 1, lens[round / COUNT(lens)]);
		in = &a.tap.queues[0].count;
		out = &b.tap.queues[0].count;
		for (unsigned i = 0; i < 3000; i++) {
			size_t len;

			for (size_t k = 0; k < 40; k++) {
				random ^= random << 13;
				random ^= random >> 7;
				random ^= random << 17;
				memcpy(big + k * 8, &random, 8);
			}
			len = i % 100 == 0 ? random % 60000 : random % 320;
			if (random >> 32 & 1)
				memset(big, 0, 2); /* a header that says nothing comes often */
			assert_int_equal(send(a.far[0], big, len, 0), len);
			assert_int_equal(turn(NULL), 1);
			for (len = fetch(&b, 0); len; len = fetch(&b, 0), went++)
				assert_true(len >= lens[round / COUNT(lens)] + TAP_FRAME_MIN);
		}
		assert_int_equal(in->in + in->runt + in->giant + in->gso, 3000);
		assert_int_equal(in->in, out->out);
		assert_int_equal(went, out->out);
		side_close(&b);
		side_close(&a);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(t16_a_header_of_zeros_is_prepended),
		TEST(t16_short_frames_are_padded),
		TEST(t16_a_frame_that_is_not_taken_is_kept_and_sent_in_order),
		TEST(t16_what_is_kept_is_bounded),
		TEST(t16_a_queue_that_is_full_does_not_let_others_overtake),
		TEST(t16_an_interruption_is_retried),
		TEST(t16_what_the_device_refuses_is_counted),
		TEST(t16_a_slow_side_pauses_the_other),
		TEST(t16_a_pause_is_of_one_direction),
		TEST(t16_headers_of_two_lengths),
		TEST(t17_the_header_is_stripped),
		TEST(t17_short_frames_are_padded),
		TEST(t17_what_is_shorter_than_its_header_is_counted),
		TEST(t17_what_is_too_long_is_counted),
		TEST(t17_at_most_50_frames_a_wakeup),
		TEST(t17_runts_count_for_the_burst),
		TEST(t17_reading_pauses_while_a_frame_is_kept),
		TEST(t17_a_detached_queue_is_not_polled),
		TEST(t17_a_device_that_is_gone_is_told),
		TEST(t17_a_checksum_is_finished),
		TEST(t17_what_should_have_been_cut_is_counted),
		TEST(t16_whole_segments_are_passed_on),
		TEST(t16_segments_are_cut_for_an_end_without_header),
		TEST(t17_any_message_of_any_length),
	};

	return cmocka_run_group_tests_name("guest_tap", tests, NULL, NULL);
}
