/* helper.h - a TAP from a bridge helper: a program that makes one, and hands it on over a socket. */
#ifndef TAPNET_OP_HELPER_H
#define TAPNET_OP_HELPER_H

#include "op/program.h"

/* Runs a helper in the host's network namespace, as QEMU does: `--use-vnet` (with vnet_hdr),
 * `--fd=N` and `--br=BRIDGE` follow its own words. What it sends is placed at the number at_fd. It
 * has timeout_ms to send and to exit with 0. 0 or -errno: then nothing is left, no fd and no
 * process. While it runs, the step's mark says which one it is. */
int helper_get(struct ctx *ctx, uint32_t step, const struct program *helper, const char *bridge,
	       bool vnet_hdr, int at_fd, uint32_t timeout_ms, struct err *err);

#endif
