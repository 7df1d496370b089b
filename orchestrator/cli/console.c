/* console.c - the terminal of a guest or service.
 *
 * Between two terminals bytes pass as they are: ours is raw meanwhile, and put back on every way
 * out, signals included. Without a terminal what comes is printed until the guest ends.
 */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"
#include "run/control.h"

#define LEAVE	0x1d /* Ctrl-] */
#define SEND_MS 5000 /* a worker that turns its loop takes what is typed within this */

const struct opt console_opts[] = {
	{ "lab", 'l', "LAB", "this one" },
	{ 0 },
};

struct console {
	int lab, signals;
	bool raw;
	struct termios before;
	int caught; /* the signal that ended it */
};

static void console_close(struct console *console)
{
	if (console->raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &console->before);
	console->raw = false;
	fd_closep(&console->signals);
	fd_closep(&console->lab);
}
#define autoconsole __attribute__((cleanup(console_close)))

static int console_signals(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < COUNT(ends); i++)
		(void)sigaddset(&set, ends[i]);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void console_raw(struct console *console)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &console->before) < 0)
		return;
	raw = console->before;
	cfmakeraw(&raw);
	console->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

/* Passes what is typed. 1 go on, 0 nothing more comes, -1 leave. */
static int from_user(const struct console *console)
{
	char data[4096];
	ssize_t n = read(STDIN_FILENO, data, sizeof data);
	const char *leave = console->raw && n > 0 ? memchr(data, LEAVE, (size_t)n) : NULL;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 1;
	if (n <= 0)
		return 0;
	if (leave)
		n = leave - data;
	if (n && (io_wait(console->lab, POLLOUT, io_now_ms() + SEND_MS) <= 0 ||
		  send(console->lab, data, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0))
		return -1;
	return leave ? -1 : 1;
}

/* false at its end. */
static bool from_lab(const struct console *console)
{
	static char data[CONTROL_BYTES];
	ssize_t n = recv(console->lab, data, sizeof data, MSG_DONTWAIT);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	return n > 0 && io_write_all(STDOUT_FILENO, data, (size_t)n) == 0;
}

static bool take_signal(struct console *console)
{
	struct signalfd_siginfo info;

	if (read(console->signals, &info, sizeof info) != (ssize_t)sizeof info)
		return false;
	console->caught = (int)info.ssi_signo;
	return true;
}

/* Returns whether the user left, rather than that the guest ended. */
static bool attend(struct console *console)
{
	struct pollfd p[] = { { .fd = console->lab, .events = POLLIN },
			      { .fd = console->signals, .events = POLLIN },
			      { .fd = STDIN_FILENO, .events = POLLIN } };

	for (;;) {
		if (poll(p, COUNT(p), -1) < 0)
			continue;
		if (p[0].revents && !from_lab(console))
			return false;
		if (p[1].revents && take_signal(console))
			return true;
		if (p[2].revents) {
			int r = from_user(console);

			if (r < 0)
				return true;
			if (r == 0) /* a terminal that hung up, or the end of a file */
				p[2].fd = -1;
			if (r == 0 && console->raw)
				return true;
		}
	}
}

static int console_of(struct console *console, const char *name)
{
	struct json_object *answer = NULL;
	struct err err;
	bool left;

	if (cli_ask(console->lab, "console", name, &answer, NULL, &err) < 0) {
		cli_complain("%s: %s", name, err.msg);
		return EXIT_STATE;
	}
	json_object_put(answer);
	console->signals = console_signals();
	if (isatty(STDIN_FILENO)) {
		(void)fprintf(stderr, "%s: Ctrl-] leaves\n", name);
		console_raw(console);
	}
	left = attend(console);
	if (console->raw)
		(void)fprintf(stderr, "\r\n[%s %s]\r\n", name, left ? "left" : "has ended");
	console_close(console);
	return console->caught ? 128 + console->caught : EXIT_FINE;
}

int verb_console(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct running running autorunning = RUNNING_NONE;
	struct console console autoconsole = { .lab = -1, .signals = -1 };
	const struct step *step;
	const char *lab = NULL;
	int r;

	while (args_next(&args) >= 0)
		lab = args.value;
	if (args_status(&args) >= 0)
		return args_status(&args);
	if (args_operands(&args) != 1) {
		cli_complain("console: say whose (tapnet-lab help console)");
		return EXIT_INVALID;
	}
	r = cli_reach(lab, &running, &console.lab);
	if (r)
		return r;
	step = cli_program(running.journal.plan, args_operand(&args, 0));
	return step ? console_of(&console, step->what) : EXIT_INVALID;
}
