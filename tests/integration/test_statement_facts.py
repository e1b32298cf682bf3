"""Names of prepared statements on PostgreSQL itself, and what transaction pools make of them."""
import pytest

from support import wire as w

LONG = "n" * 63


def told(client, *messages):
    """The error's SQLSTATE, else the rows."""
    answers = client.ask(*messages)
    return next((m.sqlstate for m in answers if m.kind == "E"), None) or w.rows(answers)


def run(name):
    return [w.bind(statement=name), w.execute(), w.SYNC]


@pytest.fixture
def direct(postgres):
    with postgres.endpoint().wire() as wire:
        yield wire


@pytest.fixture
def pooled(pooler):
    with pooler.endpoint(database="transaction").wire() as wire:
        yield wire


@pytest.mark.parametrize("who", ["direct", "pooled"])
def test_names_of_the_protocol_are_told_apart_by_63_bytes(request, who):
    client = request.getfixturevalue(who)
    client.ask(w.parse(LONG + "x", "select 1"), w.SYNC)
    assert told(client, w.parse(LONG + "y", "select 2"), w.SYNC) == "42P05"
    assert told(client, w.parse(LONG[:-1] + "y", "select 3"), w.SYNC) == []
    assert told(client, *run(LONG + "z")) == [["1"]]
    assert told(client, w.query("deallocate " + LONG + "other")) == []
    assert told(client, *run(LONG)) == "26000"


def test_sql_and_the_protocol_have_the_same_names(direct):
    direct.ask(w.parse("s", "select 1"), w.SYNC)
    assert told(direct, w.query("prepare s as select 2")) == "42P05"
    assert told(direct, w.query("execute s")) == [["1"]]
    direct.ask(w.query("prepare t as select 3"))
    assert told(direct, w.parse("t", "select 4"), w.SYNC) == "42P05"
    assert told(direct, *run("t")) == [["3"]]


def test_in_a_transaction_pool_their_names_are_apart(pooled):
    pooled.ask(w.parse("s", "select 1"), w.SYNC)
    assert told(pooled, w.query("execute s")) == "26000"
    assert told(pooled, w.query("prepare s as select 2")) == []
    assert told(pooled, w.query("execute s")) == [["2"]]
    assert told(pooled, *run("s")) == [["1"]]
    pooled.ask(w.query("prepare t as select 3"))
    assert told(pooled, *run("t")) == [["3"]]
    pooled.ask(w.parse("t", "select 4"), w.SYNC)
    assert told(pooled, *run("t")) == [["4"]]
    assert told(pooled, w.query("deallocate all")) == []
    assert [told(pooled, *run(name)) for name in "st"] == ["26000"] * 2


def test_a_describe_takes_no_snapshot(direct):
    direct.ask(w.parse("s", "select 1"), w.SYNC)
    direct.ask(w.query("begin"))
    direct.ask(w.describe("S", "s"), w.SYNC)
    assert told(direct, w.query("set transaction isolation level serializable")) == []
    direct.ask(w.query("rollback"))
