"""pgbench as a client that nobody here has written."""
import re
import subprocess

import pytest
from support.postgres import binaries


def pgbench(endpoint, *words):
    done = subprocess.run([binaries() / "pgbench", *words, endpoint.conninfo()], text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tables(postgres):
    """Its tables, in each of the databases that endpoints lead to."""
    for database in ("app", "session", "transaction"):
        pgbench(postgres.endpoint(database=database), "-i", "-q", "-s", "1")
    yield
    for database in ("app", "session", "transaction"):
        postgres.sql("drop table pgbench_accounts, pgbench_branches, pgbench_history, "
                     "pgbench_tellers", database=database)


def all_done(report, count):
    assert f"number of transactions actually processed: {count}/{count}" in report
    failed = re.search(r"number of failed transactions: (\d+)", report)
    assert failed is None or failed.group(1) == "0"


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_read_only_queries_are_all_answered(endpoint, tables, protocol):
    report = pgbench(endpoint, "-n", "-S", "-M", protocol, "-c", "8", "-j", "2", "-t", "100")
    all_done(report, 800)


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_transactions_are_all_committed(endpoint, tables, postgres, protocol):
    count = "select count(*) from pgbench_history"
    before = postgres.one(count, database=endpoint.database)
    report = pgbench(endpoint, "-n", "-M", protocol, "-c", "8", "-j", "2", "-t", "20")
    all_done(report, 160)
    assert postgres.one(count, database=endpoint.database) - before == 160
    assert postgres.one("select sum(abalance) from pgbench_accounts", database=endpoint.database) == \
        postgres.one("select sum(bbalance) from pgbench_branches", database=endpoint.database)


def test_pipelines_are_all_answered(endpoint, tables, tmp_path):
    script = tmp_path / "pipeline.sql"
    script.write_text("\\set n random(1, 1000)\n\\startpipeline\n" +
                      "select abalance from pgbench_accounts where aid = :n;\n" * 10 +
                      "\\endpipeline\n")
    report = pgbench(endpoint, "-n", "-M", "extended", "-f", str(script), "-c", "4", "-t", "50")
    all_done(report, 200)


def test_a_connection_for_every_transaction_works(endpoint, tables):
    all_done(pgbench(endpoint, "-n", "-S", "-C", "-c", "2", "-t", "20"), 40)


def test_its_vacuum_and_its_initialisation_work_through_a_pool(pooled):
    pgbench(pooled, "-i", "-q", "-s", "1")
    all_done(pgbench(pooled, "-c", "2", "-t", "10"), 20)
