"""A server remembers its last client: nothing is sent when it comes back, else the difference."""
from support import wire as w
from support.patience import eventually
from support.trunkline import route


def told(postgres, mark, count):
    """All that the servers were told since a mark, once so many statements have been logged."""
    eventually(lambda: len(postgres.statements(mark)) >= count)
    return postgres.statements(mark)


def test_nothing_is_sent_when_a_client_comes_back_to_its_server(trunkline, postgres):
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.endpoint().wire(application_name="faithful") as wire:
        wire.ask(w.query("select 'warm'"))
        mark = postgres.mark()
        for number in range(10):
            wire.ask(w.query(f"select {number}"))
        assert told(postgres, mark, 10) == [f"select {number}" for number in range(10)]


def test_nothing_is_sent_between_clients_that_want_the_same(trunkline, postgres):
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.endpoint().wire(application_name="same") as one, \
            daemon.endpoint().wire(application_name="same") as other:
        one.ask(w.query("select 'warm'"))
        mark = postgres.mark()
        for client in (one, other) * 3:
            client.ask(w.query("select 1"))
        assert told(postgres, mark, 6) == ["select 1"] * 6


def test_only_the_difference_is_sent_to_a_server_of_another_client(trunkline, postgres):
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.endpoint().wire(application_name="one", DateStyle="ISO, YMD") as one, \
            daemon.endpoint().wire(application_name="other", DateStyle="ISO, YMD") as other:
        for client in (one, other) * 2:
            client.ask(w.query("select 'warm'"))
        mark = postgres.mark()
        for client in (one, other) * 2:
            client.ask(w.query("select 1"))
        statements = told(postgres, mark, 8)
        assert statements.count("select 1") == 4
        between = " ".join(text for text in statements if text != "select 1").lower()
        assert between.count("application_name") >= 4
        assert "datestyle" not in between and "discard" not in between


def test_each_client_finds_its_own_server_when_there_are_enough(trunkline, postgres):
    daemon = trunkline(relays=1, routes=[route(pool_size=2)])
    with daemon.endpoint().wire(application_name="one") as one, \
            daemon.endpoint().wire(application_name="other") as other:
        for client in (one, other):
            client.ask(w.query("begin"))
        for client in (one, other):
            client.ask(w.query("commit"))
        mark = postgres.mark()
        for client in (one, other) * 5:
            client.ask(w.query("select 1"))
        assert told(postgres, mark, 10) == ["select 1"] * 10


def test_a_session_is_sent_nothing_of_ours(trunkline, postgres):
    daemon = trunkline(routes=[route(pool="session", pool_size=1)])
    mark = postgres.mark()
    with daemon.endpoint().wire(application_name="one") as wire:
        for number in range(3):
            wire.ask(w.query(f"select {number}"))
        assert told(postgres, mark, 3) == [f"select {number}" for number in range(3)]
