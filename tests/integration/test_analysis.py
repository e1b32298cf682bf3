"""The analysis of texts (src/query/analysis.h) against what PostgreSQL itself finds in them.

Each text becomes the body of a SQL function, whose dependencies PostgreSQL records when it creates
the function: relations, functions, operators, types and collations of users.
"""
import os
import random
import re
import subprocess
from pathlib import Path

import psycopg
import pytest

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TRUNKLINE_BUILD", TOP / "build" / "debug"))
PRINT = BUILD / "tests" / "unit" / "analysis_print"
pytestmark = pytest.mark.skipif(not PRINT.exists(), reason="a build without tests")

SCHEMA = """
drop schema if exists one, two cascade;
create schema one; create schema two;
create table one.a (x int, y text, k int primary key);
create table one.b (like one.a); create table one.c (like one.a); create table one.d (like one.a);
create table two.a (like one.a); create table two.b (like one.a);
create view one.e as select * from two.b;
create type one.mood as enum ('sad', 'glad');
create collation two.sorted (provider = libc, locale = 'C');
create function one.f(int) returns int language plpgsql as 'begin return 1; end';
create function one.g(int, int default 1) returns int language plpgsql as 'begin return 1; end';
create function two.h(variadic int[]) returns int language plpgsql as 'begin return 1; end';
create type one.pair as (x int, k int);
create function one.rows(int) returns setof one.pair language plpgsql as 'begin return; end';
create function one.described(one.a) returns int language plpgsql as 'begin return 1; end';
create function one.described(one.pair) returns int language plpgsql as 'begin return 1; end';
create function one.same(int, int) returns bool language plpgsql as 'begin return true; end';
create aggregate one.sums(int) (sfunc = int4pl, stype = int);
create operator one.@@@ (leftarg = int, rightarg = int, function = one.same);
create operator two.### (leftarg = int, rightarg = int, function = one.same);
set search_path = one;
"""

# Where the objects of users come from that a function depends on.
DEPENDS = """
select distinct kind, name from (
    select case d.refclassid when 'pg_class'::regclass then 'relation'
                when 'pg_proc'::regclass then 'function' when 'pg_operator'::regclass then 'operator'
                when 'pg_type'::regclass then 'type' when 'pg_collation'::regclass then 'collation' end,
           coalesce(c.relname, p.proname, o.oprname, t.typname, l.collname)::text
    from pg_depend d
    left join pg_class c on d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid
    left join pg_proc p on d.refclassid = 'pg_proc'::regclass and p.oid = d.refobjid
    left join pg_operator o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
    left join pg_type t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
    left join pg_collation l on d.refclassid = 'pg_collation'::regclass and l.oid = d.refobjid
    left join pg_namespace n on n.oid = coalesce(c.relnamespace, p.pronamespace, o.oprnamespace,
                                                 t.typnamespace, l.collnamespace)
    where d.classid = 'pg_proc'::regclass and d.objid = 'one.probe'::regproc
      and n.nspname in ('one', 'two')) found (kind, name)
"""

BY_HAND = """
select 1
table a
values (1), ((select x from a))
select a.described from a
select (rows(1)).described
select (r).x, (r).described from rows(1) r
select a.x, one.a.y, q.k from a, two.a q
select f(1), one.g(1), g(1, 2), two.h(1, 2, 3), two.h(variadic array[1])
select * from rows from (rows(1), rows(2)) with ordinality
select sums(x) filter (where f(x) = 1) over (partition by g(k) order by g(k, 1)) from a
select sums(distinct f(x) order by f(x)) from a
select x @@@ k, x operator(two.###) k from a
select 1 from a where x operator(one.@@@) any (array[1, 2])
select 1 from a where not x @@@ k and exists (select 1 from b where b.k @@@ a.k)
select 'sad'::mood, 'glad'::one.mood, null::one.mood[], cast('{sad}' as mood[])
select y collate two.sorted from a order by y collate two.sorted
select case x when f(1) then (select 1 from b) else (select 2 from c) end from a
select coalesce(f(1), x), nullif(x, g(1)), greatest(f(2), x), least(x, 1) from a
select array(select x from b), array[(select 1 from c), f(1)], row(f(1), (select 1 from d))
select a[f(1)] from (select array[1, 2] as a) q
select x from a union select x from b intersect select f(k) from c except select x from two.a
select x from a group by grouping sets ((x), (), (f(k)), cube (x, k)) having sums(k) > 1
select distinct on (f(x)) x from a order by f(x), k limit f(1) offset g(1)
select * from a join b using (k) left join c on a.x @@@ c.x
select * from a natural join d
select * from a, lateral (select b.x from b where b.k = a.k) q, lateral f(a.x) r
select * from (a cross join b) cross join (select * from two.b) q
select * from e
select * from only a, b *
with q as (select * from a) select 1
with q as (select * from a), r as (select q.* from q, b) select 1 from r, d where d.x in (select x from c)
with a as (select * from a) select * from a, two.b
with a as (select * from b), b as (select * from a) select * from b
with recursive r(n) as (select 1 union all select n + 1 from r, a where n @@@ 1) select * from r
with recursive a(n) as (select 1 union all select n + f(1) from a) select * from a
with recursive r(n) as (select x from a union all select n + 1 from r) cycle n set c using p select * from r
with a as materialized (select 1 as x) select (with a as (select 2) select 1 from a), (select 1 from a), (select 1 from b)
(with a as (select 1) select * from a) union all select x from a
select * from a where x = any (select f(x) from b) and (x, k) in (select x, k from c) for update of a
select * from xmltable('/a' passing (select '<a/>'::xml from a) columns c int path 'd' default f(1))
select xmlelement(name a, xmlattributes(f(1) as c), (select y from b)), xmlforest((select x from c) as d)
select extract(year from (select now() from a)), overlay(y placing (select y from b) from f(1)) from c
select y like (select y from b) escape 'c', y similar to (select y from c) from a
select sum(x) over w from a window w as (partition by f(k) order by (select 1 from b))
select percentile_cont((select 0.5 from b)) within group (order by f(x)) from a
select x from a tablesample bernoulli (f(1)) repeatable (g(1))
select x::text::int::text from a where x between f(1) and (select 1 from b) and x is not null
insert into a values (1, 'x', f(1))
insert into a (x, k) select b.x, f(b.k) from b, two.a on conflict do nothing
insert into a select * from b on conflict (k) do update set x = (select 1 from c), y = excluded.y where f(1) = 1 returning (select 1 from d)
with q as (select * from b) insert into a select * from q
update a set x = f(1), (y, k) = (select y, k from b) from c where a.x = c.x returning a.described
update two.a set x = 1 where k in (select k from two.b)
delete from a using b where a.k = b.k and exists (select 1 from c)
with q as (delete from b returning *) insert into a select q.* from q, d
with a as (select 1 as x) update a set x = 1 from b
with a as (select 1 as z) delete from a using a q where x = z
"""


class Texts:
    """Makes SELECTs in which names of tables are names of common table expressions too."""

    def __init__(self, seed):
        self.dice = random.Random(seed)

    def one_of(self, *things):
        return self.dice.choice(things)

    def table(self):
        return self.one_of("a", "b", "c", "d", "a", "b", "one.a", "two.a", "two.b", "e")

    def source(self, depth, alias):
        if depth == 0 or self.dice.random() < 0.6:
            return f"{self.table()} as {alias}"
        lateral = self.one_of("", "lateral ")
        return f"{lateral}({self.query(depth - 1)}) as {alias}(x, y, k)"

    def condition(self, depth, alias):
        if depth == 0:
            return f"{alias}.x @@@ f({alias}.k)"
        inner = self.query(depth - 1)
        return self.one_of(f"exists ({inner})", f"({alias}.x, {alias}.y, {alias}.k) in ({inner})",
                           f"{alias}.k = (select x from ({inner}) q(x, y, k))", f"{alias}.k = 1",
                           f"not ({self.condition(depth - 1, alias)})")

    def simple(self, depth):
        alias = f"t{self.dice.randrange(3)}"
        text = f"select {alias}.x, {alias}.y, {alias}.k from {self.source(depth, alias)}"
        if self.dice.random() < 0.4:
            text += self.one_of(" cross join ", ", ") + self.source(depth, alias + "r")
        if self.dice.random() < 0.5:
            text += f" where {self.condition(depth, alias)}"
        return text

    def with_clause(self, depth):
        names = self.dice.sample(["a", "b", "c", "d", "z"], self.dice.randrange(1, 4))
        parts = ", ".join(f"{name}(x, y, k) as ({self.query(depth - 1)})" for name in names)
        return f"with {self.one_of('', '', 'recursive ')}{parts} "

    def query(self, depth):
        text = self.simple(depth)
        if depth > 0 and self.dice.random() < 0.3:
            text = f"({text}) {self.one_of('union', 'except all')} ({self.query(depth - 1)})"
        if depth > 0 and self.dice.random() < 0.5:
            text = self.with_clause(depth) + text
        return text


def analyze(texts):
    """For each text the line of analysis_print, as (all of it, its lists by name)."""
    done = subprocess.run([PRINT], input="".join(f"{text}\n;\n" for text in texts), text=True,
                          stdout=subprocess.PIPE, check=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == len(texts)
    return [(line, {name: found.split() for name, found in re.findall(r"(\w+)\(([^)]*)\)", line)})
            for line in lines]


def bare(names):
    """Without schema, kind of access, number of arguments, and the mark of computed casts."""
    return {re.sub(r"^(\w+:)?(\w+\.)?([^/]+?)(/.*|!)?$", r"\3", name) for name in names}


def found_by_us(lists):
    """(kind, name) of what is named for sure, and of what may be meant."""
    calls = lists.get("calls", [])
    sure = {("relation", name) for name in bare(lists.get("reads", []) + lists.get("writes", []))}
    sure |= {("function", name) for name in bare(c for c in calls if not c.startswith("."))}
    sure |= {("operator", name) for name in bare(lists.get("ops", []))}
    sure |= {("collation", name) for name in bare(lists.get("collations", []))}
    types = {("type", name) for name in bare(lists.get("types", []))}
    types |= {("type", "_" + name) for _, name in types}
    return sure, types | {("function", call[1:]) for call in calls if call.startswith(".")}


@pytest.fixture(scope="module")
def catalog(postgres):
    """A connection on which functions can be created, and what exists there."""
    with psycopg.connect(host=str(postgres.folder), port=postgres.port, user="postgres",
                         dbname="app", autocommit=True) as connection:
        connection.execute(SCHEMA)
        yield connection
        connection.execute("drop schema one, two cascade")


def users_objects(catalog):
    rows = catalog.execute("""
        select 'relation', relname::text from pg_class where relnamespace in ('one'::regnamespace, 'two'::regnamespace) and relkind in ('r', 'v')
        union select 'function', proname::text from pg_proc where pronamespace in ('one'::regnamespace, 'two'::regnamespace)
        union select 'operator', oprname::text from pg_operator where oprnamespace in ('one'::regnamespace, 'two'::regnamespace)
        union select 'type', typname::text from pg_type where typnamespace in ('one'::regnamespace, 'two'::regnamespace) and typtype = 'e'
        union select 'collation', collname::text from pg_collation where collnamespace = 'two'::regnamespace""")
    return set(rows.fetchall())


def found_by_postgresql(catalog, text):
    """The error as a text, if there is one."""
    try:
        catalog.execute("create or replace function one.probe() returns void language sql"
                        f" begin atomic {text}; end")
    except psycopg.Error as error:
        return f"{text}: {error}"
    return set(catalog.execute(DEPENDS).fetchall())


def differences(catalog, texts):
    """What the two disagree about, and the texts that PostgreSQL rejects, with its errors."""
    exist, wrong, rejected = users_objects(catalog), [], []
    for text, (line, lists) in zip(texts, analyze(texts)):
        theirs = found_by_postgresql(catalog, text)
        if isinstance(theirs, str):
            rejected.append(theirs)
            continue
        theirs &= exist
        sure, maybe = found_by_us(lists)
        if theirs - sure - maybe or (sure & exist) - theirs:
            wrong.append(f"{text}\n  {line}\n  PostgreSQL: {sorted(theirs)}")
    return wrong, rejected


def test_texts_by_hand_have_the_dependencies_that_postgresql_records(catalog):
    texts = [line for line in BY_HAND.splitlines() if line]
    wrong, rejected = differences(catalog, texts)
    assert not wrong, "\n".join(wrong)
    assert not rejected, "\n".join(rejected)


def test_names_in_nested_scopes_are_resolved_as_by_postgresql(catalog):
    texts = [Texts(seed).query(3) for seed in range(600)]
    wrong, rejected = differences(catalog, texts)
    assert not wrong, "\n".join(wrong[:5])
    assert len(rejected) < 300, "\n".join(rejected[:5])


# Strings that may be dates, around the words that are relative to the current time.
WORDS = ["now", "today", "tomorrow", "yesterday"]
AROUND = ["{}", " {} ", "{} 12:00", "12:00 {}", "{}12:00", "{},", ",{}", "{}+00", "{} utc", "{}-", "-{}",
          "{}.", "({})", "[{}]", "{}/", "{}1", "1{}", "{} {}", "{}\t", "\n{}", "{} bc", "at {}", "{}t",
          "{} allballs", "allballs {}", "{}z", "{} zulu", "{}:", "'{}'", "{} America/New_York", "{}_", "_{}", "{}#", "{}\u00a0", "d{}"]
TYPES = ["date", "timestamp", "timestamptz"]
RANGES = [("daterange", "[{},infinity)", "lower"), ("tstzrange", "({},)", "lower"),
          ("date[]", "{{{}}}", "(array_agg)[1]")]


def is_near(catalog, expression):
    """Whether a value is within some days of now; None if PostgreSQL rejects it."""
    try:
        return catalog.execute(
            f"select abs(extract(epoch from ({expression})::timestamptz - now())) < 400000").fetchone()[0]
    except psycopg.Error:
        return None


def test_every_date_relative_to_the_current_time_is_noticed(catalog):
    strings = [around.replace("{}", spelled) for around in AROUND for word in WORDS
               for spelled in (word, word.upper(), word.capitalize())]
    seen = {text: "-time_word" in line for text, (line, _) in zip(
        strings, analyze(["select '" + text.replace("'", "''") + "'" for text in strings]))}
    relative = 0
    for text in strings:
        quoted = "'" + text.replace("'", "''") + "'"
        near = any(is_near(catalog, f"{quoted}::{kind}") for kind in TYPES)
        relative += near
        assert seen[text] or not near, text
    assert relative > 100


def test_dates_within_other_values_are_noticed(catalog):
    for value in ("lower('[today,infinity)'::daterange)", "lower('(now,)'::tstzrange)",
                  "('{tomorrow}'::date[])[1]", "('{\"yesterday\"}'::date[])[1]", "date('today')",
                  "('\"now\"'::jsonb #>> '{}')::timestamptz", "timestamp E'\\x6eow'"):
        assert is_near(catalog, value), value
        assert "-time_word" in analyze([f"select {value}"])[0][0], value


def test_constants_that_stay_are_no_such_dates(catalog):
    for text in ("epoch", "infinity", "-infinity", "2020-01-01", "January 8, 1999", "allballs"):
        assert not is_near(catalog, f"'{text}'::timestamptz")
        assert "-time_word" not in analyze([f"select '{text}'"])[0][0], text
