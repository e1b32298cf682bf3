"""Mistakes planted in the SQL of a parade, for a run by hand: which test notices each?

    nice python3 tests/integration/parade_mistakes.py [NAME...]

Each is one replacement in a copy of src/parade/sql, which PARADE_SQL names to the tests' support.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SQL = TOP / "src" / "parade" / "sql"

# name: (file, what stands there, what the mistake puts there, tests)
MISTAKES = {
    "late-commits-are-passed-over": (
        "feed.sql", "for open_then in select x from pg_snapshot_xip(position_now.since) x\n"
        "                         where pg_visible_in_snapshot(x, position_now.until) order by x",
        "for open_then in select x from pg_snapshot_xip(position_now.since) x where false", "feed converge"),
    "the-feed-waits-for-every-open-transaction": (
        "feed.sql", "pg_snapshot_xmax(position_now.until), remaining);",
        "pg_snapshot_xmin(position_now.until), remaining);", "feed converge"),
    "ties-go-to-the-incoming-row": (
        "merge.sql", "where (excluded.ts, excluded.peer) > (t.ts, t.peer)", "where excluded.ts >= t.ts", "feed"),
    "equal-versions-are-never-compared": (
        "merge.sql", "                    > kv._rank(t.value::text, t.data, t.expires_at)",
        "                    > 'zz'", "feed"),
    "a-local-put-compares": (
        "write.sql", "            xid = excluded.xid, origin_xid = excluded.origin_xid\n    returning",
        "            xid = excluded.xid, origin_xid = excluded.origin_xid\n        where excluded.ts > t.ts\n"
        "    returning", "calls feed"),
    "a-local-put-may-go-back-in-time": (
        "write.sql", "ts = greatest(excluded.ts, t.ts + interval '1 microsecond'),", "ts = excluded.ts,", "calls feed"),
    "the-future-is-not-refused": (
        "merge.sql", "if exists (select from unnest(page) f where f.ts > bound) then", "if false then", "feed"),
    "a-lock-is-a-poison-row": (
        "merge.sql", "    if state in ('55P03', '40P01') then\n        perform kv._defer(",
        "    if false then\n        perform kv._defer(", "feed"),
    "every-error-is-a-poison-row": (
        "merge.sql", "left(state, 2) not in ('22', '23')", "false", "feed"),
    "the-merge-waits-longer-than-the-client": (
        "merge.sql", "set lock_timeout = '200ms'", "set lock_timeout = '0'", "feed"),
    "deferred-rows-are-acknowledged": (
        "merge.sql", "(select min((d.feed_row).xid) from kv.deferred d where d.source = f.peer),", "null,", "feed::test_a_locked_row_is_deferred_and_tried_again"),
    "two-replicators-of-a-link": (
        "merge.sql", "if link.cursor::text is distinct from expected::text then", "if false then", "feed"),
    "heartbeats-of-a-gone-history-stay-held": (
        "merge.sql", "delete from kv.heartbeat_held h where h.peer = source\n", "delete from kv.heartbeat_held h where false\n", "life::test_a_reader_goes_back_to_the_newest_heartbeat_that_both_hold"),
    "a-heartbeat-is-held-before-its-round-is-whole": (
        "merge.sql", "if whole and link.round_beat is not null", "if link.round_beat is not null", "life::test_a_heartbeat_is_held_only_when_its_round_is_whole"),
    "a-link-does-not-go-back": (
        "merge.sql", "begin_at := row(coalesce(common_snapshot, '1:1:'), null, null, null, null, null, null, null)::kv.cursor;",
        "begin_at := link.cursor;", "life::test_a_restored_disk_takes_its_own_rows_back_and_used_ids_again_lose_nothing"),
    "rows-of-a-gone-history-stay-deferred": (
        "merge.sql", "delete from kv.deferred d where d.source = link_begin.source", "delete from kv.deferred d where false", "life::test_a_deferred_row_of_a_history_that_is_gone_is_dropped"),
    "an-instance-writes-before-it-took-its-rows-back": (
        "life.sql", "outcome := 'reclaiming';", "outcome := 'online';", "life::test_after_a_crash_clients_write_only_when_every_peer_gave_back_what_it_holds"),
    "an-incarnation-goes-on-after-a-cut": (
        "feed.sql", "if us.incarnation <> expected or us.state = 'fenced' then", "if us.state = 'fenced' then", "life::test_an_older_incarnation_is_neither_pulled_nor_acknowledged"),
    "counters-keep-their-incarnation": (
        "life.sql", "perform kv._run(me, gen_random_uuid(), outcome);",
        "perform kv._run(me, '00000000-0000-0000-0000-000000000001', outcome);", "life::test_what_an_unreachable_peer_holds_comes_back_when_the_peer_does"),
    "a-dump-is-not-stamped-anew": ("life.sql", "        perform kv._stamp_anew();", "        null;", "life::test_after_dump_and_restore_rows_are_stamped_anew"),
    "a-copy-that-was-put-back-is-not-noticed": (
        "feed.sql", "        delete from kv_config.running;", "        us.state := us.state;",
        "life::test_a_copy_of_a_stopped_cluster_that_was_put_back_is_noticed"),
    "a-dumps-mark-counts": ("life.sql", "r where r.xmin = r.xid::xid;\n    if not found then", "r;\n    if not found then", "life::test_after_dump_and_restore_rows_are_stamped_anew"),
    "tombstones-go-by-age-alone": ("gc.sql", "then coalesce(xid < (safe ->> peer::text)::xid8, false) else true", "then true else true", "gc"),
    "tombstones-go-without-two-rounds": ("gc.sql", "::bigint + 2)", "::bigint)", "gc"),
    "the-silent-are-never-fenced": ("gc.sql", "set fenced = true", "set fenced = false", "gc"),
    "the-fenced-may-pull": ("feed.sql", "if (select fenced from kv.peer_status_to where peer = reader) then", "if false then", "gc"),
    "a-repair-resurrects": ("verify.sql", "where f.kind = 'n' or f.ts > ours", "where true or f.ts > ours", "gc"),
    "a-repair-keeps-what-was-deleted": ("verify.sql", "t.ts <= their_horizon", "false", "gc"),
    "a-bootstrap-leaves-deferred-rows": ("bootstrap.sql", "select d.source, d.feed_row from kv.deferred d union all", "", "gc::test_a_new_zone_is_filled_under_load_and_misses_nothing"),
    "reads-show-expired-rows": ("read.sql", "        where t.namespace = ns and t.key = k and (t.expires_at is null or t.expires_at > kv.clock());\n    end case;",
                                "        where t.namespace = ns and t.key = k;\n    end case;", "calls"),
    "increments-are-added-by-the-merge": ("merge.sql", "set p = greatest(t.p, excluded.p)", "set p = t.p + excluded.p", "feed::test_increments_of_all_zones_add_up"),
    "a-delete-keeps-the-epoch": ("counter.sql", "(select max(t.ts) from kv.t_kv t where t.namespace = ns and t.key = k),", "null::timestamptz,", "calls feed"),
    "puts-notify": ("write.sql", "    return case when inserted then 'INSERT' else 'UPDATE' end;",
                    "    perform pg_notify('kv', k);\n    return case when inserted then 'INSERT' else 'UPDATE' end;", "calls"),
    "functions-run-as-their-caller": ("write.sql", "security definer ", "", "calls"),
    "temporary-tables-come-first": ("write.sql", "set search_path = pg_catalog, kv, pg_temp", "set search_path = pg_catalog, kv", "calls"),
}


def tried(name):
    file, old, new, tests = MISTAKES[name]
    with tempfile.TemporaryDirectory(prefix="trunkline-mistake-", dir="/tmp") as folder:
        copy = Path(folder) / "sql"
        shutil.copytree(SQL, copy)
        Path(folder).chmod(0o755)
        text = (copy / file).read_text()
        assert old in text, f"{name}: {file} has changed"
        (copy / file).write_text(text.replace(old, new))
        files = ["tests/integration/test_parade_" + (part.replace("::", ".py::") if "::" in part else f"{part}.py")
                 for part in tests.split()]
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files], cwd=TOP,
                              env={**os.environ, "PARADE_SQL": str(copy)}, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    noticed = [line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    print(f"{name}: {noticed[0] if noticed else 'NOT NOTICED'}", flush=True)
    return bool(noticed)


if __name__ == "__main__":
    missed = [name for name in sys.argv[1:] or MISTAKES if not tried(name)]
    sys.exit(f"not noticed: {missed}" if missed else 0)
