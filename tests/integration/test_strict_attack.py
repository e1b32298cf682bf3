"""Attacks on strict answers: ways in which a write, or a right, could go unnoticed."""
import copy
import os
import signal
import threading

import pytest
from support import wire as w
from support.patience import eventually
from support.postgres import Postgres
from support.strict import SCHEMA, SQL, client, lose_standby, prepare, strict_settings
from support.wire import Wire
from test_strict import cluster, counted, hits_on, strict, value  # noqa: F401 (fixtures)

# -- what no message tells


def test_rights_change_in_a_transaction_that_writes_elsewhere(strict, cluster):
    cluster.sql("revoke all on s.a, s.b from public; grant all on s.a to app")
    daemon = strict()
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        eventually(lambda: hits_on(daemon, wire, SQL))
        with direct.transaction():
            direct.execute("update s.b set v = v + 1")
            direct.execute("drop owned by app")
        assert [m.sqlstate for m in wire.ask(w.query(SQL)) if m.kind == "E"] == ["42501"]


def test_owners_change_by_themselves(strict, cluster):
    """No event trigger fires for REASSIGN OWNED: it counts as a transaction without changes."""
    cluster.sql("alter database app owner to postgres; revoke all on s.a from public;"
                " alter table s.a owner to app; alter table s.a enable row level security")
    daemon = strict()
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        eventually(lambda: hits_on(daemon, wire, SQL))  # an owner reads all rows
        direct.execute("reassign owned by app to postgres")
        assert [m.sqlstate for m in wire.ask(w.query(SQL)) if m.kind == "E"] == ["42501"]


def test_a_label_of_a_temporary_type_in_a_lasting_table(strict, cluster):
    """DDL on what is in pg_temp may change what other sessions read."""
    daemon = strict()
    sql = "select e from s.e"
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        for command in ("create type pg_temp.e as enum ('x')", "create table s.e (e pg_temp.e)",
                        "insert into s.e values ('x')", "grant all on s.e to public"):
            direct.execute(command)
        eventually(lambda: w.rows(wire.ask(w.query(sql))) == [["x"]] and hits_on(daemon, wire, sql))
        direct.execute("alter type pg_temp.e rename value 'x' to 'y'")
        assert w.rows(wire.ask(w.query(sql))) == [["y"]]


# -- names


@pytest.mark.parametrize("begin, commit", [
    ("begin; update s.a set v = 7 where n = 1", "commit"),
    ("begin; savepoint x; update s.a set v = 7 where n = 1; release x", "commit"),
    ("begin; update s.a set v = 7 where n = 1; prepare transaction 'q'", "commit prepared 'q'"),
], ids=["plain", "savepoint", "prepared"])
def test_a_writer_that_began_before_its_schema_was_renamed(strict, cluster, begin, commit):
    """The log tells its change with the schema's old name."""
    daemon = strict()
    cluster.sql("drop schema if exists z cascade")
    renamed = "select v from z.a where n = 1"
    with daemon.endpoint().wire() as wire, client(cluster) as writer, client(cluster) as direct:
        writer.execute(begin)
        direct.execute("alter schema s rename to z")
        eventually(lambda: value(wire, renamed) == 0 and hits_on(daemon, wire, renamed))
        writer.execute(commit)
        assert value(wire, renamed) == 7


def test_a_client_of_another_encoding_reads_a_table_behind_a_view(strict, cluster):
    """The catalog tells names in the client's encoding, the log in that of the database."""
    cluster.sql('create table s."é" (v int); insert into s."é" values (0); grant all on s."é" to public;'
                ' create view s.behind as select v from s."é"; grant all on s.behind to public')
    daemon = strict()
    with daemon.endpoint().wire(client_encoding="LATIN1") as wire, client(cluster) as direct:
        sql = "select v from s.behind"
        for number in range(1, 10):
            for _ in range(4):
                value(wire, sql)
            direct.execute(f'update s."é" set v = {number}')
            assert value(wire, sql) == number


# -- errors of the daemon's own


def test_a_server_that_does_not_say_what_it_is(strict, cluster):
    """The error of the question in front of the statement is not one of the client's."""
    daemon = strict()
    sql = "select v from s.a where n = $1"
    ask = w.parse("", sql, [23]) + w.bind(values=[b"1"]) + w.describe("P") + w.execute() + w.SYNC
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        direct.execute("revoke execute on function pg_control_system() from public")
        try:
            for _ in range(3):
                assert w.rows(wire.ask(ask)) == [["0"]]
                assert value(wire) == 0
        finally:
            direct.execute("grant execute on function pg_control_system() to public")


# -- other servers


def test_a_reload_gives_the_name_of_a_service_to_another_server(strict, cluster, template):
    """What the old server has answered is not the new one's."""
    other = Postgres(template, wal_level="logical", max_wal_senders=5, max_replication_slots=5)
    try:
        prepare(other)
        other.sql(SCHEMA + "update s.a set v = 5")
        daemon = strict()
        with daemon.endpoint().wire() as wire:
            eventually(lambda: hits_on(daemon, wire, SQL))
            config = copy.deepcopy(daemon.config)
            config["services"]["main"]["hosts"] = [f"127.0.0.1:{other.port}"]
            daemon.reload(config)
            eventually(lambda: w.rows(wire.ask(w.query("show port"))) == [[str(other.port)]])
            for _ in range(10):
                assert value(wire) == 5
            eventually(lambda: hits_on(daemon, wire, SQL))
            assert value(wire) == 5
    finally:
        other.remove()


# -- between the question of the catalog and the execution

ASKED = ("select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()"
         " and query like '%WITH RECURSIVE ask%'")


@pytest.fixture
def slow(cluster):
    """A condition whose question takes the catalog a tenth of a second."""
    columns = ", ".join(f"a.v + {i} as c{i}" for i in range(1500))
    cluster.sql(f"create view s.slow as select {columns} from s.a; grant all on s.slow to public")
    return "(select count(c1) from s.slow) >= 0"


def test_a_partition_that_comes_while_the_catalog_is_asked(strict, cluster, slow):
    """The verdict does not name its table, and the generations were captured behind the DDL."""
    cluster.sql("create table s.p (n int, v int) partition by list (n);"
                " create table s.p1 partition of s.p for values in (1); create table s.p2 (n int, v int);"
                " insert into s.p2 values (2, 0); grant all on all tables in schema s to public")
    daemon = strict()
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        for number in range(8):
            sql = f"select coalesce(sum(v), 0) from s.p where n <> -{number} and {slow}"
            asking = threading.Thread(target=value, args=(wire, sql))
            asking.start()
            while asking.is_alive() and not direct.execute(ASKED).fetchone()[0]:
                pass
            threading.Event().wait(number / 100)  # the question has its snapshot
            direct.execute("alter table s.p attach partition s.p2 for values in (2)")
            asking.join()
            for _ in range(3):
                before = value(wire, sql)
            direct.execute("update s.p2 set v = v + 1")
            assert value(wire, sql) == before + 1
            direct.execute("alter table s.p detach partition s.p2")


def test_the_catalog_is_asked_with_another_search_path_than_the_statement(strict, cluster, slow):
    """A role's new search_path is that of new connections alone: the verdict may name other tables."""
    cluster.sql("drop schema if exists z cascade; create schema z; create table z.a (n int, v int);"
                " insert into z.a values (1, 0); grant usage on schema z to public;"
                " grant all on z.a to public; alter role app set search_path = s")
    sql = f"select v from a where n = 1 and {slow}"
    try:
        daemon = strict(settings={"pool_size": 2})
        cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
        with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as old, \
                daemon.endpoint().wire() as new, client(cluster) as direct:
            eventually(lambda: not old.ask(w.query("rollback; begin"))[0].kind == "E")
            kept = w.rows(old.ask(w.query("select pg_backend_pid()")))[0][0]
            direct.execute("alter role app set search_path = z")
            others = f"from pg_stat_activity where usename = 'app' and pid <> {kept}"
            direct.execute(f"select pg_terminate_backend(pid) {others}")
            eventually(lambda: direct.execute(f"select count(*) {others}").fetchone()[0] == 0)
            eventually(lambda: w.rows(new.ask(w.query("rollback; begin; show search_path"))) == [["z"]])
            old.ask(w.query("commit"))
            asking = threading.Thread(target=value, args=(wire, sql))
            asking.start()
            while asking.is_alive() and not direct.execute(ASKED).fetchone()[0]:
                pass
            old.ask(w.query("begin"))  # gets the server that was asked
            new.ask(w.query("commit"))
            asking.join()
            for number in range(1, 6):
                for _ in range(3):
                    value(wire, sql)
                direct.execute(f"update z.a set v = {number}")
                assert value(wire, sql) == number
    finally:
        cluster.sql("alter role app reset search_path")


# -- reloads


def test_a_reload_while_a_statement_asks_whether_its_answer_is_current(trunkline, cluster):
    """The rule of the statement is one of the configuration before the reload, which is freed."""
    cluster.sql("create or replace function public.gated(k int) returns int language plpgsql as"
                " $$ begin perform pg_advisory_xact_lock_shared(4243); return k; end $$")
    settings = strict_settings(cluster, {}, {"probe_timeout": "10s"}, tag="kept")
    daemon = trunkline(**{**settings, "relays": 1, "cache_functions": ["public.gated"]})
    sql = "select v, gated(1) from s.a where n = 1"
    first, second = daemon.endpoint().wire(), daemon.endpoint().wire()

    def executions():
        return cluster.one("select count(*) from pg_stat_activity where wait_event = 'advisory'")

    with client(cluster) as direct:
        eventually(lambda: w.rows(first.ask(w.query(sql))) == [["0", "1"]] and hits_on(daemon, first, sql))
        daemon.reload({**daemon.config, "log": {"level": "info"}})  # the feed keeps its configuration
        eventually(lambda: hits_on(daemon, first, sql))
        probe = cluster.one("select pid from pg_stat_activity where application_name = 'trunkline probe'")
        direct.execute("select pg_advisory_lock(4243)")
        os.kill(probe, signal.SIGSTOP)
        try:
            tickets = daemon.console("SHOW FEED")[0]["tickets"]
            first.send(w.query(sql))
            eventually(lambda: daemon.console("SHOW FEED")[0]["tickets"] > tickets)
            direct.execute("update s.a set v = 1 where n = 1")
            daemon.reload({**daemon.config, "log": {"level": "debug"}})
        finally:
            os.kill(probe, signal.SIGCONT)
        eventually(lambda: executions() == 1)
        second.send(w.query(sql))
        eventually(lambda: executions() == 2 or counted(daemon)["joined"] == 1)
        first.socket.close()
        eventually(lambda: executions() == 1 and daemon.console("SHOW FLIGHTS")[0]["waiters"] == 1)
        direct.execute("select pg_advisory_unlock_all()")
        assert w.rows(second.until()) == [["1", "1"]]
        eventually(lambda: w.rows(second.ask(w.query(sql))) == [["1", "1"]] and hits_on(daemon, second, sql))
        assert {row["tag"] for row in daemon.console("SHOW CACHE")} == {"kept"}
        rule = counted(daemon)  # nothing was counted in the memory of the old one
        assert rule["executed"] > 0 and rule["stored"] > 0, rule
    second.socket.close()


# -- settings that no server tells


def test_nobody_joins_an_execution_with_another_search_path_than_the_catalog_was_asked_with(trunkline, cluster):
    """Servers of one pool differ after ALTER ROLE: the text reads another table than was captured."""
    cluster.sql("create schema t; create table t.a (n int primary key, v int); insert into t.a values (1, 0);"
                " grant usage on schema t to public; grant all on t.a to public;"
                " create or replace function public.gated(k int) returns int language plpgsql as"
                " $$ begin perform pg_advisory_xact_lock_shared(4243); return k; end $$;"
                " alter role app set search_path = s, public")
    settings = strict_settings(cluster, {"pool_size": 3}, {"probe_timeout": "5s"})
    daemon = trunkline(**{**settings, "relays": 1, "cache_functions": ["public.gated"]})
    sql = "select v, gated(1) from a where n = 1"
    busy = "select count(*) from pg_stat_activity where wait_event = 'advisory' and query = %s"
    clients = [daemon.endpoint().wire() for _ in range(3)]
    holder, first, second = clients
    try:
        with client(cluster) as direct:
            eventually(lambda: w.rows(first.ask(w.query(sql))) == [["0", "1"]] and hits_on(daemon, first, sql))
            direct.execute("alter role app set search_path = t, public")
            eventually(lambda: w.rows(first.ask(w.query(sql))) == [["0", "1"]] and hits_on(daemon, first, sql))
            assert w.rows(holder.ask(w.query("begin; select current_schema()"))) == [["s"]]
            direct.execute("update s.a set v = 1 where n = 1; select pg_advisory_lock(4243)")
            first.send(w.query(sql))
            eventually(lambda: cluster.one(busy, sql) == 1)
            direct.execute("update t.a set v = 5 where n = 1")
            second.send(w.query(sql))
            eventually(lambda: counted(daemon)["joined"] == 1 or cluster.one(busy, sql) == 2)
            direct.execute("select pg_advisory_unlock_all()")
            first.until()
            assert w.rows(second.until()) == [["5", "1"]]
    finally:
        cluster.sql("alter role app reset search_path")
        for one in clients:
            one.socket.close()


# -- when a ticket is ready


def test_a_request_is_not_answered_by_an_earlier_question_at_the_same_end_of_the_log(trunkline, template):
    """A commit that waits for a standby is in the log before it is visible: two questions may find the same
    end of the log, and only the later one sees it."""
    made = Postgres(template, wal_level="logical", max_wal_senders=5, max_replication_slots=5,
                    synchronous_commit="local", wal_writer_delay="10s", autovacuum="off")
    try:
        prepare(made)
        made.sql(SCHEMA + "create table s.big (n int primary key, v int);"
                 " insert into s.big select i, 0 from generate_series(1, 30000) i;"
                 " grant all on s.big to public")
        lose_standby(made)
        settings = strict_settings(made, {"pool_size": 5}, {"probe_timeout": "10s"})
        daemon = trunkline(**{**settings, "relays": 1})
        sql = "select v from s.big where n = 1"

        def ask(wire, text):
            """Its question to the feed has been answered, but the feed has not told all."""
            before = daemon.console("SHOW FEED")[0]
            wire.send(w.query(text))
            eventually(lambda: daemon.console("SHOW FEED")[0]["tickets"] > before["tickets"])
            threading.Event().wait(0.2)

        with daemon.endpoint().wire() as first, daemon.endpoint().wire() as second, client(made) as direct, \
                Wire(str(made.folder), made.port) as late:
            eventually(lambda: hits_on(daemon, first, SQL) and hits_on(daemon, first, sql))
            late.startup("postgres", "app")
            made.sql("checkpoint")
            sender = made.one("select pid from pg_stat_activity where application_name = 'trunkline feed'")
            os.kill(sender, signal.SIGSTOP)
            try:
                direct.execute("update s.b set v = v + 1")
                ask(first, SQL)  # so that the feed knows a snapshot of which all was told
                os.kill(sender, signal.SIGCONT)
                first.until()
                os.kill(sender, signal.SIGSTOP)
                direct.execute("update s.b set v = v + 1")
                late.send(w.query("set synchronous_commit = on; update s.big set v = 7"))
                eventually(lambda: made.sql("select 1 from pg_stat_activity where wait_event = 'SyncRep'"))
                ask(first, SQL)
                direct.execute("select pg_cancel_backend(%s)", [late.pid])
                late.until("Z")
                ask(second, sql)
            finally:
                os.kill(sender, signal.SIGCONT)
            assert w.rows(second.until()) == [["7"]]
            assert w.rows(first.until()) == [["0"]]
    finally:
        made.remove()


# -- statements that were described before


@pytest.mark.parametrize("name", ["p", ""], ids=["named", "unnamed"])
@pytest.mark.parametrize("change", ["drop view s.both; alter table s.a alter v type text", "alter table s.a add w int"],
                         ids=["type", "column"])
def test_a_client_gets_no_rows_of_other_columns_than_it_was_told(strict, cluster, name, change):
    """Its own execution would fail so, and a driver would read the bytes by the old types."""
    daemon = strict()
    text = "select * from s.a where n = 1"
    prepare_it = w.parse(name, text) + w.describe("S", name) + w.SYNC
    execute = w.bind("", name) + w.execute() + w.SYNC
    with daemon.endpoint().wire() as old, daemon.endpoint().wire() as new, client(cluster) as direct:
        old.ask(prepare_it)
        for _ in range(4):
            assert len(w.rows(old.ask(execute))[0]) == 2
        direct.execute(change)
        new.ask(prepare_it)
        before = counted(daemon)["hits"]
        eventually(lambda: w.rows(new.ask(execute)) and counted(daemon)["hits"] > before + 1)
        for _ in range(3):
            assert [m.sqlstate for m in old.ask(execute) if m.kind in "ED"] == ["0A000"]
            assert len(w.rows(new.ask(execute))) == 1


# -- plans that were made before


@pytest.mark.parametrize("late", [False, True], ids=["told", "late"])
def test_no_plan_from_before_a_table_in_front_is_used(strict, cluster, late):
    """PostgreSQL keeps a plan although its text names another table now; the client has parsed it anew."""
    cluster.sql("create schema t; grant usage on schema t to public")
    daemon = strict(service_settings={"probe_timeout": "300ms"})
    sql = "select v from a where n = $1"

    def ask(wire, number):
        return w.rows(wire.ask(w.bind("", "p", [str(number)]), w.execute(), w.SYNC))

    with daemon.endpoint().wire(search_path="t, s") as old, daemon.endpoint().wire(search_path="t, s") as new, \
            client(cluster) as direct:
        old.ask(w.parse("p", sql), w.SYNC)
        eventually(lambda: ask(old, 1) == [["0"]] and daemon.console("SHOW FEED")[0]["unsettled"] == 0)
        before = counted(daemon)["stored"]
        for number in range(2, 12):
            assert ask(old, number) == [["0"]]
        assert counted(daemon)["stored"] > before  # by a plan that its session keeps
        sender = cluster.one("select pid from pg_stat_activity where application_name = 'trunkline feed'")
        if late:
            os.kill(sender, signal.SIGSTOP)
        try:
            direct.execute("create table t.a (n int, v int); grant all on t.a to public;"
                           " insert into t.a select i, 7 from generate_series(1, 100) i")
            new.ask(w.parse("p", sql), w.SYNC)
            for number in range(21, 31):
                assert ask(new, number) == [["7"]]
                eventually(lambda: late or daemon.console("SHOW FEED")[0]["unsettled"] == 0)
        finally:
            if late:
                os.kill(sender, signal.SIGCONT)
