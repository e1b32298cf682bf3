"""Who may come in, and as whom the pooler goes on."""
import hashlib
import hmac
import re
from base64 import b64encode

import psycopg
import pytest
from support import wire as w
from support.patience import eventually, seconds
from support.trunkline import USERS, route


def login_error(endpoint, **startup):
    """The SQLSTATE of a login that must fail."""
    wire = endpoint.wire(login=False)
    wire.send(w.startup_packet(user=endpoint.user, database=endpoint.database, **startup))
    try:
        wire.login(endpoint.user, endpoint.password)
    except w.Refused as refusal:
        assert refusal.fields["S"] == "FATAL"
        return refusal.fields["C"]
    finally:
        wire.__exit__()
    raise AssertionError("the login was accepted")


def verifier(password, salt):
    """As it stands in an auth file."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 4096)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = [b64encode(part).decode()
             for part in (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))]
    return "SCRAM-SHA-256$4096:{}${}:{}".format(*parts)


@pytest.fixture
def secrets(postgres):
    """The verifiers that PostgreSQL itself keeps."""
    return dict(postgres.sql("select rolname, rolpassword from pg_authid where rolpassword <> ''"))


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("method", ["trust", "password", "md5", "scram-sha-256"])
@pytest.mark.parametrize("user", ["app", "plain", "hashed"])
def test_a_stored_plain_password_serves_every_method_on_both_sides(trunkline, method, user, mode):
    """The server asks app for SCRAM, plain for the password itself, and hashed for md5."""
    daemon = trunkline(routes=[route(auth=method, pool=mode)])
    assert daemon.endpoint(user=user).one("select current_user") == user


def test_trust_asks_for_nothing(trunkline):
    daemon = trunkline(routes=[route(auth="trust")])
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.startup_packet(user="app", database="app"))
        assert [m.kind for m in wire.until() if m.kind in "RKZE"] == ["R", "K", "Z"]


def test_a_wrong_password_is_refused(trunkline):
    for method in ("password", "md5", "scram-sha-256"):
        daemon = trunkline(routes=[route(auth=method)])
        assert login_error(daemon.endpoint(password="wrong")) == "28P01"
        assert login_error(daemon.endpoint(password="")) == "28P01"
        assert daemon.endpoint().one("select 1") == 1


def test_an_unknown_user_looks_like_a_wrong_password(trunkline):
    daemon = trunkline()
    known, unknown = daemon.endpoint(password="wrong"), daemon.endpoint(user="nobody", password="wrong")

    def conversation(endpoint):
        wire = endpoint.wire(login=False)
        wire.send(w.startup_packet(user=endpoint.user, database="app"))
        try:
            wire.login(endpoint.user, endpoint.password)
        except w.Refused as refusal:
            return str(refusal).replace(endpoint.user, "USER")
        finally:
            wire.__exit__()

    first, second = conversation(known), conversation(unknown)
    assert "28P01" in first and "28P01" in second
    salts = []
    for _ in range(2):
        with unknown.wire(login=False) as wire:
            wire.send(w.startup_packet(user="nobody", database="app"))
            assert wire.receive().kind == "R"
            scram = w.Scram("x")
            wire.send(scram.first())
            challenge = wire.receive().body[4:].decode()
            salts.append(dict(i.split("=", 1) for i in challenge.split(","))["s"])
    assert salts[0] == salts[1]


def test_the_console_does_not_reveal_its_users(trunkline):
    daemon = trunkline()
    heard = []
    for user in ("admin", "app", "nobody"):
        wire = daemon.endpoint("trunkline", user).wire(login=False)
        wire.send(w.startup_packet(user=user, database="trunkline"))
        with pytest.raises(w.Refused) as refused:
            wire.login(user, "wrong")
        fields = {key: value.replace(f'"{user}"', "") for key, value in
                  refused.value.fields.items() if key != "D"}
        heard.append(fields)
        wire.__exit__()
    assert heard[0]["C"] == "28P01"
    assert heard[0] == heard[1] == heard[2]
    with pytest.raises(w.Refused, match="28000"):  # it has proven that it is app
        daemon.endpoint("trunkline", "app").wire()


def test_an_unauthenticated_client_takes_no_server(trunkline):
    daemon = trunkline(routes=[route(pool_min=1)])
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.startup_packet(user="app", database="app"))
        first = wire.receive()
        assert first.kind == "R"
        for _ in range(5):
            assert daemon.console("SHOW SERVERS") == []
        wire.send(w.Scram("wrong").first())
        assert wire.receive().kind == "R"
        assert daemon.console("SHOW SERVERS") == []
    with daemon.endpoint().wire():
        assert eventually(lambda: daemon.console("SHOW SERVERS"))


def test_a_blocked_user_is_refused_before_anything_else(trunkline):
    daemon = trunkline(routes=[dict(database="app", user="mallory", auth="block"), route()])
    with daemon.endpoint(user="mallory").wire(login=False) as wire:
        wire.send(w.startup_packet(user="mallory", database="app"))
        answers = wire.rest()
        assert [m.kind for m in answers] == ["E"]
        assert answers[0].sqlstate == "28000"
    assert daemon.endpoint().one("select 1") == 1


def test_the_first_route_that_matches_counts(trunkline):
    daemon = trunkline(routes=[
        route(database="app", user="app", auth="trust"),
        dict(database="app", user="*", auth="block"),
        route()])
    assert daemon.endpoint(password="whatever").one("select 1") == 1
    assert login_error(daemon.endpoint(user="reports")) == "28000"
    assert daemon.endpoint(database="session", user="reports").one("select 1") == 1


def test_an_md5_secret_lets_in_by_md5_and_password(trunkline, secrets):
    assert secrets["hashed"].startswith("md5")
    users = dict(USERS, hashed=secrets["hashed"])
    for method in ("md5", "password"):
        daemon = trunkline(users=users, routes=[route(auth=method)])
        assert daemon.endpoint(user="hashed").one("select current_user") == "hashed"
        assert login_error(daemon.endpoint(user="hashed", password="wrong")) == "28P01"


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
def test_a_scram_secret_is_enough_for_both_sides(trunkline, secrets, method, mode):
    """No plain password is stored anywhere: the client's login yields the keys for the server's."""
    assert secrets["app"].startswith("SCRAM-SHA-256$")
    daemon = trunkline(users={"app": secrets["app"], "admin": "admin"},
                       routes=[route(auth=method, pool=mode)])
    for _ in range(3):
        assert daemon.endpoint().one("select current_user") == "app"
    assert login_error(daemon.endpoint(password="wrong")) == "28P01"


@pytest.mark.parametrize("method", ["scram-sha-256", "password"])
def test_server_password_overrides_the_clients_password(trunkline, method):
    """Their verifier has a salt of its own, so that their keys are no good at the server."""
    salted = verifier("another", b"a salt of its own")
    daemon = trunkline(users={"app": salted, "admin": "admin"},
                       routes=[route(auth=method, server_password="app")])
    for _ in range(2):
        assert daemon.endpoint(password="another").one("select current_user") == "app"


def test_keys_that_were_passed_through_survive_a_restart_of_the_server(trunkline, cluster):
    own = cluster()
    secret = own.one("select rolpassword from pg_authid where rolname = 'app'")
    daemon = trunkline(server=own, users={"app": secret, "admin": "admin"})
    with daemon.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        own.restart()
        assert connection.execute("select 2").fetchone() == (2,)


def test_the_user_towards_the_server_can_be_another(trunkline):
    daemon = trunkline(routes=[route(user="admin", server_user="reports", server_database="session",
                                     server_password="reports")])
    with daemon.connect(user="admin") as connection:
        assert connection.execute("select current_user, current_database()").fetchone() == \
            ("reports", "session")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_refusal_of_the_server_comes_with_its_own_sqlstate(trunkline, mode):
    daemon = trunkline(routes=[route(auth="trust", pool=mode, server_password="wrong")])

    def ask(endpoint):
        with endpoint.wire(login=False) as wire:
            wire.send(w.startup_packet(user=endpoint.user, database=endpoint.database))
            try:
                wire.login(endpoint.user, endpoint.password)
            except w.Refused as refusal:
                return str(refusal)
            return wire.send(w.query("select 1")).until("E")[-1].sqlstate

    endpoint = daemon.endpoint()
    assert seconds(lambda: "28P01" in ask(endpoint)) < 5
    assert "28P01" in ask(endpoint)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_database_that_the_server_does_not_have_is_told_at_once(trunkline, mode):
    daemon = trunkline(routes=[route(pool=mode)])

    def attempt():
        with pytest.raises(psycopg.Error) as error:
            with daemon.connect(database="nowhere") as connection:
                connection.execute("select 1")
        assert "nowhere" in str(error.value)

    assert seconds(attempt) < 5


def test_an_empty_database_name_means_that_of_the_user(trunkline, postgres):
    daemon = trunkline()
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.startup_packet(user="app"))
        wire.login("app", "app")
        assert w.rows(wire.ask(w.query("select current_database()"))) == [["app"]]


def test_md5_and_scram_may_not_be_answered_by_something_else(trunkline):
    daemon = trunkline()
    for garbage in (w.message("p", b"no mechanism"), w.message("p", b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
                    w.message("p", b"SCRAM-SHA-256\0\0\0\0\x05n,,n="), w.query("select 1")):
        with daemon.endpoint().wire(login=False) as wire:
            wire.send(w.startup_packet(user="app", database="app"))
            assert wire.receive().kind == "R"
            wire.send(garbage)
            errors = [m for m in wire.rest() if m.kind == "E"]
            assert errors and errors[0].sqlstate in ("08P01", "28P01", "28000")
    assert daemon.endpoint().one("select 1") == 1


def test_an_id_in_an_error_is_the_id_in_the_log(trunkline):
    daemon = trunkline(routes=[dict(database="app", user="mallory", auth="block"), route()])
    with daemon.endpoint(user="mallory").wire(login=False) as wire:
        wire.send(w.startup_packet(user="mallory", database="app"))
        fields = wire.rest()[0].fields
    words = " ".join(fields.values())
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    found = re.search(uuid, words)
    assert found, fields
    daemon.logged(found.group())
