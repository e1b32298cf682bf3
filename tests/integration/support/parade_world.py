"""A random life of a parade, and what must hold at each calm.

Clients put, delete, patch, increment, compare and set, commit late, prepare, roll back; links pull pages,
are cut, deliver a page late; time passes and tombstones go; instances crash.  The model keeps every
committed version: at a calm all sites must be equal, and each key must have its greatest version.
"""
import json
import random
import signal

import psycopg

from .parade import TEST_CLOCK  # noqa: F401  (the clock that pass_time() sets)

STEP = 40 * 60  # seconds that pass with a step, at most
KEYS = [f"k{n}" for n in range(12)]
COUNTERS = [f"c{n}" for n in range(4)]


class Open:
    """A transaction that a client has not ended yet."""

    def __init__(self, site, connection):
        self.site, self.connection = site, connection
        self.versions, self.counts, self.keys = [], [], set()
        self.gid = None


class World:
    def __init__(self, sites, seed, crashes=False, losing=False):
        self.sites, self.random = sites, random.Random(seed)
        self.crashes, self.losing = crashes, losing
        self.versions = {}       # key: committed (ts, peer, value or None, expires_at)
        self.counts = {}         # key: [(epoch, delta)]
        self.open, self.flying, self.cut = [], {}, set()
        self.clock, self.serial, self.history = 0, 0, []
        self.done = {}
        for site in sites:
            site.namespace("counts", value_type="counter")
            site.rows("insert into expiry_to_interval values ('DEFAULT', 'EXPIRY_1', '5 hours')")
            site.setting(gc_grace="1 day")
            if losing:
                site.instance.sql("checkpoint", database="postgres")
                site.rows("set synchronous_commit = off")

    # -- clients

    def version(self, site, connection, key):
        value, ts, peer, expires = connection.execute(
            "select value::text, ts, peer, expires_at from kv.t_kv where namespace = 'DEFAULT' and key = %s",
            (key,)).fetchone()
        return key, (ts, peer, value, expires)

    def free(self, site, keys):
        held = set().union(*(one.keys for one in self.open if one.site is site))
        return [key for key in keys if key not in held]

    def operation(self, site, connection, into):
        """One write; what it wrote goes to the versions or counts of `into`."""
        kind = self.random.choice(["put"] * 4 + ["delete", "delete", "expiring", "patch", "put_if", "incr", "incr", "reset"])
        keys = self.free(site, COUNTERS if kind in ("incr", "reset") else KEYS)
        if not keys:
            return
        key = self.random.choice(keys)
        into.keys.add(key)
        self.serial += 1
        value = json.dumps({"n": self.serial})
        run = connection.execute
        if kind == "incr":
            delta = self.random.randint(-5, 9)
            run("select kv.incr('counts', %s, %s)", (key, delta))
            epoch, = run("select max(epoch)::text from kv.t_counter where namespace = 'counts' and key = %s"
                         " and peer = %s", (key, site.id)).fetchone()
            into.counts.append((key, self.moment(epoch), delta))
            return
        if kind == "reset":
            run("select kv.delete('counts', %s)", (key,))
            ts, = run("select ts::text from kv.t_kv where namespace = 'counts' and key = %s", (key,)).fetchone()
            into.counts.append((key, self.moment(ts), None))
            return
        if kind == "put":
            run("select kv.put('DEFAULT', %s, %s::text)", (key, value))
        elif kind == "expiring":
            run("select kv.put('DEFAULT', %s, %s::text, 'EXPIRY_1')", (key, value))
        elif kind == "delete":
            run("select kv.delete('DEFAULT', %s)", (key,))
        elif kind == "patch":
            run("select kv.patch_numeric('DEFAULT', %s, %s::text)", (key, value))
        elif kind == "put_if":
            known = run("select version from kv.get_version('DEFAULT', %s)", (key,)).fetchone()[0]
            wrong = self.random.random() < 0.3
            answer = run("select kv.put_if('DEFAULT', %s, %s::text, %s)",
                         (key, value, "1-1" if wrong else known)).fetchone()[0]
            assert (answer == "CONFLICT") == wrong, (answer, wrong)
            if wrong:
                return
        into.versions.append(self.version(site, connection, key))

    @staticmethod
    def moment(text):
        return "" if text == "-infinity" else text

    def committed(self, done):
        for key, version in done.versions:
            self.versions.setdefault(key, []).append(version)
        for key, epoch, delta in done.counts if self.counts is not None else ():
            self.counts.setdefault(key, []).append((epoch, delta))

    def write(self):
        site = self.random.choice(self.sites)
        done = Open(site, site.owner)
        self.operation(site, site.owner, done)
        self.committed(done)

    def begin(self):
        if len(self.open) >= 3:
            return self.end()
        site = self.random.choice(self.sites)
        connection = site.connect("parade")
        if self.losing:
            connection.execute("set synchronous_commit = off")
        connection.execute("begin")
        late = Open(site, connection)
        for _ in range(self.random.randint(1, 4)):
            self.operation(site, connection, late)
            if self.random.random() < 0.2:
                connection.execute("savepoint s")
        self.open.append(late)

    def end(self):
        if not self.open:
            return
        late = self.open.pop(self.random.randrange(len(self.open)))
        how = self.random.choice(["commit", "commit", "rollback", "prepare"]) if late.gid is None else "second"
        if how == "prepare":
            self.serial += 1
            late.gid = f"{late.site.database}-{self.serial}"
            late.connection.execute(f"prepare transaction '{late.gid}'")
            self.open.append(late)
            return
        if how == "second":
            how = self.random.choice(["commit", "rollback"])
            late.connection.execute(f"{how} prepared '{late.gid}'")
        else:
            late.connection.execute(how)
        if how == "commit":
            self.committed(late)
        late.connection.close()

    # -- links

    def pair(self):
        pairs = [pair for pair in self.sites.pairs() if (pair[0].id, pair[1].id) not in self.cut]
        return self.random.choice(pairs) if pairs else (None, None)

    def fetch(self):
        reader, source = self.pair()
        if reader and (reader.id, source.id) not in self.flying:
            self.flying[reader.id, source.id] = self.sites.link(reader, source).page(self.random.choice([1, 2, 5, 100]))

    def land(self):
        if self.flying:
            pair = self.random.choice(sorted(self.flying))
            self.sites.links[pair].merge(self.flying.pop(pair))

    def pull(self):
        reader, source = self.pair()
        if reader and (reader.id, source.id) not in self.flying:
            self.sites.link(reader, source).pull(self.random.choice([2, 100]))
            if self.random.random() < 0.5:
                self.sites.link(reader, source).acknowledge()

    def reconnect(self):
        reader, source = self.pair()
        if reader:
            self.flying.pop((reader.id, source.id), None)
            self.sites.link(reader, source).begin()

    def partition(self):
        reader, source = self.random.choice(self.sites.pairs())
        self.cut ^= {(reader.id, source.id)}

    # -- time, removal, crashes

    def pass_time(self):
        self.clock += self.random.randint(0, STEP)
        for site in self.sites:
            site.shift(f"{self.clock + self.random.uniform(-2, 2)} seconds")

    def collect(self):
        self.random.choice(self.sites).rows("select * from kv.gc()")

    def beat(self):
        self.random.choice(self.sites).rows("select kv.heartbeat()")

    def crash(self):
        """Connections of its clients are gone; with asynchronous commit what was not flushed is, too."""
        if not self.crashes:
            return
        site = self.random.choice(self.sites)
        for late in [one for one in self.open if one.site is site and one.gid is None]:
            late.connection.close()
            self.open.remove(late)
        site.close()
        site.instance.stop(signal.SIGQUIT)
        site.instance.start()
        site.open()
        for late in [one for one in self.open if one.site is site]:
            late.connection = site.connect("parade")
        if self.losing:
            site.rows("set synchronous_commit = off")
            self.forget_lost(site)
        assert site.one("select kv.recover()") == "reclaiming"
        for other in self.sites:
            if other is not site:
                for pair in ((site, other), (other, site)):
                    self.flying.pop((pair[0].id, pair[1].id), None)
                    self.sites.link(*pair).begin()
        for other in self.sites:
            if other is not site:
                self.sites.link(site, other).reclaim(self.random.choice([2, 100]))
        assert site.state() == "online"

    def forget_lost(self, site):
        """What only the crashed instance had, and did not flush, may be lost; not what any site has."""
        there = {}
        for one in self.sites:
            for key, *version in one.rows("select key, ts, peer from kv.t_kv where namespace = 'DEFAULT'"):
                there.setdefault(key, []).append(tuple(version))
        for key, versions in self.versions.items():
            greatest = max(there.get(key, [(None, 0)]), key=lambda v: (v[0] is not None, v))
            self.versions[key] = [v for v in versions if v[1] != site.id or v[:2] in there.get(key, [])
                                  or greatest[0] is not None and v[:2] < greatest]
        self.counts = None  # the model can't know which increments were flushed

    # -- the whole

    def run(self, steps):
        mix = {self.write: 10, self.begin: 2, self.end: 2, self.fetch: 4, self.land: 4, self.pull: 6,
               self.reconnect: 0.5, self.partition: 1, self.pass_time: 1, self.collect: 2, self.beat: 2,
               self.crash: 0.3}
        steps_of_mix = self.random.choices(list(mix), list(mix.values()), k=steps)
        for step in steps_of_mix:
            self.history.append(step.__name__)
            step()
            self.done[step.__name__] = self.done.get(step.__name__, 0) + 1
        self.calm()

    def calm(self):
        for late in list(self.open):
            while late in self.open:
                self.end()
        self.cut.clear()
        while self.flying:
            self.land()
        for site in self.sites:
            site.shift(f"{self.clock} seconds")
        self.sites.calm()
        self.sites.calm()
        self.check()

    def expected(self, now):
        found = {}
        for key, versions in self.versions.items():
            if not versions:
                continue
            ts, peer, value, expires = max(versions, key=lambda v: v[:2])
            if value is not None and (expires is None or expires > now):
                found["DEFAULT", key] = (value, None, ts, peer)
        for key, changes in (self.counts or {}).items():
            newest = max(epoch for epoch, _ in changes)
            deltas = [delta for epoch, delta in changes if epoch == newest and delta is not None]
            if deltas:
                found["counts", key] = sum(deltas)
        return found

    def check(self):
        now = self.sites[0].one("select kv.clock()")
        assert not any(site.waiting() for site in self.sites), [site.waiting() for site in self.sites]
        lives = [site.live() for site in self.sites]
        assert lives[0] == lives[1] == lives[-1], [live for live in lives]
        assert self.sites.equal()
        expected, live = self.expected(now), lives[0]
        if self.counts is None:
            live = {name: row for name, row in live.items() if name[0] != "counts"}
        differ = {name: (expected.get(name), live.get(name)) for name in expected.keys() | live.keys()
                  if expected.get(name) != live.get(name)}
        assert not differ, differ

    def close(self):
        for late in self.open:
            late.connection.close()
