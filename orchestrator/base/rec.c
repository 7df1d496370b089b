/* rec.c - see rec.h. */
#include "base/rec.h"

#include <errno.h>
#include <string.h>

#include "base/ip.h"

#define REC_NULL      UINT32_MAX /* the length of a string that is NULL */
#define REC_DEPTH_MAX 8

void rec_put_u32(struct strbuf *out, uint32_t value)
{
	strbuf_add(out, (const char *)&value, sizeof value);
}

static void rec_put_str(struct strbuf *out, const char *s)
{
	rec_put_u32(out, s ? (uint32_t)strlen(s) : REC_NULL);
	if (s)
		strbuf_add(out, s, strlen(s));
}

static int rec_count(const struct rec *rec, const char *base)
{
	int n;

	memcpy(&n, base + rec->count_offset, sizeof n);
	return n;
}

static void rec_encode_list(struct strbuf *out, const struct rec *rec, const char *base)
{
	int n = rec_count(rec, base);
	const char *const *strs;
	const char *elems;

	rec_put_u32(out, (uint32_t)n);
	memcpy(&strs, base + rec->offset, sizeof strs);
	memcpy(&elems, base + rec->offset, sizeof elems);
	for (int i = 0; i < n; i++) {
		if (rec->type == REC_STRS)
			rec_put_str(out, strs[i]);
		else
			rec_encode(out, rec->sub, elems + (size_t)i * rec->size);
	}
}

void rec_encode(struct strbuf *out, const struct rec *table, const void *s)
{
	const char *base = s;

	for (const struct rec *rec = table; rec->name; rec++) {
		const void *at = base + rec->offset;

		switch (rec->type) {
		case REC_BOOL:
			strbuf_add(out, *(const bool *)at ? "\1" : "\0", 1);
			break;
		case REC_U32:
		case REC_INT:
			strbuf_add(out, at, sizeof(uint32_t));
			break;
		case REC_STR:
			rec_put_str(out, *(const char *const *)at);
			break;
		case REC_MAC:
			strbuf_add(out, at, sizeof(struct mac));
			break;
		case REC_IP:
			strbuf_add(out, at, sizeof(struct ip));
			break;
		case REC_ONE:
			rec_encode(out, rec->sub, at);
			break;
		case REC_STRS:
		case REC_MANY:
			rec_encode_list(out, rec, base);
			break;
		}
	}
}

static const char *rec_take(struct rec_cursor *cursor, size_t len)
{
	const char *p = cursor->p;

	if (cursor->bad || len > cursor->left) {
		cursor->bad = true;
		return NULL;
	}
	cursor->p += len;
	cursor->left -= len;
	return p;
}

static void rec_take_into(struct rec_cursor *cursor, void *to, size_t len)
{
	const char *p = rec_take(cursor, len);

	if (p)
		memcpy(to, p, len);
}

uint32_t rec_u32(struct rec_cursor *cursor)
{
	uint32_t value = 0;

	rec_take_into(cursor, &value, sizeof value);
	return value;
}

static const char *rec_str(struct arena *arena, struct rec_cursor *cursor)
{
	uint32_t len = rec_u32(cursor);
	const char *p;

	if (len == REC_NULL)
		return NULL;
	p = rec_take(cursor, len);
	if (!p || memchr(p, '\0', len)) {
		cursor->bad = true;
		return NULL;
	}
	return arena_strndup(arena, p, len);
}

static void rec_decode_at(struct arena *, struct rec_cursor *, const struct rec *, char *,
			  int depth);

static void rec_decode_list(struct arena *arena, struct rec_cursor *cursor, const struct rec *rec,
			    char *base, int depth)
{
	uint32_t n = rec_u32(cursor);
	size_t size = rec->type == REC_STRS ? sizeof(char *) : rec->size;
	int count = 0, cap = 0;
	char *v = NULL;

	/* Grown as elements really come: a false count must not cost memory. */
	for (; (uint32_t)count < n && !cursor->bad; count++) {
		char *elem = arena_push(arena, &v, count, &cap, size);

		if (rec->type == REC_STRS)
			*(const char **)(void *)elem = rec_str(arena, cursor);
		else
			rec_decode_at(arena, cursor, rec->sub, elem, depth + 1);
	}
	(void)arena_push(arena, &v, count, &cap, size); /* lists of strings end with NULL */
	memcpy(base + rec->offset, &v, sizeof v);
	memcpy(base + rec->count_offset, &count, sizeof count);
}

static void rec_decode_at(struct arena *arena, struct rec_cursor *cursor, const struct rec *table,
			  char *base, int depth)
{
	const char *byte;

	if (depth > REC_DEPTH_MAX)
		cursor->bad = true;
	for (const struct rec *rec = table; rec->name && !cursor->bad; rec++) {
		void *at = base + rec->offset;

		switch (rec->type) {
		case REC_BOOL:
			byte = rec_take(cursor, 1);
			*(bool *)at = byte && *byte;
			break;
		case REC_U32:
		case REC_INT:
			rec_take_into(cursor, at, sizeof(uint32_t));
			break;
		case REC_STR:
			*(const char **)at = rec_str(arena, cursor);
			break;
		case REC_MAC:
			rec_take_into(cursor, at, sizeof(struct mac));
			break;
		case REC_IP:
			rec_take_into(cursor, at, sizeof(struct ip));
			break;
		case REC_ONE:
			rec_decode_at(arena, cursor, rec->sub, at, depth + 1);
			break;
		case REC_STRS:
		case REC_MANY:
			rec_decode_list(arena, cursor, rec, base, depth);
			break;
		}
	}
}

int rec_decode(struct arena *arena, struct rec_cursor *cursor, const struct rec *table, void *s)
{
	rec_decode_at(arena, cursor, table, s, 0);
	return cursor->bad ? -EBADMSG : 0;
}
