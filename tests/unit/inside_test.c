/* Writes of services whose writers are all inside: what is held and raised, and until when. */
#include "flight/inside.h"
#include "flight/relation.h"
#include "unit.h"

#include <stdlib.h>

static struct generations_table *table;
static struct insides *insides;
static struct inside *inside;
static struct inside_writes *writer, *other;

static void declare(uint64_t servers, bool first)
{
    struct inside_service service = {SPAN("main"), servers};
    insides_declare(insides, &service, 1, first);
}

static void setup(void)
{
    table = generations_table_new(4096);
    insides = insides_new(table);
    declare(1, true);
    inside = insides_get(insides, SPAN("main"));
    writer = inside_writes_new(inside, SPAN("app"));
    other = inside_writes_new(inside, SPAN("app"));
    ck_assert(writer != NULL && other != NULL);
}

static void teardown(void)
{
    inside_writes_free(&writer);
    inside_writes_free(&other);
    insides_free(&insides);
    generations_table_free(&table);
}

/* --- answers ---------------------------------------------------------------------------------- */

struct stored {
    struct generations_reads reads;
    uint64_t captured;
};

static struct generations_reads reads_of(const char *database, const char *name)
{
    struct generations_reads reads;
    inside_reads_init(inside, &reads, inside_database(inside, span_text(database)));
    ck_assert(generations_reads_table(table, &reads,
                                      flight_relation_number(SPAN("public"), span_text(name))));
    return reads;
}

/* Whether an execution that reads this table may be shared now. */
static bool capture(const char *name, struct stored *stored)
{
    stored->reads = reads_of("app", name);
    return generations_capture(table, &stored->reads, &stored->captured);
}

static enum generations_state state_of(const struct stored *stored)
{
    return generations_check(table, stored->reads.slots, stored->reads.count, stored->captured);
}

/* Two answers, of the tables a and b. */
static struct stored a, b;

static void store_both(void)
{
    ck_assert(capture("a", &a) && capture("b", &b));
}

#define BOTH(of_a, of_b)                                                                           \
    do {                                                                                           \
        ck_assert_int_eq(state_of(&a), GENERATIONS_##of_a);                                        \
        ck_assert_int_eq(state_of(&b), GENERATIONS_##of_b);                                        \
    } while (0)

/* --- writes ----------------------------------------------------------------------------------- */

static void listed_in(struct inside_writes *writes, const char *name)
{
    struct verdict_relation relation = {
        .stored = true, .schema = SPAN("public"), .name = span_text(name)};
    struct verdict verdict = {
        .writes = VERDICT_WRITES_LISTED, .written = &relation, .written_count = 1};
    inside_writes_listed(writes, &verdict, inside_catalog(inside), NULL);
}

/* Notes the row of one key of the table. */
static void keyed_in(struct inside_writes *writes, const char *name, uint64_t key)
{
    struct verdict_relation relations[] = {
        {.oid = 1, .stored = true, .schema = SPAN("public"), .name = span_text(name)},
        {.oid = 2, .stored = true, .schema = SPAN("public"), .name = SPAN("behind")}};
    struct verdict verdict = {.writes = VERDICT_WRITES_LISTED,
                              .written = relations,
                              .written_count = ARRAY_SIZE(relations),
                              .key_relation = 1};
    inside_writes_listed(writes, &verdict, inside_catalog(inside), &key);
}

static void commit(struct inside_writes *writes)
{
    inside_writes_raise(writes);
    inside_writes_settle(writes);
    inside_writes_clear(writes);
}

TEST(a_listed_write_holds_and_raises_its_table)
{
    store_both();
    listed_in(writer, "a");
    BOTH(CURRENT, CURRENT);
    inside_writes_doubt(writer);
    BOTH(HELD, CURRENT);
    inside_writes_raise(writer);
    ck_assert_int_ne(state_of(&a), GENERATIONS_CURRENT);
    struct stored late;
    ck_assert(!capture("a", &late));
    commit(writer);
    BOTH(CHANGED, CURRENT);
    ck_assert(capture("a", &late));
}
END_TEST

static bool capture_key(const char *name, uint64_t key, struct stored *ret)
{
    inside_reads_init(inside, &ret->reads, writer->database);
    uint32_t number = flight_relation_number(SPAN("public"), span_text(name));
    return generations_reads_key(table, &ret->reads, number, key) &&
           generations_capture(table, &ret->reads, &ret->captured);
}

TEST(a_write_of_one_key_keeps_the_others_and_no_reader_of_the_table)
{
    struct stored one, two, whole, behind;
    ck_assert(capture_key("a", 1, &one) && capture_key("a", 2, &two));
    ck_assert(capture("a", &whole) && capture("behind", &behind));
    keyed_in(writer, "a", 1);
    inside_writes_doubt(writer);
    ck_assert_int_eq(state_of(&one), GENERATIONS_HELD);
    ck_assert_int_eq(state_of(&two), GENERATIONS_CURRENT);
    ck_assert_int_eq(state_of(&whole), GENERATIONS_HELD);
    ck_assert_int_eq(state_of(&behind), GENERATIONS_HELD);
    commit(writer);
    ck_assert_int_eq(state_of(&one), GENERATIONS_CHANGED);
    ck_assert_int_eq(state_of(&two), GENERATIONS_CURRENT);
    ck_assert_int_eq(state_of(&whole), GENERATIONS_CHANGED);
    ck_assert_int_eq(state_of(&behind), GENERATIONS_CHANGED);
}
END_TEST

TEST(a_write_of_many_keys_is_one_of_the_table_and_not_of_the_database)
{
    struct stored far, late;
    ck_assert(capture_key("a", 1000, &far) && capture_key("b", 1, &late));
    for (uint64_t key = 0; key < 200; key++)
        keyed_in(writer, "a", key);
    inside_writes_doubt(writer);
    ck_assert_int_eq(state_of(&far), GENERATIONS_HELD);
    ck_assert_int_eq(state_of(&late), GENERATIONS_CURRENT);
    commit(writer);
    ck_assert_int_eq(state_of(&late), GENERATIONS_CURRENT);
}
END_TEST

TEST(what_is_rolled_back_changes_nothing)
{
    store_both();
    listed_in(writer, "a");
    inside_writes_note(writer, INSIDE_CATALOG);
    inside_writes_doubt(writer);
    BOTH(HELD, HELD);
    inside_writes_settle(writer);
    inside_writes_clear(writer);
    BOTH(CURRENT, CURRENT);
}
END_TEST

TEST(a_transaction_holds_all_that_it_has_written)
{
    store_both();
    listed_in(writer, "a");
    inside_writes_doubt(writer);
    listed_in(writer, "b");
    inside_writes_doubt(writer);
    BOTH(HELD, HELD);
    commit(writer);
    BOTH(CHANGED, CHANGED);
}
END_TEST

TEST(unlisted_writes_are_of_the_whole_database)
{
    struct generations_reads elsewhere = reads_of("other", "a");
    uint64_t captured;
    ck_assert(generations_capture(table, &elsewhere, &captured));
    store_both();
    uint64_t catalog = inside_catalog(inside);
    listed_in(writer, "a");
    inside_writes_note(writer, INSIDE_DATABASE);
    inside_writes_doubt(writer);
    BOTH(HELD, HELD);
    commit(writer);
    BOTH(CHANGED, CHANGED);
    ck_assert_uint_eq(inside_catalog(inside), catalog);
    ck_assert_int_eq(generations_check(table, elsewhere.slots, elsewhere.count, captured),
                     GENERATIONS_CURRENT);
}
END_TEST

TEST(a_change_of_the_catalog_is_of_all_databases)
{
    struct generations_reads elsewhere = reads_of("other", "a");
    uint64_t captured, catalog = inside_catalog(inside);
    ck_assert(generations_capture(table, &elsewhere, &captured));
    inside_writes_note(writer, INSIDE_CATALOG);
    inside_writes_doubt(writer);
    ck_assert_int_eq(generations_check(table, elsewhere.slots, elsewhere.count, captured),
                     GENERATIONS_HELD);
    commit(writer);
    ck_assert_int_eq(generations_check(table, elsewhere.slots, elsewhere.count, captured),
                     GENERATIONS_CHANGED);
    ck_assert_uint_gt(inside_catalog(inside), catalog);
}
END_TEST

/* --- a catalog that changes meanwhile --------------------------------------------------------- */

static void change_catalog(struct inside_writes *writes)
{
    inside_writes_note(writes, INSIDE_CATALOG);
    inside_writes_doubt(writes);
    commit(writes);
}

TEST(a_write_in_doubt_holds_all_behind_a_change_of_the_catalog)
{
    struct stored late;
    listed_in(writer, "a");
    inside_writes_doubt(writer);
    change_catalog(other); /* a trigger on a, which writes b */
    ck_assert(!capture("b", &late));
    commit(writer);
    ck_assert(capture("b", &late));
}
END_TEST

TEST(a_write_from_before_a_change_of_the_catalog_is_of_the_whole_database)
{
    listed_in(writer, "a");
    inside_writes_doubt(writer);
    change_catalog(other);
    inside_writes_raise(writer);
    inside_writes_settle(writer);
    store_both();
    inside_writes_clear(writer);
    listed_in(writer, "a");
    change_catalog(other);
    store_both();
    inside_writes_doubt(writer); /* its COMMIT is sent now */
    BOTH(HELD, HELD);
    commit(writer);
    BOTH(CHANGED, CHANGED);
}
END_TEST

TEST(an_outdated_write_changes_all_once_it_has_ended)
{
    listed_in(writer, "a");
    inside_writes_doubt(writer);
    change_catalog(other);
    struct generations_reads reads = reads_of("app", "b");
    uint64_t captured;
    inside_writes_raise(writer);
    ck_assert(!generations_capture(table, &reads, &captured));
    commit(writer);
    ck_assert(generations_capture(table, &reads, &captured));
}
END_TEST

/* --- lost connections ------------------------------------------------------------------------- */

TEST(what_a_lost_connection_may_commit_stays_in_doubt_until_its_backend_is_gone)
{
    uint32_t pids[INSIDE_LOST_MAX];
    store_both();
    listed_in(writer, "a");
    inside_writes_doubt(writer);
    inside_writes_lost(writer, 7);
    BOTH(HELD, CURRENT);
    ck_assert(inside_has_lost(inside));
    ck_assert_uint_eq(inside_lost_pids(inside, pids), 1);
    ck_assert_uint_eq(pids[0], 7);
    inside_gone(inside, 8);
    BOTH(HELD, CURRENT);
    inside_gone(inside, 7);
    BOTH(CHANGED, CURRENT);
    ck_assert(!inside_has_lost(inside));
}
END_TEST

TEST(a_lost_connection_without_doubt_leaves_nothing)
{
    store_both();
    listed_in(writer, "a");
    inside_writes_lost(writer, 7);
    ck_assert(!inside_has_lost(inside));
    BOTH(CURRENT, CURRENT);
}
END_TEST

TEST(more_lost_connections_than_there_is_room_for_hold_everything)
{
    struct stored late;
    for (uint32_t i = 0; i <= INSIDE_LOST_MAX; i++) {
        listed_in(writer, "a");
        inside_writes_doubt(writer);
        inside_writes_lost(writer, 100 + i);
        inside_writes_clear(writer);
    }
    for (uint32_t i = 0; i < INSIDE_LOST_MAX; i++)
        inside_gone(inside, 100 + i);
    ck_assert(!capture("b", &late));
    insides_change(insides, SPAN("main"));
    ck_assert(capture("b", &late));
}
END_TEST

TEST(another_primary_changes_all_and_ends_the_doubt)
{
    store_both();
    listed_in(writer, "a");
    inside_writes_doubt(writer);
    inside_writes_lost(writer, 7);
    insides_change(insides, SPAN("main"));
    BOTH(CHANGED, CHANGED);
    ck_assert(!inside_has_lost(inside));
}
END_TEST

/* --- the declaration -------------------------------------------------------------------------- */

TEST(a_declaration_counts_from_the_start_while_its_servers_stay)
{
    ck_assert(inside_counts(inside));
    declare(1, false);
    ck_assert(inside_counts(inside));
    declare(2, false);
    ck_assert(!inside_counts(inside));
    declare(1, false);
    ck_assert(!inside_counts(inside));
}
END_TEST

TEST(a_declaration_by_a_reload_does_not_count)
{
    struct inside_service service = {SPAN("late"), 1};
    insides_declare(insides, &service, 1, false);
    ck_assert(!inside_counts(insides_get(insides, SPAN("late"))));
    ck_assert(!inside_counts(inside));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_listed_write_holds_and_raises_its_table,
        a_write_of_one_key_keeps_the_others_and_no_reader_of_the_table,
        a_write_of_many_keys_is_one_of_the_table_and_not_of_the_database,
        what_is_rolled_back_changes_nothing,
        a_transaction_holds_all_that_it_has_written,
        unlisted_writes_are_of_the_whole_database,
        a_change_of_the_catalog_is_of_all_databases,
        a_write_in_doubt_holds_all_behind_a_change_of_the_catalog,
        a_write_from_before_a_change_of_the_catalog_is_of_the_whole_database,
        an_outdated_write_changes_all_once_it_has_ended,
        what_a_lost_connection_may_commit_stays_in_doubt_until_its_backend_is_gone,
        a_lost_connection_without_doubt_leaves_nothing,
        more_lost_connections_than_there_is_room_for_hold_everything,
        another_primary_changes_all_and_ends_the_doubt,
        a_declaration_counts_from_the_start_while_its_servers_stay,
        a_declaration_by_a_reload_does_not_count,
        NULL,
    };
    return unit_run("inside", tests, setup, teardown);
}
