/* executor.h - carries out a plan, step by step or a batch at once, and writes the journal for it. */
#ifndef TAPNET_RUN_EXECUTOR_H
#define TAPNET_RUN_EXECUTOR_H

#include "op/op.h"
#include "run/journal.h"

struct executor {
	struct ctx *ctx;
	struct journal *journal;
	/* Called before the first step and after each group of them: how many are done. A negative
	 * value ends the way up. */
	int (*progress)(struct executor *executor, uint32_t done);
	/* A guest or service runs now. */
	void (*started)(struct executor *executor, uint32_t step);
	void *owner;
};

/* Carries out all steps. 0, or -errno with err saying what failed where; what was done before stays
 * as the journal says, for the teardown. */
int executor_run(struct executor *executor, struct err *err);

#endif
