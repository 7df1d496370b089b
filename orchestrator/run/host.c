/* host.c - does this host have what the lab needs? Asked before anything is made. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "run/run.h"
#include "sys/nlr.h"
#include "sys/probe.h"
#include "sys/vhost.h"

#define FDS_SPARE     256 /* beside the planned ones: consoles, clients, files for a moment */
#define FDS_A_PROGRAM 6	  /* pidfd, pty, log, a pipe, and one to spare */

/* Raises the limit on open files to what the plan needs. */
static int open_files(const struct plan *plan, struct err *err)
{
	struct rlimit limit;
	rlim_t need = (rlim_t)plan->fd_end + FDS_SPARE;

	for (int i = 0; i < plan->n_steps; i++)
		need += plan->steps[i].op == OP_PROC ? FDS_A_PROGRAM : 0;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return err_sys(err, -errno, "getrlimit");
	if (limit.rlim_cur >= need)
		return 0;
	limit.rlim_cur = need;
	if (limit.rlim_max < need)
		limit.rlim_max = need;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
		err_set(err, -EMFILE,
			"the lab needs %ju open files, and this user may have fewer: ulimit -Hn "
			"%ju",
			(uintmax_t)need, (uintmax_t)need);
		return err->code;
	}
	return 0;
}

static bool has_step(const struct plan *plan, enum op_id op)
{
	for (int i = 0; i < plan->n_steps; i++)
		if (plan->steps[i].op == op)
			return true;
	return false;
}

static bool has_ipv6(const struct plan *plan)
{
	for (int i = 0; i < plan->n_steps; i++)
		if (plan->steps[i].op == OP_ADDR &&
		    ((const struct op_addr *)plan->steps[i].args)->addr.family == 6)
			return true;
	return false;
}

static int tun_device(struct err *err)
{
	autofd int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return 0;
	if (errno == EACCES)
		return err_set(err, -errno,
			       "the lab needs TAPs, and this user may not open /dev/net/tun");
	return err_sys(err, -errno,
		       "the lab needs TAPs, and /dev/net/tun cannot be opened (modprobe tun)");
}

/* The bridges of the host that the lab plugs into: each is there, and is a bridge. */
static int host_bridges(const struct plan *plan, struct err *err)
{
	for (int i = 0; i < plan->n_steps; i++) {
		const struct step *step = &plan->steps[i];
		const struct op_hostport *port = step->args;
		struct arena arena = ARENA_NONE;
		struct nlr_link link = { 0 };
		int r;

		if (step->op != OP_HOSTPORT)
			continue;
		r = arena_init(&arena, (size_t)16 << 20, err);
		if (r == 0)
			r = nlr_link_find(&arena, port->bridge, &link, err);
		if (r == 0 || (r > 0 && !str_eq(link.kind, "bridge"))) {
			r = err_set(err, -ENODEV,
				    "this host has no bridge \"%s\" (ip link add %s type bridge)",
				    port->bridge, port->bridge);
			err_at(err, step->line, step->col);
		}
		arena_free(&arena);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Fds that the caller hands over: what is open here and is not ours. All of ours close on exec, and
 * what came through one does not. */
static int adopted_fds(const struct plan *plan, struct err *err)
{
	for (int i = 0; i < plan->n_steps; i++) {
		const struct step *step = &plan->steps[i];
		const struct op_tap *tap = step->args;

		for (int k = 0; step->op == OP_TAP && k < tap->n_adopted; k++) {
			int flags = fcntl(tap->adopted[k].from, F_GETFD);

			if (flags >= 0 && !(flags & FD_CLOEXEC))
				continue;
			err_set(err, -EBADF,
				"%s: fd %d is not open: who calls tapnet-lab must hand it over",
				step->what, tap->adopted[k].from);
			err_at(err, step->line, step->col);
			err->status = EXIT_INVALID;
			return err->code;
		}
	}
	return 0;
}

/* The interface that says vhost: require, when one does. */
static int vhost_device(const struct plan *plan, struct err *err)
{
	for (int n = 0; n < plan->n_nodes; n++)
		for (int k = 0; k < plan->nodes[n].n_ifaces; k++) {
			const struct plan_iface *iface = &plan->nodes[n].ifaces[k];
			autofd int fd = -1;

			if (!iface->vhost_line)
				continue;
			fd = vhost_open(err);
			if (fd >= 0)
				return 0; /* there is one device for all */
			err_at(err, iface->vhost_line, iface->vhost_col);
			return err_wrap(err, "%s:%s requires vhost", plan->nodes[n].name,
					iface->name);
		}
	return 0;
}

static const struct step *earlier(const struct step *a, const struct step *b)
{
	if (!a)
		return b;
	return b->line < a->line || (b->line == a->line && b->col < a->col) ? b : a;
}

/* The places in the file that first ask for VLANs on ports and for sub-interfaces; NULL: none. */
static void first_vlans(const struct plan *plan, const struct step **ret_port,
			const struct step **ret_subif)
{
	*ret_port = *ret_subif = NULL;
	for (int i = 0; i < plan->n_steps; i++) {
		const struct step *step = &plan->steps[i];

		if ((step->op == OP_VLANS && ((const struct op_vlans *)step->args)->given) ||
		    (step->op == OP_HOSTPORT && ((const struct op_hostport *)step->args)->n_vlans))
			*ret_port = earlier(*ret_port, step);
		else if (step->op == OP_SUBIF)
			*ret_subif = earlier(*ret_subif, step);
	}
}

/* Tried for real, in namespaces that end with the try; only where the lab has VLANs. */
static int vlans(const struct plan *plan, struct err *err)
{
	const struct step *port, *subif, *first;
	struct probe probe;
	int r;

	first_vlans(plan, &port, &subif);
	if (!port && !subif)
		return 0;
	r = probe_vlans(&probe, err);
	if (r < 0)
		return r;
	if (probe.vlan_filtering == 0)
		port = NULL;
	if (probe.vlan == 0)
		subif = NULL;
	if (!port && !subif)
		return 0;
	first = !port ? subif : !subif ? port : earlier(port, subif);
	if (first == port)
		r = err_set(err, probe.vlan_filtering,
			    "the lab has VLANs on bridges, and this kernel's bridges filter none "
			    "(a kernel with CONFIG_BRIDGE_VLAN_FILTERING)");
	else
		r = err_set(err, probe.vlan,
			    "the lab has sub-interfaces, and this kernel has none (modprobe 8021q, "
			    "or a kernel with CONFIG_VLAN_8021Q)");
	err_at(err, first->line, first->col);
	return r;
}

int run_host(const struct plan *plan, struct err *err)
{
	int r = 0;

	if (geteuid() != 0)
		r = err_set(err, -EPERM, "labs need root for now: sudo tapnet-lab up");
	if (r == 0 && has_step(plan, OP_TAP))
		r = tun_device(err);
	if (r == 0 && has_ipv6(plan) && access("/proc/net/if_inet6", F_OK) < 0)
		r = err_set(err, -EAFNOSUPPORT,
			    "the lab has IPv6 addresses, and this kernel has no IPv6");
	if (r == 0)
		r = adopted_fds(plan, err);
	if (r == 0)
		r = vhost_device(plan, err);
	if (r == 0)
		r = host_bridges(plan, err);
	if (r == 0)
		r = vlans(plan, err);
	if (r == 0)
		r = open_files(plan, err);
	if (r < 0 && !err->status)
		err->status = EXIT_UNABLE;
	return r;
}
