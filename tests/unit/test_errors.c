/* test_errors.c - what is wrong with a lab is told, all of it, each at its place: tests/data/errors.json
 * has labs, line by line, and the errors that each must give, no others ([]: it is fine). And thousands
 * of errors of one sort, of which a hundred are shown. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/fd.h"
#include "base/io.h"
#include "kind/kind.h"
#include "plan/plan.h"

struct loaded {
	struct arena arena;
	struct diags diags;
	int r;
};

/* Loads a text as the file lab.yaml. */
static void load(struct loaded *loaded, const char *text, size_t len,
		 const struct lab_options *options)
{
	char folder[] = "/tmp/tapnet-test-XXXXXX", path[64];
	struct assume assume = { .kvm.known = true, .vhost.known = true };
	struct err err = { 0 };
	struct lab *lab = NULL;
	struct plan *plan;
	FILE *file;

	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof path, "%s/lab.yaml", folder);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	*loaded = (struct loaded){ 0 };
	assert_int_equal(arena_init(&loaded->arena, 0, &err), 0);
	loaded->r = lab_load(&loaded->arena, path, options, &kinds, &loaded->diags, &lab, &err);
	if (loaded->r == 0)
		loaded->r = plan_make(&loaded->arena, lab, &assume, &loaded->diags, &plan);
	loaded->diags.file = "lab.yaml";
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

/* "LINE:COL: message" of each line that has an error. */
static void errors_of(const struct loaded *loaded, struct strbuf *out)
{
	struct strbuf all autostr = STRBUF_INIT;
	const char *name = "lab.yaml:";

	diag_print(&loaded->diags, &all);
	for (char *line = strtok(all.text, "\n"); line; line = strtok(NULL, "\n")) {
		char *error = strstr(line, "error: ");

		if (!str_starts(line, name) || !error || strstr(line, "; nothing was made"))
			continue;
		line += strlen(name);
		line += *line == ' ';
		strbuf_add(out, line, (size_t)(error - line));
		strbuf_printf(out, "%s\n", error + strlen("error: "));
	}
}

static struct strbuf lines_of(struct json_object *list)
{
	struct strbuf out = STRBUF_INIT;
	size_t n = json_object_array_length(list);

	for (size_t i = 0; i < n; i++)
		strbuf_printf(&out, "%s%s", i ? "\n" : "",
			      json_object_get_string(json_object_array_get_idx(list, i)));
	return out;
}

static const char *errors_json;

static void check(struct json_object *example)
{
	struct json_object *set = json_object_object_get(example, "set"),
			   *env = json_object_object_get(example, "env");
	struct strbuf text autostr = lines_of(json_object_object_get(example, "lab"));
	struct strbuf due autostr = lines_of(json_object_object_get(example, "errors"));
	struct strbuf found autostr = STRBUF_INIT;
	const char *sets[8];
	struct lab_options options = { .set = sets,
				       .n_set = set ? (int)json_object_array_length(set) : 0 };
	struct loaded loaded;

	for (int i = 0; i < options.n_set; i++)
		sets[i] = json_object_get_string(json_object_array_get_idx(set, (size_t)i));
	if (env) {
		json_object_object_foreach(env, key, value)
			assert_int_equal(setenv(key, json_object_get_string(value), 1), 0);
	}
	load(&loaded, text.text, text.len, &options);
	errors_of(&loaded, &found);
	if (due.len)
		strbuf_puts(&due, "\n");
	if (!str_eq(found.text, due.text))
		fail_msg("%s\ngives\n%snot\n%s", text.text, found.text, due.text);
	assert_int_equal(loaded.r, due.len ? -EINVAL : 0);
	arena_free(&loaded.arena);
}

static void each_error(void **state)
{
	struct json_object *examples = json_object_from_file(errors_json);
	size_t n;

	(void)state;
	assert_non_null(examples);
	n = json_object_array_length(examples);
	assert_true(n > 100);
	for (size_t i = 0; i < n; i++)
		check(json_object_array_get_idx(examples, i));
	json_object_put(examples);
}

#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the tables below */

/* ---- too many of one sort: it ends soon, and says how many it found until then */

static const struct {
	const char *head, *each, *tail; /* each: with two numbers, both that of the item */
} floods[] = {
	{ "nodes:\n", "  n%d: {interfaces: {eth0: {ipv4: x%d}}}\n", "" },
	{ "nodes:\n  h: \n", "  n%d: {routes: default via m%d}\n", "" },
	{ "nodes:\n", "  n%d: {wait-for: n%d}\n", "" },
	{ "nodes:\n", "  n%d: {exec: '${eth%d.mac}'}\n", "" },
	{ "nodes:\n", "  n%d: {interfaces: {lo: {ipv4: 10.0.0.1}, eth0: }, cpus%d: 1}\n", "" },
	{ "nodes: {a: , b: }\nlinks:\n", "- {endpoints: [a, b], ipv4: [x%d, y%d]}\n", "" },
	{ "nodes: {a: , b: }\nlinks:\n", "- {endpoints: [a, b], trunk: 5} # %d %d\n", "" },
	{ "nodes: {a: }\nlinks:\n", "- [a, x%d, y%d]\n", "" },
	{ "nodes: {a: }\nlinks:\n", "- [a, a] # %d %d\n", "x: 1\n" },
	{ "nodes: {a: , b: }\nbridges:\n", "  b%d: {subnet: x%d}\n", "" },
	{ "nodes: {a: }\n", "key%d: %d\n", "" },
	{ "nodes:\n  a:\n    env:\n", "      A%d: '${b%d}'\n", "" },
	{ "nodes:\n  a:\n    interfaces:\n", "      e%d: {parent: f%d, vlan: 5}\n", "" },
	{ "nodes:\n  'h${i}': {for: {i: 1-2000}, exec: '${no}', bad: 1}\n", "#%d %d\n", "" },
	{ "nodes:\n",
	  "  n%d: {kind: guest, command: cat, interfaces: {eth0: {tap: {fds: [%d]}}}}\n",
	  "x: 1\n" },
	{ "# ", "\x01%d %d", "\n" },
};

static void floods_end(void **state)
{
	const struct lab_options options = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(floods); i++) {
		struct strbuf text autostr = STRBUF_INIT;
		struct strbuf all autostr = STRBUF_INIT;
		struct loaded loaded;

		strbuf_puts(&text, floods[i].head);
		for (int k = 0; k < 1200; k++)
			strbuf_printf(&text, floods[i].each, k, k);
		strbuf_puts(&text, floods[i].tail);
		load(&loaded, text.text, text.len, &options);
		if (loaded.r != -EINVAL)
			fail_msg("%s… is taken", floods[i].head);
		assert_true(loaded.diags.n > 0 && loaded.diags.n <= 100);
		assert_true(loaded.diags.total >= loaded.diags.n);
		diag_print(&loaded.diags, &all);
		assert_non_null(strstr(all.text, "; nothing was made\n"));
		arena_free(&loaded.arena);
	}
}

/* ---- too much: told once, at the place where it became too much */

static const struct {
	const char *lab, *words;
} limits[] = {
	{ "nodes:\n  'h${i}': {for: {i: 1-25000}}\n  'g${i}': {for: {i: 1-2}}\n",
	  "3:3: error: the lab grows to more than 25000 nodes and links here" },
	{ "nodes:\n  'h${i}': {for: {i: 1-20000}, env: {A: 1, B: 2, C: 3, D: 4, E: 5, F: 6, G: 7, "
	  "H: 8, "
	  "I: 9, J: 1, K: 1, L: 1, M: 1, N: 1, O: 1, P: 1, Q: 1, R: 1, S: 1, T: 1}}\n",
	  "values here" },
	{ "nodes:\n  'h${i}': {for: {i: 1-25000}, routes: [a, b, c, d, e, f, g, h, i, j, k, l]}\n",
	  "\"a\" is no route (in h1)" },
	{ "bridges: {b: }\nnodes:\n  'h${i}': {for: {i: 1-25000}, interfaces: {lo: , eth0: b}}\n",
	  "the lab grows to more than 25000 interfaces here" },
	{ "nodes:\n  'h${i}': {for: {i: 1-24000}, exec: [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, "
	  "a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23]}\n",
	  "values here" },
	{ "nodes:\n  'h${i}': {for: {i: 1-24000}, exec: [[a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, "
	  "a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23]]}\n",
	  "values here" },
	{ "nodes:\n  'h${i}': {for: {i: 1-24000}, wait-for: [a0, a1, a2, a3, a4, a5, a6, a7, a8, "
	  "a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23]}\n",
	  "values here" },
	{ "nodes:\n  'h${i}': {for: {i: 1-24000}, routes: [default via h1, default via h2, default "
	  "via h3, default via h4, default via h5, default via h6, default via h7, default via h8, "
	  "default via h9, default via h10, default via h11, default via h12]}\n",
	  "values here" },
	{ "nodes:\n  'h${i}': {for: {i: 1-24000}, kind: guest, command: cat, ready: {console: "
	  "'${i}"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaa'}}\n",
	  "values here" },
	{ "nodes:\n  'h${i}': {for: {i: 1-24000}, exec: "
	  "'${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}${i}'}\n",
	  "values here" },
	{ "nodes:\n  'h${i}': {for: {i: 1-24000}, exec: "
	  "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx${i}'}\n",
	  "MiB of text" },
	{ "bridges: {b: }\nnodes:\n  'h${i}': {for: {i: 1-1024}, interfaces: {eth0: b}}\n",
	  "1023" },
};

static void limits_are_told(void **state)
{
	const struct lab_options options = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(limits); i++) {
		struct strbuf all autostr = STRBUF_INIT;
		struct loaded loaded;

		load(&loaded, limits[i].lab, strlen(limits[i].lab), &options);
		assert_int_equal(loaded.r, -EINVAL);
		diag_print(&loaded.diags, &all);
		if (!strstr(all.text, limits[i].words))
			fail_msg("%s\ngives\n%s", limits[i].lab, all.text);
		arena_free(&loaded.arena);
	}
}

/* The same of long lists: `each`, with its number, n times between the two others. */
static const struct {
	const char *before, *each, *after;
	int n;
	const char *words;
} long_ones[] = {
	{ "nodes:\n", "  'h%d-${i}-${j}': {for: {i: 1-24999, j: 1-24999}}\n", "", 10,
	  "10:29: the lab grows to more than 400000 values here\n" },
	{ "bridges: {b: }\nnodes:\n  'h${i}': {for: {i: 1-700}, interfaces: {eth0: {bridge: b, "
	  "ipv6: [",
	  "'fd00::%d', ", "]}}}\n", 700,
	  "3:67: the lab grows to more than 400000 values here (in h565)\n" },
	{ "nodes:\n  'h${i}': {for: {i: 1-1000}, exec: [[", "w%d, ", "]]}\n", 1000,
	  "2:38: the lab grows to more than 400000 values here (in h397)\n" },
	{ "nodes:\n  'h${i}': {for: {i: 1-1000}, kind: guest, command: cat, ready: {console: '${i}",
	  "w%d", "'}}\n", 400, "2:75: the lab grows to more than 400000 values here (in h528)\n" },
	{ "groups: {g: {env: {", "A%d: 1, ",
	  "}}}\nnodes:\n  'h${i}': {for: {i: 1-1000}, group: g, env: {B: 1}}\n", 4000,
	  "3:46: the lab grows to more than 400000 values here (in h80)\n" },
	{ "nodes:\n  'h${i}': {for: {i: 1-1000}, exec: [[", "'${i}%01000d', ", "]]}\n", 20,
	  "2:8103: ${…} makes more than 16 MiB of text (in h836)\n" },
};

static void limits_of_long_ones(void **state)
{
	const struct lab_options options = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(long_ones); i++) {
		struct strbuf text autostr = STRBUF_INIT;
		struct strbuf found autostr = STRBUF_INIT;
		struct loaded loaded;
		const char *told;

		strbuf_puts(&text, long_ones[i].before);
		for (int n = 0; n < long_ones[i].n; n++)
			strbuf_printf(&text, long_ones[i].each, n);
		strbuf_puts(&text, long_ones[i].after);
		load(&loaded, text.text, text.len, &options);
		assert_int_equal(loaded.r, -EINVAL);
		errors_of(&loaded, &found);
		told = strstr(found.text, long_ones[i].words);
		if (!str_eq(told, long_ones[i].words)) /* nor is there another error after it */
			fail_msg("%zu gives\n%s", i, found.text);
		arena_free(&loaded.arena);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_error),
		cmocka_unit_test(floods_end),
		cmocka_unit_test(limits_are_told),
		cmocka_unit_test(limits_of_long_ones),
	};

	errors_json = argc > 1 ? argv[1] : "tests/data/errors.json";
	return cmocka_run_group_tests_name("errors", tests, NULL, NULL);
}
