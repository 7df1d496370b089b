/* json.h - objects that are whole or not at all: json-c aborts on what it could not allocate, and an
 * answer that lacks a part says something else. What cannot be built becomes NULL. */
#ifndef TAPNET_RUN_JSON_H
#define TAPNET_RUN_JSON_H

#include <json-c/json.h>

/* Adds a value, which is taken over; without one, or without memory, *o is put and NULL. */
static inline void json_put(struct json_object **o, const char *key, struct json_object *value)
{
	if (*o && value && json_object_object_add(*o, key, value) == 0)
		return;
	json_object_put(value);
	json_object_put(*o);
	*o = NULL;
}

/* The same of an array. */
static inline void json_append(struct json_object **list, struct json_object *value)
{
	if (*list && value && json_object_array_add(*list, value) == 0)
		return;
	json_object_put(value);
	json_object_put(*list);
	*list = NULL;
}

/* An array's null. */
static inline void json_append_null(struct json_object **list)
{
	if (!*list || json_object_array_add(*list, NULL) == 0)
		return;
	json_object_put(*list);
	*list = NULL;
}

#endif
