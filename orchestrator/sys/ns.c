/* ns.c - namespaces: make, enter, look at, and know when the kernel has let go of them.
 *
 * Theory of the sensor. The kernel cleans up network namespaces on one queue, in order, and gives
 * their quota back at the very end. So a namespace that is let go last, and whose user namespace
 * has a quota of one, tells when all before it are gone: another can be made then.
 *
 *   arm:  waiter = a process in a new user namespace, quota 1
 *           └─ holder = its child in a new network namespace, with one netlink socket a CPU
 *   wait: "go" ─▶ the holder closes its sockets, each on its own CPU, and ends
 *         the waiter tries to make a network namespace until it can, and says "done"
 *
 * The sockets: a netlink socket lets go of its namespace only in an RCU callback, and callbacks
 * run in order on each CPU. The lab's were closed earlier on some CPU, so ours are behind them.
 * Both end by themselves when the caller is gone: the socket tells.
 */
#include "sys/ns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "sys/nlw.h"
#include "sys/pidfd.h"
#include "sys/place.h"
#include "sys/spawn.h"

#define NS_BACKOFF_MAX_US 20000
#define NS_KILL_ROUND	  256  /* processes killed before they are waited for */
#define SENSOR_CPUS	  1024 /* on a CPU beyond these an earlier socket may be closed later */
#define SENSOR_TRY_US	  200
#define SENSOR_ARM_MS	  5000
#define SENSOR_END_MS	  1000
#define SENSOR_FAILED	  "cannot watch the kernel let go of namespaces"

static void sleep_us(long us)
{
	struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	(void)nanosleep(&t, NULL);
}

int ns_self(const char *type, struct err *err)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof path, "/proc/thread-self/ns/%s", type);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, -errno, "cannot open %s", path) : fd;
}

int ns_make_net(int at, int64_t deadline, struct err *err)
{
	autofd int fd = -1;
	long pause_us = 500;
	int r;

	while (unshare(CLONE_NEWNET) < 0) {
		r = -errno;
		if (r == -ENOSPC && io_left_ms(deadline) > 0) {
			sleep_us(pause_us);
			pause_us =
				pause_us * 2 > NS_BACKOFF_MAX_US ? NS_BACKOFF_MAX_US : pause_us * 2;
			continue;
		}
		if (r == -ENOSPC)
			return err_set(
				err, r,
				"no network namespace is left: raise user.max_net_namespaces "
				"(sysctl -w), or take other labs down");
		err_sys(err, r, "cannot make a network namespace");
		if (r == -EPERM || r == -EINVAL)
			err->status = EXIT_UNABLE;
		return r;
	}
	fd = ns_self("net", err);
	if (fd < 0)
		return fd;
	r = fd_place(&fd, at);
	return r < 0 ? err_sys(err, r, "cannot put a namespace at fd %d", at) : r;
}

int ns_enter_net(int fd, struct err *err)
{
	if (setns(fd, CLONE_NEWNET) < 0)
		return err_sys(err, -errno, "cannot enter the network namespace at fd %d", fd);
	return 0;
}

uint64_t ns_inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

uint64_t ns_cookie(void)
{
	autofd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t len = sizeof cookie;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return 0;
	return cookie;
}

/* ---- processes inside */

struct ns_hunt {
	const struct ns_id *ids;
	size_t n;
	int self;		   /* the namespace that we are in */
	int proc;		   /* /proc */
	int pidfds[NS_KILL_ROUND]; /* killed in this round, not waited for yet */
	int n_pidfds, killed;
};

static int by_inode(const void *a, const void *b)
{
	const struct ns_id *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* Looks at the cookie from inside, and comes back. */
static bool hunt_has_cookie(const struct ns_hunt *hunt, const char *path, uint64_t cookie)
{
	autofd int fd = openat(hunt->proc, path, O_RDONLY | O_CLOEXEC);
	bool same;

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return false;
	same = ns_cookie() == cookie;
	(void)setns(hunt->self, CLONE_NEWNET);
	return same;
}

static bool hunt_is_inside(const struct ns_hunt *hunt, pid_t pid)
{
	char path[32];
	struct stat st;
	struct ns_id key;
	const struct ns_id *id;

	(void)snprintf(path, sizeof path, "%d/ns/net", pid);
	if (fstatat(hunt->proc, path, &st, 0) < 0)
		return false; /* gone, a zombie, or not ours to look at */
	key = (struct ns_id){ .inode = st.st_ino };
	id = bsearch(&key, hunt->ids, hunt->n, sizeof key, by_inode);
	return id && (!id->cookie || hunt_has_cookie(hunt, path, id->cookie));
}

/* The pid may have been given to another process since it was seen: looked at again through a
 * pidfd, which does not change its mind. */
static int hunt_kill(struct ns_hunt *hunt, pid_t pid)
{
	autofd int pidfd = pidfd_of(pid);
	int r;

	if (pidfd < 0)
		return pidfd == -ESRCH ? 0 : pidfd;
	if (!hunt_is_inside(hunt, pid))
		return 0;
	r = pidfd_signal(pidfd, SIGKILL);
	if (r < 0)
		return r == -ESRCH ? 0 : r;
	hunt->killed++;
	hunt->pidfds[hunt->n_pidfds++] = take_fd(&pidfd);
	return 0;
}

/* Kills up to NS_KILL_ROUND of those inside. 0 or -errno. */
static int hunt_scan(struct ns_hunt *hunt)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return -errno;
	hunt->proc = dirfd(dir);
	while (r == 0 && hunt->n_pidfds < NS_KILL_ROUND && (errno = 0, (entry = readdir(dir)))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 0 && pid != getpid() && hunt_is_inside(hunt, pid))
			r = hunt_kill(hunt, pid);
		errno = 0;
	}
	if (r == 0) /* 0 at the end, unless it could not be read */
		r = -errno;
	(void)closedir(dir);
	return r;
}

static int hunt_wait(struct ns_hunt *hunt, int64_t deadline)
{
	int r = 0;

	while (hunt->n_pidfds) {
		int pidfd = hunt->pidfds[--hunt->n_pidfds];

		if (r == 0 && io_wait(pidfd, POLLIN, deadline) == 0)
			r = -ETIMEDOUT;
		(void)close(pidfd);
	}
	return r;
}

int ns_kill_inside(const struct ns_id *ids, int n, int64_t deadline, struct err *err)
{
	autofd int self = n > 0 ? ns_self("net", err) : -1;
	struct ns_hunt hunt = { .ids = ids, .n = (size_t)n, .self = self };
	int before, r, waited;

	if (n <= 0)
		return 0;
	if (self < 0)
		return self;
	do { /* again until none was found: one may have forked meanwhile */
		before = hunt.killed;
		r = hunt_scan(&hunt);
		waited = hunt_wait(&hunt, deadline);
		if (r < 0)
			return err_sys(err, r, "cannot kill what is left in the lab's namespaces");
		if (waited < 0)
			return err_set(err, waited, "processes in the lab's namespaces do not die");
	} while (hunt.killed > before);
	return hunt.killed;
}

/* ---- sensor: in the children, which share one end of a socket pair */

static void sensor_tell(int sock, int code)
{
	(void)send(sock, &code, sizeof code, MSG_NOSIGNAL);
}

static int sensor_holder(void *arg)
{
	int sock = *(const int *)arg, sockets[SENSOR_CPUS];
	long n = sysconf(_SC_NPROCESSORS_CONF), cpus = n < 1		 ? 1
						       : n > SENSOR_CPUS ? SENSOR_CPUS
									 : n;
	struct err err;
	cpu_set_t one;
	int code = 0;
	char go;

	for (long cpu = 0; cpu < cpus; cpu++) {
		sockets[cpu] = nlw_open(&err);
		if (sockets[cpu] < 0)
			code = sockets[cpu];
	}
	sensor_tell(sock, code);
	while (recv(sock, &go, 1, 0) < 0 && errno == EINTR)
		;
	for (long cpu = 0; cpu < cpus; cpu++) {
		CPU_ZERO(&one);
		CPU_SET((size_t)cpu, &one);
		(void)sched_setaffinity(0, sizeof one, &one); /* offline: closed wherever we are */
		(void)close(sockets[cpu]);
	}
	return 0;
}

/* True when the caller is gone. */
static bool sensor_alone(int sock)
{
	struct pollfd p = { .fd = sock };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

static int sensor_waiter(void *arg)
{
	int sock = *(const int *)arg, r;
	struct spawned holder = SPAWNED_NONE;
	siginfo_t info;
	struct err err;

	r = io_write_file(AT_FDCWD, "/proc/sys/user/max_net_namespaces", "1");
	if (r == 0)
		r = spawn_fork(CLONE_NEWNET, &sock, 1, sensor_holder, &sock, &holder, &err);
	if (r < 0) {
		sensor_tell(sock, r);
		return 1;
	}
	while (waitid(P_PIDFD, (id_t)holder.pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
	while (unshare(CLONE_NEWNET) < 0) {
		if (errno != ENOSPC || sensor_alone(sock))
			return 1;
		sleep_us(SENSOR_TRY_US);
	}
	sensor_tell(sock, 0);
	return 0;
}

/* ---- sensor: in the caller */

/* One word from the children: 0, or the -errno of what failed there. */
static int sensor_hear(const struct ns_sensor *sensor, int64_t deadline)
{
	int code, r = io_wait(sensor->sock, POLLIN, deadline);

	if (r <= 0)
		return r < 0 ? r : -ETIMEDOUT;
	return recv(sensor->sock, &code, sizeof code, 0) == sizeof code ? code : -ECHILD;
}

int ns_sensor_arm(struct ns_sensor *sensor, struct err *err)
{
	autofd int theirs = -1;
	struct spawned waiter;
	int pair[2], r;

	*sensor = NS_SENSOR_NONE;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, -errno, SENSOR_FAILED);
	sensor->sock = pair[0];
	theirs = pair[1];
	r = spawn_fork(CLONE_NEWUSER, &theirs, 1, sensor_waiter, &theirs, &waiter, err);
	if (r < 0) {
		ns_sensor_drop(sensor);
		return err_wrap(err, SENSOR_FAILED);
	}
	sensor->pidfd = waiter.pidfd; /* and theirs is theirs alone: its end is their end */
	return 0;
}

int ns_sensor_armed(struct ns_sensor *sensor, struct err *err)
{
	int r;

	if (sensor->sock < 0)
		return err_set(err, -EINVAL, SENSOR_FAILED ": it is not armed");
	r = sensor_hear(sensor, io_now_ms() + SENSOR_ARM_MS);
	if (r < 0)
		ns_sensor_drop(sensor);
	return r < 0 ? err_sys(err, r, SENSOR_FAILED) : 0;
}

void ns_sensor_go(struct ns_sensor *sensor)
{
	if (sensor->sock >= 0 && !sensor->going)
		sensor->going = send(sensor->sock, "g", 1, MSG_NOSIGNAL) == 1;
}

int ns_sensor_wait(struct ns_sensor *sensor, int64_t deadline, struct err *err)
{
	int r;

	if (sensor->sock < 0)
		return err_set(err, -EINVAL, SENSOR_FAILED ": it is not armed");
	ns_sensor_go(sensor);
	r = sensor->going ? sensor_hear(sensor, deadline) : -ECHILD;
	ns_sensor_drop(sensor);
	if (r == -ETIMEDOUT)
		return err_set(err, r, "the kernel still holds namespaces of the lab");
	return r < 0 ? err_sys(err, r, SENSOR_FAILED) : 0;
}

void ns_sensor_drop(struct ns_sensor *sensor)
{
	int status;

	fd_closep(&sensor->sock); /* both children end at that */
	if (sensor->pidfd >= 0 &&
	    spawn_wait(sensor->pidfd, io_now_ms() + SENSOR_END_MS, &status) == 0) {
		(void)pidfd_signal(sensor->pidfd, SIGKILL);
		(void)spawn_wait(sensor->pidfd, io_now_ms() + SENSOR_END_MS, &status);
	}
	fd_closep(&sensor->pidfd);
}
