"""`trunkline top`: one frame for scripts, and the live screen on a terminal."""
import json
import os
import re
import signal
import subprocess
import threading

import pytest
from support.patience import PATIENCE, eventually
from support.ports import free_port
from support.terminal import OnTerminal
from support.trunkline import binary, route

NAMES = {"app": "app", "admin": "admin", "schön": "app", "\x1b[31mred": "app", "漢字": "app"}

KEYS = "h help  q quit  p pause  / filter  Tab panel  < > sort  r reverse  + - interval"


@pytest.fixture
def daemon(trunkline):
    return trunkline(routes=[route(server_user="app", server_password="app")],
                     users=NAMES)


def words(daemon, *more):
    return [binary(), "top", "-h", daemon.host, "-p", daemon.port, "-U", "admin", *more]


def top(daemon, *more, password="admin", **environment):
    env = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    env["HOME"] = str(daemon.folder)
    if password is not None:
        env["PGPASSWORD"] = password
    return subprocess.run(list(map(str, words(daemon, *more))), env={**env, **environment},
                          capture_output=True, text=True, timeout=PATIENCE)


@pytest.fixture
def screen(daemon):
    made = []

    def start(*more, **options):
        made.append(OnTerminal(words(daemon, *more), PGPASSWORD="admin", **options))
        return made[-1]
    yield start
    for one in made:
        one.close()


class Load:
    """Clients that query until the end."""

    def __init__(self, daemon):
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(daemon,), daemon=True)
        self.thread.start()

    def run(self, daemon):
        with daemon.connect() as connection:
            while not self.stop.is_set():
                connection.execute("SELECT pg_sleep(0.001)")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


# --- what the console counts ----------------------------------------------------------------

def test_histograms_count_every_query_and_never_decrease(daemon):
    def queries():
        return sum(int(r["count"]) for r in daemon.console("SHOW HISTOGRAMS")
                   if r["kind"] == "query")
    with daemon.connect() as connection:
        for _ in range(10):
            connection.execute("SELECT 1", prepare=False)
        connection.execute("SELECT pg_sleep(0.05)")
    assert queries() == 11
    slow = [r for r in daemon.console("SHOW HISTOGRAMS")
            if r["kind"] == "query" and r["from_us"] >= 40000]
    assert slow and all(r["below_us"] > r["from_us"] and r["count"] >= 1 for r in slow)
    daemon.reload({**daemon.config, "routes": [route(server_user="app", server_password="app", pool_size=3)]})
    assert queries() == 11


def test_histograms_keep_what_the_log_has_taken(trunkline):
    daemon = trunkline(routes=[route()], log={"stats_period": "1s"})
    with daemon.connect() as connection:
        for _ in range(10):
            connection.execute("SELECT 1", prepare=False)
    daemon.logged(r"route\.statistics.*queries=10|\"queries\": ?10")
    rows = daemon.console("SHOW HISTOGRAMS")
    assert sum(int(r["count"]) for r in rows if r["kind"] == "query") == 10
    assert sum(int(r["count"]) for r in rows if r["kind"] == "transaction") == 10
    assert sum(int(r["count"]) for r in rows if r["kind"] == "wait") == 10


def test_the_processor_time_of_relays_grows(daemon):
    def used():
        return sum(int(r["cpu_us"]) for r in daemon.console("SHOW RELAYS"))
    before = used()
    assert 0 < before < 60e6
    with Load(daemon):
        eventually(lambda: used() > before)


# --- one frame ------------------------------------------------------------------------------

def test_json_is_one_frame_with_rates_and_quantiles(daemon):
    with Load(daemon):
        daemon.pool_shows(sv_active=1)
        done = top(daemon, "--json", "-i", "0.5")
    assert done.returncode == 0 and done.stderr == ""
    frame = json.loads(done.stdout)
    totals = frame["totals"]
    assert frame["server"] == f"127.0.0.1:{daemon.port}" and frame["version"].startswith("Trunkline")
    assert 500_000 <= frame["interval_us"] < PATIENCE * 1e6
    assert totals["queries_per_s"] > 1 and totals["claims_per_s"] > 1
    assert 1000 <= totals["query_p50_us"] <= totals["query_p99_us"]
    assert totals["wait_p99_us"] is not None and totals["waiting"] == 0
    assert totals["clients"] == 2 and totals["claimed"] + totals["idle"] == 1
    assert [r["database"] for r in frame["pools"]] == ["app"]
    assert frame["databases"][0]["queries_per_s"] == pytest.approx(totals["queries_per_s"])
    assert [r["relay"] for r in frame["relays"]] == [0, 1]
    assert sum(r["cpu_percent"] for r in frame["relays"]) > 0
    assert frame["backends"][0]["service"] == "main" and frame["backends"][0]["state"] == "online"
    assert frame["services"][0]["service"] == "main"


def test_once_is_plain_text(daemon):
    with daemon.connect(user="schön", password="app") as connection:
        connection.execute("SELECT 1")
        done = top(daemon, "--once", "-i", "0.1", LC_ALL="C", TERM="nosuch")
    assert done.returncode == 0 and done.stderr == ""
    assert re.search(r"^pools \(1\)$", done.stdout, re.M)
    assert re.search(r"^ app +schön +0 ", done.stdout, re.M)
    assert "\x1b" not in done.stdout


def test_names_that_control_a_terminal_are_made_harmless(daemon):
    with daemon.connect(user="\x1b[31mred", password="app") as connection:
        connection.execute("SELECT 1")
        text, frame = top(daemon, "--once", "-i", "0.1"), top(daemon, "--json", "-i", "0.1")
    assert "\ufffd[31mred" in text.stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text.stdout + frame.stdout)
    assert json.loads(frame.stdout)["pools"][0]["user"] == "\x1b[31mred"


def test_a_filter_applies_to_text(daemon):
    with daemon.connect(user="app") as one, daemon.connect(user="schön", password="app") as two:
        one.execute("SELECT 1")
        two.execute("SELECT 1")
        done = top(daemon, "--once", "-i", "0.1", "--filter", "SCH")
    assert re.search(r"^ app +schön ", done.stdout, re.M)
    assert not re.search(r"^ app +app ", done.stdout, re.M)


@pytest.mark.parametrize("mode", ["--once", "--json"])
def test_a_daemon_that_is_not_there_is_told(daemon, mode):
    done = subprocess.run([binary(), "top", "-h", "127.0.0.1", "-p", str(free_port()), mode],
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(r"trunkline top: 127\.0\.0\.1:\d+: .*Connection refused\n", done.stderr)


def test_a_wrong_password_is_told(daemon):
    done = top(daemon, "--once", password="wrong")
    assert done.returncode == 1 and 'password authentication failed for user "admin"' in done.stderr


def test_a_password_may_come_from_the_password_file(daemon):
    file = daemon.folder / ".pgpass"
    file.write_text(f"{daemon.host}:{daemon.port}:trunkline:admin:admin\n")
    file.chmod(0o600)
    assert top(daemon, "--once", "-i", "0.1", password=None).returncode == 0
    file.chmod(0o644)
    done = top(daemon, "--once", "-i", "0.1", password=None)
    assert done.returncode == 1 and "is not used: others than its owner have access" in done.stderr


def test_the_host_may_come_from_the_environment(daemon):
    done = subprocess.run([binary(), "top", "--once", "--interval=0.1", "--username", "admin"],
                          capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, "PGHOST": "localhost", "PGPORT": str(daemon.port),
                               "PGPASSWORD": "admin"})
    assert done.returncode == 0 and f"localhost:{daemon.port}" in done.stdout


def test_a_database_that_is_not_the_console_is_told(daemon):
    done = subprocess.run(list(map(str, [binary(), "top", "-h", daemon.host, "-p", daemon.port, "-U", "app",
                                         "-d", "app", "--once"])),
                          env={**os.environ, "PGPASSWORD": "app"}, capture_output=True, text=True,
                          timeout=PATIENCE)
    assert done.returncode == 1 and "this database is not the console" in done.stderr


@pytest.mark.parametrize("arguments, problem", [
    (["-p", "0"], "found port 0; accepted: 1 to 65535"),
    (["-i", "0.01"], "found interval 0.01; accepted: 0.1 to 3600 seconds"),
    (["-x"], "unknown option -x"),
    (["-h"], None),
    (["-U"], "-U needs a value"),
    (["more"], "found argument more; accepted: options"),
])
def test_a_wrong_option_is_told(arguments, problem):
    done = subprocess.run([binary(), "top", *arguments], capture_output=True, text=True,
                          timeout=PATIENCE)
    if problem is None:
        assert done.returncode == 0 and "usage: trunkline top" in done.stdout
    else:
        assert done.returncode == 2
        assert done.stderr == f"trunkline top: {problem}\nusage: trunkline top [OPTION...]\n"


def test_without_a_terminal_the_screen_is_refused(daemon):
    done = top(daemon)
    assert done.returncode == 1 and "must be a terminal" in done.stderr


# --- the live screen ------------------------------------------------------------------------

def test_the_screen_shows_what_happens_and_q_ends_it(daemon, screen):
    with Load(daemon), daemon.connect(user="漢字", password="app") as quiet:
        quiet.execute("SELECT 1")
        live = screen("-i", "0.2", rows=40)
        live.shows(r"^trunkline top  127\.0\.0\.1:\d+  every 0\.2 s  Trunkline ")
        live.shows(r"queries/s [1-9]")
        live.shows(r"query  p50 [1-9]\S*  p99 [1-9]")
        live.shows(r"^ app +漢字 ")
        live.shows(r"^relays \(2\)")
        live.press("q")
        assert live.end() == 0


def test_keys_sort_filter_pause_and_help(daemon, screen):
    with daemon.connect() as one, daemon.connect(user="schön", password="app") as two:
        one.execute("SELECT 1")
        two.execute("BEGIN")
        live = screen("-i", "0.1", rows=40)
        live.shows(r"^pools \(2\)$")
        live.press("\t>>")
        live.shows(r"^pools \(2\) \*")
        live.shows(r"clientsv")
        live.press("<<<r")
        live.shows(r"user\^|userv")
        order = live.shows(r"^ app +(app|schön) .*\n app +(app|schön) ").groups()
        live.press("r")
        live.shows(rf"^ app +{order[1]} .*\n app +{order[0]} ")
        live.press("/schx\x7f")
        live.shows(r"^filter: sch_")
        live.press("\r")
        live.shows(r"^pools \(1\)")
        live.hides(r"^ app +app ")
        live.press("\x1b")
        live.shows(r"^ app +app ")
        live.press("h")
        live.shows(r"q, Ctrl-C +quit")
        live.press("x")
        live.hides(r"q, Ctrl-C +quit")
        live.press("+")
        live.shows(r"every 0\.2 s")
        live.press("p")
        live.shows(r"PAUSED")
        two.execute("COMMIT")
        with daemon.connect(user="漢字", password="app") as third:
            third.execute("SELECT 1")
            live.press("-")
            live.shows(r"every 0\.1 s.*PAUSED")
            assert "漢字" not in live.text()
            live.press("p")
            live.shows(r"^ app +漢字 ")
        live.press("\x03")
        assert live.end() == 0


def test_the_screen_follows_the_size_of_the_terminal(daemon, screen):
    live = screen("-i", "0.2")
    def foot(row, columns):
        def there():
            lines = live.text().split("\n")
            return len(lines) == row and lines[-1] == KEYS[:columns].rstrip()
        eventually(there)
    foot(24, 80)
    for rows, columns in (50, 132), (5, 20), (2, 3), (24, 80):
        live.resize(rows, columns)
        foot(rows, columns)
    live.shows(r"^relays ")
    live.press("q")
    assert live.end() == 0


def test_without_utf8_nothing_but_ascii_reaches_the_terminal(daemon, screen):
    with daemon.connect(user="schön", password="app") as connection:
        connection.execute("SELECT 1")
        live = screen("-i", "0.2", LC_ALL="C")
        live.shows(r"^ app +sch\?n ")
        assert live.text().isascii()
        live.press("q")
        assert live.end() == 0


def test_a_name_that_controls_a_terminal_does_not(daemon, screen):
    with daemon.connect(user="\x1b[31mred", password="app") as connection:
        connection.execute("SELECT 1")
        live = screen("-i", "0.2")
        live.shows("^ app +\ufffd\\[31mred ")


def test_the_screen_outlives_the_daemon(daemon, screen):
    with daemon.connect() as connection:
        connection.execute("SELECT 1")
        live = screen("-i", "0.2")
        live.shows(r"^relays \(2\)")
        live.hides(r"queries/s -")
    daemon.stop()
    live.shows(r"^not connected: ")
    daemon.start()
    live.hides(r"^not connected: ")
    live.shows(r"queries/s 0")
    live.press("q")
    assert live.end() == 0


def test_a_signal_ends_the_screen_and_restores_the_terminal(daemon, screen):
    live = screen("-i", "0.2")
    live.shows(r"^relays \(2\)")
    live.program.send_signal(signal.SIGTERM)
    assert live.end() == 0


def test_a_terminal_that_goes_away_ends_the_screen(daemon, screen):
    live = screen("-i", "0.2")
    live.shows(r"^relays \(2\)")
    live.program.send_signal(signal.SIGHUP)
    assert live.end() == 0


def test_an_unknown_terminal_is_told(daemon, screen):
    live = screen(TERM="nosuch")
    assert live.program.wait(PATIENCE) == 1
    assert "cannot use a terminal of type nosuch" in live.program.stderr.read().decode()
