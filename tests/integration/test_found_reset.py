"""RESET, where its portal is old, its text is long, or the client came with a role."""
import socket
import struct

import pytest
from test_reset_parameters import ALL, Player, both, simple  # noqa: F401

from support import wire as w
from support.trunkline import route

LONG = " /*" + "x" * 200000 + "*/"


def portal(text):
    """Bound in one batch, executed in the next."""
    return [simple("begin"), [w.parse("", text), w.bind("p", ""), w.SYNC],
            [w.execute("p"), w.SYNC], simple("commit")]


def batch(*parts):
    return [*parts, w.SYNC]


ONE = [w.parse("", "select 1"), w.bind(), w.execute()]
PLAYS = {
    "old portal": portal("reset work_mem"),
    "old portal, all": portal("reset all"),
    "old portal, reported": portal("reset timezone"),
    "long set_config": [simple("select set_config('work_mem', null, false) is null" + LONG)],
    "long body": [simple("do $$ begin reset work_mem; end $$" + LONG)],
    "a query behind a batch without Sync": [batch(w.parse("", "reset all"), w.bind(), w.execute(),
                                                  w.query("select 1"))],
    "RESET behind a batch without Sync": [batch(*ONE, w.query("reset all"))],
    "pipelined": [[*ONE, w.SYNC, w.query("reset timezone"), w.query("select 1")]],
    "pipelined in a transaction": [simple("begin"), [*ONE, w.SYNC, w.query("reset timezone"),
                                                     w.query("select 1")], simple("commit")],
    "RESET in the middle of a batch": [batch(*ONE, w.query("reset all"), *ONE)],
}


@pytest.mark.parametrize("name", PLAYS)
def test_as_on_a_direct_connection(both, name):  # noqa: F811
    direct, pooled = both([simple(ALL), *PLAYS[name], simple("select 3")])
    assert pooled == direct


WHO = w.query("select current_user, session_user, current_setting('role'), "
              "current_setting('work_mem')")
ROLES = {
    "reset all": ["set role below", "reset all"],
    "reset all in a transaction": ["set role below", "begin", "reset all", "commit"],
    "another parameter": ["set role below", "reset work_mem"],
    "reset role": ["set role below", "reset role"],
    "none": ["set role none", "select 1", "reset role"],
    "none in a transaction": ["begin", "set role none", "commit"],
    "none, rolled back": ["begin", "set role none", "rollback"],
    "none, then reset all": ["set role none", "reset all"],
    "session authorization": ["set role none", "reset session authorization"],
    "session authorization, default": ["set role none", "set session authorization default"],
    "discard all": ["set role below; set work_mem='1MB'", "discard all"],
    "long": ["set role below", "reset role" + LONG],
    "none, then a long text": ["set role none", "select set_config('work_mem', null, false)" +
                               " is null" + LONG],
    "none, extended": ["set role none", [w.parse("", "reset datestyle"), w.bind(), w.execute(),
                                         w.SYNC]],
    "set_config": ["set role below", "select set_config('role', null, false) is null"],
}


@pytest.fixture
def roles(postgres):
    postgres.sql("create role above; create role below; grant above, below to app; "
                 "grant below to above")
    yield
    postgres.sql("drop role above, below")


def who(endpoint, given, texts, between):
    with endpoint.wire(**given) as wire:
        player = Player(wire, {})
        heard = [player.play([WHO])]
        for text in texts:
            heard += [player.play([w.query(text)] if isinstance(text, str) else text),
                      player.play([WHO])]
            if heard[-1][0][-1] == b"I":
                between()
                heard += [player.play([WHO])]
        return heard


@pytest.mark.parametrize("given", [{"role": "above"}, {"options": "-c role=above -c work_mem=5MB"}])
@pytest.mark.parametrize("name", ROLES)
def test_a_login_with_a_role(trunkline, postgres, roles, name, given):
    pooler = trunkline(relays=1, routes=[route(pool_size=2)])
    with pooler.endpoint().wire() as one, pooler.endpoint().wire(role="below") as two:
        def between():
            for other in one, two:
                other.ask(w.query("select 1"))
        pooled = who(pooler.endpoint(), given, ROLES[name], between)
    assert pooled == who(postgres.endpoint(), given, ROLES[name], lambda: None)


def test_no_role_counts_as_a_role(trunkline, roles):
    pooler = trunkline(relays=1, routes=[route(session_state={"role": "reject"})])
    with pooler.endpoint().wire(role="above") as one, pooler.endpoint().wire() as two:
        assert [m.sqlstate for m in one.ask(w.query("set role none")) if m.kind == "E"] == ["0A000"]
        assert w.kinds(two.ask(w.query("set role none"))) == "C Z"


def test_a_client_that_leaves_behind_its_reset(trunkline):
    """Its portal was bound in an earlier batch, and the answer comes when it has gone."""
    pooler = trunkline(relays=1, routes=[route(pool_size=1)])
    for _ in range(100):
        with pooler.endpoint().wire(search_path="public") as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.ask(w.query("begin"))
            wire.ask(w.parse("", "reset all"), w.bind("later", ""), w.SYNC)
            wire.send(w.execute("later"), w.SYNC)
    assert pooler.endpoint().one("select 1") == 1
