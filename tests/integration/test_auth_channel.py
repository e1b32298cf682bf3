"""SCRAM that is bound to the TLS connection, on both sides."""
import base64
import hashlib
import hmac
import os
import socket
import ssl

import psycopg
import pytest
from support import wire as w
from support.ports import free_port
from support.trunkline import route


@pytest.fixture
def listen(certificate):
    return [{"host": "127.0.0.1", "port": free_port(),
             "tls": {"mode": "allow", "cert": str(certificate.cert), "key": str(certificate.key)}}]


def service(postgres, **tls):
    return {"main": {"hosts": [f"127.0.0.1:{postgres.port}"], "tls": dict(mode="require", **tls)}}


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_client_can_insist_on_channel_binding(trunkline, listen, mode):
    daemon = trunkline(listen=listen, routes=[route(pool=mode)])
    bound = daemon.endpoint(sslmode="require", channel_binding="require")
    assert bound.one("select current_user") == "app"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        bound.one("select 1", password="wrong")
    with pytest.raises(psycopg.OperationalError, match="(?i)channel binding"):
        daemon.endpoint(sslmode="disable", channel_binding="require").one("select 1")
    assert daemon.endpoint(sslmode="require", channel_binding="disable").one("select 1") == 1


def test_a_scram_secret_passes_through_a_bound_login(trunkline, listen, postgres):
    secret = postgres.one("select rolpassword from pg_authid where rolname = 'app'")
    daemon = trunkline(listen=listen, users={"app": secret, "admin": "admin"},
                       services=service(postgres, channel_binding="require"))
    endpoint = daemon.endpoint(sslmode="require", channel_binding="require")
    assert endpoint.one("select ssl from pg_stat_ssl where pid = pg_backend_pid()") is True


def test_a_login_at_a_server_can_insist_on_channel_binding(trunkline, postgres):
    daemon = trunkline(services=service(postgres, channel_binding="require"))
    assert daemon.endpoint().one("select 1") == 1
    for user in ("plain", "hashed", "trusted"):
        with pytest.raises(psycopg.OperationalError, match="channel binding is required"):
            daemon.endpoint(user=user).one("select 1")
    daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{postgres.port}"],
                                          "tls": {"mode": "disable", "channel_binding": "require"}}})
    with pytest.raises(psycopg.OperationalError, match="channel binding is required"):
        daemon.endpoint().one("select 1")


# -- a client of our own, that can lie

class Bound:
    """One SCRAM exchange over TLS with a gs2 flag and a channel of the test's choice."""

    def __init__(self, daemon):
        plain = socket.create_connection(("127.0.0.1", daemon.port), timeout=30)
        plain.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
        assert plain.recv(1) == b"S"
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.tls = context.wrap_socket(plain)
        self.tls.sendall(w.startup_packet(user="app", database="app"))

    def receive(self):
        head = self.exactly(5)
        return head[:1].decode(), self.exactly(int.from_bytes(head[1:], "big") - 4)

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.tls.recv(size - len(data))
            assert more
            data += more
        return data

    def say(self, body):
        self.tls.sendall(b"p" + (len(body) + 4).to_bytes(4, "big") + body)

    def run(self, mechanism, header, channel):
        """The kind and body of the last answer."""
        kind, body = self.receive()
        self.mechanisms = body[4:].split(b"\0")
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = f"n=,r={nonce}"
        first = (header + bare).encode()
        self.say(mechanism + b"\0" + len(first).to_bytes(4, "big") + first)
        kind, body = self.receive()
        if kind == "E":
            return kind, body
        challenge = body[4:].decode()
        words = dict(item.split("=", 1) for item in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", b"app", base64.b64decode(words["s"]),
                                     int(words["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c={base64.b64encode(header.encode() + channel).decode()},r={words['r']}"
        said = f"{bare},{challenge},{final}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), said, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        self.say(f"{final},p={proof}".encode())
        return self.receive()


PLAIN, PLUS = b"SCRAM-SHA-256", b"SCRAM-SHA-256-PLUS"
POINT = "p=tls-server-end-point,,"


@pytest.mark.parametrize("mechanism, header, lie, answer", [
    (PLUS, POINT, b"", "R"),
    (PLAIN, "n,,", None, "R"),
    (PLUS, POINT, b"x", "channel binding check failed"),
    (PLAIN, "y,,", None, "somebody may be in between"),
    (PLUS, "n,,", None, "SCRAM message"),
    (PLAIN, POINT, b"", "SCRAM message"),
    (PLUS, "p=tls-unique,,", b"", "SCRAM message"),
])
def test_a_downgrade_is_seen(trunkline, listen, mechanism, header, lie, answer):
    daemon = trunkline(listen=listen)
    client = Bound(daemon)
    digest = hashlib.sha256(client.tls.getpeercert(binary_form=True)).digest()
    channel = b"" if lie is None else lie + digest[len(lie):]
    kind, body = client.run(mechanism, header, channel)
    assert client.mechanisms[:2] == [PLUS, PLAIN]
    assert kind == answer or answer in body.decode(errors="replace")
    client.tls.close()
