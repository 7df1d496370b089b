/* fault.h - planted faults, in builds for tests only (meson -Dfaults=true).
 *
 * TAPNET_FAULT is a list of ACTION@STEP[+], separated by commas, at step number STEP (as `plan`
 * prints it): before its act, or with + after it. The actions: fail, kill-worker, kill-guardian,
 * kill-both; and leak, which is about the way down: the step is not undone, and what is open then
 * stays open in a process that is left. So the tests' own leak checks are tested.
 */
#ifndef TAPNET_RUN_FAULT_H
#define TAPNET_RUN_FAULT_H

#include <stdbool.h>

#include "base/err.h"
#include "run/journal.h"

#ifdef TAPNET_FAULTS
int fault_point(const struct journal *journal, uint32_t step, bool after, struct err *err);
bool fault_planned(void);
/* Is this step's undo to be left out? */
bool fault_leak(uint32_t step);
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
static inline bool fault_leak(uint32_t step)
{
	(void)step;
	return false;
}
#endif

#endif
