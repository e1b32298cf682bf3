"""drain_timeout ends every client of an obsolete route, whatever it is doing."""
import copy
import re
import threading

import pytest
from support import wire as w
from support.patience import eventually
from support.trunkline import route

TEXT = "terminating connection due to drain_timeout (500 ms): a reload has changed or removed the client's route"


def drained(daemon, **keys):
    """Reloads with the first route changed, so that the pools of its present clients are obsolete."""
    config = copy.deepcopy(daemon.config)
    config["routes"][0]["auth"] = "trust" if config["routes"][0].get("auth") != "trust" else "scram-sha-256"
    config.update(keys)
    daemon.reload(config)


def told(wire):
    """The errors that come until the end of the connection."""
    return [(m.sqlstate, m.fields["M"]) for m in wire.rest() if m.kind == "E"]


def start(trunkline, postgres, pool="transaction", size=2, **keys):
    postgres.sql("drop table if exists drained")
    postgres.sql("create table drained (id int)")
    postgres.sql("grant all on drained to public")
    return trunkline(relays=2, **{"drain_timeout": "500ms", **keys}, routes=[route(pool=pool, pool_size=size)])


def kept(postgres):
    return postgres.one("select count(*) from drained")


def nothing_runs(postgres):
    """No backend of the pool has a transaction or a statement."""
    return postgres.one("select count(*) from pg_stat_activity where usename = 'app' and state <> 'idle'") == 0


def idle_in_transaction(wire):
    wire.ask(w.query("begin; insert into drained values (1)"))


def failed_transaction(wire):
    wire.ask(w.query("begin; insert into drained values (1)"))
    wire.ask(w.query("select 1/0"))


def running_query(wire):
    wire.send(w.query("insert into drained select 1 from (select pg_sleep(60)) as slept"))


def running_in_transaction(wire):
    wire.ask(w.query("begin; insert into drained values (1)"))
    wire.send(w.query("select pg_sleep(60)"))


def open_batch(wire):
    wire.send(w.parse("", "insert into drained values (1)"), w.bind(), w.execute(), w.message("H"))
    wire.until("C")


def suspended_copy(wire):
    wire.send(w.query("copy drained from stdin"))
    wire.until("G")
    wire.send(w.copy_data(b"1\n"))


def half_a_message(wire):
    wire.ask(w.query("begin; insert into drained values (1)"))
    wire.send(w.query("select 'a long text'")[:9])


CASES = [idle_in_transaction, failed_transaction, running_query, running_in_transaction, open_batch,
         suspended_copy, half_a_message]


@pytest.mark.parametrize("pool", ["transaction", "session"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_client_is_ended_by_a_drain_in_the_middle_of(trunkline, postgres, case, pool):
    daemon = start(trunkline, postgres, pool)
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as idle:
        case(wire)
        idle.ask(w.query("select 1"))
        drained(daemon)
        assert told(wire) == [("57P01", TEXT)]
        assert told(idle) == [("57P01", TEXT)]
    eventually(lambda: nothing_runs(postgres))
    assert kept(postgres) == 0
    daemon.logged(r"route\.drained database=app user=app version=1 ")
    eventually(lambda: len(re.findall(r"client\.disconnected .*drain_timeout", daemon.log())) == 2)
    assert daemon.endpoint(password="app").one("select 1") == 1


def test_a_waiting_claim_is_ended_by_a_drain(trunkline, postgres):
    daemon = start(trunkline, postgres, size=1)
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as waiting:
        holder.ask(w.query("begin"))
        waiting.send(w.query("select 'too late'"))
        daemon.pool_shows(cl_waiting=1)
        drained(daemon)
        assert told(waiting) == [("57P01", TEXT)]
        assert told(holder) == [("57P01", TEXT)]


def test_a_later_reload_shortens_the_drain(trunkline, postgres):
    daemon = start(trunkline, postgres, drain_timeout="never")
    with daemon.endpoint().wire() as wire:
        idle_in_transaction(wire)
        drained(daemon)
        assert wire.silent()
        config = copy.deepcopy(daemon.config)
        config.update(drain_timeout="500ms")
        daemon.reload(config)
        assert told(wire) == [("57P01", TEXT)]
    eventually(lambda: nothing_runs(postgres))
    assert kept(postgres) == 0


def test_a_client_ends_its_transaction_before_the_drain_timeout(trunkline, postgres):
    daemon = start(trunkline, postgres, drain_timeout="1h")
    with daemon.endpoint().wire() as wire:
        idle_in_transaction(wire)
        drained(daemon)
        wire.ask(w.query("commit"))
    assert kept(postgres) == 1


def test_a_login_that_waits_for_a_server_is_ended_by_a_drain(trunkline, postgres):
    daemon = start(trunkline, postgres, pool="session", size=1)
    with daemon.endpoint().wire() as holder:
        holder.ask(w.query("begin"))
        refused = []

        def log_in():
            with pytest.raises(w.Refused) as caught:
                daemon.endpoint().wire()
            refused.append(str(caught.value))
        late = threading.Thread(target=log_in)
        late.start()
        daemon.pool_shows(cl_waiting=1)
        drained(daemon)
        assert told(holder) == [("57P01", TEXT)]
        late.join()
        assert "drain_timeout (500 ms)" in refused[0]
