"""Ways around the firewall of a route that are closed: SQL in other words, settings that change its meaning."""
import pytest
from support import wire as w
from support.firewall import CREATE, DENIES, DROP, denied, quiet, routes, rows
from support.trunkline import Trunkline, configuration

BOTH = pytest.mark.parametrize("user", ["app", "reports"], ids=["transaction", "session"])


@pytest.fixture(scope="module")
def table(postgres):
    postgres.sql(CREATE)
    yield postgres
    postgres.sql(DROP)


HIDDEN = [
    "/* select */ delete from firewalled",
    "-- select\ndelete from firewalled",
    "DELETE FROM \"firewalled\"",
    "dElEtE/**/from/**/firewalled",
    "select 1; delete from firewalled",
    "with gone as (delete from firewalled returning 1) select * from gone",
    "with a as (with b as (delete from firewalled returning 1) select 1) select * from a",
    "explain analyze delete from firewalled",
    "prepare p as delete from firewalled",
    "copy (delete from firewalled returning 1) to stdout",
    "create table fresh as with gone as (delete from firewalled returning 1) select * from gone",
    "merge into firewalled using (select 1) s on true when matched then delete",
    "begin; truncate firewalled; commit",
    "create rule r as on insert to firewalled do also delete from firewalled",
    "select * from firewall_secrets",
    "select * from public.firewall_secrets",
    "select * from \"firewall_secrets\"",
    "select * from U&\"firewall\\005fsecrets\"",
    "select * from FIREWALL_secrets",
    "table firewall_secrets",
    "select (select word from firewall_secrets limit 1)",
    "select 1 where exists (select from firewall_secrets)",
    "select 1 from firewalled, lateral (select word from firewall_secrets) s",
    "insert into firewalled select length(word) from firewall_secrets",
    "insert into firewall_secrets values ('x')",
    "copy firewall_secrets to stdout",
    "copy (select * from firewall_secrets) to stdout",
    "select * into fresh from firewall_secrets",
    "create table fresh as select * from firewall_secrets",
    "create view fresh as select * from firewall_secrets",
    "create materialized view fresh as select * from firewall_secrets",
    "declare c cursor for select * from firewall_secrets",
    "alter table firewall_secrets add x int",
    "lock table firewall_secrets",
    "create index on firewall_secrets (word)",
    "select pg_sleep(0)",
    "select PG_CATALOG.PG_SLEEP(0)",
    "select \"pg_sleep\"(0)",
    "select * from pg_sleep(0)",
    "select 1 order by pg_sleep(0)",
    "values (pg_sleep(0))",
    "select set_config('client_encoding', 'SJIS', false)",
    "prepare p as select pg_sleep(0)",
    "create function f() returns void begin atomic select pg_sleep(0); end",
    "select case when true then coalesce(null, pg_sleep(0)::text) end",
    "select count(*) filter (where pg_sleep(0) is null) from firewalled",
    "select 1 limit (select length(pg_sleep(0)::text))",
    "update firewalled set number = 1 where pg_sleep(0) is not null",
    "call p(pg_sleep(0)::text)",
    "drop table firewalled",
    "execute p",
    "create table fresh as execute p",
    "explain analyze execute p",
]


@pytest.mark.parametrize("sql", HIDDEN)
def test_ways_around_it(walled, sql):
    table, session = walled
    mark = table.mark()
    for wire in session:
        answers = wire.ask(w.query(sql))
        assert denied(answers) and w.kinds(answers) == "E Z", sql
        answers = wire.ask(w.parse("", sql), w.bind(), w.execute(), w.SYNC)
        assert denied(answers) and w.kinds(answers) == "E Z", sql
    assert not table.statements(mark) + table.statements(mark, user="reports")


@pytest.fixture(scope="module")
def walled(table, tmp_path_factory):
    """A daemon for many statements that are all denied, and a client of each kind of pool."""
    daemon = Trunkline(tmp_path_factory.mktemp("walled"),
                       configuration(table, routes=routes(DENIES))).start()
    session = [daemon.endpoint(user=user).wire() for user in ("app", "reports")]
    for wire in session:
        wire.ask(w.query("select 1"))
    yield table, session
    for wire in session:
        wire.socket.close()
    daemon.stop()


@BOTH
def test_a_backslash_is_not_trusted_without_standard_strings(trunkline, table, user):
    """With the setting off, the first string ends earlier than it seems to."""
    daemon = trunkline(routes=routes(DENIES))
    hidden = r"select '\''; delete from firewalled; --'"
    with daemon.endpoint(user=user).wire() as wire:
        assert quiet(wire, w.query(hidden)) == []
        assert quiet(wire, w.query("set standard_conforming_strings = off")) == []
        assert quiet(wire, w.query(hidden)) == ["42501"]
    with daemon.endpoint(user=user).wire() as wire:  # in one pipeline
        answers = wire.send(w.query("set standard_conforming_strings = off"),
                            w.query(hidden)).until("Z", 2)
        assert denied(answers)
    with daemon.endpoint(user=user).wire() as wire:  # in one batch
        wire.ask(w.parse("", "set standard_conforming_strings = off"), w.bind(), w.execute(),
                 w.parse("", r"select '\''; delete from firewalled; --'"), w.bind(), w.execute(),
                 w.SYNC)
    with daemon.endpoint(user=user).wire(standard_conforming_strings="off") as wire:
        assert quiet(wire, w.query(hidden)) == ["42501"]
    assert rows(table) == 2


@BOTH
def test_an_encoding_can_not_hide_a_quote(trunkline, table, user):
    """In SJIS the bytes 95 5c are one character, and the quote behind them ends the string."""
    daemon = trunkline(routes=routes(DENIES))
    attack = w.message("Q", b"select E'\x95\x5c' ; delete from firewalled; --'\0")
    plain = w.message("Q", "select 'é, größer'".encode() + b"\0")
    with daemon.endpoint(user=user).wire() as wire:
        assert quiet(wire, plain) == []
        assert quiet(wire, w.query("set client_encoding = 'SJIS'")) == []
        assert quiet(wire, attack) == ["42501"]
        assert quiet(wire, w.query("set client_encoding = 'LATIN1'")) == []
        assert quiet(wire, w.message("Q", b"select '\xe9t\xe9'\0")) == []
    with daemon.endpoint(user=user).wire(client_encoding="SJIS") as wire:
        assert quiet(wire, attack) == ["42501"]
    with daemon.endpoint(user=user).wire() as wire:
        answers = wire.send(w.query("set client_encoding = 'SJIS'"), attack).until("Z", 2)
        assert denied(answers)
    assert rows(table) == 2
