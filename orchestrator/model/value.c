/* value.c - scalars and commands of each type; see field.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/load.h"

/* What goes into an error of a long value. */
const char *load_shown(struct loader *loader, const char *s)
{
	size_t n = 40;

	if (strlen(s) <= n)
		return s;
	while (n && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--;
	return arena_printf(loader->arena, "%.*s…", (int)n, s);
}

/* Keeps a string that the plan fills in for the check of its names; an error where none may be. */
static int value_late(struct loader *loader, const struct field *field, const struct tnode *node)
{
	const char *open = strchr(node->s, LATE_OPEN), *close;

	if (!open)
		return 0;
	if (!(field->flags & FIELD_LATE)) {
		close = strchr(open, LATE_CLOSE);
		(void)load_error(loader, node->pos,
				 "\"${%.*s}\" is known to the plan only: \"%s\" cannot hold it",
				 (int)(close - open - 1), open + 1, field->name);
		diag_hint(loader->diags, "commands, env and the like can");
		return -EINVAL;
	}
	*ARENA_PUSH(loader->arena, loader->lates, loader->n_lates, loader->cap_lates) =
		(struct late){ .s = node->s, .from = node, .node = loader->node };
	return 0;
}

const char *field_scalar(struct loader *loader, const struct field *field, const struct tnode *node)
{
	if (node->kind == TNODE_BAD)
		return NULL;
	if (node->kind != TNODE_SCALAR) {
		(void)load_error(loader, node->pos, "\"%s\" takes one value, not a %s", field->name,
				 node->kind == TNODE_LIST ? "list" : "mapping");
		return NULL;
	}
	return value_late(loader, field, node) ? NULL : node->s;
}

int parse_string(struct loader *loader, const struct field *field, const struct tnode *node,
		 void *value)
{
	const char *s = field_scalar(loader, field, node);

	if (!s)
		return -EINVAL;
	*(const char **)value = s;
	return 0;
}

int parse_text(struct loader *loader, const struct field *field, const struct tnode *node,
	       void *value)
{
	const char *s = field_scalar(loader, field, node);

	if (!s)
		return -EINVAL;
	if (!*s)
		return load_error(loader, node->pos, "\"%s\" is empty", field->name);
	*(struct text *)value = (struct text){ .s = s, .pos = node->pos };
	return 0;
}

int parse_texts(struct loader *loader, const struct field *field, const struct tnode *node,
		void *value)
{
	const struct tnode *const *items;
	int n = field_items(&node, &items), r = 0;
	struct text *v = arena_calloc(loader->arena, (size_t)n, sizeof *v);

	if (load_count(loader, &loader->values, n, LOAD_VALUES_MAX, node->pos, "values"))
		return -EINVAL;
	for (int i = 0; i < n; i++)
		if (parse_text(loader, field, items[i], &v[i]))
			r = -EINVAL;
	*(struct text **)value = v;
	*field_count(field, value) = r ? 0 : n;
	return r;
}

/* true, on, yes are one, and so are false, off, no. 1, 0 or -1. */
static int value_truth(const char *s)
{
	static const char *const words[][3] = { { "false", "off", "no" }, { "true", "on", "yes" } };

	for (int truth = 0; truth < 2; truth++)
		for (int i = 0; i < 3; i++)
			if (strcasecmp(s, words[truth][i]) == 0)
				return truth;
	return -1;
}

int parse_bool(struct loader *loader, const struct field *field, const struct tnode *node,
	       void *value)
{
	const char *s = field_scalar(loader, field, node);
	int truth = s ? value_truth(s) : -1;

	if (!s)
		return -EINVAL;
	if (truth < 0)
		return load_error(loader, node->pos, "\"%s\" is true or false, not \"%s\"",
				  field->name, load_shown(loader, s));
	*(bool *)value = truth;
	return 0;
}

int parse_uint(struct loader *loader, const struct field *field, const struct tnode *node,
	       void *value)
{
	const char *s = field_scalar(loader, field, node);
	uint64_t max = field->max ? field->max : UINT32_MAX, n;

	if (!s)
		return -EINVAL;
	n = strtoull(s, NULL, 10);
	if (!*s || strspn(s, "0123456789") != strlen(s) || strlen(s) > 18 || n < field->min ||
	    n > max) {
		if (field->max)
			return load_error(loader, node->pos,
					  "\"%s\" is a number from %llu to %llu, not \"%s\"",
					  field->name, (unsigned long long)field->min,
					  (unsigned long long)max, load_shown(loader, s));
		return load_error(loader, node->pos, "\"%s\" is a whole number, not \"%s\"",
				  field->name, load_shown(loader, s));
	}
	*(unsigned *)value = (unsigned)n;
	return 0;
}

/* A number with one of the units, each worth so much. false when it is none, or too much. */
struct unit {
	const char *name;
	uint64_t worth;
};

static bool value_units(const char *s, const struct unit *units, uint64_t *ret)
{
	size_t digits = strspn(s, "0123456789");
	uint64_t n = strtoull(s, NULL, 10);

	if (!digits || digits > 12)
		return false;
	for (; units->name; units++) {
		if (strcasecmp(s + digits, units->name) != 0)
			continue;
		if (n > UINT64_MAX / units->worth)
			return false;
		*ret = n * units->worth;
		return true;
	}
	return false;
}

int parse_size(struct loader *loader, const struct field *field, const struct tnode *node,
	       void *value)
{
	static const struct unit units[] = { { "", 1 },
					     { "K", UINT64_C(1) << 10 },
					     { "M", UINT64_C(1) << 20 },
					     { "G", UINT64_C(1) << 30 },
					     { "T", UINT64_C(1) << 40 },
					     { "KiB", UINT64_C(1) << 10 },
					     { "MiB", UINT64_C(1) << 20 },
					     { "GiB", UINT64_C(1) << 30 },
					     { NULL, 0 } };
	const char *s = field_scalar(loader, field, node);
	uint64_t n;

	if (!s)
		return -EINVAL;
	if (!value_units(s, units, &n) || n < field->min || (field->max && n > field->max))
		return load_error(loader, node->pos, "\"%s\" is a size such as 512M, not \"%s\"",
				  field->name, load_shown(loader, s));
	*(uint64_t *)value = n;
	return 0;
}

int parse_duration(struct loader *loader, const struct field *field, const struct tnode *node,
		   void *value)
{
	static const struct unit units[] = { { "ms", 1 },    { "s", 1000 },    { "", 1000 },
					     { "m", 60000 }, { "min", 60000 }, { "h", 3600000 },
					     { NULL, 0 } };
	const char *s = field_scalar(loader, field, node);
	uint64_t n;

	if (!s)
		return -EINVAL;
	if (!value_units(s, units, &n) || n > INT32_MAX || n < field->min ||
	    (field->max && n > field->max))
		return load_error(loader, node->pos,
				  "\"%s\" is a time such as 10s or 500ms, not \"%s\"", field->name,
				  load_shown(loader, s));
	*(unsigned *)value = (unsigned)n;
	return 0;
}

static const char *value_choices(struct loader *loader, const struct field *field)
{
	autostr struct strbuf list = STRBUF_INIT;

	for (int i = 0; field->choices[i]; i++)
		strbuf_printf(&list, "%s%s",
			      !i		      ? ""
			      : field->choices[i + 1] ? ", "
						      : " or ",
			      field->choices[i]);
	return arena_text(loader->arena, &list);
}

/* A word, or what is the same as it: false serves where a choice has off or no. */
static bool value_is_choice(const char *s, const char *choice)
{
	int truth = value_truth(s);

	return str_eq(s, choice) || (truth >= 0 && truth == value_truth(choice));
}

int parse_choice(struct loader *loader, const struct field *field, const struct tnode *node,
		 void *value)
{
	const char *s = field_scalar(loader, field, node);

	if (!s)
		return -EINVAL;
	for (int i = 0; field->choices[i]; i++) {
		if (value_is_choice(s, field->choices[i])) {
			*(int *)value = i;
			return 0;
		}
	}
	return load_error(loader, node->pos, "\"%s\" is %s, not \"%s\"", field->name,
			  value_choices(loader, field), load_shown(loader, s));
}

int parse_mac(struct loader *loader, const struct field *field, const struct tnode *node,
	      void *value)
{
	const char *s = field_scalar(loader, field, node);
	struct mac mac;

	if (!s)
		return -EINVAL;
	if (!mac_parse(s, &mac))
		return load_error(loader, node->pos,
				  "\"%s\" is an address such as 02:00:00:00:00:01, not \"%s\"",
				  field->name, load_shown(loader, s));
	if (mac.b[0] & 1) {
		(void)load_error(loader, node->pos, "%s is a multicast address", s);
		diag_hint(loader->diags,
			  "the first byte of a device's address is even: 02 is free to use");
		return -EINVAL;
	}
	if (!memcmp(&mac, &(struct mac){ 0 }, sizeof mac))
		return load_error(loader, node->pos, "%s is no device's address", s);
	*(struct mac *)value = mac;
	return 0;
}

static int command_shell(struct loader *loader, const struct tnode *node,
			 struct command *ret_command)
{
	struct text *argv = arena_calloc(loader->arena, 3, sizeof *argv);

	argv[0] = (struct text){ "/bin/sh", node->pos };
	argv[1] = (struct text){ "-c", node->pos };
	argv[2] = (struct text){ node->s, node->pos };
	*ret_command = (struct command){ .argv = argv, .argc = 3, .shell = true, .pos = node->pos };
	return 0;
}

int field_command(struct loader *loader, const struct field *field, const struct tnode *node,
		  struct command *ret_command)
{
	struct text *argv;

	if (node->kind == TNODE_BAD)
		return -EINVAL;
	if (node->kind == TNODE_MAP || (node->kind == TNODE_LIST && !node->n))
		return load_error(loader, node->pos,
				  "\"%s\" is a command: a string, or a list of words", field->name);
	if (node->kind == TNODE_SCALAR && !*node->s)
		return load_error(loader, node->pos, "\"%s\" is an empty command", field->name);
	if (node->kind == TNODE_SCALAR)
		return value_late(loader, field, node) ? -EINVAL
						       : command_shell(loader, node, ret_command);
	if (load_count(loader, &loader->values, node->n, LOAD_VALUES_MAX, node->pos, "values"))
		return -EINVAL;
	argv = arena_calloc(loader->arena, (size_t)node->n, sizeof *argv);
	for (int i = 0; i < node->n; i++) {
		const struct tnode *item = node->items[i];

		if (!field_scalar(loader, field, item))
			return -EINVAL;
		if (!item->quoted && !*item->s)
			return load_error(loader, item->pos,
					  "an empty word; write '' for an empty argument");
		argv[i] = (struct text){ item->s, item->pos };
	}
	if (!*argv[0].s || *argv[0].s == '-')
		return load_error(loader, argv[0].pos, "%s: \"%s\" cannot be a command",
				  field->name, argv[0].s);
	*ret_command = (struct command){ .argv = argv, .argc = node->n, .pos = node->pos };
	return 0;
}

int parse_command(struct loader *loader, const struct field *field, const struct tnode *node,
		  void *value)
{
	return field_command(loader, field, node, value);
}

/* The words of a list as one line, as it was most likely meant. */
static const char *commands_joined(struct loader *loader, const struct tnode *list)
{
	autostr struct strbuf line = STRBUF_INIT;

	for (int i = 0; i < list->n && line.len < 60; i++)
		if (list->items[i]->kind == TNODE_SCALAR)
			strbuf_printf(&line, "%s%s", i ? " " : "", list->items[i]->s);
	return arena_text(loader->arena, &line);
}

int parse_commands(struct loader *loader, const struct field *field, const struct tnode *node,
		   void *value)
{
	const struct tnode *const *items;
	int n = field_items(&node, &items), r = 0;
	struct command *v;

	if (load_count(loader, &loader->values, n * 3, LOAD_VALUES_MAX, node->pos, "values"))
		return -EINVAL;
	v = arena_calloc(loader->arena, (size_t)n, sizeof *v);
	for (int i = 0; i < n; i++) {
		if (items[i]->kind == TNODE_SCALAR && *items[i]->s == '-') {
			(void)load_error(loader, items[i]->pos, "%s: \"%s\" cannot be a command",
					 field->name, load_shown(loader, items[i]->s));
			diag_hint(loader->diags, "%s is a list of commands; write: %s: %s",
				  field->name, field->name, commands_joined(loader, node));
			return -EINVAL;
		}
	}
	for (int i = 0; i < n; i++)
		if (field_command(loader, field, items[i], &v[i]))
			r = -EINVAL;
	*(struct command **)value = v;
	*field_count(field, value) = r ? 0 : n;
	return r;
}

int parse_pairs(struct loader *loader, const struct field *field, const struct tnode *node,
		void *value)
{
	struct pairs *pairs = value;
	int r = 0;

	if (node->kind != TNODE_MAP)
		return load_error(loader, node->pos, "\"%s\" is a mapping of names to values",
				  field->name);
	if (load_count(loader, &loader->values, node->n, LOAD_VALUES_MAX, node->pos, "values"))
		return -EINVAL;
	pairs->v = arena_calloc(loader->arena, (size_t)node->n, sizeof *pairs->v);
	for (int i = 0; i < node->n; i++) {
		const struct tnode *key = node->pairs[i].key, *item = node->pairs[i].value;
		const struct field value_field = { .name = key->s, .flags = field->flags };
		const char *s = field_scalar(loader, &value_field, item);

		if (!s)
			r = -EINVAL;
		else
			pairs->v[pairs->n++] = (struct pair){ key->s, s, key->pos, item->pos };
	}
	return r;
}
