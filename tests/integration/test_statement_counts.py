"""SHOW STATEMENTS: what became of statements, by fingerprint and route."""
import threading

import psycopg
import pytest
from support import wire as w
from support.flights import OBJECTS, Gate, crowd, sharing, waiting
from support.patience import eventually
from support.trunkline import configuration, route


@pytest.fixture
def table(postgres):
    postgres.sql("drop table if exists counted; create table counted (a int primary key, b text);"
                 "grant all on counted to app")
    yield postgres
    postgres.sql("drop table counted")


def counting(trunkline, limit=100, **settings):
    return trunkline(statements_limit=limit, **settings)


def statements(daemon, rest=""):
    return daemon.console(f"SHOW STATEMENTS {rest}")


def by_text(daemon):
    return {row["text"]: row for row in statements(daemon)}


def simple(daemon, **options):
    return psycopg.connect(daemon.endpoint(**options).conninfo(), autocommit=True,
                           cursor_factory=psycopg.ClientCursor)


def counts(row, *names):
    return tuple(int(row[name]) for name in names)


def test_nothing_is_counted_unless_it_is_asked_for(trunkline, postgres):
    daemon = trunkline()
    with daemon.connect() as client:
        client.execute("select 1")
    assert statements(daemon) == []


def test_statements_that_differ_in_constants_are_one(trunkline, table):
    daemon = counting(trunkline)
    with simple(daemon) as client:
        client.execute("insert into counted select n, 'secret' from generate_series(1, 10) n")
        for number in range(1, 6):
            client.execute(f"SELECT a FROM counted WHERE a <= {number} -- secret")
        with pytest.raises(psycopg.Error):
            client.execute("select a from counted where a <= 1 / 0")
    rows = by_text(daemon)
    assert not any("secret" in text for text in rows)
    insert = rows["insert into counted select n, $1 from generate_series($2, $3) n"]
    assert counts(insert, "calls", "rows", "errors") == (1, 10, 0)
    select = rows["SELECT a FROM counted WHERE a <= $1"]
    assert counts(select, "calls", "rows", "errors") == (5, 15, 0)
    assert int(select["bytes"]) > 5 * 30 and int(select["exec_us"]) > 0
    assert 0 < int(select["exec_p50_us"]) <= int(select["exec_p95_us"]) <= int(select["exec_p99_us"])
    assert (select["database"], select["user"]) == ("*", "*")
    failed = rows["select a from counted where a <= $1 / $2"]
    assert counts(failed, "calls", "rows", "errors") == (1, 0, 1)
    assert len(select["fingerprint"]) == 16 and select["fingerprint"] != failed["fingerprint"]


@pytest.mark.parametrize("settings", [{}, {"pool": "session"}, {"prepared_statements": "off"}])
def test_the_extended_protocol_and_prepared_statements(trunkline, table, settings):
    daemon = counting(trunkline, routes=[route(**settings)])
    with daemon.endpoint().wire() as client:
        client.send(w.parse("", "select $1::int") + w.bind("", "", "5") + w.describe("P")
                    + w.execute() + w.SYNC)
        client.until("Z")
        if settings.get("prepared_statements") != "off":
            client.send(w.parse("named", "select 7 + $1::int") + w.SYNC)
            client.until("Z")
            for _ in range(3):
                client.send(w.bind("", "named", "5") + w.execute() + w.SYNC)
                client.until("Z")
    rows = by_text(daemon)
    assert counts(rows["select $1::int"], "calls", "rows", "errors") == (1, 1, 0)
    if settings.get("prepared_statements") != "off":
        assert counts(rows["select $2 + $1::int"], "calls", "rows", "errors") == (3, 3, 0)


def test_a_pipeline_counts_each_statement_once_and_the_error_at_its_place(trunkline, table):
    daemon = counting(trunkline)
    with daemon.endpoint().wire() as client:
        client.send(w.parse("", "select abs(1)") + w.bind() + w.execute()
                    + w.parse("", "select 1 / ($1::int - 1)") + w.bind("", "", "1") + w.execute()
                    + w.parse("", "select floor(1)") + w.bind() + w.execute() + w.SYNC
                    + w.parse("", "select upper('x')") + w.bind() + w.execute() + w.SYNC
                    + w.parse("", "select no_such_column") + w.bind() + w.execute() + w.SYNC
                    + w.parse("", "select sign($1::int)") + w.bind("", "", "x") + w.execute()
                    + w.SYNC + w.query("select ceil(1)") + w.query("select sqrt(2)"))
        for _ in range(6):
            client.until("Z")
    rows = by_text(daemon)
    assert counts(rows["select abs($1)"], "calls", "rows", "errors") == (1, 1, 0)
    assert counts(rows["select $2 / ($1::int - $3)"], "calls", "rows", "errors") == (1, 0, 1)
    assert "select floor($1)" not in rows
    assert counts(rows["select upper($1)"], "calls", "rows", "errors") == (1, 1, 0)
    assert counts(rows["select no_such_column"], "calls", "rows", "errors") == (1, 0, 1)
    assert counts(rows["select sign($1::int)"], "calls", "rows", "errors") == (1, 0, 1)
    assert counts(rows["select ceil($1)"], "calls", "rows", "errors") == (1, 1, 0)
    assert counts(rows["select sqrt($1)"], "calls", "rows", "errors") == (1, 1, 0)


def test_a_portal_in_parts_and_an_empty_query(trunkline, table):
    daemon = counting(trunkline)
    with daemon.endpoint().wire() as client:
        client.send(w.query("begin") + w.parse("", "select generate_series(1, 5) as part")
                    + w.bind("cursor") + w.execute("cursor", 2) + w.execute("cursor", 2)
                    + w.execute("cursor") + w.SYNC + w.query("commit")
                    + w.parse("", "") + w.bind() + w.execute() + w.SYNC + w.query(";"))
        for _ in range(5):
            client.until("Z")
    rows = by_text(daemon)
    assert counts(rows["select generate_series($1, $2) as part"], "calls", "rows") == (3, 5)
    assert counts(rows["BEGIN"], "calls") == (1,) and counts(rows["COMMIT"], "calls") == (1,)


def test_copy_several_statements_and_utilities(trunkline, table):
    daemon = counting(trunkline)
    with simple(daemon) as client:
        with client.cursor().copy("copy counted from stdin") as copy:
            for number in range(7):
                copy.write_row((number, "secret"))
        with client.cursor().copy("copy (select * from counted where b = 'secret') to stdout") as copy:
            assert sum(1 for _ in copy.rows()) == 7
        with pytest.raises(psycopg.Error):
            with client.cursor().copy("copy counted from stdin") as copy:
                copy.write_row((1, "secret"))
        client.execute("insert into counted values (8, 'x'), (9, 'x'); delete from counted where a > 7")
        client.execute("set application_name = 'secret'; select 1, 'secret'")
        with pytest.raises(psycopg.Error):
            client.execute("alter role app password 'secret' valid until 'secret'; select 1/0")
        with pytest.raises(psycopg.Error):
            client.execute("select 'secret' from from")
    rows = statements(daemon)
    assert "secret" not in repr(rows)
    copies = sorted((counts(row, "calls", "rows", "errors") for row in rows if row["text"] == "COPY"))
    assert copies == [(1, 7, 0), (2, 7, 1)]
    texts = by_text(daemon)
    several = texts["insert into counted values ($1, $2), ($3, $4); delete from counted where a > $5"]
    assert counts(several, "calls", "rows", "errors") == (1, 4, 0)
    assert counts(texts["SET; SELECT"], "calls", "rows") == (1, 1)
    assert counts(texts["ALTER; SELECT"], "calls", "errors") == (1, 1)
    assert texts[None]["fingerprint"] is None and counts(texts[None], "calls", "errors") == (1, 1)


def test_long_texts_and_long_values(trunkline, table):
    daemon = counting(trunkline, chunk_size="16KiB")
    long = "select '" + "x" * 40000 + "' as long"
    with daemon.endpoint().wire() as client:
        client.send(w.query(long) + w.parse("", long) + w.bind() + w.execute() + w.SYNC
                    + w.parse("", "select upper($1::text)") + w.bind("", "", ["y" * 40000])
                    + w.execute() + w.SYNC)
        for _ in range(3):
            client.until("Z")
    rows = by_text(daemon)
    assert counts(rows["select upper($1::text)"], "calls", "rows", "errors") == (1, 1, 0), rows
    assert sum(int(row["calls"]) for row in rows.values()) == 3
    assert int(rows["select upper($1::text)"]["bytes"]) > 40000


def test_the_one_counted_longest_ago_is_forgotten(trunkline, postgres):
    daemon = counting(trunkline, limit=3, relays=2)
    with simple(daemon) as client:
        for name in ("abs", "ceil", "floor"):
            client.execute(f"select {name}(1)")
        client.execute("select abs(1)")
        client.execute("select sign(1)")
    assert set(by_text(daemon)) == {f"select {name}($1)" for name in ("abs", "floor", "sign")}


def test_order_limit_and_reset(trunkline, postgres):
    daemon = counting(trunkline)
    with simple(daemon) as client:
        for name, count in (("abs", 2), ("ceil", 5), ("floor", 1)):
            for _ in range(count):
                client.execute(f"select {name}(1)")
        top = statements(daemon, "ORDER BY calls DESC LIMIT 2")
        assert [row["text"] for row in top] == ["select ceil($1)", "select abs($1)"]
        few = statements(daemon, "WHERE calls < 2")
        assert [row["text"] for row in few] == ["select floor($1)"]
        daemon.console("RESET STATEMENTS")
        assert statements(daemon) == []
        client.execute("select abs(1)")
        assert [counts(row, "calls") for row in statements(daemon)] == [(1,)]


def test_each_route_counts_by_itself(trunkline, postgres):
    daemon = counting(trunkline, routes=[route(database="session", pool="session"), route()])
    for database in ("session", "transaction", "transaction"):
        with simple(daemon, database=database) as client:
            client.execute("select 1")
    found = {row["database"]: int(row["calls"]) for row in statements(daemon)}
    assert found == {"session": 1, "*": 2}


def test_a_reload_begins_and_ends_it(trunkline, postgres):
    config = configuration(postgres)
    daemon = trunkline(config=config)
    with simple(daemon) as client:
        client.execute("select 1 as a")
        daemon.reload(dict(config, statements_limit=10))
        def counted():
            client.execute("select ceil(1)")
            return "select ceil($1)" in by_text(daemon)
        eventually(counted)
        daemon.reload(config)
        def silent():
            client.execute("select 1 as c")
            return statements(daemon) == []
        eventually(silent)
        client.execute("select 1 as d")
        assert statements(daemon) == []


def test_waits_for_a_server_are_told(trunkline, postgres):
    daemon = counting(trunkline, relays=1, routes=[route(pool_size=1)])
    with simple(daemon) as holder, simple(daemon) as other:
        holder.execute("begin")
        thread = threading.Thread(target=lambda: other.execute("select abs(1)"))
        thread.start()
        eventually(lambda: waiting(daemon) == 1)
        holder.execute("select pg_sleep(0.05)")
        holder.execute("rollback")
        thread.join()
    row = by_text(daemon)["select abs($1)"]
    assert int(row["wait_us"]) >= 50000 and int(row["wait_p50_us"]) >= 40000
    assert int(row["exec_us"]) < int(by_text(daemon)["select pg_sleep($1)"]["exec_us"])


def test_the_log_names_the_fingerprint_of_a_slow_query(trunkline, postgres):
    daemon = counting(trunkline, routes=[route(slow_query="50ms")])
    with simple(daemon) as client:
        client.execute("select pg_sleep(0.06)")
    fingerprint = by_text(daemon)["select pg_sleep($1)"]["fingerprint"]
    daemon.logged(rf"query\.slow .* fingerprint={fingerprint}")


def test_hits_and_bypasses(trunkline, table):
    table.sql("insert into counted values (1, 'x')")
    daemon = counting(trunkline, routes=[route(cache=[{"mode": "ttl", "ttl": "1h"}])])
    with simple(daemon) as client:
        for _ in range(4):
            client.execute("select b from counted where a = 1")
        for _ in range(3):
            client.execute("select random() from counted")
        client.execute("begin")
        client.execute("select b from counted where a = 1")
        client.execute("commit")
    rows = by_text(daemon)
    read = rows["select b from counted where a = $1"]
    assert counts(read, "calls", "hits", "joins") == (2, 3, 0)
    volatile = rows["select random() from counted"]
    assert counts(volatile, "calls", "hits", "bypassed") == (3, 0, 2)
    assert volatile["reasons"] == "volatile=2" or volatile["reasons"].endswith("=2")


def test_joins(trunkline, postgres):
    postgres.sql(OBJECTS)
    gate = Gate(postgres)
    daemon = trunkline(statements_limit=100, **sharing("dedupe"))
    wires = crowd(daemon, 4)
    eventually(lambda: gate.busy() == 1 and sum(int(row["joined"]) for row in
                                                daemon.console("SHOW CACHE_RULES")) == 3)
    gate.open()
    for one in wires:
        one.until("Z")
    row = by_text(daemon)["select a, b, flights_held($1) from flights_rows where a = $2"]
    assert counts(row, "calls", "rows", "joins", "hits") == (1, 1, 3, 0)
