"""A reload is a new version: old clients finish on theirs, new ones get the new one."""
import copy
import json
import re
import subprocess
import threading

import psycopg
import pytest
from support import wire as w
from support.patience import PATIENCE, STRETCH, eventually, seconds
from support.trunkline import USERS, binary, route


def changed(daemon, **keys):
    config = copy.deepcopy(daemon.config)
    config.update(keys)
    return config


def moved(daemon, cluster, rule):
    """The same configuration with one route, which leads to another service."""
    services = dict(daemon.config["services"], other={
        "hosts": [f"127.0.0.1:{cluster.port}"], "tls": {"mode": "disable"}})
    return changed(daemon, services=services, routes=[rule])


def versions(daemon):
    return {int(row["version"]) for row in daemon.console("SHOW ROUTES")}


@pytest.fixture
def other(cluster):
    """A second cluster, told from the first by its port."""
    return cluster()


PORT = "select inet_server_port()"


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("way", ["signal", "console"])
def test_old_clients_finish_on_their_version_and_new_ones_take_the_new(
        trunkline, postgres, other, mode, way):
    daemon = trunkline(routes=[route(pool=mode)])
    old = daemon.connect()
    assert old.execute(PORT).fetchone() == (postgres.port,)
    daemon.write(moved(daemon, other, route(service="other", pool=mode)))
    daemon.hangup() if way == "signal" else daemon.reload()
    eventually(lambda: daemon.endpoint().one(PORT) == other.port)
    assert old.execute(PORT).fetchone() == (postgres.port,)
    assert old.execute("select 1").fetchone() == (1,)
    old.close()


def test_an_obsolete_pool_vanishes_with_its_last_client(trunkline, postgres, other):
    daemon = trunkline(routes=[route(user="reports")])
    old = daemon.connect(user="reports")
    old.execute("select 1")
    assert postgres.backends("app", "reports")
    daemon.reload(moved(daemon, other, route(service="other", user="reports")))
    assert len(versions(daemon)) == 2
    old.close()
    eventually(lambda: postgres.backends("app", "reports") == [])
    eventually(lambda: len(versions(daemon)) == 1)


def test_a_broken_file_changes_nothing_and_is_reported_in_full(trunkline):
    daemon = trunkline()
    with daemon.connect() as connection:
        before = versions(daemon)
        bad = changed(daemon, relays="many", routes=[route(pool="sometimes"), route(pool_size=-1)])
        with pytest.raises(psycopg.Error):
            daemon.reload(bad)
        for word in ("relays", "sometimes", "pool_size", r"trunkline\.yaml:"):
            daemon.logged(word)
        assert versions(daemon) == before
        assert connection.execute("select 1").fetchone() == (1,)
    assert daemon.endpoint().one("select 1") == 1
    daemon.reload(changed(daemon, relays=2, routes=[route(pool_size=3)]))
    assert versions(daemon) != before
    assert daemon.endpoint().one("select 1") == 1


def test_a_broken_file_and_a_signal_change_nothing(trunkline):
    daemon = trunkline()
    daemon.write("listen: [")
    daemon.hangup()
    daemon.logged(r"trunkline\.yaml:\d+:\d+")
    assert daemon.endpoint().one("select 1") == 1


def test_check_start_and_reload_read_included_files(trunkline):
    daemon = trunkline(start=False, include="conf.d/*.yaml", routes=[])
    parts = daemon.folder / "conf.d"
    parts.mkdir()

    def part(name, *rules, **settings):
        (parts / name).write_text(json.dumps({"routes": [dict(rule) for rule in rules], **settings}))

    part("20.yaml", route(user="reports"))
    daemon.start()
    check = [binary(), "check", daemon.file]

    def checked():
        return subprocess.run(check, text=True, capture_output=True, timeout=PATIENCE)

    assert checked().returncode == 0
    assert daemon.endpoint(user="reports").one("select 1") == 1

    part("10.yaml", route(user="reports", auth="block"), clients=77)
    daemon.reload()
    assert [(row["file"], int(row["line"])) for row in daemon.console("SHOW ROUTES")
            if row["obsolete"] == "no"] == [(str(parts / "10.yaml"), 1), (str(parts / "20.yaml"), 1)]
    rows = {row["key"]: row for row in daemon.console("SHOW CONFIG")}
    assert rows["clients"]["value"] == "77"
    assert rows["include"]["value"] == "conf.d/*.yaml"
    daemon.console("SET clients = 78")
    rows = {row["key"]: row for row in daemon.console("SHOW CONFIG")}
    assert rows["clients"]["value"] == "78"

    part("30.yaml", clients=79)
    with pytest.raises(psycopg.Error):
        daemon.reload()
    daemon.logged(r"30\.yaml:1:\d+: clients: this key is already set in .*10\.yaml:1")
    assert "30.yaml:1:" in checked().stderr and checked().returncode != 0
    (parts / "30.yaml").unlink()
    (parts / "10.yaml").unlink()
    daemon.hangup()
    eventually(lambda: daemon.console("SHOW ROUTES")[0]["file"] == str(parts / "20.yaml"))
    assert daemon.endpoint(user="reports").one("select 1") == 1


def test_a_pool_size_applies_in_place(trunkline):
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as two:
        one.ask(w.query("begin"))
        two.send(w.query("select 'served'"))
        daemon.pool_shows(cl_waiting=1)
        daemon.reload(changed(daemon, routes=[route(pool_size=2)]))
        assert w.rows(two.until()) == [["served"]]
        one.ask(w.query("commit"))


def test_a_user_can_be_blocked_and_let_in_again(trunkline):
    daemon = trunkline()
    with daemon.connect(user="mallory") as before:
        daemon.reload(changed(daemon, routes=[
            dict(database="*", user="mallory", auth="block"), route()]))
        with pytest.raises(psycopg.OperationalError):
            daemon.connect(user="mallory")
        assert before.execute("select 1").fetchone() == (1,)
    daemon.reload(changed(daemon, routes=[route()]))
    assert daemon.endpoint(user="mallory").one("select 1") == 1


def test_the_auth_file_is_read_again(trunkline):
    daemon = trunkline(users={"admin": "admin"}, routes=[route(auth="scram-sha-256")])
    with pytest.raises(psycopg.OperationalError):
        daemon.connect()
    daemon.reload(daemon.config, users=USERS)
    assert daemon.endpoint().one("select 1") == 1


def test_clients_of_an_obsolete_route_leave_after_the_drain_timeout(trunkline, other):
    daemon = trunkline(drain_timeout="300ms")
    old = daemon.connect()
    old.execute("select 1")
    daemon.reload(moved(daemon, other, route(service="other")))
    with pytest.raises(psycopg.OperationalError):
        eventually(lambda: old.execute("select 1") is None)
    eventually(lambda: len(versions(daemon)) == 1)


def test_the_log_tells_of_an_obsolete_pool_once_with_all_its_clients(trunkline, other):
    daemon = trunkline(relays=4, drain_timeout="1s")
    clients = [daemon.endpoint().wire() for _ in range(9)] + [daemon.endpoint(user="reports").wire()]
    daemon.reload(moved(daemon, other, route(service="other")))
    for user, count in ("app", 9), ("reports", 1):
        daemon.logged(rf"route\.obsolete database=app user={user} version=1 clients={count}\n")
    assert len(re.findall(r"NOTICE route\.obsolete", daemon.log())) == 2

    def drained():
        told = re.findall(r"route\.drained database=app user=app version=1 relay=(\d) clients=(\d)", daemon.log())
        return len(dict(told)) == len(told) and sum(int(count) for _, count in told) == 9
    eventually(drained)
    daemon.reload(moved(daemon, other, route(service="main")))
    daemon.reload(moved(daemon, other, route(service="other")))
    assert not re.search(r"route\.obsolete .*version=1 clients=[1-9]", daemon.log().split("route.drained")[-1])
    for client in clients:
        client.__exit__()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_versions_of_a_pool_share_one_budget(trunkline, postgres, other, elsewhere):
    """While the old version's client is in a transaction the new one's waits, and not longer."""
    rule = route(user="reports", pool_size=1)
    daemon = trunkline(routes=[rule])
    with daemon.endpoint(user="reports").wire() as old:
        old.ask(w.query("begin"))
        daemon.reload(moved(daemon, other, dict(rule, service="other")) if elsewhere else
                      changed(daemon, routes=[dict(rule, auth="md5")]))
        with daemon.endpoint(user="reports").wire(login=False) as new:
            new.send(w.startup_packet(user="reports", database="app"))
            waiter = threading.Thread(target=lambda: new.login("reports", "reports"))
            waiter.start()
            eventually(lambda: int(daemon.pool("app", "reports")["cl_waiting"]) == 1)
            assert len(postgres.backends("app", "reports")) == 1
            assert other.backends("app", "reports") == []
            took = seconds(lambda: (old.ask(w.query("commit")), waiter.join()))
            assert took < 1 * STRETCH
            for client in (new, old, new):
                assert w.rows(client.ask(w.query("select 'served'"))) == [["served"]]
                assert len(postgres.backends("app", "reports") +
                           other.backends("app", "reports")) == 1


def test_a_service_that_moves_takes_its_pools_along(trunkline, postgres, other):
    """Other hosts are no other service: the pool stays, its servers are replaced."""
    daemon = trunkline(routes=[route(user="reports")])
    with daemon.connect(user="reports") as client:
        assert client.execute(PORT).fetchone() == (postgres.port,)
        daemon.reload(changed(daemon, services={
            "main": {"hosts": [f"127.0.0.1:{other.port}"], "tls": {"mode": "disable"}}}))
        eventually(lambda: client.execute(PORT).fetchone() == (other.port,))
        eventually(lambda: postgres.backends("app", "reports") == [])


def test_reloads_in_quick_succession_end_with_the_last(trunkline):
    """A relay that has not taken one version yet when the next comes skips it."""
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.connect() as connection:
        for number in range(60):
            daemon.write(changed(daemon, routes=[route(pool_size=2 + number % 2)]))
            daemon.hangup()
            connection.execute("select 1")
        daemon.write(changed(daemon, routes=[dict(database="*", user="*", auth="block")]))
        daemon.hangup()

        def blocked():
            with pytest.raises(psycopg.OperationalError, match="blocked"):
                daemon.connect()
            return True

        eventually(blocked)
        assert connection.execute("select 1").fetchone() == (1,)


def test_many_reloads_leak_nothing(trunkline):
    daemon = trunkline()
    daemon.endpoint().one("select 1")
    for number in range(20):
        daemon.reload(changed(daemon, routes=[route(pool_size=1 + number % 3)]))
    descriptors = daemon.descriptors()
    for number in range(20):
        daemon.reload(changed(daemon, routes=[route(pool_size=1 + number % 3)]))
        assert daemon.endpoint().one("select 1") == 1
    eventually(lambda: daemon.descriptors() <= descriptors + 4)


def test_a_client_that_connected_before_a_reload_logs_in_after_it(trunkline):
    daemon = trunkline()
    early = [daemon.endpoint().wire(login=False) for _ in range(3)]
    for _ in range(3):
        daemon.console("RELOAD")
    for client in early:
        client.startup("app", "app", "app")
    daemon.console("RELOAD")
    for client in early:
        assert w.rows(client.ask(w.query("select 1"))) == [["1"]]
        client.__exit__()
