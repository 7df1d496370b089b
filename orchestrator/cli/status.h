/* status.h - what status shows, for people and as JSON. */
#ifndef TAPNET_CLI_STATUS_H
#define TAPNET_CLI_STATUS_H

#include "cli/view.h"

struct status {
	const struct running *running;
	const struct view *view; /* NULL: the lab is dead */
	const char *state, *user;
	int64_t since_s;
	bool changed; /* the file, since the lab was made */
};

/* statusjson.c: 0, or -ENOMEM. */
int status_json(const struct status *status, struct strbuf *out);

#endif
