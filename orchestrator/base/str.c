/* str.c - see str.h. */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRINTF_ROOM 120 /* enough for most words: they are then formatted once */

char strbuf_empty[1];

static bool strbuf_room(struct strbuf *buf, size_t more)
{
	size_t want = buf->cap ? buf->cap : 64;
	char *p;

	if (buf->failed)
		return false;
	if (buf->cap && more < buf->cap - buf->len)
		return true;
	while (want - buf->len <= more)
		want *= 2;
	p = realloc(buf->cap ? buf->text : NULL, want);
	if (!p) {
		buf->failed = true;
		return false;
	}
	buf->text = p;
	buf->cap = want;
	return true;
}

void strbuf_add(struct strbuf *buf, const char *data, size_t len)
{
	if (!strbuf_room(buf, len))
		return;
	if (len)
		memcpy(buf->text + buf->len, data, len);
	buf->len += len;
	buf->text[buf->len] = '\0';
}

void strbuf_puts(struct strbuf *buf, const char *s)
{
	strbuf_add(buf, s, strlen(s));
}

void strbuf_printf(struct strbuf *buf, const char *fmt, ...)
{
	va_list ap;
	size_t room;
	int len;

	if (!strbuf_room(buf, PRINTF_ROOM))
		return;
	for (;;) {
		room = buf->cap - buf->len;
		va_start(ap, fmt);
		len = vsnprintf(buf->text + buf->len, room, fmt, ap);
		va_end(ap);
		if (len >= 0 && (size_t)len < room)
			break;
		buf->text[buf->len] = '\0';
		if (len < 0 || !strbuf_room(buf, (size_t)len))
			return;
	}
	buf->len += (size_t)len;
}

void strbuf_free(struct strbuf *buf)
{
	if (buf->cap)
		free(buf->text);
	*buf = STRBUF_INIT;
}

size_t str_char(const char *text, size_t left)
{
	const unsigned char *s = (const unsigned char *)text;
	static const struct {
		unsigned char mask, lead, low; /* low: the least second byte that is not overlong */
	} forms[] = { { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0xa0 }, { 0xf8, 0xf0, 0x90 } };

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f;
	for (size_t k = 0; k < 3; k++) {
		if ((s[0] & forms[k].mask) != forms[k].lead)
			continue;
		if (left < k + 2 || s[0] < 0xc2 || s[0] > 0xf4)
			return 0;
		for (size_t i = 1; i < k + 2; i++)
			if ((s[i] & 0xc0) != 0x80)
				return 0;
		if (k == 0 && s[0] == 0xc2 && s[1] < 0xa0)
			return 0; /* C1 controls */
		if (k == 1 && memcmp(s, "\xe2\x80", 2) == 0 && s[2] >= 0xa8 && s[2] <= 0xae)
			return 0; /* line separators, and what turns the direction of writing */
		if ((s[0] == 0xe0 || s[0] == 0xf0) && s[1] < forms[k].low)
			return 0;
		if ((s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f))
			return 0;
		return k + 2;
	}
	return 0;
}

void strbuf_safe(struct strbuf *buf, const char *s, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = str_char(s + i, len - i);

		if (n)
			strbuf_add(buf, s + i, n);
		else
			strbuf_printf(buf, "\\x%02x", (unsigned char)s[i]);
		i += n ? n : 1;
	}
}

/* What str_char() refuses begins with. *ret_code: its code point, U+FFFD for what is no UTF-8. */
static size_t refused_char(const char *text, unsigned *ret_code)
{
	const unsigned char *s = (const unsigned char *)text;

	if (s[0] < 0x80) {
		*ret_code = s[0];
		return 1;
	}
	if (s[0] == 0xc2 && (s[1] & 0xc0) == 0x80) {
		*ret_code = s[1];
		return 2;
	}
	if (s[0] == 0xe2 && s[1] == 0x80 && (s[2] & 0xc0) == 0x80) {
		*ret_code = 0x2000u | (s[2] & 0x3fu);
		return 3;
	}
	*ret_code = 0xfffd;
	return 1;
}

void strbuf_json(struct strbuf *buf, const char *json)
{
	const char *from = json;
	unsigned code;

	while (*json) {
		size_t n = *json == '\n' ? 1 : str_char(json, strnlen(json, 4));

		json += n;
		if (n)
			continue;
		strbuf_add(buf, from, (size_t)(json - from));
		json += refused_char(json, &code);
		strbuf_printf(buf, "\\u%04x", code);
		from = json;
	}
	strbuf_add(buf, from, (size_t)(json - from));
}

bool str_eq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Damerau-Levenshtein (adjacent swaps), words of at most 40 bytes. */
static size_t str_distance(const char *a, const char *b)
{
	size_t rows[3][42], la = strlen(a), lb = strlen(b);
	size_t *before = rows[0], *prev = rows[1], *cur = rows[2];

	if (la > 40 || lb > 40)
		return 99;
	for (size_t j = 0; j <= lb; j++)
		prev[j] = before[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t *t = before;

		cur[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = prev[j - 1] + (a[i - 1] != b[j - 1]);

			best = prev[j] + 1 < best ? prev[j] + 1 : best;
			best = cur[j - 1] + 1 < best ? cur[j - 1] + 1 : best;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			cur[j] = best;
		}
		before = prev;
		prev = cur;
		cur = t;
	}
	return prev[lb];
}

const char *str_nearest(const char *word, const char *const *names, size_t n)
{
	size_t limit = strlen(word) < 3 ? 1 : (strlen(word) + 2) / 3, best = limit + 1;
	const char *nearest = NULL;

	for (size_t i = 0; i < n; i++) {
		size_t d = str_distance(word, names[i]);

		if (d < best && d < strlen(names[i])) {
			best = d;
			nearest = names[i];
		}
	}
	return nearest;
}

uint64_t str_hash(uint64_t hash, const char *s)
{
	do {
		hash ^= (unsigned char)*s;
		hash *= UINT64_C(0x100000001b3);
	} while (*s++);
	return hash;
}
