"""A service is its hosts: names are looked up again when one fails, and only a primary serves."""
import subprocess
import threading
import time

import pytest
from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.ports import free_port
from support.postgres import HBA, Postgres
from support.processes import Program
from support.trunkline import binary, route

REPLICATION = HBA + "\nhost replication postgres 127.0.0.1/32 trust\n"
RECOVERY = "select pg_is_in_recovery()"


class Pair:
    """A primary and its streaming standby, of one data directory."""

    def __init__(self, template, port=None, **standby):
        settings = dict(port=port, hba=REPLICATION, wal_level="replica", max_wal_senders=4,
                        wal_retrieve_retry_interval="100ms")
        self.primary = Postgres(template, **settings)
        self.primary.stop()
        signal = self.primary._write("standby.signal", "")
        self.standby = Postgres(
            self.primary.data, hot_standby="on", **settings, **standby,
            primary_conninfo=f"host=127.0.0.1 port={self.primary.port} user=postgres")
        signal.unlink()
        self.primary.start()
        eventually(lambda: self.primary.sql("select 1 from pg_stat_replication"))

    def promote(self):
        self.standby.sql("select pg_promote()")

    def service(self, *clusters, **settings):
        return {"main": dict({"hosts": [f"127.0.0.1:{one.port}" for one in clusters],
                              "tls": {"mode": "disable"}}, **settings)}

    def remove(self):
        for one in (self.standby, self.primary):
            one.remove()


@pytest.fixture
def pair(template):
    made = Pair(template)
    yield made
    made.remove()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_only_the_primary_of_several_hosts_is_used(trunkline, pair, mode):
    daemon = trunkline(services=pair.service(pair.standby, pair.primary),
                       routes=[route(pool=mode, pool_size=6)])
    clients = [daemon.connect() for _ in range(6)]
    for client in clients:
        client.execute("begin")
        assert client.execute(RECOVERY).fetchone() == (False,)
    assert pair.standby.backends() == []
    states = {row["role"]: row["slots"] for row in daemon.console("SHOW BACKENDS")}
    assert int(states["primary"]) == 6 and int(states["replica"]) == 0
    for client in clients:
        client.close()


def test_a_standby_that_was_promoted_serves_when_the_primary_is_gone(trunkline, pair):
    daemon = trunkline(services=pair.service(pair.primary, pair.standby),
                       routes=[route(pool_size=4)])
    clients = [daemon.endpoint().wire() for _ in range(8)]
    for client in clients:
        assert w.rows(client.ask(w.query(RECOVERY))) == [["f"]]
    pair.primary.stop()
    for client in clients:
        client.send(w.query("select inet_server_port()"))
    eventually(lambda: int(daemon.pool()["cl_waiting"]) == 8)
    assert daemon.console("SHOW BACKENDS")
    pair.promote()
    promoted = time.monotonic()
    for client in clients:
        assert w.rows(client.until()) == [[str(pair.standby.port)]]
    took = time.monotonic() - promoted
    print(f"served {took * 1000:.0f} ms after the promotion")
    assert took < 1 * STRETCH
    for client in clients:
        client.__exit__()


def test_a_lone_standby_serves_reads(trunkline, pair):
    """Its pool grows as fast as a primary's."""
    daemon = trunkline(services=pair.service(pair.standby, retry_max="20s"),
                       routes=[route(pool_size=4)])
    clients = [daemon.endpoint().wire() for _ in range(4)]

    def begin():
        for client in clients:
            client.send(w.query("begin"))
        for client in clients:
            client.until()

    assert seconds(begin) < 2 * STRETCH
    assert len(pair.standby.backends()) == 4
    for client in clients:
        assert w.rows(client.ask(w.query(RECOVERY))) == [["t"]]
        client.__exit__()


# -- names ----------------------------------------------------------------------------------------

class Names:
    """A daemon with a hosts file of its own, in a namespace of its own."""

    def __init__(self, daemon, **names):
        self.file = daemon.folder / "hosts"
        self.write(**names)
        script = f'mount --bind "{self.file}" /etc/hosts && exec "$@"'
        daemon.program = Program(["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "sh", "-c",
                                  script, "sh", binary(), "run", daemon.file],
                                 daemon.log_file, cwd=daemon.folder)
        eventually(daemon.listening)

    def write(self, **names):
        """In place: a new file would not be seen through the mount."""
        self.file.write_text("127.0.0.1 localhost\n" + "".join(
            f"{address} {name}.test\n" for name in names for address in names[name].split()))


def may_mount():
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    return probe.returncode == 0


named = pytest.mark.skipif(not may_mount(), reason="needs the right to make a mount namespace")


@named
def test_a_name_that_moves_is_followed_when_its_server_fails(trunkline, cluster):
    """The same port on another address, as behind a name that follows the primary."""
    one = cluster(listen_addresses="127.0.0.1")
    two = cluster(listen_addresses="127.0.0.2", port=one.port)
    daemon = trunkline(start=False, routes=[route(pool_size=2)], services={"main": {
        "hosts": [f"db.test:{one.port}"], "tls": {"mode": "disable"}}})
    names = Names(daemon, db="127.0.0.1")
    where = w.query("select host(inet_server_addr())")
    with daemon.endpoint().wire() as client:
        assert w.rows(client.ask(where)) == [["127.0.0.1"]]
        names.write(db="127.0.0.2")
        assert w.rows(client.ask(where)) == [["127.0.0.1"]]
        one.stop()
        took = seconds(lambda: client.ask(where))
        print(f"followed in {took * 1000:.0f} ms")
        assert w.rows(client.ask(where)) == [["127.0.0.2"]]
        assert took < 2 * STRETCH
        assert [row["addr"] for row in daemon.console("SHOW BACKENDS")] == [f"127.0.0.2:{one.port}"]
    assert two.backends()


@named
def test_a_name_that_is_unknown_at_first_is_asked_for_again(trunkline, postgres):
    daemon = trunkline(start=False, services={"main": {
        "hosts": [f"db.test:{postgres.port}"], "tls": {"mode": "disable"}}})
    names = Names(daemon)
    done = []
    waiter = threading.Thread(target=lambda: done.append(daemon.endpoint().one("select 1")))
    waiter.start()
    daemon.logged("service.unresolved")
    names.write(db="127.0.0.1")
    waiter.join()
    assert done == [1]


@named
def test_of_a_name_with_two_addresses_only_the_primary_is_used(trunkline, template):
    port = free_port()
    pair = Pair(template, port, listen_addresses="127.0.0.2")
    daemon = trunkline(start=False, routes=[route(pool_size=3)], services={"main": {
        "hosts": [f"db.test:{port}"], "tls": {"mode": "disable"}}})
    Names(daemon, db="127.0.0.2 127.0.0.1")
    clients = [daemon.connect() for _ in range(3)]
    for client in clients:
        client.execute("begin")
        assert client.execute(RECOVERY).fetchone() == (False,)
    for client in clients:
        client.close()
    pair.remove()
