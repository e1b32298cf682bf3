#!/usr/bin/env python3
"""Runs fuzz targets (build/fuzz) for some seconds each, on copies of their corpora.

What a target finds stays in build/fuzz/found/TARGET; an input worth keeping is moved by hand into
tests/fuzz/corpus/TARGET, where the ordinary tests replay it.
"""
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def targets(names=()):
    """Those that were built, or some of them."""
    built = sorted((TOP / "build" / "fuzz" / "tests" / "fuzz").glob("*_fuzz"))
    return [path for path in built if path.is_file() and (not names or named(path) in names)]


def named(target):
    return target.name.removesuffix("_fuzz")


def run(target, seconds, output=None, seed=0):
    """Whether it found nothing.  Seed 0: another run each time."""
    name = named(target)
    found = TOP / "build" / "fuzz" / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    seeds = [path for path in (TOP / "tests" / "fuzz" / "corpus" / name,) if path.is_dir()]
    print(f"== {name}, {seconds} s", flush=True)
    done = subprocess.run([target, f"-max_total_time={seconds}", f"-seed={seed}",
                           "-print_final_stats=1",
                           "-timeout=10", f"-artifact_prefix={found}/crash-", found, *seeds],
                          cwd=TOP, stdin=subprocess.DEVNULL, stdout=output,
                          stderr=None if output is None else subprocess.STDOUT)
    if output is not None and done.returncode != 0:
        print(done.stdout.decode(errors="replace"))
    return done.returncode == 0


def main(arguments):
    seconds = int(arguments[0]) if arguments else 60
    all_of_them = targets(arguments[1:])
    if not all_of_them:
        print("no such fuzz target", file=sys.stderr)
        return 1
    failed = [path.name for path in all_of_them if not run(path, seconds)]
    print("found something: " + " ".join(failed) if failed
          else f"{len(all_of_them)} targets, nothing found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
