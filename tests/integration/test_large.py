"""What does not fit into a buffer: big results, big parameters, many of them, slow readers."""
import hashlib
import threading

import pytest

from support import wire as w
from support.patience import STRETCH, eventually
from support.trunkline import route

MEGABYTE = 1 << 20
GIGABYTE = 1024 // STRETCH ** 2  # of megabytes; less under sanitizers


def drain(wire, chunk=1 << 18):
    """Reads a result of unknown size to ReadyForQuery without keeping it: bytes and rows."""
    size = rows = 0
    while True:
        kind = wire.take(1)
        length = int.from_bytes(wire.take(4), "big") - 4
        size += length
        rows += kind == b"D"
        while length:
            length -= len(wire.take(min(length, chunk)))
        if kind == b"Z":
            return size, rows


def test_a_result_of_100_megabytes_passes_in_bounded_memory(endpoint, request):
    daemon = None if endpoint.port == request.getfixturevalue("postgres").port else \
        request.getfixturevalue("pooler")
    with endpoint.wire() as wire:
        before = daemon.memory() if daemon else 0
        wire.send(w.query("select repeat('x', 1000) from generate_series(1, 100000)"))
        size, rows = drain(wire)
        assert rows == 100000 and size > 100 * 1000 * 1000
        if daemon:
            assert daemon.memory() - before < 16 * MEGABYTE


def test_a_result_of_a_gigabyte_passes_in_bounded_memory(pooler):
    with pooler.endpoint(database="transaction").wire() as wire:
        before = pooler.memory()
        wire.send(w.query(f"select repeat('x', {MEGABYTE}) from generate_series(1, {GIGABYTE})"))
        size, rows = drain(wire)
        assert rows == GIGABYTE and size > GIGABYTE * MEGABYTE
        assert pooler.memory() - before < 16 * MEGABYTE


@pytest.mark.parametrize("size", [1 << 18, 50 * MEGABYTE])
def test_every_kind_of_message_may_be_large(endpoint, size):
    """Query, Parse, Bind and CopyData; a Parse with a name is held and has a limit of its own."""
    text = "z" * size
    named = text[:15 * MEGABYTE]
    with endpoint.wire() as wire:
        assert w.rows(wire.ask(w.query(f"select length('{text}')"))) == [[str(size)]]
        for name, value in (("", text), ("named", named)):
            answers = wire.ask(w.parse(name, f"select length('{value}')"), w.bind(statement=name),
                               w.execute(), w.SYNC)
            assert w.rows(answers) == [[str(len(value))]]
        answers = wire.ask(w.parse("", "select length($1::text)"), w.bind(values=[text]),
                           w.execute(), w.SYNC)
        assert w.rows(answers) == [[str(size)]]
        wire.ask(w.query("begin; create temp table large (t text) on commit drop"))
        wire.send(w.query("copy large from stdin"))
        wire.until("G")
        assert w.kinds(wire.ask(w.copy_data(text.encode() + b"\n"), w.COPY_DONE)) == "C Z"
        assert w.rows(wire.ask(w.query("select sum(length(t)) from large"))) == [[str(size)]]
        wire.ask(w.query("rollback"))


def test_a_single_row_of_64_megabytes_passes_in_bounded_memory(endpoint, request):
    daemon = None if endpoint.port == request.getfixturevalue("postgres").port else \
        request.getfixturevalue("pooler")
    with endpoint.wire() as wire:
        before = daemon.memory() if daemon else 0
        wire.send(w.query("select repeat('y', 64 << 20)"))
        size, rows = drain(wire)
        assert rows == 1 and size > 64 * MEGABYTE
        if daemon:
            assert daemon.memory() - before < 16 * MEGABYTE


def test_a_parameter_of_32_megabytes_arrives_whole(endpoint):
    value = b"parameter " * (32 * MEGABYTE // 10)
    with endpoint.wire() as wire:
        answers = wire.ask(w.parse("", "select md5($1::text)"), w.bind(values=[value]),
                           w.execute(), w.SYNC)
        assert w.rows(answers) == [[hashlib.md5(value).hexdigest()]]


def test_a_simple_query_of_4_megabytes_arrives_whole(endpoint):
    text = "z" * (4 * MEGABYTE)
    with endpoint.wire() as wire:
        assert w.rows(wire.ask(w.query(f"select length('{text}')"))) == [[str(len(text))]]


def test_a_statement_of_64_kilobytes_can_be_prepared(endpoint):
    text = "select length('" + "x" * 65536 + "')"
    with endpoint.wire() as wire:
        wire.ask(w.parse("long", text), w.SYNC)
        for _ in range(2):
            answers = wire.ask(w.bind(statement="long"), w.execute(), w.SYNC)
            assert w.rows(answers) == [["65536"]]


@pytest.mark.parametrize("size", [8187, 8192, 16379, 16384, 32763, 65531, 65536, 131072])
def test_a_message_of_just_the_size_of_a_buffer_passes(endpoint, size):
    with endpoint.wire() as wire:
        value = "v" * size
        answers = wire.ask(w.parse("", "select $1::text"), w.bind(values=[value]), w.execute(),
                           w.SYNC)
        assert w.rows(answers) == [[value]]


def test_both_sides_may_send_much_at_once(endpoint):
    """The client writes a pipeline far larger than any buffer before it reads a single answer."""
    value = "w" * 50000
    with endpoint.wire() as wire:
        def write():
            for _ in range(400):
                wire.send(w.parse("", "select $1::text"), w.bind(values=[value]), w.execute(),
                          w.SYNC)
        writer = threading.Thread(target=write)
        writer.start()
        answers = wire.until("Z", 400)
        writer.join()
        assert len(w.rows(answers)) == 400


def test_a_client_that_does_not_read_delays_no_other_client(endpoint, proxy):
    bad = proxy(endpoint.host, endpoint.port)
    with endpoint.at(host="127.0.0.1", port=bad.port).wire() as lazy, endpoint.wire() as other:
        bad.stuck("down")
        lazy.send(w.query("select repeat('x', 1000) from generate_series(1, 50000)"))
        eventually(lambda: w.rows(other.ask(w.query(
            "select count(*) from pg_stat_activity where query like '%repeat%' "
            "and state = 'active' and pid <> pg_backend_pid()"))) == [["1"]])
        for number in range(50):
            assert w.rows(other.ask(w.query(f"select {number}"))) == [[str(number)]]
        bad.flow()
        assert drain(lazy)[1] == 50000


def test_many_columns_and_many_rows(endpoint):
    with endpoint.connect() as connection:
        columns = ", ".join(f"n + {i}" for i in range(500))
        rows = connection.execute(f"select {columns} from generate_series(1, 50) n").fetchall()
        assert rows[49][499] == 549


@pytest.mark.parametrize("database", ["session", "transaction"])
def test_a_reply_after_a_long_result_comes_at_once(pooler, database):
    """Long answers are gathered on their way; short ones, in whatever form, are not waited for."""
    big = "select repeat('x', 1000) from generate_series(1, 2000)"
    with pooler.endpoint(database=database).wire() as wire:
        for _ in range(3):
            wire.send(w.query(big + "; select 1"))
            assert drain(wire)[1] == 2001
        wire.send(w.parse("", big), w.bind(), w.execute(rows=1999), w.FLUSH)
        while wire.receive().kind != "s":
            pass
        wire.send(w.execute(rows=10), w.FLUSH)
        assert wire.receive().kind == "D"
        assert wire.receive().kind == "C"
        wire.send(w.SYNC)
        wire.until()


def test_a_notification_comes_after_a_long_answer(pooler):
    endpoint = pooler.endpoint(database="session")
    with endpoint.wire() as wire, endpoint.wire() as other:
        wire.ask(w.query("listen news"))
        wire.send(w.query("select repeat('x', 1000) from generate_series(1, 2000)"))
        assert drain(wire)[1] == 2000
        other.ask(w.query("notify news"))
        assert wire.receive().kind == "A"


@pytest.mark.parametrize("count", [100, 4000])
def test_a_batch_may_close_more_statements_than_fit_into_a_buffer(trunkline, count):
    daemon = trunkline(relays=1, chunk_size="16KiB", routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as one:
        for n in range(0, count, 100):
            one.ask(*[w.parse(f"n{k}", "") for k in range(n, n + 100)], w.SYNC)
        answers = one.ask(w.parse("", "select 1"), w.bind(), w.execute(),
                          *[w.close("S", f"n{k}") for k in range(count)], w.SYNC)
        assert len([m for m in answers if m.kind == "3"]) == count
