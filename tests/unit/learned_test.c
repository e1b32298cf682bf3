/* The statements that firewalls have seen: stats/learned.h. */
#include "stats/learned.h"
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct learned *learned;

static void setup(void)
{
    learned = learned_new();
    ck_assert_ptr_nonnull(learned);
}

static void teardown(void)
{
    learned_free(&learned);
    ck_assert_ptr_null(learned);
    learned_free(&learned);
}

static void note(const char *database, uint64_t fingerprint, const char *rule, bool denied)
{
    struct learned_view view = {.fingerprint = fingerprint,
                                .calls = 1,
                                .denied = denied,
                                .user = "u",
                                .text = "x",
                                .text_size = 1,
                                .last = {.us = (int64_t)fingerprint}};
    snprintf(view.database, sizeof(view.database), "%s", database);
    snprintf(view.rule, sizeof(view.rule), "%s", rule);
    learned_note(learned, &view);
}

TEST(calls_are_added_by_route_and_fingerprint)
{
    struct learned_view views[8];
    uint32_t cursor = 0;
    note("a", 1, "", false);
    note("a", 2, "r", true);
    note("b", 1, "", false);
    note("a", 1, "s", true);
    note("a", 1, "s", false);
    ck_assert_uint_eq(learned_views(learned, &cursor, views, 2), 2);
    ck_assert_uint_eq(learned_views(learned, &cursor, views + 2, 6), 1);
    ck_assert_uint_eq(learned_views(learned, &cursor, views + 3, 5), 0);
    ck_assert_str_eq(views[0].database, "a");
    ck_assert_uint_eq(views[0].calls, 3);
    ck_assert_uint_eq(views[0].denied, 1);
    ck_assert_str_eq(views[0].rule, "s");
    ck_assert_uint_eq(views[1].fingerprint, 2);
    ck_assert_str_eq(views[2].database, "b");
}
END_TEST

TEST(a_full_table_counts_what_it_does_not_take)
{
    uint32_t cursor = LEARNED_MAX - 1;
    struct learned_view view;
    for (uint64_t i = 0; i < LEARNED_MAX + 5; i++)
        note("a", i, "", false);
    ck_assert_uint_eq(learned_missed(learned), 5);
    note("a", 0, "", false);
    ck_assert_uint_eq(learned_missed(learned), 5);
    ck_assert_uint_eq(learned_views(learned, &cursor, &view, 1), 1);
    ck_assert_uint_eq(view.fingerprint, LEARNED_MAX - 1);
    ck_assert_uint_eq(learned_forget(learned), LEARNED_MAX);
    cursor = 0;
    ck_assert_uint_eq(learned_views(learned, &cursor, &view, 1), 0);
    note("a", LEARNED_MAX + 7, "", false);
    ck_assert_uint_eq(learned_forget(learned), 1);
}
END_TEST

static void *note_much(void *argument)
{
    for (uint64_t i = 0; i < 20000; i++)
        note("a", i % 100, "", false);
    return argument;
}

TEST(threads_share_the_table)
{
    pthread_t threads[4];
    struct learned_view views[128];
    uint32_t cursor = 0;
    uint64_t calls = 0;
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, note_much, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    uint32_t count = learned_views(learned, &cursor, views, ARRAY_SIZE(views));
    ck_assert_uint_eq(count, 100);
    for (uint32_t i = 0; i < count; i++)
        calls += views[i].calls;
    ck_assert_uint_eq(calls, 80000);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {calls_are_added_by_route_and_fingerprint,
                                  a_full_table_counts_what_it_does_not_take,
                                  threads_share_the_table, NULL};
    return unit_run("learned", tests, setup, teardown);
}
