#include "query/effects.h"
#include "query/scan.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[QUERY_KINDS] = {"set",     "role",   "config", "temp",
                                               "prepare", "listen", "cursor", "lock"};
static const char acts[] = "+-*";

/* "+set:work_mem -lock" and so on, in the order of the text; ">" where a next statement begins. */
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
        if (cases->effects[0] != '\0')
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
        {"SET \"my\".\"x\" = 1", "+set:my"},
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
        {"SET ROLE bob", "+role:role"},
        {"SET ROLE NONE", "*role"},
        {"SET role = 'none'", "*role"},
        {"SET SESSION AUTHORIZATION bob", "+role:role"},
        {"SET SESSION AUTHORIZATION DEFAULT", "*role"},
        {"SET session_authorization TO bob", "+role:role"},
        {"RESET ROLE", "*role"},
        {"RESET SESSION AUTHORIZATION", "*role"},
        {"SET LOCAL ROLE bob", ""},
        {"SELECT set_config('role', 'bob', false)", "+role:role"},
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
        {"SELECT set_config(name, 'y', false) FROM t", "+config"},
        {"SELECT set_config('a' || 'b', 'y', false)", "+config"},
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
        {"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'", "+temp"},
        {"CREATE TABLE temp (temp int)", ""},
        {"CREATE UNLOGGED TABLE t (a int)", ""},
        {"SELECT 1 AS a INTO TEMP t", "+temp:t"},
        {"SELECT 1 AS a INTO TEMPORARY TABLE t FROM x", "+temp:t"},
        {"WITH q AS (SELECT 1) SELECT * INTO pg_temp.t FROM q", "+temp:t"},
        {"SELECT INTO TEMP t", "+temp:t"},
        {"SELECT 1 AS a INTO t", ""},
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
        {"DISCARD ALL", "*set *role *config *temp *prepare *listen *cursor *lock"},
        {"NOTIFY ch, 'x'", ""},
        {NULL, NULL},
    };
    check_cases(cases);
}

TEST(session_locks_are_told_from_those_of_transactions)
{
    static const struct case_of cases[] = {
        {"SELECT pg_advisory_lock(1)", "+lock:advisory lock"},
        {"SELECT pg_try_advisory_lock_shared(1, 2)", "+lock:advisory lock"},
        {"SELECT PG_ADVISORY_UNLOCK(1)", "-lock:advisory lock"},
        {"SELECT pg_advisory_unlock_all()", "*lock:advisory lock"},
        {"SELECT pg_advisory_xact_lock(1)", ""},
        {"SELECT pg_try_advisory_xact_lock_shared(1)", ""},
        {"PREPARE p AS SELECT pg_advisory_lock($1)", "+prepare:p +lock:advisory lock"},
        {NULL, NULL},
    };
    check_cases(cases);
    struct query_effects effects;
    ck_assert(query_read_effects(SPAN("select pg_advisory_lock(1)"), &effects));
    ck_assert(effects.all[0].single);
    ck_assert(query_read_effects(SPAN("select pg_advisory_lock(a) from t"), &effects));
    ck_assert(!effects.all[0].single);
    ck_assert(
        query_read_effects(SPAN("select pg_advisory_lock(1), pg_advisory_lock(2)"), &effects));
    ck_assert(!effects.all[0].single && !effects.all[1].single);
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
        {"CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SET x = 1", "> +set:x"},
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
        {"DO LANGUAGE plpgsql 'BEGIN PERFORM set_config(''x'', ''y'', false); END'", "+config"},
        {"DO $$ BEGIN UPDATE t SET x = 1; END $$", ""},
        {"DO $$ BEGIN SET LOCAL x = 1; RESET ALL; END $$", ""},
        {"DO $$ BEGIN CREATE TEMP TABLE t AS SELECT 1; END $$", "+temp:t"},
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
    static const char *const finds[] = {";set", "TEMP", "set_CONFIG", "pg_advisory_lock"};
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

TEST(too_many_effects_are_told_by_kind)
{
    char text[1024] = "";
    struct query_effects effects;
    for (int i = 0; i < 20; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "LISTEN a%d;", i);
    ck_assert(query_read_effects(span_text(text), &effects));
    ck_assert_uint_eq(effects.count, QUERY_EFFECTS_MOST);
    ck_assert_uint_eq(effects.more, QUERY_KIND(QUERY_LISTEN));
    ck_assert_uint_eq(effects.creates, QUERY_KIND(QUERY_LISTEN));
}

TESTS("query", set_and_reset_name_their_parameter, roles_are_a_kind_of_their_own,
      set_config_counts_unless_it_is_local, temporary_objects_are_found_where_they_are_made,
      prepare_listen_and_cursors_have_names, session_locks_are_told_from_those_of_transactions,
      statements_of_one_text_are_told_apart, the_body_of_a_do_block_is_looked_into,
      what_is_common_is_not_looked_at_closely, the_cheap_look_finds_every_place,
      too_many_effects_are_told_by_kind)
