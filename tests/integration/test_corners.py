"""Corners of the protocol where servers that change hands could show: two clients, one server.

What a client may see is defined by what a direct connection shows; each of these was once wrong.
"""
import pytest

from support import wire as w
from support.trunkline import route


@pytest.fixture(scope="module")
def narrow(postgres, tmp_path_factory):
    """Two endpoints to a pool of one server."""
    from support.trunkline import Trunkline, configuration
    daemon = Trunkline(tmp_path_factory.mktemp("narrow"),
                       configuration(postgres, relays=1, routes=[route(pool_size=1)])).start()
    yield daemon
    daemon.stop()


@pytest.fixture
def one(narrow):
    with narrow.endpoint().wire() as client:
        yield client


@pytest.fixture
def two(narrow):
    with narrow.endpoint().wire() as client:
        yield client


def answer(wire, *messages):
    return w.kinds(wire.ask(*messages))


def batch(sql, name=""):
    return w.parse(name, sql) + w.bind(statement=name) + w.execute()


# -- COPY


@pytest.mark.parametrize("kind", ["d", "f"])
@pytest.mark.parametrize("size", [10, 40000, 400000])
def test_copy_messages_of_any_length_without_a_copy_are_ignored(one, kind, size):
    late = w.message(kind, b"x" * size + b"\0")
    assert answer(one, late, late, w.query("select 1")) == "T D C Z"
    one.send(late)
    assert answer(one, w.query("select 1")) == "T D C Z"


@pytest.fixture
def table(one):
    one.ask(w.query("drop table if exists corner; create table corner (n int)"))


@pytest.mark.parametrize("end", [w.COPY_DONE, w.copy_fail("no")])
def test_a_copy_may_be_sent_in_one_piece_with_all_around_it(one, table, end):
    good = end == w.COPY_DONE
    row = w.copy_data(b"1\n")
    copied = "1 2 G C Z" if good else "1 2 G E Z"
    assert answer(one, batch("copy corner from stdin"), row, end, w.SYNC) == copied
    assert answer(one, w.query("copy corner from stdin"), row, end) == copied.replace("1 2 ", "")
    one.send(batch("copy corner from stdin"), row, end, w.SYNC, batch("select 1"), w.SYNC)
    assert w.kinds(one.until("Z", 2)) == f"{copied} 1 2 D C Z"
    one.send(w.query("copy corner from stdin"), row, end, w.query("select 1"))
    assert w.kinds(one.until("Z", 2)) == copied.replace("1 2 ", "") + " T D C Z"


def test_a_sync_inside_of_a_simple_copy_is_not_answered(one, table):
    one.send(w.query("copy corner from stdin"))
    assert w.kinds(one.until("G")) == "G"
    assert answer(one, w.copy_data(b"1\n"), w.SYNC, w.FLUSH, w.copy_data(b"2\n"), w.COPY_DONE) == "C Z"
    assert w.rows(one.ask(w.query("select sum(n) from corner"))) == [["3"]]


def test_a_sync_that_a_copy_swallowed_leaves_the_transaction_open(one, two, table):
    """The server is nobody else's until the client has sent the Sync that commits."""
    one.send(batch("copy corner from stdin"), w.SYNC)
    assert w.kinds(one.until("G")) == "1 2 G"
    one.send(w.copy_data(b"1\n"), w.COPY_DONE, w.FLUSH)
    assert w.kinds(one.until("C")) == "C"
    two.send(w.query("select count(*) from corner"))
    assert two.silent(0.1)
    assert answer(one, w.SYNC) == "Z"
    assert w.rows(two.until()) == [["1"]]


# -- the unnamed statement


def test_the_unnamed_statement_of_another_is_not_there(one, two):
    assert answer(one, batch("select 'secret of one'"), w.SYNC) == "1 2 D C Z"
    answers = two.ask(w.bind(), w.execute(), w.SYNC)
    assert w.kinds(answers) == "E Z" and answers[0].sqlstate == "26000"
    assert two.ask(w.describe("S"), w.SYNC)[0].sqlstate == "26000"
    assert w.rows(one.ask(w.bind(), w.execute(), w.SYNC)) == [["secret of one"]]


def test_the_unnamed_statement_of_one_that_left_is_not_there(narrow):
    """Also for one that is in its place in every respect."""
    for number in range(20):
        with narrow.endpoint().wire() as client:
            assert client.ask(w.bind(), w.execute(), w.SYNC)[0].sqlstate == "26000"
            assert answer(client, batch(f"select {number}"), w.SYNC) == "1 2 D C Z"


def test_the_unnamed_statement_survives_use_of_its_server_by_others(one, two):
    meanwhile = [
        lambda: two.ask(w.query("set application_name = 'two'")),
        lambda: two.ask(w.close("S"), w.SYNC),
        lambda: two.ask(w.parse("n", "select 2"), w.bind(statement="n"), w.execute(), w.SYNC),
        lambda: two.ask(w.parse("", "nonsense"), w.SYNC),
        lambda: two.ask(w.bind(), w.execute(), w.SYNC),
        lambda: (two.ask(w.query("set application_name = 'three'")),
                 two.ask(w.bind(statement="n"), w.execute(), w.SYNC)),
    ]
    assert answer(one, w.parse("", "select 'mine'"), w.SYNC) == "1 Z"
    for act in meanwhile:
        act()
        assert w.rows(one.ask(w.bind(), w.execute(), w.SYNC)) == [["mine"]]
        assert answer(one, w.bind(statement="not there"), w.bind(), w.execute(), w.SYNC) == "E Z"


def test_a_closed_unnamed_statement_is_gone(one, two):
    one.ask(w.parse("", "select 'mine'"), w.SYNC)
    assert answer(one, w.close("S"), w.SYNC) == "3 Z"
    two.ask(w.parse("", "select 'other'"), w.SYNC)
    assert answer(one, w.bind(), w.execute(), w.SYNC) == "E Z"


# -- named statements


def test_messages_behind_an_error_change_nothing(one):
    assert answer(one, w.parse("kept", "select 'kept'"), w.SYNC) == "1 Z"
    one.send(w.query("select 1"), w.parse("", "select 1/0"), w.bind(), w.execute(), w.FLUSH)
    one.until("E")
    answers = one.ask(w.parse("new", "select 'new'"), w.bind(statement="new"), w.close("S", "kept"),
                      w.parse("kept", "select 'other'"), w.describe("S", "kept"), w.query("select 2"),
                      w.execute(), w.SYNC)
    assert w.kinds(answers) == "Z"
    assert w.rows(one.ask(w.bind(statement="kept"), w.execute(), w.SYNC)) == [["kept"]]
    assert one.ask(w.bind(statement="new"), w.execute(), w.SYNC)[0].sqlstate == "26000"
    assert answer(one, batch("select 'new'", "new"), w.SYNC) == "1 2 D C Z"


def test_a_failed_batch_in_one_piece_changes_nothing(one):
    assert answer(one, w.parse("kept", "select 'kept'"), w.SYNC) == "1 Z"
    assert answer(one, w.bind(statement="missing"), w.close("S", "kept"),
                  w.parse("kept", "select 'other'"), w.parse("new", "select 'new'"),
                  w.close("S", "new"), w.parse("new", "select 'newer'"), w.SYNC) == "E Z"
    assert w.rows(one.ask(w.bind(statement="kept"), w.execute(), w.SYNC)) == [["kept"]]
    assert one.ask(w.bind(statement="new"), w.execute(), w.SYNC)[0].sqlstate == "26000"


def test_a_name_that_is_taken_is_told_in_its_turn(one):
    answers = one.ask(w.parse("", "select 1"), w.bind(), w.execute(), w.parse("twice", "select 2"),
                      w.parse("twice", "select 3"), w.SYNC)
    assert w.kinds(answers) == "1 2 D C 1 E Z" and answers[5].sqlstate == "42P05"


def test_a_text_that_fails_fails_in_every_batch(one):
    bad = "select no_such_column_at_all"
    for _ in range(2):
        one.send(w.parse("a", bad), w.SYNC, w.parse("b", bad), w.SYNC,
                 w.parse("c", bad), w.bind(statement="c"), w.SYNC)
        answers = one.until("Z", 3)
        assert w.kinds(answers) == "E Z E Z E Z"
        assert {m.sqlstate for m in answers if m.kind == "E"} == {"42703"}


def test_a_text_that_was_skipped_is_prepared_by_the_next_batch(one):
    text = "select 'skipped and prepared'"
    one.send(w.bind(statement="missing"), w.parse("a", text), w.SYNC,
             batch(text, "b"), w.SYNC, batch(text, "c"), w.SYNC)
    assert w.kinds(one.until("Z", 3)) == "E Z 1 2 D C Z 1 2 D C Z"
    assert answer(one, batch(text, "a"), w.SYNC) == "1 2 D C Z"


def test_a_statement_is_prepared_again_although_the_first_try_was_skipped(one, two):
    """On a server that has never seen it, in the second batch of a pipeline."""
    one.ask(w.parse("mine", "select 'mine', 17"), w.SYNC)
    two.ask(w.query("discard all"))
    one.send(w.bind(statement="missing"), w.bind(statement="mine"), w.SYNC,
             w.bind(statement="mine"), w.execute(), w.SYNC,
             w.bind(statement="mine"), w.execute(), w.SYNC)
    assert w.kinds(one.until("Z", 3)) == "E Z 2 D C Z 2 D C Z"
    assert w.rows(one.ask(w.bind(statement="mine"), w.execute(), w.SYNC)) == [["mine", "17"]]


def test_statements_outlive_another_clients_discard_all_in_the_middle(one, two):
    one.ask(w.parse("mine", "select 'mine'"), w.SYNC)
    two.send(w.query("discard all"), w.parse("theirs", "select 'theirs'"), w.SYNC,
             w.bind(statement="theirs"), w.execute(), w.SYNC)
    two.until("Z", 3)
    for _ in range(2):
        assert w.rows(one.ask(w.bind(statement="mine"), w.execute(), w.SYNC)) == [["mine"]]
        assert w.rows(one.ask(batch("select 'theirs'"), w.SYNC)) == [["theirs"]]
        assert answer(one, batch("select 'theirs'", "theirs"), w.close("S", "theirs"),
                      w.SYNC) == "1 2 D C 3 Z"


def test_names_are_settled_batch_by_batch(one):
    """Whether a name is there depends on batches in front that were sent and not yet answered."""
    assert answer(one, w.parse("old", "select 'old'"), w.SYNC) == "1 Z"
    one.send(w.bind(statement="missing"), w.close("S", "old"), w.parse("new", "select 'new'"), w.SYNC,
             w.bind(statement="old"), w.execute(), w.SYNC,
             w.bind(statement="new"), w.execute(), w.SYNC,
             w.parse("old", "select 'older'"), w.SYNC,
             w.close("S", "old"), w.SYNC,
             w.bind(statement="old"), w.SYNC,
             w.parse("old", "select 'newer'"), w.SYNC,
             w.bind(statement="old"), w.execute(), w.SYNC,
             w.parse("bad", "nonsense"), w.SYNC, w.parse("bad", "select 'good'"), w.SYNC,
             w.bind(statement="bad"), w.execute(), w.SYNC)
    answers = one.until("Z", 11)
    assert w.kinds(answers) == "E Z 2 D C Z E Z E Z 3 Z E Z 1 Z 2 D C Z E Z 1 Z 2 D C Z"
    assert [row[0] for row in w.rows(answers)] == ["old", "newer", "good"]
    assert [m.sqlstate for m in answers if m.kind == "E"] == ["26000", "26000", "42P05", "26000",
                                                              "42601"]


# -- lengths


@pytest.mark.parametrize("size", [100, 20000, 300000])
@pytest.mark.parametrize("step", [1, 5, 7, 4096])
def test_messages_may_come_in_pieces(one, size, step):
    """Every header is cut somewhere; of the long message only its beginning comes in small pieces."""
    value = "v" * size
    head = w.parse("pieces", "select length($1::text)") + w.bind("", "pieces", [value])
    tail = w.describe("P") + w.execute() + w.close("S", "pieces") + w.SYNC
    slow, fast = head[:200], head[200:]
    for at in range(0, len(slow), step):
        one.send(slow[at:at + step])
    one.send(fast)
    for at in range(0, len(tail), step):
        one.send(tail[at:at + step])
    answers = one.until()
    assert w.kinds(answers) == "1 2 T D C 3 Z" and w.rows(answers) == [[str(size)]]


def test_a_long_bind_whose_header_ends_a_buffer(one):
    """The names of a Bind are needed before anything of it can be forwarded."""
    value = "v" * 200000
    tail = w.bind("", "edge", [value]) + w.execute() + w.close("S", "edge") + w.SYNC
    for cut in (1, 4, 5, 6, 8, 12):
        first = w.parse("edge", "select length($1::text)") + w.FLUSH + tail[:cut]
        one.send(first)
        one.until("1")
        one.send(tail[cut:])
        assert w.rows(one.until()) == [["200000"]]


def test_a_batch_that_fails_late_does_not_take_the_next_ones_unnamed_statement(one, two):
    """Its end is known when the next has prepared one already."""
    for _ in range(3):
        one.send(w.bind("", "no such name") + w.parse("", "select 7") + w.SYNC +
                 w.parse("", "select 8") + w.bind() + w.execute() + w.FLUSH)
        assert [m.sqlstate for m in one.until("Z") if m.kind == "E"] == ["26000"]
        assert w.rows(one.until("C")) == [["8"]]
        assert w.kinds(one.ask(w.describe("S"), w.SYNC)) == "t T Z"
        assert w.rows(one.ask(w.bind(), w.execute(), w.SYNC)) == [["8"]]
        two.ask(w.query("select 1"))
        assert w.rows(one.ask(w.bind(), w.execute(), w.SYNC)) == [["8"]]


def test_an_unnamed_statement_is_there_for_the_batch_behind_one_that_failed(one, two):
    """Another client has used the server; what would have brought it back there was skipped."""
    one.ask(w.parse("", "select 9") + w.SYNC)
    for _ in range(3):
        two.ask(w.query("select 1"))
        one.send(w.bind("", "no such name") + w.bind() + w.execute() + w.SYNC +
                 w.bind() + w.execute() + w.SYNC)
        assert [m.sqlstate for m in one.until("Z") if m.kind == "E"] == ["26000"]
        assert w.rows(one.until("Z")) == [["9"]]


def test_an_answer_of_ours_behind_one_that_comes_in_pieces_is_in_its_turn(one):
    wide = "select " + ", ".join(f"{n} as \"{n:060}\"" for n in range(1600))
    one.ask(w.parse("wide", wide) + w.parse("known", "select 1") + w.SYNC)
    for _ in range(20):
        answers = one.ask(w.bind(statement="wide") + w.describe("P") + w.execute() +
                          w.parse("again", "select 1") + w.bind(statement="again") + w.execute() +
                          w.close("S", "again") + w.SYNC)
        assert w.kinds(answers) == "2 T D C 1 2 D C 3 Z"
        answers = one.ask(w.bind(statement="wide") + w.describe("P") +
                          w.parse("again", "select 1") + w.bind(statement="again") + w.execute() +
                          w.close("S", "again") + w.SYNC)
        assert w.kinds(answers) == "2 T 1 2 D C 3 Z"
