/* assign.c - devices and bridges get their spaces, names, indexes, MACs and fds. */
#include <stdlib.h>
#include <string.h>

#include "kind/kind.h"
#include "plan/plan.h"
#include "sys/vhost.h"

#define IFINDEX_FIRST 100u /* new namespaces may hold tunl0, sit0 and the like */
/* A port's, which no node has: a port is made from its node's namespace, and a kernel before 6.14
 * refuses an index that is taken there. */
#define IFINDEX_SWITCH 100000u
#define GUEST_FD_FIRST 3

/* Locally administered; the hash's bits are mixed, since FNV leaves its high ones alike. */
struct mac planner_mac(const struct planner *planner, const char *a, const char *b)
{
	uint64_t h = str_hash(str_hash(str_hash(STR_HASH_INIT, planner->plan->lab), a), b);
	struct mac mac = { .b = { 0x02 } };

	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	for (int i = 1; i < 6; i++)
		mac.b[i] = (uint8_t)(h >> (8 * i));
	return mac;
}

/* ---- look-ups */

struct planned_node *planner_node(const struct planner *planner, const struct node *node)
{
	return &planner->nodes[node->order];
}

struct dev *planner_dev(const struct planner *planner, const struct iface *iface)
{
	struct planned_node *planned = planner_node(planner, iface->node);

	for (int i = 0; i < planned->n_devs; i++)
		if (planned->devs[i]->iface == iface)
			return planned->devs[i];
	abort(); /* each interface has one */
}

struct br *planner_br(const struct planner *planner, const struct bridge *bridge)
{
	for (int i = 0; i < planner->n_brs; i++)
		if (planner->brs[i]->bridge == bridge)
			return planner->brs[i];
	abort(); /* each bridge of the lab has one */
}

/* ---- spaces and devices */

static void assign_nodes(struct planner *planner)
{
	const struct lab *lab = planner->lab;
	struct plan *plan = planner->plan;
	struct arena *arena = planner->arena;
	int n_devs = 0;
	struct dev *dev;

	for (int n = 0; n < lab->n_nodes; n++)
		n_devs += lab->nodes[n]->n_ifaces;
	dev = arena_calloc(arena, (size_t)n_devs,
			   sizeof *dev); /* one array: in the order of the file */
	planner->nodes = arena_calloc(arena, (size_t)lab->n_nodes, sizeof *planner->nodes);
	plan->spaces = arena_calloc(arena, (size_t)lab->n_nodes + 2, sizeof *plan->spaces);
	plan->spaces[SPACE_HOST] = (struct space){ .name = "host", .fd = -1, .mounts = -1 };
	plan->spaces[SPACE_SWITCH] =
		(struct space){ .name = "switch", .fd = plan->fd_end++, .mounts = -1 };
	plan->n_spaces = 2;
	for (int n = 0; n < lab->n_nodes; n++) {
		struct node *node = lab->nodes[n];
		struct planned_node *planned = &planner->nodes[n];

		*planned = (struct planned_node){ .node = node,
						  .cell_step = -1,
						  .guest_step = -1,
						  .disk_fd = -1,
						  .disk_guest_fd = -1 };
		if (!node->kind->guest) {
			planned->space = (uint32_t)plan->n_spaces;
			plan->spaces[plan->n_spaces++] = (struct space){ .name = node->name,
									 .fd = plan->fd_end++,
									 .mounts = -1 };
		}
		planned->n_devs = node->n_ifaces;
		planned->devs = arena_calloc(arena, (size_t)node->n_ifaces, sizeof *planned->devs);
		planned->service_steps = arena_calloc(arena, (size_t)node->n_services, sizeof(int));
		planned->service_ready =
			arena_calloc(arena, (size_t)node->n_services, sizeof(bool));
		for (int s = 0; s < node->n_services; s++)
			planned->service_steps[s] = -1;
		for (int i = 0; i < node->n_ifaces; i++) {
			planned->devs[i] = dev;
			*dev++ = (struct dev){
				.iface = node->ifaces[i],
				.node = node,
				.space = planned->space,
				.label = arena_printf(arena, "%s:%s", node->name,
						      node->ifaces[i]->name),
				.fd = -1,
				.guest_fd = -1,
				.adopted_vhost = -1,
				.vhost_fd = -1,
				.tap_step = -1,
			};
		}
	}
}

/* ---- bridges */

/* Is it the name that the file gives to a guest's device? Few files name any. */
static bool name_given(const struct planner *planner, const char *name)
{
	for (int i = 0; i < planner->n_named; i++)
		if (str_eq(planner->named[i]->tap.name.s, name))
			return true;
	return false;
}

static void find_named(struct planner *planner)
{
	int cap = 0;

	for (int n = 0; n < planner->lab->n_nodes; n++)
		for (int i = 0; i < planner->lab->nodes[n]->n_ifaces; i++)
			if (planner->lab->nodes[n]->ifaces[i]->tap.name.s)
				*ARENA_PUSH(planner->arena, planner->named, planner->n_named, cap) =
					planner->lab->nodes[n]->ifaces[i];
}

/* Two devices of one name, or one of a bridge's. */
static void check_port_names(struct planner *planner)
{
	for (int i = 0; i < planner->n_named; i++) {
		const struct text *name = &planner->named[i]->tap.name;
		const struct dev *dev = planner_dev(planner, planner->named[i]);

		if (dev->space == SPACE_SWITCH && lab_bridge(planner->lab, name->s))
			diag_add(planner->diags, name->pos, "\"%s\" is a bridge's name", name->s);
		for (int k = 0; k < i; k++)
			if (str_eq(planner->named[k]->tap.name.s, name->s) &&
			    planner_dev(planner, planner->named[k])->space == dev->space)
				diag_add(planner->diags, name->pos,
					 "\"%s\" is the name of %s already", name->s,
					 planner_dev(planner, planner->named[k])->label);
	}
}

const char *planner_name(const struct planner *planner, char letter, int *n)
{
	const char *name;

	do {
		name = arena_printf(planner->arena, "%c%d", letter, ++*n);
	} while (lab_bridge(planner->lab, name) || name_given(planner, name));
	return name;
}

static struct br *add_br(struct planner *planner)
{
	struct br *br = arena_alloc(planner->arena, sizeof *br);

	*ARENA_PUSH(planner->arena, planner->brs, planner->n_brs, planner->cap_brs) = br;
	return br;
}

/* Devices that a new namespace holds, or may hold, and words that /proc/sys/net uses beside them. */
static void check_bridge_name(struct planner *planner, const struct bridge *bridge)
{
	static const char *const taken[] = { "lo",	"all",	   "default", "tunl0",	 "sit0",
					     "gre0",	"gretap0", "erspan0", "ip_vti0", "ip6_vti0",
					     "ip6tnl0", "ip6gre0", "bond0",   "teql0" };

	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
		if (str_eq(bridge->name, taken[i])) {
			diag_add(planner->diags, bridge->pos,
				 "\"%s\" is a name of the kernel's own", bridge->name);
			diag_hint(planner->diags, "call the bridge something else");
		}
}

static void assign_bridges(struct planner *planner)
{
	const struct lab *lab = planner->lab;

	for (int i = 0; i < lab->n_bridges; i++) {
		const struct bridge *bridge = lab->bridges[i];
		struct br *br = add_br(planner);

		if (!bridge->host.s)
			check_bridge_name(planner, bridge);
		br->bridge = bridge;
		br->label = bridge->name;
		br->mtu = bridge->mtu;
		br->host = bridge->host.s;
		br->name = bridge->name;
		br->ifindex = br->host ? 0 : planner->next_ifindex[SPACE_SWITCH]++;
		br->mac = planner_mac(planner, bridge->name, "bridge");
	}
}

/* ---- links */

static void plug(struct dev *dev, struct br *br)
{
	dev->br = br;
	dev->peer_label = br->label;
}

/* Two ends, at most one of them a guest: a veth pair, or the guest's TAP in the node's namespace. */
static void plug_pair(struct dev *a, struct dev *b)
{
	struct dev *guest = a->node->kind->guest ? a : b->node->kind->guest ? b : NULL;

	a->peer = b;
	b->peer = a;
	a->peer_label = b->label;
	b->peer_label = a->label;
	if (guest) {
		struct dev *node = guest->peer;

		node->guest = guest;
		node->tap = guest->tap = true;
		guest->space = node->space;
	}
}

static void assign_anonymous(struct planner *planner, const struct link *link)
{
	struct br *br = add_br(planner);
	struct dev *ends[2] = { NULL, NULL };

	br->link = link;
	br->mtu = link->mtu;
	br->name = br->label = planner_name(planner, 'l', &planner->n_anonymous);
	br->ifindex = planner->next_ifindex[SPACE_SWITCH]++;
	br->mac = planner_mac(planner, br->name, "bridge");
	br->transparent = link->n_ends == 2;
	for (int e = 0; e < link->n_ends; e++) {
		struct dev *dev = planner_dev(planner, link->ends[e].iface);

		plug(dev, br);
		if (e < 2)
			ends[e] = dev;
	}
	if (br->transparent) {
		ends[0]->peer_label = ends[1]->label;
		ends[1]->peer_label = ends[0]->label;
	}
}

static void assign_link(struct planner *planner, const struct link *link)
{
	const struct end *ends = link->ends;
	bool guests = true;

	if (link->bridge) { /* its port; a wire between two, kind_bridge_link() makes */
		for (int e = 0; e < link->n_ends; e++)
			if (ends[e].iface)
				plug(planner_dev(planner, ends[e].iface),
				     planner_br(planner, link->bridge));
		return;
	}
	for (int e = 0; e < link->n_ends; e++)
		guests = guests && ends[e].iface->node->kind->guest;
	if (link->n_ends > 2 || guests)
		assign_anonymous(planner, link);
	else
		plug_pair(planner_dev(planner, ends[0].iface), planner_dev(planner, ends[1].iface));
}

/* ---- names, indexes, MACs, fds */

const char *planner_host_name(const struct planner *planner, const char *of)
{
	uint64_t h = str_hash(str_hash(STR_HASH_INIT, planner->plan->lab), of);

	return arena_printf(planner->arena, "tl%08x", (unsigned)(h >> 16));
}

/* A name that the user gave, or one of ours. */
static const char *port_name(struct planner *planner, const struct dev *dev)
{
	const struct text *given = &dev->iface->tap.name;

	if (given->s)
		return given->s;
	if (!dev->br->host)
		return planner_name(planner, 'p', &planner->n_ports);
	return planner_host_name(planner, dev->label);
}

static void assign_port(struct planner *planner, struct dev *dev)
{
	dev->port_mac = planner_mac(planner, dev->label, "port");
	dev->port_name = port_name(planner, dev);
	if (dev->br->host)
		dev->port_mac.b[0] =
			0xfe; /* a bridge takes the lowest MAC of its ports: not ours */
	else
		dev->port_ifindex = planner->next_ifindex[SPACE_SWITCH]++;
}

static uint32_t tap_space(const struct dev *dev)
{
	if (dev->adopted || (dev->br && dev->br->host))
		return SPACE_HOST;
	return dev->br ? SPACE_SWITCH : dev->space;
}

static bool wants_vhost(struct planner *planner, const struct dev *dev)
{
	const struct tap_spec *tap = &dev->iface->tap;

	if (tap->vhost == VHOST_AUTO && !tap->vhostfds.n)
		return kind_of(dev->node)->vhost && dev->handoff == HANDOFF_FD && dev->vnet_hdr &&
		       answer_of(&planner->assume.vhost, vhost_opens);
	return tap->vhost != VHOST_OFF;
}

static void assign_guest(struct planner *planner, struct dev *dev, int *guest_fd)
{
	const struct tap_spec *tap = &dev->iface->tap;
	const struct kind *kind = kind_of(dev->node);
	struct plan *plan = planner->plan;

	dev->tap = true;
	dev->adopted = tap->source != TAP_CREATE;
	dev->space = tap_space(dev);
	dev->queues = tap->queues;
	dev->handoff = tap->handoff ? (enum tap_handoff)(tap->handoff - 1) : kind->handoff;
	if (dev->adopted)
		dev->handoff = HANDOFF_FD;
	dev->vnet_hdr = dev->adopted ||
			(tap->vnet_hdr == TRI_AUTO ? kind->vnet_hdr : tap->vnet_hdr == TRI_ON);
	dev->vhost = wants_vhost(planner, dev);
	dev->fd = plan->fd_end;
	plan->fd_end += (int)dev->queues;
	if (tap->vhostfds.n) {
		dev->adopted_vhost = plan->fd_end;
		plan->fd_end += tap->vhostfds.n;
	}
	if (dev->handoff != HANDOFF_NAME) {
		dev->guest_fd = *guest_fd;
		*guest_fd += (int)dev->queues;
	}
	if (dev->space != SPACE_HOST)
		plan->spaces[dev->space].taps = true;
	if (dev->handoff != HANDOFF_FD && dev->queues > 1) {
		diag_add(planner->diags, tap->queues_pos,
			 "%s gets its device %s, and such a device has one queue",
			 dev->node->kind->name,
			 dev->handoff == HANDOFF_NAME ? "by name" : "unattached");
		diag_hint(planner->diags, "tap: {queues: 1}");
	}
}

/* vhost-net comes after all queues of a guest. */
static void assign_vhost(struct dev *dev, int *guest_fd)
{
	if (!dev->vhost)
		return;
	dev->vhost_fd = *guest_fd;
	*guest_fd += (int)dev->queues;
}

/* A sub-interface has its parent's MAC, as in real routers: VLANs are worlds of their own. */
static void assign_mac(struct planner *planner, struct dev *dev)
{
	const struct dev *of = dev->parent && !dev->iface->mac_given ? dev->parent : dev;

	dev->mac = of->iface->mac_given ? of->iface->mac
					: planner_mac(planner, of->node->name, of->iface->name);
}

static void assign_dev(struct planner *planner, struct dev *dev, int *guest_fd)
{
	const struct iface *iface = dev->iface;
	bool lo;

	if (iface->parent) {
		dev->parent = planner_dev(planner, iface->parent);
		dev->peer_label = arena_printf(planner->arena, "%s vlan %u", iface->parent->name,
					       iface->port.vlan);
	}
	lo = dev_is_lo(dev);
	assign_mac(planner, dev);
	dev->mtu = iface_mtu(iface);
	dev->seg = iface->segment ? &planner->segs[iface->segment] : NULL;
	if (dev->br)
		assign_port(planner, dev);
	if (dev->node->kind->guest) {
		assign_guest(planner, dev, guest_fd);
		dev->ifname = dev->br	  ? dev->port_name
			      : dev->peer ? dev->peer->iface->name
					  : STEP_IFNAME;
		if (!dev->peer_label)
			dev->peer_label = "-";
		return;
	}
	dev->ifname = iface->name;
	dev->ifindex = lo ? 1 : planner->next_ifindex[dev->space]++;
	if (!dev->peer_label)
		dev->peer_label = "-";
}

void plan_assign(struct planner *planner)
{
	const struct lab *lab = planner->lab;

	find_named(planner);
	assign_nodes(planner);
	planner->next_ifindex =
		arena_calloc(planner->arena, (size_t)planner->plan->n_spaces, sizeof(uint32_t));
	for (int s = 0; s < planner->plan->n_spaces; s++)
		planner->next_ifindex[s] = s == SPACE_SWITCH ? IFINDEX_SWITCH : IFINDEX_FIRST;
	planner->segs =
		arena_calloc(planner->arena, (size_t)lab->n_segments + 1, sizeof *planner->segs);
	assign_bridges(planner);
	for (int i = 0; i < lab->n_links; i++)
		assign_link(planner, lab->links[i]);
	for (int n = 0; n < lab->n_nodes; n++) {
		struct planned_node *planned = &planner->nodes[n];
		int guest_fd = GUEST_FD_FIRST;

		for (int i = 0; i < planned->n_devs; i++) {
			struct dev *dev = planned->devs[i];

			if (dev->iface->bridge)
				plug(dev, planner_br(planner, dev->iface->bridge));
			assign_dev(planner, dev, &guest_fd);
		}
		for (int i = 0; i < planned->n_devs; i++)
			assign_vhost(planned->devs[i], &guest_fd);
		planned->guest_fd_end = guest_fd;
	}
	check_port_names(planner);
}
