#pragma once
/*
 * histogram.h - counts of durations in buckets at most 1.6 % wide, in constant memory.
 */
#include <stdint.h>

enum {
    HISTOGRAM_BITS = 6, /* 64 buckets per power of two */
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_BITS) << HISTOGRAM_BITS,
};

struct histogram {
    uint64_t count;
    uint64_t max;
    double sum;
    uint32_t buckets[HISTOGRAM_BUCKETS];
};

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    int shift = 63 - HISTOGRAM_BITS - __builtin_clzll(value | 1);
    if (shift < 0)
        shift = 0;
    uint64_t index = ((uint64_t)shift << HISTOGRAM_BITS) + (value >> shift);
    histogram->buckets[index < HISTOGRAM_BUCKETS ? index : HISTOGRAM_BUCKETS - 1]++;
    histogram->count++;
    histogram->sum += (double)value;
    if (value > histogram->max)
        histogram->max = value;
}

static inline double histogram_mean(const struct histogram *histogram)
{
    return histogram->count > 0 ? histogram->sum / (double)histogram->count : 0;
}

/** The middle of the bucket in which the quantile lies. */
static inline double histogram_at(const struct histogram *histogram, double quantile)
{
    double wanted = quantile * (double)histogram->count;
    uint64_t seen = 0;
    for (uint64_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen == 0 || (double)seen < wanted)
            continue;
        uint64_t shift = i >> HISTOGRAM_BITS;
        if (shift > 0)
            shift--;
        uint64_t low = (i - (shift << HISTOGRAM_BITS)) << shift;
        return (double)low + (double)((1ull << shift) - 1) / 2;
    }
    return (double)histogram->max;
}
