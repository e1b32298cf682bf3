"""The console shows what there is, in PgBouncer's columns where PgBouncer has them."""
import re
import subprocess

import psycopg
import pytest
from support import wire as w
from support.patience import eventually
from support.trunkline import route

COLUMNS = {
    "POOLS": "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req "
             "sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login "
             "maxwait maxwait_us pool_mode load_balance_hosts",
    "CLIENTS": "type user database replication state addr port local_addr local_port connect_time "
               "request_time wait wait_us close_needed ptr link remote_pid tls application_name "
               "prepared_statements id",
    "SERVERS": "type user database replication state addr port local_addr local_port connect_time "
               "request_time wait wait_us close_needed ptr link remote_pid tls application_name "
               "prepared_statements id",
    "CONFIG": "key value default changeable",
    "STATS": "database total_server_assignment_count total_xact_count total_query_count "
             "total_received total_sent total_xact_time total_query_time total_wait_time "
             "total_client_parse_count total_server_parse_count total_bind_count "
             "total_client_login_count avg_server_assignment_count avg_xact_count avg_query_count "
             "avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time avg_client_parse_count "
             "avg_server_parse_count avg_bind_count avg_client_login_count",
    "VERSION": "version",
}

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture
def busy(trunkline):
    """A daemon with a client in a transaction, one that waits, and one that idles."""
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.door().wire(application_name="holder") as holder, \
            daemon.door().wire(application_name="waiter") as waiter, \
            daemon.door().wire(application_name="idler"):
        holder.ask(w.query("begin"))
        waiter.send(w.query("select 1"))
        daemon.pool_shows(cl_waiting=1)
        yield daemon
        holder.ask(w.query("commit"))
        waiter.until()


@pytest.mark.parametrize("view", sorted(COLUMNS))
def test_a_view_has_the_columns_that_tools_know(busy, view):
    admin = psycopg.connect(busy.door("trunkline", "admin").conninfo(), autocommit=True,
                            cursor_factory=psycopg.ClientCursor)
    cursor = admin.execute(f"SHOW {view}")
    assert [column.name for column in cursor.description] == COLUMNS[view].split()
    assert cursor.fetchall()
    admin.close()


def test_pools_count_clients_and_servers(busy):
    row = busy.pool()
    assert (int(row["cl_waiting"]), int(row["sv_active"]), int(row["sv_idle"])) == (1, 1, 0)
    assert int(row["cl_active"]) >= 1
    assert row["pool_mode"] == "transaction"
    eventually(lambda: int(busy.pool()["maxwait"]) * 10**6 + int(busy.pool()["maxwait_us"]) > 1000)


def test_clients_and_servers_point_at_each_other(busy):
    clients = {row["application_name"]: row for row in busy.console("SHOW CLIENTS")
               if row["database"] == "app"}
    servers = [row for row in busy.console("SHOW SERVERS") if row["database"] == "app"]
    assert set(clients) == {"holder", "waiter", "idler"}
    assert clients["holder"]["state"] == "active"
    assert clients["waiter"]["state"] == "waiting"
    assert len(servers) == 1 and servers[0]["state"] == "active"
    assert clients["holder"]["link"] == servers[0]["ptr"]
    assert servers[0]["link"] == clients["holder"]["ptr"]
    assert int(servers[0]["remote_pid"]) > 0
    assert int(clients["holder"]["port"]) > 0


def test_every_connection_has_an_id_that_is_a_uuid_in_order_of_time(busy):
    ids = [row["id"] for row in busy.console("SHOW CLIENTS") + busy.console("SHOW SERVERS")]
    assert all(UUID7.fullmatch(text) for text in ids)
    assert len(set(ids)) == len(ids)


def test_routes_show_their_version(busy):
    rows = busy.console("SHOW ROUTES")
    assert rows and all(int(row["version"]) >= 1 for row in rows)


def test_relays_are_shown(busy):
    assert len(busy.console("SHOW RELAYS")) == 2


def test_config_shows_values_and_defaults(busy):
    rows = {row["key"]: row for row in busy.console("SHOW CONFIG")}
    assert rows["relays"]["value"] == "2"
    assert {row["changeable"] for row in rows.values()} <= {"yes", "no"}


def test_stats_count(trunkline):
    daemon = trunkline()
    with daemon.connect() as connection:
        for _ in range(5):
            connection.execute("select 1")
        def row():
            return {r["database"]: r for r in daemon.console("SHOW STATS")}["app"]
        eventually(lambda: int(row()["total_query_count"]) >= 5)
        assert int(row()["total_xact_count"]) >= 5
        assert int(row()["total_received"]) > 0 and int(row()["total_sent"]) > 0


def test_version_names_the_program(pooler):
    assert "trunkline" in pooler.console("SHOW VERSION")[0]["version"].lower()


def test_help_is_help(pooler):
    done = subprocess.run(["psql", "-X", pooler.door("trunkline", "admin").conninfo(), "-c",
                           "SHOW HELP"], text=True, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert "SHOW POOLS" in done.stdout + done.stderr


def test_an_unknown_command_is_an_error_and_the_console_stays(pooler):
    with pooler.door("trunkline", "admin").wire() as wire:
        for command in ("SHOW NOTHING", "drop table everything", "SHOW", "'"):
            answers = wire.ask(w.query(command))
            assert w.kinds(answers) == "E Z", command
        assert w.kinds(wire.ask(w.query("show version"))) == "T D C Z"
        assert w.kinds(wire.ask(w.query("SHOW VERSION;"))) == "T D C Z"


def test_the_console_speaks_the_extended_protocol(pooler):
    with pooler.door("trunkline", "admin").wire() as wire:
        answers = wire.ask(w.parse("", "SHOW VERSION"), w.bind(), w.describe("P"), w.execute(),
                           w.SYNC)
        assert w.kinds(answers) == "1 2 T D C Z"


def test_the_console_is_for_its_users_only(pooler):
    with pytest.raises(psycopg.OperationalError):
        pooler.connect("trunkline", "app")
    with pytest.raises(psycopg.OperationalError):
        pooler.connect("trunkline", "admin", "wrong")


def test_the_console_is_reachable_when_clients_are_not(trunkline):
    daemon = trunkline(clients=1)
    with daemon.connect():
        with pytest.raises(psycopg.OperationalError):
            daemon.connect()
        assert daemon.console("SHOW POOLS")


def test_a_client_that_left_is_not_shown(trunkline):
    daemon = trunkline()
    with daemon.connect():
        assert [r for r in daemon.console("SHOW CLIENTS") if r["database"] == "app"]
    eventually(lambda: not [r for r in daemon.console("SHOW CLIENTS") if r["database"] == "app"])
