/* io.h - whole reads and writes, files, deadlines. */
#ifndef TAPNET_BASE_IO_H
#define TAPNET_BASE_IO_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t io_now_ms(void);

/* Milliseconds left until deadline (of io_now_ms()), from 0 to INT_MAX: poll(2)'s timeout. */
int io_left_ms(int64_t deadline);

/* A moment in which memory or fds may come back. */
void io_nap(void);

/* Waits until one fd is ready for events (POLLIN …), also when the kernel lacks memory for a while.
 * 1 ready, 0 past the deadline, or -errno. */
int io_wait(int fd, short events, int64_t deadline);

/* Writes all of data. 0 or -errno. */
int io_write_all(int fd, const void *data, size_t len);

/* Appends up to max bytes of a file, relative to dirfd, to buf. -EFBIG when it holds more;
 * symbolic links are followed. 0 or -errno. */
int io_read_file(int dirfd, const char *path, size_t max, struct strbuf *buf);

/* Writes a short text to an existing file (sysctls, uid_map). 0 or -errno. */
int io_write_file(int dirfd, const char *path, const char *text);

#endif
