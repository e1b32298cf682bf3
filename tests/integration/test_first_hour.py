"""What ./dev run promises to somebody who has just cloned the repository."""
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from support.patience import PATIENCE, STRETCH, eventually, seconds
from support.postgres import place
from support.processes import Program
from support.trunkline import TOP, binary

# They look for the port that everybody takes first: one after the other.
pytestmark = pytest.mark.xdist_group("first hour")


@pytest.fixture
def var():
    """A folder in the place of ./var."""
    folder = place("var")
    yield folder
    data = folder / "postgres"
    if data.is_symlink():
        shutil.rmtree(data.resolve())
    shutil.rmtree(folder)


@pytest.fixture
def dev_run(var):
    """Starts it and waits for its invitation; returns the program and the lines to paste."""
    started = []

    def start(*words):
        environment = dict(os.environ, TRUNKLINE_VAR=str(var), TRUNKLINE_BINARY=str(binary()))
        out = var.parent / f"{var.name}.out{len(started)}"
        program = Program(["/usr/bin/python3", TOP / "tools" / "run.py", *words], out,
                          env=environment)
        started.append(program)

        def invited():
            program.must_run()
            return re.findall(r"^  ((?:psql|pgbench) .*)$", program.text(), re.M)
        lines = eventually(lambda: len(invited()) == 3 and invited(), 4 * PATIENCE)
        return program, lines

    yield start
    for program in started:
        program.end(signal.SIGINT, 4 * PATIENCE)
        program.output.unlink()


def paste(line):
    done = subprocess.run(["bash", "-c", line], text=True, capture_output=True, timeout=120,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def programs_of(var):
    """The command lines that have to do with this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(var) in command:
            found.append(command)
    return found


def test_the_lines_that_it_prints_work_when_pasted(dev_run, var):
    program, (psql, console, pgbench) = dev_run()
    assert "Berlin" in paste(psql + " -c 'select * from turnover'")
    assert "demo" in paste(console)
    assert "transactions actually processed" in paste(pgbench.replace("-T 10", "-t 20"))


def test_ctrl_c_stops_all_and_the_second_start_is_fast(dev_run, var):
    program, _ = dev_run()
    assert len(programs_of(var)) >= 2
    assert program.end(signal.SIGINT) == 0
    assert programs_of(var) == []
    assert seconds(dev_run) < 2 * STRETCH


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_survives_its_end(dev_run, var, number):
    program, _ = dev_run()
    program.send_signal(number)
    program.wait()
    eventually(lambda: programs_of(var) == [])


def test_a_busy_port_is_noticed_and_another_one_taken(dev_run):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 6432))
            other.listen()
        except OSError:
            pass
        program, lines = dev_run()
        assert "port 6432 is busy: using 64" in program.text()
        assert ":6432/" not in lines[0]
        assert "1" in paste(lines[0] + " -c 'select 1'")


def test_the_end_of_the_pooler_is_the_end_of_all(dev_run, var):
    program, _ = dev_run()
    config = str(var / "trunkline.yaml")
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:3] == [str(binary()).encode(), b"run", config.encode()]:
            os.kill(int(entry.name), signal.SIGKILL)
    assert program.wait(2 * PATIENCE) == 1
    eventually(lambda: programs_of(var) == [])


def test_a_server_of_ones_own_is_left_as_it_was(dev_run, postgres, var):
    program, lines = dev_run("--server",
                             f"postgresql://app:app@127.0.0.1:{postgres.port}/app")
    assert "app" in paste(lines[0] + " -c 'select current_user'")
    assert not (var / "postgres").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder that only root can enter needs root")
def test_a_checkout_that_only_root_can_enter_is_no_hindrance(dev_run, var):
    var.chmod(0o700)
    os.chown(var, 0, 0)
    program, lines = dev_run()
    assert "Berlin" in paste(lines[0] + " -c 'select * from turnover'")
    assert (var / "postgres").is_symlink()
