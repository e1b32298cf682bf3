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
