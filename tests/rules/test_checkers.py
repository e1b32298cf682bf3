"""The checkers of documents find what is wrong, and pass what is right."""
import pytest
from examples import unknown_keys, wrong_examples
from pages import (anchors, broken_links, console_statements, fences, unknown_files,
                   unknown_names, unnamed_blocks, wrong_commands, wrong_console)
from tree import TOP

PAGE = TOP / "docs" / "page.md"
MANUAL = (TOP / "docs" / "console.md").read_text()
USAGE = {"check": "usage: trunkline check FILE [--match DATABASE USER ADDRESS]", "run": "FILE"}


@pytest.mark.parametrize("link", ["nowhere.md", "#no-such-heading", "../README.md#nowhere",
                                  "internals/nowhere.md", "architecture.md#layrs"])
def test_a_link_that_leads_nowhere_is_found(link):
    assert len(broken_links(PAGE, f"# A page\n\nSee [this]({link}).\n")) == 1


@pytest.mark.parametrize("link", ["README.md", "#a-page", "architecture.md#layers", "../README.md",
                                  "https://example.org/nowhere"])
def test_a_link_that_leads_somewhere_is_not(link):
    assert broken_links(PAGE, f"# A page\n\nSee [this]({link}).\n") == []


def test_headings_make_the_anchors_that_readers_of_markdown_make():
    text = "# `listen[]`, and more\n## Twice\n## Twice\n```sh\n# no heading\n```\n## [A](b.md) b\n"
    assert anchors(text) == {"listen-and-more", "twice", "twice-1", "a-b"}


@pytest.mark.parametrize("name", ["src/nowhere.c", "tests/integration/nowhere", "nowhere.c",
                                  "docs/nowhere.md"])
def test_a_file_that_does_not_exist_is_found(name):
    assert len(unknown_files(PAGE, f"In `{name}`.\n", {"main.c"})) == 1


@pytest.mark.parametrize("name", ["src/main.c", "machine/os.h", "main.c", "tests/rules",
                                  "build/trunkline", "a/b", "tests/rules/*"])
def test_a_file_that_exists_or_is_none_is_not(name):
    assert unknown_files(PAGE, f"In `{name}`.\n", {"main.c"}) == []


def test_a_name_that_the_code_does_not_have_is_found():
    text = "`co_wait(by)`, `no_such(x)` and `tests/unit/no_such.c`; plain no_such."
    assert unknown_names(PAGE, text, {"co_wait"}) == ["page.md: no_such"]


@pytest.mark.parametrize("line", ["./dev nosuch", "trunkline nosuch file", "sudo trunkline chekc x",
                                  "trunkline check --nosuch x", "A=1 build/trunkline rn x",
                                  "true && ./dev nosuch", "trunkline run x | trunkline nosuch",
                                  "trunkline check 'x"])
def test_a_command_that_does_not_exist_is_found(line):
    text = f"Text.\n\n```sh\n# a comment\n{line}   # what it does\n```\n"
    assert len(wrong_commands(PAGE, text, {"run"}, USAGE)) == 1


@pytest.mark.parametrize("line", ["./dev run --server x", "trunkline check x --match a b c",
                                  "sudo -u postgres trunkline run x", "echo trunkline nosuch",
                                  "trunkline check \\\n  x", "trunkline COMMAND --help"])
def test_a_command_that_exists_is_not(line):
    assert wrong_commands(PAGE, f"```sh\n{line}\n```\n", {"run"}, USAGE) == []


def test_a_command_between_backticks_is_looked_at_too():
    text = "Say `trunkline nosuch x` or `./dev nosuch`, `trunkline run x`."
    assert len(wrong_commands(PAGE, text, {"run"}, USAGE)) == 2


@pytest.mark.parametrize("statement", [
    "SHOW NOSUCH", "SHWO POOLS", "SHOW POOLS WHERE nosuch = 1", "SET nosuch = 1",
    "SHOW CLIENTS WHERE wait > 1 AND nosuch = 'x'", "SHOW POOLS ORDER BY nosuch DESC"])
def test_a_statement_that_the_console_does_not_know_is_found(statement):
    shown = (f"```sql console\nSHOW POOLS;\n{statement};\n```\n",
             f"```sh\npsql -p 6432 -U admin trunkline -c \"{statement}\"\n```\n",
             f"```sh\npsql \"port=6432 dbname=pgbouncer\" -c \"{statement}\"\n```\n")
    for text in shown:
        assert len(wrong_console(PAGE, text, MANUAL, {"clients"})) == 1, text


@pytest.mark.parametrize("statement", [
    "SHOW POOLS", "show pools", "SHOW CLIENTS WHERE wait > 1 ORDER BY wait DESC LIMIT 3", "RELOAD",
    "KILL_CLIENT x", "SET clients = 3", "PAUSE app"])
def test_a_statement_that_the_console_knows_is_not(statement):
    text = f"```sql console\n{statement};   -- so\n```\n"
    assert console_statements(text) == [statement]
    assert wrong_console(PAGE, text, MANUAL, {"clients"}) == []


def test_a_view_between_backticks_is_looked_at_too():
    text = "`SHOW POOLS`, `SHOW POOOLS` and PostgreSQL's `SHOW server_version`."
    assert len(wrong_console(PAGE, text, MANUAL, set())) == 1


def test_a_block_without_a_language_is_found():
    assert len(unnamed_blocks(PAGE, "```\nwhat?\n```\n\n```sh\ntrue\n```\n")) == 1
    assert len(unnamed_blocks(PAGE, "So:\n\n    what?\n")) == 1
    assert unnamed_blocks(PAGE, "* So:\n\n    and on.\n") == []


def test_blocks_within_lists_are_blocks():
    assert fences("* a\n\n  ```yaml\n  user: x\n  ```\n")[0].body == "user: x\n"


@pytest.mark.parametrize("body", [
    "usr: trunkline\n", "clients: many\n", "listen: [{port: 70000}]\n", "routes: [{service: x}]\n",
    "log: {level: loud}\n", "a: [\n", "relays: 1\nrelays: 2\n", "shutdown_delay: 5\n"])
def test_a_configuration_that_cannot_be_run_is_found(body, trunkline, tmp_path):
    assert len(wrong_examples(PAGE, f"```yaml\n{body}```\n", trunkline, tmp_path)) == 1


@pytest.mark.parametrize("body", [
    "user: daemon\n", "listen: [{host: \"*\", tls: {mode: require, cert: a.crt, key: /etc/a.key}}]\n",
    "auth_file: /etc/nowhere/users.txt\n", "hba_file: hba.conf\nroutes: [{service: main, auth: hba}]\n",
    "auth_query: {user: lookup, password: {env: APP_PASSWORD}}\n"])
def test_a_configuration_that_can_be_run_is_not(body, trunkline, tmp_path):
    assert wrong_examples(PAGE, f"```yaml\n{body}```\n", trunkline, tmp_path) == []


def test_a_fragment_is_not_run_but_its_keys_must_exist(trunkline, tmp_path):
    text = "```yaml fragment\npool: session\nnosuch: {pool_size: 3, neither: 4}\n```\n"
    assert wrong_examples(PAGE, text, trunkline, tmp_path) == []
    assert len(unknown_keys(PAGE, text, {"pool", "pool_size"})) == 2
