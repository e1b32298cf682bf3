"""One session of measuring: owns the folder, the backends and every process that was started."""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from . import system
from .contenders import (
    DATABASE,
    USER,
    Before,
    Cluster,
    Direct,
    HAProxy,
    Instant,
    PgBouncer,
    Trunkline,
    Variant,
)

ROOT = Path(__file__).resolve().parent.parent.parent


class Bench:
    def __init__(self, options):
        self.options = options
        self.build = Path(options.build).resolve()
        self.trunkline = Path(options.binary or self.build / "trunkline").resolve()
        self.folder = Path(tempfile.mkdtemp(prefix="trunkline-bench-"))
        os.chmod(self.folder, 0o755)
        self.started = []
        self.instances = {}
        self.failures = []
        self._backends = {}
        self._certificate = None
        known = [Direct(self), PgBouncer(self), HAProxy(self)]
        known += [Trunkline(self, 1), Trunkline(self, 2)]
        known += [Before(self, options.before)] if options.before else []
        wanted = options.contenders.split(",") if options.contenders else None
        self.contenders = []
        for contender in known:
            if wanted and not {contender.name, contender.name.rstrip("12")} & set(wanted):
                continue
            reason = contender.missing()
            if reason:
                system.say(f"{contender.label}: {reason}, left out")
            else:
                self.contenders.append(contender)

    def close(self):
        for process in reversed(self.started):
            system.stop(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def tool(self, name):
        return self.build / "bench" / name

    @property
    def certificate(self):
        """ECDSA P-256, so that the handshakes of 10,000 clients do not take all day."""
        if self._certificate is None:
            certificate, key = self.folder / "server.crt", self.folder / "server.key"
            command = "openssl req -new -x509 -days 30 -nodes -subj /CN=bench -newkey ec"
            command += " -pkeyopt ec_paramgen_curve:prime256v1"
            subprocess.run(
                [*command.split(), "-keyout", str(key), "-out", str(certificate)],
                check=True,
                capture_output=True,
            )
            os.chmod(key, 0o600)
            if os.getuid() == 0:
                shutil.chown(key, "nobody")
            self._certificate = (certificate, key)
        return self._certificate

    @property
    def cluster(self):
        if "postgres" not in self._backends:
            self._backends["postgres"] = Cluster(self)
        return self._backends["postgres"]

    def backend_port(self, name):
        if name == "postgres":
            return self.cluster.port
        if name not in self._backends:
            cpus = system.ALL_CPUS if name == "instant-unpinned" else system.LOAD_CPU
            self._backends[name] = Instant(self, cpus)
        return self._backends[name].port

    def instance(self, contender, variant):
        """A running one, shared by all tests of this variant."""
        key = (contender.name, variant)
        if key not in self.instances:
            self.instances[key] = self.tried(contender, variant)
        if isinstance(self.instances[key], Exception):
            raise self.instances[key]
        return self.instances[key]

    @staticmethod
    def tried(contender, variant):
        """What can't start is not tried again by every test."""
        try:
            return contender.start(variant)
        except (RuntimeError, OSError) as error:
            return error

    def load_command(self, instance, **options):
        command = [str(self.tool("load")), "--port", str(instance.port), "--user", USER]
        command += ["--database", DATABASE, *instance.login]
        for key, value in options.items():
            command += [f"--{key}", str(value)]
        for pid in instance.pids:
            command += ["--watch", str(pid)]
        return command

    def load(self, instance, cpus=system.LOAD_CPU, **options):
        """Runs the generator; returns its report with the CPU time per query added."""
        process = system.start(
            self.load_command(instance, **options),
            cpus,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, complaint = process.communicate(timeout=300)
        if process.returncode != 0:
            raise RuntimeError(complaint.strip() or f"load ended with {process.returncode}")
        report = json.loads(out)
        watched = report.pop("watched")
        used = sum(one["cpu_us"] for one in watched)
        report["cpu_us"] = used / report["queries"] if instance.process else None
        report["sleeps"] = sum(one["sleeps"] for one in watched) / report["queries"]
        report["busy"] = used / report["seconds"] / 1e6
        return report

    def complaint(self, instance):
        """What is wrong with it, or None when it answers a query."""
        try:
            self.load(instance, cpus=system.ALL_CPUS, clients=1, queries=1)
        except RuntimeError as error:
            return str(error)
        return None

    def guarded(self, contender, what, action):
        """A contender that fails loses its row, not the run."""
        try:
            return action()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            system.say(f"  {contender.label}, {what}: {error}")
            if (contender.name, what) not in [failure[:2] for failure in self.failures]:
                self.failures.append((contender.name, what, text))
            return None


def medians(reports):
    """The median of every number over the repetitions, and the spread of the CPU time."""
    if not reports:
        return None
    result = {}
    for key, value in reports[0].items():
        if isinstance(value, (int, float)):
            result[key] = statistics.median(report[key] for report in reports)
    if result.get("cpu_us"):
        costs = [report["cpu_us"] for report in reports]
        result["cpu_spread"] = (max(costs) - min(costs)) / result["cpu_us"]
    result["repetitions"] = len(reports)
    return result


__all__ = ["Bench", "ROOT", "Variant", "medians"]
