/* nlw.c - the one writer to the kernel: batches of rtnetlink messages, by libmnl.
 *
 * Theory of operation. The kernel handles a datagram's messages one after the other within
 * sendto(2), so all answers wait in the socket when it returns: one for each message that failed,
 * one for the last in any case, and the echoes that were asked for. An answer names its message by
 * sequence number; a batch's numbers are consecutive and never used twice on the same batch, so
 * a late answer to an earlier batch is told from ours.
 *
 * When the socket overflows (ENOBUFS) what was queued before is still read, and what has no
 * answer then is uncertain, also when the last has one: silence means success only without loss.
 */
#include "sys/nlw.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"

#define NLB_SLACK	((size_t)4096) /* where what does not fit is written, and is lost */
#define NLB_STEP_BYTES	((size_t)2048)
#define NLB_ALIGN(size) (((size) + (size_t)MNL_ALIGNTO - 1) & ~((size_t)MNL_ALIGNTO - 1))
#define NLB_UNKNOWN	1 /* outcome not known yet: neither 0 nor an errno */
#define NLW_RCVBUF	(1 << 20)
#define NLW_SNDBUF	(1 << 18)
#define USER_HZ		100 /* unit of the kernel's interface, not of its clock */

/* ---- socket */

int nlw_open(struct err *err)
{
	static const int on[] = { NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK };
	autofd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int one = 1, rcv = NLW_RCVBUF, snd = NLW_SNDBUF;

	if (fd < 0)
		return err_sys(err, -errno, "cannot open a netlink socket");
	for (size_t i = 0; i < COUNT(on); i++)
		if (setsockopt(fd, SOL_NETLINK, on[i], &one, sizeof one) < 0)
			return err_sys(err, -errno, "cannot set netlink option %d", on[i]);
	/* Beyond the host's limit only with CAP_NET_ADMIN there; a smaller one makes a batch of
	 * many errors uncertain, never wrong. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcv, sizeof rcv) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcv, sizeof rcv);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &snd, sizeof snd);
	return take_fd(&fd);
}

/* ---- batch */

int nlb_init(struct nlbatch *batch, struct err *err)
{
	*batch = (struct nlbatch){ .seq = 1 };
	batch->buf = malloc(NLB_BYTES + NLB_SLACK);
	return batch->buf ? 0 : err_sys(err, -ENOMEM, "cannot make a netlink batch");
}

void nlb_free(struct nlbatch *batch)
{
	free(batch->buf);
	batch->buf = NULL;
}

bool nlb_room(const struct nlbatch *batch)
{
	return batch->n + NLB_STEP_MESSAGES <= NLB_MESSAGES &&
	       batch->len + NLB_STEP_BYTES <= NLB_BYTES;
}

static void *nlb_overflow(struct nlbatch *batch)
{
	batch->overflow = true;
	return memset(batch->buf + NLB_BYTES, 0, NLB_SLACK);
}

static struct nlmsghdr *nlb_last(const struct nlbatch *batch)
{
	return (struct nlmsghdr *)(void *)(batch->buf + batch->last);
}

/* What the message begun last may grow to. */
static size_t nlb_limit(const struct nlbatch *batch)
{
	return NLB_BYTES - batch->last;
}

/* Takes over the length of the message begun last after a put. */
static void nlb_grown(struct nlbatch *batch, bool fitted)
{
	if (fitted)
		batch->len = batch->last + nlb_last(batch)->nlmsg_len;
	else
		batch->overflow = true;
}

void *nlb_begin(struct nlbatch *batch, uint16_t type, uint16_t flags, size_t header_size,
		uint32_t tag)
{
	struct nlmsghdr *header;
	void *family;

	if (batch->overflow || batch->n == NLB_MESSAGES ||
	    batch->len + sizeof *header + NLB_ALIGN(header_size) > NLB_BYTES)
		return nlb_overflow(batch);
	batch->last = batch->len;
	header = mnl_nlmsg_put_header(batch->buf + batch->len);
	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	header->nlmsg_seq = batch->seq + batch->n;
	family = mnl_nlmsg_put_extra_header(header, header_size);
	batch->out[batch->n++] = (struct nlb_outcome){ .tag = tag, .code = NLB_UNKNOWN };
	nlb_grown(batch, true);
	return family;
}

void nlb_put(struct nlbatch *batch, uint16_t type, const void *data, size_t len)
{
	if (!batch->overflow)
		nlb_grown(batch,
			  mnl_attr_put_check(nlb_last(batch), nlb_limit(batch), type, len, data));
}

void nlb_u8(struct nlbatch *batch, uint16_t type, uint8_t value)
{
	nlb_put(batch, type, &value, sizeof value);
}

void nlb_u16(struct nlbatch *batch, uint16_t type, uint16_t value)
{
	nlb_put(batch, type, &value, sizeof value);
}

void nlb_u32(struct nlbatch *batch, uint16_t type, uint32_t value)
{
	nlb_put(batch, type, &value, sizeof value);
}

void nlb_str(struct nlbatch *batch, uint16_t type, const char *s)
{
	nlb_put(batch, type, s, strlen(s) + 1);
}

size_t nlb_nest(struct nlbatch *batch, uint16_t type)
{
	size_t mark = batch->len;

	if (!batch->overflow)
		nlb_grown(batch,
			  mnl_attr_nest_start_check(nlb_last(batch), nlb_limit(batch), type));
	return mark;
}

void nlb_nest_end(struct nlbatch *batch, size_t mark)
{
	if (!batch->overflow)
		mnl_attr_nest_end(nlb_last(batch), (struct nlattr *)(void *)(batch->buf + mark));
}

void *nlb_raw(struct nlbatch *batch, size_t size)
{
	void *raw;

	if (batch->overflow || batch->len + NLB_ALIGN(size) > NLB_BYTES)
		return nlb_overflow(batch);
	raw = mnl_nlmsg_put_extra_header(nlb_last(batch), size);
	nlb_grown(batch, true);
	return raw;
}

/* ---- answers */

struct answers {
	struct nlbatch *batch;
	bool lost; /* an answer was: silence no longer means success */
	bool last; /* the last message's answer is in */
};

static void answer_words(const struct nlmsghdr *header, const struct nlmsgerr *error,
			 struct nlb_outcome *out)
{
	const char *end = mnl_nlmsg_get_payload_tail(header);
	size_t skip = sizeof *error, len;
	const struct nlattr *attr;

	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(header->nlmsg_flags & NLM_F_CAPPED)) { /* the whole request lies in between */
		len = mnl_nlmsg_get_payload_len(&error->msg);
		if (len > mnl_nlmsg_get_payload_len(header) - skip)
			return;
		skip += len;
	}
	attr = mnl_nlmsg_get_payload_offset(header, skip);
	for (; mnl_attr_ok(attr, (int)(end - (const char *)attr)); attr = mnl_attr_next(attr)) {
		if (mnl_attr_get_type(attr) != NLMSGERR_ATTR_MSG)
			continue;
		len = strnlen(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));
		if (len >= sizeof out->words)
			len = sizeof out->words - 1;
		memcpy(out->words, mnl_attr_get_payload(attr), len);
		out->words[len] = '\0';
	}
}

static void answer_take(struct answers *answers, const struct nlmsghdr *header)
{
	struct nlbatch *batch = answers->batch;
	uint32_t k = header->nlmsg_seq - batch->seq;
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(header);
	const struct ifinfomsg *link = mnl_nlmsg_get_payload(header);

	if (k >= batch->n)
		return; /* of an earlier batch whose deadline had passed */
	if (header->nlmsg_type == RTM_NEWLINK &&
	    mnl_nlmsg_get_payload_len(header) >= sizeof *link) {
		batch->out[k].ifindex = link->ifi_index;
		return;
	}
	if (header->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(header) < sizeof *error)
		return;
	batch->out[k].code = error->error;
	answer_words(header, error, &batch->out[k]);
	answers->last |= k == batch->n - 1;
}

/* libmnl's own check takes a length for a signed one. */
static bool header_ok(const struct nlmsghdr *header, int left)
{
	return mnl_nlmsg_ok(header, left) && header->nlmsg_len <= (unsigned)left;
}

/* Reads one datagram. 1 read, 0 nothing there, or -errno. */
static int answer_read(struct answers *answers, int fd)
{
	char buf[32768] __attribute__((aligned(8)));
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof buf };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);
	int left = (int)n;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (n < 0 && errno == ENOBUFS && !answers->lost) { /* the kernel says it once */
		answers->lost = true;
		return 1;
	}
	if (n < 0)
		return -errno;
	answers->lost |= (msg.msg_flags & MSG_TRUNC) != 0;
	for (const struct nlmsghdr *h = (void *)buf; header_ok(h, left);
	     h = mnl_nlmsg_next(h, &left))
		answer_take(answers, h);
	return 1;
}

static int answers_collect(struct answers *answers, int fd, int64_t deadline, struct err *err)
{
	int r;

	while (!answers->last) {
		r = answer_read(answers, fd);
		if (r == 0 && answers->lost)
			return err_sys(err, -ENOBUFS, "the kernel's answers were lost");
		if (r == 0) {
			r = io_wait(fd, POLLIN, deadline);
			if (r == 0)
				return err_sys(err, -ETIMEDOUT, "no answer from the kernel");
		}
		if (r < 0)
			return err_sys(err, r, "cannot read the kernel's answer");
	}
	return answers->lost ? err_sys(err, -ENOBUFS, "some of the kernel's answers were lost") : 0;
}

/* Settles what has no outcome, empties the batch. Returns the first failing code. */
static int nlb_settle(struct nlbatch *batch, int code)
{
	int first = 0;

	for (unsigned i = 0; i < batch->n; i++) {
		if (batch->out[i].code == NLB_UNKNOWN)
			batch->out[i].code = code;
		if (!first)
			first = batch->out[i].code;
	}
	batch->seq += batch->n;
	batch->len = batch->last = batch->n = 0;
	batch->overflow = false;
	return first;
}

int nlb_flush(struct nlbatch *batch, int fd, int64_t deadline, struct err *err)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct answers answers = { .batch = batch };
	ssize_t n;
	int r;

	if (batch->overflow) {
		(void)nlb_settle(batch, -EMSGSIZE);
		return err_set(err, -EMSGSIZE, "a netlink message did not fit into its batch");
	}
	if (!batch->n)
		return 0;
	nlb_last(batch)->nlmsg_flags |= NLM_F_ACK;
	do {
		n = sendto(fd, batch->buf, batch->len, 0, (void *)&kernel, sizeof kernel);
	} while (n < 0 && errno == EINTR);
	if (n < 0) { /* refused before the kernel looked at it */
		r = err_sys(err, -errno, "cannot send to the kernel");
		return nlb_settle(batch, r);
	}
	r = answers_collect(&answers, fd, deadline, err);
	return nlb_settle(batch, r < 0 ? -EIO : 0);
}

/* ---- messages */

static struct ifinfomsg *nlb_link(struct nlbatch *batch, uint16_t type, uint16_t flags,
				  uint32_t tag, uint32_t ifindex)
{
	struct ifinfomsg *link = nlb_begin(batch, type, flags, sizeof *link, tag);

	link->ifi_index = (int)ifindex;
	return link;
}

static struct ifinfomsg *nlb_newlink(struct nlbatch *batch, uint32_t tag, uint32_t ifindex, bool up,
				     bool echo)
{
	uint16_t flags = (uint16_t)(NLM_F_CREATE | NLM_F_EXCL | (echo ? NLM_F_ECHO : 0));
	struct ifinfomsg *link = nlb_link(batch, RTM_NEWLINK, flags, tag, ifindex);

	if (up)
		link->ifi_flags = link->ifi_change = IFF_UP;
	return link;
}

static void nlb_mac(struct nlbatch *batch, const struct mac *mac)
{
	if (mac)
		nlb_put(batch, IFLA_ADDRESS, mac->b, sizeof mac->b);
}

static void nlb_u32_if(struct nlbatch *batch, uint16_t type, uint32_t value)
{
	if (value)
		nlb_u32(batch, type, value);
}

void nlb_bridge(struct nlbatch *batch, uint32_t tag, const struct nlb_bridge *bridge)
{
	size_t info, data;

	(void)nlb_newlink(batch, tag, bridge->ifindex, bridge->up, !bridge->ifindex);
	nlb_str(batch, IFLA_IFNAME, bridge->name);
	nlb_mac(batch, bridge->mac);
	nlb_u32_if(batch, IFLA_MTU, bridge->mtu);
	nlb_u32_if(batch, IFLA_GROUP, bridge->group);
	info = nlb_nest(batch, IFLA_LINKINFO);
	nlb_str(batch, IFLA_INFO_KIND, "bridge");
	data = nlb_nest(batch, IFLA_INFO_DATA);
	nlb_u8(batch, IFLA_BR_MCAST_SNOOPING, bridge->mcast_snooping);
	nlb_u32_if(batch, IFLA_BR_STP_STATE, bridge->stp);
	nlb_u32_if(batch, IFLA_BR_AGEING_TIME, bridge->ageing_ms / (1000 / USER_HZ));
	if (bridge->vlan_filtering) {
		nlb_u8(batch, IFLA_BR_VLAN_FILTERING, 1);
		nlb_u16(batch, IFLA_BR_VLAN_DEFAULT_PVID, 0);
	}
	nlb_nest_end(batch, data);
	nlb_nest_end(batch, info);
}

static void nlb_veth_half(struct nlbatch *batch, const struct nlb_veth_end *end, uint32_t mtu)
{
	nlb_str(batch, IFLA_IFNAME, end->name);
	if (end->netns_fd >= 0)
		nlb_u32(batch, IFLA_NET_NS_FD, (uint32_t)end->netns_fd);
	nlb_mac(batch, end->mac);
	nlb_u32_if(batch, IFLA_MTU, mtu);
	nlb_u32_if(batch, IFLA_GROUP, end->group);
	/* One queue: the kernel's default is one a core, which costs time and memory for each. */
	nlb_u32(batch, IFLA_NUM_TX_QUEUES, 1);
	nlb_u32(batch, IFLA_NUM_RX_QUEUES, 1);
}

void nlb_veth(struct nlbatch *batch, uint32_t tag, const struct nlb_veth_end *end,
	      const struct nlb_veth_end *peer, uint32_t mtu)
{
	size_t info, data, half;
	struct ifinfomsg *link;

	/* An echo is sent within the device's namespace: of use only where our socket is. */
	(void)nlb_newlink(batch, tag, end->ifindex, end->up, !end->ifindex && end->netns_fd < 0);
	nlb_veth_half(batch, end, mtu);
	nlb_u32_if(batch, IFLA_MASTER, end->master);
	info = nlb_nest(batch, IFLA_LINKINFO);
	nlb_str(batch, IFLA_INFO_KIND, "veth");
	data = nlb_nest(batch, IFLA_INFO_DATA);
	half = nlb_nest(batch, VETH_INFO_PEER);
	link = nlb_raw(batch, sizeof *link);
	link->ifi_index = (int)peer->ifindex;
	nlb_veth_half(batch, peer, mtu);
	nlb_nest_end(batch, half);
	nlb_nest_end(batch, data);
	nlb_nest_end(batch, info);
}

void nlb_vlan_link(struct nlbatch *batch, uint32_t tag, const struct nlb_vlan_link *vlan)
{
	size_t info, data;

	(void)nlb_newlink(batch, tag, vlan->ifindex, false, !vlan->ifindex);
	nlb_str(batch, IFLA_IFNAME, vlan->name);
	nlb_u32(batch, IFLA_LINK, vlan->parent);
	nlb_mac(batch, vlan->mac);
	nlb_u32_if(batch, IFLA_MTU, vlan->mtu);
	info = nlb_nest(batch, IFLA_LINKINFO);
	nlb_str(batch, IFLA_INFO_KIND, "vlan");
	data = nlb_nest(batch, IFLA_INFO_DATA);
	nlb_u16(batch, IFLA_VLAN_ID, vlan->vlan);
	nlb_nest_end(batch, data);
	nlb_nest_end(batch, info);
}

static void nlb_vlan_info(struct nlbatch *batch, uint32_t id, uint32_t flags)
{
	const struct bridge_vlan_info info = { .flags = (uint16_t)flags, .vid = (uint16_t)id };

	nlb_put(batch, IFLA_BRIDGE_VLAN_INFO, &info, sizeof info);
}

/* A message to the port's bridge, which the kernel finds itself. */
static void nlb_port_vlans(struct nlbatch *batch, uint16_t type, uint32_t tag, uint32_t ifindex,
			   const struct vlan *v, int n)
{
	struct ifinfomsg *link = nlb_link(batch, type, 0, tag, ifindex);
	size_t spec;

	link->ifi_family = AF_BRIDGE;
	spec = nlb_nest(batch, IFLA_AF_SPEC);
	for (int i = 0; i < n; i++) {
		uint32_t flags = (v[i].untagged ? BRIDGE_VLAN_INFO_UNTAGGED : 0) |
				 (v[i].pvid ? BRIDGE_VLAN_INFO_PVID : 0);

		if (v[i].first == v[i].last) {
			nlb_vlan_info(batch, v[i].first, flags);
			continue;
		}
		nlb_vlan_info(batch, v[i].first, flags | BRIDGE_VLAN_INFO_RANGE_BEGIN);
		nlb_vlan_info(batch, v[i].last, flags | BRIDGE_VLAN_INFO_RANGE_END);
	}
	nlb_nest_end(batch, spec);
}

void nlb_vlans(struct nlbatch *batch, uint32_t tag, uint32_t ifindex, const struct vlan *v, int n)
{
	nlb_port_vlans(batch, RTM_SETLINK, tag, ifindex, v, n);
}

void nlb_no_vlans(struct nlbatch *batch, uint32_t tag, uint32_t ifindex)
{
	const struct vlan all = { .first = 1, .last = VLAN_MAX };

	nlb_port_vlans(batch, RTM_DELLINK, tag, ifindex, &all, 1);
}

static void nlb_af_spec(struct nlbatch *batch, bool no_link_local, bool forward4)
{
	size_t spec = nlb_nest(batch, IFLA_AF_SPEC), family, conf;

	if (forward4) {
		family = nlb_nest(batch, AF_INET);
		conf = nlb_nest(batch, IFLA_INET_CONF);
		nlb_u32(batch, IPV4_DEVCONF_FORWARDING, 1);
		nlb_nest_end(batch, conf);
		nlb_nest_end(batch, family);
	}
	if (no_link_local) {
		family = nlb_nest(batch, AF_INET6);
		nlb_u8(batch, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
		nlb_nest_end(batch, family);
	}
	nlb_nest_end(batch, spec);
}

void nlb_link_set(struct nlbatch *batch, uint32_t tag, const struct nlb_link_set *set)
{
	struct ifinfomsg *link = nlb_link(batch, RTM_SETLINK, 0, tag, set->ifindex);

	if (set->no_link_local || set->forward4)
		nlb_af_spec(batch, set->no_link_local, set->forward4);
	if (set->no_link_local && set->up)
		link = nlb_link(batch, RTM_SETLINK, 0, tag, set->ifindex);
	nlb_mac(batch, set->mac);
	nlb_u32_if(batch, IFLA_MTU, set->mtu);
	nlb_u32_if(batch, IFLA_TXQLEN, set->txqueuelen);
	nlb_u32_if(batch, IFLA_GROUP, set->group);
	nlb_u32_if(batch, IFLA_MASTER, set->master);
	if (set->up || set->down)
		link->ifi_change = IFF_UP;
	if (set->up)
		link->ifi_flags = IFF_UP;
}

void nlb_altname(struct nlbatch *batch, uint32_t tag, uint32_t ifindex, const char *name)
{
	size_t list;

	(void)nlb_link(batch, RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL, tag, ifindex);
	list = nlb_nest(batch, IFLA_PROP_LIST);
	nlb_str(batch, IFLA_ALT_IFNAME, name);
	nlb_nest_end(batch, list);
}

void nlb_port_fwd_mask(struct nlbatch *batch, uint32_t tag, uint32_t ifindex, uint16_t mask)
{
	struct ifinfomsg *link = nlb_link(batch, RTM_SETLINK, 0, tag, ifindex);
	size_t info;

	link->ifi_family = AF_BRIDGE;
	info = nlb_nest(batch, IFLA_PROTINFO);
	nlb_u16(batch, IFLA_BRPORT_GROUP_FWD_MASK, mask);
	nlb_nest_end(batch, info);
}

static unsigned char family_of(const struct ip *ip)
{
	return ip->family == 6 ? AF_INET6 : AF_INET;
}

void nlb_addr(struct nlbatch *batch, uint32_t tag, uint32_t ifindex, const struct ip *addr)
{
	struct ifaddrmsg *msg =
		nlb_begin(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *msg, tag);

	msg->ifa_family = family_of(addr);
	msg->ifa_prefixlen = addr->prefix;
	msg->ifa_flags = IFA_F_NODAD;
	msg->ifa_index = ifindex;
	nlb_put(batch, IFA_LOCAL, addr->b, ip_bits(addr) / 8);
	nlb_put(batch, IFA_ADDRESS, addr->b, ip_bits(addr) / 8);
}

/* A gateway of the other family (IPv4 by way of IPv6) has an attribute of its own. */
static void nlb_gateway(struct nlbatch *batch, unsigned char family, const struct ip *via)
{
	struct {
		uint16_t family;
		uint8_t addr[16];
	} other = { .family = family_of(via) };

	if (family_of(via) == family) {
		nlb_put(batch, RTA_GATEWAY, via->b, ip_bits(via) / 8);
		return;
	}
	memcpy(other.addr, via->b, sizeof other.addr);
	nlb_put(batch, RTA_VIA, &other, sizeof other.family + ip_bits(via) / 8);
}

void nlb_route(struct nlbatch *batch, uint32_t tag, const struct ip *dst, const struct ip *via,
	       uint32_t ifindex, uint32_t metric)
{
	struct rtmsg *msg =
		nlb_begin(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *msg, tag);
	unsigned char family = family_of(dst->family ? dst : via);

	msg->rtm_family = family;
	msg->rtm_dst_len = dst->family ? dst->prefix : 0;
	msg->rtm_table = RT_TABLE_MAIN;
	msg->rtm_protocol = RTPROT_STATIC;
	msg->rtm_scope = via->family || family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	msg->rtm_type = RTN_UNICAST;
	if (msg->rtm_dst_len)
		nlb_put(batch, RTA_DST, dst->b, ip_bits(dst) / 8);
	if (via->family)
		nlb_gateway(batch, family, via);
	nlb_u32_if(batch, RTA_OIF, ifindex);
	nlb_u32_if(batch, RTA_PRIORITY, metric);
}

void nlb_noqueue(struct nlbatch *batch, uint32_t tag, uint32_t ifindex)
{
	struct tcmsg *msg =
		nlb_begin(batch, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, sizeof *msg, tag);

	msg->tcm_ifindex = (int)ifindex;
	msg->tcm_parent = TC_H_ROOT;
	nlb_str(batch, TCA_KIND, "noqueue");
}

void nlb_dellink(struct nlbatch *batch, uint32_t tag, uint32_t ifindex)
{
	(void)nlb_link(batch, RTM_DELLINK, 0, tag, ifindex);
}

void nlb_delgroup(struct nlbatch *batch, uint32_t tag, uint32_t group)
{
	(void)nlb_link(batch, RTM_DELLINK, 0, tag, 0);
	nlb_u32(batch, IFLA_GROUP, group);
}
