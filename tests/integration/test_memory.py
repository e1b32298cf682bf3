"""memory_limit: who holds the most goes first, is told why, and is counted."""
from support import wire as w
from support.patience import STRETCH, eventually
from support.trunkline import route

MEGABYTE = 1 << 20


def begin_of_parse(size, sent):
    """The first bytes of a named statement that must be held whole."""
    whole = w.parse("long", "select '" + "x" * size + "'")
    return whole[:sent]


def relay(daemon):
    return daemon.console("SHOW RELAYS")[0]


def daemon_with(trunkline, **changes):
    return trunkline(relays=1, memory_limit="16MiB", message_limit="12MiB", chunk_size="64KiB",
                     routes=[route(pool_size=4)], **changes)


def test_the_largest_holder_of_memory_is_disconnected(trunkline):
    daemon = daemon_with(trunkline)
    with daemon.endpoint().wire() as large, daemon.endpoint().wire() as small, daemon.endpoint().wire() as next:
        large.send(begin_of_parse(11 * MEGABYTE, MEGABYTE))
        eventually(lambda: relay(daemon)["held_bytes"] > 11 * MEGABYTE)
        small.send(begin_of_parse(3 * MEGABYTE, MEGABYTE))
        eventually(lambda: relay(daemon)["held_bytes"] > 14 * MEGABYTE)
        text = "select length('" + "y" * 4 * MEGABYTE + "')"
        next.send(w.parse("mine", text), w.bind(statement="mine"), w.execute(), w.SYNC)
        answers = large.rest()
        assert [m.fields["S"] for m in answers if m.kind == "E"] == ["FATAL"]
        assert answers[-1].sqlstate == "53200" and "memory_limit" in answers[-1].fields["M"]
        assert w.rows(next.until()) == [[str(4 * MEGABYTE)]]
        shown = relay(daemon)
        assert shown["shed"] == 1 and shown["chunks_short"] > 0
        assert 7 * MEGABYTE < shown["held_bytes"] < 8 * MEGABYTE  # the small one's, and the text
        daemon.logged(r"memory\.shed .*database=app user=app bytes=1\d{7} ")
    eventually(lambda: relay(daemon)["held_bytes"] < 100000)


def test_the_largest_request_for_memory_is_refused(trunkline):
    daemon = daemon_with(trunkline)
    with daemon.endpoint().wire() as first, daemon.endpoint().wire() as second:
        first.send(begin_of_parse(6 * MEGABYTE, MEGABYTE))
        eventually(lambda: relay(daemon)["held_bytes"] > 6 * MEGABYTE)
        second.send(begin_of_parse(11 * MEGABYTE, MEGABYTE))
        answers = second.rest()
        assert answers[-1].sqlstate == "53200" and answers[-1].fields["S"] == "FATAL"
        assert relay(daemon)["shed"] == 1
        whole = w.parse("long", "select '" + "x" * 6 * MEGABYTE + "'")
        first.send(whole[MEGABYTE:], w.SYNC)
        assert w.kinds(first.until()) == "1 Z"


def test_waiting_clients_count_for_memory(trunkline):
    daemon = trunkline(relays=1, memory_limit="16MiB", message_limit="1MiB", chunk_size="64KiB",
                       routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as holder:
        holder.ask(w.query("begin"))
        before = daemon.memory()
        clients = [daemon.endpoint().wire() for _ in range(400)]
        for client in clients:
            client.send(w.query("select '" + "x" * 60000 + "'"))
        eventually(lambda: relay(daemon)["shed"] > 100)
        assert relay(daemon)["held_bytes"] <= 16 * MEGABYTE
        assert daemon.memory() - before < 32 * MEGABYTE * STRETCH
        holder.ask(w.query("commit"))
        served = told = 0
        for client in clients:
            first = client.receive()
            if first.kind == "E":
                told += first.sqlstate == "53200" and first.fields["S"] == "FATAL"
            else:
                served += client.until()[-1].kind == "Z"
            client.__exit__()
        assert told == relay(daemon)["shed"] and told + served == 400
