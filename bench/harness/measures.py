"""The tests: each yields {contender: numbers}.  The table of the report picks from them."""

import re
import subprocess
import time
from dataclasses import dataclass, field

from . import system
from .bench import medians
from .contenders import DATABASE, FEATURES, HAProxy, Variant

MEGABYTE = 1 << 20
BIG = {"rows": 1024, "bytes": MEGABYTE, "value": ""}
BIG_INSTANT = {"query": f"SELECT big {MEGABYTE}", **BIG}
BIG_POSTGRES = {
    "query": "SELECT repeat('x', 1024) FROM generate_series(1, 1024)",
    **BIG,
}


@dataclass(frozen=True)
class Windows:
    """A closed loop over a window of time, repeated, all contenders in turn."""

    title: str
    variant: Variant
    load: dict = field(hash=False)
    pools_only: bool = False  # leaves out who knows no TLS or logs nobody in
    relays: bool = False  # with Trunkline's second size too
    direct: bool = True


WINDOWS = {
    "simple64": Windows("SELECT 1 simple, 64 on 16", Variant(), {"mode": "simple", "clients": 64}),
    "extended64": Windows(
        "SELECT 1 extended, 64 on 16", Variant(), {"mode": "extended", "clients": 64}
    ),
    "prepared64": Windows(
        "SELECT 1 prepared, 64 on 16", Variant(), {"mode": "prepared", "clients": 64}
    ),
    "pipeline64": Windows(
        "pipelines of 10, a Sync each, 64 on 16",
        Variant(),
        {"mode": "pipeline", "depth": 10, "clients": 64},
    ),
    "simple2000": Windows(
        "SELECT 1 simple, 2,000 on 16", Variant(), {"mode": "simple", "clients": 2000}
    ),
    "extended2000": Windows(
        "SELECT 1 extended, 2,000 on 16", Variant(), {"mode": "extended", "clients": 2000}
    ),
    "simple12": Windows("SELECT 1 simple, 12 on 16", Variant(), {"mode": "simple", "clients": 12}),
    "extended12": Windows(
        "SELECT 1 extended, 12 on 16", Variant(), {"mode": "extended", "clients": 12}
    ),
    "big": Windows(
        "1 MB result, instant backend", Variant(), {"mode": "simple", "clients": 8, **BIG_INSTANT}
    ),
    "bigreal": Windows(
        "1 MB result, PostgreSQL",
        Variant(backend="postgres"),
        {"mode": "simple", "clients": 8, **BIG_POSTGRES},
    ),
    "bigtls": Windows(
        "1 MB result over TLS, PostgreSQL",
        Variant(backend="postgres", tls=True),
        {"mode": "simple", "clients": 8, **BIG_POSTGRES},
        pools_only=True,
    ),
    "connect": Windows(
        "connect, SCRAM, SELECT 1, disconnect",
        Variant(auth="scram"),
        {"mode": "connect", "clients": 16},
        pools_only=True,
    ),
    "connecttls": Windows(
        "connect, TLS 1.3, SCRAM, SELECT 1, disconnect",
        Variant(auth="scram", tls=True),
        {"mode": "connect", "clients": 16},
        pools_only=True,
    ),
    "churn": Windows(
        "10,000 clients that come and go, 16 at a time",
        Variant(auth="scram"),
        {"mode": "churn", "clients": 10000, "depth": 16},
        pools_only=True,
    ),
    "unpinned64": Windows(
        "SELECT 1 simple, 64 on 16, unpinned",
        Variant(backend="instant-unpinned", pinned=False),
        {"mode": "simple", "clients": 64},
        relays=True,
    ),
}


def may_run(contender, test):
    if test.pools_only and not contender.pools:
        return False
    if test.load["mode"] == "prepared" and not contender.remaps:
        return False
    return contender.name != "trunkline2" or test.relays


def run_windows(bench, name):
    test = WINDOWS[name]
    options = bench.options
    contenders = [one for one in bench.contenders if may_run(one, test)]
    reports = {one.name: [] for one in contenders}
    failed = set()
    cpus = system.LOAD_CPU if test.variant.pinned else system.ALL_CPUS
    for repetition in range(options.repetitions):
        turn = repetition % max(len(contenders), 1)
        for contender in contenders[turn:] + contenders[:turn]:

            def once(contender=contender):
                instance = bench.instance(contender, test.variant)
                return bench.load(
                    instance, cpus, warm=options.warm, seconds=options.seconds, **test.load
                )

            if contender.name in failed:
                continue
            report = bench.guarded(contender, test.title, once)
            if report:
                reports[contender.name].append(report)
            else:
                failed.add(contender.name)
    result = {one: medians(found) for one, found in reports.items() if one not in failed}
    for one, found in result.items():
        if found:
            found["cpu_rounds"] = [report["cpu_us"] for report in reports[one]]
    return result


# System calls and instructions: two run lengths, so that starting and logging in cancel out.

SYSCALL_TESTS = {
    "simple": {"mode": "simple", "clients": 64},
    "extended": {"mode": "extended", "clients": 64},
    "pipeline": {"mode": "pipeline", "depth": 10, "clients": 64},
    "batch": {"mode": "batch", "depth": 10, "clients": 64},
}


def perf_counts(bench, instance, load, queries):
    """All system calls of the processes while the load runs, with next to no slow-down."""
    command = [system.program("perf"), "stat", "-x", ",", "-e", "raw_syscalls:sys_enter"]
    command += ["-p", ",".join(map(str, instance.pids)), "--"]
    command += bench.load_command(instance, queries=queries, **load)
    done = subprocess.run(
        ["taskset", "-c", str(min(system.LOAD_CPU)), *command],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^(\d+),[^,]*,raw_syscalls:sys_enter", done.stderr, re.MULTILINE)
    if done.returncode != 0 or not found:
        raise RuntimeError(f"perf stat: {done.stderr.strip()[:200]}")
    return int(found.group(1))


def strace_counts(bench, instance, load, queries):
    """The same by strace, which slows the contender until it is saturated."""
    report = bench.folder / "strace"
    command = [system.program("strace"), "-c", "-f", "-qq", "-U", "name,calls", "-o", str(report)]
    for pid in instance.pids:
        command += ["-p", str(pid)]
    tracer = system.start(command, system.PROXY_CPU, stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    try:
        bench.load(instance, queries=queries, **load)
    finally:
        system.stop(tracer, 2)
    calls = re.findall(r"^(\w+)\s+(\d+)\s*$", report.read_text(), re.MULTILINE)
    return {name: int(count) for name, count in calls if name != "total"}


def syscalls_of(bench, contender, load):
    instance = bench.instance(contender, Variant())
    scale = bench.options.scale
    result = {}
    short, long = 1000 * scale, 3000 * scale
    few = strace_counts(bench, instance, load, short)
    many = strace_counts(bench, instance, load, long)
    by_name = {one: (many[one] - few.get(one, 0)) / (long - short) for one in many}
    result["by_name"] = {one: round(count, 3) for one, count in by_name.items() if count >= 0.005}
    result["saturated"] = sum(by_name.values())
    try:
        short, long = 10000 * scale, 40000 * scale
        few = perf_counts(bench, instance, load, short)
        result["untraced"] = (perf_counts(bench, instance, load, long) - few) / (long - short)
    except RuntimeError as error:
        system.say(f"  {error}")
    return result


def run_syscalls(bench, name):
    load = SYSCALL_TESTS[name]
    result = {}
    for contender in bench.contenders:
        if contender.name in ("direct", "trunkline2"):
            continue
        what = f"system calls, {name}"
        found = bench.guarded(contender, what, lambda one=contender: syscalls_of(bench, one, load))
        if found:
            result[contender.name] = found
    return result


def callgrind_total(bench, contender, load, queries, feature=""):
    wrapper = [system.program("valgrind"), "--tool=callgrind", "--callgrind-out-file=callgrind"]
    instance = contender.start(Variant(feature=feature), wrapper)
    try:
        bench.load(instance, queries=queries, **load)
    finally:
        system.stop(instance.process, patience=60)
    text = (instance.folder / "callgrind").read_text()
    found = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    if not found:
        raise RuntimeError("callgrind wrote no total")
    return int(found.group(1))


def run_instructions(bench, name):
    """Of "simple", or of "simple-audit": with a feature that is off by default."""
    mode, _, feature = name.partition("-")
    load = SYSCALL_TESTS[mode]
    short, long = 1500 * bench.options.scale, 6000 * bench.options.scale
    result = {}
    for contender in bench.contenders:
        if contender.name not in ("pgbouncer", "trunkline1", "before")[1 if feature else 0:]:
            continue

        def difference(one=contender):
            few = callgrind_total(bench, one, load, short, feature)
            return (callgrind_total(bench, one, load, long, feature) - few) / (long - short)

        found = bench.guarded(contender, f"instructions, {name}", difference)
        if found:
            result[contender.name] = {"instructions": found}
    return result


# Ten thousand idle clients: memory and wake-ups.


def idle_of(bench, contender, tls):
    instance = contender.start(Variant(tls=tls))
    clients = bench.options.idle_clients
    if isinstance(contender, HAProxy):
        clients = min(clients, contender.clients_most() - 20)
    try:
        time.sleep(0.5)
        before = system.pss_kib(instance.pids)
        holder = system.start(
            bench.load_command(instance, mode="idle", clients=clients),
            system.LOAD_CPU,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            if not holder.stdout.readline().startswith("holding"):
                raise RuntimeError(holder.stderr.read().strip())
            time.sleep(2)
            during = system.pss_kib(instance.pids)
            seconds = bench.options.idle_seconds
            slept = system.sleeps(instance.pids)
            time.sleep(seconds)
            slept = system.sleeps(instance.pids) - slept
        finally:
            holder.stdin.close()
            holder.wait(60)
            holder.stdout.close()
            holder.stderr.close()
    finally:
        instance.stop()
    return {
        "clients": clients,
        "start_kib": before,
        "kib_per_client": (during - before) / clients,
        "wakeups": slept / seconds,
    }


def run_idle(bench, name):
    result = {}
    for contender in bench.contenders:
        if contender.name in ("direct", "trunkline2") or (name == "tls" and not contender.pools):
            continue
        what = f"idle clients, {name}"
        found = bench.guarded(
            contender, what, lambda one=contender: idle_of(bench, one, name == "tls")
        )
        if found:
            result[contender.name] = found
    return result


# pgbench -S against real PostgreSQL.


def pgbench_once(bench, contender, mode):
    instance = bench.instance(contender, Variant(backend="postgres"))
    cluster = bench.cluster
    command = [str(cluster.binaries / "pgbench"), "-n", "-S", "-M", mode, "-c", "64", "-j", "1"]
    command += ["-T", str(bench.options.pgbench_seconds), *cluster.where(instance.port), DATABASE]
    before = system.cpu_ns(instance.pids)
    process = system.start(
        command, system.LOAD_CPU, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, complaint = process.communicate(timeout=120)
    used = system.cpu_ns(instance.pids) - before
    done = re.search(r"actually processed: (\d+)", out)
    failed = re.search(r"number of failed transactions: (\d+)", out)
    if process.returncode != 0 or not done or (failed and int(failed.group(1)) > 0):
        raise RuntimeError(f"pgbench: {complaint.strip().splitlines()[-1:]}")
    tps = float(re.search(r"tps = ([\d.]+)", out).group(1))
    latency = float(re.search(r"latency average = ([\d.]+)", out).group(1))
    cpu = used / 1e3 / int(done.group(1)) if instance.process else None
    report = {"qps": tps, "mean_us": latency * 1e3}
    return {**report, "cpu_us": cpu} if cpu is not None else report


def run_pgbench(bench, mode):
    reports = {}
    for _ in range(bench.options.pgbench_repetitions):
        for contender in bench.contenders:
            if mode == "prepared" and not contender.remaps:
                continue
            what = f"pgbench -M {mode}"
            found = bench.guarded(
                contender, what, lambda one=contender: pgbench_once(bench, one, mode)
            )
            if found:
                reports.setdefault(contender.name, []).append(found)
    return {one: medians(found) for one, found in reports.items()}


# What --only names, and which tests it takes.
GROUPS = {
    "cpu64": ["simple64", "extended64"],
    "cpu2000": ["simple2000", "extended2000"],
    "cpu12": ["simple12", "extended12"],
    "prepared": ["prepared64", "simple64"],
    "pipeline": ["pipeline64"],
    "instructions": ["instructions-simple", "instructions-extended"],
    "features": [f"instructions-{mode}-{one}" for mode in ("simple", "extended") for one in FEATURES],
    "syscalls": [f"syscalls-{one}" for one in SYSCALL_TESTS],
    "big": ["big", "bigreal"],
    "bigtls": ["bigtls"],
    "memory": ["idle-plain", "idle-tls"],
    "connect": ["connect", "connecttls", "churn"],
    "relays": ["unpinned64"],
    "pgbench": ["pgbench-simple", "pgbench-extended", "pgbench-prepared"],
}
RUNNERS = {
    "instructions": run_instructions,
    "syscalls": run_syscalls,
    "idle": run_idle,
    "pgbench": run_pgbench,
}


def run_test(bench, name):
    if name in WINDOWS:
        return run_windows(bench, name)
    kind, rest = name.split("-", 1)
    return RUNNERS[kind](bench, rest)
