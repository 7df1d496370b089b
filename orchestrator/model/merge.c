/* merge.c - defaults < group < node: mappings merge key by key, all else replaces; see load.h. */
#include <string.h>

#include "model/load.h"

#define MERGE_LINEAR 16

const struct tnode *tree_long_form(struct loader *loader, const struct tnode *node, const char *key)
{
	struct tnode *map, *name;

	if (!key || node->kind == TNODE_MAP || node->kind == TNODE_BAD || tnode_null(node))
		return node;
	name = arena_alloc(loader->arena, sizeof *name);
	*name = (struct tnode){ .pos = node->pos, .s = key };
	map = arena_alloc(loader->arena, sizeof *map);
	*map = (struct tnode){
		.kind = TNODE_MAP, .pos = node->pos, .dollar = node->dollar, .n = 1, .cap = 1
	};
	map->pairs = arena_alloc(loader->arena, sizeof *map->pairs);
	map->pairs[0] = (struct tpair){ .key = name, .value = node };
	return map;
}

/* Both of one key. names: the keys of the mapping below are names, each with a table of its own. */
static const struct tnode *merge_value(struct loader *loader, const struct tnode *under,
				       const struct tnode *over, const struct field *field)
{
	const struct field *fields = field ? field->fields : NULL;

	if (field && field->type == FIELD_MAP) {
		under = tree_long_form(loader, under, field->scalar);
		over = tree_long_form(loader, over, field->scalar);
	}
	if (field && field->type == FIELD_LIST)
		return over;
	if (field && field->type == FIELD_NAMED) {
		const struct field element[] = { { .name = "",
						   .type = FIELD_MAP,
						   .fields = fields,
						   .scalar = field->scalar },
						 { 0 } };

		return tree_merge(loader, under, over, element);
	}
	if (over->kind == TNODE_MAP || (tnode_null(over) && under->kind == TNODE_MAP))
		return tree_merge(loader, under, over, fields);
	return over;
}

/* Where the merged mapping has a key of `over` already, or -1. */
static int merge_find(const struct tnode *map, int n, const struct names *index, const char *key)
{
	const struct name_slot *slot;

	if (index->n) {
		slot = names_find(index, key);
		return slot ? (int)((struct tpair *)slot->thing - map->pairs) : -1;
	}
	for (int i = 0; i < n; i++)
		if (str_eq(map->pairs[i].key->s, key))
			return i;
	return -1;
}

const struct tnode *tree_merge(struct loader *loader, const struct tnode *under,
			       const struct tnode *over, const struct field *fields)
{
	bool named = fields && fields->name && !*fields->name; /* one table for all keys */
	struct names index = { 0 };
	struct tnode *map;
	int n;

	if (!under || under->kind != TNODE_MAP ||
	    (over && over->kind != TNODE_MAP && !tnode_null(over)))
		return over ? over : under;
	if (!over || over->kind != TNODE_MAP)
		return under;
	n = under->n;
	if (load_count(loader, &loader->values, n / 4, LOAD_VALUES_MAX, over->pos, "values"))
		return over;
	map = arena_memdup(loader->arena, over, sizeof *over);
	map->dollar |= under->dollar;
	map->pairs = arena_calloc(loader->arena, (size_t)n + (size_t)over->n, sizeof *map->pairs);
	memcpy(map->pairs, under->pairs, (size_t)n * sizeof *map->pairs);
	for (int i = 0; n > MERGE_LINEAR && i < n; i++)
		names_put(loader->arena, &index, map->pairs[i].key->s)->thing = &map->pairs[i];
	map->n = n;
	for (int i = 0; i < over->n; i++) {
		const struct tpair *pair = &over->pairs[i];
		int at = merge_find(map, n, &index, pair->key->s);

		if (at < 0) {
			map->pairs[map->n++] = *pair;
		} else {
			map->pairs[at].key = pair->key;
			map->pairs[at].value =
				merge_value(loader, map->pairs[at].value, pair->value,
					    named ? fields : field_find(fields, pair->key->s));
		}
	}
	map->cap = map->n;
	return map;
}
