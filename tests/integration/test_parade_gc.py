"""Nothing deleted comes back: removal of tombstones and expired rows, repair, members that come and go."""
import hashlib

import pytest
from psycopg import errors


def rows(site):
    return site.one("select count(*) from kv.t_kv")


def later(sites, interval="11 days"):
    """Lets time pass with all members in touch."""
    for site in sites:
        site.shift(interval)
    for reader, source in sites.pairs():
        sites.link(reader, source).pull()
        sites.link(reader, source).acknowledge()


def collect(site, *links):
    """kv.gc() as often as it takes, with whole rounds of these links between."""
    removed = 0
    for _ in range(3):
        for link in links * 2:
            link.pull()
            link.acknowledge()
        removed += site.one("select removed from kv.gc()")
    return removed


def test_tombstones_go_everywhere_when_all_members_hold_them(parade):
    sites = parade()
    for site in sites:
        site.put(f"k{site.id}", 1)
    sites.calm()
    for site in sites:
        site.delete(f"k{site.id}")
    sites[0].put("live", 1)
    sites.calm()
    assert sites.gc() == 0, "younger than gc_grace"
    later(sites)
    assert sites.gc() == 9
    assert [rows(site) for site in sites] == [1, 1, 1] and sites.equal()


def test_a_member_that_is_away_holds_tombstones_back(parade):
    sites = a, b, c = parade()
    a.put("k", 1)
    sites.calm()
    b.delete("k")
    sites.link(a, b).pull()
    for site in sites:
        site.shift("9 days 23 hours")
    links = [sites.link(a, b), sites.link(b, a)]
    for link in links:
        link.acknowledge()
        link.reader.setting(gc_grace="1 day")
        link.source.rows("update kv.peer_status_to set acked_at = kv.clock()")
    assert collect(a, *links) + collect(b, *links) == 0
    sites.calm()
    for site in sites:
        site.setting(gc_grace="1 day")
    assert sites.gc() == 3
    assert [site.get("k") for site in sites] == [None] * 3 and rows(c) == 0


def test_a_page_on_its_way_holds_tombstones_back(parade):
    """An old version that was read before the delete and is written after the removal."""
    sites = a, b, c = parade()
    c.put("k", "old")
    slow = sites.link(a, c)
    page = slow.page()
    sites.link(b, c).pull()
    b.delete("k")
    for reader, source in ((a, b), (c, b)):
        sites.link(reader, source).pull()
        sites.link(reader, source).acknowledge()
    for site in sites:
        site.setting(gc_grace="0")
        site.rows("update kv.peer_status_to set acked_at = 'infinity'")
        site.rows("update kv.peer_status_to set ack_xid = '99999999' where peer <> 2")
    for _ in range(4):
        sites.link(a, b).pull()
        a.rows("select * from kv.gc()")
        assert rows(a) == 1
    slow.merge(page)
    assert a.get("k") is None, "the tombstone is still there"
    for _ in range(4):
        sites.link(a, b).pull()
        slow.pull()
        a.rows("select * from kv.gc()")
    assert rows(a) == 0


def test_a_deferred_row_holds_tombstones_back(parade):
    sites = a, b = parade(2)
    a.put("k", 1)
    sites.calm()
    a.put("k", 2)
    with b.connect() as client:
        client.execute("begin; select kv.touch('DEFAULT', 'k')")
        sites.link(b, a).pull()
        assert b.waiting() == [("deferred", "k")]
        a.delete("k")
        a.delete("other")
        for link in (sites.link(a, b), sites.link(b, a)):
            link.pull()
            link.acknowledge()
        later(sites)
        assert collect(a, sites.link(a, b), sites.link(b, a)) == 0, "b has not received all"
        assert collect(b, sites.link(a, b), sites.link(b, a)) == 0
        client.rollback()
    sites.calm()
    assert sites.gc() == 4 and rows(b) == 0


def test_a_member_that_was_silent_for_gc_grace_is_fenced_both_ways(parade):
    sites = a, b, c = parade()
    a.put("k", 1)
    sites.calm()
    a.delete("k")
    sites.link(b, a).pull()
    for site in sites:
        site.shift("11 days")
    sites.link(b, a).acknowledge()
    sites.link(a, b).acknowledge()
    assert collect(a, sites.link(a, b), sites.link(b, a)) == 1
    assert a.rows("select peer from kv_stats.readers where fenced") == [(3,)]
    for call in (lambda: sites.link(c, a).page(), lambda: sites.link(c, a).acknowledge(), lambda: sites.link(c, a).begin(),
                 lambda: sites.link(a, c).pull()):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="peer 3 is fenced"):
            call()


def bootstrap(sites, site, donor):
    """What the replicator does: one snapshot of the donor, by COPY."""
    for other in sites:
        if other is not site:
            other.rows("select kv_config.add_peer(%s, '', 5432, 'joining')", site.id)
            other.rows("update kv.peer_status_to set acked_at = kv.clock() where peer = %s", site.id)
    site.rows("select kv.bootstrap_begin()")
    with donor.connect("kv_replicationd") as source, site.connect("kv_replicationd") as target:
        source.execute("begin isolation level repeatable read")
        links = source.execute("select array_agg(l)::text from kv.bootstrap_links(%s) l", (site.id,)).fetchone()[0]
        with source.cursor().copy("copy (select * from kv.bootstrap_rows()) to stdout") as out, \
                target.cursor().copy("copy kv.staging from stdin") as into:
            for data in out:
                into.write(data)
        for number, row in source.execute("select source, feed_row::text from kv.bootstrap_waiting()").fetchall():
            target.execute("select kv.bootstrap_wait(%s, %s::kv.feed_row)", (number, row))
        source.rollback()
        state = target.execute("select kv.bootstrap_finish(%s::kv.bootstrap_link[])", (links,)).fetchone()[0]
    for other in sites:
        if other is not site:
            other.rows("update kv.peer_status_to set fenced = false where peer = %s", site.id)
            sites.link(site, other).begin()
            sites.link(other, site).begin()
            if state == "reclaiming":
                sites.link(site, other).reclaim()
    return site.state()


def test_a_fenced_member_bootstraps_and_what_was_deleted_stays_deleted(parade):
    sites = a, b, c = parade()
    a.put("k", 1)
    a.put("stays", 1)
    sites.calm()
    a.delete("k")
    sites.link(b, a).pull()
    for site in sites:
        site.shift("11 days")
    for link in (sites.link(b, a), sites.link(a, b)):
        link.acknowledge()
    assert collect(a, sites.link(a, b), sites.link(b, a)) == 1
    collect(b, sites.link(a, b), sites.link(b, a))
    c.rows("select kv_config.give_up()")
    assert bootstrap(sites, c, a) == "online"
    c.put("new", 1)
    sites.calm()
    assert sites.equal() and [site.get("k") for site in sites] == [None] * 3
    assert c.get("stays") == 1 and a.get("new") == 1


def test_a_new_zone_is_filled_under_load_and_misses_nothing(parade):
    sites = a, b, c = parade()
    for site in (a, b):
        site.namespace("counts", value_type="counter")
        site.rows("select kv.put('DEFAULT', 'k' || n, '1') from generate_series(%s::int, %s::int) n", site.id * 100, site.id * 100 + 99)
        site.incr("c", 2)
    c.namespace("counts", value_type="counter")
    for link in (sites.link(a, b), sites.link(b, a)):
        link.pull()
    with a.connect() as late, a.connect() as held:
        late.execute("begin; select kv.put('DEFAULT', 'late', '1')")
        held.execute("begin; select kv.put('DEFAULT', 'k250', '0')")
        b.put("k250", "deferred at the donor")
        b.delete("k251")
        b.rows("select kv.heartbeat()")
        sites.link(a, b).pull()
        assert a.waiting() == [("deferred", "k250")]
        assert bootstrap(sites, c, a) == "online"
        late.commit()
        held.rollback()
    a.put("k100", 2)
    sites.calm()
    assert sites.equal() and c.get("k250") == "deferred at the donor" and c.get("c", "counts") == 4
    assert c.get("late") == 1 and c.get("k251") is None and len(c.live()) == 201


def test_a_bootstrap_reads_one_snapshot_and_does_not_empty_a_member_at_work(parade):
    sites = a, b = parade(2)
    b.put("k", 1)
    with pytest.raises(errors.ActiveSqlTransaction, match="all of one snapshot"):
        a.rows("select * from kv.bootstrap_links(2)")
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="is online and holds rows"):
        b.rows("select kv.bootstrap_begin()")


def test_forgetting_a_member_releases_tombstones(parade):
    sites = a, b, c = parade()
    a.put("k", 1)
    sites.calm()
    a.delete("k")
    sites.link(b, a).pull()
    for site in (a, b):
        site.shift("11 days")
        site.rows("update kv.peer_status_to set acked_at = kv.clock()")
    links = [sites.link(a, b), sites.link(b, a)]
    assert collect(a, *links) == 0
    for site in (a, b):
        site.rows("select kv_config.forget_peer(3)")
    assert collect(a, *links) + collect(b, *links) == 2
    with pytest.raises(errors.UndefinedObject, match="there is no peer 9"):
        a.rows("select kv_config.forget_peer(9)")


def test_rows_of_a_lost_origin_are_repaired_among_the_others(parade):
    sites = a, b, c = parade()
    c.put("k", 1)
    sites.link(a, c).pull()
    for site in (a, b):
        site.rows("select kv_config.forget_peer(3)")
    assert repair(a, b) == [(0, 0), (1, 0)]
    assert b.get("k") == 1 and a.digest() == b.digest()


def repair(one, other, dry=False):
    """Both ways; (copied, deleted) of each."""
    differ = {row[0] for row in set(one.digest()) ^ set(other.digest())}
    pages = [site.rows("select horizon::text, page::text from kv.repair_page(%s::int[])", sorted(differ))[0]
             for site in (other, one)]
    return [site.rows("select * from kv.repair(%s, %s::int[], %s, %s::kv.feed_row[], %s)", source.id, sorted(differ), *page, dry)[0]
            for site, source, page in ((one, other, pages[0]), (other, one, pages[1]))]


def test_a_repair_copies_what_is_missing_and_does_not_resurrect(parade):
    """A row that one side alone has, and that is older than the other side's horizon, was deleted."""
    sites = a, b = parade(2)
    a.put("deleted", 1)
    a.put("newer", 0)
    sites.calm()
    a.delete("deleted")
    sites.calm()
    later(sites)
    assert sites.gc() == 2
    # What a restored backup or a mistake of an administrator leaves.
    a.rows("insert into kv.t_kv select namespace, 'deleted', '1', null, ts, peer, 'NO_EXPIRE', null, xid, origin_xid"
           " from kv.t_kv where key = 'newer'")
    a.put("fresh", 1)
    a.rows("update kv.t_kv set xid = '5' where key = 'fresh'")
    b.rows("delete from kv.t_kv where key = 'fresh'")
    assert repair(a, b, dry=True) == [(0, 1), (1, 0)] and not sites.equal()
    assert repair(a, b) == [(0, 1), (1, 0)]
    assert a.get("deleted") is None and b.get("deleted") is None and b.get("fresh") == 1
    assert sites.equal() and repair(a, b) == [(0, 0), (0, 0)]


def test_a_repair_takes_the_newer_version_and_counters(parade):
    sites = a, b = parade(2)
    for site in sites:
        site.namespace("counts", value_type="counter")
    a.put("k", "old")
    sites.calm()
    b.put("k", "new")
    b.incr("c", 3)
    a.incr("c", 4)
    repair(a, b)
    assert [site.get("k") for site in sites] == ["new", "new"]
    assert [site.get("c", "counts") for site in sites] == [7, 7] and sites.equal()
    sites.calm()
    assert [site.get("c", "counts") for site in sites] == [7, 7]


def test_expired_rows_lose_their_values_and_go_like_tombstones(parade):
    sites = a, b = parade(2)
    for site in sites:
        site.rows("insert into expiry_to_interval values ('DEFAULT', 'EXPIRY_1', '2 days')")
    a.put("k", "secret", "EXPIRY_1")
    sites.calm()
    a.shift("2 days 1 minute")
    assert a.one("select stripped from kv.gc()") == 1 and a.one("select value from kv.t_kv") is None
    b.shift("2 days")
    assert b.get("k") is None and sites.equal(), "b still has the value"
    later(sites, "11 days")
    assert sites.gc() == 0, "expired, but not for gc_grace"
    later(sites, "13 days")
    assert sites.gc() == 2 and rows(a) == rows(b) == 0


def test_an_older_version_without_expiry_does_not_come_back_after_the_expiry(parade):
    sites = a, b = parade(2)
    for site in sites:
        site.rows("insert into expiry_to_interval values ('DEFAULT', 'EXPIRY_1', '2 days')")
    a.put("k", "for ever")
    page = sites.link(b, a).page()
    b.put("k", "for two days", "EXPIRY_1")
    b.shift("2 days 1 minute")
    b.rows("select * from kv.gc()")
    sites.link(b, a).merge(page)
    assert b.get("k") is None
    a.shift("2 days 1 minute")
    sites.calm()
    assert [site.get("k") for site in sites] == [None, None] and sites.equal()


def test_the_cells_of_windows_that_are_over_go(parade):
    sites = a, b = parade(2)
    for site in sites:
        site.namespace("counts", value_type="counter")
        site.rows("insert into expiry_to_interval values ('counts', 'EXPIRY_1', '1 day')")
    a.incr("c", 9)
    sites.calm()
    a.one("select kv.incr('counts', 'c', 1, 'EXPIRY_1')")
    sites.calm()
    later(sites, "12 days")
    assert [site.get("c", "counts") for site in sites] == [None, None]
    sites.gc()
    assert [site.one("select count(*) from kv.t_counter") for site in sites] == [0, 0]
    assert [site.get("c", "counts") for site in sites] == [None, None]
    a.incr("c", 2)
    sites.calm()
    assert [site.get("c", "counts") for site in sites] == [2, 2]


def test_the_slot_of_a_key_is_the_first_fourteen_bits_of_its_md5(parade):
    a, = parade(1)
    for key in ("", "k", "é/\U0001f600"):
        digest = hashlib.md5(f"DEFAULT\x01{key}".encode()).digest()
        assert a.one("select kv.slot('DEFAULT', %s)", key) == int.from_bytes(digest[:2], "big") >> 2
