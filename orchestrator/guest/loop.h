/* loop.h - what tapnet-guest and tapnet-wire wait for: queues, signals, and each second. */
#ifndef TAPNET_GUEST_LOOP_H
#define TAPNET_GUEST_LOOP_H

#include <stdint.h>

#include "base/err.h"

struct loop {
	int epoll, signals, tick;
	void *arg;
	/* What epoll says of the fd with that tag; it ends the loop when it fails, as second(). */
	int (*queue)(void *arg, uint64_t tag, uint32_t events, struct err *err);
	int (*second)(void *arg, struct err *err);
	void (*counters)(const void *arg);   /* SIGUSR1 */
	void (*lock)(void), (*unlock)(void); /* around all of the above; NULL: none */
};

#define LOOP_INIT ((struct loop){ .epoll = -1, .signals = -1, .tick = -1 })

/* Blocks the signals, which threads that are started from then on inherit. */
int loop_init(struct loop *loop, struct err *err);

/* Until SIGTERM, SIGINT or SIGHUP (0), or until something fails. */
int loop_run(struct loop *loop, struct err *err);

void loop_free(struct loop *loop);

#endif
