/* What a text may commit, and the text without its literals. */
#include "query/shape.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static struct query_shape shape_of(const char *text, char bare[512])
{
    struct buffer buffer = BUFFER_INIT(4096);
    struct query_shape shape = query_shape_of(span_text(text), &buffer);
    ck_assert_int_eq(buffer_fault(&buffer), OK);
    snprintf(bare, 512, "%.*s", (int)buffer.size, buffer.size == 0 ? "" : (const char *)buffer.at);
    buffer_fini(&buffer);
    return shape;
}

static const struct {
    const char *text;
    enum query_shape_extent extent;
    const char *marks; /* e: ends; s: settles; p: presets; 1: sure */
} shapes[] = {
    {"", QUERY_SHAPE_NOTHING, ""},
    {"-- nothing", QUERY_SHAPE_NOTHING, ""},
    {"select 1", QUERY_SHAPE_ROWS, "1"},
    {"/* a */ Select 1;", QUERY_SHAPE_ROWS, "1"},
    {"((select 1))", QUERY_SHAPE_ROWS, "1"},
    {"insert into t values ('a; drop table t')", QUERY_SHAPE_ROWS, "1"},
    {"insert into t values ($$a; drop table t$$)", QUERY_SHAPE_ROWS, "1"},
    {"with x as (insert into t values (1) returning n) select n from x", QUERY_SHAPE_ROWS, "1"},
    {"merge into t using u on true when matched then delete", QUERY_SHAPE_ROWS, "1"},
    {"truncate t", QUERY_SHAPE_ROWS, "1"},
    {"copy t from stdin", QUERY_SHAPE_ROWS, "1"},
    {"select 1; select 2", QUERY_SHAPE_UNKNOWN, ""},
    {"fetch c", QUERY_SHAPE_UNKNOWN, "1"},
    {"execute x", QUERY_SHAPE_UNKNOWN, "1"},
    {"explain analyze update t set n = 1", QUERY_SHAPE_UNKNOWN, "1"},
    {"begin", QUERY_SHAPE_NOTHING, "1"},
    {"commit", QUERY_SHAPE_NOTHING, "e1"},
    {"END", QUERY_SHAPE_NOTHING, "e1"},
    {"rollback to x", QUERY_SHAPE_NOTHING, "es1"},
    {"prepare transaction 'x'", QUERY_SHAPE_NOTHING, "e1"},
    {"set search_path = x", QUERY_SHAPE_NOTHING, "s1"},
    {"commit; insert into t values (1)", QUERY_SHAPE_UNKNOWN, "e"},
    {"insert into t values (1); commit", QUERY_SHAPE_UNKNOWN, "e"},
    {"commit prepared 'x'", QUERY_SHAPE_CATALOG, "ep1"},
    {"commit /* */ PREPARED 'x'", QUERY_SHAPE_CATALOG, "ep1"},
    {"create table t (n int)", QUERY_SHAPE_CATALOG, "s1"},
    {"commit; create table t (n int); select 1", QUERY_SHAPE_CATALOG, "es"},
    {"alter table t add m int", QUERY_SHAPE_CATALOG, "s1"},
    {"alter role r set search_path = x", QUERY_SHAPE_CATALOG, "sp1"},
    {"alter database d set search_path = x", QUERY_SHAPE_CATALOG, "sp1"},
    {"do $$ begin end $$", QUERY_SHAPE_CATALOG, "sp1"},
    {"call f()", QUERY_SHAPE_CATALOG, "sp1"},
    {"select * into u from t", QUERY_SHAPE_CATALOG, "1"},
    {"explain analyze create table u as select 1", QUERY_SHAPE_CATALOG, "1"},
    {"select 'a\\'; drop table t; --'", QUERY_SHAPE_CATALOG, "esp"},
    {"nonsense", QUERY_SHAPE_CATALOG, "sp1"},
};

TEST(each_text_has_its_extent)
{
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        char bare[512], marks[8];
        struct query_shape shape = shape_of(shapes[i].text, bare);
        snprintf(marks, sizeof(marks), "%s%s%s%s", shape.ends ? "e" : "", shape.settles ? "s" : "",
                 shape.presets ? "p" : "", shape.sure ? "1" : "");
        ck_assert_msg(shape.extent == shapes[i].extent && strcmp(marks, shapes[i].marks) == 0,
                      "%s: extent %d, marks %s", shapes[i].text, (int)shape.extent, marks);
        ck_assert_int_eq(bare[0] != '\0', shape.sure);
    }
}
END_TEST

static bool same(const char *a, const char *b)
{
    char first[512], second[512];
    return shape_of(a, first).sure && shape_of(b, second).sure && strcmp(first, second) == 0;
}

TEST(literals_do_not_count)
{
    ck_assert(same("update t set n = 1 where m = 'a'", "update t set n = 20  where m = 'b''c'"));
    ck_assert(same("select $$a$$", "select $x$b$x$"));
    ck_assert(same("select /* a */ 1", "select 2 -- b"));
    ck_assert(same("select E'a\\'b'", "select 'a'"));
}
END_TEST

TEST(whatever_a_name_may_depend_on_counts)
{
    static const char *const pairs[][2] = {
        {"select f(1)", "select f(3000000000)"}, /* int4, int8 */
        {"select f(1)", "select f(1.0)"},        /* numeric */
        {"select f(1)", "select f('1')"},        /* unknown */
        {"select f('1')", "select f(B'1')"},     /* bit */
        {"select f(1)", "select f($1)"},         /* a parameter */
        {"select f($1)", "select f($2)"},        /**/
        {"select a >= b", "select a > = b"},     /* operators */
        {"select \"A\"", "select A"},            /* names */
        {"select \"a b\"", "select \"a\" b"},    /**/
        {"select 1 a", "select 1a"},             /**/
        {"insert into t select 1", "insert into u select 1"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        ck_assert_msg(!same(pairs[i][0], pairs[i][1]), "%s, %s", pairs[i][0], pairs[i][1]);
}
END_TEST

TEST(a_text_without_room_has_no_bare_one)
{
    struct buffer buffer = BUFFER_INIT(8);
    (void)query_shape_of(SPAN("select aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &buffer);
    ck_assert_int_eq(buffer_fault(&buffer), FAULT_LIMIT);
    buffer_fini(&buffer);
}
END_TEST

TESTS("shape", each_text_has_its_extent, literals_do_not_count,
      whatever_a_name_may_depend_on_counts, a_text_without_room_has_no_bare_one)
