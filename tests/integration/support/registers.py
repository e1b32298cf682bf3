"""Registers: numbers in a database that only grow, and each way to write and to read one.

The k-th write of a register makes its answer k, whatever it does for that: a row, a table of the same name
in front, a policy, a role.  One writer at a time.  What is between two versions reads as the earlier one.
"""
import dataclasses
from collections.abc import Callable

READER, OWNER, SPECIAL = "reports", "app", "mallory"
PATH = "front, c"  # the search_path of readers
MANY = 100  # rows of the register of that name


class Elsewhere(str):
    """A statement that is given in another database: no log of this one tells of it."""


@dataclasses.dataclass(frozen=True)
class Register:
    setup: str
    read: str
    write: Callable  # (k) -> statements; strings, or (COPY statement, data)
    rows: int = 1  # of an answer; each has the number in its first column
    owner: bool = True  # the tables' owner may write it, by way of the daemon; else a superuser
    refused: bool = False  # even versions are that the reader has no right
    replanned: bool = True  # PostgreSQL plans named statements anew when the version changes
    prepares: bool = False  # a transaction, by the name `register`
    together: bool = False  # its statements may be one query, or a pipeline
    pace: int = 1  # how many times longer its writer waits between two versions


def one_row(name, more=""):
    return f"create table c.{name} (n bigint {more}); insert into c.{name} values (0)"


def updated(name):
    return f"update c.{name} set n = {{k}}"


def register(setup, read, *writes, odd=None, **options):
    """Statements with {k} in them; `odd` are those of odd versions, if they are others."""
    def write(k):
        chosen = odd if odd is not None and k % 2 else writes
        return [type(one)(one.format(k=k, side=k // 2 % 2, other=1 - k // 2 % 2)) for one in chosen]

    return Register(setup, read, write, **options)


ROWS = {
    "plain": register(one_row("plain"), "select n from c.plain", updated("plain")),
    "keyed": register("create table c.keyed (id int primary key, n bigint);"
                      "insert into c.keyed select id, 0 from generate_series(1, 50) id",
                      "select n from c.keyed where id = 7", "update c.keyed set n = {k} where id = 7"),
    "composite": register("create table c.composite (a text, b numeric, n bigint, primary key (a, b));"
                          "insert into c.composite select 'o''b', b, 0 from generate_series(0.5, 9.5) b",
                          "select n from c.composite where b = 1.50 and a = 'o''b'",
                          "update c.composite set n = {k} where a = 'o''b' and b = 1.5"),
    "rekeyed": register("create table c.rekeyed (id int primary key, n bigint);"
                        "insert into c.rekeyed values (7, 0), (8, 0)",
                        "select n from c.rekeyed where id = 7", "begin", "delete from c.rekeyed where id = 7",
                        "update c.rekeyed set id = 7, n = {k} where id = 8",
                        "insert into c.rekeyed values (8, 0)", "commit"),
    "emptied": register("create table c.emptied (id int primary key, n bigint); insert into c.emptied values (7, 0)",
                        "select n from c.emptied where id = 7", "begin", "truncate c.emptied",
                        "insert into c.emptied values (7, {k})", "commit"),
    "savepoints": register(one_row("savepoints"), "select n from c.savepoints", "begin", "savepoint x",
                           updated("savepoints"), "release x", "savepoint y",
                           "update c.savepoints set n = -1", "rollback to y", "commit"),
    "replica": register(one_row("replica"), "select n from c.replica", "begin",
                        "set local session_replication_role = replica", updated("replica"), "commit", owner=False),
    "many": register(f"create table c.many as select 0::bigint n, id, repeat('x', 300) filler"
                     f" from generate_series(1, {MANY}) id",
                     "select n, id, filler from c.many", updated("many"), rows=MANY),
    "pair": register(one_row("first") + ";" + one_row("second"),
                     "select n from c.first union all select n from c.second",
                     "begin", updated("first"), updated("second"), "commit", rows=2),
    "moved": register(one_row("moved"), "select n from c.moved", "begin", "delete from c.moved",
                      "insert into c.moved values ({k})", "commit"),
    "truncated": register(one_row("truncated"), "select n from c.truncated", "begin", "truncate c.truncated",
                          "insert into c.truncated values ({k})", "commit"),
    "trigger": register(one_row("source") + ";" + one_row("target") + """;
        create function c.follows() returns trigger language plpgsql as
            $$ begin update c.target set n = new.n; return null; end $$;
        create trigger follows after update on c.source for each row execute function c.follows()""",
                        "select n from c.target", updated("source")),
    "cascade": register("create table c.parent (n bigint primary key); insert into c.parent values (0);"
                        "create table c.child (n bigint references c.parent on update cascade);"
                        "insert into c.child values (0)", "select n from c.child", updated("parent")),
    "partition": register("create table c.parts (side int, n bigint) partition by list (side);"
                          "create table c.parts_0 partition of c.parts for values in (0);"
                          "create table c.parts_1 partition of c.parts for values in (1);"
                          "insert into c.parts values (0, 0)",
                          "select n from c.parts", "update c.parts set n = {k}, side = 1 - side"),
    "leaf": register("create table c.trees (side int, n bigint) partition by list (side);"
                     "create table c.trees_0 partition of c.trees for values in (0);"
                     "insert into c.trees values (0, 0)", "select n from c.trees", "update c.trees_0 set n = {k}"),
    "inherited": register("create table c.elder (n bigint); create table c.heir () inherits (c.elder);"
                          "insert into c.heir values (0)", "select max(n) from c.elder", updated("heir")),
    "viewed": register(one_row("behind") + "; create view c.viewed as select n from c.behind;"
                       "create rule through as on update to c.viewed do instead update c.behind set n = new.n",
                       "select n from c.viewed", updated("viewed")),
    "copied": Register("create table c.copied (n bigint primary key); insert into c.copied values (0)",
                       "select max(n) from c.copied", lambda k: [("copy c.copied from stdin", f"{k}\n")]),
}

ROWS = {name: one if name == "copied" else dataclasses.replace(one, together=True)
        for name, one in ROWS.items()}

PREPARED = {
    "prepared": register(one_row("prepared"), "select n from c.prepared", "begin", updated("prepared"),
                         "prepare transaction 'register'", "commit prepared 'register'", prepares=True),
}

CATALOG = {
    "constant": register("create view c.constant as select 0::bigint n", "select n from c.constant",
                         "create or replace view c.constant as select {k}::bigint n"),
    # An even version reads another table than the one before, and an odd one is a change of that one.
    "replaced": register(one_row("side_0") + ";" + one_row("side_1") + "; create view c.replaced as table c.side_0",
                         "select n from c.replaced", "update c.side_{side} set n = {k}",
                         "create or replace view c.replaced as table c.side_{side}",
                         odd=["update c.side_{side} set n = {k}"]),
    "renamed": register(one_row("renamed") + ";" + one_row("renamed_off"), "select n from c.renamed",
                        "update c.renamed_off set n = {k}", "begin", "alter table c.renamed rename to renamed_x",
                        "alter table c.renamed_off rename to renamed",
                        "alter table c.renamed_x rename to renamed_off", "commit",
                        odd=["update c.renamed set n = {k}"]),
    "rewritten": register(one_row("rewritten"), "select n from c.rewritten",
                          "alter table c.rewritten alter n type bigint using {k}"),
    "attached": register("create table c.tied (side int, n bigint) partition by list (side);"
                         "create table c.tied_0 partition of c.tied for values in (0);"
                         "create table c.tied_1 (side int, n bigint);"
                         "insert into c.tied values (0, 0); insert into c.tied_1 values (1, 0)",
                         "select max(n) from c.tied", "update c.tied_{side} set n = {k}",
                         "alter table c.tied attach partition c.tied_{side} for values in ({side})",
                         "alter table c.tied detach partition c.tied_{other}",
                         odd=["update c.tied_{side} set n = {k}"]),
    "hidden": register(one_row("hidden"), "select n from hidden",
                       "begin", "drop table if exists front.hidden",
                       "create table front.hidden as select {k}::bigint n", "commit",
                       odd=["update c.hidden set n = {k}", "drop table if exists front.hidden"],
                       replanned=False),
    "refreshed": register(one_row("fresh") + "; create materialized view c.refreshed as table c.fresh",
                          "select n from c.refreshed", updated("fresh"), "refresh materialized view c.refreshed"),
    "concurrent": register(one_row("live") + "; create materialized view c.concurrent as table c.live;"
                           "create unique index on c.concurrent (n)", "select n from c.concurrent",
                           updated("live"), "refresh materialized view concurrently c.concurrent"),
    "function": register("create function c.number() returns bigint language sql stable as 'select 0::bigint'",
                         "select c.number()",
                         "create or replace function c.number() returns bigint language sql stable as"
                         " 'select {k}::bigint'"),
    "policy": register("create table c.policed as select n from generate_series(0, 20000) n;"
                       "create index on c.policed (n); alter table c.policed enable row level security;"
                       "create policy seen on c.policed using (n <= 0)", "select max(n)::bigint from c.policed",
                       "alter policy seen on c.policed using (n <= {k})"),
}

ROLES = {
    "bypass": register("create table c.bypass (kind text, n bigint);"
                       "insert into c.bypass values ('open', 0), ('closed', 0);"
                       "alter table c.bypass enable row level security;"
                       "create policy open on c.bypass using (kind = 'open')",
                       "select max(n) from c.bypass", Elsewhere(f"alter role {READER} nobypassrls"),
                       "update c.bypass set n = {k} where kind = 'closed'",
                       Elsewhere(f"alter role {READER} bypassrls"),
                       odd=["update c.bypass set n = {k} where kind = 'open'"], owner=False,
                       replanned=False),
    "member": register(one_row("member") + f"; revoke select on c.member from {READER};"
                       f"grant select on c.member to {SPECIAL}", "select n from c.member",
                       Elsewhere(f"revoke {SPECIAL} from {READER}"),
                       odd=[updated("member"), Elsewhere(f"grant {SPECIAL} to {READER}")], owner=False,
                       refused=True),
    "rights": register(one_row("rights"), "select n from c.rights", f"revoke select on c.rights from {READER}",
                       odd=[updated("rights"), f"grant select on c.rights to {READER}"], owner=False,
                       refused=True),
}

FUNCTIONS = ["pg_catalog.pg_sleep", "c.number"]


def schema(registers):
    """The schema of these registers, whose owner is OWNER."""
    made = "; ".join(one.setup for one in registers.values())
    return f"""
drop schema if exists c cascade; drop schema if exists front cascade;
create schema c authorization {OWNER}; create schema front authorization {OWNER};
alter role {READER} nobypassrls; grant {SPECIAL} to {READER};
alter default privileges for role {OWNER}, postgres in schema c, front grant select on tables to {READER};
set role {OWNER};
grant usage on schema c, front to {READER};
{made};
reset role"""
