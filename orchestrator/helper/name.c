/* name.c - see name.h. */
#include "helper/name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define LETTERS_DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static int lab_parse(const char *text, size_t len, struct name *name, struct err *err)
{
	if (len >= sizeof name->lab)
		return err_set(err, -EINVAL, "the lab's name has %zu characters; %zu at most", len,
			       sizeof name->lab - 1);
	if (!len || strspn(text, LETTERS_DIGITS) == 0 || strspn(text, LETTERS_DIGITS "_-") < len)
		return err_set(err, -EINVAL,
			       "no lab has such a name: letters, digits, _ and -, a letter or "
			       "digit first");
	memcpy(name->lab, text, len);
	return 0;
}

/* What the kernel takes for the name of a link, but for the % that it would number. */
static int bridge_parse(const char *text, struct name *name, struct err *err)
{
	size_t len = strlen(text);

	if (len >= sizeof name->bridge)
		return err_set(err, -EINVAL, "the bridge's name has %zu characters; %zu at most",
			       len, sizeof name->bridge - 1);
	if (!len || str_eq(text, ".") || str_eq(text, ".."))
		return err_set(err, -EINVAL, "no bridge has such a name");
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~' || strchr("/:%*", text[i]))
			return err_set(err, -EINVAL,
				       "no bridge has such a character (the %zuth) in its name",
				       i + 1);
	memcpy(name->bridge, text, len);
	return 0;
}

int name_parse(const char *text, bool pattern, struct name *ret_name, struct err *err)
{
	const char *slash = strchr(text, '/'), *bridge = slash ? slash + 1 : text;
	struct strbuf shown autostr = STRBUF_INIT;
	int r = 0;

	*ret_name = (struct name){ 0 };
	if (pattern && str_eq(text, "all")) {
		*ret_name = (struct name){ "*", "*" };
		return 0;
	}
	if (slash)
		r = lab_parse(text, (size_t)(slash - text), ret_name, err);
	if (r == 0 && pattern && slash && str_eq(bridge, "*"))
		(void)strcpy(ret_name->bridge, "*");
	else if (r == 0)
		r = bridge_parse(bridge, ret_name, err);
	strbuf_safe(&shown, text, strlen(text));
	return r < 0 ? err_wrap(err, "\"%.100s\"", shown.text) : 0;
}

bool name_matches(const struct name *pattern, const struct name *name)
{
	return (str_eq(pattern->lab, "*") || str_eq(pattern->lab, name->lab)) &&
	       (str_eq(pattern->bridge, "*") || str_eq(pattern->bridge, name->bridge));
}
