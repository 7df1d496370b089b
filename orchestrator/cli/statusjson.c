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

static struct json_object *tap_queues(const struct view_tap *tap)
{
	static const char *const words[] = {
		[QUEUE_GONE] = "gone",
		[QUEUE_OWN] = "own",
		[QUEUE_DETACHED] = "detached",
		[QUEUE_ATTACHED] = "attached",
	};
	struct json_object *list = json_object_new_array();

	for (uint32_t q = 0; q < tap->tap->queues; q++) {
		struct json_object *o = json_object_new_object();

		add_number(o, "queue", q);
		json_object_object_add(o, "fd",
				       tap->queues[q] == QUEUE_OWN
					       ? NULL
					       : json_object_new_int(tap->tap->fd + (int)q));
		json_object_object_add(
			o, "guest_fd",
			tap->guest_fds[q] < 0 ? NULL : json_object_new_int(tap->guest_fds[q]));
		add_text(o, "state", words[tap->queues[q]]);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *tap_holders(const struct view_tap *tap)
{
	struct json_object *list = json_object_new_array();

	for (int i = 0; i < tap->n_holders; i++) {
		const struct view_holder *holder = &tap->holders[i];
		struct json_object *o = json_object_new_object(), *fds = json_object_new_array();

		add_number(o, "pid", (uint64_t)holder->pid);
		add_text(o, "command", holder->command);
		for (int k = 0; k < holder->n_fds; k++)
			json_object_array_add(fds, json_object_new_int(holder->fds[k]));
		json_object_object_add(o, "fds", fds);
		add_bool(o, "ours", holder->ours);
		add_bool(o, "guest", holder->guest);
		json_object_array_add(list, o);
	}
	return list;
}

/* What anybody in its namespace is told. */
static void add_tun(struct json_object *o, const struct nlr_tun *tun)
{
	add_number(o, "attached", tun->queues);
	add_number(o, "detached", tun->disabled);
	if (tun->owner >= 0)
		add_number(o, "owner", (uint64_t)tun->owner);
	if (tun->group >= 0)
		add_number(o, "group", (uint64_t)tun->group);
}

/* The TAP of a guest's interface, from the kernel. */
static struct json_object *tap(const struct view_tap *tap, const struct nlr_link *link)
{
	struct json_object *o = json_object_new_object(), *flags = json_object_new_array(),
			   *vhost = json_object_new_array();
	static const char *const endians[] = {
		[TUN_NATIVE] = "native",
		[TUN_LITTLE] = "little",
		[TUN_BIG] = "big",
	};
	const char *name;

	if (link)
		add_number(o, "ifindex", link->ifindex);
	add_number(o, "namespace", tap->netns);
	for (int n = 0; (name = tun_flag_name(tap->state.flags, n)); n++)
		json_object_array_add(flags, json_object_new_string(name));
	if (link && link->tun.told && !link->tun.pi)
		json_object_array_add(flags, json_object_new_string("no_pi"));
	json_object_object_add(o, "flags", flags);
	if (tap->state.flags) {
		add_number(o, "vnet_hdr_len", (uint64_t)tap->state.vnet_hdr_size);
		add_number(o, "sndbuf", (uint64_t)tap->state.sndbuf);
		add_text(o, "endian", endians[tap->state.endian]);
	}
	if (link && link->tun.told)
		add_tun(o, &link->tun);
	json_object_object_add(o, "queues", tap_queues(tap));
	for (int q = 0; q < tap->n_vhost; q++)
		json_object_array_add(vhost, json_object_new_int(tap->vhost_fds[q]));
	json_object_object_add(o, "vhost_fds", vhost);
	json_object_object_add(o, "guest_pid",
			       tap->guest && tap->guest->pid ? json_object_new_int(tap->guest->pid)
							     : NULL);
	json_object_object_add(o, "holders", tap_holders(tap));
	return o;
}

/* VLANs of the port, ranges as in the file: those with their tags, and the one without. */
static struct json_object *port_vlans(const struct nlr_link *port)
{
	struct json_object *o = json_object_new_object(), *tagged = json_object_new_array();
	char text[24];

	json_object_object_add(o, "untagged", NULL);
	for (int i = 0; i < port->n_vlans; i++) {
		const struct vlan *vlan = &port->vlans[i];

		(void)snprintf(text, sizeof text, vlan->first == vlan->last ? "%u" : "%u-%u",
			       vlan->first, vlan->last);
		if (vlan->untagged)
			add_number(o, "untagged", vlan->first);
		else
			json_object_array_add(tagged, json_object_new_string(text));
	}
	json_object_object_add(o, "tagged", tagged);
	return o;
}

static struct json_object *interface(const struct view *view, const struct plan_node *of,
				     const struct plan_iface *iface)
{
	const struct nlr_link *link = view_link(view, iface->space, iface->ifindex, iface->ifname);
	const struct view_tap *made = of->guest ? view_tap(view, iface->fd) : NULL;
	const struct nlr_link *port = view_port(view, iface);
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	char mac[MAC_TEXT];

	add_text(o, "name", iface->name);
	/* an adopted device's name is known from its fds only */
	add_text(o, "device", made && made->state.name[0] ? made->state.name : iface->ifname);
	add_text(o, "peer", iface->peer);
	add_text(o, "mac", mac_text(&iface->mac, mac));
	for (int i = 0; iface->set && link && i < link->n_addrs; i++)
		add_addr(list, &link->addrs[i]);
	for (int i = 0; !iface->set && i < iface->n_addrs; i++)
		add_addr(list, &iface->addrs[i].ip);
	json_object_object_add(o, "addresses", list);
	add_bool(o, "addresses_from_kernel", iface->set);
	add_link(o, link);
	if (link && link->vlan)
		add_number(o, "vlan", link->vlan);
	if (port)
		json_object_object_add(o, "vlans", port_vlans(port));
	if (made)
		json_object_object_add(o, "tap", tap(made, link));
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
	if (program->trouble)
		add_text(o, "trouble", program->trouble);
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
		json_object_array_add(interfaces, interface(view, node, &node->ifaces[i]));
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
	strbuf_json(out, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
	strbuf_puts(out, "\n");
	json_object_put(o);
	return out->failed ? -ENOMEM : 0;
}
