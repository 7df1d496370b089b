/* list.c - every lab of the user. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "cli/cli.h"

enum { LIST_FORMAT };
const struct opt list_opts[] = {
	{ "format", 0, "text|json", "for people, or for programs" },
	{ 0 },
};

struct listing {
	struct json_object *json; /* an array; NULL: for people */
	struct strbuf text;
	int n;
};

static void list_json(struct listing *listing, const char *name, const char *state,
		      const struct journal *journal)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "lab", json_object_new_string(name));
	json_object_object_add(o, "state", json_object_new_string(state));
	if (journal->head) {
		json_object_object_add(o, "nodes", json_object_new_int(journal->plan->n_nodes));
		json_object_object_add(o, "created", json_object_new_int64(journal->meta.created));
		json_object_object_add(o, "file", json_object_new_string(journal->meta.file));
	}
	json_object_array_add(listing->json, o);
}

static void list_text(struct listing *listing, const char *name, const char *state,
		      const struct journal *journal)
{
	char since[32];

	if (!listing->n)
		strbuf_printf(&listing->text, "%-20s %-10s %5s  %-12s %s\n", "LAB", "STATE",
			      "NODES", "SINCE", "FILE");
	strbuf_printf(&listing->text, "%-20s %-10s ", name, state);
	if (journal->head) {
		strbuf_printf(&listing->text, "%5d  %-12s ", journal->plan->n_nodes,
			      cli_duration((int64_t)time(NULL) - journal->meta.created, since));
		strbuf_safe(&listing->text, journal->meta.file, strlen(journal->meta.file));
	} else {
		strbuf_printf(&listing->text, "%5s  %-12s -", "-", "-");
	}
	if (str_eq(state, "dead"))
		strbuf_puts(&listing->text, "  (tapnet-lab gc)");
	strbuf_puts(&listing->text, "\n");
}

static int list_one(const char *name, void *arg)
{
	struct running running autorunning = RUNNING_NONE;
	struct listing *listing = arg;
	const char *state;
	struct err err;
	bool read;

	if (labdir_open(name, false, &running.dir, &err) < 0)
		return 0; /* it went meanwhile, or is nothing of ours */
	read = journal_open(running.dir.fd, &running.journal, &err) == 0;
	state = cli_state(&running, read);
	if (listing->json)
		list_json(listing, name, state, &running.journal);
	else
		list_text(listing, name, state, &running.journal);
	listing->n++;
	return 0;
}

int verb_list(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct listing listing = { .text = STRBUF_INIT };
	bool json = false;
	struct err err;
	int r;

	while (args_next(&args) >= 0)
		(void)cli_format(&args, &json);
	if (args_status(&args) >= 0)
		return args_status(&args);
	if (json)
		listing.json = json_object_new_array();
	r = labdir_each(list_one, &listing, &err);
	if (json) {
		strbuf_json(&listing.text,
			    json_object_to_json_string_ext(listing.json,
							   JSON_C_TO_STRING_PRETTY |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
		strbuf_puts(&listing.text, "\n");
	}
	if (r < 0)
		cli_error(&err);
	else if (json || listing.n)
		(void)fputs(listing.text.text, stdout);
	else
		cli_complain("no lab is up");
	json_object_put(listing.json);
	strbuf_free(&listing.text);
	return r < 0 ? EXIT_UNABLE : EXIT_FINE;
}
