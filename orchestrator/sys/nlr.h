/* nlr.h - the one reader of the kernel: links, addresses and routes of a namespace, by libnl-3. */
#ifndef TAPNET_SYS_NLR_H
#define TAPNET_SYS_NLR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/vlan.h"

struct nlr_tun { /* of a TAP, as anybody in its namespace is told */
	bool told, vnet_hdr, persist, multi_queue;
	bool pi;		   /* packet information in front of each frame */
	uint32_t queues, disabled; /* attached, detached */
	int64_t owner, group;	   /* -1: none */
};

struct nlr_link {
	uint32_t ifindex, master, mtu, group;
	uint32_t parent, vlan;	 /* of kind "vlan" */
	const char *name, *kind; /* kind: "veth", "bridge", "tun" …, "" when none */
	struct mac mac;
	bool up, carrier;
	bool vlan_filtering; /* of a bridge */
	struct vlan *vlans;  /* of a port of one that filters; of nlr_view() only */
	int n_vlans;
	uint8_t port_state; /* of a bridge's port: BR_STATE_* of linux/if_bridge.h */
	const char **altnames;
	int n_altnames;
	struct nlr_tun tun;
	const char *qdisc;
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, rx_dropped, tx_dropped;
	struct ip *addrs; /* with their prefix; link-local ones too */
	int n_addrs;
};

struct nlr_route {
	struct ip dst; /* family 4 or 6 with prefix 0: default */
	struct ip via; /* family 0: on-link */
	uint32_t ifindex, metric;
};

struct nlr_view {
	struct nlr_link *links;
	int n_links;
	struct nlr_route *routes; /* main table, unicast */
	int n_routes;
};

/* Dumps the namespace of the calling thread. Strings live on the arena. */
int nlr_view(struct arena *arena, struct nlr_view *ret_view, struct err *err);
const struct nlr_link *nlr_link(const struct nlr_view *view, uint32_t ifindex);
/* By name or alternative name. */
const struct nlr_link *nlr_link_named(const struct nlr_view *view, const char *name);

/* One link of the namespace of the calling thread by its index: 1 and *ret filled, 0 when there is
 * none, or -errno. */
int nlr_link_get(struct arena *arena, uint32_t ifindex, struct nlr_link *ret_link, struct err *err);
int nlr_link_find(struct arena *arena, const char *name, struct nlr_link *ret_link,
		  struct err *err);

#endif
