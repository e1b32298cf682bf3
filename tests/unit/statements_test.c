#include "pooler/statements.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static struct map texts = MAP_INIT(100);
static struct map names = MAP_INIT(CLIENT_STATEMENTS_MOST);

static struct statement *prepared(const char *text)
{
    struct statement *statement = NULL;
    ck_assert_int_eq(statement_intern(&texts, span_of(text, strlen(text) + 1), &statement), OK);
    return statement;
}

static struct client_statement *named(const char *name, struct statement *statement)
{
    struct client_statement *entered = NULL;
    ck_assert_int_eq(client_statement_add(&names, span_text(name), statement, &entered), OK);
    return entered;
}

/* --- texts ------------------------------------------------------------------------------------ */

TEST(the_same_text_is_one_statement_with_one_name)
{
    struct statement *a = prepared("select 1"), *b = prepared("select 1"),
                     *c = prepared("select 2");
    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_ne(a, c);
    ck_assert_str_ne(a->name, c->name);
    ck_assert_uint_eq(strlen(a->name), STATEMENT_NAME_SIZE - 1);
    ck_assert_int_eq(strncmp(a->name, "tl_", 3), 0);
    ck_assert_uint_eq(strspn(a->name + 3, "0123456789abcdef"), 32);
    ck_assert_uint_eq(a->size, sizeof("select 1"));
    char again[STATEMENT_NAME_SIZE];
    statement_name(a->digest, again);
    ck_assert_str_eq(again, a->name);
    statement_unref(&a);
    ck_assert_uint_eq(texts.count, 2);
    statement_unref(&b);
    statement_unref(&c);
    statement_unref(&c);
    ck_assert_uint_eq(texts.count, 0);
    map_fini(&texts);
}
END_TEST

TEST(other_parameter_types_are_another_statement)
{
    static const uint8_t plain[] = "select $1\0\0"; /* NUL, no types */
    static const uint8_t typed[] = "select $1\0\0\1\0\0\0\x17";
    struct statement *a, *b;
    ck_assert_int_eq(statement_intern(&texts, span_of(plain, 12), &a), OK);
    ck_assert_int_eq(statement_intern(&texts, span_of(typed, 16), &b), OK);
    ck_assert_str_ne(a->name, b->name);
    statement_unref(&a);
    statement_unref(&b);
    map_fini(&texts);
}
END_TEST

/* --- a client's names ------------------------------------------------------------------------- */

TEST(a_client_finds_its_statements_by_the_names_it_gave_them)
{
    struct statement *text = prepared("select 1");
    struct client_statement *a = named("a", text), *b = named("b", text);
    ck_assert_ptr_eq(client_statement_find(&names, SPAN("a")), a);
    ck_assert_ptr_eq(client_statement_find(&names, SPAN("b")), b);
    ck_assert_ptr_null(client_statement_find(&names, SPAN("A")));
    ck_assert_ptr_null(client_statement_find(&names, SPAN("")));
    ck_assert_ptr_eq(a->statement, b->statement);
    statement_unref(&text);
    client_statement_unref(&a);
    client_statement_unref(&b);
    client_statements_clear(&names);
    ck_assert_uint_eq(names.count, 0);
    ck_assert_uint_eq(texts.count, 0);
    map_fini(&texts);
}
END_TEST

TEST(a_close_that_was_never_carried_out_is_undone)
{
    struct statement *text = prepared("select 1");
    struct client_statement *a = named("a", text);
    client_statement_remove(&names, a);
    ck_assert(!a->current);
    ck_assert_ptr_null(client_statement_find(&names, SPAN("a")));
    ck_assert(client_statement_restore(&names, a));
    ck_assert_ptr_eq(client_statement_find(&names, SPAN("a")), a);
    client_statement_unref(&a);
    statement_unref(&text);
    client_statements_clear(&names);
    map_fini(&texts);
}
END_TEST

TEST(a_name_that_was_given_anew_meanwhile_stays_the_new_one)
{
    struct statement *text = prepared("select 1"), *other = prepared("select 2");
    struct client_statement *old = named("a", text);
    client_statement_remove(&names, old);
    struct client_statement *new = named("a", other);
    ck_assert(!client_statement_restore(&names, old));
    ck_assert_ptr_eq(client_statement_find(&names, SPAN("a")), new);
    client_statement_unref(&old);
    client_statement_unref(&new);
    statement_unref(&text);
    statement_unref(&other);
    client_statements_clear(&names);
    map_fini(&texts);
}
END_TEST

TEST(a_client_has_no_more_names_than_the_limit)
{
    struct statement *text = prepared("select 1");
    for (uint32_t i = 0; i < CLIENT_STATEMENTS_MOST; i++) {
        char name[16];
        snprintf(name, sizeof(name), "s%u", i);
        struct client_statement *entered = named(name, text);
        client_statement_unref(&entered);
    }
    struct client_statement *more;
    ck_assert_int_eq(client_statement_add(&names, SPAN("more"), text, &more), FAULT_LIMIT);
    statement_unref(&text);
    client_statements_clear(&names);
    ck_assert_uint_eq(texts.count, 0);
    map_fini(&texts);
}
END_TEST

TEST(a_name_is_not_longer_than_its_length_can_say)
{
    static char name[UINT16_MAX + 1];
    memset(name, 'n', sizeof(name));
    struct statement *text = prepared("select 1");
    struct client_statement *entered;
    ck_assert_int_eq(client_statement_add(&names, span_of(name, sizeof(name)), text, &entered),
                     FAULT_LIMIT);
    ck_assert_int_eq(client_statement_add(&names, span_of(name, UINT16_MAX), text, &entered), OK);
    client_statement_unref(&entered);
    statement_unref(&text);
    client_statements_clear(&names);
    map_fini(&texts);
}
END_TEST

/* --- a server's statements -------------------------------------------------------------------- */

static const uint8_t *digest(uint8_t number)
{
    static uint8_t digests[8][DIGEST_SIZE];
    static int next;
    uint8_t *at = digests[next++ % 8];
    memset(at, number, DIGEST_SIZE);
    return at;
}

static void add(struct server_statements *on, uint8_t number, uint32_t batch)
{
    ck_assert_int_eq(server_statement_add(on, digest(number), batch), OK);
}

static void parsed(struct server_statements *on, uint8_t number)
{
    server_statement_settle(on, digest(number), true);
}

static uint8_t victim(struct server_statements *on)
{
    const struct server_statement *victim = server_statement_evict(on);
    return victim == NULL ? 0 : victim->digest[0];
}

static enum statement_place use(struct server_statements *on, uint8_t number, uint32_t batch)
{
    return server_statement_use(on, digest(number), batch);
}

TEST(the_least_recently_used_statement_is_the_first_to_go)
{
    struct server_statements on;
    server_statements_init(&on, 3);
    for (uint8_t i = 1; i <= 3; i++) {
        add(&on, i, 0);
        parsed(&on, i);
    }
    ck_assert_uint_eq(victim(&on), 0); /* there is room for them */
    ck_assert_int_eq(use(&on, 1, 1), STATEMENT_THERE);
    ck_assert_int_eq(use(&on, 4, 1), STATEMENT_ABSENT);
    add(&on, 4, 1);
    ck_assert_uint_eq(victim(&on), 2);
    server_statement_evicted(&on, digest(2), true);
    ck_assert_int_eq(use(&on, 2, 1), STATEMENT_ABSENT);
    ck_assert_uint_eq(on.known.count, 3);
    server_statements_fini(&on);
}
END_TEST

TEST(a_statement_whose_eviction_was_dropped_may_be_there_and_is_the_next_to_go)
{
    struct server_statements on;
    server_statements_init(&on, 2);
    for (uint8_t i = 1; i <= 3; i++)
        add(&on, i, 0);
    ck_assert_uint_eq(victim(&on), 1);
    server_statement_evicted(&on, digest(1), false);
    ck_assert_uint_eq(on.known.count, 3);
    ck_assert_uint_eq(victim(&on), 1);
    ck_assert_int_eq(use(&on, 1, 0), STATEMENT_UNSURE);
    add(&on, 1, 0); /* prepared anew meanwhile */
    server_statement_evicted(&on, digest(1), true);
    ck_assert_uint_eq(on.known.count, 3);
    ck_assert_int_eq(use(&on, 1, 0), STATEMENT_THERE);
    server_statements_fini(&on);
}
END_TEST

TEST(of_two_evictions_on_their_way_the_second_is_the_one_that_counts)
{
    struct server_statements on;
    server_statements_init(&on, 1);
    add(&on, 1, 0);
    add(&on, 2, 0);
    ck_assert_uint_eq(victim(&on), 1);
    ck_assert_int_eq(use(&on, 1, 0), STATEMENT_UNSURE);
    add(&on, 1, 0);
    ck_assert_uint_eq(victim(&on), 2);
    ck_assert_int_eq(use(&on, 2, 0), STATEMENT_UNSURE);
    add(&on, 2, 0);
    ck_assert_uint_eq(victim(&on), 1);
    parsed(&on, 1);
    server_statement_evicted(&on, digest(1), true); /* the first: it was prepared again behind it */
    ck_assert_int_eq(on.closing.count, 1);
    parsed(&on, 1);
    server_statement_evicted(&on, digest(1), true);
    ck_assert_int_eq(use(&on, 1, 0), STATEMENT_ABSENT);
    server_statements_fini(&on);
}
END_TEST

TEST(what_an_earlier_batch_prepares_is_certain_once_it_is_answered)
{
    struct server_statements on;
    server_statements_init(&on, 2);
    add(&on, 1, 7);
    ck_assert_int_eq(use(&on, 1, 7), STATEMENT_THERE); /* carried out, or skipped, together */
    ck_assert_int_eq(use(&on, 1, 8), STATEMENT_UNSURE);
    add(&on, 1, 8);
    ck_assert_int_eq(use(&on, 1, 8), STATEMENT_THERE);
    server_statement_settle(&on, digest(1), false);
    ck_assert_int_eq(use(&on, 1, 8), STATEMENT_UNSURE);
    parsed(&on, 1);
    ck_assert_int_eq(use(&on, 1, 9), STATEMENT_THERE);
    server_statements_fini(&on);
}
END_TEST

TEST(a_statement_that_could_not_be_prepared_is_in_doubt)
{
    struct server_statements on;
    server_statements_init(&on, 2);
    add(&on, 1, 0);
    server_statement_settle(&on, digest(1), false);
    ck_assert_int_eq(use(&on, 1, 0), STATEMENT_UNSURE);
    ck_assert_int_eq(use(&on, 1, 0), STATEMENT_UNSURE);
    add(&on, 1, 0);
    parsed(&on, 1);
    ck_assert_int_eq(use(&on, 1, 5), STATEMENT_THERE);
    server_statements_fini(&on);
}
END_TEST

TEST(a_statement_prepared_behind_a_discard_all_is_not_forgotten)
{
    struct server_statements on;
    server_statements_init(&on, 2);
    add(&on, 1, 0);
    server_statements_fini(&on);
    server_statements_init(&on, 2);
    server_statement_settle(&on, digest(2), false);
    ck_assert_uint_eq(on.known.count, 0);
    parsed(&on, 1);
    ck_assert_int_eq(use(&on, 1, 3), STATEMENT_THERE);
    server_statements_fini(&on);
}
END_TEST

TESTS("statements", the_same_text_is_one_statement_with_one_name,
      other_parameter_types_are_another_statement,
      a_client_finds_its_statements_by_the_names_it_gave_them,
      a_close_that_was_never_carried_out_is_undone,
      a_name_that_was_given_anew_meanwhile_stays_the_new_one,
      a_client_has_no_more_names_than_the_limit, a_name_is_not_longer_than_its_length_can_say,
      the_least_recently_used_statement_is_the_first_to_go,
      a_statement_whose_eviction_was_dropped_may_be_there_and_is_the_next_to_go,
      of_two_evictions_on_their_way_the_second_is_the_one_that_counts,
      what_an_earlier_batch_prepares_is_certain_once_it_is_answered,
      a_statement_that_could_not_be_prepared_is_in_doubt,
      a_statement_prepared_behind_a_discard_all_is_not_forgotten)
