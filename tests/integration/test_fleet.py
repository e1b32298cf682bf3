"""A service of several primaries: priorities, weights, zones, drains, spares and rebalancing."""
import threading

import pytest
from support import wire as w
from support.patience import eventually
from support.postgres import Postgres
from support.trunkline import route

NAMES = ["first", "second"]


@pytest.fixture
def two(template):
    made = [Postgres(template), Postgres(template)]
    yield made
    for one in made:
        one.remove()


def service(two, *attributes, **balance):
    return {"main": {"hosts": [f"127.0.0.1:{one.port} {with_}".strip()
                               for one, with_ in zip(two, attributes)],
                     "tls": {"mode": "disable"}, "balance": balance}}


def slots(daemon):
    """Connections of the two servers, as the console counts them."""
    return [int(row["slots"]) for row in daemon.console("SHOW BACKENDS")]


def open_transactions(daemon, count):
    clients = [daemon.endpoint().wire() for _ in range(count)]
    for client in clients:
        client.ask(w.query("begin"))
    return clients


def commit(clients):
    for client in clients:
        client.ask(w.query("commit"))


def close(clients):
    for client in clients:
        client.__exit__()


def test_connections_follow_the_weights(trunkline, two):
    daemon = trunkline(services=service(two, "weight=30", "weight=10"),
                       routes=[route(pool_size=8)])
    clients = open_transactions(daemon, 8)
    assert slots(daemon) == [6, 2]
    assert [len(one.backends()) for one in two] == [6, 2]
    rows = daemon.console("SHOW BACKENDS")
    assert [(row["priority"], row["weight"], row["zone"]) for row in rows] == \
        [(0, 30, ""), (0, 10, "")]
    close(clients)


def test_the_lowest_priority_is_used_and_the_next_one_when_it_is_gone(trunkline, two):
    daemon = trunkline(services=service(two, "priority=20", "priority=10"),
                       routes=[route(pool_size=4)])
    clients = open_transactions(daemon, 4)
    assert slots(daemon) == [0, 4]
    commit(clients)
    two[1].stop()
    for client in clients:
        assert w.rows(client.ask(w.query("select inet_server_port()"))) == [[str(two[0].port)]]
    close(clients)


def test_the_own_zone_is_preferred_and_changes_with_a_reload(trunkline, two):
    daemon = trunkline(services=service(two, "zone=east", "zone=west", rebalance_interval="1s"),
                       zone="west", routes=[route(pool_size=4)])
    clients = open_transactions(daemon, 4)
    assert slots(daemon) == [0, 4]
    commit(clients)
    daemon.write(dict(daemon.config, zone="east"))
    daemon.console("RELOAD")
    eventually(lambda: slots(daemon) == [4, 0])  # idle connections move
    for client in clients:
        client.ask(w.query("begin"))
    assert slots(daemon) == [4, 0]
    close(clients)


@pytest.mark.parametrize("named", ["127.0.0.1:{port}"])
def test_a_drained_server_ends_its_connections_as_they_become_free(trunkline, two, named):
    daemon = trunkline(services=service(two, "weight=10", "weight=10"),
                       routes=[route(pool_size=4)])
    clients = open_transactions(daemon, 4)
    assert slots(daemon) == [2, 2]
    daemon.console(f'DRAIN "{named.format(port=two[0].port)}"')
    assert [row["state"] for row in daemon.console("SHOW BACKENDS")] == ["drained", "online"]
    assert slots(daemon) == [2, 2]  # transactions go on
    commit(clients)
    eventually(lambda: slots(daemon)[0] == 0)
    for client in clients:
        client.ask(w.query("begin"))
    assert slots(daemon) == [0, 4]
    commit(clients)
    daemon.console(f'UNDRAIN "{named.format(port=two[0].port)}"')
    assert [row["state"] for row in daemon.console("SHOW BACKENDS")] == ["online", "online"]
    close(clients)


def test_a_backend_that_does_not_exist_can_not_be_drained(trunkline, two):
    daemon = trunkline(services=service(two, "weight=10", "weight=10"), routes=[route()])
    with pytest.raises(Exception, match='backend "nowhere" does not exist'):
        daemon.console("DRAIN nowhere")


def test_a_drain_works_for_plain_hosts_and_claims_wait(trunkline, postgres):
    daemon = trunkline(routes=[route(pool_size=2)])
    with daemon.endpoint().wire() as client:
        client.ask(w.query("select 1"))
        daemon.console(f'DRAIN "127.0.0.1:{postgres.port}"')
        eventually(lambda: slots(daemon) == [0])
        client.send(w.query("select 2"))
        eventually(lambda: int(daemon.pool()["cl_waiting"]) == 1)
        daemon.console(f'UNDRAIN "127.0.0.1:{postgres.port}"')
        assert w.rows(client.until()) == [["2"]]


def test_a_claim_that_times_out_says_that_all_servers_are_drained(trunkline, postgres):
    daemon = trunkline(routes=[route(pool_size=2, claim_timeout="1s")])
    with daemon.endpoint().wire() as client:
        client.ask(w.query("select 1"))
        daemon.console(f'DRAIN "127.0.0.1:{postgres.port}"')
        eventually(lambda: slots(daemon) == [0])
        error = next(m for m in client.ask(w.query("select 2")) if m.kind == "E")
        assert b"C57P03" in error.body and b"main: all of its servers are drained" in error.body
        daemon.console(f'UNDRAIN "127.0.0.1:{postgres.port}"')
        assert w.rows(client.ask(w.query("select 3"))) == [["3"]]


def test_a_server_that_comes_back_gets_its_share_of_idle_connections(trunkline, two):
    two[1].stop()
    daemon = trunkline(services=service(two, "weight=10", "weight=10", rebalance_interval="1s"),
                       routes=[route(pool_size=6)])
    clients = open_transactions(daemon, 6)
    commit(clients)
    eventually(lambda: slots(daemon)[0] >= 5)
    two[1].start()
    eventually(lambda: slots(daemon) == [3, 3])
    eventually(lambda: [len(one.backends()) for one in two] == [3, 3])  # a slot may have no connection yet
    pids = [sorted(one.backends()) for one in two]
    for client in clients:
        assert w.rows(client.ask(w.query("select 1"))) == [["1"]]
    assert [sorted(one.backends()) for one in two] == pids  # nothing moves to and fro
    close(clients)


def test_connections_in_transactions_do_not_move(trunkline, two):
    two[1].stop()
    daemon = trunkline(services=service(two, "weight=10", "weight=10", rebalance_interval="1s"),
                       routes=[route(pool_size=6)])
    clients = open_transactions(daemon, 6)
    commit(clients[4:])
    held = [w.rows(client.ask(w.query("select pg_backend_pid()"))) for client in clients[:4]]
    two[1].start()
    eventually(lambda: slots(daemon) == [4, 2])
    assert [w.rows(client.ask(w.query("select pg_backend_pid()"))) for client in clients[:4]] == held
    close(clients)


def test_spares_are_kept_ready_beside_what_is_in_use(trunkline, postgres):
    daemon = trunkline(routes=[route(pool_size=8, spares=3)])

    def pool():
        row = daemon.pool()
        return int(row["sv_active"]), int(row["sv_idle"])

    with daemon.endpoint().wire():
        eventually(lambda: pool()[1] >= 3)
        clients = open_transactions(daemon, 4)
        eventually(lambda: pool()[0] == 4 and pool()[1] >= 3)
        more = open_transactions(daemon, 3)
        eventually(lambda: pool() == (7, 1))  # pool_size
        close(clients + more)


def overload(daemon, clients, rounds):
    """Messages of errors that clients get who all want the same server for 20 ms, again and again."""
    errors = []

    def ask():
        with daemon.endpoint().wire() as client:
            for _ in range(rounds):
                errors.extend(m for m in client.ask(w.query("select pg_sleep(0.02)"))
                              if m.kind == "E")

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_lasting_overload_is_shed_and_says_so(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=1, claim_delay_target="5ms")])
    errors = overload(daemon, clients=10, rounds=10)
    assert 3 <= len(errors) < 60
    for error in errors:
        assert b"C53300" in error.body and b"is overloaded" in error.body
    assert int(daemon.console("SHOW SERVICES")[0]["refused_shed"]) == len(errors)


def test_without_a_target_nothing_is_shed(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=1)])
    assert overload(daemon, clients=10, rounds=3) == []
