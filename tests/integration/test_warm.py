"""Statements that are executed before clients ask: at the start, by CACHE WARM, after a failover."""
import signal
import time

import pytest
from support import wire as w
from support.failover import elected
from support.patience import eventually
from support.strict import STRICT
from support.trunkline import configuration, route
from test_feed import prepare

WARM = "drop table if exists warm; create table warm (n int primary key, v int);" \
       "insert into warm values (1, 10), (2, 20); grant all on warm to public"
SQL = "select v from warm where n = 1"
OTHER = "select v from warm where n = 2"


@pytest.fixture
def table(postgres):
    postgres.sql(WARM)
    yield postgres
    postgres.sql("drop table if exists warm")


def listed(*texts, **settings):
    return [dict(text=text, user="app", database="app", **settings) for text in texts]


def warmed(trunkline, *texts, warms=None, rule=None, **settings):
    return trunkline(relays=2, routes=[route(
        cache=[dict(mode="ttl", ttl="1h", **(rule or {}))],
        cache_warm=listed(*texts) if warms is None else warms, **settings)])


def rule_of(daemon):
    return daemon.console("SHOW CACHE_RULES")[0]


def totals(daemon):
    return {row["name"]: row["value"] for row in daemon.console("SHOW CACHE_TOTALS")}


def warm(daemon, pattern=""):
    return daemon.console(f"CACHE WARM {pattern}")[0]


def rows(daemon, sql=SQL, user="app", **parameters):
    with daemon.endpoint(user=user).wire(**parameters) as wire:
        return w.rows(wire.ask(w.query(sql)))


def hits(daemon, *arguments, **parameters):
    """Whether a client's statement is answered from memory."""
    before = rule_of(daemon)["hits"]
    rows(daemon, *arguments, **parameters)
    return rule_of(daemon)["hits"] == before + 1


def settled(daemon):
    return lambda: totals(daemon)["warm_left"] == 0 and \
        sum(totals(daemon)[f"warm_{what}"] for what in ("stored", "refused", "failed")) > 0


def test_answers_are_there_before_the_first_client(trunkline, table):
    daemon = warmed(trunkline, SQL, OTHER)
    eventually(lambda: totals(daemon)["warm_stored"] == 2)
    mark = table.mark()
    assert rows(daemon) == [["10"]] and rows(daemon, OTHER) == [["20"]]
    row = rule_of(daemon)
    assert (row["hits"], row["warmed"], row["stored"], row["executed"]) == (2, 2, 2, 0)
    assert not [text for text in table.statements(mark) if "warm" in text]
    assert totals(daemon)["warm_left"] == 0


def test_an_answer_is_for_the_user_and_the_parameters_that_it_names(trunkline, table):
    daemon = warmed(trunkline, warms=[dict(text=SQL, user="app", database="app",
                                           options="-c TimeZone=Asia/Tokyo -c DateStyle=German")])
    eventually(lambda: totals(daemon)["warm_stored"] == 1)
    assert hits(daemon, TimeZone="Asia/Tokyo", DateStyle="German")
    assert not hits(daemon)
    assert not hits(daemon, SQL, "reports", TimeZone="Asia/Tokyo", DateStyle="German")


def test_the_command_stores_what_is_not_there(trunkline, table):
    daemon = warmed(trunkline, SQL, OTHER)
    eventually(lambda: totals(daemon)["warm_stored"] == 2)
    assert warm(daemon) == dict(statements=2, present=2, stored=0, refused=0, failed=0)
    table.sql("update warm set v = v + 1")
    daemon.console("CACHE FLUSH")
    assert warm(daemon, "'%n = 2'") == dict(statements=1, present=0, stored=1, refused=0, failed=0)
    assert warm(daemon) == dict(statements=2, present=1, stored=1, refused=0, failed=0)
    assert rows(daemon) == [["11"]] and rows(daemon, OTHER) == [["21"]]
    assert rule_of(daemon)["executed"] == 0


def extended(number):
    return (w.parse("", "select v from warm where n = $1", [23]) + w.bind(values=[str(number)]) +
            w.describe("P") + w.execute() + w.SYNC)


def test_the_most_hit_statements_are_executed_again(trunkline, table):
    daemon = warmed(trunkline, warms=[], cache_warm_max=2)
    with daemon.endpoint().wire(TimeZone="Asia/Tokyo") as wire:
        for message, count in (extended(1), 60), (w.query(OTHER), 90), (extended(2), 9):
            for _ in range(count):
                wire.ask(message)
        daemon.console("CACHE FLUSH")
        assert warm(daemon) == dict(statements=2, present=0, stored=2, refused=0, failed=0)
        before = rule_of(daemon)
        assert w.rows(wire.ask(extended(1))) == [["10"]]
        assert w.rows(wire.ask(w.query(OTHER))) == [["20"]]
        after = rule_of(daemon)
        assert after["hits"] == before["hits"] + 2 and after["executed"] == before["executed"]
        wire.ask(extended(2))
        assert rule_of(daemon)["executed"] == before["executed"] + 1


def test_statements_of_a_route_without_the_setting_are_not_remembered(trunkline, table):
    daemon = warmed(trunkline, warms=[])
    with daemon.endpoint().wire() as wire:
        for _ in range(50):
            wire.ask(w.query(SQL))
    daemon.console("CACHE FLUSH")
    assert warm(daemon)["statements"] == 0


def test_warming_obeys_rules_and_verdicts(trunkline, table):
    daemon = trunkline(routes=[route(
        cache=[dict(mode="off", match={"text": "%/* off */"}),
               dict(mode="dedupe", match={"text": "%/* dedupe */"}),
               dict(mode="shadow", ttl="1h", match={"text": "%/* shadow */"}),
               dict(mode="ttl", ttl="1h", match={"tables": ["warm"]})],
        cache_warm=listed(SQL, SQL + "/* off */", SQL + "/* dedupe */", SQL + "/* shadow */",
                          "select random() from warm", "insert into warm values (3, 3)",
                          "select 1; select 2", "begin", "select from", "select 1 / 0 from warm",
                          "select 4"))])
    eventually(settled(daemon))
    assert warm(daemon) == dict(statements=11, present=1, stored=0, refused=9, failed=1)
    assert table.one("select count(*) from warm") == 2


def test_no_more_are_executed_than_the_rate_allows(trunkline, table):
    daemon = warmed(trunkline, *(SQL + f" -- {i}" for i in range(5)), cache_warm_rate=2)
    begun = time.monotonic()
    eventually(lambda: totals(daemon)["warm_stored"] == 5)
    assert time.monotonic() - begun > 1
    assert totals(daemon)["warm_left"] == 0


def test_it_is_tried_again_while_no_server_can_be_asked(trunkline, table):
    table.sql("alter role app nologin")
    try:
        daemon = warmed(trunkline, SQL)
        eventually(lambda: totals(daemon)["warm_failed"] > 0)
        daemon.logged("cache.warm_failed.*not permitted to log in")
    finally:
        table.sql("alter role app login")
    eventually(lambda: totals(daemon)["warm_stored"] == 1, 40)
    assert hits(daemon)


def test_a_shutdown_ends_it(trunkline, table):
    daemon = warmed(trunkline, *(SQL + f" -- {i}" for i in range(100)), cache_warm_rate=1)
    eventually(lambda: totals(daemon)["warm_stored"] > 0)
    begun = time.monotonic()
    daemon.stop()
    assert time.monotonic() - begun < 10


def test_a_reload_that_names_the_first_statements_begins_it(trunkline, table):
    daemon = trunkline(relays=2, routes=[route(cache=[dict(mode="ttl", ttl="1h")])])
    assert not hits(daemon)
    daemon.reload(configuration(table, listen=daemon.config["listen"], relays=2, routes=[
        route(cache=[dict(mode="ttl", ttl="1h")], cache_warm=listed(OTHER))]))
    eventually(lambda: totals(daemon)["warm_stored"] == 1)
    assert hits(daemon, OTHER)


# --- strict --------------------------------------------------------------------------------------

@pytest.fixture
def strict(trunkline, logical):
    prepare(logical)
    logical.sql(WARM)
    return trunkline(
        server=logical, relays=2,
        services={"main": {"hosts": [f"127.0.0.1:{logical.port}"], "tls": {"mode": "disable"},
                           "feed_user": "trusted"}},
        routes=[route(cache=[STRICT], cache_warm=listed(SQL, OTHER))])


def test_strict_answers_are_warmed_once_the_feed_streams(strict):
    eventually(lambda: totals(strict)["warm_stored"] == 2)
    before = rule_of(strict)["executed"]
    eventually(lambda: hits(strict) and hits(strict, OTHER))
    assert rule_of(strict)["executed"] <= before + 1


def test_strict_answers_are_warmed_again_after_a_failover(trunkline, replication):
    cluster = replication(replicas=1, wal_level="logical", max_replication_slots=6,
                          max_wal_senders=6)
    old, new = cluster.servers
    prepare(cluster.primary)
    cluster.primary.sql(WARM)
    cluster.caught_up()
    daemon = trunkline(services={"main": {
        "hosts": [f"127.0.0.1:{one.port}" for one in cluster.servers], "tls": {"mode": "disable"},
        "probe": {"user": "app", "interval": "100ms", "timeout": "1s"}, "feed_user": "trusted"}},
        routes=[route(claim_timeout="30s", cache=[STRICT],
                      cache_warm=listed(SQL, OTHER))])
    elected(daemon, cluster.primary)
    eventually(lambda: totals(daemon)["warm_stored"] >= 2)
    before = totals(daemon)["warm_stored"]
    old.stop(signal.SIGINT)
    cluster.promote(new)
    elected(daemon, new)
    eventually(lambda: totals(daemon)["warm_stored"] >= before + 2, 60)
    eventually(lambda: hits(daemon))
