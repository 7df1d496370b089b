/* tunlive.c - see tunlive.h.
 *
 * Who holds a TAP is in /proc: an fd's link says /dev/net/tun. Which device that is, fdinfo tells by a
 * name, which is its namespace's own; so it is asked of a copy of the fd, which is closed at once.
 */
#include "sys/tunlive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "sys/ns.h"
#include "sys/pidfd.h"
#include "sys/tun.h"

#define DRAIN_FRAMES 100000 /* more than a queue holds, in case somebody fills it meanwhile */

/* ---- a queue */

uint64_t tun_netns(int fd)
{
	autofd int netns = ioctl(fd, TUNGETDEVNETNS, 0);

	return netns >= 0 ? ns_inode(netns) : 0;
}

const char *tun_flag_name(unsigned flags, int n)
{
	static const struct {
		unsigned flag;
		const char *name;
	} names[] = {
		{ IFF_TUN, "tun" },
		{ IFF_TAP, "tap" },
		{ IFF_NAPI, "napi" },
		{ IFF_NAPI_FRAGS, "napi_frags" },
		{ IFF_NO_CARRIER, "no_carrier" },
		{ IFF_VNET_HDR, "vnet_hdr" },
		{ IFF_MULTI_QUEUE, "multi_queue" },
		{ IFF_PERSIST, "persist" },
	};

	for (size_t i = 0; i < COUNT(names); i++)
		if (flags & names[i].flag && n-- == 0)
			return names[i].name;
	return NULL;
}

int tun_carrier(int fd, bool in, struct err *err)
{
	int on = in;

	return ioctl(fd, TUNSETCARRIER, &on) < 0 ? err_sys(err, -errno, "cannot set the carrier")
						 : 0;
}

int tun_unfilter(int fd, struct err *err)
{
	return ioctl(fd, TUNDETACHFILTER, 0) < 0
		       ? err_sys(err, -errno, "cannot take a packet filter away")
		       : 0;
}

int tun_mac_of(int fd, struct mac *ret_mac, struct err *err)
{
	struct ifreq ifr = { 0 };

	if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		return err_sys(err, -errno, "cannot read the MAC");
	memcpy(ret_mac->b, ifr.ifr_hwaddr.sa_data, sizeof ret_mac->b);
	return 0;
}

int tun_mac(int fd, const struct mac *mac, struct err *err)
{
	struct ifreq ifr = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };
	struct mac is;
	int r = tun_mac_of(fd, &is, err);

	if (r < 0 || memcmp(&is, mac, sizeof is) == 0)
		return r;
	memcpy(ifr.ifr_hwaddr.sa_data, mac->b, sizeof mac->b);
	return ioctl(fd, SIOCSIFHWADDR, &ifr) < 0 ? err_sys(err, -errno, "cannot set the MAC") : 0;
}

int tun_drain(int fd, struct err *err)
{
	char bytes
		[64]; /* the rest of a frame is thrown away with it; as is one with a longer header */

	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return err_sys(err, -errno, "cannot set O_NONBLOCK");
	for (int i = 0; i < DRAIN_FRAMES; i++)
		if (read(fd, bytes, sizeof bytes) < 0 && errno != EINVAL)
			break;
	return 0;
}

/* ---- who holds them */

/* Asks a copy of another process's fd. */
static bool ask_copy(struct tun_holder *holder)
{
	autofd int pidfd = pidfd_of(holder->pid), copy = -1;
	struct err err;

	if (pidfd >= 0)
		copy = (int)syscall(SYS_pidfd_getfd, pidfd, holder->fd, 0);
	if (copy < 0 || tun_state(copy, &holder->state, &err) < 0)
		return false;
	holder->netns = tun_netns(copy);
	return true;
}

static void take_comm(pid_t pid, char comm[16])
{
	struct strbuf text autostr = STRBUF_INIT;
	char path[32];

	(void)snprintf(path, sizeof path, "/proc/%d/comm", pid);
	if (io_read_file(AT_FDCWD, path, 64, &text) == 0)
		(void)snprintf(comm, 16, "%.*s", (int)strcspn(text.text, "\n"), text.text);
}

static int by_fd(const void *a, const void *b)
{
	const struct tun_holder *x = a, *y = b;

	return x->pid != y->pid ? (x->pid < y->pid ? -1 : 1) : (x->fd > y->fd) - (x->fd < y->fd);
}

struct found {
	struct arena *arena;
	struct tun_holder *v;
	int n, cap;
};

static void look_into(struct found *found, pid_t pid, DIR *fds)
{
	struct tun_holder holder = { .pid = pid };
	struct dirent *entry;

	while ((entry = readdir(fds))) {
		char to[32];
		ssize_t n = readlinkat(dirfd(fds), entry->d_name, to, sizeof to - 1);

		if (n < 0)
			continue;
		to[n] = '\0';
		holder.fd = (int)strtol(entry->d_name, NULL, 10);
		if (!str_eq(to, "/dev/net/tun") || !ask_copy(&holder))
			continue;
		if (!holder.comm[0])
			take_comm(pid, holder.comm);
		*ARENA_PUSH(found->arena, found->v, found->n, found->cap) = holder;
	}
}

static void look_at(struct found *found, pid_t pid)
{
	char path[64];
	DIR *fds;

	(void)snprintf(path, sizeof path, "/proc/%d/fd", pid);
	fds = opendir(path);
	if (!fds) /* it has ended, or is another's */
		return;
	look_into(found, pid, fds);
	(void)closedir(fds);
}

int tun_holders(struct arena *arena, struct tun_holder **ret_holders, int *ret_n, struct err *err)
{
	struct found found = { .arena = arena };
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (!proc)
		return err_sys(err, -errno, "cannot look into /proc");
	while ((entry = readdir(proc))) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);

		if (!*end && pid > 0 && pid != getpid())
			look_at(&found, (pid_t)pid);
	}
	(void)closedir(proc);
	if (found.n)
		qsort(found.v, (size_t)found.n, sizeof *found.v, by_fd);
	*ret_holders = found.v;
	*ret_n = found.n;
	return 0;
}

bool tun_same(pid_t a, int fd_a, pid_t b, int fd_b)
{
	return syscall(SYS_kcmp, a, b, KCMP_FILE, fd_a, fd_b) <= 0;
}
