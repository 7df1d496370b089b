/* child.h - what clone.c, spawn.c and cell.c share of a child's life before its program. For sys/ alone. */
#ifndef TAPNET_SYS_CHILD_H
#define TAPNET_SYS_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sys/spawn.h"

/* Where a child can fail. */
enum child_step {
	CHILD_MARK,
	CHILD_SESSION,
	CHILD_NULL,
	CHILD_CELL,
	CHILD_NETNS,
	CHILD_MNTNS,
	CHILD_HOSTNAME,
	CHILD_SYS,
	CHILD_PROC,
	CHILD_HOSTS,
	CHILD_FDS,
	CHILD_RIGHTS,
	CHILD_CWD,
	CHILD_PARENT,
	CHILD_EXEC,
	CHILD_INTERPRETER,
	CHILD_READY, /* not a failure: a cell can be joined */
};

struct child_report {
	int32_t step, code;
};

/* fork(2), with extra clone flags, a pidfd, no handlers of signals, and the pid stored in
 * mark->born (NULL: nowhere) before the child runs. cell: the pidfd of an init, in whose pid namespace
 * it is born, for who child_may_return(); -1: in ours. 0 in the child, else the pid or -1. */
pid_t child_clone(uint64_t flags, int cell, struct spawn_mark *mark, int *ret_pidfd);
/* The same for one that soon executes a program or ends: fn, which does not return, runs in the caller's
 * own memory, and the caller stands still until then. Where that is not possible, in a copy. One in
 * the other at most. The pid or -1. */
pid_t child_share(uint64_t flags, int cell, struct spawn_mark *mark, int *ret_pidfd,
		  void (*fn)(void *), void *arg);
/* Whether this process has the right to come back from another pid namespace into its own. */
bool child_may_return(void);

/* The pipe on which the child reports. 0 or -errno. */
int child_pipe(int *ret_read, int *ret_write, struct err *err);
/* Reads it: 1 a report, 0 the end, -ETIMEDOUT, or -errno. */
int child_hear(int report, int64_t deadline, struct child_report *ret_report);
/* Says what failed, reaps the child, forgets it. Returns the code. */
int child_failed(struct spawned *spawned, const struct child_report *report, struct err *err);

/* ---- in the child: only what is safe after a fork */

void child_exit(int status) __attribute__((noreturn)); /* nothing of its starter's is flushed */
void child_fail(int report, enum child_step step, int code) __attribute__((noreturn));
void child_signals(void);		  /* all dispositions as in a new login */
void child_close(const int *keep, int n); /* all fds above 2 but these, ascending */
uint64_t child_start_time(void);	  /* its own; 0 where /proc does not say */
void child_mark(struct spawn_mark *mark, uint64_t start_time);
int child_drop(void); /* the capabilities that a node's programs do not need: 0 or -1 */

#endif
