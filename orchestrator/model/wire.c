/* wire.c - what is plugged in where; see load.h.
 *
 * Ends that name their interface come first, so that "the next free ethN" of the others does not
 * depend on what stands further down. Then the wires are plugged in, in file order.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model/load.h"

/* A bridge's subnet is that of its ports that say nothing: not of other VLANs. */
const struct subnets *wire_subnets(const struct iface *iface)
{
	const struct port *port;
	const struct bridge *bridge = iface_port(iface->parent ? iface->parent : iface, &port);
	const struct link *link = iface->parent ? iface->parent->link : iface->link;

	if (bridge)
		return iface->segment == bridge->segment ? &bridge->subnets : NULL;
	return link && iface->segment == link->segment ? &link->subnets : NULL;
}

static void wire_count_port(struct loader *loader, struct bridge *bridge, struct pos pos)
{
	if (++bridge->ports == BRIDGE_PORTS_MAX + 1)
		(void)load_error(loader, pos, "%s has more than %d ports", bridge->name,
				 BRIDGE_PORTS_MAX);
}

/* `bridge: NAME` of an interface. */
static void wire_plug_bridge(struct loader *loader, struct iface *iface)
{
	const struct lab *lab = loader->lab;
	const struct text *name = &iface->bridge_name;

	if (!name->s)
		return;
	if (str_eq(iface->name, "lo")) {
		(void)load_error(loader, name->pos, "lo cannot be plugged in");
		return;
	}
	iface->bridge = lab_bridge(lab, name->s);
	if (iface->bridge) {
		wire_count_port(loader, iface->bridge, name->pos);
		return;
	}
	iface->broken = true;
	if (lab_node(lab, name->s)) {
		(void)load_error(loader, name->pos, "\"%s\" is a node, not a bridge", name->s);
		diag_hint(loader->diags, "a wire between nodes stands in links: - [%s:%s, %s]",
			  iface->node->name, iface->name, name->s);
	} else {
		(void)load_error(loader, name->pos, "no bridge \"%s\"%s",
				 load_shown(loader, name->s),
				 load_nearest_of(loader, name->s, lab->bridge_index, NULL));
	}
}

/* `node:interface` in two. false when there is no colon. */
static bool wire_split(struct loader *loader, const struct text *end, const char **ret_node,
		       const char **ret_iface)
{
	const char *colon = strchr(end->s, ':');

	if (!colon)
		return false;
	*ret_node = arena_strndup(loader->arena, end->s, (size_t)(colon - end->s));
	*ret_iface = colon + 1;
	return true;
}

static void wire_mention(struct loader *loader, const struct link *link)
{
	for (int i = 0; i < link->n_endpoints; i++) {
		const char *name, *device;
		struct node *node;

		if (!wire_split(loader, &link->endpoints[i], &name, &device))
			continue;
		node = lab_node(loader->lab, name);
		if (node)
			(void)names_put(loader->arena, node->index, device);
	}
}

static void wire_unknown(struct loader *loader, const struct text *at, const char *name,
			 bool has_device)
{
	const struct lab *lab = loader->lab;

	if (has_device && lab_bridge(lab, name)) {
		(void)load_error(loader, at->pos,
				 "\"%s\" is a bridge: it has no interfaces to name", name);
		diag_hint(loader->diags, "write %s", name);
	} else if (has_device) {
		(void)load_error(loader, at->pos, "no node \"%s\"%s", load_shown(loader, name),
				 load_nearest_of(loader, name, lab->node_index, NULL));
	} else {
		(void)load_error(loader, at->pos, "no node or bridge \"%s\"%s",
				 load_shown(loader, name),
				 load_nearest_of(loader, name, lab->node_index, lab->bridge_index));
	}
}

static const char *wire_next_eth(struct loader *loader, struct node *node)
{
	char name[NAME_DEVICE_MAX + 1];

	do
		(void)snprintf(name, sizeof name, "eth%d", node->next_eth++);
	while (names_find(node->index, name));
	return arena_strdup(loader->arena, name);
}

/* The interface that an end names, made with the defaults when nothing named it before. */
static struct iface *wire_iface(struct loader *loader, struct node *node, const char *device,
				const struct text *at)
{
	const struct tnode name = { .s = device, .pos = at->pos };
	struct iface *iface = node_iface(node, device);

	if (str_eq(device, "lo")) {
		(void)load_error(loader, at->pos, "lo cannot be plugged in");
		return NULL;
	}
	if (!iface)
		iface = nodes_add_iface(loader, node, &name, NULL);
	if (iface->parent_name.s) {
		(void)load_error(loader, at->pos,
				 "%s:%s is a sub-interface of %s: no wire is plugged into it",
				 node->name, iface->name, iface->parent_name.s);
		return NULL;
	}
	if (iface->bridge)
		(void)load_error(loader, at->pos, "%s:%s is plugged in twice (into %s, line %d)",
				 node->name, iface->name, iface->bridge->name,
				 iface->bridge_name.pos.line);
	else if (iface->link)
		(void)load_error(loader, at->pos, "%s:%s is plugged in twice (first in line %d)",
				 node->name, iface->name, iface->link->ends[iface->end].pos.line);
	return iface->bridge || iface->link ? NULL : iface;
}

/* One end. -EINVAL when it cannot be plugged in. */
static int wire_plug_end(struct loader *loader, struct link *link, const struct text *at)
{
	struct end *end = &link->ends[link->n_ends];
	const char *name = at->s, *device = NULL;
	bool has_device = wire_split(loader, at, &name, &device);
	struct node *node = lab_node(loader->lab, name);
	struct bridge *bridge = has_device ? NULL : lab_bridge(loader->lab, name);

	end->pos = at->pos;
	if (bridge) {
		for (int i = 0; i < link->n_ends; i++)
			if (link->ends[i].bridge == bridge)
				return load_error(loader, at->pos,
						  "both ends are the bridge \"%s\"", name);
		if (bridge->host.s && link->bridge && link->bridge->host.s)
			return load_error(loader, at->pos,
					  "%s and %s are the host's own bridges: no wire of a lab "
					  "joins them",
					  link->bridge->name, name);
		end->bridge = bridge;
		if (!link->bridge)
			link->bridge = bridge;
		wire_count_port(loader, bridge, at->pos);
	} else if (node) {
		struct iface *iface = wire_iface(
			loader, node, has_device ? device : wire_next_eth(loader, node), at);

		if (!iface)
			return -EINVAL;
		iface->link = link;
		iface->end = link->n_ends;
		end->iface = iface;
	} else {
		wire_unknown(loader, at, name, has_device);
		return -EINVAL;
	}
	link->n_ends++;
	return 0;
}

static void wire_plug_link(struct loader *loader, struct link *link)
{
	bool broken = false;

	link->ends = arena_calloc(loader->arena, (size_t)link->n_endpoints, sizeof *link->ends);
	if (link->n_endpoints > BRIDGE_PORTS_MAX) {
		(void)load_error(loader, link->pos,
				 "a wire has %d ends at most, and this one has %d",
				 BRIDGE_PORTS_MAX, link->n_endpoints);
		return;
	}
	if (link->n_endpoints == 1)
		(void)load_error(loader, link->endpoints[0].pos,
				 "a wire has two ends or more, and this one has one");
	for (int i = 0; i < link->n_endpoints; i++)
		if (wire_plug_end(loader, link, &link->endpoints[i]))
			broken = true;
	for (int i = 0; broken && i < link->n_ends; i++)
		if (link->ends[i].iface)
			link->ends[i].iface->node->unwired = true;
	if (link->bridge && link->subnets.mode == SUBNET_LIST) {
		(void)load_error(loader, link->subnets.n ? link->subnets.pos[0] : link->pos,
				 "a wire into a bridge has the bridge's subnet");
		diag_hint(loader->diags, "bridges: {%s: {subnet: …}}", link->bridge->name);
	}
}

static void wire_check_node(struct loader *loader, const struct node *node)
{
	loader->diags->instance = node->repeated ? node->name : NULL;
	for (int i = 0; i < node->n_ifaces; i++) {
		const struct iface *iface = node->ifaces[i];

		if (iface->bridge || iface->link || iface->broken || node->unwired ||
		    iface->parent_name.s || str_eq(iface->name, "lo") ||
		    iface->tap.source != TAP_CREATE)
			continue;
		(void)load_error(loader, iface->pos, "%s:%s is plugged into nothing", node->name,
				 iface->name);
		diag_hint(loader->diags,
			  iface->port.vlan ? "parent: makes it a sub-interface; else give it "
					     "a bridge: or an end of a wire in links:"
					   : "give it a bridge: or an end of a wire in links:");
	}
}

void wire_plug(struct loader *loader)
{
	const struct lab *lab = loader->lab;

	for (int i = 0; i < lab->n_nodes; i++) {
		loader->diags->instance = lab->nodes[i]->repeated ? lab->nodes[i]->name : NULL;
		for (int k = 0; k < lab->nodes[i]->n_ifaces; k++)
			wire_plug_bridge(loader, lab->nodes[i]->ifaces[k]);
	}
	for (int i = 0; i < lab->n_links; i++)
		wire_mention(loader, lab->links[i]);
	for (int i = 0; i < lab->n_links && !loader->full && !diag_enough(loader->diags); i++) {
		loader->diags->instance = lab->links[i]->instance;
		wire_plug_link(loader, lab->links[i]);
	}
	for (int i = 0; i < lab->n_nodes && !diag_enough(loader->diags); i++)
		wire_check_node(loader, lab->nodes[i]);
	loader->diags->instance = NULL;
}
