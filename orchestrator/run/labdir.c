/* labdir.c - see labdir.h. */
#include "run/labdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define FAILED_SUFFIX ".failed"
#define LOG_SUFFIX    ".log"
#define OPEN_TRIES    100

static int base_path(char out[LABDIR_PATH], struct err *err)
{
	const char *own = getenv("TAPNET_RUN_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (own && *own == '/')
		n = snprintf(out, LABDIR_PATH, "%s", own);
	else if (geteuid() == 0)
		n = snprintf(out, LABDIR_PATH, "/run/tapnet-lab");
	else if (xdg && *xdg == '/')
		n = snprintf(out, LABDIR_PATH, "%s/tapnet-lab", xdg);
	else
		return err_set(
			err, -ENOENT,
			"XDG_RUNTIME_DIR is not set: log in, or set it to a folder of your own");
	if (n < 0 || n >= LABDIR_PATH - 48)
		return err_set(err, -ENAMETOOLONG, "the run directory's path is too long");
	return 0;
}

/* Opens a directory that must be ours alone. */
static int open_there(int at, const char *name, const char *path, struct err *err)
{
	autofd int fd = -1;
	struct stat st;

	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "%s is not a folder: remove it", path);
	if (fd < 0)
		return err_sys(err, -errno, "cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "cannot open %s", path);
	if (st.st_uid != geteuid())
		return err_set(err, -EPERM, "%s belongs to user %u", path, st.st_uid);
	if (st.st_mode & 077)
		return err_set(err, -EPERM, "%s is open to others (mode %03o): chmod 700 it", path,
			       st.st_mode & 0777);
	return take_fd(&fd);
}

/* One that was made for it, and then cannot be opened, is removed. */
static int open_own(int at, const char *name, const char *path, bool create, struct err *err)
{
	bool made = false;
	int fd = -ENOENT;

	for (int tries = 0; tries < OPEN_TRIES; tries++) {
		made = create && mkdirat(at, name, 0700) == 0;
		if (create && !made && errno != EEXIST)
			return err_sys(err, -errno, "cannot make %s", path);
		fd = open_there(at, name, path, err);
		if (fd != -ENOENT || !create) /* else the last lab's end took it away just then */
			break;
	}
	if (fd < 0 && made)
		(void)unlinkat(at, name, AT_REMOVEDIR);
	return fd;
}

static struct labdir take_dir(struct labdir *dir)
{
	struct labdir taken = *dir;

	*dir = LABDIR_NONE;
	return taken;
}

int labdir_open(const char *name, bool create, struct labdir *ret_dir, struct err *err)
{
	struct labdir dir autolabdir = LABDIR_NONE;
	char base[LABDIR_PATH];
	int r = base_path(base, err);

	*ret_dir = LABDIR_NONE;
	if (r < 0)
		return r;
	dir.base_fd = open_own(AT_FDCWD, base, base, create, err);
	if (dir.base_fd < 0)
		return dir.base_fd;
	(void)snprintf(dir.name, sizeof dir.name, "%s", name);
	(void)snprintf(dir.path, sizeof dir.path, "%.*s/%s", LABDIR_PATH - 48, base, dir.name);
	dir.fd = open_own(dir.base_fd, name, dir.path, create, err);
	if (dir.fd < 0)
		return dir.fd;
	*ret_dir = take_dir(&dir);
	return 0;
}

void labdir_close(struct labdir *dir)
{
	fd_closep(&dir->lock);
	fd_closep(&dir->fd);
	fd_closep(&dir->base_fd);
}

static struct flock whole_file(short type)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET };
}

bool labdir_in_place(const struct labdir *dir)
{
	struct stat ours, there;

	return fstat(dir->fd, &ours) == 0 &&
	       fstatat(dir->base_fd, dir->name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

int labdir_lock(struct labdir *dir, struct err *err)
{
	autofd int fd = openat(dir->fd, "lock",
			       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	struct flock lock = whole_file(F_WRLCK);
	struct stat file, linked;

	if (fd < 0)
		return err_sys(err, errno == ENOENT ? -ESTALE : -errno, "cannot lock %s",
			       dir->path);
	if (fcntl(fd, F_SETLK, &lock) < 0)
		return errno == EAGAIN || errno == EACCES
			       ? err_set(err, -EBUSY, "%s is in use", dir->path)
			       : err_sys(err, -errno, "cannot lock %s", dir->path);
	/* Whoever tore the last lab down may have removed this very directory, or this very file. */
	errno = 0;
	if (!labdir_in_place(dir) || fstat(fd, &file) < 0 ||
	    fstatat(dir->fd, "lock", &linked, AT_SYMLINK_NOFOLLOW) < 0 ||
	    file.st_ino != linked.st_ino)
		return errno && errno != ENOENT
			       ? err_sys(err, -errno, "cannot lock %s", dir->path)
			       : err_set(err, -ESTALE, "%s was removed", dir->path);
	dir->lock = take_fd(&fd);
	return 0;
}

void labdir_unlock(struct labdir *dir)
{
	fd_closep(&dir->lock);
}

bool labdir_alive(const struct labdir *dir)
{
	/* To ask takes no right to write, and the filesystem may be read-only by now. */
	autofd int fd = openat(dir->fd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct flock lock = whole_file(F_WRLCK);

	return fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static bool ends_with(const char *s, const char *end)
{
	size_t a = strlen(s), b = strlen(end);

	return a >= b && str_eq(s + a - b, end);
}

typedef int entry_fn(int dir_fd, const char *name, void *arg);

static int each_entry(int dir_fd, entry_fn *fn, void *arg)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		fd_closep(&fd);
		return -errno;
	}
	for (struct dirent *e; r == 0 && (errno = 0, (e = readdir(d)));)
		if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
			r = fn(dir_fd, e->d_name, arg);
	if (r == 0) /* 0 at the end, unless it could not be read */
		r = -errno;
	(void)closedir(d);
	return r;
}

/* All but the lock, which goes last: without it the directory is anybody's. */
static int remove_entry(int dir_fd, const char *name, void *arg)
{
	(void)arg;
	if (str_eq(name, "lock"))
		return 0;
	return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int move_log(int dir_fd, const char *name, void *arg)
{
	if (ends_with(name, LOG_SUFFIX))
		(void)renameat(dir_fd, name, *(const int *)arg, name);
	return 0;
}

/* Opens NAME.failed, emptied. */
static int open_failed(struct labdir *dir, bool create)
{
	char name[sizeof dir->name + sizeof FAILED_SUFFIX];
	struct err ignored;
	int fd;

	(void)snprintf(name, sizeof name, "%s" FAILED_SUFFIX, dir->name);
	fd = open_own(dir->base_fd, name, name, create, &ignored);
	if (fd >= 0)
		(void)each_entry(fd, remove_entry, NULL);
	return fd;
}

void labdir_forget_failed(struct labdir *dir)
{
	char name[sizeof dir->name + sizeof FAILED_SUFFIX];
	autofd int fd = open_failed(dir, false);

	(void)snprintf(name, sizeof name, "%s" FAILED_SUFFIX, dir->name);
	if (fd >= 0)
		(void)unlinkat(dir->base_fd, name, AT_REMOVEDIR);
}

static void keep(struct labdir *dir)
{
	autofd int fd = open_failed(dir, true);

	if (fd >= 0)
		(void)each_entry(dir->fd, move_log, &fd);
}

int labdir_remove(struct labdir *dir, bool keep_logs, struct err *err)
{
	int r;

	if (keep_logs)
		keep(dir);
	r = each_entry(dir->fd, remove_entry, NULL);
	if (r == -ENOENT) /* somebody removed it already */
		return 0;
	if (r == 0 && unlinkat(dir->fd, "lock", 0) < 0 && errno != ENOENT)
		r = -errno;
	/* Not empty: the next lab of this name has taken it between the two. */
	if (r == 0 && unlinkat(dir->base_fd, dir->name, AT_REMOVEDIR) < 0 && errno != ENOENT &&
	    errno != ENOTEMPTY)
		r = -errno;
	if (r < 0)
		err_sys(err, r, "cannot remove %s", dir->path);
	return r == -EBUSY ? -EIO : r; /* that is what a lock is, of another */
}

int labdir_discard(struct labdir *dir, struct err *err)
{
	int r;

	if (dir->fd < 0) /* it could not even be opened again */
		return 0;
	r = dir->lock < 0 ? labdir_lock(dir, err) : 0;
	if (r < 0)
		return r == -EBUSY || r == -ESTALE ? 0 : r;
	if (faccessat(dir->fd, "journal", F_OK, 0) < 0)
		r = errno == ENOENT ? labdir_remove(dir, false, err)
				    : err_sys(err, -errno, "cannot look into %s", dir->path);
	labdir_unlock(dir);
	return r;
}

struct names {
	char **v;
	size_t n;
};

static int add_name(int dir_fd, const char *name, void *arg)
{
	struct names *names = arg;
	char **v;

	(void)dir_fd;
	if (ends_with(name, FAILED_SUFFIX))
		return 0;
	v = realloc(names->v, (names->n + 1) * sizeof *v);
	if (!v)
		return -ENOMEM;
	names->v = v;
	v[names->n] = strdup(name);
	return v[names->n] ? (names->n++, 0) : -ENOMEM;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int labdir_each(int (*fn)(const char *name, void *arg), void *arg, struct err *err)
{
	struct names names = { 0 };
	char base[LABDIR_PATH];
	autofd int fd = -1;
	int r = base_path(base, err);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	fd = open_own(AT_FDCWD, base, base, false, err);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = each_entry(fd, add_name, &names);
	if (r < 0)
		err_sys(err, r, "cannot list %s", base);
	if (names.n)
		qsort(names.v, names.n, sizeof *names.v, by_name);
	for (size_t i = 0; i < names.n; i++) {
		if (r == 0)
			r = fn(names.v[i], arg);
		free(names.v[i]);
	}
	free(names.v);
	return r;
}
