/* trust.c - see trust.h.
 *
 * Theory of operation. The name is resolved, and then walked from the root down, each folder opened
 * below the one before, without following links, and judged by its fd. What was judged cannot be
 * changed by those whom the verdict is about, so nothing behind us moves while we go on.
 *
 * A group that may write is "others", but for root's and for the owner's own, which distributions
 * make for each user and whose members write each other's files by default.
 */
#include "sys/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

static bool own_group(const struct stat *st)
{
	const struct passwd *user = getpwuid(st->st_uid);
	const struct group *group;

	if (st->st_gid == 0)
		return true;
	if (!user || user->pw_gid != st->st_gid)
		return false;
	group = getgrgid(st->st_gid);
	return group && str_eq(group->gr_name, user->pw_name);
}

static int judge(const struct stat *st, const char *path, uid_t owner, struct err *err)
{
	bool sticky = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX);

	if (st->st_uid != 0 && st->st_uid != owner)
		return err_set(err, -EPERM,
			       "%s belongs to user %u, neither root nor the lab file's owner: "
			       "--trust-hooks allows it",
			       path, st->st_uid);
	if (sticky || !(st->st_mode & (S_IWGRP | S_IWOTH)) ||
	    (!(st->st_mode & S_IWOTH) && own_group(st)))
		return 0;
	return err_set(err, -EPERM,
		       "%s can be written by others (mode %03o): chmod go-w it, or --trust-hooks",
		       path, st->st_mode & 0777);
}

/* Opens the folder that holds the last name of path; *ret_name is that. fd or -errno. */
static int walk(char *path, uid_t owner, const char **ret_name, struct err *err)
{
	autofd int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *name = path + 1;
	struct stat st;

	for (;;) {
		char *slash = strchr(name, '/'), kept = name[0];
		autofd int before = -1;

		name[0] = '\0'; /* what was walked so far, for the words */
		if (at < 0 || fstat(at, &st) < 0)
			return err_sys(err, -errno, "could not start: %s", path);
		if (judge(&st, path, owner, err) < 0)
			return err->code;
		name[0] = kept;
		*ret_name = name;
		if (!slash)
			return take_fd(&at);
		*slash = '\0';
		before = take_fd(&at);
		at = openat(before, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		*slash = '/';
		name = slash + 1;
	}
}

static int is_script(int fd)
{
	char start[2];
	ssize_t n = pread(fd, start, sizeof start, 0);

	return n < 0 ? -errno : n == 2 && start[0] == '#' && start[1] == '!';
}

static int open_at(int folder, const char *name, uid_t owner, struct trusted *trusted,
		   struct err *err)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), r;
	struct stat st;

	trusted->file.fd = fd;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, -errno, "could not start");
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EACCES, "could not start: it is not a file");
	r = judge(&st, trusted->path, owner, err);
	if (r == 0)
		r = is_script(fd);
	if (r > 0)
		trusted->file.path = trusted->path;
	return r < 0 && r != -EPERM ? err_sys(err, r, "could not start") : r < 0 ? r : 0;
}

/* A name without links means, from the lab's folder, what was walked: a script then sees its own as
 * the file has it. */
static void keep_name(const char *dir, const char *path, struct trusted *trusted)
{
	size_t len = *path == '/' ? 0 : strlen(dir);
	const char *rest = path;

	while (len && str_starts(rest, "./"))
		rest += 2;
	if (strncmp(trusted->path, dir, len) == 0 &&
	    str_eq(trusted->path + len + (len ? 1 : 0), rest) && strlen(path) < PATH_MAX)
		memcpy(trusted->path, path, strlen(path) + 1);
}

int trust_open(const char *dir, const char *path, uid_t owner, struct trusted *ret, struct err *err)
{
	char *whole autofree = NULL;
	const char *name = "";
	autofd int folder = -1;
	int r;

	*ret = TRUSTED_NONE;
	if (asprintf(&whole, "%s/%s", *path == '/' ? "" : dir, path) < 0) {
		whole = NULL;
		return err_sys(err, -ENOMEM, "could not start");
	}
	if (!realpath(whole, ret->path))
		return err_sys(err, -errno, "could not start");
	if (str_eq(ret->path, "/"))
		return err_set(err, -EACCES, "could not start: it is not a file");
	folder = walk(ret->path, owner, &name, err);
	if (folder < 0)
		return folder;
	r = open_at(folder, name, owner, ret, err);
	if (r < 0)
		trust_close(ret);
	else
		keep_name(dir, path, ret);
	return r;
}

void trust_close(struct trusted *trusted)
{
	fd_closep(&trusted->file.fd);
	trusted->file.path = NULL;
}

/* ---- before anything is made */

/* A script's first line, of which n bytes are known. */
static int look_interpreter(char *line, size_t n, struct err *err)
{
	const char *name = line + 2 + strspn(line + 2, " \t");
	size_t len = strcspn(name, " \t\n");

	line[n] = '\0';
	if (!len)
		return err_set(err, -ENOEXEC,
			       "could not start: its first line names no interpreter");
	if (*name != '/' || name + len >= line + n) /* longer than what was read */
		return 0;
	line[name - line + (ptrdiff_t)len] = '\0';
	if (access(name, X_OK) == 0)
		return 0;
	return err_set(err, -ENOEXEC,
		       "could not start: the interpreter that its first line names, \"%s\": %s",
		       name, strerror(errno));
}

/* What is no text may be what the kernel was told to hand to an interpreter. */
static int look_format(int fd, struct err *err)
{
	char start[PATH_MAX];
	ssize_t n = pread(fd, start, sizeof start - 1, 0);

	if (n < 0)
		return err_sys(err, -errno, "could not start");
	start[n] = '\0';
	if (str_starts(start, "#!"))
		return look_interpreter(start, (size_t)n, err);
	if (n && (start[0] == 0x7f || memchr(start, '\0', (size_t)n)))
		return 0;
	return err_set(err, -ENOEXEC,
		       "could not start: %s (a script begins with #! and its interpreter)",
		       strerror(ENOEXEC));
}

static int look_open(const char *path, struct err *err)
{
	autofd int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, -errno, "could not start");
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EACCES, "could not start: it is not a file");
	if (!(st.st_mode & 0111))
		return err_set(err, -EACCES, "could not start: %s (its mode is %03o: chmod +x it)",
			       strerror(EACCES), st.st_mode & 0777);
	if (access(path, X_OK) < 0)
		return err_sys(err, -errno, "could not start");
	return look_format(fd, err);
}

int trust_look(const char *dir, const char *path, bool judged, uid_t owner, struct err *err)
{
	struct trusted file autotrusted = TRUSTED_NONE;
	char *whole autofree = NULL;
	int r = judged ? trust_open(dir, path, owner, &file, err) : 0;

	if (r < 0)
		return r;
	if (asprintf(&whole, "%s/%s", *path == '/' ? "" : dir, path) < 0) {
		whole = NULL;
		return err_sys(err, -ENOMEM, "could not start");
	}
	return look_open(whole, err);
}
