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

# What the package's test uses, and what of its alternatives a clean system has.
USED = ["logrotate", "systemd-standalone-sysusers", "systemd-standalone-tmpfiles"]


@pytest.fixture(scope="session")
def postgres():
    folder = place("template")
    cluster = Postgres(make_template(folder))
    yield cluster
    cluster.remove()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def packages():
    """The packages, built from this checkout, by name."""
    if not shutil.which("dpkg-buildpackage") or not shutil.which("dh"):
        pytest.skip("no dpkg-buildpackage or debhelper here")
    done = subprocess.run([TOP / "tools" / "deb.sh"], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return {Path(word).name.partition("_")[0]: TOP / word for word in done.stdout.split()}


@pytest.fixture(scope="session")
def package(packages):
    """The package of the program."""
    return packages["trunkline"]


def release():
    """The Debian that this is, and where its packages come from."""
    system = dict(line.split("=", 1) for line in
                  Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return system.get("VERSION_CODENAME", "").strip('"'), os.environ.get(
        "DEBIAN_MIRROR", "http://deb.debian.org/debian")


def inside(package):
    """The packages of the clean system, so that no test asks the mirror for anything."""
    depends = subprocess.run(["dpkg-deb", "--field", package, "Depends"], text=True, check=True,
                             stdout=subprocess.PIPE).stdout
    # USED has one of each set of alternatives.
    return sorted({*USED, *(one.split()[0] for one in depends.split(", ") if "|" not in one)})


def bootstrap(kept, names):
    """Makes a clean system with these packages and packs it, once for all later runs."""
    suite, mirror = release()
    folder = kept.with_suffix(".new")
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(["debootstrap", "--variant=minbase", f"--include={','.join(names)}",
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
def debian(tmp_path_factory, package):
    """The folder of a clean Debian of our own."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip("only root can make a clean system, and with debootstrap")
    names = inside(package)
    content = zlib.crc32(" ".join(names).encode())
    kept = TOP / "build" / f"debian-{release()[0]}-{content:08x}.tar"
    if not kept.exists():
        bootstrap(kept, names)
    folder = tmp_path_factory.mktemp("debian")
    folder.chmod(0o755)
    subprocess.run(["tar", "--extract", f"--file={kept}", f"--directory={folder}"], check=True)
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    yield folder
    assert mounts(folder) == []
    shutil.rmtree(folder)
