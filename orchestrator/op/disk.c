/* disk.c - what presets make before their guest: a throwaway copy of its disk, and files.
 *
 * The copy has no name: it is an O_TMPFILE file beside the image, where the filesystem may share the
 * blocks, and the fd that we hold is all that keeps it. The guest is given the fd, and opens it by
 * /proc/self/fd. So nothing can be left of it, whoever is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "op/op.h"
#include "op/program.h"

#define CHUNK ((size_t)16 << 20) /* copied between two looks at who waits for us */

static const struct rec disk_table[] = {
	REC(REC_STR, struct op_disk, image),
	REC(REC_INT, struct op_disk, fd),
	REC_END,
};

/* A file without a name in the image's folder, or, where that cannot be, in the run directory. */
static int disk_temp(const struct ctx *ctx, int dir, const char *image)
{
	const char *slash = strrchr(image, '/');
	autofree char *folder = slash ? strndup(image, (size_t)(slash - image) + 1) : strdup(".");
	int fd = folder ? openat(dir, folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		fd = openat(ctx->run_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

/* At most a chunk from *at on. Bytes copied, 0 at the end, or -errno. */
static ssize_t copy_some(int from, int to, off_t *at, size_t len)
{
	char data[65536];
	off_t out = *at;
	ssize_t n = copy_file_range(from, at, to, &out, len < CHUNK ? len : CHUNK, 0);
	int r;

	if (n >= 0 || (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP))
		return n < 0 ? -errno : n;
	n = pread(from, data, len < sizeof data ? len : sizeof data, *at);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	r = lseek(to, *at, SEEK_SET) < 0 ? -errno : io_write_all(to, data, (size_t)n);
	*at += n;
	return r < 0 ? r : n;
}

/* Holes stay holes. */
static int copy_data(struct ctx *ctx, int from, int to, off_t size)
{
	off_t at = 0, end = 0, looked = 0;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (ftruncate(to, size) < 0)
		return -errno;
	while (at < size) {
		ssize_t n;
		int r;

		if (at >= end) {
			at = lseek(from, at, SEEK_DATA);
			end = at < 0 ? -1 : lseek(from, at, SEEK_HOLE);
			if (end < 0)
				return errno == ENXIO ? 0 : -errno; /* no more data */
		}
		n = copy_some(from, to, &at, (size_t)(end - at));
		if (n <= 0)
			return (int)n;
		if (at - looked < (off_t)CHUNK)
			continue;
		looked = at;
		r = ctx->wait(ctx, -1, 0, io_now_ms() + 1);
		if (r < 0)
			return r;
		if (io_now_ms() > ctx->deadline)
			return -ETIMEDOUT;
	}
	return 0;
}

static int disk_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_disk *disk = ctx_step(ctx, i)->args;
	autofree char *image = program_expand(ctx, disk->image);
	autofd int dir = open(ctx->dir, O_PATH | O_DIRECTORY | O_CLOEXEC), from = -1, to = -1;
	struct stat st;
	int r;

	if (!image)
		return err_sys(err, -ENOMEM, "cannot copy %s", disk->image);
	from = openat(dir, image, O_RDONLY | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return err_sys(err, -errno, "cannot open the disk %s", image);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL,
			       "%s is no file that can be copied; disk: {file: …, keep: true} "
			       "gives the guest the thing itself",
			       image);
	to = disk_temp(ctx, dir, image);
	r = to < 0 ? to : copy_data(ctx, from, to, st.st_size);
	if (r == 0 && dup3(to, disk->fd, O_CLOEXEC) < 0)
		r = -errno;
	if (r == -ETIMEDOUT)
		return err_set(err, r, "%s: not copied when the lab's --timeout was over", image);
	return r < 0 ? err_sys(err, r, "cannot make a throwaway copy of %s", image) : 0;
}

static int disk_undo(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_disk *disk = ctx_step(ctx, i)->args;

	(void)err;
	if (ctx->have_fds)
		(void)close(disk->fd);
	return 0;
}

/* As `plan` shows it: what is symbolic as it is written. */
static void disk_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_disk *disk = step->args;
	const struct program image = { .argv = (const char *[]){ disk->image }, .argc = 1 };

	(void)plan;
	strbuf_puts(out, "disk: a copy of ");
	program_describe(&image, out);
	strbuf_printf(out, "  fd %d", disk->fd);
}

const struct op op_disk = {
	.name = "disk",
	.args = disk_table,
	.size = sizeof(struct op_disk),
	.apply = disk_apply,
	.phase = UNDO_FD,
	.undo = disk_undo,
	.describe = disk_describe,
	.undone_by = "close of its fd",
};

/* ---- files */

static const struct rec file_table[] = {
	REC(REC_STR, struct op_file, name),
	REC(REC_STR, struct op_file, text),
	REC_END,
};

static int file_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_file *file = ctx_step(ctx, i)->args;
	autofree char *text = program_expand(ctx, file->text);
	autofd int fd =
		openat(ctx->run_fd, file->name,
		       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	int r = fd < 0 ? -errno : !text ? -ENOMEM : io_write_all(fd, text, strlen(text));

	return r < 0 ? err_sys(err, r, "cannot write %s/%s", ctx->run, file->name) : 0;
}

static void file_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_file *file = step->args;

	(void)plan;
	strbuf_printf(out, "file %s in the run directory", file->name);
}

const struct op op_file = {
	.name = "file",
	.args = file_table,
	.size = sizeof(struct op_file),
	.apply = file_apply,
	.phase = UNDO_NOTHING,
	.describe = file_describe,
	.undone_by = "with the run directory",
};
