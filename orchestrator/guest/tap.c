/* tap.c - reads and writes the queues of a TAP; what is kept, padded, dropped and counted. */
#include "guest/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "base/str.h"

static int queue_flags(int fd, struct ifreq *ret_ifr)
{
	memset(ret_ifr, 0, sizeof *ret_ifr);
	return ioctl(fd, TUNGETIFF, ret_ifr) < 0 ? -errno : 0;
}

static unsigned short ifr_flags_of(const struct ifreq *ifr)
{
	return (unsigned short)ifr->ifr_flags;
}

static int queue_ask(int fd, struct ifreq *ret_ifr, struct err *err)
{
	int r = queue_flags(fd, ret_ifr);

	if (r == -EBADF)
		return err_set(err, r, "fd %d is not open", fd);
	if (r == -EBADFD)
		return err_set(err, r, "fd %d is not attached to a TAP, or its TAP is gone", fd);
	if (r < 0)
		return err_set(err, r, "fd %d is not a TAP", fd);
	if (!(ifr_flags_of(ret_ifr) & IFF_TAP))
		return err_set(err, -EINVAL, "fd %d is a TUN, without Ethernet: a TAP is needed",
			       fd);
	if (!(ifr_flags_of(ret_ifr) & IFF_NO_PI))
		return err_set(err, -EINVAL, "fd %d carries packet information (no IFF_NO_PI)", fd);
	return 0;
}

static int queue_adopt(struct tap *tap, unsigned i, int fd, struct err *err)
{
	struct tap_queue *q = &tap->queues[i];
	struct ifreq ifr;
	int r = queue_ask(fd, &ifr, err);
	int flags;

	if (r < 0)
		return r;
	if (i == 0)
		memcpy(tap->ifname, ifr.ifr_name, sizeof tap->ifname);
	else if (strncmp(tap->ifname, ifr.ifr_name, sizeof tap->ifname) != 0)
		return err_set(err, -EINVAL,
			       "fd %d is of another device (%.15s) than the first (%.15s)", fd,
			       ifr.ifr_name, tap->ifname);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(err, -errno, "fd %d", fd);
	q->fd = fd;
	q->attached = !(ifr_flags_of(&ifr) & IFF_DETACH_QUEUE);
	tap->n_attached += q->attached;
	return 0;
}

static int vnet_check(struct tap *tap, enum tap_vnet want, struct err *err)
{
	int fd = tap->queues[0].fd, len = 0, r;
	struct ifreq ifr;
	bool has;

	r = queue_ask(fd, &ifr, err);
	if (r < 0)
		return r;
	has = ifr_flags_of(&ifr) & IFF_VNET_HDR;
	if (want != TAP_VNET_AUTO && has != (want == TAP_VNET_ON))
		return err_set(err, -EINVAL, "vnet-hdr=%s, but the TAP has %s vnet header",
			       has ? "off" : "on", has ? "a" : "no");
	if (!has)
		return 0;
	if (ioctl(fd, TUNGETVNETHDRSZ, &len) < 0)
		return err_sys(err, -errno, "the size of the vnet header");
	if (len < 0 || len > TAP_HDR_MAX)
		return err_set(err, -EINVAL, "a vnet header of %d bytes (at most %d)", len,
			       TAP_HDR_MAX);
	tap->hdr_len = (size_t)len;
	return 0;
}

int tap_adopt(struct tap *tap, const int *fds, unsigned n_fds, enum tap_vnet want, struct err *err)
{
	int r;

	memset(tap, 0, sizeof *tap);
	tap->epoll = -1;
	tap->queues = calloc(n_fds, sizeof *tap->queues);
	if (!tap->queues)
		return err_sys(err, -ENOMEM, "%u queues", n_fds);
	tap->n_queues = n_fds;
	for (unsigned i = 0; i < n_fds; i++) {
		tap->queues[i].fd = -1;
		STAILQ_INIT(&tap->queues[i].kept);
	}
	for (unsigned i = 0; i < n_fds; i++) {
		r = queue_adopt(tap, i, fds[i], err);
		if (r < 0)
			return r;
	}
	r = vnet_check(tap, want, err);
	if (r < 0)
		return r;
	/* Whoever had the device before may have agreed on offloads. Without them every frame
	 * comes whole, with its checksum, so the vnet header has nothing to say. */
	if (ioctl(fds[0], TUNSETOFFLOAD, 0UL) < 0)
		return err_sys(err, -errno, "turning the offloads off");
	return 0;
}

static void kept_drop(struct tap_queue *q)
{
	struct tap_frame *frame = STAILQ_FIRST(&q->kept);

	STAILQ_REMOVE_HEAD(&q->kept, next);
	free(frame);
}

void tap_free(struct tap *tap)
{
	for (unsigned i = 0; i < tap->n_queues; i++) {
		struct tap_queue *q = &tap->queues[i];

		while (!STAILQ_EMPTY(&q->kept))
			kept_drop(q);
		fd_closep(&q->fd);
	}
	free(tap->queues);
	tap->queues = NULL;
	tap->n_queues = 0;
}

static uint32_t queue_events(const struct tap *tap, const struct tap_queue *q)
{
	uint32_t events = 0; /* EPOLLERR is always told: the device is gone */

	if (q->attached && tap->n_kept == 0)
		events |= EPOLLIN;
	if (q->n_kept > 0)
		events |= EPOLLOUT;
	return events;
}

/* Brings what epoll waits for in line with what is attached and kept. */
static void queues_arm(struct tap *tap)
{
	for (unsigned i = 0; i < tap->n_queues; i++) {
		struct tap_queue *q = &tap->queues[i];
		struct epoll_event ev = { .events = queue_events(tap, q),
					  .data.u64 = tap->tag + i };

		/* The fd is in the set, so changing it cannot fail. */
		if (ev.events != q->events)
			(void)epoll_ctl(tap->epoll, EPOLL_CTL_MOD, q->fd, &ev);
		q->events = ev.events;
	}
}

int tap_watch(struct tap *tap, int epoll, uint64_t tag, struct err *err)
{
	tap->epoll = epoll;
	tap->tag = tag;
	for (unsigned i = 0; i < tap->n_queues; i++) {
		struct tap_queue *q = &tap->queues[i];
		struct epoll_event ev = { .events = queue_events(tap, q), .data.u64 = tag + i };

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, q->fd, &ev) < 0)
			return err_sys(err, -errno, "waiting for fd %d", q->fd);
		q->events = ev.events;
	}
	return 0;
}

ssize_t tap_receive(struct tap *tap, unsigned queue, const uint8_t **ret_frame)
{
	struct tap_queue *q = &tap->queues[queue];
	uint8_t *frame = tap->in + tap->hdr_len;
	size_t len;
	ssize_t n;

	if (!q->attached || tap->n_kept > 0)
		return -EAGAIN;
	do
		n = read(q->fd, tap->in, tap->hdr_len + TAP_FRAME_MAX + 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n <= tap->hdr_len || (size_t)n > tap->hdr_len + TAP_FRAME_MAX) {
		q->count.runt++;
		return 0;
	}
	len = (size_t)n - tap->hdr_len;
	if (len < TAP_FRAME_MIN) {
		memset(frame + len, 0, TAP_FRAME_MIN - len);
		len = TAP_FRAME_MIN;
		q->count.padded++;
	}
	q->count.in++;
	*ret_frame = frame;
	return (ssize_t)len;
}

uint8_t *tap_room(struct tap *tap)
{
	return tap->out + tap->hdr_len;
}

/* The bytes of a frame that are the same for all frames of a flow: addresses, protocol, ports. */
static uint32_t flow_hash(const uint8_t *frame, size_t len)
{
	enum { ETH = 14, IP4_SRC = ETH + 12, IP6_SRC = ETH + 8, PORTS = 4 };
	unsigned type = (unsigned)frame[12] << 8 | frame[13];
	size_t from = 0, n = 12, ports = 0;
	uint32_t hash = 2166136261u;

	if (type == 0x0800 && len >= ETH + 20) {
		from = IP4_SRC;
		n = 8;
		if (frame[ETH + 9] == 6 || frame[ETH + 9] == 17)
			ports = ETH + (size_t)(frame[ETH] & 15) * 4;
	} else if (type == 0x86dd && len >= ETH + 40) {
		from = IP6_SRC;
		n = 32;
		if (frame[ETH + 6] == 6 || frame[ETH + 6] == 17)
			ports = ETH + 40;
	}
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ frame[from + i]) * 16777619u;
	for (size_t i = 0; ports && ports + PORTS <= len && i < PORTS; i++)
		hash = (hash ^ frame[ports + i]) * 16777619u;
	return hash ^ hash >> 16;
}

/* A flow keeps to one queue: the kernel learns from it where to bring the answers. */
static struct tap_queue *queue_of(struct tap *tap, const uint8_t *frame, size_t len)
{
	unsigned n = tap->n_attached ? tap->n_attached : tap->n_queues;
	unsigned nth = flow_hash(frame, len) % n;

	for (unsigned i = 0; i < tap->n_queues; i++)
		if ((tap->queues[i].attached || !tap->n_attached) && nth-- == 0)
			return &tap->queues[i];
	return &tap->queues[0];
}

static int queue_write(struct tap_queue *q, const uint8_t *data, size_t len)
{
	ssize_t n;

	do
		n = write(q->fd, data, len);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n < 0)
		q->count.failed++;
	else
		q->count.out++;
	return 0;
}

static void queue_keep(struct tap *tap, struct tap_queue *q, size_t len)
{
	struct tap_frame *frame = NULL;

	if (q->n_kept < TAP_KEPT_MAX)
		frame = malloc(sizeof *frame + len);
	if (!frame) {
		q->count.full++;
		return;
	}
	q->count.kept++;
	frame->len = len;
	memcpy(frame->data, tap->out, len);
	STAILQ_INSERT_TAIL(&q->kept, frame, next);
	tap->n_kept++;
	if (q->n_kept++ == 0)
		queues_arm(tap);
}

void tap_send(struct tap *tap, size_t len)
{
	uint8_t *frame = tap_room(tap);
	struct tap_queue *q;

	if (len < TAP_FRAME_MIN)
		memset(frame + len, 0, TAP_FRAME_MIN - len);
	q = queue_of(tap, frame, len);
	if (len < TAP_FRAME_MIN) {
		len = TAP_FRAME_MIN;
		q->count.padded++;
	}
	len += tap->hdr_len;
	if (q->n_kept > 0 || queue_write(q, tap->out, len) == -EAGAIN)
		queue_keep(tap, q, len);
}

void tap_flush(struct tap *tap, unsigned queue)
{
	struct tap_queue *q = &tap->queues[queue];
	struct tap_frame *frame;

	while ((frame = STAILQ_FIRST(&q->kept))) {
		if (queue_write(q, frame->data, frame->len) == -EAGAIN)
			break;
		kept_drop(q);
		q->n_kept--;
		tap->n_kept--;
	}
	queues_arm(tap);
}

bool tap_recheck(struct tap *tap)
{
	bool changed = false;

	tap->n_attached = 0;
	for (unsigned i = 0; i < tap->n_queues; i++) {
		struct tap_queue *q = &tap->queues[i];
		struct ifreq ifr;
		bool attached;

		/* A device that is gone tells itself by EPOLLERR. */
		if (queue_flags(q->fd, &ifr) < 0)
			attached = false;
		else
			attached = !(ifr_flags_of(&ifr) & IFF_DETACH_QUEUE);
		changed |= attached != q->attached;
		q->attached = attached;
		tap->n_attached += attached;
	}
	if (changed)
		queues_arm(tap);
	return changed;
}
