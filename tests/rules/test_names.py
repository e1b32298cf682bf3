"""Every global name carries the prefix of its module, and collides with no library's."""
import subprocess
from pathlib import Path

import objects
from tree import TOP


def prefixes():
    """folder -> prefixes, from src/PREFIXES."""
    rules = {}
    for line in (TOP / "src" / "PREFIXES").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            folder, names = line.split(":")
            rules.setdefault(folder.strip(), set()).update(names.split())
    return rules


def defined(item, *options):
    """The global names that an archive, or with -D a shared library, defines."""
    listing = subprocess.run(["nm", "--defined-only", "-g", *options, item], text=True,
                             stdout=subprocess.PIPE, check=True).stdout
    rows = (line.split() for line in listing.splitlines())
    return {row[-1].split("@")[0] for row in rows if len(row) >= 3}


def own(library):
    """(folder, object, name) of every global name of ours; what sanitizers and probes add is not."""
    for item, name in objects.defined(library):
        if not name.startswith(("__", "_.stapsdt.")):
            yield item.name.partition("_")[0], item.name, name


def libraries():
    """The shared libraries that the program is linked with, and those it will meet."""
    words = ["libc.so.6", "libm.so.6", "libssl.so.3", "libcrypto.so.3", "libyaml-0.so.2",
             "libcares.so.2", "libxxhash.so.0", "libhiredis.so.0.14", "liblz4.so.1",
             "libresolv.so.2"]
    cache = subprocess.run(["/sbin/ldconfig", "-p"], text=True, stdout=subprocess.PIPE,
                           check=True).stdout
    found = {line.split()[0]: Path(line.split()[-1]) for line in cache.splitlines() if "=>" in line}
    return [found[word] for word in words if word in found]


def known(name, entry):
    """An entry that ends in an underscore is a prefix, any other is a whole name."""
    return name.startswith(entry) if entry.endswith("_") else name == entry


def test_every_global_name_has_a_registered_prefix_of_its_folder(library):
    rules = prefixes()
    wrong = [f"{item}: {name}" for folder, item, name in own(library)
             if not any(known(name, prefix) for prefix in rules.get(folder, ()))]
    assert not wrong, "not in src/PREFIXES:\n" + "\n".join(wrong)


def test_no_two_folders_share_a_prefix():
    seen = {}
    for folder, names in prefixes().items():
        for name in names:
            assert seen.setdefault(name, folder) == folder, f"{name} is of {seen[name]} and {folder}"


def test_no_global_name_collides_with_a_library(library):
    ours = {name for _, _, name in own(library)}
    known = libraries()
    assert len(known) >= 5
    for path in known:
        assert not ours & defined(path, "-D"), f"{path.name} has these too"


def test_no_global_name_is_one_of_the_static_library_of_postgresqls_grammar(library):
    """The linker would take ours in the place of PostgreSQL's, without a word."""
    archive = next(Path("/usr/lib").glob("*/libpg_query.a"))
    theirs = defined(archive)
    assert {"list_free", "hash_search", "pg_query_parse"} <= theirs
    both = {name for _, _, name in own(library)} & theirs
    assert not both


def test_the_program_exports_no_name_of_postgresqls_grammar(trunkline):
    """Else a name of another library of the process could be taken for one of these."""
    archive = next(Path("/usr/lib").glob("*/libpg_query.a"))
    both = defined(trunkline, "-D") & defined(archive)
    assert not both
