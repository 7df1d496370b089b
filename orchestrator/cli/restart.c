/* restart.c - a guest or service starts anew; its links are kept. */
#include <json-c/json.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"
#include "run/control.h"

#define RESTART_MS 30000 /* beside the grace that its program is given */

const struct opt restart_opts[] = {
	{ "lab", 'l', "LAB", "this one" },
	{ 0 },
};

/* What takes its time is waited for only of a worker that answers at all. */
static int restart(int control, const struct step *step, struct err *err)
{
	uint32_t grace = ((const struct op_proc *)step->args)->grace_ms;
	struct json_object *answer = NULL;
	int r = cli_ask(control, "status", NULL, &answer, NULL, err);

	json_object_put(answer);
	answer = NULL;
	if (r == 0)
		r = control_call(control, control_request("restart", step->what),
				 io_now_ms() + RESTART_MS + grace, &answer, NULL, err);
	json_object_put(answer);
	return r;
}

int verb_restart(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct running running autorunning = RUNNING_NONE;
	const struct step *step;
	const char *lab = NULL;
	int64_t start = io_now_ms();
	autofd int control = -1;
	struct err err;
	int r;

	while (args_next(&args) >= 0)
		lab = args.value;
	if (args_status(&args) >= 0)
		return args_status(&args);
	if (args_operands(&args) != 1) {
		cli_complain("restart: say what (tapnet-lab help restart)");
		return EXIT_INVALID;
	}
	r = cli_reach(lab, &running, &control);
	if (r)
		return r;
	step = cli_program(running.journal.plan, args_operand(&args, 0));
	if (!step)
		return EXIT_INVALID;
	r = restart(control, step, &err);
	if (r < 0) {
		cli_complain("%s: %s", step->what, err.msg);
		return EXIT_UNDONE;
	}
	(void)printf("%s runs again (%lld ms)\n", step->what, (long long)(io_now_ms() - start));
	return EXIT_FINE;
}
