/* guest.c - the kinds that are no presets: netns, and guest (any program that takes fds). */
#include "kind/kind.h"

static struct program guest_command(struct planner *planner, struct planned_node *planned)
{
	return late_program(planner, planned->node, &planned->node->command, NULL, NULL);
}

const struct kind netns_kind = {
	.node = { .name = "netns", .help = "a network namespace" },
};

const struct kind guest_kind = {
	.node = { .name = "guest",
		  .help = "any program that takes TAP fds by number",
		  .guest = true },
	.command = guest_command,
};
