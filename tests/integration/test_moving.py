"""Clients that rest move from one relay to another, and nobody notices."""
import threading

import psycopg
import pytest
from support import wire as w
from support.patience import STRETCH, eventually
from support.ports import free_port
from support.trunkline import Trunkline, configuration, route

SLEEP = w.query("select pg_sleep(60)")


@pytest.fixture(scope="module")
def pooler(postgres, tmp_path_factory):
    """Where nobody moves who was not told to: a relay may be hot after what a test did to it."""
    daemon = Trunkline(tmp_path_factory.mktemp("moving"),
                       configuration(postgres, hot_relay="off")).start()
    yield daemon
    daemon.stop()


def relay_of(pid):
    """Where a client of a transaction pool came to, by its cancel key."""
    return pid & 127


def clients(daemon):
    return {row["relay"]: row["clients"] for row in daemon.console("SHOW RELAYS")}


def came(daemon):
    return sum(int(row["came"]) for row in daemon.console("SHOW RELAYS"))


def id_of(daemon, name):
    rows = daemon.console(f"SHOW CLIENTS WHERE application_name = '{name}'")
    assert len(rows) == 1
    return rows[0]["id"]


def at_rest(daemon, name):
    return eventually(lambda: daemon.console(
        f"SHOW CLIENTS WHERE application_name = '{name}' AND state = 'idle'"))


def move(daemon, name):
    at_rest(daemon, name)
    before = came(daemon)
    daemon.console(f"MOVE_CLIENT '{id_of(daemon, name)}'")
    assert came(daemon) == before + 1


def test_a_client_is_counted_where_it_is(pooler):
    with pooler.endpoint().wire(application_name="counted") as wire:
        own = relay_of(wire.pid)
        before = {row["relay"]: row for row in pooler.console("SHOW RELAYS")}
        move(pooler, "counted")
        after = {row["relay"]: row for row in pooler.console("SHOW RELAYS")}
        assert after[own]["left"] == before[own]["left"] + 1
        assert after[1 - own]["came"] == before[1 - own]["came"] + 1
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]
    eventually(lambda: not pooler.console("SHOW CLIENTS WHERE application_name = 'counted'"))


def test_its_session_goes_along(pooler):
    with pooler.endpoint().wire(application_name="luggage", datestyle="German") as wire:
        wire.ask(w.query("set timezone to 'Asia/Tokyo'"))
        wire.ask(w.parse("named", "select $1::int + 1"), w.parse("other", "select 'other'"), w.SYNC)
        wire.ask(w.parse("", "select 'unnamed'"), w.SYNC)
        for _ in range(4):
            move(pooler, "luggage")
            assert w.rows(wire.ask(w.bind(), w.execute(), w.SYNC)) == [["unnamed"]]
            assert w.rows(wire.ask(w.query("show datestyle"))) == [["German, DMY"]]
            assert w.rows(wire.ask(w.query("show timezone"))) == [["Asia/Tokyo"]]
            assert w.rows(wire.ask(w.bind("", "named", ["41"]), w.execute(), w.SYNC)) == [["42"]]
            assert w.rows(wire.ask(w.bind("", "other"), w.execute(), w.SYNC)) == [["other"]]
            wire.ask(w.parse("", "select 'unnamed'"), w.SYNC)
        wire.ask(w.close("S", "other"), w.SYNC)
        move(pooler, "luggage")
        missing = wire.ask(w.bind("", "other"), w.execute(), w.SYNC)
        assert [m.sqlstate for m in missing if m.kind == "E"] == ["26000"]


def test_memory_of_a_moved_client_counts_on_its_new_relay(pooler):
    """In memory_limit: of SQL that may leave state behind, more than its text is kept."""
    def held():
        """By relay, once the consoles that moved the client have left: they are held, too."""
        eventually(lambda: len(console.execute("SHOW CLIENTS").fetchall()) == 2)
        return [row[held_bytes] for row in console.execute("SHOW RELAYS").fetchall()]

    def there_and_back(sql):
        wire.ask(w.parse("", sql.ljust(100)), w.SYNC)
        move(pooler, "weighed")
        wire.ask(w.parse("", "select 1"), w.SYNC)
        move(pooler, "weighed")
        at_rest(pooler, "weighed")
        return held()

    console_endpoint = pooler.endpoint("trunkline", "admin").conninfo()
    with psycopg.connect(console_endpoint, autocommit=True, cursor_factory=psycopg.ClientCursor) as \
            console, pooler.endpoint().wire(application_name="weighed") as wire:
        columns = console.execute("SHOW RELAYS").description
        held_bytes = [column.name for column in columns].index("held_bytes")
        before = there_and_back("select 'plain'")
        for sql in ["set work_mem to '5MB'", "listen heard", "create temp table t (a int)"]:
            assert there_and_back(sql) == before
    eventually(lambda: not pooler.console("SHOW CLIENTS WHERE application_name = 'weighed'"))


def test_a_cancel_request_finds_it(pooler, postgres):
    asleep = "select count(*) from pg_stat_activity where query like 'select pg_sleep%%' and " \
             "state = 'active' and datname = 'app'"
    with pooler.endpoint().wire(application_name="cancelled") as wire:
        for _ in range(3):
            move(pooler, "cancelled")
            wire.send(SLEEP)
            eventually(lambda: postgres.one(asleep) == 1)
            wire.cancel_elsewhere()
            assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["57014"]


def test_an_encrypted_one_moves_as_it_is(trunkline, certificate):
    daemon = trunkline(listen=[{"host": "127.0.0.1", "port": free_port(), "tls": {
        "mode": "require", "cert": str(certificate.cert), "key": str(certificate.key)}}])
    with daemon.connect(sslmode="require", application_name="encrypted") as connection:
        for i in range(4):
            move(daemon, "encrypted")
            assert connection.execute("select %s, repeat('x', 100000)", (i,)).fetchone() == \
                (i, "x" * 100000)
        assert connection.pgconn.ssl_in_use


def test_queries_that_come_while_it_moves_are_answered(pooler):
    stop = threading.Event()
    wrong = []

    def ask():
        with pooler.endpoint().connect(application_name="asking") as connection:
            connection.execute("set timezone to 'Asia/Tokyo'")
            number = 0
            while not stop.is_set():
                number += 1
                row = connection.execute("select %s::int, current_setting('timezone')",
                                         (number,), prepare=True).fetchone()
                if row != (number, "Asia/Tokyo"):
                    wrong.append(row)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        eventually(lambda: pooler.console("SHOW CLIENTS WHERE application_name = 'asking'"))
        asked = id_of(pooler, "asking")
        before = came(pooler)
        with pooler.endpoint("trunkline", "admin").wire() as console:
            def moved_often():
                for _ in range(20):  # an error: it is in the middle of something
                    console.ask(w.query(f"MOVE_CLIENT '{asked}'"))
                return came(pooler) - before >= 20
            eventually(moved_often, every=0)
    finally:
        stop.set()
        asking.join()
    assert not wrong


def test_the_limit_of_clients_stays_exact(trunkline):
    daemon = trunkline(routes=[route(client_limit=2)])
    with daemon.endpoint().wire(application_name="one"), daemon.endpoint().wire() as two:
        for _ in range(3):
            move(daemon, "one")
        with daemon.endpoint().wire(login=False) as third:
            third.send(w.startup_packet(user="app", database="app"))
            with pytest.raises(w.Refused, match="53300"):
                third.login("app", "app")
        two.socket.close()

        def admitted():
            try:
                with daemon.endpoint().connect():
                    return True
            except psycopg.OperationalError:
                return False
        eventually(admitted)


def test_the_password_of_a_client_moves_with_it(trunkline, postgres):
    stored = postgres.one("select rolpassword from pg_authid where rolname = 'app'")
    daemon = trunkline(users={"app": stored, "admin": "admin"})
    # The other relay's first server must be one of its own: this one's is in a transaction.
    with daemon.endpoint().wire(application_name="moves") as wire:
        stays = daemon.endpoint().wire()
        others = []
        while relay_of(stays.pid) != relay_of(wire.pid):
            others.append(stays)
            stays = daemon.endpoint().wire()
        for other in others:
            other.socket.close()
        stays.ask(w.query("begin"))
        move(daemon, "moves")
        assert w.rows(wire.ask(w.query("select current_user"))) == [["app"]]
        stays.ask(w.query("commit"))
        stays.socket.close()


def test_its_idle_time_goes_on(trunkline):
    daemon = trunkline(routes=[route(client_idle_timeout=f"{5 * STRETCH}s")])
    with daemon.endpoint().wire(application_name="idler") as wire:
        move(daemon, "idler")
        assert [m.sqlstate for m in wire.rest() if m.kind == "E"] == ["57P05"]


def test_it_can_be_killed_where_it_is(pooler):
    with pooler.endpoint().wire(application_name="victim") as wire:
        victim = id_of(pooler, "victim")
        move(pooler, "victim")
        pooler.console(f"KILL_CLIENT '{victim}'")
        assert [m.sqlstate for m in wire.rest() if m.kind == "E"] == ["57P01"]


@pytest.mark.parametrize("database, sql, reason", [
    ("transaction", "begin", "in the middle of something"),
    ("session", "select 1", "only clients of transaction and statement pools"),
])
def test_a_client_with_a_server_is_not_moved(pooler, database, sql, reason):
    with pooler.endpoint(database=database).wire(application_name="stays") as wire:
        wire.ask(w.query(sql))
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=reason):
            pooler.console(f"MOVE_CLIENT '{id_of(pooler, 'stays')}'")
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_with_one_relay_there_is_nowhere_to_go(trunkline):
    daemon = trunkline(relays=1)
    with daemon.endpoint().wire(application_name="alone"):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="one relay only"):
            daemon.console(f"MOVE_CLIENT '{id_of(daemon, 'alone')}'")


def test_moving_a_missing_client_is_an_error(pooler):
    with pytest.raises(psycopg.errors.UndefinedObject):
        pooler.console("MOVE_CLIENT '01234567-89ab-7def-8123-456789abcdef'")
    with pytest.raises(psycopg.errors.SyntaxError):
        pooler.console("MOVE_CLIENT 'somebody'")


def test_after_a_reload_it_moves_to_the_pool_as_it_is_now(trunkline):
    daemon = trunkline(routes=[route(pool_size=5)])
    with daemon.endpoint().wire(application_name="reloaded") as wire:
        daemon.reload(dict(daemon.config, routes=[route(pool_size=3)]))
        move(daemon, "reloaded")
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]
        daemon.reload(dict(daemon.config, routes=[route(pool="statement")]))
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="about to end"):
            daemon.console(f"MOVE_CLIENT '{id_of(daemon, 'reloaded')}'")
        assert w.rows(wire.ask(w.query("select 2"))) == [["2"]]


def all_on_one_relay(daemon, count):
    """So many clients of one relay, although new ones go where the fewest are."""
    kept, others = [], []
    while len(kept) < count:
        wire = daemon.endpoint().wire()
        (kept if relay_of(wire.pid) == 0 else others).append(wire)
    for wire in others:
        wire.socket.close()
    return kept


def serve(wires, until):
    """Lets all of them ask all the time, until the condition holds."""
    many = w.query("select repeat('x', 200000)")

    def ask():
        for wire in wires:
            wire.send(many)
        for wire in wires:
            wire.until()
        return until()
    eventually(ask, every=0)


def test_a_hot_relay_gives_clients_away(trunkline):
    daemon = trunkline(hot_relay=1)
    wires = all_on_one_relay(daemon, 8)
    # They may come back as well, when the other one has become the busier of the two.
    serve(wires, lambda: came(daemon) >= 2 and clients(daemon)[1] >= 2)
    for wire in wires:
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]
        wire.socket.close()
    daemon.logged(r"relay\.hot relay=0 ")


def test_clients_stay_where_that_is_wanted(trunkline):
    daemon = trunkline(hot_relay="off")
    wires = all_on_one_relay(daemon, 2)
    for _ in range(200):
        for wire in wires:
            wire.ask(w.query("select repeat('x', 200000)"))
    assert came(daemon) == 0
    for wire in wires:
        wire.socket.close()
