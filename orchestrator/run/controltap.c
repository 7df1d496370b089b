/* controltap.c - see controltap.h. Only we can ask the kernel about a queue: it tells those who hold
 * its fd. */
#include "run/controltap.h"
#include "run/json.h"

#include <errno.h>

#include "sys/tun.h"
#include "sys/tunlive.h"

#define TAPS_A_PIECE 20 /* of 256 queues each; a message has 60 KiB */

static struct json_object *error(const char *words)
{
	struct json_object *o = json_object_new_object();

	json_put(&o, "error", json_object_new_string(words));
	return o;
}

static int number(struct json_object *request, const char *key)
{
	struct json_object *o = NULL;

	return json_object_object_get_ex(request, key, &o) ? json_object_get_int(o) : -1;
}

/* ---- taps */

static void add_device(struct json_object **o, int fd, const struct tun_state *state)
{
	json_put(o, "name", json_object_new_string(state->name));
	json_put(o, "netns", json_object_new_int64((int64_t)tun_netns(fd)));
	json_put(o, "flags", json_object_new_int64(state->flags));
	json_put(o, "vnet_hdr_len", json_object_new_int(state->vnet_hdr_size));
	json_put(o, "sndbuf", json_object_new_int(state->sndbuf));
	json_put(o, "endian", json_object_new_int((int)state->endian));
}

/* {"step": …, "queues": [true, false, null]}: attached, detached, gone; and what is the device's. */
static struct json_object *tap_state(int step, const struct op_tap *tap)
{
	struct json_object *o = json_object_new_object(), *queues = json_object_new_array();
	struct tun_state state;
	bool told = false;
	struct err err;

	json_put(&o, "step", json_object_new_int(step));
	for (int fd = tap->fd; fd < tap->fd + (int)tap->queues; fd++) {
		bool there = tun_state(fd, &state, &err) == 0;

		if (there)
			json_append(&queues, json_object_new_boolean(!state.detached));
		else
			json_append_null(&queues);
		if (there && !told)
			add_device(&o, fd, &state);
		told = told || there;
	}
	json_put(&o, "queues", queues);
	return o;
}

struct json_object *control_taps(struct loop *loop, struct json_object *request)
{
	const struct plan *plan = loop->ctx->plan;
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	int i = number(request, "from"), n = 0;

	for (i = i < 0 ? 0 : i; i < plan->n_steps && n < TAPS_A_PIECE; i++) {
		if (plan->steps[i].op != OP_TAP || slot_get(&loop->ctx->slots[i]) != SLOT_DONE)
			continue;
		json_append(&list, tap_state(i, plan->steps[i].args));
		n++;
	}
	json_put(&o, "taps", list);
	if (i < plan->n_steps)
		json_put(&o, "more_from", json_object_new_int(i));
	return o;
}

/* ---- queue */

/* The guest that has a planned fd. */
static const struct proc *proc_with(const struct loop *loop, int fd)
{
	for (int i = 0; i < loop->ctx->n_procs; i++) {
		const struct proc *proc = &loop->ctx->procs[i];
		const struct op_proc *op = ctx_step(loop->ctx, proc->step)->args;

		for (int k = 0; k < op->n_fds; k++)
			if (op->fds[k].from == fd)
				return proc;
	}
	return NULL;
}

static bool is_queue(const struct plan *plan, int fd)
{
	for (int i = 0; i < plan->n_steps; i++) {
		const struct op_tap *tap = plan->steps[i].args;

		if (plan->steps[i].op == OP_TAP && fd >= tap->fd && fd < tap->fd + (int)tap->queues)
			return true;
	}
	return false;
}

struct json_object *control_queue(struct loop *loop, struct json_object *request)
{
	int fd = number(request, "fd");
	bool attach = number(request, "attach") > 0;
	const struct proc *proc = proc_with(loop, fd);
	struct json_object *o;
	struct tun_state state;
	struct err err;

	if (!proc || !is_queue(loop->ctx->plan, fd))
		return error("no guest has such a queue");
	if (proc->state != PROC_RUNNING) {
		o = json_object_new_object();
		json_put(&o, "idle", json_object_new_boolean(true));
		return o;
	}
	if (tun_state(fd, &state, &err) < 0 || tun_queue(fd, attach, &err) < 0)
		return error(err.msg);
	o = json_object_new_object();
	json_put(&o, "already", json_object_new_boolean(state.detached != attach));
	return o;
}
