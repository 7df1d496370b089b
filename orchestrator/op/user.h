/* user.h - users and groups of this host, by name or number. */
#ifndef TAPNET_OP_USER_H
#define TAPNET_OP_USER_H

#include <stdint.h>

#include "base/err.h"

/* The number of a user or group, -1 for NULL. 0, or -ENOENT with err saying who is unknown. */
int user_number(const char *name, int64_t *ret_uid, struct err *err);
int user_group_number(const char *name, int64_t *ret_gid, struct err *err);

/* "NAME" (with its login group) or "NAME:GROUP"; home is NULL of a number that has no name. What it
 * points at lasts until the next look-up. */
struct user {
	int64_t uid, gid;
	const char *name, *home;
};
int user_find(const char *text, struct user *ret_user, struct err *err);

#endif
