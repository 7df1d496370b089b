/* taps.h - the TAPs of a guest over its starts and ends: the fds are ours, only programs change.
 *
 * While no program reads, the cable is out (no carrier, so that peers know and nothing waits for
 * the next one), and the queues of a TAP with several are detached.
 */
#ifndef TAPNET_OP_TAPS_H
#define TAPNET_OP_TAPS_H

#include "op/op.h"

struct proc;

/* Before its first start: how devices that are another's are, which no plan says. 0 or -errno. */
int taps_note(struct ctx *ctx, struct proc *proc, struct err *err);
/* The program has ended. What cannot be done is told in err. 0 or -errno. */
int taps_rest(struct ctx *ctx, const struct op_proc *op, struct err *err);
/* Before its next start: everything that the last one may have set is as the plan has it. */
int taps_ready(struct ctx *ctx, const struct proc *proc, struct err *err);

#endif
