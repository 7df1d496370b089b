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

extern const struct field later_cloud_init[], later_test[];
extern const char *const later_uplink[];

#endif
