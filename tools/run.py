#!/usr/bin/env python3
"""The first hour: a private PostgreSQL with a small demo database, and the pooler in front of it.

Everything lives in ./var: trunkline.yaml, users.txt, the cluster (postgres/) and its log.  As root
the cluster runs as the user postgres; where that user can't reach ./var (a checkout under root's
own home), or where the path is too long for a Unix socket, ./var/postgres is a link to a folder
under /var/tmp that belongs to that user, and `./dev clean` removes both.  What was started here
ends with it: by Ctrl-C, by SIGTERM, when one of the two programs ends, and even by SIGKILL.
TRUNKLINE_VAR and TRUNKLINE_BINARY name another folder and another program, for its test.
"""
import argparse
import contextlib
import fcntl
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

TOP = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("TRUNKLINE_VAR", TOP / "var"))
DATA = VAR / "postgres"
BINARY = Path(os.environ.get("TRUNKLINE_BINARY", TOP / "build" / "trunkline"))
ROOT = os.geteuid() == 0
OWNER = "postgres" if ROOT else getpass.getuser()
SOCKET_PATH_MAX = 107 - len("/.s.PGSQL.65535")
ELSEWHERE = "trunkline-demo-"

SHOP = """
create table customer (id int primary key generated always as identity, name text not null,
                       city text not null);
create table purchase (id int primary key generated always as identity,
                       customer int not null references customer, thing text not null,
                       price numeric(8, 2) not null, at timestamptz not null);
insert into customer (name, city)
    select 'customer ' || n, (array['Berlin', 'Lagos', 'Lima', 'Osaka', 'Oslo'])[1 + n % 5]
      from generate_series(1, 200) n;
insert into purchase (customer, thing, price, at)
    select 1 + n % 200, (array['book', 'lamp', 'bread', 'rope', 'map'])[1 + n * 7 % 5],
           1 + n % 90, timestamptz '2026-01-01' + n * interval '1 hour'
      from generate_series(1, 2000) n;
create view turnover as
    select city, count(*) as purchases, sum(price) as total
      from purchase join customer on customer.id = purchase.customer group by city;
"""


def say(text):
    print(text, file=sys.stderr, flush=True)


def die(text):
    sys.exit(f"dev run: {text}")


def as_owner(death="KILL"):
    """The words in front of a command of PostgreSQL: its user, and its end with ours."""
    words = ["setpriv", f"--pdeathsig={death}"]
    return words + ([f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups"] if ROOT else [])


def postgres_binaries():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"),
                   key=lambda path: float(path.parts[-3]))
    path = found[-1] if found else shutil.which("postgres")
    if not path:
        die("PostgreSQL is not installed")
    return Path(path).parent


def free_port(first):
    """The first port from this one on that nobody has."""
    for port in range(first, first + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    die(f"no free port between {first} and {first + 199}")


def wait_until(condition, program, name, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if program.poll() is not None:
            die(f"{name} ended with {program.returncode}")
        if time.monotonic() > end:
            die(f"{name} is not ready after {seconds} s")
        time.sleep(0.01)


# --- the private cluster ------------------------------------------------------------------------


class Cluster:
    def __init__(self):
        self.bin = postgres_binaries()
        self.port = free_port(15432)
        self.program = None

    def start(self):
        if not (DATA / "PG_VERSION").exists():
            self.create()
        self.folder = DATA.resolve()
        options = {"listen_addresses": "127.0.0.1", "port": self.port,
                   "unix_socket_directories": self.folder, "fsync": "off",
                   "max_connections": 100, "log_line_prefix": "%m [%p] %u@%d "}
        command = as_owner("INT") + [self.bin / "postgres", "-D", self.folder]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with open(VAR / "postgres.log", "ab") as log:
            self.program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True, cwd="/")
        wait_until(self.ready, self.program, "PostgreSQL (see var/postgres.log)")
        if not (VAR / "filled").exists():
            self.fill()

    def ready(self):
        return (self.folder / f".s.PGSQL.{self.port}").exists() and subprocess.run(
            [self.bin / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port)],
            stdin=subprocess.DEVNULL).returncode == 0

    def create(self):
        say("making a private PostgreSQL cluster in ./var/postgres")
        (VAR / "filled").unlink(missing_ok=True)
        remove_data()
        folder = self.place()
        half = folder / "half"
        command = as_owner() + [self.bin / "initdb", "-D", half, "-U", "postgres", "-E", "UTF8",
                                "--locale=C.UTF-8", "--auth-local=trust", "--no-sync",
                                "--auth-host=scram-sha-256"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
        for item in half.iterdir():
            if item.name != "PG_VERSION":
                item.rename(folder / item.name)
        (half / "PG_VERSION").rename(folder / "PG_VERSION")
        half.rmdir()

    def place(self):
        """An empty folder for the data that its owner can reach: ./var/postgres, or its target."""
        DATA.mkdir(mode=0o700)
        if ROOT:
            account = pwd.getpwnam(OWNER)
            os.chown(DATA, account.pw_uid, account.pw_gid)
        reached = subprocess.run(as_owner() + ["test", "-w", DATA], cwd="/").returncode == 0
        if reached and len(str(DATA)) <= SOCKET_PATH_MAX:
            return DATA
        DATA.rmdir()
        folder = Path(tempfile.mkdtemp(prefix=ELSEWHERE, dir="/var/tmp"))
        if ROOT:
            os.chown(folder, account.pw_uid, account.pw_gid)
        DATA.symlink_to(folder)
        say(f"its user can't use ./var: the data is in {folder}")
        return folder

    def fill(self):
        say("filling the demo database")
        self.psql("postgres", "postgres", "drop database if exists demo; drop role if exists demo; "
                  "create role demo login password 'demo'; create database demo owner demo;")
        self.psql("demo", "demo", SHOP)
        subprocess.run([self.bin / "pgbench", "-i", "-q", "-s", "1", "-h", self.folder, "-p",
                        str(self.port), "-U", "demo", "demo"], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        (VAR / "filled").touch()

    def psql(self, user, database, script):
        """Over the socket, which only its owner and root can reach."""
        command = [self.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p",
                   str(self.port), "-U", user, "-d", database]
        for statement in script.split(";"):
            if statement.strip():
                subprocess.run(command + ["-c", statement], check=True, stdin=subprocess.DEVNULL,
                               env=dict(os.environ, PGOPTIONS="-c client_min_messages=warning"))


def remove_data():
    """Takes away the cluster, wherever its data is."""
    if DATA.is_symlink():
        target = DATA.resolve()
        if target.parent == Path("/var/tmp") and target.name.startswith(ELSEWHERE):
            shutil.rmtree(target, ignore_errors=True)
        DATA.unlink()
    elif DATA.exists():
        shutil.rmtree(DATA)


# --- the pooler ---------------------------------------------------------------------------------


class Target:
    """A server and how to come in."""

    def __init__(self, host, port, database, user, password):
        self.host, self.port = host, port
        self.database, self.user, self.password = database, user, password

    @classmethod
    def named(cls, text):
        """host:port, or a URI; what neither says comes from PostgreSQL's environment variables."""
        parts = urlsplit(text if "://" in text else f"//{text}")
        user = unquote(parts.username or os.environ.get("PGUSER", getpass.getuser()))
        password = parts.password if parts.password is not None else os.environ.get("PGPASSWORD")
        database = unquote(parts.path.lstrip("/")) or os.environ.get("PGDATABASE", user)
        return cls(parts.hostname or "127.0.0.1", parts.port or 5432, database, user,
                   None if password is None else unquote(password))

    def uri(self, port):
        secret = "" if self.password is None else f":{quote(self.password, safe='')}"
        return (f"postgresql://{quote(self.user, safe='')}{secret}@127.0.0.1:{port}/"
                f"{quote(self.database, safe='')}")


def word(text):
    """A YAML scalar that is only ever a text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_files(target, port):
    host = f"[{target.host}]" if ":" in target.host else target.host
    auth = "trust" if target.password is None else "scram-sha-256"
    (VAR / "trunkline.yaml").write_text(f"""\
# Written by ./dev run each time it starts; copy it to experiment:
#   build/trunkline run my.yaml
listen:
  - {{host: 127.0.0.1, port: {port}}}

services:
  main:
    hosts: [{word(f"{host}:{target.port}")}]
    tls: {{mode: prefer}}

auth_file: users.txt

routes:
  - {{database: {word(target.database)}, user: {word(target.user)}, service: main, \
pool: transaction, pool_size: 20, auth: {auth}}}
  - {{database: "*", user: "*", service: main, pool: session, pool_size: 5, auth: scram-sha-256}}

console: {{users: [admin]}}
""")
    secret = (target.password or "").replace('"', '""')
    users = VAR / "users.txt"
    users.touch(mode=0o600)
    users.write_text(f'"{target.user}" "{secret}"\n"admin" "admin"\n' if target.user != "admin"
                     else f'"admin" "{secret}"\n')


def start_pooler(port):
    program = subprocess.Popen(["setpriv", "--pdeathsig=TERM", BINARY, "run", VAR / "trunkline.yaml"],
                               stdin=subprocess.DEVNULL, start_new_session=True)

    def listening():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listening, program, "the pooler")
    return program


def invite(target, port, private):
    admin = Target("127.0.0.1", port, "trunkline", "admin",
                   target.password if target.user == "admin" else "admin")
    script = "-S" if private else "-f <(echo 'select 1;')"
    lines = [("psql through the pool", f"psql '{target.uri(port)}'"),
             ("psql to the console", f"psql '{admin.uri(port)}' -c 'show pools'"),
             ("pgbench through the pool",
              f"pgbench -n {script} -M prepared -c 16 -j 2 -T 10 '{target.uri(port)}'")]
    print("\nTrunkline is ready; paste a line into another terminal (Ctrl-C here stops everything):")
    for name, line in lines:
        print(f"\n  # {name}\n  {line}")
    print(flush=True)


# --- life ---------------------------------------------------------------------------------------


class Stop(Exception):
    pass


def on_signal(number, _):
    raise Stop(signal.Signals(number).name)


def end(program, number, seconds):
    """Asks a program to end; insists after a while."""
    if program is None or program.poll() is not None:
        return
    program.send_signal(number)
    try:
        program.wait(seconds)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def watch(programs):
    """Returns when one of them has ended."""
    ended = threading.Event()
    for program in programs:
        threading.Thread(target=lambda p=program: (p.wait(), ended.set()), daemon=True).start()
    while not ended.wait(3600):
        pass


def alone():
    """One run per checkout: two would share files."""
    VAR.mkdir(exist_ok=True)
    lock = open(VAR / "lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        die("another ./dev run of this checkout is running")
    return lock


def run(server):
    lock = alone()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    cluster = pooler = None
    code = 0
    try:
        if server:
            target = Target.named(server)
        else:
            cluster = Cluster()
            cluster.start()
            target = Target("127.0.0.1", cluster.port, "demo", "demo", "demo")
        port = free_port(6432)
        if port != 6432:
            say(f"port 6432 is busy: using {port}")
        write_files(target, port)
        pooler = start_pooler(port)
        invite(target, port, cluster is not None)
        watch([pooler] + ([cluster.program] if cluster else []))
        if pooler.poll() is not None:
            say(f"the pooler ended with {pooler.returncode}")
            code = 1
        else:
            say("PostgreSQL ended; see var/postgres.log")
            code = 1
    except Stop as stop:
        say(f"\n{stop}: stopping")
    finally:
        # A second Ctrl-C means: at once.
        try:
            end(pooler, signal.SIGTERM, 40)
        except Stop:
            end(pooler, signal.SIGTERM, 2)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        end(cluster.program if cluster else None, signal.SIGINT, 20)
        lock.close()
    return code


def clean():
    lock = alone()
    remove_data()
    lock.close()
    for folder in (VAR, TOP / "build"):
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def main():
    parser = argparse.ArgumentParser(prog="./dev run", description=__doc__.splitlines()[0])
    parser.add_argument("--server", metavar="ADDRESS", default=os.environ.get("TRUNKLINE_SERVER"),
                        help="host:port or postgresql://user:password@host:port/database")
    parser.add_argument("--clean", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    return clean() if words.clean else run(words.server)


if __name__ == "__main__":
    sys.exit(main())
