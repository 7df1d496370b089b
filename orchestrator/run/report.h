/* report.h - what guardian and worker tell the caller that waits for `up`. */
#ifndef TAPNET_RUN_REPORT_H
#define TAPNET_RUN_REPORT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum report_type {
	REPORT_PROGRESS, /* value: steps done so far */
	REPORT_OUTPUT,	 /* value: step; text: what an exec printed */
	REPORT_READY,	 /* the lab is up */
	REPORT_ERROR,	 /* what went wrong, with its place */
	REPORT_UNDONE,	 /* text: what was undone, none when nothing was made; value: 0, or 1 when
			  * something is left. Always the last: an end without it is a crash */
};

#define REPORT_TEXT 32768

struct report {
	uint32_t type, value;
	int32_t code, status, line, col;
	uint32_t len;
	char text[REPORT_TEXT];
};

/* Sends one message; a caller that is gone or does not read is not waited for. */
void report_send(int fd, enum report_type type, uint32_t value, const char *text, size_t len);
void report_error(int fd, const struct err *err);
/* Receives one: 1, 0 at the end, or -errno. */
int report_recv(int fd, struct report *ret_report);

#endif
