/* fault.c - see fault.h. */
#include "run/fault.h"

#ifdef TAPNET_FAULTS

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool fault_planned(void)
{
	return getenv("TAPNET_FAULT") != NULL;
}

static int fault_act(const struct journal *journal, const char *what, size_t len, struct err *err)
{
	bool both = len == 9 && strncmp(what, "kill-both", len) == 0;

	if (len == 4 && strncmp(what, "fail", len) == 0)
		return err_set(err, -EIO, "planted fault");
	if (both || (len == 13 && strncmp(what, "kill-guardian", len) == 0))
		(void)kill(journal->head->guardian.pid, SIGKILL);
	if (both || (len == 11 && strncmp(what, "kill-worker", len) == 0))
		(void)kill(getpid(), SIGKILL);
	return 0;
}

int fault_point(const struct journal *journal, uint32_t step, bool after, struct err *err)
{
	const char *p = getenv("TAPNET_FAULT");
	int r = 0;

	while (p && *p && r == 0) {
		size_t len = strcspn(p, "@");
		char *end;
		unsigned long n = p[len] ? strtoul(p + len + 1, &end, 10) : 0;

		if (!p[len])
			break;
		if (n == step + 1ul && (*end == '+') == after)
			r = fault_act(journal, p, len, err);
		p = strchr(end, ',');
		if (p)
			p++;
	}
	return r;
}

#else
typedef int fault_unused; /* an empty file is not C */
#endif
