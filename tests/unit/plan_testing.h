/* plan_testing.h - a plan of every kind of thing, for the tests of plans and journals. */
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

#include "kind/kind.h"
#include "op/op.h"
#include "plan/plan.h"

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

static void make_of(struct made *made, const char *text, struct assume *assume)
{
	char path[] = "/tmp/tapnet-test-XXXXXX.yaml";
	struct lab_options options = { .name = "every" };
	struct err err = { 0 };
	int fd = mkstemps(path, 5), r;

	*made = (struct made){ 0 };
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
	assert_int_equal(arena_init(&made->arena, 0, &err), 0);
	r = lab_load(&made->arena, path, &options, &kinds, &made->diags, &made->lab, &err);
	if (r == 0)
		r = plan_make(&made->arena, made->lab, assume, &made->diags, &made->plan);
	(void)unlink(path);
	if (made->diags.n)
		fail_msg("%d:%d: %s", made->diags.v[0].pos.line, made->diags.v[0].pos.col,
			 made->diags.v[0].msg);
	assert_int_equal(r, 0);
}

static void make(struct made *made)
{
	make_of(made, everything, &(struct assume){ .kvm.known = true, .vhost.known = true });
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
