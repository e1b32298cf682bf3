"""While no server can be logged in to, clients are told which backend fails, how, and since when."""
import re

import pytest
from support import wire as w
from support.ports import free_port
from support.scripted import Scripted
from support.trunkline import route


def service(*hosts):
    return {"main": {"hosts": list(hosts), "tls": {"mode": "disable"}}}


def refusal(wire):
    """The error of a login."""
    wire.send(w.startup_packet(user="app", database="app"))
    answer, = [m for m in wire.rest() if m.kind == "E"]
    return answer


def told(answer, sqlstate, *pieces):
    assert answer.sqlstate == sqlstate, answer.fields
    text = answer.fields["M"]
    assert "pool_size" not in text
    for piece in pieces:
        assert re.search(piece, text), text
    return text


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("pool_size", [1, 20])
def test_a_backend_that_refuses_connections_is_named_with_its_error(trunkline, mode, pool_size):
    port = free_port()
    daemon = trunkline(services=service(f"127.0.0.1:{port}"), routes=[
        route(pool=mode, auth="trust", pool_size=pool_size, claim_timeout="800ms")])
    with daemon.endpoint().wire(login=False) as wire:
        answer = refusal(wire)
    assert answer.fields["S"] == "FATAL"
    text = told(answer, "08006", rf"127\.0\.0\.1:{port}: .*refused", r'service "main"', "claim_timeout")
    assert 500 <= int(re.search(r"succeeded for (\d+) ms", text)[1]) <= 60000


@pytest.mark.parametrize("relays", [1, 3])
def test_a_client_that_stays_is_told_and_served_when_the_backend_is_back(trunkline, cluster, relays):
    own = cluster()
    daemon = trunkline(server=own, relays=relays, routes=[route(claim_timeout="1s")])
    wires = [daemon.endpoint().wire() for _ in range(2 * relays)]
    wires[0].ask(w.query("select 1"))
    own.stop()
    for wire in wires:
        wire.send(w.query("select 1"))
    for wire in wires:
        answers = wire.until()
        assert w.kinds(answers) == "E Z" and answers[0].fields["S"] == "ERROR"
        told(answers[0], "08006", rf"127\.0\.0\.1:{own.port}: .*refused")
    own.start()
    for wire in wires:
        assert w.rows(wire.ask(w.query("select 'back'"))) == [["back"]]
        wire.__exit__()


def test_a_backend_that_is_starting_up_is_told_as_such(trunkline):
    words = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
    with Scripted(refusal=words) as server:
        daemon = trunkline(services=service(f"127.0.0.1:{server.port}"), routes=[
            route(auth="trust", claim_timeout="800ms")])
        with daemon.endpoint().wire(login=False) as wire:
            told(refusal(wire), "57P03", rf"127\.0\.0\.1:{server.port}: .*the database system is starting up")


def test_a_host_that_has_no_address_is_named(trunkline):
    daemon = trunkline(services=service("no.such.host.invalid:5432"), routes=[
        route(auth="trust", claim_timeout="8s")])
    daemon.logged("service.unresolved")
    with daemon.endpoint().wire(login=False) as wire:
        told(refusal(wire), "08006", r"no\.such\.host\.invalid: ")


def test_a_waiting_client_gets_a_notice(trunkline, cluster):
    own = cluster()
    daemon = trunkline(server=own, routes=[route(claim_timeout="30s", claim_notice="1s")])
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select 1"))
        own.stop()
        wire.send(w.query("select 'at last'"))
        notice = wire.receive()
        assert notice.kind == "N"
        told(notice, "00000", rf"127\.0\.0\.1:{own.port}: .*refused", "waiting for a server")
        own.start()
        assert w.rows(wire.until()) == [["at last"]]


def test_a_paused_database_is_told_as_such(trunkline):
    daemon = trunkline(routes=[route(claim_timeout="500ms")])
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select 1"))
        daemon.console("PAUSE app")
        told(wire.ask(w.query("select 1"))[0], "53300", 'database "app" is paused')
        daemon.console("RESUME app")
        assert w.rows(wire.ask(w.query("select 2"))) == [["2"]]
