/* test_base.c - addresses, strings, and structs described by tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/ip.h"
#include "base/rec.h"
#include "base/str.h"
#include "base/vlan.h"

static void ip_is(const char *text, const char *want)
{
	struct ip ip;
	char out[IP_TEXT];

	assert_true(ip_parse(text, &ip, NULL));
	assert_string_equal(ip_prefix_text(&ip, out), want);
}

static void parses(void **state)
{
	static const char *const bad[] = {
		"",	     "10.0.0",	    "10.0.0.256",  "10.0.0.1/33",
		"10.0.0.1/", "10.0.0.1/+8", "10.0.0.1/8x", "::1/129",
		"fe80:::1",  "1.2.3.4.5",   "10.0.0.1 ",   "::ffff:1.2.3.4/200"
	};
	struct ip ip;

	(void)state;
	ip_is("10.0.0.1/24", "10.0.0.1/24");
	ip_is("10.0.10.01/24", "10.0.10.1/24"); /* pc01 is .1 */
	ip_is("010.000.0.00", "10.0.0.0/32");
	ip_is("fd00:1::/64", "fd00:1::/64");
	ip_is("::", "::/128");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (ip_parse(bad[i], &ip, NULL))
			fail_msg("accepted \"%s\"", bad[i]);
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_true(ip_parse(text, &ip, NULL));
	return ip;
}

static void nth_is(const char *subnet, uint64_t n, const char *want)
{
	struct ip net = ip_of(subnet), ip = ip_nth(&net, n);
	char out[IP_TEXT];

	assert_string_equal(ip_prefix_text(&ip, out), want);
}

static void counts(void **state)
{
	struct ip net = ip_of("10.0.0.0/30"), pool = ip_of("10.0.0.0/16"),
		  pool6 = ip_of("fd00:7a::/48"), sub;
	char out[IP_TEXT];

	(void)state;
	nth_is("10.0.0.0/24", 1, "10.0.0.1/24");
	nth_is("10.0.255.0/16", 256, "10.0.1.0/16");
	nth_is("10.0.0.0/24", 256, "-");
	nth_is("255.255.255.0/24", 256, "-");
	nth_is("fd00::/64", UINT64_C(0x100000001), "fd00::1:0:1/64");
	assert_int_equal(ip_hosts(&net), 2);
	net = ip_of("10.0.0.0/31");
	assert_int_equal(ip_hosts(&net), 1);
	net = ip_of("10.0.0.0/32");
	assert_int_equal(ip_hosts(&net), 0);
	sub = ip_subnet(&pool, 24, 255);
	assert_string_equal(ip_prefix_text(&sub, out), "10.0.255.0/24");
	sub = ip_subnet(&pool, 24, 256);
	assert_int_equal(sub.family, 0);
	sub = ip_subnet(&pool6, 64, 0xffff);
	assert_string_equal(ip_prefix_text(&sub, out), "fd00:7a:0:ffff::/64");
}

static void overlaps(void **state)
{
	struct ip a = ip_of("10.0.0.0/16"), b = ip_of("10.0.3.0/24"), c = ip_of("10.1.0.0/16"),
		  six = ip_of("::/0");

	(void)state;
	assert_true(ip_overlap(&a, &b));
	assert_true(ip_overlap(&b, &a));
	assert_false(ip_overlap(&a, &c));
	assert_false(ip_overlap(&a, &six));
	assert_true(ip_in(&b, &a));
	assert_false(ip_in(&c, &a));
}

static void macs(void **state)
{
	struct mac mac;
	char out[MAC_TEXT], ip_out[IP_TEXT];
	struct ip local;

	(void)state;
	assert_true(mac_parse("02:00:00:00:00:01", &mac));
	assert_string_equal(mac_text(&mac, out), "02:00:00:00:00:01");
	local = ip_link_local(&mac);
	assert_string_equal(ip_prefix_text(&local, ip_out), "fe80::ff:fe00:1/64");
	assert_false(mac_parse("02:00:00:00:00", &mac));
	assert_false(mac_parse("02:00:00:00:00:0g", &mac));
	assert_false(mac_parse("02:00:00:00:00:001", &mac));
	assert_false(mac_parse("02 00 00 00 00 01", &mac));
}

static void safe_is(const char *text, const char *want)
{
	struct strbuf buf autostr = STRBUF_INIT;

	strbuf_safe(&buf, text, strlen(text));
	assert_string_equal(buf.text, want);
}

static void safe(void **state)
{
	(void)state;
	safe_is("plain äöü €", "plain äöü €");
	safe_is("\033[31mred", "\\x1b[31mred");
	safe_is("a\x7f\rb", "a\\x7f\\x0db");
	safe_is("\xc0\xaf", "\\xc0\\xaf");	    /* overlong */
	safe_is("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* surrogate */
	safe_is("\xc2\x9b", "\\xc2\\x9b");	    /* C1 */
	safe_is("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	safe_is("cut \xe2\x82", "cut \\xe2\\x82");
}

static void nearest(void **state)
{
	static const char *const names[] = { "bridge", "bridges", "nodes", "links", "r1" };

	(void)state;
	assert_string_equal(str_nearest("bridg", names, 5), "bridge");
	assert_string_equal(str_nearest("ndoes", names, 5), "nodes");
	assert_string_equal(str_nearest("r2", names, 5), "r1");
	assert_null(str_nearest("topology", names, 5));
	assert_null(str_nearest("x", names, 1));
}

struct inner {
	const char *s;
	uint32_t n;
};

struct outer {
	bool b;
	int i;
	struct mac mac;
	struct ip ip;
	const char **strs;
	int n_strs;
	struct inner one, *many;
	int n_many;
};

static const struct rec inner_table[] = { REC(REC_STR, struct inner, s),
					  REC(REC_U32, struct inner, n), REC_END };
static const struct rec outer_table[] = { REC(REC_BOOL, struct outer, b),
					  REC(REC_INT, struct outer, i),
					  REC(REC_MAC, struct outer, mac),
					  REC(REC_IP, struct outer, ip),
					  REC_LIST(struct outer, strs, n_strs),
					  REC_SUB(struct outer, one, inner_table),
					  REC_SUBS(struct outer, many, n_many, inner_table,
						   struct inner),
					  REC_END };

static void records(void **state)
{
	const char *strs[] = { "a", NULL, "" };
	struct inner many[] = { { "x", 1 }, { NULL, 2 } };
	struct outer in = { true,
			    -7,
			    { { 1, 2, 3, 4, 5, 6 } },
			    ip_of("10.0.0.1/8"),
			    strs,
			    3,
			    { "one", 9 },
			    many,
			    2 },
		     out = { 0 };
	struct strbuf buf autostr = STRBUF_INIT;
	struct rec_cursor cursor;
	struct arena arena;
	struct err err;

	(void)state;
	rec_encode(&buf, outer_table, &in);
	assert_int_equal(arena_init(&arena, 1 << 20, &err), 0);
	cursor = (struct rec_cursor){ .p = buf.text, .left = buf.len };
	assert_int_equal(rec_decode(&arena, &cursor, outer_table, &out), 0);
	assert_int_equal(cursor.left, 0);
	assert_true(out.b && out.i == -7 && out.n_strs == 3 && out.n_many == 2);
	assert_null(out.strs[1]);
	assert_null(out.strs[3]); /* lists end with NULL */
	assert_string_equal(out.strs[2], "");
	assert_string_equal(out.one.s, "one");
	assert_int_equal(out.many[1].n, 2);
	for (size_t len = 0; len < buf.len; len++) { /* cut anywhere: an error, never a fault */
		cursor = (struct rec_cursor){ .p = buf.text, .left = len };
		out = (struct outer){ 0 };
		assert_true(rec_decode(&arena, &cursor, outer_table, &out) < 0);
	}
	arena_free(&arena);
}

static void vlans_are_told(const struct vlan *v, int n, const char *expected)
{
	struct strbuf text autostr = STRBUF_INIT;

	vlans_text(v, n, &text);
	assert_string_equal(text.text, expected);
}

static void test_vlans(void **state)
{
	const struct vlan native = { 1, 1, true, true },
			  both[] = { { 10, 19, false, false }, { 20, 29, false, false } };
	const struct vlan mixed[] = { { 4094, 4094, false, false },
				      { 10, 29, false, false },
				      native,
				      { 7, 7, true, false },
				      { 8, 8, false, true } };

	(void)state;
	vlans_are_told(NULL, 0, "no vlan");
	vlans_are_told(&native, 1, "vlan 1");
	vlans_are_told(both, 2, "trunk 10-29");
	vlans_are_told(mixed, 3, "trunk 10-29,4094 native 1");
	vlans_are_told(mixed, 5, "trunk 10-29,4094 native 1 untagged 7 pvid 8");
	assert_true(vlans_same(both, 2, mixed + 1, 1)); /* however they are cut */
	assert_false(vlans_same(both, 1, mixed + 1, 1));
	assert_false(vlans_same(mixed + 3, 1, mixed + 4, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vlans), cmocka_unit_test(parses),	 cmocka_unit_test(counts),
		cmocka_unit_test(overlaps),   cmocka_unit_test(macs),	 cmocka_unit_test(safe),
		cmocka_unit_test(nearest),    cmocka_unit_test(records),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
