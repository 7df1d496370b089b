/* load.c - errors, limits and suggestions of a load; see load.h. */
#include "model/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int load_error(struct loader *loader, struct pos pos, const char *fmt, ...)
{
	va_list ap;
	char *msg;

	if (loader->diags->calls < DIAG_MAX * 20) {
		va_start(ap, fmt);
		msg = arena_vprintf(loader->arena, fmt, ap);
		va_end(ap);
		diag_add(loader->diags, pos, "%s", msg);
	}
	return -EINVAL;
}

int load_count(struct loader *loader, int *count, int more, int max, struct pos pos,
	       const char *what)
{
	if (loader->full)
		return -EINVAL;
	if (more <= max - *count) {
		*count += more;
		return 0;
	}
	loader->full = true;
	return load_error(loader, pos, "the lab grows to more than %d %s here", max, what);
}

const char *load_nearest(struct loader *loader, const char *word, const char *const *names,
			 size_t n)
{
	const char *nearest;

	if (loader->compares > LOAD_COMPARES_MAX)
		return "";
	loader->compares += (int)n;
	nearest = str_nearest(word, names, n);
	return nearest ? arena_printf(loader->arena, " (did you mean \"%s\"?)", nearest) : "";
}

static int load_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *load_nearest_of(struct loader *loader, const char *word, const struct names *a,
			    const struct names *b)
{
	const struct names *both[] = { a, b };
	const char **list;
	size_t n = 0;

	if (loader->compares > LOAD_COMPARES_MAX)
		return "";
	list = arena_calloc(loader->arena, a->n + (b ? b->n : 0), sizeof *list);
	for (int k = 0; k < 2; k++)
		for (unsigned i = 0; both[k] && i < both[k]->cap; i++)
			if (both[k]->v[i].name)
				list[n++] = both[k]->v[i].name;
	if (n)
		qsort(list, n, sizeof *list,
		      load_compare); /* of names as near as each other the first */
	return load_nearest(loader, word, list, n);
}

/* Where the lines begin: places are looked for in errors and routes, perhaps a thousand times. */
static void load_find_lines(struct loader *loader)
{
	const struct diags *diags = loader->diags;
	int n = 0, cap = 0;
	size_t *lines = NULL;

	loader->ascii = true;
	*ARENA_PUSH(loader->arena, lines, n, cap) = 0;
	for (size_t i = 0; i < diags->text_len; i++) {
		if (diags->text[i] == '\n')
			*ARENA_PUSH(loader->arena, lines, n, cap) = i + 1;
		loader->ascii &= (unsigned char)diags->text[i] < 0x80;
	}
	loader->lines = lines;
	loader->n_lines = n;
}

/* Bytes from the file's start to a place. */
static size_t load_offset(struct loader *loader, struct pos pos)
{
	const struct diags *diags = loader->diags;
	size_t at;

	if (!loader->lines)
		load_find_lines(loader);
	if (pos.line < 1 || pos.line > loader->n_lines)
		return diags->text_len;
	at = loader->lines[pos.line - 1];
	if (loader->ascii)
		return at + (size_t)pos.col - 1 < diags->text_len ? at + (size_t)pos.col - 1
								  : diags->text_len;
	for (int col = 1; col < pos.col && at < diags->text_len; col++)
		do
			at++;
		while (at < diags->text_len && ((unsigned char)diags->text[at] & 0xc0) == 0x80);
	return at;
}

struct pos load_within(struct loader *loader, const struct tnode *node, const char *part,
		       size_t len)
{
	const struct diags *diags = loader->diags;
	size_t at = load_offset(loader, node->pos), left = diags->text_len - at,
	       span = strlen(node->s) * 4 + 64;
	const char *from = diags->text + at,
		   *hit = memmem(from, left < span ? left : span, part, len);
	struct pos pos = node->pos;

	if (!hit)
		return pos;
	for (; from < hit; from++) {
		if (*from == '\n') {
			pos.line++;
			pos.col = 1;
		} else if (((unsigned char)*from & 0xc0) != 0x80) {
			pos.col++;
		}
	}
	pos.len = (int)len;
	return pos;
}
