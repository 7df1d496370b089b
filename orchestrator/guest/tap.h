/* tap.h - the queues of one TAP device, from the side of a guest that got their fds.
 *
 * Frames go through as they are on the wire: the vnet header is taken off and put on here, and
 * what is shorter than Ethernet's 60 bytes is padded. A frame that the kernel does not take yet
 * is kept, in order, and as long as one is kept nothing is read (back-pressure).
 *
 * tap_send() may be called by the stack's timer thread: every call after tap_watch() is made with
 * the stack's lock held.
 */
#ifndef TAPNET_GUEST_TAP_H
#define TAPNET_GUEST_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/err.h"

enum {
	TAP_QUEUES_MAX = 256, /* the kernel's limit */
	TAP_HDR_MAX = 256,    /* longer vnet headers than any kernel uses are refused */
	TAP_FRAME_MIN = 60,
	TAP_FRAME_MAX = 65535, /* the stack counts a frame's bytes in 16 bits */
	TAP_BURST = 50,	       /* frames a queue may bring in one wake-up */
	TAP_KEPT_MAX = 64,     /* frames kept a queue while the kernel takes none */
};

enum tap_vnet { TAP_VNET_AUTO, TAP_VNET_ON, TAP_VNET_OFF };

struct tap_frame {
	STAILQ_ENTRY(tap_frame) next;
	size_t len;
	uint8_t data[]; /* the vnet header, too */
};

struct tap_counters {
	uint64_t in, out;
	uint64_t runt;	 /* in, dropped: shorter than the vnet header */
	uint64_t kept;	 /* out, late: the kernel took none just then */
	uint64_t full;	 /* out, dropped: too many frames kept already */
	uint64_t failed; /* out, dropped: the kernel refused it (the device is down) */
	uint64_t padded; /* in or out, brought to 60 bytes */
};

struct tap_queue {
	int fd;
	bool attached;	 /* false: another holder of the fd detached it */
	uint32_t events; /* what epoll waits for */
	unsigned n_kept;
	STAILQ_HEAD(, tap_frame) kept;
	struct tap_counters count;
};

struct tap {
	char ifname[IFNAMSIZ];
	size_t hdr_len; /* of the vnet header; 0 when frames have none */
	unsigned n_queues, n_attached;
	unsigned n_kept; /* of all queues; more than 0 pauses reading */
	int epoll;
	uint64_t tag;
	struct tap_queue *queues;
	uint8_t in[TAP_HDR_MAX + TAP_FRAME_MAX + 1];
	uint8_t out[TAP_HDR_MAX + TAP_FRAME_MAX]; /* starts with the vnet header, always zero */
};

/* Takes the queues' fds, which are closed by tap_free(). All must be attached to one TAP. */
int tap_adopt(struct tap *tap, const int *fds, unsigned n_fds, enum tap_vnet want, struct err *err);
void tap_free(struct tap *tap);

/* Waits for the queues in an epoll set; the tag of queue i is tag + i. */
int tap_watch(struct tap *tap, int epoll, uint64_t tag, struct err *err);

/* The next frame of a queue: its length and *ret_frame, valid until the next call; 0 when it was
 * a runt; -EAGAIN when there is none now or reading is paused, -EBADFD when the device is gone. */
ssize_t tap_receive(struct tap *tap, unsigned queue, const uint8_t **ret_frame);

/* Where to write a frame of up to TAP_FRAME_MAX bytes that tap_send() then sends. */
uint8_t *tap_room(struct tap *tap);
void tap_send(struct tap *tap, size_t len);

/* Sends what a queue kept. */
void tap_flush(struct tap *tap, unsigned queue);

/* Asks which queues are attached: the kernel tells nobody. true when that has changed. */
bool tap_recheck(struct tap *tap);

#endif
