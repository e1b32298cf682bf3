"""Cache rules of mode strict: an answer from memory is never older than what was committed before the
request."""
import copy
import itertools
import signal
import threading

import pytest
from support import wire as w
from support.patience import eventually
from support.strict import SQL, client, prepared, strict_settings

VIEW = """
create view s.both as select a.n, a.v as a, b.v as b from s.a join s.b using (n);
grant all on s.both to public;
"""


@pytest.fixture
def cluster(logical):
    return prepared(logical, VIEW)


@pytest.fixture
def strict(trunkline, cluster):
    """strict(): a daemon whose statements have a strict rule, and which has a stored answer."""
    def make(relays=2, fed=True, **options):
        daemon = trunkline(**{**strict_settings(cluster, **options), "relays": relays})
        with daemon.endpoint().wire() as wire:
            eventually(lambda: not fed or wire.ask(w.query(SQL)) and counted(daemon)["hits"] > 0)
        return daemon
    return make


def counted(daemon):
    return daemon.console("SHOW CACHE_RULES")[0]


def value(wire, sql=SQL):
    return int(w.rows(wire.ask(w.query(sql)))[0][0])


def test_a_stored_answer_is_given(strict):
    daemon = strict()
    with daemon.endpoint().wire() as wire:
        before = counted(daemon)
        for _ in range(50):
            assert value(wire) == 0
        after = counted(daemon)
    assert after["hits"] - before["hits"] >= 40
    assert after["executed"] - before["executed"] <= 5


@pytest.mark.parametrize("where", ["in path", "out of path"])
@pytest.mark.parametrize("sql", [SQL, "select a from s.both where n = 1"], ids=["table", "view"])
def test_a_reader_sees_each_write_that_was_acknowledged(strict, cluster, where, sql):
    daemon = strict()
    with daemon.endpoint().wire() as wire, client(cluster) as direct, daemon.endpoint().wire() as other:
        before = counted(daemon)["hits"]
        for number in range(1, 60):
            if where == "in path":
                other.ask(w.query(f"update s.a set v = {number} where n = 1"))
            else:
                direct.execute(f"update s.a set v = {number} where n = 1")
            for _ in range(3):
                assert value(wire, sql) == number
        eventually(lambda: value(wire, sql) == 59 and counted(daemon)["hits"] > before)


def test_concurrent_writers_and_readers(strict, cluster):
    daemon = strict()
    acknowledged, ends, wrong = [0], threading.Event(), []

    def write():
        with client(cluster) as direct:
            while not ends.is_set():
                number = acknowledged[0] + 1
                direct.execute(f"update s.a set v = {number} where n = 1")
                acknowledged[0] = number

    def read():
        with daemon.endpoint().wire() as wire:
            while not ends.is_set():
                least = acknowledged[0]
                found = value(wire)
                if found < least:
                    wrong.append((found, least))

    threads = [threading.Thread(target=one) for one in (write, read, read, read)]
    for thread in threads:
        thread.start()
    eventually(lambda: wrong or acknowledged[0] > 300)
    ends.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_write_to_another_table_keeps_the_answer(strict, cluster):
    daemon = strict()
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        eventually(lambda: value(wire) == 0 and "current" in str(daemon.console("SHOW CACHE")))
        before = counted(daemon)
        for number in range(20):
            direct.execute(f"update s.b set v = {number}")
            assert value(wire) == 0
        after = counted(daemon)
    assert after["hits"] - before["hits"] >= 15
    assert after["executed"] - before["executed"] <= 3


@pytest.mark.parametrize("change, sql, after", [
    ("alter table s.a add column x int default 7", "select * from s.a where n = 1", [["1", "0", "7"]]),
    ("create or replace view s.both as select 5 as n, 6 as a, 7 as b", "select * from s.both", [["5", "6", "7"]]),
    ("alter table s.a rename to old; create table s.a (n int, v int); insert into s.a values (1, 9);"
     " grant all on s.a to public", SQL,
     [["9"]]),
    ("drop view s.both; alter table s.a alter v type text using v || 'x'", SQL, [["0x"]]),
    ("truncate s.a", SQL, []),
    ("drop table s.a cascade", SQL, "42P01"),
    ("revoke all on s.a from public", SQL, "42501"),
    ("revoke usage on schema s from public", SQL, "42501"),
    ("alter table s.a enable row level security", SQL, []),
    ("begin; lock s.a; update s.a set v = 3; prepare transaction 'x'; commit prepared 'x'", SQL, [["3"]]),
], ids=range(10))
def test_a_change_of_the_schema_or_of_rights_counts_at_once(strict, cluster, change, sql, after):
    cluster.sql("alter table s.a owner to postgres")
    daemon = strict()
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        eventually(lambda: w.rows(wire.ask(w.query(sql))) and hits_on(daemon, wire, sql))
        for statement in change.split("; "):
            direct.execute(statement)
        answers = wire.ask(w.query(sql))
        if isinstance(after, str):
            assert [m.sqlstate for m in answers if m.kind == "E"] == [after]
        else:
            assert w.rows(answers) == after


def test_a_rule_whose_table_is_written_as_often_as_it_is_read_rests(strict, cluster):
    daemon = strict(adaptive=True)
    numbers = itertools.count(1)
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        def rested():
            for number in itertools.islice(numbers, 20):
                direct.execute(f"update s.a set v = {number} where n = 1")
                assert value(wire) == number
            return counted(daemon)["rested"] > 0
        eventually(rested)


def hits_on(daemon, wire, sql):
    before = counted(daemon)["hits"]
    wire.ask(w.query(sql))
    return counted(daemon)["hits"] > before


def test_roles_count_at_once(strict, cluster):
    cluster.sql("drop role if exists strict_group; create role strict_group;"
                " revoke all on s.a from public; grant select on s.a to strict_group; grant strict_group to app")
    daemon = strict()
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        eventually(lambda: hits_on(daemon, wire, SQL))
        direct.execute("revoke strict_group from app")
        assert [m.sqlstate for m in wire.ask(w.query(SQL)) if m.kind == "E"] == ["42501"]


def test_parameters_in_both_formats(strict, cluster):
    daemon = strict()
    sql = "select v from s.a where n = $1"

    def ask(wire, text):
        bound = w.parse("", sql, [23]) + w.bind(values=[text])
        return wire.ask(bound + w.describe("P") + w.execute() + w.SYNC)

    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        for number in range(1, 30):
            direct.execute(f"update s.a set v = {number} where n = 1; update s.a set v = -{number} where n = 2")
            for _ in range(2):
                assert w.rows(ask(wire, b"1")) == [[str(number)]]
                assert w.rows(ask(wire, b"2")) == [[str(-number)]]
        before = counted(daemon)["hits"]
        eventually(lambda: w.rows(ask(wire, b"2")) == [["-29"]] and counted(daemon)["hits"] > before)


def test_errors_are_those_of_the_client_s_own_statement(strict):
    daemon = strict()
    with daemon.endpoint().wire() as wire:
        for sql, state in [("select w from s.a", "42703"), ("select 1 / (n - n) from s.a", "22012"),
                           ("select v from s.a where n = $1", "42P02"), ("select (", "42601")]:
            for _ in range(3):
                assert [m.sqlstate for m in wire.ask(w.query(sql)) if m.kind == "E"] == [state]
        assert value(wire) == 0


def test_after_a_restart_of_the_server_answers_are_given_again(strict, cluster):
    daemon = strict()
    for number in (signal.SIGINT, signal.SIGQUIT):  # fast, immediate
        with client(cluster) as direct:
            direct.execute("update s.a set v = v + 1 where n = 1")
        cluster.stop(number)
        cluster.start()
        with client(cluster) as direct:
            direct.execute("update s.a set v = v + 1 where n = 1")
            wanted = direct.execute(SQL).fetchone()[0]
        with daemon.endpoint().wire() as wire:
            assert value(wire) == wanted
            before = counted(daemon)["hits"]
            eventually(lambda: value(wire) == wanted and counted(daemon)["hits"] > before)


@pytest.mark.parametrize("what", ["walsender", "%EXECUTE trunkline_probe%"])
def test_a_feed_that_loses_its_connections_comes_back(strict, cluster, what):
    daemon = strict()
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        for number in range(1, 6):
            direct.execute("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = %s"
                           " or (query like %s and pid <> pg_backend_pid())", (what, what))
            direct.execute(f"update s.a set v = {number} where n = 1")
            assert value(wire) == number
            eventually(lambda: hits_on(daemon, wire, SQL))


def test_a_feed_that_may_not_log_in_is_no_harm(strict, cluster):
    cluster.sql("alter role trusted noreplication")
    daemon = strict(fed=False)
    with daemon.endpoint().wire() as wire, client(cluster) as direct:
        for number in range(1, 20):
            direct.execute(f"update s.a set v = {number} where n = 1")
            assert value(wire) == number
        assert counted(daemon)["hits"] == 0
        cluster.sql("alter role trusted replication")
        eventually(lambda: hits_on(daemon, wire, SQL))


def slots(cluster):
    return cluster.one("select count(*) from pg_replication_slots where active")


def test_a_service_without_a_feed_user_gives_its_slot_up(strict, cluster):
    daemon = strict()
    assert slots(cluster) == 1
    config = daemon.config
    without = copy.deepcopy(config)
    del without["services"]["main"]["feed_user"]
    del without["routes"][0]["cache"]
    daemon.reload(without)
    eventually(lambda: slots(cluster) == 0)
    with daemon.endpoint().wire() as wire:
        assert value(wire) == 0
    daemon.reload(config)
    with daemon.endpoint().wire() as wire:
        eventually(lambda: hits_on(daemon, wire, SQL))


def test_the_end_of_the_daemon_leaves_no_slot(strict, cluster):
    daemon = strict()
    assert slots(cluster) == 1
    daemon.stop()
    eventually(lambda: cluster.one("select count(*) from pg_replication_slots") == 0)
