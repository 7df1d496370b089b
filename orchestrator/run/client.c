/* client.c - the other side of the control socket. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "run/control.h"
#include "run/json.h"

#define CONNECT_S 2

int control_connect(const struct labdir *dir, struct err *err)
{
	autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	const struct timeval limit = { .tv_sec = CONNECT_S };

	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/control", dir->fd);
	if (fd >= 0) /* of a queue that is full: the worker is suspended, or flooded */
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
		return err_sys(err, -errno, "cannot reach the lab %s", dir->name);
	return take_fd(&fd);
}

static int receive(int fd, int64_t deadline, struct json_object **ret_answer, int *fds,
		   struct err *err)
{
	static char data[CONTROL_BYTES];
	int came[SCM_FDS];
	struct json_object *object, *error = NULL;
	ssize_t n = scm_recv(fd, deadline, data, sizeof data - 1, came, err);

	if (n == -ETIMEDOUT)
		return err_set(err, -ETIMEDOUT,
			       "its worker does not answer (is it suspended?): `down` works all "
			       "the same");
	if (n == 0)
		(void)err_set(err, -ECONNRESET, "it closed the connection");
	if (n <= 0)
		return err_wrap(err, "the lab did not answer");
	for (int i = 0; i < SCM_FDS; i++)
		if (fds)
			fds[i] = came[i];
		else
			fd_closep(&came[i]);
	data[n] = '\0';
	object = json_tokener_parse(data);
	if (!json_object_is_type(object, json_type_object)) {
		json_object_put(object);
		return err_set(err, -EBADMSG, "the lab's answer cannot be read");
	}
	if (json_object_object_get_ex(object, "error", &error)) {
		(void)err_set(err, -EREMOTEIO, "%s", json_object_get_string(error));
		json_object_put(object);
		return -EREMOTEIO;
	}
	*ret_answer = object;
	return 0;
}

struct json_object *control_request(const char *what, const char *node)
{
	struct json_object *request = json_object_new_object();

	json_put(&request, "do", json_object_new_string(what));
	if (node)
		json_put(&request, "node", json_object_new_string(node));
	return request;
}

int control_call(int fd, struct json_object *request, int64_t deadline,
		 struct json_object **ret_answer, int *fds, struct err *err)
{
	const char *text =
		request ? json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN) : NULL;
	int r = text ? 0 : -ENOMEM;

	while (r == 0 && send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			r = -errno;
	for (int i = 0; fds && i < CONTROL_FDS; i++)
		fds[i] = -1;
	json_object_put(request);
	if (r < 0)
		return err_sys(err, r, "cannot reach the lab");
	return receive(fd, deadline, ret_answer, fds, err);
}
