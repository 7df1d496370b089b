/* cli.h - what the verbs share: options, labs, errors. */
#ifndef TAPNET_CLI_CLI_H
#define TAPNET_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "model/lab.h"
#include "plan/plan.h"
#include "run/journal.h"
#include "run/labdir.h"
#include "sys/spawn.h"

struct json_object;

/* One option of a verb: its help, and where its value goes. */
struct opt {
	const char *name; /* long; NULL ends the list */
	char letter;	  /* 0: none */
	const char *arg;  /* what it takes, for the help; NULL: nothing */
	const char *help;
};

struct verb {
	const char *name, *alias;
	const char *args; /* "[FILE]" */
	const char *help; /* one line */
	const struct opt *opts;
	int (*run)(const struct verb *verb, int argc, char **argv); /* the exit status */
	const char *more; /* further text of its help, or NULL */
};

extern const struct verb verbs[];
extern const struct opt no_opts[];

/* ---- options: cli_next() gives them one by one, then -1 and the rest in args */

struct args {
	const struct verb *verb;
	int argc, at;
	char **argv;
	const char *value; /* of the option given last */
	bool help;	   /* it was --help, and that is told */
	bool bad;	   /* usage: told */
	char *bundle;	   /* the rest of -abc */
	int behind;	   /* operands now between an option and its value */
};

#define ARGS(verb_, argc_, argv_)                                                                  \
	((struct args){ .verb = (verb_), .argc = (argc_), .at = 1, .argv = (argv_) })

/* Index into verb->opts, or -1 at the end of the options (or after a mistake: bad). */
int args_next(struct args *args);
/* After the options: the n-th operand, NULL when there are fewer. "--" is left out. */
const char *args_operand(const struct args *args, int n);
int args_operands(const struct args *args);
/* What the verb returns at once: 0 after --help, 2 after a mistake, -1 to go on. */
int args_status(const struct args *args);
/* "3h", "10s", "500ms", "90": milliseconds; -1 with the mistake told. */
int64_t args_duration(struct args *args);

void cli_usage(const struct verb *verb, bool to_stderr);
/* tapnet-lab: …: to stderr, made safe for terminals. */
void cli_complain(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* To a terminal, perhaps: made safe for it, too. */
void cli_say(FILE *to, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cli_error(const struct err *err);
bool cli_colour(int fd);

/* ---- labs in files */

struct loaded {
	struct arena arena;
	struct diags diags;
	struct lab *lab;
	struct plan *plan;
	struct assume assume;
	uint32_t sum; /* cli_sum() */
	uid_t owner;  /* of the file */
};

struct load_options {
	const char *file; /* NULL: lab.yaml */
	struct lab_options lab;
	struct assume assume;
	bool files; /* what guests are to find (kernels, disks), and hooks, must be there now */
	bool trust_hooks;
};

#define LAB_FILE "lab.yaml"

/* "kvm=yes": what this machine would answer. False, and told, when it is none of those. */
bool cli_assume(struct assume *assume, const char *text);
/* Loads and plans; all errors told. 0, or the exit status. */
int cli_load(const struct load_options *options, struct loaded *ret_loaded);
/* The sum of a lab file's bytes, and of the presets beside it that its plan's nodes are of, as the
 * journal has it. dir: its folder. */
uint32_t cli_sum(const struct plan *plan, const char *dir, const char *text, size_t len);
/* A file that may be anything by now: a pipe would be waited for. 0 or -errno. */
int cli_read(const char *path, size_t max, struct strbuf *text);
void loaded_free(struct loaded *loaded);
#define autoloaded __attribute__((cleanup(loaded_free)))

/* ---- labs that are up */

struct running {
	struct labdir dir;
	struct journal journal;
};

#define RUNNING_NONE ((struct running){ .dir = LABDIR_NONE, .journal = JOURNAL_NONE })

/* The lab that the user means: name (-l), else $TAPNET_LAB, else that of ./lab.yaml if it is up, else
 * the only one. 0, or the exit status with the reason told. */
int cli_find(const char *name, struct running *ret_running);
/* As cli_find(), without reading the journal. name_out has room for a lab's name. */
int cli_find_name(const char *name, char name_out[64]);
/* The name of the lab of ./lab.yaml; with up only if it is. */
bool cli_here(char name_out[64], bool up);
/* The one lab that is up from this file, which may have changed since, or be gone. */
bool cli_up_from(const char *file, char name_out[64]);
void running_free(struct running *running);
#define autorunning __attribute__((cleanup(running_free)))

const struct plan_node *cli_node(const struct plan *plan, const char *name);

/* ---- reach.c */

#define CLI_ANSWER_MS 9000 /* the worker answers at once, unless a restart takes its time */

/* As cli_find(), with a connection to the lab's worker. */
int cli_reach(const char *name, struct running *ret_running, int *ret_fd);
/* control_call() of a request about a node (NULL: none). */
int cli_ask(int fd, const char *what, const char *node, struct json_object **ret_answer, int *fds,
	    struct err *err);
/* As cli_node(), with the nearest name told when there is none. */
const struct plan_node *cli_node_told(const struct plan *plan, const char *name);
/* The OP_PROC step of "vm1", "r1.zebra", or of the only service of "r1"; NULL with the reason told. */
const struct step *cli_program(const struct plan *plan, const char *name);
/* The interface "vm1:eth0", NULL with the reason told. */
const struct plan_iface *cli_iface_told(const struct plan *plan, const char *name);
/* The value of --format. */
bool cli_format(struct args *args, bool *ret_json);

/* ---- status.c */

/* "00:12:31", "3d 04:00:00" */
const char *cli_duration(int64_t seconds, char out[32]);
/* The state of a lab that has a directory, from its lock and journal. */
const char *cli_state(const struct running *running, bool have_journal);

/* ---- foreground.c */

/* Is the caller in front of its terminal, which is fd 0? */
bool cli_in_front(void);
/* Runs a command at the caller's terminal to its end: its exit status, 128 + its signal, or ours:
 * 125, 126, 127, with the reason told. lab (-1: none) is readable when its lab ends before it. */
int cli_foreground(const struct spawn *spawn, int lab);

/* The table of nodes with their interfaces, peers and addresses. */
void cli_nodes(const struct plan *plan, const char *(*state)(void *arg, const struct plan_node *),
	       void *arg, struct strbuf *out);

int verb_up(const struct verb *verb, int argc, char **argv);
int verb_down(const struct verb *verb, int argc, char **argv);
int verb_run(const struct verb *verb, int argc, char **argv);
int verb_validate(const struct verb *verb, int argc, char **argv);
int verb_plan(const struct verb *verb, int argc, char **argv);
int verb_gc(const struct verb *verb, int argc, char **argv);
int verb_exec(const struct verb *verb, int argc, char **argv);
int verb_shell(const struct verb *verb, int argc, char **argv);
int verb_status(const struct verb *verb, int argc, char **argv);
int verb_list(const struct verb *verb, int argc, char **argv);
int verb_console(const struct verb *verb, int argc, char **argv);
int verb_logs(const struct verb *verb, int argc, char **argv);
int verb_restart(const struct verb *verb, int argc, char **argv);
int verb_queue(const struct verb *verb, int argc, char **argv);
int verb_doctor(const struct verb *verb, int argc, char **argv);
int verb_init(const struct verb *verb, int argc, char **argv);
int verb_schema(const struct verb *verb, int argc, char **argv);
int verb_version(const struct verb *verb, int argc, char **argv);
int verb_help(const struct verb *verb, int argc, char **argv);

extern const struct opt up_opts[], down_opts[], run_opts[], validate_opts[], plan_opts[], gc_opts[],
	exec_opts[], shell_opts[], status_opts[], list_opts[], console_opts[], logs_opts[],
	restart_opts[], queue_opts[], init_opts[];

#endif
