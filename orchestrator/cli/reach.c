/* reach.c - the worker of a lab that is up, and the nodes and programs that the user names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"
#include "run/control.h"

int cli_reach(const char *name, struct running *ret_running, int *ret_fd)
{
	const char *lab;
	struct err err;
	int r = cli_find(name, ret_running);

	if (r)
		return r;
	lab = ret_running->dir.name;
	*ret_fd = control_connect(&ret_running->dir, &err);
	if (*ret_fd >= 0)
		return 0;
	if (!labdir_alive(&ret_running->dir))
		cli_complain("%s is dead, its worker was killed: `tapnet-lab gc` takes away what "
			     "is left",
			     lab);
	else if (*ret_fd == -ENOENT || *ret_fd == -ECONNREFUSED)
		cli_complain("%s is being brought up or down: try again", lab);
	else
		cli_error(&err);
	*ret_fd = -1;
	return EXIT_STATE;
}

int cli_ask(int fd, const char *what, const char *node, struct json_object **ret_answer, int *fds,
	    struct err *err)
{
	return control_call(fd, control_request(what, node), io_now_ms() + CLI_ANSWER_MS,
			    ret_answer, fds, err);
}

static int tell_nearest(const char *what, const char *name, const char *const *names, size_t n)
{
	const char *near = str_nearest(name, names, n);

	if (near)
		cli_complain("no %s \"%s\" (did you mean \"%s\"?)", what, name, near);
	else
		cli_complain("no %s \"%s\" (tapnet-lab status)", what, name);
	return -ENOENT;
}

const struct plan_node *cli_node_told(const struct plan *plan, const char *name)
{
	const struct plan_node *node = cli_node(plan, name);
	const char **names autofree = NULL;

	if (node)
		return node;
	names = calloc((size_t)plan->n_nodes + 1, sizeof *names);
	for (int i = 0; names && i < plan->n_nodes; i++)
		names[i] = plan->nodes[i].name;
	(void)tell_nearest("node", name, names, names ? (size_t)plan->n_nodes : 0);
	return NULL;
}

const struct plan_iface *cli_iface_told(const struct plan *plan, const char *name)
{
	const char *colon = strchr(name, ':');
	char *of autofree = colon ? strndup(name, (size_t)(colon - name)) : NULL;
	const struct plan_node *node = of ? cli_node_told(plan, of) : NULL;
	const char **names autofree = NULL;

	if (!colon)
		cli_complain("\"%s\" is no interface: say NODE:INTERFACE", name);
	if (!node)
		return NULL;
	for (int i = 0; i < node->n_ifaces; i++)
		if (str_eq(node->ifaces[i].name, colon + 1))
			return &node->ifaces[i];
	names = calloc((size_t)node->n_ifaces + 1, sizeof *names);
	for (int i = 0; names && i < node->n_ifaces; i++)
		names[i] = node->ifaces[i].name;
	(void)tell_nearest("interface", colon + 1, names, names ? (size_t)node->n_ifaces : 0);
	return NULL;
}

/* A node without its service's name means its only one. */
static const struct step *only_service(const struct plan *plan, const struct plan_node *node)
{
	struct strbuf names autostr = STRBUF_INIT;
	const struct step *found = NULL;
	int n = 0;

	for (int i = 0; i < plan->n_steps; i++) {
		const struct op_proc *proc = plan->steps[i].args;

		if (plan->steps[i].op != OP_PROC || !str_eq(proc->node, node->name))
			continue;
		found = &plan->steps[i];
		strbuf_printf(&names, "%s%s", n++ ? ", " : "", found->what);
	}
	if (n == 1)
		return found;
	if (n)
		cli_complain("%s has %d services: say which (%s)", node->name, n, names.text);
	else
		cli_complain("%s is no guest and has no services", node->name);
	return NULL;
}

const struct step *cli_program(const struct plan *plan, const char *name)
{
	const struct plan_node *node = cli_node(plan, name);
	const char **names autofree = NULL;
	size_t n = 0;

	for (int i = 0; i < plan->n_steps; i++)
		if (plan->steps[i].op == OP_PROC && str_eq(plan->steps[i].what, name))
			return &plan->steps[i];
	if (node)
		return only_service(plan, node);
	names = calloc((size_t)plan->n_steps + 1, sizeof *names);
	for (int i = 0; names && i < plan->n_steps; i++)
		if (plan->steps[i].op == OP_PROC)
			names[n++] = plan->steps[i].what;
	(void)tell_nearest("guest or service", name, names, n);
	return NULL;
}

bool cli_format(struct args *args, bool *ret_json)
{
	*ret_json = str_eq(args->value, "json");
	if (*ret_json || str_eq(args->value, "text"))
		return true;
	cli_complain("--format is text or json");
	args->bad = true;
	return false;
}
