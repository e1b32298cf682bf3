"""Clients that do what chance says, and know what every answer must be.

Each client is a thread with a connection of its own and a small model of its session: statements,
parameters, transaction.  What it sends goes out whole, in pieces, or not to its end; what comes back
is compared with the model, answer by answer.
"""
import random
import socket
import struct
import threading
import time

from . import wire as w

FATAL = {"57P01", "08006", "08007", "57P02", "08003"}  # what a client may hear whose server was terminated

SETTINGS = {
    "application_name": ["one", "two's", 'three"', "four \\ back", "five"],
    "timezone": ["UTC", "Asia/Tokyo", "America/New_York"],
    "datestyle": ["ISO, MDY", "ISO, DMY", "German, DMY"],
    "work_mem": ["4MB"],
}


# The unnamed statement after a Parse or Close that was skipped: PostgreSQL has the one before still,
# a pool whose servers change does not.
UNKNOWN = object()


class Died(Exception):
    """The connection is over, as the plan was or as its server was terminated."""


class Statement:
    """A text, and the answer to it for a parameter."""

    def __init__(self, number, own=None):
        self.token = f"{own or 'shared'}-{number}"
        self.sql = f"select '{self.token}:' || $1::text"

    def answer(self, value):
        return f"{self.token}:{value}"


SHARED = [Statement(number) for number in range(12)]


class World:
    """What all clients of one run share."""

    def __init__(self, endpoint, endpoints, seed, until, terminations=False, secure=False):
        self.endpoint, self.endpoints, self.seed, self.until = endpoint, endpoints, seed, until
        self.terminations, self.secure = terminations, secure
        self.lock = threading.Lock()
        self.old_keys = []
        self.done = {}
        self.failures = []

    def count(self, what):
        with self.lock:
            self.done[what] = self.done.get(what, 0) + 1


class Batch:
    """A pipeline under construction: messages, and what will answer them if all goes by the rules."""

    def __init__(self, client):
        self.client, self.bytes, self.expected, self.failed = client, b"", [], False

    def add(self, data, *answers, fails=None):
        """Returns whether it is carried out."""
        self.bytes += data
        if self.failed:
            return False
        if fails is None:
            self.expected += answers
            return True
        self.expected.append(("E", fails))
        self.failed = True
        return False

    def parse(self, name, statement, bad=False):
        client = self.client
        if bad and name in client.names:
            name = ""  # which of the two errors comes first is not asked
        sql = "select no_such_column" if bad else statement.sql
        fails = "42703" if bad else "42P05" if name and name in client.names else None
        if not name:
            client.unnamed = UNKNOWN if self.failed else None
        if self.add(w.parse(name, sql), ("1",), fails=fails):
            if name:
                client.names[name] = statement
            else:
                client.unnamed = statement

    def bind(self, name, value):
        statement = self.client.names.get(name) if name else self.client.unnamed
        self.add(w.bind("", name, [value]), ("2",), fails=None if statement else "26000")
        return statement

    def run(self, name, value, describe=False):
        statement = self.bind(name, value)
        answer = statement.answer(value) if isinstance(statement, Statement) else None
        if describe:
            self.add(w.describe("P"), ("T",))
        self.add(w.execute(), ("D", answer), ("C",))

    def describe(self, name):
        known = self.client.names.get(name) if name else self.client.unnamed
        self.add(w.describe("S", name), ("t",), ("T",), fails=None if known else "26000")

    def close(self, name):
        if not name and self.failed:
            self.client.unnamed = UNKNOWN
        if self.add(w.close("S", name), ("3",)):
            if name:
                self.client.names.pop(name, None)
            else:
                self.client.unnamed = None

    def divide(self):
        """A statement that fails when it runs."""
        self.client.unnamed = UNKNOWN
        self.add(w.parse("", "select 1 / floor(random())::int"), ("1",))
        self.add(w.bind(), ("2",))
        self.add(w.execute(), fails="22012")

    def sync(self):
        if self.failed and self.client.status == "T":
            self.client.status = "E"
        self.failed = False
        self.add(w.SYNC, ("Z", self.client.status))


class Client:
    def __init__(self, world, index):
        self.world, self.index = world, index
        self.random = random.Random(f"{world.seed}/{index}")
        self.session = index % 4 == 3
        self.count = 0
        self.least = self.most = 0      # how often its row was incremented
        self.rows_least = self.rows_most = 0  # how many rows it has copied
        self.wire = None
        self.thread = threading.Thread(target=self.main, name=f"client {index}")

    # -- the connection

    def connect(self):
        self.last = "login"
        world = self.world
        endpoint = world.endpoints[1] if self.session else world.endpoints[0]
        self.names, self.unnamed, self.status = {}, None, "I"
        self.values = {"application_name": f"chaos {self.index}", "timezone": "Etc/UTC",
                       "datestyle": "ISO, MDY", "work_mem": "4MB"}
        self.saved = None
        while True:
            self.wire = endpoint.wire(login=False)
            try:
                if world.secure:
                    self.wire.secure()
                options = {"TimeZone": "Etc/UTC"} if self.random.random() < 0.5 else {}
                self.wire.startup(endpoint.user, endpoint.database, endpoint.password,
                                  application_name=self.values["application_name"], **options)
                break
            except w.Refused as refused:
                self.wire.socket.close()
                if not (world.terminations and refused.sqlstate in FATAL):
                    raise
            except (EOFError, ConnectionError):
                self.wire.socket.close()
                if not world.terminations:
                    raise
        if not options:
            self.check_setting("timezone", None)

    def die(self):
        """Goes without a word, by a FIN or by a reset."""
        with self.world.lock:
            self.world.old_keys = self.world.old_keys[-20:] + [(self.wire.pid, self.wire.secret)]
        if self.random.random() < 0.5:
            self.wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                        struct.pack("ii", 1, 0))
        self.wire.socket.close()
        raise Died

    def send(self, data):
        chance = self.random.random()
        if chance < 0.02:
            self.push(data[:self.random.randrange(len(data))])
            self.world.count("death")
            self.die()
        if chance < 0.12 and len(data) < 600:
            step = self.random.choice([1, 1, 2, 3, 5, 7])
            for at in range(0, len(data), step):
                self.push(data[at:at + step])
        elif chance < 0.2 and len(data) > 1:
            cut = self.random.randrange(1, len(data))
            self.push(data[:cut])
            self.pause(0.003)
            self.push(data[cut:])
        else:
            self.push(data)

    def push(self, data):
        try:
            self.wire.send(data)
        except (ConnectionError, OSError):
            self.lost("while it sent")

    def pause(self, most):
        time_out = self.random.random() * most
        threading.Event().wait(time_out)

    def lost(self, when):
        """The connection ended by itself: what came before its end must say why, once."""
        if not self.world.terminations:
            raise AssertionError(f"the connection was lost {when}")
        self.wire.socket.close()
        raise Died

    def receive(self):
        while True:
            try:
                answer = self.wire.receive()
            except (EOFError, ConnectionError):
                self.lost("while an answer was due")
            if answer.kind == "E" and answer.fields.get("V") == "FATAL":
                assert self.world.terminations and answer.sqlstate in FATAL, answer.fields
                rest = self.wire.rest()
                assert not rest, f"after {answer.fields}: {rest}"
                self.world.count("terminated")
                self.wire.socket.close()
                raise Died
            if answer.kind not in "NSA":
                return answer

    # -- answers

    def expect(self, expected, what):
        for number, (kind, *more) in enumerate(expected):
            answer = self.receive()
            got = (answer.kind,)
            if kind == "D" and answer.kind == "D":
                got += (answer.values[0].decode(),)
            elif kind == "E" and answer.kind == "E":
                got += (answer.sqlstate,)
            elif kind == "Z" and answer.kind == "Z":
                got += (answer.body.decode(),)
            wanted = (kind, *more)[:len(got)]
            assert got == wanted, (f"{what}: answer {number} is {got} {answer!r}"
                                   f"{answer.fields if answer.kind == 'E' else ''}, wanted {wanted}"
                                   f" of {expected}")

    def ask(self, data, *expected, what=""):
        self.send(data)
        self.expect(expected, what or data[:100])

    def value(self, sql):
        """Of a query that must succeed."""
        self.unnamed = None
        self.send(w.query(sql))
        answers = []
        while True:
            answers.append(self.receive())
            if answers[-1].kind == "Z":
                break
        assert w.kinds(answers) == "T D C Z", (sql, answers, [m.fields for m in answers
                                                             if m.kind == "E"])
        assert answers[-1].body.decode() == self.status, (sql, answers[-1], self.status)
        return answers[1].values[0].decode()

    def token(self):
        self.count += 1
        return f"t{self.index}.{self.count}"

    # -- what it does

    def simple(self):
        token = self.token()
        assert self.value(f"select '{token}'") == token

    def simple_error(self):
        if self.status == "T":
            return
        token = self.token()
        self.unnamed = None
        self.ask(w.query(f"select '{token}'; select 1/0; select 'never'"),
                 ("T",), ("D", token), ("C",), ("E", "22012"), ("Z", "I"))

    def pipeline(self):
        batch = Batch(self)
        chance = self.random
        for _ in range(chance.randint(1, 4)):
            for _ in range(chance.randint(0, 4)):
                name = chance.choice(["", "a", "b", "c", "d"])
                statement = chance.choice(SHARED) if chance.random() < 0.7 else \
                    Statement(chance.randint(1, 5), f"own{self.index}")
                if not name and self.unnamed is UNKNOWN:
                    batch.parse(name, statement)
                    continue
                act = chance.choices(["parse", "run", "describe", "close", "bad", "divide", "both"],
                                     [4, 8, 2, 2, 0.4, 0.3, 4])[0]
                if act == "parse":
                    batch.parse(name, statement)
                elif act == "run":
                    batch.run(name, self.token(), chance.random() < 0.5)
                elif act == "describe":
                    batch.describe(name)
                elif act == "close":
                    batch.close(name)
                elif act == "bad":
                    batch.parse(name, statement, bad=True)
                elif act == "divide":
                    batch.divide()
                else:
                    batch.close(name)
                    batch.parse(name, statement)
                    batch.run(name, self.token())
                if chance.random() < 0.1:
                    batch.bytes += w.FLUSH
            failed = batch.failed and self.status == "T"
            batch.sync()
            if failed:
                break
        self.ask(batch.bytes, *batch.expected, what="a pipeline")
        self.recover()

    def recover(self):
        if self.status == "E":
            self.roll_back()

    def row_limit(self):
        token = self.token()
        self.unnamed = UNKNOWN
        self.ask(w.parse("", f"select '{token}' || n from generate_series(1, 5) n") +
                 w.bind(token) + w.execute(token, 2) + w.FLUSH,
                 ("1",), ("2",), ("D", f"{token}1"), ("D", f"{token}2"), ("s",))
        if self.random.random() < 0.1:
            self.die()
        self.ask(w.execute(token, 2) + w.FLUSH, ("D", f"{token}3"), ("D", f"{token}4"), ("s",))
        self.ask(w.execute(token) + w.SYNC, ("D", f"{token}5"), ("C",), ("Z", self.status))

    def copy_in(self):
        if self.status == "T":
            return
        how = self.random.choice(["good", "good", "give up", "refused", "late", "one piece"])
        extended = self.random.random() < 0.5
        count = self.random.randint(1, 300)
        sql = f"copy copied from stdin"
        data = b"".join(w.copy_data(b"%d\t%s\n" % (self.index, b"x" * self.random.randint(1, 90)))
                        for _ in range(count))
        bad = w.copy_data(b"no number\tx\n")
        self.unnamed = UNKNOWN
        begin = w.parse("", sql) + w.bind() + w.execute() if extended else w.query(sql)
        end = {"give up": w.copy_fail("no")}.get(how, w.COPY_DONE) + (w.SYNC if extended else b"")
        started = ([("1",), ("2",)] if extended else []) + [("G",)]
        wrong = {"give up": "57014", "refused": "22P02", "late": "22P02"}.get(how)
        ended = [("E", wrong) if wrong else ("C",), ("Z", "I")]
        self.rows_most += 0 if wrong else count
        if how == "one piece":
            self.ask(begin + data + end, *started, *ended, what="copy in one piece")
        else:
            self.ask(begin + (w.FLUSH if extended else b""), *started, what="copy begins")
            if how in ("refused", "late"):
                data = bad + (data if how == "late" else b"")
            self.ask(data + end, *ended, what=f"copy {how}")
        if not wrong:
            self.rows_least += count

    def copy_out(self):
        self.unnamed = None
        token = self.token()
        fails = self.random.random() < 0.3 and self.status == "I"
        divisor = "(50 - n)" if fails else "1"
        self.send(w.query(f"copy (select '{token}', 1 / {divisor} from generate_series(1, 100) n) "
                          "to stdout"))
        answers = [self.receive()]
        while answers[-1].kind != "Z":
            answers.append(self.receive())
        rows = [m for m in answers if m.kind == "d"]
        assert all(m.body.startswith(token.encode()) for m in rows)
        ends = [m.kind for m in answers if m.kind != "d"]
        assert ends == (["H", "E", "Z"] if fails else ["H", "c", "C", "Z"]), ends

    def function(self):
        number = self.random.randint(-10000, -1)
        self.send(w.function_call(1397, str(number).encode()))
        answers = [self.receive(), self.receive()]
        assert [m.kind for m in answers] == ["V", "Z"], answers
        assert answers[0].body[4:] == str(-number).encode()

    def begin(self):
        if self.status != "I":
            return
        self.unnamed = None
        self.status = "T"
        self.ask(w.query("begin"), ("C",), ("Z", "T"))
        self.saved = dict(self.values)
        self.added = 0

    def increment(self):
        self.unnamed = None
        if self.status == "I":
            self.most += 1
            self.ask(w.query(f"update counters set n = n + 1 where id = {self.index}"),
                     ("C",), ("Z", "I"))
            self.least += 1
        else:
            self.ask(w.query(f"update counters set n = n + 1 where id = {self.index}"),
                     ("C",), ("Z", "T"))
            self.added += 1

    def commit(self):
        if self.status != "T":
            return
        self.unnamed = None
        self.most += self.added
        self.status = "I"
        self.ask(w.query("commit"), ("C",), ("Z", "I"))
        self.least += self.added

    def roll_back(self):
        if self.status == "I":
            return
        self.unnamed = None
        self.status = "I"
        self.ask(w.query("rollback"), ("C",), ("Z", "I"))
        self.values = self.saved

    def fail_in_transaction(self):
        if self.status != "T":
            return
        self.unnamed = None
        self.status = "E"
        self.ask(w.query("select 1/0"), ("E", "22012"), ("Z", "E"))
        self.ask(w.query("select 1"), ("E", "25P02"), ("Z", "E"))
        self.roll_back()

    def set(self):
        name = self.random.choice(["application_name", "timezone", "datestyle"])
        value = self.random.choice(SETTINGS[name])
        quoted = value.replace("'", "''")
        if self.random.random() < 0.5:
            self.unnamed = UNKNOWN
            self.ask(w.query(f"set {name} = '{quoted}'"), ("C",), ("Z", self.status))
        else:
            self.unnamed = UNKNOWN
            self.ask(w.parse("", f"set {name} = '{quoted}'") + w.bind() + w.execute() + w.SYNC,
                     ("1",), ("2",), ("C",), ("Z", self.status))
        self.values[name] = value

    def set_local(self):
        if self.status != "T":
            return
        self.unnamed = None
        self.ask(w.query("set local application_name = 'for a while'"), ("C",), ("Z", "T"))
        assert self.value("show application_name") == "for a while"
        self.commit()
        self.check_setting("application_name", self.values["application_name"])

    def check(self):
        name = self.random.choice(["application_name", "timezone", "datestyle"])
        self.check_setting(name, self.values[name])

    def check_setting(self, name, wanted):
        """None: takes what is there as what it is."""
        value = self.value(f"show {name}")
        if wanted is None:
            self.values[name] = value
        assert value == self.values[name], f"{name} is {value!r}, was set to {self.values[name]!r}"

    def cancel(self):
        """Its own query: it ends by that, or was quicker."""
        if self.status == "T":
            return
        self.unnamed = UNKNOWN  # refused while it waits, it destroys nothing
        token = self.token()
        self.send(w.query(f"select '{token}' from pg_sleep({self.random.random() * 0.03})"))
        self.pause(0.01)
        self.fire(self.wire.pid, self.wire.secret)
        answers = [self.receive()]
        while answers[-1].kind != "Z":
            answers.append(self.receive())
        kinds = w.kinds(answers)
        if "E" in kinds.split():
            assert [m.sqlstate for m in answers if m.kind == "E"] == ["57014"], kinds
            self.world.count("cancelled")
        else:
            assert kinds == "T D C Z" and answers[1].values == [token.encode()], answers

    def fire(self, pid, secret):
        try:
            with self.world.endpoint.wire(login=False) as other:
                if self.world.secure:
                    other.secure()
                other.send(w.cancel_packet(pid, secret))
                other.rest()
        except OSError:
            pass

    def cancel_old(self):
        """Of a client that has gone: must hit nobody."""
        with self.world.lock:
            keys = list(self.world.old_keys)
        if keys:
            self.fire(*self.random.choice(keys))

    def big_result(self):
        self.unnamed = None
        token = self.token()
        self.send(w.query(f"select '{token}' || repeat('x', 2000) from generate_series(1, 1000)"))
        slow = self.random.random() < 0.5
        answer, rows = self.receive(), 0
        assert answer.kind == "T", (answer, answer.fields)
        while True:
            answer = self.receive()
            if answer.kind != "D":
                break
            rows += 1
            assert answer.body[6:6 + len(token)] == token.encode()
            if rows == 10 and self.random.random() < 0.05:
                self.die()
            if slow and rows % 200 == 0:
                self.pause(0.02)
        assert (rows, answer.kind) == (1000, "C"), (rows, answer)
        self.expect([("Z", self.status)], "big result")

    def big_parameter(self):
        self.unnamed = UNKNOWN
        size = self.random.choice([100, 16370, 16384, 65536, 300000])
        self.ask(w.parse("", "select length($1::text)") + w.bind("", "", ["y" * size]) +
                 w.execute() + w.SYNC,
                 ("1",), ("2",), ("D", str(size)), ("C",), ("Z", self.status), what="big parameter")

    def deallocate(self):
        if self.status != "I":
            return
        self.unnamed = None
        self.ask(w.query("deallocate all"), ("C",), ("Z", "I"))
        self.names.clear()

    def half_close(self):
        """The end of what it sends is its end."""
        if self.random.random() < 0.8:
            return
        self.push(w.query("select pg_sleep(0.01)"))
        try:
            self.wire.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.wire.rest()
        self.world.count("half-closed")
        self.die()

    def leave(self):
        if self.random.random() < 0.7:
            return
        self.push(w.TERMINATE)
        self.wire.rest()
        self.die()

    ACTS = [(simple, 8), (simple_error, 2), (pipeline, 14), (row_limit, 2), (copy_in, 3),
            (copy_out, 2), (function, 2), (begin, 4), (increment, 5), (commit, 4), (roll_back, 2),
            (fail_in_transaction, 1), (set, 5), (set_local, 1), (check, 6), (cancel, 1.5),
            (cancel_old, 1.5), (big_result, 0.7), (big_parameter, 1), (deallocate, 0.5),
            (half_close, 1), (leave, 1)]

    def live(self):
        self.connect()
        acts, weights = zip(*self.ACTS)
        while time.monotonic() < self.world.until:
            act = self.random.choices(acts, weights)[0]
            self.last = act.__name__
            act(self)
            self.world.count(act.__name__)
            if self.random.random() < 0.1:
                self.pause(0.02)
        self.roll_back()
        self.wire.last_words(w.TERMINATE)

    def main(self):
        try:
            while time.monotonic() < self.world.until:
                try:
                    self.live()
                except Died:
                    continue
                finally:
                    if self.wire:
                        self.wire.socket.close()
        except BaseException as error:
            self.world.failures.append(f"client {self.index}, {'session' if self.session else 'transaction'},"
                                       f" in {getattr(self, 'last', 'login')}: {error!r}")
            self.world.until = 0
