"""`secret --from-server`: the server's own verifier, with which logins pass through."""
import subprocess

import pytest
from support.patience import PATIENCE
from support.trunkline import binary, route


def ask(*words, stdin=""):
    return subprocess.run([binary(), "secret", *map(str, words)], input=stdin, text=True,
                          capture_output=True, timeout=PATIENCE)


@pytest.fixture
def taken(postgres):
    """A user with a SCRAM secret that no file of ours knows, and one who may read it."""
    postgres.sql("drop role if exists taken, chief")
    postgres.sql("create role taken login password 'only the server knows'")
    postgres.sql("create role chief superuser login password 'chief'")
    yield "taken"
    postgres.sql("drop role taken, chief")


def test_the_line_opens_the_server_and_the_pool(taken, postgres, trunkline):
    done = ask(taken, "--from-server", f"127.0.0.1:{postgres.port}", "chief", stdin="chief\n")
    assert done.returncode == 0, done.stderr
    name, secret = done.stdout.strip().strip('"').split('" "')
    assert name == taken and secret.startswith("SCRAM-SHA-256$")
    daemon = trunkline(routes=[route()], users={taken: secret})
    with daemon.connect(user=taken, password="only the server knows") as connection:
        assert connection.execute("select session_user").fetchone() == (taken,)


def test_the_option_may_stand_first(taken, postgres):
    done = ask("--from-server", f"127.0.0.1:{postgres.port}", "chief", taken, stdin="chief\n")
    assert done.returncode == 0 and done.stdout.startswith('"taken" "SCRAM-SHA-256$')


@pytest.mark.parametrize("server, problem", [
    ("127.0.0.1:{port}", "the server has no secret for user nobody"),
    ("127.0.0.1:1", "refused"),
    ("127.0.0.1:x", "found port x; accepted: 1 to 65535"),
    ("no.such.host.invalid", "no.such.host.invalid"),
])
def test_the_reason_of_a_failure_is_reported(taken, postgres, server, problem):
    done = ask("nobody", "--from-server", server.format(port=postgres.port), "chief",
               stdin="chief\n")
    assert done.returncode == 1 and done.stdout == ""
    assert problem in done.stderr.lower() or problem in done.stderr


@pytest.mark.parametrize("words", [("a", "--from", "b", "c"), ("a", "b", "c", "d"), ("a", "b")])
def test_other_words_are_refused_with_the_usage(words):
    done = ask(*words)
    assert done.returncode == 2
    assert "usage: trunkline secret USER [--from-server HOST[:PORT] ADMIN]" in done.stderr
