"""Reads that go to replicas: which do, what their client sees there, and what happens if they fail."""
import contextlib
import threading

import psycopg
import pytest
from support import wire as w
from support.patience import eventually
from support.replication import Replication
from support.trunkline import configuration, route

WHERE = "select current_setting('port')::int"
TABLE = "create table seen (client int, number int)"


def split(servers, **settings):
    """One route of the servers that splits its reads; `current_setting` counts as a read."""
    hosts = [f"127.0.0.1:{one.port}" for one in servers]
    values = {"reads": "replica", "read_functions": ["current_setting", "pg_sleep"], **settings}
    return {"services": {"main": {"hosts": hosts, "tls": {"mode": "disable"}}},
            "routes": [route(**values)]}


@pytest.fixture(scope="module")
def servers(template):
    cluster = Replication(template, replicas=2)
    cluster.primary.sql(TABLE)
    cluster.primary.sql("grant all on seen to app")
    cluster.primary.sql("create sequence numbers; grant all on sequence numbers to app")
    cluster.primary.sql("create function hidden() returns bigint language sql volatile"
                        " as $$ select nextval('numbers') $$")
    cluster.primary.sql("create view sly as select hidden() as number; grant all on sly to app")
    cluster.caught_up()
    yield cluster
    cluster.remove()


def ports(cluster):
    return {one.port for one in cluster.replicas}


def away(client, cluster):
    """Reads until a read runs on a replica: its pool has been made by then."""
    return eventually(lambda: client.execute(WHERE).fetchone()[0] in ports(cluster))


def counts(daemon):
    """The numbers of SHOW READS, over all relays."""
    rows = daemon.console("SHOW READS")
    return {name: sum(int(row[name]) for row in rows)
            for name in ("replica", "behind", "again", "refused")}


def connect(daemon, **options):
    return psycopg.connect(daemon.endpoint().conninfo(), autocommit=True, **options)


SIMPLE = {"cursor_factory": psycopg.ClientCursor}
PREPARED = {"prepare_threshold": 0}


@pytest.mark.parametrize("how", [{}, SIMPLE, PREPARED], ids=["unnamed", "simple", "prepared"])
def test_reads_go_to_replicas_and_all_else_to_the_primary(servers, trunkline, how):
    daemon = trunkline(**split(servers.servers))
    with connect(daemon, **how) as client:
        away(client, servers)
        for number in range(10):
            assert client.execute(WHERE).fetchone()[0] in ports(servers)
            client.execute("insert into seen values (0, %s)", [number])
            port, same = client.execute("select current_setting('port')::int, %s::text",
                                        ["it's"]).fetchone()
            assert same == "it's" and port in ports(servers) | {servers.primary.port}
            eventually(lambda: client.execute(WHERE).fetchone()[0] in ports(servers))
        with client.transaction():
            assert client.execute(WHERE).fetchone()[0] == servers.primary.port
        client.execute("select nextval('numbers')")
        client.execute("create temporary table t (a int)")
        assert client.execute(WHERE).fetchone()[0] == servers.primary.port  # pinned
    assert counts(daemon)["replica"] > 10


def test_nothing_is_split_without_the_setting(servers, trunkline):
    daemon = trunkline(**split(servers.servers, reads="primary"))
    with connect(daemon) as client:
        assert {client.execute(WHERE).fetchone()[0] for _ in range(20)} == {servers.primary.port}
    assert daemon.console("SHOW READS") == []


def test_a_transaction_that_begins_read_only_stays_on_one_replica(servers, trunkline):
    daemon = trunkline(**split(servers.servers))
    with connect(daemon) as client:
        away(client, servers)
        for _ in range(5):
            eventually(lambda: client.execute(WHERE).fetchone()[0] in ports(servers))
            client.execute("begin isolation level repeatable read, read only")
            where = {client.execute(WHERE).fetchone()[0] for _ in range(3)}
            client.execute("select hidden_no_more from (values (1)) as v (hidden_no_more)")
            client.execute("commit")
            assert len(where) == 1 and where <= ports(servers)
            client.execute("insert into seen values (0, 0)")


def test_state_that_would_keep_a_client_on_a_replica_is_refused(servers, trunkline):
    daemon = trunkline(**split(servers.servers))
    with connect(daemon) as client:
        away(client, servers)
        client.execute("begin read only")
        assert client.execute(WHERE).fetchone()[0] in ports(servers)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            client.execute("select pg_advisory_lock(1)")
        client.execute("rollback")
        client.execute("select pg_advisory_lock(1)")
        assert client.execute(WHERE).fetchone()[0] == servers.primary.port
        assert client.execute("select pg_advisory_unlock(1)").fetchone()[0] is True


@pytest.mark.parametrize("how", [{}, SIMPLE, PREPARED], ids=["unnamed", "simple", "prepared"])
def test_a_read_that_writes_runs_on_the_primary_unseen_and_is_remembered(servers, trunkline, how):
    daemon = trunkline(**split(servers.servers))
    with connect(daemon, **how) as client:
        away(client, servers)
        numbers = []

        def fails_at_a_replica():
            numbers.append(client.execute("select number from sly").fetchone()[0])
            return counts(daemon)["again"] == 1

        # A replica that has not caught up is not asked.
        eventually(fails_at_a_replica)
        before = numbers[-1]
        assert numbers == list(range(numbers[0], before + 1))
        eventually(lambda: client.execute(WHERE).fetchone()[0] in ports(servers))
        assert client.execute("select  number from sly").fetchone()[0] == before + 1
        assert counts(daemon)["again"] == 1 and counts(daemon)["refused"] == 1


def test_an_error_of_the_read_itself_is_the_clients(servers, trunkline):
    daemon = trunkline(**split(servers.servers))
    with connect(daemon) as client:
        away(client, servers)
        with pytest.raises(psycopg.errors.DivisionByZero):
            client.execute("select 1 / (number - number) from (values (1)) as v (number)")
        with pytest.raises(psycopg.errors.UndefinedTable):
            client.execute("select * from nowhere")
        assert client.execute("select 1").fetchone() == (1,)


def test_what_is_sent_behind_a_read_waits_for_it(servers, trunkline):
    """Of three queries in one send, the reads are answered by replicas, the write by the primary."""
    daemon = trunkline(**split(servers.servers))
    with connect(daemon) as client:
        away(client, servers)
        for _ in range(20):
            with client.pipeline():
                cursors = [client.execute(text) for text in (
                    WHERE, "insert into seen values (1, 1) returning current_setting('port')::int",
                    WHERE)]
            first, write, last = [cursor.fetchone()[0] for cursor in cursors]
            assert write == servers.primary.port
            assert {first, last} <= ports(servers) | {servers.primary.port}


def read_once(client, number):
    """Whether the read was answered.  False: PostgreSQL has ended between its row and ReadyForQuery."""
    client.send(w.query(f"select pg_sleep(0.005), {number}"))
    answers = []
    while not answers or answers[-1].kind not in "ZE":
        answers.append(client.receive())
    assert w.rows(answers) == [["", str(number)]], answers
    return answers[-1].kind == "Z"


def test_a_replica_that_is_gone_costs_no_error(servers, trunkline):
    """Servers of the pool for reads are ended while they work and while they idle."""
    daemon = trunkline(**split(servers.servers, reads="prefer-replica"))
    with connect(daemon) as client:
        away(client, servers)
        done = threading.Event()

        def end():
            while not done.wait(0.02):
                for replica in servers.replicas:
                    replica.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                                " where usename = 'app'")

        ender = threading.Thread(target=end)
        ender.start()
        try:
            with contextlib.ExitStack() as stack:
                wire = stack.enter_context(daemon.endpoint().wire())
                for number in range(100):
                    if not read_once(wire, number):
                        wire = stack.enter_context(daemon.endpoint().wire())
        finally:
            done.set()
            ender.join()


def test_a_client_may_leave_while_its_read_runs(servers, trunkline):
    """The read is cancelled at the replica; nothing is sent again for a client that is gone."""
    daemon = trunkline(**split(servers.servers))
    for _ in range(5):
        client = connect(daemon)
        away(client, servers)
        client.pgconn.send_query(b"select pg_sleep(60)")
        client.pgconn.flush()
        eventually(lambda: any(
            replica.sql("select 1 from pg_stat_activity where query = 'select pg_sleep(60)'"
                        " and state = 'active'") for replica in servers.replicas))
        client.close()
    eventually(lambda: not any(
        replica.sql("select 1 from pg_stat_activity where query = 'select pg_sleep(60)'"
                    " and state = 'active'") for replica in servers.replicas))
    with connect(daemon) as client:
        assert client.execute("select 1").fetchone() == (1,)


def test_hints_decide_only_if_the_route_says_so(servers, trunkline):
    hinted = trunkline(**split(servers.servers, read_hints=True, read_functions=[]))
    with connect(hinted) as client:
        eventually(lambda: client.execute("/* trunkline: replica */ " + WHERE).fetchone()[0]
                   in ports(servers))
        assert client.execute(WHERE).fetchone()[0] == servers.primary.port
    plain = trunkline(**split(servers.servers, read_functions=[]))
    with connect(plain) as client:
        client.execute("select 1")
        assert client.execute("/* trunkline: replica */ " + WHERE).fetchone()[0] == \
            servers.primary.port


# --- read your writes

def own_reads(daemon, client_number, rounds, failures, how):
    """Writes and at once reads its own rows."""
    try:
        with connect(daemon, **how) as client:
            for number in range(rounds):
                client.execute("insert into seen values (%s, %s)", [client_number, number])
                found = client.execute("select max(number), count(*) from seen where client = %s",
                                       [client_number]).fetchone()
                if found != (number, number + 1):
                    failures.append((client_number, number, found))
    except Exception as error:  # noqa: BLE001
        failures.append((client_number, repr(error)))


@pytest.fixture
def late(replication):
    """A primary and a replica that is 500 ms behind."""
    cluster = replication(replicas=0)
    cluster.primary.sql(TABLE)
    cluster.primary.sql("grant all on seen to app")
    cluster.add_replica(delay=500)
    cluster.primary.sql("insert into seen values (-1, -1)")
    cluster.caught_up()
    return cluster


@pytest.mark.parametrize("wait", ["off", "30ms"])
def test_clients_always_read_their_own_writes(late, trunkline, wait):
    daemon = trunkline(**split(late.servers, read_wait=wait))
    with connect(daemon) as client:
        away(client, late)
    failures = []
    clients = [threading.Thread(target=own_reads, args=(
        daemon, number, 12, failures, [{}, SIMPLE, PREPARED][number % 3]))
        for number in range(1, 33)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not failures, failures[:5]
    before = counts(daemon)
    assert before["behind"] > 100, before
    with connect(daemon) as client:  # and once the replica has caught up, reads go there
        client.execute("insert into seen values (0, 0)")
        late.caught_up()
        away(client, late)
        assert client.execute("select count(*) from seen where client = 0").fetchone()[0] == 1
    after = counts(daemon)
    print(f"read_wait {wait}: {after}")
    assert after["replica"] > before["replica"]


def test_eventual_reads_may_be_late(late, trunkline):
    daemon = trunkline(**split(late.servers, consistency="eventual"))
    with connect(daemon) as client:
        away(client, late)
        client.execute("insert into seen values (77, 1)")
        assert client.execute("select count(*) from seen where client = 77").fetchone()[0] == 0
        eventually(lambda: client.execute("select count(*) from seen where client = 77")
                   .fetchone()[0] == 1)


def test_a_clients_reads_never_go_back_in_time(replication, trunkline):
    """Two replicas, one of them late; others write; each client's counts only grow."""
    cluster = replication(replicas=1)
    cluster.primary.sql(TABLE)
    cluster.primary.sql("grant all on seen to app")
    cluster.add_replica(delay=300)
    cluster.primary.sql("insert into seen values (-1, -1)")
    cluster.caught_up()
    daemon = trunkline(**split(cluster.servers, pool_size=8, read_pool_size=4))
    stop, failures, where = threading.Event(), [], set()

    def write():
        with connect(daemon) as client:
            number = 0
            while not stop.is_set():
                number += 1
                client.execute("insert into seen values (1, %s)", [number])

    def read():
        seen = 0
        with connect(daemon) as client:
            for _ in range(150):
                found, port = client.execute(
                    "select coalesce(max(number), 0), current_setting('port')::int"
                    " from seen where client = 1").fetchone()
                where.add(port)
                if found < seen:
                    failures.append((seen, found, port))
                seen = found

    writer = threading.Thread(target=write)
    readers = [threading.Thread(target=read) for _ in range(6)]
    for thread in (writer, *readers):
        thread.start()
    for thread in readers:
        thread.join()
    stop.set()
    writer.join()
    assert not failures, failures[:5]
    assert where & ports(cluster), where


# --- facts about PostgreSQL

def test_the_written_log_trails_an_asynchronous_commit(servers):
    """So own writes are asked for by pg_current_wal_insert_lsn()."""
    def trails():
        return servers.primary.one("""
            with done as materialized (select pg_current_wal_lsn() as written,
                                              pg_current_wal_insert_lsn() as inserted)
            select written < inserted from done""")

    with psycopg.connect(host=str(servers.primary.folder), port=servers.primary.port,
                         user="postgres", dbname="app", autocommit=True) as client:
        client.execute("set synchronous_commit = off")

        def after_a_commit():
            client.execute("insert into seen values (-1, -1)")
            return trails()

        eventually(after_a_commit)
