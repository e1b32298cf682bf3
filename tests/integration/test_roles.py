"""Roles: which of a primary and its standbys serve a pool, as target_session_attrs says."""
import itertools

import psycopg
import pytest
from support import wire as w
from support.patience import eventually
from support.postgres import HBA, Postgres
from support.trunkline import configuration, route

REPLICATION = "host all,replication postgres 127.0.0.1/32 trust\n" + HBA
RECOVERY = "select pg_is_in_recovery()"
OURS = "trunkline.target_session_attrs"


class Replicated:
    """A primary and streaming standbys, all copies of one data directory."""

    def __init__(self, template, standbys=2):
        settings = dict(hba=REPLICATION, wal_level="replica", max_wal_senders=8,
                        wal_retrieve_retry_interval="100ms")
        self.primary = Postgres(template, **settings)
        self.primary.stop()
        signal = self.primary._write("standby.signal", "")
        upstream = f"host=127.0.0.1 port={self.primary.port} user=postgres"
        self.standbys = [Postgres(self.primary.data, hot_standby="on", primary_conninfo=upstream,
                                  **settings) for _ in range(standbys)]
        signal.unlink()
        self.primary.start()
        eventually(lambda: len(self.primary.sql("select 1 from pg_stat_replication")) == standbys)

    def all(self):
        return [self.primary, *self.standbys]

    def service(self, **settings):
        return {"main": dict({"hosts": [f"127.0.0.1:{one.port}" for one in self.all()],
                              "tls": {"mode": "disable"}}, **settings)}

    def settled(self):
        """Waits until all standbys have replayed what the primary has written."""
        end = self.primary.one("select pg_current_wal_lsn()")
        for one in self.standbys:
            eventually(lambda: one.one("select pg_last_wal_replay_lsn() >= %s::pg_lsn", end))

    def remove(self):
        for one in reversed(self.all()):
            one.remove()


@pytest.fixture(scope="module")
def servers(template):
    made = Replicated(template)
    yield made
    made.remove()


@pytest.fixture
def mortal(template):
    """Servers of the test's own, which it may stop and promote."""
    made = Replicated(template)
    yield made
    made.remove()


def ports_of(daemon, count, **options):
    """Holds `count` transactions at once.  Returns the ports of their servers."""
    with_them = [daemon.endpoint(**options).connect() for _ in range(count)]
    found = []
    for client in with_them:
        client.execute("begin")
        found.append(client.execute("show port").fetchone()[0])
    for client in with_them:
        client.close()
    return {int(port) for port in found}


def roles(daemon):
    return {int(row["addr"].rpartition(":")[2]): row["role"]
            for row in daemon.console("SHOW BACKENDS")}


def expected(servers, target):
    primary = {servers.primary.port}
    standbys = {one.port for one in servers.standbys}
    return {"default": primary, "any": primary | standbys, "read-write": primary,
            "read-only": standbys, "primary": primary, "standby": standbys,
            "prefer-standby": standbys}[target]


TARGETS = ["default", "any", "read-write", "read-only", "primary", "standby", "prefer-standby"]


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_servers_of_a_route_have_the_role_of_its_target(trunkline, servers, target, mode):
    """With several replicas also those of session pools are spread over them."""
    daemon = trunkline(services=servers.service(),
                       routes=[route(pool=mode, target_session_attrs=target)])
    used = set()
    for _ in range(6):  # each choice draws two of the servers at random
        used |= ports_of(daemon, 8)
    assert used == expected(servers, target)


@pytest.mark.parametrize("how", ["startup", "options"])
@pytest.mark.parametrize("target", TARGETS[1:])
def test_a_client_asks_for_a_target_at_startup(trunkline, servers, target, how):
    daemon = trunkline(services=servers.service(), routes=[route(pool_size=4)])
    usual = daemon.connect()
    assert usual.execute(RECOVERY).fetchone() == (False,)
    given = {OURS: target} if how == "startup" else {"options": f"-c {OURS}={target}"}
    with daemon.endpoint().wire(**given) as client:
        [[port]] = w.rows(client.ask(w.query("show port")))
        assert int(port) in expected(servers, target)
        [[said]] = w.rows(client.ask(w.query("select count(*) from pg_settings "
                                             "where name like 'trunkline%'")))
        assert said == "0"  # it goes to no server
    assert usual.execute(RECOVERY).fetchone() == (False,)
    usual.close()


def test_startup_goes_over_route_and_route_over_listener(trunkline, servers):
    first = configuration(None)["listen"][0]
    second = configuration(None)["listen"][0]
    daemon = trunkline(services=servers.service(),
                       listen=[first, dict(second, target_session_attrs="standby")],
                       routes=[route(database="app"),
                               route(database="postgres", target_session_attrs="primary")])
    there = dict(port=second["port"])

    def recovery(**options):
        return daemon.endpoint().at(**options).one(RECOVERY)

    assert recovery() is False
    assert recovery(**there) is True
    assert daemon.endpoint("postgres").at(**there).one(RECOVERY) is False
    assert daemon.endpoint("postgres").at(options=f"-c {OURS}=standby").one(RECOVERY) is True
    assert recovery(options=f"-c {OURS}=primary", **there) is False


@pytest.mark.parametrize("given", [{OURS: "slave"}, {OURS: ""}, {OURS: "default"},
                                   {"options": f"-c {OURS}=Primary"}])
def test_a_wrong_target_is_refused(pooler, given):
    with pooler.endpoint().wire(login=False) as client:
        client.send(w.startup_packet(user="app", database="app", **given))
        error = client.receive()
        assert error.sqlstate == "22023"
        assert f'invalid value for parameter "{OURS}"' in error.fields["M"]
        assert "accepted: any, read-write, read-only, primary" in error.fields["M"]


def test_the_latter_of_option_and_parameter_counts(trunkline, servers):
    daemon = trunkline(services=servers.service(), routes=[route()])
    given = {"options": f"-c {OURS}=standby", OURS: "primary"}
    with daemon.endpoint().wire(**given) as client:
        assert w.rows(client.ask(w.query(RECOVERY))) == [["f"]]


@pytest.mark.parametrize("target", ["standby", "read-only", "prefer-standby"])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_libpq_finds_what_it_asks_for_as_on_a_direct_connection(trunkline, servers, target, mode):
    """libpq judges by in_hot_standby and default_transaction_read_only, or asks the server."""
    daemon = trunkline(services=servers.service(), routes=[route(pool=mode)])
    ours = daemon.endpoint().at(options=f"-c {OURS}={target}", target_session_attrs=target)
    direct = servers.standbys[0].endpoint().at(target_session_attrs=target)
    for endpoint in ours, direct:
        with endpoint.connect() as client:
            assert client.execute(RECOVERY).fetchone() == (True,)
            assert client.execute("show transaction_read_only").fetchone() == ("on",)
            assert client.info.parameter_status("in_hot_standby") == "on"
    with pytest.raises(psycopg.OperationalError, match="session is read-only|server is in hot"):
        ours.connect(target_session_attrs="primary" if target == "standby" else "read-write")
    with daemon.endpoint().at(target_session_attrs="read-write").connect() as client:
        assert client.info.parameter_status("in_hot_standby") == "off"
    if target != "prefer-standby":
        with pytest.raises(psycopg.OperationalError):
            daemon.endpoint().at(target_session_attrs=target).connect()


def test_a_pool_without_a_server_of_its_role_says_so(trunkline, mortal):
    daemon = trunkline(services=mortal.service(),
                       routes=[route(target_session_attrs="standby", claim_timeout="500ms")])
    assert ports_of(daemon, 2) <= expected(mortal, "standby")
    for one in mortal.standbys:
        one.stop()
    with daemon.endpoint().wire(**{OURS: "primary"}) as client:
        assert w.rows(client.ask(w.query(RECOVERY))) == [["f"]]

    def refused():
        with pytest.raises(psycopg.OperationalError) as failed:
            daemon.endpoint().one("select 1")
        assert 'no server of service "main" is a standby' in str(failed.value)
        assert "target_session_attrs is standby" in str(failed.value)
        return True

    eventually(refused)


def test_a_pool_that_prefers_standbys_goes_to_the_primary_and_back(trunkline, mortal):
    daemon = trunkline(services=mortal.service(balance={"rebalance_interval": "1s"}),
                       routes=[route(target_session_attrs="prefer-standby", pool_size=4)])
    assert ports_of(daemon, 4) <= expected(mortal, "standby")
    for one in mortal.standbys:
        one.stop()
    eventually(lambda: ports_of(daemon, 4) == {mortal.primary.port})
    mortal.standbys[0].start()
    eventually(lambda: ports_of(daemon, 4) == {mortal.standbys[0].port})


def test_pools_of_targets_have_sizes_of_their_own(trunkline, servers):
    daemon = trunkline(services=servers.service(), routes=[route(pool_size=1)])
    one = daemon.connect()
    other = daemon.endpoint().at(options=f"-c {OURS}=standby").connect()
    one.execute("begin")
    other.execute("begin")
    assert one.execute(RECOVERY).fetchone() == (False,)
    assert other.execute(RECOVERY).fetchone() == (True,)
    one.close()
    other.close()


def test_a_reload_changes_the_role_of_a_route(trunkline, servers):
    daemon = trunkline(services=servers.service(), routes=[route()])
    before = daemon.connect()
    assert before.execute(RECOVERY).fetchone() == (False,)
    daemon.reload(dict(daemon.config, routes=[route(target_session_attrs="standby")]))
    with daemon.connect() as after:
        assert after.execute(RECOVERY).fetchone() == (True,)
    assert before.execute(RECOVERY).fetchone() == (False,)  # it finishes on its route
    before.close()


def test_logins_tell_the_console_the_roles(trunkline, servers):
    daemon = trunkline(services=servers.service(), routes=[route(target_session_attrs="any")])
    wanted = {one.port: "replica" for one in servers.standbys} | {servers.primary.port: "primary"}
    rounds = itertools.count()

    def known():
        ports_of(daemon, 8)
        assert next(rounds) < 100
        return roles(daemon) == wanted

    eventually(known)


def test_replication_goes_by_the_target_too(trunkline, servers):
    daemon = trunkline(services=servers.service(), routes=[route(auth="trust")])
    for target, answer in ("primary", "f"), ("standby", "t"):
        with daemon.endpoint(user="postgres").wire(login=False) as client:
            client.send(w.startup_packet(user="postgres", database="app", replication="database",
                                         **{OURS: target}))
            client.until()
            assert w.rows(client.ask(w.query(RECOVERY))) == [[answer]]
