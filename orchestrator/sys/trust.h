/* trust.h - may root execute this file? Who can write it, or put another in its place? */
#ifndef TAPNET_SYS_TRUST_H
#define TAPNET_SYS_TRUST_H

#include <limits.h>
#include <stdbool.h>
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
/* Can dir/path be executed at all: is it a regular file with leave to, a program, or a script whose
 * interpreter is there? judged: as trust_open() does, too. 0; -ENOENT when there is none, -EPERM as
 * above, or another -errno; err says what. Who could only know by executing it says 0. */
int trust_look(const char *dir, const char *path, bool judged, uid_t owner, struct err *err);
void trust_close(struct trusted *trusted);
#define autotrusted __attribute__((cleanup(trust_close)))

#endif
