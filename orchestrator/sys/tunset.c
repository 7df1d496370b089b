/* tunset.c - a TAP's settings, put in place and read back.
 *
 * The order matters. The kernel sets the send buffer of attached queues only, and turns the carrier
 * on only while one is attached, so all are attached first. When queue k is detached, the kernel's
 * last queue takes its place; so to have them in order again all are detached, and attached from
 * the first to the last, and those that are to be off are detached from the end.
 */
#include "sys/tunset.h"

#include <errno.h>
#include <limits.h>
#include <linux/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "sys/steer.h"
#include "sys/tunlive.h"

/* On a big-endian machine big is the kernel's own order, and there is nothing to set. */
static enum tun_endian tunset_endian(const struct tun_settings *set)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	if (set->endian == TUN_BIG)
		return TUN_NATIVE;
#endif
	return set->endian;
}

static unsigned tunset_header(const struct tun_settings *set)
{
	return set->vnet_hdr_len ? set->vnet_hdr_len : TUN_HDR_LEN;
}

static unsigned tunset_enabled(unsigned queues, const struct tun_settings *set)
{
	return set->enabled ? set->enabled : queues;
}

/* ---- checks */

int tunset_check(unsigned queues, const struct tun_settings *set, struct err *err)
{
	unsigned enabled = tunset_enabled(queues, set);

	if (enabled > queues)
		return err_set(err, -EINVAL, "%u of %u queues cannot be enabled", enabled, queues);
	if (set->steering == TUN_QUEUE && set->steering_queue >= enabled)
		return err_set(err, -EINVAL, "frames cannot go to queue %u: enabled are 0 to %u",
			       set->steering_queue, enabled - 1);
	if (set->sndbuf < 0)
		return err_set(err, -EINVAL, "a send buffer of %d bytes", set->sndbuf);
	if (set->vnet_hdr_len && (int)set->vnet_hdr_len < TUN_HDR_LEN)
		return err_set(err, -EINVAL, "a vnet header has %d bytes at least", TUN_HDR_LEN);
	return tunset_offload_check(set->offload, set->vnet_hdr, err);
}

static int check_queue(int fd, const struct tun_settings *set, bool detached, struct err *err)
{
	int sndbuf = set->sndbuf ? set->sndbuf : INT_MAX;
	struct tun_state is;
	int r = tun_state(fd, &is, err);

	if (r < 0)
		return r;
	if ((unsigned)is.vnet_hdr_size != tunset_header(set))
		return err_set(err, -EPROTO, "\"%s\" has a vnet header of %d bytes, not %u",
			       is.name, is.vnet_hdr_size, tunset_header(set));
	if (is.endian != tunset_endian(set))
		return err_set(err, -EPROTO, "the vnet header of \"%s\" has another byte order",
			       is.name);
	if (is.sndbuf != sndbuf)
		return err_set(err, -EPROTO, "\"%s\" has a send buffer of %d bytes, not %d",
			       is.name, is.sndbuf, sndbuf);
	if (is.detached != detached)
		return err_set(err, -EPROTO, "a queue of \"%s\" is %s", is.name,
			       is.detached ? "detached" : "attached");
	return 0;
}

/* ---- steps */

static int set_steering(int fd, const struct tun_settings *set, struct err *err)
{
	autofd int program = -1;

	if (set->steering == TUN_QUEUE)
		program = steer_queue(set->steering_queue, err);
	else if (set->steering == TUN_HASH)
		program = steer_hash(err);
	else if (set->steering == TUN_OBJECT)
		program = steer_object(set->steering_object, err);
	if (program < 0 && set->steering != TUN_AUTOMQ)
		return program;
	if (ioctl(fd, TUNSETSTEERINGEBPF, &program) == 0)
		return 0;
	if (set->steering == TUN_AUTOMQ && errno == EINVAL)
		return 0; /* this kernel has no steering, so there is none to end */
	err_sys(err, -errno, "cannot steer frames by a program");
	err->status = EXIT_UNABLE;
	return err->code;
}

static int set_endian(int fd, const struct tun_settings *set, struct err *err)
{
	enum tun_endian endian = tunset_endian(set);
	int little = endian == TUN_LITTLE, big = endian == TUN_BIG;

	if (ioctl(fd, TUNSETVNETLE, &little) < 0)
		return err_sys(err, -errno, "cannot set the vnet header's byte order");
	if (ioctl(fd, TUNSETVNETBE, &big) == 0 || !big)
		return 0; /* where big cannot be, there is nothing to end */
	err_set(err, -errno,
		"this kernel has no cross-endian vnet headers (CONFIG_TUN_VNET_CROSS_LE): "
		"big-endian ones cannot be had");
	err->status = EXIT_UNABLE;
	return err->code;
}

static int set_numbers(int fd, const struct tun_settings *set, bool fresh, struct err *err)
{
	int len = (int)tunset_header(set), sndbuf = set->sndbuf ? set->sndbuf : INT_MAX;

	if ((!fresh || len != TUN_HDR_LEN) && ioctl(fd, TUNSETVNETHDRSZ, &len) < 0)
		return err_sys(err, -errno, "cannot set a vnet header of %d bytes", len);
	if ((!fresh || set->sndbuf) && ioctl(fd, TUNSETSNDBUF, &sndbuf) < 0)
		return err_sys(err, -errno, "cannot set a send buffer of %d bytes", sndbuf);
	if (set->owner >= 0 && ioctl(fd, TUNSETOWNER, set->owner) < 0)
		return err_sys(err, -errno, "cannot give the TAP to user %lld",
			       (long long)set->owner);
	if (set->group >= 0 && ioctl(fd, TUNSETGROUP, set->group) < 0)
		return err_sys(err, -errno, "cannot give the TAP to group %lld",
			       (long long)set->group);
	return 0;
}

/* What decides in the kernel which frames a guest gets, and was not asked for by us. */
static int clear_filters(int fd, struct err *err)
{
	struct tun_filter addresses = { 0 };
	int none = -1, r = tun_unfilter(fd, err);

	if (r < 0)
		return r;
	if (ioctl(fd, TUNSETTXFILTER, &addresses) < 0 ||
	    (ioctl(fd, TUNSETFILTEREBPF, &none) < 0 && errno != EINVAL))
		return err_sys(err, -errno, "cannot take a TAP's filters away");
	return 0;
}

/* Filters twice: a queue is not attached while there is one, though the kernel says it is; and
 * from a queue that is detached none is taken away. */
int tunset_order(int first_fd, unsigned queues, struct err *err)
{
	int r = clear_filters(first_fd, err);

	for (unsigned k = 0; k < queues && queues > 1 && r == 0; k++)
		r = tun_queue(first_fd + (int)k, false, err);
	for (unsigned k = 0; k < queues && r == 0; k++)
		r = tun_queue(first_fd + (int)k, true, err);
	return r < 0 ? r : clear_filters(first_fd, err);
}

int tunset_apply(int first_fd, unsigned queues, const struct tun_settings *set, bool fresh,
		 struct err *err)
{
	unsigned enabled = tunset_enabled(queues, set);
	int r = 0;

	if (!fresh || set->steering != TUN_AUTOMQ)
		r = set_steering(first_fd, set, err);
	if (r == 0 && (!fresh || tunset_endian(set) != TUN_NATIVE))
		r = set_endian(first_fd, set, err);
	if (r == 0)
		r = set_numbers(first_fd, set, fresh, err);
	if (r == 0 && (!fresh || set->offload))
		r = tunset_offload(first_fd, set->offload, err);
	for (unsigned k = queues; k-- > enabled && r == 0;)
		r = tun_queue(first_fd + (int)k, false, err);
	for (unsigned k = 0; k < queues && r == 0;
	     k++) /* attached queues of one device tell the same */
		if (!fresh || k == 0 || k >= enabled)
			r = check_queue(first_fd + (int)k, set, k >= enabled, err);
	return r;
}

int tunset_persist(int fd, bool persist, struct err *err)
{
	if (ioctl(fd, TUNSETPERSIST, (unsigned long)persist) < 0)
		return err_sys(err, -errno, "cannot make a TAP %s",
			       persist ? "persistent" : "end with its fds");
	return 0;
}

int tun_set(int first_fd, unsigned queues, const struct tun_settings *set, bool persist,
	    struct err *err)
{
	struct tun_settings wanted = *set;
	struct tun_state is;
	int r = tun_state(first_fd, &is, err);

	wanted.vnet_hdr = (is.flags & IFF_VNET_HDR) != 0;
	if (r == 0)
		r = tunset_check(queues, &wanted, err);
	if (r == 0)
		r = tunset_order(first_fd, queues, err);
	if (r == 0)
		r = tun_carrier(first_fd, !set->carrier_off, err);
	if (r == 0)
		r = tunset_apply(first_fd, queues, &wanted, false, err);
	if (r == 0)
		r = tunset_persist(first_fd, persist, err);
	return r < 0 && *is.name ? err_wrap(err, "\"%s\"", is.name) : r;
}
