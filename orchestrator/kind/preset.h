/* preset.h - presets: kinds of guests that a file describes, of ours or beside the lab.
 *
 * A file of presets/ says what its program can do, and writes the command line, and files for it,
 * in a small language of lists (template.c): the interfaces are gone through, and what depends on a
 * key stands there only when the node has it.
 */
#ifndef TAPNET_KIND_PRESET_H
#define TAPNET_KIND_PRESET_H

#include "kind/kind.h"
#include "model/load.h"

/* Those that are built in: made of presets/ by presets/embed. */
struct preset_text {
	const char *name, *text;
	size_t len;
};
extern const struct preset_text preset_texts[]; /* ends with one without a name */

#define PRESET_KIND(name_)                                                                         \
	{                                                                                          \
		.name = (name_), .fields = preset_spec_fields,                                     \
		.spec_size = sizeof(struct preset_spec), .guest = true, .preset = true             \
	}

/* What a node of such a kind says: one table for all of them. */
struct preset_disk {
	struct text file;
	bool keep; /* what the guest writes */
	struct text format;
};

struct preset_spec {
	unsigned cpus;
	uint64_t memory; /* bytes */
	struct text kernel, initrd, append;
	struct preset_disk disk;
	struct text *extra;
	int n_extra;
};
extern const struct field preset_spec_fields[];

struct part; /* template.c */

struct template
{
	struct part *parts;
	int n;
	unsigned uses; /* a bit for each of preset_spec_fields that it mentions, and: */
};

#define USES_FORMAT (1u << 31) /* disk.format */

struct preset_file {
	const char *name;
	struct template content; /* a line each */
};

enum preset_overlay { OVERLAY_COPY, OVERLAY_SNAPSHOT };

struct preset {
	struct kind kind;    /* first, so that one is the other */
	struct diags *diags; /* of its file */
	struct template command;
	struct preset_file *files;
	int n_files;
	int netns;   /* 1: where its TAPs are */
	int overlay; /* enum preset_overlay: whose a throwaway disk is, ours or the program's */
};

/* ---- template.c */

/* A list of a preset's file. 0, or -EINVAL with its errors told. */
int template_parse(struct loader *loader, const struct tnode *node, struct template *ret_template);

struct words {
	const char **v;
	int n, cap;
};

/* Adds what the template makes for a node. Errors go to the planner's diags, or to the preset's. */
void template_fill(struct planner *planner, const struct preset *preset,
		   const struct planned_node *planned, const struct template *template,
		   struct words *words);
/* The first word, where nothing is to be filled in; else "". */
const char *template_program(const struct template *template);
/* The path of one of its files. */
const char *preset_file_path(struct planner *planner, const struct planned_node *planned,
			     const char *name);

#endif
