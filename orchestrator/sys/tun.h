/* tun.h - TAP devices by ioctl. */
#ifndef TAPNET_SYS_TUN_H
#define TAPNET_SYS_TUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

struct tun_make {
	const char *name; /* final; at most 15 characters, no '%' */
	uint32_t ifindex; /* 0: the kernel's choice */
	unsigned queues;  /* 1 … 256; IFF_MULTI_QUEUE only when more than one */
	bool vnet_hdr;
	unsigned
		vnet_hdr_len; /* 10, 12 or 20; 0: the kernel's 10, which every guest expects to find */
	const struct mac *mac; /* set before it is up */
	bool persist;	       /* lives on without holders until its namespace dies */
	int first_fd;	       /* queue k gets the fd number first_fd + k */
};

/* Makes a TAP in the calling thread's namespace, O_NONBLOCK, all queues attached. A failure at
 * queue k closes queues 0 … k-1 and the device is gone. What the kernel gave (flags, name) is read
 * back and compared. 0 or -errno. */
int tun_make(const struct tun_make *make, struct err *err);

/* What the kernel says of a queue: TUNGETIFF. 0 or -errno (-EBADFD: the device is gone). */
struct tun_state {
	char name[16];
	unsigned flags; /* IFF_* of linux/if_tun.h */
	int vnet_hdr_size;
};
int tun_state(int fd, struct tun_state *ret_state, struct err *err);

/* Attaches or detaches a queue (TUNSETQUEUE); doing so twice is fine. 0 or -errno. */
int tun_queue(int fd, bool attach, struct err *err);

/* Puts back what a guest may have changed on a queue that it was given: header size (to 10),
 * offloads, sndbuf, byte order, carrier, persist. 0 or -errno. */
int tun_reset(int fd, bool vnet_hdr, bool persist, struct err *err);

#endif
