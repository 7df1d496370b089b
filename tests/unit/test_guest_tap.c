/* test_guest_tap.c - the packet path of tapnet-guest, on sockets instead of TAPs. Contract: T16 (sending) and
 * T17 (receiving); test_guest_wire.c has what concerns two TAPs. */
#include "guest_tap_testing.h"

/* --- T16 -------------------------------------------------------------------------------------- */

static void t16_a_header_of_zeros_is_prepended(void **state)
{
	static const uint8_t zeros[TAP_HDR_MAX];
	static uint8_t want[1500];

	(void)state;
	for (unsigned i = 0; i < COUNT(headers); i++) {
		side_open(&a, 1, headers[i], a.epoll, 0);
		memcpy(want, frame_make(1, 2, sizeof want), sizeof want);
		tap_send(&a.tap, big, sizeof want);
		assert_int_equal(fetch(&a, 0), headers[i] + sizeof want);
		assert_memory_equal(big, zeros, headers[i]);
		assert_memory_equal(big + headers[i], want, sizeof want);
		assert_int_equal(a.tap.queues[0].count.out, 1);
		side_close(&a);
	}
}

static void t16_short_frames_are_padded(void **state)
{
	static const uint8_t zeros[TAP_FRAME_MIN];

	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	for (size_t len = 14; len <= TAP_FRAME_MIN + 1; len++) {
		size_t whole = len < TAP_FRAME_MIN ? TAP_FRAME_MIN : len;

		frame_make(0, 0, len);
		memset(big + len, 0xee, 100);
		tap_send(&a.tap, big, len);
		assert_int_equal(fetch(&a, 0), 12 + whole);
		assert_memory_equal(big + 12 + len, zeros, whole - len);
	}
	assert_int_equal(a.tap.queues[0].count.padded, TAP_FRAME_MIN - 14);
}

static void t16_a_frame_that_is_not_taken_is_kept_and_sent_in_order(void **state)
{
	unsigned n, next = 0;

	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	n = fill(&a, 0, 1500);
	tap_send(&a.tap, frame_make(0, n++, 60),
		 60); /* there might be room: not before the other */
	assert_int_equal(a.tap.n_kept, 2);
	assert_int_equal(turn(got_input), 0); /* and nobody spins */
	while (next < n) {
		size_t len = fetch(&a, 0);

		if (len)
			assert_int_equal(frame_number(big + 12), next++);
		else
			assert_int_equal(turn(got_input), 1);
	}
	assert_int_equal(a.tap.n_kept, 0);
	assert_int_equal(a.tap.queues[0].count.kept, 2);
	assert_int_equal(a.tap.queues[0].count.out, n);
	assert_int_equal(turn(got_input), 0);
}

static void t16_what_is_kept_is_bounded(void **state)
{
	struct tap_counters *count;
	unsigned n;

	(void)state;
	side_open(&a, 1, 0, a.epoll, 0);
	n = fill(&a, 0, 1500);
	for (unsigned i = 0; i < 1000; i++)
		tap_send(&a.tap, frame_make(0, n++, 100), 100);
	count = &a.tap.queues[0].count;
	assert_int_equal(a.tap.n_kept, TAP_KEPT_MAX);
	assert_int_equal(count->full, 1001 - TAP_KEPT_MAX);
	assert_int_equal(count->out + count->full + a.tap.n_kept, n);
}

static void t16_a_queue_that_is_full_does_not_let_others_overtake(void **state)
{
	unsigned flow = 0, n, queue = QUEUES;

	(void)state;
	side_open(&a, 2, 0, a.epoll, 0);
	n = fill(&a, 0, 1500);
	/* Another flow, of the other queue: it waits, too. */
	for (flow = 1; flow < 100 && a.tap.n_kept < 10; flow++)
		tap_send(&a.tap, frame_make(flow, n++, 100), 100);
	assert_int_equal(a.tap.queues[0].count.out + a.tap.queues[1].count.out, n - 10);
	assert_true(a.tap.queues[0].count.kept && a.tap.queues[1].count.kept);
	for (unsigned i = 0; i < 2; i++)
		if (a.tap.queues[i].count.out)
			queue = i;
	while (fetch(&a, queue))
		;
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(a.tap.n_kept, 0);
}

static void t16_an_interruption_is_retried(void **state)
{
	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	interrupts = 3;
	tap_send(&a.tap, frame_make(0, 7, 100), 100);
	assert_int_equal(writes, 4);
	assert_int_equal(fetch(&a, 0), 112);
	frame_make(0, 8, 100);
	bring(&a, 0, NULL, 100);
	interrupts = 3;
	got.n = 0;
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(got.n, 1);
	assert_int_equal(reads, 5); /* and one that finds nothing more */
}

static void t16_what_the_device_refuses_is_counted(void **state)
{
	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	refused = EIO; /* the device is down */
	tap_send(&a.tap, frame_make(0, 7, 100), 100);
	assert_int_equal(a.tap.queues[0].count.failed, 1);
	refused = EAGAIN;
	tap_send(&a.tap, frame_make(0, 7, 100), 100);
	refused = EIO; /* it went down while a frame was kept, and says nothing */
	assert_int_equal(tap_recheck(&a.tap), 0);
	assert_int_equal(a.tap.n_kept, 0);
	assert_int_equal(a.tap.queues[0].count.failed, 2);
	assert_int_equal(a.tap.queues[0].count.out, 0);
}

/* --- T17 -------------------------------------------------------------------------------------- */

static void t17_the_header_is_stripped(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(headers); i++) {
		side_open(&a, 1, headers[i], a.epoll, 0);
		got.n = 0;
		frame_make(3, 4, 1000);
		bring(&a, 0, NULL, 1000);
		assert_int_equal(turn(got_input), 1);
		assert_int_equal(got.n, 1);
		assert_int_equal(got.len, 1000);
		assert_memory_equal(got.frame, big, 1000);
		side_close(&a);
	}
}

static void t17_short_frames_are_padded(void **state)
{
	static const uint8_t zeros[TAP_FRAME_MIN];

	(void)state;
	side_open(&a, 1, 10, a.epoll, 0);
	memset(big, 0xee, 1500); /* what was there before must not be seen */
	bring(&a, 0, NULL, 1500);
	assert_int_equal(turn(got_input), 1);
	for (size_t len = 1; len <= TAP_FRAME_MIN + 1; len++) {
		size_t whole = len < TAP_FRAME_MIN ? TAP_FRAME_MIN : len;

		bring(&a, 0, NULL, len);
		assert_int_equal(turn(got_input), 1);
		assert_int_equal(got.len, whole);
		assert_memory_equal(got.frame, big, len);
		assert_memory_equal(got.frame + len, zeros, whole - len);
	}
	assert_int_equal(a.tap.queues[0].count.padded, TAP_FRAME_MIN - 1);
}

static void t17_what_is_shorter_than_its_header_is_counted(void **state)
{
	(void)state;
	memset(big, 0, 100);
	for (unsigned i = 0; i < COUNT(headers); i++) {
		side_open(&a, 1, headers[i], a.epoll, 0);
		got.n = 0;
		for (size_t len = 0; len <= 20 && len <= headers[i]; len++) {
			assert_int_equal(send(a.far[0], big, len, 0), len);
			assert_int_equal(turn(got_input), 1);
			assert_int_equal(a.tap.queues[0].count.runt, len + 1);
		}
		assert_int_equal(got.n, 0);
		assert_int_equal(a.tap.queues[0].count.in, 0);
		side_close(&a);
	}
}

static void t17_what_is_too_long_is_counted(void **state)
{
	int room = 1 << 20;

	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	got.n = 0;
	assert_int_equal(setsockopt(a.far[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
	bring(&a, 0, NULL, TAP_FRAME_MAX);
	bring(&a, 0, NULL, TAP_FRAME_MAX + 1);
	bring(&a, 0, NULL, TAP_FRAME_MAX + 1000);
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(got.n, 1);
	assert_int_equal(got.len, TAP_FRAME_MAX);
	assert_int_equal(a.tap.queues[0].count.giant, 2);
}

static void t17_at_most_50_frames_a_wakeup(void **state)
{
	(void)state;
	side_open(&a, 2, 0, a.epoll, 0);
	for (unsigned i = 0; i < 120; i++) {
		frame_make(0, i, 60);
		bring(&a, 0, NULL, 60);
		bring(&a, 1, NULL, 60);
	}
	for (unsigned want = 100; want <= 200; want += 100) {
		got.n = reads = 0;
		assert_int_equal(turn(got_input), 2);
		assert_int_equal(got.n, TAP_BURST * 2);
		assert_int_equal(reads, TAP_BURST * 2);
	}
	got.n = 0;
	assert_int_equal(turn(got_input), 2);
	assert_int_equal(got.n, 40);
	assert_int_equal(turn(got_input), 0);
}

static void t17_runts_count_for_the_burst(void **state)
{
	(void)state;
	side_open(&a, 1, 12, a.epoll, 0);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(send(a.far[0], big, 5, 0), 5);
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(a.tap.queues[0].count.runt, TAP_BURST);
}

static void t17_reading_pauses_while_a_frame_is_kept(void **state)
{
	(void)state;
	side_open(&a, 2, 0, a.epoll, 0);
	fill(&a, 0, 1500);
	got.n = reads = 0;
	frame_make(0, 0, 60);
	bring(&a, 0, NULL, 60);
	bring(&a, 1, NULL, 60);
	assert_int_equal(turn(got_input), 0);
	/* As when epoll had told of both before the frame was kept. */
	assert_int_equal(tap_event(&a.tap, 1, EPOLLIN, got_input, NULL), 0);
	assert_int_equal(reads, 0);
	while (fetch(&a, 0) || fetch(&a, 1))
		;
	while (turn(got_input))
		;
	assert_int_equal(a.tap.n_kept, 0);
	assert_int_equal(got.n, 2);
}

static void t17_a_detached_queue_is_not_polled(void **state)
{
	(void)state;
	side_open(&a, 2, 0, a.epoll, 0);
	detached_fd = a.tap.queues[1].fd;
	assert_int_equal(tap_recheck(&a.tap), 1);
	assert_int_equal(tap_recheck(&a.tap), 0);
	assert_int_equal(a.tap.n_attached, 1);
	reads = 0;
	bring(&a, 1, NULL, 60);
	assert_int_equal(turn(got_input), 0);
	assert_int_equal(tap_event(&a.tap, 1, EPOLLIN, got_input, NULL), 0);
	assert_int_equal(reads, 0);
	for (unsigned flow = 0; flow < 50; flow++)
		tap_send(&a.tap, frame_make(flow, 0, 60), 60);
	assert_int_equal(a.tap.queues[0].count.out, 50);
	detached_fd = -1;
	assert_int_equal(tap_recheck(&a.tap), 1);
	got.n = 0;
	assert_int_equal(turn(got_input), 1);
	assert_int_equal(got.n, 1);
}

static void t17_a_device_that_is_gone_is_told(void **state)
{
	(void)state;
	side_open(&a, 1, 0, a.epoll, 0);
	assert_int_equal(tap_event(&a.tap, 0, EPOLLIN | EPOLLERR, got_input, NULL), -EBADFD);
	gone_fd = a.tap.queues[0].fd;
	assert_int_equal(tap_recheck(&a.tap), -EBADFD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(t16_a_header_of_zeros_is_prepended),
		TEST(t16_short_frames_are_padded),
		TEST(t16_a_frame_that_is_not_taken_is_kept_and_sent_in_order),
		TEST(t16_what_is_kept_is_bounded),
		TEST(t16_a_queue_that_is_full_does_not_let_others_overtake),
		TEST(t16_an_interruption_is_retried),
		TEST(t16_what_the_device_refuses_is_counted),
		TEST(t17_the_header_is_stripped),
		TEST(t17_short_frames_are_padded),
		TEST(t17_what_is_shorter_than_its_header_is_counted),
		TEST(t17_what_is_too_long_is_counted),
		TEST(t17_at_most_50_frames_a_wakeup),
		TEST(t17_runts_count_for_the_burst),
		TEST(t17_reading_pauses_while_a_frame_is_kept),
		TEST(t17_a_detached_queue_is_not_polled),
		TEST(t17_a_device_that_is_gone_is_told),
	};

	return cmocka_run_group_tests_name("guest_tap", tests, NULL, NULL);
}
