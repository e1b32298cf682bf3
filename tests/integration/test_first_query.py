"""The first thing that anybody does."""
import subprocess

from support import wire as w
from support.postgres import binaries
from support.trunkline import route


def test_a_query_is_answered(endpoint):
    assert endpoint.one("select 6 * 7") == 42


def test_an_error_is_answered_and_the_connection_stays(endpoint):
    with endpoint.wire() as wire:
        failed = wire.ask(w.query("select 1/0"))
        assert [m.sqlstate for m in failed if m.kind == "E"] == ["22012"]
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_an_empty_query_is_answered(endpoint):
    with endpoint.wire() as wire:
        assert w.kinds(wire.ask(w.query(""))) == "I Z"


def test_psql_shows_rows_and_its_conninfo(endpoint):
    done = subprocess.run(["psql", "-X", endpoint.conninfo(), "-Atc", "select 'row ' || 1", "-c",
                           r"\conninfo"], text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("row 1\n")
    assert f'database "{endpoint.database}" as user "app"' in done.stdout


def test_a_driver_gets_the_settings_it_reads_at_connect(endpoint):
    with endpoint.connect() as connection:
        info = connection.info
        assert info.server_version >= 150000
        assert info.parameter_status("client_encoding") == "UTF8"
        assert info.parameter_status("standard_conforming_strings") == "on"
        assert info.parameter_status("integer_datetimes") == "on"
        assert info.backend_pid > 0


def test_pg_isready_agrees(endpoint):
    done = subprocess.run([binaries() / "pg_isready", "-h", endpoint.host, "-p", str(endpoint.port)],
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_a_query_sent_ahead_of_the_logins_end_is_answered(trunkline):
    daemon = trunkline(routes=[route(auth="trust", server_password="app")])
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.startup_packet(user="app", database="app") + w.query("select 'ahead'"))
        wire.login("app", "app")
        assert [m.kind for m in wire.until()] == ["T", "D", "C", "Z"]
