"""A transaction pool in front of three servers that Patroni and etcd govern."""
import threading
import time

import pytest
from support.failover import LOST, Writers, elected, told
from support.patience import PATIENCE, STRETCH, eventually
from support.patroni import SLOWLY, Patroni, missing
from support.trunkline import route

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}"),
    pytest.mark.timeout(900),
]

NOT_ASKED = "by its REST interface Patroni is not asked"


@pytest.fixture
def cluster(template):
    made = Patroni(template, tags={"c": {"noloadbalance": True}}, log_line_prefix="%p %u@%d %n ")
    try:
        made.leader().sql("create table t (worker int, n int); grant all on t to app")
        made.caught_up()
        yield made
    finally:
        made.remove()


def governed(cluster, **patroni):
    """With `patroni`, Patroni is asked."""
    return {"hosts": [f"{one.address}:{one.port}" for one in cluster.servers],
            "tls": {"mode": "disable"},
            "probe": {"user": "app", "interval": "200ms", "timeout": "2s"},
            **({"patroni": patroni} if patroni else {})}


@pytest.fixture
def daemon(request, cluster, trunkline):
    asked = {} if getattr(request, "param", "") == NOT_ASKED else {"port": cluster.servers[0].rest}
    made = trunkline(services={"main": governed(cluster, **asked)},
                     routes=[route("reads", server_database="app", target_session_attrs="standby"),
                             route(claim_timeout=f"{SLOWLY}s")])
    elected(made, cluster.leader())
    return made


class Crowd(Writers):
    """Writers, and clients that stand between transactions all the time until they are asked."""

    def __init__(self, daemon):
        super().__init__(daemon)
        self.idle = [daemon.connect() for _ in range(8)]
        for client in self.idle:
            client.execute("select 1")

    def ask_idle(self):
        """They write, and have noticed nothing."""
        for client in self.idle:
            client.execute("insert into t values (100, 1)")

    def __exit__(self, *_):
        super().__exit__()
        for client in self.idle:
            client.close()


def missed(writers, server):
    """What was acknowledged and is not there."""
    there = set(server.sql("select worker, n from t"))
    return [one for one in writers.all() if one[1:] not in there]


def told_after(old, new):
    """What clients sent to the old primary after the first statement to the new one."""
    first, before = told(new)[0][0], told(old)
    assert before
    return [text for at, text in before if at > first]


def test_patronis_switchover_loses_nothing_and_idle_clients_do_not_notice(cluster, daemon):
    old, new, _ = cluster.servers
    with Crowd(daemon) as writers:
        promoted = 1000 * cluster.switchover(new)
        resumed = writers.resume(promoted, SLOWLY)
        elected(daemon, new)
        writers.ask_idle()
        assert cluster.settled() is new  # the old one is a standby by now
        writers.resume(1000 * time.time())
    assert set(writers.errors) <= LOST, writers.errors
    assert resumed - promoted < 2000 * STRETCH, resumed - promoted
    assert not missed(writers, new)
    assert not told_after(old, new)


def test_a_switchover_that_both_are_told_of_gives_no_client_an_error(cluster, daemon):
    old, new, _ = cluster.servers
    result = []

    def ordered():
        result.append(daemon.console("SWITCHOVER main"))

    with Crowd(daemon) as writers:
        order = threading.Thread(target=ordered)
        order.start()
        daemon.logged(r"switchover\.begun")
        eventually(lambda: old.one("select count(*) from pg_stat_activity where usename = 'app'"
                                   " and application_name <> 'trunkline probe'") == 0)
        promoted = 1000 * cluster.switchover(new)
        order.join(PATIENCE)
        assert len(result) == 1
        writers.resume(promoted, SLOWLY)
        writers.ask_idle()
    assert writers.errors == []
    assert not missed(writers, new)
    assert not told_after(old, new)


@pytest.mark.parametrize("daemon", ["asked", NOT_ASKED], indirect=True)
def test_after_a_dead_primary_writes_go_on_at_the_one_that_patroni_promotes(cluster, daemon):
    old, *others = cluster.servers
    with Crowd(daemon) as writers:
        old.kill()
        killed = 1000 * time.time()
        new, promoted = cluster.promoted(*others)
        promoted *= 1000
        resumed = writers.resume(promoted, SLOWLY)
        elected(daemon, new)
        writers.ask_idle()
        old.begin()  # Patroni rewinds it
        assert cluster.settled() is new
        writers.resume(1000 * time.time())
    assert set(writers.errors) <= LOST, writers.errors
    assert resumed - promoted < 2000 * STRETCH, resumed - promoted
    lost = missed(writers, new)  # replication is asynchronous: only what the dead one acknowledged
    assert not [one for one in lost if one[0] > killed + 1000 * STRETCH], lost[-1]
    assert not told_after(old, new)


def says(daemon):
    """What Patroni says of each server, by its port."""
    return {int(row["addr"].rpartition(":")[2]): row["arbiter"]
            for row in daemon.console("SHOW BACKENDS")}


def read_at(daemon):
    with daemon.connect("reads") as client:
        return client.execute("select inet_server_port()").fetchone()[0]


def test_a_member_with_noloadbalance_is_not_read_from(cluster, daemon):
    leader, plain, tagged = cluster.servers
    eventually(lambda: says(daemon) == {leader.port: "leader", plain.port: "reads",
                                        tagged.port: "no_reads"}, timeout=SLOWLY)
    assert {read_at(daemon) for _ in range(20)} == {plain.port}


def test_a_standby_that_is_promoted_behind_patronis_back_takes_nothing(cluster, daemon):
    leader, rogue, _ = cluster.servers
    with Crowd(daemon) as writers:
        rogue.run("pg_ctl", "promote", "-D", rogue.data)
        daemon.logged(rf"patroni\.says .*:{rogue.port} says=not_leader", timeout=SLOWLY)
        writers.resume(1000 * time.time())
        writers.ask_idle()
    assert cluster.leader() is leader
    assert writers.errors == []
    assert daemon.log().count("primary.elected ") == 1
    assert not told(rogue)
    assert not missed(writers, leader)


def test_of_two_primaries_on_one_timeline_the_holder_of_the_lock_is_elected(cluster, daemon):
    """In a pause Patroni lets both run; the lock of the dead leader goes to one of them."""
    old, *others = cluster.servers
    assert cluster.order("pause", "--wait").wait(SLOWLY) == 0
    before = old.timeline()
    idle = daemon.connect()
    idle.execute("insert into t values (1, 1)")
    cluster.caught_up()
    old.kill()
    for server in others:
        server.run("pg_ctl", "promote", "-D", server.data)
    eventually(lambda: sum(server.is_leader() for server in others) == 1, timeout=SLOWLY)
    holder = next(server for server in others if server.is_leader())
    other = next(server for server in others if server is not holder)
    assert holder.timeline() == other.timeline() == before + 1
    eventually(lambda: says(daemon)[holder.port] == "leader", timeout=SLOWLY)
    elected(daemon, holder)
    idle.execute("insert into t values (1, 2)")
    assert holder.sql("select n from t order by n") == [(1,), (2,)]
    assert other.sql("select n from t") == [(1,)]
    idle.close()
