/* fuzz_journal.c - any bytes as the plan of a journal: a plan within its own bounds, or refused. */
#include <stdint.h>

#include "plan/plan.h"
#include "fuzz.h"

void judge(const uint8_t *data, size_t size)
{
	struct arena arena = ARENA_NONE;
	struct assume assume = { .kvm.known = true, .vhost.known = true };
	struct strbuf out autostr = STRBUF_INIT;
	struct plan *plan;
	struct err err;

	if (arena_init(&arena, (size_t)512 << 20, &err) < 0)
		return;
	if (plan_decode(&arena, (const char *)data, size, &plan) == 0)
		plan_print(plan, &assume, &out);
	arena_free(&arena);
}
