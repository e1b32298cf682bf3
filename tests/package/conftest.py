"""The package's tests: its build, a clean system to install it in, and a server to lead to."""
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "integration"))

from support.postgres import Postgres, make_template, place  # noqa: E402

# What the package depends on, and what its test uses, so that no test asks the mirror for anything.
INSIDE = ["libc-ares2", "libidn12", "libpcre2-8-0", "libssl3", "libxxhash0", "libyaml-0-2",
          "logrotate", "systemd-standalone-sysusers", "systemd-standalone-tmpfiles", "libldap-2.5-0"]


@pytest.fixture(scope="session")
def postgres():
    folder = place("template")
    cluster = Postgres(make_template(folder))
    yield cluster
    cluster.remove()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def package():
    """The package, built from this checkout."""
    if not shutil.which("dpkg-buildpackage") or not shutil.which("dh"):
        pytest.skip("no dpkg-buildpackage or debhelper here")
    done = subprocess.run([TOP / "tools" / "deb.sh"], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return next(Path(TOP / word) for word in done.stdout.split() if "dbgsym" not in word)


def release():
    """The Debian that this is, and where its packages come from."""
    system = dict(line.split("=", 1) for line in
                  Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return system.get("VERSION_CODENAME", "").strip('"'), os.environ.get(
        "DEBIAN_MIRROR", "http://deb.debian.org/debian")


def bootstrap(kept):
    """Makes a clean system and packs it, once for all later runs."""
    suite, mirror = release()
    folder = kept.with_suffix(".new")
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(["debootstrap", "--variant=minbase", f"--include={','.join(INSIDE)}",
                           suite, folder, mirror], text=True, capture_output=True,
                          stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        half = kept.with_suffix(".half")
        subprocess.run(["tar", "--create", f"--file={half}", f"--directory={folder}", "."],
                       check=True)
        half.rename(kept)
    unmount(folder)
    shutil.rmtree(folder, ignore_errors=True)
    if done.returncode != 0:
        pytest.skip(f"debootstrap can't make a system here: {done.stdout[-300:]}")


def mounts(folder):
    return [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()
            if line.split()[1].startswith(f"{folder}/")]


def unmount(folder):
    """What debootstrap may have left mounted when it was interrupted."""
    for path in sorted(mounts(folder), reverse=True):
        subprocess.run(["umount", path])


@pytest.fixture(scope="session")
def debian(tmp_path_factory):
    """The folder of a clean Debian of our own."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip("only root can make a clean system, and with debootstrap")
    content = zlib.crc32(" ".join(INSIDE).encode())
    kept = TOP / "build" / f"debian-{release()[0]}-{content:08x}.tar"
    if not kept.exists():
        bootstrap(kept)
    folder = tmp_path_factory.mktemp("debian")
    folder.chmod(0o755)
    subprocess.run(["tar", "--extract", f"--file={kept}", f"--directory={folder}"], check=True)
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    yield folder
    assert mounts(folder) == []
    shutil.rmtree(folder)
