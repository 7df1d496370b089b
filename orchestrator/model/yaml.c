/* yaml.c - see tree.h.
 *
 * Theory of operation: the bytes are checked first, so that libyaml sees nothing but printable
 * UTF-8 on the lines that editors count. Its events then become the tree, by a recursion that ends
 * at YAML_DEPTH_MAX: the event comes before libyaml has looked further than a kilobyte ahead, so
 * nested brackets, which cost it the square of their number, never get deep.
 *
 * A frequent slip, ${…} or an IPv6 address without quotes inside { }, is a syntax error that would
 * hide all others. It is told, then mended in a copy of the text, and the copy is parsed: its
 * special characters become the private ones from U+E000 on, one for one, so that places stay true.
 */
#include "model/tree.h"

#include <string.h>
#include <yaml.h>

#include "base/fd.h"
#include "model/names.h"

#define REPAIRS_MAX 16
#define REPAIR_LEAD                                                                                \
	"\xee\x80" /* U+E000 … U+E03F are EE 80 80 … EE 80 BF; U+E040 on are EE 81 80 … */
#define NAMES_LINEAR 16 /* a mapping with fewer keys is searched one by one */

struct yaml {
	struct diags *diags;
	struct arena *arena;
	yaml_parser_t parser;
	yaml_event_t event;
	const char *text; /* what is parsed: the file, or a mended copy */
	size_t len;
	bool repaired, deep; /* deep: nested too deep */
};

const struct tnode tnode_bad = { .kind = TNODE_BAD };

bool tnode_null(const struct tnode *node)
{
	static const char *const words[] = { "", "~", "null", "Null", "NULL" };

	if (node->kind != TNODE_SCALAR || node->quoted)
		return false;
	for (size_t i = 0; i < COUNT(words); i++)
		if (str_eq(node->s, words[i]))
			return true;
	return false;
}

const struct tpair *tnode_pair(const struct tnode *map, const char *key)
{
	if (map->kind == TNODE_MAP)
		for (int i = 0; i < map->n; i++)
			if (str_eq(map->pairs[i].key->s, key))
				return &map->pairs[i];
	return NULL;
}

const struct tnode *tnode_get(const struct tnode *map, const char *key)
{
	const struct tpair *pair = tnode_pair(map, key);

	return pair ? pair->value : NULL;
}

/* Byte of the n-th character. */
static size_t yaml_offset(const struct yaml *yaml, size_t n)
{
	size_t at = 0;

	while (n && at < yaml->len) {
		at++;
		while (at < yaml->len && ((unsigned char)yaml->text[at] & 0xc0) == 0x80)
			at++;
		n--;
	}
	return at;
}

static struct pos yaml_pos(const yaml_mark_t *mark)
{
	return (struct pos){ .line = (int)mark->line + 1, .col = (int)mark->column + 1 };
}

/* The place of the current event; what goes on over the end of the line is underlined as one. */
static struct pos yaml_event_pos(const struct yaml *yaml)
{
	const yaml_mark_t *from = &yaml->event.start_mark, *to = &yaml->event.end_mark;
	struct pos pos = yaml_pos(from);

	if (from->line == to->line && to->column > from->column)
		pos.len = (int)(to->column - from->column);
	return pos;
}

static bool yaml_no_memory(struct yaml *yaml)
{
	diag_add(yaml->diags, (struct pos){ 0 }, "out of memory");
	return false;
}

static bool yaml_syntax(struct yaml *yaml, struct yaml_repair *ret_repair)
{
	const yaml_parser_t *parser = &yaml->parser;
	struct yaml_problem problem = {
		.problem = parser->problem ? parser->problem : "cannot be read",
		.context = parser->context ? parser->context : "",
		.pos = yaml_pos(&parser->problem_mark),
		.context_pos = yaml_pos(&parser->context_mark),
		.at = yaml_offset(yaml, parser->problem_mark.index),
		.context_at = yaml_offset(yaml, parser->context_mark.index),
		.text = yaml->text,
		.len = yaml->len,
	};

	/* libyaml does not always say so of memory. */
	if (parser->error == YAML_MEMORY_ERROR || parser->error == YAML_NO_ERROR)
		return yaml_no_memory(yaml);
	return yaml_explain(yaml->diags, &problem, ret_repair);
}

static bool yaml_next(struct yaml *yaml)
{
	yaml_event_delete(&yaml->event);
	return yaml_parser_parse(&yaml->parser, &yaml->event) != 0;
}

/* Mended characters become themselves again, in place. */
static void yaml_unmend(char *s)
{
	char *to = s;

	for (const char *p = s; *p;) {
		if (p[0] == '\xee' && (p[1] == '\x80' || p[1] == '\x81')) {
			*to++ = (char)(((p[1] & 1) << 6) | (p[2] & 0x3f));
			p += 3;
		} else {
			*to++ = *p++;
		}
	}
	*to = '\0';
}

/* Escapes can write what the file itself may not hold. */
static bool yaml_value_clean(const char *s, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = str_char(s + i, len - i);

		if (!n && s[i] != '\n' && s[i] != '\t')
			return false;
		i += n ? n : 1;
	}
	return true;
}

static void yaml_check_properties(struct yaml *yaml, const char *anchor, const char *tag)
{
	struct pos pos = yaml_event_pos(yaml);

	if (anchor) {
		pos.len = (int)strlen(anchor) + 1;
		diag_add(yaml->diags, pos, "anchors (&%s) are not for lab files", anchor);
		diag_hint(yaml->diags, "put what is shared in groups: and take it by group: NAME");
	} else if (tag) {
		pos.len = 0;
		diag_add(yaml->diags, pos, "tags (%s) are not for lab files",
			 str_starts(tag, "tag:yaml.org,2002:") ? "!!" : tag);
		diag_hint(yaml->diags, "leave it out: each key knows the type of its value");
	}
}

static struct tnode *yaml_scalar(struct yaml *yaml)
{
	struct tnode *node = arena_alloc(yaml->arena, sizeof *node);
	const char *value = (const char *)yaml->event.data.scalar.value;
	size_t len = yaml->event.data.scalar.length;
	char *s;

	node->pos = yaml_event_pos(yaml);
	node->quoted = yaml->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	if (!yaml_value_clean(value, len)) {
		diag_add(yaml->diags, node->pos, "a control character in a value");
		diag_hint(yaml->diags, "only line ends and tabs may be written by an escape");
		node->kind = TNODE_BAD;
		return node;
	}
	s = arena_strndup(yaml->arena, value, len);
	if (yaml->repaired)
		yaml_unmend(s);
	node->s = s;
	node->dollar = strstr(s, "${") != NULL;
	return node;
}

static struct tnode *yaml_node(struct yaml *yaml, int depth);

static struct tnode *yaml_list(struct yaml *yaml, int depth)
{
	struct tnode *list = arena_alloc(yaml->arena, sizeof *list);

	list->kind = TNODE_LIST;
	list->pos = yaml_event_pos(yaml);
	for (;;) {
		struct tnode *item;

		if (!yaml_next(yaml))
			return NULL;
		if (yaml->event.type == YAML_SEQUENCE_END_EVENT)
			return list;
		item = yaml_node(yaml, depth + 1);
		if (!item)
			return NULL;
		*ARENA_PUSH(yaml->arena, list->items, list->n, list->cap) = item;
		list->dollar |= item->dollar;
	}
}

/* Tells what is wrong with a key, and whether the pair is to be kept. */
static bool yaml_key_fine(struct yaml *yaml, const struct tnode *key)
{
	if (key->kind == TNODE_BAD)
		return false;
	if (key->kind != TNODE_SCALAR)
		diag_add(yaml->diags, key->pos, "a key must be a word, not a list or a mapping");
	else if (!key->quoted && str_eq(key->s, ""))
		diag_add(yaml->diags, key->pos, "a key is missing before \":\"");
	else if (str_eq(key->s, "<<"))
		diag_add(yaml->diags, key->pos, "merge keys (<<) are not for lab files");
	else
		return true;
	if (key->s && str_eq(key->s, "<<"))
		diag_hint(yaml->diags, "put what is shared in groups: and take it by group: NAME");
	return false;
}

/* Keys that are there twice: the first one counts. */
static void yaml_drop_doubles(struct yaml *yaml, struct tnode *map)
{
	struct names seen = { 0 };
	int kept = 0;

	for (int i = 0; i < map->n; i++) {
		const struct tnode *key = map->pairs[i].key, *first = NULL;

		if (map->n >= NAMES_LINEAR) {
			struct name_slot *slot = names_put(yaml->arena, &seen, key->s);

			first = slot->thing ? ((struct tpair *)slot->thing)->key : NULL;
			if (!first)
				slot->thing = &map->pairs[kept];
		} else {
			for (int j = 0; j < kept && !first; j++)
				if (str_eq(map->pairs[j].key->s, key->s))
					first = map->pairs[j].key;
		}
		if (first)
			diag_add(yaml->diags, key->pos,
				 "key \"%s\" is given twice (first in line %d)", key->s,
				 first->pos.line);
		else
			map->pairs[kept++] = map->pairs[i];
	}
	map->n = kept;
}

static struct tnode *yaml_map(struct yaml *yaml, int depth)
{
	struct tnode *map = arena_alloc(yaml->arena, sizeof *map);

	map->kind = TNODE_MAP;
	map->pos = yaml_event_pos(yaml);
	for (;;) {
		struct tnode *key, *value;
		struct tpair *pair;

		if (!yaml_next(yaml))
			return NULL;
		if (yaml->event.type == YAML_MAPPING_END_EVENT)
			break;
		key = yaml_node(yaml, depth + 1);
		if (!key || !yaml_next(yaml))
			return NULL;
		value = yaml_node(yaml, depth + 1);
		if (!value)
			return NULL;
		if (!yaml_key_fine(yaml, key))
			continue;
		pair = ARENA_PUSH(yaml->arena, map->pairs, map->n, map->cap);
		*pair = (struct tpair){ .key = key, .value = value };
		map->dollar |= key->dollar | value->dollar;
	}
	yaml_drop_doubles(yaml, map);
	return map;
}

/* The node that the current event begins; NULL when the parser stops here. */
static struct tnode *yaml_node(struct yaml *yaml, int depth)
{
	const yaml_event_t *event = &yaml->event;
	struct tnode *bad;

	if (depth > YAML_DEPTH_MAX && event->type != YAML_SCALAR_EVENT) {
		diag_add(yaml->diags, yaml_pos(&event->start_mark),
			 "nested more than %d levels deep", YAML_DEPTH_MAX);
		yaml->deep = true;
		return NULL;
	}
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		yaml_check_properties(yaml, (const char *)event->data.scalar.anchor,
				      (const char *)event->data.scalar.tag);
		return yaml_scalar(yaml);
	case YAML_SEQUENCE_START_EVENT:
		yaml_check_properties(yaml, (const char *)event->data.sequence_start.anchor,
				      (const char *)event->data.sequence_start.tag);
		return yaml_list(yaml, depth);
	case YAML_MAPPING_START_EVENT:
		yaml_check_properties(yaml, (const char *)event->data.mapping_start.anchor,
				      (const char *)event->data.mapping_start.tag);
		return yaml_map(yaml, depth);
	default: /* only aliases are left where a node is due */
		bad = arena_alloc(yaml->arena, sizeof *bad);
		bad->kind = TNODE_BAD;
		bad->pos = yaml_event_pos(yaml);
		diag_add(yaml->diags, bad->pos, "aliases (*%s) are not for lab files",
			 (const char *)event->data.alias.anchor);
		diag_hint(yaml->diags, "put what is shared in groups: and take it by group: NAME");
		return bad;
	}
}

/* STREAM-START, DOCUMENT-START, the tree, DOCUMENT-END, STREAM-END. *ret_syntax: libyaml's error. */
static struct tnode *yaml_document(struct yaml *yaml, bool *ret_syntax)
{
	struct tnode *root;

	*ret_syntax = true;
	if (!yaml_next(yaml) || !yaml_next(yaml))
		return NULL;
	if (yaml->event.type == YAML_STREAM_END_EVENT || !yaml_next(yaml)) {
		*ret_syntax = yaml->event.type != YAML_STREAM_END_EVENT;
		return NULL;
	}
	root = yaml_node(yaml, 1);
	if (!root) {
		*ret_syntax = !yaml->deep;
		return NULL;
	}
	if (!yaml_next(yaml) || !yaml_next(yaml))
		return NULL;
	*ret_syntax = false;
	if (yaml->event.type == YAML_DOCUMENT_START_EVENT) {
		diag_add(yaml->diags, yaml_event_pos(yaml), "a second document begins here");
		diag_hint(yaml->diags, "one lab a file");
	}
	return root;
}

/* One pass of the parser. true: quotes would mend the syntax error that it met. */
static bool yaml_pass(struct yaml *yaml, struct tnode **ret_root, struct yaml_repair *ret_repair)
{
	bool syntax, mend = false;

	if (!yaml_parser_initialize(&yaml->parser))
		return yaml_no_memory(yaml);
	memset(&yaml->event, 0, sizeof yaml->event);
	yaml_parser_set_encoding(&yaml->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&yaml->parser, (const unsigned char *)yaml->text, yaml->len);
	*ret_root = yaml_document(yaml, &syntax);
	if (!*ret_root && syntax)
		mend = yaml_syntax(yaml, ret_repair);
	yaml_event_delete(&yaml->event);
	yaml_parser_delete(&yaml->parser);
	return mend;
}

/* A copy of the text where all that is special in [from, to) is a private character. */
static void yaml_mend(struct yaml *yaml, const struct yaml_repair *repair)
{
	char *copy = arena_alloc(yaml->arena, yaml->len + (repair->to - repair->from) * 2 + 1),
	     *to = copy;

	for (size_t i = 0; i < yaml->len; i++) {
		unsigned char c = (unsigned char)yaml->text[i];

		if (i >= repair->from && i < repair->to && strchr("{}[],:#&*!|>'\"%@`?", c)) {
			*to++ = '\xee';
			*to++ = (char)(0x80 | (c >> 6));
			*to++ = (char)(0x80 | (c & 0x3f));
		} else {
			*to++ = (char)c;
		}
	}
	yaml->text = copy;
	yaml->len = (size_t)(to - copy);
	yaml->repaired = true;
}

/* A control character of two or three bytes, whole but not printable. */
static bool yaml_is_control(const char *s, size_t left)
{
	return (left > 1 && s[0] == '\xc2' && (s[1] & 0xc0) == 0x80) ||
	       (left > 2 && memcmp(s, "\xe2\x80", 2) == 0);
}

/* Only printable characters, and no line ends but those that every editor counts. */
static bool yaml_check_bytes(struct diags *diags)
{
	struct pos pos = { .line = 1, .col = 1 };
	const char *s = diags->text;
	bool fine = true;

	for (size_t i = 0; i < diags->text_len && !diag_enough(diags); pos.col++) {
		size_t left = diags->text_len - i, n = str_char(s + i, left);
		unsigned char c = (unsigned char)s[i];

		if (c == '\n' || (c == '\r' && !(left > 1 && s[i + 1] == '\n'))) {
			pos.line++;
			pos.col = 0;
		} else if (!n && c != '\t' && c != '\r') {
			bool control = c < 0x80 || yaml_is_control(s + i, left);

			fine = false;
			diag_add(diags, pos, control ? "a control character" : "not UTF-8");
			diag_hint(diags,
				  control ? "lab files hold text only" : "save the file as UTF-8");
			if (control && c >= 0x80)
				n = c == 0xe2 ? 3 : 2;
		}
		i += n ? n : 1;
	}
	return fine;
}

/* %YAML and %TAG stand before everything else. */
static bool yaml_check_directives(struct diags *diags)
{
	const char *p = diags->text, *end = p + diags->text_len;
	struct pos pos = { .line = 1, .col = 1 };

	for (; p < end; pos.line++) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));

		if (*p == '%') {
			diag_add(diags, pos, "directives (%%) are not for lab files");
			diag_hint(diags, "leave the line out");
			return false;
		}
		p += strspn(p, " \t\r");
		if (*p != '\n' && *p != '#' && p < end)
			return true;
		p = eol ? eol + 1 : end;
	}
	return true;
}

const struct tnode *yaml_load(struct diags *diags, const struct yaml_file *of)
{
	struct yaml yaml = {
		.diags = diags, .arena = diags->arena, .text = diags->text, .len = diags->text_len
	};
	bool private = memmem(yaml.text, yaml.len, REPAIR_LEAD, 2) ||
		       memmem(yaml.text, yaml.len, "\xee\x81", 2);
	struct yaml_repair repair;
	struct tnode *root = NULL;

	if (!yaml_check_bytes(diags) || !yaml_check_directives(diags))
		return NULL;
	for (int tries = 0; yaml_pass(&yaml, &root, &repair) && tries < REPAIRS_MAX && !private;
	     tries++)
		yaml_mend(&yaml, &repair);
	if (root && tnode_null(root))
		root = NULL;
	if (!root && !diags->total) {
		diag_add(diags, (struct pos){ .line = 1, .col = 1 }, "the file is empty");
		diag_hint(diags, "%s", of->empty);
	}
	if (root && root->kind != TNODE_MAP) {
		diag_add(diags, root->pos, "%s is a mapping of keys (%s)", of->name, of->keys);
		return NULL;
	}
	return root;
}
