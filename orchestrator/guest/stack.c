/* stack.c - see stack.h. */
#include "guest/stack.h"

#include <lwip/tcpip.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void stack_init(void)
{
	struct timespec now;

	/* The stack numbers its ports with rand(). */
	(void)clock_gettime(CLOCK_REALTIME, &now);
	srand((unsigned)now.tv_nsec ^ (unsigned)getpid());
	tcpip_init(NULL, NULL);
}

void stack_lock(void)
{
	LOCK_TCPIP_CORE();
}

void stack_unlock(void)
{
	UNLOCK_TCPIP_CORE();
}

ip_addr_t stack_addr(const struct ip *ip)
{
	ip_addr_t addr;

	memset(&addr, 0, sizeof addr);
	if (ip->family == 4) {
		IP_SET_TYPE_VAL(addr, IPADDR_TYPE_V4);
		memcpy(&ip_2_ip4(&addr)->addr, ip->b, 4);
	} else {
		IP_SET_TYPE_VAL(addr, IPADDR_TYPE_V6);
		memcpy(ip_2_ip6(&addr)->addr, ip->b, 16);
	}
	return addr;
}

struct ip stack_ip(const ip_addr_t *addr)
{
	struct ip ip = { 0 };

	if (IP_IS_V6(addr)) {
		ip.family = 6;
		memcpy(ip.b, ip_2_ip6(addr)->addr, 16);
	} else {
		ip.family = 4;
		memcpy(ip.b, &ip_2_ip4(addr)->addr, 4);
	}
	ip.prefix = (uint8_t)ip_bits(&ip);
	return ip;
}
