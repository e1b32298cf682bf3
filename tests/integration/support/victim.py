"""Clients that check every answer: its shape, its values, and that it carries their own nonce."""
import random
import secrets
import time

from . import wire as w

TABLES = """
drop table if exists kept;
create table kept (victim text, nonce text);
grant all on kept to trusted;
"""

ZONES = ["UTC", "Asia/Kolkata", "America/New_York", "Europe/Oslo", "Africa/Lagos", "Asia/Osaka",
         "Australia/Perth", "America/Lima"]

# What another client must not have left; a row of all "t".
STATE = """select current_setting('work_mem') = '4MB', current_setting('statement_timeout') = '0',
 current_setting('search_path') = '"$user", public',
 current_setting('transaction_isolation') = 'read committed',
 current_setting('transaction_read_only') = 'off', current_user = 'trusted', session_user = 'trusted',
 to_regclass('pg_temp.attack') is null, not exists (select from pg_listening_channels()),
 not exists (select from pg_cursors where name <> ''), not exists (select from pg_prepared_statements
 where from_sql), not exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
 pg_current_xact_id_if_assigned() is null, '{nonce}' = '{nonce}'"""


class Wrong(AssertionError):
    """A victim has seen what it must not see."""


class Victim:
    """One client and its checks.  `features` says what the pool has: "transactions", "kept"."""

    def __init__(self, number, connect, features, patience):
        self.number, self.connect, self.features, self.patience = number, connect, features, patience
        self.name = f"victim-{number}"
        self.random = random.Random(f"{self.name} {secrets.token_hex(4)}")
        self.wire = None
        self.answers, self.asked = 0, time.monotonic()

    # -- the connection

    def arrive(self):
        self.asked = time.monotonic()
        self.application = self.name
        self.zone = ZONES[self.number % len(ZONES)]
        self.names, self.named_so_far = {}, 0
        self.wire = self.connect(self.patience, application_name=self.name, timezone=self.zone)

    def leave(self):
        if self.wire is not None:
            self.wire.send(w.TERMINATE)
            self.wire.socket.close()
            self.wire = None

    def rounds(self, count):
        """So many checks on one connection."""
        checks = [self.simple, self.several, self.mistake, self.unnamed, self.named, self.pipeline,
                  self.copy_out, self.copy_in, self.copy_mistake, self.parameter, self.state, self.large,
                  self.empty]
        checks += [self.kept, self.kept] if "kept" in self.features else []
        checks += [self.transaction, self.broken] if "transactions" in self.features else []
        try:
            self.doing = "login"
            if self.wire is None:
                self.arrive()
            for _ in range(count):
                check = self.random.choice(checks)
                self.doing = check.__name__
                check()
        except TimeoutError as error:
            raise Wrong(f"{self.name}, {self.doing}: no answer within {self.patience} s") from error
        except (EOFError, OSError) as error:
            raise Wrong(f"{self.name}, {self.doing}: closed: {error}") from error
        except w.Refused as error:
            raise Wrong(f"{self.name}: {error}") from error

    # -- asking and checking

    def nonce(self):
        return f"{self.name}-{secrets.token_hex(8)}"

    def receive(self):
        """The next message that answers; what may come at any time must be this client's too."""
        while True:
            message = self.wire.receive()
            if message.kind == "A" or message.kind == "N" and "attack" in message.fields["M"]:
                raise Wrong(f"{self.name}, {self.doing}: not for this client: {message}")
            if message.kind == "S":
                self.reported(*message.body.decode().split("\0")[:2])
            elif message.kind != "N":
                return message

    def reported(self, name, value):
        mine = {"application_name": self.application, "TimeZone": self.zone}
        if mine.get(name, value) != value:
            raise Wrong(f"{self.name}, {self.doing}: {name} is reported to be {value!r}, "
                        f"not {mine[name]!r}")

    def ask(self, data, *expected):
        """Sends, and checks each answer; an item is a kind, or a kind with what it must hold."""
        self.asked = time.monotonic()
        self.wire.send(data)
        heard = []
        for item in expected:
            kind, *wanted = item if isinstance(item, tuple) else (item,)
            message = self.receive()
            heard.append(message)
            if message.kind != kind or wanted and not self.holds(message, *wanted):
                raise Wrong(f"{self.name}, {self.doing}:\n  sent {bytes(data)[:300]!r}\n"
                            f"  expected {expected}\n  got {heard}")
        self.answers += 1

    @staticmethod
    def holds(message, *wanted):
        if message.kind == "D":
            return message.values == [None if v is None else v.encode() for v in wanted]
        if message.kind == "E":
            code, words = wanted
            return message.sqlstate == code and all(word in message.body for word in
                                                    (words.encode(),))
        if message.kind in "CZ":
            return message.body.rstrip(b"\0") == wanted[0].encode()
        return wanted[0].encode() in message.body  # T: the name of a column; d: data

    # -- the checks

    def simple(self):
        nonce = self.nonce()
        self.ask(w.query(f"select '{nonce}' as \"c{nonce}\""), ("T", f"c{nonce}"), ("D", nonce),
                 ("C", "SELECT 1"), ("Z", "I"))

    def several(self):
        one, two = self.nonce(), self.nonce()
        self.ask(w.query(f"select '{one}'; select '{two}' from generate_series(1, 2)"),
                 "T", ("D", one), ("C", "SELECT 1"),
                 "T", ("D", two), ("D", two), ("C", "SELECT 2"), ("Z", "I"))

    def empty(self):
        self.ask(w.query(""), "I", ("Z", "I"))
        self.simple()

    def mistake(self):
        nonce = self.nonce()
        self.ask(w.query(f"select '{nonce}'::int"), ("E", "22P02", nonce), ("Z", "I"))
        self.ask(w.query(f"select \"{nonce}\""), ("E", "42703", nonce), ("Z", "I"))

    def unnamed(self):
        nonce = self.nonce()
        self.ask(w.parse("", "select $1::text as shared") + w.bind("", "", [nonce]) + w.describe("P") +
                 w.execute() + w.SYNC,
                 "1", "2", ("T", "shared"), ("D", nonce), ("C", "SELECT 1"), ("Z", "I"))

    def named(self):
        nonce = self.nonce()
        self.ask(w.parse(nonce, f"select '{nonce}', $1::text") + w.describe("S", nonce) +
                 w.bind("", nonce, ["x"]) + w.execute() + w.close("S", nonce) + w.SYNC,
                 "1", "t", "T", "2", ("D", nonce, "x"), ("C", "SELECT 1"), "3", ("Z", "I"))

    def kept(self):
        """A statement from an earlier round; every second is a text that others have too."""
        if len(self.names) < 4 or self.random.random() < 0.1:
            self.named_so_far += 1
            name = f"kept{self.named_so_far}"
            token = self.nonce() if self.named_so_far % 2 else "shared"
            self.ask(w.parse(name, f"select '{token}', $1::text") + w.SYNC, "1", ("Z", "I"))
            self.names[name] = token
        name, nonce = self.random.choice([*self.names]), self.nonce()
        self.ask(w.bind("", name, [nonce]) + w.execute() + w.SYNC,
                 "2", ("D", self.names[name], nonce), ("C", "SELECT 1"), ("Z", "I"))
        if self.random.random() < 0.1:
            self.ask(w.close("S", name) + w.SYNC, "3", ("Z", "I"))
            del self.names[name]

    def pipeline(self):
        """Three batches, the second of which fails at its first statement."""
        one, two, three = self.nonce(), self.nonce(), self.nonce()

        def batch(text):
            return w.parse("", text) + w.bind() + w.execute()

        answered = ("1", "2")
        self.ask(batch(f"select '{one}'") * 2 + w.SYNC +
                 batch(f"select '{two}'::int") + batch("select 'skipped'") + w.SYNC +
                 batch(f"select '{three}'") + w.SYNC,
                 *answered, ("D", one), ("C", "SELECT 1"), *answered, ("D", one), ("C", "SELECT 1"),
                 ("Z", "I"), ("E", "22P02", two), ("Z", "I"),
                 *answered, ("D", three), ("C", "SELECT 1"), ("Z", "I"))

    def copy_out(self):
        nonce, count = self.nonce(), self.random.randrange(5)
        self.ask(w.query(f"copy (select '{nonce}' from generate_series(1, {count})) to stdout"),
                 "H", *[("d", nonce)] * count, "c", ("C", f"COPY {count}"), ("Z", "I"))

    def copy_in(self):
        nonce, count = self.nonce(), 1 + self.random.randrange(4)
        rows = w.copy_data(f"{self.name}\t{nonce}\n".encode()) * count
        if self.random.random() < 0.5:
            self.ask(w.query("copy kept from stdin"), "G")
            self.ask(rows + w.COPY_DONE, ("C", f"COPY {count}"), ("Z", "I"))
        else:  # in libpq's order
            self.ask(w.parse("", "copy kept from stdin") + w.bind() + w.describe("P") + w.execute() +
                     w.SYNC, "1", "2", "n", "G")
            self.ask(rows + w.COPY_DONE + w.SYNC, ("C", f"COPY {count}"), ("Z", "I"))
        self.ask(w.query(f"delete from kept where nonce = '{nonce}'"), ("C", f"DELETE {count}"), ("Z", "I"))

    def copy_mistake(self):
        nonce = self.nonce()
        self.ask(w.query("copy kept from stdin"), "G")
        if self.random.random() < 0.5:
            self.ask(w.copy_data(f"{nonce}\n".encode()), ("E", "22P04", nonce), ("Z", "I"))
        else:
            self.ask(w.copy_fail(nonce), ("E", "57014", nonce), ("Z", "I"))

    def parameter(self):
        if self.random.random() < 0.5:
            self.application = self.nonce()
            self.ask(w.query(f"set application_name = '{self.application}'"), ("C", "SET"), ("Z", "I"))
        self.ask(w.query("select current_setting('application_name'), current_setting('TimeZone')"),
                 "T", ("D", self.application, self.zone), ("C", "SELECT 1"), ("Z", "I"))

    def state(self):
        text = STATE.format(nonce=self.nonce())
        self.ask(w.query(text), "T", ("D", *["t"] * 14), ("C", "SELECT 1"), ("Z", "I"))

    def large(self):
        """More than a chunk in both directions."""
        nonce = self.nonce()
        value = f"{nonce}{'x' * 20000}"
        self.ask(w.parse("", "select $1::text") + w.bind("", "", [value]) + w.execute() + w.SYNC,
                 "1", "2", ("D", value), ("C", "SELECT 1"), ("Z", "I"))

    def transaction(self):
        nonce = self.nonce()
        self.ask(w.query("begin"), ("C", "BEGIN"), ("Z", "T"))
        self.ask(w.query(f"insert into kept values ('{self.name}', '{nonce}')"),
                 ("C", "INSERT 0 1"), ("Z", "T"))
        self.unnamed_within("T")
        self.ask(w.query(f"select nonce from kept where nonce = '{nonce}'"), "T", ("D", nonce),
                 ("C", "SELECT 1"), ("Z", "T"))
        self.ask(w.query("rollback"), ("C", "ROLLBACK"), ("Z", "I"))

    def unnamed_within(self, status):
        nonce = self.nonce()
        self.ask(w.parse("", "select $1::text") + w.bind("", "", [nonce]) + w.execute() + w.SYNC,
                 "1", "2", ("D", nonce), ("C", "SELECT 1"), ("Z", status))

    def broken(self):
        nonce = self.nonce()
        self.ask(w.query("begin"), ("C", "BEGIN"), ("Z", "T"))
        self.ask(w.query(f"select '{nonce}'::int"), ("E", "22P02", nonce), ("Z", "E"))
        self.ask(w.query(f"select '{nonce}'"), ("E", "25P02", ""), ("Z", "E"))
        self.ask(w.query("commit"), ("C", "ROLLBACK"), ("Z", "I"))
