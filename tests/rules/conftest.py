"""What the rules look at besides the sources: the objects of one build."""
import os
from pathlib import Path

import pytest
from tree import TOP


@pytest.fixture(scope="session")
def library():
    """The static library of the floors: one object per source, named FOLDER_FILE.c.o."""
    build = Path(os.environ.get("TRUNKLINE_BUILD", TOP / "build" / "debug"))
    found = sorted(build.glob("src/libtrunkline.a.p/*.o"))
    assert found, f"nothing built in {build}: ./dev build first"
    return found
