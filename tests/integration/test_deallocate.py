"""DEALLOCATE of statements that were prepared by Parse messages, as drivers on old libpq do it."""
import psycopg
import pytest
from psycopg import pq
from support import wire as w


@pytest.fixture
def connection(endpoint):
    made = pq.PGconn.connect(endpoint.conninfo().encode())
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


@pytest.mark.parametrize("text", [
    'SAVEPOINT a;DEALLOCATE "p";RELEASE a', "select 1; deallocate p; select 2",
    'set local work_mem = 5000 ; /* deallocate q */ DEALLOCATE PREPARE "p"',
    "select 'deallocate q', $$deallocate q$$, \"?column?\" from (select 1) x; deallocate p;;",
])
def test_a_name_may_be_given_up_among_other_commands(connection, text):
    connection.prepare(b"q", b"select 3")
    for number in (b"1", b"2"):
        assert tag(connection, "begin") == "BEGIN"
        connection.prepare(b"p", b"select " + number)
        assert connection.exec_prepared(b"p", []).get_value(0, 0) == number
        assert connection.exec_(text.encode()).status in (
            pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
        assert connection.exec_prepared(b"q", []).get_value(0, 0) == b"3"
        assert tag(connection, "commit") == "COMMIT"
        assert tag(connection, "DEALLOCATE p") == "26000"
    assert tag(connection, "DEALLOCATE q") == "DEALLOCATE"


def test_several_names_are_given_up_up_to_the_command_that_fails(connection):
    names = [b"one", b'2"nd', b"Three", b"four"]
    for name in names:
        connection.prepare(name, b"select 1")
    assert tag(connection, 'deallocate one; deallocate "2""nd"; select 1/0; deallocate "Three"; '
                           'deallocate four') == "22012"
    assert tag(connection, "deallocate one") == "26000"
    assert tag(connection, 'deallocate "2""nd"') == "26000"
    for name in names[:2]:
        assert connection.prepare(name, b"select 5").status == pq.ExecStatus.COMMAND_OK
    for name, number in zip(names, b"5511"):
        assert connection.exec_prepared(name, []).get_value(0, 0) == bytes([number])
    assert tag(connection, 'deallocate "Three"; deallocate "Three"') == "26000"
    assert connection.prepare(b"Three", b"select 6").status == pq.ExecStatus.COMMAND_OK
    assert tag(connection, "deallocate all; deallocate four") == "26000"
    assert tag(connection, "deallocate one") == "26000"


def test_a_position_in_an_error_is_that_of_the_text(connection):
    connection.prepare(b"p", b"select 1")
    result = connection.exec_(b'deallocate "p"; select nothing')
    assert result.error_field(pq.DiagnosticField.STATEMENT_POSITION) == b"24"


def test_statements_of_a_failed_text_are_not_visible_to_others(connection, endpoint):
    connection.prepare(b"p", b"select 1")
    assert tag(connection, "select 1/0; deallocate p") == "22012"
    with endpoint.connect(autocommit=True) as other:
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            other.execute("deallocate p")
        other.execute("prepare p as select 2")
        assert other.execute("execute p").fetchone() == (2,)
    assert connection.exec_prepared(b"p", []).get_value(0, 0) == b"1"


def ask(connection, text):
    """The same in the extended protocol."""
    result = connection.exec_params(text.encode(), [])
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    return (state or result.command_status).decode()


@pytest.mark.parametrize("text", ["DEALLOCATE p", 'deallocate prepare "p"'])
def test_a_name_may_be_given_up_in_the_extended_protocol(connection, text):
    for number in (b"1", b"2", b"3"):
        assert connection.prepare(b"p", b"select " + number).status == pq.ExecStatus.COMMAND_OK
        assert connection.exec_prepared(b"p", []).get_value(0, 0) == number
        assert ask(connection, text) == "DEALLOCATE"
        assert ask(connection, text) == "26000"


def test_a_prepared_deallocate_drops_the_current_statement(connection):
    connection.prepare(b"end", b"deallocate p")
    for number in (b"1", b"2", b"3"):
        assert connection.prepare(b"p", b"select " + number).status == pq.ExecStatus.COMMAND_OK
        assert connection.exec_prepared(b"p", []).get_value(0, 0) == number
        assert connection.exec_prepared(b"end", []).command_status == b"DEALLOCATE"
        result = connection.exec_prepared(b"end", [])
        assert result.error_field(pq.DiagnosticField.SQLSTATE) == b"26000"


def test_a_failed_transaction_refuses_it_in_the_extended_protocol(connection):
    connection.prepare(b"p", b"select 1")
    assert tag(connection, "begin") == "BEGIN"
    assert tag(connection, "select 1/0") == "22012"
    assert ask(connection, "DEALLOCATE p") == "25P02"
    assert tag(connection, "rollback") == "ROLLBACK"
    assert connection.exec_prepared(b"p", []).get_value(0, 0) == b"1"
    assert ask(connection, "DEALLOCATE p") == "DEALLOCATE"


def test_a_savepoint_brings_no_name_back(connection):
    connection.prepare(b"p", b"select 1")
    assert tag(connection, "begin") == "BEGIN"
    assert tag(connection, "savepoint a") == "SAVEPOINT"
    assert tag(connection, "select 1/0") == "22012"
    assert tag(connection, "rollback to a; deallocate p") == "DEALLOCATE"
    assert connection.prepare(b"p", b"select 2").status == pq.ExecStatus.COMMAND_OK
    assert tag(connection, "rollback") == "ROLLBACK"
    assert connection.exec_prepared(b"p", []).get_value(0, 0) == b"2"


@pytest.mark.parametrize("apart", [False, True])
def test_a_name_is_given_up_and_taken_again_in_one_flight(endpoint, apart):
    sync = [w.SYNC] if apart else []
    with endpoint.wire() as wire:
        for _ in range(3):
            wire.send(
                w.parse("p", "select 1"), w.bind(statement="p"), w.execute(), *sync,
                w.parse("", "deallocate p"), w.bind(), w.execute(), *sync,
                w.parse("p", "select 2"), w.bind(statement="p"), w.execute(), *sync,
                w.parse("", "deallocate p"), w.bind(), w.execute(), w.SYNC)
            answers = wire.until("Z", times=4 if apart else 1)
            assert w.rows(answers) == [["1"], ["2"]]
            assert "E" not in w.kinds(answers), answers
