"""A Redis of a test's own, and a server in its place whose clock and replies a test may change."""
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from support.patience import eventually
from support.ports import free_port
from support.processes import MORTAL


def reply_of(stream):
    """Reads one reply of protocol 2."""
    line = stream.readline()
    kind, rest = line[:1], line[1:-2]
    if kind in b"+-":
        return rest.decode()
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2]
    assert kind == b"*", line
    return [reply_of(stream) for _ in range(int(rest))]


def command(*words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Redis:
    """redis-server without a file; settings as in redis.conf, with underscores for minus signs.

    With a certificate and its authority it speaks TLS only.
    """

    def __init__(self, folder, certificate=None, authority=None, **settings):
        self.port = free_port()
        self.folder = Path(folder)
        if certificate:
            settings = {"port": 0, "tls_port": self.port, "tls_auth_clients": "no",
                        "tls_cert_file": certificate.cert, "tls_key_file": certificate.key,
                        "tls_ca_cert_file": authority.cert, **settings}
        self.settings = {"save": "", "appendonly": "no", "bind": "127.0.0.1", "port": self.port,
                         "dir": str(self.folder), "loglevel": "warning", **settings}
        self.process = None
        self.start()

    def start(self):
        arguments = []
        for name, value in self.settings.items():
            arguments += [f"--{name.replace('_', '-')}", *str(value).split(" ")]
        self.process = subprocess.Popen([*MORTAL, shutil.which("redis-server"), *arguments],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        eventually(self.answers)

    def answers(self):
        try:
            with self.connection():
                return True
        except OSError:
            return False

    def connection(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def __call__(self, *words, login=None):
        """Sends a command and returns its reply."""
        with self.connection() as peer:
            stream = peer.makefile("rb")
            if login:
                peer.sendall(command("AUTH", *login))
                assert reply_of(stream) == "OK"
            peer.sendall(command(*words))
            return reply_of(stream)

    def values(self):
        return [name for name in self("KEYS", "*") if b":v:" in name]

    def signal(self, number):
        """setpriv has become redis-server, so the process is the server's."""
        self.process.send_signal(number)

    def stop(self):
        """It writes its file, if it has one; a process that stands still is killed."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


class Sentinel:
    """redis-server as a Sentinel that watches one master as `mymaster`, alone."""

    def __init__(self, folder, master, password=None):
        self.port = free_port()
        file = Path(folder) / f"sentinel{self.port}.conf"
        file.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
                        f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
                        "sentinel down-after-milliseconds mymaster 1000\n"
                        "sentinel failover-timeout mymaster 5000\n"
                        + (f"requirepass {password}\n" if password else ""))
        self.login = ("default", password) if password else None
        self.process = subprocess.Popen([*MORTAL, shutil.which("redis-server"), file, "--sentinel"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        eventually(self.answers)

    connection, answers, stop, __call__ = Redis.connection, Redis.answers, Redis.stop, Redis.__call__

    def knows_a_replica(self):
        return len(self("SENTINEL", "REPLICAS", "mymaster", login=self.login)) == 1

    def master(self):
        return int(self("SENTINEL", "get-master-addr-by-name", "mymaster", login=self.login)[1])


def words_of(stream):
    """Reads one command; empty: the connection has ended."""
    line = stream.readline()
    if not line:
        return []
    words = []
    for _ in range(int(line[1:])):
        size = int(stream.readline()[1:])
        words.append(stream.read(size + 2)[:-2])
    return words


class ToyRedis:
    """The commands that the daemon uses, with a clock that a test may set.

    `twist(words, reply)` may give other bytes in place of a reply; None: it gives none at all.
    """

    def __init__(self, twist=lambda words, reply: reply):
        self.twist = twist
        self.shift = 0  # seconds
        self.store = {}
        self.commands = []
        self.serving = None  # the connection of the latest command
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            stream = peer.makefile("rb")
            while words := words_of(stream):
                self.commands.append(words)
                self.serving = peer
                said = self.twist(words, self.reply(*words))
                if said is not None:
                    peer.sendall(said)
        except (OSError, ValueError):
            pass
        finally:
            peer.close()

    def reply(self, verb, *words):
        if verb == b"TIME":
            at = time.time() + self.shift
            return command(int(at), int(at % 1 * 1000000))
        if verb == b"MGET":
            return b"*%d\r\n" % len(words) + b"".join(map(self.bulk, words))
        if verb == b"GET":
            return self.bulk(words[0])
        assert verb == b"SET", verb
        if b"NX" in words[2:] and words[0] in self.store:
            return b"$-1\r\n"
        self.store[words[0]] = words[1]
        return b"+OK\r\n"

    def bulk(self, name):
        value = self.store.get(name)
        return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)

    def values(self):
        return [name for name in self.store if b":v:" in name]

    def stop(self):
        self.listener.close()
