"""The measures that keep the code readable, and the calls that it may not make."""
import re

import csource
import pytest
from tree import TOP, listed

C_FILES = ("src/*.c", "src/*.h", "tests/*.c", "tests/*.h", "bench/*.c", "bench/*.h")
LINES_OF_A_FILE = 800
LINES_OF_A_FUNCTION = 60

# Unbounded, not reentrant, or blocking: each has a better way, named here.
POISONED = {
    "strcpy": "snprintf or memcpy", "strcat": "snprintf", "strncpy": "memcpy",
    "strncat": "snprintf", "stpcpy": "memcpy", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "gets": "the os table", "strtok": "span functions", "atoi": "span functions",
    "atol": "span functions", "atoll": "span functions", "sleep": "a deadline",
    "usleep": "a deadline", "nanosleep": "a deadline", "alloca": "the heap",
    "localtime": "the clock of machine/", "gmtime": "gmtime_r", "strerror": "strerror_r",
    "rand": "the random source of machine/", "setjmp": "a fault", "longjmp": "a fault",
}


def named(path):
    return path.relative_to(TOP).as_posix()


def test_no_leftovers_of_tools_are_in_the_tree():
    """Such as the copies that patch makes."""
    assert not listed("*.orig", "*.rej", "*.bak", "*~", "*.swp")


def test_no_file_outgrows_its_picture():
    files = listed("src/*", "tests/*.c", "tests/*.h", "tests/*.py", "bench/*.c", "bench/*.h",
                   "bench/*.py", "tools/*", "dev")
    long = [f"{named(path)}: {lines} lines" for path in files
            if path.is_file() and path.suffix in (".c", ".h", ".py", ".sh", ".S", "")
            and (lines := path.read_bytes().count(b"\n")) > LINES_OF_A_FILE]
    assert not long, "\n".join(long)


def test_no_function_outgrows_its_screen():
    long = [f"{named(path)}:{line}: {lines} lines: {head}"
            for path in listed(*C_FILES)
            for line, head, lines in csource.functions(path.read_text())
            if lines > LINES_OF_A_FUNCTION]
    assert not long, "\n".join(long)


# The functions that may assign the field `state`, by the name that its object has everywhere.
SETTERS = {"client": {"client_become"}, "claim": {"claim_become", "fleet_claim_become"},
           "server": {"server_become", "server_enter_pool"}, "turn": {"turn_become", "turn_init"}}


def test_a_state_is_assigned_only_by_its_setter():
    store = re.compile(rf"\b({'|'.join(SETTERS)})(?:->|\.)state = |"
                       r"(?:->|\.)state = (CLIENT|CLAIM|SERVER|TURN)_")
    wrong = []
    for path in listed("src/*.c", "src/*.h"):
        lines, inside = csource.bare(path.read_text()).splitlines(), ""
        for number, line in enumerate(lines, 1):
            name = re.match(r"\w[\w *]*?(\w+)\(", line)
            inside = name.group(1) if name else inside
            found = store.search(line)
            if found and inside not in SETTERS[(found.group(1) or found.group(2)).lower()]:
                wrong.append(f"{named(path)}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_comments_have_one_form():
    wrong = [f"{named(path)}:{line}: {text[:60]}" for path in listed(*C_FILES)
             for line, text in csource.comments(path.read_text()) if text.startswith("//")]
    assert not wrong, "\n".join(wrong)


def test_the_heading_of_a_section_is_one_line():
    heading = re.compile(r"/\* --- \S.*? -+ \*/")
    wrong = [f"{named(path)}:{number}: {line}" for path in listed(*C_FILES)
             for number, line in enumerate(path.read_text().splitlines(), 1)
             if line.startswith("/* ---") and (len(line) != 100 or not heading.fullmatch(line))]
    assert not wrong, "\n".join(wrong)


def test_every_source_file_opens_in_one_form():
    """By what it is, or by the header that says so: its own, included first."""
    wrong = []
    for path in listed("src/*.c"):
        text = path.read_text()
        own = [path.with_name(path.stem + end) for end in (".h", "_parts.h")]
        if not (re.match(r"/\*(\n \*)? " + re.escape(path.name) + " - ", text)
                or any(header.exists() and
                       text.startswith(f'#include "{header.relative_to(TOP / "src")}"\n')
                       for header in own)):
            wrong.append(named(path))
    assert not wrong, "neither a comment nor the own header:\n" + "\n".join(wrong)


def test_every_header_has_an_opening_comment():
    wrong = [named(path) for path in listed("src/*.h")
             if not re.match(r"#pragma once\n/\*(\n \*)? " + re.escape(path.name) + " - ",
                             path.read_text())]
    assert not wrong, "no opening comment:\n" + "\n".join(wrong)


@pytest.mark.parametrize("call", sorted(POISONED))
def test_a_poisoned_call_is_made_nowhere(call):
    pattern = re.compile(rf"(?<![\w.>]){call}\s*\(")
    wrong = [f"{named(path)}:{number}: {line.strip()}"
             for path in listed("src/*.c", "src/*.h")
             for number, line in enumerate(csource.bare(path.read_text()).splitlines(), 1)
             if pattern.search(line)]
    assert not wrong, f"use {POISONED[call]}:\n" + "\n".join(wrong)


def test_no_mark_of_unfinished_work_is_left():
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    wrong = [f"{named(path)}:{number}: {line.strip()}"
             for path in listed("src", "tests", "bench", "tools")
             if path.suffix in (".c", ".h", ".py", ".sh", ".S", ".def")
             for number, line in enumerate(path.read_text().splitlines(), 1) if marks.search(line)]
    assert not wrong, "\n".join(wrong)


def test_draws_have_an_order():
    """Two draws of one expression come in the order that the compiler likes: another history."""
    draw = re.compile(r"\b\w*(?:chance|chance_\w+|draw\w*|one_in|sim_below|sim_between)(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))")
    apart = re.compile(r"[;{}?:]|&&|\|\||(?<=\))\s+(?=\w)")
    call = r"(?!(?:if|for|while|switch|CHECK)\b)[A-Za-z_]\w*"
    files = listed("tests/*.c", "src/machine/sim/*.c")
    wrong = [f"{named(path)}: {' '.join(piece.split())}" for path in files
             for piece in apart.split(csource.bare(path.read_text()))
             if len(draw.findall(piece)) > 1]
    wrong += [f"{named(path)}: {arguments}" for path in files if draw.search(path.read_text())
              for arguments in csource.calls(path.read_text(), call)
              if sum(1 for argument in arguments if draw.search(argument)) > 1]
    assert not wrong, "give each a variable:\n" + "\n".join(wrong)


def test_each_module_of_tests_has_a_name_of_its_own():
    """pytest imports them by their names, and refuses the second one of a name."""
    names = {}
    for path in listed("tests/*.py"):
        if path.name.startswith("test_"):
            names.setdefault(path.name, []).append(named(path))
    assert not [paths for paths in names.values() if len(paths) > 1]
