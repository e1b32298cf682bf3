"""Two hundred servers behind one SRV name, half of which go down and come back all the time.

The servers themselves count what they saw.  `bench/many_backends` measures the same for longer.
"""
import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from support import crowd
from support.claimers import Claimers
from support.nameserver import NameServer
from support.patience import eventually
from support.ports import free_port
from support.processes import Program
from support.trunkline import route

SRV = "_postgresql._tcp.crowd.test"
COUNT, CAP, PACE, TOTAL, POOL = 200, 1, 4, 60, 80


@pytest.fixture
def servers(tmp_path):
    port = free_port()
    program = Program([sys.executable, str(Path(crowd.__file__)), "--count", str(COUNT), "--port",
                       str(port), "--flapping", str(COUNT // 2), "--up", "1.5", "--down", "1",
                       "--delay", "5"], tmp_path / "crowd.log")
    program.port = port
    eventually(lambda: "ready" in program.text() or program.must_run())
    yield program
    program.end(signal.SIGKILL)


@pytest.fixture
def names(servers):
    records = [(SRV, "SRV", 2, f"10 5 {servers.port} n{number}.crowd.test")
               for number in range(COUNT)]
    records += [(f"n{number}.crowd.test", "A", 2, crowd.address(number))
                for number in range(COUNT)]
    server = NameServer(*records)
    server.additional = True
    yield server
    server.end()


def claims(daemon, seconds):
    async def run():
        claimers = Claimers(daemon.endpoint().port, 90, 0)
        await asyncio.sleep(seconds)
        await claimers.end()
        return claimers
    return asyncio.run(run())


def test_caps_and_paces_hold_while_half_of_the_servers_flap(trunkline, servers, names):
    daemon = trunkline(relays=2, servers=TOTAL, routes=[
        route(pool_size=POOL, auth="trust", claim_timeout="5s")],
        services={"main": {
            "resolver": "srv", "name": SRV, "name_servers": [names.address],
            "refresh_min": "500ms", "refresh_max": "2s", "tls": {"mode": "disable"},
            "connection_limit": CAP, "health_check_interval": "1s", "connect_timeout": "2s",
            "balance": {"logins_per_second": PACE, "rebalance_interval": "2s"}}})
    eventually(lambda: int(daemon.console("SHOW SERVICES")[0]["backends"]) == COUNT)
    done = claims(daemon, 10)
    shown = daemon.console("SHOW SERVICES")[0]
    servers.send_signal(signal.SIGTERM)
    assert servers.wait() == 0
    saw = json.loads(servers.text().splitlines()[-1])
    assert saw["most_of_one"] <= CAP and saw["most"] == TOTAL, saw
    assert saw["logins_of_one_within_a_second"] <= PACE, saw
    assert saw["falls"] > COUNT // 2 and saw["used"] >= COUNT // 3, saw
    assert int(shown["slots"]) <= TOTAL and int(shown["backends"]) == COUNT
    assert len(done.times) > 1000 and saw["queries"] >= len(done.times)
    # A query whose server goes down fails; no claim is refused.
    assert set(done.errors) <= {"08006", "08007", "57P01"}, done.errors
    assert done.lost <= saw["falls"]
    assert [int(shown[name]) for name in shown if name.startswith("refused")] == [0] * 6
    assert done.percentile(0.5) < 1
