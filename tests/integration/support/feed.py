"""A logical decoding feed of test_decoding, read as the messages of a replication connection.

    with Feed(cluster, "app") as feed:             # a temporary slot, streaming
        cluster.sql("insert into t values (1)")
        begin, change, commit = feed.transaction()
        feed.ask()                                 # the next keepalive answers, or one that came anyway
"""
import struct
import time
from dataclasses import dataclass

from .patience import PATIENCE, Hopeless, eventually
from .wire import Wire, copy_data, query

OPTIONS = {"include-xids": "1", "include-timestamp": "0", "skip-empty-xacts": "0",
           "only-local": "0"}


@dataclass
class Data:
    """XLogData."""
    start: int
    end: int
    time: int
    text: str


@dataclass
class Keepalive:
    end: int
    time: int
    reply: bool


def position(lsn):
    """pg_lsn's text as a number."""
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn(number):
    return f"{number >> 32:X}/{number & 0xffffffff:X}"


def read(payload):
    """What a CopyData of the stream says."""
    if payload[:1] == b"w":
        return Data(*struct.unpack_from("!QQq", payload, 1), payload[25:].decode())
    assert payload[:1] == b"k" and len(payload) == 18, payload
    end, time, reply = struct.unpack_from("!QqB", payload, 1)
    return Keepalive(end, time, bool(reply))


class Feed:
    """`options`: of the plugin, with _ for -; `create` is added to CREATE_REPLICATION_SLOT."""

    def __init__(self, cluster, database="app", slot="feed", start=True, create="", **options):
        self.slot = slot
        self.options = {**OPTIONS, **{k.replace("_", "-"): v for k, v in options.items()}}
        self.wire = Wire(str(cluster.folder), cluster.port)
        self.wire.startup("postgres", database, replication="database")
        self.position = 0  # the feed has told all that was committed before this position
        self.payloads = []  # of all CopyData messages, as they came
        if start:
            self.create(create)
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.socket.close()

    def command(self, text):
        """A command of the replication protocol; fails if the server refuses it."""
        answers = self.wire.ask(query(text))
        assert not [m for m in answers if m.kind == "E"], answers
        return answers

    def create(self, options=""):
        """A slot of this name may still be there: a temporary one ends with its server process."""
        words = f'CREATE_REPLICATION_SLOT "{self.slot}" TEMPORARY LOGICAL "test_decoding"'

        def created():
            try:
                return self.command(f"{words} (SNAPSHOT 'nothing'{options})")
            except AssertionError as refused:
                if "already exists" in str(refused):
                    return None
                raise Hopeless(str(refused)) from refused

        return eventually(created)

    def start(self, at="0/0"):
        options = ", ".join(f"\"{name}\" '{value}'" for name, value in self.options.items()
                            if value is not None)
        self.wire.send(query(f'START_REPLICATION SLOT "{self.slot}" LOGICAL {at} ({options})'))
        answer = self.wire.receive()
        assert answer.kind == "W", answer

    def receive(self):
        """The next message of the stream."""
        answer = self.wire.receive()
        assert answer.kind == "d", answer
        self.payloads.append(answer.body)
        message = read(answer.body)
        if isinstance(message, Keepalive) or message.text.startswith("COMMIT"):
            self.position = max(self.position, message.end)
        return message

    def reply(self, written=None, ask=False):
        """Standby status update: everything up to this position was used."""
        at = self.position if written is None else written
        self.wire.send(copy_data(struct.pack("!cQQQqB", b"r", at, at, at, 0, ask)))

    def ask(self):
        """Requests a keepalive, and returns the first one that comes."""
        self.reply(ask=True)
        return self.keepalive()

    def keepalive(self):
        while not isinstance(message := self.receive(), Keepalive):
            pass
        return message

    def next(self):
        """The next piece of decoded text."""
        while isinstance(message := self.receive(), Keepalive):
            if message.reply:
                self.reply()
        return message

    def messages(self):
        """The next transaction up to its COMMIT."""
        messages = [self.next()]
        while not messages[-1].text.startswith("COMMIT"):
            messages.append(self.next())
        return messages

    def transaction(self):
        """The texts of the next transaction."""
        return [message.text for message in self.messages()]

    def changes(self):
        """The texts of the next transaction without its BEGIN and COMMIT."""
        return self.transaction()[1:-1]

    def passes(self, at):
        """Reads until the feed has passed a position; returns the texts that came meanwhile."""
        texts, end = [], time.monotonic() + PATIENCE
        while self.position < at:
            assert time.monotonic() < end, f"the feed is at {lsn(self.position)}, not {lsn(at)}"
            self.reply(ask=True)
            while isinstance(message := self.receive(), Data):
                texts.append(message.text)
        return texts
