"""Passwords that others judge: an LDAP server, and PAM."""
import shutil
import socket
import subprocess

import psycopg
import pytest
from support import wire as w
from support.directory import SLAPD, Directory
from support.patience import seconds
from support.ports import free_port
from support.postgres import place
from support.trunkline import binary, route

# The servers behind know the users by other passwords than the directory.
SERVER = {"server_user": "app", "server_password": "app"}
BASE = "ldapbasedn=ou=people,dc=example,dc=org"
FINDER = "ldapbinddn=cn=finder,dc=example,dc=org ldapbindpasswd=finder"
SIMPLE = 'ldapprefix=uid= ldapsuffix=",ou=people,dc=example,dc=org"'


def refusal(endpoint):
    with pytest.raises(psycopg.OperationalError) as error:
        with endpoint.connect():
            pass
    return str(error.value)


@pytest.fixture(scope="module")
def directory(certificate):
    assert SLAPD, "slapd is not installed"
    folder = place("ldap")
    made = Directory(folder / "slapd", certificate)
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ldap(trunkline, directory):
    """ldap(options): a daemon whose users the directory knows."""
    def make(options, port=None):
        server = f"ldapserver=127.0.0.1 ldapport={port or directory.port}"
        quoted = " ".join(f'"{word}"' if "," in word and '"' not in word else word
                          for word in f"{server} {options}".split(" "))
        return trunkline(users={"admin": "admin"}, failed_logins={"limit": "off"},
                         routes=[route(auth="ldap", auth_options=quoted, **SERVER)])
    return make


@pytest.mark.parametrize("options", [
    SIMPLE,
    f"{BASE} {FINDER}",
    f"{BASE} {FINDER} ldapsearchattribute=cn",
    f'{BASE} {FINDER} "ldapsearchfilter=(|(uid=$username)(mail=$username))"',
    f"{BASE} {FINDER} ldapscope=one",
])
def test_a_directory_knows_the_password(ldap, options):
    daemon = ldap(options)
    assert daemon.endpoint(password="of the directory").one("select current_user") == "app"
    assert daemon.endpoint(password="of the directory").one("select 1") == 1
    for user, password in (("app", "app"), ("nobody", "x"), ("*", "reports"), ("app)(uid=*", "x"),
                           ("app,ou=people", "x")):
        assert "password authentication failed" in refusal(daemon.endpoint(user=user, password=password))


@pytest.fixture(params=["ldaptls=1", "ldapscheme=ldaps"])
def ldap_tls(request, trunkline, directory):
    """A daemon that asks the directory over TLS, by the address in its certificate."""
    port = directory.tls_port if "ldaps" in request.param else directory.port
    options = f"ldapserver=127.0.0.1 ldapport={port} {request.param} {SIMPLE}"
    return lambda: trunkline(users={"admin": "admin"}, failed_logins={"limit": "off"},
                             routes=[route(auth="ldap", auth_options=options, **SERVER)])


def test_a_directory_is_asked_over_tls(ldap_tls, authority, monkeypatch):
    monkeypatch.setenv("LDAPTLS_CACERT", str(authority.cert))
    daemon = ldap_tls()
    assert daemon.endpoint(password="of the directory").one("select current_user") == "app"
    assert "password authentication failed" in refusal(daemon.endpoint(password="wrong"))


def test_an_unverified_ldap_server_gets_no_password(ldap_tls):
    daemon = ldap_tls()
    assert "LDAP authentication failed" in refusal(daemon.endpoint(password="of the directory"))
    daemon.logged(r"auth\.verify_failed client=\S+ user=app")


@pytest.mark.parametrize("options", ["ldapserver=::1 ldapport={} ldapprefix=cn=",
                                     "ldapserver=[::1] ldapport={} ldapprefix=cn=",
                                     "ldapurl=ldap://[::1]:{}/dc=org?uid?sub"])
def test_an_ldap_server_may_have_an_ipv6_address(trunkline, options):
    with socket.socket(socket.AF_INET6) as listener:
        try:
            listener.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no ::1")
        listener.listen()
        listener.settimeout(30)
        options = options.format(listener.getsockname()[1])
        daemon = trunkline(routes=[route(auth="ldap", auth_options=options, **SERVER)])
        with daemon.endpoint().wire(login=False) as wire:
            wire.send(w.startup_packet(user="app", database="app"))
            assert wire.receive().kind == "R"
            wire.send(w.message("p", w.text("secret")))
            connection = listener.accept()[0]
            assert connection.recv(1) == b"\x30"  # an LDAP message
            connection.close()


def test_an_ldap_bind_without_a_password_is_refused(ldap):
    daemon = ldap(SIMPLE)
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.startup_packet(user="app", database="app"))
        assert wire.receive().kind == "R"
        wire.send(w.message("p", b"\0"))
        assert [m.sqlstate for m in wire.rest() if m.kind == "E"] == ["28P01"]


def test_a_name_that_two_entries_have_is_nobodys(ldap):
    daemon = ldap(f"{BASE} {FINDER} ldapsearchattribute=cn")
    for password in ("reports", "mallory"):
        assert "password authentication failed" in refusal(
            daemon.endpoint(user="twin", password=password))


def test_a_directory_that_does_not_answer_is_told_in_the_log(ldap):
    daemon = ldap(SIMPLE, port=free_port())
    assert "LDAP authentication failed" in refusal(daemon.endpoint(password="of the directory"))
    daemon.logged(r"auth\.verify_failed client=\S+ user=app")
    daemon = ldap(f"{BASE} ldapbinddn=cn=finder,dc=example,dc=org ldapbindpasswd=wrong")
    assert "LDAP authentication failed" in refusal(daemon.endpoint(password="of the directory"))


def test_the_hba_file_can_send_some_to_the_directory(trunkline, directory, tmp_path):
    lines = tmp_path / "hba.conf"
    lines.write_text(f"""host all reports all scram-sha-256
        host all all all ldap "ldapurl=ldap://127.0.0.1:{directory.port}/ou=people,dc=example,dc=org?uid?sub" ldapbindpasswd=finder "ldapbinddn=cn=finder,dc=example,dc=org"
    """)
    daemon = trunkline(hba_file=str(lines), routes=[route(auth="hba", **SERVER)])
    assert daemon.endpoint(password="of the directory").one("select 1") == 1
    assert daemon.endpoint(user="reports").one("select 1") == 1


URLS = {
    "sub": "/ou=people,dc=example,dc=org?uid?sub",
    "one": "/ou=people,dc=example,dc=org?uid?one",
    "base": "/ou=people,dc=example,dc=org?uid?base",
    "scope-missing": "/ou=people,dc=example,dc=org?uid",
    "escaped": "/ou%3dpeople%2Cdc=example,dc=org?%75id?sub",
    "escaped-filter": "/ou=people,dc=example,dc=org??sub?%28uid=$username%29",
    "filter-without-parentheses": "/ou=people,dc=example,dc=org??sub?uid=$username",
    "first-attribute-counts": "/ou=people,dc=example,dc=org?uid,mail?sub",
    "other-attribute": "/ou=people,dc=example,dc=org?mail?sub",
    "wrong-base": "/ou=nowhere,dc=example,dc=org?uid?sub",
}


def ldap_line(directory, url):
    # The URL stands last: PostgreSQL sets the scope to sub again at each option behind it.
    return ('host all app all ldap ldapbindpasswd=finder "ldapbinddn=cn=finder,dc=example,dc=org" '
            f'"ldapurl=ldap://127.0.0.1:{directory.port}{url}"\n')


@pytest.mark.parametrize("url", URLS.values(), ids=URLS.keys())
def test_an_ldap_url_means_what_it_means_to_postgresql(trunkline, cluster, directory, tmp_path, url):
    own = cluster(hba="local all all trust\n" + ldap_line(directory, url))
    lines = tmp_path / "hba.conf"
    lines.write_text(ldap_line(directory, url))
    daemon = trunkline(hba_file=str(lines), failed_logins={"limit": "off"},
                       routes=[route(auth="hba", **SERVER)])

    def enters(endpoint):
        try:
            return endpoint.one("select 1") == 1
        except psycopg.OperationalError as error:
            assert "authentication failed" in str(error)
            return False

    password = "of the directory"
    assert enters(daemon.endpoint(password=password)) == enters(own.endpoint(password=password))


def test_the_password_that_was_proven_may_log_in_to_the_server(trunkline, directory, cluster):
    own = cluster()
    own.sql("alter role app password 'of the directory'")
    options = f'ldapserver=127.0.0.1 ldapport={directory.port} {SIMPLE}'
    daemon = trunkline(server=own, users={"admin": "admin"},
                       routes=[route(auth="ldap", auth_options=options)])
    assert daemon.endpoint(password="of the directory").one("select current_user") == "app"


# -- PAM

SCRIPT = """#!/bin/sh
read -r password
[ "$PAM_USER" = app ] && [ "$PAM_RHOST" = 127.0.0.1 ] && [ "$password" = "by pam" ]
"""


@pytest.fixture
def pam(trunkline):
    """pam(service): a daemon whose users a PAM service knows; the service files are the test's."""
    folder = place("pam")
    script = folder / "judge"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    (folder / "judged").write_text(
        f"auth required pam_exec.so quiet expose_authtok {script}\naccount required pam_permit.so\n")
    (folder / "expired").write_text(
        "auth required pam_permit.so\naccount required pam_deny.so\n")

    def make(service, hba=None):
        return trunkline(users={"admin": "admin"}, failed_logins={"limit": "off"},
                         routes=[route(auth="pam", **SERVER,
                                       auth_options=f"pamservice={service} pam_confdir={folder}")])
    yield make
    shutil.rmtree(folder, ignore_errors=True)


def test_pam_knows_the_password(pam):
    daemon = pam("judged")
    assert daemon.endpoint(password="by pam").one("select current_user") == "app"
    assert "password authentication failed" in refusal(daemon.endpoint(password="app"))
    assert "password authentication failed" in refusal(daemon.endpoint(user="other", password="by pam"))


def test_an_account_that_pam_closes_is_refused(pam):
    daemon = pam("expired")
    assert "authentication failed" in refusal(daemon.endpoint(password="by pam"))


def test_a_slow_pam_module_delays_no_other_login(pam, trunkline, directory, tmp_path):
    """A server that takes connections and says nothing."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(64)
        options = f'ldapserver=127.0.0.1 ldapport={deaf.getsockname()[1]} {SIMPLE}'
        daemon = trunkline(login_timeout="3s",
                           routes=[route(user="reports", auth="ldap", auth_options=options),
                                   route(auth="password")])
        waiting = []
        for _ in range(20):
            wire = daemon.endpoint(user="reports").wire(login=False)
            wire.send(w.startup_packet(user="reports", database="app"))
            assert wire.receive().kind == "R"
            wire.send(w.message("p", b"reports\0"))
            waiting.append(wire)
        assert seconds(lambda: daemon.endpoint().one("select 1")) < 2
        for wire in waiting:
            assert [m.kind for m in wire.rest()][-1:] == ["E"]
            wire.__exit__()


def test_options_that_contradict_each_other_are_told(trunkline):
    daemon = trunkline(routes=[route(auth="ldap", auth_options=f"ldapserver=x {BASE.split(',')[0]} "
                                                               "ldapprefix=a"),
                               route(database="x", auth="ldap"), route(auth="pam",
                                                                       auth_options="ldapserver=x")],
                       start=False)
    done = subprocess.run([binary(), "check", daemon.file], capture_output=True, text=True)
    said = done.stdout + done.stderr
    for part in ("don't go with the options of a search", "ldap needs ldapserver",
                 'found option "ldapserver", which pam does not have'):
        assert part in said, said
