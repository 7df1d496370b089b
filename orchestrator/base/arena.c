/* arena.c - see arena.h. */
#include "base/arena.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_DEFAULT ((size_t)2 << 30)
#define ARENA_ALIGN   16u

int arena_init(struct arena *arena, size_t size, struct err *err)
{
	size_t want = size ? size : ARENA_DEFAULT;
	void *p = mmap(NULL, want, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	*arena = ARENA_NONE;
	if (p == MAP_FAILED)
		return err_sys(err, -errno, "cannot reserve %zu MiB of memory", want >> 20);
	arena->base = p;
	arena->size = want;
	return 0;
}

void arena_free(struct arena *arena)
{
	if (arena->base)
		(void)munmap(arena->base, arena->size);
	*arena = ARENA_NONE;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	size_t need = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	void *p;

	if (need < size || need > arena->size - arena->used)
		abort();
	p = arena->base + arena->used; /* fresh pages are zero, and nothing is given back */
	arena->used += need;
	return p;
}

void *arena_calloc(struct arena *arena, size_t n, size_t size)
{
	if (size && n > SIZE_MAX / size)
		abort();
	return arena_alloc(arena, n * size);
}

void *arena_memdup(struct arena *arena, const void *data, size_t size)
{
	void *p = arena_alloc(arena, size);

	if (size)
		memcpy(p, data, size);
	return p;
}

char *arena_strndup(struct arena *arena, const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = arena_alloc(arena, len + 1);

	memcpy(p, s, len);
	return p;
}

char *arena_strdup(struct arena *arena, const char *s)
{
	return arena_strndup(arena, s, SIZE_MAX);
}

char *arena_text(struct arena *arena, const struct strbuf *text)
{
	arena->torn |= text->failed;
	return arena_strdup(arena, text->text);
}

char *arena_vprintf(struct arena *arena, const char *fmt, va_list ap)
{
	int len = vsnprintf(arena->base + arena->used, arena->size - arena->used, fmt, ap);

	if (len < 0)
		abort();
	return arena_alloc(arena, (size_t)len + 1);
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list ap;
	char *p;

	va_start(ap, fmt);
	p = arena_vprintf(arena, fmt, ap);
	va_end(ap);
	return p;
}

void *arena_push(struct arena *arena, void *v_ptr, int n, int *cap, size_t size)
{
	char **v = v_ptr;

	if (n >= *cap) {
		int want = *cap ? *cap * 2 : 4;
		char *p = arena_calloc(arena, (size_t)want, size);

		if (n)
			memcpy(p, *v, (size_t)n * size);
		*v = p;
		*cap = want;
	}
	return memset(*v + (size_t)n * size, 0, size);
}
