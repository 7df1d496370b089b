/* mnt.h - mount namespaces. */
#ifndef TAPNET_SYS_MNT_H
#define TAPNET_SYS_MNT_H

#include <stdbool.h>

#include "base/err.h"

struct mnt {
	int base;	   /* the mount namespace that it is a copy of; -1: the caller's */
	const char *hosts; /* path of the file laid over /etc/hosts; NULL none */
	bool sys;	   /* its /sys shows the network namespace that the caller is in */
};

/* Makes a mount namespace that needs no process, and puts a reference to it at the fd number at (-1:
 * any). The caller's own mounts, root and working directory are as before. The fd, or -errno. */
int mnt_make(const struct mnt *mnt, int at, struct err *err);

/* ---- the parts, in a mount namespace of the caller's own; 0 or -errno; safe after a fork */

int mnt_private(void); /* nothing that is mounted from here on leaks out */
int mnt_sys(void);     /* /sys of the network namespace that the caller is in */
int mnt_proc(void);    /* /proc of its pid namespace */
int mnt_hosts(const char *hosts);

#endif
