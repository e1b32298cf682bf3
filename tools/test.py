#!/usr/bin/env python3
"""Builds and runs the tests and ends with one line: "N passed, N failed, N skipped".

Parts: the tests of Meson (unit, simulation, fuzz corpora), the rules of the tree, and integration
with real PostgreSQL.  With --san those of code run again under ASan+UBSan and TSan instead.  With --all
everything, lint and a short run of every fuzzer as well.  Then a sample of the tests runs, with the sanitizers one that
fits into the time that is left: tests/integration/support/sample.py.  A build that fails counts as one failed test.
"""
import json
import os
import random
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from pathlib import Path

import fuzz
import lint

TOP = Path(__file__).resolve().parent.parent
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider"]
FUZZ_SECONDS = 5
FRESH_SEEDS = {"debug": 200, "asan": 30, "tsan": 20}
FLIGHT_SEEDS = 2000  # of shared answers alone
ALL_SECONDS = 3900  # how long --all may take, about
SAN_SHARE = {"asan": 0.45, "tsan": 0.75}  # of the time that is left: the tests of one sanitizer; the rest builds
SAN_SLOWER = {"asan": 1.5, "tsan": 2.0}  # than a debug test
SAN_LEAST = 300  # tests of one sanitizer, however late it is
# No code of ours runs in these: what PostgreSQL and Patroni do, and the SQL of a parade.
FOREIGN = ["test_flight_facts_*.py", "test_replication_facts.py", "test_probe_facts.py", "test_patroni_facts.py",
           *(f"test_parade_{part}.py" for part in ("calls", "catalog", "converge", "feed", "gc", "life"))]
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=0:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    # It sleeps for a second at each exit unless told otherwise: half of what the tests took.
    "TSAN_OPTIONS": "exitcode=66:second_deadlock_stack=1:atexit_sleep_ms=50",
}


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def add(self, part, passed=0, failed=0, skipped=0, names=()):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        self.failures += [f"{part}: {name}" for name in names]

    def one(self, part, name, ok):
        self.add(part, int(ok), int(not ok), names=() if ok else (name,))


def heading(text):
    print(f"\n== {text} ({time.strftime('%H:%M:%S')})", flush=True)


def build(kind, tally):
    heading(f"build {kind}")
    ok = subprocess.run(["./dev", "build", kind], cwd=TOP).returncode == 0
    if not ok:
        tally.one("build", kind, False)
    return ok


def environment(kind, **more):
    values = dict(os.environ, **more, TRUNKLINE_KIND=kind, TRUNKLINE_BUILD=str(TOP / "build" / kind))
    if kind in ("asan", "tsan"):
        values.update(SANITIZERS)
    return values


def count_tap(tally, part, record):
    """Adds one Meson test: by the lines of its TAP where it speaks it, else as one."""
    lines = re.findall(r"^(ok|not ok)\b(.*)$", record.get("stdout") or "", re.M)
    skipped = sum(1 for word, rest in lines if word == "ok" and re.search(r"#\s*skip", rest, re.I))
    failed = [rest.strip() for word, rest in lines if word == "not ok"]
    good = record["result"] in ("OK", "EXPECTEDFAIL")
    if not lines:
        skip = record["result"] == "SKIP"
        tally.add(part, int(good), int(not good and not skip), int(skip),
                  () if good or skip else (record["name"],))
        return
    if not good and not failed:
        failed = [f"ended with {record['result']}"]
    tally.add(part, sum(1 for word, _ in lines if word == "ok") - skipped, len(failed), skipped,
              [f"{record['name']} {name}" for name in failed])


def meson_tests(kind, tally, names=()):
    heading(f"unit tests, {kind}")
    log = TOP / "build" / kind / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    code = subprocess.run(
        ["meson", "test", "-C", f"build/{kind}", "--no-rebuild", "--print-errorlogs", *names],
        cwd=TOP, env=environment(kind)).returncode
    records = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    before = tally.failed
    for record in records:
        count_tap(tally, f"unit {kind}", record)
    if code != 0 and tally.failed == before:
        tally.one(f"unit {kind}", "meson test", False)


def simulation(kind, tally):
    """Seeds that nobody has played before, besides the fixed ones among Meson's tests."""
    play(kind, tally, FRESH_SEEDS[kind])
    if kind == "debug":
        play(kind, tally, FLIGHT_SEEDS, "--with", "flight")


def play(kind, tally, count, *options):
    first = random.randrange(10**6, 10**12)
    seeds = f"{first}..{first + count - 1}"
    heading(f"simulation, {kind}: seeds {seeds} {' '.join(options)}".rstrip())
    player = TOP / "build" / kind / "tests" / "sim" / "sim"
    code = subprocess.run([player, "--seeds", seeds, "--quiet", *options], cwd=TOP,
                          env=environment(kind)).returncode
    tally.one(f"simulation {kind}", f"seeds {seeds} {' '.join(options)}".rstrip(), code == 0)


def histories(kind, tally, known={}):
    """The same seeds have the same histories in every build."""
    player = TOP / "build" / kind / "tests" / "sim" / "sim"
    said = subprocess.run([player, "--seeds", "1..8", "--hashes", "--workers", "1", "--quiet"], cwd=TOP,
                          env=environment(kind), text=True, stdout=subprocess.PIPE).stdout
    known.setdefault("first", said)
    tally.one(f"simulation {kind}", "histories are those of the other builds",
              said.count("\n") == 8 and said == known["first"])


class Pace:
    """What the sanitizers' tests have time for, told from how long the debug tests took on this machine."""
    def __init__(self):
        self.start = time.monotonic()
        self.debug_test = None  # seconds

    def passed(self):
        return time.monotonic() - self.start

    def most(self, kind):
        seconds = (ALL_SECONDS - self.passed()) * SAN_SHARE[kind]
        return max(SAN_LEAST, int(seconds / (self.debug_test * SAN_SLOWER[kind])))


def sample(most=None):
    """The seed by which tests are chosen, and the greatest number of them, as variables of the environment."""
    limit = {} if most is None else {"TRUNKLINE_SAMPLE_MAX": str(most)}
    return {"TRUNKLINE_SAMPLE": str(random.randrange(10**6)), **limit}


def pytests(kind, tally, arguments, **more):
    """Runs these tests with pytest; returns how many seconds one took."""
    heading(f"pytest, {kind}: {' '.join(arguments)} {' '.join(f'{name}={value}' for name, value in more.items())}")
    report = TOP / "build" / kind / "pytest.xml"
    report.unlink(missing_ok=True)
    # The terminal of a person is theirs, and a job without stdin has none: the tests get neither.
    workers = [] if any(word in arguments for word in ("-n", "--pdb", "-s")) else ["-n", "3", "--dist", "loadgroup"]
    command = PYTEST + workers + ["-q", f"--junitxml={report}", *arguments]
    stdin = None if "--pdb" in arguments else subprocess.DEVNULL
    start, count = time.monotonic(), 0
    code = subprocess.run(command, cwd=TOP, env=environment(kind, **more), stdin=stdin).returncode
    part = f"pytest {kind}"
    before = tally.failed
    if report.exists():
        for case in xml.parse(report).getroot().iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            count += 1
            if case.find("failure") is not None or case.find("error") is not None:
                tally.one(part, name, False)
            elif case.find("skipped") is not None:
                tally.add(part, skipped=1)
            else:
                tally.one(part, name, True)
    if code not in (0, 5) and tally.failed == before:  # 5: nothing was selected
        tally.one(part, f"pytest ended with {code}", False)
    return (time.monotonic() - start) / max(count, 1)


def fuzzing(tally):
    """A short look with every fuzzer; `./dev fuzz` looks longer."""
    if not build("fuzz", tally):
        return
    heading("fuzz targets")
    for target in fuzz.targets():
        sound = fuzz.run(target, FUZZ_SECONDS, subprocess.PIPE, seed=1)
        tally.one("fuzz", fuzz.named(target), sound)


def sanitizers(tally, arguments, pace=None):
    for kind in ("asan", "tsan"):
        if build(kind, tally):
            meson_tests(kind, tally)
            simulation(kind, tally)
            histories(kind, tally)
            if arguments:
                pytests(kind, tally, arguments)
            else:
                pytests(kind, tally, ["tests/integration", *(f"--ignore-glob=*/{name}" for name in FOREIGN)],
                        **sample(pace and pace.most(kind)))


def everything(tally, full):
    pace = Pace()
    if not build("debug", tally):
        return
    meson_tests("debug", tally)
    simulation("debug", tally)
    histories("debug", tally)
    pace.debug_test = pytests("debug", tally, ["tests/rules", "tests/integration"], **(sample() if full else {}))
    if full:
        pytests("debug", tally, ["tests/package"])
        tally.one("build", "release", build("release", tally))
        heading("lint")
        for name, ok in lint.run():
            tally.one("lint", name, ok)
        fuzzing(tally)
        sanitizers(tally, [], pace)


def selected(tally, arguments):
    """Some tests: a word that names a unit test is Meson's, all else is pytest's."""
    units = {path.name[:-len("_test.c")] for path in TOP.glob("tests/*/*_test.c")}
    names = [word for word in arguments if word in units]
    rest = [word for word in arguments if word not in units]
    if not build("debug", tally):
        return
    if names:
        meson_tests("debug", tally, names)
    if rest:
        paths = any(word.startswith("tests/") for word in rest)
        pytests("debug", tally, rest if paths else ["tests/rules", "tests/integration", *rest])


def main(arguments):
    modes = {"--all", "--san"} & set(arguments)
    rest = [word for word in arguments if word not in modes]
    tally = Tally()
    start = time.monotonic()
    if "--san" in modes:
        sanitizers(tally, rest)
    elif rest:
        selected(tally, rest)
    else:
        everything(tally, "--all" in modes)
    heading(f"done in {time.monotonic() - start:.0f} s")
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped", flush=True)
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
