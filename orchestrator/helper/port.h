/* port.h - a TAP that is a port of a bridge. */
#ifndef TAPNET_HELPER_PORT_H
#define TAPNET_HELPER_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Makes a TAP of one queue on a bridge of the calling thread's namespace, with the bridge's MTU, up,
 * in a group of links. It lives as long as its fd. fd or -errno: then there is no TAP. */
int port_make(const char *bridge, uint32_t group, bool vnet_hdr, int64_t deadline, struct err *err);

#endif
