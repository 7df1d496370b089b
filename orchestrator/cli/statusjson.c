/* statusjson.c - status for programs. */
#include <errno.h>
#include <json-c/json.h>

#include "base/fd.h"
#include "cli/status.h"

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, text ? json_object_new_string(text) : NULL);
}

static void add_number(struct json_object *o, const char *key, uint64_t n)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)n));
}

static void add_bool(struct json_object *o, const char *key, bool b)
{
	json_object_object_add(o, key, json_object_new_boolean(b));
}

static void add_link(struct json_object *o, const struct nlr_link *link)
{
	char mac[MAC_TEXT];

	add_text(o, "state", !link ? "missing" : link->up ? "up" : "down");
	if (!link)
		return;
	add_bool(o, "carrier", link->carrier);
	add_text(o, "device_mac", mac_text(&link->mac, mac));
	add_number(o, "mtu", link->mtu);
	add_number(o, "rx_packets", link->rx_packets);
	add_number(o, "rx_bytes", link->rx_bytes);
	add_number(o, "rx_dropped", link->rx_dropped);
	add_number(o, "tx_packets", link->tx_packets);
	add_number(o, "tx_bytes", link->tx_bytes);
	add_number(o, "tx_dropped", link->tx_dropped);
}

static void add_addr(struct json_object *list, const struct ip *ip)
{
	char text[IP_TEXT];

	json_object_array_add(list, json_object_new_string(ip_prefix_text(ip, text)));
}

/* The TAP of a guest's interface: its queues, and the numbers of their fds here and in the guest. */
static struct json_object *tap(const struct plan_iface *iface)
{
	struct json_object *o = json_object_new_object(), *fds = json_object_new_array(),
			   *guest = json_object_new_array();

	for (int q = 0; q < (int)iface->queues; q++) {
		json_object_array_add(fds, json_object_new_int(iface->fd + q));
		json_object_array_add(guest, json_object_new_int(iface->guest_fd + q));
	}
	add_number(o, "queues", iface->queues);
	add_bool(o, "vnet_hdr", iface->vnet_hdr);
	json_object_object_add(o, "fds", fds);
	json_object_object_add(o, "guest_fds", guest);
	return o;
}

static struct json_object *interface(const struct view *view, const struct plan_iface *iface)
{
	const struct nlr_link *link = view_link(view, iface->space, iface->ifindex, iface->ifname);
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	char mac[MAC_TEXT];

	add_text(o, "name", iface->name);
	add_text(o, "device", iface->ifname);
	add_text(o, "peer", iface->peer);
	add_text(o, "mac", mac_text(&iface->mac, mac));
	for (int i = 0; iface->set && link && i < link->n_addrs; i++)
		add_addr(list, &link->addrs[i]);
	for (int i = 0; !iface->set && i < iface->n_addrs; i++)
		add_addr(list, &iface->addrs[i].ip);
	json_object_object_add(o, "addresses", list);
	add_bool(o, "addresses_from_kernel", iface->set);
	add_link(o, link);
	if (iface->queues)
		json_object_object_add(o, "tap", tap(iface));
	return o;
}

static struct json_object *program(const struct view_program *program)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "name", program->name);
	add_text(o, "state", program->state);
	if (program->pid)
		add_number(o, "pid", (uint64_t)program->pid);
	add_number(o, "restarts", (uint64_t)program->restarts);
	add_text(o, "last_exit", program->last);
	if (program->last)
		add_number(o, "last_exit_ago_ms", (uint64_t)program->ago_ms);
	return o;
}

static struct json_object *node(const struct view *view, const struct plan_node *node)
{
	struct json_object *o = json_object_new_object(), *interfaces = json_object_new_array(),
			   *programs = json_object_new_array();

	add_text(o, "name", node->name);
	add_text(o, "kind", node->kind);
	add_bool(o, "guest", node->guest);
	for (int i = 0; i < node->n_ifaces; i++)
		json_object_array_add(interfaces, interface(view, &node->ifaces[i]));
	for (int i = 0; i < view->n_programs; i++)
		if (str_eq(view->programs[i].node, node->name))
			json_object_array_add(programs, program(&view->programs[i]));
	json_object_object_add(o, "interfaces", interfaces);
	json_object_object_add(o, "programs", programs);
	return o;
}

static struct json_object *problem(const struct problem *problem)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "of", problem->of);
	add_text(o, "where", problem->where);
	add_text(o, "plan", problem->plan);
	add_text(o, "kernel", problem->kernel);
	add_text(o, "remedy", problem->remedy);
	return o;
}

int status_json(const struct status *status, struct strbuf *out)
{
	static const struct problem dead = { .of = "",
					     .where = "",
					     .plan = "running",
					     .kernel = "its worker was killed",
					     .remedy = "tapnet-lab gc" };
	const struct journal_meta *meta = &status->running->journal.meta;
	const struct view *view = status->view;
	struct json_object *o = json_object_new_object(), *nodes = json_object_new_array(),
			   *problems = json_object_new_array();

	add_text(o, "lab", meta->name);
	add_text(o, "state", status->state);
	add_text(o, "user", status->user);
	add_text(o, "file", meta->file);
	add_bool(o, "file_changed", status->changed);
	add_number(o, "created", meta->created);
	if (view && view->expires_ms)
		add_number(o, "expires_ms", (uint64_t)view->expires_ms);
	for (int i = 0; view && i < view->plan->n_nodes; i++)
		json_object_array_add(nodes, node(view, &view->plan->nodes[i]));
	for (int i = 0; view && i < view->n_problems; i++)
		json_object_array_add(problems, problem(&view->problems[i]));
	if (!view)
		json_object_array_add(problems, problem(&dead));
	json_object_object_add(o, "nodes", nodes);
	json_object_object_add(o, "problems", problems);
	strbuf_printf(out, "%s\n",
		      json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
								JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	return out->failed ? -ENOMEM : 0;
}
