/* names.c - see names.h. Open addressing, at most half full. */
#include "model/names.h"

#include <stddef.h>

#include "base/str.h"

#define NAMES_FIRST 4u

static struct name_slot *names_slot(const struct names *names, const char *name, uint64_t hash)
{
	unsigned mask = names->cap - 1, i = (unsigned)(hash ^ hash >> 32) & mask;

	while (names->v[i].name && (names->v[i].hash != hash || !str_eq(names->v[i].name, name)))
		i = (i + 1) & mask;
	return &names->v[i];
}

struct name_slot *names_find(const struct names *names, const char *name)
{
	struct name_slot *slot;

	if (!names->n)
		return NULL;
	slot = names_slot(names, name, str_hash(STR_HASH_INIT, name));
	return slot->name ? slot : NULL;
}

void *names_get(const struct names *names, const char *name)
{
	struct name_slot *slot = names_find(names, name);

	return slot ? slot->thing : NULL;
}

static void names_grow(struct arena *arena, struct names *names)
{
	struct names more = { .n = names->n, .cap = names->cap ? names->cap * 2 : NAMES_FIRST };

	more.v = arena_calloc(arena, more.cap, sizeof *more.v);
	for (unsigned i = 0; i < names->cap; i++)
		if (names->v[i].name)
			*names_slot(&more, names->v[i].name, names->v[i].hash) = names->v[i];
	*names = more;
}

struct name_slot *names_put(struct arena *arena, struct names *names, const char *name)
{
	uint64_t hash = str_hash(STR_HASH_INIT, name);
	struct name_slot *slot;

	if (names->n * 2 >= names->cap)
		names_grow(arena, names);
	slot = names_slot(names, name, hash);
	if (!slot->name) {
		*slot = (struct name_slot){ .name = name, .hash = hash };
		names->n++;
	}
	return slot;
}
