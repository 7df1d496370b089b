/* port.c - see port.h. */
#include "helper/port.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fd.h"
#include "base/str.h"
#include "sys/nlr.h"
#include "sys/nlw.h"
#include "sys/tun.h"

#define TRIES	   8 /* names that another has already */
#define FIRST_FD   3
#define ARENA_SIZE ((size_t)16 << 20)

struct found {
	uint32_t ifindex, mtu;
};

/* By its own name: an alternative one is not what the ACL allows. */
static int find(const char *name, const char *kind, struct found *ret_found, struct err *err)
{
	struct arena arena;
	struct nlr_link link;
	int r = arena_init(&arena, ARENA_SIZE, err);

	if (r < 0)
		return r;
	r = nlr_link_find(&arena, name, &link, err);
	if (r == 0 || (r > 0 && !str_eq(link.name, name)))
		r = err_set(err, -ENODEV, "there is none");
	else if (r > 0 && !str_eq(link.kind, kind))
		r = err_set(err, -ENODEV, "it is not a bridge");
	else if (r > 0)
		*ret_found = (struct found){ link.ifindex, link.mtu };
	arena_free(&arena);
	return r < 0 ? r : 0;
}

/* The kernel numbers tap%d and gives a freed number to the next: a random name is only ours. A
 * bridge without a MAC of its own takes the lowest of its ports': a high one is it only if alone. */
static int make_tap(int number, bool vnet_hdr, char name[16], struct err *err)
{
	int r = -EBUSY;

	for (int i = 0; i < TRIES && r == -EBUSY; i++) {
		struct mac mac;
		uint32_t tag;

		if (getrandom(&mac, sizeof mac, 0) != (ssize_t)sizeof mac ||
		    getrandom(&tag, sizeof tag, 0) != (ssize_t)sizeof tag)
			return err_sys(err, -errno, "no random name");
		mac.b[0] = 0xfe;
		(void)snprintf(name, 16, "tb%08x", tag);
		r = tun_make(
			&(struct tun_make){
				.name = name,
				.queues = 1,
				.mac = &mac,
				.first_fd = number,
				.set = { .vnet_hdr = vnet_hdr, .owner = -1, .group = -1 } },
			err);
	}
	return r < 0 ? r : number;
}

static int join(int nl, const struct found *tap, const struct found *bridge, uint32_t group,
		int64_t deadline, struct err *err)
{
	struct nlbatch batch = { 0 };
	int r = nlb_init(&batch, err);

	if (r < 0)
		return r;
	nlb_noqueue(&batch, 0, tap->ifindex);
	nlb_link_set(&batch, 1,
		     &(struct nlb_link_set){
			     .ifindex = tap->ifindex,
			     .master = bridge->ifindex,
			     .mtu = bridge->mtu,
			     .group = group,
			     .no_link_local = true,
			     .up = true,
		     });
	err->msg[0] = '\0';
	r = nlb_flush(&batch, nl, deadline, err);
	for (unsigned i = 0; i < COUNT(batch.out) && r < 0 && !err->msg[0]; i++)
		if (batch.out[i].code == r && batch.out[i].words[0])
			(void)err_set(err, r, "%s", batch.out[i].words);
	nlb_free(&batch);
	if (r < 0 && !err->msg[0])
		return err_sys(err, r, "a TAP cannot be made its port");
	return r < 0 ? err_wrap(err, "a TAP cannot be made its port") : 0;
}

int port_make(const char *bridge, uint32_t group, bool vnet_hdr, int64_t deadline, struct err *err)
{
	autofd int fd = -1, nl = nlw_open(err);
	struct found found, tap;
	char name[16];
	int r = nl < 0 ? nl : find(bridge, "bridge", &found, err), number;

	if (r < 0)
		return r;
	number = fcntl(nl, F_DUPFD_CLOEXEC, FIRST_FD); /* one that is free */
	if (number < 0)
		return err_sys(err, -errno, "no number for its fd");
	(void)close(number);
	fd = make_tap(number, vnet_hdr, name, err);
	if (fd < 0)
		return fd;
	r = find(name, "tun", &tap, err);
	if (r == 0)
		r = join(nl, &tap, &found, group, deadline, err);
	return r < 0 ? r : take_fd(&fd);
}
