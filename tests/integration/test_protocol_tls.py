"""TLS from the first byte, on both sides, and which TLS is spoken."""
import ssl

import psycopg
import pytest
from support import wire as w
from support.front import DirectFront
from support.patience import eventually
from support.ports import free_port
from support.trunkline import route


def listen(certificate, mode="allow", **more):
    return [{"host": "127.0.0.1", "port": free_port(),
             "tls": {"mode": mode, "cert": str(certificate.cert), "key": str(certificate.key),
                     **more}}]


def context(*protocols, ciphers=None, version=None, curve=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if protocols:
        made.set_alpn_protocols(list(protocols))
    if version:
        made.minimum_version = made.maximum_version = version
    if ciphers:
        made.set_ciphers(ciphers)
    if curve:
        made.set_ecdh_curve(curve)
    return made


def wrapped(daemon, using):
    wire = daemon.endpoint().wire(login=False)
    wire.socket = using.wrap_socket(wire.socket)
    return wire


# --- listeners: direct

@pytest.mark.parametrize("mode", ["allow", "require"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_may_begin_with_the_first_byte(trunkline, certificate, mode, version):
    daemon = trunkline(listen=listen(certificate, mode))
    with wrapped(daemon, context("postgresql", version=version)) as wire:
        assert wire.socket.selected_alpn_protocol() == "postgresql"
        wire.startup("app", "app", "app")
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_direct_tls_needs_the_name_of_the_protocol(trunkline, certificate):
    daemon = trunkline(listen=listen(certificate))
    with wrapped(daemon, context()) as wire:
        try:
            answers = wire.rest()
        except ssl.SSLError:
            answers = []
        assert {m.kind for m in answers} <= {"E"}
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        with wrapped(daemon, context("http/1.1")) as wire:
            wire.take(1)
    assert daemon.endpoint().one("select 1") == 1


def test_direct_tls_of_a_listener_without_tls_is_an_end(trunkline):
    daemon = trunkline()
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        wrapped(daemon, context("postgresql"))
    assert daemon.endpoint().one("select 1") == 1


def test_a_handshake_behind_a_request_for_gss_is_not_taken(trunkline, certificate):
    daemon = trunkline(listen=listen(certificate))
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.GSS_REQUEST)
        assert wire.take(1) == b"N"
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            context("postgresql").wrap_socket(wire.socket)


def test_inside_of_direct_tls_none_is_asked_for(trunkline, certificate):
    daemon = trunkline(listen=listen(certificate))
    for request in (w.SSL_REQUEST, w.GSS_REQUEST):
        with wrapped(daemon, context("postgresql")) as wire:
            assert [m.sqlstate for m in wire.send(request).rest()] == ["08P01"]


def test_a_cancel_may_come_by_direct_tls(trunkline, certificate, postgres):
    daemon = trunkline(listen=listen(certificate))
    with daemon.endpoint().wire() as wire:
        wire.send(w.query("select pg_sleep(60)"))
        eventually(lambda: postgres.one("select count(*) from pg_stat_activity "
                                        "where query = 'select pg_sleep(60)' and state = 'active'"))
        with wrapped(daemon, context("postgresql")) as other:
            other.send(w.cancel_packet(wire.pid, wire.secret))
            assert other.rest() == []
        assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["57014"]


def test_a_direct_handshake_may_come_byte_by_byte(trunkline, certificate, proxy):
    daemon = trunkline(listen=listen(certificate))
    slow = proxy("127.0.0.1", daemon.port, piece=1)
    wire = w.Wire("127.0.0.1", slow.port)
    wire.socket = context("postgresql").wrap_socket(wire.socket)
    wire.startup("app", "app", "app")
    assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]
    wire.__exit__()


# --- services: direct

def behind(front, **more):
    return {"main": {"hosts": [f"127.0.0.1:{front.port}"],
                     "tls": {"mode": "require", "negotiation": "direct", **more}}}


@pytest.mark.parametrize("pool", ["session", "transaction"])
def test_servers_are_reached_by_direct_tls(trunkline, postgres, certificate, authority, pool):
    with DirectFront(certificate, ("127.0.0.1", postgres.port)) as front:
        services = behind(front, mode="verify-ca", ca=str(authority.cert))
        daemon = trunkline(services=services, routes=[route(pool=pool)])
        with daemon.endpoint().wire() as wire:
            assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]
            wire.send(w.query("select pg_sleep(61)"))
            eventually(lambda: postgres.one(
                "select count(*) from pg_stat_activity "
                "where query = 'select pg_sleep(61)' and state = 'active'"))
            wire.cancel_elsewhere()
            assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["57014"]
        assert front.seen and {alpn for alpn, _ in front.seen} == {"postgresql"}


def test_a_server_that_names_no_protocol_is_not_trusted(trunkline, postgres, certificate):
    with DirectFront(certificate, ("127.0.0.1", postgres.port), protocols=()) as front:
        daemon = trunkline(services=behind(front), routes=[route(claim_timeout="3s")])
        with pytest.raises(psycopg.OperationalError, match="ALPN"):
            daemon.connect()


def test_direct_tls_needs_a_mode_that_requires_it(trunkline, postgres):
    daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{postgres.port}"],
                                          "tls": {"mode": "prefer", "negotiation": "direct"}}},
                       start=False)
    with pytest.raises(AssertionError, match="must be require"):
        daemon.start()
    daemon.program = None


# --- policy

def test_a_listener_speaks_no_older_tls_than_it_may(trunkline, certificate):
    daemon = trunkline(listen=listen(certificate, "require", min_version="TLSv1.3"))
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.SSL_REQUEST)
        assert wire.take(1) == b"S"
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            context(version=ssl.TLSVersion.TLSv1_2).wrap_socket(wire.socket)
    assert daemon.endpoint(sslmode="require").one("select 1") == 1


def test_a_listeners_ciphers_and_curves_can_be_chosen(trunkline, certificate):
    daemon = trunkline(listen=listen(certificate, "require",
                                     ciphers="ECDHE-ECDSA-AES256-GCM-SHA384",
                                     tls13_ciphers="TLS_CHACHA20_POLY1305_SHA256",
                                     curves="P-384"))

    def cipher(using):
        with daemon.endpoint().wire(login=False) as wire:
            wire.send(w.SSL_REQUEST)
            assert wire.take(1) == b"S"
            return using.wrap_socket(wire.socket).cipher()[0]

    two, three = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    assert cipher(context(version=two)) == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert cipher(context(version=three)) == "TLS_CHACHA20_POLY1305_SHA256"
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        cipher(context(version=two, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"))
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        cipher(context(version=three, curve="prime256v1"))


def test_the_ciphers_towards_servers_can_be_chosen(trunkline, postgres, certificate):
    tls = {"mode": "require", "tls13_ciphers": "TLS_AES_128_GCM_SHA256"}
    services = {"main": {"hosts": [f"127.0.0.1:{postgres.port}"], "tls": tls}}
    daemon = trunkline(services=services)
    query = "select cipher from pg_stat_ssl where pid = pg_backend_pid()"
    assert daemon.endpoint().one(query) == "TLS_AES_128_GCM_SHA256"
    tls["tls13_ciphers"] = "TLS_AES_256_GCM_SHA384"
    daemon.reload(dict(daemon.config, services=services))
    assert daemon.endpoint().one(query) == "TLS_AES_256_GCM_SHA384"


@pytest.mark.parametrize("key, value", [
    ("ciphers", "NO-SUCH-CIPHER"), ("tls13_ciphers", "TLS_NO_SUCH"), ("curves", "no-curve"),
])
def test_a_choice_that_openssl_does_not_know_stops_the_start(trunkline, certificate, key, value):
    daemon = trunkline(listen=listen(certificate, **{key: value}), start=False)
    with pytest.raises(AssertionError, match=f'{key} .*{value}'):
        daemon.start()
    daemon.program = None
