"""How a feed learns of DDL: an event trigger that writes a message into the transaction's log."""
import psycopg
import pytest
from support.feed import Feed

# The trigger leaves out what is done to temporary objects alone; a drop of one and of others is told.
SETUP = """
create schema watch;
create function watch.told() returns event_trigger language plpgsql as $$
begin
    if tg_event = 'ddl_command_end' then
        if exists (select from pg_event_trigger_ddl_commands() c
                   where c.schema_name is distinct from 'pg_temp') then
            perform pg_logical_emit_message(true, 'ddl', tg_tag);
        end if;
    elsif tg_event = 'sql_drop' then
        if exists (select from pg_event_trigger_dropped_objects() d where not d.is_temporary) then
            perform pg_logical_emit_message(true, 'ddl', tg_tag);
        end if;
    end if;
end $$;
create event trigger watch_end on ddl_command_end execute function watch.told();
create event trigger watch_drop on sql_drop execute function watch.told();
alter event trigger watch_end enable always;
alter event trigger watch_drop enable always;
create table base (n int primary key, m int);
create sequence q;
create materialized view mv as select * from base;
create view v as select * from base;
create function f() returns int language sql as 'select 1';
create type kind as enum ('a');
create extension hstore;
"""


def owner(cluster, **settings):
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return psycopg.connect(host=str(cluster.folder), port=cluster.port, user="postgres",
                           dbname="ddl", autocommit=True, options=options)


@pytest.fixture
def watched(logical):
    logical.sql("drop database if exists ddl with (force)")
    logical.sql("create database ddl")
    logical.sql(SETUP, database="ddl")
    yield logical
    logical.sql("drop role if exists one_role; revoke app from reports")
    logical.sql("alter role app reset all; alter role app in database ddl reset all")
    logical.sql("alter database ddl reset all")


def tags(changes):
    """What the trigger told, of the texts of a transaction."""
    return [text.rpartition("content:")[2] for text in changes if "prefix: ddl," in text]


def told(cluster, client, statement):
    with Feed(cluster, "ddl") as feed:
        client.execute(statement)
        client.execute("select pg_logical_emit_message(true, 'mark', '')")
        found, marked = [], False
        while not marked:
            changes = feed.changes()
            found += tags(changes)
            marked = any("prefix: mark," in text for text in changes)
        return found


@pytest.mark.parametrize("statement, tag", [
    ("create table x (n int)", "CREATE TABLE"), ("alter table base add x int", "ALTER TABLE"),
    ("create index on base (m)", "CREATE INDEX"), ("create view w as select 1", "CREATE VIEW"),
    ("create or replace function f() returns int language sql as 'select 2'", "CREATE FUNCTION"),
    ("grant select on base to app", "GRANT"), ("alter default privileges grant select on tables to app",
                                               "ALTER DEFAULT PRIVILEGES"),
    ("create policy p on base using (false)", "CREATE POLICY"),
    ("create rule r as on insert to base do nothing", "CREATE RULE"),
    ("alter type kind add value 'b'", "ALTER TYPE"), ("comment on table base is 'x'", "COMMENT"),
    ("refresh materialized view mv", "REFRESH MATERIALIZED VIEW"),
    ("select 1 as n into x", "SELECT INTO"), ("create table x as select 1 n", "CREATE TABLE AS"),
    ("alter table base enable row level security", "ALTER TABLE"),
    ("alter extension hstore set schema watch", "ALTER EXTENSION"),
    ("alter function f() stable", "ALTER FUNCTION"), ("alter sequence q restart", "ALTER SEQUENCE"),
    ("create schema s create table x (n int)", "CREATE SCHEMA"),
    ("alter table base owner to app", "ALTER TABLE"),
    ("create operator === (leftarg = int, rightarg = int, function = int4eq)", "CREATE OPERATOR"),
    ("create cast (kind as int) with inout", "CREATE CAST"),
    ("create index concurrently on base (m)", "CREATE INDEX"),
    ("create statistics st on n, m from base", "CREATE STATISTICS")])
def test_what_is_told_once(watched, statement, tag):
    with owner(watched) as client:
        assert told(watched, client, statement) == [tag]


@pytest.mark.parametrize("statement, tag", [
    ("drop table base cascade", "DROP TABLE"), ("drop function f()", "DROP FUNCTION"),
    ("drop view v", "DROP VIEW"), ("alter table base drop m cascade", "ALTER TABLE"),
    ("drop owned by app", "DROP OWNED")])
def test_a_drop_is_told(watched, statement, tag):
    watched.sql("create table of_app (n int); alter table of_app owner to app", database="ddl")
    with owner(watched) as client:
        found = told(watched, client, statement)
        assert set(found) == {tag}, "by sql_drop, and ALTER by both"


@pytest.mark.parametrize("statement", [
    "create role one_role", "alter role app set work_mem = '5MB'",
    "alter role app in database ddl set work_mem = '5MB'", "alter database ddl set work_mem = '5MB'",
    "grant app to reports", "revoke app from reports", "alter role app createrole",
    "alter role app nocreaterole", "comment on role app is 'x'", "comment on database ddl is 'x'",
    "alter system set work_mem = '5MB'", "select pg_reload_conf()", "grant connect on database ddl to app",
    "truncate base", "analyze base", "vacuum base", "cluster base using base_pkey",
    "update pg_class set relname = 'renamed' where relname = 'base'", "reindex table base",
    "alter event trigger watch_end disable", "select lo_create(77)",
    "create temporary table x (n int)", "do 'begin create temporary table y (n int); end'"])
def test_what_is_not_told_by_the_trigger(watched, statement):
    with owner(watched) as client:
        assert told(watched, client, statement) == []
    watched.sql("alter system reset work_mem")


def test_dropping_a_temporary_table_is_not_told(watched):
    with owner(watched) as client:
        client.execute("create temporary table x (n int)")
        assert told(watched, client, "drop table x") == []
        client.execute("create temporary table x (n int)")
        client.execute("create table y (n int)")
        assert told(watched, client, "drop table x, y") == ["DROP TABLE"]


def test_a_trigger_that_is_enabled_always_fires_for_replicas_too(watched):
    with owner(watched) as client:
        client.execute("set session_replication_role = replica")
        assert told(watched, client, "create table x (n int)") == ["CREATE TABLE"]


def test_one_that_is_enabled_as_usual_does_not(watched):
    watched.sql("alter event trigger watch_end enable", database="ddl")
    with owner(watched) as client:
        client.execute("set session_replication_role = replica")
        assert told(watched, client, "create table x (n int)") == []
        assert told(watched, client, "set session_replication_role = origin") == []
        assert told(watched, client, "create table y (n int)") == ["CREATE TABLE"]


def test_ddl_that_is_undone_is_not_told(watched):
    with owner(watched) as client:
        assert told(watched, client, "begin; create table x (n int); rollback") == []


def test_it_comes_in_the_transaction_of_the_ddl_with_its_rows(watched):
    with owner(watched) as client, Feed(watched, "ddl") as feed:
        client.execute("begin; insert into base values (1); alter table base add x int;"
                       "insert into base values (2); commit")
        assert feed.changes() == [
            "table public.base: INSERT: n[integer]:1 m[integer]:null",
            "message: transactional: 1 prefix: ddl, sz: 11 content:ALTER TABLE",
            "table public.base: INSERT: n[integer]:2 m[integer]:null x[integer]:null"]


def test_its_function_runs_as_the_user_of_the_ddl(watched):
    """No right is needed for a message; one to use the function's schema is not asked for either."""
    watched.sql("grant create on schema public to trusted", database="ddl")
    with watched.endpoint(database="ddl", user="trusted").connect() as client:
        with Feed(watched, "ddl") as feed:
            client.execute("create table theirs (n int)")
            assert tags(feed.changes()) == ["CREATE TABLE"]


def test_only_a_superuser_makes_event_triggers(watched):
    with watched.endpoint(database="ddl", user="trusted").connect() as client:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute("create event trigger mine on sql_drop execute function watch.told()")


def test_what_the_trigger_does_not_tell_is_an_empty_transaction_or_none(watched):
    """A transaction without changes raises the whole database, and covers the rest of one database."""
    with owner(watched) as client, Feed(watched, "ddl") as feed:
        for statement in ("create role one_role", "alter role app set work_mem = '5MB'",
                          "grant app to reports", "revoke app from reports",
                          "cluster base using base_pkey", "reindex table base",
                          "alter event trigger watch_end disable", "drop event trigger watch_drop",
                          "update pg_class set relname = 'renamed' where relname = 'base'"):
            client.execute(statement)
            assert feed.changes() == [], statement
