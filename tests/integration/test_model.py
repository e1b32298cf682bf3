"""The model PostgreSQL of the simulation says what PostgreSQL says, message by message."""
import os
import struct
from pathlib import Path

import psycopg
import pytest

from support import wire as w
from support.babble import babble
from support.conversation import differences, play, scripts
from support.patience import eventually
from support.ports import free_port
from support.postgres import Postgres
from support.processes import Program
from support.replication import Replication
from support.trunkline import binary

FOLDER = Path(__file__).resolve().parent.parent / "sim" / "conversations"


def params(folder):
    return [pytest.param(lines, id=f"{path.stem}: {title}")
            for path in sorted(folder.glob("*.txt")) for title, lines in scripts(path)]


SCRIPTS = params(FOLDER)
STANDBY_SCRIPTS = params(FOLDER / "standby")
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
    """The model as a program; `words` of its command line."""

    def __init__(self, folder, *words):
        self.port = free_port()
        program = binary().parent / "tests" / "sim" / "model" / "model_postgres"
        self.program = Program([program, self.port, *words], folder / "model.log")
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


# --- a standby

@pytest.fixture(scope="module")
def standbys(template, tmp_path_factory):
    """The ports of the model and of a server, both standbys with the same empty table."""
    cluster = Replication(template, replicas=1)
    cluster.primary.sql(TABLES)
    cluster.caught_up()
    model = Model(tmp_path_factory.mktemp("standby"), 100, "standby")
    yield model.port, cluster.replicas[0].port
    code = model.program.end()
    assert code == 0, model.program.text()[-4000:]
    cluster.remove()


@pytest.mark.parametrize("lines", STANDBY_SCRIPTS)
def test_a_conversation_is_the_same_with_the_model_and_with_a_standby(standbys, lines):
    told = differences(*[play(lines, port) for port in standbys])
    assert not told, told


# --- random messages

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


# --- replication: places in the log are the server's own, so answers are compared without them

HBA = """
local all         all trust
host  all         all 127.0.0.1/32 trust
host  replication all 127.0.0.1/32 trust
"""
ASKED = ["SELECT 1", "", "FLY", "SHOW TimeZone", "identify_system", "IDENTIFY_SYSTEM; SELECT 1",
         "START_REPLICATION nowhere", "BEGIN", "ROLLBACK"]
STATUS = b"r" + struct.pack("!QQQqB", 1, 1, 0, 0, 1)


def walker(port, word, user="postgres"):
    wire = w.Wire("127.0.0.1", port)
    wire.send(w.startup_packet(user=user, database="app", replication=word))
    return wire


def answers(messages):
    """What they are, and what they say that is no place."""
    told = {"E": lambda m: m.sqlstate, "C": lambda m: m.body, "W": lambda m: m.body}
    return [(m.kind, told[m.kind](m)) if m.kind in told else m.kind for m in messages]


def begins(wire):
    row = next(m for m in wire.ask(w.query("IDENTIFY_SYSTEM")) if m.kind == "D")
    wire.send(w.query(f"START_REPLICATION {row.values[2].decode()} TIMELINE 1"))
    return answers([wire.receive()])


def streams(port, word):
    """A stream that is ended, one that is asked whether it lives, and one that is broken."""
    with walker(port, word) as wire:
        wire.login("postgres", "")
        heard = [answers(wire.ask(w.query("IDENTIFY_SYSTEM"))), begins(wire)]
        wire.send(w.COPY_DONE)
        heard += [m for m in answers(wire.until()) if m != "d"]
        heard += begins(wire)
        wire.send(w.copy_data(STATUS))
        while wire.receive().body[:1] != b"k":
            pass
        wire.send(w.query("SELECT 1"))
        return heard + [m for m in answers(wire.rest()) if m != "d"]


@pytest.fixture(scope="module")
def sources(template, worlds):
    """The ports of the model and of a server that lets itself be replicated."""
    server = Postgres(template, hba=HBA, wal_level="logical", max_wal_senders=5)
    yield worlds[0], server.port
    server.remove()


@pytest.mark.parametrize("word", ["true", "database"])
def test_replication_is_the_same_with_the_model_and_with_the_server(sources, word):
    heard = []
    for port in sources:
        with walker(port, word) as wire:
            wire.login("postgres", "")
            said = [answers(wire.ask(w.query(text))) for text in ASKED]
            said.append(answers(wire.ask(w.query("START_REPLICATION FF/0"))))
            wire.send(w.parse("", "select 1") + w.SYNC)
            said.append(answers(wire.until()))
            heard.append(said + streams(port, word))
    assert heard[0] == heard[1]


@pytest.mark.parametrize("user, word", [("trusted", "true"), ("postgres", "maybe")])
def test_replication_is_refused_the_same(sources, user, word):
    heard = []
    for port in sources:
        with walker(port, word, user) as wire:
            heard.append(answers(m for m in wire.rest() if m.kind == "E"))
    assert heard[0] == heard[1] and len(heard[0]) == 1
