"""What the rules look at besides the sources: the objects and the programs of one build."""
import os
import re
import subprocess
from pathlib import Path

import pytest
from tree import TOP

BUILD = Path(os.environ.get("TRUNKLINE_BUILD", TOP / "build" / "debug"))


@pytest.fixture(scope="session")
def library():
    """The static library of the floors: one object per source, named FOLDER_FILE.c.o."""
    found = sorted(BUILD.glob("src/libtrunkline.a.p/*.o"))
    assert found, f"nothing built in {BUILD}: ./dev build debug first"
    return found


@pytest.fixture(scope="session")
def trunkline():
    """The program."""
    program = BUILD / "trunkline"
    assert program.exists(), f"nothing built in {BUILD}: ./dev build debug first"
    return program


@pytest.fixture(scope="session")
def player():
    """The one of the simulation's seeds."""
    program = BUILD / "tests" / "sim" / "sim"
    assert program.exists(), f"nothing built in {BUILD}: ./dev build debug first"
    return program


@pytest.fixture(scope="session")
def trunkline_usage(trunkline):
    """The commands of the program, each with what its help says."""
    def told(*words):
        return subprocess.run([trunkline, *words], text=True, stdout=subprocess.PIPE,
                              check=True).stdout
    names = re.findall(r"^  trunkline ([a-z-]+)", told("--help"), re.M)
    return {name: told(name, "--help") for name in [*names, "docs"]}
