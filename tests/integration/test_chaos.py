"""Everything at once, by chance, for a while: what each client sees must be its own all the time.

TRUNKLINE_CHAOS=seconds makes it longer, TRUNKLINE_CHAOS_SEED names the seed of a run.
"""
import os
import random
import threading
import time

import pytest

from support.chaos import Client, World
from support.patience import STRETCH, eventually
from support.trunkline import route

SECONDS = float(os.environ.get("TRUNKLINE_CHAOS", 4))
SEED = os.environ.get("TRUNKLINE_CHAOS_SEED")
CLIENTS = 14

ROUTES = [route(database="session", pool="session", pool_size=5),
          route(pool_size=3, prepared_statements=6)]

BUSY = ("select count(*) from pg_stat_activity where usename = 'app' "
        "and state is distinct from 'idle'")


def tables(postgres):
    for database in ("transaction", "session"):
        postgres.sql("drop table if exists counters, copied; "
                     "create table counters (id int primary key, n int); "
                     "create table copied (client int, t text); "
                     f"insert into counters select i, 0 from generate_series(0, {CLIENTS}) i; "
                     "grant all on counters, copied to app", database=database)


def disturb(daemon, postgres, world, seed):
    """Reloads, and servers that are terminated."""
    chance = random.Random(f"{seed}/disturb")
    while time.monotonic() < world.until:
        threading.Event().wait(chance.random() * 0.3)
        if chance.random() < 0.3:
            daemon.console("RELOAD")
        elif world.terminations:
            postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity "
                         "where usename = 'app' order by random() limit 1")


def nothing_is_left(daemon, postgres):
    def quiet():
        for row in daemon.console("SHOW POOLS"):
            busy = {k: v for k, v in row.items() if v and k in (
                "cl_active", "cl_waiting", "sv_active", "sv_tested", "sv_login")}
            assert row["database"] == "trunkline" or not busy, row
        assert {row["database"] for row in daemon.console("SHOW CLIENTS")} <= {"trunkline"}
        assert postgres.one(BUSY) == 0
        states = {row["state"] for row in daemon.console("SHOW SERVERS")}
        assert states <= {"idle"}, states
        return True
    eventually(quiet)


@pytest.mark.timeout(60 * STRETCH + 2 * SECONDS)
@pytest.mark.parametrize("kind", ["calm", "terminations", "tls", "one relay"])
def test_chaos(kind, trunkline, postgres, certificate, authority):
    seed = SEED or str(random.SystemRandom().randrange(1 << 30))
    print(f"TRUNKLINE_CHAOS_SEED={seed}")
    tables(postgres)
    changes = dict(routes=ROUTES, relays=1 if kind == "one relay" else 2)
    if kind == "tls":
        changes["services"] = {"main": {"hosts": [f"127.0.0.1:{postgres.port}"], "tls": {
            "mode": "require"}}}
    daemon = trunkline(start=False, **changes)
    if kind == "tls":
        daemon.config["listen"][0]["tls"] = {"mode": "require", "cert": str(certificate.cert),
                                             "key": str(certificate.key)}
        daemon.write(daemon.config)
    daemon.start()
    options = {"sslmode": "require"} if kind == "tls" else {}
    daemon.endpoint = lambda *args, endpoint=daemon.endpoint, **more: endpoint(*args, **options, **more)
    endpoint = daemon.endpoint(database="transaction")
    world = World(endpoint, [endpoint, daemon.endpoint(database="session")], seed,
                  time.monotonic() + SECONDS, kind == "terminations", kind == "tls")
    clients = [Client(world, index) for index in range(CLIENTS)]
    for client in clients:
        client.thread.start()
    disturb(daemon, postgres, world, seed)
    for client in clients:
        client.thread.join(30 * STRETCH)
    hanging = [client.thread.name for client in clients if client.thread.is_alive()]
    print(sorted(world.done.items()))
    assert not world.failures and not hanging, (
        f"seed {seed}: {world.failures}, hanging: {hanging}, done: {world.done}\n"
        f"{daemon.log()[-3000:]}")
    nothing_is_left(daemon, postgres)
    for client in clients:
        database = "session" if client.session else "transaction"
        n = postgres.one(f"select n from counters where id = {client.index}", database=database)
        assert client.least <= n <= client.most, (client.index, client.least, n, client.most)
        rows = postgres.one(f"select count(*) from copied where client = {client.index}",
                            database=database)
        assert client.rows_least <= rows <= client.rows_most, client.index
    daemon.stop()
