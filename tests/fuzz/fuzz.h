#pragma once
/*
 * fuzz.h - the one function of a fuzz target: libFuzzer calls it, and replay.c does.
 */
#include "base/check.h"
#include "base/span.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns a copy that ends where its memory does, so that a sanitizer sees a read behind it.  The
 * caller frees *ret_memory. */
static inline struct span fuzz_copy(const uint8_t *data, size_t size, uint8_t **ret_memory)
{
    uint8_t *memory = malloc(size + 1);
    invariant(memory != NULL);
    if (size > 0)
        memcpy(memory + 1, data, size);
    *ret_memory = memory;
    return span_of(memory + 1, size);
}
