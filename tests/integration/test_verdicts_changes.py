"""Verdicts (src/flight/resolve.h) against changes of rows.

The answer of a statement that may be kept changes only if a table that its verdict names has changed.
A statement changes only tables that its verdict names as written.
"""
import re

import psycopg
import pytest
from psycopg import sql

from support.verdicts import PRINT, TOP, admin, client, fails, resolver  # noqa: F401 (fixtures)
from test_verdicts import KEPT, wanted

pytestmark = pytest.mark.skipif(not PRINT.exists(), reason="a build without tests")

TABLES = """select c.oid::regclass::text from pg_class c where relkind = 'r' and relpersistence <> 't'
            and relnamespace in ('one'::regnamespace, 'two'::regnamespace) order by 1"""
COLUMNS = """select attname, format_type(atttypid, null) from pg_attribute a where attrelid = %s::regclass
             and attnum > 0 and not attisdropped and attgenerated = ''
             and atttypid in ('int'::regtype, 'text'::regtype)
             and not exists (select from pg_index where indrelid = attrelid and indisprimary and attnum = any (indkey))"""
STEPS = {"integer": "{0} = coalesce({0}, 0) + 1", "text": "{0} = coalesce({0}, '') || 'z'"}


def changes(admin, table):
    """Statements that change rows of this table alone, while triggers are off."""
    yield f"delete from only {table}"
    for column, kind in admin.execute(COLUMNS, [table]).fetchall():
        yield f"update only {table} set " + STEPS[kind].format(sql.Identifier(column).as_string(admin))


def answer(connection, role, text):
    connection.execute(f"set local role {role}")
    rows = connection.execute(text.encode(), prepare=False).fetchall()
    connection.execute("reset role")
    return sorted(map(repr, rows))


def changed_by(connection, role, text, before, change):
    """Whether the answer is another one after the change, which is undone."""
    connection.execute("savepoint change")
    try:
        connection.execute(change.encode(), prepare=False)
        return answer(connection, role, text) != before
    except psycopg.errors.CheckViolation:
        return False
    finally:
        connection.execute("rollback to change")


# Each of these answers is the same whatever the rows are, or none of the changes above alters it.
UNMOVED = {"select x from t where k = 99", "select enum_range(null::mood), m > 'sad' from t"}


@pytest.mark.parametrize("role", ["postgres", "app"])
def test_only_a_change_of_a_table_that_the_verdict_names_changes_the_answer(admin, resolver, client, role):
    tables = [row[0] for row in admin.execute(TABLES)]
    every = [(table, change) for table in tables for change in changes(admin, table)]
    every.append(("stored", "update t set x = x + 1; refresh materialized view stored; update t set x = x - 1"))
    wrong, unmoved = [], []
    for text in KEPT:
        client.execute(f"set role {role}")
        verdict = resolver.ask(client, text)
        client.execute("reset role; begin; set local session_replication_role = replica")
        before = answer(client, role, text)
        moved = {table for table, change in every if changed_by(client, role, text, before, change)}
        client.execute("rollback")
        wrong += [f"{text}: changed by {moved - verdict.reads}"] if moved - verdict.reads else []
        unmoved += [text] if KEPT[text] and not moved else []
    assert not wrong
    assert set(unmoved) <= UNMOVED, "the comparison has lost its power"


def test_an_answer_that_may_be_kept_is_the_same_at_another_time(resolver, client):
    for text in KEPT:
        answers = []
        for _ in range(2):
            with client.transaction():
                answers.append(answer(client, "postgres", text))
        assert answers[0] == answers[1], text


def test_no_function_without_arguments_that_changes_by_itself_is_kept(admin, resolver, client):
    rows = admin.execute("""select distinct proname, bool_and(provolatile = 'i') over (partition by proname)
        from pg_proc where pronargs - pronargdefaults <= 0 and pronamespace = 'pg_catalog'::regnamespace
        and prokind = 'f'""").fetchall()
    kept = {name for name, _ in rows if resolver.ask(client, f'select pg_catalog."{name}"()').cacheable}
    harmless = {"json_build_array", "json_build_object", "jsonb_build_array", "jsonb_build_object"}
    assert kept - harmless <= {name for name, immutable in rows if immutable}
    assert len(rows) > 120


def test_every_stable_function_of_the_list_is_stable_and_has_no_clock(admin):
    """So that the list says nothing of functions that are not there, or became volatile."""
    text = (TOP / "src/flight/resolve_functions.def").read_text()
    listed = re.findall(r'^STABLE\("([^"]+)", "([^"]*)"\)', text, re.M)
    known = dict(((name, arguments), volatility) for name, arguments, volatility in admin.execute("""
        select proname, coalesce((select string_agg(typname, ',' order by i) from unnest(proargtypes)
            with ordinality a(oid, i) join pg_type t on t.oid = a.oid), ''), provolatile
        from pg_proc where pronamespace = 'pg_catalog'::regnamespace"""))
    assert len(listed) > 80
    assert [item for item in listed if known.get(item) not in ("s", "i")] == []
    assert not {name for name, _ in listed} & {"now", "statement_timestamp", "age", "timetz", "current_setting"}


def test_every_type_of_a_parameter_has_the_oid_of_the_list(admin):
    text = (TOP / "src/flight/verdict_types.def").read_text()
    listed = re.findall(r'^PARAMETER\((\d+), (\d+), "(\w+)"\)', text, re.M)
    known = dict(admin.execute("select oid::text, typname from pg_type").fetchall())
    assert len(listed) > 20 and {name for _, _, name in listed} & {"timetz", "time", "regclass"} == set()
    for oid, array, name in listed[1:]:
        assert known[oid] == name and (array == "0" or known[array] == "_" + name)


# A write, and the tables that it may write: the whole database with its reason, if there is no list.
WRITES = {
    "insert into t(k, x) values (9, 9)": "t", "insert into t(k) select k + 50 from u": "t",
    "insert into t(k) values (1) on conflict (k) do update set x = 5": "t u v",
    "insert into t(k) values (1) on conflict do nothing": "t", "update t set x = x + 1": "t u v",
    "update t set k = 7 where k = 1": "t u v", "delete from t where k = 1": "t u v",
    "delete from u": "u v", "delete from v": "v", "update w set t = 4": "w",
    "merge into t using u on t.k = u.k when matched then update set x = 0 when not matched then insert (k) values (u.k)": "t u v",
    "with q as (delete from v returning k) insert into words select 'm' || k, k from q": "v words",
    "with q as (select * from u) update t set x = q.k from q where q.t = t.k": "t u v",
    "truncate w": "w", "truncate t cascade": "t u v w", "truncate parent": "parent child grandchild", "truncate part, refers": "part part_low part_high part_mid part_rest refers",
    "insert into part values (50, 1)": "part part_low part_high part_mid part_rest",
    "insert into part_low values (51, 1)": "part part_low", "insert into part_mid values (101, 1)": "part part_high part_mid",
    "update part set k = 60 where k = 100": "part part_low part_high part_mid part_rest refers",
    "update part set x = 9": "part part_low part_high part_mid part_rest refers",
    "delete from part where k = 1": "part part_low part_high part_mid part_rest refers", "delete from part_low": "part part_low refers",
    "update parent set x = 7": "parent child grandchild", "update only parent set x = 7": "parent child grandchild",
    "delete from child": "parent child grandchild", "insert into grandchild values (1, 1, 1)": "parent child grandchild",
    "insert into updatable values (8, 8, 'z')": "updatable t u v", "update double set x = 1": "double updatable t u v",
    "delete from double where k = 3": "double updatable t u v", "insert into ruled values (5, 5)": "ruled parent child grandchild",
    "update logged set x = 2": "logged pairs", "insert into serial(x) values (4)": "serial", "insert into fast values (3, 3)": "fast",
    "insert into logged values (2, 2)": "logged pairs",
    "insert into triggered values (77)": "database trigger", "update audited set x = 3": "database trigger", "insert into audited values (3, 3)": "audited",
    "delete from audited": "database trigger", "insert into guarded values (3, 3)": "database function", "insert into volatile_default values (1)": "database function",
    "insert into words values ('z', bump())": "database function", "update t set x = 1 where positive(x)": "database function",
    "insert into secret values (5, 'app', 1)": "secret", "insert into words values ('z', random() * nextval('counter'))": "words",
    "insert into odd(k, d, dt) values (4, 4, current_date)": "database function", "refresh materialized view stored": "stored",
    "delete from nowhere": "database missing", "insert into pg_description values (1, 1, 1, 'x')": "database catalog",
    "insert into words select query_to_xml('select bump()', true, true, '')::text, 1": "database volatile",
    "insert into words select k::text, 1 from own_call": "database function", "delete from words where k = 'w1' returning x": "words",
    "copy words from stdin": "words", "copy part from stdin": "part part_low part_high part_mid part_rest",
    "drop table w": "database utility", "do 'begin end'": "database utility", "call nothing()": "database utility", "vacuum": "", "set x.y = 1": "",
    "select bump()": "database function", "select * from t for update": "", "select now()": "", "select nextval('counter')": "",
    "select * from fast": "", "select * from own_call": "database function", "select x from t; delete from v": "database several",
    "copy (select bump()) to stdout": "database function", "explain analyze delete from v": "database writes",
}


def contents(connection, tables):
    return {table: connection.execute(f"select md5(string_agg(q::text, ';' order by q::text)) from only {table} q").fetchone()[0]
            for table in tables}


@pytest.mark.parametrize("text", WRITES)
def test_a_write_changes_only_what_its_verdict_names(admin, resolver, client, text):
    tables = [row[0] for row in admin.execute(TABLES)] + ["stored"]
    verdict = resolver.ask(client, text)
    extent, _, reason = WRITES[text].partition(" ")
    if extent == "database":
        assert (verdict.writes, verdict.written_reason) == ("database", reason), verdict
        return
    assert verdict.writes == ("listed" if WRITES[text] else "nothing"), verdict
    assert verdict.written == wanted(WRITES[text])
    if text.startswith("copy") or text == "vacuum":
        return
    if text.startswith("refresh"):
        client.execute("update t set x = x + 1")
    client.execute("begin")
    before = contents(client, tables)
    client.execute(text)
    after = contents(client, tables)
    client.execute("rollback")
    assert {table for table in tables if before[table] != after[table]} <= verdict.written


def test_what_is_written_without_a_list_is_beyond_any_list(admin, resolver, client):
    """The statements above that count as writing the whole database do write another table."""
    for text in ("insert into triggered values (77)", "update audited set x = 3",
                 "insert into volatile_default values (1)", "select bump()"):
        with client.transaction(force_rollback=True):
            before = contents(client, ["words"])
            client.execute(text)
            assert contents(client, ["words"]) != before, text
