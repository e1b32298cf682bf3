"""A role that a client gave at its startup reaches nobody else, and is not lost, by a cleaning."""
import pytest

from support import wire as w
from support.trunkline import route

WHO = w.query("select current_user")


@pytest.fixture
def roles(postgres):
    postgres.sql("create role above; create role below; grant above, below to app")
    yield
    postgres.sql("drop role above, below")


@pytest.mark.parametrize("text", [
    "set lock_timeout='7s'", "select set_config('lock_timeout', '7s', false)", "set role below",
    "listen x", "set role below; set lock_timeout='7s'",
    "set lock_timeout='7s' /*" + "x" * 20000 + "*/"])
@pytest.mark.parametrize("policy", ["reset", "pin"])
def test_after_a_cleaning(trunkline, roles, policy, text):
    kinds = {kind: policy for kind in ("set", "set_config", "role", "listen")}
    pooler = trunkline(relays=1, chunk_size="16KiB",
                       routes=[route(pool_size=1, session_state=dict(kinds, pin_share=100))])
    endpoint = pooler.endpoint()
    with endpoint.wire() as plain:
        for _ in range(2):
            with endpoint.wire(role="above") as one:
                assert w.rows(one.ask(WHO)) == [["above"]]
                one.ask(w.query(text))
                if policy == "reset":
                    assert w.rows(one.ask(WHO)) == [["above"]]
            assert w.rows(plain.ask(WHO)) == [["app"]]
            with endpoint.wire(role="above") as two:
                assert w.rows(two.ask(WHO)) == [["above"]]
