"""What goes in front of a client's first message does the same whatever the server's last client
has left: isolation, role, encoding."""
import pytest

from support import wire as w
from support.trunkline import route

DEFERRABLE = ("-c default_transaction_isolation=serializable -c default_transaction_read_only=on "
              "-c default_transaction_deferrable=on")


def value(client, sql):
    answers = client.ask(w.query(sql))
    errors = [m.sqlstate for m in answers if m.kind == "E"]
    return errors[0] if errors else w.rows(answers)[0][0]


@pytest.fixture
def single(trunkline):
    return trunkline(relays=1, routes=[route(pool_size=1)]).endpoint()


@pytest.mark.parametrize("settings, question, expected", [
    ({}, {"search_path": "public"}, "public"),
    ({"session_state": {"sequences": "reset"}}, {"options": "-c work_mem=5MB"}, "55000"),
    ({"prepared_statements": "private"}, {}, "2"),
])
def test_no_statement_of_ours_waits_for_a_safe_snapshot(trunkline, settings, question, expected):
    """set_config(), DISCARD SEQUENCES and DEALLOCATE ALL take a snapshot, and a session whose
    transactions are serializable, read only and deferrable waits for a safe one."""
    sql = {"public": "show search_path", "55000": "select lastval()", "2": "select 2"}[expected]
    endpoint = trunkline(relays=1, routes=[route(pool_size=2, **settings)]).endpoint()
    with endpoint.wire() as writer, endpoint.wire(**question) as other:
        assert value(other, sql) == expected
        writer.ask(w.query("begin isolation level serializable"))
        writer.ask(w.query("select 1"))
        with endpoint.wire(options=DEFERRABLE) as one:
            one.ask(w.parse("s", "show work_mem"), w.SYNC)
            other.send(w.query(sql))
            answers = other.until("Z")
            assert [m.sqlstate for m in answers if m.kind == "E"] == \
                [expected][:expected == "55000"]
            assert [m for m in answers if m.kind == "N"] == []


@pytest.mark.parametrize("who", ["-c role=low", "-c session_authorization=low",
                                 "-c session_authorization=mid -c role=low"])
def test_privileged_settings_are_set_and_reset_by_the_user_of_the_pool(trunkline, cluster, who):
    server = cluster()
    server.sql("alter role app superuser; create role low; create role mid; grant low to mid")
    endpoint = trunkline(server=server, relays=1, routes=[route(pool_size=1)]).endpoint()
    with endpoint.wire(options=f"-c log_min_messages=error {who}") as one, \
            endpoint.wire(options=f"-c log_min_messages=panic {who}") as two, endpoint.wire() as other:
        for _ in range(2):
            assert value(one, "select current_user") == "low"
            assert value(two, "show log_min_messages") == "panic"
            assert value(two, "select current_user") == "low"
            assert value(other, "select current_user") == "app"
            assert value(other, "show log_min_messages") == "warning"
            assert value(one, "show log_min_messages") == "error"


@pytest.mark.parametrize("encoding", ["LATIN1", "SJIS", "EUC_JP", "GB18030"])
@pytest.mark.parametrize("text", ["grün", "\u0153\\", "\u0153'", "表\\', 'x"])
def test_the_last_client_s_encoding_does_not_change_a_value(single, encoding, text):
    with single.wire(client_encoding=encoding) as one, \
            single.wire(client_encoding="UTF8",
                        options="-c my.value=" + text.replace("\\", "\\\\").replace(" ", "\\ ")) \
            as other:
        for _ in range(2):
            assert value(one, "select 1") == "1"
            assert value(other, "show my.value") == text
            assert value(other, "show client_encoding") == "UTF8"


def test_a_name_beyond_ascii_is_taken_back_too(single):
    with single.wire(client_encoding="UTF8", options="-c my.größe=1") as one, \
            single.wire(client_encoding="LATIN1") as other:
        for _ in range(2):
            assert value(one, "select current_setting('my.größe')") == "1"
            assert value(other, "select 2") == "2"
