/* load.h - what the steps of a load share, and what parse() functions of fields may call.
 *
 * Only the model and the tables of node kinds include it.
 */
#ifndef TAPNET_MODEL_LOAD_H
#define TAPNET_MODEL_LOAD_H

#include "model/lab.h"
#include "model/names.h"
#include "model/tree.h"

/* What a file may grow to: `for` and ${…} multiply. */
#define LOAD_THINGS_MAX	  25000		     /* nodes and links */
#define LOAD_IFACES_MAX	  25000		     /* interfaces of all nodes */
#define LOAD_VALUES_MAX	  400000	     /* values of all of them, merged and replaced */
#define LOAD_BYTES_MAX	  ((size_t)16 << 20) /* of text that ${…} made */
#define LOAD_COMPARES_MAX 100000	     /* of names, for "did you mean" */

#define SCOPE_MAX 8

/* What ${…} means just now, beside vars. */
struct scope {
	struct {
		const char *name, *value;
	} loop[SCOPE_MAX]; /* of `for`, outermost first */
	int n;
	const char *node; /* ${node.name}, or NULL */
};

/* A string that the plan fills in, to be checked when all interfaces are known. */
struct late {
	const char *s;
	const struct tnode *from;
	const struct node *node; /* whose string it is; NULL: the lab's */
};

struct loader {
	struct arena *arena;
	struct diags *diags;
	const struct lab_options *options;
	const struct node_kinds *kinds;
	struct names opened; /* presets that were looked for, by name, to their kinds */
	struct lab *lab;
	const struct tnode *root;

	const char *lab_name;	   /* ${lab.name}; NULL while it is not known yet */
	struct names vars, groups; /* to const char *, to struct tpair * */
	const struct tnode *defaults_node, *defaults_iface, *defaults_link;
	struct scope scope;
	struct node *node; /* being read, or NULL */
	int cap_nodes, cap_links;

	struct late *lates;
	int n_lates, cap_lates;
	const char *last_regex; /* that was found to be one */
	int things, ifaces, values, compares;
	const size_t
		*lines; /* where each line of the file begins; NULL until a place is looked for */
	int n_lines;
	bool ascii;
	size_t bytes;
	bool full; /* one of the limits is reached, and told */
};

/* Tells an error. Always -EINVAL. */
int load_error(struct loader *loader, struct pos pos, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The place of a part of a scalar, as it stands in the file; the scalar itself when it is not found. */
struct pos load_within(struct loader *loader, const struct tnode *node, const char *part,
		       size_t len);
/* Counts towards a limit; -EINVAL once it is reached. */
int load_count(struct loader *loader, int *count, int more, int max, struct pos pos,
	       const char *what);

/* ` (did you mean "NAME"?)` for the nearest of n names, or "". */
const char *load_nearest(struct loader *loader, const char *word, const char *const *names,
			 size_t n);
const char *load_nearest_of(struct loader *loader, const char *word, const struct names *a,
			    const struct names *b);

/* expand.c: ${…} */
void expand_vars(struct loader *loader, const struct tnode *vars);
/* Whether a name can be a variable's. */
bool expand_name_fine(const char *name);
/* The tree with every ${…} replaced; the same one where there is none. */
const struct tnode *expand_tree(struct loader *loader, const struct tnode *node);

/* loop.c: calls make() for each instance of `for: {…}`, with loader->scope set; once where there is
 * no `for`. */
typedef void loop_fn(struct loader *loader, const struct tnode *key, const struct tnode *value);
void loop_each(struct loader *loader, const struct tnode *key, const struct tnode *value,
	       loop_fn *make);

/* merge.c: `over` laid over `under` (either may be NULL): maps key by key, all else replaces.
 * fields tell short forms from long ones; NULL where nothing is known of the keys. */
const struct tnode *tree_merge(struct loader *loader, const struct tnode *under,
			       const struct tnode *over, const struct field *fields);
/* A short form (`eth0: sw1`) as the mapping that it stands for. */
const struct tnode *tree_long_form(struct loader *loader, const struct tnode *node,
				   const char *key);

/* field.c: a mapping's keys, from one table or two, to their structs. */
struct fieldset {
	const struct field *fields;
	void *base;
};

/* All of a mapping's keys, presets for what is not given. at: where a missing key is told. */
int fields_parse(struct loader *loader, const struct fieldset *sets, int n_sets,
		 const struct tnode *map, const struct tnode *at);
int field_parse(struct loader *loader, const struct field *field, const struct tnode *node,
		void *base);
const struct field *field_find(const struct field *fields, const char *name);
/* An unknown key of a mapping whose known ones are these. Always -EINVAL. */
int field_unknown(struct loader *loader, const struct fieldset *sets, int n_sets,
		  const struct tnode *key);
/* A list's items; anything else is a list of one, nothing is a list of none. */
int field_items(const struct tnode *const *node, const struct tnode *const **ret_items);
/* Where a parse() of lists stores how many there are. */
static inline int *field_count(const struct field *field, void *value)
{
	return (int *)(void *)((char *)value - field->offset + field->count_offset);
}

/* value.c: one value of a type, each a parse() of fields. */
#define PARSE_FN(name)                                                                             \
	int name(struct loader *loader, const struct field *field, const struct tnode *node,       \
		 void *value)
PARSE_FN(parse_string);
PARSE_FN(parse_text);
PARSE_FN(parse_texts);
PARSE_FN(parse_bool);
PARSE_FN(parse_uint);
PARSE_FN(parse_size);
PARSE_FN(parse_duration);
PARSE_FN(parse_choice);
PARSE_FN(parse_mac);
PARSE_FN(parse_command);
PARSE_FN(parse_commands);
PARSE_FN(parse_pairs);
/* A scalar that holds nothing it may not, or NULL and an error. */
const char *field_scalar(struct loader *loader, const struct field *field,
			 const struct tnode *node);
int field_command(struct loader *loader, const struct field *field, const struct tnode *node,
		  struct command *ret_command);
/* A value as it goes into an error: not longer than a line. */
const char *load_shown(struct loader *loader, const char *s);

/* parse.c: the vocabulary's own values. */
PARSE_FN(parse_addrs);
PARSE_FN(parse_subnets);
PARSE_FN(parse_pool);
PARSE_FN(parse_routes);
PARSE_FN(parse_env);
PARSE_FN(parse_user);
PARSE_FN(parse_sysctls);
PARSE_FN(parse_ready);
PARSE_FN(parse_device);
PARSE_FN(parse_iface_mac);
PARSE_FN(parse_trunk);
PARSE_FN(parse_positional); /* keeps the tree: the ends are known later */
/* tap.c: those of tap: */
PARSE_FN(parse_argv);
PARSE_FN(parse_fds);
PARSE_FN(parse_offload);
PARSE_FN(parse_steering);
PARSE_FN(parse_handoff);
PARSE_FN(parse_hdr_len);
/* field.c: nothing; lab.c reads it in its own order. */
PARSE_FN(parse_later);
/* nodes.c */
PARSE_FN(parse_interfaces);

/* One address; -EINVAL and an error when it is none of the family (0: any). Where no prefix is
 * written it is PREFIX_UNSET. */
#define PREFIX_UNSET 255
int parse_ip(struct loader *loader, const struct tnode *node, int family, struct ip *ret_ip);

/* A name: [A-Za-z0-9][A-Za-z0-9_-]*, and the characters of `more`; or an error. */
#define NAME_MAX_LEN 63
bool name_fine(struct loader *loader, const struct tnode *name, const char *more, size_t max);

/* vocab.c, vocab_node.c, vocab_tap.c, later.c: the vocabulary. */
extern const struct field vocab_lab[], vocab_defaults[], vocab_node[], vocab_iface[],
	vocab_bridge[], vocab_link[], vocab_tap[];
extern const struct field vocab_hooks[], later_impair[], later_limits[], later_file[];

/* hint.c: the way to say a word of another tool here, or NULL. where: the table it was met in. */
const char *hint_foreign(const struct field *where, const char *word);
const char *hint_kind(const char *word);

/* nodes.c: bridges, nodes and links from the tree. */
void nodes_load(struct loader *loader);
/* A new interface of a node; spec is its mapping or NULL, under it come the defaults. */
struct iface *nodes_add_iface(struct loader *loader, struct node *node, const struct tnode *name,
			      const struct tnode *spec);
/* wire.c: what is plugged in where. */
void wire_plug(struct loader *loader);
/* The subnets of what an interface is plugged into, or NULL. */
const struct subnets *wire_subnets(const struct iface *iface);
/* vlan.c: VLANs of ports, sub-interfaces, and who sees whom. */
void vlan_check(struct loader *loader);
/* addr.c: addresses of both ends, and what may not be twice on a segment. */
void addr_check(struct loader *loader);
/* tap.c: what a tap: may say together; spec is the interface's mapping. */
void tap_check(struct loader *loader, struct iface *iface, const struct tnode *spec);
/* The same, of what only the wires tell, and of fds that are given twice in the lab. */
void tap_check_wires(struct loader *loader);
/* refs.c: names of other nodes in routes, ready, netns and ${node:eth0.ipv4}; what guests need. */
void refs_check(struct loader *loader);
/* The node of a name, or NULL and an error. */
struct node *refs_node(struct loader *loader, const struct text *name);
/* wait.c: who waits for whom, and that nobody waits for himself. */
void wait_check(struct loader *loader);

#endif
