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
def endpoint(trunkline):
    return trunkline(relays=1, chunk_size="16KiB", routes=[route(pool_size=1)]).endpoint()


def mix(other):
    other.ask(w.parse("", "select 'mixed'"), w.bind(), w.execute(), w.SYNC)


def test_a_long_statement_behind_a_long_parse(endpoint):
    """Both are longer than a chunk: one is sent before the other is made."""
    with endpoint.wire() as client, endpoint.wire() as other:
        client.ask(w.parse("a", LONG), w.SYNC)
        other.ask(w.query("deallocate all"))
        answer = client.ask(w.parse("b", LONG + ", 2"), *run("a"))
        assert shown(answer) == ["1", "2", "D", "C", "Z"]
        assert w.rows(answer) == [["z" * 17000]]
        assert w.rows(client.ask(*run("b"))) == [["z" * 17000, "2"]]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("second", [w.parse("", "select 2"), w.close("S")])
def test_an_unnamed_parse_that_failed_stays_failed(endpoint, postgres, mixed, apart, second):
    """Also where another behind it was skipped: what then lies open is nothing, not its text."""
    first = [w.parse("", "select 1"), w.SYNC, w.parse("x", "nonsense")] if apart \
        else [w.parse("", "select 1")]

    def play(place):
        with place.wire() as client, place.wire() as other:
            client.ask(w.query("begin"))
            client.ask(w.query("select 1/0"))
            client.send(*first, second, w.SYNC)
            seen = [shown(client.until("Z", 1 + apart))]
            client.ask(w.parse("r", "rollback"), w.bind("", "r"), w.execute(), w.SYNC)
            if mixed:
                mix(other)
            return seen + [shown(client.ask(*run()))]
    assert play(endpoint) == play(postgres.endpoint())


COMMANDS = ["vacuum alone", "discard all", "reindex table concurrently alone", "cluster",
            "create index concurrently on alone (a)", "drop database if exists none"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_statement_that_no_transaction_allows_is_parsed_alone(endpoint, command):
    """An unseen statement in front of it makes it one of a pipeline: 25001."""
    with endpoint.wire() as client, endpoint.wire() as other:
        client.ask(w.query("create table alone (a int)"))
        client.ask(w.parse("c", command), w.SYNC)
        client.ask(w.query("set datestyle = 'German'"))
        other.ask(w.query("deallocate all"))
        assert shown(client.ask(*run("c"))) == ["2", "C", "Z"]
        other.ask(w.query("drop table alone"))


@pytest.mark.parametrize("execute", [False, True])
@pytest.mark.parametrize("change", [w.parse("a", "select 2"), w.close("S", "b")])
def test_deallocate_waits_for_the_batch_before(endpoint, postgres, change, execute):
    """Which names there are is known when that is answered: here nothing of it was done."""
    def play(place):
        with place.wire() as client:
            client.ask(w.parse("b", "select 1"), w.SYNC)
            client.ask(w.query("begin"))
            seen = []
            for name in "a", "b":
                client.ask(w.parse("", f"deallocate {name}"), w.bind("p"), w.SYNC)
                client.ask(w.query("savepoint s"))
                give = [w.execute("p"), w.SYNC] if execute else [w.query(f"deallocate {name}")]
                client.send(w.parse("", "nonsense"), change, w.SYNC,
                            w.query("rollback to s"), *give)
                seen.append(shown(client.until("Z", 3)))
                client.ask(w.query("rollback to s"))
            return seen + [shown(client.ask(*run("b")))]
    assert play(endpoint) == play(postgres.endpoint())


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("first", [w.parse("", "select 'mine'"), w.close("S")])
@pytest.mark.parametrize("use", [[w.bind(), w.execute()], [w.describe("S")]])
def test_an_unnamed_statement_of_another_is_never_used(endpoint, postgres, first, use, times):
    """The Parse in the batch before it was skipped, so the server still had the other's."""
    def play(place, others):
        with place.wire() as client:
            for _ in range(others):
                mix(place.wire())
            client.send(*[w.parse("x", "nonsense"), first, w.SYNC] * times, *use, w.SYNC)
            return [(m.kind, m.body if m.kind in "TD" else m.sqlstate)
                    for m in client.until("Z", times + 1) if m.kind not in "NS"]
    assert play(endpoint, 1) == play(postgres.endpoint(), 0)
