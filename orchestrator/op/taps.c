/* taps.c - see taps.h. */
#include "op/taps.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdlib.h>

#include "op/proc.h"
#include "op/tap.h"
#include "sys/tun.h"
#include "sys/tunlive.h"

/* The node of a guest; of a service's program, which has no TAPs, NULL. */
static const struct plan_node *node_of(const struct ctx *ctx, const struct op_proc *op)
{
	for (int n = 0; n < ctx->plan->n_nodes && op->kind == PROC_GUEST; n++)
		if (str_eq(ctx->plan->nodes[n].name, op->node))
			return &ctx->plan->nodes[n];
	return NULL;
}

/* The k-th TAP of the node: its step, or -1 when there are no more. */
static int tap_step(const struct plan_node *node, int k)
{
	return node && k < node->n_ifaces ? node->ifaces[k].tap_step : -1;
}

int taps_rest(struct ctx *ctx, const struct op_proc *op, struct err *err)
{
	const struct plan_node *node = node_of(ctx, op);
	int worst = 0;

	for (int k = 0, i; (i = tap_step(node, k)) >= 0; k++)
		if (tap_rest(ctx_step(ctx, (uint32_t)i)->args, err) < 0)
			worst = err_wrap(err, "%s", ctx_step(ctx, (uint32_t)i)->what);
	return worst;
}

int taps_note(struct ctx *ctx, struct proc *proc, struct err *err)
{
	const struct plan_node *node = node_of(ctx, ctx_step(ctx, proc->step)->args);
	int n = 0;

	for (int t = 0, i; (i = tap_step(node, t)) >= 0; t++) {
		const struct op_tap *tap = ctx_step(ctx, (uint32_t)i)->args;
		struct tun_state state;
		struct tap_kept *kept;

		if (tap->source == TAP_MADE)
			continue;
		kept = reallocarray(proc->kept, (size_t)n + 1, sizeof *kept);
		if (!kept)
			return err_sys(err, -ENOMEM, "no memory for a TAP");
		proc->kept = kept;
		kept[n].step = (uint32_t)i;
		if (tun_state(tap->fd, &state, err) < 0 ||
		    tun_mac_of(tap->fd, &kept[n].mac, err) < 0 ||
		    tun_carrier_of(tap->fd, &kept[n].carrier, err) < 0)
			return err->code;
		kept[n].persist = (state.flags & IFF_PERSIST) != 0;
		proc->n_kept = ++n;
	}
	return 0;
}

static const struct tap_kept *kept_of(const struct proc *proc, uint32_t step)
{
	for (int k = 0; k < proc->n_kept; k++)
		if (proc->kept[k].step == step)
			return &proc->kept[k];
	return NULL;
}

/* What waits is thrown away while the cable is still out: what comes then is for the next one. */
static int tap_clean(const struct op_tap *tap, const struct mac *mac, struct err *err)
{
	struct tun_state state;
	int r = tun_state(tap->fd, &state, err);

	for (uint32_t q = 0; r == 0 && q < tap->queues; q++)
		r = tun_drain(tap->fd + (int)q, err);
	return r < 0 ? r : tun_mac(tap->fd, mac, err);
}

int taps_ready(struct ctx *ctx, const struct proc *proc, struct err *err)
{
	const struct plan_node *node = node_of(ctx, ctx_step(ctx, proc->step)->args);

	for (int k = 0, i; (i = tap_step(node, k)) >= 0; k++) {
		const struct op_tap *tap = ctx_step(ctx, (uint32_t)i)->args;
		const struct tap_kept *kept = kept_of(proc, (uint32_t)i);
		int r = 0;

		if (tap->handoff == TAP_BY_FD)
			r = tap_clean(tap, kept ? &kept->mac : &tap->mac, err);
		if (r == 0)
			r = tap_again(ctx, (uint32_t)i, kept ? kept->persist : tap->persist,
				      kept ? kept->carrier : !tap->carrier_off, err);
		if (r < 0)
			return err_wrap(err, "%s", ctx_step(ctx, (uint32_t)i)->what);
	}
	return 0;
}
