"""Which tests run when all kinds of build are tested, as in CI.

The cases of one test differ by values, and seldom by what the daemon does with its memory or its threads.  So with a
sanitizer, where each takes several times as long, some cases of each test run, chosen at random: over many runs all
are played.  Of a file's tests that are marked `long` some run in each kind of build.  The seed of the choice is
TRUNKLINE_SAMPLE, which the runner draws and prints; without it all cases run.
"""
import os
import random

# The greatest number of cases of one test, and of all tests of a file that are marked `long`.
CASES = {"debug": 1000, "asan": 4, "tsan": 3}
LONG = {"debug": 12, "asan": 3, "tsan": 3}


def is_direct(item):
    """Whether a test runs against PostgreSQL itself, with no code of ours."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return params.get("endpoint") == "direct" and not {"pooler", "trunkline"} & set(item.fixturenames)


def sampled(items, kind, seed):
    """The items to run, in their order."""
    cases = {}
    for item in items:
        if kind == "debug" or not is_direct(item):
            name = None if item.get_closest_marker("long") else item.originalname
            cases.setdefault((item.path, name), []).append(item)
    choose, chosen = random.Random(seed), set()
    for (_, name), group in cases.items():
        size = CASES[kind] if name else LONG[kind]
        chosen |= set(choose.sample(group, min(size, len(group))))
    return [item for item in items if item in chosen]


def take_sample(config, items):
    """For pytest_collection_modifyitems."""
    kind, seed = os.environ.get("TRUNKLINE_KIND"), os.environ.get("TRUNKLINE_SAMPLE")
    if kind not in CASES or not seed:
        return
    kept = sampled(items, kind, seed)
    gone = set(items) - set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item in gone])
    items[:] = kept
