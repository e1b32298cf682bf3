"""etcd and some servers under Patroni, all private to a test.

    cluster = Patroni(template, nodes=3)
    cluster.leader()                         # whose REST says that it is the primary
    cluster.switchover(cluster.servers[1])   # by patronictl
    cluster.leader().kill()                  # its Patroni and its PostgreSQL, as with its machine
    cluster.settled()                        # waits for one primary, and the others stream from it
"""
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .patience import PATIENCE, eventually
from .ports import free_port
from .postgres import OWNER, SETTINGS, binaries, place
from .processes import Program, as_user, give_to
from .replication import STREAMING, Member

# Patroni's least; a key that nobody renews is gone after it, and only then another server is promoted.
TTL = 20
SLOWLY = 4 * TTL + 4 * PATIENCE
DYNAMIC = {"ttl": TTL, "loop_wait": 1, "retry_timeout": 9, "maximum_lag_on_failover": 100 << 20}
HBA = ["local all postgres trust", "local replication postgres trust",
       "host all postgres 127.0.0.1/32 trust", "host replication postgres 127.0.0.1/32 trust",
       "local all all scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256"]
# Patroni has words of its own for these.
ITS_OWN = {"listen_addresses", "hot_standby", "full_page_writes"}


def missing():
    """The programs that are not here, for tests that are skipped without them."""
    return [name for name in ("patroni", "patronictl", "etcd") if not shutil.which(name)]


class Etcd:
    """One etcd, which forgets everything when it is removed."""

    def __init__(self):
        self.folder = place("etcd")
        self.port = free_port()
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.port, free_port()))
        self.program = Program(
            as_user(OWNER) + [
                shutil.which("etcd"), "--name", "only", "--data-dir", self.folder / "data",
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", f"only={peer}"],
            self.folder / "log", cwd="/")
        eventually(self.ready, timeout=SLOWLY)

    def ready(self):
        self.program.must_run()
        return status(self.port, "/health") == 200

    def remove(self):
        self.program.end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


def status(port, path, host="127.0.0.1"):
    """The status of the answer to an HTTP GET; None without an answer."""
    client = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        client.request("GET", path)
        return client.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        client.close()


class Node(Member):
    """One Patroni and its PostgreSQL.  `program` is Patroni.  All members have one REST port, each at
    an address of its own, where PostgreSQL listens too."""

    def __init__(self, name, etcd, settings, address, rest, tags):
        super().__init__(name, {})
        self.address, self.rest = address, rest
        self.config = self.folder / "patroni.yaml"
        shared = {k: v for k, v in {**SETTINGS, **STREAMING, **settings}.items() if k not in ITS_OWN}
        self.config.write_text(json.dumps({  # JSON is YAML
            "scope": "main", "name": name, "etcd3": {"host": f"127.0.0.1:{etcd.port}"},
            "restapi": {"listen": f"{address}:{self.rest}",
                        "connect_address": f"{address}:{self.rest}"},
            "tags": tags,
            "bootstrap": {"dcs": {**DYNAMIC, "postgresql": {
                "use_pg_rewind": True, "use_slots": True, "parameters": shared}}},
            "postgresql": {
                "listen": f"127.0.0.1,{address}:{self.port}", "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data), "bin_dir": str(binaries()), "use_unix_socket": True,
                "pgpass": str(self.folder / "pgpass"), "basebackup": [{"checkpoint": "fast"}],
                "authentication": {"superuser": {"username": "postgres"},
                                   "replication": {"username": "postgres"}},
                "parameters": {"unix_socket_directories": str(self.folder),
                               "logging_collector": "on", "log_directory": str(self.folder),
                               "log_filename": self.log_file.name, "log_rotation_age": 0,
                               "log_rotation_size": 0, "log_file_mode": "0644"},
                "pg_hba": HBA}}))
        give_to(self.config, OWNER)

    def begin(self):
        self.program = Program(as_user(OWNER) + [shutil.which("patroni"), self.config],
                               self.folder / "patroni.log", cwd="/")

    def start(self):
        self.begin()
        eventually(self.ready, timeout=SLOWLY)

    def is_leader(self):
        return self.running() and self.says("/primary") == 200

    def says(self, path):
        """The status of its Patroni's answer; None without one."""
        return status(self.rest, path, self.address)

    def postmaster(self):
        """Its pid; None where none runs."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            return None
        return pid if os.fsencode(self.data) in command else None  # a zombie has no command

    def processes(self):
        found = [self.program.pid] if self.running() else []
        pid = self.postmaster()
        if pid is not None:
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                found += [pid] + [int(child) for child in children]
        return found

    def remove(self):
        if self.program is not None:
            self.program.end(signal.SIGKILL)
        self._signal_all(signal.SIGKILL)
        eventually(lambda: self.postmaster() is None)
        shutil.rmtree(self.folder, ignore_errors=True)


class Patroni:
    """`tags` are a member's in Patroni, by its name; `settings` are PostgreSQL's, for all nodes."""

    def __init__(self, template, nodes=3, tags=None, **settings):
        self.servers, self.etcd, self.guard = [], Etcd(), None
        rest = free_port()
        try:
            for i, name in enumerate("abcdefgh"[:nodes]):
                self.servers.append(Node(name, self.etcd, settings, f"127.0.0.{2 + i}", rest,
                                         (tags or {}).get(name, {})))
            self.guard = self._guarded()
            first = self.servers[0]
            subprocess.run(as_user(OWNER) + ["cp", "-a", template, first.data], check=True, cwd="/")
            first.start()
            eventually(first.is_leader, timeout=SLOWLY)
            for server in self.servers[1:]:
                server.begin()
            self.settled()
        except BaseException:
            self.remove()
            raise

    def _guarded(self):
        """Patroni's PostgreSQL outlives Patroni: a shell ends it when this program is no more."""
        script = ('read -r line; for data; do pid=$(head -n 1 "$data/postmaster.pid") && '
                  'grep -q "$data" "/proc/$pid/cmdline" && kill -QUIT "$pid"; done')
        return subprocess.Popen(
            ["sh", "-c", script, "sh", *(server.data for server in self.servers)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)

    def remove(self):
        for server in self.servers:
            server.remove()
        self.etcd.remove()
        if self.guard is not None:
            self.guard.communicate()

    # -- what it is

    def leader(self):
        """The server of the one that says it is the primary; None where it is not exactly one."""
        found = [server for server in self.servers if server.is_leader()]
        return found[0] if len(found) == 1 else None

    def settled(self):
        """Waits until one is the primary, which it returns, and all others that run stream from it."""
        def condition():
            running = [server for server in self.servers if server.running()]
            leader = self.leader()
            if leader is None:
                return None
            streams = leader.sql("select application_name from pg_stat_replication"
                                 " where state = 'streaming'")
            others = {server.name for server in running if server is not leader}
            return leader if {row[0] for row in streams} == others else None
        return eventually(condition, timeout=SLOWLY)

    def caught_up(self):
        leader = self.settled()
        end = leader.written()
        for server in self.servers:
            if server is not leader and server.running():
                eventually(lambda server=server: server.replayed() >= end, timeout=SLOWLY)

    # -- orders

    def order(self, *words):
        """patronictl, begun: a Program."""
        return Program(as_user(OWNER) + [shutil.which("patronictl"), "-c", self.servers[0].config,
                                         *words], self.etcd.folder / "patronictl.log", cwd="/",
                       env={**os.environ, "LC_ALL": "C.UTF-8"})

    def switchover(self, candidate):
        """By patronictl; returns when the candidate ceased to be a standby."""
        program = self.order("switchover", "main", "--leader", self.settled().name,
                             "--candidate", candidate.name, "--force")
        _, promoted = self.promoted(candidate)
        assert program.wait(SLOWLY) == 0, program.text()
        return promoted

    @staticmethod
    def promoted(*candidates):
        """Waits until one of these standbys is none any more; returns it and the time of day."""
        def condition():
            for server in candidates:
                if not server.standby():
                    return server, time.time()
            return None
        return eventually(condition, timeout=SLOWLY, every=0.005)
