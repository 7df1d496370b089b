/* ping.c - see ping.h. */
#include "guest/ping.h"

#include <errno.h>
#include <lwip/icmp.h>
#include <lwip/icmp6.h>
#include <lwip/inet_chksum.h>
#include <lwip/ip.h>
#include <lwip/prot/icmp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "guest/stack.h"

enum { PING_DATA = 56 }; /* bytes after the header, as ping(8) */

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* Whether p, an IP packet, is the reply that is waited for: then it is eaten (1), else it is the
 * stack's (0). */
static u8_t ping_recv(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *from)
{
	struct ping *ping = arg;
	struct icmp_echo_hdr echo;
	struct ip ip = stack_ip(from);
	char text[IP_TEXT];

	(void)pcb;
	if (pbuf_copy_partial(p, &echo, sizeof echo, ip_current_header_tot_len()) != sizeof echo ||
	    echo.type != (ping->ip.family == 4 ? ICMP_ER : ICMP6_TYPE_EREP) ||
	    lwip_ntohs(echo.id) != ping->id || !ip_same(&ip, &ping->ip))
		return 0;
	if (ping->waiting && lwip_ntohs(echo.seqno) == ping->seq) {
		ping->waiting = false;
		ping->replies++;
		printf("reply from %s: seq=%u time=%.2f ms\n", ip_text(&ip, text), ping->seq,
		       (double)(now_ns() - ping->sent_ns) / 1e6);
	}
	pbuf_free(p);
	return 1;
}

int ping_start(struct ping *ping, const struct ip *ip, unsigned count, uint16_t id, struct err *err)
{
	u8_t proto = ip->family == 4 ? IP_PROTO_ICMP : IP6_NEXTH_ICMP6;

	*ping = (struct ping){ .ip = *ip, .count = count, .id = id };
	ping->pcb = raw_new_ip_type(ip->family == 4 ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6, proto);
	if (!ping->pcb)
		return err_sys(err, -ENOMEM, "ping");
	if (ip->family == 6) {
		ping->pcb->chksum_reqd = 1; /* it covers the addresses, which the stack chooses */
		ping->pcb->chksum_offset = 2;
	}
	raw_recv(ping->pcb, ping_recv, ping);
	return 0;
}

static void ping_send(struct ping *ping)
{
	struct icmp_echo_hdr echo = {
		.type = ping->ip.family == 4 ? ICMP_ECHO : ICMP6_TYPE_EREQ,
		.id = lwip_htons(ping->id),
		.seqno = lwip_htons(ping->seq),
	};
	uint8_t packet[sizeof echo + PING_DATA];
	ip_addr_t to = stack_addr(&ping->ip);
	struct pbuf *p = pbuf_alloc(PBUF_IP, sizeof packet, PBUF_RAM);

	if (!p)
		return;
	for (unsigned i = 0; i < PING_DATA; i++)
		packet[sizeof echo + i] = (uint8_t)i;
	memcpy(packet, &echo, sizeof echo);
	if (ping->ip.family == 4) {
		echo.chksum = inet_chksum(packet, sizeof packet);
		memcpy(packet, &echo, sizeof echo);
	} else if (netif_list) {
		/* A link-local address means nothing without its link: the first card's. */
		ip6_addr_assign_zone(ip_2_ip6(&to), IP6_UNICAST, netif_get_by_index(1));
	}
	(void)pbuf_take(p, packet, sizeof packet);
	ping->sent_ns = now_ns();
	/* What could not be sent is not replied to, and that is told. */
	(void)raw_sendto(ping->pcb, p, &to);
	pbuf_free(p);
}

void ping_tick(struct ping *ping)
{
	char text[IP_TEXT];

	if (ping->waiting)
		printf("no reply from %s: seq=%u\n", ip_text(&ping->ip, text), ping->seq);
	ping->waiting = !ping->count || ping->replies < ping->count;
	if (!ping->waiting)
		return;
	ping->seq++;
	ping_send(ping);
}

void ping_stop(struct ping *ping)
{
	if (ping->pcb)
		raw_remove(ping->pcb);
	ping->pcb = NULL;
}
