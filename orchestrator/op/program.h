/* program.h - how the programs of a lab are started: hooks, exec, services, guests. */
#ifndef TAPNET_OP_PROGRAM_H
#define TAPNET_OP_PROGRAM_H

#include "op/op.h"

/* A copy, on the heap, of s with STEP_DIR, STEP_RUN and STEP_IFNAME replaced; NULL without memory. */
char *program_expand(const struct ctx *ctx, const char *s);

/* Argument vector and environment of a program, the lab's folder and run directory filled in. On
 * the heap: program_free(). */
struct started_program {
	char **argv, **env;
	int64_t uid, gid; /* -1: the caller's */
};
int program_fill(const struct ctx *ctx, const struct program *program, const char *const *more_env,
		 struct started_program *ret_program, struct err *err);
void program_free(struct started_program *program);
#define autoprogram __attribute__((cleanup(program_free)))

/* A copy of s, the lab's folder and run directory filled in, or NULL without memory. */
char *program_expand(const struct ctx *ctx, const char *s);

/* Opens a log of the run directory for appending. fd or -errno. */
int program_log(const struct ctx *ctx, const char *name, struct err *err);
/* Appends the last lines of a log to err's message, from offset on: "\n    last words". */
void program_last_words(const struct ctx *ctx, const char *name, off_t from, struct err *err);

/* Waits for a program with a time limit; then its whole process group is killed. 0 when it exited
 * with 0; else err says how it ended in words. */
int program_wait(struct ctx *ctx, struct spawned *spawned, uint32_t timeout_ms, struct err *err);

/* Runs a program to its end, in the lab's folder, its output added to a log from *ret_from on. Of
 * spawn the caller says where it runs (else with the host's network) and with which fds. 0; else
 * err has its last words, too. */
int program_run(struct ctx *ctx, struct spawn *spawn, const struct program *program,
		const char *log_name, uint32_t timeout_ms, off_t *ret_from, struct err *err);

/* The first word of a command, for messages: `"./tap-up"`; of sh -c, the string. */
const char *program_name(const struct program *program);
void program_describe(const struct program *program, struct strbuf *out);

extern const struct rec program_table[];

#endif
