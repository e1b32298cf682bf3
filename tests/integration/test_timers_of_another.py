"""Timers that one client gives at its startup do not act on the server when it rests."""
import pytest

from support import wire as w
from support.patience import eventually
from support.trunkline import route


def value(client, sql):
    return w.rows(client.ask(w.query(sql)))[0][0]


def rest(postgres, pid):
    """Until the server has been idle for longer than the timer, or has ended."""
    eventually(lambda: postgres.endpoint().rows(
        "select 1 from pg_stat_activity where pid = %s and (state <> 'idle' or "
        "now() - state_change < interval '200 ms')", pid) == [])


@pytest.mark.parametrize("transactions", [0, 1, 2])
def test_an_idle_session_timeout_ends_no_server_that_rests(trunkline, postgres, transactions):
    endpoint = trunkline(relays=1, routes=[route(pool_size=1)]).endpoint()
    with endpoint.wire() as other:
        pid = value(other, "select pg_backend_pid()")
        with endpoint.wire(options="-c idle_session_timeout=20") as one:
            for _ in range(transactions):
                assert value(one, "show idle_session_timeout") == "20ms"
            rest(postgres, pid)
            assert value(other, "select pg_backend_pid()") == pid
            assert value(other, "show idle_session_timeout") == "0"
            if transactions > 0:
                assert value(one, "show idle_session_timeout") == "20ms"


def test_not_when_its_client_goes_in_a_transaction(trunkline, postgres):
    endpoint = trunkline(relays=1, routes=[route(pool_size=1)]).endpoint()
    with endpoint.wire() as other:
        with endpoint.wire(options="-c idle_session_timeout=20") as one:
            pid = value(one, "select pg_backend_pid()")
            one.ask(w.query("begin"))
        assert value(other, "select pg_backend_pid()") == pid
        rest(postgres, pid)
        assert value(other, "select pg_backend_pid()") == pid


def test_a_short_statement_timeout_hits_its_own_client_only(trunkline):
    endpoint = trunkline(relays=1, routes=[route(pool_size=1)]).endpoint()
    with endpoint.wire(options="-c statement_timeout=1") as one, \
            endpoint.wire(search_path="public", TimeZone="Asia/Tokyo") as other:
        for _ in range(100):
            one.ask(w.query(""))
            assert value(other, "select current_setting('statement_timeout')") == "0"
