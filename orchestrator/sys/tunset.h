/* tunset.h - the steps that making, resetting and adopting a TAP share. For sys/tun*.c alone. */
#ifndef TAPNET_SYS_TUNSET_H
#define TAPNET_SYS_TUNSET_H

#include "sys/tun.h"

/* Is it possible at all? Before anything is made. 0 or -EINVAL. */
int tunset_check(unsigned queues, const struct tun_settings *set, struct err *err);
/* All queues attached, queue k being the kernel's queue k as well; filters of others gone. */
int tunset_order(int first_fd, unsigned queues, struct err *err);
/* What belongs to the device (but carrier and persistence), while all queues are attached; then
 * detaches those beyond set->enabled, and compares. */
int tunset_apply(int first_fd, unsigned queues, const struct tun_settings *set, struct err *err);
int tunset_carrier(int fd, bool on, struct err *err);
int tunset_persist(int fd, bool persist, struct err *err);

#endif
