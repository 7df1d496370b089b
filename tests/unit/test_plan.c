/* test_plan.c - a plan of every kind of thing: what undoes what, and its way through the journal. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kind/kind.h"
#include "op/op.h"
#include "plan/plan.h"
#include "run/journal.h"

static const char everything[] =
	"bridges: {lan: [10.0.1.0/24, 'fd00:1::/64'], sw: {stp: true}, office: {host: br0}, tags: "
	"}\n"
	"hooks: {up: true, down: true}\n"
	"nodes:\n"
	"  r1:\n"
	"    forward: true\n"
	"    interfaces: {lo: {ipv4: 10.255.0.1/32}, eth0: lan, eth1: {bridge: office, ipv4: "
	"none}, eth9: {bridge: tags, trunk: 7, native: 1}, eth9.7: {parent: eth9, vlan: 7}}\n"
	"    sysctls: {net.ipv4.conf.all.rp_filter: 0, net.ipv4.conf.eth0.arp_ignore: 1}\n"
	"    exec: 'true'\n"
	"    services: {s: {command: sleep 9, ready: {exec: 'true'}}}\n"
	"    hooks: {up: true}\n"
	"  h1: {interfaces: {eth0: lan}, routes: default via r1}\n"
	"  g1:\n"
	"    kind: guest\n"
	"    command: [cat, '${eth0.fds}']\n"
	"    interfaces: {eth0: {bridge: lan, tap: {queues: 4}, hooks: {up: ./up, down: ./down}}, "
	"eth1: {bridge: office, trunk: 10-20}}\n"
	"    ready: {console: up, timeout: 3s}\n"
	"  g2: {kind: guest, command: [cat], ready: {tcp: 80, from: r1}}\n"
	"  g3: {kind: firecracker, kernel: k, disk: d, interfaces: {eth0: lan}}\n"
	"links:\n"
	"  - {endpoints: [r1:eth2, h1:eth1], subnet: 10.0.2.0/30}\n"
	"  - {endpoints: [r1:eth3, g2:eth0], subnet: 10.0.3.0/30}\n"
	"  - [g1:eth2, g2:eth1]\n"
	"  - [r1:eth4, h1:eth2, g2:eth2]\n"
	"  - [lan, sw]\n"
	"  - {endpoints: [sw, tags], trunk: 7}\n"
	"  - [sw, office]\n";

struct made {
	struct arena arena;
	struct diags diags;
	struct lab *lab;
	struct plan *plan;
};

static void make(struct made *made)
{
	char path[] = "/tmp/tapnet-test-XXXXXX.yaml";
	struct lab_options options = { .name = "every" };
	struct assume assume = { 0 };
	struct err err = { 0 };
	int fd = mkstemps(path, 5), r;

	*made = (struct made){ 0 };
	assert_true(fd >= 0);
	assert_int_equal(write(fd, everything, strlen(everything)), (ssize_t)strlen(everything));
	(void)close(fd);
	assert_int_equal(arena_init(&made->arena, 0, &err), 0);
	r = lab_load(&made->arena, path, &options, &kinds, &made->diags, &made->lab, &err);
	if (r == 0)
		r = plan_make(&made->arena, made->lab, &assume, &made->diags, &made->plan);
	(void)unlink(path);
	if (made->diags.n)
		fail_msg("%d:%d: %s", made->diags.v[0].pos.line, made->diags.v[0].pos.col,
			 made->diags.v[0].msg);
	assert_int_equal(r, 0);
}

/* Without an undo a step may only make what dies with a namespace of the lab's own. In the host's
 * there is nothing of the kind: waiting, what closing an fd or killing a process ends, and what is in
 * the run directory. */
static void undo_or_dies(void **state)
{
	struct made made;
	bool seen[OP_COUNT] = { 0 };

	(void)state;
	make(&made);
	for (int i = 0; i < made.plan->n_steps; i++) {
		const struct step *step = &made.plan->steps[i];

		seen[step->op] = true;
		assert_non_null(op_of(step)->undone_by);
		if (op_of(step)->phase == UNDO_HOOK || op_of(step)->phase == UNDO_HOST ||
		    op_of(step)->phase == UNDO_FD)
			assert_non_null(op_of(step)->undo);
		if (op_of(step)->phase == UNDO_NOTHING && step->op != OP_READY &&
		    step->op != OP_FILE && step->space == SPACE_HOST)
			fail_msg("step %d (%s) acts on the host and has no undo", i + 1,
				 op_of(step)->name);
		if (op_of(step)->phase == UNDO_NOTHING && step->op == OP_VETH) {
			const struct op_veth *veth = step->args;

			assert_true(veth->space != SPACE_HOST || veth->peer_space != SPACE_HOST);
		}
		if (step->op == OP_TAP) /* persistent means: until its namespace dies */
			assert_int_equal(((const struct op_tap *)step->args)->persist,
					 step->space != SPACE_HOST);
	}
	for (int op = 0; op < OP_COUNT; op++)
		if (!seen[op])
			fail_msg("no step of op %d", op);
	arena_free(&made.arena);
}

static void same_bytes(void **state)
{
	struct made a, b;
	struct strbuf x autostr = STRBUF_INIT;
	struct strbuf y autostr = STRBUF_INIT;
	struct plan *again;

	(void)state;
	make(&a);
	make(&b);
	plan_encode(a.plan, &x);
	plan_encode(b.plan, &y);
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.text, y.text, x.len);
	assert_int_equal(plan_decode(&a.arena, x.text, x.len, &again), 0);
	y.len = 0;
	plan_encode(again, &y);
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.text, y.text, x.len);
	arena_free(&a.arena);
	arena_free(&b.arena);
}

/* Any byte changed: refused, or a plan whose every index is within bounds; never a fault. */
static void damaged(void **state)
{
	struct made made;
	struct strbuf x autostr = STRBUF_INIT;
	int refused = 0;

	(void)state;
	make(&made);
	plan_encode(made.plan, &x);
	for (size_t i = 0; i < x.len; i += 1 + i % 3) {
		struct arena arena;
		struct plan *plan;
		struct err err;
		struct strbuf text autostr = STRBUF_INIT;
		struct assume assume = { 0 };
		char old = x.text[i];

		x.text[i] = (char)(old ^ (char)(1 + i % 255));
		assert_int_equal(arena_init(&arena, (size_t)64 << 20, &err), 0);
		if (plan_decode(&arena, x.text, x.len, &plan) < 0)
			refused++;
		else
			plan_print(plan, &assume, &text);
		arena_free(&arena);
		x.text[i] = old;
	}
	assert_true(refused > 100);
	arena_free(&made.arena);
}

static void fds_are_distinct(void **state)
{
	struct made made;
	bool used[1024] = { 0 };

	(void)state;
	make(&made);
	assert_true(made.plan->fd_end < 1024);
	for (int i = 0; i < made.plan->n_steps; i++) {
		const struct step *step = &made.plan->steps[i];
		const struct op_tap *tap = step->args;
		int fd = step->op == OP_NETNS	 ? ((const struct op_netns *)step->args)->fd
			 : step->op == OP_MOUNTS ? ((const struct op_mounts *)step->args)->fd
			 : step->op == OP_DISK	 ? ((const struct op_disk *)step->args)->fd
			 : step->op == OP_TAP	 ? tap->fd
						 : -1;

		for (uint32_t q = 0; fd >= 0 && q < (step->op == OP_TAP ? tap->queues : 1); q++) {
			assert_in_range(fd + (int)q, FD_PLANNED, made.plan->fd_end - 1);
			assert_false(used[fd + (int)q]);
			used[fd + (int)q] = true;
		}
	}
	arena_free(&made.arena);
}

static void journal(void **state)
{
	struct made made;
	struct journal written = JOURNAL_NONE, read = JOURNAL_NONE;
	struct journal_meta meta = { .name = "every", .file = "/x/every.yaml", .dir = "/x" };
	char dir[] = "/tmp/tapnet-test-XXXXXX", path[64];
	struct err err = { 0 };
	int fd;

	(void)state;
	make(&made);
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
	(void)snprintf(path, sizeof path, "%s/journal", dir);
	(void)unlink(path);
	(void)rmdir(dir);
	(void)close(fd);
	arena_free(&made.arena);
}

static struct step *step_of(const struct made *made, enum op_id op)
{
	for (int i = 0; i < made->plan->n_steps; i++)
		if (made->plan->steps[i].op == op)
			return &made->plan->steps[i];
	fail_msg("no step of op %d", op);
	abort(); /* not reached */
}

static int decoded(const struct made *made)
{
	struct strbuf bytes autostr = STRBUF_INIT;
	struct arena arena = ARENA_NONE;
	struct plan *plan = NULL;
	struct err err;
	int r;

	assert_int_equal(arena_init(&arena, 0, &err), 0);
	plan_encode(made->plan, &bytes);
	r = plan_decode(&arena, bytes.text, bytes.len, &plan);
	arena_free(&arena);
	return r;
}

/* A journal's disk is at a planned fd, and a file in the run directory itself. */
static void section3_disks_and_files_are_within_bounds(void **state)
{
	struct made made;
	struct op_disk disk;
	struct op_file file;

	(void)state;
	make(&made);
	disk = *(const struct op_disk *)step_of(&made, OP_DISK)->args;
	file = *(const struct op_file *)step_of(&made, OP_FILE)->args;
	step_of(&made, OP_DISK)->args = &disk;
	step_of(&made, OP_FILE)->args = &file;
	assert_int_equal(decoded(&made), 0);
	for (int fd = -1; fd < FD_PLANNED; fd++) {
		disk.fd = fd;
		assert_int_equal(decoded(&made), -EBADMSG);
	}
	disk.fd = made.plan->fd_end;
	assert_int_equal(decoded(&made), -EBADMSG);
	disk.fd = made.plan->fd_end - 1;
	assert_int_equal(decoded(&made), 0);
	disk.image = NULL;
	assert_int_equal(decoded(&made), -EBADMSG);
	disk.image = "d";
	file.name = "../x";
	assert_int_equal(decoded(&made), -EBADMSG);
	file.name = NULL;
	assert_int_equal(decoded(&made), -EBADMSG);
	file.name = "x";
	file.text = NULL;
	assert_int_equal(decoded(&made), -EBADMSG);
	arena_free(&made.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(section3_disks_and_files_are_within_bounds),
		cmocka_unit_test(undo_or_dies),
		cmocka_unit_test(same_bytes),
		cmocka_unit_test(damaged),
		cmocka_unit_test(fds_are_distinct),
		cmocka_unit_test(journal),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
