"""The stages of docs/life-of-a-client.md in the log of a running daemon, in their order."""
import re

import psycopg
import pytest
from support.patience import eventually


def life(daemon, client):
    """The events about a client, in order."""
    return re.findall(rf"\s([a-z]+\.[a-z_]+) (?=[^\n]*\bclient={client}\b)", daemon.log())


def only_client(daemon, event):
    """The client that the event is about.  A line may be written after its client was answered."""
    found = eventually(
        lambda: set(re.findall(rf"\s{event} [^\n]*\bclient=([0-9a-f-]+)", daemon.log())))
    assert len(found) == 1
    return found.pop()


def ended(daemon, client):
    return lambda: "client.disconnected" in life(daemon, client) and life(daemon, client)


def test_a_client_that_works(trunkline):
    daemon = trunkline(log={"level": "debug"})
    with daemon.connect() as connection:
        connection.autocommit = True
        for _ in range(2):
            connection.execute("select 1")
    eventually(lambda: "client.disconnected" in daemon.log())
    client = only_client(daemon, "client.connected")
    assert life(daemon, client) == ["client.connected", "client.served", "client.served",
                                    "client.disconnected"]
    daemon.logged(rf'client.disconnected client={client} [^\n]*reason="terminated by the client"')


def test_a_client_of_a_session_pool_has_its_server_from_the_login_on(trunkline):
    daemon = trunkline()
    daemon.connect(database="session").close()
    eventually(lambda: "client.disconnected" in daemon.log())
    client = only_client(daemon, "client.connected")
    server = re.search(rf"client.connected client={client} [^\n]*server=([0-9a-f-]+)",
                       daemon.log()).group(1)
    daemon.logged(rf"client.disconnected client={client} [^\n]*server={server}")


def test_a_login_that_fails_behind_stage_4_has_two_lines(trunkline):
    daemon = trunkline()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        daemon.connect(password="wrong")
    client = only_client(daemon, "client.login_failed")
    assert eventually(ended(daemon, client)) == ["client.login_failed", "client.disconnected"]


def test_a_login_that_fails_before_it_has_one(trunkline):
    daemon = trunkline()
    with pytest.raises(psycopg.OperationalError, match="invalid value for parameter \"replication\""):
        daemon.connect(replication="perhaps")
    client = only_client(daemon, "client.login_failed")
    # The next client's end is logged behind all that was to be logged about the first one.
    daemon.connect().close()
    eventually(lambda: "client.disconnected" in daemon.log())
    assert life(daemon, client) == ["client.login_failed"]
