/* ping.h - echo requests, one a second to each address, and the lines that tell of the replies. */
#ifndef TAPNET_GUEST_PING_H
#define TAPNET_GUEST_PING_H

#include <lwip/raw.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

struct ping {
	struct ip ip;
	struct raw_pcb *pcb;
	unsigned count, replies; /* ends after count replies; 0: without end */
	uint16_t id, seq;
	bool waiting; /* for the reply to seq */
	int64_t sent_ns;
};

/* All with the stack's lock held. */
int ping_start(struct ping *ping, const struct ip *ip, unsigned count, uint16_t id,
	       struct err *err);
void ping_tick(struct ping *ping); /* once a second: the next request */
void ping_stop(struct ping *ping);

#endif
