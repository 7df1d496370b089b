/* fuzz_acl.c - any bytes as the rules of tapnet-bridge-helper: a verdict, or mistakes with places. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "helper/acl.h"
#include "fuzz.h"

void judge(const uint8_t *data, size_t size)
{
	static const struct name name = { .lab = "class", .bridge = "lan" };
	struct strbuf mistakes autostr = STRBUF_INIT;
	struct err err = { 0 };
	char path[64];
	autofd int fd = -1;
	int r;

	(void)snprintf(path, sizeof path, "/dev/shm/tapnet-fuzz-acl-%d", getpid());
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		return;
	r = acl_check(path, &name, &mistakes, &err);
	if (r > 0 || (r < 0 && !err.msg[0]) || (r == 0 && mistakes.len))
		abort();
	(void)unlink(path);
}
