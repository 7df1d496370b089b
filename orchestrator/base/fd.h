/* fd.h - file descriptors and memory with one owner.
 *
 * -1 means none, never 0. A local that owns an fd is declared `autofd int fd = -1;`; ownership
 * leaves it by `take_fd(&fd)`.
 */
#ifndef TAPNET_BASE_FD_H
#define TAPNET_BASE_FD_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void fd_closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void mem_freep(void *p)
{
	free(*(void **)p);
}

static inline void file_closep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

#define autofd	 __attribute__((cleanup(fd_closep)))
#define autofree __attribute__((cleanup(mem_freep)))
#define autofile __attribute__((cleanup(file_closep)))

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#endif
