/* test_plan.c - a plan of every kind of thing: what undoes what, and its bytes; and what becomes of
 * what labs say. */
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

/* The n-th step of an op that is of this node or device; what a plan calls "what". */
static const void *args_of(const struct made *made, enum op_id op, const char *what, int n)
{
	for (int i = 0; i < made->plan->n_steps; i++)
		if (made->plan->steps[i].op == op && str_eq(made->plan->steps[i].what, what) &&
		    n-- == 0)
			return made->plan->steps[i].args;
	fail_msg("no step of op %d of %s", op, what);
	abort(); /* not reached */
}

/* A program's words, with a space between. */
static void assert_words(const struct program *program, const char *due)
{
	struct strbuf words autostr = STRBUF_INIT;

	for (int i = 0; i < program->argc; i++)
		strbuf_printf(&words, "%s%s", i ? " " : "", program->argv[i]);
	assert_string_equal(words.text, due);
}

static void make_lab(struct made *made, const char *text)
{
	make_of(made, text, &(struct assume){ .kvm.known = true, .vhost.known = true });
}

/* A hook's first argument is the device's name, but where the file has other words for it. */
static void hooks(void **state)
{
	static const char lab[] =
		"bridges: {lan: }\n"
		"nodes:\n"
		"  g:\n"
		"    kind: guest\n"
		"    command: cat\n"
		"    interfaces:\n"
		"      eth0: {bridge: lan, hooks: {up: ./up now}}\n"
		"      eth1: {bridge: lan, tap: {queues: 2}, hooks: {up: {command: ./up, fds: "
		"all},\n"
		"        down: {command: [./down, x], fds: none}}}\n"
		"      eth2: {bridge: lan, tap: {handoff: name}, hooks: {up: '  '}}\n"
		"      eth3: {tap: {fds: [20], adopt-hooks: true}, hooks: {up: ./up}}\n";
	struct made made;
	const struct op_hook *hook;

	(void)state;
	make_lab(&made, lab);
	hook = args_of(&made, OP_HOOK, "g:eth0", 0);
	assert_words(&hook->up, "./up now");
	assert_int_equal(hook->up_fds, 1);
	assert_int_equal(hook->down.argc, 0);
	assert_int_equal(hook->down_fds, 0);
	hook = args_of(&made, OP_HOOK, "g:eth1", 0);
	assert_words(&hook->up, "./up p2");
	assert_int_equal(hook->up_fds, 2);
	assert_words(&hook->down, "./down p2 x");
	assert_int_equal(hook->down_fds, 0);
	hook = args_of(&made, OP_HOOK, "g:eth2", 0);
	assert_words(&hook->up, "/bin/sh -c    sh p3");
	assert_int_equal(hook->fd, -1);
	assert_int_equal(hook->up_fds, 0);
	hook = args_of(&made, OP_HOOK, "g:eth3", 0);
	assert_words(&hook->up, "./up " STEP_IFNAME);
	assert_int_equal(hook->up_fds, 1);
	arena_free(&made.arena);
}

static int step_at(const struct made *made, const void *args)
{
	for (int i = 0; i < made->plan->n_steps; i++)
		if (made->plan->steps[i].args == args)
			return i;
	return -1;
}

static void assert_waits(const struct op_ready *ready, const char *ip, uint32_t port)
{
	char text[IP_TEXT];

	assert_int_equal(ready->kind, WAIT_TCP);
	assert_string_equal(ip_text(&ready->addr, text), ip);
	assert_int_equal(ready->port, port);
}

/* Services start after what they wait for, and are ready where their nodes' addresses are. */
static void services(void **state)
{
	static const char lab[] =
		"bridges: {lan: 10.0.0.0/24, still: {stp: true}}\n"
		"nodes:\n"
		"  r:\n"
		"    interfaces: {lo: {ipv4: 10.9.0.1/32}, eth0: lan}\n"
		"    services:\n"
		"      a: {command: sleep 9, user: nobody, ready: {tcp: 80}}\n"
		"      b: {command: sleep 9, wait-for: [g, c], ready: {after: 2s}}\n"
		"      c: {command: sleep 9, ready: {tcp: '[fd00::5]:81'}}\n"
		"      d: {command: sleep 9, ready: {tcp: 'g:82'}}\n"
		"  g: {kind: guest, command: cat, netns: switch, interfaces: {eth0: lan}}\n";
	struct made made;
	const struct op_proc *a, *b, *c, *g;
	const struct op_ready *after;

	(void)state;
	make_lab(&made, lab);
	a = args_of(&made, OP_PROC, "r.a", 0);
	b = args_of(&made, OP_PROC, "r.b", 0);
	c = args_of(&made, OP_PROC, "r.c", 0);
	g = args_of(&made, OP_PROC, "g", 0);
	assert_string_equal(a->program.user, "nobody");
	assert_null(b->program.user);
	assert_true(step_at(&made, g) < step_at(&made, b));
	assert_true(step_at(&made, c) < step_at(&made, b));
	assert_true(step_at(&made, b) < step_at(&made, args_of(&made, OP_PROC, "r.d", 0)));
	assert_int_equal(made.plan->steps[step_at(&made, g)].space, SPACE_SWITCH);
	assert_waits(args_of(&made, OP_READY, "r", 0), "fd00::5", 81); /* c, as b waits for it */
	assert_waits(args_of(&made, OP_READY, "r", 1), "10.0.0.1", 80);
	after = args_of(&made, OP_READY, "r", 2);
	assert_int_equal(after->kind, WAIT_AFTER);
	assert_int_equal(after->after_ms, 2000);
	assert_waits(args_of(&made, OP_READY, "r", 3), "10.0.0.2", 82);
	for (int i = 0; i < made.plan->n_steps; i++) /* no port of it could be waited for */
		assert_false(made.plan->steps[i].op == OP_READY &&
			     str_eq(made.plan->steps[i].what, "still"));
	arena_free(&made.arena);
}

/* The switch is there for a guest alone, when that runs in it. */
static void switch_of_a_guest(void **state)
{
	static const char lab[] = "nodes: {r: , g: {kind: guest, command: cat%s}}\n"
				  "links: [[r, g]]\n";
	char text[sizeof lab + 32];
	struct made made;

	(void)state;
	for (int in = 0; in < 2; in++) {
		bool there = false;

		(void)snprintf(text, sizeof text, lab, in ? ", netns: switch" : "");
		make_lab(&made, text);
		for (int i = 0; i < made.plan->n_steps; i++)
			there |= made.plan->steps[i].op == OP_NETNS &&
				 made.plan->steps[i].space == SPACE_SWITCH;
		assert_int_equal(there, in);
		arena_free(&made.arena);
	}
}

static bool has_word(const struct program *program, const char *part)
{
	for (int i = 0; i < program->argc; i++)
		if (strstr(program->argv[i], part))
			return true;
	return false;
}

/* The plan's first line says what it depends on, and how to have it otherwise. */
static void machine(void **state)
{
	static const char both[] =
		"bridges: {lan: }\n"
		"nodes: {q: {kind: qemu, kernel: k, interfaces: {eth0: lan, eth1: {bridge: lan, "
		"tap: {vhost: require, poll-us: 50}}, eth2: {bridge: lan, tap: {vnet-hdr: "
		"off}}}}}\n";
	static const char kvm[] =
		"bridges: {lan: }\n"
		"nodes: {q: {kind: qemu, kernel: k, interfaces: {eth0: {bridge: lan, tap: {vhost: "
		"off}}}}}\n";

	(void)state;
	for (int yes = 0; yes < 2; yes++) {
		struct assume assume = { .kvm = { .known = true, .yes = yes },
					 .vhost = { .known = true, .yes = yes } };
		struct strbuf text autostr = STRBUF_INIT;
		const struct op_proc *proc;
		struct made made;

		make_of(&made, both, &assume);
		plan_print(made.plan, &assume, &text);
		assert_non_null(strstr(text.text, yes ? "kvm=yes, vhost=yes (--assume kvm=no)\n"
						      : "kvm=no, vhost=no (--assume kvm=yes)\n"));
		proc = args_of(&made, OP_PROC, "q", 0);
		assert_int_equal(has_word(&proc->program, "id=n0,fd=3,vhost=on"), yes);
		assert_true(has_word(&proc->program, ",poll-us=50"));
		assert_true(has_word(&proc->program, "id=n2,fd=5,vhost=off"));
		arena_free(&made.arena);

		assume.kvm.used = assume.vhost.used = false;
		text.len = 0;
		make_of(&made, kvm, &assume);
		plan_print(made.plan, &assume, &text);
		assert_non_null(strstr(text.text, yes ? "machine: kvm=yes (--assume kvm=no)\n"
						      : "machine: kvm=no (--assume kvm=yes)\n"));
		arena_free(&made.arena);
	}
}

/* What a JSON file of a preset holds is one string to its reader, whatever is in it. */
static void json_is_quoted(void **state)
{
	static const char lab[] = "bridges: {lan: }\n"
				  "nodes:\n"
				  "  f:\n"
				  "    kind: firecracker\n"
				  "    kernel: ${lab.dir}/k\n"
				  "    append: 'a\\b \"c\"\td'\n"
				  "    interfaces: {eth0: lan}\n";
	struct made made;
	const struct op_file *file;

	(void)state;
	make_lab(&made, lab);
	file = args_of(&made, OP_FILE, "f", 0);
	assert_non_null(strstr(file->text, "\"a\\\\b \\\"c\\\"\\u0009d\""));
	assert_non_null(strstr(file->text, "\"" STEP_DIR "/k\"")); /* symbolic still */
	arena_free(&made.arena);
}

/* How the file says that a TAP is to be. */
static void taps(void **state)
{
	static const char lab[] =
		"bridges: {lan: , office: {host: br0}}\n"
		"nodes:\n"
		"  g:\n"
		"    kind: guest\n"
		"    command: cat\n"
		"    interfaces:\n"
		"      eth0: {bridge: lan, tap: {name: x0, owner: root, group: '7', queues: 2,\n"
		"        steering: /lib/steer.o}}\n"
		"      eth1: {bridge: office, vlan: 7, tap: {name: x0, queues: 2, steering: s.o}}\n"
		"      eth2: {bridge: office, tap: {persist: true}}\n"
		"      eth3: {bridge: office, tap: {handoff: unattached}}\n"
		"      eth4: {tap: {helper: {command: [prog], bridge: br7}}}\n"
		"      eth5: {tap: {helper: [prog]}}\n";
	struct made made;
	const struct op_tap *tap;
	const struct op_hostport *port;

	(void)state;
	make_lab(&made, lab);
	tap = args_of(&made, OP_TAP, "g:eth0", 0);
	assert_string_equal(tap->name, "x0");
	assert_string_equal(tap->owner, "root");
	assert_string_equal(tap->group, "7");
	assert_string_equal(tap->steering_object, "/lib/steer.o");
	tap = args_of(&made, OP_TAP, "g:eth1", 0); /* that name once more: in another namespace */
	assert_string_equal(tap->name, "x0");
	assert_null(tap->owner);
	assert_string_equal(tap->steering_object, STEP_DIR "/s.o");
	assert_false(tap->persist);
	port = args_of(&made, OP_HOSTPORT, "g:eth1", 0);
	assert_int_equal(port->n_vlans, 1);
	assert_int_equal(port->vlans[0].first, 7);
	assert_true(port->vlans[0].untagged && port->vlans[0].pvid);
	tap = args_of(&made, OP_TAP, "g:eth2", 0);
	assert_true(tap->persist);
	port = args_of(&made, OP_HOSTPORT, "g:eth2", 0);
	assert_int_equal(port->n_vlans, 0);
	tap = args_of(&made, OP_TAP, "g:eth3", 0);
	assert_true(tap->persist); /* nobody holds it */
	tap = args_of(&made, OP_TAP, "g:eth4", 0);
	assert_string_equal(tap->helper_bridge, "br7");
	tap = args_of(&made, OP_TAP, "g:eth5", 0);
	assert_string_equal(tap->helper_bridge, "br0");
	arena_free(&made.arena);
}

/* A trunk's native VLAN is taken out of its range, at either end of it and in the middle. */
static void native_of_a_trunk(void **state)
{
	static const char lab[] =
		"bridges: {lan: }\n"
		"nodes: {a: {interfaces: {eth0: {bridge: lan, trunk: 7-9, native: 7}, eth1: "
		"{bridge: lan, trunk: 7-9, native: 8}, eth2: {bridge: lan, trunk: 7-9, native: "
		"9}}}}\n";
	static const uint32_t due[][6] = { { 7, 7, 8, 9 }, { 8, 8, 7, 7, 9, 9 }, { 9, 9, 7, 8 } };
	struct made made;

	(void)state;
	make_lab(&made, lab);
	for (size_t i = 0; i < sizeof due / sizeof due[0]; i++) {
		const char what[] = { 'a', ':', 'e', 't', 'h', (char)('0' + i), '\0' };
		const struct op_vlans *vlans = args_of(&made, OP_VLANS, what, 0);

		assert_int_equal(vlans->n_vlans, due[i][4] ? 3 : 2);
		for (int k = 0; k < vlans->n_vlans; k++) {
			assert_int_equal(vlans->vlans[k].first, due[i][2 * k]);
			assert_int_equal(vlans->vlans[k].last, due[i][2 * k + 1]);
			assert_int_equal(vlans->vlans[k].untagged, k == 0);
		}
	}
	arena_free(&made.arena);
}

/* Its addresses, but for link-local ones, with a space between. */
static void assert_addrs(const struct made *made, const char *what, const char *due)
{
	struct strbuf text autostr = STRBUF_INIT;
	char ip[IP_TEXT];

	for (int i = 0; i < made->plan->n_steps; i++) {
		const struct step *step = &made->plan->steps[i];
		const struct op_addr *args = step->args;

		if (step->op == OP_ADDR && str_eq(step->what, what) && args->addr.b[0] != 0xfe)
			strbuf_printf(&text, "%s%s", text.len ? " " : "",
				      ip_prefix_text(&args->addr, ip));
	}
	assert_string_equal(text.text, due);
}

static void addresses(void **state)
{
	struct made made;

	(void)state;
	/* Of two joined bridges the first one gives numbers; of what is given, none is given again. */
	make_lab(&made, "bridges: {lan: 10.0.0.0/24, lan2: 10.0.1.0/24}\nlinks: [[lan, lan2]]\n"
			"nodes:\n"
			"  a: {interfaces: {eth0: {bridge: lan, ipv4: auto}}}\n"
			"  b: {interfaces: {eth0: {bridge: lan, ipv4: [10.0.0.1/24, 10.0.0.2/24, "
			"10.0.0.3/24, "
			"10.0.1.9/24]}}}\n");
	assert_addrs(&made, "a:eth0", "10.0.0.4/24");
	assert_addrs(&made, "b:eth0", "10.0.0.1/24 10.0.0.2/24 10.0.0.3/24 10.0.1.9/24");
	arena_free(&made.arena);
	/* Many given ones at one end, more than two an end. */
	make_lab(&made, "bridges: {lan: 10.0.0.0/24}\n"
			"nodes: {a: {interfaces: {eth0: {bridge: lan, ipv4: [10.0.0.5, 10.0.0.4, "
			"10.0.0.3, 10.0.0.2, 10.0.0.1]}}}}\n");
	assert_addrs(&made, "a:eth0",
		     "10.0.0.5/24 10.0.0.4/24 10.0.0.3/24 10.0.0.2/24 10.0.0.1/24");
	arena_free(&made.arena);
	/* A pool's subnets go in the order of the file, also within a line. */
	make_lab(&made,
		 "{links: [[a, b], [a, b]], nodes: {b: {interfaces: {x: lan}}, a: }, bridges: "
		 "{lan: }, pools: {ipv4: 10.0.0.0/16}}\n");
	assert_addrs(&made, "a:eth0", "10.0.0.1/24");
	assert_addrs(&made, "a:eth1", "10.0.1.1/24");
	assert_addrs(&made, "b:x", "10.0.2.1/24");
	arena_free(&made.arena);
	/* A VLAN of which nobody wants a number takes no subnet. */
	make_lab(&made,
		 "bridges: {sw: }\n"
		 "pools: {ipv4: 10.0.0.0/16, ipv6: 'fd00::/48'}\n"
		 "nodes:\n"
		 "  a: {interfaces: {eth0: {bridge: sw, vlan: 5, ipv6: none}, eth1: {bridge: sw, "
		 "vlan: 6}}}\n"
		 "  b: {interfaces: {eth0: {bridge: sw, vlan: 5, ipv6: none}, eth1: {bridge: sw, "
		 "vlan: 6, ipv4: none}}}\n");
	assert_addrs(&made, "b:eth0", "10.0.1.2/24");
	assert_addrs(&made, "a:eth1", "10.0.2.1/24 fd00:0:0:1::1/64");
	assert_addrs(&made, "b:eth1", "fd00:0:0:1::2/64");
	arena_free(&made.arena);
}

/* What is told of a gateway where there is an IPv6 one only, and that other routes make none. */
static void gateways(void **state)
{
	static const char lab[] =
		"bridges: {lan: [10.0.0.0/24, 'fd00::/64']}\n"
		"nodes:\n"
		"  r: {interfaces: {eth0: lan}}\n"
		"  g: {kind: guest, command: [cat, '${eth0.gateway}'], interfaces: {eth0: lan},\n"
		"    routes: ['10.9.0.0/16 via r', 'default via fd00::1']}\n";
	struct made made;
	const struct op_proc *proc;

	(void)state;
	make_lab(&made, lab);
	proc = args_of(&made, OP_PROC, "g", 0);
	assert_words(&proc->program, "cat fd00::1");
	arena_free(&made.arena);
}

/* A sysctl of one of the node's devices is set when that is there, any other one before. */
static void sysctls(void **state)
{
	static const char lab[] =
		"bridges: {lan: }\n"
		"nodes:\n"
		"  a:\n"
		"    interfaces: {eth0: lan, v4: lan, net: lan}\n"
		"    sysctls: {net.ipv4.conf.eth0.rp_filter: 1, net.ipv4.conf.v4.rp_filter: 2, "
		"net/ipv4/conf/net/rp_filter: 3, net.ipv4.conf.beth0.x: 4, net.ipv4.conf.eth0x.x: "
		"5, "
		"net.ipv4.eth0: 6}\n";
	static const char *const due[] = { "4", "5", "6", "1", "2", "3" };
	struct made made;
	int link = -1, n = 0;

	(void)state;
	make_lab(&made, lab);
	for (int i = 0; i < made.plan->n_steps; i++) {
		const struct step *step = &made.plan->steps[i];

		if (step->op == OP_LINK &&
		    str_eq(((const struct op_link *)step->args)->name, "eth0"))
			link = n;
		if (step->op == OP_SYSCTL && str_eq(step->what, "a") && n < 6)
			assert_string_equal(((const struct op_sysctl *)step->args)->value,
					    due[n++]);
	}
	assert_int_equal(n, 6);
	assert_int_equal(link, 3);
	arena_free(&made.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(hooks),
		cmocka_unit_test(services),
		cmocka_unit_test(switch_of_a_guest),
		cmocka_unit_test(machine),
		cmocka_unit_test(json_is_quoted),
		cmocka_unit_test(taps),
		cmocka_unit_test(native_of_a_trunk),
		cmocka_unit_test(addresses),
		cmocka_unit_test(gateways),
		cmocka_unit_test(sysctls),
		cmocka_unit_test(section3_disks_and_files_are_within_bounds),
		cmocka_unit_test(undo_or_dies),
		cmocka_unit_test(same_bytes),
		cmocka_unit_test(damaged),
		cmocka_unit_test(fds_are_distinct),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
