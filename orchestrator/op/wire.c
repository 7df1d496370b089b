/* wire.c - operations that make wires: veth pairs, TAPs, and their places on bridges. */
#include <errno.h>
#include <net/if.h>

#include "base/arena.h"
#include "base/fd.h"
#include "base/io.h"
#include "op/op.h"
#include "op/tap.h"
#include "sys/nlr.h"

#define HOST_MS 5000 /* the kernel answers a message on the host's links well within this */

/* ---- what is ours in the host */

int host_link(const char *name, const char *kind, const struct mac *mac, struct err *err)
{
	struct arena arena;
	struct nlr_link link;
	char text[MAC_TEXT], want[MAC_TEXT];
	int r = arena_init(&arena, (size_t)16 << 20, err);

	if (r < 0)
		return r;
	r = nlr_link_find(&arena, name, &link, err);
	if (r == 0)
		r = err_set(err, -ENODEV, "this host has no %s \"%s\"", kind, name);
	else if (r > 0 && !str_eq(link.kind, kind))
		r = err_set(err, -ENODEV, "\"%s\" on this host is not a %s", name, kind);
	else if (r > 0 && mac && !str_eq(mac_text(&link.mac, text), mac_text(mac, want)))
		r = err_set(err, -ENODEV, "\"%s\" on this host is not ours", name);
	else if (r > 0)
		r = (int)link.ifindex;
	arena_free(&arena);
	return r;
}

int host_own(const struct ctx *ctx, uint32_t i, const char *name, const char *kind,
	     const struct mac *mac, struct err *err)
{
	uint32_t known = ctx->slots[i].ifindex;
	int ifindex;

	/* Who is gone is told at once, and not only when the kernel's own clean-up lets others look. */
	if (if_nametoindex(name) == 0 && errno == ENODEV)
		return 0;
	ifindex = host_link(name, kind, known ? NULL : mac, err);
	if (ifindex == -ENODEV || (ifindex > 0 && known && known != (uint32_t)ifindex))
		return 0;
	return ifindex;
}

/* Ours in the host, if it is there. It dies with its other end too (a veth in a namespace of the lab, a
 * TAP's fds): this is to be prompt, and to be sure. */
static int host_delete(struct ctx *ctx, uint32_t i, const char *name, const char *kind,
		       const struct mac *mac, struct err *err)
{
	int self, nl = ctx_nl(ctx, SPACE_HOST, err);

	if (nl < 0)
		return nl;
	self = host_own(ctx, i, name, kind, mac, err);
	if (self <= 0)
		return self;
	nlb_dellink(&ctx->batch, i, (uint32_t)self);
	self = nlb_flush(&ctx->batch, nl, io_now_ms() + HOST_MS, err);
	return self == -ENODEV ? 0 : self;
}

/* ---- veth */

static const struct rec veth_table[] = {
	REC(REC_STR, struct op_veth, name),
	REC(REC_U32, struct op_veth, space),
	REC(REC_U32, struct op_veth, ifindex),
	REC(REC_U32, struct op_veth, master),
	REC(REC_MAC, struct op_veth, mac),
	REC(REC_STR, struct op_veth, peer_name),
	REC(REC_U32, struct op_veth, peer_space),
	REC(REC_U32, struct op_veth, peer_ifindex),
	REC(REC_MAC, struct op_veth, peer_mac),
	REC(REC_U32, struct op_veth, mtu),
	REC_END,
};

/* The fd for IFLA_NET_NS_FD: none where the end is in the socket's own namespace. */
static int veth_netns(const struct ctx *ctx, uint32_t socket_space, uint32_t space)
{
	if (space == socket_space)
		return -1;
	return space == SPACE_HOST ? ctx->host_net : ctx->plan->spaces[space].fd;
}

static void veth_encode(const struct ctx *ctx, uint32_t i, struct nlbatch *batch)
{
	const struct step *step = ctx_step(ctx, i);
	const struct op_veth *veth = step->args;
	struct nlb_veth_end end = {
		.name = veth->name,
		.ifindex = veth->ifindex,
		.netns_fd = veth_netns(ctx, step->space, veth->space),
		.master = veth->master,
		.mac = &veth->mac,
		.up = true,
	};
	struct nlb_veth_end peer = {
		.name = veth->peer_name,
		.ifindex = veth->peer_ifindex,
		.netns_fd = veth_netns(ctx, step->space, veth->peer_space),
		.mac = &veth->peer_mac,
	};

	nlb_veth(batch, i, &end, &peer, veth->mtu);
}

static void veth_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_veth *veth = step->args;
	char a[MAC_TEXT], b[MAC_TEXT];

	strbuf_printf(out, "veth %s %s  %s - %s %s  %s", plan->spaces[veth->peer_space].name,
		      veth->peer_name, mac_text(&veth->peer_mac, a), plan->spaces[veth->space].name,
		      veth->name, mac_text(&veth->mac, b));
	if (veth->master)
		strbuf_printf(out, "  port of ifindex %u", veth->master);
	if (veth->mtu)
		strbuf_printf(out, "  mtu %u", veth->mtu);
}

/* Before its end in the host is a port, it is known by its MAC. */
static int veth_undo(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_veth *veth = ctx_step(ctx, i)->args;

	if (veth->peer_space != SPACE_HOST)
		return 0;
	return host_delete(ctx, i, veth->peer_name, "veth", &veth->peer_mac, err);
}

const struct op op_veth = {
	.name = "veth",
	.args = veth_table,
	.size = sizeof(struct op_veth),
	.encode = veth_encode,
	.phase = UNDO_HOST,
	.undo = veth_undo,
	.describe = veth_describe,
	.undone_by = "with its namespace",
};

/* ---- port: a TAP in a namespace of the lab */

static const struct rec port_table[] = {
	REC(REC_STR, struct op_port, name),
	REC(REC_U32, struct op_port, ifindex),
	REC(REC_U32, struct op_port, master),
	REC(REC_U32, struct op_port, mtu),
	REC(REC_U32, struct op_port, txqueuelen),
	REC(REC_U32, struct op_port, fwd_mask),
	REC(REC_BOOL, struct op_port, no_link_local),
	REC(REC_BOOL, struct op_port, forward),
	REC_END,
};

static void port_encode(const struct ctx *ctx, uint32_t i, struct nlbatch *batch)
{
	const struct op_port *port = ctx_step(ctx, i)->args;

	/* Before its first up: a multi-queue TAP would otherwise build 256 queueing disciplines. */
	nlb_noqueue(batch, i, port->ifindex);
	nlb_link_set(batch, i,
		     &(struct nlb_link_set){
			     .ifindex = port->ifindex,
			     .master = port->master,
			     .mtu = port->mtu,
			     .txqueuelen = port->txqueuelen,
			     .group = LINK_GROUP,
			     .no_link_local = port->no_link_local,
			     .forward4 = port->forward,
			     .up = true,
		     });
	if (port->fwd_mask)
		nlb_port_fwd_mask(batch, i, port->ifindex, (uint16_t)port->fwd_mask);
}

static void port_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_port *port = step->args;

	(void)plan;
	strbuf_printf(out, "%s up  noqueue", port->name);
	if (port->master)
		strbuf_printf(out, "  port of ifindex %u", port->master);
	if (port->mtu)
		strbuf_printf(out, "  mtu %u", port->mtu);
	if (port->txqueuelen)
		strbuf_printf(out, "  txqueuelen %u", port->txqueuelen);
	if (port->fwd_mask)
		strbuf_puts(out, "  passes LACP, LLDP, STP");
	if (port->forward)
		strbuf_puts(out, "  forwarding");
}

const struct op op_port = {
	.name = "port",
	.args = port_table,
	.size = sizeof(struct op_port),
	.encode = port_encode,
	.describe = port_describe,
	.undone_by = "with its namespace",
};

/* ---- hostport: our device on a bridge of the host's. */

static const struct rec hostport_table[] = {
	REC(REC_STR, struct op_hostport, name),
	REC(REC_STR, struct op_hostport, bridge),
	REC(REC_STR, struct op_hostport, altname),
	REC(REC_MAC, struct op_hostport, mac),
	REC(REC_U32, struct op_hostport, mtu),
	REC(REC_U32, struct op_hostport, txqueuelen),
	REC(REC_BOOL, struct op_hostport, tap),
	REC_SUBS(struct op_hostport, vlans, n_vlans, op_vlan_table, struct vlan),
	REC_END,
};

/* The host's bridge filters already, or we would have to change what is the host's. */
static int host_filters(const char *bridge, struct err *err)
{
	struct arena arena;
	struct nlr_link link;
	int r = arena_init(&arena, (size_t)16 << 20, err);

	if (r < 0)
		return r;
	r = nlr_link_find(&arena, bridge, &link, err);
	if (r > 0 && !link.vlan_filtering)
		r = err_set(err, -EOPNOTSUPP,
			    "the host's bridge %s does not filter VLANs, and is not ours to change "
			    "(ip link set %s type bridge vlan_filtering 1)",
			    bridge, bridge);
	arena_free(&arena);
	return r < 0 ? r : 0;
}

/* A port that says its VLANs is up when it has them, and no others. */
static void hostport_encode(struct nlbatch *batch, uint32_t i, const struct op_hostport *port,
			    uint32_t self, uint32_t bridge)
{
	if (port->tap)
		nlb_noqueue(batch, i, self);
	nlb_link_set(batch, i,
		     &(struct nlb_link_set){
			     .ifindex = self,
			     .master = bridge,
			     .mtu = port->mtu,
			     .txqueuelen = port->txqueuelen,
			     .no_link_local = true,
			     .up = !port->n_vlans,
		     });
	if (port->n_vlans) {
		nlb_no_vlans(batch, i, self);
		nlb_vlans(batch, i, self, port->vlans, port->n_vlans);
		nlb_link_set(batch, i, &(struct nlb_link_set){ .ifindex = self, .up = true });
	}
	nlb_altname(batch, i, self, port->altname);
}

static int hostport_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_hostport *port = ctx_step(ctx, i)->args;
	int bridge, self, nl = ctx_nl(ctx, SPACE_HOST, err);

	if (nl < 0)
		return nl;
	bridge = host_link(port->bridge, "bridge", NULL, err);
	self = bridge < 0 ? bridge
			  : host_link(port->name, port->tap ? "tun" : "veth", &port->mac, err);
	if (self < 0)
		return self;
	if (port->n_vlans && host_filters(port->bridge, err) < 0)
		return err->code;
	ctx->slots[i].ifindex = (uint32_t)self;
	hostport_encode(&ctx->batch, i, port, (uint32_t)self, (uint32_t)bridge);
	err->msg[0] = '\0';
	self = nlb_flush(&ctx->batch, nl, io_now_ms() + HOST_MS, err);
	return self < 0
		       ? err_sys(err, self, "cannot make %s a port of %s", port->name, port->bridge)
		       : 0;
}

static int hostport_undo(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_hostport *port = ctx_step(ctx, i)->args;

	return host_delete(ctx, i, port->name, port->tap ? "tun" : "veth", &port->mac, err);
}

static void hostport_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_hostport *port = step->args;

	(void)plan;
	strbuf_printf(out, "%s (%s) a port of the host's %s", port->name, port->altname,
		      port->bridge);
	if (port->n_vlans) {
		strbuf_puts(out, "  ");
		vlans_text(port->vlans, port->n_vlans, out);
	}
}

const struct op op_hostport = {
	.name = "hostport",
	.args = hostport_table,
	.size = sizeof(struct op_hostport),
	.apply = hostport_apply,
	.phase = UNDO_HOST,
	.undo = hostport_undo,
	.describe = hostport_describe,
	.undone_by = "delete, by ifindex and MAC",
};
