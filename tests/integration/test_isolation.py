"""session_state.isolation: what texts do not show reaches nobody else either."""
import pytest

from support import wire as w
from support.leftover import leftover
from support.patience import eventually
from support.trunkline import route

UNSEEN = """
create function hidden() returns text language sql as
  $$select pg_catalog.set_config('work_mem', '77MB', false)$$;
create function locks() returns void language sql as 'select pg_catalog.pg_advisory_lock(4711)';
create function makes() returns void language plpgsql as
  $$begin execute 'create temp table leaked (a int)'; end$$;
create function listens() returns void language plpgsql as $$begin execute 'listen leaked'; end$$;
create function holds() returns void language plpgsql as
  $$begin execute 'declare leaked cursor with hold for select 1'; end$$;
create procedure called() language plpgsql as $$begin perform hidden(); end$$;
create table fired (a int);
create view calls as select hidden() as a;
create function fires() returns trigger language plpgsql as
  $$begin perform hidden(); return new; end$$;
create trigger fires before insert on fired for each row execute function fires();
create function adds(int, int) returns int language sql as $$select length(hidden())$$;
create operator public.@#@ (leftarg = int, rightarg = int, function = adds);
create sequence numbers;
create table numbered (a int default nextval('numbers'));
"""

LEAKS = ["select hidden()", "select locks()", "select makes()", "call called()",
         "select * from calls", "insert into fired values (1)", "select 1 @#@ 2",
         "do $$begin perform hidden(); end$$", "select listens()",
         "create temp view v as select hidden() as a; select * from v"]


@pytest.fixture(scope="module")
def backend(template):
    from support.postgres import Postgres
    cluster = Postgres(template)
    cluster.sql("alter role app superuser")
    for sql in UNSEEN.split(";\n"):
        if sql.strip():
            cluster.sql(sql)
    yield cluster
    cluster.remove()


@pytest.fixture
def single(trunkline, backend):
    def make(isolation, **settings):
        settings = {"pool_size": 1, "session_state": {"isolation": isolation}, **settings}
        return trunkline(server=backend, relays=settings.pop("relays", 1),
                         routes=[route(**settings)])
    return make


def fine(messages):
    errors = [m.fields for m in messages if m.kind == "E"]
    assert not errors, errors
    return messages


def value(wire, sql):
    return w.rows(fine(wire.ask(w.query(sql))))[0][0]


def extended(sql):
    return [w.parse("", sql), w.bind(), w.execute(), w.message("S")]


@pytest.mark.parametrize("isolation", ["strict", "fresh"])
@pytest.mark.parametrize("sql", LEAKS)
def test_session_state_not_visible_in_sql_reaches_no_other_client(single, sql, isolation):
    daemon = single(isolation)
    for protocol in "simple", "extended":
        if protocol == "extended" and ";" in sql.replace("; end", ""):
            continue
        with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
            fine(one.ask(*([w.query(sql)] if protocol == "simple" else extended(sql))))
            if "temp" in sql:
                one.send(w.message("X"))
            assert leftover(other) is None


def test_reading_texts_does_not_see_that(single):
    """So that the tests above can fail."""
    daemon = single("read")
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.query("select hidden()")))
        assert leftover(other) == "setting work_mem=78848"


@pytest.mark.parametrize("isolation", ["strict", "fresh"])
def test_a_function_call_message_is_no_way_round(single, backend, isolation):
    oid = backend.one("select 'hidden()'::regprocedure::oid")
    daemon = single(isolation)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.function_call(oid)))
        assert leftover(other) is None


def test_the_same_client_finds_its_session_as_it_was(single, backend):
    daemon = single("strict")
    with daemon.endpoint().wire() as one:
        fine(one.ask(w.query("select hidden()")))
        mark = backend.mark()
        for _ in range(5):
            assert value(one, "show work_mem") == "77MB"
        assert not [text for text in backend.statements(mark) if "RESET" in text.upper()]


def test_clients_by_turns_have_their_own_parameters_and_nothing_else(single):
    daemon = single("strict")
    with daemon.endpoint().wire(application_name="one", search_path="pg_catalog") as one, \
            daemon.endpoint().wire(application_name="other") as other:
        for _ in range(3):
            for wire, name, path in (one, "one", "pg_catalog"), (other, "other", '"$user", public'):
                assert value(wire, "show application_name") == name
                assert value(wire, "show search_path") == path
                fine(wire.ask(w.query(f"set datestyle = 'german'")))
                fine(wire.ask(w.query("select set_config('random_page_cost', '3', true)")))
                assert value(wire, "show datestyle") == "German, DMY"
                assert value(wire, "select public.hidden()") == "77MB"


def test_sequences_and_random_numbers_of_others_are_forgotten(single, backend):
    known = backend.one("select array[setseed(0.25)::text, random()::text, random()::text]")
    backend.sql("create or replace function seeds() returns void language sql as "
                "'select pg_catalog.setseed(0.25)'")
    daemon = single("strict")
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.query("insert into numbered default values")))
        fine(one.ask(w.query("select seeds()")))
        assert value(other, "select random()::text") not in known
        fine(one.ask(w.query("insert into numbered default values")))
        got = other.ask(w.query("select lastval()"))
        assert [m.sqlstate for m in got if m.kind == "E"] == ["55000"]


def test_fresh_closes_the_server_and_the_same_client_keeps_it(single):
    daemon = single("fresh")
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        pid = value(one, "select pg_backend_pid()")
        assert value(one, "select pg_backend_pid()") == pid
        second = value(other, "select pg_backend_pid()")
        assert second != pid
        assert value(one, "select pg_backend_pid()") not in (pid, second)


def test_a_client_that_has_gone_leaves_nothing_either(single):
    daemon = single("strict")
    with daemon.endpoint().wire() as other:
        for sql in "select hidden()", "begin; select locks()", "select listens()":
            with daemon.endpoint().wire() as one:
                fine(one.ask(w.query(sql)))
            assert leftover(other) is None


@pytest.mark.parametrize("isolation", ["strict", "fresh"])
def test_a_server_that_another_relay_gets_is_clean(single, isolation):
    """It stays suspect on its way."""
    daemon = single(isolation, relays=2)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as two, \
            daemon.endpoint().wire() as three, daemon.endpoint().wire() as four:
        for _ in range(3):
            for wire in one, two, three, four:
                assert leftover(wire) is None
                fine(wire.ask(w.query("select hidden(), locks()")))


def test_a_server_whose_reset_fails_is_closed(single, backend):
    """A cleaning that fails costs the server, not the client that waits for it."""
    backend.sql("create or replace function fails() returns void language plpgsql as "
                "$$begin execute 'set lock_timeout = 1'; execute 'set statement_timeout = 1'; end$$")
    daemon = single("strict")
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.query("select fails()")))
        for _ in range(3):
            assert leftover(other) is None


def test_pins_hold_in_strict_pools_too(single):
    daemon = single("strict")
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        fine(one.ask(w.query("create temp table mine as select 1 as a")))
        other.send(w.query("select 1"))
        assert other.silent()
        assert value(one, "select a from mine") == "1"
        fine(one.ask(w.query("drop table mine")))
        eventually(lambda: w.rows(other.until()) == [["1"]])


def test_clients_that_have_a_server_each_cost_no_cleaning(single, backend):
    daemon = single("strict", pool_size=2)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        def cleaned():
            mark = backend.mark()
            pids = {value(wire, "select pg_backend_pid()") for wire in (one, other) * 3}
            return len(pids) != 2 or any("RESET" in text for text in backend.statements(mark))
        eventually(lambda: not cleaned())
