/* plan.h - from the Lab to the plan: everything that `up` will do, before anything is made.
 *
 * The same file, options and assumptions give the same bytes on any machine.
 */
#ifndef TAPNET_PLAN_PLAN_H
#define TAPNET_PLAN_PLAN_H

#include "kind/planner.h"

/* Makes the plan of a lab on the arena. 0, or -EINVAL with what is wrong in diags. */
int plan_make(struct arena *arena, const struct lab *lab, struct assume *assume,
	      struct diags *diags, struct plan **ret_plan);

/* assign.c: devices and bridges with their names, indexes, MACs and fds. */
void plan_assign(struct planner *planner);
/* address.c: subnets, addresses, gateways. */
void plan_address(struct planner *planner);

/* print.c */
struct plan_totals {
	int steps, messages, processes;
};
struct plan_totals plan_count(const struct plan *plan);
void plan_print(const struct plan *plan, const struct assume *assume, struct strbuf *out);
int plan_print_json(const struct plan *plan, const struct assume *assume, struct strbuf *out);

#endif
