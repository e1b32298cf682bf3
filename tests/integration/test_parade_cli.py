"""`trunkline parade`: installation, values, status, comparison and repair, on real clusters."""
import json

import pytest
from support.parade import OWNER
from support.parade_cli import call, connection, refused


@pytest.fixture
def empty(ground):
    """empty(n): the connection string of a new database on the n-th cluster."""
    made = []

    def make(index=0):
        instance, name = ground.instances[index], f"cli{len(made)}"
        instance.sql(f"create database {name} owner {OWNER}", database="postgres")
        made.append((instance, name))
        return connection(instance, name)
    yield make
    for instance, name in made:
        instance.sql(f"drop database {name} with (force)", database="postgres")


@pytest.fixture
def site(parade):
    """A shard instance that the tests' own installer made, and how the command line reaches it."""
    one, = parade(1)
    return one, connection(one.instance, one.database)


# --- installation ---------------------------------------------------------------------------------

def test_a_database_becomes_a_shard_instance_and_stays_one(empty):
    where = empty()
    name = where.split("@")[1]
    planned = call("init", where, "--instance", 7, "--dry-run")
    assert f"{name}: version 0, would become a shard instance of version 1 by:\ncommon.sql\n" in planned
    assert planned.endswith("stats.sql\nconfiguration.sql\ngrants.sql\n")
    assert "no part of a parade" in refused("status", where)
    assert call("init", where, "--instance", 7, "--host", "a") == (
        f"{name}: a shard instance of version 1\n{name}: instance 7 on a, online\n")
    assert call("init", where, "--instance", 7, "--host", "b") == (
        f"{name}: a shard instance of version 1 already\n{name}: instance 7 on b, online\n")
    assert call("upgrade", where) == f"{name}: a shard instance of version 1 already\n"
    assert "is number 7, not 8; its number is for ever" in refused("init", where, "--instance", 8)
    assert "is a shard instance, not a catalog" in refused("init", where, "--catalog")
    assert call("put", where, "k", '{"a": 1}') == "INSERT\n"
    assert call("get", where, "k") == '{"a": 1}\n'


def test_a_database_becomes_a_catalog(empty):
    where = empty()
    assert call("init", where, "--catalog", "--host", "a").endswith(": a catalog of version 1\n")
    document, = json.loads(call("status", where, "--json"))
    assert (document["state"], document["host"], document["version"]) == ("catalog", "a", 1)


def test_an_installation_that_fails_leaves_nothing(ground, empty):
    where = empty()
    instance, name = ground.instances[0], where.rsplit("/", 1)[1]
    instance.sql("create schema kv_stats", database=name)
    said = refused("init", where, "--instance", 1)
    assert 'common.sql: schema "kv_stats" already exists (42P06)' in said
    assert instance.sql("select to_regclass('kv_config.my_info')", database=name) == [(None,)]


def test_a_newer_database_is_left_alone(site):
    one, where = site
    one.rows("insert into kv_config.schema_version (version) values (99)")
    assert "has version 99, this program knows up to 1; use a newer trunkline" in refused("upgrade", where)


# --- values ---------------------------------------------------------------------------------------

def test_values_are_written_and_read_as_json_and_as_text(site):
    one, where = site
    assert call("put", where, "k", "[1, 2]") == "INSERT\n"
    assert call("put", where, "k", 'it\'s "text" — ü', "--text") == "UPDATE\n"
    assert call("get", where, "k") == '"it\'s \\"text\\" — ü"\n'
    assert call("get", where, "k", "--text") == 'it\'s "text" — ü\n'
    assert call("put", where, "long", "-", "--text", stdin="x" * 300000) == "INSERT\n"
    assert one.get("long") == "x" * 300000
    assert call("delete", where, "k") == "UPDATE\n"
    assert 'there is no key "k" in namespace "DEFAULT"' in refused("get", where, "k")
    said = refused("put", where, "k", "{nonsense")
    assert "(22P02)" in said or "(22" in said


def test_other_namespaces_have_bytes_and_counters(site):
    one, where = site
    one.namespace("counts", value_type="counter")
    one.namespace("blobs", value_type="bytea")
    assert call("incr", where, "c", "--ns", "counts") == "1\n"
    assert call("incr", where, "c", "--ns", "counts", "--", -5) == "-4\n"
    assert call("get", where, "c", "--ns", "counts") == "-4\n"
    assert call("put", where, "b", "\\x00ff", "--ns", "blobs", "--bytes") == "INSERT\n"
    assert call("get", where, "b", "--ns", "blobs") == "\\x00ff\n"
    said = refused("get", where, "k", "--ns", "nosuch")
    assert 'namespace "nosuch"' in said and "(42704)" in said


def test_a_scan_goes_over_all_pages(site):
    one, where = site
    one.rows("select kv.put('DEFAULT', 'a' || lpad(n::text, 5, '0'), n::text) from generate_series(1, 2500) n")
    one.put("b", "text")
    lines = call("scan", where, "a").splitlines()
    assert lines == [f"a{n:05}\t{n}" for n in range(1, 2501)]
    assert call("scan", where, "--limit", 2) == "a00001\t1\na00002\t2\n"
    assert call("scan", where, "b", "--text") == "b\ttext\n"


def test_an_error_of_the_server_is_told_with_its_hint(site):
    one, where = site
    one.rows("delete from kv_config.running")
    said = refused("put", where, "k", "1")
    assert "has not recovered since its last crash" in said and "(55000)" in said
    assert "\n  hint: The replicator calls kv.recover()" in said


# --- connections ----------------------------------------------------------------------------------

def test_every_form_of_a_connection_string_is_understood(site):
    one, _ = site
    one.put("k", 1)
    port, database, folder = one.instance.port, one.database, one.instance.folder
    for where in (f"host=127.0.0.1 port={port} dbname='{database}' user={OWNER}",
                  f"postgres://{OWNER}@localhost:{port}/{database}?sslmode=disable&connect_timeout=5",
                  f"host={folder} port={port} dbname={database} user={OWNER}",
                  f"postgresql://{OWNER}@/{database}?host={folder}&port={port}"):
        assert call("get", where, "k") == "1\n"
    assert call("get", f"dbname={database}", "k", PGHOST="127.0.0.1", PGPORT=str(port),
                  PGUSER=OWNER) == "1\n"
    assert "found sslmode never; accepted: disable," in refused(
        "get", "sslmode=never", "k", code=2)
    assert "found hots in a connection string; accepted: host," in refused(
        "get", "hots=a", "k", code=2)
    assert "Connection refused" in refused("get", "host=127.0.0.1 port=1 dbname=x user=x", "k")


def test_passwords_come_from_a_file_the_environment_or_pgpass(postgres, tmp_path):
    where = f"postgresql://app@127.0.0.1:{postgres.port}/app"
    with_password = f"postgresql://app:app@127.0.0.1:{postgres.port}/app"
    file = tmp_path / "password"
    file.write_text("app\n")
    pgpass = tmp_path / "pgpass"
    pgpass.write_text(f"127.0.0.1:{postgres.port}:*:app:app\n")
    pgpass.chmod(0o600)
    there = "no part of a parade"
    assert there in refused("status", with_password)
    assert there in refused("status", where, "--password-file", file)
    assert there in refused("status", where, PGPASSWORD="app")
    assert there in refused("status", where, PGPASSFILE=str(pgpass))
    assert "password" in refused("status", where, PGPASSWORD="wrong")
    assert "No such file" in refused("status", where, "--password-file", tmp_path / "none", code=2)


def test_an_encrypted_connection_is_made_as_sslmode_says(postgres, authority):
    where = f"postgresql://app:app@localhost:{postgres.port}/app?sslmode="
    assert "no part of a parade" in refused("status", f"{where}require")
    assert "no part of a parade" in refused("status", f"{where}verify-full&sslrootcert={authority.cert}")
    assert "No such file" in refused("status", f"{where}verify-full&sslrootcert=/nonexistent")


@pytest.mark.parametrize("words, said", [
    ((), "init CONNECTION"), (("nosuch",), "unknown command nosuch"),
    (("get", "dbname=x"), "found 1 arguments; accepted: CONNECTION KEY"),
    (("get", "dbname=x", "k", "--nosuch"), "unknown option --nosuch"),
    (("get", "dbname=x", "k", "--catalog"), "an option of another command"),
    (("scan", "dbname=x", "--limit", "0"), "found --limit 0; accepted: 1 to"),
    (("init", "dbname=x"), "found neither; accepted: --instance NUMBER"),
    (("quarantine", "dbname=x", "eat"), "found eat; accepted: list, retry"),
    (("put", "dbname=x", "k", "v", "--text", "--bytes"), "accepted: one of them"),
])
def test_wrong_usage_is_told(words, said):
    assert said in refused(*words, code=2)


# --- status and upkeep ----------------------------------------------------------------------------

def test_the_status_shows_instances_and_links(parade):
    sites = parade(2)
    a, b = sites
    a.put("k", 1)
    a.put("gone", 1)
    a.delete("gone")
    sites.calm()
    where = [connection(site.instance, site.database) for site in sites]
    first, second = json.loads(call("status", *where, "--json"))
    assert (first["instance"], first["state"], first["rows"], first["tombstones"]) == (1, "online", "1", 1)
    assert [(link["peer"], link["state"], link["applied"]) for link in second["links"]] == [(1, "streaming", 2)]
    lines = call("status", *where).splitlines()
    assert lines[0].split() == ["database", "instance", "host", "state", "version", "config", "rows",
                                "tombstones", "waiting"]
    assert lines[1].split()[1:] == ["1", "here", "online", "1", "0", "1", "1", "0"]
    assert lines[4].split()[:5] == ["database", "peer", "host", "link", "lag"]
    assert "Connection refused" in refused("status", where[0], "host=127.0.0.1 port=1 dbname=x user=x")


def test_members_that_differ_are_found_and_repaired(parade):
    sites = parade(2)
    a, b = sites
    for n in range(20):
        a.put(f"k{n}", n)
    sites.calm()
    where = [connection(site.instance, site.database) for site in sites]
    verified = call("verify", *where)
    assert "20 rows, 0 of 1024 buckets differ" in verified
    b.rows("delete from kv.t_kv where key in ('k3', 'k4')")
    a.rows("""update kv.t_kv set value = '"other"', ts = ts + interval '1 s' where key = 'k5'""")
    assert "members differ" in refused("verify", *where)
    assert "3 rows would be copied, 0 would be deleted" in call("repair", *where, "--dry-run")
    assert "3 rows copied, 0 deleted" in call("repair", *where)
    assert "20 rows, 0 of 1024 buckets differ" in call("verify", *where)
    assert b.get("k4") == 4 and b.get("k5") == "other"


def test_rows_that_wait_are_listed_tried_again_and_dropped(parade):
    sites = parade(2)
    a, b = sites
    a.shift("1 hour")
    a.put("k", 1)
    sites.exchange()
    where = connection(b.instance, b.database)
    heads, row = call("quarantine", where, "list").splitlines()
    number = row.split()[0]
    assert "quarantined" in row and " k " in row and "further in the future than max_skew" in row
    assert call("quarantine", where, "retry", number) == "1 rows are tried again by the next merge\n"
    assert call("quarantine", where, "drop", number).startswith("1 rows dropped")
    assert call("quarantine", where, "list") == ""


def test_tombstones_go_and_a_member_can_be_forgotten(parade):
    sites = parade(2)
    a, b = sites
    where = connection(a.instance, a.database)
    assert call("gc", where) == "0 removed, 0 expired, 0 members fenced\n"
    assert "there is no peer 9" in refused("forget", where, 9)
    assert "peer 2 is forgotten" in call("forget", where, 2)
    assert a.one("select state from kv_config.peer where peer = 2") == "removed"
