/* plan.c - the order of things, from the first hook to the last wait.
 *
 *   lab hook ─▶ namespaces ─▶ hosts ─▶ switch: bridges, TAPs ─▶ nodes, a batch each ─▶ VLANs and
 *   names of ports ─▶ ports on the host ─▶ interface hooks ─▶ disks, files ─▶ cells ─▶ nodes'
 *   programs, by wait-for
 */
#include "plan/plan.h"

#include <errno.h>
#include <string.h>

#include "kind/kind.h"

uint32_t planner_step(struct planner *planner, enum op_id op, uint32_t space, const char *what,
		      struct pos pos, const void *args, size_t size)
{
	struct plan *plan = planner->plan;

	*ARENA_PUSH(planner->arena, plan->steps, plan->n_steps, planner->cap_steps) = (struct step){
		.op = op,
		.space = space,
		.line = pos.line,
		.col = pos.col,
		.what = what,
		.args = arena_memdup(planner->arena, args, size),
	};
	return (uint32_t)plan->n_steps - 1;
}

static bool switch_used(const struct planner *planner)
{
	for (int i = 0; i < planner->n_brs; i++)
		if (!planner->brs[i]->host)
			return true;
	for (int n = 0; n < planner->lab->n_nodes; n++)
		if (planner->nodes[n].node->kind->guest &&
		    str_eq(planner->nodes[n].node->netns.s, "switch"))
			return true;
	return false;
}

static void namespaces(struct planner *planner)
{
	const struct plan *plan = planner->plan;
	struct pos none = { 0 };

	if (switch_used(planner))
		STEP(planner, OP_NETNS, SPACE_SWITCH, "switch", none,
		     (struct op_netns){ .fd = plan->spaces[SPACE_SWITCH].fd });
	for (int n = 0; n < planner->lab->n_nodes; n++) {
		const struct planned_node *planned = &planner->nodes[n];

		if (planned->space != SPACE_HOST)
			STEP(planner, OP_NETNS, planned->space, planned->node->name,
			     planned->node->pos,
			     (struct op_netns){ .fd = plan->spaces[planned->space].fd });
	}
}

/* The lab's names: an address of lo first, since it is up whatever link is down. */
static void hosts(struct planner *planner)
{
	struct strbuf text __attribute__((cleanup(strbuf_free))) = STRBUF_INIT;
	char ip[IP_TEXT];

	strbuf_puts(&text, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
	for (int n = 0; n < planner->lab->n_nodes; n++)
		for (int pass = 0; pass < 2; pass++)
			for (int i = 0; i < planner->nodes[n].n_devs; i++) {
				const struct dev *dev = planner->nodes[n].devs[i];

				for (int a = 0; a < dev->n_addrs && dev_is_lo(dev) == (pass == 0);
				     a++)
					strbuf_printf(&text, "%s %s\n", ip_text(&dev->addrs[a], ip),
						      dev->node->name);
			}
	planner->plan->mounts_fd = planner->plan->fd_end++;
	STEP(planner, OP_MOUNTS, SPACE_HOST, planner->plan->lab, (struct pos){ 0 },
	     (struct op_mounts){ .hosts = arena_text(planner->arena, &text),
				 .fd = planner->plan->mounts_fd });
}

static void bridges(struct planner *planner)
{
	static const char *const keys[] = { "net.ipv6.conf.all.disable_ipv6",
					    "net.ipv6.conf.default.disable_ipv6" };

	if (!switch_used(planner))
		return;
	for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) /* nothing in the switch speaks */
		STEP(planner, OP_SYSCTL, SPACE_SWITCH, "switch", (struct pos){ 0 },
		     (struct op_sysctl){ .key = keys[k], .value = "1", .optional = true });
	for (int i = 0; i < planner->n_brs; i++)
		kind_bridge(planner, planner->brs[i]);
	for (int i = 0; i < planner->lab->n_links; i++) {
		const struct link *link = planner->lab->links[i];

		for (int k = 0; k < link->n_ends; k++)
			if (link->ends[k].bridge && link->ends[k].bridge != link->bridge)
				kind_bridge_link(planner, link, link->ends[k].bridge,
						 &planner->next_ifindex[SPACE_SWITCH]);
	}
}

/* ---- what people are shown of nodes */

static void show_dev(struct planner *planner, const struct dev *dev, struct plan_iface *ret_iface)
{
	const struct dev *tap = dev->guest ? dev->guest : dev;
	bool required = dev->vhost && dev->iface->tap.vhost == VHOST_REQUIRE;

	*ret_iface = (struct plan_iface){
		.name = dev->iface->name,
		.ifname = dev->adopted ? "-" : dev->ifname,
		.space = dev->space,
		.ifindex = dev->ifindex	       ? dev->ifindex
			   : dev->port_ifindex ? dev->port_ifindex
			   : dev->peer	       ? dev->peer->ifindex
					       : 0,
		.peer = dev->peer_label,
		.port = dev->br ? dev->port_name : NULL,
		.port_space = dev->br && dev->br->host ? SPACE_HOST : SPACE_SWITCH,
		.port_ifindex = dev->port_ifindex,
		.mac = dev->mac,
		.n_addrs = dev->n_addrs,
		.addrs = arena_calloc(planner->arena, (size_t)dev->n_addrs,
				      sizeof(struct plan_address)),
		.queues = tap->queues,
		.fd = tap->fd,
		.guest_fd = dev->guest_fd,
		.vhost_fd = dev->vhost_fd,
		.tap_step = tap->tap_step,
		.vnet_hdr = tap->vnet_hdr,
		.set = !dev->node->kind->guest,
		.vhost_line = required ? dev->iface->tap.vhost_pos.line : 0,
		.vhost_col = dev->iface->tap.vhost_pos.col,
	};
	for (int a = 0; a < dev->n_addrs; a++)
		ret_iface->addrs[a].ip = dev->addrs[a];
}

static void show_nodes(struct planner *planner)
{
	struct plan *plan = planner->plan;

	plan->n_nodes = planner->lab->n_nodes;
	plan->nodes = arena_calloc(planner->arena, (size_t)plan->n_nodes, sizeof *plan->nodes);
	for (int n = 0; n < plan->n_nodes; n++) {
		struct planned_node *planned = &planner->nodes[n];
		const char *own[] = {
			arena_printf(planner->arena, "TAPNET_LAB=%s", plan->lab),
			arena_printf(planner->arena, "TAPNET_NODE=%s", planned->node->name), NULL
		};
		struct program env = late_program(planner, planned->node, &(struct command){ 0 },
						  &planned->node->env, own);

		plan->nodes[n] = (struct plan_node){
			.name = planned->node->name,
			.kind = planned->node->kind->name,
			.space = planned->space,
			.guest = planned->node->kind->guest,
			.cell_step = planned->cell_step,
			.env = env.env,
			.n_env = env.n_env,
			.n_ifaces = planned->n_devs,
			.ifaces = arena_calloc(planner->arena, (size_t)planned->n_devs,
					       sizeof(struct plan_iface)),
			.line = planned->node->pos.line,
			.col = planned->node->pos.col,
		};
		for (int i = 0; i < planned->n_devs; i++)
			show_dev(planner, planned->devs[i], &plan->nodes[n].ifaces[i]);
	}
}

int plan_make(struct arena *arena, const struct lab *lab, struct assume *assume,
	      struct diags *diags, struct plan **ret_plan)
{
	struct plan *plan = arena_alloc(arena, sizeof *plan);
	struct planner planner = {
		.arena = arena, .lab = lab, .diags = diags, .assume = *assume, .plan = plan
	};
	bool nodes = false;

	*plan = (struct plan){ .lab = lab->name.s, .mounts_fd = -1, .fd_end = FD_PLANNED };
	plan->bridges = (uint32_t)lab->n_bridges;
	plan->links = (uint32_t)lab->n_links;
	plan_assign(&planner);
	plan_address(&planner);
	kind_lab_hooks(&planner);
	namespaces(&planner);
	for (int n = 0; n < lab->n_nodes; n++)
		nodes = nodes || !lab->nodes[n]->kind->guest;
	if (nodes)
		hosts(&planner);
	bridges(&planner);
	kind_taps(&planner, SPACE_SWITCH);
	kind_host_taps(&planner);
	for (int n = 0; n < lab->n_nodes; n++)
		if (!lab->nodes[n]->kind->guest)
			kind_netns(&planner, &planner.nodes[n]);
	kind_port_vlans(&planner);
	kind_altnames(&planner);
	kind_host_veths(&planner);
	kind_programs(&planner);
	show_nodes(&planner);
	*assume = planner.assume;
	if (arena->torn)
		diag_add(diags, (struct pos){ 0 }, "out of memory");
	*ret_plan = plan;
	return diags->total ? -EINVAL : 0;
}
