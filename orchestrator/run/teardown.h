/* teardown.h - the one way down: a normal `down`, a failed `up`, Ctrl-C, a killed process, and `gc`
 * after a crash all come here, and all read the same journal. */
#ifndef TAPNET_RUN_TEARDOWN_H
#define TAPNET_RUN_TEARDOWN_H

#include "op/op.h"
#include "run/journal.h"
#include "sys/ns.h"

struct teardown_result {
	int guests, services, hooks, taps, namespaces; /* ended, run, let go */
	int killed; /* processes found inside that were not of the plan */
	int64_t start, ms;
	bool left; /* not all is undone */
	struct ns_sensor sensor;
	struct strbuf
		problems; /* a line each, as far as there is memory; empty when nothing is left */
};

/* Undoes what the journal says was done. Idempotent. Afterwards nothing of the lab is left that its
 * user can see but its run directory, or result->problems says what is. ctx->have_fds tells whether
 * the planned fds are open here. The caller frees problems, and calls teardown_confirm(). */
void teardown_run(struct ctx *ctx, struct journal *journal, bool confirm,
		  struct teardown_result *result);
/* Adds to the problems. */
void teardown_problem(struct teardown_result *result, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Waits until the kernel has let go of the lab's namespaces, if teardown_run() was told that
 * somebody wants to know. */
void teardown_confirm(struct teardown_result *result);

/* Somebody hears the problems: the next teardown does not tell them again. */
void teardown_told(struct ctx *ctx);

/* "1 guest, 2 TAPs, 1 namespace" */
void teardown_words(const struct teardown_result *result, struct strbuf *out);

/* A ctx for coming down: waits by poll, and has all memory that it takes. 0 or -errno. */
int teardown_ctx(struct ctx *ctx, struct journal *journal, const char *run, int run_fd,
		 bool have_fds, struct err *err);
void teardown_free(struct ctx *ctx);

#endif
