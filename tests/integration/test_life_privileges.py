"""What the daemon may do, and who may look into it: user, capabilities, descriptors, core dumps."""
import os
import pwd
import re
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest
from support.patience import eventually
from support.processes import MORTAL, Program
from support.trunkline import Trunkline, binary, configuration

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
KIND = os.environ.get("TRUNKLINE_KIND", "")


class Limited(Trunkline):
    """A daemon behind a few words that change what it is given."""

    words = ()

    def start(self):
        self.program = Program([*MORTAL, *self.words, binary(), "run", self.file], self.log_file,
                               cwd=self.folder)
        return self


@pytest.fixture
def limited(postgres, tmp_path):
    made = []

    def make(*words, **changes):
        folder = tmp_path / f"limited{len(made)}"
        folder.mkdir()
        daemon = Limited(folder, configuration(postgres, **changes))
        daemon.words = words
        for word in words:
            if word.startswith("--reuid="):
                for path in daemon.file, daemon.folder / "users.txt":
                    os.chown(path, int(word.removeprefix("--reuid=")), -1)
        made.append(daemon)
        return daemon.start()

    yield make
    for daemon in made:
        if daemon.program.running():
            daemon.stop()


def refused(daemon):
    assert daemon.program.wait() == 1
    daemon.check()
    return daemon.log()


def states(daemon):
    """The status of every thread."""
    return [dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines()
                 if ":\t" in line)
            for task in Path(f"/proc/{daemon.program.pid}/task").iterdir()]


def someone_else():
    """A user that this process is not, and what becomes of asking for it."""
    return "nobody" if ROOT else "root"


# --- the user -----------------------------------------------------------------------------------


def test_all_threads_change_user_and_drop_capabilities(limited):
    """Or, started by somebody who can't: says so, and by what it was started."""
    daemon = limited(user=someone_else())
    if not ROOT:
        assert f"only root can, and this is user {os.geteuid()}" in refused(daemon)
        return
    eventually(daemon.listening)
    assert daemon.endpoint().one("select 1") == 1
    groups = {str(g) for g in os.getgrouplist("nobody", NOBODY.pw_gid)}
    for state in states(daemon):
        assert set(state["Uid"].split()) == {str(NOBODY.pw_uid)}, state["Name"]
        assert set(state["Gid"].split()) == {str(NOBODY.pw_gid)}, state["Name"]
        assert set(state["Groups"].split()) == groups, state["Name"]


def test_no_thread_of_an_ordinary_user_can_do_more_than_that(limited):
    daemon = limited(user=pwd.getpwuid(NOBODY.pw_uid if ROOT else os.geteuid()).pw_name)
    daemon.logged("ready")
    assert daemon.endpoint().one("select 1") == 1
    for state in states(daemon):
        for key in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert int(state[key], 16) == 0, (state["Name"], key)
        assert state["NoNewPrivs"] == "1", state["Name"]


@pytest.mark.skipif(not ROOT, reason="only root can bind such a port before it becomes a user")
def test_a_port_of_root_is_bound_before_it_becomes_its_user(limited):
    with socket.socket() as probe:
        for port in range(1023, 600, -1):
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                break
    daemon = limited(user="nobody", listen=[{"host": "127.0.0.1", "port": port}])
    eventually(daemon.listening)
    assert daemon.endpoint().one("select 1") == 1


@pytest.mark.skipif(not ROOT, reason="only root can lend a capability")
def test_a_capability_that_was_lent_for_binding_is_given_back(limited, tmp_path):
    for folder in tmp_path, *tmp_path.parents:  # for nobody, on the way to the files
        if folder.stat().st_mode & 0o011 != 0o011:
            folder.chmod(folder.stat().st_mode | 0o011)
    daemon = limited("setpriv", f"--reuid={NOBODY.pw_uid}", "--clear-groups",
                     "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service")
    daemon.logged("ready")
    able = [state["Name"] for state in states(daemon)
            if int(state["CapEff"], 16) or int(state["CapAmb"], 16)]
    # ThreadSanitizer has a thread of its own, from before the first instruction.
    assert len(able) <= (KIND == "tsan"), able


def test_a_user_that_does_not_exist_is_refused_by_name(limited):
    log = refused(limited(user="nosuchuser"))
    assert re.search(r'there is no user \W*nosuchuser', log)


def test_a_reload_that_will_not_be_able_to_read_its_files_is_foretold(limited):
    daemon = limited(user="nobody" if ROOT else pwd.getpwuid(os.geteuid()).pw_name)
    eventually(daemon.listening)
    if not ROOT:
        assert "config.unreadable" not in daemon.log()
        return
    daemon.folder.chmod(0o700)
    daemon.logged(r"config.unreadable.*trunkline.yaml.*user=nobody")
    daemon.hangup()
    daemon.logged("config.reload_failed")
    assert daemon.endpoint().one("select 1") == 1


def test_root_without_a_user_is_warned(limited):
    daemon = limited()
    daemon.logged("ready")
    assert ("privileges.root" in daemon.log()) == ROOT


def test_the_log_belongs_to_the_user(limited, tmp_path):
    name = "nobody" if ROOT else pwd.getpwuid(os.geteuid()).pw_name
    path = tmp_path / "the.log"
    daemon = limited(user=name, log={"file": str(path)})
    eventually(lambda: path.exists() and path.owner() == name)


# --- descriptors ----------------------------------------------------------------------------------


def test_the_limit_of_descriptors_is_raised_as_far_as_it_goes(limited):
    daemon = limited("prlimit", "--nofile=50:20000")
    daemon.logged("ready")
    limits = Path(f"/proc/{daemon.program.pid}/limits").read_text()
    assert re.search(r"Max open files\s+20000\s+20000", limits)
    assert "descriptors.few" not in daemon.log()


def test_too_few_descriptors_are_told_with_every_number_and_budgeted(limited):
    daemon = limited("prlimit", "--nofile=400:400", relays=2, clients=500)
    daemon.logged("ready")
    line = re.search(r"descriptors.few.*", daemon.log()).group()
    numbers = dict(re.findall(r"(\w+)=(\d+)", line))
    assert (numbers["limit"], numbers["clients"], numbers["servers"]) == ("400", "500", "1000")
    assert int(numbers["needed"]) == sum(
        int(numbers[name]) for name in ("clients", "servers", "cancels", "spare"))
    allowed = int(numbers["clients_allowed"])
    assert 0 < allowed < 400
    held = []
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        for _ in range(allowed + 1):
            held.append(daemon.connect())
    assert len(held) == allowed
    assert held[0].execute("select 1").fetchone() == (1,)
    for connection in held:
        connection.close()


def test_too_few_descriptors_are_refused_with_the_needed_number(limited):
    log = refused(limited("prlimit", "--nofile=100:100", relays=2, clients=500))
    assert re.search(r"100 descriptors are too few.*LimitNOFILE=.*to \d{4}", log)


# --- core dumps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
def test_no_core_dumps_unless_asked(limited, wanted):
    """The kernel gives /proc of a process that can't be looked into to root."""
    name = "nobody" if ROOT else pwd.getpwuid(os.geteuid()).pw_name
    daemon = limited("prlimit", "--core=1000000:2000000", core_dumps=wanted, user=name)
    eventually(daemon.listening)
    daemon.logged("ready")
    path = Path(f"/proc/{daemon.program.pid}")
    soft = re.search(r"Max core file size\s+(\w+)", (path / "limits").read_text()).group(1)
    assert soft == ("2000000" if wanted else "0")
    # Of a sanitized program nothing is hidden: its leak detector is a debugger.
    hidden = not wanted and KIND != "asan"
    assert (path / "status").stat().st_uid == (0 if hidden else pwd.getpwnam(name).pw_uid)
