#!/usr/bin/env python3
"""Plays the daemon in the simulated world; `./dev sim --help` lists what the player itself can do.

    ./dev sim                      1,000 seeds
    ./dev sim --seed N [--trace]   one seed, always the same; with its history
    ./dev sim --seeds A..B         a range: what is finished is remembered and not played again
    ./dev sim --forever            seed after seed, where the last soak ended
    ./dev sim --faults [NAME...]   plants mistakes in the daemon, which the simulation must notice
    ./dev sim --coverage           which lines and branches of the daemon 1,000 seeds reach

A range is played in parts; build/sim-seeds keeps the finished ones.  It is for one long run over
several days: remove it to begin again.
"""
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
FINISHED = TOP / "build" / "sim-seeds"
PART = 1000


def build(kind):
    subprocess.run(["./dev", "build", kind, "tests/sim/sim"], cwd=TOP, check=True)
    return TOP / "build" / kind / "tests" / "sim" / "sim"


def read_finished():
    """Ranges (first, last), in order and joined where they meet."""
    text = FINISHED.read_text() if FINISHED.exists() else ""
    joined = []
    for first, last in sorted((int(a), int(b)) for a, b in re.findall(r"(\d+)\.\.(\d+)", text)):
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return joined


def remember(first, last):
    with FINISHED.open("a") as file:
        file.write(f"{first}..{last}\n")
    joined = read_finished()
    FINISHED.write_text("".join(f"{a}..{b}\n" for a, b in joined))


def parts(first, last, finished):
    """What is left of a range, in parts."""
    at = first
    while at <= last:
        inside = next((b for a, b in finished if a <= at <= b), None)
        if inside is not None:
            at = inside + 1
            continue
        end = min([last, at + PART - 1] + [a - 1 for a, _ in finished if a > at])
        yield at, end
        at = end + 1


def play_range(player, first, last, arguments):
    done = sum(min(b, last) - max(a, first) + 1 for a, b in read_finished()
               if a <= last and b >= first)
    if done:
        print(f"{done} of {first}..{last} were played before ({FINISHED.relative_to(TOP)})")
    for start, end in parts(first, last, read_finished()):
        print(f"== seeds {start}..{end}", flush=True)
        code = subprocess.run([player, "--seeds", f"{start}..{end}", *arguments]).returncode
        if code != 0:
            return code
        remember(start, end)
    print(f"{first}..{last}: no failure")
    return 0


def coverage(arguments):
    import sim_coverage  # gcov is needed for this only
    return sim_coverage.run(build("coverage"), arguments)


def faults(arguments):
    return subprocess.run([sys.executable, TOP / "tools" / "sim_faults.py", *arguments]).returncode


def main(arguments):
    if "--faults" in arguments:
        return faults([word for word in arguments if word != "--faults"])
    if "--coverage" in arguments:
        return coverage([word for word in arguments if word != "--coverage"])
    player = build("sim")
    if "--seeds" in arguments:
        at = arguments.index("--seeds")
        match = re.fullmatch(r"(\d+)\.\.(\d+)", arguments[at + 1]) if at + 1 < len(arguments) else None
        rest = arguments[:at] + arguments[at + 2:]
        plain = not {"--clients", "--rounds", "--without", "--hashes"} & set(rest)
        if match and plain and int(match[1]) <= int(match[2]):
            return play_range(player, int(match[1]), int(match[2]), rest)
    if "--forever" in arguments:
        rest = [word for word in arguments if word != "--forever"]
        first = max((b for _, b in read_finished()), default=0) + 1
        return play_range(player, first, 2**63, rest)
    return subprocess.run([player, *arguments]).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
