/* test_sys_nl.c - what nlw writes to the kernel, nlr reads back. */
#include "nl_testing.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "base/str.h"
#include "sys/tun.h"

#define NOWHERE 4711u /* an ifindex that no link has */

static const struct nlr_link *look(const char *name)
{
	struct nlr_link *link = arena_alloc(&arena, sizeof *link);

	return must(nlr_link_find(&arena, name, link, &err)) ? link : NULL;
}

/* ---- batches */

static void each_message_has_its_outcome(void **state)
{
	struct place *place = *state;
	const struct ip via = ip("192.0.2.1"), none = { 0 };

	put_up(10, 1);
	put_up(11, NOWHERE);
	nlb_route(&batch, 12, &none, &via, 1, 0);
	put_pair();
	put_up(14, 100);
	assert_int_equal(flush(place->nl), -ENODEV);
	assert_string_equal(err.msg, ""); /* sending and receiving went well */
	assert_int_equal(batch.out[0].code, 0);
	assert_int_equal(batch.out[0].tag, 10);
	assert_int_equal(batch.out[1].code, -ENODEV);
	assert_int_equal(batch.out[1].tag, 11);
	assert_int_equal(batch.out[2].code, -ENETUNREACH);
	assert_non_null(strstr(batch.out[2].words, "gateway")); /* the kernel's own words */
	assert_int_equal(batch.out[3].code, 0);
	assert_int_equal(batch.out[4].code, 0);
	assert_int_equal(batch.n, 0);
	assert_true(look("a0")->up); /* the kernel carried on */
}

static void last_message_may_fail(void **state)
{
	struct place *place = *state;

	put_up(0, 1);
	put_up(1, NOWHERE);
	assert_int_equal(flush(place->nl), -ENODEV);
	assert_int_equal(batch.out[0].code, 0);
	assert_int_equal(batch.out[1].code, -ENODEV);
	assert_int_equal(flush(place->nl), 0); /* an empty one */
}

static void a_whole_batch_of_errors_fits(void **state)
{
	struct place *place = *state;

	for (unsigned i = 0; i < NLB_MESSAGES; i++)
		put_up(i, NOWHERE + i);
	assert_false(nlb_room(&batch));
	assert_int_equal(flush(place->nl), -ENODEV);
	for (unsigned i = 0; i < NLB_MESSAGES; i++) {
		assert_int_equal(batch.out[i].tag, i);
		assert_int_equal(batch.out[i].code, -ENODEV);
	}
	assert_true(nlb_room(&batch));
}

static void lost_answers_are_uncertain(void **state)
{
	struct place *place = *state;
	int tiny = 1, refused = 0, unknown = 0;

	assert_int_equal(setsockopt(place->nl, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny), 0);
	for (unsigned i = 0; i < NLB_MESSAGES; i++)
		put_up(i, NOWHERE);
	assert_int_not_equal(flush(place->nl), 0);
	assert_string_not_equal(err.msg, "");
	for (unsigned i = 0; i < NLB_MESSAGES; i++) {
		refused += batch.out[i].code == -ENODEV;
		unknown += batch.out[i].code == -EIO;
	}
	assert_true(refused > 0);
	assert_true(unknown > 0);
	assert_int_equal(refused + unknown, NLB_MESSAGES);
	put_up(0, 1); /* the socket goes on */
	flush_fine(place->nl);
}

static void loss_leaves_success_uncertain_too(void **state)
{
	struct place *place = *state;
	int tiny = 1;

	assert_int_equal(setsockopt(place->nl, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny), 0);
	put_up(0, 1);
	for (unsigned i = 1; i < NLB_MESSAGES; i++)
		put_up(i, NOWHERE);
	(void)flush(place->nl);
	assert_int_equal(batch.out[0].code, -EIO); /* it was done, but silence does not say so */
}

static void overflow_sends_nothing(void **state)
{
	struct place *place = *state;
	char big[4096] = "";

	put_up(0, 1);
	while (!batch.overflow)
		nlb_put(&batch, IFLA_IFALIAS, big, sizeof big);
	put_up(1, 1);
	assert_int_equal(flush(place->nl), -EMSGSIZE);
	assert_int_equal(batch.out[0].code, -EMSGSIZE);
	assert_false(look("lo")->up);
	for (unsigned i = 0; i <= NLB_MESSAGES; i++)
		put_up(i, 1);
	assert_true(batch.overflow);
	assert_int_equal(flush(place->nl), -EMSGSIZE);
	put_up(0, 1);
	flush_fine(place->nl);
	assert_true(look("lo")->up);
}

static void a_closed_socket_is_told(void **state)
{
	(void)state;
	put_up(0, 1);
	assert_int_equal(nlb_flush(&batch, -1, in_ms(100), &err), -EBADF);
	assert_int_equal(batch.out[0].code, -EBADF);
}

/* ---- links */

static void veth_across_namespaces(void **state)
{
	struct place *place = *state;
	const struct nlr_link *link;
	autofd int nl = -1;

	nlb_bridge(&batch, 0,
		   &(struct nlb_bridge){ .name = "br0", .ifindex = 1000, .mac = &mac_a });
	flush_fine(place->nl);
	(void)close(must(ns_make_net(-1, in_ms(LONG_MS), &err))); /* we stay in it */
	nl = must(nlw_open(&err));
	nlb_veth(&batch, 1,
		 &(struct nlb_veth_end){ .name = "p1",
					 .ifindex = 1001,
					 .netns_fd = place->ns,
					 .master = 1000,
					 .mac = &mac_a,
					 .up = true,
					 .group = 7 },
		 &(struct nlb_veth_end){
			 .name = "eth0", .ifindex = 200, .netns_fd = -1, .mac = &mac_b },
		 1400);
	put_up(2, 200);
	flush_fine(nl);
	link = look("eth0");
	assert_int_equal(link->ifindex, 200);
	assert_memory_equal(&link->mac, &mac_b, sizeof mac_b);
	assert_int_equal(link->mtu, 1400);
	assert_true(link->up && link->carrier);
	must(ns_enter_net(place->ns, &err));
	link = look("p1");
	assert_int_equal(link->ifindex, 1001);
	assert_int_equal(link->master, 1000);
	assert_int_equal(link->group, 7);
	assert_int_equal(link->mtu, 1400);
	assert_memory_equal(&link->mac, &mac_a, sizeof mac_a);
	assert_string_equal(link->kind, "veth");
	assert_true(link->up && link->carrier);
	assert_null(look("eth0"));
}

static bool kernel_before(int major, int minor)
{
	struct utsname name;
	int x = 0, y = 0;

	assert_int_equal(uname(&name), 0);
	assert_int_equal(sscanf(name.release, "%d.%d", &x, &y), 2);
	return x < major || (x == major && y < minor);
}

static void the_kernels_choice_is_echoed(void **state)
{
	struct place *place = *state;

	if (kernel_before(6, 2)) {
		print_message("SKIP: kernels before 6.2 echo no new link\n");
		skip();
	}
	nlb_bridge(&batch, 0, &(struct nlb_bridge){ .name = "br0" });
	nlb_veth(&batch, 1, &(struct nlb_veth_end){ .name = "v0", .netns_fd = -1 },
		 &(struct nlb_veth_end){ .name = "v1", .netns_fd = -1 }, 0);
	put_pair();
	flush_fine(place->nl);
	assert_int_equal(batch.out[0].ifindex, look("br0")->ifindex);
	assert_int_equal(batch.out[1].ifindex, look("v0")->ifindex);
	assert_int_equal(batch.out[2].ifindex, 0); /* not asked for */
}

static void bridge_settings(void **state)
{
	struct place *place = *state;
	static const char *const expected[][2] = {
		{ "/sys/class/net/br0/bridge/ageing_time", "1500\n" },
		{ "/sys/class/net/br0/bridge/stp_state", "1\n" },
		{ "/sys/class/net/br0/bridge/multicast_snooping", "0\n" },
		{ "/sys/class/net/br1/bridge/ageing_time", "30000\n" },
		{ "/sys/class/net/br1/bridge/stp_state", "0\n" },
		{ "/sys/class/net/br1/bridge/multicast_snooping", "1\n" },
	};
	const struct nlr_link *link;

	nlb_bridge(&batch, 0,
		   &(struct nlb_bridge){ .name = "br0",
					 .ifindex = 1000,
					 .mtu = 9000,
					 .group = 3,
					 .ageing_ms = 15000,
					 .mac = &mac_a,
					 .stp = true,
					 .up = true });
	nlb_bridge(&batch, 1, &(struct nlb_bridge){ .name = "br1", .mcast_snooping = true });
	flush_fine(place->nl);
	link = look("br0");
	assert_string_equal(link->kind, "bridge");
	assert_int_equal(link->mtu, 9000);
	assert_int_equal(link->group, 3);
	assert_memory_equal(&link->mac, &mac_a, sizeof mac_a);
	assert_true(link->up);
	assert_false(look("br1")->up);
	assert_int_equal(mount("sysfs", "/sys", "sysfs", 0, NULL), 0);
	for (size_t i = 0; i < COUNT(expected); i++) {
		struct strbuf text autostr = STRBUF_INIT;

		assert_int_equal(io_read_file(AT_FDCWD, expected[i][0], 100, &text), 0);
		assert_string_equal(text.text, expected[i][1]);
	}
	assert_int_equal(umount("/sys"), 0);
}

static void link_settings(void **state)
{
	struct place *place = *state;
	const struct nlr_link *link;

	nlb_bridge(&batch, 0, &(struct nlb_bridge){ .name = "br0", .ifindex = 1000 });
	put_pair();
	nlb_link_set(&batch, 1,
		     &(struct nlb_link_set){ .ifindex = 100,
					     .master = 1000,
					     .mtu = 1300,
					     .group = 5,
					     .mac = &mac_b,
					     .up = true });
	put_up(2, 101);
	flush_fine(place->nl);
	link = look("a0");
	assert_int_equal(link->master, 1000);
	assert_int_equal(link->mtu, 1300);
	assert_int_equal(link->group, 5);
	assert_memory_equal(&link->mac, &mac_b, sizeof mac_b);
	assert_true(link->up && link->carrier);
	nlb_link_set(&batch, 3, &(struct nlb_link_set){ .ifindex = 100, .down = true });
	flush_fine(place->nl);
	assert_false(look("a0")->up);
	assert_int_equal(look("a0")->mtu, 1300);
}

static void no_link_local_address(void **state)
{
	struct place *place = *state;

	put_pair();
	nlb_link_set(&batch, 1,
		     &(struct nlb_link_set){ .ifindex = 100, .no_link_local = true, .up = true });
	put_up(2, 101);
	flush_fine(place->nl);
	assert_int_equal(look("a0")->n_addrs, 0);
	assert_int_equal(look("b0")->n_addrs, 1); /* the default, for comparison */
}

static void forwarding_by_message(void **state)
{
	struct place *place = *state;
	struct strbuf a0 autostr = STRBUF_INIT, b0 autostr = STRBUF_INIT;

	put_pair();
	nlb_link_set(&batch, 1,
		     &(struct nlb_link_set){
			     .ifindex = 100, .forward4 = true, .no_link_local = true, .up = true });
	flush_fine(place->nl);
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/sys/net/ipv4/conf/a0/forwarding", 9, &a0),
			 0);
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/sys/net/ipv4/conf/b0/forwarding", 9, &b0),
			 0);
	assert_string_equal(a0.text, "1\n");
	assert_string_equal(b0.text, "0\n");
}

static void altnames(void **state)
{
	struct place *place = *state;
	char longest[128];
	const struct nlr_link *link;
	struct nlr_view v;

	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	put_pair();
	nlb_altname(&batch, 1, 100, "some-router-of-long-name:eth0.100");
	nlb_altname(&batch, 2, 100, longest);
	nlb_altname(&batch, 3, 101, "b:1");
	flush_fine(place->nl);
	nlb_altname(&batch, 4, 101, longest); /* taken */
	assert_int_equal(flush(place->nl), -EEXIST);
	link = look("some-router-of-long-name:eth0.100");
	assert_string_equal(link->name, "a0");
	assert_int_equal(link->n_altnames, 2);
	assert_string_equal(link->altnames[0], "some-router-of-long-name:eth0.100");
	assert_string_equal(link->altnames[1], longest);
	v = view();
	assert_int_equal(nlr_link_named(&v, "b:1")->ifindex, 101);
	assert_int_equal(nlr_link_named(&v, "b0")->ifindex, 101);
	assert_null(nlr_link_named(&v, "b"));
}

static void a_port_passes_what_the_kernel_admits(void **state)
{
	struct place *place = *state;

	nlb_bridge(&batch, 0, &(struct nlb_bridge){ .name = "br0", .ifindex = 1000 });
	put_pair();
	nlb_link_set(&batch, 1,
		     &(struct nlb_link_set){ .ifindex = 100, .master = 1000, .up = true });
	nlb_port_fwd_mask(&batch, 2, 100, NLB_FWD_ALL);
	flush_fine(place->nl);
	for (unsigned bit = 0; bit < 16; bit++) {
		nlb_port_fwd_mask(&batch, bit, 100, (uint16_t)(1u << bit));
		assert_int_equal(flush(place->nl), bit == 1 ? -EINVAL : 0); /* PAUSE */
	}
}

static void links_deleted_by_group(void **state)
{
	struct place *place = *state;
	struct nlr_view v;
	char name[16];

	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof name, "br%u", i);
		nlb_bridge(&batch, i,
			   &(struct nlb_bridge){
				   .name = name, .ifindex = 300 + i, .group = i < 15 ? 77 : 0 });
	}
	flush_fine(place->nl);
	nlb_delgroup(&batch, 0, 77);
	nlb_dellink(&batch, 1, 319);
	flush_fine(place->nl);
	v = view();
	assert_null(nlr_link(&v, 300));
	assert_null(nlr_link(&v, 314));
	assert_non_null(nlr_link(&v, 315));
	assert_null(nlr_link(&v, 319));
	nlb_delgroup(&batch, 0, 77);
	assert_int_equal(flush(place->nl), -ENODEV);
}

static void a_tap_without_queueing(void **state)
{
	struct place *place = *state;
	autofd int q0 = -1, q1 = -1;

	must(tun_make(
		&(struct tun_make){ .name = "tap0", .ifindex = 500, .queues = 2, .first_fd = 90 },
		&err));
	q0 = 90;
	q1 = 91;
	nlb_noqueue(&batch, 0, 500);
	put_up(1, 500);
	flush_fine(place->nl);
	assert_string_equal(look("tap0")->qdisc, "noqueue");
	assert_string_equal(look("tap0")->kind, "tun");
}

/* ---- addresses and routes */

static const struct nlr_route *route(const struct nlr_view *v, const char *dst)
{
	struct ip want = ip(dst);

	for (int i = 0; i < v->n_routes; i++)
		if (v->routes[i].dst.prefix == want.prefix && ip_same(&v->routes[i].dst, &want))
			return &v->routes[i];
	return NULL;
}

static bool can_bind(const char *text)
{
	autofd int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6 };

	memcpy(&addr.sin6_addr, ip(text).b, sizeof addr.sin6_addr);
	return bind(fd, (const void *)&addr, sizeof addr) == 0;
}

static void addresses(void **state)
{
	struct place *place = *state;
	const struct ip four = ip("10.1.2.3/24"), six = ip("fd00::1/64"), local = ip("fe80::5/64");
	const struct nlr_link *link;
	char text[IP_TEXT];

	put_pair();
	nlb_link_set(&batch, 0,
		     &(struct nlb_link_set){ .ifindex = 100, .no_link_local = true, .up = true });
	nlb_addr(&batch, 1, 100, &four);
	nlb_addr(&batch, 2, 100, &six);
	nlb_addr(&batch, 3, 100, &local);
	put_up(4, 101);
	flush_fine(place->nl);
	nlb_addr(&batch, 5, 100, &four);
	assert_int_equal(flush(place->nl), -EEXIST);
	link = look("a0");
	assert_int_equal(link->n_addrs, 3);
	assert_string_equal(ip_prefix_text(&link->addrs[0], text), "10.1.2.3/24");
	for (int i = 1; i < 3; i++)
		assert_true(ip_same(&link->addrs[i], &six) || ip_same(&link->addrs[i], &local));
	assert_true(
		can_bind("fd00::1")); /* ready at once: no detection of duplicates is under way */
}

static void routes(void **state)
{
	struct place *place = *state;
	const struct ip none = { 0 }, four = ip("10.1.2.3/24"), six = ip("fd00::1/64");
	const struct ip via4 = ip("10.1.2.254"), via6 = ip("fd00::fe"), to4 = ip("192.0.2.0/24");
	const struct ip to6 = ip("2001:db8::/32"), by6 = ip("198.51.100.0/24"),
			link4 = ip("203.0.113.0/24");
	struct nlr_view v;

	put_pair();
	put_up(0, 100);
	put_up(1, 101);
	nlb_addr(&batch, 2, 100, &four);
	nlb_addr(&batch, 3, 100, &six);
	nlb_route(&batch, 4, &none, &via4, 100, 0);
	nlb_route(&batch, 5, &none, &via6, 0, 0);
	nlb_route(&batch, 6, &to4, &via4, 100, 50);
	nlb_route(&batch, 7, &to6, &via6, 100, 60);
	nlb_route(&batch, 8, &by6, &via6, 100, 0);
	nlb_route(&batch, 9, &link4, &none, 100, 0);
	flush_fine(place->nl);
	v = view();
	assert_true(ip_same(&route(&v, "0.0.0.0/0")->via, &via4));
	assert_true(ip_same(&route(&v, "::/0")->via, &via6));
	assert_int_equal(route(&v, "::/0")->ifindex, 100);
	assert_true(ip_same(&route(&v, "192.0.2.0/24")->via, &via4));
	assert_int_equal(route(&v, "192.0.2.0/24")->metric, 50);
	assert_int_equal(route(&v, "2001:db8::/32")->metric, 60);
	assert_true(ip_same(&route(&v, "198.51.100.0/24")->via, &via6));
	assert_int_equal(route(&v, "203.0.113.0/24")->via.family, 0);
	assert_int_equal(route(&v, "10.1.2.0/24")->via.family, 0);
	assert_null(route(&v, "127.0.0.0/8")); /* the local table is not shown */
}

/* ---- reading */

static void one_link_or_none(void **state)
{
	struct nlr_link link;

	(void)state;
	assert_int_equal(must(nlr_link_get(&arena, 1, &link, &err)), 1);
	assert_string_equal(link.name, "lo");
	assert_int_equal(must(nlr_link_get(&arena, NOWHERE, &link, &err)), 0);
	assert_int_equal(must(nlr_link_find(&arena, "nothing-of-that-name", &link, &err)), 0);
}

static void many_links(void **state)
{
	struct place *place = *state;
	struct nlr_view v;
	char name[64];

	for (unsigned i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof name, "br%u", i);
		nlb_bridge(&batch, i, &(struct nlb_bridge){ .name = name, .ifindex = 1000 + i });
		(void)snprintf(name, sizeof name, "a-bridge-of-a-long-name:%u", i);
		nlb_altname(&batch, i, 1000 + i, name);
		if (!nlb_room(&batch) || i == 299)
			flush_fine(place->nl);
	}
	v = view();
	for (unsigned i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof name, "a-bridge-of-a-long-name:%u", i);
		assert_int_equal(nlr_link_named(&v, name)->ifindex, 1000 + i);
		assert_ptr_equal(nlr_link_named(&v, name), nlr_link(&v, 1000 + i));
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
	const struct CMUnitTest tests[] = {
		TEST(each_message_has_its_outcome),
		TEST(last_message_may_fail),
		TEST(a_whole_batch_of_errors_fits),
		TEST(lost_answers_are_uncertain),
		TEST(loss_leaves_success_uncertain_too),
		TEST(overflow_sends_nothing),
		TEST(a_closed_socket_is_told),
		TEST(veth_across_namespaces),
		TEST(the_kernels_choice_is_echoed),
		TEST(bridge_settings),
		TEST(link_settings),
		TEST(no_link_local_address),
		TEST(forwarding_by_message),
		TEST(altnames),
		TEST(a_port_passes_what_the_kernel_admits),
		TEST(links_deleted_by_group),
		TEST(a_tap_without_queueing),
		TEST(addresses),
		TEST(routes),
		TEST(one_link_or_none),
		TEST(many_links),
	};

	testing_start(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
