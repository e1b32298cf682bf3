"""Statements of clients whose servers change: each message is answered as on a direct connection."""
import pytest

from support import wire as w
from support.trunkline import route


def shown(messages):
    return [(m.kind, (m.sqlstate, m.fields["M"]) if m.kind == "E" else m.body)
            for m in messages if m.kind not in "NS"]


def q(sql):
    return [w.query(sql)]


def run(name, values=()):
    return [w.bind(statement=name, values=values), w.execute(), w.SYNC]


LONG = "n" * 70
DATE = "select '1/2/2003'::date::text"
PLAYS = {
    "frozen in a transaction": [
        [w.parse("a", DATE), w.SYNC], "mix", q("set datestyle = 'ISO, DMY'"), "mix", q("begin"),
        run("a"), q("show datestyle"), q("commit"), q("show datestyle"), run("a")],
    "frozen in one that is rolled back": [
        [w.parse("a", DATE), w.SYNC], "mix", q("begin"), q("set datestyle = 'ISO, DMY'"),
        q("savepoint s"), run("a"), q("rollback to s"), q("show datestyle"), q("rollback"),
        q("show datestyle"), run("a")],
    "frozen by SET LOCAL": [
        q("begin"), q("set local datestyle = 'ISO, DMY'"), [w.parse("a", DATE), w.SYNC],
        q("commit"), "mix", run("a"), q("show datestyle")],
    "frozen behind a SET of its batch": [
        [w.parse("", "set datestyle = 'ISO, DMY'"), w.bind(), w.execute(), w.parse("a", DATE),
         w.SYNC], "mix", run("a")],
    "frozen before a RESET": [
        q("set datestyle = 'ISO, DMY'"), [w.parse("a", DATE), w.SYNC], q("reset datestyle"),
        "mix", run("a"), q("show datestyle")],
    "frozen by several": [
        q("set timezone = 'Asia/Tokyo'"), q("set intervalstyle = 'sql_standard'"),
        [w.parse("a", "select '2003-02-01 00:00'::timestamptz at time zone 'UTC', "
                 "interval '-1 2:03'"), w.SYNC],
        q("set timezone = 'UTC'"), q("set intervalstyle = 'postgres'"), "mix", run("a"),
        q("show timezone"), q("show intervalstyle")],
    "frozen behind a portal": [
        [w.parse("a", DATE), w.SYNC], [w.parse("n", "select generate_series(1, 3)"), w.SYNC],
        q("set datestyle = 'ISO, DMY'"), "mix", q("begin"),
        [w.bind("", "n"), w.execute("", 1), w.SYNC],
        [w.describe("S", "a"), w.execute("", 1), w.SYNC], q("rollback")],
    "a rollback after a SET": [
        [w.parse("r", "rollback"), w.SYNC], q("set datestyle = 'ISO, DMY'"), "mix", q("begin"),
        q("select 1/0"), run("r"), q("select 1")],
    "a transaction's level after a SET": [
        [w.parse("l", "set transaction isolation level serializable"), w.SYNC],
        q("set datestyle = 'ISO, DMY'"), "mix", q("begin"), run("l"),
        q("show transaction_isolation"), q("rollback")],
    "frozen by DateStyle": [
        [w.parse("a", "select '1/2/2003'::date::text"), w.SYNC], "mix",
        q("set datestyle = 'ISO, DMY'"), "mix", run("a")],
    "unnamed frozen by DateStyle": [
        [w.parse("set", "set datestyle = 'ISO, DMY'"), w.SYNC],
        [w.parse("", "select '1/2/2003'::date::text"), w.SYNC],
        run("set"), "mix", run("")],
    "quoted name": [
        [w.parse('A"b', "select 1"), w.SYNC], q('deallocate "A""b"'), run('A"b')],
    "deallocate by sql prepared": [
        [w.parse("d", "deallocate a"), w.SYNC], [w.parse("a", "select 1"), w.SYNC], "mix",
        run("d"), "mix", run("a")],
    "deallocate twice in a batch": [
        [w.parse("a", "select 1"), w.SYNC],
        [w.parse("", "deallocate a"), w.bind(), w.execute(), w.bind(), w.execute(), w.SYNC],
        run("a")],
    "deallocate, then parse in a batch": [
        [w.parse("a", "select 1"), w.SYNC],
        [w.parse("", "deallocate a"), w.bind(), w.execute(), w.parse("a", "select 2"), w.SYNC],
        run("a")],
    "deallocate all in a batch, then parse": [
        [w.parse("a", "select 1"), w.SYNC],
        [w.parse("", "deallocate all"), w.bind(), w.execute(), w.parse("a", "select 2"), w.SYNC],
        "mix", run("a")],
    "discard all in a batch, then parse": [
        [w.parse("a", "select 1"), w.parse("d", "discard all"), w.SYNC], "mix",
        [w.bind("", "d"), w.execute(), w.parse("a", "select 2"), w.bind("", "a"), w.execute(),
         w.SYNC], "mix", run("a"), run("d")],
    "deallocate all behind what fails, then parse": [
        [w.parse("a", "select 1"), w.parse("d", "deallocate all"), w.SYNC],
        [w.parse("", "select 1/0"), w.bind(), w.execute(), w.bind("", "d"), w.execute(),
         w.parse("a", "select 2"), w.SYNC], "mix", run("a")],
    "deallocate all by a query, then parse at once": [
        [w.parse("a", "select 1"), w.SYNC],
        [w.query("deallocate all"), w.parse("a", "select 2"), w.bind("", "a"), w.execute(),
         w.SYNC], "mix", run("a")],
    "deallocate is bound and never executed": [
        [w.parse("a", "select 1"), w.SYNC], [w.parse("", "deallocate a"), w.bind(), w.SYNC],
        "mix", run("a"), [w.parse("a", "select 2"), w.SYNC]],
    "deallocate is bound and skipped": [
        [w.parse("a", "select 1"), w.SYNC],
        [w.parse("d", "deallocate a"), w.bind("p", "d"), w.parse("", "select 1/0"), w.bind(),
         w.execute(), w.execute("p"), w.SYNC], "mix", run("a")],
    "deallocate is bound twice": [
        [w.parse("a", "select 1"), w.SYNC],
        [w.parse("d", "deallocate a"), w.bind("p", "d"), w.bind("q", "d"), w.execute("p"),
         w.execute("q"), w.SYNC], run("a"), [w.parse("a", "select 2"), w.SYNC], "mix", run("a")],
    "deallocate is executed in a later batch": [
        [w.parse("a", "select 1"), w.SYNC], q("begin"),
        [w.parse("", "deallocate a"), w.bind(), w.SYNC], run("a")[:-1] + [w.SYNC],
        [w.parse("", "deallocate a"), w.bind("p"), w.SYNC], [w.execute("p"), w.SYNC],
        run("a"), q("rollback")],
    "a portal is bound anew": [
        [w.parse("a", "select 1"), w.SYNC],
        [w.parse("", "deallocate a"), w.bind(), w.parse("", "select 5"), w.bind(), w.execute(),
         w.SYNC], "mix", run("a")],
    "deallocate all in a failed transaction": [
        [w.parse("a", "select 1"), w.SYNC], q("begin"), q("select 1/0"), q("deallocate all"),
        q("rollback"), "mix", run("a")],
    "deallocate all that is rolled back": [
        [w.parse("a", "select 1"), w.SYNC], q("begin"), q("deallocate all"), q("rollback"),
        "mix", run("a")],
    "close in a failed batch": [
        [w.parse("a", "select 1"), w.SYNC],
        [w.parse("", "select 1/0"), w.bind(), w.execute(), w.close("S", "a"), w.SYNC],
        "mix", run("a")],
    "close and parse in a failed batch": [
        [w.parse("a", "select 1"), w.SYNC],
        [w.close("S", "a"), w.parse("a", "select 2"), w.parse("b", "nonsense"), w.SYNC],
        "mix", run("a")],
    "parse fails behind parse": [
        [w.parse("a", "select 1"), w.parse("b", "nonsense"), w.parse("c", "select 3"), w.SYNC],
        "mix", run("a"), run("b"), run("c")],
    "unnamed of a failed parse": [
        [w.parse("", "select 1"), w.SYNC], [w.parse("", "nonsense"), w.SYNC], "mix", run("")],
    "unnamed is described": [
        [w.parse("", "select 1, $1::text"), w.describe("S", ""), w.SYNC], "mix", run("", ("a",)),
        "mix", [w.describe("S", ""), w.bind("", "", ("b",)), w.describe("P"), w.execute(),
                w.SYNC], "mix", run("", ("c", "d"))],
    "unnamed is described where it fails": [
        [w.parse("", "select nothing"), w.describe("S", ""), w.SYNC],
        [w.parse("", "select 1"), w.describe("S", ""), w.SYNC], "mix",
        [w.parse("x", "nonsense"), w.describe("S", ""), w.bind(), w.SYNC], "mix",
        [w.describe("S", ""), w.parse("x", "nonsense"), w.bind(), w.SYNC], "mix", run("")],
    "unnamed is described in a failed transaction": [
        [w.parse("", "select 1"), w.describe("S", ""), w.SYNC], "mix",
        [w.parse("b", "begin"), w.bind("p", "b"), w.execute("p"), w.SYNC],
        [w.parse("e", "select 1/0"), w.bind("p", "e"), w.execute("p"), w.SYNC], run("")],
    "unnamed skipped": [
        [w.parse("", "select 1"), w.SYNC],
        [w.parse("x", "nonsense"), w.parse("", "select 2"), w.SYNC], "mix", run("")],
    "unnamed closed and skipped": [
        [w.parse("", "select 1"), w.SYNC],
        [w.parse("x", "nonsense"), w.close("S", ""), w.SYNC], "mix", run("")],
    "unnamed skipped twice": [
        [w.parse("", "select 1"), w.SYNC],
        [w.parse("x", "nonsense"), w.parse("", "select 2"), w.bind(), w.execute(),
         w.parse("", "select 3"), w.bind(), w.execute(), w.SYNC], run(""), "mix", run("")],
    "unnamed fails behind another message": [
        [w.parse("", "select 1"), w.SYNC],
        [w.parse("x", "select 5"), w.parse("", "nonsense"), w.parse("", "select 2"), w.SYNC],
        run(""), "mix", run("")],
    "unnamed is replaced behind another message": [
        [w.parse("", "select 1"), w.SYNC],
        [w.parse("x", "select 5"), w.parse("", "select 2"), w.SYNC], "mix", run(""),
        [w.parse("y", "select 5"), w.close("S", ""), w.SYNC], run("")],
    "unnamed replaced, then skipped": [
        [w.parse("", "select 1"), w.SYNC],
        [w.parse("x", "nonsense"), w.parse("", "select 2"), w.SYNC,
         w.parse("", "select 3"), w.SYNC], "mix", run("")],
    "unnamed skipped in front of a query": [
        [w.parse("", "select 1"), w.SYNC],
        [w.parse("x", "nonsense"), w.parse("", "select 2"), w.SYNC, w.query("select 3")],
        "mix", run("")],
    "unnamed skipped behind one of another server": [
        [w.parse("", "select 1"), w.SYNC], "mix",
        [w.parse("x", "select 1/0"), w.bind("", "x"), w.execute(), w.bind(), w.execute(),
         w.parse("", "select 2"), w.SYNC], run(""), "mix", run("")],
    "unnamed behind a query": [
        [w.parse("", "select 1"), w.SYNC], q("select 5"), "mix", run("")],
    "unnamed behind an empty query": [
        [w.parse("", "select 1"), w.SYNC], q(""), "mix", run("")],
    "unnamed behind a query that fails": [
        [w.parse("", "select 1"), w.SYNC], q("nonsense"), "mix", run("")],
    "unnamed behind function call": [
        [w.parse("", "select 1"), w.SYNC], [w.function_call(1610)], "mix", run("")],
    "unnamed in a failed transaction": [
        [w.parse("", "select 1"), w.SYNC], q("begin"), run("")],
    "prepared rollback": [
        [w.parse("r", "rollback"), w.SYNC], "mix", q("begin"), q("select 1/0"),
        [w.describe("S", "r"), w.SYNC], run("r"), q("select 1")],
    "prepared select in a failed transaction": [
        [w.parse("r", "select 1"), w.SYNC], "mix", q("begin"), q("select 1/0"),
        [w.describe("S", "r"), w.SYNC], run("r"), q("rollback"), run("r")],
    "named portal": [
        [w.parse("s", "select generate_series(1, 5)"), w.SYNC], "mix", q("begin"),
        [w.bind("p", "s"), w.execute("p", 2), w.SYNC], [w.close("S", "s"), w.SYNC],
        [w.execute("p", 2), w.SYNC], [w.describe("P", "p"), w.SYNC], q("commit"),
        [w.execute("p", 2), w.SYNC]],
    "types": [
        [w.parse("s", "select $1, $2::text", (23,)), w.describe("S", "s"), w.SYNC], "mix",
        [w.describe("S", "s"), w.SYNC], run("s", ("7", "x")), run("s", ("z", "x"))],
    "wrong number of values": [
        [w.parse("s", "select $1::int"), w.SYNC], "mix", run("s", ("1", "2")), run("s", ("1",))],
    "a long name is one name": [
        [w.parse(LONG + "x", "select 1"), w.SYNC], run(LONG + "y"),
        [w.describe("S", LONG + "z"), w.SYNC], "mix", [w.close("S", LONG), w.SYNC],
        [w.parse(LONG + "y", "select 2"), w.SYNC], run(LONG + "x"), run(LONG[:63])],
    "a long name is deallocated": [
        [w.parse(LONG, "select 1"), w.SYNC], q("deallocate " + LONG), "mix",
        [w.parse(LONG + "y", "select 2"), w.SYNC], run(LONG),
        [w.parse("", "deallocate " + LONG), w.bind(), w.execute(), w.SYNC],
        [w.parse(LONG + "x", "select 3"), w.SYNC], run(LONG)],
    "duplicate": [
        [w.parse("s", "select 1"), w.SYNC], "mix", [w.parse("s", "select 2"), w.SYNC], run("s")],
    "duplicate in a batch": [
        [w.parse("s", "select 1"), w.parse("s", "select 2"), w.SYNC], "mix", run("s")],
    "duplicate in a transaction": [
        q("begin"), [w.parse("s", "select 1"), w.SYNC], [w.parse("s", "select 2"), w.SYNC],
        q("select 1"), q("rollback"), "mix", run("s")],
    "query in a batch": [
        [w.parse("s", "select 1"), w.SYNC], "mix",
        [w.bind("", "s"), w.execute(), w.query("select 2")], [w.SYNC], run("s")],
    "flush": [
        [w.parse("s", "select 1"), w.FLUSH, w.SYNC], "mix",
        [w.bind("", "s"), w.FLUSH, w.describe("P"), w.FLUSH, w.execute(), w.SYNC]],
    "empty": [
        [w.parse("s", ""), w.describe("S", "s"), w.SYNC], "mix", run("s")],
    "two statements": [
        [w.parse("s", "select 1; select 2"), w.SYNC], "mix", run("s")],
    "show and reset": [
        [w.parse("s", "show timezone"), w.SYNC], "mix", q("set timezone = 'Asia/Tokyo'"), "mix",
        run("s"), q("reset timezone"), "mix", run("s")],
    "result formats": [
        [w.parse("s", "select 1, 'x'::text"), w.SYNC], "mix",
        [w.bind("", "s", (), (1,)), w.describe("P"), w.execute(), w.SYNC],
        [w.bind("", "s", (), (1, 0, 1)), w.execute(), w.SYNC]],
    "copy by a statement": [
        [w.parse("c", "copy (select 1) to stdout"), w.SYNC], "mix", run("c")],
    "transaction by pipeline": [
        [w.parse("b", "begin"), w.parse("c", "commit"), w.parse("s", "select 1"), w.SYNC], "mix",
        [w.bind("", "b"), w.execute(), w.bind("", "s"), w.execute(), w.bind("", "c"), w.execute(),
         w.SYNC], "mix", run("s")],
    "error between": [
        [w.parse("s", "select 1 / $1::int"), w.SYNC], "mix",
        run("s", ("1",)) + run("s", ("0",)) + run("s", ("2",))],
}


def answers(endpoint, others, play):
    """The client's answers; before each "mix" the others have used its server."""
    people = [endpoint.wire() for _ in range(others)]
    seen = []
    with endpoint.wire() as client:
        for step in play:
            if step == "mix":
                for other in people:
                    other.ask(w.parse("", "select 'mixed'"), w.bind(), w.execute(), w.SYNC)
                continue
            client.send(*step)
            times = sum(1 for m in step if m[:1] in (b"Q", b"S", b"F"))
            seen.append(shown(client.until("Z", times)))
    for other in people:
        other.__exit__()
    return seen


@pytest.mark.parametrize("prepared", [200, 1, "private"])
@pytest.mark.parametrize("play", PLAYS)
def test_answers_of_a_direct_connection(trunkline, postgres, play, prepared):
    daemon = trunkline(relays=1, chunk_size="16KiB",
                       routes=[route(pool_size=1, prepared_statements=prepared)])
    assert answers(daemon.endpoint(), 2, PLAYS[play]) == answers(postgres.endpoint(), 0, PLAYS[play])
