#include "stats/histogram.h"

void histogram_merge(struct histogram *sum, const struct histogram *more)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        sum->counts[i] += more->counts[i];
}

void histogram_sum_add(struct histogram_sum *sum, const struct histogram *more)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        sum->counts[i] += more->counts[i];
}

uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += histogram->counts[i];
    return count;
}

/* The width of a bucket beyond the first eight. */
static uint64_t bucket_width(uint32_t bucket)
{
    return UINT64_C(1) << (bucket / 8 - 1);
}

uint64_t histogram_bucket_start(uint32_t bucket)
{
    return bucket < 8 ? bucket : (8 + bucket % 8) * bucket_width(bucket);
}

static uint64_t bucket_middle(uint32_t bucket)
{
    return histogram_bucket_start(bucket) + (bucket < 8 ? 0 : bucket_width(bucket) / 2);
}

uint64_t histogram_quantile(const struct histogram *histogram, uint32_t thousandths)
{
    uint64_t count = histogram_count(histogram);
    uint64_t rank = (count * thousandths + 999) / 1000;
    uint64_t seen = 0;
    if (count == 0)
        return 0;
    rank = MAX_OF(rank, UINT64_C(1));
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= rank)
            return bucket_middle(i);
    }
    return bucket_middle(HISTOGRAM_BUCKETS - 1);
}
