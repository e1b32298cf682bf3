"""A client that speaks the protocol byte by byte, for tests that are about the bytes."""
import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct

from .patience import PATIENCE

SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSS_REQUEST = struct.pack("!II", 8, 80877104)


def text(value):
    return (value.encode() if isinstance(value, str) else value) + b"\0"


def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def startup_packet(version=0x30000, **parameters):
    body = b"".join(text(k) + text(v) for k, v in parameters.items()) + b"\0"
    return struct.pack("!II", len(body) + 8, version) + body


def cancel_packet(pid, secret):
    return struct.pack("!II", 12 + len(secret), 80877102) + struct.pack("!I", pid) + secret


def query(sql):
    return message("Q", text(sql))


def parse(name, sql, types=()):
    return message("P", text(name) + text(sql) + struct.pack("!H", len(types)) +
                   b"".join(struct.pack("!I", oid) for oid in types))


def bind(portal="", statement="", values=(), result_formats=()):
    body = text(portal) + text(statement) + struct.pack("!HH", 0, len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            data = value.encode() if isinstance(value, str) else value
            body += struct.pack("!i", len(data)) + data
    body += struct.pack("!H", len(result_formats))
    return message("B", body + b"".join(struct.pack("!H", f) for f in result_formats))


def describe(kind, name=""):
    return message("D", kind.encode() + text(name))


def execute(portal="", rows=0):
    return message("E", text(portal) + struct.pack("!I", rows))


def close(kind, name=""):
    return message("C", kind.encode() + text(name))


def function_call(oid, *values):
    body = struct.pack("!IHHH", oid, 1, 0, len(values))
    for value in values:
        body += struct.pack("!i", len(value)) + value
    return message("F", body + struct.pack("!H", 0))


def copy_data(data):
    return message("d", data)


def copy_fail(reason):
    return message("f", text(reason))


SYNC = message("S")
FLUSH = message("H")
COPY_DONE = message("c")
TERMINATE = message("X")


class Message:
    """One message from the other side."""

    def __init__(self, kind, body):
        self.kind, self.body = kind, body

    def __repr__(self):
        return f"{self.kind}{self.body[:80]!r}"

    @property
    def fields(self):
        """Of an error or a notice: {"C": "42P01", "M": ...}."""
        parts = self.body.rstrip(b"\0").split(b"\0")
        return {part[:1].decode(): part[1:].decode(errors="replace") for part in parts if part}

    @property
    def sqlstate(self):
        return self.fields.get("C")

    @property
    def tag(self):
        return self.body[:-1].decode()

    @property
    def values(self):
        """Of a row: its columns as bytes."""
        count, = struct.unpack_from("!H", self.body)
        at, columns = 2, []
        for _ in range(count):
            size, = struct.unpack_from("!i", self.body, at)
            at += 4
            columns.append(None if size < 0 else self.body[at:at + size])
            at += max(size, 0)
        return columns


def kinds(messages):
    """The answer in short: "1 2 D C Z"; notices and parameters may come at any time: left out."""
    return " ".join(m.kind for m in messages if m.kind not in "NS")


def rows(messages):
    return [[None if v is None else v.decode() for v in m.values]
            for m in messages if m.kind == "D"]


class Scram:
    """The client's half of SCRAM-SHA-256."""

    def __init__(self, password):
        self.password = password.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n=,r={self.nonce}"

    def first(self):
        data = f"n,,{self.bare}".encode()
        return message("p", text("SCRAM-SHA-256") + struct.pack("!I", len(data)) + data)

    def last(self, challenge):
        parts = dict(item.split("=", 1) for item in challenge.decode().split(","))
        assert parts["r"].startswith(self.nonce)
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(parts["s"]),
                                     int(parts["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={parts['r']}"
        signed = f"{self.bare},{challenge.decode()},{final}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature))
        return message("p", f"{final},p={base64.b64encode(proof).decode()}".encode())


class Refused(AssertionError):
    """A login was answered by an error."""

    def __init__(self, answer):
        super().__init__(f"login refused: {answer.fields}")
        self.fields = answer.fields
        self.sqlstate = answer.sqlstate


class Wire:
    """A socket with the protocol's framing.  Everything that waits has a deadline."""

    def __init__(self, host, port):
        if str(host).startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(f"{host}/.s.PGSQL.{port}")
        else:
            self.socket = socket.create_connection((host, port), timeout=PATIENCE)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = bytearray()
        self.parameters = {}
        self.pid = self.secret = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))
        return self

    def _fill(self, size):
        while len(self.pending) < size:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(f"closed by the other side, pending {bytes(self.pending)!r}")
            self.pending += data

    def take(self, size):
        """So many bytes as they are."""
        self._fill(size)
        data = bytes(self.pending[:size])
        del self.pending[:size]
        return data

    def receive(self):
        kind, size = struct.unpack("!cI", self.take(5))
        answer = Message(kind.decode(), self.take(size - 4))
        if answer.kind == "S" and answer.body:  # else a Sync, which a scripted server hears
            name, value = answer.body.split(b"\0")[:2]
            self.parameters[name.decode()] = value.decode()
        return answer

    def until(self, kind="Z", times=1):
        """All messages up to the one of this kind (the n-th such)."""
        answers = []
        while times:
            answers.append(self.receive())
            times -= answers[-1].kind == kind
        return answers

    def ask(self, *messages):
        """Sends, and returns all up to ReadyForQuery."""
        return self.send(*messages).until("Z")

    def rest(self):
        """All messages up to the end of the connection; a reset is an end too."""
        answers = []
        try:
            while True:
                answers.append(self.receive())
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return answers

    def last_words(self, *messages, shut=True):
        """Sends these as the connection's last bytes and returns what comes back until its end.

        Who is closed on in the middle of it has been answered too. A client that is shut while it
        waits for a server has left: `shut=False` is for messages that end the connection themselves."""
        try:
            self.send(*messages)
            if shut:
                self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return self.rest()

    def silent(self, during=0.2):
        """Whether nothing arrives for a while."""
        if self.pending:
            return False
        self.socket.settimeout(during)
        try:
            data = self.socket.recv(1)
            self.pending += data
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)

    def secure(self, **options):
        """SSLRequest and the handshake; the certificate is not looked at."""
        self.send(SSL_REQUEST)
        assert self.take(1) == b"S"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket, **options)
        return self

    def startup(self, user, database, password=None, **parameters):
        """Logs in by whatever the other side asks for; returns what came before ReadyForQuery."""
        self.send(startup_packet(user=user, database=database, **parameters))
        return self.login(user, password)

    def login(self, user, password):
        answers, scram = [], None
        while True:
            answer = self.receive()
            answers.append(answer)
            if answer.kind == "E":
                raise Refused(answer)
            if answer.kind == "K":
                self.pid, = struct.unpack_from("!I", answer.body)
                self.secret = answer.body[4:]
            if answer.kind == "Z":
                return answers
            if answer.kind == "R":
                scram = self._authenticate(answer.body, scram, user, password)

    def _authenticate(self, body, scram, user, password):
        method, = struct.unpack_from("!I", body)
        if method == 3:
            self.send(message("p", text(password)))
        elif method == 5:
            inner = hashlib.md5((password + user).encode()).hexdigest()
            outer = hashlib.md5(inner.encode() + body[4:8]).hexdigest()
            self.send(message("p", text("md5" + outer)))
        elif method == 10:
            scram = Scram(password)
            self.send(scram.first())
        elif method == 11:
            self.send(scram.last(body[4:]))
        return scram

    def cancel_elsewhere(self):
        """What libpq's PQcancel does: a connection of its own with this one's key."""
        with Wire(*self.socket.getpeername()[:2]) as other:
            other.send(cancel_packet(self.pid, self.secret))
            assert other.rest() == []
