"""The command line: what it prints, where, and with which exit status.  No server is needed."""
import os
import pty
import re
import select
import subprocess
import termios

import pytest
from support.patience import PATIENCE
from support.trunkline import TOP, binary

COMMANDS = ["run", "check", "secret", "import", "feed-setup", "top", "version"]


def trunkline(*arguments, stdin="", cwd=None):
    return subprocess.run([binary(), *map(str, arguments)], input=stdin, text=True, cwd=cwd,
                          capture_output=True, timeout=PATIENCE)


@pytest.fixture
def sample(tmp_path, certificate):
    """The file of examples/, with what it names beside it."""
    text = (TOP / "examples" / "trunkline.yaml").read_text()
    (tmp_path / "trunkline.yaml").write_text(text)
    (tmp_path / "users.txt").write_text('"app" "app"\n"admin" "admin"\n')
    (tmp_path / "server.crt").write_bytes(certificate.cert.read_bytes())
    (tmp_path / "server.key").write_bytes(certificate.key.read_bytes())
    for name in "trunkline.yaml", "users.txt", "server.key":
        (tmp_path / name).chmod(0o600)
    return tmp_path / "trunkline.yaml"


def test_without_a_command_the_usage_goes_to_standard_error():
    done = trunkline()
    assert done.returncode == 2 and done.stdout == ""
    assert all(f"trunkline {name}" in done.stderr for name in COMMANDS)


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_goes_to_standard_output(word):
    done = trunkline(word)
    assert done.returncode == 0 and done.stderr == ""
    assert all(f"trunkline {name}" in done.stdout for name in COMMANDS)
    assert "docs" not in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("form", [["{}", "--help"], ["{}", "-h"], ["help", "{}"]])
def test_every_command_has_help(name, form):
    done = trunkline(*[word.format(name) for word in form])
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"usage: trunkline {name}")


@pytest.mark.parametrize("arguments, problem", [
    (["nosuch"], "trunkline: unknown command nosuch\n"),
    (["check"], "trunkline check: found 0 arguments; accepted: 1\n"),
    (["run", "a", "b"], "trunkline run: found 2 arguments; accepted: 1\n"),
    (["version", "x"], "trunkline version: found 1 arguments; accepted: 0\n"),
    (["check", "--quiet"], "trunkline check: unknown option --quiet\n"),
])
def test_a_wrong_command_line_is_told_with_the_usage(arguments, problem):
    done = trunkline(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(problem) and "usage:" in done.stderr


def test_the_version_is_that_of_the_project():
    version = re.search(r"version: '([^']+)'", (TOP / "meson.build").read_text()).group(1)
    for word in "version", "--version", "-V":
        assert trunkline(word).stdout == f"trunkline {version}\n"


@pytest.mark.parametrize("page", ["configuration", "console", "migrating-from-pgbouncer"])
def test_the_manual_is_made_from_the_tables(page):
    done = trunkline("docs", page)
    assert done.returncode == 0
    assert done.stdout == (TOP / "docs" / f"{page}.md").read_text(), "run ./dev docs"


def test_the_sample_configuration_can_be_run(sample):
    done = trunkline("check", sample)
    assert done.stderr == "" and done.returncode == 0
    assert done.stdout == (f"{sample} can be run: 1 listener, 2 relays, 1 service, 3 routes, "
                           "2 users in the auth file\n")


def test_check_tells_every_problem_and_exits_with_1(sample):
    text = sample.read_text().replace("pool_size: 5", "pool_size: five")
    sample.write_text(text.replace("service: main, pool: transaction", "pool: transaction"))
    (sample.parent / "server.key").unlink()
    done = trunkline("check", sample.name, cwd=sample.parent)
    assert done.returncode == 1 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert re.match(r"trunkline\.yaml:10:\d+: listen\[0\]\.tls: .*server\.key.*No such file", lines[0])
    assert re.match(r'trunkline\.yaml:23:\d+: routes\[0\]\.pool_size: found "five"; accepted: a '
                    r"whole number from 1 to 100000$", lines[1])
    assert re.match(r"trunkline\.yaml:27:5: routes\[2\]\.service: missing; ", lines[2])
    assert lines[3] == "trunkline: trunkline.yaml: 3 problems"


def test_a_warning_is_told_and_the_file_can_be_run(sample):
    with sample.open("a") as file:
        file.write("\n# unreachable\n")
    sample.write_text(sample.read_text().replace("\nconsole:", "  - {auth: block}\n\nconsole:"))
    done = trunkline("check", sample)
    assert done.returncode == 0 and "4 routes" in done.stdout
    assert re.fullmatch(r".*:28:5: warning: routes\[3\]: never matches: .*\n", done.stderr)


def test_a_file_may_begin_with_a_dash(sample):
    odd = sample.rename(sample.parent / "-file")
    assert trunkline("check", odd.name, cwd=odd.parent).returncode == 2
    assert trunkline("check", "--", odd.name, cwd=odd.parent).returncode == 0


def test_run_reports_errors_in_the_file(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text("relays: none\n")
    done = trunkline("run", file)
    assert done.returncode == 1
    assert f'{file}:1:9: relays: found "none"; accepted: a whole number' in done.stderr


# --- secret ---------------------------------------------------------------------------------

LINE = re.compile(r'"(?P<user>.*)" "SCRAM-SHA-256\$4096:(?P<salt>[^$]+)\$(?P<stored>[^:]+):'
                  r'(?P<server>[^"]+)"\n')


def verifier(password, salt):
    """Stored key and server key, as RFC 5802 has them."""
    import hashlib
    import hmac
    from base64 import b64decode, b64encode
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(salt), 4096)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    return b64encode(hashlib.sha256(client).digest()).decode(), b64encode(server).decode()


@pytest.mark.parametrize("stdin", ["a word\n", "a word", "a word\r\n", "a word\nmore\n"])
def test_a_secret_is_made_from_the_first_line_of_a_pipe(stdin):
    done = trunkline("secret", "ann", stdin=stdin)
    assert done.returncode == 0 and done.stderr == ""
    found = LINE.fullmatch(done.stdout)
    assert found["user"] == "ann"
    assert (found["stored"], found["server"]) == verifier("a word", found["salt"])


def test_two_secrets_of_one_password_differ():
    lines = {trunkline("secret", "ann", stdin="word").stdout for _ in range(2)}
    assert len(lines) == 2


def test_a_quote_in_the_name_of_the_user_is_doubled(sample):
    done = trunkline("secret", 'o"neil', stdin="word")
    assert LINE.fullmatch(done.stdout)["user"] == 'o""neil'
    (sample.parent / "users.txt").write_text(done.stdout)
    assert "1 user in" in trunkline("check", sample).stdout


@pytest.mark.parametrize("user, stdin, problem", [
    ("ann", "", "found no password"),
    ("ann", "\n", "the password is empty"),
    ("ann", "x" * 1024, "found no password of at most 1023 bytes"),
    ("", "word", "accepted: a user of 1 to 127 bytes"),
    ("n" * 128, "word", "accepted: a user of 1 to 127 bytes"),
    ("a\nb", "word", "accepted: a user of 1 to 127 bytes"),
])
def test_no_secret_is_made_of_an_unusable_password(user, stdin, problem):
    done = trunkline("secret", user, stdin=stdin)
    assert done.returncode == 1 and done.stdout == ""
    assert problem in done.stderr


class Terminal:
    """The program at a terminal of its own; its standard output is a pipe."""

    def __init__(self, *arguments):
        self.master, slave = pty.openpty()
        self.program = subprocess.Popen([binary(), *arguments], stdin=slave, stderr=slave,
                                        stdout=subprocess.PIPE, text=True)
        self.slave = slave
        self.shown = ""

    def wait_for(self, text):
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], PATIENCE)
            assert ready, f"waited for {text!r}, saw {self.shown!r}"
            self.shown += os.read(self.master, 4096).decode()

    def answer(self, text):
        os.write(self.master, text.encode())

    def echoes(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def end(self):
        out, _ = self.program.communicate(timeout=PATIENCE)
        echoes = self.echoes()
        os.close(self.slave)
        os.close(self.master)
        return self.program.returncode, out, echoes


def test_at_a_terminal_a_password_is_asked_for_twice_and_not_shown():
    terminal = Terminal("secret", "ann")
    terminal.wait_for("Password: ")
    assert not terminal.echoes()
    terminal.answer("a word\n")
    terminal.wait_for("Again: ")
    terminal.answer("a word\n")
    status, out, echoes = terminal.end()
    assert status == 0 and echoes and "a word" not in terminal.shown
    found = LINE.fullmatch(out)
    assert (found["stored"], found["server"]) == verifier("a word", found["salt"])


@pytest.mark.parametrize("second", ["another\n", "\x03\n", "\x04"])
def test_at_a_terminal_a_second_password_that_differs_is_refused(second):
    terminal = Terminal("secret", "ann")
    terminal.wait_for("Password: ")
    terminal.answer("a word\n")
    terminal.wait_for("Again: ")
    terminal.answer(second)
    status, out, echoes = terminal.end()
    assert status == 1 and out == "" and echoes
