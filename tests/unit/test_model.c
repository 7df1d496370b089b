/* test_model.c - from a file's text to the lab: what the structs hold afterwards. What is wrong with
 * files is tested by tests/data/malformed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/io.h"
#include "model/lab.h"

struct vm_spec {
	unsigned cpus;
	uint64_t memory;
	struct text append;
	struct text *extra;
	int n_extra;
};

static const struct field vm_fields[] = {
	{ .name = "cpus",
	  .type = FIELD_UINT,
	  .offset = offsetof(struct vm_spec, cpus),
	  .min = 1,
	  .max = 8,
	  .preset = "2",
	  .help = "processors" },
	{ .name = "memory",
	  .type = FIELD_SIZE,
	  .offset = offsetof(struct vm_spec, memory),
	  .preset = "256M",
	  .help = "memory" },
	{ .name = "append",
	  .type = FIELD_TEXT,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct vm_spec, append),
	  .help = "command line" },
	{ .name = "extra",
	  .type = FIELD_TEXTS,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct vm_spec, extra),
	  .count_offset = offsetof(struct vm_spec, n_extra),
	  .help = "more arguments" },
	{ 0 },
};

static const struct node_kind netns_kind = { .name = "netns" };
static const struct node_kind guest_kind = { .name = "guest", .guest = true };
static const struct node_kind vm_kind = {
	.name = "vm", .fields = vm_fields, .spec_size = sizeof(struct vm_spec), .guest = true
};
static const struct node_kinds kinds = { .list = (const struct node_kind *const[]){
						 &netns_kind, &guest_kind, &vm_kind, NULL } };

struct loaded {
	struct arena *arena; /* the errors point to it */
	struct diags diags;
	struct lab *lab;
	int r;
};

static struct loaded load_with(const char *text, const struct lab_options *options)
{
	struct loaded loaded = { 0 };
	char path[] = "/tmp/Tapnet-model-XXXXXX.yaml";
	struct err err = { 0 };
	int fd = mkstemps(path, 5);

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(close(fd), 0);
	loaded.arena = calloc(1, sizeof *loaded.arena);
	assert_non_null(loaded.arena);
	assert_int_equal(arena_init(loaded.arena, 0, &err), 0);
	loaded.r = lab_load(loaded.arena, path, options, &kinds, &loaded.diags, &loaded.lab, &err);
	loaded.diags.file = "lab.yaml"; /* as errors show it */
	assert_int_equal(unlink(path), 0);
	return loaded;
}

/* A lab without errors. */
static struct loaded load(const char *text)
{
	const struct lab_options options = { .name = "test" };
	struct loaded loaded = load_with(text, &options);

	if (loaded.r) {
		autostr struct strbuf out = STRBUF_INIT;

		diag_print(&loaded.diags, &out);
		print_message("%s", out.text);
	}
	assert_int_equal(loaded.r, 0);
	return loaded;
}

static void unload(struct loaded *loaded)
{
	arena_free(loaded->arena);
	free(loaded->arena);
}
#define autoloaded __attribute__((cleanup(unload)))

static void assert_ip(const struct ip *ip, const char *text)
{
	char out[IP_TEXT];

	assert_string_equal(ip_prefix_text(ip, out), text);
}

static const char *env_of(const struct loaded *loaded, const char *node, const char *key)
{
	const struct node *n = lab_node(loaded->lab, node);

	assert_non_null(n);
	for (int i = 0; i < n->env.n; i++)
		if (str_eq(n->env.v[i].key, key))
			return n->env.v[i].value;
	return NULL;
}

static void test_vars(void **state)
{
	static const char text[] = "vars: {a: 1, b: \"${a}${a}\", lab: \"${lab.name}\"}\n"
				   "nodes:\n"
				   "  h1:\n"
				   "    env:\n"
				   "      PLAIN: $HOME $(date) $$ ${b}\n"
				   "      LITERAL: $${b}\n"
				   "      NAMES: ${lab} ${node.name}\n"
				   "      SET: ${env.TAPNET_TEST_SET}\n"
				   "      UNSET: ${env.TAPNET_TEST_UNSET:-a word}\n"
				   "      EMPTY: ${env.TAPNET_TEST_EMPTY:-${a}}\n";
	const char *const set[] = { "a=7" };
	const struct lab_options options = { .name = "test", .set = set, .n_set = 1 };

	(void)state;
	assert_int_equal(setenv("TAPNET_TEST_SET", "${a}", 1), 0);
	assert_int_equal(setenv("TAPNET_TEST_EMPTY", "", 1), 0);
	assert_int_equal(unsetenv("TAPNET_TEST_UNSET"), 0);
	struct loaded loaded autoloaded = load_with(text, &options);

	assert_int_equal(loaded.r, 0);
	assert_string_equal(env_of(&loaded, "h1", "PLAIN"), "$HOME $(date) $$ 77");
	assert_string_equal(env_of(&loaded, "h1", "LITERAL"), "${b}");
	assert_string_equal(env_of(&loaded, "h1", "NAMES"), "test h1");
	assert_string_equal(env_of(&loaded, "h1", "SET"), "${a}"); /* never read again */
	assert_string_equal(env_of(&loaded, "h1", "UNSET"), "a word");
	assert_string_equal(env_of(&loaded, "h1", "EMPTY"), "7");
}

static void test_late(void **state)
{
	struct loaded loaded autoloaded =
		load("bridges: {lan: }\n"
		     "nodes:\n"
		     "  r${i}: {for: {i: 1-2}, interfaces: {eth0.10: lan}}\n"
		     "  h1:\n"
		     "    for: {i: 1}\n"
		     "    interfaces: {eth0: lan}\n"
		     "    exec: a ${r${i}:eth0.10.ipv4} ${lab.dir}\n"
		     "  g1:\n"
		     "    kind: guest\n"
		     "    command: [x, \"fd=${eth0.fds}\"]\n"
		     "    interfaces: {eth0: lan}\n");
	const struct node *h1 = lab_node(loaded.lab, "h1"), *g1 = lab_node(loaded.lab, "g1");

	(void)state;
	assert_string_equal(h1->exec[0].argv[2].s, "a \x01r1:eth0.10.ipv4\x02 \x01lab.dir\x02");
	assert_string_equal(g1->command.argv[1].s, "fd=\x01"
						   "eth0.fds\x02");
}

static void test_for(void **state)
{
	struct loaded loaded autoloaded =
		load("vars: {last: 3}\n"
		     "nodes:\n"
		     "  a${i}${j}: {for: {i: 09-10, j: [x, 2-3]}}\n"
		     "  b${i}: {for: {i: \"1-${last}\"}}\n"
		     "links:\n"
		     "  - {for: {n: 1-2}, endpoints: [\"b${n}:p${n}\", b3]}\n");
	static const char *const names[] = { "a09x", "a092", "a093", "a10x", "a102",
					     "a103", "b1",   "b2",   "b3" };

	(void)state;
	assert_int_equal(loaded.lab->n_nodes, COUNT(names));
	for (size_t i = 0; i < COUNT(names); i++)
		assert_string_equal(loaded.lab->nodes[i]->name, names[i]);
	assert_int_equal(loaded.lab->n_links, 2);
	assert_non_null(node_iface(lab_node(loaded.lab, "b2"), "p2"));
	assert_non_null(node_iface(lab_node(loaded.lab, "b3"), "eth1"));
}

static void test_groups(void **state)
{
	struct loaded loaded autoloaded = load(
		"bridges: {lan: , wan: }\n"
		"defaults:\n"
		"  node: {env: {A: default, B: default, C: default}, cpus: 4, forward: true}\n"
		"  interface: {mtu: 1400, tap: {queues: 2}}\n"
		"groups:\n"
		"  g: {env: {B: g, C: g}, exec: [one, two], interfaces: {eth0: lan}}\n"
		"  h: {env: {C: h}, exec: three}\n"
		"nodes:\n"
		"  a: {group: [g, h], interfaces: {eth0: {mtu: 9000}, lo: }}\n"
		"  b: {group: [h, g], env: {A: own}, forward: false, interfaces: {eth0: wan}}\n"
		"  c: {kind: vm, interfaces: {eth0: {bridge: lan, tap: {vnet-hdr: on}}}}\n");
	const struct node *a = lab_node(loaded.lab, "a"), *b = lab_node(loaded.lab, "b");
	const struct node *c = lab_node(loaded.lab, "c");

	(void)state;
	assert_string_equal(env_of(&loaded, "a", "A"), "default");
	assert_string_equal(env_of(&loaded, "a", "B"), "g");
	assert_string_equal(env_of(&loaded, "a", "C"), "h");
	assert_int_equal(a->n_exec, 1);
	assert_true(a->forward);
	assert_string_equal(node_iface(a, "eth0")->bridge->name, "lan");
	assert_int_equal(node_iface(a, "eth0")->mtu, 9000);
	assert_int_equal(node_iface(a, "lo")->mtu, 1400);
	assert_string_equal(env_of(&loaded, "b", "A"), "own");
	assert_string_equal(env_of(&loaded, "b", "C"), "g");
	assert_int_equal(b->n_exec, 2);
	assert_false(b->forward);
	assert_string_equal(node_iface(b, "eth0")->bridge->name, "wan");
	assert_int_equal(node_iface(c, "eth0")->tap.queues, 2);
	assert_int_equal(node_iface(c, "eth0")->tap.vnet_hdr, TRI_ON);
	assert_int_equal(((const struct vm_spec *)c->spec)->cpus, 4);
	assert_true(((const struct vm_spec *)c->spec)->memory == UINT64_C(256) << 20);
}

static void test_values(void **state)
{
	struct loaded loaded autoloaded = load(
		"description: 007\n"
		"bridges: {a: {stp: on, ageing: 1m}, b: {stp: No, mcast-snooping: TRUE}}\n"
		"nodes:\n"
		"  g:\n"
		"    kind: vm\n"
		"    memory: 1G\n"
		"    extra: one\n"
		"    restart: on-failure\n"
		"    ready: {console: 'login:', timeout: 500ms}\n"
		"    interfaces:\n"
		"      eth0:\n"
		"        bridge: a\n"
		"        mac: 12:34:56:12:34:56\n"
		"        tap: {queues: 256, vnet-hdr: false, vhost: no}\n"
		"        hooks: {up: [./up, -x], down: {command: ./down, fds: all, env: {A: 1}}}\n"
		"      eth1: {bridge: b, ipv4: none, ipv6: }\n");
	const struct node *g = lab_node(loaded.lab, "g");
	const struct iface *eth0 = node_iface(g, "eth0"), *eth1 = node_iface(g, "eth1");
	char mac[MAC_TEXT];

	(void)state;
	assert_string_equal(loaded.lab->description, "007");
	assert_true(lab_bridge(loaded.lab, "a")->stp);
	assert_int_equal(lab_bridge(loaded.lab, "a")->ageing_ms, 60000);
	assert_false(lab_bridge(loaded.lab, "b")->stp);
	assert_true(lab_bridge(loaded.lab, "b")->mcast_snooping);
	assert_int_equal(((const struct vm_spec *)g->spec)->n_extra, 1);
	assert_int_equal(g->restart, RESTART_ON_FAILURE);
	assert_int_equal(g->ready.kind, READY_CONSOLE);
	assert_int_equal(g->ready.timeout_ms, 500);
	assert_true(eth0->mac_given);
	assert_string_equal(mac_text(&eth0->mac, mac), "12:34:56:12:34:56");
	assert_int_equal(eth0->tap.queues, 256);
	assert_int_equal(eth0->tap.vnet_hdr, TRI_OFF);
	assert_int_equal(eth0->hooks.up.command.argc, 2);
	assert_false(eth0->hooks.up.command.shell);
	assert_int_equal(eth0->hooks.up.timeout_ms, 30000);
	assert_true(eth0->hooks.down.command.shell);
	assert_int_equal(eth0->hooks.down.fds, HOOK_FDS_ALL);
	assert_int_equal(eth0->hooks.down.env.n, 1);
	assert_int_equal(eth1->hooks.up.command.argc, 0);
	assert_int_equal(eth1->tap.queues, 1);
	assert_int_equal(eth1->ipv4.mode, ADDRS_NONE);
	assert_int_equal(eth1->ipv6.mode, ADDRS_UNSET);
}

static void test_commands(void **state)
{
	struct loaded loaded autoloaded = load("nodes:\n"
					       "  a: {exec: ip -br addr}\n"
					       "  b: {exec: [ip addr, [ip, -br, ''], date]}\n"
					       "  c: {services: {s: sleep 9, t: [sleep, 9]}}\n");
	const struct node *a = lab_node(loaded.lab, "a"), *b = lab_node(loaded.lab, "b");
	const struct node *c = lab_node(loaded.lab, "c");

	(void)state;
	assert_int_equal(a->n_exec, 1);
	assert_true(a->exec[0].shell);
	assert_string_equal(a->exec[0].argv[0].s, "/bin/sh");
	assert_string_equal(a->exec[0].argv[2].s, "ip -br addr");
	assert_int_equal(a->exec[0].pos.line, 2);
	assert_int_equal(a->exec[0].pos.col, 13);
	assert_int_equal(b->n_exec, 3);
	assert_int_equal(b->exec[1].argc, 3);
	assert_string_equal(b->exec[1].argv[2].s, "");
	assert_int_equal(c->n_services, 2);
	assert_string_equal(c->services[0].name, "s");
	assert_true(c->services[0].command.shell);
	assert_int_equal(c->services[1].command.argc, 2);
}

static void test_wires(void **state)
{
	struct loaded loaded autoloaded = load("bridges: {s1: , s2: , s3: }\n"
					       "defaults: {interface: {mtu: 1280}}\n"
					       "nodes: {a: {interfaces: {eth1: s1}}, b: , c: }\n"
					       "links:\n"
					       "  - [a, b:eth1]\n"
					       "  - [a, b]\n"
					       "  - [b, b]\n"
					       "  - [a:eth2, s1]\n"
					       "  - [s1, s2]\n"
					       "  - [a, b, c]\n"
					       "  - {endpoints: [c, b], mtu: 9000}\n");
	const struct lab *lab = loaded.lab;
	const struct node *a = lab_node(lab, "a"), *b = lab_node(lab, "b"), *c = lab_node(lab, "c");
	const struct bridge *s1 = lab_bridge(lab, "s1"), *s2 = lab_bridge(lab, "s2");

	(void)state;
	assert_ptr_equal(lab->links[0]->ends[0].iface, node_iface(a, "eth0"));
	assert_ptr_equal(lab->links[1]->ends[0].iface, node_iface(a, "eth3"));
	assert_ptr_equal(lab->links[1]->ends[1].iface, node_iface(b, "eth0"));
	assert_ptr_equal(lab->links[2]->ends[0].iface, node_iface(b, "eth2"));
	assert_ptr_equal(lab->links[2]->ends[1].iface, node_iface(b, "eth3"));
	assert_int_equal(node_iface(b, "eth3")->end, 1);
	assert_int_equal(node_iface(b, "eth3")->mtu, 1280);
	assert_ptr_equal(lab->links[3]->ends[1].bridge, s1);
	assert_int_equal(s1->ports, 3);
	assert_int_equal(s2->ports, 1);
	assert_int_equal(s1->segment, s2->segment);
	assert_int_not_equal(s1->segment, lab_bridge(lab, "s3")->segment);
	assert_int_equal(node_iface(a, "eth2")->segment, node_iface(a, "eth1")->segment);
	assert_int_not_equal(lab->links[0]->segment, lab->links[1]->segment);
	assert_int_equal(lab->links[5]->n_ends, 3);
	assert_int_equal(lab->links[6]->mtu, 9000);
	assert_int_equal(c->n_ifaces, 2);
	assert_string_equal(a->ifaces[0]->name, "eth1");
}

/* Whether the interfaces are on one segment, each written node:interface. */
static bool together(const struct lab *lab, const char *one, const char *other)
{
	int segments[2];

	for (int i = 0; i < 2; i++) {
		char node[32] = "";
		const char *both = i ? other : one, *colon = strchr(both, ':');

		strncpy(node, both, (size_t)(colon - both));
		segments[i] = node_iface(lab_node(lab, node), colon + 1)->segment;
	}
	return segments[0] && segments[0] == segments[1];
}

static void test_vlans(void **state)
{
	struct loaded loaded autoloaded =
		load("bridges: {s1: , s2: , plain: , far: }\n"
		     "nodes:\n"
		     "  a: {interfaces: {eth0: {bridge: s1, vlan: 10}, eth1: {bridge: s1, vlan: "
		     "20}, eth2: s1}}\n"
		     "  b: {interfaces: {eth0: {bridge: s2, vlan: 10}, eth1: {bridge: s2, vlan: "
		     "20}, eth2: s2}}\n"
		     "  r:\n"
		     "    interfaces:\n"
		     "      eth0: {bridge: s1, trunk: [30, 10-12], native: 11}\n"
		     "      eth0.10: {parent: eth0, vlan: 10}\n"
		     "      eth1: {bridge: s1, trunk: 20}\n"
		     "      eth2.5: {parent: eth2, vlan: 5}\n"
		     "      eth2: plain\n"
		     "      eth3.5: {parent: eth3, vlan: 5}\n"
		     "      eth3: far\n"
		     "      eth4.9: {parent: eth4, vlan: 9}\n"
		     "  q: {interfaces: {eth0.9: {parent: eth0, vlan: 9}, eth0: , eth1: {bridge: "
		     "s2, vlan: 11}}}\n"
		     "links:\n"
		     "  - {endpoints: [s1, s2], trunk: [10, 11], native: 20}\n"
		     "  - [plain, far]\n"
		     "  - [r:eth4, q:eth0]\n");
	const struct lab *lab = loaded.lab;
	const struct iface *trunk = node_iface(lab_node(lab, "r"), "eth0");

	(void)state;
	assert_int_equal(trunk->port.n_trunk, 2); /* in order, and joined */
	assert_int_equal(trunk->port.trunk[0].first, 10);
	assert_int_equal(trunk->port.trunk[0].last, 12);
	assert_int_equal(trunk->port.trunk[1].first, 30);
	assert_true(together(lab, "a:eth0", "b:eth0"));	 /* tagged on the trunk */
	assert_true(together(lab, "a:eth1", "b:eth1"));	 /* its native one */
	assert_false(together(lab, "a:eth2", "b:eth2")); /* VLAN 1, which it does not carry */
	assert_false(together(lab, "a:eth0", "a:eth1"));
	assert_true(together(lab, "r:eth0.10", "b:eth0"));
	assert_true(together(lab, "r:eth0", "q:eth1")); /* native 11, without a tag */
	assert_int_equal(node_iface(lab_node(lab, "r"), "eth1")->segment, 0); /* only tags */
	assert_true(together(lab, "r:eth2.5", "r:eth3.5")); /* bridges that filter not */
	assert_true(together(lab, "r:eth2", "r:eth3"));
	assert_false(together(lab, "r:eth2", "r:eth3.5"));
	assert_true(together(lab, "r:eth4.9", "q:eth0.9")); /* a plain wire */
	assert_true(lab_bridge(lab, "s1")->filters && lab_bridge(lab, "s2")->filters);
	assert_false(lab_bridge(lab, "plain")->filters);
}

static void test_addresses(void **state)
{
	struct loaded loaded autoloaded =
		load("pools: {ipv4: 10.0.0.0/16, ipv6: 'fd00:7a::/48'}\n"
		     "bridges: {lan: [10.1.0.0/20, 'fd00:1::/64'], l2: none, next: }\n"
		     "nodes:\n"
		     "  a:\n"
		     "    interfaces:\n"
		     "      lo: {ipv4: 10.255.0.1, ipv6: '::1'}\n"
		     "      eth0: {bridge: lan, ipv4: [10.1.0.09, 192.168.1.1/24], ipv6: auto}\n"
		     "      eth1: next\n"
		     "  b:\n"
		     "  c:\n"
		     "links:\n"
		     "  - {endpoints: [a, b, c], ipv4: [10.9.0.1/29, ~, 10.9.0.3/29]}\n"
		     "  - {endpoints: [b, c], subnet: 10.8.0.0/31, ipv4: [10.8.0.0, 10.8.0.1]}\n"
		     "  - {endpoints: [b, lan], ipv4: [10.1.0.3, ~]}\n");
	const struct node *a = lab_node(loaded.lab, "a"), *b = lab_node(loaded.lab, "b");

	(void)state;
	assert_ip(&loaded.lab->pool4, "10.0.0.0/16");
	assert_ip(&loaded.lab->pool6, "fd00:7a::/48");
	assert_int_equal(lab_bridge(loaded.lab, "lan")->subnets.n, 2);
	assert_int_equal(lab_bridge(loaded.lab, "l2")->subnets.mode, SUBNET_NONE);
	assert_int_equal(lab_bridge(loaded.lab, "next")->subnets.mode, SUBNET_UNSET);
	assert_ip(&node_iface(a, "lo")->ipv4.v[0], "10.255.0.1/32");
	assert_ip(&node_iface(a, "lo")->ipv6.v[0], "::1/128");
	assert_ip(&node_iface(a, "eth0")->ipv4.v[0], "10.1.0.9/20");
	assert_ip(&node_iface(a, "eth0")->ipv4.v[1], "192.168.1.1/24");
	assert_int_equal(node_iface(a, "eth0")->ipv6.mode, ADDRS_AUTO);
	assert_int_equal(node_iface(a, "eth1")->ipv4.mode, ADDRS_UNSET);
	assert_ip(&node_iface(a, "eth2")->ipv4.v[0], "10.9.0.1/29");
	assert_int_equal(node_iface(b, "eth0")->ipv4.mode, ADDRS_UNSET);
	assert_ip(&node_iface(b, "eth1")->ipv4.v[0], "10.8.0.0/31");
	assert_ip(&node_iface(b, "eth2")->ipv4.v[0], "10.1.0.3/20");
}

static void test_names_of_others(void **state)
{
	struct loaded loaded autoloaded =
		load("bridges: {lan: 10.0.0.0/24}\n"
		     "nodes:\n"
		     "  r1: {interfaces: {eth0: lan}, services: {s: {command: x, wait-for: [t, "
		     "r2]}, t: y}}\n"
		     "  r2: {interfaces: {eth0: lan}, routes: [default via r1, 10.3.0.0/24 via "
		     "10.0.0.9 metric 5,\n"
		     "      {to: 'fd00::/64', via: 'fe80::1'}, 10.4.0.1 via r1]}\n"
		     "  g1: {kind: guest, command: x, interfaces: {eth0: lan}, netns: r1, "
		     "wait-for: [r1, r2],\n"
		     "      routes: default via r1, ready: {tcp: 'g1:22', from: r2}}\n");
	const struct node *r1 = lab_node(loaded.lab, "r1"), *r2 = lab_node(loaded.lab, "r2");
	const struct node *g1 = lab_node(loaded.lab, "g1");

	(void)state;
	assert_int_equal(r2->n_routes, 4);
	assert_int_equal(r2->routes[0].dst.family, 0);
	assert_ptr_equal(r2->routes[0].via_node, r1);
	assert_int_equal(r2->routes[0].via.pos.col, 54);
	assert_ip(&r2->routes[1].dst, "10.3.0.0/24");
	assert_int_equal(r2->routes[1].via_ip.family, 4);
	assert_int_equal(r2->routes[1].metric, 5);
	assert_ip(&r2->routes[2].dst, "fd00::/64");
	assert_ip(&r2->routes[3].dst, "10.4.0.1/32");
	assert_ptr_equal(g1->netns_node, r1);
	assert_int_equal(g1->n_wait_for, 2);
	assert_ptr_equal(g1->wait_nodes[1], r2);
	assert_ptr_equal(g1->ready.from_node, r2);
	assert_int_equal(r1->services[0].n_wait_for, 2);
}

static void test_name(void **state)
{
	const struct lab_options none = { 0 }, given = { .name = "other" };
	struct loaded file autoloaded = load_with("nodes: {h: }\n", &none);
	struct loaded own autoloaded =
		load_with("vars: {x: 7}\nname: lab-${x}\nnodes: {h: }\n", &none);
	struct loaded option autoloaded = load_with("name: own\nnodes: {h: }\n", &given);

	(void)state;
	assert_int_equal(file.r, -EINVAL); /* Tapnet-model-… has a capital */
	assert_non_null(strstr(file.diags.v[0].msg, "cannot name a lab"));
	assert_int_equal(own.r, 0);
	assert_string_equal(own.lab->name.s, "lab-7");
	assert_int_equal(option.r, 0);
	assert_string_equal(option.lab->name.s, "other");
	assert_string_equal(option.lab->dir, "/tmp");
}

/* The form of errors: a contract with users, and with their editors. */
static void test_print(void **state)
{
	const struct lab_options options = { .name = "test" };
	struct loaded loaded autoloaded =
		load_with("topology:\n"
			  "nodes:\n"
			  "  r1: {env: {A: ${x}}, interfaces: {eth0: lam}}\n"
			  "bridges: {lan: }\n"
			  "bad: \"\\tcaf\u00e9\"\n",
			  &options);
	autostr struct strbuf out = STRBUF_INIT;

	(void)state;
	assert_int_equal(loaded.r, -EINVAL);
	diag_print(&loaded.diags, &out);
	assert_string_equal(out.text,
			    "lab.yaml:1:1: error: unknown key \"topology\"\n"
			    "   1 | topology:\n"
			    "     | ^~~~~~~~  containerlab's level; move its keys (nodes, links "
			    "\u2026) one level up\n"
			    "lab.yaml:3:17: error: \"${x}\" inside { } must be quoted\n"
			    "   3 |   r1: {env: {A: ${x}}, interfaces: {eth0: lam}}\n"
			    "     |                 ^~~~  write \"${x}\"\n"
			    "lab.yaml:3:43: error: no bridge \"lam\" (did you mean \"lan\"?)\n"
			    "   3 |   r1: {env: {A: ${x}}, interfaces: {eth0: lam}}\n"
			    "     |                                           ^~~\n"
			    "lab.yaml:5:1: error: unknown key \"bad\"\n"
			    "   5 | bad: \"\\tcaf\u00e9\"\n"
			    "     | ^~~\n"
			    "lab.yaml: 4 errors; nothing was made\n");
}

static void test_many(void **state)
{
	const struct lab_options options = { .name = "test" };
	autostr struct strbuf text = STRBUF_INIT, out = STRBUF_INIT;

	(void)state;
	strbuf_puts(&text, "nodes:\n");
	for (int i = 0; i < 150; i++)
		strbuf_printf(&text, "  h%d: {bad: 1}\n", i);
	struct loaded loaded autoloaded = load_with(text.text, &options);

	diag_print(&loaded.diags, &out);
	assert_non_null(
		strstr(out.text,
		       "lab.yaml: 150 errors (the first 100 found are shown); nothing was made\n"));
}

static void test_large(void **state)
{
	autostr struct strbuf text = STRBUF_INIT;

	(void)state;
	strbuf_puts(&text, "nodes:\n");
	for (int i = 0; i < 10000; i++)
		strbuf_printf(&text, "  r%d: {forward: true}\n", i);
	strbuf_puts(&text, "links:\n");
	for (int i = 1; i < 10000; i++)
		strbuf_printf(&text, "  - [r%d, r%d]\n", i - 1, i);
	struct loaded loaded autoloaded = load(text.text);

	assert_int_equal(loaded.lab->n_nodes, 10000);
	assert_int_equal(loaded.lab->n_links, 9999);
	assert_int_equal(lab_node(loaded.lab, "r5000")->n_ifaces, 2);
}

static void test_schema(void **state)
{
	autostr struct strbuf out = STRBUF_INIT;

	(void)state;
	assert_int_equal(schema_write(&kinds, &out), 0);
	assert_non_null(strstr(out.text, "\"append\": {\"description\": \"command line\""));
	assert_non_null(strstr(out.text, "\"tests\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vars),	  cmocka_unit_test(test_late),
		cmocka_unit_test(test_for),	  cmocka_unit_test(test_groups),
		cmocka_unit_test(test_values),	  cmocka_unit_test(test_commands),
		cmocka_unit_test(test_wires),	  cmocka_unit_test(test_vlans),
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_names_of_others),
		cmocka_unit_test(test_name),	  cmocka_unit_test(test_print),
		cmocka_unit_test(test_many),	  cmocka_unit_test(test_large),
		cmocka_unit_test(test_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
