#include "flight/warms.h"
#include "unit.h"

#include <stdio.h>

static struct l1_key key_of(uint64_t number)
{
    return (struct l1_key){.low = number, .high = ~number};
}

static void hit(struct warms *warms, uint64_t number)
{
    char text[32];
    struct l1_key key = key_of(number);
    snprintf(text, sizeof(text), "select %llu", (unsigned long long)number);
    if (warms_hit(warms, &key))
        warms_add(warms, &key,
                  &(struct warm){.database = SPAN("d"),
                                 .user = SPAN("u"),
                                 .params = SPAN("p"),
                                 .messages = span_text(text)});
}

static void forget(struct warm *list[WARMS_MAX], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        warm_unref(&list[i]);
}

TEST(statements_are_listed_by_hits)
{
    struct warms *warms = warms_new();
    struct warm *list[WARMS_MAX];
    for (uint64_t number = 1; number <= 3; number++)
        for (uint64_t i = 0; i < 10 * number; i++)
            hit(warms, number);
    ck_assert_uint_eq(warms_list(warms, list), 3);
    ck_assert(span_is(list[0]->messages, "select 3"));
    ck_assert(span_is(list[2]->messages, "select 1"));
    ck_assert(span_is(list[0]->database, "d") && span_is(list[0]->user, "u"));
    ck_assert(span_is(list[0]->params, "p"));
    ck_assert_uint_eq(list[0]->hits, 30);
    forget(list, 3);
    warms_free(&warms);
    ck_assert_ptr_null(warms);
}
END_TEST

TEST(a_statement_that_is_hit_often_stays_among_many)
{
    struct warms *warms = warms_new();
    struct warm *list[WARMS_MAX];
    for (uint64_t i = 0; i < 40000; i++)
        hit(warms, i % 4 == 0 ? 7 : 1000 + i);
    uint32_t count = warms_list(warms, list);
    ck_assert_uint_eq(count, WARMS_MAX);
    ck_assert(span_is(list[0]->messages, "select 7"));
    forget(list, count);
    warms_free(&warms);
}
END_TEST

TEST(old_hits_weigh_less)
{
    struct warms *warms = warms_new();
    struct warm *list[WARMS_MAX];
    for (uint64_t i = 0; i < 80000; i++)
        hit(warms, 1);
    for (uint64_t i = 0; i < 70000; i++)
        hit(warms, 2);
    ck_assert_uint_eq(warms_list(warms, list), 2);
    ck_assert(span_is(list[0]->messages, "select 2"));
    forget(list, 2);
    warms_free(&warms);
}
END_TEST

TEST(a_statement_that_is_too_long_is_left_out)
{
    static uint8_t bytes[WARMS_BYTES_MAX + 1];
    struct warms *warms = warms_new();
    struct warm *list[WARMS_MAX];
    struct l1_key key = key_of(1);
    ck_assert(warms_hit(warms, &key));
    warms_add(warms, &key, &(struct warm){.messages = span_of(bytes, sizeof(bytes))});
    ck_assert_uint_eq(warms_list(warms, list), 0);
    ck_assert(warms_hit(warms, &key));
    warms_free(&warms);
}
END_TEST

TEST(what_became_of_statements_is_counted)
{
    uint64_t counts[WARMS_COUNTS], left;
    struct warms *warms = warms_new();
    warms_left(warms, 5);
    warms_count(warms, WARMS_STORED);
    warms_count(warms, WARMS_STORED);
    warms_left(warms, -2);
    warms_stats(warms, counts, &left);
    ck_assert_uint_eq(counts[WARMS_STORED], 2);
    ck_assert_uint_eq(counts[WARMS_FAILED], 0);
    ck_assert_uint_eq(left, 3);
    warms_free(&warms);
}
END_TEST

TESTS("warms", statements_are_listed_by_hits, a_statement_that_is_hit_often_stays_among_many,
      old_hits_weigh_less, a_statement_that_is_too_long_is_left_out,
      what_became_of_statements_is_counted)
