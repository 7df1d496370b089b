/* tunset.h - the steps that making, resetting and adopting a TAP share. For sys/tun*.c alone. */
#ifndef TAPNET_SYS_TUNSET_H
#define TAPNET_SYS_TUNSET_H

#include "sys/tun.h"

#define TUN_HDR_LEN 10 /* struct virtio_net_hdr, the kernel's choice */

/* Is it possible at all? Before anything is made. 0 or -EINVAL. */
int tunset_check(unsigned queues, const struct tun_settings *set, struct err *err);
/* All queues attached, queue k being the kernel's queue k as well; filters of others gone. */
int tunset_order(int first_fd, unsigned queues, struct err *err);
/* What belongs to the device (but carrier and persistence), while all queues are attached; then
 * detaches those beyond set->enabled, and compares. Fresh: nobody set anything yet, so that what is
 * to be as the kernel makes it is only compared. */
int tunset_apply(int first_fd, unsigned queues, const struct tun_settings *set, bool fresh,
		 struct err *err);
/* Which offloads go together; sets them; compares with what the kernel made of them, from the
 * device's namespace. */
int tunset_offload_check(unsigned offload, bool vnet_hdr, struct err *err);
int tunset_offload(int fd, unsigned offload, struct err *err);
int tunset_offload_proof(const char *name, unsigned offload, struct err *err);
int tunset_persist(int fd, bool persist, struct err *err);

#endif
