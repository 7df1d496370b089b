/* steer.h - programs that choose a frame's queue (TUNSETSTEERINGEBPF). Each is loaded into the
 * kernel; its fd, CLOEXEC, or -errno. */
#ifndef TAPNET_SYS_STEER_H
#define TAPNET_SYS_STEER_H

#include <stdbool.h>

#include "base/err.h"

/* All frames to one queue. */
int steer_queue(unsigned queue, struct err *err);
/* TCP, UDP and SCTP flows over IPv4 and IPv6 are spread by their addresses and ports, other IP by
 * its addresses; both directions of a flow give the same queue. All else goes to queue 0. */
int steer_hash(struct err *err);
/* A program of the user's, from an ELF object file: the first in a section "socket" or "socket/…",
 * or else the first. */
int steer_object(const char *path, struct err *err);
bool steer_has_objects(void); /* built with libbpf */

#endif
