/* wrap.c - makes one call fail, in the build for tests only (meson -Dfaults=true).
 *
 * The linker gives us every call of tapnet-lab's own that can fail (--wrap, see
 * orchestrator/meson.build). The file that TAPNET_FAIL names is shared by all processes of a lab until they execute
 * something else. In it the test says which call fails, and how; we tell what was called from where:
 * a call site is a return address and that of the caller, so a helper has a site for each of its
 * users. Nothing here allocates or locks: a child between clone and execve calls it as well.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wframe-address" /* our own code keeps its frame pointers */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wredundant-decls"

#define SITES 8192u /* a power of two, far above what there is */
#define SHORT (-1)  /* not an errno: the call does half of what it was asked for */

struct site {		/* faultcalls.py knows this layout */
	uint64_t where; /* 0: free; the offsets in the program: caller << 32 | its caller */
	uint32_t calls;
	uint32_t after; /* the first fault */
	uint32_t done;	/* the name is written */
	char name[44];
	int64_t sub; /* which system call, which command of fcntl() */
};

struct table {
	uint64_t calls;	   /* of all */
	uint64_t nth;	   /* this call fails, from 1; 0: none */
	uint64_t where;	   /* or those of this site: */
	uint32_t from, to; /* from its from-th call to its to-th */
	int32_t how;	   /* an errno, or SHORT */
	uint32_t fired;
	uint64_t fired_where; /* the site that failed first */
	uint64_t then;	      /* this site's first call after that fails as well */
	int32_t then_how;
	uint32_t then_fired;
	struct site sites[SITES];
};

extern const char __executable_start[];
static struct table *table;

int __real_open64(const char *path, int flags, ...);
void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset);

__attribute__((constructor)) static void wrap_init(void)
{
	const char *path = getenv("TAPNET_FAIL");
	int fd = path ? __real_open64(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;
	p = __real_mmap64(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (p != MAP_FAILED)
		table = p;
}

static struct site *site_of(uint64_t where, const char *name, int64_t sub)
{
	uint64_t h = (where ^ (uint64_t)sub) * UINT64_C(0x9e3779b97f4a7c15) >> 40;

	for (unsigned i = 0; i < SITES; i++) {
		struct site *site = &table->sites[(h + i) % SITES];
		uint64_t none = 0;

		if (__atomic_compare_exchange_n(&site->where, &none, where, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST)) {
			for (size_t k = 0; name[k] && k < sizeof site->name - 1; k++)
				site->name[k] = name[k];
			site->sub = sub;
			__atomic_store_n(&site->done, 1, __ATOMIC_RELEASE);
			return site;
		}
		if (none == where && site->sub == sub)
			return site;
	}
	return NULL;
}

static int failed(int how)
{
	if (how > 0)
		errno = how;
	return how;
}

/* 0, or how the call fails: its errno, which is set, or SHORT. */
static int fails(const char *name, int64_t sub, uintptr_t caller, uintptr_t above)
{
	uintptr_t base = (uintptr_t)__executable_start;
	uint64_t where = (uint64_t)(uint32_t)(caller - base) << 32 | (uint32_t)(above - base);
	struct site *site;
	uint64_t n;
	uint32_t k;

	if (!table)
		return 0;
	site = site_of(where, name, sub);
	n = __atomic_add_fetch(&table->calls, 1, __ATOMIC_SEQ_CST);
	k = site ? __atomic_add_fetch(&site->calls, 1, __ATOMIC_SEQ_CST) : 0;
	if (table->nth ? n == table->nth
		       : where == table->where && k >= table->from && k <= table->to) {
		if (__atomic_fetch_add(&table->fired, 1, __ATOMIC_SEQ_CST) == 0)
			table->fired_where = where;
		return failed(table->how);
	}
	if (!table->fired || !site || __atomic_fetch_add(&site->after, 1, __ATOMIC_SEQ_CST) ||
	    where != table->then)
		return 0;
	__atomic_fetch_add(&table->then_fired, 1, __ATOMIC_SEQ_CST);
	return failed(table->then_how);
}

#define HERE (uintptr_t) __builtin_return_address(0), (uintptr_t)__builtin_return_address(1)

#define WRAP(type, name, bad, params, args)                                                        \
	type __real_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		return fails(#name, 0, HERE) ? (type)(bad) : __real_##name args;                   \
	}

/* read() and its like: half of it, or nothing. */
#define WRAP_SHORT(type, name, len, params, args)                                                  \
	type __real_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		int how = fails(#name, 0, HERE);                                                   \
                                                                                                   \
		if (how > 0)                                                                       \
			return -1;                                                                 \
		if (how == SHORT && (len) > 1)                                                     \
			(len) /= 2;                                                                \
		return __real_##name args;                                                         \
	}

/* ---- memory */

WRAP(void *, malloc, NULL, (size_t n), (n))
WRAP(void *, calloc, NULL, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, NULL, (void *p, size_t n), (p, n))
WRAP(void *, reallocarray, NULL, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strdup, NULL, (const char *s), (s))
WRAP(char *, strndup, NULL, (const char *s, size_t n), (s, n))
WRAP(int, vasprintf, -1, (char **ret, const char *fmt, va_list ap), (ret, fmt, ap))
WRAP(void *, mmap64, MAP_FAILED, (void *at, size_t len, int prot, int flags, int fd, off_t offset),
     (at, len, prot, flags, fd, offset))

/* ---- files */

#define WRAP_OPEN(type, name, params, args)                                                        \
	type __real_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		mode_t mode = 0;                                                                   \
		va_list ap;                                                                        \
                                                                                                   \
		va_start(ap, flags);                                                               \
		if (flags & O_CREAT)                                                               \
			mode = va_arg(ap, mode_t);                                                 \
		va_end(ap);                                                                        \
		return fails(#name, 0, HERE) ? -1 : __real_##name args;                            \
	}

WRAP_OPEN(int, open64, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(int, openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))
WRAP(FILE *, fopen64, NULL, (const char *path, const char *mode), (path, mode))
WRAP(DIR *, opendir, NULL, (const char *path), (path))
WRAP(DIR *, fdopendir, NULL, (int fd), (fd))
WRAP_SHORT(ssize_t, read, n, (int fd, void *to, size_t n), (fd, to, n))
WRAP_SHORT(ssize_t, write, n, (int fd, const void *from, size_t n), (fd, from, n))
WRAP_SHORT(ssize_t, pread64, n, (int fd, void *to, size_t n, off_t offset), (fd, to, n, offset))
WRAP_SHORT(ssize_t, copy_file_range, n,
	   (int fd, off_t *at, int to, off_t *to_at, size_t n, unsigned flags),
	   (fd, at, to, to_at, n, flags))
WRAP(int, posix_fallocate64, errno, (int fd, off_t at, off_t len), (fd, at, len))
WRAP(int, fchown, -1, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
WRAP(int, ftruncate64, -1, (int fd, off_t len), (fd, len))
WRAP(int, fstat64, -1, (int fd, struct stat *st), (fd, st))
WRAP(int, stat64, -1, (const char *path, struct stat *st), (path, st))
WRAP(int, fstatat64, -1, (int at, const char *path, struct stat *st, int flags),
     (at, path, st, flags))
WRAP(int, access, -1, (const char *path, int mode), (path, mode))
WRAP(int, faccessat, -1, (int at, const char *path, int mode, int flags), (at, path, mode, flags))
WRAP(ssize_t, readlink, -1, (const char *path, char *to, size_t n), (path, to, n))
WRAP(ssize_t, readlinkat, -1, (int at, const char *path, char *to, size_t n), (at, path, to, n))
WRAP(char *, realpath, NULL, (const char *path, char *to), (path, to))
WRAP(char *, getcwd, NULL, (char *to, size_t n), (to, n))
WRAP(int, chdir, -1, (const char *path), (path))
WRAP(int, mkdir, -1, (const char *path, mode_t mode), (path, mode))
WRAP(int, mkdirat, -1, (int at, const char *path, mode_t mode), (at, path, mode))
WRAP(int, unlinkat, -1, (int at, const char *path, int flags), (at, path, flags))
WRAP(int, renameat, -1, (int at, const char *path, int to, const char *name), (at, path, to, name))
WRAP(int, mount, -1,
     (const char *from, const char *at, const char *type, unsigned long flags, const void *data),
     (from, at, type, flags, data))

/* ---- fds, sockets, events */

int __real_fcntl64(int fd, int command, long arg);
int __wrap_fcntl64(int fd, int command, long arg)
{
	return fails("fcntl64", command, HERE) ? -1 : __real_fcntl64(fd, command, arg);
}

int __real_ioctl(int fd, unsigned long request, long arg);
int __wrap_ioctl(int fd, unsigned long request, long arg)
{
	return fails("ioctl", (int64_t)request, HERE) ? -1 : __real_ioctl(fd, request, arg);
}

WRAP(int, dup2, -1, (int fd, int to), (fd, to))
WRAP(int, dup3, -1, (int fd, int to, int flags), (fd, to, flags))
WRAP(int, pipe2, -1, (int *fds, int flags), (fds, flags))
WRAP(int, close_range, -1, (unsigned from, unsigned to, int flags), (from, to, flags))
WRAP(int, socket, -1, (int family, int type, int protocol), (family, type, protocol))
WRAP(int, socketpair, -1, (int family, int type, int protocol, int *fds),
     (family, type, protocol, fds))
WRAP(int, bind, -1, (int fd, const struct sockaddr *at, socklen_t n), (fd, at, n))
WRAP(int, listen, -1, (int fd, int n), (fd, n))
WRAP(int, connect, -1, (int fd, const struct sockaddr *to, socklen_t n), (fd, to, n))
WRAP(int, accept4, -1, (int fd, struct sockaddr *from, socklen_t *n, int flags),
     (fd, from, n, flags))
WRAP(int, setsockopt, -1, (int fd, int level, int name, const void *value, socklen_t n),
     (fd, level, name, value, n))
WRAP(int, getsockopt, -1, (int fd, int level, int name, void *value, socklen_t *n),
     (fd, level, name, value, n))
WRAP(ssize_t, send, -1, (int fd, const void *from, size_t n, int flags), (fd, from, n, flags))
WRAP(ssize_t, sendto, -1,
     (int fd, const void *from, size_t n, int flags, const struct sockaddr *to, socklen_t len),
     (fd, from, n, flags, to, len))
WRAP(ssize_t, sendmsg, -1, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags))
WRAP(ssize_t, recv, -1, (int fd, void *to, size_t n, int flags), (fd, to, n, flags))
WRAP(ssize_t, recvmsg, -1, (int fd, struct msghdr *msg, int flags), (fd, msg, flags))
WRAP(int, poll, -1, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms))
WRAP(int, epoll_create1, -1, (int flags), (flags))
WRAP(int, epoll_ctl, -1, (int epoll, int op, int fd, struct epoll_event *event),
     (epoll, op, fd, event))
WRAP(int, epoll_wait, -1, (int epoll, struct epoll_event *events, int n, int ms),
     (epoll, events, n, ms))
WRAP(int, signalfd, -1, (int fd, const sigset_t *set, int flags), (fd, set, flags))
WRAP(int, inotify_init1, -1, (int flags), (flags))
WRAP(int, inotify_add_watch, -1, (int fd, const char *path, uint32_t mask), (fd, path, mask))

/* ---- processes and namespaces */

struct group;
struct passwd;

/* Whatever it takes: unused arguments are garbage to the kernel, as they are without us. */
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	return fails("syscall", number, HERE) ? -1 : __real_syscall(number, a, b, c, d, e, f);
}

WRAP(int, setns, -1, (int fd, int type), (fd, type))
WRAP(int, unshare, -1, (int flags), (flags))
WRAP(int, sethostname, -1, (const char *name, size_t n), (name, n))
WRAP(int, setpgid, -1, (pid_t pid, pid_t group), (pid, group))
WRAP(struct passwd *, getpwnam, NULL, (const char *name), (name))
WRAP(struct group *, getgrnam, NULL, (const char *name), (name))
WRAP(int, execve, -1, (const char *path, char *const *argv, char *const *env), (path, argv, env))
WRAP(int, waitid, -1, (idtype_t type, id_t id, siginfo_t *info, int flags), (type, id, info, flags))
WRAP(pid_t, waitpid, -1, (pid_t pid, int *status, int flags), (pid, status, flags))
WRAP(int, setgroups, -1, (size_t n, const gid_t *groups), (n, groups))
WRAP(int, setresgid, -1, (gid_t r, gid_t e, gid_t s), (r, e, s))
WRAP(int, setresuid, -1, (uid_t r, uid_t e, uid_t s), (r, e, s))
WRAP(int, nanosleep, -1, (const struct timespec *time, struct timespec *left), (time, left))
WRAP(int, tcsetattr, -1, (int fd, int how, const void *to), (fd, how, to))
WRAP(int, tcgetattr, -1, (int fd, void *to), (fd, to))

/* ---- libraries, which allocate with calls of their own */

#define NLE_NOMEM 5

struct nl_sock;
struct nl_msg;
struct json_object;
struct json_tokener;
struct yaml_parser;
WRAP(struct nl_sock *, nl_socket_alloc, NULL, (void), ())
WRAP(int, nl_connect, -NLE_NOMEM, (struct nl_sock * nl, int protocol), (nl, protocol))
WRAP(int, nl_send_auto, -NLE_NOMEM, (struct nl_sock * nl, struct nl_msg *msg), (nl, msg))
WRAP(int, nl_recvmsgs_default, -NLE_NOMEM, (struct nl_sock * nl), (nl))
WRAP(struct nl_msg *, nlmsg_alloc_simple, NULL, (int type, int flags), (type, flags))
WRAP(int, nlmsg_append, -NLE_NOMEM, (struct nl_msg * msg, void *data, size_t n, int pad),
     (msg, data, n, pad))
WRAP(struct json_object *, json_object_new_object, NULL, (void), ())
WRAP(struct json_object *, json_object_new_array, NULL, (void), ())
WRAP(struct json_object *, json_object_new_string, NULL, (const char *s), (s))
WRAP(struct json_object *, json_object_new_boolean, NULL, (int b), (b))
WRAP(struct json_object *, json_object_new_int, NULL, (int32_t n), (n))
WRAP(struct json_object *, json_object_new_int64, NULL, (int64_t n), (n))
WRAP(int, json_object_object_add, -1,
     (struct json_object * o, const char *key, struct json_object *value), (o, key, value))
WRAP(int, json_object_array_add, -1, (struct json_object * o, struct json_object *value),
     (o, value))
WRAP(const char *, json_object_to_json_string_ext, NULL, (struct json_object * o, int flags),
     (o, flags))
WRAP(struct json_object *, json_tokener_parse, NULL, (const char *s), (s))
WRAP(struct json_tokener *, json_tokener_new_ex, NULL, (int depth), (depth))
WRAP(int, nla_put_u32, -NLE_NOMEM, (struct nl_msg * msg, int type, uint32_t n), (msg, type, n))
WRAP(int, nla_put_string, -NLE_NOMEM, (struct nl_msg * msg, int type, const char *s),
     (msg, type, s))
WRAP(int, yaml_parser_initialize, 0, (struct yaml_parser * parser), (parser))
WRAP(int, regcomp, REG_ESPACE, (regex_t * re, const char *text, int flags), (re, text, flags))
