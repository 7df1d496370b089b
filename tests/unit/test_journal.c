/* test_journal.c - what the journal holds, what it refuses, and each of its calls failing once. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"

#include "../fault/wrap.c" /* makes a call fail */
#include "plan_testing.h"
#include "run/journal.h"

struct folder {
	char path[32];
	int fd;
};

static struct folder folder_make(void)
{
	struct folder folder = { .path = "/tmp/tapnet-test-XXXXXX" };

	assert_non_null(mkdtemp(folder.path));
	folder.fd = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(folder.fd >= 0);
	return folder;
}

static void folder_remove(struct folder *folder)
{
	(void)unlinkat(folder->fd, "journal", 0);
	assert_int_equal(rmdir(folder->path), 0); /* nothing else is in it */
	assert_int_equal(close(folder->fd), 0);
}

static const struct journal_meta every = { .name = "every", .file = "/x/every.yaml", .dir = "/x" };

static void through_a_file(void **state)
{
	struct made made;
	struct journal written = JOURNAL_NONE, read = JOURNAL_NONE;
	struct journal_meta meta = every;
	struct folder folder = folder_make();
	struct err err = { 0 };
	int fd = folder.fd;

	(void)state;
	make(&made);
	assert_int_equal(journal_create(fd, &meta, made.plan, &written, &err), 0);
	slot_set(&written.slots[3], SLOT_DONE);
	assert_int_equal(journal_open(fd, &read, &err), 0);
	assert_int_equal(read.plan->n_steps, made.plan->n_steps);
	assert_int_equal(slot_get(&read.slots[3]), SLOT_DONE); /* one mapping, one file */
	assert_true(journal_same(&read, &meta, made.plan));
	meta.dir = "/y";
	assert_false(journal_same(&read, &meta, made.plan));
	journal_close(&read);
	((char *)(written.head + 1))[100] ^= 1;
	assert_int_equal(journal_open(fd, &read, &err), -EBADMSG);
	((char *)(written.head + 1))[100] ^= 1;
	written.head->boot_id[0] ^= 1;
	assert_int_equal(journal_open(fd, &read, &err), -ESTALE);
	written.head->boot_id[0] ^= 1;
	written.head->version++;
	assert_int_equal(journal_open(fd, &read, &err), -EBADMSG);
	written.head->version--;
	assert_int_equal(ftruncate(written.fd, (off_t)written.size / 2), 0);
	assert_int_equal(journal_open(fd, &read, &err), -EBADMSG);
	journal_close(&written);
	folder_remove(&folder);
	arena_free(&made.arena);
}

/* ---- a header that lies */

static void refused(int fd, const char *words)
{
	struct journal read = JOURNAL_NONE;
	struct err err = { 0 };

	assert_int_equal(journal_open(fd, &read, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, words));
	assert_null(read.head);
	assert_int_equal(read.fd, -1);
}

#define LIE(field, value, words)                                                                   \
	do {                                                                                       \
		__typeof__(head->field) was = head->field;                                         \
		head->field = (value);                                                             \
		refused(folder.fd, words);                                                         \
		head->field = was;                                                                 \
	} while (0)

static void header_that_lies(void **state)
{
	struct made made;
	struct folder folder = folder_make();
	struct journal written = JOURNAL_NONE, read = JOURNAL_NONE;
	struct journal_head *head;
	struct err err = { 0 };

	(void)state;
	make(&made);
	assert_int_equal(journal_create(folder.fd, &every, made.plan, &written, &err), 0);
	head = written.head;
	LIE(magic[0], 't', "not a journal");
	LIE(version, head->version + 1, "version");
	LIE(slots_offset, 8, "truncated");
	LIE(slots_offset, head->slots_offset + 4, "truncated");
	LIE(slots_offset, 0xfffffff8, "truncated");
	LIE(n_slots, head->n_slots + 1, "truncated");
	LIE(n_slots, head->n_slots - 1, "plan cannot be read");
	LIE(meta_len, 0xffffffff, "truncated");
	LIE(plan_len, 0xffffffff, "truncated");
	LIE(checksum, head->checksum + 1, "corrupt");
	assert_int_equal(journal_open(folder.fd, &read, &err), 0);
	journal_close(&read);
	assert_int_equal(ftruncate(written.fd, ((off_t)512 << 20) + 1), 0);
	refused(folder.fd, "truncated");
	assert_int_equal(ftruncate(written.fd, (off_t)sizeof *head - 1), 0);
	refused(folder.fd, "truncated");
	journal_close(&written);
	assert_int_equal(unlinkat(folder.fd, "journal", 0), 0);
	assert_int_equal(mkfifoat(folder.fd, "journal", 0600), 0);
	refused(folder.fd, "truncated");
	assert_int_equal(unlinkat(folder.fd, "journal", 0), 0);
	assert_int_equal(journal_open(folder.fd, &read, &err), -ENOENT);
	folder_remove(&folder);
	arena_free(&made.arena);
}

/* Each of these is needed to come down. */
static void meta_without(void **state)
{
	const struct journal_meta metas[] = { { .file = "/x/y", .dir = "/x" },
					      { .name = "x", .dir = "/x" },
					      { .name = "x", .file = "/x/y" } };
	struct made made;
	struct folder folder = folder_make();
	struct err err = { 0 };

	(void)state;
	make(&made);
	for (size_t i = 0; i < COUNT(metas); i++) {
		struct journal written autojournal = JOURNAL_NONE;

		assert_int_equal(journal_create(folder.fd, &metas[i], made.plan, &written, &err),
				 0);
		refused(folder.fd, "plan cannot be read");
	}
	folder_remove(&folder);
	arena_free(&made.arena);
}

/* ---- a plan whose parts do not fit each other */

static bool is_decoded(const struct made *made)
{
	return decoded(made) == 0;
}

/* The thing with another value, which must be refused. */
#define SPOIL(thing, value)                                                                        \
	do {                                                                                       \
		__typeof__(thing) was = (thing);                                                   \
		(thing) = (value);                                                                 \
		if (is_decoded(&made))                                                             \
			fail_msg("%s = %s is taken", #thing, #value);                              \
		(thing) = was;                                                                     \
	} while (0)

/* The arguments of the first step of an op, where they can be changed. */
static void *args_of(struct made *made, enum op_id op, size_t size)
{
	struct step *step = step_of(made, op);
	void *args = arena_memdup(&made->arena, step->args, size);

	step->args = args;
	return args;
}

static void plan_that_does_not_fit(void **state)
{
	struct made made;
	struct plan *plan;
	struct plan_node *node;
	struct plan_iface *iface;
	struct step *step;

	(void)state;
	make(&made);
	plan = made.plan;
	node = &plan->nodes[0];
	iface = &node->ifaces[0];
	step = step_of(&made, OP_CELL);
	SPOIL(plan->lab, NULL);
	SPOIL(plan->n_spaces, 1);
	SPOIL(plan->fd_end, FD_PLANNED - 1);
	SPOIL(plan->mounts_fd, plan->fd_end);
	SPOIL(plan->mounts_fd, FD_PLANNED - 1);
	SPOIL(plan->spaces[1].name, NULL);
	SPOIL(plan->spaces[1].fd, 3);
	SPOIL(plan->spaces[1].mounts, 3);
	SPOIL(node->name, NULL);
	SPOIL(node->kind, NULL);
	SPOIL(node->space, (uint32_t)plan->n_spaces);
	SPOIL(node->cell_step, plan->n_steps);
	SPOIL(node->cell_step, 0);
	SPOIL(iface->name, NULL);
	SPOIL(iface->ifname, NULL);
	SPOIL(iface->peer, NULL);
	SPOIL(iface->tap_step, plan->n_steps);
	SPOIL(iface->space, (uint32_t)plan->n_spaces);
	SPOIL(iface->port_space, (uint32_t)plan->n_spaces);
	SPOIL(step->space, (uint32_t)plan->n_spaces);
	SPOIL(step->what, NULL);
	assert_true(is_decoded(&made));
	arena_free(&made.arena);
}

static void steps_that_do_not_fit(void **state)
{
	struct made made;
	struct plan *plan;

	(void)state;
	make(&made);
	plan = made.plan;
	struct op_netns *netns = args_of(&made, OP_NETNS, sizeof(struct op_netns));
	struct op_mounts *mounts = args_of(&made, OP_MOUNTS, sizeof(struct op_mounts));
	struct op_hook *hook = args_of(&made, OP_HOOK, sizeof(struct op_hook));
	struct op_veth *veth = args_of(&made, OP_VETH, sizeof(struct op_veth));
	struct op_vlans *vlans = args_of(&made, OP_VLANS, sizeof(struct op_vlans));
	struct op_exec *exec = args_of(&made, OP_EXEC, sizeof(struct op_exec));
	struct op_proc *proc = args_of(&made, OP_PROC, sizeof(struct op_proc));
	struct op_ready *ready = args_of(&made, OP_READY, sizeof(struct op_ready));
	struct op_disk *disk = args_of(&made, OP_DISK, sizeof(struct op_disk));

	SPOIL(netns->fd, plan->fd_end);
	SPOIL(mounts->fd, plan->fd_end);
	SPOIL(hook->log, NULL);
	SPOIL(hook->fd, plan->fd_end + 1);
	SPOIL(veth->name, NULL);
	SPOIL(veth->peer_name, NULL);
	SPOIL(veth->space, (uint32_t)plan->n_spaces);
	SPOIL(veth->peer_space, (uint32_t)plan->n_spaces);
	SPOIL(exec->cell_step, 0);
	SPOIL(proc->log, NULL);
	SPOIL(proc->node, NULL);
	SPOIL(proc->cell_step, 0);
	SPOIL(ready->from, (uint32_t)plan->n_spaces);
	ready->kind = WAIT_CONSOLE;
	SPOIL(ready->proc_step, (uint32_t)plan->n_steps);
	ready->kind = WAIT_STP;
	SPOIL(disk->fd, plan->fd_end);
	vlans->vlans = arena_calloc(&made.arena, OP_VLANS_MAX + 1, sizeof *vlans->vlans);
	SPOIL(vlans->n_vlans, OP_VLANS_MAX + 1);
	hook->fd = FD_PLANNED;
	hook->up_fds = hook->down_fds = 1;
	SPOIL(hook->up_fds, (uint32_t)(plan->fd_end - FD_PLANNED) + 1);
	SPOIL(hook->down_fds, (uint32_t)(plan->fd_end - FD_PLANNED) + 1);
	proc->n_fds = 1;
	proc->fds = arena_alloc(&made.arena, sizeof *proc->fds);
	proc->fds[0] = (struct op_fd){ .from = FD_PLANNED, .to = 3 };
	SPOIL(proc->fds[0].to, 2);
	SPOIL(proc->fds[0].from, plan->fd_end);
	assert_true(is_decoded(&made));
	arena_free(&made.arena);
}

static void taps_that_do_not_fit(void **state)
{
	struct made made;
	struct plan *plan;
	struct op_tap *tap;

	(void)state;
	make(&made);
	plan = made.plan;
	tap = args_of(&made, OP_TAP, sizeof(struct op_tap));
	SPOIL(tap->fd, -1);
	SPOIL(tap->fd, plan->fd_end);
	SPOIL(tap->queues, (uint32_t)(plan->fd_end - tap->fd) + 1);
	SPOIL(tap->enabled, tap->queues + 1);
	SPOIL(tap->name, NULL);
	SPOIL(tap->source, 9);
	tap->source = TAP_HELPED;
	assert_false(is_decoded(&made));
	tap->helper_bridge = "br0";
	assert_false(is_decoded(&made));
	tap->helper.argc = 1;
	tap->helper.argv = (const char *[]){ "helper", NULL };
	assert_true(is_decoded(&made));
	tap->source = TAP_ADOPTED;
	tap->queues = tap->enabled = 1;
	assert_false(is_decoded(&made));
	tap->n_adopted = 1;
	tap->adopted = arena_alloc(&made.arena, sizeof *tap->adopted);
	tap->adopted[0] = (struct op_fd){ .from = 3, .to = tap->fd };
	assert_true(is_decoded(&made));
	SPOIL(tap->adopted[0].from, 2);
	SPOIL(tap->adopted[0].to, -1);
	SPOIL(tap->adopted[0].to, plan->fd_end);
	arena_free(&made.arena);
}

/* Bytes that end too soon, that go on, that count more steps than there are bytes. */
static void bytes_that_do_not_fit(void **state)
{
	struct made made;
	struct strbuf bytes autostr = STRBUF_INIT;
	struct plan *plan;

	(void)state;
	make(&made);
	plan_encode(made.plan, &bytes);
	for (size_t len = 0; len < bytes.len; len += 1 + len / 100)
		assert_int_equal(plan_decode(&made.arena, bytes.text, len, &plan), -EBADMSG);
	strbuf_add(&bytes, "", 1);
	assert_int_equal(plan_decode(&made.arena, bytes.text, bytes.len, &plan), -EBADMSG);
	arena_free(&made.arena);
}

/* ---- each call fails once */

static struct table failing;

/* The nth call fails from here on; 0: none. Returns whether the last one did. */
static bool fail_at(uint64_t nth)
{
	bool fired = failing.fired;

	failing.calls = failing.fired = 0;
	failing.nth = nth;
	failing.how = ENOMEM;
	table = nth ? &failing : NULL;
	return fired;
}

static void create_fails(void **state)
{
	struct made made;
	struct folder folder = folder_make();
	struct stat st;
	bool fired = true;
	int n;

	(void)state;
	make(&made);
	for (n = 0; fired; n++) {
		struct journal written autojournal = JOURNAL_NONE;
		struct err err = { 0 };
		int r;

		(void)fail_at((uint64_t)n + 1);
		r = journal_create(folder.fd, &every, made.plan, &written, &err);
		fired = fail_at(0);
		assert_int_equal(r < 0, fired);
		assert_int_equal(r < 0, written.head == NULL);
		assert_int_equal(r < 0, err.msg[0] != '\0');
		assert_int_equal(fstatat(folder.fd, "journal.new", &st, 0), -1);
		assert_int_equal(fstatat(folder.fd, "journal", &st, 0), fired ? -1 : 0);
	}
	assert_true(n > 6);
	folder_remove(&folder);
	arena_free(&made.arena);
}

static void open_fails(void **state)
{
	struct made made;
	struct folder folder = folder_make();
	struct journal written autojournal = JOURNAL_NONE;
	struct err err = { 0 };
	bool fired = true;
	int n;

	(void)state;
	make(&made);
	assert_int_equal(journal_create(folder.fd, &every, made.plan, &written, &err), 0);
	for (n = 0; fired; n++) {
		struct journal read autojournal = JOURNAL_NONE;
		int r;

		err = (struct err){ 0 };
		(void)fail_at((uint64_t)n + 1);
		r = journal_open(folder.fd, &read, &err);
		fired = fail_at(0);
		assert_int_equal(r < 0, fired);
		assert_int_equal(r < 0, read.head == NULL);
		assert_int_equal(r < 0, err.msg[0] != '\0');
	}
	assert_true(n > 5);
	folder_remove(&folder);
	arena_free(&made.arena);
}

/* Without memory to compare them, two are not the same. */
static void compare_fails(void **state)
{
	struct made made;
	struct folder folder = folder_make();
	struct journal written autojournal = JOURNAL_NONE;
	struct err err = { 0 };

	(void)state;
	make(&made);
	assert_int_equal(journal_create(folder.fd, &every, made.plan, &written, &err), 0);
	assert_true(journal_same(&written, &every, made.plan));
	(void)fail_at(1);
	assert_false(journal_same(&written, &every, made.plan));
	assert_true(fail_at(0));
	made.plan->lab = "everx";
	assert_false(journal_same(&written, &every, made.plan));
	made.plan->lab = "other";
	assert_false(journal_same(&written, &every, made.plan));
	folder_remove(&folder);
	arena_free(&made.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(through_a_file),
		cmocka_unit_test(header_that_lies),
		cmocka_unit_test(meta_without),
		cmocka_unit_test(plan_that_does_not_fit),
		cmocka_unit_test(steps_that_do_not_fit),
		cmocka_unit_test(taps_that_do_not_fit),
		cmocka_unit_test(bytes_that_do_not_fit),
		cmocka_unit_test(create_fails),
		cmocka_unit_test(open_fails),
		cmocka_unit_test(compare_fails),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
