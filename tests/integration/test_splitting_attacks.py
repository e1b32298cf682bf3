"""Attempts to break what docs/splitting.md promises."""
import threading

import psycopg
import pytest
from support.patience import eventually
from support.proxy import Proxy
from support.replication import Replication
from test_splitting import SIMPLE, WHERE, away, connect, counts, ports, split


@pytest.fixture(scope="module")
def servers(template):
    cluster = Replication(template, replicas=1)
    primary = cluster.primary
    primary.sql("create table written (a int)")
    primary.sql("create function writes() returns int language plpgsql security definer as"
                " $$ begin insert into written values (1); return 1; end $$")
    primary.sql("create view sly as select writes() as number; grant all on sly, written to app")
    primary.sql("create sequence numbers; grant all on sequence numbers to app")
    cluster.caught_up()
    yield cluster
    cluster.remove()


@pytest.mark.parametrize("how", [{}, SIMPLE], ids=["extended", "simple"])
def test_a_hidden_write_on_the_primary_is_not_run_twice(servers, trunkline, how):
    """The pool for reads uses the primary; its connection is lost behind the COMMIT."""
    primary = servers.primary
    with Proxy("127.0.0.1", primary.port) as proxy:
        config = split([primary], reads="prefer-replica", read_wait="off")
        config["services"]["main"]["hosts"] = [f"127.0.0.1:{proxy.port}"]
        daemon = trunkline(**config)
        with connect(daemon, **how) as client:
            eventually(lambda: client.execute("select 1") and counts(daemon)["replica"] > 0)
            before = primary.one("select count(*) from written")
            proxy.stuck("down")
            outcome = []

            def run():
                try:
                    outcome.append(client.execute("select number from sly").fetchone())
                except psycopg.Error as error:
                    outcome.append(error)

            thread = threading.Thread(target=run)
            thread.start()
            eventually(lambda: primary.one("select count(*) from written") == before + 1)
            proxy.cut()
            proxy.flow()
            thread.join()
            assert isinstance(outcome[0], psycopg.OperationalError), outcome
            assert primary.one("select count(*) from written") == before + 1


def test_a_sequence_is_read_on_the_primary(servers, trunkline):
    """Its log is up to 32 values ahead, so a standby tells values that nobody got."""
    servers.primary.sql("select setval('numbers', 1)")
    value = servers.primary.one("select nextval('numbers')")
    servers.caught_up()
    assert servers.replicas[0].one("select last_value from numbers") > value
    daemon = trunkline(**split(servers.servers))
    with connect(daemon) as client:
        away(client, servers)
        for _ in range(5):
            assert client.execute("select last_value from numbers").fetchone()[0] == value
            eventually(lambda: client.execute(WHERE).fetchone()[0] in ports(servers))


@pytest.mark.parametrize("how", [{}, SIMPLE], ids=["extended", "simple"])
def test_a_read_whose_rows_have_begun_is_not_run_again(servers, trunkline, how):
    """The replica's session ends after rows have reached the client: it gets an error, no row twice."""
    daemon = trunkline(**split(servers.servers, reads="prefer-replica"))
    replica = servers.replicas[0]
    with connect(daemon, **how) as client:
        away(client, servers)
        rows = []
        with pytest.raises(psycopg.OperationalError):
            text = ("select n, repeat('x', 2000), pg_sleep(case when n > 100 then 0.1 else 0 end)"
                    " from generate_series(1, 1000) n")
            for row in client.cursor().stream(text):
                rows.append(row[0])
                if row[0] == 50:
                    replica.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                                " where usename = 'app' and state = 'active'")
        assert rows == list(range(1, len(rows) + 1)) and 50 <= len(rows) < 1000
    assert counts(daemon)["again"] == 0


def test_a_serializable_client_stays_on_the_primary(servers, trunkline):
    """A standby refuses each statement at that level, in a READ ONLY transaction, too."""
    daemon = trunkline(**split(servers.servers))
    with connect(daemon) as other:
        away(other, servers)
        before = counts(daemon)
        with connect(daemon, options="-c default_transaction_isolation=serializable") as client:
            for _ in range(3):
                assert client.execute(WHERE).fetchone()[0] == servers.primary.port
                client.execute("begin read only")
                assert client.execute(WHERE).fetchone()[0] == servers.primary.port
                client.execute("commit")
        assert counts(daemon) == before


def test_a_batch_of_a_read_and_a_write_runs_on_the_primary(servers, trunkline):
    daemon = trunkline(**split(servers.servers))
    with connect(daemon) as client:
        away(client, servers)
        for _ in range(5):
            eventually(lambda: client.execute(WHERE).fetchone()[0] in ports(servers))
            before = counts(daemon)
            with client.pipeline():
                read = client.execute(WHERE)
                write = client.execute("insert into written values (2) returning a")
            assert read.fetchone()[0] == servers.primary.port and write.fetchone()[0] == 2
            assert counts(daemon) == before


def test_what_a_read_saw_on_one_replica_holds_on_the_next(replication, trunkline):
    """One replica stops replaying, the other one shows a row of somebody else and goes away."""
    cluster = replication(replicas=2)
    cluster.primary.sql("create table written (a int); grant all on written to app")
    cluster.caught_up()
    text = "select current_setting('port')::int, count(*) from written"
    daemon = trunkline(**split(cluster.servers, read_wait="off"))
    with connect(daemon) as client:
        away(client, cluster)
        here = client.execute(WHERE).fetchone()[0]  # the pool has this one server
        ahead, stuck = sorted(cluster.replicas, key=lambda one: one.port != here)
        stuck.sql("select pg_wal_replay_pause()")
        eventually(lambda: stuck.one("select pg_get_wal_replay_pause_state()") == "paused")
        cluster.primary.sql("insert into written values (1)")
        eventually(lambda: ahead.one("select count(*) from written") == 1)
        eventually(lambda: client.execute(text).fetchone() == (ahead.port, 1))
        ahead.kill()
        before = counts(daemon)["behind"]
        assert client.execute(text).fetchone() == (cluster.primary.port, 1)
        eventually(lambda: client.execute(text).fetchone() == (cluster.primary.port, 1)
                   and counts(daemon)["behind"] > before)
        stuck.sql("select pg_wal_replay_resume()")
        eventually(lambda: client.execute(text).fetchone() == (stuck.port, 1))


# --- facts about PostgreSQL

def test_a_standby_shows_a_commit_that_waits_for_another_one_before_the_primary(replication):
    cluster = replication(replicas=1)
    primary, standby = cluster.primary, cluster.replicas[0]
    primary.sql("create table written (a int)")
    cluster.caught_up()
    primary.configure(synchronous_standby_names="nobody")
    eventually(lambda: primary.one("select current_setting('synchronous_standby_names')")
               == "nobody")
    with psycopg.connect(host=str(primary.folder), port=primary.port, user="postgres",
                         dbname="app", autocommit=True) as client:
        client.execute("set synchronous_commit = on")
        count = "select count(*) from written"
        try:
            for number in range(1, 100):  # commits wait once the checkpointer has read the setting
                writer = threading.Thread(target=client.execute,
                                          args=[f"insert into written values ({number})"])
                writer.start()
                eventually(lambda: standby.one(count) == number)
                if primary.one(count) < number:
                    break
                writer.join()
            else:
                pytest.fail("no commit waits")
        finally:
            primary.configure(synchronous_standby_names=None)
            writer.join()
