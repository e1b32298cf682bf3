"""`writers: inside`: a statement that writes by the whole primary key keeps the answers of other keys, and never leaves
an old one of the same key.  All writes come through the daemon.
"""
import random

import psycopg
import pytest
from support import wire as w
from support.patience import eventually
from support.strict import SCHEMA, STRICT
from support.trunkline import route
from test_strict_inside import alone, cluster_of, hanging  # noqa: F401
from test_strict_keys import (  # noqa: F401
    MORE, ONE, Reader, test_a_key_of_several_columns, test_a_parameter_that_has_its_type_elsewhere,
    test_an_operator_of_a_user_in_front_of_the_one_of_postgresql, test_copy_into_the_same_key,
    test_each_value_is_told_from_others, test_keys_of_partitions_and_children_are_not_told_apart,
    test_named_statements_are_told_apart_by_their_values, test_no_write_of_the_same_key_leaves_an_old_answer,
    test_random_writes_and_readers, test_what_a_foreign_key_does_to_the_same_key)


@pytest.fixture
def cluster(logical):
    logical.sql(SCHEMA + MORE)
    return logical


def settings(server):
    """Those of a daemon through which an administrator comes, too, by the database `admin`."""
    main = {"hosts": [f"127.0.0.1:{server.port}"], "tls": {"mode": "disable"}, "writers": "inside"}
    admin = route(database="admin", server_database="app", server_user="trusted", auth="trust")
    return dict(server=server, relays=2, services={"main": main}, routes=[admin, route(cache=[STRICT])])


@pytest.fixture
def daemon(trunkline, cluster):
    cluster.sql("alter role trusted superuser")
    yield trunkline(**settings(cluster))
    cluster.sql("alter role trusted nosuperuser")


class Inside(Reader):
    def kept(self, write, sql, *values, times=12, **how):
        """The answers are true; how many come from memory is not asked of writes with a literal key."""
        super().kept(write, sql, *values, times=times, **how)
        return times

    def kept_by_key(self, write, values, sql=ONE):
        """Whether all answers come from memory, each behind a write with bound values."""
        self.store(sql)
        before, wanted = self.counted()["hits"], self.ask(sql)
        for _ in range(8):
            self.direct.execute(write, values)
            assert self.ask(sql) == wanted
        return self.counted()["hits"] - before == 9


@pytest.fixture
def reader(daemon):
    with daemon.endpoint().wire() as wire, \
            psycopg.connect(daemon.endpoint("admin", "trusted").conninfo(), autocommit=True) as direct:
        yield Inside(daemon, wire, direct)


# -- other keys


@pytest.mark.parametrize("write, values", [
    ("update s.a set v = v + 1 where n = %s", [2]), ("update s.a set v = %s where n in (%s)", [7, 2]),
    ("delete from s.a where %s = n", [50]), ("update s.a x set v = 1 where x.n = %s", [2]),
    ("update s.a set v = v + 1, w = w where n = %s and v >= 0 returning *", [2]),
    ("update s.a set v = v + (select 1) where n = %s", [2])])
def test_writes_of_other_keys_keep_the_answer(reader, write, values):
    eventually(lambda: reader.kept_by_key(write, values))
    reader.direct.execute(write, [*values[:-1], 1])
    assert reader.ask(ONE) == reader.true(ONE)


@pytest.mark.parametrize("write, values", [
    ("update s.a set n = n where n = %s", [2]), ("update s.a set (v, n) = (1, 2) where n = %s", [2]),
    ("update s.a set v = 1 where n >= %s", [90]), ("update s.a set v = 1 where n = %s or n = %s", [90, 91]),
    ("insert into s.a values (%s, 1, 'x') on conflict (n) do update set v = 1", [2]),
    ("update s.seen set v = 1 where n = %s", [2])])
def test_other_writes_are_those_of_the_table(reader, write, values):
    for _ in range(3):
        reader.store(ONE)
        reader.direct.execute(write, values)
        assert not reader.is_hit(ONE)


def test_a_key_of_several_columns_that_is_bound(reader):
    reader.direct.execute("""create table s.k (v int, "B b" text, a int, primary key (a, "B b"));
        insert into s.k values (0, 'x', 1), (0, 'y', 1), (0, 'x', 2); grant all on s.k to public""")
    sql = """select v from s.k where "B b" = 'x' and a = 1"""
    write = 'update s.k set v = v + 1 where a = %s and "B b" = %s'
    for other in ([2, "x"], [1, "y"]):
        eventually(lambda: reader.kept_by_key(write, other, sql))
    reader.direct.execute(write, [1, "x"])
    assert reader.ask(sql) == [["1"]]
    assert not reader.kept_by_key("""update s.k set v = v + 1 where a = %s and "B b" = 'y'""", [1], sql)


def test_values_of_texts_that_differ_in_literals_only(reader):
    """The verdict of the one is found for the other."""
    for number in range(1, 7):
        for sql in "select v from s.a where n = 1", "select v from s.a where n = 2":
            reader.store(sql)
        reader.direct.execute(f"update s.a set v = {number} where n = {1 + number % 2}")
        for sql in "select v from s.a where n = 1", "select v from s.a where n = 2":
            assert reader.ask(sql) == reader.true(sql)


@pytest.mark.parametrize("ask", [
    lambda number: [w.query(f"update s.a set v = v + 1 where n = {number}")],
    lambda number: [w.parse("", "update s.a set v = v + 1 where n = $1"), w.bind("", "", [str(number)]), w.execute(), w.SYNC],
], ids=["simple", "extended"])
def test_a_long_value_beside_the_key(reader, ask):
    """A Bind that does not arrive at once counts as a write of the whole table."""
    big = "x" * 300_000
    for number in range(1, 6):
        reader.store(ONE)
        reader.wire.ask(*ask(2))
        reader.wire.ask(w.parse("", "update s.a set w = $1, v = $2::int where n = $3"),
                        w.bind("", "", [big, str(number), "1"]), w.execute(), w.SYNC)
        assert reader.ask("select v from s.a where n = 1") == [[str(number)]]
        assert reader.ask(ONE) == [["1", str(number), big]]
        reader.wire.ask(*ask(1))
        assert reader.ask("select v from s.a where n = 1") == [[str(number + 1)]]
        reader.wire.ask(w.query(f"update s.a set v = {number} where n = 1"))


# -- writes that name one key and change another


CHANGES = {
    "generated key": """
        create table s.k (v int, n int generated always as (v + 0) stored primary key, w int);
        insert into s.k (v) values (1), (2)""",
    "rule": """
        create table s.k (n int primary key, v int); insert into s.k values (1, 0), (2, 0);
        create rule more as on update to s.k do also delete from s.k where n = old.n - 1""",
    "own foreign key": """
        create table s.k (n int primary key, v int, p int references s.k on delete cascade on update cascade);
        insert into s.k values (1, 0, null), (2, 0, null); update s.k set p = 2 where n = 1""",
    "unique foreign key": """
        create table s.k (n int primary key, v int unique, p int references s.k (v) on delete cascade on update cascade);
        insert into s.k values (1, 5, null), (2, 6, null); update s.k set p = 6 where n = 1""",
    "trigger": """
        create table s.k (n int primary key, v int); insert into s.k values (1, 0), (2, 0);
        create function s.other() returns trigger language plpgsql as
            $$ begin new.n = 1; delete from s.k where n = 1; return new; end $$;
        create trigger other before update on s.k for each row execute function s.other()""",
    "key": "create table s.k (n int primary key, v int); insert into s.k values (1, 0), (2, 0)",
}
WRITES = ["update s.k set v = 9 where n = %s", "delete from s.k where n = %s", "update s.k set n = 1 where n = %s"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("write", WRITES)
def test_a_write_by_one_key_that_changes_another(reader, change, write):
    sql = "select * from s.k where n = 1"
    for _ in range(3):  # once without its verdict, then with it
        reader.direct.execute("drop table if exists s.k; drop function if exists s.other; " + CHANGES[change])
        reader.direct.execute("grant all on s.k to public")
        reader.store(sql)
        with reader.direct.transaction(force_rollback=True):
            try:
                reader.direct.execute(write, [2])
            except psycopg.Error:
                pass  # the key is generated, or there already
        reader.store(sql)
        try:
            reader.direct.execute(write, [2])
        except psycopg.Error:
            pass
        assert sorted(reader.ask(sql)) == sorted(reader.true(sql))


# -- transactions


def test_a_transaction_of_many_keys_spares_other_tables(reader):
    reader.direct.execute("create table s.far (n int primary key, v int); insert into s.far values (1, 0); "
                          "grant all on s.far to public")
    far = "select v from s.far where n = 1"

    def kept():
        reader.store(far)
        before = reader.counted()["hits"]
        with reader.direct.transaction():
            for number in range(1, 90):
                reader.direct.execute("update s.a set v = v + 1 where n = %s", [number])
        reader.ask(far)
        return reader.counted()["hits"] > before
    eventually(kept)
    assert reader.ask(ONE) == reader.true(ONE)


def test_a_commit_that_waits_holds_its_own_keys_only(trunkline, alone):  # noqa: F811
    """The next answer of the same key comes from the server, those of others from memory."""
    alone.sql("alter role app set synchronous_commit = on")
    daemon = trunkline(**settings(alone))
    two = "select v from s.a where n = 2"
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        reader = Reader(daemon, wire, None)

        def waits():
            """Whether the statement was known by its key."""
            reader.store("select v from s.a where n = 1")
            reader.store(two)
            other.ask(w.query("begin"))
            other.ask(w.parse("", "update s.a set v = 5 where n = $1"), w.bind("", "", ["1"]), w.execute(), w.SYNC)
            other.send(w.query("commit"))
            hanging(alone)
            assert not reader.is_hit("select v from s.a where n = 1")
            known = reader.is_hit(two)
            alone.away("")
            eventually(lambda: other.receive().kind == "Z")
            alone.away()
            return known
        eventually(waits)
        assert reader.ask("select v from s.a where n = 1") == [["5"]]


def test_random_transactions_of_two_writers(reader, daemon):
    """Each answer is what the last commit has left: the writers take turns."""
    chance = random.Random(7)
    values = dict.fromkeys(range(1, 7), 0)
    with daemon.endpoint().wire() as first, daemon.endpoint().wire() as second:
        for number in range(400):
            writer = chance.choice([first, second])
            change, lines = dict(values), []
            for _ in range(chance.randrange(1, 4)):
                key = chance.randrange(1, 7)
                change[key] = number
                lines.append(f"update s.a set v = {number} where n = {key}")
            if chance.random() < 0.5:
                lines = ["begin", *lines, chance.choice(["commit", "rollback"])]
            for line in lines:
                if "update" in line and chance.random() < 0.6:
                    key = line.rsplit(" ", 1)[1]
                    writer.ask(w.parse("", "update s.a set v = $1 where n = $2"), w.bind("", "", [str(number), key]),
                               w.execute(), w.SYNC)
                else:
                    writer.ask(w.query(line))
            if lines[-1] != "rollback":
                values = change
            for key in chance.sample(range(1, 7), 3):
                found = reader.ask("select v from s.a where n = $1", str(key))
                assert found == [[str(values[key])]], (number, key, lines)
    assert reader.counted()["hits"] > 100
