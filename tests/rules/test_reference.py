"""The pages for operators have every event, SQLSTATE and number that the code has, and no other."""
import re

from csource import calls, literals
from pages import console_views
from tree import TOP, listed

DOCS = TOP / "docs"
LEVELS = {"LOG_ERR": "error", "LOG_WARNING": "warning", "LOG_NOTICE": "notice",
          "LOG_INFO": "info", "LOG_DEBUG": "debug"}
NAME = r'"([a-z_]+(?:\.[a-z_]+)*)"'
SQLSTATE = r"(?=[0-9A-Z]*[0-9])[0-9A-Z]{5}"


def sources():
    return [path.read_text() for path in listed("src/*.c", "src/*.h", "src/*.def")]


def cells(page, heading=None):
    """The rows of a page's tables, as lists of cells; of one part of it if it is named."""
    text = (DOCS / page).read_text()
    if heading is not None:
        text = re.split(rf"^## {re.escape(heading)}$", text, flags=re.M)[1]
        text = re.split(r"^## ", text, flags=re.M)[0]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def difference(said, there):
    """What a page says and what there is, where they differ; empty when they don't."""
    return {"only on the page": sorted(said - there), "only in the code": sorted(there - said)}


SAME = {"only on the page": [], "only in the code": []}


# --- events --------------------------------------------------------------------------------------

def lines_of(texts):
    """Every call that writes an event: the names that it may have, its keys, its levels as far as
    they stand there."""
    for text in texts:
        for arguments in [*calls(text, "log_event"), *calls(text, "log_say")]:
            if len(arguments) < 3 or not re.search(NAME, arguments[1]):
                continue
            # A pair under a condition may be written in two forms.
            keys = [key for pair in arguments[2:]
                    for key in dict.fromkeys(re.findall(r'\blog_[a-z_]+\("(\w+)"', pair))]
            yield (re.findall(NAME, arguments[1]), keys,
                   {LEVELS.get(word) for word in re.findall(r"LOG_\w+", arguments[0])})


def events_of(texts):
    """Every event that these sources write, with its keys and levels."""
    found = {}
    for names, line, said in lines_of(texts):
        for name in names:
            keys, levels = found.setdefault(name, (set(), set()))
            keys |= set(line)
            levels |= said
    return found


def events_told():
    return {row[0].strip("`"): (set(re.findall(r"`(\w+)`", row[2])), f"{row[1]} {row[3]} {row[4]}")
            for row in cells("log-events.md") if len(row) == 5 and row[0].startswith("`")}


def test_every_event_of_the_log_is_explained_with_its_keys():
    there, told = events_of(sources()), events_told()
    assert len(there) > 40
    assert difference(set(told), set(there)) == SAME
    wrong = {name: difference(told[name][0], keys) for name, (keys, _) in there.items()
             if told[name][0] != keys}
    assert not wrong
    wrong = {name: levels for name, (_, levels) in there.items()
             if not all(re.search(rf"\b{level}\b", told[name][1]) for level in levels)}
    assert not wrong


def test_no_line_of_the_log_has_a_key_twice():
    """Nor does a key repeat one of the head of a line in JSON or logfmt."""
    head = ["ts", "level", "pid", "event"]
    wrong = {name: keys for names, keys, _ in lines_of(sources()) for name in names
             if len(head + keys) > len(set(head + keys))}
    assert not wrong


def test_every_event_that_another_page_names_exists():
    there = events_of(sources())
    families = {name.split(".")[0] for name in there if "." in name}
    wrong = [f"{path.name}: {name}" for path in listed("*.md")
             for name in re.findall(r"`([a-z]+\.[a-z_]+)`", path.read_text())
             if name.split(".")[0] in families and name not in there
             and not re.search(rf"\b{name.split('.')[1]}\b", configuration())
             and not name.endswith((".c", ".h", ".md", ".py", ".sql"))]
    assert not wrong


def configuration():
    return (DOCS / "configuration.md").read_text()


def test_an_event_is_found_however_it_is_written():
    text = ('log_event(LOG_INFO,\n  "a.b", log_number("x", (f(1, 2))),\n log_text("y", "q"),'
            ' on ? log_quote("z", b) : log_nothing());'
            'log_event(LOG_INFO, on ? "c.on" : "c.off", on ? log_text("k", a) : log_number("k", 1));'
            '/* log_event(1, "no.o", log_text("n", a)) */')
    assert events_of([text]) == {"a.b": ({"x", "y", "z"}, {"info"}), "c.on": ({"k"}, {"info"}),
                                 "c.off": ({"k"}, {"info"})}


# --- SQLSTATEs -----------------------------------------------------------------------------------

def states_of(texts):
    """Every literal that is a SQLSTATE; all of them have a digit, and presets are none."""
    return {state for text in texts for line in text.splitlines() if ".preset" not in line
            for state in re.findall(rf'"({SQLSTATE})"', line)}


def states_told():
    return {state for row in cells("sqlstates.md")
            for state in re.findall(rf"\b{SQLSTATE}\b", row[0])}


def test_every_sqlstate_is_explained():
    told = states_told()
    there = states_of(sources())
    assert len(there) > 25 and difference(told, there) == SAME


def test_every_text_of_an_error_that_is_explained_exists():
    said = re.sub(r'\\"', '"', literals("\n".join(sources()), apart="\0"))
    wrong = []
    for row in cells("sqlstates.md"):
        for text in re.findall(r"`([^`]+)`", row[2 if len(row) == 5 else 1]):
            pieces = [re.escape(piece) for piece in text.split("...")]
            if not re.search(r"[^\0]{0,40}".join(pieces), said):
                wrong.append(text)
    assert not wrong


def test_every_sqlstate_that_another_page_names_is_explained():
    told = states_told()
    told |= {"42P18", "42501", "42704", "25001", "55P02"}
    wrong = [f"{path.name}: {state}" for path in listed("docs/*.md")
             for state in re.findall(r"\b(?:[0-9]{2}P[0-9]{2}|5[3478]\d\d\d|28\d\d\d|0A000)\b",
                                     path.read_text())
             if state not in told]
    assert not wrong


# --- numbers -------------------------------------------------------------------------------------

def numbers_told(heading):
    return {name for row in cells("metrics.md", heading) for name in re.findall(r"`(\w+)`", row[0])}


def test_every_number_of_the_console_is_explained():
    views = console_views((DOCS / "console.md").read_text())
    for view in ("STATS", "POOLS", "RELAYS", "BACKENDS", "PIN_TOTALS", "READS", "CACHE_RULES",
                 "STATEMENTS", "FIREWALL", "FEED"):
        assert difference(numbers_told(f"SHOW {view}"), views[view]) == SAME, view


def test_every_number_of_the_log_is_explained():
    keys, _ = events_of(sources())["route.statistics"]
    assert len(keys) > 20 and difference(numbers_told("The log's statistics"), keys) == SAME


def test_every_number_to_watch_is_one_of_its_view():
    views = console_views((DOCS / "console.md").read_text())
    for row in cells("metrics.md", "What to watch"):
        view = re.search(r"`SHOW (\w+)`", row[0])
        named = set(re.findall(r"`(\w+)`", row[0]))
        if view and view.group(1) != "LISTS":
            assert named <= views[view.group(1)], row[0]
