"""Replication connections: each has a server of its own, and PostgreSQL's own tools work."""
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess

import pytest
from support import wire as w
from support.patience import PATIENCE, eventually
from support.ports import free_port
from support.postgres import OWNER, Postgres, binaries, place
from support.processes import Program, as_user
from support.trunkline import USERS, route

HBA = """
local all all trust
local replication all trust
host  all all 127.0.0.1/32 scram-sha-256
host  replication all 127.0.0.1/32 scram-sha-256
"""

ALL_USERS = dict(USERS, walker="walker")


@pytest.fixture(scope="module")
def source(template):
    cluster = Postgres(template, hba=HBA, wal_level="logical", max_wal_senders=5,
                       max_replication_slots=5)
    cluster.sql("create role walker login replication password 'walker'")
    cluster.sql("grant all on schema public to walker")
    yield cluster
    cluster.remove()


@pytest.fixture
def daemon(trunkline, source):
    return trunkline(server=source, users=ALL_USERS,
                     routes=[route(database="session", pool="session"), route(pool_size=2)])


@pytest.fixture
def folder():
    made = place("replication")
    yield made
    shutil.rmtree(made, ignore_errors=True)


def tool(name, daemon, *words):
    return as_user(OWNER) + [binaries() / name, "-h", daemon.host, "-p", str(daemon.port),
                             "-U", "walker", *words]


def run(name, daemon, *words):
    done = subprocess.run([str(word) for word in tool(name, daemon, *words)], cwd="/", text=True,
                          capture_output=True, timeout=PATIENCE * 2,
                          env=dict(os.environ, PGPASSWORD="walker", HOME="/nonexistent"))
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def start(folder, name, daemon, *words):
    """One that goes on until it is ended."""
    output = folder / f"{name}.log"
    return Program(tool(name, daemon, *words), output, cwd="/",
                   env=dict(os.environ, PGPASSWORD="walker", HOME="/nonexistent"))


def walkers(source):
    return source.one("select count(*) from pg_stat_activity where backend_type = 'walsender'")


def fill(source, rows=20000):
    source.sql("create table if not exists filled (n int, t text)")
    source.sql(f"insert into filled select n, repeat('x', 200) from generate_series(1, {rows}) n")


# --- PostgreSQL's own tools

@pytest.mark.parametrize("words", [("-X", "stream"), ("-X", "fetch"), ("-X", "stream", "-F", "tar")],
                         ids=" ".join)
def test_pg_basebackup_brings_a_cluster_that_verifies(daemon, source, folder, words):
    fill(source)
    target = folder / "copy"
    run("pg_basebackup", daemon, "-D", target, "-c", "fast", "--no-sync", *words)
    if "tar" in words:
        assert (target / "base.tar").stat().st_size > 20 << 20
    else:
        subprocess.run([str(word) for word in as_user(OWNER) +
                        [binaries() / "pg_verifybackup", target]], check=True, cwd="/",
                       stdout=subprocess.DEVNULL)
    eventually(lambda: walkers(source) == 0)


def test_pg_receivewal_follows_the_log_and_ends_when_it_is_told(daemon, source, folder):
    run("pg_receivewal", daemon, "--create-slot", "--slot=followed")
    receiver = start(folder, "pg_receivewal", daemon, "-D", folder, "--slot=followed",
                     "--no-sync", "--status-interval=1")
    eventually(lambda: source.one("select count(*) from pg_stat_replication "
                                  "where state = 'streaming'") == 1)
    fill(source, 30000)
    here = source.one("select pg_current_wal_flush_lsn()")
    source.sql("select pg_switch_wal()")
    eventually(lambda: source.one("select restart_lsn >= %s::pg_lsn from pg_replication_slots "
                                  "where slot_name = 'followed'", here))
    assert [name for name in os.listdir(folder) if re.fullmatch("[0-9A-F]{24}", name)]
    assert receiver.end(signal.SIGINT) == 0, receiver.text()
    eventually(lambda: walkers(source) == 0)
    run("pg_receivewal", daemon, "--drop-slot", "--slot=followed")


def test_pg_recvlogical_streams_changes_and_confirms_them(daemon, source, folder):
    source.sql("create table if not exists changed (n int)", database="app")
    run("pg_recvlogical", daemon, "-d", "app", "--slot=decoded", "--create-slot", "-P",
        "test_decoding")
    output = folder / "changes"
    receiver = start(folder, "pg_recvlogical", daemon, "-d", "app", "--slot=decoded", "--start",
                     "-f", output, "--status-interval=1", "--fsync-interval=0")
    source.sql("insert into changed select n from generate_series(1, 3000) n", database="app")
    eventually(lambda: output.exists() and
               output.read_text().count("table public.changed: INSERT") == 3000)
    here = source.one("select pg_current_wal_flush_lsn()")
    eventually(lambda: source.one("select confirmed_flush_lsn >= %s::pg_lsn "
                                  "from pg_replication_slots where slot_name = 'decoded'", here))
    assert receiver.end(signal.SIGINT) == 0, receiver.text()
    eventually(lambda: walkers(source) == 0)
    run("pg_recvlogical", daemon, "-d", "app", "--slot=decoded", "--drop-slot")


# --- by the protocol

def connect(daemon, replication, user="walker", **parameters):
    wire = daemon.endpoint().wire(login=False)
    wire.send(w.startup_packet(user=user, database="app", replication=replication, **parameters))
    wire.login(user, user)
    return wire


def refusal(daemon, replication, **parameters):
    with pytest.raises(w.Refused) as refused:
        connect(daemon, replication, **parameters)
    assert refused.value.fields["V"] == "FATAL"
    return refused.value.sqlstate


@pytest.mark.parametrize("word", ["true", "on", "1", "YES", "t", "database"])
def test_a_replication_connection_has_a_server_of_its_own(daemon, source, word):
    with connect(daemon, word, application_name="a walker") as wire:
        assert 0 < wire.pid < 1 << 31
        answers = wire.ask(w.query("IDENTIFY_SYSTEM"))
        assert w.kinds(answers) == "T D C Z"
        assert wire.pid in [row[0] for row in source.sql(
            "select pid from pg_stat_activity where backend_type = 'walsender' "
            "and application_name = 'a walker'")]
        assert (word == "database") == (answers[1].values[3] == b"app")
    eventually(lambda: walkers(source) == 0)


@pytest.mark.parametrize("word", ["false", "off", "0", "no", "F"])
def test_no_replication_is_an_ordinary_connection(daemon, word):
    with connect(daemon, word) as wire:
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


@pytest.mark.parametrize("word", ["", "o", "maybe", "databas", "2"])
def test_a_word_that_is_none_is_postgresqls_own_error(daemon, source, word):
    own = source.endpoint()
    with own.wire(login=False) as wire:
        wire.send(w.startup_packet(user="walker", database="app", replication=word))
        assert [m.sqlstate for m in wire.rest()] == ["22023"]
    assert refusal(daemon, word) == "22023"


def test_the_startup_parameters_arrive_as_they_were_sent(daemon, source):
    options = r"-c work_mem=5MB -c application_name=in\ options -S 6144"
    with connect(daemon, "database", options=options, TimeZone="Asia/Tokyo") as wire:
        assert wire.parameters["application_name"] == "in options"
        assert w.rows(wire.ask(w.query("SHOW work_mem"))) == [["6MB"]]
        assert w.rows(wire.ask(w.query("SHOW timezone"))) == [["Asia/Tokyo"]]
    assert refusal(daemon, "true", options="-c no_such_setting=1") == "42704"


def test_a_transaction_pools_servers_are_left_alone(daemon, source):
    with daemon.endpoint().wire() as other:
        mine = w.rows(other.ask(w.query("select pg_backend_pid()")))
        with connect(daemon, "true") as one, connect(daemon, "database") as two:
            assert one.pid != two.pid
            one.ask(w.query("IDENTIFY_SYSTEM"))
            two.ask(w.query("select 1"))
            assert w.rows(other.ask(w.query("select pg_backend_pid()"))) == mine


def test_failures_of_replication_are_no_bodys_elses(daemon, source):
    """One without the privilege, and more than max_wal_senders, while others wait for servers."""
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as two:
        for wire in (one, two):
            wire.ask(w.query("begin"))
        with daemon.endpoint().wire() as waiting:
            waiting.send(w.query("select 'served'"))
            assert refusal(daemon, "true", user="app") == "42501"
            held = [connect(daemon, "true") for _ in range(5)]
            assert refusal(daemon, "true") == "53300"
            assert waiting.silent()
            one.ask(w.query("commit"))
            assert w.rows(waiting.until()) == [["served"]]
            for wire in held:
                wire.__exit__()
    assert daemon.endpoint().one("select 1") == 1
    eventually(lambda: walkers(source) == 0)


def test_replication_can_be_limited_and_forbidden(trunkline, source):
    daemon = trunkline(server=source, users=ALL_USERS,
                       routes=[route(database="session", replication_limit="off"),
                               route(replication_limit=2)])
    with connect(daemon, "true"), connect(daemon, "true"):
        assert refusal(daemon, "true") == "53300"
        assert daemon.endpoint().one("select 1") == 1
    with daemon.endpoint("session").wire(login=False) as wire:
        wire.send(w.startup_packet(user="walker", database="session", replication="true"))
        with pytest.raises(w.Refused) as refused:
            wire.login("walker", "walker")
        assert refused.value.sqlstate == "3D000"


def copy_both(wire, source):
    """Streams from here on; returns where."""
    here = source.one("select pg_current_wal_flush_lsn()")
    wire.send(w.query(f"START_REPLICATION {here} TIMELINE 1"))
    assert wire.receive().kind == "W"
    return here


def test_copy_both_flows_both_ways_at_once_and_ends_by_agreement(daemon, source):
    with connect(daemon, "true") as wire:
        copy_both(wire, source)
        status = w.copy_data(b"r" + struct.pack("!QQQqB", 1 << 20, 1 << 20, 0, 0, 0))
        fill(source, 10000)
        received = 0
        while received < 2 << 20:
            wire.send(status * 50)
            message = wire.receive()
            assert message.kind == "d"
            received += len(message.body)
        wire.send(w.COPY_DONE)
        rest = wire.until()
        kinds = w.kinds([m for m in rest if m.kind != "d"])
        assert kinds.startswith("c") and kinds.endswith("C Z")
        assert w.kinds(wire.ask(w.query("IDENTIFY_SYSTEM"))) == "T D C Z"


def test_a_walker_that_does_not_read_is_waited_for_and_not_buffered(daemon, source):
    before = daemon.memory()
    with connect(daemon, "true") as wire:
        copy_both(wire, source)
        fill(source, 200000)
        flushed = source.one("select pg_current_wal_flush_lsn()")
        sent = "select sent_lsn < %s::pg_lsn from pg_stat_replication"
        assert source.one(sent, flushed)
        assert daemon.endpoint().one("select 1") == 1
        if os.environ.get("TRUNKLINE_KIND", "") == "":
            assert daemon.memory() - before < 16 << 20
        total = 0
        while total < 40 << 20:
            message = wire.receive()
            total += len(message.body)


@pytest.mark.parametrize("how", ["terminate", "reset", "end"])
def test_a_walker_that_leaves_in_the_middle_leaves_nothing(daemon, source, how):
    wire = connect(daemon, "true")
    copy_both(wire, source)
    if how == "terminate":
        wire.send(w.TERMINATE)
    if how == "reset":
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.__exit__()
    eventually(lambda: walkers(source) == 0)
    assert daemon.endpoint().one("select 1") == 1


def test_a_server_that_comes_when_its_walker_has_gone_is_closed(trunkline, source):
    """It was made for that one only, and holds one of max_wal_senders."""
    daemon = trunkline(server=source, users=ALL_USERS, routes=[route(claim_timeout="200ms")])
    assert refusal(daemon, "true", options="-c post_auth_delay=1") == "53300"
    eventually(lambda: "its client no longer waits for it" in daemon.log())
    eventually(lambda: walkers(source) == 0)


def test_times_for_queries_do_not_hold_for_streams(trunkline, source):
    daemon = trunkline(server=source, users=ALL_USERS, routes=[route(
        query_timeout="1s", client_idle_timeout="1s", transaction_timeout="1s")])
    with connect(daemon, "true") as wire:
        copy_both(wire, source)
        with daemon.endpoint().wire() as other:
            other.send(w.query("select pg_sleep(30)"))
            assert "57014" in [m.sqlstate for m in other.until("E") if m.kind == "E"]
        wire.send(w.COPY_DONE)
        assert wire.until()[-1].kind == "Z"


def test_a_stream_does_not_hold_up_a_shutdown(daemon, source):
    with connect(daemon, "true") as wire:
        copy_both(wire, source)
        daemon.program.send_signal(signal.SIGTERM)
        answers = wire.rest()
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["57P01"]
        assert daemon.program.wait() == 0


def test_the_console_shows_them_in_their_pool(daemon):
    with connect(daemon, "true") as one, daemon.endpoint(user="walker").wire() as other:
        one.ask(w.query("IDENTIFY_SYSTEM"))
        other.ask(w.query("select 1"))
        pools = [row for row in daemon.console("SHOW POOLS") if row["user"] == "walker"]
        assert [(row["database"], row["cl_active"], row["pool_mode"]) for row in pools] == \
            [("app", 2, "transaction")]
        with connect(daemon, "database") as two:
            for view in ("SHOW CLIENTS", "SHOW SERVERS"):
                kinds = [row["replication"] for row in daemon.console(view)
                         if row["user"] == "walker"]
                assert sorted(kinds) == ["logical", "none", "physical"]
            two.ask(w.query("IDENTIFY_SYSTEM"))


# --- PostgreSQL itself on the other side

def test_a_standby_follows_its_primary_by_way_of_the_pooler(daemon, source, template):
    """And takes up the stream again after it was cut."""
    source.sql("create table if not exists followed (n int)")
    behind = place("standby")
    try:
        run("pg_basebackup", daemon, "-D", behind / "data", "-c", "fast", "--no-sync", "-R")
        standby = Postgres(behind / "data", hba=HBA, hot_standby="on", wal_level="logical",
                           wal_retrieve_retry_interval="100ms", max_wal_senders=5,
                           max_replication_slots=5,
                           primary_conninfo=f"host={daemon.host} port={daemon.port} user=walker "
                                            "password=walker")
        try:
            def arrived(number):
                return standby.one("select count(*) from followed where n = %s", number) == 1

            source.sql("insert into followed values (1)")
            eventually(lambda: arrived(1))
            source.sql("select pg_terminate_backend(pid) from pg_stat_replication")
            source.sql("insert into followed values (2)")
            eventually(lambda: arrived(2))
        finally:
            standby.remove()
    finally:
        shutil.rmtree(behind, ignore_errors=True)
    eventually(lambda: walkers(source) == 0)


def test_a_subscription_copies_its_tables_and_follows_them(daemon, source, cluster):
    """Its options, in libpq's own quoting, reach the server as they are."""
    other = cluster(wal_level="logical", max_logical_replication_workers=4, max_worker_processes=8)
    source.sql("create table published (n int primary key); grant all on published to walker")
    source.sql("insert into published select generate_series(1, 1000)")
    source.sql("create publication everything for table published")
    other.sql("create table published (n int primary key)")
    other.sql("create subscription everything connection "
              f"'host={daemon.host} port={daemon.port} dbname=app user=walker password=walker' "
              "publication everything")
    try:
        eventually(lambda: other.one("select count(*) from published") == 1000)
        source.sql("insert into published values (1001); delete from published where n <= 10")
        eventually(lambda: other.one("select count(*) from published") == 991)
    finally:
        other.sql("drop subscription everything")
        source.sql("drop publication everything; drop table published")
    eventually(lambda: walkers(source) == 0)


def test_a_base_backup_that_is_given_up_leaves_nothing(daemon, source):
    fill(source, 100000)
    wire = connect(daemon, "true")
    wire.send(w.query("BASE_BACKUP (CHECKPOINT 'fast', WAL false)"))
    total = 0
    while total < 4 << 20:
        total += len(wire.receive().body)
    wire.__exit__()
    eventually(lambda: walkers(source) == 0)
    assert daemon.endpoint().one("select 1") == 1


@pytest.mark.parametrize("tls", ["postgres", "direct"])
def test_replication_is_encrypted_like_everything_else(trunkline, cluster, certificate, folder, tls):
    source = cluster(hba=HBA, wal_level="replica", max_wal_senders=5, certificate=certificate)
    source.sql("create role walker login replication password 'walker'")
    listen = {"host": "127.0.0.1", "port": free_port(),
              "tls": {"mode": "require", "cert": str(certificate.cert),
                      "key": str(certificate.key)}}
    services = {"main": {"hosts": [f"127.0.0.1:{source.port}"], "tls": {"mode": "require"}}}
    daemon = trunkline(server=source, users=ALL_USERS, listen=[listen], services=services)
    if tls == "postgres":
        run("pg_basebackup", daemon, "-D", folder / "copy", "-c", "fast", "--no-sync")
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    wire = daemon.endpoint().wire(login=False)
    wire.socket = context.wrap_socket(wire.socket)
    wire.startup("walker", "app", "walker", replication="true")
    copy_both(wire, source)
    fill(source, 5000)
    received = 0
    while received < 1 << 20:
        received += len(wire.receive().body)
    wire.send(w.COPY_DONE)
    assert wire.until()[-1].kind == "Z"
    wire.__exit__()
