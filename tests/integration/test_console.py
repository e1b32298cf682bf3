"""The console shows what there is, in PgBouncer's columns where PgBouncer has them."""
import re
import subprocess
import threading
from pathlib import Path

import psycopg
import psycopg2
import pytest
from support import wire as w
from support.patience import eventually
from support.trunkline import route

COLUMNS = {
    "POOLS": "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req "
             "sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login "
             "maxwait maxwait_us pool_mode load_balance_hosts target_session_attrs",
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
    with daemon.endpoint().wire(application_name="holder") as holder, \
            daemon.endpoint().wire(application_name="waiter") as waiter, \
            daemon.endpoint().wire(application_name="idler"):
        holder.ask(w.query("begin"))
        waiter.send(w.query("select 1"))
        daemon.pool_shows(cl_waiting=1)
        yield daemon
        holder.ask(w.query("commit"))
        waiter.until()


@pytest.mark.parametrize("view", sorted(COLUMNS))
def test_a_view_has_the_columns_that_tools_know(busy, view):
    admin = psycopg.connect(busy.endpoint("trunkline", "admin").conninfo(), autocommit=True,
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


def test_routes_are_shown_with_every_method(trunkline, tmp_path):
    (tmp_path / "hba.conf").write_text("host all all all reject\n")
    methods = ["trust", "block", "password", "md5", "scram-sha-256", "peer", "pam", "ldap",
               "hba"]
    options = {"ldap": {"auth_options": "ldapserver=127.0.0.1 ldapprefix=x"}}
    routes = [route(database=f"by_{method}", auth=method, **options.get(method, {}))
              for method in methods]
    daemon = trunkline(hba_file=str(tmp_path / "hba.conf"), routes=routes)
    assert [row["auth"] for row in daemon.console("SHOW ROUTES")] == methods


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
    done = subprocess.run(["psql", "-X", pooler.endpoint("trunkline", "admin").conninfo(), "-c",
                           "SHOW HELP"], text=True, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr.startswith("NOTICE:  Console usage\nDETAIL:") and "SHOW POOLS" in done.stderr
    assert done.stdout == "SHOW\n"
    with pooler.endpoint("trunkline", "admin").wire() as wire:
        assert [m.kind for m in wire.ask(w.query("show help"))] == ["N", "C", "Z"]
        answers = wire.ask(w.parse("", "show help"), w.bind(), w.describe("P"), w.execute(), w.SYNC)
        assert [m.kind for m in answers] == ["1", "2", "n", "N", "C", "Z"]


def test_an_unknown_command_is_an_error_and_the_console_stays(pooler):
    with pooler.endpoint("trunkline", "admin").wire() as wire:
        for command in ("SHOW NOTHING", "drop table everything", "SHOW", "'"):
            answers = wire.ask(w.query(command))
            assert w.kinds(answers) == "E Z", command
        assert w.kinds(wire.ask(w.query("show version"))) == "T D C Z"
        assert w.kinds(wire.ask(w.query("SHOW VERSION;"))) == "T D C Z"


def test_the_console_speaks_the_extended_protocol(pooler):
    with pooler.endpoint("trunkline", "admin").wire() as wire:
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


MANUAL = (Path(__file__).resolve().parents[2] / "docs" / "console.md").read_text()


MAY_BE_EMPTY = {"SHOW PEERS", "SHOW PINS", "SHOW PEER_POOLS", "SHOW DNS_ZONES", "SHOW DNS_HOSTS",
                "SHOW READS", "SHOW CACHE", "SHOW CACHE_RULES", "SHOW CACHE_TOTALS",
                "SHOW FLIGHTS", "SHOW FEED", "SHOW CACHE_TIER", "SHOW STATEMENTS", "SHOW FIREWALL",
                "SHOW FIREWALL_STATEMENTS", "FIREWALL EXPLAIN", "FIREWALL FORGET"}

# Commands with rows that are no SHOW, with an argument that they take.
VERBS = {"RESOLVE": "main", "CACHE EXPLAIN": "'select 1'", "CACHE FLUSH": "", "CACHE FLUSH TAG": "a",
         "CACHE WARM": "", "FIREWALL EXPLAIN": "'select 1'", "FIREWALL FORGET": ""}


def documented():
    """command -> [(column, type)], from the manual."""
    views = {}
    for part in MANUAL.split("\n## ")[1:]:
        heading, _, rest = part.partition("\n")
        columns = re.findall(r"^\| `(\S+)` \| (\w+) \|", rest, re.M)
        views |= {command: columns for command in heading.split(", ")}
    return views


def admin(daemon, **options):
    return psycopg.connect(daemon.endpoint("trunkline", "admin").conninfo(), **options)


def test_every_view_has_the_columns_and_types_of_the_manual(busy):
    views = documented()
    oids = {"text": 25, "integer": 23, "bigint": 20, "numeric": 1700, "boolean": 16}
    helped = {row["command"] for row in busy.console("SHOW COMMANDS")}
    assert set(views) == {command for command in helped
                          if command.startswith("SHOW")} - {"SHOW HELP"} | set(VERBS)
    with admin(busy, autocommit=True) as connection:
        for command, columns in views.items():
            cursor = connection.execute(f"{command} {VERBS.get(command, '')}")
            assert [(c.name, c.type_code) for c in cursor.description] == \
                [(name, oids[kind]) for name, kind in columns], command
            rows = cursor.fetchall()
            assert rows or command in MAY_BE_EMPTY, command
            assert all(len(row) == len(columns) for row in rows), command


def test_results_are_the_same_in_binary(busy):
    with admin(busy, autocommit=True) as connection:
        for command in ("SHOW POOLS", "SHOW STATS_TOTALS", "SHOW ROUTES", "SHOW LISTS",
                        "SHOW VERSION"):
            text = connection.execute(command).fetchall()
            binary = connection.execute(command, binary=True).fetchall()
            steady = {"SHOW POOLS": 3, "SHOW ROUTES": 11}.get(command)  # maxwait goes on
            assert [r[:steady] for r in text] == [r[:steady] for r in binary]


def test_prepared_statements_and_transactions_of_drivers_work(pooler):
    with admin(pooler) as connection:
        for _ in range(8):  # psycopg prepares it on the way
            assert connection.execute("SHOW VERSION").fetchone()[0].startswith("Trunkline ")
        assert connection.info.transaction_status.name == "INTRANS"
        connection.commit()
        assert connection.info.transaction_status.name == "IDLE"
        assert connection.info.server_version == 150000
        assert connection.info.encoding == "utf-8"


@pytest.mark.parametrize("autocommit", [True, False])
def test_psycopg2_works(pooler, autocommit):
    connection = psycopg2.connect(pooler.endpoint("trunkline", "admin").conninfo())
    connection.autocommit = autocommit
    with connection.cursor() as cursor:
        cursor.execute("show databases")
        assert "pool_size" in [column.name for column in cursor.description]
        assert cursor.fetchall()
        with pytest.raises(psycopg2.errors.SyntaxError) as refused:
            cursor.execute("show nonsense")
        assert "SHOW HELP" in refused.value.diag.message_hint
    connection.rollback()
    connection.close()


def test_psql_works(pooler):
    done = subprocess.run(["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                           pooler.endpoint("trunkline", "admin").conninfo()],
                          input="show version;\n\\conninfo\nSHOW DateStyle;\nselect 1;\nbegin;"
                                "\nset application_name = 'x;y'; show lists;\ncommit;\n",
                          text=True, capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "Trunkline" in done.stdout and "ISO, MDY" in done.stdout
    assert "used_clients|" in done.stdout


def test_statements_behind_a_failed_one_are_left(pooler):
    with pooler.endpoint("trunkline", "admin").wire() as wire:
        assert w.kinds(wire.ask(w.query("show version; show nothing; show version"))) == "T D C E Z"
        assert w.kinds(wire.ask(w.query(";"))) == "I Z"
        assert w.kinds(wire.ask(w.query("begin;; set application_name = 'a'; commit;"))) == "C C C Z"


def test_a_failed_batch_is_left_up_to_its_sync(pooler):
    with pooler.endpoint("trunkline", "admin").wire() as wire:
        answers = wire.ask(w.parse("", "SHOW NOTHING"), w.bind(), w.describe("P"), w.execute(),
                           w.SYNC)
        assert w.kinds(answers) == "E Z"
        for wrong in (w.bind("", "nosuch"), w.execute("nosuch"), w.describe("S", "nosuch"),
                      w.parse("", "show version; show version")):
            assert w.kinds(wire.ask(wrong, w.SYNC)) == "E Z"
        assert w.kinds(wire.ask(w.parse("s", "SHOW VERSION"), w.parse("s", "SHOW VERSION"),
                                w.SYNC)) == "1 E Z"
        answers = wire.ask(w.parse("", "SHOW VERSION"), w.bind(values=["x"]), w.SYNC)
        assert w.kinds(answers) == "1 E Z" and answers[-2].sqlstate == "08P01"
        assert w.kinds(wire.ask(w.parse("", ""), w.bind(), w.describe("P"), w.execute(),
                                w.SYNC)) == "1 2 n I Z"


def test_rows_can_be_fetched_in_portions(pooler):
    with pooler.endpoint("trunkline", "admin").wire() as wire:
        answers = wire.ask(w.parse("", "BEGIN"), w.bind(), w.execute(),
                           w.parse("s", "SHOW LISTS"), w.bind("p", "s"), w.execute("p", 4), w.SYNC)
        assert w.kinds(answers) == "1 2 C 1 2 D D D D s Z"
        assert w.kinds(wire.ask(w.execute("p", 9), w.SYNC)) == "D " * 9 + "s Z"
        assert w.kinds(wire.ask(w.execute("p", 9), w.SYNC)) == "D C Z"
        wire.ask(w.query("COMMIT"))
        assert w.kinds(wire.ask(w.SYNC)) == "Z"
        assert w.kinds(wire.ask(w.execute("p"), w.SYNC)) == "E Z"


def test_the_console_lists_its_own_client(pooler):
    with pooler.endpoint("trunkline", "admin").wire(application_name="watcher") as wire:
        row, = [r for r in pooler.console("SHOW CLIENTS") if r["application_name"] == "watcher"]
        assert (row["database"], row["user"], row["state"]) == ("trunkline", "admin", "active")
        assert row["link"] == "" and row["addr"] == "127.0.0.1"
        assert wire.parameters["server_version"].startswith("15.0 (Trunkline ")


def test_connections_show_their_time_and_listener(pooler):
    with pooler.connect(application_name="shown") as connection:
        connection.execute("select 1")
        client, = [r for r in pooler.console("SHOW CLIENTS") if r["application_name"] == "shown"]
        server = [r for r in pooler.console("SHOW SERVERS") if r["database"] == "app"][0]
        for row in client, server:
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", row["connect_time"])
            assert row["request_time"] >= row["connect_time"]
            assert row["replication"] == "none" and row["close_needed"] == 0
        assert client["local_port"] == pooler.port and client["tls"] == ""
        assert server["addr"] == "127.0.0.1" and server["type"] == "S"


def test_a_setting_of_the_file_can_not_be_set_here(pooler):
    with admin(pooler, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute("SET relays = 7")
        connection.execute("SET client_encoding = 'UTF8'")


def test_reload_tells_every_problem_and_changes_nothing(trunkline):
    daemon = trunkline()
    good = daemon.config
    wrong = good | {"relays": "many", "nosuch": 1}
    with admin(daemon, autocommit=True) as connection:
        daemon.write(wrong)
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("RELOAD")
        detail = refused.value.diag.message_detail
        assert refused.value.sqlstate == "F0000"
        assert "relays" in detail and "nosuch" in detail and detail.count("trunkline.yaml") >= 2
        versions = {row[0] for row in connection.execute("SHOW ROUTES")}
        daemon.write(good)
        assert connection.execute("RELOAD").statusmessage == "RELOAD"
        assert versions == {1}
        assert {row[0] for row in connection.execute("SHOW ROUTES")} == {3}


def test_reload_names_settings_that_need_a_restart(trunkline):
    daemon = trunkline()
    notices = []
    with admin(daemon, autocommit=True) as connection:
        connection.add_notice_handler(lambda it: notices.append(it.message_primary))
        daemon.write(daemon.config | {"relays": 1})
        connection.execute("RELOAD")
    assert any("relays" in notice for notice in notices)


def test_an_obsolete_route_is_shown_until_its_clients_leave(trunkline):
    daemon = trunkline(routes=[route(pool_size=3)])
    with daemon.connect() as connection:
        connection.execute("select 1")
        daemon.reload(daemon.config | {"routes": [route(pool="session", pool_size=4)]})
        rows = {row["obsolete"]: row for row in daemon.console("SHOW ROUTES")}
        assert rows["yes"]["clients"] == 1 and rows["yes"]["pool_mode"] == "transaction"
        assert rows["no"]["clients"] == 0 and rows["no"]["version"] > rows["yes"]["version"]
    eventually(lambda: {r["obsolete"] for r in daemon.console("SHOW ROUTES")} == {"no"})


def test_totals_outlive_the_pool(trunkline):
    daemon = trunkline(routes=[route(idle_timeout="100ms")])
    with daemon.connect() as connection:
        connection.execute("select 1")
    eventually(lambda: not [r for r in daemon.console("SHOW POOLS") if r["database"] == "app"])
    eventually(lambda: all(r["local_pools"] == 0 for r in daemon.console("SHOW RELAYS")))
    totals = {row["name"]: row["value"] for row in daemon.console("SHOW TOTALS")}
    assert totals["total_query_count"] >= 1 and totals["total_client_login_count"] == 1


def test_a_shutdown_ends_console_sessions(trunkline):
    daemon = trunkline()
    with daemon.endpoint("trunkline", "admin").wire() as wire:
        daemon.program.send_signal(15)
        answers = wire.rest()
        assert [(a.kind, a.sqlstate) for a in answers] == [("E", "57P01")]
    assert daemon.program.wait() == 0  # before a second signal ends it at once


def test_console_clients_do_not_delay_a_shutdown(trunkline):
    daemon = trunkline(relays=4)

    def watch():
        try:
            with daemon.endpoint("trunkline", "admin").wire() as wire:
                while True:
                    wire.ask(w.query("SHOW CLIENTS; SHOW STATS; SHOW SERVERS; SHOW LISTS"))
        except (EOFError, OSError, AssertionError):
            pass
    watchers = [threading.Thread(target=watch) for _ in range(4)]
    for watcher in watchers:
        watcher.start()
    eventually(lambda: len(daemon.console("SHOW CLIENTS")) >= 4)
    daemon.stop()
    for watcher in watchers:
        watcher.join()
    assert "shutdown.incomplete" not in daemon.log()
