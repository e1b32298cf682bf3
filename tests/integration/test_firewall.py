"""The firewall of a route: what it denies, by any way, and what it leaves alone."""
import copy
import re

import psycopg
import pytest
from support import wire as w
from support.firewall import CREATE, DENIES, DROP, denied, quiet, routes, rows
from support.patience import eventually
from support.trunkline import route


@pytest.fixture
def table(postgres):
    postgres.sql(CREATE)
    yield postgres
    postgres.sql(DROP)


def counts(daemon, rule, column="denied"):
    return sum(int(row[column]) for row in daemon.console("SHOW FIREWALL") if row["rule"] == rule)


BOTH = pytest.mark.parametrize("user", ["app", "reports"], ids=["transaction", "session"])


# --- the protocol --------------------------------------------------------------------------------

@BOTH
def test_a_denied_query_does_not_reach_a_server(trunkline, table, user):
    daemon = trunkline(routes=routes(DENIES))
    with daemon.endpoint(user=user).wire() as wire:
        mark = table.mark()
        answers = wire.ask(w.query("delete from firewalled where number = 1"))
        assert w.kinds(answers) == "E Z" and answers[-1].body == b"I"
        error = answers[0].fields
        assert error["C"] == "42501"
        assert re.search(r'rule "no-delete", fingerprint [0-9a-f]{16}$', error["M"])
        assert w.rows(wire.ask(w.query("select count(*) from firewalled"))) == [["2"]]
        assert not [s for s in table.statements(mark, user=user) if "delete" in s or "refused" in s]
    assert rows(table) == 2
    assert (counts(daemon, "no-delete"), counts(daemon, "no-delete", "hits")) == (1, 1)


@BOTH
def test_a_denied_query_in_a_transaction_fails_it(trunkline, table, user):
    daemon = trunkline(routes=routes(DENIES))
    with daemon.endpoint(user=user).wire() as wire:
        wire.ask(w.query("begin"))
        wire.ask(w.query("insert into firewalled values (3)"))
        answers = wire.ask(w.query("truncate firewalled"))
        assert denied(answers) and answers[-1].body == b"E"
        answers = wire.ask(w.query("select 1"))
        assert [m.sqlstate for m in answers if m.kind == "E"] == ["25P02"]
        assert wire.ask(w.query("commit"))[-1].body == b"I"
    assert rows(table) == 2


@BOTH
def test_what_follows_a_denied_message_is_skipped_up_to_sync(trunkline, table, user):
    daemon = trunkline(routes=routes(DENIES))
    with daemon.endpoint(user=user).wire() as wire:
        insert = [w.parse("", "insert into firewalled values (4)"), w.bind(), w.execute()]
        delete = [w.parse("d", "delete from firewalled"), w.bind("", "d"), w.execute()]
        answers = wire.ask(*insert, *delete, *insert, w.SYNC)
        assert w.kinds(answers) == "1 2 C E Z"
        assert denied(answers) and answers[-1].body == b"I"
        assert rows(table) == 2
        answers = wire.ask(*delete, *insert, w.SYNC)
        assert w.kinds(answers) == "E Z" and denied(answers)
        answers = wire.send(*delete, w.SYNC, *insert, w.SYNC).until("Z", 2)
        assert w.kinds(answers) == "E Z 1 2 C Z"
    assert rows(table) == 3
    assert counts(daemon, "no-delete") == 3
    assert counts(daemon, "unparsed") == 0


@BOTH
def test_a_denied_query_within_a_pipeline_of_queries(trunkline, table, user):
    daemon = trunkline(routes=routes(DENIES))
    with daemon.endpoint(user=user).wire() as wire:
        answers = wire.send(w.query("select 1"), w.query("delete from firewalled"),
                            w.query("select 2")).until("Z", 3)
        assert w.kinds(answers) == "T D C Z E Z T D C Z"
        assert denied(answers)
    assert rows(table) == 2


@BOTH
def test_a_prepared_statement_is_judged_under_the_rules_in_force(trunkline, table, user):
    open_rules = {"mode": "enforce", "deny": [{"name": "other", "verbs": ["truncate"]}]}
    daemon = trunkline(routes=routes(open_rules))
    with daemon.endpoint(user=user).wire() as wire:
        assert w.kinds(wire.ask(w.parse("d", "delete from firewalled where number = $1"),
                                w.SYNC)) == "1 Z"
        run = [w.bind("", "d", ["9"]), w.execute(), w.SYNC]
        assert w.kinds(wire.ask(*run)) == "2 C Z"
        config = copy.deepcopy(daemon.config)
        config["routes"] = routes(DENIES)
        daemon.reload(config)
        for messages in (run, [w.describe("S", "d"), w.SYNC]):
            answers = wire.ask(*messages)
            assert denied(answers) and w.kinds(answers) == "E Z"
        config["routes"] = routes({**DENIES, "mode": "warn"})
        daemon.reload(config)
        assert w.kinds(wire.ask(*run)) == "2 C Z"


@BOTH
def test_a_statement_that_was_prepared_before_there_was_a_firewall(trunkline, table, user):
    daemon = trunkline(routes=routes({}))
    with daemon.endpoint(user=user).wire() as wire:
        assert w.kinds(wire.ask(w.parse("d", "delete from firewalled"), w.SYNC)) == "1 Z"
        config = copy.deepcopy(daemon.config)
        config["routes"] = routes(DENIES)
        daemon.reload(config)
        answers = wire.ask(w.bind("", "d"), w.execute(), w.SYNC)
        assert denied(answers)
        assert w.kinds(wire.ask(w.query("select 1"))) == "T D C Z"
    assert rows(table) == 2


@BOTH
def test_names_that_are_not_known_are_denied(trunkline, table, user):
    daemon = trunkline(routes=routes(DENIES))
    with daemon.endpoint(user=user).wire() as wire:
        for messages in ([w.bind("", "nobody"), w.SYNC], [w.query("execute nobody")]):
            answers = wire.ask(*messages)
            assert denied(answers) and 'setting "unparsed"' in answers[0].fields["M"]
    config = copy.deepcopy(daemon.config)
    config["routes"] = routes({**DENIES, "unparsed": True})
    daemon.reload(config)
    with daemon.endpoint(user=user).wire() as wire:
        for messages in ([w.bind("", "nobody"), w.SYNC], [w.query("execute nobody")]):
            assert [m.sqlstate for m in wire.ask(*messages) if m.kind == "E"] == ["26000"]


def test_names_of_the_server_itself_are_judged(trunkline, table):
    daemon = trunkline(routes=routes(DENIES, prepared_statements="off"))
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        assert w.kinds(wire.ask(w.parse("s", "select 1"), w.SYNC)) == "1 Z"
        assert w.kinds(wire.ask(w.bind("", "s"), w.execute(), w.SYNC)) == "2 D C Z"
        assert w.kinds(wire.ask(w.close("S", "s"), w.SYNC)) == "3 Z"
        answers = wire.ask(w.parse("s", "delete from firewalled"), w.SYNC)
        assert denied(answers) and answers[-1].body == b"E"


def test_a_name_may_stand_for_few_texts(trunkline, table):
    """Where names are the server's own, it is not seen which Parse of a name has failed."""
    daemon = trunkline(routes=routes(DENIES))
    run = [w.bind("", "s"), w.execute(), w.SYNC]
    with daemon.endpoint(user="reports").wire() as wire:
        for function in "abs", "ceil", "floor", "sqrt":
            assert w.kinds(wire.ask(w.parse("s", f"select {function}(1)"), w.SYNC)) == "1 Z"
            assert w.kinds(wire.ask(*run)) == "2 D C Z"
            assert quiet(wire, w.query("deallocate s")) == []
        assert w.kinds(wire.ask(w.parse("s", "select exp(1)"), w.SYNC)) == "1 Z"
        assert denied(wire.ask(*run))
        assert w.kinds(wire.ask(w.close("S", "s"), w.SYNC)) == "3 Z"
        assert w.kinds(wire.ask(w.parse("s", "select 2"), w.SYNC)) == "1 Z"
        assert w.kinds(wire.ask(*run)) == "2 D C Z"


@BOTH
def test_a_function_call_by_oid(trunkline, table, user):
    oid = table.one("select 'int4pl'::regproc::oid::int")
    call = w.function_call(oid, b"40", b"2")
    daemon = trunkline(routes=routes(DENIES))
    with daemon.endpoint(user=user).wire() as wire:
        answers = wire.ask(call)
        assert w.kinds(answers) == "E Z" and denied(answers)
    config = copy.deepcopy(daemon.config)
    config["routes"] = routes({"mode": "enforce", "multi_statement": False})
    daemon.reload(config)
    with daemon.endpoint(user=user).wire() as wire:
        assert w.kinds(wire.ask(call)) == "V Z"


@BOTH
def test_long_texts(trunkline, table, user):
    daemon = trunkline(routes=routes(DENIES), chunk_size="16KiB")
    padded = "select '" + "x" * 10000 + "'"
    long = "select '" + "x" * 70000 + "'"
    with daemon.endpoint(user=user).wire() as wire:
        assert w.kinds(wire.ask(w.query(padded))) == "T D C Z"
        for messages in ([w.query(long)], [w.parse("", long), w.bind(), w.execute(), w.SYNC],
                         [w.parse("p", long), w.bind("", "p"), w.execute(), w.SYNC]):
            answers = wire.ask(*messages)
            assert denied(answers) and w.kinds(answers) == "E Z"
        wide = [w.parse("", "select length($1)"), w.bind("", "", ["x" * 100000]), w.execute(), w.SYNC]
        assert w.rows(wire.ask(*wide)) == [["100000"]]
        wire.ask(w.query("begin"))
        assert wire.ask(w.query(long))[-1].body == b"E"
        assert w.kinds(wire.ask(w.query("rollback"))) == "C Z"
    config = copy.deepcopy(daemon.config)
    config["routes"] = routes({**DENIES, "unparsed": True})
    daemon.reload(config)
    with daemon.endpoint(user=user).wire() as wire:
        assert w.kinds(wire.ask(w.query(long))) == "T D C Z"


def test_a_full_pool_does_not_delay_a_denial(trunkline, table):
    daemon = trunkline(routes=routes(DENIES, pool_size=1))
    with daemon.endpoint().wire() as holder, daemon.endpoint().wire() as wire:
        holder.ask(w.query("begin"))
        assert denied(wire.ask(w.query("delete from firewalled")))
        holder.ask(w.query("commit"))


# --- what is allowed -----------------------------------------------------------------------------

@BOTH
def test_an_allow_list(trunkline, table, user):
    daemon = trunkline(routes=routes({}))
    known = "select number from firewalled where number = 1"
    fingerprint = {row["item"]: row["value"]
                   for row in daemon.console(f"FIREWALL EXPLAIN '{known}'")}["fingerprint"]
    config = copy.deepcopy(daemon.config)
    config["routes"] = routes({"mode": "enforce", "allow": [
        {"name": "known", "fingerprints": [fingerprint]},
        {"name": "writes", "verbs": ["insert"], "tables": ["firewalled"]}]})
    daemon.reload(config)
    with daemon.endpoint(user=user).wire() as wire:
        for sql in (known, "SELECT number FROM firewalled WHERE number = 7", "begin",
                    "insert into firewalled values (5)", "savepoint s", "rollback", ""):
            assert quiet(wire, w.query(sql)) == [], sql
        for sql in ("select number from firewalled", "insert into public.firewalled values (5)",
                    "insert into firewalled select 1 from firewall_secrets",
                    "update firewalled set number = 1", "set work_mem = '1MB'", known + ";" + known,
                    "insert into firewalled values (1) returning (select 1 from firewall_secrets)"):
            assert quiet(wire, w.query(sql)) == ["42501"], sql
    assert rows(table) == 2
    assert counts(daemon, "known", "hits") == 2
    assert counts(daemon, "allow") == 7


@BOTH
def test_the_settings_for_several_statements_and_for_where(trunkline, table, user):
    daemon = trunkline(routes=routes({"mode": "enforce", "multi_statement": False,
                                      "without_where": False}))
    with daemon.endpoint(user=user).wire() as wire:
        for sql in ("select 1", "delete from firewalled where number = 9", "select 1;",
                    "update firewalled set number = number where true"):
            assert quiet(wire, w.query(sql)) == [], sql
        for sql, setting in (("select 1; select 2", "multi_statement"),
                             ("delete from firewalled", "without_where"),
                             ("update firewalled set number = 1", "without_where"),
                             ("with x as (delete from firewalled returning 1) select 1",
                              "without_where")):
            answers = wire.ask(w.query(sql))
            assert denied(answers) and f'setting "{setting}"' in answers[0].fields["M"], sql
    assert rows(table) == 2
    assert (counts(daemon, "multi_statement"), counts(daemon, "without_where")) == (1, 3)


def test_drivers_work_behind_it(trunkline, table):
    daemon = trunkline(routes=routes(DENIES))
    with daemon.connect() as client:
        for _ in range(10):
            assert client.execute("select %s::int + 1", [1]).fetchone() == (2,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute("delete from firewalled where number = %s", [1])
        with client.pipeline():
            client.execute("select 1")
        with client.transaction():
            client.execute("insert into firewalled values (%s)", [3])
    assert rows(table) == 3


# --- modes ---------------------------------------------------------------------------------------

def test_learn_lists_what_comes_and_enforce_takes_it(trunkline, table):
    daemon = trunkline(routes=routes({**DENIES, "mode": "learn"}))
    with daemon.endpoint().wire() as wire:
        for number in range(3):
            assert quiet(wire, w.query(f"select number from firewalled where number = {number}")) == []
        assert quiet(wire, w.parse("", "insert into firewalled values (7)"), w.bind(), w.execute(),
                     w.SYNC) == []
        assert quiet(wire, w.query("delete from firewalled where number = 7")) == []
    learned = {row["text"]: row for row in daemon.console("SHOW FIREWALL_STATEMENTS")}
    read = next(row for text, row in learned.items() if text.startswith("select"))
    gone = next(row for text, row in learned.items() if text.startswith("delete"))
    assert (int(read["calls"]), read["rule"], read["database"], read["user"]) == (3, None, "*", "*")
    assert (int(gone["calls"]), int(gone["denied"]), gone["rule"]) == (1, 0, "no-delete")
    assert gone["text"] == "delete from firewalled where number = $1" and len(learned) == 3
    config = copy.deepcopy(daemon.config)
    config["routes"] = routes({"mode": "enforce", "allow": [
        {"name": "learned", "fingerprints": [row["fingerprint"] for row in learned.values()]}]})
    daemon.reload(config)
    with daemon.endpoint().wire() as wire:
        assert quiet(wire, w.query("select number from firewalled where number = 55")) == []
        assert quiet(wire, w.query("delete from firewalled where number = 55")) == []
        assert quiet(wire, w.query("select number from firewalled")) == ["42501"]
    assert int(daemon.console("FIREWALL FORGET")[0]["forgotten"]) == 4
    assert daemon.console("SHOW FIREWALL_STATEMENTS") == []


def test_warn_logs_and_lets_pass(trunkline, table):
    daemon = trunkline(routes=routes({**DENIES, "mode": "warn"}), log={"query_text": 100})
    with daemon.endpoint().wire() as wire:
        for _ in range(5):
            assert quiet(wire, w.query("delete from firewalled where number = 99")) == []
    assert (counts(daemon, "no-delete"), counts(daemon, "no-delete", "hits")) == (0, 5)
    eventually(lambda: "firewall.denied" in daemon.log())
    lines = [line for line in daemon.log().splitlines() if "firewall.denied" in line]
    assert len(lines) == 1
    assert "mode=warn" in lines[0] and "no-delete" in lines[0] and "99" not in lines[0].split("text=")[1]


# --- memory --------------------------------------------------------------------------------------

def test_a_denied_statement_is_not_answered_from_memory(trunkline, table):
    cache = [{"mode": "ttl", "ttl": "1h"}]
    sql = "select number from firewalled order by 1"
    daemon = trunkline(routes=routes_cached(cache, {"mode": "enforce", "deny": [
        {"name": "none", "tables": ["firewall_secrets"]}]}))
    with daemon.endpoint().wire() as wire:
        for _ in range(3):
            assert w.rows(wire.ask(w.query(sql))) == [["1"], ["2"]]
        assert int(daemon.console("SHOW CACHE_RULES")[0]["hits"]) >= 1
        assert counts(daemon, "allowed", "hits") == 3
        config = copy.deepcopy(daemon.config)
        config["routes"] = routes_cached(cache, {"mode": "enforce", "deny": [
            {"name": "numbers", "tables": ["firewalled"]}]})
        daemon.reload(config)
        assert int(daemon.console("SHOW CACHE_RULES")[0]["hits"]) == 0
        for messages in ([w.query(sql)], [w.parse("", sql), w.bind(), w.execute(), w.SYNC]):
            answers = wire.ask(*messages)
            assert denied(answers) and w.kinds(answers) == "E Z"
        assert int(daemon.console("SHOW CACHE_RULES")[0]["hits"]) == 0
        assert daemon.console("SHOW CACHE") != []


def routes_cached(cache, firewall):
    return [route(cache=cache, firewall=firewall)]


# --- the console ---------------------------------------------------------------------------------

def test_explain(trunkline, table):
    daemon = trunkline(routes=routes(DENIES))
    said = {row["item"]: row["value"] for row in daemon.console(
        "FIREWALL EXPLAIN 'delete from public.firewalled where length(now()::text) > 1'")}
    assert said["verbs"] == "delete" and said["tables"] == "public.firewalled"
    assert "length" in said["functions"]
    assert any(value == 'denied by rule "no-delete" (mode enforce)' for value in said.values())
    said = {row["item"]: row["value"] for row in daemon.console("FIREWALL EXPLAIN 'no sql'")}
    assert said["parsed"] == "no"
    assert any(value == 'denied by setting "unparsed" (mode enforce)' for value in said.values())
