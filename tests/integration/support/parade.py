"""A parade for tests: shard instances on real clusters, and a replicator of a few lines.

    sites = parade(3)                    # shard instances on three clusters, members of each other
    a, b, c = sites
    a.put("k", 1)
    sites.calm()                         # every link pulls until nothing is new
    assert sites.equal()

A Site is one shard instance, a Link pulls from one site to another by hand: what the replicator will
do, without a thread.  Nothing pulls unless a test says so, so a test makes every interleaving.
"""
import itertools
import os
from pathlib import Path

import psycopg
from psycopg.types.json import Json

from .postgres import Postgres

SQL = Path(os.environ.get("PARADE_SQL")
           or Path(__file__).resolve().parents[3] / "src" / "parade" / "sql")
OWNER = "parade"
SETTINGS = {"shared_buffers": "16MB", "max_prepared_transactions": 10, "log_statement": "none",
            "log_min_duration_statement": -1, "synchronous_commit": "on", "max_connections": 60}
HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"

# The clock that tests can set: a table under kv.clock(), written by its owner only.
TEST_CLOCK = """
create table kv_config.test_clock (shift interval not null);
insert into kv_config.test_clock values ('0');
create or replace function kv.clock() returns timestamptz language sql volatile
return pg_catalog.clock_timestamp() + (select shift from kv_config.test_clock);
"""


def migrations(kind):
    """(version, text) of each file that a database of this kind has, in order."""
    for line in (SQL / "MIGRATIONS").read_text().splitlines():
        if line and not line.startswith("#"):
            version, of, name = line.split()
            if of in (kind, "both"):
                yield int(version), (SQL / name).read_text()


def install(connection, kind):
    """What the command line will do: one transaction, versions above the installed one."""
    connection.execute("set check_function_bodies = on")
    with connection.transaction():
        known = connection.execute("select to_regclass('kv_config.schema_version')").fetchone()[0]
        installed = known and connection.execute(
            "select max(version) from kv_config.schema_version").fetchone()[0] or 0
        wanted = sorted({version for version, _ in migrations(kind) if version > installed})
        for version in wanted:
            for of, text in migrations(kind):
                if of == version:
                    connection.execute(text)
            connection.execute("insert into kv_config.schema_version (version) values (%s)", (version,))
        connection.execute((SQL / "grants.sql").read_text())
    return wanted


def make_parade_template(template):
    """A cluster with the owner of parades, who is no superuser, and a database to copy shards from."""
    made = Instance(template)
    # Before PostgreSQL 16 CREATEROLE suffices to grant a predefined role.
    made.sql(f"create role {OWNER} login createrole createdb", database="postgres")
    made.sql(f"create database shard owner {OWNER}", database="postgres")
    with made.connect("shard") as connection:
        install(connection, "shard")
        connection.execute(TEST_CLOCK)
    made.stop()
    return made


class Instance(Postgres):
    """A cluster for shard instances, a copy of make_parade_template()'s."""

    def __init__(self, template, **settings):
        super().__init__(template, hba=HBA, **{**SETTINGS, **settings})

    def connect(self, database, user=OWNER):
        return psycopg.connect(host=str(self.folder), port=self.port, user=user, dbname=database,
                               autocommit=True, connect_timeout=5)


class Site:
    """One shard instance: a database, and a connection of its owner."""

    def __init__(self, instance, database, number):
        self.instance = instance
        self.database = database
        self.id = number
        # PostgreSQL 15 copies the empty form of an unlogged index in memory only: a crash would lose it.
        instance.sql(f"create database {database} template shard owner {OWNER} strategy file_copy",
                     database="postgres")
        self.open()

    def open(self):
        self.owner = self.instance.connect(self.database)

    def close(self):
        self.owner.close()

    def connect(self, user="kv_client"):
        return self.instance.connect(self.database, user)

    # -- SQL as the owner

    def rows(self, statement, *values):
        cursor = self.owner.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else None

    def one(self, statement, *values):
        return self.rows(statement, *values)[0][0]

    # -- what clients do

    def put(self, key, value, expiration=None, ns="DEFAULT"):
        return self.one("select kv.put(%s, %s, %s::text, %s)", ns, key, Json(value), expiration)

    def get(self, key, ns="DEFAULT"):
        return self.one("select kv.get(%s, %s)", ns, key)

    def delete(self, key, ns="DEFAULT"):
        return self.one("select kv.delete(%s, %s)", ns, key)

    def incr(self, key, delta=1, ns="counts"):
        return self.one("select kv.incr(%s, %s, %s)", ns, key, delta)

    # -- what tests set

    def shift(self, interval):
        """Sets the clock: so far from the real one."""
        self.rows("update kv_config.test_clock set shift = %s", interval)

    def setting(self, **values):
        for name, value in values.items():
            self.rows(f"update kv_config.setting set {name} = %s", value)

    def namespace(self, name, **columns):
        names = ["namespace", *columns]
        self.rows(f"insert into kv_config.namespace ({', '.join(names)})"
                  f" values ({', '.join(['%s'] * len(names))})", name, *columns.values())

    # -- what is there

    def state(self):
        return self.one("select coalesce((select state from kv_config.running r"
                        " where r.xmin = r.xid::xid), 'cut')")

    def digest(self, as_of=None):
        return self.rows("select * from kv.verify(%s) order by bucket", as_of)

    def live(self):
        """Every live key with its value, counters too."""
        found = self.rows("select namespace, key, value::text, encode(data, 'hex'), ts, peer from kv.t_kv"
                          " where (value is not null or data is not null)"
                          " and (expires_at is null or expires_at > kv.clock())")
        counts = self.rows("select namespace, key, kv._count(namespace, key) from"
                           " (select distinct namespace, key from kv.t_counter) c")
        return {(ns, key): tuple(rest) for ns, key, *rest in found} | {
            (ns, key): count for ns, key, count in counts if count is not None}

    def blocked(self):
        """How many sessions wait for a lock here."""
        return self.instance.one("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
                                 " and datname = %s", self.database, database="postgres")

    def waiting(self):
        return self.rows("select kind, key from kv_stats.not_received order by id")


class Cut(Exception):
    """A source has lost heartbeats that a reader holds."""


class Link:
    """Pulls rows that `source` wrote to `reader`."""

    def __init__(self, reader, source):
        self.reader, self.source = reader, source
        self.cursor = self.incarnation = None

    def begin(self):
        held = self.reader.rows("select * from kv.held(%s)", self.source.id)[0]
        _, self.incarnation, state, _, common, snapshot, _ = self.source.rows(
            "select * from kv.feed_hello(%s, %s, %s, %s)", self.reader.id, *held)[0]
        if state == "cut":
            raise Cut(f"the history of {self.source.id} was cut without a crash")
        self.cursor = self.reader.one("select kv.link_begin(%s, %s, %s, %s)::text", self.source.id,
                                      self.incarnation, common, snapshot)
        return common

    def page(self, rows=5000, size=4194304, origin=None, cursor=None):
        return self.source.rows(
            "select f::text, f.rows, f.more, f.next::text"
            " from kv.feed(%s, %s, %s, %s::kv.cursor, %s, %s) f", self.reader.id, self.incarnation,
            origin or self.source.id, cursor or self.cursor, rows, size)[0]

    def merge(self, page):
        text, _, _, following = page
        done = self.reader.rows("select * from kv.merge(%s, %s::kv.cursor, %s::kv.feed_page)",
                                self.source.id, self.cursor, text)[0]
        self.cursor = following
        return done

    def pull(self, rows=5000):
        """A whole round; how many rows came."""
        if self.cursor is None:
            self.begin()
        count, more = 0, True
        while more:
            page = self.page(rows)
            self.merge(page)
            count, more = count + page[1], page[2]
        return count

    def acknowledge(self):
        incarnation, received, horizon = self.reader.rows("select * from kv.acknowledge(%s)", self.source.id)[0]
        self.source.rows("select kv.feed_ack(%s, %s, %s, %s)", self.reader.id, incarnation, received, horizon)

    def reclaim(self, rows=5000):
        """Takes rows that the reader has lost back from the source."""
        while True:
            cursor, = self.reader.rows("select reclaim::text from kv.peer_status_from"
                                       " where peer = %s and reclaim_open", self.source.id)[0]
            page = self.page(rows, origin=self.reader.id, cursor=cursor)
            more = self.reader.one("select kv.merge_reclaimed(%s, %s::kv.cursor, %s::kv.feed_page)",
                                   self.source.id, cursor, page[0])
            if not more:
                return


class Parade(list):
    """The sites of one shard, and a link for each ordered pair."""

    def __init__(self, sites):
        super().__init__(sites)
        self.links = {}
        for one, other in itertools.permutations(sites, 2):
            one.rows("select kv_config.add_peer(%s)", other.id)
        for site in sites:
            site.rows("select kv_config.set_my_info(%s, 'here')", site.id)
        self.begin()

    def link(self, reader, source):
        return self.links.setdefault((reader.id, source.id), Link(reader, source))

    def pairs(self):
        return list(itertools.permutations(self, 2))

    def begin(self):
        for reader, source in self.pairs():
            self.link(reader, source).begin()
        for reader, source in self.pairs():
            if reader.state() == "reclaiming":
                self.link(reader, source).reclaim()

    def exchange(self):
        """One round of every link; how many rows came."""
        return sum(self.link(reader, source).pull() for reader, source in self.pairs())

    def calm(self):
        while self.exchange():
            pass
        for site in self:
            site.rows("update kv.deferred set retry_at = '-infinity'")
            for other in self:
                if other is not site:
                    site.rows("select kv.retry(%s)", other.id)
        for reader, source in self.pairs():
            self.link(reader, source).acknowledge()

    def equal(self):
        as_of = self[0].one("select kv.clock()")
        digests = [site.digest(as_of) for site in self]
        return all(digest == digests[0] for digest in digests)

    def gc(self, calls=3):
        """Enough calls, with whole rounds between them, for all that may be removed."""
        removed = 0
        for _ in range(calls):
            for _ in range(2):
                self.exchange()
                for reader, source in self.pairs():
                    self.link(reader, source).acknowledge()
            removed += sum(site.one("select removed from kv.gc()") for site in self)
        return removed


class Ground:
    """Three clusters that the tests of a file share; each test has databases of its own."""

    def __init__(self, template, count=3, **settings):
        self.instances = [Instance(template, **settings) for _ in range(count)]
        self.made = []
        self.serial = itertools.count(1)

    def parade(self, count=3):
        name = f"kv{next(self.serial)}"
        sites = [Site(instance, name, number)
                 for number, instance in enumerate(self.instances[:count], 1)]
        self.made += sites
        return Parade(sites)

    def clear(self):
        for site in self.made:
            site.close()
            for gid, in site.instance.sql("select gid from pg_prepared_xacts where database = %s",
                                          site.database, database="postgres"):
                site.instance.sql(f"rollback prepared '{gid}'", database=site.database)
            site.instance.sql(f"drop database {site.database} with (force)", database="postgres")
        self.made.clear()

    def remove(self):
        for instance in self.instances:
            instance.remove()
