"""An end without a thundering herd: first all goes on, then clients are told a few at a time."""
import contextlib
import select
import signal
import time

from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.trunkline import route


def open_clients(daemon, count, stack):
    clients = [stack.enter_context(daemon.endpoint().wire()) for _ in range(count)]
    for client in clients:
        client.ask(w.query("select 1"))
    return clients


def test_clients_are_told_at_the_rate_that_is_set(trunkline):
    daemon = trunkline(relays=1, shutdown_rate=20)
    with contextlib.ExitStack() as stack:
        clients = open_clients(daemon, 12, stack)
        start, told, waiting = time.monotonic(), [], list(clients)
        daemon.program.send_signal(signal.SIGTERM)
        while waiting:
            ready = select.select([c.socket for c in waiting], [], [], 20)[0]
            assert ready
            told += [time.monotonic() - start] * len(ready)
            waiting = [c for c in waiting if c.socket not in ready]
        assert told[-1] > 0.4
        for client in clients:
            assert [m.sqlstate for m in client.rest() if m.kind == "E"] == ["57P01"]
    assert daemon.program.wait() == 0


def test_clients_continue_until_they_are_notified(trunkline):
    daemon = trunkline(relays=1, shutdown_rate=1, shutdown_timeout="60s",
                       routes=[route(pool_size=1)])
    with contextlib.ExitStack() as stack:
        clients = open_clients(daemon, 6, stack)
        daemon.program.send_signal(signal.SIGTERM)
        eventually(lambda: select.select([c.socket for c in clients], [], [], 0)[0])
        ready = select.select([c.socket for c in clients], [], [], 0)[0]
        last = next(c for c in reversed(clients) if c.socket not in ready)
        assert w.rows(last.ask(w.query("select 'served'"))) == [["served"]]
        daemon.program.send_signal(signal.SIGQUIT)
        for client in clients:
            assert [m.sqlstate for m in client.rest() if m.kind == "E"] == ["57P01"]
    assert daemon.program.wait() == 0


def test_a_low_rate_does_not_miss_the_deadline(trunkline):
    """All have been told by half of it, whatever the rate."""
    daemon = trunkline(relays=1, shutdown_rate=1, shutdown_timeout="2s")
    with contextlib.ExitStack() as stack:
        clients = open_clients(daemon, 30, stack)
        daemon.program.send_signal(signal.SIGTERM)
        assert seconds(lambda: daemon.program.wait(20)) < 2 * STRETCH
        for client in clients:
            assert [m.sqlstate for m in client.rest() if m.kind == "E"] == ["57P01"]
    assert daemon.program.process.returncode == 0


def test_at_first_new_clients_are_still_welcome(trunkline):
    """Load balancers need a moment to learn that this pooler goes."""
    daemon = trunkline(shutdown_delay="1h")
    with daemon.endpoint().wire() as old:
        daemon.program.send_signal(signal.SIGTERM)
        daemon.logged("shutdown.started")
        with daemon.connect() as new:
            assert new.execute("select 1").fetchone() == (1,)
            assert w.rows(old.ask(w.query("select 1"))) == [["1"]]
        daemon.program.send_signal(signal.SIGQUIT)
        # libpq would take what comes behind an answer for a notice, and tell of a lost connection.
        assert [m.sqlstate for m in old.rest() if m.kind == "E"] == ["57P01"]
    assert daemon.program.wait() == 0


def test_after_the_delay_it_ends_by_itself(trunkline):
    daemon = trunkline(shutdown_delay="600ms")
    took = seconds(daemon.stop)
    assert 0.5 < took < 5 * STRETCH
