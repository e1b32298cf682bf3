"""Answers in a second tier, a real Redis, that several daemons share: `tier: redis`."""
import itertools
import select
import signal
import subprocess
import threading

import pytest
from support import wire as w
from support.patience import PATIENCE, eventually
from support.proxy import Proxy
from support.redis import Redis, ToyRedis
from support.trunkline import Trunkline, binary, configuration, route

TABLE = "drop table if exists tier; create table tier (n int primary key, v text);" \
        "insert into tier values (1, 'one'), (2, 'two'); grant all on tier to public"
SQL = "select v from tier where n = 1"


@pytest.fixture
def table(postgres):
    postgres.sql(TABLE)
    yield postgres
    postgres.sql("drop table if exists tier")


@pytest.fixture
def redis(tmp_path):
    made = []

    def make(**settings):
        made.append(Redis(tmp_path, **settings))
        return made[-1]

    yield make
    for item in made:
        item.stop()


@pytest.fixture
def toy():
    made = []

    def make(*arguments):
        made.append(ToyRedis(*arguments))
        return made[-1]

    yield make
    for item in made:
        item.stop()


def tiered(trunkline, redis, rule=None, tier=None, relays=1, **settings):
    """A daemon whose answers go to Redis, too."""
    rule = {"mode": "ttl", "ttl": "1h", "tier": "redis", **(rule or {})}
    tier = {"host": "127.0.0.1", "port": redis.port, "budget": "2s", **(tier or {})}
    return trunkline(relays=relays, routes=[route(cache=[rule])], cache_redis=tier, **settings)


def back(daemon, sql="select v from tier where n = 2"):
    """Whether the daemon reaches Redis, as a statement that is not in memory tells."""
    daemon.console(f"CACHE FLUSH '{sql}'")
    rows(daemon, sql)
    return tier_of(daemon)["lost"] == 0


def checked(folder, config):
    """What `trunkline check` says of a configuration that it refuses."""
    daemon = Trunkline(folder, config)
    done = subprocess.run([binary(), "check", daemon.file], capture_output=True, text=True,
                          timeout=30)
    assert done.returncode != 0
    return done.stdout + done.stderr


def rows(daemon, sql=SQL, user="app", **parameters):
    with daemon.endpoint(user=user).wire(**parameters) as wire:
        return w.rows(wire.ask(w.query(sql)))


def rule_of(daemon):
    return daemon.console("SHOW CACHE_RULES")[0]


def tier_of(daemon):
    return {row["name"]: row["value"] for row in daemon.console("SHOW CACHE_TIER")}


def executions(postgres, mark, sql=SQL):
    return len([text for text in postgres.statements(mark) if sql in text])


def stored(redis, count=1):
    eventually(lambda: len(redis.values()) == count)


# --- two daemons ---------------------------------------------------------------------------------


def test_what_one_daemon_has_executed_another_one_answers(trunkline, table, redis):
    shared = redis()
    one, two = tiered(trunkline, shared), tiered(trunkline, shared)
    mark = table.mark()
    assert rows(one) == [["one"]]
    stored(shared)
    assert rows(two) == [["one"]] and rows(two) == [["one"]]
    assert executions(table, mark) == 1
    first, second = rule_of(one), rule_of(two)
    assert (first["executed"], first["fetched"]) == (1, 0)
    assert (second["executed"], second["fetched"], second["hits"]) == (0, 1, 1)
    assert tier_of(two)["hits"] == 1 and tier_of(one)["stored"] == 1


def test_an_answer_is_for_the_same_user_settings_and_statement(trunkline, table, redis):
    shared = redis()
    one, two = tiered(trunkline, shared), tiered(trunkline, shared)
    rows(one)
    stored(shared)
    for other in (dict(user="reports"), dict(TimeZone="Asia/Tokyo"), dict(sql=SQL + " ")):
        before = rule_of(two)["executed"]
        assert rows(two, **other) == [["one"]]
        assert rule_of(two)["executed"] == before + 1
    with two.endpoint().wire() as wire:
        extended = wire.ask(w.parse("", SQL) + w.bind() + w.execute() + w.SYNC)
        assert w.rows(extended) == [["one"]]
    assert rule_of(two)["fetched"] == 0
    stored(shared, 5)


def test_an_extended_statement_is_answered_with_its_description(trunkline, table, redis):
    shared = redis()
    one, two = tiered(trunkline, shared), tiered(trunkline, shared)
    ask = w.parse("", "select n, v from tier where n = $1", [23]) + \
        w.bind(values=["2"]) + w.describe("P", "") + w.execute() + w.SYNC
    answers = []
    for daemon in (one, two):
        with daemon.endpoint().wire() as wire:
            answers.append(wire.ask(ask))
        stored(shared)
    assert str(answers[0]) == str(answers[1]) and w.rows(answers[0]) == [["2", "two"]]
    assert rule_of(two)["fetched"] == 1


def test_a_long_answer_lies_compressed_in_redis(trunkline, table, redis):
    shared = redis()
    one, two = tiered(trunkline, shared, tier={"compress_min": "1KiB"}), tiered(trunkline, shared)
    long = "select n, repeat(v, 300), generate_series(1, 50) from tier order by n, 3"
    asked = rows(one, long)
    stored(shared)
    assert shared("STRLEN", shared.values()[0]) * 20 < len(str(asked))
    assert rows(two, long) == asked and rule_of(two)["fetched"] == 1


def test_another_server_shares_nothing(trunkline, table, redis, cluster):
    """A copy of the cluster: it has the same system identifier, and here even the same address."""
    other = cluster()
    other.sql(TABLE)
    other.sql("update tier set v = 'other'")
    shared = redis()
    with Proxy("127.0.0.1", table.port) as proxy:
        service = dict(main=dict(hosts=[f"127.0.0.1:{proxy.port}"], tls=dict(mode="disable")))
        one = tiered(trunkline, shared, services=service)
        assert rows(one) == [["one"]]
        stored(shared)
        proxy.target = ("127.0.0.1", other.port)
        proxy.cut()
        two = tiered(trunkline, shared, services=service)
        assert rows(two) == [["other"]]
        assert rule_of(two)["fetched"] == 0
        stored(shared, 2)


def test_the_server_that_executes_is_the_one_that_is_named(trunkline, table, redis, cluster):
    """The daemon still knows the former server when the service has another one."""
    other = cluster()
    other.sql(TABLE)
    other.sql("update tier set v = 'other'")
    shared = redis()
    with Proxy("127.0.0.1", table.port) as proxy:
        service = dict(main=dict(hosts=[f"127.0.0.1:{proxy.port}"], tls=dict(mode="disable")))
        one, two = (tiered(trunkline, shared, services=service) for _ in range(2))
        for daemon in (one, two):
            rows(daemon, "select v from tier where n = 2")
        proxy.target = ("127.0.0.1", other.port)
        proxy.cut()
        eventually(lambda: rows(one) == [["other"]])
        stored(shared, 2)
        proxy.target = ("127.0.0.1", table.port)
        proxy.cut()
        assert eventually(lambda: rows(two)) == [["one"]]


# --- age -----------------------------------------------------------------------------------------


def test_an_answer_is_not_younger_for_having_been_stored(trunkline, table, toy):
    """The age counts from before the execution, in Redis and in the memory of the second daemon."""
    shared = toy()
    one, two = (tiered(trunkline, shared, rule=dict(ttl="3min")) for _ in range(2))
    rows(two, "select v from tier where n = 2")  # it knows its server and Redis
    rows(one)
    stored(shared, 2)
    table.sql("update tier set v = 'new' where n = 1")
    shared.shift = 175
    assert rows(two) == [["one"]] and rule_of(two)["fetched"] == 1
    eventually(lambda: rows(two) == [["new"]])


def test_rules_with_another_age_share_nothing(trunkline, table, redis):
    shared = redis()
    one = tiered(trunkline, shared)
    two = tiered(trunkline, shared, rule=dict(ttl="59min"))
    rows(one)
    stored(shared)
    rows(two)
    assert (rule_of(two)["executed"], rule_of(two)["fetched"]) == (1, 0)


def test_an_answer_of_another_time_is_not_used(trunkline, table, toy):
    """Redis's clock went back, or a value was kept for longer than it was stored."""
    shared = toy()
    rows(tiered(trunkline, shared))
    stored(shared)
    for shift, fetched in ((-3600, 0), (3600, 0), (3000, 1)):
        shared.shift = shift
        kept = dict(shared.store)
        fresh = tiered(trunkline, shared)
        assert rows(fresh) == [["one"]]
        assert (rule_of(fresh)["fetched"], tier_of(fresh)["old"]) == (fetched, 1 - fetched)
        stored(shared)
        shared.store = kept


# --- flushes and evictions -----------------------------------------------------------------------


def test_a_flush_ends_the_answers_of_all_daemons_in_redis(trunkline, table, redis):
    shared = redis()
    one, two = tiered(trunkline, shared), tiered(trunkline, shared)
    rows(one)
    stored(shared)
    table.sql("update tier set v = 'new' where n = 1")
    flushed = one.console("CACHE FLUSH")[0]
    assert (flushed["flushed"], flushed["tier"]) == (1, "flushed")
    assert rows(two) == [["new"]] and rows(one) == [["new"]]
    assert tier_of(two)["old"] == 1


def test_a_flush_that_redis_was_not_told_is_told_before_its_next_answer(trunkline, table, redis):
    shared = redis(appendonly="yes")
    one = tiered(trunkline, shared)
    rows(one)
    stored(shared)
    table.sql("update tier set v = 'new' where n = 1")
    shared.stop()
    assert one.console("CACHE FLUSH")[0]["tier"] == "owed"
    shared.start()
    eventually(lambda: shared("PING") == "PONG")  # it has read its file
    assert len(shared.values()) == 1
    assert rows(one) == [["new"]]
    texts = (f"{SQL} and {number} = {number}" for number in itertools.count())
    eventually(lambda: rows(one, next(texts)) and tier_of(one)["lost"] == 0)
    assert tier_of(one)["flushes"] >= 1
    two = tiered(trunkline, shared)
    assert rows(two) == [["new"]]


def test_a_lost_epoch_ends_all_answers(trunkline, table, redis):
    """Redis evicts it, or loses it in a failover: no counter begins anew."""
    shared = redis()
    one = tiered(trunkline, shared)
    rows(one)
    stored(shared)
    epochs = {shared("GET", "{trunkline}:epoch")}
    for n in range(2):
        shared("DEL", "{trunkline}:epoch")
        fresh = tiered(trunkline, shared)
        rows(fresh)
        assert rule_of(fresh)["fetched"] == 0
        epochs.add(shared("GET", "{trunkline}:epoch"))
    assert len(epochs) == 3


# --- Redis is of no use --------------------------------------------------------------------------


def test_without_redis_statements_are_executed(trunkline, table, redis):
    shared = redis()
    one = tiered(trunkline, shared)
    shared.stop()
    assert rows(one) == [["one"]] and rows(one) == [["one"]]
    assert (rule_of(one)["executed"], rule_of(one)["hits"]) == (1, 1)
    assert tier_of(one)["lost"] == 1 and tier_of(one)["failures"] == 1
    one.logged("cache.tier.lost")
    shared.start()
    eventually(lambda: back(one))
    one.logged("cache.tier.back")
    assert one.log().count("cache.tier.lost") == 1


def test_redis_that_stands_still_costs_the_budget_and_then_nothing(trunkline, table, redis):
    shared = redis()
    one = tiered(trunkline, shared, tier=dict(budget="50ms"))
    rows(one)
    shared.signal(signal.SIGSTOP)
    for n in range(10):
        assert rows(one, f"select v from tier where n = 1 and {n} = {n}") == [["one"]]
    seen = tier_of(one)
    assert 1 <= seen["timeouts"] <= 5 and seen["skipped"] >= 1 and seen["lost"] == 1
    shared.signal(signal.SIGCONT)
    eventually(lambda: back(one))


def test_a_reply_that_comes_too_late_is_given_to_nobody_else(trunkline, table, toy):
    """Replies are in the order of the requests, also of those that nobody waits for any more."""
    late = threading.Event()

    def held(words, reply):
        if words[0] == b"MGET" and late.is_set():
            late.clear()
            select.select([shared.serving], [], [], PATIENCE)  # until the next request is there
        return reply

    shared = toy(held)
    first = tiered(trunkline, shared)
    tries = [(f"{SQL} and {number} < 9", f"select v from tier where n = 2 and {number} < 9") for number in range(8)]
    for both in tries:
        rows(first, both[0]), rows(first, both[1])
    stored(shared, 2 * len(tries))
    one = tiered(trunkline, shared, tier=dict(budget="300ms"))
    for slow, other in tries:
        late.set()
        assert rows(one, slow) == [["one"]]
        assert rows(one, other) == [["two"]]
        assert tier_of(one)["other_key"] == 0
        if rule_of(one)["fetched"] > 0:
            break  # a slow machine may need another try: the second one has its budget, too
    assert tier_of(one)["timeouts"] > 0 and rule_of(one)["fetched"] > 0


@pytest.mark.parametrize("twisted", [
    b"-LOADING Redis is loading the dataset in memory\r\n", b"+OK\r\n", b":1\r\n", b"$-1\r\n",
    b"*2\r\n$1\r\nx\r\n$1\r\nx\r\n", b"*2147483647\r\n",
    b"*2\r\n*1\r\n:1\r\n:1\r\n", b"$536870911\r\n", b"HTTP/1.1 400\r\n\r\n"])
def test_nonsense_is_not_an_answer(trunkline, table, toy, twisted):
    shared = toy(lambda words, reply: twisted if words[0] == b"MGET" else reply)
    one = tiered(trunkline, shared, tier=dict(budget="200ms"))
    for n in range(2):
        assert rows(one, f"select v from tier where n = 1 and {n} = {n}") == [["one"]]
    assert rule_of(one)["fetched"] == 0 and rule_of(one)["executed"] == 2


def test_a_changed_value_is_not_used(trunkline, table, toy):
    shared = toy()
    rows(tiered(trunkline, shared))
    stored(shared)
    name = shared.values()[0]
    value = shared.store[name]
    changes = {"checksum": value[:-3] + b"x" + value[-2:], "version": value[:6] + b"\0\1" + value[8:],
               "malformed": value[:30]}
    for counted, changed in changes.items():
        shared.store[name] = changed
        fresh = tiered(trunkline, shared)
        assert rows(fresh) == [["one"]]
        assert (rule_of(fresh)["executed"], tier_of(fresh)[counted]) == (1, 1)
        stored(shared)


def test_equal_digests_of_two_statements_mix_no_answers(trunkline, table, toy):
    shared = toy()
    one = tiered(trunkline, shared)
    rows(one), rows(one, "select v from tier where n = 2")
    stored(shared, 2)
    (a, first), (b, second) = ((name, shared.store[name]) for name in shared.values())
    shared.store.update({a: second, b: first})
    fresh = tiered(trunkline, shared)
    assert rows(fresh) == [["one"]]
    assert tier_of(fresh)["other_key"] == 1 and rule_of(fresh)["fetched"] == 0


def test_a_full_redis_still_answers(trunkline, table, redis):
    shared = redis()
    rows(tiered(trunkline, shared))
    stored(shared)
    shared("CONFIG", "SET", "maxmemory", "1")
    one = tiered(trunkline, shared)
    assert rows(one) == [["one"]] and rule_of(one)["fetched"] == 1
    assert rows(one, "select v from tier where n = 2") == [["two"]]
    eventually(lambda: tier_of(one)["refused"] == 1)
    assert tier_of(one)["lost"] == 0


def test_a_replica_is_left(trunkline, table, redis, tmp_path):
    shared = redis()
    one = tiered(trunkline, shared)
    rows(one)
    stored(shared)
    shared("REPLICAOF", "127.0.0.1", "1")
    assert rows(one, "select v from tier where n = 2") == [["two"]]
    eventually(lambda: tier_of(one)["lost"] == 1)
    one.logged("READONLY")
    shared("REPLICAOF", "NO", "ONE")
    eventually(lambda: back(one))


# --- logging in ----------------------------------------------------------------------------------


def test_a_user_logs_in_and_chooses_a_database(trunkline, table, redis):
    shared = redis(user="cache on >secret ~{trunkline}:* +@all", databases="4")
    tier = dict(user="cache", password="secret", database=3)
    rows(tiered(trunkline, shared, tier=tier))
    eventually(lambda: b"keys=2" in shared("INFO", "keyspace").split(b"db3:")[-1])
    one = tiered(trunkline, shared, tier=tier)
    rows(one)
    assert rule_of(one)["fetched"] == 1
    wrong = tiered(trunkline, shared, tier=dict(tier, password="wrong"))
    assert rows(wrong) == [["one"]]
    wrong.logged("WRONGPASS")
    assert "secret" not in wrong.log() and "secret" not in one.log()


def test_a_unix_socket(trunkline, table, redis, tmp_path):
    shared = redis(unixsocket=tmp_path / "redis.sock", unixsocketperm="777")
    tier = dict(host=str(tmp_path / "redis.sock"))
    rows(tiered(trunkline, shared, tier=tier))
    stored(shared)


def test_tls(trunkline, table, redis, certificate, authority):
    shared = redis(certificate=certificate, authority=authority)
    tls = dict(mode="verify-full", ca=str(authority.cert))
    daemons = [tiered(trunkline, shared, tier=dict(host="localhost", tls=tls)) for _ in range(2)]
    assert rows(daemons[0]) == [["one"]]
    eventually(lambda: tier_of(daemons[0])["stored"] == 1)
    assert rows(daemons[1]) == [["one"]] and rule_of(daemons[1])["fetched"] == 1


# --- what may come from there --------------------------------------------------------------------


def test_many_clients_and_threads_are_answered_by_one_look_up(trunkline, table, redis):
    shared = redis()
    rows(tiered(trunkline, shared))
    stored(shared)
    one = tiered(trunkline, shared, relays=2)
    mark = table.mark()
    wires = [one.endpoint().wire() for _ in range(20)]
    for wire in wires:
        wire.send(w.query(SQL))
    assert all(w.rows(wire.until("Z")) == [["one"]] for wire in wires)
    assert executions(table, mark) == 0
    assert rule_of(one)["fetched"] + rule_of(one)["executed"] <= 2


def test_a_long_answer_goes_through_and_a_longer_one_does_not(trunkline, table, redis):
    shared = redis()
    rule = dict(max_result="32MiB")
    one, two = (tiered(trunkline, shared, rule=rule) for _ in range(2))
    for size, kept in ((100000, 1), (1500000, 1)):
        sql = f"select repeat(v, {size}) from tier"
        first = rows(one, sql)
        stored(shared, kept)
        assert rows(two, sql) == first and len(first[1][0]) == 3 * size
    assert rule_of(two)["fetched"] == 1 and tier_of(one)["too_long"] == 1


def test_an_error_is_that_of_each_client_and_is_not_stored(trunkline, table, redis):
    shared = redis()
    one = tiered(trunkline, shared)
    with one.endpoint().wire() as wire:
        failed = wire.ask(w.query("select 1 / (n - 1) from tier"))
    assert w.kinds(failed) == "T E Z"
    assert shared.values() == []


def test_a_rule_without_the_tier_asks_nothing(trunkline, table, redis):
    shared = redis()
    rows(tiered(trunkline, shared))
    stored(shared)
    one = tiered(trunkline, shared, rule=dict(tier="memory"))
    assert rows(one) == [["one"]]
    assert (rule_of(one)["executed"], tier_of(one)["connects"]) == (1, 0)


@pytest.mark.parametrize("rule, said", [
    (dict(mode="dedupe"), "redis needs mode: ttl"), (dict(mode="strict"), "redis needs mode: ttl"),
    (dict(mode="shadow", of="ttl"), "redis needs mode: ttl")])
def test_check_says_which_modes_may_use_it(trunkline, table, tmp_path, rule, said):
    config = configuration(table, routes=[route(cache=[dict(rule, tier="redis")])],
                           cache_redis=dict(host="127.0.0.1"))
    assert said in checked(tmp_path, config)


@pytest.mark.parametrize("redis, said", [
    (None, "redis needs cache_redis"), (dict(port=1), "missing"),
    (dict(host="h", user="u"), "needs a password"), (dict(host="h", prefix="a{b"), "without braces"),
    (dict(host="/" + "x" * 120), "at most 107")])
def test_check_names_what_is_wrong_with_it(table, tmp_path, redis, said):
    config = configuration(table, routes=[route(cache=[dict(mode="ttl", tier="redis")])],
                           cache_redis=redis)
    assert said in checked(tmp_path, config)
