"""Secrets: from the environment, a file or a command; files that are open are refused; wiped."""
import copy
import os
import re
import subprocess

import psycopg
import pytest
from support.patience import eventually
from support.trunkline import binary, configuration, route


def trusted(secret):
    """Routes whose servers are logged in to with this password, as the user app."""
    return [route(user="trusted", auth="trust", server_user="app", server_password=secret)]


def check(folder, config, **environment):
    """What `check` says of a configuration in this folder: (exit status, complaints)."""
    import json
    path = folder / "trunkline.yaml"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    done = subprocess.run([binary(), "check", path], text=True, capture_output=True,
                          env={**os.environ, **environment})
    return done.returncode, done.stderr


def works(daemon):
    return daemon.endpoint(user="trusted").one("select current_user") == "app"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_password_comes_from_a_file(trunkline, tmp_path, ending):
    secret = tmp_path / "secret"
    secret.write_text("app" + ending)
    secret.chmod(0o600)
    assert works(trunkline(routes=trusted({"file": str(secret)})))


def test_a_password_comes_from_a_command_of_the_shell(trunkline):
    assert works(trunkline(routes=trusted({"command": "printf '%s%s\\n' a pp; echo $0 >&2"})))


def test_a_password_comes_from_a_command_in_words(trunkline):
    assert works(trunkline(routes=trusted({"command": ["/usr/bin/printf", "%s", "app"]})))


def test_a_password_comes_from_the_environment(trunkline, monkeypatch):
    monkeypatch.setenv("TRUNKLINE_TEST_SECRET", "app")
    assert works(trunkline(routes=trusted({"env": "TRUNKLINE_TEST_SECRET"})))


def test_a_reload_asks_again(trunkline, tmp_path):
    """The command blocks nobody meanwhile, and what it gives anew is what servers get."""
    secret, gate = tmp_path / "secret", tmp_path / "gate"
    secret.write_text("app")
    secret.chmod(0o600)
    os.mkfifo(gate)
    daemon = trunkline(routes=trusted({"command": f"cat {secret}"}) + [route()])
    assert works(daemon)
    secret.write_text("wrong")
    config = copy.deepcopy(daemon.config)
    config["routes"][0]["server_password"] = {"command": f"cat {gate}; cat {secret}"}
    daemon.write(config)
    daemon.hangup()
    with open(gate, "w") as hold:  # opens when the command has begun to read
        assert daemon.endpoint().one("select 1") == 1
        hold.write("")
    daemon.logged("config.reloaded")
    with pytest.raises(psycopg.OperationalError):
        daemon.connect(user="trusted", database="session").execute("select 1")


@pytest.mark.parametrize("secret, complaint", [
    ({"env": "NO_SUCH_VARIABLE"}, "environment variable NO_SUCH_VARIABLE is not set"),
    ({"file": "nowhere"}, "cannot read .*/nowhere: No such file"),
    ({"command": "exit 3"}, "the command failed with status 3"),
    ({"command": "kill -9 $$"}, "the command failed with signal 9"),
    ({"command": "true"}, "found 0 bytes; accepted: a secret of 1 to 2047 bytes"),
    ({"command": "head -c 100000 /dev/zero"}, "found 2050 bytes; accepted: a secret of 1 to 2047"),
    ({"command": ["/no/such/program"]}, "the command /no/such/program: No such file"),
    ({"command": []}, "found 0 words; accepted: 1 to 64"),
    ({"env": "HOME", "file": "x"}, r"found a mapping; accepted: .*\{env: NAME\}"),
    ({"vault": "x"}, "found a mapping; accepted: "),
    ({}, "found a mapping; accepted: "),
])
def test_errors_of_a_source_are_reported(tmp_path, secret, complaint):
    config = dict(configuration(None), routes=trusted(secret), auth_file=None)
    status, said = check(tmp_path, {k: v for k, v in config.items() if v is not None})
    assert status == 1
    assert re.search(rf"routes\[0\].server_password: {complaint}", said), said


def test_a_secret_is_told_nowhere(trunkline, monkeypatch):
    monkeypatch.setenv("TRUNKLINE_TEST_SECRET", "the secret word")
    daemon = trunkline(routes=trusted({"env": "TRUNKLINE_TEST_SECRET"}) + [route()])
    shown = {row["key"]: row["value"] for row in daemon.console("SHOW CONFIG")}
    assert shown["routes[0].server_password"] == "********"
    assert "the secret word" not in daemon.log()


@pytest.mark.parametrize("mode, sound", [(0o600, True), (0o400, True), (0o640, os.geteuid() == 0),
                                         (0o644, False), (0o660, False), (0o604, False)])
def test_files_with_secrets_must_be_private(tmp_path, mode, sound):
    """As PostgreSQL has it for keys: a group may read what belongs to root."""
    users, secret = tmp_path / "users.txt", tmp_path / "secret"
    for path in users, secret:
        path.write_text('"app" "app"\n')
        path.chmod(mode)
    config = dict(configuration(None), routes=trusted({"file": "secret"}), secret_files="private")
    status, said = check(tmp_path, config)
    assert (status == 0) == sound, said
    if not sound:
        for path, key in (users, "auth_file"), (secret, r"routes\[0\].server_password"):
            assert re.search(rf"{key}: {path} has mode {mode:04o}, so other users can read", said)
        status, warned = check(tmp_path, dict(config, secret_files="warn"))
        assert status == 0 and warned.count("so other users can read") == 2
        status, silent = check(tmp_path, dict(config, secret_files="any"))
        assert status == 0 and "so other users can read" not in silent


def test_keys_of_tls_must_be_private(tmp_path, certificate):
    key = tmp_path / "open.key"
    key.write_bytes(certificate.key.read_bytes())
    key.chmod(0o644)
    config = dict(configuration(None), auth_file=None, routes=[route(auth="trust")])
    config["listen"][0]["tls"] = {"mode": "allow", "cert": str(certificate.cert), "key": str(key)}
    config = {k: v for k, v in config.items() if v is not None}
    assert check(tmp_path, config)[0] == 0
    status, said = check(tmp_path, dict(config, secret_files="private"))
    assert status == 1 and re.search(r"listen\[0\].tls: .*open.key has mode 0644", said)
    assert check(tmp_path, dict(config, secret_files="any"))[0] == 0


def test_a_password_in_an_open_configuration_is_warned_of_once(tmp_path):
    config = dict(configuration(None), auth_file=None, routes=trusted("one") + trusted("two"))
    config = {k: v for k, v in config.items() if v is not None}
    check(tmp_path, config)
    (tmp_path / "trunkline.yaml").chmod(0o644)
    done = subprocess.run([binary(), "check", tmp_path / "trunkline.yaml"], text=True,
                          capture_output=True)
    assert done.returncode == 0
    assert len(re.findall("mode 0644, which other users can read", done.stderr)) == 1


def maps(pid):
    """(first, last) of what the process has mapped and may write."""
    with open(f"/proc/{pid}/maps") as rows:
        for row in rows:
            span, mode = row.split()[:2]
            if mode.startswith("rw") and "[v" not in row:
                yield tuple(int(part, 16) for part in span.split("-"))


def memory_holds(pid, word):
    """Where a word lies in a process's memory."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for first, last in maps(pid):
            if last - first > 2**30:
                continue  # what a sanitizer keeps its books in
            memory.seek(first)
            try:
                text = memory.read(last - first)
            except OSError:
                continue
            found += [first + m.start() for m in re.finditer(re.escape(word), text)]
    return found


def what_was_read_is_wiped_after_use(trunkline, tmp_path):
    """Of a version that is gone nothing is left, and of one in force one copy of each secret."""
    words = [b"Wiped-in-the-yaml-0", b"Wiped-in-the-users-1", b"Wiped-in-the-file-2",
             b"Wiped-by-the-command-3"]
    secret = tmp_path / "secret"
    secret.write_bytes(words[2])
    secret.chmod(0o600)
    routes = [route(database=f"d{i}", user="trusted", auth="trust", server_user="app",
                    server_password=how)
              for i, how in enumerate([words[0].decode(), {"file": str(secret)},
                                       {"command": f"cat {secret} | sed s/file-2/command-3/ | "
                                                   "sed s/in-the/by-the/"}])]
    daemon = trunkline(users={"app": "app", "admin": "admin", "x": words[1].decode()},
                       routes=routes + [route()])
    daemon.logged("ready")  # and no pool yet: one would keep the version that it was born in
    for word in words:
        assert len(memory_holds(daemon.program.pid, word)) == 1, word
    daemon.reload(dict(daemon.config, routes=[route()]), users={"app": "app", "admin": "admin"})
    eventually(lambda: all(memory_holds(daemon.program.pid, word) == [] for word in words))


# Sanitizers keep freed memory.
if os.environ.get("TRUNKLINE_KIND", "") not in ("asan", "tsan"):
    test_what_was_read_is_wiped_after_use = what_was_read_is_wiped_after_use


def test_the_versions_stay_out_of_core_dumps(trunkline):
    """What holds the secrets is marked `dd` in smaps: not even a wanted dump has it."""
    words = "Kept-out-of-dumps"
    daemon = trunkline(routes=trusted(words) + [route()])
    assert daemon.endpoint().one("select 1") == 1
    where = memory_holds(daemon.program.pid, words.encode())
    assert where
    flags, inside = set(), False
    for line in open(f"/proc/{daemon.program.pid}/smaps"):
        span = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if span:
            inside = any(int(span[1], 16) <= at < int(span[2], 16) for at in where)
        elif inside and line.startswith("VmFlags:"):
            flags = set(line.split()[1:])
            assert "dd" in flags
    assert flags
