/* What transactions of the feed raise and hold, and until when. */
#include "flight/feed_sets.h"
#include "flight/relation.h"
#include "unit.h"
#include "wire/message.h"

#include <stdio.h>

static struct generations_table *table;
static struct feed_sets sets;
static struct feed_keys *keys;
static struct feed_reader reader;
static struct buffer bytes = BUFFER_INIT(100000);
static uint64_t position;
static uint64_t database;

/* A reader of one table, or of two. */
struct look {
    struct generations_reads reads;
    uint64_t captured;
};
static struct look a, b, other;

static void look_at(struct look *look, const char *schema, const char *name, uint64_t in)
{
    generations_reads_init(table, &look->reads, in);
    uint32_t number = flight_relation_number(span_text(schema), span_text(name));
    ck_assert(generations_reads_table(table, &look->reads, number));
    ck_assert(generations_capture(table, &look->reads, &look->captured));
}

static void look(void)
{
    look_at(&a, "s", "a", database);
    look_at(&b, "s", "b", database);
    look_at(&other, "s", "a", generations_database(table, SPAN("main"), SPAN("other")));
}

static const char *state(const struct look *look)
{
    static const char *const names[] = {"current", "held", "changed"};
    return names[generations_check(table, look->reads.slots, look->reads.count, look->captured)];
}

#define IS(look, wanted) ck_assert_str_eq(state(&(look)), wanted)

static bool may_capture(const struct look *look)
{
    uint64_t captured;
    return generations_capture(table, &look->reads, &captured);
}

static void start(void)
{
    table = generations_table_new(GENERATIONS_SLOTS_DEFAULT);
    database = generations_database(table, SPAN("main"), SPAN("app"));
    reader = FEED_READER_INIT;
    position = 100;
    keys = feed_keys_new(table, database);
    ck_assert_int_eq(feed_sets_init(&sets, table, database, keys), OK);
    look();
}

static void stop(void)
{
    feed_sets_fini(&sets);
    feed_keys_free(&keys);
    generations_table_free(&table);
    buffer_fini(&bytes);
}

static fault told(const char *text)
{
    struct feed_event event;
    position += 8;
    buffer_clear(&bytes);
    buffer_append_byte(&bytes, 'w');
    for (int i = 0; i < 2; i++) {
        wire_put_u32(&bytes, (uint32_t)(position >> 32));
        wire_put_u32(&bytes, (uint32_t)position);
    }
    wire_put_u32(&bytes, 0);
    wire_put_u32(&bytes, 0);
    buffer_append_text(&bytes, text);
    TRY(feed_read(&reader, buffer_span(&bytes), &event));
    return feed_sets_take(&sets, &event);
}

/* A transaction of these texts, at most four. */
static void tell(uint32_t xid, const char *const *texts)
{
    char text[32];
    snprintf(text, sizeof(text), "BEGIN %u", xid);
    ck_assert_int_eq(told(text), OK);
    for (; *texts != NULL; texts++)
        ck_assert_int_eq(told(*texts), OK);
    snprintf(text, sizeof(text), "COMMIT %u", xid);
    ck_assert_int_eq(told(text), OK);
}
#define TELL(xid, ...) tell(xid, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

#define INTO_A "table s.a: INSERT: n[integer]:1"
#define DDL    "message: transactional: 1 prefix: trunkline.ddl, sz: 11 content:ALTER TABLE"
#define MARKER "message: transactional: 1 prefix: trunkline.marker, sz: 0 content:"
#define OUTBOX "message: transactional: 1 prefix: outbox, sz: 1 content:x"

static void settle(const char *text)
{
    struct feed_snapshot snapshot;
    ck_assert_int_eq(feed_read_snapshot(span_text(text), &snapshot), OK);
    feed_sets_settle(&sets, &snapshot);
}

/* --- which tables ----------------------------------------------------------------------------- */

TEST(a_transaction_raises_and_holds_its_tables_at_its_commit)
{
    ck_assert_int_eq(told("BEGIN 7"), OK);
    ck_assert_int_eq(told(INTO_A), OK);
    IS(a, "current");
    ck_assert_int_eq(told("COMMIT 7"), OK);
    IS(a, "changed");
    IS(b, "current");
    IS(other, "current");
    ck_assert(!may_capture(&a));
    ck_assert_uint_eq(feed_sets_unsettled(&sets), 1);
}
END_TEST

TEST(every_kind_of_change_names_its_table)
{
    static const char *const texts[] = {INTO_A, "table s.a: UPDATE: n[integer]:1",
                                        "table s.a: DELETE: (no-tuple-data)",
                                        "table s.c, s.a: TRUNCATE: (no-flags)"};
    for (uint32_t i = 0; i < ARRAY_SIZE(texts); i++) {
        look();
        TELL(7 + i, texts[i]);
        IS(a, "changed");
        IS(b, "current");
        settle("90:90:");
    }
}
END_TEST

TEST(rows_of_several_tables_between_each_other_are_all_counted)
{
    TELL(7, INTO_A, "table s.b: INSERT: n[integer]:1", INTO_A);
    IS(a, "changed");
    IS(b, "changed");
    ck_assert_uint_eq(generations_catalog(table, database), 0);
}
END_TEST

TEST(what_tells_no_table_is_the_whole_database_and_its_catalog)
{
    static const char *const texts[][3] = {
        {NULL},                     /* a refresh of a materialized view */
        {DDL, NULL},                /* of the event trigger */
        {INTO_A, DDL, NULL},        /* DDL with rows */
        {DDL, MARKER, NULL},        /* a marker hides nothing */
        {OUTBOX, NULL},             /* a message of an application says nothing */
        {MARKER, OUTBOX, NULL},     /* */
        {"table s.a: MERGE", NULL}, /* a text that nobody knows */
    };
    for (uint32_t i = 0; i < ARRAY_SIZE(texts); i++) {
        uint64_t before = generations_catalog(table, database);
        look();
        tell(7 + i, texts[i]);
        IS(b, "changed");
        IS(other, "current");
        ck_assert(!may_capture(&b));
        ck_assert_uint_eq(generations_catalog(table, database), before + 1);
        settle("90:90:");
        ck_assert(may_capture(&b));
        feed_sets_clear(&sets); /* forgets the snapshot */
    }
}
END_TEST

TEST(a_marker_of_a_probe_changes_nothing)
{
    TELL(7, MARKER);
    TELL(8, MARKER, MARKER);
    IS(a, "current");
    ck_assert_uint_eq(feed_sets_unsettled(&sets), 0);
}
END_TEST

TEST(messages_beside_rows_and_outside_of_transactions_change_nothing_more)
{
    TELL(7, INTO_A, OUTBOX, MARKER);
    ck_assert_int_eq(told("message: transactional: 0 prefix: trunkline.ddl, sz: 0 content:"), OK);
    IS(a, "changed");
    IS(b, "current");
}
END_TEST

TEST(more_tables_than_a_set_holds_are_the_whole_database)
{
    ck_assert_int_eq(told("BEGIN 7"), OK);
    for (uint32_t i = 0; i < GENERATIONS_SET_MAX; i++) {
        char text[64];
        snprintf(text, sizeof(text), "table s.t%u: INSERT: n[integer]:1", i);
        ck_assert_int_eq(told(text), OK);
    }
    ck_assert_int_eq(told("COMMIT 7"), OK);
    IS(b, "changed");
}
END_TEST

TEST(a_slot_that_tells_two_phases_is_refused)
{
    ck_assert_int_eq(told("BEGIN 7"), OK);
    ck_assert_int_eq(told(INTO_A), OK);
    ck_assert_int_eq(told("PREPARE TRANSACTION 'g', txid 7"), FAULT_PROTOCOL);
}
END_TEST

TEST(names_are_part_of_the_number_where_they_end)
{
    ck_assert_uint_ne(flight_relation_number(SPAN("a"), SPAN("bc")),
                      flight_relation_number(SPAN("ab"), SPAN("c")));
    ck_assert_uint_ne(flight_relation_number(SPAN("a"), SPAN("b")),
                      flight_relation_number(SPAN("b"), SPAN("a")));
    ck_assert_uint_eq(flight_relation_number(SPAN("a"), SPAN("b")),
                      flight_relation_number(SPAN("a"), SPAN("b")));
}
END_TEST

/* --- until when ------------------------------------------------------------------------------- */

TEST(a_hold_ends_by_a_snapshot_that_contains_the_transaction)
{
    TELL(7, INTO_A);
    TELL(8, "table s.b: INSERT: n[integer]:1");
    settle("7:9:7"); /* 8 was committed locally, 7 waits for a standby */
    ck_assert(!may_capture(&a) && may_capture(&b));
    settle("7:9:7");
    ck_assert(!may_capture(&a));
    settle("9:9:");
    ck_assert(may_capture(&a));
    ck_assert_uint_eq(feed_sets_unsettled(&sets), 0);
}
END_TEST

TEST(an_earlier_snapshot_suffices_and_the_tables_are_raised_all_the_same)
{
    settle("9:9:");
    TELL(7, INTO_A);
    IS(a, "changed");
    ck_assert(may_capture(&a));
    TELL(9, INTO_A);
    ck_assert(!may_capture(&a));
}
END_TEST

TEST(two_transactions_hold_a_table_until_both_are_seen)
{
    TELL(7, INTO_A);
    TELL(8, INTO_A);
    settle("7:9:7");
    ck_assert(!may_capture(&a));
    settle("9:9:");
    ck_assert(may_capture(&a));
}
END_TEST

TEST(ids_may_go_round_while_transactions_are_held)
{
    TELL(4294967295u, INTO_A);
    TELL(3, "table s.b: INSERT: n[integer]:1");
    settle("4294967295:4294967299:4294967295"); /* up to 2 */
    ck_assert(!may_capture(&a) && !may_capture(&b));
    settle("4294967295:4294967300:4294967295");
    ck_assert(!may_capture(&a) && may_capture(&b));
    settle("4294967300:4294967300:");
    ck_assert(may_capture(&a));
}
END_TEST

TEST(beyond_the_limit_the_whole_database_is_held_until_all_of_the_rest_are_seen)
{
    for (uint32_t i = 0; i < FEED_UNSETTLED_MAX; i++)
        TELL(100 + i, INTO_A);
    ck_assert(may_capture(&b));
    look_at(&b, "s", "b", database);
    uint32_t next = 100 + FEED_UNSETTLED_MAX;
    TELL(next, INTO_A);
    ck_assert(!may_capture(&b));
    IS(b, "changed");
    TELL(next + 5, INTO_A);
    TELL(next - 520, INTO_A); /* an older one that has taken long */
    char text[64];
    snprintf(text, sizeof(text), "%u:%u:%u,%u", next - 520, next + 10, next - 520, next + 5);
    settle(text);
    ck_assert(may_capture(&a) == false && !may_capture(&b));
    ck_assert_uint_eq(feed_sets_unsettled(&sets), 1);
    snprintf(text, sizeof(text), "%u:%u:%u", next + 5, next + 10, next + 5);
    settle(text);
    ck_assert(!may_capture(&b));
    snprintf(text, sizeof(text), "%u:%u:%u", next + 6, next + 10, next + 6);
    settle(text);
    ck_assert(may_capture(&a) && may_capture(&b));
}
END_TEST

TEST(what_is_cleared_holds_nothing_and_its_snapshot_is_forgotten)
{
    settle("90:90:");
    TELL(100, INTO_A);
    for (uint32_t i = 0; i <= FEED_UNSETTLED_MAX; i++)
        TELL(200 + i, INTO_A);
    feed_sets_clear(&sets);
    ck_assert(may_capture(&a) && may_capture(&b));
    ck_assert_uint_eq(feed_sets_unsettled(&sets), 0);
    TELL(7, INTO_A); /* of another server, whose snapshots say something else */
    ck_assert(!may_capture(&a));
}
END_TEST

TEST(a_transaction_that_was_open_when_all_was_cleared_is_the_whole_database)
{
    ck_assert_int_eq(told("BEGIN 7"), OK);
    ck_assert_int_eq(told(INTO_A), OK);
    feed_sets_clear(&sets);
    ck_assert_int_eq(told("COMMIT 7"), OK);
    IS(a, "changed");
    IS(b, "changed");
    ck_assert_uint_eq(feed_sets_unsettled(&sets), 1);
}
END_TEST

/* --- which keys ------------------------------------------------------------------------------- */

static struct look one, two;

/* A reader of s.a by n, whose key it declares. */
static void look_at_key(struct look *look, const char *value)
{
    struct verdict_key key = {.type = VERDICT_KEY_INTEGER, .parameter = 1, .name = SPAN("n")};
    struct verdict verdict = {.keys = &key, .keys_count = 1};
    struct verdict_value bound = {.bytes = span_text(value)};
    uint32_t number = flight_relation_number(SPAN("s"), SPAN("a"));
    buffer_clear(&bytes);
    ck_assert(verdict_key_bytes(&verdict, &bound, 1, &bytes));
    ck_assert(feed_keys_declare(keys, number, generations_catalog(table, database), &verdict));
    generations_reads_init(table, &look->reads, database);
    ck_assert(
        generations_reads_key(table, &look->reads, number, feed_key_digest(buffer_span(&bytes))));
    ck_assert(generations_capture(table, &look->reads, &look->captured));
}

static void look_at_keys(void)
{
    look();
    look_at_key(&one, "1");
    look_at_key(&two, "2");
}

TEST(a_row_of_one_key_raises_and_holds_that_key_and_the_table)
{
    static const char *const texts[] = {INTO_A, "table s.a: UPDATE: n[integer]:1 v[integer]:5",
                                        "table s.a: DELETE: n[integer]:1"};
    for (uint32_t i = 0; i < ARRAY_SIZE(texts); i++) {
        look_at_keys();
        TELL(7 + i, texts[i]);
        IS(one, "changed");
        IS(two, "current");
        IS(a, "changed");
        IS(b, "current");
        ck_assert(!may_capture(&one) && may_capture(&two) && !may_capture(&a));
        settle("90:90:");
        feed_sets_clear(&sets);
    }
}
END_TEST

TEST(an_update_of_the_key_is_one_of_both)
{
    look_at_keys();
    TELL(7, "table s.a: UPDATE: old-key: n[integer]:1 new-tuple: n[integer]:2");
    IS(one, "changed");
    IS(two, "changed");
}
END_TEST

TEST(a_row_whose_key_is_not_told_is_one_of_any)
{
    static const char *const texts[] = {
        "table s.a: UPDATE: (no-tuple-data)",
        "table s.a: DELETE: (no-tuple-data)",
        "table s.a: DELETE: m[integer]:1",
        "table s.a: UPDATE: old-key: m[integer]:1 new-tuple: n[integer]:3",
        "table s.a: INSERT: n[text]:'3'",
        "table s.b, s.a: TRUNCATE: (no-flags)",
    };
    for (uint32_t i = 0; i < ARRAY_SIZE(texts); i++) {
        look_at_keys();
        TELL(7 + i, "table s.a: INSERT: n[integer]:3", texts[i]);
        IS(one, "changed");
        IS(two, "changed");
        settle("90:90:");
        feed_sets_clear(&sets);
    }
}
END_TEST

TEST(many_keys_are_all_keys_of_the_table_and_not_the_database)
{
    look_at_keys();
    ck_assert_int_eq(told("BEGIN 7"), OK);
    for (uint32_t i = 0; i < 1000; i++) {
        char text[64];
        snprintf(text, sizeof(text), "table s.a: INSERT: n[integer]:%u", 1000 + i);
        ck_assert_int_eq(told(text), OK);
    }
    ck_assert_int_eq(told("COMMIT 7"), OK);
    IS(one, "changed");
    IS(two, "changed");
    IS(a, "changed");
    IS(b, "current");
}
END_TEST

TEST(keys_of_another_catalog_are_unknown)
{
    look_at_keys();
    TELL(7, DDL);
    settle("90:90:");
    struct look later;
    look_at(&later, "s", "b", database);
    TELL(91, INTO_A);
    IS(later, "current");
    settle("99:99:");
    look_at_keys();
    TELL(101, INTO_A);
    IS(one, "changed");
    IS(two, "current");
}
END_TEST

TEST(two_keys_of_a_table_are_all_keys)
{
    struct verdict_key key = {.type = VERDICT_KEY_INTEGER, .parameter = 1, .name = SPAN("m")};
    struct verdict verdict = {.keys = &key, .keys_count = 1};
    look_at_keys();
    ck_assert(!feed_keys_declare(keys, flight_relation_number(SPAN("s"), SPAN("a")),
                                 generations_catalog(table, database), &verdict));
    TELL(7, "table s.a: INSERT: n[integer]:3 m[integer]:4");
    IS(one, "changed");
    IS(two, "changed");
}
END_TEST

/* --- beside changes of the catalog ------------------------------------------------------------ */

TEST(what_was_written_before_the_catalog_changed_is_the_whole_database)
{
    static const char *const texts[] = {INTO_A, "table s.a: TRUNCATE: (no-flags)"};
    position = 1000;
    TELL(8, DDL);
    for (uint32_t i = 0; i < ARRAY_SIZE(texts); i++) {
        settle("90:90:");
        look();
        ck_assert_int_eq(told("BEGIN 7"), OK);
        position -= 500;
        ck_assert_int_eq(told(texts[i]), OK);
        position += 500;
        ck_assert_int_eq(told("COMMIT 7"), OK);
        IS(b, "changed");
    }
    look();
    TELL(9, INTO_A);
    IS(b, "current");
    feed_sets_begin(&sets, position + 500);
    TELL(10, INTO_A);
    IS(b, "changed");
}
END_TEST

TEST(a_change_of_the_catalog_is_held_as_long_as_what_was_told_before_it)
{
    TELL(7, INTO_A);
    TELL(8, DDL);
    TELL(9, "table s.b: INSERT: n[integer]:1");
    settle("7:10:7"); /* 7 waits for a standby */
    ck_assert_uint_eq(feed_sets_unsettled(&sets), 2);
    ck_assert(!may_capture(&b));
    TELL(9, DDL); /* contained in the snapshot too */
    ck_assert_uint_eq(feed_sets_unsettled(&sets), 3);
    settle("10:10:");
    ck_assert_uint_eq(feed_sets_unsettled(&sets), 0);
    ck_assert(may_capture(&b));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_transaction_raises_and_holds_its_tables_at_its_commit,
        every_kind_of_change_names_its_table,
        rows_of_several_tables_between_each_other_are_all_counted,
        what_tells_no_table_is_the_whole_database_and_its_catalog,
        a_marker_of_a_probe_changes_nothing,
        messages_beside_rows_and_outside_of_transactions_change_nothing_more,
        more_tables_than_a_set_holds_are_the_whole_database,
        a_slot_that_tells_two_phases_is_refused,
        names_are_part_of_the_number_where_they_end,
        a_hold_ends_by_a_snapshot_that_contains_the_transaction,
        an_earlier_snapshot_suffices_and_the_tables_are_raised_all_the_same,
        two_transactions_hold_a_table_until_both_are_seen,
        ids_may_go_round_while_transactions_are_held,
        beyond_the_limit_the_whole_database_is_held_until_all_of_the_rest_are_seen,
        what_is_cleared_holds_nothing_and_its_snapshot_is_forgotten,
        a_transaction_that_was_open_when_all_was_cleared_is_the_whole_database,
        a_row_of_one_key_raises_and_holds_that_key_and_the_table,
        an_update_of_the_key_is_one_of_both,
        a_row_whose_key_is_not_told_is_one_of_any,
        many_keys_are_all_keys_of_the_table_and_not_the_database,
        keys_of_another_catalog_are_unknown,
        two_keys_of_a_table_are_all_keys,
        what_was_written_before_the_catalog_changed_is_the_whole_database,
        a_change_of_the_catalog_is_held_as_long_as_what_was_told_before_it,
        NULL,
    };
    return unit_run("feed_sets", tests, start, stop);
}
