/* guest.c - kind: guest (any program that takes fds), and the list of kinds. */
#include "kind/kind.h"

extern const struct kind kind_qemu;

static struct program guest_command(struct planner *planner, struct planned_node *planned)
{
	return late_program(planner, planned->node, &planned->node->command, NULL, NULL);
}

static const struct kind netns_kind = {
	.node = { .name = "netns", .help = "a network namespace" },
};

static const struct kind guest_kind = {
	.node = { .name = "guest",
		  .help = "any program that takes TAP fds by number",
		  .guest = true },
	.command = guest_command,
};

#define PLANNED_KIND(var, name_)                                                                   \
	static const struct kind var = {                                                           \
		.node = { .name = (name_), .guest = true, .planned = true }                        \
	}

PLANNED_KIND(kind_cloud_hypervisor, "cloud-hypervisor");
PLANNED_KIND(kind_crosvm, "crosvm");
PLANNED_KIND(kind_kvmtool, "kvmtool");
PLANNED_KIND(kind_firecracker, "firecracker");

const struct node_kind *const kinds[] = {
	&netns_kind.node,  &guest_kind.node,   &kind_qemu.node,	       &kind_cloud_hypervisor.node,
	&kind_crosvm.node, &kind_kvmtool.node, &kind_firecracker.node, NULL,
};
