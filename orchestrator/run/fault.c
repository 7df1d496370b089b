/* fault.c - see fault.h. */
#include "run/fault.h"

#ifdef TAPNET_FAULTS

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "sys/spawn.h"

struct fault {
	char action[16];
	unsigned long step; /* from 1 */
	bool after;
};

/* The next one of the list that *list points into. */
static bool fault_next(const char **list, struct fault *ret_fault)
{
	const char *p = *list;
	size_t len = p ? strcspn(p, "@") : 0;
	char *end;

	if (!p || !p[len] || len >= sizeof ret_fault->action)
		return false;
	memcpy(ret_fault->action, p, len);
	ret_fault->action[len] = '\0';
	ret_fault->step = strtoul(p + len + 1, &end, 10);
	ret_fault->after = *end == '+';
	end = strchr(end, ',');
	*list = end ? end + 1 : NULL;
	return true;
}

bool fault_planned(void)
{
	return getenv("TAPNET_FAULT") != NULL;
}

static int fault_act(const struct journal *journal, const char *action, struct err *err)
{
	bool both = str_eq(action, "kill-both");

	if (str_eq(action, "fail"))
		return err_set(err, -EIO, "planted fault");
	if (both || str_eq(action, "kill-guardian"))
		(void)kill(journal->head->guardian.pid, SIGKILL);
	if (both || str_eq(action, "kill-worker"))
		(void)kill(getpid(), SIGKILL);
	return 0;
}

int fault_point(const struct journal *journal, uint32_t step, bool after, struct err *err)
{
	const char *list = getenv("TAPNET_FAULT");
	struct fault fault;
	int r = 0;

	while (r == 0 && fault_next(&list, &fault))
		if (fault.step == step + 1ul && fault.after == after)
			r = fault_act(journal, fault.action, err);
	return r;
}

static int fault_stay(void *arg)
{
	(void)arg;
	(void)close_range(0, 2, 0); /* who reads them waits for their end */
	for (;;)
		(void)pause();
	return 0;
}

bool fault_leak(uint32_t step)
{
	const char *list = getenv("TAPNET_FAULT");
	struct spawned spawned;
	struct fault fault;
	struct err err;

	while (fault_next(&list, &fault))
		if (fault.step == step + 1ul && str_eq(fault.action, "leak")) {
			if (spawn_fork(0, NULL, 0, fault_stay, NULL, &spawned, &err) == 0)
				fd_closep(&spawned.pidfd);
			return true;
		}
	return false;
}

#else
typedef int fault_unused; /* an empty file is not C */
#endif
