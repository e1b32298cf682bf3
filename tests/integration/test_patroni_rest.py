"""What Patroni's REST interface decides, with a scripted one in front of real servers."""
import re
import signal

import psycopg
import pytest
from support.certificate import Certificate
from support.failover import elected
from support.patience import STRETCH, eventually
from support.replication import Replication
from support.rest import Rest, answer
from support.trunkline import route

ADDRESSES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
TIMEOUT = f"{STRETCH}s"  # an answer of the scripted one never takes as long
HARM = pytest.mark.usefixtures("own")  # promotes or stops servers


def replicated(template):
    made = Replication(template, replicas=2, listen_addresses=",".join(["127.0.0.1", *ADDRESSES]))
    made.primary.sql("create table t (n int); grant all on t to app")
    made.caught_up()
    for server, address in zip(made.servers, ADDRESSES):
        server.address = address
    return made


@pytest.fixture(scope="module")
def unharmed(template):
    """For all tests that promote and stop no server."""
    made = replicated(template)
    yield made
    made.remove()


@pytest.fixture
def own():
    """With this a test has a cluster of its own."""


@pytest.fixture
def cluster(request, template):
    if "own" not in request.fixturenames:
        made = request.getfixturevalue("unharmed")
        made.primary.sql("truncate t")
        made.caught_up()
        yield made
        return
    made = replicated(template)
    yield made
    made.remove()


@pytest.fixture
def rest():
    made = Rest(ADDRESSES)
    made.leader(ADDRESSES[0])
    yield made
    made.remove()


def services(cluster, rest, **patroni):
    return {"main": {"hosts": [f"{one.address}:{one.port}" for one in cluster.servers],
                     "tls": {"mode": "disable"},
                     "probe": {"user": "app", "interval": "50ms", "timeout": "2s"},
                     "patroni": {"port": rest.port, "timeout": TIMEOUT, **patroni}}}


READS = route(database="reads", server_database="app", target_session_attrs="standby",
              claim_timeout="500ms")


@pytest.fixture
def daemon(cluster, rest, trunkline):
    made = trunkline(services=services(cluster, rest), routes=[READS, route(claim_timeout="500ms")])
    elected(made, cluster.primary)
    return made


def rows(daemon):
    return {re.sub(":.*", "", row["addr"]): row for row in daemon.console("SHOW BACKENDS")}


def shown(daemon, server):
    return rows(daemon)[server.address]["arbiter"]


def written(daemon, server, n):
    """Writes, once a primary is known; it is at this server."""
    def condition():
        try:
            with daemon.connect() as client:
                client.execute(f"insert into t values ({n})")
        except psycopg.Error:
            return False
        return True
    eventually(condition)
    assert server.one(f"select count(*) from t where n = {n}") > 0


def refused(daemon):
    with pytest.raises(psycopg.Error, match="is known to be its only primary"), \
            daemon.connect() as client:
        client.execute("insert into t values (0)")


def split(cluster, rest):
    """Both standbys are promoted, and each is on timeline 2; no Patroni answers."""
    old, left, right = cluster.servers
    for address in ADDRESSES:
        rest.says[address] = Rest.SILENT
    old.stop(signal.SIGQUIT)
    for server in left, right:
        server.run("pg_ctl", "promote", "-D", server.data)
    eventually(lambda: not left.standby() and not right.standby())
    return left, right


@HARM
@pytest.mark.parametrize("winner", [1, 2])
def test_of_two_promoted_standbys_the_one_that_is_the_leader_is_elected(cluster, rest, daemon,
                                                                      winner):
    split(cluster, rest)
    daemon.logged(r"primary\.contested ")
    refused(daemon)
    chosen, other = cluster.servers[winner], cluster.servers[3 - winner]
    rest.leader(chosen.address)
    elected(daemon, chosen)
    written(daemon, chosen, 1)
    eventually(lambda: shown(daemon, chosen) == "leader")
    eventually(lambda: shown(daemon, other) == "not_leader")
    assert other.one("select count(*) from t where n = 1") == 0


@HARM
def test_two_leaders_or_none_are_no_decision(cluster, rest, daemon):
    left, right = split(cluster, rest)
    daemon.logged(r"primary\.contested ")
    before = daemon.log().count("primary.elected ")
    for says, text in ({}, "not_leader"), ({"/primary": 200}, "leader"):
        rest.says[left.address] = rest.says[right.address] = dict(says)
        eventually(lambda text=text: {shown(daemon, one) for one in (left, right)} == {text})
        refused(daemon)
        if not says:
            assert daemon.log().count("primary.elected ") == before
    daemon.console(f'ELECT "{right.address}:{right.port}"')  # the operator can always decide
    elected(daemon, right)
    written(daemon, right, 1)


def test_a_primary_that_loses_the_lock_is_written_to_no_more_until_it_has_it_again(cluster, rest,
                                                                                daemon):
    old = cluster.primary
    written(daemon, old, 1)
    rest.says[old.address] = {}
    daemon.logged(r"primary\.none ")
    refused(daemon)
    row = rows(daemon)[old.address]
    assert (row["role"], row["state"], row["arbiter"]) == ("primary", "replaced", "not_leader")
    rest.says[old.address] = Rest.SILENT  # nothing changes
    eventually(lambda: shown(daemon, old) == "not_leader, silent")
    refused(daemon)
    rest.says[old.address] = {"/primary": 200}
    elected(daemon, old, times=2)
    written(daemon, old, 2)


@HARM
def test_a_standby_that_is_promoted_without_the_lock_takes_nothing(cluster, rest, daemon):
    old, rogue, _ = cluster.servers
    rogue.run("pg_ctl", "promote", "-D", rogue.data)
    eventually(lambda: shown(daemon, rogue) == "not_leader")
    assert int(rows(daemon)[rogue.address]["timeline"]) == 2
    written(daemon, old, 1)
    assert len(re.findall(r"primary\.elected ", daemon.log())) == 1
    rest.leader(rogue.address)
    elected(daemon, rogue)
    written(daemon, rogue, 2)


def test_no_primary_is_elected_at_the_start_that_is_not_the_leader(cluster, rest, trunkline):
    rest.says[cluster.primary.address] = {}
    daemon = trunkline(services=services(cluster, rest), routes=[route(claim_timeout="500ms")])
    daemon.logged(r"primary\.none ")
    refused(daemon)
    rest.leader(cluster.primary.address)
    elected(daemon, cluster.primary)
    written(daemon, cluster.primary, 1)


FAULTS = {
    "silent": (Rest.SILENT, "."),
    "garbage": (b"SSH-2.0-OpenSSH_9.2p1\r\n", "the answer is no HTTP"),
    "truncated": (b"HTTP/1.0 200 OK\r\nServer: x\r\n", "closed within the answer's head"),
    "empty": (b"", "closed within the answer's head"),
    "another status": (answer(404), "GET /primary has status 404"),
    "redirect": (answer(302), "GET /primary has status 302"),
    "endless head": (b"HTTP/1.0 200 OK\r\n" + b"X: y\r\n" * 3000, "head has more than 8192 bytes"),
    "huge": (answer(503, b"x" * 1_000_000), "more than 65536 bytes"),
    "refused": (Rest.REFUSES, "refused|closed within the answer's head"),  # the first is under way
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_patroni_that_gives_no_answer_of_use_changes_nothing(cluster, rest, daemon, name):
    old = cluster.primary
    says, reason = FAULTS[name]
    eventually(lambda: shown(daemon, old) == "leader")
    if says is Rest.REFUSES:
        rest.refuse(old.address)
    else:
        rest.says[old.address] = says
    eventually(lambda: int(rows(daemon)[old.address]["arbiter_failures"]) >= 5)
    assert shown(daemon, old) == "leader, silent"
    failed = re.findall(rf"patroni\.failed .*backend={old.address}\S* reason=(.*)", daemon.log())
    assert len(failed) == 1 and re.search(reason, failed[0])  # once, until it answers
    written(daemon, old, 1)
    assert len(re.findall(r"primary\.(?!elected)", daemon.log())) == 0


def test_a_patroni_that_never_listened_is_told_to_refuse(cluster, rest, trunkline):
    address = cluster.primary.address
    rest.refuse(address)
    daemon = trunkline(services=services(cluster, rest), routes=[route()])
    daemon.logged(rf"patroni\.failed .*backend={address}\S* reason=.*refused")


def test_an_answer_is_as_long_as_it_may_be(cluster, rest, daemon):
    old = cluster.primary
    begin, end = b"HTTP/1.0 200 OK\r\nX: ", b"\r\n\r\n"
    head = begin + b"y" * (8192 - len(begin + end)) + end
    whole = answer(200, b"")
    for fits, too_long, reason in (
            (head, begin + b"y" * (8193 - len(begin + end)) + end, "head has more than 8192 bytes"),
            (whole + b"y" * (65536 - len(whole)), whole + b"y" * (65537 - len(whole)),
             "has more than 65536 bytes")):
        rest.says[old.address] = too_long
        eventually(lambda: shown(daemon, old) == "leader, silent")
        daemon.logged(rf"patroni\.failed .*{reason}")
        rest.says[old.address] = fits
        eventually(lambda: shown(daemon, old) == "leader")


@HARM
def test_a_failover_does_not_wait_for_a_patroni_that_is_down(cluster, rest, daemon):
    old, new, _ = cluster.servers
    for address in ADDRESSES:
        rest.refuse(address)
    old.stop(signal.SIGQUIT)
    cluster.promote(new)
    elected(daemon, new)
    written(daemon, new, 1)
    eventually(lambda: shown(daemon, new) == "silent")


def readers(daemon):
    """The ports of the servers that reads run at; None: none can be had."""
    try:
        with daemon.connect("reads") as client:
            return client.execute("select inet_server_port()").fetchone()[0]
    except psycopg.Error:
        return None


def test_a_replica_that_patroni_keeps_from_reads_gets_none(cluster, rest, daemon):
    _, first, second = cluster.servers
    rest.says[first.address] = {}
    eventually(lambda: shown(daemon, first) == "no_reads")
    assert {readers(daemon) for _ in range(10)} == {second.port}
    rest.says[second.address] = {}
    eventually(lambda: shown(daemon, second) == "no_reads")
    eventually(lambda: readers(daemon) is None)
    rest.says[first.address] = {"/replica": 200}
    eventually(lambda: readers(daemon) == first.port)
    assert {readers(daemon) for _ in range(10)} == {first.port}


def test_servers_are_asked_about_the_role_they_have_and_with_the_limit_that_is_set(cluster, rest,
                                                                                  daemon):
    primary, standby, _ = cluster.servers
    eventually(lambda: len(rest.asked[primary.address]) > 2 and len(rest.asked[standby.address]) > 2)
    assert set(rest.asked[primary.address]) == {"GET /primary HTTP/1.0"}
    assert set(rest.asked[standby.address]) == {"GET /replica HTTP/1.0"}
    rest.asked[standby.address].clear()
    daemon.reload(dict(daemon.config, services=services(cluster, rest, lag_limit="16MiB")))
    eventually(lambda: "GET /replica?lag=16777216 HTTP/1.0" in rest.asked[standby.address])
    rest.leader(standby.address)  # Patroni's word alone makes no server the primary
    for address in ADDRESSES:
        rest.asked[address].clear()
    eventually(lambda: len(rest.asked[standby.address]) > 5)
    assert {line.split("?")[0] for line in rest.asked[standby.address]} == {"GET /replica"}


def test_a_service_whose_patroni_a_reload_removes_goes_by_timelines_alone(cluster, rest, daemon):
    old = cluster.primary
    rest.says[old.address] = {}
    daemon.logged(r"primary\.none ")
    changed = services(cluster, rest)
    del changed["main"]["patroni"]
    daemon.reload(dict(daemon.config, services=changed))
    elected(daemon, old, times=2)
    written(daemon, old, 1)
    assert shown(daemon, old) is None


def test_patroni_may_be_asked_by_https(cluster, trunkline, tmp_path):
    authority = Certificate(tmp_path, "authority")
    own = Certificate(tmp_path, "patroni", authority, names="IP:127.0.0.2,IP:127.0.0.3")
    made = Rest(ADDRESSES, tls=own)
    try:
        made.leader(ADDRESSES[0])
        tls = {"mode": "verify-full", "ca": str(authority.cert)}
        daemon = trunkline(services=services(cluster, made, tls=tls), routes=[route()])
        eventually(lambda: shown(daemon, cluster.servers[0]) == "leader")
        eventually(lambda: shown(daemon, cluster.servers[1]) == "reads")
        eventually(lambda: shown(daemon, cluster.servers[2]) == "silent")  # another host's certificate
        daemon.logged(r"patroni\.failed .*backend=127\.0\.0\.4\S* reason=.*certificate")
    finally:
        made.remove()
