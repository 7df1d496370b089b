/* tunadopt.c - taking over TAP queues that another made.
 *
 * An fd tells the name of its device, and the namespace that the device is in now; names are unique
 * there, so together they say which device it is. What an fd does not tell (ifindex, packet
 * information: TUNGETIFF has another flag at that bit) is asked of rtnetlink in that namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "base/arena.h"
#include "base/fd.h"
#include "sys/nlr.h"
#include "sys/ns.h"
#include "sys/tunset.h"

#ifndef F_DUPFD_QUERY /* Linux 6.10: are two fds of one open file? */
#define F_DUPFD_QUERY 1027
#endif

struct queue {
	int fd, shown;
	struct tun_state state;
	uint64_t netns; /* inode of its device's namespace */
};

/* fd of the namespace of its device, or -errno. */
static int device_netns(const struct queue *queue, struct err *err)
{
	int fd = ioctl(queue->fd, TUNGETDEVNETNS);

	if (fd >= 0)
		return fd;
	if (errno == EPERM)
		err_set(err, -EPERM, "not allowed to look into the namespace of \"%s\" (fd %d)",
			queue->state.name, queue->shown);
	else
		err_sys(err, -errno, "the kernel does not tell the namespace of \"%s\" (fd %d)",
			queue->state.name, queue->shown);
	err->status = EXIT_UNABLE;
	return err->code;
}

static int queue_look(struct queue *queue, struct err *err)
{
	autofd int netns = -1;
	int r = tun_state(queue->fd, &queue->state, err);

	if (r == -EBADFD)
		return err_set(err, r, "fd %d is attached to no TAP device, or that is gone",
			       queue->shown);
	if (r == -EBADF)
		return err_set(err, r, "fd %d is not open", queue->shown);
	if (r < 0)
		return err_set(err, r, "fd %d is not a TAP queue", queue->shown);
	if (!(queue->state.flags & IFF_TAP))
		return err_set(err, -EINVAL, "fd %d is of \"%s\", which is a TUN, not a TAP",
			       queue->shown, queue->state.name);
	netns = device_netns(queue, err);
	queue->netns = netns < 0 ? 0 : ns_inode(netns);
	return netns < 0 ? netns : 0;
}

/* Are they one open file, under two numbers? 1, 0 or -errno. */
static int same_file(int a, int b, struct err *err)
{
	long r = fcntl(a, F_DUPFD_QUERY, b);
	pid_t self = getpid();

	if (r >= 0)
		return (int)r;
	r = syscall(SYS_kcmp, self, self, KCMP_FILE, a, b);
	if (r >= 0)
		return r == 0;
	err_sys(err, -errno, "this kernel cannot tell whether two fds are one queue");
	err->status = EXIT_UNABLE;
	return err->code;
}

static int queue_belongs(const struct queue *queue, const struct queue *first, struct err *err)
{
	const struct tun_state *a = &first->state, *b = &queue->state;
	bool headers = (a->flags & IFF_VNET_HDR) == (b->flags & IFF_VNET_HDR);

	if (queue->netns == first->netns && str_eq(a->name, b->name))
		return 0;
	return err_set(err, -EINVAL,
		       "fd %d is a queue of \"%s\", fd %d of %s\"%s\"%s: queues are of one device",
		       first->shown, a->name, queue->shown,
		       str_eq(a->name, b->name) ? "another " : "", b->name,
		       headers			 ? ""
		       : a->flags & IFF_VNET_HDR ? ", which has no vnet header"
						 : ", which has a vnet header");
}

static int queues_look(struct queue *queues, unsigned n, struct err *err)
{
	int r = 0;

	for (unsigned k = 0; k < n && r == 0; k++)
		r = queue_look(&queues[k], err);
	for (unsigned k = 1; k < n && r == 0; k++)
		r = queue_belongs(&queues[k], &queues[0], err);
	for (unsigned k = 1; k < n && r == 0; k++)
		for (unsigned j = 0; j < k && r == 0; j++) {
			r = same_file(queues[j].fd, queues[k].fd, err);
			if (r > 0)
				r = err_set(err, -EINVAL, "fds %d and %d are the same queue",
					    queues[j].shown, queues[k].shown);
		}
	return r;
}

/* The device as rtnetlink and ethtool see it, from inside of its namespace. */
static int device_look(const struct queue *queue, struct arena *arena, struct nlr_link *ret_link,
		       unsigned *ret_offload, struct err *err)
{
	autofd int self = ns_self("net", err), there = -1;
	struct err back;
	int r;

	if (self < 0)
		return self;
	there = device_netns(queue, err);
	if (there < 0)
		return there;
	r = ns_enter_net(there, err);
	if (r < 0)
		return r;
	r = nlr_link_find(arena, queue->state.name, ret_link, err);
	if (r > 0)
		r = tun_offload(queue->state.name, ret_offload, err) < 0 ? err->code : 1;
	if (ns_enter_net(self, &back) < 0) {
		*err = back;
		return back.code;
	}
	if (r == 0)
		return err_set(err, -ENODEV, "\"%s\" (fd %d) is gone", queue->state.name,
			       queue->shown);
	return r < 0 ? r : 0;
}

static int device_check(const struct queue *queue, struct tun_adopted *ret, unsigned *ret_offload,
			struct err *err)
{
	struct arena arena;
	struct nlr_link link;
	int r = arena_init(&arena, (size_t)16 << 20, err);

	if (r < 0)
		return r;
	r = device_look(queue, &arena, &link, ret_offload, err);
	if (r == 0 && link.tun.pi)
		r = err_set(err, -EINVAL,
			    "\"%s\" (fd %d) puts packet information in front of frames: "
			    "it must be made with IFF_NO_PI",
			    queue->state.name, queue->shown);
	if (r == 0) {
		memcpy(ret->name, queue->state.name, sizeof ret->name);
		ret->ifindex = link.ifindex;
		ret->vnet_hdr = (queue->state.flags & IFF_VNET_HDR) != 0;
		ret->persist = (queue->state.flags & IFF_PERSIST) != 0;
	}
	arena_free(&arena);
	return r;
}

int tun_carrier_of(int fd, bool *ret_in, struct err *err)
{
	struct queue queue = { .fd = fd, .shown = fd };
	struct arena arena;
	struct nlr_link link;
	unsigned offload;
	int r = arena_init(&arena, (size_t)16 << 20, err);

	if (r < 0)
		return r;
	r = tun_state(fd, &queue.state, err);
	if (r == 0)
		r = device_look(&queue, &arena, &link, &offload, err);
	if (r == 0)
		*ret_in = link.carrier;
	arena_free(&arena);
	return r;
}

static void stale_say(const struct queue *queues, unsigned n, unsigned offload,
		      struct strbuf *stale)
{
	const struct tun_state *first = &queues[0].state;
	int sndbuf = INT_MAX;

	for (unsigned k = 0; k < n; k++)
		if (queues[k].state.sndbuf < sndbuf)
			sndbuf = queues[k].state.sndbuf;
#define SAY(...) (strbuf_puts(stale, stale->len ? "; " : ""), strbuf_printf(stale, __VA_ARGS__))
	if (first->vnet_hdr_size != TUN_HDR_LEN)
		SAY("vnet header %d, not %d", first->vnet_hdr_size, TUN_HDR_LEN);
	if (first->endian != TUN_NATIVE)
		SAY("vnet header %s-endian", first->endian == TUN_LITTLE ? "little" : "big");
	if (offload) {
		SAY("offloads ");
		tun_offload_words(stale, offload);
	}
	if (sndbuf != INT_MAX)
		SAY("send buffer %d", sndbuf);
	for (unsigned k = 0; k < n; k++)
		if (queues[k].state.detached)
			SAY("fd %d detached", queues[k].shown);
	if (first->flags & IFF_PERSIST)
		SAY("persistent");
#undef SAY
}

int tun_adopt(int first_fd, unsigned queues, const int *shown, const struct tun_settings *set,
	      struct tun_adopted *ret, struct strbuf *stale, struct err *err)
{
	struct queue *list autofree = calloc(queues, sizeof *list);
	struct tun_settings wanted = *set;
	unsigned offload = 0;
	int r;

	*ret = (struct tun_adopted){ 0 };
	if (!list || queues == 0)
		return err_sys(err, queues ? -ENOMEM : -EINVAL, "cannot adopt %u queues", queues);
	for (unsigned k = 0; k < queues; k++) {
		list[k].fd = first_fd + (int)k;
		list[k].shown = shown ? shown[k] : list[k].fd;
	}
	r = queues_look(list, queues, err);
	if (r == 0)
		r = device_check(&list[0], ret, &offload, err);
	wanted.vnet_hdr = ret->vnet_hdr;
	if (r == 0)
		r = tunset_check(queues, &wanted, err);
	if (r < 0)
		return r;
	stale_say(list, queues, offload, stale);
	for (unsigned k = 0; k < queues && r == 0; k++)
		if (fcntl(list[k].fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
			r = err_sys(err, -errno, "fd %d: O_NONBLOCK", list[k].shown);
	if (r == 0)
		r = tunset_order(first_fd, queues, err);
	return r < 0 ? r : tunset_apply(first_fd, queues, &wanted, false, err);
}
