/* queue.c - a queue of a guest's TAP is attached or detached while the guest runs. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"
#include "run/control.h"
#include "run/json.h"

const struct opt queue_opts[] = {
	{ "lab", 'l', "LAB", "this one" },
	{ 0 },
};

/* The number of a queue, -1 with the reason told. */
static int queue_number(const struct plan *plan, const struct plan_iface *iface, const char *name,
			const char *text)
{
	const struct op_tap *tap = iface->tap_step < 0 ? NULL : plan->steps[iface->tap_step].args;
	size_t digits = strspn(text, "0123456789");
	long n = strtol(text, NULL, 10);

	if (!iface->queues || !tap) {
		cli_complain("%s has no TAP, so no queues: those are of a guest's interfaces",
			     name);
	} else if (tap->handoff != TAP_BY_FD) {
		cli_complain("%s: its guest opens the queues itself, so they are its own", name);
	} else if (!digits || text[digits]) {
		cli_complain("\"%s\" is no queue: it is a number, from 0", text);
	} else if (digits > 4 || n >= (long)iface->queues) {
		cli_complain(iface->queues == 1 ? "%s has one queue, 0" : "%s has queues 0-%u",
			     name, iface->queues - 1);
	} else if (iface->queues == 1) {
		cli_complain("%s has one queue, which the kernel never detaches (more of them: "
			     "tap: {queues: N})",
			     name);
	} else {
		return (int)n;
	}
	return -1;
}

static bool says(struct json_object *answer, const char *key)
{
	struct json_object *o = NULL;

	return json_object_object_get_ex(answer, key, &o) && json_object_get_boolean(o);
}

static int change(int control, const char *name, int fd, int queue, bool attach)
{
	struct json_object *request = control_request("queue", NULL), *answer = NULL;
	const char *word = attach ? "enabled" : "disabled";
	struct err err;
	int r;

	json_put(&request, "fd", json_object_new_int(fd + queue));
	json_put(&request, "attach", json_object_new_int(attach));
	r = control_call(control, request, io_now_ms() + CLI_ANSWER_MS, &answer, NULL, &err);
	if (r < 0) {
		cli_complain("%s: %s", name, err.msg);
		return EXIT_UNDONE;
	}
	if (says(answer, "idle")) {
		cli_complain("%s: its guest does not run: all queues are detached until it does, "
			     "and then as the lab file has them",
			     name);
		r = EXIT_STATE;
	} else {
		(void)printf("%s: queue %d is %s%s\n", name, queue,
			     says(answer, "already") ? "already " : "", word);
	}
	json_object_put(answer);
	return r;
}

int verb_queue(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct running running autorunning = RUNNING_NONE;
	const char *lab = NULL, *what, *name;
	const struct plan_iface *iface;
	autofd int control = -1;
	int r, queue;

	while (args_next(&args) >= 0)
		lab = args.value;
	if (args_status(&args) >= 0)
		return args_status(&args);
	what = args_operand(&args, 0);
	if (args_operands(&args) != 3 || !(str_eq(what, "enable") || str_eq(what, "disable"))) {
		cli_complain("queue: say enable or disable, NODE:INTERFACE and the queue's number "
			     "(tapnet-lab help queue)");
		return EXIT_INVALID;
	}
	r = cli_reach(lab, &running, &control);
	if (r)
		return r;
	name = args_operand(&args, 1);
	iface = cli_iface_told(running.journal.plan, name);
	queue = iface ? queue_number(running.journal.plan, iface, name, args_operand(&args, 2))
		      : -1;
	if (queue < 0)
		return EXIT_INVALID;
	return change(control, name, iface->fd, queue, str_eq(what, "enable"));
}
