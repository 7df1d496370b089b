/* str.h - strings that grow, are compared, and are made safe to show. */
#ifndef TAPNET_BASE_STR_H
#define TAPNET_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A growing string on the heap. After a failed allocation it keeps what it had and `failed` is
 * set; text is never NULL. */
struct strbuf {
	char *text;
	size_t len, cap;
	bool failed;
};

extern char strbuf_empty[1]; /* "": the text of a buffer that holds nothing; never written */
#define STRBUF_INIT ((struct strbuf){ .text = strbuf_empty })

void strbuf_add(struct strbuf *buf, const char *data, size_t len);
void strbuf_puts(struct strbuf *buf, const char *s);
void strbuf_printf(struct strbuf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strbuf_free(struct strbuf *buf);
#define autostr __attribute__((cleanup(strbuf_free)))

/* Appends s with every byte that a terminal could obey (controls, DEL, invalid UTF-8) written as
 * \xNN. Anything that came from a file, a guest or the kernel is shown through this. */
void strbuf_safe(struct strbuf *buf, const char *s, size_t len);
/* The same for JSON, in its own escapes: what is in its strings may come from anywhere. */
void strbuf_json(struct strbuf *buf, const char *json);

/* Bytes of the well-formed, printable UTF-8 character at s, or 0. */
size_t str_char(const char *s, size_t left);

bool str_eq(const char *a, const char *b); /* NULL equals only NULL */
bool str_starts(const char *s, const char *prefix);

/* The nearest of n names within a third of the length of `word`, or NULL: "did you mean …". */
const char *str_nearest(const char *word, const char *const *names, size_t n);

/* FNV-1a, 64 bits. Start with STR_HASH_INIT; the separator 0 is hashed after each string. */
#define STR_HASH_INIT UINT64_C(0xcbf29ce484222325)
uint64_t str_hash(uint64_t hash, const char *s);

#endif
