"""Pages for man: the generated one is up to date, both name all there is and are well formed."""
import re
import subprocess

import pytest
from tree import TOP

FOLDER = TOP / "docs" / "man"


def plain(name):
    """The text of a page without what roff adds to it."""
    text = (FOLDER / name).read_text().replace("\\-", "-").replace("\\(aq", "'")
    return re.sub(r"\\f[BIR]", "", text)


def test_the_page_of_the_configuration_is_made_from_the_table(trunkline):
    made = subprocess.run([trunkline, "docs", "trunkline.5"], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    assert made == (FOLDER / "trunkline.5").read_text(), "run ./dev docs"


def test_the_page_of_the_configuration_has_every_setting():
    manual = (TOP / "docs" / "configuration.md").read_text()
    names = re.findall(r"^\| `(\w+)` \|", manual, re.M)
    found = re.findall(r"^\.B (\w+)$", plain("trunkline.5"), re.M)
    assert len(names) > 100 and [name for name in names if name not in found] == []


def test_the_page_of_the_program_has_every_command_and_option(trunkline_usage):
    page = plain("trunkline.1")
    for name, usage in trunkline_usage.items():
        if name == "docs":
            continue
        assert re.search(rf"^\.B trunkline {name}$", page, re.M), name
        for option in re.findall(r"\[(--[a-z-]+)", usage):
            assert option in page, f"{name} {option}"


def test_the_page_of_the_program_has_no_command_that_there_is_not(trunkline_usage):
    shown = set(re.findall(r"^\.B trunkline ([\w-]+)$", plain("trunkline.1"), re.M))
    assert shown and shown <= set(trunkline_usage)


@pytest.mark.parametrize("name", ["trunkline.1", "trunkline.5"])
def test_a_page_is_well_formed(name):
    done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", FOLDER / name], text=True,
                          capture_output=True)
    assert done.stdout == "" and done.returncode == 0


def test_every_page_is_installed():
    build = (TOP / "meson.build").read_text()
    assert all(f"'docs/man/{page.name}'" in build for page in FOLDER.iterdir())
