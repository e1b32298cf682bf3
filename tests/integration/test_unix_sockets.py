"""Unix sockets on either side."""
import os
import pwd
import shutil
import stat
import subprocess
import threading

import psycopg
import pytest
from support import wire as w
from support.patience import eventually
from support.ports import free_port
from support.postgres import OWNER, binaries, place
from support.processes import Program, as_user
from support.trunkline import binary, route


@pytest.fixture
def folder():
    """A folder with a name that is short enough for a socket's address."""
    path = place("socket")
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_clients_come_over_a_unix_socket(trunkline, folder, mode):
    daemon = trunkline(listen=[{"host": str(folder), "port": free_port()}],
                       routes=[route(pool=mode)])
    with daemon.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        rows = connection.execute("select repeat('x', 10000) from generate_series(1, 1000)")
        assert len(rows.fetchall()) == 1000
    with daemon.endpoint().wire() as wire:
        answers = wire.ask(w.parse("", "select $1::text"), w.bind(values=["y" * 300000]),
                           w.execute(), w.SYNC)
        assert len(w.rows(answers)[0][0]) == 300000


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_servers_are_reached_over_a_unix_socket(trunkline, postgres, mode):
    daemon = trunkline(services={"main": {"hosts": [f"{postgres.folder}:{postgres.port}"]}},
                       routes=[route(pool=mode)])
    with daemon.connect() as connection:
        assert connection.execute("select inet_server_addr()").fetchone() == (None,)
        big = "z" * 1_000_000
        assert connection.execute("select %s", (big,)).fetchone() == (big,)


def test_a_listener_of_each_kind_serves_at_once(trunkline, folder):
    port = free_port()
    daemon = trunkline(listen=[{"host": "127.0.0.1", "port": port},
                               {"host": str(folder), "port": port, "unix_mode": "0700"}])
    assert daemon.endpoint().one("select 1") == 1
    assert daemon.endpoint().at(host=str(folder)).one("select 2") == 2
    mode = os.stat(folder / f".s.PGSQL.{port}").st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o700


def test_the_socket_is_gone_after_the_end_and_a_left_one_is_no_hindrance(trunkline, folder):
    port = free_port()
    daemon = trunkline(listen=[{"host": str(folder), "port": port}])
    daemon.stop()
    assert not (folder / f".s.PGSQL.{port}").exists()
    daemon = trunkline(listen=[{"host": str(folder), "port": port}])
    daemon.program.process.kill()
    daemon.program.wait()
    daemon.program = None
    again = trunkline(listen=[{"host": str(folder), "port": port}])
    assert again.endpoint().one("select 1") == 1


def test_a_socket_that_another_daemon_serves_is_not_taken_from_it(trunkline, folder):
    port = free_port()
    first = trunkline(listen=[{"host": str(folder), "port": port}])
    second = trunkline(listen=[{"host": str(folder), "port": port}], start=False)
    second.program = Program([binary(), "run", second.file], second.log_file, cwd=second.folder)
    assert second.program.wait() != 0
    assert str(folder) in second.log()
    second.program = None
    assert first.endpoint().one("select 1") == 1


def test_a_cancel_works_over_a_unix_socket(trunkline, postgres, folder):
    daemon = trunkline(listen=[{"host": str(folder), "port": free_port()}])
    with daemon.connect() as connection:
        query = "select count(*) from pg_stat_activity where query = 'select pg_sleep(61)'"
        timer = threading.Thread(target=lambda: (
            eventually(lambda: postgres.one(query) == 1), connection.cancel()))
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(61)")
        timer.join()


def psql_as(name, daemon, user):
    """SHOW VERSION on the console, by a process of this user, without a password."""
    command = as_user(name) + [binaries() / "psql", "-w", "-X", "-h", daemon.host, "-p",
                               str(daemon.port), "-U", user, "-d", "trunkline", "-tAc",
                               "SHOW VERSION"]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd="/")


def test_the_console_trusts_only_a_peer_of_its_own_user(trunkline, folder):
    """The user `operator` is not in the auth file; `admin` is, and needs the password anyway."""
    daemon = trunkline(listen=[{"host": str(folder), "port": free_port()}],
                       console={"users": ["admin", "operator"]})
    own = pwd.getpwuid(os.geteuid()).pw_name
    assert psql_as(own, daemon, "operator").returncode == 0
    assert psql_as(own, daemon, "admin").returncode != 0
    assert psql_as(own, daemon, "app").returncode != 0
    if os.geteuid() == 0:
        stranger = psql_as(OWNER, daemon, "operator")
        assert stranger.returncode != 0 and "password" in stranger.stderr


@pytest.fixture
def abstract():
    """A name for a socket that is no file, which nobody else has."""
    return f"@trunkline-test-{os.getpid()}-{free_port()}"


def two_endpoints(trunkline, abstract, port):
    """Listens on the name, and on TCP, where its console is reached."""
    daemon = trunkline(listen=[{"host": abstract, "port": 6432},
                               {"host": "127.0.0.1", "port": port}], start=False)
    daemon.host, daemon.port = "127.0.0.1", port
    return daemon.start()


def test_clients_come_over_an_abstract_socket(trunkline, postgres, abstract):
    port = free_port()
    daemon = two_endpoints(trunkline, abstract, port)
    endpoint = daemon.endpoint().at(host=abstract, port=6432)
    with endpoint.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        query = "select count(*) from pg_stat_activity where query = 'select pg_sleep(62)'"
        timer = threading.Thread(target=lambda: (
            eventually(lambda: postgres.one(query) == 1), connection.cancel()))
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(62)")
        timer.join()
        shown, = daemon.console("SHOW CLIENTS WHERE database = 'app'")
        assert shown["addr"] == shown["local_addr"] == "unix"
    daemon.stop()
    again = two_endpoints(trunkline, abstract, port)
    assert again.endpoint().at(host=abstract, port=6432).one("select 2") == 2


def test_an_abstract_name_that_is_taken_is_told(trunkline, abstract):
    first = two_endpoints(trunkline, abstract, free_port())
    second = trunkline(listen=[{"host": abstract, "port": 6432}], start=False)
    second.program = Program([binary(), "run", second.file], second.log_file, cwd=second.folder)
    assert second.program.wait() != 0
    assert f"{abstract}/.s.PGSQL.6432" in second.log()
    second.program = None
    assert first.endpoint().at(host=abstract, port=6432).one("select 1") == 1


def test_servers_are_reached_over_an_abstract_socket(trunkline, abstract):
    """A pooler behind a pooler: PostgreSQL here may not listen on such a name."""
    inner = two_endpoints(trunkline, abstract, free_port())
    outer = trunkline(services={"main": {"hosts": [f"{abstract}:6432"]}})
    with outer.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert inner.pool()
    assert [row["host"] for row in outer.console("SHOW BACKENDS")] == [abstract]
