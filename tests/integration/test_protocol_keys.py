"""Cancel keys of protocol 3.2: to clients that ask for it, and from servers that speak it."""
import socket

import pytest
from support import wire as w
from support.patience import eventually
from support.scripted import Scripted
from support.trunkline import route


def login(endpoint, version, **parameters):
    wire = endpoint.wire(login=False)
    wire.send(w.startup_packet(version, user=endpoint.user, database=endpoint.database, **parameters))
    wire.login(endpoint.user, endpoint.password)
    return wire


@pytest.mark.parametrize("asked, size", [(0x30000, 4), (0x30001, 4), (0x30002, 32), (0x3270f, 32)])
def test_a_client_gets_a_key_of_its_version(pooled, asked, size):
    with login(pooled, asked) as wire:
        assert len(wire.secret) == size and 0 < wire.pid < 1 << 31


def test_only_the_exact_long_key_cancels(pooled, postgres):
    with login(pooled, 0x30002) as wire:
        wire.send(w.query("select pg_sleep(62)"))
        eventually(lambda: postgres.one("select count(*) from pg_stat_activity "
                                        "where query = 'select pg_sleep(62)' and state = 'active'"))
        own = wire.pid, wire.secret
        for secret in (wire.secret[:-1], wire.secret[:4], wire.secret + b"x", wire.secret[::-1],
                       wire.secret[:-1] + bytes([wire.secret[-1] ^ 1]), wire.secret * 8):
            wire.secret = secret
            wire.cancel_elsewhere()
        assert wire.silent()
        wire.pid, wire.secret = own
        wire.cancel_elsewhere()
        assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["57014"]


def test_keys_of_3_2_are_all_different(pooled):
    wires = [login(pooled, 0x30002) for _ in range(20)]
    assert len({wire.secret for wire in wires}) == 20
    for wire in wires:
        wire.__exit__()


def scripted_daemon(trunkline, server, protocol="3.2", **changes):
    services = {"main": {"hosts": [f"127.0.0.1:{server.port}"], "tls": {"mode": "disable"},
                         "protocol": protocol}}
    return trunkline(services=services, **changes)


@pytest.mark.parametrize("pool", ["session", "transaction"])
@pytest.mark.parametrize("speaks, secret, sent", [
    (0x30002, 4, 4), (0x30002, 32, 32), (0x30002, 256, 256), (0x30000, 32, 4),
])
def test_a_server_is_cancelled_by_its_own_key_of_any_length(trunkline, pool, speaks, secret, sent):
    with Scripted(speaks, secret) as server:
        daemon = scripted_daemon(trunkline, server, routes=[route(pool=pool, pool_size=1)])
        with daemon.endpoint().wire() as wire:
            pid = int(w.rows(wire.ask(w.query("select 1")))[0][0])
            assert len(server.keys[pid][0]) == sent
            wire.send(w.query("wait"))
            wire.cancel_elsewhere()
            assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["57014"]
            assert server.cancels == [(pid, server.keys[pid][0])]
        assert server.startups[0][0] == 0x30002


@pytest.mark.parametrize("state", ["0A000", "08P01"])
def test_a_server_that_refuses_the_version_is_asked_for_the_old_one(trunkline, state):
    with Scripted(0x30000, refuses=state) as server:
        daemon = scripted_daemon(trunkline, server)
        with daemon.endpoint().wire() as wire:
            wire.ask(w.query("select 1"))
        assert [version for version, _ in server.startups] == [0x30002, 0x30000]


def test_the_old_version_is_asked_for_unless_told_otherwise(trunkline):
    with Scripted() as server:
        daemon = scripted_daemon(trunkline, server, protocol="3.0")
        with login(daemon.endpoint(), 0x30002) as wire:
            assert len(wire.secret) == 32
            pid = int(w.rows(wire.ask(w.query("select 1")))[0][0])
            assert len(server.keys[pid][0]) == 4
        assert {version for version, _ in server.startups} == {0x30000}


def test_postgresql_of_any_version_is_spoken_to(trunkline, postgres):
    services = {"main": {"hosts": [f"127.0.0.1:{postgres.port}"], "protocol": "3.2"}}
    daemon = trunkline(services=services)
    for mode in ("session", "transaction"):
        with daemon.endpoint(mode).wire() as wire:
            wire.send(w.query("select pg_sleep(63)"))
            eventually(lambda: postgres.one(
                "select count(*) from pg_stat_activity "
                "where query = 'select pg_sleep(63)' and state = 'active'"))
            wire.cancel_elsewhere()
            assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["57014"]


def test_the_console_has_a_key_too(pooler):
    with login(pooler.endpoint("trunkline", "admin"), 0x30002) as wire:
        assert wire.pid > 0 and len(wire.secret) in (4, 32)


def test_a_cancel_request_of_the_greatest_length_is_read_and_one_beyond_is_not(pooler):
    for size in (256, 257):
        with socket.create_connection((pooler.host, pooler.port)) as end:
            end.sendall(w.cancel_packet(77, b"k" * size))
            end.settimeout(15)
            answer = end.recv(100)
            assert (answer == b"") == (size == 256)
