"""Asks a real server the questions of src/flight/resolve.h, through tests/unit/resolve_print.c."""
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

TOP = Path(__file__).resolve().parents[3]
PRINT = (Path(os.environ.get("TRUNKLINE_BUILD", TOP / "build" / "debug"))
         / "tests" / "unit" / "resolve_print")

SCHEMA = """
create schema one; create schema two; create schema hidden;
grant usage on schema one, two to app;
alter default privileges grant select on tables to app;
set search_path = one;
create type mood as enum ('sad', 'glad');
create type pair as (x int, y text);
create function positive(int) returns bool language plpgsql as 'begin return $1 > 0; end';
create domain small as int check (value < 1000);
create domain checked as int check (one.positive(value));
create domain nested as small check ((value + 0)::small > -1000);
create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create table t (k int primary key, x int, y text, m mood default 'sad', at timestamptz default '2020-01-01');
create table u (k int primary key, t int references t on delete cascade on update cascade, y text);
create table v (k int primary key, u int references u on delete set null);
create table w (k int primary key, t int references t);
create table pairs (a int, b text, x int, p pair, primary key (a, b));
create table words (k text primary key, x int);
create table loose (k text collate folded primary key, x int);
create table numbers (k numeric primary key, x int);
create table ids (k uuid primary key, x int);
create table blanks (k char(10) primary key, x int);
create table odd (k int primary key, d small, c checked, dt date, g int generated always as (k + 1) stored);
create table spans (k int primary key, r int4range, d daterange, a text[], j jsonb);
create unlogged table fast (k int primary key, x int);
create sequence counter;
create table serial (k int primary key default nextval('one.counter'), x int);
create table parent (k int, x int);
create table child (z int) inherits (parent);
create table grandchild () inherits (child);
create table part (k int, x int, primary key (k)) partition by range (k);
create table part_low partition of part for values from (0) to (100);
create table part_high partition of part for values from (100) to (200) partition by list (k);
create table part_mid partition of part_high for values in (100, 101);
create table part_rest partition of part_high default;
create table refers (k int primary key, p int references part on delete cascade);
insert into t select i, i * 10, 'y' || i from generate_series(1, 5) i;
insert into u select i, i, 'u' || i from generate_series(1, 5) i;
insert into v select i, i from generate_series(1, 5) i;
insert into w select i, i from generate_series(4, 5) i;
insert into pairs select i, 'b' || i, i, row(i, 'p')::pair from generate_series(1, 3) i;
insert into words select 'w' || i, i from generate_series(1, 3) i;
insert into loose values ('a', 1); insert into numbers values (1.0, 1); insert into blanks values ('a', 1);
insert into ids values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1);
insert into odd values (1, 1, 1, '2020-01-01');
create table zoned (k int primary key, z timetz);
create table clocks (k int primary key, tm time);
create table objects (k int primary key, r regclass);
insert into clocks values (1, '12:00');
insert into spans values (1, '[1,5)', '[2020-01-01,2020-02-01)', '{a,b}', '{"a": 1}');
insert into fast values (1, 1); insert into serial(x) values (1);
insert into parent values (1, 1); insert into child values (2, 2, 2); insert into grandchild values (3, 3, 3);
insert into part values (1, 1), (100, 2), (150, 3);
insert into refers values (1, 1), (2, 150);

create view plain as select k, x, upper(y) as y from t where x > 10;
create view joined as select plain.k, u.y from plain join u on u.t = plain.k;
create view deep as select count(*) as n, max(y) as y from (select * from joined union all select k, y from u where k in (select k from v)) q;
create view of_part as select sum(x) from part;
create view now_view as select k, now() from t;
create view user_view as select k, current_user from t;
create view own_call as select k, positive(k) from t;
create view catalog_view as select k, relname from t, pg_class;
create view sampled as select * from t tablesample system (100);
create view placed as select ctid, k from t;
create view cast_view as select k, y::date from t where false;
create view xml_view as select xmlelement(name a, k) from t;
create view ordered as select k, row_number() over (partition by m order by x desc) from t;
create view recursive_view as with recursive q(k) as (select min(k) from t union all select k + 1 from q where k < 5) select q.k, coalesce(w.t, 0) from q left join w using (k);
create view cases as select case when t.x > 20 then t.y else m::text end c, greatest(t.x, k), array_agg(t.x) over (), (p).y, row(1, t.x)::text from t join pairs on a = t.k;
create view numbered as select nextval('one.counter');
create view updatable as select k, x, y from t where x < 100;
create view double as select * from updatable;
create view ruled as select k, x from parent;
create rule put as on insert to ruled do instead insert into child(k, x) values (new.k, new.x);
create view triggered as select k from t;
create function instead() returns trigger language plpgsql as 'begin insert into one.words values (''trigger'', 1) on conflict do nothing; return new; end';
create trigger instead instead of insert on triggered for each row execute function instead();
create materialized view stored as select k, x from t;
create table audited (k int primary key, x int);
insert into audited values (1, 1);
create trigger audit after update on audited for each row execute function instead();
create table logged (k int primary key, x int);
insert into logged values (1, 1);
create rule also as on update to logged do also insert into pairs values (new.k + 50, 'rule', new.x, null);
create table guarded (k int primary key, x int check (positive(x)));
insert into guarded values (1, 1);
create function bump() returns int language sql as 'update one.words set x = x + 1; select 1';
create table volatile_default (k int primary key, x int default one.bump());
create table secret (k int primary key, who text, x int);
insert into secret values (1, 'app', 1), (2, 'reports', 2);
alter table secret enable row level security;
create policy own on secret using (who = current_user);
create table shared (k int primary key, team int);
insert into shared values (1, 1), (2, 2);
create table teams (team int, who text);
insert into teams values (1, 'app');
alter table shared enable row level security;
create policy of_team on shared using (team in (select team from one.teams where who = current_user));
create table tenants (k int primary key, tenant text);
insert into tenants values (1, 'a');
alter table tenants enable row level security;
create policy of_tenant on tenants using (tenant = current_setting('app.tenant', true));
create view over_shared as select k from shared;
create table private (k int); revoke all on private from app;
create table half (k int, x int); revoke all on half from app; grant select (k) on half to app;
create function lower(text) returns text language sql as 'select $1';
create function now() returns timestamptz language sql as 'select timestamptz ''2020-01-01''';
create function twice(int) returns int immutable language sql as 'select $1 * 2';
create function reads_words(int) returns bigint stable language sql as 'select count(*) from one.words where x <= $1';
create function of_row(t) returns int language sql as 'select $1.x';
create function same(int, int) returns bool language plpgsql as 'begin return random() < 2; end';
create operator two.= (leftarg = int, rightarg = int, function = same);
create operator === (leftarg = int, rightarg = int, function = same);
create function of_mood(mood) returns int language sql as 'select 1';
create function differ(pair, pair) returns bool language sql as 'select true'; create operator <> (leftarg = pair, rightarg = pair, function = differ);
create table two.t (like t including all);
create table "we'ird\\ "" name" (k int primary key, "naïve\n" int);
insert into "we'ird\\ "" name" values (1, 1);
create table "Groß" (k int primary key, x int); insert into "Groß" values (1, 1);
create table hidden.t (like t including all);
reset search_path;
alter default privileges revoke select on tables from app;
"""


class Resolver:
    """One process of the tool, for one test.  `catalog` names relations by their oids."""

    def __init__(self, catalog):
        self.catalog = catalog
        self.process = subprocess.Popen([PRINT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)

    def say(self, line):
        self.process.stdin.write(line + "\n")

    def answer(self):
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the tool has ended"
        return line.rstrip("\n")

    def declare(self, function, *tables):
        self.say(" ".join(["declare", function, *tables]))

    def key(self, *values):
        """What identifies the value of the primary key of the last verdict; None: nothing does."""
        self.say(" ".join(["key", *(value.encode().hex() for value in values)]))
        key = self.answer().split(" ")[1]
        return None if key == "-" else bytes.fromhex(key)

    def question(self, text):
        """The question as bytes, or the verdict if none is needed."""
        self.say("text " + (text if isinstance(text, bytes) else text.encode()).hex())
        kind, rest = self.answer().split(" ", 1)
        return bytes.fromhex(rest) if kind == "ask" else self.read(rest)

    def ask(self, connection, text):
        """The verdict of a text for the role and the settings of a connection."""
        question = self.question(text)
        if not isinstance(question, bytes):
            return question
        question.decode("ascii")
        assert b"\\" not in question
        with connection.cursor() as cursor:
            cursor.execute(question, prepare=False)
            cursor.nextset()
            rows = cursor.fetchall()
        for row in rows:
            cells = ("-" if cell is None else str(cell).encode().hex() for cell in row)
            self.say("row " + "|".join(cells))
        self.say("end")
        return self.read(self.answer().removeprefix("verdict "))

    def names(self, oids):
        if not oids:
            return set()
        rows = self.catalog.execute("select oid::regclass::text from pg_class where oid = any(%s)",
                                    [[int(oid) for oid in oids.split(",")]])
        return {row[0] for row in rows}

    def read(self, line):
        fields = dict(field.split("=", 1) for field in line.split(" "))
        reason, _, because = fields["reason"].partition(":")
        written_reason, _, written_because = fields["written_reason"].partition(":")
        return SimpleNamespace(
            cacheable=reason == "-", reason=reason, because=bytes.fromhex(because).decode(errors="replace"), reads=self.names(fields["reads"]),
            writes=fields["writes"], written_reason=written_reason, written_because=bytes.fromhex(written_because).decode(errors="replace"),
            written=self.names(fields["written"]), keys=int(fields["keys"].split("/")[0]))


def fails(connection, text):
    """The SQLSTATE of a text that PostgreSQL rejects."""
    try:
        connection.execute(text)
    except psycopg.Error as error:
        return error.sqlstate
    return None


@pytest.fixture(scope="module")
def admin(postgres):
    """A superuser's connection to a database of this file."""
    where = dict(host=str(postgres.folder), port=postgres.port, user="postgres", autocommit=True)
    with psycopg.connect(dbname="postgres", **where) as connection:
        connection.execute("drop database if exists verdicts with (force)")
        connection.execute("create database verdicts")
    with psycopg.connect(dbname="verdicts", **where) as connection:
        connection.execute(SCHEMA)
        connection.execute("create schema three")
        try:
            connection.execute("""create extension postgres_fdw; create server away foreign data wrapper postgres_fdw;
                create foreign table one.far (k int) server away""")
        except psycopg.errors.FeatureNotSupported:
            pass
        yield connection
    with psycopg.connect(dbname="postgres", **where) as connection:
        connection.execute("drop database verdicts with (force)")


@pytest.fixture
def resolver(admin):
    admin.execute("reset role; set search_path = one")
    made = Resolver(admin)
    made.declare("one.reads_words", "one.words")
    yield made
    made.close()


@pytest.fixture
def client(admin):
    """A connection of the superuser, as other roles by SET ROLE."""
    with psycopg.connect(admin.info.dsn, autocommit=True) as connection:
        connection.execute("set search_path = one")
        yield connection
