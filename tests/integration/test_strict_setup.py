"""What mode strict needs: its settings, `trunkline feed-setup`, and what SHOW FEED says."""
import contextlib
import os
import re
import signal
import subprocess

import psycopg
import pytest
from support import wire as w
from support.patience import PATIENCE, eventually
from support.postgres import Postgres
from support.strict import STRICT, service
from support.trunkline import TOP, binary, configuration, route

SQL = "select number from kept"
CLEAN = """
drop event trigger if exists trunkline_feed_ddl; drop event trigger if exists trunkline_feed_drop;
drop schema if exists trunkline cascade; drop table if exists kept;
create table kept (number int); insert into kept values (1); grant all on kept to app;
alter role trusted replication; alter role reports replication;
"""


def set_up(cluster, database="app"):
    """As the manual says: trunkline feed-setup | psql -X -v ON_ERROR_STOP=1 DATABASE"""
    made = subprocess.run([binary(), "feed-setup"], capture_output=True, check=True, timeout=PATIENCE)
    assert made.stderr == b""
    subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", database], input=made.stdout, check=True,
                   capture_output=True, timeout=PATIENCE,
                   env={**os.environ, "PGHOST": str(cluster.folder), "PGPORT": str(cluster.port),
                        "PGUSER": "postgres"})


@pytest.fixture
def cluster(logical):
    """A cluster whose database has no setup yet."""
    logical.sql(CLEAN)
    return logical


def rule(daemon):
    return daemon.console("SHOW CACHE_RULES")[0]


def feeds(daemon):
    return daemon.console("SHOW FEED")


def one_feed(daemon):
    feed, = feeds(daemon)
    return feed


def number(wire):
    return w.rows(wire.ask(w.query(SQL)))[0][0]


def until_hit(daemon, wire):
    """A strict statement finds the server for the feed; later ones are answered from memory."""
    before = rule(daemon)["hits"]
    eventually(lambda: number(wire) == "1" and rule(daemon)["hits"] > before)


def until_failed(daemon, wire, reason):
    def failed():
        assert number(wire) == "1"
        feed = one_feed(daemon)
        assert feed["state"] == "failed" and reason in feed["reason"], feed
        return True

    eventually(failed)


# --- SHOW FEED -----------------------------------------------------------------------------------

def test_a_feed_is_shown(trunkline, cluster):
    set_up(cluster)
    daemon = trunkline(server=cluster, services=service(cluster), routes=[route(cache=[STRICT])])
    shown = rule(daemon)
    assert (shown["mode"], shown["ttl_ms"], shown["bypassed"]) == ("strict", None, 0)
    assert feeds(daemon) == []
    with daemon.endpoint().wire() as wire:
        until_hit(daemon, wire)
        feed = one_feed(daemon)
        assert (feed["service"], feed["database"], feed["state"]) == ("main", "app", "streaming")
        assert feed["reason"] is None and (feed["sessions"], feed["failures"]) == (1, 0)
        assert feed["epoch"] >= 1 and feed["tickets"] >= feed["ready"] >= 1 and feed["probes"] >= 1
        cluster.sql("insert into kept values (2)", database="app")
        eventually(lambda: one_feed(daemon)["changes"] > feed["changes"])
        assert one_feed(daemon)["transactions"] > feed["transactions"]


def test_a_database_is_shown_by_its_name_at_the_server(trunkline, cluster):
    set_up(cluster)
    daemon = trunkline(server=cluster, services=service(cluster),
                       routes=[route(database="alias", server_database="app", cache=[STRICT])])
    with daemon.endpoint("alias").wire() as wire:
        until_hit(daemon, wire)
    assert one_feed(daemon)["database"] == "app"


def test_who_may_only_read_the_console_sees_feeds(trunkline, cluster):
    daemon = trunkline(server=cluster, services=service(cluster), routes=[route(cache=[STRICT])],
                       console={"users": ["admin"], "stats_users": ["reports"]})
    with psycopg.connect(daemon.endpoint("trunkline", "reports").conninfo(),
                         cursor_factory=psycopg.ClientCursor) as reader:
        assert reader.execute("SHOW FEED").fetchall() == []


@contextlib.contextmanager
def silent(cluster):
    """The primary does not answer the feed's questions."""
    pid = cluster.one("select pid from pg_stat_activity where application_name = 'trunkline probe'"
                      " and datname = 'app'")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_reload_changes_how_long_a_statement_waits(trunkline, cluster):
    """A short time is over while the primary is silent; a long one is not."""
    set_up(cluster)
    daemon = trunkline(server=cluster, services=service(cluster), routes=[route(cache=[STRICT])])

    def reload(timeout):
        daemon.reload({**daemon.config, "services": service(cluster, probe_timeout=timeout)})
        until_hit(daemon, wire)

    with daemon.endpoint().wire() as wire:
        until_hit(daemon, wire)
        reload("50ms")
        before = rule(daemon)["bypassed"]
        with silent(cluster):
            assert number(wire) == "1"
        assert rule(daemon)["bypassed"] > before
        reload("10s")
        before, asked = rule(daemon), one_feed(daemon)["tickets"]
        with silent(cluster):
            wire.send(w.query(SQL))
            eventually(lambda: one_feed(daemon)["tickets"] > asked)
        assert w.rows(wire.until())[0][0] == "1"
        after = rule(daemon)
        assert (after["hits"] - before["hits"], after["bypassed"] - before["bypassed"]) == (1, 0)


def events(daemon, name):
    return [line for line in daemon.log().splitlines() if f" {name} " in line]


def test_failures_of_a_feed_are_logged_once_for_each_reason(trunkline, cluster):
    set_up(cluster)
    cluster.sql("alter role trusted noreplication")
    daemon = trunkline(server=cluster, services=service(cluster), routes=[route(cache=[STRICT])],
                       log={"repeat_period": "off"})
    with daemon.endpoint().wire() as wire:
        until_failed(daemon, wire, "replication")
        eventually(lambda: one_feed(daemon)["failures"] > 3)
        failed, = events(daemon, "feed.failed")
        assert "service=main database=app" in failed and "replication" in failed
        cluster.sql("alter role trusted replication")
        until_hit(daemon, wire)
        streaming, = events(daemon, "feed.streaming")
        assert "service=main database=app epoch=" in streaming
        cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender'")
        eventually(lambda: number(wire) and len(events(daemon, "feed.streaming")) == 2)
        cluster.sql("drop event trigger trunkline_feed_ddl")
        eventually(lambda: number(wire) and "event triggers" in events(daemon, "feed.failed")[-1])


# --- the setup -----------------------------------------------------------------------------------

def test_the_manual_s_own_commands_are_enough(trunkline, template, tmp_path):
    """Those of docs/flight.md, pasted: the role, the setup, and the configuration with its password."""
    page = (TOP / "docs" / "flight.md").read_text()
    role, = re.findall(r"`(CREATE ROLE feeder .*?)`", page)
    setup, = re.findall(r"```sh\n(trunkline feed-setup .*?)\n```", page)
    lines = re.findall(r"```yaml\n(services:.*?)```", page, re.DOTALL)[0]
    catalog = "create table catalog (n int); insert into catalog values (1); grant select on catalog to app"
    server = Postgres(template, wal_level="logical", max_replication_slots=1, max_wal_senders=1)
    try:
        server.sql(role.replace("...", "kept"))
        server.sql(catalog)
        (tmp_path / "trunkline").symlink_to(binary())
        subprocess.run(["bash", "-o", "pipefail", "-c", setup], check=True, capture_output=True, timeout=PATIENCE,
                       env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PGUSER": "postgres",
                            "PGHOST": str(server.folder), "PGPORT": str(server.port)})
        daemon = trunkline(start=False)
        password = daemon.folder / "feeder.password"
        password.write_text("kept\n")
        password.chmod(0o600)
        listen = daemon.config["listen"][0]
        daemon.write(f"listen: [{{host: {listen['host']}, port: {listen['port']}}}]\nauth_file: users.txt\n"
                     "console: {users: [admin]}\n"
                     + lines.replace("db.example.com:5432", f"127.0.0.1:{server.port}"))
        daemon.config = {"listen": [listen]}
        daemon.start()
        with daemon.endpoint().wire() as wire:
            eventually(lambda: w.rows(wire.ask(w.query("select n from catalog"))) == [["1"]]
                       and rule(daemon)["hits"] > 0)
            server.sql("update catalog set n = 2")
            assert w.rows(wire.ask(w.query("select n from catalog"))) == [["2"]]
        daemon.stop()
    finally:
        server.remove()


def test_without_its_setup_a_statement_is_executed(trunkline, cluster):
    daemon = trunkline(server=cluster, services=service(cluster), routes=[route(cache=[STRICT])])
    with daemon.endpoint().wire() as wire:
        until_failed(daemon, wire, "event triggers")
        assert rule(daemon)["hits"] == 0
        set_up(cluster)
        set_up(cluster)
        until_hit(daemon, wire)


def test_ddl_of_users_without_rights_works_after_the_setup(cluster):
    set_up(cluster)
    cluster.sql("drop schema if exists theirs cascade; create schema theirs authorization plain",
                database="app")
    with psycopg.connect(cluster.endpoint("app", "plain").conninfo(), autocommit=True) as plain:
        plain.execute("create table theirs.t (n int)")
        plain.execute("drop table theirs.t")
    cluster.sql("drop schema theirs", database="app")


# --- the login -----------------------------------------------------------------------------------

@pytest.mark.parametrize("settings", [{"feed_password": "reports"}, {}], ids=["setting", "auth file"])
def test_a_feed_logs_in_with_its_password(trunkline, cluster, settings):
    set_up(cluster)
    daemon = trunkline(server=cluster, services=service(cluster, feed_user="reports", **settings),
                       users={"app": "app", "admin": "admin", "reports": "reports"},
                       routes=[route(cache=[STRICT])])
    with daemon.endpoint().wire() as wire:
        until_hit(daemon, wire)
    shown = {row["key"]: row["value"] for row in daemon.console("SHOW CONFIG")}
    assert shown["services.main.feed_user"] == "reports"
    assert shown["services.main.feed_password"] == "********"


def test_a_feed_without_a_user_is_paused(trunkline, cluster):
    set_up(cluster)
    daemon = trunkline(server=cluster, services=service(cluster), routes=[route(cache=[STRICT])])
    with daemon.endpoint().wire() as wire:
        until_hit(daemon, wire)
        services = service(cluster)
        del services["main"]["feed_user"]
        daemon.reload({**daemon.config, "services": services,
                       "routes": [route(cache=[{"mode": "dedupe"}])]})
        eventually(lambda: one_feed(daemon)["state"] == "paused")
        daemon.reload({**daemon.config, "services": service(cluster),
                       "routes": [route(cache=[STRICT])]})
        until_hit(daemon, wire)
    assert one_feed(daemon)["state"] == "streaming"


def test_a_wrong_password_of_a_feed_is_told(trunkline, cluster):
    set_up(cluster)
    daemon = trunkline(server=cluster, routes=[route(cache=[STRICT])],
                       services=service(cluster, feed_user="reports", feed_password="un-guessed"))
    with daemon.endpoint().wire() as wire:
        until_failed(daemon, wire, "password authentication failed")
    assert "un-guessed" not in daemon.log_file.read_text()


def test_a_reload_gives_a_feed_another_password(trunkline, cluster):
    set_up(cluster)
    daemon = trunkline(server=cluster, routes=[route(cache=[STRICT])],
                       services=service(cluster, feed_user="reports", feed_password="un-guessed"))
    with daemon.endpoint().wire() as wire:
        until_failed(daemon, wire, "password authentication failed")
        daemon.reload({**daemon.config,
                       "services": service(cluster, feed_user="reports", feed_password="reports")})
        until_hit(daemon, wire)
    assert one_feed(daemon)["reason"] is None


# --- the rules -----------------------------------------------------------------------------------

@pytest.mark.parametrize("changes, settings, problem", [
    ({"feed_user": None}, {}, 'service "main" has no feed_user'),
    ({}, {"target_session_attrs": "prefer-standby"}, "target_session_attrs must be"),
    ({}, {"reads": "prefer-replica"}, "reads run on standbys"),
    ({"hosts": ["a", "b"]}, {}, "probe.user"),
    ({"hosts": ["a", "b weight=2"], "probe": {"user": "p"}}, {}, "a priority, a weight or a zone"),
], ids=["feed", "target", "reads", "several", "spread"])
def test_a_reload_refuses_what_can_not_be_strict(trunkline, cluster, changes, settings, problem):
    daemon = trunkline(server=cluster)
    changed = {key: value for key, value in service(cluster, **changes)["main"].items()
               if value is not None}
    config = configuration(cluster, listen=daemon.config["listen"], services={"main": changed},
                           routes=[route(cache=[STRICT], **settings)])
    daemon.write(config)
    with pytest.raises(psycopg.Error) as refused:
        daemon.console("RELOAD")
    assert "strict" in str(refused.value) + daemon.log_file.read_text()
    checked = subprocess.run([binary(), "check", daemon.file], capture_output=True, text=True,
                             timeout=PATIENCE)
    assert checked.returncode == 1
    assert "routes[0].cache[0].mode: strict" in checked.stderr and problem in checked.stderr
    assert daemon.console("SHOW CACHE_RULES") == []


def test_a_reload_makes_a_rule_strict(trunkline, cluster):
    set_up(cluster)
    daemon = trunkline(server=cluster)
    daemon.reload(configuration(cluster, listen=daemon.config["listen"], services=service(cluster),
                                routes=[route(cache=[{**STRICT, "ttl": "5s"}])]))
    assert rule(daemon)["ttl_ms"] == 5000
    with daemon.endpoint().wire() as wire:
        until_hit(daemon, wire)


def test_clients_that_ask_for_other_servers_get_no_strict_answers(trunkline, cluster):
    set_up(cluster)
    daemon = trunkline(server=cluster, services=service(cluster), routes=[route(cache=[STRICT])])
    target = {"options": "-ctrunkline.target_session_attrs=any"}
    with daemon.endpoint().wire() as wire, psycopg.connect(
            daemon.endpoint().conninfo(), autocommit=True, cursor_factory=psycopg.ClientCursor,
            **target) as other:
        until_hit(daemon, wire)
        before = rule(daemon)
        for _ in range(3):
            assert other.execute(SQL).fetchone()[0] == 1
        after = rule(daemon)
        assert (after["off"] - before["off"], after["hits"] - before["hits"]) == (3, 0)


def test_a_hint_makes_no_rule_strict(trunkline, cluster):
    set_up(cluster)
    daemon = trunkline(server=cluster, services=service(cluster),
                       routes=[route(cache=[{"mode": "off"}], cache_hints=True)])
    with daemon.endpoint().wire() as wire:
        for _ in range(3):
            wire.ask(w.query(f"/* trunkline: strict */ {SQL}"))
    shown = rule(daemon)
    assert (shown["off"], shown["executed"], shown["hits"]) == (3, 0, 0)
    assert feeds(daemon) == []
