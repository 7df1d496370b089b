/* tap.c - the values of tap:, and which of its keys go together; see load.h.
 *
 * Where a key comes from defaults it gives way to one that the interface says itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "model/load.h"

#define FD_MAX (1 << 20) /* the kernel's usual fs.nr_open */

/* ---- values */

/* A helper gets its words as they are: no shell. */
int parse_argv(struct loader *loader, const struct field *field, const struct tnode *node,
	       void *value)
{
	struct command *command = value;
	int r = field_command(loader, field, node, command);

	if (r || !command->shell)
		return r;
	if (strpbrk(command->argv[2].s, " \t\n|&;<>()$`\\\"'*?[#~")) {
		(void)load_error(loader, node->pos, "a helper is run without a shell");
		diag_hint(loader->diags, "write a list of words: [program, argument]");
		return -EINVAL;
	}
	*command = (struct command){ .argv = &command->argv[2], .argc = 1, .pos = node->pos };
	return 0;
}

static int tap_one_fd(struct loader *loader, const struct field *field, const struct tnode *node,
		      int *ret_fd)
{
	const char *s = field_scalar(loader, field, node);
	unsigned long n;

	if (!s)
		return -EINVAL;
	if (strchr(s, ':')) {
		(void)load_error(loader, node->pos, "\"%s\" is a list of numbers, not \"%s\"",
				 field->name, load_shown(loader, s));
		diag_hint(loader->diags, "write %s: [3, 4]", field->name);
		return -EINVAL;
	}
	n = strtoul(s, NULL, 10);
	if (!*s || strspn(s, "0123456789") != strlen(s) || strlen(s) > 9 || n >= FD_MAX)
		return load_error(loader, node->pos,
				  "\"%s\" is the number of an open file, not \"%s\"", field->name,
				  load_shown(loader, s));
	if (n < 3)
		return load_error(loader, node->pos,
				  "fd %lu is standard %s; a device's is 3 or above", n,
				  n == 0   ? "input"
				  : n == 1 ? "output"
					   : "error");
	*ret_fd = (int)n;
	return 0;
}

int parse_fds(struct loader *loader, const struct field *field, const struct tnode *node,
	      void *value)
{
	struct fd_list *list = value;
	const struct tnode *const *items;
	int n = field_items(&node, &items), r = 0;

	if (!n)
		return load_error(loader, node->pos, "\"%s\" is empty", field->name);
	if (n > TAP_QUEUES_MAX)
		return load_error(loader, node->pos, "a device has %d queues at most, not %d",
				  TAP_QUEUES_MAX, n);
	if (str_eq(field->name, "fd") && n > 1)
		return load_error(loader, node->pos, "\"fd\" is one number; several are fds");
	list->v = arena_calloc(loader->arena, (size_t)n, sizeof *list->v);
	for (int i = 0; i < n; i++) {
		bool twice = false;
		int fd = -1;

		if (tap_one_fd(loader, field, items[i], &fd)) {
			r = -EINVAL;
			continue;
		}
		for (int k = 0; k < list->n; k++)
			twice |= list->v[k] == fd;
		if (twice)
			r = load_error(loader, items[i]->pos, "fd %d is there twice", fd);
		else
			list->v[list->n++] = fd;
	}
	return r;
}

const char *const tap_offloads[] = { "csum", "tso4", "tso6", "ecn", "ufo", "uso4", "uso6", NULL };
enum { CSUM = 1, TSO4 = 2, TSO6 = 4, ECN = 8, UFO = 16, USO4 = 32, USO6 = 64 };

static unsigned tap_offload(const char *s)
{
	for (unsigned i = 0; tap_offloads[i]; i++)
		if (str_eq(s, tap_offloads[i]))
			return 1u << i;
	return 0;
}

/* What the kernel refuses. */
static int tap_offloads_fit(struct loader *loader, struct pos pos, unsigned set)
{
	if (set && !(set & CSUM))
		return load_error(loader, pos, "every offload needs csum as well");
	if (set & ECN && !(set & (TSO4 | TSO6)))
		return load_error(loader, pos, "ecn needs tso4 or tso6");
	if (!!(set & USO4) != !!(set & USO6))
		return load_error(loader, pos, "uso4 and uso6 go together only");
	return 0;
}

int parse_offload(struct loader *loader, const struct field *field, const struct tnode *node,
		  void *value)
{
	const struct tnode *const *items;
	int n = field_items(&node, &items), r = 0;
	unsigned set = 0;

	for (int i = 0; i < n; i++) {
		const char *s = field_scalar(loader, field, items[i]);
		unsigned bit = s ? tap_offload(s) : 0;

		if (s && !bit)
			(void)load_error(loader, items[i]->pos, "no offload \"%s\"%s",
					 load_shown(loader, s),
					 load_nearest(loader, s, tap_offloads, 7));
		r = bit ? r : -EINVAL;
		set |= bit;
	}
	*(unsigned *)value = set;
	return r ? r : tap_offloads_fit(loader, node->pos, set);
}

int parse_steering(struct loader *loader, const struct field *field, const struct tnode *node,
		   void *value)
{
	const char *s = field_scalar(loader, field, node);
	struct steering *steering = value;
	const char *digits;

	if (!s)
		return -EINVAL;
	if (str_eq(s, "automq") || str_eq(s, "hash")) {
		steering->how = *s == 'a' ? STEER_AUTOMQ : STEER_HASH;
		return 0;
	}
	if (str_starts(s, "queue ")) {
		digits = s + strlen("queue ");
		if (*digits && strspn(digits, "0123456789") == strlen(digits) &&
		    strlen(digits) < 4) {
			steering->how = STEER_QUEUE;
			steering->queue = (unsigned)strtoul(digits, NULL, 10);
			return 0;
		}
	}
	if (strchr(s, '/') || (strlen(s) > 2 && str_eq(s + strlen(s) - 2, ".o"))) {
		steering->how = STEER_OBJECT;
		steering->object = (struct text){ .s = s, .pos = node->pos };
		return 0;
	}
	return load_error(
		loader, node->pos,
		"\"steering\" is automq, hash, queue N, or an object file (steer.o), not \"%s\"",
		load_shown(loader, s));
}

int parse_handoff(struct loader *loader, const struct field *field, const struct tnode *node,
		  void *value)
{
	int r = parse_choice(loader, field, node, value);

	if (r == 0)
		++*(int *)value;
	return r;
}

int parse_hdr_len(struct loader *loader, const struct field *field, const struct tnode *node,
		  void *value)
{
	unsigned n = 0;
	int r = parse_uint(loader, field, node, &n);

	if (r)
		return r;
	if (n != 10 && n != 12 && n != 20)
		return load_error(loader, node->pos, "\"vnet-hdr-len\" is 10, 12 or 20, not %u", n);
	*(unsigned *)value = n;
	return 0;
}

/* ---- what goes together */

/* A key that the interface says itself; NULL when it does not, or only defaults do. */
static const struct tpair *tap_said(const struct tnode *map, const char *key)
{
	const struct tpair *pair = tnode_pair(map, key);

	return pair && !pair->key->inherited && !tnode_null(pair->value) ? pair : NULL;
}

/* Each of the keys is an error beside what `with` says. */
static void tap_refuse(struct loader *loader, const struct tnode *map, const char *const *keys,
		       const char *with, const char *why)
{
	for (; *keys; keys++) {
		const struct tpair *pair = tap_said(map, *keys);

		if (pair)
			(void)load_error(loader, pair->key->pos, "\"%s\" does not go with %s: %s",
					 *keys, with, why);
	}
}

static const char *const adopted_not[] = { "name",  "vnet-hdr", "queues",     "owner",
					   "group", "persist",	"txqueuelen", NULL };

static void tap_check_fds(struct loader *loader, const struct iface *iface, const struct tnode *map,
			  const struct tpair *hooks)
{
	static const char *const helper[] = { "helper", NULL };
	const struct tap_spec *tap = &iface->tap;
	const struct tpair *vhostfds = tap_said(map, "vhostfds"), *one = tap_said(map, "fd"),
			   *many = tap_said(map, "fds");

	tap_refuse(loader, map, adopted_not, "fds", "the device is there, and is as it is");
	tap_refuse(loader, map, helper, "fds", "a device comes from one of them");
	if (!one && !many)
		(void)load_error(loader, tap->pos, "\"source: fds\" needs fds: [N, …]");
	if (one && many)
		(void)load_error(loader, one->key->pos, "\"fd\" is short for fds");
	if (hooks && !tap->adopt_hooks) {
		(void)load_error(loader, hooks->key->pos,
				 "\"hooks\" does not go with fds: the device is set up already");
		diag_hint(loader->diags, "tap: {adopt-hooks: true} runs them nevertheless");
	}
	if (vhostfds && tap->vhostfds.n && tap->fds.n && tap->vhostfds.n != tap->fds.n)
		(void)load_error(loader, vhostfds->key->pos,
				 "%d vhostfds for %d fds: it is one a queue", tap->vhostfds.n,
				 tap->fds.n);
}

static void tap_check_helper(struct loader *loader, const struct iface *iface,
			     const struct tnode *map)
{
	static const char *const vhostfds[] = { "vhostfds", NULL };

	tap_refuse(loader, map, adopted_not, "a helper", "the helper makes the device");
	tap_refuse(loader, map, vhostfds, "a helper", "vhost-net is opened by us then");
	if (!tap_said(map, "helper"))
		(void)load_error(loader, iface->tap.pos,
				 "\"source: helper\" needs helper: [PROGRAM]");
}

static void tap_check_create(struct loader *loader, const struct tnode *map)
{
	static const char *const adopting[] = { "fd", "fds", "helper", NULL };
	static const char *const vhostfds[] = { "vhostfds", NULL };

	tap_refuse(loader, map, adopting, "source: create", "the device comes from one of them");
	tap_refuse(loader, map, vhostfds, "source: create",
		   "vhost-net is opened by us then (vhost: require)");
}

static void tap_check_handoff(struct loader *loader, const struct tap_spec *tap,
			      const struct tnode *map)
{
	static const char *const not_by_fd[] = { "enabled-queues", "sndbuf", NULL };
	const char *how =
		tap->handoff == 1 + HANDOFF_NAME ? "handoff: name" : "handoff: unattached";
	const struct tpair *pair = tap_said(map, "handoff"), *carrier = tap_said(map, "carrier");

	if (tap->handoff <= 1 + HANDOFF_FD)
		return;
	tap_refuse(loader, map, not_by_fd, how, "the guest attaches itself");
	if (pair && tap->source != TAP_CREATE)
		(void)load_error(loader, pair->key->pos, "\"%s\" needs a device that we make", how);
	if (tap->queues > 1 && tap_said(map, "queues"))
		(void)load_error(loader, tap->queues_pos, "\"%s\" has one queue only", how);
	if (tap->vhost == VHOST_REQUIRE)
		(void)load_error(loader, tap->vhost_pos, "vhost needs handoff: fd");
	if (!tap->carrier && carrier)
		(void)load_error(
			loader, carrier->key->pos,
			"\"carrier: false\" needs handoff: fd: attaching plugs the wire in");
}

static void tap_check_queues(struct loader *loader, const struct tap_spec *tap,
			     const struct tnode *map, int queues)
{
	const struct tpair *enabled = tap_said(map, "enabled-queues");
	const struct tpair *steering = tap_said(map, "steering");
	int attached = tap->enabled ? (int)tap->enabled : queues;

	if (enabled && (int)tap->enabled > queues)
		(void)load_error(loader, enabled->key->pos,
				 "\"enabled-queues\" is %u, and there %s %d", tap->enabled,
				 queues == 1 ? "is" : "are", queues);
	else if (steering && tap->steering.how == STEER_QUEUE &&
		 (int)tap->steering.queue >= attached)
		(void)load_error(loader, steering->value->pos,
				 "no queue %u: the attached ones are 0 to %d", tap->steering.queue,
				 attached - 1);
}

static void tap_check_settings(struct loader *loader, const struct iface *iface,
			       const struct tnode *map)
{
	static const char *const header[] = { "vnet-hdr-len", "endian", "offload", NULL };
	static const char *const of_vhost[] = { "vhostfds", "poll-us", NULL };
	const struct tap_spec *tap = &iface->tap;
	int queues = tap->source == TAP_CREATE ? (int)tap->queues
		     : tap->source == TAP_FDS  ? tap->fds.n
					       : 1;

	if (tap->vnet_hdr == TRI_OFF)
		tap_refuse(loader, map, header, "vnet-hdr: off", "there is no header");
	if (tap->vhost == VHOST_OFF)
		tap_refuse(loader, map, of_vhost, "vhost: off", "vhost is not used");
	if (queues)
		tap_check_queues(loader, tap, map, queues);
}

/* What is said of a device that a node, not a guest, has: the guest's end says it. */
static bool tap_of_guest(struct loader *loader, const struct iface *iface, const struct tnode *map)
{
	if (!iface->node->kind || iface->node->kind->guest)
		return true;
	for (int i = 0; i < map->n; i++)
		if (!map->pairs[i].key->inherited) {
			(void)load_error(loader, map->pairs[i].key->pos,
					 "\"tap\" is a guest's, and %s is none", iface->node->name);
			diag_hint(loader->diags, "it stands at the guest's end of the wire");
			break;
		}
	return false;
}

void tap_check(struct loader *loader, struct iface *iface, const struct tnode *spec)
{
	const struct tpair *pair = spec ? tnode_pair(spec, "tap") : NULL;
	const struct tnode *map = pair ? pair->value : NULL;
	const struct tpair *from;
	struct tap_spec *tap = &iface->tap;

	if (!map || map->kind != TNODE_MAP || !tap_of_guest(loader, iface, map))
		return;
	from = tap_said(map, "fds")	 ? tap_said(map, "fds")
	       : tap_said(map, "fd")	 ? tap_said(map, "fd")
	       : tap_said(map, "helper") ? tap_said(map, "helper")
					 : tap_said(map, "source");
	tap->pos = from ? from->key->pos : pair->key->pos;
	if (!tap_said(map, "source") && from)
		tap->source = str_eq(from->key->s, "helper") ? TAP_HELPER : TAP_FDS;
	if (tap->source == TAP_FDS)
		tap_check_fds(loader, iface, map, tap_said(spec, "hooks"));
	else if (tap->source == TAP_HELPER)
		tap_check_helper(loader, iface, map);
	else
		tap_check_create(loader, map);
	tap_check_handoff(loader, tap, map);
	tap_check_settings(loader, iface, map);
	if (tap->source != TAP_CREATE)
		tap->queues = tap->source == TAP_FDS && tap->fds.n ? (unsigned)tap->fds.n : 1;
}

/* ---- what the wires tell */

static void tap_check_wire(struct loader *loader, const struct iface *iface)
{
	const struct tap_spec *tap = &iface->tap;
	bool on_bridge =
		iface->bridge || (iface->link && (iface->link->bridge || iface->link->n_ends > 2));

	if (tap->source != TAP_CREATE && (iface->bridge || iface->link)) {
		(void)load_error(loader, tap->pos,
				 "%s:%s is plugged in here, and its device comes from elsewhere",
				 iface->node->name, iface->name);
		diag_hint(loader->diags,
			  "who makes the device plugs it in (helper: {bridge: br0})");
	}
	if (tap->name.s && iface->link && !on_bridge) {
		(void)load_error(loader, tap->name_pos,
				 "the device's name is that of the wire's other end");
		diag_hint(loader->diags, "\"name\" is for a device on a bridge");
	}
	if (tap->persist && tap->source == TAP_CREATE &&
	    !(iface->bridge && iface->bridge->host.s) &&
	    !(iface->link && iface->link->bridge && iface->link->bridge->host.s)) {
		(void)load_error(loader, tap->persist_pos,
				 "\"persist\" is for a device on the host's bridge");
		diag_hint(loader->diags,
			  "one in the lab's own namespaces lives as long as these anyway");
	}
}

struct fd_use {
	int fd;
	const struct iface *iface;
};

static int fd_use_compare(const void *a, const void *b)
{
	const struct fd_use *x = a, *y = b;

	return x->fd != y->fd ? (x->fd > y->fd) - (x->fd < y->fd)
			      : (x->iface->pos.line > y->iface->pos.line) -
					(x->iface->pos.line < y->iface->pos.line);
}

static void fd_uses(struct loader *loader, struct fd_use **uses, int *n, int *cap,
		    const struct iface *iface)
{
	const struct fd_list *lists[] = { &iface->tap.fds, &iface->tap.vhostfds };

	for (size_t k = 0; k < COUNT(lists) && iface->tap.source == TAP_FDS; k++)
		for (int i = 0; i < lists[k]->n; i++)
			*ARENA_PUSH(loader->arena, *uses, *n, *cap) =
				(struct fd_use){ lists[k]->v[i], iface };
}

void tap_check_wires(struct loader *loader)
{
	const struct lab *lab = loader->lab;
	struct fd_use *uses = NULL;
	int n = 0, cap = 0;

	for (int i = 0; i < lab->n_nodes; i++) {
		const struct node *node = lab->nodes[i];

		loader->diags->instance = node->repeated ? node->name : NULL;
		for (int k = 0; k < node->n_ifaces && node->kind && node->kind->guest; k++) {
			tap_check_wire(loader, node->ifaces[k]);
			fd_uses(loader, &uses, &n, &cap, node->ifaces[k]);
		}
	}
	if (n)
		qsort(uses, (size_t)n, sizeof *uses, fd_use_compare);
	for (int i = 1; i < n; i++) {
		const struct iface *iface = uses[i].iface, *other = uses[i - 1].iface;

		if (uses[i].fd != uses[i - 1].fd)
			continue;
		loader->diags->instance = iface->node->repeated ? iface->node->name : NULL;
		if (iface == other)
			(void)load_error(loader, iface->tap.pos,
					 "fd %d cannot be a queue and vhost-net", uses[i].fd);
		else
			(void)load_error(loader, iface->tap.pos, "fd %d is that of %s:%s already",
					 uses[i].fd, other->node->name, other->name);
	}
	loader->diags->instance = NULL;
}
