"""Documents that can be trusted: links that lead somewhere, commands that exist."""
import re
import subprocess

import pytest
from tree import TOP, listed

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```", re.S)


def documents():
    return listed("*.md")


def anchors(text):
    """The anchors that a page's headings make."""
    heads = re.findall(r"^#+\s+(.*)$", CODE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_link_of_a_document_leads_somewhere():
    wrong = []
    for path in documents():
        for target in LINK.findall(CODE.sub("", path.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            if not file.exists():
                wrong.append(f"{path.name}: {target}")
            elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
                wrong.append(f"{path.name}: {target} (no such heading)")
    assert not wrong, "\n".join(wrong)


def test_every_command_of_dev_that_a_document_shows_exists():
    usage = subprocess.run([TOP / "dev", "help"], text=True, stdout=subprocess.PIPE,
                           check=True).stdout
    known = set(re.findall(r"^\./dev (\w+)", usage, re.M))
    shown = {(path.name, word) for path in documents()
             for word in re.findall(r"\./dev (\w+)", path.read_text())}
    wrong = {item for item in shown if item[1] not in known}
    assert known and not wrong, wrong


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
                                  "docs/LIMITS.md", "LICENSE"])
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
    names = set(re.findall(r"`([A-Z_]+_MOST)`", text))
    unknown = [name for name in names if not re.search(rf"#define {name}\b", sources)]
    assert names and not unknown


def test_every_setting_among_the_limits_is_in_the_manual():
    text = (TOP / "docs" / "LIMITS.md").read_text().split("## Constants")[0]
    manual = (TOP / "docs" / "configuration.md").read_text()
    names = {name.split(".")[-1] for row in re.findall(r"^\|[^|]*\|([^|]*)\|", text, re.M)
             for name in re.findall(r"`([a-zA-Z_.\[\]]+)`", row)}
    unknown = [name for name in names if f"| `{name}` |" not in manual]
    assert names and not unknown
