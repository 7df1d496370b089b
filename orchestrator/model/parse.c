/* parse.c - the values of the vocabulary that no plain type reads: addresses, routes, ready … */
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "model/load.h"

#define NAME_CHARS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define REGEX_MAX   5000 /* characters, with repetitions written out */
#define REGEX_DEPTH 20

bool name_fine(struct loader *loader, const struct tnode *name, const char *more, size_t max)
{
	const char *s = name->s;
	size_t n = 0;

	while (s[n] &&
	       (strchr(NAME_CHARS, s[n]) || (n && (strchr("_-", s[n]) || strchr(more, s[n])))))
		n++;
	if (!*s || s[n]) {
		(void)load_error(loader, name->pos, "\"%s\" is no name", load_shown(loader, s));
		diag_hint(loader->diags, "letters, digits, %s; a letter or digit first",
			  *more ? "_, - and ." : "_ and -");
		return false;
	}
	if (n > max)
		(void)load_error(loader, name->pos,
				 "the name \"%s\" has %zu characters; %zu at most",
				 load_shown(loader, s), n, max);
	return n <= max;
}

/* A device's name where it is a value: host: br0. */
int parse_device(struct loader *loader, const struct field *field, const struct tnode *node,
		 void *value)
{
	int r = parse_text(loader, field, node, value);

	return r || name_fine(loader, node, ".", NAME_DEVICE_MAX) ? r : -EINVAL;
}

/* The field's count_offset is that of mac_given. */
int parse_iface_mac(struct loader *loader, const struct field *field, const struct tnode *node,
		    void *value)
{
	int r = parse_mac(loader, field, node, value);

	*(bool *)(void *)((char *)value - field->offset + field->count_offset) = !r;
	return r;
}

int parse_positional(struct loader *loader, const struct field *field, const struct tnode *node,
		     void *value)
{
	(void)loader, (void)field;
	*(const struct tnode **)value = node;
	return 0;
}

int parse_ip(struct loader *loader, const struct tnode *node, int family, struct ip *ret_ip)
{
	bool has_prefix;

	if (!ip_parse(node->s, ret_ip, &has_prefix))
		return load_error(loader, node->pos, "\"%s\" is no %saddress",
				  load_shown(loader, node->s),
				  family == 4	? "IPv4 "
				  : family == 6 ? "IPv6 "
						: "");
	if (family && ret_ip->family != family)
		return load_error(loader, node->pos,
				  "%s is an IPv%d address: it stands under ipv%d", node->s,
				  ret_ip->family, ret_ip->family);
	if (has_prefix && !ret_ip->prefix)
		return load_error(loader, node->pos, "%s: a prefix of 0 is no network's", node->s);
	if (!has_prefix)
		ret_ip->prefix = PREFIX_UNSET;
	return 0;
}

/* Addresses that no device can have. */
static int parse_host_ip(struct loader *loader, const struct tnode *node, int family,
			 struct ip *ret_ip)
{
	int r = parse_ip(loader, node, family, ret_ip);
	const struct ip zero = { .family = (uint8_t)family };

	if (r)
		return r;
	if (ip_same(ret_ip, &zero) || (family == 4 && ret_ip->b[0] >= 224) ||
	    (family == 6 && ret_ip->b[0] == 0xff))
		return load_error(loader, node->pos, "%s is no device's address", node->s);
	return 0;
}

int parse_addrs(struct loader *loader, const struct field *field, const struct tnode *node,
		void *value)
{
	struct addrs *addrs = value;
	const struct tnode *const *items;
	int n = field_items(&node, &items), r = 0;

	if (node->kind == TNODE_SCALAR && (str_eq(node->s, "auto") || str_eq(node->s, "none"))) {
		addrs->mode = str_eq(node->s, "auto") ? ADDRS_AUTO : ADDRS_NONE;
		addrs->v = NULL;
		addrs->pos = arena_memdup(loader->arena, &node->pos, sizeof node->pos);
		return 0;
	}
	if (load_count(loader, &loader->values, n, LOAD_VALUES_MAX, node->pos, "values"))
		return -EINVAL;
	addrs->v = arena_calloc(loader->arena, (size_t)n, sizeof *addrs->v);
	addrs->pos = arena_calloc(loader->arena, (size_t)n + 1, sizeof *addrs->pos);
	addrs->pos[0] = node->pos; /* where none is in the list */
	addrs->mode = ADDRS_LIST;
	for (int i = 0; i < n; i++) {
		if (!field_scalar(loader, field, items[i]) ||
		    parse_host_ip(loader, items[i], (int)field->min, &addrs->v[addrs->n])) {
			r = -EINVAL;
			continue;
		}
		addrs->pos[addrs->n++] = items[i]->pos;
	}
	return r;
}

/* A network: a prefix, and no bits after it. */
static int parse_network(struct loader *loader, const struct tnode *node, int family,
			 struct ip *ret_ip)
{
	char text[IP_TEXT];
	struct ip network;

	if (parse_ip(loader, node, family, ret_ip))
		return -EINVAL;
	if (ret_ip->prefix == PREFIX_UNSET)
		return load_error(loader, node->pos, "%s has no prefix length (write %s/%d)",
				  node->s, node->s, ret_ip->family == 4 ? 24 : 64);
	network = ip_network(ret_ip);
	if (!ip_same(&network, ret_ip))
		return load_error(loader, node->pos, "%s has host bits set; the network is %s",
				  node->s, ip_prefix_text(&network, text));
	return 0;
}

int parse_subnets(struct loader *loader, const struct field *field, const struct tnode *node,
		  void *value)
{
	struct subnets *subnets = value;
	const struct tnode *const *items;
	int n = field_items(&node, &items);

	if (node->kind == TNODE_SCALAR && str_eq(node->s, "none")) {
		subnets->mode = SUBNET_NONE;
		return 0;
	}
	subnets->mode = SUBNET_LIST;
	for (int i = 0; i < n; i++) {
		struct ip ip;

		if (!field_scalar(loader, field, items[i]) ||
		    parse_network(loader, items[i], 0, &ip))
			return -EINVAL;
		if (ip.prefix == ip_bits(&ip))
			return load_error(loader, items[i]->pos, "%s has room for no device",
					  items[i]->s);
		if (subnets->n == 2 || (subnets->n && subnets->v[0].family == ip.family))
			return load_error(loader, items[i]->pos,
					  "one subnet of each family: this is the second IPv%d one",
					  ip.family);
		subnets->v[subnets->n] = ip;
		subnets->pos[subnets->n++] = items[i]->pos;
	}
	return 0;
}

int parse_pool(struct loader *loader, const struct field *field, const struct tnode *node,
	       void *value)
{
	unsigned part = field->min == 4 ? 24 : 64;
	struct ip ip;

	if (!field_scalar(loader, field, node) || parse_network(loader, node, (int)field->min, &ip))
		return -EINVAL;
	if (ip.prefix > part)
		return load_error(loader, node->pos,
				  "the pool %s is smaller than the /%u that each link takes",
				  node->s, part);
	*(struct ip *)value = ip;
	return 0;
}

static int route_to(struct loader *loader, struct route *route)
{
	const struct tnode node = { .s = route->to.s, .pos = route->to.pos };

	if (str_eq(route->to.s, "default"))
		return 0;
	if (!strchr(route->to.s, '/')) {
		if (parse_ip(loader, &node, 0, &route->dst))
			return -EINVAL;
		route->dst.prefix = (uint8_t)ip_bits(&route->dst);
		return 0;
	}
	return parse_network(loader, &node, 0, &route->dst);
}

/* via is an address, or a name that is looked up later. */
static int route_via(struct loader *loader, struct route *route)
{
	const struct ip *dst = &route->dst;
	struct ip via;

	if (!ip_parse(route->via.s, &via, NULL))
		return 0;
	if (strchr(route->via.s, '/'))
		return load_error(loader, route->via.pos,
				  "via is an address without a prefix length, not \"%s\"",
				  route->via.s);
	if (dst->family && dst->family != via.family)
		return load_error(loader, route->via.pos,
				  "an IPv%d route cannot go via the IPv%d address %s", dst->family,
				  via.family, route->via.s);
	route->via_ip = via;
	return 0;
}

/* The words of "TO via GATEWAY [metric N]", each as a scalar at its own place. */
static int route_words(struct loader *loader, const struct tnode *node, struct tnode words[5])
{
	int n = 0;

	for (const char *s = node->s + strspn(node->s, " \t\n"); *s; s += strspn(s, " \t\n")) {
		size_t len = strcspn(s, " \t\n");
		char *word = arena_strndup(loader->arena, s, len);

		if (n < 5)
			words[n] = (struct tnode){ .s = word,
						   .pos = load_within(loader, node, word, len) };
		n++;
		s += len;
	}
	return n;
}

static int route_line(struct loader *loader, const struct field *field, const struct tnode *node,
		      const struct fieldset *set)
{
	struct tnode words[5];
	int n, r;

	if (!field_scalar(loader, field, node))
		return -EINVAL;
	n = route_words(loader, node, words);
	if ((n != 3 && n != 5) || !str_eq(words[1].s, "via") ||
	    (n == 5 && !str_eq(words[3].s, "metric"))) {
		(void)load_error(loader, node->pos, "\"%s\" is no route",
				 load_shown(loader, node->s));
		diag_hint(loader->diags,
			  "write: default via r1, or 10.0.3.0/24 via 10.0.1.9 metric 20");
		return -EINVAL;
	}
	r = field_parse(loader, field_find(set->fields, "to"), &words[0], set->base);
	if (!r)
		r = field_parse(loader, field_find(set->fields, "via"), &words[2], set->base);
	if (!r && n == 5)
		r = field_parse(loader, field_find(set->fields, "metric"), &words[4], set->base);
	return r;
}

int parse_routes(struct loader *loader, const struct field *field, const struct tnode *node,
		 void *value)
{
	const struct tnode *const *items;
	int n = field_items(&node, &items), *count = field_count(field, value), r = 0;
	struct route *v = arena_calloc(loader->arena, (size_t)n, sizeof *v);

	if (load_count(loader, &loader->values, n * 3, LOAD_VALUES_MAX, node->pos, "values"))
		return -EINVAL;
	for (int i = 0; i < n; i++) {
		struct route *route = &v[*count];
		const struct fieldset set = { field->fields, route };
		int wrong;

		route->pos = items[i]->pos;
		if (items[i]->kind == TNODE_MAP)
			wrong = fields_parse(loader, &set, 1, items[i], items[i]);
		else
			wrong = route_line(loader, field, items[i], &set);
		if (wrong || route_to(loader, route) || route_via(loader, route))
			r = -EINVAL;
		else
			++*count;
	}
	*(struct route **)value = v;
	return r;
}

int parse_env(struct loader *loader, const struct field *field, const struct tnode *node,
	      void *value)
{
	const struct pairs *pairs = value;
	int r = parse_pairs(loader, field, node, value);

	for (int i = 0; i < pairs->n; i++) {
		const char *key = pairs->v[i].key;

		if (!*key || strspn(key, NAME_CHARS "_") != strlen(key) ||
		    (*key >= '0' && *key <= '9'))
			r = load_error(loader, pairs->v[i].pos,
				       "\"%s\" is no environment variable's name",
				       load_shown(loader, key));
		else if (str_starts(key, "TAPNET_"))
			r = load_error(loader, pairs->v[i].pos,
				       "TAPNET_… variables are set by tapnet-lab itself");
	}
	return r;
}

/* Whether this host has it is not the file's business. */
int parse_user(struct loader *loader, const struct field *field, const struct tnode *node,
	       void *value)
{
	const struct text *text = value;
	const char *s, *colon;
	size_t len;
	int r = parse_text(loader, field, node, value);

	if (r < 0)
		return r;
	s = text->s;
	colon = strchr(s, ':');
	len = strspn(s, NAME_CHARS "._-:");
	if (s[len] || *s == '-' || *s == ':' || (colon && (!colon[1] || strchr(colon + 1, ':'))))
		return load_error(loader, node->pos,
				  "\"%s\" is no user: write NAME, NAME:GROUP, or "
				  "numbers",
				  load_shown(loader, s));
	return 0;
}

/* Below /proc/sys/net only: all else belongs to the host. */
static bool sysctl_fine(const char *key)
{
	return (str_starts(key, "net.") || str_starts(key, "net/")) && key[4] &&
	       strspn(key, NAME_CHARS "._/-") == strlen(key) && !strstr(key, "..") &&
	       !strstr(key, "//") && !strstr(key, "./") && !strstr(key, "/.");
}

int parse_sysctls(struct loader *loader, const struct field *field, const struct tnode *node,
		  void *value)
{
	const struct pairs *pairs = value;
	int r = parse_pairs(loader, field, node, value);

	for (int i = 0; i < pairs->n; i++) {
		if (sysctl_fine(pairs->v[i].key))
			continue;
		r = load_error(loader, pairs->v[i].pos,
			       "\"%s\" is no sysctl of a network namespace",
			       load_shown(loader, pairs->v[i].key));
		diag_hint(loader->diags, "they begin with net. (net.ipv4.conf.all.rp_filter)");
	}
	return r;
}

/* PORT, ADDRESS:PORT or NODE:PORT. */
static int ready_tcp(struct loader *loader, const struct text *tcp)
{
	const char *colon = strrchr(tcp->s, ':'), *port = colon ? colon + 1 : tcp->s;
	long n = strtol(port, NULL, 10);

	if (!*port || strspn(port, "0123456789") != strlen(port) || strlen(port) > 5 || n < 1 ||
	    n > 65535 || colon == tcp->s)
		return load_error(loader, tcp->pos,
				  "\"tcp\" is PORT, ADDRESS:PORT or NODE:PORT, not \"%s\"",
				  load_shown(loader, tcp->s));
	return 0;
}

/* How large a regular expression gets when its repetitions are written out; what takes the C library
 * long is larger than REGEX_MAX. */
static size_t regex_size(const char *s)
{
	size_t size = strlen(s) + 1;
	int depth = 0;

	for (const char *p = s; *p && size <= REGEX_MAX; p++) {
		unsigned long least, most;
		char *end;

		depth += (*p == '(') - (*p == ')');
		if (depth > REGEX_DEPTH)
			return REGEX_MAX + 1;
		if (*p != '{')
			continue;
		least = strtoul(p + 1, &end, 10);
		most = *end == ',' ? strtoul(end + 1, NULL, 10) : 0;
		most = most > least ? most : least;
		size *= 1 + (most < REGEX_MAX ? most : REGEX_MAX);
	}
	return size;
}

/* Whether the C library takes it; the last one is remembered, since groups repeat it. */
static int ready_console(struct loader *loader, const struct text *console)
{
	size_t size = regex_size(console->s);
	char why[128];
	regex_t regex;
	int r;

	if (str_eq(loader->last_regex, console->s))
		return 0;
	if (size > REGEX_MAX)
		return load_error(loader, console->pos,
				  "\"console\" is too large a regular expression");
	if (load_count(loader, &loader->values, (int)size / 2, LOAD_VALUES_MAX, console->pos,
		       "values"))
		return -EINVAL;
	r = regcomp(&regex, console->s, REG_EXTENDED | REG_NOSUB);
	if (r == REG_ESPACE)
		return load_error(loader, console->pos, "out of memory");
	if (r) {
		(void)regerror(r, &regex, why, sizeof why);
		(void)load_error(loader, console->pos, "\"console\" is no regular expression");
		diag_hint(loader->diags, "%s", why);
		return -EINVAL;
	}
	regfree(&regex);
	loader->last_regex = console->s;
	return 0;
}

int parse_ready(struct loader *loader, const struct field *field, const struct tnode *node,
		void *value)
{
	static const struct {
		const char *key;
		enum ready_kind kind;
	} kinds[] = { { "console", READY_CONSOLE },
		      { "tcp", READY_TCP },
		      { "exec", READY_EXEC },
		      { "after", READY_AFTER } };
	struct ready *ready = value;
	const struct fieldset set = { field->fields, ready };
	int r, given = 0;

	if (node->kind != TNODE_MAP)
		return load_error(loader, node->pos, "\"ready\" is a mapping of keys");
	r = fields_parse(loader, &set, 1, node, node);

	ready->pos = node->pos;
	for (size_t i = 0; i < COUNT(kinds); i++) {
		const struct tpair *pair = tnode_pair(node, kinds[i].key);

		if (!pair || tnode_null(pair->value))
			continue;
		ready->kind = kinds[i].kind;
		if (given++)
			r = load_error(
				loader, pair->key->pos,
				"\"ready\" waits for one thing: console, tcp, exec or after");
	}
	if (!given && !r)
		r = load_error(loader, node->pos,
			       "\"ready\" says not what to wait for: console, tcp, exec or after");
	if (!r && ready->kind == READY_TCP)
		r = ready_tcp(loader, &ready->tcp);
	if (!r && ready->kind == READY_CONSOLE)
		r = ready_console(loader, &ready->console);
	if (!r && ready->from.s && ready->kind != READY_TCP && ready->kind != READY_EXEC)
		r = load_error(loader, ready->from.pos, "\"from\" is for ready: tcp and exec");
	if (r)
		ready->kind = READY_NONE; /* more of it would only follow */
	return r;
}
