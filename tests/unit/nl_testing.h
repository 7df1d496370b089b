/* nl_testing.h - what the tests of netlink share: a place with a socket in it, and a batch. */
#ifndef TAPNET_TESTS_NL_TESTING_H
#define TAPNET_TESTS_NL_TESTING_H

#include "sys_testing.h"

#include "base/arena.h"
#include "sys/nlr.h"
#include "sys/nlw.h"

static struct nlbatch batch;
static struct arena arena;
static const struct mac mac_a = { { 2, 0, 0, 0, 0, 0xa } }, mac_b = { { 2, 0, 0, 0, 0, 0xb } };

struct place {
	int home, ns, nl; /* each test has a network namespace of its own */
};

static inline int enter(void **state)
{
	struct place *place = calloc(1, sizeof *place);

	place->home = must(ns_self("net", &err));
	place->ns = must(ns_make_net(-1, in_ms(LONG_MS), &err));
	place->nl = must(nlw_open(&err));
	must(nlb_init(&batch, &err));
	must(arena_init(&arena, (size_t)64 << 20, &err));
	*state = place;
	return 0;
}

static inline int leave(void **state)
{
	struct place *place = *state;

	must(ns_enter_net(place->home, &err));
	(void)close(place->home);
	(void)close(place->ns);
	(void)close(place->nl);
	nlb_free(&batch);
	arena_free(&arena);
	free(place);
	return 0;
}

static inline int flush(int nl)
{
	err.msg[0] = '\0';
	return nlb_flush(&batch, nl, in_ms(LONG_MS), &err);
}

/* All of the batch succeeded; says which did not. */
static inline void flush_fine(int nl)
{
	unsigned n = batch.n;

	(void)flush(nl);
	for (unsigned i = 0; i < n; i++) {
		if (batch.out[i].code)
			print_error("message %u (tag %u): %d %s\n", i, batch.out[i].tag,
				    batch.out[i].code, batch.out[i].words);
		assert_int_equal(batch.out[i].code, 0);
	}
}

static inline struct ip ip(const char *text)
{
	struct ip value;

	assert_true(ip_parse(text, &value, NULL));
	return value;
}

static inline void put_up(uint32_t tag, uint32_t ifindex)
{
	nlb_link_set(&batch, tag, &(struct nlb_link_set){ .ifindex = ifindex, .up = true });
}

/* A pair whose ends are both here: a0 (ifindex 100) and b0 (101). */
static inline void put_pair(void)
{
	nlb_veth(&batch, 0,
		 &(struct nlb_veth_end){
			 .name = "a0", .ifindex = 100, .netns_fd = -1, .mac = &mac_a },
		 &(struct nlb_veth_end){
			 .name = "b0", .ifindex = 101, .netns_fd = -1, .mac = &mac_b },
		 0);
}

static inline struct nlr_view view(void)
{
	struct nlr_view v;

	must(nlr_view(&arena, &v, &err));
	return v;
}

#endif
