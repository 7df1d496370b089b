/* vhost.c - see vhost.h. */
#include "sys/vhost.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"

#define VHOST_PATH "/dev/vhost-net"

int vhost_open(struct err *err)
{
	int fd = open(VHOST_PATH, O_RDWR | O_CLOEXEC), code = -errno;

	if (fd >= 0)
		return fd;
	if (code == -ENOENT || code == -ENODEV || code == -ENXIO)
		err_set(err, code,
			"this kernel has no vhost-net (modprobe vhost_net; in a "
			"container, give it " VHOST_PATH ")");
	else if (code == -EACCES || code == -EPERM)
		err_set(err, code, VHOST_PATH " is not open to this user");
	else
		return err_sys(err, code, "cannot open " VHOST_PATH);
	err->status = EXIT_UNABLE;
	return code;
}

bool vhost_opens(void)
{
	struct err err;
	autofd int fd = vhost_open(&err);

	return fd >= 0;
}
