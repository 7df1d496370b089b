/* exec.c - exec and shell: commands in nodes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "op/program.h"
#include "run/control.h"
#include "sys/spawn.h"

enum { EXEC_LAB, EXEC_ALL };
const struct opt exec_opts[] = {
	{ "lab", 'l', "LAB", "this one" },
	{ "all", 'a', NULL, "in each node, one after the other" },
	{ 0 },
};
const struct opt shell_opts[] = {
	{ "lab", 'l', "LAB", "this one" },
	{ 0 },
};

struct inside {
	struct running running;
	int control;
	char *cwd;
	const char *env[4]; /* beside that of lab and node */
	bool shell;
};

static void inside_free(struct inside *inside)
{
	fd_closep(&inside->control);
	free(inside->cwd);
	running_free(&inside->running);
}
#define autoinside __attribute__((cleanup(inside_free)))

static void fds_close(int (*fds)[CONTROL_FDS])
{
	for (int i = 0; i < CONTROL_FDS; i++)
		fd_closep(&(*fds)[i]);
}

static int guest_refused(const struct plan_node *node)
{
	cli_complain("%s is a guest: tapnet-lab console %s", node->name, node->name);
	return EXIT_OWN;
}

/* A node with programs of its own is joined whole; of a plain one there is the network, and its
 * mounts, if it has hooks, or those that all plain ones share. */
static struct spawn spawn_in(const struct plan_node *node, struct json_object *answer,
			     const int fds[CONTROL_FDS])
{
	bool cell = json_object_object_get_ex(answer, "cell", NULL);

	return (struct spawn){
		.in = STDIN_FILENO,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
		.tty = -1,
		.cell = cell ? fds[1] : -1,
		.netns = cell ? -1 : fds[0],
		.mntns = cell ? -1 : fds[1],
		.hostname = cell ? NULL : node->name,
		.fresh_sys = !cell && !json_object_object_get_ex(answer, "sys", NULL),
		.die_with_parent = true,
		.uid = -1,
		.gid = -1,
		.foreground = true,
	};
}

/* Runs argv in a node. The exit status. */
static int run_in(const struct inside *inside, const struct plan_node *node, char **argv)
{
	const struct journal_meta *meta = &inside->running.journal.meta;
	const struct ctx ctx = { .dir = meta->dir,
				 .run = inside->running.dir.path,
				 .env = (const char *const *)meta->env };
	const struct program program = { .env = node->env, .n_env = node->n_env };
	struct started_program filled autoprogram = { 0 };
	int fds[CONTROL_FDS] __attribute__((cleanup(fds_close))) = { -1, -1 };
	struct json_object *answer = NULL;
	struct spawn spawn;
	struct err err;

	if (node->guest)
		return guest_refused(node);
	if (cli_ask(inside->control, "enter", node->name, &answer, fds, &err) < 0 ||
	    program_fill(&ctx, &program, inside->env, &filled, &err) < 0) {
		json_object_put(answer);
		cli_complain("%s: %s", node->name, err.msg);
		return EXIT_OWN;
	}
	spawn = spawn_in(node, answer, fds);
	json_object_put(answer);
	spawn.argv = (const char *const *)argv;
	spawn.env = (const char *const *)filled.env;
	spawn.cwd = inside->cwd;
	spawn.cwd_optional = true;
	spawn.own_group = inside->shell && cli_in_front();
	return cli_foreground(&spawn, -1);
}

/* Each node in turn; the status of the first that failed. Ctrl-C ends the row. */
static int run_in_all(const struct inside *inside, char **argv)
{
	const struct plan *plan = inside->running.journal.plan;
	int first = EXIT_FINE, n = 0;

	for (int i = 0; i < plan->n_nodes && first != 130; i++) {
		int r;

		if (plan->nodes[i].guest)
			continue;
		(void)printf("%s==> %s\n", n++ ? "\n" : "", plan->nodes[i].name);
		r = run_in(inside, &plan->nodes[i], argv);
		if (first == EXIT_FINE || r == 130)
			first = r;
	}
	if (n)
		return first;
	cli_complain("%s has no nodes to run it in", plan->lab);
	return EXIT_OWN;
}

static int inside_open(struct inside *inside, const char *lab)
{
	const char *term = getenv("TERM");
	static char text[64];

	if (cli_reach(lab, &inside->running, &inside->control))
		return EXIT_OWN;
	inside->cwd = getcwd(NULL, 0); /* none: / */
	if (term && snprintf(text, sizeof text, "TERM=%s", term) < (int)sizeof text)
		inside->env[0] = text;
	return 0;
}

/* The command's words, as they are: a "--" of its own stays. */
static char **command_of(struct args *args, bool all, const char **ret_node)
{
	int at = args->at;

	if (!all && at < args->argc && !str_eq(args->argv[at], "--"))
		*ret_node = args->argv[at++];
	if (at < args->argc && str_eq(args->argv[at], "--"))
		at++;
	return at < args->argc ? args->argv + at : NULL;
}

int verb_exec(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct inside inside autoinside = { .running = RUNNING_NONE, .control = -1 };
	const struct plan_node *node;
	const char *lab = NULL, *name = NULL;
	bool all = false;
	char **command;
	int o;

	while ((o = args_next(&args)) >= 0) {
		if (o == EXEC_ALL)
			all = true;
		else
			lab = args.value;
	}
	if (args_status(&args) >= 0)
		return args.bad ? EXIT_OWN : EXIT_FINE;
	command = command_of(&args, all, &name);
	if (!command || (!all && !name)) {
		cli_complain("exec: say %s (tapnet-lab help exec)",
			     all || name ? "which command" : "in which node");
		return EXIT_OWN;
	}
	if (inside_open(&inside, lab))
		return EXIT_OWN;
	if (all)
		return run_in_all(&inside, command);
	node = cli_node_told(inside.running.journal.plan, name);
	return node ? run_in(&inside, node, command) : EXIT_OWN;
}

/* A prompt that says where one is; bash's own start files would replace it. */
static void shell_argv(char *path, char *argv[4])
{
	const char *name = strrchr(path, '/');
	static char norc[] = "--norc", noprofile[] = "--noprofile";

	argv[0] = path;
	if (str_eq(name ? name + 1 : path, "bash")) {
		argv[1] = noprofile;
		argv[2] = norc;
	}
}

int verb_shell(const struct verb *verb, int argc, char **argv)
{
	static char fallback[] = "/bin/sh";
	struct args args = ARGS(verb, argc, argv);
	struct inside inside autoinside = { .running = RUNNING_NONE, .control = -1 };
	const struct plan_node *node;
	const char *lab = NULL;
	char *path = getenv("SHELL"), *words[4] = { NULL }, prompt[160];

	while (args_next(&args) >= 0)
		lab = args.value;
	if (args_status(&args) >= 0)
		return args.bad ? EXIT_OWN : EXIT_FINE;
	if (args_operands(&args) != 1) {
		cli_complain("shell: say in which node (tapnet-lab help shell)");
		return EXIT_OWN;
	}
	if (inside_open(&inside, lab))
		return EXIT_OWN;
	node = cli_node_told(inside.running.journal.plan, args_operand(&args, 0));
	if (!node)
		return EXIT_OWN;
	(void)snprintf(prompt, sizeof prompt, "PS1=%s %s# ", inside.running.dir.name, node->name);
	inside.env[inside.env[0] ? 1 : 0] = prompt;
	inside.shell = true;
	shell_argv(path && access(path, X_OK) == 0 ? path : fallback, words);
	return run_in(&inside, node, words);
}
