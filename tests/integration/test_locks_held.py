"""Advisory locks of a session, in pools: nobody gets a lock that another client still holds."""
import pytest

from support import wire as w
from support.trunkline import route

TWICE = [
    "select pg_advisory_lock(7), generate_series(1, 2)",
    "select pg_advisory_lock(7 + 0 * generate_series(1, 2))",
    "update held set a = a where pg_try_advisory_lock(7)",
    "do $$ begin for i in 1..2 loop perform pg_advisory_lock(7); end loop; end $$",
    "with recursive n(a) as (select 1 union all select a + 1 from n where a < 2) "
    "select pg_advisory_lock(7) from n",
    "select pg_advisory_lock(7) from held",
    "select pg_advisory_lock(7) union all select pg_advisory_lock(7)",
    "values (pg_advisory_lock(7)), (pg_advisory_lock(7))",
    "prepare p as select pg_advisory_lock(7); execute p; execute p; deallocate p",
    "prepare p as select pg_advisory_lock(7); select pg_advisory_unlock_all(); execute p; "
    "deallocate p; select pg_advisory_lock(7)",
    "select pg_advisory_lock(7); select pg_advisory_lock(7)",
]
# What looks like an end of a lock and is none.
NO_END = [
    "select pg_advisory_unlock(8)",
    "select pg_advisory_unlock_shared(7)",
    "select pg_advisory_unlock(7) where false",
    "select pg_advisory_unlock_all() where false",
    "select pg_advisory_unlock_all() from held where a > 2",
    "explain select pg_advisory_unlock(7)",
    "explain select pg_advisory_unlock_all()",
    "prepare p as select pg_advisory_unlock_all(); deallocate p",
    "begin; declare c cursor for select pg_advisory_unlock(7); commit",
    "select case when false then pg_advisory_unlock(7) end",
]


@pytest.fixture
def endpoints(postgres, trunkline):
    postgres.sql("create table if not exists held (a int); delete from held;"
                 "insert into held values (1), (2); grant all on held to app")
    daemon = trunkline(relays=1, routes=[route(pool_size=4)])
    return postgres.endpoint(), daemon.endpoint()


def value(client, sql):
    answers = client.ask(w.query(sql))
    assert not [m.fields for m in answers if m.kind == "E"]
    return w.rows(answers)[0][0]


def run(client, text):
    for sql in text.split("; ") if not text.startswith("do") else [text]:
        answers = client.ask(w.query(sql))
        assert not [m.fields for m in answers if m.kind == "E"], sql


def batch(*sql, portal=""):
    made = b""
    for text in sql:
        made += w.parse("", text) + w.bind(portal) + w.execute(portal)
    return made


def is_free(endpoint):
    with endpoint.wire() as other:
        got = value(other, "select pg_try_advisory_lock(7)") == "t"
        value(other, "select pg_advisory_unlock_all()")
    return got


@pytest.mark.parametrize("sql", TWICE)
def test_a_lock_that_is_taken_twice_is_held_after_one_unlock(endpoints, sql):
    for endpoint in endpoints:
        with endpoint.wire() as one:
            run(one, sql)
            value(one, "select pg_advisory_unlock(7)")
            assert not is_free(endpoint)
            value(one, "select pg_advisory_unlock_all()")
            assert is_free(endpoint)


@pytest.mark.parametrize("sql", NO_END)
def test_a_lock_is_held_after_statements_that_do_not_release_it(endpoints, sql):
    for endpoint in endpoints:
        with endpoint.wire() as one:
            value(one, "select pg_advisory_lock(7)")
            run(one, sql)
            assert not is_free(endpoint)


@pytest.mark.parametrize("messages", [
    batch("select pg_advisory_unlock(7)", "select 1"),
    batch("select pg_advisory_unlock(7)") + w.execute(),
    batch("select pg_advisory_unlock(7)") + w.parse("", "select 1") + w.bind("x") + w.execute("x"),
    w.parse("", "select pg_advisory_unlock(7)") + w.bind() + w.parse("", "select 1") + w.bind() +
    w.execute(),
], ids=["another", "again", "named", "replaced"])
def test_one_bind_ends_one_lock_at_most(endpoints, messages):
    for endpoint in endpoints:
        with endpoint.wire() as one:
            run(one, "select pg_advisory_lock(7); select pg_advisory_lock(7)")
            answers = one.ask(messages, w.SYNC)
            assert not [m.fields for m in answers if m.kind == "E"]
            assert not is_free(endpoint)


def test_a_lock_that_a_portal_takes_behind_the_unlock_is_held(endpoints):
    for endpoint in endpoints:
        with endpoint.wire() as one:
            one.ask(w.query("begin"))
            one.ask(w.parse("", "select pg_advisory_lock(7)"), w.bind("later"), w.SYNC)
            run(one, "select pg_advisory_unlock(7); select pg_advisory_unlock_all()")
            one.ask(w.execute("later"), w.SYNC)
            one.ask(w.query("commit"))
            assert not is_free(endpoint)


@pytest.mark.parametrize("lock,unlock", [
    ("SELECT pg_try_advisory_lock(7)", "SELECT pg_advisory_unlock( 7 )"),
    ("select pg_catalog.pg_advisory_lock(7) as got", "select pg_advisory_unlock(7)::text \"x\";"),
    ("select pg_advisory_lock(hashtext('a'))", "select pg_advisory_unlock(hashtext('a'))"),
    ("select pg_advisory_lock('7'::int, 1)", "select pg_advisory_unlock('7'::int, 1)"),
    ("select pg_advisory_lock_shared(7)", "select pg_advisory_unlock_shared(7)"),
])
def test_plain_locks_end_one_by_one(trunkline, lock, unlock):
    daemon = trunkline(relays=1, routes=[route(pool_size=2)])
    with daemon.endpoint().wire() as one:
        run(one, lock + "; " + lock + "; " + unlock)
        assert len(daemon.console("SHOW PINS")) == 1
        value(one, unlock)
        assert daemon.console("SHOW PINS") == []
