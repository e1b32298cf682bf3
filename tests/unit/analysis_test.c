/* What texts read, write and call: query/analysis.h. */
#include "analysis_view.h"
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>

#define LINE_SIZE 16384

struct sample {
    const char *text;
    const char *line;
};

static void check_text(const char *text, const char *expected)
{
    char line[LINE_SIZE];
    struct query_analysis *done = NULL;
    ck_assert(query_analyze(span_text(text), &done) == OK);
    view_analysis(done, line, sizeof(line));
    query_analysis_free(&done);
    ck_assert_ptr_null(done);
    ck_assert_msg(strcmp(line, expected) == 0, "%s\n  is       %s\n  expected %s", text, line,
                  expected);
}

static void check_samples(const struct sample *samples)
{
    for (; samples->text != NULL; samples++)
        check_text(samples->text, samples->line);
}

static enum query_reason reason_of(const char *text)
{
    struct query_analysis *done = NULL;
    ck_assert(query_analyze(span_text(text), &done) == OK);
    enum query_reason reason = query_analysis_reason(done);
    query_analysis_free(&done);
    return reason;
}

static void check_reason(const char *const *texts, enum query_reason reason)
{
    for (; *texts != NULL; texts++) {
        enum query_reason found = reason_of(*texts);
        ck_assert_msg(found == reason, "%s: %s", *texts,
                      found == QUERY_REASONS ? "candidate" : query_reason_word(found));
    }
}

/* --- relations -------------------------------------------------------------------------------- */

TEST(relations_are_listed_once_each)
{
    static const struct sample samples[] = {
        {"select 1", "reads nothing"},
        {"table a", "reads nothing reads(a)"},
        {"values (1, $2), ($3, 'x')", "reads nothing params(3)"},
        {"select * from a, b.c, d.e.f, only g *, a x", "unparsed unknown -unparsed"},
        {"select * from a, b.c, d.e.f, only g, h *, a x", "reads nothing reads(a b.c e.f g h)"},
        {"select * from A, \"A\", \"a\"\"b\", \"a\\b\"", "reads nothing reads(a A a\"b a\\b)"},
        {"select * from (a join b on true) cross join (select * from c) x",
         "reads nothing reads(a b c)"},
        {"select (select 1 from a), exists (select from b), array(select 1 from c)",
         "reads nothing reads(a b c)"},
        {"select 1 from a where b in (select c from d) order by (select 1 from e) limit "
         "(select 1 from f) offset (select 1 from g)",
         "reads nothing reads(a d e g f) ops(=) compares"},
        {"select 1 from a group by (select b from c) having (select true from d)",
         "reads nothing reads(a c d) compares"},
        {"select 1 from a union (select 2 from b except select 3 from c intersect table d)",
         "reads nothing reads(a b c d) compares"},
        {"select 1 from a, lateral (select 1 from b) x, rows from (f((select 1 from c))) y",
         "reads nothing reads(a b c) calls(f/1)"},
        {"select case (select 1 from a) when (select 2 from b) then (select 3 from c) else (select "
         "4 from d) end",
         "reads nothing reads(a b c d) ops(=)"},
        {"select sum(x) filter (where (select true from a)) over (partition by (select 1 from b) "
         "order by (select 1 from c) rows (select 1 from d) preceding)",
         "reads nothing reads(a b c d) calls(sum/1) compares"},
        {"select distinct on ((select 1 from a)) 1", "reads nothing reads(a) compares"},
        {"select a[(select 1 from b):(select 2 from c)]", "reads nothing reads(b c)"},
        {"select array[(select 1 from a)], row((select 1 from b)), coalesce((select 1 from c))",
         "reads nothing reads(a b c)"},
        {"copy (select * from a) to stdout", "reads nothing reads(a) -utility"},
        {"copy a (b) to stdout", "reads nothing reads(a) -utility"},
        {NULL, NULL},
    };
    check_samples(samples);
}

TEST(names_of_common_table_expressions_are_no_relations)
{
    static const struct sample samples[] = {
        {"with a as (select * from b) select * from a, s.a", "reads nothing reads(b s.a)"},
        {"with a as (select * from a) select * from a", "reads nothing reads(a)"},
        {"with a as (select * from b), b as (select * from a) select * from a, b",
         "reads nothing reads(b)"},
        {"with recursive a as (select * from b), b as (select * from a) select * from b",
         "reads nothing"},
        {"with a as (select 1) select * from (with b as (select * from a) select * from b) x, b",
         "reads nothing reads(b)"},
        {"with a as (select 1) select 1 union select * from a", "reads nothing compares"},
        {"(with a as (select 1) select * from a) union select * from a",
         "reads nothing reads(a) compares"},
        {"select (with a as (select 1) select x from a), (select x from a)",
         "reads nothing reads(a)"},
        {"with a as (select 1) select * from d.s.a, a where exists (select from a)",
         "reads nothing reads(s.a)"},
        {"with recursive t(n) as (select 1 union all select n + 1 from t) search depth first by n "
         "set o cycle n set c to true default false using p select * from t",
         "reads nothing ops(+) compares"},
        {"with pg_class as (select 1) select * from pg_class", "reads nothing"},
        {NULL, NULL},
    };
    check_samples(samples);
}

TEST(writes_are_listed_wherever_they_are)
{
    static const struct sample samples[] = {
        {"insert into a.b (c) values ($1)", "writes listed writes(insert:a.b) params(1) -writes"},
        {"insert into a select * from b", "writes listed reads(b) writes(insert:a) -writes"},
        {"insert into a select 1 on conflict do nothing", "writes listed writes(insert:a) -writes"},
        {"insert into a select 1 on conflict (b) where c do update set d = (select 1 from e) where "
         "f returning (select 1 from g)",
         "writes listed reads(e g) writes(insert:a update:a) -writes"},
        {"update a set (b, c) = (select 1, 2 from d) from e where f = 1",
         "writes listed reads(d e) writes(update:a) ops(=) -writes"},
        {"delete from a using b where c in (select 1 from d)",
         "writes listed reads(b d) writes(delete:a) ops(=) -writes"},
        {"with a as (select 1) update a set b = 1 from a x",
         "writes listed writes(update:a) -writes"},
        {"merge into a using (select * from b) c on true when matched then delete when not matched "
         "then insert values ((select 1 from d))",
         "writes listed reads(b d) writes(merge:a) -writes"},
        {"with x as (insert into a select 1 from b returning 1), y as (delete from c) select * "
         "from "
         "x, d",
         "writes listed reads(b d) writes(insert:a delete:c) -writes"},
        {"truncate a, b.c cascade", "writes listed writes(truncate:a truncate:b.c) -writes"},
        {"copy a from stdin where b > 1", "writes listed writes(copy:a) ops(>) -writes -utility"},
        {"copy (delete from a returning *) to stdout",
         "writes listed writes(delete:a) -writes -utility"},
        {"refresh materialized view concurrently a", "writes listed writes(refresh:a) -writes"},
        {"explain (analyze) insert into a select 1 from b",
         "utility listed reads(b) writes(insert:a) -writes -utility"},
        {"insert into a select 1; delete from b; select 1 from c",
         "several listed reads(c) writes(insert:a delete:b) -several -writes"},
        {NULL, NULL},
    };
    check_samples(samples);
}

TEST(other_statements_may_write_anything_unless_known)
{
    static const struct sample samples[] = {
        {"create table a (b int)", "utility database -utility"},
        {"create table a as select 1", "utility database -utility"},
        {"create index on a (b)", "utility database -utility"},
        {"select 1 into a", "writes database -into"},
        {"alter table a add b int", "utility database -utility"},
        {"grant select on a to b", "utility database -utility"},
        {"drop table a", "utility database -utility"},
        {"reindex table a", "utility database -utility"},
        {"alter role a set b = 1", "utility database -utility"},
        {"comment on table a is 'b'", "utility database -utility"},
        {"do 'begin end'", "utility unknown -utility"},
        {"call a(1)", "utility unknown -utility"},
        {"execute a(1)", "utility unknown -utility"},
        {"explain analyze execute a(1)", "utility unknown -utility"},
        {"commit prepared 'x'", "utility unknown gid(x) -utility"},
        {"prepare transaction 'it''s'", "utility nothing gid(it's) -utility"},
        {"rollback prepared 'x'", "utility nothing gid(x) -utility"},
        {"begin", "utility nothing -utility"},
        {"commit", "utility nothing -utility"},
        {"set a = 1", "utility nothing -utility"},
        {"show a", "utility nothing -utility"},
        {"reset all", "utility nothing -utility"},
        {"discard all", "utility nothing -utility"},
        {"prepare a as delete from b", "utility nothing -utility"},
        {"deallocate a", "utility nothing -utility"},
        {"listen a", "utility nothing -utility"},
        {"notify a", "utility nothing -utility"},
        {"lock table a", "utility nothing -utility"},
        {"vacuum a", "utility nothing -utility"},
        {"declare a cursor for select 1 from b", "utility nothing reads(b) -utility -cursor"},
        {"fetch a", "utility nothing -utility -cursor"},
        {"", "none nothing -empty"},
        {" ; /* a */ ;-- b", "none nothing -empty"},
        {"selec 1", "unparsed unknown -unparsed"},
        {"select json_array(1 returning text)", "unparsed unknown -unparsed"},
        {"merge into a using b on true when not matched by source then delete",
         "unparsed unknown -unparsed"},
        {NULL, NULL},
    };
    check_samples(samples);
}

/* --- expressions ------------------------------------------------------------------------------ */

TEST(functions_are_listed_with_their_arguments)
{
    static const struct sample samples[] = {
        {"select f(), a.f(1), f(1), count(*), f(variadic b)",
         "reads nothing calls(f/0 a.f/1 f/1 count/0 f/1+)"},
        {"select f(1, b => 2), F(1, 2), \"F\"(1, 2)", "reads nothing calls(f/2 F/2)"},
        {"select f(g(h(distinct a order by i(b))))",
         "reads nothing calls(f/1 g/1 h/1 i/1) compares"},
        {"select percentile_cont(0.5) within group (order by a)",
         "reads nothing calls(percentile_cont/2) compares"},
        {"select extract(year from a), position('a' in b), overlay(a placing b from 1), trim(a), "
         "substring(a from 1)",
         "reads nothing calls(pg_catalog.extract/2 pg_catalog.position/2 pg_catalog.overlay/3 "
         "pg_catalog.btrim/1 pg_catalog.substring/2)"},
        {"select a at time zone 'x', a like b escape 'c', a similar to 'x', a is normalized, "
         "(a, b) overlaps (c, d), collation for (a)",
         "reads nothing calls(pg_catalog.timezone/2 pg_catalog.like_escape/2 "
         "pg_catalog.similar_to_escape/1 pg_catalog.is_normalized/1 pg_catalog.overlaps/4 "
         "pg_catalog.pg_collation_for/1) ops(~~ ~)"},
        {"select xmlelement(name a, xmlattributes(f(b) as c), 'x'), a is document, "
         "xmlparse(document a), xmlserialize(content a as text), xmlforest(a, b), xmlroot(a, "
         "version '1'), xmlpi(name a), xmlconcat(a, b)",
         "reads nothing calls(pg_catalog.xmlelement/1 f/1 pg_catalog.is_document/1 "
         "pg_catalog.xmlparse/2 pg_catalog.xmlserialize/1 pg_catalog.xmlforest/0 "
         "pg_catalog.xmlroot/3 pg_catalog.xmlpi/0 pg_catalog.xmlconcat/2) types(text!)"},
        {"select * from f(1), rows from (g(2), h(3) as (a int, b c.d collate e)) with ordinality, "
         "xmltable('/a' passing i(b) columns c int path 'd' default j(1))",
         "reads nothing calls(f/1 g/1 h/1 pg_catalog.xmltable/1 i/1 j/1) types(pg_catalog.int4! "
         "c.d!) collations(e)"},
        {"select t.a, s.t.b, (c).d, (e).*, (f(1)).g.h, t.* from t",
         "reads nothing reads(t) calls(.a .b .d .g .h f/1)"},
        {"select grouping(a), coalesce(a, b), nullif(a, b), greatest(a, b) from t group by cube "
         "(a, "
         "b)",
         "reads nothing reads(t) ops(=) compares"},
        {NULL, NULL},
    };
    check_samples(samples);
}

TEST(operators_types_and_collations_are_listed)
{
    static const struct sample samples[] = {
        {"select a + b, -c, a operator(s.@@) b, a = any($1), a <> all(b)",
         "reads nothing ops(+ - s.@@ = <>) params(1)"},
        {"select a between 1 and 2, a not between 1 and 2", "reads nothing ops(>= <= < >)"},
        {"select a between symmetric 1 and 2, a not between symmetric 1 and 2",
         "reads nothing ops(>= <= < >)"},
        {"select a in (1, 2), a not in (1, 2), a is distinct from b, a like b, a not ilike b",
         "reads nothing ops(= <> ~~ !~~*)"},
        {"select (1, 2) = (3, 4), a is null, a is not true, not a and b or c",
         "reads nothing ops(=)"},
        {"select a > any (select 1), a in (select 1), (a, b) < (select 1, 2)",
         "reads nothing ops(> = <)"},
        {"select 1 from a join b using (c)", "reads nothing reads(a b) ops(=)"},
        {"select 1 from a natural left join b", "reads nothing reads(a b) ops(=)"},
        {"select 1 order by a using >, b", "reads nothing ops(>) compares"},
        {"select a::int, '1'::bigint, $1::s.t[], cast(null as varchar(3)), b::int8, date "
         "'2020-1-1'",
         "reads nothing types(pg_catalog.int4! pg_catalog.int8 s.t pg_catalog.varchar int8! date) "
         "params(1)"},
        {"select interval '1' day, timestamptz(3) '2020-1-1'",
         "reads nothing types(pg_catalog.interval timestamptz)"},
        {"select interval '1' day, timestamp(3) with time zone '2020-1-1'",
         "reads nothing types(pg_catalog.interval pg_catalog.timestamptz)"},
        {"select a collate \"C\", b collate s.c", "reads nothing collations(C s.c)"},
        {"select array['a']::date[], date(a), date($1)",
         "reads nothing calls(date/1) types(date!) params(1)"},
        {NULL, NULL},
    };
    check_samples(samples);
}

/* --- keys ------------------------------------------------------------------------------------- */

TEST(key_equality_is_taken_from_the_and_list)
{
    static const struct sample samples[] = {
        {"select * from t where a = $1", "reads nothing reads(t) ops(=) keys(a=$1) params(1)"},
        {"select * from s.t where a = 5 and ((b = 'x' and s.t.c = 1.50) and t.d = true)",
         "reads nothing reads(s.t) calls(.c .d) ops(=) keys(a=5 b='x' c=1.50 d=true)"},
        {"select * from t x where x.a in ($2) and 0 = b and c = false and d = ''",
         "reads nothing reads(t) calls(.a) ops(=) keys(a=$2 b=0 c=false d='') params(2)"},
        {"select * from t where a = '5'::int and b = '1'::s.t and c operator(pg_catalog.=) 1",
         "reads nothing reads(t) ops(= pg_catalog.=) types(pg_catalog.int4 s.t) "
         "keys(a='5'::pg_catalog.int4 b='1'::s.t c=1)"},
        {"select count(*) from t where a = 99999999999999999999 group by b order by c limit 1 ",
         "reads nothing reads(t) calls(count/0) ops(=) keys(a=99999999999999999999) compares"},
        {"update t set c = 2 where a = 1 and b = $1",
         "writes listed writes(update:t) ops(=) keys(a=1 b=$1) params(1) -writes"},
        {"update t set b = 2 where a = 1 and b = $1",
         "writes listed writes(update:t) ops(=) keys(a=1) params(1) -writes"},
        {"update t set (c, b.x) = (1, 2) where a = 1 and b = 3",
         "writes listed writes(update:t) ops(=) keys(a=1) -writes"},
        {"delete from t x where x.a = 1",
         "writes listed writes(delete:t) calls(.a) ops(=) keys(a=1) -writes"},
        {NULL, NULL},
    };
    check_samples(samples);
}

TEST(other_conditions_give_no_key)
{
    static const struct sample samples[] = {
        {"select * from t where a = -5", "reads nothing reads(t) ops(=)"},
        {"select * from t where a = null", "reads nothing reads(t) ops(=)"},
        {"select * from t where a = $1::int and b = f(1) and c = d and e in (1, 2)",
         "reads nothing reads(t) calls(f/1) ops(=) types(pg_catalog.int4) params(1)"},
        {"select * from t where a = '1'::varchar(3) and a::int = 1",
         "reads nothing reads(t) ops(=) types(pg_catalog.varchar pg_catalog.int4!)"},
        {"select * from t where a = 1 or b = 2", "reads nothing reads(t) ops(=)"},
        {"select * from t where not (a = 1 and b = 2)", "reads nothing reads(t) ops(=)"},
        {"select * from t where a operator(s.=) 1", "reads nothing reads(t) ops(s.=)"},
        {"select * from t where a <= 1", "reads nothing reads(t) ops(<=)"},
        {"select * from t x where t.a = 1", "reads nothing reads(t) calls(.a) ops(=)"},
        {"select * from t where x.a = 1", "reads nothing reads(t) calls(.a) ops(=)"},
        {"select * from t where r.t.a = 1", "reads nothing reads(t) calls(.a) ops(=)"},
        {"select * from t, u where a = 1", "reads nothing reads(t u) ops(=)"},
        {"select * from t, t u where a = 1", "reads nothing reads(t) ops(=)"},
        {"select * from t, f(1) where a = 1", "reads nothing reads(t) calls(f/1) ops(=)"},
        {"select * from t where a = 1 and exists (select from t)", "reads nothing reads(t) ops(=)"},
        {"with x as (select * from t) select * from x where a = 1",
         "reads nothing reads(t) ops(=)"},
        {"select * from (select * from t) x where a = 1", "reads nothing reads(t) ops(=)"},
        {"select 1 from t where a = 1 union select 2", "reads nothing reads(t) ops(=) compares"},
        {"update t set a = 1 from u where b = 1",
         "writes listed reads(u) writes(update:t) ops(=) -writes"},
        {"delete from t where a = 1 and b in (select 1 from u)",
         "writes listed reads(u) writes(delete:t) ops(=) -writes"},
        {"delete from t using f(1) where a = 1",
         "writes listed writes(delete:t) calls(f/1) ops(=) -writes"},
        {"select * from t where a = 1; select 1", "several nothing reads(t) ops(=) -several"},
        {NULL, NULL},
    };
    check_samples(samples);
}

/* --- reasons ---------------------------------------------------------------------------------- */

TEST(volatile_syntax_has_reasons)
{
    static const char *const times[] = {
        "select current_timestamp",
        "select localtime(3)",
        "select current_date + 1",
        "select current_time",
        "select localtimestamp",
        "select 1 limit extract(day from now()) + current_date",
        NULL,
    };
    static const char *const sessions[] = {
        "select current_user",
        "select session_user",
        "select current_role",
        "select user",
        "select current_catalog",
        "select current_schema",
        NULL,
    };
    static const char *const reg_types[] = {
        "select 'a'::regclass",         "select a::pg_catalog.regtype from b",
        "select regclass 'a'",          "select cast('a' as regproc[])",
        "select regclass('a')",         "select * from json_to_record('{}') as (a regrole)",
        "select 'a'::\"regnamespace\"", NULL,
    };
    static const char *const columns[] = {
        "select ctid from a",
        "select a.xmin from a",
        "select 1 from a where XMAX = '1'",
        "select a from b order by cmin",
        "select s.a.cmax from s.a",
        "select (a).tableoid from a",
        NULL,
    };
    static const char *const catalogs[] = {
        "select * from pg_class",
        "select * from pg_catalog.pg_class",
        "select * from pg_toast.pg_toast_1",
        "select * from information_schema.tables",
        "select 1 where exists (select from pg_stat_activity)",
        NULL,
    };
    static const char *const locking[] = {
        "select 1 from a for update",
        "select 1 from a for share of a skip locked",
        "select * from (select 1 from a for no key update nowait) b",
        NULL,
    };
    check_reason(times, QUERY_REASON_TIME_VALUE);
    check_reason(sessions, QUERY_REASON_SESSION_VALUE);
    check_reason(reg_types, QUERY_REASON_REG_TYPE);
    check_reason(columns, QUERY_REASON_SYSTEM_COLUMN);
    check_reason(catalogs, QUERY_REASON_CATALOG);
    check_reason(locking, QUERY_REASON_LOCKING);
    ck_assert(reason_of("select 1 from a tablesample bernoulli (1)") == QUERY_REASON_SAMPLE);
    ck_assert(reason_of("select 1 from pg_temp.a") == QUERY_REASON_TEMPORARY);
    ck_assert(reason_of("select 1 from pg_temp_3.a") == QUERY_REASON_TEMPORARY);
    check_text("delete from a where current of b",
               "writes listed writes(delete:a) -writes -cursor");
    ck_assert(reason_of("select current_date; select 1") == QUERY_REASON_SEVERAL);
}

TEST(ordinary_texts_are_candidates)
{
    static const char *const texts[] = {
        "select 1",
        "select t from t",
        "select t.* from public.t where \"Ctid\" = 1",
        "select 'regclass', \"regclass\" from now_and_then",
        "select a::date from t where b = 'infinity' or b = 'epoch' or c = 'allballs'",
        "/* now */ select 1 -- today",
        "select e'\\u0061' || U&'\\0061' || $$b$$ || b'1' || x'f' || 1e3",
        "with a as materialized (select 1) (table a) order by 1 fetch first 3 rows with ties",
        NULL,
    };
    check_reason(texts, QUERY_REASONS);
}

TEST(words_relative_to_the_current_time_are_found)
{
    static const char *const words[] = {
        "now",         "NOW",         " now ",       "today",     "Tomorrow",
        "yesterday",   "today 12:00", "12:00 today", "now()",     "[today,tomorrow)",
        "{now,epoch}", "(1,now)",     "today+01",    "\ttoday\n", "yesterday,allballs",
        "today-1",     "\"now\"",     NULL,
    };
    static const char *const others[] = {
        "",         "no",     "nowhere",    "know",       "epoch",  "infinity", "-infinity",
        "allballs", "todays", "2020-01-01", "yesterdays", "toda y", NULL,
    };
    char text[128];
    for (const char *const *word = words; *word != NULL; word++) {
        ck_assert_msg(query_is_time_word(span_text(*word)), "%s", *word);
        snprintf(text, sizeof(text), "select 1 from t where a = '%s'", *word);
        ck_assert(reason_of(text) == QUERY_REASON_TIME_WORD);
    }
    for (const char *const *word = others; *word != NULL; word++)
        ck_assert_msg(!query_is_time_word(span_text(*word)), "%s", *word);
    ck_assert(reason_of("select date 'to'\n'day'") == QUERY_REASON_TIME_WORD);
    ck_assert(reason_of("select date E'\\x74oday'") == QUERY_REASON_TIME_WORD);
    ck_assert(reason_of("select date $$now$$") == QUERY_REASON_TIME_WORD);
}

TEST(every_reason_has_a_word_and_a_text)
{
    for (unsigned i = 0; i < QUERY_REASONS; i++) {
        ck_assert(strlen(query_reason_text((enum query_reason)i)) > 10);
        for (unsigned j = 0; j < i; j++)
            ck_assert_str_ne(query_reason_word((enum query_reason)i),
                             query_reason_word((enum query_reason)j));
    }
}

TEST(texts_that_settings_change_are_marked)
{
    static const struct {
        const char *text;
        bool backslash, high_bytes;
    } texts[] = {
        {"select 'a'", false, false},
        {"select 'a\\b'", true, false},
        {"select '\xc3\xa9'", false, true},
        {"select 1 \xff", false, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct query_analysis *done = NULL;
        ck_assert(query_analyze(span_text(texts[i].text), &done) == OK);
        ck_assert(done->backslash == texts[i].backslash);
        ck_assert(done->high_bytes == texts[i].high_bytes);
        query_analysis_free(&done);
    }
}

TEST(a_nul_ends_a_text)
{
    struct query_analysis *done = NULL;
    ck_assert(query_analyze(SPAN("select a from t\0 garbage '"), &done) == OK);
    ck_assert(done->reasons == 0 && done->reads_count == 1);
    query_analysis_free(&done);
    ck_assert(query_analyze(SPAN_NONE, &done) == OK);
    ck_assert(done->statement == QUERY_STATEMENT_NONE);
    query_analysis_free(&done);
}

static uint64_t fingerprint_of(const char *text)
{
    struct query_analysis *done = NULL;
    ck_assert(query_analyze(span_text(text), &done) == OK);
    uint64_t fingerprint = done->fingerprint;
    query_analysis_free(&done);
    return fingerprint;
}

TEST(the_fingerprint_leaves_literals_out)
{
    uint64_t one = fingerprint_of("select a from t where b = 1");
    ck_assert(fingerprint_of("select 1") == UINT64_C(0x50fde20626009aba)); /* by libpg_query */
    ck_assert(one == fingerprint_of("SELECT a FROM t WHERE b = $1 -- c"));
    ck_assert(one != fingerprint_of("select a from t where c = 1"));
    ck_assert(fingerprint_of("selec") == 0);
}

/* --- limits ----------------------------------------------------------------------------------- */

/* `head`, then `open` `count` times, `middle`, `close` `count` times, `tail`. */
struct shape {
    const char *head, *open, *middle, *close, *tail;
};

static char *build(const struct shape *shape, unsigned count)
{
    size_t room = 256 + count * (strlen(shape->open) + strlen(shape->close));
    char *text = malloc(room), *at = text;
    ck_assert_ptr_nonnull(text);
    at = stpcpy(at, shape->head);
    for (unsigned i = 0; i < count; i++)
        at = stpcpy(at, shape->open);
    at = stpcpy(at, shape->middle);
    for (unsigned i = 0; i < count; i++)
        at = stpcpy(at, shape->close);
    stpcpy(at, shape->tail);
    return text;
}

static const struct shape nested[] = {
    {"select ", "(", "1", ")", ""},
    {"select 1", "", "", "+1", ""},
    {"select ", "not ", "a", "", ""},
    {"select ", "- ", "1", "", ""},
    {"select ", "f(", "1", ")", ""},
    {"select ", "(select ", "1", ")", ""},
    {"select ", "exists(select ", "1", ")", ""},
    {"select * from ", "(select * from ", "t", ") x", ""},
    {"select 1", "", "", " union select 1, 2", ""},
    {"select * from a", "", "", " natural join b", ""},
    {"select * from ", "(a join ", "b", " on c)", ""},
    {"select a", "", "", "::int", ""},
    {"select ", "case when ", "a", " then 1 end", ""},
    {"select ", "array[", "a", "]", ""},
    {"select a", "", "", "[1]", ""},
    {"select a", "", "", " is null", ""},
    {"select a", "", "", " in (1, 2)", ""},
    {"select ", "a in (", "1", ")", ""},
    {"select ", "a and (b or ", "c", ")", ""},
    {"select ", "row(", "1", ")", ""},
    {"select ", "sum(a) over (order by ", "b", ")", ""},
    {"", "with x as (", "select 1", ") select 2", ""},
    {"", "(", " select 1", " union select 2)", ""},
    {"create rule r as on insert to t do ", "(", "select 1", ")", ""},
    {"create table a (b int default ", "(", "1", ")", ")"},
};

static void *analyze_on_thread(void *argument)
{
    struct query_analysis *done = NULL;
    return query_analyze(span_text(argument), &done) == OK ? done : NULL;
}

/* Analyzes a text with no more stack than the header promises. */
static bool is_too_deep(char *text)
{
    pthread_attr_t attributes;
    pthread_t thread;
    struct query_analysis *done = NULL;
    size_t size = query_analysis_stack(span_text(text));
    ck_assert(size <= QUERY_ANALYSIS_STACK);
    ck_assert(pthread_attr_init(&attributes) == 0);
    ck_assert(pthread_attr_setstacksize(&attributes, (size + 4095) / 4096 * 4096) == 0);
    ck_assert(pthread_create(&thread, &attributes, analyze_on_thread, text) == 0);
    ck_assert(pthread_join(thread, (void **)&done) == 0);
    pthread_attr_destroy(&attributes);
    ck_assert_ptr_nonnull(done);
    ck_assert((done->reasons & UINT32_C(1) << QUERY_REASON_SYNTAX) == 0);
    bool result = (done->reasons & UINT32_C(1) << QUERY_REASON_NESTED) != 0;
    query_analysis_free(&done);
    return result;
}

static bool is_refused(const struct shape *shape, unsigned count)
{
    char *text = build(shape, count);
    bool refused = is_too_deep(text);
    free(text);
    return refused;
}

TEST(the_deepest_texts_fit_in_the_stack_that_is_promised)
{
    for (size_t i = 0; i < ARRAY_SIZE(nested); i++) {
        unsigned low = 10, high = 2 * QUERY_ANALYSIS_NESTING_MAX;
        ck_assert_msg(is_refused(&nested[i], high), "%s%s", nested[i].head, nested[i].open);
        while (low + 1 < high) {
            unsigned middle = (low + high) / 2;
            if (is_refused(&nested[i], middle))
                high = middle;
            else
                low = middle;
        }
        ck_assert_msg(low >= 100, "%u: %s%s", low, nested[i].head, nested[i].open);
    }
}

TEST(long_lists_are_not_deep)
{
    static const struct shape lists[] = {
        {"select 1", "", "", ", 1", ""},
        {"select a from t where b in (1", "", "", ", 1", ")"},
        {"values (1)", "", "", ", (1)", ""},
        {"select f(1", "", "", ", -a", ")"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        char *text = build(&lists[i], 10000);
        ck_assert_msg(reason_of(text) == QUERY_REASONS, "%s", lists[i].head);
        free(text);
    }
    const struct shape several = {"select 1", "", "", "; select 1", ""};
    char *text = build(&several, 2000);
    ck_assert(reason_of(text) == QUERY_REASON_SEVERAL);
    free(text);
}

TEST(large_texts_and_many_names_are_refused)
{
    const struct shape large = {"select 1", "", "", ",       1", ""};
    char *text = build(&large, QUERY_ANALYSIS_TEXT_MAX / 9 + 1);
    ck_assert(reason_of(text) == QUERY_REASON_LARGE);
    free(text);
    char many[64 * 1024], *at = stpcpy(many, "select 1");
    for (unsigned i = 0; i < QUERY_ANALYSIS_ITEMS_MAX; i++)
        at += sprintf(at, ", f%u(1)", i);
    ck_assert(reason_of(many) == QUERY_REASONS);
    stpcpy(at, ", g(1)");
    ck_assert(reason_of(many) == QUERY_REASON_MANY);
    at = stpcpy(many, "truncate t");
    for (unsigned i = 0; i < QUERY_ANALYSIS_ITEMS_MAX; i++)
        at += sprintf(at, ", t%u", i);
    struct query_analysis *done = NULL;
    ck_assert(query_analyze(span_text(many), &done) == OK);
    ck_assert(done->extent == QUERY_WRITES_UNKNOWN);
    query_analysis_free(&done);
}

/* --- threads ---------------------------------------------------------------------------------- */

static void *analyze_many(void *argument)
{
    for (unsigned i = 0; i < 300; i++) {
        check_text("select a from s.t where b = 'x' and c = $2",
                   "reads nothing reads(s.t) ops(=) keys(b='x' c=$2) params(2)");
        check_text("select (", "unparsed unknown -unparsed");
    }
    return NULL;
}

TEST(threads_analyze_at_the_same_time)
{
    pthread_t threads[4];
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
            ck_assert(pthread_create(&threads[i], NULL, analyze_many, NULL) == 0);
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
            ck_assert(pthread_join(threads[i], NULL) == 0);
    }
}

TESTS("analysis", relations_are_listed_once_each,
      names_of_common_table_expressions_are_no_relations, writes_are_listed_wherever_they_are,
      other_statements_may_write_anything_unless_known, functions_are_listed_with_their_arguments,
      operators_types_and_collations_are_listed, key_equality_is_taken_from_the_and_list,
      other_conditions_give_no_key, volatile_syntax_has_reasons, ordinary_texts_are_candidates,
      words_relative_to_the_current_time_are_found, every_reason_has_a_word_and_a_text,
      texts_that_settings_change_are_marked, a_nul_ends_a_text, the_fingerprint_leaves_literals_out,
      the_deepest_texts_fit_in_the_stack_that_is_promised, long_lists_are_not_deep,
      large_texts_and_many_names_are_refused, threads_analyze_at_the_same_time)
