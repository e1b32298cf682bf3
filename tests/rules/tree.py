"""The files of the tree, for every rule."""
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def listed(*patterns):
    """The files that are in the tree or about to be (not ignored), by pattern of git."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *patterns],
                           cwd=TOP, text=True, stdout=subprocess.PIPE, check=True).stdout
    return [TOP / name for name in names.splitlines() if (TOP / name).exists()]
