"""What a hostile client sends: any messages in any order, from a seed.

A session is a list of steps: bytes to send, reads, pauses, cancel requests, and a way to leave.  It is made
without a look at what comes back, so a seed is all that it takes to send the same bytes again.
Where messages are made by grammar they are mutated afterwards: doubled, dropped, swapped, spoiled.
A COPY with Syncs around data that fails is what comes up most.
"""
import random
import struct

from . import wire as w

LIFE = 1.5  # seconds that a session may last

TABLES = """
drop table if exists junk, raising, late, narrow cascade;
create unlogged table junk (n int);
create unlogged table raising (n int);
create unlogged table late (n int unique deferrable initially deferred);
create unlogged table narrow (n int check (n < 100), t text not null);
create or replace function refuse() returns trigger language plpgsql as
    'begin raise exception ''not here''; end';
create or replace function skip_row() returns trigger language plpgsql as
    'begin if new.n = 7 then raise exception ''seven''; end if; return null; end';
create trigger refuses before insert on raising for each statement execute function refuse();
create trigger skips before insert on narrow for each row execute function skip_row();
grant all on junk, raising, late, narrow to trusted;
"""

COPIES = ["copy junk from stdin", "copy junk from stdin", "copy junk from stdin",
          "copy raising from stdin", "copy late from stdin", "copy narrow from stdin",
          "copy junk (n) from stdin (format csv)", "copy junk from stdin (format binary)",
          "copy no_such_table from stdin", "copy junk from stdin (no_such_option)"]
GOOD = [b"1\n", b"2\n3\n", b"%d\n" % 2**20, b"\\N\n", b"1\n" * 300]
BAD = [b"bad\n", b"1\tx\n", b"1\nbad\n", b"99999999999\n", b"\n", b"\\.\nx\n", b"7\tx\n",
       b"1\n" * 200 + b"bad\n", b"\xff\xfe\n", b"\0"]
CUT = [b"ba", b"1", b"1\n2", b"\\", b"", b"\n", b"d\n", b"PGCOPY\n\xff\r\n\0", b"\\.\n"]

# Texts for Query and Parse.  None harms what belongs to others: victims use the same user.
PLAIN = ["select 'attack'", "select 1; select 2", "select 'a'; nonsense; select 'b'", "", ";",
         "-- nothing", "nonsense", "select 1/0", "select 'attack' from generate_series(1, 3)",
         "insert into junk values (5)", "insert into late values (1)", "insert into late values (2), (2)",
         "delete from late", "insert into raising values (1)", "truncate junk",
         "select repeat('attack ', 300)", "select repeat('attack', 40000)", "values (null), (null)",
         "select pg_sleep(0.01)", "explain select 1", "show timezone",
         "do $$ begin raise notice 'attack'; end $$", "do $$ begin raise exception 'attack'; end $$",
         "notify attack, 'attack'", "select pg_notify('attack', 'attack')"]
TRANSACTION = ["begin", "begin", "commit", "rollback", "rollback", "savepoint a", "rollback to a",
               "release a", "begin; nonsense", "commit and chain", "rollback; begin", "abort", "end",
               "begin isolation level serializable read only deferrable", "set constraints all immediate",
               "begin; insert into late values (3), (3); commit", "select 1; commit; nonsense",
               "begin; select 'attack'; rollback", "begin isolation level read committed; "
               "select 'attack'; rollback"]
STATE = ["set work_mem = '1MB'", "set statement_timeout = '1ms'", "set search_path = attack",
         "set timezone = 'Asia/Tokyo'", "set application_name = 'attack'", "set datestyle = 'German'",
         "set client_encoding = 'sjis'", "set default_transaction_read_only = on",
         "set standard_conforming_strings = off", "reset all", "reset timezone",
         "set default_transaction_isolation = serializable", "set default_transaction_deferrable = on",
         "set local work_mem = '1MB'", "listen attack", "unlisten *", "listen attack; notify attack",
         "prepare attack as select 'attack'", "execute attack", "deallocate attack", "deallocate all",
         "discard all", "discard plans", "discard temp", "discard sequences",
         "create temporary table attack (n int)", "drop table attack",
         "create temporary table attack (n int) on commit drop", "select pg_advisory_lock(1)",
         "select pg_advisory_unlock_all()", "declare attack cursor with hold for select 'attack'",
         "declare attack cursor for select 'attack'", "fetch attack", "close all",
         "set session characteristics as transaction read only"]
OUT = ["copy (select 'attack') to stdout", "copy (select repeat('x', 5000) from generate_series(1, 60)) "
       "to stdout", "copy (select 1 / (20 - n) from generate_series(1, 40) n) to stdout",
       "copy junk to stdout", "copy (select 1 where false) to stdout"]
SHARED = ["select $1::text as shared", "select $1::text, $2::int"]
NAMES = ["", "", "", "s1", "s2", "shared", "tl_mark", "tl_abandoned"]
PORTALS = ["", "", "", "p1", "p2", "tl_abandoned"]
FUNCTIONS = [1598, 0, 2026, 77]  # random(), none, pg_backend_pid(), int4(char)
KINDS = b"QPBDECSHFdcfXpGWZRTKN\0\xff"


class Session:
    """The steps of one session, and how its client leaves."""

    def __init__(self, seed, secure=False):
        self.seed, self.secure = seed, secure
        self.random = random.Random(seed)
        self.steps = []
        self.parameters = self.startup()
        for _ in range(1 + self.random.randrange(3)):
            self.act()
        self.end = self.pick(["close"] * 5 + ["reset"] * 4 + ["terminate"] * 4 + ["linger", "shut"])

    def chance(self, of):
        return self.random.random() < of

    def pick(self, of):
        return self.random.choice(of)

    def several(self, of, most):
        return [self.pick(of) for _ in range(self.random.randrange(most + 1))]

    def startup(self):
        parameters = {}
        if self.chance(0.2):
            parameters["application_name"] = "attack"
        if self.chance(0.1):
            parameters["timezone"] = self.pick(["Asia/Tokyo", "UTC"])
        if self.chance(0.1):
            parameters["options"] = self.pick(["-c work_mem=2MB", "-c statement_timeout=20ms"])
        return parameters

    # -- what is said

    def act(self):
        acts = [(34, self.copy_simple), (22, self.copy_extended), (2, self.copy_crowd),
                (5, self.copy_out), (9, self.simple), (14, self.extended), (8, self.transaction),
                (5, self.state), (3, self.function), (2, self.garbage)]
        make, = self.random.choices([act for _, act in acts], [weight for weight, _ in acts])
        messages = make()
        if self.chance(0.35):
            messages = self.mutated(messages)
        self.deliver(messages)

    def data(self):
        """What is sent into a COPY, and behind its failure; None waits for CopyInResponse."""
        pools = [(6, lambda: w.SYNC), (4, lambda: w.copy_data(self.pick(BAD))),
                 (3, lambda: w.copy_data(self.pick(GOOD))), (2, lambda: w.copy_data(self.pick(CUT))),
                 (3, lambda: w.COPY_DONE), (1, lambda: w.copy_fail("attack")), (1, lambda: w.FLUSH),
                 (1, lambda: w.query(self.pick(PLAIN))), (0.5, lambda: w.close("S", self.pick(NAMES))),
                 (0.2, lambda: w.TERMINATE)]
        weights = [weight for weight, _ in pools]
        return [make() for _, make in self.random.choices(pools, weights,
                                                          k=self.random.randrange(8))]

    def usual(self):
        """The shapes that are known to be hard, as they are."""
        bad, good = w.copy_data(self.pick(BAD)), w.copy_data(self.pick(GOOD))
        return self.pick([[bad, w.SYNC], [good, w.SYNC, bad], [bad, w.SYNC, w.SYNC], [w.SYNC, bad, w.SYNC],
                          [bad, w.COPY_DONE, w.SYNC], [w.COPY_DONE, w.SYNC], [w.SYNC, w.COPY_DONE, w.SYNC],
                          [good, w.COPY_DONE], [w.copy_fail("attack"), w.SYNC], [w.SYNC, good]])

    def waits(self):
        return [None] if self.chance(0.3) else []

    def copy_simple(self):
        texts = [self.pick(COPIES) for _ in range(self.pick([1, 1, 1, 1, 2, 3]))]
        if self.chance(0.15):
            texts.insert(self.random.randrange(len(texts) + 1), self.pick(PLAIN + TRANSACTION))
        body = self.usual() if self.chance(0.4) else self.data()
        return [w.query("; ".join(texts)), *self.waits(), *body]

    def copy_extended(self):
        messages = [w.parse("", self.pick(COPIES)), w.bind()]
        if self.chance(0.3):
            messages.append(w.describe("P"))
        messages.append(w.execute())
        if self.chance(0.5):
            messages.append(w.SYNC)  # as libpq does
        body = self.usual() if self.chance(0.4) else self.data()
        return [*messages, *self.waits(), *body, *([w.SYNC] if self.chance(0.6) else [])]

    def copy_crowd(self):
        count = self.pick([5, 100, 254, 255, 256, 257, 300])
        ends = [self.pick([w.COPY_DONE] * 200 + [w.SYNC, w.copy_data(b"bad\n"), w.copy_fail("x")])
                for _ in range(count + self.random.randrange(-2, 3))]
        return [w.query("copy junk from stdin;" * count), *ends, *[w.SYNC] * self.random.randrange(4)]

    def copy_out(self):
        if self.chance(0.6):
            return [w.query(self.pick(OUT)), *self.several([w.SYNC, w.COPY_DONE], 2)]
        return [w.parse("", self.pick(OUT)), w.bind(), w.execute(), w.SYNC]

    def simple(self):
        return [w.query(self.pick(PLAIN)) for _ in range(1 + self.random.randrange(4))]

    def transaction(self):
        messages = []
        for _ in range(2 + self.random.randrange(5)):
            text = self.pick(TRANSACTION if self.chance(0.6) else PLAIN + COPIES)
            messages += [w.query(text)] if self.chance(0.7) else \
                [w.parse("", text), w.bind(), w.execute(), w.SYNC]
            if "copy" in text:
                messages += self.usual()
        return messages + ([w.query("rollback")] if self.chance(0.5) else [])

    def state(self):
        return [w.query(self.pick(STATE)) for _ in range(1 + self.random.randrange(3))]

    def function(self):
        return [w.function_call(self.pick(FUNCTIONS), *self.several([b"", b"\0\0\0\1", b"x" * 20000], 2))
                for _ in range(1 + self.random.randrange(2))] + self.several([w.SYNC], 1)

    def extended(self):
        return [self.message() for _ in range(1 + self.random.randrange(12))] + \
            ([w.SYNC] if self.chance(0.7) else [])

    def message(self):
        """One message of the extended protocol, or one that does not belong there."""
        name, portal = self.pick(NAMES), self.pick(PORTALS)
        texts = PLAIN + SHARED * 6 + TRANSACTION + COPIES
        makers = [(5, lambda: w.parse(name, self.pick(texts))), (2, lambda: w.execute()),
                  (2, lambda: w.execute(portal, self.pick([0, 0, 1]))),
                  (3, lambda: w.bind(portal, name, self.several(["x", None, "1"], 2))),
                  (1, lambda: w.describe("S", name)), (1, lambda: w.describe("P", portal)),
                  (1, lambda: w.close("S", name)), (1, lambda: w.close("P", portal)),
                  (3, lambda: w.SYNC), (1, lambda: w.FLUSH), (1, lambda: w.query(self.pick(texts))),
                  (0.5, lambda: self.pick(self.data() or [w.SYNC]))]
        make, = self.random.choices([maker for _, maker in makers], [weight for weight, _ in makers])
        return make()

    def garbage(self):
        return [self.pick([
            self.random.randbytes(self.random.randrange(1, 40)),
            bytes([self.pick(KINDS)]) + struct.pack("!I", self.pick([0, 3, 4, 5, 100, 2**31, 2**32 - 1])),
            w.message("Q", b"select 1"), w.message("P", b"x"), w.message("B", b"\0\0\0\5"),
            w.message("E", b""), w.message("D", b"Zx\0"), w.message("f", b"x"), w.message("S", b"x"),
            w.message("F", b"\0"), w.message("c", b"x"), w.message("H", b"\0" * 100)])]

    # -- what becomes of it

    def mutated(self, messages):
        messages = list(messages)
        for _ in range(1 + self.random.randrange(3)):
            at = self.random.randrange(len(messages) + 1)
            what = self.random.random()
            if what < 0.25:
                messages.insert(at, self.message())
            elif what < 0.4 and messages:
                messages.insert(at, self.pick(messages))
            elif what < 0.6 and messages:
                del messages[min(at, len(messages) - 1)]
            elif what < 0.8 and len(messages) > 1:
                other = self.random.randrange(len(messages))
                at = min(at, len(messages) - 1)
                messages[at], messages[other] = messages[other], messages[at]
            elif messages:
                at = min(at, len(messages) - 1)
                messages[at] = self.spoiled(messages[at])
        return messages

    def spoiled(self, message):
        """Another kind, another byte of the body, or (seldom) another length."""
        if not message or b"pg_sleep" in message:  # another digit, and it holds a server for minutes
            return message
        data = bytearray(message)
        what = self.random.random()
        if what < 0.45:
            data[0] = self.pick(b"QPBDECSHFdcf")
        elif what < 0.9 and len(data) > 5:
            data[self.random.randrange(5, len(data))] = self.random.randrange(256)
        elif len(data) > 4:
            data[4] = (data[4] + self.pick([-1, 1, 2])) % 256
        return bytes(data)

    def deliver(self, messages):
        """Makes steps of messages: in one write, or cut anywhere, with things in between."""
        calm = self.chance(0.5)
        pending = b""
        for item in messages:
            if item is None or not calm and self.chance(0.15):
                self.send(pending, calm)
                pending = b""
            if item is None:
                self.steps.append(("await", "G", 0.2))
            else:
                pending += item
        self.send(pending, calm)
        if self.chance(0.6):
            self.steps.append(("read", self.pick([0.001, 0.01, 0.05])))
        if self.chance(0.08):
            self.steps.append(self.pick([("cancel",), ("cancel",), ("cancel wrongly",)]))
            self.steps.append(("read", self.pick([0.001, 0.02])))

    def send(self, data, calm):
        if not data:
            return
        cuts = [] if calm else sorted(self.random.randrange(len(data))
                                      for _ in range(self.pick([0, 0, 1, 2, 5])))
        for start, end in zip([0, *cuts], [*cuts, len(data)]):
            self.steps.append(("send", data[start:end]))
            if end < len(data):
                between = self.random.random()
                if between < 0.15:
                    self.steps.append(("cancel",))
                elif between < 0.6:
                    self.steps.append(("pause", self.pick([0.0005, 0.002, 0.01])))
                elif between < 0.8:
                    self.steps.append(("read", 0.005))

    def text(self):
        """What it does, for a person."""
        lines = [f"session {self.seed}, startup {self.parameters}"]
        for what, *rest in self.steps:
            shown = repr(rest[0]) if what == "send" else " ".join(str(item) for item in rest)
            lines.append(f"  {what} {shown if len(shown) <= 600 else shown[:600] + ' ...'}")
        return "\n".join([*lines, f"  {self.end}"])
