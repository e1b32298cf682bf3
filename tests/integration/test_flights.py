"""One execution for all who ask the same at once: what they get, and what is never shared."""
import contextlib
import socket
import threading
import time

import psycopg
import pytest
from support import wire as w
from support.flights import EXTENDED, ROW, SIMPLE, SQL, crowd, leave, sharing, waiting
from support.patience import STRETCH, eventually
from support.trunkline import route


@pytest.fixture
def objects(flights_objects):
    return flights_objects


@pytest.fixture
def flights(trunkline, objects):
    """flights(mode="ttl", ttl="1s", relays=4): a daemon with one rule."""
    return lambda *mode, **rule: trunkline(**sharing(*mode, **rule))


@pytest.mark.parametrize("message", [SIMPLE, EXTENDED], ids=["simple", "extended"])
def test_a_hundred_clients_share_one_execution(flights, gate, message):
    daemon = flights()
    wires = crowd(daemon, 100, message)
    eventually(lambda: gate.busy() == 1)
    assert gate.runs() == 1
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    assert gate.runs() == 1
    for wire in wires[:3]:
        assert w.rows(wire.ask(w.query("select 7"))) == [["7"]]
    leave(wires)


def test_a_declared_pg_sleep_is_executed_once(flights, objects):
    daemon, sql = flights(), f"select 5, pg_sleep({2 * STRETCH})"
    wires = [daemon.endpoint().wire() for _ in range(100)]
    mark = objects.mark()
    for wire in wires:
        wire.send(w.query(sql))
    for wire in wires:
        assert w.rows(wire.until()) == [["5", ""]]
    assert objects.statements(mark).count(sql) == 1
    leave(wires)


def test_five_hundred_clients_use_one_server(flights, gate):
    """Another one may be idle: each relay has its own, and the first login has opened one at its relay."""
    daemon = flights()
    wires = crowd(daemon, 500)
    eventually(lambda: gate.busy() == 1)
    servers = [row["state"] for row in daemon.console("SHOW SERVERS")]
    assert servers.count("active") == 1 and len(servers) <= 2, servers
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    assert gate.runs() == 1
    leave(wires)


def test_clients_of_all_relays_share(flights, gate):
    daemon = flights(relays=4)
    wires = crowd(daemon, 40)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    assert gate.runs() == 1
    leave(wires)


@pytest.mark.parametrize("how", ["closes", "cancels", "terminates", "killed"])
def test_the_first_client_may_leave(flights, gate, how):
    daemon = flights()
    first, = crowd(daemon, 1)
    eventually(lambda: gate.busy() == 1)
    wires = [daemon.endpoint().wire().send(SIMPLE) for _ in range(5)]
    eventually(lambda: waiting(daemon) == 6)
    if how == "closes":
        first.socket.close()
    elif how == "terminates":
        first.send(w.TERMINATE)
        first.socket.close()
    elif how == "cancels":
        first.cancel_elsewhere()
        assert [m.sqlstate for m in first.until() if m.kind == "E"] == ["57014"]
        assert w.rows(first.ask(w.query("select 7"))) == [["7"]]
    else:
        oldest = min(daemon.console("SHOW CLIENTS"), key=lambda one: one["id"])
        daemon.console(f"KILL_CLIENT {oldest['id']}")
        assert "57P01" in [m.sqlstate for m in first.rest() if m.kind == "E"]
    eventually(lambda: waiting(daemon) == 5)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    assert gate.runs() == 1
    leave([first, *wires])


@pytest.mark.parametrize("how", ["close", "cancel"])
def test_the_last_client_that_leaves_ends_the_execution(flights, gate, how):
    daemon = flights()
    wires = crowd(daemon, 3)
    eventually(lambda: gate.busy() == 1)
    for wire in wires:
        if how == "close":
            wire.socket.close()
        else:
            wire.cancel_elsewhere()
            assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["57014"]
    eventually(lambda: gate.busy() == 0)
    gate.open()
    with daemon.endpoint().wire() as wire:
        assert w.rows(wire.ask(SIMPLE)) == ROW
    assert gate.runs() == 2
    leave(wires)


def test_a_client_waits_no_longer_than_its_query_timeout(flights, gate):
    daemon = flights(settings={"query_timeout": "1s"})
    wire, = crowd(daemon, 1)
    assert "57014" in [m.sqlstate for m in wire.rest() if m.kind == "E"]
    eventually(lambda: gate.busy() == 0)


def test_an_error_goes_to_all_and_is_not_stored(flights, gate):
    daemon = flights("ttl", ttl="1h")
    message = w.query("select flights_fails(1)")
    wires = crowd(daemon, 10, message)
    gate.open()
    for wire in wires:
        answers = wire.until()
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["22012"]
        assert not w.rows(answers)
    assert gate.runs() == 1
    assert [m.sqlstate for m in wires[0].ask(message) if m.kind == "E"] == ["22012"]
    assert gate.runs() == 2
    leave(wires)


def extended(*values, formats=(), sql="select a, b, flights_held(1) from flights_rows where a = $1"):
    return (w.parse("", sql, [23]) + w.bind(values=values, result_formats=formats) +
            w.describe("P") + w.execute() + w.SYNC)


@pytest.mark.parametrize("one, two", [
    ({}, {"TimeZone": "Asia/Tokyo"}),
    ({}, {"DateStyle": "German"}),
    ({}, {"search_path": "flights_other, public"}),
    ({}, {"extra_float_digits": "0"}),
    ({}, {"client_encoding": "LATIN1"}),
], ids=["TimeZone", "DateStyle", "search_path", "extra_float_digits", "client_encoding"])
def test_other_parameters_do_not_share(flights, gate, one, two):
    daemon = flights()
    wires = crowd(daemon, 1, **one)
    wires += [daemon.endpoint().wire(**two).send(SIMPLE)]
    eventually(lambda: gate.busy() == 2)
    gate.open()
    assert w.rows(wires[0].until()) == ROW
    other = "other" if "search_path" in two else "one"
    assert w.rows(wires[1].until()) == [["1", other, "1"]]
    leave(wires)


def test_other_users_do_not_share(flights, gate):
    daemon = flights()
    wires = crowd(daemon, 1)
    wires += [daemon.endpoint(user="reports").wire().send(SIMPLE)]
    eventually(lambda: gate.busy() == 2)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    leave(wires)


@pytest.mark.parametrize("one, two", [
    (extended("1"), extended("2")),
    (extended("1"), extended("1", formats=[1])),
    (SIMPLE, w.query(SQL + " ")),
    (SIMPLE, EXTENDED),
], ids=["values", "formats", "text", "protocol"])
def test_other_statements_do_not_share(flights, gate, one, two):
    daemon = flights()
    wires = crowd(daemon, 1, one)
    wires += [daemon.endpoint().wire().send(two)]
    eventually(lambda: gate.busy() == 2)
    gate.open()
    answers = [wire.until() for wire in wires]
    assert all("E" not in w.kinds(one) and w.kinds(one).endswith("D C Z") for one in answers)
    leave(wires)


def test_application_name_does_not_matter(flights, gate):
    daemon = flights()
    wires = crowd(daemon, 1, application_name="one")
    wires += [daemon.endpoint().wire(application_name="two").send(SIMPLE)]
    eventually(lambda: waiting(daemon) == 2)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    assert gate.runs() == 1
    leave(wires)


def test_each_client_gets_the_messages_of_what_it_sent(flights, gate):
    daemon = flights()
    named = daemon.endpoint().wire()
    assert w.kinds(named.ask(w.parse("s", SQL), w.SYNC)) == "1 Z"
    wires = crowd(daemon, 2, EXTENDED)
    named.send(w.bind("", "s") + w.execute() + w.SYNC)
    bare = daemon.endpoint().wire().send(w.parse("", SQL) + w.bind() + w.execute() + w.SYNC)
    eventually(lambda: waiting(daemon) == 4)
    gate.open()
    assert [w.kinds(wire.until()) for wire in wires] == ["1 2 T D C Z"] * 2
    assert w.kinds(named.until()) == "2 D C Z"
    assert w.kinds(bare.until()) == "1 2 D C Z"
    assert gate.runs() == 1
    leave([named, bare, *wires])


@pytest.mark.parametrize("body", [b"select 7\0select 8\0", b"select 7"], ids=["behind", "endless"])
def test_a_query_that_is_no_string_is_not_answered_as_another(flights, objects, body):
    daemon = flights("ttl", ttl="1h")
    with daemon.endpoint().wire() as wire, objects.endpoint().wire() as direct:
        assert w.rows(wire.ask(w.query("select 7"))) == [["7"]]
        answers = wire.ask(w.message("Q", body))
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["08P01"]
        assert w.kinds(answers) == w.kinds(direct.ask(w.message("Q", body))) == "E Z"


def test_an_unnamed_statement_that_was_not_sent_can_be_bound(flights, gate):
    daemon = flights("ttl", ttl="1h")
    gate.open()
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as two:
        assert w.rows(one.ask(EXTENDED)) == ROW
        assert w.rows(two.ask(EXTENDED)) == ROW and gate.runs() == 1
        two.ask(w.parse("b", "begin"), w.bind("", "b"), w.execute(), w.SYNC)
        answers = two.ask(w.bind(), w.execute(), w.SYNC)
        assert w.kinds(answers) == "2 D C Z" and w.rows(answers) == ROW
        assert gate.runs() == 2


def test_a_query_from_memory_ends_the_unnamed_statement(flights, gate):
    daemon = flights("ttl", ttl="1h")
    gate.open()
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as two:
        assert w.rows(one.ask(SIMPLE)) == ROW
        two.ask(w.parse("", "select 1"), w.SYNC)
        assert w.rows(two.ask(SIMPLE)) == ROW and gate.runs() == 1
        answers = two.ask(w.bind(), w.execute(), w.SYNC)
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["26000"]


def test_a_write_seals_what_began_before(flights, gate, objects):
    daemon = flights()
    wires = crowd(daemon, 1)
    eventually(lambda: gate.busy() == 1)
    with daemon.connect() as writer:
        writer.execute("update flights_rows set b = 'new' where a = 1")
        try:
            wires += [daemon.endpoint().wire().send(SIMPLE)]
            eventually(lambda: gate.busy() == 2)
            gate.open()
            assert w.rows(wires[0].until()) == ROW
            assert w.rows(wires[1].until()) == [["1", "new", "1"]]
        finally:
            writer.execute("update flights_rows set b = 'one' where a = 1")
    leave(wires)


@pytest.mark.parametrize("statements", [
    ["select 1", "select b from flights_rows", "set datestyle = iso", "begin", "rollback"],
    ["begin", "select b from flights_rows", "commit"],
    ["begin read only", "select 1", "end"],
], ids=["outside", "transaction", "read_only"])
def test_reads_seal_nothing(flights, gate, statements):
    daemon = flights()
    wires = crowd(daemon, 1)
    eventually(lambda: gate.busy() == 1)
    with daemon.endpoint().wire() as other:
        for sql in statements:
            assert "E" not in w.kinds(other.ask(w.query(sql)))
            if sql not in ("begin", "commit"):
                answers = other.ask(w.parse("", sql), w.bind(), w.execute(), w.SYNC)
                assert "E" not in w.kinds(answers)
    wires += [daemon.endpoint().wire().send(SIMPLE)]
    eventually(lambda: waiting(daemon) == 2)
    assert gate.busy() == 1
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    assert gate.runs() == 1
    leave(wires)


WRITE = "insert into flights_rows values (90, 'x'); delete from flights_rows where a = 90"


@pytest.mark.parametrize("steps", [
    [w.query(WRITE)],
    [w.query("begin"), w.query(WRITE), w.query("commit")],
    [w.query("select nextval('flights_runs')")],
    [w.query("select\nnextval('flights_runs')")],
    [w.query("\n (select*from nextval('flights_runs'))")],
    [w.parse("", "select'a', nextval('flights_runs')") + w.bind() + w.execute() + w.SYNC],
    [w.parse("", "update flights_rows set b = b") + w.bind() + w.execute() + w.SYNC],
    [w.parse("s", "update flights_rows set b = b") + w.SYNC, w.bind("", "s") + w.execute() + w.SYNC],
    [w.query("/* select */ update flights_rows set b = b")],
    [w.query("copy flights_rows from stdin") + w.COPY_DONE],
    [w.query("prepare p as update flights_rows set b = b"), w.query("execute p")],
], ids=["simple", "transaction", "function", "newline", "parenthesis", "no_blank", "unnamed", "named", "comment", "copy",
        "sql_prepared"])
def test_each_kind_of_write_seals(flights, gate, steps):
    daemon = flights()
    wires = crowd(daemon, 1)
    eventually(lambda: gate.busy() == 1)
    with daemon.endpoint().wire() as writer:
        for step in steps:
            assert "E" not in w.kinds(writer.ask(step))
    wires += [daemon.endpoint().wire().send(SIMPLE)]
    eventually(lambda: gate.busy() == 2)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    leave(wires)


def test_transactions_do_not_share(flights, gate):
    daemon = flights()
    wires = crowd(daemon, 1)
    other = daemon.endpoint().wire()
    other.ask(w.query("begin"))
    other.send(SIMPLE)
    eventually(lambda: gate.busy() == 2)
    gate.open()
    assert w.rows(wires[0].until()) == ROW and w.rows(other.until()) == ROW
    leave([other, *wires])


def test_serializable_sessions_do_not_share(flights, gate):
    daemon = flights()
    wires = [daemon.endpoint().wire(default_transaction_isolation="serializable").send(SIMPLE)
             for _ in range(2)]
    eventually(lambda: gate.busy() == 2)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    leave(wires)


@pytest.mark.parametrize("sql", [
    "select random()", "select clock_timestamp()", "select nextval('flights_runs')",
    "select a, random() from flights_rows", "select txid_current()"])
def test_volatile_functions_are_never_answered_from_memory(flights, sql):
    daemon = flights("ttl", ttl="1h")
    with daemon.endpoint().wire() as wire:
        answers = [w.rows(wire.ask(w.query(sql))) for _ in range(4)]
    assert len({str(one) for one in answers}) == 4


def test_a_stored_answer_is_not_older_than_its_ttl(flights, objects):
    objects.sql("create table flights_versions (n int); insert into flights_versions values (0);"
                " grant all on flights_versions to public")
    daemon, ttl = flights("ttl", ttl="100ms"), 0.1
    committed, done = {}, threading.Event()

    def write():
        with objects.endpoint().connect() as writer:
            for n in range(1, 400):
                writer.execute("update flights_versions set n = %s", [n])
                committed[n] = time.monotonic()
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    reads = 0
    with daemon.endpoint().wire() as wire:
        while not done.is_set():
            asked = time.monotonic()
            seen = int(w.rows(wire.ask(w.query("select n from flights_versions")))[0][0])
            owed = max([n for n, at in list(committed.items()) if at <= asked - ttl], default=0)
            assert seen >= owed
            reads += 1
    thread.join()
    assert reads > 0


def test_a_stored_answer_is_used(flights, gate):
    daemon = flights("ttl", ttl="1h")
    gate.open()
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as two:
        for _ in range(3):
            assert w.rows(one.ask(SIMPLE)) == ROW
            assert w.rows(two.ask(SIMPLE)) == ROW
            assert w.kinds(two.ask(EXTENDED)) == "1 2 T D C Z"
    assert gate.runs() == 2  # one of each protocol


LONG = ("select repeat(chr(64 + i), 1000000) from generate_series(1, 20) i"
        " where flights_held(1) = 1")


def test_long_rows_reach_all(flights, gate):
    daemon = flights()
    wires = crowd(daemon, 8, w.query(LONG))
    gate.open()
    found = [None] * len(wires)

    def read(i):
        found[i] = [row[0] for row in w.rows(wires[i].until())]

    readers = [threading.Thread(target=read, args=(i,)) for i in range(len(wires))]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    wanted = [chr(65 + i) * 1000000 for i in range(20)]
    assert all(one == wanted for one in found)
    assert gate.runs() == 20  # once for each row
    leave(wires)


def test_a_slow_reader_stops_nobody(flights, gate):
    daemon = flights()
    wires = crowd(daemon, 4, w.query(LONG))
    gate.open()
    for wire in wires[1:]:  # the first one does not read
        assert len(w.rows(wire.until())) == 20
    assert w.rows(wires[1].ask(w.query("select 7"))) == [["7"]]
    leave(wires)


def so_far(wire):
    """Up to ReadyForQuery, or the end of the connection."""
    answers = []
    with contextlib.suppress(EOFError, ConnectionError):
        while not answers or answers[-1].kind != "Z":
            answers.append(wire.receive())
    return answers


@pytest.mark.parametrize("count", [1, 4])
def test_answers_under_way_are_bounded(flights, gate, count):
    """Clients that do not read stop the execution, not the daemon; its memory is two of these."""
    daemon = flights(memory="4MiB")
    wires = crowd(daemon, count, w.query(LONG))
    gate.open()
    other = daemon.endpoint().wire()
    assert w.rows(other.ask(w.query("select 7"))) == [["7"]]
    for wire in wires:
        wanted = [[chr(65 + i) * 1000000] for i in range(20)]
        answers = so_far(wire)
        assert w.rows(answers) == wanted[:len(w.rows(answers))]
        assert wire is not wires[0] or len(w.rows(answers)) == 20
    assert gate.runs() == 20  # once for each row
    leave([other, *wires])


def test_a_stored_answer_goes_to_slow_readers(flights, gate):
    daemon = flights("ttl", ttl="1h", max_result="10MiB", memory="1GiB")
    sql = "select repeat('x', 8000000), flights_held(1)"
    gate.open()
    wires = [daemon.endpoint().wire() for _ in range(4)]
    for wire in wires:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    assert len(w.rows(wires[0].ask(w.query(sql)))) == 1
    for wire in wires:
        wire.send(w.query(sql))
    eventually(lambda: waiting(daemon) > 0)
    for wire in wires:
        assert [len(row[0]) for row in w.rows(wire.until())] == [8000000]
        assert w.rows(wire.ask(w.query("select 7"))) == [["7"]]
    assert gate.runs() == 1
    leave(wires)


def test_a_server_that_is_killed_before_the_first_row_is_replaced(flights, gate):
    daemon = flights()
    wires = crowd(daemon, 10)
    eventually(lambda: gate.busy() == 1)
    gate.kill()
    eventually(lambda: gate.runs() == 2 and gate.busy() == 1)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    assert gate.runs() == 2
    leave(wires)


def test_a_server_that_is_killed_again_and_again_is_an_error(flights, gate):
    daemon = flights()
    wires = crowd(daemon, 3)
    for runs in (1, 2, 3):
        eventually(lambda runs=runs: gate.runs() == runs and gate.busy() == 1)
        gate.kill()
    for wire in wires:
        eventually(lambda: gate.busy() == 0)
        state = [m.sqlstate for m in wire.rest() if m.kind == "E"]
        assert state and state[-1] in ("57P01", "08006")
    assert gate.runs() == 3
    leave(wires)


def test_a_shutdown_does_not_wait_for_flights_for_ever(flights, gate):
    daemon = flights()
    wires = crowd(daemon, 3)
    daemon.program.send_signal(15)
    gate.open()
    for wire in wires:
        answers = wire.rest()
        assert w.rows(answers) == ROW or "57P01" in [m.sqlstate for m in answers if m.kind == "E"]
    assert daemon.program.wait() == 0  # before a second signal ends it at once
    leave(wires)


def test_clients_of_one_flight_wait_for_a_server_once(trunkline, postgres):
    """claim_timeout is not begun again by the flight's further executions."""
    daemon = trunkline(routes=[route(pool_size=1, claim_timeout="1500ms",
                                     cache=[{"mode": "dedupe"}])])
    with daemon.connect(autocommit=False) as holder, daemon.connect() as client:
        client.execute("select 2")  # from now on there is a verdict
        holder.execute("select 1")
        begin = time.monotonic()
        with pytest.raises(psycopg.errors.TooManyConnections):
            client.execute("select 2")
        assert time.monotonic() - begin < 2 * 1.5 * STRETCH


def test_a_value_that_means_the_present_time_is_executed(trunkline):
    """The text alone does not show it: 'now' as a parameter that the text casts."""
    daemon = trunkline(routes=[route(cache=[{"mode": "ttl", "ttl": "60s"}])])
    text = "select %s::timestamptz"
    with daemon.connect() as client:
        assert len({client.execute(text, ["now"]).fetchone() for _ in range(3)}) == 3
        assert len({client.execute(text, ["2001-01-01"]).fetchone() for _ in range(3)}) == 1
    rule, = daemon.console("SHOW CACHE_RULES")
    assert rule["hits"] == 2 and rule["refused"] == 3, rule


def test_a_statement_that_was_refused_begins_no_flight_again(trunkline):
    daemon = trunkline(routes=[route(cache=[{"mode": "dedupe"}])])
    with daemon.connect() as client:
        for _ in range(5):
            client.execute("select random()")
        rule, = daemon.console("SHOW CACHE_RULES")
        assert rule["refused"] == 5, rule
        reasons = {row["reason"]: row for row in daemon.console("SHOW CACHE_REASONS")}
        assert "volatile" in reasons


def test_the_daemon_s_own_sessions_are_no_clients_on_the_console(trunkline):
    """One waits for the next execution behind each."""
    daemon = trunkline(**sharing(relays=1))
    with daemon.connect() as client:
        for number in range(3):
            client.execute(f"select abs({number})")
        assert daemon.console("SHOW CACHE_RULES")[0]["executed"] == 3
        assert len([row for row in daemon.console("SHOW CLIENTS") if row["database"] == "app"]) == 1
        assert [row["cl_active"] for row in daemon.console("SHOW POOLS") if row["database"] == "app"] == [1]
        lists = {row["list"]: row["items"] for row in daemon.console("SHOW LISTS")}
        assert lists["used_clients"] == 2  # and the console's


def limited(limit):
    return {"options": f"-c statement_timeout={limit}"}


def errors(messages):
    return [m.sqlstate for m in messages if m.kind == "E"]


def test_each_client_has_its_own_statement_timeout(flights, gate):
    daemon = flights()
    patient = crowd(daemon, 1, **limited("1h"))[0]
    eventually(lambda: gate.busy() == 1)
    hasty = [daemon.endpoint().wire(**limited(value)).send(SIMPLE)
             for value in ("300ms", "300", f"{STRETCH}s")]
    for wire in hasty:
        answers = wire.until()
        assert errors(answers) == ["57014"]
        assert "statement timeout" in str(answers)
        assert w.rows(wire.ask(w.query("select 7"))) == [["7"]]
    assert gate.busy() == 1
    gate.open()
    assert w.rows(patient.until()) == ROW
    assert gate.runs() == 1
    leave([patient, *hasty])


def test_the_execution_ends_with_the_last_statement_timeout(flights, gate):
    daemon = flights()
    wires = [daemon.endpoint().wire(**limited("500ms")).send(SIMPLE) for _ in range(5)]
    for wire in wires:
        assert errors(wire.until()) == ["57014"]
    eventually(lambda: gate.busy() == 0)
    assert gate.runs() == 1
    leave(wires)


def test_a_statement_timeout_that_is_set_or_not_is_not_shared(flights, gate):
    daemon = flights()
    wires = crowd(daemon, 1) + [daemon.endpoint().wire(**limited(0)).send(SIMPLE)]
    eventually(lambda: gate.busy() == 2)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    leave(wires)


def test_parameters_of_idle_sessions_do_not_matter(flights, gate):
    daemon = flights()
    idle = {"options": "-c idle_in_transaction_session_timeout=9s -c tcp_keepalives_idle=50"}
    wires = crowd(daemon, 1) + [daemon.endpoint().wire(**idle).send(SIMPLE)]
    eventually(lambda: waiting(daemon) == 2)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    assert gate.runs() == 1
    leave(wires)


def test_a_statement_timeout_ends_a_reply_that_has_begun(flights, gate):
    sql = ("select g, repeat('x', 20000), flights_held(case when g < 10 then 2 else 1 end)"
           " from generate_series(1, 10) g")
    daemon = flights()
    patient = crowd(daemon, 1, w.query(sql), **limited("1h"))[0]
    wires = [daemon.endpoint().wire(**limited("1s")) for _ in range(2)]
    wires[0].send(w.query(sql))
    wires[1].send(w.parse("", sql) + w.bind() + w.describe("P") + w.execute() + w.SYNC)
    for wire in wires:
        answers = wire.until()
        rows = w.rows(answers)
        assert errors(answers) == ["57014"]
        assert 0 < len(rows) < 10 and all(len(row[1]) == 20000 for row in rows)
        assert w.rows(wire.ask(w.query("select 7"))) == [["7"]]
    gate.open()
    assert len(w.rows(patient.until())) == 10
    leave([patient, *wires])


@pytest.fixture
def limited_role(objects):
    objects.sql(f"alter role reports set statement_timeout = '{2 * STRETCH}s'")
    yield "reports"
    objects.sql("alter role reports reset statement_timeout")


def test_a_limit_of_the_role_counts_from_when_a_client_came(flights, gate, limited_role):
    daemon = flights()
    first, later = (daemon.endpoint(user=limited_role).wire() for _ in range(2))
    first.send(SIMPLE)
    eventually(lambda: gate.busy() == 1)
    later.send(SIMPLE)
    eventually(lambda: waiting(daemon) == 2)
    assert errors(first.until()) == ["57014"]
    eventually(lambda: gate.runs() == 2)
    gate.open()
    assert w.rows(later.until()) == ROW
    leave([first, later])
