/* tap.c - reads and writes the queues of a TAP; what is kept, padded, dropped and counted. */
#include "guest/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

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
	return 0;
}

bool tap_device_same(const struct tap_device *a, const struct tap_device *b)
{
	return strncmp(a->ifname, b->ifname, sizeof a->ifname) == 0 &&
	       memcmp(a->mac.b, b->mac.b, sizeof a->mac.b) == 0;
}

static int queue_device(struct tap *tap, int fd, const struct ifreq *ifr, struct err *err)
{
	struct tap_device device = { 0 };
	struct ifreq hw = { 0 };

	/* Older kernels do not find a TAP that was moved: then the name has to do. */
	if (ioctl(fd, SIOCGIFHWADDR, &hw) < 0)
		memset(&hw, 0, sizeof hw);
	memcpy(device.ifname, ifr->ifr_name, sizeof device.ifname);
	memcpy(device.mac.b, hw.ifr_hwaddr.sa_data, sizeof device.mac.b);
	if (!tap->device.ifname[0])
		tap->device = device;
	if (!tap_device_same(&device, &tap->device))
		return err_set(err, -EINVAL,
			       "fd %d is of another device (%.15s) than the first (%.15s)", fd,
			       device.ifname, tap->device.ifname);
	return 0;
}

static int queue_adopt(struct tap *tap, struct tap_queue *q, struct err *err)
{
	struct ifreq ifr;
	int flags;

	if (queue_ask(q->fd, &ifr, err) < 0 || queue_device(tap, q->fd, &ifr, err) < 0)
		return err->code;
	flags = fcntl(q->fd, F_GETFL);
	if (flags < 0 || fcntl(q->fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(q->fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(err, -errno, "fd %d", q->fd);
	q->attached = !(ifr_flags_of(&ifr) & IFF_DETACH_QUEUE);
	tap->n_attached -= !q->attached;
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
	if (len < (int)sizeof(struct virtio_net_hdr) || len > TAP_HDR_MAX)
		return err_set(err, -EINVAL, "a vnet header of %d bytes", len);
	tap->hdr_len = (size_t)len;
	return 0;
}

int tap_init(struct tap *tap, const int *fds, unsigned n_fds, size_t hdr_len, struct err *err)
{
	memset(tap, 0, sizeof *tap);
	tap->hdr_len = hdr_len;
	tap->peer = tap;
	tap->epoll = -1;
	STAILQ_INIT(&tap->kept);
	tap->queues = calloc(n_fds, sizeof *tap->queues);
	if (!tap->queues)
		return err_sys(err, -ENOMEM, "%u queues", n_fds);
	tap->n_queues = tap->n_attached = n_fds;
	for (unsigned i = 0; i < n_fds; i++) {
		tap->queues[i].fd = fds[i];
		tap->queues[i].attached = true;
	}
	return 0;
}

int tap_adopt(struct tap *tap, const int *fds, unsigned n_fds, enum tap_vnet want, struct err *err)
{
	int r = tap_init(tap, fds, n_fds, 0, err);

	for (unsigned i = 0; i < n_fds && r == 0; i++)
		r = queue_adopt(tap, &tap->queues[i], err);
	if (r == 0)
		r = vnet_check(tap, want, err);
	if (r < 0)
		return r;
	/* Whoever had the device before may have agreed on offloads. Without them every frame
	 * comes whole, with its checksum, so the vnet header has nothing to say. */
	if (ioctl(fds[0], TUNSETOFFLOAD, 0UL) < 0)
		return err_sys(err, -errno, "turning the offloads off");
	return 0;
}

static void kept_drop(struct tap *tap)
{
	struct tap_frame *frame = STAILQ_FIRST(&tap->kept);

	STAILQ_REMOVE_HEAD(&tap->kept, next);
	tap->n_kept--;
	free(frame);
}

void tap_free(struct tap *tap)
{
	while (tap->n_kept > 0)
		kept_drop(tap);
	for (unsigned i = 0; i < tap->n_queues; i++)
		fd_closep(&tap->queues[i].fd);
	free(tap->queues);
	tap->queues = NULL;
	tap->n_queues = 0;
}

static bool whole_ask(const struct tap *tap)
{
	unsigned long tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	return ioctl(tap->queues[0].fd, TUNSETOFFLOAD, tcp) == 0;
}

void tap_join(struct tap *a, struct tap *b)
{
	bool headers = a->hdr_len > 0 && b->hdr_len > 0;

	a->peer = b;
	b->peer = a;
	a->whole = headers && whole_ask(a);
	b->whole = headers && whole_ask(b);
}

static uint32_t queue_events(const struct tap *tap, const struct tap_queue *q)
{
	uint32_t events = q->attached && tap->peer->n_kept == 0 ? EPOLLIN : EPOLLPRI;

	if (tap->n_kept > 0 && STAILQ_FIRST(&tap->kept)->queue == q)
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

/* Both ends, after a frame was kept or sent. */
static void ends_arm(struct tap *tap)
{
	queues_arm(tap);
	if (tap->peer != tap)
		queues_arm(tap->peer);
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

/* Puts the sum of the bytes from `start` on where the header says; a part of it is there. */
static void sum_finish(uint8_t *frame, size_t len, size_t start, size_t at)
{
	uint32_t sum = 0;

	for (size_t i = start; i < len; i++)
		sum += (i - start) % 2 ? frame[i] : (uint32_t)frame[i] << 8;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	if (!sum)
		sum = 0xffff; /* the same sum; to UDP, 0 means that there is none */
	frame[at] = (uint8_t)(sum >> 8);
	frame[at + 1] = (uint8_t)sum;
}

/* What the vnet header says of a frame, for the peer's kernel. With the offloads off it says nothing;
 * but frames may have been queued before, or another holder of the device has turned them on: then a
 * checksum is finished here, and a segment that should have been cut is not a frame (false). */
static bool header_take(const struct tap *tap, uint8_t *frame, size_t len,
			struct virtio_net_hdr *ret_hdr)
{
	struct virtio_net_hdr hdr = { 0 };
	size_t start, at;

	*ret_hdr = hdr;
	if (tap->hdr_len > 0)
		memcpy(&hdr, tap->in, sizeof hdr);
	hdr.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (tap->whole && hdr.flags) {
		*ret_hdr = hdr;
		return true;
	}
	if (hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return false;
	if (!hdr.flags)
		return true;
	start = hdr.csum_start;
	at = start + hdr.csum_offset;
	if (at + 2 > len)
		return false;
	sum_finish(frame, len, start, at);
	return true;
}

/* The next frame of a queue, in tap->in: its length; 0 when it was dropped. */
static ssize_t queue_read(struct tap *tap, struct tap_queue *q, struct virtio_net_hdr *ret_hdr)
{
	uint8_t *frame = tap->in + tap->hdr_len;
	size_t len;
	ssize_t n;

	do
		n = read(q->fd, tap->in, tap->hdr_len + TAP_FRAME_MAX + 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n <= tap->hdr_len) {
		q->count.runt++;
		return 0;
	}
	len = (size_t)n - tap->hdr_len;
	if (len > TAP_FRAME_MAX) {
		q->count.giant++;
		return 0;
	}
	if (!header_take(tap, frame, len, ret_hdr)) {
		q->count.gso++;
		return 0;
	}
	if (len < TAP_FRAME_MIN) {
		memset(frame + len, 0, TAP_FRAME_MIN - len);
		len = TAP_FRAME_MIN;
		q->count.padded++;
	}
	q->count.in++;
	return (ssize_t)len;
}

/* The bytes of a frame that are the same for all frames of a flow: addresses, protocol, ports. */
static uint32_t flow_hash(const uint8_t *frame, size_t len)
{
	enum { ETH = 14, IP4_FRAGMENT = ETH + 6, IP4_SRC = ETH + 12, IP6_SRC = ETH + 8, PORTS = 4 };
	unsigned type = (unsigned)frame[12] << 8 | frame[13];
	size_t from = 0, n = 12, ports = 0;
	uint32_t hash = 2166136261u;
	bool whole;

	if (type == 0x0800 && len >= ETH + 20) {
		from = IP4_SRC;
		n = 8;
		whole = !(frame[IP4_FRAGMENT] & 0x3f) && !frame[IP4_FRAGMENT + 1];
		if (whole && (frame[ETH + 9] == 6 || frame[ETH + 9] == 17))
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

static int queue_write(const struct tap *tap, struct tap_queue *q, struct virtio_net_hdr hdr,
		       const uint8_t *frame, size_t len)
{
	static uint8_t zeros[TAP_HDR_MAX]; /* never written */
	union {
		const uint8_t *bytes;
		void *base;
	} data = { .bytes = frame }; /* writev() only reads it */
	size_t said = tap->hdr_len > 0 ? sizeof hdr : 0;
	const struct iovec parts[] = {
		{ .iov_base = &hdr, .iov_len = said },
		{ .iov_base = zeros, .iov_len = tap->hdr_len - said },
		{ .iov_base = data.base, .iov_len = len },
		{ .iov_base = zeros, .iov_len = len < TAP_FRAME_MIN ? TAP_FRAME_MIN - len : 0 },
	};
	ssize_t n;

	do
		n = writev(q->fd, parts, COUNT(parts));
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n < 0)
		q->count.failed++;
	else
		q->count.out++;
	if (n >= 0 && len < TAP_FRAME_MIN)
		q->count.padded++;
	return 0;
}

static void queue_keep(struct tap *tap, struct tap_queue *q, const struct virtio_net_hdr *hdr,
		       const uint8_t *data, size_t len)
{
	struct tap_frame *frame = NULL;

	if (tap->n_kept < TAP_KEPT_MAX)
		frame = malloc(sizeof *frame + len);
	if (!frame) {
		q->count.full++;
		return;
	}
	q->count.kept++;
	frame->queue = q;
	frame->hdr = *hdr;
	frame->len = len;
	memcpy(frame->data, data, len);
	STAILQ_INSERT_TAIL(&tap->kept, frame, next);
	if (tap->n_kept++ == 0)
		ends_arm(tap);
}

/* What is kept is not overtaken, whichever its queue. */
static void frame_send(struct tap *tap, const struct virtio_net_hdr *hdr, const uint8_t *frame,
		       size_t len)
{
	struct tap_queue *q = queue_of(tap, frame, len);

	if (tap->n_kept > 0 || queue_write(tap, q, *hdr, frame, len) == -EAGAIN)
		queue_keep(tap, q, hdr, frame, len);
}

void tap_send(struct tap *tap, const uint8_t *frame, size_t len)
{
	static const struct virtio_net_hdr none;

	frame_send(tap, &none, frame, len);
}

static void kept_send(struct tap *tap)
{
	struct tap_frame *frame;

	while ((frame = STAILQ_FIRST(&tap->kept))) {
		if (queue_write(tap, frame->queue, frame->hdr, frame->data, frame->len) == -EAGAIN)
			break;
		kept_drop(tap);
	}
	ends_arm(tap);
}

int tap_event(struct tap *tap, unsigned queue, uint32_t events, tap_input *input, void *arg)
{
	struct tap_queue *q = &tap->queues[queue];
	const uint8_t *frame = tap->in + tap->hdr_len;
	struct virtio_net_hdr hdr;
	ssize_t len;

	if (events & (EPOLLERR | EPOLLHUP))
		return -EBADFD;
	if (events & EPOLLOUT)
		kept_send(tap);
	if (!(events & EPOLLIN) || !q->attached)
		return 0;
	for (int i = 0; i < TAP_BURST && tap->peer->n_kept == 0; i++) {
		len = queue_read(tap, q, &hdr);
		if (len < 0)
			return len == -EAGAIN ? 0 : (int)len;
		if (len > 0 && tap->peer != tap)
			frame_send(tap->peer, &hdr, frame, (size_t)len);
		else if (len > 0)
			input(arg, frame, (size_t)len);
	}
	return 0;
}

int tap_recheck(struct tap *tap)
{
	int changed = 0;

	for (unsigned i = 0; i < tap->n_queues; i++) {
		struct tap_queue *q = &tap->queues[i];
		struct ifreq ifr;
		bool attached;

		if (queue_flags(q->fd, &ifr) == -EBADFD)
			return -EBADFD;
		attached = !(ifr_flags_of(&ifr) & IFF_DETACH_QUEUE);
		if (attached != q->attached) {
			q->attached = attached;
			tap->n_attached += attached ? 1U : -1U;
			changed = 1;
		}
	}
	/* Some waits have no end: the kernel never says that a queue can be written when the
	 * device is down, or its send buffer a few bytes. */
	if (tap->n_kept > 0)
		kept_send(tap);
	if (changed)
		queues_arm(tap);
	return changed;
}
