/* planner.h - what the plan works with while it is made: every device and bridge, numbered.
 *
 * The plan (plan/) fills the devices in; the kinds turn them into steps. Nothing here is kept once
 * the plan is there.
 */
#ifndef TAPNET_KIND_PLANNER_H
#define TAPNET_KIND_PLANNER_H

#include "model/lab.h"
#include "op/step.h"

/* What a plan may depend on of this machine: asked only then, named on its first line, and fixed by
 * --assume. */
struct answer {
	bool known, used, yes;
};

struct assume {
	struct answer kvm, vhost;
};

static inline bool answer_of(struct answer *answer, bool (*ask)(void))
{
	if (!answer->known)
		answer->yes = ask();
	answer->known = answer->used = true;
	return answer->yes;
}

/* A numbering domain: a segment of the lab (a link, bridges joined by links, a VLAN of them). */
struct seg {
	struct ip sub4, sub6;  /* family 0: none */
	bool none;	       /* subnet: none */
	bool vlan;	       /* of no bridge's or link's own subnet */
	bool wanted4, wanted6; /* somebody takes addresses of it */
	struct pos pos;
};

/* A bridge of the file, or the anonymous one of a link with three or more ends or two guests. */
struct br {
	const struct bridge *bridge; /* NULL: anonymous */
	const struct link *link;
	const char *name, *label; /* label: for people, and the altname when it differs */
	const char *host;	  /* the host's own bridge, NULL: in the switch */
	uint32_t ifindex, mtu;
	struct mac mac;
	bool transparent; /* passes LACP, LLDP and STP between its two guests */
};

/* A device of a node: a veth's end or a TAP, or lo. */
struct dev {
	const struct iface *iface;
	const struct node *node;
	uint32_t space; /* where the node's or guest's device itself lives */
	const char *ifname;
	uint32_t ifindex;
	struct mac mac;	    /* as the node or guest sees it */
	struct br *br;	    /* it, or its other end, is a port of this one */
	struct dev *peer;   /* two ends and no bridge between */
	struct dev *parent; /* of a sub-interface */
	const char *peer_label;
	const char *label; /* "vm1:eth0" */
	uint32_t mtu;	   /* 0: the kernel's */
	struct seg *seg;   /* NULL: its frames reach nobody */
	struct ip *addrs;
	int n_addrs;
	struct ip gateway4, gateway6;

	/* the other end, or the TAP, in switch or host */
	const char *port_name;
	uint32_t port_ifindex;
	struct mac port_mac;

	/* guests */
	bool tap;	   /* this device is the TAP (a guest's, or a node's towards one) */
	struct dev *guest; /* of a node's TAP: the guest's end, where the queues are told */
	unsigned queues;
	enum tap_handoff handoff;
	bool adopted; /* made by another: its fds are handed to us */
	bool vnet_hdr, vhost;
	int fd, guest_fd;  /* of queue 0 */
	int vhost_fd;	   /* in the guest: of its first vhost-net fd, -1 none */
	int adopted_vhost; /* planned: of the caller's first vhost-net fd, -1 none */
	int tap_step;	   /* its OP_TAP, -1 none */
};

struct planned_node {
	const struct node *node;
	uint32_t space;
	struct dev **devs; /* in the order of node->ifaces */
	int n_devs;
	int cell_step; /* -1 none */
	int *service_steps;
	int guest_step;
	int guest_fd_end;	    /* the next number that the guest can be given */
	int disk_fd, disk_guest_fd; /* our copy of its disk, and the number there; -1: none */
	bool started, ready_done;
	bool *service_ready;
};

struct planner {
	struct arena *arena;
	const struct lab *lab;
	struct diags *diags;
	struct assume assume;
	struct plan *plan;
	int cap_steps;
	struct planned_node *nodes; /* as lab->nodes */
	uint32_t *next_ifindex;	    /* of each space */
	struct br **brs;
	int n_brs, cap_brs;
	struct seg *segs;		   /* as the lab's segments, from 1 */
	int n_ports, n_anonymous, n_wires; /* names given so far: p7, l2, w3 */
	const struct iface **named;	   /* those whose device the file names */
	int n_named;
	bool v6; /* the lab has IPv6 */
};

/* Adds a step; args is copied. Returns its index. */
uint32_t planner_step(struct planner *planner, enum op_id op, uint32_t space, const char *what,
		      struct pos pos, const void *args, size_t size);
#define STEP(planner, op, space, what, pos, ...)                                                   \
	planner_step((planner), (op), (space), (what), (pos), &(__VA_ARGS__), sizeof(__VA_ARGS__))

/* A name of our own in the switch: a letter and the next number, unless a bridge of the file has it. */
const char *planner_name(const struct planner *planner, char letter, int *n);
/* A name of our own in the host, of what this names in the lab. */
const char *planner_host_name(const struct planner *planner, const char *of);
/* The MAC of what a and b name in this lab. */
struct mac planner_mac(const struct planner *planner, const char *a, const char *b);
/* What was assigned to a node, interface or bridge of the lab: there always. */
struct planned_node *planner_node(const struct planner *planner, const struct node *node)
	__attribute__((returns_nonnull));
struct dev *planner_dev(const struct planner *planner, const struct iface *iface)
	__attribute__((returns_nonnull));
struct br *planner_br(const struct planner *planner, const struct bridge *bridge)
	__attribute__((returns_nonnull));
static inline bool dev_is_lo(const struct dev *dev)
{
	return str_eq(dev->iface->name, "lo");
}

static inline bool br_filters(const struct br *br)
{
	return br->bridge && br->bridge->filters;
}
/* vlan.c: what a port carries of which this is said; the default where that is nothing. */
struct vlan *planner_vlans(const struct planner *planner, const struct port *port, int *ret_n);

/* ---- late.c: ${eth0.fd} and the like */

/* The text with what only the plan knows filled in; errors go to diags at the text's place. node:
 * whose interfaces a bare name means; NULL: none. */
const char *late_fill(struct planner *planner, const struct node *node, const struct text *text);
/* What NAME (fd, mac …) is of a device; false, and why, where it is nothing. */
bool late_value_of(const struct dev *dev, const char *name, struct strbuf *out,
		   const char **ret_why);
/* All of those names; NULL-terminated. */
#define LATE_NAMES_MAX 64
const char *const *late_names(void);
struct program late_program(struct planner *planner, const struct node *node,
			    const struct command *command, const struct pairs *env,
			    const char *const *more_env);

#endif
