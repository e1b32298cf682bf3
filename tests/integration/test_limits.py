"""Every limit is exact, answers with its own SQLSTATE, and lets go again."""
import threading

import psycopg
import pytest
from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.trunkline import route


def refused(daemon, **login):
    """The SQLSTATE with which a login is refused."""
    wire = daemon.endpoint(**login).wire(login=False)
    wire.send(w.startup_packet(user=login.get("user", "app"),
                               database=login.get("database", "app")))
    answers = wire.rest()
    wire.__exit__()
    errors = [m for m in answers if m.kind == "E"]
    assert errors, answers
    assert errors[0].fields["S"] == "FATAL"
    return errors[0].sqlstate


def let_in(clients, connect):
    """Once the place of one that left is free."""
    def came():
        try:
            clients.append(connect())
            return True
        except psycopg.OperationalError as error:
            assert "too many" not in str(error)
            raise

    eventually(came)


def test_a_claim_that_waits_too_long_is_answered_and_its_client_stays(trunkline):
    daemon = trunkline(routes=[route(pool_size=1, claim_timeout="1s")])
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as waiting:
        holder.ask(w.query("begin"))
        waiting.send(w.query("select 1"))
        took = seconds(lambda: waiting.until("E"))
        assert 0.9 < took < 2 * STRETCH
        assert waiting.until()[-1].body == b"I"
        waiting.send(w.parse("", "select 1"), w.bind(), w.execute(), w.SYNC)
        answers = waiting.until()
        assert w.kinds(answers) == "E Z" and answers[0].sqlstate == "53300"
        assert answers[0].fields["S"] == "ERROR"
        holder.ask(w.query("commit"))
        assert w.rows(waiting.ask(w.query("select 1"))) == [["1"]]


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pool_never_has_more_servers_than_its_size(trunkline, postgres, mode):
    daemon = trunkline(relays=2, routes=[route(user="reports", pool=mode, pool_size=3)])
    stop = threading.Event()
    counts = []

    def watch():
        while not stop.is_set():
            counts.append(len(postgres.backends("app", "reports")))

    def work():
        for _ in range(5):
            assert daemon.endpoint(user="reports").one("select pg_sleep(0.01) is null") is False

    watcher = threading.Thread(target=watch)
    watcher.start()
    workers = [threading.Thread(target=work) for _ in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stop.set()
    watcher.join()
    assert max(counts) <= 3
    if mode == "transaction":
        assert max(counts) == 3


def test_the_servers_of_a_pool_serve_clients_of_every_relay(trunkline):
    daemon = trunkline(relays=2, routes=[route(pool_size=1)])
    clients = [daemon.endpoint().wire() for _ in range(8)]
    for _ in range(3):
        for client in clients:
            client.send(w.query("select pg_backend_pid()"))
        pids = {w.rows(client.until())[0][0] for client in clients}
        assert len(pids) == 1
    for client in clients:
        client.__exit__()


def test_the_limit_of_all_clients_is_exact_and_lets_go(trunkline):
    daemon = trunkline(clients=3)
    clients = [daemon.connect() for _ in range(3)]
    assert refused(daemon) == "53300"
    clients.pop().close()
    let_in(clients, daemon.connect)
    assert refused(daemon) == "53300"
    for client in clients:
        assert client.execute("select 1").fetchone() == (1,)
        client.close()


def test_the_limit_of_one_pools_clients_is_its_own(trunkline):
    daemon = trunkline(routes=[route(user="reports", client_limit=2), route()])
    clients = [daemon.connect(user="reports") for _ in range(2)]
    with pytest.raises(psycopg.OperationalError, match="too many|limit|clients"):
        daemon.connect(user="reports")
    with daemon.connect() as other:
        assert other.execute("select 1").fetchone() == (1,)
    for client in clients:
        client.close()


def test_the_limit_of_one_pools_clients_is_exact_when_many_come_at_once(trunkline):
    """Over both relays, for clients of the two versions that a reload makes, and again afterwards."""
    daemon = trunkline(relays=2, routes=[route(client_limit=5)])
    endpoint = daemon.endpoint()

    def rush():
        entered, turned_away, lock = [], [], threading.Lock()

        def enter():
            try:
                connection = endpoint.connect()
            except psycopg.OperationalError as error:
                with lock:
                    turned_away.append(str(error))
                return
            with lock:
                entered.append(connection)

        threads = [threading.Thread(target=enter) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all("too many clients of pool" in error for error in turned_away), turned_away
        return entered

    first = rush()
    assert len(first) == 5
    first.pop().close()
    first.pop().close()
    daemon.pool_shows(cl_active=3)
    daemon.reload(dict(daemon.config, routes=[route(client_limit=5, auth="md5")]))
    second = rush()
    assert len(second) == 2
    for connection in first + second:
        assert connection.execute("select 1").fetchone() == (1,)
        connection.close()
    daemon.pool_shows(cl_active=0)
    third = rush()
    assert len(third) == 5
    for connection in third:
        connection.close()


def test_a_server_that_is_full_is_waited_for(trunkline, cluster):
    own = cluster(max_connections=6, superuser_reserved_connections=3)
    daemon = trunkline(server=own, routes=[route(pool_size=10)])
    clients = [daemon.endpoint().wire() for _ in range(10)]
    for client in clients:
        client.send(w.query("select 'served', pg_sleep(0.05)"))
    for client in clients:
        assert w.rows(client.until())[0][0] == "served"
        client.__exit__()


def test_a_server_without_room_gets_it_from_pools_that_rest(trunkline, cluster):
    """The limit is PostgreSQL's own: it is met, and an idle server of another pool makes room."""
    own = cluster(max_connections=6, superuser_reserved_connections=3)
    daemon = trunkline(server=own, routes=[route(pool_size=10)])
    resting = [daemon.endpoint().wire() for _ in range(3)]
    for client in resting:
        client.send(w.query("select pg_sleep(0.1)"))
    for client in resting:
        client.until()
    assert len(own.backends()) == 3
    took = seconds(lambda: daemon.endpoint(user="reports").one("select 1"))
    assert took < 2 * STRETCH
    for client in resting:
        assert w.rows(client.ask(w.query("select 1"))) == [["1"]]
        client.__exit__()


def test_the_limit_of_connections_to_one_server_counts_all_pools(trunkline, cluster):
    own = cluster()
    daemon = trunkline(server=own, services={"main": {
        "hosts": [f"127.0.0.1:{own.port}"], "tls": {"mode": "disable"}, "connection_limit": 2}})
    endpoints = [daemon.endpoint(), daemon.endpoint(user="reports"), daemon.endpoint(database="transaction")]
    clients = [endpoint.wire() for endpoint in endpoints for _ in range(3)]
    for _ in range(2):
        for client in clients:
            client.send(w.query("select count(*) from pg_stat_activity "
                                "where usename in ('app', 'reports')"))
        for client in clients:
            assert int(w.rows(client.until())[0][0]) <= 2
    for client in clients:
        client.__exit__()


def limited(trunkline, limits, **options):
    """A daemon with these keys; `users` among them is the configuration's, not the auth file's."""
    daemon = trunkline(start=False, **options)
    daemon.write(dict(daemon.config, **limits))
    return daemon.start()


@pytest.mark.parametrize("limits, full, named", [
    ({"database_clients": 3}, dict(database="app", user="reports"), 'database "app"'),
    ({"databases": {"app": {"client_limit": 3}}}, dict(database="app", user="reports"),
     'database "app"'),
    ({"user_clients": 3}, dict(database="transaction", user="app"), 'user "app"'),
    ({"users": {"app": {"client_limit": 3}}, "user_clients": 1},
     dict(database="transaction", user="app"), 'user "app"'),
])
def test_clients_of_a_database_or_a_user_are_counted_over_all_pools(trunkline, limits, full,
                                                                   named):
    daemon = limited(trunkline, limits, relays=2, routes=[route(auth="trust")])
    clients = [daemon.connect() for _ in range(3)]
    with pytest.raises(psycopg.OperationalError, match=f"too many clients of {named}, "
                                                       "the limit is 3"):
        daemon.connect(**full)
    assert refused(daemon) == "53300"
    with daemon.connect(database="transaction", user="reports") as other:
        assert other.execute("select 1").fetchone() == (1,)
    clients.pop().close()
    let_in(clients, lambda: daemon.connect(**full))
    for client in clients:
        client.close()


@pytest.mark.parametrize("limits, pools, most", [
    ({"servers": 2}, [("app", "app"), ("app", "reports"), ("transaction", "app")], 2),
    ({"database_servers": 2}, [("app", "app"), ("app", "reports")], 2),
    ({"databases": {"app": {"server_limit": 2}}}, [("app", "app"), ("app", "reports")], 2),
    ({"user_servers": 2}, [("app", "app"), ("transaction", "app"), ("session", "app")], 2),
    ({"users": {"app": {"server_limit": 2}}}, [("app", "app"), ("transaction", "app")], 2),
])
def test_servers_are_counted_over_pools_and_all_pools_are_served(trunkline, cluster, limits, pools,
                                                                 most):
    own = cluster()
    daemon = limited(trunkline, limits, server=own, relays=2, routes=[route()])
    clients = [daemon.endpoint(database=database, user=user).wire()
               for database, user in pools for _ in range(3)]
    for _ in range(3):
        for client in clients:
            client.send(w.query("select count(*) from pg_stat_activity "
                                "where usename in ('app', 'reports')"))
        for client in clients:
            assert int(w.rows(client.until())[0][0]) <= most
    assert len(own.backends()) <= most
    for client in clients:
        client.__exit__()


@pytest.mark.parametrize("limits, named", [
    ({"servers": 1}, "all pools are at the limit of 1 servers"),
    ({"database_servers": 1}, 'database "app" is at its limit of 1 servers'),
    ({"services": "connection_limit"}, 'service "main" is at its connection_limit 1'),
    ({}, "pool_size 1"),
])
def test_claim_timeout_names_the_limit_that_was_reached(trunkline, postgres, limits, named):
    if "services" in limits:
        limits = {"services": {"main": {"hosts": [f"127.0.0.1:{postgres.port}"],
                                        "tls": {"mode": "disable"}, "connection_limit": 1}}}
    daemon = trunkline(routes=[route(pool_size=2 if limits else 1, claim_timeout="1s")],
                       **limits)
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as waiting:
        holder.ask(w.query("begin"))
        answer = waiting.ask(w.query("select 1"))[0]
        assert answer.sqlstate == "53300" and named in answer.fields["M"]


def test_a_limit_of_servers_changes_with_a_reload(trunkline, cluster):
    own = cluster()
    daemon = trunkline(server=own, routes=[route()], servers=1)
    clients = [daemon.endpoint().wire() for _ in range(4)]
    pids = w.query("select pg_backend_pid(), pg_sleep(0.1)")

    def count():
        for client in clients:
            client.send(pids)
        return len({w.rows(client.until())[0][0] for client in clients})

    assert count() == 1
    daemon.reload(dict(daemon.config, servers=3))
    assert count() == 3
    daemon.reload(dict(daemon.config, servers="off"))
    assert count() == 4
    for client in clients:
        client.__exit__()


def test_a_database_that_no_route_knows_is_refused(trunkline):
    daemon = trunkline(routes=[route(database="app")])
    with pytest.raises(psycopg.OperationalError):
        daemon.connect(database="session")
    assert daemon.endpoint().one("select 1") == 1


def test_an_idle_server_is_closed_after_its_time(trunkline, postgres):
    daemon = trunkline(routes=[route(user="reports", idle_timeout="1s")])
    with daemon.connect(user="reports") as connection:
        connection.execute("select 1")
        assert len(postgres.backends("app", "reports")) == 1
        eventually(lambda: postgres.backends("app", "reports") == [])
        assert connection.execute("select 1").fetchone() == (1,)


def test_an_old_server_is_replaced(trunkline):
    daemon = trunkline(routes=[route(pool_size=1, server_lifetime="400ms")])
    with daemon.connect() as connection:
        first = connection.execute("select pg_backend_pid()").fetchone()
        eventually(lambda: connection.execute("select pg_backend_pid()").fetchone() != first)


def test_a_pool_keeps_its_least_servers_while_it_has_clients(trunkline, postgres):
    daemon = trunkline(routes=[route(user="reports", pool_min=3, idle_timeout="200ms")])
    with daemon.connect(user="reports") as connection:
        connection.execute("select 1")
        eventually(lambda: len(postgres.backends("app", "reports")) == 3)
        kept = postgres.backends("app", "reports")
        with daemon.endpoint(user="reports").wire() as other:
            assert other.silent(0.8)  # longer than idle_timeout: they stay, and are not made anew
        assert postgres.backends("app", "reports") == kept
        postgres.sql("select pg_terminate_backend(%s)", kept[0])
        eventually(lambda: len(postgres.backends("app", "reports")) == 3 and
                   kept[0] not in postgres.backends("app", "reports"))
    eventually(lambda: postgres.backends("app", "reports") == [])


def test_an_idle_client_is_disconnected_after_its_time(trunkline):
    daemon = trunkline(routes=[route(client_idle_timeout="800ms")])
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select 1"))
        answers = wire.rest()
        assert [m.fields["S"] for m in answers if m.kind == "E"] == ["FATAL"]


def test_a_client_that_does_not_log_in_is_disconnected(trunkline):
    daemon = trunkline(login_timeout="400ms")
    with daemon.endpoint().wire(login=False) as silent:
        assert seconds(silent.rest) < 3 * STRETCH
    with daemon.endpoint().wire(login=False) as half:
        half.send(w.startup_packet(user="app", database="app"))
        half.receive()
        assert seconds(half.rest) < 3 * STRETCH


def test_a_message_beyond_message_limit_affects_no_other_client(trunkline):
    daemon = trunkline(message_limit="1MiB")
    with daemon.endpoint().wire() as other, daemon.endpoint().wire() as wire:
        answers = wire.last_words(w.parse("big", "select '" + "x" * (4 << 20) + "'"), w.SYNC,
                                  shut=False)
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["54000"]
        assert w.rows(other.ask(w.query("select 1"))) == [["1"]]
