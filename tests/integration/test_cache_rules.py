"""Rules of `cache`: which is for a statement, hints, a client's own choice, and the console."""
import threading

import psycopg
import pytest
from support.patience import eventually
from support.trunkline import configuration, route

READ = "select number from stored"


@pytest.fixture
def table(postgres):
    """A table whose rows change behind the daemon's back."""
    postgres.sql("drop table if exists stored; create table stored (number int);"
                 "insert into stored values (1); grant all on stored to app")
    yield postgres
    postgres.sql("drop table stored")


def set_number(postgres, number):
    postgres.sql(f"update stored set number = {number}")


def simple(daemon, **options):
    return psycopg.connect(daemon.endpoint().conninfo(), autocommit=True,
                           cursor_factory=psycopg.ClientCursor, **options)


def read(client, sql=READ):
    return client.execute(sql).fetchone()[0]


def cached(*rules, **settings):
    return [route(cache=list(rules), **settings)]


def rules(daemon):
    return daemon.console("SHOW CACHE_RULES")


def totals(daemon):
    return {row["name"]: int(row["value"]) for row in daemon.console("SHOW CACHE_TOTALS")}


TTL = {"mode": "ttl", "ttl": "1h"}


# --- which rule ----------------------------------------------------------------------------------

def test_the_first_rule_that_matches_is_used(trunkline, table):
    daemon = trunkline(routes=cached({"mode": "off", "match": {"text": "%/* fresh */"}}, TTL))
    with simple(daemon) as client:
        assert read(client) == 1
        set_number(table, 2)
        assert read(client) == 1
        assert read(client, READ + " /* fresh */") == 2
    off, ttl = rules(daemon)
    assert (off["match"], off["mode"], int(off["off"])) == ("text=%/* fresh */", "off", 1)
    assert (ttl["match"], ttl["mode"], int(ttl["ttl_ms"])) == ("all", "ttl", 3600000)
    assert (int(ttl["executed"]), int(ttl["stored"]), int(ttl["hits"])) == (1, 1, 1)


@pytest.mark.parametrize("match", [{"tables": ["stored"]}, {"tables": ["other", "public.stored"]},
                                   {"functions": ["abs"]}],
                         ids=["table", "schema", "function"])
def test_a_rule_may_name_tables_and_functions(trunkline, table, match):
    daemon = trunkline(routes=cached({**TTL, "match": match}, {"mode": "off"}))
    sql = "select abs(number) from public.stored"
    with simple(daemon) as client:
        assert read(client, sql) == 1
        assert read(client, "select 7") == 7
        set_number(table, 2)
        assert read(client, sql) == 1
        assert [int(rule["hits"]) for rule in rules(daemon)] == [1, 0]
        assert int(rules(daemon)[1]["off"]) == 1


def test_a_rule_may_name_a_fingerprint(trunkline, table):
    daemon = trunkline()
    said = {row["item"]: row["value"]
            for row in daemon.console("CACHE EXPLAIN 'select number from stored where number > 0'")}
    daemon.reload(configuration(table, listen=daemon.config["listen"], routes=cached(
        {**TTL, "match": {"fingerprint": said["fingerprint"]}})))
    with simple(daemon) as client:
        assert read(client, READ + " where number > -5") == 1
        assert read(client, READ) == 1
        set_number(table, 2)
        assert read(client, READ + " where number > -5") == 1
        assert read(client, READ) == 2


def test_more_texts_than_are_remembered_have_their_rules(trunkline, table):
    """FLIGHT_RULE_TEXTS: a text that was forgotten is analyzed again."""
    daemon = trunkline(relays=1, routes=cached({"mode": "off", "match": {"tables": ["stored"]}},
                                               {"mode": "off", "match": {"functions": ["abs"]}}))
    with simple(daemon) as client:
        for _ in range(2):
            for number in range(1100):
                if number % 2:
                    assert read(client, f"select number from stored where number > -{number}") == 1
                else:
                    assert read(client, f"select abs({number})") == number
    assert [int(rule["off"]) for rule in rules(daemon)] == [1100, 1100]


# --- hints and the client's choice ---------------------------------------------------------------

def test_a_hint_decides_if_the_route_allows_it(trunkline, table):
    daemon = trunkline(routes=cached({"mode": "off"}, cache_hints=True))
    hinted = "/* trunkline: ttl=1h */ " + READ
    with simple(daemon) as client:
        assert (read(client), read(client, hinted)) == (1, 1)
        set_number(table, 2)
        assert (read(client), read(client, hinted)) == (2, 1)
        assert read(client, hinted + " /* trunkline: off */") == 2


def test_a_hint_is_a_comment_where_the_route_does_not_allow_it(trunkline, table):
    daemon = trunkline(routes=cached({"mode": "off"}))
    with simple(daemon) as client:
        assert read(client, "/* trunkline: ttl=1h */ " + READ) == 1
        set_number(table, 2)
        assert read(client, "/* trunkline: ttl=1h */ " + READ) == 2


def test_a_client_opts_out_at_its_login(trunkline, table):
    """A parameter of the startup packet follows the client from server to server: no pin."""
    daemon = trunkline(relays=1, routes=cached(TTL, pool_size=1))
    with simple(daemon, options="-c trunkline.cache=off") as one, simple(daemon) as two:
        assert (read(one), read(two)) == (1, 1)
        set_number(table, 2)
        assert (read(one), read(two)) == (2, 1)
        assert read(one, "show trunkline.cache") == "off"
        assert not read(two, "select current_setting('trunkline.cache', true)")
        assert (read(one), read(two)) == (2, 1)
        assert daemon.console("SHOW PINS") == []
    assert int(rules(daemon)[0]["opted_out"]) >= 3


def test_a_client_opts_out_by_set(trunkline, table):
    """PostgreSQL does not report the parameter, so the client is pinned, as by other SETs."""
    daemon = trunkline(routes=cached(TTL))
    with simple(daemon) as one, simple(daemon) as two:
        assert read(one) == 1
        set_number(table, 2)
        one.execute("set trunkline.cache = off")
        assert (read(one), read(two)) == (2, 1)
        pin, = daemon.console("SHOW PINS")
        assert pin["reason"] == "SET trunkline.cache"
        one.execute("discard all")
        assert eventually(lambda: daemon.console("SHOW PINS") == [])
        assert (read(one), read(two)) == (1, 1)


# --- the console ---------------------------------------------------------------------------------

def fill(client, *texts):
    for sql in texts:
        client.execute(sql).fetchall()


def test_stored_answers_are_shown_and_flushed(trunkline, table):
    daemon = trunkline(routes=cached({**TTL, "match": {"text": "% 1"}, "tag": "ones"}, TTL))
    with simple(daemon) as client:
        fill(client, READ + " limit 1", READ + " limit 2", READ + " limit 3", READ + " limit 3")
        shown = {row["text"]: row for row in daemon.console("SHOW CACHE")}
        assert set(shown) == {READ + f" limit {n}" for n in (1, 2, 3)}
        assert shown[READ + " limit 1"]["tag"] == "ones"
        row = shown[READ + " limit 3"]
        assert (row["tag"], row["state"], int(row["hits"])) == (None, "current", 1)
        assert int(row["bytes"]) > int(row["answer_bytes"]) > 0
        assert 0 < int(row["expires_ms"]) <= 3600000
        assert int(totals(daemon)["entries"]) == 3
        assert daemon.console("CACHE FLUSH TAG ones") == [{"flushed": 1, "tier": None}]
        assert daemon.console("CACHE FLUSH '%limit 2'") == [{"flushed": 1, "tier": None}]
        assert daemon.console("CACHE FLUSH '%limit 2'") == [{"flushed": 0, "tier": None}]
        assert daemon.console("CACHE FLUSH") == [{"flushed": 1, "tier": None}]
        assert daemon.console("SHOW CACHE") == []
        set_number(table, 2)
        assert read(client, READ + " limit 1") == 2


def test_a_running_flight_is_shown(trunkline, table):
    daemon = trunkline(cache_functions=["pg_catalog.pg_sleep"],
                       routes=cached({"mode": "dedupe"}))
    sql = "select number, pg_sleep(2)::text from stored"
    clients = [simple(daemon) for _ in range(5)]
    threads = [threading.Thread(target=read, args=(client, sql)) for client in clients]
    for thread in threads:
        thread.start()

    def shown():
        rows = daemon.console("SHOW FLIGHTS")
        return rows and int(rows[0]["waiters"]) == 5 and rows[0]["phase"] == "running" and rows
    row, = eventually(shown)
    assert (row["text"], row["database"], row["user"]) == (sql, "app", "app")
    assert (row["sealed"], int(row["joined"])) == ("no", 5)
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    assert eventually(lambda: daemon.console("SHOW FLIGHTS") == [])
    rule, = rules(daemon)
    assert (int(rule["executed"]), int(rule["joined"])) == (1, 4)


def test_what_is_not_shared_is_counted_by_its_reason(trunkline, table):
    daemon = trunkline(routes=cached({"mode": "dedupe"}))
    with simple(daemon) as client:
        fill(client, "select random()", "select now()", "select relname from pg_class limit 1")
    rule, = rules(daemon)
    assert int(rule["refused"]) == 3
    counted = dict(part.split("=") for part in rule["reasons"].split())
    assert sum(int(count) for count in counted.values()) == 3
    reasons = {row["reason"]: row for row in daemon.console("SHOW CACHE_REASONS")}
    assert all(int(reasons[word]["count"]) >= int(count) for word, count in counted.items())


def explained(daemon, sql, whom=""):
    quoted = sql.replace("'", "''")
    return {row["item"]: row["value"]
            for row in daemon.console(f"CACHE EXPLAIN '{quoted}' {whom}")}


def test_a_statement_is_explained(trunkline, table):
    daemon = trunkline(routes=cached({"mode": "dedupe", "match": {"tables": ["stored"]}},
                                     {**TTL, "match": {"text": "select abs%"}},
                                     cache_hints=True))
    line = rules(daemon)[0]["route"]
    said = explained(daemon, READ + " where number = 'x'")
    assert said[f"route {line}"] == "rule 1, mode dedupe"
    assert said["reads"] == "stored"
    assert said["text"].startswith("a candidate")
    assert len(said["fingerprint"]) == 16
    said = explained(daemon, "select abs(1)")
    assert said[f"route {line}"] == "rule 2, mode ttl, ttl 3600000 ms"
    assert said["calls"] == "abs"
    said = explained(daemon, READ + " /* trunkline: off */")
    assert said[f"route {line}"] == "rule 1, mode off"
    said = explained(daemon, "insert into app.other values (1)")
    assert said[f"route {line}"].startswith("no rule matches")
    assert said["writes"] == "app.other"
    assert said["text"].startswith("not shared: ")


EXPLAINED = """
    drop schema if exists explained cascade; create schema explained authorization app; set role app;
    create table explained.prices (id int, kind text, amount int, primary key (kind, id));
    create view explained.cheap as select * from explained.prices where amount < 5;
    create function explained.dice() returns int language sql as 'select 4';
    create view explained.unsure as select *, explained.dice() from explained.prices;
"""


@pytest.fixture
def prices(postgres):
    postgres.sql(EXPLAINED)
    yield postgres
    postgres.sql("drop schema explained cascade")


def test_the_catalog_is_asked_as_a_user(trunkline, prices):
    daemon = trunkline(routes=cached(TTL))
    said = explained(daemon, "select amount from explained.cheap", "FOR app@app")
    assert said["catalog"] == 'of database "app", asked as user "app"'
    assert said["verdict"] == "may be shared"
    assert set(said["tables"].split(", ")) == {"explained.cheap (view)", "explained.prices"}
    assert "key" not in said
    said = explained(daemon, "select amount from explained.prices where id = 7 and kind = $1",
                     "for 'app@app' WHERE item <> 'text'")
    assert said["tables"] == "explained.prices"
    assert set(said["key"].split(", ")) == {"id = '7'", "kind = $1"}
    assert "text" not in said
    said = explained(daemon, "select * from explained.unsure", "FOR app@app")
    assert said["verdict"].startswith("not shared: ") and said["verdict"].endswith("explained.dice")
    said = explained(daemon, "select relname from pg_class", "FOR app@app")
    assert said["verdict"].endswith("(catalog)")
    said = explained(daemon, "select nextval('x')", "FOR app@app")
    assert said["verdict"].startswith("not shared: ")


def test_the_catalog_is_that_of_the_route_if_it_names_one(trunkline, prices):
    daemon = trunkline(routes=[route(database="app", user="reports", cache=[TTL]),
                               route(cache=[TTL])])
    said = explained(daemon, "select 1")
    assert said["catalog"] == 'of database "app", asked as user "reports"'
    daemon = trunkline(routes=cached({**TTL, "match": {"text": "select 1"}}))
    assert "say FOR user@database" in explained(daemon, "select 1")["catalog"]
    assert "no rule" in explained(daemon, "select 2")["catalog"]


@pytest.mark.parametrize("whom, why", [
    ("FOR nobody@app", "password"), ("FOR app@nowhere", "nowhere"), ("FOR app@closed", "no route"),
])
def test_it_says_why_the_catalog_could_not_be_asked(trunkline, prices, whom, why):
    daemon = trunkline(routes=[route(database="closed", auth="block"), *cached(TTL)])
    said = explained(daemon, "select amount from explained.prices", whom)
    assert said["catalog"].startswith("not asked: ") and why in said["catalog"]
    assert said["reads"] == "explained.prices" and "verdict" not in said


@pytest.mark.parametrize("whom", ["FOR", "FOR app", "FOR @app", "FOR app@", "FOR a@b c"])
def test_for_needs_a_user_and_a_database(trunkline, whom):
    daemon = trunkline(routes=cached(TTL))
    with pytest.raises(psycopg.errors.SyntaxError):
        explained(daemon, "select 1", whom)


def test_commands_without_rules_say_so(trunkline):
    daemon = trunkline()
    for view in "CACHE", "CACHE_RULES", "CACHE_TOTALS", "FEED", "FLIGHTS":
        assert daemon.console(f"SHOW {view}") == []
    assert daemon.console("CACHE FLUSH") == [{"flushed": 0, "tier": None}]
    assert {row["count"] for row in daemon.console("SHOW CACHE_REASONS")} == {0}
    for wrong in "CACHE", "CACHE EXPLAIN", "CACHE FLUSH TAG", "CACHE FLUSH a b":
        with pytest.raises(psycopg.errors.SyntaxError):
            daemon.console(wrong)


# --- reloads -------------------------------------------------------------------------------------

def test_a_reload_changes_rules_and_memory(trunkline, table):
    daemon = trunkline()
    listen = daemon.config["listen"]

    def reload(**changes):
        daemon.reload(configuration(table, listen=listen, **changes))
    with simple(daemon) as client:
        reload(cache_memory="8MiB", routes=cached(TTL))
        assert totals(daemon)["bytes_max"] == 8 << 20
        assert read(client) == 1
        set_number(table, 2)
        assert read(client) == 1
        reload(cache_memory="16MiB", routes=cached({"mode": "ttl", "ttl": "1ms"}))
        assert totals(daemon)["bytes_max"] == 16 << 20
        assert read(client) == 2, "an answer is older than the rule allows that was reloaded"
        reload()
        set_number(table, 3)
        assert read(client) == 3
        assert daemon.console("SHOW CACHE") == []
