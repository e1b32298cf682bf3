"""Sockets at their worst: keys that change in mid-stream, ends without a word, half an end."""
import select
import socket
import ssl
import time

import pytest
from support import wire as w
from support.front import DirectFront
from support.openssl import TLS_1_2, Session
from support.patience import PATIENCE, eventually
from support.ports import free_port
from support.trunkline import Trunkline, configuration, route

MODES = ["session", "transaction"]


@pytest.fixture(scope="module")
def secure(postgres, certificate, tmp_path_factory):
    """TLS on both sides."""
    config = configuration(
        postgres,
        listen=[{"host": "127.0.0.1", "port": free_port(),
                 "tls": {"mode": "allow", "cert": str(certificate.cert),
                         "key": str(certificate.key)}}],
        services={"main": {"hosts": [f"127.0.0.1:{postgres.port}"], "tls": {"mode": "require"}}})
    daemon = Trunkline(tmp_path_factory.mktemp("secure"), config).start()
    yield daemon
    daemon.stop()


def session(endpoint, newest=None):
    """A client that has logged in, over OpenSSL."""
    wire = endpoint.wire(login=False)
    wire.send(w.SSL_REQUEST)
    assert wire.take(1) == b"S"
    wire.socket = Session(wire.socket, newest)
    wire.startup(endpoint.user, endpoint.database, endpoint.password)
    return wire


@pytest.mark.parametrize("mode", MODES)
def test_keys_may_change_between_and_within_messages(secure, mode):
    with session(secure.endpoint(mode)) as wire:
        for number in range(20):
            wire.socket.update_keys()
            question = w.query(f"select {number}")
            wire.send(question[:7])
            wire.socket.update_keys()
            wire.send(question[7:])
            assert w.rows(wire.until()) == [[str(number)]]


@pytest.mark.parametrize("mode", MODES)
def test_keys_that_change_while_both_sides_send_much_stop_nothing(secure, mode):
    """Each side writes more than the sockets hold; answers to the changes go in between."""
    text = "y" * 1000
    question = w.parse("", f"select $1::text || repeat('{text}', 30)") + \
        w.bind("", "", ["x" * 30000]) + w.execute()
    wire = session(secure.endpoint(mode))
    raw, tls = wire.socket.socket, wire.socket
    to_send, sent, received, times, step = question * 300 + w.SYNC, 0, 0, 0, 1
    tail, end = b"", time.monotonic() + PATIENCE * 3
    while not tail.endswith(b"Z\0\0\0\5I"):
        assert time.monotonic() < end, (sent, received)
        if sent < len(to_send):
            if step and sent // (1 << 19) > times:
                times += 1
                tls.update_keys()
            step = tls.some(to_send[sent:sent + 65536])
            sent += step
        data = tls.now(65536)
        if data:
            received += len(data)
            tail = (tail + data)[-16:]
        elif data == b"":
            raise AssertionError("closed")
        else:
            select.select([raw], [raw] if sent < len(to_send) else [], [], 0.2)
    assert times >= 8 and received > 300 * 60000
    wire.__exit__()


def test_a_client_that_only_writes_is_answered_its_changes_of_keys_later(secure):
    """It reads nothing while a large result waits for it, and changes its keys meanwhile."""
    wire = session(secure.endpoint("transaction"))
    wire.send(w.query("select repeat('z', 1000) from generate_series(1, 20000)"))
    for _ in range(50):
        wire.socket.update_keys()
        wire.send(w.FLUSH)
    assert secure.endpoint().one("select 1") == 1
    assert len(w.rows(wire.until())) == 20000
    wire.__exit__()


def test_renegotiation_is_not_taken_part_in(secure):
    wire = session(secure.endpoint(), newest=TLS_1_2)
    assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]
    with pytest.raises(ConnectionResetError):
        wire.socket.renegotiate()
    wire.__exit__()
    assert secure.endpoint().one("select 1") == 1


# --- ends

def python_session(endpoint, mode_of_end=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    wire = endpoint.wire(login=False)
    wire.send(w.SSL_REQUEST)
    assert wire.take(1) == b"S"
    wire.socket = context.wrap_socket(wire.socket, suppress_ragged_eofs=mode_of_end)
    wire.startup(endpoint.user, endpoint.database, endpoint.password)
    return wire


@pytest.mark.parametrize("mode", MODES)
def test_the_end_is_said_in_tls_too(secure, mode):
    with python_session(secure.endpoint(mode)) as wire:
        wire.send(w.TERMINATE)
        assert wire.socket.recv(1) == b""  # without a goodbye this is an SSLEOFError


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["goodbye", "fin", "reset", "half a record"])
def test_a_client_may_end_its_tls_in_any_way(secure, postgres, mode, how):
    """In the middle of a transaction: the server is free again."""
    wire = session(secure.endpoint(mode))
    wire.ask(w.query("begin; create table never (n int)"))
    raw = wire.socket.socket
    if how == "goodbye":
        wire.socket.say_goodbye()
    elif how == "reset":
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    elif how == "half a record":
        raw.sendall(b"\x17\x03\x03\x40\x00half")
    wire.__exit__()
    eventually(lambda: postgres.one("select count(*) from pg_stat_activity where state like 'idle in%%'"
                                    " and datname = %s and query like '%%never%%'", mode) == 0)
    assert secure.endpoint(mode).one("select to_regclass('never') is null")


def test_a_goodbye_while_an_answer_is_under_way_ends_the_client(secure, postgres):
    wire = session(secure.endpoint())
    wire.send(w.query("select pg_sleep(64)"))
    busy = "select count(*) from pg_stat_activity where query = 'select pg_sleep(64)' " \
           "and state = 'active'"
    eventually(lambda: postgres.one(busy) == 1)
    wire.socket.say_goodbye()
    eventually(lambda: postgres.one(busy) == 0)
    wire.__exit__()


@pytest.mark.parametrize("how", ["idle", "asked"])
def test_a_server_that_ends_tls_without_close_notify_is_logged_once(trunkline, postgres, certificate, how):
    with DirectFront(certificate, ("127.0.0.1", postgres.port)) as front:
        daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{front.port}"],
                                              "tls": {"mode": "require", "negotiation": "direct"}}},
                           routes=[route(pool_size=1)])
        with daemon.endpoint().wire() as wire:
            wire.ask(w.query("select 1"))
            if how == "asked":
                wire.send(w.query("select pg_sleep(65)"))
                eventually(lambda: postgres.one(
                    "select count(*) from pg_stat_activity "
                    "where query = 'select pg_sleep(65)' and state = 'active'"))
            front.cut()
            if how == "asked":
                assert [m.sqlstate for m in wire.rest()] == ["08006"]
            else:
                assert w.rows(wire.ask(w.query("select 2"))) == [["2"]]


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_half_closes_is_closed_and_no_client_hangs(trunkline, postgres, proxy, mode):
    middle = proxy("127.0.0.1", postgres.port)
    daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{middle.port}"],
                                          "tls": {"mode": "disable"}}},
                       routes=[route(pool=mode, pool_size=1)])
    with daemon.endpoint().wire() as wire:
        wire.send(w.query("select pg_sleep(66)"))
        eventually(lambda: postgres.one("select count(*) from pg_stat_activity "
                                        "where query = 'select pg_sleep(66)' and state = 'active'"))
        for near, _ in middle._pairs:
            near.shutdown(socket.SHUT_WR)  # towards the pooler: a FIN, and it still reads
        assert [m.sqlstate for m in wire.rest()] == ["08006"]
    assert daemon.endpoint().one("select 1") == 1


def test_a_client_that_half_closes_behind_its_last_query_ends(pooled, postgres):
    with pooled.wire() as wire:
        wire.send(w.query("select pg_sleep(67)"))
        busy = "select count(*) from pg_stat_activity where query = 'select pg_sleep(67)' " \
               "and state = 'active'"
        eventually(lambda: postgres.one(busy) == 1)
        wire.socket.shutdown(socket.SHUT_WR)
        eventually(lambda: postgres.one(busy) == 0)
        wire.rest()
