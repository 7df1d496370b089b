/* wire.c - the wires of section "Links" in ARCHITECTURE.md: TAPs and the ports of bridges. */
#include "kind/kind.h"
#include "sys/nlw.h"

static const char *text_or_null(const struct planner *planner, const struct text *text)
{
	return text->s ? arena_strdup(planner->arena, text->s) : NULL;
}

/* How the guest's end says that the device is to be. */
static void tap_settings(const struct planner *planner, const struct dev *guest,
			 struct op_tap *args)
{
	const struct tap_spec *tap = &guest->iface->tap;

	args->handoff = (uint32_t)guest->handoff;
	args->queues = guest->queues;
	args->fd = guest->fd;
	args->vnet_hdr = guest->vnet_hdr;
	args->vnet_hdr_len = tap->vnet_hdr_len;
	args->endian = (uint32_t)tap->endian;
	args->offload = tap->offload;
	args->sndbuf = (uint32_t)tap->sndbuf;
	args->enabled = tap->enabled;
	args->carrier_off = !tap->carrier;
	args->steering = (uint32_t)tap->steering.how;
	args->steering_queue = tap->steering.queue;
	if (tap->steering.object.s)
		args->steering_object = *tap->steering.object.s == '/'
						? tap->steering.object.s
						: arena_printf(planner->arena, STEP_DIR "/%s",
							       tap->steering.object.s);
	args->owner = text_or_null(planner, &tap->owner);
	args->group = text_or_null(planner, &tap->group);
}

void kind_tap(struct planner *planner, const struct tap_place *place, struct dev *guest)
{
	struct op_tap args = { .name = place->name, .ifindex = place->ifindex, .mac = *place->mac };

	tap_settings(planner, guest, &args);
	/* In the host's namespace only as long as it is held, unless the guest or the user will
	 * have it otherwise; in the lab's own it dies with that. */
	args.persist = place->space != SPACE_HOST || guest->iface->tap.persist ||
		       guest->handoff != HANDOFF_FD;
	guest->tap_step = (int)planner_step(planner, OP_TAP, place->space, guest->label,
					    guest->iface->pos, &args, sizeof args);
	if (guest->peer)
		guest->peer->tap_step = guest->tap_step;
}

/* ---- devices that others made */

static void adopt_fds(struct planner *planner, const struct dev *guest, struct op_tap *args)
{
	const struct tap_spec *tap = &guest->iface->tap;
	int cap = 0;

	for (int i = 0; i < tap->fds.n; i++)
		*ARENA_PUSH(planner->arena, args->adopted, args->n_adopted, cap) =
			(struct op_fd){ .from = tap->fds.v[i], .to = guest->fd + i };
	for (int i = 0; i < tap->vhostfds.n; i++)
		*ARENA_PUSH(planner->arena, args->adopted, args->n_adopted, cap) =
			(struct op_fd){ .from = tap->vhostfds.v[i],
					.to = guest->adopted_vhost + i };
}

static void adopted_step(struct planner *planner, struct dev *guest)
{
	const struct tap_spec *tap = &guest->iface->tap;
	struct op_tap args = { .source = TAP_ADOPTED };

	tap_settings(planner, guest, &args);
	if (tap->source == TAP_FDS) {
		adopt_fds(planner, guest, &args);
	} else {
		args.source = TAP_HELPED;
		args.helper = late_program(planner, guest->node, &tap->helper.command, NULL, NULL);
		args.helper_bridge = tap->helper.bridge.s ? tap->helper.bridge.s : "br0";
		args.helper_ms = tap->helper.timeout_ms;
	}
	guest->tap_step = (int)planner_step(planner, OP_TAP, SPACE_HOST, guest->label, tap->pos,
					    &args, sizeof args);
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
		     .txqueuelen = dev->iface->tap.txqueuelen,
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
		kind_tap(planner,
			 &(struct tap_place){ space, (*dev)->port_name, (*dev)->port_ifindex,
					      &(*dev)->port_mac },
			 *dev);
	EACH_DEV(planner, m, dev)
	if (dev_ports_tap(*dev, space))
		port_step(planner, *dev);
}

static void hostport_step(struct planner *planner, const struct dev *dev)
{
	const struct port *port;
	bool says = iface_port(dev->iface, &port) && port_says(port);
	int n = 0;
	struct vlan *vlans = says ? planner_vlans(planner, port, &n) : NULL;

	STEP(planner, OP_HOSTPORT, SPACE_HOST, dev->label, says ? port_pos(port) : dev->iface->pos,
	     (struct op_hostport){
		     .name = dev->port_name,
		     .bridge = dev->br->host,
		     .altname =
			     arena_printf(planner->arena, "%s:%s", planner->plan->lab, dev->label),
		     .mac = dev->port_mac,
		     .mtu = dev->mtu,
		     .txqueuelen = dev->iface->tap.txqueuelen,
		     .tap = dev->tap,
		     .vlans = vlans,
		     .n_vlans = n,
	     });
}

void kind_host_taps(struct planner *planner)
{
	EACH_DEV(planner, n, dev)
	if (dev_ports_tap(*dev, SPACE_HOST)) {
		kind_tap(planner,
			 &(struct tap_place){ SPACE_HOST, (*dev)->port_name, 0, &(*dev)->port_mac },
			 *dev);
		hostport_step(planner, *dev);
	}
	EACH_DEV(planner, m, dev)
	if ((*dev)->adopted)
		adopted_step(planner, *dev);
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
