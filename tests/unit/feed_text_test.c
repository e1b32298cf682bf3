/* Texts that PostgreSQL 15 wrote (tests/integration/test_flight_facts_decoding.py has most of
 * them), and what it doesn't write. */
#include "flight/feed_text.h"
#include "unit.h"

#include <stdio.h>

static struct feed_text understood(struct span text)
{
    struct feed_text read;
    ck_assert_msg(feed_read_text(text, &read) == OK, "%.*s", SPAN_ARG(text));
    return read;
}

static void refused(struct span text)
{
    struct feed_text read;
    ck_assert_msg(feed_read_text(text, &read) == FAULT_PROTOCOL, "%.*s", SPAN_ARG(text));
}

static void table_is(const struct feed_table *table, const char *schema, const char *name)
{
    ck_assert(span_is(feed_name_span(&table->schema), schema));
    ck_assert(span_is(feed_name_span(&table->name), name));
}

static void literal_is(struct span literal, const char *text)
{
    struct buffer out = BUFFER_INIT(1000);
    feed_put_literal(&out, literal);
    ck_assert_msg(span_is(buffer_span(&out), text), "%.*s", SPAN_ARG(buffer_span(&out)));
    buffer_fini(&out);
}

static void column_is(struct span *columns, const char *name, const char *type, const char *value)
{
    struct feed_column column;
    ck_assert(feed_next_column(columns, &column));
    ck_assert(span_is(feed_name_span(&column.name), name));
    ck_assert(span_is(column.type, type));
    ck_assert_int_eq(column.value, FEED_VALUE);
    literal_is(column.literal, value);
}

TEST(transactions_begin_and_end)
{
    struct feed_text read = understood(SPAN("BEGIN 741"));
    ck_assert(read.kind == FEED_BEGIN && read.xid == 741);
    read = understood(SPAN("COMMIT 4294967295"));
    ck_assert(read.kind == FEED_COMMIT && read.xid == UINT32_MAX);
    read = understood(SPAN("COMMIT 741 (at 2026-11-23 08:00:00.123456+00)"));
    ck_assert(read.kind == FEED_COMMIT && read.xid == 741);
    refused(SPAN(""));
    refused(SPAN("BEGIN"));
    refused(SPAN("BEGIN 0"));
    refused(SPAN("BEGIN 01"));
    refused(SPAN("BEGIN 4294967296"));
    refused(SPAN("BEGIN 99999999999999999999999"));
    refused(SPAN("BEGIN 741 "));
    refused(SPAN("BEGIN -1"));
    refused(SPAN("COMMIT 741 (at )"));
    refused(SPAN("COMMIT 741 (at x"));
    refused(SPAN("COMMIT 741 (at x) "));
    refused(SPAN("opening a streamed block for transaction"));
}

TEST(two_phases)
{
    struct feed_text read = understood(SPAN("PREPARE TRANSACTION 'it''s', txid 9"));
    ck_assert(read.kind == FEED_PREPARE && read.xid == 9);
    literal_is(read.gid, "it's");
    read = understood(SPAN("COMMIT PREPARED E'it''s\\\\one', txid 12 (at 2026-11-23 08:00:00+00)"));
    ck_assert(read.kind == FEED_COMMIT_PREPARED && read.xid == 12);
    literal_is(read.gid, "it's\\one");
    read = understood(SPAN("ROLLBACK PREPARED ', txid 5', txid 6"));
    ck_assert(read.kind == FEED_ROLLBACK_PREPARED && read.xid == 6);
    literal_is(read.gid, ", txid 5");
    refused(SPAN("PREPARE TRANSACTION 'a'"));
    refused(SPAN("PREPARE TRANSACTION a, txid 9"));
    refused(SPAN("PREPARE TRANSACTION 'a, txid 9"));
    refused(SPAN("COMMIT PREPARED 'a'', txid 9"));
}

TEST(an_insert_has_all_columns)
{
    struct feed_text read = understood(SPAN(
        "table s.t: INSERT: n[integer]:1 w[text]:'it''s\na\\b' b[boolean]:true bits[bit]:B'101'"
        " f[double precision]:NaN e[real]:-1.5e-07 z[text]:'' t[timestamp without time zone]:"
        "'2026-11-23 08:00:00'"));
    ck_assert_int_eq(read.kind, FEED_INSERT);
    table_is(&read.table, "s", "t");
    ck_assert(!read.old_row.told && read.new_row.told);
    struct span columns = read.new_row.columns;
    column_is(&columns, "n", "integer", "1");
    column_is(&columns, "w", "text", "it's\na\\b");
    column_is(&columns, "b", "boolean", "true");
    column_is(&columns, "bits", "bit", "101");
    column_is(&columns, "f", "double precision", "NaN");
    column_is(&columns, "e", "real", "-1.5e-07");
    column_is(&columns, "z", "text", "");
    column_is(&columns, "t", "timestamp without time zone", "2026-11-23 08:00:00");
    struct feed_column none;
    ck_assert(!feed_next_column(&columns, &none));
}

TEST(odd_names_and_types)
{
    struct feed_text read = understood(
        SPAN("table \"S\".\"odd: [n]ame, \"\"x\"\"\": INSERT: \"select\"[integer]:1 \"a b\""
             "[integer[]]:'{1}' \"c]:d\"[\"char\"]:'c' d[s.\"d]o\"\"\"[]]:'{2}'"));
    table_is(&read.table, "S", "odd: [n]ame, \"x\"");
    struct span columns = read.new_row.columns;
    column_is(&columns, "select", "integer", "1");
    column_is(&columns, "a b", "integer[]", "{1}");
    column_is(&columns, "c]:d", "\"char\"", "c");
    column_is(&columns, "d", "s.\"d]o\"\"\"[]", "{2}");
    ck_assert_uint_eq(columns.size, 0);
}

TEST(an_update_may_tell_the_old_key)
{
    struct feed_text read = understood(SPAN("table s.t: UPDATE: n[integer]:1 w[text]:'b'"));
    ck_assert(read.kind == FEED_UPDATE && !read.old_row.told && read.new_row.told);
    read = understood(SPAN(
        "table s.t: UPDATE: old-key: n[integer]:1 new-tuple: n[integer]:2 w[text]:' new-tuple:'"));
    ck_assert(read.old_row.told && read.new_row.told);
    struct span columns = read.old_row.columns;
    column_is(&columns, "n", "integer", "1");
    ck_assert_uint_eq(columns.size, 0);
    columns = read.new_row.columns;
    column_is(&columns, "n", "integer", "2");
    column_is(&columns, "w", "text", " new-tuple:");
    read = understood(SPAN("table s.t: UPDATE: \"new-tuple\"[integer]:1"));
    ck_assert(!read.old_row.told);
    read = understood(SPAN("table s.t: UPDATE:"));
    ck_assert(read.new_row.told && read.new_row.columns.size == 0);
    refused(SPAN("table s.t: UPDATE: old-key: n[integer]:1"));
    refused(SPAN("table s.t: UPDATE: new-tuple: n[integer]:1"));
}

TEST(a_row_may_not_be_told)
{
    struct feed_text read = understood(SPAN("table s.t: DELETE: (no-tuple-data)"));
    ck_assert(read.kind == FEED_DELETE && !read.old_row.told && !read.new_row.told);
    read = understood(SPAN("table s.t: DELETE: n[integer]:1"));
    ck_assert(read.kind == FEED_DELETE && read.old_row.told && !read.new_row.told);
    read = understood(SPAN("table s.t: INSERT: (no-tuple-data)"));
    ck_assert(!read.new_row.told);
    refused(SPAN("table s.t: DELETE: (no-tuple-data) n[integer]:1"));
}

TEST(a_truncate_has_one_table_or_several)
{
    struct feed_text read = understood(
        SPAN("table s.t, \"s, x\".\"u: TRUNCATE:\", s.v: TRUNCATE: restart_seqs cascade"));
    ck_assert_int_eq(read.kind, FEED_TRUNCATE);
    struct feed_table table;
    ck_assert(feed_next_table(&read.tables, &table));
    table_is(&table, "s", "t");
    ck_assert(feed_next_table(&read.tables, &table));
    table_is(&table, "s, x", "u: TRUNCATE:");
    ck_assert(feed_next_table(&read.tables, &table));
    table_is(&table, "s", "v");
    ck_assert(!feed_next_table(&read.tables, &table));
    understood(SPAN("table s.t: TRUNCATE: (no-flags)"));
    understood(SPAN("table s.t: TRUNCATE: cascade"));
    refused(SPAN("table s.t: TRUNCATE:"));
    refused(SPAN("table s.t: TRUNCATE: cascade restart_seqs"));
    refused(SPAN("table s.t, s.u: INSERT: n[integer]:1"));
    refused(SPAN("table s.t,s.u: TRUNCATE: cascade"));
}

TEST(messages)
{
    struct feed_text read =
        understood(SPAN("message: transactional: 1 prefix: mark, sz: 3 content:a\0b"));
    ck_assert(read.kind == FEED_MESSAGE && read.transactional);
    ck_assert(span_is(read.prefix, "mark") && span_equal(read.content, SPAN("a\0b")));
    read = understood(SPAN("message: transactional: 0 prefix: , sz: 0 content:"));
    ck_assert(!read.transactional && read.prefix.size == 0 && read.content.size == 0);
    read =
        understood(SPAN("message: transactional: 1 prefix: a, sz: 1 content:, sz: 3 content:x\ny"));
    ck_assert(span_is(read.prefix, "a, sz: 1 content:") && span_is(read.content, "x\ny"));
    refused(SPAN("message: transactional: 2 prefix: a, sz: 0 content:"));
    refused(SPAN("message: transactional: 1 prefix: a, sz: 2 content:x"));
    refused(SPAN("message: transactional: 1 prefix: a, sz: 1 content:xy"));
    refused(SPAN("message: transactional: 1 prefix: a\0b, sz: 1 content:x"));
    refused(SPAN("message: transactional: 1 prefix: a"));
}

/* Its writer may be anybody: what a message of ours says can't depend on its content. */
TEST(of_two_readings_of_a_message_the_one_with_the_shorter_prefix_is_taken)
{
    struct feed_text read =
        understood(SPAN("message: transactional: 1 prefix: mark, sz: 16 content:, sz: 0 content:"));
    ck_assert(span_is(read.prefix, "mark") && span_is(read.content, ", sz: 0 content:"));
}

TEST(what_is_no_change_is_refused)
{
    refused(SPAN("table "));
    refused(SPAN("table t: INSERT: n[integer]:1"));
    refused(SPAN("table s.: INSERT: n[integer]:1"));
    refused(SPAN("table s.\"\": INSERT: n[integer]:1"));
    refused(SPAN("table S.t: INSERT: n[integer]:1"));
    refused(SPAN("table s.1t: INSERT: n[integer]:1"));
    refused(SPAN("table s.\"t: INSERT: n[integer]:1"));
    refused(SPAN("table s.t: UPSERT: n[integer]:1"));
    refused(SPAN("table s.t: INSERT: n[integer]:1 "));
    refused(SPAN("table s.t: INSERT:  n[integer]:1"));
    refused(SPAN("table s.t: INSERT: n[]:1"));
    refused(SPAN("table s.t: INSERT: n[integer:1"));
    refused(SPAN("table s.t: INSERT: n[integer]1"));
    refused(SPAN("table s.t: INSERT: n[integer]:"));
    refused(SPAN("table s.t: INSERT: n[integer]:1x"));
    refused(SPAN("table s.t: INSERT: n[integer]:1.e"));
    refused(SPAN("table s.t: INSERT: n[integer]:nothing"));
    refused(SPAN("table s.t: INSERT: n[text]:'a"));
    refused(SPAN("table s.t: INSERT: n[text]:'a''"));
    refused(SPAN("table s.t: INSERT: n[text]:'a'b"));
    refused(SPAN("table s.t: INSERT: n[text]:'a\0b'"));
    refused(SPAN("table s.t: INSERT: n[text]:E'a'"));
    refused(SPAN("table s.t: INSERT: n[bit]:B1"));
}

TEST(every_beginning_of_a_text_is_refused_or_a_shorter_row)
{
    struct span whole = SPAN("table s.t: UPDATE: old-key: n[integer]:1 new-tuple: n[text]:'a'");
    for (size_t size = 0; size < whole.size; size++) {
        struct feed_text read;
        bool whole_row = size == strlen("table s.t: UPDATE: old-key: n[integer]:1 new-tuple:");
        bool no_row = size == strlen("table s.t: UPDATE:");
        ck_assert((feed_read_text(span_of(whole.at, size), &read) == OK) == (whole_row || no_row));
    }
}

TEST(names_have_at_most_63_bytes)
{
    char text[200];
    for (int size = 60; size < 70; size++) {
        struct feed_text read;
        snprintf(text, sizeof(text), "table s.%0*d\": INSERT:", size + 1, 0);
        text[strlen("table s.")] = '"';
        ck_assert((feed_read_text(span_text(text), &read) == OK) == (size <= FEED_NAME_MAX));
        ck_assert(size > FEED_NAME_MAX || read.table.name.size == size);
    }
}

TEST(key_columns_are_found_by_name)
{
    struct feed_text read =
        understood(SPAN("table s.t: INSERT: a[integer]:1 b[text]:'it''s' c[text]:"
                        "null d[text]:unchanged-toast-datum e[text]:'null'"));
    struct feed_column found[2];
    struct span names[] = {SPAN("b"), SPAN("a")};
    ck_assert(feed_find_columns(read.new_row, names, 2, found));
    literal_is(found[0].literal, "it's");
    literal_is(found[1].literal, "1");
    ck_assert(!feed_find_columns(read.old_row, names, 2, found));
    ck_assert(feed_find_columns(read.new_row, (struct span[]){SPAN("e")}, 1, found));
    literal_is(found[0].literal, "null");
    ck_assert(!feed_find_columns(read.new_row, (struct span[]){SPAN("c")}, 1, found));
    ck_assert(!feed_find_columns(read.new_row, (struct span[]){SPAN("d")}, 1, found));
    ck_assert(!feed_find_columns(read.new_row, (struct span[]){SPAN("f")}, 1, found));
    read = understood(SPAN("table s.t: INSERT: a[integer]:1 a[integer]:2"));
    ck_assert(!feed_find_columns(read.new_row, names, 2, found));
}

TESTS("feed_text", transactions_begin_and_end, two_phases, an_insert_has_all_columns,
      odd_names_and_types, an_update_may_tell_the_old_key, a_row_may_not_be_told,
      a_truncate_has_one_table_or_several, messages,
      of_two_readings_of_a_message_the_one_with_the_shorter_prefix_is_taken,
      what_is_no_change_is_refused, every_beginning_of_a_text_is_refused_or_a_shorter_row,
      names_have_at_most_63_bytes, key_columns_are_found_by_name)
