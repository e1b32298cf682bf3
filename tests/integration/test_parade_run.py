"""A parade of three zones on three real clusters: `parade setup`, `push`, and the replicators of `parade run`."""
import itertools
import json
import re
import signal

import pytest
import yaml
from support.parade import OWNER, Site
from support.parade_cli import call, refused, run
from support.patience import eventually
from support.processes import Program
from support.proxy import Proxy
from support.trunkline import TOP, binary

ZONES = ("east", "west", "south")
SHARD = "kv1"


class Parade:
    """Three zones, one shard, a topology file, and a replicator in each zone."""

    def __init__(self, ground, folder):
        self.ground, self.folder = ground, folder
        self.proxies, self.programs, self.sites = {}, {}, {}
        self.ports = {zone: instance.port for zone, instance in zip(ZONES, ground.instances)}
        self.file = self.write("topology.yaml", self.ports)

    def write(self, name, ports):
        path = self.folder / name
        path.write_text(yaml.safe_dump({
            "connection": f"user={OWNER} sslmode=disable",
            "replicator": "user=kv_replicationd connect_timeout=5",
            "zones": {zone: f"host=127.0.0.1 port={port}" for zone, port in ports.items()},
            "shards": {SHARD: {zone: number for number, zone in enumerate(ZONES, 1)}}}))
        return path

    def setup(self):
        said = call("setup", self.file)
        for zone, instance in zip(ZONES, self.ground.instances):
            site = object.__new__(Site)
            site.instance, site.database, site.id = instance, SHARD, ZONES.index(zone) + 1
            site.open()
            self.sites[zone] = site
        return said

    def behind_proxies(self, zone):
        """A topology file of the zone's replicator, in which each other zone is behind a proxy."""
        ports = dict(self.ports)
        for other in ZONES:
            if other != zone:
                self.proxies[zone, other] = Proxy("127.0.0.1", self.ports[other])
                ports[other] = self.proxies[zone, other].port
        return self.write(f"{zone}.yaml", ports)

    def replicate(self, zone, file=None):
        self.programs[zone] = Program([binary(), "parade", "run", file or self.file, "--zone", zone],
                                      self.folder / f"{zone}.log")

    def log(self, zone):
        return (self.folder / f"{zone}.log").read_text()

    def status(self):
        done = run("status", self.file, "--json")
        return {one["instance"]: one for one in json.loads(done.stdout) if one["instance"]}

    def streams(self):
        return all(link["state"] == "streaming" for one in self.status().values() for link in one["links"])

    def lives(self):
        return [site.live() for site in self.sites.values()]

    def equal(self):
        """Whether all zones hold the same, with nothing on its way."""
        lives = self.lives()
        if not lives[0] == lives[1] == lives[2] or any(site.waiting() for site in self.sites.values()):
            return False
        as_of = self.sites["east"].one("select kv.clock()")
        digests = [site.digest(as_of) for site in self.sites.values()]
        return digests[0] == digests[1] == digests[2]

    def close(self):
        for program in self.programs.values():
            if program.running():
                program.end(signal.SIGKILL)
        for proxy in self.proxies.values():
            proxy.__exit__()
        for site in self.sites.values():
            site.close()


@pytest.fixture
def zones(ground, tmp_path):
    made = Parade(ground, tmp_path)
    yield made
    made.close()
    for instance in ground.instances:
        for database in (SHARD, "kv2", "kv_catalog"):
            instance.sql(f"drop database if exists {database} with (force)", database="postgres")


def test_a_topology_file_makes_a_parade_and_running_it_again_changes_nothing(zones):
    planned = call("setup", zones.file, "--dry-run")
    assert planned.count("would be created") == 6
    said = zones.setup()
    assert said.count(": created\n") == 6 and said.count("a catalog of version 1\n") == 3
    assert "kv_catalog: configuration of version 1\n" in said and said.count("taken over") == 5
    again = call("setup", zones.file)
    assert "created" not in again and "configuration of version" not in again
    assert again.count("of version 1 already\n") == 6 and again.count("is there already") == 5
    peers = {zone: site.rows("select peer from kv_config.peer order by 1") for zone, site in zones.sites.items()}
    assert peers == {"east": [(2,), (3,)], "west": [(1,), (3,)], "south": [(1,), (2,)]}

    catalog = zones.ground.instances[0]
    catalog.sql("insert into kv_config.namespace (namespace, value_type) values ('counts', 'counter')",
                database="kv_catalog")
    zones.ground.instances[2].stop()
    done = run("push", zones.file)
    assert done.returncode == 1 and "Connection refused" in done.stderr
    assert done.stdout.count("taken over") == 3
    zones.ground.instances[2].start()
    assert call("push", zones.file).count("taken over") == 5
    assert zones.sites["west"].incr("c") == 1


def test_all_zones_hold_the_same_whatever_is_cut_or_killed(zones):
    zones.setup()
    instances = dict(zip(ZONES, zones.ground.instances))
    instances["east"].sql("insert into kv_config.namespace (namespace, value_type) values ('counts', 'counter')",
                          database="kv_catalog")
    call("push", zones.file)
    for zone in ZONES:
        zones.replicate(zone, zones.behind_proxies(zone))
    eventually(zones.streams)
    numbers = itertools.count(1)

    def write(count=20):
        for zone, site in zones.sites.items():
            for n in range(count):
                site.put(f"{zone}{n % 7}", next(numbers))
                site.put(f"shared{n % 5}", next(numbers))
                site.incr(f"c{n % 2}")
            site.delete(f"{zone}0")
    write()
    eventually(zones.equal)
    assert zones.sites["east"].one("select kv.get('counts', 'c0')") == 30

    # A pair that can't reach each other: the rows of the third arrive, theirs do when it is over.
    for pair in (("east", "west"), ("west", "east")):
        zones.proxies[pair].stuck()
    write()
    eventually(lambda: zones.sites["south"].get("shared4") is not None)
    for pair in (("east", "west"), ("west", "east")):
        zones.proxies[pair].cut()
        zones.proxies[pair].flow()
    eventually(zones.equal, timeout=60)

    # A replicator is killed, and starts again where its cursor stands.
    zones.programs["west"].end(signal.SIGKILL)
    write()
    zones.replicate("west", zones.folder / "west.yaml")
    eventually(zones.equal, timeout=60)

    # PostgreSQL is killed: the instance takes its own rows back before it accepts writes.
    zones.sites["south"].close()
    instances["south"].stop(signal.SIGQUIT)
    zones.sites["east"].put("meanwhile", 1)
    instances["south"].start()
    zones.sites["south"].open()
    eventually(lambda: zones.sites["south"].state() == "online", timeout=60)
    write()
    eventually(zones.equal, timeout=60)
    assert zones.sites["west"].one("select kv.get('counts', 'c0')") == 120
    eventually(zones.streams, timeout=60)
    for zone in ZONES:
        assert zones.programs[zone].end(signal.SIGTERM) == 0
        assert "parade.stopping" in zones.log(zone)


def test_a_second_replicator_waits_for_the_first(zones):
    zones.setup()
    zones.replicate("east")
    eventually(lambda: "parade.link " in zones.log("east"))
    first = zones.programs["east"]
    second = Program([binary(), "parade", "run", zones.file, "--zone", "east"], zones.folder / "second.log")
    zones.programs["second"] = second
    eventually(lambda: "parade.standby" in (zones.folder / "second.log").read_text())
    first.end(signal.SIGKILL)
    zones.sites["west"].put("k", 1)
    eventually(lambda: zones.sites["east"].get("k") == 1)


def test_a_link_that_fails_says_why(zones):
    zones.setup()
    zones.replicate("east")
    eventually(lambda: zones.status()[1]["links"][0]["state"] == "streaming")
    zones.sites["west"].rows("select kv_config.forget_peer(1)")
    trouble = eventually(lambda: zones.status()[1]["links"][0]["trouble"])
    assert "peer 1 is no member (42704)" in trouble
    assert zones.status()[1]["links"][0]["state"] in ("failed", "connecting")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)


def test_the_page_of_the_installation_holds_word_by_word(zones):
    """Its statements, its topology file and its commands, with the addresses of these clusters."""
    page = (TOP / "docs" / "parade" / "installation.md").read_text()
    instances = zones.ground.instances
    topology, = blocks(page, "text")
    for zone, instance in zip(ZONES, instances):
        topology = re.sub(rf"{zone}: host=.*", f"{zone}: host=127.0.0.1 port={instance.port}", topology)
    zones.file.write_text(topology.replace("sslmode=require", "sslmode=disable"))
    _, roles, values, change = blocks(page, "sql")
    commands = [line.replace("/etc/trunkline/parade.conf", str(zones.file)).split()[2:]
                for block in blocks(page, "sh") for line in block.splitlines()]
    dry, setup, serve, status, push = commands
    assert call(*dry).count("would be created") == 9
    assert call(*setup).count(": created\n") == 9
    for zone, instance in zip(ZONES, instances):
        instance.sql(roles, database="postgres")
        zones.programs[zone] = Program([binary(), "parade", *[zone if word == "east" else word for word in serve]],
                                       zones.folder / f"{zone}.log")
    put, get = values.splitlines()
    with instances[0].connect("kv2", "kv_client") as east, instances[2].connect("kv2", "kv_client") as south:
        assert east.execute(put).fetchone() == ("INSERT",)
        eventually(lambda: south.execute(get).fetchone() == ({"text": "hello"},))
    assert "streaming" in call(*[word for word in status if word != "--watch"])
    instances[0].sql(change, database="kv_catalog")
    assert call(*push).count("taken over") == 8


@pytest.mark.parametrize("text, said", [
    ("zones: [", "line 2: "), ("{}", "zones or shards are missing"), ("nosuch: 1", "line 1: accepted: connection,"),
    ("zones: {a: hots=b}\nshards: {s: {a: 1}}", "line 1: found hots in a connection string"),
    ("zones: {a: host=b}\nshards: {s: {c: 1}}", "line 2: no zone has this name"),
    ("zones: {a: host=b}\nshards: {s: {a: 0}}", "line 2: accepted: the number of the shard instance"),
    ("zones: {a: host=b, c: host=d}\nshards: {s: {a: 1, c: 1}}", "line 2: another shard instance has this number"),
    ("zones: {a: dbname=b}\nshards: {s: {a: 1}}", "the databases have the names of the shards"),
    ("zones: {a: host=b}\nshards: {kv_catalog: {a: 1}}", "line 2: the catalog has this name"),
])
def test_a_wrong_topology_is_refused_with_its_line(tmp_path, text, said):
    file = tmp_path / "t.yaml"
    file.write_text(text)
    assert f"{file}: " in refused("setup", file) and said in refused("setup", file)


def test_a_replicator_needs_a_zone_of_the_file(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text("zones: {a: host=b}\nshards: {s: {a: 1}}")
    assert "found zone c; accepted: --zone" in refused("run", file, "--zone", "c", code=2)
    assert "found no --zone" in refused("run", file, code=2)
