/* scm.h - fds over a socket: SCM_RIGHTS, sent and received with distrust.
 *
 * What a peer sends beside its bytes is taken whole or not at all: with each error all that came is
 * closed. Received fds are close-on-exec, and never 0, 1 or 2.
 */
#ifndef TAPNET_SYS_SCM_H
#define TAPNET_SYS_SCM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define SCM_FDS 2 /* at most, beside a message */

/* Sends a message of len bytes, 1 at least, and n_fds fds; never waits. 0 or -errno. */
int scm_send(int sock, const void *data, size_t len, const int *fds, int n_fds, struct err *err);

/* Receives one message: its bytes into data, its fds into fds (-1 where none came). Returns the
 * number of bytes, 0 at the peer's end, or -errno: -ETIMEDOUT past the deadline (of io_now_ms()),
 * -EMSGSIZE when there was more than was asked for, -EBADMSG for anything but fds beside it. */
ssize_t scm_recv(int sock, int64_t deadline, void *data, size_t size, int fds[SCM_FDS],
		 struct err *err);

/* The protocol of QEMU's bridge helper: one byte, and beside it exactly one fd. */
int scm_send_fd(int sock, int fd, struct err *err);
/* The fd, or -errno: -ENODATA when the peer closed its end without a word. */
int scm_recv_fd(int sock, int64_t deadline, struct err *err);

#endif
