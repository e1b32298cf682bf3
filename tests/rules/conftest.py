"""What every rule looks at: the files of the tree, and the objects of one build."""
import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]


def listed(*patterns):
    """The files that are in the tree or about to be (not ignored), by pattern of git."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *patterns],
                           cwd=TOP, text=True, stdout=subprocess.PIPE, check=True).stdout
    return [TOP / name for name in names.splitlines() if (TOP / name).exists()]


@pytest.fixture(scope="session")
def library():
    """The static library of the floors: one object per source, named FOLDER_FILE.c.o."""
    build = Path(os.environ.get("TRUNKLINE_BUILD", TOP / "build" / "debug"))
    found = sorted(build.glob("src/libtrunkline.a.p/*.o"))
    assert found, f"nothing built in {build}: ./dev build first"
    return found
