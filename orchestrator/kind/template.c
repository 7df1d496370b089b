/* template.c - the language of presets; see preset.h.
 *
 * A list makes words: arguments of a command, lines of a file. Its items are strings with ${…}, and
 *
 *   {when: NAME, args: …} {unless: NAME, args: …}    what stands there if a thing is given, or not
 *   {each: interfaces, args: …}                      once for each, with ${index} and ${if.…}
 *   {each: extra}                                    the node's extra, as it is
 *   {join: …}                                        one word, with commas between
 *
 * Names are checked when the file is read, so that a plan cannot fail on a part that it came to by
 * chance.
 */
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "kind/preset.h"
#include "sys/kvm.h"

struct fill {
	struct planner *planner;
	const struct preset *preset;
	const struct planned_node *planned;
	const struct preset_spec *spec;
	const struct dev *dev; /* inside each: interfaces */
	int index;
};

/* ---- names */

#define KNOWN_COND  (1u << 0) /* for when: and unless: */
#define KNOWN_VALUE (1u << 1) /* for ${…} */
#define KNOWN_IF    (1u << 2) /* inside each: interfaces only */
#define KNOWN_BOTH  (KNOWN_COND | KNOWN_VALUE)

#define PREFIX_IF   "if."
#define PREFIX_FILE "file."

struct known {
	const char *name;
	unsigned flags;
	const char *key; /* of the node, that it mentions */
	/* Writes the value; false: there is none. */
	bool (*value)(const struct fill *fill, struct strbuf *out);
};

static bool fill_text(const struct fill *fill, const struct text *text, struct strbuf *out)
{
	if (text->s)
		strbuf_puts(out, late_fill(fill->planner, fill->planned->node, text));
	return text->s != NULL;
}

static bool known_cpus(const struct fill *fill, struct strbuf *out)
{
	strbuf_printf(out, "%u", fill->spec->cpus);
	return true;
}

static bool known_mib(const struct fill *fill, struct strbuf *out)
{
	strbuf_printf(out, "%llu", (unsigned long long)(fill->spec->memory >> 20));
	return true;
}

static bool known_bytes(const struct fill *fill, struct strbuf *out)
{
	strbuf_printf(out, "%llu", (unsigned long long)fill->spec->memory);
	return true;
}

static bool known_kernel(const struct fill *fill, struct strbuf *out)
{
	return fill_text(fill, &fill->spec->kernel, out);
}

static bool known_initrd(const struct fill *fill, struct strbuf *out)
{
	return fill_text(fill, &fill->spec->initrd, out);
}

static bool known_append(const struct fill *fill, struct strbuf *out)
{
	return fill_text(fill, &fill->spec->append, out);
}

/* Our copy of it is an fd that the guest is given. */
static bool known_disk(const struct fill *fill, struct strbuf *out)
{
	if (fill->planned->disk_guest_fd < 0)
		return fill_text(fill, &fill->spec->disk.file, out);
	strbuf_printf(out, "/proc/self/fd/%d", fill->planned->disk_guest_fd);
	return true;
}

static bool known_keep(const struct fill *fill, struct strbuf *out)
{
	(void)out;
	return fill->spec->disk.keep;
}

static bool known_format(const struct fill *fill, struct strbuf *out)
{
	return fill_text(fill, &fill->spec->disk.format, out);
}

static bool known_extra(const struct fill *fill, struct strbuf *out)
{
	(void)out;
	return fill->spec->n_extra > 0;
}

static bool known_kvm(const struct fill *fill, struct strbuf *out)
{
	(void)out;
	return answer_of(&fill->planner->assume.kvm, kvm_runs);
}

static bool known_many(const struct fill *fill, struct strbuf *out)
{
	(void)out;
	return fill->dev->queues > 1;
}

/* 0, as QEMU has it, is not worth a word. */
static bool known_poll(const struct fill *fill, struct strbuf *out)
{
	unsigned us = fill->dev->vhost ? fill->dev->iface->tap.poll_us : 0;

	strbuf_printf(out, "%u", us);
	return us > 0;
}

static bool known_index(const struct fill *fill, struct strbuf *out)
{
	strbuf_printf(out, "%d", fill->index);
	return true;
}

static bool known_node(const struct fill *fill, struct strbuf *out)
{
	strbuf_puts(out, fill->planned->node->name);
	return true;
}

static bool known_lab(const struct fill *fill, struct strbuf *out)
{
	strbuf_puts(out, fill->planner->plan->lab);
	return true;
}

static bool known_dir(const struct fill *fill, struct strbuf *out)
{
	(void)fill;
	strbuf_puts(out, STEP_DIR);
	return true;
}

static bool known_run(const struct fill *fill, struct strbuf *out)
{
	(void)fill;
	strbuf_puts(out, STEP_RUN);
	return true;
}

static const struct known known[] = {
	{ "cpus", KNOWN_VALUE, "cpus", known_cpus },
	{ "memory-mib", KNOWN_VALUE, "memory", known_mib },
	{ "memory-bytes", KNOWN_VALUE, "memory", known_bytes },
	{ "kernel", KNOWN_BOTH, "kernel", known_kernel },
	{ "initrd", KNOWN_BOTH, "initrd", known_initrd },
	{ "append", KNOWN_BOTH, "append", known_append },
	{ "disk", KNOWN_BOTH, "disk", known_disk },
	{ "disk.keep", KNOWN_COND, "disk", known_keep },
	{ "disk.format", KNOWN_BOTH, "disk", known_format },
	{ "extra", KNOWN_COND, "extra", known_extra },
	{ "kvm", KNOWN_COND, NULL, known_kvm },
	{ "index", KNOWN_VALUE | KNOWN_IF, NULL, known_index },
	{ "if.many", KNOWN_COND | KNOWN_IF, NULL, known_many },
	{ "if.poll-us", KNOWN_BOTH | KNOWN_IF, NULL, known_poll },
	{ "node.name", KNOWN_VALUE, NULL, known_node },
	{ "lab.name", KNOWN_VALUE, NULL, known_lab },
	{ "lab.dir", KNOWN_VALUE, NULL, known_dir },
	{ "lab.run", KNOWN_VALUE, NULL, known_run },
};

/* ---- filters */

static void filter_commas(const char *s, struct strbuf *out)
{
	for (; *s; s++)
		strbuf_add(out, *s == ',' ? ",," : s, *s == ',' ? 2 : 1);
}

/* What is symbolic stays so. */
static void filter_json(const char *s, struct strbuf *out)
{
	strbuf_puts(out, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_printf(out, "\\%c", *s);
		else if ((unsigned char)*s < 0x20 && *s != LATE_OPEN && *s != LATE_CLOSE)
			strbuf_printf(out, "\\u%04x", (unsigned)*s);
		else
			strbuf_add(out, s, 1);
	}
	strbuf_puts(out, "\"");
}

static const struct filter {
	const char *name;
	void (*write)(const char *s, struct strbuf *out);
} filters[] = { { "commas", filter_commas }, { "json", filter_json } };

/* ---- what a template is made of */

struct name { /* one of known[], or one with a prefix */
	const struct known *known;
	const char *of_if, *of_file;
	const char *text; /* as it is written */
};

struct piece { /* of a string: text, or a name */
	const char *text;
	struct name name;
	const struct filter *filter;
};

enum part_kind {
	PART_STRING,
	PART_WHEN,
	PART_UNLESS,
	PART_INTERFACES,
	PART_EXTRA,
	PART_JOIN,
};

struct part {
	enum part_kind kind;
	struct pos pos;
	struct piece *pieces;
	int n_pieces, cap_pieces;
	struct name name; /* of when: and unless: */
	struct template inner;
};

/* ---- reading */

struct reader {
	struct loader *loader;
	struct template *template; /* whose uses are noted */
	bool in_if;		   /* inside each: interfaces */
};

static const char *near_name(struct loader *loader, const char *name)
{
	const char *names[COUNT(known) + LATE_NAMES_MAX];
	size_t n = 0;

	for (; n < COUNT(known); n++)
		names[n] = known[n].name;
	for (const char *const *late = late_names(); *late; late++)
		names[n++] = arena_printf(loader->arena, PREFIX_IF "%s", *late);
	return load_nearest(loader, name, names, n);
}

static bool is_late(const char *name)
{
	for (const char *const *late = late_names(); *late; late++)
		if (str_eq(*late, name))
			return true;
	return false;
}

static unsigned uses_bit(const char *key)
{
	return 1u << (field_find(preset_spec_fields, key) - preset_spec_fields);
}

/* flag: what it is for. */
static int read_name(struct reader *reader, const char *name, unsigned flag, struct pos pos,
		     struct name *ret_name)
{
	struct loader *loader = reader->loader;
	bool of_if = str_starts(name, PREFIX_IF);

	*ret_name = (struct name){ .text = name };
	for (size_t i = 0; i < COUNT(known); i++)
		if (str_eq(known[i].name, name))
			ret_name->known = &known[i];
	if (of_if && !ret_name->known && is_late(name + strlen(PREFIX_IF)))
		ret_name->of_if = name + strlen(PREFIX_IF);
	else if (str_starts(name, PREFIX_FILE) && flag == KNOWN_VALUE)
		ret_name->of_file = name + strlen(PREFIX_FILE);
	else if (!ret_name->known)
		return load_error(loader, pos, "nothing is called \"%s\"%s",
				  load_shown(loader, name), near_name(loader, name));
	if (ret_name->known && !(ret_name->known->flags & flag))
		return load_error(loader, pos,
				  flag == KNOWN_COND
					  ? "\"%s\" is always there: write its args alone"
					  : "\"%s\" is for when: and unless:",
				  name);
	if (!reader->in_if && (of_if || (ret_name->known && ret_name->known->flags & KNOWN_IF)))
		return load_error(loader, pos, "\"%s\" is known inside each: interfaces only",
				  name);
	if (ret_name->known && ret_name->known->key)
		reader->template->uses |= uses_bit(ret_name->known->key);
	if (ret_name->known && ret_name->known->value == known_format)
		reader->template->uses |= USES_FORMAT;
	return 0;
}

/* NAME or NAME:FILTER, between ${ and }. */
static int read_value(struct reader *reader, const struct tnode *node, char *text,
		      struct piece *piece)
{
	struct loader *loader = reader->loader;
	struct pos pos = load_within(loader, node, text, strlen(text));
	char *colon = strchr(text, ':');
	const char *names[COUNT(filters)];

	if (colon)
		*colon++ = '\0';
	for (size_t i = 0; i < COUNT(filters); i++) {
		names[i] = filters[i].name;
		if (colon && str_eq(names[i], colon))
			piece->filter = &filters[i];
	}
	if (colon && !piece->filter)
		return load_error(loader, pos, "no filter \"%s\"%s; there are commas and json",
				  load_shown(loader, colon),
				  load_nearest(loader, colon, names, COUNT(names)));
	return read_name(reader, text, KNOWN_VALUE, pos, &piece->name);
}

static int read_string(struct reader *reader, const struct tnode *node, struct part *part)
{
	struct arena *arena = reader->loader->arena;
	autostr struct strbuf text = STRBUF_INIT;
	const char *s = node->s, *end;

	while (*s) {
		struct piece *piece;
		size_t len = strcspn(s, "$");

		strbuf_add(&text, s, len);
		s += len;
		if (str_starts(s, "$${")) {
			strbuf_puts(&text, "${");
			s += 3;
		} else if (*s && !str_starts(s, "${")) {
			strbuf_add(&text, s++, 1);
		} else if (*s) {
			end = strchr(s, '}');
			if (!end)
				return load_error(reader->loader, node->pos,
						  "\"${\" without its \"}\"");
			piece = ARENA_PUSH(arena, part->pieces, part->n_pieces, part->cap_pieces);
			piece->text = arena_text(arena, &text);
			strbuf_free(&text);
			text = STRBUF_INIT;
			if (read_value(reader, node,
				       arena_strndup(arena, s + 2, (size_t)(end - s - 2)), piece))
				return -EINVAL;
			s = end + 1;
		}
	}
	ARENA_PUSH(arena, part->pieces, part->n_pieces, part->cap_pieces)->text =
		arena_text(arena, &text);
	return 0;
}

static int read_list(struct reader *reader, const struct tnode *node, struct template *template);

static const struct field part_fields[] = {
	{ .name = "when" }, { .name = "unless" }, { .name = "each" },
	{ .name = "args" }, { .name = "join" },	  { 0 },
};

/* The one key that says what a mapping is; args belongs to it. */
static const struct tpair *read_head(struct reader *reader, const struct tnode *node)
{
	const struct fieldset set = { part_fields, NULL };
	const struct tpair *head = NULL;

	for (int i = 0; i < node->n; i++) {
		const struct tnode *key = node->pairs[i].key;

		if (!field_find(part_fields, key->s)) {
			(void)field_unknown(reader->loader, &set, 1, key);
			return NULL;
		}
		if (str_eq(key->s, "args"))
			continue;
		if (head) {
			(void)load_error(reader->loader, key->pos,
					 "\"%s\" and \"%s\" are two items: put one into the other",
					 head->key->s, key->s);
			return NULL;
		}
		head = &node->pairs[i];
	}
	if (!head)
		(void)load_error(reader->loader, node->pos,
				 "an item is a string, or has when:, unless:, each: or join:");
	return head;
}

static int read_each(struct reader *reader, const struct tnode *value, struct part *part)
{
	if (str_eq(value->s, "interfaces")) {
		part->kind = PART_INTERFACES;
	} else if (str_eq(value->s, "extra")) {
		part->kind = PART_EXTRA;
		return read_name(reader, "extra", KNOWN_COND, value->pos, &part->name);
	} else {
		return load_error(reader->loader, value->pos, "\"each\" is interfaces or extra");
	}
	return 0;
}

static int read_map(struct reader *reader, const struct tnode *node, struct part *part)
{
	const struct tpair *head = read_head(reader, node);
	const struct tpair *args = tnode_pair(node, "args");
	struct reader inner = *reader;
	bool cond;

	if (!head)
		return -EINVAL;
	cond = str_eq(head->key->s, "when") || str_eq(head->key->s, "unless");
	if (str_eq(head->key->s, "join")) {
		part->kind = PART_JOIN;
		if (args)
			return load_error(reader->loader, args->key->pos,
					  "join: has the list itself, and no args:");
		return read_list(reader, head->value, &part->inner);
	}
	if (!head->value->s)
		return load_error(reader->loader, head->value->pos, "\"%s\" is a name",
				  head->key->s);
	if (cond) {
		part->kind = *head->key->s == 'w' ? PART_WHEN : PART_UNLESS;
		if (read_name(reader, head->value->s, KNOWN_COND, head->value->pos, &part->name))
			return -EINVAL;
	} else if (read_each(reader, head->value, part)) {
		return -EINVAL;
	}
	if (part->kind == PART_EXTRA && args)
		return load_error(reader->loader, args->key->pos, "each: extra has no args:");
	if (part->kind == PART_EXTRA)
		return 0;
	if (!args)
		return load_error(reader->loader, node->pos, "\"args\" is missing here");
	inner.in_if |= part->kind == PART_INTERFACES;
	return read_list(&inner, args->value, &part->inner);
}

static int read_list(struct reader *reader, const struct tnode *node, struct template *template)
{
	const struct tnode *const *items;
	int n = field_items(&node, &items), r = 0;

	template->parts = arena_calloc(reader->loader->arena, (size_t)n, sizeof(struct part));
	template->n = n;
	for (int i = 0; i < n; i++) {
		struct part *part = &template->parts[i];

		part->pos = items[i]->pos;
		if (items[i]->kind == TNODE_SCALAR)
			r |= read_string(reader, items[i], part);
		else if (items[i]->kind == TNODE_MAP)
			r |= read_map(reader, items[i], part);
		else if (items[i]->kind == TNODE_LIST)
			r |= load_error(reader->loader, items[i]->pos, "a list inside the list");
		else
			r = -EINVAL;
	}
	return r ? -EINVAL : 0;
}

int template_parse(struct loader *loader, const struct tnode *node, struct template *ret_template)
{
	struct reader reader = { .loader = loader, .template = ret_template };

	return read_list(&reader, node, ret_template);
}

/* ---- filling */

static const char *file_value(const struct fill *fill, const struct part *part, const char *name)
{
	const struct preset *preset = fill->preset;

	for (int i = 0; i < preset->n_files; i++)
		if (str_eq(preset->files[i].name, name))
			return preset_file_path(fill->planner, fill->planned, name);
	diag_add(preset->diags, part->pos, "files: has no \"%s\"", name);
	return "";
}

/* false: there is no such value; *ret_why is set for one of an interface. */
static bool name_value(const struct fill *fill, const struct part *part, const struct name *name,
		       struct strbuf *out, const char **ret_why)
{
	*ret_why = NULL;
	if (name->known)
		return name->known->value(fill, out);
	if (name->of_if)
		return late_value_of(fill->dev, name->of_if, out, ret_why);
	strbuf_puts(out, file_value(fill, part, name->of_file));
	return true;
}

static void fill_piece(const struct fill *fill, const struct part *part, const struct piece *piece,
		       struct strbuf *out)
{
	autostr struct strbuf value = STRBUF_INIT;
	const struct node *node = fill->planned->node;
	const char *why;

	strbuf_puts(out, piece->text);
	if (!piece->name.text)
		return;
	if (name_value(fill, part, &piece->name, &value, &why)) {
		const char *s = arena_text(fill->planner->arena, &value);

		if (piece->filter)
			piece->filter->write(s, out);
		else
			strbuf_puts(out, s);
	} else if (why && fill->dev) { /* there, where a name is of one */
		diag_add(fill->preset->diags, part->pos, "\"${%s}\" of %s: %s", piece->name.text,
			 fill->dev->label, why);
	} else {
		diag_add(fill->planner->diags, node->pos, "%s is of kind: %s, which needs \"%s\"",
			 node->name, node->kind->name, piece->name.text);
	}
}

static void add_word(const struct fill *fill, struct words *words, const char *word)
{
	*ARENA_PUSH(fill->planner->arena, words->v, words->n, words->cap) = word;
}

static void fill_string(const struct fill *fill, const struct part *part, struct words *words)
{
	autostr struct strbuf out = STRBUF_INIT;

	for (int i = 0; i < part->n_pieces; i++)
		fill_piece(fill, part, &part->pieces[i], &out);
	add_word(fill, words, arena_text(fill->planner->arena, &out));
}

static void fill_list(const struct fill *fill, const struct template *template,
		      struct words *words);

/* Nothing, where there is nothing to join. */
static void fill_join(const struct fill *fill, const struct part *part, struct words *words)
{
	autostr struct strbuf out = STRBUF_INIT;
	struct words parts = { 0 };

	fill_list(fill, &part->inner, &parts);
	for (int i = 0; i < parts.n; i++)
		strbuf_printf(&out, "%s%s", i ? "," : "", parts.v[i]);
	if (parts.n)
		add_word(fill, words, arena_text(fill->planner->arena, &out));
}

static void fill_each(const struct fill *fill, const struct part *part, struct words *words)
{
	const struct planned_node *planned = fill->planned;
	struct fill inner = *fill;

	for (int i = 0; i < planned->n_devs; i++) {
		inner.dev = planned->devs[i];
		inner.index = i;
		fill_list(&inner, &part->inner, words);
	}
}

static bool fill_cond(const struct fill *fill, const struct part *part)
{
	autostr struct strbuf ignored = STRBUF_INIT;
	const char *why;

	return name_value(fill, part, &part->name, &ignored, &why);
}

static void fill_list(const struct fill *fill, const struct template *template, struct words *words)
{
	const struct preset_spec *spec = fill->spec;

	for (int i = 0; i < template->n; i++) {
		const struct part *part = &template->parts[i];

		switch (part->kind) {
		case PART_STRING:
			fill_string(fill, part, words);
			break;
		case PART_WHEN:
		case PART_UNLESS:
			if (fill_cond(fill, part) == (part->kind == PART_WHEN))
				fill_list(fill, &part->inner, words);
			break;
		case PART_INTERFACES:
			fill_each(fill, part, words);
			break;
		case PART_EXTRA:
			for (int k = 0; k < spec->n_extra; k++)
				add_word(fill, words,
					 late_fill(fill->planner, fill->planned->node,
						   &spec->extra[k]));
			break;
		case PART_JOIN:
			fill_join(fill, part, words);
			break;
		}
	}
}

void template_fill(struct planner *planner, const struct preset *preset,
		   const struct planned_node *planned, const struct template *template,
		   struct words *words)
{
	const struct fill fill = {
		.planner = planner,
		.preset = preset,
		.planned = planned,
		.spec = planned->node->spec,
	};

	fill_list(&fill, template, words);
}

const char *template_program(const struct template *template)
{
	const struct part *first = template->parts;

	return template->n && first->kind == PART_STRING && first->n_pieces == 1
		       ? first->pieces[0].text
		       : "";
}
