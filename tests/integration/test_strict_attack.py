"""Attacks on strict answers: ways in which a write, or a right, could go unnoticed."""
import copy
import threading

import pytest
from support import wire as w
from support.patience import eventually
from support.postgres import Postgres
from test_feed import client, prepare
from test_strict import SCHEMA, SQL, cluster, hits_on, strict, value  # noqa: F401 (fixtures)

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
