"""Whatever a client makes grow counts in memory_limit: each thing up to the limit and beyond."""
import re

import psycopg
import pytest
from support import wire as w
from support.patience import STRETCH, eventually
from support.trunkline import route

MEGABYTE = 1 << 20
LIMIT = 16 * MEGABYTE


def relay(daemon):
    return daemon.console("SHOW RELAYS")[0]


def held(daemon):
    return relay(daemon)["held_bytes"]


@pytest.fixture
def daemon(trunkline):
    made = trunkline(relays=1, memory_limit="16MiB", message_limit="4MiB", chunk_size="64KiB",
                     routes=[route(pool_size=4)])
    made.endpoint().one("select 1")
    return made


class Gate:
    """A query that is not answered until the gate is opened."""
    text = "select pg_advisory_xact_lock(4711)"
    query = w.query(text)

    def __init__(self, postgres):
        self.holder = psycopg.connect(postgres.endpoint().conninfo())
        self.holder.execute("select pg_advisory_xact_lock(4711)")

    def open(self):
        self.holder.close()


@pytest.fixture
def gate(postgres):
    made = Gate(postgres)
    yield made
    made.open()


def told(answers):
    """Of a client that was refused for want of memory."""
    last = answers[-1]
    assert last.kind == "E" and last.sqlstate == "53200", answers[-3:]
    assert "memory_limit" in last.fields["M"]
    return last.fields["S"] == "FATAL"


def answer(client, *messages):
    """All messages up to ReadyForQuery, or to the connection's end."""
    answers = []
    try:
        client.send(*messages)
        while not answers or answers[-1].kind != "Z":
            answers.append(client.receive())
    except (EOFError, ConnectionResetError, BrokenPipeError):
        answers += client.rest()
    return answers


def long_text(number, size=MEGABYTE):
    return f"select {number}, '" + "x" * size + "'"


def parses(client, count, name="s{}", size=MEGABYTE):
    """Parses one after the other, until one is refused; how many were not, and the refusal."""
    for number in range(count):
        answers = answer(client, w.parse(name.format(number), long_text(number, size)), w.SYNC)
        if answers[-1].kind != "Z":
            return number, answers
    return count, None


def test_texts_of_prepared_statements(daemon):
    """400 Parses of 1 MB: what the limit leaves room for, and no more."""
    before = daemon.memory()
    with daemon.endpoint().wire() as bystander, daemon.endpoint().wire() as client:
        bystander.ask(w.parse("mine", "select 'mine'"), w.SYNC)
        count, answers = parses(client, 400)
        assert 8 <= count <= 16
        assert told(answers)
        assert daemon.memory() - before < 2 * LIMIT * STRETCH
        assert w.rows(bystander.ask(w.bind(statement="mine"), w.execute(), w.SYNC)) == [["mine"]]
        daemon.logged(r"memory\.shed .*user=app bytes=\d+")
    eventually(lambda: held(daemon) < MEGABYTE)


def test_the_holder_of_long_texts_is_disconnected_when_memory_is_needed(daemon):
    with daemon.endpoint().wire() as hog, daemon.endpoint().wire() as other:
        assert parses(hog, 14) == (14, None)
        assert held(daemon) > 14 * MEGABYTE
        assert parses(other, 6, size=MEGABYTE + 1) == (6, None)
        assert told(hog.rest())
        assert 6 * MEGABYTE < held(daemon) < 8 * MEGABYTE


def test_a_text_of_many_is_counted_once(daemon):
    with daemon.endpoint().wire() as one, daemon.endpoint().wire() as other:
        assert parses(one, 12) == (12, None)
        before = held(daemon)
        assert parses(other, 12) == (12, None)
        assert held(daemon) - before < MEGABYTE
        one.last_words(w.message("X"))
        eventually(lambda: relay(daemon)["clients"] == 2)
        assert held(daemon) > 12 * MEGABYTE  # the other one has them still


def test_names_of_prepared_statements(daemon):
    """Of long names 63 bytes are kept, and counted: whole, these would be 80 MB."""
    with daemon.endpoint().wire() as client:
        for batch in range(20):
            names = [f"{number:063}{'n' * 8000}" for number in range(batch * 500, batch * 500 + 500)]
            answers = answer(client, *(w.parse(name, "select 1") for name in names), w.SYNC)
            assert answers[-1].kind == "Z"
        assert MEGABYTE < held(daemon) < 4 * MEGABYTE
    eventually(lambda: held(daemon) < MEGABYTE)


def test_parameters_that_prepared_statements_were_parsed_under(daemon):
    """Each name keeps those of its Parse: 2,800 sets of 8 KB would be 22 MB."""
    with daemon.endpoint().wire(**{"app.text": "x" * 8000}) as client:
        for number in range(2800):
            zone = f"AAA{'+-'[number // 1400]}{number // 60 % 24}:{number % 60}"
            answers = answer(client, w.query(f"set timezone = '{zone}'"))
            if answers[-1].kind == "Z":
                answers = answer(client, w.parse(f"s{number}", "select 1"), w.SYNC)
            if answers[-1].kind != "Z":
                break
        assert 1000 < number < 2200
        assert answers[-1].sqlstate == "53200"
    eventually(lambda: held(daemon) < MEGABYTE)


def test_texts_that_were_closed_and_wait_for_their_answer(daemon, gate):
    """Names are given up at once, but their texts live until the server has said so."""
    many = [part for number in range(15)
            for part in (w.parse("s", long_text(number, 100000)), w.close("S", "s"))]
    with daemon.endpoint().wire() as client:
        client.send(gate.query, *many, w.SYNC)
        eventually(lambda: held(daemon) > MEGABYTE)
        gate.open()
        client.until(times=2)
        eventually(lambda: held(daemon) < MEGABYTE // 2)


def test_entries_that_wait_for_an_answer(daemon, gate):
    """The rings of ledgers grow with what is sent ahead, and shrink when it was answered."""
    with daemon.endpoint().wire() as client:
        client.send(gate.query, *[w.SYNC] * 12000)
        eventually(lambda: held(daemon) > 16384 * 40)
        gate.open()
        client.until(times=12001)
        eventually(lambda: held(daemon) < 100000)


def test_effects_of_texts_that_wait_for_an_answer(daemon, gate):
    text = ";".join(f"set local custom.v{n} = '1'; listen c{n}" for n in range(8))
    with daemon.endpoint().wire() as client:
        before = held(daemon)
        client.send(gate.query, *[w.query(text)] * 2000)
        eventually(lambda: held(daemon) > before + 900000)
        gate.open()
        client.until(times=2001)
    eventually(lambda: held(daemon) < 200000)


def test_texts_that_give_names_up(daemon, gate):
    with daemon.endpoint().wire() as client:
        for number in range(300):
            client.send(w.parse(f"s{number}", "select 1"))
        client.ask(w.SYNC)
        before = held(daemon)
        texts = [gate.text, *[f"deallocate s{number}" for number in range(300)]]
        client.send(*[part for text in texts for part in (w.parse("", text), w.bind(), w.execute())],
                    w.SYNC)
        eventually(lambda: held(daemon) > before + 300 * 150)
        gate.open()
        client.until()
        eventually(lambda: held(daemon) < before)


def test_unnamed_statements(daemon):
    clients = [daemon.endpoint().wire() for _ in range(20)]
    for number, client in enumerate(clients):
        client.ask(w.parse("", long_text(number, 60000)), w.SYNC)
    assert held(daemon) > 20 * 60000
    for client in clients:
        client.__exit__()
    eventually(lambda: held(daemon) < MEGABYTE)


def test_session_parameters(daemon):
    """Sets are shared by who has the same; 60 clients have 60 sets."""
    before = held(daemon)
    clients = [daemon.endpoint().wire(application_name="a", options=f"-c custom.x={n:08d}" + "y" * 8000)
               for n in range(60)]
    assert held(daemon) > before + 60 * 8000
    before = held(daemon)
    same = [daemon.endpoint().wire(application_name="a", options="-c custom.x=00000001" + "y" * 8000)
            for n in range(20)]
    assert held(daemon) < before + 8000
    for client in clients + same:
        client.__exit__()


def test_texts_that_servers_have_are_freed_first(daemon):
    """Values of startup parameters are remembered, but not at the cost of a client."""
    for number in range(100):
        with daemon.endpoint().wire(options=f"-c custom.x={number:08d}" + "y" * 8000):
            pass
    assert held(daemon) > 100 * 8000 * 2
    with daemon.endpoint().wire() as client:
        assert parses(client, 14) == (14, None)
        assert relay(daemon)["shed"] == 0


def test_logins_and_names_of_databases(daemon):
    """A startup packet, and a pool for whatever name it has; both go with the connection."""
    before = held(daemon)
    name = "d" * 8000
    clients = [daemon.endpoint().wire(login=False) for _ in range(50)]
    for number, client in enumerate(clients):
        client.send(w.startup_packet(user="app", database=f"{number}{name}"))
    for client in clients:
        assert client.receive().kind == "R"
    assert held(daemon) > before + 50 * (8000 + 20000)
    for client in clients:
        client.__exit__()
    eventually(lambda: held(daemon) < before + 100000)


def test_logins_beyond_the_limit_are_refused(trunkline):
    daemon = trunkline(relays=1, memory_limit="16MiB", chunk_size="64KiB", message_limit="1MiB",
                       login_timeout="10min")
    clients, refused = [], 0
    for _ in range(800):
        clients.append(daemon.endpoint().wire(login=False))
        clients[-1].send(w.startup_packet(user="app", database="app"))
    for client in clients:
        first = client.receive()
        refused += first.kind == "E" and first.sqlstate == "53200"
    assert 100 < refused < 700

    def shown():  # the oldest of those who have proven nothing make room
        try:
            return held(daemon) <= LIMIT
        except psycopg.OperationalError:
            return False
    eventually(shown)
    for client in clients:
        client.__exit__()
    eventually(lambda: daemon.endpoint().one("select 1") == 1)


def test_short_messages_that_wait_for_a_server(trunkline):
    daemon = trunkline(relays=1, memory_limit="16MiB", chunk_size="64KiB", message_limit="1MiB",
                       routes=[route(pool_size=1)])
    with daemon.endpoint().wire() as holder:
        holder.ask(w.query("begin"))
        before = held(daemon)
        clients = [daemon.endpoint().wire() for _ in range(20)]
        for client in clients:
            client.send(w.query("select 1"))
        eventually(lambda: held(daemon) == before + 20 * 256)
        holder.ask(w.query("commit"))
        for client in clients:
            client.until()
            client.__exit__()


def test_auth_query_results_for_unknown_users(trunkline, postgres):
    """auth_query's answers are kept, also for the longest names; nobody has proven anything yet."""
    daemon = trunkline(relays=1, memory_limit="16MiB", chunk_size="64KiB", message_limit="1MiB",
                       users={"admin": "admin", "plain": "plain"},
                       auth_query={"user": "app", "password": "app", "database": "app",
                                   "query": "select null where $1 = ''"})
    before = held(daemon)
    for number in range(100):
        with daemon.endpoint().wire(login=False) as client:
            client.send(w.startup_packet(user=f"{number:08000}", database="app"))
            assert client.receive().kind == "R"
    assert held(daemon) > before + 100 * 8000


def test_every_byte_comes_back(daemon):
    """Nothing of what went before is left when its clients are gone."""
    start = held(daemon)
    for _ in range(3):
        with psycopg.connect(daemon.endpoint().conninfo(), autocommit=True) as connection:
            for number in range(50):
                connection.execute(f"select %s, {number}", (number,), prepare=True)
            connection.execute("set application_name = 'other'")
            connection.execute("create temp table t as select 1")
            connection.execute("discard all")
    eventually(lambda: held(daemon) <= start + 4096)
    assert not re.search("invariant", daemon.log())
