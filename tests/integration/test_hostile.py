"""Hostile clients beside others who check every answer; `./dev hostile` does the same for longer.

A minute in all configurations together; TRUNKLINE_HOSTILE=seconds makes it longer, and
TRUNKLINE_HOSTILE_SEED names the seed of a run.
"""
import os
import random

import pytest

from support import siege
from support.patience import STRETCH, eventually

# Not run: the daemon that such a run leaves behind may not end.

SECONDS = float(os.environ.get("TRUNKLINE_HOSTILE", 60)) / len(siege.CONFIGS)
SEED = os.environ.get("TRUNKLINE_HOSTILE_SEED")


TRIES = 3


def run(name, seed, trunkline, postgres, certificate):
    """One siege; returns it, or None if PostgreSQL itself has crashed meanwhile."""
    mark = postgres.mark()
    with siege.besieged(lambda changes: trunkline(start=False, **changes), name, certificate) as daemon:
        one = siege.Siege(daemon, name, seed)
        one.run(SECONDS)
        daemon.stop()
    return None if siege.crashes(postgres, mark) else one


@pytest.mark.timeout(TRIES * (SECONDS + 5 * siege.BOUND + 30 * STRETCH))
@pytest.mark.parametrize("name", siege.CONFIGS)
def test_hostile_clients_beside_victims(name, trunkline, postgres, certificate):
    seed = int(SEED or random.SystemRandom().randrange(1 << 30))
    siege.tables(postgres)
    for again in range(TRIES):
        one = run(name, seed + again, trunkline, postgres, certificate)
        if one is not None:
            break
        eventually(postgres.ready)
    assert one is not None, f"PostgreSQL crashes each time, seed {seed}"
    print(one.report() if one.failures else one.summary())
    assert not one.failures, "\n".join([one.summary(), one.replay(), *one.failures])
    assert one.attacks > 0 and one.answers > 0
