"""Writes the SQL of MIGRATIONS as rows of a C table: embed_sql.py MIGRATIONS OUTPUT DEPFILE."""
import sys
from pathlib import Path


def literal(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?")
    return "\n".join(f'    "{line}\\n"' for line in escaped.splitlines())


def rows(migrations):
    """(version, kind, file) of each line, then grants.sql, which belongs to no version."""
    for line in migrations.read_text().splitlines():
        if line and not line.startswith("#"):
            version, kind, name = line.split()
            yield int(version), kind, name
    yield 0, "both", "grants.sql"


def main(migrations, output, depfile):
    folder = migrations.parent
    made = []
    for version, kind, name in rows(migrations):
        made.append(f'{{{version}, PARADE_FOR_{kind.upper()}, "{name}",\n'
                    f'{literal((folder / name).read_text())}}},\n')
    output.write_text("".join(made))
    names = " ".join(str(folder / name) for _, _, name in rows(migrations))
    depfile.write_text(f"{output}: {migrations} {names}\n")


main(*map(Path, sys.argv[1:]))
