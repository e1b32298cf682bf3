"""`check --match`: which route and which line of the HBA file a client would meet."""
import subprocess

import pytest
from support.patience import PATIENCE
from support.trunkline import binary

HBA = """# who may come in
local all all peer
host app joe 10.0.0.0/8 md5
hostssl all all 0.0.0.0/0 scram-sha-256
host all mallory all reject
"""
CONFIG = """listen: [{host: 127.0.0.1}]
auth_file: users.txt
hba_file: hba.conf
services: {main: {hosts: ["127.0.0.1:5432"]}}
routes:
  - {database: app, user: blocked, auth: block}
  - {database: app, user: "*", service: main, auth: hba, pool: transaction}
  - {database: other, user: "*", service: main, auth: trust}
"""


@pytest.fixture
def match(tmp_path):
    (tmp_path / "hba.conf").write_text(HBA)
    (tmp_path / "users.txt").write_text('"joe" "secret"\n')
    (tmp_path / "users.txt").chmod(0o600)
    (tmp_path / "trunkline.yaml").write_text(CONFIG)

    def ask(*words):
        return subprocess.run([binary(), "check", "trunkline.yaml", "--match", *words], text=True,
                              cwd=tmp_path, capture_output=True, timeout=PATIENCE)
    ask.folder = tmp_path
    return ask


@pytest.mark.parametrize("words, status, told", [
    (("app", "joe", "10.1.2.3"), 0, ["/trunkline.yaml:7, ", "hba.conf:3: host app joe"]),
    (("app", "joe", "192.0.2.1"), 0, ["no line of", "hba.conf:4: hostssl"]),
    (("app", "joe", "local"), 0, ["hba.conf:2: local all all peer"]),
    (("app", "joe", "2001:db8::1"), 1, ["no line of"]),
    (("app", "mallory", "2001:db8::1"), 1, ["hba.conf:5: host all mallory all reject"]),
    (("app", "blocked", "10.1.2.3"), 1, ["/trunkline.yaml:6, ", "block"]),
    (("other", "anyone", "10.1.2.3"), 0, ["/trunkline.yaml:8, ", "trust", "session pool of 20"]),
    (("nowhere", "joe", "local"), 1, ["none matches", "3D000"]),
])
def test_the_route_and_the_line_that_win_are_told(match, words, status, told):
    done = match(*words)
    assert done.returncode == status, done.stderr
    for part in told:
        assert part in done.stdout


def test_an_invalid_address_is_reported(match):
    done = match("app", "joe", "somewhere")
    assert done.returncode == 2
    assert "found address somewhere; accepted: an IP address, or local" in done.stderr


def test_the_file_may_stand_behind(match):
    done = subprocess.run([binary(), "check", "--match", "app", "joe", "local", "trunkline.yaml"],
                          text=True, cwd=match.folder, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0 and "hba.conf:2" in done.stdout
