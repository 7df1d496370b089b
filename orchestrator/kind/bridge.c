/* bridge.c - bridges in the switch, and wires between them. */
#include "kind/kind.h"

void kind_bridge(struct planner *planner, const struct br *br)
{
	const struct bridge *bridge = br->bridge;
	struct pos pos = bridge ? bridge->pos : br->link->pos;

	if (br->host)
		return;
	STEP(planner, OP_BRIDGE, SPACE_SWITCH, br->label, pos,
	     (struct op_bridge){
		     .name = br->name,
		     .ifindex = br->ifindex,
		     .mtu = br->mtu,
		     .ageing_ms = bridge ? bridge->ageing_ms : 0,
		     .mac = br->mac,
		     .stp = bridge && bridge->stp,
		     .mcast_snooping = bridge && bridge->mcast_snooping,
		     .vlan_filtering = br_filters(br),
	     });
}

/* bridge to bridge: a veth pair in the switch, each end a port. */
void kind_bridge_link(struct planner *planner, const struct link *link, const struct bridge *far,
		      uint32_t *next_ifindex)
{
	const struct br *a = planner_br(planner, link->bridge), *b = planner_br(planner, far);
	const char *label = arena_printf(planner->arena, "%s:%s", a->label, b->label);
	const char *name = planner_name(planner, 'w', &planner->n_wires);
	const char *peer = planner_name(planner, 'w', &planner->n_wires);
	uint32_t ifindex = *next_ifindex;

	*next_ifindex += 2;
	STEP(planner, OP_VETH, SPACE_SWITCH, label, link->pos,
	     (struct op_veth){
		     .name = name,
		     .space = SPACE_SWITCH,
		     .ifindex = ifindex,
		     .master = a->ifindex,
		     .mac = planner_mac(planner, label, name),
		     .peer_name = peer,
		     .peer_space = SPACE_SWITCH,
		     .peer_ifindex = ifindex + 1,
		     .peer_mac = planner_mac(planner, label, peer),
		     .mtu = link->mtu,
	     });
	STEP(planner, OP_LINK, SPACE_SWITCH, label, link->pos,
	     (struct op_link){ .name = peer, .ifindex = ifindex + 1, .master = b->ifindex });
	if (br_filters(a))
		kind_vlans(planner, &link->port, name, ifindex, label, link->pos);
	if (br_filters(b))
		kind_vlans(planner, &link->port, peer, ifindex + 1, label, link->pos);
}
