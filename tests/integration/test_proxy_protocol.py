"""The PROXY protocol: whom a proxy in front speaks for, and who may say so."""
import socket
import ssl
import struct

import psycopg
import pytest
from support import wire as w
from support.ports import free_port
from support.trunkline import configuration, route

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(client="192.0.2.7", port=40000):
    family = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {family} {client} {'::1' if ':' in client else '127.0.0.1'} {port} 6432\r\n".encode()


def v2(client="192.0.2.7", port=40000, tlvs=b"", command=0x21):
    six = ":" in client
    pack = (lambda a: socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, a))
    block = pack(client) + pack("::1" if six else "127.0.0.1") + struct.pack(">HH", port, 6432)
    if command == 0x20:
        block = b""
    family = 0 if command == 0x20 else 0x21 if six else 0x11
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(block + tlvs)) + block + tlvs


def startup(user="trusted", database="app"):
    body = struct.pack(">I", 196608) + f"user\0{user}\0database\0{database}\0\0".encode()
    return struct.pack(">I", len(body) + 4) + body


def read_until_ready(connection):
    """The types of the messages up to ReadyForQuery, or the text of the error."""
    data = b""
    while True:
        while len(data) >= 5 and len(data) > struct.unpack(">I", data[1:5])[0]:
            size = struct.unpack(">I", data[1:5])[0] + 1
            kind, body, data = data[:1], data[5:size], data[size:]
            if kind in b"ZE":
                return kind + body
        more = connection.recv(65536)
        if not more:
            return b""
        data += more


def daemon_of(trunkline, postgres, proxies=("127.0.0.1",), changes=None, **listen):
    routes = [route(auth="trust", server_user="app", server_password="app")]
    config = configuration(postgres, **{"routes": routes, **(changes or {})})
    config["listen"][0].update(proxy_protocol=list(proxies), **listen)
    # Tests look at it, and the console is reached, by an endpoint without a proxy.
    config["listen"].append({"host": "127.0.0.1", "port": free_port()})
    daemon = trunkline(config=config)
    daemon.proxied = daemon.port
    daemon.port = config["listen"][1]["port"]
    return daemon


def dial(daemon):
    return socket.create_connection(("127.0.0.1", daemon.proxied), timeout=15)


@pytest.mark.parametrize("header, address", [
    (v1(), "192.0.2.7:40000"),
    (v1("2001:db8::7"), r"\[2001:db8::7\]:40000"),
    (v2(), "192.0.2.7:40000"),
    (v2("2001:db8::7"), r"\[2001:db8::7\]:40000"),
    (v2(tlvs=b"\x01\x00\x05hello" + b"\x04" + struct.pack(">H", 30000) + bytes(30000)),
     "192.0.2.7:40000"),
], ids=["v1-4", "v1-6", "v2-4", "v2-6", "v2-tlvs"])
@pytest.mark.parametrize("pieces", ["whole", "bytes"])
def test_the_clients_address_is_that_of_the_proxy_header(trunkline, postgres, header, address, pieces):
    daemon = daemon_of(trunkline, postgres)
    with dial(daemon) as connection:
        sent = header + startup()
        if pieces == "bytes" and len(sent) < 1000:
            for byte in sent:
                connection.sendall(bytes([byte]))
        else:
            connection.sendall(sent)
        assert read_until_ready(connection)[:1] == b"Z"
        daemon.logged(rf"client\.connected .*from=\"?{address}")
        host = address.replace("\\", "").rsplit(":", 1)[0].strip("[]")
        shown = [row for row in daemon.console("SHOW CLIENTS") if row["user"] == "trusted"]
        assert [(row["addr"], int(row["port"])) for row in shown] == [(host, 40000)]


@pytest.mark.parametrize("header", [v2(command=0x20), b"PROXY UNKNOWN\r\n",
                                    b"PROXY UNKNOWN a b c\r\n",
                                    SIGNATURE + b"\x21\x31" + struct.pack(">H", 216) + bytes(216)],
                         ids=["local", "unknown", "unknown-more", "unix"])
def test_without_an_address_in_the_header_the_client_is_the_proxy(trunkline, postgres, header):
    daemon = daemon_of(trunkline, postgres)
    with dial(daemon) as connection:
        connection.sendall(header + startup())
        assert read_until_ready(connection)[:1] == b"Z"
    daemon.logged(r"client\.connected .*from=127\.0\.0\.1:")


@pytest.mark.parametrize("header", [
    b"", b"PROXY TCP4 192.0.2.7 127.0.0.1 70000 6432\r\n", b"PROXY TCP4 192.0.2.7\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", b"PROXY TCP4 ::1 ::1 1 1\r\n", b"PROXY " + b"x" * 200,
    SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12), SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),
    SIGNATURE + b"\x21\x11\x00\x04" + bytes(4)])
def test_a_proxy_without_a_sound_header_is_refused(trunkline, postgres, header):
    daemon = daemon_of(trunkline, postgres)
    with dial(daemon) as connection:
        connection.sendall(header + startup())
        assert b"08P01" in read_until_ready(connection)
    daemon.logged(r"client\.login_failed .*PROXY header")


def test_only_listed_proxies_may_send_a_header(trunkline, postgres):
    daemon = daemon_of(trunkline, postgres, proxies=["10.0.0.0/8", "2001:db8::/32", "unix"])
    with dial(daemon) as connection:
        connection.sendall(v1() + startup())
        assert b"08P01" in read_until_ready(connection)
    with dial(daemon) as connection:
        connection.sendall(startup())
        assert read_until_ready(connection)[:1] == b"Z"
    assert "192.0.2.7" not in daemon.log()


def test_the_header_comes_ahead_of_tls(trunkline, postgres, certificate):
    daemon = daemon_of(trunkline, postgres, tls={"mode": "require", "cert": str(certificate.cert),
                                                 "key": str(certificate.key)})
    with dial(daemon) as connection:
        connection.sendall(v2() + struct.pack(">II", 8, 80877103))
        assert connection.recv(1) == b"S"
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(connection) as safe:
            safe.sendall(startup())
            assert read_until_ready(safe)[:1] == b"Z"
    daemon.logged(r"client\.connected .*from=192\.0\.2\.7:40000")


def test_the_hba_file_sees_the_real_address(trunkline, postgres, tmp_path):
    hba = tmp_path / "hba.conf"
    hba.write_text("host all all 192.0.2.0/24 trust\nhost all all 0.0.0.0/0 reject\n")
    daemon = daemon_of(trunkline, postgres, changes={"hba_file": str(hba), "routes": [
        route(auth="hba", server_user="app", server_password="app")]})
    for client, answer in (("192.0.2.7", b"Z"), ("198.51.100.7", b"E")):
        with dial(daemon) as connection:
            connection.sendall(v1(client) + startup())
            assert read_until_ready(connection)[:1] == answer


def test_through_a_unix_socket_the_proxys_own_user_does_not_count(trunkline, postgres, tmp_path):
    """The console lets in who runs the daemon; whom a proxy speaks for is not that one."""
    config = configuration(postgres)
    folder = tmp_path / "s"
    folder.mkdir()
    config["listen"].append({"host": str(folder), "port": 6432, "proxy_protocol": ["unix"]})
    config["console"] = {"users": ["operator"]}
    daemon = trunkline(config=config)
    asked, let_in = 10, 0  # SASL, AuthenticationOk
    for header, answer in ((v1(), asked), (v2(command=0x20), let_in)):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(15)
            connection.connect(f"{folder}/.s.PGSQL.6432")
            connection.sendall(header + startup("operator", "trunkline"))
            first = b""
            while len(first) < 9:
                first += connection.recv(9 - len(first))
            assert first[:1] == b"R" and struct.unpack(">I", first[5:9])[0] == answer


def test_wrong_ranges_are_refused(trunkline, postgres):
    daemon = trunkline(config=configuration(postgres))
    config = configuration(postgres)
    config["listen"][0]["proxy_protocol"] = ["10.0.0.0/33", "somewhere", "::1/128"]
    daemon.write(config)
    with pytest.raises(psycopg.Error) as refused:
        daemon.console("RELOAD")
    assert refused.value.diag.message_detail.count("accepted: an address") == 2


def test_connections_of_a_proxy_are_not_one_source(trunkline):
    """unauthenticated_source_limit does not hold for them: their clients are not known yet."""
    daemon = trunkline(relays=2, unauthenticated_source_limit=2, routes=[route(auth="trust")], listen=[
        {"host": "127.0.0.1", "port": free_port(), "proxy_protocol": ["127.0.0.1"]}])
    wires = [daemon.endpoint().wire(login=False) for _ in range(12)]
    for wire in wires:
        wire.send(b"PROXY UNKNOWN\r\n" + w.startup_packet(user="app", database="app"))
    assert {wire.receive().kind for wire in wires} == {"R"}
    for wire in wires:
        wire.__exit__()
