"""Files of one folder that call each other in a cycle: only those that a page names, with the reason."""
import re

import objects
from tree import TOP, listed

# "* Cycle of `pool/claim.c`, `pool/server.c`: why."  A folder stands for files that it holds.
CYCLE = re.compile(r"^\* Cycle of ((?:`[\w/.]+`,?\s+)*`[\w/.]+`): \S", re.M)


def calls(library):
    """Which source calls a function, or reads a variable, of which others of its folder."""
    paths = {path.relative_to(TOP / "src").as_posix() for path in listed("src/*.c")}
    source = {name.replace("/", "_") + ".o": name for name in paths}
    owner = {name: source[item.name] for item, name in objects.defined(library) if item.name in source}
    wanted = {}
    for item, name in objects.needed(library):
        if item.name in source:
            wanted.setdefault(source[item.name], set()).add(name)
    assert len(owner) > 500
    return {name: {owner[what] for what in whats if what in owner
                   and owner[what].split("/")[0] == name.split("/")[0]} - {name}
            for name, whats in wanted.items()}


def reached(graph, name):
    done, todo = set(), [name]
    while todo:
        more = graph.get(todo.pop(), set()) - done
        done |= more
        todo += more
    return done


def cycles(graph):
    reach = {name: reached(graph, name) for name in graph}
    return {frozenset(other for other in reach[name] if name in reach.get(other, set()))
            for name in graph if name in reach[name]}


def named():
    """The cycles that pages name: each a list of files and folders."""
    return [re.findall(r"`([^`]+)`", match.group(1))
            for page in listed("docs/internals/*.md")
            for match in CYCLE.finditer(page.read_text())]


def stands_for(entry, name):
    return entry == name or (entry.endswith("/") and name.rpartition("/")[0] + "/" == entry)


def test_a_cycle_of_files_is_named_by_a_page(library):
    pages = named()
    wrong = [sorted(cycle) for cycle in cycles(calls(library))
             if not any(all(any(stands_for(entry, name) for entry in page) for name in cycle)
                        for page in pages)]
    assert not wrong, f"files that call each other, and no page of docs/internals says why: {wrong}"


def test_a_named_cycle_is_still_one(library):
    found = cycles(calls(library))
    stale = [page for page in named()
             if not any(all(any(stands_for(entry, name) for name in cycle) for entry in page)
                        for cycle in found)]
    assert not stale, f"these do not call each other in a cycle any more: {stale}"
