"""Statements that share one execution: objects of the server that hold and count it, and clients."""
import psycopg

from . import wire as w
from .patience import PATIENCE, eventually
from .trunkline import route

OBJECTS = """
    drop table if exists flights_rows; drop function if exists flights_held, flights_fails;
    drop sequence if exists flights_runs; drop schema if exists flights_other cascade;
    create table flights_rows (a int primary key, b text);
    insert into flights_rows values (1, 'one'), (2, 'two');
    create sequence flights_runs;
    create function flights_held(k int) returns int language plpgsql as $$ begin
        perform nextval('flights_runs'); perform pg_advisory_xact_lock_shared(4242, k); return k;
    end $$;
    create function flights_fails(k int) returns int language plpgsql as $$ begin
        perform flights_held(k); return 1 / (k - k);
    end $$;
    grant all on flights_rows, flights_runs to public;
    create schema flights_other;
    create table flights_other.flights_rows (a int primary key, b text);
    insert into flights_other.flights_rows values (1, 'other');
    grant usage on schema flights_other to public; grant all on flights_other.flights_rows to public;
    """
BUSY = ("from pg_stat_activity where state = 'active' and wait_event = 'advisory'"
        " and query like '%%flights\\_%%'")


class Gate:
    """Holds the executions of flights_held(), and counts them."""

    def __init__(self, postgres):
        self.postgres = postgres
        self.connection = psycopg.connect(host=str(postgres.folder), port=postgres.port,
                                          user="postgres", dbname="app", autocommit=True)
        self.before = self.made()
        self.shut()

    def made(self):
        return self.postgres.one("select case when is_called then last_value else 0 end"
                                 " from flights_runs")

    def runs(self):
        """Executions since the gate was made."""
        return self.made() - self.before

    def shut(self):
        self.connection.execute("select pg_advisory_lock(4242, 1)")

    def open(self):
        self.connection.execute("select pg_advisory_unlock_all()")

    def busy(self):
        return self.postgres.one("select count(*) " + BUSY)

    def kill(self):
        self.postgres.sql("select pg_terminate_backend(pid) " + BUSY)


def sharing(mode="dedupe", relays=2, settings=None, memory="64MiB", **rule):
    """The settings of a daemon with one rule: trunkline(**sharing("ttl", ttl="1s"))"""
    return dict(relays=relays, cache_memory=memory,
                cache_functions=["pg_catalog.pg_sleep", "public.flights_held", "public.flights_fails"],
                routes=[route(cache=[dict(mode=mode, **rule)], **(settings or {}))])


SQL = "select a, b, flights_held(1) from flights_rows where a = 1"
ROW = [["1", "one", "1"]]
SIMPLE = w.query(SQL)
EXTENDED = (w.parse("", SQL) + w.bind() + w.describe("P") + w.execute() + w.SYNC)


def waiting(daemon):
    return sum(one["state"] == "waiting" for one in daemon.console("SHOW CLIENTS"))


def crowd(daemon, count, message=SIMPLE, **parameters):
    """So many clients that have asked the same, and wait for one execution."""
    wires = [daemon.endpoint().wire(**parameters) for _ in range(count)]
    for wire in wires:
        wire.send(message)
    eventually(lambda: waiting(daemon) == count, PATIENCE + count / 10)
    return wires


def leave(wires):
    for wire in wires:
        wire.socket.close()
