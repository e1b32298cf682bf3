"""What one query of the probe can return, and what its digests notice."""
import psycopg
import pytest
from support.feed import position
from support.patience import eventually

ROLES = """select md5(coalesce(string_agg(r::text, ',' order by r.oid), '')) from
    (select oid, rolname, rolsuper, rolinherit, rolbypassrls from pg_roles) r"""
WITH_SECRETS = "select md5(string_agg(a::text, ',' order by a.oid)) from pg_authid a"
MEMBERS = "select md5(coalesce(string_agg(m::text, ',' order by roleid, member), '')) from pg_auth_members m"
SETTINGS = ("select md5(coalesce(string_agg(s::text, ',' order by setdatabase, setrole), ''))"
            " from pg_db_role_setting s")
TRIGGERS = "select md5(coalesce(string_agg(e::text, ',' order by e.oid), '')) from pg_event_trigger e"
PROBE = f"""select pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn(), pg_current_snapshot()::text,
    ({ROLES}), ({MEMBERS}), ({SETTINGS}), pg_conf_load_time()::text,
    ({TRIGGERS})"""


@pytest.fixture
def probe(logical):
    """probe(): the row, as a user without any rights."""
    with logical.endpoint(user="trusted").connect() as client:
        yield lambda: client.execute(PROBE).fetchone()


def digests(row):
    return row[3:]


def test_a_user_without_rights_gets_all_of_it_in_one_statement(probe):
    row = probe()
    assert position(row[0]) >= position(row[1]) > 0
    assert row[2].count(":") == 2
    assert all(row)


def test_passwords_need_a_superuser_and_are_not_needed(logical):
    with logical.endpoint(user="trusted").connect() as client:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute(WITH_SECRETS)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute("select * from pg_shadow")
        assert client.execute("select count(*) from pg_roles where rolpassword <> '********'"
                              ).fetchone() == (0,)
    assert logical.one(WITH_SECRETS)


@pytest.mark.parametrize("number, change, back", [
    (3, "alter role app bypassrls", "alter role app nobypassrls"),
    (3, "alter role app superuser", "alter role app nosuperuser"),
    (3, "alter role app noinherit", "alter role app inherit"),
    (3, "alter role reports rename to other", "alter role other rename to reports"),
    (3, "create role more", "drop role more"),
    (4, "grant app to reports", "revoke app from reports"),
    (4, "grant app to reports with admin option", "revoke app from reports"),
    (5, "alter role app set work_mem = '5MB'", "alter role app reset work_mem"),
    (5, "alter role app in database app set work_mem = '5MB'",
     "alter role app in database app reset work_mem"),
    (5, "alter database app set work_mem = '5MB'", "alter database app reset work_mem"),
    (5, "alter role all set work_mem = '5MB'", "alter role all reset work_mem")])
def test_its_digests_notice_what_no_feed_tells(probe, logical, number, change, back):
    """Done in another database, as anybody may; the next probe differs in this column and no other."""
    before = probe()
    logical.sql(change, database="session")
    try:
        after = probe()
        assert [i for i in range(3, 8) if before[i] != after[i]] == [number]
    finally:
        logical.sql(back, database="session")
    assert digests(probe()) == digests(before)


def test_an_event_trigger_that_is_disabled_or_replaced_is_noticed(probe, logical):
    logical.sql("create function nothing() returns event_trigger language plpgsql as 'begin end';"
                "create event trigger watch on sql_drop execute function nothing()")
    try:
        seen = {digests(probe())}
        for change in ("enable always", "disable", "enable replica", "rename to other"):
            logical.sql(f"alter event trigger watch {change}")
            seen.add(digests(probe()))
        assert len(seen) == 5
    finally:
        logical.sql("drop function nothing() cascade")
    assert digests(probe()) not in seen


def test_a_new_password_is_in_no_digest(probe, logical):
    before = probe()
    logical.sql("alter role app password 'app'")
    assert digests(probe()) == digests(before)


def test_what_has_no_effect_on_answers_changes_no_digest(probe, logical):
    before = probe()
    logical.sql("create table if not exists t (n int); insert into t values (1)")
    assert digests(probe()) == digests(before)


def test_a_reload_changes_the_time_of_the_configuration(probe, logical):
    """Each backend reads it by itself: a reload is seen by the probe's own at its next statement."""
    before = probe()
    logical.sql("select pg_reload_conf()")
    eventually(lambda: probe()[6] != before[6])
    assert probe()[3:6] == before[3:6]


def test_a_backend_in_a_statement_reads_a_reload_after_it(logical):
    """So the probe's time says nothing about the defaults that another session's statement has."""
    with logical.endpoint().connect() as busy:
        busy.execute("begin")
        before, = busy.execute("select pg_conf_load_time()").fetchone()
        query = "with s as materialized (select pg_sleep(1.5)) select pg_conf_load_time() from s"
        assert busy.execute(query).fetchone() == (before,)
        logical.sql("alter system set work_mem = '6MB'")
        try:
            logical.sql("select pg_reload_conf()")
            eventually(lambda: busy.execute("show work_mem").fetchone() == ("6MB",))
            assert busy.execute("select pg_conf_load_time()").fetchone() > (before,)
        finally:
            logical.sql("alter system reset work_mem")
            logical.sql("select pg_reload_conf()")


def test_the_end_of_the_log_is_read_when_the_query_runs_and_its_snapshot_was_taken_before(logical):
    """The position is never older than the snapshot: what the snapshot contains ends before it."""
    logical.sql("create table if not exists t (n int)")
    with logical.endpoint(user="trusted").connect() as client:
        client.execute("begin isolation level repeatable read")
        first = client.execute(PROBE).fetchone()
        logical.sql("insert into t values (1)")
        second = client.execute(PROBE).fetchone()
        client.execute("commit")
        assert first[2] == second[2]
        assert position(first[0]) < position(second[0])


def test_digests_are_read_by_the_snapshot_of_the_query(logical):
    with logical.endpoint(user="trusted").connect() as client:
        client.execute("begin isolation level repeatable read")
        first = client.execute(PROBE).fetchone()
        logical.sql("grant app to reports")
        try:
            assert digests(client.execute(PROBE).fetchone()) == digests(first)
            client.execute("commit")
            assert digests(client.execute(PROBE).fetchone()) != digests(first)
        finally:
            logical.sql("revoke app from reports")


def test_a_standby_cannot_be_asked(replication):
    standby, = replication(replicas=1).replicas
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="recovery is in progress"):
        standby.sql(PROBE)


# -- what a fill may run on


def test_a_session_without_temporary_objects_has_no_schema_for_them(logical):
    with logical.endpoint(user="postgres").at(host=str(logical.folder)).connect() as client:
        ask = "select pg_my_temp_schema()"
        assert client.execute(ask).fetchone() == (0,)
        client.execute("begin; create temporary table x (n int); rollback")
        assert client.execute(ask).fetchone() == (0,)
        client.execute("create temporary table x (n int)")
        assert client.execute(ask).fetchone() != (0,)
        client.execute("drop table x")
        assert client.execute(ask).fetchone() != (0,), "it stays until the session ends"
        client.execute("discard all")
        assert client.execute(ask).fetchone() != (0,), "even then"


def test_a_temporary_table_hides_a_table_of_its_name(logical):
    """Why a fill must not run where there may be one."""
    logical.sql("drop table if exists t; create table t (n int)")
    with logical.endpoint(user="postgres").at(host=str(logical.folder)).connect() as client:
        client.execute("create temporary table t (n int); insert into t values (666)")
        assert client.execute("select n from t").fetchall() == [(666,)]
    assert logical.sql("select n from t") == []


def test_a_change_of_a_role_s_defaults_is_not_read_by_its_running_sessions(logical):
    """The defaults of a server are those of its login: a digest taken then tells which."""
    with logical.endpoint().connect() as old:
        logical.sql("alter role app set work_mem = '7MB'")
        try:
            with logical.endpoint().connect() as new:
                assert (old.execute("show work_mem").fetchone(),
                        new.execute("show work_mem").fetchone()) == (("4MB",), ("7MB",))
                old.execute("discard all")
                assert old.execute("show work_mem").fetchone() == ("4MB",)
        finally:
            logical.sql("alter role app reset work_mem")


def test_a_revoked_role_acts_on_running_sessions_at_once(logical):
    logical.sql("drop table if exists t; create table t (n int); grant select on t to reports;"
                "grant reports to app")
    with logical.endpoint().connect() as client:
        client.execute("select * from t")
        logical.sql("revoke reports from app")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute("select * from t")
