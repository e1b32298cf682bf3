"""The planted mistakes of the simulation: each still applies, says what it is, and is in the table."""
import re
import subprocess
import sys

import pytest
from tree import TOP, listed

sys.path.insert(0, str(TOP / "tools"))
import sim_faults  # noqa: E402

LEAST = 20
PATCHES = listed("tests/sim/faults/*.patch")


def test_there_are_enough_planted_mistakes():
    assert len(PATCHES) >= LEAST


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_mistake_applies_to_the_tree(patch):
    done = subprocess.run(["git", "apply", "--check", *sim_faults.APPLY, patch], cwd=TOP, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"plant it again where its lines are now:\n{done.stdout}"


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_mistake_has_its_fields_and_changes_only_the_program(patch):
    fault = sim_faults.read_fault(patch)
    assert set(fault.says) - set(sim_faults.MORE) == set(sim_faults.HEADER)
    assert all((TOP / f"tests/unit/{name}_test.c").is_file() for name in fault.tests)
    assert fault.build in sim_faults.BUILDS
    assert all(fault.says.values())
    changed = re.findall(r"^\+\+\+ b/(\S+)$", patch.read_text(), re.M)
    assert changed and all(name.startswith("src/") for name in changed)


def test_the_table_has_every_planted_mistake():
    told = re.findall(r"^\| `([\w-]+)`: ", sim_faults.PAGE.read_text(), re.M)
    assert sorted(told) == sorted(patch.stem for patch in PATCHES)
