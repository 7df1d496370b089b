/* print.c - the plan for people, and as JSON. */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "op/op.h"
#include "plan/plan.h"

struct plan_totals plan_count(const struct plan *plan)
{
	struct plan_totals totals = { .steps = plan->n_steps };
	bool batching = false;
	uint32_t space = 0;

	for (int i = 0; i < plan->n_steps; i++) {
		const struct step *step = &plan->steps[i];

		if (op_of(step)->encode) {
			if (!batching || step->space != space)
				totals.messages++;
			batching = true;
			space = step->space;
		} else {
			batching = false;
		}
		if (step->op == OP_PROC)
			totals.processes++;
	}
	return totals;
}

static const char *yes(bool b)
{
	return b ? "yes" : "no";
}

static const char *plural(int n)
{
	return n == 1 ? "" : "s";
}

static size_t where_width(const struct plan *plan)
{
	size_t width = 6;

	for (int i = 0; i < plan->n_spaces; i++)
		if (strlen(plan->spaces[i].name) > width)
			width = strlen(plan->spaces[i].name);
	return width < 24 ? width : 24;
}

/* The answers of this machine that the plan depends on; the last with how to change it. */
static void print_machine(const struct assume *assume, struct strbuf *out)
{
	const struct answer *kvm = &assume->kvm, *vhost = &assume->vhost;

	if (kvm->used || vhost->used)
		strbuf_puts(out, "; depends on this machine:");
	if (kvm->used)
		strbuf_printf(out, " kvm=%s%s", yes(kvm->yes), vhost->used ? "," : "");
	if (vhost->used)
		strbuf_printf(out, " vhost=%s", yes(vhost->yes));
	if (kvm->used || vhost->used)
		strbuf_printf(out, " (--assume %s=%s)", kvm->used ? "kvm" : "vhost",
			      yes(!(kvm->used ? kvm : vhost)->yes));
	strbuf_puts(out, "\n");
}

void plan_print(const struct plan *plan, const struct assume *assume, struct strbuf *out)
{
	struct plan_totals totals = plan_count(plan);
	int width = (int)where_width(plan);

	strbuf_printf(out, "%s: %d step%s in %d message%s, %d process%s", plan->lab, totals.steps,
		      plural(totals.steps), totals.messages, plural(totals.messages),
		      totals.processes, totals.processes == 1 ? "" : "es");
	print_machine(assume, out);
	strbuf_printf(out, "%5s  %-*s  %-72s  %s\n", "STEP", width, "WHERE", "WHAT", "UNDONE BY");
	for (int i = 0; i < plan->n_steps; i++) {
		const struct step *step = &plan->steps[i];
		struct strbuf what autostr = STRBUF_INIT;

		op_of(step)->describe(plan, step, &what);
		if (step->op != OP_NETNS && !str_eq(step->what, plan->spaces[step->space].name))
			strbuf_printf(&what, "  (%s)", step->what);
		strbuf_printf(out, "%5d  %-*s  %-72s  %s\n", i + 1, width,
			      plan->spaces[step->space].name, what.text, op_of(step)->undone_by);
		out->failed |= what.failed;
	}
}

/* ---- JSON, from the ops' own tables */

static struct json_object *json_str(const char *s)
{
	struct strbuf text autostr = STRBUF_INIT;

	if (!s)
		return NULL;
	for (; *s; s++) { /* what is symbolic is shown as it is written */
		if (*s == '\x01')
			strbuf_puts(&text, "${");
		else if (*s == '\x02')
			strbuf_puts(&text, "}");
		else
			strbuf_add(&text, s, 1);
	}
	return json_object_new_string(text.text);
}

static struct json_object *json_rec(const struct rec *table, const void *s);

static struct json_object *json_list(const struct rec *rec, const char *base)
{
	struct json_object *list = json_object_new_array();
	const char *elems;
	int n;

	memcpy(&elems, base + rec->offset, sizeof elems);
	memcpy(&n, base + rec->count_offset, sizeof n);
	for (int i = 0; i < n; i++)
		json_object_array_add(
			list, rec->type == REC_STRS
				      ? json_str(((const char *const *)(const void *)elems)[i])
				      : json_rec(rec->sub, elems + (size_t)i * rec->size));
	return list;
}

static struct json_object *json_value(const struct rec *rec, const char *base)
{
	const void *at = base + rec->offset;
	char text[IP_TEXT];

	switch (rec->type) {
	case REC_BOOL:
		return json_object_new_boolean(*(const bool *)at);
	case REC_U32:
		return json_object_new_int64(*(const uint32_t *)at);
	case REC_INT:
		return json_object_new_int(*(const int *)at);
	case REC_STR:
		return json_str(*(const char *const *)at);
	case REC_MAC:
		return json_object_new_string(mac_text(at, text));
	case REC_IP:
		return ((const struct ip *)at)->family
			       ? json_object_new_string(ip_prefix_text(at, text))
			       : NULL;
	case REC_ONE:
		return json_rec(rec->sub, at);
	case REC_STRS:
	case REC_MANY:
		return json_list(rec, base);
	}
	return NULL;
}

static struct json_object *json_rec(const struct rec *table, const void *s)
{
	struct json_object *object = json_object_new_object();

	for (const struct rec *rec = table; rec->name; rec++)
		json_object_object_add(object, rec->name, json_value(rec, s));
	return object;
}

static struct json_object *json_step(const struct plan *plan, int i)
{
	const struct step *step = &plan->steps[i];
	struct json_object *object = json_object_new_object();
	struct strbuf what autostr = STRBUF_INIT;

	op_of(step)->describe(plan, step, &what);
	json_object_object_add(object, "step", json_object_new_int(i + 1));
	json_object_object_add(object, "op", json_object_new_string(op_of(step)->name));
	json_object_object_add(object, "where",
			       json_object_new_string(plan->spaces[step->space].name));
	json_object_object_add(object, "of", json_object_new_string(step->what));
	if (step->line) {
		json_object_object_add(object, "line", json_object_new_int(step->line));
		json_object_object_add(object, "column", json_object_new_int(step->col));
	}
	json_object_object_add(object, "what", json_object_new_string(what.text));
	json_object_object_add(object, "undone_by", json_object_new_string(op_of(step)->undone_by));
	json_object_object_add(object, "args", json_rec(op_of(step)->args, step->args));
	return object;
}

int plan_print_json(const struct plan *plan, const struct assume *assume, struct strbuf *out)
{
	struct plan_totals totals = plan_count(plan);
	struct json_object *root = json_object_new_object(), *machine = json_object_new_object();
	struct json_object *steps = json_object_new_array();

	if (assume->kvm.used)
		json_object_object_add(machine, "kvm", json_object_new_boolean(assume->kvm.yes));
	if (assume->vhost.used)
		json_object_object_add(machine, "vhost",
				       json_object_new_boolean(assume->vhost.yes));
	json_object_object_add(root, "lab", json_object_new_string(plan->lab));
	json_object_object_add(root, "machine", machine);
	json_object_object_add(root, "messages", json_object_new_int(totals.messages));
	json_object_object_add(root, "processes", json_object_new_int(totals.processes));
	for (int i = 0; i < plan->n_steps; i++)
		json_object_array_add(steps, json_step(plan, i));
	json_object_object_add(root, "steps", steps);
	strbuf_json(out, json_object_to_json_string_ext(
				 root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	strbuf_puts(out, "\n");
	json_object_put(root);
	return out->failed ? -ENOMEM : 0;
}
