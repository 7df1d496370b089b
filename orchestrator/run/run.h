/* run.h - a lab's life: up, down, gc.
 *
 *   caller ──fork──▶ guardian ──clone(CLONE_FILES)──▶ worker
 *
 * The worker builds the lab and runs its event loop. The guardian only waits; when the worker ends,
 * for whatever reason, it tears the lab down, with every TAP and namespace still open in the table
 * that both share. If the guardian dies, the worker sees it and tears down. With both dead the next
 * `up`, `down` or `gc` does. Each tears down only when the other is gone, so never both.
 */
#ifndef TAPNET_RUN_RUN_H
#define TAPNET_RUN_RUN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "run/journal.h"
#include "run/labdir.h"
#include "run/report.h"
#include "run/teardown.h"
#include "run/watch.h"

struct up_request {
	struct plan *plan;
	struct journal_meta meta;
	int64_t timeout_ms; /* of the whole way up */
	int64_t ttl_ms;	    /* 0: none */
	bool keep;	    /* leave a failed lab standing */
	bool foreground;    /* the lab lives as long as the caller */
};

/* Starts guardian and worker for a lab whose directory is open and whose lock is free. *ret_fd gives
 * their reports (report.h) until the end of the way up, and, in the foreground, of the lab. Closing
 * it earlier gives the lab up. *ret_guardian is the guardian's pidfd: until the first report nobody else
 * could wake it. 0 or -errno. */
int run_up(const struct up_request *request, const struct labdir *dir, int *ret_fd,
	   int *ret_guardian, struct err *err);

/* Does this host have what the plan needs? Raises the limit on open files to that. 0, or -errno with
 * the way out in err, and EXIT_UNABLE. */
int run_host(const struct plan *plan, struct err *err);

/* How long a teardown may take, ms: hooks one after another, all graces at once. */
int64_t run_down_ms(const struct plan *plan);

#define DOWN_WORDS 8192 /* of what could not be undone, as `down` hears it */

enum down_outcome { DOWN_DONE, DOWN_LEFT, DOWN_NOT_UP };

/* Takes a running lab down, or what is left of a dead one. Returns when the kernel has let go. */
int run_down(struct labdir *dir, enum down_outcome *ret_outcome, struct strbuf *words,
	     struct err *err);

/* As journal_open(). While the lab lives, one that is not there is waited for: it has just begun, or is
 * at its very end; and so is one that was cut short: it is put back. */
int run_journal(const struct labdir *dir, struct journal *ret_journal, struct err *err);

/* Tears down what a dead lab left; the lock must be free. 1 when there was something, 0, -errno;
 * problems get what is still there. */
int run_gc(struct labdir *dir, struct strbuf *words, struct strbuf *problems, struct err *err);

/* worker.c: builds the lab, then serves it. The worker's exit status. */
struct worker {
	const struct up_request *request;
	struct journal *journal;
	struct labdir *dir;
	int guardian; /* pidfd */
	struct watch watch;
	int report;
	const sigset_t *signals;
};
int worker_main(void *worker);

/* The end of a lab, for guardian and worker alike: tears down, removes the directory, tells who
 * waits. asked: somebody does who is not in the journal. */
void run_finish(struct ctx *ctx, struct journal *journal, struct labdir *dir,
		const struct watch *watch, bool asked);

#endif
