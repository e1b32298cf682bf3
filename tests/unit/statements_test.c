#include "session/generation.h"
#include "session/statements.h"

#include "machine/machine.h"
#include "session/counted.h"
#include "session/pin.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static struct map texts = MAP_INIT(100);
static struct map names = MAP_INIT(CLIENT_STATEMENTS_MAX);

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

TEST(the_same_text_is_kept_once)
{
    struct statement *a = prepared("select 1"), *b = prepared("select 1"),
                     *c = prepared("select 2");
    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_ne(a, c);
    ck_assert_uint_eq(a->size, sizeof("select 1"));
    statement_unref(&a);
    ck_assert_uint_eq(texts.count, 2);
    statement_unref(&b);
    statement_unref(&c);
    statement_unref(&c);
    ck_assert_uint_eq(texts.count, 0);
    map_fini(&texts);
}
END_TEST

/* Memory for the text, but not for what it may leave behind, is not enough: it would go unseen. */
static void intern_by_bytes(void *argument UNUSED)
{
    struct chunk_store store;
    struct statement *statement = NULL;
    fault interned = FAULT_MEMORY;
    uint32_t max = 4;
    for (; interned != OK; max++) {
        chunk_store_init(&store, 1, max);
        counted_in(&store);
        interned = statement_intern(&texts, SPAN("set work_mem to 1\0"), &statement);
        ck_assert(interned == OK || (interned == FAULT_MEMORY && store.held == 0));
    }
    ck_assert_ptr_nonnull(statement->effects);
    ck_assert_uint_ge(max, sizeof(*statement) + effects_bytes(statement->effects));
    statement_unref(&statement);
    ck_assert_uint_eq(store.held, 0);
    counted_in(NULL);
    map_fini(&texts);
    machine_stop();
}

TEST(a_statement_is_not_kept_without_what_it_may_leave_behind)
{
    ck_assert_int_eq(machine_run("test", intern_by_bytes, NULL), OK);
}
END_TEST

TEST(other_parameter_types_are_another_statement)
{
    static const uint8_t plain[] = "select $1\0\0"; /* NUL, no types */
    static const uint8_t typed[] = "select $1\0\0\1\0\0\0\x17";
    struct statement *a, *b;
    ck_assert_int_eq(statement_intern(&texts, span_of(plain, 12), &a), OK);
    ck_assert_int_eq(statement_intern(&texts, span_of(typed, 16), &b), OK);
    ck_assert_ptr_ne(a, b);
    statement_unref(&a);
    statement_unref(&b);
    map_fini(&texts);
}
END_TEST

TEST(literals_that_parse_evaluates_are_found_and_calls_are_not)
{
    static const struct {
        const char *text;
        bool timely;
    } all[] = {
        {"select 'now'::timestamptz", true},
        {"select 'NOW'", true},
        {"select date 'today'", true},
        {"select 'tomorrow'", true},
        {"select 'Yesterday '::date", true},
        {"select '{now}'::date[]", true},
        {"select now()", false},
        {"select now ()", false},
        {"select known from renowned", false},
        {"select to_day, nowadays", false},
        {"select 'no'", false},
        {"n", false},
        {"select $1", false},
        {"select now", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        struct statement *statement = prepared(all[i].text);
        ck_assert_msg(statement->timely == all[i].timely, "%s", all[i].text);
        statement_unref(&statement);
    }
    map_fini(&texts);
}
END_TEST

/* --- meanings --------------------------------------------------------------------------------- */

static uint8_t default_values = 1; /* of the session */

/* What a Parse of this text meant with such a description. */
static struct meaning meaning(const char *text, uint8_t session, uint64_t generation, uint8_t whole,
                              bool shared)
{
    struct statement *statement = prepared(text);
    struct client_statement *entered = named("meant", statement);
    struct signature signature = {.whole = {{whole}}, .shape = {{9}}};
    struct digest defaults = {{default_values}};
    entered->meaning =
        (struct meaning){.key = {{77}}, .session = {{session}}, .generation = generation};
    client_statement_means(entered, &signature, shared ? &defaults : NULL);
    struct meaning result = entered->meaning;
    client_statement_unref(&entered);
    statement_unref(&statement);
    client_statements_clear(&names);
    map_fini(&texts);
    return result;
}

TEST(statements_mean_the_same_only_if_all_that_they_depend_on_is_the_same)
{
    struct meaning is = meaning("select 1", 1, 1, 1, true);
    struct meaning others[] = {
        meaning("select 2", 1, 1, 1, true),  meaning("select 1", 2, 1, 1, true),
        meaning("select 1", 1, 2, 1, true),  meaning("select 1", 1, 1, 2, true),
        meaning("select 1", 1, 1, 1, false),
    };
    default_values = 2;
    struct meaning elsewhere = meaning("select 1", 1, 1, 1, true);
    default_values = 1;
    ck_assert(!digest_equal(&is.key, &elsewhere.key));
    struct meaning again = meaning("select 1", 1, 1, 1, true);
    ck_assert(is.shared && is.shaped && again.shared);
    ck_assert(digest_equal(&is.key, &again.key));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        ck_assert_msg(!digest_equal(&is.key, &others[i].key), "%zu", i);
    ck_assert(!others[4].shared && others[4].shaped);
    ck_assert_uint_eq(others[4].key.bytes[0], 77); /* its own, as it was */
}
END_TEST

TEST(tags_of_commands_that_change_the_schema_are_known)
{
    static const char *const do_change[] = {
        "CREATE TABLE",    "CREATE VIEW", "ALTER TYPE", "DROP FUNCTION",  "DROP OWNED",
        "GRANT",           "GRANT ROLE",  "REVOKE",     "REASSIGN OWNED", "IMPORT FOREIGN SCHEMA",
        "COMMIT PREPARED", "DO",          "CALL",
    };
    static const char *const do_not[] = {
        "SELECT 1", "INSERT 0 1",          "COMMIT", "ROLLBACK", "SET",
        "COPY 5",   "DISCARD ALL",         "DOUBT",  "DELETE 1", "CALLED",
        "ANALYZE",  "PREPARE TRANSACTION", "",
    };
    for (size_t i = 0; i < ARRAY_SIZE(do_change); i++)
        ck_assert_msg(generation_changes(span_text(do_change[i])), "%s", do_change[i]);
    for (size_t i = 0; i < ARRAY_SIZE(do_not); i++)
        ck_assert_msg(!generation_changes(span_text(do_not[i])), "%s", do_not[i]);
}
END_TEST

TEST(a_generation_is_of_one_name)
{
    static struct generations generations;
    uint64_t *app = generation_of(&generations, "app");
    ck_assert_ptr_eq(app, generation_of(&generations, "app"));
    ck_assert_ptr_ne(app, generation_of(&generations, "other"));
    generation_raise(app);
    ck_assert_uint_eq(generation_now(app), 1);
    ck_assert_uint_eq(generation_now(generation_of(&generations, "other")), 0);
}
END_TEST

/* --- signatures ------------------------------------------------------------------------------- */

/* A column of this table and type, and its place there. */
#define COLUMN(name, table, type) name "\0\0\0\0" table "\0\1\0\0\0" type "\0\4\xff\xff\xff\xff\0\0"
#define PARAMETERS                "t\0\0\0\x0a\0\1\0\0\0\x17"

static struct signature described(const char *bytes, size_t size)
{
    struct buffer messages = BUFFER_INIT(SIGNATURE_MAX);
    struct signature signature;
    buffer_append(&messages, bytes, size);
    ck_assert(signature_read(&messages, &signature));
    ck_assert_ptr_null(messages.at);
    return signature;
}
#define DESCRIBED(literal) described(literal, sizeof(literal) - 1)

TEST(a_table_made_anew_gives_the_same_shape_and_another_signature)
{
    struct signature old = DESCRIBED(PARAMETERS "T\0\0\0\x1a\0\1" COLUMN("a", "\5", "\x17"));
    struct signature new = DESCRIBED(PARAMETERS "T\0\0\0\x1a\0\1" COLUMN("a", "\6", "\x17"));
    struct signature other = DESCRIBED(PARAMETERS "T\0\0\0\x1a\0\1" COLUMN("a", "\5", "\x19"));
    struct signature name = DESCRIBED(PARAMETERS "T\0\0\0\x1a\0\1" COLUMN("b", "\5", "\x17"));
    struct signature none = DESCRIBED(PARAMETERS "n\0\0\0\4");
    ck_assert(digest_equal(&old.shape, &new.shape));
    ck_assert(!digest_equal(&old.whole, &new.whole));
    ck_assert(!digest_equal(&old.shape, &other.shape));
    ck_assert(!digest_equal(&old.shape, &name.shape));
    ck_assert(!digest_equal(&old.shape, &none.shape));
}
END_TEST

TEST(what_is_no_description_has_no_signature)
{
    static const struct {
        const char *bytes;
        size_t size;
    } all[] = {
        {"", 0},
        {"n\0\0\0\4", 5},
        {PARAMETERS, 11},
        {PARAMETERS "n\0\0\0\4n\0\0\0\4", 21},
        {"T\0\0\0\6\0\0n\0\0\0\4", 12},
        {PARAMETERS "T\0\0\0\x0a\0\1ab\0\0", 22},
    };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        struct buffer messages = BUFFER_INIT(SIGNATURE_MAX);
        struct signature signature;
        buffer_append(&messages, all[i].bytes, all[i].size);
        ck_assert_msg(!signature_read(&messages, &signature), "%zu", i);
    }
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
    for (uint32_t i = 0; i < CLIENT_STATEMENTS_MAX; i++) {
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

TEST(names_are_told_apart_by_what_postgresql_keeps_of_them)
{
    static const char name[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct span whole = span_of(name, STATEMENT_NAME_KEPT + 1);
    struct statement *text = prepared("select 1");
    struct client_statement *entered, *shorter;
    ck_assert_int_eq(client_statement_add(&names, whole, text, &entered), OK);
    ck_assert_uint_eq(entered->size, STATEMENT_NAME_KEPT);
    ck_assert_ptr_eq(client_statement_find(&names, span_of(name, STATEMENT_NAME_KEPT)), entered);
    ck_assert_ptr_eq(client_statement_find(&names, whole), entered);
    ck_assert_ptr_null(client_statement_find(&names, span_of(name, STATEMENT_NAME_KEPT - 1)));
    ck_assert_int_eq(
        client_statement_add(&names, span_of(name, STATEMENT_NAME_KEPT - 1), text, &shorter), OK);
    client_statement_unref(&entered);
    client_statement_unref(&shorter);
    statement_unref(&text);
    client_statements_clear(&names);
    map_fini(&texts);
}
END_TEST

/* --- a server's statements -------------------------------------------------------------------- */

static struct digest key(uint8_t number)
{
    struct digest digest;
    memset(digest.bytes, number, DIGEST_SIZE);
    return digest;
}

/* Under a name made of the same number. */
static struct server_statement *add(struct server_statements *on, uint8_t number)
{
    struct digest digest = key(number);
    struct server_statement *added;
    ck_assert_int_eq(server_statement_add(on, &digest, &digest, &added), OK);
    return added;
}

static void settle(struct server_statements *on, uint8_t number, bool parsed)
{
    struct digest digest = key(number);
    server_statement_settle(on, &digest, parsed);
}

static struct server_statement *use(struct server_statements *on, uint8_t number, uint64_t client)
{
    struct digest digest = key(number);
    return server_statement_use(on, &digest, client);
}

/* The next whose Close is sent; 0: none. */
static unsigned orphan(struct server_statements *on)
{
    unsigned number = 0;
    const struct server_statement *orphan = server_statement_orphan(on);
    if (orphan != NULL)
        ck_assert_int_eq(sscanf(orphan->name, "tl_%2x", &number), 1);
    return number;
}

static void closed(struct server_statements *on, uint8_t number, bool closed)
{
    struct digest digest = key(number);
    char name[STATEMENT_NAME_SIZE];
    statement_name(&digest, name);
    server_statement_closed(on, name, closed);
}

TEST(a_name_on_a_server_shows_all_its_bits)
{
    struct digest digest = key(0xa5);
    char name[STATEMENT_NAME_SIZE];
    statement_name(&digest, name);
    ck_assert_str_eq(name, "tl_a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
}
END_TEST

TEST(the_least_recently_used_statement_is_the_first_to_go)
{
    struct server_statements on;
    server_statements_init(&on, 3);
    for (uint8_t i = 1; i <= 3; i++) {
        add(&on, i);
        settle(&on, i, true);
    }
    server_statement_evict(&on);
    ck_assert_uint_eq(orphan(&on), 0); /* there is room for them */
    ck_assert_ptr_nonnull(use(&on, 1, 1));
    ck_assert_ptr_null(use(&on, 4, 1));
    add(&on, 4);
    server_statement_evict(&on);
    ck_assert_uint_eq(orphan(&on), 2);
    ck_assert_uint_eq(orphan(&on), 0);
    ck_assert_ptr_null(use(&on, 2, 1));
    closed(&on, 2, true);
    ck_assert_uint_eq(on.known.count, 3);
    ck_assert_uint_eq(on.closing.count, 0);
    server_statements_fini(&on);
}
END_TEST

TEST(a_close_that_was_skipped_is_sent_again)
{
    struct server_statements on;
    server_statements_init(&on, 1);
    for (uint8_t i = 1; i <= 3; i++)
        add(&on, i);
    server_statement_evict(&on);
    ck_assert_uint_eq(orphan(&on), 1);
    ck_assert_uint_eq(orphan(&on), 2);
    closed(&on, 2, false);
    closed(&on, 1, false);
    ck_assert_uint_eq(on.orphans.count, 2);
    add(&on, 1); /* the same meaning, under another name as it were */
    ck_assert_uint_eq(orphan(&on), 1);
    ck_assert_uint_eq(orphan(&on), 2);
    closed(&on, 1, true);
    closed(&on, 2, true);
    ck_assert_uint_eq(on.orphans.count + on.closing.count, 0);
    ck_assert_ptr_nonnull(use(&on, 1, 0));
    server_statements_fini(&on);
}
END_TEST

TEST(a_statement_that_could_not_be_prepared_is_not_there)
{
    struct server_statements on;
    server_statements_init(&on, 2);
    add(&on, 1);
    ck_assert_ptr_nonnull(use(&on, 1, 0)); /* carried out, or skipped, with what follows */
    settle(&on, 1, false);
    ck_assert_ptr_null(use(&on, 1, 0));
    settle(&on, 1, true); /* forgotten meanwhile: no harm */
    ck_assert_uint_eq(on.known.count, 0);
    server_statements_fini(&on);
}
END_TEST

TEST(of_two_that_mean_the_same_the_newer_one_stays)
{
    struct server_statements on;
    struct digest shared = key(9), one = key(1), two = key(2);
    server_statements_init(&on, 9);
    add(&on, 1);
    server_statement_rename(&on, &one, &shared);
    add(&on, 2);
    ck_assert_str_eq(use(&on, 9, 0)->name + 3, "01010101010101010101010101010101");
    server_statement_rename(&on, &two, &shared);
    ck_assert_str_eq(use(&on, 9, 0)->name + 3, "02020202020202020202020202020202");
    ck_assert_uint_eq(orphan(&on), 1);
    server_statement_rename(&on, &two, &shared); /* evicted meanwhile: no harm */
    server_statement_rename(&on, &shared, &shared);
    ck_assert_uint_eq(on.known.count, 1);
    server_statements_fini(&on);
}
END_TEST

TEST(what_was_used_apart_is_for_its_client_alone)
{
    struct server_statements on;
    server_statements_init(&on, 9);
    add(&on, 1)->owner = 5;
    ck_assert_ptr_nonnull(use(&on, 1, 5));
    ck_assert_ptr_null(use(&on, 1, 6));
    ck_assert_ptr_null(use(&on, 1, 5));
    ck_assert_uint_eq(orphan(&on), 1);
    server_statements_fini(&on);
}
END_TEST

TEST(what_is_parsed_behind_a_deallocate_all_is_not_forgotten)
{
    struct server_statements on;
    server_statements_init(&on, 1);
    for (uint8_t i = 1; i <= 3; i++) {
        add(&on, i);
        settle(&on, i, true);
    }
    server_statement_evict(&on);
    ck_assert_uint_eq(orphan(&on), 1);
    add(&on, 4);
    server_statements_deallocated(&on);
    ck_assert_uint_eq(on.orphans.count + on.closing.count, 0);
    closed(&on, 1, true);
    ck_assert_uint_eq(on.known.count, 1);
    ck_assert_ptr_nonnull(use(&on, 4, 0));
    server_statements_fini(&on);
}
END_TEST

TEST(in_doubt_every_statement_is_closed_and_none_is_used)
{
    struct server_statements on;
    struct digest digest = key(1);
    char name[STATEMENT_NAME_SIZE];
    statement_name(&digest, name);
    server_statements_init(&on, 9);
    add(&on, 1);
    settle(&on, 1, true);
    add(&on, 2);
    ck_assert_ptr_nonnull(server_statement_named(&on, span_text(name)));
    server_statements_doubt(&on);
    ck_assert_ptr_null(server_statement_named(&on, span_text(name)));
    ck_assert_ptr_null(use(&on, 1, 0));
    ck_assert_ptr_nonnull(use(&on, 2, 0));
    ck_assert_uint_eq(orphan(&on), 1);
    server_statements_fini(&on);
}
END_TEST

TESTS("statements", the_same_text_is_kept_once, other_parameter_types_are_another_statement,
      literals_that_parse_evaluates_are_found_and_calls_are_not,
      statements_mean_the_same_only_if_all_that_they_depend_on_is_the_same,
      tags_of_commands_that_change_the_schema_are_known, a_generation_is_of_one_name,
      a_table_made_anew_gives_the_same_shape_and_another_signature,
      what_is_no_description_has_no_signature,
      a_client_finds_its_statements_by_the_names_it_gave_them,
      a_close_that_was_never_carried_out_is_undone,
      a_name_that_was_given_anew_meanwhile_stays_the_new_one,
      a_client_has_no_more_names_than_the_limit,
      names_are_told_apart_by_what_postgresql_keeps_of_them, a_name_on_a_server_shows_all_its_bits,
      the_least_recently_used_statement_is_the_first_to_go, a_close_that_was_skipped_is_sent_again,
      a_statement_that_could_not_be_prepared_is_not_there,
      of_two_that_mean_the_same_the_newer_one_stays, what_was_used_apart_is_for_its_client_alone,
      what_is_parsed_behind_a_deallocate_all_is_not_forgotten,
      in_doubt_every_statement_is_closed_and_none_is_used,
      a_statement_is_not_kept_without_what_it_may_leave_behind)
