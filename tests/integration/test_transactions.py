"""Transaction pools: who holds a server, for how long, and what a client leaves behind."""
import socket
import struct
import threading

import pytest
from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.trunkline import route

# A server that was left in mid-transaction must serve again within this.
CLEANED = 3 * STRETCH


@pytest.fixture
def single(trunkline):
    """A daemon with one transaction pool of one server."""
    return trunkline(routes=[route(pool_size=1)])


def vanish(wire):
    """The client's machine is gone: a reset, not a farewell."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()


def backend(wire):
    return int(w.rows(wire.ask(w.query("select pg_backend_pid()")))[0][0])


def test_two_clients_take_turns_on_one_server(single):
    with single.endpoint().wire() as one, single.endpoint().wire() as other:
        pids = {backend(client) for client in (one, other) * 5}
        assert len(pids) == 1


def test_a_transaction_keeps_its_server_and_the_next_client_waits(single):
    with single.endpoint().wire() as one, single.endpoint().wire() as other:
        one.ask(w.query("begin"))
        other.send(w.query("select 'other'"))
        single.pool_shows(cl_waiting=1)
        assert other.silent()
        assert one.ask(w.query("commit"))[-1].body == b"I"
        assert w.rows(other.until()) == [["other"]]


def test_a_failed_transaction_keeps_its_server_until_it_ends(single):
    with single.endpoint().wire() as one, single.endpoint().wire() as other:
        one.ask(w.query("begin"))
        assert one.ask(w.query("select 1/0"))[-1].body == b"E"
        other.send(w.query("select 'other'"))
        single.pool_shows(cl_waiting=1)
        assert one.ask(w.query("select 1"))[0].sqlstate == "25P02"
        assert other.silent()
        one.ask(w.query("rollback"))
        assert w.rows(other.until()) == [["other"]]


def test_a_pipeline_keeps_its_server_until_its_last_sync_is_answered(single):
    with single.endpoint().wire() as one, single.endpoint().wire() as other:
        batch = [w.parse("", "select pg_backend_pid(), txid_current_if_assigned()"), w.bind(),
                 w.execute(), w.SYNC]
        one.send(*(batch * 20))
        other.send(w.query("select 'other'"))
        assert len(w.rows(one.until("Z", 20))) == 20
        assert w.rows(other.until()) == [["other"]]


def test_a_batch_without_sync_keeps_its_server(single):
    with single.endpoint().wire() as one, single.endpoint().wire() as other:
        one.send(w.parse("", "select 1"), w.bind(), w.execute(), w.FLUSH)
        one.until("C")
        other.send(w.query("select 'other'"))
        single.pool_shows(cl_waiting=1)
        assert other.silent()
        one.ask(w.SYNC)
        assert w.rows(other.until()) == [["other"]]


def test_clients_are_served_in_the_order_in_which_they_came(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as holder:
        holder.ask(w.query("begin"))
        clients = []
        for number in range(6):
            clients.append(daemon.endpoint().wire())
            clients[-1].send(w.query(f"select {number}, clock_timestamp()::text"))
            daemon.pool_shows(cl_waiting=number + 1)
        holder.ask(w.query("commit"))
        answers = [w.rows(client.until())[0] for client in clients]
        assert [row[0] for row in sorted(answers, key=lambda row: row[1])] == list("012345")
        for client in clients:
            client.__exit__()


@pytest.fixture
def locked(postgres):
    """A table of one row; the value is taken from a direct connection by whoever gets the lock."""
    postgres.sql("drop table if exists locked; create table locked (n int); "
                 "insert into locked values (0); grant all on locked to app")
    yield "locked"
    postgres.sql("drop table locked")


def test_a_client_that_vanishes_in_a_transaction_frees_its_locks_and_its_server(
        single, postgres, locked):
    wire = single.endpoint().wire()
    wire.ask(w.query("begin"))
    wire.ask(w.query(f"update {locked} set n = 1"))
    pid = backend(wire)
    vanish(wire)
    assert seconds(lambda: postgres.sql(f"update {locked} set n = n + 2")) < CLEANED
    with single.endpoint().wire() as heir:
        assert backend(heir) == pid
    assert postgres.one(f"select n from {locked}") == 2


def test_a_client_that_leaves_politely_in_a_transaction_does_no_harm_either(
        single, postgres, locked):
    with single.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        wire.ask(w.query(f"update {locked} set n = 1"))
        pid = backend(wire)
        wire.send(w.TERMINATE)
        assert wire.rest() == []
    assert seconds(lambda: postgres.sql(f"update {locked} set n = n + 2")) < CLEANED
    with single.endpoint().wire() as heir:
        assert backend(heir) == pid


def test_a_client_that_vanishes_in_a_query_has_it_cancelled(single, postgres):
    wire = single.endpoint().wire()
    pid = backend(wire)
    wire.send(w.query("select pg_sleep(60)"))
    active = "select count(*) from pg_stat_activity where pid = %s and state = 'active'"
    eventually(lambda: postgres.one(active, pid) == 1)
    vanish(wire)
    eventually(lambda: postgres.one(active, pid) == 0, CLEANED)
    with single.endpoint().wire() as heir:
        assert backend(heir) == pid


def test_a_client_that_vanishes_in_a_query_of_a_transaction_leaves_nothing(
        single, postgres, locked):
    wire = single.endpoint().wire()
    wire.ask(w.query("begin"))
    wire.ask(w.query(f"update {locked} set n = 1"))
    pid = backend(wire)
    wire.send(w.query("select pg_sleep(60)"))
    eventually(lambda: postgres.one(
        "select count(*) from pg_stat_activity where pid = %s and query ~ 'sleep'", pid) == 1)
    vanish(wire)
    assert seconds(lambda: postgres.sql(f"update {locked} set n = n + 2")) < CLEANED
    with single.endpoint().wire() as heir:
        assert backend(heir) == pid
        assert heir.ask(w.query("select 1"))[-1].body == b"I"


def test_a_client_that_vanishes_in_a_big_result_leaves_a_server_that_works(single):
    wire = single.endpoint().wire()
    wire.send(w.query("select repeat('x', 1000) from generate_series(1, 1000000)"))
    wire.take(100000)
    vanish(wire)
    with single.endpoint().wire() as heir:
        assert w.rows(heir.ask(w.query("select 1"))) == [["1"]]


def test_a_client_that_vanishes_in_the_middle_of_a_message_leaves_a_server_that_works(single):
    for part in (3, 7, 200000):
        wire = single.endpoint().wire()
        wire.send(w.query("select '" + "x" * 400000 + "'")[:part])
        vanish(wire)
        with single.endpoint().wire() as heir:
            assert w.rows(heir.ask(w.query("select 1"))) == [["1"]]


def test_a_client_that_vanishes_while_it_waits_leaves_the_queue(single):
    with single.endpoint().wire() as holder:
        holder.ask(w.query("begin"))
        waiting = [single.endpoint().wire() for _ in range(3)]
        for client in waiting:
            client.send(w.query("select 1"))
        single.pool_shows(cl_waiting=3)
        vanish(waiting[0])
        single.pool_shows(cl_waiting=2)
        holder.ask(w.query("commit"))
        for client in waiting[1:]:
            assert w.rows(client.until()) == [["1"]]
            client.__exit__()


def test_many_clients_count_to_the_same_number(trunkline, postgres):
    """Lost or repeated work would show: 16 clients add 1 in transactions over 3 servers."""
    postgres.sql("drop table if exists counter; create table counter (n int); "
                 "insert into counter values (0); grant all on counter to app")
    daemon = trunkline(routes=[route(pool_size=3)])

    def add():
        with daemon.connect(autocommit=False) as connection:
            for _ in range(20):
                connection.execute("update counter set n = n + 1")
                connection.commit()

    threads = [threading.Thread(target=add) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert postgres.one("select n from counter") == 320
    postgres.sql("drop table counter")


def test_in_a_statement_pool_a_transaction_is_refused(trunkline):
    daemon = trunkline(routes=[route(pool="statement", pool_size=1)])
    with daemon.endpoint().wire() as wire:
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]
        wire.send(w.query("begin"))
        answers = wire.until("E")
        assert answers[-1].sqlstate == "0A000" and "statement pool" in answers[-1].fields["M"]
    with daemon.endpoint().wire() as wire:
        assert wire.ask(w.query("select 1"))[-1].body == b"I"
