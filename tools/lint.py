#!/usr/bin/env python3
"""Formatting, clang-tidy and cppcheck over the C sources; changes nothing.

Every check prints what it found and yields (name, whether all is well).
"""
import json
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BUILD = "build/debug"


def sources(*patterns):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *patterns], cwd=TOP,
                            text=True, stdout=subprocess.PIPE, check=True)
    return [name for name in listed.stdout.split() if (TOP / name).exists()]


def call(command):
    done = subprocess.run(command, cwd=TOP, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def formatted():
    code, output = call(["clang-format", "--dry-run", "--Werror", *sources("*.c", "*.h")])
    sys.stdout.write(output[-20000:])
    return code == 0


def compiled():
    """The sources of the debug build: clang-tidy and cppcheck know the flags of no others."""
    database = json.loads((TOP / BUILD / "compile_commands.json").read_text())
    files = {os.path.normpath(os.path.join(row["directory"], row["file"])) for row in database}
    return sorted(os.path.relpath(name, TOP) for name in files if name.endswith(".c"))


def tidy():
    code, output = call(["run-clang-tidy", "-quiet", "-p", BUILD, "-j", str(os.cpu_count()),
                         *[f"^{TOP}/{name}$" for name in compiled()]])
    noise = ("warnings generated", "Suppressed ", "Use -header-filter", "clang-tidy", "Enabled checks")
    kept = [line for line in output.splitlines() if line and not any(n in line for n in noise)]
    print("\n".join(kept[-400:]))
    return code == 0


def cppcheck():
    code, output = call(["cppcheck", "--quiet", "--std=c11", "--enable=warning,portability",
                         "--inline-suppr", "--error-exitcode=1", "-j", str(os.cpu_count()),
                         "--suppressions-list=tools/cppcheck-suppressions", "-Isrc", "src"])
    sys.stdout.write(output[-20000:])
    return code == 0


def run():
    for name, check in (("clang-format", formatted), ("clang-tidy", tidy), ("cppcheck", cppcheck)):
        print(f"-- {name}", flush=True)
        yield name, check()


if __name__ == "__main__":
    results = list(run())
    for name, ok in results:
        print(f"{name}: {'clean' if ok else 'FINDINGS'}")
    sys.exit(0 if all(ok for _, ok in results) else 1)
