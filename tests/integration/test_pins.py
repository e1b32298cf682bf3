"""A pinned client keeps its server for as long as its session has state, and not longer."""
import pytest

from support import wire as w
from support.patience import eventually
from support.trunkline import route

# What pins, and what ends that.
ENDS = [
    ("set work_mem = '7MB'", "reset work_mem"),
    ("set work_mem = '7MB'", "set work_mem to default"),
    ("set work_mem = '7MB'", "RESET ALL"),
    ("set work_mem = '7MB'", "discard all"),
    ("set work_mem = '7MB'; set jit = off", "reset jit; reset work_mem"),
    ("select set_config('work_mem', '7MB', false)", "reset work_mem"),
    ("select set_config($$work_mem$$, '7MB', false)", "reset all"),
    ("set session authorization app", "reset session authorization"),
    ("set role app", "set role none"),
    ("create temp table mine (a int)", "drop table mine"),
    ("create temp table mine (a int)", "discard temp"),
    ("select 1 as a into temp mine", "drop table if exists pg_temp.mine cascade"),
    ("prepare mine as select 1", "deallocate mine"),
    ("prepare mine as select 1", "deallocate prepare all"),
    ("prepare a as select 1; prepare b as select 1", "deallocate b; deallocate a"),
    ("listen mine", "unlisten mine"),
    ("listen mine; listen yours", "unlisten *"),
    ("declare mine cursor with hold for select 1", "close mine"),
    ("declare mine cursor with hold for select 1", "close all"),
    ("select pg_advisory_lock(1)", "select pg_advisory_unlock(1)"),
    ("select pg_try_advisory_lock_shared(1)", "select pg_advisory_unlock_shared(1)"),
    ("select pg_advisory_lock(n) from generate_series(1, 3) n", "select pg_advisory_unlock_all()"),
]


def single(trunkline, **settings):
    return trunkline(relays=1, routes=[route(pool_size=1, **settings)])


def fine(messages):
    errors = [m.fields for m in messages if m.kind == "E"]
    assert not errors, errors
    return messages


def extended(sql):
    return [w.parse("", sql), w.bind(), w.execute(), w.message("S")]


def value(wire, sql):
    return w.rows(fine(wire.ask(w.query(sql))))[0][0]


@pytest.mark.parametrize("make,end", ENDS)
def test_a_pin_ends_with_the_state(trunkline, make, end):
    daemon = single(trunkline)
    for protocol in ("simple", "extended", "transaction"):
        with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
            if protocol == "transaction":
                fine(one.ask(w.query("begin")))
            for sql in make.split("; "):
                fine(one.ask(*(extended(sql) if protocol == "extended" else [w.query(sql)])))
            if protocol == "transaction":
                fine(one.ask(w.query("commit")))
            other.send(w.query("select 'got it'"))
            assert other.silent(0.1)
            for sql in end.split("; "):
                fine(one.ask(*(extended(sql) if protocol == "extended" else [w.query(sql)])))
            assert w.rows(fine(other.until())) == [["got it"]]
            assert daemon.console("SHOW PINS") == []


@pytest.mark.parametrize("make,end", [
    ("set work_mem = '7MB'; set jit = off", "reset jit"),
    ("prepare a as select 1; prepare b as select 1", "deallocate b"),
    ("listen a; listen b", "unlisten b"),
    ("select pg_advisory_lock(1); select pg_advisory_lock(1)", "select pg_advisory_unlock(1)"),
    ("set jit = off; listen a", "reset all"),
    ("listen a", "begin; unlisten a; rollback"),
    ("set jit = off", "begin; reset jit; rollback; set work_mem = '7MB'; reset work_mem"),
    ("set jit = off", "reset jita"),
])
def test_a_pin_does_not_end_with_a_part_of_the_state(trunkline, make, end):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        for sql in (make + "; " + end).split("; "):
            one.ask(w.query(sql))
        other.send(w.query("select 'got it'"))
        assert other.silent()
        one.send(w.message("X"))
        assert w.rows(fine(other.until())) == [["got it"]]


def test_notifications_reach_a_pinned_client_that_idles(trunkline, postgres):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as wire:
        fine(wire.ask(w.query("listen here")))
        postgres.sql("notify here, 'wake up'")
        assert b"here\0wake up\0" in wire.receive().body
        postgres.sql("notify here, 'again'")
        assert b"here\0again\0" in wire.receive().body
        fine(wire.ask(w.query("select 1")))


def test_a_transaction_without_listen_hears_nothing_of_others(trunkline, postgres):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.query("listen here")))
        fine(one.ask(w.query("unlisten here")))
        fine(other.ask(w.query("select 1")))
        postgres.sql("notify here, 'nobody'")
        assert "A" not in w.kinds(other.ask(w.query("select 1")))


def test_a_notification_within_a_transaction_comes_after_its_commit(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=2)])
    with daemon.endpoint().wire() as ear, daemon.endpoint().wire() as mouth:
        fine(ear.ask(w.query("listen here")))
        fine(mouth.ask(w.query("begin")))
        fine(mouth.ask(w.query("notify here, 'later'")))
        assert ear.silent()
        fine(mouth.ask(w.query("commit")))
        assert b"later" in ear.receive().body


def test_show_pins_names_client_server_and_cause(trunkline):
    daemon = trunkline(relays=2, routes=[route(pool_size=5)])
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.query("set statement_timeout = '60s'")))
        fine(one.ask(w.query("listen here")))
        fine(other.ask(w.query("select 1")))
        pin, = daemon.console("SHOW PINS")
        assert pin["reason"] == "SET statement_timeout" and pin["kinds"] == "set listen"
        assert (pin["database"], pin["user"], pin["pinned"], pin["limit"]) == ("app", "app", 1, 4)
        assert pin["age"] >= 0 and pin["remote_pid"] == int(value(one, "select pg_backend_pid()"))
        clients = {row["id"]: row for row in daemon.console("SHOW CLIENTS")}
        assert clients[pin["client"]]["link"] == pin["server"]
        totals = {row["kind"]: row for row in daemon.console("SHOW PIN_TOTALS")}
        assert (totals["set"]["pinned"], totals["set"]["held"]) == (1, 1)
        assert (totals["lock"]["pinned"], totals["lock"]["held"]) == (0, 0)
        one.send(w.message("X"))
        eventually(lambda: {row["kind"]: row for row in daemon.console("SHOW PIN_TOTALS")}
                   ["listen"]["cleaned"] == 1)
        assert daemon.console("SHOW PINS") == []


def test_no_more_than_a_share_of_the_pool_is_pinned(trunkline):
    daemon = trunkline(relays=2, routes=[route(pool_size=4, session_state={"pin_share": 50})])
    endpoint = daemon.endpoint()
    with endpoint.wire() as one, endpoint.wire() as two, endpoint.wire() as three:
        fine(one.ask(w.query("listen here")))
        fine(one.ask(w.query("set work_mem = '7MB'")))
        fine(two.ask(*extended("listen here")))
        for messages in [w.query("listen here")], extended("listen here"):
            answer = three.ask(*messages)
            error = [m for m in answer if m.kind == "E"][0]
            assert error.sqlstate == "53300" and "2 servers" in error.fields["M"]
            assert "pin_share=50" in error.fields["H"] and "pool_size=4" in error.fields["H"]
            assert value(three, "select 1") == "1"
        fine(two.ask(w.query("unlisten *")))
        fine(three.ask(w.query("listen here")))
        totals = {row["kind"]: row for row in daemon.console("SHOW PIN_TOTALS")}
        assert totals["listen"]["over_limit"] == 2
        for gives, takes in [(three, two), (two, three)] * 10:  # as soon as the one is told
            fine(gives.ask(w.query("unlisten *")))
            fine(takes.ask(w.query("listen here")))


def test_rejected_statements_are_counted(trunkline):
    daemon = trunkline(relays=2, routes=[route(session_state={"listen": "reject"})])
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("listen here"))
        wire.ask(*extended("listen here"))
    totals = {row["kind"]: row for row in daemon.console("SHOW PIN_TOTALS")}
    assert totals["listen"]["rejected"] == 2 and totals["set"]["rejected"] == 0


def test_a_pinned_client_is_told_when_its_server_ends(trunkline, postgres):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as wire:
        fine(wire.ask(w.query("listen here")))
        pid = int(value(wire, "select pg_backend_pid()"))
        postgres.sql("select pg_terminate_backend(%s)", pid)
        words = wire.rest()
        assert [m.sqlstate for m in words if m.kind == "E"] == ["57P01"]


def test_a_pinned_query_can_be_cancelled(trunkline):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as wire:
        fine(wire.ask(w.query("listen here")))
        wire.send(w.query("select pg_sleep(60)"))
        eventually(lambda: daemon.console("SHOW SERVERS")[0]["state"] == "active")
        wire.cancel_elsewhere()
        assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["57014"]
        assert value(wire, "select count(*) from pg_listening_channels()") == "1"


def test_statements_of_the_protocol_go_on_while_pinned_and_after(trunkline):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.parse("mine", "select 'mine'"), w.message("S")))
        fine(one.ask(w.query("listen here")))
        for _ in range(3):
            assert w.rows(fine(one.ask(w.bind("", "mine"), w.execute(),
                                       w.message("S")))) == [["mine"]]
        fine(one.ask(w.query("prepare sql as select 1")))
        fine(one.ask(w.query("deallocate sql")))
        fine(one.ask(w.query("unlisten *")))
        fine(other.ask(w.query("select 1")))
        assert w.rows(fine(one.ask(w.bind("", "mine"), w.execute(), w.message("S")))) == [["mine"]]


def test_a_prepared_listen_pins_each_time_it_is_executed(trunkline):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.parse("on", "listen here"), w.parse("off", "unlisten here"),
                     w.message("S")))
        assert value(other, "select 1") == "1"
        for _ in range(2):
            fine(one.ask(w.bind("", "on"), w.execute(), w.message("S")))
            other.send(w.query("select 1"))
            assert other.silent(0.1)
            fine(one.ask(w.bind("", "off"), w.execute(), w.message("S")))
            fine(other.until())


def test_a_pinned_client_is_ended_by_a_drain_between_transactions(trunkline):
    daemon = trunkline(relays=1, drain_timeout="100ms", routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as wire:
        fine(wire.ask(w.query("listen here")))
        config = daemon.config
        config["routes"][0]["auth"] = "trust"
        daemon.reload(config)
        assert [m.sqlstate for m in wire.rest() if m.kind == "E"] == ["57P01"]


def test_policies_change_with_a_reload(trunkline):
    daemon = single(trunkline, session_state={"listen": "reject"})
    with daemon.endpoint().wire() as wire:
        assert "E" in w.kinds(wire.ask(w.query("listen here")))
        config = daemon.config
        config["routes"][0]["session_state"] = {"listen": "pin"}
        daemon.reload(config)
        fine(wire.ask(w.query("listen here")))
        assert len(daemon.console("SHOW PINS")) == 1


def test_parameters_of_a_client_are_back_after_its_server_was_cleaned(trunkline):
    daemon = single(trunkline, session_state={"set": "reset"})
    with daemon.endpoint().wire(DateStyle="German", application_name="mine") as one, \
            daemon.endpoint().wire() as other:
        for _ in range(2):
            fine(one.ask(w.query("set work_mem = '7MB'")))
            assert value(one, "show datestyle") == "German, DMY"
            assert value(one, "show application_name") == "mine"
            assert value(other, "show datestyle") == "ISO, MDY"
