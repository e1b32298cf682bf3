"""Signals: those with a meaning have it, all others change nothing and are logged."""
import re
import signal

import pytest
from support import wire as w
from support.patience import eventually

# Each of these ends a program that does nothing about it.
WITHOUT_MEANING = ["SIGPIPE", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPOLL", "SIGPWR", "SIGSTKFLT", "SIGXCPU", "SIGXFSZ"]


def test_a_signal_without_a_meaning_is_logged_and_ends_nothing(trunkline):
    daemon = trunkline()
    with daemon.endpoint().wire() as wire:
        assert w.rows(wire.ask(w.query("begin; select 'before'"))) == [["before"]]
        for name in WITHOUT_MEANING:
            daemon.program.send_signal(getattr(signal, name))
            daemon.logged(rf"NOTICE signal\.ignored signal={name} reason=\"it has no meaning here\"")
        for number in (signal.SIGRTMIN, signal.SIGRTMIN + 5, signal.SIGRTMAX):
            daemon.program.send_signal(number)
            daemon.logged(rf"NOTICE signal\.ignored signal={int(number)} reason=")
        assert w.rows(wire.ask(w.query("select 'after'"))) == [["after"]]


def test_a_signal_without_a_meaning_does_not_hurry_a_shutdown(trunkline):
    daemon = trunkline()
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        daemon.program.send_signal(signal.SIGTERM)
        daemon.logged(r"shutdown\.started")
        for name in ("SIGPIPE", "SIGUSR2"):
            daemon.program.send_signal(getattr(signal, name))
            daemon.logged(rf"signal\.ignored signal={name}")
        assert w.rows(wire.ask(w.query("select 'still here'"))) == [["still here"]]
        wire.send(w.query("commit"))
        assert w.kinds(wire.rest()).startswith("C Z")
    assert daemon.program.wait() == 0
    assert "shutdown.at_once" not in daemon.log()


@pytest.mark.parametrize("order, key", [("PAUSE", "paused"), ("SUSPEND", "suspended")])
def test_sigusr2_resumes(trunkline, order, key):
    """As in PgBouncer: it is RESUME without the name of a database."""
    daemon = trunkline()

    def state():
        return {row["key"]: row["value"] for row in daemon.console("SHOW STATE")}
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("select 1"))
        daemon.console(order)
        assert state()[key] == "yes"
        wire.send(w.query("select 'served again'"))
        assert wire.silent()
        daemon.program.send_signal(signal.SIGUSR2)
        answers = wire.until("Z")
        assert w.rows(answers) == [["served again"]]
    eventually(lambda: state() == {"active": "yes", "paused": "no", "suspended": "no"})
    assert "signal.ignored" not in daemon.log()


def test_sigusr2_with_nothing_to_resume_says_so(trunkline):
    daemon = trunkline()
    daemon.program.send_signal(signal.SIGUSR2)
    daemon.logged(r'signal\.ignored signal=SIGUSR2 reason="the pooler is neither paused nor suspended"')
    daemon.program.send_signal(signal.SIGUSR1)
    daemon.logged(r"log\.reopened signal=SIGUSR1")
    assert not re.search(r"control\.(marked|continued)", daemon.log())
