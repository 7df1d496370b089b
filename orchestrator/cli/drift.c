/* drift.c - where the kernel is not as the plan has it.
 *
 * The plan's steps say what each device should be like: that is gathered first, a device at a time,
 * since several steps speak of one. What is there beside the plan (addresses that a daemon set,
 * routes that a protocol learned) is nobody's mistake.
 */
#include <linux/if_tun.h>
#include <string.h>

#include "cli/view.h"
#include "op/proc.h"

#define MTU_DEFAULT 1500

struct want {
	const char *label, *name; /* label: whose step it is */
	uint32_t space, ifindex, master, mtu;
	uint32_t parent, vlan; /* of a sub-interface */
	const struct mac *mac;
	const struct want *peer; /* of a veth */
	const struct op_tap *tap;
	const char *host_bridge;  /* whose port it is */
	bool up, bridge, carrier; /* carrier: of a TAP whose guest runs */
	bool filters;		  /* a bridge, by VLANs */
	struct vlan *vlans;	  /* of a port */
	int n_vlans, cap_vlans;
};

struct wants {
	struct arena *arena;
	struct want **v;
	int n, cap;
};

/* ---- what the plan wants */

static struct want *want_of(struct wants *wants, uint32_t space, uint32_t ifindex,
			    const char *label, const char *name)
{
	struct want *want;

	for (int i = 0; i < wants->n; i++) {
		want = wants->v[i];
		if (want->space == space &&
		    (space == SPACE_HOST ? str_eq(want->name, name) : want->ifindex == ifindex))
			return want;
	}
	want = arena_alloc(wants->arena, sizeof *want);
	*want = (struct want){ .label = label, .name = name, .space = space, .ifindex = ifindex };
	*ARENA_PUSH(wants->arena, wants->v, wants->n, wants->cap) = want;
	return want;
}

static void want_veth(struct wants *wants, const struct step *step)
{
	const struct op_veth *veth = step->args;
	struct want *main = want_of(wants, veth->space, veth->ifindex, step->what, veth->name);
	struct want *peer =
		want_of(wants, veth->peer_space, veth->peer_ifindex, step->what, veth->peer_name);

	main->master = veth->master;
	main->mac = &veth->mac;
	main->up = veth->space != SPACE_HOST;
	main->mtu = peer->mtu = veth->mtu ? veth->mtu : MTU_DEFAULT;
	main->peer = peer;
	peer->mac = &veth->peer_mac;
	peer->peer = main;
}

static void want_port(struct wants *wants, const struct step *step)
{
	const struct op_port *port = step->args;
	struct want *want = want_of(wants, step->space, port->ifindex, step->what, port->name);

	want->master = port->master;
	want->mtu = port->mtu ? port->mtu : MTU_DEFAULT;
	want->up = true;
}

static void want_subif(struct wants *wants, const struct step *step)
{
	const struct op_subif *subif = step->args;
	struct want *want = want_of(wants, step->space, subif->ifindex, step->what, subif->name);

	want->mac = &subif->mac;
	want->mtu = subif->mtu;
	want->parent = subif->parent;
	want->vlan = subif->vlan;
}

static void want_vlans(struct wants *wants, struct want *want, const struct vlan *vlans, int n)
{
	for (int i = 0; i < n; i++)
		*ARENA_PUSH(wants->arena, want->vlans, want->n_vlans, want->cap_vlans) = vlans[i];
}

static void want_step(struct wants *wants, const struct step *step)
{
	const struct op_vlans *vlans = step->args;
	const struct op_bridge *bridge = step->args;
	const struct op_hostport *hostport = step->args;
	const struct op_link *link = step->args;
	const struct op_tap *tap = step->args;
	struct want *want;

	switch (step->op) {
	case OP_BRIDGE:
		want = want_of(wants, step->space, bridge->ifindex, step->what, bridge->name);
		want->mac = &bridge->mac;
		want->mtu = bridge->mtu;
		want->up = want->bridge = true;
		want->filters = bridge->vlan_filtering;
		break;
	case OP_VETH:
		want_veth(wants, step);
		break;
	case OP_TAP:
		if (tap->source != TAP_MADE) /* the device is another's */
			break;
		want = want_of(wants, step->space, tap->ifindex, step->what, tap->name);
		want->mac = &tap->mac;
		want->tap = tap;
		want->carrier = tap->handoff == TAP_BY_FD && !tap->carrier_off;
		break;
	case OP_PORT:
		want_port(wants, step);
		break;
	case OP_HOSTPORT:
		want = want_of(wants, SPACE_HOST, 0, step->what, hostport->name);
		want->up = true;
		want->host_bridge = hostport->bridge;
		want_vlans(wants, want, hostport->vlans, hostport->n_vlans);
		break;
	case OP_SUBIF:
		want_subif(wants, step);
		break;
	case OP_VLANS:
		want = want_of(wants, step->space, vlans->ifindex, step->what, vlans->name);
		want_vlans(wants, want, vlans->vlans, vlans->n_vlans);
		break;
	case OP_LINK:
		want = want_of(wants, step->space, link->ifindex, step->what, link->name);
		want->up = true;
		if (link->master)
			want->master = link->master;
		if (link->mtu)
			want->mtu = link->mtu;
		break;
	default:
		break;
	}
}

/* ---- what differs */

struct difference {
	struct strbuf plan, kernel, mend; /* mend: commands for the node */
	int n, n_restart;		  /* all, and those that the guest's next start mends */
	bool lost;			  /* nothing but a new lab mends it */
};

static void differs(struct difference *difference, const char *plan, const char *kernel)
{
	difference->n++;
	strbuf_printf(&difference->plan, "%s%s", difference->plan.len ? ", " : "", plan);
	strbuf_printf(&difference->kernel, "%s%s", difference->kernel.len ? ", " : "", kernel);
}

static void mend(struct difference *difference, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void mend(struct difference *difference, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	strbuf_printf(&difference->mend, "%s%s", difference->mend.len ? "; " : "", text);
}

static const char *name_of(const struct view *view, uint32_t space, uint32_t ifindex)
{
	const struct nlr_link *link = ifindex ? nlr_link(&view->spaces[space], ifindex) : NULL;

	return link ? link->name : "none";
}

static void compare_link(const struct view *view, const struct want *want,
			 const struct nlr_link *link, struct difference *difference)
{
	char plan[64], kernel[64], a[MAC_TEXT], b[MAC_TEXT];

	if (want->up && !link->up) {
		differs(difference, "up", "down");
		mend(difference, "ip link set %s up", link->name);
	}
	if (want->mtu && want->mtu != link->mtu) {
		(void)snprintf(plan, sizeof plan, "mtu %u", want->mtu);
		(void)snprintf(kernel, sizeof kernel, "mtu %u", link->mtu);
		differs(difference, plan, kernel);
		mend(difference, "ip link set %s mtu %u", link->name, want->mtu);
	}
	if (want->space != SPACE_HOST && want->master != link->master) {
		(void)snprintf(plan, sizeof plan, "bridge %s",
			       name_of(view, want->space, want->master));
		(void)snprintf(kernel, sizeof kernel, "bridge %s",
			       name_of(view, want->space, link->master));
		differs(difference, plan, kernel);
	}
	if (want->mac && memcmp(want->mac, &link->mac, sizeof link->mac) != 0) {
		differs(difference, mac_text(want->mac, a), mac_text(&link->mac, b));
		mend(difference, "ip link set %s address %s", link->name, mac_text(want->mac, a));
		difference->n_restart += want->tap != NULL;
	}
}

static void compare_host_bridge(const struct view *view, const struct want *want,
				const struct nlr_link *link, struct difference *difference)
{
	const char *is = link->master ? name_of(view, SPACE_HOST, link->master) : "none";
	char plan[64], kernel[64];

	if (!want->host_bridge || str_eq(is, want->host_bridge))
		return;
	(void)snprintf(plan, sizeof plan, "bridge %s", want->host_bridge);
	(void)snprintf(kernel, sizeof kernel, "bridge %s", is);
	differs(difference, plan, kernel);
	mend(difference, "ip link set %s master %s", link->name, want->host_bridge);
}

static void compare_vlans(const struct view *view, const struct want *want,
			  const struct nlr_link *link, struct difference *difference)
{
	struct strbuf plan autostr = STRBUF_INIT, kernel autostr = STRBUF_INIT;

	if (want->filters && !link->vlan_filtering)
		differs(difference, "vlan filtering", "none");
	if (want->vlan && (want->vlan != link->vlan || want->parent != link->parent)) {
		strbuf_printf(&plan, "vlan %u of %s", want->vlan,
			      name_of(view, want->space, want->parent));
		strbuf_printf(&kernel, "vlan %u of %s", link->vlan,
			      name_of(view, want->space, link->parent));
	} else if (want->n_vlans &&
		   !vlans_same(want->vlans, want->n_vlans, link->vlans, link->n_vlans)) {
		vlans_text(want->vlans, want->n_vlans, &plan);
		vlans_text(link->vlans, link->n_vlans, &kernel);
	}
	if (plan.len)
		differs(difference, plan.text, kernel.text);
}

static bool has_addr(const struct nlr_link *link, const struct ip *ip)
{
	for (int i = 0; i < link->n_addrs; i++)
		if (ip_same(&link->addrs[i], ip) && link->addrs[i].prefix == ip->prefix)
			return true;
	return false;
}

/* What it has of that family, link-local ones left out. */
static const char *addrs_words(const struct nlr_link *link, uint8_t family, struct strbuf *out)
{
	char text[IP_TEXT];

	for (int i = 0; i < link->n_addrs; i++) {
		const struct ip *ip = &link->addrs[i];

		if (ip->family == family && !(family == 6 && ip->b[0] == 0xfe && ip->b[1] == 0x80))
			strbuf_printf(out, "%s%s", out->len ? " " : "", ip_prefix_text(ip, text));
	}
	if (!out->len)
		strbuf_printf(out, "no IPv%d address", family);
	return out->text;
}

static void compare_addrs(const struct view *view, const struct want *want,
			  const struct nlr_link *link, struct difference *difference)
{
	for (int i = 0; i < view->plan->n_steps; i++) {
		const struct step *step = &view->plan->steps[i];
		const struct op_addr *addr = step->args;
		struct strbuf words autostr = STRBUF_INIT;
		char text[IP_TEXT];

		if (step->op != OP_ADDR || step->space != want->space ||
		    addr->ifindex != want->ifindex || has_addr(link, &addr->addr))
			continue;
		(void)ip_prefix_text(&addr->addr, text);
		differs(difference, text, addrs_words(link, addr->addr.family, &words));
		mend(difference, "ip addr add %s dev %s%s", text, link->name,
		     addr->addr.family == 6 ? " nodad" : "");
	}
}

/* Does nobody read it? Then its cable is out, and its guest's end is told itself. */
static bool is_idle(const struct view *view, const struct op_tap *tap)
{
	const struct view_tap *seen = tap ? view_tap(view, tap->fd) : NULL;

	return seen && seen->guest && !str_eq(seen->guest->state, "running");
}

/* No carrier though up: the other end is down, and is told itself, or a guest pulled the cable. */
static void compare_carrier(const struct view *view, const struct want *want,
			    const struct nlr_link *link, struct difference *difference)
{
	const struct nlr_link *peer = NULL;

	if (is_idle(view, want->tap))
		return;
	if (!want->up || !link->up || link->carrier || !(want->carrier || want->peer))
		return;
	if (want->peer)
		peer = view_link(view, want->peer->space, want->peer->ifindex, want->peer->name);
	if (!want->carrier && !(peer && peer->up))
		return;
	differs(difference, "carrier", "no carrier");
	difference->n_restart += want->tap != NULL;
}

static bool lost_queues(const struct view_tap *seen, struct difference *difference)
{
	uint32_t n = seen->tap->queues;
	char plan[32], kernel[32];

	if (seen->tap->handoff != TAP_BY_FD || seen->live >= (int)n)
		return false;
	(void)snprintf(plan, sizeof plan, "%u queue%s", n, n == 1 ? "" : "s");
	(void)snprintf(kernel, sizeof kernel, "%d", seen->live);
	differs(difference, plan, seen->live ? kernel : "none");
	difference->lost = true;
	return true;
}

/* What a guest may change of its TAP at any time (header size, offloads, which of its queues it
 * reads) is no difference: its next start puts that back. */
static void compare_tap(const struct view *view, const struct op_tap *tap,
			struct difference *difference)
{
	const struct view_tap *seen = tap ? view_tap(view, tap->fd) : NULL;

	if (!seen || lost_queues(seen, difference) || tap->handoff != TAP_BY_FD)
		return;
	if ((seen->state.flags & IFF_PERSIST) == (tap->persist ? IFF_PERSIST : 0))
		return;
	differs(difference, tap->persist ? "persistent" : "not persistent",
		tap->persist ? "not persistent" : "persistent");
	difference->n_restart++;
}

static const char *remedy_of(struct view *view, const struct want *want,
			     const struct difference *difference)
{
	const char *node = view->plan->spaces[want->space].name;
	const struct view_tap *seen = want->tap ? view_tap(view, want->tap->fd) : NULL;

	if (seen && seen->guest && difference->n == difference->n_restart)
		return arena_printf(&view->arena, "tapnet-lab restart %s", seen->guest->name);
	if (want->space <= SPACE_SWITCH || difference->lost || !difference->mend.len)
		return "tapnet-lab up --replace";
	return arena_printf(&view->arena,
			    strchr(difference->mend.text, ';') ? "tapnet-lab exec %s -- sh -c '%s'"
							       : "tapnet-lab exec %s -- %s",
			    node, difference->mend.text);
}

static void compare_device(struct view *view, const struct want *want)
{
	struct difference difference = { STRBUF_INIT, STRBUF_INIT, STRBUF_INIT, 0, 0, false };
	const struct nlr_link *link = view_link(view, want->space, want->ifindex, want->name);

	if (link) {
		compare_link(view, want, link, &difference);
		compare_host_bridge(view, want, link, &difference);
		compare_vlans(view, want, link, &difference);
		compare_carrier(view, want, link, &difference);
		compare_addrs(view, want, link, &difference);
		compare_tap(view, want->tap, &difference);
	} else {
		differs(&difference, "there", "missing");
	}
	if (difference.plan.len)
		view_problem(view,
			     (struct problem){
				     .of = view->plan->spaces[want->space].name,
				     .where = want->space > SPACE_SWITCH ? want->name : want->label,
				     .plan = arena_strdup(&view->arena, difference.plan.text),
				     .kernel = arena_strdup(&view->arena, difference.kernel.text),
				     .remedy = remedy_of(view, want, &difference),
			     });
	strbuf_free(&difference.plan);
	strbuf_free(&difference.kernel);
	strbuf_free(&difference.mend);
}

/* One that was handed to us: its device is another's business, its queues are ours. */
static void compare_adopted(struct view *view, const struct step *step)
{
	const struct view_tap *seen = view_tap(view, ((const struct op_tap *)step->args)->fd);
	struct difference difference = { STRBUF_INIT, STRBUF_INIT, STRBUF_INIT, 0, 0, false };

	if (seen && lost_queues(seen, &difference))
		view_problem(view,
			     (struct problem){
				     .of = seen->guest ? seen->guest->node
						       : view->plan->spaces[step->space].name,
				     .where = step->what,
				     .plan = arena_strdup(&view->arena, difference.plan.text),
				     .kernel = arena_strdup(&view->arena, difference.kernel.text),
				     .remedy = "tapnet-lab up --replace",
			     });
	strbuf_free(&difference.plan);
	strbuf_free(&difference.kernel);
}

/* ---- routes */

static bool has_route(const struct nlr_view *space, const struct op_route *want)
{
	struct ip dst = want->dst;

	if (!dst.family)
		dst = (struct ip){ .family = want->via.family };
	for (int i = 0; i < space->n_routes; i++) {
		const struct nlr_route *route = &space->routes[i];

		if (ip_same(&route->dst, &dst) && route->dst.prefix == dst.prefix &&
		    (!want->via.family || ip_same(&route->via, &want->via)) &&
		    (!want->ifindex || want->via.family || route->ifindex == want->ifindex))
			return true;
	}
	return false;
}

static void compare_route(struct view *view, const struct step *step)
{
	const struct op_route *route = step->args;
	const char *node = view->plan->spaces[step->space].name;
	struct strbuf words autostr = STRBUF_INIT;
	char text[IP_TEXT];

	if (has_route(&view->spaces[step->space], route))
		return;
	strbuf_puts(&words, route->dst.family ? ip_prefix_text(&route->dst, text) : "default");
	if (route->via.family)
		strbuf_printf(&words, " via %s", ip_text(&route->via, text));
	else if (route->name)
		strbuf_printf(&words, " dev %s", route->name);
	view_problem(view, (struct problem){
				   .of = node,
				   .where = "route",
				   .plan = arena_strdup(&view->arena, words.text),
				   .kernel = "missing",
				   .remedy = arena_printf(&view->arena,
							  "tapnet-lab exec %s -- ip route add %s",
							  node, words.text),
			   });
}

/* ---- programs */

static void compare_program(struct view *view, const struct view_program *program)
{
	bool ended = str_eq(program->state, "ended");
	bool fine = program->last && str_eq(program->last, "exited with 0");
	bool stable = !program->restarts || program->since_ms > PROC_STABLE_MS;
	struct strbuf words autostr = STRBUF_INIT;

	if (ended ? fine && !program->guest && !program->trouble
		  : stable && !str_eq(program->state, "restarting"))
		return;
	strbuf_puts(&words, program->state);
	if (program->restarts)
		strbuf_printf(&words, ", restarted %d time%s", program->restarts,
			      program->restarts == 1 ? "" : "s");
	if (program->trouble)
		strbuf_printf(&words, ", not started: %s", program->trouble);
	else if (program->last)
		strbuf_printf(&words, ", %s %s(%lld s ago)", program->last, ended ? "" : "before ",
			      (long long)(program->ago_ms / 1000));
	view_problem(view, (struct problem){
				   .of = program->node,
				   .where = program->guest ? "" : program->name,
				   .plan = "running",
				   .kernel = arena_strdup(&view->arena, words.text),
				   .remedy = arena_printf(&view->arena, "tapnet-lab %s %s",
							  ended && fine ? "restart" : "logs",
							  program->name),
			   });
}

void view_compare(struct view *view)
{
	struct wants wants = { .arena = &view->arena };

	for (int i = 0; i < view->plan->n_steps; i++)
		want_step(&wants, &view->plan->steps[i]);
	for (int i = 0; i < wants.n; i++)
		compare_device(view, wants.v[i]);
	for (int i = 0; i < view->plan->n_steps; i++) {
		const struct step *step = &view->plan->steps[i];

		if (step->op == OP_ROUTE)
			compare_route(view, step);
		if (step->op == OP_TAP && ((const struct op_tap *)step->args)->source != TAP_MADE)
			compare_adopted(view, step);
	}
	for (int i = 0; i < view->n_programs; i++)
		compare_program(view, &view->programs[i]);
}
