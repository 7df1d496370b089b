/* names.h - a hash table from names to things, on an arena: look-ups of a lab cost no search. */
#ifndef TAPNET_MODEL_NAMES_H
#define TAPNET_MODEL_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

struct name_slot {
	const char *name; /* NULL: free */
	void *thing;
	uint64_t hash;
};

/* All zero is an empty table. Names are kept by reference, things may be NULL. */
struct names {
	struct name_slot *v;
	unsigned n, cap;
};

struct name_slot *names_find(const struct names *names, const char *name); /* NULL: not there */
void *names_get(const struct names *names, const char *name);
/* The slot of name, added without a thing when it was not there. */
struct name_slot *names_put(struct arena *arena, struct names *names, const char *name);

#endif
