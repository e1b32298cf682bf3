"""Cache rules of mode strict: an answer from memory is never older than what was committed before the
request."""
import threading

import pytest
from support import wire as w
from support.patience import eventually
from support.trunkline import route
from test_feed import client, prepare

SCHEMA = """
drop schema if exists s cascade; create schema s;
create table s.a (n int primary key, v int); insert into s.a values (1, 0), (2, 0);
create table s.b (n int primary key, v int); insert into s.b values (1, 0);
create view s.both as select a.n, a.v as a, b.v as b from s.a join s.b using (n);
grant usage on schema s to public; grant all on all tables in schema s to public;
"""
SQL = "select v from s.a where n = 1"


@pytest.fixture
def cluster(logical):
    prepare(logical)
    logical.sql(SCHEMA)
    return logical


@pytest.fixture
def strict(trunkline, cluster):
    """strict(): a daemon whose statements have a strict rule, and which has a stored answer."""
    def make(relays=2, settings=None, **rule):
        daemon = trunkline(
            server=cluster, relays=relays,
            services={"main": {"hosts": [f"127.0.0.1:{cluster.port}"], "tls": {"mode": "disable"},
                               "feed_user": "trusted"}},
            routes=[route(cache=[dict(mode="strict", **rule)], **(settings or {}))])
        with daemon.endpoint().wire() as wire:
            eventually(lambda: wire.ask(w.query(SQL)) and counted(daemon)["hits"] > 0)
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
