/* nic.c - see nic.h. */
#include "guest/nic.h"

#include <errno.h>
#include <inttypes.h>
#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <lwip/nd6.h>
#include <lwip/prot/ieee.h>
#include <lwip/prot/ip.h>
#include <lwip/priv/nd6_priv.h>
#include <lwip/snmp.h>
#include <netif/ethernet.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/ip.h"
#include "guest/say.h"
#include "guest/stack.h"

int nic_open(struct nic *nic, unsigned n, const struct opt_nic *opt, struct err *err)
{
	(void)snprintf(nic->name, sizeof nic->name, "eth%u", n);
	nic->opt = opt;
	if (tap_adopt(&nic->tap, opt->fds, opt->n_fds, opt->vnet, err) < 0)
		return err_wrap(err, "%s", nic->name);
	return 0;
}

void nic_close(struct nic *nic)
{
	tap_free(&nic->tap);
}

static err_t nic_output(struct netif *netif, struct pbuf *p)
{
	struct nic *nic = netif->state;

	pbuf_copy_partial(p, nic->out, p->tot_len, 0);
	tap_send(&nic->tap, nic->out, p->tot_len);
	return ERR_OK;
}

static err_t nic_netif_init(struct netif *netif)
{
	const struct nic *nic = netif->state;

	netif->name[0] = 'e';
	netif->name[1] = 't';
	netif->hwaddr_len = ETH_HWADDR_LEN;
	memcpy(netif->hwaddr, nic->opt->mac.b, ETH_HWADDR_LEN);
	netif->mtu = nic->opt->mtu;
	netif->mtu6 = nic->opt->mtu;
	netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
		       NETIF_FLAG_IGMP | NETIF_FLAG_MLD6 | NETIF_FLAG_LINK_UP;
	netif->output = etharp_output;
	netif->output_ip6 = ethip6_output;
	netif->linkoutput = nic_output;
	return ERR_OK;
}

/* lwIP learns its IPv6 routers from their advertisements only. A lab's gateway is known from the
 * plan, so it is put where an advertisement would put it, with a lifetime of 136 years. */
static int router6_add(struct netif *netif, const struct ip *gw, struct err *err)
{
	struct nd6_neighbor_cache_entry *neighbor = neighbor_cache;
	struct nd6_router_list_entry *router = default_router_list;
	ip_addr_t addr = stack_addr(gw);

	while (router < default_router_list + LWIP_ND6_NUM_ROUTERS && router->neighbor_entry)
		router++;
	while (neighbor < neighbor_cache + LWIP_ND6_NUM_NEIGHBORS &&
	       neighbor->state != ND6_NO_ENTRY)
		neighbor++;
	if (router == default_router_list + LWIP_ND6_NUM_ROUTERS ||
	    neighbor == neighbor_cache + LWIP_ND6_NUM_NEIGHBORS)
		return err_set(err, -ENOSPC, "gw6=: at most %d IPv6 gateways",
			       LWIP_ND6_NUM_ROUTERS);
	ip6_addr_assign_zone(ip_2_ip6(&addr), IP6_UNICAST, netif);
	ip6_addr_copy(neighbor->next_hop_address, *ip_2_ip6(&addr));
	neighbor->netif = netif;
	neighbor->isrouter = 1;
	neighbor->state = ND6_INCOMPLETE; /* a router's entry stays while it is not answered */
	router->neighbor_entry = neighbor;
	router->invalidation_timer = UINT32_MAX;
	nd6_tmr(); /* asks for its MAC now instead of within a second */
	return 0;
}

static int nic_start6(struct nic *nic, struct err *err)
{
	const struct opt_nic *opt = nic->opt;
	ip_addr_t addr;
	s8_t i;

	/* The plan gives each address once: no detection of duplicates, which takes a second. */
	netif_create_ip6_linklocal_address(&nic->netif, 1);
	netif_ip6_addr_set_state(&nic->netif, 0, IP6_ADDR_PREFERRED);
	if (opt->ip6.family) {
		addr = stack_addr(&opt->ip6);
		if (netif_add_ip6_address(&nic->netif, ip_2_ip6(&addr), &i) != ERR_OK)
			return err_set(err, -EINVAL, "ip6=: the stack refuses the address");
		netif_ip6_addr_set_state(&nic->netif, i, IP6_ADDR_PREFERRED);
	}
	return opt->gw6.family ? router6_add(&nic->netif, &opt->gw6, err) : 0;
}

static int nic_add(struct nic *nic, struct err *err)
{
	const struct opt_nic *opt = nic->opt;
	struct ip mask = { .family = 4, .prefix = opt->ip.prefix, .b = { 255, 255, 255, 255 } };
	ip_addr_t ip = stack_addr(&opt->ip), gw = stack_addr(&opt->gw), netmask;

	if (!opt->ip.family) {
		ip_addr_set_zero_ip4(&ip);
		ip_addr_set_zero_ip4(&netmask);
	} else {
		mask = ip_network(&mask);
		netmask = stack_addr(&mask);
	}
	if (!opt->gw.family)
		ip_addr_set_zero_ip4(&gw);
	if (!netif_add(&nic->netif, ip_2_ip4(&ip), ip_2_ip4(&netmask), ip_2_ip4(&gw), nic,
		       nic_netif_init, netif_input))
		return err_set(err, -EINVAL, "the stack refuses the card");
	if (!netif_default && opt->gw.family)
		netif_set_default(&nic->netif);
	netif_set_up(&nic->netif);
	return 0;
}

int nic_start(struct nic *nic, int epoll, uint64_t tag, struct err *err)
{
	if (tap_watch(&nic->tap, epoll, tag, err) < 0 || nic_add(nic, err) < 0 ||
	    nic_start6(nic, err) < 0)
		return err_wrap(err, "%s", nic->name);
	return 0;
}

/* Whether a frame is, or may hide, UDP-Lite: lwIP 2.1.3 ends the process by an assertion when such
 * a packet claims a checksum over more than it has, and nobody here speaks it. */
static bool frame_udplite(const uint8_t *frame, size_t len)
{
	enum { IP4_PROTOCOL = 14 + 9, IP6_NEXT = 14 + 6, IP6_END = 14 + 40 };
	enum { HOPS = 0, TCP = 6, UDP = 17, ROUTING = 43, FRAGMENT = 44, ICMP6 = 58, OPTIONS = 60 };
	unsigned type = (unsigned)frame[12] << 8 | frame[13], next;
	size_t at = IP6_END;

	if (type == ETHTYPE_IP)
		return frame[IP4_PROTOCOL] == IP_PROTO_UDPLITE;
	if (type != ETHTYPE_IPV6)
		return false;
	next = frame[IP6_NEXT];
	while ((next == HOPS || next == ROUTING || next == OPTIONS) && at + 8 <= len) {
		next = frame[at];
		at += ((size_t)frame[at + 1] + 1) * 8;
	}
	/* Options in fragments can be spread over them, so that no frame shows what follows. */
	if (next == FRAGMENT && at < len)
		return frame[at] != TCP && frame[at] != UDP && frame[at] != ICMP6;
	return next == IP_PROTO_UDPLITE;
}

static void nic_input(void *arg, const uint8_t *frame, size_t len)
{
	struct nic *nic = arg;
	struct pbuf *p;

	if (frame_udplite(frame, len) || len > UINT16_MAX)
		return;
	p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
	if (p && pbuf_take(p, frame, (u16_t)len) == ERR_OK &&
	    nic->netif.input(p, &nic->netif) == ERR_OK)
		return;
	nic->lost++;
	if (p)
		pbuf_free(p);
}

int nic_event(struct nic *nic, unsigned queue, uint32_t events)
{
	return tap_event(&nic->tap, queue, events, nic_input, nic);
}

void nic_print(const struct nic *nic)
{
	const struct opt_nic *opt = nic->opt;
	char mac[MAC_TEXT], ip[IP_TEXT];

	printf("%s: ", nic->name);
	say_queues(&nic->tap);
	printf(", %s", mac_text(&opt->mac, mac));
	if (opt->ip.family)
		printf(", %s", ip_prefix_text(&opt->ip, ip));
	if (opt->ip6.family)
		printf(", %s", ip_prefix_text(&opt->ip6, ip));
	putchar('\n');
}

void nic_print_counters(const struct nic *nic)
{
	say_counters(nic->name, &nic->tap);
	if (nic->lost)
		printf("%s: %" PRIu64 " frames lost: the stack had no room\n", nic->name,
		       nic->lost);
}
