"""What test_decoding says of which statement; the decoder of the feed stands on this."""
import psycopg
import pytest
from support.feed import Feed


@pytest.fixture
def told(logical):
    """told(statements...): runs each by itself and returns what the feed says of the last one."""
    logical.sql("drop schema if exists s cascade; create schema s")

    def tell(*statements, **options):
        *before, last = statements
        for statement in before:
            logical.sql(statement)
        with Feed(logical, **options) as feed:
            logical.sql(last)
            return feed.transaction()

    return tell


def body(texts):
    begin, *changes, commit = texts
    assert begin.split()[0] == "BEGIN" and commit.split()[0] == "COMMIT"
    assert begin.split()[1] == commit.split()[1]
    return changes


# -- rows


def test_an_insert_names_the_table_and_each_column_with_its_type(told):
    assert body(told("create table s.t (n int primary key, w text, b bool, bits bit(3), f float8)",
                     "insert into s.t values (1, E'it''s\\na\\\\b', true, B'101', 'NaN')")) == [
        "table s.t: INSERT: n[integer]:1 w[text]:'it''s\na\\b' b[boolean]:true bits[bit]:B'101'"
        " f[double precision]:NaN"]


def test_names_are_quoted_where_sql_needs_it(told):
    assert body(told('create table s."odd: [n]ame, ""x""" ("select" int, "a b" int[], "c]:d" "char")',
                     "insert into s.\"odd: [n]ame, \"\"x\"\"\" values (1, '{1}', 'c')")) == [
        'table s."odd: [n]ame, ""x""": INSERT: "select"[integer]:1 "a b"[integer[]]:\'{1}\''
        ' "c]:d"["char"]:\'c\'']


def test_a_type_out_of_the_search_path_is_qualified_and_a_domain_is_quoted_as_a_string(told):
    assert body(told('create domain s."d]o" as int; create table s.t (n s."d]o", m s."d]o"[])',
                     "insert into s.t values (1, '{2}')")) == [
        'table s.t: INSERT: n[s."d]o"]:\'1\' m[s."d]o"[]]:\'{2}\'']


def test_an_update_tells_the_old_key_only_if_it_changed(told):
    made = "create table s.t (n int primary key, w text); insert into s.t values (1, 'a')"
    assert body(told(made, "update s.t set w = 'b'")) == [
        "table s.t: UPDATE: n[integer]:1 w[text]:'b'"]
    assert body(told("update s.t set n = 2")) == [
        "table s.t: UPDATE: old-key: n[integer]:1 new-tuple: n[integer]:2 w[text]:'b'"]


def test_a_delete_tells_the_key_and_nothing_without_one(told):
    made = "create table s.t (n int primary key, w text); insert into s.t values (1, 'a')"
    assert body(told(made, "delete from s.t")) == ["table s.t: DELETE: n[integer]:1"]
    made = "create table s.u (n int); insert into s.u values (1)"
    assert body(told(made, "delete from s.u")) == ["table s.u: DELETE: (no-tuple-data)"]


def test_a_full_replica_identity_tells_the_whole_old_row_without_its_nulls(told):
    made = ("create table s.t (n int, w text, x int); alter table s.t replica identity full;"
            "insert into s.t values (1, 'a', null)")
    assert body(told(made, "update s.t set n = 2")) == [
        "table s.t: UPDATE: old-key: n[integer]:1 w[text]:'a' new-tuple: n[integer]:2 w[text]:'a'"
        " x[integer]:null"]


@pytest.mark.parametrize("made", [
    "create table s.t (n int primary key deferrable, w text)",
    "create table s.t (n int primary key, w text); alter table s.t replica identity nothing",
    "create table s.t (n int primary key, w text not null unique);"
    "alter table s.t replica identity using index t_w_key"])
def test_a_primary_key_that_is_no_replica_identity_changes_without_its_old_value(told, made):
    """So only a table whose primary key is its replica identity can be told apart by keys."""
    assert body(told(f"{made}; insert into s.t values (1, 'a')", "update s.t set n = 2")) == [
        "table s.t: UPDATE: n[integer]:2 w[text]:'a'"]


def test_values_are_written_with_the_settings_of_the_feed_s_session(told, logical):
    made = "create table s.t (d date primary key)"
    assert body(told(made, "insert into s.t values ('2026-11-23')")) == [
        "table s.t: INSERT: d[date]:'2026-11-23'"]
    logical.sql("alter role postgres set datestyle = 'german'")
    try:
        assert body(told("select 1", "delete from s.t")) == ["table s.t: DELETE: d[date]:'23.11.2026'"]
    finally:
        logical.sql("alter role postgres reset datestyle")


def test_equal_keys_may_be_written_differently(told, logical):
    """Numbers of numeric keep their scale: the texts of equal keys are not always equal."""
    assert body(told("create table s.t (n numeric primary key); insert into s.t values (1.0)",
                     "update s.t set n = 1.00 where n = 1")) == [
        "table s.t: UPDATE: old-key: n[numeric]:1.0 new-tuple: n[numeric]:1.00"]
    assert logical.one("select count(*) from s.t where n = 1") == 1


def test_an_unchanged_value_out_of_line_is_not_told(told):
    made = ("create table s.t (n int primary key, m int, w text); alter table s.t alter w"
            " set storage external; insert into s.t values (1, 1, repeat('x', 9000))")
    assert body(told(made, "update s.t set m = 2")) == [
        "table s.t: UPDATE: n[integer]:1 m[integer]:2 w[text]:unchanged-toast-datum"]


def test_a_table_without_columns_has_a_row_without_values(told):
    assert body(told("create table s.t ()", "insert into s.t default values")) == [
        "table s.t: INSERT:"]


def test_copy_is_one_insert_per_row(told, logical):
    told("create table s.t (n int)", "insert into s.t values (0)")
    with Feed(logical) as feed, psycopg.connect(host=str(logical.folder), port=logical.port,
                                                user="postgres", dbname="app") as client:
        with client.cursor().copy("copy s.t from stdin") as copy:
            copy.write("1\n2\n")
        client.commit()
        assert feed.changes() == [f"table s.t: INSERT: n[integer]:{n}" for n in (1, 2)]


def test_truncate_names_all_its_tables_in_one_line(told):
    made = "create table s.t (n int primary key); create table s.u (n int references s.t)"
    assert body(told(made, "truncate s.t, s.u")) == ["table s.t, s.u: TRUNCATE: (no-flags)"]
    assert body(told("truncate s.t restart identity cascade")) == [
        "table s.t, s.u: TRUNCATE: restart_seqs cascade"]
    assert body(told("truncate s.u restart identity")) == ["table s.u: TRUNCATE: restart_seqs"]


# -- the closure of a write, as the feed names it


def test_a_cascade_is_told_of_the_referencing_table(told):
    made = ("create table s.t (n int primary key);"
            "create table s.u (n int primary key references s.t on delete cascade);"
            "insert into s.t values (1); insert into s.u values (1)")
    assert body(told(made, "delete from s.t")) == ["table s.t: DELETE: n[integer]:1",
                                                   "table s.u: DELETE: n[integer]:1"]


def test_a_partitioned_table_is_never_named_but_its_leaves_are(told):
    made = ("create table s.t (n int) partition by list (n);"
            "create table s.one partition of s.t for values in (1);"
            "create table s.two partition of s.t for values in (2)")
    assert body(told(made, "insert into s.t values (1)")) == ["table s.one: INSERT: n[integer]:1"]
    assert body(told("update s.t set n = 2")) == ["table s.one: DELETE: (no-tuple-data)",
                                                  "table s.two: INSERT: n[integer]:2"]
    assert body(told("truncate s.t")) == ["table s.t, s.one, s.two: TRUNCATE: (no-flags)"]


def test_a_child_by_inheritance_is_told_under_its_own_name(told):
    made = "create table s.t (n int); create table s.child () inherits (s.t); insert into s.child values (1)"
    assert body(told(made, "update s.t set n = 2")) == ["table s.child: UPDATE: n[integer]:2"]
    assert body(told("truncate s.t")) == ["table s.t, s.child: TRUNCATE: (no-flags)"]


def test_a_trigger_s_writes_are_told_and_neither_they_nor_cascades_are_made_for_replicas(told):
    made = ("create table s.t (n int primary key);"
            "create table s.u (n int references s.t on delete cascade); create table s.log (n int);"
            "create function s.f() returns trigger language plpgsql as $$ begin"
            " insert into s.log values (old.n); return old; end $$;"
            "create trigger f before delete on s.t for each row execute function s.f();"
            "insert into s.t values (1), (2); insert into s.u values (1), (2)")
    assert body(told(made, "delete from s.t where n = 1")) == [
        "table s.log: INSERT: n[integer]:1", "table s.t: DELETE: n[integer]:1",
        "table s.u: DELETE: (no-tuple-data)"]
    assert body(told("set session_replication_role = replica; delete from s.t where n = 2")) == [
        "table s.t: DELETE: n[integer]:2"]


def test_an_updatable_view_and_a_rule_are_told_of_the_tables_written(told):
    made = ("create table s.t (n int); create view s.v as select n from s.t;"
            "create table s.log (n int);"
            "create rule r as on insert to s.t do also insert into s.log values (new.n)")
    assert body(told(made, "insert into s.v values (1)")) == [
        "table s.t: INSERT: n[integer]:1", "table s.log: INSERT: n[integer]:1"]


# -- what is told as an empty transaction, and what is not told


MADE = ("create table s.t (n int); insert into s.t values (1);"
        "create unlogged table s.unlogged (n int); create sequence s.q;"
        "create materialized view s.m as select * from s.t")


@pytest.mark.parametrize("statement", [
    "refresh materialized view s.m", "create table s.u (n int)", "alter table s.t add o int",
    "analyze s.t", "grant select on s.t to app", "create role nobody_logs_in",
    "alter role app set work_mem = '5MB'", "drop table s.t cascade", "comment on table s.t is 'x'",
    "create temporary table x (n int); insert into x values (1)"])
def test_what_writes_only_catalogs_is_told_as_an_empty_transaction(told, logical, statement):
    logical.sql("drop role if exists nobody_logs_in; alter role app reset work_mem")
    assert body(told(MADE, statement)) == []


def told_nothing(cluster, feed, statement, database="app"):
    cluster.sql(statement, database=database)
    cluster.sql("select pg_logical_emit_message(true, 'mark', '')")
    changes = feed.changes()
    assert changes == ["message: transactional: 1 prefix: mark, sz: 0 content:"], changes


@pytest.mark.parametrize("statement", [
    "insert into s.unlogged values (1)", "select txid_current()", "select n from s.t for update",
    "update s.t set n = n where false", "select nextval('s.q')"])
def test_what_logs_no_change_of_a_row_is_not_told_at_all(told, logical, statement):
    """Its id is in snapshots, and nothing says when it has left them."""
    told(MADE, "insert into s.t values (2)")
    with Feed(logical) as feed:
        told_nothing(logical, feed, statement)


def test_nothing_of_another_database_is_told_even_if_it_changes_roles(logical):
    logical.sql("drop role if exists nobody_logs_in; create table if not exists other (n int)",
                database="session")
    with Feed(logical) as feed:
        for statement in ("insert into other values (1)", "create role nobody_logs_in",
                          "alter role app set work_mem = '5MB'", "grant app to reports",
                          "revoke app from reports", "alter role app reset work_mem"):
            told_nothing(logical, feed, statement, database="session")


def test_a_refresh_among_other_changes_is_not_told_at_all(told):
    """Then the transaction is not empty either: only an event trigger tells of it."""
    assert body(told(MADE, "begin; insert into s.t values (3); refresh materialized view s.m; commit")
                ) == ["table s.t: INSERT: n[integer]:3"]


def test_without_empty_transactions_a_refresh_is_not_told(told, logical):
    told("create table s.t (n int); create materialized view s.m as select * from s.t",
         "insert into s.t values (1)")
    with Feed(logical, skip_empty_xacts="1") as feed:
        logical.sql("refresh materialized view s.m")
        logical.sql("select pg_logical_emit_message(true, 'mark', '')")  # has no BEGIN either
        assert feed.next().text == "message: transactional: 1 prefix: mark, sz: 0 content:"


def test_a_concurrent_refresh_is_told_row_by_row_under_the_name_of_the_view(told):
    made = ("create table s.t (n int); create materialized view s.m as select * from s.t;"
            "create unique index on s.m (n); insert into s.t values (1)")
    assert body(told(made, "refresh materialized view concurrently s.m")) == [
        "table s.m: INSERT: n[integer]:1"]


def test_a_rollback_is_not_told_and_neither_is_a_savepoint_that_was_undone(told, logical):
    told("create table s.t (n int)", "insert into s.t values (0)")
    with Feed(logical) as feed:
        logical.sql("begin; insert into s.t values (1); rollback")
        logical.sql("begin; insert into s.t values (2); savepoint a; insert into s.t values (3);"
                    "rollback to a; savepoint b; insert into s.t values (4); commit")
        assert feed.changes() == ["table s.t: INSERT: n[integer]:2",
                                  "table s.t: INSERT: n[integer]:4"]


def test_rows_of_create_table_as_are_told_and_those_of_a_rewrite_are_not(told):
    assert body(told("create table s.t as select 1 n")) == ["table s.t: INSERT: n[integer]:1"]
    assert body(told("alter table s.t alter n type bigint")) == []


def test_a_table_made_within_a_transaction_is_told_of_with_the_others(told):
    assert body(told("create table s.t (n int)", "begin; insert into s.t values (1);"
                     "create table s.u (n int); insert into s.u values (2); commit")) == [
        "table s.t: INSERT: n[integer]:1", "table s.u: INSERT: n[integer]:2"]


def test_an_origin_is_told_unless_only_local(told, logical):
    told("create table s.t (n int)", "select pg_replication_origin_create('else')")
    with psycopg.connect(host=str(logical.folder), port=logical.port, user="postgres",
                         dbname="app", autocommit=True) as other:
        other.execute("select pg_replication_origin_session_setup('else')")
        with Feed(logical) as feed:
            other.execute("insert into s.t values (1)")
            assert feed.changes() == ["table s.t: INSERT: n[integer]:1"]
        with Feed(logical, only_local="1") as feed:
            other.execute("insert into s.t values (1)")
            told_nothing(logical, feed, "select 1")
    logical.sql("select pg_replication_origin_drop('else')")


# -- messages and two-phase transactions


def test_a_transactional_message_comes_in_its_place(told):
    assert body(told("create table s.t (n int)",
                     "begin; insert into s.t values (1);"
                     "select pg_logical_emit_message(true, 'a, sz: 1 content:', E'x\\ny'); commit")) == [
        "table s.t: INSERT: n[integer]:1",
        "message: transactional: 1 prefix: a, sz: 1 content:, sz: 3 content:x\ny"]


def test_any_user_may_write_any_message(told, logical):
    """A marker that must not be forged has something in it that only its writer knows."""
    with Feed(logical) as feed, logical.endpoint(user="trusted").connect() as anybody:
        anybody.execute("select pg_logical_emit_message(true, 'mark', '1')")
        assert feed.changes() == ["message: transactional: 1 prefix: mark, sz: 1 content:1"]


def test_another_message_comes_outside_of_any_transaction_and_even_from_one_that_fails(told, logical):
    with Feed(logical) as feed:
        logical.sql("begin; select pg_logical_emit_message(false, 'p', ''); rollback")
        logical.sql("select pg_logical_emit_message(true, 'mark', '')")
        assert feed.next().text == "message: transactional: 0 prefix: p, sz: 0 content:"
        assert feed.transaction()[0].startswith("BEGIN ")


def test_a_two_phase_transaction_is_told_at_its_second_phase_as_any_other(told, logical):
    told("create table s.t (n int)", "insert into s.t values (0)")
    with Feed(logical) as feed:
        logical.sql("begin; insert into s.t values (1); prepare transaction 'one'")
        logical.sql("insert into s.t values (2)")
        logical.sql("commit prepared 'one'")
        assert feed.changes() == ["table s.t: INSERT: n[integer]:2"]
        assert feed.changes() == ["table s.t: INSERT: n[integer]:1"]


def test_a_slot_for_two_phases_tells_both(told, logical):
    told("create table s.t (n int)", "insert into s.t values (0)")
    with Feed(logical, create=", TWO_PHASE") as feed:
        logical.sql("begin; insert into s.t values (1); prepare transaction E'it''s\\\\one'")
        logical.sql("commit prepared E'it''s\\\\one'")
        texts = [feed.next().text for _ in range(4)]
        xid = texts[0].split()[1]
        assert texts == [f"BEGIN {xid}", "table s.t: INSERT: n[integer]:1",
                         f"PREPARE TRANSACTION E'it''s\\\\one', txid {xid}",
                         f"COMMIT PREPARED E'it''s\\\\one', txid {xid}"]
        logical.sql("begin; insert into s.t values (1); prepare transaction 'two'")
        logical.sql("rollback prepared 'two'")
        assert [feed.next().text.split(",")[0] for _ in range(4)][2:] == [
            "PREPARE TRANSACTION 'two'", "ROLLBACK PREPARED 'two'"]


# -- options


def test_the_options_for_ids_and_times(told):
    made = "create table s.t (n int)"
    assert [text.split("(at")[0] for text in
            told(made, "insert into s.t values (1)", include_xids="0", include_timestamp="1")] == [
        "BEGIN", "table s.t: INSERT: n[integer]:1", "COMMIT "]


def test_one_bad_option_is_refused_at_the_start(logical):
    with pytest.raises(AssertionError, match="option \"include-everything\""):
        Feed(logical, include_everything="1")


def test_the_id_of_a_transaction_with_savepoints_is_that_of_its_top(told, logical):
    told("create table s.t (n int)", "insert into s.t values (0)")
    with Feed(logical) as feed, logical.endpoint().connect(user="trusted") as client:
        logical.sql("grant all on schema s to trusted; grant all on s.t to trusted")
        assert feed.changes() == []
        client.execute("begin")
        client.execute("savepoint a")
        client.execute("insert into s.t values (1)")
        top, = client.execute("select pg_current_xact_id()::text").fetchone()
        client.execute("commit")
        assert feed.transaction() == [f"BEGIN {top}", "table s.t: INSERT: n[integer]:1",
                                      f"COMMIT {top}"]
