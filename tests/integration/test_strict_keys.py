"""Cache rules of mode strict, for statements that read one value of the primary key: a write of
another key keeps the answer, and a write of the same key never leaves an old one.
"""
import random
import struct
import threading
import uuid

import pytest
from support import wire as w
from support.patience import eventually
from support.strict import SCHEMA, client, prepared, strict_settings

MORE = """
alter table s.a add w text default 'w'; alter table s.a alter w drop default;
create table s.parent (n int primary key); insert into s.parent values (1), (2);
create table s.child (n int primary key references s.parent on update cascade on delete cascade, v int);
insert into s.child values (1, 0), (2, 0);
create view s.seen as select * from s.a;
create function s.follow() returns trigger language plpgsql as
$$ begin update s.a set v = v + 1 where n = new.n; return null; end $$;
create trigger follow after update on s.b for each row execute function s.follow();
create function s.written(int) returns int language sql as 'update s.a set v = v + 1 where n = $1 returning v';
grant all on all tables in schema s to public;
"""
ONE = "select n, v, w from s.a where n = 1"
CHILD = "select n, v from s.child where n = 1"


@pytest.fixture
def cluster(logical):
    return prepared(logical, MORE)


class Reader:
    """A client of a daemon with a strict rule, and one of the server that says what is true."""

    def __init__(self, daemon, wire, direct):
        self.daemon, self.wire, self.direct = daemon, wire, direct

    def counted(self):
        return self.daemon.console("SHOW CACHE_RULES")[0]

    def ask(self, sql, *values, types=(), formats=()):
        if not (values or types):
            messages = self.wire.ask(w.query(sql))
        else:
            messages = self.wire.ask(w.parse("", sql, types), bind(values, formats), w.execute(), w.SYNC)
        assert "E" not in w.kinds(messages), (sql, messages)
        return w.rows(messages)

    def true(self, sql):
        return [[None if v is None else str(v) for v in row] for row in self.direct.execute(sql).fetchall()]

    def is_hit(self, sql, *values, **how):
        before = self.counted()["hits"]
        self.ask(sql, *values, **how)
        return self.counted()["hits"] > before

    def store(self, sql, *values, **how):
        """Asks until the answer comes from memory."""
        eventually(lambda: self.is_hit(sql, *values, **how))

    def kept(self, write, sql, *values, times=12, **how):
        """How many answers came from memory, each behind a write; all are true."""
        self.store(sql, *values, **how)
        before = self.counted()["hits"]
        wanted = self.ask(sql, *values, **how)
        for _ in range(times):
            self.direct.execute(write)
            assert self.ask(sql, *values, **how) == wanted
        return self.counted()["hits"] - before - 1


def bind(values, formats):
    body = w.text("") + w.text("") + struct.pack("!H", len(formats))
    body += b"".join(struct.pack("!H", one) for one in formats) + struct.pack("!H", len(values))
    for value in values:
        data = value.encode() if isinstance(value, str) else value
        body += struct.pack("!i", -1) if data is None else struct.pack("!i", len(data)) + data
    return w.message("B", body + struct.pack("!H", 0))


@pytest.fixture
def daemon(trunkline, cluster):
    return trunkline(**strict_settings(cluster, service_settings={"probe_timeout": "5s"}))


@pytest.fixture
def reader(daemon, cluster):
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        yield Reader(daemon, wire, direct)


# -- other keys


@pytest.mark.parametrize("write", [
    "update s.a set v = v + 1 where n = 2", "delete from s.a where n = 50; insert into s.a values (50, 0, 'x')",
    "update s.a set v = v + 1 where n between 3 and 9", "update s.a set n = 1000 - n where n in (7, 993)",
    "insert into s.a values (3, 1, 'x') on conflict (n) do update set v = s.a.v + 1",
    "update s.b set v = v + 1 where n = 2", "select s.written(4)"])
def test_writes_of_other_keys_keep_the_answer(reader, write):
    assert reader.kept(write, ONE) >= 10


def test_a_write_of_many_rows_is_one_of_the_whole_table_and_not_of_the_database(reader):
    reader.store(CHILD)
    assert reader.kept("update s.a set v = v + 1 where n > 1", CHILD) >= 10
    reader.store(ONE)
    reader.direct.execute("update s.a set v = v + 1 where n > 1")
    assert not reader.is_hit(ONE)


def test_a_reader_of_the_whole_table_sees_each_write(reader):
    sql = "select count(*), sum(v), sum(n) from s.a"
    reader.store(ONE)
    for number in range(2, 12):
        reader.store(sql)
        reader.direct.execute(f"update s.a set v = v + 1 where n = {number}")
        assert reader.ask(sql) == reader.true(sql)
        reader.direct.execute(f"delete from s.a where n = {number}")
        assert reader.ask(sql) == reader.true(sql)
    assert reader.is_hit(ONE)


# -- the same key

BIG = "repeat(md5(random()::text), 400)"
SAME = [
    "update s.a set v = 1 where n = 1", "delete from s.a where n = 1", "delete from s.a", "truncate s.a",
    "truncate s.a, s.b", "update s.a set v = v + 1", "update s.a set n = 101 where n = 1",
    "delete from s.a where n = 1; update s.a set n = 1, v = 5 where n = 2", "update s.a set n = -n",
    "begin; update s.a set n = 0 where n = 1; update s.a set n = 1, v = 3 where n = 2; update s.a set n = 2 where n = 0; commit",
    "insert into s.a values (1, 5, 'x') on conflict (n) do update set v = excluded.v",
    "merge into s.a using (values (1, 7)) x (n, v) on a.n = x.n when matched then update set v = x.v",
    "merge into s.a using (values (1)) x (n) on a.n = x.n when matched then delete",
    "with gone as (delete from s.a where n = 1 returning *) insert into s.a select n + 200, v, w from gone",
    "do $$ begin for i in 1..5 loop update s.a set v = i where n = i; end loop; end $$", "select s.written(1)",
    "update s.b set v = 1 where n = 1", "update s.seen set v = 3 where n = 1", "delete from s.seen",
    "begin; update s.a set v = 8 where n = 2; savepoint x; update s.a set v = 9 where n = 1; release x; commit",
    "begin; set local synchronous_commit = off; update s.a set v = 4 where n = 1; commit",
    "begin; set local session_replication_role = replica; update s.a set v = 2 where n = 1; commit",
    f"update s.a set w = {BIG} where n = 1", "alter table s.a add x int default 5; update s.a set v = x",
    "drop view s.seen; alter table s.a alter n type bigint", "drop view s.seen; alter table s.a alter v type text using 'v' || v",
    "begin; alter table s.a rename v to u; alter table s.a rename w to v; alter table s.a rename u to w; commit",
    "begin; drop view s.seen; alter table s.a drop constraint a_pkey; alter table s.a rename n to o; alter table s.a rename v to n; "
    "alter table s.a add v int; alter table s.a add primary key (o); update s.a set n = 1 where o = 5; commit",
    "begin; alter table s.a rename to c; alter table s.b rename to a; alter table s.a add w text; commit",
    "begin; alter schema s rename to t; create schema s; create table s.a (n int primary key, v int, w text); "
    "grant usage on schema s to public; grant all on s.a to public; commit",
    "create table s.more () inherits (s.a); insert into s.more values (1, 6, 'm')",
    "alter table s.a replica identity nothing; update s.a set n = 500 where n = 1",
    "alter table s.a replica identity full; update s.a set n = 500 where n = 1",
    "alter table s.a alter w set not null; create unique index x on s.a (n, w); "
    "alter table s.a replica identity using index x; update s.a set n = 500 where n = 1",
    "alter table s.a drop constraint a_pkey; alter table s.a add primary key (n) deferrable; "
    "update s.a set n = 500 where n = 1",
    "alter table s.a drop constraint a_pkey; alter table s.a add primary key (w, n); update s.a set n = 500 where n = 1",
    "alter table s.a drop constraint a_pkey; insert into s.a values (1, 4, 'twice')",
    "drop table s.a cascade; create table s.a (v int primary key, n int, w text); insert into s.a values (5, 1, 'x'); "
    "grant all on s.a to public",
]


def check_each(reader, sql, statements, again=None):
    """Behind each statement the reader gets what is true, again and again while there are further writes."""
    missed = []
    for statement in statements:
        reader.direct.execute(SCHEMA + MORE)
        reader.store(sql)
        before = reader.true(sql)
        reader.direct.execute(statement)
        changed = reader.true(sql) != before
        for _ in range(3):
            for found in (reader.ask(sql), reader.ask(sql)):
                assert found == reader.true(sql), statement
            if again is not None:
                reader.direct.execute(again)
        missed += [] if changed else [statement]
    return missed


@pytest.mark.parametrize("part", range(4))
def test_no_write_of_the_same_key_leaves_an_old_answer(reader, part):
    again = """do $$ begin update s.a set n = n * -1 where n::text in ('1', '-1');
    exception when others then null; end $$"""
    same = check_each(reader, ONE, SAME[part::4], again)
    assert all("alter" in one for one in same), same  # the others are seen by this reader


def test_a_prepared_transaction(reader):
    for number in range(1, 4):
        reader.store(ONE)
        reader.direct.execute(f"begin; update s.a set v = {number} where n = 1; prepare transaction 'g'")
        assert reader.ask(ONE) == [["1", str(number - 1), "w"]]
        reader.direct.execute("commit prepared 'g'")
        assert reader.ask(ONE) == [["1", str(number), "w"]]


def test_copy_into_the_same_key(reader):
    for _ in range(5):
        reader.direct.execute("delete from s.a where n = 1")
        reader.store(ONE)
        assert reader.ask(ONE) == []
        with reader.direct.cursor() as cursor, cursor.copy("copy s.a from stdin") as copy:
            copy.write_row([1, 3, "copied"])
        assert reader.ask(ONE) == [["1", "3", "copied"]]


def test_what_a_foreign_key_does_to_the_same_key(reader):
    unchanged = check_each(reader, CHILD, [
        "delete from s.parent where n = 1", "update s.parent set n = 5 where n = 1", "truncate s.parent cascade",
        "update s.child set v = 5 where n = 2; delete from s.parent where n = 1; update s.parent set n = 1 where n = 2"])
    assert not unchanged


def test_keys_of_partitions_and_children_are_not_told_apart(reader):
    reader.direct.execute("""
        create table s.split (n int primary key, v int) partition by range (n);
        create table s.low partition of s.split for values from (0) to (100);
        create table s.high partition of s.split for values from (100) to (200);
        create table s.top (n int primary key, v int); create table s.below () inherits (s.top);
        insert into s.split values (1, 0), (2, 0); insert into s.top values (1, 0), (2, 0);
        grant all on all tables in schema s to public""")
    for sql, writes in [
            ("select v from s.split where n = 1", [
                "update s.split set v = 1 where n = 1", "update s.low set v = 2 where n = 1", "delete from s.low where n = 1",
                "insert into s.low values (1, 8)", "update s.split set n = 101 where n = 1",
                "update s.split set n = 1 where n = 101", "alter table s.split detach partition s.low",
                "alter table s.split attach partition s.low for values from (0) to (100)", "truncate s.low"]),
            ("select v from s.low where n = 1", [
                "insert into s.split values (1, 0)", "update s.split set v = 3 where n = 1",
                "update s.split set n = 150 where n = 1", "update s.split set n = 1 where n = 150", "truncate s.split"]),
            ("select v from s.top where n = 1", [
                "insert into s.below values (1, 3)", "update s.below set v = 4", "update s.top set v = 5",
                "update s.below set n = 2", "update only s.top set v = 6", "delete from s.below", "truncate s.top"])]:
        for write in writes:
            reader.store(sql)
            reader.direct.execute(write)
            assert sorted(reader.ask(sql)) == sorted(reader.true(sql)), write
            assert sorted(reader.ask(sql)) == sorted(reader.true(sql)), write


# -- values of keys


def integer(size, value):
    return value.to_bytes(size, "big", signed=True)


def ways_of_integers(kind, value):
    size, oid = {"smallint": (2, 21), "int": (4, 23), "bigint": (8, 20)}[kind]
    return [([str(value)], {}), ([f" +{value}" if value >= 0 else f" {value} "], {}), ([str(value)], {"types": [oid]}),
            ([integer(size, value)], {"formats": [1]}), ([integer(size, value)], {"formats": [1], "types": [oid]}),
            ([integer(8, value)], {"formats": [1], "types": [20]})]


def ways_of_texts(_, value):
    return [([value], {}), ([value], {"types": [25]}), ([value], {"formats": [1], "types": [1043]}),
            ([value], {"formats": [1]})]


def ways_of_uuids(_, value):
    raw = uuid.UUID(value).bytes
    return [([value], {}), ([value.upper()], {}), (["{" + value.replace("-", "") + "}"], {"types": [2950]}),
            ([raw], {"formats": [1], "types": [2950]}), ([raw], {"formats": [1]})]


IDS = [str(uuid.UUID(int=n)) for n in (0, 1, 2**128 - 1)] + ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]
TEXTS = ["", "a", "'", "''", '"', "\\", "a'b\\c", "line\nline", "tab\t", " a", "a ", "A", "null", "'null'", "ü", "日本", "1",
         "n[integer]:1", "x" * 2000, "E'\\n'", "a: UPDATE: b"]
KINDS = [("smallint", [0, 1, -1, 32767, -32768], ways_of_integers),
         ("int", [0, 7, -7, 2**31 - 1, -2**31], ways_of_integers),
         ("bigint", [0, 1, -1, 2**53 + 1, 2**63 - 1, -2**63], ways_of_integers),
         ("text", TEXTS, ways_of_texts), ("varchar(2000)", TEXTS, ways_of_texts), ("uuid", IDS, ways_of_uuids)]


@pytest.mark.parametrize("kind, values, ways_of", KINDS, ids=[one[0] for one in KINDS])
def test_each_value_is_told_from_others(reader, kind, values, ways_of):
    reader.direct.execute(f"create table s.k (k {kind} primary key, v int); grant all on s.k to public")
    for value in values:
        reader.direct.execute("insert into s.k values (%s, 0)", [value])
    for value in values:
        literal = reader.direct.execute("select quote_literal(%s::text)", [str(value)]).fetchone()[0]
        ways = [(f"select v from s.k where k = {literal}", [], {})]
        ways += [("select v from s.k where k = $1", *way) for way in ways_of(kind, value)]
        for sql, bound, how in ways:
            reader.store(sql, *bound, **how)
        for write in ["update s.k set v = v + 1 where k = %s", "delete from s.k where k = %s",
                      "insert into s.k values (%s, 50)"]:
            reader.direct.execute(write, [value])
            true = [[str(v)] for v, in reader.direct.execute("select v from s.k where k = %s", [value]).fetchall()]
            for sql, bound, how in ways:
                assert reader.ask(sql, *bound, **how) == true, (value, sql, bound, how)
    plain = str(values[1])
    write = reader.direct.execute("select format('update s.k set v = v + 1 where k = %%L', %s::text)",
                                  [str(values[2])]).fetchone()[0]
    assert reader.kept(write, "select v from s.k where k = $1", plain) >= 10


def test_a_key_of_several_columns(reader):
    reader.direct.execute("""create table s.k (v int, "B b" text, a int, primary key (a, "B b"));
        insert into s.k values (0, 'x', 1), (0, 'y', 1), (0, 'x', 2), (0, '1', 11), (0, '11', 1);
        grant all on s.k to public""")
    sql = 'select v from s.k where "B b" = $1 and a = $2'
    assert reader.kept("update s.k set v = v + 1 where a = 2", sql, "x", "1") >= 10
    assert reader.kept("update s.k set v = v + 1 where a = 11", sql, "11", "1") >= 10
    for write in ["update s.k set v = 5 where a = 1", "update s.k set a = 5 where a = 2", "update s.k set a = 2 where a = 1",
                  """update s.k set "B b" = 'x', a = 1 where "B b" = '11'""", """delete from s.k where "B b" = 'x'"""]:
        for bound in [("x", "1"), ("x", "2"), ("11", "1"), ("x", "5")]:
            reader.store(sql, *bound)
        reader.direct.execute(write)
        for b, a in [("x", "1"), ("x", "2"), ("11", "1"), ("x", "5")]:
            assert reader.ask(sql, b, a) == reader.true(f"""select v from s.k where "B b" = '{b}' and a = {a}"""), write


def test_a_long_key_that_is_stored_out_of_line(reader):
    key = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=2500))
    reader.direct.execute("create table s.k (k text primary key, v int, w text); grant all on s.k to public")
    reader.direct.execute("alter table s.k alter k set storage external")
    reader.direct.execute(f"insert into s.k select %s, 0, {BIG}", [key])
    sql = "select v from s.k where k = $1"
    for number in range(1, 4):
        reader.store(sql, key)
        reader.direct.execute("update s.k set v = v + 1")
        assert reader.ask(sql, key) == [[str(number)]]
    reader.store(sql, key)
    reader.direct.execute("update s.k set k = 'short'")
    assert reader.ask(sql, key) == []
    reader.store(sql, "short")
    reader.direct.execute("update s.k set k = %s", [key])
    assert reader.ask(sql, "short") == [] and reader.ask(sql, key) == [["3"]]


def test_a_parameter_that_has_its_type_elsewhere(reader):
    """The value is read as that type: 'ab ' finds 'ab', and the bytes of a numeric are no integer's."""
    reader.direct.execute("""create table s.k (k text primary key, c char(3), v int);
        insert into s.k values ('ab', 'ab', 0); create table s.q (n int primary key, q numeric, v int);
        insert into s.q values (0, 0, 0); grant all on s.k, s.q to public""")
    zero = struct.pack("!hhhh", 0, 0, 0, 2)
    for number in range(1, 4):
        reader.store("select v from s.k where c = $1 and k = $1", "ab ")
        reader.store("select v from s.q where q = $1 and n = $1", zero, formats=[1])
        reader.direct.execute("update s.k set v = v + 1 where k = 'ab'; update s.q set v = v + 1 where n = 0")
        assert reader.ask("select v from s.k where c = $1 and k = $1", "ab ") == [[str(number)]]
        assert reader.ask("select v from s.q where q = $1 and n = $1", zero, formats=[1]) == [[str(number)]]


def test_named_statements_are_told_apart_by_their_values(reader):
    reader.wire.ask(w.parse("p", "select v from s.a where n = $1"), w.SYNC)

    def ask(number):
        return w.rows(reader.wire.ask(w.bind("", "p", [str(number)]), w.execute(), w.SYNC))

    for number in range(1, 9):
        eventually(lambda: ask(1) and ask(2) and reader.counted()["hits"] > 0)
        reader.direct.execute(f"update s.a set v = {number} where n = {1 + number % 2}")
        assert ask(1) == reader.true("select v from s.a where n = 1")
        assert ask(2) == reader.true("select v from s.a where n = 2")


def test_an_operator_of_a_user_in_front_of_the_one_of_postgresql(reader):
    """`n = 1` reads more rows than that of one key then."""
    reader.direct.execute("create operator s.= (leftarg = int, rightarg = int, function = int4ge); "
                          "alter role reports set search_path = s, pg_catalog")
    try:
        sql = "select sum(v) from s.a where n = 1"
        with reader.daemon.endpoint(user="reports").wire() as wire:  # no server has an older search_path
            reader.wire = wire
            assert reader.ask("show search_path") == [["s, pg_catalog"]]
            for number in range(1, 4):
                reader.store(sql)
                reader.direct.execute("update s.a set v = v + 1 where n OPERATOR(pg_catalog.=) 50")
                assert reader.ask(sql) == [[str(number)]]
    finally:
        reader.direct.execute("alter role reports reset search_path")


# -- DDL beside writes


def test_a_schema_that_is_renamed_while_a_transaction_is_open(reader, cluster):
    """The log tells the row under the name that the table had when it was written."""
    reader.direct.execute("create schema was; create table was.a (n int primary key, v int, w text); "
                          "insert into was.a values (1, 100, 'old'); grant usage on schema was to public; "
                          "grant all on all tables in schema was to public")
    reader.store(ONE)
    with client(cluster) as writer:
        writer.execute("begin; update s.a set v = 77 where n = 1")
        reader.direct.execute("begin; alter schema was rename to t; alter schema s rename to was; commit")
        sql = "select n, v, w from was.a where n = 1"
        reader.store(sql)
        assert reader.ask(sql) == [["1", "0", "w"]]
        writer.execute("commit")
    assert reader.ask(sql) == [["1", "77", "w"]]


def test_the_primary_key_moves_to_another_column_and_back(reader, cluster):
    """Readers by both keys ask while it moves: each gets what was committed before it asked."""
    reader.direct.execute("create table s.k (a int not null, b int not null, v int, primary key (a)); "
                          "insert into s.k select i, i, 0 from generate_series(1, 4) i; grant all on s.k to public")
    committed, ends, wrong = [0], threading.Event(), []

    def write():
        with client(cluster) as direct:
            for number in range(1, 120):
                direct.execute(f"update s.k set v = {number}, a = a * -1 where b = 1" if number % 3 == 0 else
                               f"update s.k set v = {number} where b = 1")
                committed[0] = number
                if number % 20 == 0:
                    column = "b" if number % 40 else "a"
                    direct.execute(f"begin; alter table s.k drop constraint k_pkey; "
                                   f"alter table s.k add primary key ({column}); commit")
        ends.set()

    def read(daemon, sql):
        with daemon.endpoint().wire() as wire:
            while not ends.is_set():
                least = committed[0]
                for found, in w.rows(wire.ask(w.query(sql))):
                    if int(found) < least:
                        wrong.append((sql, found, least))

    threads = [threading.Thread(target=write)]
    threads += [threading.Thread(target=read, args=(reader.daemon, f"select v from s.k where {one}"))
                for one in ("a = 1", "a = -1", "b = 1")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# -- at random


@pytest.mark.parametrize("seed", range(2))
def test_random_writes_and_readers(reader, seed):
    chance = random.Random(seed)
    texts = ["a", "b", "'", "ü", "a b", ""]
    reader.direct.execute("create table s.k (k text primary key, v int); create table s.l (k int, j int, v int, "
                          "primary key (j, k)); grant all on s.k, s.l to public")
    for _ in range(250):
        key, other = chance.choice(texts), chance.choice(texts)
        j, k, v = chance.randrange(-2, 3), chance.randrange(3), chance.randrange(1000)
        write, bound = chance.choice([
            ("insert into s.k values (%s, %s) on conflict (k) do update set v = excluded.v", [key, v]),
            ("delete from s.k where k = %s", [key]), ("update s.k set v = %s where k = %s", [v, key]),
            ("update s.k set k = %s where k = %s and not exists (select from s.k where k = %s)", [other, key, other]),
            ("insert into s.l values (%s, %s, %s) on conflict do nothing", [k, j, v]),
            ("update s.l set v = %s where k = %s", [v, k]), ("delete from s.l where j = %s and k = %s", [j, k]),
            ("update s.l set j = %s where j = %s and k = %s and not exists (select from s.l where j = %s and k = %s)",
             [j + 1, j, k, j + 1, k])])
        reader.direct.execute(write, bound)
        for _ in range(3):
            key, j, k = chance.choice(texts), chance.randrange(-2, 4), chance.randrange(3)
            true = [[str(v)] for v, in reader.direct.execute("select v from s.k where k = %s", [key]).fetchall()]
            assert reader.ask("select v from s.k where k = $1", key) == true
            true = reader.true(f"select v from s.l where j = {j} and k = {k}")
            assert reader.ask("select v from s.l where k = $1 and j = $2", str(k), str(j)) == true
            assert reader.ask(f"select v from s.l where k = {k} and j = '{j}'") == true
    assert reader.counted()["hits"] > 200
