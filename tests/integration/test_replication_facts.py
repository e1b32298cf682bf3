"""What PostgreSQL does at promotions and shutdowns; the failover of the pooler stands on this."""
import signal

import psycopg
import pytest
from support.patience import eventually
from support.wire import query


def test_after_a_promotion_pg_walfile_name_knows_the_timeline_and_the_control_file_does_not(
        replication):
    cluster = replication(replicas=1, checkpoint_timeout="1h")
    standby, = cluster.replicas
    cluster.primary.sql(
        "create table wide as select g, repeat('x', 500) from generate_series(1, 20000) g")
    cluster.caught_up()
    assert cluster.primary.timeline() == 1
    cluster.promote(standby)
    assert standby.timeline() == 2
    assert standby.control_timeline() == 1, "the checkpoint of a promotion is spread over its timeout"
    standby.sql("checkpoint")
    assert standby.control_timeline() == 2
    assert standby.system() == cluster.servers[0].system()


def test_a_standby_has_no_pg_current_wal_lsn(replication):
    cluster = replication(replicas=1)
    standby, = cluster.replicas
    for question in ("select pg_current_wal_lsn()", "select pg_current_wal_insert_lsn()"):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
            standby.sql(question)
        assert caught.value.sqlstate == "55000"


def test_a_write_on_a_standby_is_25006_and_leaves_the_session_usable(replication):
    cluster = replication(replicas=1)
    cluster.primary.sql("create table t (n int); grant all on t to app")
    cluster.caught_up()
    with cluster.replicas[0].endpoint().connect() as client:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as caught:
            client.execute("insert into t values (1)")
        assert caught.value.sqlstate == "25006"
        assert caught.value.diag.severity_nonlocalized == "ERROR"
        assert client.execute("select count(*) from t").fetchone() == (0,)


def test_a_session_of_a_standby_survives_its_promotion_and_then_writes(replication):
    cluster = replication(replicas=1)
    standby, = cluster.replicas
    cluster.primary.sql("create table t (n int); grant all on t to app")
    cluster.caught_up()
    with standby.endpoint().connect() as client:
        pid = client.execute("select pg_backend_pid()").fetchone()[0]
        assert client.info.parameter_status("in_hot_standby") == "on"
        cluster.primary.stop(signal.SIGQUIT)
        cluster.promote(standby)
        client.execute("insert into t values (1)")
        assert client.execute("select pg_backend_pid()").fetchone()[0] == pid
        assert client.info.parameter_status("in_hot_standby") == "off"


def test_a_demoted_server_ends_its_sessions_and_refuses_writes_of_new_ones_with_25006(replication):
    cluster = replication(replicas=1)
    old, new = cluster.servers
    old.sql("create table t (n int); grant all on t to app")
    with old.endpoint().connect() as client:
        client.execute("select 1")
        old.stop()  # a fast shutdown sends all to the standby first
        cluster.promote(new)
        cluster.rejoin(old)
        with pytest.raises(psycopg.OperationalError, match="due to administrator command"):
            client.execute("select 1")
    with old.endpoint().connect() as client:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            client.execute("insert into t values (1)")


@pytest.mark.parametrize("number, kind, severity", [(signal.SIGINT, "E", "FATAL"),
                                                    (signal.SIGQUIT, "N", "WARNING")])
def test_a_stopping_server_tells_busy_and_idle_sessions_at_once(replication, number, kind, severity):
    """57P01 in both cases; after an immediate stop it is only a warning before the end."""
    cluster = replication(replicas=0)
    endpoint = cluster.primary.endpoint()
    with endpoint.wire() as busy, endpoint.wire() as idle:
        busy.send(query("select pg_sleep(60)"))
        eventually(lambda: cluster.primary.sql(
            "select 1 from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'"))
        cluster.primary.stop(number)
        for client in busy, idle:
            last = client.rest()[-1]
            assert (last.kind, last.sqlstate, last.fields["V"]) == (kind, "57P01", severity), last


def test_two_standbys_promoted_apart_have_equal_timelines_and_one_system_identifier(replication):
    cluster = replication(replicas=2)
    old, left, right = cluster.servers
    old.stop(signal.SIGQUIT)
    cluster.promote(left)
    cluster.promote(right)
    assert left.timeline() == right.timeline() == 2
    assert left.system() == right.system()
    assert not left.standby() and not right.standby()


def test_an_old_primary_that_runs_on_keeps_its_timeline_and_acknowledges_writes(replication):
    cluster = replication(replicas=1)
    old, new = cluster.servers
    old.sql("create table t (n int)")
    cluster.caught_up()
    cluster.promote(new)
    old.sql("insert into t values (1)")
    assert old.one("select count(*) from t") == 1
    assert new.one("select count(*) from t") == 0
    assert (old.timeline(), new.timeline()) == (1, 2)


def test_a_replica_follows_a_new_primary_without_restart_and_an_old_one_is_rewound(replication):
    cluster = replication(replicas=2)
    old, new, other = cluster.servers
    old.sql("create table t (n int)")
    cluster.caught_up()
    other.delay(0)
    pid = other.program.pid
    cluster.promote(new)
    cluster.follow(other)
    old.sql("insert into t values (1)")  # of a history that the new primary does not have
    new.sql("insert into t values (2)")
    old.kill()
    cluster.rejoin(old)
    cluster.caught_up()
    assert other.program.pid == pid
    for server in cluster.servers:
        assert server.sql("select n from t") == [(2,)], server.name


def test_a_replica_with_a_delay_receives_at_once_and_replays_later(replication):
    cluster = replication(replicas=0)
    late = cluster.add_replica(delay=1_000_000)
    cluster.primary.sql("create table t (n int)")
    end = cluster.primary.written()
    eventually(lambda: late.one("select pg_last_wal_receive_lsn() >= %s::pg_lsn",
                                f"{end >> 32:X}/{end & 0xffffffff:X}"))
    assert late.one("select to_regclass('t')") is None
    late.delay(0)
    cluster.caught_up()
    assert late.one("select to_regclass('t')") == "t"


def test_a_new_copy_takes_the_place_of_an_old_primary(replication):
    cluster = replication(replicas=1)
    old, new = cluster.servers
    old.kill()
    cluster.promote(new)
    cluster.rejoin(old, clone=True)
    assert old.standby()
