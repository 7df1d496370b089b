/* loop.c - `for: {i: 1-30, j: [a, b]}`: a node or a link once for each of the product; see load.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/load.h"

struct loop {
	const char *name;
	const char **values;
	int n, cap;
};

static bool loop_is_range(const char *s, unsigned *ret_from, unsigned *ret_to, int *ret_width)
{
	size_t a = strspn(s, "0123456789"), b;

	if (!a || s[a] != '-')
		return false;
	b = strspn(s + a + 1, "0123456789");
	if (!b || s[a + 1 + b] || a > 9 || b > 9)
		return false;
	*ret_from = (unsigned)strtoul(s, NULL, 10);
	*ret_to = (unsigned)strtoul(s + a + 1, NULL, 10);
	*ret_width = s[0] == '0' && a > 1 ? (int)a : 1;
	return true;
}

/* As printf("%0*u"), which is too slow for ten thousands of them. */
static const char *loop_number(struct loader *loader, unsigned n, int width)
{
	char text[12], *s = text + sizeof text;

	*--s = '\0';
	for (; n || width > 0; n /= 10, width--)
		*--s = (char)('0' + n % 10);
	return arena_strdup(loader->arena, s);
}

static int loop_item(struct loader *loader, struct loop *loop, const struct tnode *item)
{
	unsigned from, to;
	int width;

	if (item->kind == TNODE_BAD)
		return -EINVAL;
	if (item->kind != TNODE_SCALAR || tnode_null(item) || strchr(item->s, LATE_OPEN))
		return load_error(loader, item->pos,
				  "for: \"%s\" takes a range (1-30) or a list of words",
				  loop->name);
	if (!loop_is_range(item->s, &from, &to, &width)) {
		*ARENA_PUSH(loader->arena, loop->values, loop->n, loop->cap) = item->s;
		return 0;
	}
	if (from > to)
		return load_error(loader, item->pos, "for: the range %s is empty (write %u-%u)",
				  item->s, to, from);
	if (to - from >= LOAD_THINGS_MAX || loop->n + (int)(to - from) >= LOAD_THINGS_MAX)
		return load_error(loader, item->pos, "for: more than %d values", LOAD_THINGS_MAX);
	if (load_count(loader, &loader->values, (int)(to - from), LOAD_VALUES_MAX, item->pos,
		       "values"))
		return -EINVAL;
	for (unsigned i = from; i <= to; i++)
		*ARENA_PUSH(loader->arena, loop->values, loop->n, loop->cap) =
			loop_number(loader, i, width);
	return 0;
}

/* The variables and their values. -EINVAL when one is wrong. */
static int loop_read(struct loader *loader, const struct tnode *spec, struct loop loops[SCOPE_MAX],
		     int *ret_n)
{
	int64_t product = 1;
	int r = 0;

	*ret_n = 0;
	if (spec->kind == TNODE_BAD)
		return -EINVAL;
	if (spec->kind != TNODE_MAP || !spec->n || spec->n > SCOPE_MAX) {
		(void)load_error(loader, spec->pos,
				 "for is a mapping of 1 to %d variables to their values",
				 SCOPE_MAX);
		diag_hint(loader->diags, "for: {i: 1-30}, or for: {site: [north, south]}");
		return -EINVAL;
	}
	for (int i = 0; i < spec->n; i++) {
		struct loop *loop = &loops[(*ret_n)++];
		const struct tnode *value = spec->pairs[i].value;
		const struct tnode *const *items;
		int n = field_items(&value, &items);

		*loop = (struct loop){ .name = spec->pairs[i].key->s };
		if (!expand_name_fine(loop->name)) {
			(void)load_error(loader, spec->pairs[i].key->pos,
					 "\"%s\" cannot name a variable", loop->name);
			return -EINVAL;
		}
		for (int k = 0; k < n; k++)
			if (loop_item(loader, loop, items[k]))
				r = -EINVAL;
		if (!n)
			(void)load_error(loader, spec->pairs[i].key->pos,
					 "for: \"%s\" has no values", loop->name);
		if (!loop->values) {
			r = -EINVAL;
			continue;
		}
		product *= loop->n;
		if (!r && product > LOAD_THINGS_MAX) {
			(void)load_error(loader, spec->pos, "for: more than %d instances",
					 LOAD_THINGS_MAX);
			return -EINVAL;
		}
	}
	return r;
}

void loop_each(struct loader *loader, const struct tnode *key, const struct tnode *value,
	       loop_fn *make)
{
	const struct tnode *spec = expand_tree(loader, tnode_get(value, "for"));
	struct loop loops[SCOPE_MAX];
	int at[SCOPE_MAX] = { 0 }, n, i;

	if (!spec) {
		make(loader, key, value);
		return;
	}
	if (loop_read(loader, spec, loops, &n))
		return;
	loader->scope.n = n;
	do {
		autostr struct strbuf label = STRBUF_INIT;

		for (i = 0; i < n; i++) {
			loader->scope.loop[i].name = loops[i].name;
			loader->scope.loop[i].value = loops[i].values[at[i]];
			strbuf_puts(&label, i ? ", " : "");
			strbuf_puts(&label, loops[i].name);
			strbuf_puts(&label, "=");
			strbuf_puts(&label, loops[i].values[at[i]]);
		}
		loader->diags->instance = arena_text(loader->arena, &label);
		make(loader, key, value);
		/* As a counter does: the last variable turns fastest. */
		for (i = n - 1; i >= 0 && ++at[i] == loops[i].n; i--)
			at[i] = 0;
	} while (i >= 0 && !loader->full && !diag_enough(loader->diags));
	loader->scope.n = 0;
	loader->diags->instance = NULL;
}
