"""Documents that can be trusted: links, files, commands and examples lead somewhere."""
import re
import subprocess
from fnmatch import fnmatch

import pytest
from examples import unknown_keys, wrong_examples
from pages import (broken_links, spans, unknown_files, unknown_names, unnamed_blocks,
                   wrong_commands, wrong_console)
from tree import TOP, listed


def documents():
    return [(path, path.read_text()) for path in listed("*.md")]


def all_of(check, *arguments):
    return [wrong for path, text in documents() for wrong in check(path, text, *arguments)]


def settings():
    manual = (TOP / "docs" / "configuration.md").read_text()
    return set(re.findall(r"^\| `(\w+)` \|", manual, re.M))


def test_every_link_of_a_document_leads_somewhere():
    wrong = all_of(broken_links)
    assert not wrong, "\n".join(wrong)


def test_every_file_that_a_document_names_exists():
    names = {path.name for path in listed(".")}
    wrong = all_of(unknown_files, names)
    assert not wrong, "\n".join(wrong)


def test_every_name_in_a_page_about_the_internals_is_one_of_the_code():
    code = "\n".join(path.read_text() for path in listed("src/*", "tests/*.c", "tests/*.h", "tests/*.py"))
    known = set(re.findall(r"\w+", code)) | {"SSL_set_session", "PGBOUNCER_7"}
    wrong = [what for path in listed("docs/internals/*.md")
             for what in unknown_names(path, path.read_text(), known)]
    assert not wrong, "\n".join(wrong)


def test_every_block_of_a_document_names_its_language():
    wrong = [what for path, text in documents() if TOP / "bench" not in path.parents
             for what in unnamed_blocks(path, text)]
    assert not wrong, "\n".join(wrong)


def test_every_command_that_a_document_shows_exists(trunkline_usage):
    usage = subprocess.run([TOP / "dev", "help"], text=True, stdout=subprocess.PIPE,
                           check=True).stdout
    known = set(re.findall(r"^\./dev (\w+)", usage, re.M))
    wrong = all_of(wrong_commands, known, trunkline_usage)
    assert known and not wrong, "\n".join(wrong)


def test_every_command_of_dev_in_running_text_exists():
    usage = subprocess.run([TOP / "dev", "help"], text=True, stdout=subprocess.PIPE,
                           check=True).stdout
    known = set(re.findall(r"^\./dev (\w+)", usage, re.M))
    wrong = [f"{path.name}: {word}" for path, text in documents()
             for word in re.findall(r"\./dev (\w+)", text) if word not in known]
    assert not wrong, "\n".join(wrong)


def test_every_command_of_the_console_that_a_document_shows_is_known():
    manual = (TOP / "docs" / "console.md").read_text()
    wrong = all_of(wrong_console, manual, settings())
    assert not wrong, "\n".join(wrong)


def test_every_configuration_that_a_document_shows_can_be_run(trunkline, tmp_path):
    wrong = all_of(wrong_examples, trunkline, tmp_path)
    assert not wrong, "\n".join(wrong)


def test_every_setting_in_a_fragment_of_a_configuration_exists():
    wrong = all_of(unknown_keys, settings() | {"env", "file", "command"})
    assert not wrong, "\n".join(wrong)


def test_dev_refuses_a_command_that_it_does_not_have():
    done = subprocess.run([TOP / "dev", "nosuch"], text=True, capture_output=True)
    assert done.returncode != 0 and "no such command: nosuch" in done.stderr


def test_no_file_knows_where_it_was_written():
    """Nothing in the tree may point outside it: not to a home, a scratch folder or a neighbour."""
    outside = re.compile(r"/wor" r"k/|\.\./sha" r"red|/home/\w|\.libra" r"ry")
    wrong = []
    for path in listed("."):
        if path.is_symlink() or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        wrong += [f"{path.relative_to(TOP)}: {match.group()}" for match in outside.finditer(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["README.md", "docs/README.md", "docs/architecture.md",
                                  "docs/getting-started.md", "docs/LIMITS.md", "LICENSE"])
def test_a_newcomer_finds(name):
    assert (TOP / name).is_file()


def test_every_page_is_listed_among_the_documents():
    index = (TOP / "docs" / "README.md").read_text()
    pages = [path.relative_to(TOP / "docs").as_posix() for path in listed("docs/*.md")]
    missing = [name for name in pages if name != "README.md" and f"({name})" not in index]
    assert not missing


def test_every_limit_that_is_documented_exists():
    text = (TOP / "docs" / "LIMITS.md").read_text()
    sources = "\n".join(path.read_text() for path in listed("src/*.c", "src/*.h"))
    names = set(re.findall(r"`([A-Z_]+_MAX)`", text))
    unknown = [name for name in names if not re.search(rf"#define {name}\b", sources)]
    assert names and not unknown


UNITS = {"bytes": 1, "KiB": 1024, "MiB": 1024 ** 2, "s": 1}


def value_of(text):
    """What a page or a header says of a limit, as a number; None: no number."""
    text = re.sub(r"/\*.*", "", text).replace(",", "").strip()
    text = re.sub(r"\b(?:sec|ms)\((\d+)\)|\(size_t\)|\(uint32_t\)|(?<=\d)u\b", r"\1", text)
    number, _, unit = text.partition(" ")
    if re.fullmatch(r"[\d ()*]+", text):
        return eval(text)  # digits, brackets and stars
    return int(number) * UNITS[unit.split(",")[0]] if number.isdigit() and unit in UNITS else None


def test_every_limit_has_the_value_that_is_documented():
    text = (TOP / "docs" / "LIMITS.md").read_text().split("## Constants")[1]
    sources = "\n".join(path.read_text() for path in listed("src/*.c", "src/*.h"))
    compared, wrong = 0, []
    for _, names, values, _ in re.findall(r"^\|(.*)\|(.*)\|(.*)\|(.*)\|$", text, re.M):
        names, values = re.findall(r"`([A-Z_]+)`", names), values.strip().split(", ")
        unit = values[-1].partition(" ")[2]
        for name, value in zip(names, values):
            said = {value_of(value), value_of(f"{value} {unit}".strip())} - {None}
            there = [value_of(found) for found in re.findall(rf"#define {name}\s+(.*)", sources)]
            if not said or None in there:
                continue
            compared += 1
            wrong += [f"{name}: {value}, not {there}"] if not said & set(there) else []
    assert compared > 40 and not wrong


def test_every_setting_among_the_limits_is_in_the_manual():
    text = (TOP / "docs" / "LIMITS.md").read_text().split("## Constants")[0]
    known = settings()
    names = {name.split(".")[-1] for row in re.findall(r"^\|[^|]*\|([^|]*)\|", text, re.M)
             for name in re.findall(r"`([a-zA-Z_.\[\]]+)`", row)}
    unknown = [name for name in names if name not in known]
    assert names and not unknown


def test_every_source_stands_in_a_page_about_the_internals():
    text = "\n".join(path.read_text() for path in listed("docs/internals/*.md"))
    named = {span.split("/")[-1] for span in spans(text) if span.endswith((".c", ".h"))}
    missing = [path.name for path in listed("src/*.c") if path.name != "main.c" and not any(
        fnmatch(path.name, name) or fnmatch(f"{path.stem}.h", name) for name in named)]
    assert not missing
