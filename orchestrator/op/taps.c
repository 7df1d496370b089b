/* taps.c - see taps.h. */
#include "op/taps.h"

#include <linux/if.h>
#include <linux/if_tun.h>

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

/* What waits is thrown away while the cable is still out: what comes then is for the next one. */
static int tap_clean(const struct op_tap *tap, struct err *err)
{
	struct tun_state state;
	int r = tun_state(tap->fd, &state, err);

	if (r == 0)
		r = tun_unfilter(tap->fd, err);
	for (uint32_t q = 0; r == 0 && q < tap->queues; q++)
		r = tun_drain(tap->fd + (int)q, err);
	if (r == 0 && tap->source == TAP_MADE)
		r = tun_mac(tap->fd, &tap->mac, err);
	return r;
}

int taps_ready(struct ctx *ctx, const struct op_proc *op, struct err *err)
{
	for (int i = 0; i < ctx->plan->n_steps; i++) {
		const struct op_tap *tap = tap_of(ctx, op, i);
		int r = tap && tap->handoff == TAP_BY_FD ? tap_clean(tap, err) : 0;

		if (tap && r == 0)
			r = tap_again(ctx, (uint32_t)i, err);
		if (r < 0)
			return err_wrap(err, "%s", ctx_step(ctx, (uint32_t)i)->what);
	}
	return 0;
}
