/* net.c - operations on namespaces and links: everything the kernel's batches carry. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "op/op.h"
#include "sys/nlr.h"
#include "sys/ns.h"
#include "sys/tun.h"

#define NETNS_MS     8000 /* the kernel has let go of what went before within this */
#define NETNS_TRY_MS 50

/* ---- netns */

static const struct rec netns_table[] = {
	REC(REC_INT, struct op_netns, fd),
	REC_END,
};

/* The kernel gives back those of a lab that just went late, so they are waited for; whoever gives
 * the lab up meanwhile is heard. */
static int netns_make(struct ctx *ctx, int at, struct err *err)
{
	int64_t deadline = io_now_ms() + NETNS_MS;
	int fd, r;

	for (;;) {
		fd = ns_make_net(at, io_now_ms() + NETNS_TRY_MS, err);
		if (fd != -ENOSPC || io_now_ms() >= deadline)
			return fd;
		r = ctx->wait(ctx, -1, 0, io_now_ms() + 1);
		if (r < 0)
			return err_sys(err, r, "not waited for a network namespace");
		if (io_now_ms() >= ctx->deadline)
			return fd;
	}
}

static int netns_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_netns *netns = ctx_step(ctx, i)->args;
	int fd;

	fd_closep(&ctx->nl);
	fd = netns_make(ctx, netns->fd, err);
	if (fd < 0)
		return fd;
	ctx->space = ctx_step(ctx, i)->space;
	ctx->slots[i].ns = (struct ns_id){ ns_inode(fd), ns_cookie() };
	return 0;
}

/* Closes planned fds; teardown comes here once a slot. */
static int netns_undo(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_netns *netns = ctx_step(ctx, i)->args;

	(void)err;
	if (ctx->have_fds)
		(void)close(netns->fd);
	return 0;
}

static void netns_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	(void)plan;
	(void)step;
	strbuf_puts(out, "namespace");
}

const struct op op_netns = {
	.name = "netns",
	.args = netns_table,
	.size = sizeof(struct op_netns),
	.apply = netns_apply,
	.phase = UNDO_FD,
	.undo = netns_undo,
	.describe = netns_describe,
	.undone_by = "last process gone",
};

/* ---- sysctl */

static const struct rec sysctl_table[] = {
	REC(REC_STR, struct op_sysctl, key),
	REC(REC_STR, struct op_sysctl, value),
	REC(REC_BOOL, struct op_sysctl, optional),
	REC_END,
};

static int sysctl_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_sysctl *sysctl = ctx_step(ctx, i)->args;
	char path[256];
	int r = ctx_enter(ctx, ctx_step(ctx, i)->space, err), n;

	if (r < 0)
		return r;
	n = snprintf(path, sizeof path, "/proc/sys/%s", sysctl->key);
	if (n < 0 || (size_t)n >= sizeof path)
		return err_sys(err, -ENAMETOOLONG, "sysctl %s", sysctl->key);
	if (!strchr(sysctl->key,
		    '/')) /* dots are the usual form; with slashes dots are part of a name */
		for (char *p = path + strlen("/proc/sys/"); *p; p++)
			if (*p == '.')
				*p = '/';
	r = io_write_file(AT_FDCWD, path, sysctl->value);
	if (r == -ENOENT && sysctl->optional)
		return 0;
	if (r == -ENOENT)
		err_set(err, r, "this kernel has no sysctl %s", sysctl->key);
	else if (r < 0)
		err_sys(err, r, "cannot set sysctl %s to \"%s\"", sysctl->key, sysctl->value);
	return r;
}

static void sysctl_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_sysctl *sysctl = step->args;

	(void)plan;
	strbuf_printf(out, "sysctl %s=%s", sysctl->key, sysctl->value);
}

const struct op op_sysctl = {
	.name = "sysctl",
	.args = sysctl_table,
	.size = sizeof(struct op_sysctl),
	.apply = sysctl_apply,
	.describe = sysctl_describe,
	.undone_by = "with its namespace",
};

/* ---- bridge */

static const struct rec bridge_table[] = {
	REC(REC_STR, struct op_bridge, name),
	REC(REC_U32, struct op_bridge, ifindex),
	REC(REC_U32, struct op_bridge, mtu),
	REC(REC_U32, struct op_bridge, ageing_ms),
	REC(REC_MAC, struct op_bridge, mac),
	REC(REC_BOOL, struct op_bridge, stp),
	REC(REC_BOOL, struct op_bridge, mcast_snooping),
	REC(REC_BOOL, struct op_bridge, vlan_filtering),
	REC_END,
};

static void bridge_encode(const struct ctx *ctx, uint32_t i, struct nlbatch *batch)
{
	const struct op_bridge *bridge = ctx_step(ctx, i)->args;

	nlb_bridge(batch, i,
		   &(struct nlb_bridge){
			   .name = bridge->name,
			   .ifindex = bridge->ifindex,
			   .mtu = bridge->mtu,
			   .ageing_ms = bridge->ageing_ms,
			   .mac = &bridge->mac,
			   .stp = bridge->stp,
			   .mcast_snooping = bridge->mcast_snooping,
			   .vlan_filtering = bridge->vlan_filtering,
			   .up = true,
		   });
}

static void bridge_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_bridge *bridge = step->args;
	char mac[MAC_TEXT];

	(void)plan;
	strbuf_printf(out, "bridge %s  ifindex %u  %s  stp %s", bridge->name, bridge->ifindex,
		      mac_text(&bridge->mac, mac), bridge->stp ? "on" : "off");
	if (bridge->vlan_filtering)
		strbuf_puts(out, "  vlan filtering");
}

const struct op op_bridge = {
	.name = "bridge",
	.args = bridge_table,
	.size = sizeof(struct op_bridge),
	.encode = bridge_encode,
	.describe = bridge_describe,
	.undone_by = "with its namespace",
};

/* ---- link: what is done to an existing one */

static const struct rec link_table[] = {
	REC(REC_STR, struct op_link, name),
	REC(REC_U32, struct op_link, ifindex),
	REC(REC_U32, struct op_link, mtu),
	REC(REC_U32, struct op_link, master),
	REC(REC_BOOL, struct op_link, no_link_local),
	REC(REC_BOOL, struct op_link, forward),
	REC_END,
};

static void link_encode(const struct ctx *ctx, uint32_t i, struct nlbatch *batch)
{
	const struct op_link *link = ctx_step(ctx, i)->args;

	nlb_link_set(batch, i,
		     &(struct nlb_link_set){
			     .ifindex = link->ifindex,
			     .mtu = link->mtu,
			     .master = link->master,
			     .no_link_local = link->no_link_local,
			     .forward4 = link->forward,
			     .up = true,
		     });
}

static void link_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_link *link = step->args;

	(void)plan;
	strbuf_printf(out, "%s up", link->name);
	if (link->master)
		strbuf_printf(out, "  port of ifindex %u", link->master);
	if (link->mtu)
		strbuf_printf(out, "  mtu %u", link->mtu);
	if (link->forward)
		strbuf_puts(out, "  forwarding");
}

const struct op op_link = {
	.name = "link",
	.args = link_table,
	.size = sizeof(struct op_link),
	.encode = link_encode,
	.describe = link_describe,
	.undone_by = "with its namespace",
};

/* ---- addresses and routes */

static const struct rec addr_table[] = {
	REC(REC_STR, struct op_addr, name),
	REC(REC_U32, struct op_addr, ifindex),
	REC(REC_IP, struct op_addr, addr),
	REC_END,
};

static void addr_encode(const struct ctx *ctx, uint32_t i, struct nlbatch *batch)
{
	const struct op_addr *addr = ctx_step(ctx, i)->args;

	nlb_addr(batch, i, addr->ifindex, &addr->addr);
}

static void addr_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_addr *addr = step->args;
	char text[IP_TEXT];

	(void)plan;
	strbuf_printf(out, "address %s on %s", ip_prefix_text(&addr->addr, text), addr->name);
}

const struct op op_addr = {
	.name = "addr",
	.args = addr_table,
	.size = sizeof(struct op_addr),
	.encode = addr_encode,
	.describe = addr_describe,
	.undone_by = "with its namespace",
};

static const struct rec route_table[] = {
	REC(REC_IP, struct op_route, dst),	REC(REC_IP, struct op_route, via),
	REC(REC_U32, struct op_route, ifindex), REC(REC_U32, struct op_route, metric),
	REC(REC_STR, struct op_route, name),	REC_END,
};

static void route_encode(const struct ctx *ctx, uint32_t i, struct nlbatch *batch)
{
	const struct op_route *route = ctx_step(ctx, i)->args;

	nlb_route(batch, i, &route->dst, &route->via, route->ifindex, route->metric);
}

static void route_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_route *route = step->args;
	char text[IP_TEXT];

	(void)plan;
	strbuf_printf(out, "route %s",
		      route->dst.family ? ip_prefix_text(&route->dst, text) : "default");
	strbuf_printf(out, " via %s dev %s", ip_text(&route->via, text),
		      route->name ? route->name : "-");
	if (route->metric)
		strbuf_printf(out, " metric %u", route->metric);
}

const struct op op_route = {
	.name = "route",
	.args = route_table,
	.size = sizeof(struct op_route),
	.encode = route_encode,
	.describe = route_describe,
	.undone_by = "with its namespace",
};

/* ---- altname */

static const struct rec altname_table[] = {
	REC(REC_STR, struct op_altname, name),
	REC(REC_STR, struct op_altname, altname),
	REC(REC_U32, struct op_altname, ifindex),
	REC_END,
};

static void altname_encode(const struct ctx *ctx, uint32_t i, struct nlbatch *batch)
{
	const struct op_altname *altname = ctx_step(ctx, i)->args;

	nlb_altname(batch, i, altname->ifindex, altname->altname);
}

static void altname_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_altname *altname = step->args;

	(void)plan;
	strbuf_printf(out, "%s is also called %s", altname->name, altname->altname);
}

const struct op op_altname = {
	.name = "altname",
	.args = altname_table,
	.size = sizeof(struct op_altname),
	.encode = altname_encode,
	.describe = altname_describe,
	.undone_by = "with its namespace",
};
