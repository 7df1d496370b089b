/* view.h - a lab as the kernel has it, compared with its plan. */
#ifndef TAPNET_CLI_VIEW_H
#define TAPNET_CLI_VIEW_H

#include "cli/cli.h"
#include "sys/nlr.h"
#include "sys/tunlive.h"

/* Where kernel and plan differ, and what mends it. */
struct problem {
	const char *of;	   /* a node, "switch" or "host" */
	const char *where; /* "eth1", "lan", "route 10.0.2.0/24"; of a program "" */
	const char *plan, *kernel, *remedy;
};

struct view_program {
	const char *name; /* "vm1", "r1.zebra" */
	const char *node;
	bool guest;
	const char *state;   /* waiting, running, ended, restarting */
	const char *last;    /* how it ended last, NULL: never */
	int64_t ago_ms;	     /* since then */
	int64_t since_ms;    /* it runs, when it does */
	const char *trouble; /* why it could not be started the last time, NULL */
	int pid, restarts;   /* pid 0: none */
};

enum queue_state { QUEUE_GONE, QUEUE_DETACHED, QUEUE_ATTACHED, QUEUE_OWN }; /* own: not our fd */

/* A TAP, its queues by our fds for them, and who holds them. */
struct view_tap {
	const struct op_tap *tap;
	const struct view_program *guest; /* whose it is, NULL */
	uint64_t netns;			  /* inode of its device's namespace */
	struct tun_state state;		  /* of a queue; its name is "" when none is known */
	enum queue_state *queues;
	int *guest_fds; /* in the guest, -1: not there */
	int live;	/* queues that are not gone */
	int *vhost_fds; /* those of /dev/vhost-net that it has for this TAP, in the guest */
	int n_vhost;
	struct view_holder *holders;
	int n_holders;
};

struct view_holder {
	int pid;
	const char *command;
	bool ours, guest; /* guardian and worker; the guest and its children */
	int *fds;
	int n_fds;
};

struct view {
	struct arena arena;
	const struct plan *plan;
	const char *state;  /* ready, starting, failed */
	int64_t expires_ms; /* 0: never */
	struct nlr_view *spaces;
	uint64_t *netns; /* their inodes */
	struct view_tap *taps;
	int n_taps;
	struct view_program *programs;
	int n_programs;
	struct problem *problems;
	int n_problems, cap_problems;
};

/* Asks worker and kernel. 0 or -errno; the caller frees it in either case. */
int view_read(const struct running *running, int control, struct view *view, struct err *err);
void view_free(struct view *view);
#define autoview __attribute__((cleanup(view_free)))

/* viewtap.c */
int view_taps(const struct running *running, int control, struct view *view, struct err *err);
/* The TAP of a planned fd, NULL when it was not made. */
const struct view_tap *view_tap(const struct view *view, int fd);

/* drift.c: fills in the problems. */
void view_compare(struct view *view);
void view_problem(struct view *view, struct problem problem);

/* The device of an interface, NULL when it is missing. */
const struct nlr_link *view_link(const struct view *view, uint32_t space, uint32_t ifindex,
				 const char *name);
/* The port of a bridge that filters by VLANs, which the interface is plugged into, or NULL. */
const struct nlr_link *view_port(const struct view *view, const struct plan_iface *iface);

#endif
