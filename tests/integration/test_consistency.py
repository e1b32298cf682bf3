"""What clients are given from memory, or of executions of others, is never older than the mode promises.

Registers of many kinds are written and read beside each other: see support/consistency.py.
TRUNKLINE_CHECK_SECONDS makes each run longer.
"""
import pytest
from support.consistency import Check, leaving, releasing
from support.patience import STRETCH
from support.registers import CATALOG, FUNCTIONS, PREPARED, ROLES, ROWS, schema
from support.trunkline import route
from test_feed import prepare

TTL = 0.3
SLACK = 0.05 * STRETCH  # seconds: clocks that a relay reads once per turn of its loop
GROUPS = {"rows": ROWS, "catalog": CATALOG, "roles": ROLES}
STRICT = {"mode": "strict"}


def service(*servers, **settings):
    return {"main": {"hosts": [f"127.0.0.1:{one.port}" for one in servers], "tls": {"mode": "disable"},
                     "feed_user": "trusted", "probe_timeout": f"{20 * STRETCH}ms", **settings}}


@pytest.fixture
def checked(logical, trunkline):
    """checked(registers, rule, ...): a run of these registers behind a rule, at `server` or a shared one."""
    def make(registers, rule, server=logical, **options):
        prepare(server).sql(schema(registers))
        daemon = trunkline(server=server, cache_functions=FUNCTIONS, services=service(server),
                           routes=[route(cache=[rule])])
        return Check(daemon, server, registers, **options)

    return make


def writable(registers):
    """By the tables' owner."""
    return {name: one for name, one in registers.items() if one.owner}


# -- the checker itself


@pytest.mark.parametrize("group", GROUPS)
def test_without_sharing_nothing_is_wrong(checked, group):
    """Every answer is of an own execution: PostgreSQL is linearizable, and so must the checker say."""
    run = checked(GROUPS[group], {"mode": "off"})
    run.run(leaving, enough=0).holds()
    assert run.shared() == 0


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("age", [0, 0.2])
def test_answers_from_memory_that_nothing_removes_are_noticed(checked, group, age):
    """The promise of strict mode, or of a shorter ttl, held against a longer one: each register shows it."""
    run = checked(GROUPS[group], {"mode": "ttl", "ttl": "2s"}, age=age)

    def all_of_them():
        assert run.wrong == set(run.registers), f"only {run.wrong}"
        return True

    run.run(until=all_of_them)


@pytest.mark.parametrize("group", GROUPS)
def test_joining_an_execution_from_before_a_write_is_noticed(checked, group):
    """The promise of strict mode held against dedupe mode, which sees no write but its own."""
    registers = {name: one for name, one in GROUPS[group].items() if one.rows == 1}
    run = checked(registers, {"mode": "dedupe"})
    run.run(until=lambda: len(run.wrong) > 1)


# -- modes


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("stale", [0.0, 0.2])
def test_ttl_is_the_greatest_age(checked, group, stale):
    rule = {"mode": "ttl", "ttl": f"{TTL * 1000:.0f}ms"}
    if stale:
        rule["stale"] = f"{stale * 1000:.0f}ms"
    checked(GROUPS[group], rule, age=TTL + stale + SLACK).run(leaving).holds()


@pytest.mark.parametrize("group", ["rows", "catalog"])
def test_dedupe_never_joins_an_execution_from_before_a_write_that_the_daemon_has_seen(checked, group):
    registers = writable(GROUPS[group])
    checked(registers, {"mode": "dedupe"}, seen=False, inside=True).run(leaving).holds()


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_strict_is_as_if_the_database_had_been_asked(checked, group, inside):
    checked(GROUPS[group], STRICT, inside=inside).run(leaving).holds()
