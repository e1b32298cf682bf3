"""How the pooler proves to servers who it is: certificates, and passwords that a command prints."""
import psycopg
import pytest
from support.certificate import Certificate
from support.patience import eventually
from support.trunkline import route


class Teller:
    """A command that prints the content of a file, and notes as whom and where it was asked."""

    def __init__(self, folder):
        self.secret, self.notes = folder / "secret", folder / "asked"
        self.notes.write_text("")
        self.command = f'echo "$1 $2 $3 $4" >> {self.notes}; cat {self.secret}'

    def knows(self, text):
        self.secret.write_text(text + "\n")

    def asked(self):
        return self.notes.read_text().splitlines()


@pytest.fixture
def teller(tmp_path):
    return Teller(tmp_path)


def refusal(endpoint):
    with pytest.raises(psycopg.OperationalError) as error:
        with endpoint.connect() as connection:
            connection.execute("select 1")
    return str(error.value)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_command_prints_the_password_for_servers(trunkline, postgres, teller, mode):
    teller.knows("reports")
    daemon = trunkline(relays=1, routes=[
        route(pool=mode, server_user="reports", password_command=teller.command,
              fresh=mode == "session")])
    with daemon.connect():  # or the pool would go with its last client
        for _ in range(3):
            assert daemon.endpoint().one("select current_user") == "reports"
    assert teller.asked() == [f"reports 127.0.0.1 {postgres.port} app"]


def test_a_password_lives_for_its_time_and_is_doubted_when_it_is_refused(trunkline, cluster, teller):
    own = cluster()
    teller.knows("reports")
    daemon = trunkline(server=own, relays=1, routes=[
        route(pool="session", fresh=True, user="app", server_user="reports",
              password_command=teller.command, password_lifetime="1s"), route()])
    assert daemon.endpoint().one("select 1") == 1
    eventually(lambda: daemon.endpoint().one("select 1") and len(teller.asked()) > 1)
    own.sql("alter role reports password 'next'")
    teller.knows("next")

    def back():
        try:
            return daemon.endpoint().one("select 1") == 1
        except psycopg.OperationalError:
            return False

    eventually(back)


def test_a_command_that_fails_is_told(trunkline, teller):
    for command, story in (("exit 3", "ended with status 3"), ("true", "printed no password")):
        daemon = trunkline(routes=[route(password_command=command)])
        assert story in refusal(daemon.endpoint())
        daemon.logged(f"server.login_failed.*{story}")


def test_a_certificate_logs_in_to_a_server(trunkline, authority, certificate, cluster, tmp_path):
    own = cluster(certificate=certificate, hba="local all all trust\nhostssl all all all cert\n")
    own._own(authority.cert, "root.crt")
    own.sql("alter system set ssl_ca_file = 'root.crt'")
    own.restart()
    mine = Certificate(tmp_path, "app", authority)
    tls = {"mode": "verify-full", "ca": str(authority.cert), "cert": str(mine.cert),
           "key": str(mine.key)}
    daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{own.port}"], "tls": tls}})
    assert daemon.endpoint().one("select current_user") == "app"
    assert "certificate authentication failed" in refusal(daemon.endpoint(user="reports"))
