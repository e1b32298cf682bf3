#!/usr/bin/env python3
"""Hostile clients beside verifying victims, on a real PostgreSQL, by seeds.

Each configuration has its turn of some seconds with a seed of its own, until the time is over.  Ends at the
first wrong answer, hang or closed victim, unless --go-on; what the attackers had sent and the logs
of both programs are then in build/hostile/.  A run is repeated by its seed and configuration, single
sessions of attackers by --sessions, again and again.
"""
import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
FOUND = TOP / "build" / "hostile"
TURN = 10  # seconds of one configuration


def arguments():
    parser = argparse.ArgumentParser(prog="./dev hostile", description=__doc__.splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--seed", type=int, help="of the first turn; each turn adds one")
    parser.add_argument("--config", metavar="NAME", help="only this one (`list` shows all)")
    parser.add_argument("--kind", choices=["debug", "asan", "tsan", "release"], default="debug",
                        help="which build")
    parser.add_argument("--sessions", metavar="SEED/ATTACKER/NUMBER,...",
                        help="only these sessions of attackers")
    parser.add_argument("--go-on", action="store_true", help="with the next turn after a failure")
    return parser.parse_args()


def environment(kind):
    """For support.patience and support.trunkline, which look when they are imported."""
    os.environ["TRUNKLINE_KIND"] = kind
    os.environ["TRUNKLINE_BUILD"] = str(TOP / "build" / ("" if kind == "release" else kind))
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=0")
    sys.path.insert(0, str(TOP / "tests" / "integration"))


def keep(run, daemon, postgres):
    """What a failure leaves behind."""
    folder = FOUND / f"{run.name}-{run.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "report.txt").write_text(run.report() + "\n")
    (folder / "daemon.log").write_text(daemon.log())
    (folder / "postgres.log").write_text(postgres.log()[-4_000_000:])
    return folder


def turn(siege, make_daemon, postgres, certificate, name, seed, seconds, sessions):
    """Whether one configuration came through."""
    from support.patience import eventually
    siege.tables(postgres)
    mark = postgres.mark()
    with siege.besieged(make_daemon, name, certificate) as daemon:
        run = siege.Siege(daemon, name, seed, sessions)
        run.run(seconds)
        try:
            daemon.stop()
        except AssertionError as error:
            run.failures.append(f"the daemon: {error}")
        print(run.summary(), flush=True)
        crashes = siege.crashes(postgres, mark)
        if crashes:
            print("PostgreSQL itself has crashed, so this turn says nothing:", *crashes, sep="\n", flush=True)
            eventually(postgres.ready)
            return True
        if run.failures:
            print("\n".join(run.failures))
            print(f"again: {run.replay()} --kind {os.environ['TRUNKLINE_KIND']}")
            print(f"what was sent, and the logs: {keep(run, daemon, postgres)}", flush=True)
        return not run.failures


def play(words):
    from support import siege
    from support.certificate import Certificate
    from support.postgres import Postgres, make_template, place
    from support.trunkline import Trunkline, configuration
    if words.config == "list":
        print("\n".join(siege.CONFIGS))
        return 0
    names = [words.config] if words.config else [*siege.CONFIGS]
    if not set(names) <= set(siege.CONFIGS):
        print(f"no such configuration: {words.config}", file=sys.stderr)
        return 2
    place_of_postgres = place("hostile")
    folder = Path(tempfile.mkdtemp(prefix="trunkline-hostile-"))
    sessions = words.sessions.split(",") if words.sessions else None
    seed = random.SystemRandom().randrange(1 << 30) if words.seed is None else words.seed
    failed = turns = 0
    postgres = Postgres(make_template(place_of_postgres), log_statement="none",
                        log_connections="off", log_disconnections="off")
    try:
        certificate = Certificate(folder, "server", Certificate(folder, "authority"))

        def make_daemon(changes):
            home = Path(tempfile.mkdtemp(dir=folder))
            return Trunkline(home, configuration(postgres, **changes))

        end = time.monotonic() + words.seconds
        while (left := end - time.monotonic()) > 0.5 or not turns:
            share = min(left, max(3, min(TURN, words.seconds / len(names))))
            failed += not turn(siege, make_daemon, postgres, certificate,
                               names[turns % len(names)], seed + turns, share, sessions)
            turns += 1
            if failed and not words.go_on:
                break
    finally:
        postgres.remove()
        shutil.rmtree(place_of_postgres, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{turns} turns, {failed} of them failed")
    return 1 if failed else 0


if __name__ == "__main__":
    chosen = arguments()
    environment(chosen.kind)
    sys.exit(play(chosen))
