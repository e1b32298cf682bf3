"""Statements of clients whose servers change: what random conversations have found."""
import pytest

from support import wire as w
from support.trunkline import route


LONG = "select '" + "z" * 17000 + "' as z"


def run(name=""):
    return w.bind(statement=name), w.execute(), w.SYNC


def shown(messages):
    return [m.sqlstate if m.kind == "E" else m.kind for m in messages if m.kind not in "NS"]


@pytest.fixture
def door(trunkline):
    return trunkline(relays=1, chunk_size="16KiB", routes=[route(pool_size=1)]).door()


def test_a_long_statement_behind_a_long_parse(door):
    """Both are longer than a chunk: one is sent before the other is made."""
    with door.wire() as client, door.wire() as other:
        client.ask(w.parse("a", LONG), w.SYNC)
        other.ask(w.query("deallocate all"))
        answer = client.ask(w.parse("b", LONG + ", 2"), *run("a"))
        assert shown(answer) == ["1", "2", "D", "C", "Z"]
        assert w.rows(answer) == [["z" * 17000]]
        assert w.rows(client.ask(*run("b"))) == [["z" * 17000, "2"]]
