/* tun.h - TAP devices by ioctl. */
#ifndef TAPNET_SYS_TUN_H
#define TAPNET_SYS_TUN_H

#include <linux/if_tun.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/str.h"

#ifndef TUN_F_USO4 /* headers before Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum tun_endian { TUN_NATIVE, TUN_LITTLE, TUN_BIG };
enum tun_steering { TUN_AUTOMQ, TUN_QUEUE, TUN_HASH, TUN_OBJECT };

/* How a TAP is to be; zero is what the kernel makes by itself, but for owner and group: -1. */
struct tun_settings {
	bool vnet_hdr;	       /* settled when it is made, and looked at by tun_make() alone */
	unsigned vnet_hdr_len; /* 10, 12 or 20; 0: the kernel's 10, which every guest expects */
	enum tun_endian endian;
	unsigned offload; /* TUN_F_* */
	int sndbuf;	  /* bytes; 0: INT_MAX */
	enum tun_steering steering;
	unsigned steering_queue;     /* TUN_QUEUE */
	const char *steering_object; /* TUN_OBJECT: path of an ELF object file */
	unsigned enabled;	     /* queues attached at first; 0: all */
	bool carrier_off;
	int64_t owner, group; /* who may attach queues by name, uid and gid; -1: left as they are */
};

struct tun_make {
	const char *name;      /* final; at most 15 characters, no '%' */
	uint32_t ifindex;      /* 0: the kernel's choice */
	unsigned queues;       /* 1 … 256; IFF_MULTI_QUEUE only when more than one */
	const struct mac *mac; /* set before it is up */
	bool persist;	       /* lives on without holders until its namespace dies */
	int first_fd;	       /* queue k gets the fd number first_fd + k */
	struct tun_settings set;
};

/* Makes a TAP in the calling thread's namespace, O_NONBLOCK. A failure at queue k closes queues
 * 0 … k-1 and the device is gone. What the kernel gave is read back and compared. 0 or -errno. */
int tun_make(const struct tun_make *make, struct err *err);

/* Brings all queues of a TAP to what `set` says, whatever a guest did to them: order, attachment,
 * filters, steering, and all of the settings; frames that wait in its queues are dropped when
 * there are several. What can be read back is compared. An owner cannot be taken away again.
 * 0 or -errno; no fd is closed. */
int tun_set(int first_fd, unsigned queues, const struct tun_settings *set, bool persist,
	    struct err *err);

/* Takes over queues that another made, at first_fd …: refuses, and changes nothing, unless they are
 * different queues of one TAP without packet information. Then as tun_set(), but carrier and
 * persistence are left alone. What was not as the kernel makes it is told in words in `stale`.
 * `shown`: the numbers that the user knows the fds by, or NULL.
 * 0 or -errno; no fd is closed. */
struct tun_adopted {
	char name[16];
	uint32_t ifindex;
	bool vnet_hdr, persist;
};
int tun_adopt(int first_fd, unsigned queues, const int *shown, const struct tun_settings *set,
	      struct tun_adopted *ret, struct strbuf *stale, struct err *err);

/* Whether the cable of a TAP is in, wherever its device is. 0 or -errno. */
int tun_carrier_of(int fd, bool *ret_in, struct err *err);

/* /dev/net/tun, opened in the calling thread's namespace (where its device will be) at the fd
 * number `at`, attached to nothing: for programs that do that themselves. The fd or -errno. */
int tun_open(int at, struct err *err);

/* Attaches to the single queue of a persistent TAP in the calling thread's namespace, at the fd number
 * `at`. The fd or -errno (-EBUSY: it is held). One that is not there would be made: the caller knows
 * that it is. */
int tun_join(const char *name, bool vnet_hdr, int at, struct err *err);

/* What the kernel says of a queue. 0 or -errno (-EBADFD: the device is gone, or there is none). */
struct tun_state {
	char name[16];
	unsigned flags; /* IFF_* of linux/if_tun.h; "no filter" has the bit of IFF_NO_PI */
	bool detached;
	int vnet_hdr_size, sndbuf;
	enum tun_endian endian;
};
int tun_state(int fd, struct tun_state *ret_state, struct err *err);

/* Attaches or detaches a queue (TUNSETQUEUE); doing so twice is fine. 0 or -errno. */
int tun_queue(int fd, bool attach, struct err *err);

/* What the kernel can do with a TAP: tried on one that has a vnet header and is to go afterwards. */
struct tun_tried {
	unsigned offload;	  /* TUN_F_* */
	int big_endian, steering; /* 0 or -errno */
	bool objects; /* steering programs from object files: as this program is built */
};
void tun_try(int fd, struct tun_tried *ret_tried);

/* The offloads (TUN_F_*) of a TAP of the calling thread's namespace; of ufo nothing is known. */
int tun_offload(const char *name, unsigned *ret_offload, struct err *err);

/* Appends the names of TUN_F_* bits: "csum tso4". */
void tun_offload_words(struct strbuf *out, unsigned offload);

#endif
