/* proc.c - processes that exist: who they are, how they ended; and terminals for them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "sys/child.h"
#include "sys/pidfd.h"
#include "sys/spawn.h"

#define STAT_SESSION	6 /* fields of /proc/PID/stat, counted from 1 */
#define STAT_START_TIME 22
#define ENVIRON_MAX	((size_t)256 << 10)
#define SESSION_TRY_MS	2
#define SHORT_TRIES	100 /* of them, while memory or fds are short */
#define OFFSETS_MAX	256
#define TICKS		100 /* a second, as the kernel tells times to users */
#define PTY_ROWS	24
#define PTY_COLUMNS	80

int spawn_wait(int pidfd, int64_t deadline, int *ret_status)
{
	siginfo_t info = { 0 };
	int r = io_wait(pidfd, POLLIN, deadline);

	if (r <= 0)
		return r;
	do {
		r = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (info.si_pid == 0)
		return 0;
	if (info.si_code == CLD_EXITED)
		*ret_status = W_EXITCODE(info.si_status, 0);
	else
		*ret_status = info.si_status | (info.si_code == CLD_DUMPED ? WCOREFLAG : 0);
	return 1;
}

const char *spawn_status_words(int status, char out[64])
{
	const char *name = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;
	const char *core = WIFSIGNALED(status) && WCOREDUMP(status) ? " (core dumped)" : "";

	if (WIFEXITED(status))
		(void)snprintf(out, 64, "exited with %d", WEXITSTATUS(status));
	else if (name)
		(void)snprintf(out, 64, "killed by SIG%s%s", name, core);
	else
		(void)snprintf(out, 64, "killed by signal %d%s", WTERMSIG(status), core);
	return out;
}

/* Without an allocation, for a child's sake. */
static bool read_text(const char *path, char *text, size_t size)
{
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* A field after the second, which is a name in brackets that may hold anything: so the rest is
 * counted from the last bracket. */
static uint64_t stat_field(const char *path, int wanted)
{
	char text[1024], *p;

	if (!read_text(path, text, sizeof text))
		return 0;
	p = strrchr(text, ')');
	for (int field = 2; p && field < wanted; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p, NULL, 10) : 0;
}

/* Seconds by which the clock since boot is off in our time namespace. It stays, and is asked for so often
 * that it is read once: of us and of whom we make. */
static int64_t boot_offset(void)
{
	static int64_t seconds;
	static bool known;
	char text[OFFSETS_MAX], *p;

	if (known)
		return seconds;
	if (!read_text("/proc/self/timens_offsets", text, sizeof text))
		return 0; /* a kernel without */
	p = strstr(text, "boottime");
	seconds = p ? strtoll(p + strlen("boottime"), NULL, 10) : 0;
	known = true;
	return seconds;
}

/* The kernel tells it as the reader's time namespace has it; ours is what all of them agree on. */
static uint64_t start_time(const char *path)
{
	uint64_t ticks = stat_field(path, STAT_START_TIME);

	return ticks ? ticks - (uint64_t)(boot_offset() * TICKS) : 0;
}

uint64_t spawn_start_time(pid_t pid)
{
	char path[32];

	(void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
	return start_time(path);
}

/* The same in every view of /proc, so "self" does, whatever pid namespace we are in. */
uint64_t child_start_time(void)
{
	return start_time("/proc/self/stat");
}

int spawn_pidfd(pid_t pid, uint64_t start_time)
{
	autofd int fd = pid > 0 ? pidfd_of(pid) : -ESRCH;
	uint64_t its;

	if (fd < 0)
		return fd;
	/* Read after the pidfd is open: from then on the pid cannot be another's unnoticed. */
	its = spawn_start_time(pid);
	if (its == 0 && pidfd_signal(fd, 0) != -ESRCH)
		return -EAGAIN; /* it is there, and cannot be looked at */
	return its == start_time ? take_fd(&fd) : -ESRCH;
}

/* The kernel gives up a task's namespaces after its memory and fds; there is no link to show then. */
bool spawn_let_go(pid_t pid)
{
	char path[32], text[64];

	(void)snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	return readlink(path, text, sizeof text) < 0 && (errno == ENOENT || errno == ESRCH);
}

/* Whose processes are to be killed: session 0 is any; env, and one of the others if there are any. */
struct wanted {
	pid_t session;
	const char *env, *const *others;
};

static bool environ_has(const struct strbuf *text, const char *env)
{
	for (size_t at = 0; at < text->len; at += strlen(text->text + at) + 1)
		if (str_eq(text->text + at, env))
			return true;
	return false;
}

/* Of errors those that say nothing of the process. */
static bool is_short(int code)
{
	return code == -ENOMEM || code == -EMFILE || code == -ENFILE;
}

/* 1 or 0, or -errno when it cannot be seen for want of memory or fds. */
static int is_wanted(pid_t pid, const struct wanted *wanted)
{
	struct strbuf text __attribute__((cleanup(strbuf_free))) = STRBUF_INIT;
	uint64_t session;
	char path[32];
	int r;

	if (pid == getpid())
		return 0;
	(void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
	errno = 0;
	session = wanted->session ? stat_field(path, STAT_SESSION) : 0;
	if (is_short(-errno))
		return -errno;
	if (session != (uint64_t)wanted->session)
		return 0;
	(void)snprintf(path, sizeof path, "/proc/%d/environ", pid);
	r = io_read_file(AT_FDCWD, path, ENVIRON_MAX, &text);
	if (r < 0)
		return is_short(r) ? r : 0;
	if (!environ_has(&text, wanted->env))
		return 0;
	for (const char *const *other = wanted->others; other && *other; other++)
		if (environ_has(&text, *other))
			return 1;
	return !wanted->others;
}

/* As is_wanted(); who is wanted is killed. */
static int kill_if_wanted(pid_t pid, const struct wanted *wanted)
{
	autofd int pidfd = -1;
	int r = is_wanted(pid, wanted);

	if (r <= 0)
		return r;
	pidfd = pidfd_of(pid);
	if (pidfd < 0)
		return is_short(pidfd) ? pidfd : 0;
	r = is_wanted(pid, wanted); /* still the same one */
	if (r > 0)
		(void)pidfd_signal(pidfd, SIGKILL);
	return r;
}

/* One look at all. How many were there, or -errno. */
static int wanted_round(const struct wanted *wanted)
{
	DIR *dir = opendir("/proc");
	int found = 0, unseen = 0;

	if (!dir)
		return -errno;
	for (struct dirent *entry; errno = 0, (entry = readdir(dir));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		int r = pid > 0 ? kill_if_wanted(pid, wanted) : 0;

		if (r < 0)
			unseen = r;
		else
			found += r;
	}
	if (errno) /* not the end: it could not be read */
		unseen = -errno;
	(void)closedir(dir);
	return unseen ? unseen : found;
}

static int kill_wanted(const struct wanted *wanted, int64_t deadline)
{
	int r, tries = SHORT_TRIES;

	while ((r = wanted_round(wanted)) != 0) {
		if (r < 0 && !--tries)
			return r;
		if (io_left_ms(deadline) <= 0)
			return r < 0 ? r : -ETIMEDOUT;
		(void)poll(NULL, 0, SESSION_TRY_MS);
	}
	return 0;
}

int spawn_kill_session(pid_t session, const char *env, int64_t deadline)
{
	return kill_wanted(&(struct wanted){ .session = session, .env = env }, deadline);
}

int spawn_kill_env(const char *env, const char *const others[], int64_t deadline)
{
	return kill_wanted(&(struct wanted){ .env = env, .others = others }, deadline);
}

int spawn_pty(int *ret_master, int *ret_slave, struct err *err)
{
	autofd int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC),
		   slave = -1;
	struct winsize size = { .ws_row = PTY_ROWS, .ws_col = PTY_COLUMNS };
	int locked = 0;

	*ret_master = *ret_slave = -1;
	if (master < 0)
		return err_sys(err, -errno, "cannot open /dev/ptmx");
	if (ioctl(master, TIOCSPTLCK, &locked) < 0 || ioctl(master, TIOCSWINSZ, &size) < 0)
		return err_sys(err, -errno, "cannot set up a pseudo-terminal");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(err, -errno, "cannot open a pseudo-terminal");
	*ret_master = take_fd(&master);
	*ret_slave = take_fd(&slave);
	return 0;
}
