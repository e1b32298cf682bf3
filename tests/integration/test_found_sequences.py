"""The first call of lastval() in a pool leaves the isolation level of its transaction alone."""
import pytest

from support import wire as w
from support.trunkline import route

LEVELS = ["read committed", "repeatable read", "serializable",
          "serializable read only deferrable"]


@pytest.fixture
def endpoint(postgres, trunkline):
    """A server that another client has drawn a number on."""
    postgres.sql("create sequence if not exists drawn_first start 1000;"
                 "grant all on drawn_first to app")
    endpoint = trunkline(relays=1, routes=[route(pool_size=1)]).endpoint()
    with endpoint.wire() as other:
        other.ask(w.query("select nextval('drawn_first')"))
    return endpoint


@pytest.mark.parametrize("behind", ["select 1", "savepoint a", None])
@pytest.mark.parametrize("level", LEVELS)
def test_the_isolation_level_stays(endpoint, level, behind):
    with endpoint.wire() as client:
        client.ask(w.query(f"begin isolation level {level}"))
        if behind is not None:
            client.ask(w.query(behind))
        answers = client.ask(w.query("select case when false then lastval() end"))
        assert w.kinds(answers) == "T D C Z"
        answers = client.ask(w.query("show transaction_isolation"))
        assert w.rows(answers) == [[level.removesuffix(" read only deferrable")]]
