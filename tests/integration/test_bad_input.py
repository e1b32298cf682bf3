"""Bad input of any kind gets a clear error, or an end, and costs nobody else anything."""
import random
import re
import struct

import pytest
from support import wire as w
from support.patience import STRETCH, seconds


@pytest.fixture(params=["direct", "pooled"])
def gate(request, postgres):
    """An endpoint to knock at wrongly, at PostgreSQL itself and at the pooler."""
    if request.param == "direct":
        return postgres.endpoint()
    return request.getfixturevalue("pooler").endpoint()


@pytest.fixture(autouse=True)
def bystander(request):
    """Another client of the pooler, which must not notice anything."""
    if "[direct" in request.node.name:
        yield
        return
    pooler = request.getfixturevalue("pooler")
    with pooler.endpoint().wire() as other:
        yield other
        assert w.rows(other.ask(w.query("select 'unharmed'"))) == [["unharmed"]]
        assert pooler.program.running()


def label(data):
    return "".join(chr(byte) if chr(byte).isalnum() else "." for byte in data[:24]) or "nothing"


def knock(gate, data):
    """What comes back until the end when these are a connection's only bytes."""
    with gate.wire(login=False) as wire:
        return wire.last_words(data)


def refused(answers):
    """Ended, with an error or without a word, but not let in."""
    assert not {"Z", "K"} & {m.kind for m in answers}
    return True


@pytest.mark.parametrize("data", [
    b"", b"\0", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\xff" * 100,
    struct.pack("!I", 0), struct.pack("!I", 4), struct.pack("!II", 7, 0x30000),
    struct.pack("!II", 8, 0x30000), struct.pack("!II", 9, 0x30000) + b"\0",
    struct.pack("!II", 10001, 0x30000), struct.pack("!II", 0x7fffffff, 0x30000),
    struct.pack("!II", 0xffffffff, 0x30000),
    w.startup_packet(version=0x20000, user="app", database="app"),
    w.startup_packet(version=0x40000, user="app", database="app"),
    w.startup_packet(database="app"), w.startup_packet(user="", database="app"),
    struct.pack("!II", 13, 0x30000) + b"user\0", struct.pack("!II", 20, 0x30000) + b"user\0app\0nul",
    w.cancel_packet(1, b""), w.cancel_packet(1, b"abc"), w.cancel_packet(1, b"x" * 300),
    w.startup_packet(user="app\0", database="app"),
], ids=label)
def test_a_first_packet_that_is_none_is_refused(gate, data):
    assert refused(knock(gate, data))


def test_a_startup_packet_of_the_largest_size_is_read(gate):
    body = w.startup_packet(user="app", database="app", application_name="x" * 9900)
    assert len(body) < 10000
    with gate.wire(login=False) as wire:
        wire.send(body)
        assert wire.receive().kind == "R"


def test_a_packet_that_is_announced_and_never_sent_costs_no_memory(pooler):
    before = pooler.memory()
    wires = [pooler.endpoint().wire(login=False) for _ in range(50)]
    for wire in wires:
        wire.send(struct.pack("!II", 9999, 0x30000))
    assert pooler.endpoint().one("select 1") == 1
    if STRETCH == 1:  # a sanitizer's heap says nothing about ours
        assert pooler.memory() - before < 8 << 20
    for wire in wires:
        wire.__exit__()


def test_an_encryption_that_is_not_there_is_declined_and_the_login_goes_on(pooler):
    for request in (w.SSL_REQUEST, w.GSS_REQUEST):
        with pooler.endpoint().wire(login=False) as wire:
            wire.send(request)
            assert wire.take(1) == b"N"
            wire.startup("app", "app", "app")
            assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_each_request_for_encryption_may_be_made_once(pooler):
    with pooler.endpoint().wire(login=False) as wire:
        wire.send(w.GSS_REQUEST)
        assert wire.take(1) == b"N"
        wire.send(w.SSL_REQUEST)
        assert wire.take(1) == b"N"
        wire.send(w.SSL_REQUEST)
        assert refused(wire.rest())


def test_a_newer_minor_version_is_negotiated(gate):
    with gate.wire(login=False) as wire:
        wire.send(w.startup_packet(version=0x30002 + 7, user="app", database="app",
                                   **{"_pq_.unknown_option": "1"}))
        first = wire.receive()
        assert first.kind == "v"
        newest, unknown = struct.unpack_from("!II", first.body)
        assert newest & 0xffff <= 2 and unknown == 1
        assert b"_pq_.unknown_option\0" in first.body
        wire.login("app", "app")
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_a_byte_at_a_time_is_as_good_as_a_packet(gate):
    with gate.wire(login=False) as wire:
        for byte in w.startup_packet(user="app", database="app"):
            wire.send(bytes([byte]))
        wire.login("app", "app")
        for byte in w.query("select 1"):
            wire.send(bytes([byte]))
        assert w.rows(wire.until()) == [["1"]]


@pytest.mark.parametrize("data", [
    b"Q\0\0\0\0", b"Q\0\0\0\3", b"Q\xff\xff\xff\xff", b"\0\0\0\0\4", b"z\0\0\0\4", b"Q\x7f\xff\xff\xff",
    w.message("Q", b"no end"), w.message("Q", b""), w.message("P", b""), w.message("B", b"\0"),
    w.message("B", b"\0\0\0\1\0\0\xff\xff"), w.message("B", b"\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"),
    w.message("D", b"X\0"), w.message("D", b""), w.message("C", b"?\0"), w.message("E", b"\0"),
    w.message("F", b"\0"), w.message("p", b"secret\0"), w.message("S", b"more"),
    w.message("P", b"\0select 1\0\xff\xff"), w.message("P", b"name"),
], ids=label)
def test_a_broken_message_is_an_error_or_an_end(gate, data):
    with gate.wire() as wire:
        answers = wire.last_words(data, w.SYNC)
        assert [m for m in answers if m.kind == "E"] or not answers
        assert not [m for m in answers if m.kind in "DC1"]


def test_a_broken_message_ends_a_session_pools_client_without_a_trace(pooler):
    with pooler.endpoint(database="session").wire() as wire:
        wire.send(b"Q\0\0\0\3")
        assert seconds(wire.rest) < 10
    assert pooler.endpoint(database="session").one("select 1") == 1


def test_a_broken_message_in_a_transaction_frees_the_server(pooler):
    for _ in range(3):
        with pooler.endpoint(database="transaction").wire() as wire:
            wire.ask(w.query("begin"))
            wire.send(b"z\0\0\0\3")
            wire.rest()
    assert pooler.endpoint(database="transaction").one("select 1") == 1


@pytest.mark.parametrize("seed", range(10))
def test_noise_after_the_login_affects_no_other_client(pooler, seed):
    dice = random.Random(seed)
    kinds = b"QPBDECSHFdcfXp"
    for _ in range(20):
        with pooler.endpoint(database="transaction").wire() as wire:
            noise = []
            for _ in range(dice.randrange(1, 6)):
                body = dice.randbytes(dice.randrange(0, 60))
                length = len(body) + 4 + dice.choice([0, 0, 0, 1, -1, 1000])
                noise.append(bytes([dice.choice(kinds)]) + struct.pack("!I", max(length, 0)) + body)
            wire.last_words(*noise)
    assert pooler.endpoint(database="transaction").one("select 1") == 1


@pytest.mark.parametrize("seed", range(5))
def test_noise_instead_of_a_login_affects_no_other_client(pooler, seed):
    dice = random.Random(seed)
    for _ in range(40):
        data = dice.randbytes(dice.randrange(1, 200))
        if dice.random() < 0.5:
            data = struct.pack("!II", len(data) + 8, 0x30000) + data
        knock(pooler.endpoint(), data)


def test_a_name_of_great_length_is_refused_like_any_other(pooler):
    for key in ("user", "database"):
        parameters = dict(user="app", database="app", **{}) | {key: "n" * 5000}
        with pooler.endpoint().wire(login=False) as wire:
            wire.send(w.startup_packet(**parameters))
            try:
                wire.login("app", "app")
                wire.send(w.query("select 1"))
                assert wire.until("E")
            except (w.Refused, EOFError):
                pass


def test_a_probe_that_says_nothing_is_not_worth_a_word(trunkline):
    daemon = trunkline()
    daemon.logged("ready")

    def bad():
        return len(re.findall("error|warn", daemon.log(), re.I))

    before = bad()
    for _ in range(20):
        daemon.endpoint().wire(login=False).__exit__()
    assert daemon.endpoint().one("select 1") == 1
    daemon.logged("client.disconnected")  # what there was to say before has been written
    assert bad() == before
