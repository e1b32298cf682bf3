"""What PostgreSQL answers in and around a COPY: the facts that a hand-over of servers rests on.

docs/internals/ledger.md argues from these facts.  The tests run against PostgreSQL itself; those
that ask for `session` run through a session pool too, where a client must see the same.
"""
import pytest

from support import wire as w
from support.patience import eventually
from support.postgres import Postgres

COPY = "copy facts from stdin"
GOOD = w.copy_data(b"1\n")
BAD = w.copy_data(b"not a number\n")
END = w.query("select 'the end'")
MARK = "begin isolation level read committed; select '{0}'; rollback"

TABLES = """
drop table if exists facts, raises;
create table facts (n int);
create table raises (n int);
create or replace function refuse_facts() returns trigger language plpgsql as
    'begin raise exception ''not here''; end';
create trigger refuses before insert on raises for each statement
    execute function refuse_facts();
grant all on facts, raises to app, trusted;
"""


@pytest.fixture(scope="module")
def tables(postgres):
    for database in "app", "session":
        postgres.sql(TABLES, database=database)


@pytest.fixture
def direct(postgres, tables):
    with postgres.endpoint().wire() as wire:
        yield wire


def endpoint_of(request):
    if request.param == "direct":
        return request.getfixturevalue("postgres").endpoint()
    return request.getfixturevalue("pooler").endpoint(database="session")


@pytest.fixture(params=["direct", "session"])
def session(request, tables):
    """A session of its own: PostgreSQL's, or one behind a session pool."""
    with endpoint_of(request).wire() as wire:
        yield wire


@pytest.fixture(params=["direct", "session"])
def doubtful(request, tables):
    """The same, where the ledger can't know which answers come."""
    with endpoint_of(request).wire() as wire:
        yield wire


def extended(sql=COPY):
    return w.parse("", sql) + w.bind() + w.execute()


def answers(wire, *messages):
    """The kinds of all that answers these messages, as a query behind them shows; ZI: status I."""
    wire.send(*messages, END)
    heard = []
    while not (heard and heard[-1].kind == "D" and heard[-1].values == [b"the end"]):
        heard.append(wire.receive())
    wire.until("Z")
    assert [m.kind for m in heard[-2:]] == ["T", "D"]
    return " ".join(m.kind + (m.body.decode() if m.kind == "Z" else "")
                    for m in heard[:-2] if m.kind not in "NS")


def copying(wire):
    """Begins a COPY FROM STDIN by a simple query."""
    wire.send(w.query(COPY))
    assert w.kinds(wire.until("G")) == "G"
    return wire


# --- which messages a COPY FROM STDIN accepts

def test_copy_accepts_data_its_two_ends_flush_and_sync(session):
    assert answers(copying(session), GOOD, w.COPY_DONE) == "C ZI"
    assert answers(copying(session), w.FLUSH, GOOD, w.FLUSH, w.COPY_DONE) == "C ZI"
    assert answers(copying(session), w.SYNC, GOOD, w.SYNC, w.COPY_DONE) == "C ZI"
    assert answers(copying(session), GOOD, w.copy_fail("enough")) == "E ZI"


def test_copy_ends_the_session_at_any_other_byte(postgres, tables):
    """Of 256 kinds of message five are accepted; any other is FATAL, a Terminate too."""
    for kind in set(range(256)) - set(b"dcfHS"):
        with postgres.endpoint().wire() as wire:
            copying(wire)
            heard = wire.last_words(bytes([kind]) + w.message(" ", b"\0" * 20)[1:])
            assert heard[-1].kind == "E" and heard[-1].fields["V"] == "FATAL", (kind, heard)
            assert heard[-1].sqlstate == "08P01", (kind, heard)
            assert w.kinds(heard) in ("E", "E E"), (kind, heard)


@pytest.mark.parametrize("message", [
    w.query("select 1"), w.parse("", "select 1"), w.bind(), w.describe("S"), w.execute(),
    w.close("S"), w.function_call(1598), w.TERMINATE], ids=lambda message: chr(message[0]))
def test_copy_ends_the_session_at_any_other_message(session, message):
    heard = copying(session).send(message).rest()
    assert "Z" not in w.kinds(heard)
    if message != w.TERMINATE:
        assert heard[-1].fields["V"] == "FATAL" and heard[-1].sqlstate == "08P01"


# --- a Sync in a COPY, and around its failure

@pytest.mark.parametrize("end, heard", [(w.COPY_DONE, "C ZI"), (w.copy_fail("enough"), "E ZI"),
                                        (BAD, "E ZI")], ids=["done", "fail", "bad data"])
def test_a_sync_that_the_copy_reads_is_not_answered(session, end, heard):
    assert answers(session, w.query(COPY), GOOD, w.SYNC, end) == f"G {heard}"


@pytest.mark.parametrize("end, heard", [(w.COPY_DONE, "C"), (w.copy_fail("enough"), "E")],
                         ids=["done", "fail"])
@pytest.mark.parametrize("syncs", [1, 2, 300])
def test_a_sync_behind_the_end_of_a_copy_is_answered(session, end, heard, syncs):
    expected = " ".join(["G", heard] + ["ZI"] * (syncs + 1))
    assert answers(session, w.query(COPY), end, *[w.SYNC] * syncs) == expected


@pytest.mark.parametrize("syncs", [1, 2, 300])
def test_a_sync_behind_bad_data_is_answered(doubtful, syncs):
    """The COPY reads no further than to the row that it fails on."""
    expected = " ".join(["G", "E"] + ["ZI"] * (syncs + 1))
    assert answers(doubtful, w.query(COPY), BAD, *[w.SYNC] * syncs) == expected


def test_syncs_before_and_behind_bad_data(doubtful):
    assert answers(doubtful, w.query(COPY), w.SYNC, GOOD, w.SYNC, BAD, w.SYNC) == "G E ZI ZI"


def test_which_row_is_bad_shows_only_when_the_copy_reads_it(doubtful):
    """The two rows of one message are read before the Sync behind them is looked at."""
    assert answers(doubtful, w.query(COPY), w.copy_data(b"1\nbad\n"), w.SYNC) == "G E ZI ZI"


def test_a_row_that_is_not_finished_makes_the_copy_read_the_sync(doubtful):
    """The same bytes as one bad row, but cut before the newline."""
    cut, whole, newline = w.copy_data(b"bad"), w.copy_data(b"bad\n"), w.copy_data(b"\n")
    assert answers(doubtful, w.query(COPY), cut, w.SYNC, newline) == "G E ZI"
    assert answers(doubtful, w.query(COPY), whole, w.SYNC, newline) == "G E ZI ZI"


def test_in_an_extended_batch_one_sync_ends_the_skipping(doubtful):
    assert answers(doubtful, extended(), BAD, w.SYNC) == "1 2 G E ZI"
    assert answers(doubtful, extended(), GOOD, w.SYNC, BAD, w.SYNC) == "1 2 G E ZI"
    assert answers(doubtful, extended(), BAD, w.SYNC, w.SYNC) == "1 2 G E ZI ZI"
    assert answers(doubtful, extended(), w.SYNC, BAD, w.SYNC) == "1 2 G E ZI"


def test_libpq_sends_a_sync_ahead_which_the_copy_reads(session):
    assert answers(session, extended(), w.SYNC, GOOD, w.COPY_DONE, w.SYNC) == "1 2 G C ZI"


def test_a_trigger_that_raises_before_the_first_row_makes_both_syncs_be_answered(doubtful):
    """The statement fails after CopyInResponse and before it reads anything."""
    assert answers(doubtful, extended("copy raises from stdin"), w.SYNC, w.COPY_DONE, w.SYNC) == \
        "1 2 G E ZI ZI"
    assert answers(doubtful, w.query("copy raises from stdin"), w.COPY_DONE, w.SYNC) == "G E ZI ZI"
    assert answers(doubtful, w.query("copy raises from stdin"), w.SYNC, w.COPY_DONE) == "G E ZI ZI"


def test_three_hundred_copies_in_one_text(doubtful):
    """Each takes its own CopyDone, and the Sync behind them is answered once more."""
    heard = answers(doubtful, w.query(f"{COPY};" * 300), w.COPY_DONE * 300, w.SYNC)
    assert heard == "G C " * 300 + "ZI ZI"


def test_the_syncs_between_copies_of_one_text_are_read_by_the_later_one(doubtful):
    assert answers(doubtful, w.query(f"{COPY}; {COPY}"), w.COPY_DONE, w.SYNC, w.COPY_DONE) == \
        "G C G C ZI"
    assert answers(doubtful, w.query(f"{COPY}; {COPY}"), w.COPY_DONE, BAD, w.SYNC) == \
        "G C G E ZI ZI"


def test_the_rest_of_a_failed_copy_has_no_reply(session):
    assert answers(session, w.query(COPY), BAD, GOOD, GOOD, w.COPY_DONE, w.copy_fail("late")) == \
        "G E ZI"


# --- queries that are lost, and queries that are refused

def test_a_query_is_lost_while_the_server_skips_to_a_sync(session):
    assert answers(session, w.parse("", "nonsense"), w.query("select 1"), w.function_call(1598),
                   w.SYNC) == "E ZI"
    assert answers(session, extended(), BAD, w.query(MARK), w.SYNC) == "1 2 G E ZI"


@pytest.mark.parametrize("text", ["select 1", MARK], ids=["select", "mark"])
def test_a_query_is_refused_in_a_failed_transaction(session, text):
    assert answers(session, w.query("begin"), w.query("nonsense"), w.query("rollback")) == \
        "C ZT E ZE C ZI"
    session.ask(w.query("begin"))
    session.ask(w.query("nonsense"))
    refused = session.ask(w.query(text))
    assert w.kinds(refused) == "E Z" and refused[0].sqlstate == "25P02"
    assert session.ask(w.query("rollback"))[-1].body == b"I"


# --- the mark

STRICTEST = ("set default_transaction_isolation = serializable; "
             "set default_transaction_read_only = on; set default_transaction_deferrable = on")


def rests(wire, nonce):
    """The mark, as a session that rests answers it."""
    heard = wire.ask(w.query(MARK.format(nonce)))
    assert [m.kind for m in heard] == ["C", "T", "D", "C", "C", "Z"]
    assert [m.tag for m in heard if m.kind == "C"] == ["BEGIN", "SELECT 1", "ROLLBACK"]
    assert heard[2].values == [nonce.encode()] and heard[-1].body == b"I"


def test_the_answer_of_a_mark_in_a_session_that_rests(session):
    rests(session, "0123456789abcdef0123456789abcdef")


@pytest.mark.parametrize("settings", [
    STRICTEST, "set default_transaction_isolation = 'repeatable read'",
    "set standard_conforming_strings = off", "set client_encoding = 'sjis'", "set role app",
    "set search_path = ''", "set statement_timeout = '10s'", "set transform_null_equals = on"])
def test_the_answer_of_a_mark_whatever_the_session_has_set(direct, settings):
    for statement in settings.split(";"):
        assert w.kinds(direct.ask(w.query(statement))) == "C Z"
    rests(direct, "fedcba9876543210fedcba9876543210")


def test_a_mark_does_not_wait_where_a_plain_select_does(postgres, tables):
    """A serializable transaction that writes makes a deferrable one wait for its snapshot."""
    with postgres.endpoint().wire() as writer, postgres.endpoint().wire() as reader:
        for statement in STRICTEST.split(";"):
            reader.ask(w.query(statement))
        writer.ask(w.query("begin isolation level serializable; insert into facts values (1)"))
        rests(reader, "00112233445566778899aabbccddeeff")
        pid, = w.rows(reader.ask(w.query("begin isolation level read committed; "
                                         "select pg_backend_pid(); rollback")))[0]
        reader.send(w.query("select 'x'"))
        eventually(lambda: postgres.one("select wait_event from pg_stat_activity "
                                        f"where pid = {pid}") == "SafeSnapshot")
        assert reader.silent(0.05)
        assert w.kinds(writer.ask(w.query("rollback"))) == "C Z"
        assert w.kinds(reader.until("Z")) == "T D C Z"


def test_a_mark_is_silent_and_leaves_nothing(direct):
    """No notice outside of a transaction, and no transaction number is used."""
    number, = w.rows(direct.ask(w.query("select pg_current_xact_id_if_assigned() is null")))[0]
    heard = direct.ask(w.query(MARK.format("x")))
    assert number == "t" and not [m for m in heard if m.kind in "NSA"]


# --- replication: CopyBoth

@pytest.fixture(scope="module")
def source(template):
    hba = "local all all trust\nhost all all 127.0.0.1/32 trust\n" \
          "host replication all 127.0.0.1/32 trust\n"
    cluster = Postgres(template, hba=hba, wal_level="replica", max_wal_senders=10)
    yield cluster
    cluster.remove()


def streaming(cluster):
    wire = cluster.endpoint(user="postgres").wire(replication="true")
    place = w.rows(wire.ask(w.query("IDENTIFY_SYSTEM")))[0][2]
    wire.send(w.query(f"START_REPLICATION PHYSICAL {place}"))
    assert wire.until("W")
    return wire


def test_copy_both_ends_by_copy_done_from_both_sides(source):
    with streaming(source) as wire:
        heard = wire.ask(w.COPY_DONE)
        assert [m.kind for m in heard if m.kind != "d"] == ["c", "C", "C", "Z"]
        assert w.kinds(wire.ask(w.query("IDENTIFY_SYSTEM"))) == "T D C Z"


def test_a_sync_behind_the_end_of_copy_both_is_answered(source):
    with streaming(source) as wire:
        wire.send(w.COPY_DONE, w.SYNC)
        assert [m.kind for m in wire.until("Z", 2) if m.kind != "d"] == ["c", "C", "C", "Z", "Z"]


@pytest.mark.parametrize("message", [w.SYNC, w.FLUSH, w.query("select 1"), w.copy_fail("enough")],
                         ids=["sync", "flush", "query", "fail"])
def test_copy_both_accepts_neither_sync_nor_flush(source, message):
    with streaming(source) as wire:
        heard = [m for m in wire.last_words(message) if m.kind != "d"]
        assert heard[-1].fields["V"] == "FATAL" and heard[-1].sqlstate == "08P01"


# --- ReadyForQuery as the first answer to a message

STATES = {
    "at rest": [], "in a transaction": [w.query("begin")],
    "in a failed transaction": [w.query("begin"), w.query("nonsense")],
    "in an open batch": [w.parse("", "select 1"), w.FLUSH],
    "skipping to a Sync": [w.parse("", "nonsense")],
    "in a COPY": [w.query(COPY)], "in the COPY of a batch": [extended()],
    "behind a COPY that failed": [w.query(COPY), BAD],
    "skipping behind a COPY that failed": [extended(), BAD],
}

TEXTS = ["", ";", "-- nothing", "select 1", "select 1 where false", "begin", "commit", "rollback",
         "nonsense", COPY, "copy (select 1) to stdout", "insert into facts select 1 where false",
         "set application_name = 'facts'", "listen facts", "do 'begin end'", "discard all",
         "deallocate all", "prepare facts as select 1", "select 1; select 2", "notify facts",
         "savepoint s", "declare c cursor for select 1", "vacuum facts"]

MESSAGES = {
    **{f"Query {text!r}": w.query(text) for text in TEXTS},
    "Query without its end": w.message("Q", b"select 1"),
    "Parse": w.parse("", "select 1"), "Parse of nonsense": w.parse("", "nonsense"),
    "Parse without its end": w.message("P", b"x"), "Bind": w.bind(),
    "Bind of nothing": w.bind("", "nowhere"), "Bind without its end": w.message("B", b"\0"),
    "Describe statement": w.describe("S"), "Describe portal": w.describe("P"),
    "Describe nothing": w.message("D", b"x\0"), "Execute": w.execute(),
    "Execute without its end": w.message("E", b"\0"), "Close": w.close("S", "x"),
    "Close nothing": w.message("C", b"x\0"), "Function call": w.function_call(1598),
    "Function call of nothing": w.function_call(0), "Function call without its end": w.message("F"),
    "CopyData": GOOD, "bad CopyData": BAD, "CopyDone": w.COPY_DONE,
    "CopyFail": w.copy_fail("enough"), "CopyFail without its end": w.message("f"),
    "Flush": w.FLUSH, "Flush with a body": w.message("H", b"x"), "Sync": w.SYNC,
    "an unknown kind": w.message("z", b"x"), "Terminate": w.TERMINATE,
}


def is_the_end(error):
    """Of an error: whether it tells that the connection ends, or has ended within a COPY."""
    return error.fields["V"] == "FATAL" or "unexpected EOF" in error.fields["M"]


def first_answer(endpoint, state, message):
    """The kind of what comes first for a message, None if nothing does before the session ends.

    The state's own answers come before: they are those that come without the message.  Errors
    about the end of the connection are left out.
    """
    def heard(*messages):
        with endpoint.wire() as wire:
            return [m.kind for m in wire.last_words(*messages, w.FLUSH) if m.kind not in "NSA"
                    and not (m.kind == "E" and is_the_end(m))]

    before, after = heard(*state), heard(*state, message)
    assert after[:len(before)] == before, (before, after)
    return after[len(before)] if len(after) > len(before) else None


@pytest.mark.parametrize("state", STATES)
def test_only_a_sync_is_answered_by_ready_for_query_first(postgres, tables, state):
    """So any other surplus answer begins with a message that no Sync has for an answer."""
    found = {name: first_answer(postgres.endpoint(), STATES[state], message)
             for name, message in MESSAGES.items()}
    assert {name for name, kind in found.items() if kind == "Z"} <= {"Sync"}, found
    assert (found["Sync"] == "Z") == (state not in ("in a COPY", "in the COPY of a batch")), found
    answered = {name for name, kind in found.items() if kind}
    assert (answered == {"Sync"}) == ("skipping" in state), found
