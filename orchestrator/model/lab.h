/* lab.h - a lab as its file says it: immutable, typed, every name resolved.
 *
 * lab_load() is the way in: libyaml's events become a tree that knows its places (yaml.c); groups,
 * defaults, `for` and ${…} are worked out (expand.c); tables of fields turn the tree into the
 * structs below (field.c, vocab.c); names are resolved and the wires plugged in (lab.c). All of a
 * file's errors are found in one run. Everything lives on one arena.
 *
 * What only the plan knows (${eth0.fd}, ${r1:eth0.ipv4} …) stays in strings as LATE_OPEN name
 * LATE_CLOSE; a file cannot contain these bytes, since control characters are refused.
 */
#ifndef TAPNET_MODEL_LAB_H
#define TAPNET_MODEL_LAB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/ip.h"
#include "base/vlan.h"
#include "model/diag.h"
#include "model/field.h"

#define LATE_OPEN  '\x01'
#define LATE_CLOSE '\x02'

#define NAME_DEVICE_MAX	 15 /* characters of a device's name in the kernel (IFNAMSIZ - 1) */
#define BRIDGE_PORTS_MAX 1023
#define TAP_QUEUES_MAX	 256

/* A string with its place. */
struct text {
	const char *s;
	struct pos pos;
};

/* argv, or a string for sh -c (then argc is 3: "/bin/sh", "-c", string, and shell is set).
 * argc 0: there is none. */
struct command {
	struct text *argv;
	int argc;
	bool shell;
	struct pos pos;
};

struct pair { /* of env, sysctls */
	const char *key, *value;
	struct pos pos, value_pos;
};

struct pairs {
	struct pair *v;
	int n;
};

enum hook_fds { HOOK_FDS_FIRST, HOOK_FDS_ALL, HOOK_FDS_NONE };

struct hook {
	struct command command; /* argc 0: no such hook */
	unsigned timeout_ms;
	enum hook_fds fds;
	struct pairs env;
	struct text user; /* s NULL: the caller */
	struct pos pos;
};

struct hooks {
	struct hook up, down;
};

enum addrs_mode { ADDRS_UNSET, ADDRS_AUTO, ADDRS_NONE, ADDRS_LIST };

struct addrs {
	enum addrs_mode mode;
	struct ip *v;
	struct pos *pos; /* of each */
	int n;
};

enum tristate { TRI_AUTO, TRI_OFF, TRI_ON };

enum tap_source { TAP_CREATE, TAP_FDS, TAP_HELPER };
enum tap_vhost { VHOST_AUTO, VHOST_OFF, VHOST_REQUIRE };
enum tap_endian { ENDIAN_NATIVE, ENDIAN_LITTLE, ENDIAN_BIG };
enum tap_handoff {
	HANDOFF_FD,	    /* attached queues, by number */
	HANDOFF_UNATTACHED, /* /dev/net/tun, open in the device's namespace: the guest attaches itself */
	HANDOFF_NAME,	    /* the guest opens the device by its name */
};
enum tap_steer { STEER_AUTOMQ, STEER_QUEUE, STEER_HASH, STEER_OBJECT };

/* Which queue a frame for the guest goes to. */
struct steering {
	enum tap_steer how;
	unsigned queue;	    /* STEER_QUEUE */
	struct text object; /* STEER_OBJECT: an ELF file, relative to the lab's folder */
};

struct tap_helper {
	struct command command; /* argc 0: none */
	struct text bridge;	/* NULL: the protocol's default, br0 */
	unsigned timeout_ms;
};

struct fd_list {
	int *v;
	int n;
};

struct tap_spec {
	int source, vhost, endian; /* enum tap_… */
	int handoff;		   /* 1 + enum tap_handoff; 0: as the guest's kind wants it */
	unsigned queues;	   /* 1 … 256 */
	enum tristate vnet_hdr;	   /* auto: on where the guest's command is a preset's, else off */
	unsigned vnet_hdr_len;	   /* bytes: 10, 12, 20; 0: the kernel's 10 */
	unsigned offload;	   /* bits of tap_offloads[] */
	uint64_t sndbuf;	   /* bytes, 0: no limit */
	struct steering steering;
	unsigned enabled;	  /* queues attached at first; 0: all */
	unsigned poll_us;	  /* microseconds, 0: none */
	unsigned txqueuelen;	  /* frames, 0: the kernel's 1000 */
	bool carrier;		  /* plugged in at first */
	struct text owner, group; /* NULL: anybody's */
	bool persist, adopt_hooks;
	struct text name;	      /* NULL: one of ours */
	struct fd_list fds, vhostfds; /* the caller's numbers */
	struct tap_helper helper;
	struct pos pos; /* of what says that the device is not made by us, or of tap: */
	struct pos queues_pos, vhost_pos, persist_pos, name_pos;
};

/* The words of tap: offload, in the order of their bits. */
extern const char *const tap_offloads[];

/* What is said of the VLANs of a bridge's port; of a sub-interface vlan is its tag. 0: not given. */
struct port {
	unsigned vlan, native;
	struct vlan *trunk; /* ascending and apart; the native one may be among them */
	int n_trunk;
	struct pos vlan_pos, trunk_pos, native_pos;
};

struct bridge;
struct names;
struct node;
struct link;
struct tnode;

/* A device of a node, and the wire it is plugged into: a bridge, or one end of a link, or neither
 * (lo, sub-interfaces). */
struct iface {
	const char *name;
	struct pos pos;
	struct node *node;
	struct bridge *bridge;	 /* the bridge it is a port of, or NULL */
	struct link *link;	 /* the link it is an end of, or NULL */
	int end;		 /* which */
	struct text bridge_name; /* as written */
	struct text parent_name; /* as written */
	struct iface *parent;	 /* of a sub-interface, or NULL */
	struct port port;
	int segment;		 /* see each other's frames: those with one number; 0: none */
	struct addrs ipv4, ipv6; /* given on the interface or by the link's positional list */
	struct mac mac;
	bool mac_given;
	struct pos mac_pos;
	unsigned mtu; /* bytes, 0: the link's, else the kernel's 1500 */
	struct pos mtu_pos;
	struct tap_spec tap;
	struct hooks hooks;
	bool broken; /* the loader's: an error is told already */
};

struct route {
	struct text to;	  /* "default", or a prefix as written */
	struct ip dst;	  /* family 0 for default */
	struct text via;  /* as written: an address, a neighbour's name, an uplink bridge */
	struct ip via_ip; /* family 0: via is a name */
	struct node *via_node;
	unsigned metric; /* 0: the kernel's */
	struct pos pos;
};

enum ready_kind { READY_NONE, READY_CONSOLE, READY_TCP, READY_EXEC, READY_AFTER };

struct ready {
	enum ready_kind kind;
	struct text console; /* extended regular expression, matched against each console line */
	struct text tcp; /* "PORT", "ADDRESS:PORT" or "NODE:PORT"; by default of the thing itself */
	struct text from; /* the node that connects, NULL: the node itself */
	struct node *from_node;
	struct command exec;
	unsigned after_ms;
	unsigned timeout_ms;
	struct pos pos;
};

enum restart { RESTART_NO, RESTART_ON_FAILURE };

struct service {
	const char *name;
	struct pos pos;
	struct command command;
	struct pairs env;
	struct ready ready;
	struct text *wait_for; /* services of the same node, or nodes */
	int n_wait_for;
	enum restart restart;
	struct text user; /* s NULL: the node's */
};

/* What a `kind:` of node is to the loader: its own keys beside those of every node. */
struct node_kind {
	const char *name;
	const char *help;
	const struct field *fields; /* NULL: none; ends with an entry without a name */
	size_t spec_size;
	bool guest;  /* a program that takes TAPs, not a namespace */
	bool preset; /* a file says what it is; one beside the lab comes before ours */
	/* Whether it does something with one of its own keys; NULL: with all. */
	bool (*uses)(const struct node_kind *kind, const char *key);
};

struct lab;

/* The kinds there are. */
struct node_kinds {
	const struct node_kind *const *list; /* NULL-terminated; all that are built in */
	const struct field *preset;	     /* the keys of a preset's file; NULL: there are none */
	/* A preset's kind, of the lab's own file or of ours; NULL: there is none (0), or its errors
	 * are told (-EINVAL). NULL: there are no presets. */
	int (*open)(const struct lab *lab, const char *name, struct diags *diags,
		    const struct node_kind **ret_kind);
};

struct node {
	const char *name;
	struct pos pos;
	struct text kind_name;
	const struct node_kind *kind;
	void *spec; /* kind->spec_size bytes */
	bool forward;
	struct pairs sysctls, env;
	struct text user;      /* of its guest or services; s NULL: the caller */
	struct iface **ifaces; /* in the order of their first mention */
	int n_ifaces, cap_ifaces;
	struct route *routes;
	int n_routes;
	struct command *exec;
	int n_exec;
	struct hooks hooks;
	struct service *services;
	int n_services;
	struct text *wait_for; /* nodes */
	int n_wait_for;
	struct node **wait_nodes; /* the same, resolved */
	struct command command;	  /* guests */
	struct text netns;	  /* guests: NULL or "host", "switch", or a node's name */
	struct node *netns_node;
	enum restart restart;
	struct ready ready;
	int order;	      /* its place in the lab's nodes */
	struct names *index;  /* of ifaces: node_iface() */
	int next_eth;	      /* the loader's: no ethN below is free */
	bool broken, unwired; /* the loader's: an error is told already, of it or of a wire */
	bool repeated;	      /* made by `for` */
};

enum subnet_mode { SUBNET_UNSET, SUBNET_NONE, SUBNET_LIST };

struct subnets {
	enum subnet_mode mode;
	struct ip v[2]; /* at most one of each family; host bits are an error */
	struct pos pos[2];
	int n;
};

struct bridge {
	const char *name;
	struct pos pos;
	struct subnets subnets;
	bool stp, mcast_snooping;
	unsigned ageing_ms; /* 0: the kernel's 300 s */
	unsigned mtu;
	struct text host; /* the host's own bridge, or NULL */
	int ports;	  /* counted over interfaces and links */
	int order;	  /* its place in the lab's bridges */
	bool filters;	  /* by VLANs, since a port of it says something of them */
	int segment;	  /* of its ports that say nothing */
	bool broken;	  /* the loader's: an error is told already */
};

struct end { /* exactly one of the two */
	struct iface *iface;
	struct bridge *bridge;
	struct pos pos;
};

struct link {
	struct pos pos;
	struct end *ends;
	int n_ends; /* 2 or more; three or more meet on an anonymous bridge */
	struct subnets subnets;
	unsigned mtu;
	struct port port;	/* of its ends that are bridges; its vlan is 0 */
	struct bridge *bridge;	/* the first of its ends that is one, or NULL */
	int order;		/* its place in the lab's links */
	int segment;		/* that of its bridge, or one of its own */
	const char *instance;	/* of `for`, for errors: "n=7"; or NULL */
	struct text *endpoints; /* as written */
	int n_endpoints;
	const struct tnode *ipv4, *ipv6; /* the loader's: each end's, in order */
};

struct lab {
	struct arena *arena;
	const char *file; /* as the user wrote it */
	const char *dir;  /* absolute folder of the file */
	struct text name;
	const char *description;
	struct ip pool4, pool6; /* family 0: none */
	struct hooks hooks;
	struct bridge **bridges;
	int n_bridges;
	struct node **nodes; /* in file order, instances of `for` in theirs */
	int n_nodes;
	struct link **links;
	int n_links;
	int n_segments;				 /* numbered from 1 */
	struct names *node_index, *bridge_index; /* lab_node(), lab_bridge() */
};

/* Values given on the command line: --name, --set VAR=VALUE. */
struct lab_options {
	const char *name;	/* NULL: the file's */
	const char *const *set; /* "VAR=VALUE" */
	int n_set;
};

/* Reads and checks a lab file. Returns 0; -EINVAL with diags filled when the file is at fault; or
 * another -errno with err set (cannot be read …). */
int lab_load(struct arena *arena, const char *path, const struct lab_options *options,
	     const struct node_kinds *kinds, struct diags *diags, struct lab **ret_lab,
	     struct err *err);

struct node *lab_node(const struct lab *lab, const char *name);
struct bridge *lab_bridge(const struct lab *lab, const char *name);
struct iface *node_iface(const struct node *node, const char *name);
/* vlan.c */
bool port_says(const struct port *port);
/* The first of its keys in the file. */
struct pos port_pos(const struct port *port);
/* The bridge that an interface is a port of, or NULL, and what is said of that port. */
const struct bridge *iface_port(const struct iface *iface, const struct port **ret_port);
/* Bytes; 0: the kernel's 1500. */
unsigned iface_mtu(const struct iface *iface);

/* JSON Schema (draft 2020-12) of the whole vocabulary, from the same tables. */
int schema_write(const struct node_kinds *kinds, struct strbuf *out);

#endif
