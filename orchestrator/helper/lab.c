/* lab.c - see lab.h: the one request of the control socket (run/control.h) that is made here. */
#include "helper/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "sys/scm.h"

/* The switch is 1 in each plan. */
static const char request[] = "{\"do\":\"space\",\"space\":1,\"plug\":true}";

/* The lab's run directory, where tapnet-lab makes it. */
static int lab_folder(const char *lab, struct err *err)
{
	const char *own = getenv("TAPNET_RUN_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
	struct strbuf path autostr = STRBUF_INIT;
	int fd;

	if (own && *own == '/')
		strbuf_puts(&path, own);
	else if (geteuid() == 0)
		strbuf_puts(&path, "/run/tapnet-lab");
	else
		strbuf_printf(&path, "%s/tapnet-lab", xdg ? xdg : "");
	strbuf_printf(&path, "/%s", lab);
	fd = open(path.text, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, -ENOENT, "no such lab is up (%s)", path.text);
	return fd < 0 ? err_sys(err, -errno, "cannot open %s", path.text) : fd;
}

/* Root's and our own labs are believed; whoever else answers could name any namespace. */
static int lab_trust(int sock, struct err *err)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return err_sys(err, -errno, "not known whose lab it is");
	if (peer.uid != 0 && peer.uid != geteuid())
		return err_set(err, -EPERM, "it is the lab of user %u", peer.uid);
	return 0;
}

int lab_switch(const char *lab, int64_t deadline, struct err *err)
{
	autofd int folder = lab_folder(lab, err);
	autofd int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fds[SCM_FDS] = { -1, -1 }, r;
	char answer[4096];

	if (folder < 0)
		return folder;
	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/control", folder);
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof addr) < 0)
		return err_sys(err, -errno, "it cannot be reached (tapnet-lab status %s)", lab);
	r = lab_trust(sock, err);
	if (r == 0)
		r = scm_send(sock, request, strlen(request), NULL, 0, err);
	if (r == 0)
		r = (int)scm_recv(sock, deadline, answer, sizeof answer, fds, err);
	if (r < 0)
		return err_wrap(err, "asking it");
	fd_closep(&fds[1]);
	/* In place of a namespace come words, or nothing: a lab without bridges has no switch. */
	return fds[0] < 0 ? err_set(err, -ENOENT, "it has no bridges") : fds[0];
}
