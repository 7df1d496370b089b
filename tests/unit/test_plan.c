/* test_plan.c - a plan of every kind of thing: what undoes what, and its bytes. */
#include "plan_testing.h"

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
		struct assume assume = { .kvm.known = true, .vhost.known = true };
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

/* What a guest's command is told of its interfaces, and of others'. */
static void values(void **state)
{
	static const char lab[] =
		"bridges: {lan: [10.0.0.0/24, 'fd00::/64']}\n"
		"nodes:\n"
		"  r: {interfaces: {eth0: {bridge: lan, mtu: 1400}}}\n"
		"  g:\n"
		"    kind: guest\n"
		"    command: [cat, '${eth0.fd} ${eth0.fds} ${eth0.fds-comma} ${eth0.vhostfds}',\n"
		"      '${eth0.queues} ${eth0.virtqueues} ${eth0.vectors} ${eth0.mtu} "
		"${r:eth0.mtu}',\n"
		"      '${eth0.ipv4} ${eth0.netmask} ${eth0.subnet} ${eth0.gateway} "
		"${r:eth0.ipv4}',\n"
		"      '${r:eth0.ipv6} ${r:eth0.ipv6-prefix} ${r:eth0.ifname} ${eth0.peer} "
		"${r:eth0.peer}',\n"
		"      '${eth1.fds} ${eth1.vhostfds} ${eth1.queues}']\n"
		"    interfaces:\n"
		"      eth0: {bridge: lan, tap: {queues: 2, vhost: require}}\n"
		"      eth1: {tap: {fds: [20, 21], vhostfds: [22, 23]}}\n"
		"      eth2: {tap: {helper: [prog, x]}}\n"
		"    routes: default via r\n";
	static const char *const due[] = { "cat",
					   "3 3:4 3,4 8:9",
					   "2 4 6 1500 1400",
					   "10.0.0.2 255.255.255.0 10.0.0.0/24 10.0.0.1 10.0.0.1",
					   "fd00::1 fd00::1/64 eth0 lan lan",
					   "5:6 10:11 2" };
	struct made made;
	const struct op_proc *proc;

	(void)state;
	make_of(&made, lab,
		&(struct assume){ .kvm.known = true, .vhost = { .known = true, .yes = true } });
	proc = step_of(&made, OP_PROC)->args;
	for (size_t i = 0; i < sizeof due / sizeof due[0]; i++)
		assert_string_equal(proc->program.argv[i], due[i]);
	assert_int_equal(proc->program.argc, sizeof due / sizeof due[0]);
	arena_free(&made.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(section3_disks_and_files_are_within_bounds),
		cmocka_unit_test(undo_or_dies),
		cmocka_unit_test(same_bytes),
		cmocka_unit_test(damaged),
		cmocka_unit_test(fds_are_distinct),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
