"""Processes, processors, ports, packages: what the benchmark asks of the machine."""

import contextlib
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

CPUS = sorted(os.sched_getaffinity(0))
PROXY_CPU = {CPUS[0]}
LOAD_CPU = {CPUS[-1]}
ALL_CPUS = set(CPUS)
FILES_MOST = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def say(text):
    print(text, file=sys.stderr, flush=True)


def raise_file_limit():
    """As many descriptors as we may have: 10,000 clients, in a plain relay as many servers too."""
    global FILES_MOST
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (65536, most):
        with contextlib.suppress(ValueError, PermissionError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, most)))
            break
    FILES_MOST = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, cpus=None, user=None, log=None, **options):
    """Starts a process on these processors; when we are root, as `user`."""

    def prepare():
        os.sched_setaffinity(0, cpus or ALL_CPUS)
        if user and os.getuid() == 0:
            entry = pwd.getpwnam(user)
            os.initgroups(user, entry.pw_gid)
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)

    options.setdefault("stdin", subprocess.DEVNULL)
    if log:
        with open(log, "ab") as target:
            return subprocess.Popen(
                command, preexec_fn=prepare, stdout=target, stderr=target, **options
            )
    return subprocess.Popen(command, preexec_fn=prepare, **options)


def stop(process, number=signal.SIGTERM, patience=15):
    if process.poll() is not None:
        return
    process.send_signal(number)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tree(pid):
    """The process and all its descendants."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                children = Path(f"/proc/{one}/task/{task}/children").read_text()
                found += [int(child) for child in children.split()]
    return found


def cpu_ns(pids):
    """User and system time in nanoseconds, from each process's CPU clock."""
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)


def pss_kib(pids):
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def sleeps(pids):
    """How often the threads went to sleep of their own will: each is followed by a wake-up."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            for line in Path(f"/proc/{pid}/task/{task}/status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    total += int(line.split()[1])
    return total


def output_of(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip()


def first_line(*command):
    return (output_of(*command).splitlines() or ["not found"])[0]


@contextlib.contextmanager
def services_suppressed(root):
    """Packages installed inside do not start their services."""
    policy = Path("/usr/sbin/policy-rc.d")
    shut = "#!/bin/sh\nexit 101\n"
    before = policy.read_text() if policy.exists() else None
    write = [*root, "sh", "-c", f"cat > {policy} && chmod 755 {policy}"]
    subprocess.run(write, input=shut, text=True, check=True)
    try:
        yield
    finally:
        if before is None:
            subprocess.run([*root, "rm", "-f", str(policy)], check=False)
        else:
            subprocess.run(write, input=before, text=True, check=True)


def install(programs):
    """Installs the packages whose program is missing: {program: package}."""
    paths = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [
        package for name, package in programs.items() if not shutil.which(name, path=paths)
    ]
    if not missing:
        return
    root = [] if os.getuid() == 0 else ["sudo", "-n"]
    say(f"installing {' '.join(missing)} (services stay off)")
    with services_suppressed(root):
        command = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y"]
        command += ["--no-install-recommends", *missing]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        say(done.stderr)
    for package in {"pgbouncer", "haproxy"} & set(missing):
        output_of(*root, "systemctl", "disable", "--quiet", package)


def program(name):
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        raise RuntimeError(f"{name} is not installed")
    return found


def machine():
    """What a reader must know to judge the numbers."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "CPU part")):
            model = line.split(":", 1)[1].strip()
            break
    release = os.uname()
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {
        "cpu": model,
        "cpus": len(CPUS),
        "memory_mib": memory,
        "kernel": f"{release.sysname} {release.release} {release.machine}",
    }
