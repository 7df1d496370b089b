/* tunlive.h - TAPs that are at work: what the kernel says of them, who holds them, and what their
 * queues need while no program reads them. */
#ifndef TAPNET_SYS_TUNLIVE_H
#define TAPNET_SYS_TUNLIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/ip.h"
#include "sys/tun.h"

/* Inode of the namespace that the device behind a queue is in; 0 when it cannot be told. */
uint64_t tun_netns(int fd);
/* "multi_queue", "vnet_hdr", …: the n-th name of flags, NULL after the last. */
const char *tun_flag_name(unsigned flags, int n);

/* The cable of a TAP in, or out. In takes one attached queue. 0 or -errno. */
int tun_carrier(int fd, bool in, struct err *err);
/* Takes away a packet filter: of a device that has one no queue can be attached by another process
 * than its maker, and it goes from queues that are attached only. 0 or -errno. */
int tun_unfilter(int fd, struct err *err);
int tun_mac_of(int fd, struct mac *ret_mac, struct err *err);
int tun_mac(int fd, const struct mac *mac, struct err *err);
/* Throws away what waits in a queue; the fd is O_NONBLOCK again afterwards. 0 or -errno. */
int tun_drain(int fd, struct err *err);

/* An fd of a TAP in some process. */
struct tun_holder {
	pid_t pid;
	int fd;
	char comm[16];
	struct tun_state state;
	uint64_t netns; /* of tun_netns() */
};
/* Every such fd of the processes that we may look into, in the order of pids and fds. */
int tun_holders(struct arena *arena, struct tun_holder **ret_holders, int *ret_n, struct err *err);
/* Are these the same open file, hence the same queue? Also true where the kernel does not tell. */
bool tun_same(pid_t a, int fd_a, pid_t b, int fd_b);

#endif
