/* vocab.h - what the tables of the vocabulary are written with. */
#ifndef TAPNET_MODEL_VOCAB_H
#define TAPNET_MODEL_VOCAB_H

#include <stddef.h>

#include "model/load.h"

#define AT(type, member)	 .offset = offsetof(struct type, member)
#define COUNTED(type, member, n) AT(type, member), .count_offset = offsetof(struct type, n)
#define NOT_YET			 .flags = FIELD_NOT_YET

/* Names, with ${…} beside `for`. */
#define NAMES "^([A-Za-z0-9_.-]|[$][{][^}]*[}])+$"

/* A definition of the schema that schema.c writes out. */
#define SCHEMA_REF(name) "{\"$ref\": \"#/$defs/" name "\"}"

#define FIELD_IMPAIR(what)                                                                         \
	{                                                                                          \
		.name = "impair", .type = FIELD_MAP, NOT_YET, .fields = later_impair, .help = what \
	}

/* trunk and native of a port: of an interface's, or of a wire's ends. */
#define FIELDS_TRUNK(in, what)                                                                     \
	{ .name = "trunk",                                                                         \
	  .type = FIELD_CUSTOM,                                                                    \
	  .flags = FIELD_POS,                                                                      \
	  COUNTED(in, port.trunk, port.n_trunk),                                                   \
	  .pos_offset = offsetof(struct in, port.trunk_pos),                                       \
	  .parse = parse_trunk,                                                                    \
	  .schema = SCHEMA_REF("scalars"),                                                         \
	  .help = what ": 10, 20-29" },                                                            \
	{                                                                                          \
		.name = "native", .type = FIELD_UINT, .flags = FIELD_POS, AT(in, port.native),     \
		.pos_offset = offsetof(struct in, port.native_pos), .min = 1, .max = VLAN_MAX,     \
		.help = "a trunk's VLAN without tag; without it there is none"                     \
	}

extern const struct field later_cloud_init[], later_test[];
extern const char *const later_uplink[];

#endif
