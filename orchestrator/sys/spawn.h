/* spawn.h - the only place that makes processes (clone.c), and that executes programs.
 *
 * In the child, in order: signal mask and dispositions reset, a session of its own, the namespaces
 * entered, the fds it is given moved above the highest target and then down to their numbers, all
 * others marked to close, root and rights dropped, the working directory, execve. A failure on
 * that way is reported with its errno and its step through a CLOEXEC pipe.
 *
 *   spawn_start (many) ─▶ spawn_result (each, by poll) ─▶ pidfd
 */
#ifndef TAPNET_SYS_SPAWN_H
#define TAPNET_SYS_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct spawn_fd {
	int from, to; /* `from` in the caller becomes `to` in the child */
};

/* What is known of a program even when its starter was killed, in memory that caller and guardian
 * share (MAP_SHARED). A child in a pid namespace cannot know its pid as the caller sees it, so the
 * kernel stores it in `born` at the clone, before the child runs; just before execve() the child
 * publishes it in `pid`. So pid 0 after the starter died and its children were reaped proves that
 * the program never ran, for programs that die with their parent; if execve() itself fails, pid is
 * 0 again. A cell's init publishes at its very start. */
struct spawn_mark {
	int32_t pid;	     /* 0: never got as far as execve */
	int32_t born;	     /* clone.c's own */
	uint64_t start_time; /* clock ticks since boot: field 22 of /proc/PID/stat */
};

/* What a program may become. */
enum spawn_rights {
	RIGHTS_CALLERS, /* all that the caller has and may get: its own commands */
	RIGHTS_HELD,	/* what the caller has: no setuid file gives more */
	RIGHTS_NODE,	/* that, and of root's capabilities those that a node's programs need */
};

/* A program that was opened and judged before (trust.h). */
struct spawn_file {
	int fd;		  /* what is executed, but of a script: */
	const char *path; /* its interpreter is to open it by name, and this is it; else NULL */
};

struct spawn {
	const char *const *argv; /* NULL-terminated; argv[0] with '/' or looked up in PATH */
	const char *const *env;	 /* NULL-terminated "K=V", the whole environment */
	const char *cwd;	 /* NULL: / */
	bool cwd_optional;	 /* / when it cannot be entered */
	int in, out, err;	 /* fds for 0, 1, 2; -1: /dev/null */
	int tty; /* slave of a pty: becomes 0, 1, 2 and the controlling terminal; -1 none */
	const struct spawn_fd *fds; /* targets from 3 on */
	int n_fds;
	int cell; /* pidfd of a cell's init: join its pid, mount, uts and net namespaces; -1 none */
	int netns; /* namespaces to enter after the cell's; -1 none */
	int mntns;
	const char *hostname; /* a uts namespace of its own with this name; NULL none */
	bool fresh_sys; /* a mount namespace of its own whose /sys shows its network namespace */
	bool die_with_parent; /* SIGKILL when the caller's thread dies */
	bool apart; /* a copy of the caller from its start: the caller's deadlines hold whatever keeps it
		       from being executed, such as a folder that does not answer */
	uint32_t nofile;  /* soft limit on open files; 0: as the caller */
	int64_t uid, gid; /* -1: as the caller; else without other groups */
	enum spawn_rights rights;
	const struct spawn_file *file; /* executed in argv[0]'s place; NULL: none */
	struct spawn_mark *mark;       /* NULL: none */
	bool foreground;	       /* keep the caller's session and terminal (exec, shell) */
	bool own_group; /* then: a process group of its own, in front of that terminal (in):
				    in a pid namespace a shell sees no other */
};

struct spawned {
	pid_t pid;
	int pidfd, report; /* report: readable when the exec result is known; -1 afterwards */
	bool unexecuted;   /* all was ready, but execve() failed: it is the program's own fault */
};
#define SPAWNED_NONE ((struct spawned){ .pid = -1, .pidfd = -1, .report = -1 })

/* Starts it; returns when it is executed or failed to be, or at once where it is a copy of the caller
 * (clone.c). 0 or -errno. */
int spawn_start(const struct spawn *spawn, struct spawned *ret_spawned, struct err *err);
/* Collects whether it was executed. 0; -errno of the failing step with err saying which
 * ("could not start: No such file or directory"), the child reaped and its pidfd closed;
 * -ETIMEDOUT, nothing changed. */
int spawn_result(struct spawned *spawned, int64_t deadline, struct err *err);
/* Both; what is not executed within ten seconds is killed. */
int spawn_run(const struct spawn *spawn, struct spawned *ret_spawned, struct err *err);

/* Forks without executing: fn runs in the child and its value is the exit status. flags: extra
 * clone(2) flags (CLONE_FILES, CLONE_NEWPID …). Signal dispositions are reset, the mask is kept.
 * With keep (sorted ascending, n of them) all other fds above 2 are closed; NULL keeps all, and
 * CLONE_FILES goes with NULL only. */
int spawn_fork(unsigned long flags, const int *keep, int n_keep, int (*fn)(void *), void *arg,
	       struct spawned *ret_spawned, struct err *err);

/* A cell: a tiny init in pid, mount and uts namespaces of its own, optionally in a network
 * namespace, for the programs of one node or guest (they join it by spawn.cell). It reaps, and
 * when the guardian (pidfd) dies, or on SIGTERM, it sends SIGTERM to all, gives them grace_ms, and
 * exits; its death kills everything inside. Programs that joined stay children of their starter,
 * and the init's exit is not complete before they are reaped: reap them before waiting for it. */
struct cell {
	int guardian;	      /* pidfd to watch */
	int netns;	      /* -1: the caller's */
	const char *hostname; /* NULL: no uts or mount namespace of its own, only pids */
	const char *hosts;    /* path of the file laid over /etc/hosts; NULL none; with hostname */
	unsigned grace_ms;
	struct spawn_mark *mark;
};
int cell_start(const struct cell *cell, struct spawned *ret_spawned, struct err *err);
/* Waits until the cell's namespaces are ready to be joined. As spawn_result(). */
int cell_result(struct spawned *spawned, int64_t deadline, struct err *err);

/* Waits for a pidfd's process to end, reaps it, gives its wait status. 1 ended, 0 past the
 * deadline, -errno; -ECHILD when it is not ours to reap (it has ended all the same). */
int spawn_wait(int pidfd, int64_t deadline, int *ret_status);

/* "exited with 3", "killed by SIGTERM". */
const char *spawn_status_words(int status, char out[64]);

/* Field 22 of /proc/PID/stat, 0 when there is no such process: with the pid, its identity. */
uint64_t spawn_start_time(pid_t pid);
/* pidfd of the process that has this pid and start time; -ESRCH when it is gone. */
int spawn_pidfd(pid_t pid, uint64_t start_time);

/* Has it let go of its fds and namespaces? True of a zombie, and of a cell's init that cannot end
 * because nobody reaps the programs that joined it. */
bool spawn_let_go(pid_t pid);

/* Kills what is left of a session whose leader has died; env ("K=V"), of its environment, tells it
 * from another session that was given the number since. 0, or -errno. */
int spawn_kill_session(pid_t session, const char *env, int64_t deadline);

/* The same of whatever session, of all that have env and one of the others, which end with NULL; never
 * the caller itself. */
int spawn_kill_env(const char *env, const char *const others[], int64_t deadline);

/* A pseudo-terminal, both ends CLOEXEC, master O_NONBLOCK, 24 × 80. */
int spawn_pty(int *ret_master, int *ret_slave, struct err *err);

#endif
