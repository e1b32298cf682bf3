"""Failover of a real primary with streaming replicas, under clients of a transaction pool."""
import re
import signal
import threading
import time

import psycopg
import pytest
from support.failover import LOST, Writers, elected, told
from support.patience import PATIENCE, STRETCH, eventually
from support.trunkline import configuration, route

PROBE = {"user": "app", "interval": "100ms", "timeout": "1s"}


def service(cluster, **settings):
    return {"main": {"hosts": [f"127.0.0.1:{one.port}" for one in cluster.servers],
                     "tls": {"mode": "disable"}, "probe": PROBE, **settings}}


@pytest.fixture
def cluster(replication):
    made = replication(replicas=2, log_line_prefix="%p %u@%d %n ")
    made.primary.sql("create table t (worker int, n int); grant all on t to app")
    made.caught_up()
    return made


@pytest.fixture
def daemon(cluster, trunkline):
    made = trunkline(services=service(cluster),
                     routes=[route(database="session", pool="session", claim_timeout="10s"),
                             route(claim_timeout="10s")])
    elected(made, cluster.primary)
    return made


def lose(cluster, how):
    """Ends or outdates the primary, has the first replica promoted, and returns when it was."""
    old, new, other = cluster.servers
    if how == "promote":
        cluster.promote(new, wait=False)
    else:
        old.stop(signal.SIGQUIT) if how == "immediate" else old.kill()
        cluster.promote(new, wait=False)
    eventually(lambda: not new.standby(), every=0.005)
    return time.time() * 1000


@pytest.mark.parametrize("how", ["promote", "immediate", "kill"])
def test_writes_go_on_at_the_promoted_server_and_never_again_at_the_old_one(cluster, daemon, how):
    old, new, _ = cluster.servers
    idle = [daemon.connect() for _ in range(8)]
    for client in idle:
        client.execute("select 1")
    with Writers(daemon) as writers:
        promoted = lose(cluster, how)
        resumed = writers.resume(promoted + 1)
        elected(daemon, new)
        eventually(lambda: len(told(new)) > 50)
        for client in idle:  # they stood between transactions, and notice nothing
            client.execute("insert into t values (100, 1)")
            client.close()
    assert set(writers.errors) <= LOST, writers.errors
    assert resumed - promoted < 2000 * STRETCH, resumed - promoted
    there = set(new.sql("select worker, n from t"))
    lost = [one for one in writers.all() if one[1:] not in there]
    late = int(re.findall(r"primary\.elected .*epoch=2 .*late_transactions=(\d+)", daemon.log())[0])
    if how == "promote":
        assert len(lost) <= late, f"{len(lost)} acknowledged by the old one, {late} stated"
        # A statement on its way at the fence may reach the old one later: one of each client.
        first = told(new)[0][0]
        assert len([text for at, text in told(old) if at > first]) <= len(writers.threads)
        assert not [text for at, text in told(old) if at > first + 1000 * STRETCH]
    after = [one for one in lost if one[0] > promoted + 2000 * STRETCH]
    assert not after, after


def test_clients_of_any_target_do_not_stay_at_a_server_that_was_replaced(cluster, trunkline):
    old, new, _ = cluster.servers
    daemon = trunkline(services=service(cluster), routes=[
        route(database="session", pool="session", target_session_attrs="any"), route()])
    elected(daemon, old)
    sessions = [daemon.connect(database="session") for _ in range(9)]
    try:
        there = [one for one in sessions
                 if one.execute("show port").fetchone() == (str(old.port),)]
        assert there
        cluster.promote(new)
        elected(daemon, new)
        for one in there:
            with pytest.raises(psycopg.OperationalError, match="has changed"):
                one.execute("insert into t values (1, 1)")
        rest = [one for one in sessions if one not in there]
        assert [one.execute("select 1").fetchone() for one in rest] == [(1,)] * len(rest)
    finally:
        for one in sessions:
            one.close()


@pytest.mark.parametrize("text", [
    "begin; insert into t values (1, 1); commit", "select 1; insert into t values (1, 1)",
    "rollback; insert into t values (1, 1)", "insert into t values (1, 1)"])
def test_a_text_that_may_have_committed_is_of_unknown_outcome(cluster, daemon, text):
    old = cluster.primary
    old.configure(synchronous_standby_names="absent", synchronous_commit="on")
    eventually(lambda: old.one("show synchronous_standby_names") == "absent")
    with daemon.connect() as client:
        order = run(client.execute, text)
        eventually(lambda: old.sql("select 1 from pg_stat_activity where wait_event = 'SyncRep'"))
        old.kill()
        order.join(PATIENCE)
    assert "whether the transaction was committed is not known" in str(order.result)


@pytest.mark.parametrize("then", ["many_probes", "the_pool_ends"])
def test_late_transactions_are_stated_however_long_ago_they_were(cluster, trunkline, then):
    old, new, _ = cluster.servers
    daemon = trunkline(services=service(cluster, probe=dict(PROBE, interval="10ms")),
                       routes=[route(idle_timeout="200ms")])
    elected(daemon, old)
    new.configure(primary_conninfo=f"host={new.folder} port=1")  # it receives no more
    eventually(lambda: not new.sql("select 1 from pg_stat_wal_receiver where status = 'streaming'"))
    with daemon.connect() as client:
        for n in range(20):
            client.execute(f"insert into t values (1, {n})")

    def probes():
        return old.log().count("SELECT r, current_setting('default_transaction_read_only')")

    before = probes()
    eventually(lambda: probes() > before + 80)
    if then == "the_pool_ends":
        eventually(lambda: not daemon.pool())
    cluster.promote(new)
    elected(daemon, new)
    assert new.one("select count(*) from t") == 0
    late = int(re.findall(r"epoch=2 .*late_transactions=(\d+)", daemon.log())[0])
    assert 20 <= late < 30, late
    shown = daemon.console("SHOW SERVICES")[0]
    assert (shown["primary"], shown["elections"], shown["late_transactions"]) == (
        "elected", 2, late)


def test_clients_inside_of_a_transaction_get_an_error_at_once(cluster, daemon):
    _, new, _ = cluster.servers
    with daemon.connect(autocommit=False) as open_one, daemon.connect(database="session") as session:
        open_one.execute("insert into t values (1, 1)")
        session.execute("select 1")
        lose(cluster, "promote")
        elected(daemon, new)  # until then the old one serves them
        for client in open_one, session:
            with pytest.raises(psycopg.OperationalError) as caught:
                client.execute("select 1")
            assert re.search("the primary of service .main. has changed", str(caught.value))
    with daemon.connect() as client:
        assert client.execute("select count(*) from t").fetchone() == (0,)


def test_claims_wait_while_there_is_no_primary(cluster, daemon):
    old, new, _ = cluster.servers
    client = daemon.connect()
    client.execute("select 1")
    old.stop(signal.SIGQUIT)
    waits = threading.Thread(target=client.execute, args=("insert into t values (1, 1)",))
    waits.start()
    eventually(lambda: int(daemon.pool().get("cl_waiting", 0)) == 1)
    cluster.promote(new)
    waits.join(PATIENCE)
    assert new.one("select count(*) from t") == 1
    client.close()


def test_two_promoted_standbys_are_contested_until_one_is_gone(cluster, trunkline):
    daemon = trunkline(services=service(cluster), routes=[route(claim_timeout="500ms")])
    old, left, right = cluster.servers
    elected(daemon, old)
    with daemon.connect() as client:
        client.execute("insert into t values (1, 1)")
    cluster.caught_up()
    old.stop(signal.SIGQUIT)
    left.run("pg_ctl", "promote", "-D", left.data)
    right.run("pg_ctl", "promote", "-D", right.data)
    daemon.logged(r"primary\.contested ")
    mark = left.mark(), right.mark()
    with pytest.raises(psycopg.Error, match="is known to be its only primary"), \
            daemon.connect() as client:
        client.execute("insert into t values (2, 2)")
    assert not left.statements(mark[0]) and not right.statements(mark[1])
    cluster.primary = left
    right.stop()
    cluster.rejoin(right, clone=True)
    elected(daemon, left)
    with daemon.connect() as client:
        client.execute("insert into t values (3, 3)")
    assert left.one("select count(*) from t where n = 3") == 1


def test_an_old_primary_that_comes_back_gets_nothing_until_it_is_a_standby(cluster, daemon):
    old, new, _ = cluster.servers
    old.stop(signal.SIGQUIT)
    cluster.promote(new)
    elected(daemon, new)
    old.start()  # on its old timeline, and it takes itself for the primary
    mark = old.mark()
    with daemon.connect() as client:
        for n in range(20):
            client.execute(f"insert into t values (5, {n})")
    eventually(lambda: "application_name=trunkline probe" in old.log())
    assert not [text for _, text in told(old) if "values (5" in text]
    assert old.mark() >= mark and new.one("select count(*) from t where worker = 5") == 20


def run(action, *arguments):
    """In a thread of its own; .result holds what it returned or raised after .join()."""
    def main():
        try:
            thread.result = action(*arguments)
        except psycopg.Error as error:
            thread.result = error
    thread = threading.Thread(target=main)
    thread.result = None
    thread.start()
    return thread


def test_a_switchover_lets_transactions_end_and_loses_nothing(cluster, daemon):
    old, new, _ = cluster.servers
    with Writers(daemon) as writers, daemon.connect(autocommit=False) as slow:
        slow.execute("insert into t values (200, 1)")
        order = run(daemon.console, "SWITCHOVER main")
        daemon.logged(r"switchover\.begun")
        slow.execute("insert into t values (200, 2)")  # a transaction that is open may end
        slow.commit()
        eventually(lambda: not old.backends() or old.sql(
            "select 1 where (select count(*) from pg_stat_activity where usename = 'app'"
            " and application_name <> 'trunkline probe') = 0"))
        cluster.caught_up(new)
        old.stop()
        cluster.promote(new)
        order.join(PATIENCE)
        assert order.result is None
        writers.resume(time.time() * 1000)
    assert writers.errors == []
    there = set(new.sql("select worker, n from t"))
    assert not [one for one in writers.all() if one[1:] not in there]
    assert {(200, 1), (200, 2)} <= there


def test_a_switchover_that_is_canceled_serves_clients_as_before(cluster, daemon):
    with daemon.connect() as client, \
            psycopg.connect(daemon.endpoint("trunkline", "admin").conninfo(), autocommit=True,
                            cursor_factory=psycopg.ClientCursor) as admin:
        client.execute("select 1")
        order = run(admin.execute, "SWITCHOVER main")
        daemon.logged(r"switchover\.begun")
        waits = run(client.execute, "insert into t values (1, 1)")
        eventually(lambda: int(daemon.pool()["cl_waiting"]) == 1)
        admin.cancel()
        order.join(PATIENCE)
        assert order.result.sqlstate == "57014"
        waits.join(PATIENCE)
    assert cluster.primary.one("select count(*) from t") == 1


@pytest.fixture
def admins(daemon):
    conninfo = daemon.endpoint("trunkline", "admin").conninfo()
    with psycopg.connect(conninfo, autocommit=True, cursor_factory=psycopg.ClientCursor) as one, \
            psycopg.connect(conninfo, autocommit=True, cursor_factory=psycopg.ClientCursor) as two:
        yield one, two


def test_a_second_switchover_is_refused_and_leaves_the_first_alone(cluster, daemon, admins):
    with daemon.connect() as client:
        client.execute("select 1")
        order = run(admins[0].execute, "SWITCHOVER main")
        daemon.logged(r"switchover\.begun")
        with pytest.raises(psycopg.errors.ObjectInUse, match="already under way"):
            admins[1].execute("SWITCHOVER main")
        waits = run(client.execute, "insert into t values (1, 1)")
        eventually(lambda: int(daemon.pool()["cl_waiting"]) == 1)
        assert "switchover.ended" not in daemon.log()
        admins[0].cancel()
        order.join(PATIENCE)
        waits.join(PATIENCE)
    assert order.result.sqlstate == "57014"
    assert cluster.primary.one("select count(*) from t") == 1


def without_probes(daemon, cluster):
    main = service(cluster)["main"]
    del main["probe"]
    daemon.reload(configuration(None, listen=[{"host": daemon.host, "port": daemon.port}],
                                services={"main": main}, routes=[route(claim_timeout="10s")]))


@pytest.mark.parametrize("state", ["elected", "none", "contested"])
def test_a_service_whose_probes_a_reload_removes_finds_roles_by_logins(cluster, daemon, state):
    old, new, right = cluster.servers
    with daemon.connect() as client:
        client.execute("insert into t values (1, 1)")
    cluster.caught_up()
    if state != "elected":
        old.stop(signal.SIGQUIT)
    if state == "none":
        old._write("standby.signal", "")
        old.start()
        daemon.logged(r"primary\.none ")
    if state == "contested":
        right.run("pg_ctl", "promote", "-D", right.data)
        cluster.promote(new)
        daemon.logged(r"primary\.contested ")
        right.stop()
    without_probes(daemon, cluster)
    if state == "elected":
        old.stop(signal.SIGQUIT)
    if state != "contested":
        cluster.promote(new)
    with daemon.connect() as client:
        client.execute("insert into t values (2, 2)")
    assert new.one("select count(*) from t") == 2


def test_a_switchover_ends_with_the_probes_of_its_service(cluster, daemon, admins):
    with daemon.connect() as client:
        client.execute("select 1")
        order = run(admins[0].execute, "SWITCHOVER main")
        daemon.logged(r"switchover\.begun")
        without_probes(daemon, cluster)
        order.join(PATIENCE)
        assert re.search("has ended before another server", str(order.result))
        client.execute("insert into t values (1, 1)")
    assert cluster.primary.one("select count(*) from t") == 1


@pytest.mark.parametrize("how, limit", [("switchover_timeout", "1s"), ("TIMEOUT", "700ms")])
def test_a_switchover_ends_by_itself_after_its_timeout(cluster, trunkline, how, limit):
    setting = {how: limit} if how == "switchover_timeout" else {}
    option = f" TIMEOUT {limit}" if how == "TIMEOUT" else ""
    daemon = trunkline(services=service(cluster, **setting), routes=[route(claim_timeout="10s")])
    elected(daemon, cluster.primary)
    with daemon.connect() as client, daemon.connect(autocommit=False) as inside:
        inside.execute("insert into t values (1, 1)")
        client.execute("select 1")
        order = run(daemon.console, f"SWITCHOVER main{option}")
        daemon.logged(r"switchover\.begun")
        waits = run(client.execute, "insert into t values (2, 2)")
        order.join(PATIENCE)
        waits.join(PATIENCE)
        assert order.result.sqlstate == "57014"
        milliseconds = {"1s": 1000, "700ms": 700}[limit]
        assert re.search(r'no other server of service "main" became the primary within'
                         rf" switchover_timeout \({milliseconds} ms\), [12] servers were still in"
                         " use; clients are served as before", str(order.result))
        inside.execute("insert into t values (3, 3)")
        inside.commit()
    assert cluster.primary.one("select count(*) from t") == 3
    assert daemon.log().count("switchover.ended") == 1


def test_a_switchover_has_the_timeout_of_the_command(cluster, trunkline):
    """It goes on in time, where the service's own would have been over."""
    old, new, _ = cluster.servers
    daemon = trunkline(services=service(cluster, switchover_timeout="10ms"),
                       routes=[route(claim_timeout="10s")])
    elected(daemon, old)
    with daemon.connect() as client:
        client.execute("insert into t values (1, 1)")
        order = run(daemon.console, "switchover main timeout '15 min'")
        daemon.logged(r"switchover\.begun")
        cluster.caught_up(new)
        old.stop()
        cluster.promote(new)
        order.join(PATIENCE)
        assert order.result is None
        client.execute("insert into t values (2, 2)")
    assert new.one("select count(*) from t") == 2


def test_a_wrong_timeout_is_refused(daemon):
    wrong = {"TIMEOUT": "TIMEOUT needs a value", "TIMEOUT 5": 'TIMEOUT "5": expected a duration with',
             "TIMEOUT 2d": 'TIMEOUT "2d": expected', "TIMEOUT 0ms": 'TIMEOUT "0ms": expected',
             "5s": "unknown command", "TIMEOUT 5s now": "unknown command"}
    for text, error in wrong.items():
        with pytest.raises(psycopg.Error, match=error):
            daemon.console(f"SWITCHOVER main {text}")
    assert "switchover.begun" not in daemon.log()


def test_a_switchover_needs_a_service_with_a_primary(daemon):
    with pytest.raises(psycopg.Error, match='there is no service "other"'):
        daemon.console("SWITCHOVER other")


def test_the_operator_elects_one_of_two_promoted_standbys(cluster, daemon):
    old, left, right = cluster.servers
    with pytest.raises(psycopg.Error, match="does not exist"):
        daemon.console('ELECT "127.0.0.1:1"')
    with pytest.raises(psycopg.Error, match="no recent probe has found"):
        daemon.console(f'ELECT "127.0.0.1:{left.port}"')
    with pytest.raises(psycopg.Error, match="several backends .* have the host .127.0.0.1."):
        daemon.console('ELECT "127.0.0.1"')
    old.stop(signal.SIGQUIT)
    for server in left, right:
        server.run("pg_ctl", "promote", "-D", server.data)
    daemon.logged(r"primary\.contested ")
    daemon.console(f'ELECT "127.0.0.1:{right.port}"')
    elected(daemon, right)
    with daemon.connect() as client:
        client.execute("insert into t values (1, 1)")
    assert right.one("select count(*) from t") == 1


def test_a_choice_names_the_service_if_several_have_the_backend(cluster, trunkline):
    old, left, right = cluster.servers
    both = {**service(cluster), "other": service(cluster)["main"]}
    daemon = trunkline(services=both, routes=[route(claim_timeout="10s")])
    old.stop(signal.SIGQUIT)
    for server in left, right:
        server.run("pg_ctl", "promote", "-D", server.data)
    eventually(lambda: primaries(daemon) == {"main": "contested", "other": "contested"})
    chosen = f'ELECT "127.0.0.1:{right.port}"'
    with pytest.raises(psycopg.errors.AmbiguousFunction, match='"main", "other"; name one'):
        daemon.console(chosen)
    with pytest.raises(psycopg.errors.UndefinedObject, match='there is no service "third"'):
        daemon.console(f"{chosen} SERVICE third")
    assert primaries(daemon) == {"main": "contested", "other": "contested"}
    daemon.console(f"{chosen} SERVICE main")
    eventually(lambda: primaries(daemon) == {"main": "elected", "other": "contested"})


def primaries(daemon):
    return {row["service"]: row["primary"] for row in daemon.console("SHOW SERVICES")}


def test_25006_has_the_primary_probed_at_once(cluster, trunkline):
    daemon = trunkline(services=service(cluster, probe=dict(PROBE, interval="1h")),
                       routes=[route()])
    primary = cluster.primary
    elected(daemon, primary)

    def probes():
        return primary.log().count("SELECT r, current_setting('default_transaction_read_only')")

    with daemon.connect() as client:
        client.execute("begin read only")
        before = probes()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            client.execute("insert into t values (1, 1)")
        # A second one follows: over a new connection, since the pool has made one meanwhile.
        eventually(lambda: probes() >= before + 2)
        before = probes()
        client.execute("rollback")
        client.execute("begin read only")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            client.execute("insert into t values (1, 1)")
        eventually(lambda: probes() > before)  # also within 200 ms of the one before
