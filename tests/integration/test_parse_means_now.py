"""A Parse means what it means now: whoever has prepared the same text before, and whatever changed.

What a direct connection answers to the same messages is what a client of a transaction pool gets.
"""
import re
from contextlib import contextmanager

import psycopg
import pytest

from support import wire as w
from support.patience import eventually
from support.trunkline import Trunkline, configuration, route

NAME = re.compile(r"tl_[0-9a-f]{32}\Z")


@pytest.fixture(scope="module")
def pool(postgres, tmp_path_factory):
    """One server for all clients: what one leaves there meets the next."""
    daemon = Trunkline(tmp_path_factory.mktemp("pool"),
                       configuration(postgres, routes=[route(pool_size=1)])).start()
    yield daemon
    daemon.stop()


@contextmanager
def clients(endpoint, count=2, **parameters):
    made = []
    try:
        for _ in range(count):
            made.append(endpoint.wire(**parameters))
        yield made if count > 1 else made[0]
    finally:
        for client in made:
            client.__exit__()


def fine(messages):
    errors = [m.fields for m in messages if m.kind == "E"]
    assert not errors, errors
    return messages


def states(messages):
    return [m.sqlstate for m in messages if m.kind == "E"]


def do(client, *texts):
    for text in texts:
        fine(client.ask(w.query(text)))


def prepared(client, text, name="same", values=(), types=()):
    """Parse, Describe, Bind and Execute; what a client learns from them."""
    answers = client.ask(w.parse(name, text, types), w.describe("S", name),
                         w.bind(statement=name, values=values), w.execute(), w.SYNC)
    return [(m.kind, m.sqlstate if m.kind == "E" else m.body)
            for m in answers if m.kind not in "NS"]


def again(client, name="same", values=()):
    return client.ask(w.bind(statement=name, values=values), w.execute(), w.SYNC)


# --- after DDL ----------------------------------------------------------------------------------

# What there is, what everybody prepares (and its parameters), and what changes then.
CHANGES = {
    "dropped and made anew": (
        ["create table {t} (a date, b int)"], "select * from {t}", (),
        ["drop table {t}", "create table {t} (b bool, a text, c int)"]),
    "parameters": (
        ["create table {t} (a date)"], "insert into {t} values ($1)", ("2001-02-03",),
        ["drop table {t}", "create table {t} (a text)"]),
    "a column more": (
        ["create table {t} (a int)"], "select * from {t}", (), ["alter table {t} add b text"]),
    "another type": (
        ["create table {t} (a int)", "insert into {t} values (7)"], "select * from {t}", (),
        ["alter table {t} alter a type text"]),
    "a type made anew": (
        ["create type {t} as enum ('a', 'b')"], "select 'a'::{t}, $1::{t}", ("b",),
        ["drop type {t}", "create type {t} as enum ('b', 'a')"]),
    "a view replaced": (
        ["create view {t} as select 1 as a"], "select * from {t}", (),
        ["create or replace view {t} as select 1 as a, 'x'::text as b"]),
    "a function replaced": (
        ["create function {t}() returns int language sql as 'select 1'"], "select {t}()", (),
        ["create or replace function {t}() returns int language sql as 'select 2'"]),
    "a better overload": (
        ["create function {t}(numeric) returns text language sql as $$select 'numeric'$$"],
        "select {t}(1)", (),
        ["create function {t}(int) returns text language sql as $$select 'int'$$"]),
    "a domain": (
        ["create domain {t} as int"], "select 1::{t}", (),
        ["drop domain {t}", "create domain {t} as text"]),
}


@pytest.mark.parametrize("through", ["the pool", "another way", "do", "a transaction"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_new_client_gets_the_current_definition(pool, postgres, change, through):
    made, text, values, changes = CHANGES[change]
    name = "t" + str(abs(hash((change, through))))[:12]
    made = [sql.format(t=name) for sql in made]
    changes = [sql.format(t=name) for sql in changes]
    text = text.format(t=name)
    direct = postgres.endpoint()
    with clients(pool.endpoint(), 3) as (old, other, new), clients(direct, 1) as oracle:
        do(oracle, *made)
        assert "E" not in [kind for kind, _ in prepared(old, text, values=values)]
        assert "E" not in [kind for kind, _ in prepared(other, text, values=values)]
        if through == "the pool":
            do(other, *changes)
        elif through == "another way":
            do(oracle, *changes)
        elif through == "do":
            do(other, "do $x$ begin " + "; ".join(
                f"execute $y${sql}$y$" for sql in changes) + "; end $x$")
        else:
            do(other, "begin", *changes, "commit")
        expected = prepared(oracle, text, values=values)
        assert "E" not in [kind for kind, _ in expected]
        assert prepared(new, text, values=values) == expected
        # And whoever had it before needs only to prepare it again.
        fine(old.ask(w.close("S", "same"), w.SYNC))
        assert prepared(old, text, values=values) == expected


@pytest.mark.parametrize("shadow", ["create table app.{t} (a int)", "create temp table {t} (a int)"])
def test_a_row_goes_to_the_table_that_the_name_stands_for_now(pool, postgres, shadow):
    text = "insert into {t} values ($1)"
    table = "shadowed_" + str(len(shadow))
    text = text.format(t=table)
    try:
        with clients(pool.endpoint()) as (old, new), clients(postgres.endpoint(), 1) as oracle:
            do(oracle, f"create table public.{table} (a int)", "create schema if not exists app")
            prepared(old, text, values=("1",))
            do(new, shadow.format(t=table))
            assert "E" not in [kind for kind, _ in prepared(new, text, values=("2",))]
            assert w.rows(new.ask(w.query(f"select a from {table}"))) == [["2"]]
            do(new, "discard temp")
            assert w.rows(oracle.ask(w.query(f"select a from public.{table}"))) == [["1"]]
    finally:
        postgres.sql("drop schema if exists app cascade", database="app")


def test_an_uncommitted_table_is_not_visible_to_other_clients(trunkline, postgres):
    daemon = trunkline(relays=1, routes=[route(pool_size=2)])
    with clients(daemon.endpoint()) as (one, two), clients(postgres.endpoint(), 1) as oracle:
        do(oracle, "create table open_ended (a int)")
        do(one, "begin", "alter table open_ended add b text")
        with_both = prepared(one, "select * from open_ended")
        do(one, "rollback")
        assert prepared(two, "select * from open_ended") == \
            prepared(oracle, "select * from open_ended") != with_both


# --- without DDL --------------------------------------------------------------------------------

# What a client has set, how, and a text whose meaning is fixed when it is parsed.
SETTINGS = {
    "TimeZone": ("Asia/Tokyo", "select '2001-01-01 00:00'::timestamptz at time zone 'UTC'"),
    "DateStyle": ("ISO, DMY", "select '1/2/2003'::date::text"),
    "IntervalStyle": ("sql_standard", "select '-1 2:03:04'::interval::text"),
    "standard_conforming_strings": ("off", r"select 'a\\b'"),
    "transform_null_equals": ("on", "select 1 where null = null"),
    "array_nulls": ("off", "select '{NULL}'::text[]"),
    "search_path": ("pg_catalog, aside", "select * from aside_only"),
    "bytea_output": ("escape", r"select '\x00ff'::bytea"),
}


@pytest.fixture(scope="module")
def aside(postgres):
    postgres.sql("create schema aside", database="app")
    postgres.sql("create table aside.aside_only as select 1 as a", database="app")
    postgres.sql("grant usage on schema aside to app", database="app")
    postgres.sql("grant select on aside.aside_only to app", database="app")
    postgres.sql("create table aside_only as select 'public' as a", database="app")
    postgres.sql("grant select on aside_only to app", database="app")
    yield
    postgres.sql("drop schema aside cascade", database="app")
    postgres.sql("drop table aside_only", database="app")


def has_set(endpoint, how, name, value):
    if how == "startup":
        return endpoint.wire(**{name: value})
    client = endpoint.wire()
    if how == "set":
        do(client, f"set {name} to {value}" if name == "search_path" else
           f"set {name} = '{value}'")
    elif how == "set_config":
        do(client, f"select set_config('{name}', '{value}', false)")
    return client


@pytest.mark.parametrize("how", ["startup", "set", "set_config"])
@pytest.mark.parametrize("first", ["plain", "changed"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_of_the_client_that_parses(pool, postgres, aside, name, first, how):
    value, text = SETTINGS[name]
    answers = {}
    for endpoint in postgres.endpoint(), pool.endpoint():
        for which in (["plain", "changed"] if first == "plain" else ["changed", "plain"]) * 2:
            client = endpoint.wire() if which == "plain" else has_set(endpoint, how, name, value)
            with client:
                answers.setdefault(which, []).append(prepared(client, text))
    assert answers["plain"][:2] == answers["plain"][2:]
    assert answers["changed"][:2] == answers["changed"][2:]
    assert answers["changed"] != answers["plain"]


@pytest.mark.parametrize("local", ["set local {n} = '{v}'",
                                   "select set_config('{n}', '{v}', true)"])
@pytest.mark.parametrize("name", [n for n in SETTINGS if n != "search_path"])
def test_a_setting_of_one_transaction_is_not_that_of_others(pool, postgres, name, local):
    value, text = SETTINGS[name]
    answers = []
    for endpoint in postgres.endpoint(), pool.endpoint():
        with clients(endpoint, 3) as (plain, changed, after):
            do(changed, "begin", local.format(n=name, v=value))
            inside = prepared(changed, text)
            do(changed, "rollback")
            answers.append([inside, prepared(plain, text), prepared(after, text, name="third")])
            # In the batch that sets it, too.
            fine(changed.ask(w.parse("", local.format(n=name, v=value)), w.bind(), w.execute(),
                             w.parse("batch", text), w.SYNC))
            answers[-1].append(prepared(after, text, name="fourth"))
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


def test_a_text_is_in_the_encoding_of_its_client(pool, postgres):
    text = b"select 'gr\xc3\xb6\xc3\x9fe'::text, length('gr\xc3\xb6\xc3\x9fe')"
    answers = []
    for endpoint in postgres.endpoint(), pool.endpoint():
        answers.append([])
        for encoding in ("UTF8", "LATIN1", "UTF8"):
            with endpoint.wire(client_encoding=encoding) as client:
                answers[-1].append(prepared(client, text))
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


def test_now_is_when_it_was_parsed(pool, postgres):
    text = "select 'now'::timestamptz::text"
    for endpoint in postgres.endpoint(), pool.endpoint():
        with clients(endpoint) as (one, two):
            first = fine(one.ask(w.parse("same", text), w.bind(statement="same"), w.execute(),
                                 w.SYNC))
            second = fine(two.ask(w.parse("same", text), w.bind(statement="same"), w.execute(),
                                  w.SYNC))
            assert w.rows(first) != w.rows(second)
            assert w.rows(again(one)) == w.rows(first)
            assert w.rows(again(two)) == w.rows(second)


@pytest.fixture(scope="module")
def closed(postgres):
    for sql in ("create role insider", "alter role mallory noinherit", "grant insider to mallory",
                "create schema closed",
                "grant usage on schema closed to insider", "create table closed.t as select 1 as a",
                "grant select on closed.t to public"):
        postgres.sql(sql, database="app")
    yield
    for sql in ("drop schema closed cascade", "drop role insider", "alter role mallory inherit"):
        postgres.sql(sql, database="app")


@pytest.mark.parametrize("role", ["set role insider", "set local role insider",
                                  "select set_config('role', 'insider', true)"])
def test_statements_are_not_shared_between_roles(pool, postgres, closed, role):
    text = "select * from closed.t"
    for endpoint in postgres.endpoint(user="mallory"), pool.endpoint(user="mallory"):
        with clients(endpoint) as (inside, outside):
            do(inside, "begin", role)
            answers = fine(inside.ask(w.parse("same", text), w.bind(statement="same"), w.execute(),
                                      w.SYNC))
            assert w.rows(answers) == [["1"]]
            do(inside, "commit", "reset role")
            assert states(outside.ask(w.parse("same", text), w.bind(statement="same"),
                                      w.execute(), w.SYNC)) == ["42501"]


# --- on another server --------------------------------------------------------------------------

@contextmanager
def two_servers(trunkline, **settings):
    """A client that has prepared on one server of two, and how to have it on the other."""
    daemon = trunkline(relays=1, routes=[route(pool_size=2, **settings)])
    with clients(daemon.endpoint(), 3) as (client, one, two):
        yield daemon, client, one, two


def pid(client):
    return w.rows(fine(client.ask(w.query("select pg_backend_pid()"))))[0][0]


def keep(client, other, here):
    """Makes one of them hold the server with this pid."""
    for holder in client, other:
        do(holder, "begin")
    for holder, free in ((client, other), (other, client)):
        if pid(holder) == here:
            do(free, "commit")
            return holder
    raise AssertionError("neither has it")


def prepare_here(client, *texts):
    """Prepares, and says on which server."""
    fine(client.ask(w.query("begin")))
    here = pid(client)
    for text in texts:
        name, _, sql = text.partition(":")
        fine(client.ask(w.parse(name, sql), w.describe("S", name), w.SYNC))
    do(client, "commit")
    return here


def test_a_statement_goes_along_to_another_server(trunkline):
    with two_servers(trunkline) as (_, client, one, two):
        here = prepare_here(client, "a:select $1::int + 1", "b:select $1::text", "c:select 3")
        keep(one, two, here)
        answers = client.ask(w.bind(statement="a", values=("1",)), w.execute(),
                             w.describe("S", "b"), w.bind(statement="b", values=("x",)),
                             w.describe("P"), w.execute(), w.bind(statement="c"), w.execute(),
                             w.SYNC)
        assert w.kinds(answers) == "2 D C t T 2 T D C 2 D C Z"
        assert w.rows(answers) == [["2"], ["x"], ["3"]]


@pytest.mark.parametrize("inside", [False, True])
def test_a_type_that_changed_is_refused_on_another_server(trunkline, postgres, inside):
    postgres.sql("create table moved_type as select 7 as a", database="app")
    postgres.sql("grant select on moved_type to public", database="app")
    try:
        with two_servers(trunkline) as (_, client, one, two):
            here = prepare_here(client, "same:select a from moved_type", "other:select 1")
            keep(one, two, here)
            postgres.sql("alter table moved_type alter a type text using 'seven'", database="app")
            if inside:
                do(client, "begin")
            for message in w.bind(statement="same"), w.describe("S", "same"):
                answers = client.ask(w.bind(statement="other"), w.execute(), message, w.execute(),
                                     w.SYNC)
                error = [m.fields for m in answers if m.kind == "E"]
                assert w.kinds(answers) == "2 D C E Z"
                assert error[0]["C"] == "0A000"
                assert error[0]["M"] == "cached plan must not change result type"
                if inside:
                    assert answers[-1].body == b"E"
                    do(client, "rollback", "begin")
            if inside:
                do(client, "rollback")
            fine(client.ask(w.close("S", "same"), w.SYNC))
            answers = client.ask(w.parse("same", "select a from moved_type"), w.describe("S", "same"),
                                 w.bind(statement="same"), w.execute(), w.SYNC)
            assert w.rows(answers) == [["seven"]]
    finally:
        postgres.sql("drop table moved_type", database="app")


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("described", [False, True])
def test_an_unnamed_statement_matches_its_description(trunkline, postgres, described, changes):
    """On another server; who was not told its types gets them with the rows."""
    postgres.sql("create table moved_unnamed as select 7 as a", database="app")
    postgres.sql("grant select on moved_unnamed to public", database="app")
    text = w.parse("", "select a from moved_unnamed")
    try:
        with two_servers(trunkline) as (_, client, one, two):
            fine(client.ask(w.parse("end", "commit"), w.SYNC))
            do(client, "begin")
            here = pid(client)
            told = [w.describe("S", "")] if described else []
            fine(client.ask(text, *told, w.bind("p", "end"), w.execute("p"), w.SYNC))
            keep(one, two, here)
            if changes:
                postgres.sql("alter table moved_unnamed alter a type text using 'seven'",
                             database="app")
            for message in w.bind(), w.describe("S", ""):
                answers = client.ask(message, w.bind(), w.execute(), w.SYNC)
                if described and changes:
                    assert [m.fields["C"] for m in answers if m.kind == "E"] == ["0A000"]
                    assert w.kinds(answers) == "E Z"
                else:
                    assert w.rows(fine(answers)) == [["seven" if changes else "7"]]
            answers = client.ask(text, w.describe("S", ""), w.bind(), w.execute(), w.SYNC)
            assert w.rows(fine(answers)) == [["seven" if changes else "7"]]
    finally:
        postgres.sql("drop table moved_unnamed", database="app")


def test_a_table_that_is_gone_is_missed_on_another_server(trunkline, postgres):
    postgres.sql("create table gone_soon as select 7 as a", database="app")
    postgres.sql("grant select on gone_soon to public", database="app")
    with two_servers(trunkline) as (_, client, one, two):
        here = prepare_here(client, "same:select a from gone_soon")
        keep(one, two, here)
        postgres.sql("drop table gone_soon", database="app")
        for _ in range(2):
            assert states(again(client)) == ["42P01"]
            assert w.rows(fine(client.ask(w.query("select 2")))) == [["2"]]


def test_a_table_made_anew_with_the_same_columns_is_used_on_another_server(trunkline, postgres):
    def make():
        postgres.sql("create table same_again as select 7 as a", database="app")
        postgres.sql("grant select on same_again to public", database="app")
    make()
    with two_servers(trunkline) as (_, client, one, two):
        here = prepare_here(client, "same:select a from same_again")
        keep(one, two, here)
        postgres.sql("drop table same_again", database="app")
        make()
        assert w.rows(fine(again(client))) == [["7"]]
    postgres.sql("drop table same_again", database="app")


def test_a_fetch_has_the_columns_of_its_cursor_on_every_server(trunkline, postgres):
    fetch = [w.bind(statement="fetch"), w.describe("P"), w.execute(), w.SYNC]
    with two_servers(trunkline) as (_, client, one, two), clients(postgres.endpoint(), 1) as oracle:
        do(client, "begin")
        here = pid(client)
        do(client, "declare c cursor for select 1 as a")
        fine(client.ask(w.parse("fetch", " FETCH ALL FROM c"), w.SYNC))
        do(client, "commit")
        keep(one, two, here)
        fine(oracle.ask(w.parse("fetch", " FETCH ALL FROM c"), w.SYNC))
        answers = []
        for who in oracle, client:
            do(who, "begin", "declare c cursor for select 'x' as b, 2 as c")
            answers.append([w.kinds(fine(who.ask(*fetch))), w.rows(who.ask(w.query("fetch c")))])
            do(who, "commit")
        assert answers[0] == answers[1]


@pytest.mark.parametrize("text", ["rollback", "ROLLBACK TO a", "", "commit"])
def test_statements_allowed_in_a_failed_transaction_can_be_prepared_in_it(trunkline, postgres, text):
    answers = []
    for endpoint in postgres.endpoint(), trunkline(relays=1, routes=[route(pool_size=1)]).endpoint():
        with endpoint.wire() as client:
            do(client, "begin", "savepoint a")
            assert states(client.ask(w.query("select 1/0"))) == ["22012"]
            answers.append(w.kinds(client.ask(w.parse("out", text), w.describe("S", "out"),
                                              w.bind(statement="out"), w.execute(), w.SYNC)))
            answers[-1] += client.ask(w.parse("more", "select 1"), w.SYNC)[-1].body.decode()
    assert answers[0] == answers[1]


def test_a_client_that_goes_while_its_statement_is_looked_at_frees_the_server(trunkline, postgres):
    """Parse waits for a lock; who asked for it is gone."""
    postgres.sql("create table locked_up as select 7 as a", database="app")
    postgres.sql("grant select on locked_up to public", database="app")
    with two_servers(trunkline) as (daemon, client, one, two):
        here = prepare_here(client, "same:select a from locked_up")
        holder = keep(one, two, here)
        with psycopg.connect(host=str(postgres.folder), port=postgres.port, user="postgres",
                             dbname="app") as locker:
            locker.execute("lock locked_up")
            client.send(w.bind(statement="same"), w.execute(), w.SYNC)
            eventually(lambda: locker.execute(
                "select 1 from pg_locks where not granted").fetchone())
            client.__exit__()
            free = two if holder is one else one
            assert w.rows(fine(free.ask(w.query("select 5")))) == [["5"]]
            locker.rollback()
    postgres.sql("drop table locked_up", database="app")


# --- what is still shared -----------------------------------------------------------------------

def names(client):
    answers = fine(client.ask(w.query("select name from pg_prepared_statements order by 1")))
    return [row[0] for row in w.rows(answers)]


def test_equal_statements_are_one_on_the_server(trunkline):
    daemon = trunkline(relays=2, routes=[route(pool_size=1)])
    with clients(daemon.endpoint(), 6, application_name="some") as made:
        for number, client in enumerate(made):
            fine(client.ask(w.query(f"set application_name = 'n{number}'")))
            fine(client.ask(w.parse(f"s{number}", "select 1"), w.SYNC))
        fine(made[0].ask(w.parse("other", "select 2"), w.SYNC))
        fine(made[0].ask(w.parse("another", "select 3"), w.SYNC))
        fine(made[0].ask(w.parse("more", "select 4"), w.SYNC))
        assert len(names(made[0])) <= 5  # the newest, three others, and one on its way out
        for number, client in enumerate(made):
            assert w.rows(fine(again(client, f"s{number}"))) == [["1"]]


def test_a_text_is_parsed_for_each_client_that_prepares_it(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=1)])
    with clients(daemon.endpoint(), 4) as made:
        for client in made:
            fine(client.ask(w.parse("same", "select 1"), w.SYNC))
            fine(again(client))
        totals, = [row for row in daemon.console("SHOW STATS_TOTALS") if row["database"] == "app"]
        assert int(totals["server_parse_count"]) == 4


def test_a_temporary_table_does_not_end_shared_statements(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=2)])
    with clients(daemon.endpoint(), 3) as (one, two, three):
        fine(one.ask(w.parse("same", "select 5"), w.SYNC))
        for sql in ("create temp table passing (a int)", "create temp table other as select 1 as a",
                    "select 1 as a into temp third"):
            do(two, sql)
        fine(three.ask(w.parse("same", "select 5"), w.SYNC))
        fine(three.ask(w.parse("more", "select 6"), w.SYNC))
        assert len(names(three)) == 2
        do(two, "create table passing_too (a int)", "drop table passing_too", "discard all")
        fine(three.ask(w.parse("again", "select 5"), w.SYNC))
        fine(three.ask(w.parse("most", "select 7"), w.SYNC))
        assert len(names(three)) == 4


# --- names --------------------------------------------------------------------------------------

def test_names_on_servers_can_not_be_foretold(trunkline):
    seen = set()
    for _ in range(2):
        daemon = trunkline(relays=1, routes=[route(pool_size=1)])
        for _ in range(2):
            with daemon.endpoint().wire() as client:
                fine(client.ask(w.parse("same", "select 1"), w.SYNC))
                now = set(names(client))
                assert now and all(NAME.match(name) for name in now)
                seen |= now
    assert len(seen) == 4


# --- statements that went unseen ----------------------------------------------------------------

FORGETTING = "do $$ begin execute 'deallocate all'; end $$"
# A text with DO is cleaned up behind; one that calls a function is not.
FORGETTING_UNSEEN = """create or replace function forget() returns void language plpgsql as
    $$ begin execute 'deallocate all'; end $$"""


@pytest.mark.parametrize("end", ["sync", "flush"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_statements_that_a_do_block_deallocates_are_prepared_again(trunkline, end, zone):
    """A Bind that is the first of its batch is sent again; its client hears of nothing."""
    daemon = trunkline(relays=1, routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as one, daemon.endpoint().wire(TimeZone=zone) as two:
        for _ in range(3):
            for client in one, two:
                fine(client.ask(w.parse("same", "select 'x'::text || $1"), w.SYNC))
            do(one, FORGETTING)
            for client in one, two, one:
                messages = [w.bind(statement="same", values=("y",)), w.describe("P"), w.execute()]
                if end == "flush":
                    answers = client.send(*messages, w.FLUSH).until("C") + client.ask(w.SYNC)
                else:
                    answers = client.ask(*messages, w.parse("more", "select 1"),
                                         w.bind(statement="more"), w.execute(), w.close("S", "more"),
                                         w.SYNC)
                assert w.kinds(answers) == ("2 T D C Z" if end == "flush" else
                                            "2 T D C 1 2 D C 3 Z")
                assert w.rows(answers)[0] == ["xy"]
            for client in one, two:
                fine(client.ask(w.close("S", "same"), w.SYNC))


@pytest.mark.parametrize("how", ["transaction", "second", "pipeline", "describe"])
def test_an_error_that_cannot_be_repaired_is_sent_once(trunkline, how):
    daemon = trunkline(relays=1, routes=[route(pool_size=1)])
    with clients(daemon.endpoint(), 2) as (one, two):
        do(one, FORGETTING_UNSEEN)
        for client in one, two:
            fine(client.ask(w.parse("same", "select 'x'"), w.SYNC))
        do(two, "select forget()")
        use = [w.bind(statement="same"), w.execute(), w.SYNC]
        if how == "transaction":
            do(one, "begin")
            assert states(one.ask(*use)) == ["26000"]
            do(one, "rollback")
        elif how == "second":
            assert states(one.ask(w.parse("", "select 1"), w.bind(), w.execute(), *use)) == ["26000"]
        elif how == "pipeline":
            answers = one.send(*use, *use, *use).until("Z", 3)
            assert states(answers) == ["26000"] * 3
        else:
            assert states(one.ask(w.describe("S", "same"), w.SYNC)) == ["26000"]
        for client in one, two, one:
            assert w.rows(fine(client.ask(*use))) == [["x"]]


def test_a_name_that_is_the_clients_own_is_none_of_ours(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as client:
        fine(client.ask(w.parse("same", "select 'x'"), w.SYNC))
        mine, = names(client)
        for name in "tl_" + "0" * 32, "tl_", "nobody":
            assert states(client.ask(w.bind(statement=name), w.execute(), w.SYNC)) == ["26000"]
        assert names(client) == [mine]


# --- private statements -------------------------------------------------------------------------

def test_private_statements_are_not_visible_to_other_clients(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=1, prepared_statements="private")])
    with clients(daemon.endpoint(), 3) as made:
        for _ in range(3):
            for number, client in enumerate(made):
                fine(client.ask(w.parse("same", f"select {number} + $1::int"), w.SYNC))
            for number, client in enumerate(made):
                assert w.rows(fine(again(client, values=("10",)))) == [[str(10 + number)]]
                shown = w.rows(fine(client.ask(w.query(
                    "select statement from pg_prepared_statements"))))
                assert shown == [[f"select {number} + $1::int"]]
            for client in made:
                fine(client.ask(w.close("S", "same"), w.SYNC))


def test_private_statements_work_with_parameters_that_differ(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=1, prepared_statements="private")])
    with daemon.endpoint().wire(TimeZone="Asia/Tokyo") as one, daemon.endpoint().wire() as two:
        text = "select '2001-01-01 00:00'::timestamptz at time zone 'UTC'"
        for client in one, two:
            fine(client.ask(w.parse("same", text), w.SYNC))
        for _ in range(3):
            assert w.rows(fine(again(one))) == [["2000-12-31 15:00:00"]]
            assert w.rows(fine(again(two))) != [["2000-12-31 15:00:00"]]


@pytest.mark.parametrize("setting", [1, 3, "private", "off"])
def test_every_setting_leaves_a_client_its_statements(trunkline, setting):
    daemon = trunkline(relays=1, routes=[route(pool_size=1, prepared_statements=setting)])
    with daemon.endpoint().wire() as client:
        for number in range(6):
            fine(client.ask(w.parse(f"s{number}", f"select {number}"), w.SYNC))
        for number in 0, 5, 3, 3, 0:
            assert w.rows(fine(again(client, f"s{number}"))) == [[str(number)]]
        assert len(names(client)) <= (6 if setting in ("private", "off") else setting + 6)


# How a client makes the table app.shown, which public.shown then stands behind.
MAKES = {
    "create": [w.query("create table app.shown (a int)")],
    "as": [w.query("create table app.shown as select 7 as a")],
    "none": [w.query("create table app.shown as select 7 as a where false")],
    "into": [w.query("select 7 as a into app.shown")],
    "among others": [w.query("select 1; create table app.shown as select 7 as a; select 2")],
    "extended": [w.parse("", "create table app.shown as select 7 as a"), w.bind(), w.execute(),
                 w.SYNC],
    "described": [w.parse("", "create table app.shown as select 7 as a"), w.bind(),
                  w.describe("P"), w.execute(), w.SYNC],
    "do": [w.query("do $$ begin create table app.shown (a int); end $$")],
    "transaction": [w.query("begin"), w.query("create table app.shown (a int)"),
                    w.query("commit")],
    "one text": [w.query("begin; create table app.shown (a int); commit")],
}


@pytest.mark.parametrize("how", MAKES)
def test_a_change_is_noticed_on_every_server(trunkline, postgres, how):
    """What nobody's signature shows: the row would go to the table that was there before."""
    text = "insert into shown values ($1)"
    with clients(postgres.endpoint(), 1) as oracle:
        do(oracle, "create schema if not exists app", "create table public.shown (a int)")
        try:
            with two_servers(trunkline) as (_, old, new, third):
                here = prepare_here(old, "same:" + text)
                holder = keep(new, third, here)
                free = third if holder is new else new
                free.send(*MAKES[how]).until("Z", sum(m[:1] in b"QS" for m in MAKES[how]))
                fine(free.ask(w.parse("same", text), w.SYNC))
                do(old, "begin")  # on the other server
                do(holder, "commit")
                fine(again(free, values=("8",)))
                assert 8 in [row[0] for row in postgres.sql("select a from app.shown",
                                                            database="app")]
        finally:
            postgres.sql("drop schema app cascade", database="app")
            postgres.sql("drop table public.shown", database="app")


def test_a_statement_that_seems_lost_is_sent_again_once(trunkline, postgres):
    """The check of a domain says 26000 with the name of a statement of ours."""
    postgres.sql("drop domain if exists liar; drop sequence if exists tries")
    postgres.sql("create sequence tries; grant all on tries to app")
    postgres.sql("""create or replace function lies(a text) returns bool language plpgsql as $$
        declare n text; begin perform nextval('tries');
        for n in select name from pg_prepared_statements loop
        raise exception using errcode = '26000', message = n; end loop; return true; end $$""")
    postgres.sql("create domain liar as text check (lies(value))")
    daemon = trunkline(relays=1, routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as one:
        fine(one.ask(w.parse("s", "select $1::liar"), w.SYNC))
        fine(one.ask(w.parse("t", "select 2"), w.SYNC))
        assert states(one.ask(w.bind("", "s", ("x",)), w.execute(), w.SYNC)) == ["26000"]
    assert postgres.one("select last_value from tries") < 5
