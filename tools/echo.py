#!/usr/bin/env python3
"""The fleet library at work: echo servers, a name server with a script, claimers (examples/echo).

The programs are built with nothing but the installed libraries, in build/echo.  The name server
reads build/echo/names.txt again for each question: edit it while the claimers work.  Arrow keys
change how long claims are held, q ends.  TRUNKLINE_BUILD names a build that has the libraries.
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
EXAMPLE = TOP / "examples" / "echo"
FOLDER = Path(os.environ.get("TRUNKLINE_ECHO", TOP / "build" / "echo"))
STRICT = ["-std=gnu17", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]
COMPILER = os.environ.get("TRUNKLINE_CC", "gcc").split()


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        sys.exit(f"dev run echo: {' '.join(map(str, words))}:\n{done.stdout}")
    return done.stdout


def libraries():
    """A build that has the libraries."""
    if "TRUNKLINE_BUILD" in os.environ:
        return Path(os.environ["TRUNKLINE_BUILD"])
    build = TOP / "build" / "libraries"
    if not (build / "build.ninja").exists():
        run("meson", "setup", build, TOP, "-Dtests=false", "-Dbuildtype=debugoptimized")
    run("ninja", "-C", build)
    return build


def install():
    """Installs the libraries below FOLDER; returns what pkg-config says of trunkline-fleet."""
    prefix = FOLDER / "prefix"
    shutil.rmtree(prefix, ignore_errors=True)
    run("meson", "install", "-C", libraries(), "--no-rebuild", "--tags", "devel", "--destdir", prefix)
    files = next(prefix.glob("**/pkgconfig"))
    installed = next(prefix.glob("**/include")).parent
    return run("pkg-config", f"--define-variable=prefix={installed}", "--cflags", "--libs",
               "trunkline-fleet", env=dict(os.environ, PKG_CONFIG_PATH=str(files))).split()


def build():
    flags = install()
    run(*COMPILER, *STRICT, EXAMPLE / "server.c", "-o", FOLDER / "server")
    run(*COMPILER, *STRICT, EXAMPLE / "work.c", EXAMPLE / "driver.c", *flags, "-o", FOLDER / "work")


def start(*words):
    """Starts a program that says where it listens; returns it and its port."""
    program = subprocess.Popen(["setpriv", "--pdeathsig=KILL", *map(str, words)], text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               start_new_session=True)
    said = re.fullmatch(r"listening on port (\d+)\n", program.stdout.readline())
    if said is None:
        sys.exit(f"dev run echo: {words[0]} does not listen")
    return program, int(said.group(1))


def write_script(script, ports):
    lines = ["a localhost.test 5 127.0.0.1"]
    lines += [f"srv _echo._tcp.test 5 10 10 {port} localhost.test" for port in ports]
    script.write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(prog="./dev run echo", description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=4)
    parser.add_argument("--seconds", type=int, help="end by itself")
    wants = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    build()
    started = [start(FOLDER / "server") for _ in range(wants.servers)]
    script = FOLDER / "names.txt"
    write_script(script, [port for _, port in started])
    started.append(start("/usr/bin/python3", EXAMPLE / "names.py", script))
    print(f"the name server reads {script}", flush=True)
    words = [FOLDER / "work", started[-1][1]] + ([wants.seconds] if wants.seconds else [])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the claimers get it, too, and end
    work = subprocess.Popen([str(word) for word in words])
    signal.signal(signal.SIGTERM, lambda *_: work.terminate())
    try:
        code = work.wait()
    finally:
        for program, _ in started:
            program.kill()
            program.wait()
    return code


if __name__ == "__main__":
    sys.exit(main())
