/* down.c - down and gc: taking labs away. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"
#include "kind/kind.h"
#include "run/run.h"

enum { DOWN_ALL, DOWN_LAB };
const struct opt down_opts[] = {
	{ "all", 'a', NULL, "every lab of yours" },
	{ "lab", 'l', "LAB", "this one" },
	{ 0 },
};
const struct opt gc_opts[] = { { 0 } };

static int down_name(const char *name)
{
	struct labdir dir autolabdir = LABDIR_NONE;
	struct strbuf words autostr = STRBUF_INIT;
	enum down_outcome outcome = DOWN_DONE;
	int64_t start = io_now_ms();
	struct err err;
	int r = labdir_open(name, false, &dir, &err);

	if (r == -ENOENT) {
		cli_complain("the lab %s is not up", name);
		return EXIT_STATE;
	}
	if (r == 0)
		r = run_down(&dir, &outcome, &words, &err);
	if (r == -EBUSY) {
		cli_complain("%s is being brought up or down by another: try again", name);
		return EXIT_STATE;
	}
	if (r < 0) {
		cli_error(&err);
		return EXIT_LEFT;
	}
	if (outcome == DOWN_LEFT) {
		cli_complain("%s: not all could be undone: %s", name, words.text);
		return EXIT_LEFT;
	}
	(void)printf("%s is down (%lld ms)\n", name, (long long)(io_now_ms() - start));
	return EXIT_FINE;
}

static int down_each(const char *name, void *arg)
{
	int *worst = arg, r = down_name(name);

	if (r > *worst)
		*worst = r;
	return 0;
}

/* A lab's name, or a file whose lab is meant: what is up from it, whatever it says by now. */
static int down_operand(const char *operand)
{
	struct loaded loaded autoloaded = { 0 };
	struct load_options options = { .file = operand };
	char name[64];
	int r;

	if (!strchr(operand, '/') && !strchr(operand, '.')) {
		r = cli_find_name(operand, name);
		return r ? r : down_name(name);
	}
	if (cli_up_from(operand, name))
		return down_name(name);
	r = cli_load(&options, &loaded);
	return r ? r : down_name(loaded.lab->name.s);
}

int verb_down(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	const char *lab = NULL;
	bool all = false;
	char name[64];
	struct err err;
	int o, worst = EXIT_FINE, r;

	while ((o = args_next(&args)) >= 0) {
		if (o == DOWN_ALL)
			all = true;
		else
			lab = args.value;
	}
	if (args_status(&args) >= 0)
		return args_status(&args);
	if (all) {
		if (labdir_each(down_each, &worst, &err) < 0) {
			cli_error(&err);
			return EXIT_UNABLE;
		}
		return worst;
	}
	for (int i = 0; i < args_operands(&args); i++) {
		r = down_operand(args_operand(&args, i));
		worst = r > worst ? r : worst;
	}
	if (args_operands(&args))
		return worst;
	r = cli_find_name(lab, name);
	return r ? r : down_name(name);
}

static int gc_one(const char *name, void *arg)
{
	struct labdir dir autolabdir = LABDIR_NONE;
	struct strbuf words autostr = STRBUF_INIT;
	struct strbuf problems autostr = STRBUF_INIT;
	struct err err;
	int *worst = arg, r;

	r = labdir_open(name, false, &dir, &err);
	if (r == -ENOENT || r == -ENOTDIR || (r == 0 && labdir_alive(&dir)))
		return 0;
	if (r == 0)
		r = run_gc(&dir, &words, &problems, &err);
	if (r < 0 && r != -ESTALE && r != -EBUSY) {
		cli_complain("%s: %s", name, err.msg);
		*worst = EXIT_LEFT;
	} else if (problems.len) {
		cli_complain("%s: %s", name, problems.text);
		*worst = EXIT_LEFT;
	} else if (r > 0) {
		cli_say(stdout, "%s: undone: %s\n", name, words.len ? words.text : "nothing");
	}
	return 0;
}

int verb_gc(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	int worst = EXIT_FINE;
	struct err err;

	(void)args_next(&args);
	if (args_status(&args) >= 0)
		return args_status(&args);
	if (labdir_each(gc_one, &worst, &err) < 0) {
		cli_error(&err);
		return EXIT_UNABLE;
	}
	return worst;
}
