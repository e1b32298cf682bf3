"""What one client does to a text that others have prepared too changes nothing for them."""
from support import wire as w
from support.trunkline import route


def rows(client, *messages):
    answers = client.ask(*messages)
    return w.rows(answers) or [m.sqlstate for m in answers if m.kind == "E"]


def run(name):
    return [w.bind(statement=name), w.execute(), w.SYNC]


def test_a_change_that_a_sync_commits(trunkline, postgres):
    """Who parses between a change and the Sync that commits it does not mean what comes behind."""
    postgres.sql("create schema if not exists piped; grant all on schema piped to app")
    postgres.sql("drop function if exists piped.f(int)")
    postgres.sql("create or replace function piped.f(numeric) returns text language sql as "
                 "$$select 'numeric'$$")
    text = "select piped.f(1)"
    endpoint = trunkline(relays=1, routes=[route(pool_size=2)]).endpoint()
    with endpoint.wire() as ddl, endpoint.wire() as before, endpoint.wire() as after, endpoint.wire() as holder:
        # The change is made, and not committed: its tag has come.
        ddl.send(w.parse("", "create function piped.f(int) returns text language sql as "
                         "$$select 'int'$$"), w.bind(), w.execute(), w.FLUSH)
        ddl.until("C")
        before.ask(w.parse("s", text), w.SYNC)  # on the other server
        assert rows(before, *run("s")) == [["numeric"]]
        ddl.ask(w.SYNC)
        # Behind the change, on the server where it was made; then on the other one.
        before.ask(w.query("begin"))
        after.ask(w.parse("s", text), w.SYNC)
        assert rows(after, *run("s")) == [["int"]]
        holder.ask(w.query("begin"))
        before.ask(w.query("commit"))
        assert rows(after, *run("s")) == [["int"]]


def test_a_named_set_local_in_the_batch_that_parses(trunkline):
    """A text that is parsed behind SET LOCAL in one batch is not what others have parsed."""
    endpoint = trunkline(relays=1, routes=[route(pool_size=1)]).endpoint()
    text = "select '1/2/2003'::date::text"
    with endpoint.wire() as one, endpoint.wire() as other:
        other.ask(w.parse("s", text), w.SYNC)
        one.ask(w.parse("local", "set local datestyle = 'ISO, DMY'"), w.SYNC)
        one.ask(*run("local")[:2], w.parse("s", text), w.SYNC)
        assert rows(other, *run("s")) == [["2003-01-02"]]
        assert rows(one, *run("s")) == [["2003-02-01"]]


def test_statements_are_analysed_again_under_other_parameters(trunkline, postgres):
    """PostgreSQL analyzes a statement again when its table has changed: for one client only."""
    postgres.sql("drop table if exists looked_at")
    postgres.sql("create table looked_at as select 1 as a; grant select on looked_at to app")
    text = "select '1/2/2003'::date::text from looked_at"
    endpoint = trunkline(relays=1, routes=[route(pool_size=1)]).endpoint()
    with endpoint.wire() as one, endpoint.wire() as other:
        for client in (one, other):
            client.ask(w.parse("s", text), w.SYNC)
            assert rows(client, *run("s")) == [["2003-01-02"]]
        one.ask(w.query("set datestyle = 'ISO, DMY'"))
        assert rows(one, *run("s")) == [["2003-01-02"]]
        postgres.sql("alter table looked_at add column b int")
        assert rows(one, *run("s")) == [["2003-02-01"]]
        assert rows(other, *run("s")) == [["2003-01-02"]]
