/* load.c - labs: from their files, and those that are up. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"
#include "kind/kind.h"
#include "run/run.h"

bool cli_assume(struct assume *assume, const char *text)
{
	struct {
		const char *name;
		struct answer *answer;
	} known[] = { { "kvm", &assume->kvm }, { "vhost", &assume->vhost } };
	const char *is = strchr(text, '=');

	for (size_t i = 0; is && i < COUNT(known); i++) {
		size_t len = strlen(known[i].name);

		if ((size_t)(is - text) != len || strncmp(text, known[i].name, len) != 0 ||
		    (!str_eq(is, "=yes") && !str_eq(is, "=no")))
			continue;
		*known[i].answer = (struct answer){ .known = true, .yes = str_eq(is, "=yes") };
		return true;
	}
	cli_complain("--assume %s: what can be assumed is kvm=yes or no, and vhost=yes or no",
		     text);
	return false;
}

int cli_read(const char *path, size_t max, struct strbuf *text)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? io_read_file(AT_FDCWD, path, max, text) : -EINVAL;
}

static uint64_t sum_more(uint64_t h, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return h;
}

static bool kind_before(const struct plan *plan, int node)
{
	for (int i = 0; i < node; i++)
		if (str_eq(plan->nodes[i].kind, plan->nodes[node].kind))
			return true;
	return false;
}

uint32_t cli_sum(const struct plan *plan, const char *dir, const char *text, size_t len)
{
	uint64_t h = sum_more(STR_HASH_INIT, text, len);

	for (int i = 0; i < plan->n_nodes; i++) {
		struct strbuf preset autostr = STRBUF_INIT;
		char path[PATH_MAX];

		if (!plan->nodes[i].guest || kind_before(plan, i) ||
		    snprintf(path, sizeof path, "%s/" PRESETS_DIR "%s.yaml", dir,
			     plan->nodes[i].kind) >= (int)sizeof path)
			continue;
		if (cli_read(path, PRESET_MAX, &preset) == 0)
			h = sum_more(h, preset.text, preset.len);
	}
	return (uint32_t)(h ^ h >> 32);
}

static int tell(const struct loaded *loaded)
{
	struct strbuf out autostr = STRBUF_INIT;

	diag_print(&loaded->diags, &out);
	(void)fflush(stdout);
	(void)fputs(out.text, stderr);
	if (out.failed)
		(void)fputs("tapnet-lab: no memory to show what is wrong in the file\n", stderr);
	return EXIT_INVALID;
}

/* Of this machine: what the lab is to find, and who could have written what root would run. */
static int check_files(const struct load_options *options, struct loaded *loaded)
{
	struct hook_trust trust = { .judged = geteuid() == 0 && !options->trust_hooks };
	const char *file = loaded->lab->file;
	struct stat st;

	if (stat(file, &st) == 0) {
		trust.owner = loaded->owner = st.st_uid;
		if (trust.judged && st.st_mode & S_IWOTH)
			cli_complain(
				"careful: everybody can write %s (mode %03o), and it says what "
				"root runs: chmod o-w it",
				file, st.st_mode & 0777);
	}
	(void)kind_check_files(loaded->lab, &loaded->diags);
	return kind_check_hooks(loaded->lab, &trust, &loaded->diags);
}

int cli_load(const struct load_options *options, struct loaded *ret_loaded)
{
	struct loaded *loaded = ret_loaded;
	const char *file = options->file ? options->file : LAB_FILE;
	struct err err = { 0 };
	int r = arena_init(&loaded->arena, 0, &err);

	if (r == 0)
		r = lab_load(&loaded->arena, file, &options->lab, &kinds, &loaded->diags,
			     &loaded->lab, &err);
	if (r < 0 && loaded->diags.total)
		return tell(loaded);
	if (r == -ENOENT && !options->file) {
		cli_complain(
			"there is no %s here: name a file, or write one with `tapnet-lab init`",
			LAB_FILE);
		return EXIT_INVALID;
	}
	if (r < 0) {
		cli_error(&err);
		return EXIT_INVALID;
	}
	loaded->assume = options->assume;
	r = plan_make(&loaded->arena, loaded->lab, &loaded->assume, &loaded->diags, &loaded->plan);
	if (r == 0 && options->files)
		r = check_files(options, loaded);
	if (r < 0)
		return tell(loaded);
	loaded->sum =
		cli_sum(loaded->plan, loaded->lab->dir, loaded->diags.text, loaded->diags.text_len);
	return 0;
}

void loaded_free(struct loaded *loaded)
{
	arena_free(&loaded->arena);
}

/* ---- labs that are up */

void running_free(struct running *running)
{
	journal_close(&running->journal);
	labdir_close(&running->dir);
}

struct only {
	char name[64];
	int n;
};

static int count_lab(const char *name, void *arg)
{
	struct only *only = arg;

	if (only->n++ == 0)
		(void)snprintf(only->name, sizeof only->name, "%s", name);
	return 0;
}

static bool is_up(const char *name)
{
	struct labdir dir autolabdir = LABDIR_NONE;
	struct err err;

	return labdir_open(name, false, &dir, &err) == 0 && labdir_alive(&dir);
}

bool cli_here(char name_out[64], bool up)
{
	struct arena arena = ARENA_NONE;
	struct diags diags = { 0 };
	struct lab_options options = { 0 };
	struct lab *lab = NULL;
	struct stat st;
	struct err err;
	bool found = false;

	if (access(LAB_FILE, R_OK) < 0 || stat(LAB_FILE, &st) < 0 || !S_ISREG(st.st_mode) ||
	    arena_init(&arena, 0, &err) < 0)
		return false;
	if (lab_load(&arena, LAB_FILE, &options, &kinds, &diags, &lab, &err) == 0 &&
	    (!up || is_up(lab->name.s))) {
		(void)snprintf(name_out, 64, "%s", lab->name.s);
		found = true;
	}
	arena_free(&arena);
	return found;
}

struct up_from {
	char file[PATH_MAX]; /* as journals have it */
	char name[64];
	int n;
};

static int count_up_from(const char *name, void *arg)
{
	struct labdir dir autolabdir = LABDIR_NONE;
	struct journal journal autojournal = JOURNAL_NONE;
	struct up_from *from = arg;
	struct err err;

	if (labdir_open(name, false, &dir, &err) < 0 || journal_open(dir.fd, &journal, &err) < 0 ||
	    !str_eq(journal.meta.file, from->file))
		return 0;
	from->n++;
	(void)snprintf(from->name, sizeof from->name, "%s", name);
	return 0;
}

/* The file's folder is there, the file itself need not be. */
bool cli_up_from(const char *file, char name_out[64])
{
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
	struct up_from from = { .n = 0 };
	char folder[PATH_MAX], real[PATH_MAX];
	struct err err;
	int n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - file + 1) : 1,
			 slash ? file : ".");

	if (n >= (int)sizeof folder || !realpath(folder, real))
		return false;
	n = snprintf(from.file, sizeof from.file, "%s/%s", str_eq(real, "/") ? "" : real, base);
	if (n >= (int)sizeof from.file || labdir_each(count_up_from, &from, &err) < 0 ||
	    from.n != 1)
		return false;
	(void)snprintf(name_out, 64, "%s", from.name);
	return true;
}

int cli_find_name(const char *name, char name_out[64])
{
	const char *env = getenv("TAPNET_LAB");
	struct only only = { 0 };
	struct err err;

	if (!name && env && *env)
		name = env;
	if (name) {
		if (!*name || strlen(name) > 32 ||
		    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(name)) {
			cli_complain("\"%s\" is not a lab's name", name);
			return EXIT_INVALID;
		}
		(void)snprintf(name_out, 64, "%s", name);
		return 0;
	}
	if (cli_here(name_out, true) || cli_up_from(LAB_FILE, name_out))
		return 0;
	if (labdir_each(count_lab, &only, &err) < 0) {
		cli_error(&err);
		return EXIT_UNABLE;
	}
	if (only.n == 1) {
		(void)snprintf(name_out, 64, "%s", only.name);
		return 0;
	}
	cli_complain(only.n ? "%d labs are up: say which with -l LAB (tapnet-lab list)"
			    : "no lab is up",
		     only.n);
	return EXIT_STATE;
}

int cli_find(const char *name, struct running *ret_running)
{
	char found[64];
	struct err err;
	int r = cli_find_name(name, found);

	if (r)
		return r;
	r = labdir_open(found, false, &ret_running->dir, &err);
	if (r == -ENOENT) {
		cli_complain("the lab %s is not up", found);
		return EXIT_STATE;
	}
	if (r == 0)
		r = run_journal(&ret_running->dir, &ret_running->journal, &err);
	if (r < 0) {
		cli_error(&err);
		return EXIT_STATE;
	}
	return 0;
}

const struct plan_node *cli_node(const struct plan *plan, const char *name)
{
	for (int i = 0; i < plan->n_nodes; i++)
		if (str_eq(plan->nodes[i].name, name))
			return &plan->nodes[i];
	return NULL;
}
