"""What positions of the log say, and when the feed gets to one; strict mode stands on this.

On a machine of 2 cores with 23 processes ready to run, a marker's commit behind an asynchronous one was
read from the feed after 8.0 ms (p50) and 24.6 ms (p99), and without a marker the asynchronous one after
200 ms (wal_writer_delay).  On an idle machine the marker took 1.2 ms (p50) and 6.5 ms (p99).
"""
import psycopg
import pytest
from support.feed import Data, Feed, Keepalive, position
from support.patience import eventually

PAGE, SEGMENT = 8192, 16 << 20
SHORT, LONG = 24, 40  # headers of a page of the log, and of the first page of a segment

INSERT, FLUSH = "pg_current_wal_insert_lsn()", "pg_current_wal_flush_lsn()"


def at(cluster, function):
    return position(cluster.one(f"select {function}"))


def normalised(number):
    """A position right behind a page's header means the page's begin: no record is between."""
    if number % SEGMENT == LONG:
        return number - LONG
    if number % PAGE == SHORT and number % SEGMENT > SHORT:
        return number - SHORT
    return number


@pytest.fixture
def quiet(cluster):
    """A cluster whose log is flushed by commits only; nothing is done in the background."""
    made = cluster(wal_level="logical", max_wal_senders=5, max_replication_slots=5,
                   synchronous_commit="on", wal_writer_delay="10s", wal_writer_flush_after="0",
                   checkpoint_timeout="1h", log_statement="none")
    made.sql("create table t (n int)")
    return made


def session(cluster, **settings):
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return psycopg.connect(host=str(cluster.folder), port=cluster.port, user="postgres",
                           dbname="app", autocommit=True, options=options)


def write_unflushed(cluster):
    """An asynchronous commit that is seen and not yet flushed; the position behind it."""
    with session(cluster, synchronous_commit="off") as client:
        def unflushed():
            client.execute("insert into t values (1)")
            insert, flush = client.execute(f"select {INSERT}, {FLUSH}").fetchone()
            return position(insert) if position(insert) > position(flush) else None

        return eventually(unflushed)


# -- positions


def test_a_commit_has_its_end_as_position_and_a_change_its_begin(quiet):
    with Feed(quiet) as feed:
        before = at(quiet, INSERT)
        quiet.sql("insert into t values (1)")
        after = at(quiet, INSERT)
        begin, change, commit = feed.messages()
        assert before <= begin.end <= change.end < commit.end <= after
        for message in begin, change, commit:
            assert message.start == message.end


def test_transactions_come_in_the_order_of_their_commits(quiet):
    with Feed(quiet) as feed, session(quiet) as first, session(quiet) as second:
        first.execute("begin")
        first.execute("insert into t values (1)")
        second.execute("insert into t values (2)")
        first.execute("commit")
        one, two = feed.messages(), feed.messages()
        assert [m[1].text for m in (one, two)] == ["table public.t: INSERT: n[integer]:2",
                                                   "table public.t: INSERT: n[integer]:1"]
        assert one[-1].end < two[-1].end
        assert one[0].end > two[0].end, "a BEGIN has the position of the first change"


def test_the_end_of_the_log_may_be_past_a_page_header_that_the_feed_never_reaches(quiet):
    """The insert position is where the next record goes; flushed and sent is what was written."""
    with Feed(quiet) as feed:
        quiet.sql("insert into t values (1)")
        quiet.sql("select pg_switch_wal()")
        end, flush = at(quiet, INSERT), at(quiet, FLUSH)
        assert (end % SEGMENT, flush % SEGMENT) == (LONG, 0)
        assert normalised(end) == flush
        feed.passes(flush)
        for _ in range(5):
            assert feed.ask().end == flush < end == at(quiet, INSERT)


def test_normalised_an_end_of_the_log_at_any_page_is_reached(quiet):
    """Messages are made as long as the rest of the page, until the log ends right at its end."""
    emit = "select pg_logical_emit_message(true, 'p', repeat('x', %s))"
    with Feed(quiet) as feed, session(quiet) as client:
        def ends():
            [row] = client.execute(f"select {INSERT}, {FLUSH}").fetchall()
            return map(position, row)

        def boundary():
            begin, _ = ends()
            client.execute(emit, (256,))
            end, _ = ends()
            rest = PAGE - end % PAGE - (end - begin - 256)
            client.execute(emit, (rest if rest >= 0 else 0,))
            end, flush = ends()
            if end % PAGE != SHORT:
                return False
            assert normalised(end) == flush == end - SHORT
            feed.passes(flush)
            return feed.ask().end == flush

        assert eventually(boundary, every=0)


def test_a_reader_writes_log_that_nobody_flushes(quiet):
    """It prunes a page of dead rows; no commit follows, and the feed does not get there."""
    quiet.sql("insert into t select 0 from generate_series(1, 200)")
    for number in range(1, 4):
        quiet.sql(f"update t set n = {number} where n = {number - 1}")
    with session(quiet) as client:
        begin = at(quiet, INSERT)

        def pruned():
            client.execute("select count(*) from t").fetchone()
            [row] = client.execute(f"select {INSERT}, {FLUSH}").fetchall()
            end, flush = map(position, row)
            return begin < end and flush < normalised(end)

        eventually(pruned)


# -- what is decoded


def test_what_is_not_flushed_is_not_decoded_though_everybody_sees_it(quiet):
    with Feed(quiet) as feed:
        feed.passes(normalised(at(quiet, INSERT)))
        end = write_unflushed(quiet)
        assert quiet.one("select count(*) from t") > 0
        for _ in range(5):
            assert feed.ask().end < end
        assert at(quiet, FLUSH) < end
        assert feed.position < end


def test_a_marker_committed_with_a_flush_brings_all_before_it(quiet):
    with Feed(quiet) as feed, session(quiet, synchronous_commit="local") as probe:
        end = write_unflushed(quiet)
        probe.execute("select pg_logical_emit_message(true, 'mark', '7')")
        told = []
        while not any(text.startswith("message:") for text in told):
            *told, _ = feed.transaction()
        assert told[1:] == ["message: transactional: 1 prefix: mark, sz: 1 content:7"]
        assert feed.position >= end


def test_a_marker_that_is_no_transaction_is_not_flushed(quiet):
    with Feed(quiet) as feed, session(quiet, synchronous_commit="local") as probe:
        end = write_unflushed(quiet)
        probe.execute("select pg_logical_emit_message(false, 'mark', '7')")
        assert at(quiet, FLUSH) < at(quiet, INSERT)
        for _ in range(5):
            assert feed.ask().end < end


def test_a_marker_committed_asynchronously_is_not_flushed(quiet):
    with session(quiet, synchronous_commit="off") as probe:
        write_unflushed(quiet)
        probe.execute("select pg_logical_emit_message(true, 'mark', '7')")
        assert at(quiet, FLUSH) < at(quiet, INSERT)


def test_a_marker_needs_no_rights_but_writes_which_a_read_only_session_may(quiet):
    """Any user may call it; a session that is read only may too, since it changes no table."""
    with quiet.endpoint().connect(user="trusted") as probe:
        probe.execute("set default_transaction_read_only = on")
        probe.execute("select pg_logical_emit_message(true, 'mark', '7')")


def test_a_standby_refuses_a_marker(replication):
    standby, = replication(replicas=1).replicas
    with pytest.raises(psycopg.errors.InternalError_, match="cannot assign TransactionIds"):
        standby.sql("select pg_logical_emit_message(true, 'mark', '7')")


# -- keepalives


def test_a_requested_keepalive_has_no_mark_of_its_request(quiet):
    """Each has a position, a time and whether it wants an answer: nothing else."""
    with Feed(quiet) as feed:
        answer = feed.ask()
        assert len(feed.payloads[-1]) == 1 + 8 + 8 + 1
        assert not answer.reply


def test_more_keepalives_may_come_than_were_requested(quiet):
    """One comes whenever the sender has nothing more to send and less was confirmed; none of them
    says whether it answers a request."""
    with Feed(quiet) as feed:
        feed.passes(normalised(at(quiet, INSERT)))
        before = len(feed.payloads)
        feed.reply(written=1, ask=True)
        quiet.sql("insert into t values (1)")
        feed.messages()
        after = feed.position
        while feed.keepalive().end < after:
            pass
        kept = [p for p in feed.payloads[before:] if p[:1] == b"k"]
        quiet.sql("insert into t values (1)")
        feed.messages()
        kept.append(feed.keepalive())
        assert len(kept) >= 2


def test_a_feed_that_confirms_nothing_gets_a_keepalive_after_every_commit_unasked(quiet):
    with Feed(quiet) as feed:
        for _ in range(20):
            quiet.sql("insert into t values (1)")
            end = feed.messages()[-1].end
            while feed.keepalive().end < end:
                pass


def test_keepalives_come_that_nobody_asked_for(quiet):
    """When a transaction is skipped, or nothing was sent for half of wal_sender_timeout."""
    quiet.sql("alter system set wal_sender_timeout = '1s'")
    quiet.sql("select pg_reload_conf()")
    with Feed(quiet) as feed:
        message = feed.keepalive()
        while not message.reply:
            message = feed.keepalive()
        assert isinstance(message, Keepalive)


def test_a_keepalive_tells_the_position_sent_even_if_other_databases_wrote_it(quiet):
    """Nothing of them is told, and the feed's position moves on."""
    quiet.sql("create table if not exists elsewhere (n int)", database="session")
    with Feed(quiet) as feed:
        quiet.sql("insert into elsewhere values (1)", database="session")
        assert feed.passes(normalised(at(quiet, FLUSH))) == []
