/* tap.h - what is done to a guest's TAP after it is made. */
#ifndef TAPNET_OP_TAP_H
#define TAPNET_OP_TAP_H

#include "op/op.h"

/* Makes the TAP of step i ready for a guest that is started once more: every queue attached as
 * planned, and what the last guest set put back. 0 or -errno. */
int tap_again(struct ctx *ctx, uint32_t i, bool persist, bool carrier, struct err *err);
/* Its guest has ended: nobody reads. 0 or -errno. */
int tap_rest(const struct op_tap *tap, struct err *err);

/* wire.c: ifindex of a link of the host that is of this kind and has this MAC (NULL: any), or
 * -errno; -ENODEV when there is none. */
int host_link(const char *name, const char *kind, const struct mac *mac, struct err *err);
/* The same of a link that step i made there: known by the ifindex in its slot, since whoever holds a
 * TAP's fd may give it another MAC; or, while there is none, by its MAC. 0: it is gone, or
 * another's. */
int host_own(const struct ctx *ctx, uint32_t i, const char *name, const char *kind,
	     const struct mac *mac, struct err *err);

#endif
