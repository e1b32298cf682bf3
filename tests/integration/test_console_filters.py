"""A SHOW takes conditions, an order and a limit."""
import psycopg
import pytest
from support import wire as w


def admin(daemon):
    return psycopg.connect(daemon.endpoint("trunkline", "admin").conninfo(), autocommit=True)


@pytest.fixture(scope="module")
def console(pooler):
    with admin(pooler) as connection:
        yield lambda command, **options: connection.execute(command, **options).fetchall()


def keys(console, rest):
    return [row[0] for row in console(f"SHOW CONFIG {rest}")]


def test_a_condition_chooses_rows(console):
    assert console("SHOW LISTS WHERE list = 'peers'") == [("peers", 0)]
    assert console("show lists where LIST = peers;") == [("peers", 0)]
    assert console('SHOW LISTS WHERE "list" = \'nosuch\'') == []
    everything = {row[0] for row in console("SHOW LISTS")}
    others = {row[0] for row in console("SHOW LISTS WHERE list <> 'peers'")}
    assert others == {row[0] for row in console("SHOW LISTS WHERE list != 'peers'")}
    assert everything - others == {"peers"}


def test_numbers_are_compared_as_numbers(console):
    rows = console("SHOW MEM")
    for sign, holds in {"=": lambda a: a == 100, "<": lambda a: a < 100, "<=": lambda a: a <= 100,
                        ">": lambda a: a > 100, ">=": lambda a: a >= 100,
                        "<>": lambda a: a != 100}.items():
        chosen = {row[0] for row in console(f"SHOW MEM WHERE size {sign} 100")}
        assert chosen == {row[0] for row in rows if holds(row[1])}, sign
    assert {row[0] for row in console("SHOW MEM WHERE size > 99.5")} == {row[0] for row in rows}


def test_conditions_are_joined_by_and(console):
    assert keys(console, "WHERE key LIKE 'console.%' AND changeable = 'yes' AND value = ''") == \
        ["console.stats_users"]


@pytest.mark.parametrize(("pattern", "found"), [
    ("relays", ["relays"]), ("%lays", ["relays"]), ("rel%", ["relays"]), ("r_lay_", ["relays"]),
    ("%e%a%s", None), ("relay", []), ("", []), ("%", None), ("elays", [])])
def test_like_knows_percent_and_underscore(console, pattern, found):
    chosen = keys(console, f"WHERE key LIKE '{pattern}'")
    if found is None:
        assert "relays" in chosen
    else:
        assert chosen == found


def test_rows_are_put_in_order(console):
    rows = console("SHOW LISTS")
    assert console("SHOW LISTS ORDER BY list") == sorted(rows)
    assert console("SHOW LISTS ORDER BY list ASC") == sorted(rows)
    assert console("SHOW LISTS ORDER BY list DESC") == sorted(rows, reverse=True)
    numbers = [row[1] for row in console("SHOW MEM ORDER BY size DESC")]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) > 1
    stable = [row[0] for row in rows if row[1] == 0]
    assert [row[0] for row in console("SHOW LISTS WHERE items = 0 ORDER BY items")] == stable


def test_a_limit_ends_the_rows(console):
    rows = console("SHOW CONFIG")
    assert console("SHOW CONFIG LIMIT 3") == rows[:3]
    assert console("SHOW CONFIG LIMIT 0") == []
    assert console("SHOW CONFIG LIMIT 100000") == rows
    assert console("SHOW CONFIG ORDER BY key DESC LIMIT 2") == sorted(rows, reverse=True)[:2]
    assert len(console("SHOW CONFIG WHERE changeable = 'yes' LIMIT 5")) == 5


def test_nulls_fit_no_comparison_and_come_last(console, pooler):
    with pooler.connect() as client:
        client.execute("select 1")
        null = console("SHOW POOLS WHERE load_balance_hosts IS NULL")
        assert null and console("SHOW POOLS WHERE load_balance_hosts IS NOT NULL") == []
        assert console("SHOW POOLS WHERE load_balance_hosts = ''") == []
        assert console("SHOW POOLS WHERE load_balance_hosts <> ''") == []
        assert len(console("SHOW POOLS ORDER BY load_balance_hosts DESC")) == len(null)


def test_clients_are_filtered_by_any_column(console, pooler):
    with pooler.connect(application_name="it's one"), pooler.connect(application_name="another"):
        rows = console("SHOW CLIENTS WHERE database = 'app' AND application_name = 'it''s one'")
        assert len(rows) == 1
        rows = console("SHOW CLIENTS WHERE application_name >= 'a' ORDER BY application_name")
        names = [row[18] for row in rows]
        assert names == sorted(names) and {"another", "it's one"} <= set(names)


def test_filters_work_in_binary_and_prepared(console):
    text = console("SHOW LISTS ORDER BY list LIMIT 4")
    assert console("SHOW LISTS ORDER BY list LIMIT 4", binary=True) == text
    for _ in range(3):
        assert console("SHOW LISTS ORDER BY list LIMIT 4", prepare=True) == text


def test_the_tag_and_the_columns_are_as_always(pooler):
    with pooler.endpoint("trunkline", "admin").wire() as wire:
        assert w.kinds(wire.ask(w.query("SHOW LISTS WHERE items < 0"))) == "T C Z"


@pytest.mark.parametrize(("rest", "sqlstate"), [
    ("WHERE nosuch = 1", "42703"), ("ORDER BY nosuch", "42703"), ("WHERE items = many", "22P02"),
    ("WHERE", "42601"), ("WHERE items", "42601"), ("WHERE items =", "42601"),
    ("WHERE items = 1 AND", "42601"), ("WHERE items = 1 OR items = 2", "42601"),
    ("WHERE items ~ 1", "42601"), ("WHERE items IS 1", "42601"), ("ORDER items", "42601"),
    ("ORDER BY", "42601"), ("LIMIT", "42601"), ("LIMIT x", "42601"), ("LIMIT -1", "42601"),
    ("LIMIT 1 WHERE items = 1", "42601"), ("nonsense", "42601"), ("WHERE items = 'x", "42601"),
    ("WHERE " + " AND ".join(["items = 0"] * 9), "42601"),
    ("WHERE list = '" + "x" * 300 + "'", "42601")])
def test_errors_name_the_wrong_word(pooler, rest, sqlstate):
    with admin(pooler) as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute(f"SHOW LISTS {rest}")
    assert refused.value.sqlstate == sqlstate
