/* acl.c - see acl.h.
 *
 * Theory of operation. All files are read, and all mistakes told, before anything is judged: a rule
 * that cannot be read may have been a deny. A file may include others, but none that is being read
 * already; depth and number are bounded, so that no tree of includes keeps us busy.
 *
 * The program has no rights but its caller's, so an own file gives a user nothing that he could not
 * do without it. Root's rights are not for a file that another user could have written.
 */
#include "helper/acl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define ACL_BYTES ((size_t)64 << 10)
#define ACL_DEPTH 8
#define ACL_FILES 64

struct acl_file {
	const char *path;
	const struct acl_file *by; /* which included it */
	dev_t dev;
	ino_t ino;
	int depth, line;
};

struct acl {
	const struct name *name;
	struct strbuf *mistakes;
	struct strbuf denied; /* the place of the line that does */
	bool allowed;
	int n_files;
};

static void acl_mistake(struct acl *acl, const struct acl_file *file, size_t col,
			const struct err *err)
{
	strbuf_safe(acl->mistakes, file->path, strlen(file->path));
	strbuf_printf(acl->mistakes, ":%d:%zu: ", file->line, col);
	strbuf_printf(acl->mistakes, "%s\n", err->msg);
}

/* ---- a file that may be trusted */

static int acl_trust(const char *path, const struct stat *st, struct err *err)
{
	if (!S_ISREG(st->st_mode))
		return err_set(err, -EPERM, "%s is not a regular file", path);
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return err_set(err, -EPERM, "%s belongs to user %u, not to %s: chown root %s", path,
			       st->st_uid, geteuid() ? "root or you" : "root", path);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return err_set(err, -EPERM, "%s may be written by %s (mode %03o): chmod go-w %s",
			       path, st->st_mode & S_IWOTH ? "others" : "its group",
			       st->st_mode & 0777, path);
	return 0;
}

static int acl_read(const char *path, struct stat *ret_st, struct strbuf *text, struct err *err)
{
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	char part[4096];
	ssize_t n = 0;
	int r;

	if (fd < 0 && errno == ELOOP)
		return err_set(err, -ELOOP, "%s is a symbolic link: name the file itself", path);
	if (fd < 0 || fstat(fd, ret_st) < 0)
		return err_sys(err, -errno, "cannot open %s", path);
	r = acl_trust(path, ret_st, err);
	while (r == 0 && text->len <= ACL_BYTES && (n = read(fd, part, sizeof part)) > 0)
		strbuf_add(text, part, (size_t)n);
	if (r < 0)
		return r;
	if (n < 0 || text->failed)
		return err_sys(err, n < 0 ? -errno : -ENOMEM, "cannot read %s", path);
	if (text->len > ACL_BYTES)
		return err_set(err, -EFBIG, "%s has more than %zu KiB", path, ACL_BYTES >> 10);
	return 0;
}

/* ---- its lines */

struct word {
	const char *text;
	size_t col; /* from 1; 0: there is none */
};

/* The next word of a line, which it ends with a NUL. */
static struct word word_next(char **at, const char *line)
{
	struct word word = { 0 };
	char *p = *at + strspn(*at, " \t\r");

	if (*p && *p != '#') {
		word = (struct word){ .text = p, .col = (size_t)(p - line) + 1 };
		p += strcspn(p, " \t\r");
		if (*p)
			*p++ = '\0';
		*at = p;
	}
	return word;
}

static int acl_file(struct acl *acl, const char *path, const struct acl_file *by, struct err *err);

static int acl_include(struct acl *acl, const char *word, const struct acl_file *file,
		       struct err *err)
{
	const char *slash = strrchr(file->path, '/');
	struct strbuf path autostr = STRBUF_INIT;

	if (slash && *word != '/')
		strbuf_add(&path, file->path, (size_t)(slash - file->path) + 1);
	strbuf_puts(&path, word);
	return acl_file(acl, path.text, file, err);
}

static int acl_rule(struct acl *acl, const char *word, bool deny, const struct acl_file *file,
		    struct err *err)
{
	struct name pattern;
	int r = name_parse(word, true, &pattern, err);

	if (r < 0 || !name_matches(&pattern, acl->name))
		return r;
	if (deny && !acl->denied.len)
		strbuf_printf(&acl->denied, "%s:%d", file->path, file->line);
	acl->allowed = acl->allowed || !deny;
	return 0;
}

static void acl_line(struct acl *acl, char *line, const struct acl_file *file)
{
	char *at = line;
	struct word verb = word_next(&at, line), what, more;
	struct strbuf shown autostr = STRBUF_INIT;
	struct err err = { 0 };
	int r;

	if (!verb.col)
		return;
	what = word_next(&at, line);
	more = word_next(&at, line);
	if (!str_eq(verb.text, "allow") && !str_eq(verb.text, "deny") &&
	    !str_eq(verb.text, "include")) {
		strbuf_safe(&shown, verb.text, strlen(verb.text));
		r = err_set(&err, -EINVAL, "\"%.100s\" is not allow, deny or include", shown.text);
		what.col = verb.col;
	} else if (!what.col) {
		r = err_set(&err, -EINVAL, "%s: %s", verb.text,
			    str_eq(verb.text, "include") ? "which file?" : "which bridge?");
		what.col = verb.col;
	} else if (more.col) {
		r = err_set(&err, -EINVAL, "one %s a line",
			    str_eq(verb.text, "include") ? "file" : "bridge");
		what.col = more.col;
	} else if (str_eq(verb.text, "include")) {
		r = acl_include(acl, what.text, file, &err);
	} else {
		r = acl_rule(acl, what.text, str_eq(verb.text, "deny"), file, &err);
	}
	if (r < 0)
		acl_mistake(acl, file, what.col, &err);
}

static int acl_may_include(struct acl *acl, const struct acl_file *file, struct err *err)
{
	for (const struct acl_file *by = file->by; by; by = by->by)
		if (by->dev == file->dev && by->ino == file->ino)
			return err_set(err, -ELOOP, "%s is included by itself", file->path);
	if (file->depth > ACL_DEPTH)
		return err_set(err, -ELOOP, "%s: files include files more than %d deep", file->path,
			       ACL_DEPTH);
	if (++acl->n_files > ACL_FILES)
		return err_set(err, -E2BIG, "%s: more than %d files", file->path, ACL_FILES);
	return 0;
}

/* Reads a file and what it includes. Mistakes in its lines are noted; an error is the file's own. */
static int acl_file(struct acl *acl, const char *path, const struct acl_file *by, struct err *err)
{
	struct acl_file file = { .path = path, .by = by, .depth = by ? by->depth + 1 : 1 };
	struct strbuf text autostr = STRBUF_INIT;
	struct stat st;
	int r = acl_read(path, &st, &text, err);

	if (r < 0)
		return r;
	file.dev = st.st_dev;
	file.ino = st.st_ino;
	r = acl_may_include(acl, &file, err);
	if (r < 0)
		return r;
	if (memchr(text.text, '\0', text.len))
		return err_set(err, -EINVAL, "%s has a NUL in it: it is no text", path);
	for (char *rest = text.len ? text.text : NULL, *line; (line = strsep(&rest, "\n"));) {
		file.line++;
		acl_line(acl, line, &file);
	}
	return 0;
}

int acl_check(const char *path, const struct name *name, struct strbuf *mistakes, struct err *err)
{
	struct acl acl = { .name = name, .mistakes = mistakes, .denied = STRBUF_INIT };
	int r = acl_file(&acl, path, NULL, err);

	if (r == 0 && mistakes->len)
		r = err_set(err, -EINVAL, "there are mistakes in %s", path);
	else if (r == 0 && acl.denied.len)
		r = err_set(err, -EACCES, "denied by %s", acl.denied.text);
	else if (r == 0 && !acl.allowed)
		r = err_set(err, -EACCES, "no line of %s allows it", path);
	strbuf_free(&acl.denied);
	return r;
}
