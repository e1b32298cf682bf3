"""What administrators order holds on every relay at once, and is taken back as a whole."""
import threading

import psycopg
import pytest
from support import wire as w
from support.patience import eventually
from support.trunkline import route


@pytest.fixture
def daemon(trunkline):
    return trunkline(relays=3, routes=[
        route(database="session", pool="session"),
        route(database="other", server_database="app"),
        route(claim_timeout="60s"),
    ])


def admin(daemon, user="admin", database="trunkline"):
    return psycopg.connect(daemon.endpoint(database, user).conninfo(), autocommit=True,
                           cursor_factory=psycopg.ClientCursor)


class Order:
    """A command that is waited for, on a thread of its own."""

    def __init__(self, daemon, command):
        self.connection = admin(daemon)
        self.error = None
        self.thread = threading.Thread(target=self.run, args=(command,), daemon=True)
        self.thread.start()

    def run(self, command):
        try:
            self.connection.execute(command)
        except psycopg.Error as error:
            self.error = error

    def waits(self):
        return self.thread.is_alive()

    def done(self):
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.connection.close()
        return self.error


def servers(daemon, database="app"):
    return [r for r in daemon.console("SHOW SERVERS") if r["database"] == database]


def databases(daemon):
    return {r["name"]: r for r in daemon.console("SHOW DATABASES")}


def state(daemon):
    return {r["key"]: r["value"] for r in daemon.console("SHOW STATE")}


def warm(daemon, count=6, database="app"):
    """Clients of all relays, each of which has had a server."""
    clients = [daemon.connect(database) for _ in range(count)]
    for client in clients:
        client.execute("begin")
    for client in clients:
        client.execute("rollback")
    assert servers(daemon, database)
    return clients


def close(clients):
    for client in clients:
        client.close()


# --- PAUSE and RESUME


@pytest.mark.parametrize("target", ["", " app", ' "app"'])
def test_a_pause_closes_idle_servers_and_new_queries_wait_for_resume(daemon, target):
    clients = warm(daemon)
    daemon.console("PAUSE" + target)
    assert servers(daemon) == []
    with daemon.endpoint().wire() as waiter:
        waiter.send(w.query("select 1"))
        daemon.pool_shows(cl_waiting=1)
        assert servers(daemon) == []
        daemon.console("RESUME" + target)
        assert "D" in w.kinds(waiter.until())
    for client in clients:
        assert client.execute("select 1").fetchone() == (1,)
    close(clients)


def test_a_pause_waits_for_transactions_on_every_relay(daemon):
    clients = warm(daemon)
    for client in clients:
        client.execute("begin")
    order = Order(daemon, "PAUSE")
    eventually(lambda: state(daemon)["paused"] == "yes")
    for client in clients:
        assert order.waits()
        client.execute("select 1")
        client.execute("commit")
    assert order.done() is None
    assert servers(daemon) == []
    daemon.console("RESUME")
    assert state(daemon) == {"active": "yes", "paused": "no", "suspended": "no"}
    close(clients)


def test_a_pause_counts_clients_in_session_mode(daemon):
    client = daemon.connect("session")
    client.execute("select 1")
    order = Order(daemon, "PAUSE session")
    eventually(lambda: databases(daemon)["session"]["paused"] == 1)
    client.execute("select 1")
    assert order.waits()
    client.close()
    assert order.done() is None
    assert servers(daemon, "session") == []


def test_a_pause_of_one_database_leaves_others_alone(daemon):
    daemon.console("PAUSE other")
    rows = databases(daemon)
    assert (rows["other"]["paused"], rows["session"]["paused"], rows["*"]["paused"]) == (1, 0, 0)
    with daemon.connect() as client:
        assert client.execute("select 1").fetchone() == (1,)


def test_a_database_that_no_route_names_can_be_paused(daemon):
    daemon.console("PAUSE app")
    rows = databases(daemon)
    assert rows["app"]["paused"] == 1 and rows["*"]["paused"] == 0
    daemon.console("RESUME app")
    assert "app" not in databases(daemon)


def test_a_new_client_of_a_paused_database_waits(daemon):
    daemon.console("PAUSE app")
    found = []

    def come():
        with daemon.connect() as client:
            found.append(client.execute("select 7").fetchone())
    thread = threading.Thread(target=come)
    thread.start()
    daemon.pool_shows(cl_waiting=1)
    daemon.console("RESUME app")
    thread.join(60)
    assert found == [(7,)]


def test_a_paused_database_stays_paused_over_a_reload(daemon):
    daemon.console("PAUSE other")
    daemon.reload()
    assert databases(daemon)["other"]["paused"] == 1


def test_resume_without_a_pause_is_an_error(daemon):
    for command in ("RESUME", "RESUME other"):
        with pytest.raises(psycopg.Error) as refused:
            daemon.console(command)
        assert refused.value.sqlstate == "55000"


def test_an_unknown_database_is_an_error(trunkline):
    daemon = trunkline(routes=[route(database="app")])
    for command in ("PAUSE", "RESUME", "DISABLE", "ENABLE", "RECONNECT", "KILL", "WAIT_CLOSE"):
        with pytest.raises(psycopg.Error) as refused:
            daemon.console(f"{command} nosuch")
        assert refused.value.sqlstate == "3D000", command


def test_a_cancelled_pause_has_not_happened(daemon):
    client = daemon.connect()
    client.execute("begin")
    order = Order(daemon, "PAUSE")
    eventually(lambda: state(daemon)["paused"] == "yes")
    order.connection.cancel()
    assert order.done().sqlstate == "57014"
    assert state(daemon)["paused"] == "no"
    with daemon.connect() as other:
        assert other.execute("select 1").fetchone() == (1,)
    client.close()


def test_a_resume_ends_a_pause_that_still_waits(daemon):
    client = daemon.connect()
    client.execute("begin")
    order = Order(daemon, "PAUSE")
    eventually(lambda: state(daemon)["paused"] == "yes")
    daemon.console("RESUME")
    assert order.done().sqlstate == "57014"
    client.close()


def test_a_client_that_waits_for_too_long_is_refused_as_always(trunkline):
    daemon = trunkline(routes=[route(claim_timeout="1s")])
    with daemon.connect() as client:
        client.execute("select 1")
        daemon.console("PAUSE")
        with pytest.raises(psycopg.Error) as refused:
            client.execute("select 1")
        assert refused.value.sqlstate == "53300"


def test_pause_and_resume_under_load_lose_nothing(daemon):
    stop, failures, counts = threading.Event(), [], []

    def work():
        count = 0
        try:
            with daemon.connect() as client:
                while not stop.is_set():
                    assert client.execute("select 1").fetchone() == (1,)
                    count += 1
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        counts.append(count)
    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for _ in range(10):
        daemon.console("PAUSE")
        assert servers(daemon) == []
        daemon.console("RESUME")
    stop.set()
    for worker in workers:
        worker.join(60)
    assert failures == [] and sum(counts) > 0


# --- DISABLE and ENABLE


def test_a_disabled_database_refuses_new_clients_only(daemon):
    with daemon.connect() as client:
        daemon.console("DISABLE app")
        assert databases(daemon)["app"]["disabled"] == 1
        assert client.execute("select 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match='"app" is disabled'):
            daemon.connect()
        daemon.connect("other").close()
        daemon.console("ENABLE app")
        daemon.connect().close()


def test_disable_and_enable_need_a_database(daemon):
    for command in ("DISABLE", "ENABLE", "KILL_CLIENT"):
        with pytest.raises(psycopg.errors.SyntaxError):
            daemon.console(command)


# --- RECONNECT and WAIT_CLOSE


@pytest.mark.parametrize("target", ["", " app"])
def test_reconnect_makes_every_server_anew(daemon, target):
    clients = warm(daemon)
    before = {r["remote_pid"] for r in servers(daemon)}
    clients[0].execute("begin")
    held = clients[0].execute("select pg_backend_pid()").fetchone()[0]
    daemon.console("RECONNECT" + target)
    order = Order(daemon, "WAIT_CLOSE" + target)
    eventually(lambda: {r["remote_pid"] for r in servers(daemon)} == {held})
    assert order.waits()
    assert clients[0].execute("select pg_backend_pid()").fetchone()[0] == held
    clients[0].execute("commit")
    assert order.done() is None
    for client in clients:
        assert client.execute("select pg_backend_pid()").fetchone()[0] not in before
    close(clients)


def test_reconnect_of_one_database_leaves_others_alone(daemon):
    clients = warm(daemon, database="other")
    before = {r["remote_pid"] for r in servers(daemon, "other")}
    daemon.console("RECONNECT app")
    assert {r["remote_pid"] for r in servers(daemon, "other")} == before
    close(clients)


# --- KILL and KILL_CLIENT


@pytest.mark.parametrize("target", ["", " app"])
def test_kill_ends_clients_and_servers_and_pauses(daemon, target):
    clients = warm(daemon)
    clients[0].execute("begin")
    daemon.console("KILL" + target)
    assert servers(daemon) == []
    for client in clients:
        with pytest.raises(psycopg.OperationalError, match="administrator command"):
            client.execute("select 1")
    daemon.console("RESUME" + target)
    with daemon.connect() as client:
        assert client.execute("select 1").fetchone() == (1,)


def test_kill_client_ends_one(daemon):
    clients = [daemon.connect(application_name=f"c{i}") for i in range(4)]
    clients[2].execute("begin")
    ids = {r["application_name"]: r["id"] for r in daemon.console("SHOW CLIENTS")}
    for name in ("c1", "c2"):
        daemon.console(f"KILL_CLIENT {ids[name]}")
    for i in (1, 2):
        with pytest.raises(psycopg.OperationalError, match="administrator command"):
            clients[i].execute("select 1")
    for i in (0, 3):
        assert clients[i].execute("select 1").fetchone() == (1,)
    with pytest.raises(psycopg.Error) as refused:
        daemon.console(f"KILL_CLIENT {ids['c1']}")
    assert refused.value.sqlstate == "42704"
    with pytest.raises(psycopg.errors.SyntaxError):
        daemon.console("KILL_CLIENT 17")
    close(clients)


def test_kill_client_finds_one_in_a_crowd(trunkline):
    """The relay walks over so many clients in steps: what one of them has ended counts."""
    crowd = trunkline(relays=1, routes=[route(auth="trust", server_user="trusted")])
    with admin(crowd) as console:

        def ids():
            rows = console.execute("SHOW CLIENTS").fetchall()
            return [row[column] for row in rows if row[user] == "trusted"]

        names = [name.name for name in console.execute("SHOW CLIENTS").description]
        column, user = names.index("id"), names.index("user")
        clients = [crowd.endpoint(user="trusted").wire() for _ in range(1200)]
        first = min(ids())
        console.execute(f"KILL_CLIENT {first}")
        eventually(lambda: first not in ids())
        assert len(ids()) == 1199
    for client in clients:
        client.__exit__()


# --- SUSPEND


def test_suspend_holds_all_clients_and_keeps_the_servers(daemon):
    clients = warm(daemon)
    session = daemon.connect("session")
    pid = session.execute("select pg_backend_pid()").fetchone()
    before = {r["remote_pid"] for r in servers(daemon)}
    clients[0].execute("begin")
    order = Order(daemon, "SUSPEND")
    eventually(lambda: state(daemon)["suspended"] == "yes")
    assert order.waits()
    clients[0].execute("commit")
    assert order.done() is None
    done = []

    def ask(client):
        done.append(client.execute("select 1").fetchone())
    askers = [threading.Thread(target=ask, args=(c,)) for c in (*clients, session)]
    for asker in askers:
        asker.start()
    assert {r["remote_pid"] for r in servers(daemon)} == before
    assert done == []
    daemon.console("RESUME")
    for asker in askers:
        asker.join(60)
    assert len(done) == len(askers)
    assert session.execute("select pg_backend_pid()").fetchone() == pid
    close([*clients, session])


# --- SHUTDOWN


def ends(daemon):
    assert daemon.program.wait() == 0
    daemon.check()


def test_shutdown_ends_at_once(daemon):
    client = daemon.connect()
    client.execute("begin")
    order = Order(daemon, "SHUTDOWN")
    ends(daemon)
    order.done()
    with pytest.raises(psycopg.OperationalError):
        client.execute("select 1")


def test_shutdown_waits_for_servers_and_the_console_stays_open(daemon):
    client, session = daemon.connect(), daemon.connect("session")
    client.execute("begin")
    daemon.console("SHUTDOWN WAIT_FOR_SERVERS")
    with pytest.raises(psycopg.OperationalError, match="shutting down"):
        daemon.connect()
    assert client.execute("select 1").fetchone() == (1,)
    client.execute("commit")
    assert session.execute("select 1").fetchone() == (1,)
    with pytest.raises(psycopg.Error) as refused:
        daemon.console("RESUME")
    assert refused.value.sqlstate == "55000"
    session.close()
    ends(daemon)


def test_shutdown_waits_for_clients(daemon):
    client = daemon.connect()
    daemon.console("SHUTDOWN WAIT_FOR_CLIENTS")
    with pytest.raises(psycopg.OperationalError, match="shutting down"):
        daemon.connect()
    assert client.execute("select 1").fetchone() == (1,)
    assert daemon.console("SHOW CLIENTS")
    client.close()
    ends(daemon)


def test_a_shutdown_that_waits_can_be_hurried(daemon):
    client = daemon.connect()
    daemon.console("SHUTDOWN WAIT_FOR_CLIENTS")
    Order(daemon, "SHUTDOWN").done()
    ends(daemon)
    client.close()


def test_another_word_behind_shutdown_is_an_error(daemon):
    with pytest.raises(psycopg.errors.SyntaxError):
        daemon.console("SHUTDOWN TOMORROW")


# --- SET


def setting(daemon, key):
    return {r["key"]: r["value"] for r in daemon.console("SHOW CONFIG")}[key]


def test_a_set_holds_until_the_next_reload(daemon):
    assert setting(daemon, "routes[2].claim_timeout") == "1min"
    daemon.console("SET routes[2].claim_timeout = 200ms")
    daemon.console("SET routes[2].pool_size TO '1'")
    assert setting(daemon, "routes[2].claim_timeout") == "200ms"
    with daemon.connect() as holder, daemon.connect() as waiter:
        holder.execute("begin")
        with pytest.raises(psycopg.Error) as refused:
            waiter.execute("select 1")
        assert refused.value.sqlstate == "53300"
        holder.execute("commit")
    daemon.reload()
    assert setting(daemon, "routes[2].claim_timeout") == "1min"
    assert setting(daemon, "routes[2].pool_size") == "20"


def test_set_adds_a_setting_that_the_file_lacks(daemon):
    daemon.console("SET log.level = debug")
    assert setting(daemon, "log.level") == "debug"
    daemon.console("SET services.main.connect_timeout = 7s")
    assert setting(daemon, "services.main.connect_timeout") == "7s"
    assert setting(daemon, "log.level") == "debug"


@pytest.mark.parametrize(("statement", "sqlstate"), [
    ("SET routes[0].pool_size = many", "F0000"), ("SET routes[0].pool_size = 0", "F0000"),
    ("SET routes[7].pool_size = 1", "42704"), ("SET relays = 3", "0A000"),
    ("SET client = 5", "42704"), ("SET pool_sise = 1", "42704"), ("RESET client", "42704"),
    ("RESET routes[0].pool_size", "0A000"), ("SET LOCAL routes[0].pool_size = 1", "0A000"),
    ("SET routes[0].pool_size", "42601")])
def test_a_set_that_is_wrong_changes_nothing(daemon, statement, sqlstate):
    before = {r["key"]: r["value"] for r in daemon.console("SHOW CONFIG")}
    with pytest.raises(psycopg.Error) as refused:
        daemon.console(statement)
    assert refused.value.sqlstate == sqlstate
    assert {r["key"]: r["value"] for r in daemon.console("SHOW CONFIG")} == before
    daemon.console("SET routes[0].pool_size = 3")
    assert setting(daemon, "routes[0].pool_size") == "3"


# --- who may


VERBS = ["PAUSE", "RESUME", "DISABLE app", "ENABLE app", "DRAIN x", "UNDRAIN x", "ELECT x",
         "RECONNECT", "RESOLVE main", "SWITCHOVER main", "KILL", "WAIT_CLOSE",
         "KILL_CLIENT 0198aaaa-0000-7000-8000-000000000000",
         "MOVE_CLIENT 0198aaaa-0000-7000-8000-000000000000", "SUSPEND", "RELOAD", "SHUTDOWN",
         "SHUTDOWN WAIT_FOR_CLIENTS", "SHOW FDS", "CACHE FLUSH", "FIREWALL FORGET",
         "RESET STATEMENTS", "SET overtake_limit = 1s"]


@pytest.mark.parametrize("verb", VERBS)
def test_commands_are_refused_to_stats_users(trunkline, verb):
    daemon = trunkline(console={"users": ["admin"], "stats_users": ["reports"]})
    with admin(daemon, "reports") as connection:
        for _ in range(2):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(verb)
    with psycopg.connect(daemon.endpoint("pgbouncer", "reports").conninfo()) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(verb, prepare=True)
    assert state(daemon)["active"] == "yes"
    with daemon.connect() as client:
        assert client.execute("select 1").fetchone() == (1,)


def test_every_verb_of_the_console_is_among_these(trunkline):
    daemon = trunkline()
    helped = {row["command"].split()[0] for row in daemon.console("SHOW COMMANDS")} - {"SHOW"}
    assert helped == {verb.split()[0] for verb in VERBS} - {"SHOW"}
