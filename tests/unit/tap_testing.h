/* tap_testing.h - what the tests of TAPs share: devices in a namespace of the test's own, and frames
 * that come out of their queues. */
#ifndef TAPNET_TESTS_TAP_TESTING_H
#define TAPNET_TESTS_TAP_TESTING_H

#include "sys_testing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <net/ethernet.h>
#include <net/if.h>

#include <netinet/ip6.h>

#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "sys/nlr.h"
#include "sys/nlw.h"
#include "sys/tun.h"

#define FD     300 /* of the first queue; nothing else is there */
#define QUEUES 4

/* What the kernel makes by itself. */
#define PLAIN	      .owner = -1, .group = -1
#define SETTINGS(...) (&(struct tun_settings){ PLAIN, __VA_ARGS__ })

static const struct mac mac = { { 2, 0, 0, 0, 0, 0xc } };
static struct strbuf stale;
static int packets = -1; /* socket of a test's frames; the kernel is slow to close one */

static inline int enter(void **state)
{
	(void)state;
	must(ns_make_net(-1, in_ms(LONG_MS), &err)); /* its fd goes with the program */
	stale = STRBUF_INIT;
	return 0;
}

static inline int leave(void **state)
{
	(void)state;
	(void)close_range(FD, FD + 512, 0);
	fd_closep(&packets);
	strbuf_free(&stale);
	return 0;
}

/* ---- devices */

static inline bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static inline int make_of(const char *name, int fd, unsigned queues, const struct tun_settings *set)
{
	return tun_make(
		&(struct tun_make){
			.name = name, .queues = queues, .mac = &mac, .first_fd = fd, .set = *set },
		&err);
}

static inline int make(unsigned queues, const struct tun_settings *set)
{
	return make_of("tap0", FD, queues, set);
}

static inline struct tun_state state_of(int fd)
{
	struct tun_state state;

	must(tun_state(fd, &state, &err));
	return state;
}

static inline struct nlr_link link_of(const char *name, int expected)
{
	struct nlr_link link = { 0 };
	struct arena arena;

	must(arena_init(&arena, (size_t)16 << 20, &err));
	assert_int_equal(must(nlr_link_find(&arena, name, &link, &err)), expected);
	arena_free(&arena);
	link.name = NULL;
	return link;
}

static inline unsigned offloads_of(const char *name)
{
	unsigned offload;

	must(tun_offload(name, &offload, &err));
	return offload;
}

static inline void up(const char *name)
{
	autofd int nl = must(nlw_open(&err));
	struct nlbatch batch;
	uint32_t ifindex = link_of(name, 1).ifindex;

	must(nlb_init(&batch, &err));
	nlb_noqueue(&batch, 0, ifindex);
	nlb_link_set(&batch, 0, &(struct nlb_link_set){ .ifindex = ifindex, .up = true });
	must(nlb_flush(&batch, nl, in_ms(LONG_MS), &err));
	nlb_free(&batch);
}

/* As another program would make one. */
static inline void raw(int at, const char *name, unsigned flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };

	must(tun_open(at, &err));
	(void)snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", name);
	assert_int_equal(ioctl(at, TUNSETIFF, &ifr), 0);
}

#define assert_says(words)                                                                         \
	do {                                                                                       \
		if (!strstr(err.msg, words))                                                       \
			fail_msg("\"%s\" does not say \"%s\"", err.msg, words);                    \
	} while (0)

/* ---- frames */

static const uint8_t marked[ETH_ALEN] = { 2, 0xfe, 0xed, 0, 0, 1 }; /* whom test frames are for */

struct flow {
	int family;
	uint8_t proto;
	uint8_t from, to; /* last bytes of the addresses */
	uint16_t sport, dport;
	uint16_t fragment; /* the field of an IPv4 header */
};

static inline size_t frame_of(const struct flow *flow, uint8_t frame[128])
{
	uint8_t *l3 = frame + ETH_HLEN, *ports = l3 + sizeof(struct ip6_hdr);
	struct iphdr ip = { .version = 4, .ihl = 6, .protocol = flow->proto, .ttl = 64 };
	uint16_t type = htons(flow->family == 4	  ? ETHERTYPE_IP
			      : flow->family == 6 ? ETHERTYPE_IPV6
						  : 0x88b5);
	uint16_t sport = htons(flow->sport), dport = htons(flow->dport);

	memset(frame, 0, 128);
	memcpy(frame, marked, sizeof marked);
	memcpy(frame + 2 * (size_t)ETH_ALEN, &type, sizeof type);
	if (flow->family == 4) {
		ip.frag_off = htons(flow->fragment);
		ip.saddr = htonl(0x0a000000u | flow->from);
		ip.daddr = htonl(0x0a000100u | flow->to);
		memcpy(l3, &ip, sizeof ip);
		ports = l3 + (size_t)ip.ihl * 4; /* there are options */
	} else {
		l3[0] = 0x60;
		l3[6] = flow->proto;
		l3[8 + 15] = flow->from;
		l3[24 + 15] = flow->to;
	}
	memcpy(ports, &sport, sizeof sport);
	memcpy(ports + 2, &dport, sizeof dport);
	return 100;
}

static inline void send_to(const char *name, const void *frame, size_t len)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex(name),
				  .sll_halen = ETH_ALEN };

	if (packets < 0)
		packets = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_int_equal(sendto(packets, frame, len, 0, (struct sockaddr *)&to, sizeof to), len);
}

/* Reads what is for us from one queue. */
static inline int read_marked(int fd)
{
	uint8_t frame[2048];
	int n = 0;

	for (;;) {
		ssize_t len = read(fd, frame, sizeof frame);

		if (len < 0) {
			assert_int_equal(errno, EAGAIN);
			return n;
		}
		n += len >= ETH_ALEN && memcmp(frame, marked, sizeof marked) == 0;
	}
}

/* Frames for each of QUEUES queues, until `sent` of them have come. */
static inline void take(int sent, int counts[QUEUES])
{
	int64_t end = in_ms(LONG_MS);
	int came = 0;

	memset(counts, 0, QUEUES * sizeof *counts);
	while (came < sent && io_left_ms(end) > 0) {
		struct pollfd fds[QUEUES];

		for (int k = 0; k < QUEUES; k++) {
			int n = read_marked(FD + k);

			counts[k] += n;
			came += n;
			fds[k] = (struct pollfd){ .fd = FD + k, .events = POLLIN };
		}
		if (came < sent)
			(void)poll(fds, QUEUES, io_left_ms(end));
	}
	assert_int_equal(came, sent);
}

/* The queue that a frame of a flow comes out of. */
static inline int queue_of(const struct flow *flow)
{
	uint8_t frame[128];
	int counts[QUEUES];

	send_to("tap0", frame, frame_of(flow, frame));
	take(1, counts);
	for (int k = 0; k < QUEUES; k++)
		if (counts[k])
			return k;
	fail();
	return -1;
}

/* How many of n flows (which differ in their ports) come out of each queue, and that each flow
 * keeps to its own. */
static inline void spread(int family, uint8_t proto, int n, int counts[QUEUES])
{
	memset(counts, 0, QUEUES * sizeof *counts);
	for (int i = 0; i < n; i++) {
		struct flow flow = { family, proto, 1, 2, (uint16_t)(40000 + i), 80, 0 };
		int queue = queue_of(&flow);

		counts[queue]++;
		assert_int_equal(queue_of(&flow), queue);
	}
}

static inline void all_to(int queue)
{
	for (uint16_t i = 0; i < 8; i++)
		assert_int_equal(queue_of(&(struct flow){ 4, IPPROTO_UDP, 1, 2, i, 80, 0 }), queue);
}

/* Ends the program where there can be no TAPs. */
static inline void tap_start(unsigned seconds)
{
	testing_start(seconds);
	if (access("/dev/net/tun", R_OK | W_OK) == 0)
		return;
	(void)fprintf(stderr, "SKIP: /dev/net/tun is not there\n");
	exit(SKIPPED);
}

#endif
