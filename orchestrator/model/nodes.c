/* nodes.c - bridges, nodes and links, from the tree to their structs; see load.h.
 *
 * A node is read once for each instance: defaults, groups and its own mapping are laid over each
 * other first, then ${…} is replaced, then its table is applied. The tree below is shared by all
 * instances; only what holds ${…} is copied.
 */
#include <errno.h>

#include "base/fd.h"
#include "model/load.h"

/* Nodes and bridges share one set of names. */
static bool nodes_taken(struct loader *loader, const struct tnode *key, const char *name)
{
	const struct node *node = names_get(loader->lab->node_index, name);
	const struct bridge *bridge = names_get(loader->lab->bridge_index, name);

	if (bridge)
		(void)load_error(loader, key->pos, "\"%s\" is a bridge already (line %d)", name,
				 bridge->pos.line);
	else if (node && node->pos.line == key->pos.line && node->pos.col == key->pos.col)
		(void)load_error(
			loader, key->pos,
			"all instances would be named \"%s\": put ${…} of for: in the name", name);
	else if (node)
		(void)load_error(loader, key->pos, "\"%s\" is a node already (line %d)", name,
				 node->pos.line);
	return bridge || node;
}

static void nodes_add_bridge(struct loader *loader, const struct tnode *key,
			     const struct tnode *value)
{
	struct lab *lab = loader->lab;
	struct bridge *bridge = arena_alloc(loader->arena, sizeof *bridge);
	const struct fieldset set = { vocab_bridge, bridge };

	if (key->dollar) {
		(void)load_error(loader, key->pos, "\"%s\": a bridge's name holds no ${…}", key->s);
		return;
	}
	bridge->name = key->s;
	bridge->pos = key->pos;
	bridge->order = lab->n_bridges;
	lab->bridges[lab->n_bridges++] = bridge;
	names_put(loader->arena, lab->bridge_index, key->s)->thing = bridge;
	value = tree_long_form(loader, expand_tree(loader, value), "subnet");
	bridge->broken = fields_parse(loader, &set, 1, value, key) != 0;
	(void)name_fine(loader, key, "", bridge->host.s ? NAME_MAX_LEN : NAME_DEVICE_MAX);
	if (bridge->host.s && bridge->stp)
		(void)load_error(loader, key->pos, "stp of the host's bridge %s is the host's",
				 bridge->host.s);
}

static const struct tnode *nodes_mapping(struct loader *loader, const char *name,
					 enum tnode_kind kind)
{
	const struct tnode *node = tnode_get(loader->root, name);

	if (!node || node->kind == TNODE_BAD || tnode_null(node))
		return NULL;
	if (node->kind == kind)
		return node;
	(void)load_error(loader, node->pos, "\"%s\" is a %s", name,
			 kind == TNODE_MAP ? "mapping of names"
					   : "list: each wire is an item, \"- [r1, r2]\"");
	return NULL;
}

static void nodes_load_bridges(struct loader *loader)
{
	const struct tnode *map = nodes_mapping(loader, "bridges", TNODE_MAP);

	if (!map)
		return;
	loader->lab->bridges = arena_calloc(loader->arena, (size_t)map->n, sizeof(struct bridge *));
	for (int i = 0; i < map->n && !diag_enough(loader->diags); i++)
		nodes_add_bridge(loader, map->pairs[i].key, map->pairs[i].value);
}

struct iface *nodes_add_iface(struct loader *loader, struct node *node, const struct tnode *name,
			      const struct tnode *spec)
{
	struct iface *iface = arena_alloc(loader->arena, sizeof *iface);
	const struct fieldset set = { vocab_iface, iface };
	const struct tnode nothing = { .s = "", .pos = name->pos };
	struct node *outer = loader->node;
	const char *outer_name = loader->scope.node;

	iface->name = name->s;
	iface->pos = name->pos;
	iface->node = node;
	(void)load_count(loader, &loader->ifaces, 1, LOAD_IFACES_MAX, name->pos, "interfaces");
	names_put(loader->arena, node->index, name->s)->thing = iface;
	*ARENA_PUSH(loader->arena, node->ifaces, node->n_ifaces, node->cap_ifaces) = iface;
	if (spec)
		spec = tree_long_form(loader, spec, "bridge");
	loader->node = node;
	loader->scope.node = node->name;
	spec = expand_tree(loader, tree_merge(loader, loader->defaults_iface, spec, vocab_iface));
	if (!name_fine(loader, name, ".", NAME_DEVICE_MAX) ||
	    fields_parse(loader, &set, 1, spec ? spec : &nothing, name))
		iface->broken = true;
	tap_check(loader, iface, spec);
	loader->node = outer;
	loader->scope.node = outer_name;
	if (str_eq(name->s, "all") || str_eq(name->s, "default"))
		(void)load_error(loader, name->pos, "the kernel keeps the name \"%s\" for itself",
				 name->s);
	if (str_eq(name->s, "lo") && node->kind && node->kind->guest)
		(void)load_error(loader, name->pos, "%s is a guest: its lo is its own", node->name);
	return iface;
}

int parse_interfaces(struct loader *loader, const struct field *field, const struct tnode *node,
		     void *value)
{
	int r = 0;

	(void)value;
	if (node->kind != TNODE_MAP)
		return load_error(loader, node->pos, "\"%s\" is a mapping of names to interfaces",
				  field->name);
	for (int i = 0; i < node->n; i++)
		if (nodes_add_iface(loader, loader->node, node->pairs[i].key, node->pairs[i].value)
			    ->broken)
			r = -EINVAL;
	return r;
}

/* The groups that a node takes, laid over the defaults, and the node over them. */
static const struct tnode *nodes_merge(struct loader *loader, const struct tnode *own)
{
	const struct tnode *merged = loader->defaults_node, *const * items;
	const struct tnode *group = tnode_get(own, "group");
	int n;

	if (!group && merged)
		group = tnode_get(merged, "group");
	group = expand_tree(loader, group);
	n = group ? field_items(&group, &items) : 0;
	for (int i = 0; i < n; i++) {
		struct name_slot *slot;

		if (items[i]->kind == TNODE_BAD)
			continue;
		slot = items[i]->s ? names_find(&loader->groups, items[i]->s) : NULL;
		if (slot)
			merged = tree_merge(loader, merged, ((struct tpair *)slot->thing)->value,
					    vocab_node);
		else if (!items[i]->s)
			(void)load_error(loader, items[i]->pos,
					 "\"group\" is a group's name, or a list of them");
		else
			(void)load_error(
				loader, items[i]->pos, "no group \"%s\"%s",
				load_shown(loader, items[i]->s),
				load_nearest_of(loader, items[i]->s, &loader->groups, NULL));
	}
	return tree_merge(loader, merged, own, vocab_node);
}

/* A preset is read once, whatever number of nodes are of its kind. */
static int nodes_open_kind(struct loader *loader, const char *name,
			   const struct node_kind **ret_kind)
{
	struct opened {
		const struct node_kind *kind;
		int r;
	} * opened;
	struct name_slot *slot = names_put(loader->arena, &loader->opened, name);

	if (!slot->thing) {
		slot->thing = opened = arena_alloc(loader->arena, sizeof *opened);
		opened->r = loader->kinds->open(loader->lab, name, loader->diags, &opened->kind);
	}
	opened = slot->thing;
	*ret_kind = opened->kind;
	return opened->r;
}

static const struct node_kind *nodes_kind(struct loader *loader, const struct text *name)
{
	const struct node_kind *const *list = loader->kinds->list, *kind = NULL;
	const char *names[32], *hint;
	size_t n = 0;

	for (; n < COUNT(names) && list[n]; n++) {
		names[n] = list[n]->name;
		if (str_eq(names[n], name->s))
			kind = list[n];
	}
	if ((!kind || kind->preset) && loader->kinds->open &&
	    nodes_open_kind(loader, name->s, &kind))
		return NULL;
	if (kind)
		return kind;
	hint = hint_kind(name->s);
	(void)load_error(loader, name->pos, "no kind \"%s\"%s", load_shown(loader, name->s),
			 hint ? "" : load_nearest(loader, name->s, names, n));
	if (hint)
		diag_hint(loader->diags, "%s", hint);
	else if (loader->kinds->open)
		diag_hint(loader->diags,
			  "one of your own is a file presets/NAME.yaml beside the lab");
	return NULL;
}

/* The kind comes first: it says which keys there are. */
static void nodes_read_kind(struct loader *loader, struct node *node, const struct tnode *map)
{
	const struct tnode *kind = tnode_get(map, "kind");
	const struct field *field = field_find(vocab_node, "kind");

	node->kind_name = (struct text){ .s = "netns", .pos = node->pos };
	if (kind && !tnode_null(kind)) {
		if (kind->kind == TNODE_BAD || parse_text(loader, field, kind, &node->kind_name))
			return;
	}
	node->kind = nodes_kind(loader, &node->kind_name);
	if (node->kind && node->kind->spec_size)
		node->spec = arena_alloc(loader->arena, node->kind->spec_size);
}

/* One node, or one instance of it. */
static void nodes_add(struct loader *loader, const struct tnode *key, const struct tnode *value)
{
	const struct tnode *name = expand_tree(loader, key), *map;
	struct lab *lab = loader->lab;
	struct node *node;

	if (name->kind == TNODE_BAD || nodes_taken(loader, name, name->s) ||
	    load_count(loader, &loader->things, 1, LOAD_THINGS_MAX, key->pos, "nodes and links"))
		return;
	if (loader->scope.n)
		loader->diags->instance = name->s;
	node = arena_alloc(loader->arena, sizeof *node);
	node->name = name->s;
	node->pos = key->pos;
	node->order = lab->n_nodes;
	node->repeated = loader->scope.n > 0;
	node->index = arena_alloc(loader->arena, sizeof *node->index);
	names_put(loader->arena, lab->node_index, node->name)->thing = node;
	*ARENA_PUSH(loader->arena, lab->nodes, lab->n_nodes, loader->cap_nodes) = node;
	(void)name_fine(loader, name, "", NAME_MAX_LEN);
	loader->scope.node = node->name;
	map = expand_tree(loader, nodes_merge(loader, value));
	loader->node = node;
	nodes_read_kind(loader, node, map);
	const struct fieldset sets[] = { { vocab_node, node },
					 { node->kind ? node->kind->fields : NULL, node->spec } };
	node->broken = fields_parse(loader, sets, 2, map, name) != 0 || !node->kind;
	loader->node = NULL;
	loader->scope.node = NULL;
}

static void nodes_load_nodes(struct loader *loader)
{
	const struct tnode *map = nodes_mapping(loader, "nodes", TNODE_MAP);

	for (int i = 0; map && i < map->n && !loader->full && !diag_enough(loader->diags); i++) {
		const struct tnode *key = map->pairs[i].key, *value = map->pairs[i].value;

		if (key->dollar && value->kind != TNODE_BAD && !tnode_get(value, "for")) {
			(void)load_error(loader, key->pos, "\"%s\" needs for: in its mapping",
					 key->s);
			diag_hint(loader->diags, "for: {i: 1-3} makes three of it");
			continue;
		}
		loop_each(loader, key, value, nodes_add);
	}
}

static void nodes_add_link(struct loader *loader, const struct tnode *key,
			   const struct tnode *value)
{
	struct link *link = arena_alloc(loader->arena, sizeof *link);
	const struct fieldset set = { vocab_link, link };
	struct lab *lab = loader->lab;

	if (load_count(loader, &loader->things, 1, LOAD_THINGS_MAX, key->pos, "nodes and links"))
		return;
	link->pos = key->pos;
	link->instance = loader->diags->instance;
	value = expand_tree(loader, tree_merge(loader, loader->defaults_link, value, vocab_link));
	if (fields_parse(loader, &set, 1, value, key) && !link->n_endpoints)
		return;
	link->order = lab->n_links;
	*ARENA_PUSH(loader->arena, lab->links, lab->n_links, loader->cap_links) = link;
}

static void nodes_load_links(struct loader *loader)
{
	const struct tnode *list = nodes_mapping(loader, "links", TNODE_LIST);

	for (int i = 0; list && i < list->n && !loader->full && !diag_enough(loader->diags); i++) {
		const struct tnode *item = list->items[i];

		if (item->kind != TNODE_BAD)
			loop_each(loader, item, tree_long_form(loader, item, "endpoints"),
				  nodes_add_link);
	}
}

/* Keys of what may be laid under nothing: values are read where they are used. */
static void nodes_check_keys(struct loader *loader, const struct tnode *map,
			     const struct field *fields)
{
	const struct fieldset set = { fields, NULL };

	for (int i = 0; map && map->kind == TNODE_MAP && i < map->n; i++) {
		const struct tnode *key = map->pairs[i].key;
		bool known = field_find(fields, key->s) != NULL;

		for (int k = 0; !known && fields == vocab_node && loader->kinds->list[k]; k++)
			known = field_find(loader->kinds->list[k]->fields, key->s) != NULL;
		if (!known)
			(void)field_unknown(loader, &set, 1, key);
	}
}

/* A copy of a mapping with its keys, and those of mappings in it, marked as those of defaults. */
static struct tnode *nodes_inherited(struct loader *loader, const struct tnode *given)
{
	struct tnode *map = arena_memdup(loader->arena, given, sizeof *given);
	struct tnode *keys = arena_calloc(loader->arena, (size_t)given->n, sizeof *keys);

	map->pairs =
		arena_memdup(loader->arena, given->pairs, (size_t)given->n * sizeof *given->pairs);
	for (int i = 0; i < map->n; i++) {
		keys[i] = *given->pairs[i].key;
		keys[i].inherited = true;
		map->pairs[i].key = &keys[i];
		if (map->pairs[i].value->kind == TNODE_MAP)
			map->pairs[i].value = nodes_inherited(loader, map->pairs[i].value);
	}
	return map;
}

static const struct tnode *nodes_default(struct loader *loader, const struct tnode *defaults,
					 const struct field *field)
{
	const struct tnode *given = tnode_get(defaults, field->name);

	if (!given || given->kind == TNODE_BAD || tnode_null(given))
		return NULL;
	if (given->kind != TNODE_MAP) {
		(void)load_error(loader, given->pos, "\"%s\" is a mapping of keys", field->name);
		return NULL;
	}
	nodes_check_keys(loader, given, field->fields);
	return nodes_inherited(loader, given);
}

static void nodes_load_defaults(struct loader *loader)
{
	const struct tnode *defaults = nodes_mapping(loader, "defaults", TNODE_MAP);
	const struct tnode *groups = nodes_mapping(loader, "groups", TNODE_MAP);

	if (defaults) {
		nodes_check_keys(loader, defaults, vocab_defaults);
		loader->defaults_node =
			nodes_default(loader, defaults, field_find(vocab_defaults, "node"));
		loader->defaults_iface =
			nodes_default(loader, defaults, field_find(vocab_defaults, "interface"));
		loader->defaults_link =
			nodes_default(loader, defaults, field_find(vocab_defaults, "link"));
	}
	for (int i = 0; groups && i < groups->n; i++) {
		const struct tnode *key = groups->pairs[i].key;
		const struct tnode *value = groups->pairs[i].value;

		names_put(loader->arena, &loader->groups, key->s)->thing = &groups->pairs[i];
		if (value->kind != TNODE_MAP && value->kind != TNODE_BAD && !tnode_null(value))
			(void)load_error(loader, value->pos,
					 "the group \"%s\" is a mapping of a node's keys", key->s);
		nodes_check_keys(loader, value, vocab_node);
		if (tnode_get(value, "for") || tnode_get(value, "group"))
			(void)load_error(loader, key->pos,
					 "the group \"%s\" cannot have for: or group:", key->s);
	}
}

void nodes_load(struct loader *loader)
{
	nodes_load_defaults(loader);
	nodes_load_bridges(loader);
	nodes_load_nodes(loader);
	nodes_load_links(loader);
	loader->diags->instance = NULL;
}
