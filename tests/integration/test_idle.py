"""Clients that do nothing cost next to nothing."""
import resource

import pytest

from support import wire as w
from support.patience import STRETCH, eventually
from support.trunkline import route

MANY = 1000 // STRETCH


def test_a_thousand_idle_clients_need_no_thread_and_little_memory(trunkline):
    daemon = trunkline(routes=[route(user="trusted", auth="trust", pool_size=4)],
                       users={"trusted": "trusted", "admin": "admin"})
    endpoint = daemon.endpoint(user="trusted")
    with endpoint.wire() as first:
        first.ask(w.query("select 1"))
        threads, memory = daemon.threads(), daemon.memory()
        clients = [endpoint.wire() for _ in range(MANY)]
        assert daemon.threads() == threads
        if STRETCH == 1:
            assert daemon.memory() - memory < MANY * 8192
        for client in clients[::50]:
            assert w.rows(client.ask(w.query("select 1"))) == [["1"]]
        for client in clients:
            client.__exit__()
    eventually(lambda: len(daemon.console("SHOW CLIENTS")) <= 1)


def test_idle_clients_that_all_wake_at_once_are_all_served(trunkline):
    daemon = trunkline(routes=[route(user="trusted", auth="trust", pool_size=4)])
    clients = [daemon.endpoint(user="trusted").wire() for _ in range(200)]
    for number, client in enumerate(clients):
        client.send(w.query(f"select {number}"))
    for number, client in enumerate(clients):
        assert w.rows(client.until()) == [[str(number)]]
        client.__exit__()


@pytest.mark.timeout(120)
def test_a_crowd_that_wakes_at_once_while_some_read_slowly_is_served(trunkline):
    """Ten thousand, where descriptors allow; each gets its own answer, whole."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500
    many = min(10000 // STRETCH ** 2, room)
    daemon = trunkline(routes=[route(user="trusted", auth="trust", pool_size=8)], clients=many + 100)
    endpoint = daemon.endpoint(user="trusted")
    big = w.query("select repeat('x', 1000) from generate_series(1, 4000)")
    slow = [endpoint.wire() for _ in range(4)]
    clients = [endpoint.wire() for _ in range(many)]
    for client in slow:
        client.send(big)
    for number, client in enumerate(clients):
        client.send(w.query(f"select {number}"))
    for number, client in enumerate(clients):
        assert w.rows(client.until()) == [[str(number)]]
    for client in slow:
        assert len(w.rows(client.until())) == 4000
    for client in clients + slow:
        client.__exit__()
    eventually(lambda: len(daemon.console("SHOW CLIENTS")) <= 1)


def test_descriptors_are_given_back(trunkline):
    daemon = trunkline(routes=[route(user="trusted", auth="trust", pool_size=4)])
    endpoint = daemon.endpoint(user="trusted")
    endpoint.one("select 1")
    eventually(lambda: len(daemon.console("SHOW CLIENTS")) <= 1)
    before = daemon.descriptors()
    for _ in range(100):
        with endpoint.wire() as wire:
            wire.ask(w.query("select 1"))
    eventually(lambda: daemon.descriptors() <= before + 2)
