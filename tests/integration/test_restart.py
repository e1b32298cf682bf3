"""Servers come and go; clients that wait are served as soon as one is back."""
import signal
import threading
import time

import psycopg
import pytest
from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.ports import free_port
from support.trunkline import route

SERVED = 0.5 * STRETCH


@pytest.fixture
def own(cluster):
    return cluster()


@pytest.fixture
def daemon(trunkline, own):
    return trunkline(server=own, routes=[route(database="session", pool="session", pool_size=4),
                                         route(pool_size=4)])


def bring_back(own):
    """Starts the cluster; the moment at which it answered first."""
    own.begin()
    while not own.ready():
        threading.Event().wait(0.005)
    return time.monotonic()


def test_waiting_clients_are_served_when_postgresql_is_ready_again(daemon, own):
    clients = [daemon.endpoint().wire() for _ in range(20)]
    for client in clients:
        client.ask(w.query("select 'warm'"))
    own.stop()
    for client in clients:
        client.send(w.query("select 'served'"))
    eventually(lambda: int(daemon.pool()["cl_waiting"]) == 20)
    served = []

    def collect():
        for client in clients:
            answers = client.until()
            served.append((time.monotonic(), w.rows(answers)))

    collector = threading.Thread(target=collect)
    collector.start()
    ready = bring_back(own)
    collector.join()
    assert all(rows == [["served"]] for _, rows in served)
    assert max(moment for moment, _ in served) - ready < SERVED
    for client in clients:
        client.__exit__()


def test_logins_to_a_session_pool_wait_for_postgresql_too(daemon, own):
    own.stop()
    wire = daemon.endpoint(database="session").wire(login=False)
    wire.send(w.startup_packet(user="app", database="session"))
    done = []
    waiter = threading.Thread(target=lambda: done.append(
        (wire.login("app", "app"), time.monotonic())))
    waiter.start()
    ready = bring_back(own)
    waiter.join()
    assert done[0][1] - ready < SERVED
    wire.__exit__()


def test_a_restart_is_not_met_by_a_storm_of_logins(daemon, own):
    clients = [daemon.endpoint().wire() for _ in range(30)]
    own.stop()
    for client in clients:
        client.send(w.query("select 'served'"))
    eventually(lambda: int(daemon.pool()["cl_waiting"]) == 30)
    lines = own.log().count("connection received")
    bring_back(own)
    for client in clients:
        assert w.rows(client.until()) == [["served"]]
        client.__exit__()
    # Our own watching makes some of these; the pool may not hold more than 4 servers.
    assert own.log().count("connection authorized: user=app database=app") <= 8
    assert own.log().count("connection received") - lines < 200


def test_a_server_that_was_terminated_while_idle_is_noticed(daemon, own):
    with daemon.connect() as connection:
        for _ in range(5):
            pid = connection.execute("select pg_backend_pid()").fetchone()[0]
            own.sql("select pg_terminate_backend(%s)", pid)
            eventually(lambda: pid not in own.backends())
            assert connection.execute("select 1").fetchone() == (1,)


def test_a_server_that_dies_in_a_query_is_told_once(daemon, own):
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        pid = w.rows(wire.ask(w.query("select pg_backend_pid()")))[0][0]
        wire.send(w.query("select pg_sleep(60)"))
        eventually(lambda: own.one("select count(*) from pg_stat_activity where pid = %s "
                                   "and query ~ 'sleep'", pid) == 1)
        own.sql("select pg_terminate_backend(%s)", int(pid))
        assert wire.until("E")[-1].sqlstate == "57P01"
        wire.send(w.TERMINATE)
        assert "E" not in [m.kind for m in wire.rest()]
        assert w.rows(other.ask(w.query("select 1"))) == [["1"]]


def test_a_server_that_crashes_in_a_transaction_ends_the_transaction_only(daemon, own):
    with daemon.connect() as connection, daemon.connect() as other:
        connection.execute("begin")
        pid = connection.execute("select pg_backend_pid()").fetchone()[0]
        own.sql("select pg_terminate_backend(%s)", pid)
        eventually(lambda: pid not in own.backends())
        with pytest.raises(psycopg.Error):
            connection.execute("select 'must not run outside its transaction'")
        assert other.execute("select 1").fetchone() == (1,)


def test_an_immediate_shutdown_and_a_recovery_are_waited_for(daemon, own):
    with daemon.connect() as connection:
        connection.execute("select 1")
        own.stop(signal.SIGQUIT)
        answer = []
        waiter = threading.Thread(
            target=lambda: answer.append(connection.execute("select 'back'").fetchone()))
        waiter.start()
        bring_back(own)
        waiter.join()
        assert answer == [("back",)]


def test_a_server_that_is_away_for_too_long_is_an_error_at_the_deadline(trunkline, cluster):
    own = cluster()
    daemon = trunkline(server=own, routes=[route(claim_timeout="3s")])
    with daemon.endpoint().wire() as wire:
        own.stop()
        wire.send(w.query("select 1"))
        answers = wire.until()
        assert w.kinds(answers) == "E Z"
        assert answers[0].sqlstate in ("08006", "57P03")
        own.start()
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_a_second_host_serves_when_the_first_is_gone(trunkline, cluster):
    one, two = cluster(), cluster()
    daemon = trunkline(services={"main": {
        "hosts": [f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}"], "tls": {"mode": "disable"}}})
    assert daemon.endpoint().one("select 1") == 1
    one.stop()
    with daemon.connect() as connection:
        for _ in range(5):
            try:
                port = connection.execute("select inet_server_port()").fetchone()[0]
            except psycopg.OperationalError:
                continue
            assert port == two.port


def test_a_network_that_resets_all_connections_is_survived(trunkline, postgres, proxy):
    road = proxy("127.0.0.1", postgres.port)
    daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{road.port}"],
                                          "tls": {"mode": "disable"}}})
    with daemon.connect() as connection:
        for _ in range(3):
            connection.execute("select 1")
            road.cut()
            eventually(lambda: int(daemon.pool().get("sv_idle", 0)) == 0)
            assert connection.execute("select 1").fetchone() == (1,)


def test_a_server_may_send_single_bytes(trunkline, postgres, proxy):
    road = proxy("127.0.0.1", postgres.port, piece=1)
    daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{road.port}"],
                                          "tls": {"mode": "disable"}}})
    with daemon.connect() as connection:
        assert connection.execute("select repeat('x', 300)").fetchone() == ("x" * 300,)


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("limits", [{"claim_timeout": "400ms"}, {"claim_timeout": "never"}],
                         ids=["claim_timeout", "login_timeout"])
def test_waiting_for_the_first_server_has_a_limit(trunkline, mode, limits):
    """Nothing of the pool is known yet; either limit ends the login."""
    daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{free_port()}"],
                                          "tls": {"mode": "disable"}}},
                       login_timeout="600ms" if limits["claim_timeout"] == "never" else "30s",
                       routes=[route(pool=mode, auth="trust", **limits)])
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.startup_packet(user="app", database="app"))
        answers = []
        took = seconds(lambda: answers.extend(wire.rest()))
        assert 0.35 < took < 2 * STRETCH
        assert [m.fields["S"] for m in answers if m.kind == "E"] == ["FATAL"]
        assert answers[-1].sqlstate == "08006"  # no server can be reached
        assert not [m for m in answers if m.kind == "N"]
