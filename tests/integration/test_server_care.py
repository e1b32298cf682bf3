"""Servers that rest are looked at before they are used, grow old apart, and wait in reserve."""
import re

import pytest
from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.trunkline import route

MODES = ["session", "transaction"]
PID = w.query("select pg_backend_pid()")


def pid_of(wire):
    return int(w.rows(wire.ask(PID))[0][0])


# -- before it is used again

def test_a_server_that_was_ended_while_idle_is_never_given_out(trunkline, postgres):
    daemon = trunkline(relays=1, routes=[route(user="reports", pool_size=1)])
    with daemon.endpoint(user="reports").wire() as client:
        for _ in range(40):
            pid = pid_of(client)
            postgres.sql("select pg_terminate_backend(%s, 10000)", pid)
            assert pid_of(client) != pid


def test_nor_is_a_session_pools(trunkline, postgres):
    daemon = trunkline(relays=1, routes=[route(user="reports", pool="session", pool_size=1)])
    for _ in range(15):
        with daemon.endpoint(user="reports").wire() as client:
            pid = pid_of(client)
        daemon.pool_shows(user="reports", sv_idle=1)
        postgres.sql("select pg_terminate_backend(%s, 10000)", pid)
        with daemon.endpoint(user="reports").wire() as client:
            assert pid_of(client) != pid


def test_a_server_that_rested_answers_first_and_is_the_same(trunkline, postgres):
    daemon = trunkline(routes=[route(user="reports", server_check_delay="100ms")])
    with daemon.endpoint(user="reports").wire() as client:
        pid = pid_of(client)
        for _ in range(5):
            assert client.silent(0.15)
            assert pid_of(client) == pid
        assert postgres.backends("app", "reports") == [pid]  # none was made besides
        last = postgres.sql("select query from pg_stat_activity where pid = %s", pid)
        assert last == [("select pg_backend_pid()",)]
        client.ask(w.query("begin"))
        assert client.silent(0.2)  # a server in use is never asked
        assert pid_of(client) == pid
        client.ask(w.query("commit"))


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_rested_and_does_not_answer_is_replaced(trunkline, postgres, proxy, mode):
    network = proxy("127.0.0.1", postgres.port)
    daemon = trunkline(relays=1, services={"main": {
        "hosts": [f"127.0.0.1:{network.port}"], "tls": {"mode": "disable"}}},
        routes=[route(pool=mode, pool_size=2, auth="trust", server_check_delay="200ms",
                      server_check_timeout="1s")])
    with daemon.endpoint().wire() as client:
        pid = pid_of(client)
    daemon.pool_shows(sv_idle=1)
    with daemon.endpoint().wire() as other:
        assert other.silent(0.4)
        if mode == "session":
            assert pid_of(other) == pid
            return
        network.stuck()
        other.send(PID)
        daemon.logged("did not answer an empty query")
        network.flow()
        assert int(w.rows(other.until())[0][0]) != pid


def test_many_that_come_at_once_each_have_a_server_asked(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=4, server_check_delay="100ms")])
    clients = [daemon.endpoint().wire() for _ in range(12)]
    pids = set()
    for _ in range(4):
        for client in clients:
            client.send(w.query("select pg_backend_pid(), pg_sleep(0.05)"))
        pids |= {w.rows(client.until())[0][0] for client in clients}
        assert clients[0].silent(0.15)
    assert len(pids) == 4
    for client in clients:
        client.__exit__()


# -- at an interval

def idle_pids(daemon):
    return {row["remote_pid"] for row in daemon.console("SHOW SERVERS")
            if row["state"] == "idle"}


def changed_since(postgres, user):
    """When each idle server of the user last got a query."""
    return dict(postgres.sql("select pid, query_start from pg_stat_activity "
                             "where usename = %s and state = 'idle'", user))


def checking(postgres, **settings):
    return {"main": dict({"hosts": [f"127.0.0.1:{postgres.port}"], "tls": {"mode": "disable"}},
                         **settings)}


@pytest.mark.parametrize("mode", MODES)
def test_idle_servers_are_checked_at_their_interval(trunkline, postgres, mode):
    daemon = trunkline(relays=1, routes=[route(user="reports", pool=mode, pool_size=4)],
                       services=checking(postgres, health_check_interval="400ms"))
    clients = [daemon.endpoint(user="reports").wire() for _ in range(4)]
    for client in clients:
        client.send(w.query("select pg_sleep(0.2)"))
    for client in clients:
        client.until()
        client.__exit__()
    daemon.pool_shows(user="reports", sv_idle=4)
    before = changed_since(postgres, "reports")
    assert len(before) == 4

    def all_were_checked():
        after = changed_since(postgres, "reports")
        assert set(after) <= set(before)  # none was replaced
        return set(after) == set(before) and all(after[pid] > before[pid] for pid in before)

    eventually(all_were_checked)


def test_without_an_interval_idle_servers_are_left_alone(trunkline, postgres):
    daemon = trunkline(relays=1, routes=[route(user="reports", server_check_delay="100ms")])
    with daemon.endpoint(user="reports").wire() as client:
        client.ask(w.query("select 1"))
        before = changed_since(postgres, "reports")
        assert client.silent(1)
        assert changed_since(postgres, "reports") == before


def test_a_check_does_not_keep_a_server_from_its_idle_timeout(trunkline, postgres):
    daemon = trunkline(relays=1, routes=[route(user="reports", pool_size=4, idle_timeout="2s")],
                       services=checking(postgres, health_check_interval="200ms"))
    with daemon.endpoint(user="reports").wire() as client:
        client.ask(w.query("select 1"))
        took = seconds(lambda: daemon.logged("idle for too long"))
    assert 1.5 < took < 2 + 2 * STRETCH


def test_an_idle_server_that_does_not_answer_is_closed_before_it_is_wanted(trunkline, postgres,
                                                                           proxy):
    network = proxy("127.0.0.1", postgres.port)
    daemon = trunkline(relays=1, routes=[route(server_check_timeout="300ms")],
                       services=checking(network, health_check_interval="300ms"))
    with daemon.endpoint().wire() as client:
        pid = pid_of(client)
        network.stuck()
        daemon.logged("did not answer an empty query")
        daemon.pool_shows(sv_idle=0)
        network.flow()
        assert pid_of(client) != pid


# -- how old it gets

def test_a_lifetime_of_zero_means_one_use(trunkline):
    daemon = trunkline(routes=[route(pool_size=2, server_lifetime="0s")])
    with daemon.endpoint().wire() as client:
        pids = [pid_of(client) for _ in range(5)]
        client.ask(w.query("begin"))
        held = {pid_of(client) for _ in range(3)}
        client.ask(w.query("commit"))
    assert len(set(pids)) == 5
    assert len(held) == 1


def test_servers_that_were_made_together_do_not_end_together(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=20, pool_min=20, server_lifetime="3s")])
    with daemon.endpoint().wire() as client:
        client.ask(w.query("select 1"))

        def ages():
            client.ask(w.query("select 1"))
            return [int(age) for age in re.findall(
                r"server.closed .*age_ms=(\d+) .*end of its lifetime", daemon.log())]

        eventually(lambda: len(ages()) >= 1)
        first = sorted(ages())
        assert first[0] >= 2600


# -- the reserve

def test_the_reserve_is_used_after_reserve_after(trunkline, postgres):
    daemon = trunkline(relays=2, routes=[
        route(user="reports", pool_size=1, pool_reserve=2, reserve_after="1s")])
    clients = [daemon.endpoint(user="reports").wire() for _ in range(4)]
    holder, waiting = clients[0], clients[1:]
    holder.ask(w.query("begin"))
    took = seconds(lambda: waiting[0].ask(w.query("begin")))
    assert 0.9 < took < 1 + 2 * STRETCH
    took = seconds(lambda: waiting[1].ask(w.query("begin")))
    assert 0.9 < took < 1 + 2 * STRETCH
    waiting[2].send(w.query("select 1"))
    assert waiting[2].silent(1.5)
    assert len(postgres.backends("app", "reports")) == 3
    for client in clients[:3]:
        client.ask(w.query("commit"))
    waiting[2].until()
    eventually(lambda: len(postgres.backends("app", "reports")) == 1)
    for client in clients:
        client.__exit__()


# -- who waits is told

def notices(answers):
    return [m for m in answers if m.kind == "N"]


@pytest.mark.parametrize("before", [(), (w.SYNC,)], ids=["parked", "in a turn"])
def test_a_client_that_waits_gets_one_notice(trunkline, before):
    daemon = trunkline(routes=[route(pool_size=1, claim_notice="300ms")])
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as waiting:
        holder.ask(w.query("begin"))
        waiting.send(*before, w.query("select 'served'"))
        answers = []
        took = seconds(lambda: answers.extend(waiting.until("N")))
        assert 0.25 < took < 2 * STRETCH
        assert answers[-1].fields["S"] == "NOTICE" and "pool_size 1" in answers[-1].fields["M"]
        assert waiting.silent(0.8)
        holder.ask(w.query("commit"))
        answers = waiting.until()
        assert w.rows(answers) == [["served"]] and not notices(answers)


def test_many_that_wait_are_all_told(trunkline):
    daemon = trunkline(relays=2, routes=[route(pool_size=1, claim_notice="300ms")])
    clients = [daemon.endpoint().wire() for _ in range(20)]
    with daemon.endpoint().wire() as holder:
        holder.ask(w.query("begin"))
        for client in clients:
            client.send(w.query("select 1"))
        for client in clients:
            client.until("N")
        holder.ask(w.query("commit"))
        for client in clients:
            answers = client.until()
            assert w.rows(answers) == [["1"]] and not notices(answers)
            client.__exit__()


def test_no_notice_is_sent_during_a_login(trunkline):
    daemon = trunkline(routes=[route(pool="session", pool_size=1, auth="trust",
                                     claim_notice="100ms", claim_timeout="1s")])
    with daemon.endpoint().wire(), daemon.endpoint().wire(login=False) as waiting:
        waiting.send(w.startup_packet(user="app", database="app"))
        answers = waiting.rest()
        assert not notices(answers)
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["53300"]
