"""A server that plays a part: it speaks a version of the protocol that the installed one may not."""
import socket
import struct
import threading

from . import wire as w


class Scripted:
    """Lets everybody in.  Answers `select ...` by its own pid and waits in `wait` until cancelled.

    `speaks` is the newest version: a newer one is negotiated down or, if it `refuses`, an error.
    """

    def __init__(self, speaks=0x30002, secret=32, refuses=None):
        self.speaks, self.secret, self.refuses = speaks, secret, refuses
        self.startups = []  # (version, parameters) of each
        self.cancels = []   # (pid, secret) of each
        self.keys = {}      # pid -> (secret, event)
        self.ends = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for end in [self.listener, *self.ends]:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def _run(self):
        while True:
            try:
                end, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.ends.append(end)
                pid = 1000 + len(self.ends)
            threading.Thread(target=self._serve, args=(end, pid), daemon=True).start()

    def _serve(self, end, pid):
        wire = w.Wire.__new__(w.Wire)
        wire.socket, wire.pending, wire.parameters = end, bytearray(), {}
        try:
            self._session(wire, pid)
        except (EOFError, OSError):
            pass
        end.close()

    def _session(self, wire, pid):
        size, code = struct.unpack("!II", wire.take(8))
        body = wire.take(size - 8)
        if code == 80877102:
            return self._cancel(body)
        words = body.rstrip(b"\0").split(b"\0")
        self.startups.append((code, dict(zip(words[::2], words[1::2]))))
        version = min(code, self.speaks)
        if version < code and self.refuses:
            wire.send(w.message("E", b"SFATAL\0VFATAL\0C" + self.refuses.encode() + b"\0Mno\0\0"))
            return None
        if version < code:
            wire.send(w.message("v", struct.pack("!II", version, 0)))
        secret = bytes(pid % 251 for _ in range(self.secret if version >= 0x30002 else 4))
        cancelled = threading.Event()
        self.keys[pid] = secret, cancelled
        wire.send(w.message("R", struct.pack("!I", 0)),
                  w.message("S", b"server_version\0" + b"18.0\0"),
                  w.message("S", b"client_encoding\0UTF8\0"),
                  w.message("K", struct.pack("!I", pid) + secret), w.message("Z", b"I"))
        while True:
            asked = wire.receive()
            if asked.kind == "X":
                return None
            if asked.kind == "Q":
                self._answer(wire, asked.body, pid, cancelled)

    def _answer(self, wire, sql, pid, cancelled):
        if sql.startswith(b"wait"):
            assert cancelled.wait(30)
            cancelled.clear()
            wire.send(w.message("E", b"SERROR\0VERROR\0C57014\0Mcancelled\0\0"))
        elif sql.startswith(b"select"):
            value = str(pid).encode()
            field = b"pid\0" + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0)
            wire.send(w.message("T", struct.pack("!H", 1) + field),
                      w.message("D", struct.pack("!HI", 1, len(value)) + value),
                      w.message("C", b"SELECT 1\0"))
        else:
            wire.send(w.message("C", b"SET\0"))
        wire.send(w.message("Z", b"I"))

    def _cancel(self, body):
        pid, secret = struct.unpack_from("!I", body)[0], body[4:]
        self.cancels.append((pid, secret))
        known, cancelled = self.keys.get(pid, (None, None))
        if known == secret:
            cancelled.set()
