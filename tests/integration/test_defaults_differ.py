"""Servers of one pool whose default parameter values differ: after ALTER ROLE, or on several hosts.

A client keeps the values that it was told at its login and those that it has set, on every server."""
import pytest
from support import wire as w
from support.trunkline import route

# A statement whose constant means what the time zone says at its Parse.
RUN = w.bind("", "s") + w.execute() + w.SYNC
EPOCH = w.parse("s", "select extract(epoch from timestamptz '2020-01-01 00:00')::int8::text")


def show(wire):
    return w.rows(wire.ask(w.query("show timezone")))[0][0]


@pytest.fixture
def changed(trunkline, cluster):
    """changed(): a daemon, and the holder of its older server, whose time zone is the older default.

    While the holder is in its transaction, others get the newer server."""
    server = cluster(timezone="UTC")
    daemon = trunkline(server=server, relays=1, routes=[route(pool_size=2)])
    holder = daemon.endpoint().wire()

    def change():
        holder.ask(w.query("begin"))
        server.sql("alter role app set timezone = 'Europe/Berlin'")
        return daemon, holder
    yield daemon, change
    holder.__exit__()


def test_a_value_that_was_the_default_at_the_login_holds_on_other_servers(changed):
    daemon, change = changed
    with daemon.endpoint().wire(TimeZone="UTC") as asked, daemon.endpoint().wire() as silent:
        assert silent.parameters["TimeZone"] == "UTC"
        holder = change()[1]
        assert show(asked) == "UTC"
        assert show(silent) == "UTC"
        with daemon.endpoint().wire() as later:
            assert later.parameters["TimeZone"] == show(later) == "Europe/Berlin"
            holder.ask(w.query("commit"))
            later.ask(w.query("begin"))
            silent.ask(w.query("begin"))  # so both servers are in use, in either order
            assert {show(later), show(silent)} == {"Europe/Berlin", "UTC"}
            for wire in later, silent:
                wire.ask(w.query("commit"))
            for wire in silent, later, asked, silent, later:
                assert show(wire) == ("Europe/Berlin" if wire is later else "UTC")


def test_a_value_that_is_the_default_of_one_server_only_is_kept_when_set(changed):
    daemon, change = changed
    with daemon.endpoint().wire() as wire:
        holder = change()[1]
        wire.ask(w.query("set timezone = 'Europe/Berlin'"))
        with daemon.endpoint().wire() as other:
            other.ask(w.query("begin"))  # it holds the newer server
            holder.ask(w.query("commit"))
            assert show(wire) == "Europe/Berlin"
        assert show(holder) == "UTC"


def test_reset_returns_to_the_value_of_the_login_on_other_servers(changed):
    daemon, change = changed
    with daemon.endpoint().wire() as wire:
        change()
        wire.ask(w.query("set timezone = 'Asia/Tokyo'"))
        assert show(wire) == "Asia/Tokyo"
        wire.ask(w.query("reset timezone"))
        assert show(wire) == "UTC"
        wire.ask(w.query("set timezone = 'Asia/Tokyo'"))
        wire.ask(w.query("discard all"))
        assert show(wire) == "UTC"


def test_a_prepared_statement_keeps_its_time_zone_on_other_servers(changed):
    daemon, change = changed
    with daemon.endpoint().wire() as wire:
        first = w.rows(wire.ask(EPOCH + RUN))
        assert first == [["1577836800"]]
        change()
        assert w.rows(wire.ask(RUN)) == first


def test_a_shared_statement_is_not_used_where_it_means_something_else(changed):
    daemon, change = changed
    with daemon.endpoint().wire() as wire:
        first = w.rows(wire.ask(EPOCH + RUN))
        change()
        assert show(wire) == "UTC"  # on the newer server
        with daemon.endpoint().wire() as later:
            there = w.rows(later.ask(EPOCH + RUN))
            assert there == [["1577833200"]]
            assert w.rows(wire.ask(RUN)) == first
            assert w.rows(later.ask(RUN)) == there


def test_clients_keep_their_values_after_a_failover_to_a_host_with_other_defaults(trunkline, cluster):
    first = cluster(timezone="UTC", datestyle="ISO, MDY")
    second = cluster(timezone="Europe/Berlin", datestyle="German, DMY")
    hosts = [f"127.0.0.1:{one.port}" for one in (first, second)]
    daemon = trunkline(relays=2, services={"main": {"hosts": hosts, "tls": {"mode": "disable"}}})
    wires = []
    for given in {}, {"TimeZone": "UTC"}, {"TimeZone": "Europe/Berlin"}, {"DateStyle": "ISO, MDY"}:
        wires += [(daemon.endpoint().wire(**given), given) for _ in range(3)]

    def values_are_kept(port):
        ask = w.query("select current_setting('port'), current_setting('timezone'), "
                      "current_setting('datestyle')")
        for wire, given in wires:
            wanted = {"TimeZone": "UTC", "DateStyle": "ISO, MDY", **given}
            assert w.rows(wire.ask(ask)) == [[str(port), wanted["TimeZone"], wanted["DateStyle"]]]
    values_are_kept(first.port)
    first.stop()
    values_are_kept(second.port)
    with daemon.endpoint().wire() as later:
        assert later.parameters["TimeZone"] == show(later) == "Europe/Berlin"
        values_are_kept(second.port)
    for wire, _ in wires:
        wire.__exit__()
