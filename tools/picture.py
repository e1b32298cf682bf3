#!/usr/bin/env python3
"""Draws the pictures of docs/: NAME.picture, a text, becomes NAME.svg.

`picture.py` writes them again, `picture.py --check` says which are not up to date.  The first lines
of docs/threads.picture describe the form of the text.
"""
import re
import sys
from collections import namedtuple
from html import escape
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent

Box = namedtuple("Box", "kind name column row title lines")
Arrow = namedtuple("Arrow", "start end both label")

LETTER, LINE, MARGIN = 7.2, 18, 14  # width of a letter, height of a line, space around text
GAP_X, GAP_Y, EDGE = 120, 78, 24  # between boxes, and around the picture
FILL = {"outside": "#f4f4f4", "thread": "#dbe9f9", "threads": "#dbe9f9"}
STACK = 5  # how far the boxes behind a box of several threads stand out


class Wrong(Exception):
    """The text is no picture."""


def read(text):
    boxes, arrows = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if line.startswith("  ") and boxes:
            boxes[-1].lines.append(line.strip())
        elif words[0] == "box" and len(words) > 5 and words[1] in FILL:
            boxes.append(Box(words[1], words[2], int(words[3]), int(words[4]),
                             " ".join(words[5:]), []))
        elif words[0] == "arrow" and len(words) > 4 and words[3] in ("one", "both"):
            arrows.append(Arrow(words[1], words[2], words[3] == "both",
                                [part.strip() for part in " ".join(words[4:]).split("|")]))
        else:
            raise Wrong(f"line {number}: {line}")
    known = {box.name for box in boxes}
    for arrow in arrows:
        if not {arrow.start, arrow.end} <= known:
            raise Wrong(f"an arrow from {arrow.start} to {arrow.end}: no such box")
    return boxes, arrows


def names_of_threads(text):
    """The names of threads, as patterns of regular expressions: N stands for a number."""
    boxes, _ = read(text)
    return {re.sub("N$", r"\\d+", box.name) for box in boxes if box.kind != "outside"}


def heading(box):
    return box.title if box.kind == "outside" else f"{box.name}: {box.title}"


def size(box):
    longest = max([len(heading(box)) * 1.1] + [len(line) for line in box.lines])
    return longest * LETTER + 2 * MARGIN, (len(box.lines) + 1) * LINE + 2 * MARGIN


def places(boxes):
    """Where each box stands, as (x, y, width, height), and the size of the picture."""
    widths, heights = {}, {}
    for box in boxes:
        width, height = size(box)
        widths[box.column] = max(width, widths.get(box.column, 0))
        heights[box.row] = max(height, heights.get(box.row, 0))
    left, top, x, y = {}, {}, EDGE, EDGE
    for column in sorted(widths):
        left[column], x = x, x + widths[column] + GAP_X
    for row in sorted(heights):
        top[row], y = y, y + heights[row] + GAP_Y
    found = {}
    for box in boxes:
        _, height = size(box)
        found[box.name] = (left[box.column], top[box.row] + (heights[box.row] - height) / 2,
                           widths[box.column], height)
    return found, (x - GAP_X + EDGE, y - GAP_Y + EDGE)


def rectangle(x, y, width, height, fill):
    return (f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6" '
            f'fill="{fill}" stroke="#334"/>')


def text(x, y, words, options=""):
    return f'<text x="{x:.0f}" y="{y:.0f}"{options}>{escape(words)}</text>'


def draw_box(box, place):
    x, y, width, height = place
    yield from (rectangle(x + shift, y - shift, width, height, FILL[box.kind])
                for shift in ((2 * STACK, STACK, 0) if box.kind == "threads" else (0,)))
    yield text(x + MARGIN, y + MARGIN + 12, heading(box), ' font-weight="bold"')
    for number, line in enumerate(box.lines, 1):
        yield text(x + MARGIN, y + MARGIN + 12 + number * LINE, line)


def outline(box, place):
    """A box with the ones behind it."""
    x, y, width, height = place
    more = 2 * STACK if box.kind == "threads" else 0
    return x, y - more, width + more, height + more


def ends(start, end):
    """The ends of an arrow between two boxes: on the edges that face each other."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = start, end
    if ax < bx + bw and bx < ax + aw:  # one above the other
        x = max(ax, bx) + min(aw, bw) / 2
        return ((x, ay + ah), (x, by - 2)) if ay < by else ((x, ay), (x, by + bh + 2))
    x1, x2 = (ax + aw, bx - 2) if ax < bx else (ax, bx + bw + 2)
    if ay < by + bh and by < ay + ah:  # side by side
        y = max(ay, by) + min(ah, bh) / 2
        return (x1, y), (x2, y)
    return (x1, ay + ah / 2), (x2, by + bh / 2)


def draw_arrow(arrow, found):
    start, end = ends(found[arrow.start], found[arrow.end])
    back = ' marker-start="url(#head)"' if arrow.both else ""
    yield (f'<line x1="{start[0]:.0f}" y1="{start[1]:.0f}" x2="{end[0]:.0f}" y2="{end[1]:.0f}" '
           f'stroke="#334" marker-end="url(#head)"{back}/>')
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    level = abs(start[1] - end[1]) < 1
    upright = abs(start[0] - end[0]) < 1
    anchor = "start" if upright else "middle"
    x = middle[0] + (8 if upright else 0)
    y = middle[1] - (8 + LINE * (len(arrow.label) - 1) if level else LINE / 2 * (len(arrow.label) - 1) - 4)
    for number, line in enumerate(arrow.label):
        yield text(x, y + number * LINE, line, f' text-anchor="{anchor}" font-size="12" class="label"')


def draw(source):
    boxes, arrows = read(source)
    found, (width, height) = places(boxes)
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
           f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif" font-size="13">')
    yield ('<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
           'markerHeight="8" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#334"/>'
           '</marker></defs>')
    yield "<style>.label{paint-order:stroke;stroke:#fff;stroke-width:4px}</style>"
    yield '<rect width="100%" height="100%" fill="#fff"/>'
    for box in boxes:
        yield from draw_box(box, found[box.name])
    edges = {box.name: outline(box, found[box.name]) for box in boxes}
    for arrow in arrows:
        yield from draw_arrow(arrow, edges)
    yield "</svg>"


def drawn(path):
    return "\n".join(draw(path.read_text())) + "\n"


def main(arguments):
    stale = []
    for path in sorted((TOP / "docs").glob("*.picture")):
        target = path.with_suffix(".svg")
        if not target.exists() or target.read_text() != drawn(path):
            stale.append(target.name)
            if "--check" not in arguments:
                target.write_text(drawn(path))
    print("\n".join(stale))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
