/* status.c - what is there, from the kernel, and where that is not what the plan says. */
#include "cli/status.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/io.h"
#include "run/control.h"

#define FILE_MAX ((size_t)1 << 20)

enum { STATUS_LAB, STATUS_FORMAT, STATUS_CHECK };
const struct opt status_opts[] = {
	{ "lab", 'l', "LAB", "this one" },
	{ "format", 0, "text|json", "for people, or for programs" },
	{ "check", 0, NULL, "only the problems; exit status 1 when there are some" },
	{ 0 },
};

const char *cli_duration(int64_t seconds, char out[32])
{
	long long s = seconds < 0 ? 0 : seconds, days = s / 86400;

	s %= 86400;
	if (days)
		(void)snprintf(out, 32, "%lldd %02lld:%02lld:%02lld", days, s / 3600, s / 60 % 60,
			       s % 60);
	else
		(void)snprintf(out, 32, "%02lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
	return out;
}

const char *cli_state(const struct running *running, bool have_journal)
{
	static const char *const words[] = {
		[JOURNAL_UP] = "starting",
		[JOURNAL_READY] = "ready",
		[JOURNAL_FAILED] = "failed",
		[JOURNAL_DOWN] = "going down",
	};
	uint32_t state;

	if (!labdir_alive(&running->dir))
		return "dead";
	if (!have_journal)
		return "starting";
	state = running->journal.head->state;
	return state < COUNT(words) ? words[state] : "dead";
}

static bool file_changed(const struct journal *journal)
{
	struct strbuf text autostr = STRBUF_INIT;
	const struct journal_meta *meta = &journal->meta;

	return cli_read(meta->file, FILE_MAX, &text) < 0 ||
	       cli_sum(journal->plan, meta->dir, text.text, text.len) != meta->file_sum;
}

/* ---- for people */

static void header(const struct status *status, struct strbuf *out)
{
	const struct journal_meta *meta = &status->running->journal.meta;
	char text[32];

	strbuf_printf(out, "%s  %s %s by ", meta->name,
		      str_eq(status->state, "ready") ? "up" : status->state,
		      cli_duration(status->since_s, text));
	strbuf_safe(out, status->user, strlen(status->user));
	strbuf_puts(out, " from ");
	strbuf_safe(out, meta->file, strlen(meta->file));
	if (status->changed)
		strbuf_puts(out, " (changed since: `tapnet-lab up --replace`)");
	if (status->view && status->view->expires_ms)
		strbuf_printf(out, "   expires in %s",
			      cli_duration(status->view->expires_ms / 1000, text));
	strbuf_puts(out, "\n");
}

/* The last one is there only when it says something. */
#define STATUS_COLUMNS 7
#define STATUS_VLAN    (STATUS_COLUMNS - 1)

struct row {
	const char *cell[STATUS_COLUMNS];
};

static const char *node_state(const struct status *status, const struct plan_node *node)
{
	for (int i = 0; i < status->view->n_programs; i++)
		if (status->view->programs[i].guest &&
		    str_eq(status->view->programs[i].node, node->name))
			return status->view->programs[i].state;
	return status->state;
}

static const char *link_words(const struct nlr_link *link)
{
	if (!link)
		return "missing";
	return !link->up ? "down" : link->carrier ? "up" : "no carrier";
}

static const char *addresses(struct arena *arena, const struct plan_iface *iface,
			     const struct nlr_link *link)
{
	struct strbuf all autostr = STRBUF_INIT;
	char text[IP_TEXT];

	if (!iface->set) /* a guest's own: told to it, not set by us */
		for (int i = 0; i < iface->n_addrs; i++)
			strbuf_printf(&all, "%s%s", i ? " " : "",
				      ip_prefix_text(&iface->addrs[i].ip, text));
	for (int i = 0; link && iface->set && i < link->n_addrs; i++)
		strbuf_printf(&all, "%s%s", i ? " " : "", ip_prefix_text(&link->addrs[i], text));
	return all.len ? arena_strdup(arena, all.text) : "-";
}

/* What its port carries, or the tag of a sub-interface: "" where VLANs mean nothing. */
static const char *vlan_words(const struct status *status, struct arena *arena,
			      const struct plan_iface *iface, const struct nlr_link *link)
{
	const struct nlr_link *port = view_port(status->view, iface);
	struct strbuf words autostr = STRBUF_INIT;

	if (link && link->vlan)
		strbuf_printf(&words, "tag %u", link->vlan);
	else if (port)
		vlans_text(port->vlans, port->n_vlans, &words);
	return arena_strdup(arena, words.text);
}

/* One row an interface; with bare only the node's own. */
static int node_rows(const struct status *status, struct arena *arena, const struct plan_node *node,
		     bool bare, struct row *rows)
{
	int n = 0;

	for (int i = 0; i < node->n_ifaces && !bare; i++) {
		const struct plan_iface *iface = &node->ifaces[i];
		const struct nlr_link *link =
			view_link(status->view, iface->space, iface->ifindex, iface->ifname);

		rows[n++] = (struct row){ { "", "", "", iface->name, link_words(link),
					    addresses(arena, iface, link),
					    vlan_words(status, arena, iface, link) } };
	}
	if (!n)
		rows[n++] = (struct row){ { "", "", "", bare ? "" : "-", "", "", "" } };
	rows[0].cell[0] = node->name;
	rows[0].cell[1] = node->kind;
	rows[0].cell[2] = node_state(status, node);
	return n;
}

static void program_lines(const struct view *view, const struct plan_node *node, struct strbuf *out)
{
	for (int i = 0; i < view->n_programs; i++) {
		const struct view_program *program = &view->programs[i];

		if (program->guest || !str_eq(program->node, node->name))
			continue;
		strbuf_printf(out, "      %s  %s", program->name, program->state);
		if (program->pid)
			strbuf_printf(out, ", pid %d", program->pid);
		else if (program->last)
			strbuf_printf(out, ": %s", program->last);
		strbuf_puts(out, "\n");
	}
}

/* "3-6", "3 5" */
static void numbers(const int *v, int n, struct strbuf *out)
{
	for (int i = 0; i < n; i++) {
		int from = i;

		while (i + 1 < n && v[i + 1] == v[i] + 1)
			i++;
		strbuf_printf(out, i > from ? "%s%d-%d" : "%s%d", from ? " " : "", v[from], v[i]);
	}
}

/* "fds 3-6 of qemu-system-x86, pid 812; also python3, pid 900" */
static void tap_holders(const struct view_tap *tap, struct strbuf *out)
{
	const char *also = "; also ";

	for (int i = 0; i < tap->n_holders; i++) {
		const struct view_holder *holder = &tap->holders[i];

		if (!tap->guest || holder->pid != tap->guest->pid)
			continue;
		strbuf_printf(out, "  fd%s ", holder->n_fds == 1 ? "" : "s");
		numbers(holder->fds, holder->n_fds, out);
		strbuf_puts(out, " of ");
		strbuf_safe(out, holder->command, strlen(holder->command));
		strbuf_printf(out, ", pid %d", holder->pid);
	}
	for (int i = 0; i < tap->n_holders; i++) {
		const struct view_holder *holder = &tap->holders[i];

		if (holder->ours || (tap->guest && holder->pid == tap->guest->pid))
			continue;
		strbuf_puts(out, also);
		strbuf_safe(out, holder->command, strlen(holder->command));
		strbuf_printf(out, ", pid %d", holder->pid);
		also = ", ";
	}
}

/* "eth0  4 queues, 1 detached  fds …" */
static void tap_line(const struct view *view, const struct plan_iface *iface, struct strbuf *out)
{
	const struct view_tap *tap = iface->queues ? view_tap(view, iface->fd) : NULL;
	int detached = 0;

	if (!tap)
		return;
	for (uint32_t q = 0; q < tap->tap->queues; q++)
		detached += tap->queues[q] == QUEUE_DETACHED;
	if (tap->queues[0] == QUEUE_OWN)
		strbuf_printf(out, "      %s  queues of its own", iface->name);
	else
		strbuf_printf(out, "      %s  %d queue%s", iface->name, tap->live,
			      tap->live == 1 ? "" : "s");
	if (detached)
		strbuf_printf(out, ", %d detached", detached);
	tap_holders(tap, out);
	strbuf_puts(out, "\n");
}

static void problem_line(const struct problem *problem, struct strbuf *out)
{
	strbuf_puts(out, "    ! ");
	strbuf_safe(out, problem->where, strlen(problem->where));
	strbuf_puts(out, *problem->where ? "  plan: " : "plan: ");
	strbuf_safe(out, problem->plan, strlen(problem->plan));
	strbuf_puts(out, "   kernel: ");
	strbuf_safe(out, problem->kernel, strlen(problem->kernel));
	strbuf_puts(out, "   ");
	strbuf_safe(out, problem->remedy, strlen(problem->remedy));
	strbuf_puts(out, "\n");
}

static void problems_of(const struct view *view, const char *of, struct strbuf *out)
{
	for (int i = 0; i < view->n_problems; i++)
		if (str_eq(view->problems[i].of, of))
			problem_line(&view->problems[i], out);
}

static bool has_problem(const struct view *view, const char *of)
{
	for (int i = 0; i < view->n_problems; i++)
		if (str_eq(view->problems[i].of, of))
			return true;
	return false;
}

static void print_row(const struct row *row, const int width[STATUS_COLUMNS], struct strbuf *out)
{
	struct strbuf line autostr = STRBUF_INIT;

	for (int c = 0; c < STATUS_COLUMNS; c++)
		strbuf_printf(&line, "%-*s  ", width[c], row->cell[c]);
	while (line.len && line.text[line.len - 1] == ' ')
		line.text[--line.len] = '\0';
	strbuf_printf(out, "%s\n", line.text);
}

/* Every node, or those with problems only. What belongs to no node comes last. */
static void body(const struct status *status, bool problems_only, struct strbuf *out)
{
	static const char *const places[] = { "switch", "host" };
	static const struct row head = { { "NODE", "KIND", "STATE", "INTERFACE", "LINK",
					   "ADDRESSES", "VLAN" } };
	struct row shown = head;
	const struct view *view = status->view;
	const struct plan *plan = view->plan;
	struct arena arena;
	struct row **rows;
	int *n, width[STATUS_COLUMNS];
	struct err err;

	if (arena_init(&arena, 0, &err) < 0)
		return;
	rows = arena_calloc(&arena, (size_t)plan->n_nodes, sizeof *rows);
	n = arena_calloc(&arena, (size_t)plan->n_nodes, sizeof *n);
	for (int c = 0; c < STATUS_COLUMNS; c++)
		width[c] = c == STATUS_VLAN ? 0 : (int)strlen(head.cell[c]);
	for (int i = 0; i < plan->n_nodes; i++) {
		if (problems_only && !has_problem(view, plan->nodes[i].name))
			continue;
		rows[i] = arena_calloc(&arena, (size_t)plan->nodes[i].n_ifaces + 1, sizeof **rows);
		n[i] = node_rows(status, &arena, &plan->nodes[i], problems_only, rows[i]);
		for (int k = 0; k < n[i]; k++)
			for (int c = 0; c < STATUS_COLUMNS; c++)
				if ((int)strlen(rows[i][k].cell[c]) > width[c])
					width[c] = (int)strlen(rows[i][k].cell[c]);
	}
	if (!width[STATUS_VLAN])
		shown.cell[STATUS_VLAN] = "";
	if (!problems_only)
		print_row(&shown, width, out);
	for (int i = 0; i < plan->n_nodes; i++) {
		for (int k = 0; k < n[i]; k++)
			print_row(&rows[i][k], width, out);
		for (int k = 0; k < plan->nodes[i].n_ifaces; k++)
			if (plan->nodes[i].guest && !problems_only)
				tap_line(view, &plan->nodes[i].ifaces[k], out);
		if (!problems_only)
			program_lines(view, &plan->nodes[i], out);
		problems_of(view, plan->nodes[i].name, out);
	}
	for (size_t i = 0; i < COUNT(places); i++)
		if (has_problem(view, places[i])) {
			strbuf_printf(out, "%s\n", places[i]);
			problems_of(view, places[i], out);
		}
	arena_free(&arena);
}

static void text(const struct status *status, bool problems_only, struct strbuf *out)
{
	int n = status->view ? status->view->n_problems : 1;

	header(status, out);
	if (status->view)
		body(status, problems_only, out);
	else
		strbuf_puts(out, "    ! its worker was killed   tapnet-lab gc\n");
	if (n)
		strbuf_printf(out, "%d problem%s\n", n, n == 1 ? "" : "s");
	else if (problems_only)
		strbuf_puts(out, "no problems\n");
}

/* ---- the verb */

static int show(const struct running *running, const struct view *view, bool json, bool check)
{
	const struct journal_meta *meta = &running->journal.meta;
	const struct passwd *user = getpwuid(meta->uid);
	struct strbuf out autostr = STRBUF_INIT;
	char uid[24];
	struct status status = {
		.running = running,
		.view = view,
		.state = view && view->state ? view->state : cli_state(running, true),
		.user = uid,
		.since_s = (int64_t)time(NULL) - meta->created,
		.changed = file_changed(&running->journal),
	};

	(void)snprintf(uid, sizeof uid, "user %u", meta->uid);
	if (user)
		status.user = user->pw_name;
	if (json && status_json(&status, &out) < 0)
		return EXIT_UNABLE;
	if (!json)
		text(&status, check, &out);
	(void)fwrite(out.text, 1, out.len, stdout);
	return check && (!view || view->n_problems) ? EXIT_CHECK : EXIT_FINE;
}

static int status_of(const char *lab, bool json, bool check)
{
	struct running running autorunning = RUNNING_NONE;
	struct view view autoview = { 0 };
	autofd int control = -1;
	struct err err;
	int r = cli_find(lab, &running);

	if (r)
		return r;
	if (!labdir_alive(&running.dir))
		return show(&running, NULL, json, check);
	control = control_connect(&running.dir, &err);
	if (control == -ENOENT || control == -ECONNREFUSED) {
		cli_complain("%s is being brought up or down: try again", running.dir.name);
		return EXIT_STATE;
	}
	if (control < 0 || view_read(&running, control, &view, &err) < 0) {
		if (!labdir_alive(&running.dir))
			return show(&running, NULL, json, check);
		cli_error(&err);
		return EXIT_STATE;
	}
	return show(&running, &view, json, check);
}

int verb_status(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	bool json = false, check = false;
	const char *lab = NULL;
	int o;

	while ((o = args_next(&args)) >= 0) {
		if (o == STATUS_LAB)
			lab = args.value;
		else if (o == STATUS_FORMAT)
			(void)cli_format(&args, &json);
		else
			check = true;
	}
	if (args_status(&args) >= 0)
		return args_status(&args);
	if (args_operands(&args) == 1 && !lab)
		lab = args_operand(&args, 0);
	else if (args_operands(&args)) {
		cli_complain("status: one lab at a time (tapnet-lab help status)");
		return EXIT_INVALID;
	}
	return status_of(lab, json, check);
}
