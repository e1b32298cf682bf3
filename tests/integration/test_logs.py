"""The log: formats, targets, rotation, and what its lines say."""
import base64
import hashlib
import hmac
import json
import re
import signal
import socket
import threading

import psycopg
import pytest
from support.patience import eventually
from support.trunkline import configuration, route


class Collector:
    """A datagram socket that keeps what it is sent, as syslog and the journal would."""

    def __init__(self, path):
        self.path = str(path)
        self.records = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def collect(self):
        while True:
            record = self.socket.recv(65536)
            if record == b"end of the test":
                return
            self.records.append(record)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"end of the test", self.path)
        self.thread.join()
        self.socket.close()

    def record(self, pattern):
        return eventually(lambda: next((r for r in self.records if re.search(pattern, r)), None))


@pytest.fixture
def collector(tmp_path):
    made = []

    def make(name):
        made.append(Collector(tmp_path / name))
        return made[-1]

    yield make
    for one in made:
        one.close()


def reads(path, pattern):
    return eventually(lambda: path.exists() and re.search(pattern, path.read_text()))


def query(daemon, statement="SELECT 1", **options):
    with daemon.connect(**options) as session:
        return session.execute(statement).fetchall()


# --- formats and targets


def test_every_target_has_its_own_format_and_level(trunkline, postgres, tmp_path):
    files = {name: tmp_path / name for name in ("text", "json", "logfmt", "errors")}
    daemon = trunkline(config=configuration(postgres, log={"level": "debug", "targets": [
        {"to": "file", "path": str(files["text"]), "format": "text"},
        {"to": "file", "path": str(files["json"]), "format": "json", "level": "info"},
        {"to": "file", "path": str(files["logfmt"]), "format": "logfmt"},
        {"to": "file", "path": str(files["errors"]), "level": "error"},
        {"to": "stderr"},
    ]}))
    query(daemon)
    reads(files["text"], r"(?m)^\d{4}-\d\d-\d\d [\d:.]+ UTC \[\d+\] INFO client\.connected client=\S+ ")
    reads(files["logfmt"], r"(?m)^ts=\d{4}-\d\d-\d\dT[\d:.]+Z level=INFO pid=\d+ event=client\.connected ")
    reads(files["json"], r'"event":"client.connected"')
    for line in files["json"].read_text().splitlines():
        assert {"ts", "level", "pid", "event"} <= json.loads(line).keys()
    daemon.logged(r"INFO client\.connected")
    assert files["errors"].read_text() == ""


@pytest.mark.parametrize("form", ["json", "logfmt"])
def test_the_daemon_and_the_backend_have_keys_of_their_own(trunkline, postgres, tmp_path, form):
    file = tmp_path / "log"
    daemon = trunkline(config=configuration(postgres, log={"level": "debug", "targets": [
        {"to": "file", "path": str(file), "format": form}, {"to": "stderr"}]}))
    with daemon.connect() as session:
        backend = session.execute("SELECT pg_backend_pid()").fetchone()[0]
    reads(file, "client.disconnected")

    def pairs(line):
        if form == "json":
            return json.loads(line, object_pairs_hook=list)
        return re.findall(r'(?:^| )(\w+)=("(?:[^"\\]|\\.)*"|\S*)', line)
    served = []
    for line in map(pairs, file.read_text().splitlines()):
        found = dict(line)
        assert len(line) == len(found), line
        assert int(found["pid"]) == daemon.program.pid
        served += [int(found["server_pid"])] if "server_pid" in found and "client" in found else []
    assert served and set(served) == {backend}


@pytest.mark.parametrize("protocol, head", [
    ("rfc3164", rb"^<158>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d pool\[\d+\]: INFO client\.connected client="),
    ("rfc5424", rb"^<158>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ pool \d+ client\.connected - "
                rb"INFO client\.connected client="),
])
def test_syslog_gets_a_datagram_for_each_event(trunkline, postgres, collector, protocol, head):
    syslog = collector("syslog")
    daemon = trunkline(config=configuration(postgres, log={"targets": [
        {"to": "syslog", "path": syslog.path, "facility": "local3", "ident": "pool",
         "protocol": protocol}, {"to": "stderr"}]}))
    query(daemon)
    assert re.search(head, syslog.record(rb"client\.connected"))


def test_the_journal_gets_fields(trunkline, postgres, collector):
    journal = collector("journal")
    daemon = trunkline(config=configuration(postgres, log={"targets": [
        {"to": "journal", "path": journal.path, "ident": "pool"}, {"to": "stderr"}]}))
    query(daemon)
    lines = journal.record(rb"client\.connected").decode().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    assert fields["PRIORITY"] == "6" and fields["SYSLOG_IDENTIFIER"] == "pool"
    assert fields["TRUNKLINE_EVENT"] == "client.connected"
    assert fields["TRUNKLINE_USER"] == "app"
    assert fields["MESSAGE"].startswith("INFO client.connected client=" + fields["TRUNKLINE_CLIENT"])


def test_a_syslog_that_is_not_there_holds_up_nothing_and_is_found_when_it_comes(
        trunkline, postgres, collector, tmp_path):
    daemon = trunkline(config=configuration(postgres, log={"targets": [
        {"to": "syslog", "path": str(tmp_path / "late")}, {"to": "stderr"}]}))
    query(daemon)
    syslog = collector("late")

    def told():
        query(daemon)
        return any(b"client.connected" in record for record in syslog.records)
    eventually(told)
    syslog.record(rb"log\.dropped lines=\d+")


def test_wrong_targets_are_refused_with_their_place(trunkline, postgres):
    daemon = trunkline(config=configuration(postgres))
    daemon.write(configuration(postgres, log={"targets": [
        {"to": "file"}, {"to": "stderr", "path": "/tmp/x"}, {"format": "text"}]}))
    with pytest.raises(psycopg.Error) as refused:
        daemon.console("RELOAD")
    detail = refused.value.diag.message_detail
    assert "log.targets[0].path: missing" in detail
    assert "log.targets[1].path: has no effect on standard error" in detail
    assert "log.targets[2].to" in detail


# --- rotation


@pytest.mark.parametrize("how", ["SIGUSR1", "reload"])
def test_a_file_that_was_moved_away_is_opened_anew(trunkline, postgres, tmp_path, how):
    file = tmp_path / "pooler.log"
    daemon = trunkline(config=configuration(postgres, log={"targets": [
        {"to": "file", "path": str(file)}, {"to": "stderr"}]}))
    query(daemon, user="app")
    reads(file, "client.connected")
    file.rename(tmp_path / "pooler.log.1")
    if how == "reload":
        daemon.hangup()
        reads(file, "config.reloaded")
    else:
        daemon.program.send_signal(signal.SIGUSR1)
        reads(file, "log.reopened")
    query(daemon, user="reports", database="app")
    reads(file, "client.connected .*user=reports")
    assert "user=reports" not in (tmp_path / "pooler.log.1").read_text()


def test_targets_come_and_go_with_a_reload(trunkline, postgres, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    config = configuration(postgres, log={"targets": [
        {"to": "file", "path": str(first)}, {"to": "stderr"}]})
    daemon = trunkline(config=config)
    query(daemon)
    reads(first, "client.connected")
    config["log"]["targets"][0] = {"to": "file", "path": str(second), "format": "json"}
    daemon.reload(config)
    query(daemon, user="reports", database="app")
    reads(second, '"client.connected".*"reports"')
    assert "reports" not in first.read_text()


# --- what is said


def test_coming_and_going_are_switched_one_by_one(trunkline, postgres):
    config = configuration(postgres, log={"connections": False})
    daemon = trunkline(config=config)
    query(daemon)
    daemon.logged(r'client\.disconnected .*reason="terminated by the client"')
    assert "client.connected" not in daemon.log()
    config["log"] = {"disconnections": False}
    daemon.reload(config)
    query(daemon, user="reports", database="app")
    daemon.logged(r"client\.connected .*user=reports")
    assert not re.search(r"client\.disconnected .*user=reports", daemon.log())


def test_repeated_log_lines_are_counted(trunkline, postgres):
    config = configuration(postgres, log={"repeat_period": "1s"})
    daemon = trunkline(config=config)
    for _ in range(20):
        with pytest.raises(psycopg.Error):
            daemon.connect(user="app", password="wrong")

    def counted():
        told = re.findall(r"log\.repeated name=client\.login_failed times=(\d+)", daemon.log())
        lines = len(re.findall(r"NOTICE client\.login_failed", daemon.log()))
        return sum(map(int, told)) + lines == 20 and lines < 20
    eventually(counted)


def test_a_client_without_a_startup_packet_has_no_name_in_the_log(trunkline, postgres):
    daemon = trunkline(config=configuration(postgres))
    with socket.create_connection(("127.0.0.1", daemon.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        daemon.logged(r'client\.login_failed .* database="" user="" sqlstate=08P01')


def test_one_line_links_client_server_and_backend(trunkline, postgres):
    """A session's first and last line, and in a transaction pool its last one."""
    daemon = trunkline(config=configuration(postgres))
    ids = r"client=(\S+) database=session user=app .*server=(\S+) server_pid=(\d+)"
    with daemon.connect(database="session") as session:
        pid = session.execute("SELECT pg_backend_pid()").fetchone()[0]
        came = daemon.logged(r"client\.connected " + ids)
        assert int(came[3]) == pid
    gone = daemon.logged(r"client\.disconnected " + ids)
    assert gone.groups() == came.groups()
    with daemon.connect() as session:
        pid = session.execute("SELECT pg_backend_pid()").fetchone()[0]
    gone = daemon.logged(r"client\.disconnected client=\S+ database=app user=app server=(\S+) server_pid=(\d+)")
    assert int(gone[2]) == pid
    daemon.logged(rf"server\.connected server={gone[1]} .*server_pid={pid}\b")


def test_at_level_debug_each_assignment_is_told(trunkline, postgres):
    daemon = trunkline(config=configuration(postgres, log={"level": "debug"}))
    with daemon.connect() as session:
        pid = session.execute("SELECT pg_backend_pid()").fetchone()[0]
        daemon.logged(rf"DEBUG client\.served client=\S+ server=\S+ server_pid={pid} database=app user=app")


# --- statistics


def statistics(daemon, pattern):
    line = daemon.logged(rf"route\.statistics [^\n]*{pattern}[^\n]*").group()
    return dict(pair.split("=", 1) for pair in line.split()[1:])


@pytest.mark.parametrize("database", ["transaction", "session"])
def test_each_route_tells_its_times_every_period(trunkline, postgres, database):
    daemon = trunkline(config=configuration(postgres, log={"stats_period": "1s"}))
    with daemon.connect(database=database, autocommit=True) as session:
        for _ in range(20):
            session.execute("SELECT pg_sleep(0.02)")
        time_of = statistics(daemon, f"database={'session' if database == 'session' else '.'} "
                             r".*queries=[1-9]")
    assert 19000 <= int(time_of["query_p50_us"]) <= 200000
    assert int(time_of["query_p50_us"]) <= int(time_of["query_p95_us"]) <= int(time_of["query_p99_us"])
    assert int(time_of["transaction_p50_us"]) >= 19000
    assert int(time_of["received"]) > 0 and int(time_of["sent"]) > 0


def test_a_transaction_lasts_longer_than_its_queries_and_rests_count_for_none(trunkline, postgres):
    daemon = trunkline(config=configuration(postgres, log={"stats_period": "2s"}))
    with daemon.connect(database="session", autocommit=True) as session:
        session.execute("SELECT 1")
        statistics(daemon, "queries=[1-9]")
        statistics(daemon, "queries=0")
        session.execute("SELECT 1")
        twice = r"(?s)queries=1 .*queries=0 .*queries=1 .*query_p99_us=(\d+)"
        assert int(daemon.logged(twice)[1]) < 1000000
        with session.transaction():
            session.execute("SELECT 1")
            session.execute("SELECT pg_sleep(0.3)")
            session.execute("SELECT 1")
        told = statistics(daemon, r"transactions=\d queries=[5-9]")
    assert int(told["transaction_p99_us"]) >= 280000 > int(told["query_p50_us"])


def test_each_version_of_a_route_has_a_line_of_its_own(trunkline, postgres):
    config = configuration(postgres, log={"stats_period": "1s"}, routes=[route()])
    daemon = trunkline(config=config)
    with daemon.connect(autocommit=True) as old:
        old.execute("SELECT 1")
        told = statistics(daemon, "queries=[1-9]")
        assert (told["version"], told["obsolete"]) == ("1", "no")
        config["routes"] = [route(auth="md5")]
        daemon.reload(config)
        with daemon.connect(autocommit=True) as new, daemon.connect(autocommit=True):
            for session in old, new, new:
                session.execute("SELECT 1")
            told = statistics(daemon, "obsolete=yes .*clients=1 .*queries=1 ")
            assert told["version"] == "1"
            told = statistics(daemon, "obsolete=no .*clients=2 .*queries=[1-9]")
            assert told["version"] == "2"
        line = r"route=\d+ version=1 obsolete=yes database=\* user=\* service=main .* clients=1 "
        daemon.logged(line)


def test_counts_of_a_pool_are_logged_after_its_end(trunkline, postgres):
    daemon = trunkline(config=configuration(postgres, log={"stats_period": "3s"}, routes=[
        route(idle_timeout="10ms")]))
    query(daemon)
    told = statistics(daemon, "queries=[1-9]")
    assert told["clients"] == "0" and told["busy"] == "0"


def test_statistics_can_be_off(trunkline, postgres):
    config = configuration(postgres, log={"stats_period": "off"})
    daemon = trunkline(config=config)
    query(daemon)
    config["log"] = {"stats_period": "1s"}
    daemon.reload(config)
    assert "route.statistics" not in daemon.log()
    statistics(daemon, "queries=1")


# --- slow queries


def slow(daemon, pattern):
    return daemon.logged(rf"NOTICE query\.slow client=\S+ server=\S+ server_pid=\d+ database=\S+ user=app {pattern}")


@pytest.mark.parametrize("database", ["transaction", "session"])
def test_a_slow_query_is_told_without_its_text(trunkline, postgres, database):
    daemon = trunkline(config=configuration(postgres, routes=[
        route(database="session", pool="session", slow_query="500ms"), route(slow_query="500ms")]))
    with daemon.connect(database=database, autocommit=True) as session:
        session.execute("SELECT 1, 'quick'")
        session.execute("SELECT pg_sleep(0.6), 'secret'")
    slow(daemon, r"us=\d{6,}\n")
    assert "secret" not in daemon.log() and "quick" not in daemon.log()
    assert daemon.log().count("query.slow") == 1


@pytest.mark.parametrize("database", ["transaction", "session"])
def test_a_slow_query_is_told_with_the_beginning_of_its_text(trunkline, postgres, database):
    daemon = trunkline(config=configuration(postgres, log={"query_text": 60}, routes=[
        route(database="session", pool="session", slow_query="500ms"), route(slow_query="500ms")]))
    with daemon.connect(database=database, autocommit=True) as session:
        session.execute("SELECT 1, 'quick'")
        session.execute("SELECT pg_sleep(0.6), 'simple'" + " " * 100 + "-- far behind")
        session.execute("SELECT pg_sleep(%s), 'extended'", [0.6])
        for _ in range(2):
            session.execute("SELECT pg_sleep(%s), 'prepared'", [0.6], prepare=True)
    slow(daemon, r"us=\d+ text=\"SELECT pg_sleep\(0.6\), 'simple' +\"")
    slow(daemon, r"us=\d+ text=\"SELECT pg_sleep\(\$1\), 'extended'\"")
    eventually(lambda: daemon.log().count("query.slow") == 4)
    assert "far behind" not in daemon.log() and "quick" not in daemon.log()
    # A session's own named statements are not followed.
    assert daemon.log().count("'prepared'") == (2 if database == "transaction" else 0)


# --- secrets


def verifier(password):
    """A SCRAM verifier, with PostgreSQL's usual number of rounds."""
    salt = b"sixteen bytes ok"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 4096)
    client = hmac.digest(salted, b"Client Key", "sha256")
    keys = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    stored, server = (base64.b64encode(key).decode() for key in keys)
    return f"SCRAM-SHA-256$4096:{base64.b64encode(salt).decode()}${stored}:{server}"


@pytest.mark.parametrize("form", ["text", "json", "logfmt"])
def test_no_secret_is_ever_written(trunkline, postgres, form):
    """Logins of all kinds, right and wrong, and a reload, at the highest level."""
    words = {"plain": "open-sesame-plain", "hashed": "open-sesame-md5", "secret": "open-sesame-scram"}
    stored = {"plain": words["plain"], "secret": verifier(words["secret"]),
              "hashed": "md5" + hashlib.md5((words["hashed"] + "hashed").encode()).hexdigest()}
    servers = dict(server_user="app", server_password="app")
    routes = [route(user="hashed", auth="md5", **servers), route(database="clear", auth="password", **servers),
              route(server_user="app", server_password="open-sesame-wrong", database="wrong"),
              route(**servers)]
    daemon = trunkline(config=configuration(postgres, routes=routes, log={
        "level": "debug", "format": form, "query_text": 2000, "repeat_period": "off"}),
        users={**stored, "admin": "admin"})
    for database in ("app", "clear", "wrong"):
        for user, word in words.items():
            for said in (word, "open-sesame-typo"):
                try:
                    with daemon.connect(database=database, user=user, password=said) as session:
                        session.execute("SELECT 1")
                except psycopg.Error:
                    pass
    daemon.reload()
    daemon.console("SHOW CONFIG")
    daemon.logged(r"client\.login_failed")
    daemon.logged(r"server\.login_failed")
    written = daemon.log()
    pieces = [piece for secret in stored.values() for piece in re.split(r"[$:]", secret) if len(piece) > 8]
    for secret in ["open-sesame", *stored.values(), *pieces]:
        assert secret not in written
    assert not re.search(r"SCRAM-SHA-256\$|md5[0-9a-f]{32}", written)
