/* field.c - a mapping of the tree to a struct, by its table; see field.h and load.h. */
#include "model/field.h"

#include <errno.h>

#include "base/fd.h"
#include "model/load.h"

#define KEYS_SHOWN 12 /* a table with no more keys is listed in the error of an unknown one */

typedef int parse_fn(struct loader *loader, const struct field *field, const struct tnode *node,
		     void *value);

const struct field *field_find(const struct field *fields, const char *name)
{
	for (const struct field *field = fields; field && field->name; field++)
		if (str_eq(field->name, name))
			return field;
	return NULL;
}

int field_items(const struct tnode *const *node, const struct tnode *const **ret_items)
{
	if ((*node)->kind == TNODE_LIST) {
		*ret_items = (*node)->items;
		return (*node)->n;
	}
	*ret_items = node;
	return tnode_null(*node) ? 0 : 1;
}

static int parse_named(struct loader *loader, const struct field *field, const struct tnode *node,
		       void *value)
{
	struct element { /* what each of them begins with */
		const char *name;
		struct pos pos;
	};
	char *v;
	int r = 0, n = node->n;

	if (tnode_null(node))
		return 0;
	if (node->kind != TNODE_MAP)
		return load_error(loader, node->pos, "\"%s\" is a mapping of names", field->name);
	v = arena_calloc(loader->arena, (size_t)n, field->size);
	for (int i = 0; i < n; i++) {
		const struct tnode *key = node->pairs[i].key;
		struct element *element = (void *)(v + (size_t)i * field->size);
		const struct fieldset set = { field->fields, element };

		element->name = key->s;
		element->pos = key->pos;
		if (!name_fine(loader, key, "", NAME_MAX_LEN) ||
		    fields_parse(loader, &set, 1,
				 tree_long_form(loader, node->pairs[i].value, field->scalar), key))
			r = -EINVAL;
	}
	*(void **)value = v;
	*field_count(field, value) = n;
	return r;
}

static int parse_map(struct loader *loader, const struct field *field, const struct tnode *node,
		     void *value)
{
	const struct fieldset set = { field->fields, value };
	const struct tnode *map = tree_long_form(loader, node, field->scalar);

	if (map->kind != TNODE_MAP && map->kind != TNODE_BAD && !tnode_null(map))
		return load_error(loader, map->pos, "\"%s\" is a mapping of keys", field->name);
	return fields_parse(loader, &set, 1, map, node);
}

int parse_later(struct loader *loader, const struct field *field, const struct tnode *node,
		void *value)
{
	(void)loader, (void)field, (void)node, (void)value;
	return 0;
}

static parse_fn *const parsers[] = {
	[FIELD_STRING] = parse_string,	 [FIELD_TEXT] = parse_text,
	[FIELD_TEXTS] = parse_texts,	 [FIELD_PATH] = parse_text,
	[FIELD_BOOL] = parse_bool,	 [FIELD_UINT] = parse_uint,
	[FIELD_SIZE] = parse_size,	 [FIELD_DURATION] = parse_duration,
	[FIELD_CHOICE] = parse_choice,	 [FIELD_MAC] = parse_mac,
	[FIELD_COMMAND] = parse_command, [FIELD_COMMANDS] = parse_commands,
	[FIELD_PAIRS] = parse_pairs,	 [FIELD_MAP] = parse_map,
	[FIELD_NAMED] = parse_named,	 [FIELD_CUSTOM] = parse_later,
};

int field_parse(struct loader *loader, const struct field *field, const struct tnode *node,
		void *base)
{
	parse_fn *parse = field->parse ? field->parse : parsers[field->type];

	if (node->kind == TNODE_BAD)
		return -EINVAL;
	if (field->flags & FIELD_POS)
		*(struct pos *)(void *)((char *)base + field->pos_offset) = node->pos;
	return parse(loader, field, node, (char *)base + field->offset);
}

/* Words that are kept for later, wherever they stand. */
static bool field_reserved(const char *word)
{
	static const char *const words[] = { "ports", "timeline", "dummy",
					     "vxlan", "macvlan",  "bond" };

	for (size_t i = 0; i < COUNT(words); i++)
		if (str_eq(word, words[i]))
			return true;
	return false;
}

static const char *field_names(struct loader *loader, const struct fieldset *sets, int n_sets,
			       const char *word)
{
	autostr struct strbuf list = STRBUF_INIT;
	const char *names[128] = { NULL }, *near;
	size_t n = 0;

	for (int k = 0; k < n_sets; k++)
		for (const struct field *field = sets[k].fields;
		     field && field->name && n < COUNT(names); field++)
			names[n++] = field->name;
	near = load_nearest(loader, word, names, n);
	if (*near)
		return near;
	for (size_t i = 0; i < n && n <= KEYS_SHOWN; i++)
		strbuf_printf(&list, "%s%s", i ? ", " : "; known here: ", names[i]);
	return arena_text(loader->arena, &list);
}

int field_unknown(struct loader *loader, const struct fieldset *sets, int n_sets,
		  const struct tnode *key)
{
	const char *hint = hint_foreign(sets[0].fields, key->s);

	if (field_reserved(key->s))
		return load_error(loader, key->pos, "\"%s\" is not yet supported", key->s);
	if (!hint)
		return load_error(loader, key->pos, "unknown key \"%s\"%s", key->s,
				  field_names(loader, sets, n_sets, key->s));
	(void)load_error(loader, key->pos, "unknown key \"%s\"", key->s);
	diag_hint(loader->diags, "%s", hint);
	return -EINVAL;
}

/* The kind that a key belongs to, when it is one of another kind than the node's. */
static const struct node_kind *field_owner(const struct loader *loader, const char *key)
{
	for (int i = 0; loader->kinds->list[i]; i++)
		if (field_find(loader->kinds->list[i]->fields, key))
			return loader->kinds->list[i];
	return NULL;
}

/* A key of a node that its table and its kind's do not have. Defaults are for all kinds: what is
 * not for this one is passed over. */
static int field_of_other_kind(struct loader *loader, const struct fieldset *sets, int n_sets,
			       const struct tnode *key)
{
	const struct node_kind *owner = field_owner(loader, key->s), *kind = loader->node->kind;

	if (!owner)
		return field_unknown(loader, sets, n_sets, key);
	if (key->inherited)
		return 0;
	if (!kind)
		return -EINVAL; /* that is told already */
	return load_error(loader, key->pos, "\"%s\" belongs to kind: %s%s", key->s, owner->name,
			  owner->preset ? " and other presets" : "");
}

/* Keys that are only for guests, or only for namespaces. */
static bool field_applies(struct loader *loader, const struct field *field, const struct tnode *key,
			  int *r)
{
	const struct node *node = loader->node;

	if (!node || !node->kind)
		return true;
	if (node->kind->uses && field_find(node->kind->fields, key->s) == field &&
	    !node->kind->uses(node->kind, key->s)) {
		if (!key->inherited)
			*r = load_error(loader, key->pos, "%s does not use \"%s\"",
					node->kind->name, key->s);
		return false;
	}
	if (!(field->flags & (FIELD_GUEST | FIELD_NETNS)))
		return true;
	if (!!(field->flags & FIELD_GUEST) == node->kind->guest)
		return true;
	if (key->inherited)
		return false;
	if (node->kind->guest) {
		*r = load_error(loader, key->pos, "\"%s\" is not for guests, and %s is one", key->s,
				node->name);
	} else {
		*r = load_error(loader, key->pos, "\"%s\" is for guests, and %s is none", key->s,
				node->name);
		diag_hint(
			loader->diags,
			"exec: and services: run programs in a node; kind: guest makes it a guest");
	}
	return false;
}

static int fields_pair(struct loader *loader, const struct fieldset *sets, int n_sets,
		       const struct tpair *pair, uint64_t *seen)
{
	const struct tnode *key = pair->key;
	int r = 0;

	for (int k = 0; k < n_sets; k++) {
		const struct field *field = field_find(sets[k].fields, key->s);

		if (!field)
			continue;
		if (field->flags & FIELD_NOT_YET)
			return load_error(loader, key->pos, "\"%s\" is not yet supported", key->s);
		if (!field_applies(loader, field, key, &r))
			return r;
		if (tnode_null(pair->value))
			return 0; /* all defaults */
		seen[k] |= UINT64_C(1) << (field - sets[k].fields);
		return field_parse(loader, field, pair->value, sets[k].base);
	}
	if (sets[0].fields == vocab_node)
		return field_of_other_kind(loader, sets, n_sets, key);
	return field_unknown(loader, sets, n_sets, key);
}

/* Whether a preset is what a struct that was cleared holds already: most are. */
static bool field_is_zero(const struct field *field)
{
	return (field->type == FIELD_CHOICE && str_eq(field->preset, field->choices[0])) ||
	       (field->type == FIELD_BOOL && str_eq(field->preset, "false"));
}

/* A table with a required key is nothing without it. */
static bool field_has_required(const struct field *field)
{
	for (const struct field *nested = field->fields; nested->name; nested++)
		if (nested->flags & FIELD_REQUIRED)
			return true;
	return false;
}

/* What was not given: presets, those of nested tables too. at is NULL where nothing can be missing:
 * in a table that is not there itself, or has a wrong key that may have been meant. */
static int fields_preset(struct loader *loader, const struct fieldset *set, uint64_t seen,
			 const struct tnode *at)
{
	int r = 0;

	for (const struct field *field = set->fields; field && field->name; field++) {
		const struct tnode preset = { .s = field->preset };
		const struct fieldset nested = { field->fields, (char *)set->base + field->offset };

		if (field->flags & FIELD_NOT_YET || seen >> (field - set->fields) & 1)
			continue;
		if (at && field->flags & FIELD_REQUIRED)
			r = load_error(loader, at->pos, "\"%s\" is missing here", field->name);
		else if (field->preset && !field_is_zero(field))
			r = field_parse(loader, field, &preset, set->base);
		else if (field->type == FIELD_MAP && !field->parse && !field_has_required(field))
			r = fields_preset(loader, &nested, 0, NULL);
	}
	return r;
}

int fields_parse(struct loader *loader, const struct fieldset *sets, int n_sets,
		 const struct tnode *map, const struct tnode *at)
{
	uint64_t seen[2] = { 0 };
	int r = 0;

	if (map->kind == TNODE_BAD)
		return -EINVAL;
	if (map->kind != TNODE_MAP && !tnode_null(map)) {
		if (!at->s || at == map)
			return load_error(loader, map->pos, "a mapping of keys is due here");
		return load_error(loader, map->pos, "\"%s\" is a mapping of keys", at->s);
	}
	if (load_count(loader, &loader->values, map->n + 1, LOAD_VALUES_MAX, at->pos, "values"))
		return -EINVAL;
	for (int i = 0; map->kind == TNODE_MAP && i < map->n; i++)
		if (fields_pair(loader, sets, n_sets, &map->pairs[i], seen))
			r = -EINVAL;
	for (int k = 0; k < n_sets; k++)
		if (fields_preset(loader, &sets[k], seen[k], r ? NULL : at))
			r = -EINVAL;
	return r;
}
