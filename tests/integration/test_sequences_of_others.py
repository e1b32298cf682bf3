"""lastval() and currval() never give the value of another client, not even to the first of a pool."""
import pytest

from support import wire as w
from support.trunkline import route

BEGIN = w.query("begin")
READ = "select lastval()"
EXTENDED = w.parse("", READ) + w.bind() + w.execute()
NAMED = w.parse("s", READ) + w.bind("", "s") + w.execute()

# What a client sends, each in one write, that has not drawn a number.
READERS = {
    "alone": [w.query(READ)],
    "in a transaction": [BEGIN, w.query(READ)],
    "currval": [BEGIN, w.query("select currval('drawn')")],
    "in a transaction, extended": [BEGIN, EXTENDED + w.SYNC],
    "in a transaction, named": [BEGIN, NAMED + w.SYNC],
    "behind a query": [w.query("select 1") + w.query(READ)],
    "behind begin": [BEGIN + w.query(READ)],
    "behind a batch": [w.parse("", "select 1") + w.bind() + w.execute() + w.SYNC +
                       EXTENDED + w.SYNC],
    "in a batch": [w.parse("", "select 1") + w.bind() + w.execute() + EXTENDED + w.SYNC],
    "in a batch, named": [w.parse("", "select 1") + w.bind() + w.execute() + NAMED + w.SYNC],
    "behind a rollback": [BEGIN, w.query("oops"), w.query("rollback; " + READ)],
    "prepared": [BEGIN, w.query(f"prepare p as {READ}"), w.query("execute p")],
    "cursor": [BEGIN, w.query(f"declare c cursor for {READ}"), w.query("fetch c")],
}


@pytest.fixture
def endpoint(postgres, trunkline):
    postgres.sql("create sequence if not exists drawn start 1000; grant all on drawn to app")
    return trunkline(relays=1, routes=[route(pool_size=1)]).endpoint()


def draw(client):
    return w.rows(client.ask(w.query("select nextval('drawn')")))[0][0]


def send(client, written):
    """The answers to all messages."""
    client.send(written)
    count, at = 0, 0
    while at < len(written):
        count += written[at:at + 1] in b"QS"
        at += 1 + int.from_bytes(written[at + 1:at + 5], "big")
    return client.until("Z", count)


@pytest.mark.parametrize("how", READERS)
def test_currval_of_another_client_is_not_visible(endpoint, how):
    with endpoint.wire() as one, endpoint.wire() as other:
        number = draw(one)
        answers = [m for written in READERS[how] for m in send(other, written)]
        assert [number] not in w.rows(answers)
        assert "55000" in [m.sqlstate for m in answers if m.kind == "E"]
        other.ask(w.query("rollback"))
        other.ask(w.query("deallocate all"))
        for written in READERS["in a transaction"], READERS["in a batch"]:
            for message in written:
                send(other, message)
            send(other, w.query("rollback"))
        # From now on each reads its own, wherever the call stands.
        other.ask(BEGIN)
        mine = draw(other)
        assert w.rows(send(other, READERS["in a batch"][0]))[1:] == [[mine]]
        assert w.rows(other.ask(w.query(READ))) == [[mine]]
        other.ask(w.query("commit"))
        assert [m.sqlstate for m in one.ask(w.query(READ)) if m.kind == "E"] == ["55000"]


def test_the_first_call_on_a_new_server_reads_its_own_value(endpoint):
    with endpoint.wire() as one:
        one.ask(BEGIN)
        number = draw(one)
        assert w.rows(send(one, READERS["in a batch"][0]))[1:] == [[number]]


def test_the_first_call_may_lose_its_own_number(endpoint):
    """What another client left on the server can't be told from it."""
    with endpoint.wire() as one, endpoint.wire() as other:
        draw(one)
        for way in "lost", "kept":
            other.ask(BEGIN)
            number = draw(other)
            answers = other.ask(w.query(READ))
            if way == "lost":
                assert [m.sqlstate for m in answers if m.kind == "E"] == ["55000"]
            else:
                assert w.rows(answers) == [[number]]
            other.ask(w.query("rollback"))


def test_a_refused_pipeline_says_why(endpoint):
    with endpoint.wire() as one, endpoint.wire() as other:
        draw(one)
        error = [m for m in send(other, READERS["in a batch"][0]) if m.kind == "E"][0]
        assert "may be another client's" in error.fields["M"]
