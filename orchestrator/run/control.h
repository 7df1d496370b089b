/* control.h - the control socket: one JSON object a message, each way.
 *
 * Requests: {"do": "status" | "enter" | "console" | "restart" | "down", "node": NAME}, {"do":
 * "space", "space": N} for a namespace of the plan (with "plug" to put links there), {"do": "taps"}
 * and {"do": "queue", "fd": N, "attach": 0 | 1} for a planned fd (controltap.h). Lists come in
 * pieces: "more_from" is asked for with "from". Answers have "error" when something is wrong, and
 * the fds of "enter" and "space" beside them (SCM_RIGHTS). A message has at most CONTROL_BYTES.
 * Only the lab's owner and root are answered. Who connects and asks nothing gives its place up to
 * the next; when all places are taken by those who asked, others are told so, but for "down".
 */
#ifndef TAPNET_RUN_CONTROL_H
#define TAPNET_RUN_CONTROL_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "run/labdir.h"
#include "sys/scm.h"

#define CONTROL_BYTES ((size_t)60 << 10)
#define CONTROL_FDS   SCM_FDS

/* Connects to a lab's worker. fd; -ENOENT or -ECONNREFUSED when none listens; -errno. */
int control_connect(const struct labdir *dir, struct err *err);
/* Sends a request (and puts it) and waits for its answer; fds (CONTROL_FDS, -1 where none came) may be NULL. 0;
 * -errno; -EREMOTEIO with the worker's own words in err. *ret_answer is the caller's to put. */
int control_call(int fd, struct json_object *request, int64_t deadline,
		 struct json_object **ret_answer, int *fds, struct err *err);
/* {"do": what, "node": node}; node may be NULL. NULL without memory, which control_call() tells. */
struct json_object *control_request(const char *what, const char *node);

#endif
