/* io.c - see io.h. */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

#define NO_MEMORY_MS 300 /* for poll(): it passes, or is told */

int64_t io_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int io_left_ms(int64_t deadline)
{
	int64_t left = deadline - io_now_ms();

	if (left <= 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}

void io_nap(void)
{
	const struct timespec moment = { .tv_nsec = 10 * 1000 * 1000 };

	(void)nanosleep(&moment, NULL);
}

int io_wait(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t patience = INT64_MAX;
	int n;

	while ((n = poll(&p, 1, io_left_ms(deadline))) < 0) {
		if (errno == EINTR)
			continue;
		if (patience == INT64_MAX)
			patience = io_now_ms() + NO_MEMORY_MS;
		if (errno != ENOMEM || io_now_ms() >= (deadline < patience ? deadline : patience))
			return -errno;
		io_nap();
	}
	return n;
}

int io_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_read_file(int dirfd, const char *path, size_t max, struct strbuf *buf)
{
	autofd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char chunk[16384];
	size_t total = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return buf->failed ? -ENOMEM : 0;
		total += (size_t)n;
		if (total > max)
			return -EFBIG;
		strbuf_add(buf, chunk, (size_t)n);
	}
}

int io_write_file(int dirfd, const char *path, const char *text)
{
	autofd int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do {
		n = write(fd, text, strlen(text));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}
