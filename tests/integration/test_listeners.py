"""Several listeners, what each lets in, and the names that tell where clients come from."""
import grp
import os
import socket
import stat

import psycopg
import pytest
from support.endpoint import Endpoint
from support.patience import eventually
from support.ports import free_port
from support.trunkline import configuration, route

NAMED = dict(application_name_add_host=True)


def named(daemon, database, name="reports", **options):
    with daemon.connect(database=database, application_name=name, **options) as session:
        ours = "%s:%d" % socket.socket(fileno=os.dup(session.fileno())).getsockname()[:2]
        shown = session.execute("SHOW application_name").fetchone()[0]
        return shown, ours, session.info.parameter_status("application_name")


@pytest.mark.parametrize("pool", ["session", "transaction", "fresh"])
def test_application_name_tells_the_clients_address(trunkline, postgres, pool):
    extra = dict(pool="session", fresh=True) if pool == "fresh" else dict(pool=pool)
    daemon = trunkline(config=configuration(postgres, routes=[
        route(pool_size=1, **NAMED, **extra)]))
    for name in ("reports", "o'hara \\", "x" * 200):
        shown, ours, told = named(daemon, "app", name)
        assert shown == name[:63 - len(f" - {ours}")] + f" - {ours}" == told


def test_a_session_pool_still_gives_its_servers_from_client_to_client(trunkline, postgres):
    daemon = trunkline(config=configuration(postgres, relays=1,
                                            routes=[route(pool="session", **NAMED)]))
    pids = set()
    for _ in range(3):
        with daemon.connect() as session:
            pids.add(session.execute("SELECT pg_backend_pid()").fetchone()[0])
        eventually(lambda: daemon.pool()["sv_idle"])
    assert len(pids) == 1


def test_a_client_without_application_name_is_shown_as_app(trunkline, postgres):
    daemon = trunkline(config=configuration(postgres, routes=[route(**NAMED)]))
    assert named(daemon, "app", "")[0].startswith("app - 127.0.0.1:")


# --- listeners with routes and TLS of their own


def two_endpoints(postgres, **changes):
    config = configuration(postgres, **{"routes": [
        route(listeners=["inside"], auth="trust", server_user="app", server_password="app"),
        route(listeners=["outside"]),
    ], **changes})
    config["listen"][0]["name"] = "outside"
    config["listen"].append({"host": "127.0.0.1", "port": free_port(), "name": "inside"})
    config["listen"].append({"host": "127.0.0.1", "port": free_port()})
    return config


def knock(config, index, user="app", password="app", **options):
    endpoint = Endpoint("127.0.0.1", config["listen"][index]["port"], "app", user, password, **options)
    with endpoint.connect() as session:
        return session.execute("SELECT current_user").fetchone()[0]


def test_a_listener_leads_to_its_own_routes(trunkline, postgres):
    config = two_endpoints(postgres)
    daemon = trunkline(config=config)
    assert knock(config, 0) == "app"
    with pytest.raises(psycopg.OperationalError, match="password"):
        knock(config, 0, password="wrong")
    assert knock(config, 1, "anybody", None) == "app"
    with pytest.raises(psycopg.OperationalError, match="no route matches"):
        knock(config, 2)
    assert daemon.console("SHOW POOLS")


def test_routes_of_listeners_change_with_a_reload(trunkline, postgres):
    config = two_endpoints(postgres)
    daemon = trunkline(config=config)
    with daemon.connect() as stays:
        knock(config, 1, "anybody", None)
        config["routes"][0]["listeners"] = []
        config["routes"].reverse()
        config["listen"][2]["name"] = "another"
        config["routes"][0]["listeners"] = ["outside", "another"]
        daemon.reload(config)
        assert knock(config, 2) == "app"
        with pytest.raises(psycopg.OperationalError):
            knock(config, 2, password="wrong")
        assert knock(config, 1, "anybody", None) == "app"
        config["listen"].pop(2)
        config["routes"][0]["listeners"] = ["outside"]
        daemon.reload(config)
        assert stays.execute("SELECT 1").fetchone() == (1,)


def test_a_listener_that_no_one_knows_is_an_error(trunkline, postgres):
    config = two_endpoints(postgres)
    daemon = trunkline(config=config)
    config["routes"][0]["listeners"] = ["insde"]
    daemon.write(config)
    with pytest.raises(psycopg.Error) as refused:
        daemon.console("RELOAD")
    assert 'there is no listener "insde"' in refused.value.diag.message_detail


def test_each_listener_has_its_own_tls(trunkline, postgres, certificate):
    config = configuration(postgres)
    config["listen"].append({"host": "127.0.0.1", "port": free_port(), "tls": {
        "mode": "require", "cert": str(certificate.cert), "key": str(certificate.key)}})
    trunkline(config=config)
    assert knock(config, 0, sslmode="disable") == "app"
    assert knock(config, 1, sslmode="require") == "app"
    with pytest.raises(psycopg.OperationalError, match="TLS is required"):
        knock(config, 1, sslmode="disable")
    with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
        knock(config, 0, sslmode="require")


# --- options of sockets


def test_a_unix_sockets_group_and_mode_are_set_and_change_with_a_reload(trunkline, postgres, tmp_path):
    groups = [group.gr_name for group in grp.getgrall() if os.geteuid() == 0 or group.gr_gid in os.getgroups()]
    first, last = groups[0], groups[-1]
    config = configuration(postgres)
    config["listen"].append({"host": str(tmp_path), "port": 6432, "unix_mode": "0770", "unix_group": first})
    daemon = trunkline(config=config)
    path = tmp_path / ".s.PGSQL.6432"
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (grp.getgrnam(first).gr_gid, 0o770)
    config["listen"][1].update(unix_group=last, unix_mode="0700")
    daemon.reload(config)
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (grp.getgrnam(last).gr_gid, 0o700)
    config["listen"][1]["unix_group"] = "no-such-group"
    daemon.write(config)
    with pytest.raises(psycopg.Error) as refused:
        daemon.console("RELOAD")
    assert 'group "no-such-group" does not exist' in refused.value.diag.message_detail


def state_of_socket(local, remote):
    """The kernel's number of a TCP connection's state, seen from its listener's end."""
    for line in open("/proc/net/tcp").read().splitlines()[1:]:
        ours, theirs, state = line.split()[1:4]
        if (int(ours.split(":")[1], 16), int(theirs.split(":")[1], 16)) == (local, remote):
            return int(state, 16)
    return None


@pytest.mark.parametrize("setting, state", [("30s", 3), ("off", 1)])  # SYN_RECV, ESTABLISHED
def test_a_connection_that_says_nothing_may_wait_at_the_kernel(trunkline, postgres, setting, state):
    config = configuration(postgres)
    port = free_port()
    config["listen"].append({"host": "127.0.0.1", "port": port, "defer_accept": setting})
    trunkline(config=config)
    with socket.create_connection(("127.0.0.1", port)) as silent:
        assert knock(config, 1) == "app"
        assert state_of_socket(port, silent.getsockname()[1]) == state
