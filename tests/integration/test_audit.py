"""The audit: a line of JSON for each statement of a route that wants it."""
import json
import os
import subprocess
import threading

import pytest
import yaml
from support import wire as w
from support.flights import ROW, SIMPLE, crowd, leave, sharing
from support.patience import eventually
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
    filler.join(3)
    assert filler.is_alive() == (when_full == "wait")
    read = bytearray()
    def drained():
        try:
            read.extend(os.read(end, 1 << 20))
        except BlockingIOError:
            pass
        return not filler.is_alive() and (when_full == "drop" or read.count(b'"statement"') == LINES)
    eventually(drained)
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
