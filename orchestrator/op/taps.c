/* taps.c - see taps.h. */
#include "op/taps.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>

#include "op/proc.h"
#include "op/tap.h"
#include "sys/tun.h"
#include "sys/tunlive.h"

/* The TAP that step i makes, if the program has its fds; else NULL. */
static const struct op_tap *tap_of(const struct ctx *ctx, const struct op_proc *op, int i)
{
	const struct step *step = ctx_step(ctx, (uint32_t)i);
	const struct op_tap *tap = step->args;

	for (int k = 0; step->op == OP_TAP && k < op->n_fds; k++)
		if (op->fds[k].from == tap->fd)
			return tap;
	return NULL;
}

static int tap_rest(const struct op_tap *tap, struct err *err)
{
	struct tun_state state;
	int r = tun_state(tap->fd, &state, err);

	if (r == 0)
		r = tun_unfilter(tap->fd, err);
	if (r == 0)
		r = tun_carrier(tap->fd, false, err);
	for (uint32_t q = 0; r == 0 && state.flags & IFF_MULTI_QUEUE && q < tap->queues; q++)
		r = tun_queue(tap->fd + (int)q, false, err);
	return r;
}

int taps_rest(struct ctx *ctx, const struct op_proc *op, struct err *err)
{
	int worst = 0;

	for (int i = 0; i < ctx->plan->n_steps; i++) {
		const struct op_tap *tap = tap_of(ctx, op, i);

		if (tap && tap->handoff == TAP_BY_FD && tap_rest(tap, err) < 0)
			worst = err_wrap(err, "%s", ctx_step(ctx, (uint32_t)i)->what);
	}
	return worst;
}

int taps_note(struct ctx *ctx, struct proc *proc, struct err *err)
{
	const struct op_proc *op = ctx_step(ctx, proc->step)->args;
	int n = 0;

	for (int i = 0; i < ctx->plan->n_steps; i++) {
		const struct op_tap *tap = tap_of(ctx, op, i);
		struct tun_state state;
		struct tap_kept *kept;

		if (!tap || tap->source == TAP_MADE)
			continue;
		kept = reallocarray(proc->kept, (size_t)n + 1, sizeof *kept);
		if (!kept)
			return err_sys(err, -ENOMEM, "no memory for a TAP");
		proc->kept = kept;
		kept[n].step = (uint32_t)i;
		if (tun_state(tap->fd, &state, err) < 0 ||
		    tun_mac_of(tap->fd, &kept[n].mac, err) < 0)
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

	if (r == 0)
		r = tun_unfilter(tap->fd, err);
	for (uint32_t q = 0; r == 0 && q < tap->queues; q++)
		r = tun_drain(tap->fd + (int)q, err);
	return r < 0 ? r : tun_mac(tap->fd, mac, err);
}

int taps_ready(struct ctx *ctx, const struct proc *proc, struct err *err)
{
	const struct op_proc *op = ctx_step(ctx, proc->step)->args;

	for (int i = 0; i < ctx->plan->n_steps; i++) {
		const struct op_tap *tap = tap_of(ctx, op, i);
		const struct tap_kept *kept = kept_of(proc, (uint32_t)i);
		int r = 0;

		if (!tap)
			continue;
		if (tap->handoff == TAP_BY_FD)
			r = tap_clean(tap, kept ? &kept->mac : &tap->mac, err);
		if (r == 0)
			r = tap_again(ctx, (uint32_t)i, kept ? kept->persist : tap->persist, err);
		if (r < 0)
			return err_wrap(err, "%s", ctx_step(ctx, (uint32_t)i)->what);
	}
	return 0;
}
