"""A parameter that servers have accepted, and refuse later: no statement is carried out without it.

A pooler sends a client's parameters to each server that the client gets.  Whether PostgreSQL accepts
them again may depend on rights and objects, which change.
"""
import contextlib
import re
from pathlib import Path

import psycopg
import pytest

from support.trunkline import route

CURSORS = {"simple": psycopg.ClientCursor, "extended": psycopg.Cursor}
WRITE = "insert into written select current_user, current_setting('session_replication_role') returning *"


@pytest.fixture
def table(postgres):
    postgres.sql("create table written (by text, replication text); grant all on written to public")
    yield
    postgres.sql("drop table written")


@pytest.fixture
def pool(trunkline):
    return trunkline(routes=[route(auth="trust", pool_size=1)])


@pytest.fixture(params=CURSORS)
def connect(request, pool):
    with contextlib.ExitStack() as all_of_them:
        def make(user="trusted", options=""):
            return all_of_them.enter_context(psycopg.connect(
                pool.endpoint("app", user).conninfo(), options=options, autocommit=True,
                cursor_factory=CURSORS[request.param]))
        yield make


@contextlib.contextmanager
def made(postgres, making, unmaking):
    postgres.sql(making)
    try:
        yield
    finally:
        postgres.sql(unmaking)


@pytest.mark.parametrize("change", ["revoke lesser from trusted", "drop role lesser"])
def test_a_role(connect, postgres, table, change):
    with made(postgres, "create role lesser; grant lesser to trusted", "drop role if exists lesser"):
        client, other = connect(options="-c role=lesser"), connect()
        assert client.execute("select current_user").fetchone() == ("lesser",)
        other.execute("select 1")
        postgres.sql(change)
        with pytest.raises(psycopg.Error) as refused:
            client.execute(WRITE)
        assert refused.value.sqlstate in ("42501", "22023")
        assert other.execute("select * from written").fetchall() == []
        assert other.execute("select current_user").fetchone() == ("trusted",)


@pytest.mark.parametrize("name, making, unmaking", [
    ("default_text_search_config", "create text search configuration public.thing (copy = simple)",
     "drop text search configuration if exists public.thing"),
    ("default_table_access_method", "create access method thing type table handler heap_tableam_handler",
     "drop access method if exists thing"),
])
def test_an_object_that_was_dropped(connect, postgres, table, name, making, unmaking):
    with made(postgres, making, unmaking):
        value = "public.thing" if "." in making else "thing"
        client, other = connect(options=f"-c {name}={value}"), connect()
        assert client.execute(f"show {name}").fetchone() == (value,)
        other.execute("select 1")
        postgres.sql(unmaking)
        with pytest.raises(psycopg.Error, match=name):
            client.execute(WRITE)
        assert other.execute("select * from written").fetchall() == []


def test_what_the_last_client_has_left_and_may_not_be_undone(connect, postgres, table):
    with made(postgres, "create role lesser; grant lesser to trusted; alter role trusted superuser",
              "alter role trusted nosuperuser; drop role lesser"):
        client = connect(options="-c session_replication_role=replica -c role=lesser")
        other, third = connect(), connect()
        assert client.execute("select current_user").fetchone() == ("lesser",)
        postgres.sql("alter role trusted nosuperuser")
        with contextlib.suppress(psycopg.Error):
            other.execute(WRITE)
        assert postgres.sql("select * from written") in ([], [("trusted", "origin")])
        assert third.execute(WRITE).fetchall() == [("trusted", "origin")]


def test_what_lasts_may_be_set_by_each_user_and_names_no_object(postgres):
    source = (Path(__file__).parents[2] / "src/session/accepted.c").read_text()
    lasting = re.findall(r'"(\w+)",', re.search(r"lasting\[\] = {(.*?)}", source, re.S)[1])
    assert len(lasting) > 50
    others = postgres.sql("select name from pg_settings where context <> 'user' or name in"
                          " ('default_tablespace', 'temp_tablespaces', 'default_table_access_method',"
                          " 'default_text_search_config', 'local_preload_libraries', 'temp_buffers')")
    refusable = {name.lower() for name, in others}
    assert not refusable & {name.lower() for name in lasting}
    assert not [name for name in refusable if name.startswith("enable_")]
