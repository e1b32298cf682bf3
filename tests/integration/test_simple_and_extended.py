"""Both query protocols, message by message: what PostgreSQL answers is what a client gets."""
import psycopg
import pytest

from support import wire as w


@pytest.fixture
def wire(endpoint):
    with endpoint.wire() as client:
        yield client


def test_several_statements_in_one_query_answer_one_by_one(wire):
    answers = wire.ask(w.query("select 1; select 2; select 3"))
    assert w.kinds(answers) == "T D C T D C T D C Z"
    assert w.rows(answers) == [["1"], ["2"], ["3"]]


def test_an_error_ends_a_query_of_several_statements(wire):
    answers = wire.ask(w.query("select 1; select 1/0; select 3"))
    assert w.kinds(answers) == "T D C T E Z" or w.kinds(answers) == "T D C E Z"


def test_the_unnamed_statement_works_in_one_batch(wire):
    answers = wire.ask(w.parse("", "select $1::int + 1"), w.bind(values=["41"]),
                       w.describe("P"), w.execute(), w.SYNC)
    assert w.kinds(answers) == "1 2 T D C Z"
    assert w.rows(answers) == [["42"]]


def test_a_named_statement_outlives_its_turn(wire):
    assert w.kinds(wire.ask(w.parse("plus", "select $1::int + $2::int"), w.SYNC)) == "1 Z"
    for number in range(3):
        answers = wire.ask(w.bind(statement="plus", values=[str(number), "10"]), w.execute(),
                           w.SYNC)
        assert w.kinds(answers) == "2 D C Z"
        assert w.rows(answers) == [[str(number + 10)]]


def test_a_lone_describe_of_a_named_statement_is_answered_in_a_later_turn(wire):
    wire.ask(w.parse("lone", "select $1::int as answer"), w.SYNC)
    answers = wire.ask(w.describe("S", "lone"), w.SYNC)
    assert w.kinds(answers) == "t T Z"
    assert b"answer\0" in answers[1].body


def test_a_name_that_is_taken_is_refused_and_the_connection_stays(wire):
    wire.ask(w.parse("taken", "select 1"), w.SYNC)
    answers = wire.ask(w.parse("taken", "select 2"), w.bind(statement="taken"), w.execute(),
                       w.SYNC)
    assert w.kinds(answers) == "E Z"
    assert answers[0].sqlstate == "42P05"
    again = wire.ask(w.bind(statement="taken"), w.execute(), w.SYNC)
    assert w.rows(again) == [["1"]]


def test_a_name_that_does_not_exist_is_refused_and_the_connection_stays(wire):
    for message in (w.bind(statement="nobody"), w.describe("S", "nobody")):
        answers = wire.ask(message, w.SYNC)
        assert w.kinds(answers) == "E Z"
        assert answers[0].sqlstate == "26000"
    assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_a_closed_name_is_free_again(wire):
    wire.ask(w.parse("brief", "select 1"), w.SYNC)
    assert w.kinds(wire.ask(w.close("S", "brief"), w.SYNC)) == "3 Z"
    assert wire.ask(w.bind(statement="brief"), w.SYNC)[0].sqlstate == "26000"
    answers = wire.ask(w.parse("brief", "select 2"), w.bind(statement="brief"), w.execute(),
                       w.SYNC)
    assert w.rows(answers) == [["2"]]


def test_closing_a_missing_statement_is_no_error(wire):
    assert w.kinds(wire.ask(w.close("S", "nothing"), w.close("P", "nothing"), w.SYNC)) == "3 3 Z"


def test_closing_a_portal_leaves_the_statement_of_that_name(wire):
    wire.ask(w.parse("twin", "select 7"), w.SYNC)
    wire.ask(w.close("P", "twin"), w.SYNC)
    assert w.rows(wire.ask(w.bind(statement="twin"), w.execute(), w.SYNC)) == [["7"]]


def test_one_text_with_different_parameter_types_is_two_statements(wire):
    integer, string = 23, 25
    wire.ask(w.parse("number", "select pg_typeof($1)", [integer]), w.SYNC)
    wire.ask(w.parse("letters", "select pg_typeof($1)", [string]), w.SYNC)
    for name, kind in (("number", "integer"), ("letters", "text"), ("number", "integer")):
        answers = wire.ask(w.bind(statement=name, values=["1"]), w.execute(), w.SYNC)
        assert w.rows(answers) == [[kind]]


def test_a_parse_that_fails_leaves_its_name_free(wire):
    answers = wire.ask(w.parse("later", "selec 1"), w.SYNC)
    assert answers[0].sqlstate == "42601"
    answers = wire.ask(w.parse("later", "select 1"), w.bind(statement="later"), w.execute(), w.SYNC)
    assert w.kinds(answers) == "1 2 D C Z"


def test_a_very_long_statement_name_works(wire):
    name = "n" * 20000
    wire.ask(w.parse(name, "select 5"), w.SYNC)
    assert w.rows(wire.ask(w.bind(statement=name), w.execute(), w.SYNC)) == [["5"]]


def test_many_statements_of_one_client_all_work(wire):
    for number in range(300):
        wire.send(w.parse(f"s{number}", f"select {number}"), w.SYNC)
    wire.until("Z", 300)
    for number in (0, 299, 7, 150, 0):
        answers = wire.ask(w.bind(statement=f"s{number}"), w.execute(), w.SYNC)
        assert w.rows(answers) == [[str(number)]]


def test_the_messages_after_an_error_are_skipped_up_to_sync(wire):
    answers = wire.ask(w.parse("", "select 1/0"), w.bind(), w.execute(),
                       w.parse("", "select 1"), w.bind(), w.execute(), w.SYNC)
    assert w.kinds(answers) == "1 2 E Z" or w.kinds(answers) == "1 E Z"
    assert w.rows(wire.ask(w.query("select 2"))) == [["2"]]


def test_a_pipeline_of_many_syncs_answers_each(wire):
    for number in range(100):
        wire.send(w.parse("", f"select {number}"), w.bind(), w.execute(), w.SYNC)
    answers = wire.until("Z", 100)
    assert w.rows(answers) == [[str(number)] for number in range(100)]


def test_an_error_in_a_pipeline_ends_only_its_own_batch(wire):
    for number in range(10):
        divisor = 0 if number == 4 else 1
        wire.send(w.parse("", f"select {number}/{divisor}"), w.bind(), w.execute(), w.SYNC)
    answers = wire.until("Z", 10)
    assert len(w.rows(answers)) == 9
    assert [m.sqlstate for m in answers if m.kind == "E"] == ["22012"]


def test_simple_queries_in_a_row_are_answered_in_order(wire):
    wire.send(*[w.query(f"select {number}") for number in range(50)])
    assert w.rows(wire.until("Z", 50)) == [[str(number)] for number in range(50)]


def test_a_simple_query_inside_an_extended_batch_is_answered(wire):
    wire.send(w.parse("", "select 1"), w.bind(), w.execute(), w.query("select 2"), w.SYNC)
    answers = wire.until("Z", 2)
    assert w.rows(answers) == [["1"], ["2"]]


def test_flush_brings_answers_without_a_sync(wire):
    wire.send(w.parse("", "select 11"), w.bind(), w.describe("P"), w.FLUSH)
    assert w.kinds(wire.until("T")) == "1 2 T"
    wire.send(w.execute(), w.FLUSH)
    assert w.kinds(wire.until("C")) == "D C"
    assert w.kinds(wire.ask(w.SYNC)) == "Z"


def test_an_error_after_flush_waits_for_sync(wire):
    wire.send(w.parse("", "selec"), w.FLUSH)
    assert wire.until("E")[-1].sqlstate == "42601"
    assert wire.silent()
    assert w.kinds(wire.ask(w.SYNC)) == "Z"


def test_a_row_limit_suspends_the_portal_until_it_is_asked_again(wire):
    wire.send(w.parse("", "select * from generate_series(1, 5)"), w.bind("p"),
              w.execute("p", 2), w.FLUSH)
    assert w.kinds(wire.until("s")) == "1 2 D D s"
    wire.send(w.execute("p", 2), w.FLUSH)
    assert w.kinds(wire.until("s")) == "D D s"
    assert w.kinds(wire.ask(w.execute("p", 2), w.SYNC)) == "D C Z"


def test_a_portal_lives_across_syncs_inside_a_transaction(wire):
    wire.ask(w.query("begin"))
    answers = wire.ask(w.parse("", "select * from generate_series(1, 4)"), w.bind("p"),
                       w.execute("p", 1), w.SYNC)
    assert w.kinds(answers) == "1 2 D s Z"
    assert w.kinds(wire.ask(w.execute("p", 1), w.SYNC)) == "D s Z"
    wire.ask(w.query("commit"))


def test_the_unnamed_statement_is_usable_while_its_client_keeps_its_server(wire):
    wire.ask(w.query("begin"))
    wire.ask(w.parse("", "select 3"), w.SYNC)
    assert w.rows(wire.ask(w.bind(), w.execute(), w.SYNC)) == [["3"]]
    wire.ask(w.query("rollback"))


def test_the_unnamed_statement_of_another_client_is_never_used(endpoint):
    """Between turns the unnamed statement may be kept or forgotten, but never be a stranger's."""
    with endpoint.wire() as one, endpoint.wire() as other:
        one.ask(w.parse("", "select 'mine'"), w.SYNC)
        other.ask(w.parse("", "select 'stranger'"), w.SYNC)
        answers = one.ask(w.bind(), w.execute(), w.SYNC)
        assert w.rows(answers) in ([["mine"]], [])
        if not w.rows(answers):
            assert answers[0].sqlstate == "26000"


def test_deallocate_all_forgets_every_name(wire):
    wire.ask(w.parse("old", "select 1"), w.SYNC)
    wire.ask(w.query("deallocate all"))
    assert wire.ask(w.bind(statement="old"), w.SYNC)[0].sqlstate == "26000"
    answers = wire.ask(w.parse("old", "select 2"), w.bind(statement="old"), w.execute(), w.SYNC)
    assert w.rows(answers) == [["2"]]


def test_deallocate_all_among_other_statements_forgets_every_name(wire):
    wire.ask(w.parse("name", "select 1"), w.SYNC)
    wire.ask(w.query("select 1; deallocate all; select 2"))
    answer = wire.ask(w.bind("", "name"), w.SYNC)
    assert [m.sqlstate for m in answer if m.kind == "E"] == ["26000"]
    assert w.kinds(wire.ask(w.parse("name", "select 2"), w.SYNC)) == "1 Z"


def test_a_notice_arrives_between_other_answers(wire):
    answers = wire.ask(w.query("do $$ begin raise notice 'hear %', 'me'; end $$"))
    assert [m.fields["M"] for m in answers if m.kind == "N"] == ["hear me"]


def test_a_reported_parameter_arrives_before_ready(wire):
    answers = wire.ask(w.query("set application_name = 'renamed'"))
    assert [m.kind for m in answers][-1] == "Z"
    assert wire.parameters["application_name"] == "renamed"


def test_messages_that_arrive_byte_by_byte_are_understood(endpoint, proxy):
    bad = proxy(endpoint.host, endpoint.port, piece=1)
    with endpoint.at(host="127.0.0.1", port=bad.port).wire() as wire:
        answers = wire.ask(w.parse("", "select $1::text"), w.bind(values=["slowly"]), w.execute(),
                           w.SYNC)
        assert w.rows(answers) == [["slowly"]]


def test_psycopg_prepares_and_reuses(endpoint):
    with endpoint.connect() as connection:
        for number in range(20):
            row = connection.execute("select %s + 1", (number,), prepare=True).fetchone()
            assert row == (number + 1,)


def test_psycopg_pipelines(endpoint):
    with endpoint.connect() as connection:
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", (number,)) for number in range(50)]
        assert [cursor.fetchone() for cursor in cursors] == [(number,) for number in range(50)]


def test_psycopg_recovers_from_an_error_in_a_pipeline(endpoint):
    with endpoint.connect() as connection:
        try:
            with connection.pipeline():
                connection.execute("select 1")
                connection.execute("select 1/%s", (0,))
                connection.execute("select 2")
        except psycopg.errors.DivisionByZero:
            pass
        assert connection.execute("select 3").fetchone() == (3,)


def test_a_schema_change_under_a_prepared_statement_reaches_its_client_as_an_error(endpoint):
    with endpoint.connect() as connection:
        connection.execute("drop table if exists shifting")
        connection.execute("create table shifting (a int)")
        connection.execute("select * from shifting", prepare=True)
        connection.execute("alter table shifting add b int")
        try:
            connection.execute("select * from shifting", prepare=True)
        except psycopg.errors.FeatureNotSupported as error:
            assert "cached plan" in str(error)
        assert connection.execute("select 1").fetchone() == (1,)
        connection.execute("drop table shifting")


@pytest.mark.parametrize("how", ["the same name", "another name", "a new client"])
def test_a_statement_whose_table_changed_can_be_prepared_again(endpoint, how):
    with endpoint.wire() as wire, endpoint.wire() as other:
        table = "reshaped_" + how.replace(" ", "_")
        wire.ask(w.query(f"create table {table} (a int)"))
        text = f"select * from {table}"
        assert w.kinds(wire.ask(w.parse("it", text), w.bind("", "it"), w.execute(),
                                w.SYNC)) == "1 2 C Z"
        wire.ask(w.query(f"alter table {table} add b int"))
        again = wire.ask(w.bind("", "it"), w.describe("P"), w.execute(), w.SYNC)
        assert [m.sqlstate for m in again if m.kind == "E"] == ["0A000"]
        if how == "the same name":
            wire.ask(w.close("S", "it"), w.SYNC)
        who, name = (other, "it") if how == "a new client" else (wire, "it2")
        name = "it" if how == "the same name" else name
        assert w.kinds(who.ask(w.parse(name, text), w.bind("", name), w.describe("P"), w.execute(),
                               w.SYNC)) == "1 2 T C Z"
        wire.ask(w.query(f"drop table {table}"))


def test_statements_of_many_clients_on_few_servers_never_mix(trunkline):
    daemon = trunkline(routes=[dict(database="*", user="*", service="main", pool="transaction",
                                    pool_size=2, auth="scram-sha-256")])
    clients = [daemon.endpoint().wire() for _ in range(8)]
    try:
        for number, client in enumerate(clients):
            client.ask(w.parse("same", f"select {number}"), w.SYNC)
        for _ in range(5):
            for client in clients:
                client.send(w.bind(statement="same"), w.execute(), w.SYNC)
            for number, client in enumerate(clients):
                assert w.rows(client.until()) == [[str(number)]]
    finally:
        for client in clients:
            client.__exit__()


def test_a_server_keeps_no_more_statements_than_it_may(trunkline, postgres):
    daemon = trunkline(routes=[dict(database="*", user="*", service="main", pool="transaction",
                                    pool_size=1, prepared_statements=20, auth="scram-sha-256")])
    with daemon.endpoint().wire() as wire:
        for number in range(60):
            wire.ask(w.parse(f"s{number}", f"select {number}"), w.SYNC)
            wire.ask(w.bind(statement=f"s{number}"), w.execute(), w.SYNC)
        held = wire.ask(w.query("select count(*) from pg_prepared_statements"))
        assert int(w.rows(held)[0][0]) <= 20
        assert w.rows(wire.ask(w.bind(statement="s0"), w.execute(), w.SYNC)) == [["0"]]
