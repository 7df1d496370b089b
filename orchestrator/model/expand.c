/* expand.c - vars and ${…}; see load.h.
 *
 * Replaced after parsing and before typing: what a value brings is never read as YAML. A name that
 * only the plan knows is kept between LATE_OPEN and LATE_CLOSE. `$${` writes `${`, and every other
 * `$` is the shell's.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "model/load.h"

#define NEST_MAX 8 /* ${r${i}:eth0.ipv4} */

/* Of an interface: ${eth0.fd}, ${r1:eth0.ipv4}. */
static const char *const late_words[] = {
	"fd",	   "fds",	  "fds-comma", "vhostfds", "queues", "virtqueues",
	"vectors", "mac",	  "mtu",       "ifname",   "ipv4",   "ipv4-prefix",
	"ipv6",	   "ipv6-prefix", "netmask",   "gateway",  "subnet", "peer",
};

/* One scalar on its way. */
struct expansion {
	struct loader *loader;
	const struct tnode *node;
	struct strbuf *out;
	bool failed;
};

static void expand_fail(struct expansion *x, const char *name, const char *what)
{
	char *part = arena_printf(x->loader->arena, "${%s", name);
	struct pos pos = load_within(x->loader, x->node, part, strlen(part));

	if (pos.len == (int)strlen(part))
		pos.len++;
	x->failed = true;
	(void)load_error(x->loader, pos, "%s", what);
}

/* All that a string grows by: `for` makes thousands of long ones out of one. */
static void expand_put(struct expansion *x, struct strbuf *out, const char *text, size_t len)
{
	struct loader *loader = x->loader;

	loader->bytes += len;
	if (loader->bytes <= LOAD_BYTES_MAX) {
		strbuf_add(out, text, len);
		loader->arena->torn |= out->failed;
		x->failed |= out->failed;
		return;
	}
	x->failed = true;
	if (!loader->full)
		(void)load_error(loader, x->node->pos, "${…} makes more than %zu MiB of text",
				 LOAD_BYTES_MAX >> 20);
	loader->full = true;
}

static void expand_puts(struct expansion *x, struct strbuf *out, const char *text)
{
	expand_put(x, out, text, strlen(text));
}

/* What comes from outside of the file is held to the file's rules. */
static bool expand_clean(const char *s)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len;) {
		size_t n = str_char(s + i, len - i);

		if (!n && s[i] != '\n' && s[i] != '\t')
			return false;
		i += n ? n : 1;
	}
	return true;
}

/* env.NAME and env.NAME:-word. */
static void expand_env(struct expansion *x, char *name, struct strbuf *out)
{
	char *word = strstr(name, ":-"), *whole = arena_strdup(x->loader->arena, name);
	const char *value;

	if (word) {
		*word = '\0';
		word += 2;
	}
	value = getenv(name + strlen("env."));
	if (value && !expand_clean(value))
		expand_fail(x, whole, "a control character in the environment's value");
	else if (word)
		expand_puts(x, out, value && *value ? value : word);
	else if (value)
		expand_puts(x, out, value);
	else
		expand_fail(
			x, whole,
			arena_printf(x->loader->arena,
				     "%s is not set in the environment; ${%s:-word} has a default",
				     name + strlen("env."), name));
}

static const char *expand_value(const struct loader *loader, const char *name)
{
	const struct scope *scope = &loader->scope;

	for (int i = scope->n; i-- > 0;)
		if (str_eq(scope->loop[i].name, name))
			return scope->loop[i].value;
	if (str_eq(name, "node.name"))
		return scope->node;
	if (str_eq(name, "lab.name"))
		return loader->lab_name;
	return names_get(&loader->vars, name);
}

static bool expand_is_late(const char *name)
{
	const char *dot = strrchr(name, '.');

	if (str_eq(name, "lab.dir") || str_eq(name, "lab.run"))
		return true;
	if (!dot || dot == name || str_starts(name, "lab.") || str_starts(name, "node."))
		return false;
	for (size_t i = 0; i < COUNT(late_words); i++)
		if (str_eq(dot + 1, late_words[i]))
			return true;
	return false;
}

/* ${eth0.ipv5}: the attribute is near to one that there is. */
static const char *expand_near_late(struct loader *loader, const char *name, const char *dot)
{
	const char *word = str_nearest(dot + 1, late_words, COUNT(late_words));

	if (!word)
		return "";
	return arena_printf(loader->arena, " (did you mean \"%.*s%s\"?)", (int)(dot + 1 - name),
			    name, word);
}

static void expand_unknown(struct expansion *x, const char *name)
{
	static const char *const fixed[] = { "lab.name", "lab.dir", "lab.run", "node.name" };
	struct loader *loader = x->loader;
	const char *dot = strrchr(name, '.'), *near, *list[SCOPE_MAX];

	for (int i = 0; i < loader->scope.n; i++)
		list[i] = loader->scope.loop[i].name;
	near = load_nearest(loader, name, list, (size_t)loader->scope.n);
	if (!*near && !dot)
		near = load_nearest_of(loader, name, &loader->vars, NULL);
	if (!*near)
		near = load_nearest(loader, name, fixed, COUNT(fixed));
	if (!*near && dot)
		near = expand_near_late(loader, name, dot);
	if (str_eq(name, "node.name"))
		near = "; it is known inside nodes only";
	expand_fail(x, name, arena_printf(loader->arena, "unknown \"${%s}\"%s", name, near));
	if (!*near)
		diag_hint(loader->diags,
			  "vars: and for: make names; for the shell's own write $${%s}", name);
}

static void expand_name(struct expansion *x, char *name, struct strbuf *out)
{
	const char *value = expand_value(x->loader, name);
	bool late = !value && expand_is_late(name);

	/* One that the plan fills in is looked at again, and again. */
	if (load_count(x->loader, &x->loader->values, late ? 3 : 1, LOAD_VALUES_MAX, x->node->pos,
		       "values")) {
		x->failed = true;
	} else if (strchr(name, LATE_OPEN)) {
		expand_fail(x, "", "what the plan fills in cannot be part of another ${…}");
	} else if (value) {
		expand_puts(x, out, value);
	} else if (str_starts(name, "env.")) {
		expand_env(x, name, out);
	} else if (late) {
		expand_put(x, out, (char[]){ LATE_OPEN }, 1);
		expand_puts(x, out, name);
		expand_put(x, out, (char[]){ LATE_CLOSE }, 1);
	} else {
		expand_unknown(x, name);
	}
}

/* Copies from s to out, up to its end or, inside a ${…}, to the "}" that ends it, and returns that
 * place. */
static const char *expand_text(struct expansion *x, const char *s, int nest, struct strbuf *out)
{
	while (*s && !x->failed && !(nest && *s == '}')) {
		autostr struct strbuf name = STRBUF_INIT;
		const char *open;
		size_t plain = strcspn(s, nest ? "$}" : "$");

		expand_put(x, out, s, plain);
		s += plain;
		if (str_starts(s, "$${")) {
			expand_puts(x, out, "${");
			s += 3;
		} else if (str_starts(s, "${")) {
			open = s;
			if (nest == NEST_MAX) {
				expand_fail(x, "", "${…} are nested too deep");
				break;
			}
			s = expand_text(x, s + 2, nest + 1, &name);
			if (x->failed)
				break;
			if (*s != '}') {
				expand_fail(x, arena_strndup(x->loader->arena, open + 2, 20),
					    "\"${\" without its \"}\"");
				break;
			}
			s++;
			expand_name(x, arena_strdup(x->loader->arena, name.text), out);
		} else if (*s == '$') {
			expand_put(x, out, s++, 1);
		}
	}
	return s;
}

/* A scalar's text with all replaced; NULL when it failed. */
static const char *expand_string(struct loader *loader, const struct tnode *node)
{
	autostr struct strbuf out = STRBUF_INIT;
	struct expansion x = { .loader = loader, .node = node };

	(void)expand_text(&x, node->s, 0, &out);
	return x.failed ? NULL : arena_strdup(loader->arena, out.text);
}

static void expand_map(struct loader *loader, struct tnode *map)
{
	struct tpair *pairs =
		arena_memdup(loader->arena, map->pairs, (size_t)map->n * sizeof *pairs);

	for (int i = 0; i < map->n; i++) {
		if (pairs[i].key->dollar) {
			(void)load_error(loader, pairs[i].key->pos,
					 "\"%s\" is a key: ${…} is for values, and for names "
					 "beside for:",
					 pairs[i].key->s);
			pairs[i].value = &tnode_bad;
		} else {
			pairs[i].value = expand_tree(loader, pairs[i].value);
		}
	}
	map->pairs = pairs;
}

const struct tnode *expand_tree(struct loader *loader, const struct tnode *node)
{
	const struct tnode **items;
	struct tnode *copy;

	if (!node || !node->dollar || diag_enough(loader->diags) ||
	    load_count(loader, &loader->values, node->n / 4, LOAD_VALUES_MAX, node->pos, "values"))
		return node;
	copy = arena_memdup(loader->arena, node, sizeof *node);
	copy->dollar = false;
	if (node->kind == TNODE_MAP) {
		expand_map(loader, copy);
	} else if (node->kind == TNODE_LIST) {
		items = arena_calloc(loader->arena, (size_t)node->n, sizeof *items);
		for (int i = 0; i < copy->n; i++)
			items[i] = expand_tree(loader, node->items[i]);
		copy->items = items;
	} else {
		copy->s = expand_string(loader, node);
		copy->quoted = true; /* an empty ${x} is an empty string, not an absent value */
		if (!copy->s)
			copy->kind = TNODE_BAD;
	}
	return copy;
}

/* --set VAR=VALUE replaces the value of a variable that the file has. */
static void expand_set(struct loader *loader, const struct tnode *vars, const char *set)
{
	const char *equals = strchr(set, '=');
	char *name =
		arena_strndup(loader->arena, set, equals ? (size_t)(equals - set) : strlen(set));
	struct name_slot *slot;
	struct names known = { 0 };

	for (int i = 0; vars && vars->kind == TNODE_MAP && i < vars->n; i++)
		(void)names_put(loader->arena, &known, vars->pairs[i].key->s);
	if (!equals || equals == set) {
		(void)load_error(loader, (struct pos){ 0 }, "--set %s: write --set VAR=VALUE", set);
	} else if (!names_find(&known, name)) {
		(void)load_error(loader, (struct pos){ 0 },
				 "--set %s: the file's vars have no \"%s\"%s", set, name,
				 load_nearest_of(loader, name, &known, NULL));
	} else if (!expand_clean(equals + 1)) {
		(void)load_error(loader, (struct pos){ 0 },
				 "--set %s: a control character in the value", name);
	} else {
		slot = names_put(loader->arena, &loader->vars, name);
		slot->thing = arena_strdup(loader->arena, equals + 1);
	}
}

bool expand_name_fine(const char *s)
{
	return strspn(s, "0123456789-") == 0 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
		       strlen(s) &&
	       *s;
}

void expand_vars(struct loader *loader, const struct tnode *vars)
{
	for (int i = 0; i < loader->options->n_set; i++)
		expand_set(loader, vars, loader->options->set[i]);
	if (!vars || vars->kind == TNODE_BAD || tnode_null(vars))
		return;
	if (vars->kind != TNODE_MAP) {
		(void)load_error(loader, vars->pos, "vars is a mapping: NAME: value");
		return;
	}
	for (int i = 0; i < vars->n; i++) {
		const struct tnode *key = vars->pairs[i].key;
		const struct tnode *value = expand_tree(loader, vars->pairs[i].value);
		struct name_slot *slot;

		if (!expand_name_fine(key->s)) {
			(void)load_error(loader, key->pos, "\"%s\" cannot name a variable", key->s);
			diag_hint(loader->diags, "letters, digits, _ and -; a letter first");
			continue;
		}
		slot = names_put(loader->arena, &loader->vars, key->s);
		if (slot->thing)
			continue; /* by --set */
		slot->thing =
			arena_strdup(loader->arena, tnode_null(value) || !value->s ? "" : value->s);
		if (value->kind == TNODE_LIST || value->kind == TNODE_MAP)
			(void)load_error(loader, value->pos,
					 "the variable \"%s\" must have a single value", key->s);
		else if (strchr(slot->thing, LATE_OPEN))
			(void)load_error(loader, value->pos,
					 "the variable \"%s\" cannot hold what the plan fills in",
					 key->s);
	}
}
