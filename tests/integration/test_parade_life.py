"""Histories that were cut: crash with asynchronous commit, failover, restored backup, dump and restore.
A source takes its own rows back, a reader goes back to the newest heartbeat that both hold."""
import shutil
import signal
import subprocess

import psycopg
import pytest
from psycopg import errors

from support.parade import OWNER, Cut, Ground, install
from support.patience import eventually
from support.postgres import OWNER as SYSTEM_OWNER
from support.postgres import binaries, place
from support.processes import as_user


def beat(site):
    return site.one("select kv.heartbeat()")


class Saved:
    """A copy of a site's cluster; putting it back is what a restored disk is."""

    def __init__(self, site, stop=signal.SIGQUIT):
        self.site = site
        self.folder = place("saved")
        site.close()
        site.instance.stop(stop)
        self.copy(site.instance.data, self.folder / "data")
        site.instance.start()
        site.open()

    @staticmethod
    def copy(source, target):
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(as_user(SYSTEM_OWNER) + ["cp", "-a", source, target], check=True, cwd="/")

    def back(self):
        self.site.close()
        self.site.instance.stop(signal.SIGQUIT)
        self.copy(self.folder / "data", self.site.instance.data)
        self.site.instance.start()
        self.site.open()
        shutil.rmtree(self.folder)


@pytest.fixture
def cut(parade_template):
    """cut(count=2): a parade on clusters of the test's own, which it may crash and restore."""
    made = []

    def make(count=2):
        made.append(Ground(parade_template, count))
        return made[-1].parade(count)

    yield make
    for ground in made:
        ground.remove()


def recover(sites, site):
    """What the replicators do when a site is back."""
    assert site.state() == "cut"
    state = site.one("select kv.recover()")
    for other in sites:
        if other is not site:
            sites.link(other, site).begin()
            sites.link(site, other).begin()
    return state


def test_after_a_crash_clients_write_only_when_every_peer_gave_back_what_it_holds(cut):
    sites = a, b, c = cut(3)
    a.put("k", 1)
    sites.calm()
    a.close()
    a.instance.stop(signal.SIGQUIT)
    a.instance.start()
    a.open()
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="has not recovered since its last crash"):
        a.put("k", 2)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="has not recovered"):
        sites.link(b, a).pull()
    assert a.get("k") == 1, "reads go on"
    assert recover(sites, a) == "reclaiming"
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="it is reclaiming"):
        a.put("k", 2)
    sites.link(a, b).reclaim()
    assert a.state() == "reclaiming"
    sites.link(a, c).reclaim()
    assert a.state() == "online" and a.put("k", 2) == "UPDATE"


def test_a_shutdown_is_no_cut(cut):
    sites = a, b = cut()
    a.close()
    a.instance.restart()
    a.open()
    assert a.state() == "online" and a.put("k", 1) == "INSERT"
    assert a.one("select kv.recover()") == "online"


def test_a_restored_disk_takes_its_own_rows_back_and_used_ids_again_lose_nothing(cut):
    """Transaction ids are used again with the same system identifier and timeline."""
    sites = a, b = cut()
    for site in sites:
        site.namespace("counts", value_type="counter")
    a.put("old", 1)
    a.incr("c", 5)
    beat(a)
    sites.calm()
    saved = Saved(a)
    recover(sites, a)
    sites.link(a, b).reclaim()
    sites.calm()
    lost = [a.put(f"lost{n}", n) for n in range(20)]
    a.put("old", 2)
    a.incr("c", 7)
    beat(a)
    sites.calm()
    ahead = int(a.one("select pg_current_xact_id()::text"))
    assert len(lost) == 20 and b.get("lost7") == 7

    saved.back()
    assert a.one("select kv.get('DEFAULT', 'lost7')") is None
    assert recover(sites, a) == "reclaiming"
    sites.link(a, b).reclaim()
    assert a.get("lost7") == 7 and a.get("old") == 2 and a.get("c", "counts") == 12
    a.incr("c", 1)
    while int(a.one("select pg_current_xact_id()::text")) < ahead + 50:
        a.put("again" + a.one("select pg_current_xact_id()::text"), 1)
    sites.calm()
    assert sites.equal(), "a cursor by transaction ids alone would have passed the first of them over"
    assert b.get("c", "counts") == 13


def test_a_copy_of_a_stopped_cluster_that_was_put_back_is_noticed(cut):
    """PostgreSQL starts it without recovery, so no unlogged table is emptied."""
    sites = a, b = cut()
    for site in sites:
        site.namespace("counts", value_type="counter")
    a.incr("c", 5)
    beat(a)
    sites.calm()
    saved = Saved(a, signal.SIGINT)
    a.incr("c", 7)
    beat(a)
    sites.calm()
    saved.back()
    assert a.state() == "online", "nothing here tells it"
    with pytest.raises(Cut):
        sites.link(b, a).begin()
    assert recover(sites, a) == "reclaiming"
    sites.link(a, b).reclaim()
    a.incr("c", 1)
    sites.calm()
    assert a.get("c", "counts") == b.get("c", "counts") == 13


def test_an_administrator_may_say_that_the_history_was_cut(cut):
    a, b = cut()
    assert a.one("select kv.recover(true)") == "reclaiming"


def test_without_a_common_heartbeat_a_reader_begins_anew_and_a_verify_is_due(cut):
    sites = a, b = cut()
    a.put("k", 1)
    beat(a)
    sites.calm()
    b.rows("delete from kv.heartbeat_held")
    assert sites.link(b, a).begin() is None
    assert b.one("select verify_due from kv_stats.links")
    assert sites.link(b, a).pull() >= 1
    assert sites.equal()


def test_a_reader_goes_back_to_the_newest_heartbeat_that_both_hold(cut):
    sites = a, b = cut()
    marks = []
    for n in range(3):
        a.put(f"k{n}", n)
        marks.append(beat(a))
        sites.calm()
    a.rows("delete from kv.heartbeat where id = %s", marks[2])
    beat(a)
    assert sites.link(b, a).begin() == marks[1]
    assert sites.link(b, a).pull() == 1, "k2 again"
    assert marks[2] not in b.one("select held from kv.held(1)")


def test_a_heartbeat_is_held_only_when_its_round_is_whole(cut):
    sites = a, b = cut()
    link = sites.link(b, a)
    a.rows("select kv.put('DEFAULT', 'k' || n, '1') from generate_series(1, 10) n")
    mark = beat(a)
    link.merge(link.page(rows=3))
    assert mark not in b.one("select held from kv.held(1)")
    assert link.begin() != mark
    link.pull()
    assert mark in b.one("select held from kv.held(1)") and sites.equal()


def test_a_deferred_row_of_a_history_that_is_gone_is_dropped(cut):
    """The source does not get it back, so nobody may have it."""
    sites = a, b = cut()
    beat(a)
    sites.calm()
    saved = Saved(a)
    recover(sites, a)
    sites.link(a, b).reclaim()
    beat(a)
    sites.calm()
    a.put("gone", 1)
    with b.connect() as client:
        client.execute("begin; select kv.put('DEFAULT', 'gone', '2')")
        sites.link(b, a).pull()
        client.rollback()
    assert b.waiting() == [("deferred", "gone")]
    saved.back()
    recover(sites, a)
    sites.link(a, b).reclaim()
    sites.calm()
    assert sites.equal() and a.get("gone") is None and b.waiting() == []


def test_an_older_incarnation_is_neither_pulled_nor_acknowledged(cut):
    sites = a, b = cut()
    a.put("k", 1)
    link = sites.link(b, a)
    a.close()
    a.instance.stop(signal.SIGQUIT)
    a.instance.start()
    a.open()
    a.one("select kv.recover()")
    for call in (link.page, lambda: a.rows("select kv.feed_ack(2, %s, '999999', now())", link.incarnation)):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="history of peer 1 may have been cut"):
            call()
    assert a.one("select ack_xid from kv.peer_status_to where peer = 2") is None


def test_after_dump_and_restore_rows_are_stamped_anew(cut):
    sites = a, b = cut()
    for n in range(10):
        a.put(f"k{n}", n)
    beat(a)
    sites.calm()
    dump = a.instance.folder / "dump"
    tool = as_user(SYSTEM_OWNER) + [binaries() / "pg_dump", "-h", a.instance.folder, "-p", str(a.instance.port),
                                    "-U", "postgres", "-Fc", "-f", dump, a.database]
    subprocess.run(tool, check=True, cwd="/")
    a.close()
    a.instance.sql(f"drop database {a.database} with (force)", database="postgres")
    # Ids of another instance: far ahead of those that the dump has, or far behind.
    a.instance.sql(f"create database {a.database} owner {OWNER}", database="postgres")
    tool = as_user(SYSTEM_OWNER) + [binaries() / "pg_restore", "-h", a.instance.folder, "-p", str(a.instance.port),
                                    "-U", "postgres", "-d", a.database, dump]
    subprocess.run(tool, check=True, cwd="/")
    a.open()
    assert a.rows("select state from kv_config.running") == [("online",)], "the dump has the row"
    with pytest.raises(errors.ObjectNotInPrerequisiteState):
        a.put("k", 1)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="has not recovered"):
        sites.link(b, a).page()
    recover(sites, a)
    assert a.one("select count(*) from kv.t_kv where xid <> (select xid from kv_config.running)"
                 " and xid::text::bigint < (select xid::text::bigint from kv_config.running) - 10") == 0
    sites.link(a, b).reclaim()
    a.put("k3", "new")
    sites.calm()
    assert sites.equal() and b.get("k3") == "new"


def test_older_than_gc_grace_it_bootstraps_anew(cut):
    sites = a, b = cut()
    a.put("k", 1)
    beat(a)
    sites.calm()
    a.close()
    a.instance.stop(signal.SIGQUIT)
    a.instance.start()
    a.open()
    for site in sites:
        site.shift("11 days")
    assert a.one("select kv.recover()") == "fenced"
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="bootstrap it from a peer|it is fenced"):
        a.put("k", 2)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="may have been cut|older than gc_grace"):
        sites.link(a, b).begin()
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="older than gc_grace"):
        a.rows("select kv_config.accept_writes()")


def test_an_administrator_may_accept_writes_without_unreachable_peers(cut):
    sites = a, b = cut()
    a.close()
    a.instance.stop(signal.SIGQUIT)
    a.instance.start()
    a.open()
    a.one("select kv.recover()")
    a.rows("select kv_config.accept_writes()")
    assert a.put("k", 1) == "INSERT"


def test_what_an_unreachable_peer_holds_comes_back_when_the_peer_does(cut):
    """Meanwhile a new incarnation counts, so no increment of either is lost."""
    sites = a, b = cut()
    for site in sites:
        site.namespace("counts", value_type="counter")
    a.incr("c", 5)
    beat(a)
    sites.calm()
    saved = Saved(a)
    recover(sites, a)
    sites.link(a, b).reclaim()
    a.incr("c", 7)
    a.put("lost", 1)
    sites.calm()
    saved.back()
    a.one("select kv.recover()")
    a.rows("select kv_config.accept_writes()")
    a.incr("c", 1)
    for reader, source in sites.pairs():
        sites.link(reader, source).begin()
    sites.calm()
    sites.link(a, b).reclaim()
    sites.calm()
    assert sites.equal() and a.get("lost") == 1 and a.get("c", "counts") == 13


def test_marks_are_thinned(cut):
    sites = a, b = cut()
    for days in (12, 5):
        a.shift(f"-{days} days")
        for _ in range(10):
            beat(a)
    a.shift("0")
    for _ in range(120):
        beat(a)
    ages = a.rows("select (extract(epoch from kv.clock() - ts) / 86400)::int, count(*) from kv.heartbeat group by 1 order by 1")
    assert [row for row in ages if row[0] > 0] == [(5, 1)]


def test_a_promoted_standby_has_recovered_nothing_yet(replication):
    pair = replication(replicas=1)
    first, second = pair.servers
    first.sql(f"create role {OWNER} login superuser", database="postgres")
    first.sql("create database kv1", database="postgres")
    with psycopg.connect(host=str(first.folder), port=first.port, user="postgres", dbname="kv1",
                         autocommit=True) as connection:
        install(connection, "shard")
        connection.execute("select kv_config.set_my_info(1, 'here')")
        connection.execute("select kv.put('DEFAULT', 'k', '1')")
    lsn = first.one("select pg_current_wal_insert_lsn()")
    eventually(lambda: second.one("select pg_last_wal_replay_lsn() >= %s::pg_lsn", lsn))
    pair.primary.stop(signal.SIGQUIT)
    pair.promote(second)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="has not recovered since its last crash"):
        second.sql("select kv.put('DEFAULT', 'k', '2')", database="kv1")
    assert second.one("select kv.get('DEFAULT', 'k')", database="kv1") == 1
    assert second.one("select kv.recover()", database="kv1") == "online"
    second.sql("select kv.put('DEFAULT', 'k', '2')", database="kv1")
