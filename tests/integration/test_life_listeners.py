"""Listeners come, go and change with a reload; whoever is connected does not notice."""
import copy
import os
import socket
import ssl
import subprocess

import psycopg
import pytest
from support.certificate import Certificate
from support.patience import eventually
from support.ports import free_port


def changed(daemon, **keys):
    config = copy.deepcopy(daemon.config)
    config.update(keys)
    return config


def tls(certificate, mode="require"):
    return {"mode": mode, "cert": str(certificate.cert), "key": str(certificate.key)}


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def shown(port):
    """The certificate that a listener shows, in PEM."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        plain.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
        assert plain.recv(1) == b"S"
        context = ssl._create_unverified_context()
        with context.wrap_socket(plain) as secure:
            return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True))


def pem(certificate):
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(certificate.cert.read_text()))


def test_a_listener_is_added_and_taken_away(trunkline):
    daemon = trunkline()
    first, second = daemon.port, free_port()
    host = {"host": "127.0.0.1"}
    with daemon.connect() as old:
        daemon.reload(changed(daemon, listen=[dict(host, port=first), dict(host, port=second)]))
        daemon.port = second
        with daemon.connect() as new:
            daemon.reload(changed(daemon, listen=[dict(host, port=second)]))
            eventually(lambda: not accepts(first))
            assert old.execute("select 1").fetchone() == (1,)
            assert new.execute("select 1").fetchone() == (1,)
    daemon.logged(f"listener.closed.*127.0.0.1:{first}")
    assert daemon.endpoint().one("select 1") == 1


def test_the_order_of_listeners_does_not_matter(trunkline, certificate):
    """A client that came by one listener before a reload is never taken for another's."""
    daemon = trunkline()
    plain = {"host": "127.0.0.1", "port": daemon.port}
    secure = {"host": "127.0.0.1", "port": free_port(), "tls": tls(certificate)}
    early = daemon.endpoint().wire(login=False)
    daemon.reload(changed(daemon, listen=[secure, plain]))
    early.startup("app", "app", "app")
    early.__exit__()
    assert daemon.endpoint().one("select 1") == 1
    assert shown(secure["port"]) == pem(certificate)


def test_a_reload_with_a_failing_listener_changes_nothing(trunkline):
    daemon = trunkline()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port, free = taken.getsockname()[1], free_port()
        before = {row["version"] for row in daemon.console("SHOW ROUTES")}
        with pytest.raises(psycopg.Error, match="cannot listen on 127.0.0.1:"):
            daemon.reload(changed(daemon, listen=[{"host": "127.0.0.1", "port": free},
                                                  {"host": "127.0.0.1", "port": port}]))
    assert not accepts(free)
    assert {row["version"] for row in daemon.console("SHOW ROUTES")} == before
    assert daemon.endpoint().one("select 1") == 1


def test_the_mode_of_a_unix_socket_changes(trunkline, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    daemon = trunkline()
    tcp = daemon.config["listen"][0]
    place = {"host": str(folder), "port": daemon.port}
    path = folder / f".s.PGSQL.{daemon.port}"
    daemon.reload(changed(daemon, listen=[tcp, dict(place, unix_mode="0700")]))
    assert path.stat().st_mode & 0o777 == 0o700
    inode = path.stat().st_ino
    daemon.reload(changed(daemon, listen=[tcp, dict(place, unix_mode="0770", backlog=5)]))
    assert path.stat().st_mode & 0o777 == 0o770
    assert path.stat().st_ino == inode
    daemon.reload(changed(daemon, listen=[tcp]))
    assert not path.exists()


def backlog(port):
    rows = subprocess.run(["ss", "-ltnH", f"sport = :{port}"], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    return int(rows.split()[2])


def test_a_backlog_changes(trunkline):
    daemon = trunkline()
    listener = daemon.config["listen"][0]
    daemon.reload(changed(daemon, listen=[dict(listener, backlog=7)]))
    assert backlog(daemon.port) == 7


@pytest.mark.parametrize("way", ["signal", "console"])
def test_a_certificate_that_was_renewed_in_place_is_shown_after_a_reload(
        trunkline, authority, tmp_path, way):
    """The paths are the same, only the files' contents are not; nobody is disconnected."""
    mine = Certificate(tmp_path, "renewed", authority)
    before = pem(mine)
    daemon = trunkline(listen=[{"host": "127.0.0.1", "port": free_port(), "tls": tls(mine)}])
    with daemon.connect(sslmode="require") as old:
        pid = old.execute("select pg_backend_pid()").fetchone()
        assert shown(daemon.port) == before
        (tmp_path / "next").mkdir()
        new = Certificate(tmp_path / "next", "renewed", authority)
        for fresh, kept in ((new.cert, mine.cert), (new.key, mine.key)):
            os.replace(fresh, kept)
        assert shown(daemon.port) == before
        daemon.hangup() if way == "signal" else daemon.reload()
        eventually(lambda: shown(daemon.port) == pem(mine))
        assert pem(mine) != before
        assert old.execute("select pg_backend_pid()").fetchone() == pid


def test_a_certificate_that_is_broken_leaves_the_old_one_in_force(trunkline, authority, tmp_path):
    mine = Certificate(tmp_path, "renewed", authority)
    before = pem(mine)
    daemon = trunkline(listen=[{"host": "127.0.0.1", "port": free_port(), "tls": tls(mine)}])
    mine.cert.write_text("no certificate\n")
    daemon.hangup()
    daemon.logged("config.reload_failed")
    assert shown(daemon.port) == before


def test_tls_is_switched_on_and_off_at_a_listener(trunkline, certificate):
    daemon = trunkline()
    plain = daemon.config["listen"][0]
    with daemon.connect(sslmode="disable") as old:
        daemon.reload(changed(daemon, listen=[dict(plain, tls=tls(certificate))]))
        with pytest.raises(psycopg.OperationalError):
            daemon.connect(sslmode="disable")
        with daemon.connect(sslmode="require") as new:
            daemon.reload(changed(daemon, listen=[plain]))
            assert new.execute("select 1").fetchone() == (1,)
        assert old.execute("select 1").fetchone() == (1,)
    assert daemon.endpoint().one("select 1") == 1
