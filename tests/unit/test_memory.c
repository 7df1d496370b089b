/* test_memory.c - the n-th allocation fails, for n = 1, 2, 3, … until there are no more: of reading a
 * lab, planning it, and showing and comparing the plan. Each time somebody is told, or all is as it
 * is without: nothing goes wrong in silence. The arguments are files of labs, good ones and bad ones.
 *
 * The program's own malloc() comes before those of the C library and of ASan, so that all
 * libraries' allocations fail as well.
 */
#include <dlfcn.h>
#include <errno.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/fd.h"
#include "kind/kind.h"
#include "plan/plan.h"

/* ---- memory */

static unsigned long allocations, nth, failed; /* nth: this one fails; 0: none */

#define BEFORE_ASAN __attribute__((no_sanitize("address"), no_sanitize("undefined")))

BEFORE_ASAN static void *next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

BEFORE_ASAN static bool fails(void)
{
	if (++allocations != nth)
		return false;
	failed++;
	errno = ENOMEM;
	return true;
}

#define NEXT(type, name)                                                                           \
	static type next_##name;                                                                   \
	if (!next_##name)                                                                          \
	*(void **)&next_##name = next(#name)

typedef void *malloc_fn(size_t);
typedef void *calloc_fn(size_t, size_t);
typedef void *realloc_fn(void *, size_t);
typedef void *mmap_fn(void *, size_t, int, int, int, off_t);

BEFORE_ASAN void *malloc(size_t n)
{
	NEXT(malloc_fn *, malloc);
	return fails() ? NULL : next_malloc(n);
}

BEFORE_ASAN void *calloc(size_t n, size_t size)
{
	NEXT(calloc_fn *, calloc);
	return fails() ? NULL : next_calloc(n, size);
}

BEFORE_ASAN void *realloc(void *p, size_t n)
{
	NEXT(realloc_fn *, realloc);
	return fails() ? NULL : next_realloc(p, n);
}

BEFORE_ASAN void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	NEXT(mmap_fn *, mmap);
	return fails() ? MAP_FAILED : next_mmap(at, len, prot, flags, fd, offset);
}

/* One failure, whatever it allocates: glibc's own frees some of it twice after a failure inside. */
int regcomp(regex_t *regex, const char *text, int flags)
{
	static int (*next_regcomp)(regex_t *, const char *, int);
	unsigned long at = nth;
	int r;

	if (!next_regcomp)
		*(void **)&next_regcomp = next("regcomp");
	if (fails())
		return REG_ESPACE;
	nth = 0;
	r = next_regcomp(regex, text, flags);
	nth = at;
	return r;
}

/* ---- what comes of a file */

struct outcome {
	int r;
	struct strbuf words; /* errors, or the plan in each of its forms */
	bool torn;	     /* and they say of themselves that something is missing */
};

static void show(const struct plan *plan, struct strbuf *out)
{
	struct assume assume = { .kvm.known = true, .vhost.known = true };

	plan_print(plan, &assume, out);
	plan_encode(plan, out);
}

static struct outcome outcome_of(const char *path)
{
	const struct lab_options options = { .name = "test" };
	struct assume assume = { .kvm = { .known = true, .yes = true }, .vhost.known = true };
	struct outcome outcome = { .words = STRBUF_INIT };
	struct arena arena = ARENA_NONE;
	struct diags diags = { 0 };
	struct plan *plan = NULL;
	struct lab *lab = NULL;
	struct err err = { 0 };

	outcome.r = arena_init(&arena, 0, &err);
	if (outcome.r == 0)
		outcome.r = lab_load(&arena, path, &options, &kinds, &diags, &lab, &err);
	if (outcome.r == 0)
		outcome.r = plan_make(&arena, lab, &assume, &diags, &plan);
	if (outcome.r == 0)
		show(plan, &outcome.words);
	else if (diags.total)
		diag_print(&diags, &outcome.words);
	else
		strbuf_puts(&outcome.words, err.msg);
	outcome.torn = outcome.words.failed;
	arena_free(&arena);
	return outcome;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	return a->r == b->r && a->words.len == b->words.len &&
	       memcmp(a->words.text, b->words.text, a->words.len) == 0;
}

/* What went wrong in silence, or NULL. */
static const char *silent(const struct outcome *now, const struct outcome *fine)
{
	if (now->torn || same(now, fine))
		return NULL;
	if (now->r == 0)
		return "the plan is another";
	return strcasestr(now->words.text, "memory") ? NULL : now->words.text;
}

/* Each of the first ones, and of more an ever smaller part: a file can make ten thousands. */
#define CLOSELY 400

static char **files;
static int n_files;

static void each_allocation(void **state)
{
	unsigned long all = 0;

	(void)state;
	for (int i = 0; i < n_files; i++) {
		struct outcome fine, now;

		nth = 0;
		fine = outcome_of(files[i]);
		assert_false(fine.torn);
		assert_true(fine.words.len > 0);
		for (unsigned long n = 1;; n += 1 + n / CLOSELY, all++) {
			allocations = failed = 0;
			nth = n;
			now = outcome_of(files[i]);
			nth = 0;
			if (!failed)
				break;
			if (silent(&now, &fine))
				fail_msg("%s: allocation %lu failed: %s", files[i], n,
					 silent(&now, &fine));
			strbuf_free(&now.words);
		}
		assert_true(same(&now, &fine));
		strbuf_free(&now.words);
		strbuf_free(&fine.words);
	}
	print_message("%lu allocations of %d files failed\n", all, n_files);
	assert_true(all > 10ul * (unsigned long)n_files);
}

/* What would be missed, is seen: a string that lacks something, and no word of it. */
static void planted(void **state)
{
	struct outcome fine = { .r = 0, .words = { .text = (char[]){ "plan" }, .len = 4 } },
		       now = { .r = 0, .words = { .text = (char[]){ "pla" }, .len = 3 } };

	(void)state;
	assert_string_equal(silent(&now, &fine), "the plan is another");
	now.r = -EINVAL;
	assert_string_equal(silent(&now, &fine), "pla");
	now = fine;
	assert_null(silent(&now, &fine));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(planted),
					    cmocka_unit_test(each_allocation) };

	files = argv + 1;
	n_files = argc - 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
