"""How long queries, transactions and silences may take: what the client hears, and what becomes of
its server."""
import time

import pytest
from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.trunkline import route

MODES = ["session", "transaction"]
PID = w.query("select pg_backend_pid()")


def ended_with(answers):
    """The one FATAL's SQLSTATE; nothing but that may have come since."""
    errors = [m for m in answers if m.kind == "E"]
    assert [m.fields["S"] for m in errors] == ["FATAL"], answers
    return errors[0].sqlstate


def pid_of(wire):
    return int(w.rows(wire.ask(PID))[0][0])


def rests(postgres, pid):
    """The server stands, and nothing of the client is left in it."""
    return eventually(lambda: postgres.sql(
        "select state from pg_stat_activity where pid = %s", pid) == [("idle",)])


@pytest.mark.parametrize("mode", MODES)
def test_a_query_that_takes_too_long_is_cancelled_and_its_client_ended(trunkline, postgres, mode):
    daemon = trunkline(routes=[route(pool=mode, pool_size=1, query_timeout="500ms")])
    with daemon.endpoint().wire() as wire:
        pid = pid_of(wire)
        wire.send(w.query("select pg_sleep(60)"))
        answers = []
        took = seconds(lambda: answers.extend(wire.rest()))
        assert ended_with(answers) == "57014"
        assert "query_timeout (500 ms)" in answers[-1].fields["M"]
        assert 0.45 < took < 3 * STRETCH
    rests(postgres, pid)
    with daemon.endpoint().wire() as wire:
        assert pid_of(wire) == pid


@pytest.mark.parametrize("mode", MODES)
def test_many_short_queries_in_a_row_are_none_that_takes_too_long(trunkline, mode):
    daemon = trunkline(routes=[route(pool=mode, query_timeout="1200ms")])
    with daemon.endpoint().wire() as wire:
        wire.send(*[w.query("select pg_sleep(0.05)")] * 30)
        for _ in range(30):
            assert w.kinds(wire.until()) == "T D C Z"


@pytest.mark.parametrize("mode", MODES)
def test_a_silence_within_a_transaction_ends_client_and_transaction(trunkline, postgres, mode):
    daemon = trunkline(routes=[route(pool=mode, pool_size=1, idle_transaction_timeout="800ms")])
    with daemon.endpoint().wire() as wire:
        pid = pid_of(wire)
        wire.ask(w.query("begin"))
        for _ in range(4):  # each of these is an end of the silence
            wire.ask(w.query("select pg_sleep(0.3)"))
        answers = wire.rest()
        assert ended_with(answers) == "25P03"
        assert "idle_transaction_timeout (800 ms)" in answers[-1].fields["M"]
    rests(postgres, pid)
    with daemon.endpoint().wire() as wire:
        assert pid_of(wire) == pid


def test_a_batch_without_its_end_is_a_silence_too(trunkline):
    daemon = trunkline(routes=[route(pool_size=1, idle_transaction_timeout="300ms")])
    with daemon.endpoint().wire() as wire:
        wire.send(w.parse("", "select 1"), w.bind(), w.execute(), w.message("H"))
        assert ended_with(wire.rest()) == "25P03"


@pytest.mark.parametrize("mode", MODES)
def test_a_silence_outside_of_a_transaction_is_no_such_thing(trunkline, mode):
    daemon = trunkline(routes=[route(pool=mode, idle_transaction_timeout="800ms",
                                     transaction_timeout="800ms", query_timeout="800ms")])
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select 1"))
        assert wire.silent(1.2)
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("last", ["select 1", "select pg_sleep(60)"])
def test_a_transaction_that_takes_too_long_is_rolled_back(trunkline, postgres, mode, last):
    daemon = trunkline(routes=[route(pool=mode, pool_size=1, transaction_timeout="1500ms")])
    with daemon.endpoint().wire() as wire:
        pid = pid_of(wire)
        for _ in range(3):
            wire.ask(w.query("begin"))
            wire.ask(w.query("select pg_sleep(0.6)"))
            wire.ask(w.query("commit"))
        wire.ask(w.query("begin"))
        wire.send(w.query(last))
        answers = wire.rest()
        assert ended_with(answers) == "25P04"
        assert "transaction_timeout (1500 ms)" in answers[-1].fields["M"]
    rests(postgres, pid)


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_is_idle_for_too_long_is_told_so(trunkline, mode):
    daemon = trunkline(routes=[route(pool=mode, client_idle_timeout="800ms")])
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select pg_sleep(1)"))
        answers = wire.rest()
        assert ended_with(answers) == "57P05"
        assert answers[-1].fields["M"] == ("terminating connection due to client_idle_timeout "
                                           "(800 ms)")


def test_a_client_of_a_unix_socket_that_never_asks_is_idle_from_its_login_on(trunkline, tmp_path):
    daemon = trunkline(listen=[{"host": str(tmp_path), "port": 6432}],
                       routes=[route(auth="trust", server_user="app", server_password="app",
                                     client_idle_timeout="800ms")])
    with daemon.endpoint().wire() as wire:
        assert ended_with(wire.rest()) == "57P05"


@pytest.mark.parametrize("mode", MODES)
def test_an_idle_clients_time_does_not_run_within_a_transaction(trunkline, mode):
    daemon = trunkline(routes=[route(pool=mode, client_idle_timeout="800ms")])
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        assert wire.silent(1.2)
        assert wire.ask(w.query("commit"))[-1].body == b"I"
        assert ended_with(wire.rest()) == "57P05"


@pytest.mark.parametrize("mode", MODES)
def test_asynchronous_messages_do_not_restart_idle_timeouts(trunkline, postgres,
                                                                            mode):
    daemon = trunkline(routes=[route(pool=mode, client_idle_timeout="900ms")])
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("listen news"))
        answers, by = [], time.monotonic() + 10 * STRETCH
        while not answers or answers[-1].kind == "A":
            assert time.monotonic() < by
            postgres.sql("notify news")
            answers.append(wire.receive())
        assert {m.kind for m in answers} == {"A", "E"}
        assert ended_with(answers) == "57P05"


def test_messages_after_a_failed_copy_with_syncs_wait_for_reset_timeout(trunkline):
    daemon = trunkline(reset_timeout="700ms")
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("create temp table copied (x int)"))
        wire.send(w.query("copy copied from stdin"), w.copy_data(b"nonsense\n"), w.SYNC,
                  w.query("select pg_sleep(60)"))
        answers = wire.rest()
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["22P02", "08006"], answers
        assert "for 700 ms" in answers[-1].fields["M"]


def test_a_users_own_limits_replace_those_of_its_route(trunkline):
    daemon = trunkline(users={"app": "app", "reports": "reports", "admin": "admin"},
                       routes=[route(query_timeout="500ms")])
    config = dict(daemon.config)
    config["users"] = {"reports": {"query_timeout": "30s", "client_idle_timeout": "800ms"}}
    daemon.reload(config)
    with daemon.endpoint(user="reports").wire() as wire:
        assert w.kinds(wire.ask(w.query("select pg_sleep(1)"))) == "T D C Z"
        assert ended_with(wire.rest()) == "57P05"
    with daemon.endpoint().wire() as wire:
        wire.send(w.query("select pg_sleep(60)"))
        assert ended_with(wire.rest()) == "57014"


def test_a_reload_changes_the_limits_of_clients_that_are_there(trunkline):
    daemon = trunkline(routes=[route()])
    with daemon.endpoint().wire() as idle, daemon.endpoint().wire() as other:
        idle.ask(w.query("select 1"))
        other.ask(w.query("begin"))
        daemon.reload(dict(daemon.config, routes=[route(client_idle_timeout="300ms",
                                                        idle_transaction_timeout="30s")]))
        assert ended_with(idle.rest()) == "57P05"
        assert other.ask(w.query("commit"))[-1].body == b"I"
