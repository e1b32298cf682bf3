"""What the manual says of a reload is true of every setting: it takes it over, or says by name that
it does not."""
import copy
import os
import re
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest
from support import wire as w
from support.patience import STRETCH, eventually, seconds
from support.ports import free_port
from support.trunkline import binary, configuration, route

SCALE = {"us": 1, "ms": 10**3, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6,
         "d": 86400 * 10**6, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def manual():
    """(section, key, what is accepted, default, reloadable) of every setting."""
    page = subprocess.run([binary(), "docs", "configuration"], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    section, rows = None, []
    for line in page.splitlines():
        if line.startswith("## "):
            section = line[3:].strip("`")
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            key, _, accepted, default, reload = cells
            rows.append((section, key.strip("`"), accepted.replace("`", ""), default.strip("`"),
                         reload == "yes"))
    return rows


def amount(text):
    number, unit = re.fullmatch(r"(\d+)(\D*)", text).groups()
    return int(number) * SCALE.get(unit, 1)


def another(accepted, default):
    """A value that is accepted and is not the default; None where a number or word won't do."""
    span = re.match(r"(a whole number|whole seconds|a duration|a size) from (\w+) to (\w+)", accepted)
    if span:
        kind, least, most = span.groups()
        now = amount(default) if re.fullmatch(r"\d+\w*", default) else None
        unit = {"a whole number": "", "whole seconds": "s", "a size": "B"}.get(kind, "us")
        scale = SCALE.get(unit, 1)
        wishes = [now + step * scale for step in (1, -1)] if now is not None else []
        wishes.append((amount(least) // scale + 1) * scale)
        for wish in wishes:
            if amount(least) <= wish <= amount(most):
                return f"{wish // scale}{unit}" if unit else wish // scale
        return None
    if accepted == "yes or no":
        return "no" if default == "yes" else "yes"
    if accepted.startswith("permission bits"):
        return "0750"
    words = re.split(r", | or ", accepted)
    if all(re.fullmatch(r"[\w.-]+", word) for word in words) and len(words) > 1:
        return next(word for word in words if word != default)
    return None


def places(certificate, folder):
    """For each section, where its settings stand in a configuration: (path, mapping around it)."""
    tls = {"mode": "allow", "cert": str(certificate.cert), "key": str(certificate.key),
           "ca": str(certificate.cert)}
    log = {"to": "file", "path": str(folder / "target.log")}
    return {
        "The file itself": ((), {}),
        "listen[]": (("listen", 1), {}),
        "listen[].tls": (("listen", 1, "tls"), tls),
        "services.NAME": (("services", "spare"), {}),
        "services.NAME.tls": (("services", "spare", "tls"), {**tls, "mode": "require"}),
        "routes[]": (("routes", 0), {}),
        "databases.NAME": (("databases", "spare"), {}),
        "users.NAME": (("users", "spare"), {}),
        "failed_logins": (("failed_logins",), {}),
        "client_tcp": (("client_tcp",), {}),
        "server_tcp": (("server_tcp",), {}),
        "console": (("console",), {}),
        "log": (("log",), {}),
        "log.targets[]": (("log", "targets", 0), log),
    }


def base(postgres):
    config = configuration(postgres, shutdown_rate=5000)
    config["listen"].append({"host": "127.0.0.1", "port": free_port()})
    config["services"]["spare"] = {"hosts": ["127.0.0.1:1"], "tls": {"mode": "disable"}}
    config["routes"].insert(0, route(database="spare", service="spare"))
    return config


def put(config, path, around, key, value):
    """The configuration with a mapping at this path, and in it this key."""
    config = copy.deepcopy(config)
    at = config
    for step, following in zip(path, [*path[1:], None]):
        fresh = [] if isinstance(following, int) else {}
        if isinstance(at, list):
            if step == len(at):
                at.append(fresh)
            at = at[step]
        else:
            at = at.setdefault(step, fresh)
    at.update(around)
    at.update({} if key is None else {key: value})
    return config


def dotted(path, key):
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in (*path, key)).lstrip(".")


def shown(daemon):
    return {row["key"]: row["value"] for row in daemon.console("SHOW CONFIG")}


def remarks(daemon, config):
    """Loads a configuration, and returns what RELOAD has to say to it."""
    daemon.write(config)
    said = []
    with psycopg.connect(daemon.endpoint("trunkline", "admin").conninfo(), autocommit=True,
                         cursor_factory=psycopg.ClientCursor) as admin:
        admin.add_notice_handler(lambda notice: said.append(notice.message_primary))
        admin.execute("RELOAD")
    return "\n".join(said)


def judge(daemon, place, row):
    """None when what the manual says of the row holds, else what does not."""
    section, key, accepted, default, reloadable = row
    path, around = place
    before = put(daemon.base, path, around, None, None)
    value = another(accepted, default)
    if section == "The file itself" and key in before:  # as the test wants it, not the default
        value = another(accepted, str(before[key]).replace("True", "yes"))
    if value is None:
        return None
    try:
        daemon.reload(before)
    except psycopg.errors.ConfigFileError:
        return None  # it needs others beside it; a test of its own has them
    name = dotted(path, key)
    old = shown(daemon)[name]
    if old == str(value):
        return None
    try:
        said = remarks(daemon, put(before, path, {}, key, value))
    except psycopg.Error as error:
        return f"{name}: {value} is refused: {error}" if "problem" not in str(error) else None
    daemon.tried.add(name)
    stays = f"{name}: stays" in said
    new = shown(daemon)[name]
    if reloadable and (stays or new == old):
        return f"{name}: {value} is not taken over ({old}, {new})"
    if not reloadable and (not stays or new != old):
        return f"{name}: {value} is taken over, or nothing is said ({old}, {new})"
    return None


def test_every_setting_reloads_or_says_that_it_does_not(trunkline, postgres, certificate, tmp_path):
    daemon = trunkline(config=base(postgres))
    daemon.base, daemon.tried = copy.deepcopy(daemon.config), set()
    where = places(certificate, tmp_path)
    rows = manual()
    # A section that is not known here is a mapping of the file itself.
    wrong = [judge(daemon, where.get(row[0], ((row[0],), {})), row) for row in rows]
    assert [line for line in wrong if line] == []
    assert len(daemon.tried) > 80, daemon.tried
    # What the reload did not take over is what the next start does.
    relays = daemon.config["relays"]
    daemon.reload(dict(daemon.base, relays=relays + 1, chunk_size="128KiB"))
    assert (shown(daemon)["relays"], shown(daemon)["chunk_size"]) == (str(relays), "256KiB")
    daemon.stop()
    daemon.start()
    assert (shown(daemon)["relays"], shown(daemon)["chunk_size"]) == (str(relays + 1), "128KiB")


# --- a few of them by what they do ----------------------------------------------------------------


def changed(daemon, **keys):
    return dict(copy.deepcopy(daemon.config), **keys)


def test_a_lower_limit_of_clients_counts_at_once(trunkline):
    daemon = trunkline()
    with daemon.connect(), daemon.connect() as second:
        daemon.reload(changed(daemon, clients=2))
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            daemon.connect()
        assert second.execute("select 1").fetchone() == (1,)
    daemon.reload(changed(daemon, clients=10))
    assert daemon.endpoint().one("select 1") == 1


def test_a_shorter_login_timeout_holds_for_the_next_login(trunkline):
    daemon = trunkline(login_timeout="1h")
    daemon.reload(changed(daemon, login_timeout="100ms"))
    with daemon.endpoint().wire(login=False) as wire:
        assert seconds(wire.rest) < 5 * STRETCH


def test_a_lower_message_limit_refuses_the_next_long_message(trunkline):
    daemon = trunkline()
    statement = [w.parse("named", "select '" + "x" * 2_000_000 + "'"), w.SYNC]
    with daemon.endpoint().wire() as wire:
        assert "E" not in w.kinds(wire.ask(*statement))
    daemon.reload(changed(daemon, message_limit="1MiB"))
    with daemon.endpoint().wire() as wire:
        words = wire.last_words(*statement, shut=False)
        assert "54000" in [m.sqlstate for m in words if m.kind == "E"]


def test_more_memory_is_there_at_once(trunkline):
    daemon = trunkline(relays=2, memory_limit="16MiB", message_limit="16MiB")
    statement = [w.parse("named", "select '" + "x" * 10_000_000 + "'"), w.SYNC]
    with daemon.endpoint().wire() as wire:
        words = wire.last_words(*statement, shut=False)
        assert "53200" in [m.sqlstate for m in words if m.kind == "E"]
    daemon.reload(changed(daemon, memory_limit="64MiB"))
    with daemon.endpoint().wire() as wire:
        assert "E" not in w.kinds(wire.ask(*statement))


def test_core_dumps_are_allowed_and_forbidden(trunkline):
    daemon = trunkline()
    limits = Path(f"/proc/{daemon.program.pid}/limits")

    def soft():
        return re.search(r"Max core file size\s+(\w+)", limits.read_text()).group(1)

    allowed = soft()
    daemon.reload(changed(daemon, core_dumps=False))
    assert soft() == "0"
    daemon.reload(changed(daemon, core_dumps=True))
    assert soft() == allowed


def test_users_of_the_console_come_and_go(trunkline):
    daemon = trunkline()
    daemon.reload(changed(daemon, console={"users": ["admin", "app"]}))
    assert daemon.endpoint("trunkline", "app").one("show version")
    daemon.reload(changed(daemon, console={"users": ["admin"]}))
    with pytest.raises(psycopg.OperationalError):
        daemon.connect("trunkline", "app")


def test_the_end_that_was_set_last_is_the_one_that_comes(trunkline):
    daemon = trunkline(shutdown_timeout="1h")
    with daemon.endpoint().wire() as wire:
        wire.ask(w.query("begin"))
        daemon.reload(changed(daemon, shutdown_timeout="200ms"))
        daemon.program.send_signal(signal.SIGTERM)
        assert [m.sqlstate for m in wire.rest() if m.kind == "E"] == ["57P01"]
    assert daemon.program.wait() == 0


def test_two_reloads_at_once_are_two_reloads(trunkline):
    """Signals and the console's RELOAD meanwhile: one after the other, none is lost."""
    daemon = trunkline()
    before = len(re.findall("config.reloaded", daemon.log()))
    for _ in range(5):
        daemon.hangup()
        daemon.console("RELOAD")
    eventually(lambda: len(re.findall("config.reloaded", daemon.log())) >= before + 6)
    assert daemon.endpoint().one("select 1") == 1


def test_a_file_that_never_ends_to_be_read_fails_the_reload_and_no_later_one(trunkline):
    """A FIFO that nobody writes to: later reloads and the end of the daemon don't wait for it."""
    daemon = trunkline(include="conf.d/*.yaml")
    part = daemon.folder / "conf.d" / "a.yaml"
    part.parent.mkdir()
    os.mkfifo(part)
    with pytest.raises(psycopg.Error) as caught:
        daemon.console("RELOAD")
    assert "cannot read" in caught.value.diag.message_detail + caught.value.diag.message_primary
    assert "a.yaml: No data available" in caught.value.diag.message_detail
    part.unlink()
    part.write_text("login_timeout: 7s\n")
    daemon.reload()
    assert {row["key"]: row["value"] for row in daemon.console("SHOW CONFIG")}["login_timeout"] == "7s"
    daemon.stop()
