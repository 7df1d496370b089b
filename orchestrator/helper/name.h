/* name.h - which bridge is meant: `br0` is one of the host's, `class/lan` one of the lab class. */
#ifndef TAPNET_HELPER_NAME_H
#define TAPNET_HELPER_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define NAME_LAB    33 /* with its NUL */
#define NAME_BRIDGE 16

struct name {
	char lab[NAME_LAB];	  /* "": the host */
	char bridge[NAME_BRIDGE]; /* of a pattern also "*" */
};

/* Takes names whole or not at all. A pattern may also be `all`, whose lab and bridge are "*", or
 * have * for a lab's bridge. 0 or -EINVAL. */
int name_parse(const char *text, bool pattern, struct name *ret_name, struct err *err);
bool name_matches(const struct name *pattern, const struct name *name);

#endif
