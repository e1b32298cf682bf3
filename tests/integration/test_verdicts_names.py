"""What names denote: for the role, the search_path and the settings of a session; hostile ones too."""
import uuid

import psycopg
import pytest

from support.verdicts import PRINT, admin, client, fails, resolver  # noqa: F401 (fixtures)

pytestmark = pytest.mark.skipif(not PRINT.exists(), reason="a build without tests")


@pytest.mark.parametrize("path, reads", [
    ("one", "t"), ("two", "two.t"), ("two, one", "two.t"), ("one, two", "t"), ("three, two", "two.t"),
    ("pg_catalog, one", "t"), ("one, pg_catalog", "t"), ('"$user", two', "two.t")])
def test_a_name_is_looked_up_as_the_session_does(resolver, client, path, reads):
    client.execute(f"set search_path = {path}")
    verdict = resolver.ask(client, "select k from t")
    assert (verdict.reason, verdict.reads) == ("-", {reads})


def test_a_schema_that_the_role_may_not_use_is_passed_over(resolver, client):
    client.execute("set search_path = hidden, one; set role app")
    assert resolver.ask(client, "select k from t").reads == {"t"}
    assert resolver.ask(client, "select k from hidden.t").reason == "denied"
    assert fails(client, "select k from hidden.t") == "42501"
    client.execute("reset role")
    assert resolver.ask(client, "select k from t").reads == {"hidden.t"}


def test_a_temporary_table_hides_another_one(resolver, client):
    client.execute("create temp table t (k int)")
    assert resolver.ask(client, "select k from t").reason == "temporary"
    assert resolver.ask(client, "select k from one.t").reads == {"t"}
    assert resolver.ask(client, "insert into t values (1)").written == set()
    assert resolver.ask(client, "insert into one.t values (1)").written == {"t"}
    client.execute("set search_path = one, pg_temp")
    assert resolver.ask(client, "select k from t").reads == {"t"}


def test_what_the_role_may_not_read_is_not_kept(resolver, client):
    assert resolver.ask(client, "select * from private").cacheable
    client.execute("set role app")
    assert resolver.ask(client, "select * from private").reason == "denied"
    assert fails(client, "select * from private") == "42501"
    assert resolver.ask(client, "select k from half").cacheable


@pytest.mark.parametrize("text, reason", [
    ("select lower(y) from t", "function"), ("select now()", "function"), ("select k = x from t", "operator"),
    ("select k from t where k in (1, 2)", "operator"), ("select * from t join u using (k)", "operator"),
    ("select case k when 1 then 2 end from t", "operator"), ("select nullif(k, 1) from t", "operator"),
    ("select k from t where k = 1", "operator")])
def test_objects_of_users_in_front_of_postgresqls_are_noticed(resolver, client, text, reason):
    client.execute("set search_path = one, two, pg_catalog")
    assert resolver.ask(client, text).reason == reason
    client.execute("set search_path = pg_catalog, one, two")
    expected = "stable" if "now" in text else "-"
    assert resolver.ask(client, text).reason == expected


def test_functions_of_users_that_no_call_can_reach_do_not_matter(resolver, client):
    client.execute("create extension if not exists citext schema three; set search_path = one, three")
    for text in ("select * from t where y = 'y1' and x < 30 and y like 'y%' and y ~ 'y'",
                 "select replace(y, 'a', 'b'), split_part('x', y, 1), max(y), min('x') from t"):
        verdict = resolver.ask(client, text)
        assert verdict.cacheable, verdict
    assert resolver.ask(client, "select * from t where y = 'y1'::citext").reason in ("function", "operator", "type")
    client.execute("create table if not exists three.names (k int primary key, n citext); set search_path = one, three")
    assert not resolver.ask(client, "select * from names where n = 'a'").cacheable
    assert resolver.ask(client, "select * from t where y = 'y1'").cacheable


def test_an_implicit_cast_of_a_user_is_noticed(admin, resolver, client):
    text = "select k from t where y = 'y1'"
    assert resolver.ask(client, text).cacheable
    admin.execute("""create function three.to_int(text) returns int language sql as 'select 1';
                     create cast (text as int) with function three.to_int(text) as implicit""")
    try:
        assert resolver.ask(client, text).reason == "cast"
        assert resolver.ask(client, "insert into words values ('x', 1)").written_reason == "cast"
    finally:
        admin.execute("drop cast (text as int)")


CALLED = ["current_schemas(bool) returns name[]", "unnest(name[]) returns name", "regexp_matches(text, text, text) returns text[]",
          "concat(variadic text[]) returns text", "current_setting(text) returns text", "string_agg(text, text) returns text",
          "pg_function_is_visible(oid) returns bool", "has_schema_privilege(oid, text) returns bool", "convert_from(bytea, name) returns text",
          "decode(text, text) returns bytea", "strpos(text, text) returns int", "count() returns int", "has_any_column_privilege(oid, text) returns bool"]
TYPES = ["oid", "name", "text", '"char"', "int4", "int2", "int8", "bool"]
OPERATORS = ["=", "<>", "<", ">", "<=", ">=", "+", "-", "&", "||"]


def test_the_question_calls_nothing_of_users(admin, resolver, client):
    """search_path may have their functions, operators, types and tables in front of pg_catalog's."""
    admin.execute("create schema hostile")
    for signature in CALLED:
        admin.execute(f"create or replace function hostile.{signature} language plpgsql as 'begin raise exception ''called''; end'")
    for kind in TYPES:
        admin.execute(f"create function hostile.never({kind}, {kind}) returns bool language plpgsql as 'begin raise exception ''called''; end'")
        for operator in OPERATORS:
            admin.execute(f"create operator hostile.{operator} (leftarg = {kind}, rightarg = {kind}, function = hostile.never)")
    for table in ("pg_class", "pg_proc", "pg_type", "pg_namespace", "ask", "rels", "path", "named"):
        admin.execute(f"create table hostile.{table} (oid int, relname text, k text)")
    for kind in ("text", "name", "oid", "int4"):
        admin.execute(f"create domain hostile.{kind} as pg_catalog.bool")
    try:
        client.execute("set search_path = hostile, one, pg_catalog")
        assert fails(client, "select current_schemas(true)") == "P0001"
        assert resolver.ask(client, "select k, upper(y) from t").reads == {"t"}
        assert resolver.ask(client, "select * from joined").cacheable
        assert resolver.ask(client, "select k from t where k = 1").reason == "operator"
        assert resolver.ask(client, "select oid from ask, rels").cacheable
        assert resolver.ask(client, "delete from t").written == {"t", "u", "v"}
    finally:
        admin.execute("drop schema hostile cascade")


def test_a_default_operator_class_of_a_user_is_noticed(admin, resolver, client):
    text = "select k from t order by m"
    assert resolver.ask(client, text).cacheable
    admin.execute("""create function three.compare(one.mood, one.mood) returns int language plpgsql immutable
                         as 'begin return enum_cmp($1, $2); end';
                     create operator class three.moods default for type one.mood using btree as
                         operator 1 < (anyenum, anyenum), operator 3 = (anyenum, anyenum), function 1 three.compare(one.mood, one.mood)""")
    try:
        assert resolver.ask(client, text).reason == "operator"
    finally:
        admin.execute("drop operator family three.moods using btree cascade; drop function three.compare")


def test_a_name_above_127_behind_a_view_needs_one_encoding(admin, resolver, client):
    admin.execute('create table three."Öl" (k int); create view three.seen as select k from three."Öl"')
    assert resolver.ask(client, "select k from three.seen").cacheable
    client.execute("set client_encoding = latin1")
    assert resolver.ask(client, "select k from three.seen").reason == "encoding"
    admin.execute('drop table three."Öl" cascade')


NAMES = ["a'b", 'a"b', "a\\b", "a\nb", "'; drop table one.t; --", "é", "日本", "E'", "$$", "%s", "{}", "\\'", "a\tb"]


@pytest.mark.parametrize("strings", ["on", "off"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_any_bytes_is_found_and_harmless(admin, resolver, client, name, strings):
    quoted = '"' + name.replace('"', '""') + '"'
    admin.execute(f"create table three.{quoted} (k int primary key)".encode())
    client.execute(f"set search_path = three; set standard_conforming_strings = {strings}; set escape_string_warning = off")
    verdict = resolver.ask(client, f"select k from {quoted}")
    missing = resolver.ask(client, f"select k from {quoted[:-1]}x\"")
    admin.execute(f"drop table three.{quoted}".encode())
    if "\\" in name and strings == "off":
        assert verdict.reason == "strings"
        return
    assert verdict.cacheable and len(verdict.reads) == 1
    assert missing.reason == "missing"


def test_bytes_above_127_need_one_encoding(resolver, client):
    text = 'select * from "Groß"'
    assert resolver.ask(client, text).cacheable
    client.execute("set client_encoding = latin1")
    assert resolver.ask(client, text).reason == "encoding"
    assert resolver.ask(client, "select 'ß' from t".encode("latin1")).reason == "encoding"
    with pytest.raises(psycopg.errors.CharacterNotInRepertoire):
        resolver.ask(client, text.encode("latin1"))
    assert resolver.ask(client, "select * from t").cacheable


@pytest.mark.parametrize("text, keys", [
    ("select x from t where k = 1", 1), ("select x from t where 1 = k and x > 2", 1), ("select x from t where k = $1", 1),
    ("select x from t where k in (1)", 1), ("select * from one.t q where q.k = '7'", 1), ("select x from t where k = '7'::bigint", 1),
    ("select x from pairs where b = 'b1' and a = 1", 2), ("select x from pairs where a = $2 and b = $1", 2),
    ("select x from pairs where a = 1", 0), ("select x from t where k = 1 or k = 2", 0), ("select x from t where x = 1", 0),
    ("select x from t where k = 1.0", 0), ("select x from t where k = 1.5", 0), ("select x from t where k = '0x10'", 0),
    ("select x from words where k = 'w1'", 1), ("select x from words where k = 'w1'::varchar", 1),
    ("select x from words where k = 'w1'::char(10)", 0), ("select x from words where k = $1 and $1::char(10) <> 'x'", 0),
    ("select x from loose where k = 'a'", 0), ("select x from numbers where k = 1", 0), ("select x from blanks where k = 'a'", 0),
    ("select x from ids where k = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", 1), ("select x from ids where k = $1", 1),
    ("select x from part where k = 1", 0), ("select x from part_low where k = 1", 0), ("select x from child where k = 1", 0),
    ("select x from plain where k = 1", 0), ("select t.x from t, u where t.k = 1", 0), ("select x from secret where k = 1", 1),
    ("select k from shared where k = 1", 0), ("select x, reads_words(1) from t where k = 1", 0),
    ("select x from t where k = 1 and exists (select 1 from u)", 0), ("select x from fast where k = 1", 0)])
def test_one_value_of_the_whole_primary_key_is_noticed(resolver, client, text, keys):
    assert resolver.ask(client, text).keys == keys


EQUAL = [("t", "int", ["5", "05", "'5'", "' 5 '", "'+5'", "'-5'", "6", "0", "'-0'", "'5'::int8"]),
         ("words", "text", ["'w1'", "'w1 '", "'W1'", "'w1'::varchar", "''"]),
         ("ids", "uuid", ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'{A0EEBC999C0B4EF8BB6D6BB9BD380A11}'",
                                    "'a0eebc999c0b4ef8bb6d6bb9bd380a12'"])]


@pytest.mark.parametrize("table, kind, values", EQUAL)
def test_keys_are_equal_just_if_postgresql_says_so(resolver, client, table, kind, values):
    bound = []
    for value in values:
        verdict = resolver.ask(client, f"select x from {table} where k = {value}")
        assert verdict.keys == 1, value
        bound.append(resolver.key())
        assert bound[-1] is not None
    for i, left in enumerate(values):
        for j, right in enumerate(values):
            same = client.execute(f"select ({left})::{kind} = {right}").fetchone()[0]
            assert (bound[i] == bound[j]) == same, (left, right)


def test_bound_values_have_the_key_of_the_literal(resolver, client):
    resolver.ask(client, "select x from pairs where a = $2 and b = $1")
    bound = resolver.key("b'1", "007")
    assert resolver.key("b'1", "8") != bound and resolver.key("b", "7") != bound
    assert resolver.key("b'1", "7.0") is None and resolver.key("ü", "7") is None
    resolver.ask(client, "select x from pairs where a = 7 and b = 'b''1'")
    assert resolver.key() == bound
    resolver.ask(client, "select x from ids where k = $1")
    some = str(uuid.uuid4())
    assert resolver.key(some.upper()) == resolver.key(some) != resolver.key(str(uuid.uuid4()))
    assert resolver.key(some[:-1]) is None


def test_what_is_behind_the_names_is_bounded(admin, resolver, client):
    admin.execute("create table three.wide (k int) partition by range (k); create view three.v0 as select * from one.t")
    for i in range(59):
        admin.execute(f"create table three.wide{i} partition of three.wide for values from ({i}) to ({i + 1})")
    for i in range(26):
        admin.execute(f"create view three.v{i + 1} as select * from three.v{i}")
    client.execute("set search_path = three")
    try:
        assert len(resolver.ask(client, "select * from wide").reads) == 60
        assert len(resolver.ask(client, "delete from wide").written) == 60
        admin.execute("create table three.wide59 partition of three.wide for values from (59) to (60)")
        assert resolver.ask(client, "select * from wide").reason == "behind"
        write = resolver.ask(client, "delete from wide")
        assert (write.writes, write.written_reason) == ("database", "behind")
        assert len(resolver.ask(client, "select * from v22").reads) == 24
        assert resolver.ask(client, "select * from v23").reason == "behind"
        names = ", ".join(f"'a'::type{i}" for i in range(128))
        assert resolver.ask(client, f"select {names}").reason == "missing"
        names += "".join(f", f{i}()" for i in range(128))
        assert resolver.ask(client, f"select {names}").reason == "missing"
        assert resolver.ask(client, f"select {names}, 1 = 1").reason == "names"
    finally:
        admin.execute("drop table three.wide; drop view three.v0 cascade")
