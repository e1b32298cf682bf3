"""What strangers and guessers learn: nothing, and slowly."""
import base64
import os
import time

import psycopg
import pytest
from support import wire as w
from support.patience import eventually, seconds
from support.trunkline import USERS, route


def conversation(endpoint, password="wrong"):
    """Every answer to a login that fails, the user's and the database's name masked."""
    wire = endpoint.wire(login=False)
    wire.send(w.startup_packet(user=endpoint.user, database=endpoint.database))
    said = []
    try:
        wire.login(endpoint.user, password)
    except w.Refused as refusal:
        said = [refusal.fields["C"], refusal.fields["M"]]
    finally:
        wire.__exit__()
    return [text.replace(endpoint.user, "USER").replace(endpoint.database, "DATABASE") for text in said]


def challenge(endpoint):
    """Salt and iterations of the SCRAM challenge."""
    with endpoint.wire(login=False) as wire:
        wire.send(w.startup_packet(user=endpoint.user, database=endpoint.database))
        assert wire.receive().kind == "R"
        wire.send(w.Scram("x").first())
        text = wire.receive().body[4:].decode()
        words = dict(item.split("=", 1) for item in text.split(","))
        return words["s"], words["i"]


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
def test_a_database_that_does_not_exist_cannot_be_told_from_a_wrong_password(trunkline, method):
    daemon = trunkline(routes=[route(database="app", auth=method)])
    wrong = conversation(daemon.endpoint())
    assert wrong[0] == "28P01"
    assert conversation(daemon.endpoint(user="nobody")) == wrong
    assert conversation(daemon.endpoint(database="nowhere")) == wrong
    assert conversation(daemon.endpoint(database="nowhere", user="nobody")) == wrong


def test_an_authenticated_client_learns_that_its_database_is_missing(trunkline):
    daemon = trunkline(routes=[route(database="app")])
    with pytest.raises(psycopg.OperationalError, match="no route matches"):
        daemon.endpoint(database="nowhere").one("select 1")


def test_the_salt_of_a_user_is_always_the_same_whether_it_exists_or_not(trunkline, postgres):
    secret = postgres.one("select rolpassword from pg_authid where rolname = 'reports'")
    salt = base64.b64encode(os.urandom(16)).decode()
    many = f"SCRAM-SHA-256$9000:{salt}${secret.split('$')[2]}"
    daemon = trunkline(users=dict(USERS, reports=many), relays=2)
    for user in ("app", "nobody", "reports"):
        seen = {challenge(daemon.endpoint(user=user)) for _ in range(6)}
        assert len(seen) == 1
        salt, iterations = seen.pop()
        assert iterations == "9000" and len(base64.b64decode(salt)) == 16


@pytest.mark.parametrize("scram", [False, True])
def test_md5_asks_an_unknown_user_as_it_asks_the_others(trunkline, postgres, scram):
    secrets = dict(postgres.sql("select rolname, rolpassword from pg_authid where rolpassword <> ''"))
    users = {"app": secrets["app"]} if scram else {"hashed": secrets["hashed"]}
    daemon = trunkline(users=dict(users, admin="admin"), routes=[route(auth="md5")])
    for user in ("app" if scram else "hashed", "nobody"):
        with daemon.endpoint().wire(login=False) as wire:
            wire.send(w.startup_packet(user=user, database="app"))
            kind = int.from_bytes(wire.receive().body[:4], "big")
            assert kind == (10 if scram else 5)


def test_guesses_beyond_the_limit_are_answered_late_and_others_at_once(trunkline):
    daemon = trunkline(failed_logins={"limit": 3, "delay": "700ms"})
    wrong = daemon.endpoint(password="wrong")
    for _ in range(2):
        assert conversation(wrong)[0] == "28P01"
    assert seconds(lambda: conversation(wrong)) >= 0.7
    assert seconds(lambda: conversation(daemon.endpoint(user="nobody"))) >= 0.7
    assert seconds(lambda: daemon.endpoint().one("select 1")) < 5
    daemon.logged("client.failures.*from=127.0.0.1 count=3")


def test_an_address_that_fails_too_often_is_blocked_for_a_time(trunkline):
    daemon = trunkline(failed_logins={"limit": 2, "delay": "off", "block": "3s"})
    begin = time.monotonic()
    wrong = daemon.endpoint(password="wrong")
    assert conversation(wrong)[0] == "28P01"
    assert conversation(wrong)[0] == "28P01"
    with pytest.raises(psycopg.OperationalError, match="failed logins from 127.0.0.1"):
        daemon.endpoint().one("select 1")

    def welcome():
        try:
            return daemon.endpoint().one("select 1") == 1
        except psycopg.OperationalError:
            return False

    eventually(welcome)
    assert time.monotonic() - begin > 2


def test_a_changed_password_counts_after_a_reload(trunkline):
    daemon = trunkline(routes=[route(server_user="app", server_password="app")])
    assert daemon.endpoint().one("select 1") == 1
    daemon.write(daemon.config, users=dict(USERS, app="other"))
    daemon.console("RELOAD")
    with pytest.raises(psycopg.OperationalError):
        daemon.endpoint().one("select 1")
    assert daemon.endpoint(password="other").one("select 1") == 1


def derivations(daemon):
    return daemon.console("SHOW RELAYS")[0]["derivations"]


def asked_for_proof(daemon, user, database):
    """A login that stops where it should prove something."""
    client = daemon.endpoint().wire(login=False)
    client.send(w.startup_packet(user=user, database=database))
    assert client.receive().kind == "R"
    return client


def test_a_plain_secret_is_derived_once_for_unauthenticated_clients(trunkline):
    """On the console, where there is no such database, and in pools of any name."""
    daemon = trunkline(relays=1)
    before = derivations(daemon)
    assert before == 1  # its own login
    for user, databases in ("admin", ["trunkline"]), ("app", ["app", "other", "third"]):
        clients = [asked_for_proof(daemon, user, databases[number % len(databases)])
                   for number in range(40)]
        for client in clients:
            client.__exit__()
    assert derivations(daemon) == before + 1  # of app
    daemon.console("RELOAD")
    eventually(lambda: derivations(daemon) == before + 2)  # its own again
    asked_for_proof(daemon, "app", "app").__exit__()
    assert derivations(daemon) == before + 3


def test_concurrent_logins_wait_for_one_derivation(trunkline):
    daemon = trunkline(relays=1, routes=[route(user="nobody")])  # app is a stranger
    clients = [daemon.endpoint().wire(login=False) for _ in range(60)]
    for client in clients:
        client.send(w.startup_packet(user="app", database="app"))
    for client in clients:
        assert client.receive().kind == "R"
        client.__exit__()
    assert derivations(daemon) == 2
