"""A program on a terminal of its own: what it shows, and the keys that it gets."""
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import unicodedata

from .patience import PATIENCE, eventually

# What a program may send to a vt100: a control sequence, a choice of characters, a mode of keys.
SEQUENCE = re.compile(r"\x1b(?:\[(?P<words>[?0-9;]*)(?P<letter>[@A-Za-z])|[()](?P<set>.)|[=>78MDEc])")


class Screen:
    """The cells of a vt100, as far as ncurses uses one."""

    def __init__(self, rows, columns):
        self.resize(rows, columns)
        self.rest = ""

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.cells = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0
        self.region = (0, rows)

    def feed(self, text):
        text = self.rest + text
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                match = SEQUENCE.match(text, at)
                if match is None:
                    assert len(text) - at < 16, f"a vt100 does not know {text[at:at + 20]!r}"
                    break
                self.order(match)
                at = match.end()
                continue
            self.character(text[at])
            at += 1
        self.rest = text[at:]

    def character(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            if self.row + 1 == self.region[1]:
                self.scroll(self.region[0], self.region[1] - 1)
            else:
                self.row = min(self.row + 1, self.rows - 1)
        elif character == "\b":
            self.column = max(self.column - 1, 0)
        elif character == "\t":
            self.column = min(self.column // 8 * 8 + 8, self.columns - 1)
        elif character >= " ":
            self.column = min(self.column, self.columns - 1)
            self.cells[self.row][self.column] = character
            self.column += 1
            if unicodedata.east_asian_width(character) in "WF" and self.column < self.columns:
                self.cells[self.row][self.column] = ""
                self.column += 1
        else:
            assert character in "\x00\x07\x0e\x0f", f"{character!r} reached the terminal"

    def scroll(self, out, into):
        """Takes a row out and puts an empty one in."""
        del self.cells[out]
        self.cells.insert(into, [" "] * self.columns)

    def order(self, match):
        letter = match.group("letter")
        if match.group() == "\x1bM":
            if self.row == self.region[0]:
                self.scroll(self.region[1] - 1, self.region[0])
            else:
                self.row = max(self.row - 1, 0)
        if letter is None or match.group("words").startswith("?"):
            return
        words = [int(word or 0) for word in match.group("words").split(";")]
        count = max(words[0], 1)
        if letter == "H":
            row, column = (words + [1])[:2]
            self.row = min(max(row, 1), self.rows) - 1
            self.column = min(max(column, 1), self.columns) - 1
        elif letter == "r":
            top, bottom = (words + [0])[:2]
            self.region = (count - 1 if top else 0, min(bottom or self.rows, self.rows))
            self.row = self.column = 0
        elif letter == "A":
            self.row = max(self.row - count, 0)
        elif letter == "B":
            self.row = min(self.row + count, self.rows - 1)
        elif letter == "C":
            self.column = min(self.column + count, self.columns - 1)
        elif letter == "D":
            self.column = max(self.column - count, 0)
        elif letter == "K":
            start, end = {0: (self.column, self.columns), 1: (0, self.column + 1),
                          2: (0, self.columns)}[words[0]]
            self.cells[self.row][start:end] = [" "] * (end - start)
        elif letter == "J":
            if words[0] == 2:
                self.cells = [[" "] * self.columns for _ in range(self.rows)]
            else:
                self.cells[self.row][self.column:] = [" "] * (self.columns - self.column)
                for row in range(self.row + 1, self.rows):
                    self.cells[row] = [" "] * self.columns
        else:
            assert letter in "mhl", f"a vt100 does not know {match.group()!r}"

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.cells)


class OnTerminal:
    """A program whose standard input and output are a terminal; a thread reads what it shows."""

    def __init__(self, arguments, rows=24, columns=80, **environment):
        self.screen = Screen(rows, columns)
        self.lock = threading.Lock()
        self.master, slave = pty.openpty()
        self.set_size(rows, columns)
        self.before = termios.tcgetattr(slave)
        env = {**os.environ, "TERM": "vt100", "LC_ALL": "C.UTF-8", **environment}
        self.program = subprocess.Popen(list(map(str, arguments)), stdin=slave, stdout=slave,
                                        stderr=subprocess.PIPE, env=env, start_new_session=True)
        self.slave = slave
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        decoder = codecs.getincrementaldecoder("utf-8")()
        while True:
            try:
                select.select([self.master], [], [])
                data = os.read(self.master, 65536)
            except (OSError, ValueError):
                return
            if not data:
                return
            with self.lock:
                self.screen.feed(decoder.decode(data))

    def set_size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        with self.lock:
            self.screen.resize(rows, columns)
            self.set_size(rows, columns)
        self.program.send_signal(signal.SIGWINCH)

    def press(self, keys):
        os.write(self.master, keys.encode())

    def text(self):
        with self.lock:
            return self.screen.text()

    def shows(self, pattern):
        """Waits until the screen has this; returns the match."""
        def there():
            assert self.program.poll() is None, f"ended: {self.program.stderr.read().decode()}"
            found = re.search(pattern, self.text(), re.M)
            assert found, f"no {pattern} in\n{self.text()}"
            return found
        return eventually(there)

    def hides(self, pattern):
        """Waits until the screen does not have this."""
        return eventually(lambda: not re.search(pattern, self.text(), re.M))

    def end(self):
        """Waits for its end and returns the exit status; the terminal must be as it was."""
        status = self.program.wait(PATIENCE)
        assert termios.tcgetattr(self.slave) == self.before
        return status

    def close(self):
        if self.program.poll() is None:
            self.program.kill()
            self.program.wait()
        self.program.stderr.close()
        os.close(self.slave)
        os.close(self.master)
