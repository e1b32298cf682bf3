"""Cache rules of mode shadow: clients get their own answers, and those of another mode are compared."""
import threading

import pytest
from support import wire as w
from support.patience import Hopeless, eventually
from support.strict import client, prepare
from support.trunkline import configuration, route

SQL = "select v from shade where n = 1"
FILL = "drop table if exists shade; create table shade (n int, v text);" \
       "insert into shade values (1, 'a'), (2, repeat('x', 20000)); grant all on shade to public"


@pytest.fixture
def table(postgres):
    postgres.sql(FILL)
    yield postgres
    postgres.sql("drop table shade")


def shadowed(trunkline, relays=1, functions=(), **rule):
    return trunkline(relays=relays, cache_functions=["pg_catalog.pg_sleep", *functions],
                     routes=[route(cache=[dict(mode="shadow", **rule)])])


def rule_of(daemon):
    return daemon.console("SHOW CACHE_RULES")[0]


def told(daemon):
    row = rule_of(daemon)
    return row["shadow_hits"], row["shadow_differences"], row["shadow_undecided"]


def stored(daemon, wire, sql=SQL):
    """Asks until an answer is stored."""
    def asked():
        wire.ask(w.query(sql))
        return rule_of(daemon)["stored"] > 0
    eventually(asked)


def value(wire, sql=SQL):
    return w.rows(wire.ask(w.query(sql)))[0][0]


def test_a_client_gets_its_own_answer_and_the_other_is_compared(trunkline, table):
    daemon = shadowed(trunkline, ttl="1h")
    with daemon.endpoint().wire() as wire:
        stored(daemon, wire)
        before = told(daemon)
        mark = table.mark()
        assert value(wire) == "a"
        assert table.statements(mark).count(SQL) == 1
        assert told(daemon) == (before[0] + 1, 0, 0)
        table.sql("update shade set v = 'b' where n = 1")
        assert value(wire) == "b"
        assert told(daemon) == (before[0] + 2, 1, 0)
        row = rule_of(daemon)
        assert (row["mode"], row["of"], row["hits"], row["joined"]) == ("shadow", "ttl", 0, 0)
        assert row["ttl_ms"] == 3600000
        eventually(lambda: "cache.difference" in daemon.log())
        line = next(line for line in daemon.log().splitlines() if "cache.difference" in line)
        assert "of=ttl" in line and "rule=1" in line and "age_ms=" in line
        shown = daemon.console(f"CACHE EXPLAIN '{SQL}'")
        assert f"fingerprint={shown[1]['value']}" in line


@pytest.mark.parametrize("change", [
    "insert into shade values (1, 'c')", "delete from shade where n = 1",
    "alter table shade rename v to w; alter table shade add v text",
    "alter table shade alter v type varchar(9) using 'a'",
])
def test_rows_tag_and_description_are_compared(trunkline, table, change):
    daemon = shadowed(trunkline, ttl="1h")
    with daemon.endpoint().wire() as wire:
        stored(daemon, wire)
        wire.ask(w.query(SQL))
        assert told(daemon)[1:] == (0, 0)
        table.sql(change)
        wire.ask(w.query(SQL))
        assert told(daemon)[1:] == (1, 0)


def test_the_order_of_rows_counts(trunkline, table):
    daemon, sql = shadowed(trunkline, ttl="1h"), "select n from shade"
    with daemon.endpoint().wire() as wire:
        stored(daemon, wire, sql)
        table.sql("update shade set v = 'z' where n = 1")
        assert w.rows(wire.ask(w.query(sql))) == [["2"], ["1"]]
        assert told(daemon)[1:] == (1, 0)


def test_stored_answers_expire_as_those_of_the_mode(trunkline, table):
    daemon = shadowed(trunkline, ttl="20ms", of="ttl")
    with daemon.endpoint().wire() as wire:
        eventually(lambda: wire.ask(w.query(SQL)) and rule_of(daemon)["stored"] > 3)


def test_answers_of_a_shadow_are_given_to_nobody(trunkline, table):
    daemon = shadowed(trunkline, ttl="1h")
    with daemon.endpoint().wire() as wire:
        stored(daemon, wire)
        table.sql("update shade set v = 'b' where n = 1")
        daemon.reload(configuration(table, listen=daemon.config["listen"],
                                    routes=[route(cache=[{"mode": "ttl", "ttl": "1h"}])]))
        assert value(wire) == "b"
        assert rule_of(daemon)["hits"] == 0


MESSAGES = [
    w.query(SQL),
    w.query("select v from shade where n = 2"),
    w.parse("", SQL) + w.bind() + w.execute() + w.SYNC,
    w.parse("", "select v from shade where n = $1", [23]) + w.bind(values=["2"]) + w.describe("P") +
    w.execute() + w.SYNC,
    w.query("select 1 / (n - 1) from shade"),
    w.query("select set_config('application_name', 'x', false)"),
    w.query("select repeat('y', 3000000)"),
    w.query(""),
    w.query("select 1; select 2"),
]


def plain(messages):
    """Messages without what differs between two sessions."""
    return [(m.kind, m.body) for m in messages if m.kind not in "EN"] + \
        [m.sqlstate for m in messages if m.kind == "E"]


def test_all_replies_are_those_of_mode_off(trunkline, table):
    off = trunkline(relays=1, routes=[route(cache=[{"mode": "off"}])])
    daemon = shadowed(trunkline, ttl="1h")
    with off.endpoint().wire() as one, daemon.endpoint().wire() as other:
        def compared():  # verdicts are made beside the clients
            for message in MESSAGES:
                if plain(one.ask(message)) != plain(other.ask(message)) or told(daemon)[1] != 0:
                    raise Hopeless(message)
            return told(daemon)[0] >= 4
        eventually(compared)


def test_clients_that_describe_are_compared_among_themselves(trunkline, table):
    daemon = shadowed(trunkline, ttl="1h")
    bare = w.parse("", SQL) + w.bind() + w.execute() + w.SYNC
    with daemon.endpoint().wire() as wire:
        stored(daemon, wire)
        eventually(lambda: wire.ask(bare) and told(daemon)[0] >= 2)
        assert told(daemon)[1:] == (0, 0)


def test_an_answer_that_is_not_whole_is_undecided(trunkline, table):
    daemon = shadowed(trunkline, ttl="1h", max_result="1KiB")
    with daemon.endpoint().wire() as wire:
        stored(daemon, wire)
        table.sql("update shade set v = repeat('x', 5000) where n = 1")
        assert len(value(wire)) == 5000
        table.sql("alter table shade drop v")
        assert "E" in [m.kind for m in wire.ask(w.query(SQL))]
        assert told(daemon) == (2, 0, 2) or told(daemon)[1:] == (0, 2)


def test_what_may_not_be_shared_is_not_compared(trunkline, table):
    daemon = shadowed(trunkline, ttl="1h")
    with daemon.endpoint().wire() as wire:
        eventually(lambda: wire.ask(w.query("select random()")) and rule_of(daemon)["refused"] > 2)
        assert rule_of(daemon)["stored"] == 0 and told(daemon) == (0, 0, 0)
        wire.ask(w.query("begin"))
        wire.ask(w.query(SQL))
        wire.ask(w.query("commit"))


def test_a_hint_changes_what_is_tried_and_not_more(trunkline, table):
    daemon = trunkline(relays=1, routes=[
        route(cache_hints=True, cache=[{"mode": "shadow", "of": "dedupe"}])])
    sql = SQL + " /* trunkline: ttl=1h */"
    with daemon.endpoint().wire() as wire:
        stored(daemon, wire, sql)
        table.sql("update shade set v = 'b' where n = 1")
        assert value(wire, sql) == "b"
        assert told(daemon)[1:] == (1, 0)
        wire.ask(w.query(SQL + " /* trunkline: off */"))
        assert rule_of(daemon)["off"] == 1


def test_a_rule_that_needs_the_text_parsed_shadows_too(trunkline, table):
    daemon = shadowed(trunkline, ttl="1h", match={"tables": ["shade"]})
    with daemon.endpoint().wire() as wire:
        stored(daemon, wire)
        assert value(wire) == "a"
        assert told(daemon)[0] > 0 and rule_of(daemon)["executed"] == 0


# --- dedupe --------------------------------------------------------------------------------------


def judged(daemon):
    totals = {row["name"]: row["value"] for row in daemon.console("SHOW CACHE_TOTALS")}
    return totals["verdicts"] > 0 and daemon.console("SHOW FLIGHTS") == []


def test_executions_at_the_same_time_are_compared(trunkline, gate):
    daemon = shadowed(trunkline, relays=2, of="dedupe", functions=["public.flights_held"])
    sql = "select a, b, flights_held(1) from flights_rows where a = 1"
    wires = [daemon.endpoint().wire() for _ in range(6)]
    gate.open()
    eventually(lambda: wires[0].ask(w.query(sql)) and judged(daemon))
    gate.shut()
    before = gate.runs()
    wires[0].send(w.query(sql))
    eventually(lambda: gate.busy() == 1 and len(daemon.console("SHOW FLIGHTS")) == 1)
    for wire in wires[1:]:
        wire.send(w.query(sql))
    eventually(lambda: gate.busy() == 6)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == [["1", "one", "1"]]
    assert gate.runs() == before + 6
    hits, differences, undecided = told(daemon)
    assert (hits, differences) == (5, 0) and undecided <= 5
    assert daemon.console("SHOW FLIGHTS") == []


@pytest.mark.parametrize("of", ["dedupe", "ttl"])
def test_clients_that_leave_end_their_shadow(trunkline, gate, of):
    daemon = shadowed(trunkline, relays=2, of=of, functions=["public.flights_held"])
    sql = "select a, b, flights_held(1) from flights_rows where a = 1"
    gate.open()
    with daemon.endpoint().wire() as wire:
        eventually(lambda: wire.ask(w.query(sql)) and judged(daemon))
    gate.shut()
    daemon.console("CACHE FLUSH")
    wires = [daemon.endpoint().wire().send(w.query(sql)) for _ in range(5)]
    eventually(lambda: gate.busy() == 5)
    for wire in wires:
        wire.socket.close()
    eventually(lambda: gate.busy() == 0 and daemon.console("SHOW FLIGHTS") == [])


# --- strict --------------------------------------------------------------------------------------

STRICT = """
drop schema if exists s cascade; create schema s;
create table s.a (n int primary key, v int); insert into s.a values (1, 0), (2, 0);
create table s.hidden (v int); insert into s.hidden values (0);
create function s.lies() returns int language sql stable as 'select v from s.hidden';
grant usage on schema s to public; grant all on all tables in schema s to public;
"""
READ = "select v from s.a where n = 1"
LIES = "select v, s.lies() from s.a where n = 1"


@pytest.fixture
def cluster(logical):
    prepare(logical)
    logical.sql(STRICT)
    return logical


@pytest.fixture
def strict(trunkline, cluster):
    return fed(trunkline, cluster)


def fed(trunkline, cluster, **settings):
    """A daemon that has compared a strict answer."""
    daemon = trunkline(
        server=cluster, relays=2, cache_functions=["s.lies"],
        services={"main": {"hosts": [f"127.0.0.1:{cluster.port}"], "tls": {"mode": "disable"},
                           "feed_user": "trusted"}},
        routes=[route(cache=[{"mode": "shadow", "of": "strict"}], **settings)])
    with daemon.endpoint().wire() as wire:
        eventually(lambda: wire.ask(w.query(READ)) and told(daemon)[0] > 0)
    return daemon


def test_strict_answers_are_those_of_the_server(strict, cluster):
    ends = threading.Event()

    def write():
        with client(cluster) as direct:
            while not ends.is_set():
                direct.execute("update s.a set v = v + 1")

    before = told(strict)
    writer = threading.Thread(target=write)
    writer.start()
    wires = [strict.endpoint().wire() for _ in range(4)]
    try:
        for _ in range(300):
            for wire in wires:
                wire.send(w.query(READ))
            for wire in wires:
                assert len(w.rows(wire.until())) == 1
    finally:
        ends.set()
        writer.join()
    eventually(lambda: wires[0].ask(w.query(READ)) and told(strict)[0] > before[0])
    assert told(strict)[1] == 0
    assert rule_of(strict)["hits"] == 0


def test_a_commit_behind_the_feeds_answer_makes_no_difference(trunkline, cluster):
    daemon = fed(trunkline, cluster, pool_size=1)
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as reader, \
            client(cluster) as direct:
        eventually(lambda: hit(daemon, reader))
        holder.ask(w.query("begin"))
        hits, differences, undecided = told(daemon)
        reader.send(w.query(READ))  # the feed says that the entry is current; no server is free
        eventually(lambda: told(daemon)[0] == hits + 1)
        direct.execute("update s.a set v = 5")
        holder.ask(w.query("commit"))
        assert w.rows(reader.until()) == [["5"]]
        eventually(lambda: told(daemon) == (hits + 1, differences, undecided + 1))


def hit(daemon, wire):
    before = told(daemon)[0]
    wire.ask(w.query(READ))
    return told(daemon)[0] > before


def test_a_strict_answer_that_is_wrong_is_noticed(strict, cluster):
    with strict.endpoint().wire() as wire, client(cluster) as direct:
        hits = told(strict)[0]
        eventually(lambda: wire.ask(w.query(LIES)) and told(strict)[0] > hits)
        direct.execute("update s.hidden set v = 7")
        assert w.rows(wire.ask(w.query(LIES))) == [["0", "7"]]
        eventually(lambda: wire.ask(w.query(LIES)) and told(strict)[1] > 0)
        eventually(lambda: "cache.difference" in strict.log())


def test_strict_shadows_whose_clients_leave_are_ended(strict):
    for _ in range(50):
        with strict.endpoint().wire() as wire:
            wire.send(w.query(READ))
    with strict.endpoint().wire() as wire:
        assert w.rows(wire.ask(w.query(READ)))
