#pragma once
/* digest.h - SHA-256 cut to 128 bits; equal digests are taken as equal contents. */
#include "base/span.h"

#define DIGEST_SIZE 16

struct digest {
    uint8_t bytes[DIGEST_SIZE];
};

struct digest digest_of(struct span bytes);
static inline bool digest_equal(const struct digest *a, const struct digest *b)
{
    return memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}
