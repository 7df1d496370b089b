/* host.c - the lab's names: the hosts file, and the mount namespace of plain nodes that shows it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "op/op.h"

static const struct rec mounts_table[] = {
	REC(REC_STR, struct op_mounts, hosts),
	REC(REC_INT, struct op_mounts, fd),
	REC_END,
};

static int mounts_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_mounts *mounts = ctx_step(ctx, i)->args;
	char path[512];
	autofd int fd =
		openat(ctx->run_fd, "hosts",
		       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
	int r = fd < 0 ? -errno : io_write_all(fd, mounts->hosts, strlen(mounts->hosts));
	int n = snprintf(path, sizeof path, "%s/hosts", ctx->run);

	if (n < 0 || (size_t)n >= sizeof path)
		r = -ENAMETOOLONG;
	if (r < 0)
		return err_sys(err, r, "cannot write %s/hosts", ctx->run);
	return spawn_mntns(path, mounts->fd, err);
}

static int mounts_undo(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_mounts *mounts = ctx_step(ctx, i)->args;

	(void)err;
	if (ctx->have_fds)
		(void)close(mounts->fd);
	return 0;
}

static void mounts_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	(void)plan;
	(void)step;
	strbuf_puts(out, "hosts file with the lab's names, and a mount namespace that shows it");
}

const struct op op_mounts = {
	.name = "mounts",
	.args = mounts_table,
	.size = sizeof(struct op_mounts),
	.apply = mounts_apply,
	.phase = UNDO_FD,
	.undo = mounts_undo,
	.describe = mounts_describe,
	.undone_by = "close of its fd",
};
