"""Users who stand in no file are asked for at the server, by connections that nobody else has."""
import re
import threading
from pathlib import Path

import psycopg
import pytest
from support import wire as w
from support.failover import elected
from support.patience import PATIENCE, eventually
from support.trunkline import route

ASKER = """
create role looker login password 'looker';
create role newcomer login password 'newcomer';
create role staff nologin; create role lead nologin in role staff;
create function lookup_user(text) returns table(name text, secret text) language sql
  security definer set search_path = pg_catalog as
  $$ select rolname::text, rolpassword from pg_authid where rolname = $1 and rolcanlogin
     and (rolvaliduntil is null or rolvaliduntil > now()) $$;
revoke execute on function lookup_user from public;
grant execute on function lookup_user to looker;
"""
QUERY = {"user": "looker", "password": "looker", "database": "app",
         "query": "select name, secret from lookup_user($1)"}


@pytest.fixture
def users(cluster):
    own = cluster()
    own.sql(ASKER)
    return own


@pytest.fixture
def asking(trunkline, users):
    """asking(routes=..., **auth_query): a daemon that knows nobody but the console's user."""
    def make(routes=None, hba=None, **query):
        changes = {} if hba is None else {"hba_file": hba}
        return trunkline(server=users, users={"admin": "admin"}, routes=routes or [route()],
                         auth_query=dict(QUERY, **query), failed_logins={"limit": "off"}, **changes)
    return make


def refusal(endpoint):
    with pytest.raises(psycopg.OperationalError) as error:
        with endpoint.connect():
            pass
    return str(error.value)


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
def test_a_user_of_the_server_comes_in_by_its_own_secret(asking, method, mode):
    daemon = asking([route(auth=method, pool=mode)])
    for user in ("newcomer", "app", "newcomer"):
        assert daemon.endpoint(user=user).one("select current_user") == user
    if method != "scram-sha-256":
        assert daemon.endpoint(user="hashed").one("select current_user") == "hashed"
    assert "password authentication failed" in refusal(daemon.endpoint(user="newcomer", password="no"))
    assert "password authentication failed" in refusal(daemon.endpoint(user="nobody"))
    assert "password authentication failed" in refusal(daemon.endpoint(user="nobody", password="looker"))


def test_the_sql_of_the_page_about_authentication_is_all_that_is_needed(trunkline, cluster):
    page = (Path(__file__).resolve().parents[2] / "docs" / "authentication.md").read_text()
    own = cluster()
    own.sql(re.search(r"^```sql\n(.*?)^```$", page, re.S | re.M).group(1), database="postgres")
    query = re.search(r"^  query: (.*lookup_user.*)$", page, re.M).group(1)
    daemon = trunkline(server=own, users={"admin": "admin"}, auth_query={
        "user": "lookup", "password": "as in lookup.password", "query": query})
    assert daemon.endpoint(user="app").one("select current_user") == "app"
    assert "password authentication failed" in refusal(daemon.endpoint(user="nobody"))


def test_the_default_query_asks_the_catalog_and_honours_valid_until(trunkline, users):
    daemon = trunkline(server=users, users={"admin": "admin"}, relays=1,
                       auth_query={"user": "postgres", "refresh": "off"},
                       services={"main": {"hosts": [f"{users.folder}:{users.port}"]}})
    assert daemon.endpoint(user="newcomer").one("select 1") == 1
    users.sql("alter role newcomer valid until '2001-01-01'")
    assert "password authentication failed" in refusal(daemon.endpoint(user="newcomer"))
    users.sql("alter role newcomer valid until 'infinity'")
    assert daemon.endpoint(user="newcomer").one("select 1") == 1
    assert "password authentication failed" in refusal(daemon.endpoint(user="staff"))


def test_a_client_cannot_change_auth_query(asking, users):
    """Not by its search_path, not by its name, and not from the asker's own pool."""
    users.sql("create schema evil authorization app; grant usage on schema evil to public;"
              "create function evil.lookup_user(text) returns table(name text, secret text) "
              "language sql as $$ select $1, 'owned'::text $$")
    daemon = asking([route(database="app"), route()])
    for options in ("-c search_path=evil", "-c role=app"):
        assert "password authentication failed" in refusal(
            daemon.endpoint(user="nobody", password="owned", options=options))
    with daemon.endpoint(user="looker").connect() as session:
        session.execute("set search_path = evil")
        assert daemon.endpoint(user="newcomer").one("select 1") == 1
    for name in ("x' or '1'='1", "newcomer' --", "$1", "*"):
        assert "password authentication failed" in refusal(daemon.endpoint(user=name, password="x"))
    settings = users.sql("select count(*) from pg_stat_activity where usename = 'looker' and "
                         "application_name <> ''")
    assert settings == [(0,)]


def test_an_auth_query_row_of_another_user_is_refused(asking):
    daemon = asking(query="select 'looker'::text, 'secret'::text where $1::text is not null")
    assert "password authentication failed" in refusal(daemon.endpoint(user="nobody", password="secret"))
    daemon = asking(query="select 'secret'::text where $1::text <> 'nobody'")
    assert "password authentication failed" in refusal(daemon.endpoint(user="nobody", password="secret"))


def test_answers_are_kept_for_a_time_and_doubted_after_a_failure(asking, users):
    daemon = asking(refresh="1h")
    assert daemon.endpoint(user="newcomer").one("select 1") == 1
    mark = users.mark()
    for _ in range(6):
        assert daemon.endpoint(user="newcomer").one("select 1") == 1
    asked = users.statements(mark, user="looker")
    assert len(asked) <= 1  # the other relay's
    users.sql("alter role newcomer password 'changed'")

    def known():
        try:
            return daemon.endpoint(user="newcomer", password="changed").one("select 1") == 1
        except psycopg.OperationalError:
            return False

    eventually(known)


def test_a_changed_password_counts_at_once_where_nothing_is_kept(asking, users):
    daemon = asking(refresh="off")
    assert daemon.endpoint(user="newcomer").one("select 1") == 1
    users.sql("alter role newcomer password 'changed'")
    assert daemon.endpoint(user="newcomer", password="changed").one("select 1") == 1
    assert "password authentication failed" in refusal(daemon.endpoint(user="newcomer"))


def test_a_question_that_fails_is_told_in_the_log_and_not_to_the_client(asking):
    daemon = asking(query="select no_such_function($1)")
    assert "auth_query failed" in refusal(daemon.endpoint(user="newcomer"))
    daemon.logged("auth.query_failed.*no_such_function")
    daemon = asking(password="wrong")
    assert "auth_query failed" in refusal(daemon.endpoint(user="newcomer"))


def test_a_server_that_comes_back_is_asked_again(asking, users):
    daemon = asking(refresh="off")
    assert daemon.endpoint(user="newcomer").one("select 1") == 1
    users.restart()
    assert daemon.endpoint(user="newcomer").one("select 1") == 1


def test_many_logins_share_the_connections_of_auth_query(asking, users):
    daemon = asking(pool_size=2)
    wires = []
    for _ in range(40):
        wire = daemon.endpoint().wire(login=False)
        wire.send(w.startup_packet(user="newcomer", database="app"))
        wires.append(wire)
    for wire in wires:
        wire.login("newcomer", "newcomer")
        wire.__exit__()
    assert len(users.backends(user="looker")) <= 2


def test_a_reload_keeps_the_connections_and_follows_the_settings(asking, users):
    daemon = asking(refresh="off")
    assert daemon.endpoint(user="newcomer").one("select 1") == 1
    before = set(users.backends(user="looker"))
    daemon.reload()
    assert daemon.endpoint(user="newcomer").one("select 1") == 1
    assert before & set(users.backends(user="looker"))
    config = dict(daemon.config, auth_query=dict(daemon.config["auth_query"], query="select 'x'"))
    daemon.reload(config)
    assert "auth_query failed" in refusal(daemon.endpoint(user="newcomer"))
    daemon.reload({k: v for k, v in config.items() if k != "auth_query"})
    assert "password authentication failed" in refusal(daemon.endpoint(user="newcomer"))


def test_a_route_can_do_without(asking):
    daemon = asking([route(database="app", auth_query=False), route()])
    assert "password authentication failed" in refusal(daemon.endpoint(user="newcomer"))
    assert daemon.endpoint(database="session", user="newcomer").one("select 1") == 1


def test_roles_of_the_hba_file_are_asked_for_too(asking, users, tmp_path):
    users.sql("grant lead to newcomer")
    users.sql("create database staff owner app")
    lines = tmp_path / "hba.conf"
    lines.write_text("host samerole all all scram-sha-256\nhost session +staff all scram-sha-256\n")
    daemon = asking([route(auth="hba")], hba=str(lines))
    assert daemon.endpoint(database="session", user="newcomer").one("select 1") == 1
    assert daemon.endpoint(database="staff", user="newcomer").one("select 1") == 1
    assert "no line of the HBA file" in refusal(daemon.endpoint(database="session", user="reports"))


@pytest.mark.parametrize("target", ["any", "standby", "prefer-standby"])
def test_clients_of_standbys_come_in_without_a_primary(replication, trunkline, target):
    """At a service that has standbys only: none of them may answer for a primary."""
    servers = replication(replicas=2)
    servers.primary.sql(ASKER)
    servers.caught_up()
    hosts = [f"127.0.0.1:{one.port}" for one in servers.replicas]
    daemon = trunkline(
        services={"main": {"hosts": hosts, "tls": {"mode": "disable"}}}, users={"admin": "admin"},
        auth_query=dict(QUERY, timeout="3s"), failed_logins={"limit": "off"},
        routes=[route(database="standbys", server_database="app", target_session_attrs=target),
                route()])
    who = "select current_user || pg_is_in_recovery()"
    assert daemon.endpoint(database="standbys", user="newcomer").one(who) == "newcomertrue"
    assert "password authentication failed" in refusal(
        daemon.endpoint(database="standbys", user="nobody"))
    with daemon.endpoint(user="app").connect(
            options=f"-ctrunkline.target_session_attrs={target}") as client:
        assert client.execute(who).fetchone()[0] == "apptrue"
    assert "auth_query failed" in refusal(daemon.endpoint(user="staff"))  # nobody asked for it yet


def test_a_login_that_waits_for_an_old_primary_asks_the_new_one(replication, trunkline):
    """The old one does not answer: nothing of the login may wait for it once another is elected."""
    servers = replication(replicas=1)
    old, new = servers.servers
    old.sql(ASKER)
    old.sql("create function slow_user(text) returns table(name text, secret text)"
            " language plpgsql security definer as $$ begin"
            f" perform pg_sleep(3600 * (current_setting('port')::int = {old.port})::int);"
            " return query select * from lookup_user($1); end $$")
    servers.caught_up()
    asks = "select 1 from pg_stat_activity where usename = 'looker' and wait_event = 'PgSleep'"
    daemon = trunkline(
        services={"main": {"hosts": [f"127.0.0.1:{one.port}" for one in servers.servers],
                           "tls": {"mode": "disable"},
                           "probe": {"user": "app", "password": "app", "interval": "100ms"}}},
        users={"admin": "admin"}, failed_logins={"limit": "off"},
        auth_query=dict(QUERY, query="select name, secret from slow_user($1)", timeout="1h"))
    elected(daemon, old)
    came = []
    login = threading.Thread(target=lambda: came.append(
        daemon.endpoint(user="newcomer").one("select current_setting('port')::int")))
    login.start()
    eventually(lambda: old.sql(asks))
    servers.promote(new)
    login.join(PATIENCE)
    assert came == [new.port]
    assert old.sql(asks)
