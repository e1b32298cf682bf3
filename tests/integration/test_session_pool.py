"""Session pools are exact: for its client a session is a connection to PostgreSQL itself."""
import threading

import psycopg
import pytest

from support import wire as w
from support.patience import eventually, seconds
from support.trunkline import route


@pytest.fixture(params=["direct", "session"])
def session(request, postgres):
    """What only a session can keep, at PostgreSQL itself and through a session pool."""
    if request.param == "direct":
        return postgres.endpoint()
    return request.getfixturevalue("pooler").endpoint(database="session")


@pytest.fixture
def single(trunkline):
    return trunkline(routes=[route(pool="session", pool_size=1, claim_timeout="20s")])


def test_the_pid_of_the_key_is_the_backends_own(session):
    with session.connect() as connection:
        assert connection.info.backend_pid == \
            connection.execute("select pg_backend_pid()").fetchone()[0]


def test_a_session_can_be_terminated_by_its_pid(session, postgres):
    connection = session.connect()
    postgres.sql("select pg_terminate_backend(%s)", connection.info.backend_pid)
    with pytest.raises(psycopg.OperationalError) as error:
        eventually(lambda: connection.execute("select 1") is None)
    assert error.value.sqlstate in ("57P01", None)


def test_a_notification_carries_the_pid_that_its_sender_knows(session):
    with session.connect() as connection:
        heard = []
        connection.add_notify_handler(heard.append)
        connection.execute("listen here")
        connection.execute("notify here, 'hello'")
        eventually(lambda: connection.execute("select 1") and heard)
        assert (heard[0].channel, heard[0].payload) == ("here", "hello")
        assert heard[0].pid == connection.info.backend_pid


def test_a_notification_reaches_a_client_that_idles(session, postgres):
    with session.wire() as wire:
        wire.ask(w.query("listen there"))
        postgres.sql("notify there, 'wake up'", database=session.database)
        assert b"there\0wake up\0" in wire.receive().body


def test_session_state_stays(session):
    with session.connect() as connection:
        connection.execute("create temp table mine (n int)")
        connection.execute("set search_path = pg_temp")
        connection.execute("prepare p as select 42")
        connection.execute("select pg_advisory_lock(7)")
        assert connection.execute("select count(*) from mine").fetchone() == (0,)
        assert connection.execute("execute p").fetchone() == (42,)
        assert connection.execute("show search_path").fetchone() == ("pg_temp",)
        connection.execute("declare c cursor with hold for select generate_series(1, 3)")
        assert connection.execute("fetch 2 from c").fetchall() == [(1,), (2,)]
        assert connection.execute("fetch 2 from c").fetchall() == [(3,)]


def test_the_unnamed_statement_stays_over_turns(session):
    with session.wire() as wire:
        wire.ask(w.parse("", "select 3"), w.SYNC)
        assert w.rows(wire.ask(w.bind(), w.execute(), w.SYNC)) == [["3"]]


def test_reset_returns_to_the_values_of_the_startup_packet(session):
    with session.wire(options="-c work_mem=5MB", TimeZone="Asia/Tokyo") as wire:
        wire.ask(w.query("set work_mem = '7MB'; set TimeZone = 'UTC'"))
        for reset in ("reset all", "discard all"):
            wire.ask(w.query(reset))
            assert w.rows(wire.ask(w.query("show work_mem"))) == [["5MB"]]
            assert w.rows(wire.ask(w.query("show TimeZone"))) == [["Asia/Tokyo"]]
        source = "select source from pg_settings where name = 'work_mem'"
        assert w.rows(wire.ask(w.query(source))) == [["client"]]


def test_nothing_of_a_session_is_left_for_the_next(single):
    with single.connect() as connection:
        first = connection.info.backend_pid
        connection.execute("create temp table mine (n int)")
        connection.execute("set search_path = pg_temp")
        connection.execute("prepare p as select 42")
        connection.execute("listen here")
        connection.execute("select pg_advisory_lock(7)")
    with single.connect() as connection:
        assert connection.info.backend_pid == first
        for question, answer in (
                ("select count(*) from pg_class where relname = 'mine'", 0),
                ("select count(*) from pg_prepared_statements", 0),
                ("select count(*) from pg_listening_channels()", 0),
                ("select count(*) from pg_locks where locktype = 'advisory' and pid = "
                 "pg_backend_pid()", 0),
                ("show search_path", '"$user", public')):
            assert connection.execute(question).fetchone()[0] == answer


def test_a_session_left_in_a_transaction_is_cleaned(single):
    connection = single.connect(autocommit=False)
    connection.execute("select 1")
    connection.pgconn.finish()
    with single.connect() as heir:
        assert heir.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert heir.execute("select 1").fetchone() == (1,)


def test_a_server_is_used_again_only_for_the_same_startup_parameters(single):
    with single.connect(options="-c work_mem=5MB") as connection:
        first = connection.info.backend_pid
    with single.connect(options="-c work_mem=6MB") as connection:
        assert connection.info.backend_pid != first
        assert connection.execute("show work_mem").fetchone() == ("6MB",)
        assert connection.execute("select count(*) from pg_stat_activity where usename = 'app' "
                                  "and datname = 'app' and pid = %s", (first,)).fetchone() == (0,)


def test_a_fresh_pool_never_uses_a_server_twice(trunkline, postgres):
    daemon = trunkline(routes=[route(pool="session", pool_size=1, fresh=True)])
    mark = postgres.mark()
    pids = set()
    for _ in range(3):
        with daemon.connect() as connection:
            pids.add(connection.info.backend_pid)
    assert len(pids) == 3
    assert not [text for text in postgres.statements(mark) if "DISCARD" in text.upper()]


def test_a_login_waits_for_a_session_to_end(single):
    first = single.connect()
    wire = single.endpoint().wire(login=False)
    login = threading.Thread(target=lambda: wire.startup("app", "app", "app"))
    login.start()
    eventually(lambda: len([row for row in single.console("SHOW CLIENTS")
                            if row["database"] == "app"]) == 2)
    assert login.is_alive()
    first.close()
    login.join()
    assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]
    wire.__exit__()


def test_a_login_that_waits_too_long_is_refused(trunkline):
    daemon = trunkline(routes=[route(pool="session", pool_size=1, claim_timeout="1s")])
    with daemon.connect():
        with pytest.raises(psycopg.OperationalError) as error:
            daemon.connect()
        assert "FATAL" in str(error.value)
        wire = daemon.endpoint().wire(login=False)
        wire.send(w.startup_packet(user="app", database="app"))
        with pytest.raises(w.Refused, match="53300"):
            wire.login("app", "app")
    assert seconds(lambda: daemon.endpoint().one("select 1")) < 5


def test_the_servers_own_error_comes_with_its_own_sqlstate(pooler):
    wire = pooler.endpoint().wire(login=False)
    wire.send(w.startup_packet(user="app", database="session", options="-c work_mem=much"))
    with pytest.raises(w.Refused, match="22023"):
        wire.login("app", "app")


@pytest.mark.parametrize("relays", [1, 2])
def test_idle_servers_of_other_startup_parameters_make_room(relays, trunkline):
    daemon = trunkline(relays=relays, routes=[
        route(pool="session", pool_size=3, claim_timeout="20s")])
    endpoint = daemon.endpoint()
    for zone in ("Asia/Tokyo", "Europe/Paris", "America/Lima"):
        crowd = [endpoint.connect(options=f"-c TimeZone={zone}") for _ in range(3)]
        assert all(one.execute("show TimeZone").fetchone() == (zone,) for one in crowd)
        for one in crowd:
            one.close()
        daemon.pool_shows(sv_idle=3, cl_active=0)
    assert seconds(lambda: endpoint.connect().close()) < 5
