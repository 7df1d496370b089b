/* viewtap.c - TAPs: their queues as the worker's fds have them, and the processes that hold them. */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/view.h"
#include "run/json.h"
#include "run/control.h"
#include "run/json.h"

/* ---- the worker */

static const struct view_program *program_of(const struct view *view, const char *node)
{
	for (int i = 0; i < view->n_programs; i++)
		if (view->programs[i].guest && str_eq(view->programs[i].node, node))
			return &view->programs[i];
	return NULL;
}

/* The interface that a TAP is of, and its guest's program. */
static const struct plan_iface *iface_of(const struct view *view, const struct op_tap *tap,
					 const struct view_program **ret_guest)
{
	for (int i = 0; i < view->plan->n_nodes; i++) {
		const struct plan_node *node = &view->plan->nodes[i];

		for (int k = 0; node->guest && k < node->n_ifaces; k++)
			if (node->ifaces[k].queues && node->ifaces[k].fd == tap->fd) {
				*ret_guest = program_of(view, node->name);
				return &node->ifaces[k];
			}
	}
	*ret_guest = NULL;
	return NULL;
}

/* Which of its planned vhost-net fds the guest has open. */
static void take_vhost(struct view *view, const struct plan_iface *iface, struct view_tap *seen)
{
	int n = iface && iface->vhost_fd >= 0 && seen->guest && seen->guest->pid
			? (int)iface->queues
			: 0;
	int cap = 0;

	for (int q = 0; q < n; q++) {
		char path[48], to[32];
		ssize_t len;

		(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", seen->guest->pid,
			       iface->vhost_fd + q);
		len = readlink(path, to, sizeof to - 1);
		to[len > 0 ? len : 0] = '\0';
		if (str_eq(to, "/dev/vhost-net"))
			*ARENA_PUSH(&view->arena, seen->vhost_fds, seen->n_vhost, cap) =
				iface->vhost_fd + q;
	}
}

static int64_t number_of(struct json_object *object, const char *key)
{
	struct json_object *o = NULL;

	return json_object_object_get_ex(object, key, &o) ? json_object_get_int64(o) : 0;
}

static void take_queues(struct view *view, struct json_object *list, struct view_tap *seen)
{
	size_t n = seen->tap->queues, told = json_object_array_length(list);

	seen->queues = arena_calloc(&view->arena, n, sizeof *seen->queues);
	seen->guest_fds = arena_calloc(&view->arena, n, sizeof *seen->guest_fds);
	for (size_t q = 0; q < n; q++) {
		struct json_object *o = q < told ? json_object_array_get_idx(list, q) : NULL;

		seen->guest_fds[q] = -1;
		seen->queues[q] = o ? (json_object_get_boolean(o) ? QUEUE_ATTACHED : QUEUE_DETACHED)
				  : seen->tap->handoff == TAP_BY_FD ? QUEUE_GONE
								    : QUEUE_OWN;
		seen->live += o != NULL;
	}
}

static void take_device(struct json_object *object, struct view_tap *seen)
{
	struct json_object *name;

	if (!json_object_object_get_ex(object, "name", &name)) {
		/* Not by fd: its guest knows, who has it open. */
		if (seen->tap->name)
			(void)snprintf(seen->state.name, sizeof seen->state.name, "%s",
				       seen->tap->name);
		return;
	}
	seen->state = (struct tun_state){
		.flags = (unsigned)number_of(object, "flags"),
		.vnet_hdr_size = (int)number_of(object, "vnet_hdr_len"),
		.sndbuf = (int)number_of(object, "sndbuf"),
		.endian = (enum tun_endian)(number_of(object, "endian") % (TUN_BIG + 1)),
	};
	(void)snprintf(seen->state.name, sizeof seen->state.name, "%s",
		       json_object_get_string(name));
	seen->netns = (uint64_t)number_of(object, "netns");
}

static void take_tap(struct view *view, struct json_object *object, int *cap)
{
	int64_t i = number_of(object, "step");
	struct json_object *list = NULL;
	struct view_tap *seen;

	if (i < 0 || i >= view->plan->n_steps || view->plan->steps[i].op != OP_TAP ||
	    !json_object_object_get_ex(object, "queues", &list) ||
	    !json_object_is_type(list, json_type_array))
		return;
	seen = ARENA_PUSH(&view->arena, view->taps, view->n_taps, *cap);
	*seen = (struct view_tap){
		.tap = view->plan->steps[i].args,
		.netns = view->netns[view->plan->steps[i].space],
	};
	take_vhost(view, iface_of(view, seen->tap, &seen->guest), seen);
	take_device(object, seen);
	take_queues(view, list, seen);
}

static int ask_worker(struct view *view, int control, struct err *err)
{
	int cap = 0, from = 0;

	do {
		struct json_object *request = control_request("taps", NULL), *answer, *list;
		int r;

		json_put(&request, "from", json_object_new_int(from));
		r = control_call(control, request, io_now_ms() + CLI_ANSWER_MS, &answer, NULL, err);
		if (r < 0)
			return r;
		if (json_object_object_get_ex(answer, "taps", &list) &&
		    json_object_is_type(list, json_type_array))
			for (size_t i = 0; i < json_object_array_length(list); i++)
				take_tap(view, json_object_array_get_idx(list, i), &cap);
		from = (int)number_of(answer, "more_from");
		json_object_put(answer);
	} while (from);
	return 0;
}

/* ---- /proc */

struct seek {
	struct view *view;
	const struct tun_holder *all;
	int n_all;
	int worker, guardian;
};

/* The pid namespace of a process, 0 when it cannot be told. */
static uint64_t pid_space(int pid)
{
	char path[40];
	struct stat st;

	(void)snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* A guest's children are those of its cell. */
static bool is_guest(const struct view_program *guest, int pid)
{
	return guest && guest->pid &&
	       (guest->pid == pid || (pid_space(pid) && pid_space(pid) == pid_space(guest->pid)));
}

/* Which queue is behind the k-th fd that the guest holds of this TAP? Most often the k-th. */
static void take_guest_fd(const struct seek *seek, struct view_tap *seen, int pid, int fd, int k)
{
	int n = (int)seen->tap->queues;

	for (int i = 0; i < n; i++) {
		int q = (k + i) % n;

		if (seen->guest_fds[q] < 0 &&
		    (seen->queues[q] == QUEUE_OWN ||
		     tun_same(seek->worker, seen->tap->fd + q, pid, fd))) {
			seen->guest_fds[q] = fd;
			return;
		}
	}
}

/* The fds that the process at all[i] has of a TAP. Returns where the next process begins. */
static int take_process(const struct seek *seek, struct view_tap *seen, int i, int *cap)
{
	struct arena *arena = &seek->view->arena;
	struct view_holder holder = { .pid = seek->all[i].pid };
	int fds_cap = 0;

	for (; i < seek->n_all && seek->all[i].pid == holder.pid; i++) {
		const struct tun_holder *one = &seek->all[i];

		if (!str_eq(one->state.name, seen->state.name) || one->netns != seen->netns)
			continue;
		if (!seen->state.flags)
			seen->state = one->state;
		holder.command = one->comm;
		*ARENA_PUSH(arena, holder.fds, holder.n_fds, fds_cap) = one->fd;
		if (seen->guest && seen->guest->pid == holder.pid)
			take_guest_fd(seek, seen, holder.pid, one->fd, holder.n_fds - 1);
	}
	if (holder.n_fds) {
		holder.ours = holder.pid == seek->worker || holder.pid == seek->guardian;
		holder.guest = !holder.ours && is_guest(seen->guest, holder.pid);
		*ARENA_PUSH(arena, seen->holders, seen->n_holders, *cap) = holder;
	}
	return i;
}

int view_taps(const struct running *running, int control, struct view *view, struct err *err)
{
	const struct journal_head *head = running->journal.head;
	struct seek seek = { .view = view,
			     .worker = head->worker.pid,
			     .guardian = head->guardian.pid };
	struct tun_holder *all = NULL;
	int r = ask_worker(view, control, err);

	if (r < 0 || !view->n_taps)
		return r;
	r = tun_holders(&view->arena, &all, &seek.n_all, err);
	seek.all = all;
	for (int t = 0; r == 0 && t < view->n_taps; t++) {
		int cap = 0;

		for (int i = 0; i < seek.n_all;)
			i = take_process(&seek, &view->taps[t], i, &cap);
	}
	return r;
}

const struct view_tap *view_tap(const struct view *view, int fd)
{
	for (int i = 0; i < view->n_taps; i++)
		if (view->taps[i].tap->fd == fd)
			return &view->taps[i];
	return NULL;
}
