/* address.c - subnets from the file and from pools, and the numbering of their ends. */
#include <stdlib.h>
#include <string.h>

#include "kind/kind.h"
#include "plan/plan.h"

#define POOL4_PREFIX 24
#define POOL6_PREFIX 64

/* All numbering domains, in file order. */
struct segs {
	struct seg **v;
	int n, cap;
};

static void seg_add(struct planner *planner, struct segs *segs, int segment,
		    const struct subnets *subnets, struct pos pos)
{
	struct seg *seg = &planner->segs[segment];

	if (!seg->pos.line) {
		seg->pos = pos;
		*ARENA_PUSH(planner->arena, segs->v, segs->n, segs->cap) = seg;
	}
	if (subnets && subnets->mode == SUBNET_NONE)
		seg->none = true;
	for (int i = 0; subnets && i < subnets->n; i++) {
		struct ip *sub = subnets->v[i].family == 4 ? &seg->sub4 : &seg->sub6;

		if (!sub->family)
			*sub = subnets->v[i];
	}
}

static bool spec_wants(const struct addrs *spec)
{
	return spec->mode == ADDRS_UNSET || spec->mode == ADDRS_AUTO;
}

/* That of an interface, when it is not a bridge's or link's own: a VLAN's, which is plain layer 2
 * where its bridge is. */
static void seg_add_vlan(struct planner *planner, struct segs *segs, const struct iface *iface)
{
	static const struct subnets none = { .mode = SUBNET_NONE };
	struct seg *seg = &planner->segs[iface->segment];
	const struct port *port;
	const struct bridge *bridge = iface_port(iface->parent ? iface->parent : iface, &port);

	if (!seg->pos.line)
		seg->vlan = true;
	if (seg->vlan)
		seg_add(planner, segs, iface->segment,
			bridge && bridge->subnets.mode == SUBNET_NONE ? &none : NULL, iface->pos);
	seg->wanted4 = seg->wanted4 || spec_wants(&iface->ipv4);
	seg->wanted6 = seg->wanted6 || spec_wants(&iface->ipv6);
}

static int by_place(const void *a, const void *b)
{
	const struct seg *x = *(struct seg *const *)a, *y = *(struct seg *const *)b;

	if (x->pos.line != y->pos.line)
		return x->pos.line < y->pos.line ? -1 : 1;
	if (x->pos.col != y->pos.col)
		return x->pos.col < y->pos.col ? -1 : 1;
	return (x > y) - (x < y); /* instances of a `for`: as they were made */
}

static struct segs segs_of(struct planner *planner)
{
	const struct lab *lab = planner->lab;
	struct segs segs = { 0 };

	for (int i = 0; i < lab->n_bridges; i++)
		seg_add(planner, &segs, lab->bridges[i]->segment, &lab->bridges[i]->subnets,
			lab->bridges[i]->pos);
	for (int i = 0; i < lab->n_links; i++)
		if (!lab->links[i]->bridge)
			seg_add(planner, &segs, lab->links[i]->segment, &lab->links[i]->subnets,
				lab->links[i]->pos);
	for (int n = 0; n < lab->n_nodes; n++)
		for (int i = 0; i < lab->nodes[n]->n_ifaces; i++)
			if (lab->nodes[n]->ifaces[i]->segment)
				seg_add_vlan(planner, &segs, lab->nodes[n]->ifaces[i]);
	if (segs.n)
		qsort(segs.v, (size_t)segs.n, sizeof *segs.v, by_place);
	return segs;
}

/* ---- pools */

static int by_ip(const void *a, const void *b)
{
	const struct ip *x = a, *y = b;

	return memcmp(x->b, y->b, sizeof x->b);
}

/* Gives each domain without a subnet the next of the pool that overlaps none of the given ones.
 * Those of the pool's own size that were taken are found by bisection; of others there are few. */
static void pool_family(struct planner *planner, struct segs *segs, const struct ip *pool,
			unsigned prefix)
{
	struct ip *given = arena_calloc(planner->arena, (size_t)segs->n + 1, sizeof *given);
	int n_given = 0, n_odd = 0;
	struct ip *odd = arena_calloc(planner->arena, (size_t)segs->n + 1, sizeof *odd);
	uint64_t next = 0;
	char text[IP_TEXT];

	for (int i = 0; i < segs->n; i++) {
		const struct ip *sub = pool->family == 4 ? &segs->v[i]->sub4 : &segs->v[i]->sub6;

		if (sub->family && sub->prefix == prefix)
			given[n_given++] = ip_network(sub);
		else if (sub->family)
			odd[n_odd++] = *sub;
	}
	qsort(given, (size_t)n_given, sizeof *given, by_ip);
	for (int i = 0; i < segs->n; i++) {
		struct seg *seg = segs->v[i];
		struct ip *sub = pool->family == 4 ? &seg->sub4 : &seg->sub6, want;
		bool taken;

		if (sub->family || seg->none ||
		    (seg->vlan && !(pool->family == 4 ? seg->wanted4 : seg->wanted6)))
			continue;
		do {
			want = ip_subnet(pool, prefix, next++);
			taken = want.family &&
				bsearch(&want, given, (size_t)n_given, sizeof *given, by_ip);
			for (int k = 0; k < n_odd && want.family && !taken; k++)
				taken = ip_overlap(&want, &odd[k]);
		} while (taken);
		if (!want.family) {
			diag_add(planner->diags, seg->pos, "the pool %s has no /%u left for this",
				 ip_prefix_text(pool, text), prefix);
			return;
		}
		*sub = want;
	}
}

/* ---- numbering */

struct member {
	struct dev *dev;
	const struct seg *seg;
	int order;
};

static int by_seg(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	if (x->seg != y->seg)
		return x->seg < y->seg ? -1 : 1;
	return x->order - y->order;
}

static void dev_addr_add(struct planner *planner, struct dev *dev, const struct ip *ip)
{
	struct ip *v = arena_calloc(planner->arena, (size_t)dev->n_addrs + 1, sizeof *v);

	if (dev->n_addrs)
		memcpy(v, dev->addrs, (size_t)dev->n_addrs * sizeof *v);
	v[dev->n_addrs] = *ip;
	dev->addrs = v;
	dev->n_addrs++;
}

static const struct addrs *dev_spec(const struct dev *dev, uint8_t family)
{
	return family == 4 ? &dev->iface->ipv4 : &dev->iface->ipv6;
}

static void dev_given(struct planner *planner, struct dev *dev, uint8_t family)
{
	const struct addrs *spec = dev_spec(dev, family);
	const struct ip *sub = !dev->seg ? NULL : family == 4 ? &dev->seg->sub4 : &dev->seg->sub6;

	for (int i = 0; i < spec->n; i++)
		dev_addr_add(planner, dev, &spec->v[i]);
	if (spec->mode == ADDRS_AUTO && (!sub || !sub->family)) {
		diag_add(planner->diags, dev->iface->pos,
			 "%s: no IPv%u subnet to take an address from", dev->label, family);
		diag_hint(planner->diags, "give its bridge or link a subnet, or the lab a pool");
	}
}

/* Numbers the members of one domain in order, skipping what is given. */
static void number_seg(struct planner *planner, const struct seg *seg, struct member *members,
		       int n, uint8_t family)
{
	const struct ip *sub = family == 4 ? &seg->sub4 : &seg->sub6;
	struct ip *given = arena_calloc(planner->arena, (size_t)n * 2 + 1, sizeof *given);
	int n_given = 0, cap = n * 2 + 1;
	bool pair = ip_bits(sub) - sub->prefix == 1; /* /31, /127: both addresses serve */
	uint64_t next = pair ? 0 : 1;
	char text[IP_TEXT];

	if (!sub->family)
		return;
	for (int i = 0; i < n; i++)
		for (int k = 0; k < dev_spec(members[i].dev, family)->n; k++) {
			if (n_given == cap)
				(void)arena_push(planner->arena, &given, n_given, &cap,
						 sizeof *given);
			given[n_given] = dev_spec(members[i].dev, family)->v[k];
			given[n_given].prefix = sub->prefix;
			n_given++;
		}
	qsort(given, (size_t)n_given, sizeof *given, by_ip);
	for (int i = 0; i < n; i++) {
		struct ip ip;

		if (!spec_wants(dev_spec(members[i].dev, family)))
			continue;
		do {
			ip = next <= ip_hosts(sub) ? ip_nth(sub, next++) : (struct ip){ 0 };
		} while (ip.family && bsearch(&ip, given, (size_t)n_given, sizeof *given, by_ip));
		if (!ip.family) {
			diag_add(planner->diags, seg->pos, "%s has no address left for %s",
				 ip_prefix_text(sub, text), members[i].dev->label);
			return;
		}
		dev_addr_add(planner, members[i].dev, &ip);
	}
}

/* The order of a link's ends is theirs; on a bridge that of the file. */
static int end_order(const struct dev *dev, int order)
{
	return dev->iface->link && (!dev->br || !dev->br->bridge) ? dev->iface->end : order;
}

static void number_all(struct planner *planner)
{
	struct member *members;
	int n = 0, cap = 0;

	for (int k = 0; k < planner->lab->n_nodes; k++)
		cap += planner->nodes[k].n_devs;
	members = arena_calloc(planner->arena, (size_t)cap + 1, sizeof *members);
	for (int k = 0; k < planner->lab->n_nodes; k++)
		for (int i = 0; i < planner->nodes[k].n_devs; i++) {
			struct dev *dev = planner->nodes[k].devs[i];

			if (dev->seg) {
				members[n] = (struct member){ dev, dev->seg, end_order(dev, n) };
				n++;
			}
		}
	qsort(members, (size_t)n, sizeof *members, by_seg);
	for (int i = 0; i < n;) {
		int end = i;

		while (end < n && members[end].seg == members[i].seg)
			end++;
		number_seg(planner, members[i].seg, members + i, end - i, 4);
		number_seg(planner, members[i].seg, members + i, end - i, 6);
		i = end;
	}
}

void plan_address(struct planner *planner)
{
	struct segs segs = segs_of(planner);

	if (planner->lab->pool4.family)
		pool_family(planner, &segs, &planner->lab->pool4, POOL4_PREFIX);
	if (planner->lab->pool6.family)
		pool_family(planner, &segs, &planner->lab->pool6, POOL6_PREFIX);
	for (int n = 0; n < planner->lab->n_nodes; n++)
		for (int i = 0; i < planner->nodes[n].n_devs; i++) {
			dev_given(planner, planner->nodes[n].devs[i], 4);
			dev_given(planner, planner->nodes[n].devs[i], 6);
		}
	number_all(planner);
	for (int n = 0; n < planner->lab->n_nodes; n++)
		for (int i = 0; i < planner->nodes[n].n_devs; i++)
			for (int a = 0; a < planner->nodes[n].devs[i]->n_addrs; a++)
				planner->v6 = planner->v6 ||
					      planner->nodes[n].devs[i]->addrs[a].family == 6;
	for (int n = 0; n < planner->lab->n_nodes; n++)
		kind_gateways(planner, &planner->nodes[n]);
}
