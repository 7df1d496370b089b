/* probe.h - what this kernel lets this user make: tried for real, in a network namespace that ends
 * with the try. Nothing of the host is touched, but modules that the kernel loads by itself. */
#ifndef TAPNET_SYS_PROBE_H
#define TAPNET_SYS_PROBE_H

#include "base/err.h"
#include "sys/tun.h"

/* Each: 0, or the -errno that came instead. What needs something else that is missing has its
 * errno. */
struct probe {
	int userns;	      /* a user namespace */
	int netns;	      /* a network namespace; not root: within a user namespace */
	int veth, bridge;     /* links of these kinds */
	int vlan_filtering;   /* of a bridge */
	int vlan;	      /* sub-interfaces */
	int netem;	      /* a queueing discipline of this kind */
	int tun_open;	      /* /dev/net/tun */
	int tap;	      /* a TAP of two queues with virtio headers */
	struct tun_tried tun; /* when there is one: what it can be told */
	int vhost_net;	      /* /dev/vhost-net, with an owner */
	int ipv6;
};

/* 0, or -errno when it could not be tried. */
int probe_kernel(struct probe *ret_probe, struct err *err);
/* netns, bridge, vlan_filtering and vlan only: within a millisecond or two. */
int probe_vlans(struct probe *ret_probe, struct err *err);

#endif
