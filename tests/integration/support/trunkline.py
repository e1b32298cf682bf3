"""The daemon under test."""
import contextlib
import copy
import json
import os
import re
import signal
import socket
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from .endpoint import Endpoint
from .patience import PATIENCE, eventually
from .ports import free_port
from .processes import Program

TOP = Path(__file__).resolve().parents[3]

# What must never stand in the output of a daemon, whatever a test does to it.
ALARMS = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                    r"\binvariant\b.*(failed|does not hold|violated)|SUMMARY: \w+Sanitizer", re.I)

USERS = {"app": "app", "reports": "reports", "mallory": "mallory", "trusted": "trusted",
         "plain": "plain", "hashed": "hashed", "admin": "admin"}


def binary():
    named = os.environ.get("TRUNKLINE_BINARY")
    build = Path(os.environ.get("TRUNKLINE_BUILD", TOP / "build" / "debug"))
    return Path(named) if named else build / "trunkline"


def userlist(users):
    return "".join(f'"{name}" "{secret}"\n' for name, secret in users.items())


def configuration(postgres, **changes):
    """The usual configuration in front of a cluster; `changes` replace whole keys of it.

    The databases "session" and "transaction" have pools of that mode; all others share the last
    route, a transaction pool.  None takes a key out.
    """
    hosts = [f"127.0.0.1:{postgres.port}"] if postgres else ["127.0.0.1:1"]
    config = {
        "listen": [{"host": "127.0.0.1", "port": free_port()}],
        "relays": 2,
        "services": {"main": {"hosts": hosts, "tls": {"mode": "disable"}}},
        "auth_file": "users.txt",
        "routes": [
            route(database="session", pool="session"),
            route(),
        ],
        "console": {"users": ["admin"]},
        "core_dumps": True,  # so that /proc tells tests that are not root about it
    }
    config.update(copy.deepcopy(changes))
    return {key: value for key, value in config.items() if value is not None}


def route(database="*", user="*", service="main", pool="transaction", pool_size=20,
          auth="scram-sha-256", **settings):
    return dict(database=database, user=user, service=service, pool=pool, pool_size=pool_size,
                auth=auth, **settings)


class Trunkline:
    """A running daemon with its folder, configuration file and log."""

    def __init__(self, folder, config, users=None):
        self.folder = Path(folder)
        self.file = self.folder / "trunkline.yaml"
        self.users = dict(USERS if users is None else users)
        self.log_file = self.folder / "log"
        self.write(config)
        first = config["listen"][0]
        self.host, self.port = first["host"], first["port"]
        self.program = None

    def write(self, config, users=None):
        """The configuration file; JSON is YAML."""
        if users is not None:
            self.users = dict(users)
        self.config = config
        self.file.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
        users_file = self.folder / "users.txt"
        users_file.write_text(userlist(self.users))
        for path in self.file, users_file:
            path.chmod(0o600)

    # -- life

    def start(self):
        self.program = Program([binary(), "run", self.file], self.log_file, cwd=self.folder)
        eventually(lambda: all(self.listening(one["host"], one["port"])
                               for one in self.config["listen"]))
        return self

    def listening(self, host=None, port=None):
        """At this address, or at the first one."""
        self.program.must_run()
        host, port = host or self.host, port or self.port
        if host[0] in "/@":
            family, address = socket.AF_UNIX, f"{host}/.s.PGSQL.{port}".replace("@", "\0", 1)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            address = "127.0.0.1" if host in ("*", "localhost") else host, port
        with socket.socket(family) as probe:
            return probe.connect_ex(address) == 0

    def stop(self, number=signal.SIGTERM):
        """Asks it to end, and holds it to an exit code of 0 and a clean log."""
        code = self.program.end(number)
        assert code == 0, f"exit code {code}:\n{self.log()[-6000:]}"
        self.check()

    def check(self):
        alarm = ALARMS.search(self.log())
        assert not alarm, f"{alarm.group()}\n{self.log()[-12000:]}"

    def hangup(self):
        self.program.send_signal(signal.SIGHUP)

    def reload(self, config=None, **options):
        """Writes a configuration and has it read by the console's RELOAD."""
        if config is not None:
            self.write(config, **options)
        self.console("RELOAD")

    # -- endpoints

    def endpoint(self, database="app", user="app", password=None, **options):
        host = "127.0.0.1" if self.host == "*" else self.host
        return Endpoint(host, self.port, database, user, user if password is None else password,
                    **options)

    def connect(self, database="app", user="app", password=None, **options):
        return self.endpoint(database, user, password).connect(**options)

    def console(self, statement):
        """The rows of a console command, as dictionaries."""
        with psycopg.connect(self.endpoint("trunkline", "admin").conninfo(), autocommit=True,
                             row_factory=dict_row, cursor_factory=psycopg.ClientCursor) as admin:
            cursor = admin.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def pool(self, database="app", user="app"):
        """The row of one pool, {} while there is none."""
        rows = [row for row in self.console("SHOW POOLS")
                if row["database"] == database and row["user"] == user]
        return rows[0] if rows else {}

    def pool_shows(self, database="app", user="app", timeout=PATIENCE, **columns):
        """Waits until the pool's row has these values."""
        def same():
            row = self.pool(database, user)
            wrong = {k: row.get(k) for k, v in columns.items() if int(row.get(k, 0)) != v}
            assert not wrong, f"{wrong}, wanted {columns}"
            return True
        return eventually(same, timeout)

    # -- what it says and costs

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def logged(self, pattern, timeout=PATIENCE):
        """Waits for a line of the log."""
        return eventually(lambda: re.search(pattern, self.log()), timeout)

    def memory(self, key="VmRSS"):
        """Bytes of resident memory."""
        status = Path(f"/proc/{self.program.pid}/status").read_text()
        return int(re.search(rf"{key}:\s+(\d+) kB", status).group(1)) * 1024

    def descriptors(self):
        """The number of open descriptors, over all tables: a thread may have its own."""
        tables = set()
        for task in Path(f"/proc/{self.program.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # the thread has just ended
                tables.add(frozenset(os.listdir(task / "fd")))
        return sum(len(table) for table in tables)

    def threads(self):
        return len(os.listdir(f"/proc/{self.program.pid}/task"))
