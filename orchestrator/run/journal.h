/* journal.h - the teardown's only input: the plan, and how far it was carried out.
 *
 *   +--------+------------+--------------+-----------+------ … -+
 *   | header | meta       | plan         | slot 0    | slot n-1 |
 *   +--------+------------+--------------+-----------+------ … -+
 *
 * One file, preallocated, so that a full disk fails before anything is made; mapped shared by
 * guardian and worker. Nothing is synced: it must survive killed processes, not a power cut, and
 * the boot id says so.
 */
#ifndef TAPNET_RUN_JOURNAL_H
#define TAPNET_RUN_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "op/op.h"
#include "op/step.h"

#define JOURNAL_WAITERS 16 /* clients that wait for the end of a down */

enum journal_state { JOURNAL_UP, JOURNAL_READY, JOURNAL_FAILED, JOURNAL_DOWN };

struct journal_head {
	char magic[8];
	uint32_t version, slots_offset;
	char boot_id[40];
	uint64_t checksum; /* of meta and plan */
	uint32_t meta_len, plan_len, n_slots;

	/* What follows changes while the lab lives. */
	uint32_t state; /* enum journal_state */
	struct spawn_mark guardian, worker;
	int32_t report;			  /* fd of the caller that waits for `up`, -1 */
	int32_t waiters[JOURNAL_WAITERS]; /* fds of clients that wait for `down`, -1 */
	uint32_t keep_logs;		  /* the way up failed */
	uint32_t plugged; /* a bridge helper was let into the switch: TAPs of others may be there */
};

struct journal_meta {
	const char *name, *file, *dir; /* the lab file's path and folder, absolute */
	uint32_t uid;
	uint32_t created;   /* seconds since 1970 */
	uint32_t file_sum;  /* of the file's bytes and its presets', to tell a change */
	uint32_t owner_uid; /* of the lab file */
	bool trust_hooks;
	uint32_t nofile;  /* the caller's soft limit on open files */
	const char **env; /* the whitelisted environment of the caller */
	int n_env;
};

struct journal {
	int fd;
	size_t size;
	struct journal_head *head; /* the mapping; NULL: none */
	struct slot *slots;
	struct journal_head *copy; /* keep.c: what a living lab knows of it; NULL: none */
	bool apart;		   /* the copy lies over the mapping: the file is lost */
	struct journal_meta meta;
	struct plan *plan;
	struct arena arena;
};

#define JOURNAL_NONE ((struct journal){ .fd = -1 })

/* Writes and maps a new journal in the run directory; meta and plan stay the caller's. */
int journal_create(int dir_fd, const struct journal_meta *meta, struct plan *plan,
		   struct journal *ret_journal, struct err *err);
/* Maps and decodes the one that is there. 0; -ENOENT; -ESTALE from another boot (nothing of it
 * lives); -EBADMSG when it is truncated, corrupt or of another version. */
int journal_open(int dir_fd, struct journal *ret_journal, struct err *err);
void journal_close(struct journal *journal);
#define autojournal __attribute__((cleanup(journal_close)))

/* ---- keep.c: a living lab's, whatever is done to the file */

/* Makes the copy, before there is a worker. */
int journal_copy(struct journal *journal, struct err *err);
/* Takes SIGBUS, by which the kernel tells who uses a page that is no more: in either process. */
void journal_guard(struct journal *journal);
/* These slots, and the head, are as they are to be. */
void journal_keep(struct journal *journal, uint32_t first, uint32_t n);
/* Puts the file back if it was cut short; touched: if it differs anywhere. */
void journal_mend(struct journal *journal, bool touched);

/* Do two labs come from the same plan, file folder included? */
bool journal_same(const struct journal *journal, const struct journal_meta *meta,
		  const struct plan *plan);

#endif
