/* fuzz_control.c - any messages to a worker's control socket, from any of its clients: each gets one
 * answer, an object of JSON, or the connection's end; none is left open, nothing waits.
 *
 * The messages are ended by zeros. The first byte of each is its client.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "fuzz.h"
#include "kind/kind.h"
#include "op/proc.h"
#include "plan/plan.h"
#include "run/control.h"
#include "run/loop.h"

#define CLIENTS 3

static const char lab_text[] =
	"bridges: {lan: 10.0.0.0/24}\n"
	"nodes:\n"
	"  r1: {interfaces: {eth0: lan}, services: {s: {command: [sleep, '9']}}}\n"
	"  g1: {kind: guest, command: [sleep, '9'], interfaces: {eth0: {bridge: lan, tap: {queues: "
	"2}}}}\n"
	"  g2: {kind: guest, command: [sleep, '9'], interfaces: {eth0: lan}}\n";

static struct arena arena = ARENA_NONE;
static struct plan *plan;

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct diags diags = { 0 };
	struct lab_options options = { .name = "fuzz" };
	struct assume assume = { .kvm.known = true, .vhost.known = true };
	struct lab *lab = NULL;
	struct err err;
	char path[32];
	int fd = memfd_create("lab", MFD_CLOEXEC);

	(void)argc;
	(void)argv;
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (write(fd, lab_text, sizeof lab_text - 1) < 0 || arena_init(&arena, 0, &err) < 0 ||
	    lab_load(&arena, path, &options, &kinds, &diags, &lab, &err) < 0 ||
	    plan_make(&arena, lab, &assume, &diags, &plan) < 0)
		abort();
	(void)close(fd);
	return 0;
}

/* ---- a worker, and its clients' ends */

struct worker {
	struct ctx ctx;
	struct journal_head head;
	struct journal journal;
	struct loop loop;
	int peers[CLIENTS];
};

static void connect_client(struct worker *worker, int k)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		abort();
	worker->loop.clients[k] = (struct client){ .fd = ends[0] };
	worker->peers[k] = ends[1];
}

/* Each second step is done, each second program runs. */
static void begin(struct worker *worker)
{
	struct err err;

	worker->ctx = CTX_NONE;
	worker->ctx.plan = plan;
	worker->ctx.slots = calloc((size_t)plan->n_steps, sizeof *worker->ctx.slots);
	if (!worker->ctx.slots || procs_init(&worker->ctx, &err) < 0)
		abort();
	for (int i = 0; i < plan->n_steps; i += 2)
		slot_set(&worker->ctx.slots[i], SLOT_DONE);
	for (int i = 0; i < worker->ctx.n_procs; i++) {
		struct proc *proc = &worker->ctx.procs[i];

		proc->state = i % 2 ? PROC_RUNNING : PROC_ENDED;
		proc->tail = calloc(1, PROC_TAIL);
		proc->tail_len = 3 + (uint64_t)i * PROC_TAIL;
	}
	for (int i = 0; i < JOURNAL_WAITERS; i++)
		worker->head.waiters[i] = i < JOURNAL_WAITERS - 1 ? STDERR_FILENO : -1;
	worker->journal = (struct journal){ .fd = -1, .head = &worker->head };
	worker->loop = (struct loop){ .ctx = &worker->ctx, .journal = &worker->journal };
	for (int i = 0; i < CLIENTS_MAX; i++)
		worker->loop.clients[i].fd = -1;
	for (int k = 0; k < CLIENTS; k++)
		connect_client(worker, k);
}

static void end(struct worker *worker)
{
	for (int i = 0; i < worker->ctx.n_procs; i++) {
		control_restarted(&worker->loop, &worker->ctx.procs[i], NULL);
		proc_free(&worker->ctx.procs[i]);
	}
	for (int k = 0; k < CLIENTS; k++) {
		fd_closep(&worker->loop.clients[k].fd);
		fd_closep(&worker->peers[k]);
	}
	fd_closep(&worker->head.waiters[JOURNAL_WAITERS - 1]);
	free(worker->ctx.procs);
	free(worker->ctx.slots);
}

/* ---- messages */

static void check_answer(const char *data, ssize_t n)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *o = json_tokener_parse_ex(tokener, data, (int)n);

	if (!json_object_is_type(o, json_type_object))
		abort();
	json_object_put(o);
	json_tokener_free(tokener);
}

static void message(struct worker *worker, int k, const uint8_t *data, size_t size)
{
	static char answer[CONTROL_BYTES + 1];
	struct client *client = &worker->loop.clients[k];
	bool plain = !client->console && !client->restart, keep;
	ssize_t n;

	if (send(worker->peers[k], data, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return; /* longer than a socket takes */
	keep = control_message(&worker->loop, client);
	n = recv(worker->peers[k], answer, sizeof answer, MSG_DONTWAIT);
	if (n > (ssize_t)CONTROL_BYTES || (plain && keep && n < 0 && !client->restart))
		abort();
	if (plain && n > 0)
		check_answer(answer, n);
	while (n > 0)
		n = recv(worker->peers[k], answer, sizeof answer, MSG_DONTWAIT);
	if (!keep) {
		fd_closep(&client->fd);
		fd_closep(&worker->peers[k]);
		connect_client(worker, k);
	}
}

void judge(const uint8_t *data, size_t size)
{
	int before = lowest_free();
	struct worker worker = { 0 };

	begin(&worker);
	while (size > 1) {
		const uint8_t *zero = memchr(data + 1, 0, size - 1);
		size_t len = zero ? (size_t)(zero - data) : size;

		if (len > 1)
			message(&worker, data[0] % CLIENTS, data + 1, len - 1);
		data += len;
		size -= len;
		if (size) { /* the zero itself */
			data++;
			size--;
		}
	}
	end(&worker);
	if (lowest_free() != before)
		abort();
}
