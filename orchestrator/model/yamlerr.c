/* yamlerr.c - libyaml's errors, said for people who write labs; see tree.h. */
#include <string.h>

#include "base/fd.h"
#include "model/tree.h"

/* The value around a place inside { } or [ ]: between commas, brackets and ": ", but for ${…}. */
static struct yaml_repair yaml_word(const struct yaml_problem *p)
{
	struct yaml_repair word = { .from = p->at, .to = p->at };
	const char *text = p->text;
	int open = 0;

	while (word.from > 0 && !strchr("\n\r,[]{}\"'", text[word.from - 1]) &&
	       !(word.from > 1 && text[word.from - 1] == ' ' && text[word.from - 2] == ':'))
		word.from--;
	while (word.from < p->at && text[word.from] == ' ')
		word.from++;
	for (; word.to < p->len && !strchr("\n\r", text[word.to]); word.to++) {
		if (!open &&
		    (strchr(",]}[", text[word.to]) || strncmp(text + word.to, ": ", 2) == 0))
			break;
		open += (text[word.to] == '{') - (text[word.to] == '}');
	}
	while (word.to > word.from && text[word.to - 1] == ' ')
		word.to--;
	return word;
}

/* The innermost bracket that is open before a place. */
static char yaml_opener(const char *text, size_t at)
{
	int closed = 0;

	while (at-- > 0) {
		if (strchr("]}", text[at]))
			closed++;
		else if (strchr("[{", text[at]) && closed-- == 0)
			return text[at];
	}
	return '{';
}

static size_t yaml_chars(const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
	return n;
}

static bool yaml_quote(struct diags *diags, const struct yaml_problem *p,
		       struct yaml_repair *ret_repair)
{
	struct yaml_repair word = yaml_word(p);
	struct pos pos = p->pos;
	int len = (int)(word.to - word.from);

	pos.col -= (int)yaml_chars(p->text + word.from, p->at - word.from);
	pos.len = (int)yaml_chars(p->text + word.from, (size_t)len);
	diag_add(diags, pos, "\"%.*s\" inside %s must be quoted", len, p->text + word.from,
		 yaml_opener(p->text, word.from) == '[' ? "[ ]" : "{ }");
	diag_hint(diags, "write \"%.*s\"", len, p->text + word.from);
	*ret_repair = word;
	return word.to > word.from;
}

/* ${x} and addresses such as ::1 or fe80:: are words to people, and brackets and colons to YAML. */
static bool yaml_unquoted(struct diags *diags, const struct yaml_problem *p,
			  struct yaml_repair *ret_repair)
{
	const char *at = p->text + p->at;
	bool dollar = p->at > 0 && p->at < p->len && at[0] == '{' && at[-1] == '$';
	bool colon = p->at < p->len && at[0] == ':' &&
		     ((p->at + 1 < p->len && at[1] == ':') || (p->at > 0 && at[-1] == ':'));

	return (dollar || colon) && yaml_quote(diags, p, ret_repair);
}

static bool yaml_explain_char(struct diags *diags, const struct yaml_problem *p)
{
	char c = p->at < p->len ? p->text[p->at] : '\0';

	if (c == '\t') {
		diag_add(diags, p->pos, "a tab cannot indent");
		diag_hint(diags, "use spaces");
	} else {
		diag_add(diags, p->pos, "\"%c\" cannot begin a value", c);
		diag_hint(diags, "quote the value");
	}
	return false;
}

/* libyaml's words, and ours; `context`: the place is where it began, not where it was noticed. */
static const struct {
	const char *problem, *msg, *hint;
	bool context;
} yaml_words[] = {
	{ "mapping values are not allowed", "a second \":\" in one value, or wrong indentation",
	  "quote the value if the colon belongs to it", false },
	{ "found a tab character", "a tab cannot indent", "use spaces", false },
	{ "found unexpected end of stream", "this quote is never closed", NULL, true },
	{ "found unexpected document indicator", "this quote is never closed", NULL, true },
	{ "could not find expected ':'", "a \":\" is missing after the key", NULL, true },
	{ "did not find expected key", "wrong indentation, or a value goes on after its end",
	  "keys of one mapping begin in one column", false },
	{ "did not find expected '-'", "wrong indentation: the list above goes on here",
	  "each item of a list begins with \"- \"", false },
	{ "did not find expected ',' or ']'", "this [ is never closed, or a comma is missing", NULL,
	  true },
	{ "did not find expected ',' or '}'", "this { is never closed, or a comma is missing", NULL,
	  true },
	{ "block sequence entries are not allowed", "a list cannot begin in the key's line",
	  "put it in the next line, or in [ ]", false },
	{ "mapping keys are not allowed", "\"?\" cannot begin a value", "quote the value", false },
	{ "found unknown escape character", "unknown escape", "in '…' a backslash is itself",
	  false },
	{ "did not find expected <document start>", "the lab has ended before this",
	  "one mapping a file", false },
	{ "did not find expected node content", "a value is missing, or must be quoted", NULL,
	  false },
	{ "found unexpected ':'", "a \":\" here must be quoted", NULL, false },
	{ "found undefined tag handle", "tags are not for lab files", "leave it out", true },
};

bool yaml_explain(struct diags *diags, const struct yaml_problem *p, struct yaml_repair *ret_repair)
{
	if (yaml_unquoted(diags, p, ret_repair))
		return true;
	if (str_starts(p->problem, "did not find expected key") && p->at < p->len &&
	    p->text[p->at] == ':') {
		diag_add(diags, p->pos, "a key is missing before \":\"");
		return false;
	}
	if (str_starts(p->problem, "found character that cannot start any token"))
		return yaml_explain_char(diags, p);
	for (size_t i = 0; i < COUNT(yaml_words); i++) {
		if (!str_starts(p->problem, yaml_words[i].problem))
			continue;
		diag_add(diags, yaml_words[i].context ? p->context_pos : p->pos, "%s",
			 yaml_words[i].msg);
		if (yaml_words[i].hint)
			diag_hint(diags, "%s", yaml_words[i].hint);
		return false;
	}
	diag_add(diags, p->pos, "%s%s%s", p->context, *p->context ? ": " : "", p->problem);
	return false;
}
