/* vlan.c - VLANs of ports, sub-interfaces, and who sees whose frames; see load.h.
 *
 * Theory of operation. A bridge filters when a port of it says something of VLANs. The frames of one
 * VLAN on one bridge, or with one tag on a bridge or wire that does not filter, are a place; wires
 * between bridges join places, and an interface is in one: a port in that of its frames without tag,
 * a sub-interface in that of its tag. Interfaces in joined places are one segment. Places are a table
 * of bridges by tags, of which only those have a column that something in the lab is in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "model/load.h"

bool port_says(const struct port *port)
{
	return port->vlan || port->native || port->n_trunk;
}

struct pos port_pos(const struct port *port)
{
	const struct pos all[] = { port->vlan_pos, port->trunk_pos, port->native_pos };
	struct pos first = { 0 };

	for (size_t i = 0; i < COUNT(all); i++)
		if (all[i].line && (!first.line || all[i].line < first.line ||
				    (all[i].line == first.line && all[i].col < first.col)))
			first = all[i];
	return first;
}

const struct bridge *iface_port(const struct iface *iface, const struct port **ret_port)
{
	*ret_port = &iface->port;
	if (iface->link && iface->link->bridge && !port_says(&iface->port))
		*ret_port = &iface->link->port;
	return iface->bridge ? iface->bridge : iface->link ? iface->link->bridge : NULL;
}

unsigned iface_mtu(const struct iface *iface)
{
	const struct port *port;
	const struct bridge *bridge = iface_port(iface, &port);

	if (iface->mtu)
		return iface->mtu;
	if (iface->parent)
		return iface_mtu(iface->parent);
	if (iface->link && iface->link->mtu)
		return iface->link->mtu;
	return bridge ? bridge->mtu : 0;
}

/* ---- trunk: [10, 20-29] */

static int trunk_error(struct loader *loader, const struct tnode *node)
{
	(void)load_error(loader, node->pos, "\"trunk\" takes VLANs from 1 to %d, not \"%s\"",
			 VLAN_MAX, load_shown(loader, node->s));
	diag_hint(loader->diags, "write 10, 20-29 or [10, 20-29]");
	return -EINVAL;
}

/* 10 or 20-29. */
static int trunk_range(struct loader *loader, const struct tnode *node, unsigned *ret_first,
		       unsigned *ret_last)
{
	size_t n = strspn(node->s, "0123456789"), m = 0;

	if (node->s[n] == '-')
		m = strspn(node->s + n + 1, "0123456789");
	if (!n || n > 9 || m > 9 || node->s[m ? n + 1 + m : n])
		return trunk_error(loader, node);
	*ret_first = (unsigned)strtoul(node->s, NULL, 10);
	*ret_last = m ? (unsigned)strtoul(node->s + n + 1, NULL, 10) : *ret_first;
	if (*ret_first < 1 || *ret_first > VLAN_MAX || *ret_last < 1 || *ret_last > VLAN_MAX)
		return trunk_error(loader, node);
	if (*ret_first > *ret_last)
		return load_error(loader, node->pos, "the range %s is upside down (%u-%u)", node->s,
				  *ret_last, *ret_first);
	return 0;
}

static struct vlan *trunk_ranges(struct loader *loader, const bool there[VLAN_MAX + 2], int *ret_n)
{
	struct vlan *v;
	int n = 0;

	for (unsigned id = 1; id <= VLAN_MAX; id++)
		n += there[id] && !there[id - 1];
	v = arena_calloc(loader->arena, (size_t)n, sizeof *v);
	*ret_n = 0;
	for (unsigned id = 1; id <= VLAN_MAX; id++) {
		if (there[id] && !there[id - 1])
			v[*ret_n].first = id;
		if (there[id] && !there[id + 1])
			v[(*ret_n)++].last = id;
	}
	return v;
}

int parse_trunk(struct loader *loader, const struct field *field, const struct tnode *node,
		void *value)
{
	bool there[VLAN_MAX + 2] = { false };
	const struct tnode *const *items, *list = node;
	int n = field_items(&list, &items);

	if (load_count(loader, &loader->values, n, LOAD_VALUES_MAX, node->pos, "values"))
		return -EINVAL;
	if (!n)
		return load_error(loader, node->pos, "the trunk carries no VLAN");
	for (int i = 0; i < n; i++) {
		unsigned first, last;

		if (!field_scalar(loader, field, items[i]) ||
		    trunk_range(loader, items[i], &first, &last))
			return -EINVAL;
		for (unsigned id = first; id <= last; id++) {
			if (there[id])
				return load_error(loader, items[i]->pos,
						  "VLAN %u is in the trunk twice", id);
			there[id] = true;
		}
	}
	*(struct vlan **)value = trunk_ranges(loader, there, field_count(field, value));
	return 0;
}

/* ---- what goes together */

/* What one port, or a link for its ports, says. */
static int port_check(struct loader *loader, const struct port *port, bool link)
{
	if (port->vlan && port->n_trunk)
		return load_error(loader, port->vlan_pos,
				  "a port has vlan: (one VLAN, without tag) or trunk:, not both");
	if (port->vlan && port->native) {
		(void)load_error(loader, port->native_pos,
				 "\"native\" is a trunk's, and vlan: makes an access port");
		return -EINVAL;
	}
	if (port->native && !port->n_trunk) {
		(void)load_error(loader, port->native_pos,
				 "\"native\" is a trunk's: trunk: is "
				 "missing here");
		if (!link)
			diag_hint(loader->diags, "vlan: makes an access port of one VLAN");
		return -EINVAL;
	}
	return 0;
}

static int parent_find(struct loader *loader, struct iface *iface)
{
	const struct text *name = &iface->parent_name;
	const struct node *node = iface->node;

	if (strchr(name->s, ':'))
		return load_error(loader, name->pos,
				  "\"parent\" is an interface of %s itself, without a node's name",
				  node->name);
	iface->parent = node_iface(node, name->s);
	if (!iface->parent)
		return load_error(loader, name->pos, "%s has no interface \"%s\"%s", node->name,
				  load_shown(loader, name->s),
				  load_nearest_of(loader, name->s, node->index, NULL));
	if (iface->parent->parent_name.s)
		return load_error(loader, name->pos,
				  iface->parent == iface ? "%s cannot be its own parent"
							 : "%s is a sub-interface itself",
				  name->s);
	if (str_eq(name->s, "lo"))
		return load_error(loader, name->pos, "lo has no VLANs");
	return 0;
}

/* { parent: eth0, vlan: 10 } */
static int parent_check(struct loader *loader, struct iface *iface)
{
	const struct port *port = &iface->port;
	const struct text *name = &iface->parent_name;
	unsigned mtu;

	if (iface->node->kind && iface->node->kind->guest) {
		(void)load_error(loader, name->pos,
				 "%s is a guest: its sub-interfaces are made inside of it",
				 iface->node->name);
		diag_hint(loader->diags, "trunk: at the parent lets their tags pass");
		return -EINVAL;
	}
	if (str_eq(iface->name, "lo"))
		return load_error(loader, name->pos, "lo is no sub-interface");
	if (iface->bridge_name.s)
		return load_error(loader, iface->bridge_name.pos,
				  "%s is a sub-interface of %s: it is plugged in where that is",
				  iface->name, name->s);
	if (port->n_trunk || port->native)
		return load_error(loader, port->n_trunk ? port->trunk_pos : port->native_pos,
				  "\"%s\" is for ports, and %s is a sub-interface",
				  port->n_trunk ? "trunk" : "native", iface->name);
	if (parent_find(loader, iface))
		return -EINVAL;
	if (!port->vlan) {
		(void)load_error(loader, name->pos,
				 "the sub-interface %s has no vlan:", iface->name);
		diag_hint(loader->diags, "the tag of its frames: {parent: %s, vlan: 10}", name->s);
		return -EINVAL;
	}
	mtu = iface_mtu(iface->parent) ? iface_mtu(iface->parent) : 1500;
	if (iface->mtu > mtu)
		return load_error(loader, iface->mtu_pos,
				  "%s has an MTU of %u, and its parent %s of %u", iface->name,
				  iface->mtu, name->s, mtu);
	return 0;
}

/* A port's keys are at a port of a bridge, and said once. */
static int port_place(struct loader *loader, const struct iface *iface)
{
	const struct port *port = &iface->port;
	const struct bridge *bridge = iface_port(iface, &port);

	if (!port_says(&iface->port))
		return 0;
	if (!bridge &&
	    (iface->link || str_eq(iface->name, "lo") || iface->tap.source != TAP_CREATE)) {
		(void)load_error(loader, port_pos(port),
				 "%s:%s is no port of a bridge, so no VLANs are filtered there",
				 iface->node->name, iface->name);
		if (iface->link)
			diag_hint(loader->diags,
				  "tags pass a wire as they are; {parent: %s, vlan: "
				  "10} is a sub-interface",
				  iface->name);
		return -EINVAL;
	}
	if (iface->link && port_says(&iface->link->port))
		return load_error(loader, port_pos(port),
				  "the VLANs of this port are said twice (first in line %d)",
				  port_pos(&iface->link->port).line);
	return port_check(loader, port, false);
}

/* One of two sub-interfaces of one parent and tag. */
static int by_tag(const void *a, const void *b)
{
	const struct iface *x = *(struct iface *const *)a, *y = *(struct iface *const *)b;

	if (x->parent != y->parent)
		return x->parent->pos.line != y->parent->pos.line
			       ? x->parent->pos.line - y->parent->pos.line
			       : strcmp(x->parent->name, y->parent->name);
	if (x->port.vlan != y->port.vlan)
		return x->port.vlan < y->port.vlan ? -1 : 1;
	return x->pos.line != y->pos.line ? x->pos.line - y->pos.line : x->pos.col - y->pos.col;
}

static void vlan_twice(struct loader *loader, const struct node *node)
{
	struct iface **subs = NULL;
	int n = 0, cap = 0;

	for (int i = 0; i < node->n_ifaces; i++)
		if (node->ifaces[i]->parent)
			*ARENA_PUSH(loader->arena, subs, n, cap) = node->ifaces[i];
	if (n > 1)
		qsort(subs, (size_t)n, sizeof(struct iface *), by_tag);
	for (int i = 1; i < n; i++)
		if (subs[i]->parent == subs[i - 1]->parent &&
		    subs[i]->port.vlan == subs[i - 1]->port.vlan)
			(void)load_error(loader, subs[i]->port.vlan_pos,
					 "VLAN %u of %s is %s already (line %d)",
					 subs[i]->port.vlan, subs[i]->parent->name,
					 subs[i - 1]->name, subs[i - 1]->pos.line);
}

static void vlan_node(struct loader *loader, const struct node *node)
{
	loader->diags->instance = node->repeated ? node->name : NULL;
	for (int i = 0; i < node->n_ifaces; i++) {
		struct iface *iface = node->ifaces[i];
		const struct port *port;
		const struct bridge *bridge;

		if (iface->broken || node->unwired)
			continue;
		if (iface->parent_name.s ? parent_check(loader, iface)
					 : port_place(loader, iface)) {
			iface->broken = true;
			iface->parent = NULL;
			continue;
		}
		bridge = iface_port(iface, &port);
		if (bridge && port_says(port))
			loader->lab->bridges[bridge->order]->filters = true;
	}
	vlan_twice(loader, node);
}

static void vlan_link(struct loader *loader, const struct link *link)
{
	if (!port_says(&link->port))
		return;
	loader->diags->instance = link->instance;
	if (!link->bridge && link->n_ends == link->n_endpoints) {
		(void)load_error(loader, port_pos(&link->port),
				 "no end of this wire is a bridge, so no VLANs are filtered there");
		diag_hint(loader->diags, "tags pass a wire as they are");
	} else if (port_check(loader, &link->port, true) == 0) {
		for (int k = 0; k < link->n_ends; k++)
			if (link->ends[k].bridge)
				link->ends[k].bridge->filters = true;
	}
}

/* ---- who sees whom */

#define NOWHERE (-1)

struct places {
	const struct lab *lab;
	int column[VLAN_MAX + 1]; /* of a tag, 0: frames without one; NOWHERE: nothing is in it */
	int tags[VLAN_MAX + 1], n;
	int *parents; /* [bridge * n + column], trees of joined places */
};

static bool trunk_has(const struct port *port, unsigned id)
{
	int low = 0, high = port->n_trunk;

	while (low < high) {
		int mid = (low + high) / 2;

		if (port->trunk[mid].last < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low < port->n_trunk && port->trunk[low].first <= id;
}

/* Where on the bridge a frame with this tag is that comes in by the port, and leaves with it. */
static int port_leads(const struct bridge *bridge, const struct port *port, int tag)
{
	int native = (int)(port->vlan ? port->vlan : port->native);

	if (!bridge->filters)
		return tag;
	if (!port_says(port))
		native = VLAN_DEFAULT;
	if (!tag)
		return native ? native : NOWHERE;
	return tag != native && trunk_has(port, (unsigned)tag) ? tag : NOWHERE;
}

static void places_use(struct places *places, unsigned tag)
{
	if (places->column[tag] != NOWHERE)
		return;
	places->column[tag] = places->n;
	places->tags[places->n++] = (int)tag;
}

static void places_columns(struct places *places)
{
	const struct lab *lab = places->lab;

	for (int tag = 0; tag <= VLAN_MAX; tag++)
		places->column[tag] = NOWHERE;
	places_use(places, 0);
	places_use(places, VLAN_DEFAULT);
	for (int i = 0; i < lab->n_nodes; i++)
		for (int k = 0; k < lab->nodes[i]->n_ifaces; k++) {
			const struct port *port = &lab->nodes[i]->ifaces[k]->port;

			places_use(places, port->vlan ? port->vlan : port->native);
		}
	for (int i = 0; i < lab->n_links; i++)
		places_use(places, lab->links[i]->port.native);
}

static int places_root(const struct places *places, int place)
{
	while (places->parents[place] != place) {
		places->parents[place] = places->parents[places->parents[place]];
		place = places->parents[place];
	}
	return place;
}

static int places_at(const struct places *places, const struct bridge *bridge, int vlan)
{
	return places_root(places, bridge->order * places->n + places->column[vlan]);
}

/* A wire between two bridges. */
static void places_join(struct places *places, const struct link *link, const struct bridge *far)
{
	for (int i = 0; i < places->n; i++) {
		int here = port_leads(link->bridge, &link->port, places->tags[i]);
		int there = port_leads(far, &link->port, places->tags[i]);

		if (here != NOWHERE && there != NOWHERE)
			places->parents[places_at(places, far, there)] =
				places_at(places, link->bridge, here);
	}
}

/* The place of an interface's frames, or NOWHERE. Places of wires follow those of bridges. */
static int places_of(const struct places *places, const struct iface *iface)
{
	const struct iface *plugged = iface->parent ? iface->parent : iface;
	int tag = iface->parent ? (int)iface->port.vlan : 0, vlan;
	const struct port *port;
	const struct bridge *bridge = iface_port(plugged, &port);

	if (!bridge && !plugged->link)
		return NOWHERE;
	if (!bridge)
		return (places->lab->n_bridges + plugged->link->order) * places->n +
		       places->column[tag];
	vlan = port_leads(bridge, port, tag);
	return vlan == NOWHERE ? NOWHERE : places_at(places, bridge, vlan);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

static int number_of(const int *numbers, int n, int place)
{
	const int *found = place == NOWHERE
				   ? NULL
				   : bsearch(&place, numbers, (size_t)n, sizeof place, by_number);

	return found ? (int)(found - numbers) + 1 : 0;
}

/* Gives each bridge, wire and interface the number of its place, from 1 and without gaps. */
static void places_number(struct loader *loader, const struct places *places)
{
	struct lab *lab = loader->lab;
	int *all = NULL, n = 0, cap = 0, kept = 0;

	for (int i = 0; i < lab->n_bridges; i++)
		*ARENA_PUSH(loader->arena, all, n, cap) = lab->bridges[i]->segment = places_at(
			places, lab->bridges[i], lab->bridges[i]->filters ? VLAN_DEFAULT : 0);
	for (int i = 0; i < lab->n_links; i++)
		*ARENA_PUSH(loader->arena, all, n, cap) = lab->links[i]->segment =
			(lab->n_bridges + i) * places->n;
	for (int i = 0; i < lab->n_nodes; i++)
		for (int k = 0; k < lab->nodes[i]->n_ifaces; k++) {
			struct iface *iface = lab->nodes[i]->ifaces[k];

			iface->segment = places_of(places, iface);
			if (iface->segment != NOWHERE)
				*ARENA_PUSH(loader->arena, all, n, cap) = iface->segment;
		}
	if (n)
		qsort(all, (size_t)n, sizeof *all, by_number);
	for (int i = 0; i < n; i++)
		if (i == 0 || all[i] != all[i - 1])
			all[kept++] = all[i];
	lab->n_segments = kept;
	for (int i = 0; i < lab->n_bridges; i++)
		lab->bridges[i]->segment = number_of(all, kept, lab->bridges[i]->segment);
	for (int i = 0; i < lab->n_links; i++)
		lab->links[i]->segment = number_of(all, kept, lab->links[i]->segment);
	for (int i = 0; i < lab->n_nodes; i++)
		for (int k = 0; k < lab->nodes[i]->n_ifaces; k++)
			lab->nodes[i]->ifaces[k]->segment =
				number_of(all, kept, lab->nodes[i]->ifaces[k]->segment);
}

static int vlan_segments(struct loader *loader)
{
	const struct lab *lab = loader->lab;
	struct places *places = arena_alloc(loader->arena, sizeof *places);
	int n;

	*places = (struct places){ .lab = lab };
	places_columns(places);
	for (int i = 0; i < lab->n_bridges; i++)
		if (load_count(loader, &loader->values, places->n - 2, LOAD_VALUES_MAX,
			       lab->bridges[i]->pos, "values"))
			return -EINVAL;
	n = lab->n_bridges * places->n;
	places->parents = arena_calloc(loader->arena, (size_t)n, sizeof *places->parents);
	for (int i = 0; i < n; i++)
		places->parents[i] = i;
	for (int i = 0; i < lab->n_links; i++)
		for (int k = 0; k < lab->links[i]->n_ends; k++)
			if (lab->links[i]->ends[k].bridge &&
			    lab->links[i]->ends[k].bridge != lab->links[i]->bridge)
				places_join(places, lab->links[i], lab->links[i]->ends[k].bridge);
	places_number(loader, places);
	return 0;
}

/* ---- what only follows from that */

/* A tag that its own port does not let pass. */
static void vlan_passes(struct loader *loader, const struct iface *iface)
{
	const struct port *port;

	if (!iface->parent || iface->segment || iface->broken || iface->parent->broken ||
	    !iface_port(iface->parent, &port))
		return;
	(void)load_error(loader, iface->port.vlan_pos,
			 "VLAN %u does not pass the port of %s with its tag", iface->port.vlan,
			 iface->parent->name);
	diag_hint(loader->diags, "trunk: at %s: the VLANs that do%s", iface->parent->name,
		  port_says(port) ? "" : "; without it the port is one of VLAN 1");
}

static bool addrs_wanted(const struct iface *iface, const struct subnets *subnets)
{
	bool wanted = false;

	for (int i = 0; i < subnets->n; i++) {
		const struct addrs *addrs = subnets->v[i].family == 4 ? &iface->ipv4 : &iface->ipv6;

		wanted = wanted || addrs->mode == ADDRS_UNSET || addrs->mode == ADDRS_AUTO;
	}
	return wanted;
}

/* What is known of each bridge: whether its subnet has somebody to number, and whether somebody in
 * another VLAN may have hoped to be. */
struct numbered {
	bool some, hoped;
};

static void vlan_count(const struct iface *iface, struct numbered *numbered)
{
	const struct port *port;
	const struct bridge *bridge = iface_port(iface->parent ? iface->parent : iface, &port);

	if (!bridge || !bridge->filters || !iface->segment)
		return;
	if (iface->segment == bridge->segment)
		numbered[bridge->order].some = true;
	else if (addrs_wanted(iface, &bridge->subnets))
		numbered[bridge->order].hoped = true;
}

static void vlan_subnet(struct loader *loader, const struct bridge *bridge,
			const struct numbered *numbered)
{
	if (numbered->some || !numbered->hoped)
		return;
	(void)load_error(loader, bridge->subnets.pos[0],
			 "the subnet of %s is that of VLAN %d, and its interfaces are in others",
			 bridge->name, VLAN_DEFAULT);
	diag_hint(loader->diags, "they have ipv4:, or addresses of a pool");
}

void vlan_check(struct loader *loader)
{
	const struct lab *lab = loader->lab;
	struct numbered *numbered =
		arena_calloc(loader->arena, (size_t)lab->n_bridges + 1, sizeof *numbered);

	for (int i = 0; i < lab->n_nodes && !diag_enough(loader->diags); i++)
		vlan_node(loader, lab->nodes[i]);
	for (int i = 0; i < lab->n_links && !diag_enough(loader->diags); i++)
		vlan_link(loader, lab->links[i]);
	if (vlan_segments(loader))
		return;
	for (int i = 0; i < lab->n_nodes && !diag_enough(loader->diags); i++) {
		const struct node *node = lab->nodes[i];

		loader->diags->instance = node->repeated ? node->name : NULL;
		for (int k = 0; k < node->n_ifaces; k++) {
			vlan_passes(loader, node->ifaces[k]);
			vlan_count(node->ifaces[k], numbered);
		}
	}
	loader->diags->instance = NULL;
	for (int i = 0; i < lab->n_bridges && loader->diags->total == 0; i++)
		vlan_subnet(loader, lab->bridges[i], &numbered[i]);
}
