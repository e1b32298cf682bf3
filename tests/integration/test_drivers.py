"""Drivers as their packages come: what a program sees through a pool is what it sees without one.

Each program in drivers/ does the same things in its driver's way and prints what came of them; the
output of a run through the daemon must be that of a run against PostgreSQL.  See docs/drivers.md.
"""
import pytest
from support import drivers
from support.ports import free_port
from support.trunkline import Trunkline, configuration, route

# What every program prints, whatever its driver makes of types and errors.
COMMON = {"prepared.repeated": "210", "prepared.many": "20100", "transactions.commit": "1",
          "transactions.rollback": "1", "transactions.after": "1", "cancel.after": "1",
          "large": f"{drivers.LARGE} same", "terminated.after": "1", "crowd": "160"}
POOL_SIZE = 4  # a crowd has eight workers
ALL_MAY_PIN = {"pin_share": 100}
# What keeps a server with its client: some drivers SET what servers do not report, as soon as they
# connect; psycopg2's program uses SQL's PREPARE.
PINS = {"jdbc": {"set"}, "odbc": {"set"}, "psycopg2": {"prepare"}}


@pytest.fixture(scope="module")
def make_daemon(postgres, certificate, authority, tmp_path_factory):
    """make_daemon(server, "plain" or "tls"): a daemon with a pool of either mode."""
    made = []

    def make(server, encryption):
        listen = {"host": "127.0.0.1", "port": free_port()}
        service = {"hosts": [f"127.0.0.1:{server.port}"], "tls": {"mode": "disable"}}
        if encryption == "tls":
            listen["tls"] = {"mode": "require", "cert": str(certificate.cert),
                             "key": str(certificate.key)}
            service["tls"] = {"mode": "verify-full", "ca": str(authority.cert)}
        daemon = Trunkline(tmp_path_factory.mktemp("drivers"), configuration(
            server, listen=[listen], services={"main": service},
            routes=[route(database="session", pool="session", pool_size=POOL_SIZE),
                    route(pool_size=POOL_SIZE, session_state=ALL_MAY_PIN)]))
        made.append(daemon)
        return daemon.start()

    yield make
    for daemon in made:
        daemon.stop()


@pytest.fixture(scope="module")
def daemons(make_daemon, postgres):
    return {encryption: make_daemon(postgres, encryption) for encryption in ("plain", "tls")}


@pytest.fixture(scope="module")
def direct(postgres):
    """direct(name): what a program prints without a pooler; asked for once."""
    said = {}

    def ask(name):
        if name not in said:
            said[name] = drivers.run(name, postgres.endpoint())
        return said[name]

    return ask


def pinned(daemon):
    return {row["kind"]: row["pinned"] for row in daemon.console("SHOW PIN_TOTALS")}


@pytest.mark.long
@pytest.mark.timeout(180 * drivers.STRETCH)
@pytest.mark.parametrize("name", drivers.COMMANDS)
def test_a_program_prints_the_same_through_every_pool(name, daemons, direct, authority):
    wanted = direct(name)
    found = dict(line.split(" ", 1) for line in wanted.splitlines() if " " in line)
    assert {key: found.get(key) for key in COMMON} == COMMON, wanted
    for encryption, daemon in daemons.items():
        before = pinned(daemon)
        for mode in ("session", "transaction"):
            said = drivers.run(name, daemon.endpoint(database=mode),
                               authority=authority if encryption == "tls" else None)
            assert said == wanted, f"{encryption}, {mode}"
        pins = {kind for kind, count in pinned(daemon).items() if count != before[kind]}
        assert pins == PINS.get(name, set())


@pytest.mark.timeout(180 * drivers.STRETCH)
@pytest.mark.parametrize("name, settings, session_state", [
    ("jdbc", {"DRIVER_URL": "?assumeMinServerVersion=9.0"}, {}), ("odbc", {}, {"set": "reset"})])
def test_no_connection_is_pinned_if_the_driver_is_set_up_as_its_page_says(
        name, settings, session_state, make_daemon, postgres, direct):
    daemon = make_daemon(postgres, "plain")
    daemon.reload(dict(daemon.config, routes=[
        route(pool_size=POOL_SIZE, session_state=session_state)]))
    assert drivers.run(name, daemon.endpoint(database="transaction"),
                       settings=settings) == direct(name)
    assert not any(pinned(daemon).values())


@pytest.mark.timeout(180 * drivers.STRETCH)
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_program_goes_on_when_the_server_was_restarted(mode, cluster, certificate, make_daemon):
    server = cluster(certificate=certificate)
    daemon = make_daemon(server, "plain")
    daemon.write(dict(daemon.config, routes=[
        route(database="session", pool="session", pool_size=2 * len(drivers.COMMANDS)), route()]))
    daemon.console("RELOAD")
    programs = {name: drivers.begin(name, daemon.endpoint(database=mode), "restart")
                for name in drivers.COMMANDS}
    try:
        for name, program in programs.items():
            assert program.stdout.readline() == "ready\n", name + program.stdout.read()
        server.restart()
        for name, program in programs.items():
            assert drivers.finish(program, "go") == "restart works\n", name
    finally:
        for program in programs.values():
            program.kill()
            program.wait()
