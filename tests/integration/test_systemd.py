"""What systemd sees of the daemon, played by the test: notices, watchdog, sockets that are passed."""
import fcntl
import os
import re
import signal
import socket
import sys

import psycopg
import pytest
from support import wire as w
from support.patience import PATIENCE, STRETCH, eventually
from support.ports import free_port
from support.processes import Program
from support.trunkline import Trunkline, binary, configuration, route

# Becomes the daemon with the descriptors from 3 on, as systemd's child does: LISTEN_PID is known
# only after the fork.
PASSER = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid() + int(os.environ.pop("PID_OFF_BY", "0")))
os.execv(sys.argv[1], sys.argv[1:])
"""


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, name):
        self.name = str(name)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + self.name[1:] if self.name[0] == "@" else self.name)
        self.heard = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def listen(self):
        """Everything that has been said by now."""
        while True:
            try:
                text = self.socket.recv(4096, socket.MSG_DONTWAIT).decode()
            except BlockingIOError:
                return self.heard
            self.heard.append(text)

    def hears(self, word, after=0):
        """Waits for a notice with this assignment; returns it."""
        def found():
            return next((text for text in self.listen()[after:] if word in text.split("\n")), None)
        return eventually(found)


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    name = f"@trunkline-{os.getpid()}-{tmp_path.name}" if request.param == "abstract" \
        else tmp_path / "notify"
    with Manager(name) as made:
        yield made


class Managed(Trunkline):
    """A daemon with an environment and descriptors of a service manager."""

    def begin(self, environment, sockets=(), passer=False):
        def place():
            """Between fork and exec: the sockets go to 3, 4, ..."""
            first = 3 + len(sockets)  # these copies take only numbers that nothing has
            spare = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, first) for s in sockets]
            for i, number in enumerate(spare):
                os.dup2(number, 3 + i)
                os.close(number)

        command = [binary(), "run", self.file]
        if passer:
            command = [sys.executable, "-c", PASSER, *command]
        self.program = Program(command, self.log_file, cwd=self.folder, preexec_fn=place,
                               pass_fds=range(3, 3 + len(sockets)),
                               env={**os.environ, **environment})
        return self


@pytest.fixture
def managed(postgres, tmp_path):
    made = []

    def make(environment, sockets=(), **changes):
        folder = tmp_path / f"managed{len(made)}"
        folder.mkdir()
        daemon = Managed(folder, configuration(postgres, **changes))
        made.append(daemon)
        return daemon.begin(environment, sockets, passer=bool(sockets))

    yield make
    for daemon in made:
        if daemon.program.running():
            daemon.stop()


# --- notices ----------------------------------------------------------------------------------


def test_it_says_ready_when_clients_can_come_and_stopping_when_it_goes(managed, manager):
    daemon = managed({"NOTIFY_SOCKET": manager.name})
    manager.hears("READY=1")
    assert daemon.listening()
    assert daemon.endpoint().one("select 1") == 1
    assert "STOPPING=1" not in "\n".join(manager.listen())
    daemon.stop()
    manager.hears("STOPPING=1")


def test_a_start_that_fails_is_never_ready(managed, tmp_path):
    with Manager(tmp_path / "notify") as manager, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemon = managed({"NOTIFY_SOCKET": manager.name},
                         listen=[{"host": "127.0.0.1", "port": taken.getsockname()[1]}])
        assert daemon.program.wait() == 1
        assert "READY=1" not in "\n".join(manager.listen())
        assert "cannot listen on 127.0.0.1" in daemon.log()


@pytest.mark.parametrize("sound", [True, False])
def test_a_reload_is_announced_and_ends(managed, tmp_path, sound):
    """As Type=notify-reload wants it: RELOADING with the monotonic time, later READY again."""
    with Manager(tmp_path / "notify") as manager:
        daemon = managed({"NOTIFY_SOCKET": manager.name})
        manager.hears("READY=1")
        before = len(manager.listen())
        if not sound:
            daemon.write("listen: [")
        daemon.hangup()
        notice = manager.hears("RELOADING=1", before)
        microseconds = int(re.search(r"^MONOTONIC_USEC=(\d+)$", notice, re.M).group(1))
        assert abs(microseconds / 1e6 - __import__("time").monotonic()) < PATIENCE
        manager.hears("READY=1", manager.heard.index(notice))
        assert ("failed" in "\n".join(manager.heard[before:])) == (not sound)


def test_the_status_counts_clients(managed, tmp_path):
    with Manager(tmp_path / "notify") as manager:
        daemon = managed({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "40000"})
        manager.hears("READY=1")
        with daemon.connect():
            manager.hears("STATUS=Ready: 1 client")
        manager.hears("STATUS=Ready: 0 clients", len(manager.heard))


def test_a_long_shutdown_asks_for_the_time_that_it_needs(managed, tmp_path):
    with Manager(tmp_path / "notify") as manager:
        daemon = managed({"NOTIFY_SOCKET": manager.name}, shutdown_timeout="100s")
        manager.hears("READY=1")
        daemon.stop()
        said = "\n".join(manager.listen())
        assert int(re.search(r"EXTEND_TIMEOUT_USEC=(\d+)", said).group(1)) >= 100_000_000


# --- watchdog ---------------------------------------------------------------------------------


def test_the_watchdog_is_fed_while_all_goes_well(managed, tmp_path):
    with Manager(tmp_path / "notify") as manager:
        managed({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": str(60_000 * STRETCH)})
        eventually(lambda: manager.listen().count("WATCHDOG=1") > 5)


def test_no_watchdog_no_food(managed, tmp_path):
    with Manager(tmp_path / "notify") as manager:
        daemon = managed({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "20000",
                          "WATCHDOG_PID": "1"})
        manager.hears("READY=1")
        with daemon.connect() as connection:
            connection.execute("select pg_sleep(0.3)")
        assert "WATCHDOG=1" not in manager.listen()


def test_one_relay_that_stands_still_starves_the_watchdog(managed, tmp_path):
    """Each thread by itself is held as a debugger would; the others go on, the food stops."""
    with Manager(tmp_path / "notify") as manager:
        daemon = managed({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "40000"}, relays=2)
        eventually(lambda: "WATCHDOG=1" in manager.listen())
        for name in ("relay0", "relay1"):
            with held(daemon.program.pid, name):
                heard = silence(manager)
                assert heard == len(manager.listen())
            manager.hears("WATCHDOG=1", heard)


def silence(manager):
    """Waits until no notice has come for many times the period; returns how many had."""
    state = {"count": -1, "same": 0}

    def quiet():
        count = len(manager.listen())
        state["same"] = state["same"] + 1 if count == state["count"] else 0
        state["count"] = count
        return state["same"] > 40
    eventually(quiet)
    return state["count"]


class held:
    """Stops one thread of a process: PTRACE_SEIZE and PTRACE_INTERRUPT, as this process's own.

    The tracer must be the thread that releases it, so both happen here.
    """

    def __init__(self, pid, name):
        import ctypes
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                                     ctypes.c_void_p]
        tasks = f"/proc/{pid}/task"
        self.thread = next(int(t) for t in os.listdir(tasks)
                           if open(f"{tasks}/{t}/comm").read().strip() == name)

    def call(self, request):
        import ctypes
        if self.libc.ptrace(request, self.thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def __enter__(self):
        self.call(0x4206)  # SEIZE
        self.call(0x4207)  # INTERRUPT
        os.waitpid(self.thread, 0x40000000)  # __WALL
        return self

    def __exit__(self, *_):
        self.call(17)  # DETACH


# --- sockets that are passed --------------------------------------------------------------------


def tcp():
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", 0))
    made.listen(16)
    return made, made.getsockname()[1]


def test_a_listener_takes_the_socket_of_its_address(managed):
    """A client that came before the daemon ran is served, so nobody is refused in a restart."""
    given, port = tcp()
    with given, socket.create_connection(("127.0.0.1", port)) as early:
        early.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
        daemon = managed({"LISTEN_FDS": "1"}, [given],
                         listen=[{"host": "127.0.0.1", "port": port}])
        early.settimeout(PATIENCE)
        assert early.recv(1) == b"N"
        assert daemon.endpoint().one("select 1") == 1
        daemon.logged(rf"listening.*127.0.0.1:{port}.*passed=yes")
        daemon.stop()
        assert socket.socket().connect_ex(("127.0.0.1", port)) == 0  # still the manager's


def test_a_listener_takes_sockets_by_their_name(managed):
    """Its own host and port don't matter then."""
    (first, port), (second, other) = tcp(), tcp()
    with first, second:
        daemon = managed({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "sql:more"}, [first, second],
                         listen=[{"host": "127.0.0.1", "port": free_port(), "socket": "more"},
                                 {"host": "127.0.0.1", "port": free_port(), "socket": "sql"}])
        for number in (port, other):
            daemon.port = number
            eventually(daemon.listening)
            assert daemon.endpoint().one("select 1") == 1
        own = daemon.config["listen"][0]["port"]
        assert socket.socket().connect_ex(("127.0.0.1", own)) != 0
        daemon.port = port
        daemon.reload(dict(daemon.config, relays=2))
        assert daemon.endpoint().one("select 1") == 1


def test_a_named_listener_binds_its_own_address_when_nothing_was_passed(managed):
    daemon = managed({}, listen=[{"host": "127.0.0.1", "port": free_port(), "socket": "sql"}])
    eventually(daemon.listening)
    assert daemon.endpoint().one("select 1") == 1


def test_a_unix_socket_is_taken_and_left(managed, tmp_path):
    port = free_port()
    path = tmp_path / f".s.PGSQL.{port}"
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(path))
        given.listen(16)
        path.chmod(0o751)
        daemon = managed({"LISTEN_FDS": "1"}, [given],
                         listen=[{"host": str(tmp_path), "port": port}])
        daemon.logged(r"listening.*passed=yes")
        with psycopg.connect(host=str(tmp_path), port=port, dbname="app", user="app",
                             password="app") as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        assert path.stat().st_mode & 0o777 == 0o751
        daemon.stop()
        assert path.exists()


def test_a_socket_of_both_families_serves_the_wildcard(managed):
    with socket.socket(socket.AF_INET6) as given:
        given.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        given.bind(("::", 0))
        given.listen(16)
        port = given.getsockname()[1]
        daemon = managed({"LISTEN_FDS": "1"}, [given], listen=[{"host": "*", "port": port}])
        daemon.logged(r"listening.*passed=yes")
        assert daemon.endpoint().one("select 1") == 1


def test_an_unused_socket_is_logged_and_closed(managed):
    given, port = tcp()
    with given:
        daemon = managed({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "stray"}, [given])
        line = daemon.logged(rf"listener.not_wanted.*").group()
        assert "stray" in line and str(port) in line
    assert socket.socket().connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("count", [64, 65])
def test_so_many_sockets_are_taken_and_the_rest_is_left_alone(managed, count):
    """The last one is served, or nobody's: the daemon keeps its descriptor and does not touch it."""
    given = [tcp() for _ in range(count)]
    names = ":".join(f"s{i}" for i in range(count))
    own = free_port()
    daemon = managed({"LISTEN_FDS": str(count), "LISTEN_FDNAMES": names},
                     [one for one, _ in given],
                     listen=[{"host": "127.0.0.1", "port": given[0][1]},
                             {"host": "127.0.0.1", "port": own, "socket": f"s{count - 1}"}])
    daemon.logged(" ready")
    assert len(re.findall(r"listener\.not_wanted", daemon.log())) == 62 + (count == 65)
    assert daemon.endpoint().one("select 1") == 1
    taken = count == 64
    daemon.port = given[-1][1] if taken else own
    eventually(daemon.listening)
    assert daemon.endpoint().one("select 1") == 1
    assert (socket.socket().connect_ex(("127.0.0.1", own)) != 0) == taken
    assert os.path.exists(f"/proc/{daemon.program.pid}/fd/{3 + count - 1}")
    for one, _ in given:
        one.close()


def test_sockets_for_another_process_are_left_alone(managed):
    given, port = tcp()
    with given:
        daemon = managed({"LISTEN_FDS": "1", "PID_OFF_BY": "1"}, [given])
        daemon.logged("ready")
        assert "passed" not in daemon.log() and "not_wanted" not in daemon.log()


# --- signals ----------------------------------------------------------------------------------


def test_a_manager_that_does_not_listen_stops_nothing(managed, tmp_path):
    daemon = managed({"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "20000"})
    eventually(daemon.listening)
    assert daemon.endpoint().one("select 1") == 1


@pytest.mark.parametrize("busy", [False, True])
def test_sigquit_ends_it_now_and_tells_why(trunkline, busy):
    daemon = trunkline(routes=[route()], shutdown_timeout="60s")
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        if busy:
            daemon.program.send_signal(signal.SIGTERM)
            daemon.logged("shutdown.started")
        daemon.program.send_signal(signal.SIGQUIT)
        assert [m.sqlstate for m in wire.rest() if m.kind == "E"] == ["57P01"]
    assert daemon.program.wait() == 0
