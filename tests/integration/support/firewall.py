"""Routes with a firewall: those of user app have transaction pools, those of reports session pools."""
from . import wire as w
from .trunkline import route

DENIES = {"mode": "enforce", "deny": [
    {"name": "no-delete", "verbs": ["delete", "truncate", "drop"]},
    {"name": "no-secrets", "tables": ["firewall_secrets"]},
    {"name": "no-sleep", "functions": ["pg_sleep", "set_config"]},
]}
CREATE = ("drop table if exists firewalled, firewall_secrets;"
          "create table firewalled (number int); insert into firewalled values (1), (2);"
          "create table firewall_secrets (word text);"
          "grant all on firewalled, firewall_secrets to app, reports")
DROP = "drop table if exists firewalled, firewall_secrets"


def routes(firewall, **settings):
    return [route(user="reports", pool="session", firewall=firewall, **settings),
            route(firewall=firewall, **settings)]


def denied(answers):
    return [m.sqlstate for m in answers if m.kind == "E"] == ["42501"]


def quiet(wire, *messages):
    """The SQLSTATEs of the errors that messages are answered by."""
    return [m.sqlstate for m in wire.ask(*messages) if m.kind == "E"]


def rows(postgres):
    return postgres.one("select count(*) from firewalled")
