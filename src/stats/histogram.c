#include "stats/histogram.h"

void histogram_merge(struct histogram *sum, const struct histogram *more)
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

static uint64_t bucket_middle(uint32_t bucket)
{
    if (bucket < 8)
        return bucket;
    uint32_t power = bucket / 8 + 2;
    uint64_t width = UINT64_C(1) << (power - 3);
    return (8 + bucket % 8) * width + width / 2;
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
