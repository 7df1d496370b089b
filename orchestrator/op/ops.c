/* ops.c - the list of operations, and the plan's way into the journal and back. */
#include <errno.h>
#include <string.h>

#include "op/op.h"

static const struct op *const ops[OP_COUNT] = {
	[OP_HOOK] = &op_hook,	    [OP_NETNS] = &op_netns,   [OP_MOUNTS] = &op_mounts,
	[OP_SYSCTL] = &op_sysctl,   [OP_BRIDGE] = &op_bridge, [OP_VETH] = &op_veth,
	[OP_TAP] = &op_tap,	    [OP_PORT] = &op_port,     [OP_HOSTPORT] = &op_hostport,
	[OP_LINK] = &op_link,	    [OP_ADDR] = &op_addr,     [OP_ROUTE] = &op_route,
	[OP_ALTNAME] = &op_altname, [OP_CELL] = &op_cell,     [OP_EXEC] = &op_exec,
	[OP_PROC] = &op_proc,	    [OP_READY] = &op_ready,   [OP_DISK] = &op_disk,
	[OP_FILE] = &op_file,	    [OP_SUBIF] = &op_subif,   [OP_VLANS] = &op_vlans,
};

const struct op *op_of(const struct step *step)
{
	return ops[step->op];
}

static const struct rec space_table[] = {
	REC(REC_STR, struct space, name),
	REC(REC_INT, struct space, fd),
	REC(REC_INT, struct space, mounts),
	REC(REC_BOOL, struct space, taps),
	REC_END,
};

static const struct rec address_table[] = {
	REC(REC_IP, struct plan_address, ip),
	REC_END,
};

static const struct rec iface_table[] = {
	REC(REC_STR, struct plan_iface, name),
	REC(REC_STR, struct plan_iface, ifname),
	REC(REC_U32, struct plan_iface, space),
	REC(REC_U32, struct plan_iface, ifindex),
	REC(REC_STR, struct plan_iface, peer),
	REC(REC_STR, struct plan_iface, port),
	REC(REC_U32, struct plan_iface, port_space),
	REC(REC_U32, struct plan_iface, port_ifindex),
	REC(REC_MAC, struct plan_iface, mac),
	REC_SUBS(struct plan_iface, addrs, n_addrs, address_table, struct plan_address),
	REC(REC_U32, struct plan_iface, queues),
	REC(REC_INT, struct plan_iface, fd),
	REC(REC_INT, struct plan_iface, guest_fd),
	REC(REC_INT, struct plan_iface, vhost_fd),
	REC(REC_INT, struct plan_iface, tap_step),
	REC(REC_BOOL, struct plan_iface, vnet_hdr),
	REC(REC_BOOL, struct plan_iface, set),
	REC(REC_INT, struct plan_iface, vhost_line),
	REC(REC_INT, struct plan_iface, vhost_col),
	REC_END,
};

static const struct rec node_table[] = {
	REC(REC_STR, struct plan_node, name),
	REC(REC_STR, struct plan_node, kind),
	REC(REC_U32, struct plan_node, space),
	REC(REC_BOOL, struct plan_node, guest),
	REC(REC_INT, struct plan_node, cell_step),
	REC_LIST(struct plan_node, env, n_env),
	REC_SUBS(struct plan_node, ifaces, n_ifaces, iface_table, struct plan_iface),
	REC(REC_INT, struct plan_node, line),
	REC(REC_INT, struct plan_node, col),
	REC_END,
};

static const struct rec plan_table[] = {
	REC(REC_STR, struct plan, lab),
	REC(REC_U32, struct plan, bridges),
	REC(REC_U32, struct plan, links),
	REC_SUBS(struct plan, spaces, n_spaces, space_table, struct space),
	REC_SUBS(struct plan, nodes, n_nodes, node_table, struct plan_node),
	REC(REC_INT, struct plan, mounts_fd),
	REC(REC_INT, struct plan, fd_end),
	REC_END,
};

static const struct rec step_table[] = {
	REC(REC_U32, struct step, space),
	REC(REC_INT, struct step, line),
	REC(REC_INT, struct step, col),
	REC(REC_STR, struct step, what),
	REC_END,
};

void plan_encode(const struct plan *plan, struct strbuf *out)
{
	rec_encode(out, plan_table, plan);
	rec_put_u32(out, (uint32_t)plan->n_steps);
	for (int i = 0; i < plan->n_steps; i++) {
		const struct step *step = &plan->steps[i];

		rec_put_u32(out, (uint32_t)step->op);
		rec_encode(out, step_table, step);
		rec_encode(out, op_of(step)->args, step->args);
	}
}

static bool fds_fit(const struct plan *plan, int fd, uint32_t n)
{
	return fd == -1 ||
	       (fd >= FD_PLANNED && n <= (uint32_t)(plan->fd_end - fd) && fd <= plan->fd_end);
}

static bool step_is(const struct plan *plan, uint32_t i, enum op_id op)
{
	return i < (uint32_t)plan->n_steps && plan->steps[i].op == op;
}

/* An adopted device has no name, and one fd for each number of the caller's. */
static bool tap_fits(const struct plan *plan, const struct op_tap *tap)
{
	if (tap->fd < 0 || !fds_fit(plan, tap->fd, tap->queues) || tap->enabled > tap->queues)
		return false;
	for (int i = 0; i < tap->n_adopted; i++)
		if (tap->adopted[i].from < 3 || tap->adopted[i].to < 0 ||
		    !fds_fit(plan, tap->adopted[i].to, 1))
			return false;
	return tap->source == TAP_HELPED    ? tap->helper_bridge && tap->helper.argc > 0
	       : tap->source == TAP_ADOPTED ? tap->n_adopted >= (int)tap->queues
					    : tap->source == TAP_MADE && tap->name;
}

/* What a message holds. */
static bool vlans_fit(int n)
{
	return n <= OP_VLANS_MAX;
}

/* Indexes and fds of one step are within the plan. */
static bool step_fits(const struct plan *plan, const struct step *step)
{
	uint32_t spaces = (uint32_t)plan->n_spaces;

	if (step->space >= spaces || !step->what)
		return false;
	switch (step->op) {
	case OP_NETNS:
		return fds_fit(plan, ((const struct op_netns *)step->args)->fd, 1);
	case OP_MOUNTS:
		return fds_fit(plan, ((const struct op_mounts *)step->args)->fd, 1);
	case OP_TAP: {
		const struct op_tap *tap = step->args;
		return tap_fits(plan, tap);
	}
	case OP_HOOK: {
		const struct op_hook *hook = step->args;
		return hook->log && fds_fit(plan, hook->fd, hook->up_fds) &&
		       fds_fit(plan, hook->fd, hook->down_fds);
	}
	case OP_VETH: {
		const struct op_veth *veth = step->args;
		return veth->name && veth->peer_name && veth->space < spaces &&
		       veth->peer_space < spaces;
	}
	case OP_VLANS:
		return vlans_fit(((const struct op_vlans *)step->args)->n_vlans);
	case OP_EXEC:
		return step_is(plan, ((const struct op_exec *)step->args)->cell_step, OP_CELL);
	case OP_PROC: {
		const struct op_proc *proc = step->args;
		for (int k = 0; k < proc->n_fds; k++)
			if (proc->fds[k].to < 3 || !fds_fit(plan, proc->fds[k].from, 1))
				return false;
		return proc->log && proc->node && step_is(plan, proc->cell_step, OP_CELL);
	}
	case OP_DISK: {
		const struct op_disk *disk = step->args;
		return disk->image && fds_fit(plan, disk->fd, 1) && disk->fd >= 0;
	}
	case OP_FILE: {
		const struct op_file *file = step->args;
		return file->name && file->text && !strchr(file->name, '/');
	}
	case OP_READY: {
		const struct op_ready *ready = step->args;
		return ready->from < spaces &&
		       (ready->kind == WAIT_STP || ready->kind == WAIT_AFTER ||
			step_is(plan, ready->proc_step, OP_PROC));
	}
	default:
		return true;
	}
}

static bool plan_fits(const struct plan *plan)
{
	if (!plan->lab || plan->n_spaces < 2 || plan->fd_end < FD_PLANNED ||
	    !fds_fit(plan, plan->mounts_fd, 1))
		return false;
	for (int i = 0; i < plan->n_spaces; i++)
		if (!plan->spaces[i].name || !fds_fit(plan, plan->spaces[i].fd, 1) ||
		    !fds_fit(plan, plan->spaces[i].mounts, 1))
			return false;
	for (int i = 0; i < plan->n_nodes; i++) {
		const struct plan_node *node = &plan->nodes[i];

		if (!node->name || !node->kind || node->space >= (uint32_t)plan->n_spaces ||
		    (node->cell_step >= 0 && !step_is(plan, (uint32_t)node->cell_step, OP_CELL)))
			return false;
		for (int k = 0; k < node->n_ifaces; k++)
			if (!node->ifaces[k].name || !node->ifaces[k].ifname ||
			    !node->ifaces[k].peer ||
			    (node->ifaces[k].tap_step >= 0 &&
			     !step_is(plan, (uint32_t)node->ifaces[k].tap_step, OP_TAP)) ||
			    node->ifaces[k].space >= (uint32_t)plan->n_spaces ||
			    node->ifaces[k].port_space >= (uint32_t)plan->n_spaces)
				return false;
	}
	for (int i = 0; i < plan->n_steps; i++)
		if (!step_fits(plan, &plan->steps[i]))
			return false;
	return true;
}

int plan_decode(struct arena *arena, const char *data, size_t len, struct plan **ret_plan)
{
	struct rec_cursor cursor = { .p = data, .left = len };
	struct plan *plan = arena_alloc(arena, sizeof *plan);
	uint32_t n;

	if (rec_decode(arena, &cursor, plan_table, plan) < 0)
		return -EBADMSG;
	n = rec_u32(&cursor);
	if (cursor.bad || n > cursor.left)
		return -EBADMSG;
	plan->n_steps = (int)n; /* a step takes 20 bytes at least, so n is in proportion to len */
	plan->steps = arena_calloc(arena, n, sizeof *plan->steps);
	for (uint32_t i = 0; i < n; i++) {
		struct step *step = &plan->steps[i];
		uint32_t op = rec_u32(&cursor);
		void *args;

		if (cursor.bad || op >= OP_COUNT ||
		    rec_decode(arena, &cursor, step_table, step) < 0)
			return -EBADMSG;
		step->op = (enum op_id)op;
		args = arena_alloc(arena, op_of(step)->size);
		if (rec_decode(arena, &cursor, op_of(step)->args, args) < 0)
			return -EBADMSG;
		step->args = args;
	}
	if (cursor.left || !plan_fits(plan))
		return -EBADMSG;
	*ret_plan = plan;
	return 0;
}
