/* netns.c - a node that is a network namespace: its devices, addresses, routes, sysctls.
 *
 * All of a node's messages go to the kernel in one batch: lo, the wires to nodes that come later in
 * the file (their far ends are made with it), its own ends of the others, sub-interfaces, addresses,
 * routes.
 */
#include <string.h>

#include "kind/kind.h"

/* A veth between two ends. The main one is born up; of the other the kernel takes our index only
 * when the main one has one, so an end in the host, whose index is the kernel's, is never it. */
struct veth_end {
	const char *name;
	uint32_t space, ifindex;
	struct mac mac;
};

static void veth_step(struct planner *planner, const struct dev *dev, const struct veth_end *main,
		      const struct veth_end *peer, uint32_t master)
{
	STEP(planner, OP_VETH, dev->space, dev->label, dev->iface->pos,
	     (struct op_veth){
		     .name = main->name,
		     .space = main->space,
		     .ifindex = main->ifindex,
		     .master = master,
		     .mac = main->mac,
		     .peer_name = peer->name,
		     .peer_space = peer->space,
		     .peer_ifindex = peer->ifindex,
		     .peer_mac = peer->mac,
		     .mtu = dev->mtu,
	     });
}

static struct veth_end own_end(const struct dev *dev)
{
	return (struct veth_end){ dev->ifname, dev->space, dev->ifindex, dev->mac };
}

/* The wire of a device that is not there yet. Between two nodes the earlier one makes it. */
static void wire_step(struct planner *planner, const struct dev *dev)
{
	struct veth_end own = own_end(dev), port, far;

	if (dev->br) {
		port = (struct veth_end){ dev->port_name, dev->br->host ? SPACE_HOST : SPACE_SWITCH,
					  dev->port_ifindex, dev->port_mac };
		if (dev->br->host)
			veth_step(planner, dev, &own, &port, 0);
		else /* the port is the main end, so that it is born enslaved */
			veth_step(planner, dev, &port, &own, dev->br->ifindex);
	} else if (dev->peer && !dev->tap && dev < dev->peer) {
		far = own_end(dev->peer);
		veth_step(planner, dev, &own, &far, 0);
	}
}

static void addr_steps(struct planner *planner, const struct dev *dev)
{
	struct ip local = ip_link_local(&dev->mac);

	for (int i = 0; i < dev->n_addrs; i++)
		STEP(planner, OP_ADDR, dev->space, dev->label, dev->iface->pos,
		     (struct op_addr){
			     .name = dev->ifname, .ifindex = dev->ifindex, .addr = dev->addrs[i] });
	if (planner->v6 && !dev_is_lo(dev))
		STEP(planner, OP_ADDR, dev->space, dev->label, dev->iface->pos,
		     (struct op_addr){
			     .name = dev->ifname, .ifindex = dev->ifindex, .addr = local });
}

static void dev_steps(struct planner *planner, const struct dev *dev)
{
	const struct node *node = dev->node;

	if (dev->tap)
		STEP(planner, OP_PORT, dev->space, dev->label, dev->iface->pos,
		     (struct op_port){
			     .name = dev->ifname,
			     .ifindex = dev->ifindex,
			     .mtu = dev->mtu,
			     .txqueuelen = dev->guest->iface->tap.txqueuelen,
			     .no_link_local = true,
			     .forward = node->forward,
		     });
	else if (!dev_is_lo(dev))
		STEP(planner, OP_LINK, dev->space, dev->label, dev->iface->pos,
		     (struct op_link){
			     .name = dev->ifname,
			     .ifindex = dev->ifindex,
			     .no_link_local = true,
			     .forward = node->forward,
		     });
	addr_steps(planner, dev);
}

/* Is a sysctl about one of the node's devices, so that it must be there first? */
static bool sysctl_of_device(const struct planned_node *planned, const char *key)
{
	for (int i = 0; i < planned->n_devs; i++) {
		const char *name = planned->devs[i]->ifname;
		size_t len = strlen(name);

		for (const char *at = key; (at = strstr(at, name)); at++)
			if (at > key && strchr("./", at[-1]) && at[len] && strchr("./", at[len]))
				return true;
	}
	return false;
}

/* With slashes where a device has a dot in its name: net/ipv4/conf/eth0.10/rp_filter. */
static const char *sysctl_key(const struct planner *planner, const struct planned_node *planned,
			      const char *key)
{
	for (int i = 0; i < planned->n_devs && !strchr(key, '/'); i++) {
		const char *name = planned->devs[i]->ifname, *at;
		char *slashed, *of;

		if (!strchr(name, '.') ||
		    !(at = strstr(key, arena_printf(planner->arena, ".%s.", name))))
			continue;
		slashed = arena_strdup(planner->arena, key);
		of = slashed + (at - key) + 1;
		for (char *p = slashed; *p; p++)
			if (*p == '.' && (p < of || p >= of + strlen(name)))
				*p = '/';
		return slashed;
	}
	return key;
}

static void sysctl_steps(struct planner *planner, const struct planned_node *planned,
			 bool of_device)
{
	const struct node *node = planned->node;

	for (int i = 0; i < node->sysctls.n; i++) {
		const struct pair *pair = &node->sysctls.v[i];

		if (sysctl_of_device(planned, pair->key) == of_device)
			STEP(planner, OP_SYSCTL, planned->space, node->name, pair->pos,
			     (struct op_sysctl){ .key = sysctl_key(planner, planned, pair->key),
						 .value = pair->value });
	}
}

/* TAPs towards guests, in this node's own namespace. */
static void tap_steps(struct planner *planner, const struct planned_node *planned)
{
	for (int i = 0; i < planned->n_devs; i++) {
		const struct dev *dev = planned->devs[i];

		if (dev->tap)
			kind_tap(planner,
				 &(struct tap_place){ dev->space, dev->ifname, dev->ifindex,
						      &dev->mac },
				 dev->guest);
	}
}

void kind_netns(struct planner *planner, struct planned_node *planned)
{
	const struct node *node = planned->node;

	sysctl_steps(planner, planned, false);
	if (node->forward &&
	    planner->v6) /* IPv6 forwards by namespace, and has no message for it */
		STEP(planner, OP_SYSCTL, planned->space, node->name, node->pos,
		     (struct op_sysctl){ .key = "net.ipv6.conf.all.forwarding", .value = "1" });
	tap_steps(planner, planned);
	STEP(planner, OP_LINK, planned->space, node->name, node->pos,
	     (struct op_link){ .name = "lo", .ifindex = 1 });
	for (int i = 0; i < planned->n_devs; i++)
		wire_step(planner, planned->devs[i]);
	for (int i = 0; i < planned->n_devs; i++)
		if (!planned->devs[i]->parent)
			dev_steps(planner, planned->devs[i]);
	for (int i = 0; i < planned->n_devs; i++) /* up only when the parent is */
		if (planned->devs[i]->parent) {
			kind_subif(planner, planned->devs[i]);
			dev_steps(planner, planned->devs[i]);
		}
	kind_routes(planner, planned);
	sysctl_steps(planner, planned, true);
}
