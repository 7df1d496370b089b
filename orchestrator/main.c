/* main.c - the table of verbs, and the way into them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/cli.h"

const struct verb verbs[] = {
	{ "up", "deploy", "[FILE]", "makes a lab and leaves it running", up_opts, verb_up, NULL },
	{ "down", "destroy", "[LAB or FILE…]", "takes a lab away", down_opts, verb_down, NULL },
	{ "run", NULL, "[FILE] -- COMMAND…", "makes a lab, runs a command beside it, takes it away",
	  run_opts, verb_run,
	  "The command runs on the host, with TAPNET_LAB set. The exit status is the command's,\n"
	  "128 + the number of the signal that ended it, 127 when it is not found, 126 when it\n"
	  "cannot be executed, and 125 when the lab could not be made or not be taken away.\n" },
	{ "status", "inspect", NULL, "what is there, and where kernel and plan differ", status_opts,
	  verb_status, NULL },
	{ "list", NULL, NULL, "your labs", list_opts, verb_list, NULL },
	{ "exec", NULL, "NODE [--] COMMAND…", "runs a command in a node", exec_opts, verb_exec,
	  "With --all no NODE is named. The exit status is the command's, 128 + the number of the\n"
	  "signal that ended it, 127 when it is not found, 126 when it cannot be executed, and\n"
	  "125 for all that goes wrong before.\n" },
	{ "shell", NULL, "NODE", "a shell in a node", shell_opts, verb_shell, NULL },
	{ "console", NULL, "NODE[.SERVICE]", "the terminal of a guest or service; Ctrl-] leaves",
	  console_opts, verb_console,
	  "When the input is no terminal, it is passed on, and what comes is printed until the\n"
	  "guest ends.\n" },
	{ "logs", NULL, "[NODE[.SERVICE]]", "what guests, services, hooks and exec printed",
	  logs_opts, verb_logs, NULL },
	{ "restart", NULL, "NODE[.SERVICE]", "starts a guest or service anew; its links are kept",
	  restart_opts, verb_restart, NULL },
	{ "queue", NULL, "enable|disable NODE:IF N",
	  "attaches or detaches a queue of a guest's TAP", queue_opts, verb_queue,
	  "N counts from 0. A disabled queue gets no frames; the guest may still send by it. It "
	  "lasts\n"
	  "until the guest's next start, which puts the queues back as the file has them. A TAP "
	  "with\n"
	  "one queue keeps it, and a guest that does not run has none to enable: they are "
	  "detached\n"
	  "while nobody reads them.\n" },
	{ "validate", NULL, "[FILE]", "checks a lab file; makes nothing", validate_opts,
	  verb_validate, NULL },
	{ "plan", NULL, "[FILE]", "shows every step, in order, with its undo", plan_opts, verb_plan,
	  NULL },
	{ "doctor", NULL, NULL, "what this kernel and user can do, and what mends the rest",
	  no_opts, verb_doctor, NULL },
	{ "init", NULL, "[EXAMPLE]", "writes lab.yaml from the examples, or lists them", init_opts,
	  verb_init, NULL },
	{ "gc", NULL, NULL, "finishes what a crash left", gc_opts, verb_gc, NULL },
	{ "schema", NULL, NULL, "prints the JSON Schema of lab files", no_opts, verb_schema, NULL },
	{ "version", NULL, NULL, "prints the version", no_opts, verb_version, NULL },
	{ "help", NULL, "[VERB]", "what there is", no_opts, verb_help, NULL },
	{ 0 },
};

/* Fds 0 to 2 are there, so that nothing of ours ever gets such a number. */
static int fill_stdio(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= 2);
	if (fd < 0)
		return -1;
	(void)close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	const char *names[64], *near;
	size_t n = 0;

	if (fill_stdio() < 0) {
		cli_complain("cannot open /dev/null: %s", strerror(errno));
		return EXIT_UNABLE;
	}
	if (getauxval(AT_SECURE) || geteuid() != getuid() || getegid() != getgid()) {
		cli_complain(
			"it is not made to be setuid or setgid, or to have capabilities of its "
			"own: let sudo start it");
		return EXIT_UNABLE;
	}
	(void)signal(SIGPIPE, SIG_IGN); /* `up | head` is no reason to give the lab up */
	if (argc < 2 || str_eq(argv[1], "-h") || str_eq(argv[1], "--help"))
		return verb_help(NULL, 1, argv) || argc < 2 ? EXIT_INVALID : EXIT_FINE;
	if (str_eq(argv[1], "--version"))
		return verb_version(NULL, 1, argv);
	for (const struct verb *v = verbs; v->name; v++) {
		if (str_eq(v->name, argv[1]) || str_eq(v->alias, argv[1]))
			return v->run(v, argc - 1, argv + 1);
		names[n++] = v->name;
	}
	near = str_nearest(argv[1], names, n);
	if (near)
		cli_complain("no verb \"%s\" (did you mean \"%s\"?)", argv[1], near);
	else
		cli_complain("no verb \"%s\" (tapnet-lab help)", argv[1]);
	return EXIT_INVALID;
}
