"""Limits of what a session has on its servers, from both sides."""
import pytest
from support import wire as w
from support.trunkline import route

UNNAMED_MOST = 64 * 1024
NAMES_MOST = 32


def errors(messages):
    return [m.sqlstate for m in messages if m.kind == "E"]


def single(trunkline, **settings):
    return trunkline(relays=1, routes=[route(pool_size=1, **settings)])


def end_server(daemon, postgres, wire):
    """The next query has another one."""
    pid = int(w.rows(wire.ask(w.query("select pg_backend_pid()")))[0][0])
    postgres.sql("select pg_terminate_backend(%s, 10000)", pid)
    assert w.rows(wire.ask(w.query("select pg_backend_pid()")))[0][0] != str(pid)


@pytest.mark.parametrize("more, answered", [(0, []), (1, ["26000"])])
def test_an_unnamed_statement_that_is_not_too_long_follows_its_client(trunkline, postgres, more,
                                                                     answered):
    """Its size is that of its text, its end and its types."""
    daemon = single(trunkline)
    text = "select 'unnamed'".ljust(UNNAMED_MOST - 3 + more)
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        assert errors(wire.ask(w.parse("", text), w.SYNC)) == []
        assert w.rows(wire.ask(w.bind(), w.execute(), w.SYNC)) == [["unnamed"]]
        end_server(daemon, postgres, other)
        answers = wire.ask(w.bind(), w.execute(), w.SYNC)
        assert errors(answers) == answered
        assert w.rows(answers) == ([] if answered else [["unnamed"]])
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


@pytest.mark.parametrize("most", [1, 3])
def test_a_server_keeps_as_many_prepared_statements_as_it_may(trunkline, most):
    """The least recently used goes, and comes back when it is wanted."""
    daemon = single(trunkline, prepared_statements=most)

    def kept(wire):
        found = w.rows(wire.ask(w.query("select statement from pg_prepared_statements")))
        return sorted(row[0] for row in found)

    with daemon.endpoint().wire() as wire:
        texts = [f"select 'text {i}'" for i in range(most + 1)]
        for i, text in enumerate(texts[:most]):
            assert errors(wire.ask(w.parse(f"s{i}", text), w.SYNC)) == []
        assert kept(wire) == sorted(texts[:most])
        assert errors(wire.ask(w.parse(f"s{most}", texts[most]), w.SYNC)) == []
        assert kept(wire) == sorted(texts[1:])
        assert w.rows(wire.ask(w.bind("", "s0"), w.execute(), w.SYNC)) == [["text 0"]]
        assert kept(wire) == sorted(texts[:1] + texts[2:])


@pytest.mark.parametrize("more", [0, 1])
def test_so_many_names_of_state_are_told_apart(trunkline, more):
    """Beyond that, their kind ends as a whole."""
    daemon = single(trunkline)
    with daemon.endpoint().wire() as wire, daemon.endpoint().wire() as other:
        for i in range(NAMES_MOST + more):
            assert errors(wire.ask(w.query(f"listen c{i}"))) == []
        for i in range(NAMES_MOST + more):
            assert len(daemon.console("SHOW PINS")) == 1
            assert errors(wire.ask(w.query(f"unlisten c{i}"))) == []
        assert len(daemon.console("SHOW PINS")) == more
        assert errors(wire.ask(w.query("unlisten *"))) == []
        assert daemon.console("SHOW PINS") == []
        assert w.rows(other.ask(w.query("select 1"))) == [["1"]]
