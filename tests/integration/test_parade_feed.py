"""Between zones: nothing committed is passed over, nothing waits for strangers' transactions, and every
zone ends with the same versions.  One test for each hazard of the forerunner that a feed or a merge had."""
import pytest
from psycopg import errors

from support.patience import eventually


def keys(site, ns="DEFAULT"):
    return sorted(key for space, key in site.live() if space == ns)


# -- the order of versions

def test_the_later_version_wins_everywhere(parade):
    sites = a, b, c = parade()
    a.put("k", "first")
    b.put("k", "second")
    sites.calm()
    assert [site.get("k") for site in sites] == ["second"] * 3
    assert sites.equal()


def test_equal_times_are_ordered_by_peer(parade):
    sites = a, b = parade(2)
    a.put("k", "a")
    b.put("k", "b")
    for site in sites:
        site.rows("update kv.t_kv set ts = '2026-01-01Z'")
    crossing = [(link, link.page()) for link in (sites.link(a, b), sites.link(b, a))]
    for link, page in crossing:
        link.merge(page)
    sites.calm()
    assert [site.get("k") for site in sites] == ["b", "b"]


def test_equal_versions_of_a_cut_history_end_equal(parade):
    """The same ts and peer with two contents: the greater digest wins in every zone."""
    sites = a, b, c = parade()
    a.put("k", "one")
    a.rows("update kv.t_kv set ts = '2026-01-01Z'")
    sites.link(b, a).pull()
    a.put("k", "two")
    a.rows("update kv.t_kv set ts = '2026-01-01Z'")
    sites.calm()
    page = b.rows("select horizon::text, page::text from kv.repair_page(array(select bucket from kv.verify()))")[0]
    for site in (a, c):
        site.rows("select * from kv.repair(2, array(select bucket from kv.verify()), %s, %s::kv.feed_row[])", *page)
    assert sites.equal() and len({site.get("k") for site in sites}) == 1


def test_a_write_after_a_version_from_a_fast_clock_is_kept_and_wins(parade):
    sites = a, b = parade(2)
    a.shift("4 seconds")
    a.put("k", "fast")
    sites.link(b, a).pull()
    assert b.put("k", "slow") == "UPDATE"
    a.shift("0")
    sites.calm()
    assert [site.get("k") for site in sites] == ["slow", "slow"]


def test_a_version_from_too_far_in_the_future_waits_in_the_quarantine(parade):
    sites = a, b = parade(2)
    a.shift("1 hour")
    a.put("k", "future")
    a.put("j", "future")
    sites.link(b, a).pull()
    assert b.get("k") is None and sorted(b.waiting()) == [("quarantined", "j"), ("quarantined", "k")]
    assert b.put("k", "now") == "INSERT", "its key can be written meanwhile"
    assert b.one("select sqlstate from kv_stats.not_received limit 1") == "22008"
    assert b.one("select skew > '59 minutes' from kv_stats.links")
    b.shift("1 hour")
    b.rows("select kv.retry(1)")
    assert b.waiting() == [] and b.get("k") == "future", "its time has come"
    a.put("x", 1)
    sites.calm()
    assert sites.equal()


def test_the_rows_that_lost_are_kept_and_shown(parade):
    sites = a, b = parade(2)
    a.setting(conflicts_kept=3)
    for key in "abcde":
        b.put(key, "lost")
        a.put(key, "kept")
    sites.calm()
    found = a.rows("select key, lost_value, source from kv_stats.conflicts")
    assert found == [(key, '"lost"', 2) for key in "edc"]
    assert a.one("select conflicts from kv_stats.links") == 5
    assert a.rows("select lost_version < kept_version from kv_stats.conflicts") == [(True,)] * 3


# -- the feed

def test_a_transaction_that_commits_late_is_not_passed_over(parade):
    sites = a, b = parade(2)
    with a.connect() as late, a.connect() as later:
        late.execute("begin; select kv.put('DEFAULT', 'late', '1')")
        later.execute("begin; select kv.put('DEFAULT', 'later', '1')")
        for number in range(20):
            a.put(f"k{number}", number)
            sites.exchange()
        assert len(keys(b)) == 20, "the others do not wait for them"
        late.commit()
        a.put("after", 1)
        sites.exchange()
        assert "late" in keys(b) and "after" in keys(b) and "later" not in keys(b)
        later.commit()
        assert sites.exchange() == 1
        assert "later" in keys(b) and sites.exchange() == 0
        assert sites.equal()


def test_open_transactions_of_other_databases_do_not_hold_the_feed(parade):
    sites = a, b = parade(2)
    with a.instance.connect("shard") as other:
        other.execute("create table if not exists t (n int); begin; insert into t values (1)")
        a.put("k", 1)
        assert sites.exchange() == 1
        assert b.get("k") == 1


def test_a_prepared_transaction_arrives_when_it_is_committed(parade):
    sites = a, b = parade(2)
    with a.connect() as client:
        client.execute("begin; select kv.put('DEFAULT', 'two', '1')")
        client.execute("prepare transaction 'two'")
        a.put("k", 1)
        sites.exchange()
        assert keys(b) == ["k"]
        assert a.instance.one("select gid from kv_stats.horizon_holders", database=a.database) == "two"
        client.execute("commit prepared 'two'")
        sites.exchange()
        assert keys(b) == ["k", "two"]


def test_a_rolled_back_transaction_and_its_savepoints_leave_nothing_behind(parade):
    sites = a, b = parade(2)
    with a.connect() as client:
        client.execute("begin; select kv.put('DEFAULT', 'a', '1'); savepoint s;"
                       " select kv.put('DEFAULT', 'b', '1'); rollback to s; select kv.put('DEFAULT', 'c', '1')")
        sites.exchange()
        client.commit()
        client.execute("begin; select kv.put('DEFAULT', 'd', '1'); rollback")
    sites.exchange()
    assert keys(b) == ["a", "c"]


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_pages_of_any_size_bring_every_row_while_others_write(parade, rows):
    sites = a, b = parade(2)
    a.namespace("counts", value_type="counter")
    b.namespace("counts", value_type="counter")
    link = sites.link(b, a)
    with a.connect() as late:
        late.execute("begin; select kv.put('DEFAULT', 'l' || n, '1') from generate_series(1, 9) n")
        a.rows("select kv.put('DEFAULT', 'a' || n, '1') from generate_series(1, 10) n")
        a.rows("select kv.incr('counts', 'c' || n) from generate_series(1, 5) n")
        link.merge(link.page(rows))
        a.rows("select kv.put('DEFAULT', 'a' || n, '2') from generate_series(4, 6) n")
        late.commit()
        link.merge(link.page(rows))
        a.delete("a9")
        a.incr("c2")
    sites.calm()
    assert sites.equal() and len(keys(b)) == 18
    assert b.get("a5") == 2 and b.get("c2", "counts") == 2


def test_a_page_ends_at_its_bytes_and_has_one_row_at_least(parade):
    sites = a, b = parade(2)
    for number in range(4):
        a.put(f"k{number}", "x" * 1000)
    link = sites.link(b, a)
    assert link.page(size=1)[1:3] == (1, True)
    assert link.page(size=2500)[1:3] == (2, True)
    sites.calm()
    assert len(keys(b)) == 4


def test_a_feed_reads_by_index_range_and_look_ups(parade):
    sites = a, b = parade(2)
    a.rows("select kv.put('DEFAULT', 'k' || n, '1') from generate_series(1, 3000) n")
    a.rows("analyze kv.t_kv")
    a.rows("set enable_sort = off")
    for low, high in (("pg_current_xact_id()", "'9999999'::xid8"), ("'100'::xid8", "'101'::xid8")):
        plan = "\n".join(row[0] for row in a.rows(
            "explain (costs off) select * from kv._feed_rows(1, pg_current_snapshot(),"
            f" {high}, {low}, 'DEFAULT', 'k1', 100)"))
        assert "Index Scan using t_kv_feed" in plan and "Sort" not in plan, plan
        assert "Index Cond: ((peer = 1) AND (ROW(xid, (namespace)::text, (key)::text) >" in plan, plan
        assert "(xid < " in plan.split("Filter")[0], plan


def test_an_idle_feed_reads_no_row(parade):
    sites = a, b = parade(2)
    a.rows("select kv.put('DEFAULT', 'k' || n, '1') from generate_series(1, 3000) n")
    sites.calm()
    a.rows("select pg_stat_force_next_flush()")
    before = a.one("select idx_tup_read from pg_stat_user_indexes where indexrelname = 't_kv_feed'")
    for _ in range(10):
        assert sites.link(b, a).page()[1] == 0
    a.rows("select pg_stat_force_next_flush()")
    assert a.one("select idx_tup_read from pg_stat_user_indexes where indexrelname = 't_kv_feed'") == before


# -- the merge

def test_a_second_replicator_of_a_link_is_refused(parade):
    sites = a, b = parade(2)
    a.put("k", 1)
    link = sites.link(b, a)
    page, cursor = link.page(), link.cursor
    link.merge(page)
    link.cursor = cursor
    with pytest.raises(errors.SerializationFailure, match="another replicator serves it"):
        link.merge(page)


def test_a_bad_row_goes_to_the_quarantine_and_the_others_arrive(parade):
    sites = a, b = parade(2)
    b.rows("alter table kv.t_kv add constraint poison check (key <> 'k77')")
    a.rows("select kv.put('DEFAULT', 'k' || n, '1') from generate_series(1, 200) n")
    sites.link(b, a).pull()
    assert len(keys(b)) == 199
    assert b.rows("select kind, key, sqlstate from kv_stats.not_received") == [("quarantined", "k77", "23514")]
    b.rows("alter table kv.t_kv drop constraint poison")
    assert b.one("select kv_config.quarantine_retry()") == 1
    b.rows("select kv.retry(1)")
    assert sites.equal() and b.waiting() == []


def test_an_error_that_is_no_data_error_stops_the_merge(parade):
    sites = a, b = parade(2)
    b.rows("create function public.full() returns trigger language plpgsql as $$"
           " begin raise disk_full using message = 'disk is full'; end $$;"
           " create trigger full_disk before insert on kv.t_kv for each row execute function public.full()")
    a.put("k", 1)
    with pytest.raises(errors.DiskFull, match="disk is full"):
        sites.link(b, a).pull()
    assert b.waiting() == []
    b.rows("drop trigger full_disk on kv.t_kv")
    sites.calm()
    assert b.get("k") == 1


def test_a_locked_row_is_deferred_and_tried_again(parade):
    sites = a, b = parade(2)
    b.put("k5", "mine")
    sites.calm()
    a.rows("""select kv.put('DEFAULT', 'k' || n, '"yours"') from generate_series(1, 50) n""")
    with b.connect() as client:
        client.execute("begin; select kv.put('DEFAULT', 'k5', '1'); select kv.put('DEFAULT', 'k7', '1')")
        sites.link(b, a).pull()
        assert sorted(b.waiting()) == [("deferred", "k5"), ("deferred", "k7")], "one exists, the other will"
        assert len(keys(b)) == 49
        received = int(b.one("select received::text from kv.acknowledge(1)"))
        assert received <= int(b.one("select min((feed_row).xid)::text from kv.deferred")), "not acknowledged"
        client.rollback()
    b.rows("update kv.deferred set retry_at = '-infinity'")
    assert b.one("select kv.retry(1)") == 2
    assert sites.equal() and b.get("k5") == "yours" and b.waiting() == []


def test_a_merge_yields_and_not_the_client(parade):
    """A client that waits for a row of the merge, and the merge for one of the client."""
    sites = a, b = parade(2)
    a.rows("""select kv.put('DEFAULT', 'k' || n, '1') from generate_series(1, 9) n""")
    sites.calm()
    a.rows("""select kv.put('DEFAULT', 'k' || n, '2') from generate_series(1, 9) n""")
    with b.connect() as client:
        client.execute("begin; select kv.put('DEFAULT', 'k9', '3')")
        link = sites.link(b, a)
        page = link.page()
        b.owner.pgconn.send_query_params(
            b"select * from kv.merge(1, $1::kv.cursor, $2::kv.feed_page)",
            [link.cursor.encode(), page[0].encode()])
        eventually(b.blocked)
        client.execute("select kv.put('DEFAULT', 'k1', '3')")
        client.commit()
        assert b.owner.pgconn.get_result().error_message == b""
        while b.owner.pgconn.get_result():
            pass
        link.cursor = page[3]
    sites.calm()
    assert sites.equal() and b.get("k1") == 3


def test_two_merges_at_once_do_not_deadlock(parade):
    sites = a, b, c = parade()
    for site in (a, b):
        site.rows("select kv.put('DEFAULT', 'k' || (random() * 500)::int, '1') from generate_series(1, 500) n")
    from_a, from_b = sites.link(c, a), sites.link(c, b)
    pages = [(link, link.page()) for link in (from_a, from_b)]
    with c.connect("kv_replicationd") as other:
        other.execute("begin")
        other.execute("select * from kv.merge(1, %s::kv.cursor, %s::kv.feed_page)", (from_a.cursor, pages[0][1][0]))
        done = from_b.merge(pages[1][1])
        assert done[2] > 0, "rows in common are deferred"
        other.commit()
    from_a.cursor = pages[0][1][3]
    sites.calm()
    assert sites.equal()


def test_the_replicators_role_suffices_for_a_link(parade):
    sites = a, b = parade(2)
    a.put("k", 1)
    link = sites.link(b, a)
    with a.connect("kv_replicationd") as source, b.connect("kv_replicationd") as reader:
        a.owner, b.owner, owners = source, reader, (a.owner, b.owner)
        a.rows("select kv.heartbeat()")
        link.begin()
        link.pull()
        link.acknowledge()
        b.rows("select * from kv.gc()")
        a.owner, b.owner = owners
    assert b.get("k") == 1


def test_only_members_may_pull(parade):
    a, b = parade(2)
    with pytest.raises(errors.UndefinedObject, match="peer 7 is no member"):
        a.rows("select * from kv.feed_hello(7, '{}', '{}', '{}')")


# -- counters

def test_increments_of_all_zones_add_up(parade):
    sites = parade()
    for site in sites:
        site.namespace("counts", value_type="counter")
    for turn in range(5):
        for site in sites:
            site.incr("c", site.id)
        sites.exchange()
    sites.calm()
    assert [site.get("c", "counts") for site in sites] == [30] * 3
    sites[0].delete("c", "counts")
    sites.calm()
    sites[1].incr("c", 7)
    sites[2].incr("c", 1)
    sites.calm()
    assert [site.get("c", "counts") for site in sites] == [8] * 3 and sites.equal()


def test_a_delete_ends_increments_that_had_not_seen_it(parade):
    sites = a, b = parade(2)
    for site in sites:
        site.namespace("counts", value_type="counter")
    a.incr("c", 5)
    sites.calm()
    b.incr("c", 10)
    a.delete("c", "counts")
    sites.calm()
    assert [site.get("c", "counts") for site in sites] == [None, None]
    a.incr("c", 1)
    sites.calm()
    assert [site.get("c", "counts") for site in sites] == [1, 1]
