"""The first packets of a connection: parameters, options and versions, as PostgreSQL reads them."""
import struct

import pytest
from support import wire as w
from support.ports import free_port
from support.trunkline import route


def outcome(endpoint, *names, **parameters):
    """The SQLSTATE of a login that is refused, else the values of these settings."""
    with endpoint.wire(login=False) as wire:
        wire.send(w.startup_packet(user=endpoint.user, database=endpoint.database, **parameters))
        try:
            wire.login(endpoint.user, endpoint.password)
        except w.Refused as refused:
            assert refused.fields["V"] == "FATAL"
            return refused.sqlstate
        return [w.rows(wire.ask(w.query(f"show {name}")))[0][0] for name in names]


@pytest.mark.parametrize("parameters", [
    {"no_such_setting": "1"}, {"options": "-c no_such_setting=1"}, {"options": "--no_such=1"},
    {"options": "-c no-such=1"},
], ids=str)
def test_an_unknown_setting_gives_the_error_of_postgresql(endpoint, parameters):
    assert outcome(endpoint, **parameters) == "42704"


def test_a_setting_of_an_extension_that_is_not_loaded_is_kept(endpoint):
    assert outcome(endpoint, "my.thing", **{"my.thing": "kept"}) == ["kept"]


def test_of_a_parameter_that_is_given_twice_the_last_one_counts(endpoint):
    packet = w.startup_packet(user="nobody", database="nowhere", application_name="one")[8:-1] + \
        w.startup_packet(user=endpoint.user, database=endpoint.database, application_name="two")[8:]
    with endpoint.wire(login=False) as wire:
        wire.send(struct.pack("!II", len(packet) + 8, 0x30000) + packet)
        wire.login(endpoint.user, endpoint.password)
        assert w.rows(wire.ask(w.query("show application_name"))) == [["two"]]
        assert w.rows(wire.ask(w.query("select current_user"))) == [[endpoint.user]]


OPTIONS = [
    "-c work_mem=5MB", "-cwork_mem=5MB", "--work_mem=5MB", "--work-mem=5MB", " -c\twork_mem=5MB ",
    r"-c application_name=two\ words", r"-c application_name=back\\slash", "-c application_name=a=b",
    "-c application_name=-c", "-c application_name=+%20", "-c search_path=a,b", "-c work_mem=",
    r"-c application_name=x\\", "-c work_mem=5MB -c work_mem=6MB", "-S 5120", "-S5120", "-e",
    "-eS 5120", "-fs -fi", "-Enb -S 5120", "-v 3 -S 5120", "-C x -S5120 -T", "--", "-c work_mem=5MB --",
    "-c", "-c work_mem", "--work_mem", "work_mem=5MB", "x", "-", "-x", "-fx", "-f", "-t x", "-S",
    "-c work_mem=5MB x", "-- x", "-B 100", "-N 5", "-F", "-l", "-p 1", "-d 99", "-d 3", "-tpa",
    "-S much", "-c work_mem=much", "-j", "-O", "-s",
]


@pytest.mark.parametrize("text", OPTIONS)
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_options_are_read_as_by_postgresql(postgres, pooler, mode, text):
    names = ["work_mem", "application_name", "search_path", "DateStyle", "enable_seqscan",
             "enable_indexscan"]
    direct = outcome(postgres.endpoint(mode), *names, options=text)
    assert outcome(pooler.endpoint(mode), *names, options=text) == direct


def test_a_packets_own_parameter_goes_over_that_of_its_options(endpoint):
    assert outcome(endpoint, "work_mem", work_mem="6MB", options="-c work_mem=5MB") == ["6MB"]
    assert outcome(endpoint, "DateStyle", options="-e") == ["ISO, DMY"]


def test_parameters_of_the_startup_packet_only_need_a_session_pool(postgres, pooler):
    """A transaction pool's servers have long begun: the client hears of it, in PostgreSQL's words."""
    assert outcome(postgres.endpoint(), "post_auth_delay", options="-W 0") == ["0"]
    assert outcome(pooler.endpoint("session"), "post_auth_delay", options="-W 0") == ["0"]
    assert outcome(pooler.endpoint("transaction"), "post_auth_delay", options="-W 0") == "55P02"


def test_ignored_startup_parameters_are_dropped_and_all_others_are_not(trunkline):
    daemon = trunkline(ignore_startup_parameters=["no_such_setting", "WORK_MEM"])
    for mode in ("session", "transaction"):
        endpoint = daemon.endpoint(mode)
        assert outcome(endpoint, "work_mem", no_such_setting="1", work_mem="5MB") == ["4MB"]
        assert outcome(endpoint, "work_mem", options="-c no_such_setting=1 -c work_mem=5MB") == ["4MB"]
        assert outcome(endpoint, other_setting="1", no_such_setting="1") == "42704"


def test_the_options_can_be_ignored_as_a_whole(trunkline):
    daemon = trunkline(ignore_startup_parameters=["options"])
    assert outcome(daemon.endpoint(), "work_mem", options="-c no_such=1 -S5120 rubbish") == ["4MB"]
    assert outcome(daemon.endpoint(), "work_mem", options="-c no_such=1", work_mem="5MB") == ["5MB"]


@pytest.mark.parametrize("asked, spoken", [
    (0x30000, None), (0x30001, None), (0x30002, None), (0x30003, 0x30002), (0x3270f, 0x30002),
    (0x3ffff, 0x30002),
])
@pytest.mark.parametrize("options", [(), ("_pq_.one",), ("_pq_.one", "_pq_.two")], ids=len)
def test_an_unsupported_protocol_is_negotiated_before_the_password(pooler, asked, spoken,
                                                                              options):
    with pooler.endpoint().wire(login=False) as wire:
        wire.send(w.startup_packet(asked, user="app", database="app", **dict.fromkeys(options, "x")))
        if spoken or options:
            first = wire.receive()
            assert first.kind == "v"
            assert struct.unpack_from("!II", first.body) == (spoken or asked, len(options))
            assert first.body[8:] == b"".join(w.text(name) for name in options)
        answers = wire.login("app", "app")
        assert answers[0].kind == "R" and "v" not in [m.kind for m in answers]
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_the_console_negotiates_too(pooler):
    with pooler.endpoint("trunkline", "admin").wire(login=False) as wire:
        wire.send(w.startup_packet(0x3270f, user="admin", database="trunkline"))
        assert wire.receive().kind == "v"
        assert wire.login("admin", "admin")[0].kind == "R"


@pytest.mark.parametrize("request_", [w.SSL_REQUEST, w.GSS_REQUEST], ids=["ssl", "gss"])
def test_no_encryption_is_asked_for_inside_of_tls(trunkline, certificate, request_):
    daemon = trunkline(listen=[dict(host="127.0.0.1", port=free_port(), tls={
        "mode": "allow", "cert": str(certificate.cert), "key": str(certificate.key)})])
    with daemon.endpoint().wire(login=False) as wire:
        wire.send(w.GSS_REQUEST)
        assert wire.take(1) == b"N"
        wire.secure()
        answers = wire.send(request_).rest()
        assert [m.sqlstate for m in answers] == ["08P01"]


@pytest.mark.parametrize("order", ["SG", "GS"])
def test_each_kind_of_encryption_may_be_asked_for_once_in_any_order(pooler, order):
    requests = {"S": w.SSL_REQUEST, "G": w.GSS_REQUEST}
    with pooler.endpoint().wire(login=False) as wire:
        for letter in order:
            wire.send(requests[letter])
            assert wire.take(1) == b"N"
        wire.startup("app", "app", "app")
    for last in order:
        with pooler.endpoint().wire(login=False) as wire:
            for letter in order:
                wire.send(requests[letter])
                assert wire.take(1) == b"N"
            answers = wire.send(requests[last]).rest()
            assert [m.sqlstate for m in answers] == ["08P01"]


def test_a_pool_of_one_serves_clients_of_different_options(trunkline):
    daemon = trunkline(routes=[route(pool_size=1)])
    endpoint = daemon.endpoint()
    assert outcome(endpoint, "DateStyle", "work_mem", options="-e -S 5120") == ["ISO, DMY", "5MB"]
    assert outcome(endpoint, "DateStyle", "work_mem") == ["ISO, MDY", "4MB"]
