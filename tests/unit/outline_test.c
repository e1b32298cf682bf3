/* What a SQL text is, without its constants: query/outline.h. */
#include "query/outline.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static struct query_outline *outline_of(const char *text)
{
    struct query_outline *outline = NULL;
    ck_assert_int_eq(query_outline_new(span_text(text), &outline), OK);
    return outline;
}

static void add(char *line, size_t size, struct span text)
{
    size_t used = strlen(line);
    snprintf(line + used, size - used, "%.*s", SPAN_ARG(text));
}

static void add_object(char *line, size_t size, struct query_object is)
{
    add(line, size, SPAN(" "));
    if (is.schema.size > 0) {
        add(line, size, is.schema);
        add(line, size, SPAN("."));
    }
    add(line, size, is.name);
}

/* The verbs, then relations behind "r", then functions behind "f". */
static const char *view(const struct query_outline *outline, char *line, size_t size)
{
    line[0] = '\0';
    for (unsigned verb = 0; verb < QUERY_VERBS; verb++)
        if (query_outline_does(outline, verb)) {
            add(line, size, span_text(query_verb_word(verb)));
            add(line, size, SPAN(" "));
        }
    add(line, size, SPAN("r"));
    for (uint32_t i = 0; i < outline->relations_count; i++)
        add_object(line, size, outline->relations[i].is);
    add(line, size, SPAN(" f"));
    for (uint32_t i = 0; i < outline->functions_count; i++)
        add_object(line, size, outline->functions[i]);
    return line;
}

static void check_view(const char *text, const char *expected)
{
    char line[1024];
    struct query_outline *outline = outline_of(text);
    ck_assert(outline->parsed && !outline->partial);
    view(outline, line, sizeof(line));
    ck_assert_msg(strcmp(line, expected) == 0, "%s\n  is       %s\n  expected %s", text, line,
                  expected);
    query_outline_unref(&outline);
    ck_assert_ptr_null(outline);
}

static void check_shown(const char *text, const char *expected)
{
    struct query_outline *outline = outline_of(text);
    ck_assert_msg(span_is(outline->shown, expected), "%s\n  is       %.*s\n  expected %s", text,
                  SPAN_ARG(outline->shown), expected);
    query_outline_unref(&outline);
}

TEST(verbs_and_names_of_statements)
{
    check_view("select f(1), s.g(2) from a, b.c", "select r a b.c f f s.g");
    check_view("values (1)", "select r f");
    check_view("insert into a select f(x) from b", "insert r b a f f");
    check_view("insert into a values (1)", "insert r a f");
    check_view("update a set x = (select max(y) from b) where z = 1", "update r b a f max");
    check_view("with d as (delete from a returning x) select x from d", "select delete r a f");
    check_view("merge into a using b on a.x = b.x when matched then delete",
               "delete merge r b a f");
    check_view("truncate a, b", "truncate r a b f");
    check_view("copy a from stdin", "copy r a f");
    check_view("copy (delete from a returning x) to stdout", "delete copy r a f");
    check_view("begin; select 1; commit", "select begin commit r f");
    check_view("start transaction", "begin r f");
    check_view("rollback to a", "rollback r f");
    check_view("commit prepared 'x'", "commit r f");
    check_view("set a = 1; reset all; show a", "set reset show r f");
    check_view("call s.p(f(1))", "call r f s.p f");
    check_view("vacuum a", "vacuum r a f");
    check_view("analyze a", "analyze r a f");
    check_view("", "r f");
    check_view(" /* nothing */ ;", "r f");
}

/* The objects of statements whose trees the analysis does not walk are named all the same. */
TEST(statements_within_others_and_ddl)
{
    check_view("prepare p as delete from a where f(x)", "delete prepare r a f f");
    check_view("explain analyze update a set x = 1", "update explain r a f");
    check_view("declare c cursor for select f() from a", "select declare r a f f");
    check_view("create table b as select f() from a", "select create r a b f f");
    check_view("select * into b from a", "select create r a f");
    check_view("create view v as select 1 from s.a", "select create r v s.a f");
    check_view("drop table s.a, b", "drop r s.a b f");
    check_view("drop function f(int)", "drop r f");
    check_view("alter table a add column b int", "alter r a f");
    check_view("alter table a rename to b", "alter r a f");
    check_view("lock table a", "lock r a f");
    check_view("grant select on a to b", "grant r a f");
    check_view("revoke select on a from b", "revoke r a f");
    check_view("create index on a (f(x))", "create r a f f");
    check_view("do 'begin end'", "do r f");
}

TEST(an_update_or_delete_without_where)
{
    static const char *const all[] = {
        "delete from a",
        "update a set x = 1",
        "with d as (delete from a returning *) select * from d",
        "prepare p as delete from a",
        "explain delete from a",
        "select 1; delete from a",
    };
    static const char *const some[] = {
        "delete from a where x = 1",
        "update a set x = 1 where false",
        "delete from a where current of c",
        "truncate a",
        "select 1 from a for update",
        "insert into a values (1) on conflict (x) do update set x = 2",
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct query_outline *outline = outline_of(all[i]);
        ck_assert_msg(outline->unbounded, "%s", all[i]);
        query_outline_unref(&outline);
    }
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        struct query_outline *outline = outline_of(some[i]);
        ck_assert_msg(!outline->unbounded, "%s", some[i]);
        query_outline_unref(&outline);
    }
}

TEST(statements_are_counted)
{
    struct query_outline *outline = outline_of("select 1; select 2;");
    ck_assert_uint_eq(outline->statements, 2);
    query_outline_unref(&outline);
    outline = outline_of("explain select 1");
    ck_assert_uint_eq(outline->statements, 1);
    query_outline_unref(&outline);
    outline = outline_of(";");
    ck_assert_uint_eq(outline->statements, 0);
    query_outline_unref(&outline);
}

TEST(no_constant_is_shown)
{
    check_shown("select * from t where a = 'secret' and b in (1, -2, 3.5) limit 10",
                "select * from t where a = $1 and b in ($2, $3, $4) limit $5");
    check_shown("select $1, 'x'", "select $1, $2");
    check_shown("select E'a\\'b', $q$x$q$, x'1F', U&'d', interval '1 day'",
                "select $1, $2, $3, $4, interval $5");
    check_shown("select 1 -- secret\n + /* secret */ 2  ,\n\t\"A b\"", "select $1 + $2 , \"A b\"");
    check_shown("insert into t values (1, 'x'); delete from t",
                "insert into t values ($1, $2); delete from t");
    check_shown("alter role r password 'secret'", "ALTER");
    check_shown("/* a */ create user mapping for x server y options (password 'secret')", "CREATE");
    check_shown("prepare p as select 'secret'", "PREPARE");
    check_shown("copy (select 'secret') to stdout", "COPY");
    check_shown("begin; select 'secret; x'; set a = 'b'", "BEGIN; SELECT; SET");
    check_shown("(select 1)", "(select $1)");
}

TEST(texts_that_are_not_parsed)
{
    struct query_outline *outline = outline_of("select 'secret' from from");
    ck_assert(!outline->parsed && outline->fingerprint == 0 && outline->shown.size == 0);
    ck_assert_uint_eq(outline->statements, 0);
    query_outline_unref(&outline);
    char *large = calloc(1, QUERY_ANALYSIS_TEXT_MAX + 2);
    memset(large, ' ', QUERY_ANALYSIS_TEXT_MAX + 1);
    memcpy(large, "select", 6);
    outline = outline_of(large);
    ck_assert(!outline->parsed);
    query_outline_unref(&outline);
    free(large);
    outline = query_outline_unparsed();
    ck_assert(!outline->parsed && outline->fingerprint == 0);
    query_outline_unref(&outline);
}

TEST(what_differs_in_constants_has_one_fingerprint)
{
    struct query_outline *a = outline_of("select a from t where b = 1");
    struct query_outline *b = outline_of("SELECT a FROM t WHERE b = 'x' -- c");
    struct query_outline *c = outline_of("select a from t where c = 1");
    ck_assert(a->fingerprint != 0 && a->fingerprint == b->fingerprint);
    ck_assert(a->fingerprint != c->fingerprint);
    query_outline_unref(&a);
    query_outline_unref(&b);
    query_outline_unref(&c);
}

TEST(a_long_text_is_cut)
{
    char text[3 * QUERY_SHOWN_MAX];
    size_t used = (size_t)snprintf(text, sizeof(text), "select 1");
    while (used < 2 * QUERY_SHOWN_MAX)
        used += (size_t)snprintf(text + used, sizeof(text) - used, ", column_of_a_table");
    struct query_outline *outline = outline_of(text);
    ck_assert_uint_le(outline->shown.size, QUERY_SHOWN_MAX);
    ck_assert_uint_gt(outline->shown.size, QUERY_SHOWN_MAX - 64);
    query_outline_unref(&outline);
}

TEST(more_objects_than_the_lists_hold)
{
    char text[16384] = "grant select on t0";
    size_t used = strlen(text);
    for (int i = 1; i < 200; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, ", t%d", i);
    snprintf(text + used, sizeof(text) - used, " to x");
    struct query_outline *outline = outline_of(text);
    ck_assert(outline->parsed && outline->partial);
    query_outline_unref(&outline);
}

TEST(words_of_verbs)
{
    for (unsigned verb = 0; verb < QUERY_VERBS; verb++)
        ck_assert_uint_eq(query_verb_of(span_text(query_verb_word(verb))), verb);
    ck_assert_uint_eq(query_verb_of(SPAN("nothing")), QUERY_VERBS);
}

TESTS("outline", verbs_and_names_of_statements, statements_within_others_and_ddl,
      an_update_or_delete_without_where, statements_are_counted, no_constant_is_shown,
      texts_that_are_not_parsed, what_differs_in_constants_has_one_fingerprint, a_long_text_is_cut,
      more_objects_than_the_lists_hold, words_of_verbs)
