/* nlr.c - the one reader of the kernel: links, addresses and routes of a namespace, by libnl-3.
 *
 * Theory of operation. A dump is read message by message. libnl's own parsers turn each into an
 * object for what they know; what libnl 3.7 does not know (alternative names) is parsed from the
 * same message. A dump that the kernel marks as interrupted by a change is done again.
 */
#include "sys/nlr.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/str.h"

#define NLR_TRIES     10    /* of a dump that changes interrupt */
#define NLR_ANSWER_S  5	    /* the kernel answers a dump at once */
#define NLR_MSG_BYTES 65536 /* more than the kernel puts into one datagram of a dump */

struct nlr_addr { /* kept until every link is known */
	uint32_t ifindex;
	struct ip ip;
};

struct nlr_reader {
	struct arena *arena;
	struct nl_sock *sock;
	struct nlr_view *view;
	struct nlr_addr *addrs;
	int links_cap, routes_cap, n_addrs, addrs_cap;
	int failed; /* libnl's error of a message that could not be parsed */
};

/* ---- socket */

static int nlr_error(int nle, struct err *err, const char *what)
{
	int code = nle == -NLE_NOMEM ? -ENOMEM : nle == -NLE_PERM ? -EPERM : -EIO;

	return err_set(err, code, "cannot read the kernel's %s: %s", what, nl_geterror(nle));
}

static int nlr_open(struct nlr_reader *reader, struct err *err)
{
	struct timeval limit = { .tv_sec = NLR_ANSWER_S };
	int r, one = 1;

	reader->sock = nl_socket_alloc();
	if (!reader->sock)
		return err_sys(err, -ENOMEM, "cannot open a netlink socket");
	r = nl_connect(reader->sock, NETLINK_ROUTE);
	if (r < 0)
		return nlr_error(r, err, "socket");
	nl_socket_disable_auto_ack(reader->sock); /* what is asked for is answer enough */
	/* One datagram has a known limit, so libnl need not look at each before it reads it. */
	(void)nl_socket_set_msg_buf_size(reader->sock, NLR_MSG_BYTES);
	nl_socket_disable_msg_peek(reader->sock);
	if (setsockopt(nl_socket_get_fd(reader->sock), SOL_SOCKET, SO_RCVTIMEO, &limit,
		       sizeof limit) < 0 ||
	    setsockopt(nl_socket_get_fd(reader->sock), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one,
		       sizeof one) < 0)
		return err_sys(err, -errno, "cannot set up a netlink socket");
	return 0;
}

static void nlr_close(struct nlr_reader *reader)
{
	nl_socket_free(reader->sock);
}
#define autoreader __attribute__((cleanup(nlr_close)))

/* ---- links */

static int by_ifindex(const void *a, const void *b)
{
	const struct nlr_link *x = a, *y = b;

	return x->ifindex < y->ifindex ? -1 : x->ifindex > y->ifindex;
}

static struct nlr_link *view_link(const struct nlr_view *view, uint32_t ifindex)
{
	struct nlr_link key = { .ifindex = ifindex };

	if (!view->n_links)
		return NULL;
	return bsearch(&key, view->links, (size_t)view->n_links, sizeof key, by_ifindex);
}

/* What is particular to bridges and sub-interfaces. */
static void link_kind(struct nlattr *attr, struct nlr_link *link)
{
	struct nlattr *bridge[IFLA_BR_MAX + 1], *vlan[IFLA_VLAN_MAX + 1];

	if (str_eq(link->kind, "bridge") &&
	    nla_parse_nested(bridge, IFLA_BR_MAX, attr, NULL) == 0 &&
	    bridge[IFLA_BR_VLAN_FILTERING])
		link->vlan_filtering = nla_get_u8(bridge[IFLA_BR_VLAN_FILTERING]) != 0;
	if (str_eq(link->kind, "vlan") && nla_parse_nested(vlan, IFLA_VLAN_MAX, attr, NULL) == 0 &&
	    vlan[IFLA_VLAN_ID])
		link->vlan = nla_get_u16(vlan[IFLA_VLAN_ID]);
}

static uint32_t tun_number(struct nlattr *attrs[], int of)
{
	return attrs[of] ? nla_get_u32(attrs[of]) : 0;
}

/* None is told as all ones, or not at all. */
static int64_t tun_id(struct nlattr *attrs[], int of)
{
	uint32_t id = attrs[of] ? nla_get_u32(attrs[of]) : UINT32_MAX;

	return id == UINT32_MAX ? -1 : (int64_t)id;
}

static bool tun_bool(struct nlattr *attrs[], int of)
{
	return attrs[of] && nla_get_u8(attrs[of]);
}

static void link_tun(struct nlattr *data, struct nlr_tun *tun)
{
	struct nlattr *attrs[IFLA_TUN_MAX + 1];

	if (!data || nla_parse_nested(attrs, IFLA_TUN_MAX, data, NULL) < 0)
		return;
	*tun = (struct nlr_tun){
		.told = true,
		.pi = tun_bool(attrs, IFLA_TUN_PI),
		.vnet_hdr = tun_bool(attrs, IFLA_TUN_VNET_HDR),
		.persist = tun_bool(attrs, IFLA_TUN_PERSIST),
		.multi_queue = tun_bool(attrs, IFLA_TUN_MULTI_QUEUE),
		.queues = tun_number(attrs, IFLA_TUN_NUM_QUEUES),
		.disabled = tun_number(attrs, IFLA_TUN_NUM_DISABLED_QUEUES),
		.owner = tun_id(attrs, IFLA_TUN_OWNER),
		.group = tun_id(attrs, IFLA_TUN_GROUP),
	};
	if (!tun->multi_queue) /* then the kernel does not count */
		tun->queues = 1;
}

static void link_info(struct nlattr *attr, struct nlr_link *link)
{
	struct nlattr *info[IFLA_INFO_MAX + 1], *port[IFLA_BRPORT_MAX + 1];

	if (nla_parse_nested(info, IFLA_INFO_MAX, attr, NULL) < 0)
		return;
	if (info[IFLA_INFO_SLAVE_KIND] &&
	    str_eq(nla_get_string(info[IFLA_INFO_SLAVE_KIND]), "bridge") &&
	    info[IFLA_INFO_SLAVE_DATA] &&
	    nla_parse_nested(port, IFLA_BRPORT_MAX, info[IFLA_INFO_SLAVE_DATA], NULL) == 0 &&
	    port[IFLA_BRPORT_STATE])
		link->port_state = nla_get_u8(port[IFLA_BRPORT_STATE]);
	if (str_eq(link->kind, "tun"))
		link_tun(info[IFLA_INFO_DATA], &link->tun);
	if (info[IFLA_INFO_DATA])
		link_kind(info[IFLA_INFO_DATA], link);
}

/* What libnl has no names for. */
static void link_more(struct arena *arena, struct nl_msg *msg, struct nlr_link *link)
{
	struct nlattr *attrs[IFLA_MAX + 1], *name;
	int cap = 0, left;

	if (nlmsg_parse(nlmsg_hdr(msg), sizeof(struct ifinfomsg), attrs, IFLA_MAX, NULL) < 0)
		return;
	if (attrs[IFLA_LINKINFO])
		link_info(attrs[IFLA_LINKINFO], link);
	if (link->vlan && attrs[IFLA_LINK])
		link->parent = nla_get_u32(attrs[IFLA_LINK]);
	if (!attrs[IFLA_PROP_LIST])
		return;
	nla_for_each_nested(name, attrs[IFLA_PROP_LIST], left)
	{
		const char **altname;

		if (nla_type(name) != IFLA_ALT_IFNAME)
			continue;
		altname = ARENA_PUSH(arena, link->altnames, link->n_altnames, cap);
		*altname = arena_strndup(arena, nla_data(name), (size_t)nla_len(name));
	}
}

static void link_fill(struct arena *arena, struct rtnl_link *from, struct nlr_link *link)
{
	struct nl_addr *mac = rtnl_link_get_addr(from);
	const char *kind = rtnl_link_get_type(from), *qdisc = rtnl_link_get_qdisc(from);
	int master = rtnl_link_get_master(from);

	link->ifindex = (uint32_t)rtnl_link_get_ifindex(from);
	link->master = master > 0 ? (uint32_t)master : 0;
	link->mtu = rtnl_link_get_mtu(from);
	link->group = rtnl_link_get_group(from);
	link->name = arena_strdup(arena, rtnl_link_get_name(from));
	link->kind = kind ? arena_strdup(arena, kind) : "";
	link->qdisc = qdisc ? arena_strdup(arena, qdisc) : "";
	if (mac && nl_addr_get_len(mac) == sizeof link->mac.b)
		memcpy(link->mac.b, nl_addr_get_binary_addr(mac), sizeof link->mac.b);
	link->up = (rtnl_link_get_flags(from) & IFF_UP) != 0;
	link->carrier = rtnl_link_get_carrier(from) != 0;
	link->rx_packets = rtnl_link_get_stat(from, RTNL_LINK_RX_PACKETS);
	link->tx_packets = rtnl_link_get_stat(from, RTNL_LINK_TX_PACKETS);
	link->rx_bytes = rtnl_link_get_stat(from, RTNL_LINK_RX_BYTES);
	link->tx_bytes = rtnl_link_get_stat(from, RTNL_LINK_TX_BYTES);
	link->rx_dropped = rtnl_link_get_stat(from, RTNL_LINK_RX_DROPPED);
	link->tx_dropped = rtnl_link_get_stat(from, RTNL_LINK_TX_DROPPED);
}

/* The VLANs of a port, from a message of the bridge's family; ranges come as two of a pair. */
static void take_vlans(struct nlr_reader *reader, struct nl_msg *msg)
{
	const struct ifinfomsg *header = nlmsg_data(nlmsg_hdr(msg));
	struct nlr_link *link = view_link(reader->view, (uint32_t)header->ifi_index);
	struct nlattr *attrs[IFLA_MAX + 1], *attr;
	int left, cap = 0;

	if (!link || !link->master ||
	    nlmsg_parse(nlmsg_hdr(msg), sizeof *header, attrs, IFLA_MAX, NULL) < 0 ||
	    !attrs[IFLA_AF_SPEC])
		return;
	nla_for_each_nested(attr, attrs[IFLA_AF_SPEC], left)
	{
		const struct bridge_vlan_info *info = nla_data(attr);

		if (nla_type(attr) != IFLA_BRIDGE_VLAN_INFO || nla_len(attr) < (int)sizeof *info)
			continue;
		if (info->flags & BRIDGE_VLAN_INFO_RANGE_END && link->n_vlans) {
			link->vlans[link->n_vlans - 1].last = info->vid;
			continue;
		}
		*ARENA_PUSH(reader->arena, link->vlans, link->n_vlans, cap) =
			(struct vlan){ .first = info->vid,
				       .last = info->vid,
				       .untagged = info->flags & BRIDGE_VLAN_INFO_UNTAGGED,
				       .pvid = info->flags & BRIDGE_VLAN_INFO_PVID };
	}
}

static void take_link(struct nl_object *object, void *arg)
{
	struct nlr_reader *reader = arg;
	struct rtnl_link *from = nl_object_priv(object);
	struct nlr_view *view = reader->view;

	if (rtnl_link_get_name(from)) /* none: no whole link */
		link_fill(reader->arena, from,
			  ARENA_PUSH(reader->arena, view->links, view->n_links, reader->links_cap));
}

/* ---- addresses and routes */

static struct ip ip_of(struct nl_addr *addr)
{
	struct ip ip = { 0 };

	if (!addr || nl_addr_get_len(addr) > sizeof ip.b)
		return ip;
	if (nl_addr_get_family(addr) == AF_INET)
		ip.family = 4;
	else if (nl_addr_get_family(addr) == AF_INET6)
		ip.family = 6;
	else
		return ip;
	ip.prefix = (uint8_t)nl_addr_get_prefixlen(addr);
	memcpy(ip.b, nl_addr_get_binary_addr(addr), nl_addr_get_len(addr));
	return ip;
}

static void take_addr(struct nl_object *object, void *arg)
{
	struct nlr_reader *reader = arg;
	struct rtnl_addr *from = nl_object_priv(object);
	struct ip ip = ip_of(rtnl_addr_get_local(from));

	if (ip.family)
		*ARENA_PUSH(reader->arena, reader->addrs, reader->n_addrs, reader->addrs_cap) =
			(struct nlr_addr){ .ifindex = (uint32_t)rtnl_addr_get_ifindex(from),
					   .ip = ip };
}

static void take_route(struct nl_object *object, void *arg)
{
	struct nlr_reader *reader = arg;
	struct rtnl_route *from = nl_object_priv(object);
	struct nlr_view *view = reader->view;
	struct ip dst = ip_of(rtnl_route_get_dst(from));

	if (rtnl_route_get_table(from) != RT_TABLE_MAIN || rtnl_route_get_type(from) != RTN_UNICAST)
		return;
	if (!dst.family) /* the default route has none */
		dst.family = rtnl_route_get_family(from) == AF_INET6 ? 6 : 4;
	for (int i = 0; i < rtnl_route_get_nnexthops(from); i++) {
		struct rtnl_nexthop *hop = rtnl_route_nexthop_n(from, i);
		struct nl_addr *via = rtnl_route_nh_get_gateway(hop);

		if (!via)
			via = rtnl_route_nh_get_via(hop);
		*ARENA_PUSH(reader->arena, view->routes, view->n_routes, reader->routes_cap) =
			(struct nlr_route){
				.dst = dst,
				.via = ip_of(via),
				.ifindex = (uint32_t)rtnl_route_nh_get_ifindex(hop),
				.metric = rtnl_route_get_priority(from),
			};
	}
}

/* ---- reading */

static int nlr_message(struct nl_msg *msg, void *arg)
{
	struct nlr_reader *reader = arg;
	uint16_t type = nlmsg_hdr(msg)->nlmsg_type;
	int before = reader->view->n_links, r;

	if (type == RTM_NEWLINK &&
	    ((const struct ifinfomsg *)nlmsg_data(nlmsg_hdr(msg)))->ifi_family == AF_BRIDGE) {
		take_vlans(reader, msg);
		return NL_OK;
	}
	if (type == RTM_NEWLINK)
		r = nl_msg_parse(msg, take_link, reader);
	else if (type == RTM_NEWADDR)
		r = nl_msg_parse(msg, take_addr, reader);
	else if (type == RTM_NEWROUTE)
		r = nl_msg_parse(msg, take_route, reader);
	else
		return NL_SKIP;
	if (r < 0)
		reader->failed = r;
	if (reader->view->n_links > before)
		link_more(reader->arena, msg, &reader->view->links[before]);
	return NL_OK;
}

/* Sends one request and reads what answers it. A libnl error, 0 when fine. */
static int nlr_request(struct nlr_reader *reader, struct nl_msg *msg)
{
	int r = nl_socket_modify_cb(reader->sock, NL_CB_VALID, NL_CB_CUSTOM, nlr_message, reader);

	reader->failed = 0;
	if (r == 0)
		r = nl_send_auto(reader->sock, msg);
	if (r >= 0)
		r = nl_recvmsgs_default(reader->sock);
	return r < 0 ? r : reader->failed;
}

/* more: IFLA_EXT_MASK, or 0. */
static int nlr_dump_more(struct nlr_reader *reader, uint16_t type, const void *header, size_t size,
			 uint32_t more)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, NLM_F_DUMP);
	int r = msg ? nlmsg_append(msg, (void *)(uintptr_t)header, size, NLMSG_ALIGNTO)
		    : -NLE_NOMEM;

	if (r == 0 && more)
		r = nla_put_u32(msg, IFLA_EXT_MASK, more);
	if (r == 0)
		r = nlr_request(reader, msg);
	nlmsg_free(msg);
	return r;
}

static int nlr_dump(struct nlr_reader *reader, uint16_t type, const void *header, size_t size)
{
	return nlr_dump_more(reader, type, header, size, 0);
}

/* Asks for one link by its index, or by either kind of name, and expects at most that one. */
static int nlr_ask_link(struct nlr_reader *reader, uint32_t ifindex, const char *name)
{
	struct ifinfomsg link = { .ifi_index = (int)ifindex };
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETLINK, 0);
	int r = msg ? nlmsg_append(msg, &link, sizeof link, NLMSG_ALIGNTO) : -NLE_NOMEM;

	if (r == 0 && name)
		r = nla_put_string(msg, IFLA_ALT_IFNAME, name);
	if (r == 0)
		r = nlr_request(reader, msg);
	nlmsg_free(msg);
	return r;
}

/* ---- the view */

/* Gives each link its addresses, in the kernel's order. */
static void view_addrs(struct nlr_reader *reader)
{
	struct nlr_view *view = reader->view;
	struct nlr_link *link;

	for (int i = 0; i < reader->n_addrs; i++)
		if ((link = view_link(view, reader->addrs[i].ifindex)))
			link->n_addrs++;
	for (int i = 0; i < view->n_links; i++) {
		link = &view->links[i];
		link->addrs =
			arena_calloc(reader->arena, (size_t)link->n_addrs, sizeof *link->addrs);
		link->n_addrs = 0;
	}
	for (int i = 0; i < reader->n_addrs; i++)
		if ((link = view_link(view, reader->addrs[i].ifindex)))
			link->addrs[link->n_addrs++] = reader->addrs[i].ip;
}

/* VLANs are asked for where they mean something. */
static int view_vlans(struct nlr_reader *reader)
{
	const struct ifinfomsg bridge = { .ifi_family = AF_BRIDGE };
	bool some = false;

	for (int i = 0; i < reader->view->n_links; i++)
		some = some || reader->view->links[i].vlan_filtering;
	return some ? nlr_dump_more(reader, RTM_GETLINK, &bridge, sizeof bridge,
				    RTEXT_FILTER_BRVLAN_COMPRESSED)
		    : 0;
}

static int view_read(struct nlr_reader *reader)
{
	struct ifinfomsg link = { .ifi_family = AF_UNSPEC };
	struct ifaddrmsg addr = { .ifa_family = AF_UNSPEC };
	struct rtmsg route = { .rtm_family = AF_UNSPEC };
	int r = nlr_dump(reader, RTM_GETLINK, &link, sizeof link);

	if (r == 0)
		r = nlr_dump(reader, RTM_GETADDR, &addr, sizeof addr);
	if (r == 0)
		r = nlr_dump(reader, RTM_GETROUTE, &route, sizeof route);
	if (r < 0)
		return r;
	if (reader->view->n_links)
		qsort(reader->view->links, (size_t)reader->view->n_links,
		      sizeof *reader->view->links, by_ifindex);
	view_addrs(reader);
	return view_vlans(reader);
}

int nlr_view(struct arena *arena, struct nlr_view *ret_view, struct err *err)
{
	struct nlr_reader reader autoreader = { .arena = arena, .view = ret_view };
	int r = nlr_open(&reader, err);

	if (r < 0)
		return r;
	for (int tries = 0; tries < NLR_TRIES; tries++) {
		*ret_view = (struct nlr_view){ 0 };
		reader.n_addrs = reader.links_cap = reader.routes_cap = 0;
		r = view_read(&reader);
		if (r != -NLE_DUMP_INTR)
			break;
	}
	return r < 0 ? nlr_error(r, err, "links, addresses and routes") : 0;
}

const struct nlr_link *nlr_link(const struct nlr_view *view, uint32_t ifindex)
{
	return view_link(view, ifindex);
}

const struct nlr_link *nlr_link_named(const struct nlr_view *view, const char *name)
{
	for (int i = 0; i < view->n_links; i++) {
		const struct nlr_link *link = &view->links[i];

		if (str_eq(link->name, name))
			return link;
		for (int k = 0; k < link->n_altnames; k++)
			if (str_eq(link->altnames[k], name))
				return link;
	}
	return NULL;
}

/* ---- one link */

static int link_read(struct nlr_reader *reader, uint32_t ifindex, const char *name)
{
	struct ifaddrmsg addr = { .ifa_family = AF_UNSPEC };
	int r = nlr_ask_link(reader, ifindex, name);

	if (r < 0 || reader->view->n_links == 0)
		return r;
	addr.ifa_index = reader->view->links[0].ifindex; /* strict checking: only its own */
	return nlr_dump(reader, RTM_GETADDR, &addr, sizeof addr);
}

static int link_get(struct arena *arena, uint32_t ifindex, const char *name,
		    struct nlr_link *ret_link, struct err *err)
{
	struct nlr_view view;
	struct nlr_reader reader autoreader = { .arena = arena, .view = &view };
	int r = nlr_open(&reader, err);

	if (r < 0)
		return r;
	for (int tries = 0; tries < NLR_TRIES; tries++) {
		view = (struct nlr_view){ 0 };
		reader.n_addrs = reader.links_cap = 0;
		r = link_read(&reader, ifindex, name);
		if (r != -NLE_DUMP_INTR)
			break;
	}
	if (r == -NLE_NODEV || r == -NLE_OBJ_NOTFOUND)
		return 0;
	if (r < 0)
		return nlr_error(r, err, "links");
	if (view.n_links != 1)
		return 0;
	view_addrs(&reader);
	*ret_link = view.links[0];
	return 1;
}

int nlr_link_get(struct arena *arena, uint32_t ifindex, struct nlr_link *ret_link, struct err *err)
{
	return link_get(arena, ifindex, NULL, ret_link, err);
}

int nlr_link_find(struct arena *arena, const char *name, struct nlr_link *ret_link, struct err *err)
{
	return link_get(arena, 0, name, ret_link, err);
}
