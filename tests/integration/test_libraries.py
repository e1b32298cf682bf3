"""The installed libraries: headers that stand alone, and the examples built by pkg-config only."""
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from support.patience import PATIENCE, eventually
from support.processes import Program
from support.trunkline import TOP

BUILD = Path(os.environ.get("TRUNKLINE_BUILD", TOP / "build" / "debug"))
KIND = os.environ.get("TRUNKLINE_KIND", "")
# Where the libraries were built with sanitizers, the examples are linked with them.
COMPILER = {
    "asan": ["gcc", "-fsanitize=address,undefined"], "tsan": ["clang", "-fsanitize=thread"],
    "coverage": ["gcc", "--coverage"],
}.get(KIND, ["gcc"])
STRICT = ["-std=gnu17", "-g", "-Wall", "-Wextra", "-Werror"]
EXAMPLES = TOP / "examples" / "libraries"

# One worker installs for all tests of this file.
pytestmark = pytest.mark.xdist_group("libraries")


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert done.returncode == 0, f"{words}: {done.stdout}"
    return done.stdout


class Prefix:
    """A folder into which the libraries were installed."""

    def __init__(self, folder):
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--tags", "devel", "--destdir", folder)
        self.folder = next(folder.glob("**/include")).parent
        self.files = next(folder.glob("**/pkgconfig"))

    def flags(self, *words):
        """What pkg-config says; the files are not where they were configured to be."""
        return run("pkg-config", f"--define-variable=prefix={self.folder}", *words,
                   env=dict(os.environ, PKG_CONFIG_PATH=str(self.files))).split()

    def build(self, source, library, program):
        run(*COMPILER, *STRICT, source, *self.flags("--cflags", "--libs", library), "-o", program)
        return program


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return Prefix(tmp_path_factory.mktemp("prefix"))


@pytest.mark.parametrize("library", ["base", "machine", "wire", "fleet"])
def test_each_header_compiles_alone(prefix, library, tmp_path):
    headers = sorted((prefix.folder / "include/trunkline" / library).rglob("*.h"))
    assert len(headers) > 3
    flags = prefix.flags("--cflags", f"trunkline-{library}")
    for header in headers:
        name = header.relative_to(prefix.folder / "include/trunkline")
        source = tmp_path / "header.c"
        # Twice: it may be included again.
        source.write_text(f'#include "{name}"\n#include "{name}"\nint main(void);\n')
        run(*COMPILER, *STRICT, *flags, "-fsyntax-only", source)


def test_private_headers_are_not_installed_and_all_others_are(prefix):
    installed = {path.relative_to(prefix.folder / "include/trunkline").as_posix()
                 for path in prefix.folder.rglob("*.h")}
    wrong = []
    for folder in ("base", "machine", "wire", "fleet"):
        for path in (TOP / "src" / folder).rglob("*.h"):
            name = path.relative_to(TOP / "src").as_posix()
            opening = path.read_text().partition("*/")[0]
            private = re.search(r"private to|shared by net\.c|for src/fleet only", opening, re.I)
            if (name in installed) == bool(private):
                wrong.append(name)
    assert wrong == []


def test_a_library_has_no_symbols_of_the_pooler(prefix):
    """What an archive needs, it or an archive that it requires has, or a library of the system."""
    def names(library, *options):
        archive = next(prefix.folder.rglob(f"libtrunkline-{library}.a"))
        lines = run("nm", *options, archive).splitlines()
        return {line.split()[-1] for line in lines if line and not line.endswith(":")}
    lines = run("nm", "--print-file-name", "-g", "--defined-only", *BUILD.glob("src/libtrunkline.a.p/*.o"))
    rows = (line.rpartition(":") for line in lines.splitlines())
    owner = {rest.split()[-1]: Path(path).name.partition("_")[0] for path, _, rest in rows}
    assert len(owner) > 500
    for library in ("base", "machine", "wire", "fleet"):
        below = (library, "base", "machine") if library == "fleet" else (library, "base")
        foreign = {name: owner[name] for name in names(library, "-u")
                   if owner.get(name, library) not in below}
        assert foreign == {}
        assert len(names(library, "-g", "--defined-only")) > 10


def test_the_echo_server(prefix, tmp_path):
    program = prefix.build(EXAMPLES / "echo.c", "trunkline-machine", tmp_path / "echo")
    server = Program([program, "0"], tmp_path / "echo.log")

    def port():
        server.must_run()
        found = re.search(r"listening on port (\d+)\n", server.text())
        return found and int(found.group(1))

    at = ("127.0.0.1", eventually(port))
    with socket.create_connection(at, PATIENCE) as idle:
        many = [socket.create_connection(at, PATIENCE) for _ in range(50)]
        for number, client in enumerate(many):
            client.sendall(b"%d" % number * 500)
        for number, client in enumerate(many):
            with client:
                client.shutdown(socket.SHUT_WR)
                assert client.makefile("rb").read() == b"%d" % number * 500
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0, server.text()
        assert idle.recv(1) == b""
    assert server.text().count("\n") == 1, server.text()


def start_echo(program, folder, number):
    """A server of echo.c, and its port."""
    server = Program([program, "0"], folder / f"echo{number}.log")
    found = eventually(lambda: re.search(r"listening on port (\d+)\n", server.text()))
    return server, found.group(1)


def test_a_pool_of_the_fleet_uses_the_servers_that_live(prefix, tmp_path):
    echo = prefix.build(EXAMPLES / "echo.c", "trunkline-machine", tmp_path / "echo")
    fleet = prefix.build(EXAMPLES / "fleet.c", "trunkline-fleet", tmp_path / "fleet")
    servers, ports = zip(*(start_echo(echo, tmp_path, number) for number in range(3)))

    def claims():
        lines = run(fleet, "60", *ports).splitlines()
        return [int(line.split()[1]) for line in lines]

    everywhere = claims()
    assert sum(everywhere) == 60 and sum(count > 0 for count in everywhere) >= 2
    servers[0].send_signal(signal.SIGTERM)
    assert servers[0].wait() == 0
    assert claims()[0] == 0 and sum(claims()) == 60
    for server in servers[1:]:
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0


@pytest.fixture(scope="module")
def query(prefix, tmp_path_factory):
    return prefix.build(EXAMPLES / "query.c", "trunkline-wire",
                        tmp_path_factory.mktemp("query") / "query")


def ask(query, postgres, user, password, text):
    return subprocess.run([query, "127.0.0.1", str(postgres.port), user, "app", text], text=True,
                          env=dict(os.environ, PGPASSWORD=password), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)


@pytest.mark.parametrize("user, said", [
    ("app", "query: the server has proven that it knows the password\n"),
    ("hashed", "query: connected\n"), ("trusted", "query: connected\n")])
def test_the_query(query, postgres, user, said):
    done = ask(query, postgres, user, user,
               "select current_user, null, n from generate_series(1, 3) n; select repeat('x', 100000)")
    rows = "".join(f"{user}\tNULL\t{n}\n" for n in (1, 2, 3))
    assert (done.returncode, done.stdout, done.stderr) == (0, rows + "x" * 100000 + "\n", said)


def test_errors_of_the_query(query, postgres):
    done = ask(query, postgres, "app", "app", "select 1/0")
    assert done.returncode == 1 and "ERROR 22012: division by zero" in done.stderr
    done = ask(query, postgres, "app", "wrong", "select 1")
    assert done.returncode == 1 and "FATAL 28P01: password" in done.stderr and not done.stdout
