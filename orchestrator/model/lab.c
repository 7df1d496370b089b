/* lab.c - from a file to a lab; see lab.h.
 *
 * Theory of operation: lab_load() goes through the steps below in one order, and each goes on past
 * its errors, so that all of a file's errors are told in one run. What would only follow from an
 * error that is told already keeps quiet: TNODE_BAD in the tree, `broken` in the structs.
 *
 *   bytes ─▶ tree (yaml.c) ─▶ vars and the lab's name (expand.c, here) ─▶ bridges, nodes, links
 *   (nodes.c: merge.c, loop.c, expand.c, field.c) ─▶ wires (wire.c) ─▶ VLANs (vlan.c)
 *   ─▶ addresses (addr.c) ─▶ names of other nodes (refs.c) ─▶ circles (wait.c)
 */
#include "model/lab.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "model/load.h"

#define LAB_NAME_MAX 32

struct node *lab_node(const struct lab *lab, const char *name)
{
	return names_get(lab->node_index, name);
}

struct bridge *lab_bridge(const struct lab *lab, const char *name)
{
	return names_get(lab->bridge_index, name);
}

struct iface *node_iface(const struct node *node, const char *name)
{
	return names_get(node->index, name);
}

/* A name as near to a bad one as it may be. */
static const char *lab_corrected(struct loader *loader, const char *name)
{
	char *fine = arena_alloc(loader->arena, LAB_NAME_MAX + 1);
	size_t n = 0;

	for (const char *s = name; *s && n < LAB_NAME_MAX; s++) {
		char c = (char)tolower((unsigned char)*s);

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
			fine[n++] = c;
		else if (n && fine[n - 1] != '-')
			fine[n++] = '-';
	}
	while (n && fine[n - 1] == '-')
		n--;
	fine[n] = '\0';
	return n ? fine : "lab";
}

static void lab_check_name(struct loader *loader, const char *name, struct pos pos,
			   const char *from)
{
	const char *fine = lab_corrected(loader, name);
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	if (!name[n] && n && n <= LAB_NAME_MAX && *name != '-')
		return;
	(void)load_error(loader, pos, "%s\"%s\" cannot name a lab (%s can)", from,
			 load_shown(loader, name), fine);
	diag_hint(loader->diags, "at most %d of a-z, 0-9 and -; not a - first", LAB_NAME_MAX);
}

/* --name, else the file's name:, else the file's own name. */
static void lab_find_name(struct loader *loader, const char *path)
{
	const struct tnode *given = tnode_get(loader->root, "name");
	struct text *name = &loader->lab->name;
	const char *slash = strrchr(path, '/');
	const char *from = "";
	char *stem;

	given = expand_tree(loader, given);
	if (given && !tnode_null(given) && given->kind != TNODE_BAD) {
		if (parse_text(loader, field_find(vocab_lab, "name"), given, name) == 0)
			lab_check_name(loader, name->s, name->pos, "");
	} else {
		stem = arena_strdup(loader->arena, slash ? slash + 1 : path);
		if (strrchr(stem, '.') && strrchr(stem, '.') != stem)
			*strrchr(stem, '.') = '\0';
		name->s = stem;
		from = "the file's name ";
	}
	if (loader->options->name) {
		*name = (struct text){ .s = loader->options->name };
		from = "--name ";
	}
	if (*from)
		lab_check_name(loader, name->s, (struct pos){ 0 }, from);
	loader->lab_name = name->s;
}

/* vars may hold ${lab.name}, and name: may hold vars: whichever does not is first. */
static void lab_load_names(struct loader *loader, const char *path)
{
	const struct tnode *name = tnode_get(loader->root, "name"),
			   *vars = tnode_get(loader->root, "vars");

	if (!name || !name->dollar) {
		lab_find_name(loader, path);
		expand_vars(loader, vars);
	} else {
		expand_vars(loader, vars);
		lab_find_name(loader, path);
	}
}

/* The keys at the top that hold no other things. */
static void lab_load_keys(struct loader *loader)
{
	const struct fieldset set = { vocab_lab, loader->lab };
	struct tnode *top = arena_memdup(loader->arena, loader->root, sizeof *top);

	top->pairs = arena_memdup(loader->arena, top->pairs, (size_t)top->n * sizeof *top->pairs);
	for (int i = 0; i < top->n; i++) {
		const struct field *field = field_find(vocab_lab, top->pairs[i].key->s);

		if (field && !(field->flags & FIELD_NOT_YET) && !field->parse &&
		    field->type != FIELD_CUSTOM)
			top->pairs[i].value = expand_tree(loader, top->pairs[i].value);
	}
	(void)fields_parse(loader, &set, 1, top, top);
}

/* Steps that go on from the tree. */
static void lab_build(struct loader *loader, const char *path)
{
	lab_load_names(loader, path);
	lab_load_keys(loader);
	nodes_load(loader);
	if (!loader->full)
		wire_plug(loader);
	if (!loader->full)
		vlan_check(loader);
	if (loader->full)
		return; /* not all is there: more errors would only follow from that */
	tap_check_wires(loader);
	addr_check(loader);
	refs_check(loader);
	wait_check(loader);
	if (!loader->lab->n_nodes && !loader->lab->n_bridges && !loader->diags->total)
		(void)load_error(loader, loader->root->pos, "the lab has no nodes");
}

static int lab_read(struct arena *arena, const char *path, struct diags *diags, struct err *err)
{
	autostr struct strbuf buf = STRBUF_INIT;
	int r = io_read_file(AT_FDCWD, path, YAML_SIZE_MAX, &buf);

	if (r == -EFBIG) {
		diag_add(diags, (struct pos){ 0 }, "the file is larger than %zu MiB",
			 YAML_SIZE_MAX >> 20);
		return -EINVAL;
	}
	if (r) {
		err_sys(err, r, "cannot read %s", path);
		err->status = EXIT_INVALID;
		return r;
	}
	diags->text = arena_memdup(arena, buf.text, buf.len + 1);
	diags->text_len = buf.len;
	if (buf.len >= 3 && memcmp(diags->text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
		diags->text += 3;
		diags->text_len -= 3;
	}
	return 0;
}

static const char *lab_folder(struct arena *arena, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? arena_strndup(arena, path, (size_t)(slash - path) + 1)
			  : arena_strdup(arena, ".");
	char real[PATH_MAX];

	return realpath(dir, real) ? arena_strdup(arena, real) : dir;
}

int lab_load(struct arena *arena, const char *path, const struct lab_options *options,
	     const struct node_kinds *kinds, struct diags *diags, struct lab **ret_lab,
	     struct err *err)
{
	static const struct yaml_file file = { .name = "a lab file",
					       .keys = "nodes:, links: …",
					       .empty = "a lab has nodes: at least" };
	struct lab *lab = arena_alloc(arena, sizeof *lab);
	struct loader loader = {
		.arena = arena, .diags = diags, .options = options, .kinds = kinds, .lab = lab
	};
	int r;

	*diags = (struct diags){ .arena = arena, .file = arena_strdup(arena, path), .text = "" };
	r = lab_read(arena, path, diags, err);
	if (r)
		return r;
	lab->arena = arena;
	lab->file = diags->file;
	lab->dir = lab_folder(arena, path);
	lab->node_index = arena_alloc(arena, sizeof *lab->node_index);
	lab->bridge_index = arena_alloc(arena, sizeof *lab->bridge_index);
	loader.root = yaml_load(diags, &file);
	if (loader.root)
		lab_build(&loader, path);
	if (arena->torn)
		diag_add(diags, (struct pos){ 0 }, "out of memory");
	if (diags->total)
		return -EINVAL;
	*ret_lab = lab;
	return 0;
}
