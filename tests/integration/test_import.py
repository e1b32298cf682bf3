"""A configuration of PgBouncer, told in ours: what comes out runs and does the same."""
import re
import subprocess

import pytest
import yaml
from support.patience import PATIENCE
from support.ports import free_port
from support.trunkline import TOP, Trunkline, binary

HEAD = """
;; a comment
[databases]
app = host=127.0.0.1 port={port} pool_size=3 connect_query='select ''a'''
hidden = host=127.0.0.1 port={port} dbname=app user=app password=app
* = host=127.0.0.1 port={port}
[users]
batch = pool_mode=session pool_size=2 query_timeout=7
[pgbouncer]
listen_addr = 127.0.0.1
unix_socket_dir =
auth_type = scram-sha-256
auth_file = users.txt
pool_mode = transaction
query_wait_timeout = 2.5
admin_users = admin
server_round_robin = 1
"""


def run(*arguments, cwd):
    return subprocess.run([binary(), *map(str, arguments)], text=True, cwd=cwd, capture_output=True,
                          timeout=PATIENCE)


@pytest.fixture
def bouncer(tmp_path):
    """Writes a configuration; answers what import says of it."""
    def make(text):
        (tmp_path / "users.txt").write_text('"app" "app"\n"admin" "admin"\n')
        (tmp_path / "users.txt").chmod(0o600)
        (tmp_path / "pgbouncer.ini").write_text(text)
        return run("import", "pgbouncer.ini", cwd=tmp_path)
    make.folder = tmp_path
    return make


def test_an_imported_file_can_be_checked_and_run(bouncer, postgres):
    done = bouncer(HEAD.format(port=postgres.port) + f"listen_port = {free_port()}\n")
    assert done.returncode == 0, done.stderr
    config = bouncer.folder / "trunkline.yaml"
    config.write_text(done.stdout)
    checked = run("check", config, cwd=bouncer.folder)
    assert checked.returncode == 0, checked.stderr
    daemon = Trunkline(bouncer.folder, yaml.safe_load(done.stdout),
                       {"app": "app", "admin": "admin"})
    try:
        daemon.start()
        for database in ("app", "hidden"):
            with daemon.connect(database=database) as connection:
                assert connection.execute("select current_database()").fetchone() == ("app",)
        pools = {row["database"]: row for row in daemon.console("show pools")}
        assert pools["app"]["pool_mode"] == "transaction"
    finally:
        daemon.stop()


def test_settings_without_an_equivalent_are_reported_with_line_and_reason(bouncer):
    done = bouncer(HEAD.format(port=1) + "no_such_thing = 5\n")
    assert re.search(r"^# pgbouncer.ini:4: connect_query = select 'a'\n#     \S", done.stdout, re.M)
    assert re.search(r"^# pgbouncer.ini:\d+: server_round_robin = 1\n#     \S", done.stdout, re.M)
    assert re.search(r"^# pgbouncer.ini:\d+: no_such_thing = 5\n", done.stdout, re.M)
    for line in "max_packet_size = 9999", "server_login_retry = 3", "client_tls_protocols = all":
        assert f": {line}\n#     " in bouncer(HEAD.format(port=1) + line + "\n").stdout


def test_a_fraction_of_a_second_is_kept(bouncer):
    text = bouncer(HEAD.format(port=1) + "server_connect_timeout = 2.5\n").stdout
    assert "    connect_timeout: 2500ms\n" in text


def test_a_user_with_a_pool_of_its_own_has_a_route_before_the_others(bouncer):
    routes = bouncer(HEAD.format(port=1)).stdout.split("\nroutes:\n")[1]
    assert routes.index("user: batch") < routes.index('user: "*"')
    assert "pool: session\n    pool_size: 2" in routes
    assert "users:\n  batch:\n    query_timeout: 7s" in routes


def test_files_may_include_others(bouncer):
    (bouncer.folder / "more.ini").write_text("[pgbouncer]\nmax_client_conn = 321\n")
    assert "clients: 321" in bouncer(HEAD.format(port=1) + "%include more.ini\n").stdout


def test_a_file_that_includes_itself_is_refused(bouncer):
    done = bouncer("%include pgbouncer.ini\n")
    assert done.returncode == 1 and "nested more than" in done.stderr


@pytest.mark.parametrize("line, problem", [
    ("loose = 1", "before the first section"),
    ("[pgbouncer", "a name in brackets"),
    ("[pgbouncer]\nwhat is this", "accepted: key = value"),
    ("[databases]\napp = host='x", "accepted: up to 64 key=value pairs"),
    (f"[databases]\napp = password={'x' * 2048}", "values of up to 2047 bytes"),
    ("[pgbouncer]\n = 5", "without a key"),
])
def test_invalid_input_is_reported_with_its_line(bouncer, line, problem):
    done = bouncer(line + "\n")
    assert done.returncode == 1 and done.stdout == ""
    assert problem in done.stderr
    assert f"pgbouncer.ini:{line.count(chr(10)) + 1}:" in done.stderr


def test_every_setting_with_an_equal_is_accepted_here(bouncer):
    """With a value of PgBouncer's own kind for each key of the table."""
    values = {"pool_mode": "session", "user": "root", "listen_addr": "127.0.0.1",
              "unix_socket_dir": str(bouncer.folder), "unix_socket_mode": "0770",
              "unix_socket_group": "root",
              "client_tls_sslmode": "disable", "server_tls_sslmode": "prefer",
              "auth_type": "md5", "auth_file": "users.txt", "admin_users": "admin, joe",
              "ignore_startup_parameters": "geqo, options"}
    left_out = re.compile("_file$|ciphers|curve|_query$|_user$|_dbname$")
    page = (TOP / "docs" / "migrating-from-pgbouncer.md").read_text()
    keys = re.findall(r"^\| `(\w+)`(?! [du])[^|]*\| `", page, re.M)
    lines = [f"{key} = {values.get(key, '1')}" for key in keys
             if key in values or not left_out.search(key)]
    assert len(lines) > 30
    done = bouncer("[databases]\n* = host=127.0.0.1\n[pgbouncer]\n" + "\n".join(lines) + "\n")
    (bouncer.folder / "trunkline.yaml").write_text(done.stdout)
    checked = run("check", "trunkline.yaml", cwd=bouncer.folder)
    assert checked.returncode == 0, checked.stderr
