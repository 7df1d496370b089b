/* lab.h - the namespace with the bridges of a lab that is up. */
#ifndef TAPNET_HELPER_LAB_H
#define TAPNET_HELPER_LAB_H

#include <stdint.h>

#include "base/err.h"

/* Asks the lab's worker for its switch's network namespace. fd or -errno. */
int lab_switch(const char *lab, int64_t deadline, struct err *err);

#endif
