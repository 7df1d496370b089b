/* watch.c - see watch.h. */
#include "run/watch.h"

#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fd.h"

struct watch watch_open(const struct labdir *dir)
{
	struct watch watch = WATCH_NONE;
	char path[LABDIR_PATH + 16];

	watch.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch.fd < 0)
		return watch;
	watch.folder = inotify_add_watch(watch.fd, dir->path,
					 IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF);
	(void)snprintf(path, sizeof path, "%s/journal", dir->path);
	watch.journal = inotify_add_watch(watch.fd, path, IN_MODIFY);
	return watch;
}

bool watch_written(const struct watch *watch)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool written = false;
	ssize_t n;

	while ((n = read(watch->fd, events, sizeof events)) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *event = (const void *)(events + at);

			written = written || event->wd == watch->journal;
			at += (ssize_t)(sizeof *event + event->len);
		}
	return written;
}

void watch_forget(const struct watch *watch)
{
	const int watched[] = { watch->folder, watch->journal };

	for (size_t i = 0; i < COUNT(watched); i++)
		if (watched[i] >= 0)
			(void)inotify_rm_watch(watch->fd, watched[i]);
}
