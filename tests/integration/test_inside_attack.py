"""Attacks on `writers: inside`: ways to write that the daemon could take for none, or for fewer tables."""
import signal

import pytest
from support import wire as w
from support.failover import elected
from support.patience import eventually
from support.strict import SCHEMA, SQL, STRICT
from support.trunkline import route
from test_strict import counted, hits_on, value
from test_strict_inside import ask, batch, cluster, inside, store  # noqa: F401

OBJECTS = """
create table s.elsewhere (n int, v int); insert into s.elsewhere values (1, 40), (2, 41);
create view s.shown as select v from s.b;
create table s.grand (id int primary key references s.parent on update cascade);
insert into s.grand values (1);
create table s.great (id int references s.grand on update cascade on delete set null);
insert into s.great values (1);
create table s.defaulted (n int, v int default s.writes(77));
create table s.checked (n int check (s.writes(n) > 0));
create domain s.narrow as int check (s.writes(value) > 0);
create table s.domained (n s.narrow);
create table s.ruled (n int);
create rule also as on insert to s.ruled do also update s.b set v = new.n;
create table s.pair (x s.point);
grant all on all tables in schema s to public;
"""
POINT = """
create type s.point as (x int);
create function s.to_point(k int) returns s.point language plpgsql as
    $$ begin update s.a set v = k where n = 1; return row(k)::s.point; end $$;
create cast (int as s.point) with function s.to_point(int) as assignment;
create function s.step(state int, k int) returns int language plpgsql as
    $$ begin update s.a set v = k where n = 1; return k; end $$;
create aggregate s.last(int) (sfunc = s.step, stype = int, initcond = '0');
create function s.plus(k int, b s.point) returns int language plpgsql as
    $$ begin update s.a set v = k where n = 1; return k; end $$;
create operator s.### (leftarg = int, rightarg = s.point, function = s.plus);
"""


@pytest.fixture
def objects(cluster):  # noqa: F811
    cluster.sql(POINT + OBJECTS)
    return cluster


def own(wire, sql):
    rows = w.rows(wire.ask(w.query("begin; " + sql)))
    ask(wire, "rollback")
    return rows


# -- ends of transactions


SUSPENDED = w.parse("", "update s.a set v = 5 where n = 1 returning n") + w.bind() + w.execute(rows=1)


def rolled():
    return w.parse("", "rollback") + w.bind() + w.execute()


@pytest.mark.parametrize("name", ["suspended", "procedure", "function call", "query", "again"])
def test_what_follows_a_rollback_before_the_sync_counts(inside, objects, name):  # noqa: F811
    """The only command that ends says ROLLBACK; what is behind it commits all the same."""
    daemon = inside()
    oid = objects.one("select 's.writes'::regproc::oid")
    behind = {"suspended": SUSPENDED + w.SYNC,
              "procedure": w.parse("", "call s.steps(5)") + w.bind() + w.execute() + w.SYNC,
              "function call": w.function_call(oid, b"5"),
              "query": w.query("call s.steps(5)"),
              "again": w.parse("", "begin") + w.bind() + w.execute() + SUSPENDED + rolled() + SUSPENDED + w.SYNC}[name]
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        for _ in range(2):
            ask(other, "update s.a set v = 0 where n = 1")
            store(daemon, wire)
            assert value(wire) == 0
            ask(other, "begin")
            other.send(rolled() + behind)
            other.until()
            eventually(lambda: objects.one(SQL) == 5, 3)
            assert value(wire) == 5


def test_an_update_whose_portal_is_suspended(inside):  # noqa: F811
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        for number in range(1, 6):
            store(daemon, wire)
            other.send(w.parse("", f"update s.a set v = {number} where n = 1 returning n") + w.bind() + w.execute(rows=1)
                       + w.SYNC)
            other.until()
            assert value(wire) == number


# -- texts


def test_names_that_differ_by_their_escape_only(inside, objects):  # noqa: F811
    objects.sql('create table s."d!0061" (v int); insert into s."d!0061" values (0); create table s.da (v int);'
                " insert into s.da values (0); grant all on all tables in schema s to public")
    daemon = inside()
    read = "select v from s.da"
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        for number in range(8):
            ask(other, f"update s.U&\"d!0061\" uescape '#' set v = {number}")
            store(daemon, wire, read)
        for number in range(1, 5):
            store(daemon, wire, read)
            ask(other, f"update s.U&\"d!0061\" uescape '!' set v = {number}")
            assert value(wire, read) == number


HIDES = [b"select e'\x83\\'; update s.a set v = %d where n = 1; --'",
         b"select $\x83\x40$'$\x83\x40$; update s.a set v = %d where n = 1; --'",
         b"select s.\x83\\e'a\\'; update s.a set v = %d where n = 1; --'"]


@pytest.mark.parametrize("text", HIDES, ids=["string", "dollar", "type"])
def test_texts_in_an_encoding_whose_characters_end_with_a_backslash(inside, objects, text):  # noqa: F811
    objects.sql('create domain s."ソe" as text')
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire(client_encoding="SJIS") as other:
        for number in range(1, 8):
            store(daemon, wire)
            replies = other.ask(w.query(text % number))
            assert not [m.fields if hasattr(m, "fields") else m for m in replies if m.kind == "E"]
            assert value(wire) == number


def test_backslashes_without_standard_conforming_strings(inside):  # noqa: F811
    daemon = inside()
    with daemon.endpoint().wire() as wire, \
            daemon.endpoint().wire(options="-c standard_conforming_strings=off -c escape_string_warning=off") as other:
        for number in range(1, 8):
            store(daemon, wire)
            ask(other, f"select 'a\\'; select '; update s.a set v = {number} where n = 1; --'")
            ask(other, f"select 'a\\''; update s.a set v = {number} where n = 1; --'")
            assert value(wire) == number


# -- what a write leads to


@pytest.mark.parametrize("read, write", [
    ("select sum(id) from s.great", "update s.parent set id = id + 1"),
    ("select count(*) from s.great", "truncate s.parent cascade"),
    ("select sum(id) from s.great", "insert into s.parent values ((select max(id) from s.parent))"
     " on conflict (id) do update set id = s.parent.id + 1"),
    ("select sum(id) from s.great", "merge into s.parent using (values (1)) x(k) on true"
     " when matched then update set id = id + 1 when not matched then insert values (1)"),
    ("select sum(id) from s.great", "with x as (update s.parent set id = id + 1 returning id) select * from x"),
    (SQL, "insert into s.defaulted (n) values (1)"),
    (SQL, "insert into s.checked values ((select v from s.a where n = 1) + 1)"),
    (SQL, "insert into s.domained values ((select v from s.a where n = 1) + 1)"),
    (SQL, "select ((select v from s.a where n = 1) + 1)::s.narrow"),
    (SQL, "insert into s.pair (x) select (select v from s.a where n = 1) + 1"),
    (SQL, "select s.last(k) from (select v + 1 as k from s.a where n = 1) x"),
    (SQL, "select (v + 1) operator(s.###) row(1)::s.point from s.a where n = 1"),
    ("select v from s.b", "insert into s.ruled select v + 1 from s.b where n = 1"),
    ("select v from s.b", "copy (update s.b set v = v + 1 returning v) to stdout"),
], ids=["cascades", "truncate", "conflict", "merge", "cte", "default", "check", "domain", "cast to a domain", "assignment",
        "aggregate", "operator", "rule", "copy of a write"])
def test_what_a_write_leads_to_counts(inside, objects, read, write):  # noqa: F811
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        for _ in range(8):
            store(daemon, wire, read)
            ask(other, write)
            assert w.rows(wire.ask(w.query(read))) == own(other, read)


# -- long texts, pools of other kinds


@pytest.mark.parametrize("settings", [dict(pool="session"), dict(prepared_statements="off"), {}],
                         ids=["session", "unmapped", "mapped"])
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_a_view_that_is_made_by_a_parse(inside, objects, settings, long):  # noqa: F811
    """A text longer than a chunk is not seen whole where the daemon does not keep statements."""
    objects.sql("alter role trusted superuser")
    try:
        daemon = inside(routes=[route(user="trusted", auth="trust", **settings)])
        more = f" /* {'x' * 300_000} */" if long else ""
        text = "create or replace view s.shown as select v from s.elsewhere" + more
        with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other, \
                daemon.endpoint(user="trusted").wire() as maker:
            read, write = "select sum(v) from s.shown", "update s.elsewhere set v = v + 1"
            for _ in range(4):
                store(daemon, wire, read)
                ask(other, write)
            assert not [m for m in maker.ask(w.parse("", text) + w.bind() + w.execute() + w.SYNC) if m.kind == "E"]
            for _ in range(6):
                store(daemon, wire, read)
                ask(other, write)
                assert w.rows(wire.ask(w.query(read))) == own(other, read)
    finally:
        objects.sql("alter role trusted nosuperuser")


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_a_procedure_that_changes_the_path_of_a_role(inside, objects, long):  # noqa: F811
    """Connections from before it write other tables than those from behind it."""
    objects.sql("drop schema if exists z cascade; create schema z; create table z.a (n int, v int);"
                " insert into z.a values (1, 0); grant usage on schema z to public; grant all on z.a to public;"
                " alter role app set search_path = z;"
                " create procedure s.path(p text) language plpgsql security definer as"
                " $$ begin execute 'al' || 'ter role app set search_path = ' || p; end $$")
    try:
        daemon = inside(settings={"pool_size": 4})
        more, text = f"/* {'x' * 300_000} */ " if long else "", "update a set v = v + 1 where n = 1"
        with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other, daemon.endpoint().wire() as third, \
                daemon.endpoint().wire() as fourth:
            ask(other, text)
            ask(other, "begin", "select 1")  # holds a server from before the change
            ask(third, more + "call s.path('s')")
            # What is executed on a connection from before the change is not stored, so none may be left.
            eventually(lambda: not sum(row["sv_login"] for row in daemon.console("SHOW POOLS")))
            killed = {pid for pid, _ in objects.sql("select pid, pg_terminate_backend(pid) from pg_stat_activity"
                                                    " where usename = 'app' and state <> 'idle in transaction'")}
            eventually(lambda: not killed & {row["remote_pid"] for row in daemon.console("SHOW SERVERS")})
            for _ in range(10):  # a server from behind the change tells what the statement writes
                ask(fourth, text)
                store(daemon, wire)
            store(daemon, wire, "select v from z.a where n = 1")
            ask(other, text)
            ask(other, "commit")
            ask(wire, "begin")  # holds that one
            for read in ("select v from s.a where n = 1", "select v from z.a where n = 1"):
                assert [[str(objects.one(read))]] == w.rows(fourth.ask(w.query(read)))
    finally:
        objects.sql("alter role app reset search_path; drop schema z cascade")


# -- shadows, warming


def told(daemon):
    row = counted(daemon)
    return row["shadow_hits"], row["shadow_differences"], row["shadow_undecided"]


def test_a_shadow_of_strict_is_compared(trunkline, objects):
    """No feed is asked: the writes that the daemon has seen decide."""
    main = {"hosts": [f"127.0.0.1:{objects.port}"], "tls": {"mode": "disable"}, "writers": "inside"}
    daemon = trunkline(server=objects, relays=2, services={"main": main},
                       routes=[route(cache=[{"mode": "shadow", "of": "strict"}])])
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        eventually(lambda: value(wire) == 0 and told(daemon)[0] > 0)
        for number in range(1, 30):
            ask(other, f"update s.a set v = {number} where n = 1")
            for _ in range(3):
                assert value(wire) == number
        assert told(daemon)[1] == 0
        objects.sql("update s.a set v = 99 where n = 1")  # past the daemon: against the declaration
        eventually(lambda: value(wire) == 99 and told(daemon)[1] > 0)


def warmed(daemon):
    return next(row["value"] for row in daemon.console("SHOW CACHE_TOTALS") if row["name"] == "warm_stored")


def test_strict_answers_are_warmed(inside):  # noqa: F811
    daemon = inside(settings={"cache_warm": [dict(text="select v from s.b where n = 1", user="app", database="app")]})
    eventually(lambda: warmed(daemon) == 1)
    with daemon.endpoint().wire() as wire:
        assert hits_on(daemon, wire, "select v from s.b where n = 1")


def test_strict_answers_are_warmed_again_after_a_failover(trunkline, replication):
    servers = replication(replicas=1)
    old, new = servers.servers
    servers.primary.sql(SCHEMA)
    servers.caught_up()
    daemon = trunkline(services={"main": {
        "hosts": [f"127.0.0.1:{one.port}" for one in servers.servers], "tls": {"mode": "disable"},
        "probe": {"user": "app", "interval": "100ms", "timeout": "1s"}, "writers": "inside"}},
        routes=[route(claim_timeout="30s", cache=[STRICT],
                      cache_warm=[dict(text=SQL, user="app", database="app")])])
    elected(daemon, servers.primary)
    eventually(lambda: warmed(daemon) >= 1)
    before = warmed(daemon)
    old.stop(signal.SIGINT)
    servers.promote(new)
    elected(daemon, new)
    eventually(lambda: warmed(daemon) > before, 30)
    with daemon.endpoint().wire() as wire:
        eventually(lambda: hits_on(daemon, wire, SQL))


# -- what is stored in between


def test_a_prepared_transaction_that_another_client_commits(inside, objects):  # noqa: F811
    """An answer is stored behind PREPARE TRANSACTION; nothing but its COMMIT PREPARED tells of the write."""
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other, daemon.endpoint().wire() as third:
        for number, end in enumerate(["commit prepared 'p'", "COMMIT /* x */ PREPARED 'p'"], 1):
            ask(other, "begin", f"update s.a set v = {number} where n = 1", "prepare transaction 'p'")
            store(daemon, wire)
            assert value(wire) == number - 1
            ask(third, end)
            assert value(wire) == number
