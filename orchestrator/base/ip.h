/* ip.h - IPv4 and IPv6 addresses with a prefix length, and MAC addresses. */
#ifndef TAPNET_BASE_IP_H
#define TAPNET_BASE_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* family is 4 or 6, 0 when there is none. Bytes in network order; IPv4 uses the first four. */
struct ip {
	uint8_t family, prefix;
	uint8_t b[16];
};

struct mac {
	uint8_t b[6];
};

#define IP_TEXT	 52 /* bytes for "address/prefix" */
#define MAC_TEXT 18

/* "10.0.0.1" or "10.0.0.1/24", "::1/128". Without "/N" prefix is the whole length (32, 128) and
 * *ret_has_prefix false (may be NULL). Leading zeros of an IPv4 part are dropped: 10.0.0.01 is
 * .1. false when it is none of these. */
bool ip_parse(const char *text, struct ip *ret_ip, bool *ret_has_prefix);
const char *ip_text(const struct ip *ip, char out[IP_TEXT]);	    /* without the prefix */
const char *ip_prefix_text(const struct ip *ip, char out[IP_TEXT]); /* with it */

unsigned ip_bits(const struct ip *ip);			  /* 32 or 128 */
bool ip_same(const struct ip *a, const struct ip *b);	  /* family and address */
bool ip_in(const struct ip *ip, const struct ip *subnet); /* address within subnet */
bool ip_overlap(const struct ip *a, const struct ip *b);  /* two subnets share an address */
struct ip ip_network(const struct ip *ip);		  /* host bits cleared */

/* The n-th address of a subnet (n from 0, the network itself); family 0 when it has fewer. The
 * subnet's prefix is kept. */
struct ip ip_nth(const struct ip *subnet, uint64_t n);
/* The n-th network of the given prefix length within pool, or family 0. */
struct ip ip_subnet(const struct ip *pool, unsigned prefix, uint64_t n);
/* Usable hosts: n from 1 to this can be given to ip_nth(). /31 and /127: 0 and 1 serve too. */
uint64_t ip_hosts(const struct ip *subnet);

bool mac_parse(const char *text, struct mac *ret_mac); /* six hex pairs with : or - */
const char *mac_text(const struct mac *mac, char out[MAC_TEXT]);
/* fe80::/64 with the interface identifier of the MAC (EUI-64). */
struct ip ip_link_local(const struct mac *mac);

#endif
