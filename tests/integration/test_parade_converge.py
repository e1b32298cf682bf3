"""Random lives of a parade: at each calm every site holds the same, and what the order of versions says.

PARADE_SEEDS=100..400 runs other seeds, PARADE_STEPS=2000 longer lives.
"""
import os

import pytest

from support.parade import Ground
from support.parade_world import World

STEPS = int(os.environ.get("PARADE_STEPS", "160"))


def seeds(default):
    first, _, last = os.environ.get("PARADE_SEEDS", default).partition("..")
    return range(int(first), int(last or first) + 1)


def live(sites, seed, lives=2, steps=STEPS, **options):
    world = World(sites, seed, **options)
    try:
        for _ in range(lives):
            world.run(steps)
    finally:
        world.close()
    return world


@pytest.mark.parametrize("seed", seeds("1..3"))
def test_any_interleaving_converges(parade, seed):
    world = live(parade(), seed, lives=3)
    assert world.done["land"] > 10 and world.done["collect"] > 5


@pytest.mark.parametrize("seed", seeds("1..2"))
def test_crashes_lose_nothing_that_was_flushed(parade_template, seed):
    ground = Ground(parade_template)
    try:
        live(ground.parade(), seed, crashes=True)
    finally:
        ground.clear()
        ground.remove()


@pytest.mark.parametrize("seed", seeds("1..2"))
def test_crashes_with_asynchronous_commit_end_equal(parade_template, seed):
    ground = Ground(parade_template, wal_writer_delay="10s", synchronous_commit="off")
    try:
        live(ground.parade(), seed, crashes=True, losing=True)
    finally:
        ground.clear()
        ground.remove()
