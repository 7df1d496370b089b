/* vlan.c - what the ports of a bridge that filters carry, and sub-interfaces. */
#include <string.h>

#include "kind/kind.h"

/* One more range, less the native VLAN, which has no tag. */
static void range_add(struct vlan *v, int *n, uint32_t first, uint32_t last, uint32_t native)
{
	if (native >= first && native <= last) {
		range_add(v, n, first, native - 1, 0);
		first = native + 1;
	}
	if (first <= last)
		v[(*n)++] = (struct vlan){ .first = first, .last = last };
}

struct vlan *planner_vlans(const struct planner *planner, const struct port *port, int *ret_n)
{
	struct vlan *v = arena_calloc(planner->arena, (size_t)port->n_trunk + 2, sizeof *v);
	uint32_t native = !port_says(port) ? VLAN_DEFAULT : port->vlan ? port->vlan : port->native;

	*ret_n = 0;
	if (native)
		v[(*ret_n)++] = (struct vlan){
			.first = native, .last = native, .untagged = true, .pvid = true
		};
	for (int i = 0; i < port->n_trunk; i++)
		range_add(v, ret_n, port->trunk[i].first, port->trunk[i].last, native);
	return v;
}

void kind_vlans(struct planner *planner, const struct port *port, const char *name,
		uint32_t ifindex, const char *label, struct pos pos)
{
	int n, some;
	struct vlan *v = planner_vlans(planner, port, &n);

	for (int i = 0; i < n; i += some) {
		some = n - i < OP_VLANS_MAX ? n - i : OP_VLANS_MAX;
		STEP(planner, OP_VLANS, SPACE_SWITCH, label, port_says(port) ? port_pos(port) : pos,
		     (struct op_vlans){
			     .name = name,
			     .ifindex = ifindex,
			     .given = port_says(port),
			     .vlans = v + i,
			     .n_vlans = some,
		     });
	}
}

void kind_port_vlans(struct planner *planner)
{
	const struct port *port;

	for (int n = 0; n < planner->lab->n_nodes; n++)
		for (int i = 0; i < planner->nodes[n].n_devs; i++) {
			const struct dev *dev = planner->nodes[n].devs[i];

			if (!dev->br || !br_filters(dev->br) || dev->br->host)
				continue;
			(void)iface_port(dev->iface, &port);
			kind_vlans(planner, port, dev->port_name, dev->port_ifindex, dev->label,
				   dev->iface->pos);
		}
}

void kind_subif(struct planner *planner, const struct dev *dev)
{
	STEP(planner, OP_SUBIF, dev->space, dev->label, port_pos(&dev->iface->port),
	     (struct op_subif){
		     .name = dev->ifname,
		     .parent_name = dev->parent->ifname,
		     .ifindex = dev->ifindex,
		     .parent = dev->parent->ifindex,
		     .vlan = dev->iface->port.vlan,
		     .mac = dev->mac,
		     .mtu = dev->iface->mtu,
	     });
}
