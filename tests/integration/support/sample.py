"""Which tests run when all kinds of build are tested, as in CI.

The cases of one test differ by values, and seldom by what the daemon does with its memory or its threads.  So some
cases of each test run, chosen at random: over many runs all are played.  Of a file's tests that are marked `long` some
run in each kind of build.  With a sanitizer, where each test takes several times as long, the runner also says how many
tests there is time for.  Then fewer cases of each test run and, if one of each is still too many, fewer tests.

The runner draws and prints TRUNKLINE_SAMPLE, the seed of the choice; without it all cases run.  TRUNKLINE_SAMPLE_MAX is
the greatest number of tests.
"""
import os
import random

# The greatest number of cases of one test, and of all tests of a file that are marked `long`.
CASES = {"debug": 12, "asan": 4, "tsan": 4}
LONG = {"debug": 12, "asan": 3, "tsan": 3}


def is_direct(item):
    """Whether a test runs against PostgreSQL itself, with no code of ours."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return params.get("endpoint") == "direct" and not {"pooler", "trunkline"} & set(item.fixturenames)


def grouped(items, kind):
    """(cases of one test or the long tests of one file, the greatest number of them that runs)"""
    groups = {}
    for item in items:
        if kind == "debug" or not is_direct(item):
            name = None if item.get_closest_marker("long") else item.originalname
            groups.setdefault((item.path, name), []).append(item)
    return [(group, CASES[kind] if name else LONG[kind]) for (_, name), group in groups.items()]


def sampled(items, kind, seed, most=None):
    """The items to run, in their order."""
    choose, groups = random.Random(seed), grouped(items, kind)
    cases = CASES[kind]
    while most is not None and cases > 1 and sum(min(len(group), size, cases) for group, size in groups) > most:
        cases -= 1
    chosen = [item for group, size in groups for item in choose.sample(group, min(len(group), size, cases))]
    if most is not None and len(chosen) > most:
        chosen = choose.sample(chosen, most)
    chosen = set(chosen)
    return [item for item in items if item in chosen]


def take_sample(config, items):
    """For pytest_collection_modifyitems."""
    kind, seed, most = (os.environ.get(name) for name in ("TRUNKLINE_KIND", "TRUNKLINE_SAMPLE", "TRUNKLINE_SAMPLE_MAX"))
    if kind not in CASES or not seed:
        return
    kept = sampled(items, kind, seed, int(most) if most else None)
    gone = set(items) - set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item in gone])
    items[:] = kept
