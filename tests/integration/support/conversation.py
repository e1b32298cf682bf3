"""Scripted conversations with a server, message by message.

A script is lines; each is a message, or several things that are asked for:

    Q select 1              sends what is queued and this, and reads up to ReadyForQuery (or CopyIn)
    P name | text | oids    Parse; queued, as are the next ones
    B portal | name | values...  => formats     Bind; \\N is null, x:2a is a binary value
    D S name, D P name      Describe            C S name, C P name    Close
    E portal rows           Execute             H n   Flush, and reads n messages
    S                       Sync, and reads up to ReadyForQuery
    d data   c   f reason   CopyData, CopyDone, CopyFail (queued); \\n, \\t as in Python
    +Q text, +S             queued              . n   sends, and reads up to the n-th ReadyForQuery
    .X                      sends, and reads up to a message of type X
    X                       Terminate, and reads up to the end
    !hex                    these bytes, queued      $   sends, and reads up to the end
    F oid                   a function call, queued
    login key=value ...     what is said first, if not what is usual; version=3.2 too
    &Q text                 sends and does not read      ?   reads up to ReadyForQuery
    cancel                  asks to cancel what runs until an answer comes; reads it
    close                   ends the connection without a word

"B: " in front speaks for another connection than A.  Lines that start with # are remarks.
"""
import codecs
import re
import select
import struct

from . import wire as w
from .patience import PATIENCE, eventually

USUAL = {"user": "trusted", "database": "app"}


def unescape(text):
    return codecs.escape_decode(text.encode())[0]


def parts(text):
    """What stands between single bars."""
    return [part.strip() for part in re.split(r"(?<!\|)\|(?!\|)", text)]


def bind_message(text):
    text, _, formats = text.partition("=>")
    portal, name, *values = parts(text)
    codes, encoded = [], []
    for value in values:
        binary = value.startswith("x:")
        codes.append(int(binary))
        encoded.append(None if value == r"\N" else
                       bytes.fromhex(value[2:]) if binary else value.encode())
    body = w.text(portal) + w.text(name)
    body += struct.pack("!H", len(codes) if any(codes) else 0)
    body += b"".join(struct.pack("!H", code) for code in codes) if any(codes) else b""
    body += struct.pack("!H", len(encoded))
    for value in encoded:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    numbers = [int(number) for number in formats.split(",") if number.strip()]
    body += struct.pack("!H", len(numbers)) + b"".join(struct.pack("!H", n) for n in numbers)
    return w.message("B", body)


def parse_message(text):
    name, sql, oids = (parts(text) + ["", ""])[:3]
    return w.parse(name, sql, [int(oid) for oid in oids.split(",") if oid.strip()])


def execute_message(text):
    words = text.split()
    rows = int(words.pop()) if words and words[-1].lstrip("-").isdigit() else 0
    return w.execute(words[0] if words else "", rows & 0xffffffff)


def target(make):
    def build(text):
        kind, _, name = text.partition(" ")
        return make(kind, name.strip())
    return build


MESSAGES = {
    "P": parse_message, "B": bind_message, "E": execute_message,
    "D": target(w.describe), "C": target(w.close),
    "d": lambda text: w.copy_data(unescape(text)), "c": lambda text: w.COPY_DONE,
    "f": w.copy_fail, "+Q": w.query, "+S": lambda text: w.SYNC, "+H": lambda text: w.FLUSH,
    "F": lambda text: w.function_call(int(text)),
}


# -- what must not differ

def error_fields(message):
    return {key: value for key, value in message.fields.items() if key in "SVCMDH"}


def row_description(body):
    count, = struct.unpack_from("!H", body)
    at, columns = 2, []
    for _ in range(count):
        end = body.index(0, at)
        name = body[at:end].decode()
        table, *rest = struct.unpack_from("!IhIhih", body, end + 1)
        columns.append((name, bool(table), *rest))
        at = end + 19
    return columns


def parameter(body):
    name, value = body.decode().split("\0")[:2]
    return name, "..." if name in ("server_version", "TimeZone") else value


def comparable(message, pid):
    """A message as it must be in both worlds."""
    kind, body = message.kind, message.body
    if kind in "EN":
        return kind, error_fields(message)
    if kind == "T":
        return kind, row_description(body)
    if kind == "S":
        return kind, parameter(body)
    if kind == "K":
        return kind, len(body)
    if kind == "R":
        return kind, body[:4]
    if kind == "A":
        return kind, struct.unpack_from("!I", body)[0] == pid, body[4:]
    return kind, body


class Speaker:
    """One connection of a conversation."""

    def __init__(self, port):
        self.wire = w.Wire("127.0.0.1", port)
        self.queue = b""
        self.history = []

    def note(self, message):
        if message.kind == "K":
            self.wire.pid, = struct.unpack_from("!I", message.body)
            self.wire.secret = message.body[4:]
        self.history.append(comparable(message, self.wire.pid))
        return message.kind

    def login(self, words):
        names = dict(USUAL, **dict(word.split("=", 1) for word in words))
        version = names.pop("version", "3.0").split(".")
        password = names.pop("password", "")
        names = {key: value for key, value in names.items() if value}
        self.wire.send(w.startup_packet(int(version[0]) << 16 | int(version[1]), **names))
        self._answer(names.get("user", ""), password)

    def _answer(self, user, password):
        scram = None
        while True:
            message = self._receive()
            if message is None or message.kind in "EZ":
                return
            if message.kind == "R":
                scram = self.wire._authenticate(message.body, scram, user, password)

    def _receive(self):
        try:
            message = self.wire.receive()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            self.history.append("closed")
            return None
        self.note(message)
        return message

    def send(self, more=b""):
        data, self.queue = self.queue + more, b""
        try:
            self.wire.send(data)
        except OSError:
            pass

    def read(self, kinds="ZG", times=1):
        while times:
            message = self._receive()
            if message is None:
                return
            times -= message.kind in kinds

    def cancel(self):
        def asked():
            with w.Wire(*self.wire.socket.getpeername()[:2]) as other:
                other.send(w.cancel_packet(self.wire.pid, self.wire.secret))
                other.rest()
            return self.wire.pending or select.select([self.wire.socket], [], [], 0.02)[0]

        eventually(asked, PATIENCE)
        self.read()
        # How far the query had come by then is a matter of time.
        self.history = [heard for heard in self.history if heard[0] != "T"]


def say(speaker, line):
    word, _, rest = line.partition(" ")
    if word == "login":
        speaker.login(rest.split())
    elif word == "Q":
        speaker.send(w.query(rest))
        speaker.read()
    elif word == "&Q":
        speaker.send(w.query(rest))
    elif word == "?":
        speaker.read()
    elif word == "S":
        speaker.send(w.SYNC)
        speaker.read("Z")
    elif word == "H":
        speaker.send(w.FLUSH)
        for _ in range(int(rest)):
            speaker._receive()
    elif word == "X":
        speaker.send(w.TERMINATE)
        speaker.read("")
    elif word == "$":
        speaker.send()
        speaker.read("")
    elif word == "cancel":
        speaker.cancel()
    elif word == "close":
        speaker.wire.socket.close()
    elif word in MESSAGES:
        speaker.queue += MESSAGES[word](rest)
    elif word.startswith("!"):
        speaker.queue += bytes.fromhex(line[1:])
    elif word == ".":
        speaker.send()
        speaker.read("Z", int(rest or 1))
    elif word.startswith("."):
        speaker.send()
        speaker.read(word[1:])
    else:
        raise AssertionError(f"no such line: {line}")


def play(lines, port):
    """Plays a script; for each speaker and line what was heard."""
    speakers, heard = {}, []
    try:
        for line in lines:
            name = "A"
            if line[1:3] == ": ":
                name, line = line[0], line[3:]
            if name not in speakers:
                speakers[name] = Speaker(port)
                if not line.startswith("login"):
                    speakers[name].login([])
            speaker = speakers[name]
            speaker.history = []
            try:
                say(speaker, line)
            except TimeoutError:
                speaker.history.append("silence")
            heard.append((f"{name}: {line}", speaker.history))
            if "silence" in speaker.history:
                break
    finally:
        for speaker in speakers.values():
            speaker.wire.socket.close()
    return heard


def scripts(path):
    """(title, lines) of each script in a file; a title stands behind ==."""
    title, lines = None, []
    for line in path.read_text().splitlines():
        if line.startswith("== "):
            if title:
                yield title, lines
            title, lines = line[3:].strip(), []
        elif line.strip() and not line.startswith("#"):
            lines.append(line.rstrip("\n"))
    if title:
        yield title, lines


def differences(mine, theirs):
    """What two hearings of one script do not have in common, as text; empty: nothing."""
    for (line, one), (_, other) in zip(mine, theirs):
        if one != other:
            told = [f"{line}"]
            for at in range(max(len(one), len(other))):
                a = one[at] if at < len(one) else "(nothing)"
                b = other[at] if at < len(other) else "(nothing)"
                told.append(f"  model  {a!r}\n  server {b!r}" if a != b else f"  both   {a!r}")
            return "\n".join(told)
    return "" if len(mine) == len(theirs) else "one of them fell silent"
