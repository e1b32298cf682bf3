"""Told to stop, the daemon lets transactions finish, says why it goes, and goes with 0."""
import re
import signal
import socket
from pathlib import Path

import psycopg
import pytest
from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.trunkline import route

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def ended(daemon, timeout=15):
    code = daemon.program.wait(timeout)
    daemon.check()
    return code


@BOTH
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_an_idle_client_is_told_why(trunkline, number, mode):
    daemon = trunkline(routes=[route(pool=mode)])
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select 1"))
        daemon.program.send_signal(number)
        answers = wire.rest()
        assert [(m.kind, m.sqlstate, m.fields["S"]) for m in answers] == [("E", "57P01", "FATAL")]
    assert ended(daemon) == 0


@BOTH
def test_a_transaction_is_finished_first(trunkline, number):
    daemon = trunkline()
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        daemon.program.send_signal(number)
        assert wire.silent()
        assert w.rows(wire.ask(w.query("select 'still here'"))) == [["still here"]]
        wire.send(w.query("commit"))
        answers = wire.rest()
        assert w.kinds(answers).startswith("C Z")
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["57P01"]
    assert ended(daemon) == 0


def test_new_clients_are_not_let_in_while_it_drains(trunkline):
    daemon = trunkline()
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        daemon.program.send_signal(signal.SIGTERM)

        def closed():
            with socket.socket() as probe:
                if probe.connect_ex((daemon.host, daemon.port)):
                    return True
                probe.settimeout(1)
                try:
                    probe.sendall(w.startup_packet(user="app", database="app"))
                    return probe.recv(1) in (b"E", b"")
                except OSError:
                    return True

        eventually(closed)
        wire.ask(w.query("select 1"))
        wire.send(w.query("commit"))
        wire.rest()
    assert ended(daemon) == 0


def test_unfinished_sessions_are_closed_at_shutdown_timeout(trunkline, postgres):
    daemon = trunkline(shutdown_timeout="500ms")
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        daemon.program.send_signal(signal.SIGTERM)
        assert seconds(lambda: ended(daemon)) < 5 * STRETCH
        assert [m.sqlstate for m in wire.rest() if m.kind == "E"] == ["57P01"]
    assert daemon.program.process.returncode == 0
    eventually(lambda: postgres.one(
        "select count(*) from pg_stat_activity where state like 'idle in%%'") == 0)


def test_a_second_signal_ends_it_at_once(trunkline):
    daemon = trunkline(shutdown_timeout="60s")
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        daemon.program.send_signal(signal.SIGTERM)
        daemon.logged(r"(?i)sigterm|stop|shut")
        daemon.program.send_signal(signal.SIGTERM)
        assert seconds(lambda: daemon.program.wait(10)) < 2 * STRETCH
    daemon.program.process.returncode = 0  # a hasty end may have any code


def test_a_waiting_client_is_told_as_well(trunkline):
    daemon = trunkline(routes=[route(pool_size=1)], shutdown_timeout="500ms")
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as waiting:
        holder.ask(w.query("begin"))
        waiting.send(w.query("select 1"))
        daemon.pool_shows(cl_waiting=1)
        daemon.program.send_signal(signal.SIGTERM)
        assert "57P01" in [m.sqlstate for m in waiting.rest() if m.kind == "E"]
    assert ended(daemon) == 0


def test_no_server_connection_is_left(trunkline, postgres):
    daemon = trunkline(routes=[route(user="reports")])
    with daemon.connect(user="reports") as connection:
        connection.execute("select 1")
    assert postgres.backends("app", "reports")
    daemon.stop()
    eventually(lambda: postgres.backends("app", "reports") == [])


def test_only_one_thread_takes_signals(trunkline):
    daemon = trunkline(relays=2)
    tasks = Path(f"/proc/{daemon.program.pid}/task")
    eventually(lambda: len(list(tasks.iterdir())) >= 3)  # it listens before the last one runs
    blocked = []
    for task in tasks.iterdir():
        mask = re.search(r"SigBlk:\s+(\w+)", (task / "status").read_text()).group(1)
        blocked.append(bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1))
    assert sum(not b for b in blocked) <= 1


def test_the_console_stays_open_while_it_drains(trunkline):
    daemon = trunkline(relays=3, shutdown_timeout="60s")
    clients = [daemon.connect() for _ in range(4)]
    for client in clients:
        client.execute("begin")
    watchers = [psycopg.connect(daemon.endpoint("trunkline", "admin").conninfo(), autocommit=True)
                for _ in range(3)]
    daemon.program.send_signal(signal.SIGTERM)
    daemon.logged("shutdown.started")
    for client in clients:
        for watcher in watchers:
            shown = watcher.execute("SHOW CLIENTS WHERE database = 'app'").fetchall()
            assert shown
        client.execute("commit")
    assert daemon.program.wait() == 0
    for watcher in watchers:
        with pytest.raises(psycopg.OperationalError):
            watcher.execute("SHOW VERSION")
