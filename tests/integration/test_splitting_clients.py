"""Clients as they are in use, through a route that splits reads: what they see, and where it runs."""
import os
import subprocess

import psycopg
import pytest
from support.patience import eventually
from support.postgres import binaries
from support.replication import Replication
from test_splitting import PREPARED, SIMPLE, WHERE, away, connect, counts, ports, split


@pytest.fixture(scope="module")
def servers(template):
    cluster = Replication(template, replicas=1)
    cluster.primary.sql("create table kept (a int, b text); grant all on kept to app;"
                        " insert into kept select i, 'x' || i from generate_series(1, 500) i")
    cluster.caught_up()
    yield cluster
    cluster.remove()


def run(daemon, tool, *words, **options):
    end = daemon.endpoint()
    return subprocess.run([str(binaries() / tool), "-h", end.host, "-p", str(end.port), "-U", "app",
                           *words, "app"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PGPASSWORD": end.password}, **options)


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_reads_at_the_replica(servers, trunkline, mode):
    daemon = trunkline(**split(servers.servers))
    script = "\\set n random(1, 500)\nselect b from kept where a = :n;\n"
    done = run(daemon, "pgbench", "-n", "-f", "/dev/stdin", "-M", mode, "-c", "4", "-j", "2", "-t",
               "100", input=script)
    assert done.returncode == 0, done.stderr
    assert "number of failed transactions: 0" in done.stdout and "400/400" in done.stdout
    found = counts(daemon)
    assert found["replica"] + found["behind"] > 300 and found["again"] == 0


def test_psql_describes_fetches_and_reads(servers, trunkline):
    daemon = trunkline(**split(servers.servers))
    with connect(daemon) as client:
        away(client, servers)
    text = """
        select a, b from kept \\gdesc
        select count(*) from kept;
        \\set FETCH_COUNT 7
        select sum(a) from (select a from kept order by a) as s;
        select a from kept order by a limit 20;
        begin read only; declare c cursor for select a from kept order by a; fetch 3 from c;
        move 2 in c; fetch c; close c; commit;
        \\d kept
        """
    done = run(daemon, "psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", input=text)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert lines[:4] == ["a|integer", "b|text", "500", "125250"]
    assert lines[4:24] == [str(number) for number in range(1, 21)]
    assert lines[24:32] == ["BEGIN", "DECLARE CURSOR", "1", "2", "3", "MOVE 2", "6",
                            "CLOSE CURSOR"], lines[24:]
    assert done.stderr == ""


def test_a_cursor_that_outlives_its_transaction_is_refused_at_a_replica(servers, trunkline):
    daemon = trunkline(**split(servers.servers))
    with connect(daemon) as client:
        away(client, servers)
        client.execute("begin read only")
        assert client.execute(WHERE).fetchone()[0] in ports(servers)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            client.execute("declare c cursor with hold for select 1")
        client.execute("rollback")
        assert client.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("attributes, fits", [
    ("any", True), ("read-write", True), ("primary", True), ("prefer-standby", True),
    ("read-only", False), ("standby", False)])
def test_libpqs_own_choice_of_a_server_sees_a_primary(servers, trunkline, attributes, fits):
    """The client's session is the primary's, wherever its reads run."""
    first, second = (trunkline(**split(servers.servers)) for _ in range(2))
    ends = [daemon.endpoint() for daemon in (first, second)]
    for daemon in (first, second):
        with connect(daemon) as client:
            away(client, servers)
    text = (f"host={','.join(end.host for end in ends)} port={','.join(str(e.port) for e in ends)}"
            f" dbname=app user=app password=app target_session_attrs={attributes}")
    if not fits:
        with pytest.raises(psycopg.OperationalError, match="not read-only|not in hot standby"):
            psycopg.connect(text)
        return
    with psycopg.connect(text, autocommit=True) as client:
        away(client, servers)
        for _ in range(5):
            client.execute(WHERE)
        assert client.pgconn.parameter_status(b"in_hot_standby") == b"off"
        assert client.pgconn.parameter_status(b"default_transaction_read_only") == b"off"
        assert client.execute("show transaction_read_only").fetchone()[0] == "off"
        assert client.execute("select pg_is_in_recovery()").fetchone()[0] is False


@pytest.mark.parametrize("how", [{}, SIMPLE, PREPARED], ids=["unnamed", "simple", "prepared"])
def test_a_read_without_a_free_server_goes_to_the_primary(servers, trunkline, how):
    """With prefer-replica, once claim_timeout has passed in the pool for reads."""
    daemon = trunkline(**split(servers.servers, reads="prefer-replica", read_pool_size=1,
                               claim_timeout="300ms"))
    with connect(daemon) as holder, connect(daemon, **how) as client:
        away(client, servers)
        eventually(lambda: holder.execute("begin read only") and holder.execute(WHERE)
                   .fetchone()[0] in ports(servers) or not holder.execute("rollback"))
        assert client.execute(WHERE).fetchone()[0] == servers.primary.port
        assert client.execute("select 1, %s::int", [2]).fetchone() == (1, 2)
        holder.execute("commit")
        away(client, servers)


def test_a_read_without_a_free_server_is_refused_where_replicas_only_are_wanted(servers, trunkline):
    daemon = trunkline(**split(servers.servers, read_pool_size=1, claim_timeout="300ms"))
    with connect(daemon) as holder, connect(daemon) as client:
        away(client, servers)
        eventually(lambda: holder.execute("begin read only") and holder.execute(WHERE)
                   .fetchone()[0] in ports(servers) or not holder.execute("rollback"))
        with pytest.raises(psycopg.errors.TooManyConnections):
            client.execute(WHERE)
        client.execute("insert into kept values (0)")
        holder.execute("commit")
        away(client, servers)


# --- functions that have the name of one of PostgreSQL's

def test_a_function_hides_one_of_postgresqls_by_better_types(servers):
    """pg_catalog is searched first unless search_path names it.  A function of the same types is
    hidden by pg_catalog's then, one whose types fit better is not."""
    primary = servers.primary
    primary.sql("create function public.upper(text) returns text language sql as $$ select 'own' $$;"
                "create function public.lower(varchar) returns text language sql"
                " as $$ select 'own' $$")
    try:
        assert primary.one("select upper('x'::text)") == "X"
        assert primary.one("select lower('X'::text)") == "x"
        assert primary.one("select lower('X'::varchar)") == "own"
        assert primary.one("select lower('X')") == "x"
        with psycopg.connect(host=str(primary.folder), port=primary.port, user="postgres",
                             dbname="app", autocommit=True,
                             options="-c search_path=public,pg_catalog") as client:
            assert client.execute("select upper('x'::text)").fetchone()[0] == "own"
    finally:
        primary.sql("drop function public.upper(text), public.lower(varchar)")


@pytest.mark.parametrize("how", [{}, SIMPLE, PREPARED], ids=["unnamed", "simple", "prepared"])
def test_such_a_function_that_writes_runs_on_the_primary(servers, trunkline, how):
    primary = servers.primary
    primary.sql("create function public.lower(varchar) returns text language plpgsql as"
                " $$ begin insert into kept values (-1, $1); return 'own'; end $$")
    try:
        servers.caught_up()
        daemon = trunkline(**split(servers.servers))
        with connect(daemon, **how) as client:
            away(client, servers)
            for number in range(1, 4):
                assert client.execute("select lower('X'::varchar)").fetchone()[0] == "own"
                assert primary.one("select count(*) from kept where a = -1") == number
    finally:
        primary.sql("drop function public.lower(varchar); delete from kept where a = -1")
