/* tun.c - TAP devices by ioctl.
 *
 * A TAP belongs to the namespace in which /dev/net/tun was opened, so all queues are opened while
 * the caller stands there. What the device is to be is settled by the first queue; persist comes
 * last of all, so that until then closing the queues is the whole undo.
 */
#include "sys/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "sys/place.h"
#include "sys/tunlive.h"
#include "sys/tunset.h"

#define TUN_PATH  "/dev/net/tun"
#define TUN_ASKED (IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE)

static int tun_open_failed(int code, struct err *err)
{
	if (code == -EMFILE || code == -ENFILE || code == -ENOMEM)
		return err_sys(err, code, "cannot open " TUN_PATH);
	if (code == -ENOENT)
		err_set(err, code,
			"this system has no " TUN_PATH " (modprobe tun; in a container, "
			"give it the device)");
	else if (code == -ENODEV || code == -ENXIO)
		err_set(err, code, "the kernel has no TAP devices (modprobe tun)");
	else if (code == -EACCES || code == -EPERM)
		err_set(err, code,
			TUN_PATH " is not open to this user (as root: chmod 0666 " TUN_PATH
				 "; in a container, give it the device)");
	else
		err_sys(err, code, "cannot open " TUN_PATH);
	err->status = EXIT_UNABLE;
	return code;
}

static unsigned tun_flags(const struct tun_make *make)
{
	return IFF_TAP | IFF_NO_PI | (make->set.vnet_hdr ? IFF_VNET_HDR : 0u) |
	       (make->queues > 1 ? IFF_MULTI_QUEUE : 0u);
}

static void tun_name(struct ifreq *ifr, const char *name)
{
	memset(ifr, 0, sizeof *ifr);
	memcpy(ifr->ifr_name, name, strnlen(name, sizeof ifr->ifr_name - 1));
}

static int tun_attach_failed(const struct tun_make *make, unsigned k, int code, struct err *err)
{
	if (code == -EBUSY && k == 0 && make->ifindex)
		return err_set(err, code, "a device \"%s\", or one with ifindex %u, exists already",
			       make->name, make->ifindex);
	if (code == -EBUSY && k == 0)
		return err_set(err, code, "a device \"%s\" exists already", make->name);
	if (code == -E2BIG)
		return err_set(err, code, "the kernel has no more than %u queues for \"%s\"", k,
			       make->name);
	if (code == -EPERM) {
		err_set(err, code, "not allowed to make a TAP device in this namespace");
		err->status = EXIT_UNABLE;
		return code;
	}
	return err_sys(err, code, "cannot make queue %u of \"%s\"", k, make->name);
}

/* Opens the device at its number (-1: any). */
static int tun_open_at(int at, int flags, struct err *err)
{
	autofd int fd = open(TUN_PATH, O_RDWR | O_CLOEXEC | flags);
	int r;

	if (fd < 0)
		return tun_open_failed(-errno, err);
	r = fd_place(&fd, at);
	return r < 0 ? err_sys(err, r, "cannot put a queue at fd %d", at) : r;
}

int tun_open(int at, struct err *err)
{
	return tun_open_at(at, 0, err);
}

/* Makes queue k at its number. IFF_TUN_EXCL: never joins a device that was there before. */
static int tun_open_queue(const struct tun_make *make, unsigned k, struct err *err)
{
	autofd int fd = tun_open_at(make->first_fd + (int)k, O_NONBLOCK, err);
	struct ifreq ifr;

	if (fd < 0)
		return fd;
	if (k == 0 && make->ifindex && ioctl(fd, TUNSETIFINDEX, &make->ifindex) < 0)
		return err_sys(err, -errno, "cannot choose ifindex %u", make->ifindex);
	tun_name(&ifr, make->name);
	ifr.ifr_flags = (short)(tun_flags(make) | (k == 0 ? IFF_TUN_EXCL : 0u));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return tun_attach_failed(make, k, -errno, err);
	(void)take_fd(&fd);
	return 0;
}

int tun_join(const char *name, bool vnet_hdr, int at, struct err *err)
{
	autofd int fd = tun_open_at(at, O_NONBLOCK, err);
	struct ifreq ifr;

	if (fd < 0)
		return fd;
	tun_name(&ifr, name);
	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (vnet_hdr ? IFF_VNET_HDR : 0));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return err_sys(err, -errno, "cannot attach to \"%s\"", name);
	return take_fd(&fd);
}

/* What is set once for the whole device, and the proof that it is what was asked for. */
static int tun_settle(const struct tun_make *make, struct err *err)
{
	const struct tun_settings *set = &make->set;
	int fd = make->first_fd, r;
	struct tun_state state;

	r = tun_state(fd, &state, err);
	if (r < 0)
		return r;
	if (strcmp(state.name, make->name) != 0 || (state.flags & TUN_ASKED) != tun_flags(make))
		return err_set(err, -EPROTO,
			       "the kernel made \"%s\" with flags 0x%x, not \"%s\" with 0x%x",
			       state.name, state.flags & TUN_ASKED, make->name, tun_flags(make));
	if (make->mac)
		r = tun_mac(fd, make->mac, err);
	if (r == 0)
		r = tunset_apply(fd, make->queues, set, true, err);
	if (r == 0 && set->offload)
		r = tunset_offload_proof(make->name, set->offload, err);
	if (r == 0 && set->carrier_off)
		r = tun_carrier(fd, false, err);
	if (r == 0 && make->persist)
		r = tunset_persist(fd, true, err);
	return r < 0 ? err_wrap(err, "\"%s\"", make->name) : 0;
}

static void tun_close(int first_fd, unsigned queues)
{
	for (unsigned k = 0; k < queues; k++)
		(void)close(first_fd + (int)k);
}

int tun_make(const struct tun_make *make, struct err *err)
{
	size_t len = strlen(make->name);
	int r;

	if (len == 0 || len >= IFNAMSIZ || strchr(make->name, '%'))
		return err_set(err, -EINVAL, "\"%s\" is not the whole name of a device",
			       make->name);
	r = tunset_check(make->queues, &make->set, err);
	if (r < 0)
		return err_wrap(err, "\"%s\"", make->name);
	for (unsigned k = 0; k < make->queues; k++) {
		r = tun_open_queue(make, k, err);
		if (r < 0) {
			tun_close(make->first_fd, k);
			return r;
		}
	}
	r = tun_settle(make, err);
	if (r < 0)
		tun_close(make->first_fd, make->queues);
	return r;
}

int tun_state(int fd, struct tun_state *ret_state, struct err *err)
{
	int little = 0, big = 0;
	struct ifreq ifr = { 0 };

	*ret_state = (struct tun_state){ 0 };
	if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
		if (errno == EBADFD)
			return err_set(err, -EBADFD, "the TAP device behind fd %d is gone", fd);
		return err_sys(err, -errno, "fd %d is not a TAP queue", fd);
	}
	memcpy(ret_state->name, ifr.ifr_name, sizeof ret_state->name);
	ret_state->name[sizeof ret_state->name - 1] = '\0';
	ret_state->flags = (unsigned short)ifr.ifr_flags;
	ret_state->detached = (ifr.ifr_flags & IFF_DETACH_QUEUE) != 0;
	if (ioctl(fd, TUNGETVNETHDRSZ, &ret_state->vnet_hdr_size) < 0 ||
	    ioctl(fd, TUNGETSNDBUF, &ret_state->sndbuf) < 0 || ioctl(fd, TUNGETVNETLE, &little) < 0)
		return err_sys(err, -errno, "the settings of \"%s\" cannot be read",
			       ret_state->name);
	if (ioctl(fd, TUNGETVNETBE, &big) < 0)
		big = 0; /* this kernel has no such headers */
	ret_state->endian = little ? TUN_LITTLE : big ? TUN_BIG : TUN_NATIVE;
	return 0;
}

int tun_queue(int fd, bool attach, struct err *err)
{
	struct ifreq ifr = { .ifr_flags = attach ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };
	struct tun_state state;
	int r = tun_state(fd, &state, err);

	if (r < 0)
		return r;
	if (attach != state.detached)
		return 0;
	if (!(state.flags & IFF_MULTI_QUEUE))
		return err_set(err, -EINVAL, "\"%s\" has one queue, which cannot be detached",
			       state.name);
	if (ioctl(fd, TUNSETQUEUE, &ifr) < 0)
		return err_sys(err, -errno, "cannot %s a queue of \"%s\"",
			       attach ? "attach" : "detach", state.name);
	r = tun_state(fd, &state, err);
	if (r == 0 && attach == state.detached) /* the kernel's way, when a filter is attached */
		r = err_set(err, -EPROTO, "the kernel did not %s a queue of \"%s\"",
			    attach ? "attach" : "detach", state.name);
	return r;
}
