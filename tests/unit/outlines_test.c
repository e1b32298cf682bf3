/* The table of outlines: texts, eviction, limits, counts, and threads. */
#include "flight/outlines.h"
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct outlines *outlines;

static void setup(void)
{
    outlines = outlines_new(1 << 20);
    ck_assert_ptr_nonnull(outlines);
}

static void teardown(void)
{
    outlines_free(&outlines);
}

static bool store(const char *text)
{
    struct query_outline *outline = NULL;
    ck_assert_int_eq(query_outline_new(span_text(text), &outline), OK);
    bool stored = outlines_store(outlines, span_text(text), outline);
    query_outline_unref(&outline);
    return stored;
}

/* The number of statements that the text's outline has; -1: it is not known. */
static int statements_of(const char *text)
{
    struct query_outline *outline = outlines_find(outlines, span_text(text));
    int count = outline == NULL ? -1 : outline->statements;
    query_outline_unref(&outline);
    return count;
}

TEST(an_outline_is_found_by_its_text)
{
    ck_assert(store("select 1") && store("select 1; select 2") && store(""));
    ck_assert_int_eq(statements_of("select 1"), 1);
    ck_assert_int_eq(statements_of("select 1; select 2"), 2);
    ck_assert_int_eq(statements_of(""), 0);
    ck_assert_int_eq(statements_of("select 2"), -1);
    struct digests_stats stats;
    outlines_stats(outlines, &stats);
    ck_assert_uint_eq(stats.entries, 3);
    ck_assert_uint_eq(stats.hits, 3);
    ck_assert_uint_eq(stats.misses, 1);
}

TEST(the_first_outline_of_a_text_stays)
{
    ck_assert(store("select 1"));
    struct query_outline *first = outlines_find(outlines, SPAN("select 1"));
    ck_assert(store("select 1"));
    struct query_outline *again = outlines_find(outlines, SPAN("select 1"));
    ck_assert_ptr_eq(first, again);
    query_outline_unref(&first);
    query_outline_unref(&again);
}

TEST(the_table_is_bounded)
{
    char text[64];
    for (int i = 0; i < 20000; i++) {
        snprintf(text, sizeof(text), "select %d", i);
        ck_assert(store(text));
    }
    struct digests_stats stats;
    outlines_stats(outlines, &stats);
    ck_assert_uint_le(stats.bytes, stats.bytes_max);
    ck_assert_uint_gt(stats.evicted, 1000);
    ck_assert_uint_gt(stats.entries, 1000);
}

TEST(a_long_text_is_never_there)
{
    size_t size = QUERY_ANALYSIS_TEXT_MAX + 1;
    char *text = calloc(1, size + 1);
    memset(text, ' ', size);
    ck_assert(!store(text));
    ck_assert_int_eq(statements_of(text), -1);
    free(text);
}

static void *use(void *argument)
{
    struct query_outline *outline = argument;
    char text[32];
    for (int i = 0; i < 20000; i++) {
        snprintf(text, sizeof(text), "select %d", i % 5000);
        struct query_outline *found = outlines_find(outlines, span_text(text));
        if (found == NULL)
            ck_assert(outlines_store(outlines, span_text(text), outline));
        query_outline_unref(&found);
    }
    return NULL;
}

TEST(threads_share_the_table)
{
    pthread_t threads[4];
    struct query_outline *outline = NULL;
    ck_assert_int_eq(query_outline_new(SPAN("select 1"), &outline), OK);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, use, outline);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    query_outline_unref(&outline);
    struct digests_stats stats;
    outlines_stats(outlines, &stats);
    ck_assert_uint_eq(stats.hits + stats.misses, 80000);
}

int main(void)
{
    const TTest *const tests[] = {
        an_outline_is_found_by_its_text, the_first_outline_of_a_text_stays, the_table_is_bounded,
        a_long_text_is_never_there,      threads_share_the_table,           NULL,
    };
    return unit_run("outlines", tests, setup, teardown);
}
