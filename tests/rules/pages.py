"""What a page says that can be held against the tree: links, files, commands, settings, examples.

Every function takes a page (its path and text) and returns what is wrong with it, as texts; nothing
is asserted here, so test_checkers.py can show them pages that are wrong.
"""
import re
import shlex
import subprocess
from collections import namedtuple

from tree import TOP

Fence = namedtuple("Fence", "line language marks body")

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```[^\n`]*\n.*?^\1```$", re.S | re.M)
FENCE_PARTS = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.S | re.M)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LANGUAGES = {"sh", "bpftrace", "yaml", "sql", "text", "ini", "c"}
FOLDERS = {path.name for path in TOP.iterdir() if path.is_dir()} - {"build", "var"}


def fences(text):
    """The blocks of code of a page."""
    found = []
    for match in FENCE_PARTS.finditer(text):
        indent, info, body = match.groups()
        language, *marks = info.split() or [""]
        lines = [line[len(indent):] for line in body.splitlines()]
        found.append(Fence(text.count("\n", 0, match.start()) + 1, language, marks,
                           "\n".join(lines) + "\n"))
    return found


def spans(text):
    """What stands between single backticks, outside of blocks."""
    return [" ".join(span.split()) for span in INLINE.findall(FENCE.sub("", text))]


# --- links and files -----------------------------------------------------------------------------

def anchors(text):
    """The anchors that a page's headings make."""
    found = {}
    for head in re.findall(r"^#+\s+(.*?)\s*$", FENCE.sub("", text), re.M):
        head = LINK.sub(lambda match: match.group().split("](")[0][1:], head)
        slug = re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")
        times = found[slug] = found.get(slug, -1) + 1
        if times:
            found[f"{slug}-{times}"] = 0
    return set(found)


def broken_links(path, text):
    wrong = []
    for target in LINK.findall(INLINE.sub("", FENCE.sub("", text))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if name and not file.exists():
            wrong.append(f"{path.name}: {target}")
            continue
        there = text if file == path else file.read_text() if file.suffix == ".md" else ""
        if anchor and anchor not in anchors(there):
            wrong.append(f"{path.name}: {target} (no such heading)")
    return wrong


def unknown_files(path, text, names):
    """Files of the tree that the page names; `names` are all base names that there are."""
    wrong = []
    for span in spans(text):
        if re.fullmatch(r"[a-z_]+\.(c|h|def|py)", span) and span not in names:
            wrong.append(f"{path.name}: {span}")
        first = span.split("/")[0]
        if "/" not in span or first not in FOLDERS or re.search(r"[^\w./-]", span):
            continue
        if not (TOP / span).exists() and not (TOP / "src" / span).exists() and not ignored(span):
            wrong.append(f"{path.name}: {span}")
    return wrong


def ignored(name):
    """Whether it is something that a build or a run makes."""
    done = subprocess.run(["git", "check-ignore", "-q", name], cwd=TOP)
    return done.returncode == 0


def unknown_names(path, text, known):
    """Names of several words, as code has them; `known` are all that there are."""
    named = (name for span in spans(text)
             for name in re.findall(r"(?<![\w./])[A-Za-z]+(?:_[A-Za-z0-9]+)+(?![\w.])", span))
    return [f"{path.name}: {name}" for name in named if name not in known]


# --- commands ------------------------------------------------------------------------------------

def command_lines(text):
    """The command lines that a page shows: words in front of a pipe or another command."""
    lines = [line for fence in fences(text) if fence.language == "sh"
             for line in fence.body.replace("\\\n", " ").splitlines()]
    lines += [span for span in spans(text) if re.match(r"(\./dev|trunkline) \w", span)]
    found = []
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        command = []
        try:
            for word in [*lexer, ";"]:
                if word.strip("|&;()") == "":
                    found += [command] if command else []
                    command = []
                else:
                    command.append(word)
        except ValueError as why:
            found.append(["not a command line", str(why), line])
    return found


def without_prefix(words):
    """Words without variables, sudo and the like in front."""
    while words and (re.match(r"\w+=", words[0]) or words[0] in {"sudo", "exec"}
                     or words[0].startswith("-")):
        words = words[1:]
        if words and words[0] == "-u":
            words = words[2:]
    return words


def wrong_commands(path, text, dev, trunkline):
    """`dev`: what ./dev knows; `trunkline`: the usage text of each of its commands."""
    wrong = []
    for words in map(without_prefix, command_lines(text)):
        name = words[0] if words else ""
        if name == "not a command line":
            wrong.append(f"{path.name}: {words[1]}: {words[2]}")
        elif name == "./dev" and (len(words) < 2 or words[1] not in dev):
            wrong.append(f"{path.name}: {' '.join(words)}")
        elif name.split("/")[-1] == "trunkline" and not name.startswith("/etc"):
            wrong += wrong_call(path, words, trunkline)
    return wrong


def wrong_call(path, words, trunkline):
    said = f"{path.name}: {' '.join(words)}"
    if len(words) < 2 or words[1] in {"--help", "--version", "COMMAND"}:
        return []
    if words[1] not in trunkline:
        return [f"{said}: no such command"]
    return [f"{said}: no option {word}" for word in words[2:]
            if word.startswith("--") and word not in trunkline[words[1]] + " --help"]


# --- the console ---------------------------------------------------------------------------------

def console_views(manual):
    """SHOW's views with their columns, from the generated page."""
    views = {name: set() for name in re.findall(r"^\| `SHOW (\w+)`", manual, re.M)}
    for part in re.split(r"^## ", manual, flags=re.M)[1:]:
        head, _, body = part.partition("\n")
        for name in re.findall(r"SHOW (\w+)", head):
            views[name] |= set(re.findall(r"^\| `(\w+)` \|", body, re.M))
    return views


def console_verbs(manual):
    return set(re.findall(r"^\| `([A-Z_]+)\b", manual, re.M))


def wrong_statement(statement, verbs, views, keys):
    """What the console would not know of one command, or nothing."""
    words = statement.split()
    verb = words[0].upper() if words else ""
    if verb not in verbs:
        return f"{statement}: no such command"
    if verb == "SET" and len(words) > 1 and words[1] not in keys:
        return f"{statement}: no such setting"
    if verb != "SHOW":
        return None
    view = words[1].upper() if len(words) > 1 else ""
    if view not in views:
        return f"{statement}: no such view"
    named = re.findall(r"(?:WHERE|AND|ORDER BY)\s+(\w+)", statement, re.I)
    unknown = [name for name in named if name.lower() not in views[view]]
    return f"{statement}: no column {unknown[0]}" if unknown else None


def console_statements(text):
    """The console's commands that a page shows: blocks of "sql console", psql at its databases, and
    spans that begin with one of its SHOWs."""
    found = []
    for fence in fences(text):
        if fence.language == "sql" and "console" in fence.marks:
            found += [part.strip() for part in re.sub(r"--.*", "", fence.body).split(";")]
    for words in command_lines(text):
        words = without_prefix(words)
        if words and words[0] == "psql" and "-c" in words[:-1] and \
                {"trunkline", "pgbouncer"} & {word.split("=")[-1] for word in words[1:]
                                              if word != words[words.index("-c") + 1]}:
            found += [part.strip() for part in words[words.index("-c") + 1].split(";")]
    found += [span for span in spans(text) if re.match(r"SHOW [A-Z_]{2,}(?!\w)", span)]
    return [statement for statement in found if statement]


def wrong_console(path, text, manual, keys):
    verbs, views = console_verbs(manual), console_views(manual)
    said = (wrong_statement(statement, verbs, views, keys)
            for statement in console_statements(text))
    return [f"{path.name}: {what}" for what in said if what]


# --- languages -----------------------------------------------------------------------------------

def unnamed_blocks(path, text):
    """Blocks that do not say what they are are blocks that nobody checks."""
    wrong = [f"{path.name}:{fence.line}: a block of \"{fence.language}\"" for fence in fences(text)
             if fence.language not in LANGUAGES]
    indented = re.findall(r"^(?![ *\-\d]).+\n\n    (\S.*)$", FENCE.sub("-", text), re.M)
    return wrong + [f"{path.name}: an indented block: {line}" for line in indented]
