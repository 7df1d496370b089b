/* tree.h - a lab file's text as a tree that knows its places.
 *
 * The YAML of labs is the plain part of YAML: mappings, lists, scalars. Tags, anchors, aliases,
 * merge keys and second documents are refused, each with the way to say it here.
 */
#ifndef TAPNET_MODEL_TREE_H
#define TAPNET_MODEL_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "model/diag.h"

#define YAML_DEPTH_MAX 32
#define YAML_SIZE_MAX  ((size_t)1 << 20)

enum tnode_kind {
	TNODE_SCALAR,
	TNODE_LIST,
	TNODE_MAP,
	TNODE_BAD, /* an error is told already: what reads it fails in silence */
};

struct tnode;

struct tpair {
	const struct tnode *key, *value;
};

struct tnode {
	enum tnode_kind kind;
	bool quoted;
	bool dollar;	/* "${" is in it, or in something below it */
	bool inherited; /* a key that stands in defaults.node */
	struct pos pos;
	const char *s; /* scalars: the text, else NULL */
	union {
		const struct tnode **items; /* lists */
		struct tpair *pairs; /* mappings, in file order, keys are scalars and differ */
	};
	int n, cap;
};

extern const struct tnode tnode_bad; /* of kind TNODE_BAD, without a place */

/* Nothing was written: an empty value, ~ or null. */
bool tnode_null(const struct tnode *node);
/* The value of a mapping's key, or NULL. */
const struct tnode *tnode_get(const struct tnode *map, const char *key);
const struct tpair *tnode_pair(const struct tnode *map, const char *key);

struct yaml_file {	   /* what is read, for its errors */
	const char *name;  /* "a lab file" */
	const char *keys;  /* some that it has */
	const char *empty; /* what to write into an empty one */
};

/* Parses diags->text. NULL when there is no tree to go on with; diags say why. A tree may come
 * with errors too. */
const struct tnode *yaml_load(struct diags *diags, const struct yaml_file *of);

/* What libyaml says, said for people who write labs (yamlerr.c). */
struct yaml_problem {
	const char *problem, *context; /* libyaml's words */
	struct pos pos, context_pos;
	size_t at, context_at; /* the same places in text, in bytes */
	const char *text;
	size_t len;
};

/* Bytes [from, to) of the text that would be fine inside quotes. */
struct yaml_repair {
	size_t from, to;
};

/* Tells the problem. true when quotes would mend it: then *ret_repair says what to quote. */
bool yaml_explain(struct diags *diags, const struct yaml_problem *problem,
		  struct yaml_repair *ret_repair);

#endif
