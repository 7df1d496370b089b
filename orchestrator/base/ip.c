/* ip.c - see ip.h. */
#include "base/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned ip_bits(const struct ip *ip)
{
	return ip->family == 4 ? 32 : 128;
}

/* Drops the leading zeros of each part, which inet_pton() refuses. false when it is too long. */
static bool ip4_plain(const char *text, char out[16])
{
	size_t n = 0;

	for (const char *p = text; *p; p++) {
		bool starts = p == text || p[-1] == '.';

		if (starts)
			while (p[0] == '0' && p[1] >= '0' && p[1] <= '9')
				p++;
		if (n == 15)
			return false;
		out[n++] = *p;
	}
	out[n] = '\0';
	return true;
}

static bool ip_parse_prefix(const char *s, unsigned bits, uint8_t *ret_prefix)
{
	char *end;
	unsigned long n;

	if (*s < '0' || *s > '9' || strlen(s) > 3)
		return false;
	n = strtoul(s, &end, 10);
	if (*end || n > bits)
		return false;
	*ret_prefix = (uint8_t)n;
	return true;
}

bool ip_parse(const char *text, struct ip *ret_ip, bool *ret_has_prefix)
{
	char addr[IP_TEXT], plain[16];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	struct ip ip = { 0 };

	if (len >= sizeof addr)
		return false;
	memcpy(addr, text, len);
	addr[len] = '\0';
	if (ip4_plain(addr, plain) && inet_pton(AF_INET, plain, ip.b) == 1)
		ip.family = 4;
	else if (inet_pton(AF_INET6, addr, ip.b) == 1)
		ip.family = 6;
	else
		return false;
	ip.prefix = (uint8_t)ip_bits(&ip);
	if (slash && !ip_parse_prefix(slash + 1, ip_bits(&ip), &ip.prefix))
		return false;
	if (ret_has_prefix)
		*ret_has_prefix = slash != NULL;
	*ret_ip = ip;
	return true;
}

const char *ip_text(const struct ip *ip, char out[IP_TEXT])
{
	if (!ip->family || !inet_ntop(ip->family == 4 ? AF_INET : AF_INET6, ip->b, out, IP_TEXT))
		(void)snprintf(out, IP_TEXT, "-");
	return out;
}

const char *ip_prefix_text(const struct ip *ip, char out[IP_TEXT])
{
	size_t len;

	ip_text(ip, out);
	len = strlen(out);
	if (ip->family)
		(void)snprintf(out + len, IP_TEXT - len, "/%u", ip->prefix);
	return out;
}

bool ip_same(const struct ip *a, const struct ip *b)
{
	return a->family == b->family && memcmp(a->b, b->b, ip_bits(a) / 8) == 0;
}

static bool ip_prefix_same(const struct ip *a, const struct ip *b, unsigned prefix)
{
	unsigned whole = prefix / 8, rest = prefix % 8;
	uint8_t mask = (uint8_t)(0xff00u >> rest);

	return memcmp(a->b, b->b, whole) == 0 &&
	       (!rest || ((a->b[whole] ^ b->b[whole]) & mask) == 0);
}

bool ip_in(const struct ip *ip, const struct ip *subnet)
{
	return ip->family && ip->family == subnet->family &&
	       ip_prefix_same(ip, subnet, subnet->prefix);
}

bool ip_overlap(const struct ip *a, const struct ip *b)
{
	unsigned prefix = a->prefix < b->prefix ? a->prefix : b->prefix;

	return a->family && a->family == b->family && ip_prefix_same(a, b, prefix);
}

struct ip ip_network(const struct ip *ip)
{
	struct ip net = *ip;

	for (unsigned bit = ip->prefix; bit < ip_bits(ip); bit++)
		net.b[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
	return net;
}

/* Adds n at bit position `shift` from the right; false when it runs over the top. */
static bool ip_add(struct ip *ip, uint64_t n, unsigned shift)
{
	unsigned bytes = ip_bits(ip) / 8, carry = 0;

	for (unsigned i = 0; i < bytes; i++) {
		unsigned lo = i * 8, byte = 0;

		if (lo + 8 > shift &&
		    lo < shift + 64) /* the eight bits of n << shift that fall on it */
			byte = (unsigned)(lo >= shift ? (n >> (lo - shift)) & 0xff
						      : (n << (shift - lo)) & 0xff);
		carry += ip->b[bytes - 1 - i] + byte;
		ip->b[bytes - 1 - i] = (uint8_t)carry;
		carry >>= 8;
	}
	return carry == 0;
}

struct ip ip_nth(const struct ip *subnet, uint64_t n)
{
	struct ip ip = ip_network(subnet);

	if (!ip_add(&ip, n, 0) || !ip_in(&ip, subnet))
		return (struct ip){ 0 };
	return ip;
}

struct ip ip_subnet(const struct ip *pool, unsigned prefix, uint64_t n)
{
	struct ip ip = ip_network(pool);

	if (prefix < pool->prefix || prefix > ip_bits(pool) ||
	    !ip_add(&ip, n, ip_bits(pool) - prefix) || !ip_in(&ip, pool))
		return (struct ip){ 0 };
	ip.prefix = (uint8_t)prefix;
	return ip;
}

uint64_t ip_hosts(const struct ip *subnet)
{
	unsigned host = ip_bits(subnet) - subnet->prefix;

	if (host == 0)
		return 0;
	if (host == 1)
		return 1;
	if (host >= 63)
		return UINT64_MAX >> 1;
	return (UINT64_C(1) << host) - (subnet->family == 4 ? 2 : 1);
}

bool mac_parse(const char *text, struct mac *ret_mac)
{
	struct mac mac;

	if (strlen(text) != 17)
		return false;
	for (int i = 0; i < 6; i++) {
		char pair[3] = { text[i * 3], text[i * 3 + 1], '\0' };
		char *end;
		char sep = text[i * 3 + 2];

		if ((i < 5 && sep != ':' && sep != '-') ||
		    !strchr("0123456789abcdefABCDEF", pair[0]))
			return false;
		mac.b[i] = (uint8_t)strtoul(pair, &end, 16);
		if (*end)
			return false;
	}
	*ret_mac = mac;
	return true;
}

const char *mac_text(const struct mac *mac, char out[MAC_TEXT])
{
	(void)snprintf(out, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac->b[0], mac->b[1],
		       mac->b[2], mac->b[3], mac->b[4], mac->b[5]);
	return out;
}

struct ip ip_link_local(const struct mac *mac)
{
	struct ip ip = { .family = 6, .prefix = 64, .b = { 0xfe, 0x80 } };

	memcpy(ip.b + 8, mac->b, 3);
	ip.b[8] ^= 2;
	ip.b[11] = 0xff;
	ip.b[12] = 0xfe;
	memcpy(ip.b + 13, mac->b + 3, 3);
	return ip;
}
