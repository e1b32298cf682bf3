#!/usr/bin/env python3
"""Plants one mistake after the other in a copy of the sources, and says how soon the simulation
notices it, or that a unit test does.

Each patch of tests/sim/faults is a plausible mistake.  The sources are copied to build/sim-faults,
once per job; a patch is applied there, what it changes is built again, seeds are played until one
fails, and the patch is taken back.  Where a patch names unit tests (`Tests:`), these must fail
instead.  The command fails if a mistake is never noticed.
"""
import argparse
import concurrent.futures
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
FAULTS = TOP / "tests/sim/faults"
COPIES = TOP / "build/sim-faults"
PAGE = TOP / "docs/simulation-faults.md"
TARGET = "tests/sim/sim"
OPTIONS = ["-Ddebug=true", "-Doptimization=1", "-Dwerror=false"]
BUILDS = {"": [], "address": ["-Db_sanitize=address", "-Db_lundef=false"]}
SANITIZER = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=0"}
HEADER = ("What", "Users see", "Caught by")
MORE = ("Build", "Tests", "Kinds")  # may be there
APPLY = ["-C1", "--whitespace=nowarn"]  # lines near a mistake may change
SEEDS = 2000
RATE_SEEDS = 200


@dataclass
class Fault:
    """A patch, and what its first lines say about it."""
    path: Path
    says: dict = field(default_factory=dict)

    @property
    def name(self):
        return self.path.stem

    @property
    def build(self):
        """"address": what is lost is seen by the sanitizer only."""
        return self.says.get("Build", "")

    @property
    def tests(self):
        """Unit tests that notice it; none: the simulation does."""
        return self.says.get("Tests", "").split()

    @property
    def kinds(self):
        """What each seed has, so that fewer are needed."""
        return self.says.get("Kinds", "")


@dataclass
class Verdict:
    fault: Fault
    caught: int = 0  # by so many seeds, the first that fails included; 0: not
    seed: int = 0  # 0: by a unit test
    message: str = ""
    failed: int = 0  # of `played` seeds
    played: int = 0
    seconds: float = 0.0
    error: str = ""  # it could not be tried

    @property
    def good(self):
        return self.caught > 0 and not self.error


def read_fault(path):
    fault = Fault(path)
    last = None
    for line in path.read_text().splitlines():
        if line.startswith("--- "):
            break
        begin = re.match(r"([A-Z][a-z ]+): (.*)", line)
        if begin is not None and begin[1] in (*HEADER, *MORE):
            last = begin[1]
            fault.says[last] = begin[2].strip()
        elif last is not None and line.strip():
            fault.says[last] += " " + line.strip()
    return fault


def read_faults():
    return [read_fault(path) for path in sorted(FAULTS.glob("*.patch"))]


# --- copies ---------------------------------------------------------------------------------------


def listed():
    done = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=TOP,
                          text=True, stdout=subprocess.PIPE, check=True)
    return [name for name in done.stdout.split("\0") if name and (TOP / name).is_file()]


class Copy:
    """A copy of the tree, with build folders that are used again and again."""

    def __init__(self, number):
        self.top = COPIES / str(number)
        self.tree = self.top / "tree"

    def build(self, kind):
        return self.top / f"build{kind}"

    def sync(self):
        """Makes it the tree again.  Files that are the same keep their time, and are not built."""
        names = set(listed())
        for name in names:
            ours, copy = TOP / name, self.tree / name
            if copy.is_file() and copy.read_bytes() == ours.read_bytes():
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ours, copy)
        for copy in list(self.tree.rglob("*")):
            if copy.is_file() and str(copy.relative_to(self.tree)) not in names:
                copy.unlink()

    def call(self, *command, **more):
        # A repository around it is none of its business.
        env = dict(os.environ, GIT_CEILING_DIRECTORIES=str(self.top))
        done = subprocess.run(command, cwd=self.tree, env=env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, **more)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}:\n{done.stdout[-3000:]}")

    def make(self, kind, target=TARGET):
        """The program that plays it, or a test."""
        build = self.build(kind)
        if not (build / "build.ninja").exists():
            shutil.rmtree(build, ignore_errors=True)
            self.call("meson", "setup", *OPTIONS, *BUILDS[kind], build)
        self.call("ninja", "-C", build, "-j", "1", target)
        return build / target

    def plant(self, fault):
        self.call("git", "apply", *APPLY, fault.path)


# --- playing --------------------------------------------------------------------------------------


def play(program, first, count, kinds):
    """Plays seeds until one fails: (seed, message) of the failure, or None."""
    command = [program, "--seeds", f"{first}..{first + count - 1}", "--workers", "1", "--no-shrink",
               "--quiet"] + (["--with", kinds] if kinds else [])
    done = subprocess.run(command, env=dict(os.environ, **SANITIZER), text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == 0:
        return None
    found = re.search(r"^seed (\d+) FAILED: (.*(?:\n.+)*)", done.stdout, re.M)
    if found is None:
        raise RuntimeError(f"it failed before the first seed: {done.stdout[-2000:]}")
    return int(found[1]), message(found[2])


def message(text):
    """What a failing seed had to say, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("play it again")]
    for line in lines:
        found = re.search(r"src/\S+: \w+: invariant does not hold: .*|nothing can happen.*", line)
        if found is not None:
            return found[0]
    return lines[0] if lines else "nothing"


def failures(program, first, last, known, kinds=""):
    """Each failure of these seeds that has not been there before."""
    while first <= last:
        found = play(program, first, last - first + 1, kinds)
        if found is None:
            return
        first = found[0] + 1
        if found[0] not in known:
            yield found


def test_failure(copy, fault):
    """The first test of its unit tests that fails; None: they all pass."""
    for name in fault.tests:
        program = copy.make(fault.build, f"tests/unit/{name}_test")
        done = subprocess.run([program], text=True, errors="replace", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        found = re.search(rf"^not ok \d+ - \S*:({name}:\w+)", done.stdout, re.M)
        if found is not None:
            return found[1]
    return None


def attempt_tests(copy, fault, verdict):
    failed = test_failure(copy, fault)
    if failed is not None:
        verdict.caught, verdict.message = 1, failed


def attempt_seeds(copy, fault, verdict, options, known):
    program = copy.make(fault.build)
    found = next(failures(program, 1, options.seeds, known, fault.kinds), None)
    if found is not None:
        verdict.caught = verdict.seed = found[0]
        verdict.message = found[1]
    if found is not None and options.rates > 0:
        verdict.failed = sum(1 for _ in failures(program, 1, options.rates, known,
                                                     fault.kinds))
        verdict.played = options.rates


def attempt(copy, fault, options, known):
    verdict, began = Verdict(fault), time.monotonic()
    try:
        copy.sync()
        copy.plant(fault)
        if fault.tests:
            attempt_tests(copy, fault, verdict)
        else:
            attempt_seeds(copy, fault, verdict, options, known)
    except RuntimeError as error:
        verdict.error = str(error)
    verdict.seconds = time.monotonic() - began
    return verdict


# --- telling --------------------------------------------------------------------------------------


def percent(verdict):
    if verdict.played == 0:
        return ""
    return f"{100 * verdict.failed / verdict.played:.1f} %"


def tell(verdict):
    name = verdict.fault.name
    if verdict.error:
        text = f"{name}: COULD NOT BE TRIED: {verdict.error}"
    elif verdict.caught == 0:
        text = f"{name}: NOT CAUGHT"
    elif verdict.seed == 0:
        text = f"{name}: caught by the unit test {verdict.message}"
    else:
        rate = f" ({percent(verdict)} of seeds)" if verdict.played else ""
        text = f"{name}: caught after {verdict.caught} seeds{rate} by {verdict.message}"
    print(f"{text} [{verdict.seconds:.0f} s]", flush=True)


def escape(text):
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def row(verdict):
    says = verdict.fault.says
    first = (str(verdict.seed) if verdict.seed else "unit test") if verdict.caught else "none"
    cells = [f"`{verdict.fault.name}`: {says['What']}", says["Users see"], says["Caught by"], first,
             percent(verdict), f"`{verdict.message[:120]}`" if verdict.message else ""]
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def row_untried(fault):
    return row(Verdict(fault)).replace("| none |", "| |")


def write_page(verdicts):
    """Rows of those that were tried now; the others' stay."""
    begin, end = "<!-- faults -->\n", "<!-- end of faults -->\n"
    before, rest = PAGE.read_text().split(begin)
    old, after = rest.split(end)
    rows = {found[1]: line for line in old.splitlines()
            if (found := re.match(r"\| `([\w-]+)`: ", line))}
    rows.update((verdict.fault.name, row(verdict)) for verdict in verdicts)
    head = ["| mistake | users would see | to be noticed by | first seed | of seeds | said |",
            "|---|---|---|---|---|---|"]
    body = [rows.get(fault.name) or row_untried(fault) for fault in read_faults()]
    PAGE.write_text(before + begin + "\n".join(head + body) + "\n" + end + after)


# --- all of them ----------------------------------------------------------------------------------


def run(faults, options, known):
    copies = queue.SimpleQueue()
    for number in range(options.jobs):
        copies.put(Copy(number))
    told = threading.Lock()

    def one(fault):
        copy = copies.get()
        try:
            verdict = attempt(copy, fault, options, known)
        finally:
            copies.put(copy)
        with told:
            tell(verdict)
        return verdict

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(one, faults))


def without(options):
    """Seeds that fail without any mistake: they say nothing about one."""
    copy = Copy(0)
    copy.sync()
    program = copy.make("")
    found = dict(failures(program, 1, options.sound, ()))
    for seed, text in found.items():
        print(f"without any mistake seed {seed} fails: {text}", flush=True)
    return set(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="of mistakes; none: all")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at most, for each")
    parser.add_argument("--rates", type=int, nargs="?", const=RATE_SEEDS, default=0,
                        metavar="SEEDS", help="play so many besides, and count those that notice")
    parser.add_argument("--sound", type=int, default=200, metavar="SEEDS",
                        help="first play so many without any mistake, and leave out those that fail")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--write", action="store_true", help=f"write the table of {PAGE.name}")
    options = parser.parse_args()
    known = read_faults()
    unknown = set(options.names) - {fault.name for fault in known}
    if unknown:
        parser.error(f"no such mistake: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    failing = without(options) if options.sound > 0 else set()
    chosen = [fault for fault in known if not options.names or fault.name in options.names]
    verdicts = run(chosen, options, failing)
    if options.write:
        write_page(verdicts)
    caught = sum(verdict.good for verdict in verdicts)
    print(f"{caught} of {len(verdicts)} mistakes caught, {time.monotonic() - began:.0f} s")
    return 0 if caught == len(verdicts) and not failing else 1


if __name__ == "__main__":
    sys.exit(main())
