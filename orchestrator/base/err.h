/* err.h - one error, owned by the caller, wrapped with context as it rises.
 *
 * Functions that can fail take a `struct err *` (never NULL), fill it and return a negative errno.
 * The first cause is set by err_set(); callers add context in front with err_wrap(). Nothing here
 * allocates, so an error can be told when memory is gone.
 */
#ifndef TAPNET_BASE_ERR_H
#define TAPNET_BASE_ERR_H

#include <stdarg.h>

#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* The command's exit statuses: a contract with users (README, man page). */
enum exit_status {
	EXIT_FINE = 0,
	EXIT_CHECK = 1,	  /* a test failed, or status --check found something */
	EXIT_INVALID = 2, /* usage, or an invalid lab */
	EXIT_STATE = 3,	  /* up from another plan, or not up */
	EXIT_UNABLE = 4,  /* this host or kernel lacks something the lab needs */
	EXIT_UNDONE = 5,  /* it failed and was undone */
	EXIT_LEFT = 6,	  /* teardown was incomplete */
	EXIT_OWN = 125,	  /* run, exec: our own failure */
};

struct err {
	int code;		 /* negative errno of the first cause, 0 when nothing failed */
	enum exit_status status; /* what the command exits with; EXIT_FINE when undecided */
	int line, col;		 /* place in the lab file, 0 when none */
	char msg[2048];
};

/* Sets the cause. Returns code (a negative errno), so that callers can `return err_set(…)`. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set(), with ": <the errno's words>" at the end. */
int err_sys(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts context in front of the message: `link "a0": …`. Returns err->code. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Says where in the lab file, unless a place is known already. */
void err_at(struct err *err, int line, int col);

/* Analysers look into one file at a time: let them know that a negative code comes back, or
 * each output of a function that failed seems to be used. */
#if defined(__clang_analyzer__) || defined(__cppcheck__)
#define ERR_CODE_BACK(fill, err, code, ...)                                                        \
	__extension__({                                                                            \
		int code_back = (code);                                                            \
		if (code_back >= 0)                                                                \
			__builtin_unreachable();                                                   \
		(void)(fill)((err), code_back, __VA_ARGS__);                                       \
		code_back;                                                                         \
	})
#define err_set(...) ERR_CODE_BACK(err_set, __VA_ARGS__)
#define err_sys(...) ERR_CODE_BACK(err_sys, __VA_ARGS__)
#endif

#endif
