"""A transaction may be decoded before others see it; what a snapshot says about that."""
import psycopg
import pytest
from support.feed import Feed
from support.patience import eventually
from support.wire import Wire, query


def observer(cluster, database="app"):
    return psycopg.connect(host=str(cluster.folder), port=cluster.port, user="postgres",
                           dbname=database, autocommit=True)


def snapshot(client):
    """Whether pg_current_snapshot() contains an id, and what t holds, by one snapshot."""
    def contains(xid):
        return client.execute(
            "select pg_visible_in_snapshot(%s::text::xid8, pg_current_snapshot()),"
            " (select count(*) from t)", (str(xid),)).fetchone()

    return contains


@pytest.fixture
def alone(cluster):
    """A primary whose only synchronous standby is away."""
    made = cluster(wal_level="logical", max_wal_senders=5, max_replication_slots=5,
                   synchronous_commit="on", max_prepared_transactions=5)
    made.sql("create table t (n int); grant all on t to app")
    made.sql("alter system set synchronous_standby_names = 'away'")
    made.sql("select pg_reload_conf()")
    eventually(lambda: made.one("show synchronous_standby_names") == "away")
    return made


def waiting(cluster, pid):
    return cluster.sql("select 1 from pg_stat_activity where pid = %s and wait_event = 'SyncRep'",
                       pid)


def test_a_commit_that_waits_for_a_standby_is_decoded_and_others_read_the_old_row(alone):
    with Feed(alone) as feed, observer(alone) as reader, alone.endpoint().wire() as writer:
        contains = snapshot(reader)
        writer.send(query("insert into t values (1)"))
        begin, change, _ = feed.transaction()
        xid = begin.split()[1]
        assert change == "table public.t: INSERT: n[integer]:1"
        eventually(lambda: waiting(alone, writer.pid))
        for _ in range(3):
            assert contains(xid) == (False, 0)
        alone.sql("alter system reset synchronous_standby_names")
        alone.sql("select pg_reload_conf()")
        writer.until("Z")
        assert contains(xid) == (True, 1)


def test_a_cancelled_wait_for_a_standby_makes_the_commit_seen_without_it(alone):
    with Feed(alone) as feed, observer(alone) as reader, alone.endpoint().wire() as writer:
        contains = snapshot(reader)
        writer.send(query("insert into t values (1)"))
        xid = feed.transaction()[0].split()[1]
        eventually(lambda: waiting(alone, writer.pid))
        assert contains(xid) == (False, 0)
        alone.sql("select pg_cancel_backend(%s)", writer.pid)
        kinds = [m.kind for m in writer.until("Z")]
        assert "N" in kinds and "C" in kinds, "a warning, and the command is complete"
        assert contains(xid) == (True, 1)


def test_a_local_commit_does_not_wait_and_a_marker_can_be_one(alone):
    with Feed(alone) as feed, observer(alone) as probe:
        probe.execute("set synchronous_commit = local")
        probe.execute("select pg_logical_emit_message(true, 'mark', '1')")
        assert feed.changes() == ["message: transactional: 1 prefix: mark, sz: 1 content:1"]


def test_a_local_commit_is_seen_before_an_earlier_one_that_waits(alone):
    """So the order of the feed is not the order in which transactions become visible."""
    with Feed(alone) as feed, observer(alone) as reader, alone.endpoint().wire() as writer:
        contains = snapshot(reader)
        writer.send(query("insert into t values (1)"))
        first = feed.transaction()[0].split()[1]
        eventually(lambda: waiting(alone, writer.pid))
        with observer(alone) as local:
            local.execute("set synchronous_commit = local")
            local.execute("insert into t values (2)")
        second = feed.transaction()[0].split()[1]
        assert contains(first) == (False, 1)
        assert contains(second) == (True, 1)


def test_a_prepared_transaction_is_decoded_by_its_second_phase_which_may_wait_too(alone):
    with Feed(alone) as feed, observer(alone) as reader, observer(alone) as writer, \
            Wire(str(alone.folder), alone.port) as other:
        contains = snapshot(reader)
        writer.execute("set synchronous_commit = local")
        writer.execute("begin")
        writer.execute("insert into t values (1)")
        xid, = writer.execute("select pg_current_xact_id()::text").fetchone()
        writer.execute("prepare transaction 'one'")
        assert contains(xid) == (False, 0)
        other.startup("postgres", "app")
        other.send(query("commit prepared 'one'"))
        assert feed.transaction() == [f"BEGIN {xid}", "table public.t: INSERT: n[integer]:1",
                                      f"COMMIT {xid}"]
        eventually(lambda: waiting(alone, other.pid))
        assert contains(xid) == (False, 0), "decoded, and not seen"
        alone.sql("select pg_cancel_backend(%s)", other.pid)
        other.until("Z")
        assert contains(xid) == (True, 1)


def test_an_earlier_snapshot_that_contains_it_suffices_for_a_later_one(logical):
    """On one primary what a snapshot contains every later one contains."""
    logical.sql("create table if not exists t (n int); truncate t")
    with Feed(logical) as feed, observer(logical) as one, observer(logical) as other:
        for number in range(1, 30):
            logical.sql("insert into t values (1)")
            xid = feed.transaction()[0].split()[1]
            eventually(lambda xid=xid: snapshot(one)(xid)[0], every=0)
            assert snapshot(other)(xid) == (True, number)


def test_the_snapshot_of_a_standby_says_nothing_about_the_primary(replication):
    """What the primary shows a delayed standby does not: its snapshot lacks the id."""
    cluster = replication(replicas=0)
    late = cluster.add_replica(delay=1_000_000)
    xid = cluster.primary.one("select pg_current_xact_id()::text")
    ask = "select pg_visible_in_snapshot(%s::text::xid8, pg_current_snapshot())"
    cluster.primary.sql("create table t (n int)")
    assert cluster.primary.one(ask, xid) is True
    assert late.one(ask, xid) is False


def test_an_id_of_the_feed_is_the_low_half_of_what_a_snapshot_has(logical):
    """BEGIN tells 32 bits; xid8 has 64, and its epoch counts how often they went round."""
    logical.sql("create table if not exists t (n int)")
    with Feed(logical) as feed, observer(logical) as client:
        client.execute("begin")
        client.execute("insert into t values (1)")
        full, = client.execute("select pg_current_xact_id()::text").fetchone()
        client.execute("commit")
        assert int(feed.transaction()[0].split()[1]) == int(full) & 0xffffffff


def test_a_snapshot_takes_the_id_of_an_open_subtransaction_for_seen(logical):
    """It lists ids of top transactions only, so only those may be asked for; the feed tells these."""
    logical.sql("create table if not exists t (n int); truncate t")
    with observer(logical) as writer, observer(logical) as reader:
        writer.execute("begin")
        top, = writer.execute("select pg_current_xact_id()::text").fetchone()
        writer.execute("savepoint a")
        writer.execute("insert into t values (1)")
        sub = str(writer.execute("select xmin::text::int from t").fetchone()[0])
        logical.sql("select pg_current_xact_id()")  # a later one that is over
        assert int(sub) == int(top) + 1
        assert snapshot(reader)(top) == (False, 0)
        assert snapshot(reader)(sub) == (True, 0)
