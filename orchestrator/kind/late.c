/* late.c - ${eth0.fd} and the like: what only the plan knows, filled into strings. That its interface
 * is there, and that fds are told to their own guest alone, the loader has seen to (refs_late()). */
#include <stdlib.h>
#include <string.h>

#include "kind/planner.h"

/* What a name stands for is written by one of these; false (with *ret_why) when there is none. */
typedef bool late_value(const struct dev *dev, struct strbuf *out, const char **ret_why);

static const struct ip *dev_addr(const struct dev *dev, uint8_t family)
{
	for (int i = 0; i < dev->n_addrs; i++)
		if (dev->addrs[i].family == family)
			return &dev->addrs[i];
	return NULL;
}

static bool late_addr(const struct dev *dev, uint8_t family, bool prefix, struct strbuf *out,
		      const char **ret_why)
{
	const struct ip *ip = dev_addr(dev, family);
	char text[IP_TEXT];

	*ret_why = family == 4 ? "it has no IPv4 address" : "it has no IPv6 address";
	if (ip)
		strbuf_puts(out, prefix ? ip_prefix_text(ip, text) : ip_text(ip, text));
	return ip != NULL;
}

static bool late_ipv4(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	return late_addr(dev, 4, false, out, ret_why);
}

static bool late_ipv4_prefix(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	return late_addr(dev, 4, true, out, ret_why);
}

static bool late_ipv6(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	return late_addr(dev, 6, false, out, ret_why);
}

static bool late_ipv6_prefix(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	return late_addr(dev, 6, true, out, ret_why);
}

static bool late_netmask(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	const struct ip *ip = dev_addr(dev, 4);
	struct ip mask = { .family = 4,
			   .prefix = ip ? ip->prefix : 0,
			   .b = { 255, 255, 255, 255 } };
	char text[IP_TEXT];

	*ret_why = "it has no IPv4 address";
	mask = ip_network(&mask);
	if (ip)
		strbuf_puts(out, ip_text(&mask, text));
	return ip != NULL;
}

static bool late_subnet(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	struct ip net;
	char text[IP_TEXT];

	*ret_why = "it has no address";
	if (!dev->n_addrs)
		return false;
	net = ip_network(&dev->addrs[0]);
	strbuf_puts(out, ip_prefix_text(&net, text));
	return true;
}

static bool late_gateway(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	char text[IP_TEXT];

	*ret_why = "no default route goes that way (routes: default via …)";
	if (dev->gateway4.family || dev->gateway6.family)
		strbuf_puts(out,
			    ip_text(dev->gateway4.family ? &dev->gateway4 : &dev->gateway6, text));
	return dev->gateway4.family || dev->gateway6.family;
}

static bool late_fd(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	*ret_why = "its device is handed over by name";
	if (dev->guest_fd < 0)
		return false;
	strbuf_printf(out, "%d", dev->guest_fd);
	return true;
}

static bool late_fd_list(const struct dev *dev, const char *separator, struct strbuf *out,
			 const char **ret_why)
{
	*ret_why = "its device is handed over by name";
	if (dev->guest_fd < 0)
		return false;
	for (unsigned q = 0; q < dev->queues; q++)
		strbuf_printf(out, "%s%d", q ? separator : "", dev->guest_fd + (int)q);
	return true;
}

static bool late_fds(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	return late_fd_list(dev, ":", out, ret_why);
}

static bool late_fds_comma(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	return late_fd_list(dev, ",", out, ret_why);
}

static bool late_queues(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	(void)ret_why;
	strbuf_printf(out, "%u", dev->queues);
	return true;
}

static bool late_virtqueues(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	(void)ret_why;
	strbuf_printf(out, "%u", dev->queues * 2);
	return true;
}

static bool late_vectors(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	(void)ret_why;
	strbuf_printf(out, "%u", dev->queues * 2 + 2);
	return true;
}

static bool late_mac(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	char text[MAC_TEXT];

	(void)ret_why;
	strbuf_puts(out, mac_text(&dev->mac, text));
	return true;
}

static bool late_mtu(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	(void)ret_why;
	strbuf_printf(out, "%u", dev->mtu ? dev->mtu : 1500);
	return true;
}

static bool late_ifname(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	*ret_why = "its device is another's, and has its name from there";
	if (dev->adopted)
		return false;
	strbuf_puts(out, dev->ifname);
	return true;
}

static bool late_peer(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	(void)ret_why;
	strbuf_puts(out, dev->peer_label);
	return true;
}

static bool late_vhost(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	(void)ret_why;
	strbuf_puts(out, dev->vhost ? "on" : "off");
	return true;
}

static bool late_vhostfds(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	*ret_why = dev->iface->tap.vhost == VHOST_AUTO
			   ? "vhost: auto is off here (vhost: require asks for it)"
			   : "vhost is off";
	if (dev->vhost_fd < 0)
		return false;
	for (unsigned q = 0; q < dev->queues; q++)
		strbuf_printf(out, "%s%d", q ? ":" : "", dev->vhost_fd + (int)q);
	return true;
}

static bool late_poll_us(const struct dev *dev, struct strbuf *out, const char **ret_why)
{
	(void)ret_why;
	strbuf_printf(out, "%u", dev->vhost ? dev->iface->tap.poll_us : 0);
	return true;
}

static const struct {
	const char *name;
	late_value *value;
} late_table[] = {
	{ "fd", late_fd },
	{ "fds", late_fds },
	{ "fds-comma", late_fds_comma },
	{ "vhost", late_vhost },
	{ "vhostfds", late_vhostfds },
	{ "poll-us", late_poll_us },
	{ "queues", late_queues },
	{ "virtqueues", late_virtqueues },
	{ "vectors", late_vectors },
	{ "mac", late_mac },
	{ "mtu", late_mtu },
	{ "ifname", late_ifname },
	{ "ipv4", late_ipv4 },
	{ "ipv4-prefix", late_ipv4_prefix },
	{ "ipv6", late_ipv6 },
	{ "ipv6-prefix", late_ipv6_prefix },
	{ "netmask", late_netmask },
	{ "gateway", late_gateway },
	{ "subnet", late_subnet },
	{ "peer", late_peer },
};

#define LATE_COUNT (sizeof late_table / sizeof late_table[0])
_Static_assert(LATE_COUNT < LATE_NAMES_MAX, "late_names()");

const char *const *late_names(void)
{
	static const char *names[LATE_COUNT + 1];

	for (size_t i = 0; i < LATE_COUNT; i++)
		names[i] = late_table[i].name;
	return names;
}

bool late_value_of(const struct dev *dev, const char *name, struct strbuf *out,
		   const char **ret_why)
{
	for (size_t i = 0; i < LATE_COUNT; i++)
		if (str_eq(late_table[i].name, name))
			return late_table[i].value(dev, out, ret_why);
	abort(); /* the loader takes these names only */
}

/* The device that "eth0" or "r1:eth0" means. */
static const struct dev *late_dev(const struct planner *planner, const struct node *node,
				  const char *name)
{
	char *of = arena_strdup(planner->arena, name), *colon = strchr(of, ':');

	if (colon) {
		*colon = '\0';
		node = lab_node(planner->lab, of);
	}
	return planner_dev(planner, node_iface(node, colon ? colon + 1 : of));
}

static void late_one(struct planner *planner, const struct node *node, const char *name,
		     struct pos pos, struct strbuf *out)
{
	const char *dot = strrchr(name, '.'), *why = NULL;
	const char *dev = arena_strndup(planner->arena, name, (size_t)(dot - name));

	if (!late_value_of(late_dev(planner, node, dev), dot + 1, out, &why))
		diag_add(planner->diags, pos, "\"${%s}\": %s", name, why);
}

const char *late_fill(struct planner *planner, const struct node *node, const struct text *text)
{
	struct strbuf out __attribute__((cleanup(strbuf_free))) = STRBUF_INIT;

	if (!strchr(text->s, LATE_OPEN))
		return text->s;
	for (const char *s = text->s; *s;) {
		size_t len = strcspn(s, "\x01");
		const char *end;

		strbuf_add(&out, s, len);
		s += len;
		if (!*s)
			break;
		end = strchr(s, LATE_CLOSE);
		if (str_starts(s, STEP_DIR) || str_starts(s, STEP_RUN) ||
		    str_starts(s, STEP_IFNAME))
			strbuf_add(&out, s, (size_t)(end + 1 - s));
		else
			late_one(planner, node,
				 arena_strndup(planner->arena, s + 1, (size_t)(end - s - 1)),
				 text->pos, &out);
		s = end + 1;
	}
	return arena_text(planner->arena, &out);
}

struct program late_program(struct planner *planner, const struct node *node,
			    const struct command *command, const struct pairs *env,
			    const char *const *more_env)
{
	struct program program = { .argc = command->argc };
	int cap = 0;

	program.argv =
		arena_calloc(planner->arena, (size_t)command->argc + 1, sizeof *program.argv);
	for (int i = 0; i < command->argc; i++)
		program.argv[i] = late_fill(planner, node, &command->argv[i]);
	for (int i = 0; more_env && more_env[i]; i++)
		*ARENA_PUSH(planner->arena, program.env, program.n_env, cap) = more_env[i];
	for (int i = 0; env && i < env->n; i++) {
		struct text value = { .s = env->v[i].value, .pos = env->v[i].value_pos };

		*ARENA_PUSH(planner->arena, program.env, program.n_env, cap) = arena_printf(
			planner->arena, "%s=%s", env->v[i].key, late_fill(planner, node, &value));
	}
	(void)ARENA_PUSH(planner->arena, program.env, program.n_env, cap);
	program.n_env--; /* the list ends with NULL */
	return program;
}
