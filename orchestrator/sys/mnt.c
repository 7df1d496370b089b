/* mnt.c - see mnt.h.
 *
 * Theory of operation. The caller goes into a copy, arranges it, keeps a reference, and goes back.
 * Back in its own it is at that namespace's root, which is not its own in a chroot: so it holds on
 * to its root and its working directory.
 */
#include "sys/mnt.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/fd.h"
#include "sys/ns.h"
#include "sys/place.h"

/* Slaves rather than private: what the host unmounts goes here too, and stays in no cell. */
int mnt_private(void)
{
	return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ? -errno : 0;
}

/* Over the old one, not in its place: a user namespace may mount it only while it sees another. */
int mnt_sys(void)
{
	return mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ? -errno
											   : 0;
}

int mnt_proc(void)
{
	return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ? -errno
											  : 0;
}

int mnt_hosts(const char *hosts)
{
	return mount(hosts, "/etc/hosts", NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

/* The copy, arranged: a reference to it or -errno. */
static int arranged(const struct mnt *mnt, struct err *err)
{
	int r = mnt->base >= 0 && setns(mnt->base, CLONE_NEWNS) < 0 ? -errno : 0;

	if (r == 0)
		r = unshare(CLONE_NEWNS) < 0 ? -errno : mnt_private();
	if (r < 0)
		return err_sys(err, r, "cannot make a mount namespace");
	r = mnt->hosts ? mnt_hosts(mnt->hosts) : 0;
	if (r < 0)
		return err_sys(err, r, "cannot lay the lab's names over /etc/hosts");
	r = mnt->sys ? mnt_sys() : 0;
	return r < 0 ? err_sys(err, r, "cannot mount its /sys") : ns_self("mnt", err);
}

static int go_back(int own, int root, int cwd)
{
	if (setns(own, CLONE_NEWNS) < 0 || fchdir(root) < 0 || chroot(".") < 0 || fchdir(cwd) < 0)
		return -errno;
	return 0;
}

int mnt_make(const struct mnt *mnt, int at, struct err *err)
{
	autofd int own = ns_self("mnt", err), fd = -1;
	autofd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	autofd int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (own < 0)
		return own;
	if (root < 0 || cwd < 0)
		return err_sys(err, -errno, "cannot make a mount namespace");
	fd = arranged(mnt, err);
	r = go_back(own, root, cwd);
	if (fd < 0)
		return fd;
	if (r == 0)
		r = fd_place(&fd, at);
	return r < 0 ? err_sys(err, r, "cannot keep a mount namespace") : r;
}
