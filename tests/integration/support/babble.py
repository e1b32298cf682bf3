"""Random sequences of messages, legal and slightly illegal, from a seed; see conversation.py."""
import random

NAMES = ["", "", "s1", "s2", "s3"]
PORTALS = ["", "", "", "p1", "p2"]

# Text, and values for its parameters.
PLAIN = [
    "select 1", "select 'text'", "select 1 as a, 'b' as b, null as c", "select 2147483647 + 1",
    "select 1/0", "select k, v from kv order by k", "select v from kv where k = 2",
    "select count(*), sum(k), min(v), max(k) from kv", "select * from kv where k > 2 order by k desc limit 2",
    "insert into kv values (1, 'one')", "insert into kv values (2, 'two'), (3, 'three')",
    "insert into kv (v, k) values ('four', 4) returning k, v", "insert into kv values (null, 'x')",
    "insert into kv values (1, 'x') on conflict do nothing",
    "insert into kv values (1, 'y') on conflict (k) do update set v = excluded.v || kv.v",
    "insert into kv select g, 'g' || g from generate_series(10, 12) g",
    "update kv set v = v || '!' where k = 1", "update kv set v = upper(v) returning *",
    "update kv set k = k + 100 where k < 3", "delete from kv where k = 2", "delete from kv",
    "delete from kv where k > 2 returning k", "select g from generate_series(1, 5) g",
    "select 6 / (3 - g) from generate_series(1, 5) g", "select generate_series(1, 3)",
    "select g, repeat('x', g) from generate_series(1, 4) g where g <> 2",
    "begin", "begin isolation level repeatable read", "start transaction read only", "commit",
    "rollback", "savepoint a", "savepoint b", "release a", "rollback to a", "rollback to b",
    "commit and chain", "rollback and chain", "abort", "end",
    "set application_name = 'me'", "set local application_name = 'here'", "reset application_name",
    "show application_name", "select current_setting('application_name')",
    "select set_config('application_name', 'by function', true)",
    "select set_config('application_name', 'for long', false)", "set datestyle = german",
    "show datestyle", "reset all", "set work_mem = '8MB'", "show work_mem", "set work_mem = 1",
    "set nonsense = 1", "show nonsense", "set my.own = 'mine'", "show my.own",
    "set statement_timeout = '5s'", "show statement_timeout", "set intervalstyle = wrong",
    "set transaction isolation level serializable", "show transaction_isolation",
    "set default_transaction_read_only = on", "set standard_conforming_strings = off",
    "prepare s1 as select 1", "prepare s2 (int) as select $1 + 1", "execute s1", "execute s2 (4)",
    "execute s2 ('x')", "execute s3", "deallocate s1", "deallocate all",
    "prepare s3 as insert into kv values (7, 'seven') returning k", "discard all",
    "discard plans", "discard temp", "declare c cursor for select k from kv order by k",
    "declare c cursor with hold for select g from generate_series(1, 4) g", "fetch 2 from c",
    "fetch c", "fetch all from c", "move 1 from c", "close c", "close all",
    "copy (select k, v from kv order by k) to stdout", "copy (select 1/0) to stdout",
    "copy (select 4 / (2 - g) from generate_series(1, 3) g) to stdout",
    "listen news", "notify news, 'paper'", "unlisten *", "select pg_notify('news', 'more')",
    "select pg_advisory_lock(1)", "select pg_advisory_unlock(1)", "select pg_advisory_unlock_all()",
    "select pg_sleep(0)", "select pg_try_advisory_xact_lock(2)", "select nonsense", "select k",
    "select * from nowhere", "select nonsense(1)", "select 'a' + 1", "select 'abc'::int", "selec 1",
    "select 1 from", "", ";", "select 1; select 2", "select true and null, not false, 1 < 2, 'a' <> 'b'",
    "insert into kv values (5, 'five'); select 1/0", "begin; insert into kv values (6, 'six')",
    "insert into kv values (8, 'a'); commit; insert into kv values (8, 'b')",
    "select 1; rollback; select 2", "set application_name = 'x'; set datestyle = 'sql, dmy'; select 1/0",
    "select 1; begin; select 2; savepoint s; select 3", "savepoint a; select 1", "select current_user, session_user",
    "select 1; discard all", "truncate kv", "create temp table t (k int primary key, v text)",
    "insert into t values (1, 'temporary') returning v", "select * from t", "drop table t",
    "drop table if exists t", "create temp table if not exists t (k int primary key, v text)",
]
PARAMETERS = [
    ("select $1", ["a", r"\N"]), ("select $1::int", ["5", "x", r"\N", "x:00000007"]),
    ("select $1::int + $2::int", ["1|2", "1|z", "1"]), ("select v from kv where k = $1", ["1", "2", "q"]),
    ("insert into kv values ($1, $2)", ["9|nine", "9|again", r"\N|x", "5"]),
    ("update kv set v = $2 where k = $1 returning v", ["9|new"]), ("select 1/$1", ["0", "2"]),
    ("select $1 || 'x', length($1)", ["abc", r"\N"]), ("delete from kv where k = $1", ["9", "10"]),
    ("select g from generate_series(1, $1) g", ["3", "0"]), ("select $2::int", ["1|2"]),
    ("select k from kv where v = $1 order by k limit $2", ["one|1", "one|-1"]),
]
LINES = [r"20\ttwenty\n", r"21\t\\N\n", r"22\t", r"half\n", r"bad\tx\n", r"23\n", r"24\ta\tb\n", r"\\.\n",
         r"25\tx\\ty\n26\tz\n"]

COPIES = ["copy kv from stdin"] * 6 + [
    "copy kv (v, k) from stdin", "copy kv (k) from stdin", "copy guarded from stdin", "copy guarded from stdin",
    "copy nowhere from stdin", "copy t from stdin", "copy kv to stdout",
]
SEVERAL = [
    "copy kv from stdin; copy kv from stdin", "copy kv from stdin; copy kv from stdin; select 1",
    "copy kv from stdin; copy guarded from stdin; copy kv from stdin", "select 1; copy kv from stdin",
    "begin; copy kv from stdin", "copy kv from stdin; select 1/0", "copy kv from stdin; commit; copy kv from stdin",
    "; ".join(["copy kv from stdin"] * 20), "copy kv from stdin; rollback",
]
# Data that are good unless their key is there, lines that are not, pieces of either.
GOOD = [r"{0}\tgood\n", r"{0}\t\\N\n{1}\tx\n", r"{0}\tgood\r\n", r"{0}\t\xe2\x82\xac\n", "", r"{0}\tend\n\\.\n"]
BAD = [r"bad\n", r"bad\tx\n", r"{0}\n", r"{0}\ta\tb\n", r"{0}\tx\n\\.x", r"{0}\t\xff\n", r"{0}\t\xff\n{1}\tx\n",
       r"\n", r"{0}\tx\0\n", r"{0}\tx\r\n{1}\ty\n"]
PIECES = [r"{0}", r"\t", r"x", r"\n", r"\r", r"\\", ".", r"\xe2", r"\x82", r"\xac", "bad", r"\x00"]

# What two clients do to each other.
SHARED = [
    "begin", "begin", "begin", "begin isolation level repeatable read", "commit", "commit", "rollback",
    "savepoint a", "rollback to a", "release a", "select * from kv order by k", "select count(*) from kv",
    "insert into kv values (1, 'p')", "insert into kv values (2, 'q'), (3, 'r')", "select v from kv where k = 1",
    "update kv set v = v || 'u' where k = 1", "update kv set v = v || 'w' where k = 2 returning v",
    "update kv set v = 'all'", "update kv set k = k + 1 where k = 3", "delete from kv where k = 1",
    "insert into kv values (1, 'c') on conflict (k) do update set v = kv.v || excluded.v returning *",
    "insert into kv values (2, 'd') on conflict do nothing", "select pg_try_advisory_lock(5)",
    "select pg_advisory_xact_lock(6)", "select pg_advisory_unlock(5)", "select pg_advisory_lock(7)",
]
# Not when two talk: what they do to each other is not a matter of rows, or comes at its own time.
LONELY = ("truncate", "listen", "notify", "pg_notify")


class Talk:
    def __init__(self, seed, plain=PLAIN, simple=0.5):
        self.random = random.Random(seed)
        self.plain = plain
        self.simple = simple  # how many turns are of the simple protocol
        self.lines = []
        self.values = {}
        self.portals = []   # of this turn
        self.bound = False  # the unnamed portal is of this turn

    def chance(self, of):
        return self.random.random() < of

    def pick(self, of):
        return self.random.choice(of)

    # -- messages of the extended protocol

    def parse(self, name=None):
        name = self.pick(NAMES) if name is None else name
        if self.chance(0.4):
            text, values = self.pick(PARAMETERS)
            types = self.pick(["", "", "", "23", "25"])
        else:
            text, values, types = self.pick(self.plain), [""], ""
        if name and self.chance(0.6):
            self.lines.append(f"C S {name}")
        self.values[name] = values
        self.lines.append(f"P {name} | {text} | {types}")

    def bind(self, portal=None, name=None):
        known = [*self.values] * 4 + NAMES
        name = self.pick(known) if name is None else name
        portal = self.pick(PORTALS) if portal is None else portal
        self.bound = self.bound or not portal
        self.portals.append(portal)
        values = self.pick(self.values.get(name, ["", "1"]))
        formats = self.pick(["", "", "", "=> 0", "=> 1", "=> 0,1"])
        self.lines.append(f"B {portal} | {name}{' | ' + values.replace('|', ' | ') if values else ''} {formats}")

    def portal(self):
        """The unnamed portal that a Query has left behind in a failed transaction is not touched:
        PostgreSQL 15 may crash of it, since its statements are gone by then."""
        return self.pick(self.portals * 4 + (PORTALS if self.bound else ["p1", "p2"]))

    def execute(self, portal=None):
        portal = self.portal() if portal is None else portal
        self.lines.append(f"E {portal} {self.pick(['', '', '', '1', '2'])}".rstrip() if portal
                          else "E")

    def whole(self):
        """Parse, Bind, maybe Describe, Execute."""
        name, portal = self.pick(NAMES), self.pick(PORTALS)
        self.parse(name)
        if self.chance(0.3):
            self.lines.append(f"D S {name}")
        self.bind(portal, name)
        if self.chance(0.4):
            self.lines.append(f"D P {portal}")
        self.execute(portal)
        while portal and self.chance(0.3):
            self.execute(portal)

    def any(self):
        what = self.random.random()
        if what < 0.5:
            self.whole()
        elif what < 0.6:
            self.parse()
        elif what < 0.7:
            self.bind()
        elif what < 0.78:
            self.execute()
        elif what < 0.86:
            self.lines.append(self.pick([f"D S {self.pick(NAMES)}", f"D P {self.portal()}"]))
        elif what < 0.9:
            self.lines.append(self.pick([f"C S {self.pick(NAMES)}", f"C P {self.pick(PORTALS)}"]))
        elif what < 0.96:
            self.lines.append(self.pick(["+S", "+H"]))
        else:
            self.copy_in(extended=True)

    def copy_in(self, extended):
        start = "copy kv from stdin" if self.chance(0.8) else "copy kv (v, k) from stdin"
        if extended:
            self.lines += [f"P | {start}", "B |", "E"]
        else:
            self.lines.append(f"+Q {start}")
        for _ in range(self.random.randrange(4)):
            self.lines.append(f"d {self.pick(LINES)}")
        ends = ["c"] * 12 + ["f I don't want to"] * 4 + ["+H", "+S"]
        self.lines.append(self.pick(ends))

    # -- COPY with Syncs in and around it

    def data(self):
        words = GOOD if self.chance(0.6) else self.pick([BAD, PIECES])
        keys = [self.random.randrange(200) for _ in range(2)]
        self.lines.append(f"d {self.pick(words).format(*keys)}")

    def copy_begins(self):
        if self.chance(0.5):
            self.lines.append(f"+Q {self.pick(COPIES if self.chance(0.7) else SEVERAL)}")
            return
        name = self.pick(["", "", "s1"])
        self.lines += [f"C S {name}", f"P {name} | {self.pick(COPIES)}"]
        for _ in range(self.pick([1, 1, 1, 2])):
            self.lines += [f"B | {name}"] + ["D P"] * self.chance(0.2) + ["E"]

    def storm(self):
        """All that a client can say in and around a COPY, in any order."""
        for _ in range(1 + self.random.randrange(3)):
            if self.chance(0.2):
                self.lines.append(self.pick(["+Q begin", "+Q rollback", "+Q commit", "+S", "+Q select 1"]))
            self.copy_begins()
            for _ in range(self.random.randrange(8)):
                what = self.random.random()
                if what < 0.45:
                    self.data()
                else:
                    self.lines.append("+S" if what < 0.8 else "+H" if what < 0.9 else "c")
            ends = ["c"] * 6 + ["f no"] * 2 + ["+S"] * 2
            self.lines.append(self.pick(ends + ["+Q select 2", "E p1", "!51", "!660000000441", "!530000000541"] *
                                        self.chance(0.1)))
            self.lines += ["+S"] * self.random.randrange(3)

    # -- a turn: messages, then what makes the answer's end known

    def turn(self, storms=0.0):
        what = self.random.random()
        self.bound = False
        self.portals = []
        if self.chance(storms):
            self.storm()
        elif what < self.simple:
            self.lines.append(f"+Q {self.pick(self.plain)}")
        elif what < self.simple + 0.05:
            self.copy_in(extended=False)
        else:
            for _ in range(1 + self.random.randrange(4)):
                self.any()
        self.lines += ["f enough", "+S", "+Q", ".I", "."]


def babble(seed):
    """The lines of a conversation; every fourth is one of two clients, every fourth mostly COPY."""
    if seed % 4:
        talk = Talk(seed)
        for _ in range(4 + talk.random.randrange(12)):
            talk.turn(storms=0.7 if seed % 4 == 1 else 0.05)
        return talk.lines
    # The answer to an empty text ends a turn: another one would let the two run side by side.
    plain = [text for text in PLAIN if text.strip(";") and
             not any(word in text for word in LONELY)] + SHARED * 16
    talks = [Talk(seed * 2 + number, plain, simple=0.75) for number in range(2)]
    lines = [f"{name}: login options=-clock_timeout=20" for name in "AB"]
    for _ in range(8 + talks[0].random.randrange(24)):
        number = talks[0].random.randrange(2)
        talks[number].lines = []
        talks[number].turn()
        lines += [f"{'AB'[number]}: {line}" for line in talks[number].lines]
    return lines
