/* loop.h - the worker's event loop: guests and their consoles, clients, signals, the guardian.
 *
 * The same loop serves the way up (it turns while a step waits) and the lab at rest.
 */
#ifndef TAPNET_RUN_LOOP_H
#define TAPNET_RUN_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "op/proc.h"
#include "run/journal.h"

#define CLIENTS_MAX   64
#define CLIENTS_SPARE 8 /* of these: for those who come when the others are taken */

struct client {
	int fd;		      /* -1: free */
	int tries;	      /* to hear it, without memory */
	int64_t silent_ms;    /* since when it has asked nothing, of io_now_ms(); 0: it asked */
	struct proc *console; /* attached to this one's terminal, NULL */
	struct proc *restart; /* waits until this one runs again, NULL */
};

struct loop {
	struct ctx *ctx;
	struct journal *journal;
	int epoll, signals, listen;
	int guardian;	/* pidfd */
	int caller;	/* the report socket while `up` waits, -1 */
	uint32_t owner; /* uid that may speak to us, beside root */
	bool stop;	/* the lab is to come down */
	bool deaf;	/* for want of memory: what is waited for is looked at by itself */
	bool unwatched; /* a program, for want of memory: until it is tried again */
	int64_t looked_ms, told_ms; /* while it goes up: after its caller, and to it */
	int64_t expires;	    /* --ttl: ms of io_now_ms(), 0 never */
	struct client clients[CLIENTS_MAX];
};

/* The caller's end is nothing to us from here on. */
void loop_leave_caller(struct loop *loop);

/* Opens epoll, signalfd (SIGTERM, SIGINT, SIGHUP must be blocked) and the control socket. 0 or -errno. */
int loop_init(struct loop *loop, int dir_fd, struct err *err);
/* Turns until stop. */
void loop_run(struct loop *loop);
/* Turns until fd (-1: none) is ready for events: 1; 0 past the deadline; -ECANCELED when the lab is
 * to come down. */
int loop_wait(struct loop *loop, int fd, short events, int64_t deadline);
/* A guest or service was started: its terminal and its end are watched. */
void loop_watch(struct loop *loop, struct proc *proc);
void loop_close(struct loop *loop);

/* control.c: one message of a client. false: hang up. */
bool control_message(struct loop *loop, struct client *client);
/* 1: there may be more; 0, or -errno: it waits on. */
int control_accept(struct loop *loop);
/* Tells the clients that asked for it: it runs again, or err says why not. */
void control_restarted(struct loop *loop, const struct proc *proc, const struct err *err);

#endif
