/* addr.c - addresses of interfaces, and what may not be twice on one segment; see load.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "model/load.h"

/* One item of a link's `ipv4: [a, b]`: nothing, or an address for the interface at that end. */
static void addr_give(struct loader *loader, const struct end *end, const struct tnode *item,
		      int family)
{
	const struct field *field = field_find(vocab_iface, family == 4 ? "ipv4" : "ipv6");
	struct addrs *addrs;

	if (item->kind == TNODE_BAD || tnode_null(item))
		return;
	if (end->bridge) {
		(void)load_error(loader, item->pos, "%s is a bridge: it takes no address",
				 end->bridge->name);
		diag_hint(loader->diags, "~ skips an end");
		return;
	}
	addrs = family == 4 ? &end->iface->ipv4 : &end->iface->ipv6;
	if (addrs->mode != ADDRS_UNSET) {
		(void)load_error(loader, item->pos, "%s:%s is addressed twice (first in line %d)",
				 end->iface->node->name, end->iface->name, addrs->pos[0].line);
		return;
	}
	loader->node = end->iface->node;
	(void)parse_addrs(loader, field, item, addrs);
	loader->node = NULL;
}

static void addr_positional(struct loader *loader, const struct link *link,
			    const struct tnode *list, int family)
{
	if (!list || list->kind == TNODE_BAD || link->n_ends != link->n_endpoints)
		return; /* what is wrong with its ends is told already */
	if (list->kind != TNODE_LIST || list->n != link->n_ends) {
		(void)load_error(
			loader, list->pos,
			"\"ipv%d\" of a wire is a list of one address for each of its %d ends",
			family, link->n_ends);
		diag_hint(loader->diags, "~ skips an end");
		return;
	}
	for (int i = 0; i < list->n; i++)
		addr_give(loader, &link->ends[i], list->items[i], family);
}

/* The prefix length of an address without one: its subnet's. */
static int addr_find_prefix(struct loader *loader, const struct iface *iface, struct ip *ip,
			    struct pos pos)
{
	const struct subnets *subnets = wire_subnets(iface);
	char text[IP_TEXT];

	for (int i = 0; subnets && i < subnets->n; i++) {
		if (ip_in(ip, &subnets->v[i])) {
			ip->prefix = subnets->v[i].prefix;
			return 0;
		}
	}
	ip->prefix = (uint8_t)ip_bits(ip);
	if (!iface->bridge && !iface->link && !iface->parent)
		return 0; /* lo, or an error is told already */
	(void)load_error(loader, pos, "%s has no prefix length, and is in no subnet of its wire",
			 ip_text(ip, text));
	diag_hint(loader->diags, "write %s/%d", text, ip->family == 4 ? 24 : 64);
	return -EINVAL;
}

/* Addresses of an IPv4 network that are nobody's. */
static void addr_check_host(struct loader *loader, const struct ip *ip, struct pos pos)
{
	struct ip first = ip_network(ip), last;
	char text[IP_TEXT];

	if (ip->family != 4 || ip->prefix >= 31)
		return;
	last = ip_nth(&first, ip_hosts(&first) + 1);
	if (ip_same(ip, &first))
		(void)load_error(loader, pos, "%s is the network itself, not an address in it",
				 ip_prefix_text(ip, text));
	else if (ip_same(ip, &last))
		(void)load_error(loader, pos, "%s is the network's broadcast address",
				 ip_prefix_text(ip, text));
}

/* auto: of a trunk that has no VLAN without tag. */
static bool addr_without_vlan(struct loader *loader, const struct iface *iface,
			      const struct addrs *addrs, int family)
{
	if (iface->segment || iface->broken || !(iface->bridge || iface->link))
		return false;
	(void)load_error(loader, addrs->pos[0],
			 "\"ipv%d: auto\" of %s:%s: its trunk has no VLAN without tag", family,
			 iface->node->name, iface->name);
	diag_hint(loader->diags, "native: is that VLAN; sub-interfaces have those with tags");
	return true;
}

static void addr_finish(struct loader *loader, const struct iface *iface, struct addrs *addrs,
			int family)
{
	const struct lab *lab = loader->lab;
	const struct subnets *subnets = wire_subnets(iface);
	bool source = family == 4 ? lab->pool4.family : lab->pool6.family;

	for (int i = 0; i < addrs->n; i++) {
		if (addrs->v[i].prefix == PREFIX_UNSET &&
		    addr_find_prefix(loader, iface, &addrs->v[i], addrs->pos[i]))
			continue;
		addr_check_host(loader, &addrs->v[i], addrs->pos[i]);
	}
	if (addrs->mode != ADDRS_AUTO || addr_without_vlan(loader, iface, addrs, family) ||
	    (!iface->segment && !str_eq(iface->name, "lo")))
		return;
	if (subnets && subnets->mode != SUBNET_UNSET)
		source = false;
	for (int i = 0; subnets && i < subnets->n; i++)
		source |= subnets->v[i].family == family;
	if (!source)
		(void)load_error(loader, addrs->pos[0],
				 "\"ipv%d: auto\" of %s:%s: its wire has no IPv%d subnet, "
				 "and there is no pool",
				 family, iface->node->name, iface->name, family);
}

/* An address at its place: two of them on one segment are one too many. */
struct claim {
	int segment, order;
	const struct iface *iface;
	struct pos pos;
	uint8_t bytes[17]; /* family and address, or 0 and MAC */
};

static int claim_compare(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int diff;

	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	diff = memcmp(x->bytes, y->bytes, sizeof x->bytes);
	return diff ? diff : x->order - y->order;
}

struct claims {
	struct claim *v;
	int n, cap;
};

static void claim_add(struct loader *loader, struct claims *claims, const struct iface *iface,
		      struct pos pos, uint8_t family, const uint8_t *bytes, size_t len)
{
	int order = claims->n;
	struct claim *claim = ARENA_PUSH(loader->arena, claims->v, claims->n, claims->cap);

	*claim = (struct claim){
		.segment = iface->segment, .order = order, .iface = iface, .pos = pos
	};
	if (!claim->segment) /* lo and the like: alone on a segment of its own */
		claim->segment = -order - 1;
	claim->bytes[0] = family;
	memcpy(claim->bytes + 1, bytes, len);
}

static void claim_iface(struct loader *loader, struct claims *claims, const struct iface *iface)
{
	const struct addrs *both[] = { &iface->ipv4, &iface->ipv6 };

	for (size_t k = 0; k < COUNT(both); k++)
		for (int i = 0; i < both[k]->n; i++)
			claim_add(loader, claims, iface, both[k]->pos[i], both[k]->v[i].family,
				  both[k]->v[i].b, sizeof both[k]->v[i].b);
	if (iface->mac_given)
		claim_add(loader, claims, iface, iface->mac_pos, 0, iface->mac.b,
			  sizeof iface->mac.b);
}

static void claims_check(struct loader *loader, struct claims *claims)
{
	if (claims->n)
		qsort(claims->v, (size_t)claims->n, sizeof *claims->v, claim_compare);
	for (int i = 1; i < claims->n; i++) {
		const struct claim *first = &claims->v[i - 1], *second = &claims->v[i];
		const struct node *node = first->iface->node;
		struct ip ip = { .family = second->bytes[0] };
		char text[IP_TEXT];

		if (first->segment != second->segment ||
		    memcmp(first->bytes, second->bytes, sizeof first->bytes) != 0)
			continue;
		memcpy(ip.b, second->bytes + 1, sizeof ip.b);
		if (ip.family)
			ip_text(&ip, text);
		else
			mac_text(&second->iface->mac, text);
		loader->diags->instance =
			second->iface->node->repeated ? second->iface->node->name : NULL;
		(void)load_error(loader, second->pos, "%s is given twice: %s:%s has it (line %d)",
				 text, node->name, first->iface->name, first->pos.line);
	}
}

void addr_check(struct loader *loader)
{
	const struct lab *lab = loader->lab;
	struct claims claims = { 0 };

	for (int i = 0; i < lab->n_links && !diag_enough(loader->diags); i++) {
		loader->diags->instance = lab->links[i]->instance;
		addr_positional(loader, lab->links[i], lab->links[i]->ipv4, 4);
		addr_positional(loader, lab->links[i], lab->links[i]->ipv6, 6);
	}
	for (int i = 0; i < lab->n_nodes && !diag_enough(loader->diags); i++) {
		const struct node *node = lab->nodes[i];

		loader->diags->instance = node->repeated ? node->name : NULL;
		for (int k = 0; k < node->n_ifaces; k++) {
			addr_finish(loader, node->ifaces[k], &node->ifaces[k]->ipv4, 4);
			addr_finish(loader, node->ifaces[k], &node->ifaces[k]->ipv6, 6);
			claim_iface(loader, &claims, node->ifaces[k]);
		}
	}
	claims_check(loader, &claims);
	loader->diags->instance = NULL;
}
