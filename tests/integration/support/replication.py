"""A primary and its streaming replicas: made, promoted, stopped, killed and rejoined by a test.

    cluster = replication(replicas=2)
    first, second = cluster.replicas
    cluster.primary.stop(signal.SIGQUIT)
    cluster.promote(first)                   # cluster.primary is first from now on
    cluster.follow(second)                   # a running replica: streams from cluster.primary
    cluster.rejoin(cluster.servers[0])       # a stopped server: pg_rewind, then a replica
"""
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from .patience import PATIENCE, eventually
from .ports import free_port
from .postgres import HBA, OWNER, SETTINGS, Postgres, binaries, place
from .processes import as_user

STREAMING = {
    "wal_level": "logical", "max_wal_senders": 10, "max_replication_slots": 10,
    "wal_log_hints": "on", "full_page_writes": "on",  # both for pg_rewind
    "hot_standby": "on", "wal_keep_size": "64MB",
    "wal_receiver_status_interval": "1s", "wal_retrieve_retry_interval": "100ms",
    "hot_standby_feedback": "on", "shared_buffers": "16MB",
}
STREAMING_HBA = "local replication postgres trust\n" + HBA


def positions(lsn):
    """pg_lsn's text as a number."""
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)


class Member(Postgres):
    """One server of a replicated cluster.  `values` is all of its postgresql.auto.conf."""

    def __init__(self, name, settings):
        self.name = name
        self.folder = place(name)
        self.data = self.folder / "data"
        self.port = settings.pop("port", None) or free_port()
        self.log_file = self.folder / "log"
        self.program = None
        self.values = {**SETTINGS, **STREAMING, "port": self.port, "cluster_name": name,
                       "unix_socket_directories": self.folder, **settings}

    def configure(self, **values):
        """Sets parameters, None removes them; a running server reads them at once."""
        self.values.update(values)
        self.values = {k: v for k, v in self.values.items() if v is not None}
        self._write("postgresql.auto.conf",
                    "".join(f"{k} = '{v}'\n" for k, v in self.values.items()))
        self._write("pg_hba.conf", STREAMING_HBA)
        if self.program is not None and self.program.running():
            self.program.send_signal(signal.SIGHUP)

    def run(self, tool, *words):
        """One of PostgreSQL's own programs as its owner."""
        command = as_user(OWNER) + [str(binaries() / tool), *map(str, words)]
        done = subprocess.run(command, cwd="/", text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        assert done.returncode == 0, f"{tool} ended with {done.returncode}: {done.stdout}"
        return done.stdout

    # -- what it is

    def running(self):
        return self.program is not None and self.program.running()

    def standby(self):
        return self.one("select pg_is_in_recovery()")

    def timeline(self):
        """As pg_walfile_name() says it; a primary only."""
        return int(self.one("select pg_walfile_name(pg_current_wal_lsn())")[:8], 16)

    def control_timeline(self):
        """As the control file says it."""
        return self.one("select timeline_id from pg_control_checkpoint()")

    def system(self):
        return self.one("select system_identifier from pg_control_system()")

    def written(self):
        """A primary's end of its log."""
        return positions(self.one("select pg_current_wal_insert_lsn()"))

    def replayed(self):
        """A replica's last replayed position; 0 before the first."""
        return positions(self.one("select coalesce(pg_last_wal_replay_lsn(), '0/0')"))

    def delay(self, milliseconds):
        """A replica replays commits this much later than the primary did them; 0: at once."""
        self.configure(recovery_min_apply_delay=f"{milliseconds}ms")
        eventually(lambda: self.one("select setting::int from pg_settings"
                                    " where name = 'recovery_min_apply_delay'") == milliseconds)

    # -- harm

    def processes(self):
        """The postmaster and its children; each child has a session of its own."""
        pid = self.program.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid] + [int(child) for child in children]

    def _signal_all(self, number):
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        """All of its processes die at once, as with its machine."""
        self._signal_all(signal.SIGSTOP)  # none starts another one meanwhile
        children = self.processes()[1:]
        self._signal_all(signal.SIGKILL)
        self.program.wait(PATIENCE)
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))  # they hold its memory

    def freeze(self):
        """It keeps its connections and answers nothing, until thaw()."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self):
        self._signal_all(signal.SIGCONT)

    def remove(self):
        if self.running():
            self.thaw()
            self.program.end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


class Replication:
    """`replicas` streaming replicas of one primary; `settings` are for all servers."""

    def __init__(self, template, replicas=2, **settings):
        self.settings = settings
        self.servers = []
        self.primary = self._member("a")
        try:
            shutil.copytree(template, self.primary.data, symlinks=True, copy_function=shutil.copy2)
            self._own(self.primary.data)
            self.primary.configure()
            self.primary.start()
            for _ in range(replicas):
                self.add_replica()
        except BaseException:
            self.remove()
            raise

    def _member(self, name):
        self.servers.append(Member(name, dict(self.settings)))
        return self.servers[-1]

    @staticmethod
    def _own(folder):
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{OWNER}:", folder], check=True)

    @property
    def replicas(self):
        return [server for server in self.servers if server is not self.primary]

    def remove(self):
        for server in self.servers:
            server.remove()

    # -- replicas

    def add_replica(self, delay=None, **settings):
        """A new replica of the primary, streaming; `delay`: of its replay, in milliseconds."""
        server = self._member(chr(ord("a") + len(self.servers)))
        server.values.update(settings)
        if delay is not None:
            server.values["recovery_min_apply_delay"] = f"{delay}ms"
        self.clone(server)
        return server

    def clone(self, server):
        """A server without data becomes a replica by pg_basebackup, and starts."""
        server.run("pg_basebackup", "-D", server.data, "-h", self.primary.folder,
                   "-p", self.primary.port, "-U", "postgres", "-X", "stream", "-c", "fast",
                   "-R", "--no-sync")
        self._as_replica(server)
        server.start()
        self.streaming(server)

    def _as_replica(self, server):
        """Its configuration, and its slot at the primary."""
        slot = f"slot_{server.name}"
        self.primary.sql("select pg_create_physical_replication_slot(%s, true) where not exists"
                         " (select from pg_replication_slots where slot_name = %s)", slot, slot)
        server.configure(primary_slot_name=slot, primary_conninfo=(
            f"host={self.primary.folder} port={self.primary.port} user=postgres"
            f" application_name={server.name}"))

    def streaming(self, server):
        """Waits until a replica streams from the primary."""
        eventually(lambda: self.primary.sql(
            "select 1 from pg_stat_replication where application_name = %s and state = 'streaming'",
            server.name))

    def caught_up(self, *servers):
        """Waits until these replicas, or all that run, have replayed what is written now."""
        end = self.primary.written()
        for server in servers or [one for one in self.replicas if one.running()]:
            eventually(lambda server=server: server.replayed() >= end, timeout=PATIENCE / 2)

    # -- changes of the primary

    def promote(self, server, wait=True):
        """The server is the primary from now on.  What the old one does is the test's matter."""
        server.run("pg_ctl", "promote", "-D", server.data, *([] if wait else ["-W"]))
        if wait:
            eventually(lambda: not server.standby())
        self.primary = server

    def follow(self, server):
        """A running replica streams from the primary.  One that has got more of the old primary's
        log than the new one has can't: it is rewound."""
        self._as_replica(server)
        try:
            self.streaming(server)
            self.caught_up(server)
        except AssertionError:
            server.stop()
            self.rejoin(server)

    def rejoin(self, server, clone=False):
        """A stopped server becomes a replica of the primary, by pg_rewind or as a new copy."""
        assert not server.running(), f"{server.name} runs"
        if clone:
            shutil.rmtree(server.data)
            self.clone(server)
            return
        self.primary.sql("checkpoint")  # pg_rewind reads the timeline from the control file
        server.run("pg_rewind", "-D", server.data, "--no-sync", "--source-server",
                   f"host={self.primary.folder} port={self.primary.port} user=postgres"
                   " dbname=postgres")
        server._write("standby.signal", "")
        self._as_replica(server)
        server.start()
        self.streaming(server)
