#pragma once
/*
 * histogram.h - how long things took: counts in buckets that are an eighth of a power of two wide.
 *
 * Plain values of one thread; adding is a count of leading zeros and an increment.  What a bucket
 * says is right to a sixteenth.  Whoever wants totals merges them.
 */
#include "base/compiler.h"

#include <stdint.h>

/* Microseconds up to 2^32: longer ones count as that. */
#define HISTOGRAM_BUCKETS 240u

struct histogram {
    uint32_t counts[HISTOGRAM_BUCKETS];
};

/** The bucket of a value; the first eight hold one value each. */
static inline uint32_t histogram_bucket(int64_t us)
{
    uint32_t value = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    if (value < 8)
        return value;
    uint32_t power = 31 - (uint32_t)__builtin_clz(value);
    return (power - 2) * 8 + ((value >> (power - 3)) & 7);
}

static inline void histogram_add(struct histogram *histogram, int64_t us)
{
    histogram->counts[histogram_bucket(us)] += 1;
}

void histogram_merge(struct histogram *sum, const struct histogram *more);
uint64_t histogram_count(const struct histogram *histogram);
/** The middle of the bucket that so many of a thousand values do not exceed; 0 when it is empty. */
uint64_t histogram_quantile(const struct histogram *histogram, uint32_t thousandths);
