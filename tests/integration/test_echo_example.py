"""`./dev run echo` on a pseudo terminal: arrow keys change how long claims are held, and the script
of the name server decides which servers are used."""
import contextlib
import os
import re
import select
import signal
import termios
from pathlib import Path

import pytest
from support.patience import PATIENCE, eventually
from support.processes import Program
from support.trunkline import TOP
from test_libraries import BUILD, COMPILER

UP, DOWN = b"\033[A", b"\033[B"

pytestmark = pytest.mark.xdist_group("libraries")


class Screen:
    """The example on a terminal of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.end, terminal = os.openpty()
        self.before = termios.tcgetattr(terminal)
        self.terminal, self.text = terminal, ""
        self.program = Program(
            [str(TOP / "dev"), "run", "echo"], folder / "output.log", stdin=terminal,
            stdout=terminal, env=dict(os.environ, TRUNKLINE_BUILD=str(BUILD),
                                      TRUNKLINE_ECHO=str(folder), TRUNKLINE_CC=" ".join(COMPILER)))

    def read(self):
        while select.select([self.end], [], [], 0)[0]:
            self.text += os.read(self.end, 65536).decode()
        return self.text

    def frame(self):
        """The latest whole frame: hold, claims a second, waiting, and the connections of each server."""
        frames = self.read().replace("\r", "").split("\033[H\033[J")
        if len(frames) < 3:
            self.program.must_run()
            return None
        head = re.match(r"hold (\d+) ms \(arrow keys\)   (\d+) claims/s   waiting (\d+)", frames[-2])
        servers = re.findall(r"^127\.0\.0\.1:(\d+) +(.*)$", frames[-2], re.M)
        return (*map(int, head.groups()), dict(servers))

    def shows(self, condition):
        return eventually(lambda: (frame := self.frame()) and condition(*frame) and frame,
                          timeout=4 * PATIENCE)

    def signal_servers(self, number):
        """All echo servers get this signal."""
        for exe in Path("/proc").glob("[0-9]*/exe"):
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                if os.readlink(exe) == str(self.folder / "server"):
                    os.kill(int(exe.parent.name), number)

    def press(self, *keys):
        os.write(self.end, b"".join(keys))

    def close(self):
        self.program.end()
        os.close(self.end)
        os.close(self.terminal)


@pytest.fixture
def screen(tmp_path):
    made = Screen(tmp_path)
    yield made
    made.close()


def test_keys_and_names_change_what_the_claimers_do(screen):
    hold, _, _, servers = screen.shows(lambda hold, rate, waiting, servers: rate > 0)
    assert hold == 100
    screen.shows(lambda hold, rate, waiting, servers: len(servers) == 4)

    screen.press(UP, UP, UP)
    screen.shows(lambda hold, rate, waiting, servers: hold == 250)
    screen.press(*[UP] * 10)
    screen.shows(lambda hold, rate, waiting, servers: hold == 750 and waiting > 0 and rate <= 40)
    screen.press(*[DOWN] * 14)
    screen.shows(lambda hold, rate, waiting, servers: hold == 50 and rate > 40)

    script = screen.folder / "names.txt"
    lines = script.read_text().splitlines()
    script.write_text("\n".join(lines[:3]) + "\n")
    left = {line.split()[5] for line in lines[1:3]}
    screen.shows(lambda hold, rate, waiting, servers: set(servers) == left and rate > 0)
    script.write_text("fault servfail\n")
    screen.text = ""
    screen.shows(lambda hold, rate, waiting, servers: set(servers) == left and rate > 0)

    screen.press(b"q")
    assert screen.program.wait() == 0
    words = re.findall(r"(\d+) claims, (\d+) refused, (\d+) broken", screen.read())
    # On a busy machine a few claims time out while only two servers are left.
    claims, refused, broken = map(int, words[0])
    assert len(words) == 1 and claims > 50 and refused * 10 < claims and broken == 0
    assert termios.tcgetattr(screen.terminal) == screen.before


def test_servers_that_stand_still_for_a_while_break_no_claim(screen):
    """As on a machine that is busy: an answer takes as long as seven frames, of 0.2 s each."""
    screen.press(DOWN, DOWN)  # most claims wait for an answer
    screen.shows(lambda hold, rate, waiting, servers: hold == 0 and rate > 0 and len(servers) == 4)
    screen.signal_servers(signal.SIGSTOP)
    screen.shows(lambda hold, rate, waiting, servers: rate == 0)
    screen.text = ""
    eventually(lambda: screen.read().count("claims/s") > 7)
    screen.signal_servers(signal.SIGCONT)
    screen.shows(lambda hold, rate, waiting, servers: rate > 0)
    screen.press(b"q")
    assert screen.program.wait() == 0
    assert re.findall(r"claims, \d+ refused, (\d+) broken", screen.read()) == ["0"]
