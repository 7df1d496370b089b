/* tap.h - what is done to a guest's TAP after it is made. */
#ifndef TAPNET_OP_TAP_H
#define TAPNET_OP_TAP_H

#include "op/op.h"

/* Makes the TAP of step i ready for a guest that is started once more: every queue attached as
 * planned, and what the last guest set put back. 0 or -errno. */
int tap_again(struct ctx *ctx, uint32_t i, bool persist, struct err *err);

/* wire.c: ifindex of a link of the host that is of this kind and has this MAC (NULL: any), or
 * -errno; -ENODEV when there is none. */
int host_link(const char *name, const char *kind, const struct mac *mac, struct err *err);

#endif
