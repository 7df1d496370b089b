/* step.h - what a plan is made of: spaces, steps, and what each step's operation is told.
 *
 * A plan is data: it is printed by `plan`, carried out by the executor, written to the journal, and
 * read back by whoever tears the lab down. Nothing in it depends on the machine, but the lab's
 * folder and run directory, which stay symbolic (STEP_DIR, STEP_RUN) until a program is started.
 */
#ifndef TAPNET_OP_STEP_H
#define TAPNET_OP_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/ip.h"
#include "base/rec.h"
#include "base/vlan.h"

/* In strings of commands: replaced when the program is started. */
#define STEP_DIR                                                                                   \
	"\x01"                                                                                     \
	"lab.dir"                                                                                  \
	"\x02"
#define STEP_RUN                                                                                   \
	"\x01"                                                                                     \
	"lab.run"                                                                                  \
	"\x02"
/* In those of a hook: the name of the device behind its first TAP fd. */
#define STEP_IFNAME                                                                                \
	"\x01"                                                                                     \
	"tap.ifname"                                                                               \
	"\x02"

#define SPACE_HOST   0u /* the namespace that the tool was started in */
#define SPACE_SWITCH 1u /* bridges and ports */

/* Planned fds are at FD_PLANNED and above; they are reserved before anything is made. */
#define FD_PLANNED 64

struct space {
	const char *name; /* "host", "switch", or the node's */
	int fd;		  /* -1: host */
	int mounts;	  /* the mount namespace of its hooks, -1: none */
	bool taps; /* it holds TAPs: many links are deleted by group before the fds are closed */
};

enum op_id {
	OP_HOOK,
	OP_NETNS,
	OP_MOUNTS,
	OP_SYSCTL,
	OP_BRIDGE,
	OP_VETH,
	OP_TAP,
	OP_PORT,
	OP_HOSTPORT,
	OP_LINK,
	OP_ADDR,
	OP_ROUTE,
	OP_ALTNAME,
	OP_SUBIF,
	OP_VLANS,
	OP_CELL,
	OP_EXEC,
	OP_PROC,
	OP_READY,
	OP_DISK,
	OP_FILE,
	OP_COUNT,
};

struct step {
	enum op_id op;
	uint32_t space;
	int line, col;	  /* in the lab file; 0: of no line in particular */
	const char *what; /* whose step it is: "vm1:eth0", "r1", "lan" */
	const void *args; /* the op's own struct below */
};

/* ---- arguments, one struct an op */

struct op_netns {
	int fd; /* of the space */
};

/* A mount namespace: the lab's, for plain nodes, shows the hosts file; a space's shows its /sys too. */
struct op_mounts {
	const char *hosts; /* the lab's: the file's text; NULL: a space's */
	int fd;
};

struct op_sysctl {
	const char *key, *value;
	bool optional; /* a kernel without it is fine */
};

struct op_bridge {
	const char *name;
	uint32_t ifindex, mtu, ageing_ms;
	struct mac mac;
	bool stp, mcast_snooping;
	bool vlan_filtering; /* and no port is in a VLAN by itself */
};

struct op_veth {
	const char
		*name; /* the main end: in space, under master, up when made; never in the host's */
	uint32_t space, ifindex, master;
	struct mac mac;
	const char *
		peer_name; /* the other end: in peer_space, down; its ifindex 0: the kernel's choice */
	uint32_t peer_space, peer_ifindex;
	struct mac peer_mac;
	uint32_t mtu;
};

struct program {
	const char **argv;
	int argc;
	const char **env; /* beside the whitelist: "K=V" */
	int n_env;
	const char *user; /* "NAME" or "NAME:GROUP", NULL: the caller */
};

struct op_fd {
	int from,
		to; /* of a guest: the planned fd, and its number there; from -1: vhost-net, opened
		       * for it. Of an adopted device: the caller's number, and the planned one. */
};

enum op_tap_source { TAP_MADE, TAP_ADOPTED, TAP_HELPED };
enum op_tap_handoff { TAP_BY_FD, TAP_UNATTACHED, TAP_BY_NAME };

struct op_tap {
	const char *name; /* NULL: adopted */
	uint32_t source;  /* enum op_tap_source */
	uint32_t handoff; /* enum op_tap_handoff */
	uint32_t ifindex, queues;
	struct mac mac;
	bool persist; /* ours, in a namespace of the lab; or the user's wish, in the host's */
	int fd;	      /* of queue 0; the others follow */

	/* how it is set: struct tun_settings */
	bool vnet_hdr, carrier_off;
	uint32_t vnet_hdr_len, endian, offload, sndbuf, enabled;
	uint32_t steering, steering_queue;
	const char *steering_object; /* path, or NULL */
	const char *owner, *group;   /* names or numbers, or NULL */

	struct op_fd *adopted; /* queues, then vhost-net fds */
	int n_adopted;
	struct program helper;
	const char *helper_bridge;
	uint32_t helper_ms;
};

struct op_port { /* a TAP's place on the network: noqueue, mtu, master, up */
	const char *name;
	uint32_t ifindex, master, mtu;
	uint32_t txqueuelen; /* frames; 0: the kernel's */
	uint32_t fwd_mask;   /* link-local frames that the port passes on */
	bool no_link_local, forward;
};

struct op_hostport { /* our device in the host's namespace becomes a port of the host's bridge */
	const char *name, *bridge, *altname;
	struct mac mac;
	uint32_t mtu;
	uint32_t txqueuelen; /* frames; 0: the kernel's */
	bool tap;
	struct vlan *vlans; /* none: the host's bridge gives it one */
	int n_vlans;
};

struct op_link { /* an existing link: mtu, address generation off, forwarding, up */
	const char *name;
	uint32_t ifindex, mtu, master;
	bool no_link_local, forward;
};

struct op_addr {
	const char *name;
	uint32_t ifindex;
	struct ip addr;
};

struct op_route {
	struct ip dst, via; /* dst family 0: default */
	uint32_t ifindex, metric;
	const char *name; /* of the device */
};

struct op_altname {
	const char *name, *altname;
	uint32_t ifindex;
};

struct op_subif { /* a device for the frames of another that have a tag */
	const char *name, *parent_name;
	uint32_t ifindex, parent, vlan;
	struct mac mac;
	uint32_t mtu; /* 0: the parent's */
};

#define OP_VLANS_MAX 64 /* ranges, in one step: a message has its limits */
struct op_vlans {	/* what a port of a bridge carries */
	const char *name;
	uint32_t ifindex;
	bool given; /* in the file; else it is the default */
	struct vlan *vlans;
	int n_vlans;
};

struct op_hook {
	struct program up, down; /* argc 0: none */
	uint32_t up_timeout_ms, down_timeout_ms;
	int fd;			   /* first TAP fd of the device, -1: none */
	uint32_t up_fds, down_fds; /* how many of them are inherited, from 3 on */
	const char *log;	   /* file in the run directory that its output is added to */
};

struct op_cell {
	const char *hostname; /* NULL: pids only (a guest's) */
	uint32_t grace_ms;
};

struct op_exec {
	struct program program;
	uint32_t timeout_ms, cell_step;
	const char *log;
};

enum proc_kind { PROC_GUEST, PROC_SERVICE };

struct op_proc {
	struct program program;
	uint32_t kind; /* enum proc_kind */
	uint32_t cell_step, grace_ms;
	const char *node, *name; /* name: of a service; of a guest, its kind ("qemu") */
	const char *log;	 /* file in the run directory */
	struct op_fd *fds;
	int n_fds;
	bool restart; /* on failure */
};

enum ready_wait { WAIT_CONSOLE, WAIT_TCP, WAIT_EXEC, WAIT_AFTER, WAIT_STP };

struct op_ready {
	uint32_t kind; /* enum ready_wait */
	uint32_t proc_step;
	uint32_t from;		/* WAIT_TCP: the space that connects */
	const char *pattern;	/* WAIT_CONSOLE: extended regular expression */
	struct ip addr;		/* WAIT_TCP */
	uint32_t port;		/* WAIT_TCP; WAIT_STP: ifindex of the bridge */
	struct program program; /* WAIT_EXEC, in the node's cell */
	uint32_t cell_step;
	uint32_t after_ms, timeout_ms;
	const char *node;
};

struct op_disk { /* a guest's own copy of an image, which nothing but its fd names */
	const char *image;
	int fd;
};

struct op_file { /* in the run directory */
	const char *name, *text;
};

/* ---- the plan */

struct plan_address { /* for people: what status and the summary show */
	struct ip ip;
};

struct plan_iface {
	const char *name;   /* in the node */
	const char *ifname; /* the device's name in the kernel */
	uint32_t space, ifindex;
	const char *peer; /* "lan1", "r2:eth1" */
	const char *port; /* of a bridge, in port_space; NULL: none */
	uint32_t port_space, port_ifindex;
	struct mac mac;
	struct plan_address *addrs;
	int n_addrs;
	uint32_t queues;	   /* of a TAP, else 0 */
	int fd;			   /* of its queue 0, -1 none */
	int guest_fd;		   /* its number in the guest, -1 none */
	int vhost_fd;		   /* the number of its first vhost-net fd there, -1 none */
	int tap_step;		   /* its OP_TAP, -1 none */
	bool vnet_hdr, set;	   /* set: addresses are set by us, not told to a guest */
	int vhost_line, vhost_col; /* where the file says vhost: require, 0: it does not */
};

struct plan_node {
	const char *name, *kind;
	uint32_t space; /* SPACE_HOST for guests */
	bool guest;
	int cell_step;	  /* -1: none */
	const char **env; /* for exec and shell */
	int n_env;
	struct plan_iface *ifaces;
	int n_ifaces;
	int line, col;
};

struct plan {
	const char *lab;
	uint32_t bridges, links; /* for the summary */
	struct space *spaces;
	int n_spaces;
	struct plan_node *nodes;
	int n_nodes;
	struct step *steps;
	int n_steps;
	int mounts_fd; /* the plain nodes' mount namespace, -1: none */
	int fd_end;    /* planned fds are FD_PLANNED … fd_end - 1 */
};

void plan_encode(const struct plan *plan, struct strbuf *out);
/* 0, or -EBADMSG for bytes that are not a plan; every index in it is then within bounds. */
int plan_decode(struct arena *arena, const char *data, size_t len, struct plan **ret_plan);

#endif
