"""Strict answers when the primary changes: those of the old one are not given any more."""
import signal

import pytest
from support import wire as w
from support.failover import elected
from support.patience import eventually
from support.strict import SCHEMA, SQL, STRICT, client, prepare
from support.trunkline import route
from test_strict import counted, hits_on, value


@pytest.fixture
def cluster(replication):
    made = replication(replicas=1, wal_level="logical", max_replication_slots=6, max_wal_senders=6)
    prepare(made.primary)
    made.primary.sql(SCHEMA)
    made.caught_up()
    return made


@pytest.fixture
def daemon(cluster, trunkline):
    made = trunkline(services={"main": {
        "hosts": [f"127.0.0.1:{one.port}" for one in cluster.servers], "tls": {"mode": "disable"},
        "probe": {"user": "app", "interval": "100ms", "timeout": "1s"}, "feed_user": "trusted"}},
        routes=[route(claim_timeout="30s", cache=[STRICT])])
    elected(made, cluster.primary)
    return made


@pytest.mark.parametrize("how", ["both run", "the old one stops", "the old one is killed"])
def test_answers_come_from_the_new_primary_alone(cluster, daemon, how):
    old, new = cluster.servers
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as writer:
        eventually(lambda: hits_on(daemon, wire, SQL))
        if how == "the old one stops":
            old.stop(signal.SIGINT)
        elif how == "the old one is killed":
            old.kill()
        cluster.promote(new)
        elected(daemon, new)
        for number in range(1, 30):
            writer.ask(w.query(f"update s.a set v = {number} where n = 1"))
            assert value(wire) == number
            if how == "both run":  # what the old one says does not count
                with client(old) as stale:
                    stale.execute(f"update s.a set v = -{number} where n = 1")
            assert value(wire) == number
        before = counted(daemon)["hits"]
        eventually(lambda: value(wire) == 29 and counted(daemon)["hits"] > before)
        with client(new) as direct:
            for number in range(30, 60):
                direct.execute(f"update s.a set v = {number} where n = 1")
                assert value(wire) == number


def test_a_client_that_asks_for_a_standby_gets_its_answers_from_there(cluster, daemon):
    with daemon.endpoint().wire() as wire:
        eventually(lambda: hits_on(daemon, wire, SQL))
    before = counted(daemon)
    options = {"trunkline.target_session_attrs": "standby"}
    with daemon.endpoint().wire(**options) as wire:
        for _ in range(10):
            assert w.rows(wire.ask(w.query("select pg_is_in_recovery() from s.a limit 1"))) == [["t"]]
            assert value(wire) == 0
    after = counted(daemon)
    assert after["hits"] == before["hits"] and after["off"] >= before["off"] + 10
