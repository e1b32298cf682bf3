"""Comments and pages use the words of PostgreSQL and of other poolers, not words of our own for
the same things.  A line that must have one of these words says so: "words: excused"."""
import re

from tree import TOP, listed

# The word, and what to write.
WORDS = {
    "census": "counts",
    "contest": "reclaim, or rebalance",
    "deed": "record",
    "door": "listener, or endpoint",
    "errand": "request, call, or transfer",
    "goodbye": "Terminate, or closing",
    "greeting": "reported parameters",
    "guest": "unauthenticated connection",
    "hunt": "recall",
    "kin": "versions of a pool",
    "lane": "direction",
    "lest": "so that ... not",
    "letter to": "message to",
    "luggage": "state to transfer",
    "mood": "rates of faults",
    "parcel": "transfer",
    "quest": "request",
    "seat": "member",
    "somebody": "the client, another client, ...",
    "stain": "uncertain state",
    "stranger": "a client that is not authenticated",
    "tally": "counts, or histograms",
    "turnstile": "queue",
    "untold": "what it is",
    "whoever": "the client, the caller, ...",
}
EXCUSE = "words: excused"
PATTERN = re.compile(r"\b(" + "|".join(WORDS) + r")(?:s|'s)?\b", re.I)
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def findings(name, text, first=1):
    for number, line in enumerate(text.split("\n"), first):
        for match in PATTERN.finditer(line):
            if EXCUSE not in line:
                word = match.group(1).lower()
                yield f"{name}:{number}: {word}: write {WORDS[word]}"


def comments(path):
    text = path.read_text()
    for match in COMMENT.finditer(text):
        yield match.group(), text.count("\n", 0, match.start()) + 1


def test_comments_use_the_words_of_the_field():
    wrong = []
    for path in listed("src/**/*.c", "src/**/*.h"):
        for text, first in comments(path):
            wrong += findings(path.relative_to(TOP).as_posix(), text, first)
    assert not wrong, "\n".join(wrong)


def test_pages_use_the_words_of_the_field():
    wrong = []
    for path in listed("README.md", "docs/*.md", "docs/internals/*.md", "docs/decisions/*.md"):
        if path.name != "simulation-faults.md":  # the titles of planted mistakes
            wrong += findings(path.relative_to(TOP).as_posix(), path.read_text())
    assert not wrong, "\n".join(wrong)


def test_a_word_is_found_and_an_excused_line_is_not():
    text = f"the census of clients\nhow many clients there are\n<!-- {EXCUSE} --> a seat at the table"
    assert list(findings("page.md", text)) == ["page.md:1: census: write counts"]
