/* diag.h - what is wrong with a lab file: every error, each with its place and a way out. */
#ifndef TAPNET_MODEL_DIAG_H
#define TAPNET_MODEL_DIAG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/str.h"

/* A place in the lab file: line and column from 1, len bytes to underline (0: one). */
struct pos {
	int line, col, len;
};

struct diag {
	struct pos pos;
	const char *msg;  /* `unknown key "bridg" (did you mean "bridge"?)` */
	const char *hint; /* beside the caret; NULL: none */
};

/* All errors of one load, in the order found; shown sorted by place. At most DIAG_MAX are kept,
 * and one a place: what `for` or a group repeats is said once. */
#define DIAG_MAX 100
struct diags {
	struct arena *arena;
	const char *file; /* as the user wrote it */
	const char *text; /* the file's bytes, for the line shown */
	size_t text_len;
	struct diag *v;
	int n, cap;
	int total;	      /* without those of a place that has one already */
	int calls;	      /* of diag_add() */
	bool last_kept;	      /* the last error is in v: a hint is its own */
	const char *instance; /* what `for` makes just now, named in errors; NULL: nothing */
	struct diags *of;     /* whose errors these are too: totals count upwards */
	struct diags *files,
		*next; /* other files that the lab is read from, and the next of those */
};

/* The errors of another file that the lab is read from; shown with those of the lab. */
struct diags *diag_file(struct diags *of, const char *file, const char *text, size_t len);

/* Enough is wrong: what would only find more of the same may stop. */
bool diag_enough(const struct diags *diags);

void diag_add(struct diags *diags, struct pos pos, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Sets the hint of the last error added. */
void diag_hint(struct diags *diags, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* file:line:col: error: …, the line, a caret; last "lab.yaml: 4 errors; nothing was made". */
void diag_print(const struct diags *diags, struct strbuf *out);

#endif
