/* limit.c - the raw baseline of ./dev bench: makes a lab and drops it with the least work that this
 * kernel needs for it, and nothing else: no file is read, nothing is recorded, checked or undone.
 *
 *   limit star|chain|fat|taps|guests N   makes it, says "up MS", reads a line, drops it, says "down MS"
 *   limit drain                          "down MS": until the kernel has let go of what was dropped before
 *   limit spawn N PROGRAM [ARG…]         runs it N times, one after the other: "up MS"
 *
 * What there is afterwards is what the tool makes of the file that labs.py writes for the same
 * words: names, indexes, addresses, routes, queues, a MAC for every end; test_bench.py compares
 * them. Left out is what only the tool has: other names of ports, the hosts file, the journal.
 * "down" is over when the kernel has let go of every namespace.
 *
 * Theory of operation. A namespace costs one unshare, one socket and one datagram: lo up, the veth
 * pairs with both ends in place (the main end can be born up and a port, the peer cannot), no
 * IPv6 address of their own, up, addresses, routes; only the last message is answered. Indexes are
 * chosen, so nothing is looked up. A TAP is told to have no queueing before it is up for the first
 * time: the kernel would make one qdisc a possible queue. TAPs are deleted by their group in one
 * message, since each alone waits for all processors; namespaces by closing all of them at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH_MAX    (64 << 10) /* sent when it is longer */
#define BATCH_ROOM   (BATCH_MAX + 4096)
#define PORTS_MAX    1000 /* a bridge has 1023; some are for the other bridges */
#define QUEUES	     4
#define FIRST_NODE   100U /* ifindexes, as in the tool's plans */
#define FIRST_SWITCH 100000U
#define GROUP	     77U
#define NET	     0x0a000000U    /* 10.0.0.0 */
#define GATEWAY	     (NET + 0xfffe) /* 10.0.255.254 */
#define CPUS	     1024
#define GONE_TRY_US  200

#define DIE(what)                                                                                  \
	do {                                                                                       \
		(void)fprintf(stderr, "limit: line %d: %s: %s\n", __LINE__, what,                  \
			      strerror(errno));                                                    \
		exit(1);                                                                           \
	} while (0)

extern char **environ;

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void say(const char *what, double since)
{
	(void)printf("%s %.3f\n", what, now_ms() - since);
	(void)fflush(stdout);
}

/* ---- messages */

struct batch {
	struct nlmsghdr *last;
	int fd;
	char buf[BATCH_ROOM];
};

static int nl_socket(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), on = 1;

	if (fd < 0)
		DIE("netlink");
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
	return fd;
}

static size_t batch_len(const struct batch *b)
{
	return b->last ? (size_t)((char *)b->last - b->buf) +
				 NLMSG_ALIGN((size_t)b->last->nlmsg_len)
		       : 0;
}

/* Sends, and waits for the answer to the last; a message that fails answers unasked. */
static void flush(struct batch *b)
{
	char answer[8192];
	size_t len = batch_len(b);
	ssize_t n;

	if (!len)
		return;
	b->last->nlmsg_flags |= NLM_F_ACK;
	if (send(b->fd, b->buf, len, 0) < 0)
		DIE("send");
	n = recv(b->fd, answer, sizeof answer, 0);
	if (n < (ssize_t)sizeof(struct nlmsghdr))
		DIE("recv");
	errno = -((const struct nlmsgerr *)mnl_nlmsg_get_payload((void *)answer))->error;
	if (errno)
		DIE("a message of the batch");
	b->last = NULL;
}

static void *message(struct batch *b, int type, int flags, size_t header)
{
	size_t len = batch_len(b);

	if (len > BATCH_MAX) {
		flush(b);
		len = 0;
	}
	b->last = mnl_nlmsg_put_header(b->buf + len);
	b->last->nlmsg_type = (uint16_t)type;
	b->last->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	return mnl_nlmsg_put_extra_header(b->last, header);
}

static struct ifinfomsg *link_message(struct batch *b, int flags, uint32_t ifindex, bool up)
{
	struct ifinfomsg *link = message(b, RTM_NEWLINK, flags, sizeof *link);

	link->ifi_index = (int)ifindex;
	if (up)
		link->ifi_flags = link->ifi_change = IFF_UP;
	return link;
}

static void put_mac(struct batch *b)
{
	static uint32_t last;
	unsigned char mac[6] = { 2 };

	last++;
	memcpy(mac + 2, &last, sizeof last);
	mnl_attr_put(b->last, IFLA_ADDRESS, sizeof mac, mac);
}

static void put_bridge(struct batch *b, uint32_t ifindex, const char *name)
{
	struct nlattr *info, *data;

	(void)link_message(b, NLM_F_CREATE | NLM_F_EXCL, ifindex, true);
	mnl_attr_put_strz(b->last, IFLA_IFNAME, name);
	put_mac(b);
	info = mnl_attr_nest_start(b->last, IFLA_LINKINFO);
	mnl_attr_put_strz(b->last, IFLA_INFO_KIND, "bridge");
	data = mnl_attr_nest_start(b->last, IFLA_INFO_DATA);
	mnl_attr_put_u8(b->last, IFLA_BR_MCAST_SNOOPING, 0);
	mnl_attr_nest_end(b->last, data);
	mnl_attr_nest_end(b->last, info);
}

struct end {
	const char *name;
	uint32_t ifindex, master;
	int ns; /* -1: the socket's own */
};

static void put_half(struct batch *b, const struct end *end)
{
	mnl_attr_put_strz(b->last, IFLA_IFNAME, end->name);
	if (end->ns >= 0)
		mnl_attr_put_u32(b->last, IFLA_NET_NS_FD, (uint32_t)end->ns);
	put_mac(b);
	mnl_attr_put_u32(b->last, IFLA_NUM_TX_QUEUES, 1);
	mnl_attr_put_u32(b->last, IFLA_NUM_RX_QUEUES, 1);
}

/* The main end is up when it is a port: others are told their settings first. */
static void put_veth(struct batch *b, struct end end, struct end peer)
{
	struct nlattr *info, *data, *half;
	struct ifinfomsg *other;

	(void)link_message(b, NLM_F_CREATE | NLM_F_EXCL, end.ifindex, end.master != 0);
	put_half(b, &end);
	if (end.master)
		mnl_attr_put_u32(b->last, IFLA_MASTER, end.master);
	info = mnl_attr_nest_start(b->last, IFLA_LINKINFO);
	mnl_attr_put_strz(b->last, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(b->last, IFLA_INFO_DATA);
	half = mnl_attr_nest_start(b->last, VETH_INFO_PEER);
	other = mnl_nlmsg_put_extra_header(b->last, sizeof *other);
	other->ifi_index = (int)peer.ifindex;
	put_half(b, &peer);
	mnl_attr_nest_end(b->last, half);
	mnl_attr_nest_end(b->last, data);
	mnl_attr_nest_end(b->last, info);
}

/* Without an IPv6 address of its own making, and up. */
static void put_up(struct batch *b, uint32_t ifindex, bool forward)
{
	struct nlattr *spec, *family, *conf;

	(void)link_message(b, 0, ifindex, false);
	spec = mnl_attr_nest_start(b->last, IFLA_AF_SPEC);
	if (forward) {
		family = mnl_attr_nest_start(b->last, AF_INET);
		conf = mnl_attr_nest_start(b->last, IFLA_INET_CONF);
		mnl_attr_put_u32(b->last, IPV4_DEVCONF_FORWARDING, 1);
		mnl_attr_nest_end(b->last, conf);
		mnl_attr_nest_end(b->last, family);
	}
	family = mnl_attr_nest_start(b->last, AF_INET6);
	mnl_attr_put_u8(b->last, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(b->last, family);
	mnl_attr_nest_end(b->last, spec);
	(void)link_message(b, 0, ifindex, true);
}

static void put_address(struct batch *b, uint32_t ifindex, uint32_t address, unsigned char prefix)
{
	struct ifaddrmsg *a = message(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *a);

	a->ifa_family = AF_INET;
	a->ifa_prefixlen = prefix;
	a->ifa_index = ifindex;
	mnl_attr_put_u32(b->last, IFA_LOCAL, htonl(address));
	mnl_attr_put_u32(b->last, IFA_ADDRESS, htonl(address));
}

static void put_route(struct batch *b, uint32_t to, unsigned char prefix, uint32_t ifindex,
		      uint32_t via)
{
	struct rtmsg *r = message(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *r);

	r->rtm_family = AF_INET;
	r->rtm_table = RT_TABLE_MAIN;
	r->rtm_protocol = RTPROT_STATIC;
	r->rtm_type = RTN_UNICAST;
	r->rtm_dst_len = prefix;
	if (prefix)
		mnl_attr_put_u32(b->last, RTA_DST, htonl(to));
	mnl_attr_put_u32(b->last, RTA_GATEWAY, htonl(via));
	mnl_attr_put_u32(b->last, RTA_OIF, ifindex);
}

/* ---- when the kernel has let go */

/* Namespaces are cleaned up in the order in which they were dropped, and are counted until the end.
 * A child in a user namespace of its own, which may have two, has one for itself and holds the
 * last: when it can make another one, the last and so all before it are gone. A netlink socket
 * keeps its namespace for an RCU period of its processor, so it holds one by a socket on each. */
static int watch = -1;
static pid_t watcher;

static void write_to(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, what, strlen(what)) < 0 || close(fd) < 0)
		DIE(path);
}

static int make_ns(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		DIE("unshare");
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		DIE("namespace");
	return fd;
}

static void be_on(size_t cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	(void)sched_setaffinity(0, sizeof one, &one);
}

static void watch_child(int end)
{
	size_t cpus = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
	int last, sockets[CPUS];
	struct timespec pause = { .tv_nsec = GONE_TRY_US * 1000 };
	char c = 'a';

	if (unshare(CLONE_NEWUSER) < 0)
		DIE("unshare");
	write_to("/proc/sys/user/max_net_namespaces", "2");
	last = make_ns();
	cpus = cpus > CPUS ? CPUS : cpus;
	for (size_t i = 0; i < cpus; i++)
		sockets[i] = nl_socket();
	(void)close(make_ns());
	if (write(end, &c, 1) != 1 || read(end, &c, 1) != 1)
		exit(1);
	for (size_t i = 0; i < cpus; i++) {
		be_on(i);
		(void)close(sockets[i]);
	}
	(void)close(last);
	while (unshare(CLONE_NEWNET) < 0) {
		if (errno != ENOSPC)
			DIE("unshare");
		(void)nanosleep(&pause, NULL);
	}
	exit(write(end, &c, 1) == 1 ? 0 : 1);
}

static void watch_begin(void)
{
	int ends[2];
	char c;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		DIE("socketpair");
	watcher = fork();
	if (watcher < 0)
		DIE("fork");
	if (watcher == 0) {
		(void)close(ends[0]);
		watch_child(ends[1]);
	}
	(void)close(ends[1]);
	watch = ends[0];
	if (read(watch, &c, 1) != 1)
		DIE("watch");
}

static void watch_end(void)
{
	char c = 'g';

	if (write(watch, &c, 1) != 1 || read(watch, &c, 1) != 1)
		DIE("watch");
	(void)waitpid(watcher, NULL, 0);
}

/* ---- labs */

static uint32_t n;	/* how large */
static int *fds, n_fds; /* of namespaces and TAPs, in the order in which they are closed */
static pid_t *programs;
static int n_programs;
static int switch_ns = -1, switch_nl = -1;
static struct batch batch, of_switch;

static void keep(int fd)
{
	fds[n_fds++] = fd;
}

static void open_switch(uint32_t bridges, const char *name)
{
	char one[16];

	switch_ns = make_ns();
	write_to("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	of_switch.fd = switch_nl = nl_socket();
	for (uint32_t i = 0; i < bridges; i++) {
		(void)snprintf(one, sizeof one, "%s%u", name, i);
		put_bridge(&of_switch, FIRST_SWITCH + i, one);
	}
	flush(&of_switch);
}

/* Bridges in a row: a wire from each to the next. */
static void join_bridges(uint32_t bridges, uint32_t ifindex)
{
	char a[16], b[16];

	for (uint32_t i = 0; i + 1 < bridges; i++) {
		(void)snprintf(a, sizeof a, "w%u", 2 * i + 1);
		(void)snprintf(b, sizeof b, "w%u", 2 * i + 2);
		put_veth(&of_switch, (struct end){ a, ifindex + 2 * i, FIRST_SWITCH + i, -1 },
			 (struct end){ b, ifindex + 2 * i + 1, 0, -1 });
		(void)link_message(&of_switch, 0, ifindex + 2 * i + 1, true);
		mnl_attr_put_u32(of_switch.last, IFLA_MASTER, FIRST_SWITCH + i + 1);
	}
	flush(&of_switch);
}

/* A namespace, and the beginning of its batch. */
static void open_node(void)
{
	keep(make_ns());
	batch.fd = nl_socket();
	(void)link_message(&batch, 0, 1, true);
}

static void close_node(void)
{
	flush(&batch);
	(void)close(batch.fd);
}

static void star(void)
{
	uint32_t bridges = (n + PORTS_MAX - 1) / PORTS_MAX;
	char port[16];

	open_switch(bridges, "lan");
	for (uint32_t i = 0; i < n; i++) {
		open_node();
		(void)snprintf(port, sizeof port, "p%u", i + 1);
		put_veth(&batch,
			 (struct end){ port, FIRST_SWITCH + bridges + i,
				       FIRST_SWITCH + i / PORTS_MAX, switch_ns },
			 (struct end){ "eth0", FIRST_NODE, 0, -1 });
		put_up(&batch, FIRST_NODE, false);
		put_address(&batch, FIRST_NODE, NET + i + 1, 16);
		put_route(&batch, 0, 0, FIRST_NODE, GATEWAY);
		close_node();
	}
	join_bridges(bridges, FIRST_SWITCH + bridges + n);
}

/* Each makes its right end with the next one's left end; the next is there before. */
static void chain(void)
{
	const uint32_t left = FIRST_NODE;
	int socket_of_next = -1;

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t net = NET + 4 * i, right = i ? left + 1 : left;

		if (i == 0) {
			keep(make_ns());
			socket_of_next = nl_socket();
		}
		batch.fd = socket_of_next;
		(void)link_message(&batch, 0, 1, true);
		if (i + 1 < n) {
			keep(make_ns());
			socket_of_next = nl_socket();
			put_veth(&batch, (struct end){ "right", right, 0, -1 },
				 (struct end){ "left", left, 0, fds[n_fds - 1] });
			put_up(&batch, right, true);
			put_address(&batch, right, net + 1, 30);
		}
		if (i > 0) {
			put_up(&batch, left, true);
			put_address(&batch, left, net - 2, 30);
		}
		if (i + 1 < n)
			put_route(&batch, 0, 0, right, net + 2);
		else if (i > 0)
			put_route(&batch, 0, 0, left, net - 3);
		if (i > 1 && i + 1 < n)
			put_route(&batch, NET, 30, left, net - 3);
		close_node();
	}
}

static void fat(void)
{
	uint32_t side = (uint32_t)lround(sqrt(n));
	char port[16], name[16];

	open_switch(side, "lan");
	for (uint32_t i = 0; i < side; i++) {
		open_node();
		for (uint32_t k = 0; k < side; k++) {
			(void)snprintf(port, sizeof port, "p%u", i * side + k + 1);
			(void)snprintf(name, sizeof name, "eth%u", k);
			put_veth(&batch,
				 (struct end){ port, FIRST_SWITCH + side + i * side + k,
					       FIRST_SWITCH + k, switch_ns },
				 (struct end){ name, FIRST_NODE + k, 0, -1 });
			put_up(&batch, FIRST_NODE + k, false);
			put_address(&batch, FIRST_NODE + k, NET + (k << 16) + i + 1, 16);
		}
		close_node();
	}
}

/* Not close-on-exec where one program inherits all of them. */
static void make_tap(const char *name, uint32_t ifindex, int queues, int cloexec)
{
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI };

	if (queues > 1)
		req.ifr_flags |= IFF_MULTI_QUEUE;
	(void)snprintf(req.ifr_name, IFNAMSIZ, "%s", name);
	for (int i = 0; i < queues; i++) {
		int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | cloexec);

		if (fd < 0 || (i == 0 && ioctl(fd, TUNSETIFINDEX, &ifindex) < 0) ||
		    ioctl(fd, TUNSETIFF, &req) < 0)
			DIE(name);
		keep(fd);
	}
}

/* As ports of bridges in the namespace that we are in. */
static void make_taps(int queues, int cloexec)
{
	uint32_t bridges = (n + PORTS_MAX - 1) / PORTS_MAX, ifindex;
	struct tcmsg *qdisc;
	char name[16];

	open_switch(bridges, "lan");
	for (uint32_t i = 0; i < n; i++) {
		(void)snprintf(name, sizeof name, "p%u", i + 1);
		make_tap(name, FIRST_SWITCH + bridges + i, queues, cloexec);
	}
	for (uint32_t i = 0; i < n; i++) {
		ifindex = FIRST_SWITCH + bridges + i;
		qdisc = message(&of_switch, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE,
				sizeof *qdisc);
		qdisc->tcm_ifindex = (int)ifindex;
		qdisc->tcm_parent = TC_H_ROOT;
		mnl_attr_put_strz(of_switch.last, TCA_KIND, "noqueue");
		(void)link_message(&of_switch, 0, ifindex, true);
		put_mac(&of_switch);
		mnl_attr_put_u32(of_switch.last, IFLA_MASTER, FIRST_SWITCH + i / PORTS_MAX);
		mnl_attr_put_u32(of_switch.last, IFLA_GROUP, GROUP);
	}
	join_bridges(bridges, FIRST_SWITCH + bridges + n);
}

/* Nothing but the TAPs and one program that has their fds. A guest each would measure processes,
 * which "guests" does; without any the tool has no TAPs. */
static void taps(void)
{
	char sleep[] = "sleep", infinity[] = "infinity", *const argv[] = { sleep, infinity, NULL };

	make_taps(QUEUES, 0);
	errno = posix_spawnp(&programs[n_programs++], argv[0], NULL, NULL, argv, environ);
	if (errno)
		DIE(argv[0]);
}

/* Each TAP as fd 3 of a program of its own. The next one is forked while they get to their exec:
 * quicker on two processors than vfork(). All have, when nobody has the pipe any more. */
static void guests(void)
{
	int went[2];
	char c;

	make_taps(1, O_CLOEXEC);
	if (pipe2(went, O_CLOEXEC) < 0)
		DIE("pipe");
	for (uint32_t i = 0; i < n; i++) {
		programs[n_programs] = fork();
		if (programs[n_programs] < 0)
			DIE("fork");
		if (programs[n_programs++] == 0) {
			if (dup2(fds[i], 3) < 0 || (fds[i] == 3 && fcntl(3, F_SETFD, 0) < 0))
				_exit(1);
			(void)execlp("sleep", "sleep", "infinity", (char *)NULL);
			_exit(1);
		}
	}
	(void)close(went[1]);
	if (read(went[0], &c, 1) != 0)
		DIE("pipe");
	(void)close(went[0]);
}

static void down(bool of_taps)
{
	for (int i = 0; i < n_programs; i++)
		(void)kill(programs[i], SIGKILL);
	for (int i = 0; i < n_programs; i++)
		(void)waitpid(programs[i], NULL, 0);
	if (of_taps) {
		(void)message(&of_switch, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
		mnl_attr_put_u32(of_switch.last, IFLA_GROUP, GROUP);
		flush(&of_switch);
	}
	for (int i = 0; i < n_fds; i++)
		(void)close(fds[i]);
	if (switch_ns >= 0) {
		(void)close(switch_nl);
		(void)close(switch_ns);
	}
	watch_end();
}

/* ---- */

static void spawn_each(char **argv)
{
	double begin = now_ms();
	pid_t pid;
	int status;

	for (uint32_t i = 0; i < n; i++) {
		errno = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
		if (errno)
			DIE(argv[0]);
		if (waitpid(pid, &status, 0) < 0 || status)
			DIE("its exit status");
	}
	say("up", begin);
}

static void lab(const char *kind, void (*make)(void))
{
	int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	double begin;
	char line[16];

	fds = calloc(n * QUEUES + 1, sizeof *fds);
	programs = calloc(n + 1, sizeof *programs);
	if (!fds || !programs || home < 0)
		DIE("begin");
	watch_begin();
	begin = now_ms();
	make();
	if (setns(home, CLONE_NEWNET) < 0)
		DIE("setns");
	say("up", begin);
	(void)fgets(line, sizeof line, stdin);
	begin = now_ms();
	down(!strcmp(kind, "taps") || !strcmp(kind, "guests"));
	say("down", begin);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*make)(void);
	} labs[] = { { "star", star },
		     { "chain", chain },
		     { "fat", fat },
		     { "taps", taps },
		     { "guests", guests } };
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	n = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	if (argc == 2 && !strcmp(argv[1], "drain")) {
		double begin;

		watch_begin();
		begin = now_ms();
		watch_end();
		say("down", begin);
		return 0;
	}
	if (argc > 3 && !strcmp(argv[1], "spawn")) {
		spawn_each(argv + 3);
		return 0;
	}
	for (size_t i = 0; argc == 3 && n && i < sizeof labs / sizeof *labs; i++) {
		if (strcmp(argv[1], labs[i].name))
			continue;
		lab(labs[i].name, labs[i].make);
		return 0;
	}
	(void)fputs(
		"usage: limit star|chain|fat|taps|guests N | drain | spawn N PROGRAM [ARG...]\n",
		stderr);
	return 2;
}
