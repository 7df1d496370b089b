/* vhost.h - vhost-net: the kernel moves a guest's frames. */
#ifndef TAPNET_SYS_VHOST_H
#define TAPNET_SYS_VHOST_H

#include <stdbool.h>

#include "base/err.h"

/* Opens /dev/vhost-net for one queue of one guest: it belongs to who first sets it up, so each start
 * of a guest takes new ones. fd or -errno, err->status then EXIT_UNABLE. */
int vhost_open(struct err *err);

/* Can it be opened here? The device's node loads the module. */
bool vhost_opens(void);

#endif
