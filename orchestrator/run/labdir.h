/* labdir.h - the run directory of a lab: /run/tapnet-lab/NAME, or $XDG_RUNTIME_DIR/tapnet-lab/NAME.
 *
 * It holds the journal, a lock, the control socket, the hosts file and the logs. It is 0700, opened
 * without following links, and refused when it is another user's. The lock says that the lab is
 * alive: it belongs to the file table that guardian and worker share, so it is let go when both are
 * dead. Nothing else may open the lock file in a process that holds it.
 */
#ifndef TAPNET_RUN_LABDIR_H
#define TAPNET_RUN_LABDIR_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

#define LABDIR_PATH 256

struct labdir {
	int base_fd, fd, lock;
	char path[LABDIR_PATH];
	char name[40];
};

#define LABDIR_NONE ((struct labdir){ .base_fd = -1, .fd = -1, .lock = -1 })

/* Opens the lab's run directory; makes it with create. 0; -ENOENT when there is none; -errno. */
int labdir_open(const char *name, bool create, struct labdir *ret_dir, struct err *err);
void labdir_close(struct labdir *dir);
#define autolabdir __attribute__((cleanup(labdir_close)))

/* Is it still what its name leads to? */
bool labdir_in_place(const struct labdir *dir);

/* Takes the lock; it stays until labdir_unlock() or the end of the process. 0; -EBUSY when another
 * holds it; -ESTALE when the directory was removed meanwhile (open it again). */
int labdir_lock(struct labdir *dir, struct err *err);
void labdir_unlock(struct labdir *dir);
/* Does somebody hold the lock? */
bool labdir_alive(const struct labdir *dir);

/* Removes the directory and what is ours in it. With keep the logs go to NAME.failed. 0 or -errno. */
int labdir_remove(struct labdir *dir, bool keep_logs, struct err *err);

/* The same of one in which nothing was made, if nobody else has use for it. */
int labdir_discard(struct labdir *dir, struct err *err);

/* Removes the logs that a failed lab of this name left in NAME.failed. */
void labdir_forget_failed(struct labdir *dir);

/* Calls fn for each lab that has a directory, in order of their names. */
int labdir_each(int (*fn)(const char *name, void *arg), void *arg, struct err *err);

#endif
