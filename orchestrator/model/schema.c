/* schema.c - the JSON Schema of lab files, from the tables of the vocabulary; see lab.h.
 *
 * An editor gives a scalar a type that our fields do not mind: 12, "12", 0.5, on (true to some) and
 * 12:34:56:12:34:56 (a number to some) are all what they look like. So each field admits every type
 * that its values may come in, nothing at all (the default), and a string that holds ${…}.
 */
#include <errno.h>

#include "base/fd.h"
#include "model/vocab.h"

#define OR_VAR		   "|[$][{]"
#define TRUTH		   "[Tt]rue|TRUE|[Oo]n|ON|[Yy]es|YES|[Ff]alse|FALSE|[Oo]ff|OFF|[Nn]o|NO"
#define NUMBER		   "{\"type\": \"integer\", \"minimum\": 0}"
#define NOTHING		   "{\"type\": \"null\"}"
#define STRING_LIKE(regex) "{\"type\": \"string\", \"pattern\": \"" regex "\"}"
#define LIST_OF(what)	   "{\"type\": \"array\", \"items\": " what "}"
#define MAP_OF(what)	   "{\"type\": \"object\", \"additionalProperties\": " what "}"
#define ANY_OF(a, b)	   "{\"anyOf\": [" a ", " b "]}"

/* Tables that stand in one place of the schema, however often they are used. */
static const struct {
	const struct field *fields;
	const char *name, *title;
} schema_defs[] = {
	{ vocab_node, "node", "a host, router or guest" },
	{ vocab_iface, "interface", "a device, and all that belongs to it" },
	{ vocab_bridge, "bridge", "a switch" },
	{ vocab_link, "link", "a wire" },
	{ later_impair, "impair", "delay, loss and the like" },
	{ later_file, "file", "a file laid over a node's view" },
	{ later_limits, "limits", "what may be used up" },
};

struct schema {
	const struct node_kind *const *kinds; /* NULL-terminated */
	struct strbuf *out;
	int depth;
};

static void schema_line(struct schema *schema)
{
	strbuf_puts(schema->out, "\n");
	for (int i = 0; i < schema->depth; i++)
		strbuf_puts(schema->out, " ");
}

static void schema_string(struct schema *schema, const char *s)
{
	strbuf_puts(schema->out, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_puts(schema->out, "\\");
		strbuf_add(schema->out, s, 1);
	}
	strbuf_puts(schema->out, "\"");
}

static void schema_table(struct schema *schema, const struct field *fields);
static void schema_any(struct schema *schema, const struct field *field);

/* A table in place, or where it stands. */
static void schema_table_ref(struct schema *schema, const struct field *fields)
{
	for (size_t i = 0; i < COUNT(schema_defs); i++) {
		if (schema_defs[i].fields == fields) {
			strbuf_printf(schema->out, SCHEMA_REF("%s"), schema_defs[i].name);
			return;
		}
	}
	schema_table(schema, fields);
}

/* One element of a table: the mapping, nothing, or the short form. */
static void schema_element(struct schema *schema, const struct field *field)
{
	const struct field *brief = field->scalar ? field_find(field->fields, field->scalar) : NULL;

	strbuf_puts(schema->out, NOTHING ", ");
	schema_table_ref(schema, field->fields);
	if (brief) {
		strbuf_puts(schema->out, ", ");
		schema_any(schema, brief);
	}
}

static void schema_uint(struct schema *schema, const struct field *field)
{
	strbuf_printf(schema->out, "{\"type\": \"integer\", \"minimum\": %llu",
		      (unsigned long long)field->min);
	if (field->max)
		strbuf_printf(schema->out, ", \"maximum\": %llu", (unsigned long long)field->max);
	strbuf_puts(schema->out, "}, {\"type\": \"string\", \"pattern\": \"^[0-9]+$" OR_VAR "\"}");
}

static void schema_choice(struct schema *schema, const struct field *field)
{
	bool truth = false;

	strbuf_puts(schema->out, "{\"enum\": [");
	for (int i = 0; field->choices[i]; i++) {
		strbuf_puts(schema->out, i ? ", " : "");
		schema_string(schema, field->choices[i]);
		truth |= str_eq(field->choices[i], "off") || str_eq(field->choices[i], "on") ||
			 str_eq(field->choices[i], "no");
	}
	strbuf_puts(schema->out, "]}, ");
	strbuf_puts(schema->out, truth ? SCHEMA_REF("truth")
				       : "{\"type\": \"string\", \"pattern\": \"[$][{]\"}");
}

static void schema_named(struct schema *schema, const struct field *field)
{
	strbuf_puts(schema->out, "{\"type\": \"object\", ");
	if (field->pattern) {
		strbuf_puts(schema->out, "\"propertyNames\": {\"pattern\": ");
		schema_string(schema, field->pattern);
		strbuf_puts(schema->out, "}, ");
	}
	strbuf_puts(schema->out, "\"additionalProperties\": {\"anyOf\": [");
	schema_element(schema, field);
	strbuf_puts(schema->out, "]}}");
}

/* Types whose schema is the same for all fields. */
static const char *const schema_types[] = {
	[FIELD_STRING] = SCHEMA_REF("scalar"),
	[FIELD_TEXT] = SCHEMA_REF("scalar"),
	[FIELD_PATH] = SCHEMA_REF("scalar"),
	[FIELD_TEXTS] = SCHEMA_REF("scalars"),
	[FIELD_BOOL] = SCHEMA_REF("truth"),
	[FIELD_SIZE] = NUMBER ", " STRING_LIKE("^[0-9]+([KMGTkmgt]([Ii][Bb])?)?$" OR_VAR),
	[FIELD_DURATION] = NUMBER ", " STRING_LIKE("^[0-9]+(ms|s|m|min|h)?$" OR_VAR),
	[FIELD_MAC] = NUMBER ", " STRING_LIKE("^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$" OR_VAR),
	[FIELD_COMMAND] = SCHEMA_REF("command"),
	[FIELD_COMMANDS] = SCHEMA_REF("command") ", " LIST_OF(SCHEMA_REF("command")),
	[FIELD_PAIRS] = SCHEMA_REF("vars"),
	[FIELD_CUSTOM] = NULL,
};

/* All that a field's value may be, with commas between. */
static void schema_any(struct schema *schema, const struct field *field)
{
	if (field->schema) {
		strbuf_puts(schema->out, field->schema);
	} else if (field->type == FIELD_UINT) {
		schema_uint(schema, field);
	} else if (field->type == FIELD_CHOICE) {
		schema_choice(schema, field);
	} else if (field->type == FIELD_NAMED) {
		schema_named(schema, field);
	} else if (field->type == FIELD_MAP) {
		schema_element(schema, field);
	} else if (field->type == FIELD_LIST) {
		strbuf_puts(schema->out, "{\"type\": \"array\", \"items\": {\"anyOf\": [");
		schema_element(schema, field);
		strbuf_puts(schema->out, "]}}, ");
		schema_element(schema, field);
	} else {
		strbuf_puts(schema->out, schema_types[field->type]);
	}
}

/* Those that are built in, for editors to offer: any name may be a preset's beside the lab. */
static void schema_kinds(struct schema *schema)
{
	strbuf_puts(schema->out, ", \"examples\": [");
	for (int i = 0; schema->kinds[i]; i++) {
		strbuf_puts(schema->out, i ? ", " : "");
		schema_string(schema, schema->kinds[i]->name);
	}
	strbuf_puts(schema->out, "]");
}

static void schema_properties(struct schema *schema, const struct field *fields, bool *first)
{
	for (const struct field *field = fields; field && field->name; field++) {
		struct strbuf help autostr = STRBUF_INIT;

		strbuf_puts(schema->out, *first ? "" : ",");
		*first = false;
		schema_line(schema);
		schema_string(schema, field->name);
		strbuf_puts(schema->out, ": {\"description\": ");
		strbuf_puts(&help, field->flags & FIELD_NOT_YET ? "(not yet supported) " : "");
		strbuf_puts(&help, field->help);
		schema_string(schema, help.text);
		if (field->preset) {
			strbuf_puts(schema->out, ", \"default\": ");
			schema_string(schema, field->preset);
		}
		if (fields == vocab_node && str_eq(field->name, "kind"))
			schema_kinds(schema);
		strbuf_puts(schema->out, ", \"anyOf\": [");
		if (field->type != FIELD_MAP)
			strbuf_puts(schema->out, NOTHING ", ");
		schema_any(schema, field);
		strbuf_puts(schema->out, "]}");
	}
}

static void schema_table(struct schema *schema, const struct field *fields)
{
	bool first = true;

	strbuf_puts(schema->out,
		    "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {");
	schema->depth++;
	schema_properties(schema, fields, &first);
	for (int i = 0; fields == vocab_node && schema->kinds[i]; i++)
		if (!i || schema->kinds[i]->fields != schema->kinds[i - 1]->fields)
			schema_properties(schema, schema->kinds[i]->fields, &first);
	schema->depth--;
	schema_line(schema);
	strbuf_puts(schema->out, "}}");
}

#define SCALAR SCHEMA_REF("scalar")

/* The definitions that fields refer to. */
static const struct {
	const char *name, *schema;
} schema_common[] = {
	{ "scalar", "{\"type\": [\"string\", \"number\", \"boolean\"]}" },
	{ "scalars", ANY_OF(SCALAR, LIST_OF(SCALAR)) },
	{ "truth", ANY_OF("{\"type\": \"boolean\"}", STRING_LIKE("^(" TRUTH ")$" OR_VAR)) },
	{ "command", ANY_OF(SCALAR, LIST_OF(SCALAR)) },
	{ "positional", LIST_OF(ANY_OF(NOTHING, SCALAR)) },
	{ "for", MAP_OF(SCHEMA_REF("scalars")) },
	{ "vars", MAP_OF(ANY_OF(NOTHING, SCALAR)) },
	{ "files", MAP_OF(ANY_OF(SCALAR, SCHEMA_REF("file"))) },
};

static void schema_def(struct schema *schema, const char *before, const char *name,
		       const char *title, const struct field *fields)
{
	strbuf_printf(schema->out, "%s  \"%s\": {\"description\": \"%s\", \"allOf\": [", before,
		      name, title);
	schema_table(schema, fields);
	strbuf_puts(schema->out, "]}");
}

int schema_write(const struct node_kinds *kinds, struct strbuf *out)
{
	struct schema schema = { .kinds = kinds->list, .out = out, .depth = 2 };
	bool first = true;

	strbuf_puts(out, "{\n \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
			 " \"title\": \"tapnet-lab: a network lab\",\n"
			 " \"$comment\": \"Made by `tapnet-lab schema`; not edited by hand.\",\n"
			 " \"$defs\": {\n");
	for (size_t i = 0; i < COUNT(schema_common); i++)
		strbuf_printf(out, "  \"%s\": %s,\n", schema_common[i].name,
			      schema_common[i].schema);
	for (size_t i = 0; i < COUNT(schema_defs); i++)
		schema_def(&schema, i ? ",\n" : "", schema_defs[i].name, schema_defs[i].title,
			   schema_defs[i].fields);
	if (kinds->preset)
		schema_def(&schema, ",\n", "preset", "a kind of guest, in a file of its own",
			   kinds->preset);
	strbuf_puts(
		out,
		"\n },\n \"type\": \"object\", \"additionalProperties\": false, \"properties\": {");
	schema.depth = 2;
	schema_properties(&schema, vocab_lab, &first);
	strbuf_puts(out, "\n }\n}\n");
	return out->failed ? -ENOMEM : 0;
}
