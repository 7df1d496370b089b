/* nlw.h - the one writer to the kernel: batches of rtnetlink messages, by libmnl.
 *
 *   nlw_open ─▶ nlb_begin … nlb_put … nlb_begin … ─▶ nlb_flush ─▶ one outcome a message
 *
 * A batch is one datagram to one namespace: at most NLB_MESSAGES messages and NLB_BYTES bytes,
 * with an acknowledgement asked of the last only. The kernel carries on after an error, and each
 * error names its message by sequence number, so every message gets an outcome of its own. When
 * answers were lost (ENOBUFS, or no last answer within the deadline) every message without an
 * outcome is uncertain: -EIO.
 */
#ifndef TAPNET_SYS_NLW_H
#define TAPNET_SYS_NLW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/vlan.h"

struct nlmsghdr;

/* The group of a lab's TAPs: teardown deletes them in one message a namespace. */
#define LINK_GROUP 0x7a9u

#define NLB_MESSAGES 128
#define NLB_BYTES    ((size_t)64 << 10)

struct nlb_outcome {
	uint32_t tag;	 /* the caller's name for the message: its step */
	int code;	 /* 0, the kernel's -errno, or -EIO: unknown whether it was done */
	int ifindex;	 /* of the kernel's echo; 0: none asked for, or a kernel before 6.2 */
	char words[120]; /* the kernel's own words (extended ack), "" when none */
};

struct nlbatch {
	char *buf;	  /* NLB_BYTES + slack, owned by the batch */
	size_t len, last; /* bytes; where the message begun last starts */
	unsigned n;	  /* messages */
	uint32_t seq;	  /* of the first */
	struct nlb_outcome out[NLB_MESSAGES];
	bool overflow; /* a message did not fit: the caller's defect */
};

int nlb_init(struct nlbatch *batch, struct err *err);
void nlb_free(struct nlbatch *batch);

/* Opens a NETLINK_ROUTE socket in the namespace of the calling thread: CLOEXEC, capped and
 * extended acks, strict checking, a receive buffer that holds NLB_MESSAGES answers. fd or -errno. */
int nlw_open(struct err *err);

/* True when NLB_STEP_MESSAGES more messages, of up to 2 KiB together, fit: what one step adds. */
#define NLB_STEP_MESSAGES 6
bool nlb_room(const struct nlbatch *batch);

/* Starts a message; what is put next belongs to it. header_size bytes of zeroed family header
 * follow the nlmsghdr (struct ifinfomsg, ifaddrmsg, rtmsg, tcmsg); returns them. */
void *nlb_begin(struct nlbatch *batch, uint16_t type, uint16_t flags, size_t header_size,
		uint32_t tag) __attribute__((returns_nonnull));

/* Attributes of the message begun last. Those that do not fit set overflow. */
void nlb_put(struct nlbatch *batch, uint16_t type, const void *data, size_t len);
void nlb_u8(struct nlbatch *batch, uint16_t type, uint8_t value);
void nlb_u16(struct nlbatch *batch, uint16_t type, uint16_t value);
void nlb_u32(struct nlbatch *batch, uint16_t type, uint32_t value);
void nlb_str(struct nlbatch *batch, uint16_t type, const char *s);
size_t nlb_nest(struct nlbatch *batch, uint16_t type); /* returns a mark for nlb_nest_end() */
void nlb_nest_end(struct nlbatch *batch, size_t mark);
/* Family header in the middle of attributes (VETH_INFO_PEER's ifinfomsg); returns size zeroed bytes. */
void *nlb_raw(struct nlbatch *batch, size_t size) __attribute__((returns_nonnull));

/* Sends the batch as one datagram through fd, reads the answers until the last is in or the
 * deadline (ms of io_now_ms()) passed, and fills batch->out[0 … n-1] in order of the messages.
 * The batch is then empty, its outcomes stay until the next nlb_begin(). Returns 0 when every
 * message succeeded, else the first failing outcome's code; err says only why sending or
 * receiving itself failed. */
int nlb_flush(struct nlbatch *batch, int fd, int64_t deadline, struct err *err);

/* ---- messages, built once here. Each adds one message tagged tag. */

struct nlb_veth_end {
	const char *name;
	uint32_t ifindex; /* 0: the kernel's choice; the main end's is echoed when it stays here */
	int netns_fd;	  /* -1: the socket's own namespace */
	uint32_t master;  /* main end only; 0: none */
	const struct mac *mac;
	bool up;	/* main end only: a peer cannot be born up */
	uint32_t group; /* 0: the default */
};

struct nlb_bridge {
	const char *name;
	uint32_t ifindex, mtu, group, ageing_ms; /* 0: the kernel's choice */
	const struct mac *mac;
	bool stp, mcast_snooping;
	bool vlan_filtering; /* with no VLAN that new ports are in by themselves */
	bool up;	     /* born up; not where address generation is to be off first */
};

struct nlb_vlan_link {
	const char *name;
	uint32_t ifindex, parent, mtu; /* mtu 0: the parent's */
	uint16_t vlan;
	const struct mac *mac;
};

struct nlb_link_set { /* changes to an existing link; what is 0 or false is left alone */
	uint32_t ifindex, master, mtu, group;
	uint32_t txqueuelen; /* frames */
	const struct mac *mac;
	bool up, down;
	bool no_link_local; /* IPv6 address generation off */
	bool forward4;	    /* by IFLA_AF_SPEC; IPv6 has no such attribute, only the sysctl */
};

void nlb_bridge(struct nlbatch *batch, uint32_t tag, const struct nlb_bridge *bridge);
void nlb_veth(struct nlbatch *batch, uint32_t tag, const struct nlb_veth_end *end,
	      const struct nlb_veth_end *peer, uint32_t mtu);
void nlb_vlan_link(struct nlbatch *batch, uint32_t tag, const struct nlb_vlan_link *vlan);
/* Adds VLANs to a bridge's port. */
void nlb_vlans(struct nlbatch *batch, uint32_t tag, uint32_t ifindex, const struct vlan *v, int n);
void nlb_no_vlans(struct nlbatch *batch, uint32_t tag, uint32_t ifindex); /* takes all away */
/* Adds one or two messages: the kernel handles flags before IFLA_AF_SPEC, and address generation
 * must be off before up. */
void nlb_link_set(struct nlbatch *batch, uint32_t tag, const struct nlb_link_set *set);
void nlb_altname(struct nlbatch *batch, uint32_t tag, uint32_t ifindex, const char *name);
/* The link-local frames (01-80-C2-00-00-0X, bit X) that a port passes on: LACP, LLDP, STP. The
 * kernel refuses bit 1 (PAUSE) only. */
#define NLB_FWD_ALL UINT16_C(0xfffd)
void nlb_port_fwd_mask(struct nlbatch *batch, uint32_t tag, uint32_t ifindex, uint16_t mask);
void nlb_addr(struct nlbatch *batch, uint32_t tag, uint32_t ifindex,
	      const struct ip *addr); /* NODAD */
/* dst family 0: the default route of via's family. via family 0: on-link. */
void nlb_route(struct nlbatch *batch, uint32_t tag, const struct ip *dst, const struct ip *via,
	       uint32_t ifindex, uint32_t metric);
void nlb_noqueue(struct nlbatch *batch, uint32_t tag, uint32_t ifindex); /* root qdisc */
void nlb_dellink(struct nlbatch *batch, uint32_t tag, uint32_t ifindex);
void nlb_delgroup(struct nlbatch *batch, uint32_t tag, uint32_t group);

#endif
