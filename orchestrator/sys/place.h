/* place.h - an fd put at the number that the plan gave it. For sys/ alone. */
#ifndef TAPNET_SYS_PLACE_H
#define TAPNET_SYS_PLACE_H

#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"

/* Moves *fd to the number at (-1: leaves it), CLOEXEC, and gives up *fd. The fd or -errno; what
 * had the number before is closed, as the plan gives each number once. */
static inline int fd_place(int *fd, int at)
{
	if (at < 0 || *fd == at)
		return take_fd(fd);
	if (dup3(*fd, at, O_CLOEXEC) < 0)
		return -errno;
	fd_closep(fd);
	return at;
}

#endif
