"""Clients that go in the middle of something: their server is put in order, or closed, within 3 s."""
import socket
import struct

import pytest

from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.trunkline import route

BIND = w.bind("", "", ["v" * 600000])

# What is under way when the client goes, and whether its server can be used again.
SCENES = {
    "an idle transaction": (w.query("begin"), True),
    "a failed transaction": (w.query("begin; select 1/0"), True),
    "a running query": (w.query("select pg_sleep(60)"), True),
    "a query in a transaction": (w.query("begin") + w.query("select pg_sleep(60)"), True),
    "a copy": (w.query("copy abandoned from stdin") + w.copy_data(b"1\n"), True),
    "a copy in the middle of a row": (w.query("copy abandoned from stdin") + w.copy_data(b"1"), True),
    "an extended copy": (w.parse("", "copy abandoned from stdin") + w.bind() + w.execute() +
                         w.FLUSH + w.copy_data(b"1\n"), True),
    "an extended copy with its sync": (w.parse("", "copy abandoned from stdin") + w.bind() +
                                       w.execute() + w.SYNC + w.copy_data(b"1\n"), True),
    "a batch without a sync": (w.parse("", "insert into abandoned values (1)") + w.bind() +
                               w.execute(), True),
    "a flushed batch without a sync": (w.parse("", "insert into abandoned values (1)") + w.bind() +
                                       w.execute() + w.FLUSH, True),
    "a failed batch without a sync": (w.parse("", "select 1/0") + w.bind() + w.execute() + w.FLUSH,
                                      True),
    "a suspended portal": (w.parse("", "select generate_series(1, 100000)") + w.bind() +
                           w.execute("", 5) + w.FLUSH, True),
    "a big result": (w.query("select repeat('x', 1000) from generate_series(1, 100000)"), True),
    "a pipeline": ((w.parse("", "select pg_sleep(0.01)") + w.bind() + w.execute() + w.SYNC) * 20,
                   True),
    "the beginning of a message": (w.query("begin") + w.query("select 1")[:9], True),
    "the middle of a long message": (w.query("begin") + w.parse("", "select $1::text") + BIND[:400000],
                                     False),
}


@pytest.fixture(scope="module")
def narrow(postgres, tmp_path_factory):
    """A pool of one server."""
    from support.trunkline import Trunkline, configuration
    postgres.sql("drop table if exists abandoned; create table abandoned (n int);"
                 "grant all on abandoned to app")
    daemon = Trunkline(tmp_path_factory.mktemp("narrow"),
                       configuration(postgres, routes=[route(pool_size=1)])).start()
    yield daemon
    daemon.stop()


def backend(wire):
    return int(w.rows(wire.ask(w.query("select pg_backend_pid()")))[0][0])


def go(wire, how):
    if how == "a reset":
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "a farewell":
        wire.send(w.TERMINATE)
    wire.socket.close()


# Where a farewell would be a part of the message, or come after all is answered.
NO_FAREWELL = ("the beginning of a message", "the middle of a long message", "a pipeline",
               "a running query", "a query in a transaction")


@pytest.mark.parametrize("scene, how", [(scene, how) for scene in SCENES
                                        for how in ("a reset", "an end", "a farewell")
                                        if how != "a farewell" or scene not in NO_FAREWELL])
def test_state_of_a_disconnected_client_is_reset(narrow, postgres, scene, how):
    messages, again = SCENES[scene]
    with narrow.endpoint().wire() as next_one:
        with narrow.endpoint().wire() as wire:
            pid = backend(wire)
            wire.send(messages)
            if scene == "a pipeline":  # it might be over before the console is asked
                wire.until()
            else:
                eventually(lambda: int(narrow.pool()["sv_active"]) == 1 or how == "a farewell")
            go(wire, how)
        found = []
        assert seconds(lambda: found.append(backend(next_one))) < 3.5 * STRETCH
        assert (found[0] == pid) == again
        assert w.rows(next_one.ask(w.query("select count(*) from abandoned"))) == [["0"]]
        assert next_one.ask(w.query("select 1"))[-1].body == b"I"


def test_a_server_that_dies_in_the_middle_of_its_answer_ends_its_client_once(narrow, postgres):
    for _ in range(5):
        with narrow.endpoint().wire() as wire:
            pid = backend(wire)
            wire.send(w.query("select repeat('x', 1000) from generate_series(1, 20000000)"))
            wire.until("D", 100)
            postgres.sql(f"select pg_terminate_backend({pid})")
            ends = [m for m in wire.rest() if m.kind not in "TDC"]
            assert [(m.kind, m.sqlstate) for m in ends] in ([("E", "57P01")], [("E", "08006")], [])
        with narrow.endpoint().wire() as wire:
            assert backend(wire) != pid


def test_a_server_that_is_terminated_while_it_prepares_again_is_told_once(trunkline, postgres):
    """Its last word answers a Parse that its client did not send."""
    postgres.sql("drop table if exists abandoned; create table abandoned (n int);"
                 "grant all on abandoned to app")
    daemon = trunkline(relays=1, routes=[route(pool_size=2)])
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        wire.ask(w.parse("kept", "select n from abandoned"), w.SYNC)
        first = backend(other)
        other.ask(w.query("begin; lock table abandoned"))
        wire.send(w.bind("", "kept"), w.execute(), w.SYNC)
        preparing = eventually(lambda: postgres.sql(
            "select pid from pg_stat_activity where wait_event_type = 'Lock' and "
            "query = 'select n from abandoned' and pid <> %s", first))
        postgres.sql("select pg_terminate_backend(%s)", preparing[0][0])
        assert [m.sqlstate for m in wire.rest() if m.kind == "E"] == ["57P01"]


@pytest.mark.parametrize("database", ["session", "app"])
def test_a_terminated_server_is_told_once(trunkline, postgres, database):
    daemon = trunkline()
    for messages in (w.query("begin"), w.query("begin") + w.query("select pg_sleep(60)"),
                     w.query("select pg_sleep(60)"), w.parse("", "select pg_sleep(60)") + w.bind() +
                     w.execute() + w.FLUSH):
        with daemon.endpoint(database=database).wire() as wire:
            pid = backend(wire)
            wire.send(messages)
            if messages == w.query("begin"):
                wire.until()
            else:
                eventually(lambda: postgres.one(
                    f"select wait_event = 'PgSleep' from pg_stat_activity where pid = {pid}"))
            postgres.sql(f"select pg_terminate_backend({pid})")
            errors = [m.sqlstate for m in wire.rest() if m.kind == "E"]
            assert errors == ["57P01"]


# --- names that Trunkline uses itself -----------------------------------------------------------

@pytest.mark.parametrize("portal", ["other", "tl_abandoned"])
def test_a_batch_is_rolled_back_whatever_its_portals_are_called(trunkline, postgres, portal):
    postgres.sql("create table if not exists left_open (a int); truncate left_open; "
                 "grant all on left_open to app")
    endpoint = trunkline(relays=1, routes=[route(pool_size=1)]).endpoint()
    with endpoint.wire() as other:
        with endpoint.wire() as one:
            one.send(w.parse("", "insert into left_open values (1)"), w.bind(), w.execute(),
                     w.parse("x", "select 1"), w.bind(portal, "x"), w.FLUSH).until("C")
        assert w.rows(other.ask(w.query("select count(*) from left_open"))) == [["0"]]


def test_a_refusing_statement_is_no_portal_of_the_client(trunkline):
    endpoint = trunkline(relays=1, routes=[route(pool_size=1, session_state={"set": "reject"})]).endpoint()
    with endpoint.wire() as one:
        one.ask(w.query("begin"))
        one.ask(w.parse("x", "select 5"), w.bind("tl_refused", "x"), w.SYNC)
        answers = one.ask(w.parse("", "set work_mem = '77MB'"), w.SYNC)
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["0A000"]
