/* main.c - tapnet-bridge-helper: a TAP on a bridge, for an emulator that asks as QEMU does.
 *
 *   options ─▶ ACL ─▶ a lab's namespace, or the host's ─▶ the TAP, a port ─▶ its fd to the caller
 *
 * What fails before the fd is sent leaves nothing: the TAP goes with its only fd. It is not made to
 * be setuid: it trusts its environment, and takes an ACL file from its command line.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "helper/acl.h"
#include "helper/lab.h"
#include "helper/options.h"
#include "helper/port.h"
#include "sys/nlw.h"
#include "sys/ns.h"
#include "sys/scm.h"

#define HELPER_MS 10000 /* kernel and lab answer well within this */

static void complain(const char *what, size_t len)
{
	struct strbuf text autostr = STRBUF_INIT;

	strbuf_safe(&text, what, len);
	(void)fprintf(stderr, "tapnet-bridge-helper: error: %s\n", text.text);
}

static int not_set_id(struct err *err)
{
	if (!getauxval(AT_SECURE) && geteuid() == getuid() && getegid() == getgid())
		return 0;
	return err_set(err, -EPERM,
		       "it is not made to be setuid or setgid, or to have capabilities of its own; "
		       "let sudo start it");
}

static int is_socket(int fd, struct err *err)
{
	int domain;
	socklen_t len = sizeof domain;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return err_sys(err, -errno, "fd %d is not a socket", fd);
	return domain == AF_UNIX ? 0 : err_set(err, -EINVAL, "fd %d is not a UNIX socket", fd);
}

static int may_join(const struct options *options, struct err *err)
{
	struct strbuf mistakes autostr = STRBUF_INIT;
	int r = acl_check(options->acl_file, &options->name, &mistakes, err);

	for (const char *line = mistakes.text, *end; (end = strchr(line, '\n')); line = end + 1)
		complain(line, (size_t)(end - line));
	return r;
}

/* The whole of it; into a lab's namespace, which we do not leave. */
static int run(const struct options *options, struct err *err)
{
	int64_t deadline = io_now_ms() + HELPER_MS;
	const struct name *name = &options->name;
	autofd int space = -1, tap = -1;
	int r = is_socket(options->fd, err);

	if (r == 0)
		r = may_join(options, err);
	if (r == 0 && *name->lab) {
		space = lab_switch(name->lab, deadline, err);
		r = space < 0 ? err_wrap(err, "lab \"%s\"", name->lab) : ns_enter_net(space, err);
	}
	if (r < 0)
		return r;
	tap = port_make(name->bridge, *name->lab ? LINK_GROUP : 0, options->vnet_hdr, deadline,
			err);
	return tap < 0 ? tap : scm_send_fd(options->fd, tap, err);
}

int main(int argc, char **argv)
{
	struct options options;
	struct err err = { 0 };
	const struct name *name = &options.name;

	if (not_set_id(&err) < 0 || options_parse(argc, argv, &options, &err) < 0) {
		complain(err.msg, strlen(err.msg));
		return EXIT_INVALID;
	}
	if (options.help || options.version) {
		(void)fputs(options.help ? options_help
					 : "tapnet-bridge-helper " TAPNET_VERSION "\n",
			    stdout);
		return EXIT_FINE;
	}
	if (run(&options, &err) < 0) {
		(void)err_wrap(&err, "bridge \"%s%s%s\"", name->lab, *name->lab ? "/" : "",
			       name->bridge);
		complain(err.msg, strlen(err.msg));
		return err.status ? (int)err.status : EXIT_CHECK;
	}
	return EXIT_FINE;
}
