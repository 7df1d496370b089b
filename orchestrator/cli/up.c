/* up.c - up: makes a lab, waits until it is ready, shows what is there. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"
#include "cli/live.h"
#include "op/program.h"
#include "run/run.h"
#include "sys/pidfd.h"

#define UP_TIMEOUT_MS (10 * 60 * 1000)
#define LET_GO_MS     1000 /* a killed process has let go of its lock within this */
#define SETS_MAX      64
#define PATIENCE      200 /* of 10 ms each */
#define WAKE_MS	      500 /* a guardian that is suspended before its first report is woken so soon */

enum {
	UP_FOREGROUND,
	UP_NAME,
	UP_SET,
	UP_TIMEOUT,
	UP_KEEP,
	UP_REPLACE,
	UP_TTL,
	UP_QUIET,
	UP_TRUST,
	UP_ASSUME
};
const struct opt up_opts[] = {
	{ "foreground", 'f', NULL, "stay, and tear down on Ctrl-C" },
	{ "name", 'n', "NAME", "another name for the lab" },
	{ "set", 's', "VAR=VALUE", "a variable of the file" },
	{ "timeout", 't', "TIME", "for the whole way up (10m)" },
	{ "keep", 0, NULL, "leave a failed lab standing" },
	{ "replace", 0, NULL, "if it is up from another plan: down first" },
	{ "ttl", 0, "TIME", "take it down by itself after this time" },
	{ "quiet", 'q', NULL, "no summary" },
	{ "trust-hooks", 0, NULL, "run hook scripts although others can write them" },
	{ "assume", 0, "ANSWER", "of this machine: kvm=yes or no, vhost=yes or no" },
	{ 0 },
};

static const char *const env_names[] = { "PATH",       "HOME",	      "USER",	  "LOGNAME",
					 "SHELL",      "LANG",	      "LANGUAGE", "TERM",
					 "TZ",	       "TMPDIR",      "DISPLAY",  "XAUTHORITY",
					 "http_proxy", "https_proxy", "no_proxy" };

/* What programs of a lab see of the caller's environment. */
static void whitelist(struct arena *arena, struct journal_meta *meta)
{
	extern char **environ;
	int cap = 0;

	for (char **e = environ; *e; e++) {
		size_t len = strcspn(*e, "=");
		bool want = str_starts(*e, "LC_");

		for (size_t i = 0; i < COUNT(env_names) && !want; i++)
			want = strlen(env_names[i]) == len && strncmp(*e, env_names[i], len) == 0;
		if (want)
			*ARENA_PUSH(arena, meta->env, meta->n_env, cap) = arena_strdup(arena, *e);
	}
	(void)ARENA_PUSH(arena, meta->env, meta->n_env, cap);
	meta->n_env--; /* the list ends with NULL */
}

static const char *absolute(struct arena *arena, const struct loaded *loaded)
{
	const char *base = strrchr(loaded->lab->file, '/');

	return arena_printf(arena, "%s/%s", loaded->lab->dir, base ? base + 1 : loaded->lab->file);
}

static struct journal_meta meta_of(struct loaded *loaded, bool trust_hooks)
{
	struct rlimit files;
	struct journal_meta meta = {
		.name = loaded->lab->name.s,
		.file = absolute(&loaded->arena, loaded),
		.dir = loaded->lab->dir,
		.uid = getuid(),
		.created = (uint32_t)time(NULL),
		.file_sum = loaded->sum,
		.owner_uid = loaded->owner,
		.trust_hooks = trust_hooks,
	};

	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		meta.nofile = files.rlim_cur < UINT32_MAX ? (uint32_t)files.rlim_cur : 0;
	whitelist(&loaded->arena, &meta);
	return meta;
}

/* ---- a lab of this name is there */

enum { GO_ON = -1 };

static int already(const struct live_options *options, struct labdir *dir, const struct live *live)
{
	struct journal journal autojournal = JOURNAL_NONE;
	struct strbuf words autostr = STRBUF_INIT;
	enum down_outcome outcome;
	struct err err;
	bool same;
	int r;

	if (journal_open(dir->fd, &journal, &err) < 0) {
		cli_complain("%s is being brought up or down by another: try again", dir->name);
		return EXIT_STATE;
	}
	same = journal_same(&journal, &live->request.meta, live->request.plan);
	if (same && journal.head->state == JOURNAL_READY) {
		(void)fprintf(options->apart ? stderr : stdout,
			      "%s is already up, from the same plan\n", dir->name);
		return EXIT_FINE;
	}
	if (!options->replace) {
		if (journal.head->state == JOURNAL_UP || journal.head->state == JOURNAL_DOWN)
			cli_complain("%s is being brought %s by another", dir->name,
				     journal.head->state == JOURNAL_UP ? "up" : "down");
		else
			cli_complain("%s is up from another plan (%s): `up --replace` takes it "
				     "down first",
				     dir->name, journal.meta.file);
		return EXIT_STATE;
	}
	journal_close(&journal);
	r = run_down(dir, &outcome, &words, &err);
	if (r < 0 && r != -EBUSY) {
		cli_error(&err);
		return EXIT_LEFT;
	}
	if (r == 0 && outcome == DOWN_LEFT) {
		cli_complain("%s: %s", dir->name, words.text);
		return EXIT_LEFT;
	}
	return GO_ON;
}

/* Opens the lab's directory with nothing of it alive: GO_ON, or an exit status. */
static int prepare(const struct live_options *options, struct live *live)
{
	struct strbuf words autostr = STRBUF_INIT;
	struct strbuf problems autostr = STRBUF_INIT;
	const char *name = live->request.plan->lab;
	struct err err;
	int r;

	for (int tries = 0; tries < 3; tries++) {
		labdir_close(&live->dir);
		r = labdir_open(name, true, &live->dir, &err);
		if (r < 0) {
			cli_error(&err);
			return EXIT_UNABLE;
		}
		if (labdir_alive(&live->dir)) {
			r = already(options, &live->dir, live);
			if (r != GO_ON)
				return r;
			continue;
		}
		if (faccessat(live->dir.fd, "journal", F_OK, 0) < 0)
			return GO_ON;
		(void)fprintf(stderr, "%s: cleaning up after a crash\n", name);
		r = run_gc(&live->dir, &words, &problems, &err);
		if (r < 0 && r != -ESTALE && r != -EBUSY) {
			cli_error(&err);
			return EXIT_LEFT;
		}
		if (problems.len) {
			cli_complain("%s: %s", name, problems.text);
			return EXIT_LEFT;
		}
	}
	cli_complain("%s is being brought up or down by another: try again", name);
	return EXIT_STATE;
}

/* ---- while it goes up */

static int stop_pipe[2] = { -1, -1 };

static void on_signal(int sig)
{
	(void)sig;
	(void)!write(stop_pipe[1], "", 1);
}

static int catch_signals(struct err *err)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	if (stop_pipe[0] < 0 && pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(err, -errno, "cannot make a pipe");
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGHUP, &action, NULL);
	return 0;
}

/* A command as it was written: a string for sh -c, or words. */
static void show_command(const struct program *program, struct strbuf *out)
{
	const char *name = program_name(program);

	if (program->argc && name != program->argv[0])
		strbuf_safe(out, name, strlen(name));
	else
		program_describe(program, out);
}

/* Whose words they are: a command's output follows the command, in lines of its own. */
static const char *show_speaker(const struct live *live, const struct step *step)
{
	struct strbuf command autostr = STRBUF_INIT;

	if (step->op != OP_EXEC)
		return step->what;
	show_command(&((const struct op_exec *)step->args)->program, &command);
	(void)fprintf(live->out, "%s$ %s\n", step->what, command.text);
	return NULL;
}

static void show_output(const struct live *live, const struct report *report)
{
	const struct plan *plan = live->request.plan;
	const char *speaker;

	if (report->value >= (uint32_t)plan->n_steps)
		return;
	speaker = show_speaker(live, &plan->steps[report->value]);
	for (uint32_t i = 0; i < report->len;) {
		struct strbuf line autostr = STRBUF_INIT;
		const char *text = report->text + i;
		size_t len = strnlen(text, report->len - i);
		const char *nl = memchr(text, '\n', len);

		len = nl ? (size_t)(nl - text) : len;
		strbuf_safe(&line, text, len && text[len - 1] == '\r' ? len - 1 : len);
		(void)fprintf(live->out, "%s%s%s\n", speaker ? speaker : "", speaker ? ": " : "  ",
			      line.text);
		i += (uint32_t)len + 1;
	}
	(void)fflush(live->out);
}

static void show_progress(struct live *live, uint32_t done)
{
	if (!live->progress)
		return;
	(void)fprintf(stderr, "\r%s: step %u of %d\033[K", live->request.plan->lab, done,
		      live->request.plan->n_steps);
	live->progress_shown = true;
}

static void clear_progress(struct live *live)
{
	if (live->progress_shown)
		(void)fprintf(stderr, "\r\033[K");
	live->progress_shown = false;
}

/* The first line of an error is the lab's; the place follows, then the last words. */
static void show_error(const struct live *live, const struct report *report)
{
	char text[REPORT_TEXT + 1];
	char *rest;

	memcpy(text, report->text, report->len);
	text[report->len] = '\0';
	rest = strchr(text, '\n');
	if (rest)
		*rest++ = '\0';
	cli_complain("%s: %s", live->request.plan->lab, text);
	if (report->line)
		cli_say(stderr, "  %s:%d:%d\n", live->request.meta.file, report->line, report->col);
	if (rest && *rest)
		cli_say(stderr, "%s\n", rest);
}

static void show_undone(const struct live *live, const struct report *report)
{
	if (report->value) {
		cli_say(stderr, "  not all could be undone: %.*s", (int)report->len, report->text);
		return;
	}
	if (!report->len)
		return;
	cli_say(stderr, "  undone: %.*s; logs kept: %s.failed\n", (int)report->len, report->text,
		live->dir.path);
	if (!live->stopping)
		(void)fprintf(stderr, "  `up --keep` leaves a failed lab standing; then: shell, "
				      "console, logs, down\n");
}

static int live_event(struct live *live, const struct report *report)
{
	switch ((enum report_type)report->type) {
	case REPORT_PROGRESS:
		show_progress(live, report->value);
		return LIVE_GOES_ON;
	case REPORT_OUTPUT:
		clear_progress(live);
		show_output(live, report);
		return LIVE_GOES_ON;
	case REPORT_READY:
		clear_progress(live);
		live->deadline = 0;
		return live->failed ? LIVE_FAILED : LIVE_READY;
	case REPORT_ERROR:
		clear_progress(live);
		show_error(live, report);
		live->failed = true;
		live->status = report->status ? (enum exit_status)report->status : EXIT_UNDONE;
		return LIVE_GOES_ON;
	case REPORT_UNDONE:
		if (!live->failed && live->deadline && !live->stopping)
			cli_complain("%s: its worker ended before it was ready",
				     live->request.plan->lab);
		if (live->failed || report->value)
			show_undone(live, report);
		if (report->value)
			live->status = EXIT_LEFT;
		return live->failed || report->value ? LIVE_FAILED : LIVE_ENDED;
	}
	return LIVE_GOES_ON;
}

static bool live_late(const struct live *live)
{
	return live->deadline && io_now_ms() >= live->deadline;
}

/* Of calls that fail for want of memory: the lab is none the worse for a while of that. Then it is
 * given up, which its worker sees. */
static bool live_patient(struct live *live, int *failures)
{
	io_nap();
	if (++*failures < PATIENCE)
		return true;
	fd_closep(&live->fd);
	return false;
}

/* How long to wait for a report, ms; -1: for ever. The way up has its own deadline, and so has the undoing;
 * a guardian that is suspended keeps neither. At rest there is none. */
static int live_turn(const struct live *live)
{
	int ms = live->deadline ? io_left_ms(live->deadline) : -1;

	return live->guardian >= 0 && (ms < 0 || ms > WAKE_MS) ? WAKE_MS : ms;
}

/* Whoever suspended it: nobody else knows of it before it has a journal. */
static void live_wake(const struct live *live)
{
	if (live->guardian >= 0)
		(void)pidfd_signal(live->guardian, SIGCONT);
}

int live_wait(struct live *live)
{
	struct report report;
	int failures = 0;

	for (;;) {
		struct pollfd p[2] = { { .fd = live->fd, .events = POLLIN },
				       { .fd = stop_pipe[0], .events = POLLIN } };
		int what, r;

		r = poll(p, 2, live_turn(live));
		if (live_late(live))
			return LIVE_LOST;
		if (r < 0) {
			if (!live_patient(live, &failures))
				return LIVE_LOST;
			continue;
		}
		if (p[1].revents && !live->stopping) {
			live->stopping = true;
			(void)shutdown(live->fd,
				       SHUT_WR); /* the worker sees it, and we hear the rest */
		}
		if (p[1].revents)
			(void)!read(stop_pipe[0], &(char){ 0 }, 1);
		if (r == 0)
			live_wake(live);
		if (!p[0].revents)
			continue;
		fd_closep(&live->guardian);
		r = report_recv(live->fd, &report);
		if (r < 0 && r != -EBADMSG && live_patient(live, &failures))
			continue;
		if (r <= 0)
			return LIVE_LOST; /* that it failed was told perhaps, that it was undone not */
		what = live_event(live, &report);
		if (what != LIVE_GOES_ON)
			return what;
	}
}

int live_start(const struct live_options *options, struct live *live)
{
	struct err err = { 0 };
	int r;

	r = cli_load(&options->load, &live->loaded);
	if (r)
		return r;
	live->request = (struct up_request){
		.plan = live->loaded.plan,
		.meta = meta_of(&live->loaded, options->load.trust_hooks),
		.timeout_ms = options->timeout_ms ? options->timeout_ms : UP_TIMEOUT_MS,
		.ttl_ms = options->ttl_ms,
		.keep = options->keep,
		.foreground = options->foreground,
	};
	if (run_host(live->request.plan, &err) < 0) {
		if (err.line)
			cli_say(stderr, "%s:%d:%d: ", live->request.meta.file, err.line, err.col);
		cli_error(&err);
		return (int)err.status;
	}
	r = prepare(options, live);
	if (r != GO_ON)
		return r == EXIT_FINE ? LIVE_ALREADY : r;
	live->out = options->apart ? stderr : stdout;
	live->progress = cli_colour(2) && !options->quiet; /* it is redrawn with escapes */
	live->start_ms = io_now_ms();
	live->deadline =
		live->start_ms + live->request.timeout_ms + run_down_ms(live->request.plan);
	r = catch_signals(&err);
	if (r == 0)
		r = run_up(&live->request, &live->dir, &live->fd, &live->guardian, &err);
	if (r < 0) {
		cli_error(&err);
		if (labdir_discard(&live->dir, &err) == 0)
			return EXIT_UNABLE;
		cli_error(&err);
		return EXIT_LEFT;
	}
	return 0;
}

void live_free(struct live *live)
{
	fd_closep(&live->fd);
	fd_closep(&live->guardian);
	labdir_close(&live->dir);
	loaded_free(&live->loaded);
}

/* Nobody told the end: guardian and worker were killed. What they left is torn down here. */
int live_lost(struct live *live)
{
	struct strbuf words autostr = STRBUF_INIT;
	enum down_outcome outcome = DOWN_DONE;
	struct err err;

	if (live->fd < 0)
		cli_complain("%s: given up: it cannot be waited for", live->request.plan->lab);
	else
		cli_complain("%s: its guardian and worker %s", live->request.plan->lab,
			     live_late(live) ? "do not answer" : "were killed");
	/* Once the dead have let go of the lock, one who holds it has brought up a lab of his own. */
	for (int64_t end = io_now_ms() + LET_GO_MS;
	     live->fd >= 0 && !live_late(live) && labdir_alive(&live->dir); (void)poll(NULL, 0, 1))
		if (io_now_ms() > end)
			return EXIT_UNDONE;
	if (run_down(&live->dir, &outcome, &words, &err) < 0)
		cli_error(&err);
	return outcome == DOWN_LEFT ? EXIT_LEFT : EXIT_UNDONE;
}

/* ---- the summary */

static const char *ready(void *arg, const struct plan_node *node)
{
	(void)arg;
	(void)node;
	return "ready";
}

static void count(struct strbuf *out, int n, const char *one)
{
	if (n)
		strbuf_printf(out, "%s%d %s%s", out->len ? ", " : "", n, one, n == 1 ? "" : "s");
}

static void summary(const struct live *live)
{
	const struct plan *plan = live->request.plan;
	struct strbuf counts autostr = STRBUF_INIT;
	struct strbuf table autostr = STRBUF_INIT;
	const struct plan_node *some = NULL;

	count(&counts, plan->n_nodes, "node");
	count(&counts, (int)plan->bridges, "bridge");
	count(&counts, (int)plan->links, "link");
	(void)printf("%s  %-60s up in %lld ms\n", plan->lab, counts.text,
		     (long long)(io_now_ms() - live->start_ms));
	cli_nodes(plan, ready, NULL, &table);
	(void)fputs(table.text, stdout);
	for (int i = 0; i < plan->n_nodes && !some; i++)
		some = plan->nodes[i].guest ? NULL : &plan->nodes[i];
	if (some)
		(void)printf("try: tapnet-lab shell %s · tapnet-lab status · tapnet-lab down\n",
			     some->name);
	else if (plan->n_nodes)
		(void)printf("try: tapnet-lab console %s · tapnet-lab status · tapnet-lab down\n",
			     plan->nodes[0].name);
}

static int up_options(struct args *args, struct live_options *options)
{
	static const char *sets[SETS_MAX];
	int o;

	options->load.lab.set = sets;
	options->load.files = true;
	while ((o = args_next(args)) >= 0) {
		switch (o) {
		case UP_FOREGROUND:
			options->foreground = true;
			break;
		case UP_NAME:
			options->load.lab.name = args->value;
			break;
		case UP_SET:
			if (options->load.lab.n_set < SETS_MAX)
				sets[options->load.lab.n_set++] = args->value;
			break;
		case UP_TIMEOUT:
			options->timeout_ms = args_duration(args);
			break;
		case UP_KEEP:
			options->keep = true;
			break;
		case UP_REPLACE:
			options->replace = true;
			break;
		case UP_TTL:
			options->ttl_ms = args_duration(args);
			break;
		case UP_QUIET:
			options->quiet = true;
			break;
		case UP_TRUST:
			options->load.trust_hooks = true;
			break;
		case UP_ASSUME:
			args->bad = !cli_assume(&options->load.assume, args->value);
			break;
		}
	}
	options->load.file = args_operand(args, 0);
	if (args_status(args) < 0 && args_operands(args) > 1) {
		cli_complain("up: one lab file at a time");
		return EXIT_INVALID;
	}
	return args_status(args);
}

int verb_up(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct live_options options = { 0 };
	struct live live autolive = LIVE_NONE;
	int r = up_options(&args, &options);

	if (r >= 0)
		return r;
	r = live_start(&options, &live);
	if (r)
		return r == LIVE_ALREADY ? EXIT_FINE : r;
	r = live_wait(&live);
	if (r == LIVE_LOST)
		return live_lost(&live);
	if (r == LIVE_READY && !options.quiet)
		summary(&live);
	if (r == LIVE_READY && options.foreground) {
		(void)printf("Ctrl-C takes it down\n");
		(void)fflush(stdout);
		r = live_wait(&live);
		return r == LIVE_ENDED	? EXIT_FINE
		       : r == LIVE_LOST ? live_lost(&live)
					: (int)live.status;
	}
	return r == LIVE_READY ? EXIT_FINE : r == LIVE_ENDED ? EXIT_UNDONE : (int)live.status;
}
