"""Failover where the service has one address, which moves from the old primary to the new one."""
import re

import psycopg
import pytest
from support.failover import told
from support.patience import PATIENCE, eventually
from support.proxy import Proxy
from support.trunkline import route

PROBE = {"user": "app", "interval": "100ms", "timeout": "1s"}


@pytest.fixture
def cluster(replication):
    made = replication(replicas=1, log_line_prefix="%p %u@%d %n ")
    made.primary.sql("create table t (worker int, n int); grant all on t to app")
    made.caught_up()
    return made


@pytest.fixture
def address(cluster):
    with Proxy("127.0.0.1", cluster.primary.port) as made:
        yield made


def elections(daemon):
    return len(re.findall(r"primary\.elected ", daemon.log()))


@pytest.fixture
def daemon(address, trunkline):
    made = trunkline(
        services={"main": {"hosts": [f"127.0.0.1:{address.port}"], "tls": {"mode": "disable"},
                           "probe": PROBE}},
        routes=[route(database="any", server_database="app", target_session_attrs="any"),
                route(database="session", server_database="app", pool="session"),
                route(claim_timeout="10s")])
    eventually(lambda: elections(made) == 1)
    return made


def move(address, server):
    """New connections lead to this server.  Those that there are stay where they are."""
    address.target = ("127.0.0.1", server.port)


def test_an_address_that_moves_to_the_new_primary_is_a_change_of_the_primary(
        cluster, address, daemon):
    old, new = cluster.servers
    idle = [daemon.connect() for _ in range(4)]
    for client in idle:
        client.execute("insert into t values (1, 1)")
    cluster.caught_up()
    with daemon.connect(autocommit=False) as inside, \
            daemon.connect(database="session") as session, \
            daemon.connect(autocommit=False, database="any") as reader:
        for client in inside, session, reader:
            client.execute("insert into t values (2, 2)")
        cluster.promote(new)
        move(address, new)
        eventually(lambda: elections(daemon) == 2)
        for client in inside, session, reader:
            with pytest.raises(psycopg.OperationalError, match="the primary of .* has changed"):
                client.execute("insert into t values (3, 3)")
    mark = old.mark()
    for client in idle:  # they stood between two transactions, and notice nothing
        client.execute("insert into t values (4, 4)")
        client.close()
    with daemon.connect(database="any") as client:
        client.execute("insert into t values (4, 4)")
    assert new.one("select count(*) from t where n = 4") == 5
    assert not [text for text in old.statements(mark) if "values" in text]
    assert not [text for _, text in told(old) if "values (3" in text or "values (4" in text]
    assert re.search(r"primary\.elected .*timeline=2 epoch=2 .*late_transactions=\d", daemon.log())


def test_a_login_that_finds_another_server_has_the_address_probed(cluster, address, daemon):
    """No connection of the pool ends, but one is added."""
    old, new = cluster.servers
    with daemon.connect(autocommit=False) as inside:
        inside.execute("insert into t values (1, 1)")
        cluster.promote(new)
        move(address, new)
        with daemon.connect() as another:
            another.execute("select 1")
        eventually(lambda: elections(daemon) == 2)
        with pytest.raises(psycopg.OperationalError, match="the primary of .* has changed"):
            inside.execute("insert into t values (1, 1)")


def test_an_address_that_moves_before_the_promotion(cluster, address, daemon):
    old, new = cluster.servers
    with daemon.connect(autocommit=False, database="any") as reader, \
            daemon.connect(autocommit=False) as inside:
        for client in reader, inside:
            client.execute("select 1")
        move(address, new)
        daemon.logged(r"primary\.none ")
        with pytest.raises(psycopg.OperationalError, match="the primary of .* has changed"):
            inside.execute("select 1")
        assert reader.execute("show port").fetchone() == (str(old.port),)
        cluster.promote(new)
        eventually(lambda: elections(daemon) == 2)
        with pytest.raises(psycopg.OperationalError, match="the primary of .* has changed"):
            reader.execute("select 1")
    with daemon.connect() as client:
        assert client.execute("show port").fetchone() == (str(new.port),)


def test_a_restart_on_its_timeline_is_no_change_of_the_primary(cluster, address, daemon):
    old = cluster.primary
    with daemon.connect() as client:
        client.execute("insert into t values (1, 1)")
        old.stop()
        old.start()
        probes = old.log().count("pg_postmaster_start_time")
        eventually(lambda: old.log().count("pg_postmaster_start_time") > probes + 2)
        client.execute("insert into t values (2, 2)")
    assert elections(daemon) == 1
    assert "primary.none" not in daemon.log()


def test_elect_takes_the_host_as_well_as_the_address(cluster, daemon):
    daemon.console('ELECT "127.0.0.1"')
    with pytest.raises(psycopg.Error, match='backend "127.0.0.2" does not exist'):
        daemon.console('ELECT "127.0.0.2"')


def test_a_probe_makes_a_new_connection_when_its_own_is_old(cluster, daemon):
    """The server is not asked for anything by clients."""
    def begun():
        return [float(at) for at in re.findall(
            r" (\d+\.\d+) LOG:  connection authorized: .*application_name=trunkline probe",
            cluster.primary.log())]

    eventually(lambda: len(begun()) > 1, timeout=4 * PATIENCE)
    first, second = begun()[:2]
    assert second - first > 9  # 10 s, by the server's clock, when each was authorized
