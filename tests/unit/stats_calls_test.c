/* Counts of statements by fingerprint and route: stats/stats_calls.h. */
#include "stats/stats_calls.h"
#include "unit.h"

#include <pthread.h>
#include <stdio.h>

static struct stats_calls *calls;

static void setup(void)
{
    calls = stats_calls_new();
    ck_assert_ptr_nonnull(calls);
    stats_calls_bound(calls, 100);
}

static void teardown(void)
{
    stats_calls_free(&calls);
}

static void add(uint64_t fingerprint, const char *database, int64_t at)
{
    struct stats_call_key key = {fingerprint, database, "*", "main"};
    struct stats_call call = {.rows = 2, .bytes = 10, .took_us = 100, .waited_us = 10};
    stats_calls_add(calls, &key, SPAN("select $1"), &call, (moment){at});
}

static void share(uint64_t fingerprint, enum stats_share what, const char *why)
{
    struct stats_call_key key = {fingerprint, "*", "*", "main"};
    stats_calls_share(calls, &key, SPAN("select $1"), what, why, (moment){1});
}

/* Sums of all entries, and the set of fingerprints below 64. */
struct seen {
    uint64_t entries, calls, rows, hits, joins, bypassed, which;
    char reasons[256];
};

static void look(void *argument, const struct stats_call_view *view)
{
    struct seen *seen = argument;
    ck_assert(span_is(view->text, "select $1"));
    ck_assert_uint_eq(histogram_count(view->took), view->calls);
    ck_assert_uint_eq(histogram_count(view->wait), view->calls);
    seen->entries += 1;
    seen->calls += view->calls;
    seen->rows += view->rows;
    seen->hits += view->hits;
    seen->joins += view->joins;
    seen->bypassed += view->bypassed;
    seen->which |= UINT64_C(1) << (view->key.fingerprint & 63);
    for (uint32_t i = 0; view->reasons[i].word != NULL; i++) {
        size_t used = strlen(seen->reasons);
        snprintf(seen->reasons + used, sizeof(seen->reasons) - used, "%s=%u ",
                 view->reasons[i].word, (unsigned)view->reasons[i].count);
    }
}

static struct seen all(void)
{
    struct seen seen = {0};
    stats_calls_look(calls, look, &seen);
    return seen;
}

TEST(calls_add_up_by_fingerprint_and_route)
{
    add(1, "a", 1);
    add(1, "a", 2);
    add(1, "b", 3);
    add(2, "a", 4);
    struct seen seen = all();
    ck_assert_uint_eq(seen.entries, 3);
    ck_assert_uint_eq(seen.calls, 4);
    ck_assert_uint_eq(seen.rows, 8);
}

TEST(what_cache_rules_did_is_counted)
{
    share(1, STATS_HIT, NULL);
    share(1, STATS_JOIN, NULL);
    share(1, STATS_BYPASS, "state");
    share(1, STATS_BYPASS, "writes");
    share(1, STATS_BYPASS, "state");
    struct seen seen = all();
    ck_assert_uint_eq(seen.entries, 1);
    ck_assert(seen.hits == 1 && seen.joins == 1 && seen.bypassed == 3 && seen.calls == 0);
    ck_assert_str_eq(seen.reasons, "state=2 writes=1 ");
}

TEST(further_reasons_count_as_other)
{
    static const char *const words[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
    for (size_t i = 0; i < 9; i++)
        share(1, STATS_BYPASS, words[i]);
    ck_assert_str_eq(all().reasons, "a=1 b=1 c=1 d=1 e=1 f=1 g=1 other=2 ");
}

TEST(the_one_counted_longest_ago_goes)
{
    struct stats_calls_totals totals;
    stats_calls_bound(calls, 3);
    for (uint64_t i = 1; i <= 3; i++)
        add(i << 60 | i, "*", (int64_t)i);
    add(UINT64_C(1) << 60 | 1, "*", 4);
    add(UINT64_C(4) << 60 | 4, "*", 5);
    struct seen seen = all();
    ck_assert_uint_eq(seen.which, 1 << 1 | 1 << 3 | 1 << 4);
    stats_calls_bound(calls, 1);
    ck_assert_uint_eq(all().which, 1 << 4);
    stats_calls_total(calls, &totals);
    ck_assert(totals.entries == 1 && totals.entries_max == 1 && totals.evicted == 3);
}

TEST(reset_and_no_limit_remove_all)
{
    add(1, "*", 1);
    stats_calls_reset(calls);
    ck_assert_uint_eq(all().entries, 0);
    add(1, "*", 1);
    stats_calls_bound(calls, 0);
    ck_assert_uint_eq(all().entries, 0);
    add(1, "*", 1);
    ck_assert_uint_eq(all().entries, 0);
}

static void *work(void *argument)
{
    uint64_t seed = *(const uint64_t *)argument;
    for (int i = 0; i < 20000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        add((seed >> 32) % 200 * UINT64_C(0x9e3779b97f4a7c15), "*", i);
        if (i % 5000 == 0)
            stats_calls_reset(calls);
    }
    return NULL;
}

TEST(threads_count_in_one_table)
{
    pthread_t threads[4];
    uint64_t seeds[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &seeds[i]), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_le(all().entries, 100);
    ck_assert_uint_gt(all().entries, 0);
}

int main(void)
{
    const TTest *const tests[] = {
        calls_add_up_by_fingerprint_and_route,
        what_cache_rules_did_is_counted,
        further_reasons_count_as_other,
        the_one_counted_longest_ago_goes,
        reset_and_no_limit_remove_all,
        threads_count_in_one_table,
        NULL,
    };
    return unit_run("stats_calls", tests, setup, teardown);
}
