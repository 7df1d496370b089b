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

/* One end of a wire between bridges: a port of its own. */
struct wire_end {
	const struct br *br;
	const char *name;
	uint32_t space, ifindex;
	struct mac mac;
};

static struct wire_end wire_end(struct planner *planner, const struct br *br, const char *label,
				uint32_t *next_ifindex)
{
	const char *name = planner_name(planner, 'w', &planner->n_wires);
	struct wire_end end = { br, name, SPACE_SWITCH, 0, planner_mac(planner, label, name) };

	if (!br->host) {
		end.ifindex = (*next_ifindex)++;
		return end;
	}
	end.space = SPACE_HOST;
	end.name = planner_host_name(planner, arena_printf(planner->arena, "%s:%s", label, name));
	end.mac.b[0] = 0xfe; /* a bridge takes the lowest MAC of its ports: not ours */
	return end;
}

static void hostport_step(struct planner *planner, const struct link *link,
			  const struct wire_end *end, const char *label)
{
	bool says = port_says(&link->port);
	int n = 0;
	struct vlan *vlans = says ? planner_vlans(planner, &link->port, &n) : NULL;

	STEP(planner, OP_HOSTPORT, SPACE_HOST, label, says ? port_pos(&link->port) : link->pos,
	     (struct op_hostport){
		     .name = end->name,
		     .bridge = end->br->host,
		     .altname = arena_printf(planner->arena, "%s:%s:%s", planner->plan->lab, label,
					     end->name),
		     .mac = end->mac,
		     .mtu = link->mtu,
		     .vlans = vlans,
		     .n_vlans = n,
	     });
}

/* bridge to bridge: a veth pair in the switch, each end a port; one of them may be in the host. */
void kind_bridge_link(struct planner *planner, const struct link *link, const struct bridge *far,
		      uint32_t *next_ifindex)
{
	const struct br *one = planner_br(planner, link->bridge), *other = planner_br(planner, far);
	const char *label = arena_printf(planner->arena, "%s:%s", one->label, other->label);
	struct wire_end main = wire_end(planner, one->host ? other : one, label, next_ifindex);
	struct wire_end peer = wire_end(planner, one->host ? one : other, label, next_ifindex);

	STEP(planner, OP_VETH, SPACE_SWITCH, label, link->pos,
	     (struct op_veth){
		     .name = main.name,
		     .space = SPACE_SWITCH,
		     .ifindex = main.ifindex,
		     .master = main.br->ifindex,
		     .mac = main.mac,
		     .peer_name = peer.name,
		     .peer_space = peer.space,
		     .peer_ifindex = peer.ifindex,
		     .peer_mac = peer.mac,
		     .mtu = link->mtu,
	     });
	if (!peer.br->host)
		STEP(planner, OP_LINK, SPACE_SWITCH, label, link->pos,
		     (struct op_link){ .name = peer.name,
				       .ifindex = peer.ifindex,
				       .master = peer.br->ifindex });
	if (br_filters(main.br))
		kind_vlans(planner, &link->port, main.name, main.ifindex, label, link->pos);
	if (peer.br->host)
		hostport_step(planner, link, &peer, label);
	else if (br_filters(peer.br))
		kind_vlans(planner, &link->port, peer.name, peer.ifindex, label, link->pos);
}
