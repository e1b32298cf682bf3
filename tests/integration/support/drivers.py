"""Programs that use a driver as applications do, from tests/integration/drivers."""
import fcntl
import hashlib
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

from .patience import PATIENCE, STRETCH  # noqa: F401
from .trunkline import TOP

SOURCES = TOP / "tests" / "integration" / "drivers"
BUILT = TOP / "build" / "drivers"
JDBC = "/usr/share/java/postgresql.jar"
LARGE = 2_000_000 if os.environ.get("TRUNKLINE_KIND") in ("asan", "tsan") else 20_000_000


@contextmanager
def locked():
    """Tests in parallel build a program once, not twice."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(BUILT / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def once(name, command, **options):
    """Runs a build in build/drivers/NAME unless its sources are what they were then."""
    folder = BUILT / name
    sources = sorted(path for path in (SOURCES / name).iterdir() if path.is_file())
    print_of = hashlib.sha256(repr(command).encode())
    for path in sources:
        print_of.update(path.name.encode() + path.read_bytes())
    stamp = folder / "built-from"
    with locked():
        if stamp.exists() and stamp.read_text() == print_of.hexdigest():
            return folder
        folder.mkdir(exist_ok=True)
        for path in sources:
            (folder / path.name).write_bytes(path.read_bytes())
        done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **options)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}"
        stamp.write_text(print_of.hexdigest())
    return folder


def libpq(way):
    folder = once("libpq", ["cc", "-O1", "-Wall", "-Werror", "-I/usr/include/postgresql", "main.c",
                            "-o", "main", "-lpq", "-pthread"])
    return [folder / "main", way]


def java():
    folder = once("jdbc", ["javac", "-cp", JDBC, "Main.java"])
    return ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{folder}:{JDBC}", "Main"]


def go(driver):
    """Against the sources that Debian's packages bring, without a module or a network."""
    values = dict(os.environ, GOPATH="/usr/share/gocode", GO111MODULE="off", GOFLAGS="",
                  CGO_ENABLED="0", GOCACHE=str(BUILT / "go-cache"))
    folder = once("go", ["go", "build", "-o", "main", "main.go"], env=values)
    return [folder / "main", driver]


def node(name):
    """./dev puts what the program's package-lock.json pins into build/drivers."""
    modules = BUILT / name / "node_modules"
    assert modules.is_dir(), f"{modules} is not there: ./dev test installs it"
    return ["env", f"NODE_PATH={modules}", "node", SOURCES / name / "main.js"]


def script(interpreter, file):
    return lambda: [interpreter, SOURCES / file]


COMMANDS = {
    "libpq blocking": lambda: libpq("blocking"),
    "libpq async": lambda: libpq("async"),
    "libpq pipeline": lambda: libpq("pipeline"),
    "psycopg2": script("/usr/bin/python3", "psycopg2/main.py"),
    "psycopg3": script("/usr/bin/python3", "psycopg3/main.py"),
    "asyncpg": script("/usr/bin/python3", "asyncpg/main.py"),
    "odbc": script("/usr/bin/python3", "odbc/main.py"),
    "node-postgres": lambda: node("node-postgres"),
    "porsager": lambda: node("porsager"),
    "jdbc": java,
    "go pgx": lambda: go("pgx"),
    "go lib/pq": lambda: go("postgres"),
    "perl-dbd": script("perl", "perl-dbd/main.pl"),
    "ruby": script("ruby", "ruby/main.rb"),
    "php": script("php", "php/main.php"),
}


def environment(endpoint, authority=None):
    """What every program reads; DRIVER_CA is for drivers that don't know libpq's variables."""
    values = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    values.update(PGHOST=endpoint.host, PGPORT=str(endpoint.port), PGUSER=endpoint.user, PGPASSWORD=endpoint.password,
                  PGDATABASE=endpoint.database, DRIVER_LARGE=str(LARGE), TZ="UTC", LC_ALL="C.UTF-8",
                  PGAPPNAME="drivers")
    if authority:
        values.update(PGSSLMODE="verify-full", PGSSLROOTCERT=str(authority.cert),
                      DRIVER_CA=str(authority.cert))
    return values


def begin(name, endpoint, *arguments, authority=None, settings=None):
    """A running program, with pipes to and from it; what it complains of is for people only."""
    return subprocess.Popen([str(word) for word in [*COMMANDS[name](), *arguments]],
                            env=dict(environment(endpoint, authority), **(settings or {})), text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(program, *words, timeout=4 * PATIENCE):
    """Everything that a program still says; it must end well."""
    try:
        said, told = program.communicate("".join(f"{word}\n" for word in words), timeout)
    except subprocess.TimeoutExpired:
        program.kill()
        said, told = program.communicate()
        raise AssertionError(f"not ready in {timeout} s; it said\n{said}{told}")
    assert program.returncode == 0 and "FAILED" not in said, said + told
    return said


def run(name, endpoint, **options):
    return finish(begin(name, endpoint, **options))
