/* programs.c - what runs: hooks, cells, exec, services and guests, in the order of wait-for. */
#include <stdlib.h>
#include <string.h>

#include "kind/kind.h"

#define EXEC_TIMEOUT_MS 60000u
#define GRACE_MS	5000u
#define STP_TIMEOUT_MS	60000u

static const char **env_of(struct planner *planner, const struct node *node)
{
	const char **env = arena_calloc(planner->arena, 3, sizeof *env);

	env[0] = arena_printf(planner->arena, "TAPNET_LAB=%s", planner->plan->lab);
	env[1] = arena_printf(planner->arena, "TAPNET_NODE=%s", node->name);
	return env;
}

static const char *log_of(struct planner *planner, const char *node)
{
	return arena_printf(planner->arena, "%s.log", node ? node : "lab");
}

/* ---- hooks */

struct hook_owner {
	const struct node *node; /* NULL: the lab's hooks */
	const struct dev *dev;	 /* NULL: a node's or the lab's */
	uint32_t space;
	const char *what;
};

static uint32_t hook_fds(const struct hook *hook, const struct dev *guest)
{
	if (hook->fds == HOOK_FDS_NONE || !hook->command.argc)
		return 0;
	return hook->fds == HOOK_FDS_ALL ? guest->queues : 1;
}

/* A string of plain words, of which the first is a path, is a program's and needs no shell. */
struct command hook_words(struct arena *arena, const struct command *command)
{
	struct command out = { .pos = command->pos };
	char *rest, *word;
	int cap = 0;

	if (!command->shell || strpbrk(command->argv[2].s, "\n|&;<>()$`\\\"'*?[#~=%!{}"))
		return *command;
	word = strtok_r(arena_strdup(arena, command->argv[2].s), " \t", &rest);
	if (!word || !strchr(word, '/'))
		return *command;
	for (; word; word = strtok_r(NULL, " \t", &rest))
		*ARENA_PUSH(arena, out.argv, out.argc, cap) =
			(struct text){ .s = word, .pos = command->argv[2].pos };
	return out;
}

/* argv[1] is the device's name: of the argv, or of a string that is nothing but a program's name;
 * to any other string it is $1. */
static struct command hook_command(struct planner *planner, const struct command *command,
				   const char *ifname)
{
	struct text word = { .s = ifname, .pos = command->pos };
	struct command out = hook_words(planner->arena, command);
	int at = 1;

	if (command->shell && !out.shell && out.argc > 1)
		return out;
	out = *command;
	out.argv = arena_calloc(planner->arena, (size_t)command->argc + 2, sizeof *out.argv);
	memcpy(out.argv, command->argv, (size_t)command->argc * sizeof *out.argv);
	if (command->shell && !strpbrk(command->argv[2].s, " \t\n|&;<>()$`\\\"'*?[#~=%!{}")) {
		out.argv[0] = command->argv[2];
		out.argc = 1;
		out.shell = false;
	} else if (command->shell) {
		out.argv[out.argc++] = (struct text){ .s = "sh", .pos = command->pos };
		at = out.argc;
	}
	memmove(&out.argv[at + 1], &out.argv[at], (size_t)(out.argc - at) * sizeof *out.argv);
	out.argv[at] = word;
	out.argc++;
	return out;
}

static struct program hook_program(struct planner *planner, const struct hook_owner *owner,
				   const struct hook *hook, const char *event, uint32_t n_fds)
{
	struct arena *arena = planner->arena;
	struct strbuf fds __attribute__((cleanup(strbuf_free))) = STRBUF_INIT;
	const char *env[7] = { arena_printf(arena, "TAPNET_LAB=%s", planner->plan->lab),
			       arena_printf(arena, "TAPNET_EVENT=%s", event) };
	struct command command;
	struct program program;
	int n = 2;

	if (!hook->command.argc)
		return (struct program){ 0 };
	if (owner->node)
		env[n++] = arena_printf(arena, "TAPNET_NODE=%s", owner->node->name);
	if (owner->dev) {
		const char *ifname = owner->dev->br && owner->dev->tap ? owner->dev->port_name
								       : owner->dev->ifname;

		for (uint32_t k = 0; k < n_fds; k++)
			strbuf_printf(&fds, "%s%u", k ? ":" : "", 3 + k);
		env[n++] = arena_printf(arena, "TAPNET_INTERFACE=%s", owner->dev->iface->name);
		env[n++] = arena_printf(arena, "TAPNET_IFNAME=%s", ifname);
		env[n++] = arena_printf(arena, "TAPNET_FDS=%s", arena_text(arena, &fds));
		command = hook_command(planner, &hook->command, ifname);
	} else {
		command = hook_words(planner->arena, &hook->command);
	}
	program = late_program(planner, owner->node, &command, &hook->env, env);
	program.user = hook->user.s;
	return program;
}

/* Made once, for all hooks that run there. */
static void mounts_step(struct planner *planner, uint32_t space)
{
	struct space *of = &planner->plan->spaces[space];

	if (space == SPACE_HOST || of->mounts >= 0)
		return;
	of->mounts = planner->plan->fd_end++;
	STEP(planner, OP_MOUNTS, space, of->name, (struct pos){ 0 },
	     (struct op_mounts){ .fd = of->mounts });
}

static void hook_step(struct planner *planner, const struct hook_owner *owner,
		      const struct hooks *hooks)
{
	const struct dev *guest =
		owner->dev ? (owner->dev->guest ? owner->dev->guest : owner->dev) : NULL;
	struct op_hook args = { .fd = -1,
				.log = log_of(planner, owner->node ? owner->node->name : NULL) };

	if (!hooks->up.command.argc && !hooks->down.command.argc)
		return;
	if (guest && guest->fd >= 0 && guest->handoff == HANDOFF_FD) {
		args.fd = guest->fd;
		args.up_fds = hook_fds(&hooks->up, guest);
		args.down_fds = hook_fds(&hooks->down, guest);
	}
	args.up = hook_program(planner, owner, &hooks->up, "up", args.up_fds);
	args.down = hook_program(planner, owner, &hooks->down, "down", args.down_fds);
	args.up_timeout_ms = hooks->up.timeout_ms;
	args.down_timeout_ms = hooks->down.timeout_ms;
	mounts_step(planner, owner->space);
	planner_step(planner, OP_HOOK, owner->space, owner->what,
		     hooks->up.command.argc ? hooks->up.command.pos : hooks->down.command.pos,
		     &args, sizeof args);
}

void kind_lab_hooks(struct planner *planner)
{
	struct hook_owner owner = { .space = SPACE_HOST, .what = planner->plan->lab };

	hook_step(planner, &owner, &planner->lab->hooks);
}

static void iface_hooks(struct planner *planner)
{
	for (int n = 0; n < planner->lab->n_nodes; n++)
		for (int i = 0; i < planner->nodes[n].n_devs; i++) {
			const struct dev *dev = planner->nodes[n].devs[i];
			struct hook_owner owner = { .node = dev->node,
						    .dev = dev,
						    .space = dev->space,
						    .what = dev->label };

			hook_step(planner, &owner, &dev->iface->hooks);
		}
}

/* ---- cells */

static void cell_steps(struct planner *planner)
{
	for (int n = 0; n < planner->lab->n_nodes; n++) {
		struct planned_node *planned = &planner->nodes[n];
		const struct node *node = planned->node;

		if (!node->kind->guest && !node->n_exec && !node->n_services)
			continue;
		planned->cell_step =
			(int)STEP(planner, OP_CELL, planned->space, node->name, node->pos,
				  (struct op_cell){
					  .hostname = node->kind->guest ? NULL : node->name,
					  .grace_ms = GRACE_MS,
				  });
	}
}

/* ---- readiness */

static const struct ip *first_addr(const struct planned_node *planned)
{
	for (int i = 0; i < planned->n_devs; i++)
		if (!dev_is_lo(planned->devs[i]) && planned->devs[i]->n_addrs)
			return &planned->devs[i]->addrs[0];
	return NULL;
}

/* tcp: PORT, ADDRESS:PORT, [ADDRESS]:PORT or NODE:PORT; the loader looked at the port. */
static bool ready_target(struct planner *planner, const struct planned_node *planned,
			 const struct ready *ready, struct op_ready *args)
{
	char *host = arena_strdup(planner->arena, ready->tcp.s), *colon = strrchr(host, ':');
	const struct ip *addr = NULL;
	size_t len;

	args->port = (uint32_t)strtoul(colon ? colon + 1 : host, NULL, 10);
	if (!colon) {
		addr = first_addr(planned);
	} else {
		*colon = '\0';
		len = strlen(host);
		if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
			host[len - 1] = '\0';
			host++;
		}
		if (ip_parse(host, &args->addr, NULL))
			return true;
		if (lab_node(planner->lab, host))
			addr = first_addr(planner_node(planner, lab_node(planner->lab, host)));
	}
	if (!addr) {
		diag_add(planner->diags, ready->tcp.pos, "no address is known for \"%s\"",
			 ready->tcp.s);
		return false;
	}
	args->addr = *addr;
	return true;
}

static void ready_step(struct planner *planner, const struct planned_node *planned,
		       const struct ready *ready, int proc_step)
{
	const struct node *node = planned->node;
	struct op_ready args = { .proc_step = (uint32_t)proc_step,
				 .cell_step = (uint32_t)planned->cell_step,
				 .timeout_ms = ready->timeout_ms,
				 .after_ms = ready->after_ms,
				 .node = node->name };

	switch (ready->kind) {
	case READY_NONE:
		return;
	case READY_CONSOLE:
		args.kind = WAIT_CONSOLE;
		args.pattern = late_fill(planner, node, &ready->console);
		break;
	case READY_TCP:
		args.kind = WAIT_TCP;
		args.from = ready->from_node ? planner_node(planner, ready->from_node)->space
					     : planned->space;
		if (!ready_target(planner, planned, ready, &args))
			return;
		break;
	case READY_EXEC:
		args.kind = WAIT_EXEC;
		args.program = late_program(planner, node, &ready->exec, &node->env,
					    env_of(planner, node));
		break;
	case READY_AFTER:
		args.kind = WAIT_AFTER;
		break;
	}
	planner_step(planner, OP_READY, planned->space, node->name, ready->pos, &args, sizeof args);
}

static void service_ready(struct planner *planner, struct planned_node *planned, int s)
{
	if (planned->service_ready[s])
		return;
	planned->service_ready[s] = true;
	ready_step(planner, planned, &planned->node->services[s].ready, planned->service_steps[s]);
}

static void node_ready(struct planner *planner, struct planned_node *planned)
{
	if (planned->ready_done)
		return;
	planned->ready_done = true;
	for (int s = 0; s < planned->node->n_services; s++)
		service_ready(planner, planned, s);
	if (planned->guest_step >= 0)
		ready_step(planner, planned, &planned->node->ready, planned->guest_step);
}

/* ---- services and guests */

static void service_start(struct planner *planner, struct planned_node *planned, int s);
static void node_start(struct planner *planner, struct planned_node *planned);

/* Another service of the node, or another node. */
static void service_waits(struct planner *planner, struct planned_node *planned,
			  const struct service *service)
{
	const struct node *node = planned->node;

	for (int w = 0; w < service->n_wait_for; w++) {
		bool found = false;

		for (int k = 0; k < node->n_services && !found; k++)
			if (str_eq(node->services[k].name, service->wait_for[w].s)) {
				found = true;
				service_start(planner, planned, k);
				service_ready(planner, planned, k);
			}
		if (!found) {
			const struct node *other = lab_node(planner->lab, service->wait_for[w].s);

			if (!other || other == node)
				continue;
			node_start(planner, planner_node(planner, other));
			node_ready(planner, planner_node(planner, other));
		}
	}
}

static void service_start(struct planner *planner, struct planned_node *planned, int s)
{
	const struct node *node = planned->node;
	const struct service *service = &node->services[s];
	struct op_proc args = { .kind = PROC_SERVICE,
				.cell_step = (uint32_t)planned->cell_step,
				.grace_ms = GRACE_MS,
				.node = node->name,
				.name = service->name,
				.log = arena_printf(planner->arena, "%s.%s.log", node->name,
						    service->name),
				.restart = service->restart == RESTART_ON_FAILURE };
	struct pairs both = { 0 };

	if (planned->service_steps[s] >= 0)
		return;
	service_waits(planner, planned, service);
	both.v = arena_calloc(planner->arena, (size_t)node->env.n + (size_t)service->env.n,
			      sizeof *both.v);
	for (int i = 0; i < node->env.n; i++)
		both.v[both.n++] = node->env.v[i];
	for (int i = 0; i < service->env.n; i++)
		both.v[both.n++] = service->env.v[i];
	args.program = late_program(planner, node, &service->command, &both, env_of(planner, node));
	args.program.user = service->user.s ? service->user.s : node->user.s;
	planned->service_steps[s] =
		(int)planner_step(planner, OP_PROC, planned->space,
				  arena_printf(planner->arena, "%s.%s", node->name, service->name),
				  service->pos, &args, sizeof args);
}

/* One that looks its TAPs up by name runs where they are, unless the file says otherwise. */
static uint32_t guest_space(struct planner *planner, const struct planned_node *planned)
{
	const struct node *node = planned->node;
	uint32_t space;

	if (node->netns_node)
		return planner_node(planner, node->netns_node)->space;
	if (node->netns.s || !kind_of(node)->in_tap_netns)
		return str_eq(node->netns.s, "switch") ? SPACE_SWITCH : SPACE_HOST;
	space = planned->devs[0]->space;
	for (int i = 1; i < planned->n_devs; i++)
		if (planned->devs[i]->space != space) {
			diag_add(planner->diags, node->pos,
				 "a guest of kind: %s runs where its TAPs are, and those of %s are "
				 "in %s and in %s",
				 node->kind->name, node->name, planner->plan->spaces[space].name,
				 planner->plan->spaces[planned->devs[i]->space].name);
			diag_hint(planner->diags, "wire them all to bridges, or to one node");
			break;
		}
	return space;
}

/* Where a key of tap: stands, or the interface. */
static struct pos tap_pos(const struct dev *dev, struct pos pos)
{
	return pos.line ? pos : dev->iface->pos;
}

/* What an interface says must be what the program of a preset can do. */
static void check_taps(struct planner *planner, const struct planned_node *planned)
{
	static const char *const handoffs[] = { [HANDOFF_FD] = "attached, by fd",
						[HANDOFF_UNATTACHED] = "unattached",
						[HANDOFF_NAME] = "by name" };
	const struct kind *kind = kind_of(planned->node);

	for (int i = 0; i < planned->n_devs && kind->node.preset; i++) {
		const struct dev *dev = planned->devs[i];
		const struct tap_spec *tap = &dev->iface->tap;

		if (kind->queues_max && dev->queues > kind->queues_max)
			diag_add(planner->diags, tap_pos(dev, tap->queues_pos),
				 "a guest of kind: %s takes %u queue%s an interface, and %s has %u",
				 kind->node.name, kind->queues_max,
				 kind->queues_max == 1 ? "" : "s", dev->label, dev->queues);
		if (dev->handoff != kind->handoff)
			diag_add(planner->diags, tap_pos(dev, tap->pos),
				 "a guest of kind: %s gets its devices %s, not %s", kind->node.name,
				 handoffs[kind->handoff], handoffs[dev->handoff]);
		if (dev->vhost && !kind->vhost)
			diag_add(planner->diags, tap_pos(dev, tap->vhost_pos),
				 "a guest of kind: %s takes no vhost fds", kind->node.name);
	}
}

/* The caller's, or one that is opened for the guest at each of its starts. */
static struct op_fd vhost_fd(const struct dev *dev, int q)
{
	return (struct op_fd){ .from = dev->adopted_vhost < 0 ? -1 : dev->adopted_vhost + q,
			       .to = dev->vhost_fd + q };
}

static void guest_start(struct planner *planner, struct planned_node *planned)
{
	const struct node *node = planned->node;
	struct op_proc args = { .kind = PROC_GUEST,
				.cell_step = (uint32_t)planned->cell_step,
				.grace_ms = GRACE_MS,
				.node = node->name,
				.name = node->kind->name,
				.log = log_of(planner, node->name),
				.restart = node->restart == RESTART_ON_FAILURE };
	struct program env;
	int cap = 0;

	check_taps(planner, planned);
	args.program = kind_of(node)->command(planner, planned);
	env = late_program(planner, node, &(struct command){ 0 }, &node->env,
			   env_of(planner, node));
	args.program.env = env.env;
	args.program.n_env = env.n_env;
	args.program.user = node->user.s;
	for (int i = 0; i < planned->n_devs; i++)
		for (unsigned q = 0;
		     q < planned->devs[i]->queues && planned->devs[i]->guest_fd >= 0; q++)
			*ARENA_PUSH(planner->arena, args.fds, args.n_fds, cap) =
				(struct op_fd){ .from = planned->devs[i]->fd + (int)q,
						.to = planned->devs[i]->guest_fd + (int)q };
	for (int i = 0; i < planned->n_devs; i++)
		for (unsigned q = 0; q < planned->devs[i]->queues && planned->devs[i]->vhost; q++)
			*ARENA_PUSH(planner->arena, args.fds, args.n_fds, cap) =
				vhost_fd(planned->devs[i], (int)q);
	if (planned->disk_fd >= 0)
		*ARENA_PUSH(planner->arena, args.fds, args.n_fds, cap) =
			(struct op_fd){ .from = planned->disk_fd, .to = planned->disk_guest_fd };
	planned->guest_step = (int)planner_step(planner, OP_PROC, guest_space(planner, planned),
						node->name, node->pos, &args, sizeof args);
}

static void exec_steps(struct planner *planner, const struct planned_node *planned)
{
	const struct node *node = planned->node;

	for (int i = 0; i < node->n_exec; i++)
		STEP(planner, OP_EXEC, planned->space, node->name, node->exec[i].pos,
		     (struct op_exec){
			     .program = late_program(planner, node, &node->exec[i], &node->env,
						     env_of(planner, node)),
			     .timeout_ms = EXEC_TIMEOUT_MS,
			     .cell_step = (uint32_t)planned->cell_step,
			     .log = log_of(planner, node->name),
		     });
}

/* The loader refused cycles, so this ends. */
static void node_start(struct planner *planner, struct planned_node *planned)
{
	const struct node *node = planned->node;
	struct hook_owner owner = { .node = node, .space = planned->space, .what = node->name };

	if (planned->started)
		return;
	planned->started = true;
	for (int w = 0; w < node->n_wait_for; w++) {
		struct planned_node *other = planner_node(planner, node->wait_nodes[w]);

		node_start(planner, other);
		node_ready(planner, other);
	}
	hook_step(planner, &owner, &node->hooks);
	exec_steps(planner, planned);
	for (int s = 0; s < node->n_services; s++)
		service_start(planner, planned, s);
	if (node->kind->guest)
		guest_start(planner, planned);
}

/* A port of a bridge with STP carries nothing until it forwards. */
static void stp_steps(struct planner *planner)
{
	for (int i = 0; i < planner->n_brs; i++) {
		const struct br *br = planner->brs[i];

		if (br->bridge && br->bridge->stp && br->bridge->ports)
			STEP(planner, OP_READY, SPACE_SWITCH, br->label, br->bridge->pos,
			     (struct op_ready){ .kind = WAIT_STP,
						.port = br->ifindex,
						.timeout_ms = STP_TIMEOUT_MS,
						.node = br->label });
	}
}

void kind_programs(struct planner *planner)
{
	iface_hooks(planner);
	stp_steps(planner);
	for (int n = 0; n < planner->lab->n_nodes; n++)
		if (kind_of(planner->nodes[n].node)->prepare)
			kind_of(planner->nodes[n].node)->prepare(planner, &planner->nodes[n]);
	cell_steps(planner);
	for (int n = 0; n < planner->lab->n_nodes; n++)
		node_start(planner, &planner->nodes[n]);
	for (int n = 0; n < planner->lab->n_nodes; n++)
		node_ready(planner, &planner->nodes[n]);
}
