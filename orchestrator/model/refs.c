/* refs.c - names of other nodes, and what each node must have; see load.h. */
#include <string.h>

#include "base/fd.h"
#include "model/load.h"

struct node *refs_node(struct loader *loader, const struct text *name)
{
	const struct lab *lab = loader->lab;
	struct node *node = lab_node(lab, name->s);

	if (node)
		return node;
	if (lab_bridge(lab, name->s))
		(void)load_error(loader, name->pos, "\"%s\" is a bridge, not a node", name->s);
	else
		(void)load_error(loader, name->pos, "no node \"%s\"%s", load_shown(loader, name->s),
				 load_nearest_of(loader, name->s, lab->node_index, NULL));
	return NULL;
}

/* Not all of its interfaces and wires may be there: an error is told already. */
static bool refs_unsure(const struct node *node)
{
	return node->broken || node->unwired;
}

/* Neighbours have interfaces on one segment. marks[segment] is set for those of the node. */
static bool refs_neighbours(const struct node *other, const bool *marks)
{
	for (int i = 0; i < other->n_ifaces; i++) {
		int segment = other->ifaces[i]->segment;

		if (segment && marks[segment])
			return true;
	}
	return false;
}

static void refs_via(struct loader *loader, const struct node *node, struct route *route,
		     const bool *marks)
{
	const struct bridge *bridge = lab_bridge(loader->lab, route->via.s);

	if (bridge && !bridge->broken) {
		(void)load_error(loader, route->via.pos,
				 "\"%s\" is a bridge without an uplink: no route goes via it",
				 route->via.s);
		diag_hint(loader->diags,
			  "via is an address, a neighbour's name, or an uplink bridge");
	}
	if (bridge)
		return;
	route->via_node = refs_node(loader, &route->via);
	if (route->via_node == node)
		(void)load_error(loader, route->via.pos, "the route goes via %s itself",
				 node->name);
	else if (route->via_node && !refs_unsure(node) && !refs_unsure(route->via_node) &&
		 !refs_neighbours(route->via_node, marks))
		(void)load_error(loader, route->via.pos,
				 "%s is no neighbour of %s: no wire, bridge or VLAN joins them",
				 route->via.s, node->name);
}

static void refs_routes(struct loader *loader, struct node *node, bool *marks)
{
	if (!node->n_routes)
		return;
	for (int i = 0; i < node->n_ifaces; i++)
		marks[node->ifaces[i]->segment] = true;
	for (int i = 0; i < node->n_routes; i++)
		if (!node->routes[i].via_ip.family)
			refs_via(loader, node, &node->routes[i], marks);
	for (int i = 0; i < node->n_ifaces; i++)
		marks[node->ifaces[i]->segment] = false;
}

/* NODE:PORT of ready: tcp. */
static void refs_tcp(struct loader *loader, const struct ready *ready)
{
	const char *colon = ready->tcp.s ? strrchr(ready->tcp.s, ':') : NULL;
	struct text host = { .pos = ready->tcp.pos };
	struct ip ip;

	if (!colon)
		return;
	host.s = arena_strndup(loader->arena, ready->tcp.s, (size_t)(colon - ready->tcp.s));
	if (!ip_parse(host.s, &ip, NULL) && *host.s != '[')
		(void)refs_node(loader, &host);
}

static void refs_ready(struct loader *loader, const struct node *node, struct ready *ready)
{
	refs_tcp(loader, ready);
	if (ready->from.s)
		ready->from_node = refs_node(loader, &ready->from);
	if (ready->from_node && ready->from_node->kind && ready->from_node->kind->guest)
		(void)load_error(loader, ready->from.pos,
				 "\"from\" is a network namespace, and %s is a guest",
				 ready->from.s);
	if (ready->kind == READY_TCP && !ready->from.s && node->kind && node->kind->guest) {
		(void)load_error(loader, ready->tcp.pos, "\"tcp\" of a guest needs from: NODE");
		diag_hint(loader->diags, "the node that connects");
	}
}

static void refs_netns(struct loader *loader, struct node *node)
{
	const char *s = node->netns.s;

	if (!s || str_eq(s, "host") || str_eq(s, "switch"))
		return;
	node->netns_node = refs_node(loader, &node->netns);
	if (node->netns_node && node->netns_node->kind && node->netns_node->kind->guest)
		(void)load_error(loader, node->netns.pos,
				 "\"netns\" is host, switch or a network namespace, and %s is "
				 "a guest",
				 s);
}

/* What a guest cannot be without. */
static void refs_guest(struct loader *loader, const struct node *node)
{
	if (node->broken || !node->kind->guest)
		return;
	if (!node->n_ifaces) {
		(void)load_error(loader, node->pos, "the guest %s has no interfaces", node->name);
		diag_hint(loader->diags,
			  "give it interfaces:, or make it an end of a wire in links:");
	}
	if (!node->command.argc && !node->kind->spec_size) {
		(void)load_error(loader, node->pos, "the guest %s has no command", node->name);
		diag_hint(loader->diags,
			  "command: is the program that it runs; kind: qemu builds one");
	} else if (node->command.argc && node->kind->spec_size) {
		(void)load_error(loader, node->command.pos, "kind: %s builds the command itself",
				 node->kind->name);
		diag_hint(loader->diags, "extra: adds to it; kind: guest runs any program");
	}
}

/* Tells an error at a ${…} in its string. */
static void refs_late_error(struct loader *loader, const struct late *late, const char *name,
			    const char *what)
{
	const char *part = arena_printf(loader->arena, "${%s}", name);
	struct pos pos = load_within(loader, late->from, part, strlen(part));

	(void)load_error(loader, pos, "\"%s\": %s", part, what);
}

/* The node whose interface is named, or NULL and an error. */
static const struct node *refs_late_node(struct loader *loader, const struct late *late,
					 const char *name)
{
	const char *colon = strchr(name, ':'), *other;
	const struct node *node = late->node;

	if (colon) {
		other = arena_strndup(loader->arena, name, (size_t)(colon - name));
		node = lab_node(loader->lab, other);
		if (!node)
			refs_late_error(
				loader, late, name,
				arena_printf(loader->arena, "no node \"%s\"%s", other,
					     load_nearest_of(loader, other, loader->lab->node_index,
							     NULL)));
	} else if (!node) {
		refs_late_error(loader, late, name, "the lab's own hooks must name the node");
		diag_hint(loader->diags, "write ${NODE:%s}", name);
	}
	return node;
}

/* One ${…} that the plan fills in: the interface must be there, and file descriptors are a
 * guest's own. */
static void refs_late_name(struct loader *loader, const struct late *late, const char *name)
{
	static const char *const fd_words[] = { "fd",	  "fds",	"fds-comma",
						"vhost",  "vhostfds",	"poll-us",
						"queues", "virtqueues", "vectors" };
	const char *dot = strrchr(name, '.'), *colon = strchr(name, ':'),
		   *device = colon ? colon + 1 : name;
	const struct node *node;
	bool fds = false;

	if (str_starts(name, "lab."))
		return;
	node = refs_late_node(loader, late, name);
	if (!node || refs_unsure(node) || !node->kind)
		return;
	device = arena_strndup(loader->arena, device, (size_t)(dot - device));
	for (size_t i = 0; i < COUNT(fd_words); i++)
		fds |= str_eq(dot + 1, fd_words[i]);
	if (!node_iface(node, device))
		refs_late_error(loader, late, name,
				arena_printf(loader->arena, "%s has no interface \"%s\"%s",
					     node->name, device,
					     load_nearest_of(loader, device, node->index, NULL)));
	else if (fds && !node->kind->guest)
		refs_late_error(loader, late, name,
				arena_printf(loader->arena,
					     "only guests have file descriptors, and %s is none",
					     node->name));
	else if (fds && node != late->node)
		refs_late_error(loader, late, name,
				"file descriptors are known to their own guest only");
}

static void refs_late(struct loader *loader, const struct late *late)
{
	const char *s = late->s;

	loader->diags->instance = late->node && late->node->repeated ? late->node->name : NULL;
	while ((s = strchr(s, LATE_OPEN)) && !diag_enough(loader->diags)) {
		const char *close = strchr(s, LATE_CLOSE);

		refs_late_name(loader, late,
			       arena_strndup(loader->arena, s + 1, (size_t)(close - s - 1)));
		s = close;
	}
}

void refs_check(struct loader *loader)
{
	const struct lab *lab = loader->lab;
	bool *marks = arena_calloc(loader->arena, (size_t)lab->n_segments + 1, sizeof *marks);

	for (int i = 0; i < lab->n_nodes && !diag_enough(loader->diags); i++) {
		struct node *node = lab->nodes[i];

		loader->diags->instance = node->repeated ? node->name : NULL;
		refs_routes(loader, node, marks);
		refs_ready(loader, node, &node->ready);
		for (int k = 0; k < node->n_services; k++)
			refs_ready(loader, node, &node->services[k].ready);
		refs_netns(loader, node);
		refs_guest(loader, node);
	}
	for (int i = 0; i < loader->n_lates && !diag_enough(loader->diags); i++)
		refs_late(loader, &loader->lates[i]);
	loader->diags->instance = NULL;
}
