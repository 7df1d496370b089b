/* loop.c - see loop.h. */
#include "run/loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "sys/pidfd.h"

#define UNWATCHED_MS 50 /* then it is tried again */
#define LAST_READS   64 /* of who has ended: what it left may write on for ever */

enum watch {
	WATCH_SIGNAL,
	WATCH_GUARDIAN,
	WATCH_CALLER,
	WATCH_LISTEN,
	WATCH_CLIENT,
	WATCH_TTY,
	WATCH_END,
	WATCH_EXTRA
};

static uint64_t watch_data(enum watch what, size_t index)
{
	return (uint64_t)what << 32 | (uint32_t)index;
}

static int watch_add(struct loop *loop, int fd, uint32_t events, enum watch what, size_t index)
{
	struct epoll_event event = { .events = events, .data.u64 = watch_data(what, index) };

	return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int listen_on(int dir_fd, struct err *err)
{
	autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	/* Through /proc, since the directory's own path may be longer than an address holds. */
	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/control", dir_fd);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    listen(fd, CLIENTS_MAX) < 0)
		return err_sys(err, -errno, "cannot open the control socket");
	return take_fd(&fd);
}

int loop_init(struct loop *loop, int dir_fd, struct err *err)
{
	sigset_t set;
	int r;

	for (int i = 0; i < CLIENTS_MAX; i++)
		loop->clients[i] = (struct client){ .fd = -1 };
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->epoll < 0 || loop->signals < 0)
		return err_sys(err, -errno, "cannot make the event loop");
	loop->listen = listen_on(dir_fd, err);
	if (loop->listen < 0)
		return loop->listen;
	r = watch_add(loop, loop->signals, EPOLLIN, WATCH_SIGNAL, 0);
	if (r == 0)
		r = watch_add(loop, loop->guardian, EPOLLIN, WATCH_GUARDIAN, 0);
	if (r == 0)
		r = watch_add(loop, loop->listen, EPOLLIN, WATCH_LISTEN, 0);
	if (r == 0 && loop->caller >= 0)
		r = watch_add(loop, loop->caller, EPOLLRDHUP | EPOLLONESHOT, WATCH_CALLER, 0);
	return r < 0 ? err_sys(err, r, "cannot make the event loop") : 0;
}

/* False when it has to be tried again. */
static bool watch_proc(struct loop *loop, int fd, enum watch what, size_t index)
{
	int r = fd < 0 ? 0 : watch_add(loop, fd, EPOLLIN, what, index);

	return r == 0 || r == -EEXIST;
}

void loop_watch(struct loop *loop, struct proc *proc)
{
	size_t index = (size_t)(proc - loop->ctx->procs);

	if (!watch_proc(loop, proc->master, WATCH_TTY, index) ||
	    !watch_proc(loop, proc->spawned.pidfd, WATCH_END, index))
		loop->unwatched = true;
}

/* Without memory one was not watched: it would have no output, and no end. */
static void watch_again(struct loop *loop)
{
	loop->unwatched = false;
	for (int i = 0; i < loop->ctx->n_procs; i++)
		if (loop->ctx->procs[i].state == PROC_RUNNING)
			loop_watch(loop, &loop->ctx->procs[i]);
}

/* ---- what can happen */

static void client_close(struct loop *loop, struct client *client)
{
	(void)loop;
	fd_closep(&client->fd);
	client->console = client->restart = NULL;
}

/* A console that does not read loses output; it never holds the guest up. */
static void to_consoles(void *arg, struct proc *proc, const char *data, size_t len)
{
	struct loop *loop = arg;

	for (int i = 0; i < CLIENTS_MAX; i++)
		if (loop->clients[i].fd >= 0 && loop->clients[i].console == proc)
			(void)send(loop->clients[i].fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_tty(struct loop *loop, struct proc *proc)
{
	if (proc->master >= 0 && !proc_read(proc, to_consoles, loop))
		(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, proc->master, NULL);
}

static void on_end(struct loop *loop, struct proc *proc)
{
	if (proc->spawned.pidfd < 0)
		return;
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, proc->spawned.pidfd, NULL);
	if (proc->master >= 0)
		(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, proc->master, NULL);
	for (int i = 0; i < LAST_READS && proc->master >= 0; i++)
		if (io_wait(proc->master, POLLIN, io_now_ms()) <= 0 ||
		    !proc_read(proc, to_consoles, loop))
			break;
	proc_ended(loop->ctx, proc);
	for (int i = 0; proc->state == PROC_ENDED && i < CLIENTS_MAX; i++)
		if (loop->clients[i].fd >= 0 && loop->clients[i].console == proc)
			client_close(loop, &loop->clients[i]);
}

static void on_client(struct loop *loop, struct client *client)
{
	if (client->fd >= 0 && !control_message(loop, client))
		client_close(loop, client);
}

static void on_listen(struct loop *loop)
{
	int accepted;

	while ((accepted = control_accept(loop)) > 0)
		;
	if (accepted < 0) /* who waits is told of again at once */
		io_nap();
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		int r = loop->clients[i].fd < 0 ? 0
						: watch_add(loop, loop->clients[i].fd,
							    EPOLLIN | EPOLLRDHUP, WATCH_CLIENT, i);

		if (r < 0 && r != -EEXIST) /* it would wait for nothing */
			client_close(loop, &loop->clients[i]);
	}
}

static void on_signal(struct loop *loop)
{
	struct signalfd_siginfo info;

	if (read(loop->signals, &info, sizeof info) == (ssize_t)sizeof info)
		loop->stop = true;
}

/* Returns whether it was the extra fd. */
static bool loop_event(struct loop *loop, const struct epoll_event *event)
{
	size_t index = (uint32_t)event->data.u64;

	switch ((enum watch)(event->data.u64 >> 32)) {
	case WATCH_SIGNAL:
		on_signal(loop);
		break;
	case WATCH_GUARDIAN:
		loop->stop = true;
		break;
	case WATCH_CALLER: /* also once it was left, when it could not be taken off */
		loop->stop = loop->stop || loop->caller >= 0;
		break;
	case WATCH_LISTEN:
		on_listen(loop);
		break;
	case WATCH_CLIENT:
		on_client(loop, &loop->clients[index]);
		break;
	case WATCH_TTY:
		on_tty(loop, &loop->ctx->procs[index]);
		break;
	case WATCH_END:
		on_end(loop, &loop->ctx->procs[index]);
		break;
	case WATCH_EXTRA:
		return true;
	}
	return false;
}

static void start_again(struct loop *loop, struct proc *proc)
{
	struct err err;
	int r = proc_again(loop->ctx, proc, &err);

	if (r == 0)
		loop_watch(loop, proc);
	journal_keep(loop->journal, proc->step, 1);
	control_restarted(loop, proc, r < 0 ? &err : NULL);
}

/* When something is due for a program, 0: never. */
static int64_t proc_due(const struct proc *proc)
{
	return proc->state == PROC_BACKOFF   ? proc->again_ms
	       : proc->state == PROC_RUNNING ? proc->kill_ms
					     : 0;
}

/* Programs whose time has come start again, or are killed. Returns when the next one is due. */
static int64_t again(struct loop *loop, int64_t due)
{
	for (int i = 0; i < loop->ctx->n_procs; i++) {
		struct proc *proc = &loop->ctx->procs[i];
		int64_t at = proc_due(proc);

		if (at && at <= io_now_ms()) {
			if (proc->state == PROC_BACKOFF)
				start_again(loop, proc);
			else
				(void)pidfd_signal(proc->spawned.pidfd, SIGKILL);
			proc->kill_ms = 0;
			at = proc_due(proc);
		}
		if (at && at < due)
			due = at;
	}
	return due;
}

/* One turn, until deadline at most. Returns whether the extra fd is ready. */
static bool loop_turn(struct loop *loop, int64_t deadline)
{
	struct epoll_event events[32];
	bool extra = false;
	int64_t due = again(loop, deadline);
	int n;

	if (loop->unwatched)
		watch_again(loop);
	if (loop->unwatched && due > io_now_ms() + UNWATCHED_MS)
		due = io_now_ms() + UNWATCHED_MS;
	if (loop->expires && loop->expires < due)
		due = loop->expires;
	n = epoll_wait(loop->epoll, events, (int)COUNT(events), io_left_ms(due));
	loop->deaf = n < 0;
	if (loop->deaf)
		io_nap();
	for (int i = 0; i < n; i++)
		extra = loop_event(loop, &events[i]) || extra;
	if (loop->expires && io_now_ms() >= loop->expires)
		loop->stop = true;
	return extra;
}

int loop_wait(struct loop *loop, int fd, short events, int64_t deadline)
{
	bool watched = fd < 0 || watch_add(loop, fd, (uint32_t)events, WATCH_EXTRA, 0) == 0;
	bool ready = false;

	while (!ready && !loop->stop && io_now_ms() < deadline) {
		int64_t look = watched ? deadline : io_now_ms() + UNWATCHED_MS;

		ready = loop_turn(loop, look < deadline ? look : deadline) ||
			((!watched || loop->deaf) && io_wait(fd, events, io_now_ms()) > 0);
	}
	if (fd >= 0 && watched)
		(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
	return ready ? 1 : loop->stop ? -ECANCELED : 0;
}

/* By name: the guardian may be polling the same socket, and until it is not, its end would still be
 * told. */
void loop_leave_caller(struct loop *loop)
{
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, loop->caller, NULL);
	fd_closep(&loop->caller);
}

void loop_run(struct loop *loop)
{
	while (!loop->stop)
		(void)loop_turn(loop, INT64_MAX);
}

void loop_close(struct loop *loop)
{
	for (int i = 0; i < CLIENTS_MAX; i++)
		client_close(loop, &loop->clients[i]);
	fd_closep(&loop->listen);
	fd_closep(&loop->signals);
	fd_closep(&loop->epoll);
}
