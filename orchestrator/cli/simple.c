/* simple.c - the verbs that need no lab up: validate, plan, schema, version, help; and down, gc. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "kind/kind.h"
#include "run/run.h"

#define SETS_MAX 64

enum { LOAD_NAME, LOAD_SET, PLAN_FORMAT, PLAN_ASSUME };
const struct opt validate_opts[] = {
	{ "name", 'n', "NAME", "another name for the lab" },
	{ "set", 's', "VAR=VALUE", "a variable of the file" },
	{ 0 },
};
const struct opt plan_opts[] = {
	{ "name", 'n', "NAME", "another name for the lab" },
	{ "set", 's', "VAR=VALUE", "a variable of the file" },
	{ "format", 0, "text|json", "for people, or for programs" },
	{ "assume", 0, "ANSWER", "of this machine: kvm=yes or no, vhost=yes or no" },
	{ 0 },
};

struct plan_choice {
	struct load_options load;
	bool json;
	const char *sets[SETS_MAX];
};

static int choices(struct args *args, struct plan_choice *choice)
{
	int o;

	choice->load.lab.set = choice->sets;
	while ((o = args_next(args)) >= 0) {
		if (o == LOAD_NAME)
			choice->load.lab.name = args->value;
		else if (o == LOAD_SET && choice->load.lab.n_set < SETS_MAX)
			choice->sets[choice->load.lab.n_set++] = args->value;
		else if (o == PLAN_ASSUME && !cli_assume(&choice->load.assume, args->value))
			args->bad = true;
		else if (o == PLAN_FORMAT && !(choice->json = str_eq(args->value, "json")) &&
			 !str_eq(args->value, "text")) {
			cli_complain("--format is text or json");
			args->bad = true;
		}
	}
	choice->load.file = args_operand(args, 0);
	if (args_status(args) < 0 && args_operands(args) > 1) {
		cli_complain("%s: one lab file at a time", args->verb->name);
		return EXIT_INVALID;
	}
	return args_status(args);
}

int verb_validate(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct plan_choice choice = { 0 };
	struct loaded loaded autoloaded = { 0 };
	int r = choices(&args, &choice);

	if (r >= 0)
		return r;
	r = cli_load(&choice.load, &loaded);
	if (r == 0)
		cli_say(stdout, "%s: fine: %d node%s, %d step%s\n", loaded.lab->file,
			loaded.lab->n_nodes, loaded.lab->n_nodes == 1 ? "" : "s",
			loaded.plan->n_steps, loaded.plan->n_steps == 1 ? "" : "s");
	return r;
}

int verb_plan(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct plan_choice choice = { 0 };
	struct loaded loaded autoloaded = { 0 };
	struct strbuf out autostr = STRBUF_INIT;
	int r = choices(&args, &choice);

	if (r >= 0)
		return r;
	r = cli_load(&choice.load, &loaded);
	if (r)
		return r;
	if (choice.json)
		r = plan_print_json(loaded.plan, &loaded.assume, &out);
	else
		plan_print(loaded.plan, &loaded.assume, &out);
	(void)fwrite(out.text, 1, out.len, stdout);
	return r < 0 || out.failed ? EXIT_UNABLE : EXIT_FINE;
}

int verb_schema(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct strbuf out autostr = STRBUF_INIT;

	(void)args_next(&args);
	if (args_status(&args) >= 0)
		return args_status(&args);
	if (schema_write(&kinds, &out) < 0)
		return EXIT_UNABLE;
	(void)fwrite(out.text, 1, out.len, stdout);
	return EXIT_FINE;
}

int verb_version(const struct verb *verb, int argc, char **argv)
{
	(void)verb;
	(void)argc;
	(void)argv;
	(void)printf("tapnet-lab %s\n", TAPNET_VERSION);
	return EXIT_FINE;
}

static void help_all(void)
{
	(void)printf("usage: tapnet-lab VERB [OPTION…] …\n\n");
	for (const struct verb *v = verbs; v->name; v++) {
		const char *words = v->args ? v->args : "";
		int width = 24;

		for (const char *c = words; *c; c++) /* "…" is three bytes in one column */
			width += (*c & 0xc0) == 0x80;
		(void)printf("  %-10s %-*s %s\n", v->name, width, words, v->help);
	}
	(void)printf("\nFILE is ./" LAB_FILE
		     " by default. LAB is -l LAB, else $TAPNET_LAB, else the lab of ./" LAB_FILE
		     ",\nelse the only one that is up. `tapnet-lab help VERB` tells a verb's "
		     "options.\n");
}

int verb_help(const struct verb *verb, int argc, char **argv)
{
	(void)verb;
	if (argc < 2) {
		help_all();
		return EXIT_FINE;
	}
	for (const struct verb *v = verbs; v->name; v++)
		if (str_eq(v->name, argv[1]) || str_eq(v->alias, argv[1])) {
			cli_usage(v, false);
			return EXIT_FINE;
		}
	cli_complain("no verb \"%s\" (tapnet-lab help)", argv[1]);
	return EXIT_INVALID;
}
