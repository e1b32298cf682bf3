"""docs/life-of-a-client.md: what each stage sends and logs is in the sources that it names."""
import re

import pytest
from test_reference import SQLSTATE, events_of, states_told
from tree import TOP

PAGE = TOP / "docs" / "life-of-a-client.md"
EVENT = re.compile(r"`([a-z]+\.[a-z_]+)`")
# Where lines about a client are written: each of their events has a stage.
FOLDERS = ("src/relay", "src/auth")


def stages():
    """{heading: text} of the numbered stages."""
    parts = re.split(r"^## (?=\d)", PAGE.read_text(), flags=re.M)[1:]
    return {part.partition("\n")[0]: part for part in parts}


def table(text, head):
    """The first and second cells of the rows of the table with this head."""
    found = re.search(rf"^\| {head} \| When \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.M)
    return [[cell.strip() for cell in line.strip("|").split(" | ", 1)]
            for line in found.group(1).splitlines()]


def sources(text):
    names = re.findall(r"`(src/[\w/]+\.c)`", re.search(r"^Code: .*$", text, re.M).group())
    return [(TOP / name).read_text() for name in names]


def states_sent(text):
    return {state for sent, _ in table(text, "Sent")
            if re.match("FATAL|ERROR|NOTICE", sent) for state in re.findall(rf"\b{SQLSTATE}\b", sent)}


def events_logged(text):
    return {name for logged, _ in table(text, "Logged") for name in EVENT.findall(logged)}


def states_of_faults(texts):
    """The SQLSTATEs that sources raise: as literals, and by the names of faults."""
    codes = dict(re.findall(r'^FAULT\((\w+),\s+"(\w{5})"', (TOP / "src/base/fault.def").read_text(),
                            re.M))
    code = "\n".join(texts)
    return set(re.findall(rf'"({SQLSTATE})"', code)) | {
        codes[name] for name in re.findall(r"\bFAULT_([A-Z]+)\b", code) if name in codes}


@pytest.mark.parametrize("stage", sorted(stages()))
def test_what_a_stage_logs_is_in_its_sources(stage):
    text = stages()[stage]
    logged = events_logged(text)
    assert logged and logged - set(events_of(sources(text))) == set()


@pytest.mark.parametrize("stage", sorted(stages()))
def test_what_a_stage_sends_is_in_its_sources(stage):
    text = stages()[stage]
    sent = states_sent(text)
    assert sent and sent - states_of_faults(sources(text)) == set()


def test_every_event_about_clients_has_a_stage():
    there = set()
    for folder in FOLDERS:
        there |= set(events_of([path.read_text() for path in (TOP / folder).rglob("*.c")]))
    told = {name for text in stages().values() for name in events_logged(text)}
    assert len(there) > 12 and there - told == set()


def test_every_error_towards_clients_has_a_stage():
    page = (TOP / "docs" / "sqlstates.md").read_text()
    rows = page.split("## Towards clients")[1].split("\n## ")[0]
    wanted = set(re.findall(rf"^\| ({SQLSTATE}) \|", rows, re.M))
    sent = {state for text in stages().values() for state in states_sent(text)}
    assert len(wanted) > 15 and wanted == sent
    assert sent <= states_told()


def test_every_setting_of_a_stage_exists():
    manual = (TOP / "docs" / "configuration.md").read_text()
    for stage, text in stages().items():
        line = re.search(r"^Settings: .*$", text, re.M).group()
        for name in re.findall(r"`([\w.\[\]]+)`", line):
            last = name.split(".")[-1].removesuffix("[]")
            assert re.search(rf"^(?:\| |## )`(?:[\w.\[\]]*\.)?{last}(?:\[\])?`", manual, re.M), \
                f"{stage}: {name}"
