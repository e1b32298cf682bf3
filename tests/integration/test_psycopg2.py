"""psycopg2, which speaks the simple protocol only and has cursors of its own."""
import io

import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest


@pytest.fixture
def connection(endpoint):
    made = endpoint.connect2()
    yield made
    made.close()


def test_rows_and_errors(connection):
    with connection.cursor() as cursor:
        cursor.execute("select %s + 1, %s", (41, "it's"))
        assert cursor.fetchone() == (42, "it's")
        with pytest.raises(psycopg2.errors.DivisionByZero):
            cursor.execute("select 1/0")
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)


def test_transactions(connection):
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("create table brief (n int)")
        connection.rollback()
        with pytest.raises(psycopg2.errors.UndefinedTable):
            cursor.execute("select * from brief")
        connection.rollback()


def test_a_cursor_of_the_server_lives_in_its_transaction(connection):
    connection.autocommit = False
    with connection.cursor("named") as cursor:
        cursor.itersize = 100
        cursor.execute("select * from generate_series(1, 1000)")
        assert sum(row[0] for row in cursor) == 500500
    connection.commit()


def test_copy_expert_goes_both_ways(connection):
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("create temp table copied (n int) on commit drop")
        text = "".join(f"{number}\n" for number in range(1000))
        cursor.copy_expert("copy copied from stdin", io.StringIO(text))
        out = io.StringIO()
        cursor.copy_expert("copy (select n from copied order by n) to stdout", out)
        assert out.getvalue() == text
    connection.commit()


def test_notices_are_heard(connection):
    with connection.cursor() as cursor:
        cursor.execute("do $$ begin raise notice 'hear me'; end $$")
    assert "hear me" in connection.notices[-1]


def test_many_values_in_one_statement(connection):
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("create temp table many (n int, t text) on commit drop")
        psycopg2.extras.execute_values(cursor, "insert into many values %s",
                                       [(n, "x" * 100) for n in range(5000)], page_size=5000)
        cursor.execute("select count(*), sum(n) from many")
        assert cursor.fetchone() == (5000, 12497500)
    connection.rollback()


def test_the_server_version_and_encoding_are_known(connection):
    assert connection.server_version >= 150000
    assert connection.encoding == "UTF8"
    connection.set_client_encoding("LATIN1")
    with connection.cursor() as cursor:
        cursor.execute("select 'ü'")
        assert cursor.fetchone() == ("ü",)
