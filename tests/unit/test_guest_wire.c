/* test_guest_wire.c - the packet path of tapnet-wire, and what headers ask for, on sockets instead of TAPs.
 * Contract: T16 (sending) and T17 (receiving). */
#include "guest_tap_testing.h"

static void wire_open(unsigned n_a, size_t hdr_a, unsigned n_b, size_t hdr_b)
{
	side_open(&a, n_a, hdr_a, a.epoll, 0);
	side_open(&b, n_b, hdr_b, a.epoll, 100);
	tap_join(&a.tap, &b.tap);
}

/* The sender fills what the kernel holds for the wire, whose other side takes a frame at times. */
static void t16_a_slow_side_pauses_the_other(void **state)
{
	enum { FRAMES = 3000, LEN = 1000 };
	unsigned sent = 0, came = 0, paused = 0, blocked = 0;
	struct tap_counters *in = NULL, *out = NULL;

	(void)state;
	wire_open(1, 0, 1, 12);
	in = &a.tap.queues[0].count;
	out = &b.tap.queues[0].count;
	while (came < FRAMES) {
		while (sent < FRAMES && send(a.far[0], frame_make(1, sent, LEN), LEN, 0) == LEN)
			sent++;
		if (!turn(NULL) && b.tap.n_kept > 0) {
			unsigned before = reads + writes;

			for (int i = 0; i < 10; i++)
				assert_int_equal(turn(NULL), 0); /* nobody spins */
			assert_int_equal(reads + writes, before);
			paused += sent < FRAMES;
			blocked++;
		}
		assert_true(b.tap.n_kept <= 1);
		assert_int_equal(in->in, out->out + b.tap.n_kept);
		for (int i = 0; i < 3 && fetch(&b, 0) == 12 + LEN; i++)
			assert_int_equal(frame_number(big + 12), came++);
	}
	assert_true(paused > 10 && blocked > 100);
	assert_int_equal(sent, FRAMES);
	assert_int_equal(in->in, FRAMES);
	assert_int_equal(out->out, FRAMES);
	assert_int_equal(out->full + out->failed, 0);
}

/* One way is blocked: the other goes on. */
static void t16_a_pause_is_of_one_direction(void **state)
{
	(void)state;
	wire_open(1, 0, 1, 0);
	fill(&b, 0, 1500);
	bring(&a, 0, NULL, 60);
	assert_int_equal(turn(NULL), 0);
	for (unsigned i = 0; i < 100; i++) {
		frame_make(0, i, 60);
		bring(&b, 0, NULL, 60);
		assert_int_equal(turn(NULL), 1);
		assert_int_equal(fetch(&a, 0), 60);
		assert_int_equal(frame_number(big), i);
	}
	assert_int_equal(a.tap.queues[0].count.in, 0);
}

static void t16_headers_of_two_lengths(void **state)
{
	(void)state;
	wire_open(1, 20, 1, 10);
	frame_make(1, 42, 700);
	bring(&a, 0, NULL, 700);
	assert_int_equal(turn(NULL), 1);
	assert_int_equal(fetch(&b, 0), 710);
	assert_int_equal(frame_number(big + 10), 42);
	memmove(big, big + 10, 700);
	bring(&b, 0, NULL, 700);
	assert_int_equal(turn(NULL), 1);
	assert_int_equal(fetch(&a, 0), 720);
	assert_int_equal(frame_number(big + 20), 42);
}

/* The sum of 16 bits as IP has it, over the bytes from `start` on. */
static unsigned sum_of(const uint8_t *data, size_t start, size_t len)
{
	unsigned sum = 0;

	for (size_t i = start; i < len; i += 2)
		sum += (unsigned)data[i] << 8 | (i + 1 < len ? data[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void t17_a_checksum_is_finished(void **state)
{
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .csum_start = 34,
				      .csum_offset = 6 };

	(void)state;
	side_open(&a, 1, 10, a.epoll, 0);
	for (size_t len = 60; len < 200; len++) {
		frame_make(0, (unsigned)len, len);
		big[40] = 0x12; /* a part of the sum: the addresses' */
		big[41] = (uint8_t)len;
		bring(&a, 0, &hdr, len);
		assert_int_equal(turn(got_input), 1);
		assert_int_equal(got.len, len);
		/* All of it and the part that was there add up to 0, which is 0xffff, too. */
		assert_int_equal((sum_of(got.frame, 34, len) + 0x1200 + len) % 0xffff, 0);
	}
	memset(big, 0xff, 60);
	bring(&a, 0, &hdr, 60);
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(got.frame[40] << 8 | got.frame[41], 0xffff); /* 0 would say: no sum */
}

static void t17_what_should_have_been_cut_is_counted(void **state)
{
	struct virtio_net_hdr hdrs[] = {
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 60, .csum_offset = 39 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 65535, .csum_offset = 65535 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 65 },
	};

	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	frame_make(0, 0, 100);
	got.n = 0;
	for (unsigned i = 0; i < COUNT(hdrs); i++) {
		bring(&a, 0, &hdrs[i], 100);
		assert_int_equal(turn(got_input), 1);
		assert_int_equal(a.tap.queues[0].count.gso, i + 1);
	}
	assert_int_equal(got.n, 0);
	hdrs[0] = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					   .csum_start = 60,
					   .csum_offset = 38 };
	bring(&a, 0, &hdrs[0], 100);
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(got.n, 1);
}

/* Two ends with vnet headers, and a kernel that leaves segments whole: they are passed on with what
 * the header says, also when they had to wait. All else of the header stays here. */
static void t16_whole_segments_are_passed_on(void **state)
{
	struct virtio_net_hdr hdr = { .flags = 0xff,
				      .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				      .hdr_len = 54,
				      .gso_size = 1448,
				      .csum_start = 34,
				      .csum_offset = 16 };
	struct virtio_net_hdr want = hdr, got_hdr;
	static const uint8_t zeros[20];
	int waited = 0;

	(void)state;
	want.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	offloads = 1;
	wire_open(1, 10, 1, 20);
	assert_int_equal(offloads, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN);
	for (unsigned i = 0; i < 100 && waited < 3; i++) {
		frame_make(1, i, 60000);
		bring(&a, 0, &hdr, 60000);
		(void)turn(NULL);
		if (!b.tap.n_kept)
			continue;
		waited++;
		while (fetch(&b, 0) == 60020) {
			memcpy(&got_hdr, big, sizeof got_hdr);
			assert_memory_equal(&got_hdr, &want, sizeof want);
			assert_memory_equal(big + sizeof want, zeros, 10);
			(void)turn(NULL);
		}
	}
	assert_int_equal(waited, 3);
	hdr.flags =
		VIRTIO_NET_HDR_F_DATA_VALID; /* of this end's kernel: the other knows nothing of it */
	hdr.gso_type = VIRTIO_NET_HDR_GSO_NONE;
	frame_make(1, 0, 100);
	bring(&a, 0, &hdr, 100);
	while (turn(NULL))
		;
	assert_int_equal(fetch(&b, 0), 120);
	assert_memory_equal(big, zeros, 20);
	assert_int_equal(a.tap.queues[0].count.gso, 0);
}

static void t16_segments_are_cut_for_an_end_without_header(void **state)
{
	(void)state;
	offloads = 1;
	wire_open(1, 10, 1, 0);
	assert_int_equal(offloads, 1); /* not asked for */
	assert_false(a.tap.whole || b.tap.whole);
}

/* Messages of any length and content: nothing is read or written that should not be (the
 * sanitizers look), and what came is what went and what was dropped. */
static void t17_any_message_of_any_length(void **state)
{
	static const size_t lens[] = { 0, 10, 12, 20 };
	uint64_t random = 88172645463325252u;

	(void)state;
	for (unsigned round = 0; round < COUNT(lens) * COUNT(lens); round++) {
		struct tap_counters *in = NULL, *out = NULL;
		unsigned went = 0;

		offloads = round % 2;
		wire_open(1, lens[round % COUNT(lens)], 1, lens[round / COUNT(lens)]);
		in = &a.tap.queues[0].count;
		out = &b.tap.queues[0].count;
		for (unsigned i = 0; i < 3000; i++) {
			size_t len;

			for (size_t k = 0; k < 40; k++) {
				random ^= random << 13;
				random ^= random >> 7;
				random ^= random << 17;
				memcpy(big + k * 8, &random, 8);
			}
			len = i % 100 == 0 ? random % 60000 : random % 320;
			if (random >> 32 & 1)
				memset(big, 0, 2); /* a header that says nothing comes often */
			assert_int_equal(send(a.far[0], big, len, 0), len);
			assert_int_equal(turn(NULL), 1);
			for (len = fetch(&b, 0); len; len = fetch(&b, 0), went++)
				assert_true(len >= lens[round / COUNT(lens)] + TAP_FRAME_MIN);
		}
		assert_int_equal(in->in + in->runt + in->giant + in->gso, 3000);
		assert_int_equal(in->in, out->out);
		assert_int_equal(went, out->out);
		side_close(&b);
		side_close(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(t16_a_slow_side_pauses_the_other),
		TEST(t16_a_pause_is_of_one_direction),
		TEST(t16_headers_of_two_lengths),
		TEST(t17_a_checksum_is_finished),
		TEST(t17_what_should_have_been_cut_is_counted),
		TEST(t16_whole_segments_are_passed_on),
		TEST(t16_segments_are_cut_for_an_end_without_header),
		TEST(t17_any_message_of_any_length),
	};

	return cmocka_run_group_tests_name("guest_wire", tests, NULL, NULL);
}
