"""What the query of probes says on real servers, before, during and after a promotion."""
import re

import pytest
from support.patience import eventually
from support.trunkline import TOP
from test_roles import Replicated

HEADER = (TOP / "src/pool/probe.h").read_text()
LITERALS = re.search(r'#define PROBE_QUERY\s*\\\n((?:\s+".*"\s*\\?\n)+)', HEADER).group(1)
QUERY = "".join(re.findall(r'"(.*)"', LITERALS))
CONTROL = "select timeline_id from pg_control_checkpoint()"


@pytest.fixture
def servers(template):
    made = Replicated(template, standbys=1)
    yield made
    made.remove()


def probe(server, **options):
    [row] = server.sql(QUERY, **options)
    return dict(zip(["recovery", "read_only", "system", "line", "position", "started",
                     "inserted"], row))


def test_a_primary_and_its_standby_say_what_they_are(servers):
    servers.settled()
    standby, primary = probe(servers.standbys[0]), probe(servers.primary)
    assert (primary["recovery"], standby["recovery"]) == (False, True)
    assert (primary["line"], standby["line"]) == (1, 1)
    assert primary["system"] == standby["system"]
    assert primary["started"] != standby["started"]
    assert 0 < standby["position"] <= primary["position"]


def test_the_written_position_is_behind_what_was_committed_asynchronously(servers):
    """So late transactions are counted by what was inserted."""
    primary = servers.primary
    primary.sql("create table async as select 1 i")

    def behind():
        [row] = primary.sql(f"""
            with done as materialized (select pg_current_wal_insert_lsn() - '0/0' as here)
            select here, (select position from ({QUERY}) q(r, o, s, l, position, started, inserted)),
                   (select inserted from ({QUERY}) q(r, o, s, l, position, started, inserted))
            from done""")
        here, position, inserted = row
        assert inserted >= here
        primary.sql("insert into async values (1)")
        return position < here

    eventually(behind, every=0.001)


def test_users_without_rights_get_the_same_answer(servers):
    servers.settled()
    for one in servers.all():
        with one.endpoint().connect() as client:
            theirs = client.execute(QUERY).fetchone()
        assert theirs[:4] == tuple(probe(one).values())[:4]


def test_a_promoted_server_says_its_new_timeline_while_its_control_file_does_not(servers):
    servers.primary.sql("create table t as select generate_series(1, 100000) i")  # a long checkpoint
    servers.settled()
    promoted = servers.standbys[0]
    promoted.sql("select pg_promote(false)")

    def primary():
        answer = probe(promoted)
        return None if answer["recovery"] else answer

    assert eventually(primary, every=0.001)["line"] == 2
    assert promoted.one(CONTROL) == 1
    promoted.sql("checkpoint")
    assert promoted.one(CONTROL) == 2 == probe(promoted)["line"]


def test_sessions_that_begin_read_only_are_seen(servers):
    servers.primary.sql("alter system set default_transaction_read_only = on")
    servers.primary.sql("select pg_reload_conf()")
    eventually(lambda: probe(servers.primary)["read_only"] == "on")
