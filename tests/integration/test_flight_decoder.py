"""The decoder of the feed against a real server: what it reads is what was written.

feed_print prints what the decoder has read from the payloads of a stream.
"""
import os
import random
import re
import struct
import subprocess
from pathlib import Path

import psycopg
import pytest
from support.feed import OPTIONS, Feed
from support.trunkline import TOP

PRINT = Path(os.environ.get("TRUNKLINE_BUILD", TOP / "build" / "debug")) / "tests/unit/feed_print"


def plain(word):
    """A word of feed_print: text, a number, or as it is."""
    if re.fullmatch("x([0-9a-f]{2})*", word):
        return bytes.fromhex(word[1:]).decode()
    return int(word) if word.isdigit() else word


def decode(feed):
    """Each event as a list of its words, without the transactions' ids, which must be in pairs."""
    data = b"".join(struct.pack("!I", len(payload)) + payload for payload in feed.payloads)
    done = subprocess.run([PRINT], input=data, stdout=subprocess.PIPE)
    lines = [line.split(" ") for line in done.stdout.decode().splitlines()]
    assert done.returncode == 0, lines[-1]
    *events, last = [[plain(word) for word in line] for line in lines]
    assert last == ["passed", feed.position]
    for begin, end in zip([e for e in events if e[0] == "begin"],
                          [e for e in events if e[0] == "commit"]):
        assert begin[1] == end.pop(1)
    return [event[:1] if event[0] == "begin" else event for event in events]


def client(cluster):
    return psycopg.connect(host=str(cluster.folder), port=cluster.port, user="postgres",
                           dbname="app", autocommit=True)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture
def schema(logical):
    """The name of an empty schema."""
    logical.sql('drop schema if exists "s" cascade; create schema s')
    return "s"


def test_statements_of_every_kind(logical, schema):
    logical.sql("create table s.t (n int primary key, w text);"
                "create table s.u (n int references s.t on delete cascade)")
    with Feed(logical) as feed, client(logical) as writer:
        for statement in ("insert into s.t values (1, null)", "insert into s.u values (1)",
                          "update s.t set w = 'it''s'", "update s.u set n = null",
                          "begin; insert into s.t values (7); update s.t set n = 8 where n = 7;"
                          "select pg_logical_emit_message(true, 'p', E'a\\nb'); commit",
                          "delete from s.t", "truncate s.u, s.t restart identity",
                          "create view s.v as select 1",
                          "select pg_logical_emit_message(false, 'free', '')",
                          "insert into s.t values (9)"):
            writer.execute(statement)
        while "INSERT: n[integer]:9" not in "".join(feed.transaction()):
            pass
        assert decode(feed) == [
            ["begin"], ["insert", "s", "t", "new", "n", "integer", "1", "w", "text", "null"],
            ["commit", 1, 0, 0],
            ["begin"], ["insert", "s", "u", "new", "n", "integer", "1"], ["commit", 1, 0, 0],
            ["begin"], ["update", "s", "t", "new", "n", "integer", "1", "w", "text", "it's"],
            ["commit", 1, 0, 0],
            ["begin"], ["update", "s", "u", "new", "n", "integer", "null"], ["commit", 1, 0, 0],
            ["begin"], ["insert", "s", "t", "new", "n", "integer", "7", "w", "text", "null"],
            ["update", "s", "t", "old", "n", "integer", "7", "new", "n", "integer", "8", "w", "text",
             "null"],
            ["message", 1, "p", "a\nb"], ["commit", 2, 1, 0],
            ["begin"], ["delete", "s", "t", "old", "n", "integer", "1"],
            ["delete", "s", "t", "old", "n", "integer", "8"], ["commit", 2, 0, 0],
            ["begin"], ["truncate", "s", "u", "s", "t"], ["commit", 1, 0, 0],
            ["begin"], ["commit", 0, 0, 0],
            ["message", 0, "free", ""],
            ["begin"], ["insert", "s", "t", "new", "n", "integer", "9", "w", "text", "null"],
            ["commit", 1, 0, 0]]


NAMES = ["plain", "Upper", "select", "a b", 'q"q', "c]:d", "a.b", "n: INSERT:", "new-tuple", "é", "x'y",
         "a\nb", "[]", "$", "_9", "9_", " ", "old-key: a[integer]:1", "z" * 63]
VALUES = ["", "'", "''", "it's", "a\nb", "\\", "\\'", "null", "x' new-tuple: n[integer]:1", "é", "\t",
          " 'a'", "B'1'", "unchanged-toast-datum", "] [", "table s.t: DELETE:"]


@pytest.mark.parametrize("quote_all", ["off", "on"])
def test_names_and_values_of_any_kind(logical, schema, quote_all):
    """With quote_all_identifiers types are quoted too, and are read as they are written."""
    choose = random.Random(12)
    kind = '"text"' if quote_all == "on" else "text"
    logical.sql(f"alter role postgres set quote_all_identifiers = {quote_all}")
    with Feed(logical) as feed, client(logical) as writer:
        logical.sql("alter role postgres reset quote_all_identifiers")
        assert feed.changes() == []
        feed.payloads.clear()
        wanted = []
        for name in NAMES:
            columns = choose.sample(NAMES, 3)
            values = choose.sample(VALUES, 3)
            table = f"s.{quoted(name)}"
            writer.execute(f"create table {table} ({', '.join(quoted(c) + ' text' for c in columns)})")
            writer.execute(f"insert into {table} values (%s, %s, %s)", values)
            new = [part for c, v in zip(columns, values) for part in (c, kind, v)]
            wanted += [["begin"], ["commit", 0, 0, 0], ["begin"],
                       ["insert", "s", name, "new", *new], ["commit", 1, 0, 0]]
        for _ in NAMES * 2:
            feed.transaction()
        assert decode(feed) == wanted
        row = [p for p in feed.payloads if b"plain" in p][0]
        assert (b'table "s"."plain"' in row) == (quote_all == "on")


def test_every_type_that_has_values_in_the_catalog_of_a_server(logical, schema):
    """Each type of pg_type with a value of it: the decoder reads what the server's cast to text says."""
    values = {
        "bool": "true", "bytea": "'\\x00ff'", '"char"': "'a'", "name": "'a b'", "int8": "-9", "int2": "3",
        "int4": "-1", "oid": "4000000000", "float4": "'-Infinity'", "float8": "1e300", "money": "'1.5'",
        "text": "'a'", "bpchar": "'a '", "varchar(9)": "'v'", "date": "'infinity'", "time": "'12:00'",
        "timestamp": "'2026-11-23 08:00'", "timestamptz": "'2026-11-23 08:00+00'", "interval": "'1 day'",
        "timetz": "'12:00+01'", "bit(3)": "B'101'", "varbit": "B''", "numeric": "'NaN'", "uuid":
        "'00000000-0000-0000-0000-000000000001'", "json": "'{\"a\": \"]\"}'", "jsonb": "'[1]'",
        "point": "'(1,2)'", "inet": "'10.0.0.0/8'", "int4[]": "'{1,null}'", "text[][]": "'{{a},{\"b c\"}}'",
        "int4range": "'[1,5)'", "tsvector": "'a:1 b'", "xml": "'<a/>'", "pg_lsn": "'0/16'", "xid8": "'5'",
        "regclass": "'pg_class'", "s.mood": "'so so'", "s.few": "7", "s.pair": "'(1,\"a b\")'",
        "numeric(9,3)": "-0.001", "numeric(30)": "1e25", "float8 ": "-1e-300", "s.pair[]": "null"}
    logical.sql("create type s.mood as enum ('so so'); create domain s.few as int;"
                "create type s.pair as (a int, b text)")
    for number, (kind, value) in enumerate(values.items()):
        logical.sql(f"create table s.t{number} (v {kind}); insert into s.t{number} values ({value})")
    with Feed(logical) as feed:
        texts = []
        for number, kind in enumerate(values):
            logical.sql(f"insert into s.t{number} select * from s.t{number}")
            text, named = logical.sql(f"select v::text, format_type(pg_typeof(v), null) from s.t{number}"
                                      )[0]
            texts.append((named, "null" if text is None else text))
            feed.transaction()
        found = [event for event in decode(feed) if event[0] == "insert"]
        assert [event[1:5] for event in found] == [
            ["s", f"t{number}", "new", "v"] for number in range(len(values))]
        for event, (kind, text), name in zip(found, texts, values):
            if not name.startswith("bpchar"):  # its cast to text removes the spaces at the end
                assert [str(part) for part in event[5:]] == [kind, text], name


def test_random_transactions_are_counted(logical, schema):
    choose = random.Random(7)
    logical.sql("create table s.t (n int primary key, w text)")
    logical.sql("insert into s.t select n, 'w' from generate_series(0, 99) n")
    with Feed(logical) as feed, client(logical) as writer:
        wanted = []
        for _ in range(60):
            writer.execute("begin")
            changes = messages = 0
            for _ in range(choose.randrange(1, 6)):
                what = choose.choice(["update", "key", "delete", "message", "undone"])
                number = choose.randrange(100)
                if what == "message":
                    writer.execute("select pg_logical_emit_message(true, 'p', '')")
                    messages += 1
                elif what == "undone":
                    writer.execute("savepoint a")
                    writer.execute("delete from s.t")
                    writer.execute("rollback to a")
                else:
                    statement = {"update": "update s.t set w = 'x' where n = %s",
                                 "key": "update s.t set n = n + 1000 where n = %s",
                                 "delete": "delete from s.t where n = %s"}[what]
                    changes += writer.execute(statement, (number,)).rowcount
            writer.execute("select pg_logical_emit_message(true, 'last', '')")
            writer.execute("commit")
            wanted.append([changes, messages + 1, 0])
        for _ in wanted:
            feed.transaction()
        assert [event[1:] for event in decode(feed) if event[0] == "commit"] == wanted


def test_the_options_of_the_decoder_are_those_of_these_tests():
    header = (TOP / "src/flight/feed_stream.h").read_text()
    text = "".join(re.findall(r'"(.*)"', re.search(r"#define FEED_OPTIONS\s*\\\n((?:.*\\\n)*.*)",
                                                   header).group(1)))
    assert dict(re.findall(r"\\\"([\w-]+)\\\" '(\d)'", text)) == OPTIONS
