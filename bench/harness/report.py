"""The table of bars, the plain numbers, the plot, and the page for bench/RESULTS.md."""

import statistics
from dataclasses import dataclass
from html import escape

from . import system
from .contenders import FEATURES
from .measures import WINDOWS

OURS = "trunkline1"


@dataclass(frozen=True)
class Bar:
    """A bound: factor x what `against` reached in the same test, or a plain number (None)."""

    factor: float
    against: str = None
    test: str = None  # for "own": our own number of another test
    metric: str = None
    strict: bool = False

    def text(self):
        names = {
            "pgbouncer": " × PgBouncer",
            "haproxy": " × HAProxy",
            "own": " × our SELECT 1" if self.test else " × our",
            OURS: " × one relay",
        }
        sign = "<" if self.strict else "≤"
        value = f"{self.factor:g}" if self.against is None else f"{self.factor:.2f}"
        suffix = names.get(self.against, "")
        if self.metric:
            suffix += f" {self.metric.split('_')[0]}"
        return f"{sign} {value}{suffix}"


@dataclass(frozen=True)
class Row:
    title: str
    test: str
    metric: str
    unit: str
    must: tuple = ()
    aim: tuple = ()
    ours: str = OURS


def pgbouncer(factor):
    return Bar(factor, "pgbouncer")


def haproxy(factor):
    return Bar(factor, "haproxy")


def own(factor, test=None, metric=None):
    return Bar(factor, "own", test, metric)


def cpu(title, test, must, aim=None, ours=OURS):
    return Row(title, test, "cpu_us", "µs", (must,), (aim,) if aim else (), ours)


def counted(title, test, metric, must=None, aim=None, unit=""):
    return Row(title, test, metric, unit, (must,) if must else (), (aim,) if aim else ())


def p99(title, test):
    must = (pgbouncer(1), own(1.5, None, "p50_us"))
    return Row(title, test, "p99_us", "µs", must, (own(1.25, None, "p50_us"),))


ONE = Bar(1, strict=True)
ROWS = [
    cpu("SELECT 1 simple, 64 on 16", "simple64", pgbouncer(0.85), haproxy(1)),
    cpu("SELECT 1 extended, 64 on 16", "extended64", pgbouncer(0.85), haproxy(1)),
    cpu("SELECT 1 simple, 2,000 on 16", "simple2000", pgbouncer(0.8), pgbouncer(0.7)),
    cpu("SELECT 1 extended, 2,000 on 16", "extended2000", pgbouncer(0.8), pgbouncer(0.7)),
    cpu("SELECT 1 simple, 12 on 16", "simple12", pgbouncer(1), pgbouncer(0.92)),
    cpu("SELECT 1 extended, 12 on 16", "extended12", pgbouncer(1), pgbouncer(0.92)),
    cpu("named prepared, 64 on 16", "prepared64", own(1.15, "simple64"), own(1.05, "simple64")),
    counted(
        "instructions, simple", "instructions-simple", "instructions", pgbouncer(1), pgbouncer(0.7)
    ),
    counted(
        "instructions, extended",
        "instructions-extended",
        "instructions",
        pgbouncer(1),
        pgbouncer(0.7),
    ),
    *(
        counted(f"instructions, {mode}, with {one}", f"instructions-{mode}-{one}", "instructions")
        for mode in ("simple", "extended")
        for one in FEATURES
    ),
    counted("system calls, simple", "syscalls-simple", "saturated", Bar(4.2)),
    counted("system calls, extended", "syscalls-extended", "saturated", Bar(4.2)),
    counted("system calls, 10 with a Sync each", "syscalls-pipeline", "saturated", None, ONE),
    counted("system calls, 10 with one Sync", "syscalls-batch", "saturated", None, ONE),
    p99("p99 simple, 2,000 on 16", "simple2000"),
    p99("p99 extended, 2,000 on 16", "extended2000"),
    cpu("1 MB result, instant backend", "big", pgbouncer(0.25), haproxy(0.7)),
    cpu("1 MB result, PostgreSQL", "bigreal", pgbouncer(0.45), haproxy(1)),
    cpu("1 MB result over TLS, PostgreSQL", "bigtls", pgbouncer(0.6), pgbouncer(0.45)),
    counted(
        "memory per idle client, plain", "idle-plain", "kib_per_client", Bar(0.8), Bar(0.6), "KiB"
    ),
    counted(
        "memory per idle client, TLS 1.3", "idle-tls", "kib_per_client", Bar(15), Bar(14), "KiB"
    ),
    counted("wake-ups/s, idle clients, plain", "idle-plain", "wakeups", Bar(2), Bar(0)),
    counted("wake-ups/s, idle clients, TLS", "idle-tls", "wakeups", Bar(2), Bar(0)),
    cpu("connect + SCRAM + query", "connect", pgbouncer(1), pgbouncer(0.85)),
    cpu("connect + TLS 1.3 + SCRAM + query", "connecttls", pgbouncer(1), pgbouncer(0.9)),
    cpu("10,000 clients that come and go", "churn", pgbouncer(1), pgbouncer(0.85)),
    cpu("two relays against one, unpinned", "unpinned64", Bar(1.1, OURS), None, "trunkline2"),
    Row(
        "p99, two relays against one", "unpinned64", "p99_us", "µs", (Bar(2, OURS),), (), "trunkline2"
    ),
]


class Results:
    """{test: {contender: {metric: number}}} with the comparisons."""

    def __init__(self, tests):
        self.tests = tests

    def value(self, test, contender, metric):
        return (self.tests.get(test) or {}).get(contender, {}).get(metric)

    def rounds(self, test, one, other):
        """What `one` costs in each round as a ratio to `other`, sorted; empty if there are none."""
        costs = self.value(test, one, "cpu_rounds") or []
        others = self.value(test, other, "cpu_rounds") or []
        if one == other or len(costs) != len(others) or None in costs + others:
            return []
        return sorted(cost / reference for cost, reference in zip(costs, others))

    def limit(self, row, bar):
        """The number that must not be exceeded, or None when the reference is missing."""
        if bar.against is None:
            return bar.factor
        who = row.ours if bar.against == "own" else bar.against
        reference = self.value(bar.test or row.test, who, bar.metric or row.metric)
        return None if reference is None else reference * bar.factor

    def against(self, row, bar):
        """Our number as a ratio to the bar's reference: for CPU the median of the rounds' ratios,
        since what else the machine does differs more between rounds than within one."""
        who = row.ours if bar.against == "own" else bar.against
        if row.metric == "cpu_us" and not bar.test and not bar.metric:
            rounds = self.rounds(row.test, row.ours, who)
            if rounds:
                return statistics.median(rounds)
        ours = self.value(row.test, row.ours, row.metric)
        reference = self.value(bar.test or row.test, who, bar.metric or row.metric)
        return None if ours is None or not reference else ours / reference

    def verdict(self, row, bars):
        if not bars:
            return ""
        texts = []
        for bar in bars:
            text = bar.text()
            ours = self.value(row.test, row.ours, row.metric)
            if bar.against is not None:
                ours = self.against(row, bar)
            if ours is None:
                texts.append(f"{text}: ?")
                continue
            holds = ours < bar.factor if bar.strict else ours <= bar.factor
            texts.append(f"{text}: {'yes' if holds else 'NO'}")
        return "; ".join(texts)

    def ratio(self, row):
        """Against the first bound's reference, or PgBouncer's number."""
        bar = next(iter(row.must + row.aim), None)
        if bar is None or bar.against is None:
            bar = pgbouncer(1)
        return self.against(row, bar)

    def missed(self):
        """The musts that do not hold."""
        return [row.title for row in ROWS if "NO" in self.verdict(row, row.must)]


def number(value):
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def interval(ratios):
    """The median of ratios and the range of their middle half."""
    if not ratios:
        return "–"
    quarter = len(ratios) // 4
    low, high = ratios[quarter], ratios[-1 - quarter]
    return f"{statistics.median(ratios):.2f} ({low:.2f}–{high:.2f})"


def aligned(header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    line = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        for row in [header, *rows]
    ]
    return "\n".join([texts[0], line, *texts[1:]])


def bars_table(results):
    header = ["measure", "trunkline", "pgbouncer", "haproxy", "ratio", "must", "aim"]
    rows = []
    for row in ROWS:
        if row.test not in results.tests:
            continue
        first = number(results.value(row.test, row.ours, row.metric))
        title = f"{row.title} ({row.unit})" if row.unit else row.title
        rows.append(
            [
                title,
                first,
                number(results.value(row.test, "pgbouncer", row.metric)),
                number(results.value(row.test, "haproxy", row.metric)),
                number(results.ratio(row)),
                results.verdict(row, row.must),
                results.verdict(row, row.aim),
            ]
        )
    return aligned(header, rows)


def numbers_table(results, labels):
    header = ["test", "contender", "CPU µs/query", "spread", "queries/s"]
    header += ["p50 µs", "p99 µs", "p99.9 µs", "busy", "wake-ups/query"]
    others = [name for name in ("pgbouncer", "before") if name in labels]
    header += [f"× {labels[name]}, by round" for name in others]
    rows = []
    for test, found in results.tests.items():
        if test not in WINDOWS and not test.startswith("pgbench"):
            continue
        title = WINDOWS[test].title if test in WINDOWS else f"pgbench -S -M {test.split('-')[1]}"
        for contender, numbers in found.items():
            spread, busy = numbers.get("cpu_spread"), numbers.get("busy")
            rows.append(
                [
                    title,
                    labels.get(contender, contender),
                    number(numbers.get("cpu_us")),
                    f"±{spread * 50:.0f} %" if spread is not None else "–",
                    number(numbers.get("qps")),
                    number(numbers.get("p50_us", numbers.get("mean_us"))),
                    number(numbers.get("p99_us")),
                    number(numbers.get("p999_us")),
                    f"{busy * 100:.0f} %" if busy else "–",
                    number(numbers.get("sleeps")) if busy else "–",
                    *[interval(results.rounds(test, contender, name)) for name in others],
                ]
            )
            title = ""
    return aligned(header, rows) if rows else ""


def syscalls_table(results, labels):
    header = ["test", "contender", "saturated", "untraced", "which (saturated)"]
    rows = []
    for test, found in results.tests.items():
        if not test.startswith("syscalls-"):
            continue
        for contender, numbers in found.items():
            calls = sorted(numbers["by_name"].items(), key=lambda item: -item[1])
            rows.append(
                [
                    test.split("-")[1],
                    labels.get(contender, contender),
                    number(numbers["saturated"]),
                    number(numbers.get("untraced")),
                    ", ".join(f"{name} {count:.2f}" for name, count in calls),
                ]
            )
    return aligned(header, rows) if rows else ""


NAMES = {"trunkline": "Trunkline", "pgbouncer": "PgBouncer", "haproxy": "HAProxy TCP"}
COLOURS = {"trunkline": "#2563a8", "pgbouncer": "#8a8f98", "haproxy": "#c9ccd1"}
LEFT, WIDTH, BAR, GAP, TOP, MOST = 300, 520, 9, 14, 56, 1.6


def svg_group(results, row, reference, y):
    """One measure: three bars and the bounds."""
    out = [f'<text x="12" y="{y + 18}">{escape(row.title)}</text>']
    for at, name in enumerate(NAMES):
        who = row.ours if name == "trunkline" else name
        value = results.value(row.test, who, row.metric)
        if value is None:
            continue
        length = min(value / reference, MOST) / MOST * WIDTH
        line = y + at * BAR
        out.append(
            f'<rect x="{LEFT}" y="{line}" width="{length:.1f}" height="{BAR - 1}"'
            f' fill="{COLOURS[name]}"/>'
        )
        out.append(
            f'<text x="{LEFT + length + 4:.1f}" y="{line + BAR - 1}" font-size="9">'
            f"{number(value)} {escape(row.unit)}</text>"
        )
    for bound in row.must:
        limit = results.limit(row, bound)
        if limit is not None and limit / reference <= MOST:
            x = LEFT + limit / reference / MOST * WIDTH
            out.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 2}" y2="{y + 3 * BAR}"'
                ' stroke="#b3261e" stroke-width="1.5"/>'
            )
    return out


def svg(results):
    """Horizontal bars: each measure as a multiple of PgBouncer's number, with the must bound."""
    rows = []
    for row in ROWS:
        reference = results.value(row.test, "pgbouncer", row.metric)
        if reference and row.ours == OURS:
            rows.append((row, reference))
    height = TOP + len(rows) * (3 * BAR + GAP) + 20
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 110}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="12" y="20" font-size="14">Each measure, PgBouncer = 1: shorter is better;'
        " a red line is a bound that must hold</text>",
    ]
    for at, (name, label) in enumerate(NAMES.items()):
        x = 12 + 110 * at
        out.append(f'<rect x="{x}" y="30" width="12" height="12" fill="{COLOURS[name]}"/>')
        out.append(f'<text x="{x + 17}" y="41">{label}</text>')
    one = LEFT + WIDTH / MOST
    out.append(f'<line x1="{one}" x2="{one}" y1="{TOP - 6}" y2="{height - 10}" stroke="#ddd"/>')
    for at, (row, reference) in enumerate(rows):
        out += svg_group(results, row, reference, TOP + at * (3 * BAR + GAP))
    out.append("</svg>\n")
    return "\n".join(out)


def versions(bench):
    found = {
        "PgBouncer": system.first_line("pgbouncer", "--version"),
        "HAProxy": system.first_line("/usr/sbin/haproxy", "-v"),
        "PostgreSQL": system.first_line("/usr/lib/postgresql/15/bin/postgres", "--version"),
        "OpenSSL": system.first_line("openssl", "version"),
    }
    if bench.trunkline.exists():
        found["Trunkline"] = system.first_line(str(bench.trunkline), "version")
    return found


def configurations(bench):
    """What each contender was given, once per variant."""
    texts = []
    for contender in bench.contenders:
        for variant, text in contender.configurations.items():
            traits = [variant.backend, variant.auth]
            traits += ["TLS"] if variant.tls else []
            traits += [] if variant.pinned else ["unpinned"]
            texts.append(f"{contender.label} ({', '.join(traits)}):\n\n```\n{text.strip()}\n```")
    if "postgres" in bench._backends:
        texts.append(f"PostgreSQL: {bench.cluster.settings}")
    return "\n\n".join(texts)


def page(bench, results, command, date):
    facts = system.machine()
    lines = [
        "# Measured",
        "",
        f"{date}, `{command}`. {facts['cpu']}, {facts['cpus']} processors,"
        f" {facts['memory_mib']} MiB, {facts['kernel']}.",
        "",
        *[f"* {name}: {text}" for name, text in versions(bench).items()],
        "",
        "CPU is user and system time of the whole process per query; Trunkline with one relay;"
        f" what is measured on processor {min(system.PROXY_CPU)}, load and backend on"
        f" {min(system.LOAD_CPU)} unless unpinned; medians of {bench.options.repetitions},"
        " interleaved. README.md explains the method.",
        "",
        "![ratios](results.svg)",
        "",
        bars_table(results),
        "",
        "## Numbers",
        "",
        numbers_table(results, labels_of(bench)),
        "",
        syscalls_table(results, labels_of(bench)),
        "",
        "## Failures" if bench.failures else "",
        *[f"* {name}, {what}: {text}" for name, what, text in bench.failures],
        "",
        "## Configurations",
        "",
        configurations(bench),
    ]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def labels_of(bench):
    return {one.name: one.label for one in bench.contenders}
