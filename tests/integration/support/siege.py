"""Hostile clients beside verifying victims, through one pool of one configuration, for a while.

The victims' wait has a bound: an attacker's session ends after hostile.LIFE, a server that it leaves
is cleaned or closed within reset_timeout, claims are served in their order, and attackers do not
begin while CROWD clients are there, of whom some have sent all they wanted and left.
"""
import collections
import contextlib
import os
import random
import socket
import struct
import threading
import time

import psycopg

from . import hostile, victim
from . import wire as w
from .endpoint import Endpoint
from .patience import STRETCH, eventually
from .trunkline import route

ATTACKERS = 5
VICTIMS = 5
CROWD = 3 * (ATTACKERS + VICTIMS)
BOUND = 20 * STRETCH  # seconds that a victim may have to wait for an answer
SMALLEST_CHUNK = "16KiB"


def config(pool, pool_size, relays=1, chunk_size=None, tls=False, **settings):
    return dict(pool=pool, pool_size=pool_size, relays=relays, chunk_size=chunk_size, tls=tls,
                settings=settings)


CONFIGS = {
    "transaction-1": config("transaction", 1),
    "transaction-3": config("transaction", 3, relays=2, prepared_statements=3),
    "transaction-1-off": config("transaction", 1, prepared_statements="off"),
    "transaction-3-off": config("transaction", 3, relays=2, prepared_statements="off"),
    "transaction-1-tls": config("transaction", 1, relays=2, tls=True),
    "transaction-3-chunks": config("transaction", 3, relays=2, chunk_size=SMALLEST_CHUNK),
    "transaction-1-chunks-tls": config("transaction", 1, chunk_size=SMALLEST_CHUNK, tls=True,
                                       prepared_statements=2),
    "transaction-3-private": config("transaction", 3, relays=2, prepared_statements="private"),
    "transaction-1-strict": config("transaction", 1, session_state={"isolation": "strict"}),
    "transaction-3-fresh": config("transaction", 3, relays=2, session_state={"isolation": "fresh"}),
    "statement-1": config("statement", 1, relays=2),
    "statement-3-off": config("statement", 3, chunk_size=SMALLEST_CHUNK, prepared_statements="off"),
    "session-1": config("session", 1),
    "session-3-tls": config("session", 3, relays=2, chunk_size=SMALLEST_CHUNK, tls=True),
}


def tables(postgres):
    postgres.sql(hostile.TABLES)
    postgres.sql(victim.TABLES)


def configuration(name, certificate):
    """Changes to the usual configuration of a daemon; certificate is for TLS."""
    wanted = CONFIGS[name]
    settings = dict(claim_notice="never", idle_transaction_timeout=f"{5 * STRETCH}s")
    changes = dict(relays=wanted["relays"], routes=[
        route(pool=wanted["pool"], pool_size=wanted["pool_size"], auth="trust",
              **settings, **wanted["settings"])])
    if wanted["chunk_size"]:
        changes["chunk_size"] = wanted["chunk_size"]
    tls = {"mode": "require", "cert": str(certificate.cert), "key": str(certificate.key)}
    return changes, tls if wanted["tls"] else None


def features(name):
    found = {"transactions"} if CONFIGS[name]["pool"] != "statement" else set()
    if CONFIGS[name]["settings"].get("prepared_statements") != "off" or CONFIGS[name]["pool"] == "session":
        found.add("kept")
    return found


def crashes(postgres, mark):
    """The lines of PostgreSQL's log since a mark that tell of backends that have crashed.

    A client may do that to PostgreSQL 15.18 without a pooler, too: an Execute of the unnamed portal in a
    transaction in which a Query has failed reads freed memory.  All clients lose their servers then, so
    such a run says nothing about the daemon.
    """
    with open(postgres.log_file, "rb") as log:
        log.seek(mark)
        return [line for line in log.read().decode(errors="replace").splitlines()
                if "was terminated by signal 11" in line]


class Attack:
    """Plays sessions against an endpoint and takes no interest in the answers."""

    def __init__(self, endpoint, secure):
        self.endpoint, self.secure = endpoint, secure

    def play(self, session):
        """Returns how it ended."""
        self.until = time.monotonic() + hostile.LIFE
        wire = None
        try:
            wire = Endpoint.wire(self.endpoint, login=False)
            wire.socket.settimeout(hostile.LIFE)
            if self.secure:
                wire.secure()
            wire.startup(self.endpoint.user, self.endpoint.database, **session.parameters)
            for step in session.steps:
                if time.monotonic() > self.until:
                    return "out of time"
                self.step(wire, *step)
            return self.end(wire, session.end)
        except (OSError, EOFError, w.Refused) as error:
            return f"{type(error).__name__} {error}"
        finally:
            if wire is not None:
                wire.socket.close()

    def step(self, wire, what, *rest):
        if what == "send":
            wire.socket.settimeout(0.3)
            wire.socket.sendall(*rest)
        elif what == "pause":
            threading.Event().wait(*rest)
        elif what == "read":
            self.read(wire, *rest)
        elif what == "await":
            self.read(wire, rest[1], rest[0].encode())
        else:
            self.cancel(wire, wire.secret if what == "cancel" else os.urandom(len(wire.secret)))

    def read(self, wire, seconds, kind=None):
        """Takes what comes for a while, or until something looks like a message of this kind."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            wire.socket.settimeout(left)
            try:
                data = wire.socket.recv(65536)
            except TimeoutError:
                return
            if not data:
                raise EOFError("closed")
            if kind and kind + b"\0\0" in data:
                return

    def cancel(self, wire, secret):
        with socket.create_connection((self.endpoint.host, self.endpoint.port), timeout=0.3) as other:
            other.sendall(w.cancel_packet(wire.pid, secret))

    def end(self, wire, how):
        if how == "terminate":
            wire.socket.sendall(w.TERMINATE)
        elif how == "reset":
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "shut":
            wire.socket.shutdown(socket.SHUT_WR)
            self.read(wire, 0.1)
        elif how == "linger":
            threading.Event().wait(min(0.3, max(0, self.until - time.monotonic())))
        return how


class Siege:
    """One run: attackers and victims as threads, until the time is over or a victim complains."""

    def __init__(self, daemon, name, seed, sessions=None):
        self.daemon, self.name, self.seed, self.sessions = daemon, name, seed, sessions
        self.secure = CONFIGS[name]["tls"]
        self.endpoint = daemon.endpoint(user="trusted", password="")
        self.over = threading.Event()
        self.room = threading.Event()
        self.lock = threading.Lock()
        self.failures = []
        self.played = collections.defaultdict(lambda: collections.deque(maxlen=1000))
        self.waits = []
        self.attacks = self.answers = 0

    def connect(self, patience, **parameters):
        wire = Endpoint.wire(self.endpoint, login=False)
        wire.socket.settimeout(patience)
        if self.secure:
            wire.secure()
        wire.startup(self.endpoint.user, self.endpoint.database, **parameters)
        return wire

    def fail(self, text):
        with self.lock:
            self.failures.append(text)
        self.over.set()

    # -- threads

    def seeds(self, number):
        """The sessions of one attacker: without end, or those that were asked for, again and again."""
        count = 0
        while True:
            if self.sessions:
                yield self.sessions[(count + number) % len(self.sessions)]
            else:
                yield f"{self.seed}/{number}/{count}"
            count += 1

    def attack(self, number):
        attack = Attack(self.endpoint, self.secure)
        for seed in self.seeds(number):
            while not self.room.wait(0.1) and not self.over.is_set():
                pass
            if self.over.is_set():
                return
            session = hostile.Session(seed)
            start = time.monotonic()
            self.played[number].append([start, None, seed, "under way"])
            how = attack.play(session)
            self.played[number][-1][1:] = [time.monotonic(), seed, how]
            with self.lock:
                self.attacks += 1

    def suffer(self, number):
        one = victim.Victim(number, self.connect, features(self.name), BOUND)
        chance = random.Random(number)
        short = CONFIGS[self.name]["pool"] == "session"
        try:
            while not self.over.is_set():
                one.rounds(3 if short else 10)
                if short or chance.random() < 0.05:
                    one.leave()
            one.leave()
        except victim.Wrong as error:
            self.waits.append(one.asked)
            self.fail(str(error))
        except OSError as error:
            self.fail(f"{one.name}, leaving: {error}")
        finally:
            with self.lock:
                self.answers += one.answers

    def count(self, number):
        """Opens and shuts the endpoint to attackers by the number of clients that are there."""
        with psycopg.connect(self.daemon.endpoint("trunkline", "admin").conninfo(), autocommit=True,
                             cursor_factory=psycopg.ClientCursor) as console:
            while not self.over.wait(0.05):
                cursor = console.execute("SHOW POOLS")
                names = [column.name for column in cursor.description]
                rows = [dict(zip(names, row)) for row in cursor]
                crowd = sum(int(row["cl_active"]) + int(row["cl_waiting"]) for row in rows)
                (self.room.set if crowd < CROWD else self.room.clear)()

    def guarded(self, work, number):
        try:
            work(number)
        except Exception as error:  # a mistake of the test itself must not pass for silence
            self.fail(f"{work.__name__} {number}: {type(error).__name__}: {error}")
            raise

    def run(self, seconds):
        threads = [threading.Thread(target=self.guarded, args=(work, number), daemon=True)
                   for work, count in ((self.suffer, VICTIMS), (self.attack, ATTACKERS),
                                       (self.count, 1))
                   for number in range(count)]
        for thread in threads:
            thread.start()
        self.over.wait(seconds)
        self.end = time.monotonic()
        self.over.set()
        for thread in threads:
            thread.join(BOUND * 2)
        if any(thread.is_alive() for thread in threads):
            self.fail("a client did not end")
        if not self.failures:
            self.check_that_nothing_is_left()

    def check_that_nothing_is_left(self):
        def quiet():
            for row in self.daemon.console("SHOW POOLS"):
                busy = {k: v for k, v in row.items() if k in (
                    "cl_active", "cl_waiting", "sv_active", "sv_tested", "sv_login") and int(v)}
                assert row["database"] == "trunkline" or not busy, busy
            return True
        try:
            eventually(quiet, BOUND)
        except AssertionError as error:
            self.fail(f"after the last client has gone: {error}")

    # -- the report

    def replay(self):
        return f"./dev hostile --seed {self.seed} --config {self.name}"

    def summary(self):
        return (f"{self.name}, seed {self.seed}: {self.attacks} hostile sessions, "
                f"{self.answers} answers checked, {len(self.failures)} wrong")

    def report(self):
        """What went wrong and what the attackers had sent before, as text."""
        lines = [self.summary(), f"again: {self.replay()}", *self.failures, "",
                 "What the attackers did (in seconds, 0 is the first question without its answer):"]
        zero = min(self.waits, default=self.end)
        for entries in self.played.values():
            before = [entry for entry in entries if entry[0] < zero + 0.1]
            lines += ["", "=== an attacker, before: " + " ".join(seed for _, _, seed, _ in before)]
            for start, stop, seed, how in before[-6:]:
                ended = "" if stop is None else f" to {stop - zero:+.3f}"
                lines += ["", f"{start - zero:+.3f}{ended} s, ended by: {how}",
                          hostile.Session(seed).text()]
        return "\n".join(lines)


@contextlib.contextmanager
def besieged(make_daemon, name, certificate):
    """The daemon of a configuration; make_daemon(changes) makes it without starting it."""
    changes, tls = configuration(name, certificate)
    daemon = make_daemon(changes)
    if tls:
        daemon.config["listen"][0]["tls"] = tls
        daemon.write(daemon.config)
    yield daemon.start()
