/* say.h - the words that tapnet-guest and tapnet-wire have in common, read and written. */
#ifndef TAPNET_GUEST_SAY_H
#define TAPNET_GUEST_SAY_H

#include "base/err.h"
#include "guest/tap.h"

enum { EXIT_GONE = 1 }; /* a device is gone, or could not be used */

/* A decimal number from min to max, and queues: 3:4:5, each once and none below 3. */
int say_number(const char *text, unsigned long min, unsigned long max, unsigned long *ret_value,
	       struct err *err);
int say_fds(const char *text, int fds[TAP_QUEUES_MAX], unsigned *ret_n, struct err *err);

/* `PROGRAM: error: …` on standard error, and a hint below. */
void say_error(const char *program, const struct err *err, const char *hint);

/* Sets the error of tap_event() or tap_recheck(). */
int say_gone(int r, const char *name, struct err *err);

/* `2 of 4 queues`, and a line of counters for each queue. */
void say_queues(const struct tap *tap);
void say_counters(const char *name, const struct tap *tap);

#endif
