"""A server that is lost before it answers: whether its transaction was committed may be unknown.

A COMMIT waits for a synchronous standby that does not exist: it is on disk, and not answered, when
the server is killed.
"""
import pytest
from support.patience import eventually
from support.wire import bind, execute, parse, query, SYNC

UNKNOWN = "whether the transaction was committed is not known"
LOST = "the server closed the connection unexpectedly"


@pytest.fixture
def waiting(replication, trunkline):
    """A server at which each COMMIT of the user app waits, and a daemon in front of it."""
    server = replication(replicas=0, synchronous_standby_names="nobody").primary
    server.sql("create table t (n int); grant all on t to public;"
               " alter role app set synchronous_commit = 'local'")
    server.sql("checkpoint")  # the server is killed soon, and its own commits do not wait
    return server, trunkline(server=server)


def extended(sql):
    return parse("s", sql), bind("", "s"), execute(""), SYNC


def simple(sql):
    return query(sql),


def last_words(server, client, messages):
    """The error that the client of these messages, which wait, gets when the server is killed."""
    client.send(*messages)
    eventually(lambda: server.sql("select 1 from pg_stat_activity where usename = 'app' and"
                                  " wait_event in ('SyncRep', 'PgSleep')"))
    server.kill()
    errors = [message for message in client.rest() if message.kind == "E"]
    assert len(errors) == 1, errors
    return errors[0].sqlstate, errors[0].fields["M"]


@pytest.mark.parametrize("database", ["session", "transaction"])
@pytest.mark.parametrize("way", [simple, extended])
def test_a_commit_without_an_answer_is_08007(waiting, database, way):
    server, daemon = waiting
    with daemon.endpoint(database=database).wire() as client:
        client.ask(query("begin"))
        client.ask(query("set local synchronous_commit = on"))
        client.ask(query("create table made (n int)"))
        sqlstate, text = last_words(server, client, way("COMMIT"))
    assert sqlstate == "08007" and UNKNOWN in text, text
    server.start()
    assert server.one("select count(*) from pg_tables where tablename = 'made'", database=database) == 1


@pytest.mark.parametrize("way", [simple, extended])
def test_a_statement_that_commits_itself_is_08007(waiting, way):
    server, daemon = waiting
    server.sql("alter role app set synchronous_commit = 'on'")
    with daemon.endpoint().wire() as client:
        sqlstate, text = last_words(server, client, way("insert into t values (1)"))
    assert sqlstate == "08007" and UNKNOWN in text, text
    server.start()
    assert server.one("select count(*) from t") == 1


def unnamed(sql):
    return parse("", sql), bind("", ""), execute(""), SYNC


@pytest.mark.parametrize("database", ["session", "transaction"])
@pytest.mark.parametrize("way", [simple, extended, unnamed])
def test_a_select_that_makes_a_table_is_08007(waiting, database, way):
    server, daemon = waiting
    server.sql("alter role app set synchronous_commit = 'on'")
    with daemon.endpoint(database=database).wire() as client:
        sqlstate, text = last_words(server, client, way("Select 7 as n Into made"))
    assert sqlstate == "08007" and UNKNOWN in text, text
    server.start()
    assert server.one("select n from made", database=database) == 7


def test_a_prepared_commit_of_an_earlier_batch_is_08007(waiting):
    server, daemon = waiting
    with daemon.endpoint().wire() as client:
        client.ask(parse("end", "commit"), SYNC)
        client.ask(query("begin"))
        client.ask(query("set local synchronous_commit = on"))
        client.ask(query("insert into t values (1)"))
        sqlstate, text = last_words(server, client, (bind("", "end"), execute(""), SYNC))
    assert sqlstate == "08007" and UNKNOWN in text, text


@pytest.mark.parametrize("way", [simple, extended])
def test_a_read_and_a_statement_inside_of_a_transaction_are_08006(waiting, way):
    server, daemon = waiting
    with daemon.endpoint().wire() as client:
        assert last_words(server, client, way("select pg_sleep(60)")) == ("08006", LOST)
    server.start()
    with daemon.endpoint().wire() as client:
        client.ask(query("begin"))
        client.ask(query("insert into t values (1)"))
        words = last_words(server, client, way("insert into t select 2 from pg_sleep(60)"))
        assert words == ("08006", LOST)


def test_a_commit_without_an_answer_is_not_repeated(waiting):
    server, daemon = waiting
    with daemon.endpoint().wire() as client:
        client.ask(query("begin"))
        client.ask(query("set local synchronous_commit = on"))
        client.ask(query("insert into t values (1)"))
        mark = server.mark()
        last_words(server, client, simple("commit"))
    server.start()
    with daemon.connect() as other:
        assert other.execute("select count(*) from t").fetchone() == (1,)
    assert server.statements(mark).count("commit") == 1
