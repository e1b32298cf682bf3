"""C text without what the compiler does not see: comments and the insides of literals."""
import re

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def comments(text):
    """(line, comment) of every comment, literals skipped."""
    for match in TOKEN.finditer(text):
        if match.group().startswith("/"):
            yield text.count("\n", 0, match.start()) + 1, match.group()


def bare(text):
    """The text with comments and literals blanked, lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())
    return TOKEN.sub(blank, text)


def functions(text):
    """(line, head, lines) of every function body that opens and closes in column 0."""
    start = head = None
    previous = ""
    for number, line in enumerate(bare(text).splitlines(), 1):
        if line.startswith("{"):
            start, head = number, previous
        elif line.startswith("}") and start is not None:
            yield start, head, number - start - 1
            start = None
        if line.strip() and not line.startswith("{"):
            previous = line.strip()


def calls(text, function):
    """The arguments, as texts, of every call of a function outside of comments."""
    plain = re.sub(r"/\*.*?\*/", lambda match: re.sub(r"[^\n]", " ", match.group()), text,
                   flags=re.S)
    blind = bare(text)
    for match in re.finditer(rf"\b{function}\(", blind):
        depth, arguments, begin = 1, [], match.end()
        for at in range(match.end(), len(blind)):
            depth += {"(": 1, ")": -1}.get(blind[at], 0)
            if (blind[at] == "," and depth == 1) or depth == 0:
                arguments.append(plain[begin:at].strip())
                begin = at + 1
            if depth == 0:
                break
        yield arguments


def literals(text, apart=""):
    """What the literals of a text say: neighbours joined, as the compiler joins them, and a
    placeholder that a macro spells left out; `apart` stands between those that are no neighbours.
    """
    said, end = [], None
    for match in TOKEN.finditer(text):
        if not match.group().startswith('"'):
            continue
        between = re.sub(r"/\*.*?\*/", "", text[end or match.start():match.start()], flags=re.S)
        if end is not None and not re.fullmatch(r"\s*(PRI\w+)?\s*", between):
            said.append(apart)
        said.append(match.group()[1:-1])
        end = match.end()
    return "".join(said)
