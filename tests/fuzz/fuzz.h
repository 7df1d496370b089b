/* fuzz.h - what a target is: judge() takes any bytes, and aborts when it was wrong about them. */
#ifndef TAPNET_TESTS_FUZZ_H
#define TAPNET_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

void judge(const uint8_t *data, size_t size);
/* A lab's file, read, checked and planned; the plan, or the errors, printed. */
void judge_lab(const char *path);
/* The lowest fd that is free. */
int lowest_free(void);

#endif
