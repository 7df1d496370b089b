/* controltap.h - what clients ask about TAPs: how their queues are, and to attach or detach one. */
#ifndef TAPNET_RUN_CONTROLTAP_H
#define TAPNET_RUN_CONTROLTAP_H

#include <json-c/json.h>

#include "run/loop.h"

/* The answers, the caller's to put; with "error" when something is wrong. */
struct json_object *control_taps(struct loop *loop, struct json_object *request);
struct json_object *control_queue(struct loop *loop, struct json_object *request);

#endif
