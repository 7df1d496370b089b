/* fault.h - planted faults, in builds for tests only (meson -Dfaults=true).
 *
 * TAPNET_FAULT is a list of ACTION@STEP[+], separated by commas: fail, kill-worker, kill-guardian,
 * kill-both, at step number STEP (as `plan` prints it): before its act, or with + after it.
 */
#ifndef TAPNET_RUN_FAULT_H
#define TAPNET_RUN_FAULT_H

#include <stdbool.h>

#include "base/err.h"
#include "run/journal.h"

#ifdef TAPNET_FAULTS
int fault_point(const struct journal *journal, uint32_t step, bool after, struct err *err);
bool fault_planned(void);
#else
static inline int fault_point(const struct journal *journal, uint32_t step, bool after,
			      struct err *err)
{
	(void)journal;
	(void)step;
	(void)after;
	(void)err;
	return 0;
}
static inline bool fault_planned(void)
{
	return false;
}
#endif

#endif
