/* logs.c - what guests, services, hooks and exec printed, from the run directory.
 *
 * A lab that did not come up leaves its logs in NAME.failed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"

#define LOG_SUFFIX ".log"

enum { LOGS_LAB, LOGS_FOLLOW };
const struct opt logs_opts[] = {
	{ "lab", 'l', "LAB", "this one" },
	{ "follow", 'f', NULL, "go on as they grow, until the lab is gone" },
	{ 0 },
};

struct log {
	char *name; /* without .log */
	int fd;	    /* -1: not open */
};

struct logs {
	struct labdir dir;
	const char *what; /* NULL: all */
	struct log *v;
	size_t n;
	const char *shown; /* the name of the one printed last */
	bool safe;	   /* stdout is a terminal */
};

static void logs_free(struct logs *logs)
{
	for (size_t i = 0; i < logs->n; i++) {
		free(logs->v[i].name);
		fd_closep(&logs->v[i].fd);
	}
	free(logs->v);
	labdir_close(&logs->dir);
}
#define autologs __attribute__((cleanup(logs_free)))

/* ---- which */

/* "r1" means its own log and those of its services. */
static bool wanted(const struct logs *logs, const char *name)
{
	size_t len = logs->what ? strlen(logs->what) : 0;

	return !logs->what ||
	       (strncmp(name, logs->what, len) == 0 && (!name[len] || name[len] == '.'));
}

static int by_name(const void *a, const void *b)
{
	const struct log *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static bool known(const struct logs *logs, const char *name)
{
	for (size_t i = 0; i < logs->n; i++)
		if (str_eq(logs->v[i].name, name))
			return true;
	return false;
}

static bool add(struct logs *logs, const char *file)
{
	size_t len = strlen(file), end = strlen(LOG_SUFFIX);
	char *name =
		len > end && str_eq(file + len - end, LOG_SUFFIX) ? strndup(file, len - end) : NULL;
	struct log *v;

	if (!name || !wanted(logs, name) || known(logs, name)) {
		free(name);
		return false;
	}
	v = realloc(logs->v, (logs->n + 1) * sizeof *v);
	if (!v) {
		free(name);
		return false;
	}
	logs->v = v;
	logs->v[logs->n++] = (struct log){ .name = name, .fd = -1 };
	return true;
}

/* Looks for logs that are new. Those that are known keep their places. */
static void look(struct logs *logs)
{
	int fd = openat(logs->dir.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t before = logs->n;

	if (!d) {
		fd_closep(&fd);
		return;
	}
	for (struct dirent *e; (e = readdir(d));)
		(void)add(logs, e->d_name);
	(void)closedir(d);
	if (logs->n > before)
		qsort(logs->v + before, logs->n - before, sizeof *logs->v, by_name);
}

/* ---- what they hold */

static void print(const struct logs *logs, const char *data, size_t len)
{
	struct strbuf out autostr = STRBUF_INIT;

	for (size_t i = 0, from = 0; logs->safe && i <= len; i++) {
		if (i < len && data[i] != '\n' && data[i] != '\t' && data[i] != '\r')
			continue;
		strbuf_safe(&out, data + from, i - from);
		if (i < len && data[i] != '\r')
			strbuf_add(&out, data + i, 1);
		from = i + 1;
	}
	(void)fwrite(logs->safe ? out.text : data, 1, logs->safe ? out.len : len, stdout);
}

/* What is there of one and was not shown yet; headed by its name when there are several. */
static void show(struct logs *logs, struct log *log)
{
	char data[65536], file[300];
	ssize_t n;

	if (log->fd < 0) {
		(void)snprintf(file, sizeof file, "%s" LOG_SUFFIX, log->name);
		log->fd = openat(logs->dir.fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	while (log->fd >= 0 && (n = read(log->fd, data, sizeof data)) > 0) {
		if (logs->n > 1 && !str_eq(logs->shown, log->name))
			(void)printf("%s==> %s\n", logs->shown ? "\n" : "", log->name);
		logs->shown = log->name;
		print(logs, data, (size_t)n);
	}
}

static void show_all(struct logs *logs, bool follow)
{
	for (size_t i = 0; i < logs->n; i++) {
		show(logs, &logs->v[i]);
		if (!follow) /* of a thousand not all can be open */
			fd_closep(&logs->v[i].fd);
	}
	(void)fflush(stdout);
}

/* Is the lab being removed? The directory itself tells nothing of its end while we hold it. */
static bool tells_end(const char *events, ssize_t len)
{
	for (const char *p = events; p < events + len;) {
		const struct inotify_event *event = (const void *)p;

		if ((event->mask & IN_DELETE) && event->len && str_eq(event->name, "journal"))
			return true;
		p += sizeof *event + event->len;
	}
	return false;
}

/* Until the lab is gone: what the teardown wrote is still read, through our fds. */
static int follow(struct logs *logs)
{
	char path[64], events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	autofd int watch = inotify_init1(IN_CLOEXEC);
	ssize_t n = 0;

	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", logs->dir.fd);
	if (watch < 0 ||
	    inotify_add_watch(watch, path,
			      IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR) < 0) {
		cli_complain("cannot watch %s: %s", logs->dir.path, strerror(errno));
		return EXIT_UNABLE;
	}
	for (;;) {
		bool end = tells_end(events, n) || faccessat(logs->dir.fd, "journal", F_OK, 0) < 0;

		look(logs);
		show_all(logs, true);
		if (end || ferror(stdout))
			return EXIT_FINE;
		n = read(watch, events, sizeof events);
		if (n < 0 && errno != EINTR)
			return EXIT_UNABLE;
		n = n < 0 ? 0 : n;
	}
}

/* ---- the verb */

/* The lab's directory, or that of its failed way up. */
static int open_dir(const char *lab, struct labdir *dir)
{
	const char *env = getenv("TAPNET_LAB");
	char name[64], failed[80];
	struct err err;
	bool here = !lab && !(env && *env) && cli_here(name, false);
	int r = here ? 0 : cli_find_name(lab, name);

	if (r)
		return r;
	r = labdir_open(name, false, dir, &err);
	if (r == -ENOENT) {
		(void)snprintf(failed, sizeof failed, "%s.failed", name);
		r = labdir_open(failed, false, dir, &err);
		if (r == 0)
			(void)fprintf(stderr, "%s is not up; these are of its way up that failed\n",
				      name);
	}
	if (r == -ENOENT && here) /* then the only one that is up */
		return cli_find_name(NULL, name) || labdir_open(name, false, dir, &err) < 0
			       ? EXIT_STATE
			       : 0;
	if (r == -ENOENT)
		cli_complain("%s is not up, and there are no logs of a way up that failed", name);
	else if (r < 0)
		cli_error(&err);
	return r < 0 ? EXIT_STATE : 0;
}

/* There is no log: is the name at fault? Told, then. */
static bool misnamed(const struct logs *logs)
{
	struct journal journal autojournal = JOURNAL_NONE;
	struct err err;

	if (!logs->what)
		return false;
	if (journal_open(logs->dir.fd, &journal, &err) < 0) {
		cli_complain("no log of \"%s\"", logs->what);
		return true;
	}
	return strchr(logs->what, '.') ? !cli_program(journal.plan, logs->what)
				       : !cli_node_told(journal.plan, logs->what);
}

int verb_logs(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct logs logs autologs = { .dir = LABDIR_NONE, .safe = isatty(STDOUT_FILENO) };
	const char *lab = NULL;
	bool more = false;
	int o, r;

	while ((o = args_next(&args)) >= 0) {
		if (o == LOGS_FOLLOW)
			more = true;
		else
			lab = args.value;
	}
	if (args_status(&args) >= 0)
		return args_status(&args);
	if (args_operands(&args) > 1) {
		cli_complain("logs: one node or service at a time (tapnet-lab help logs)");
		return EXIT_INVALID;
	}
	logs.what = args_operand(&args, 0);
	r = open_dir(lab, &logs.dir);
	if (r)
		return r;
	look(&logs);
	if (!logs.n && misnamed(&logs))
		return EXIT_INVALID;
	if (!logs.n && !more)
		cli_complain("%s has printed nothing", logs.what ? logs.what : logs.dir.name);
	if (more)
		return follow(&logs);
	show_all(&logs, false);
	return EXIT_FINE;
}
