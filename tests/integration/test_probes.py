"""Probes: what the pooler knows of its servers without a client, and what it makes of it."""
import shutil

import psycopg
import pytest
from support.patience import eventually
from support.postgres import Postgres, make_template, place
from support.trunkline import route
from test_roles import Replicated, ports_of

PROBE = {"user": "app", "interval": "100ms", "timeout": "2s"}
PROBES = "select count(*) from pg_stat_activity where application_name = 'trunkline probe'"


@pytest.fixture
def servers(template):
    made = Replicated(template)
    yield made
    made.remove()


def backends(daemon):
    return {int(row["addr"].rpartition(":")[2]): row for row in daemon.console("SHOW BACKENDS")}


def shows(daemon, **wanted):
    """Waits until this column of all backends has these values, by port."""
    [(column, values)] = wanted.items()
    eventually(lambda: {port: row[column] for port, row in backends(daemon).items()} == values)


def known(servers):
    return {servers.primary.port: "primary"} | {one.port: "replica" for one in servers.standbys}


def test_roles_are_known_without_clients(trunkline, servers):
    """Each probe has one connection, which is of no pool and ends with its setting."""
    daemon = trunkline(services=servers.service(probe=PROBE), routes=[route()])
    shows(daemon, role=known(servers))
    rows = backends(daemon)
    assert {int(row["timeline"]) for row in rows.values()} == {1}
    assert {int(row["slots"]) for row in rows.values()} == {0}
    eventually(lambda: all(int(row["lag_ms"]) == 0 for port, row in backends(daemon).items()
                           if port != servers.primary.port))
    assert rows[servers.primary.port]["lag_ms"] is None
    assert daemon.console("SHOW POOLS") == [] or daemon.pool() == {}
    assert [one.one(PROBES) for one in servers.all()] == [1, 1, 1]
    daemon.reload(dict(daemon.config, services=servers.service()))
    eventually(lambda: [one.one(PROBES) for one in servers.all()] == [0, 0, 0])


def test_no_login_goes_to_a_server_whose_role_a_probe_has_told(trunkline, servers):
    daemon = trunkline(services=servers.service(probe=PROBE),
                       routes=[route(target_session_attrs="standby")])
    shows(daemon, role=known(servers))
    mark = servers.primary.mark()
    assert ports_of(daemon, 6) == {one.port for one in servers.standbys}
    ours = servers.primary.log()[mark:]
    assert "authorized: user=app database=app" not in ours


def test_a_promotion_is_seen_and_its_pools_follow(trunkline, servers):
    daemon = trunkline(services=servers.service(probe=PROBE),
                       routes=[route(target_session_attrs="standby")])
    shows(daemon, role=known(servers))
    promoted, other = servers.standbys
    idle = daemon.connect()
    idle.execute("select 1")
    assert ports_of(daemon, 6) == {promoted.port, other.port}
    servers.primary.stop()
    promoted.sql("select pg_promote()")
    eventually(lambda: backends(daemon)[promoted.port]["role"] == "primary")
    assert backends(daemon)[promoted.port]["timeline"] in ("2", 2)
    assert "backend.role" in daemon.log()
    eventually(lambda: ports_of(daemon, 6) == {other.port})
    eventually(lambda: promoted.backends() == [] or len(promoted.backends()) == 1)  # the probe's
    assert int(idle.execute("show port").fetchone()[0]) == other.port
    idle.close()


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("where", ["service", "route"])
def test_a_replica_beyond_the_lag_limit_gets_no_reads(trunkline, servers, mode, where):
    limit = {"lag_limit": "1s"}
    daemon = trunkline(
        services=servers.service(probe=PROBE, **(limit if where == "service" else {})),
        routes=[route(pool=mode, target_session_attrs="standby",
                      **(limit if where == "route" else {}))])
    late, other = servers.standbys
    assert eventually(lambda: ports_of(daemon, 8) == {late.port, other.port})
    late.sql("select pg_wal_replay_pause()")
    servers.primary.sql("create table written ()")

    def late_is_late():
        return int(backends(daemon)[late.port]["lag_ms"] or 0) > 1000

    eventually(late_is_late)
    eventually(lambda: ports_of(daemon, 8) == {other.port})
    assert all(row["role"] == "replica" for port, row in backends(daemon).items()
               if port != servers.primary.port)
    assert int(backends(daemon)[other.port]["lag_ms"]) == 0
    eventually(lambda: int(backends(daemon)[late.port]["slots"]) == 0)
    late.sql("select pg_wal_replay_resume()")
    # Idle servers of session pools stay where they are; more clients need more servers.
    eventually(lambda: ports_of(daemon, 16) == {late.port, other.port})


def test_all_replicas_late_sends_those_who_only_prefer_them_to_the_primary(trunkline, servers):
    daemon = trunkline(services=servers.service(probe=PROBE, lag_limit="500ms"),
                       routes=[route(database="app", target_session_attrs="prefer-standby"),
                               route(target_session_attrs="standby", claim_timeout="300ms")])
    assert eventually(lambda: ports_of(daemon, 2) <= {one.port for one in servers.standbys})
    for one in servers.standbys:
        one.sql("select pg_wal_replay_pause()")
    servers.primary.sql("create table written ()")
    eventually(lambda: ports_of(daemon, 2) == {servers.primary.port})
    with pytest.raises(psycopg.OperationalError, match='no server of service "main" is a standby'):
        daemon.endpoint("postgres").one("select 1")


def test_a_server_of_another_system_is_refused(trunkline, servers):
    folder = place("foreign")
    stranger = Postgres(make_template(folder))
    try:
        service = servers.service(probe=PROBE)
        service["main"]["hosts"].append(f"127.0.0.1:{stranger.port}")
        daemon = trunkline(services=service, routes=[route(target_session_attrs="any")])
        eventually(lambda: backends(daemon)[stranger.port]["state"] == "foreign")
        assert "backend.foreign" in daemon.log()
        for _ in range(5):
            assert stranger.port not in ports_of(daemon, 4)
    finally:
        stranger.remove()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_server_that_answers_no_probe_is_offline(trunkline, servers):
    daemon = trunkline(services=servers.service(probe=dict(PROBE, timeout="300ms")),
                       routes=[route()])
    shows(daemon, role=known(servers))
    down = servers.standbys[0]
    down.stop()
    eventually(lambda: backends(daemon)[down.port]["state"] == "offline")
    daemon.logged("probe.failed")
    down.start()
    shows(daemon, state={one.port: "online" for one in servers.all()})


def test_a_probe_that_may_not_log_in_takes_no_server_offline(trunkline, servers):
    daemon = trunkline(services=servers.service(probe=dict(PROBE, password="wrong")),
                       routes=[route()])
    daemon.logged("probe.failed")
    servers_fine = daemon.connect()
    servers_fine.execute("select 1")
    for _ in range(20):
        assert {row["state"] for row in backends(daemon).values()} == {"online"}
    assert daemon.log().count("probe.failed") == 3  # once for each, until one succeeds
    servers_fine.close()


def test_an_answer_that_is_too_long_is_a_failed_probe(trunkline, servers):
    """The probe's user has a function of its own in place of one that the probe calls."""
    daemon = trunkline(services=servers.service(probe=dict(PROBE, database="app")),
                       routes=[route()])
    shows(daemon, role=known(servers))
    end = servers.primary
    for length in 4000, 4096:
        end.sql("create schema if not exists mine authorization app")
        end.sql("create or replace function mine.current_setting(text) returns text language sql "
                f"as $$ select repeat('x', {length}) $$")
        end.sql("alter role app set search_path = mine, pg_catalog")
        daemon.reload(daemon.config)  # for new connections of the probes
        if length < 4096:
            eventually(lambda: end.sql("select 1 from pg_stat_activity where application_name = "
                                       "'trunkline probe' and backend_start > now() - '5s'::interval"))
            assert "probe.failed" not in daemon.log()
        else:
            daemon.logged(r"probe.failed.*the limit is 4096")


def test_what_rejected_probes_have_said_before_is_forgotten(trunkline, servers):
    daemon = trunkline(services=servers.service(probe=PROBE), routes=[route()])
    shows(daemon, role=known(servers))
    assert {row["timeline"] for row in backends(daemon).values()} != {None}
    servers.primary.sql("alter role app password 'another'")
    servers.settled()

    def forgotten():
        """A probe may have logged in a moment ago with the password from before."""
        for one in servers.all():
            one.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                    " where application_name = 'trunkline probe'")
        return {row["timeline"] for row in backends(daemon).values()} == {None}

    eventually(forgotten)
    assert {row["state"] for row in backends(daemon).values()} == {"online"}
