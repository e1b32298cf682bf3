"""Tools that were made for PgBouncer read the console: names, order and types are a contract."""
import os
from pathlib import Path

import psycopg
import psycopg2
import pytest
from psycopg.rows import dict_row
from support.patience import eventually
from support.trunkline import route

I4, I8, NUM, TEXT = 23, 20, 1700, 25

CONNECTION = ("type user database replication state addr port:i local_addr local_port:i "
              "connect_time request_time wait:i wait_us:i close_needed:i ptr link remote_pid:i tls "
              "application_name prepared_statements:i id")
SOCKET = CONNECTION + (" recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i "
                       "send_avail:i")
COUNTS = ("server_assignment_count xact_count query_count bytes_received bytes_sent xact_time "
          "query_time wait_time")


def numeric(names):
    return " ".join(f"{name}:n" for name in names.split())


CONTRACT = {
    "CONFIG": "key value default changeable",
    "DATABASES": "name host port:i database force_user pool_size:i min_pool_size:i "
                 "reserve_pool_size:i server_lifetime:i pool_mode load_balance_hosts "
                 "max_connections:i current_connections:i max_client_connections:i "
                 "current_client_connections:i paused:i disabled:i",
    "POOLS": "database user cl_active:i cl_waiting:i cl_active_cancel_req:i "
             "cl_waiting_cancel_req:i sv_active:i sv_active_cancel:i sv_being_canceled:i sv_idle:i "
             "sv_used:i sv_tested:i sv_login:i maxwait:i maxwait_us:i pool_mode "
             "load_balance_hosts target_session_attrs",
    "PEERS": "peer_id:i host port:i pool_size:i",
    "PEER_POOLS": "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i "
                  "sv_login:i",
    "CLIENTS": CONNECTION,
    "SERVERS": CONNECTION,
    "SOCKETS": SOCKET,
    "ACTIVE_SOCKETS": SOCKET,
    "USERS": "name pool_size reserve_pool_size pool_mode max_user_connections:i "
             "current_connections:i max_user_client_connections:i current_client_connections:i",
    "LISTS": "list items:i",
    "MEM": "name size:i used:i free:i memtotal:i",
    "DNS_HOSTS": "hostname ttl:q addrs",
    "DNS_ZONES": "zonename serial count:i",
    "VERSION": "version",
    "STATS": "database " + numeric(
        "total_server_assignment_count total_xact_count total_query_count total_received "
        "total_sent total_xact_time total_query_time total_wait_time total_client_parse_count "
        "total_server_parse_count total_bind_count total_client_login_count "
        "avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent "
        "avg_xact_time avg_query_time avg_wait_time avg_client_parse_count "
        "avg_server_parse_count avg_bind_count avg_client_login_count"),
    "STATS_TOTALS": "database " + numeric(
        COUNTS + " client_parse_count server_parse_count bind_count client_login_count"),
    "STATS_AVERAGES": "database " + numeric(
        COUNTS + " avg_client_parse_count avg_server_parse_count avg_bind_count "
        "avg_client_login_count"),
    "TOTALS": "name value:n",
}

# What prometheus-community's pgbouncer_exporter reads, by name, and as what.
EXPORTER = {
    "STATS": {"database": TEXT} | dict.fromkeys(
        ["total_xact_count", "total_query_count", "total_received", "total_sent",
         "total_xact_time", "total_query_time", "total_wait_time",
         "total_server_assignment_count", "total_client_parse_count", "total_server_parse_count",
         "total_bind_count"], NUM),
    "POOLS": {"database": TEXT, "user": TEXT} | dict.fromkeys(
        ["cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active",
         "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login",
         "maxwait", "maxwait_us"], I4),
    "DATABASES": {"name": TEXT, "host": TEXT, "port": I4, "database": TEXT, "force_user": TEXT,
                  "pool_mode": TEXT} | dict.fromkeys(
        ["pool_size", "reserve_pool_size", "max_connections", "current_connections", "paused",
         "disabled", "max_client_connections", "current_client_connections"], I4),
    "LISTS": {"list": TEXT, "items": I4},
    "CONFIG": {"key": TEXT, "value": TEXT, "default": TEXT, "changeable": TEXT},
    "VERSION": {"version": TEXT},
}
LISTS = ("databases users peers pools peer_pools free_clients used_clients login_clients "
         "free_servers used_servers dns_names dns_zones dns_queries dns_pending").split()


def typed(columns):
    kinds = {"": TEXT, "i": I4, "q": I8, "n": NUM}
    return [(name.partition(":")[0], kinds[name.partition(":")[2]]) for name in columns.split()]


def admin(daemon, database="pgbouncer", user="admin"):
    return psycopg.connect(daemon.endpoint(database, user).conninfo(), autocommit=True,
                           cursor_factory=psycopg.ClientCursor)


def rows(daemon, command):
    return daemon.console(command)


@pytest.mark.parametrize("view", sorted(CONTRACT))
def test_columns_order_and_types_are_those_of_pgbouncer(pooler, view):
    with admin(pooler) as connection:
        cursor = connection.execute(f"show {view.lower()}")
        assert [(c.name, c.type_code) for c in cursor.description] == typed(CONTRACT[view])


@pytest.mark.parametrize("view", sorted(EXPORTER))
def test_the_exporter_finds_every_column_that_it_reads(trunkline, view):
    daemon = trunkline()
    with daemon.connect() as client:
        client.execute("select 1")
        with admin(daemon) as connection:
            cursor = connection.execute(f"SHOW {view};")
            found = {c.name: c.type_code for c in cursor.description}
            assert cursor.fetchall()
    assert EXPORTER[view].items() <= found.items()


def test_the_lists_are_those_of_pgbouncer(pooler):
    assert [row["list"] for row in rows(pooler, "SHOW LISTS")] == LISTS


@pytest.mark.parametrize("database", ["trunkline", "pgbouncer"])
def test_the_console_has_two_names(pooler, database):
    with admin(pooler, database) as connection:
        assert "Trunkline" in connection.execute("SHOW VERSION").fetchone()[0]
        databases = {row[2] for row in connection.execute("SHOW CLIENTS").fetchall()}
        assert database in databases


def test_a_real_database_of_that_name_is_reached_by_a_setting(trunkline):
    daemon = trunkline(console={"users": ["admin"], "databases": ["trunkline"]},
                       routes=[route(server_database="app")])
    with daemon.connect("pgbouncer") as connection:
        assert connection.execute("select current_database()").fetchone() == ("app",)


def test_sockets_are_clients_and_servers_with_their_buffers(trunkline):
    daemon = trunkline(routes=[route(pool_size=1)])
    with daemon.connect(application_name="holds") as holds, \
            daemon.connect(application_name="rests") as rests:
        rests.execute("select 1")
        holds.execute("begin")
        everything = [r for r in rows(daemon, "SHOW SOCKETS") if r["database"] == "app"]
        assert sorted(r["type"] for r in everything) == ["C", "C", "S"]
        active = [r for r in rows(daemon, "SHOW ACTIVE_SOCKETS") if r["database"] == "app"]
        assert {(r["type"], r["state"]) for r in active} == {("C", "active"), ("S", "active")}


def test_users_are_those_of_the_file_and_connected_ones(trunkline):
    daemon = trunkline()
    with daemon.connect() as connection:
        connection.execute("select 1")
        users = {row["name"]: row for row in rows(daemon, "SHOW USERS")}
        assert {"app", "admin", "reports"} <= set(users)
        assert users["app"]["current_client_connections"] == 1
        assert users["app"]["current_connections"] == 1
        assert users["reports"]["current_client_connections"] == 0


def test_memory_is_counted(trunkline):
    daemon = trunkline()
    with daemon.connect() as connection:
        connection.execute("select 1")
        kinds = {row["name"]: row for row in rows(daemon, "SHOW MEM")}
    assert kinds["client"]["used"] >= 2 and kinds["server"]["used"] == 1
    for row in kinds.values():
        assert row["memtotal"] == row["size"] * (row["used"] + row["free"])


def test_host_names_show_their_addresses(trunkline, postgres):
    service = {"hosts": [f"localhost:{postgres.port}"], "tls": {"mode": "disable"}}
    daemon = trunkline(services={"main": service})
    eventually(lambda: [r for r in rows(daemon, "SHOW DNS_HOSTS")
                        if r["hostname"] == "localhost" and "127.0.0.1" in r["addrs"]])


def test_there_are_no_peers_and_no_zones(pooler):
    for view in ("PEERS", "PEER_POOLS", "DNS_ZONES"):
        assert rows(pooler, f"SHOW {view}") == []


FDS = ["fd", "task", "user", "database", "addr", "port", "cancel", "link", "client_encoding",
       "std_strings", "datestyle", "timezone", "password"]


def test_descriptors_are_shown_without_secrets(trunkline):
    daemon = trunkline()
    with daemon.connect(options="-c timezone=Asia/Tokyo") as client:
        client.execute("begin")
        shown = rows(daemon, "SHOW FDS")
        assert list(shown[0]) == FDS
        assert all(row["password"] is None and int(row["cancel"]) == 0 for row in shown)
        mine, = [row for row in shown if row["task"] == "client" and row["database"] == "app"]
        server, = [row for row in shown if row["fd"] == mine["link"]]
        assert server["task"] == "server" and server["link"] == mine["fd"]
        assert mine["user"] == server["user"] == "app"
        assert mine["timezone"] == server["timezone"] == "Asia/Tokyo"
        assert mine["std_strings"] == "on" and mine["client_encoding"] == "UTF8"
        assert mine["addr"] == "127.0.0.1"
        tables = Path(f"/proc/{daemon.program.pid}/task").glob(f"*/fd/{mine['fd']}")
        assert any(os.readlink(entry).startswith("socket:") for entry in tables)
        client.execute("rollback")


def test_many_clients_are_shown_once_each(trunkline):
    daemon = trunkline(relays=2)
    clients = [daemon.connect(application_name=f"c{i}") for i in range(40)]
    shown = [r["application_name"] for r in rows(daemon, "SHOW CLIENTS") if r["database"] == "app"]
    assert sorted(shown) == sorted(f"c{i}" for i in range(40))
    for client in clients:
        client.close()


@pytest.mark.parametrize("statement", [
    "SHOW client_encoding", "SHOW datestyle", "SHOW timezone", "SHOW TIME ZONE",
    "SHOW standard_conforming_strings", "SHOW default_transaction_isolation",
    "SHOW transaction isolation level", "SHOW extra_float_digits", "SHOW search_path",
    "SHOW application_name", "SET client_encoding TO 'UTF8'", "SET DateStyle = ISO",
    "SET TIME ZONE 'UTC'", "SET extra_float_digits = 3", "SET application_name = 'x'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET statement_timeout = 0",
    "SET client_min_messages TO warning", "SET SESSION timezone TO 'UTC'", "SET NAMES 'utf8'",
    "RESET application_name",
    "RESET ALL", "DISCARD ALL", "DEALLOCATE ALL", "BEGIN", "START TRANSACTION", "COMMIT",
    "END", "ROLLBACK", "ABORT", "SELECT 1", "SELECT version()", "BEGIN READ ONLY"])
def test_commands_that_drivers_send_are_accepted(pooler, statement):
    with admin(pooler) as connection:
        connection.execute(statement)
        assert connection.execute("SHOW VERSION").fetchone()


def test_drivers_learn_a_version_at_login(pooler):
    for connect in (psycopg.connect, psycopg2.connect):
        connection = connect(pooler.endpoint("pgbouncer", "admin").conninfo())
        version = getattr(connection, "server_version", None) or connection.info.server_version
        assert version == 150000
        connection.close()


# --- roles


@pytest.fixture
def guarded(trunkline):
    return trunkline(console={"users": ["admin"], "stats_users": ["reports"]})


def help_of(daemon):
    with admin(daemon) as connection:
        connection.row_factory = dict_row
        return [row["command"] for row in connection.execute("SHOW COMMANDS").fetchall()]


def test_stats_users_see_everything_but_descriptors_and_statements(guarded):
    views = [command for command in help_of(guarded) if command.startswith("SHOW")]
    assert len(views) > 20
    with admin(guarded, user="reports") as connection:
        for view in views:
            if view in ("SHOW FDS", "SHOW CACHE", "SHOW FLIGHTS", "SHOW STATEMENTS",
                        "SHOW FIREWALL_STATEMENTS"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(view)
            else:
                connection.execute(view)


def test_stats_users_can_run_no_command(guarded):
    verbs = [command for command in help_of(guarded)
             if not command.startswith(("SHOW", "SET"))]
    assert "RELOAD" in verbs
    with admin(guarded, user="reports") as connection:
        for verb in verbs:
            words = [w.strip("[]") for w in verb.split(" [FOR ")[0].split()]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(" ".join(words[:4 if words[0] in ("CACHE", "FIREWALL") else 2]))
        assert connection.execute("SHOW VERSION").fetchone()


def test_a_reload_revokes_the_rights_of_a_user(guarded):
    with admin(guarded) as connection:
        guarded.write(guarded.config | {"console": {"users": ["plain"],
                                                    "stats_users": ["admin"]}})
        connection.execute("RELOAD")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("RELOAD")
        assert connection.execute("SHOW VERSION").fetchone()
    guarded.write(guarded.config | {"console": {"users": ["plain"]}})
    guarded.hangup()
    eventually(lambda: refused(guarded))


def refused(daemon):
    try:
        admin(daemon).close()
    except psycopg.OperationalError:
        return True
    return False


def test_the_pooler_s_own_user_needs_no_password_over_a_unix_socket(trunkline, tmp_path):
    from support.ports import free_port
    port = free_port()
    daemon = trunkline(listen=[{"host": "127.0.0.1", "port": free_port()},
                               {"host": str(tmp_path), "port": port}],
                       console={"users": []})
    for name in ("pgbouncer", "trunkline"):
        with psycopg.connect(f"host={tmp_path} port={port} user={name} dbname=pgbouncer",
                             autocommit=True) as connection:
            assert connection.execute("SHOW VERSION").fetchone()
            connection.execute("RELOAD")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host=127.0.0.1 port={daemon.port} user=pgbouncer dbname=pgbouncer")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host={tmp_path} port={port} user=somebody dbname=pgbouncer")


def test_pools_of_several_roles_have_a_row_each(trunkline, postgres):
    daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{postgres.port}"]}},
                       routes=[route()])

    def rows():
        return [(row["database"], row["user"], row["target_session_attrs"], row["sv_idle"])
                for row in daemon.console("SHOW POOLS") if row["database"] == "app"]

    with daemon.connect() as plain:
        plain.execute("select 1")
        eventually(lambda: rows() == [("app", "app", "default", 1)])
        asks = "-c trunkline.target_session_attrs=primary"
        with daemon.endpoint().at(options=asks).connect() as other:
            other.execute("select 1")
            eventually(lambda: sorted(rows()) == [("app", "app", "default", 1),
                                                  ("app", "app", "primary", 1)])
        last = list(daemon.console("SHOW POOLS")[0])[-2:]
        assert last == ["load_balance_hosts", "target_session_attrs"]
