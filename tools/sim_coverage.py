"""What of the daemon the simulation alone reaches: lines and branches, by gcov."""
import collections
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
FLOORS = ("machine", "link", "fleet", "pooler")


def read(build):
    """file -> (lines, lines seen, branches, branches taken), of the floors."""
    objects = [path for path in sorted(build.glob("src/libtrunkline.a.p/*.gcda"))]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["gcov", "--json-format", "--branch-probabilities", *objects], cwd=folder,
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for path in Path(folder).glob("*.gcov.json.gz"):
            for file in json.loads(gzip.open(path).read())["files"]:
                name = str((build / file["file"]).resolve())
                if not name.startswith(str(TOP / "src")) or not name.endswith(".c"):
                    continue
                found[Path(name).relative_to(TOP / "src").as_posix()] = file
    return found


def measure(file):
    lines = {}
    branches = collections.defaultdict(int)
    for line in file["lines"]:
        number = line["line_number"]
        lines[number] = lines.get(number, 0) + line["count"]
        for place, branch in enumerate(line["branches"]):
            branches[number, place] += branch["count"]
    return (len(lines), sum(1 for count in lines.values() if count), len(branches),
            sum(1 for count in branches.values() if count),
            sorted(number for number, count in lines.items() if not count))


def ranges(numbers):
    text, start, last = [], None, None
    for number in [*numbers, None]:
        if start is not None and number is not None and number <= last + 2:
            last = number
            continue
        if start is not None:
            text.append(f"{start}-{last}" if last > start else str(start))
        start = last = number
    return " ".join(text)


def row(name, numbers):
    lines, seen, branches, taken = numbers
    percent = lambda a, b: f"{100 * a / b:.0f} %" if b else "-"
    return f"| {name} | {lines} | {percent(seen, lines)} | {branches} | {percent(taken, branches)} |"


def run(player, arguments):
    build = player.parents[2]
    for path in build.rglob("*.gcda"):
        path.unlink()
    dark = "--dark" in arguments
    rest = [word for word in arguments if word != "--dark"]
    code = subprocess.run([player, *(rest or ["--seeds", "1..1000"])]).returncode
    if code != 0:
        return code
    found = read(build)
    print("| file | lines | seen | branches | taken |\n|---|---|---|---|---|")
    for floor in FLOORS:
        names = [name for name in sorted(found) if name.startswith(floor + "/")]
        measured = {name: measure(found[name]) for name in names}
        total = [sum(item[i] for item in measured.values()) for i in range(4)]
        print(row(f"**{floor}**", total))
        for name, numbers in measured.items():
            print(row(name, numbers[:4]))
            if dark and numbers[4]:
                print(f"    dark: {ranges(numbers[4])}", file=sys.stderr)
    return 0
