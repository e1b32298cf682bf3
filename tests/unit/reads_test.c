/* What is proven to be a read: query/reads.h. */
#include "query/reads.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static struct query_proof prove_with(const char *text, const struct query_read_rules *rules)
{
    struct query_proof proof;
    query_prove_reads(span_text(text), rules, &proof);
    return proof;
}

static struct query_proof prove(const char *text)
{
    const struct query_read_rules rules = {.count = 0};
    return prove_with(text, &rules);
}

static void check_all(const char *const *texts, enum query_reads reads)
{
    for (; *texts != NULL; texts++)
        ck_assert_msg(prove(*texts).reads == reads, "%u, not %u: %s", prove(*texts).reads, reads,
                      *texts);
}

TEST(statements_that_read_are_proven)
{
    static const char *const reads[] = {
        "select 1",
        "SELECT id, name FROM users WHERE id = $1",
        "select count(*), sum(x) over (partition by (y) order by (z)) from t group by (a), b",
        "select \"count\"(*) from t",
        "select pg_catalog.lower(a), \"pg_catalog\".\"upper\"(b) from t",
        "select a from t where b in (1, 2) and c = any(array[1]) or not (d)",
        "with recursive x(n) as (select 1 union all select n + 1 from x) select * from x limit (3)",
        "with x as (values (1)) select * from x",
        "(select 1) union (select 2)",
        "values (1), (2)",
        "table t",
        "select 1;",
        "select 1 ; ; -- end",
        "/* front */ select 1 /* behind */",
        "select cast(a as varchar(10)), b::numeric(10, 2), coalesce(c, 1) from t",
        "select extract(epoch from now()), current_timestamp(3), interval '1 day'",
        "select 'insert into t', \"update\", $$delete$$ from t",
        "select * from unnest(array[1]) with ordinality as t(a, b)",
        "select sum(x) filter (where y) from t",
        "select a from t group by rollup (a)",
        "select a from t group by grouping sets ((a), ())",
        "select substring(a from 1 for 2) from t",
        "select a from t join (select 1) as u on (true) left join (values (1)) as v on (true)",
        "select a from (t) join (u) using (a) where b ilike ('x') or b like ('y') or $1 like ('z')",
        "select last_value(a) over (order by b) from t",
        "select \xc3\xb6l || 'x', \xc3\xa9 from t",
        "explain select 1",
        "explain (costs off) select lower(a) from t",
        "show client_encoding",
        "SHOW TimeZone;",
        NULL,
    };
    check_all(reads, QUERY_READS);
}

TEST(other_statements_are_not)
{
    static const char *const others[] = {
        "",
        ";",
        "insert into t values (1)",
        "update t set a = 1",
        "delete from t",
        "select 1; select 2",
        "select 1; insert into t values (1)",
        "select 1 into t",
        "select * into temp x from t",
        "select 1into t",
        "select 1e5into t",
        "select $1into t",
        "with x as (insert into t values (1) returning a) select * from x",
        "with x as (delete from t returning a) select * from x",
        "select * from t for update",
        "select * from t FOR no key update",
        "select * from t for share of t",
        "select * from t for key share",
        "explain analyze select 1",
        "explain (analyze, costs off) select 1",
        "explain insert into t values (1)",
        "explain execute p",
        "explain create table x as select 1",
        "show transaction_read_only",
        "show in_hot_standby",
        "show all",
        "select * from pg_stat_activity",
        "select * from pg_catalog.pg_locks",
        "select \"pg_settings\".name from \"pg_settings\"",
        "select 'a\\' into t '",
        "select 'a\\', ', mine(1) --'",
        "select * from U&\"\\0070g_locks\"",
        "select U&\"n!0065xtval\" uescape '!' ('s')",
        "call f()",
        "do $$ begin end $$",
        "copy t to stdout",
        "set x = 1",
        "begin",
        NULL,
    };
    check_all(others, QUERY_MAY_WRITE);
}

TEST(a_function_must_be_known)
{
    static const char *const others[] = {
        "select nextval('s')",
        "select currval('s'), lastval()",
        "select txid_current()",
        "select pg_current_xact_id()",
        "select pg_advisory_lock(1)",
        "select PG_Advisory_Lock (1)",
        "select pg_advisory_lock/* c */(1)",
        "select pg_advisory_xact_lock(1)",
        "select set_config('a.b', 'c', false)",
        "select setseed(0.5), random()",
        "select pg_notify('a', 'b')",
        "select pg_backend_pid()",
        "select pg_is_in_recovery()",
        "select current_setting('transaction_read_only')",
        "select mine(1)",
        "select public.lower('A')",
        "select pg_catalog.nextval('s')",
        "select a.pg_catalog.lower('A')",
        "select lower(mine(1))",
        "select \"Lower\"('A')",
        "select * from mine(1)",
        "select * from t, lateral mine(t.a)",
        "select query_to_xml('delete from t', true, true, '')",
        "select distinct on (a) mine(b) from t",
        "select 1 operator(pg_catalog.+) mine(2)",
        "select a[1:mine(2)] from t",
        "select rollup(1), by(1), sets(1), over(1), filter(1)",
        "select a from t group by rollup (a) order by cube(1)",
        "select join(1)",
        "select 1, ilike('a', 'b')",
        "select a from t where b and join(1)",
        "select \"join\"(1)",
        "select * from join(1)",
        NULL,
    };
    check_all(others, QUERY_MAY_WRITE);
}

TEST(columns_of_sequences_are_the_primarys)
{
    static const char *const others[] = {
        "select last_value from numbers",
        "select \"last_value\", IS_CALLED from numbers",
        "select n.log_cnt from numbers as n",
        "select (n).last_value from numbers as n",
        NULL,
    };
    check_all(others, QUERY_MAY_WRITE);
}

/* In SJIS, 0x83 0x5c and 0x83 0x7c are one character each. */
TEST(a_character_may_end_in_punctuation)
{
    static const char *const others[] = {
        "select \x83\\now()",
        "select \x83|now()",
        "select $\x83|$ ' $\x83|$, mine(1), $\x83|$ ' $\x83|$",
        NULL,
    };
    check_all(others, QUERY_MAY_WRITE);
}

TEST(a_route_may_declare_functions)
{
    const struct span names[] = {SPAN("mine"), SPAN("app.theirs"), SPAN("Odd")};
    const struct query_read_rules rules = {.declared = names, .count = 3};
    ck_assert_int_eq(prove_with("select Mine(1)", &rules).reads, QUERY_READS);
    ck_assert_int_eq(prove_with("select app.theirs(1)", &rules).reads, QUERY_READS);
    ck_assert_int_eq(prove_with("select \"app\" . \"theirs\" (1)", &rules).reads, QUERY_READS);
    ck_assert_int_eq(prove_with("select \"Odd\"(1)", &rules).reads, QUERY_READS);
    ck_assert_int_eq(prove_with("select odd(1)", &rules).reads, QUERY_MAY_WRITE);
    ck_assert_int_eq(prove_with("select theirs(1)", &rules).reads, QUERY_MAY_WRITE);
    ck_assert_int_eq(prove_with("select other.mine(1)", &rules).reads, QUERY_MAY_WRITE);
    ck_assert_int_eq(prove_with("select mine(1), other(2)", &rules).reads, QUERY_MAY_WRITE);
}

TEST(a_transaction_that_begins_read_only_is_told)
{
    static const char *const begins[] = {
        "begin read only",
        "BEGIN TRANSACTION READ ONLY;",
        "begin work isolation level repeatable read, read only",
        "start transaction read only",
        "start transaction isolation level read committed read only",
        NULL,
    };
    static const char *const others[] = {
        "begin",
        "begin read write",
        "begin read only, read write",
        "begin isolation level serializable read only",
        "begin read only deferrable",
        "begin read only; select 1",
        "start read only",
        "start transaction",
        "begin isolation level repeatable read",
        NULL,
    };
    check_all(begins, QUERY_BEGINS_TO_READ);
    check_all(others, QUERY_MAY_WRITE);
}

TEST(hints_count_only_where_the_route_allows_them)
{
    const struct query_read_rules rules = {.hints = true};
    const struct {
        const char *text;
        enum query_reads reads;
    } cases[] = {
        {"/* trunkline: primary */ select 1", QUERY_MAY_WRITE},
        {"select 1 /* trunkline: primary */;", QUERY_MAY_WRITE},
        {"select 1 -- trunkline: primary", QUERY_MAY_WRITE},
        {"/* trunkline: replica */ select mine(1)", QUERY_READS},
        {"select mine(1) /*trunkline:replica*/", QUERY_READS},
        {"select * from pg_locks -- trunkline: replica\n", QUERY_READS},
        {"select '/* trunkline: replica */', mine(1)", QUERY_MAY_WRITE},
        {"select mine(1 /* trunkline: replica */)", QUERY_MAY_WRITE},
        {"/* trunkline: replica */ insert into t values (1)", QUERY_MAY_WRITE},
        {"/* trunkline: replica */ select * from t for update", QUERY_MAY_WRITE},
        {"/* trunkline: replica */ select 1; select mine(1)", QUERY_MAY_WRITE},
        {"/* trunkline: other */ select 1", QUERY_READS},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(prove_with(cases[i].text, &rules).reads == cases[i].reads, "%s",
                      cases[i].text);
        enum query_reads without = prove(cases[i].text).reads;
        ck_assert_msg(without == QUERY_MAY_WRITE || strstr(cases[i].text, "mine") == NULL, "%s",
                      cases[i].text);
    }
    ck_assert_int_eq(prove("/* trunkline: primary */ select 1").reads, QUERY_READS);
}

TEST(the_fingerprint_leaves_literals_out)
{
    uint64_t one = prove("select f(1, 'a') from t").fingerprint;
    ck_assert(one == prove("SELECT  f ( 2, $$b$$) /* c */ from T").fingerprint ||
              one == prove("SELECT  f ( 2, 'b') /* c */ from T").fingerprint);
    ck_assert(one != prove("select g(1, 'a') from t").fingerprint);
    ck_assert(one != prove("select f(1, 'a') from \"T\"").fingerprint);
}

TEST(the_list_of_functions_is_sorted)
{
    static const char *const names[] = {
#define FUNCTION(name) name,
#include "query/read_functions.def"
#undef FUNCTION
    };
    size_t count = sizeof(names) / sizeof(names[0]);
    for (size_t i = 0; i < count; i++) {
        ck_assert(i == 0 || strcmp(names[i - 1], names[i]) < 0);
        ck_assert(query_function_reads(span_text(names[i])));
    }
    ck_assert(!query_function_reads(SPAN("")));
    ck_assert(!query_function_reads(SPAN("lowe")));
    ck_assert(!query_function_reads(SPAN("lowerr")));
    ck_assert(!query_function_reads(SPAN("zzz")));
}

TESTS("reads", statements_that_read_are_proven, other_statements_are_not, a_function_must_be_known,
      columns_of_sequences_are_the_primarys, a_character_may_end_in_punctuation,
      a_route_may_declare_functions, a_transaction_that_begins_read_only_is_told,
      hints_count_only_where_the_route_allows_them, the_fingerprint_leaves_literals_out,
      the_list_of_functions_is_sorted)
