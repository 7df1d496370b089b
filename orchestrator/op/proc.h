/* proc.h - a running guest or service, as the worker keeps it: console, log, end, new start. */
#ifndef TAPNET_OP_PROC_H
#define TAPNET_OP_PROC_H

#include <regex.h>

#include "op/op.h"

#define PROC_LINE 1024	     /* bytes of a console line that patterns see */
#define PROC_TAIL (16 << 10) /* bytes of the console that a newcomer is shown */

#define PROC_STABLE_MS 60000 /* who ran this long starts with the first back-off again */

enum proc_state { PROC_IDLE, PROC_RUNNING, PROC_ENDED, PROC_BACKOFF };

struct tap_kept { /* of a TAP that was handed to us */
	uint32_t step;
	struct mac mac;
	bool persist, carrier;
};

struct proc {
	uint32_t step; /* of its OP_PROC */
	enum proc_state state;
	struct spawned spawned;
	int master, log;			/* pty; -1 none */
	int status;				/* wait status of the last end */
	int64_t ended_ms, started_ms, again_ms; /* of io_now_ms() */
	unsigned restarts;
	char trouble[512]; /* why it could not be started the last time; "": it could */
	bool again;	   /* its end is asked for, and a new start when it has come */
	int64_t kill_ms;   /* when it is killed, if it has not ended by then; 0: never */

	struct tap_kept *kept;
	int n_kept;

	bool watching, seen; /* a console pattern */
	regex_t pattern;
	int notify[2]; /* pipe that wakes who waits for the pattern, or for the end */

	char line[PROC_LINE];
	size_t line_len;
	char *tail;	   /* ring of PROC_TAIL bytes */
	uint64_t tail_len; /* bytes ever written */
};

/* Makes ctx->procs, one a guest or service of the plan, their console patterns compiled. 0 or -errno. */
int procs_init(struct ctx *ctx, struct err *err);
struct proc *ctx_proc(struct ctx *ctx, uint32_t step);

/* Takes what the pty has, at most once a call: to the log, the ring and the pattern; the bytes are
 * given to sink (may be NULL) for attached consoles. false at the pty's end. */
typedef void proc_sink(void *arg, struct proc *proc, const char *data, size_t len);
bool proc_read(struct proc *proc, proc_sink *sink, void *arg);

/* Its pidfd became readable, and its last words are read: reaps it, says so in its log, decides
 * what comes next. */
void proc_ended(struct ctx *ctx, struct proc *proc);

/* Starts it again on the fds that we held. 0, or -errno: then it is tried once more later, if the file
 * wants it to run. */
int proc_again(struct ctx *ctx, struct proc *proc, struct err *err);

/* Asks a running one to end (SIGTERM, and SIGKILL after its grace); it is then started again. */
void proc_restart(struct ctx *ctx, struct proc *proc);

/* Memory and fds of ours; the program itself is the teardown's. */
void proc_free(struct proc *proc);

#endif
