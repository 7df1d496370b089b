/* init.c - writes lab.yaml from the examples, or lists them.
 *
 * An example stands in a folder labs, and names hooks of the folder beside it: ../hooks/NAME. Those
 * that it names are copied to ./hooks, and are hooks/NAME in the copy. Its name is what it was.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"

#define EXAMPLE_MAX ((size_t)1 << 20)
#define EXAMPLES    256
#define SUFFIX	    ".yaml"
#define UP	    "../"
#define HOOKS	    "hooks/"
#define NAME_CHARS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
#define LAB_CHARS   "abcdefghijklmnopqrstuvwxyz0123456789-"

enum { INIT_FORCE };
const struct opt init_opts[] = {
	{ "force", 'f', NULL, "write over what is there" },
	{ 0 },
};

struct examples {
	int folder; /* that has labs and hooks */
	char *names[EXAMPLES];
	size_t n;
};

static void examples_free(struct examples *examples)
{
	for (size_t i = 0; i < examples->n; i++)
		free(examples->names[i]);
	fd_closep(&examples->folder);
}
#define autoexamples __attribute__((cleanup(examples_free)))

/* ---- where they are */

/* The folder, if it has labs (and, for a checkout, its meson.build beside them). fd or -1. */
static int data_at(const char *base, const char *below, bool checkout)
{
	char path[PATH_MAX];
	autofd int fd = -1;

	if (snprintf(path, sizeof path, "%s%s", base, below) >= (int)sizeof path)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || faccessat(fd, "labs", X_OK, 0) < 0 ||
	    (checkout && faccessat(fd, "meson.build", R_OK, 0) < 0))
		return -1;
	return take_fd(&fd);
}

/* Beside PREFIX/bin/tapnet-lab is PREFIX/share; above a build folder is its checkout. */
static int data_folder(void)
{
	const char *own = getenv("TAPNET_LAB_DATA");
	char exe[PATH_MAX], *slash;
	ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
	int fd = -1;

	if (own && *own)
		return data_at(own, "", false);
	exe[len < 0 ? 0 : len] = '\0';
	slash = strrchr(exe, '/');
	if (slash) {
		*slash = '\0';
		fd = data_at(exe, "/../share/tapnet-lab", false);
	}
	while (fd < 0 && (slash = strrchr(exe, '/'))) { /* a checkout: some folder above */
		fd = data_at(exe, "", true);
		*slash = '\0';
	}
	return fd;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool find_examples(struct examples *examples)
{
	size_t end = strlen(SUFFIX);
	int fd = -1;
	DIR *d = NULL;

	examples->folder = data_folder();
	if (examples->folder >= 0)
		fd = openat(examples->folder, "labs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		d = fdopendir(fd);
	if (!d) {
		fd_closep(&fd);
		cli_complain("the examples are not where they were installed to: say where with "
			     "TAPNET_LAB_DATA");
		return false;
	}
	for (struct dirent *e; (e = readdir(d)) && examples->n < EXAMPLES;) {
		size_t len = strlen(e->d_name);

		if (len <= end || !str_eq(e->d_name + len - end, SUFFIX))
			continue;
		examples->names[examples->n] = strndup(e->d_name, len - end);
		if (examples->names[examples->n])
			examples->n++;
	}
	(void)closedir(d);
	qsort(examples->names, examples->n, sizeof *examples->names, by_name);
	return true;
}

static int read_example(const struct examples *examples, const char *name, struct strbuf *text)
{
	char path[NAME_MAX + 16];

	(void)snprintf(path, sizeof path, "labs/%s" SUFFIX, name);
	return io_read_file(examples->folder, path, EXAMPLE_MAX, text);
}

/* ---- listing: a lab's first comment line says what it is */

static int list_examples(const struct examples *examples)
{
	int width = 0;

	for (size_t i = 0; i < examples->n; i++)
		if ((int)strlen(examples->names[i]) > width)
			width = (int)strlen(examples->names[i]);
	for (size_t i = 0; i < examples->n; i++) {
		struct strbuf text autostr = STRBUF_INIT;
		struct strbuf line autostr = STRBUF_INIT;

		(void)read_example(examples, examples->names[i], &text);
		if (text.text[0] == '#') {
			const char *words = text.text + 1 + strspn(text.text + 1, " ");

			strbuf_safe(&line, words, strcspn(words, "\r\n"));
		}
		(void)printf("%-*s  %s\n", width, examples->names[i], line.text);
	}
	(void)fprintf(stderr, "`tapnet-lab init EXAMPLE` writes one to ./" LAB_FILE "\n");
	return EXIT_FINE;
}

/* ---- writing */

/* Creates a file that must not be there yet, unless with force. fd or -errno. */
static int create(const char *path, mode_t mode, bool force)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL), mode);

	if (fd >= 0)
		return fd;
	if (errno == EEXIST)
		cli_complain("%s is there already (--force writes over it)", path);
	else
		cli_complain("cannot write %s: %s", path, strerror(errno));
	return -errno;
}

static bool write_file(const char *path, mode_t mode, bool force, const struct strbuf *text)
{
	autofd int fd = create(path, mode, force);
	int r;

	if (fd < 0)
		return false;
	r = io_write_all(fd, text->text, text->len);
	if (r < 0)
		cli_complain("cannot write %s: %s", path, strerror(-r));
	return r == 0;
}

static bool copy_hook(const struct examples *examples, const char *path, bool force)
{
	struct strbuf text autostr = STRBUF_INIT;
	struct stat st;
	int r = io_read_file(examples->folder, path, EXAMPLE_MAX, &text);

	if (r < 0 || fstatat(examples->folder, path, &st, 0) < 0) {
		cli_complain("the example's %s cannot be read: %s", path,
			     strerror(r < 0 ? -r : errno));
		return false;
	}
	if (mkdir("hooks", 0777) < 0 && errno != EEXIST) {
		cli_complain("cannot make ./hooks: %s", strerror(errno));
		return false;
	}
	if (!force && access(path, F_OK) == 0) {
		cli_say(stderr, "%s is there already, and stays\n", path);
		return true;
	}
	return write_file(path, st.st_mode & 0777, force, &text);
}

/* Copies the hooks that the text names, each once. */
static bool copy_hooks(const struct examples *examples, const char *text, bool force)
{
	struct strbuf seen autostr = STRBUF_INIT;

	for (const char *at = text; (at = strstr(at, UP HOOKS));) {
		char path[NAME_MAX], mark[NAME_MAX + 2];
		size_t len;

		at += strlen(UP HOOKS);
		len = strspn(at, NAME_CHARS);
		if (!len || len > 128)
			continue;
		(void)snprintf(path, sizeof path, HOOKS "%.*s", (int)len, at);
		(void)snprintf(mark, sizeof mark, "%s\n", path);
		if (strstr(seen.text, mark))
			continue;
		strbuf_puts(&seen, mark);
		if (!copy_hook(examples, path, force))
			return false;
	}
	(void)fputs(seen.text, stdout);
	return true;
}

/* The lab keeps its name, which was its file's. */
static void add_name(struct strbuf *out, const char *name, const char *text)
{
	bool has = str_starts(text, "name:") || strstr(text, "\nname:");

	if (!has && strlen(name) <= 32 && strspn(name, LAB_CHARS) == strlen(name))
		strbuf_printf(out, "name: %s\n", name);
}

/* The example as it is to stand here; what else it names of the folder above its own is told. */
static void adapt(const char *name, const char *text, struct strbuf *out)
{
	const char *rest = text;

	while (*rest == '#') {
		size_t len = strcspn(rest, "\n");

		len += rest[len] == '\n';
		strbuf_add(out, rest, len);
		rest += len;
	}
	add_name(out, name, text);
	for (const char *at; (at = strstr(rest, UP)); rest = at + strlen(UP)) {
		bool hook = str_starts(at + strlen(UP), HOOKS);

		strbuf_add(out, rest, (size_t)(at - rest) + (hook ? 0 : strlen(UP)));
		if (!hook)
			cli_complain("it refers to %.*s: change that to where it is",
				     (int)strcspn(at, " ,}]\"'\n"), at);
	}
	strbuf_puts(out, rest);
}

static int write_example(const struct examples *examples, const char *name, bool force)
{
	struct strbuf text autostr = STRBUF_INIT;
	struct strbuf lab autostr = STRBUF_INIT;
	int r = read_example(examples, name, &text);

	if (r < 0) {
		cli_complain("the example %s cannot be read: %s", name, strerror(-r));
		return EXIT_UNABLE;
	}
	if (!force && access(LAB_FILE, F_OK) == 0) {
		cli_complain(LAB_FILE " is there already (--force writes over it)");
		return EXIT_INVALID;
	}
	adapt(name, text.text, &lab);
	if (!copy_hooks(examples, text.text, force) || !write_file(LAB_FILE, 0666, force, &lab))
		return EXIT_UNABLE;
	(void)printf(LAB_FILE "\n");
	(void)fprintf(stderr, "next: tapnet-lab up\n");
	return EXIT_FINE;
}

int verb_init(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct examples examples autoexamples = { .folder = -1 };
	const char *near, *name;
	bool force = false;

	while (args_next(&args) >= 0)
		force = true;
	if (args_status(&args) >= 0)
		return args_status(&args);
	if (args_operands(&args) > 1) {
		cli_complain("init: one example at a time (tapnet-lab help init)");
		return EXIT_INVALID;
	}
	if (!find_examples(&examples))
		return EXIT_UNABLE;
	name = args_operand(&args, 0);
	if (!name)
		return list_examples(&examples);
	for (size_t i = 0; i < examples.n; i++)
		if (str_eq(examples.names[i], name))
			return write_example(&examples, name, force);
	near = str_nearest(name, (const char *const *)examples.names, examples.n);
	if (near)
		cli_complain("no example \"%s\" (did you mean \"%s\"?)", name, near);
	else
		cli_complain("no example \"%s\" (tapnet-lab init lists them)", name);
	return EXIT_INVALID;
}
