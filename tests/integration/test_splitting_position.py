"""The question where the log of a server is: when it is sent, and what it must not get into."""
import psycopg
import pytest
from support.patience import eventually
from support.proxy import Proxy
from support.replication import Replication
from test_splitting import WHERE, away, connect, counts, split


@pytest.fixture(scope="module")
def servers(template):
    cluster = Replication(template, replicas=1)
    primary = cluster.primary
    primary.sql("create table written (a int primary key deferrable initially deferred);"
                " grant all on written to app")
    cluster.caught_up()
    yield cluster
    cluster.remove()


@pytest.fixture
def behind(servers, trunkline):
    """A daemon that reaches the primary over a proxy."""
    servers.primary.sql("truncate written")
    servers.caught_up()
    with Proxy("127.0.0.1", servers.primary.port) as proxy:
        config = split(servers.servers)
        config["services"]["main"]["hosts"][0] = f"127.0.0.1:{proxy.port}"
        yield trunkline(**config), proxy


def last(servers):
    """What the application's one session on the primary ran last, its state, and its age."""
    return servers.primary.sql("select query, state, query_start::text from pg_stat_activity"
                               " where usename = 'app'")[0]


def run(client, text):
    """Sends a text in one of the ways that the tests are run in."""
    how = client.how
    if how == "simple":
        client.pgconn.send_query(text)
    elif how == "unnamed":
        client.pgconn.send_query_params(text, None)
    else:
        client.pgconn.send_query_prepared(client.names[text], None)
    client.pgconn.flush()


def finish(client):
    results = []
    while True:
        while client.pgconn.is_busy():
            client.pgconn.consume_input()
        result = client.pgconn.get_result()
        if result is None:
            return results
        results.append(result)


INSERT = b"insert into written select coalesce(max(a), 0) + 1 from written"
TEXTS = (b"begin", INSERT, b"commit", b"commit and chain", b"rollback")


@pytest.fixture(params=["simple", "unnamed", "prepared"])
def client(request, servers, behind):
    daemon, _ = behind
    with connect(daemon) as one:
        one.how, one.names = request.param, {}
        for number, text in enumerate(TEXTS):
            one.names[text] = b"s%d" % number
            one.pgconn.prepare(one.names[text], text)
        away(one, servers)
        run(one, INSERT)
        finish(one)
        eventually(lambda: "insert_lsn" in last(servers)[0])
        yield one


def asked_since(servers, before):
    """Whether the question has been answered behind something new."""
    query, state, start = last(servers)
    return start != before[2] and "insert_lsn" in query and state.startswith("idle")


def test_the_question_goes_out_with_the_write(servers, behind, client):
    """The server has been asked although nothing of its reply has reached Trunkline."""
    _, proxy = behind
    before = last(servers)
    proxy.stuck("down")
    run(client, INSERT)
    eventually(lambda: asked_since(servers, before))
    assert servers.primary.one("select count(*) from written") == 2
    proxy.flow()
    finish(client)
    assert client.execute("select count(*) from written").fetchone()[0] == 2


@pytest.mark.parametrize("end", [b"commit", b"rollback"])
def test_in_a_transaction_it_goes_out_with_its_end(servers, behind, client, end):
    _, proxy = behind
    before = last(servers)
    for text in (b"begin", INSERT):
        run(client, text)
        assert finish(client)[0].error_message == b""
    assert last(servers)[0].encode() == INSERT
    before = last(servers)
    proxy.stuck("down")
    run(client, end)
    eventually(lambda: asked_since(servers, before))
    assert last(servers)[1] == "idle"
    proxy.flow()
    assert finish(client)[0].error_message == b""


def test_it_is_not_asked_where_the_transaction_goes_on(servers, behind, client):
    """Its snapshot would be the transaction's, and a level could not be chosen any more."""
    for text in (b"begin", INSERT, b"commit and chain"):
        run(client, text)
        assert finish(client)[0].error_message == b""
    assert last(servers)[0] == "commit and chain"
    client.execute("set transaction isolation level repeatable read")
    assert client.execute("show transaction_isolation").fetchone()[0] == "repeatable read"
    run(client, b"rollback")
    finish(client)


def test_it_is_asked_again_behind_a_batch_that_is_sent_again(servers, trunkline):
    """The server has lost the statement of a write.  The first question is answered in front of the
    write then, and a replica that has replayed up to there does not have it."""
    daemon = trunkline(**split(servers.servers))
    replica, text = servers.replicas[0], "select count(*) from written where a = -77"
    servers.primary.sql("delete from written where a = -77")
    with connect(daemon) as client:
        client.pgconn.prepare(b"late", b"insert into written values (-77)")
        client.pgconn.prepare(b"count", text.encode())
        away(client, servers)
        client.execute("do $$ begin execute 'deallocate all'; end $$")
        servers.caught_up()
        replica.sql("select pg_wal_replay_pause()")
        try:
            eventually(lambda: replica.one("select pg_get_wal_replay_pause_state()") == "paused")
            done = client.pgconn.exec_prepared(b"late", None)
            assert done.error_message == b"" and done.command_status == b"INSERT 0 1"
            assert client.pgconn.exec_prepared(b"count", None).get_value(0, 0) == b"1"
            assert client.execute(text).fetchone()[0] == 1
        finally:
            replica.sql("select pg_wal_replay_resume()")
    assert servers.primary.one(text) == 1


def test_a_transaction_that_began_read_only_stays_so_at_a_replica(servers, trunkline):
    """As docs/splitting.md says: a primary allows it before the first query."""
    daemon = trunkline(**split(servers.servers))
    with connect(daemon) as client:
        away(client, servers)
        servers.caught_up()
        before = counts(daemon)["replica"]
        eventually(lambda: client.execute("begin read only") and
                   (counts(daemon)["replica"] > before or not client.execute("rollback")))
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            client.execute("set transaction read write")
        client.execute("rollback")
        client.execute("begin")
        client.execute("set transaction read only")
        client.execute("set transaction read write")
        client.execute("rollback")


def test_a_statement_that_is_only_prepared_moves_no_position(servers, trunkline):
    """A Parse runs on the primary, and shows the client nothing: its read may run at a replica that
    has not replayed since."""
    daemon = trunkline(**split(servers.servers))
    replica = servers.replicas[0]
    with connect(daemon) as client:
        away(client, servers)
        replica.sql("select pg_wal_replay_pause()")
        try:
            eventually(lambda: replica.one("select pg_get_wal_replay_pause_state()") == "paused")
            servers.primary.sql("insert into written values (-1)")
            before = counts(daemon)
            client.pgconn.prepare(b"where", WHERE.encode())
            client.pgconn.describe_prepared(b"where")
            assert client.pgconn.exec_prepared(b"where", None).get_value(0, 0) == \
                b"%d" % replica.port
            assert counts(daemon) == {**before, "replica": before["replica"] + 1}
            client.execute("insert into written values (-2)")
            assert client.pgconn.exec_prepared(b"where", None).get_value(0, 0) == \
                b"%d" % servers.primary.port
        finally:
            replica.sql("select pg_wal_replay_resume()")


def probes(replica, count):
    """Waits until so many more probes of a replica have begun: all but the last have told."""
    text = "select query_start from pg_stat_activity where application_name = 'trunkline probe'"
    for _ in range(count):
        before = eventually(lambda: replica.one(text))
        eventually(lambda: (replica.one(text) or before) > before)  # None: it connects again


def test_a_replica_that_a_probe_has_found_past_the_write_is_not_asked_first(servers, trunkline):
    """The read is sent although no answer of the replica can reach Trunkline."""
    replica, text = servers.replicas[0], "select pg_sleep(60)"
    with Proxy("127.0.0.1", replica.port) as proxy:
        config = split(servers.servers)
        main = config["services"]["main"]
        main["hosts"][1] = f"127.0.0.1:{proxy.port}"
        main["probe"] = {"user": "app", "interval": "100ms", "timeout": "10s"}
        daemon = trunkline(**config)
        with connect(daemon) as client:
            away(client, servers)
            client.execute("insert into written select coalesce(min(a), 0) - 1 from written")
            servers.caught_up()
            probes(replica, 3)
            proxy.stuck("down")
            client.pgconn.send_query(text.encode())
            client.pgconn.flush()
            running = f"select pid from pg_stat_activity where query = '{text}' and state = 'active'"
            pid = eventually(lambda: replica.sql(running))[0][0]
            proxy.flow()
            replica.sql("select pg_cancel_backend(%s)", pid)
            client.how = "simple"
            assert finish(client)[0].error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"57014"


# --- facts about PostgreSQL

@pytest.mark.parametrize("how", ["simple", "unnamed", "prepared"])
@pytest.mark.parametrize("columns", [1, 1000])
def test_postgresql_sends_the_header_of_a_result_with_its_first_row(servers, how, columns):
    """So what Trunkline holds back until a read can't fail any more would not come earlier.  Only of
    a header that does not fit into the server's buffer of 8 kB does the beginning come earlier."""
    primary = servers.primary
    wide = ", ".join(f"{number} as column_{number}" for number in range(columns))
    text = f"select pg_sleep(60), {wide}".encode()
    running = "select pid from pg_stat_activity where query like 'select pg_sleep(60), %%'" \
              " and state = 'active' and wait_event = 'PgSleep'"
    with Proxy("127.0.0.1", primary.port) as proxy, psycopg.connect(
            host="127.0.0.1", port=proxy.port, user="app", password="app", dbname="app",
            autocommit=True) as client:
        client.how, client.names = how, {text: b"wide"}
        if how == "prepared":
            client.pgconn.prepare(b"wide", text)
        before = proxy.bytes["down"]
        run(client, text)
        [(pid,)] = eventually(lambda: primary.sql(running.replace("%%", "%")))
        came = proxy.bytes["down"] - before
        primary.sql("select pg_cancel_backend(%s)", pid)
        finish(client)
        header = proxy.bytes["down"] - before
        assert came == 0 if columns == 1 else 8192 <= came < header and came % 8192 == 0
