"""What a proxy gets wrong that shares answers by the text of a statement alone, one test each.

The list is that of an earlier proxy, which kept the first bytes of whatever the server said to the first
chunk of bytes of whichever client.  Other tests go deeper into each of these; this is the list as a whole.
"""
import os
import random
import signal
import subprocess
import threading

import pytest
from support import wire as w
from support.flights import crowd, leave, sharing, waiting
from support.patience import STRETCH, eventually
from support.postgres import binaries
from support.strict import SQL as STRICT_SQL
from support.strict import prepared, strict_settings

SCHEMA = """
drop schema if exists defects, defects_other cascade;
create schema defects; create schema defects_other; create sequence defects.runs;
create table defects.row (n int primary key, v text, at timestamptz, bytes bytea);
create table defects_other.row (like defects.row including all);
insert into defects.row values (1, '{database} \u00e4', '2001-02-03 04:05Z', 'x'), (2, 'two', null, null);
insert into defects_other.row values (1, 'other', '2002-02-03 04:05Z', 'y');
create function defects.notices() returns bigint language plpgsql as
$$ begin raise notice 'told'; return nextval('defects.runs'); end $$;
create function defects.sets() returns bigint language plpgsql as
$$ begin perform set_config('DateStyle', 'German', false); return nextval('defects.runs'); end $$;
create function defects.runs() returns bigint language sql as $$ select nextval('defects.runs') $$;
grant usage on schema defects, defects_other to app, reports;
grant all on all tables in schema defects, defects_other to app;
grant all on sequence defects.runs to app;
grant reports to app;
"""
FUNCTIONS = ["pg_catalog.pg_sleep", "public.flights_held", "public.flights_fails", "defects.runs",
             "defects.notices", "defects.sets"]
ONE = "select v, at, bytes from row where n = 1"
PATH = {"search_path": "defects"}


@pytest.fixture
def objects(flights_objects):
    for database in "app", "session":
        flights_objects.sql(SCHEMA.replace("{database}", database), database=database)
    return flights_objects


@pytest.fixture
def shared(trunkline, objects):
    """shared("ttl", ttl="1h"): a daemon that shares whatever may be shared."""
    def make(mode="ttl", functions=FUNCTIONS, **rule):
        rule = {"ttl": "1h", **rule} if mode == "ttl" else rule
        return trunkline(**{**sharing(mode, **rule), "cache_functions": functions})
    return make


def counted(daemon):
    return daemon.console("SHOW CACHE_RULES")[0]


def states(messages):
    return [m.body.decode() for m in messages if m.kind == "Z"]


def failures(messages):
    return [m.sqlstate for m in messages if m.kind == "E"]


def in_pieces(daemon, wire, *pieces):
    """Sends pieces that the daemon reads one by one: it has looked at its sockets between them."""
    for piece in pieces:
        wire.send(piece)
        daemon.console("SHOW VERSION")


def one(wire, sql):
    (row,), = [w.rows(wire.ask(w.query(sql)))]
    return row[0]


# -- 1: the key was the text


def told(endpoint, then=None, **parameters):
    """What a client of an endpoint is told, twice: the second time from memory, if that may be."""
    with endpoint.wire(**parameters) as wire:
        if then is not None:
            assert not failures(wire.ask(w.query(then)))
        answers = [wire.ask(w.query(ONE)) for _ in range(2)]
        assert w.kinds(answers[0]) == w.kinds(answers[1])
        return [(failures(one), [m.values for m in one if m.kind == "D"]) for one in answers]


OTHERS = {"database": {"database": "session"}, "user": {"user": "reports"},
          "role": {"role": "reports"}, "SET ROLE": {"then": "set role reports"},
          "search_path": {"search_path": "defects_other"},
          "SET search_path": {"then": "set search_path = defects_other"},
          "TimeZone": {"TimeZone": "Asia/Tokyo"}, "DateStyle": {"DateStyle": "German"},
          "client_encoding": {"client_encoding": "LATIN1"}, "bytea_output": {"bytea_output": "escape"}}


@pytest.mark.parametrize("other", OTHERS)
def test_1_an_answer_is_given_only_to_whom_the_server_would_say_the_same(shared, objects, other):
    daemon, changes = shared(), {**PATH, **OTHERS[other]}
    who = {key: changes.pop(key) for key in ("database", "user") if key in changes}
    first = told(daemon.endpoint(), **PATH)
    assert first[0] == first[1] == told(objects.endpoint(), **PATH)[0] and counted(daemon)["hits"] == 1
    found = told(daemon.endpoint(**who), **changes)
    assert found == told(objects.endpoint(**who), **changes)
    assert found[0] != first[0]


# -- 2, 3: transactions


def test_2_statements_that_change_something_are_executed_by_each_client(shared, objects):
    daemon = shared()
    steps = ["begin", "insert into row values (10, 'new') on conflict (n) do update set v = row.v || '+'",
             "update row set v = v || '!' where n = 2"]
    with daemon.endpoint().wire(**PATH) as first, daemon.endpoint().wire(**PATH) as second:
        for wire, end in (first, "commit"), (second, "commit"), (first, "rollback"):
            answers = [wire.ask(w.query(sql)) for sql in [*steps, end]]
            assert [states(answer) for answer in answers] == [["T"], ["T"], ["T"], ["I"]]
        assert objects.sql("select v from defects.row where n in (2, 10) order by n") == [
            ("two!!",), ("new+",)]
        for wire in first, second:
            wire.ask(w.query("set bytea_output = escape"))
            assert one(wire, "select bytes from row where n = 1") == "x"


def test_3_a_statement_within_a_transaction_sees_what_the_transaction_sees(shared, objects):
    daemon, sql = shared(), "select v from row where n = 2"
    with daemon.endpoint().wire(**PATH) as wire, daemon.endpoint().wire(**PATH) as other:
        assert [one(other, sql) for _ in range(2)] == ["two", "two"] and counted(daemon)["hits"] == 1
        wire.ask(w.query("begin isolation level repeatable read"), w.SYNC)
        wire.until()
        wire.ask(w.query("update row set v = 'own' where n = 2"))
        answers = wire.ask(w.query(sql))
        assert w.rows(answers) == [["own"]] and states(answers) == ["T"]
        assert one(other, sql) == "two"
        answers = wire.ask(w.query("rollback"))
        assert states(answers) == ["I"] and one(wire, sql) == "two"


# -- 4, 5: executions


def test_4_an_answer_is_whole_however_long_and_slow(shared):
    daemon = shared()
    sql = w.query("select repeat(chr(64 + i), 10000), pg_sleep(0.02) from generate_series(1, 20) i")
    wires = [daemon.endpoint().wire() for _ in range(5)]
    for _ in range(2):  # while it runs, and from memory
        for wire in wires:
            wire.send(sql)
        for wire in wires:
            assert [row[0] for row in w.rows(wire.until())] == [chr(65 + i) * 10000 for i in range(20)]
            assert one(wire, "select 7") == "7"
    assert counted(daemon)["executed"] == 2 and counted(daemon)["hits"] >= 5  # with that of `select 7`
    leave(wires)


@pytest.mark.parametrize("how", ["leaves", "cancels", "server fails", "server is lost"])
def test_5_clients_do_not_depend_on_the_first_one(shared, gate, how):
    daemon = shared()
    fails = how == "server fails"
    sql = f"select flights_{'fails' if fails else 'held'}(1)"
    first, = crowd(daemon, 1, w.query(sql))
    eventually(lambda: gate.busy() == 1)
    wires = [daemon.endpoint().wire().send(w.query(sql)) for _ in range(5)]
    eventually(lambda: waiting(daemon) == 6)
    if how == "leaves":
        first.socket.close()
    elif how == "cancels":
        first.cancel_elsewhere()
    elif how == "server is lost":
        gate.kill()
    gate.open()
    for wire in [*wires, daemon.endpoint().wire().send(w.query(sql))]:
        answers = wire.until()
        assert failures(answers) == (["22012"] if fails else []) and states(answers) == ["I"]
        assert one(wire, "select 7") == "7"
    leave([first, *wires])


# -- 6, 7, 8: messages and reads


@pytest.mark.parametrize("size", [100, 9000, 100_000])
def test_6_a_message_is_read_whole_whatever_the_pieces(shared, size):
    daemon, wire = shared(), None
    padding = "/*" + size * "x" + "*/"
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        for number in 1, 2, 1, 2:
            data = w.query(f"select {padding} {number}")
            in_pieces(daemon, wire, data[:3], data[3:50], data[50:-20], data[-20:])
            assert w.rows(wire.until()) == [[str(number)]]
            assert w.rows(other.ask(data)) == [[str(number)]]
            assert one(wire, "select 7") == "7"


def test_7_data_that_looks_like_a_query_is_none(shared, objects):
    """The piece begins with Q, four bytes, and the text of a stored answer."""
    daemon, looks = shared(), b"Q0000select 7\0"
    with daemon.endpoint().wire(**PATH) as wire:
        assert [one(wire, "select 7") for _ in range(2)] == ["7", "7"]
        data = w.copy_data(b"30\t" + looks[:-1] + b"\n")
        assert w.kinds(wire.send(w.query("copy row (n, v) from stdin")).until("G")) == "G"
        at = data.index(looks[:-1])
        in_pieces(daemon, wire, data[:at], data[at:])
        assert w.kinds(wire.ask(w.COPY_DONE)) == "C Z"
        bound = w.bind(values=["31", looks[:-1]])
        at = bound.index(looks[:-1])
        in_pieces(daemon, wire, w.parse("", "insert into row (n, v) values ($1, $2)") + bound[:at],
                  bound[at:] + w.execute() + w.SYNC)
        assert w.kinds(wire.until()) == "1 2 C Z"
    assert objects.sql("select v from defects.row where n in (30, 31)") == 2 * [(looks[:-1].decode(),)]


def test_8_each_of_several_statements_is_answered(shared, objects):
    daemon = shared()
    many = [w.query(f"select {number}") for number in range(20)]
    counts = "select 1, nextval('defects.runs'); select 2"
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        assert one(wire, "select 3") == "3"
        for client in wire, other, wire:
            assert w.rows(client.send(*many).until(times=20)) == [[str(n)] for n in range(20)]
        for number, client in enumerate((wire, other, wire), 1):
            assert w.rows(client.ask(w.query(counts))) == [["1", str(number)], ["2"]]
        client = wire.send(many[3], w.query(counts), many[3])
        assert w.rows(client.until(times=3)) == [["3"], ["1", "4"], ["2"], ["3"]]


# -- 9, 10, 11: what may be kept


@pytest.mark.parametrize("sql", [
    "select clock_timestamp()", "select now()", "select current_timestamp", "select random()",
    "select nextval('defects.runs')", "select pg_try_advisory_lock(77)", "select pg_backend_pid(), random()"])
def test_9_a_function_that_is_volatile_is_called_for_each_client(shared, objects, sql):
    daemon, mark = shared(functions=[]), objects.mark()
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        answers = [str(w.rows(wire.ask(w.query(sql)))) for wire in (one, other)]
        assert len(set(answers)) == 2
    assert objects.statements(mark).count(sql) == 2


def test_9_pg_sleep_is_executed_for_each_client_unless_it_is_declared(shared, objects):
    daemon, mark = shared("dedupe", functions=[]), objects.mark()
    sql = f"select pg_sleep({0.3 * STRETCH})"
    wires = [daemon.endpoint().wire().send(w.query(sql)) for _ in range(5)]
    for wire in wires:
        assert w.rows(wire.until()) == [[""]]
    assert objects.statements(mark).count(sql) == 5
    leave(wires)


def test_10_an_answer_ends_with_its_time_and_by_a_flush(shared, objects):
    old = "select v from row where n = 2"
    for daemon, flush in (shared(ttl="300ms"), False), (shared(), True):
        objects.sql("update defects.row set v = 'old' where n = 2")
        with daemon.endpoint().wire(**PATH) as wire:
            eventually(lambda w=wire, d=daemon: one(w, old) == "old" and counted(d)["hits"] > 0)
            objects.sql("update defects.row set v = 'new' where n = 2")
            if flush:
                assert one(wire, old) == "old"
                daemon.console("CACHE FLUSH")
                assert one(wire, old) == "new"
            eventually(lambda w=wire: one(w, old) == "new")


def test_10_a_write_ends_what_is_shared(shared, gate, objects):
    """In mode dedupe, at once for those that come later."""
    daemon, sql = shared("dedupe"), "select v, flights_held(1) from defects.row where n = 2"
    first, = crowd(daemon, 1, w.query(sql))
    eventually(lambda: gate.busy() == 1)
    with daemon.connect() as writer:
        writer.execute("update defects.row set v = 'new' where n = 2")
    second = daemon.endpoint().wire().send(w.query(sql))
    eventually(lambda: gate.busy() == 2)
    gate.open()
    assert w.rows(first.until()) == [["two", "1"]] and w.rows(second.until()) == [["new", "1"]]
    leave([first, second])


def test_10_a_write_ends_strict_answers(trunkline, logical):
    """Also while the feed does not hear of it: its sender of the log is stopped."""
    daemon = trunkline(**strict_settings(prepared(logical)))
    with daemon.endpoint().wire() as wire:
        eventually(lambda: one(wire, STRICT_SQL) == "0" and counted(daemon)["hits"] > 0)
        sender = logical.one("select pid from pg_stat_replication where application_name = 'trunkline feed'")
        for number in range(1, 20):
            if number % 2:
                os.kill(sender, signal.SIGSTOP)
            logical.sql(f"update s.a set v = {number} where n = 1")
            assert one(wire, STRICT_SQL) == str(number)
            os.kill(sender, signal.SIGCONT)


def test_11_errors_notices_and_parameters_are_no_part_of_a_stored_answer(shared, objects):
    daemon = shared()
    with daemon.endpoint().wire(**PATH) as first, daemon.endpoint().wire(**PATH) as second:
        divides = "select 10 / (n - 2) from row where v = 'two'"
        for wire in first, second, first:
            assert failures(wire.ask(w.query(divides))) == ["22012"]
        objects.sql("update defects.row set n = 3 where n = 2")
        assert [one(wire, divides) for wire in (first, second)] == ["10", "10"]
        notices = w.query("select notices()")
        kept = [second.ask(notices), first.ask(notices), second.ask(notices)]
        assert [w.rows(answer) for answer in kept] == 3 * [w.rows(kept[0])]
        assert not any(m.kind in "NS" for answer in kept[1:] for m in answer)
        styles = [first.parameters["DateStyle"], second.parameters["DateStyle"]]
        sets = [w.rows(wire.ask(w.query("select sets()"))) for wire in (first, second)]
        assert sets[0] != sets[1]
        assert [first.parameters["DateStyle"], second.parameters["DateStyle"]] == styles
        assert told(daemon.endpoint(), **PATH) == told(objects.endpoint(), **PATH)


# -- 12, 13: many clients


def test_12_each_of_many_clients_gets_the_answers_of_its_own_questions(shared):
    """Stored answers, joined executions and own ones, pipelined, at once and on all threads."""
    daemon, wrong = shared(relays=4, ttl="20ms"), []

    def ask(seed):
        rng, asked = random.Random(seed), 0
        with daemon.endpoint().wire(**PATH) as wire:
            while asked < 300 and not wrong:
                numbers = [rng.randrange(30) for _ in range(rng.choice([1, 1, 3]))]
                texts = [f"select {n}, repeat(chr(65 + {n}), {n * 400})" if n % 3
                         else f"update row set v = '{n}' where n = 1 returning {n}" for n in numbers]
                wire.send(*map(w.query, texts))
                for n in numbers:
                    answer = wire.until()
                    if w.rows(answer) != [[str(n), chr(65 + n) * n * 400] if n % 3 else [str(n)]]:
                        wrong.append((n, answer))
                asked += len(numbers)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    rule = counted(daemon)
    assert rule["hits"] > 0 and rule["executed"] > 0, rule


def test_13_a_client_that_leaves_without_a_word_leaves_no_server_behind(shared, gate, objects):
    daemon = shared(settings={"pool_size": 3})
    leaving = crowd(daemon, 15, w.query("select flights_held(1)"))
    eventually(lambda: gate.busy() == 1)
    for number in range(15):
        leaving.append(daemon.endpoint().wire().send(w.query(f"select {number}")))
    leave(leaving)
    eventually(lambda: gate.busy() == 0 and not [one for one in daemon.console("SHOW CLIENTS")
                                                 if one["database"] == "app"])
    daemon.pool_shows(lent=0)
    gate.open()
    before = set(objects.backends())
    wires = [daemon.endpoint().wire() for _ in range(10)]
    assert [one(wire, "select flights_held(1)") for wire in wires] == 10 * ["1"]
    assert set(objects.backends()) <= before  # the servers of those that have left serve others
    leave(wires)


# -- 14, 15


def test_14_copy_goes_to_the_server_each_time(shared, objects):
    daemon = shared()
    with daemon.endpoint().wire(**PATH) as first, daemon.endpoint().wire(**PATH) as second:
        for number, wire in enumerate((first, second, first), 40):
            assert wire.send(w.query("copy row (n, v) from stdin")).until("G")
            assert w.kinds(wire.ask(w.copy_data(f"{number}\tcopied\n".encode()), w.COPY_DONE)) == "C Z"
    assert objects.one("select count(*) from defects.row where v = 'copied'") == 3


def test_15_the_daemon_counts_what_the_server_does_not_see(shared, gate, objects):
    daemon, sql, mark = shared(), "select flights_held(1)", objects.mark()
    wires = crowd(daemon, 10, w.query(sql))
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == [["1"]]
    for wire in wires:
        assert w.rows(wire.ask(w.query(sql))) == [["1"]]
    rule = counted(daemon)
    assert [rule[name] for name in ("executed", "joined", "hits")] == [1, 9, 10], rule
    assert objects.statements(mark).count(sql) == 1
    leave(wires)


# -- the test of that proxy


def test_a_hundred_psql_with_a_slow_query_share_one_execution(shared, gate, objects):
    """pg_sleep is declared; flights_held() keeps the execution until the last psql has asked."""
    daemon, mark = shared("dedupe"), objects.mark()
    sql = "select pg_sleep(0.1), flights_held(1), 'PostgreSQL';"
    psql = [binaries() / "psql", "-X", "-q", "-A", "-t", daemon.endpoint().conninfo()]
    programs = [subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                for _ in range(100)]
    try:
        eventually(lambda: len([one for one in daemon.console("SHOW CLIENTS")
                                if one["database"] == "app"]) == 100)
        for program in programs:
            program.stdin.write(sql + "\n")
            program.stdin.flush()
        eventually(lambda: waiting(daemon) == 100)
        gate.open()
        assert [program.communicate()[0] for program in programs] == 100 * ["|1|PostgreSQL\n"]
    finally:
        for program in programs:
            program.kill()
            program.wait()
    assert objects.statements(mark).count(sql) == 1 and gate.runs() == 1
    assert [counted(daemon)[name] for name in ("executed", "joined")] == [1, 99]
