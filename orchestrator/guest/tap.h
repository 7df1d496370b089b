/* tap.h - the queues of one TAP device, from the side of a program that got their fds.
 *
 * Frames go through as they are on the wire: the vnet header is taken off and put on here, and
 * what is shorter than Ethernet's 60 bytes is padded. Between two ends with vnet headers the kernel
 * may leave its TCP segments whole: then what the header says of one goes along.
 *
 * Theory of operation: a frame that the kernel does not take yet (EAGAIN) is kept, and epoll then
 * tells when the queue can be written again. As long as one is kept, nothing is read where the
 * frames come from (back-pressure): from the tap itself, when a stack answers them, or after
 * tap_join() from the other end of the wire. So nothing is dropped there, and one frame is kept.
 *
 * A device that is deleted raises EPOLLERR, but wakes only those who wait for input: a queue that
 * is not to be read waits for EPOLLPRI, which a TAP never has and which is woken all the same.
 *
 * tap_send() may be called by the stack's timer thread: every call after tap_watch() is made with
 * the stack's lock held.
 */
#ifndef TAPNET_GUEST_TAP_H
#define TAPNET_GUEST_TAP_H

#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/ip.h"

enum {
	TAP_QUEUES_MAX = 256, /* the kernel's limit */
	TAP_HDR_MAX = 65536,  /* so is this one, for the vnet header */
	TAP_FRAME_MIN = 60,
	TAP_FRAME_MAX = 65535 + 2 * 4, /* the largest MTU and two VLAN tags */
	TAP_BURST = 50,		       /* frames a queue may bring in one wake-up */
	TAP_KEPT_MAX = 256,	       /* frames kept while the kernel takes none */
};

enum tap_vnet { TAP_VNET_AUTO, TAP_VNET_ON, TAP_VNET_OFF };

struct tap_frame {
	STAILQ_ENTRY(tap_frame) next;
	struct tap_queue *queue;
	struct virtio_net_hdr hdr;
	size_t len;
	uint8_t data[];
};

struct tap_counters {
	uint64_t in, out;
	uint64_t runt;	 /* in, dropped: no frame after the vnet header */
	uint64_t giant;	 /* in, dropped: longer than any frame */
	uint64_t gso;	 /* in, dropped: a segment that someone else's offloads left whole */
	uint64_t kept;	 /* out, late: the kernel took none just then */
	uint64_t full;	 /* out, dropped: too many frames kept already */
	uint64_t failed; /* out, dropped: the kernel refused it (the device is down) */
	uint64_t padded; /* in or out, brought to 60 bytes */
};

struct tap_queue {
	int fd;
	bool attached;	 /* false: another holder of the fd detached it */
	uint32_t events; /* what epoll waits for */
	struct tap_counters count;
};

/* Devices in two namespaces may have one name, so the MAC counts, too. */
struct tap_device {
	char ifname[IFNAMSIZ];
	struct mac mac; /* on the kernel's side */
};

struct tap {
	struct tap_device device;
	size_t hdr_len; /* of the vnet header; 0 when frames have none */
	bool whole;	/* segments come whole, for a peer that can tell its kernel */
	unsigned n_queues, n_attached;
	unsigned n_kept;
	STAILQ_HEAD(, tap_frame) kept; /* of all queues, in order */
	struct tap *peer; /* where frames come from and go to: itself, or the other end */
	int epoll;
	uint64_t tag;
	struct tap_queue *queues;
	uint8_t in[TAP_HDR_MAX + TAP_FRAME_MAX + 1];
};

/* Takes the queues' fds, which are closed by tap_free(). All must be attached to one TAP. */
int tap_adopt(struct tap *tap, const int *fds, unsigned n_fds, enum tap_vnet want, struct err *err);

/* The same without a question to the fds: attached, with vnet headers of that length. */
int tap_init(struct tap *tap, const int *fds, unsigned n_fds, size_t hdr_len, struct err *err);

void tap_free(struct tap *tap);

bool tap_device_same(const struct tap_device *a, const struct tap_device *b);

/* From now on the frames of each go to the other, in whole segments if both have vnet headers. */
void tap_join(struct tap *a, struct tap *b);

/* Waits for the queues in an epoll set; the tag of queue i is tag + i. */
int tap_watch(struct tap *tap, int epoll, uint64_t tag, struct err *err);

/* What epoll says of a queue: sends what is kept, and hands at most TAP_BURST frames to input(), or
 * to the other end when there is one. -EBADFD when the device is gone. */
typedef void tap_input(void *arg, const uint8_t *frame, size_t len);
int tap_event(struct tap *tap, unsigned queue, uint32_t events, tap_input *input, void *arg);

/* Sends a frame of up to TAP_FRAME_MAX bytes, by the queue of its flow, now or later. */
void tap_send(struct tap *tap, const uint8_t *frame, size_t len);

/* Once a second: which queues are attached (the kernel tells nobody), and what is kept is tried
 * again. 1 when a queue was attached or detached, 0 when not, -EBADFD when the device is gone. */
int tap_recheck(struct tap *tap);

#endif
