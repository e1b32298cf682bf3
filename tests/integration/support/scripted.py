"""A server that plays a part: it speaks a version of the protocol that the installed one may not."""
import socket
import struct
import threading

from . import wire as w


class Scripted:
    """Lets everybody in.  Answers `select ...` by its own pid and waits in `wait` until cancelled.

    `speaks` is the newest version: a newer one is negotiated down or, if it `refuses`, an error.
    `reports` are parameters of the login, `refusal` an ErrorResponse to each login; `answers` maps
    the beginning of a query to the bytes that answer it.
    """

    def __init__(self, speaks=0x30002, secret=32, refuses=None, reports=(), refusal=None,
                 answers=(), port=0):
        self.speaks, self.secret, self.refuses = speaks, secret, refuses
        self.reports = {"server_version": "18.0", "client_encoding": "UTF8", **dict(reports)}
        self.refusal, self.answers = refusal, dict(answers)
        self.startups = []  # (version, parameters) of each
        self.cancels = []   # (pid, secret) of each
        self.keys = {}      # pid -> (secret, event)
        self.wires = {}     # pid -> its connection
        self.ends = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", port))
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
        if self.refusal is not None:
            wire.send(w.message("N", b"SNOTICE\0VNOTICE\0C00000\0Mmind\0\0"),
                      w.message("E", self.refusal))
            return None
        if version < code and self.refuses:
            wire.send(w.message("E", b"SFATAL\0VFATAL\0C" + self.refuses.encode() + b"\0Mno\0\0"))
            return None
        if version < code:
            wire.send(w.message("v", struct.pack("!II", version, 0)))
        secret = bytes(pid % 251 for _ in range(self.secret if version >= 0x30002 else 4))
        cancelled = threading.Event()
        self.keys[pid] = secret, cancelled
        self.wires[pid] = wire
        wire.send(w.message("N", b"SNOTICE\0VNOTICE\0C00000\0Mwelcome\0\0"),
                  w.message("R", struct.pack("!I", 0)),
                  *[w.message("S", w.text(name) + w.text(value))
                    for name, value in self.reports.items()],
                  w.message("K", struct.pack("!I", pid) + secret), w.message("Z", b"I"))
        while True:
            asked = wire.receive()
            if asked.kind == "X":
                return None
            if asked.kind == "Q":
                self._answer(wire, asked.body, pid, cancelled)
            if asked.kind == "C":
                wire.send(w.message("3"))
            if asked.kind == "S":
                wire.send(w.message("Z", b"I"))

    def _answer(self, wire, sql, pid, cancelled):
        for start, answer in self.answers.items():
            if sql.startswith(start):
                wire.send(answer)
                return
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
