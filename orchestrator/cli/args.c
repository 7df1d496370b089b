/* args.c - options and messages of the command line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/fd.h"
#include "cli/cli.h"

const struct opt no_opts[] = { { 0 } };

static const char *plain(const char *s)
{
	return s && *s ? s : "";
}

void cli_usage(const struct verb *verb, bool to_stderr)
{
	FILE *out = to_stderr ? stderr : stdout;
	const char *args = plain(verb->args);

	(void)fprintf(out, "usage: tapnet-lab %s%s%s%s\n\n%s\n", verb->name,
		      verb->opts[0].name ? " [OPTION…]" : "", *args ? " " : "", args, verb->help);
	if (verb->alias)
		(void)fprintf(out, "Alias: %s\n", verb->alias);
	for (const struct opt *opt = verb->opts; opt->name; opt++) {
		char left[64];

		(void)snprintf(left, sizeof left, "%s%c%s --%s%s%s", opt->letter ? "-" : " ",
			       opt->letter ? opt->letter : ' ', opt->letter ? "," : " ", opt->name,
			       opt->arg ? " " : "", plain(opt->arg));
		(void)fprintf(out, "%s  %-28s %s\n", opt == verb->opts ? "\n" : "", left,
			      opt->help);
	}
	if (verb->more)
		(void)fprintf(out, "\n%s", verb->more);
}

static void say(FILE *to, const char *before, bool end, const char *fmt, va_list ap)
	PRINTF_LIKE(4, 0);
static void say(FILE *to, const char *before, bool end, const char *fmt, va_list ap)
{
	struct strbuf safe autostr = STRBUF_INIT;
	char *text autofree = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	for (const char *line = text; line && *line;) {
		size_t len = strcspn(line, "\n");

		strbuf_safe(&safe, line, len);
		strbuf_puts(&safe, line[len] || end ? "\n" : "");
		line += len + (line[len] == '\n');
	}
	(void)fflush(stdout);
	(void)fprintf(to, "%s%s%s", before, safe.text,
		      text && !safe.failed ? "" : "no memory to say more\n");
}

void cli_say(FILE *to, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(to, "", false, fmt, ap);
	va_end(ap);
}

void cli_complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(stderr, "tapnet-lab: ", true, fmt, ap);
	va_end(ap);
}

void cli_error(const struct err *err)
{
	cli_complain("%s", err->msg);
}

bool cli_colour(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fd) && !(no && *no) && !(term && str_eq(term, "dumb"));
}

/* ---- options */

static int bad(struct args *args, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int bad(struct args *args, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	cli_complain("%s: %s (tapnet-lab help %s)", args->verb->name, text, args->verb->name);
	args->bad = true;
	return -1;
}

/* Word i comes to where we are; those between stand behind it. */
static void bring(struct args *args, int i)
{
	for (; i > args->at; i--) {
		char *t = args->argv[i];

		args->argv[i] = args->argv[i - 1];
		args->argv[i - 1] = t;
	}
}

static int take_value(struct args *args, int i, char *value)
{
	const struct opt *opt = &args->verb->opts[i];

	if (!opt->arg && value)
		return bad(args, "--%s takes no value", opt->name);
	if (opt->arg && !value) {
		if (args->at + args->behind >= args->argc)
			return bad(args, "--%s needs a value", opt->name);
		bring(args, args->at + args->behind);
		value = args->argv[args->at++];
	}
	args->value = value;
	return i;
}

static int next_long(struct args *args, char *word)
{
	size_t len = strcspn(word, "=");
	const char *names[32];
	const char *near;
	size_t n = 0;

	if (str_eq(word, "help")) {
		cli_usage(args->verb, false);
		args->help = true;
		return -1;
	}
	for (int i = 0; args->verb->opts[i].name; i++) {
		const char *name = args->verb->opts[i].name;

		if (strlen(name) == len && strncmp(name, word, len) == 0)
			return take_value(args, i, word[len] ? word + len + 1 : NULL);
		names[n++] = name;
	}
	word[len] = '\0';
	near = str_nearest(word, names, n);
	if (!near)
		return bad(args, "unknown option \"--%s\"", word);
	cli_complain("%s: unknown option \"--%s\" (did you mean \"--%s\"?)", args->verb->name, word,
		     near);
	args->bad = true;
	return -1;
}

static int next_letter(struct args *args)
{
	char letter[2] = { *args->bundle++, '\0' };

	for (int i = 0; args->verb->opts[i].name; i++)
		if (args->verb->opts[i].letter == letter[0]) {
			char *rest = args->verb->opts[i].arg && *args->bundle ? args->bundle : NULL;

			if (args->verb->opts[i].arg)
				args->bundle = NULL;
			return take_value(args, i, rest);
		}
	if (letter[0] == 'h') {
		cli_usage(args->verb, false);
		args->help = true;
		return -1;
	}
	return bad(args, "unknown option \"-%s\"", letter);
}

/* Operands met before options (and their values) are moved behind them, but never across "--". */
static bool to_option(struct args *args)
{
	int i = args->at;

	while (i < args->argc && (args->argv[i][0] != '-' || !args->argv[i][1]))
		i++;
	if (i >= args->argc || str_eq(args->argv[i], "--"))
		return false;
	args->behind = i - args->at;
	bring(args, i);
	return true;
}

/* Words after the options of exec are a command's, options of its own included; of run, after "--". */
static bool stops_at_operand(const struct args *args)
{
	const char *words = args->verb->args;

	return words && strstr(words, "COMMAND") && !strstr(words, " -- COMMAND");
}

int args_next(struct args *args)
{
	if (args->bad || args->help)
		return -1;
	if (args->bundle && *args->bundle)
		return next_letter(args);
	if (stops_at_operand(args)
		    ? args->at >= args->argc || args->argv[args->at][0] != '-' ||
			      !args->argv[args->at][1] || str_eq(args->argv[args->at], "--")
		    : !to_option(args))
		return -1;
	args->bundle = args->argv[args->at++] + 1;
	if (*args->bundle != '-')
		return next_letter(args);
	{
		char *word = args->bundle + 1;

		args->bundle = NULL;
		return next_long(args, word);
	}
}

/* Operands, the first "--" left out. */
static int dashes(const struct args *args)
{
	for (int i = args->at; i < args->argc; i++)
		if (str_eq(args->argv[i], "--"))
			return i;
	return args->argc;
}

int args_operands(const struct args *args)
{
	return args->argc - args->at - (dashes(args) < args->argc);
}

const char *args_operand(const struct args *args, int n)
{
	int i = args->at + n;

	if (i >= dashes(args))
		i++;
	return i < args->argc ? args->argv[i] : NULL;
}

int args_status(const struct args *args)
{
	return args->bad ? EXIT_INVALID : args->help ? EXIT_FINE : -1;
}

int64_t args_duration(struct args *args)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = { { "ms", 1 },	{ "s", 1000 },	  { "", 1000 },	    { "m", 60000 },
		      { "min", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
	char *end;
	long n = strtol(args->value, &end, 10);

	for (size_t i = 0;
	     n >= 0 && n < 1000000000 && end != args->value && i < sizeof units / sizeof units[0];
	     i++)
		if (str_eq(end, units[i].unit))
			return n * units[i].ms;
	(void)bad(args, "\"%s\" is not a time (10s, 5m, 3h)", args->value);
	return -1;
}
