"""The audit: a line of JSON for each statement of a route that wants it."""
import json
import os
import socket
import struct
import subprocess
import threading

import pytest
import yaml
from support import wire as w
from support.flights import ROW, SIMPLE, crowd, leave, sharing
from support.patience import PATIENCE, eventually
from support.trunkline import binary, configuration, route


@pytest.fixture
def audited(trunkline, tmp_path):
    """audited(...): a daemon with an audit, and a function that returns its lines."""
    def make(audit="shape", target=None, routes=(), settings=None, **keys):
        path = tmp_path / "audit.log"
        keys.setdefault("routes", [*routes, route(audit=audit, **(settings or {}))])
        daemon = trunkline(log={"targets": [{"to": "file", "path": str(tmp_path / "log")},
                                            {"to": "file", "path": str(path), "format": "json", "events": "audit",
                                             **(target or {})}]}, **keys)
        return daemon, lambda: [json.loads(line) for line in path.read_text().splitlines()]
    return make


def test_each_statement_has_a_line(audited):
    daemon, lines = audited()
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select * from generate_series(1, 7) where 'secret' <> ''"))
        wire.ask(w.parse("", "select $1::int /* note */"), w.bind("", "", [b"42"]), w.execute(), w.SYNC)
        wire.ask(w.query("select 1 / 0"))
    eventually(lambda: len(lines()) == 3)
    first, second, third = lines()
    assert (first["rows"], first["answer"], first["database"], first["user"]) == (7, "executed", "app", "app")
    assert first["query"] == "select * from generate_series($1, $2) where $3 <> $4"
    assert first["from"].startswith("127.0.0.1:") and first["server_pid"] > 0 and len(first["fingerprint"]) == 16
    assert second["query"] == "select $1::int" and second["rows"] == 1 and "failed" not in second
    assert (third["failed"], third["sqlstate"], third["rows"]) == ("yes", "22012", 0)
    assert "secret" not in str(lines()) and "42" not in second["query"]
    assert {line["client"] for line in lines()} == {first["client"]}


def test_it_may_be_without_texts(audited):
    daemon, lines = audited("fingerprint")
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select 1"))
        wire.ask(w.query("select 2"))
    eventually(lambda: len(lines()) == 2)
    assert "query" not in lines()[0] and lines()[0]["fingerprint"] == lines()[1]["fingerprint"]


def test_routes_without_it_have_none(audited):
    daemon, lines = audited(routes=[route(database="quiet", server_database="app")])
    with daemon.endpoint(database="quiet").wire() as quiet, daemon.endpoint().wire() as wire:
        quiet.ask(w.query("select 1"))
        wire.ask(w.query("select 2"))
    eventually(lambda: len(lines()) == 1)
    assert lines()[0]["database"] == "app"


def test_hits_and_joins_are_told_from_executions(audited, gate):
    daemon, lines = audited(**sharing("ttl", ttl="60s", settings={"audit": "shape"}))
    wires = crowd(daemon, 4)
    eventually(lambda: gate.busy() == 1)
    gate.open()
    for wire in wires:
        assert w.rows(wire.until()) == ROW
    assert w.rows(wires[0].ask(SIMPLE)) == ROW
    eventually(lambda: len(lines()) == 5)
    answers = [line["answer"] for line in lines()]
    assert answers[4] == "hit" and sorted(answers[:4]) == ["executed", "joined", "joined", "joined"]
    assert all(line["took_us"] > 0 for line in lines()[:4])
    assert len({line["client"] for line in lines()}) == 4
    assert {line["query"] for line in lines()[1:]} == {"select a, b, flights_held($1) from flights_rows where a = $2"}
    leave(wires)


def test_a_failure_that_is_shared_is_told(audited, gate):
    daemon, lines = audited(**sharing("dedupe", settings={"audit": "shape"}))
    wires = crowd(daemon, 2, w.query("select a / 0, flights_held(1) from flights_rows where a = 1"))
    gate.open()
    for wire in wires:
        assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["22012"]
    eventually(lambda: len(lines()) == 2)
    assert [line["failed"] for line in lines()] == ["yes", "yes"]
    leave(wires)


def test_what_the_firewall_refuses_has_a_line(audited):
    daemon, lines = audited(settings={"firewall": {"mode": "enforce", "deny": [{"name": "no deletes", "verbs": ["delete"]}]}})
    with daemon.endpoint().wire() as wire:
        assert [m.sqlstate for m in wire.ask(w.query("delete from nowhere")) if m.kind == "E"] == ["42501"]
    eventually(lambda: len(lines()) == 1)
    line = lines()[0]
    assert (line["answer"], line["sqlstate"], line["rule"]) == ("refused", "42501", "no deletes")


def test_the_log_has_no_line_of_it_and_it_none_of_the_log(audited, tmp_path):
    daemon, lines = audited()
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select 1"))
    eventually(lambda: len(lines()) == 1)
    eventually(lambda: "client.disconnected" in (tmp_path / "log").read_text())
    assert lines()[0]["event"] == "statement" and " statement " not in (tmp_path / "log").read_text()


def fill(daemon, count):
    with daemon.endpoint().wire() as wire:
        for _ in range(count // 100):
            wire.send(b"".join(w.parse("", "select 1") + w.bind() + w.execute() for _ in range(100)) + w.SYNC)
            wire.until()


LINES = 8_000  # more than a queue and a pipe hold


@pytest.mark.parametrize("when_full", ["drop", "wait"])
def test_a_target_that_takes_nothing(audited, trunkline, tmp_path, when_full):
    """A pipe that is not read stands for a full disk or a slow one."""
    pipe = tmp_path / "audit.log"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    daemon, _ = audited(target={"when_full": when_full})
    filler = threading.Thread(target=fill, args=(daemon, LINES))
    filler.start()
    filler.join(3 if when_full == "wait" else 4 * PATIENCE)
    assert filler.is_alive() == (when_full == "wait")
    read = bytearray()
    def drained():
        try:
            read.extend(os.read(end, 1 << 20))
        except BlockingIOError:
            pass
        return not filler.is_alive() and (when_full == "drop" or read.count(b'"statement"') == LINES)
    eventually(drained, 4 * PATIENCE)
    filler.join()
    if when_full == "drop":
        def told():
            drained()
            return b"log.dropped" in read
        eventually(told)
        assert read.count(b'"statement"') < LINES
    os.close(end)


@pytest.mark.parametrize("changes, message", [
    ({"routes": [route(audit="shape")]}, "needs one of log.targets that takes its lines"),
    ({"log": {"targets": [{"to": "stderr", "events": "audit"}]}}, "the log needs one, too"),
    ({"log": {"targets": [{"to": "stderr", "when_full": "wait"}]}}, "for the audit only"),
])
def test_what_does_not_fit_is_refused(postgres, tmp_path, changes, message):
    (tmp_path / "users.txt").write_text("")
    file = tmp_path / "trunkline.yaml"
    file.write_text(yaml.safe_dump(configuration(postgres, **changes)))
    done = subprocess.run([binary(), "check", file], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and message in done.stdout + done.stderr


# -- found by an attack


def texts(lines):
    return [(line["answer"], line.get("query")) for line in lines()]


def abort(wire):
    """The client is gone without a word."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()


def test_a_reload_that_changes_what_a_target_takes(audited, tmp_path):
    daemon, lines = audited("off", target={"events": "log"})
    config = daemon.config
    config["log"]["targets"][1]["events"] = "audit"
    config["routes"][0]["audit"] = "shape"
    daemon.reload(config)
    (tmp_path / "audit.log").write_text("")
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select 1"))
    eventually(lambda: texts(lines) == [("executed", "select $1")])


@pytest.mark.parametrize("database", ["transaction", "session"])
@pytest.mark.parametrize("message", [w.query("select pg_sleep(1)"),
                                     w.parse("", "select pg_sleep(1)") + w.bind() + w.execute() + w.SYNC],
                         ids=["simple", "extended"])
def test_a_client_that_leaves_has_its_line(audited, database, message):
    daemon, lines = audited(routes=[route(database="session", pool="session", server_database="app", audit="shape"),
                                    route(database="transaction", server_database="app", audit="shape")])
    wire = daemon.endpoint(database=database).wire()
    wire.ask(w.query("select 1"))
    wire.send(message)
    eventually(lambda: int(daemon.pool(database)["sv_active"]) == 1)
    abort(wire)
    eventually(lambda: len(lines()) == 2)
    assert texts(lines)[1] == ("lost", "select pg_sleep($1)") and lines()[1]["failed"] == "yes"


def test_a_statement_that_ends_its_server_has_its_line(audited):
    daemon, lines = audited()
    with daemon.endpoint().wire() as wire:
        wire.send(w.query("select pg_terminate_backend(pg_backend_pid())"))
        eventually(lambda: len(lines()) == 1)
    assert texts(lines) == [("lost", "select pg_terminate_backend(pg_backend_pid())")]
    assert lines()[0]["sqlstate"] == "57P01"


def names(*parts):
    return b"".join(parts) + w.SYNC


def test_names_stand_for_what_was_accepted(audited, postgres):
    postgres.sql("drop table if exists audit_t; create table audit_t (n int); grant all on audit_t to public")
    daemon, lines = audited()
    delete, harmless = "delete from audit_t", "select 1"
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        wire.ask(names(w.parse("", delete), w.bind("p")))
        wire.ask(w.query("savepoint s"))
        wire.ask(names(w.parse("", harmless), w.bind("p")))
        wire.ask(w.query("rollback to s"))
        wire.ask(names(w.execute("p")))
        wire.ask(w.query("commit"))
    eventually(lambda: ("executed", "COMMIT") in texts(lines))
    assert texts(lines)[-2] == ("executed", delete)


def test_a_cursor_that_takes_the_name_of_a_portal_is_not_known(audited):
    daemon, lines = audited()
    with daemon.endpoint().wire() as wire:
        wire.ask(names(w.parse("", "select 1"), w.bind("c1"), w.execute("c1")))
        wire.ask(w.query("begin; declare c1 cursor for select usename from pg_user"))
        wire.ask(names(w.execute("c1")))
        wire.ask(w.query("commit"))
    eventually(lambda: ("executed", "COMMIT") in texts(lines))
    assert texts(lines)[-2] == ("executed", None)


def test_statements_of_a_session_stand_for_what_the_server_has(audited, postgres):
    postgres.sql("drop table if exists audit_t; create table audit_t (n int); grant all on audit_t to public")
    daemon, lines = audited(routes=[route(database="session", pool="session", server_database="app", audit="shape")])
    delete = "delete from audit_t"
    with daemon.endpoint(database="session").wire() as wire:
        wire.ask(names(w.parse("d", delete)))
        wire.ask(names(w.parse("d", "select 1")))
        wire.ask(names(w.bind("", "d"), w.execute()))
        wire.ask(names(w.parse("e", "select 1")))
        wire.ask(w.query("deallocate e"))
        wire.ask(w.query(f"prepare e as {delete}"))
        wire.ask(names(w.bind("", "e"), w.execute()))
        wire.ask(names(w.parse("", "select 1")))
        wire.ask(names(w.parse("", f"{delete} /*{'x' * 3_000_000}*/"), w.bind(), w.execute()))
        wire.ask(w.query("select 'end'"))
    eventually(lambda: texts(lines)[-1:] == [("executed", "select $1")])
    assert [text for text in texts(lines) if text[1] not in ("DEALLOCATE", "PREPARE")] == [
        ("executed", "select $1"), ("executed", delete), ("executed", None), ("executed", None),
        ("executed", "select $1")]
    assert lines()[0]["sqlstate"] == "42P05"


def test_each_statement_of_a_long_pipeline_has_a_line(audited):
    daemon, lines = audited(target={"when_full": "wait"})
    with daemon.endpoint().wire() as wire:
        wire.ask(names(w.parse("s", "select 1")))
        wire.ask(names(w.parse("", "select pg_sleep(1)"), w.bind(), w.execute(),
                       *[w.bind("", "s") + w.execute()] * 3000))
    eventually(lambda: len(lines()) == 3001, 4 * PATIENCE)
    assert {line["answer"] for line in lines()} == {"executed", "sent"}


def test_a_cached_statement_whose_client_leaves_has_a_line(audited, gate):
    daemon, lines = audited(**sharing("dedupe", settings={"audit": "shape"}))
    leader, = crowd(daemon, 1)
    abort(leader)
    eventually(lambda: len(lines()) == 1)
    assert lines()[0]["answer"] == "lost"


def test_an_answer_in_memory_that_does_not_fit_is_no_hit(audited, postgres):
    postgres.sql("drop table if exists audit_s; create table audit_s (n int); grant all on audit_s to public")
    daemon, lines = audited(settings={"cache": [{"mode": "ttl", "ttl": "60s"}]})
    bound = names(w.bind("", "s"), w.execute())
    with daemon.endpoint().wire() as wire:
        wire.ask(names(w.parse("s", "select * from audit_s"), w.describe("S", "s")))
        wire.ask(bound)
        postgres.sql("alter table audit_s add column b text")
        with daemon.endpoint().wire() as other:
            other.ask(names(w.parse("s", "select * from audit_s"), w.describe("S", "s")))
            other.ask(bound)
        eventually(lambda: len(lines()) == 2)
        wire.ask(bound)
        wire.ask(w.query("show work_mem"))
    eventually(lambda: ("executed", "SHOW") in texts(lines))
    assert [line["answer"] for line in lines()] == ["executed"] * 4


def test_a_statement_behind_a_refused_one_has_no_line(audited):
    daemon, lines = audited(settings={"firewall": {"mode": "enforce", "deny": [{"name": "no", "verbs": ["delete"]}]}})
    with daemon.endpoint().wire() as wire:
        wire.ask(names(w.parse("", "select 1"), w.bind(), w.execute(),
                       w.parse("", "delete from nowhere"), w.bind(), w.execute()))
        wire.ask(w.query("show work_mem"))
    eventually(lambda: ("executed", "SHOW") in texts(lines))
    assert sorted(texts(lines)[:-1]) == [("executed", "select $1"), ("refused", "delete from nowhere")]


@pytest.mark.parametrize("extended", [False, True])
def test_a_long_error_is_a_failure(audited, extended):
    daemon, lines = audited()
    text = "do $$ begin raise exception '%', repeat('x', 3000000); end $$"
    with daemon.endpoint().wire() as wire:
        wire.ask(names(w.parse("", text), w.bind(), w.execute()) if extended else w.query(text))
    eventually(lambda: len(lines()) == 1)
    assert (lines()[0]["failed"], lines()[0]["sqlstate"]) == ("yes", "P0001")


def test_a_function_call_has_a_line(audited, postgres):
    [[oid]] = w.rows(postgres.endpoint().wire().ask(w.query("select 'abs(int4)'::regprocedure::oid")))
    daemon, lines = audited()
    with daemon.endpoint().wire() as wire:
        call = int(oid).to_bytes(4, "big") + b"\0\0\0\1\0\0\0\2-7\0\0"
        wire.ask(w.message("F", call))
    eventually(lambda: texts(lines) == [("executed", None)])


@pytest.mark.parametrize("how", ["shutdown", "reload"])
def test_what_waits_for_a_pipe_does_not_hold_up(audited, tmp_path, how):
    pipe = tmp_path / "audit.log"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    daemon, _ = audited(target={"when_full": "wait"})

    def filled():
        try:
            fill(daemon, LINES)
        except (OSError, EOFError, AssertionError):
            pass  # the daemon has ended
    filler = threading.Thread(target=filled)
    filler.start()
    filler.join(3)
    assert filler.is_alive()
    if how == "reload":
        config = daemon.config
        config["log"]["targets"][1]["when_full"] = "drop"
        daemon.reload(config)
    else:
        daemon.program.process.terminate()
    filler.join(PATIENCE)
    assert not filler.is_alive()
    os.close(end)
