/* op.h - what a step can do: each operation carries one out and knows its undo.
 *
 * Three shapes. `encode` adds netlink messages, which the executor sends a batch a namespace.
 * `apply` does something else, at once. `start` and `finish` are for programs: a run of such steps
 * is started whole before the first is waited for.
 *
 * The undo of a step is idempotent, works on what the journal knows, and takes "already gone" for
 * success. An op without one makes only what dies with a namespace of the lab's own.
 */
#ifndef TAPNET_OP_OP_H
#define TAPNET_OP_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "op/step.h"
#include "sys/nlw.h"
#include "sys/ns.h"
#include "sys/spawn.h"

enum slot_state {
	SLOT_NONE,   /* not begun */
	SLOT_INTENT, /* begun; done or not, nobody knows */
	SLOT_DONE,
	SLOT_FAILED,  /* refused: there is nothing to undo */
	SLOT_UNDOING, /* its down hook was begun, and the mark is that one's */
	SLOT_UNDONE,
	SLOT_LOST, /* as SLOT_UNDONE, but its down hook failed, and nobody has been told yet */
};

/* The journal's record of a step: in memory that guardian and worker share with the file. */
struct slot {
	uint32_t state;		/* enum slot_state; written last */
	uint32_t ifindex;	/* of an object in the host's namespace */
	struct ns_id ns;	/* of a namespace */
	struct spawn_mark mark; /* of a program */
};

static inline void slot_set(struct slot *slot, enum slot_state state)
{
	__atomic_store_n(&slot->state, (uint32_t)state, __ATOMIC_RELEASE);
}

static inline enum slot_state slot_get(const struct slot *slot)
{
	return (enum slot_state)__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
}

struct proc; /* op/proc.h: a running guest or service */

/* What carries the steps out: the worker going up, the guardian (or the worker, or gc) coming
 * down. One thread; it may be in any space between two steps, and is back in the host's after. */
struct ctx {
	const struct plan *plan;
	struct slot *slots; /* plan->n_steps of them */
	const char *dir;    /* the lab's folder */
	const char *run;    /* path of the run directory */
	int run_fd;
	const char *const *env; /* the whitelisted part of the caller's environment */
	uint32_t owner_uid;	/* of the lab file */
	bool trust_hooks;	/* whoever can write them */
	uint32_t nofile;	/* soft limit on open files that programs get: the caller's own */
	int host_net;		/* the namespace we came from */
	int guardian;		/* pidfd; -1 coming down */
	bool have_fds;		/* planned fds are open here; false in gc */

	uint32_t space; /* where the thread is now */
	int nl;		/* netlink socket in nl_space, -1 none */
	uint32_t nl_space;
	struct nlbatch batch;

	const char *ifname; /* STEP_IFNAME; NULL: none is known */

	struct proc *procs; /* one a guest or service; going up and at rest only */
	int n_procs;

	int64_t deadline; /* of the whole way up, ms of io_now_ms() */
	/* Waits for fd, serving consoles and clients meanwhile. 1 ready, 0 past the deadline,
	 * -ECANCELED when the caller went away. */
	int (*wait)(struct ctx *ctx, int fd, short events, int64_t deadline);
	/* Tells the user something: the output of an exec. May be NULL. */
	void (*say)(struct ctx *ctx, const struct step *step, const char *text, size_t len);
	void *owner;

	void *way_down; /* memory that coming down needs, got before anything is made */
};

#define CTX_NONE ((struct ctx){ .run_fd = -1, .host_net = -1, .guardian = -1, .nl = -1 })

/* Moves the thread into a space. 0 or -errno. */
int ctx_enter(struct ctx *ctx, uint32_t space, struct err *err);
/* A netlink socket in the space (the thread is left there), cached for the last one. fd or -errno. */
int ctx_nl(struct ctx *ctx, uint32_t space, struct err *err);
/* Pidfd of the init of the cell that step i made, for programs to join. fd or -errno. */
int ctx_cell(const struct ctx *ctx, uint32_t i, struct err *err);
/* Back to the host's namespace; the cached socket is closed. */
void ctx_leave(struct ctx *ctx);

/* In this order, coming down. */
enum undo_phase {
	UNDO_NOTHING, /* dies with a namespace of the lab */
	UNDO_PROC,    /* SIGTERM, a grace, SIGKILL; all at once */
	UNDO_HOOK,
	UNDO_HOST, /* an object in the host's namespace, by identity */
	UNDO_FD,   /* TAPs, then namespaces: closing lets go */
};

struct op {
	const char *name;
	const struct rec *args;
	size_t size;
	void (*encode)(const struct ctx *ctx, uint32_t i, struct nlbatch *batch);
	int (*apply)(struct ctx *ctx, uint32_t i, struct err *err);
	int (*start)(struct ctx *ctx, uint32_t i, struct spawned *ret_spawned, struct err *err);
	int (*finish)(struct ctx *ctx, uint32_t i, struct spawned *spawned, struct err *err);
	/* Keeps what a message's outcome says (an ifindex), in the slot. */
	void (*outcome)(struct ctx *ctx, uint32_t i, const struct nlb_outcome *outcome);
	enum undo_phase phase;
	int (*undo)(struct ctx *ctx, uint32_t i, struct err *err);
	void (*describe)(const struct plan *plan, const struct step *step, struct strbuf *out);
	const char *undone_by; /* for people */
};

extern const struct op op_hook, op_netns, op_mounts, op_sysctl, op_bridge, op_veth, op_tap, op_port,
	op_hostport, op_link, op_addr, op_route, op_altname, op_cell, op_exec, op_proc, op_ready,
	op_disk, op_file, op_subif, op_vlans;

/* Ranges of VLANs, for tables of arguments. */
extern const struct rec op_vlan_table[];

const struct op *op_of(const struct step *step);

static inline const struct step *ctx_step(const struct ctx *ctx, uint32_t i)
{
	return &ctx->plan->steps[i];
}

#endif
