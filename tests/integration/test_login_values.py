"""Logins with new values of reported parameters: what a server has accepted once, all relays know."""
import threading
import time

import pytest
from support import wire as w
from support.patience import STRETCH, eventually
from support.trunkline import route

ZONES = ["Asia/Tokyo", "Europe/Berlin", "America/Lima", "Africa/Cairo"]


def relay_of(daemon, wire):
    """The number of the relay that serves this client; moves nothing."""
    return wire.pid & 127


def clients_of_both_relays(daemon):
    """A client of each relay.  All stay connected until there are two: a relay keeps a new client
    unless it has more than the other."""
    found, others = {}, []

    def both():
        wire = daemon.endpoint().wire()
        if found.setdefault(relay_of(daemon, wire), wire) is not wire:
            others.append(wire)
        return len(found) == 2
    eventually(both)
    for wire in others:
        wire.__exit__()
    return list(found.values())


def full(daemon):
    """Clients of both relays that hold the pool's two servers in transactions."""
    holders = clients_of_both_relays(daemon)
    for wire in holders:
        wire.ask(w.query("begin"))
    return holders


def test_values_that_one_relay_knows_need_no_server_on_another(trunkline):
    daemon = trunkline(relays=2, routes=[route(pool_size=2)])
    first = daemon.endpoint().wire(TimeZone="asia/tokyo", DateStyle="german")
    known = dict(TimeZone="asia/tokyo", DateStyle="german")
    holders = full(daemon)
    relays, others = set(), []

    def both():
        wire = daemon.endpoint().wire(**known)
        assert wire.parameters["TimeZone"] == "Asia/Tokyo"
        assert wire.parameters["DateStyle"] == "German, DMY"
        relays.add(relay_of(daemon, wire))
        others.append(wire)
        return len(relays) == 2
    eventually(both)
    for wire in [first, *holders, *others]:
        wire.__exit__()


def test_a_login_that_waits_goes_on_when_another_relay_learns_its_value(trunkline):
    daemon = trunkline(relays=2, login_timeout="1h", routes=[route(pool_size=1, claim_timeout="never")])
    with daemon.endpoint().wire() as holder:
        holder.ask(w.query("begin"))
        served = []

        def log_in():
            wire = daemon.endpoint().wire(TimeZone="Asia/Tokyo")
            served.append(wire)
        waiting = [threading.Thread(target=log_in) for _ in range(8)]
        for thread in waiting:
            thread.start()
        daemon.pool_shows(cl_waiting=8)
        holder.ask(w.query("rollback"))
        for thread in waiting:
            thread.join()
        assert {wire.parameters["TimeZone"] for wire in served} == {"Asia/Tokyo"}
        assert {w.rows(wire.ask(w.query("show timezone")))[0][0] for wire in served} == {"Asia/Tokyo"}
        for wire in served:
            wire.__exit__()


def test_a_relay_that_comes_later_knows_the_values_too(trunkline):
    daemon = trunkline(relays=4, routes=[route(pool_size=1)])
    with daemon.endpoint().wire(TimeZone="Asia/Tokyo") as one:
        one.ask(w.query("begin"))
        for _ in range(12):  # of all relays, some of which had no client of this pool before
            with daemon.endpoint().wire(TimeZone="Asia/Tokyo") as other:
                assert other.parameters["TimeZone"] == "Asia/Tokyo"


def test_a_login_waits_for_a_server_no_longer_than_login_timeout(trunkline):
    daemon = trunkline(relays=2, login_timeout="600ms", routes=[route(pool_size=2)])
    holders = full(daemon)
    begun = time.monotonic()
    with pytest.raises(w.Refused) as caught:
        daemon.endpoint().wire(TimeZone="Asia/Tokyo")
    assert 0.5 < time.monotonic() - begun < 5 * STRETCH
    assert caught.value.sqlstate == "53300"
    assert caught.value.fields["M"] == (
        'no server of pool "app"/"app" became free within login_timeout (600 ms, pool_size 2)')
    daemon.logged(r"client\.login_failed .*login_timeout")
    for wire in holders:
        wire.__exit__()


def test_an_invalid_value_still_fails_the_login(trunkline):
    daemon = trunkline(relays=2)
    for _ in range(4):
        with pytest.raises(w.Refused) as caught:
            daemon.endpoint().wire(TimeZone="Nowhere/None")
        assert caught.value.sqlstate == "22023"
