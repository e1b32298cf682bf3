"""Random lives of a parade, as in test_parade_converge.py, with the program's replicators in place of links by hand.

PARADE_SEEDS=100..400 runs other seeds, PARADE_STEPS=2000 longer lives.
"""
import os
import signal

import pytest
import yaml
from support.parade import OWNER
from support.parade_world import World
from support.patience import eventually
from support.processes import Program
from support.trunkline import binary

STEPS = int(os.environ.get("PARADE_STEPS", "160"))
ZONES = ("east", "west", "south")


def seeds(default):
    first, _, last = os.environ.get("PARADE_SEEDS", default).partition("..")
    return range(int(first), int(last or first) + 1)


class Served(World):
    """A world whose links are the replicators'; now and then one of them is killed."""

    def __init__(self, sites, seed, file):
        super().__init__(sites, seed)
        self.file = file
        self.programs = {}
        for zone in ZONES:
            self.replicate(zone)

    def replicate(self, zone):
        self.programs[zone] = Program([binary(), "parade", "run", self.file, "--zone", zone],
                                      self.file.with_name(f"{zone}.log"))

    def operation(self, site, connection, into):
        try:
            super().operation(site, connection, into)
        except AssertionError as error:
            # A version came in between the question for it and its comparison.
            if not str(error).startswith("('CONFLICT'"):
                raise

    def idle(self):
        """What the replicators do by themselves."""

    fetch = land = pull = partition = idle

    def reconnect(self):
        zone = self.random.choice(ZONES)
        self.programs[zone].end(signal.SIGKILL)
        self.replicate(zone)

    def arrived(self):
        lives = [site.live() for site in self.sites]
        return lives[0] == lives[1] == lives[2] and self.sites.equal() \
            and not any(site.waiting() for site in self.sites)

    def calm(self):
        for late in list(self.open):
            while late in self.open:
                self.end()
        for site in self.sites:
            site.shift(f"{self.clock} seconds")
        eventually(self.arrived, timeout=90, every=0.2)
        self.check()

    def close(self):
        for program in self.programs.values():
            assert program.end(signal.SIGTERM) == 0, program.text()[-3000:]
        super().close()


@pytest.mark.parametrize("seed", seeds("1..1"))
def test_any_interleaving_converges_with_replicators(parade, tmp_path, seed):
    sites = parade()
    file = tmp_path / "topology.yaml"
    file.write_text(yaml.safe_dump({
        "connection": f"user={OWNER} sslmode=disable",
        "zones": {zone: f"host=127.0.0.1 port={site.instance.port}" for zone, site in zip(ZONES, sites)},
        "shards": {sites[0].database: {zone: site.id for zone, site in zip(ZONES, sites)}}}))
    world = Served(sites, seed, file)
    try:
        for _ in range(2):
            world.run(STEPS)
    finally:
        world.close()
    assert world.done["write"] > 50
