"""The second tier whose master Redis Sentinels know."""
import itertools

import pytest
from support import wire as w
from support.patience import eventually
from support.ports import free_port
from support.redis import Redis, Sentinel
from support.trunkline import configuration, route
from test_tier import SQL, checked, executions, rows, rule_of, stored, table, tier_of  # noqa: F401

RULE = {"mode": "ttl", "ttl": "1h", "tier": "redis"}


@pytest.fixture
def watched(tmp_path):
    """A master, its replica and a Sentinel with a password."""
    made = []

    def add(item):
        made.append(item)
        return item

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    master = add(Redis(tmp_path / "one"))
    replica = add(Redis(tmp_path / "two", replicaof=f"127.0.0.1 {master.port}"))
    sentinel = add(Sentinel(tmp_path, master, password="watch"))
    eventually(sentinel.knows_a_replica, 60)
    yield master, replica, sentinel
    for item in made:
        item.stop()


def behind(trunkline, sentinel, **changes):
    """A daemon whose first Sentinel is gone."""
    tier = {"sentinels": [{"host": "127.0.0.1", "port": free_port()}, {"host": "localhost", "port": sentinel.port}],
            "master": "mymaster", "sentinel_password": "watch", "budget": "2s", **changes}
    return trunkline(relays=1, routes=[route(cache=[RULE])], cache_redis=tier)


def test_the_master_is_found_and_followed(trunkline, table, watched):
    """What the old master had is forgotten at the new one: it may have lost the latest flush."""
    master, replica, sentinel = watched
    daemon, other = behind(trunkline, sentinel), behind(trunkline, sentinel)
    rows(daemon)
    stored(master)
    assert rows(other) == [["one"]] and rule_of(other)["fetched"] == 1
    eventually(lambda: len(replica.values()) == 1)
    assert sentinel("SENTINEL", "FAILOVER", "mymaster", login=sentinel.login) == "OK"
    eventually(lambda: sentinel.master() == replica.port, 60)
    eventually(lambda: "role:master" in replica("INFO", "replication").decode())
    texts = (f"{SQL} /* {number} */" for number in itertools.count())

    def follows():
        return rows(daemon, next(texts)) and tier_of(daemon)["connects"] == 2
    eventually(follows, 60)
    assert tier_of(daemon)["flushes"] == 1
    fresh = behind(trunkline, sentinel)
    mark = table.mark()
    assert rows(fresh) == [["one"]] and executions(table, mark) == 1
    assert tier_of(fresh)["old"] == 1 and tier_of(fresh)["flushes"] == 0
    again = behind(trunkline, sentinel)
    eventually(lambda: tier_of(fresh)["stored"] == 1)
    assert rows(again) == [["one"]] and rule_of(again)["fetched"] == 1


def test_a_sentinel_that_knows_no_such_master_is_told_in_the_log(trunkline, table, watched):
    daemon = behind(trunkline, watched[2], master="other")
    assert rows(daemon) == [["one"]]
    eventually(lambda: "cache.tier.lost" in daemon.program.text())
    assert "host=other" in daemon.program.text() and "knows no master of this name" in daemon.program.text()
    assert tier_of(daemon)["lost"] == 1


def test_a_wrong_password_of_the_sentinels_is_told_in_the_log(trunkline, table, watched):
    daemon = behind(trunkline, watched[2], sentinel_password="wrong")
    assert rows(daemon) == [["one"]]
    eventually(lambda: "AUTH says: WRONGPASS" in daemon.program.text())
    with daemon.endpoint().wire() as wire:
        assert w.rows(wire.ask(w.query(SQL))) == [["one"]]


@pytest.mark.parametrize("tier, message", [
    ({"sentinels": [{"host": "a"}]}, "go together"),
    ({"host": "b", "master": "m"}, "go together"),
    ({"host": "b", "sentinels": [{"host": "a"}], "master": "m"}, "set one of them only"),
    ({"port": 1}, "or sentinels"),
])
def test_what_does_not_fit_is_refused(postgres, tmp_path, tier, message):
    assert message in checked(tmp_path, configuration(postgres, routes=[route(cache=[RULE])], cache_redis=tier))
