"""What the functions of kv promise to clients: results, limits, rights, SQLSTATEs."""
import psycopg
import pytest
from psycopg import errors

from support.parade import Link, install
from support.patience import eventually


@pytest.fixture
def site(parade):
    return parade(1)[0]


@pytest.fixture
def client(site):
    with site.connect() as connection:
        yield connection


def one(connection, statement, *values):
    return connection.execute(statement, values or None).fetchone()[0]


# -- results

def test_a_put_says_whether_the_shard_had_a_row_of_the_key(client):
    assert one(client, "select kv.put('DEFAULT', 'k', '1', 'NO_EXPIRE')") == "INSERT"
    assert one(client, "select kv.put('DEFAULT', 'k', '2', 'NO_EXPIRE')") == "UPDATE"
    assert one(client, "select kv.delete('DEFAULT', 'k')") == "UPDATE"
    assert one(client, "select kv.delete('DEFAULT', 'never')") == "INSERT"
    assert one(client, "select kv.get('DEFAULT', 'k')") is None
    assert one(client, "select kv.put('DEFAULT', 'k', null, null)") == "UPDATE"


def test_the_later_local_writer_wins_over_a_version_from_the_future(site, client):
    site.shift("1 hour")
    site.put("k", "early")
    site.shift("0")
    assert one(client, """select kv.put('DEFAULT', 'k', '"late"')""") == "UPDATE"
    assert site.get("k") == "late"


def test_put_if_compares_the_version(client):
    assert one(client, "select kv.put_if('DEFAULT', 'k', '1', null)") == "INSERT"
    assert one(client, "select kv.put_if('DEFAULT', 'k', '2', null)") == "CONFLICT"
    version = one(client, "select version from kv.get_version('DEFAULT', 'k')")
    assert one(client, "select kv.put_if('DEFAULT', 'k', '2', %s)", version) == "UPDATE"
    assert one(client, "select kv.put_if('DEFAULT', 'k', '3', %s)", version) == "CONFLICT"
    assert one(client, "select kv.get('DEFAULT', 'k')") == 2
    client.execute("select kv.delete('DEFAULT', 'k')")
    assert one(client, "select kv.put_if('DEFAULT', 'k', '4', null)") == "UPDATE", "a tombstone is no value"


def answer(connection):
    """What a statement returned that was only sent."""
    result = connection.pgconn.get_result()
    while connection.pgconn.get_result():
        pass
    return result


def test_of_two_put_ifs_at_once_one_succeeds(site):
    site.put("k", 0)
    version = site.one("select version from kv.get_version('DEFAULT', 'k')")
    call = "select kv.put_if('DEFAULT', 'k', '1', %s)"
    with site.connect() as first, site.connect() as second:
        with first.transaction():
            assert one(first, call, version) == "UPDATE"
            second.pgconn.send_query_params(call.replace("%s", "$1").encode(), [version.encode()])
            eventually(site.blocked)
        assert answer(second).get_value(0, 0) == b"CONFLICT"


def test_a_numeric_patch_adds_fields_and_null_removes_one(client):
    put = "select kv.patch_numeric('DEFAULT', 'k', %s, null)"
    assert one(client, put, '{"a": 1, "b": 2.5, "c": null}') == "INSERT"
    assert one(client, "select kv.get('DEFAULT', 'k')") == {"a": 1, "b": 2.5, "c": None}, "as it is"
    assert one(client, put, '{"a": 99999999999999999999, "b": null, "d": 7}') == "UPDATE"
    assert one(client, "select kv.get('DEFAULT', 'k')::text") in (
        '{ "a" : 100000000000000000000, "c" : null, "d" : 7 }',)
    with pytest.raises(errors.InvalidParameterValue, match='field "a" is not a number'):
        one(client, put, '{"a": "x"}')


def test_many_keys_are_read_in_the_order_asked_and_written_all_or_none(client):
    done = client.execute("select * from kv.mput('DEFAULT', '{b,a,b}', '{1,2,3}')").fetchall()
    assert done == [("a", "INSERT"), ("b", "INSERT"), ("b", "UPDATE")]
    found = client.execute("select key, value from kv.mget('DEFAULT', '{b,none,a}')").fetchall()
    assert found == [("b", 3), ("none", None), ("a", 2)]
    with pytest.raises(errors.InvalidTextRepresentation):
        client.execute("select * from kv.mput('DEFAULT', '{a,z}', '{9,no json}')")
    assert one(client, "select kv.get('DEFAULT', 'a')") == 2
    with pytest.raises(errors.ArraySubscriptError, match="2 keys and 1 values"):
        client.execute("select * from kv.mput('DEFAULT', '{a,z}', '{9}')")


def test_a_scan_goes_by_prefix_and_bytes(client):
    for key in ("a", "a/1", "a/2", "a/\U0010ffff\U0010ffff", "aé", "b"):
        client.execute("select kv.put('DEFAULT', %s, '1')", (key,))
    client.execute("select kv.delete('DEFAULT', 'a/2')")
    scan = "select key from kv.scan('DEFAULT', %s, %s, %s)"
    found = [row[0] for row in client.execute(scan, ("a/", None, 10))]
    assert found == ["a/1", "a/\U0010ffff\U0010ffff"]
    assert [row[0] for row in client.execute(scan, ("a", "a/1", 2))] == ["a/\U0010ffff\U0010ffff", "aé"]
    with pytest.raises(errors.InvalidParameterValue, match="1 to 10000 rows, not 0"):
        client.execute(scan, ("", None, 0))


def test_a_value_expires_for_readers_at_its_time(site, client):
    site.rows("insert into expiry_to_interval values ('DEFAULT', 'EXPIRY_1', '2 days')")
    client.execute("select kv.put('DEFAULT', 'k', '1', 'EXPIRY_1')")
    assert one(client, "select kv.ttl('DEFAULT', 'k') > '47 hours'")
    site.shift("1 day")
    assert one(client, "select kv.touch('DEFAULT', 'k', 'EXPIRY_1')") == "UPDATE"
    site.shift("2 days 1 hour")
    assert one(client, "select kv.get('DEFAULT', 'k')") == 1, "touched"
    site.shift("3 days 1 hour")
    assert one(client, "select kv.get('DEFAULT', 'k')") is None
    assert one(client, "select kv.touch('DEFAULT', 'k')") is None
    assert one(client, "select count(*) from kv.scan('DEFAULT')") == 0
    assert one(client, "select kv.put_if('DEFAULT', 'k', '2', null)") == "UPDATE"
    assert one(client, "select kv.ttl('DEFAULT', 'k')") is None


def test_a_counter_begins_again_at_a_delete_and_at_each_window(site, client):
    site.namespace("counts", value_type="counter")
    site.rows("insert into expiry_to_interval values ('counts', 'EXPIRY_1', '1 day')")
    assert one(client, "select kv.incr('counts', 'c', 5)") == 5
    assert one(client, "select kv.incr('counts', 'c', -2)") == 3
    assert one(client, "select kv.get('counts', 'c')") == 3
    client.execute("select kv.delete('counts', 'c')")
    assert one(client, "select kv.get('counts', 'c')") is None
    assert one(client, "select kv.incr('counts', 'c', 1)") == 1
    assert one(client, "select kv.incr('counts', 'w', 4, 'EXPIRY_1')") == 4
    site.shift("1 day")
    assert one(client, "select kv.get('counts', 'w')") is None
    assert one(client, "select kv.incr('counts', 'w', 1)") == 1, "without a class it goes on from there"
    with pytest.raises(errors.WrongObjectType, match='"counts" holds counter, not json'):
        client.execute("select kv.put('counts', 'c', '1')")


def test_namespaces_hold_json_jsonb_or_bytea(site, client):
    site.namespace("b", value_type="jsonb")
    site.namespace("raw", value_type="bytea")
    client.execute("""select kv.put('DEFAULT', 'k', '{"b":1,  "a":2}'), kv.put('b', 'k', '{"b":1,  "a":2}')""")
    assert one(client, "select kv.get('DEFAULT', 'k')::text") == '{"b":1,  "a":2}'
    assert one(client, "select kv.get('b', 'k')::text") == '{"a": 2, "b": 1}'
    client.execute("select kv.put_bytes('raw', 'k', %s)", (b"\0\xff",))
    assert one(client, "select kv.get_bytes('raw', 'k')") == b"\0\xff"
    version = one(client, "select version from kv.get_version('raw', 'k')")
    assert one(client, "select kv.put_bytes_if('raw', 'k', 'x', %s)", version) == "UPDATE"
    with pytest.raises(errors.WrongObjectType):
        client.execute("select kv.get('raw', 'k')")
    with pytest.raises(errors.WrongObjectType):
        client.execute("select kv.put('raw', 'k', '1')")


# -- limits

def test_errors_name_the_thing_the_value_and_the_limit(site, client):
    site.namespace("small", max_key=8, max_value=10)
    for statement, error, text in (
            ("select kv.put('none', 'k', '1')", errors.UndefinedObject, 'namespace "none" does not exist'),
            ("select kv.get('none', 'k')", errors.UndefinedObject, 'namespace "none" does not exist'),
            ("select kv.put('small', 'ninechars', '1')", errors.StringDataRightTruncation,
             'key of 9 bytes in namespace "small", the limit is 8'),
            ("select kv.put('small', 'k', '12345678901')", errors.ProgramLimitExceeded,
             'value of 11 bytes for key "k" of namespace "small", the limit is 10'),
            ("select kv.put('small', 'k', '1', 'EXPIRY_9')", errors.UndefinedObject,
             'namespace "small" has no expiry class "EXPIRY_9"'),
            ("select kv.put('small', null, '1')", errors.NullValueNotAllowed, "a key of namespace"),
            ("select kv.put('small', 'k', 'x')", errors.InvalidTextRepresentation, "json")):
        with pytest.raises(error, match=text):
            client.execute(statement)


def test_a_patch_can_not_pass_the_limit_of_values(site, client):
    site.namespace("small", max_value=20)
    client.execute("""select kv.patch_numeric('small', 'k', '{"a":1}')""")
    with pytest.raises(errors.ProgramLimitExceeded):
        client.execute("""select kv.patch_numeric('small', 'k', '{"bbbbbbbb":1}')""")


def test_a_quota_holds_from_the_next_measurement(site, client):
    site.namespace("few", quota_rows=2)
    for key in "abc":
        client.execute("select kv.put('few', %s, '1')", (key,))
    site.rows("select kv_stats.update_usage()")
    with pytest.raises(errors.ConfigurationLimitExceeded, match='"few" holds 3 rows and 6 bytes, its quotas are 2 and none'):
        client.execute("select kv.put('few', 'd', '1')")
    client.execute("select kv.delete('few', 'a')")
    site.rows("select kv_stats.update_usage()")
    client.execute("select kv.put('few', 'd', '1')")


# -- rights

def test_clients_write_by_functions_only(site, client):
    for statement in ("insert into kv.t_kv (namespace, key, ts, peer, xid, origin_xid) values ('DEFAULT', 'k', now(), 9, '1', '1')",
                      "update kv.t_kv set ts = 'infinity'", "delete from kv.t_kv", "select * from kv.t_kv",
                      "update kv_config.test_clock set shift = '1 hour'", "truncate kv.t_counter",
                      "insert into kv_config.running values (9, gen_random_uuid(), 'online', now(), '1')",
                      "select kv._write(null, 'DEFAULT', 'k', '1', null)", "select kv.recover()",
                      "select kv.merge(2, null, null)", "select kv_config.import_config('{}')",
                      "select kv_config.accept_writes()", "select * from kv_stats.conflicts"):
        with pytest.raises(errors.InsufficientPrivilege):
            client.execute(statement)


def test_a_client_can_not_put_objects_of_its_own_in_a_functions_way(site, client):
    client.execute("create temp table t_kv (namespace text, key text, value json)")
    client.execute("create temp table namespace (namespace text)")
    client.execute("set search_path = pg_temp, public")
    assert one(client, "select kv.put('DEFAULT', 'k', '1')") == "INSERT"
    assert one(client, "select kv.get('DEFAULT', 'k')") == 1
    assert one(client, "select count(*) from pg_temp.t_kv") == 0


def test_every_function_that_clients_call_is_guarded_and_says_what_it_promises(site):
    unguarded = site.rows("""
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace in ('kv'::regnamespace, 'kv_config'::regnamespace, 'kv_stats'::regnamespace)
          and (has_function_privilege('kv_client', p.oid, 'execute')
               or has_function_privilege('kv_replicationd', p.oid, 'execute'))
          and (not p.prosecdef
               or not exists (select from unnest(p.proconfig) c where c like 'search_path=pg_catalog%, pg_temp')
               or obj_description(p.oid) is null)""")
    assert not unguarded


def test_a_restricted_namespace_needs_a_grant(site, client):
    site.namespace("secret", restricted=True)
    for statement in ("select kv.get('secret', 'k')", "select kv.put('secret', 'k', '1')"):
        with pytest.raises(errors.InsufficientPrivilege, match='namespace "secret"'):
            client.execute(statement)
    site.rows("insert into kv_config.namespace_grant values ('secret', 'kv_client', false)")
    assert one(client, "select kv.get('secret', 'k')") is None
    with pytest.raises(errors.InsufficientPrivilege, match='Role "kv_client" may not write it'):
        client.execute("select kv.put('secret', 'k', '1')")
    site.rows("update kv_config.namespace_grant set may_write = true")
    assert one(client, "select kv.put('secret', 'k', '1')") == "INSERT"


def test_a_grant_counts_for_the_role_that_was_set(site):
    site.namespace("secret", restricted=True)
    site.rows("insert into kv_config.namespace_grant values ('secret', 'kv_replicationd', true)")
    site.rows("grant execute on all functions in schema kv to kv_replicationd")
    superuser = site.connect("postgres")
    with superuser:
        assert one(superuser, "select kv.put('secret', 'k', '1')") == "INSERT", "a superuser is a member"
        superuser.execute("set role kv_client")
        with pytest.raises(errors.InsufficientPrivilege):
            superuser.execute("select kv.put('secret', 'k', '1')")


def test_nothing_here_belongs_to_a_superuser(site):
    assert site.one("select not rolsuper from pg_roles where rolname = 'kv_replicationd'")
    assert site.one("select not rolsuper from pg_roles where rolname = current_user")
    assert site.one("select pg_has_role('kv_replicationd', 'pg_read_all_stats', 'member')")


# -- transactions

def test_a_put_can_be_prepared(site):
    with site.connect() as client:
        client.execute("begin")
        client.execute("select kv.put('DEFAULT', 'k', '1'), kv.delete('DEFAULT', 'gone')")
        client.execute("prepare transaction 'one'")
        assert site.get("k") is None
        client.execute("commit prepared 'one'")
    assert site.get("k") == 1


def test_gets_are_stable_so_that_one_statement_sees_one_version(site):
    found = site.rows("select proname from pg_proc where pronamespace = 'kv'::regnamespace"
                      " and proname in ('get', 'mget', 'scan', 'get_bytes', 'get_version', 'ttl', 'watch', 'feed')"
                      " and provolatile <> 's'")
    assert not found


# -- watch

def watch(client, cursor):
    rows = client.execute("select * from kv.watch('DEFAULT', %s, 2)", (cursor,)).fetchall()
    return rows[-1][0], [(key, value) for _, key, value, _, _ in rows if key is not None]


def everything(client, cursor):
    found = []
    while True:
        cursor, some = watch(client, cursor)
        found += some
        if len(some) < 2:
            return cursor, found


def test_a_watch_tells_every_change_and_none_twice(site, client):
    cursor, _ = watch(client, None)
    with site.connect() as late:
        late.execute("begin")
        late.execute("select kv.put('DEFAULT', 'late', '1')")
        for key in "abcde":
            client.execute("select kv.put('DEFAULT', %s, '1')", (key,))
        client.execute("select kv.delete('DEFAULT', 'c')")
        cursor, found = everything(client, cursor)
        assert sorted(found, key=str) == [("a", 1), ("b", 1), ("c", None), ("d", 1), ("e", 1)]
        cursor, found = everything(client, cursor)
        assert found == []
        late.commit()
    cursor, found = everything(client, cursor)
    assert found == [("late", 1)]


def test_a_watch_tells_what_came_from_other_zones(parade):
    a, b = parade(2)
    with b.connect() as client:
        cursor, _ = watch(client, None)
        a.put("k", 1)
        b.put("own", 1)
        Link(b, a).pull()
        assert sorted(everything(client, cursor)[1]) == [("k", 1), ("own", 1)]


def test_replicas_of_sql_text_refuse_another_encoding(ground):
    ground.instances[0].sql("create database latin template template0 encoding latin1 locale 'C'"
                            " owner parade", database="postgres")
    with ground.instances[0].connect("latin") as connection:
        with pytest.raises(psycopg.Error, match="has the encoding LATIN1, a parade needs UTF8"):
            install(connection, "shard")
