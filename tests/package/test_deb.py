"""The Debian package: sound, and installed, started, upgraded and purged in a clean system."""
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest
from support.patience import eventually
from support.ports import free_port
from support.processes import MORTAL, Program

TOP = Path(__file__).resolve().parents[2]
# One worker builds and installs; the timeout leaves room for a slow mirror.
pytestmark = [pytest.mark.xdist_group("package"), pytest.mark.timeout(1200)]


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


# --- the package by itself ----------------------------------------------------------------------


def test_the_versions_of_program_and_package_agree():
    version = re.search(r"version: '([^']+)'", (TOP / "meson.build").read_text()).group(1)
    first = (TOP / "debian" / "changelog").read_text().splitlines()[0]
    assert first.startswith(f"trunkline ({version}-")


@pytest.mark.parametrize("name", ["trunkline", "libtrunkline-dev"])
def test_lintian_finds_nothing(packages, name):
    done = subprocess.run(["lintian", "--allow-root", "--fail-on=error,warning", packages[name]],
                          text=True, capture_output=True)
    assert done.returncode == 0 and not done.stdout.strip(), done.stdout


def test_its_configuration_is_for_its_own_files(package):
    files = run("dpkg-deb", "--contents", package)
    for path in ("/etc/trunkline/trunkline.yaml", "/etc/logrotate.d/trunkline",
                 "/lib/systemd/system/trunkline.service", "/usr/lib/sysusers.d/trunkline.conf",
                 "/usr/lib/tmpfiles.d/trunkline.conf", "/usr/bin/trunkline",
                 "/usr/share/man/man1/trunkline.1.gz",
                 "/usr/share/doc/trunkline/libpg_query.copyright",
                 "/usr/share/man/man5/trunkline.5.gz"):
        assert f" .{path}\n" in files, path


def test_the_libraries_are_usable_without_link_time_optimization(packages, tmp_path):
    """The program is built with it, and a linker of another compiler cannot read its objects."""
    run("dpkg-deb", "--extract", packages["libtrunkline-dev"], tmp_path)
    files = next(tmp_path.glob("**/pkgconfig"))
    flags = run("pkg-config", f"--define-variable=prefix={tmp_path}/usr", "--cflags", "--libs",
                "trunkline-machine", env=dict(os.environ, PKG_CONFIG_PATH=str(files))).split()
    run("gcc", "-std=gnu17", "-fno-lto", TOP / "examples/libraries/echo.c", *flags, "-o",
        tmp_path / "echo")
    assert "usage: echo PORT" in subprocess.run([tmp_path / "echo"], text=True,
                                                capture_output=True).stderr
    assert not list(tmp_path.glob("usr/bin"))


def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path):
    text = (TOP / "packaging" / "trunkline.service").read_text()
    unit = tmp_path / "trunkline.service"
    # What is checked is the unit, not whether the package is installed here.
    unit.write_text(re.sub(r"^(ExecStart)=\S+", r"\1=/bin/true", text, flags=re.M)
                    .replace("man:trunkline(1) ", ""))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], text=True,
                          capture_output=True)
    assert done.returncode == 0 and "trunkline.service:" not in done.stderr, done.stderr
    # The scale goes from 0 to 100.
    run("systemd-analyze", "security", "--offline=yes", "--threshold=25", unit)


# --- a clean system -----------------------------------------------------------------------------


class System:
    """The clean system with what the test does in it."""

    def __init__(self, folder):
        self.folder = folder
        self.program = None
        self.port = free_port()
        self.config = folder / "etc/trunkline/trunkline.yaml"
        self.users = folder / "etc/trunkline/users.txt"

    def run(self, *words):
        return run("chroot", self.folder, *words,
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                        "DEBIAN_FRONTEND": "noninteractive"})

    def dpkg(self, *words):
        return self.run("dpkg", "--force-confdef", "--force-confold", *words)

    def install(self, package):
        shutil.copy(package, self.folder / "root")
        return self.dpkg("--install", f"/root/{package.name}")

    def unit(self, key):
        text = (self.folder / "lib/systemd/system/trunkline.service").read_text()
        return re.search(rf"^{key}=(.*)$", text, re.M).group(1)

    def start(self):
        """As the unit says: its command, as its user, with its folder under /run."""
        owner = self.entry("passwd", self.unit("User")).split(":")
        place = self.folder / "run" / self.unit("RuntimeDirectory")
        place.mkdir(exist_ok=True)
        place.chmod(int(self.unit("RuntimeDirectoryMode"), 8))
        os.chown(place, int(owner[2]), int(owner[3]))
        user = f"--userspec={self.unit('User')}:{self.unit('Group')}"
        command = ["chroot", user, self.folder, *self.unit("ExecStart").split()]
        self.program = Program([*MORTAL, *command], self.folder / "root/daemon.log", cwd="/")
        eventually(self.serves)

    def serves(self):
        self.program.must_run()
        try:
            with psycopg.connect(host="127.0.0.1", port=self.port, user="app", password="app",
                                 dbname="app") as connection:
                return connection.execute("select 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def stop(self):
        assert self.program.end(signal.SIGTERM) == 0, self.program.text()

    def entry(self, database, name):
        text = (self.folder / "etc" / database).read_text()
        return next((line for line in text.splitlines() if line.startswith(f"{name}:")), None)

    def leftovers(self):
        """Every path of ours outside of the package manager's own books."""
        books = ("var/lib/dpkg", "var/log/dpkg.log", "root", "var/lib/systemd", "proc", "sys")
        return [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*trunkline*")
                if not path.relative_to(self.folder).as_posix().startswith(books)]


@pytest.fixture(scope="module")
def system(debian):
    made = System(debian)
    yield made
    if made.program is not None and made.program.running():
        made.program.process.kill()
        made.program.process.wait()


def configure(system, postgres):
    """What an administrator writes: a port, the server, a user."""
    text = system.config.read_text()
    system.config.write_text(text.replace("port: 6432", f"port: {system.port}").replace(
        "hosts: [/run/postgresql]", f"hosts: [\"127.0.0.1:{postgres.port}\"]"))
    with system.users.open("a") as users:
        users.write('"app" "app"\n')


def later(package, folder):
    """The next version of a package: another program, a changed default configuration."""
    tree = folder / "tree"
    run("dpkg-deb", "--raw-extract", package, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", r"Version: 9.9-1", control.read_text(), flags=re.M))
    with (tree / "etc/trunkline/trunkline.yaml").open("a") as config:
        config.write("\n# of the next version\n")
    made = folder / "trunkline_9.9-1.deb"
    run("dpkg-deb", "--root-owner-group", "--build", tree, made)
    return made


def test_it_is_installed_started_upgraded_and_purged(system, package, postgres, tmp_path):
    # Installed: the user, the secrets' file for it alone, a configuration that can be run.
    assert system.leftovers() == []
    system.install(package)
    user = system.entry("passwd", "trunkline").split(":")
    assert user[5:] == ["/", "/usr/sbin/nologin"]
    group = int(user[3])
    state = system.users.stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (0, group, 0o640)
    assert (system.folder / "var/log/trunkline").stat().st_uid == int(user[2])
    assert (system.folder /
            "etc/systemd/system/multi-user.target.wants/trunkline.service").is_symlink()
    said = system.run("setpriv", "--reuid=trunkline", "--regid=trunkline", "--clear-groups",
                      "trunkline", "check", "/etc/trunkline/trunkline.yaml")
    assert "can be run" in said and "warning" not in said

    # Started: by the unit's own words, over TCP and its Unix socket.
    configure(system, postgres)
    system.start()
    owner = Path(f"/proc/{system.program.pid}/status").read_text()
    assert re.search(rf"^Uid:\s+{user[2]}\s+{user[2]}", owner, re.M)
    with psycopg.connect(host=str(system.folder / "run/trunkline"), port=system.port, user="app",
                         password="app", dbname="app") as connection:
        assert connection.execute("select 1").fetchone() == (1,)

        # Upgraded: who is connected does not notice, and what was configured stays.
        mine, secrets = system.config.read_text(), system.users.read_text()
        system.install(later(package, tmp_path))
        assert "9.9-1" in system.run("dpkg-query", "--show", "trunkline")
        assert (system.config.read_text(), system.users.read_text()) == (mine, secrets)
        assert system.users.stat().st_mode & 0o777 == 0o640
        assert connection.execute("select 1").fetchone() == (1,)
    system.stop()
    system.start()
    system.program.send_signal(signal.SIGHUP)
    eventually(lambda: "config.reloaded" in system.program.text())
    system.stop()

    # Its log is rotated, and the next one is its own again; the daemon goes over to it.
    log = system.folder / "var/log/trunkline/trunkline.log"
    with system.config.open("a") as config:
        config.write("\nlog: {file: /var/log/trunkline/trunkline.log}\n")
    mine = system.config.read_text()
    system.start()
    eventually(lambda: "ready" in log.read_text())
    system.run("logrotate", "--force", "/etc/logrotate.d/trunkline")
    assert "ready" in log.with_suffix(".log.1").read_text()
    assert (log.stat().st_uid, log.stat().st_mode & 0o777) == (int(user[2]), 0o640)
    system.program.send_signal(signal.SIGUSR1)
    eventually(lambda: "log.reopened" in log.read_text())
    system.stop()

    # Removed: the program goes, what was configured stays.  Purged: nothing of it stays.
    system.dpkg("--remove", "trunkline")
    assert not (system.folder / "usr/bin/trunkline").exists()
    assert system.config.read_text() == mine and system.users.read_text() == secrets
    system.dpkg("--purge", "trunkline")
    assert system.leftovers() == []
