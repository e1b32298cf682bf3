"""Writers and readers of registers (registers.py), and what the readers' answers must be.

A version is known from the moment when its write was acknowledged, or when a client was given it.  No answer
may have an earlier version than was known `age` seconds before its request: 0 is as if the database had been
asked.  Nor may it have a version that nobody has begun to write, or two versions at once.
"""
import bisect
import contextlib
import os
import random
import threading
import time

import psycopg

from . import wire as w
from .patience import PATIENCE, eventually
from .registers import OWNER, PATH, READER, Elsewhere

SECONDS = float(os.environ.get("TRUNKLINE_CHECK_SECONDS", 3))
FEW = 8  # versions and answers of each register that a run has at least
SLOW = 0.02  # seconds that some executions take, so that others join them
COMMON = 0.15  # seconds that one register is asked for by most
WAYS = ["simple", "unnamed", "named"]  # protocols
LOST = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
SHOWN = 5  # violations, in a report


class Ledger:
    """What is known of a register, and since when."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begun = 0  # the version that is being written, or was last
        self.values, self.times = [0], [0.0]
        self.pauses = {}  # seconds between the latest version that was known and this one's beginning

    def begin(self, version):
        self.pauses[version] = time.monotonic() - self.times[-1]
        self.begun = version

    def publish(self, version):
        with self.lock:
            if version > self.values[-1]:
                self.values.append(version)
                self.times.append(time.monotonic())

    def known(self, moment):
        """The version that was known then."""
        return self.values[bisect.bisect_right(self.times, moment) - 1]

    def since(self, version):
        """When that version, or a later one, became known."""
        return self.times[bisect.bisect_left(self.values, version)]


class Sessions:
    """The connections of one writer, made when they are needed."""

    def __init__(self, check, name):
        self.check, self.register, self.options = check, check.registers[name], check.options(name)
        self.elsewhere = self.here = self.back = None

    def reader(self):
        """For what was written a moment ago."""
        self.back = self.back or self.check.client()
        return self.back

    def of(self, statement):
        if isinstance(statement, Elsewhere):
            self.check.until_probed()
            self.elsewhere = self.elsewhere or self.check.superuser("session", self.options)
            return self.elsewhere
        if self.here is None:
            inside = self.check.inside and self.register.owner
            self.here = (self.check.daemon.connect(user=OWNER, options=self.options) if inside
                         else self.check.superuser("app", self.options))
            self.forget_prepared()
        return self.here

    def forget_prepared(self):
        """A prepared transaction of a session that was lost."""
        if self.check.lenient and self.register.prepares:
            with contextlib.suppress(psycopg.errors.UndefinedObject):
                self.here.execute("rollback prepared 'register'")

    def close(self):
        for session in self.elsewhere, self.here, self.back:
            if session is not None:
                session.close()
        self.elsewhere = self.here = self.back = None


class Check:
    """One run.  `server` is the primary, or a function that returns it.

    seen: whether a version is known when a client was given it, beside acknowledgements.
    inside: whether writers go by way of the daemon, those that can.
    lenient: clients may lose their servers.
    commit: values of synchronous_commit, for one register after the other.
    """

    def __init__(self, daemon, server, registers, age=0.0, seen=True, inside=False, lenient=False,
                 commit=("local",), pause=0.2, readers=4):
        self.daemon, self.server, self.registers = daemon, server, registers
        self.age, self.seen, self.inside, self.lenient = age, seen, inside, lenient
        self.commit, self.pause, self.readers = commit, pause, readers
        self.ledgers = {name: Ledger() for name in registers}
        self.answers = dict.fromkeys(registers, 0)
        self.violations, self.failures, self.events = [], [], []
        self.wrong = set()  # registers that have violations
        self.stop, self.over = threading.Event(), threading.Event()  # of clients, of all
        self.start = self.since = time.monotonic()
        self.before = self.counts()

    # -- the run

    def run(self, *others, until=None, enough=20, then=None):
        """Until the time is over and there was enough of everything, or something is wrong.

        `others` are functions of the run, each in a thread of its own.  `then` is one that is called when there was
        enough before it, in this thread: servers end with the thread that has started them.
        """
        clients = [self.thread(self.write, name) for name in self.registers]
        clients += [self.thread(self.read, number) for number in range(self.readers)]
        others = [self.thread(other, self) for other in others]
        self.warm()
        for thread in clients + others:
            thread.start()
        try:
            wait = until or (lambda: self.done(enough))
            eventually(wait, SECONDS + 3 * PATIENCE, every=0.1)
            if then is not None:
                then(self)
                self.before, self.since = self.counts(), time.monotonic()
                eventually(wait, SECONDS + 3 * PATIENCE, every=0.1)
        finally:
            self.stop.set()
            for thread in clients:
                thread.join(2 * PATIENCE)
            self.over.set()
            for thread in others:
                thread.join(2 * PATIENCE)
            self.forget_prepared()
        print(self.report())
        assert not self.failures, self.failures[:SHOWN]
        return self

    def warm(self):
        """Has each text judged before anything changes: who had no right then gets no shared answers for a minute."""
        with self.client() as session:
            for name, register in self.registers.items():
                for slow in {False, register.rows == 1}:
                    session.execute(self.text(name, slow), prepare=False)

    def forget_prepared(self):
        """What is prepared keeps its locks, whatever becomes of its session."""
        for name in self.primary().sql("select gid from pg_prepared_xacts where database = current_database()"):
            self.primary().sql(f"rollback prepared '{name[0]}'")

    def thread(self, function, argument):
        def guarded():
            try:
                function(argument)
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append((function.__name__, argument, repr(error)))

        return threading.Thread(target=guarded)

    def done(self, enough):
        if self.failures or self.violations:
            return True
        since = [now - before for now, before in zip(self.counts(), self.before)]
        assert min(since[1:]) > FEW, f"{since[1:]} versions and answers of registers"
        assert since[0] >= enough, f"only {since[0]} answers were shared"
        return time.monotonic() - self.since > SECONDS

    def counts(self):
        """Answers that were shared; versions and answers of each register."""
        return [self.shared(), *(len(one.values) for one in self.ledgers.values()), *self.answers.values()]

    def shared(self):
        """Answers from memory, or of executions that ran already."""
        return sum(int(rule["hits"]) + int(rule["joined"]) for rule in self.daemon.console("SHOW CACHE_RULES"))

    def event(self, text):
        self.events.append((time.monotonic() - self.start, text))

    def report(self):
        """What was wrong, and what happened shortly before."""
        written = sum(len(one.values) for one in self.ledgers.values())
        lines = [f"{len(self.violations)} violations; {written} versions, {sum(self.answers.values())} answers,"
                 f" {self.shared()} shared", str(self.daemon.console("SHOW CACHE_RULES"))]
        for at, text in self.violations[:SHOWN]:
            lines.append(f"{at:.4f} {text}")
            lines += [f"    {then:.4f} {what}" for then, what in self.events if at - 2 < then <= at][-12:]
        return "\n".join(lines)

    def holds(self):
        assert not self.violations, self.report()

    # -- writers

    def until_probed(self):
        """A feed does not notice that a role is granted and revoked, in another database, between two probes."""
        def fed():
            return [feed["probes"] for feed in self.daemon.console("SHOW FEED") if feed["state"] == "streaming"]

        before = fed()
        eventually(lambda: fed() == [] or before == [] or fed()[0] > before[0] + 1)

    def primary(self):
        return self.server() if callable(self.server) else self.server

    def options(self, name):
        number = list(self.registers).index(name)
        return f"-c synchronous_commit={self.commit[number % len(self.commit)]}"

    def superuser(self, database, options):
        """Not by way of the daemon."""
        primary = self.primary()
        return psycopg.connect(host=str(primary.folder), port=primary.port, user="postgres", dbname=database,
                               autocommit=True, connect_timeout=5, options=options)

    def write(self, name):
        choose, register, version = random.Random(name), self.registers[name], 1
        sessions = Sessions(self, name)
        while not self.stop.wait(choose.uniform(0, self.pause * register.pace)):
            self.ledgers[name].begin(version)
            try:
                self.write_version(register, version, sessions, choose)
                self.ledgers[name].publish(version)
                version += 1
                if choose.random() < 0.5:
                    slow = register.rows == 1 and choose.random() < 0.5
                    self.ask(sessions.reader(), choose.choice(WAYS), name, slow)
            except psycopg.Error as error:
                sessions.close()
                self.lost(error, f"write of {name}")
        sessions.close()

    def write_version(self, register, version, sessions, choose):
        """The statements of a version: one by one, as one query, or in a pipeline."""
        statements = register.write(version)
        way = choose.choice(["one by one", "query", "pipeline"] if register.together else ["one by one"])
        first = sessions.of(statements[0])
        if way == "query":
            psycopg.ClientCursor(first).execute("; ".join(statements))
            return
        with first.pipeline() if way == "pipeline" else contextlib.nullcontext():
            for statement in statements:
                self.write_statement(sessions.of(statement), statement)

    @staticmethod
    def write_statement(session, statement):
        if isinstance(statement, str):
            session.execute(statement)
            return
        with session.cursor().copy(statement[0]) as copy:
            copy.write(statement[1])

    def lost(self, error, what):
        """A server was lost, which the run must allow."""
        if not self.lenient or not (isinstance(error, LOST) or type(error) is psycopg.DatabaseError):
            raise error  # the last is what a pipeline raises when its connection ends
        self.event(f"{what}: {str(error).splitlines()[0]}")

    # -- readers

    def client(self, user=READER):
        return self.daemon.connect(user=user, options=f"-c search_path={PATH.replace(' ', '')}")

    def read(self, number):
        """A client that asks all the time, often the same as others do."""
        choose, session = random.Random(number), None
        while not self.stop.wait(choose.uniform(0, 0.006)):
            name = choose.choice(list(self.registers)) if choose.random() < 0.3 else self.common()
            try:
                session = session or self.client()
                self.ask(session, choose.choice(WAYS), name,
                         self.registers[name].rows == 1 and choose.random() < 0.3)
            except psycopg.Error as error:
                self.lost(error, f"read of {name}")
                if session is not None:
                    session.close()
                session = None
        if session is not None:
            session.close()

    def common(self):
        """The register that clients like to ask for now."""
        names = list(self.registers)
        return names[int((time.monotonic() - self.start) / COMMON) % len(names)]

    def text(self, name, slow):
        read = self.registers[name].read
        return f"select n, pg_sleep({SLOW})::text from ({read}) answer (n)" if slow else read

    def ask(self, session, way, name, slow):
        """One request: what its answer must be, and whether it was."""
        register, ledger = self.registers[name], self.ledgers[name]
        sent = time.monotonic()
        least = ledger.known(sent - self.age)
        cursor = psycopg.ClientCursor(session) if way == "simple" else session.cursor()
        try:
            rows = cursor.execute(self.text(name, slow), prepare=way == "named").fetchall()
        except psycopg.errors.InsufficientPrivilege:
            if not register.refused:
                raise
            rows = None
        begun = ledger.begun
        self.answers[name] += 1
        if way == "named" and not register.replanned:
            return  # an old answer may be PostgreSQL's; others may not get it
        wrong = self.judge(rows, register, least, begun)
        if wrong:
            self.wrong.add(name)
            self.violations.append((sent - self.start, f"{name}: {wrong} (version {least} was known for"
                                    f" {(sent - ledger.since(least)) * 1000:.1f} ms, and begun"
                                    f" {ledger.pauses.get(least, 0) * 1000:.1f} ms after another; answered after"
                                    f" {(time.monotonic() - sent) * 1000:.1f} ms; {way}{', slow' * slow})"))
        elif self.seen and rows is not None:
            ledger.publish(rows[0][0])

    @staticmethod
    def judge(rows, register, least, begun):
        """What is wrong with an answer, or None.  Without rows the reader had no right, as even versions say."""
        versions = {row[0] for row in rows} if rows is not None else {begun - begun % 2}
        if len(versions) != 1 or (rows is not None and len(rows) != register.rows):
            return f"{len(rows)} rows with versions {sorted(map(str, versions))}"
        version = versions.pop()
        if version is None or version < least:
            return f"answer {version}, least {least}"
        return f"answer {version}, written up to {begun}" if version > begun else None


# -- others, for Check.run()

def leaving(check):
    """Clients that leave, or cancel, while their statement is executed."""
    choose, names = random.Random("leaving"), [n for n, one in check.registers.items() if one.rows == 1]
    while not check.stop.wait(choose.uniform(0, 0.05)):
        wire = None
        try:
            wire = w.Wire("127.0.0.1", check.daemon.port)
            wire.startup(READER, "app", READER, search_path=PATH)
            wire.send(w.query(check.text(choose.choice(names), True)))
            check.stop.wait(choose.uniform(0, SLOW))
            if choose.random() < 0.5:
                wire.cancel_elsewhere()
        except (OSError, EOFError, w.Refused) as error:
            if not check.lenient:
                raise
            check.event(f"a client that leaves: {error!r}")
        finally:
            if wire is not None:
                wire.socket.close()


def releasing(check):
    """Ends the waits for a synchronous standby that is away, some time after they began."""
    choose = random.Random("releasing")
    while not check.over.wait(choose.uniform(0, 0.08)):
        check.primary().sql("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")


# What no statement of a writer does, and the feed must not be misled by.
DISTURBED = ["select pg_switch_wal()", "select pg_reload_conf()", "analyze", "checkpoint",
             f"alter role {READER} set work_mem = '5MB'", "create or replace view public.some as select 1"]
FEEDS = "application_name in ('trunkline feed', 'trunkline probe')"


def repeating(*statements, pause=0.6, database="app"):
    """One of these statements of a superuser, now and then."""
    def disturb(check):
        choose = random.Random(statements[0])
        while not check.stop.wait(choose.uniform(pause / 3, pause)):
            statement = choose.choice(statements)
            check.event(statement)
            check.primary().sql(statement, database=database)

    return disturb


def halting(*names, most=0.3):
    """Backends of these names stand still for a while now and then."""
    def disturb(check):
        choose = random.Random("halting")
        while not check.stop.wait(choose.uniform(0.05, 0.3)):
            for pid, name in check.primary().sql("select pid, application_name from pg_stat_activity"
                                                 " where application_name = any(%s)", list(names)):
                halted(check, pid, name, choose.uniform(0, most))

    return disturb


def halted(check, pid, name, during):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 19)
        check.event(f"{name} stands still for {during:.3f} s")
        check.stop.wait(during)
        os.kill(pid, 18)


def terminating(condition, pause=0.4):
    """Backends that are of this condition are terminated now and then."""
    return repeating(f"select pg_terminate_backend(pid) from pg_stat_activity where {condition}"
                     " and backend_type in ('client backend', 'walsender') order by random() limit 1",
                     pause=pause)
