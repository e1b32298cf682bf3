"""What Patroni's REST interface answers, that src/pool/patroni.c relies on."""
import http.client
import json
import socket

import pytest
from support.patience import PATIENCE, eventually
from support.patroni import SLOWLY, Patroni, missing

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def cluster(template):
    made = Patroni(template, tags={"c": {"noloadbalance": True}})
    yield made
    made.remove()


def raw(node, request):
    """All bytes of the answer, up to the end of the connection."""
    with socket.create_connection((node.address, node.rest), timeout=PATIENCE) as client:
        client.sendall(request)
        found = b""
        while piece := client.recv(65536):
            found += piece
        return found


def test_exactly_the_leader_answers_primary_with_200(cluster):
    leader = cluster.settled()
    for node in cluster.servers:
        assert node.says("/primary") == (200 if node is leader else 503)
        assert node.says("/") == node.says("/primary")


def test_replica_is_200_at_replicas_without_noloadbalance(cluster):
    leader = cluster.settled()
    wanted = {node.name: 503 if node is leader or node.name == "c" else 200
              for node in cluster.servers}
    assert leader.name != "c"
    eventually(lambda: {node.name: node.says("/replica") for node in cluster.servers} == wanted,
               timeout=SLOWLY)
    assert {node.name: node.says("/replica?lag=16777216") for node in cluster.servers} == wanted


def test_replica_with_lag_is_503_beyond_it(cluster):
    leader = cluster.settled()
    standby = next(node for node in cluster.servers if node not in (leader,) and node.name != "c")
    leader.sql("create table if not exists filler (t text)")
    cluster.caught_up()

    def behind():
        """Patroni may restart a standby soon after the start, which ends the pause."""
        standby.sql("select pg_wal_replay_pause()")
        leader.sql("insert into filler select repeat('x', 1000) from generate_series(1, 100)")
        return standby.says("/replica?lag=1024") == 503

    try:
        eventually(behind, timeout=SLOWLY, every=0.2)
        assert standby.says("/replica") == 200
    finally:
        standby.sql("select pg_wal_replay_resume()")
    eventually(lambda: standby.says("/replica?lag=1048576") == 200, timeout=SLOWLY)


def test_a_get_by_http_1_0_is_answered_in_one_piece_and_the_connection_ends(cluster):
    leader = cluster.settled()
    found = raw(leader, b"GET /primary HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = found.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"HTTP/1.0 200 OK"
    said = json.loads(body)
    assert said["state"] == "running" and said["role"] in ("master", "primary")
    assert len(found) < 65536


def test_patroni_says_role_timeline_and_tags_and_always_answers_200(cluster):
    leader = cluster.settled()
    for node in cluster.servers:
        client = http.client.HTTPConnection(node.address, node.rest, timeout=PATIENCE)
        client.request("GET", "/patroni")
        answer = client.getresponse()
        said = json.loads(answer.read())
        client.close()
        assert answer.status == 200
        assert (said["role"] in ("master", "primary")) == (node is leader)
        assert said["timeline"] == leader.timeline()
        assert said.get("tags") == ({"noloadbalance": True} if node.name == "c" else None)


def test_in_a_pause_a_primary_without_the_lock_answers_503(cluster):
    """Two standbys promoted by hand, each on the next timeline: exactly one gets the lock."""
    leader = cluster.settled()
    others = [node for node in cluster.servers if node is not leader]
    assert cluster.order("pause", "--wait").wait(SLOWLY) == 0
    leader.kill()
    for node in others:
        node.run("pg_ctl", "promote", "-D", node.data)
    eventually(lambda: sorted(node.says("/primary") or 0 for node in others) == [200, 503],
               timeout=SLOWLY)
    assert len({node.timeline() for node in others}) == 1
    loser = next(node for node in others if node.says("/primary") == 503)
    assert not loser.standby()
    assert loser.says("/replica") == 503
