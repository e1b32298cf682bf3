#include "query/effects.h"
#include "query/outcome.h"
#include "query/scan_parts.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[QUERY_KINDS] = {
    "set",    "role", "auth",      "config", "temp", "prepare", "listen",
    "cursor", "lock", "sequences", "seed",   "load", "slot",
};
#define CALLS_UNSURE "?role ?auth ?config ?lock ?seed"
static const char acts[] = "+-*";
/* What a statement that is not read may leave. */
#define STATEMENTS ((uint16_t)(QUERY_ALL_KINDS & ~QUERY_INCURABLE))

/* "+set:work_mem -lock" and so on, in the order of the text; ">" where a next statement begins; at
 * the end "?" with the kinds that are unsure, "path" and "makes". */
static const char *effects_of(const char *text)
{
    static char out[2048];
    struct query_effects effects;
    size_t size = 0;
    unsigned statement = 0;
    out[0] = '\0';
    if (!query_read_effects(span_text(text), &effects))
        return out;
    for (unsigned i = 0; i < effects.count; i++) {
        const struct query_effect *effect = &effects.all[i];
        for (; statement < effect->statement; statement++)
            size += (size_t)snprintf(out + size, sizeof(out) - size, "> ");
        size +=
            (size_t)snprintf(out + size, sizeof(out) - size, "%c%s%s%s ", acts[effect->act],
                             kinds[effect->kind], effect->name[0] != '\0' ? ":" : "", effect->name);
    }
    bool all = (effects.unsure & STATEMENTS) == STATEMENTS;
    for (unsigned kind = 0; kind < QUERY_KINDS && !all; kind++)
        if ((effects.unsure & QUERY_KIND(kind)) != 0)
            size += (size_t)snprintf(out + size, sizeof(out) - size, "?%s ", kinds[kind]);
    if (all)
        size += (size_t)snprintf(out + size, sizeof(out) - size, "??%s%s ",
                                 (effects.unsure & QUERY_KIND(QUERY_LOAD)) != 0 ? "load" : "",
                                 (effects.unsure & QUERY_KIND(QUERY_SLOT)) != 0 ? "slot" : "");
    if (effects.path)
        size += (size_t)snprintf(out + size, sizeof(out) - size, "path ");
    if (effects.makes)
        size += (size_t)snprintf(out + size, sizeof(out) - size, "makes ");
    if (size > 0)
        out[size - 1] = '\0';
    return out;
}

struct case_of {
    const char *text;
    const char *effects;
};

static void check_cases(const struct case_of *cases)
{
    for (; cases->text != NULL; cases++) {
        ck_assert_msg(strcmp(effects_of(cases->text), cases->effects) == 0,
                      "%s\n  has     %s\n  and not %s", cases->text, effects_of(cases->text),
                      cases->effects);
        if (cases->effects[0] != '\0' && strcmp(cases->effects, "makes") != 0)
            ck_assert_msg(query_may_have_effects(span_text(cases->text)), "filtered: %s",
                          cases->text);
    }
}

TEST(set_and_reset_name_their_parameter)
{
    static const struct case_of cases[] = {
        {"SET work_mem = '1MB'", "+set:work_mem"},
        {"set Search_Path to a, b", "+set:search_path"},
        {"SET SESSION statement_timeout TO 5", "+set:statement_timeout"},
        {"SET LOCAL statement_timeout TO 5", ""},
        {"SET \"my\".\"x\" = 1", "+set"},
        {"SET my.Var = 1", "+set:my.var"},
        {"SET x TO DEFAULT", "-set:x"},
        {"SET x = DEFAULT;", "-set:x"},
        {"RESET x", "-set:x"},
        {"RESET ALL", "*set *config"},
        {"SET TIME ZONE 'UTC'", "+set:timezone"},
        {"RESET TIME ZONE", "-set:timezone"},
        {"SET SESSION TIME ZONE DEFAULT", "-set:timezone"},
        {"SET NAMES 'utf8'", "+set:client_encoding"},
        {"SET SCHEMA 'a'", "+set:search_path"},
        {"SET time = 5", "+set:time"},
        {"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", ""},
        {"SET transaction_isolation = 'serializable'", ""},
        {"SET CONSTRAINTS ALL DEFERRED", ""},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "+set:session characteristics"},
        {"/* a -- */ -- b ;\n SET x = 1", "+set:x"},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(roles_are_a_kind_of_their_own)
{
    static const struct case_of cases[] = {
        {"SET ROLE bob", "+role"},
        {"SET ROLE NONE", "*role:none"},
        {"SET ROLE \"none\"", "*role:none"},
        {"SET ROLE \"NONE\"", "+role"},
        {"SET ROLE 'NONE'", "+role"},
        {"SET role TO DEFAULT", "*role"},
        {"SET role.x = 1", "+set:role.x"},
        {"RESET role.x", "-set:role.x"},
        {"SET role = 'none'", "*role:none"},
        {"SET SESSION AUTHORIZATION bob", "+auth"},
        {"SET SESSION SESSION AUTHORIZATION bob", "+auth"},
        {"SET SESSION AUTHORIZATION DEFAULT", "*auth *role"},
        {"SET SESSION AUTHORIZATION 'default'", "+auth"},
        {"SET SESSION AUTHORIZATION none", "+auth"},
        {"SET session_authorization TO bob", "+auth"},
        {"SET session_authorization TO DEFAULT", "*auth *role"},
        {"RESET ROLE", "*role"},
        {"RESET \"Role\"", "*role"},
        {"RESET SESSION AUTHORIZATION", "*auth *role"},
        {"RESET session_authorization", "*auth *role"},
        {"SET LOCAL SESSION AUTHORIZATION bob", ""},
        {"SELECT set_config('session_authorization', 'bob', false)", "+auth"},
        {"SELECT set_config('role', 'none', false)", "+role"},
        {"SELECT set_config(E'r\\x6fle', 'bob', false)", "+config ?role ?auth ?seed path"},
        {"SELECT set_config($1, $2, $3)", "+config ?role ?auth ?seed path"},
        {"SELECT set_config($1, $2, true)", "?seed path"},
        {"SET LOCAL ROLE bob", ""},
        {"SELECT set_config('role', 'bob', false)", "+role"},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(set_config_counts_unless_it_is_local)
{
    static const struct case_of cases[] = {
        {"SELECT set_config('x', 'y', false)", "+config:x"},
        {"SELECT set_config('x', 'y', true)", ""},
        {"SELECT pg_catalog.SET_CONFIG ( 'X' , $1, $2)", "+config:x"},
        {"SELECT \"set_config\"('x', 'y', false)", "+config:x"},
        {"SELECT set_config(name, 'y', false) FROM t", "+config ?role ?auth ?seed path"},
        {"SELECT set_config('a' || 'b', 'y', false)", "+config ?role ?auth ?seed path"},
        {"SELECT set_config('a', set_config('b', 'c', false), true)", "+config:b"},
        {"SELECT set_config('x', f(1, true), false)", "+config:x"},
        {"SELECT set_config('x', 'y', is_local => true)", "+config:x"},
        {"INSERT INTO t SELECT set_config('x', 'y', false)", "+config:x"},
        {"UPDATE pg_settings SET setting = 'x' WHERE name = 'y'", "+config"},
        {"UPDATE  pg_catalog.pg_settings SET setting = 'x'", "+config"},
        {"SELECT 'set_config(''x'', ''y'', false)'", ""},
        {"SELECT $a$set_config('x', 'y', false)$a$", ""},
        {"SELECT set_config FROM t", ""},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(temporary_objects_are_found_where_they_are_made)
{
    static const struct case_of cases[] = {
        {"CREATE TEMP TABLE t (a int)", "+temp:t"},
        {"CREATE LOCAL TEMPORARY TABLE IF NOT EXISTS \"T\" (a int)", "+temp:T"},
        {"CREATE TEMP TABLE t (a int) ON COMMIT DROP", ""},
        {"CREATE TEMP TABLE t ON COMMIT DELETE ROWS AS SELECT 1", "+temp:t"},
        {"CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "+temp"},
        {"CREATE TEMP SEQUENCE s", "+temp"},
        {"CREATE TABLE pg_temp.t (a int)", "+temp:t"},
        {"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'", "+temp makes"},
        {"CREATE TABLE temp (temp int)", "makes"},
        {"CREATE UNLOGGED TABLE t (a int)", "makes"},
        {"SELECT 1 AS a INTO TEMP t", "+temp:t"},
        {"SELECT 1 AS a INTO TEMPORARY TABLE t FROM x", "+temp:t"},
        {"WITH q AS (SELECT 1) SELECT * INTO pg_temp.t FROM q", "+temp:t"},
        {"SELECT INTO TEMP t", "+temp:t"},
        {"SELECT 1 AS a INTO t", "makes"},
        {"INSERT INTO temp VALUES (1)", ""},
        {"DROP TABLE t", "-temp:t"},
        {"DROP TABLE IF EXISTS pg_temp.t CASCADE", "-temp:t"},
        {"DROP TABLE public.t", ""},
        {"DROP TABLE a, b", ""},
        {"DISCARD TEMP", "*temp"},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(prepare_listen_and_cursors_have_names)
{
    static const struct case_of cases[] = {
        {"PREPARE p AS SELECT 1", "+prepare:p"},
        {"PREPARE \"P\" (int) AS SELECT $1", "+prepare:P"},
        {"PREPARE TRANSACTION 'x'", ""},
        {"DEALLOCATE p", "-prepare:p"},
        {"DEALLOCATE PREPARE p", "-prepare:p"},
        {"DEALLOCATE PREPARE", "-prepare:prepare"},
        {"DEALLOCATE \"A \"\"b\"\"\"; select 'deallocate q' --deallocate r", "-prepare:A \"b\""},
        {"SAVEPOINT a;DEALLOCATE \"P\";RELEASE a", "> -prepare:P"},
        {"DEALLOCATE ALL", "*prepare"},
        {"LISTEN ch", "+listen:ch"},
        {"UNLISTEN Ch", "-listen:ch"},
        {"UNLISTEN *", "*listen"},
        {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "+cursor:c"},
        {"DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", ""},
        {"DECLARE c CURSOR FOR SELECT 1", ""},
        {"CLOSE c", "-cursor:c"},
        {"CLOSE ALL", "*cursor"},
        {"DISCARD ALL", "*set *role *auth *config *temp *prepare *listen *cursor "
                        "*lock *sequences"},
        {"NOTIFY ch, 'x'", ""},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(session_locks_are_told_from_those_of_transactions)
{
    static const struct case_of cases[] = {
        {"SELECT pg_advisory_lock(1)", "+lock:(1)"},
        {"SELECT pg_try_advisory_lock_shared(1, 2)", "+lock:shared(1,2)"},
        {"SELECT PG_ADVISORY_UNLOCK(1)", "-lock:(1)"},
        {"SELECT pg_advisory_lock($1), 2", "+lock:advisory lock"},
        {"SELECT pg_advisory_unlock_all()", "*lock:()"},
        {"SELECT pg_advisory_xact_lock(1)", ""},
        {"SELECT pg_try_advisory_xact_lock_shared(1)", ""},
        {"PREPARE p AS SELECT pg_advisory_lock($1)", "+prepare:p +lock:advisory lock ?lock"},
        {NULL, NULL},
    };
    check_cases(cases);
}

static bool is_single_lock(const char *text)
{
    struct query_effects effects;
    ck_assert(query_read_effects(span_text(text), &effects));
    ck_assert(effects.count > 0 && effects.all[0].kind == QUERY_LOCK);
    return effects.all[0].single;
}

TEST(a_lock_is_a_single_one_if_its_statement_is_nothing_but_the_call)
{
    static const char *const single[] = {
        "select pg_advisory_lock(1)",
        " SELECT pg_catalog.pg_try_advisory_lock ( $1::int, 'a' ) AS got;",
        "select pg_advisory_lock_shared(hashtext('a'))::text \"x\" ; select 1 from t",
        "select pg_advisory_unlock(-(1 + 2))",
        "select pg_advisory_unlock_all()",
    };
    static const char *const others[] = {
        "select pg_advisory_lock(1), pg_advisory_lock(2)",
        "select pg_advisory_lock(a) from t",
        "select pg_advisory_lock(1), generate_series(1, 2)",
        "select pg_advisory_lock(generate_series(1, 2))",
        "select pg_advisory_lock(\"generate_series\" (1, 2))",
        "select pg_advisory_lock((select 1))",
        "select pg_advisory_lock(1) where false",
        "select pg_advisory_lock(1) union all select 1",
        "select 1 + pg_advisory_lock(1)",
        "select distinct pg_advisory_unlock_all() limit 0",
        "update t set a = 1 where pg_advisory_unlock(1)",
        "values (pg_advisory_lock(1))",
        "explain select pg_advisory_unlock(1)",
        "do $$ begin perform pg_advisory_lock(1); end $$",
        "do $$ begin select pg_advisory_lock(1); end $$",
        "select pg_advisory_lock('a\\')",
        "select pg_advisory_lock(1000000000000000000000000000000000000000000000000000000000000000)",
    };
    for (size_t i = 0; i < ARRAY_SIZE(single); i++)
        ck_assert_msg(is_single_lock(single[i]), "%s", single[i]);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        ck_assert_msg(!is_single_lock(others[i]), "%s", others[i]);
}

TEST(statements_of_one_text_are_told_apart)
{
    static const struct case_of cases[] = {
        {"SELECT 1; SET x = 1", "> +set:x"},
        {"TABLE t;LISTEN a", "> +listen:a"},
        {"BEGIN;LISTEN a", "> +listen:a"},
        {"COMMIT;LISTEN a;", "> +listen:a"},
        {"BEGIN;RESET a", "> -set:a"},
        {";;BEGIN;; SET x = 1; SELECT ';'; LISTEN a;", "> +set:x > > +listen:a"},
        {"CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SET x = 1", "> +set:x makes"},
        {"INSERT INTO t VALUES ('it''s; SET y = 1', E'\\'; SET z = 1'); SET x = 1", "> +set:x"},
        {"SELECT $$;SET y = 1$$, $1; SET x = 1", "> +set:x"},
        {"SELECT 1 /* ; /* SET y=1; */ */ -- ;\n; SET x = 1", "> +set:x"},
        {"BEGIN; SET LOCAL x = 1; COMMIT", ""},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(the_body_of_a_do_block_is_looked_into)
{
    static const struct case_of cases[] = {
        {"DO $$ BEGIN PERFORM pg_advisory_lock(1); END $$", "+lock:advisory lock"},
        {"DO $$ BEGIN SET x = 1; IF true THEN LISTEN a; END IF; END $$", "+set:x +listen:a"},
        {"DO LANGUAGE plpgsql 'BEGIN PERFORM set_config(''x'', ''y'', false); END'",
         "+config ?? path"},
        {"DO $$ BEGIN UPDATE t SET x = 1; END $$", ""},
        {"DO $$ BEGIN SET LOCAL x = 1; RESET ALL; END $$", ""},
        {"DO $$ BEGIN CREATE TEMP TABLE t AS SELECT 1; END $$", "+temp:t"},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(names_that_begin_like_keywords_are_names)
{
    static const struct case_of cases[] = {
        {"SET local.x = 1", "+set:local.x"},
        {"SET LOCAL local.x = 1", ""},
        {"SET SESSION local.x = 1", "+set:local.x"},
        {"SET transaction.x TO 'a'", "+set:transaction.x"},
        {"SET constraints.x = on", "+set:constraints.x"},
        {"SET session.x = 1", "+set:session.x"},
        {"SET SESSION session.x = 1", "+set:session.x"},
        {"SET session . x = 1", "+set:session . x"},
        {"RESET session.x", "-set:session.x"},
        {"RESET time.zone", "-set:time.zone"},
        {"SET a.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1 = 1",
         "+set"},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(what_stands_in_front_of_a_statement_does_not_hide_it)
{
    static const struct case_of cases[] = {
        {"EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", "+temp:t"},
        {"EXPLAIN (ANALYZE, COSTS off) CREATE TEMP TABLE t AS SELECT 1", "+temp:t"},
        {"EXPLAIN ANALYSE VERBOSE DECLARE c CURSOR WITH HOLD FOR SELECT 1", "+cursor:c"},
        {"EXPLAIN ANALYZE UPDATE pg_settings SET setting = 1", "+config"},
        {"EXPLAIN ANALYZE EXECUTE p", CALLS_UNSURE},
        {"EXECUTE p", CALLS_UNSURE},
        {"CREATE TABLE t AS EXECUTE p", CALLS_UNSURE " makes"},
        {"UPDATE \"pg_settings\" SET setting = 1", "+config"},
        {"UPDATE ONLY pg_settings SET setting = 1", "+config"},
        {"UPDATE ONLY (pg_catalog.pg_settings) SET setting = 1", "+config"},
        {"UPDATE/**/pg_settings SET setting = 1", "+config"},
        {"UPDATE -- a\n \"pg_catalog\" . \"pg_settings\" SET setting = 1", "+config"},
        {"WITH a AS (SELECT 1) UPDATE pg_settings SET setting = 1", "+config"},
        {"COPY (UPDATE pg_settings SET setting = 1) TO STDOUT", "+config"},
        {"PREPARE p AS UPDATE pg_settings SET setting = 1", "+prepare:p +config ?config"},
        {"UPDATE t SET a = 1 FROM pg_settings", ""},
        {"SELECT 1 FROM pg_settings FOR UPDATE OF pg_settings", ""},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(temporary_objects_come_by_search_path_too)
{
    static const struct case_of cases[] = {
        {"SET LOCAL search_path = pg_temp", "?temp"},
        {"SET LOCAL search_path TO a, \"pg_temp\"", "?temp"},
        {"SET LOCAL SCHEMA 'pg_temp'", "?temp"},
        {"SET search_path = 'pg_temp'", "+set:search_path ?temp"},
        {"SET LOCAL search_path = E'pg\\137temp'", "path"},
        {"SET LOCAL search_path = a, 'b'", ""},
        {"SELECT set_config('search_path', 'pg_temp', true)", "?temp"},
        {"SELECT set_config('search_path', $1, true)", "path"},
        {"SELECT set_config('search_path', 'a', true)", ""},
        {"CREATE FUNCTION f() RETURNS int SET search_path = a, pg_temp LANGUAGE sql AS ''",
         "makes"},
        {"CREATE EXTENSION e SCHEMA pg_temp", "+temp makes"},
        {"IMPORT FOREIGN SCHEMA a FROM SERVER b INTO pg_temp", "+temp:pg_temp"},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(what_other_kinds_leave)
{
    static const struct case_of cases[] = {
        {"SELECT lastval()", "+sequences:lastval"},
        {"SELECT \"currval\"('s')", "+sequences:currval"},
        {"SELECT lastval FROM t", ""},
        {"DISCARD SEQUENCES", "*sequences"},
        {"SELECT setseed(0.5)", "+seed"},
        {"SET seed = 0.5", "+seed"},
        {"SET LOCAL seed TO 0.5", "+seed"},
        {"SELECT set_config('seed', '0.5', true)", "+seed"},
        {"LOAD 'a'", "+load"},
        {"DO $$ BEGIN LOAD 'a'; END $$", "+load"},
        {"SELECT pg_create_physical_replication_slot('a', false, true)", "+slot"},
        {"SELECT pg_create_physical_replication_slot('a', false, false)", ""},
        {"SELECT pg_create_physical_replication_slot('a', temporary => true)", "+slot"},
        {"SELECT pg_create_logical_replication_slot('a', 'b')", ""},
        {"SELECT pg_create_logical_replication_slot('a', 'b', $1)", "+slot"},
        {"SELECT pg_copy_logical_replication_slot('a', 'b')", "+slot"},
        {"SELECT pg_replication_origin_session_setup('a')", "+slot"},
        {NULL, NULL},
    };
    check_cases(cases);
}

/* A string goes on behind its closing quote, if a further one comes on a later line. */
TEST(strings_go_on_on_the_next_line)
{
    static const struct case_of cases[] = {
        {"SELECT 1; SELECT E'a'\n'\\'; SET x = 1 --'", ""},
        {"SELECT 1; SELECT E'a' -- b'\n  '\\'; SET x = 1 --'; SET y = 1", "> > +set:y"},
        {"SELECT 1; SELECT 'a' '; SET x = 1 --'", ""},
        {"SELECT 1; SELECT E'a' /* \n */ '\\'; SET x = 1 --'", "> > +set:x ?? path"},
        {"SELECT 1; SELECT 'a'\r'; SET x = 1 --'; SET y = 1", "> > +set:y"},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(a_text_of_two_readings_is_not_sure)
{
    static const struct case_of cases[] = {
        {"TABLE t; SELECT 'a\\'; --'; SET x = 1", "?? path"},
        {"TABLE t; SELECT 'a\\\\'; --'", ""},
        {"TABLE t; SELECT '\\n', E'\\n'", ""},
        {"TABLE t; SELECT E'\x95\\'; SET x = 1 --'", "?? path"},
        {"SELECT U&\"set\\005fconfig\"('x', 'y', false)", "??slot path"},
        {"SELECT U&\"set!005fconfig\" UESCAPE '!' ('x', 'y', false)", "??slot path"},
        {"SELECT U&\"set_config\"('x', 'y', false)", "+config:x"},
        {"TABLE t; LOAD 'a\\'", "> +load ??load path"},
        {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; RESET x",
         "> > -set:x ?? makes"},
        {"DO $$ BEGIN EXECUTE 'set x = 1'; END $$", "??"},
        {"DO LANGUAGE plperl 'x'", "??"},
        {"DO E'BEGIN END\\x3b'", "?? path"},
        {"DO 'BEGIN PERFORM ''--''; SET x = 1; END'", "?? path"},
        {"DO 'BEGIN s'\n'et x = 1; END'", "?? path"},
        {"DO 'BEGIN PERFORM ''$$''; LOAD ''x''; END'", "??load path"},
        {"DO $a$ BEGIN DO $$ BEGIN END $$; END $a$", "??"},
        {"SELECT query_to_xml('select set_config()', true, true, '')", "??"},
        {NULL, NULL},
    };
    check_cases(cases);
}

/* It is carried out behind what ends it in the text. */
TEST(what_is_said_now_and_done_later_is_not_sure)
{
    static const struct case_of cases[] = {
        {"DECLARE c CURSOR FOR SELECT set_config('x', 'y', false)", "+config:x ?config"},
        {"PREPARE p AS SELECT pg_advisory_lock(1), set_config('role', $1, false)",
         "+prepare:p +lock:advisory lock +role ?role ?lock"},
        {"DECLARE c CURSOR FOR SELECT 1; SELECT set_config('x', 'y', false)", "> +config:x"},
        {NULL, NULL},
    };
    check_cases(cases);
}

/* A parenthesis that a call has taken is counted all the same. */
TEST(calls_do_not_shift_statements)
{
    static const struct case_of cases[] = {
        {"CREATE RULE r AS ON INSERT TO t DO (SELECT pg_advisory_lock(1); SELECT 2); SET x = 1",
         "+lock:advisory lock > +set:x makes"},
        {"SELECT (set_config('x', 'y', false)); SET x = 1", "+config:x > +set:x"},
        {"EXPLAIN (ANALYZE) SELECT 1; SET x = 1", "> +set:x"},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(what_is_common_is_not_looked_at_closely)
{
    static const char *const texts[] = {
        "SELECT 1",
        "select 1;",
        "BEGIN",
        "commit ",
        "INSERT INTO items (id, name) VALUES ($1, $2) RETURNING id",
        "UPDATE accounts SET balance = balance + 1 WHERE account_id = $1",
        "SELECT config_value, b FROM some_table WHERE user_id = $1 ORDER BY created_at",
        "DELETE FROM t WHERE a = 'x'",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_msg(!query_may_have_effects(span_text(texts[i])), "%s", texts[i]);
}

/* Whatever stands around it, and wherever in a block of bytes it begins. */
TEST(the_cheap_look_finds_every_place)
{
    static const char *const finds[] = {
        ";set",    "TEMP",    "set_CONFIG", "pg_advisory_lock", "lastval",
        "CURRVAL", "setseed", "U&\"set\\",  "pg_replication"};
    char text[128];
    for (size_t f = 0; f < sizeof(finds) / sizeof(finds[0]); f++)
        for (size_t before = 0; before < 70; before++)
            for (size_t after = 1; after < 20; after += 3) {
                snprintf(text, sizeof(text), "select %.*s%s%.*s", (int)before,
                         "                                                                      ",
                         finds[f], (int)after, "xxxxxxxxxxxxxxxxxxxxxx");
                /* Shorter ones can't have any but by a second statement. */
                if (strlen(text) > 16 || f == 0)
                    ck_assert_msg(query_may_have_effects(span_text(text)), "%s", text);
                ck_assert_msg(query_part_may_have_effects(span_text(text)), "%s", text);
            }
}

TEST(the_start_of_a_long_text_is_judged_by_its_first_word)
{
    static const char *const unknown[] = {"", " ", "\n\t ", ";;", " ; ", "sel", "set a", "/* set"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        ck_assert_msg(query_start_may_have_effects(span_text(unknown[i])), "\"%s\"", unknown[i]);
    ck_assert(!query_start_may_have_effects(span_text("sele")));
    ck_assert(!query_start_may_have_effects(span_text(" INSERT INTO t VALUES ('aaaaaaaaa")));
}

TEST(too_many_effects_are_told_by_kind)
{
    char text[1024] = "";
    struct query_effects effects;
    for (int i = 0; i < 20; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "LISTEN a%d;", i);
    ck_assert(query_read_effects(span_text(text), &effects));
    ck_assert_uint_eq(effects.count, QUERY_EFFECTS_MAX);
    ck_assert_uint_eq(effects.more, QUERY_KIND(QUERY_LISTEN));
    ck_assert_uint_eq(effects.creates, QUERY_KIND(QUERY_LISTEN));
}

TEST(the_first_word_says_what_a_lost_server_leaves_open)
{
    static const struct {
        const char *text;
        uint8_t outcome;
    } cases[] = {
        {"select 1", 0},
        {" \n (SELECT 1)", 0},
        {"Begin;", 0},
        {"rollback", 0},
        {"insert into t values (1)", QUERY_OPEN_WRITE},
        {"with x as (delete from t) select 1", QUERY_OPEN_WRITE},
        {"selection()", QUERY_OPEN_WRITE},
        {"committed", QUERY_OPEN_WRITE},
        {"COMMIT", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
        {"end;", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
        {"prepare transaction 'x'", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
        {"/* tag */ commit", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
        {"", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
        {"begin; insert into t values (1); commit", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
        {"select 1;commit", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
        {"insert into t values (1); end", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
        {"select ';a'", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
        {"select 1; ;\n", 0},
        {"SELECT a INTO b FROM c", QUERY_OPEN_WRITE},
        {"(select\n1into b)", QUERY_OPEN_WRITE},
        {"select a, 'into' from b", QUERY_OPEN_WRITE}, /* not known to be a literal */
        {"select action, minor from notions where pinot = 1", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct span text = span_text(cases[i].text);
        uint8_t found;
        ck_assert_msg(query_outcome_of(text) == cases[i].outcome, "%s", cases[i].text);
        ck_assert_int_eq(query_filter(text, &found), query_may_have_effects(text));
        ck_assert_msg(found == cases[i].outcome, "%s", cases[i].text);
    }
    ck_assert(query_is_select(span_text(" \n(SELECT\n1)")));
    ck_assert(query_is_select(span_text("select*from t")));
    ck_assert(!query_is_select(span_text("selection()")));
    ck_assert(!query_is_select(span_text("show x")) && !query_is_select(span_text("")));
}
END_TEST

TEST(the_first_word_says_whether_a_transaction_is_open_behind_a_text)
{
    static const struct {
        const char *text;
        bool outside, inside; /* no transaction is open behind it */
    } cases[] = {
        {"insert into t values (1)", true, false},
        {" (SELECT f());\n", true, false},
        {"with x as (delete from t) select 1", true, false},
        {"call p()", true, false},
        {"begin", false, false},
        {"start transaction", false, false},
        {"insert into t values (1); begin", false, false},
        {"insert into t values (';a')", false, false},
        {"/* a */ insert into t values (1)", false, false},
        {"copy t from stdin", false, false},
        {"prepare transaction 'x'", false, false},
        {"selection", false, false},
        {"COMMIT", false, true},
        {"commit ;", false, true},
        {"end", false, true},
        {"rollback;", false, true},
        {"abort", false, true},
        {"commit and chain", false, false},
        {"commit work", false, false},
        {"rollback to savepoint a", false, false},
        {"commit; begin", false, false},
        {"commit/**/and chain", false, false},
        {"committed", false, false},
        {"", false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        ck_assert_msg(query_is_last(span_text(cases[i].text), false) == cases[i].outside, "%s",
                      cases[i].text);
        ck_assert_msg(query_is_last(span_text(cases[i].text), true) == cases[i].inside, "%s",
                      cases[i].text);
    }
}
END_TEST

TESTS("query", the_first_word_says_whether_a_transaction_is_open_behind_a_text,
      the_first_word_says_what_a_lost_server_leaves_open, set_and_reset_name_their_parameter,
      roles_are_a_kind_of_their_own, names_that_begin_like_keywords_are_names,
      what_stands_in_front_of_a_statement_does_not_hide_it,
      temporary_objects_come_by_search_path_too, what_other_kinds_leave,
      strings_go_on_on_the_next_line, a_text_of_two_readings_is_not_sure,
      what_is_said_now_and_done_later_is_not_sure, calls_do_not_shift_statements,
      set_config_counts_unless_it_is_local, temporary_objects_are_found_where_they_are_made,
      prepare_listen_and_cursors_have_names, session_locks_are_told_from_those_of_transactions,
      a_lock_is_a_single_one_if_its_statement_is_nothing_but_the_call,
      statements_of_one_text_are_told_apart, the_body_of_a_do_block_is_looked_into,
      what_is_common_is_not_looked_at_closely, the_cheap_look_finds_every_place,
      the_start_of_a_long_text_is_judged_by_its_first_word, too_many_effects_are_told_by_kind)
