"""Connections that say nothing keep nobody out: neither who logs in nor who has logged in."""
import os
import resource
import select
import socket
import threading

import psycopg
import pytest
from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.trunkline import binary, route


@pytest.fixture(autouse=True)
def room_for_sockets():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def few(trunkline, tmp_path, monkeypatch):
    """few(descriptors, ...): a daemon that has no more of them."""
    def make(descriptors, **changes):
        script = tmp_path / f"limited{descriptors}"
        # root could raise the limit again
        drop = "setpriv --bounding-set=-sys_resource" if os.geteuid() == 0 else ""
        script.write_text(f'#!/bin/sh\nulimit -n {descriptors}\nexec {drop} {binary()} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv("TRUNKLINE_BINARY", str(script))
        return trunkline(**changes)
    return make


def readable(one):
    return bool(select.select([one], [], [], 0)[0])


class Crowd:
    """Sockets that are connected and say nothing, or what they are told to."""

    def __init__(self, daemon):
        self.daemon, self.sockets = daemon, []

    def comes(self, count, word=b"", wait=True):
        for _ in range(count):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((self.daemon.host, self.daemon.port))
            self.sockets.append(one)
        if word or wait:
            for one in self.sockets[-count:]:
                eventually(lambda one=one: self.says(one, word))
        return self

    @staticmethod
    def says(one, word):
        try:
            return one.send(word) == len(word)
        except BlockingIOError:
            return False
        except OSError as error:
            return error.errno in (104, 32)  # it has been sent away

    @staticmethod
    def state(one):
        """None while it is there and was told nothing, else the SQLSTATE that it was told."""
        try:
            data = one.recv(4096, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            return ""
        if data[:1] == b"R":
            return None  # asked for its password
        return data.split(b"\0C")[1][:5].decode() if data[:1] == b"E" else ""

    def gone(self):
        return [number for number, one in enumerate(self.sockets) if self.state(one) is not None]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.sockets:
            one.close()


def relays(daemon, column):
    with daemon.endpoint("trunkline", "admin").wire() as admin:
        return relays_by(admin, column)


def relays_by(admin, column):
    """The sum of this column of SHOW RELAYS, asked by a client that has logged in already."""
    answers = admin.ask(w.query("show relays"))
    columns = [m for m in answers if m.kind == "T"][0].body
    titles, at = [], 2
    while at < len(columns):
        end = columns.index(b"\0", at)
        titles.append(columns[at:end].decode())
        at = end + 19
    place = titles.index(column)
    return sum(int(row[place]) for row in w.rows(answers))


def limited(postgres, few, descriptors, **changes):
    services = {"main": {"hosts": [f"127.0.0.1:{postgres.port}"], "tls": {"mode": "disable"},
                         "connection_limit": 20}}
    return few(descriptors, relays=1, services=services, cancel_limit=10,
               unauthenticated_source_limit=100000, **changes)


def test_a_thousand_silent_sockets_stop_no_other_client(postgres, few):
    """They are many more than there are descriptors; servers have theirs, whatever comes."""
    daemon = limited(postgres, few, 400, unauthenticated_limit=100000)
    with daemon.endpoint().wire() as before, Crowd(daemon) as crowd:
        crowd.comes(1000, wait=False)
        before.ask(w.query("begin"))  # its first server
        for _ in range(3):
            with daemon.endpoint().wire() as other:
                assert w.rows(other.ask(w.query("select 'served'"))) == [["served"]]
        assert w.rows(before.ask(w.query("select 'served'"))) == [["served"]]
        before.ask(w.query("commit"))
        daemon.logged(r"clients\.crowd .*connections_allowed=\d+ shed=[1-9]")
        gone = crowd.gone()
        assert len(gone) > 500
        assert gone[:300] == list(range(300))  # the oldest
        assert relays(daemon, "crowded_out") > 500
        assert "Too many open files" not in daemon.log()
        assert "server.login_failed" not in daemon.log()
    eventually(lambda: relays(daemon, "unauthenticated") == 0)


def test_every_client_that_is_let_in_gets_a_server(postgres, few):
    """A configuration that promises more than there is: one client more is refused, and told why."""
    services = {"main": {"hosts": [f"127.0.0.1:{postgres.port}"], "tls": {"mode": "disable"},
                         "connection_limit": 1000}}
    daemon = few(130, relays=1, services=services, cancel_limit=10, routes=[route(pool_size=60)])
    found = daemon.logged(r"descriptors\.few .*clients_allowed=(\d+) servers_allowed=(\d+)")
    allowed, servers = int(found.group(1)), int(found.group(2))
    assert 8 <= allowed < servers
    eventually(lambda: relays(daemon, "clients") == 1)
    clients = [daemon.endpoint().wire() for _ in range(allowed)]
    for client in clients:
        assert w.kinds(client.ask(w.query("begin")))[-1] == "Z"
    with daemon.endpoint().wire(login=False) as more:
        more.send(w.startup_packet(user="app", database="app"))
        answer = more.receive()
        assert answer.sqlstate == "53300"
        assert f"too many clients, the limit is clients={allowed}" in answer.fields["M"]
    for client in clients:
        client.ask(w.query("commit"))
        client.__exit__()
    assert "Too many open files" not in daemon.log()


def test_the_oldest_that_said_nothing_goes_first(trunkline):
    daemon = trunkline(relays=2, unauthenticated_limit=5)
    packet = w.startup_packet(user="app", database="app")
    with daemon.endpoint("trunkline", "admin").wire() as admin, Crowd(daemon) as crowd:
        crowd.comes(2, packet)
        for one in crowd.sockets:
            eventually(lambda one=one: readable(one))
        for count in (3, 4, 5):  # one after the other, since two relays accept
            crowd.comes(1)
            eventually(lambda count=count: relays_by(admin, "unauthenticated") == count)
        with daemon.endpoint().wire() as client:
            assert w.rows(client.ask(w.query("select 1"))) == [["1"]]
            eventually(lambda: crowd.gone() == [2])
            assert crowd.state(crowd.sockets[2]) == "53300"
            crowd.comes(1)
            with daemon.endpoint().wire() as other:
                assert w.rows(other.ask(w.query("select 1"))) == [["1"]]
            eventually(lambda: crowd.gone() == [2, 3])


def test_a_source_has_a_limit_of_its_own(trunkline):
    """What one address does is no matter to another; who has logged in does not count."""
    daemon = trunkline(relays=1, listen=[{"host": "*", "port": 0}], start=False)
    config = dict(daemon.config, unauthenticated_source_limit=4)
    config["listen"] = [{"host": "0.0.0.0", "port": trunkline(start=False).port}]
    daemon.write(config)
    daemon.host, daemon.port = "127.0.0.1", config["listen"][0]["port"]
    daemon.start()
    logged_in = [daemon.endpoint().wire() for _ in range(6)]
    with Crowd(daemon) as crowd, socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.2", 0))
        elsewhere.connect(("127.0.0.1", daemon.port))
        crowd.comes(4)
        eventually(lambda: crowd.comes(1) and len(crowd.gone()) >= 1)
        elsewhere.setblocking(False)
        assert Crowd.state(elsewhere) is None
        assert {crowd.state(crowd.sockets[n]) for n in crowd.gone()} <= {"53300", ""}
        daemon.logged(r"clients\.crowd from=127\.0\.0\.1 .*source_limit=4")
    for client in logged_in:
        assert w.rows(client.ask(w.query("select 1"))) == [["1"]]
        client.__exit__()


def test_a_storm_of_logins_is_let_in(trunkline):
    """More logins at once than may be under way: they wait their turn, and nobody is ended."""
    daemon = trunkline(relays=2, unauthenticated_limit=8)
    failed = []

    def log_in():
        try:
            assert daemon.endpoint().one("select 1") == 1
        except (psycopg.Error, AssertionError) as error:
            failed.append(error)

    threads = [threading.Thread(target=log_in) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert relays(daemon, "crowded_out") == 0


def test_short_sessions_leave_no_state(trunkline):
    daemon = trunkline(relays=2, unauthenticated_limit=3)
    for number in range(30):
        daemon.endpoint().one("select 1")
        with Crowd(daemon) as crowd:
            crowd.comes(1)
    eventually(lambda: relays(daemon, "unauthenticated") == 0)
    assert relays(daemon, "crowded_out") == 0


def test_later_connections_wait_no_longer_than_the_first(postgres, few):
    """All are logged in, and nobody leaves: each that comes is refused when the first one is."""
    daemon = few(130, relays=1, cancel_limit=10, services={"main": {
        "hosts": [f"127.0.0.1:{postgres.port}"], "tls": {"mode": "disable"}}})
    console = w.startup_packet(user="admin", database="trunkline")
    with Crowd(daemon) as crowd:
        while crowd.gone() == [] and len(crowd.sockets) < 200:
            crowd.comes(1, console)
            eventually(lambda: readable(crowd.sockets[-1]))
        served = len(crowd.sockets) - 1
        crowd.comes(12, console)
        assert seconds(lambda: eventually(lambda: len(crowd.gone()) == 13)) < 3 * 3 * STRETCH
        assert crowd.gone() == list(range(served, served + 13))
        assert {crowd.state(crowd.sockets[number]) for number in crowd.gone()} == {"53300"}
