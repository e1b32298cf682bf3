"""State that a session leaves on a server of a transaction pool never reaches another client."""
import pytest

from support import wire as w
from support.patience import eventually
from support.trunkline import route

KINDS = ("set", "role", "authorization", "set_config", "temporary", "prepare", "listen", "cursor",
         "lock", "seed", "slot", "load")

# Kind, what makes it, what shows it to whoever has the server, and what a clean session answers.
STATE = {
    "set": ("set", "set work_mem = '77MB'", "show work_mem", "4MB"),
    "search_path": ("set", "SET Search_Path TO pg_catalog, public", "show search_path",
                    '"$user", public'),
    "characteristics": ("set", "set session characteristics as transaction isolation level "
                        "serializable", "show default_transaction_isolation", "read committed"),
    "role": ("role", "set role borrowed", "select current_user", "app"),
    "authorization": ("authorization", "set session authorization app",
                      "select current_setting('session_authorization')", "app"),
    "set_config": ("set_config", "select set_config('work_mem', '77MB', false)", "show work_mem",
                   "4MB"),
    "pg_settings": ("set_config", "update pg_settings set setting = '7700' where name = 'work_mem'",
                    "show work_mem", "4MB"),
    "temporary": ("temporary", "create temp table leaked (a int)",
                  "select to_regclass('pg_temp.leaked')", None),
    "into": ("temporary", "select 1 as a into temp leaked", "select to_regclass('pg_temp.leaked')",
             None),
    "view": ("temporary", "create temporary view leaked as select 1 as a",
             "select to_regclass('pg_temp.leaked')", None),
    "prepare": ("prepare", "prepare leaked as select 1",
                "select count(*) from pg_prepared_statements where name = 'leaked'", "0"),
    "listen": ("listen", "listen leaked", "select count(*) from pg_listening_channels()", "0"),
    "cursor": ("cursor", "declare leaked cursor with hold for select 1",
               "select count(*) from pg_cursors where name = 'leaked'", "0"),
    "lock": ("lock", "select pg_advisory_lock(4711)",
             "select count(*) from pg_locks where locktype = 'advisory'", "0"),
    "try": ("lock", "/* ours */ SELECT pg_try_advisory_lock_shared(47, 11)",
            "select count(*) from pg_locks where locktype = 'advisory'", "0"),
    "do": ("lock", "do $$ begin perform pg_advisory_lock(4711); end $$",
           "select count(*) from pg_locks where locktype = 'advisory'", "0"),
    "second": ("set", "select 1; set work_mem = '77MB'; select 2", "show work_mem", "4MB"),
}

PROTOCOLS = ("simple", "unnamed", "named", "portal")


@pytest.fixture(scope="module", autouse=True)
def borrowed(postgres):
    postgres.sql("create role borrowed")
    postgres.sql("grant borrowed to app")
    yield
    postgres.sql("drop role borrowed")


def single(trunkline, policy="pin", **settings):
    """One server, so that what is left there meets the next client."""
    state = {kind: policy for kind in KINDS}
    return trunkline(relays=1, routes=[route(pool_size=1, session_state={**state, **settings})])


def say(protocol, sql):
    """The messages of one statement."""
    if protocol == "simple":
        return [w.query(sql)]
    name = "mine" if protocol in ("named", "portal") else ""
    portal = "endpoint" if protocol == "portal" else ""
    return [w.parse(name, sql), w.bind(portal, name), w.execute(portal), w.close("S", name),
            w.message("S")]


def fine(messages):
    errors = [m.fields for m in messages if m.kind == "E"]
    assert not errors, errors
    return messages


def value(wire, sql):
    return w.rows(fine(wire.ask(w.query(sql))))[0][0]


def protocols(name):
    return PROTOCOLS if name != "second" else ("simple",)


@pytest.mark.parametrize("name", STATE)
def test_a_pinned_client_keeps_its_server_and_leaves_it_clean(trunkline, name):
    kind, make, show, clean = STATE[name]
    daemon = single(trunkline)
    for protocol in protocols(name):
        with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
            fine(one.ask(*say(protocol, make)))
            assert name == "authorization" or value(one, show) != clean
            other.send(w.query(show))
            assert other.silent(0.1), "the state's owner has the only server"
            one.send(w.message("X"))
            assert w.rows(fine(other.until()))[0][0] == clean


@pytest.mark.parametrize("name", STATE)
def test_reset_takes_effect_with_its_transaction(trunkline, name):
    kind, make, show, clean = STATE[name]
    daemon = single(trunkline, "reset")
    for protocol in protocols(name):
        with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
            fine(one.ask(*say(protocol, make)))
            assert value(other, show) == clean
            fine(one.ask(w.query("begin")))
            fine(one.ask(*say(protocol, make)))
            # LISTEN begins with the commit.
            assert name in ("authorization", "listen") or value(one, show) != clean
            fine(one.ask(w.query("commit")))
            assert value(one, show) == clean
            assert value(other, show) == clean


@pytest.mark.parametrize("name", STATE)
def test_rejected_session_state_fails_with_a_hint(trunkline, name):
    kind, make, show, clean = STATE[name]
    daemon = single(trunkline, "reject")
    for protocol in protocols(name):
        with daemon.endpoint().wire() as one:
            answer = one.ask(*say(protocol, make))
            assert w.kinds(answer) == "E Z" and answer[-1].body == b"I"
            fields = [m for m in answer if m.kind == "E"][0].fields
            assert fields["C"] == "0A000" and fields["S"] == "ERROR"
            assert f"session_state.{kind} " in fields["H"]
            assert value(one, show) == clean
            fine(one.ask(w.query("begin")))
            answer = one.ask(*say(protocol, make))
            assert [m.sqlstate for m in answer if m.kind == "E"] == ["0A000"]
            assert answer[-1].body == b"E", "the transaction has failed"
            assert [m.sqlstate for m in one.ask(w.query("select 1"))
                    if m.kind == "E"] == ["25P02"]
            fine(one.ask(w.query("rollback")))
            assert value(one, show) == clean


def test_allowed_session_state_stays_for_the_next_client(trunkline):
    daemon = single(trunkline, "allow")
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.query("prepare leaked as select 1")))
        assert value(other, STATE["prepare"][2]) == "1"


def test_a_rejected_statement_of_a_pipeline_skips_up_to_its_sync(trunkline):
    daemon = single(trunkline, "reject")
    with daemon.endpoint().wire() as wire:
        wire.send(w.parse("", "select 1"), w.bind(), w.execute(),
                  w.parse("", "listen here"), w.bind(), w.execute(), w.message("S"),
                  w.parse("", "select 2"), w.bind(), w.execute(), w.message("S"))
        assert w.kinds(wire.until("Z", 2)) == "1 2 D C E Z 1 2 D C Z"


def test_a_statement_prepared_before_it_was_rejected_is_rejected_at_its_bind(trunkline):
    daemon = single(trunkline, "allow")
    with daemon.endpoint().wire() as wire:
        fine(wire.ask(w.parse("later", "listen here"), w.message("S")))
        config = daemon.config
        config["routes"][0]["session_state"]["listen"] = "reject"
        daemon.reload(config)
        assert w.kinds(wire.ask(w.bind("", "later"), w.execute(), w.message("S"))) == "E Z"


@pytest.mark.parametrize("sql", [
    "set local work_mem = '77MB'",
    "select set_config('work_mem', '77MB', true)",
    "create temp table gone (a int) on commit drop",
    "select pg_advisory_xact_lock(1)",
    "declare c cursor for select 1",
    "set transaction isolation level serializable",
    "set constraints all deferred",
    "select 'listen here; set work_mem = 1', $$prepare x as select 1$$ -- ; listen x",
])
def test_transaction_state_does_not_pin(trunkline, sql):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        for messages in ([w.query("begin"), w.query(sql), w.query("commit")]):
            fine(one.ask(messages))
        assert value(other, "select 1") == "1"


@pytest.mark.parametrize("sql", [
    "set application_name = 'mine'", "set TimeZone to 'Asia/Tokyo'", "set names 'latin1'",
    "set time zone 'UTC'", "set DateStyle = 'German'", "select set_config('datestyle', 'sql', false)",
])
def test_parameters_that_servers_report_follow_their_client_and_pin_nothing(trunkline, sql):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        before = value(other, "select current_setting('TimeZone') || current_setting('DateStyle')")
        fine(one.ask(w.query(sql)))
        assert value(other, "select current_setting('TimeZone') || "
                            "current_setting('DateStyle')") == before


@pytest.mark.parametrize("sql", ["set work_mem = '77MB'", "create temp table t (a int)",
                                 "listen here", "declare c cursor with hold for select 1",
                                 "select set_config('work_mem', '77MB', false)",
                                 "set role borrowed"])
@pytest.mark.parametrize("undo", ["rollback", "error", "savepoint", "implicit"])
def test_rolled_back_state_does_not_pin(trunkline, sql, undo):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        if undo == "implicit":
            one.ask(w.query(f"select 1; {sql}; select 1/0")) \
                if not sql.startswith("declare") else one.ask(w.query(f"{sql}; select 1/0"))
        else:
            fine(one.ask(w.query("begin")))
            if undo == "savepoint":
                fine(one.ask(w.query("savepoint a")))
            fine(one.ask(w.query(sql)))
            if undo == "error":
                one.ask(w.query("select 1/0"))
            if undo == "savepoint":
                fine(one.ask(w.query("rollback to a")))
            fine(one.ask(w.query("rollback")))
        assert value(other, "show work_mem") == "4MB"
        assert value(other, "select current_user") == "app"


def test_a_rollback_to_an_earlier_savepoint_hides_no_state(trunkline):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        for sql in ("begin", "set work_mem = '77MB'", "savepoint a", "reset all", "rollback to a",
                    "commit"):
            fine(one.ask(w.query(sql)))
        other.send(w.query("show work_mem"))
        assert other.silent()
        assert value(one, "show work_mem") == "77MB"
        one.send(w.message("X"))
        assert w.rows(other.until()) == [["4MB"]]


def test_a_lock_taken_by_a_statement_that_failed_is_still_held(trunkline):
    daemon = single(trunkline, "reset")
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        one.ask(w.query("select pg_advisory_lock(5), 1/(random() * 0)::int"))
        assert value(other, STATE["lock"][2]) == "0"


def test_statements_of_one_text_are_told_apart(trunkline):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.query("set work_mem = '77MB'; select 1; reset work_mem; listen a; "
                             "unlisten a; begin; prepare p as select 1; deallocate p; commit")))
        assert value(other, "show work_mem") == "4MB"
        one.ask(w.query("begin; set work_mem = '77MB'; commit; select 1/0"))
        other.send(w.query("show work_mem"))
        assert other.silent()
        one.send(w.message("X"))
        assert w.rows(other.until()) == [["4MB"]]


def test_a_prepared_statement_of_the_protocol_pins_nothing(trunkline):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.parse("mine", "select 1"), w.message("S")))
        assert value(other, "select 1") == "1"


@pytest.mark.parametrize("at", [100, 300_000, 600_000])
def test_a_text_that_is_too_long_to_be_kept_leaves_nothing_behind(trunkline, at):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        text = f"select '{'x' * at}'; set work_mem = '77MB'; select '{'x' * (700_000 - at)}'"
        fine(one.ask(w.query(text)))
        assert value(other, "show work_mem") == "4MB"
        fine(one.ask(w.query(f"select '{'x' * 700_000}'")))
        assert value(other, "show work_mem") == "4MB"


def test_two_clients_by_turns_never_see_each_others_state(trunkline):
    """All kinds at once, over and over, by clients that come and go."""
    daemon = single(trunkline, "reset")
    makers = [STATE[name][1] for name in STATE if name not in ("second", "do", "into", "view")]
    with daemon.endpoint().wire() as other:
        for round_ in range(6):
            with daemon.endpoint().wire() as one:
                for number, sql in enumerate(makers):
                    one.ask(*say(PROTOCOLS[(number + round_) % 3], sql))
            for name in STATE:
                kind, make, show, clean = STATE[name]
                assert value(other, show) == clean, (round_, name)


def test_a_client_that_vanishes_leaves_nothing(trunkline):
    daemon = single(trunkline)
    with daemon.endpoint().wire() as other:
        for name in ("set", "listen", "lock", "temporary", "cursor", "prepare"):
            kind, make, show, clean = STATE[name]
            with daemon.endpoint().wire() as one:
                fine(one.ask(w.query("begin")))
                fine(one.ask(w.query(make)))
            assert value(other, show) == clean
            with daemon.endpoint().wire() as one:
                one.send(w.query(make + "; select pg_sleep(60)"))
                eventually(lambda: daemon.console("SHOW PINS") or True)
            assert value(other, show) == clean


def test_without_renamed_statements_nothing_leaks_either(trunkline):
    daemon = trunkline(relays=1, routes=[route(pool_size=1, prepared_statements="off",
                                               session_state={"set": "reset", "listen": "reject"})])
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.parse("", "set work_mem = '77MB'"), w.bind(), w.execute(), w.message("S")))
        assert value(other, "show work_mem") == "4MB"
        assert w.kinds(one.ask(w.parse("", "listen a"), w.message("S"))) == "E Z"
