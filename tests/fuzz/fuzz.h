/* fuzz.h - what a target is: judge() takes any bytes, and aborts when it was wrong about them. */
#ifndef TAPNET_TESTS_FUZZ_H
#define TAPNET_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

void judge(const uint8_t *data, size_t size);
/* Of a plan that is fine: to print it is not to judge it. */
#ifdef TAPNET_JUDGE
#define PRINT(plan, assume, out) (void)0
#else
#define PRINT(plan, assume, out) plan_print(plan, assume, out)
#endif
/* The lowest fd that is free. */
int lowest_free(void);

#endif
