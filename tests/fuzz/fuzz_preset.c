/* fuzz_preset.c - any bytes as a preset's file: read, and filled in for a guest, or refused with its
 * errors. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

static const char lab_text[] =
	"bridges: {lan: 10.0.0.0/24}\n"
	"nodes:\n"
	"  vm: {kind: own, interfaces: {eth0: {bridge: lan, tap: {queues: 2}}, eth1: lan}}\n"
	"  v2: {kind: own, interfaces: {eth0: lan}, kernel: k, initrd: i, append: 'a \"b\" "
	"${eth0.fd}',\n"
	"    disk: {file: 'a,b', format: raw}, extra: [x, '${lab.run}']}\n";

static char folder[] = "/tmp/fuzz-preset-XXXXXX";
static char lab_path[64], preset_path[64];

static void clean(void)
{
	(void)unlink(preset_path);
	(void)unlink(lab_path);
	*strrchr(preset_path, '/') = '\0';
	(void)rmdir(preset_path);
	(void)rmdir(folder);
}

static void write_file(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	(void)close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (!mkdtemp(folder))
		abort();
	(void)snprintf(lab_path, sizeof lab_path, "%s/lab.yaml", folder);
	(void)snprintf(preset_path, sizeof preset_path, "%s/presets", folder);
	if (mkdir(preset_path, 0700) < 0)
		abort();
	(void)strcat(preset_path, "/own.yaml");
	write_file(lab_path, lab_text, sizeof lab_text - 1);
	return atexit(clean);
}

void judge(const uint8_t *data, size_t size)
{
	write_file(preset_path, data, size);
	judge_lab(lab_path);
}
