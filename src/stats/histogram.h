#pragma once
/*
 * histogram.h - durations, counted in buckets that are an eighth of a power of two wide.
 *
 * Plain values of one thread.  Adding is a count of leading zeros and an increment.  A value read
 * from a bucket is right to a sixteenth.  Merge histograms for totals.
 */
#include "base/compiler.h"

#include <stdint.h>

/* Buckets for microseconds below 2^32; longer durations count in the last. */
#define HISTOGRAM_BUCKETS 240u

struct histogram {
    uint32_t counts[HISTOGRAM_BUCKETS];
};

/** Returns the bucket of a value.  The first eight buckets hold one value each. */
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

/* What many histograms counted, since a relay's start: never reset, so that differences make sense.
 */
struct histogram_sum {
    uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_sum_add(struct histogram_sum *sum, const struct histogram *more);
/** Returns the lowest value that counts in the bucket. */
uint64_t histogram_bucket_start(uint32_t bucket);

void histogram_merge(struct histogram *sum, const struct histogram *more);
uint64_t histogram_count(const struct histogram *histogram);
/** Returns the quantile of `thousandths` / 1000: the middle of its bucket; 0 if the histogram is
 *  empty. */
uint64_t histogram_quantile(const struct histogram *histogram, uint32_t thousandths);
