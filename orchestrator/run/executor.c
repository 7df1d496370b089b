/* executor.c - see executor.h.
 *
 * A slot's intent is stored before its act. What comes back clean (the kernel refused, the program
 * could not start) disarms the slot; what is uncertain leaves it armed, since an undo that finds
 * nothing is fine, and one that never runs is a leak.
 */
#include "run/executor.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/io.h"
#include "run/fault.h"

#define BATCH_MS   8000 /* a batch of the kernel's slowest messages is done well within this */
#define STARTS_MAX 64	/* programs started before the first is waited for */

static int step_failed(struct executor *executor, uint32_t i, struct err *err)
{
	const struct step *step = ctx_step(executor->ctx, i);

	err_at(err, step->line, step->col);
	return err_wrap(err, "%s", step->what);
}

/* ---- batches */

/* Steps from i on that go to the kernel in one datagram; encodes them. */
static uint32_t batch_fill(struct executor *executor, uint32_t i)
{
	struct ctx *ctx = executor->ctx;
	uint32_t n = 0, space = ctx_step(ctx, i)->space;

	while (i + n < (uint32_t)ctx->plan->n_steps) {
		const struct step *step = ctx_step(ctx, i + n);

		if (!op_of(step)->encode || step->space != space || !nlb_room(&ctx->batch) ||
		    (n && fault_planned()))
			break;
		slot_set(&ctx->slots[i + n], SLOT_INTENT);
		op_of(step)->encode(ctx, i + n, &ctx->batch);
		n++;
	}
	return n;
}

static int outcome_failed(struct executor *executor, const struct nlb_outcome *outcome,
			  struct err *err)
{
	const struct step *step = ctx_step(executor->ctx, outcome->tag);
	struct strbuf what autostr = STRBUF_INIT;
	struct strbuf words autostr = STRBUF_INIT;

	op_of(step)->describe(executor->ctx->plan, step, &what);
	strbuf_safe(&words, outcome->words, strlen(outcome->words));
	if (outcome->code == -EIO)
		err_set(err, -EIO, "%s: the kernel's answer was lost", what.text);
	else if (words.len)
		err_set(err, outcome->code, "%s: %s (%s)", what.text, strerror(-outcome->code),
			words.text);
	else
		err_sys(err, outcome->code, "%s", what.text);
	return step_failed(executor, outcome->tag, err);
}

static int batch_run(struct executor *executor, uint32_t i, uint32_t *ret_n, struct err *err)
{
	struct ctx *ctx = executor->ctx;
	int nl = ctx_nl(ctx, ctx_step(ctx, i)->space, err), r;
	uint32_t n = 0;
	unsigned sent;
	bool failed = false;

	if (nl < 0)
		return step_failed(executor, i, err);
	r = fault_point(executor->journal, i, false, err);
	if (r < 0)
		return step_failed(executor, i, err);
	n = batch_fill(executor, i);
	sent = ctx->batch.n;
	r = nlb_flush(&ctx->batch, nl, io_now_ms() + BATCH_MS, err);
	for (uint32_t k = 0; k < n; k++)
		slot_set(&ctx->slots[i + k], SLOT_DONE);
	for (unsigned k = 0; k < sent; k++) {
		const struct nlb_outcome *outcome = &ctx->batch.out[k];

		if (outcome->code && outcome->code != -EIO)
			slot_set(&ctx->slots[outcome->tag], SLOT_FAILED);
		if (outcome->code && !failed) {
			failed = true;
			r = outcome_failed(executor, outcome, err);
		}
	}
	if (r < 0 && !failed)
		r = step_failed(executor, i, err);
	*ret_n = n;
	if (r == 0)
		r = fault_point(executor->journal, i, true, err) < 0 ? step_failed(executor, i, err)
								     : 0;
	return r;
}

/* ---- programs: all are started before the first is waited for */

/* A guest that is not needed to be ready for a later one starts together with it. */
static int starts_run(struct executor *executor, uint32_t i, uint32_t *ret_n, struct err *err)
{
	struct ctx *ctx = executor->ctx;
	struct spawned spawned[STARTS_MAX];
	const struct op *op = op_of(ctx_step(ctx, i));
	uint32_t n = 0, done = 0;
	int r = 0;

	ctx_leave(ctx);
	while (r == 0 && n < STARTS_MAX && i + n < (uint32_t)ctx->plan->n_steps &&
	       op_of(ctx_step(ctx, i + n)) == op) {
		r = fault_point(executor->journal, i + n, false, err);
		if (r < 0)
			break;
		slot_set(&ctx->slots[i + n], SLOT_INTENT);
		spawned[n] = SPAWNED_NONE;
		r = op->start(ctx, i + n, &spawned[n], err);
		if (r == 0)
			n++;
	}
	if (r < 0)
		step_failed(executor, i + n, err);
	for (; done < n; done++) {
		struct err late;
		int code = op->finish(ctx, i + done, &spawned[done], &late);

		if (code == 0) {
			slot_set(&ctx->slots[i + done], SLOT_DONE);
			if (executor->started && ctx_step(ctx, i + done)->op == OP_PROC)
				executor->started(executor, i + done);
			code = fault_point(executor->journal, i + done, true, &late);
		}
		if (code < 0 && r == 0) {
			*err = late;
			r = step_failed(executor, i + done, err);
		}
	}
	*ret_n = n;
	return r;
}

/* ---- all else */

static int apply_run(struct executor *executor, uint32_t i, struct err *err)
{
	struct ctx *ctx = executor->ctx;
	const struct op *op = op_of(ctx_step(ctx, i));
	int r = fault_point(executor->journal, i, false, err);

	if (r < 0)
		return step_failed(executor, i, err);
	slot_set(&ctx->slots[i], SLOT_INTENT);
	r = op->apply(ctx, i, err);
	if (r < 0) {
		/* -EIO: nobody knows; an ifindex: there is a device in the host */
		if (r != -ECANCELED && r != -EIO && !ctx->slots[i].ifindex)
			slot_set(&ctx->slots[i], SLOT_FAILED);
		return step_failed(executor, i, err);
	}
	slot_set(&ctx->slots[i], SLOT_DONE);
	return fault_point(executor->journal, i, true, err) < 0 ? step_failed(executor, i, err) : 0;
}

static int told(struct executor *executor, uint32_t done, struct err *err)
{
	if (executor->progress && executor->progress(executor, done) < 0)
		return err_set(err, -ECANCELED, "given up");
	return 0;
}

int executor_run(struct executor *executor, struct err *err)
{
	struct ctx *ctx = executor->ctx;
	uint32_t n = (uint32_t)ctx->plan->n_steps;
	int r = told(executor, 0, err);

	for (uint32_t i = 0, did; i < n && r == 0; i += did) {
		const struct op *op = op_of(ctx_step(ctx, i));

		did = 1;
		if (op->encode)
			r = batch_run(executor, i, &did, err);
		else if (op->start)
			r = starts_run(executor, i, &did, err);
		else
			r = apply_run(executor, i, err);
		journal_keep(executor->journal, r < 0 ? 0 : i, r < 0 ? n : did);
		if (r == 0)
			r = told(executor, i + did, err);
		if (r == 0 && io_now_ms() > ctx->deadline)
			r = err_set(err, -ETIMEDOUT, "the lab was not up in time (--timeout)");
	}
	ctx_leave(ctx);
	return r;
}
