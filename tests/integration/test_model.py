"""The model PostgreSQL of the simulation says what PostgreSQL says, message by message."""
import os
from pathlib import Path

import psycopg
import pytest

from support.babble import babble
from support.conversation import differences, play, scripts
from support.patience import eventually
from support.ports import free_port
from support.processes import Program
from support.trunkline import binary

FOLDER = Path(__file__).resolve().parent.parent / "sim" / "conversations"
SCRIPTS = [pytest.param(lines, id=f"{path.stem}: {title}")
           for path in sorted(FOLDER.glob("*.txt")) for title, lines in scripts(path)]
# Each test of this many seeds; MODEL_SEEDS=first..last plays others.
SEEDS_A_TEST = 10
SEEDS = os.environ.get("MODEL_SEEDS", "1..300")

TABLES = """
create table kv (k int primary key, v text);
create table guarded (k int primary key, v text);
create function guard_rows() returns trigger language plpgsql as
    $$ begin raise exception 'nothing may be inserted here'; end $$;
create trigger guard before insert on guarded execute function guard_rows();
grant all on kv, guarded to public;
"""


def connect(port):
    return psycopg.connect(host="127.0.0.1", port=port, user="trusted", dbname="app",
                           autocommit=True, connect_timeout=5)


class Model:
    """The model as a program."""

    def __init__(self, folder):
        self.port = free_port()
        program = binary().parent / "tests" / "sim" / "model" / "model_postgres"
        self.program = Program([program, self.port], folder / "model.log")
        eventually(self.ready)

    def ready(self):
        self.program.must_run()
        return "ready" in self.program.text()


@pytest.fixture(scope="module")
def worlds(postgres, tmp_path_factory):
    """The ports of the model and of the server, which hold the same table."""
    postgres.sql(TABLES)
    model = Model(tmp_path_factory.mktemp("model"))
    yield model.port, postgres.port
    code = model.program.end()
    assert code == 0, model.program.text()[-4000:]
    postgres.sql("drop table kv, guarded; drop function guard_rows")


def compare(worlds, lines):
    heard = []
    for port in worlds:
        with connect(port) as connection:
            connection.execute("truncate kv")
        heard.append(play(lines, port))
    return differences(*heard)


@pytest.mark.parametrize("lines", SCRIPTS)
def test_a_conversation_is_the_same_with_the_model_and_with_the_server(worlds, lines):
    told = compare(worlds, lines)
    assert not told, told


def seeds():
    first, last = (int(word) for word in SEEDS.split(".."))
    return [range(at, min(at + SEEDS_A_TEST, last + 1)) for at in range(first, last + 1,
                                                                       SEEDS_A_TEST)]


@pytest.mark.parametrize("some", seeds(), ids=lambda some: f"{some[0]}-{some[-1]}")
def test_random_messages_are_answered_the_same(worlds, some):
    for seed in some:
        lines = babble(seed)
        told = compare(worlds, lines)
        assert not told, f"seed {seed}:\n" + "\n".join(lines) + f"\n\n{told}"
