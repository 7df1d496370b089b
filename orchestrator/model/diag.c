/* diag.c - see diag.h. */
#include "model/diag.h"

#include <stdlib.h>
#include <string.h>

#include "model/lab.h"

#define DIAG_CALLS    1000 /* then diag_enough() */
#define DIAG_LINE_MAX 160  /* characters shown of a longer line */

static const struct diag *diag_find(const struct diags *diags, struct pos pos)
{
	for (int i = 0; i < diags->n; i++)
		if (diags->v[i].pos.line == pos.line && diags->v[i].pos.col == pos.col)
			return &diags->v[i];
	return NULL;
}

struct diags *diag_file(struct diags *of, const char *file, const char *text, size_t len)
{
	struct diags *diags = arena_alloc(of->arena, sizeof *diags), **end = &of->files;

	*diags = (struct diags){
		.arena = of->arena, .file = file, .text = text, .text_len = len, .of = of
	};
	while (*end)
		end = &(*end)->next;
	*end = diags;
	return diags;
}

void diag_add(struct diags *diags, struct pos pos, const char *fmt, ...)
{
	struct diag *diag;
	va_list ap;

	diags->calls++;
	diags->last_kept = false;
	if (pos.line && diag_find(diags, pos))
		return;
	for (struct diags *up = diags; up; up = up->of)
		up->total++;
	if (diags->n == DIAG_MAX)
		return;
	diag = ARENA_PUSH(diags->arena, diags->v, diags->n, diags->cap);
	diag->pos = pos;
	va_start(ap, fmt);
	diag->msg = arena_vprintf(diags->arena, fmt, ap);
	va_end(ap);
	if (diags->instance)
		diag->msg = arena_printf(diags->arena, "%s (in %s)", diag->msg, diags->instance);
	diags->last_kept = true;
}

void diag_hint(struct diags *diags, const char *fmt, ...)
{
	va_list ap;

	if (!diags->last_kept)
		return;
	va_start(ap, fmt);
	diags->v[diags->n - 1].hint = arena_vprintf(diags->arena, fmt, ap);
	va_end(ap);
}

bool diag_enough(const struct diags *diags)
{
	return diags->calls >= DIAG_CALLS;
}

static int diag_compare(const void *a, const void *b)
{
	const struct diag *x = *(const struct diag *const *)a, *y = *(const struct diag *const *)b;

	if (x->pos.line != y->pos.line)
		return x->pos.line < y->pos.line ? -1 : 1;
	if (x->pos.col != y->pos.col)
		return x->pos.col < y->pos.col ? -1 : 1;
	return (x > y) - (x < y);
}

/* Text that may hold bytes of the file: what the plan fills in is shown as it was written. */
static void diag_safe(struct strbuf *out, const char *s)
{
	for (const char *p = s; *p;) {
		size_t n = strcspn(p, (char[]){ LATE_OPEN, LATE_CLOSE, '\0' });

		strbuf_safe(out, p, n);
		p += n;
		if (*p)
			strbuf_puts(out, *p++ == LATE_OPEN ? "${" : "}");
	}
}

/* A place in the file that moves on only: errors come sorted. */
struct diag_reader {
	const char *p, *end;
	int line;
};

/* The line's first byte; *ret_len without its end (\n, \r\n or \r, as libyaml counts them). */
static const char *diag_line(struct diag_reader *reader, int line, size_t *ret_len)
{
	const char *p = reader->p;

	for (; reader->line < line && p < reader->end; reader->line++) {
		while (p < reader->end && *p != '\n' && *p != '\r')
			p++;
		if (p + 1 < reader->end && p[0] == '\r' && p[1] == '\n')
			p++;
		if (p < reader->end)
			p++;
	}
	reader->p = p;
	*ret_len = 0;
	while (p + *ret_len < reader->end && p[*ret_len] != '\n' && p[*ret_len] != '\r')
		(*ret_len)++;
	return p;
}

/* The line with its caret; of a long one the part around it. Columns count characters, and one that
 * is written as \xNN is wider. */
static void diag_show_line(struct strbuf *out, const struct diag *diag, const char *s, size_t len)
{
	int first = diag->pos.col, under = diag->pos.len ? diag->pos.len : 1;
	int from = first > DIAG_LINE_MAX - 40 ? first - 60 : 1, col = 1;
	size_t before = 0, width = 0;

	if (from > 1)
		strbuf_puts(out, "… ");
	before = from > 1 ? 2 : 0;
	for (size_t i = 0; i < len && col < from + DIAG_LINE_MAX; col++) {
		size_t n = str_char(s + i, len - i), start = out->len, cells = 1;

		if (col >= from && s[i] == '\t') {
			strbuf_puts(out, " "); /* one cell, so that the caret agrees */
		} else if (col >= from) {
			strbuf_safe(out, s + i, n ? n : 1);
			cells = n ? 1 : out->len - start;
		}
		if (col >= from && col < first)
			before += cells;
		else if (col >= first && col < first + under)
			width += cells;
		i += n ? n : 1;
	}
	strbuf_printf(out, "%s\n     | %*s^", col < from + DIAG_LINE_MAX ? "" : " …", (int)before,
		      "");
	for (size_t i = 1; i < width; i++)
		strbuf_puts(out, "~");
}

static void diag_show(struct strbuf *out, const struct diags *diags, const struct diag *diag,
		      struct diag_reader *reader)
{
	size_t len;
	const char *line;

	strbuf_safe(out, diags->file, strlen(diags->file));
	if (diag->pos.line)
		strbuf_printf(out, ":%d:%d", diag->pos.line, diag->pos.col);
	strbuf_puts(out, ": error: ");
	diag_safe(out, diag->msg);
	strbuf_puts(out, "\n");
	if (diag->pos.line) {
		line = diag_line(reader, diag->pos.line, &len);
		strbuf_printf(out, "%4d | ", diag->pos.line);
		diag_show_line(out, diag, line, len);
		strbuf_puts(out, diag->hint ? "  " : "\n");
	} else if (diag->hint) {
		strbuf_puts(out, "       ");
	}
	if (diag->hint) {
		diag_safe(out, diag->hint);
		strbuf_puts(out, "\n");
	}
}

/* The errors of one file, sorted. Returns how many are shown. */
static int diag_show_file(const struct diags *diags, struct strbuf *out)
{
	struct diag_reader reader = { .p = diags->text,
				      .end = diags->text + diags->text_len,
				      .line = 1 };
	const struct diag **sorted = arena_calloc(diags->arena, (size_t)diags->n, sizeof *sorted);

	for (int i = 0; i < diags->n; i++)
		sorted[i] = &diags->v[i];
	if (diags->n)
		qsort(sorted, (size_t)diags->n, sizeof *sorted, diag_compare);
	for (int i = 0; i < diags->n; i++)
		diag_show(out, diags, sorted[i], &reader);
	return diags->n;
}

void diag_print(const struct diags *diags, struct strbuf *out)
{
	int shown = diag_show_file(diags, out);

	for (const struct diags *file = diags->files; file; file = file->next)
		shown += diag_show_file(file, out);
	strbuf_safe(out, diags->file, strlen(diags->file));
	strbuf_printf(out, ": %d error%s%s; nothing was made\n", diags->total,
		      diags->total == 1 ? "" : "s",
		      diags->total > shown ? " (the first 100 found are shown)" : "");
}
