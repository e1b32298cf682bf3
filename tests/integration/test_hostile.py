"""Hostile clients beside others who check every answer; `./dev hostile` does the same for longer.

A minute in all configurations together; TRUNKLINE_HOSTILE=seconds makes it longer, and
TRUNKLINE_HOSTILE_SEED names the seed of a run.
"""
import os
import random

import pytest

from support import siege
from support.patience import STRETCH

# Not run: the daemon that such a run leaves behind may not end.

SECONDS = float(os.environ.get("TRUNKLINE_HOSTILE", 60)) / len(siege.CONFIGS)
SEED = os.environ.get("TRUNKLINE_HOSTILE_SEED")


@pytest.mark.timeout(SECONDS + 5 * siege.BOUND + 30 * STRETCH)
@pytest.mark.parametrize("name", siege.CONFIGS)
def test_hostile_clients_beside_victims(name, trunkline, postgres, certificate):
    seed = SEED or str(random.SystemRandom().randrange(1 << 30))
    siege.tables(postgres)
    with siege.besieged(lambda changes: trunkline(start=False, **changes), name,
                        certificate) as daemon:
        run = siege.Siege(daemon, name, seed)
        run.run(SECONDS)
        print(run.report() if run.failures else run.summary())
        assert not run.failures, "\n".join([run.summary(), run.replay(), *run.failures])
        assert run.attacks > 0 and run.answers > 0
