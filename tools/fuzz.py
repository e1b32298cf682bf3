#!/usr/bin/env python3
"""Runs fuzz targets (build/fuzz) for some seconds each, on copies of their corpora.

What a target finds stays in build/fuzz/found/TARGET; an input worth keeping is moved by hand into
tests/fuzz/corpus/TARGET, where the ordinary tests replay it.
"""
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def run(target, seconds):
    name = target.name.removesuffix("_fuzz")
    found = TOP / "build" / "fuzz" / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    seeds = [path for path in (TOP / "tests" / "fuzz" / "corpus" / name,) if path.is_dir()]
    print(f"== {name}, {seconds} s", flush=True)
    return subprocess.run([target, f"-max_total_time={seconds}", "-print_final_stats=1",
                           "-timeout=10", f"-artifact_prefix={found}/crash-", found, *seeds],
                          cwd=TOP, stdin=subprocess.DEVNULL).returncode == 0


def main(arguments):
    seconds = int(arguments[0]) if arguments else 60
    targets = sorted(path for path in (TOP / "build" / "fuzz" / "tests" / "fuzz").glob("*_fuzz")
                     if path.is_file())
    if arguments[1:]:
        targets = [path for path in targets if path.name.removesuffix("_fuzz") in arguments[1:]]
    if not targets:
        print("no such fuzz target", file=sys.stderr)
        return 1
    failed = [path.name for path in targets if not run(path, seconds)]
    print("found something: " + " ".join(failed) if failed else f"{len(targets)} targets, nothing found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
