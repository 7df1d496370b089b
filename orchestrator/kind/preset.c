/* preset.c - presets: their files, their nodes' keys, and the steps of a guest; see preset.h. */
#include "kind/preset.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
#define FILES_MAX  16

/* ---- what a node of a preset can say */

static const struct field disk_fields[] = {
	{ .name = "file",
	  .type = FIELD_PATH,
	  .flags = FIELD_LATE | FIELD_REQUIRED,
	  .offset = offsetof(struct preset_disk, file),
	  .help = "the image" },
	{ .name = "keep",
	  .type = FIELD_BOOL,
	  .offset = offsetof(struct preset_disk, keep),
	  .preset = "false",
	  .help = "what the guest writes goes to the image itself" },
	{ .name = "format",
	  .type = FIELD_TEXT,
	  .offset = offsetof(struct preset_disk, format),
	  .help = "of the image, for a program that would have to guess, as QEMU: raw, qcow2" },
	{ 0 },
};

const struct field preset_spec_fields[] = {
	{ .name = "cpus",
	  .type = FIELD_UINT,
	  .offset = offsetof(struct preset_spec, cpus),
	  .min = 1,
	  .max = 255,
	  .preset = "1",
	  .help = "virtual processors" },
	{ .name = "memory",
	  .type = FIELD_SIZE,
	  .offset = offsetof(struct preset_spec, memory),
	  .min = 1 << 20,
	  .max = UINT64_C(1) << 40,
	  .preset = "256M",
	  .help = "memory: 512M, 4G" },
	{ .name = "kernel",
	  .type = FIELD_PATH,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct preset_spec, kernel),
	  .help = "a kernel to boot directly" },
	{ .name = "initrd",
	  .type = FIELD_PATH,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct preset_spec, initrd),
	  .help = "its initial RAM disk" },
	{ .name = "append",
	  .type = FIELD_TEXT,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct preset_spec, append),
	  .help = "its command line" },
	{ .name = "disk",
	  .type = FIELD_MAP,
	  .offset = offsetof(struct preset_spec, disk),
	  .fields = disk_fields,
	  .scalar = "file",
	  .help = "a disk image; what the guest writes is thrown away" },
	{ .name = "extra",
	  .type = FIELD_TEXTS,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct preset_spec, extra),
	  .count_offset = offsetof(struct preset_spec, n_extra),
	  .help = "more arguments, added at the end" },
	{ 0 },
};

/* ---- what a preset's file can say */

static int parse_template(struct loader *loader, const struct field *field,
			  const struct tnode *node, void *value)
{
	(void)field;
	return template_parse(loader, node, value);
}

/* NODE.NAME in the run directory, where NODE.log is, and NODE.SERVICE.log. */
static bool file_name_fine(const char *name)
{
	size_t len = strlen(name);

	return strspn(name, NAME_CHARS ".") == len && len > 0 && len < 64 && *name != '.' &&
	       !str_eq(name, "log") && (len < 4 || !str_eq(name + len - 4, ".log"));
}

static int parse_files(struct loader *loader, const struct field *field, const struct tnode *node,
		       void *value)
{
	struct preset_file *files;
	int r = 0;

	if (node->kind != TNODE_MAP || node->n > FILES_MAX)
		return load_error(loader, node->pos, "\"%s\" is a mapping of at most %d names",
				  field->name, FILES_MAX);
	files = arena_calloc(loader->arena, (size_t)node->n, sizeof *files);
	for (int i = 0; i < node->n; i++) {
		files[i].name = node->pairs[i].key->s;
		if (!file_name_fine(files[i].name))
			r = load_error(loader, node->pairs[i].key->pos,
				       "\"%s\" cannot name a file here",
				       load_shown(loader, files[i].name));
		if (template_parse(loader, node->pairs[i].value, &files[i].content))
			r = -EINVAL;
	}
	*(struct preset_file **)value = files;
	*field_count(field, value) = r ? 0 : node->n;
	return r;
}

static const char *const handoffs[] = { "fd", "unattached", "name", NULL };
static const char *const places[] = { "host", "tap", NULL };
static const char *const overlays[] = { "copy", "snapshot", NULL };

static const struct field preset_fields[] = {
	{ .name = "help",
	  .type = FIELD_STRING,
	  .offset = offsetof(struct preset, kind.node.help),
	  .help = "what it is, in a line" },
	{ .name = "command",
	  .type = FIELD_CUSTOM,
	  .flags = FIELD_REQUIRED,
	  .offset = offsetof(struct preset, command),
	  .parse = parse_template,
	  .schema = "{\"type\": [\"string\", \"array\"]}",
	  .help = "the command line" },
	{ .name = "vnet-hdr",
	  .type = FIELD_BOOL,
	  .offset = offsetof(struct preset, kind.vnet_hdr),
	  .preset = "false",
	  .help = "what vnet-hdr: auto of its interfaces means" },
	{ .name = "handoff",
	  .type = FIELD_CHOICE,
	  .offset = offsetof(struct preset, kind.handoff),
	  .choices = handoffs,
	  .preset = "fd",
	  .help = "how it gets its TAPs, where an interface does not say" },
	{ .name = "netns",
	  .type = FIELD_CHOICE,
	  .offset = offsetof(struct preset, netns),
	  .choices = places,
	  .preset = "host",
	  .help = "where it runs: in the host's namespace, or where its TAPs are, as one must that "
		  "looks them up by name" },
	{ .name = "queues",
	  .type = FIELD_UINT,
	  .offset = offsetof(struct preset, kind.queues_max),
	  .min = 1,
	  .max = TAP_QUEUES_MAX,
	  .help = "the most that an interface of it can have" },
	{ .name = "vhost",
	  .type = FIELD_BOOL,
	  .offset = offsetof(struct preset, kind.vhost),
	  .preset = "false",
	  .help = "whether it takes vhost file descriptors" },
	{ .name = "disk",
	  .type = FIELD_CHOICE,
	  .offset = offsetof(struct preset, overlay),
	  .choices = overlays,
	  .preset = "copy",
	  .help = "what a throwaway disk is: a copy of ours, which stays until the lab goes, or a "
		  "snapshot of the program's own" },
	{ .name = "files",
	  .type = FIELD_CUSTOM,
	  .offset = offsetof(struct preset, files),
	  .count_offset = offsetof(struct preset, n_files),
	  .parse = parse_files,
	  .schema = "{\"type\": \"object\"}",
	  .help = "files in the lab's run directory, by name, written before it starts" },
	{ 0 },
};

/* ---- steps */

static const struct preset *preset_of(const struct node *node)
{
	return (const struct preset *)(const void *)node->kind;
}

static const char *file_name(struct planner *planner, const struct planned_node *planned,
			     const char *name)
{
	return arena_printf(planner->arena, "%s.%s", planned->node->name, name);
}

const char *preset_file_path(struct planner *planner, const struct planned_node *planned,
			     const char *name)
{
	return arena_printf(planner->arena, STEP_RUN "/%s", file_name(planner, planned, name));
}

static unsigned uses_of(const struct preset *preset)
{
	unsigned uses = preset->command.uses;

	for (int i = 0; i < preset->n_files; i++)
		uses |= preset->files[i].content.uses;
	return uses;
}

static void preset_prepare(struct planner *planner, struct planned_node *planned)
{
	const struct node *node = planned->node;
	const struct preset *preset = preset_of(node);
	const struct preset_spec *spec = node->spec;

	if (spec->disk.format.s && !(uses_of(preset) & USES_FORMAT))
		diag_add(planner->diags, spec->disk.format.pos, "%s does not use \"format\"",
			 node->kind->name);
	if (spec->disk.file.s && !spec->disk.keep && preset->overlay == OVERLAY_COPY) {
		planned->disk_fd = planner->plan->fd_end++;
		planned->disk_guest_fd = planned->guest_fd_end++;
		STEP(planner, OP_DISK, SPACE_HOST, node->name, spec->disk.file.pos,
		     (struct op_disk){ .image = late_fill(planner, node, &spec->disk.file),
				       .fd = planned->disk_fd });
	}
	for (int i = 0; i < preset->n_files; i++) {
		const struct preset_file *file = &preset->files[i];
		autostr struct strbuf text = STRBUF_INIT;
		struct words lines = { 0 };

		template_fill(planner, preset, planned, &file->content, &lines);
		for (int k = 0; k < lines.n; k++)
			strbuf_printf(&text, "%s\n", lines.v[k]);
		STEP(planner, OP_FILE, SPACE_HOST, node->name, node->pos,
		     (struct op_file){ .name = file_name(planner, planned, file->name),
				       .text = arena_text(planner->arena, &text) });
	}
}

static struct program preset_command(struct planner *planner, struct planned_node *planned)
{
	const struct preset *preset = preset_of(planned->node);
	struct words words = { 0 };

	template_fill(planner, preset, planned, &preset->command, &words);
	return (struct program){ .argv = words.v, .argc = words.n };
}

/* ---- reading one */

static bool preset_uses(const struct node_kind *kind, const char *key)
{
	return uses_of((const struct preset *)(const void *)kind) >>
		       (field_find(preset_spec_fields, key) - preset_spec_fields) &
	       1;
}

static const struct node_kind *preset_read(struct arena *arena, const char *name,
					   struct diags *diags)
{
	static const struct yaml_file what = { .name = "a preset",
					       .keys = "command:, vnet-hdr: …",
					       .empty = "a preset has command: at least" };
	static const struct node_kind *const no_list[] = { NULL };
	static const struct node_kinds none = { .list = no_list };
	static const struct lab_options no_options;
	struct loader loader = {
		.arena = arena, .diags = diags, .kinds = &none, .options = &no_options
	};
	struct preset *preset = arena_alloc(arena, sizeof *preset);
	const struct fieldset set = { preset_fields, preset };
	const struct tnode *root = yaml_load(diags, &what);

	if (!root || fields_parse(&loader, &set, 1, root, root) || diags->total)
		return NULL;
	if (!preset->command.n) {
		(void)load_error(&loader, root->pos, "\"command\" is empty");
		return NULL;
	}
	preset->diags = diags;
	preset->kind.node = (struct node_kind){ .name = name,
						.help = preset->kind.node.help,
						.fields = preset_spec_fields,
						.spec_size = sizeof(struct preset_spec),
						.guest = true,
						.preset = true,
						.uses = preset_uses };
	preset->kind.in_tap_netns = preset->netns;
	preset->kind.prepare = preset_prepare;
	preset->kind.command = preset_command;
	return &preset->kind.node;
}

static const struct preset_text *preset_built_in(const char *name)
{
	for (const struct preset_text *text = preset_texts; text->name; text++)
		if (str_eq(text->name, name))
			return text;
	return NULL;
}

/* presets/NAME.yaml beside the lab, or ours of that name. */
static int preset_open(const struct lab *lab, const char *name, struct diags *diags,
		       const struct node_kind **ret_kind)
{
	struct arena *arena = lab->arena;
	const struct preset_text *ours = preset_built_in(name);
	const char *slash = strrchr(lab->file, '/'), *path, *data;
	autostr struct strbuf text = STRBUF_INIT;
	size_t len;
	int r;

	*ret_kind = NULL;
	if (!*name || strspn(name, NAME_CHARS) != strlen(name) || strlen(name) > NAME_MAX_LEN)
		return 0;
	path = arena_printf(arena, "%.*s" PRESETS_DIR "%s.yaml",
			    slash ? (int)(slash - lab->file) + 1 : 0, lab->file, name);
	r = io_read_file(AT_FDCWD, path, PRESET_MAX, &text);
	if (r == 0) {
		data = arena_strndup(arena, text.text, text.len);
		len = text.len;
	} else if (r != -ENOENT && r != -ENOTDIR) {
		diag_add(diag_file(diags, path, "", 0), (struct pos){ 0 }, "cannot be read: %s",
			 strerror(-r));
		return -EINVAL;
	} else if (ours) {
		path = arena_printf(arena, PRESETS_DIR "%s.yaml", name);
		data = ours->text;
		len = ours->len;
	} else {
		return 0;
	}
	*ret_kind =
		preset_read(arena, arena_strdup(arena, name), diag_file(diags, path, data, len));
	return *ret_kind ? 0 : -EINVAL;
}

bool kind_preset(struct arena *arena, int i, const char **ret_name, const char **ret_program)
{
	const struct preset_text *text = &preset_texts[i];
	struct diags diags = {
		.arena = arena, .file = text->name, .text = text->text, .text_len = text->len
	};
	const struct node_kind *kind = text->name ? preset_read(arena, text->name, &diags) : NULL;

	if (!kind)
		return false;
	*ret_name = text->name;
	*ret_program = template_program(&((const struct preset *)(const void *)kind)->command);
	return true;
}

extern const struct node_kind *const kind_list[]; /* made by presets/embed */
const struct node_kinds kinds = { .list = kind_list, .preset = preset_fields, .open = preset_open };

/* ---- files that a guest must find */

static void check_file(const struct lab *lab, const struct text *text, struct diags *diags)
{
	const char *s = text->s;
	char path[4096];

	if (!s)
		return;
	if (str_starts(s, STEP_DIR))
		s += strlen(STEP_DIR) + (s[strlen(STEP_DIR)] == '/');
	if (strchr(s, LATE_OPEN)) /* known to the plan only: the step tells */
		return;
	if (snprintf(path, sizeof path, "%s%s%s", *s == '/' ? "" : lab->dir, *s == '/' ? "" : "/",
		     s) >= (int)sizeof path)
		errno = ENAMETOOLONG;
	else if (access(path, R_OK) == 0)
		return;
	diag_add(diags, text->pos, "%s: %s", s, strerror(errno));
}

int kind_check_files(const struct lab *lab, struct diags *diags)
{
	for (int i = 0; i < lab->n_nodes; i++) {
		const struct preset_spec *spec = lab->nodes[i]->spec;

		if (!lab->nodes[i]->kind->preset)
			continue;
		check_file(lab, &spec->kernel, diags);
		check_file(lab, &spec->initrd, diags);
		check_file(lab, &spec->disk.file, diags);
	}
	return diags->total ? -EINVAL : 0;
}
