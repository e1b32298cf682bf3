"""Programs that a test starts: each in a session of its own, its output in a file."""
import os
import pwd
import signal
import subprocess

from .patience import PATIENCE, Hopeless


# A program does not outlive the tests, not even when they are killed.
MORTAL = ["setpriv", "--pdeathsig=KILL"]


def as_user(name):
    """The words in front of a command that run it as this user, when we are root."""
    words = [f"--reuid={name}", f"--regid={name}", "--init-groups"] if os.geteuid() == 0 else []
    return MORTAL + words


def give_to(path, name):
    """Makes a path the user's, when we are root."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(name)
        os.chown(path, entry.pw_uid, entry.pw_gid)


class Program:
    """One running program.  `output` is the file that gets its stdout and stderr."""

    def __init__(self, command, output, **options):
        self.command = [str(word) for word in command]
        self.output = output
        with open(output, "ab") as sink:
            mortal = [] if self.command[0] == MORTAL[0] else MORTAL
            usual = {"stdin": subprocess.DEVNULL, "stdout": sink, "stderr": subprocess.STDOUT,
                     "start_new_session": True}
            self.process = subprocess.Popen(mortal + self.command, **{**usual, **options})

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def must_run(self):
        """For conditions that can't come true once it has ended."""
        if not self.running():
            raise Hopeless(f"{self.command[0]} ended with {self.process.returncode}:\n"
                           f"{self.text()[-6000:]}")

    def text(self):
        return self.output.read_text(errors="replace")

    def send_signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=PATIENCE):
        return self.process.wait(timeout)

    def end(self, number=signal.SIGTERM, timeout=PATIENCE):
        """Signals, waits, and returns the exit code; kills what does not listen."""
        if self.running():
            self.send_signal(number)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.command[0]} did not end:\n{self.text()[-3000:]}")
        return self.process.returncode
