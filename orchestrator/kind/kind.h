/* kind.h - what the YAML can say, turned into steps. */
#ifndef TAPNET_KIND_KIND_H
#define TAPNET_KIND_KIND_H

#include <sys/types.h>

#include "kind/planner.h"

/* A kind of node. Those of guests build the command. */
struct kind {
	struct node_kind node;	  /* what the loader knows of it; first, so that one is the other */
	bool vnet_hdr;		  /* what vnet-hdr: auto means */
	enum tap_handoff handoff; /* of its interfaces, where they say none */
	bool in_tap_netns;	  /* it looks its TAPs up by name: it runs where they are */
	unsigned queues_max;	  /* of an interface; 0: as many as the kernel gives */
	bool vhost;		  /* it takes vhost fds */
	/* Steps that come before the guest's own: a disk, files. NULL: none. */
	void (*prepare)(struct planner *planner, struct planned_node *node);
	/* argv of a guest: late strings filled in. Errors go to diags. */
	struct program (*command)(struct planner *planner, struct planned_node *node);
};

/* A kind of node that the loader gives us is a struct kind's node, since presets are opened. */
extern const struct node_kinds kinds;
extern const struct kind netns_kind, guest_kind;

static inline const struct kind *kind_of(const struct node *node)
{
	return (const struct kind *)(const void *)node->kind;
}

#define PRESETS_DIR "presets/" /* beside the lab: those of its own, each KIND.yaml */
#define PRESET_MAX  ((size_t)64 << 10)
/* preset.c: kernels, disks and the like that are not there: errors at their places. 0 or -EINVAL. */
int kind_check_files(const struct lab *lab, struct diags *diags);
/* The i-th of the presets that are built in, and its program; false: there are no more. */
bool kind_preset(struct arena *arena, int i, const char **ret_name, const char **ret_program);
/* bridge.c */
void kind_bridge(struct planner *planner, const struct br *br);
void kind_bridge_link(struct planner *planner, const struct link *link, const struct bridge *far,
		      uint32_t *next_ifindex);
/* wire.c: the TAPs of one space, and their ports */
void kind_taps(struct planner *planner, uint32_t space);
void kind_host_taps(struct planner *planner); /* and those that others made */
struct tap_place {
	uint32_t space;
	const char *name;
	uint32_t ifindex;
	const struct mac *mac;
};
void kind_tap(struct planner *planner, const struct tap_place *place, struct dev *guest);
void kind_altnames(struct planner *planner);
void kind_host_veths(struct planner *planner);
/* vlan.c: what ports carry, when all of them are there; sub-interfaces */
void kind_port_vlans(struct planner *planner);
void kind_vlans(struct planner *planner, const struct port *port, const char *name,
		uint32_t ifindex, const char *label, struct pos pos);
void kind_subif(struct planner *planner, const struct dev *dev);
/* netns.c: one batch a node */
void kind_netns(struct planner *planner, struct planned_node *node);
/* hook.c: hooks that cannot be executed, or that others could have written: errors at their places.
 * 0 or -EINVAL. */
struct hook_trust {
	bool judged; /* it is root who would run what others could have written */
	uid_t owner; /* of the lab file */
};
int kind_check_hooks(const struct lab *lab, const struct hook_trust *trust, struct diags *diags);
/* The words of a hook that is a program, of whatever it is in the file. */
struct command hook_words(struct arena *arena, const struct command *command);
/* programs.c: hooks, cells, exec, services, guests, in the order of wait-for */
void kind_lab_hooks(struct planner *planner);
void kind_programs(struct planner *planner);
/* route.c */
void kind_gateways(struct planner *planner, struct planned_node *node);
void kind_routes(struct planner *planner, struct planned_node *node);

#endif
