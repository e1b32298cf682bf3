/* The table of verdicts: keys, eviction, limits, counts, and threads. */
#include "flight/verdicts.h"
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct verdicts *verdicts;

static void setup(void)
{
    verdicts = verdicts_new(1 << 20);
    ck_assert_ptr_nonnull(verdicts);
}

static void teardown(void)
{
    verdicts_free(&verdicts);
}

/* A verdict that is told from others by its only relation. */
static struct verdict *verdict_of(uint32_t number, uint32_t reason)
{
    struct verdict_relation relation = {.oid = number, .name = SPAN("t")};
    struct verdict draft = {
        .reason = reason, .written_reason = VERDICT_REASONS, .reads = &relation, .reads_count = 1};
    struct verdict *verdict = NULL;
    ck_assert_int_eq(verdict_new(&draft, &verdict), OK);
    return verdict;
}

static bool store(const char *key, uint32_t number)
{
    struct verdict *verdict = verdict_of(number, VERDICT_REASONS);
    bool stored = verdicts_store(verdicts, span_text(key), verdict);
    verdict_unref(&verdict);
    return stored;
}

/* The number of a key's verdict; 0: there is none. */
static uint32_t number_of(const char *key)
{
    struct verdict *verdict = verdicts_find(verdicts, span_text(key));
    uint32_t number = verdict == NULL ? 0 : verdict->reads[0].oid;
    verdict_unref(&verdict);
    return number;
}

static struct verdicts_stats stats(void)
{
    struct verdicts_stats now;
    verdicts_stats(verdicts, &now);
    return now;
}

TEST(a_verdict_is_found_by_its_whole_key)
{
    ck_assert(store("a", 1) && store("ab", 2));
    ck_assert_uint_eq(number_of("a"), 1);
    ck_assert_uint_eq(number_of("ab"), 2);
    ck_assert_uint_eq(number_of("b"), 0);
    ck_assert_uint_eq(stats().table.entries, 2);
    ck_assert_uint_eq(stats().table.hits, 2);
    ck_assert_uint_eq(stats().table.misses, 1);
}

TEST(a_newer_verdict_takes_the_place)
{
    ck_assert(store("a", 1));
    struct verdict *old = verdicts_find(verdicts, SPAN("a"));
    ck_assert(store("a", 2));
    ck_assert_uint_eq(number_of("a"), 2);
    ck_assert_uint_eq(old->reads[0].oid, 1);
    verdict_unref(&old);
    ck_assert_uint_eq(stats().table.entries, 1);
}

TEST(reasons_are_counted)
{
    struct verdict *verdict = verdict_of(1, VERDICT_REASON_TRIGGER);
    ck_assert(verdicts_store(verdicts, SPAN("a"), verdict));
    verdict_unref(&verdict);
    number_of("a");
    ck_assert(store("b", 1));
    ck_assert_uint_eq(stats().reasons[VERDICT_REASON_TRIGGER], 2);
    ck_assert_uint_eq(stats().reasons[VERDICT_REASONS], 1);
}

static void fill(uint32_t from, uint32_t to)
{
    char key[32];
    for (uint32_t i = from; i < to; i++) {
        snprintf(key, sizeof(key), "key %u", i);
        ck_assert(store(key, i));
        ck_assert_uint_eq(number_of("used"), 1);
    }
}

TEST(memory_is_bounded_and_what_is_used_stays)
{
    ck_assert(store("used", 1));
    fill(2, 20000);
    struct digests_stats now = stats().table;
    ck_assert_uint_le(now.bytes, 1 << 20);
    ck_assert_uint_gt(now.bytes, (1 << 20) * 3 / 4);
    ck_assert_uint_eq(now.entries + now.evicted, now.stored);
    ck_assert_uint_gt(now.evicted, 0);
}

TEST(a_smaller_limit_evicts_at_once)
{
    ck_assert(store("used", 1));
    fill(2, 2000);
    verdicts_bound(verdicts, VERDICTS_BYTES_MIN);
    ck_assert_uint_le(stats().table.bytes, VERDICTS_BYTES_MIN);
    ck_assert_uint_eq(stats().table.bytes_max, VERDICTS_BYTES_MIN);
    verdicts_clear(verdicts);
    ck_assert_uint_eq(stats().table.entries, 0);
    ck_assert_uint_eq(stats().table.bytes, 0);
}

TEST(what_is_too_large_is_not_kept)
{
    uint8_t *key = calloc(1, VERDICTS_KEY_MAX + 1);
    struct verdict *verdict = verdict_of(1, VERDICT_REASONS);
    struct verdicts *large = verdicts_new(64 << 20);
    ck_assert(verdicts_store(large, span_of(key, VERDICTS_KEY_MAX), verdict));
    ck_assert(!verdicts_store(large, span_of(key, VERDICTS_KEY_MAX + 1), verdict));
    ck_assert(!verdicts_store(large, SPAN_NONE, verdict));
    ck_assert(!verdicts_store(verdicts, span_of(key, VERDICTS_KEY_MAX), verdict));
    ck_assert_uint_eq(stats().table.entries, 0);
    verdicts_free(&large);
    ck_assert_uint_eq(verdict->references, 1);
    verdict_unref(&verdict);
    free(key);
}

static void *work(void *argument)
{
    uint32_t seed = *(uint32_t *)argument;
    char key[32];
    for (uint32_t i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t number = 1 + (seed >> 8) % 500;
        snprintf(key, sizeof(key), "key %u", number);
        if ((seed >> 20) % 4 == 0)
            store(key, number);
        uint32_t found = number_of(key);
        ck_assert(found == 0 || found == number);
        if ((seed >> 16) % 4096 == 0)
            verdicts_clear(verdicts);
    }
    return NULL;
}

TEST(threads_find_what_others_store)
{
    pthread_t threads[4];
    uint32_t seeds[4] = {1, 2, 3, 4};
    verdicts_bound(verdicts, VERDICTS_BYTES_MIN);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &seeds[i]), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_gt(stats().table.hits, 0);
    ck_assert_uint_gt(stats().table.evicted, 0);
}

int main(void)
{
    const TTest *const tests[] = {
        a_verdict_is_found_by_its_whole_key,
        a_newer_verdict_takes_the_place,
        reasons_are_counted,
        memory_is_bounded_and_what_is_used_stays,
        a_smaller_limit_evicts_at_once,
        what_is_too_large_is_not_kept,
        threads_find_what_others_store,
        NULL,
    };
    return unit_run("verdicts", tests, setup, teardown);
}
