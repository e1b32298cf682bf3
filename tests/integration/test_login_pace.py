"""logins_per_second: the pools of a service take turns at its logins."""
import threading

from support import wire as w
from support.trunkline import route

HUNGRY = 6  # clients of the one pool
TURNS = 6   # queries of the other


def test_a_pool_that_needs_a_login_for_each_query_leaves_others_their_turn(trunkline, postgres):
    """Each query needs a login, one pool always waits for one, and another pool's client comes now and then."""
    services = {"main": {"hosts": [f"127.0.0.1:{postgres.port}"], "tls": {"mode": "disable"},
                         "balance": {"logins_per_second": 20}}}
    daemon = trunkline(relays=1, services=services,
                       routes=[route(database="app", pool_size=2, server_lifetime="0s"),
                               route(database="other", pool_size=2, server_lifetime="0s", server_database="app")])
    ended, asked = threading.Event(), []

    def hungry():
        with daemon.endpoint().wire() as client:
            while not ended.is_set():
                asked.append(client.ask(w.query("select 1")))

    threads = [threading.Thread(target=hungry) for _ in range(HUNGRY)]
    for thread in threads:
        thread.start()
    try:
        with daemon.endpoint(database="other").wire() as other:
            before = len(asked)
            for _ in range(TURNS):
                assert w.rows(other.ask(w.query("select 1"))) == [["1"]]
            meanwhile = len(asked) - before
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert meanwhile < 2 * HUNGRY * TURNS  # in turn it is half of that
