"""Failover of a service whose servers a reload finds in another way, and of two services at once."""
import re
import signal

import psycopg
import pytest
from support.failover import elected
from support.nameserver import NameServer
from support.patience import eventually
from support.trunkline import configuration, route

PROBE = {"user": "app", "interval": "100ms", "timeout": "1s"}
PLAIN = {"tls": {"mode": "disable"}, "probe": PROBE}


@pytest.fixture
def cluster(replication):
    made = replication(replicas=2, log_line_prefix="%p %u@%d %n ")
    made.primary.sql("create table t (worker int, n int); grant all on t to app")
    made.caught_up()
    return made


@pytest.fixture
def names():
    made = NameServer(("db.test", "A", 1, "127.0.0.1"))
    yield made
    made.end()


def by_hosts(cluster):
    return {"hosts": [f"127.0.0.1:{one.port}" for one in cluster.servers], **PLAIN}


def by_name(names, server):
    return {"resolver": "dns", "name": "db.test", "port": server.port,
            "name_servers": [names.address], "refresh_min": "1s", **PLAIN}


def reload(daemon, **services):
    daemon.reload(configuration(None, listen=[{"host": daemon.host, "port": daemon.port}],
                                services=services, routes=[route(claim_timeout="10s")]))


def hosts_shown(daemon):
    return [row["host"] for row in daemon.console("SHOW BACKENDS") if row["state"] != "obsolete"]


def test_another_resolver_keeps_the_primary_and_its_transactions(cluster, trunkline, names):
    """An address that is found in another way is the same server: it is not elected anew."""
    old, _, _ = cluster.servers
    daemon = trunkline(services={"main": by_hosts(cluster)}, routes=[route(claim_timeout="10s")])
    elected(daemon, old)
    with daemon.connect(autocommit=False) as inside, daemon.connect() as idle:
        inside.execute("insert into t values (1, 1)")
        idle.execute("insert into t values (1, 1)")
        reload(daemon, main=by_name(names, old))
        eventually(lambda: hosts_shown(daemon) == ["db.test"])
        idle.execute("insert into t values (2, 2)")
        inside.execute("insert into t values (2, 2)")
        inside.commit()
    assert old.one("select count(*) from t") == 4
    assert len(re.findall(r"primary\.elected", daemon.log())) == 1


@pytest.mark.parametrize("state", ["none", "contested"])
def test_another_resolver_while_nothing_is_granted(cluster, trunkline, names, state):
    old, new, other = cluster.servers
    daemon = trunkline(services={"main": by_hosts(cluster)}, routes=[route(claim_timeout="10s")])
    elected(daemon, old)
    with daemon.connect() as client:
        client.execute("insert into t values (1, 1)")
        cluster.caught_up()
        old.stop(signal.SIGQUIT)
        if state == "none":
            old._write("standby.signal", "")
            old.start()
        else:
            for server in new, other:
                server.run("pg_ctl", "promote", "-D", server.data)
        daemon.logged(rf"primary\.{state} ")
        reload(daemon, main=by_name(names, new))
        if state == "none":
            daemon.logged(rf"backend\.role .*:{new.port} role=replica")
            cluster.promote(new)
        elected(daemon, new)
        client.execute("insert into t values (2, 2)")
    assert new.one("select count(*) from t") == 2


def test_two_services_change_their_primaries_at_once(replication, cluster, trunkline):
    second = replication(replicas=1, log_line_prefix="%p %u@%d %n ")
    second.primary.sql("create table t (worker int, n int); grant all on t to app")
    second.caught_up()
    both = (cluster, "app"), (second, "other")
    daemon = trunkline(
        services={"main": by_hosts(cluster), "other": by_hosts(second)},
        routes=[route(database="other", server_database="app", service="other",
                      claim_timeout="10s"), route(claim_timeout="10s")])
    clients = []
    for servers, database in both:
        elected(daemon, servers.primary)
        clients += [(servers, daemon.connect(database=database)),
                    (servers, daemon.connect(database=database, autocommit=False))]
        for _, client in clients[-2:]:
            client.execute("insert into t values (1, 1)")
    for servers, _ in both:
        servers.promote(servers.servers[1], wait=False)
    for servers, _ in both:
        elected(daemon, servers.primary)
    for idle, inside in (clients[0:2], clients[2:4]):
        idle[1].execute("insert into t values (2, 2)")
        with pytest.raises(psycopg.OperationalError, match="the primary of service .* has changed"):
            inside[1].execute("insert into t values (2, 2)")
        assert idle[0].primary.one("select count(*) from t where n = 2") == 1
    assert sorted(re.findall(r"primary\.elected service=(\w+) .*epoch=2 ", daemon.log())) == [
        "main", "other"]
    for _, client in clients:
        client.close()


def test_another_resolver_during_a_change_of_the_primary(cluster, trunkline, names):
    """The reload and the promotion come at the same time, in either order."""
    old, new, _ = cluster.servers
    daemon = trunkline(services={"main": by_hosts(cluster)}, routes=[route(claim_timeout="10s")])
    elected(daemon, old)
    with daemon.connect() as idle, daemon.connect(autocommit=False) as inside:
        for client in idle, inside:
            client.execute("insert into t values (1, 1)")
        cluster.promote(new, wait=False)
        reload(daemon, main=by_name(names, new))
        elected(daemon, new)
        idle.execute("insert into t values (2, 2)")
        with pytest.raises(psycopg.OperationalError, match="the primary of service .* has changed"):
            inside.execute("insert into t values (2, 2)")
    eventually(lambda: not new.standby())
    assert new.one("select count(*) from t where n = 2") == 1
