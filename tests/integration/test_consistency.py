"""What clients are given from memory, or of executions of others, is never older than the mode promises.

Registers of many kinds are written and read beside each other: see support/consistency.py.
TRUNKLINE_CHECK_SECONDS makes each run longer.
"""
import dataclasses
import signal

import pytest
from support.consistency import DISTURBED, FEEDS, FEW, Check, halting, leaving, releasing, repeating, terminating
from support.failover import elected
from support.patience import STRETCH, eventually
from support.registers import CATALOG, FUNCTIONS, PREPARED, READER, ROLES, ROWS, schema
from support.strict import STRICT, lose_standby, prepare
from support.strict import service as fed
from support.trunkline import route

pytestmark = pytest.mark.long
TTL = 0.3
SLACK = 0.05 * STRETCH  # seconds: clocks that a relay reads once per turn of its loop
SOME = {**{name: ROWS[name] for name in ("plain", "keyed", "composite", "many", "pair", "moved", "trigger")}, **PREPARED}
GROUPS = {"rows": ROWS, "catalog": CATALOG, "roles": ROLES}
PAUSE = {"rows": 0.2, "catalog": 0.6, "roles": 0.3}  # seconds between the writes of a register, at most
PROBE = {"user": "app", "interval": "100ms", "timeout": "1s"}


def service(*servers, **settings):
    return fed(*servers, **{"probe_timeout": f"{20 * STRETCH}ms", **settings})


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


def rarely_prepared(registers):
    """COMMIT PREPARED may change the catalog, for which no verdict of before is good: reads of the first moments
    behind one are not shared, and may write anything."""
    return {name: dataclasses.replace(one, pace=5) if one.prepares else one for name, one in registers.items()}


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


# -- strict mode


@pytest.mark.parametrize("group, inside", [("rows", False), ("rows", True), ("catalog", False),
                                           ("catalog", True), ("roles", False)])
def test_strict_is_as_if_the_database_had_been_asked(checked, group, inside):
    checked(GROUPS[group], STRICT, inside=inside, pause=PAUSE[group]).run(leaving).holds()


def test_strict_with_everything_at_once(checked):
    """DDL and changes of roles make few answers last.  BYPASSRLS would show other versions of `policy`."""
    registers = {**ROWS, **PREPARED, **CATALOG, **ROLES}
    del registers["policy"]
    checked(registers, STRICT, pause=1).run(leaving, enough=5).holds()


@pytest.mark.parametrize("others", [
    [repeating(*DISTURBED)], [terminating(FEEDS)],
    [halting("trunkline feed")], [halting("trunkline probe")]],
    ids=["changes", "terminated", "feed behind", "probe behind"])
def test_strict_while_the_feed_is_lost_or_behind(checked, others):
    registers = {**ROWS, **PREPARED}
    checked(registers, STRICT).run(leaving, *others).holds()


def test_strict_while_executions_are_terminated(checked):
    run = checked(ROWS, STRICT, lenient=True, readers=6)
    run.run(leaving, terminating(f"usename = '{READER}'")).holds()


@pytest.fixture
def alone(cluster):
    """A cluster that waits for a standby, once it has one, and flushes no commit that does not ask for it."""
    return cluster(wal_level="logical", max_wal_senders=5, max_replication_slots=5, synchronous_commit="local",
                   max_prepared_transactions=10, wal_writer_delay="10s", wal_writer_flush_after="0",
                   checkpoint_timeout="1h")


@pytest.mark.parametrize("commit, inside", [("on", False), ("on local off", False), ("on local off", True),
                                            ("off", False)])
def test_strict_with_commits_that_are_seen_late_or_flushed_late(checked, alone, commit, inside):
    run = checked({**ROWS, **PREPARED}, STRICT, server=alone, commit=commit.split(), inside=inside)
    lose_standby(alone)
    run.run(releasing).holds()


def restarting(number):
    def restart(check):
        check.event("restart")
        check.server.stop(number)
        check.server.start()
        check.event("restarted")

    return restart


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_strict_over_a_restart_of_the_primary(checked, number):
    run = checked({**ROWS, **PREPARED}, STRICT, lenient=True)
    run.run(leaving, then=restarting(number)).holds()


# -- writers inside


@pytest.fixture
def inside(logical, trunkline):
    """inside(registers, ...): a run whose writers all come through the daemon, which has no feed."""
    def make(registers, server=logical, relays=4, **options):
        registers = rarely_prepared(writable(registers))
        server.sql(schema(registers))
        hosts = {"main": {"hosts": [f"127.0.0.1:{server.port}"], "tls": {"mode": "disable"}, "writers": "inside"}}
        daemon = trunkline(server=server, cache_functions=FUNCTIONS, services=hosts, relays=relays,
                           routes=[route(cache=[{"match": {"text": "select%"}, **STRICT}])])
        return Check(daemon, server, registers, inside=True, **options)

    return make


@pytest.mark.parametrize("group", ["rows", "catalog"])
def test_strict_without_a_feed(inside, group):
    inside({**GROUPS[group], **(PREPARED if group == "rows" else {})}, pause=PAUSE[group]).run(leaving).holds()


def test_strict_without_a_feed_while_connections_are_terminated(inside):
    run = inside({**ROWS, **PREPARED}, lenient=True, readers=6)
    run.run(leaving, terminating(f"usename in ('{READER}', 'app')"), enough=5).holds()


@pytest.mark.parametrize("commit", ["on local off", "off"])
def test_strict_without_a_feed_with_commits_that_are_seen_late(inside, alone, commit):
    run = inside({**ROWS, **PREPARED}, server=alone, commit=commit.split())
    lose_standby(alone)
    run.run(releasing, enough=5).holds()  # a commit that waits holds much


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_strict_without_a_feed_over_a_restart_of_the_primary(inside, number):
    run = inside(SOME, lenient=True)
    run.run(leaving, then=restarting(number), enough=5).holds()


def test_writers_outside_are_noticed_where_they_are_declared_to_be_inside(inside):
    run = inside(ROWS)
    run.inside = False
    run.run(until=lambda: len(run.wrong) > 1)


# -- failover


@pytest.fixture
def pair(replication, trunkline):
    """pair(rule, inside): a run at a primary with a synchronous standby, which can take its place."""
    def make(rule, registers={**ROWS, **PREPARED}, settings=None, **options):
        made = replication(replicas=1, max_prepared_transactions=10, synchronous_commit="on")
        registers = rarely_prepared(writable(registers))
        prepare(made.primary).sql(schema(registers))
        made.primary.configure(synchronous_standby_names="b")
        made.caught_up()
        eventually(lambda: made.primary.sql("select 1 from pg_stat_replication where sync_state = 'sync'"))
        services = service(*made.servers, probe=PROBE, **(settings or {}))
        daemon = trunkline(services=services, cache_functions=FUNCTIONS,
                           routes=[route(cache=[rule], claim_timeout="10s")])
        elected(daemon, made.primary)
        return Check(daemon, lambda: made.primary, registers, commit=["on"], lenient=True, **options), made

    return make


def replaced(cluster, how):
    def replace(check):
        old, new = cluster.servers
        check.event(how)
        if how == "kill":
            old.kill()
        cluster.promote(new)
        check.event("promoted")
        elected(check.daemon, new)
        check.event("elected")

    return replace


@pytest.mark.parametrize("how, inside", [("kill", False), ("kill", True), ("promote", True)])
def test_strict_over_a_failover(pair, how, inside):
    """With the old primary still there, all that writes must go by way of the daemon."""
    run, cluster = pair(STRICT, inside=inside)
    run.run(leaving, then=replaced(cluster, how)).holds()


@pytest.mark.parametrize("how", ["kill", "promote"])
def test_strict_without_a_feed_over_a_failover(pair, how):
    run, cluster = pair({"match": {"text": "select%"}, **STRICT}, SOME, inside=True, settings={"writers": "inside"})
    run.run(leaving, then=replaced(cluster, how), enough=5).holds()


def test_what_is_stored_of_the_old_primary_is_not_given_once_another_is_elected(pair):
    """The old one is there still, and its feed says that nothing was written."""
    run, cluster = pair(STRICT)

    def read():
        return session.execute("select n from c.plain", prepare=False).fetchone()[0]

    with run.client() as session:
        eventually(lambda: read() == 0 and run.shared() > FEW)
        cluster.promote(cluster.servers[1])
        elected(run.daemon, cluster.primary)
        with run.daemon.connect() as writer:
            for number in range(1, FEW):
                writer.execute(f"update c.plain set n = {number}")
                assert read() == number
