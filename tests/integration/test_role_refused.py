"""A login at a server whose role does not fit: its slot counts until the server has ended."""
import threading

from support import wire as w
from support.scripted import Scripted
from support.trunkline import route


class Lingering(Scripted):
    """Ends a session only when another one has come to the other server, or after a while."""

    def __init__(self, **options):
        self.alive, self.hurry, self.ended = 0, threading.Event(), 0
        super().__init__(**options)

    def _session(self, wire, pid):
        self.alive += 1
        super()._session(wire, pid)
        self.hurry.wait(0.1)
        self.alive -= 1
        self.ended += 1


class Observing(Scripted):
    """Notes how many sessions the other one has when one of its own begins."""

    def __init__(self, other, **options):
        self.other, self.seen = other, []
        super().__init__(**options)

    def _session(self, wire, pid):
        self.seen.append(self.other.alive)
        self.other.hurry.set()
        super()._session(wire, pid)


def test_a_refused_login_counts_until_its_server_has_ended(trunkline):
    with Lingering(reports={"in_hot_standby": "off"}) as primary, \
            Observing(primary, reports={"in_hot_standby": "on"}) as standby:
        daemon = trunkline(
            services={"main": {"hosts": [f"127.0.0.1:{primary.port} priority=1",
                                         f"127.0.0.1:{standby.port} priority=2"],
                               "tls": {"mode": "disable"}}},
            routes=[route(pool_size=1, target_session_attrs="standby")])
        with daemon.endpoint().wire() as client:
            client.ask(w.query("select 1"))
        assert primary.ended == 1 and standby.seen == [0]
