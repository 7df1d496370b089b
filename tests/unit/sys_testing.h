/* sys_testing.h - what the tests of the sys layer share: root, bounds in time, places to play in.
 *
 * Every test runs in namespaces that its program made for itself, so nothing of the host changes
 * and the kernel takes all away at its end.
 */
#ifndef TAPNET_TESTS_SYS_TESTING_H
#define TAPNET_TESTS_SYS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "sys/ns.h"
#include "sys/pidfd.h"
#include "sys/spawn.h"

#define SKIPPED 77 /* meson's word for it */

/* A bound for what takes no time: others may keep the machine, and the kernel's one queue for dead
 * namespaces, busy. */
#define LONG_MS 30000

static struct err err;

/* Fails the test with the library's own words. */
#define must(call) testing_must((call), #call, __FILE__, __LINE__)
static inline int testing_must(int r, const char *call, const char *file, int line)
{
	if (r < 0) {
		print_error("%s = %d: %s\n", call, r, err.msg);
		_fail(file, line);
	}
	return r;
}

static inline int64_t in_ms(int ms)
{
	return io_now_ms() + ms;
}

/* Root's mount and network namespaces of our own, and an end whatever happens. */
static inline void testing_start(unsigned seconds)
{
	if (geteuid() != 0) {
		(void)fprintf(stderr, "SKIP: needs root (namespaces, devices)\n");
		exit(SKIPPED);
	}
	(void)alarm(seconds);
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		(void)fprintf(stderr, "SKIP: cannot make namespaces here\n");
		exit(SKIPPED);
	}
}

/* Memory that children share with us. */
static inline void *testing_shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

/* Reads until the end, as a string. */
static inline void testing_read(int fd, char *text, size_t size)
{
	size_t len = 0;

	while (len < size - 1 && io_wait(fd, POLLIN, in_ms(LONG_MS)) == 1) {
		ssize_t n = read(fd, text + len, size - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
}

static inline const struct spawn *testing_spawn(struct spawn *spawn, const char *const *argv)
{
	static const char *const env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };

	*spawn = (struct spawn){ .argv = argv,
				 .env = env,
				 .in = -1,
				 .out = -1,
				 .err = 2,
				 .tty = -1,
				 .cell = -1,
				 .netns = -1,
				 .mntns = -1,
				 .uid = -1,
				 .gid = -1 };
	return spawn;
}

/* Waits for the end of a program, which is near; its wait status. */
static inline int testing_exit(struct spawned *spawned)
{
	int status = -1;

	assert_int_equal(spawn_wait(spawned->pidfd, in_ms(LONG_MS), &status), 1);
	fd_closep(&spawned->pidfd);
	return status;
}

/* Runs it and gives what it wrote; its wait status. */
static inline int testing_output(struct spawn *spawn, char *text, size_t size)
{
	struct spawned spawned;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	spawn->out = ends[1];
	must(spawn_run(spawn, &spawned, &err));
	(void)close(ends[1]);
	testing_read(ends[0], text, size);
	(void)close(ends[0]);
	return testing_exit(&spawned);
}

static inline int testing_shell(struct spawn *spawn, const char *command, char *text, size_t size)
{
	const char *argv[] = { "sh", "-c", command, NULL };

	spawn->argv = argv;
	return testing_output(spawn, text, size);
}

/* No child of ours is left, ended or not. */
#define assert_childless() assert_true(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)

#endif
