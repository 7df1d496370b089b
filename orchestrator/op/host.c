/* host.c - the lab's names in the hosts file, and the mount namespaces that show it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "op/op.h"
#include "sys/mnt.h"

static const struct rec mounts_table[] = {
	REC(REC_STR, struct op_mounts, hosts),
	REC(REC_INT, struct op_mounts, fd),
	REC_END,
};

/* The lab's, of all plain nodes. */
static int hosts_apply(struct ctx *ctx, const struct op_mounts *mounts, struct err *err)
{
	char path[512];
	int n = snprintf(path, sizeof path, "%s/hosts", ctx->run);
	autofd int fd =
		openat(ctx->run_fd, "hosts",
		       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
	int r = fd < 0 ? -errno : io_write_all(fd, mounts->hosts, strlen(mounts->hosts));

	if (n < 0 || (size_t)n >= sizeof path)
		r = -ENAMETOOLONG;
	if (r < 0)
		return err_sys(err, r, "cannot write %s/hosts", ctx->run);
	r = mnt_make(&(struct mnt){ .base = -1, .hosts = path }, mounts->fd, err);
	return r < 0 ? r : 0;
}

static int mounts_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct step *step = ctx_step(ctx, i);
	const struct op_mounts *mounts = step->args;
	int r;

	if (mounts->hosts)
		return hosts_apply(ctx, mounts, err);
	r = ctx_enter(ctx, step->space, err);
	if (r == 0)
		r = mnt_make(&(struct mnt){ .base = step->space == SPACE_SWITCH
							    ? -1
							    : ctx->plan->mounts_fd,
					    .sys = true },
			     mounts->fd, err);
	return r < 0 ? r : 0;
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
	const struct op_mounts *mounts = step->args;

	(void)plan;
	strbuf_puts(out, mounts->hosts ? "hosts file with the lab's names, and a mount namespace "
					 "that shows it"
				       : "mount namespace for its hooks, with its own /sys");
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
