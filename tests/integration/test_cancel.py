"""A cancel request reaches exactly the query it was meant for, or nothing."""
import os
import threading

import psycopg
import pytest
from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.trunkline import route

SLEEP = w.query("select pg_sleep(60)")


def sleeping(postgres, endpoint):
    return postgres.one("select count(*) from pg_stat_activity where query like 'select pg_sleep%%'"
                        " and state = 'active' and datname = %s", endpoint.database)


def start_sleeping(wire, postgres, endpoint, count=1):
    wire.send(SLEEP)
    eventually(lambda: sleeping(postgres, endpoint) == count)


def test_a_cancel_reaches_its_query(endpoint, postgres):
    with endpoint.wire() as wire:
        start_sleeping(wire, postgres, endpoint)
        wire.cancel_elsewhere()
        answers = wire.until()
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["57014"]
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_psycopg_cancels(endpoint, postgres):
    with endpoint.connect() as connection:
        timer = threading.Thread(target=lambda: (
            eventually(lambda: sleeping(postgres, endpoint) == 1), connection.cancel()))
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(60)")
        timer.join()
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_cancel_of_an_idle_client_does_nothing(endpoint):
    with endpoint.wire() as wire, endpoint.wire() as other:
        wire.ask(w.query("select 1"))
        wire.cancel_elsewhere()
        assert w.rows(other.ask(w.query("select pg_sleep(0.2) is null"))) == [["f"]]
        assert w.rows(wire.ask(w.query("select 2"))) == [["2"]]


def test_a_cancel_with_a_wrong_key_does_nothing(endpoint, postgres):
    with endpoint.wire() as wire:
        start_sleeping(wire, postgres, endpoint)
        for pid, secret in ((wire.pid, os.urandom(4)), (wire.pid ^ 1, wire.secret),
                            (wire.pid, b"\0" * 4), (0, wire.secret)):
            with endpoint.wire(login=False) as stranger:
                stranger.send(w.cancel_packet(pid, secret))
                assert stranger.rest() == []
        assert wire.silent()
        assert sleeping(postgres, endpoint) == 1
        wire.cancel_elsewhere()
        wire.until()


def test_the_pid_of_a_key_is_not_negative(endpoint):
    for _ in range(8):
        with endpoint.wire() as wire:
            assert 0 < wire.pid < 1 << 31


def test_keys_are_all_different(pooler):
    endpoint = pooler.endpoint(database="transaction")
    clients = [endpoint.wire() for _ in range(50)]
    assert len({(client.pid, client.secret) for client in clients}) == 50
    assert len({client.secret for client in clients}) > 45
    for client in clients:
        client.__exit__()


def test_a_waiting_client_can_be_cancelled_and_stays_connected(trunkline):
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as waiting:
        holder.ask(w.query("begin"))
        waiting.send(w.query("select 'never'"))
        daemon.pool_shows(cl_waiting=1)
        waiting.cancel_elsewhere()
        answers = waiting.until()
        assert w.kinds(answers) == "E Z" and answers[0].sqlstate == "57014"
        daemon.pool_shows(cl_waiting=0)
        holder.ask(w.query("commit"))
        assert w.rows(waiting.ask(w.query("select 'now'"))) == [["now"]]


def test_a_waiting_pipeline_that_is_cancelled_answers_each_sync(trunkline):
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as waiting:
        holder.ask(w.query("begin"))
        waiting.send(w.parse("", "select 1"), w.bind(), w.execute(), w.SYNC)
        daemon.pool_shows(cl_waiting=1)
        waiting.cancel_elsewhere()
        assert w.kinds(waiting.until()) == "E Z"
        holder.ask(w.query("commit"))
        assert w.rows(waiting.ask(w.query("select 'now'"))) == [["now"]]


def test_a_cancel_is_not_behind_a_full_pool(trunkline, postgres):
    daemon = trunkline(routes=[route(pool_size=2)])
    endpoint = daemon.endpoint()
    clients = [endpoint.wire() for _ in range(6)]
    for client in clients:
        client.send(SLEEP)
    daemon.pool_shows(cl_waiting=4)
    eventually(lambda: sleeping(postgres, endpoint) == 2)
    while clients:
        assert seconds(lambda: [client.cancel_elsewhere() for client in clients]) < 5 * STRETCH
        for client in clients:
            assert [m.sqlstate for m in client.until() if m.kind == "E"] == ["57014"]
            client.__exit__()
        clients = []


def test_late_cancels_never_hit_the_next_owner(trunkline):
    """One client finishes short queries and fires cancels; the server's next owner must not feel it."""
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as noisy, daemon.endpoint().wire() as quiet:
        for number in range(60):
            noisy.send(w.query("select 1"))
            quiet.send(w.query(f"select {number}, pg_sleep(0.002)"))
            noisy.cancel_elsewhere()
            assert w.rows(quiet.until())[0][0] == str(number)
            noisy.until()


def test_the_key_of_a_disconnected_client_cancels_nothing(trunkline, postgres):
    daemon = trunkline(routes=[route(pool_size=1)])
    endpoint = daemon.endpoint()
    with endpoint.wire() as gone:
        gone.ask(w.query("select 1"))
        old = w.cancel_packet(gone.pid, gone.secret)
    with endpoint.wire() as wire:
        start_sleeping(wire, postgres, endpoint)
        with endpoint.wire(login=False) as late:
            late.send(old)
            assert late.rest() == []
        assert wire.silent()
        wire.cancel_elsewhere()
        wire.until()


def test_a_cancel_in_a_transaction_leaves_the_transaction_failed(endpoint, postgres):
    with endpoint.wire() as wire:
        wire.ask(w.query("begin"))
        start_sleeping(wire, postgres, endpoint)
        wire.cancel_elsewhere()
        assert wire.until()[-1].body == b"E"
        assert wire.ask(w.query("rollback"))[-1].body == b"I"


def test_a_cancel_has_arrived_when_its_connection_ends(endpoint):
    """It hits the query that it was sent for, or nothing; never the one after it."""
    with endpoint.wire() as wire:
        for number in range(100):
            wire.send(w.query("select pg_sleep(0.0003)"))
            wire.cancel_elsewhere()
            wire.until()
            assert w.rows(wire.ask(w.query(f"select {number}"))) == [[str(number)]]


def test_a_request_that_is_held_up_on_its_way_holds_its_connection(trunkline, postgres, proxy):
    """Beyond login_timeout: it meets what runs now, and the client asks nothing else meanwhile."""
    road = proxy("127.0.0.1", postgres.port)
    daemon = trunkline(routes=[route(pool="session")], login_timeout="300ms",
                       services={"main": {"hosts": [f"127.0.0.1:{road.port}"],
                                          "tls": {"mode": "disable"}}})
    endpoint = daemon.endpoint()
    with endpoint.wire() as wire, endpoint.wire(login=False) as late, endpoint.wire(login=False) as slow:
        start_sleeping(wire, postgres, endpoint)
        road.stuck("up")
        late.send(w.cancel_packet(wire.pid, wire.secret))
        slow.send(b"\0")
        assert [m.kind for m in slow.rest()] == ["E"]
        assert late.silent()
        assert sleeping(postgres, endpoint) == 1
        road.flow()
        assert late.rest() == []
        assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["57014"]


def test_the_key_of_an_ended_session_cancels_nothing(trunkline, postgres):
    """Its server serves another session now, under the same pid."""
    daemon = trunkline(routes=[route(pool="session", pool_size=1)])
    endpoint = daemon.endpoint()
    with endpoint.wire() as gone:
        old = w.cancel_packet(gone.pid, gone.secret)
        pid = gone.pid
    with endpoint.wire() as wire:
        assert wire.pid == pid
        start_sleeping(wire, postgres, endpoint)
        with endpoint.wire(login=False) as late:
            late.send(old)
            assert late.rest() == []
        assert wire.silent()
        wire.cancel_elsewhere()
        wire.until()
