"""A reload refreshes what servers are shown, in pools that are in use, for clients old and new."""
import copy
import hashlib
import os
import threading

import psycopg
import pytest
from support import wire as w
from support.certificate import Certificate
from support.patience import eventually
from support.trunkline import USERS, route

MODES = pytest.mark.parametrize("mode", ["session", "transaction"])


def changed(daemon, **keys):
    config = copy.deepcopy(daemon.config)
    config.update(keys)
    return config


def md5(user, password):
    return "md5" + hashlib.md5((password + user).encode()).hexdigest()


def scram(server, user):
    return server.one("select rolpassword from pg_authid where rolname = %s", user)


def fresh(server, client, user="app"):
    """The client asks something after its server was ended by somebody else."""
    for pid in server.backends("app", user):
        server.sql("select pg_terminate_backend(%s)", pid)
    eventually(lambda: server.backends("app", user) == [])

    def answered():
        try:
            return client.execute("select current_user").fetchone() == (user,)
        except psycopg.OperationalError as error:
            # the end of the server before it; nothing about passwords
            assert "password authentication failed" not in str(error)
            assert not client.closed
            return False
    return eventually(answered)


def both_work(daemon, server, old, mode, password, user="app"):
    """A new client gets a server of its own beside the old one's; the old one gets a new server."""
    if mode == "transaction":
        old.execute("begin")
        old.execute("select 1")
    with daemon.connect(user=user, password=password) as new:
        assert new.execute("select 1").fetchone() == (1,)
    if mode == "transaction":
        old.execute("commit")
        fresh(server, old, user)


@MODES
@pytest.mark.parametrize("stored", ["plain", "md5"])
def test_a_secret_of_the_auth_file_is_shown_anew(trunkline, cluster, mode, stored):
    own = cluster(password_encryption="md5", hba="local all all trust\nhost all all all md5\n")
    own.sql("alter role app password 'before'")

    def users(password):
        return dict(USERS, app=password if stored == "plain" else md5("app", password))

    daemon = trunkline(server=own, users=users("before"), routes=[route(pool=mode, auth="md5")])
    with daemon.connect(password="before") as old:
        old.execute("select 1")
        own.sql("alter role app password 'after'")
        daemon.reload(daemon.config, users=users("after"))
        both_work(daemon, own, old, mode, "after")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            daemon.connect(password="before")


def test_a_secret_changes_its_form(trunkline, cluster):
    """Plain, then SCRAM's verifier, then md5: what was of the form before is shown no more."""
    own = cluster(hba="local all all trust\nhost all all all md5\n")
    daemon = trunkline(server=own, relays=1)
    with daemon.connect() as old:
        old.execute("select 1")
        own.sql("alter role app password 'second'")
        daemon.reload(daemon.config, users=dict(USERS, app=scram(own, "app")))
        both_work(daemon, own, old, "transaction", "second")
        own.sql("set password_encryption = 'md5'; alter role app password 'third'")
        daemon.reload(changed(daemon, routes=[route(auth="md5")]),
                      users=dict(USERS, app=md5("app", "third")))
        daemon.reload(daemon.config)
        both_work(daemon, own, old, "transaction", "third")


@pytest.mark.parametrize("also", [{}, {"auth": "md5"}])
@MODES
def test_a_server_password_is_shown_anew(trunkline, cluster, mode, also):
    """With a pool that goes on, and with one whose clients finish on the route as it was."""
    own = cluster()
    rule = route(pool=mode, server_user="reports", server_password="reports")
    daemon = trunkline(server=own, routes=[rule])
    with daemon.connect() as old:
        assert old.execute("select current_user").fetchone() == ("reports",)
        own.sql("alter role reports password 'after'")
        daemon.reload(changed(daemon, routes=[dict(rule, server_password="after", **also)]))
        if also:
            daemon.logged(r"route\.obsolete")
        if mode == "transaction":
            old.execute("begin")
        with daemon.connect() as new:
            assert new.execute("select current_user").fetchone() == ("reports",)
        if mode == "transaction":
            old.execute("commit")
            fresh(own, old, "reports")
    assert bool(also) == ("route.obsolete" in daemon.log())


def test_an_obsolete_pool_is_shown_the_secrets_of_later_reloads(trunkline, cluster):
    own = cluster()
    daemon = trunkline(server=own, relays=1)
    with daemon.connect() as old:
        old.execute("select 1")
        daemon.reload(changed(daemon, routes=[route(auth="md5")]))
        daemon.logged("route.obsolete")
        for password in ("second", "third"):
            own.sql(f"alter role app password '{password}'")
            daemon.reload(daemon.config, users=dict(USERS, app=password))
            fresh(own, old)


@pytest.mark.parametrize("same", [True, False])
def test_a_password_command_is_asked_anew(trunkline, cluster, tmp_path, same):
    own = cluster()
    secret, other = tmp_path / "secret", tmp_path / "other"
    secret.write_text("reports")
    rule = route(server_user="reports", password_command=f"cat {secret}", password_lifetime="1h")
    daemon = trunkline(server=own, relays=1, routes=[rule])
    with daemon.connect() as old:
        old.execute("select 1")
        own.sql("alter role reports password 'after'")
        (secret if same else other).write_text("after")
        command = f"cat {secret if same else other}"
        daemon.reload(changed(daemon, routes=[dict(rule, password_command=command)]))
        fresh(own, old, "reports")
    assert "server.login_failed" not in daemon.log()


def test_a_failed_login_with_the_previous_password_refuses_no_client(trunkline, cluster, tmp_path):
    """A server's login is under way when the reload comes; it fails, and the next one succeeds."""
    own, gate = cluster(), tmp_path / "gate"
    os.mkfifo(gate)
    rule = route(server_user="reports", password_command=f"cat {gate}", password_lifetime="1h")
    daemon = trunkline(server=own, relays=1, routes=[rule])
    answers = []
    client = threading.Thread(
        target=lambda: answers.append(daemon.endpoint().one("select current_user")))
    client.start()
    with open(gate, "w") as hold:  # opens when the command has begun to read
        daemon.reload(changed(daemon, routes=[dict(rule, password_command="echo reports")]))
        hold.write("before")
    client.join()
    assert answers == ["reports"]
    daemon.logged("server.login_failed.*password authentication failed")


def with_certificates(cluster, certificate, authority, hba):
    own = cluster(certificate=certificate, hba="local all all trust\n" + hba)
    own._own(authority.cert, "root.crt")
    own.sql("alter system set ssl_ca_file = 'root.crt'")
    own.restart()
    return own


@pytest.mark.parametrize("also", [{}, {"auth": "md5"}])
def test_a_certificate_for_servers_is_shown_anew(trunkline, authority, certificate, cluster,
                                                 tmp_path, also):
    """In the same files; then PostgreSQL trusts another authority than before."""
    own = with_certificates(cluster, certificate, authority, "hostssl all all all cert\n")
    mine = Certificate(tmp_path, "app", authority)
    tls = {"mode": "verify-full", "ca": str(authority.cert), "cert": str(mine.cert),
           "key": str(mine.key)}
    daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{own.port}"], "tls": tls}})
    with daemon.connect() as old:
        old.execute("select 1")
        (tmp_path / "next").mkdir()
        next_authority = Certificate(tmp_path / "next", "authority")
        renewed = Certificate(tmp_path / "next", "app", next_authority)
        own._own(next_authority.cert, "root.crt")
        own.sql("select pg_reload_conf()")
        mine.cert.write_bytes(renewed.cert.read_bytes())
        mine.key.write_bytes(renewed.key.read_bytes())
        daemon.reload(changed(daemon, routes=[route(**also)]))
        both_work(daemon, own, old, "transaction", "app")
        # The same by other paths: that makes another pool, and the old client has its own.
        own._own(authority.cert, "root.crt")
        own.sql("select pg_reload_conf()")
        again = Certificate(tmp_path / "next", "app", authority)
        tls.update(cert=str(again.cert), key=str(again.key))
        daemon.reload(changed(daemon, services={
            "main": {"hosts": [f"127.0.0.1:{own.port}"], "tls": tls}}))
        both_work(daemon, own, old, "transaction", "app")


def test_an_authority_of_servers_is_read_anew(trunkline, authority, certificate, cluster, tmp_path):
    own = cluster(certificate=certificate)
    trusted = tmp_path / "ca.crt"
    trusted.write_bytes(authority.cert.read_bytes())
    daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{own.port}"],
                                          "tls": {"mode": "verify-full", "ca": str(trusted)}}})
    with daemon.connect() as old:
        old.execute("select 1")
        next_authority = Certificate(tmp_path, "authority")
        renewed = Certificate(tmp_path, "server", next_authority)
        own._own(renewed.cert, "server.crt")
        own._own(renewed.key, "server.key")
        own.sql("select pg_reload_conf()")
        trusted.write_bytes(next_authority.cert.read_bytes())
        daemon.reload(daemon.config)
        both_work(daemon, own, old, "transaction", "app")


def test_the_hba_file_judges_the_new_clients_of_a_pool_in_use(trunkline, tmp_path):
    rules = tmp_path / "hba"
    rules.write_text("host all all all scram-sha-256\n")
    daemon = trunkline(hba_file=str(rules), routes=[route(auth="hba")])
    with daemon.connect() as old:
        old.execute("select 1")
        rules.write_text("host all app all reject\nhost all all all scram-sha-256\n")
        daemon.reload(daemon.config)
        with pytest.raises(psycopg.OperationalError, match="HBA file rejects"):
            daemon.connect()
        assert old.execute("select 1").fetchone() == (1,)
        rules.write_text("host all app all trust\nhost all all all scram-sha-256\n")
        daemon.reload(daemon.config)
        assert daemon.endpoint(password="none at all").one("select 1") == 1


def test_a_proven_password_gives_way_to_newer_keys(trunkline, cluster, tmp_path):
    """Clients prove it in the clear, and after the reload by SCRAM, when it has changed."""
    own, rules = cluster(), tmp_path / "hba"
    rules.write_text("host all app all password\nhost all all all scram-sha-256\n")
    daemon = trunkline(server=own, relays=1, hba_file=str(rules), routes=[route(auth="hba")],
                       users=dict(USERS, app=scram(own, "app")))
    with daemon.connect() as old:
        old.execute("select 1")
        own.sql("alter role app password 'after'")
        rules.write_text("host all all all scram-sha-256\n")
        daemon.reload(daemon.config, users=dict(USERS, app=scram(own, "app")))
        both_work(daemon, own, old, "transaction", "after")


def test_a_login_during_a_reload_brings_its_keys(trunkline, cluster):
    """The reload changes something else: the secret that was proven is still in force."""
    own = cluster()
    daemon = trunkline(server=own, relays=1, users=dict(USERS, app=scram(own, "app")))
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.startup_packet(user="app", database="app"))
        proof = w.Scram("app")
        assert wire.receive().kind == "R"
        daemon.reload(changed(daemon, shutdown_timeout="9s"))
        wire.send(proof.first())
        wire.send(proof.last(wire.receive().body[4:]))
        wire.login("app", "app")
        row, = (answer for answer in wire.ask(w.query("select 1")) if answer.kind == "D")
        assert row.values == [b"1"]
