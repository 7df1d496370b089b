/* control.c - the worker's side of the control socket. */
#include "run/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "run/controltap.h"
#include "run/json.h"
#include "run/loop.h"
#include "sys/spawn.h"

#define SILENT_MS 300 /* who connects asks at once */
#define TRIES	  30  /* to hear a client, while memory is short; then it is hung up on */
#define NO_MEMORY "{\"error\": \"it has no memory for an answer\"}"

/* Without an answer, for which there was no memory, it says so. */
static bool answer_fds(const struct client *client, struct json_object *answer, const int *fds,
		       int n_fds)
{
	const char *text =
		answer ? json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN) : NULL;
	struct err ignored;
	bool ok;

	if (!text) {
		text = NO_MEMORY;
		n_fds = 0;
	}
	ok = scm_send(client->fd, text, strlen(text), fds, n_fds, &ignored) == 0;
	json_object_put(answer);
	return ok;
}

static bool answer(const struct client *client, struct json_object *object)
{
	return answer_fds(client, object, NULL, 0);
}

static bool refuse(const struct client *client, const char *words)
{
	struct json_object *object = json_object_new_object();

	json_put(&object, "error", json_object_new_string(words));
	return answer(client, object);
}

static struct proc *proc_named(struct loop *loop, const char *name)
{
	for (int i = 0; i < loop->ctx->n_procs; i++)
		if (str_eq(ctx_step(loop->ctx, loop->ctx->procs[i].step)->what, name))
			return &loop->ctx->procs[i];
	return NULL;
}

/* ---- status */

static const char *const state_words[] = {
	[PROC_IDLE] = "waiting",
	[PROC_RUNNING] = "running",
	[PROC_ENDED] = "ended",
	[PROC_BACKOFF] = "restarting",
};

static struct json_object *status_proc(struct loop *loop, const struct proc *proc)
{
	struct json_object *o = json_object_new_object();
	char words[64];

	json_put(&o, "of", json_object_new_string(ctx_step(loop->ctx, proc->step)->what));
	json_put(&o, "state", json_object_new_string(state_words[proc->state]));
	if (proc->state == PROC_RUNNING) {
		json_put(&o, "pid", json_object_new_int(loop->ctx->slots[proc->step].mark.pid));
		json_put(&o, "since_ms", json_object_new_int64(io_now_ms() - proc->started_ms));
	}
	if (proc->ended_ms) {
		json_put(&o, "last",
			 json_object_new_string(spawn_status_words(proc->status, words)));
		json_put(&o, "ago_ms", json_object_new_int64(io_now_ms() - proc->ended_ms));
	}
	json_put(&o, "restarts", json_object_new_int((int)proc->restarts));
	if (*proc->trouble)
		json_put(&o, "trouble", json_object_new_string(proc->trouble));
	return o;
}

/* Answers in pieces of fifty programs, so that no message grows with the lab. */
static bool do_status(struct loop *loop, const struct client *client, struct json_object *request)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array(),
			   *from = NULL;
	int at = json_object_object_get_ex(request, "from", &from) ? json_object_get_int(from) : 0;
	int end;

	if (at < 0 || at > loop->ctx->n_procs)
		at = loop->ctx->n_procs;
	end = at + 50 < loop->ctx->n_procs ? at + 50 : loop->ctx->n_procs;
	for (int i = at; i < end; i++)
		json_append(&list, status_proc(loop, &loop->ctx->procs[i]));
	json_put(&o, "state",
		 json_object_new_string(loop->journal->head->state == JOURNAL_READY ? "ready"
					: loop->journal->head->state == JOURNAL_FAILED
						? "failed"
						: "starting"));
	if (loop->expires)
		json_put(&o, "expires_ms", json_object_new_int64(loop->expires - io_now_ms()));
	json_put(&o, "programs", list);
	if (end < loop->ctx->n_procs)
		json_put(&o, "more_from", json_object_new_int(end));
	return answer(client, o);
}

/* ---- enter: what exec and shell need of a node */

/* Is there a namespace behind the space's fd? It is reserved from the start, and not every lab needs
 * a switch; nor every space mounts. */
static bool space_is(const struct loop *loop, uint32_t space, enum op_id made)
{
	const struct plan *plan = loop->ctx->plan;

	for (int i = 0; i < plan->n_steps; i++)
		if (plan->steps[i].op == made && plan->steps[i].space == space)
			return slot_get(&loop->ctx->slots[i]) == SLOT_DONE;
	return false;
}

static bool do_enter(struct loop *loop, const struct client *client, const struct plan_node *node)
{
	const struct plan *plan = loop->ctx->plan;
	struct json_object *o;
	autofd int pidfd = -1;
	int fds[CONTROL_FDS], n = 1;
	struct err err;

	if (node->guest)
		return refuse(client, "a guest has no namespace to enter");
	if (!space_is(loop, node->space, OP_NETNS))
		return refuse(client, "it is not there yet");
	fds[0] = plan->spaces[node->space].fd;
	o = json_object_new_object();
	if (node->cell_step >= 0) {
		pidfd = ctx_cell(loop->ctx, (uint32_t)node->cell_step, &err);
		if (pidfd < 0) {
			json_object_put(o);
			return refuse(client, err.msg);
		}
		fds[n++] = pidfd;
		json_put(&o, "cell", json_object_new_boolean(true));
	} else if (space_is(loop, node->space, OP_MOUNTS)) {
		fds[n++] = plan->spaces[node->space].mounts;
		json_put(&o, "sys", json_object_new_boolean(true));
	} else if (plan->mounts_fd >= 0) {
		fds[n++] = plan->mounts_fd;
	}
	return answer_fds(client, o, fds, n);
}

/* ---- space: what status needs to look at the kernel */

static bool do_space(struct loop *loop, const struct client *client, struct json_object *request)
{
	const struct plan *plan = loop->ctx->plan;
	struct json_object *o = NULL;
	int space = json_object_object_get_ex(request, "space", &o) ? json_object_get_int(o) : -1;

	if (space < 0 || space >= plan->n_spaces || plan->spaces[space].fd < 0)
		return refuse(client, "no such namespace");
	if (json_object_object_get_ex(request, "plug", NULL)) {
		loop->journal->head->plugged = true;
		journal_keep(loop->journal, 0, 0);
	}
	return answer_fds(client, json_object_new_object(), &plan->spaces[space].fd,
			  space_is(loop, (uint32_t)space, OP_NETNS) ? 1 : 0);
}

/* ---- console, restart, down */

static bool do_console(struct loop *loop, struct client *client, const char *name)
{
	struct proc *proc = proc_named(loop, name);
	size_t len, at;

	if (!proc)
		return refuse(client, "it has no terminal");
	client->console = proc;
	if (!answer(client, json_object_new_object()))
		return false;
	len = proc->tail_len < PROC_TAIL ? (size_t)proc->tail_len : PROC_TAIL;
	at = (size_t)((proc->tail_len - len) % PROC_TAIL);
	if (at + len > PROC_TAIL) {
		(void)send(client->fd, proc->tail + at, PROC_TAIL - at,
			   MSG_NOSIGNAL | MSG_DONTWAIT);
		len -= PROC_TAIL - at;
		at = 0;
	}
	if (len)
		(void)send(client->fd, proc->tail + at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	return proc->state != PROC_ENDED; /* who has ended says no more */
}

/* Answered by control_restarted(), when it runs again. */
static bool do_restart(struct loop *loop, struct client *client, const char *name)
{
	struct proc *proc = proc_named(loop, name);

	if (!proc)
		return refuse(client, "it is neither a guest nor a service");
	client->restart = proc;
	proc_restart(loop->ctx, proc);
	return true;
}

void control_restarted(struct loop *loop, const struct proc *proc, const struct err *err)
{
	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &loop->clients[i];

		if (client->fd < 0 || client->restart != proc)
			continue;
		client->restart = NULL;
		if (err)
			(void)refuse(client, err->msg);
		else
			(void)answer(client, json_object_new_object());
	}
}

static bool do_down(struct loop *loop, struct client *client)
{
	struct journal_head *head = loop->journal->head;

	for (int i = 0; i < JOURNAL_WAITERS; i++) {
		if (head->waiters[i] >= 0)
			continue;
		if (!answer(client, json_object_new_object()))
			return false;
		head->waiters[i] = take_fd(&client->fd); /* it stays open in the guardian's table */
		journal_keep(loop->journal, 0, 0);
		loop->stop = true;
		return false;
	}
	loop->stop = true;
	return refuse(client, "too many wait for it already");
}

/* ---- messages */

static const struct plan_node *node_named(const struct plan *plan, const char *name)
{
	for (int i = 0; i < plan->n_nodes; i++)
		if (str_eq(plan->nodes[i].name, name))
			return &plan->nodes[i];
	return NULL;
}

static bool dispatch(struct loop *loop, struct client *client, struct json_object *request)
{
	struct json_object *o = NULL;
	const char *what =
		json_object_object_get_ex(request, "do", &o) ? json_object_get_string(o) : "";
	const char *name =
		json_object_object_get_ex(request, "node", &o) ? json_object_get_string(o) : "";
	const struct plan_node *node;

	if (client - loop->clients >= CLIENTS_MAX - CLIENTS_SPARE && !str_eq(what, "down"))
		return refuse(client, "too many others are connected to it: try again");
	if (str_eq(what, "status"))
		return do_status(loop, client, request);
	if (str_eq(what, "space"))
		return do_space(loop, client, request);
	if (str_eq(what, "taps"))
		return answer(client, control_taps(loop, request));
	if (str_eq(what, "queue"))
		return answer(client, control_queue(loop, request));
	if (str_eq(what, "down"))
		return do_down(loop, client);
	if (str_eq(what, "console"))
		return do_console(loop, client, name);
	if (str_eq(what, "restart"))
		return do_restart(loop, client, name);
	node = node_named(loop->ctx->plan, name);
	if (str_eq(what, "enter") && node)
		return do_enter(loop, client, node);
	return refuse(client, node ? "unknown request" : "no such node");
}

bool control_message(struct loop *loop, struct client *client)
{
	char data[CONTROL_BYTES];
	ssize_t n = recv(client->fd, data, sizeof data - 1, MSG_DONTWAIT | MSG_TRUNC);
	struct json_tokener *tokener;
	struct json_object *request;
	bool keep;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n < 0 && (errno == ENOBUFS || errno == ENOMEM) && ++client->tries < TRIES) {
		io_nap();
		return true;
	}
	client->tries = 0;
	if (n <= 0 || (size_t)n >= sizeof data)
		return false;
	if (client->console) {
		if (client->console->master >= 0)
			(void)!write(client->console->master, data, (size_t)n);
		return true;
	}
	client->silent_ms = 0;
	journal_mend(loop->journal, false);
	data[n] = '\0';
	tokener = json_tokener_new_ex(4);
	request = tokener ? json_tokener_parse_ex(tokener, data, (int)n) : NULL;
	keep = json_object_is_type(request, json_type_object) && dispatch(loop, client, request);
	json_object_put(request);
	if (tokener)
		json_tokener_free(tokener);
	return keep;
}

/* A free place; else that of who has been silent for longest, if that is long enough. */
static struct client *client_place(struct loop *loop)
{
	struct client *silent = NULL;

	for (struct client *c = loop->clients; c < loop->clients + CLIENTS_MAX; c++) {
		if (c->fd < 0)
			return c;
		if (c->silent_ms && (!silent || c->silent_ms < silent->silent_ms))
			silent = c;
	}
	if (!silent || io_now_ms() - silent->silent_ms < SILENT_MS)
		return NULL;
	fd_closep(&silent->fd);
	return silent;
}

int control_accept(struct loop *loop)
{
	autofd int fd = accept4(loop->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *place;
	struct ucred peer;
	socklen_t len = sizeof peer;

	if (fd < 0)
		return errno == EAGAIN ? 0 : errno == EINTR || errno == ECONNABORTED ? 1 : -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    (peer.uid != 0 && peer.uid != loop->owner))
		return 1;
	place = client_place(loop);
	if (place)
		*place = (struct client){ .fd = take_fd(&fd), .silent_ms = io_now_ms() };
	return 1;
}
