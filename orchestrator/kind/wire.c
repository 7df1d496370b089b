/* wire.c - the wires of section "Links" in ARCHITECTURE.md: TAPs and the ports of bridges. */
#include "kind/kind.h"
#include "sys/nlw.h"

static void tap_step(struct planner *planner, uint32_t space, const char *name, uint32_t ifindex,
		     const struct mac *mac, const struct dev *guest)
{
	STEP(planner, OP_TAP, space, guest->label, guest->iface->pos,
	     (struct op_tap){
		     .name = name,
		     .ifindex = ifindex,
		     .queues = guest->queues,
		     .mac = *mac,
		     .vnet_hdr = guest->vnet_hdr,
		     .persist = space != SPACE_HOST,
		     .fd = guest->fd,
	     });
}

/* Does this guest's device lie in the space as a port of a bridge there? */
static bool dev_ports_tap(const struct dev *dev, uint32_t space)
{
	return dev->tap && dev->node->kind->guest && dev->br && dev->space == space;
}

static void port_step(struct planner *planner, const struct dev *dev)
{
	STEP(planner, OP_PORT, dev->space, dev->label, dev->iface->pos,
	     (struct op_port){
		     .name = dev->port_name,
		     .ifindex = dev->port_ifindex,
		     .master = dev->br->ifindex,
		     .mtu = dev->mtu,
		     .fwd_mask = dev->br->transparent ? NLB_FWD_ALL : 0,
	     });
}

#define EACH_DEV(planner, n, dev)                                                                  \
	for (int n = 0; n < (planner)->lab->n_nodes; n++)                                          \
		for (struct dev **dev = (planner)->nodes[n].devs,                                  \
				**dev##_end = dev + (planner)->nodes[n].n_devs;                    \
		     dev < dev##_end; dev++)

void kind_taps(struct planner *planner, uint32_t space)
{
	EACH_DEV(planner, n, dev)
	if (dev_ports_tap(*dev, space))
		tap_step(planner, space, (*dev)->port_name, (*dev)->port_ifindex, &(*dev)->port_mac,
			 *dev);
	EACH_DEV(planner, m, dev)
	if (dev_ports_tap(*dev, space))
		port_step(planner, *dev);
}

static void hostport_step(struct planner *planner, const struct dev *dev)
{
	STEP(planner, OP_HOSTPORT, SPACE_HOST, dev->label, dev->iface->pos,
	     (struct op_hostport){
		     .name = dev->port_name,
		     .bridge = dev->br->host,
		     .altname =
			     arena_printf(planner->arena, "%s:%s", planner->plan->lab, dev->label),
		     .mac = dev->port_mac,
		     .mtu = dev->mtu,
		     .tap = dev->tap,
	     });
}

void kind_host_taps(struct planner *planner)
{
	EACH_DEV(planner, n, dev)
	if (dev_ports_tap(*dev, SPACE_HOST)) {
		tap_step(planner, SPACE_HOST, (*dev)->port_name, 0, &(*dev)->port_mac, *dev);
		hostport_step(planner, *dev);
	}
}

void kind_host_veths(struct planner *planner)
{
	EACH_DEV(planner, n, dev)
	if (!(*dev)->tap && (*dev)->br && (*dev)->br->host)
		hostport_step(planner, *dev);
}

/* Ports have short fixed names; what they are is their alternative name. */
void kind_altnames(struct planner *planner)
{
	EACH_DEV(planner, n, dev)
	if ((*dev)->br && !(*dev)->br->host)
		STEP(planner, OP_ALTNAME, SPACE_SWITCH, (*dev)->label, (*dev)->iface->pos,
		     (struct op_altname){
			     .name = (*dev)->port_name,
			     .altname = (*dev)->label,
			     .ifindex = (*dev)->port_ifindex,
		     });
}
