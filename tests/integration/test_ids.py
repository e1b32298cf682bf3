"""Lines of the log, and errors, name the client and the server that they are about."""
import re

import psycopg
import pytest
from support import wire as w
from support.patience import eventually
from support.trunkline import route

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def backend(wire):
    return int(w.rows(wire.ask(w.query("select pg_backend_pid()")))[0][0])


def server_of(daemon, pid):
    return daemon.logged(rf"server\.connected server=({UUID}) .*server_pid={pid}\b")[1]


def client_of(daemon, wire):
    """The id of a client that has just connected, by its port."""
    port = wire.socket.getsockname()[1]
    return daemon.logged(rf"client\.connected client=({UUID}) .*from=127\.0\.0\.1:{port}\b")[1]


def gone(daemon, client):
    return daemon.logged(rf"client\.disconnected client={client} [^\n]*").group()


def test_a_client_names_its_last_server_though_others_were_served_by_it_since(trunkline):
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as first, daemon.endpoint().wire() as second:
        pid = backend(first)
        client = client_of(daemon, first)
        assert backend(second) == pid
        first.send(w.message("X"))
        assert f"server={server_of(daemon, pid)} server_pid={pid} " in gone(daemon, client)


def test_a_client_names_its_last_server_though_that_has_ended(trunkline, postgres):
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as wire:
        pid = backend(wire)
        postgres.sql(f"select pg_terminate_backend({pid})")
        daemon.logged(rf"server\.closed .*server_pid={pid}\b")
        wire.send(w.message("X"))
        assert f"server_pid={pid} " in gone(daemon, client_of(daemon, wire))


def killed(daemon, wire):
    daemon.console(f"KILL_CLIENT '{client_of(daemon, wire)}'")


# How a client that holds a server ends: by which setting, by what it sends, with which error.
ENDS = {
    "query_timeout": (dict(query_timeout="300ms"), w.query("select pg_sleep(30)"), None, "57014"),
    "idle_transaction_timeout": (dict(idle_transaction_timeout="300ms"), b"", None, "25P03"),
    "transaction_timeout": (dict(transaction_timeout="500ms"), w.query("select pg_sleep(30)"), None, "25P04"),
    "KILL_CLIENT": ({}, b"", killed, "57P01"),
    "protocol": ({}, w.message("~", b"what?"), None, "08P01"),
    "lost": ({}, b"", "cut", "08006"),
}


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("end", ENDS)
def test_an_error_that_ends_a_client_with_a_server_names_both(trunkline, postgres, proxy, mode, end):
    settings, words, deed, sqlstate = ENDS[end]
    road = proxy("127.0.0.1", postgres.port)
    daemon = trunkline(
        services={"main": {"hosts": [f"127.0.0.1:{road.port}"], "tls": {"mode": "disable"}}},
        routes=[route(pool=mode, pool_size=2, **settings)])
    with daemon.endpoint().wire() as other, daemon.endpoint().wire() as wire:
        first = backend(wire)  # another one than it will hold at its end, in a transaction pool
        with_it = server_of(daemon, first)
        if mode == "transaction":
            other.ask(w.query("begin"), w.query("select 1"))
        wire.ask(w.query("begin"))
        pid = backend(wire)
        server, client = server_of(daemon, pid), client_of(daemon, wire)
        assert (mode == "session") <= (server == with_it)
        wire.send(words)
        if deed == "cut":
            road.cut()
        elif deed is not None:
            deed(daemon, wire)
        error = [m for m in wire.rest() if m.kind == "E"][-1]
        assert (error.fields["S"], error.sqlstate) == ("FATAL", sqlstate)
        assert error.fields["D"] == f"client {client}, server {server}"
        assert f"server={server} server_pid={pid} " in gone(daemon, client)


def test_a_cancel_request_names_the_client_of_the_query(trunkline):
    daemon = trunkline()
    with daemon.endpoint().wire() as wire:
        pid = backend(wire)
        wire.send(w.query("select pg_sleep(30)"))
        eventually(lambda: daemon.pool_shows(sv_active=1))
        wire.cancel_elsewhere()
        assert [m.sqlstate for m in wire.until() if m.kind == "E"] == ["57014"]
        daemon.logged(rf"cancel\.sent client={client_of(daemon, wire)} server={server_of(daemon, pid)} server_pid={pid}\b")


def refused(daemon, **options):
    """The id of a client that is not let in."""
    before = len(re.findall(r"client\.login_failed", daemon.log()))
    with pytest.raises(psycopg.OperationalError):
        daemon.connect(**options)

    def told():
        found = re.findall(rf"client\.login_failed client=({UUID})", daemon.log())
        return found[-1] if len(found) > before else None
    return eventually(told)


def test_a_refusal_by_the_hba_file_names_the_client(trunkline, tmp_path):
    (tmp_path / "hba.conf").write_text("host all mallory all reject\n")
    daemon = trunkline(hba_file=str(tmp_path / "hba.conf"), routes=[route(auth="hba")])
    client = refused(daemon, user="mallory")
    daemon.logged(rf"hba\.refused client={client} file=")


def test_a_question_about_a_user_that_fails_names_the_client(trunkline):
    query = {"database": "app", "user": "app", "password": "app", "query": "select no_such_function($1)"}
    daemon = trunkline(auth_query=query)
    client = refused(daemon, user="newcomer")
    daemon.logged(rf"auth\.query_failed client={client} service=main user=newcomer ")


def test_a_login_at_a_server_that_fails_names_the_server(trunkline):
    daemon = trunkline(routes=[route(server_user="app", server_password="wrong")])
    refused(daemon)
    daemon.logged(rf"server\.login_failed server={UUID} database=app ")


def test_a_server_that_makes_room_is_named(trunkline):
    daemon = trunkline(servers=1, overtake_limit="100ms")
    with daemon.endpoint().wire() as one, daemon.endpoint(user="reports").wire() as two:
        pid = backend(one)
        backend(two)
        daemon.logged(rf"server\.evicted server={server_of(daemon, pid)} database=app user=app server_pid={pid}\b")
