/* pidfd.h - a process by a reference that no other can take over.
 *
 * By system call, and in place of glibc's header of the same name, which has them from 2.36 on.
 */
#ifndef TAPNET_SYS_PIDFD_H
#define TAPNET_SYS_PIDFD_H

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The pidfd of a process, CLOEXEC; -ESRCH when there is none. */
static inline int pidfd_of(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

/* Sends a signal to the process behind a pidfd. 0 or -errno (-ESRCH: it is gone). */
static inline int pidfd_signal(int pidfd, int sig)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}

#endif
