"""Two versions of a route share one budget of servers."""
import copy

import pytest
from support import wire as w
from support.patience import eventually
from support.trunkline import route


def changed(daemon, **rule):
    """Reloads with another identity of the first route: its present clients are on the obsolete version."""
    config = copy.deepcopy(daemon.config)
    config["routes"][0].update(auth="trust", **rule)
    daemon.reload(config)


def routes(daemon):
    """The rows of both versions by `obsolete`."""
    return {row["obsolete"]: {key: int(row[key]) for key in ("servers", "waiting", "maxwait_us", "clients")}
            for row in daemon.console("SHOW ROUTES")}


@pytest.mark.parametrize("pool", ["session", "transaction"])
@pytest.mark.parametrize("limit", ["pool_size", "database"])
def test_clients_that_the_old_version_holds_back_are_shown_and_logged(trunkline, pool, limit):
    more = {} if limit == "pool_size" else {"databases": {"app": {"server_limit": 1}}}
    daemon = trunkline(relays=2, routes=[route(pool=pool, pool_size=1 if limit == "pool_size" else 5)], **more)
    with daemon.endpoint().wire() as old, daemon.endpoint().wire(login=False) as new:
        old.ask(w.query("begin"))
        changed(daemon)
        new.send(w.startup_packet(user="app", database="app"))
        daemon.logged(r"WARNING route\.held_back database=app user=app version=2 waiting=1 wait_ms=\d+ obsolete_servers=1\n")
        rows = routes(daemon)
        assert (rows["yes"]["servers"], rows["yes"]["clients"], rows["yes"]["waiting"]) == (1, 1, 0)
        assert (rows["no"]["servers"], rows["no"]["waiting"]) == (0, 1)
        assert rows["no"]["maxwait_us"] >= 1000000
        old.ask(w.query("commit"))
        old.__exit__()
        new.login("app", "app")


def test_a_server_that_the_old_version_releases_goes_to_an_older_claim_of_the_new_one(trunkline):
    daemon = trunkline(relays=1, overtake_limit="10s", routes=[route(pool_size=2)])
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as later:
        changed(daemon)
        holder.ask(w.query("begin"))
        with daemon.endpoint().wire() as one, daemon.endpoint().wire() as two:
            one.ask(w.query("begin"))
            two.send(w.query("begin"))
            eventually(lambda: routes(daemon)["no"]["waiting"] == 1)
            later.send(w.query("select 'later'"))
            eventually(lambda: routes(daemon)["yes"]["waiting"] == 1)
            holder.ask(w.query("commit"))
            assert "E" not in w.kinds(two.until())
            assert routes(daemon)["yes"]["waiting"] == 1
            one.ask(w.query("commit"))
            two.ask(w.query("commit"))
        assert w.rows(later.until()) == [["later"]]
