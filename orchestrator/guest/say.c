/* say.c - see say.h. */
#include "guest/say.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

int say_number(const char *text, unsigned long min, unsigned long max, unsigned long *ret_value,
	       struct err *err)
{
	unsigned long value = 0;
	char *end = NULL;

	errno = 0;
	if (text[0] >= '0' && text[0] <= '9')
		value = strtoul(text, &end, 10);
	if (!end || *end || errno || value < min || value > max)
		return err_set(err, -EINVAL, "\"%s\" is not a number from %lu to %lu", text, min,
			       max);
	*ret_value = value;
	return 0;
}

int say_fds(const char *text, int fds[TAP_QUEUES_MAX], unsigned *ret_n, struct err *err)
{
	autofree char *copy = strdup(text); /* what ps shows stays as it was given */
	unsigned long fd;
	unsigned n = 0;

	if (!copy)
		return err_sys(err, -ENOMEM, "%s", text);
	for (char *rest = copy, *one; (one = strsep(&rest, ":"));) {
		if (say_number(one, 3, 1 << 20, &fd, err) < 0)
			return err->code;
		for (unsigned i = 0; i < n; i++)
			if (fds[i] == (int)fd)
				return err_set(err, -EINVAL, "fd %lu is given twice", fd);
		if (n == TAP_QUEUES_MAX)
			return err_set(err, -E2BIG, "more than %d queues", TAP_QUEUES_MAX);
		fds[n++] = (int)fd;
	}
	*ret_n = n;
	return 0;
}

void say_error(const char *program, const struct err *err, const char *hint)
{
	autostr struct strbuf text = STRBUF_INIT;

	strbuf_safe(&text, err->msg, strlen(err->msg));
	(void)fprintf(stderr, "%s: error: %s\n%s", program, text.text, hint);
}

int say_gone(int r, const char *name, struct err *err)
{
	if (r == -EBADFD)
		return err_set(err, r, "%s: the device is gone", name);
	return err_sys(err, r, "%s", name);
}

void say_queues(const struct tap *tap)
{
	if (tap->n_attached < tap->n_queues)
		printf("%u of ", tap->n_attached);
	printf("%u queue%s", tap->n_queues, tap->n_queues == 1 ? "" : "s");
}

void say_counters(const char *name, const struct tap *tap)
{
	for (unsigned i = 0; i < tap->n_queues; i++) {
		const struct tap_counters *c = &tap->queues[i].count;

		printf("%s queue %u: in %" PRIu64 ", out %" PRIu64 ", padded %" PRIu64
		       ", kept %" PRIu64 ", dropped short %" PRIu64 ", dropped long %" PRIu64
		       ", dropped uncut %" PRIu64 ", dropped full %" PRIu64 ", refused %" PRIu64
		       "\n",
		       name, i, c->in, c->out, c->padded, c->kept, c->runt, c->giant, c->gso,
		       c->full, c->failed);
	}
}
