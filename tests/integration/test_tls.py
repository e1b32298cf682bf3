"""TLS on either side, in every mode, and what an attacker may try around its beginning."""
import socket

import psycopg
import pytest
from support import wire as w
from support.certificate import Certificate
from support.ports import free_port
from support.trunkline import route


def listen(certificate, mode, **more):
    return [{"host": "127.0.0.1", "port": free_port(),
             "tls": {"mode": mode, "cert": str(certificate.cert), "key": str(certificate.key),
                     **more}}]


def services(postgres, mode, host="127.0.0.1", **more):
    return {"main": {"hosts": [f"{host}:{postgres.port}"],
                     "tls": {"mode": mode, **{k: str(v) for k, v in more.items()}}}}


ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


@pytest.mark.parametrize("mode, sslmode, works", [
    ("disable", "disable", True), ("disable", "prefer", True), ("disable", "require", False),
    ("allow", "disable", True), ("allow", "prefer", True), ("allow", "require", True),
    ("require", "disable", False), ("require", "prefer", True), ("require", "require", True),
])
def test_a_client_meets_a_listener(trunkline, certificate, mode, sslmode, works):
    daemon = trunkline(listen=listen(certificate, mode))
    if not works:
        with pytest.raises(psycopg.OperationalError):
            daemon.connect(sslmode=sslmode)
        return
    with daemon.connect(sslmode=sslmode) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        wanted = mode != "disable" and sslmode != "disable"
        assert bool(connection.pgconn.ssl_in_use) == wanted


def test_plain_text_is_refused_with_words_where_tls_is_required(trunkline, certificate):
    daemon = trunkline(listen=listen(certificate, "require"))
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.startup_packet(user="app", database="app"))
        answers = wire.rest()
        assert answers[0].sqlstate in ("08P01", "28000")
        assert answers[0].fields["S"] == "FATAL"


def test_a_client_can_verify_the_certificate(trunkline, certificate, authority):
    daemon = trunkline(listen=listen(certificate, "allow"))
    with daemon.connect(sslmode="verify-full", sslrootcert=authority.cert) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_client_without_a_certificate_is_refused_where_one_is_wanted(
        trunkline, certificate, authority, tmp_path, mode):
    daemon = trunkline(listen=listen(certificate, mode, ca=str(authority.cert)))
    mine = Certificate(tmp_path, "app", authority)
    stranger = Certificate(tmp_path, "stranger")
    with daemon.connect(sslmode="require", sslcert=mine.cert, sslkey=mine.key) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        daemon.connect(sslmode="require")
    with pytest.raises(psycopg.OperationalError):
        daemon.connect(sslmode="require", sslcert=stranger.cert, sslkey=stranger.key)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_both_versions_of_the_protocol_are_spoken(trunkline, certificate, version):
    daemon = trunkline(listen=listen(certificate, "require"))
    with daemon.connect(sslmode="require", ssl_min_protocol_version=version,
                        ssl_max_protocol_version=version) as connection:
        assert connection.execute("select repeat('x', 100000)").fetchone() == ("x" * 100000,)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_the_server_side_is_encrypted_when_asked(trunkline, postgres, certificate, authority, mode):
    for tls, encrypted in (("disable", False), ("prefer", True), ("require", True)):
        daemon = trunkline(services=services(postgres, tls), routes=[route(pool=mode)])
        assert daemon.endpoint().one(ENCRYPTED) is encrypted
    for tls in ("verify-ca", "verify-full"):
        daemon = trunkline(services=services(postgres, tls, ca=authority.cert),
                           routes=[route(pool=mode)])
        assert daemon.endpoint().one(ENCRYPTED) is True


def test_a_host_name_is_verified_too(trunkline, postgres, authority):
    daemon = trunkline(services=services(postgres, "verify-full", host="localhost",
                                         ca=authority.cert))
    assert daemon.endpoint().one(ENCRYPTED) is True


def test_a_server_of_an_unknown_authority_gets_no_connection(trunkline, postgres, tmp_path):
    stranger = Certificate(tmp_path, "stranger")
    daemon = trunkline(services=services(postgres, "verify-ca", ca=stranger.cert),
                       routes=[route(claim_timeout="1s")])
    with pytest.raises(psycopg.Error):
        daemon.endpoint().one("select 1")


def test_a_server_without_tls_is_preferred_plain_and_required_refused(trunkline, cluster):
    own = cluster()
    daemon = trunkline(server=own, services=services(own, "prefer"))
    assert daemon.endpoint().one(ENCRYPTED) is False
    daemon = trunkline(server=own, services=services(own, "require"),
                       routes=[route(claim_timeout="1s")])
    with pytest.raises(psycopg.Error):
        daemon.endpoint().one("select 1")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_much_data_passes_encrypted_on_both_sides(trunkline, postgres, certificate, mode):
    daemon = trunkline(listen=listen(certificate, "require"), services=services(postgres, "require"),
                       routes=[route(pool=mode)])
    with daemon.connect(sslmode="require") as connection:
        rows = connection.execute("select repeat('x', 10000) from generate_series(1, 2000)")
        assert sum(len(row[0]) for row in rows) == 20_000_000
        big = "y" * 5_000_000
        assert connection.execute("select length(%s)", (big,)).fetchone() == (len(big),)
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", (n,)) for n in range(200)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(200))


def test_many_encrypted_clients_park_and_wake(trunkline, certificate):
    daemon = trunkline(listen=listen(certificate, "require"), routes=[route(pool_size=2)])
    clients = [daemon.connect(sslmode="require") for _ in range(20)]
    for _ in range(3):
        for number, client in enumerate(clients):
            assert client.execute("select %s::int", (number,)).fetchone() == (number,)
    for client in clients:
        client.close()


def test_an_endless_handshake_delays_no_other_client(trunkline, certificate):
    daemon = trunkline(listen=listen(certificate, "allow"))
    stuck = []
    for _ in range(10):
        stuck.append(daemon.endpoint().wire(login=False))
        stuck[-1].send(w.SSL_REQUEST)
        assert stuck[-1].take(1) == b"S"
        stuck[-1].send(b"\x16\x03\x01")
    assert daemon.endpoint(sslmode="require").one("select 1") == 1
    for wire in stuck:
        wire.__exit__()


def test_a_client_disconnected_during_a_handshake_gets_no_plaintext(trunkline, certificate):
    daemon = trunkline(listen=listen(certificate, "allow"), login_timeout="1s")
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.SSL_REQUEST)
        assert wire.take(1) == b"S"
        assert wire.rest() == []
    daemon.logged(r"client.login_failed .*reason=\"login_timeout passed\"")


def test_plain_text_that_was_sent_along_with_the_request_is_never_trusted(trunkline, certificate):
    """A man in the middle could put a startup packet of his own in front of the handshake."""
    daemon = trunkline(listen=listen(certificate, "allow"))
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.SSL_REQUEST + w.startup_packet(user="trusted", database="app"))
        try:
            answers = wire.take(1)
            assert answers in (b"S", b"E")
            wire.rest()
        except (EOFError, ConnectionResetError):
            pass
    assert daemon.endpoint().one("select 1") == 1


def test_a_server_that_sends_plain_text_after_its_yes_is_not_trusted(trunkline, postgres):
    with socket.create_server(("127.0.0.1", 0)) as liar:
        daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{liar.getsockname()[1]}"],
                                              "tls": {"mode": "require"}}},
                           routes=[route(auth="trust", claim_timeout="2s")])
        liar.settimeout(15)
        wire = daemon.endpoint().wire(login=False)
        wire.send(w.startup_packet(user="app", database="app"), w.query("select 1"))
        victim, _ = liar.accept()
        assert victim.recv(8) == w.SSL_REQUEST
        victim.sendall(b"S" + w.message("R", b"\0\0\0\0"))
        victim.settimeout(15)
        try:
            rest = victim.recv(1000)
        except ConnectionResetError:
            rest = b""
        assert b"user" not in rest
        victim.close()
        wire.__exit__()


def test_a_certificate_file_that_is_missing_stops_the_start(trunkline, certificate, tmp_path):
    certificate_missing = [{"host": "127.0.0.1", "port": free_port(),
                            "tls": {"mode": "allow", "cert": str(tmp_path / "none.crt"),
                                    "key": str(certificate.key)}}]
    daemon = trunkline(listen=certificate_missing, start=False)
    with pytest.raises(AssertionError, match="none.crt"):
        daemon.start()
    assert daemon.program.process.returncode != 0
    daemon.program = None


def test_servers_are_made_anew_only_when_their_encryption_changed(trunkline, postgres, authority):
    daemon = trunkline(relays=1, services=services(postgres, "require"),
                       routes=[route(pool_size=1)])
    pid = "select pg_backend_pid()"
    first = daemon.endpoint().one(pid)
    daemon.reload(dict(daemon.config, login_timeout="50s"))
    assert daemon.endpoint().one(pid) == first
    with daemon.connect() as old:
        daemon.reload(dict(daemon.config, services=services(postgres, "verify-ca",
                                                            ca=authority.cert)))
        assert old.execute(pid).fetchone() == (first,)
    assert daemon.endpoint().one(pid) != first
