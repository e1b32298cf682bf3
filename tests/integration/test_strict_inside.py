"""Mode strict of a service whose writers all come through the daemon (`writers: inside`): no feed, no questions."""
import itertools
import json
import subprocess

import pytest
from support import wire as w
from support.patience import PATIENCE, eventually
from support.postgres import Postgres
from support.strict import SCHEMA, SQL, STRICT
from support.trunkline import binary, route
from test_strict import VIEW, counted, hits_on, value

MORE = """
create table s.parent (id int primary key); insert into s.parent values (1);
create table s.child (id int references s.parent on update cascade); insert into s.child values (1);
create table s.source (v int); insert into s.source values (0);
create table s.target (v int); insert into s.target values (0);
create function s.copies() returns trigger language plpgsql as
    $$ begin update s.target set v = new.v; return null; end $$;
create function s.writes(k int) returns int language plpgsql as
    $$ begin update s.a set v = k where n = 1; return k; end $$;
create view s.hidden as select s.writes(v) as v from s.source;
create procedure s.steps(k int) language plpgsql as $$ begin
    update s.a set v = k where n = 1; commit; update s.b set v = k; perform 1 / 0; end $$;
alter schema s owner to app; alter table s.a owner to app; alter table s.b owner to app;
grant all on all tables in schema s to public;
"""


@pytest.fixture
def cluster(logical):
    logical.sql(SCHEMA + VIEW + MORE)
    return logical


@pytest.fixture
def cluster_of(template):
    made = []

    def make(**options):
        made.append(Postgres(template, **options))
        return made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.fixture
def inside(trunkline, cluster):
    """inside(): a daemon through which all writers come, and which has a stored answer."""
    def make(relays=2, settings=None, routes=(), services=None, server=cluster, **rule):
        main = {"hosts": [f"127.0.0.1:{server.port}"], "tls": {"mode": "disable"}, "writers": "inside"}
        daemon = trunkline(server=server, relays=relays, services={"main": {**main, **(services or {})}},
                           routes=[*routes, route(cache=[{**STRICT, **rule}], **(settings or {}))])
        with daemon.endpoint().wire() as wire:
            eventually(lambda: wire.ask(w.query(SQL)) and counted(daemon)["hits"] > 0)
        return daemon
    return make


def store(daemon, wire, sql=SQL):
    eventually(lambda: hits_on(daemon, wire, sql))


def ask(wire, *sqls):
    """The answers to several queries; none may fail."""
    for sql in sqls:
        failed = [m for m in wire.ask(w.query(sql)) if m.kind == "E"]
        assert not failed, failed


def batch(*sqls):
    """One pipeline up to its Sync."""
    return b"".join(w.parse("", sql) + w.bind() + w.execute() for sql in sqls) + w.SYNC


# -- hits


def test_a_stored_answer_is_given_without_a_question(inside, cluster):
    daemon = inside()
    with daemon.endpoint().wire() as wire:
        before = counted(daemon)
        for _ in range(50):
            assert value(wire) == 0
        after = counted(daemon)
    assert after["hits"] - before["hits"] == 50
    assert cluster.one("select count(*) from pg_replication_slots") == 0


def test_a_rule_whose_table_is_written_as_often_as_it_is_read_rests(inside):
    daemon = inside(adaptive=True)
    numbers = itertools.count(1)
    with daemon.endpoint().wire() as wire:
        def rested():
            for number in itertools.islice(numbers, 20):
                ask(wire, f"update s.a set v = {number} where n = 1")
                assert value(wire) == number
            return counted(daemon)["rested"] > 0
        eventually(rested)


def test_a_rule_whose_reads_are_expensive_does_not_rest(inside):
    """Each read is asked for three times after a write: two answers of milliseconds come from memory."""
    daemon = inside(adaptive=True)
    slow = "select v, (select sum(g) from generate_series(1, 20000) g) from s.a where n = 1"
    with daemon.endpoint().wire() as wire:
        for number in range(150):
            ask(wire, f"update s.a set v = {number} where n = 1")
            for _ in range(3):
                ask(wire, slow)
    assert counted(daemon)["rested"] == 0 and counted(daemon)["hits"] > 100


@pytest.mark.parametrize("sql", [SQL, "select a from s.both where n = 1"], ids=["table", "view"])
def test_a_reader_sees_each_write_that_was_acknowledged(inside, sql):
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        before = counted(daemon)["hits"]
        for number in range(1, 60):
            other.ask(w.query(f"update s.a set v = {number} where n = 1"))
            for _ in range(3):
                assert value(wire, sql) == number
        eventually(lambda: value(wire, sql) == 59 and counted(daemon)["hits"] > before)


def test_a_write_to_another_table_keeps_the_answer(inside):
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        def kept():
            other.ask(w.query("update s.b set v = 7"))
            return hits_on(daemon, wire, SQL)
        eventually(kept)  # which tables the update writes is known by now
        before = counted(daemon)
        for number in range(20):
            other.ask(w.query(f"update s.b set v = {number}"))
            assert value(wire) == 0
        after = counted(daemon)
    assert after["hits"] - before["hits"] == 20
    assert after["executed"] == before["executed"]


# -- each way to write


WRITES = {
    "update": ["update s.a set v = 5 where n = 1"],
    "transaction": ["begin", "update s.a set v = 5 where n = 1", "commit"],
    "end": ["begin", "update s.a set v = 5 where n = 1", "END"],
    "savepoint": ["begin", "savepoint x", "update s.a set v = 5 where n = 1", "release x", "commit"],
    "rolled back to": ["begin", "update s.a set v = 5 where n = 1", "savepoint x", "update s.a set v = 6 where n = 1",
                       "rollback to x", "commit"],
    "chained": ["begin", "update s.a set v = 5 where n = 1", "commit and chain", "rollback"],
    "several": ["begin; update s.a set v = 5 where n = 1; commit; begin; update s.a set v = 6 where n = 1; rollback"],
    "commit within": ["begin", "update s.a set v = 5 where n = 1; commit; begin", "rollback"],
    "rollback behind a commit": ["begin", "update s.a set v = 5 where n = 1", "commit; begin; rollback"],
    "error behind a commit": ["begin; update s.a set v = 5 where n = 1; commit; select 1 / 0"],
    "rollback and more": ["begin", "rollback; update s.a set v = 5 where n = 1"],
    "prepared transaction": ["begin", "update s.a set v = 5 where n = 1", "prepare transaction 'i'",
                             "commit prepared 'i'"],
    "comment": ["/* select */ -- begin\n update s.a set v = 5 where n = 1"],
    "cte": ["with x as (update s.a set v = 5 where n = 1 returning n) select * from x"],
    "function": ["select s.writes(5)"],
    "function of a view": ["update s.source set v = 5", "select * from s.hidden"],
    "cursor": ["update s.source set v = 5", "begin", "declare c cursor for select * from s.hidden", "fetch c",
               "commit"],
    "held cursor": ["update s.source set v = 5", "begin", "declare c cursor with hold for select * from s.hidden",
                    "commit", "close c"],
    "explain": ["explain analyze update s.a set v = 5 where n = 1"],
    "do": ["do $$ begin update s.a set v = 5 where n = 1; end $$"],
    "procedure": ["call s.steps(5)"],
    "execute": ["prepare x as update s.a set v = 5 where n = 1", "execute x"],
    "delete and insert": ["delete from s.a where n = 1", "insert into s.a values (1, 5)"],
    "truncate": ["truncate s.a", "insert into s.a values (1, 5)"],
    "path": ["begin", "set local search_path = s", "update a set v = 5 where n = 1", "commit"],
    "role": ["begin", "set local role app", "update s.a set v = 5 where n = 1", "commit"],
    "new trigger": ["begin", "create function s.more() returns trigger language plpgsql as"
                    " 'begin update s.a set v = 5 where n = 1; return null; end'",
                    "create trigger more after update on s.b execute function s.more()", "commit",
                    "update s.b set v = 5"],
    "column": ["drop view if exists s.both", "alter table s.a alter v type int using 5"],
    "table in front": ["drop table s.a cascade", "create table s.a as select 1 as n, 5 as v"],
    "into": ["drop table s.a cascade", "select 1 as n, 5 as v into s.a"],
}
FAILING = {"error behind a commit", "procedure"}


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
@pytest.mark.parametrize("name", WRITES)
def test_each_way_to_write_counts(inside, cluster, name, known):
    """Also when the tables that the statements write are known from an earlier time."""
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        for _ in range(3 if known else 1):
            if known:
                cluster_reset(other)
            eventually(lambda: value(wire) == 0 and hits_on(daemon, wire, SQL))
            for sql in WRITES[name]:
                failed = [m for m in other.ask(w.query(sql)) if m.kind == "E"]
                assert not failed or name in FAILING, failed
            assert value(wire) == 5


RESET = ["drop trigger if exists more on s.b", "drop function if exists s.more()", "deallocate all",
         "drop view if exists s.both", "drop table s.a", "create table s.a (n int primary key, v int)",
         "insert into s.a values (1, 0), (2, 0)"]


def cluster_reset(wire):
    ask(wire, *RESET)


@pytest.mark.parametrize("sqls", [
    ["update s.a set v = 5 where n = 1"],
    ["begin", "update s.a set v = 5 where n = 1", "commit"],
    ["select 1", "update s.a set v = 5 where n = 1", "select 2"],
    ["create table s.more (n int)", "update s.a set v = 5 where n = 1"],
], ids=range(4))
def test_each_pipeline_counts(inside, sqls):
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        ask(other, "drop table if exists s.more")
        store(daemon, wire)
        assert not [m for m in other.ask(batch(*sqls)) if m.kind == "E"]
        assert value(wire) == 5


def test_several_pipelines_at_once(inside):
    """A Sync commits what is in front of it, whatever becomes of the next batch."""
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        for number in range(1, 30):
            other.send(batch(f"update s.a set v = {number} where n = 1") + batch("select 1 / 0")
                       + batch("rollback"))
            other.until(times=3)
            for _ in range(3):
                assert value(wire) == number


def test_a_named_statement_that_writes(inside):
    daemon = inside()
    named = w.bind(statement="u") + w.execute() + w.SYNC
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other, daemon.endpoint().wire() as third:
        other.ask(w.parse("u", "update s.a set v = v + 1 where n = 1") + w.SYNC)
        third.ask(w.parse("u", "update s.a set v = v + 1 where n = 1") + w.SYNC)
        for number in range(1, 40):
            (other if number % 2 else third).ask(named)
            for _ in range(2):
                assert value(wire) == number


def test_a_function_call_and_copy(inside, cluster):
    daemon = inside()
    oid = cluster.one("select 's.writes'::regproc::oid")
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        store(daemon, wire)
        other.ask(w.function_call(oid, b"7"))
        assert value(wire) == 7
        ask(other, "delete from s.a")
        eventually(lambda: not w.rows(wire.ask(w.query(SQL))) and hits_on(daemon, wire, SQL))
        other.send(w.query("copy s.a from stdin"))
        other.until("G")
        assert not w.rows(wire.ask(w.query(SQL)))
        other.send(w.copy_data(b"1\t8\n") + w.COPY_DONE)
        other.until()
        assert value(wire) == 8


@pytest.mark.parametrize("sql", ["update s.a set v = 5 where n = 1", "select 1; update s.a set v = 5 where n = 1",
                                 "select s.writes(5)"], ids=range(3))
@pytest.mark.parametrize("at", [0, 1], ids=["front", "behind"])
def test_a_statement_that_is_longer_than_a_chunk(inside, sql, at):
    daemon = inside()
    long = f"/* {'x' * 300_000} */"
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        store(daemon, wire)
        ask(other, f"{sql} {long}" if at else f"{long} {sql}")
        assert value(wire) == 5


@pytest.mark.parametrize("settings", [dict(pool="session"), dict(prepared_statements="off")], ids=["session", "unmapped"])
def test_writers_in_pools_of_other_kinds(inside, settings):
    daemon = inside(routes=[route(user="trusted", auth="trust", **settings)])
    with daemon.endpoint().wire() as wire, daemon.connect(user="trusted") as other:
        for number in range(1, 40):
            other.execute("update s.a set v = %s where n = 1", (number,), prepare=number > 20)
            for _ in range(3):
                assert value(wire) == number


# -- what does not count


@pytest.mark.parametrize("sqls", [
    ["begin", "update s.a set v = 5 where n = 1", "rollback"],
    ["begin", "update s.a set v = 5 where n = 1", "select 1 / 0", "commit"],
    ["update s.a set v = 1 / 0 where n = 1"],
    ["begin", "create table s.never (n int)", "rollback"],
    ["begin", "commit"],
    ["set work_mem = '5MB'", "show work_mem", "reset work_mem"],
], ids=range(6))
def test_what_is_rolled_back_keeps_the_answer(inside, sqls):
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        store(daemon, wire)
        for sql in sqls:
            other.ask(w.query(sql))
        assert hits_on(daemon, wire, SQL)


def test_an_open_transaction_keeps_the_answer(inside):
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        ask(other, "begin", "update s.a set v = 5 where n = 1")
        store(daemon, wire)
        assert value(wire) == 0
        ask(other, "commit")
        assert value(wire) == 5


def test_reads_and_writes_whose_tables_are_known_keep_the_answer(inside):
    daemon = inside()
    others = ["select count(*) from s.b", "insert into s.b select max(n) + 1, 5 from s.b", "delete from s.b where n = 5",
              "select 1", "listen x", "notify x", "unlisten x", "discard all", "select pg_advisory_xact_lock(1)",
              "update s.parent set id = id + 1"]
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        def kept(sql):
            ask(other, sql)
            return hits_on(daemon, wire, SQL)
        for sql in others:
            eventually(lambda sql=sql: kept(sql))


# -- closures


@pytest.mark.parametrize("read, write", [
    ("select count(*) from s.child where id > {k}", "update s.parent set id = id + 1"),
    ("select v from s.target", "update s.source set v = v + 1"),
    ("select a from s.both", "update s.a set v = v + 1"),
    ("select sum(v) from s.parts", "update s.parts_1 set v = v + 1"),
    ("select sum(v) from s.parts_1", "update s.parts set v = v + 1"),
    ("select sum(v) from s.parts_2", "update s.parts set n = 3 - n"),
    ("select sum(v) from s.elder", "update s.heir set v = v + 1"),
    ("select v from s.b", "update s.through set v = v + 1"),
], ids=["cascade", "trigger", "view", "partition", "partitioned", "moved", "inherited", "updatable view"])
def test_what_follows_from_a_write_counts(inside, cluster, read, write):
    cluster.sql("create table s.parts (n int, v int) partition by list (n);"
                "create table s.parts_1 partition of s.parts for values in (1);"
                "create table s.parts_2 partition of s.parts for values in (2); insert into s.parts values (1, 1);"
                "create table s.elder (v int); create table s.heir () inherits (s.elder);"
                "insert into s.heir values (1); create view s.through as select * from s.b;"
                "grant all on all tables in schema s to public")
    daemon = inside()
    read = read.format(k=0)
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        for _ in range(12):
            store(daemon, wire, read)
            ask(other, write)
            own = w.rows(other.ask(w.query("begin; " + read)))
            ask(other, "rollback")
            assert w.rows(wire.ask(w.query(read))) == own


def test_a_trigger_that_comes_while_a_write_waits_for_its_lock(inside, cluster):
    """The tables of the write were known before the trigger was; it is executed behind it."""
    cluster.sql("create function s.more() returns trigger language plpgsql as"
                " $$ begin update s.a set v = v + 1 where n = 1; return null; end $$; alter function s.more() owner to app")
    daemon = inside()
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other, daemon.endpoint().wire() as third:
        def known():
            ask(other, "update s.b set v = 5")
            return hits_on(daemon, wire, SQL)
        for number in range(8):
            eventually(known)
            before = value(wire)
            ask(third, "begin", "create trigger more after update on s.b execute function s.more()")
            other.send(w.query("update s.b set v = 5"))
            eventually(lambda: waiting(cluster))
            ask(third, "commit")
            found = [value(wire) for _ in range(20)]
            other.until()
            found.append(value(wire))
            assert found == sorted(found) and found[-1] == before + 1
            assert value(wire) == before + 1
            ask(third, "drop trigger more on s.b")


def waiting(cluster):
    return cluster.one("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")


# -- roles, settings


def test_roles_count_in_all_databases(inside, cluster):
    cluster.sql("drop role if exists strict_group; create role strict_group; alter role trusted createrole;"
                " revoke all on s.a from public; alter table s.a owner to postgres;"
                " grant select on s.a to strict_group; grant strict_group to app")
    daemon = inside(routes=[route(user="trusted", auth="trust")])
    with daemon.endpoint().wire() as wire, daemon.connect("session", user="trusted") as elsewhere:
        store(daemon, wire)
        elsewhere.execute("revoke strict_group from app")
        assert [m.sqlstate for m in wire.ask(w.query(SQL)) if m.kind == "E"] == ["42501"]
        elsewhere.execute("grant strict_group to app")
        store(daemon, wire)
        with elsewhere.transaction():
            elsewhere.execute("do $$ begin revoke strict_group from app; end $$")
        assert [m.sqlstate for m in wire.ask(w.query(SQL)) if m.kind == "E"] == ["42501"]


def test_a_statement_that_was_parsed_before_a_table_in_front_of_its_own_writes_its_own(inside, cluster):
    """PostgreSQL keeps its plan, so its text does not tell what it writes."""
    cluster.sql("drop schema if exists front cascade; create schema front authorization app;"
                " alter role app set search_path = front, s")
    try:
        daemon = inside(settings={"pool_size": 1})
        text = "update a set v = v + 1 where n = 1"
        with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other, \
                daemon.endpoint().wire() as third:
            other.ask(w.parse("one", text) + w.bind("", "one") + w.execute() + w.SYNC)
            third.ask(w.query("create table front.a (n int, v int)"))
            for _ in range(20):
                store(daemon, wire, SQL)
                other.ask(w.bind("", "one") + w.execute() + w.SYNC)
                assert value(wire) == cluster.one(SQL)
                third.ask(w.query(text))  # so that a verdict is made of it
            assert cluster.one(SQL) >= 20
    finally:
        cluster.sql("alter role app reset search_path; drop schema front cascade")


def test_another_search_path_of_a_role_counts_for_its_writes(inside, cluster):
    """A connection from before it writes other tables than one from behind it."""
    cluster.sql("drop schema if exists z cascade; create schema z; create table z.a (n int, v int);"
                " insert into z.a values (1, 0); alter schema z owner to app; alter table z.a owner to app;"
                " grant usage on schema z to public; grant all on z.a to public;"
                " alter role app set search_path = s; alter role trusted createrole")
    try:
        daemon = inside(settings={"pool_size": 3}, routes=[route(user="trusted", auth="trust")])
        cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
        with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other, \
                daemon.endpoint().wire() as holder, daemon.connect(user="trusted") as admin:
            for path, table in [("z", "z.a"), ("s", "s.a")] * 3:
                ask(holder, "begin")
                for _ in range(3):
                    other.ask(w.query("update a set v = 1"))
                admin.execute(f"alter role app set search_path = {path}")
                ask(holder, "update a set v = 2", "commit")
                killed = {pid for pid, _ in cluster.sql(
                    "select pid, pg_terminate_backend(pid) from pg_stat_activity"
                    " where usename = 'app' and state = 'idle' and random() < 0.5")}
                eventually(lambda: not killed & {row["remote_pid"] for row in daemon.console("SHOW SERVERS")})
                sql = f"select max(v) from {table}"
                for number in range(10, 30):
                    other.ask(w.query(f"update a set v = {number}"))
                    for name in ("s.a", "z.a"):
                        shown = w.rows(wire.ask(w.query(f"select max(v) from {name}")))
                        own = w.rows(holder.ask(w.query(f"begin; select max(v) from {name}")))
                        ask(holder, "rollback")
                        assert shown == own, (path, name, sql)
    finally:
        cluster.sql("alter role app reset search_path")


# -- what comes late, or is lost


@pytest.fixture
def alone(cluster_of):
    """A cluster whose only synchronous standby is away: commits with synchronous_commit wait for it."""
    made = cluster_of(synchronous_commit="local", wal_level="replica", max_wal_senders=5)
    made.sql(SCHEMA + VIEW + MORE)

    def away(name="away"):
        made.sql(f"alter system set synchronous_standby_names = '{name}'")
        made.sql("select pg_reload_conf()")
        eventually(lambda: made.one("show synchronous_standby_names") == name)

    made.away = away
    away()
    return made


SYNC = "begin; set local synchronous_commit = on; update s.a set v = 5 where n = 1; commit"
HANGS = "select pid from pg_stat_activity where wait_event = 'SyncRep'"


def hanging(cluster):
    return eventually(lambda: cluster.sql(HANGS))[0][0]


@pytest.mark.parametrize("end", ["cancel", "terminate", "release"])
@pytest.mark.parametrize("sqls", [[SYNC], SYNC.split("; "), ["set synchronous_commit = on", SYNC.split("; ")[2]]],
                         ids=["query", "transaction", "statement"])
def test_a_commit_that_waits_for_a_standby(inside, alone, end, sqls):
    """It is durable and not visible yet; nothing is given from memory meanwhile.  Cancelled, it is committed."""
    daemon = inside(server=alone)
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        store(daemon, wire)
        ask(other, *sqls[:-1])
        other.send(w.query(sqls[-1]))
        pid = hanging(alone)
        before = counted(daemon)["hits"]
        assert value(wire) == 0
        assert counted(daemon)["hits"] == before
        if end == "release":
            alone.away("")
        else:
            alone.sql(f"select pg_{end}_backend({pid})")
        eventually(lambda: alone.one("select v from s.a where n = 1") == 5)
        for _ in range(5):
            assert value(wire) == 5
        eventually(lambda: hits_on(daemon, wire, SQL))


def test_a_connection_that_is_lost_while_its_commit_waits(inside, alone, proxy):
    """Its backend goes on, and its commit becomes visible long after."""
    line = proxy("127.0.0.1", alone.port)
    daemon = inside(server=alone, services={"hosts": [f"127.0.0.1:{line.port}"]})
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        store(daemon, wire)
        store(daemon, wire, "select v from s.b")
        other.send(w.query(SYNC))
        hanging(alone)
        line.cut()
        other.rest()
        for _ in range(20):
            assert value(wire) == 0
            assert alone.sql(HANGS)
        before = counted(daemon)["hits"]
        assert value(wire) == 0
        assert counted(daemon)["hits"] == before
        alone.away("")
        eventually(lambda: alone.one("select v from s.a where n = 1") == 5)
        for _ in range(5):
            assert value(wire) == 5
        eventually(lambda: hits_on(daemon, wire, SQL))


def test_a_client_that_leaves_while_its_commit_waits(inside, alone):
    daemon = inside(server=alone)
    with daemon.endpoint().wire() as wire:
        store(daemon, wire)
        with daemon.endpoint().wire() as other:
            other.send(w.query(SYNC))
            hanging(alone)
        eventually(lambda: alone.one("select v from s.a where n = 1") == 5)  # the daemon has cancelled it
        for _ in range(5):
            assert value(wire) == 5


def test_a_restart_of_the_server(inside, alone):
    daemon = inside(server=alone)
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        for number in range(1, 4):
            store(daemon, wire)
            alone.away("")
            alone.stop()
            alone.start()
            eventually(lambda: not [m for m in other.ask(w.query("select 1")) if m.kind == "E"])
            ask(other, f"update s.a set v = {number} where n = 1")
            eventually(lambda: w.rows(wire.ask(w.query(SQL))) == [[str(number)]])


# -- the declaration


def test_a_reload_declares_nothing(trunkline, cluster):
    """A connection from before it is not looked at."""
    services = {"main": {"hosts": [f"127.0.0.1:{cluster.port}"], "tls": {"mode": "disable"}}}
    daemon = trunkline(server=cluster, services=services, routes=[route(cache=[{"mode": "ttl", "ttl": "1ms"}])])
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        ask(other, "begin", "update s.a set v = 5 where n = 1")
        config = dict(daemon.config, services={"main": dict(services["main"], writers="inside")},
                      routes=[route(cache=[{"mode": "strict"}])])
        daemon.reload(config)
        with daemon.endpoint().wire() as late:
            for _ in range(20):
                assert value(late) == 0
            ask(other, "commit")
            assert value(late) == 5 and value(wire) == 5
        assert counted(daemon)["hits"] == 0
        assert counted(daemon)["bypassed"] > 0


def test_a_declaration_that_was_taken_back_does_not_count_again(inside, cluster):
    daemon = inside()
    config = daemon.config
    main = {name: value for name, value in config["services"]["main"].items() if name != "writers"}
    daemon.reload(dict(config, services={"main": main}, routes=[route()]))
    with daemon.endpoint().wire() as other:
        ask(other, "begin", "update s.a set v = 5 where n = 1")
        daemon.reload(config)
        with daemon.endpoint().wire() as wire:
            for _ in range(5):
                assert value(wire) == 0
            ask(other, "commit")
            assert value(wire) == 5
    assert counted(daemon)["hits"] == 0


@pytest.mark.parametrize("services, problem", [
    ({"other": {"hosts": ["127.0.0.1:{port}"]}}, 'service "other" has the same server'),
    ({"main": {"hosts": [{"address": "127.0.0.1:{port}", "weight": 7}]}}, "one primary at a time"),
    ({"main": {"hosts": ["127.0.0.1:{port}", "127.0.0.1:1"]}}, "no probes"),
], ids=["shared", "weights", "several"])
def test_check_refuses(inside, cluster, services, problem):
    daemon = inside()
    config = json.loads(json.dumps(daemon.config))
    for name, settings in json.loads(json.dumps(services).replace("{port}", str(cluster.port))).items():
        config["services"].setdefault(name, {}).update(settings)
    daemon.write(config)
    checked = subprocess.run([binary(), "check", daemon.file], capture_output=True, text=True, timeout=PATIENCE,
                             check=False)
    assert checked.returncode == 1
    assert problem in checked.stderr, checked.stderr


def test_show_feed(inside):
    daemon = inside()
    with daemon.endpoint().wire() as other:
        ask(other, "update s.b set v = 1", "create table s.more (n int)")
    row = daemon.console("SHOW FEED")[0]
    assert [row["service"], row["database"], row["state"]] == ["main", None, "inside"]
    assert row["transactions"] >= 2 and row["changes"] >= 1 and row["unsettled"] == 0
