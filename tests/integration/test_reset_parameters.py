"""RESET leads a client to what it gave at its startup, as on a direct connection."""
import pytest

from support import wire as w
from support.trunkline import route

GIVEN = {"search_path": "pg_catalog, public", "TimeZone": "Asia/Tokyo", "DateStyle": "SQL, DMY",
         "application_name": "mine",
         "options": "-c work_mem=5MB -c my.value=1 -c statement_timeout=50s"}
NAMES = ["search_path", "TimeZone", "DateStyle", "application_name", "work_mem", "my.value",
         "statement_timeout"]
SHOWN = w.query("select " + ", ".join(f"current_setting('{name}')" for name in NAMES))


def extended(*texts):
    parts = []
    for text in texts:
        parts += [w.parse("", text), w.bind(), w.execute()]
    return [*parts, w.SYNC]


def simple(*texts):
    return [w.query(text) for text in texts]


ALL = ("set work_mem='9MB'; set timezone='UTC'; set search_path='public'; set my.value='2'; "
       "set datestyle='German'; set statement_timeout='7s'; set application_name='other'")
PLAYS = {
    "one": [simple("set work_mem='9MB'"), simple("reset work_mem")],
    "one that is reported": [simple("set timezone='UTC'"), simple("reset timezone")],
    "never set": [simple("reset search_path")],
    "not given": [simple("set lock_timeout='3s'"), simple("reset lock_timeout")],
    "all": [simple(ALL), simple("reset all")],
    "all, extended": [simple(ALL), extended("reset all")],
    "one, extended": [simple(ALL), extended("reset search_path", "select 1", "reset time zone")],
    "discard all": [simple(ALL), simple("discard all")],
    "discard all, extended": [simple(ALL), extended("discard all")],
    "pool": [simple(ALL), simple("select pg_advisory_unlock_all(); close all; unlisten *; "
                                 "reset all")],
    "default": [simple(ALL), simple("set work_mem to default; set time zone default; "
                                    "set search_path = default; set my.value to default")],
    "case and quotes": [simple(ALL), simple('reset "WORK_mem"'), simple('reset "my"."value"')],
    "set_config": [simple(ALL), simple("select set_config('work_mem', null, false) is null, "
                                       "set_config('TimeZone', null, false) is null")],
    "set_config, unknown": [simple(ALL), simple("select set_config(n, null, false) is null from "
                                                "(values ('search_path'), ('my.value')) v(n)")],
    "set_config, not called": [simple(ALL), simple("select set_config('work_mem', null, false) "
                                                   "where false")],
    "in a body": [simple(ALL), simple("do $$ begin reset work_mem; reset timezone; end $$")],
    "in a transaction": [simple(ALL), simple("begin"), simple("reset all"), simple("commit")],
    "rolled back": [simple(ALL), simple("begin"), simple("reset all"), simple("rollback")],
    "to a savepoint": [simple("begin"), simple(ALL), simple("savepoint a"), simple("reset all"),
                       simple("rollback to a"), simple("commit")],
    "behind a savepoint": [simple("begin"), simple("reset all"), simple("savepoint a"),
                           simple("set work_mem='6MB'"), simple("rollback to a"), simple("commit")],
    "failed": [simple(ALL), simple("reset all; select 1/0")],
    "failed, extended": [simple(ALL), extended("reset all", "select 1/0")],
    "failed behind a commit": [simple(ALL), simple("begin; reset work_mem; commit; select 1/0")],
    "failed in one text": [simple(ALL), simple("begin; reset all; savepoint a; select 1/0"),
                           simple("rollback to a"), simple("commit")],
    "refused": [simple(ALL), simple("reset all; reset no_such")],
    "rolled back in one text": [simple(ALL), simple("begin; reset all; rollback")],
    "set behind it": [simple(ALL), simple("reset all; set work_mem='8MB'; set timezone='UTC'")],
    "set behind it, extended": [extended("reset all", "set timezone='UTC'")],
    "set to the default": [simple("set timezone='UTC'"), simple("set timezone='Asia/Tokyo'"),
                           simple("set timezone='UTC'")],
    "pipelined": [simple(ALL), [*simple("reset all"), *extended("select 1"),
                                *simple("set work_mem='8MB'")]],
    "pipelined, rolled back": [[*simple("begin", "reset all", "set datestyle='German'"),
                                *extended("rollback")]],
    "behind COPY": [simple(ALL), [w.query("copy (select 1) to stdout; reset all")]],
}


class Player:
    """A client with all that it was told of its parameters."""

    def __init__(self, wire, told):
        self.wire, self.told = wire, told

    def hear(self, count):
        seen = []
        while count:
            answer = self.wire.receive()
            count -= answer.kind == "Z"
            if answer.kind == "S":
                name, value = answer.body[:-1].decode().split("\0")
                self.told[name] = value
            elif answer.kind == "E":
                seen.append(answer.sqlstate)
            elif answer.kind in "CZ":
                seen.append(answer.body)
            elif answer.kind == "D":
                seen.append(w.rows([answer]))
        return seen, None if seen[-1] == b"E" else dict(self.told)

    def play(self, messages):
        self.wire.send(*messages)
        return self.hear(sum(m[:1] in (b"Q", b"S") for m in messages))


def played(endpoint, play, between):
    told = {name: GIVEN[name] for name in ("TimeZone", "DateStyle", "application_name")}
    with endpoint.wire(**GIVEN) as wire:
        player = Player(wire, told)
        results = [player.play([SHOWN])[0]]
        for messages in play:
            results += [player.play(messages)]
            if results[-1][0][-1] != b"E":
                results += [player.play([SHOWN])]
            if results[-1][0][-1] == b"I":
                between()
                results += [player.play([SHOWN])]
        return results


@pytest.fixture
def both(trunkline, postgres):
    """What a play shows on a direct connection, and in a pool whose servers others use between."""
    def play(parts, **settings):
        pooler = trunkline(relays=1, routes=[route(pool_size=2, **settings)])
        with pooler.endpoint().wire(TimeZone="America/Lima", search_path="public") as one, \
                pooler.endpoint().wire() as two:
            def between():
                for other in one, two:
                    other.ask(w.query("select 1"))
            pooled = played(pooler.endpoint(), parts, between)
        return played(postgres.endpoint(), parts, lambda: None), pooled
    return play


@pytest.mark.parametrize("name", PLAYS)
def test_as_on_a_direct_connection(both, name):
    direct, pooled = both(PLAYS[name])
    assert pooled == direct


@pytest.mark.parametrize("name", ["all", "all, extended", "one, extended", "discard all, extended"])
def test_without_statements_of_ours(both, name):
    direct, pooled = both(PLAYS[name], prepared_statements="off")
    assert pooled == direct


@pytest.mark.parametrize("name", ["one", "all", "discard all", "in a transaction"])
def test_where_servers_are_cleaned_after_each_transaction(both, name):
    direct, pooled = both(PLAYS[name], session_state={"set": "reset"})
    assert pooled[-1] == direct[-1]


def test_what_another_client_has_left_is_no_reset(trunkline, postgres):
    """The server is led from another client's value to its default, in front of a text that may reset."""
    [[default]] = w.rows(postgres.endpoint().wire().ask(w.query("show timezone")))
    pooler = trunkline(relays=1, routes=[route(pool_size=1)])
    with pooler.endpoint().wire(TimeZone="America/Lima") as other, \
            pooler.endpoint().wire(TimeZone="Asia/Tokyo") as mine:
        mine.ask(w.query(f"set timezone = '{default}'"))
        other.ask(w.query("select 1"))
        mine.ask(w.query("do $$ begin if false then reset timezone; end if; end $$"))
        assert w.rows(mine.ask(w.query("show timezone"))) == [[default]]
