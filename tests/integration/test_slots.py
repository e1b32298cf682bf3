"""SHOW SLOTS, SHOW CLAIMS, SHOW SERVICES; and why a claim is refused: no backends are known, none is
online, all connections are in use."""
from support import wire as w
from support.nameserver import NameServer
from support.patience import eventually
from support.ports import free_port
from support.trunkline import route

SRV = "_postgresql._tcp.db.test"


def hosts(*ports, **settings):
    return {"main": dict({"hosts": [f"127.0.0.1:{port}" for port in ports],
                          "tls": {"mode": "disable"}, "retry_min": "200ms", "retry_max": "5s"},
                         **settings)}


def service(daemon):
    return daemon.console("SHOW SERVICES")[0]


def states(daemon):
    return sorted(row["state"] for row in daemon.console("SHOW SLOTS"))


# -- slots and claims

def test_slots_are_shown_with_their_states_and_times(trunkline, postgres):
    daemon = trunkline(relays=1, routes=[route(pool_size=2)])
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as other:
        holder.ask(w.query("begin"))
        other.ask(w.query("select 1"))
        eventually(lambda: states(daemon) == ["claimed", "idle"])
        holder.ask(w.query("select pg_sleep(0.3)"))
        rows = {row["state"]: row for row in daemon.console("SHOW SLOTS")}
        servers = {row["id"]: row for row in daemon.console("SHOW SERVERS")}
        for row in rows.values():
            assert row["service"] == "main" and row["addr"] == f"127.0.0.1:{postgres.port}"
            assert row["database"] == "app" and row["user"] == "app" and row["relay"] == 0
            assert row["retry_in_ms"] is None
            assert int(row["age_ms"]) >= int(row["state_ms"]) >= 300
        assert servers[rows["claimed"]["id"]]["state"] == "active"
        assert servers[rows["idle"]["id"]]["state"] == "idle"


def test_a_backend_that_can_not_be_reached_is_a_failed_slot(trunkline):
    port = free_port()
    daemon = trunkline(relays=1, services=hosts(port, retry_min="5s"), routes=[
        route(claim_timeout="5s", auth="trust")])
    with daemon.endpoint().wire(login=False) as client:
        client.send(w.startup_packet(user="app", database="app"))
        eventually(lambda: states(daemon) == ["failed"])
        row = daemon.console("SHOW SLOTS")[0]
        assert row["addr"] == f"127.0.0.1:{port}" and row["id"] is None
        assert 0 < int(row["retry_in_ms"]) <= 5000


def test_a_check_is_a_state_of_a_slot(trunkline, postgres, proxy):
    network = proxy("127.0.0.1", postgres.port)
    daemon = trunkline(relays=1, services=hosts(network.port, health_check_interval="200ms"),
                       routes=[route(server_check_timeout="2s")])
    with daemon.endpoint().wire() as client:
        client.ask(w.query("select 1"))
        network.stuck()
        eventually(lambda: states(daemon) == ["checking"])
        eventually(lambda: int(service(daemon)["checks_failed"]) == 1)
        network.flow()
        client.ask(w.query("select 1"))
        assert int(service(daemon)["checks"]) >= 1
        assert service(daemon)["problem"] is None


def test_claims_are_shown_in_their_order(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=1)])
    clients = [daemon.endpoint().wire() for _ in range(3)]
    clients[0].ask(w.query("begin"))
    for number, client in enumerate(clients[1:], 1):
        client.send(w.query("select 1"))
        eventually(lambda: int(daemon.pool()["cl_waiting"]) == number)
    rows = daemon.console("SHOW CLAIMS")
    waiting = sorted((row for row in rows if row["state"] == "waiting"),
                     key=lambda row: row["place"])
    held = [row for row in rows if row["state"] == "held"]
    assert [row["place"] for row in waiting] == [1, 2] and len(held) == 1
    assert int(waiting[0]["age_ms"]) >= int(waiting[1]["age_ms"])
    assert int(held[0]["age_ms"]) >= int(waiting[0]["age_ms"])
    slot = daemon.console("SHOW SLOTS")[0]
    assert held[0]["slot"] == slot["id"] and waiting[0]["slot"] is None
    ids = {row["id"] for row in daemon.console("SHOW CLIENTS") if row["database"] == "app"}
    assert {row["client"] for row in rows} == ids
    assert int(service(daemon)["waiting"]) == 2
    clients[0].ask(w.query("commit"))
    for client in clients[1:]:
        client.until()
    for client in clients:
        client.__exit__()
    assert daemon.console("SHOW CLAIMS") == []


# -- refusals

def refusal(client):
    answer = client.ask(w.query("select 1"))[0]
    return answer.sqlstate, answer.fields["M"]


def test_three_refusals_are_told_apart(trunkline, cluster):
    own, server = cluster(), NameServer()
    records = [(SRV, "SRV", 1, f"10 5 {own.port} a.test"), ("a.test", "A", 1, "127.0.0.1")]
    server.records = list(records)
    try:
        daemon = trunkline(relays=1, routes=[route(pool_size=1, claim_timeout="1s", auth="trust")],
                           services={"main": {
                               "resolver": "srv", "name": SRV, "name_servers": [server.address],
                               "refresh_min": "200ms", "refresh_max": "300ms", "empty_after": 1,
                               "tls": {"mode": "disable"}, "retry_max": "300ms"}})
        with daemon.endpoint().wire() as client, daemon.endpoint().wire() as holder:
            assert service(daemon)["state"] == "online"
            holder.ask(w.query("begin"))
            assert refusal(client) == ("53300", 'no server of pool "app"/"app" became free within '
                                                "claim_timeout (1000 ms, pool_size 1)")
            assert int(service(daemon)["refused_all_used"]) == 1
            holder.ask(w.query("commit"))

            own.stop()
            eventually(lambda: states(daemon) in ([], ["failed"]))
            state, text = refusal(client)
            assert state == "08006", text
            assert 'no login at service "main" has succeeded for ' in text
            assert ", 0 of its 1 servers accept logins: 127.0.0.1:" in text
            row = service(daemon)
            assert row["state"] == "none_online" and row["problem"] in text
            assert int(row["refused_none_online"]) == 1 and int(row["down_ms"]) > 0

            server.records = []
            eventually(lambda: service(daemon)["state"] == "no_backends")
            state, text = refusal(client)
            assert state == "08006", text
            assert 'service "main" has had no servers for ' in text
            assert int(service(daemon)["refused_no_backends"]) == 1

            server.records = list(records)
            own.start()
            eventually(lambda: service(daemon)["state"] == "online")
            client.ask(w.query("select 1"))
            row = service(daemon)
            assert row["problem"] is None and row["down_ms"] is None
            assert [int(row[name]) for name in row if name.startswith("refused")] == \
                [1, 1, 1, 0, 0, 0]
    finally:
        server.end()


def test_drained_servers_are_none(trunkline, postgres):
    daemon = trunkline(relays=1, services=hosts(postgres.port), routes=[route(claim_timeout="1s")])
    with daemon.endpoint().wire() as client:
        client.ask(w.query("select 1"))
        daemon.console(f"DRAIN '127.0.0.1:{postgres.port}'")
        eventually(lambda: states(daemon) == [])
        state, text = refusal(client)
        assert state == "57P03" and "all of its servers are drained" in text
        assert 'service "main" has had no servers for ' in text
        row = service(daemon)
        assert (row["state"], row["backends"], row["online"], row["drained"]) == \
            ("no_backends", 1, 0, 1)
        assert int(row["refused_no_backends"]) == 1


def test_a_paused_database_and_a_rejected_login_are_counted_apart(trunkline, postgres):
    daemon = trunkline(relays=1, routes=[
        route(user="reports", claim_timeout="1s", pool_size=1),
        route(server_database="nowhere", auth="trust", claim_timeout="5s")])
    with daemon.endpoint(user="reports").wire() as client:
        client.ask(w.query("select 1"))
        daemon.console("PAUSE app")
        state, text = refusal(client)
        assert state == "53300" and 'database "app" is paused' in text
        daemon.console("RESUME app")
    with daemon.endpoint().wire(login=False) as client:
        client.send(w.startup_packet(user="app", database="app"))
        eventually(lambda: int(service(daemon)["refused_rejected"]) == 1)
    assert int(service(daemon)["refused_paused"]) == 1


# -- the client's own last server

def test_a_client_gets_the_server_it_had_last_if_it_is_idle(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=4)])
    clients = [daemon.endpoint().wire() for _ in range(4)]
    for client in clients:
        client.send(w.query("select pg_backend_pid(), pg_sleep(0.2)"))
    own = [w.rows(client.until())[0][0] for client in clients]
    assert len(set(own)) == 4
    for turn in range(12):
        client = clients[turn * 3 % 4]
        pid = w.rows(client.ask(w.query("select pg_backend_pid()")))[0][0]
        assert pid == own[turn * 3 % 4]
    for client in clients:
        client.__exit__()
