"""Slots of the feed: what makes them, what they hold up, what ends them."""
import threading

import psycopg
import pytest
from support.feed import Feed, Keepalive
from support.patience import eventually
from support.wire import Refused, Wire, query


def client(cluster, database="app", user="postgres"):
    return psycopg.connect(host=str(cluster.folder), port=cluster.port, user=user, dbname=database,
                           autocommit=True)


def slots(cluster, name="feed"):
    return cluster.sql("select temporary, active, plugin, database from pg_replication_slots"
                       " where slot_name = %s", name)


def gone(cluster, name="feed"):
    eventually(lambda: not slots(cluster, name))


# -- a temporary slot


def test_a_temporary_slot_is_gone_with_its_connection(logical):
    with Feed(logical):
        assert slots(logical) == [(True, True, "test_decoding", "app")]
    gone(logical)


def test_a_temporary_slot_is_gone_with_its_backend_and_begins_anew(logical):
    """What was committed between two slots nobody tells: who had the old one knows that it has a gap."""
    logical.sql("create table if not exists gap (n int)")
    with Feed(logical) as feed:
        pid = logical.one("select active_pid from pg_replication_slots where slot_name = 'feed'")
        logical.sql("select pg_terminate_backend(%s)", pid)
        assert feed.wire.rest()[-1].sqlstate == "57P01"
    gone(logical)
    logical.sql("insert into gap values (1)")
    with Feed(logical) as feed:
        logical.sql("insert into gap values (2)")
        assert feed.changes() == ["table public.gap: INSERT: n[integer]:2"]


def test_a_temporary_slot_belongs_to_its_connection(logical):
    with Feed(logical) as feed:
        with pytest.raises(AssertionError, match="is active for PID"):
            Feed(logical, start=False).start()
        assert feed.ask()


def test_the_feed_needs_the_replication_attribute_and_the_right_to_connect(logical):
    with Wire("127.0.0.1", logical.port) as wire:
        with pytest.raises(Refused) as caught:
            wire.startup("app", "app", "app", replication="database")
        assert caught.value.sqlstate == "42501"
    logical.sql("alter role trusted replication")
    try:
        with Wire("127.0.0.1", logical.port) as wire:
            wire.startup("trusted", "app", replication="database")
            answers = wire.ask(query("CREATE_REPLICATION_SLOT other TEMPORARY LOGICAL test_decoding"))
            assert [m.kind for m in answers if m.kind != "S"] == ["T", "D", "C", "Z"]
    finally:
        logical.sql("alter role trusted noreplication")


def test_no_logical_slot_without_its_level_of_log(postgres):
    """wal_level = minimal allows no replication at all, replica no decoding."""
    with Wire(str(postgres.folder), postgres.port) as wire:
        with pytest.raises(Refused) as caught:
            wire.startup("postgres", "app", replication="database")
            raise Refused(wire.ask(query(
                "CREATE_REPLICATION_SLOT x TEMPORARY LOGICAL test_decoding"))[0])
        assert caught.value.sqlstate in ("53300", "55000")


def test_replica_is_not_a_level_for_decoding(cluster):
    made = cluster(wal_level="replica", max_wal_senders=5)
    with pytest.raises(AssertionError, match="logical decoding requires wal_level >= logical"):
        Feed(made)


# -- its creation


def test_the_creation_of_a_slot_waits_for_open_write_transactions(logical):
    logical.sql("create table if not exists waited (n int)")
    feed = Feed(logical, start=False)
    with client(logical) as writer:
        writer.execute("begin")
        writer.execute("insert into waited values (1)")
        maker = threading.Thread(target=feed.create)
        maker.start()
        eventually(lambda: logical.sql("select 1 from pg_stat_activity where backend_type ="
                                       " 'walsender' and wait_event_type = 'Lock'"))
        assert slots(logical) == [(True, True, "test_decoding", "app")], "it is there, unfinished"
        with client(logical) as later:
            later.execute("insert into waited values (2)")
        assert maker.is_alive()
        writer.execute("commit")
    maker.join()
    with feed:
        feed.start()
        logical.sql("insert into waited values (3)")
        assert feed.changes()[-1] == "table public.waited: INSERT: n[integer]:3"


@pytest.mark.parametrize("database, statement", [
    ("app", "select count(*) from pg_class"), ("session", "select pg_current_xact_id()")])
def test_readers_do_not_hold_up_the_creation_and_writers_of_other_databases_do(
        logical, database, statement):
    with client(logical, database) as other:
        other.execute("begin isolation level repeatable read")
        other.execute(statement)
        feed = Feed(logical, start=False)
        maker = threading.Thread(target=feed.create)
        maker.start()
        if database == "session":
            eventually(lambda: logical.sql("select 1 from pg_stat_activity where backend_type ="
                                           " 'walsender' and wait_event_type = 'Lock'"))
            other.execute("commit")
        maker.join(15)
        assert not maker.is_alive()
    feed.wire.socket.close()
    gone(logical)


def test_a_prepared_transaction_holds_up_the_creation_too(logical):
    logical.sql("create table if not exists waited (n int)")
    logical.sql("begin; insert into waited values (1); prepare transaction 'open'")
    feed = Feed(logical, start=False)
    maker = threading.Thread(target=feed.create)
    maker.start()
    eventually(lambda: logical.sql("select 1 from pg_stat_activity where backend_type ="
                                   " 'walsender' and wait_event_type = 'Lock'"))
    logical.sql("rollback prepared 'open'")
    maker.join()
    feed.wire.socket.close()
    gone(logical)


def test_all_that_commits_after_the_creation_was_answered_is_told(logical):
    """Its answer names the consistent point; a transaction that began before is not open then."""
    logical.sql("create table if not exists waited (n int)")
    with Feed(logical, start=False) as feed:
        name, point, snapshot, plugin = [
            m for m in feed.create() if m.kind == "D"][0].values
        assert (name, snapshot, plugin) == (b"feed", None, b"test_decoding")
        assert b"/" in point
        logical.sql("insert into waited values (4)")
        feed.start()
        assert feed.changes() == ["table public.waited: INSERT: n[integer]:4"]


# -- what it holds up


def test_an_active_slot_blocks_the_drop_of_its_database_even_with_force(logical):
    logical.sql("create database doomed")
    with Feed(logical, "doomed") as feed:
        with pytest.raises(psycopg.errors.ObjectInUse, match="used by an active logical replication"):
            logical.sql("drop database doomed")
        with pytest.raises(psycopg.errors.ObjectInUse, match="used by an active logical replication"):
            logical.sql("drop database doomed with (force)")
        assert feed.ask()
    gone(logical)
    logical.sql("drop database doomed with (force)")


def test_other_databases_are_not_held_up(logical):
    logical.sql("create database doomed")
    with Feed(logical):
        logical.sql("drop database doomed")


def test_an_active_slot_ends_with_the_server_that_stops(cluster):
    """A fast shutdown asks the feed to confirm all that it was sent, and ends then."""
    made = cluster(wal_level="logical", max_wal_senders=5, max_replication_slots=5,
                   synchronous_commit="on")
    with Feed(made) as feed:
        stopper = threading.Thread(target=made.stop)
        stopper.start()
        while True:
            try:
                message = feed.receive()
            except (AssertionError, EOFError):
                break
            if isinstance(message, Keepalive):
                feed.reply()
        stopper.join()
    assert not made.program.running()


# -- publications and replica identities


def test_a_publication_makes_updates_fail_without_a_replica_identity(logical):
    logical.sql("create table bare (n int); insert into bare values (1)")
    logical.sql("update bare set n = 2")
    logical.sql("create publication p for table bare")
    for statement in ("update bare set n = 3", "delete from bare"):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="replica identity"):
            logical.sql(statement)
    logical.sql("insert into bare values (1)")
    logical.sql("drop publication p")


def test_a_slot_of_test_decoding_makes_nothing_fail(logical):
    logical.sql("create table naked (n int); insert into naked values (1)")
    with Feed(logical) as feed:
        logical.sql("update naked set n = 3")
        logical.sql("delete from naked")
        assert feed.changes() == ["table public.naked: UPDATE: n[integer]:3"]
        assert feed.changes() == ["table public.naked: DELETE: (no-tuple-data)"]


# -- one source


def test_a_standby_has_no_logical_slots(replication):
    standby, = replication(replicas=1).replicas
    with pytest.raises(AssertionError, match="logical decoding cannot be used while in recovery"):
        Feed(standby)


def test_identify_system_names_the_source(replication):
    """The feed's own connection says its system and timeline, before and after a promotion."""
    cluster = replication(replicas=1)
    old, new = cluster.servers

    def source(server):
        with Wire(str(server.folder), server.port) as wire:
            wire.startup("postgres", "app", replication="database")
            row, = [m.values for m in wire.ask(query("IDENTIFY_SYSTEM")) if m.kind == "D"]
            return int(row[0]), int(row[1]), row[3]

    assert source(old) == (old.system(), 1, b"app")
    cluster.promote(new)
    assert source(new) == (old.system(), 2, b"app")
    assert source(old) == (old.system(), 1, b"app")


def test_a_position_of_one_timeline_is_past_what_another_has_committed(replication):
    """The old primary's log goes on: a position that the feed of the new one has not reached was
    written there, and one that it has passed may be of other transactions."""
    cluster = replication(replicas=1)
    old, new = cluster.servers
    old.sql("create table t (n int)")
    cluster.caught_up()
    cluster.promote(new)
    old.sql("insert into t select generate_series(1, 10000)")
    with Feed(new) as feed:
        feed.ask()
        assert feed.position < old.written()
        new.sql("insert into t values (0)")
        new.sql("set synchronous_commit = on; insert into t select generate_series(1, 30000)")
        assert len(feed.changes()) == 1
        assert len(feed.changes()) == 30000
        assert feed.position > old.written()
    assert old.one("select count(*) from t where n = 0") == 0
