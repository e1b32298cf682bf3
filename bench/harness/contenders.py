"""What is compared: nothing in between, PgBouncer, HAProxy as a TCP relay, Trunkline."""

import base64
import hashlib
import hmac
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import system

POOL = 16
CLIENTS_MOST = 11000
USER, DATABASE, PASSWORD = "bench", "bench", "only-for-the-bench"


@dataclass(frozen=True)
class Variant:
    """How a contender is set up; equal variants share one running instance."""

    backend: str = "instant"  # or "postgres"
    auth: str = "trust"  # or "scram"
    tls: bool = False
    pinned: bool = True
    feature: str = ""  # of FEATURES, Trunkline only


# What is off by default, switched on alone: lines of the file, and settings of the route.
FEATURES = {
    "statements": ("statements_limit: 1000\n", ""),
    "firewall": ("", ", firewall: {mode: enforce, without_where: no, multi_statement: no,"
                     " deny: [{name: no-ddl, verbs: [create, alter, drop]}]}"),
    "audit": ("", ", audit: shape"),
    "cache": ("", ', cache: [{match: {text: "*no such text*"}, mode: ttl, ttl: 1s}]'),
}


@dataclass
class Instance:
    port: int
    process: subprocess.Popen = None
    folder: Path = None
    login: list = field(default_factory=list)  # options for the load generator

    @property
    def pids(self):
        return system.tree(self.process.pid) if self.process else []

    def stop(self):
        if self.process:
            system.stop(self.process)


def scram_verifier(password, salt=b"bench-salt-bench", iterations=4096):
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    text = [base64.b64encode(x).decode() for x in (salt, hashlib.sha256(client).digest(), server)]
    return f"SCRAM-SHA-256${iterations}:{text[0]}${text[1]}:{text[2]}"


class Contender:
    """Knows how to write a configuration and to start; one subclass per program."""

    name = label = ""
    pools = True  # has a pool, can log in by SCRAM and speak TLS to clients
    remaps = False  # named statements work in a transaction pool
    user = None

    def __init__(self, bench):
        self.bench = bench
        self.configurations = {}

    def missing(self):
        return None

    def files(self, variant, port):
        """{file name: text}; the first one is the configuration that is printed."""
        raise NotImplementedError

    def command(self, path):
        raise NotImplementedError

    def start(self, variant, wrapper=()):
        port = system.free_port()
        folder = self.bench.folder / f"{self.name}-{port}"
        folder.mkdir()
        os.chmod(folder, 0o777)
        texts = self.files(variant, port)
        for name, text in texts.items():
            (folder / name).write_text(text)
        configuration = next(iter(texts))
        if variant not in self.configurations:
            self.configurations[variant] = texts[configuration]
        command = [*wrapper, *self.command(folder / configuration)]
        cpus = system.PROXY_CPU if variant.pinned else system.ALL_CPUS
        log = folder / "log"
        process = system.start(command, cpus, user=self.user, log=log, cwd=folder)
        self.bench.started.append(process)
        login = ["--password", PASSWORD] if variant.auth == "scram" else []
        login += ["--tls"] if variant.tls else []
        instance = Instance(port, process, folder, login)
        self.wait_ready(instance, log, 60 if wrapper else 10)
        return instance

    def wait_ready(self, instance, log, patience):
        end = time.monotonic() + patience
        while True:
            ended = instance.process.poll() is not None
            complaint = "it has ended" if ended else self.bench.complaint(instance)
            if complaint is None:
                return
            if ended or time.monotonic() > end:
                instance.stop()
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
                raise RuntimeError(f"{self.label} does not answer ({complaint})\n{tail}")
            time.sleep(0.05)

    def backend_port(self, variant):
        return self.bench.backend_port(variant.backend)


class Direct(Contender):
    name, label = "direct", "direct"
    pools, remaps = False, True

    def start(self, variant, wrapper=()):
        return Instance(self.backend_port(variant))


class PgBouncer(Contender):
    name, label = "pgbouncer", "PgBouncer"
    user = "nobody"

    def files(self, variant, port):
        certificate, key = self.bench.certificate
        tls = ""
        if variant.tls:
            tls = (
                "client_tls_sslmode = require\n"
                f"client_tls_cert_file = {certificate}\nclient_tls_key_file = {key}\n"
            )
        auth = "scram-sha-256" if variant.auth == "scram" else "trust"
        return {
            "pgbouncer.ini": f"""[databases]
* = host=127.0.0.1 port={self.backend_port(variant)}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
listen_backlog = 4096
unix_socket_dir =
auth_type = {auth}
auth_file = users.txt
pool_mode = transaction
default_pool_size = {POOL}
max_client_conn = {CLIENTS_MOST}
server_tls_sslmode = disable
log_connections = 0
log_disconnections = 0
log_stats = 0
{tls}""",
            "users.txt": f'"{USER}" "{scram_verifier(PASSWORD)}"\n',
        }

    def command(self, path):
        return [system.program("pgbouncer"), "-q", str(path)]


class HAProxy(Contender):
    name, label = "haproxy", "HAProxy TCP"
    pools, remaps = False, True

    def files(self, variant, port):
        return {
            "haproxy.cfg": f"""global
    nbthread 1
    maxconn {self.clients_most()}
defaults
    mode tcp
    backlog 4096
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend clients
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    server one 127.0.0.1:{self.backend_port(variant)}
"""
        }

    @staticmethod
    def clients_most():
        """Two descriptors per client have to fit under the limit."""
        return min(CLIENTS_MOST, (system.FILES_MOST - 100) // 2)

    def command(self, path):
        return [system.program("haproxy"), "-db", "-q", "-f", str(path)]


class Trunkline(Contender):
    remaps = True

    def __init__(self, bench, relays):
        super().__init__(bench)
        self.relays = relays
        self.binary = bench.trunkline
        self.name = f"trunkline{relays}"
        self.label = "Trunkline" if relays == 1 else f"Trunkline, {relays} relays"

    def missing(self):
        return None if os.access(self.binary, os.X_OK) else f"{self.binary} is not there"

    def files(self, variant, port):
        certificate, key = self.bench.certificate
        tls = ""
        if variant.tls:
            tls = f"\n    tls: {{mode: require, cert: {certificate}, key: {key}}}"
        auth = "scram-sha-256" if variant.auth == "scram" else "trust"
        lines, settings = FEATURES.get(variant.feature, ("", ""))
        targets = ""
        if variant.feature == "audit":
            targets = ", targets: [{to: stderr}, {to: file, path: /dev/null, format: json, events: audit}]"
        return {
            "trunkline.yaml": f"""listen:
  - host: 127.0.0.1
    port: {port}
    backlog: 4096{tls}
relays: {self.relays}
clients: {CLIENTS_MOST}
log: {{connections: false, disconnections: false{targets}}}
{lines}services:
  main:
    hosts: ["127.0.0.1:{self.backend_port(variant)}"]
    tls: {{mode: disable}}
auth_file: users.txt
routes:
  - {{database: "*", user: "*", service: main, pool: transaction, pool_size: {POOL}, auth: {auth}{settings}}}
""",
            "users.txt": f'"{USER}" "{scram_verifier(PASSWORD)}"\n',
        }

    def command(self, path):
        return [str(self.binary), "run", str(path)]


class Before(Trunkline):
    """Another build of Trunkline, with one relay: what it cost before a change."""

    def __init__(self, bench, binary):
        super().__init__(bench, 1)
        self.binary = Path(binary).resolve()
        self.name, self.label = "before", "Trunkline before"


class Instant:
    """The backend that answers at once, on the load's processor or anywhere."""

    def __init__(self, bench, cpus):
        self.process = system.start(
            [str(bench.tool("instant"))], cpus, stdout=subprocess.PIPE, text=True
        )
        bench.started.append(self.process)
        self.port = int(self.process.stdout.readline().split()[1])


class Cluster:
    """A private PostgreSQL, run as `postgres` when we are root; removed with the folder."""

    def __init__(self, bench, binaries=Path("/usr/lib/postgresql/15/bin")):
        self.port = system.free_port()
        folder = bench.folder / "postgres"
        folder.mkdir()
        os.chmod(folder, 0o777)
        data = folder / "data"
        run = dict(user="postgres", log=folder / "initdb.log", cwd=folder)
        command = [str(binaries / "initdb"), "-D", str(data), "-U", USER, "-A", "trust"]
        initdb = system.start([*command, "-N", "-E", "UTF8"], **run)
        if initdb.wait() != 0:
            raise RuntimeError((folder / "initdb.log").read_text())
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "128MB",
            "fsync": "off",
            "autovacuum": "off",
            "jit": "off",
        }
        self.settings = ", ".join(f"{key} = {value}" for key, value in list(settings.items())[3:])
        command = [str(binaries / "postgres"), "-D", str(data)]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        # 127.0.0.0/8: the load generator connects from many addresses
        start = system.start(
            ["sed", "-i", "s|127.0.0.1/32|127.0.0.0/8|", str(data / "pg_hba.conf")], **run
        )
        start.wait()
        run["log"] = folder / "postgres.log"
        self.process = system.start(command, system.LOAD_CPU, **run)
        bench.started.append(self.process)
        self.binaries = binaries
        end = time.monotonic() + 20
        while not self.sql(f"CREATE DATABASE {DATABASE}", "postgres"):
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError((folder / "postgres.log").read_text())
            time.sleep(0.1)
        command = [str(binaries / "pgbench"), "-i", "-q", "-s", "1", *self.where(self.port)]
        subprocess.run([*command, DATABASE], check=True, capture_output=True)

    @staticmethod
    def where(port):
        return ["-h", "127.0.0.1", "-p", str(port), "-U", USER]

    def sql(self, text, database=DATABASE):
        command = [str(self.binaries / "psql"), "-qAtX", *self.where(self.port), "-c", text]
        done = subprocess.run([*command, database], capture_output=True, check=False)
        return done.returncode == 0

    def stop(self):
        system.stop(self.process, signal.SIGQUIT)
