"""Private PostgreSQL clusters: copies of one that initdb makes once, gone when the test is."""
import getpass
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from .endpoint import Endpoint
from .patience import eventually
from .ports import free_port
from .processes import Program, as_user, give_to

OWNER = "postgres" if os.geteuid() == 0 else getpass.getuser()

SETTINGS = {
    "listen_addresses": "127.0.0.1", "fsync": "off", "synchronous_commit": "off",
    "full_page_writes": "off", "autovacuum": "off", "wal_level": "minimal", "max_wal_senders": 0,
    "shared_buffers": "32MB", "max_connections": 100, "log_statement": "all",
    "log_line_prefix": "%p %u@%d ", "log_min_duration_statement": -1, "log_connections": "on",
    "log_disconnections": "on", "max_prepared_transactions": 2,
}

# Every way to log in, by the name of the user; over the socket the superuser needs no password.
HBA = """
local all postgres trust
local all all      scram-sha-256
host  all trusted  127.0.0.1/32 trust
host  all plain    127.0.0.1/32 password
host  all hashed   127.0.0.1/32 md5
host  all all      127.0.0.1/32 scram-sha-256
"""

# What every cluster holds.  "session" and "transaction" are for routes of these modes.
ROLES = """
create role app login password 'app';
create role reports login password 'reports';
create role mallory login password 'mallory';
create role trusted login;
create role plain login password 'plain';
set password_encryption = 'md5';
create role hashed login password 'hashed';
create database app owner app;
create database session owner app;
create database transaction owner app;
"""


def binaries():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    return found[-1] if found else Path(shutil.which("postgres")).parent


def place(prefix):
    """A folder of short name that the user of PostgreSQL can reach."""
    path = Path(tempfile.mkdtemp(prefix=f"trunkline-{prefix}-", dir="/tmp"))
    path.chmod(0o755)
    give_to(path, OWNER)
    return path


def make_template(folder):
    """One initdb, then the roles and databases, without ever listening."""
    data = folder / "template"
    command = as_user(OWNER) + [binaries() / "initdb", "-D", data, "-U", "postgres", "-A", "trust",
                                "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
    single = as_user(OWNER) + [binaries() / "postgres", "--single", "-j", "-D", data,
                               "-c", "fsync=off", "postgres"]
    script = "\n\n".join(ROLES.strip().splitlines()) + "\n\n"
    subprocess.run(single, check=True, input=script, text=True, cwd="/",
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return data


class Postgres:
    """One cluster.  `settings` go over SETTINGS, `hba` takes the place of HBA."""

    def __init__(self, template, certificate=None, hba=HBA, **settings):
        self.folder = place("pg")
        self.data = self.folder / "data"
        self.port = settings.pop("port", None) or free_port()
        self.log_file = self.folder / "log"
        copied = subprocess.run(as_user(OWNER) + ["cp", "-a", template, self.data], cwd="/",
                                text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert copied.returncode == 0, f"cp ended with {copied.returncode}: {copied.stdout}"
        values = dict(SETTINGS, port=self.port, unix_socket_directories=self.folder, **settings)
        if certificate is not None:
            values.update(ssl="on", ssl_cert_file=self._own(certificate.cert, "server.crt"),
                          ssl_key_file=self._own(certificate.key, "server.key"))
        self._write("postgresql.auto.conf", "".join(f"{k} = '{v}'\n" for k, v in values.items()))
        self._write("pg_hba.conf", hba)
        self.program = None
        self.start()

    def _write(self, name, content):
        path = self.data / name
        path.write_text(content)
        give_to(path, OWNER)
        path.chmod(0o600)
        return path

    def _own(self, source, name):
        return self._write(name, source.read_text())

    # -- life

    def start(self):
        self.begin()
        eventually(self.ready)

    def begin(self):
        """Starts it without waiting until it is ready."""
        command = as_user(OWNER) + [binaries() / "postgres", "-D", self.data]
        self.program = Program(command, self.log_file, cwd="/")

    def ready(self):
        self.program.must_run()
        try:
            self.sql("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, number=signal.SIGINT):
        """Fast shutdown; SIGQUIT for an immediate one."""
        self.program.end(number)

    def restart(self):
        self.stop()
        self.start()

    def remove(self):
        self.program.end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- endpoints

    def endpoint(self, database="app", user="app", password=None, **options):
        return Endpoint("127.0.0.1", self.port, database, user,
                    user if password is None else password, **options)

    def sql(self, statement, *values, database="app"):
        """As superuser over the socket: the rows, or None where there are none."""
        with psycopg.connect(host=str(self.folder), port=self.port, user="postgres",
                             dbname=database, autocommit=True, connect_timeout=5,
                             application_name="observer") as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else None

    def one(self, statement, *values, **options):
        return self.sql(statement, *values, **options)[0][0]

    def backends(self, database="app", user="app"):
        """The pids of this user's backends on a database."""
        return [row[0] for row in self.sql(
            "select pid from pg_stat_activity where datname = %s and usename = %s order by pid",
            database, user)]

    # -- log

    def log(self):
        return self.log_file.read_text(errors="replace")

    def mark(self):
        """Where the log ends now, for statements()."""
        return self.log_file.stat().st_size

    def statements(self, mark, database="app", user="app"):
        """What this user's backends were told since a mark, in order."""
        with open(self.log_file, "rb") as log:
            log.seek(mark)
            lines = log.read().decode(errors="replace").splitlines()
        found = []
        for line in lines:
            words = line.split(" ", 2)
            if len(words) == 3 and words[1] == f"{user}@{database}":
                for head in ("LOG:  statement: ", "LOG:  execute "):
                    if words[2].startswith(head):
                        found.append(words[2].removeprefix(head))
        return found

