/* field.h - tables of fields: the one source of truth for the YAML's keys.
 *
 * Each mapping of the YAML is a table of `struct field`; parser, error messages, the JSON Schema
 * and the reference manual all come from it. A field gives a scalar its type; YAML never does.
 */
#ifndef TAPNET_MODEL_FIELD_H
#define TAPNET_MODEL_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_type {
	FIELD_STRING,	/* const char * */
	FIELD_TEXT,	/* struct text (string with its place) */
	FIELD_TEXTS,	/* struct text *, int n: a list; one may stand without brackets */
	FIELD_PATH,	/* struct text: relative to the lab's folder */
	FIELD_BOOL,	/* bool */
	FIELD_UINT,	/* unsigned, min … max */
	FIELD_SIZE,	/* uint64_t bytes: 512M, 4G */
	FIELD_DURATION, /* unsigned milliseconds: 10s, 500ms, 3h */
	FIELD_CHOICE,	/* int: index into choices */
	FIELD_MAC,	/* struct mac */
	FIELD_COMMAND,	/* struct command */
	FIELD_COMMANDS, /* struct command *, int n */
	FIELD_PAIRS,	/* struct pairs: a mapping of strings */
	FIELD_MAP,	/* a nested table, stored in place */
	FIELD_NAMED,	/* a mapping of name → table, stored as pointer and count; each element
			  * begins with `const char *name; struct pos pos;` */
	FIELD_LIST,	/* a list of tables, stored as pointer and count by its own parse */
	FIELD_CUSTOM,	/* parse() does it; without one the loader reads it in its own order */
};

struct tnode;
struct loader;

struct field {
	const char *name; /* NULL ends the table */
	enum field_type type;
	unsigned flags;		    /* FIELD_* below */
	size_t offset;		    /* of the value in the struct */
	size_t count_offset;	    /* of the int that counts a list, where there is one */
	size_t pos_offset;	    /* of a struct pos for the value's place, with FIELD_POS */
	uint64_t min, max;	    /* numbers; 0, 0: none */
	const char *const *choices; /* NULL-terminated */
	const struct field *fields; /* of the nested table */
	size_t size;		    /* of one element of it */
	const char *scalar;  /* the key of the nested table that a bare scalar or list stands for */
	const char *pattern; /* of strings, for the schema: a regular expression */
	/* Reads the value instead of the type's own way; value is where offset points. */
	int (*parse)(struct loader *, const struct field *, const struct tnode *, void *value);
	const char *schema; /* its JSON Schema, verbatim, instead of the type's own */
	const char *preset; /* the default, as it would be written; NULL: none */
	const char *help;   /* one line */
};

#define FIELD_NOT_YET  (1u << 0) /* known; "not yet supported" */
#define FIELD_REQUIRED (1u << 1)
#define FIELD_LATE     (1u << 2) /* may hold ${…} that the plan fills in */
#define FIELD_POS      (1u << 3) /* pos_offset is set */
#define FIELD_GUEST    (1u << 4) /* a node's: for guests only */
#define FIELD_NETNS    (1u << 5) /* a node's: for network namespaces only */

#endif
