/* fuzz_lab.c - any bytes as a lab file: read, checked and planned, or refused with its errors. */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kind/kind.h"
#include "plan/plan.h"
#include "fuzz.h"

void judge(const uint8_t *data, size_t size)
{
	struct arena arena = ARENA_NONE;
	struct diags diags = { 0 };
	struct lab_options options = { .name = "fuzz" };
	struct assume assume = { 0 };
	struct strbuf out autostr = STRBUF_INIT;
	struct lab *lab = NULL;
	struct plan *plan = NULL;
	struct err err;
	char path[32];
	int fd = memfd_create("lab", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || arena_init(&arena, 0, &err) < 0)
		return;
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (lab_load(&arena, path, &options, &kinds, &diags, &lab, &err) == 0 &&
	    plan_make(&arena, lab, &assume, &diags, &plan) == 0)
		PRINT(plan, &assume, &out);
	else
		diag_print(&diags, &out);
	arena_free(&arena);
	(void)close(fd);
}
