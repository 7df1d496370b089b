/* run.c - run: a lab for as long as a command takes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"
#include "cli/live.h"

#define SETS_MAX 64

enum { RUN_NAME, RUN_SET, RUN_TIMEOUT, RUN_TTL, RUN_TRUST, RUN_ASSUME };
const struct opt run_opts[] = {
	{ "name", 'n', "NAME", "another name for the lab" },
	{ "set", 's', "VAR=VALUE", "a variable of the file" },
	{ "timeout", 't', "TIME", "for the whole way up (10m)" },
	{ "ttl", 0, "TIME", "end it all after this time" },
	{ "trust-hooks", 0, NULL, "run hook scripts although others can write them" },
	{ "assume", 0, "ANSWER", "of this machine: kvm=yes or no, vhost=yes or no" },
	{ 0 },
};

static bool run_options(struct args *args, struct live_options *options, const char **sets)
{
	int o;

	options->load.lab.set = sets;
	options->load.files = true;
	while ((o = args_next(args)) >= 0) {
		if (o == RUN_NAME)
			options->load.lab.name = args->value;
		else if (o == RUN_SET && options->load.lab.n_set < SETS_MAX)
			sets[options->load.lab.n_set++] = args->value;
		else if (o == RUN_TIMEOUT)
			options->timeout_ms = args_duration(args);
		else if (o == RUN_TTL)
			options->ttl_ms = args_duration(args);
		else if (o == RUN_TRUST)
			options->load.trust_hooks = true;
		else if (o == RUN_ASSUME)
			args->bad = !cli_assume(&options->load.assume, args->value);
	}
	return args_status(args) < 0;
}

/* [FILE] -- COMMAND…; NULL with the mistake told. */
static char **run_command(struct args *args, const char **ret_file)
{
	int at = args->at;

	if (at < args->argc && !str_eq(args->argv[at], "--"))
		*ret_file = args->argv[at++];
	if (at + 1 < args->argc && str_eq(args->argv[at], "--"))
		return args->argv + at + 1;
	cli_complain("run: say which command, after `--` (tapnet-lab help run)");
	return NULL;
}

/* The caller's environment with TAPNET_LAB set, on the heap; NULL without memory. */
static const char **run_env(const char *lab_var)
{
	extern char **environ;
	const char **env;
	size_t n = 0, k = 0;

	while (environ && environ[n])
		n++;
	env = calloc(n + 2, sizeof *env);
	for (size_t i = 0; env && i < n; i++)
		if (!str_starts(environ[i], "TAPNET_LAB="))
			env[k++] = environ[i];
	if (env)
		env[k] = lab_var;
	return env;
}

static int command_status(const struct live *live, char **command)
{
	char lab_var[64];
	const char **env autofree = NULL;
	char *cwd autofree = getcwd(NULL, 0);
	struct spawn spawn = {
		.argv = (const char *const *)command,
		.cwd = cwd,
		.in = STDIN_FILENO,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
		.tty = -1,
		.cell = -1,
		.netns = -1,
		.mntns = -1,
		.die_with_parent = true,
		.uid = -1,
		.gid = -1,
		.foreground = true,
	};

	(void)snprintf(lab_var, sizeof lab_var, "TAPNET_LAB=%s", live->request.plan->lab);
	env = run_env(lab_var);
	if (!env) {
		cli_complain("run: no memory");
		return EXIT_OWN;
	}
	spawn.env = (const char *const *)env;
	return cli_foreground(&spawn, live->fd);
}

/* Lets the lab go and waits until it is gone: whether all of it is. */
static bool run_end(struct live *live)
{
	int r;

	live->stopping = true;
	live->deadline = io_now_ms() + run_down_ms(live->request.plan);
	(void)shutdown(live->fd, SHUT_WR);
	r = live_wait(live);
	return r == LIVE_ENDED || (r == LIVE_LOST && live_lost(live) != EXIT_LEFT);
}

int verb_run(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct live_options options = { .foreground = true, .quiet = true, .apart = true };
	struct live live autolive = LIVE_NONE;
	const char *sets[SETS_MAX];
	char **command;
	int r;

	if (!run_options(&args, &options, sets))
		return args.bad ? EXIT_OWN : EXIT_FINE;
	command = run_command(&args, &options.load.file);
	if (!command)
		return EXIT_OWN;
	r = live_start(&options, &live);
	if (r == LIVE_ALREADY)
		cli_complain("run makes a lab of its own: take that one down first, or --name "
			     "another");
	if (r)
		return EXIT_OWN;
	r = live_wait(&live);
	if (r == LIVE_LOST)
		(void)live_lost(&live);
	if (r != LIVE_READY)
		return EXIT_OWN;
	r = command_status(&live, command);
	return run_end(&live) ? r : EXIT_OWN;
}
