"""State left behind by SQL that is there to be read, however it is written.

One client does something and goes; the next one of the pool, which has a single server, finds
nothing of it.  The user is a superuser, so that everything may be tried.
"""
import pytest

from support import wire as w
from support.leftover import leftover
from support.scripted import Scripted
from support.trunkline import route

ROLES = """
alter role app superuser;
create role bob superuser;
create role carl;
grant carl to bob;
create sequence numbers owned by none;
create function hidden() returns text language sql as
  $$select pg_catalog.set_config('work_mem', '77MB', false)$$;
create table called (a int);
create view calls as select hidden() as a;
create function fires() returns trigger language plpgsql as
  $$begin perform hidden(); return new; end$$;
create trigger fires before insert on called for each row execute function fires();
create procedure commits(text) language plpgsql as
  $$begin commit; perform 1/0; end$$;
create function prepares() returns void language plpgsql as
  $$begin execute 'prepare planted as select 1'; end$$;
"""


@pytest.fixture(scope="module")
def backend(template):
    from support.postgres import Postgres
    cluster = Postgres(template, wal_level="logical", max_wal_senders=2)
    for sql in ROLES.split(";\n"):
        cluster.sql(sql)
    yield cluster
    cluster.remove()


@pytest.fixture
def single(trunkline, backend):
    """single(isolation=..., **route): a daemon with one server."""
    def make(state=None, **settings):
        return trunkline(server=backend, relays=1,
                         routes=[route(pool_size=1, session_state=state or {}, **settings)])
    return make


def run(wire, texts, must=True):
    for text in texts:
        answer = wire.ask(*([w.query(text)] if isinstance(text, str) else text))
        errors = [m.fields for m in answer if m.kind == "E"]
        assert not must or not errors, (text, errors)


def goes(wire):
    wire.send(w.message("X"))


def answer(wire, sql):
    """The only value, or the SQLSTATE."""
    got = wire.ask(w.query(sql))
    states = [m.sqlstate for m in got if m.kind == "E"]
    return states[0] if states else w.rows(got)[0][0]


def step(sql):
    """One statement of a pipeline."""
    return [w.parse("", sql), w.bind(), w.execute()]


SJIS = b"Q" + (lambda body: (len(body) + 4).to_bytes(4, "big") + body)(
    b"select E'\x95\x5c'; set work_mem = '77MB' --'\0")

IDENTITY = [
    ["set session authorization bob", "reset role"],
    ["set session authorization bob", "set role none"],
    ["set session_authorization to bob", "set role to default"],
    ["select set_config('session_authorization', 'bob', false)", "reset role"],
    ["select set_config('session_authorization', 'bob', false)",
     "select set_config('role', 'none', false)"],
    ["set session authorization bob", "set role carl", "reset role"],
    ["set session authorization bob", "reset all"],
    ["set session session authorization bob", "reset role"],
    ["set role bob", "reset all"],
    ["select set_config('ro' || 'le', 'bob', false)", "reset all"],
    ["select set_config(E'r\\x6fle', 'bob', false)", "reset all"],
]

PLAUSIBLE = [
    ["explain analyze create temp table leaked as select 1"],
    ["explain (costs off, analyze) create table pg_temp.leaked as select 1"],
    ["begin", "set local search_path = pg_temp", "create table leaked (a int)", "commit"],
    ["begin; set local search_path to 'pg_temp', public; create table leaked (a int); commit"],
    ["begin", "set local schema 'pg_temp'", "create function leaked() returns int "
     "language sql as 'select 1'", "commit"],
    ["begin", "select set_config('search_path', 'pg_temp', true)", "select 1 as a into leaked",
     "commit"],
    ["begin", "select set_config('search_path', 'pg_' || 'temp', true)",
     "create table leaked (a int)", "commit"],
    ["begin", "select set_config('search_path', 'pg_' || 'temp', true)",
     "select 1 as a into leaked", "commit"],
    ["update \"pg_settings\" set setting = '7700' where name = 'work_mem'"],
    ["update only pg_settings set setting = '7700' where name = 'work_mem'"],
    ["update/**/pg_settings set setting = '7700' where name = 'work_mem'"],
    ["update \"pg_catalog\" . \"pg_settings\" set setting = '7700' where name = 'work_mem'"],
    ["with a as (update pg_settings set setting = '7700' where name = 'work_mem') "
     "select 1"],
    ["with a as (select 1) update pg_settings set setting = '7700' where name = 'work_mem'"],
    ["explain analyze update pg_settings set setting = '7700' where name = 'work_mem'"],
    ["select pg_create_physical_replication_slot('leaked', false, true)"],
    ["select pg_create_physical_replication_slot(slot_name => 'leaked', temporary => true)"],
    ["prepare leaked as select set_config('work_mem', '77MB', false)", "execute leaked",
     "reset all", "execute leaked", "deallocate leaked"],
    ["set \"a\".\"b\" = 1; set work_mem = '77MB'", "reset \"a\".\"c\""],
]

ADVERSARIAL = [
    ["select 1, E'a'\n'\\'; set work_mem = ''77MB''; --'; set work_mem = '77MB' -- '"],
    ["select 1, 'a' -- b\n'; set jit = on; '; set work_mem = '77MB'"],
    ["do 'begin '\n'set work_mem = ''77MB''; end'"],
    ["do 'begin s'\n'et work_mem = ''77MB''; end'"],
    ["do 'begin perform ''--''; set work_mem = ''77MB''; end'"],
    ["do 'begin perform ''/*''; set work_mem = ''77MB''; end'"],
    ["do 'begin perform ''$$''; set work_mem = ''77MB''; end'"],
    ["select U&\"set\\005fconfig\"('work_mem', '77MB', false)"],
    ["select U&\"set!005fconfig\" uescape '!' ('work_mem', '77MB', false)"],
    ["select u&\"pg\\005fadvisory\\005flock\"(4711)"],
    ["select pg_advisory_lock(4711)", "select pg_advisory_unlock_all() where false"],
    ["create or replace function shifted() returns int begin atomic select 1; select 2; end; "
     "set work_mem = '77MB'; reset jit"],
    ["begin", "declare c cursor for select set_config('work_mem', '77MB', false)", "reset all",
     "fetch c", "commit"],
    ["begin", "declare c cursor with hold for select set_config('work_mem', '77MB', false)",
     "reset all", "commit", "close c"],
    ["begin", [w.parse("", "select set_config('work_mem', '77MB', false)"), w.bind("endpoint"),
               w.message("S")], "reset all", [w.execute("endpoint"), w.message("S")], "commit"],
    ["set standard_conforming_strings = off",
     "select 'a\\'; --'; set work_mem = '77MB'"],
    ["select 1; " * 256 + "begin; set work_mem = '77MB'; commit; select 1/0"],
    [[*step("set work_mem = '77MB'"), *step("do $$begin commit; end$$"), *step("select 1/0"),
      w.message("S")]],
    [[*step("set work_mem = '77MB'"), *step("do $$begin commit; perform 1/0; end$$"),
      w.message("S")]],
    ["set work_mem = '77MB'", [*step("reset work_mem"), *step("do $$begin rollback; end$$"),
                               w.message("S")]],
    ["begin; " + "reset jit; " * 16 + "set work_mem = '77MB'; commit; select 1/0"],
    ["do E'begin set w\\x6frk_mem = ''77MB''; end'"],
    ["do $$ begin execute 'set ' || 'work_mem = ''77MB'''; end $$"],
    ["select query_to_xml('select set_config(''work_mem'', ''77MB'', false)', true, true, '')"],
]

# What fails after a COMMIT of its own.
COMMITTED = [
    [f"do $$ begin {sql}; commit; perform 1/0; end $$"]
    for sql in ("set work_mem = '77MB'", "perform set_config('work_mem', '77MB', false)",
                "create temp table leaked (a int)", "set role bob",
                "set session authorization bob", "execute 'listen leaked'", "listen leaked")
] + [
    ["do $$ begin prepare leaked as select 1; perform 1/0; end $$"],
    ["begin", "do $$ begin prepare leaked as select 1; perform 1/0; end $$", "rollback"],
    ["call commits(set_config('work_mem', '77MB', false))"],
    ["prepare leaked as select 1; select 1/0"],
]


@pytest.mark.parametrize("policy", ["pin", "reset"])
@pytest.mark.parametrize("texts", COMMITTED, ids=lambda t: str(t[0])[:60])
def test_a_block_that_commits_before_it_fails(single, texts, policy):
    daemon = single({kind: policy for kind in ("set", "role", "authorization", "set_config",
                                               "temporary", "prepare", "listen")})
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        run(one, texts, must=False)
        goes(one)
        assert leftover(other) is None


def test_a_statement_that_fails_before_any_commit_is_not_cleaned_up_after(single):
    """What is rolled back for certain costs nothing."""
    daemon = single()
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        run(one, ["create temp table leaked as select 1/0", "set work_mem = '1'",
                  "begin", "do $$ begin set work_mem = '77MB'; perform 1/0; end $$", "rollback",
                  "prepare leaked as select 1 from missing"], must=False)
        assert leftover(other) is None
        assert not [row for row in daemon.console("SHOW PIN_TOTALS") if row["cleaned"]]


@pytest.mark.parametrize("policy", ["pin", "reset"])
@pytest.mark.parametrize("texts", IDENTITY + PLAUSIBLE + ADVERSARIAL, ids=lambda t: str(t[0])[:60])
def test_nothing_of_it_reaches_the_next_client(single, texts, policy):
    daemon = single({kind: policy for kind in ("set", "role", "authorization", "set_config",
                                               "temporary", "prepare", "cursor", "lock", "slot")})
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        run(one, texts, must=policy == "pin" and "1/0" not in str(texts))
        goes(one)
        assert leftover(other) is None


def test_a_session_authorization_is_kept_until_its_own_end(single):
    """RESET ROLE and SET ROLE NONE go back to the session's user, not to the one who logged in."""
    daemon = single()
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        for end in "reset role", "set role none":
            run(one, ["set session authorization bob", end])
            assert answer(one, "select session_user || current_user") == "bobbob"
            other.send(w.query("select current_user"))
            assert other.silent(), "it has ended"
            run(one, ["set role carl", "reset session authorization"])
            assert w.rows(other.until()) == [["app"]]


def test_a_multibyte_character_whose_second_half_is_a_backslash(single):
    daemon = single()
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        run(one, ["set client_encoding = 'sjis'", "begin", [SJIS]])
        assert answer(one, "show work_mem") == "77MB", "PostgreSQL has read another statement"
        run(one, ["commit"])
        assert leftover(other) is None


@pytest.mark.parametrize("name", ["local.x", "transaction.x", "constraints.x", "session.x",
                                  "role.x", "\"Local\".x"])
def test_custom_settings_that_begin_like_keywords(single, name):
    daemon = single()
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        for scope in "", "session ":
            run(one, [f"set {scope}{name} = 'leaked'"])
            shown = f"select current_setting('{name}', true)".replace('"', "").lower()
            assert answer(one, shown) == "leaked"
            other.send(w.query(shown))
            assert other.silent(), "it is kept"
            run(one, [f"reset all"])
            assert w.rows(other.until())[0][0] in (None, "")


def test_a_startup_search_path_makes_temporary_tables(single):
    daemon = single()
    for options in ({"search_path": "pg_temp"}, {"options": "-c search_path=pg_temp,public"}):
        with daemon.endpoint().wire(**options) as one, daemon.endpoint().wire() as other:
            run(one, ["create table leaked (a int)"])
            assert leftover(other) is None
            run(one, ["select 1 as a into leaked"])
            assert leftover(other) is None


@pytest.mark.parametrize("isolation", ["read", "strict", "fresh"])
@pytest.mark.parametrize("texts", [
    ["load 'auto_explain'"],
    ["explain analyze select 1", "load $$auto_explain$$"],
    ["do $$ begin load 'auto_explain'; perform 1/0; end $$"],
    ["begin", "do $$ begin load 'auto_explain'; perform 1/0; end $$", "rollback"],
    ["select pg_replication_origin_create('here')",
     "select pg_replication_origin_session_setup('here'), 1 / (random() < 0)::int",
     "select pg_replication_origin_drop('here') where false"],
    ["select pg_replication_origin_create('here')",
     "select pg_replication_origin_session_setup('here')",
     "select pg_replication_origin_drop('here') where false"],
])
def test_state_that_only_the_end_of_a_session_removes(single, backend, texts, isolation):
    daemon = single({"isolation": isolation})
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        pid = answer(one, "select pg_backend_pid()")
        run(one, texts, must=False)
        goes(one)
        assert answer(other, "select pg_backend_pid()") != pid
    backend.sql("select pg_replication_origin_drop(roname) from pg_replication_origin")


# Of what it sets nothing is undone.
FAILS_SEEDED = "select setseed(0.5) from generate_series(1, 2) g where 1 / (2 - g) > -1"


@pytest.mark.parametrize("texts", [["select setseed(0.5)"], ["set seed = 0.5"],
                                   ["begin", "set local seed to 0.5", "commit"],
                                   ["select set_config('seed', '0.5', true)"],
                                   ["select setseed(0.5)", "discard all"],
                                   [FAILS_SEEDED], ["begin", FAILS_SEEDED, "rollback"],
                                   ["select 1; " + FAILS_SEEDED],
                                   ["do $$ begin perform setseed(0.5); perform 1/0; end $$"],
                                   [[*step(FAILS_SEEDED), w.message("S")]]])
def test_random_numbers_are_not_those_of_another_clients_seed(single, backend, texts):
    known = backend.one("select array[setseed(0.5)::text, random()::text, random()::text]")
    daemon = single()
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        run(one, texts, must="/" not in str(texts))
        goes(one)
        assert answer(other, "select random()::text") not in known


@pytest.mark.parametrize("policy", ["pin", "reset"])
@pytest.mark.parametrize("sql", ["select lastval()", "select \"currval\"('numbers')",
                                 "SELECT pg_catalog . LASTVAL ()"])
def test_sequences_of_other_clients_are_not_visible(single, sql, policy):
    daemon = single({"sequences": policy})
    extended = [w.parse("", sql), w.bind(), w.execute(), w.message("S")]
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        for message in [w.query(sql)], extended:
            run(one, ["select nextval('numbers')"])
            got = other.ask(*message)
            assert [m.sqlstate for m in got if m.kind == "E"] == ["55000"]
            run(other, ["begin", "select nextval('numbers')", sql, "commit"])
            run(other, ["discard sequences"])


def test_a_statement_that_keeps_its_name_is_looked_at_by_its_text(single):
    """prepared_statements: off lets the client's own names pass."""
    daemon = single(prepared_statements="off")
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        run(one, [[w.parse("harmless", "set work_mem = '77MB'"), w.bind("", "harmless"),
                   w.execute(), w.message("S")]])
        run(one, ["reset work_mem"])
        run(one, [[w.bind("", "harmless"), w.execute(), w.message("S")]])
        goes(one)
        assert leftover(other) is None
        got = other.ask(w.bind("", "harmless"), w.message("S"))
        assert [m.sqlstate for m in got if m.kind == "E"] == ["26000"]


@pytest.mark.parametrize("size", [100, 70_000])
def test_a_reset_that_is_rolled_back_by_a_long_error_is_not_believed(trunkline, backend, size):
    daemon = trunkline(server=backend, relays=1, chunk_size="16KiB",
                       routes=[route(pool_size=1, session_state={"set": "pin"})])
    fail = f"do $$begin raise exception '%', repeat('x', {size}); end$$"
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        run(one, ["set work_mem = '77MB'"])
        run(one, [f"reset work_mem; {fail}"], must=False)
        other.send(w.query("show work_mem"))
        assert other.silent()
        goes(one)
        assert w.rows(other.until()) == [["4MB"]]


CHUNK = 16 * 1024


def long_set(protocol, front):
    """A SET behind this, in a text of several chunks."""
    text = front + "set work_mem = '77MB' /*" + "x" * 6 * CHUNK + "*/"
    if protocol == "simple":
        return w.query(text)
    return w.parse("", text) + w.bind() + w.execute() + w.message("S")


@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize("front", ["", " " * 2 * CHUNK, "\n" * 2 * CHUNK, ";" * 2 * CHUNK,
                                   "--" + "x" * 2 * CHUNK + "\n", "/*" + "x" * 2 * CHUNK + "*/"],
                         ids=["nothing", "blanks", "lines", "semicolons", "comment", "block"])
@pytest.mark.parametrize("seen", [None, 5, 6, 9])
def test_the_first_word_of_a_long_text_comes_late(trunkline, backend, protocol, front, seen):
    """`seen`: so much of the message comes at the end of the chunk that another one fills."""
    daemon = trunkline(server=backend, relays=1, chunk_size="16KiB", routes=[route(pool_size=1)])
    long = long_set(protocol, front)
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        answer(one, "select 1")
        if seen is None:
            one.send(long)
        else:
            first = w.query("select 1 --" + "x" * (CHUNK - seen - len(w.query("select 1 --"))))
            one.send(first + long)
            one.until()
        assert not [m.fields for m in one.until() if m.kind == "E"]
        goes(one)
        assert leftover(other) is None


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_call_that_lies_across_the_first_two_parts_of_a_long_parse(trunkline, backend, cut):
    daemon = trunkline(server=backend, relays=1, chunk_size="16KiB", routes=[route(pool_size=1)])
    call = "set_config('work_mem', '77MB', false)"
    front = "select " + " " * (CHUNK - cut - len("select ") - 6)
    text = front + call + " /*" + "x" * 6 * CHUNK + "*/"
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        answer(one, "select 1")
        run(one, [[w.parse("", text), w.bind(), w.execute(), w.message("S")]])
        goes(one)
        assert leftover(other) is None


@pytest.mark.parametrize("size,stays", [(100, True), (40_000, False)])
def test_a_report_too_long_to_be_read_costs_the_server(trunkline, size, stays):
    """A server whose parameters are not known serves nobody else; PostgreSQL 18 reports search_path."""
    report = w.message("S", w.text("search_path") + b"x" * size + b"\0")
    answers = {b"set search_path": report + w.message("C", b"SET\0") + w.message("Z", b"I")}
    with Scripted(reports={"search_path": "public"}, answers=answers) as server:
        services = {"main": {"hosts": [f"127.0.0.1:{server.port}"], "tls": {"mode": "disable"}}}
        daemon = trunkline(services=services, relays=1, chunk_size="16KiB",
                           routes=[route(pool_size=1)])
        with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
            pid = answer(one, "select 1")
            run(one, ["set search_path = long"])
            assert (answer(other, "select 1") == pid) == stays
