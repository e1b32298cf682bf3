"""What the pages tell a newcomer to type, typed: on a real server, with a real daemon."""
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.patience import PATIENCE, eventually
from support.ports import free_port
from support.processes import Program
from support.trunkline import binary

TOP = Path(__file__).resolve().parents[2]
sys.path.append(str(TOP / "tests" / "rules"))

from pages import console_statements, fences  # noqa: E402

PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]


class Reader:
    """Somebody who follows a page in a folder of its own, with other ports than the page has."""

    def __init__(self, page, folder, server):
        self.folder, self.server, self.port = folder, server, free_port()
        self.text = self.own((TOP / "docs" / page).read_text())
        self.program = None
        passwords = {"app": "app", "postgres": "chief", "admin": "word", "monitoring": "word"}
        passfile = folder / "pgpass"
        passfile.write_text("".join(f"*:*:*:{user}:{word}\n" for user, word in passwords.items()))
        passfile.chmod(0o600)
        self.environment = dict(os.environ, PGPASSFILE=str(passfile),
                                PATH=f"{Path(binary()).parent}:{os.environ['PATH']}")

    def own(self, text):
        for pattern, port in ((r"(?<=[:=])5432\b", self.server.port),
                              (r"(?<=[:= ])6432\b", self.port)):
            text = re.sub(pattern, str(port), text)
        return text.replace("db.example.org", "localhost")

    def blocks(self, language):
        return [fence.body for fence in fences(self.text) if fence.language == language]

    def types(self, line, answer=""):
        """Runs a line of the page; what it prints."""
        done = subprocess.run(["bash", "-c", line], cwd=self.folder, env=self.environment,
                              input=answer, text=True, capture_output=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def runs(self):
        """`trunkline run trunkline.yaml`, which stays."""
        (self.folder / "log").unlink(missing_ok=True)  # what an earlier one said of itself
        self.program = Program([binary(), "run", "trunkline.yaml"], self.folder / "log",
                               cwd=self.folder)
        eventually(lambda: " ready " in (self.folder / "log").read_text())

    def ends(self):
        if self.program is not None:
            assert self.program.end() == 0, (self.folder / "log").read_text()
            self.program = None


@pytest.fixture
def reader(tmp_path):
    made = []

    def make(page, server):
        server.sql("alter role postgres password 'chief'")
        made.append(Reader(page, tmp_path, server))
        return made[-1]

    yield make
    for one in made:
        one.ends()


def test_getting_started_leads_to_a_pooler_that_works(reader, cluster):
    own = cluster()
    newcomer = reader("getting-started.md", own)
    (newcomer.folder / "trunkline.yaml").write_text(newcomer.blocks("yaml")[0])
    lines = [line for block in newcomer.blocks("sh") for line in block.splitlines()
             if re.match(r"\(umask|trunkline|psql", line)]
    printed = []
    for line in lines:
        if line.startswith("trunkline run"):
            newcomer.runs()
            continue
        answer = "chief\n" if "--from-server" in line else "word\n" if " secret " in line else ""
        said = newcomer.types(line, answer)
        if line.startswith("trunkline check"):
            printed.append(said)
    machine = r"\d+ relays?"  # as many as this one has processors
    shown = newcomer.blocks("text")[0]
    here = "".join(printed).replace(str(newcomer.folder), "/srv/app")
    assert re.sub(machine, "", here) == re.sub(machine, "", shown)
    assert sum(line.startswith("psql") for line in lines) >= 4


def test_the_route_for_one_application_is_taken_by_a_reload(reader, cluster):
    newcomer = reader("getting-started.md", cluster())
    whole, _, routes = newcomer.blocks("yaml")
    file = newcomer.folder / "trunkline.yaml"
    file.write_text(whole)
    for line in ("(umask 077; touch users.txt)", "trunkline secret admin >> users.txt"):
        newcomer.types(line, "word\n")
    newcomer.runs()
    file.write_text(re.sub(r"^routes:.*?(?=^\w)", routes + "\n", whole, flags=re.S | re.M))
    console = f"psql -h 127.0.0.1 -p {newcomer.port} -U admin trunkline -c "
    newcomer.types(console + "RELOAD")
    shown = newcomer.types(console + "'SHOW ROUTES'")
    assert re.search(r"app +\| app +\| main +\| transaction", shown)


@pytest.fixture
def certificates(tmp_path):
    """Made as the page says."""
    page = (TOP / "docs" / "tls.md").read_text()
    block = next(fence.body for fence in fences(page) if "openssl req" in fence.body)
    subprocess.run(["bash", "-ec", block], cwd=tmp_path, check=True, capture_output=True)
    return SimpleNamespace(cert=tmp_path / "server.crt", key=tmp_path / "server.key")


def test_the_certificates_of_the_page_about_tls_serve_both_sides(reader, cluster, certificates):
    newcomer = reader("tls.md", cluster(certificate=certificates))
    both, by_certificate = newcomer.blocks("yaml")
    lines = [" ".join(block.replace("\\\n", " ").split()) for block in newcomer.blocks("sh")]
    by_password, by_name = [line for line in lines if line.startswith("psql")]
    file = newcomer.folder / "trunkline.yaml"
    rest = "routes: [{service: main}]\nauth_file: users.txt\n"
    (newcomer.folder / "users.txt").touch(mode=0o600)
    newcomer.types(f"trunkline secret app --from-server 127.0.0.1:{newcomer.server.port} postgres"
                   " >> users.txt", "chief\n")
    file.write_text(both + rest)
    newcomer.runs()
    assert "SSL connection (protocol: TLSv1.3" in newcomer.types(by_password)
    probes = [line for line in lines[-1].split("openssl ") if line]
    for probe in probes:
        assert "Verification: OK" in newcomer.types(f"openssl {probe} </dev/null")
    newcomer.ends()

    (newcomer.folder / "app.password").write_text("app\n")
    (newcomer.folder / "app.password").chmod(0o600)
    services = f"services: {{main: {{hosts: [\"127.0.0.1:{newcomer.server.port}\"]}}}}\n"
    file.write_text(by_certificate + services)
    newcomer.runs()
    assert "app" in newcomer.types(by_name, "select session_user;\n")


def test_the_console_answers_every_look_that_a_page_shows(pooler):
    looks = {statement for page in PAGES for statement in console_statements(page.read_text())
             if statement.upper().startswith("SHOW ")}
    assert len(looks) > 20
    for statement in sorted(looks):
        pooler.console(statement)
