#include "stats/histogram.h"
#include "unit.h"

#include <stdlib.h>

TEST(buckets_follow_each_other_without_a_gap)
{
    uint32_t last = 0;
    for (int64_t us = 0; us < 1000000; us++) {
        uint32_t bucket = histogram_bucket(us);
        ck_assert_uint_ge(bucket, last);
        ck_assert_uint_le(bucket, last + 1);
        last = bucket;
    }
}
END_TEST

TEST(what_does_not_fit_is_in_the_outermost_buckets)
{
    ck_assert_uint_eq(histogram_bucket(-5), 0);
    ck_assert_uint_eq(histogram_bucket(UINT32_MAX), HISTOGRAM_BUCKETS - 1);
    ck_assert_uint_eq(histogram_bucket(INT64_MAX), HISTOGRAM_BUCKETS - 1);
}
END_TEST

TEST(quantiles_are_right_to_a_sixteenth)
{
    struct histogram *histogram = calloc(1, sizeof(*histogram));
    ck_assert_ptr_nonnull(histogram);
    ck_assert_uint_eq(histogram_quantile(histogram, 500), 0);
    for (int64_t us = 1; us <= 100000; us++)
        histogram_add(histogram, us);
    static const struct {
        uint32_t thousandths;
        double wanted;
    } cases[] = {{500, 50000}, {950, 95000}, {990, 99000}, {1, 100}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        double found = (double)histogram_quantile(histogram, cases[i].thousandths);
        ck_assert_double_ge(found, cases[i].wanted * 15 / 16);
        ck_assert_double_le(found, cases[i].wanted * 17 / 16);
    }
    free(histogram);
}
END_TEST

TEST(merged_histograms_count_both)
{
    struct histogram one = {{0}}, other = {{0}};
    for (int i = 0; i < 99; i++)
        histogram_add(&one, 3);
    histogram_add(&other, 5000);
    histogram_merge(&one, &other);
    ck_assert_uint_eq(histogram_count(&one), 100);
    ck_assert_uint_eq(histogram_quantile(&one, 990), 3);
    ck_assert_uint_ge(histogram_quantile(&one, 1000), 4600);
}
END_TEST

TESTS("histogram", buckets_follow_each_other_without_a_gap,
      what_does_not_fit_is_in_the_outermost_buckets, quantiles_are_right_to_a_sixteenth,
      merged_histograms_count_both)
