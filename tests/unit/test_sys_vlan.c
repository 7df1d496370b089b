/* test_sys_vlan.c - VLANs of bridges' ports and sub-interfaces: what is written, byte by byte; and, where
 * the kernel has them, what comes of it. */
#include "nl_testing.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>

/* The attributes in [at, end), one after another. */
static const struct nlattr *attr_at(const void *at, const void *end)
{
	return mnl_attr_ok(at, (int)((const char *)end - (const char *)at)) ? at : NULL;
}

static void vlans_are_written_as_ranges(void **state)
{
	static const struct bridge_vlan_info expected[] = {
		{ BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED, 1 },
		{ BRIDGE_VLAN_INFO_RANGE_BEGIN, 20 },
		{ BRIDGE_VLAN_INFO_RANGE_END, 29 },
		{ 0, 4094 },
	};
	const struct vlan vlans[] = { { 1, 1, true, true },
				      { 20, 29, false, false },
				      { 4094, 4094, false, false } };
	const struct nlmsghdr *header = (void *)batch.buf;
	const struct nlattr *spec, *attr;
	size_t n = 0;

	(void)state;
	nlb_vlans(&batch, 0, 100, vlans, 3);
	assert_int_equal(header->nlmsg_type, RTM_SETLINK);
	assert_int_equal(((struct ifinfomsg *)mnl_nlmsg_get_payload(header))->ifi_family,
			 AF_BRIDGE);
	spec = mnl_nlmsg_get_payload_offset(header, sizeof(struct ifinfomsg));
	assert_int_equal(mnl_attr_get_type(spec), IFLA_AF_SPEC);
	attr = attr_at(mnl_attr_get_payload(spec), mnl_attr_next(spec));
	for (; attr; attr = attr_at(mnl_attr_next(attr), mnl_attr_next(spec))) {
		assert_int_equal(mnl_attr_get_type(attr), IFLA_BRIDGE_VLAN_INFO);
		assert_memory_equal(mnl_attr_get_payload(attr), &expected[n++], sizeof *expected);
	}
	assert_int_equal(n, 4);
	batch.n = 0;
	batch.len = batch.last = 0;
}

/* Skips the test where bridges filter no VLANs. */
static void put_filtering_bridge(const struct place *place)
{
	nlb_bridge(&batch, 0,
		   &(struct nlb_bridge){
			   .name = "br", .ifindex = 200, .mac = &mac_a, .vlan_filtering = true });
	if (flush(place->nl) == -EOPNOTSUPP) {
		print_message("SKIP: no CONFIG_BRIDGE_VLAN_FILTERING (tests/vm has it)\n");
		skip();
	}
	assert_int_equal(batch.out[0].code, 0);
}

static void vlans_are_carried_by_ports(void **state)
{
	const struct vlan vlans[] = { { 1, 1, true, true }, { 20, 29, false, false } };
	struct nlr_view seen;

	put_filtering_bridge(*state);
	put_pair();
	nlb_link_set(&batch, 1, &(struct nlb_link_set){ .ifindex = 100, .master = 200 });
	flush_fine(((struct place *)*state)->nl);
	seen = view();
	assert_true(nlr_link(&seen, 200)->vlan_filtering);
	assert_int_equal(nlr_link(&seen, 200)->n_vlans, 0);
	assert_int_equal(nlr_link(&seen, 100)->n_vlans, 0); /* none by itself */
	nlb_vlans(&batch, 0, 100, vlans, 2);
	flush_fine(((struct place *)*state)->nl);
	seen = view();
	assert_true(
		vlans_same(nlr_link(&seen, 100)->vlans, nlr_link(&seen, 100)->n_vlans, vlans, 2));
	nlb_no_vlans(&batch, 0, 100);
	flush_fine(((struct place *)*state)->nl);
	seen = view();
	assert_int_equal(nlr_link(&seen, 100)->n_vlans, 0);
}

static void vlans_have_sub_interfaces(void **state)
{
	const struct place *place = *state;
	struct nlr_view seen;

	put_pair();
	flush_fine(place->nl);
	nlb_vlan_link(&batch, 0,
		      &(struct nlb_vlan_link){ .name = "a0.10",
					       .ifindex = 300,
					       .parent = 100,
					       .vlan = 10,
					       .mtu = 1400,
					       .mac = &mac_a });
	if (flush(place->nl) == -EOPNOTSUPP) {
		print_message("SKIP: no module 8021q (tests/vm has it)\n");
		skip();
	}
	seen = view();
	assert_string_equal(nlr_link(&seen, 300)->kind, "vlan");
	assert_int_equal(nlr_link(&seen, 300)->vlan, 10);
	assert_int_equal(nlr_link(&seen, 300)->parent, 100);
	assert_int_equal(nlr_link(&seen, 300)->mtu, 1400);
	assert_int_equal(nlr_link(&seen, 100)->vlan, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
	const struct CMUnitTest tests[] = {
		TEST(vlans_are_written_as_ranges),
		TEST(vlans_are_carried_by_ports),
		TEST(vlans_have_sub_interfaces),
	};

	testing_start(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
