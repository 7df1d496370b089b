/* spawn.c - the only place that executes programs.
 *
 * Theory of operation. A child walks the table child_steps[] from top to bottom; a step that fails is
 * named, with its errno, on a CLOEXEC pipe whose end without words means "executed". It shares the
 * caller's memory until then (clone.c), so it may read all of it, writes to its own struct child
 * only, and allocates nothing. One that changes its user is a copy, as the kernel marks the memory of
 * who does that; and so is one on the way down, where nobody watches over who stands still for it.
 *
 * The pid namespace of a cell can only be entered for one's next child, and a caller without rights on its
 * own, as in a user namespace, could not leave it again. For that one a helper enters it, and makes
 * the program with CLONE_PARENT: as the caller's own child, with a pidfd and an exit status at first
 * hand. The helper shares the caller's fds, which is how the pidfd gets there, and is gone before
 * spawn_start() returns. The other namespaces are entered by the child.
 *
 * Fds: first all are marked close-on-exec in one call, then those to be given are copied to their
 * numbers, in order, without the mark. A source that a number up to its own would hit is lifted above
 * all of them before. So no order of sources and targets collides, nothing unplanned survives, and the
 * cost does not grow with the fds that are open.
 */
#include "sys/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "sys/child.h"
#include "sys/mnt.h"
#include "sys/pidfd.h"

#define SPAWN_PATH    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define HEAR_TRIES    100   /* a millisecond each, while there is no memory */
#define SPAWN_REAP_MS 2000  /* a child that reported its failure ends at once */
#define SPAWN_EXEC_MS 10000 /* a program is executed well within this */
#define SPAWN_FAILED  127
#define FORK_FLAGS                                                                                 \
	((uint64_t)(CLONE_FILES | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |      \
		    CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP))

struct child {
	const struct spawn *spawn;
	struct spawn_fd *fds; /* 0, 1, 2 and those of spawn; from -1: /dev/null */
	int n_fds;
	int report, parent; /* parent: its pidfd, -1 when it may die */
	int file;	    /* of spawn->file, -1 none */
	uint64_t start_time;
};

/* ---- clone and report */

int child_pipe(int *ret_read, int *ret_write, struct err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot make a pipe");
	*ret_read = ends[0];
	*ret_write = ends[1];
	return 0;
}

int child_hear(int report, int64_t deadline, struct child_report *ret_report)
{
	int r = io_wait(report, POLLIN, deadline), tries = HEAR_TRIES;
	ssize_t n;

	if (r <= 0)
		return r < 0 ? r : -ETIMEDOUT;
	do { /* asked again: who does not know takes a program that runs for one that failed */
		n = read(report, ret_report, sizeof *ret_report);
	} while (n < 0 && (errno == EINTR || (errno == ENOMEM && --tries && !poll(NULL, 0, 1))));
	if (n < 0)
		return -errno;
	return n == sizeof *ret_report;
}

static const char *child_step_words(int32_t step)
{
	static const char *const words[] = {
		[CHILD_MARK] = "could not read its start time",
		[CHILD_SESSION] = "could not make its session or terminal",
		[CHILD_NULL] = "could not open /dev/null",
		[CHILD_CELL] = "could not join its node",
		[CHILD_NETNS] = "could not enter its network namespace",
		[CHILD_MNTNS] = "could not enter its mount namespace",
		[CHILD_HOSTNAME] = "could not set its hostname",
		[CHILD_SYS] = "could not mount its /sys",
		[CHILD_PROC] = "could not mount its /proc",
		[CHILD_HOSTS] = "could not lay its hosts file over /etc/hosts",
		[CHILD_FDS] = "could not set up its fds",
		[CHILD_RIGHTS] = "could not change to its user",
		[CHILD_CWD] = "could not enter its working directory",
		[CHILD_PARENT] = "its parent is gone",
		[CHILD_EXEC] = "could not start",
		[CHILD_INTERPRETER] = "could not start: the interpreter that its first line names",
	};

	return step >= 0 && (size_t)step < COUNT(words) ? words[step] : "failed";
}

int child_failed(struct spawned *spawned, const struct child_report *report, struct err *err)
{
	int status;

	(void)spawn_wait(spawned->pidfd, io_now_ms() + SPAWN_REAP_MS, &status);
	fd_closep(&spawned->pidfd);
	fd_closep(&spawned->report);
	*spawned = SPAWNED_NONE;
	spawned->unexecuted = report->step == CHILD_EXEC || report->step == CHILD_INTERPRETER;
	if (report->step == CHILD_EXEC && report->code == -ENOEXEC)
		return err_set(err, -ENOEXEC,
			       "%s: %s (a script begins with #! and its interpreter)",
			       child_step_words(CHILD_EXEC), strerror(ENOEXEC));
	return err_sys(err, report->code, "%s", child_step_words(report->step));
}

/* ---- in the child */

#ifdef TAPNET_COVERAGE
extern void __gcov_dump(void); /* a child's counts are written by nobody else */

/* Before execve, which may fail and be tried again, a copy of the child writes them and ends. */
static void child_counts(void)
{
	int pidfd, status;
	pid_t pid = child_clone(0, -1, NULL, &pidfd);

	if (pid == 0)
		child_exit(0);
	if (pid < 0)
		return;
	(void)spawn_wait(pidfd, io_now_ms() + SPAWN_EXEC_MS, &status);
	(void)close(pidfd);
}
#else
static inline void __gcov_dump(void)
{
}

static inline void child_counts(void)
{
}
#endif

void child_exit(int status)
{
	__gcov_dump();
	_exit(status);
}

void child_fail(int report, enum child_step step, int code)
{
	struct child_report words = { .step = (int32_t)step, .code = code };

	(void)io_write_all(report, &words, sizeof words);
	child_exit(SPAWN_FAILED);
}

/* By the system call itself: glibc refuses the two signals that it keeps for threads, and a
 * program must not inherit those ignored either. All zero is SIG_DFL on every architecture. */
void child_signals(void)
{
	static const unsigned long dfl[32];

	for (int sig = 1; sig < _NSIG; sig++)
		(void)syscall(SYS_rt_sigaction, sig, dfl, NULL, (size_t)_NSIG / 8);
}

void child_close(const int *keep, int n)
{
	unsigned from = 3;

	for (int i = 0; i < n; i++) {
		if (keep[i] < (int)from)
			continue;
		if (keep[i] > (int)from)
			(void)close_range(from, (unsigned)keep[i] - 1, 0);
		from = (unsigned)keep[i] + 1;
	}
	(void)close_range(from, ~0u, 0);
}

void child_mark(struct spawn_mark *mark, uint64_t start_time)
{
	if (!mark)
		return;
	mark->start_time = start_time;
	__atomic_store_n(&mark->pid, mark->born, __ATOMIC_RELEASE);
}

/* A background group may take the terminal while it blocks SIGTTOU. */
static int group_front(int terminal)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTTOU);
	(void)sigprocmask(SIG_BLOCK, &set, NULL); /* until all are unblocked, before the execve */
	return setpgid(0, 0) < 0 || tcsetpgrp(terminal, getpid()) < 0 ? -errno : 0;
}

/* In the foreground the session is the caller's, and so is its terminal. */
static int step_session(struct child *child)
{
	const struct spawn *spawn = child->spawn;

	if (spawn->foreground)
		return spawn->own_group ? group_front(spawn->in) : 0;
	if (setsid() < 0)
		return -errno;
	return spawn->tty >= 0 && ioctl(spawn->tty, TIOCSCTTY, 0) < 0 ? -errno : 0;
}

static int step_null(struct child *child)
{
	int null = -1;

	for (int i = 0; i < child->n_fds; i++) {
		if (child->fds[i].from >= 0)
			continue;
		if (null < 0)
			null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null < 0)
			return -errno;
		child->fds[i].from = null;
	}
	return 0;
}

static int step_cell(struct child *child)
{
	int cell = child->spawn->cell;

	return cell >= 0 && setns(cell, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET) < 0 ? -errno : 0;
}

static int step_netns(struct child *child)
{
	int fd = child->spawn->netns;

	return fd >= 0 && setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

static int step_mntns(struct child *child)
{
	int fd = child->spawn->mntns;

	return fd >= 0 && setns(fd, CLONE_NEWNS) < 0 ? -errno : 0;
}

static int step_hostname(struct child *child)
{
	const char *name = child->spawn->hostname;

	if (!name)
		return 0;
	return unshare(CLONE_NEWUTS) < 0 || sethostname(name, strlen(name)) < 0 ? -errno : 0;
}

static int step_sys(struct child *child)
{
	int r;

	if (!child->spawn->fresh_sys)
		return 0;
	if (unshare(CLONE_NEWNS) < 0)
		return -errno;
	r = mnt_private();
	return r < 0 ? r : mnt_sys();
}

/* Copies *fd above the highest target unless it is there already (or is none). */
static int fd_lift(int *fd, int highest)
{
	int up;

	if (*fd < 0 || *fd > highest)
		return 0;
	up = fcntl(*fd, F_DUPFD_CLOEXEC, highest + 1);
	if (up < 0)
		return -errno;
	*fd = up;
	return 0;
}

static int step_fds(struct child *child)
{
	int highest = STDERR_FILENO, taken = -1, r;

	for (int i = 0; i < child->n_fds; i++)
		highest = child->fds[i].to > highest ? child->fds[i].to : highest;
	if (close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	r = fd_lift(&child->report, highest);
	if (r == 0)
		r = fd_lift(&child->parent, highest);
	if (r == 0)
		r = fd_lift(&child->file, highest);
	for (int i = 0; i < child->n_fds && r == 0; i++) {
		taken = child->fds[i].to > taken ? child->fds[i].to : taken;
		if (child->fds[i].from <= taken)
			r = fd_lift(&child->fds[i].from, highest);
	}
	for (int i = 0; i < child->n_fds && r == 0; i++)
		if (dup2(child->fds[i].from, /* not CLOEXEC: the program is to have it */
			 child->fds[i].to) < 0)
			r = -errno;
	return r;
}

static int step_rights(struct child *child)
{
	const struct spawn *spawn = child->spawn;
	uid_t uid = (uid_t)spawn->uid;
	gid_t gid = (gid_t)spawn->gid;
	struct rlimit files;

	if (spawn->nofile && getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = spawn->nofile < files.rlim_max ? spawn->nofile : files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (spawn->rights != RIGHTS_CALLERS && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (spawn->rights == RIGHTS_NODE && child_drop() < 0)
		return -errno;
	if (spawn->uid < 0 && spawn->gid < 0)
		return 0;
	if (spawn->uid >= 0 && spawn->tty >= 0) /* it may want to open it anew */
		(void)fchown(STDIN_FILENO, uid, (gid_t)-1);
	if (setgroups(0, NULL) < 0)
		return -errno;
	if (spawn->gid >= 0 && setresgid(gid, gid, gid) < 0)
		return -errno;
	return spawn->uid >= 0 && setresuid(uid, uid, uid) < 0 ? -errno : 0;
}

static int step_cwd(struct child *child)
{
	const struct spawn *spawn = child->spawn;

	if (spawn->cwd && chdir(spawn->cwd) == 0)
		return 0;
	if (spawn->cwd && !spawn->cwd_optional)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}

/* After the rights, as a change of user forgets PDEATHSIG. The parent may have died before the
 * prctl(); getppid() is no help, being 0 in another pid namespace. */
static int step_parent(struct child *child)
{
	struct pollfd p = { .fd = child->parent, .events = POLLIN };

	if (child->parent < 0)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return poll(&p, 1, 0) != 0 ? -ESRCH : 0;
}

/* execve() of one path. What comes back is the errno of the search: -ENOENT means look on. */
static int exec_path(struct child *child, const char *path)
{
	const struct spawn *spawn = child->spawn;
	struct stat st;
	int code;

	(void)execve(path, (char **)(uintptr_t)spawn->argv, (char **)(uintptr_t)spawn->env);
	code = -errno;
	if (code == -ENOENT && stat(path, &st) == 0)
		child_fail(child->report, CHILD_INTERPRETER, code);
	return code == -ENOTDIR ? -ENOENT : code;
}

static const char *env_path(const char *const *env)
{
	for (; env && *env; env++)
		if (str_starts(*env, "PATH="))
			return *env + strlen("PATH=");
	return SPAWN_PATH;
}

/* As execvpe(3), with the PATH of the program's own environment; like it, a file without leave to
 * execute is passed over, and told only if no other is found. */
static int exec_search(struct child *child)
{
	const char *name = child->spawn->argv[0], *dir = env_path(child->spawn->env);
	char path[PATH_MAX];
	int r, best = -ENOENT;

	for (;; dir++) {
		int len = (int)strcspn(dir, ":");
		int n = snprintf(path, sizeof path, "%.*s/%s", len ? len : 1, len ? dir : ".",
				 name);

		r = n < (int)sizeof path ? exec_path(child, path) : -ENAMETOOLONG;
		if (r == -EACCES)
			best = r;
		else if (r != -ENOENT)
			return r;
		dir += len;
		if (!*dir)
			return best;
	}
}

/* The interpreter of a script opens it once more, and would need an fd that stays: it gets the name. */
static int exec_file(struct child *child)
{
	const struct spawn *spawn = child->spawn;

	if (spawn->file->path)
		return exec_path(child, spawn->file->path);
	(void)syscall(SYS_execveat, child->file, "", spawn->argv, spawn->env, AT_EMPTY_PATH);
	if (errno == ENOENT)
		child_fail(child->report, CHILD_INTERPRETER, -ENOENT);
	return -errno;
}

static int step_exec(struct child *child)
{
	const char *name = child->spawn->argv[0];
	sigset_t none;
	int r;

	child_counts();
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	child_mark(child->spawn->mark, child->start_time);
	if (child->spawn->file)
		r = exec_file(child);
	else
		r = *name && !strchr(name, '/') ? exec_search(child) : exec_path(child, name);
	if (child->spawn->mark)
		__atomic_store_n(&child->spawn->mark->pid, 0, __ATOMIC_RELEASE);
	return r;
}

static const struct {
	enum child_step step;
	int (*run)(struct child *child); /* 0 or -errno */
} child_steps[] = {
	{ CHILD_SESSION, step_session }, { CHILD_NULL, step_null },
	{ CHILD_CELL, step_cell },	 { CHILD_NETNS, step_netns },
	{ CHILD_MNTNS, step_mntns },	 { CHILD_HOSTNAME, step_hostname },
	{ CHILD_SYS, step_sys },	 { CHILD_FDS, step_fds },
	{ CHILD_RIGHTS, step_rights },	 { CHILD_CWD, step_cwd },
	{ CHILD_PARENT, step_parent },	 { CHILD_EXEC, step_exec },
};

static void child_run(void *arg)
{
	struct child *child = arg;

	child_signals();
	if (child->spawn->mark)
		child->start_time = child_start_time();
	if (child->spawn->mark && !child->start_time) /* nobody would find it again */
		child_fail(child->report, CHILD_MARK, -EIO);
	for (size_t i = 0; i < COUNT(child_steps); i++) {
		int r = child_steps[i].run(child);

		if (r < 0)
			child_fail(child->report, child_steps[i].step, r);
	}
	child_exit(SPAWN_FAILED); /* not reached: the last step executes or fails */
}

static pid_t child_make(struct child *child, uint64_t flags, int cell, int *ret_pidfd)
{
	const struct spawn *spawn = child->spawn;
	pid_t pid;

	if (!spawn->apart && spawn->uid < 0 && spawn->gid < 0)
		return child_share(flags, cell, spawn->mark, ret_pidfd, child_run, child);
	pid = child_clone(flags, cell, spawn->mark, ret_pidfd);
	if (pid == 0)
		child_run(child);
	return pid;
}

/* ---- in the caller */

static int spawn_check(const struct spawn *spawn, struct err *err)
{
	if (!spawn->argv || !spawn->argv[0])
		return err_set(err, -EINVAL, "there is no program to start");
	for (int i = 0; i < spawn->n_fds; i++)
		if (spawn->fds[i].from < 0 || spawn->fds[i].to <= STDERR_FILENO)
			return err_set(err, -EINVAL, "fd %d cannot be given as fd %d",
				       spawn->fds[i].from, spawn->fds[i].to);
	return 0;
}

/* The fds as the child is to see them, on the heap: the child must not allocate. */
static struct spawn_fd *spawn_fds(const struct spawn *spawn)
{
	const int std[] = { spawn->in, spawn->out, spawn->err };
	struct spawn_fd *fds = calloc((size_t)spawn->n_fds + COUNT(std), sizeof *fds);

	if (!fds)
		return NULL;
	for (int i = 0; i < (int)COUNT(std); i++)
		fds[i] =
			(struct spawn_fd){ .from = spawn->tty >= 0 ? spawn->tty : std[i], .to = i };
	if (spawn->n_fds)
		memcpy(fds + COUNT(std), spawn->fds, (size_t)spawn->n_fds * sizeof *fds);
	return fds;
}

/* What is told of the child that was made. */
struct birth {
	pid_t pid;
	int pidfd, code;
};

static struct birth birth_of(struct child *child, uint64_t flags, int cell)
{
	struct birth birth = { .pidfd = -1 };

	birth.pid = child_make(child, flags, cell, &birth.pidfd);
	/* ENOMEM is what the kernel says of a pid namespace whose init is gone. */
	if (birth.pid < 0)
		birth.code = errno == ENOMEM ? -ESRCH : -errno;
	return birth;
}

struct helper {
	struct child *child;
	int tell;
};

static void helper_run(void *arg)
{
	const struct helper *helper = arg;
	const int tell = helper->tell;
	struct birth birth;

	if (setns(helper->child->spawn->cell, CLONE_NEWPID) == 0)
		birth = birth_of(helper->child, CLONE_PARENT, -1);
	else
		birth = (struct birth){ .pid = -1, .pidfd = -1, .code = -errno };
	(void)io_write_all(tell, &birth, sizeof birth);
	child_exit(0);
}

/* CLONE_VFORK: it has ended, or at least told all, when we go on. */
static int spawn_by_helper(struct child *child, struct birth *ret_birth, struct err *err)
{
	autofd int listen = -1, tell = -1, pidfd = -1;
	int ends[2], status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(err, -errno, "cannot make a pipe");
	listen = ends[0];
	tell = ends[1];
	pid = child_share(CLONE_FILES | CLONE_VFORK, -1, NULL, &pidfd, helper_run,
			  &(struct helper){ child, tell });
	if (pid < 0)
		return err_sys(err, -errno, "cannot fork");
	(void)spawn_wait(pidfd, io_now_ms() + SPAWN_REAP_MS, &status);
	if (read(listen, ret_birth, sizeof *ret_birth) != sizeof *ret_birth)
		return err_set(err, -ECHILD, "%s: killed", child_step_words(CHILD_CELL));
	return 0;
}

static int spawn_into_cell(struct child *child, struct birth *ret_birth, struct err *err)
{
	int r = 0;

	if (child_may_return())
		*ret_birth = birth_of(child, 0, child->spawn->cell);
	else
		r = spawn_by_helper(child, ret_birth, err);
	if (r == 0 && ret_birth->code < 0)
		r = err_sys(err, ret_birth->code, "%s", child_step_words(CHILD_CELL));
	return r;
}

static int spawn_clone(struct child *child, struct birth *ret_birth, struct err *err)
{
	if (child->spawn->mark)
		*child->spawn->mark = (struct spawn_mark){ 0 };
	if (child->spawn->cell >= 0)
		return spawn_into_cell(child, ret_birth, err);
	ret_birth->pid = child_make(child, 0, -1, &ret_birth->pidfd);
	return ret_birth->pid < 0 ? err_sys(err, -errno, "cannot fork") : 0;
}

int spawn_start(const struct spawn *spawn, struct spawned *ret_spawned, struct err *err)
{
	autofd int report = -1, report_child = -1, self = -1;
	struct spawn_fd *fds autofree = NULL;
	struct child child;
	struct birth birth;
	int r = spawn_check(spawn, err);

	*ret_spawned = SPAWNED_NONE;
	if (r < 0)
		return r;
	fds = spawn_fds(spawn);
	if (!fds)
		return err_sys(err, -ENOMEM, "cannot fork");
	r = child_pipe(&report, &report_child, err);
	if (r < 0)
		return r;
	if (spawn->die_with_parent)
		self = pidfd_of(getpid());
	if (spawn->die_with_parent && self < 0)
		return err_sys(err, self, "cannot open our own pidfd");
	child = (struct child){
		.spawn = spawn,
		.fds = fds,
		.n_fds = spawn->n_fds + STDERR_FILENO + 1,
		.report = report_child,
		.parent = self,
		.file = spawn->file ? spawn->file->fd : -1,
	};
	r = spawn_clone(&child, &birth, err);
	fd_closep(&report_child);
	if (r < 0) { /* one whose helper was killed has our memory until this ends */
		(void)child_hear(report, io_now_ms() + SPAWN_EXEC_MS, &(struct child_report){ 0 });
		return r;
	}
	*ret_spawned = (struct spawned){
		.pid = birth.pid,
		.pidfd = birth.pidfd,
		.report = take_fd(&report),
	};
	return 0;
}

int spawn_result(struct spawned *spawned, int64_t deadline, struct err *err)
{
	struct child_report report;
	int r = child_hear(spawned->report, deadline, &report);

	if (r > 0)
		return child_failed(spawned, &report, err);
	if (r < 0)
		return err_sys(err, r, "not known whether it started");
	fd_closep(&spawned->report);
	return 0;
}

int spawn_run(const struct spawn *spawn, struct spawned *ret_spawned, struct err *err)
{
	int status, r = spawn_start(spawn, ret_spawned, err);

	if (r == 0)
		r = spawn_result(ret_spawned, io_now_ms() + SPAWN_EXEC_MS, err);
	if (r < 0 && ret_spawned->pidfd >= 0) {
		(void)pidfd_signal(ret_spawned->pidfd, SIGKILL);
		(void)spawn_wait(ret_spawned->pidfd, io_now_ms() + SPAWN_REAP_MS, &status);
		fd_closep(&ret_spawned->pidfd);
		fd_closep(&ret_spawned->report);
	}
	return r;
}

int spawn_fork(unsigned long flags, const int *keep, int n_keep, int (*fn)(void *), void *arg,
	       struct spawned *ret_spawned, struct err *err)
{
	int pidfd = -1;
	pid_t pid;

	*ret_spawned = SPAWNED_NONE;
	if ((flags & ~FORK_FLAGS) || (keep && (flags & CLONE_FILES)))
		return err_set(err, -EINVAL, "cannot fork with flags 0x%lx", flags);
	pid = child_clone(flags, -1, NULL, &pidfd);
	if (pid < 0)
		return err_sys(err, -errno, "cannot fork");
	if (pid > 0) {
		*ret_spawned = (struct spawned){ .pid = pid, .pidfd = pidfd, .report = -1 };
		return 0;
	}
	child_signals();
	if (keep)
		child_close(keep, n_keep);
	child_exit(fn(arg));
}
