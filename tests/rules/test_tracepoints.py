"""The static probes of the program and of the fleet library are those of docs/tracing.md."""
import re
import subprocess

from tree import TOP, listed

PAGE = TOP / "docs" / "tracing.md"
ROW = re.compile(r"^\| `([a-z]+(?:__[a-z]+)+)` \| ((?:`\w+`(?:, )?)+) \|", re.M)
NOTE = re.compile(r"Provider: (\w+)\s+Name: (\w+)\s+Location: \S+, Base: \S+, Semaphore: (\S+)"
                  r"\s+Arguments:([^\n]*)")
CALL = re.compile(r"\bPROBE([1-5])\((\w+),")

# Names of qorb's probes: scripts for them need few changes.
QORB = """
    claim-start claim-done claim-acquire-failed claim-failed connect-start connect-done
    connect-failed pool-claim-start pool-claim-done pool-claim-failed slot-set-claim-start
    slot-set-claim-done slot-set-claim-failed slot-set-online slot-set-offline slot-state-change
    handle-claimed handle-returned health-check-start health-check-done health-check-failed
    recycle-start recycle-done recycle-failed rebalance-start rebalance-done
""".split()
NO_COUNTERPART = {"slot-set-claim-start", "slot-set-claim-failed"}


def told():
    """{name: number of arguments} of the page's tables."""
    return {name: len(re.findall(r"`\w+`", words)) for name, words in ROW.findall(PAGE.read_text())}


def notes(path):
    """(name, number of arguments, semaphore) of every probe of a program or an object."""
    text = subprocess.run(["readelf", "-nW", path], text=True, stdout=subprocess.PIPE,
                          check=True).stdout
    for provider, name, semaphore, arguments in NOTE.findall(text):
        if provider == "trunkline":
            yield name, len(arguments.split()), int(semaphore, 16)


def test_every_probe_of_the_program_is_on_the_page(trunkline):
    found, page = list(notes(trunkline)), told()
    assert len({name for name, _, _ in found}) > 25
    wrong = [f"{name}: {count} arguments" for name, count, _ in found if page.get(name) != count]
    assert not wrong
    assert all(semaphore == 0 for _, _, semaphore in found)


def test_every_probe_on_the_page_is_one_of_the_objects(library):
    there = {}
    for item in library:
        for name, count, _ in notes(item):
            there.setdefault(name, set()).add(count)
    assert {name: {count} for name, count in told().items()} == there


def test_every_probe_in_the_sources_is_on_the_page():
    """So also where the program was built without sys/sdt.h."""
    calls = {(name, int(count)) for path in listed("src/*.c")
             for count, name in CALL.findall(path.read_text())}
    assert calls == set(told().items())


def test_the_names_of_qorb_are_kept():
    names = {name.replace("-", "__") for name in QORB if name not in NO_COUNTERPART}
    assert len(QORB) == 26 and names <= set(told())


def test_every_probe_in_an_example_exists():
    used = re.findall(r"trunkline:(\w+__\w+)", PAGE.read_text())
    assert len(used) > 8 and set(used) <= set(told())
