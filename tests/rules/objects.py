"""The global names of object files: one run of nm for all of them, as each run costs as much as the files."""
import functools
import subprocess


@functools.cache
def listed(items):
    """(object, kind, name) of every global name that an object defines, or needs (kind U)."""
    listing = subprocess.run(["nm", "--print-file-name", "-g", *items], text=True, stdout=subprocess.PIPE, check=True)
    objects = {str(item): item for item in items}
    rows = (line.rpartition(":") for line in listing.stdout.splitlines())
    return [(objects[path], *rest.split()[-2:]) for path, _, rest in rows]


def defined(items):
    """(object, name) of every global name that an object defines."""
    return [(item, name) for item, kind, name in listed(tuple(items)) if kind not in "Uvw"]


def needed(items):
    """(object, name) of every global name that an object needs."""
    return [(item, name) for item, kind, name in listed(tuple(items)) if kind in "Uvw"]
