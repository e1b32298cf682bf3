"""What the model of PostgreSQL says for answers from memory is what PostgreSQL says: the catalog's
question, the view of the registers, the log as test_decoding tells it, the order of its positions."""
import re
import struct

import psycopg
import pytest

from support import wire as w
from support.patience import eventually
from support.ports import free_port
from support.postgres import HBA, Postgres
from support.processes import Program
from support.trunkline import binary
from support.verdicts import PRINT, Resolver
from support.wire import Wire

TABLES = """
create table kv (k int primary key, v text);
create table reg_a (k int primary key, v text);
create table reg_b (k int primary key, v text);
create schema other;
create view seen as select k, v || ' public ' || current_user || ' '
    || to_char('2000-01-01 12:00+00'::timestamptz, 'HH24') as v from reg_a;
create view other.seen as select k, v || ' other ' || current_user || ' '
    || to_char('2000-01-01 12:00+00'::timestamptz, 'HH24') as v from public.reg_a;
grant usage on schema other to public;
grant all on kv, reg_a, reg_b, seen, other.seen to public;
"""
# Of the feed (src/flight/feed_stream.h).
OPTIONS = ("\"include-xids\" '1', \"include-timestamp\" '0', \"skip-empty-xacts\" '0', "
           "\"only-local\" '0'")


@pytest.fixture(scope="module")
def worlds(template, tmp_path_factory):
    """The ports of the model and of a server that decodes."""
    server = Postgres(template, hba="host all decoder 127.0.0.1/32 trust\n" + HBA, wal_level="logical", max_wal_senders=4, max_replication_slots=4,
                      synchronous_commit="on")
    server.sql(TABLES)
    server.sql("create role decoder login replication")
    port = free_port()
    program = Program([binary().parent / "tests" / "sim" / "model" / "model_postgres", port],
                      tmp_path_factory.mktemp("model") / "model.log")
    eventually(lambda: "ready" in program.text())
    yield port, server.port
    assert program.end() == 0
    server.remove()


def connect(port, **parameters):
    options = " ".join(f"-c {name}={value}" for name, value in parameters.items())
    return psycopg.connect(host="127.0.0.1", port=port, user="trusted", dbname="app",
                           autocommit=True, options=options)


# --- the catalog

class Named(Resolver):
    """Relations by the names in the answer itself."""

    def __init__(self):
        super().__init__(None)
        self.by_oid = {}

    def say(self, line):
        if line.startswith("row "):
            cells = line[4:].split("|")
            if bytes.fromhex(cells[0]) == b"rel":
                self.by_oid[bytes.fromhex(cells[2]).decode()] = bytes.fromhex(cells[3]).decode()
        super().say(line)

    def names(self, oids):
        return {self.by_oid[oid] for oid in oids.split(",")} if oids else set()


@pytest.mark.skipif(not PRINT.exists(), reason="a build without tests")
@pytest.mark.parametrize("path", ["public", "other,public"])
@pytest.mark.parametrize("text", [
    "SELECT /*ttl*/ v FROM reg_a WHERE k = 1", "SELECT v FROM reg_b WHERE k = $1",
    "SELECT v::int4 FROM reg_b WHERE k = 2", "SELECT max(v) FROM reg_b",
    "SELECT v FROM seen WHERE k = 1", "SELECT v FROM kv", "SELECT v FROM missing", "SELECT nothing(1)",
])
def test_the_question_of_the_catalog_has_the_same_verdict(worlds, text, path):
    verdicts = []
    for port in worlds:
        resolver = Named()
        with connect(port, search_path=path) as connection:
            verdicts.append(resolver.ask(connection, text))
        resolver.close()
    assert verdicts[0] == verdicts[1]


# --- the view

@pytest.mark.parametrize("zone", ["Etc/UTC", "Europe/Berlin", "Asia/Tokyo"])
@pytest.mark.parametrize("path", ["public", "other,public"])
def test_the_view_shows_who_reads_it(worlds, path, zone):
    shown = []
    for port in worlds:
        with connect(port, search_path=path, TimeZone=zone) as connection:
            connection.execute("delete from reg_a")
            connection.execute("insert into reg_a values (1, '00000007')")
            wire = Wire("127.0.0.1", port)
            wire.startup("trusted", "app", options=f"-c search_path={path} -c TimeZone={zone}")
            shown.append(w.rows(wire.ask(w.parse("", "select v from seen where k = $1"),
                                         w.bind(values=["1"]), w.execute(), w.SYNC)))
            wire.socket.close()
    assert shown[0] == shown[1] != []


# --- the log

WRITES = [
    "insert into reg_a values (2, 'it''s')",
    "update reg_a set v = '00000008' where k = 2",
    "update reg_a set k = 3 where k = 2",
    "update reg_a set v = null where k = 3",
    "delete from reg_a where k = 3",
    "truncate reg_b",
    "begin; insert into reg_b values (1, 'a'); savepoint s; insert into reg_b values (2, 'b'); "
    "rollback to s; insert into kv values (900, 'c'); commit",
    "begin; insert into reg_b values (9, 'x'); rollback",
    "update reg_a set v = 'nothing' where k = 77",
    "insert into kv values (900, 'd') on conflict (k) do update set v = 'd'",
    "create temp table own (k int, v text); insert into own values (1, 'a'); drop table own",
    "select pg_current_xact_id() from pg_logical_emit_message(true, 'trunkline.marker', '')",
    "delete from kv where k = 900",
]


def told(port, texts):
    """What the log tells of these texts, with the ids of transactions as numbers from 1 on; what DDL
    of temporary tables leaves in catalogs is left out."""
    log = Wire("127.0.0.1", port)
    log.startup("decoder", "app", replication="database")
    log.ask(w.query('CREATE_REPLICATION_SLOT "held" TEMPORARY LOGICAL test_decoding NOEXPORT_SNAPSHOT'))
    log.send(w.query(f'START_REPLICATION SLOT "held" LOGICAL 0/0 ({OPTIONS})'))
    log.until("W")
    with connect(port) as connection:
        for text in texts:
            connection.execute(text, prepare=False)
        connection.execute("insert into kv values (901, 'the end')")
        connection.execute("delete from kv where k = 901")
    seen, positions, ids = [], [], {}
    while not seen or "DELETE: k[integer]:901" not in seen[-2] if len(seen) > 1 else True:
        answer = log.receive()
        if answer.kind != "d" or answer.body[:1] != b"w":
            continue
        begin, end = struct.unpack_from("!QQ", answer.body, 1)
        text = answer.body[25:].decode()
        assert begin == end
        kind = re.match(r"(BEGIN|COMMIT) (\d+)", text)
        if kind:
            text = f"{kind[1]} {ids.setdefault(kind[2], len(ids) + 1)}"
        if kind and kind[1] == "COMMIT":
            positions.append(end)
        seen.append(text)
    log.socket.close()
    assert positions == sorted(set(positions))
    return seen


def without_empty(texts):
    """Transactions that only changed catalogs are told as empty by the server."""
    kept, at = [], 0
    while at < len(texts):
        if texts[at].startswith("BEGIN") and texts[at + 1].startswith("COMMIT"):
            at += 2
            continue
        kept.append(re.sub(r"^(BEGIN|COMMIT) \d+", r"\1", texts[at]))
        at += 1
    return kept


def test_the_log_tells_the_same(worlds):
    for port in worlds:
        with connect(port) as connection:
            connection.execute("delete from reg_a")
            connection.execute("delete from reg_b")
            connection.execute("delete from kv")
    model, server = (without_empty(told(port, WRITES)) for port in worlds)
    assert model == server


# --- what can be seen

def test_a_snapshot_names_the_transactions_that_write(worlds):
    shapes = []
    for port in worlds:
        with connect(port) as writer, connect(port) as other, connect(port) as reader:
            before = reader.execute("select pg_current_snapshot()").fetchone()[0]
            writer.execute("begin")
            writer.execute("insert into kv values (950, 'open')")
            during = reader.execute("select pg_current_snapshot()").fetchone()[0]
            other.execute("insert into kv values (951, 'over')")
            behind = reader.execute("select pg_current_snapshot()").fetchone()[0]
            writer.execute("rollback")
            after = reader.execute("select pg_current_snapshot()").fetchone()[0]
        first = [[int(n) for n in re.findall(r"\d+", text)]
                 for text in (before, during, behind, after)]
        base = first[0][1]
        shapes.append([[n - base for n in numbers] for numbers in first])
    assert shapes[0] == shapes[1] == [[0, 0], [0, 0], [0, 2, 0], [2, 2]]
