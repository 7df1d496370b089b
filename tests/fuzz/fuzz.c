/* fuzz.c - what all targets have in common. With TAPNET_JUDGE it is a program of its own, without
 * sanitizers, that judges the files of the folders it is given: each within 100 ms of the processor,
 * whatever its bytes.
 *
 * TAPNET_PLANT plants a fault (crash, leak, slow), so that it is seen to be caught.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kind/kind.h"
#include "plan/plan.h"

#define JUDGED_MS 100.0
#define TRIES	  3

static double cpu_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

int lowest_free(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

	(void)close(fd);
	return fd;
}

void judge_lab(const char *path)
{
	struct arena arena = ARENA_NONE;
	struct diags diags = { 0 };
	struct lab_options options = { .name = "fuzz" };
	struct assume assume = { .kvm.known = true, .vhost.known = true };
	struct strbuf out autostr = STRBUF_INIT;
	struct lab *lab = NULL;
	struct plan *plan = NULL;
	struct err err;

	if (arena_init(&arena, 0, &err) < 0)
		return;
	if (lab_load(&arena, path, &options, &kinds, &diags, &lab, &err) < 0 ||
	    plan_make(&arena, lab, &assume, &diags, &plan) < 0)
		diag_print(&diags, &out);
#ifndef TAPNET_JUDGE /* to print a plan that is fine is not to judge it */
	else
		plan_print(plan, &assume, &out);
#endif
	arena_free(&arena);
}

static void plant(void)
{
	const char *what = getenv("TAPNET_PLANT");
	double until = cpu_ms() + 2 * JUDGED_MS;
	static void *volatile lost;

	if (!what)
		return;
	if (strcmp(what, "crash") == 0)
		abort();
	if (strcmp(what, "leak") == 0)
		lost = malloc(7);
	if (lost)
		lost = NULL;
	while (strcmp(what, "slow") == 0 && cpu_ms() < until)
		;
}

#ifndef TAPNET_JUDGE

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	plant();
	judge(data, size);
	return 0;
}

#else

int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static double judged_ms(const uint8_t *data, size_t size)
{
	double begin = cpu_ms();

	plant();
	judge(data, size);
	return cpu_ms() - begin;
}

/* The quickest of some tries counts: another's work may slow a processor down. */
static double file_ms(FILE *f)
{
	static uint8_t data[64 << 10];
	size_t size = fread(data, 1, sizeof data, f);
	double ms = judged_ms(data, size);

	for (int i = 1; i < TRIES && ms > JUDGED_MS; i++) {
		double again = judged_ms(data, size);

		ms = again < ms ? again : ms;
	}
	return ms;
}

/* How many files were too slow; *slowest grows. */
static int folder_judge(const char *path, double *slowest, int *files)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int slow = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
		FILE *f = fd < 0 || entry->d_name[0] == '.' ? NULL : fdopen(fd, "r");
		double ms;

		if (!f)
			continue;
		ms = file_ms(f);
		(void)fclose(f);
		++*files;
		*slowest = ms > *slowest ? ms : *slowest;
		if (ms <= JUDGED_MS)
			continue;
		slow++;
		printf("%s/%s: judged in %.0f ms\n", path, entry->d_name, ms);
	}
	(void)closedir(dir);
	return slow;
}

int main(int argc, char **argv)
{
	double slowest = 0;
	int slow = 0, files = 0;

	if (LLVMFuzzerInitialize)
		(void)LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		slow += folder_judge(argv[i], &slowest, &files);
	printf("%d files, the slowest in %.1f ms\n", files, slowest);
	return slow || !files;
}

#endif
