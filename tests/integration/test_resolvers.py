"""Servers found by DNS: a name's addresses, and SRV records; what name servers' faults change."""
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from support.nameserver import REFUSED, SERVFAIL, NameServer
from support.patience import STRETCH, eventually, seconds
from support.ports import free_port
from support.processes import Program
from support.trunkline import binary, route

SRV = "_postgresql._tcp.db.test"


@pytest.fixture
def names():
    made = []

    def make(*records, **options):
        made.append(NameServer(*records, **options))
        return made[-1]
    yield make
    for server in made:
        server.end()


def service(*servers, resolver="srv", name=SRV, **settings):
    return {"main": dict({
        "resolver": resolver, "name": name, "name_servers": [one.address for one in servers],
        "name_server_timeout": "500ms", "refresh_min": "200ms", "refresh_max": "5s",
        "tls": {"mode": "disable"}}, **settings)}


def backends(daemon):
    return {(row["host"], row["addr"]) for row in daemon.console("SHOW BACKENDS")
            if row["state"] != "obsolete"}


def addresses(daemon):
    return {address for _, address in backends(daemon)}


def said(daemon, record="srv"):
    """What a fresh resolution brings: the words, by name server."""
    return {row["said_by"]: row["said"] for row in daemon.console("RESOLVE main")
            if row["record"] == record}


def one_target(port=6001, ttl=1):
    return [(SRV, "SRV", ttl, f"10 5 {port} a.test"), ("a.test", "A", ttl, "127.0.0.1")]


# -- finding ---------------------------------------------------------------------------------------

def test_srv_records_lead_to_servers_with_ports_of_their_own(trunkline, names, cluster):
    one, two = cluster(), cluster()
    server = names((SRV, "SRV", 60, f"10 5 {one.port} a.test"),
                   (SRV, "SRV", 60, f"10 5 {two.port} a.test"), ("a.test", "A", 60, "127.0.0.1"))
    daemon = trunkline(services=service(server), routes=[route(pool="session", pool_size=8)])
    clients = [daemon.connect() for _ in range(8)]
    ports = {client.execute("show port").fetchone()[0] for client in clients}
    assert ports == {str(one.port), str(two.port)}
    for client in clients:
        client.close()
    assert backends(daemon) == {("a.test", f"127.0.0.1:{one.port}"),
                                ("a.test", f"127.0.0.1:{two.port}")}
    rows = [row for row in daemon.console("RESOLVE main") if row["record"] == "srv"]
    assert {(row["target"], row["priority"], row["weight"]) for row in rows} == {
        (f"a.test:{one.port}", 10, 5), (f"a.test:{two.port}", 10, 5)}
    assert {row["said_by"] for row in rows} == {server.address}
    zones = daemon.console("SHOW DNS_ZONES")
    assert [(row["zonename"], row["count"]) for row in zones] == [(SRV, 2)]
    hosts = daemon.console("SHOW DNS_HOSTS")
    assert [(row["hostname"], row["addrs"]) for row in hosts] == [("a.test", "127.0.0.1")]


def test_the_addresses_of_a_name_are_servers(trunkline, names, cluster):
    one = cluster(listen_addresses="127.0.0.1")
    cluster(listen_addresses="127.0.0.2", port=one.port)
    server = names(("db.test", "A", 60, "127.0.0.1"), ("db.test", "A", 60, "127.0.0.2"))
    daemon = trunkline(services=service(server, resolver="dns", name="db.test", port=one.port))
    where = "select host(inet_server_addr())"
    assert daemon.endpoint().one(where) == "127.0.0.1"
    assert backends(daemon) == {("db.test", f"127.0.0.{i}:{one.port}") for i in (1, 2)}
    one.stop()
    assert daemon.endpoint().one(where) == "127.0.0.2"


def test_an_alias_is_followed(trunkline, names):
    server = names(("db.test", "CNAME", 60, "true.test"), ("true.test", "A", 60, "127.0.0.3"))
    daemon = trunkline(services=service(server, resolver="dns", name="db.test", port=6001))
    eventually(lambda: backends(daemon) == {("db.test", "127.0.0.3:6001")})


def test_two_hundred_records_come_by_tcp(trunkline, names):
    records = [(SRV, "SRV", 60, f"10 5 {6000 + i} t{i}.test") for i in range(200)]
    records += [(f"t{i}.test", "A", 60, f"127.0.1.{i}") for i in range(200)]
    server = names(*records)
    server.additional = True
    daemon = trunkline(services=service(server))
    eventually(lambda: addresses(daemon) == {f"127.0.1.{i}:{6000 + i}" for i in range(200)})
    assert server.asked("SRV", "udp") >= 1 and server.asked("SRV", "tcp") >= 1
    assert set(server.edns) == {1232}
    assert server.asked("A") == 0, "the additional section had all of them"


def test_a_truncated_answer_is_asked_for_by_tcp(trunkline, names):
    server = names(*one_target())
    server.truncate = True
    daemon = trunkline(services=service(server))
    eventually(lambda: addresses(daemon) == {"127.0.0.1:6001"})
    assert server.asked("SRV", "tcp") >= 1 and server.asked("A", "tcp") >= 1


def test_name_servers_that_srv_records_list_are_asked(trunkline, names):
    first, second = names(*one_target(6001)), names(*one_target(6002))
    listing = names(("_dns._udp.test", "SRV", 1, f"0 0 {first.port} ns.test"),
                    ("ns.test", "A", 1, "127.0.0.1"))
    daemon = trunkline(services=service(listing, resolver_service="_dns._udp.test"))
    eventually(lambda: addresses(daemon) == {"127.0.0.1:6001"})
    listing.records[0] = ("_dns._udp.test", "SRV", 1, f"0 0 {second.port} ns.test")
    eventually(lambda: addresses(daemon) == {"127.0.0.1:6002"})
    shown = {row["addr"] for row in daemon.console("RESOLVE main") if row["record"] == "server"}
    assert shown == {listing.address, second.address}
    before = len(first.questions)
    daemon.console("RESOLVE main")
    assert len(first.questions) == before


# -- faults of name servers ------------------------------------------------------------------------

@pytest.mark.parametrize("fault, word", [(SERVFAIL, "servfail"), (REFUSED, "refused"),
                                         ("silent", "timeout"), ("garbage", "malformed")])
def test_a_fault_changes_nothing_and_is_shown(trunkline, names, fault, word):
    server = names(*one_target())
    daemon = trunkline(services=service(server))
    eventually(lambda: addresses(daemon) == {"127.0.0.1:6001"})
    server.fault = fault
    for _ in range(4):
        assert said(daemon) == {server.address: word}
    rows = [row for row in daemon.console("RESOLVE main") if row["record"] == "srv"]
    assert [row["stale"] for row in rows] == [True]
    assert addresses(daemon) == {"127.0.0.1:6001"}
    daemon.logged(rf'service.unresolved.*said \\"{word}')
    (row,) = daemon.console("SHOW RESOLVERS")
    assert row["failed_rounds"] >= 4 and row["backends"] == 1 and word in row["problem"]
    server.fault = None
    assert said(daemon) == {server.address: "records"}
    daemon.logged("service.resolved")
    (row,) = daemon.console("SHOW RESOLVERS")
    assert row["problem"] is None and row["changes"] == 1


def test_a_server_that_is_not_there_is_told_apart(trunkline, names):
    server, gone = names(*one_target()), names()
    gone.end()
    daemon = trunkline(services=service(gone))
    assert said(daemon) == {gone.address: "unreachable"}
    daemon.reload(config={**daemon.config, "services": service(gone, server)})
    eventually(lambda: addresses(daemon) == {"127.0.0.1:6001"})
    rows = {row["addr"]: row for row in daemon.console("RESOLVE main") if row["record"] == "server"}
    assert rows[gone.address]["said"] == "unreachable" and rows[gone.address]["stale"]
    assert rows[server.address]["said"] in ("records", "empty") and not rows[server.address]["stale"]


def test_a_silent_server_does_not_delay_the_answer_of_another(trunkline, names, postgres):
    silent, server = names(), names(*one_target(postgres.port))
    silent.fault = "silent"
    daemon = trunkline(services=service(silent, server, name_server_timeout="30s"))
    assert daemon.endpoint().one("select 1") == 1


def test_a_name_that_is_gone_must_be_gone_three_times(trunkline, names):
    server = names(*one_target())
    daemon = trunkline(services=service(server, refresh_min="1h", refresh_max="1h"))
    eventually(lambda: addresses(daemon) == {"127.0.0.1:6001"})
    kept = list(server.records)
    server.records.clear()
    for _ in range(2):
        assert said(daemon) == {server.address: "nxdomain"}
        assert addresses(daemon) == {"127.0.0.1:6001"}
    assert said(daemon) == {server.address: "nxdomain"}
    assert addresses(daemon) == set()
    server.records.extend(kept)
    assert said(daemon) == {server.address: "records"}
    assert addresses(daemon) == {"127.0.0.1:6001"}


def test_the_target_of_one_dot_leaves_no_server(trunkline, names):
    server = names((SRV, "SRV", 1, "0 0 0 ."))
    daemon = trunkline(services=service(server))
    assert said(daemon) == {server.address: "empty"}
    assert addresses(daemon) == set()


def test_stale_answers_end_after_stale_for(trunkline, names):
    server = names(*one_target())
    daemon = trunkline(services=service(server, stale_for="1s"))
    eventually(lambda: addresses(daemon) == {"127.0.0.1:6001"})
    server.fault = SERVFAIL
    eventually(lambda: addresses(daemon) == set())


# -- changes ---------------------------------------------------------------------------------------

def test_a_new_address_and_a_new_port_under_one_name_are_seen(trunkline, names, cluster):
    one, two = cluster(), cluster()
    server = names(*one_target(one.port))
    daemon = trunkline(services=service(server), routes=[route(pool_size=1)])
    with daemon.connect() as client:
        assert client.execute("show port").fetchone() == (str(one.port),)
        server.records[:] = one_target(two.port)
        eventually(lambda: addresses(daemon) == {f"127.0.0.1:{two.port}"})
        eventually(lambda: client.execute("show port").fetchone() == (str(two.port),))
        server.records[1] = ("a.test", "A", 1, "127.0.0.9")
        eventually(lambda: addresses(daemon) == {f"127.0.0.9:{two.port}"})


def test_a_removed_server_ends_its_running_work_first(trunkline, names, cluster):
    one, two = cluster(), cluster()
    server = names(*one_target(one.port))
    daemon = trunkline(services=service(server), routes=[route(pool_size=2)])
    with daemon.connect() as client:
        client.execute("begin")
        assert client.execute("show port").fetchone() == (str(one.port),)
        server.records[:] = one_target(two.port)
        eventually(lambda: addresses(daemon) == {f"127.0.0.1:{two.port}"})
        assert client.execute("show port").fetchone() == (str(one.port),)
        client.execute("commit")
        eventually(lambda: client.execute("show port").fetchone() == (str(two.port),))
    eventually(lambda: one.backends() == [])


def test_another_order_of_the_answer_changes_nothing(trunkline, names):
    server = names(("db.test", "A", 1, "127.0.0.1"), ("db.test", "A", 1, "127.0.0.2"))
    daemon = trunkline(services=service(server, resolver="dns", name="db.test", port=6001))
    eventually(lambda: addresses(daemon) == {"127.0.0.1:6001", "127.0.0.2:6001"})
    before = daemon.console("SHOW BACKENDS")
    server.records.reverse()
    daemon.console("RESOLVE main")
    assert daemon.console("SHOW BACKENDS") == before


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_short_time_to_live_drops_nothing_between_two_rounds(trunkline, names, ttl):
    server = names(*one_target(ttl=ttl))
    daemon = trunkline(services=service(server, refresh_min="2s"))
    eventually(lambda: addresses(daemon) == {"127.0.0.1:6001"})
    before = server.asked("SRV")
    seen = []

    def asked_again():
        seen.append(addresses(daemon))
        return server.asked("SRV") >= before + 2
    eventually(asked_again)
    assert all(one == {"127.0.0.1:6001"} for one in seen)


def test_a_failed_login_asks_again_but_not_more_often_than_once_a_second(trunkline, names):
    server = names(*one_target(free_port(), ttl=3600))
    daemon = trunkline(services=service(server, refresh_min="1h", refresh_max="1h",
                                        name_server_timeout="1min"))  # nothing is sent again
    eventually(lambda: server.asked("SRV") == 1)
    began = time.monotonic()
    client = threading.Thread(target=lambda: pytest.raises(Exception, daemon.connect))
    client.start()
    eventually(lambda: server.asked("SRV") >= 4)
    assert time.monotonic() - began > 1.9
    assert server.asked("SRV") <= time.monotonic() - began + 3
    daemon.stop()
    client.join()


def test_a_reload_turns_hosts_into_a_name_and_back(trunkline, names, postgres):
    server = names(*one_target(postgres.port))
    daemon = trunkline()
    assert daemon.endpoint().one("select 1") == 1
    before = daemon.config["services"]
    daemon.reload(config={**daemon.config, "services": service(server)})
    eventually(lambda: backends(daemon) == {("a.test", f"127.0.0.1:{postgres.port}")})
    assert daemon.endpoint().one("select 1") == 1
    daemon.reload(config={**daemon.config, "services": before})
    eventually(lambda: ("a.test", f"127.0.0.1:{postgres.port}") not in backends(daemon))
    assert daemon.endpoint().one("select 1") == 1


# -- the machine's files ----------------------------------------------------------------------------

def may_mount():
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    return probe.returncode == 0


def home():
    """An address of this machine that no other test uses."""
    return "127." + ".".join(str(random.randrange(1, 255)) for _ in range(3))


@pytest.mark.skipif(not may_mount(), reason="needs the right to make a mount namespace")
def test_resolv_conf_and_its_changes_are_followed(trunkline, names, tmp_path):
    """resolv.conf has no ports, so that these name servers listen at port 53."""
    one = names(("db.one.test", "A", 1, "127.0.0.1"), host=home(), port=53)
    two = names(("db.one.test", "A", 1, "127.0.0.2"), host=home(), port=53)
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"nameserver {one.host}\nsearch other.test one.test\n")
    main = service(resolver="dns", name="db", port=6001)
    del main["main"]["name_servers"]
    daemon = trunkline(start=False, services=main)
    daemon.program = Program(
        ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "sh", "-c",
         f'mount --bind "{conf}" /etc/resolv.conf && exec "$@"', "sh", binary(), "run",
         daemon.file], daemon.log_file, cwd=daemon.folder)
    eventually(daemon.listening)
    eventually(lambda: backends(daemon) == {("db", "127.0.0.1:6001")})
    conf.write_text(f"nameserver {two.host}\nsearch one.test\n")
    eventually(lambda: backends(daemon) == {("db", "127.0.0.2:6001")})


# -- configuration ---------------------------------------------------------------------------------

@pytest.mark.parametrize("settings, problem", [
    ({"resolver": "dns"}, "name: is required, because resolver is dns or srv"),
    ({}, "hosts: is required, because resolver is fixed"),
    ({"hosts": ["localhost"], "name": "db.test"}, "name: is of no use"),
    ({"resolver": "srv", "name": "db.test", "hosts": ["localhost"]}, "hosts: is of no use"),
    ({"resolver": "dns", "name": "db.test", "refresh_min": "10min"},
     "refresh_min: is longer than refresh_max"),
    ({"resolver": "dns", "name": "db.test", "name_servers": ["ns.test"]}, "name_servers"),
])
def test_settings_that_do_not_fit_together_are_refused(trunkline, settings, problem):
    daemon = trunkline(start=False, services={"main": settings})
    checked = subprocess.run([binary(), "check", daemon.file], capture_output=True, text=True)
    assert checked.returncode != 0
    assert problem in checked.stdout + checked.stderr


def test_resolve_needs_a_service_that_exists(trunkline):
    daemon = trunkline()
    with pytest.raises(Exception, match='there is no service "other"'):
        daemon.console("RESOLVE other")
    rows = daemon.console("RESOLVE main")
    assert [row["record"] for row in rows] == ["host"]


# -- a name server that others wrote ---------------------------------------------------------------

def dnsmasq(tmp_path, port, *records):
    options = ["--no-daemon", "--no-resolv", "--no-hosts", "--user=root", "--bind-interfaces",
               "--listen-address=127.0.0.1", f"--port={port}", "--local-ttl=1", "--no-daemon",
               "--conf-file=/dev/null", "--pid-file="]
    return Program(["dnsmasq", *options, *records], tmp_path / "dnsmasq.log")


def answers(port):
    return subprocess.run(["/usr/bin/python3", "-c", f"""
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
s.sendto(struct.pack(">HHHHHH", 1, 256, 1, 0, 0, 0) + b"\\1a\\4test\\0\\0\\1\\0\\1", ("127.0.0.1", {port}))
s.recv(512)"""], capture_output=True).returncode == 0


def test_dnsmasq_serves_srv_records_and_addresses(trunkline, cluster, tmp_path):
    one, two = cluster(), cluster()
    port = free_port()
    records = [f"--srv-host={SRV},a.test,{one.port},10,5", f"--srv-host={SRV},b.test,{two.port},20,5",
               "--address=/a.test/127.0.0.1", "--address=/b.test/127.0.0.1"]
    program = dnsmasq(tmp_path, port, *records)
    eventually(lambda: answers(port))
    main = service(name_server_timeout="1s")
    main["main"]["name_servers"] = [f"127.0.0.1:{port}"]
    daemon = trunkline(services=main)
    eventually(lambda: backends(daemon) == {("a.test", f"127.0.0.1:{one.port}"),
                                            ("b.test", f"127.0.0.1:{two.port}")})
    assert daemon.endpoint().one("show port") == str(one.port), "the lower priority number"
    program.end()
    rows = daemon.console("RESOLVE main")
    assert {row["said"] for row in rows if row["record"] == "srv"} == {"unreachable"}
    assert len(backends(daemon)) == 2
    program = dnsmasq(tmp_path, port, records[1], records[3])
    eventually(lambda: backends(daemon) == {("b.test", f"127.0.0.1:{two.port}")})
    eventually(lambda: daemon.endpoint().one("show port") == str(two.port))
    program.end()


class Nsd:
    """The authoritative name server of NLnet Labs, with one zone; a write reloads it."""

    def __init__(self, folder):
        self.folder, self.port, self.serial = folder, free_port(), 0
        self.program = None

    def write(self, *records):
        self.serial += 1
        (self.folder / "test.zone").write_text(
            f"$ORIGIN test.\n$TTL 1\n@ SOA ns.test. admin.test. {self.serial} 60 60 60 1\n"
            "@ NS ns.test.\nns A 127.0.0.1\n" + "".join(f"{one}\n" for one in records))
        if self.program is not None:
            self.program.send_signal(signal.SIGHUP)

    def start(self):
        (self.folder / "nsd.conf").write_text(f"""\
server:
    ip-address: 127.0.0.1
    port: {self.port}
    username: ""
    zonesdir: "{self.folder}"
    database: ""
    pidfile: "{self.folder}/nsd.pid"
    xfrdfile: "{self.folder}/xfrd.state"
    zonelistfile: "{self.folder}/zone.list"
    xfrdir: "{self.folder}"
    zonefiles-check: yes
    server-count: 1
remote-control:
    control-enable: no
zone:
    name: test
    zonefile: test.zone
""")
        self.program = Program([NSD, "-d", "-c", self.folder / "nsd.conf"], self.folder / "nsd.log")
        eventually(lambda: answers(self.port) or self.program.must_run())


NSD = shutil.which("nsd", path="/usr/sbin:/usr/bin:/sbin:/bin") or "nsd"


@pytest.mark.skipif(not shutil.which(NSD), reason="nsd is not installed: tools/packages")
def test_nsd_serves_a_zone_and_its_changes(trunkline, cluster, tmp_path):
    one, two = cluster(), cluster()
    server = Nsd(tmp_path)
    first = f"_postgresql._tcp.db SRV 10 5 {one.port} a", "a A 127.0.0.1"
    second = f"_postgresql._tcp.db SRV 20 5 {two.port} b", "b A 127.0.0.1"
    many = [f"_postgresql._tcp.db SRV 30 1 {port} a" for port in range(7000, 7150)]
    server.write(*first, *second)
    server.start()
    main = service(name_server_timeout="1s")
    main["main"]["name_servers"] = [f"127.0.0.1:{server.port}"]
    daemon = trunkline(services=main)
    try:
        both = {("a.test", f"127.0.0.1:{one.port}"), ("b.test", f"127.0.0.1:{two.port}")}
        eventually(lambda: backends(daemon) == both)
        assert daemon.endpoint().one("show port") == str(one.port), "the lower priority number"
        assert said(daemon) == {f"127.0.0.1:{server.port}": "records"}

        server.write(*first, *second, *many)  # more than UDP carries
        eventually(lambda: len(backends(daemon)) == 152)
        server.write(*second)
        eventually(lambda: backends(daemon) == both - {("a.test", f"127.0.0.1:{one.port}")})
        eventually(lambda: daemon.endpoint().one("show port") == str(two.port))
        server.write()
        eventually(lambda: backends(daemon) == set())
        server.write(*first)
        eventually(lambda: daemon.endpoint().one("show port") == str(one.port))
    finally:
        server.program.end()


# -- a list of hosts, and the end ------------------------------------------------------------------

@pytest.mark.parametrize("hosts, found", [
    (["127.0.0.1:6001"], {("127.0.0.1", "127.0.0.1:6001")}),
    (["127.0.0.1:6001", "[::1]:6002", "127.0.0.1:6003"],
     {("127.0.0.1", "127.0.0.1:6001"), ("::1", "[::1]:6002"), ("127.0.0.1", "127.0.0.1:6003")}),
])
def test_a_list_of_hosts_is_its_servers(trunkline, hosts, found):
    daemon = trunkline(services={"main": {"hosts": hosts, "tls": {"mode": "disable"}}})
    eventually(lambda: backends(daemon) == found)
    (row,) = daemon.console("SHOW RESOLVERS")
    assert row["resolver"] == "fixed" and int(row["backends"]) == len(hosts)
    assert row["name"] is None and row["problem"] is None


def test_the_end_waits_for_no_name_server(trunkline):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(20)
        main = service(name_server_timeout="1min")
        main["main"]["name_servers"] = [f"127.0.0.1:{silent.getsockname()[1]}"]
        daemon = trunkline(services=main)
        silent.recv(512)
        assert seconds(daemon.stop) < 2 * STRETCH
