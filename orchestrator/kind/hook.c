/* hook.c - hooks that are files, looked at before anything is made. Each is looked at again at its step:
 * by then it may be another. */
#include <errno.h>
#include <string.h>

#include "kind/kind.h"
#include "sys/trust.h"

struct look {
	const struct lab *lab;
	const struct hook_trust *trust;
	struct diags *diags;
};

/* Of the file that a hook is, as its name stands there; NULL: it is none, or only the plan knows. */
static const char *hook_file(struct arena *arena, const struct command *command)
{
	struct command words = hook_words(arena, command);
	const char *s = words.argc && !words.shell ? words.argv[0].s : "";

	if (str_starts(s, STEP_DIR))
		s += strlen(STEP_DIR) + (s[strlen(STEP_DIR)] == '/');
	else if (!strchr(s, '/'))
		return NULL;
	return strchr(s, LATE_OPEN) ? NULL : s;
}

/* may_come: what runs before it may make it. */
static void look_at(const struct look *look, const char *event, const struct hook *hook,
		    bool may_come)
{
	const char *file = hook_file(look->diags->arena, &hook->command);
	struct err err;
	int r = file ? trust_look(look->lab->dir, file, look->trust->judged, look->trust->owner,
				  &err)
		     : 0;

	if (r < 0 && (r != -ENOENT || !may_come))
		diag_add(look->diags, hook->command.pos, "%s hook \"%s\": %s", event, file,
			 err.msg);
}

static void look_at_both(const struct look *look, const struct hooks *hooks, bool may_come)
{
	look_at(look, "up", &hooks->up, may_come);
	look_at(look, "down", &hooks->down, may_come || hooks->up.command.argc);
}

int kind_check_hooks(const struct lab *lab, const struct hook_trust *trust, struct diags *diags)
{
	const struct look look = { .lab = lab, .trust = trust, .diags = diags };
	bool may_come = lab->hooks.up.command.argc;

	look_at_both(&look, &lab->hooks, false);
	for (int n = 0; n < lab->n_nodes; n++) {
		const struct node *node = lab->nodes[n];

		for (int i = 0; i < node->n_ifaces; i++)
			look_at_both(&look, &node->ifaces[i]->hooks, may_come);
		look_at_both(&look, &node->hooks, may_come);
	}
	return diags->total ? -EINVAL : 0;
}
