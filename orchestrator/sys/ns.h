/* ns.h - namespaces: make, enter, look at, and know when the kernel has let go of them. */
#ifndef TAPNET_SYS_NS_H
#define TAPNET_SYS_NS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Opens the calling thread's own namespace: "net", "mnt", "uts", "pid", "user". fd or -errno. */
int ns_self(const char *type, struct err *err);

/* Makes a network namespace, stays in it, and puts a reference to it at exactly the fd number
 * `at` (-1: any). When user.max_net_namespaces is used up it tries again, with a back-off, until
 * the deadline: the kernel gives namespaces back late. fd or -errno. */
int ns_make_net(int at, int64_t deadline, struct err *err);

/* Enters a namespace; the thread stays there. 0 or -errno. */
int ns_enter_net(int fd, struct err *err);

/* Which namespace it is. The inode tells it from all that exist; a dead one's is soon given to the
 * next, which the cookie (unique since boot; 0: not known) tells apart. */
struct ns_id {
	uint64_t inode, cookie;
};

/* Inode number of the namespace behind fd. 0 when it cannot be told. */
uint64_t ns_inode(int fd);
/* Cookie of the network namespace that the thread is in. 0 where the kernel has none (before 5.14). */
uint64_t ns_cookie(void);

/* Kills (SIGKILL) every process whose network namespace is one of the n (sorted by inode), our own
 * process excepted, and waits until they are gone or the deadline. An id without a cookie is for
 * namespaces that the caller holds. Returns how many were killed, or -errno (-ETIMEDOUT when some
 * remain). */
int ns_kill_inside(const struct ns_id *ids, int n, int64_t deadline, struct err *err);

/* Tells when the kernel has really let go of every namespace dropped between armed and go, or wait:
 * cleanup runs in order on one queue, so when a namespace dropped last is gone, all are. It is
 * watched by the quota of a user namespace of its own, held by a child process. Returns 0, or
 * -errno where that is not possible here (user namespaces switched off): then there is no waiting. */
struct ns_sensor {
	int pidfd, sock; /* of the child; our end of the wire to it */
	bool going;	 /* the last namespace is being dropped */
};
#define NS_SENSOR_NONE ((struct ns_sensor){ .pidfd = -1, .sock = -1 })
/* Call it outside of the namespaces that are to go: its child stays where the caller is. */
int ns_sensor_arm(struct ns_sensor *sensor, struct err *err);
/* Waits until it is armed, which may take the kernel as long as a step of a teardown. */
int ns_sensor_armed(struct ns_sensor *sensor, struct err *err);
/* All is dropped: it may begin, while the caller does something else. */
void ns_sensor_go(struct ns_sensor *sensor);
/* 0 when all is gone, -ETIMEDOUT past the deadline. The sensor is disarmed in either case. */
int ns_sensor_wait(struct ns_sensor *sensor, int64_t deadline, struct err *err);
void ns_sensor_drop(struct ns_sensor *sensor);

#endif
