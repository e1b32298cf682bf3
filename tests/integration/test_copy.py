"""COPY in both directions, in both protocols, with an end that either side may spoil."""
import pytest

from support import wire as w
from support.patience import eventually


@pytest.fixture
def table(endpoint):
    """An empty table of the test's own."""
    name = "copied"
    with endpoint.connect() as connection:
        connection.execute(f"drop table if exists {name}; create table {name} (n int, t text)")
        yield name
        connection.execute(f"drop table {name}")


@pytest.fixture
def wire(endpoint):
    with endpoint.wire() as client:
        yield client


def simple(wire, sql):
    """Begins a COPY FROM STDIN by a simple query."""
    wire.send(w.query(sql))
    assert w.kinds(wire.until("G")) == "G"


def extended(wire, sql):
    """Begins one by Parse, Bind, Execute."""
    wire.send(w.parse("", sql), w.bind(), w.execute(), w.FLUSH)
    assert w.kinds(wire.until("G")) == "1 2 G"


def finish(wire, begin, *messages):
    """What answers the end of a COPY; the extended protocol owes a Sync after it."""
    return wire.ask(*messages, *([w.SYNC] if begin is extended else []))


both = pytest.mark.parametrize("begin", [simple, extended])


@both
def test_copy_in_stores_every_row(wire, table, begin):
    begin(wire, f"copy {table} from stdin")
    for number in range(1000):
        wire.send(w.copy_data(f"{number}\trow {number}\n".encode()))
    answers = finish(wire, begin, w.COPY_DONE)
    assert w.kinds(answers) == "C Z" and answers[0].tag == "COPY 1000"
    assert w.rows(wire.ask(w.query(f"select count(*), max(n) from {table}"))) == [["1000", "999"]]


@both
def test_copy_in_that_the_client_gives_up_stores_nothing(wire, table, begin):
    begin(wire, f"copy {table} from stdin")
    answers = finish(wire, begin, w.copy_data(b"1\tone\n"), w.copy_fail("changed my mind"))
    assert w.kinds(answers) == "E Z" and answers[0].sqlstate == "57014"
    assert w.rows(wire.ask(w.query(f"select count(*) from {table}"))) == [["0"]]


@both
def test_data_after_a_failed_copy_in_is_discarded(wire, table, begin):
    begin(wire, f"copy {table} from stdin")
    wire.send(w.copy_data(b"not a number\tx\n"))
    assert wire.until("E")[-1].sqlstate == "22P02"
    for number in range(2000):
        wire.send(w.copy_data(f"{number}\tlate\n".encode()))
    wire.send(w.COPY_DONE)
    if begin is extended:
        wire.send(w.SYNC)
    assert w.kinds(wire.until("Z")) == "Z"
    assert w.rows(wire.ask(w.query(f"select count(*) from {table}"))) == [["0"]]


def test_copy_data_that_comes_after_the_error_was_answered_is_ignored(wire, table):
    """The client hears ReadyForQuery before it has stopped sending: no answer is owed for that."""
    simple(wire, f"copy {table} from stdin")
    wire.send(w.copy_data(b"not a number\tx\n"))
    assert wire.until("Z")[-1].body == b"I"
    wire.send(w.copy_data(b"1\tlate\n"), w.copy_data(b"2\tlater\n"), w.COPY_DONE)
    answers = wire.ask(w.query("select 1"))
    assert w.kinds(answers) == "T D C Z"
    wire.send(w.copy_fail("much too late"))
    assert w.kinds(wire.ask(w.query("select 2"))) == "T D C Z"


def test_copy_in_one_big_message(wire, table):
    simple(wire, f"copy {table} from stdin")
    body = b"".join(b"%d\t%s\n" % (number, b"x" * 100) for number in range(50000))
    answers = wire.ask(w.copy_data(body), w.COPY_DONE)
    assert answers[0].tag == "COPY 50000"


def test_copy_in_that_is_sent_in_one_go(wire, table):
    """Nobody waits for the server to ask: the Sync behind CopyDone is owed an answer."""
    wire.send(w.parse("", f"copy {table} from stdin"), w.bind(), w.execute(),
              w.copy_data(b"1\tone\n"), w.COPY_DONE, w.SYNC)
    assert w.kinds(wire.until("Z")) == "1 2 G C Z"
    assert w.rows(wire.ask(w.query(f"select count(*) from {table}"))) == [["1"]]


def test_copy_in_with_syncs_before_its_data_and_behind_its_end(wire, table):
    """The first two are read by the COPY, which ignores them; the last two are answered."""
    wire.send(w.parse("", f"copy {table} from stdin"), w.bind(), w.execute(), w.SYNC, w.SYNC,
              w.copy_data(b"1\tone\n"), w.COPY_DONE, w.SYNC, w.SYNC)
    assert w.kinds(wire.until("Z")) == "1 2 G C Z"
    assert w.kinds(wire.until("Z")) == "Z"
    assert w.rows(wire.ask(w.query(f"select count(*) from {table}"))) == [["1"]]


def test_a_sync_into_the_copy_of_a_simple_query_is_not_answered(wire, table):
    simple(wire, f"copy {table} from stdin")
    wire.send(w.SYNC, w.copy_data(b"1\tone\n"), w.COPY_DONE)
    assert w.kinds(wire.until("Z")) == "C Z"
    assert w.rows(wire.ask(w.query(f"select count(*) from {table}"))) == [["1"]]


def test_copy_out_brings_every_row(wire):
    answers = wire.ask(w.query("copy (select * from generate_series(1, 1000)) to stdout"))
    assert sum(m.kind == "d" for m in answers) == 1000
    assert [m.kind for m in answers if m.kind != "d"] == ["H", "c", "C", "Z"]


def test_copy_out_in_the_extended_protocol(wire):
    answers = wire.ask(w.parse("", "copy (select 5) to stdout"), w.bind(), w.execute(), w.SYNC)
    assert w.kinds(answers) == "1 2 H d c C Z"


def test_copy_out_that_fails_on_its_way_leaves_the_connection_in_order(wire):
    answers = wire.ask(w.query(
        "copy (select 1 / (500 - n) from generate_series(1, 1000) n) to stdout"))
    assert answers[-2].sqlstate == "22012"
    assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_copy_inside_a_transaction_keeps_the_server(wire, table):
    wire.ask(w.query("begin"))
    simple(wire, f"copy {table} from stdin")
    assert wire.ask(w.copy_data(b"1\tone\n"), w.COPY_DONE)[-1].body == b"T"
    wire.ask(w.query("rollback"))
    assert w.rows(wire.ask(w.query(f"select count(*) from {table}"))) == [["0"]]


def test_psycopg_copies_both_ways(endpoint, table):
    with endpoint.connect() as connection:
        cursor = connection.cursor()
        with cursor.copy(f"copy {table} from stdin") as copy:
            for number in range(500):
                copy.write_row((number, "x" * 50))
        with cursor.copy(f"copy (select n from {table} order by n) to stdout") as copy:
            assert [int(row[0]) for row in copy.rows()] == list(range(500))


def test_a_client_that_vanishes_in_copy_in_leaves_nothing_behind(endpoint, table, postgres):
    wire = endpoint.wire()
    simple(wire, f"copy {table} from stdin")
    wire.send(w.copy_data(b"1\tone\n"))
    wire.__exit__()
    busy = ("select count(*) from pg_stat_activity where query like 'copy %% from stdin' "
            "and state <> 'idle' and datname = %s")
    eventually(lambda: postgres.one(busy, endpoint.database) == 0)
    assert endpoint.one(f"select count(*) from {table}") == 0
