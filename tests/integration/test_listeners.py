"""Several listeners, what each lets in, and the names that tell where clients come from."""
import os
import socket
import stat

import psycopg
import pytest
from support.door import Door
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
    daemon = trunkline(config=configuration(postgres, routes=[route(pool="session", **NAMED)]))
    pids = set()
    for _ in range(3):
        with daemon.connect() as session:
            pids.add(session.execute("SELECT pg_backend_pid()").fetchone()[0])
        eventually(lambda: daemon.pool()["sv_idle"])
    assert len(pids) == 1


def test_who_has_no_name_is_called_app(trunkline, postgres):
    daemon = trunkline(config=configuration(postgres, routes=[route(**NAMED)]))
    assert named(daemon, "app", "")[0].startswith("app - 127.0.0.1:")
