"""Who may come in from where, and how: the HBA file, maps, certificates, and Unix users."""
import getpass
import os
import pwd
import shutil
import subprocess

import psycopg
import pytest
from support.certificate import Certificate
from support.ports import free_port
from support.postgres import place
from support.trunkline import USERS, binary, route


@pytest.fixture
def folder():
    """A folder with a name that is short enough for a socket's address."""
    path = place("socket")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def guarded(trunkline, tmp_path):
    """guarded(lines, ident=..., ...): a daemon whose only route asks the HBA file."""
    def make(lines, ident=None, **changes):
        (tmp_path / "hba.conf").write_text(lines)
        if ident is not None:
            (tmp_path / "ident.conf").write_text(ident)
            changes["ident_file"] = str(tmp_path / "ident.conf")
        return trunkline(hba_file=str(tmp_path / "hba.conf"), routes=[route(auth="hba")],
                         **changes)
    return make


def refusal(endpoint, **options):
    with pytest.raises(psycopg.OperationalError) as error:
        with endpoint.connect(**options):
            pass
    return str(error.value)


def test_the_first_line_that_matches_says_how(guarded):
    daemon = guarded("""
        host  all        mallory  all            reject
        host  app        trusted  127.0.0.1/32   trust
        host  app,session "app"   127.0.0.0 255.0.0.0 scram-sha-256
        host  /^trans    /^re     samehost       md5
        host  sameuser   hashed   samenet        password
    """)
    assert daemon.endpoint(user="trusted", password="none").one("select current_user") == "trusted"
    assert daemon.endpoint().one("select 1") == 1
    assert daemon.endpoint(database="transaction", user="reports").one("select 1") == 1
    assert "password authentication failed" in refusal(daemon.endpoint(password="wrong"))
    assert "rejects" in refusal(daemon.endpoint(user="mallory"))
    assert "no line of the HBA file" in refusal(daemon.endpoint(user="reports"))
    assert "no line of the HBA file" in refusal(daemon.endpoint(user="hashed"))
    daemon.logged(r"hba.refused.*hba.conf.* line=2 ")


def test_a_host_name_is_looked_up_both_ways(guarded):
    daemon = guarded("host all all localhost trust\n")
    assert daemon.endpoint(password="none").one("select 1") == 1
    daemon = guarded("host all all db.invalid trust\nhost all all .invalid trust\n")
    assert "no line of the HBA file" in refusal(daemon.endpoint())


def test_a_reload_reads_the_files_again_and_a_broken_one_changes_nothing(guarded, tmp_path):
    daemon = guarded("host all app all scram-sha-256\nhost all admin all scram-sha-256\n")
    assert "no line of the HBA file" in refusal(daemon.endpoint(user="reports"))
    (tmp_path / "hba.conf").write_text("host all app all scram-sha-256\nhost all all all guess\n")
    with pytest.raises(psycopg.Error) as error:
        daemon.reload()
    assert "hba.conf:2: " in str(error.value) and "guess" in str(error.value)
    assert daemon.endpoint().one("select 1") == 1
    (tmp_path / "hba.conf").write_text("include more.conf\n")
    (tmp_path / "more.conf").write_text("host all @users all scram-sha-256\n")
    (tmp_path / "users").write_text("reports\n")
    daemon.reload()
    assert daemon.endpoint(user="reports").one("select 1") == 1
    assert "no line of the HBA file" in refusal(daemon.endpoint())


def test_check_tells_every_broken_line(guarded, tmp_path):
    daemon = guarded("host all all all trust\n")
    (tmp_path / "hba.conf").write_text("""host all all 1.2.3.4/33 trust
host all +staff all trust
hostssl all all all cert map=none
local all all gss
""")
    done = subprocess.run([binary(), "check", daemon.file], capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    for part in ("hba.conf:1: ", "hba.conf:3: ", "no map", "hba.conf:4: ", "+name and samerole"):
        assert part in said, said


# -- TLS and certificates

@pytest.fixture
def tls(certificate, authority):
    return [{"host": "127.0.0.1", "port": free_port(),
             "tls": {"mode": "allow", "cert": str(certificate.cert), "key": str(certificate.key),
                     "ca": str(authority.cert)}}]


def shown(certificate):
    return dict(sslmode="require", sslcert=str(certificate.cert), sslkey=str(certificate.key))


def test_encryption_chooses_the_line(guarded, tls):
    daemon = guarded("hostssl all app all trust\nhostnossl all reports all trust\n", listen=tls)
    daemon.endpoint(password="none", sslmode="require").one("select 1")
    daemon.endpoint(user="reports", password="none", sslmode="disable").one("select 1")
    assert "no encryption" in refusal(daemon.endpoint(sslmode="disable"))
    assert "TLS" in refusal(daemon.endpoint(user="reports", sslmode="require"))


def test_a_certificate_names_the_user(guarded, tls, authority, tmp_path):
    daemon = guarded("hostssl all all all cert\n", listen=tls)
    mine = Certificate(tmp_path, "app", authority)
    assert daemon.endpoint(password="none", **shown(mine)).one("select current_user") == "app"
    assert "certificate authentication failed" in refusal(daemon.endpoint(user="reports", **shown(mine)))
    assert "valid client certificate" in refusal(daemon.endpoint(sslmode="require"))
    stranger = Certificate(tmp_path, "stranger")
    with pytest.raises(psycopg.OperationalError):
        daemon.endpoint(**shown(stranger)).one("select 1")


def test_a_map_lists_the_users_of_a_certificate(guarded, tls, authority, tmp_path):
    ident = "m /^(.*)@clients\\.example$ \\1\nm CN=boss all\n"
    names = "DNS:somewhere.example,email:app@clients.example,URI:spiffe://x/app"
    daemon = guarded("hostssl all all all cert map=m clientname=SAN\n", ident, listen=tls)
    mine = Certificate(tmp_path, "whoever", authority, names=names)
    assert daemon.endpoint(**shown(mine)).one("select current_user") == "app"
    assert "certificate authentication failed" in refusal(daemon.endpoint(user="reports", **shown(mine)))
    (tmp_path / "hba.conf").write_text("host all admin all scram-sha-256\n"
                                       "hostssl all all all cert map=m clientname=DN\n")
    daemon.hangup()
    daemon.logged(r"version=2")
    boss = Certificate(tmp_path, "boss", authority)
    assert daemon.endpoint(user="reports", **shown(boss)).one("select current_user") == "reports"
    assert "certificate authentication failed" in refusal(daemon.endpoint(**shown(mine)))


def test_a_certificate_can_be_asked_for_beside_a_password(guarded, tls, authority, tmp_path):
    daemon = guarded("""hostssl app all all scram-sha-256 clientcert=verify-full
                        hostssl all all all scram-sha-256 clientcert=verify-ca\n""", listen=tls)
    mine = Certificate(tmp_path, "app", authority)
    assert daemon.endpoint(**shown(mine)).one("select 1") == 1
    assert "password authentication failed" in refusal(daemon.endpoint(password="no", **shown(mine)))
    assert "certificate authentication failed" in refusal(daemon.endpoint(user="reports", **shown(mine)))
    assert daemon.endpoint(database="session", user="reports", **shown(mine)).one("select 1") == 1
    assert "valid client certificate" in refusal(daemon.endpoint(sslmode="require"))


def test_a_route_can_ask_for_a_certificate_itself(trunkline, tls, authority, tmp_path):
    daemon = trunkline(listen=tls, routes=[route(auth="cert", auth_options="clientname=DN map=m")],
                       ident_file=str(tmp_path / "ident"), start=False)
    (tmp_path / "ident").write_text("m CN=somebody app\n")
    daemon.start()
    mine = Certificate(tmp_path, "somebody", authority)
    assert daemon.endpoint(**shown(mine)).one("select current_user") == "app"
    assert "certificate authentication failed" in refusal(daemon.endpoint(user="reports", **shown(mine)))


# -- Unix sockets

def test_peer_uses_the_credentials_of_the_kernel(guarded, folder):
    me = pwd.getpwuid(os.geteuid()).pw_name
    users = dict(USERS, **{me: "x"})
    daemon = guarded("local all app peer map=m\nlocal all reports peer\nhost all all all reject\n",
                     f"m {me} app\n", users=users,
                     listen=[{"host": str(folder), "port": free_port()}])
    assert daemon.endpoint(password="none").one("select current_user") == "app"
    assert "peer authentication failed" in refusal(daemon.endpoint(user="reports"))


def test_peer_needs_no_map_where_the_names_are_the_same(trunkline, folder, cluster):
    me = getpass.getuser()
    own = cluster()
    own.sql(f'create role "{me}" login superuser') if me != "postgres" else None
    daemon = trunkline(server=own, listen=[{"host": str(folder), "port": free_port()}],
                       routes=[route(auth="peer", server_user="app", server_password="app")])
    assert daemon.endpoint(user=me, password="none").one("select current_user") == "app"
    assert "peer authentication failed" in refusal(daemon.endpoint(user="nobody-else"))
