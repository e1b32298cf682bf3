"""Session parameters: each client finds its own, whoever used the server before."""
import psycopg
import pytest

from support import wire as w
from support.trunkline import route

LONG = ", ".join(f"schema_with_a_long_name_{number}" for number in range(100))


@pytest.fixture
def single(trunkline):
    return trunkline(routes=[route(pool_size=1)])


def show(wire, name):
    return w.rows(wire.ask(w.query(f"show {name}")))[0][0]


@pytest.mark.parametrize("name, one, other", [
    ("application_name", "one", "other"),
    ("application_name", "same", "SAME"),
    ("application_name", "named", ""),
    ("application_name", "it's", 'a "quoted" \\ one'),
    ("DateStyle", "ISO, DMY", "German, DMY"),
    ("TimeZone", "Europe/Berlin", "Asia/Tokyo"),
    ("client_encoding", "UTF8", "LATIN1"),
    ("IntervalStyle", "postgres", "iso_8601"),
    ("search_path", "pg_catalog", LONG),
    ("work_mem", "5MB", "6MB"),
    ("statement_timeout", "11s", "12s"),
])
def test_clients_with_different_startup_parameters_share_a_server(single, name, one, other):
    values = {one: single.endpoint().wire(**{name: one}), other: single.endpoint().wire(**{name: other})}
    for _ in range(3):
        for value, wire in values.items():
            assert show(wire, name) == value
    for wire in values.values():
        wire.__exit__()


def test_startup_options_are_parameters_too(single):
    with single.endpoint().wire(options="-c search_path=pg_catalog -cwork_mem=5MB") as one, \
            single.endpoint().wire(options=r"--search_path=public "
                                       r"--application_name=two\ words") as other:
        for _ in range(2):
            assert show(one, "search_path") == "pg_catalog"
            assert show(one, "work_mem") == "5MB"
            assert show(other, "search_path") == "public"
            assert show(other, "work_mem") == "4MB"
            assert show(other, "application_name") == "two words"


def test_settings_follow_their_client(single):
    with single.endpoint().wire(application_name="one") as one, \
            single.endpoint().wire(application_name="other") as other:
        one.ask(w.query("set application_name = 'set by one'"))
        one.ask(w.query("set TimeZone = 'Asia/Tokyo'"))
        assert show(other, "application_name") == "other"
        assert show(other, "TimeZone") != "Asia/Tokyo"
        assert show(one, "application_name") == "set by one"
        assert show(one, "TimeZone") == "Asia/Tokyo"


def test_set_local_ends_with_its_transaction(single):
    with single.endpoint().wire(application_name="one") as one:
        one.ask(w.query("begin; set local application_name = 'brief'"))
        assert show(one, "application_name") == "brief"
        one.ask(w.query("commit"))
        assert show(one, "application_name") == "one"
        one.ask(w.query("begin; set application_name = 'undone'"))
        one.ask(w.query("rollback"))
        assert show(one, "application_name") == "one"


def test_the_canonical_form_of_a_value_is_not_sent_again_and_again(single, postgres):
    with single.endpoint().wire(DateStyle="german") as one:
        assert show(one, "DateStyle") == "German, DMY"
        mark = postgres.mark()
        for _ in range(5):
            one.ask(w.query("select 1"))
        assert postgres.statements(mark) == ["select 1"] * 5


def test_a_login_reports_the_parameters_that_it_asked_for(endpoint):
    with endpoint.wire(application_name="known", TimeZone="Asia/Tokyo", DateStyle="German") as wire:
        assert wire.parameters["application_name"] == "known"
        assert wire.parameters["TimeZone"] == "Asia/Tokyo"
        assert wire.parameters["DateStyle"] == "German, DMY"
        assert wire.parameters["server_version"].startswith("1")


@pytest.mark.parametrize("bad", [{"TimeZone": "No/Where"}, {"options": "-c work_mem=much"},
                                 {"options": "-c no_such_setting=1"}])
def test_a_parameter_that_the_server_refuses_is_an_error_and_runs_no_query(pooled, bad):
    """PostgreSQL refuses the login; a transaction pool may say so at the first query instead."""
    wire = pooled.wire(login=False)
    wire.send(w.startup_packet(user="app", database=pooled.database, **bad))
    try:
        wire.login("app", "app")
    except w.Refused as refusal:
        assert refusal.sqlstate in ("22023", "42704")
        return
    wire.send(w.query("select 'ran'"))
    answers = wire.until("E")
    assert answers[-1].sqlstate in ("22023", "42704")
    assert w.rows(answers) == []


def test_a_bad_parameter_of_one_client_does_not_hurt_the_next(single):
    bad = single.endpoint().wire(login=False)
    bad.send(w.startup_packet(user="app", database="app", TimeZone="No/Where"))
    try:
        bad.login("app", "app")
        bad.send(w.query("select 'ran'"))
        bad.until("E")
    except w.Refused:
        pass
    with single.endpoint().wire(application_name="good") as good:
        assert show(good, "application_name") == "good"


def test_an_encoding_set_by_one_client_does_not_reach_another(single):
    with single.connect() as one, single.connect() as other:
        one.execute("set client_encoding = 'LATIN1'")
        assert other.execute("select 'ü'").fetchone() == ("ü",)
        assert one.execute("select 'ü'").fetchone() == ("ü",)


def test_a_reload_of_the_server_drops_no_connection(trunkline, cluster):
    own = cluster()
    daemon = trunkline(server=own, routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as wire:
        pid = w.rows(wire.ask(w.query("select pg_backend_pid()")))
        own.sql("alter system set timezone = 'Asia/Tokyo'")
        own.sql("select pg_reload_conf()")
        assert w.rows(wire.ask(w.query("select pg_backend_pid()"))) == pid


def test_set_config_is_seen_like_set(single):
    with single.endpoint().wire(application_name="one") as one, \
            single.endpoint().wire(application_name="other") as other:
        one.ask(w.query("select set_config('application_name', 'by function', false)"))
        assert show(other, "application_name") == "other"
        assert show(one, "application_name") == "by function"


def test_role_and_other_unreported_settings_of_the_login_do_not_leak(single):
    with single.endpoint().wire(options="-c search_path=pg_catalog") as one, \
            single.endpoint().wire() as other:
        assert show(one, "search_path") == "pg_catalog"
        assert show(other, "search_path") == '"$user", public'
        assert show(one, "search_path") == "pg_catalog"


def test_psycopg_sees_the_parameter_change(endpoint):
    with endpoint.connect() as connection:
        connection.execute("set TimeZone = 'Asia/Tokyo'")
        assert connection.info.parameter_status("TimeZone") == "Asia/Tokyo"
        with pytest.raises(psycopg.errors.UndefinedObject):
            connection.execute("set no_such_parameter = 1")
        assert connection.execute("select 1").fetchone() == (1,)


def startup_with(endpoint, count):
    """A login with so many startup parameters; application_name is the last."""
    names = {f"custom.p{number}": "x" for number in range(count - 1)}
    return endpoint.wire(application_name="first", **names)


REPORTED = {"application_name": "second", "datestyle": "German, DMY", "timezone": "Asia/Tokyo",
            "intervalstyle": "iso_8601", "client_encoding": "LATIN1",
            "standard_conforming_strings": "off", "default_transaction_read_only": "on"}


@pytest.mark.parametrize("database", ["session", "transaction"])
def test_there_is_room_for_all_that_servers_report_beside_the_startup_parameters(pooler, database):
    """At the limit, every reported parameter can be set, and be set again."""
    with startup_with(pooler.endpoint(database=database), 96) as client:
        for value in "other", None:
            for name, first in REPORTED.items():
                if value is None:
                    answers = client.ask(w.query(f"set {name} = '{first}'"))
                else:
                    answers = client.ask(w.query(f"set {name} = default"))
                assert w.kinds(answers)[-1] == "Z" and "E" not in w.kinds(answers), answers
        assert w.rows(client.ask(w.query("show application_name"))) == [["second"]]
        assert w.rows(client.ask(w.query('show "custom.p94"'))) == [["x"]]


@pytest.mark.parametrize("database", ["session", "transaction"])
@pytest.mark.parametrize("count", [97, 128, 200])
def test_more_startup_parameters_than_the_limit_are_refused_at_login(pooler, database, count):
    with pooler.endpoint(database=database).wire(login=False) as client:
        names = {f"custom.p{number}": "x" for number in range(count)}
        client.send(w.startup_packet(user="app", database=database, **names))
        answer = client.receive()
        assert answer.sqlstate == "54000" and answer.fields["S"] == "FATAL"
        assert f"{count} startup parameters, the limit is 96" in answer.fields["M"]


def test_options_count_as_startup_parameters(pooler):
    many = " ".join(f"-c custom.o{number}=x" for number in range(97))
    with pooler.endpoint().wire(login=False) as client:
        client.send(w.startup_packet(user="app", database="app", options=many))
        assert "97 startup parameters, the limit is 96" in client.receive().fields["M"]
