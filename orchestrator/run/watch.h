/* watch.h - whether somebody touches a living lab's files: by inotify. */
#ifndef TAPNET_RUN_WATCH_H
#define TAPNET_RUN_WATCH_H

#include <stdbool.h>

#include "run/labdir.h"

struct watch {
	int fd;		     /* readable when something happened; -1: it cannot be watched */
	int folder, journal; /* what is watched, -1 none */
};
#define WATCH_NONE ((struct watch){ .fd = -1, .folder = -1, .journal = -1 })

/* Watches for the end of the directory and of what is in it, and for writes to the journal. Without memory
 * it watches less: a vanished run directory is then noticed by `gc` only, and a journal that somebody
 * cut short when it is needed. */
struct watch watch_open(const struct labdir *dir);
/* Has somebody written to the journal's file since the last call? Nobody may: it is mapped. */
bool watch_written(const struct watch *watch);
/* Nothing is watched any more. The kernel takes some ten milliseconds to forget what was, and keeps who
 * closes the last reference to the fd waiting for that: in the meantime it does it by itself. */
void watch_forget(const struct watch *watch);

#endif
