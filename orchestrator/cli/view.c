/* view.c - a lab as its worker and the kernel have it. */
#include "cli/view.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "base/fd.h"
#include "base/io.h"
#include "run/control.h"
#include "run/json.h"
#include "sys/ns.h"

void view_free(struct view *view)
{
	arena_free(&view->arena);
}

/* ---- the worker */

static const char *text_of(struct arena *arena, struct json_object *object, const char *key)
{
	struct json_object *o = NULL;

	if (!json_object_object_get_ex(object, key, &o))
		return NULL;
	return arena_strdup(arena, json_object_get_string(o));
}

static int64_t number_of(struct json_object *object, const char *key)
{
	struct json_object *o = NULL;

	return json_object_object_get_ex(object, key, &o) ? json_object_get_int64(o) : 0;
}

static void take_program(struct view *view, struct json_object *object, int *cap)
{
	struct view_program *program;
	const char *name = text_of(&view->arena, object, "of");
	const struct step *step = NULL;

	for (int i = 0; i < view->plan->n_steps && !step; i++)
		if (view->plan->steps[i].op == OP_PROC && str_eq(view->plan->steps[i].what, name))
			step = &view->plan->steps[i];
	if (!step)
		return;
	program = ARENA_PUSH(&view->arena, view->programs, view->n_programs, *cap);
	*program = (struct view_program){
		.name = step->what,
		.node = ((const struct op_proc *)step->args)->node,
		.guest = ((const struct op_proc *)step->args)->kind == PROC_GUEST,
		.state = text_of(&view->arena, object, "state"),
		.last = text_of(&view->arena, object, "last"),
		.trouble = text_of(&view->arena, object, "trouble"),
		.ago_ms = number_of(object, "ago_ms"),
		.since_ms = number_of(object, "since_ms"),
		.pid = (int)number_of(object, "pid"),
		.restarts = (int)number_of(object, "restarts"),
	};
	if (!program->state)
		program->state = "unknown";
}

static int ask_worker(struct view *view, int control, struct err *err)
{
	int cap = 0, r, from = 0;

	do {
		struct json_object *request = control_request("status", NULL), *answer, *list;

		json_put(&request, "from", json_object_new_int(from));
		r = control_call(control, request, io_now_ms() + CLI_ANSWER_MS, &answer, NULL, err);
		if (r < 0)
			return r;
		view->state = text_of(&view->arena, answer, "state");
		view->expires_ms = number_of(answer, "expires_ms");
		if (json_object_object_get_ex(answer, "programs", &list) &&
		    json_object_is_type(list, json_type_array))
			for (size_t i = 0; i < json_object_array_length(list); i++)
				take_program(view, json_object_array_get_idx(list, i), &cap);
		from = (int)number_of(answer, "more_from");
		json_object_put(answer);
	} while (from);
	return 0;
}

/* ---- the kernel */

static int look_into(struct view *view, int control, uint32_t space, struct err *err)
{
	struct json_object *request = control_request("space", NULL), *answer;
	int fds[CONTROL_FDS], r;

	json_put(&request, "space", json_object_new_int((int)space));
	r = control_call(control, request, io_now_ms() + CLI_ANSWER_MS, &answer, fds, err);
	if (r < 0)
		return r;
	json_object_put(answer);
	if (fds[0] < 0) /* not made: the lab has no use for it, or is on its way up */
		return 0;
	view->netns[space] = ns_inode(fds[0]);
	r = ns_enter_net(fds[0], err);
	for (int i = 0; i < CONTROL_FDS; i++)
		fd_closep(&fds[i]);
	return r < 0 ? r : nlr_view(&view->arena, &view->spaces[space], err);
}

static bool in_host(const struct plan *plan)
{
	for (int i = 0; i < plan->n_steps; i++)
		if (plan->steps[i].op == OP_HOSTPORT ||
		    (plan->steps[i].op == OP_TAP && plan->steps[i].space == SPACE_HOST))
			return true;
	return false;
}

static int ask_kernel(struct view *view, int control, struct err *err)
{
	autofd int host = ns_self("net", err);
	int r = host < 0 ? host : 0;

	view->spaces =
		arena_calloc(&view->arena, (size_t)view->plan->n_spaces, sizeof *view->spaces);
	view->netns = arena_calloc(&view->arena, (size_t)view->plan->n_spaces, sizeof *view->netns);
	view->netns[SPACE_HOST] = ns_inode(host);
	if (r == 0 && in_host(view->plan))
		r = nlr_view(&view->arena, &view->spaces[SPACE_HOST], err);
	for (int i = 0; i < view->plan->n_spaces && r == 0; i++)
		if (i != SPACE_HOST && view->plan->spaces[i].fd >= 0)
			r = look_into(view, control, (uint32_t)i, err);
	if (host >= 0) {
		struct err ignored;

		(void)ns_enter_net(host, &ignored);
	}
	return r;
}

const struct nlr_link *view_link(const struct view *view, uint32_t space, uint32_t ifindex,
				 const char *name)
{
	if (space == SPACE_HOST) /* its indexes are the kernel's choice */
		return nlr_link_named(&view->spaces[space], name);
	return nlr_link(&view->spaces[space], ifindex);
}

const struct nlr_link *view_port(const struct view *view, const struct plan_iface *iface)
{
	const struct nlr_link *port =
		iface->port ? view_link(view, iface->port_space, iface->port_ifindex, iface->port)
			    : NULL;
	const struct nlr_link *bridge =
		port ? nlr_link(&view->spaces[iface->port_space], port->master) : NULL;

	return bridge && bridge->vlan_filtering ? port : NULL;
}

void view_problem(struct view *view, struct problem problem)
{
	*ARENA_PUSH(&view->arena, view->problems, view->n_problems, view->cap_problems) = problem;
}

int view_read(const struct running *running, int control, struct view *view, struct err *err)
{
	int r = arena_init(&view->arena, 0, err);

	view->plan = running->journal.plan;
	if (r == 0)
		r = ask_worker(view, control, err);
	if (r == 0)
		r = ask_kernel(view, control, err);
	if (r == 0)
		r = view_taps(running, control, view, err);
	if (r == 0)
		view_compare(view);
	return r;
}
