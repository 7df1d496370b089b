/* route.c - routes by a neighbour's name or address; what a guest is told of its gateway. */
#include "kind/kind.h"

/* The address of `to`, another node, of the family, that a device of `from` reaches directly. */
static bool neighbour(const struct planned_node *from, const struct planned_node *to,
		      uint8_t family, struct dev **ret_dev, struct ip *ret_via)
{
	for (int i = 0; i < from->n_devs; i++) {
		struct dev *dev = from->devs[i];

		for (int k = 0; dev->seg && k < to->n_devs; k++) {
			const struct dev *far = to->devs[k];

			if (far->seg != dev->seg)
				continue;
			for (int a = 0; a < dev->n_addrs; a++)
				for (int b = 0; b < far->n_addrs; b++)
					if (far->addrs[b].family == family &&
					    ip_in(&far->addrs[b], &dev->addrs[a])) {
						*ret_dev = dev;
						*ret_via = far->addrs[b];
						return true;
					}
		}
	}
	return false;
}

/* The device of a node on whose network an address lies. */
static struct dev *dev_towards(const struct planned_node *planned, const struct ip *via)
{
	for (int i = 0; i < planned->n_devs; i++)
		for (int a = 0; a < planned->devs[i]->n_addrs; a++)
			if (!dev_is_lo(planned->devs[i]) && ip_in(via, &planned->devs[i]->addrs[a]))
				return planned->devs[i];
	return NULL;
}

typedef void route_sink(struct planner *, struct planned_node *, const struct route *, struct dev *,
			const struct ip *via);

static void route_by_name(struct planner *planner, struct planned_node *planned,
			  const struct route *route, route_sink *sink)
{
	const struct planned_node *to = planner_node(planner, route->via_node);
	bool found = false;

	for (uint8_t family = 4; family <= 6; family += 2) {
		struct dev *dev;
		struct ip via;

		if ((route->dst.family && route->dst.family != family) ||
		    !neighbour(planned, to, family, &dev, &via))
			continue;
		found = true;
		sink(planner, planned, route, dev, &via);
	}
	if (found)
		return;
	diag_add(planner->diags, route->via.pos, "\"%s\" cannot reach \"%s\" directly",
		 planned->node->name, to->node->name);
	diag_hint(planner->diags, "they share a wire, but no network of this family: give both an "
				  "address in one subnet");
}

/* Gives each route of the node, resolved, to sink; twice for a default of both families. */
static void routes_each(struct planner *planner, struct planned_node *planned, route_sink *sink)
{
	char text[IP_TEXT];

	for (int i = 0; i < planned->node->n_routes; i++) {
		const struct route *route = &planned->node->routes[i];
		struct dev *dev;

		if (route->via_node) {
			route_by_name(planner, planned, route, sink);
			continue;
		}
		dev = dev_towards(planned, &route->via_ip);
		if (dev) {
			sink(planner, planned, route, dev, &route->via_ip);
			continue;
		}
		diag_add(planner->diags, route->via.pos, "%s is on none of %s's networks",
			 ip_text(&route->via_ip, text), planned->node->name);
		diag_hint(planner->diags,
			  "via is the address of a neighbour on one of its own wires");
	}
}

static void route_step(struct planner *planner, struct planned_node *planned,
		       const struct route *route, struct dev *dev, const struct ip *via)
{
	STEP(planner, OP_ROUTE, planned->space, planned->node->name, route->pos,
	     (struct op_route){
		     .dst = route->dst,
		     .via = *via,
		     .ifindex = dev->ifindex,
		     .metric = route->metric,
		     .name = dev->ifname,
	     });
}

void kind_routes(struct planner *planner, struct planned_node *planned)
{
	routes_each(planner, planned, route_step);
}

static void gateway_note(struct planner *planner, struct planned_node *planned,
			 const struct route *route, struct dev *dev, const struct ip *via)
{
	(void)planner;
	(void)planned;
	if (route->dst.family)
		return;
	if (via->family == 4)
		dev->gateway4 = *via;
	else
		dev->gateway6 = *via;
}

void kind_gateways(struct planner *planner, struct planned_node *planned)
{
	if (planned->node->kind->guest)
		routes_each(planner, planned, gateway_note);
}
