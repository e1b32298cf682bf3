"""What each kind of pool allows, and what servers may say at times when nobody asks."""
import psycopg
import pytest
from support import wire as w
from support.patience import eventually, seconds
from support.ports import free_port
from support.scripted import Scripted
from support.trunkline import route

# --- statement pools


@pytest.fixture
def statements(trunkline):
    return trunkline(routes=[route(pool="statement", pool_size=1)])


def test_a_statement_pool_takes_every_kind_of_single_statement(statements, postgres):
    postgres.sql("create table single (n int); grant all on single to app")
    try:
        with statements.endpoint().wire() as wire:
            assert w.rows(wire.ask(w.query("select 1; select 2"))) == [["1"], ["2"]]
            assert w.kinds(wire.ask(w.query("begin; insert into single values (1); commit"))) == \
                "C C C Z"
            assert w.kinds(wire.ask(w.query(""))) == "I Z"
            answers = wire.ask(w.parse("s", "select $1::int"), w.bind("", "s", ["3"]), w.execute(),
                               w.parse("", "select 4"), w.bind(), w.execute(), w.SYNC)
            assert w.rows(answers) == [["3"], ["4"]]
            assert w.rows(wire.ask(w.bind("", "s", ["5"]), w.execute(), w.SYNC)) == [["5"]]
            wire.send(w.query("copy single from stdin")).until("G")
            assert w.kinds(wire.ask(w.copy_data(b"2\n"), w.COPY_DONE)) == "C Z"
            assert w.kinds(wire.ask(w.query("copy single to stdout"))) == "H d d c C Z"
            assert [m.sqlstate for m in wire.ask(w.query("select 1/0")) if m.kind == "E"] == ["22012"]
            assert w.kinds(wire.ask(w.function_call(1397, b"-5"))) == "V Z"
            assert w.kinds(wire.ask(w.query("commit"))) == "C Z"
    finally:
        postgres.sql("drop table single")


@pytest.mark.parametrize("begin", [
    w.query("begin"), w.query("start transaction read only"), w.query("select 1; begin"),
    w.query("begin; select 1/0"),
    w.parse("", "begin") + w.bind() + w.execute() + w.SYNC,
], ids=["simple", "start", "behind", "failed", "extended"])
def test_a_statement_pool_refuses_and_rolls_back_open_transactions(statements, postgres, begin):
    with statements.endpoint().wire() as wire:
        pid = w.rows(wire.ask(w.query("select pg_backend_pid()")))
        answers = wire.send(begin).rest()
        last = [m for m in answers if m.kind == "E"][-1]
        assert last.sqlstate == "0A000" and last.fields["V"] == "FATAL"
    with statements.endpoint().wire() as wire:
        assert w.rows(wire.ask(w.query("select pg_backend_pid()"))) == pid
        assert w.rows(wire.ask(w.query("select now() = statement_timestamp()"))) == [["t"]]


# --- notifications

def test_notifications_reach_idle_busy_and_open_sessions_and_change_nothing(pooler, postgres):
    with pooler.endpoint("session").wire() as wire:
        wire.ask(w.query("listen here"))
        postgres.sql("notify here, 'idle'", database="session")
        told = wire.receive()
        assert told.kind == "A" and told.body[4:] == b"here\0idle\0"
        assert w.kinds(wire.ask(w.query("begin"))) == "C Z"
        postgres.sql("notify here, 'open'", database="session")
        assert w.rows(wire.ask(w.query("select 1")))[0] == ["1"]
        answers = wire.ask(w.query("commit"))
        answers += [] if "A" in w.kinds(answers) else [wire.receive()]
        assert sorted(w.kinds(answers).split()) == ["A", "C", "Z"]
        assert w.rows(wire.ask(w.query("select 2"))) == [["2"]]


def test_the_pid_of_a_notification_is_that_of_its_session(pooler):
    with pooler.endpoint("session").wire() as one, pooler.endpoint("session").wire() as two:
        one.ask(w.query("listen here"))
        two.ask(w.query("notify here"))
        told = one.receive()
        assert told.kind == "A" and int.from_bytes(told.body[:4], "big") == two.pid


def test_psycopg_waits_for_notifications(pooler, postgres):
    with pooler.connect("session", autocommit=True) as connection:
        connection.execute("listen here")
        postgres.sql("notify here, 'heard'", database="session")
        assert next(connection.notifies()).payload == "heard"


# --- what a server says when nobody asked

NOTICE = w.message("N", b"SWARNING\0VWARNING\0C01000\0Mmind the gap\0\0")
NOTIFICATION = w.message("A", (77).to_bytes(4, "big") + b"here\0there\0")
STATUS = w.message("S", b"TimeZone\0Etc/UTC\0")
DONE = w.message("C", b"SET\0") + w.message("Z", b"I")


@pytest.fixture
def odd(trunkline):
    """odd(answers, ...): a daemon in front of a server that says odd things."""
    servers = []

    def make(answers=(), pool="transaction", **options):
        servers.append(Scripted(answers=answers, **options))
        daemon = trunkline(services={"main": {"hosts": [f"127.0.0.1:{servers[-1].port}"],
                                              "tls": {"mode": "disable"}}},
                           routes=[route(pool=pool, pool_size=1, claim_timeout="5s")])
        daemon.scripted = servers[-1]
        return daemon

    yield make
    for server in servers:
        server.__exit__()


def pid_of(wire):
    answers = wire.ask(w.query("select 1"))
    return w.rows(answers)[0][0]


@pytest.mark.parametrize("late", [NOTICE, NOTIFICATION, STATUS, NOTICE + NOTIFICATION + STATUS],
                         ids=["notice", "notification", "status", "all"])
def test_an_idle_server_that_says_something_harmless_is_kept(odd, late):
    daemon = odd()
    with daemon.endpoint().wire() as wire:
        first = pid_of(wire)
        for _ in range(3):
            daemon.scripted.wires[int(first)].send(late)
            assert pid_of(wire) == first


@pytest.mark.parametrize("late", [w.message("D", b"\0\0"), w.message("Z", b"I"), b"\0\0\0\0\0\0"],
                         ids=["row", "ready", "noise"])
def test_an_idle_server_with_an_invalid_message_is_closed(odd, late):
    daemon = odd()
    with daemon.endpoint().wire() as wire:
        first = pid_of(wire)
        daemon.scripted.wires[int(first)].send(late)
        eventually(lambda: not daemon.console("SHOW SERVERS"))
        assert pid_of(wire) != first


def test_notifications_within_an_answer_are_the_clients(odd):
    daemon = odd({b"odd": NOTIFICATION + NOTICE + DONE}, pool="session")
    with daemon.endpoint().wire() as wire:
        answers = wire.ask(w.query("odd"))
        assert [m.kind for m in answers if m.kind in "ANCZ"] == ["A", "N", "C", "Z"]
        assert pid_of(wire)


@pytest.mark.parametrize("fields, state", [
    (b"SERROR\0Mno code\0\0", None), (b"SERROR\0VERROR\0C\0Mempty\0\0", ""), (b"\0", None),
], ids=["none", "empty", "nothing"])
def test_an_error_without_a_code_is_passed_on_as_it_is(odd, fields, state):
    daemon = odd({b"odd": w.message("E", fields) + w.message("Z", b"I")})
    with daemon.endpoint().wire() as wire:
        answers = wire.ask(w.query("odd"))
        assert [m.kind for m in answers] == ["E", "Z"] and answers[0].body == fields
        assert pid_of(wire)


@pytest.mark.parametrize("fields, state", [
    (b"SFATAL\0Mno code\0\0", "XX000"), (b"SFATAL\0VFATAL\0C28000\0Mnot you\0\0", "28000"),
    (b"\0", "XX000"), (b"", "XX000"),
], ids=["none", "some", "nothing", "empty"])
@pytest.mark.parametrize("pool", ["session", "transaction"])
def test_a_refused_login_has_a_code_and_is_told_at_once(odd, fields, state, pool):
    daemon = odd(pool=pool, refusal=fields)

    def knock():
        with pytest.raises(w.Refused) as refused:
            daemon.endpoint().wire()
        assert (refused.value.sqlstate, refused.value.fields["V"]) == (state, "FATAL")

    assert seconds(knock) < 4


def test_a_server_may_report_many_long_parameters(odd):
    reports = {f"custom.parameter_{number}": "v" * 900 for number in range(50)}
    daemon = odd(reports=dict(reports, application_name="x" * 10000))
    with daemon.endpoint().wire() as wire:
        assert wire.parameters["custom.parameter_49"] == "v" * 900
        assert pid_of(wire)


def test_a_login_reports_the_server_that_is_there_now(trunkline):
    """After an upgrade behind the same address."""
    port = free_port()
    services = {"main": {"hosts": [f"127.0.0.1:{port}"], "tls": {"mode": "disable"}}}
    with Scripted(port=port, reports={"server_version": "17.1"}):
        daemon = trunkline(services=services)
        with daemon.endpoint().wire() as wire:
            assert wire.parameters["server_version"] == "17.1"
            pid_of(wire)
    with Scripted(port=port, reports={"server_version": "18.2"}):
        def greeted():
            with daemon.endpoint().wire() as wire:
                try:
                    pid_of(wire)
                except (EOFError, IndexError, ConnectionError):
                    return False
                return wire.parameters["server_version"] == "18.2"
        eventually(greeted)


def test_nothing_that_a_session_can_not_set_is_ever_set(trunkline, cluster):
    """is_superuser and session_authorization are reported too."""
    own = cluster()
    own.sql("create role super superuser login password 'super'; grant app to super")
    daemon = trunkline(server=own, users={"super": "super", "admin": "admin"},
                       routes=[route(pool_size=1)])
    with daemon.endpoint(user="super").wire() as one, daemon.endpoint(user="super").wire() as two:
        mark = own.mark()
        for wire in (one, two, one):
            wire.ask(w.query("begin; set local session authorization app; select 1; commit"))
            wire.ask(w.query("select 1"))
        said = own.statements(mark, user="super")
        assert not [text for text in said if text.startswith(("SET", "RESET"))], said


# --- long secrets

@pytest.mark.parametrize("method", ["password", "scram-sha-256"])
def test_a_password_may_be_long(trunkline, cluster, method):
    secret = "long " * 180  # PostgreSQL's own limit is below 1024
    own = cluster()
    own.sql(f"create role wordy login password '{secret}'")
    daemon = trunkline(server=own, users={"wordy": secret, "admin": "admin"},
                       routes=[route(auth=method)])
    assert daemon.endpoint("app", "wordy", secret).one("select 1") == 1
    with pytest.raises(psycopg.OperationalError):
        daemon.endpoint("app", "wordy", secret * 60).one("select 1")


def test_plain_text_behind_a_request_for_gss_ends_the_connection(pooler):
    with pooler.endpoint().wire(login=False) as wire:
        wire.send(w.GSS_REQUEST + w.startup_packet(user="trusted", database="app"))
        answers = wire.rest()
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["08P01"]
