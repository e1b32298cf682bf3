"""The catalog: topology, and one configuration for all catalogs and shards; installation and upgrade."""
import pytest
from psycopg import errors

import support.parade as support
from support.parade import OWNER, install
from support.patience import eventually
from support.postgres import place

TOPOLOGY = """
insert into shard_name values ('kv1'), ('kv2');
insert into catalog_instance values ('a', 5432), ('b', 5432);
insert into shard_instance (instance_id, hostname, port, shard_name, zone, state) values
    (1, 'a', 5432, 'kv1', 'east', 'online'), (2, 'b', 5432, 'kv1', 'west', 'online'),
    (3, 'a', 5432, 'kv2', 'east', 'online'), (4, 'b', 5432, 'kv2', 'west', 'joining'),
    (5, 'c', 5432, 'kv1', 'south', 'removed');
"""


@pytest.fixture
def catalogs(ground):
    """Two catalogs, on two instances."""
    made = []
    for instance in ground.instances[:2]:
        instance.sql(f"create database kv_catalog owner {OWNER}", database="postgres")
        made.append(instance.connect("kv_catalog"))
        install(made[-1], "catalog")
        made[-1].execute("select kv_config.set_my_info(%s)", (f"host{len(made)}",))
    yield made
    for connection, instance in zip(made, ground.instances):
        connection.close()
        instance.sql("drop database kv_catalog with (force)", database="postgres")


def one(connection, statement, *values):
    return connection.execute(statement, values or None).fetchone()[0]


def carry(source, target):
    """What a replicator does with a configuration."""
    document = one(source, "select kv_config.export_config()::text")
    return one(target, "select kv_config.import_config(%s::jsonb)", document)


def test_the_topology_is_a_full_mesh_of_each_shard(catalogs):
    catalog = catalogs[0]
    catalog.execute(TOPOLOGY)
    links = catalog.execute("select shard_name, id, source_id from replication_topology order by 1, 2, 3").fetchall()
    assert links == [("kv1", 1, 2), ("kv1", 2, 1), ("kv2", 3, 4), ("kv2", 4, 3)]
    port = one(catalog, "show port")
    catalog.execute("update shard_instance set port = %s, hostname = 'host1' where hostname = 'a'", (port,))
    assert catalog.execute("select id, source_id from local_replication_topology order by 1").fetchall() == [(1, 2), (3, 4)]


def test_a_configuration_is_carried_whole_and_the_newer_one_stays(catalogs, parade):
    first, second = catalogs
    first.execute(TOPOLOGY)
    first.execute("insert into kv_config.namespace (namespace, value_type) values ('counts', 'counter');"
                  "insert into expiry_to_interval values ('DEFAULT', 'EXPIRY_1', '2 days 00:00:01.5');"
                  "update kv_config.setting set gc_grace = '20 days'")
    assert not carry(first, second), "nothing was pushed"
    assert one(first, "select kv_config.push_catalog_changes()") == 1
    assert carry(first, second) and not carry(first, second) and not carry(second, first)
    tables = "select (kv_config.export_config() - 'ts')::text"
    assert one(first, tables) == one(second, tables)
    second.execute("delete from expiry_to_interval; delete from kv_config.namespace where namespace = 'counts'")
    second.execute("select kv_config.push_catalog_changes()")
    assert carry(second, first) and not carry(first, second)

    site, = parade(1)
    assert carry(first, site.owner)
    with pytest.raises(errors.UndefinedObject, match='namespace "counts"'):
        site.incr("c")


def test_a_shard_takes_its_members_from_the_configuration(catalogs, ground):
    catalog = catalogs[0]
    catalog.execute(TOPOLOGY)
    catalog.execute("select kv_config.push_catalog_changes()")
    ground.instances[0].sql(f"create database kv2 template shard owner {OWNER}", database="postgres")
    with ground.instances[0].connect("kv2") as shard:
        shard.execute("select kv_config.set_my_info(3, 'a')")
        assert carry(catalog, shard)
        assert shard.execute("select peer, hostname, state from kv_config.peer").fetchall() == [(4, "b", "joining")]
        assert one(shard, "select count(*) from kv.peer_status_to") == 1, "it is counted from now on"
        catalog.execute("update shard_instance set state = 'removed' where instance_id = 4")
        catalog.execute("select kv_config.push_catalog_changes()")
        assert carry(catalog, shard)
        assert one(shard, "select state from kv_config.peer") == "removed"
        assert one(shard, "select count(*) from kv.peer_status_to") == 0
    ground.instances[0].sql("drop database kv2 with (force)", database="postgres")


def test_a_push_notifies_those_who_listen_in_the_catalog(catalogs):
    catalog = catalogs[0]
    heard = []
    catalog.add_notify_handler(lambda notify: heard.append(notify.channel))
    catalog.execute("listen config_push")
    catalog.execute("select kv_config.push_catalog_changes()")
    eventually(lambda: catalog.execute("select 1") and heard == ["config_push"])


def test_an_installation_may_be_repeated(ground, parade):
    site, = parade(1)
    site.put("k", 1)
    site.rows("grant execute on function kv.recover(boolean) to kv_client")
    assert install(site.owner, "shard") == []
    assert site.get("k") == 1
    assert site.one("select has_function_privilege('kv_replicationd', 'kv.recover(boolean)', 'execute')")


def test_a_failed_installation_leaves_nothing(ground, monkeypatch):
    copy = place("sql")
    for path in support.SQL.iterdir():
        (copy / path.name).write_text(path.read_text())
    (copy / "stats.sql").write_text("select 1/0")
    monkeypatch.setattr(support, "SQL", copy)
    ground.instances[0].sql(f"create database half owner {OWNER}", database="postgres")
    with ground.instances[0].connect("half") as connection:
        with pytest.raises(errors.DivisionByZero):
            install(connection, "shard")
        assert one(connection, "select to_regnamespace('kv')") is None
    ground.instances[0].sql("drop database half with (force)", database="postgres")


def test_the_number_of_an_instance_is_for_ever(parade):
    site, = parade(1)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="this shard instance is number 1, not 2"):
        site.rows("select kv_config.set_my_info(2, 'here')")
