/* trust.h - may root execute this file? Who can write it, or put another in its place? */
#ifndef TAPNET_SYS_TRUST_H
#define TAPNET_SYS_TRUST_H

#include <limits.h>
#include <sys/types.h>

#include "base/err.h"
#include "sys/spawn.h"

struct trusted {
	struct spawn_file file;
	char path[PATH_MAX]; /* without symbolic links; relative to the folder if it was given so */
};
#define TRUSTED_NONE ((struct trusted){ .file = { .fd = -1 } })

/* Opens a program that dir/path names, once, and judges the open file: regular, root's or owner's,
 * not writable by others. So are all folders on the way to it (in one with the sticky bit others
 * cannot replace it), so that the name of a script means this file yet when its interpreter opens
 * it. 0; -EPERM with err saying who could write what; -errno when it cannot be opened. */
int trust_open(const char *dir, const char *path, uid_t owner, struct trusted *ret,
	       struct err *err);
void trust_close(struct trusted *trusted);
#define autotrusted __attribute__((cleanup(trust_close)))

#endif
