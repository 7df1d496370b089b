/* service.h - the guest's TCP service: a little HTTP, and an echo for everything else. */
#ifndef TAPNET_GUEST_SERVICE_H
#define TAPNET_GUEST_SERVICE_H

#include <stdint.h>

#include "base/err.h"

/* With the stack's lock held. The name must stay valid. */
int service_listen(uint16_t port, const char *name, struct err *err);

#endif
