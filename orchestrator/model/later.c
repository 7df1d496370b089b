/* later.c - tables of what the vocabulary promises and nothing builds yet: for the schema, so that
 * editors know the keys, and for the errors that say "not yet". */
#include "model/vocab.h"

const char *const later_uplink[] = { "nat", NULL };

const struct field later_impair[] = {
	{ .name = "delay", .type = FIELD_DURATION, .help = "each frame waits so long" },
	{ .name = "jitter", .type = FIELD_DURATION, .help = "give or take" },
	{ .name = "loss", .type = FIELD_STRING, .help = "percent of the frames" },
	{ .name = "duplicate", .type = FIELD_STRING, .help = "percent of the frames" },
	{ .name = "reorder", .type = FIELD_STRING, .help = "percent of the frames" },
	{ .name = "corrupt", .type = FIELD_STRING, .help = "percent of the frames" },
	{ .name = "rate", .type = FIELD_STRING, .help = "100mbit, 1gbit" },
	{ .name = "limit", .type = FIELD_UINT, .help = "frames that wait; more are dropped" },
	{ 0 },
};

const struct field later_limits[] = {
	{ .name = "memory", .type = FIELD_SIZE, .help = "512M, 4G" },
	{ .name = "pids", .type = FIELD_UINT, .help = "processes and threads" },
	{ .name = "cpus", .type = FIELD_STRING, .help = "processors; 0.5 is half of one" },
	{ 0 },
};

const struct field later_file[] = {
	{ .name = "content", .type = FIELD_STRING, .help = "what is in it" },
	{ .name = "mode", .type = FIELD_STRING, .help = "0644" },
	{ 0 },
};

const struct field later_cloud_init[] = {
	{ .name = "user-data", .type = FIELD_PATH, .help = "a file" },
	{ .name = "meta-data", .type = FIELD_PATH, .help = "a file; without it from the plan" },
	{ .name = "network-config",
	  .type = FIELD_PATH,
	  .help = "a file; without it from the plan" },
	{ 0 },
};

const struct field later_test[] = {
	{ .name = "node", .type = FIELD_TEXTS, .help = "where it runs; all: in every node" },
	{ .name = "ping",
	  .type = FIELD_TEXTS,
	  .help = "addresses or nodes that must answer; all: every node" },
	{ .name = "exec", .type = FIELD_COMMAND, .help = "a command, run in the node" },
	{ .name = "console",
	  .type = FIELD_STRING,
	  .help = "a regular expression, met by a line of the console" },
	{ .name = "match",
	  .type = FIELD_STRING,
	  .help = "a regular expression, met by the output" },
	{ .name = "exit", .type = FIELD_STRING, .help = "0, another number, or fail" },
	{ .name = "within", .type = FIELD_DURATION, .help = "tried again until then" },
	{ .name = "timeout", .type = FIELD_DURATION, .help = "of one try" },
	{ .name = "link-down",
	  .type = FIELD_TEXTS,
	  .help = "interfaces that are down while it runs" },
	{ .name = "points", .type = FIELD_UINT, .help = "for marks" },
	{ .name = "hint", .type = FIELD_STRING, .help = "shown when it fails" },
	{ 0 },
};
