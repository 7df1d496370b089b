/* helper.c - see helper.h.
 *
 * Theory of operation. The helper has one end of a socketpair. Our end stands at the very number
 * that its fd is to have: so whoever dies meanwhile, what is still in the socket goes with the
 * planned fds, and nothing is left at a number that nobody knows.
 *
 * First the helper ends, then the socket is read. What it sent waits there; sent before an exit
 * that is not 0, or before it hung, it goes with the socket. What it left running goes, too, as it
 * would hold the TAP.
 */
#include "op/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "sys/scm.h"

#define HELPER_LOG "lab.log"
#define HELPER_FD  3
#define CLOSE_MS   2000 /* what was killed closes its end well within this */

/* The two ends of a socket: ours at the number at. */
static int helper_pair(int at, int *ret_theirs, struct err *err)
{
	autofd int ours = -1, theirs = -1;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(err, -errno, "cannot make a socketpair");
	ours = ends[0];
	theirs = ends[1];
	if (dup3(ours, at, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot put a socket at fd %d", at);
	*ret_theirs = take_fd(&theirs);
	return 0;
}

static int helper_run(struct ctx *ctx, uint32_t step, const struct program *program, int theirs,
		      uint32_t timeout_ms, off_t *ret_from, struct err *err)
{
	struct spawn_mark *mark = &ctx->slots[step].mark;
	struct strbuf lab autostr = STRBUF_INIT;
	const char *more[] = { NULL, NULL };
	struct spawn_fd fd = { .from = theirs, .to = HELPER_FD };
	struct spawn spawn = {
		.env = more,
		.cell = -1,
		.netns = -1,
		.mntns = -1,
		.fds = &fd,
		.n_fds = 1,
		.mark = mark,
	};
	int r;

	strbuf_printf(&lab, "TAPNET_LAB=%s", ctx->plan->lab);
	more[0] = lab.text;
	*mark = (struct spawn_mark){ 0 };
	r = program_run(ctx, &spawn, program, HELPER_LOG, timeout_ms, ret_from, err);
	if (mark->pid > 0 && spawn_kill_session(mark->pid, lab.text, io_now_ms() + CLOSE_MS) < 0 &&
	    r == 0)
		r = err_set(err, -EBUSY, "what it left running cannot be killed");
	return r;
}

/* Reads the socket at the number at, and puts what came in its place. */
static int helper_take(int at, struct err *err)
{
	autofd int fd = scm_recv_fd(at, io_now_ms(), err), more = -1;

	if (fd == -ENODATA || fd == -ETIMEDOUT)
		return err_set(err, -ENODATA, "it exited with 0, but sent no fd");
	if (fd < 0)
		return err_wrap(err, "what it sent");
	more = scm_recv_fd(at, io_now_ms() + CLOSE_MS, err);
	if (more == -ETIMEDOUT)
		return err_set(err, -EBUSY, "a process that it left holds its end of the socket");
	if (more != -ENODATA)
		return err_set(err, -EMSGSIZE, "what it sent: more than one fd came");
	return dup3(fd, at, O_CLOEXEC) < 0 ? err_sys(err, -errno, "cannot put its TAP at fd %d", at)
					   : 0;
}

int helper_get(struct ctx *ctx, uint32_t step, const struct program *helper, const char *bridge,
	       bool vnet_hdr, int at_fd, uint32_t timeout_ms, struct err *err)
{
	struct strbuf br autostr = STRBUF_INIT, fd autostr = STRBUF_INIT;
	const char **argv autofree = calloc((size_t)helper->argc + 4, sizeof *argv);
	struct program program = { .argv = argv, .env = helper->env, .n_env = helper->n_env };
	autofd int theirs = -1;
	off_t from = 0;
	int r = argv ? helper_pair(at_fd, &theirs, err) : err_sys(err, -ENOMEM, "no memory");

	if (r < 0)
		return err_wrap(err, "helper \"%s\"", program_name(helper));
	strbuf_printf(&fd, "--fd=%d", HELPER_FD);
	strbuf_printf(&br, "--br=%s", bridge);
	for (; program.argc < helper->argc; program.argc++)
		argv[program.argc] = helper->argv[program.argc];
	if (vnet_hdr)
		argv[program.argc++] = "--use-vnet";
	argv[program.argc++] = fd.text;
	argv[program.argc++] = br.text;
	r = helper_run(ctx, step, &program, theirs, timeout_ms, &from, err);
	fd_closep(&theirs);
	if (r == 0 && helper_take(at_fd, err) < 0) {
		r = err->code;
		program_last_words(ctx, HELPER_LOG, from, err);
	}
	if (r < 0) {
		(void)close(at_fd);
		return err_wrap(err, "helper \"%s\"", program_name(helper));
	}
	return 0;
}
