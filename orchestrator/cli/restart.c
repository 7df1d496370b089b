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

int verb_restart(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct running running autorunning = RUNNING_NONE;
	struct json_object *answer = NULL;
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
	r = control_call(control, control_request("restart", step->what),
			 start + RESTART_MS + ((const struct op_proc *)step->args)->grace_ms,
			 &answer, NULL, &err);
	if (r < 0) {
		cli_complain("%s: %s", step->what, err.msg);
		return EXIT_UNDONE;
	}
	json_object_put(answer);
	(void)printf("%s runs again (%lld ms)\n", step->what, (long long)(io_now_ms() - start));
	return EXIT_FINE;
}
