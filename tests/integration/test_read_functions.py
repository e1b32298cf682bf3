"""The functions that a proven read may call (src/query/read_functions.def) only read, on PostgreSQL."""
import sys
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import read_functions  # noqa: E402

# A value of each type that the functions take; of other types NULL.
VALUES = {
    "int2": "1", "int4": "1", "int8": "1", "float4": "1", "float8": "0.5", "numeric": "0.5",
    "text": "'a'", "varchar": "'a'", "bpchar": "'a'", "char": "'a'", "name": "'a'", "bool": "true",
    "date": "'2020-01-01'", "time": "'12:00'", "timetz": "'12:00+00'", "interval": "'1 day'",
    "timestamp": "'2020-01-01'", "timestamptz": "'2020-01-01'", "bytea": "'\\x61'",
    "json": "'{\"a\": 1}'", "jsonb": "'{\"a\": 1}'", "jsonpath": "'$.a'", "_text": "'{a,b}'",
    "_int4": "'{1,2}'", "oid": "1259", "regclass": "'pg_class'", "inet": "'127.0.0.1'",
    "cidr": "'127.0.0.0/8'", "bit": "'1'", "varbit": "'1'", "uuid": "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
    "point": "'(1,1)'", "box": "'(1,1),(0,0)'", "circle": "'<(0,0),1>'", "tsvector": "'a b'",
    "tsquery": "'a'", "int4range": "'[1,2)'", "money": "'1'", "pg_lsn": "'0/1'", "xml": "'<a/>'",
    "anyelement": "1", "anyarray": "array[1]", "anycompatible": "1", "anynonarray": "1",
    "anycompatiblearray": "array[1]", "anyrange": "int4range(1, 2)", "any": "1", "record": "row(1)",
}
PSEUDO = {"anyelement", "anyarray", "anycompatible", "anynonarray", "anycompatiblearray", "anyrange",
          "any", "record", "anyenum", "anymultirange", "anycompatiblerange", "anycompatiblemultirange",
          "anycompatiblenonarray"}


# Other texts and numbers, for functions that reject those above.
OTHERS = [{}, {"text": "'year'", "name": "'UTF8'", "float8": "2", "numeric": "2"},
          {"text": "'UTF8'", "float8": "1"}, {"text": "'1'", "char": "'r'"}, {"text": "'pg_class'"},
          {"text": "'SELECT'", "oid": "0", "int4": "0", "json": "'[1]'", "jsonb": "'[1]'"}, {"text": "'hex'"}, {"text": "'UTC'"}, {"text": "'NFC'"}]


def calls(postgres):
    """(name, a statement that calls it) for each function of the list, with all its signatures."""
    for others in OTHERS:
        yield from calls_with(postgres, {**VALUES, **others})


def calls_with(postgres, given):
    rows = postgres.sql("""
        select p.proname, p.prokind, p.provariadic <> 0, p.proretset,
               array(select t.typname::text from unnest(p.proargtypes) with ordinality as a(o, n)
                     join pg_type t on t.oid = a.o order by n),
               coalesce((select aggkind from pg_aggregate g where g.aggfnoid = p.oid), 'n')
        from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.proname = any (%s)
        order by 1""", read_functions.listed())
    for name, kind, variadic, returns_set, types, aggregate in rows:
        values = [given.get(one, "null") if one in PSEUDO
                  else f"{given.get(one, 'null')}::pg_catalog.{quoted(one)}" for one in types]
        if variadic and types[-1] != "any":
            values[-1] = f"variadic {values[-1]}"
        call = f"pg_catalog.{quoted(name)}({', '.join(values)})"
        if aggregate == "o":
            call = f"pg_catalog.{quoted(name)}({', '.join(values[:-1])}) within group (order by {values[-1]})"
        elif aggregate == "h":
            call = f"pg_catalog.{quoted(name)}(1) within group (order by 1)"
        elif kind == "a" and not values:
            call = f"pg_catalog.{quoted(name)}(*)"
        elif kind == "w":
            call += " over ()"
        yield name, f"select * from {call} as x" if returns_set else f"select {call}"


def quoted(name):
    return '"' + name + '"'


def test_the_list_is_what_postgresql_says(postgres):
    with psycopg.connect(host=str(postgres.folder), port=postgres.port, user="postgres",
                         dbname="app") as connection:
        there = set(read_functions.names(connection))
    listed = set(read_functions.listed())
    version = postgres.one("show server_version_num")
    if 150000 <= int(version) < 160000:
        assert listed == there, "write it again with tools/read_functions.py"
    volatile = postgres.sql("""
        select distinct proname::text from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace and provolatile = 'v'""")
    assert listed and not listed & {row[0] for row in volatile}


def test_none_of_them_writes_or_changes_the_session(postgres):
    ran, names, state = 0, set(), """
        select pg_current_xact_id_if_assigned() is null,
               (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
               (select md5(string_agg(name || '=' || setting, ',' order by name)) from pg_settings),
               (select count(*) from pg_prepared_statements), (select count(*) from pg_cursors),
               (select count(*) from pg_listening_channels())"""
    with psycopg.connect(host=str(postgres.folder), port=postgres.port, user="postgres",
                         dbname="app", autocommit=True,
                         prepare_threshold=None) as connection:
        connection.execute("begin isolation level repeatable read, read only")
        before = connection.execute(state).fetchone()
        for name, statement in calls(postgres):
            connection.execute("savepoint one")
            try:
                connection.execute(statement)
                ran += 1
                names.add(name)
            except psycopg.Error as error:
                assert error.sqlstate not in ("25006", "25001", "55000"), (statement, error)
                connection.execute("rollback to one")
            connection.execute("release one")
        assert connection.execute(state).fetchone() == before
        connection.execute("rollback")
    missing = set(read_functions.listed()) - names
    assert ran > 600 and len(missing) < 25, f"{ran} ran, not {sorted(missing)}"


@pytest.mark.parametrize("call", ["txid_current()", "pg_notify('a', 'b')", "setseed(0.5)",
                                  "set_config('a.b', 'c', false)", "pg_advisory_lock(1)",
                                  "pg_advisory_unlock_all()"])
def test_a_read_only_transaction_does_not_stop_these_so_the_list_must(postgres, call):
    with psycopg.connect(host=str(postgres.folder), port=postgres.port, user="postgres",
                         dbname="app", autocommit=True) as connection:
        connection.execute("begin read only")
        connection.execute(f"select {call}")
    assert call.split("(")[0] not in read_functions.listed()
