/* ctx.c - where the thread is, and its netlink socket there. */
#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "op/op.h"
#include "sys/ns.h"

int ctx_enter(struct ctx *ctx, uint32_t space, struct err *err)
{
	int r;

	if (ctx->space == space)
		return 0;
	r = ns_enter_net(space == SPACE_HOST ? ctx->host_net : ctx->plan->spaces[space].fd, err);
	if (r < 0)
		return err_wrap(err, "cannot enter %s", ctx->plan->spaces[space].name);
	ctx->space = space;
	return 0;
}

int ctx_nl(struct ctx *ctx, uint32_t space, struct err *err)
{
	int r;

	if (ctx->nl >= 0 && ctx->nl_space == space)
		return ctx->nl;
	fd_closep(&ctx->nl);
	r = ctx_enter(ctx, space, err);
	if (r < 0)
		return r;
	ctx->nl = nlw_open(err);
	ctx->nl_space = space;
	return ctx->nl;
}

int ctx_cell(const struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct spawn_mark *mark = &ctx->slots[i].mark;
	int pidfd = spawn_pidfd(mark->pid, mark->start_time);

	if (pidfd == -ESRCH)
		return err_set(err, pidfd, "its process namespace is gone");
	return pidfd < 0 ? err_sys(err, pidfd, "cannot reach its process namespace") : pidfd;
}

void ctx_leave(struct ctx *ctx)
{
	struct err ignored;

	fd_closep(&ctx->nl);
	if (ctx->host_net >= 0)
		(void)ctx_enter(ctx, SPACE_HOST, &ignored);
}
