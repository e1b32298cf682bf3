"""A start that fails says why on standard error, and leaves the log of a running instance alone."""
import json
import re

import pytest
from support.patience import eventually
from support.processes import Program
from support.trunkline import binary, configuration


def start_that_fails(trunkline, config):
    """What the daemon writes to standard error."""
    daemon = trunkline(config=config, start=False)
    daemon.program = Program([binary(), "run", daemon.file], daemon.log_file, cwd=daemon.folder)
    assert daemon.program.wait() == 1
    daemon.program = None
    return daemon.log()


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_second_start_says_why_it_failed_and_not_in_the_log_of_the_first(trunkline, postgres, tmp_path, form):
    file = tmp_path / "pooler.log"
    config = configuration(postgres, log={"file": str(file), "format": form})
    first = trunkline(config=config)
    assert first.endpoint().one("select 1") == 1
    before = file.read_text()
    said = start_that_fails(trunkline, config)
    address = rf"127\.0\.0\.1:{first.port}"
    assert re.search(rf"(?m)^\d{{4}}-\d\d-\d\d .* ERROR start\.failed reason=\".*{address}.*in use", said)
    assert said.count("start.failed") == 1
    assert first.endpoint().one("select 1") == 1
    after = file.read_text()
    assert after.startswith(before) and "start.failed" not in after
    pids = set(re.findall(r'"pid":(\d+),"event"' if form == "json" else r"(?m)^\S+ \S+ UTC \[(\d+)\]", after))
    assert pids == {str(first.program.pid)}


def test_a_start_that_fails_is_told_once_on_standard_error(trunkline, postgres, tmp_path):
    """Also when standard error is one of several targets."""
    file = tmp_path / "pooler.log"
    log = {"targets": [{"to": "file", "path": str(file)}, {"to": "stderr", "format": "json"}]}
    first = trunkline(config=configuration(postgres))
    said = start_that_fails(trunkline, configuration(postgres, listen=first.config["listen"], log=log))
    lines = [line for line in said.splitlines() if "start.failed" in line]
    assert len(lines) == 1 and json.loads(lines[0])["event"] == "start.failed"
    assert file.read_text() == ""


def test_a_start_that_fails_is_told_on_standard_error_whatever_the_targets_are(trunkline, postgres, tmp_path):
    first = trunkline(config=configuration(postgres))
    log = {"targets": [{"to": "syslog", "path": str(tmp_path / "nobody")}]}
    said = start_that_fails(trunkline, configuration(postgres, listen=first.config["listen"], log=log))
    assert said.count("ERROR start.failed") == 1


def test_messages_of_the_start_are_in_the_log_file_in_order(trunkline, postgres, tmp_path):
    file = tmp_path / "pooler.log"
    daemon = trunkline(config=configuration(postgres, log={"file": str(file)}))
    eventually(lambda: " ready " in file.read_text())  # lines are written by a thread of their own
    daemon.endpoint().one("select 1")

    def in_order():
        events = re.findall(r"(?m)^\S+ \S+ UTC \[\d+\] [A-Z]+ (\S+)", file.read_text())
        start = [event for event in events if event in ("listening", "ready", "client.connected")]
        assert start[0] == "listening" and {"ready", "client.connected"} <= set(start)
        return True
    eventually(in_order)
    assert daemon.log() == ""
