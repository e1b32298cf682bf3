"""Verdicts (src/flight/resolve.h) against what PostgreSQL does.

Two comparisons are the heart.  The answer of a statement that may be kept changes only if one of the
tables that its verdict names has changed.  A write changes only tables that its verdict names.
"""
import psycopg
import pytest

from support.verdicts import PRINT, admin, client, fails, resolver  # noqa: F401 (fixtures)

pytestmark = pytest.mark.skipif(not PRINT.exists(), reason="a build without tests")

# A text, and the tables that its answer comes from.
KEPT = {
    "select 1": "", "values (1, 'x'), (2, 'y')": "", "select 'a' || 'b', 1 + 2, upper('x'), 5 between 1 and 9": "",
    "select * from t": "t", "table one.t": "t", "select count(*), max(x) from t where k > 1 group by m order by 1": "t",
    "select x from t where k = 1": "t", "select x from t where k = 99": "t",
    "select distinct m, x from t order by x desc limit 3": "t",
    "select t.x, u.y from t join u on u.t = t.k": "t u", "select * from t natural join w": "t w",
    "select x from t where exists (select 1 from u where u.t = t.k) and k not in (select k from w)": "t u w",
    "with a as (select * from u), b as (select * from a) select * from b, t where b.t = t.k": "t u",
    "with recursive q(k) as (select 1 union all select k + 1 from q where k < 5) select * from q join v using (k)": "v",
    "select (select max(x) from t), (select array_agg(k order by k) from u)": "t u",
    "select * from t union all select k, x, y, m, at from two.t": "t two.t", "select k from two.t union select k from t": "t two.t",
    "select * from plain": "plain t", "select * from joined": "joined plain t u", "select * from deep": "deep joined plain t u v",
    "select * from ordered": "ordered t", "select * from recursive_view": "recursive_view t w",
    "select * from cases": "cases t pairs", "select * from updatable": "updatable t", "select * from double": "double updatable t",
    "select * from ruled": "ruled parent child grandchild", "select * from triggered": "triggered t",
    "select * from parent": "parent child grandchild", "select * from only parent": "parent child grandchild",
    "select * from child": "child grandchild", "select * from grandchild": "grandchild",
    "select * from part": "part part_low part_high part_mid part_rest", "select x from part where k = 150": "part part_low part_high part_mid part_rest",
    "select * from part_high": "part_high part_mid part_rest", "select * from part_low": "part_low",
    "select * from of_part": "of_part part part_low part_high part_mid part_rest",
    "select * from stored": "stored", "select s.k from stored s join t using (k)": "stored t",
    "select * from pairs": "pairs", "select (p).x, (p).y from pairs": "pairs", "select p from pairs where p is not null": "pairs",
    "select * from words where k = 'w1'": "words", "select * from loose where k = 'A'": "loose",
    "select * from numbers where k = 1": "numbers", "select * from ids where k = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'": "ids",
    "select r @> 3, lower(d), a[1], j->>'a', j @> '{\"a\": 1}' from spans": "spans",
    "select to_char(at, 'YYYY'), extract(year from at), date_trunc('day', at), at + interval '1 day' from t": "t",
    "select at at time zone 'UTC', at::text, at > '2020-01-01' from t": "t",
    "select string_agg(y, ',' order by k), json_agg(x), percentile_cont(0.5) within group (order by x) from t": "t",
    "select coalesce(x, 1), nullif(x, 10), greatest(x, k), case m when 'sad' then 1 end, m::text, 'glad'::mood from t": "t",
    "select rank() over (partition by m order by x rows 1 preceding) from t": "t",
    "select x::numeric(10, 2), x::text, x::bigint, '5'::int, 7::small from t": "t",
    "select format('%s', x), concat(x, y), to_json(t), row_to_json(t.*), quote_literal(y) from t": "t",
    "select enum_range(null::mood), m > 'sad' from t": "t", "select array_to_string(a, ','), unnest(a) from spans": "spans",
    "select * from generate_series(1, 3) g join t on t.k = g": "t", "select * from t, lateral (select * from u where u.t = t.k) q": "t u",
    "select y like 'y%', y ~ '1', y similar to 'y_', substring(y from 1 for 1), trim(y), overlay(y placing 'z' from 1) from t": "t",
    "select pg_catalog.lower(y) from one.t": "t", "select reads_words(2) from t": "t words",
    "select \"naïve\n\" from \"we'ird\\ \"\" name\"": "\"we'ird\\ \"\" name\"", "select * from \"Groß\"": "\"Groß\"",
    "select * from over_shared": "over_shared shared teams", "select * from secret": "secret", "select * from shared": "shared teams",
    "select * from user_view": "user_view t", "select grouping(m), count(*) from t group by rollup (m, x)": "t",
    "select q.date, q.age, count(*) from (select dt as date, k as age from odd) q group by 1, 2": "odd",
    "select * from serial": "serial", "select d, c, dt, g from odd": "odd", "select tm > '11:00' from clocks": "clocks", "select * from audited": "audited", "select * from guarded": "guarded",
    "select * from logged": "logged", "select t.x from t where t.k = any (array[1, 2]) or (t.k, t.x) = (3, 30)": "t",
    "select make_date(2020, 1, 1), make_time(1, 2, 3), age('2020-01-02'::date, '2020-01-01'::date)": "",
}

# A text, and why its answer is never kept.
BYPASSED = {
    "select now()": "volatile stable", "select random()": "volatile", "select clock_timestamp()": "volatile",
    "select nextval('counter')": "volatile", "select pg_sleep(0)": "volatile", "select txid_current()": "stable",
    "select gen_random_uuid()": "volatile", "select age(at) from t": "stable", "select version()": "stable",
    "select current_setting('app.x', true)": "stable", "select pg_backend_pid()": "stable", "select inet_client_port()": "stable",
    "select current_timestamp": "time_value", "select localtime": "time_value", "select current_user": "session_value",
    "select 'now'::timestamptz": "time_word", "select date 'today'": "time_word", "select y::date from t": "time_cast",
    "select y::timestamptz from t where false": "time_cast", "select date(y) from t": "time_cast", "select ('{' || y || '}')::date[] from t": "time_cast",
    "select ('[' || y || ',)')::daterange from t": "time_cast", "select '12:00'::timetz": "time_type", "select k from zoned": "time_type",
    "select tm at time zone 'America/New_York' from clocks": "time_type", "select r from objects": "reg_type",
    "select make_time(12, 0, 0) at time zone 'America/New_York'": "time_type",
    "select 'pg_class'::regclass": "reg_type", "select to_regclass('t')": "stable",
    "select * from pg_class": "catalog", "select * from pg_stat_activity": "catalog", "select * from information_schema.tables": "catalog reg_type",
    "select * from catalog_view": "catalog", "select t.k, c.oid from t, pg_catalog.pg_class c": "catalog",
    "select * from fast": "unlogged", "select * from counter": "sequence", "select * from scratch": "temporary",
    "select * from pg_temp.scratch": "temporary", "select * from shadow": "temporary",
    "select * from far": "foreign", "select ctid from t": "system_column", "select xmin, k from t": "system_column",
    "select * from placed": "system_column", "select * from sampled": "sample", "select * from t tablesample system (10)": "sample",
    "select * from t for update": "locking", "select * from now_view": "stable", "select * from own_call": "function",
    "select * from cast_view": "time_cast", "select * from xml_view": "expression", "select * from numbered": "reg_type",
    "select xmlelement(name a, k) from t": "missing", "select positive(1)": "function", "select twice(2)": "function",
    "select one.lower('X')": "function", "select of_row(t) from t": "function", "select t.of_row from t": "function",
    "select (t).of_row from t": "function", "select ('now'::text || '').timestamptz": "time_cast time_word",
    "select (y).date from t": "time_cast", "select (at).age from t": "stable", "select (k).positive from t": "function",
    "select (0).pg_sleep": "volatile", "select g.pg_sleep from generate_series(0, 0) g": "volatile",
    "select g.date from unnest(array['no' || 'w']) g": "time_cast", "select ('app.x'::text).current_setting": "stable", "select k === x from t": "operator", "select k operator(two.=) x from t": "operator",
    "select of_mood('sad')": "function", "select 1::checked": "function", "select x::checked from t": "function",
    "select checked(x) from t": "function", "select 1::nested": "expression", "select '{1}'::checked[]": "function",
    "select * from tenants": "stable", "select * from nowhere": "missing", "select nothing(1)": "missing",
    "select 1 ~~~~ 2": "missing", "select 1::nothing": "missing", "select * from hidden.nowhere": "missing",
    "select x <> 1 from t": "operator", "select bump()": "function", "select * from volatile_default, bump()": "function",
    "select * from t where x = random()::int": "volatile", "select count(*) filter (where random() > 2) from t": "volatile",
    "select * from t order by random()": "volatile", "select query_to_xml('select 1', true, true, '')": "volatile",
    "insert into t values (9)": "writes", "select 1; select 2": "several", "begin": "utility", "explain select 1": "utility",
    "select * into made from t": "into", "with q as (delete from v returning *) select * from q": "writes",
}


@pytest.fixture
def shadowed(client):
    client.execute("create temp table scratch (k int); create temp table shadow (k int)")
    return client


def wanted(tables):
    """Split at blanks, but not within quotes."""
    parts = tables.split('"')
    return {tables} if len(parts) > 1 else set(tables.split())


@pytest.mark.parametrize("role", ["postgres", "app"])
@pytest.mark.parametrize("text", KEPT)
def test_an_answer_that_may_be_kept_names_its_tables(admin, resolver, client, text, role):
    client.execute(f"set role {role}")
    verdict = resolver.ask(client, text)
    assert (verdict.reason, verdict.because) == ("-", "")
    assert verdict.reads == wanted(KEPT[text])
    assert fails(client, text) is None
    assert verdict.writes == "nothing"


@pytest.mark.parametrize("text", BYPASSED)
def test_an_answer_that_may_change_by_itself_is_never_kept(resolver, shadowed, text):
    verdict = resolver.ask(shadowed, text)
    if text.endswith("from far") and fails(shadowed, "select 'one.far'::regclass"):
        pytest.skip("there is no postgres_fdw")
    assert verdict.reason in BYPASSED[text].split(), verdict
