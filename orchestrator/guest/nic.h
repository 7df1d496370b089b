/* nic.h - a network card of the guest: a TAP's queues on one side, the stack on the other. */
#ifndef TAPNET_GUEST_NIC_H
#define TAPNET_GUEST_NIC_H

#include <lwip/netif.h>
#include <stdint.h>

#include "base/err.h"
#include "guest/options.h"
#include "guest/tap.h"

struct nic {
	char name[8]; /* eth0 */
	const struct opt_nic *opt;
	struct netif netif;
	struct tap tap;
	uint64_t lost;		 /* frames that the stack had no room for */
	uint8_t out[UINT16_MAX]; /* the one that it sends */
};

/* The name and the TAP of the card number n; the fds belong to it from now on. */
int nic_open(struct nic *nic, unsigned n, const struct opt_nic *opt, struct err *err);
void nic_close(struct nic *nic);

/* Both with the stack's lock held. nic_start() makes the stack use the card, whose queues are then
 * in the epoll set with the tags tag, tag + 1, …; nic_event() is tap_event() of one. */
int nic_start(struct nic *nic, int epoll, uint64_t tag, struct err *err);
int nic_event(struct nic *nic, unsigned queue, uint32_t events);

/* `eth0: 4 queues, 02:…, 10.0.1.10/24`, and all that was counted. */
void nic_print(const struct nic *nic);
void nic_print_counters(const struct nic *nic);

#endif
