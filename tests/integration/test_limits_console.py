"""Limits of one console session, and of what it may set, from both sides."""
import pytest
from support import wire as w

MESSAGE_MOST = 256 * 1024
NAMES_MOST = 1000
OVERRIDES_MOST = 256 * 1024


def console(daemon):
    return daemon.endpoint("trunkline", "admin").wire()


def errors(messages):
    return [m.sqlstate for m in messages if m.kind == "E"]


def padded(sql, size):
    """A Query of this size, with its header and its end."""
    return w.query(sql.ljust(size - 6))


def test_a_message_is_as_long_as_it_may_be(trunkline):
    daemon = trunkline()
    with console(daemon) as other, console(daemon) as wire:
        for _ in range(2):
            answers = wire.ask(padded("SHOW VERSION", MESSAGE_MOST))
            assert errors(answers) == [] and len(w.rows(answers)) == 1
        words = wire.last_words(padded("SHOW VERSION", MESSAGE_MOST + 1)[:5])  # is enough
        assert errors(words) == ["54000"] and words[-1].fields["S"] == "FATAL"
        assert len(w.rows(other.ask(w.query("SHOW VERSION")))) == 1


def test_a_session_has_as_many_statements_as_it_may(trunkline):
    daemon = trunkline()
    with console(daemon) as other, console(daemon) as wire:
        parses = [w.parse(f"s{i}", "SHOW VERSION") for i in range(NAMES_MOST)]
        assert errors(wire.ask(*parses, w.SYNC)) == []
        answers = wire.ask(w.parse("more", "SHOW VERSION"), w.SYNC)
        assert errors(answers) == ["54000"] and f"{NAMES_MOST}" in answers[0].fields["M"]
        for name in ("s0", f"s{NAMES_MOST - 1}"):
            assert len(w.rows(wire.ask(w.bind("", name), w.execute(), w.SYNC))) == 1
        assert errors(other.ask(w.parse("more", "SHOW VERSION"), w.SYNC)) == []
        assert errors(wire.ask(w.close("S", "s0"), w.parse("more", "SHOW VERSION"), w.SYNC)) == []


def test_a_session_has_as_many_portals_as_it_may(trunkline):
    """They end with the Sync, so all of them stand in one batch."""
    daemon = trunkline()
    binds = [w.bind(f"p{i}", "s") for i in range(NAMES_MOST)]
    with console(daemon) as wire:
        assert errors(wire.ask(w.parse("s", "SHOW VERSION"), w.SYNC)) == []
        answers = wire.ask(*binds, w.execute("p0"), w.SYNC)
        assert errors(answers) == [] and len(w.rows(answers)) == 1
        answers = wire.ask(*binds, w.bind("more", "s"), w.SYNC)
        assert errors(answers) == ["54000"] and w.kinds(answers).count("2") == NAMES_MOST
        assert errors(wire.ask(*binds[1:], w.bind("more", "s"), w.SYNC)) == []


def test_as_much_is_set_as_may_be_until_a_reload(trunkline):
    """What did not fit has changed nothing, and what still fits is set."""
    daemon = trunkline(relays=1)
    key = "routes[0].password_command"
    most = len(key) + 2 + 255

    def set_to(wire, size):
        """Takes up so much: the key, the value, and their ends."""
        return errors(wire.ask(w.query(f"SET {key} = '{'x' * (size - len(key) - 2)}'")))

    def shown(wire):
        rows = w.rows(wire.ask(w.query(f"SHOW CONFIG WHERE key = '{key}'")))
        return len(rows[0][1]) + len(key) + 2

    with console(daemon) as wire:
        count, rest = divmod(OVERRIDES_MOST, most)
        rest += most
        for _ in range(count - 1):
            assert set_to(wire, most) == []
        assert set_to(wire, rest // 2) == []
        left = rest - rest // 2
        assert set_to(wire, left + 1) == ["54000"]
        assert shown(wire) == rest // 2
        assert set_to(wire, left) == []
        assert shown(wire) == left
        assert set_to(wire, len(key) + 3) == ["54000"]
        assert errors(wire.ask(w.query("RELOAD"))) == []
        assert set_to(wire, most) == []
    assert daemon.endpoint().one("select 1") == 1
