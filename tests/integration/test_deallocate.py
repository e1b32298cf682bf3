"""DEALLOCATE of statements that were prepared by Parse messages, as drivers on old libpq do it."""
import pytest
from psycopg import pq


@pytest.fixture
def connection(door):
    made = pq.PGconn.connect(door.conninfo().encode())
    assert made.status == pq.ConnStatus.OK, made.error_message
    yield made
    made.finish()


def tag(connection, text):
    result = connection.exec_(text.encode())
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    return (state or result.command_status).decode()


@pytest.mark.parametrize("text", [
    'DEALLOCATE "A name"', 'deallocate prepare "A name" ;', '\n DEALLOCATE\tPREPARE  "A name"; '])
def test_a_name_that_was_given_up_may_be_used_again(connection, text):
    for number in (b"1", b"2", b"3"):
        assert connection.prepare(b"A name", b"select " + number).status == pq.ExecStatus.COMMAND_OK
        assert connection.exec_prepared(b"A name", []).get_value(0, 0) == number
        assert tag(connection, text) == "DEALLOCATE"
        assert tag(connection, text) == "26000"


def test_names_without_quotes_are_folded(connection):
    connection.prepare(b"pdo_1", b"select 1")
    assert tag(connection, "DEALLOCATE Pdo_1") == "DEALLOCATE"
    assert tag(connection, "DEALLOCATE pdo_1") == "26000"


def test_a_transaction_goes_on(connection):
    assert tag(connection, "begin") == "BEGIN"
    connection.prepare(b"p", b"select 1")
    assert tag(connection, "DEALLOCATE p") == "DEALLOCATE"
    assert tag(connection, "select 1") == "SELECT 1"
    assert connection.transaction_status == pq.TransactionStatus.INTRANS
    assert tag(connection, "commit") == "COMMIT"


def test_a_failed_transaction_refuses_it(connection):
    connection.prepare(b"p", b"select 1")
    assert tag(connection, "begin") == "BEGIN"
    assert tag(connection, "select 1/0") == "22012"
    assert tag(connection, "DEALLOCATE p") == "25P02"
    assert tag(connection, "rollback") == "ROLLBACK"
    assert connection.exec_prepared(b"p", []).get_value(0, 0) == b"1"
    assert tag(connection, "DEALLOCATE p") == "DEALLOCATE"


def test_all_others_are_kept(connection):
    connection.prepare(b"p", b"select 1")
    connection.prepare(b"q", b"select 1")
    assert tag(connection, "DEALLOCATE p") == "DEALLOCATE"
    assert connection.exec_prepared(b"q", []).get_value(0, 0) == b"1"
    assert tag(connection, "DEALLOCATE ALL") == "DEALLOCATE ALL"
    assert tag(connection, "DEALLOCATE q") == "26000"
