/* arena.h - memory that is freed as one piece.
 *
 * An arena reserves address space once, and pages of it are taken as they are touched. What can
 * be asked of one is bounded by the limits on its input (a lab file has at most 1 MiB), so an
 * allocation cannot fail once arena_init() has succeeded; running over the reservation is a
 * defect and aborts.
 */
#ifndef TAPNET_BASE_ARENA_H
#define TAPNET_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct arena {
	char *base;
	size_t used, size;
	bool torn; /* a text of arena_text() lacks something */
};

#define ARENA_NONE ((struct arena){ 0 })

/* Reserves size bytes of address space (0: the default, 2 GiB). -ENOMEM when there is none. */
int arena_init(struct arena *arena, size_t size, struct err *err);
void arena_free(struct arena *arena);

/* Zeroed, aligned for any type, never NULL. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull, malloc));
void *arena_calloc(struct arena *arena, size_t n, size_t size)
	__attribute__((returns_nonnull, malloc));
void *arena_memdup(struct arena *arena, const void *data, size_t size)
	__attribute__((returns_nonnull));
char *arena_strdup(struct arena *arena, const char *s) __attribute__((returns_nonnull));
char *arena_strndup(struct arena *arena, const char *s, size_t n) __attribute__((returns_nonnull));
/* What a buffer on the heap holds; one that there was no memory for sets `torn`. */
char *arena_text(struct arena *arena, const struct strbuf *text) __attribute__((returns_nonnull));
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3)
	__attribute__((returns_nonnull));
char *arena_vprintf(struct arena *arena, const char *fmt, va_list ap) PRINTF_LIKE(2, 0)
	__attribute__((returns_nonnull));

/* Room for one more element at the end of a growing array: *v of n elements, capacity *cap.
 * Returns the new, zeroed element; the caller counts it. */
void *arena_push(struct arena *arena, void *v_ptr, int n, int *cap, size_t size)
	__attribute__((returns_nonnull));
#define ARENA_PUSH(arena, v, n, cap)                                                               \
	((__typeof__(*(v)) *)arena_push((arena), &(v), (n)++, &(cap), sizeof *(v)))

#endif
