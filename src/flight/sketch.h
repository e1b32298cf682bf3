#pragma once
/*
 * sketch.h - how often keys were asked for lately, estimated in a fixed amount of memory.
 *
 * A count-min sketch with four rows and counters of 4 bits, for the admission of TinyLFU.  The
 * counters are halved when ten times as many look-ups as entries were counted, a few words with
 * each look-up, so that no call takes long.  Estimates err upwards only, apart from the halving.
 * Callers lock.  Design: docs/internals/flight.md
 */
#include "base/check.h"

/* The largest estimate. */
#define SKETCH_COUNT_MAX 15u

struct sketch {
    uint64_t *words; /* 16 counters each */
    uint32_t mask;   /* words - 1 */
    uint32_t added;  /* since the last halving began */
    uint32_t halved; /* words that the halving under way has reached; mask + 1: none is under way */
};

/** Makes a sketch for about `entries` entries, a power of two.  False without memory. */
bool sketch_init(struct sketch *sketch, uint32_t entries) MUST_USE;
void sketch_fini(struct sketch *sketch);
/** Counts one look-up of the key with this digest; `entries` is the number of entries now. */
void sketch_add(struct sketch *sketch, uint64_t low, uint64_t high, uint32_t entries);
/** Estimates the look-ups of this key, 0 to SKETCH_COUNT_MAX. */
uint32_t sketch_estimate(const struct sketch *sketch, uint64_t low, uint64_t high);
