#!/usr/bin/env python3
"""Changes the daemon's sources in small ways, one at a time, and says which changes nobody notices.

    ./dev mutants [FILE...]        the modules below, or these files of src/
    ./dev mutants --each 5         so many changes of each file (drawn by --seed)
    ./dev mutants --write          writes docs/mutation.md

A mutant is one change: a condition negated, a comparison moved by one, `&&` for `||`, `+` for `-`, a
constant one larger, a statement or a call left out, a function that returns at once.  It is built in
a copy of the tree (build/mutants), and then the unit tests of its module and some seeds of the
simulation are played.  One that all of these pass has *survived*: either it makes no difference, or
no test sees the one that it makes.
"""
import argparse
import concurrent.futures
import json
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import sim_faults

TOP = Path(__file__).resolve().parent.parent
COPIES = TOP / "build/mutants"
PAGE = TOP / "docs/mutation.md"
KEPT = TOP / "build/mutants.json"
SEEDS = 150
TEST_MAX = 120  # seconds that a test may take, and the simulation besides
SEEDS_MAX = 600

# What is changed, and the unit tests that are about it.
MODULES = {
    "session": (["src/relay/turn/turn*.c"],
                ["turn", "turn_told", "ledger", "ledger_model", "statements", "params"]),
    "turn": (["src/session/ledger.c", "src/session/outbox.c", "src/session/chunk.c",
              "src/session/pin.c"],
             ["ledger", "ledger_model", "outbox", "chunk", "turn", "turn_told", "query"]),
    "pool": (["src/pool/*.c"],
             ["accepted", "turn", "turn_told", "fleet", "fleet_world"]),
    "auth": (["src/auth/*.c"], ["hba", "secrets", "wire_scram", "config_route"]),
}


# --- changes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    file: str
    line: int  # from 1 on
    kind: str
    old: str
    new: str

    @property
    def name(self):
        return f"{self.file}:{self.line} {self.kind}"


def moved(operator):
    return {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}[operator]


# Each: the kind, what it looks for in a line, and what stands there then.
SWAPS = [
    ("comparison", re.compile(r"(?<=[\w)\]] )(<=|>=|==|!=|<|>)(?= [\w(&*!-])"),
     lambda found: moved(found[0])),
    ("and, or", re.compile(r"(?<= )(&&|\|\|)(?=\s|$)"),
     lambda found: "||" if found[0] == "&&" else "&&"),
    ("plus, minus", re.compile(r"(?<=[\w)\]] )([+-])(?= [\w(])"),
     lambda found: "-" if found[0] == "+" else "+"),
    ("step", re.compile(r"(\+=|-=)"), lambda found: "-=" if found[0] == "+=" else "+="),
    ("not", re.compile(r"(?<=[ (])!(?=\w)"), lambda found: ""),
    ("constant", re.compile(r"(?<=[ (\[])(\d+)u?(?=[;,)\] ])"),
     lambda found: str(int(found[1]) + 1)),
    ("truth", re.compile(r"\b(true|false)\b"),
     lambda found: "false" if found[0] == "true" else "true"),
]
CONDITION = re.compile(r"^(\s*(?:\} else )?(?:if|while) \()(.+)(\)(?: \{)?)$")
STATEMENT = re.compile(r"^\s+(?:[\w>.\[\]-]+\(.*\)|[\w>.*\[\]-]+ [|&+-]?= .+);$")
CALL = re.compile(r"^\s+TRY\(.+\);$")
LEFT_ALONE = re.compile(r"invariant|log_[a-z]+\(|log_write|fault_raise|static_assert|snprintf|^\s*[/#*]"
                        r"|^\s+\*|_Static|hint_|stats|= [{]|NO_SUSPEND|free\(")


def changes_of_line(file, number, text):
    made = []

    def add(kind, new):
        if new != text:
            made.append(Mutant(file, number, kind, text, new))

    for kind, pattern, instead in SWAPS:
        for found in pattern.finditer(text):
            add(kind, text[:found.start()] + instead(found) + text[found.end():])
    condition = CONDITION.match(text)
    if condition is not None and condition[2].count("(") == condition[2].count(")"):
        add("condition", f"{condition[1]}!({condition[2]}){condition[3]}")
    if STATEMENT.match(text) and "return" not in text:
        add("left out", re.match(r"\s*", text)[0] + ";")
    if CALL.match(text):
        add("left out", re.match(r"\s*", text)[0] + ";")
    return made


def changes(file):
    """All mutants of a file.  Strings and comments stay as they are."""
    found, in_comment, inside = [], False, False
    for number, text in enumerate((TOP / file).read_text().splitlines(), 1):
        begins = "/*" in text and "*/" not in text
        code = not (in_comment or begins or LEFT_ALONE.search(text) or '"' in text)
        in_comment = (in_comment or begins) and "*/" not in text
        inside = (inside or text == "{") and text != "}"
        if inside and code and "/*" not in text:
            found += changes_of_line(file, number, text)
    return found


def draw(files, each, seed):
    chosen = []
    for file in files:
        found = changes(file)
        # Kinds are drawn alike, however many of one there are.
        kinds = sorted({mutant.kind for mutant in found})
        lot = random.Random(f"{seed} {file}")
        of_kind = {kind: [m for m in found if m.kind == kind] for kind in kinds}
        while kinds and len([m for m in chosen if m.file == file]) < each:
            kind = lot.choice(kinds)
            chosen.append(of_kind[kind].pop(lot.randrange(len(of_kind[kind]))))
            if not of_kind[kind]:
                kinds.remove(kind)
    return chosen


def files_of(module):
    return sorted({str(path.relative_to(TOP)) for glob in MODULES[module][0]
                   for path in TOP.glob(glob)})


def module_of(file):
    """The one that names it most exactly: ledger.c is not only one of turn/."""
    return next((name for name in MODULES if file in files_of(name)), None)


# --- trying one -----------------------------------------------------------------------------------


@dataclass
class Verdict:
    mutant: Mutant
    by: str = ""  # what has noticed it; "": nobody
    seconds: float = 0.0


class Copy(sim_faults.Copy):
    def __init__(self, number):
        super().__init__(number)
        self.top = COPIES / str(number)
        self.tree = self.top / "tree"

    def change(self, mutant):
        path = self.tree / mutant.file
        lines = path.read_text().splitlines()
        assert lines[mutant.line - 1] == mutant.old
        lines[mutant.line - 1] = mutant.new
        path.write_text("\n".join(lines) + "\n")

    def take_back(self, mutant):
        shutil.copy(TOP / mutant.file, self.tree / mutant.file)
        os.utime(self.tree / mutant.file)

    def build_all(self, tests):
        build = self.build("")
        if not (build / "build.ninja").exists():
            shutil.rmtree(build, ignore_errors=True)
            self.call("meson", "setup", *sim_faults.OPTIONS, build)
        targets = [f"tests/unit/{name}_test" for name in tests]
        self.call("ninja", "-C", build, "-j", "1", sim_faults.TARGET, *targets)
        return build


def fails(command, most):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=most)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def noticed(build, tests, seeds):
    """Who notices it first; "": nobody."""
    for name in tests:
        if fails([build / f"tests/unit/{name}_test"], TEST_MAX):
            return f"unit test {name}"
    sim = [build / sim_faults.TARGET, "--seeds", f"1..{seeds}", "--workers", "1", "--no-shrink",
           "--quiet"]
    return "simulation" if fails(sim, SEEDS_MAX) else ""


def attempt(copy, mutant, seeds):
    verdict, began = Verdict(mutant), time.monotonic()
    tests = MODULES[module_of(mutant.file)][1]
    copy.change(mutant)
    try:
        verdict.by = noticed(copy.build_all(tests), tests, seeds)
    except RuntimeError:
        verdict.by = "compiler"
    finally:
        copy.take_back(mutant)
    verdict.seconds = time.monotonic() - began
    return verdict


def tell(verdict):
    mutant = verdict.mutant
    said = f"noticed by {verdict.by}" if verdict.by else "SURVIVED"
    print(f"{mutant.name}: {said} [{verdict.seconds:.0f} s]", flush=True)
    if not verdict.by:
        print(f"    - {mutant.old.strip()}\n    + {mutant.new.strip()}", flush=True)


def run(mutants, options):
    copies = queue.SimpleQueue()
    for number in range(options.jobs):
        copy = Copy(number)
        copy.sync()
        copies.put(copy)
    told = threading.Lock()

    def one(mutant):
        copy = copies.get()
        try:
            verdict = attempt(copy, mutant, options.seeds)
        finally:
            copies.put(copy)
        with told:
            tell(verdict)
            keep(verdict)
        return verdict

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(one, mutants))


# --- telling --------------------------------------------------------------------------------------


def kept():
    return json.loads(KEPT.read_text()) if KEPT.is_file() else {}


def keep(verdict):
    """What was found is there for --write, also if the run is stopped."""
    all_kept = kept()
    mutant = verdict.mutant
    all_kept[f"{mutant.name} {mutant.old.strip()} -> {mutant.new.strip()}"] = {
        "file": mutant.file, "by": verdict.by, "kind": mutant.kind,
        "old": mutant.old.strip(), "new": mutant.new.strip()}
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(all_kept, indent=1))


def counts(found):
    tried = [it for it in found if it["by"] != "compiler"]
    return len(tried), sum(it["by"] == "" for it in tried)


def table(found):
    rows = ["| module | file | mutants | survived |", "|---|---|---|---|"]
    for module in MODULES:
        for file in files_of(module):
            if module_of(file) != module:
                continue
            tried, left = counts([it for it in found if it["file"] == file])
            if tried > 0:
                rows.append(f"| {module} | `{file}` | {tried} | {left} |")
        tried, left = counts([it for it in found if module_of(it["file"]) == module])
        if tried > 0:
            rows.append(f"| **{module}** | all | {tried} | {left} ({100 * left / tried:.0f} %) |")
    return rows


def write_page(options):
    begin, end = "<!-- mutants -->\n", "<!-- end of mutants -->\n"
    before, rest = PAGE.read_text().split(begin)
    after = rest.split(end)[1]
    found = list(kept().values())
    tried, left = counts(found)
    command = f"./dev mutants --each {options.each} --seed {options.seed} --seeds {options.seeds}"
    head = [f"`{command}`, {time.strftime('%d %B %Y')}: {tried} mutants, {left} of them survived "
            f"({100 * left / max(tried, 1):.0f} %).", ""]
    PAGE.write_text(before + begin + "\n".join(head + table(found)) + "\n" + end + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="*", help="of src/; none: all of the modules")
    parser.add_argument("--each", type=int, default=3, help="mutants of each file")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of the simulation, for each")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--list", action="store_true", help="only say which there are")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} of what was found")
    options = parser.parse_args()
    files = options.files or sorted({file for name in MODULES for file in files_of(name)})
    strange = [file for file in files if module_of(file) is None]
    if strange:
        parser.error(f"of no module: {', '.join(strange)}")
    mutants = draw(files, options.each, options.seed)
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name}\n    - {mutant.old.strip()}\n    + {mutant.new.strip()}")
        return 0
    tried = [verdict for verdict in run(mutants, options) if verdict.by != "compiler"]
    left = sum(not verdict.by for verdict in tried)
    if options.write:
        write_page(options)
    print(f"{left} of {len(tried)} mutants survived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
