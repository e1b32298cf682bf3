"""What the mode strict needs: a cluster with its setup, tables, and a daemon with a feed."""
import subprocess

import psycopg

from .patience import PATIENCE, eventually
from .trunkline import binary, route

# Tables that tests of strict answers read and write; a test adds what it needs beside them.
SCHEMA = """
drop schema if exists s, t, was cascade; create schema s;
create table s.a (n int primary key, v int);
insert into s.a select i, 0 from generate_series(1, 100) i;
create table s.b (n int primary key, v int); insert into s.b values (1, 0), (2, 0);
grant usage on schema s to public; grant all on all tables in schema s to public;
"""
SQL = "select v from s.a where n = 1"
# Tests write more often than a rule that may rest would bear.
STRICT = {"mode": "strict", "adaptive": False}


def prepare(cluster, database="app"):
    """What a database needs for a feed of the user `trusted`."""
    cluster.sql("alter role trusted replication")
    setup = subprocess.run([binary(), "feed-setup"], capture_output=True, text=True, check=True,
                           timeout=PATIENCE)
    cluster.sql(setup.stdout, database=database)
    return cluster


def prepared(cluster, more=""):
    """The same, with SCHEMA and more."""
    prepare(cluster).sql(SCHEMA + more)
    return cluster


def client(cluster, database="app", user="postgres", **settings):
    """A client of the server itself, over the socket."""
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return psycopg.connect(host=str(cluster.folder), port=cluster.port, user=user, dbname=database,
                           autocommit=True, options=options)


def lose_standby(cluster):
    """The only synchronous standby of the cluster is away from now on: commits wait for it."""
    cluster.sql("alter system set synchronous_standby_names = 'away'")
    cluster.sql("select pg_reload_conf()")
    eventually(lambda: cluster.one("show synchronous_standby_names") == "away")


def service(*servers, **settings):
    return {"main": {"hosts": [f"127.0.0.1:{one.port}" for one in servers], "tls": {"mode": "disable"},
                     "feed_user": "trusted", **settings}}


def strict_settings(cluster, settings=None, service_settings=None, **rule):
    """The settings of a daemon with one strict rule: trunkline(**strict_settings(cluster))"""
    return dict(server=cluster, relays=2, services=service(cluster, **(service_settings or {})),
                routes=[route(cache=[{**STRICT, **rule}], **(settings or {}))])
