/* probe.c - what this kernel lets this user make. */
#include "sys/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/vhost.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "sys/nlw.h"
#include "sys/pidfd.h"
#include "sys/spawn.h"
#include "sys/tun.h"

#define PROBE_MS   10000 /* the kernel may load a module or two */
#define PROBE_VETH 100
#define PROBE_BR   102
#define PROBE_FD   100 /* of the TAP */

static const struct mac probe_mac = { { 0x02, 0, 0, 0, 0, 1 } },
			probe_peer_mac = { { 0x02, 0, 0, 0, 0, 2 } };

/* ---- in the child */

struct probing {
	struct nlbatch batch;
	int nl, report;
	bool vlans_only;
	struct probe found;
};

static int flush(struct probing *probing)
{
	struct err ignored;

	return nlb_flush(&probing->batch, probing->nl, io_now_ms() + PROBE_MS, &ignored);
}

static int try_veth(struct probing *probing)
{
	nlb_veth(&probing->batch, 0,
		 &(struct nlb_veth_end){ .name = "probe0",
					 .ifindex = PROBE_VETH,
					 .netns_fd = -1,
					 .mac = &probe_mac },
		 &(struct nlb_veth_end){ .name = "probe1",
					 .ifindex = PROBE_VETH + 1,
					 .netns_fd = -1,
					 .mac = &probe_peer_mac },
		 0);
	return flush(probing);
}

static int try_bridge(struct probing *probing)
{
	nlb_bridge(
		&probing->batch, 0,
		&(struct nlb_bridge){ .name = "probe2", .ifindex = PROBE_BR, .mac = &probe_mac });
	return flush(probing);
}

static int try_vlan_filtering(struct probing *probing)
{
	nlb_bridge(&probing->batch, 0,
		   &(struct nlb_bridge){ .name = "probe4",
					 .ifindex = PROBE_BR + 1,
					 .mac = &probe_mac,
					 .vlan_filtering = true });
	return flush(probing);
}

static int try_vlan(struct probing *probing)
{
	nlb_vlan_link(&probing->batch, 0,
		      &(struct nlb_vlan_link){ .name = "probe5",
					       .ifindex = PROBE_BR + 2,
					       .parent = PROBE_BR,
					       .vlan = 10,
					       .mac = &probe_mac });
	return flush(probing);
}

static void try_vlans(struct probing *probing)
{
	struct probe *found = &probing->found;

	found->bridge = try_bridge(probing);
	found->vlan_filtering = found->bridge < 0 ? found->bridge : try_vlan_filtering(probing);
	found->vlan = found->bridge < 0 ? found->bridge : try_vlan(probing);
}

static int try_netem(struct probing *probing)
{
	struct nlbatch *batch = &probing->batch;
	const struct tc_netem_qopt netem = { .limit = 1000 };
	struct tcmsg *qdisc =
		nlb_begin(batch, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, sizeof *qdisc, 0);

	qdisc->tcm_ifindex = PROBE_VETH;
	qdisc->tcm_parent = TC_H_ROOT;
	nlb_str(batch, TCA_KIND, "netem");
	nlb_put(batch, TCA_OPTIONS, &netem, sizeof netem);
	return flush(probing);
}

static int try_tap(struct tun_tried *ret_tried)
{
	struct err ignored;

	int r = tun_make(
		&(struct tun_make){ .name = "probe3",
				    .queues = 2,
				    .mac = &probe_mac,
				    .first_fd = PROBE_FD,
				    .set = { .vnet_hdr = true, .owner = -1, .group = -1 } },
		&ignored);

	if (r == 0)
		tun_try(PROBE_FD, ret_tried);
	return r;
}

static int try_vhost_net(void)
{
	autofd int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);

	return fd < 0 || ioctl(fd, VHOST_SET_OWNER) < 0 ? -errno : 0;
}

static int probe_child(void *arg)
{
	struct probing *probing = arg;
	struct probe *found = &probing->found;
	struct err err;

	probing->nl = nlw_open(&err);
	if (probing->nl < 0 || nlb_init(&probing->batch, &err) < 0)
		return 1;
	try_vlans(probing);
	if (!probing->vlans_only) {
		found->veth = try_veth(probing);
		found->netem = found->veth < 0 ? found->veth : try_netem(probing);
		found->tap = found->tun_open < 0 ? found->tun_open : try_tap(&found->tun);
	}
	return io_write_all(probing->report, found, sizeof *found) < 0;
}

/* ---- in the caller */

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void reap(struct spawned *spawned)
{
	int status;

	if (io_wait(spawned->pidfd, POLLIN, io_now_ms() + PROBE_MS) <= 0)
		(void)pidfd_signal(spawned->pidfd, SIGKILL);
	(void)spawn_wait(spawned->pidfd, io_now_ms() + PROBE_MS, &status);
	fd_closep(&spawned->pidfd);
}

static int try_userns(void)
{
	struct spawned spawned;
	struct err ignored;
	int r = spawn_fork(CLONE_NEWUSER, (const int[]){ 0 }, 0, nothing, NULL, &spawned, &ignored);

	if (r == 0)
		reap(&spawned);
	return r;
}

static int try_open(const char *path)
{
	autofd int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : 0;
}

/* The child's part, in its namespaces. */
static int try_inside(struct probing *probing, struct err *err)
{
	autofd int report = -1;
	struct spawned spawned;
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot make a pipe");
	report = ends[0];
	probing->report = ends[1];
	r = spawn_fork(CLONE_NEWNET | (geteuid() ? CLONE_NEWUSER : 0), &ends[1], 1, probe_child,
		       probing, &spawned, err);
	(void)close(ends[1]);
	if (r < 0) { /* that is an answer */
		probing->found.netns = r;
		return 0;
	}
	r = io_wait(report, POLLIN, io_now_ms() + PROBE_MS);
	if (r > 0 &&
	    read(report, &probing->found, sizeof probing->found) != (ssize_t)sizeof probing->found)
		r = -EIO;
	reap(&spawned);
	return r > 0 ? 0 : err_sys(err, r ? r : -ETIMEDOUT, "cannot try what the kernel can do");
}

int probe_kernel(struct probe *ret_probe, struct err *err)
{
	struct probing probing = { 0 };
	int r;

	probing.found.userns = try_userns();
	probing.found.tun_open = try_open("/dev/net/tun");
	probing.found.vhost_net = try_vhost_net();
	probing.found.ipv6 = access("/proc/net/if_inet6", F_OK) < 0 ? -errno : 0;
	r = try_inside(&probing, err);
	*ret_probe = probing.found;
	if (r == 0 && ret_probe->netns < 0)
		ret_probe->veth = ret_probe->bridge = ret_probe->vlan_filtering = ret_probe->vlan =
			ret_probe->netem = ret_probe->tap = ret_probe->netns;
	return r;
}

int probe_vlans(struct probe *ret_probe, struct err *err)
{
	struct probing probing = { .vlans_only = true };
	int r = try_inside(&probing, err);

	*ret_probe = probing.found;
	return r == 0 && ret_probe->netns < 0
		       ? err_sys(err, ret_probe->netns, "cannot make a network namespace")
		       : r;
}
