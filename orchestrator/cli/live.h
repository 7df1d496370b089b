/* live.h - a lab going up, as up and run see it. */
#ifndef TAPNET_CLI_LIVE_H
#define TAPNET_CLI_LIVE_H

#include <stdio.h>

#include "cli/cli.h"
#include "run/run.h"

struct live_options {
	struct load_options load;
	int64_t timeout_ms, ttl_ms; /* 0: the default, none */
	bool foreground, keep, replace, quiet;
	bool apart; /* stdout is another's: what the lab says goes to stderr */
};

struct live {
	struct loaded loaded;
	struct up_request request;
	struct labdir dir;
	int fd;			    /* its reports */
	int guardian;		    /* its pidfd, until the first of them; -1 afterwards */
	FILE *out;		    /* for what its commands print */
	int64_t start_ms, deadline; /* of io_now_ms(); deadline 0: none */
	bool failed, stopping, progress, progress_shown;
	enum exit_status status; /* when failed */
};

#define LIVE_NONE ((struct live){ .dir = LABDIR_NONE, .fd = -1, .guardian = -1 })

enum live_what { LIVE_GOES_ON, LIVE_READY, LIVE_FAILED, LIVE_ENDED, LIVE_LOST };
#define LIVE_ALREADY (-2) /* of live_start(): it is up, and that is told */

/* Loads the file and starts the lab: 0, LIVE_ALREADY, or the exit status with the reason told. */
int live_start(const struct live_options *options, struct live *live);
/* Until it is ready, failed and undone, or at its end; shows what happens. enum live_what. */
int live_wait(struct live *live);
int live_lost(struct live *live);
void live_free(struct live *live);
#define autolive __attribute__((cleanup(live_free)))

#endif
