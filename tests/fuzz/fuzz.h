#pragma once
/*
 * fuzz.h - the one function of a fuzz target: libFuzzer calls it, and replay.c does.
 */
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
