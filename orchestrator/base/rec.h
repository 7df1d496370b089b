/* rec.h - structs described by tables, so that one walk writes them to the journal, another reads
 * them back, and a third prints them.
 *
 * The encoding is in the order of the table, without names: numbers as four bytes (host order: a
 * journal never leaves its machine), strings and lists with their length in front. A decoder
 * accepts any bytes: what does not fit is an error, never a fault.
 */
#ifndef TAPNET_BASE_REC_H
#define TAPNET_BASE_REC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

enum rec_type {
	REC_BOOL, /* bool */
	REC_U32,  /* uint32_t */
	REC_INT,  /* int */
	REC_STR,  /* const char *, may be NULL */
	REC_MAC,  /* struct mac */
	REC_IP,	  /* struct ip */
	REC_STRS, /* const char **, int n */
	REC_ONE,  /* a struct in place */
	REC_MANY, /* a pointer to structs, int n */
};

struct rec {
	const char *name; /* NULL ends the table */
	enum rec_type type;
	size_t offset, count_offset;
	const struct rec *sub; /* of REC_ONE and REC_MANY */
	size_t size;	       /* of one of REC_MANY */
};

#define REC(type_, s, field)                                                                       \
	{                                                                                          \
#field, type_, offsetof(s, field), 0, NULL, 0                                      \
	}
#define REC_LIST(s, field, count)                                                                  \
	{                                                                                          \
#field, REC_STRS, offsetof(s, field), offsetof(s, count), NULL, 0                  \
	}
#define REC_SUB(s, field, table)                                                                   \
	{                                                                                          \
#field, REC_ONE, offsetof(s, field), 0, table, 0                                   \
	}
#define REC_SUBS(s, field, count, table, elem)                                                     \
	{                                                                                          \
#field, REC_MANY, offsetof(s, field), offsetof(s, count), table, sizeof(elem)      \
	}
#define REC_END                                                                                    \
	{                                                                                          \
		NULL, REC_BOOL, 0, 0, NULL, 0                                                      \
	}

void rec_encode(struct strbuf *out, const struct rec *table, const void *s);

struct rec_cursor {
	const char *p;
	size_t left;
	bool bad; /* set for good once the bytes did not fit */
};

uint32_t rec_u32(struct rec_cursor *cursor);
void rec_put_u32(struct strbuf *out, uint32_t value);
/* Fills s (zeroed by the caller, of the table's struct) with memory of the arena. 0 or -EBADMSG. */
int rec_decode(struct arena *arena, struct rec_cursor *cursor, const struct rec *table, void *s);

#endif
