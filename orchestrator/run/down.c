/* down.c - taking a lab down from outside, and what a crash left. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "run/control.h"
#include "run/run.h"
#include "sys/pidfd.h"
#include "sys/spawn.h"

#define ANSWER_MS 2000	/* a worker that turns its loop answers within this */
#define MARGIN_MS 90000 /* beside hooks and graces: the kernel's part of a large lab */
#define MEND_MS	  200	/* a guardian puts what was cut short back at once */
#define INSIST_MS 8000	/* a guardian kills a worker that does not end within 3 s */
#define WAKE_MS	  500	/* who is suspended meanwhile is woken so soon */

int64_t run_down_ms(const struct plan *plan)
{
	int64_t ms = MARGIN_MS;
	uint32_t grace = 0;

	for (int i = 0; i < plan->n_steps; i++) {
		const struct step *step = &plan->steps[i];

		if (step->op == OP_HOOK)
			ms += ((const struct op_hook *)step->args)->down_timeout_ms;
		if (step->op == OP_PROC && ((const struct op_proc *)step->args)->grace_ms > grace)
			grace = ((const struct op_proc *)step->args)->grace_ms;
	}
	return ms + grace;
}

static int mark_pidfd(const struct spawn_mark *mark)
{
	return mark->pid ? spawn_pidfd(mark->pid, mark->start_time) : -ESRCH;
}

static void mark_signal(const struct spawn_mark *mark, int sig)
{
	autofd int pidfd = mark_pidfd(mark);

	if (pidfd >= 0)
		(void)pidfd_signal(pidfd, sig);
}

/* Waits until fd is readable, and wakes who is suspended or was meanwhile: the end of the lab is
 * asked for, and it is their work. As io_wait(). */
static int wait_awake(const struct journal *journal, int fd, int64_t deadline)
{
	int64_t turn;
	int r;

	do {
		mark_signal(&journal->head->guardian, SIGCONT);
		mark_signal(&journal->head->worker, SIGCONT);
		turn = io_now_ms() + WAKE_MS;
		r = io_wait(fd, POLLIN, turn < deadline ? turn : deadline);
	} while (r == 0 && io_now_ms() < deadline);
	return r;
}

/* Asks the worker. 0 with the connection in *ret_fd, or -errno. */
static int ask(const struct labdir *dir, int *ret_fd, struct err *err)
{
	autofd int fd = control_connect(dir, err);
	struct json_object *answer = NULL;
	int r;

	if (fd < 0)
		return fd;
	r = control_call(fd, control_request("down", NULL), io_now_ms() + ANSWER_MS, &answer, NULL,
			 err);
	if (r < 0)
		return r;
	json_object_put(answer);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* What tell_waiters() sends. 0, 1 with words when something is left, -errno without an answer. */
static int read_status(int fd, struct strbuf *words)
{
	char text[DOWN_WORDS];
	ssize_t n = recv(fd, text, sizeof text, MSG_DONTWAIT);

	if (n < 1)
		return -ECONNRESET;
	strbuf_add(words, text + 1, (size_t)n - 1);
	return text[0] == '1';
}

/* Waits for the end of both processes. */
static bool both_end(const struct journal *journal, int64_t deadline)
{
	const struct spawn_mark *marks[] = { &journal->head->worker, &journal->head->guardian };

	for (size_t k = 0; k < COUNT(marks); k++) {
		autofd int pidfd = mark_pidfd(marks[k]);

		if (pidfd >= 0 && wait_awake(journal, pidfd, deadline) <= 0)
			return false;
	}
	return true;
}

/* The worker does not answer: the guardian is asked, which kills it; then both are killed. */
static void insist(const struct journal *journal)
{
	const struct journal_head *head = journal->head;
	autofd int guardian = mark_pidfd(&head->guardian);

	mark_signal(&head->guardian, SIGTERM);
	if (guardian == -ESRCH)
		mark_signal(&head->worker, SIGTERM);
	if (both_end(journal, io_now_ms() + INSIST_MS + run_down_ms(journal->plan)))
		return;
	mark_signal(&head->worker, SIGKILL);
	mark_signal(&head->guardian, SIGKILL);
	(void)both_end(journal, io_now_ms() + INSIST_MS);
}

static int down_alive(const struct labdir *dir, const struct journal *journal, struct strbuf *words,
		      struct err *err)
{
	autofd int fd = -1;
	int r;

	mark_signal(&journal->head->guardian, SIGCONT);
	mark_signal(&journal->head->worker, SIGCONT);
	r = ask(dir, &fd, err);
	if (r == 0)
		r = wait_awake(journal, fd, io_now_ms() + run_down_ms(journal->plan)) > 0
			    ? read_status(fd, words)
			    : -ETIMEDOUT;
	if (r >= 0) {
		(void)both_end(journal, io_now_ms() + INSIST_MS);
		return r;
	}
	insist(journal);
	return 0;
}

/* It lives, and has its plan in memory; only we cannot read it, to know whom to wake and to insist on.
 * Asked, it puts its journal back, where it can. */
static int down_blind(const struct labdir *dir, struct strbuf *words, struct err *err)
{
	struct journal journal autojournal = JOURNAL_NONE;
	struct err unread = *err;
	autofd int fd = -1;
	int r = ask(dir, &fd, err);

	if (r == 0 && journal_open(dir->fd, &journal, err) == 0)
		r = wait_awake(&journal, fd, io_now_ms() + run_down_ms(journal.plan));
	else if (r == 0)
		r = io_wait(fd, POLLIN, io_now_ms() + MARGIN_MS);
	if (r > 0)
		r = read_status(fd, words);
	else if (r == 0)
		r = -ETIMEDOUT;
	if (r < 0)
		*err = unread;
	return r < 0 ? err->code : r;
}

/* Its namespaces went with its processes. What it had in the host, only the journal knew. */
static int unreadable(const struct labdir *dir, struct err *err)
{
	char words[sizeof err->msg];

	memcpy(words, err->msg, sizeof words);
	return err_set(err, err->code,
		       "%s; nothing is undone: see what %s left on this host (its hooks, ports of "
		       "bridges), then rm -r %s",
		       words, dir->name, dir->path);
}

/* A pidfd for each program of the lab, who may have more of them than this shell's files. */
static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int run_gc(struct labdir *dir, struct strbuf *words, struct strbuf *problems, struct err *err)
{
	struct journal journal autojournal = JOURNAL_NONE;
	struct teardown_result result = { .problems = STRBUF_INIT };
	struct ctx ctx;
	int r = labdir_lock(dir, err);

	if (r < 0)
		return r;
	raise_files();
	r = journal_open(dir->fd, &journal, err);
	if (r == -ENOENT || r == -ESTALE) { /* nothing was made, or nothing of it lives */
		r = labdir_remove(dir, false, err);
		return r < 0 ? r : 1;
	}
	if (r < 0) {
		labdir_unlock(dir);
		return unreadable(dir, err);
	}
	r = teardown_ctx(&ctx, &journal, dir->path, dir->fd, false, err);
	if (r == 0) {
		teardown_run(&ctx, &journal, true, &result);
		teardown_told(&ctx); /* who called tells it */
	}
	teardown_free(&ctx);
	if (r < 0)
		return r;
	r = result.left ? 0 : labdir_remove(dir, journal.head->keep_logs, err);
	teardown_confirm(&result);
	teardown_words(&result, words);
	strbuf_puts(problems, result.problems.text);
	if (result.left && !problems->len)
		r = err_sys(err, -ENOMEM, "%s: not all could be undone", dir->name);
	strbuf_free(&result.problems);
	labdir_unlock(dir);
	return r < 0 ? r : 1;
}

/* Its two were killed by what is wrong with their journal as soon as they looked, perhaps at our
 * own question. */
static bool dies(const struct labdir *dir)
{
	int64_t deadline = io_now_ms() + INSIST_MS;

	while (labdir_alive(dir) && io_now_ms() < deadline)
		(void)poll(NULL, 0, 1);
	return !labdir_alive(dir);
}

int run_journal(const struct labdir *dir, struct journal *ret_journal, struct err *err)
{
	int64_t now = io_now_ms(), soon = now + ANSWER_MS, mended = now + MEND_MS;
	int r;

	while ((r = journal_open(dir->fd, ret_journal, err)) < 0 && labdir_alive(dir) &&
	       io_now_ms() < (r == -ENOENT    ? soon
			      : r == -EBADMSG ? mended
					      : now))
		(void)poll(NULL, 0, 1);
	return r;
}

int run_down(struct labdir *dir, enum down_outcome *ret_outcome, struct strbuf *words,
	     struct err *err)
{
	struct strbuf problems autostr = STRBUF_INIT;
	struct journal journal autojournal = JOURNAL_NONE;
	struct labdir again autolabdir = LABDIR_NONE;
	int r = 0;

	*ret_outcome = DOWN_DONE;
	if (labdir_alive(dir)) {
		r = run_journal(dir, &journal, err);
		r = r < 0 ? down_blind(dir, words, err) : down_alive(dir, &journal, words, err);
		if (r < 0 && ((r != -EBADMSG && r != -ENOENT) || !dies(dir)))
			return r;
		if (r > 0) {
			*ret_outcome = DOWN_LEFT;
			return 0;
		}
	}
	r = labdir_open(dir->name, false, &again, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = run_gc(&again, words, &problems, err); /* dead before its work was done */
	if (r == -ESTALE || r == -ENOENT)
		return 0;
	if (problems.len) {
		strbuf_puts(words, problems.text);
		*ret_outcome = DOWN_LEFT;
	} else if (r > 0 && labdir_alive(dir)) {
		*ret_outcome = DOWN_LEFT;
	}
	return r < 0 ? r : 0;
}
