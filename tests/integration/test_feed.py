"""A feed (src/flight/feed.h) at real servers: what it raises and holds, and when a request may be served.

feed_run runs one feed and tells what its generations say.
"""
import os
import random
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest
from support.consistency import DISTURBED, FEEDS, releasing, repeating, terminating
from support.patience import eventually
from support.strict import client, lose_standby, prepare
from support.trunkline import TOP
from support.wire import Wire, query

RUN = Path(os.environ.get("TRUNKLINE_BUILD", TOP / "build" / "debug")) / "tests/unit/feed_run"
pytestmark = pytest.mark.skipif(not RUN.exists(), reason="a build without tests")

LONG = 15_000  # a timeout of tickets that no test waits for, ms
SCHEMA = """
drop schema if exists s cascade; create schema s;
create table s.a (n int primary key, w text); create table s.b (n int references s.a on delete cascade);
create table s.c (n int); insert into s.a values (1), (2); insert into s.b values (1);
create materialized view s.m as select * from s.a;
grant usage on schema s to app; grant all on all tables in schema s to app;
"""


class Feed:
    def __init__(self, cluster, timeout=LONG, database="app", login=("trusted",)):
        self.cluster, self.database = cluster, database
        user, *password = login
        self.program = subprocess.Popen([RUN, str(cluster.port), user, database, str(timeout), *password],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.epoch = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.program.stdin.close()
        assert self.program.wait(30) == 0

    def command(self, *words):
        self.program.stdin.write(" ".join(map(str, words)) + "\n")
        self.program.stdin.flush()
        return self.program.stdout.readline().rstrip("\n")

    def setup(self):
        self.program.stdin.write("setup\n")
        self.program.stdin.flush()
        return "".join(iter(self.program.stdout.readline, ".\n"))

    def follow(self):
        self.epoch += 1
        self.command("epoch", self.epoch)

    def state(self):
        """[state, epoch, reason]"""
        return self.command("state").split(" ", 2)

    def number(self, name):
        return int(self.command(name))

    def until(self, state, reason=""):
        def reached():
            now = self.state()
            assert now[0] == state and reason in now[2], now
            return now

        return eventually(reached)

    def start(self):
        """Follows the cluster until requests are answered."""
        self.follow()
        self.until("streaming")
        assert self.state()[1] == str(self.epoch)
        return self

    def ask(self, count=1):
        """How many of so many tickets were ready."""
        ready, bypassed = map(int, self.command("ask", count).split())
        assert ready + bypassed == count
        return ready

    def ready(self):
        assert self.ask() == 1

    def watch(self, *tables):
        return [self.command("watch", "s", table) for table in tables]

    def check(self, *tables):
        return [self.command("check", "s", table) for table in tables]

    def captures(self, *tables):
        """A ticket's probe settles what it sees; what was told later is settled soon."""
        eventually(lambda: self.watch(*tables) == ["captured"] * len(tables))


@pytest.fixture
def fed(logical):
    """A running feed over the tables of SCHEMA, all of which it has captured."""
    prepare(logical)
    logical.sql(SCHEMA)
    with Feed(logical) as feed:
        feed.start()
        feed.ready()
        feed.captures("a", "b", "c")
        yield feed


# -- what is raised


@pytest.mark.parametrize("statement, changed", [
    ("insert into s.a values (3)", "a"), ("update s.a set w = 'x' where n = 1", "a"),
    ("delete from s.c", ""), ("insert into s.c values (1); delete from s.c", "c"),
    ("delete from s.a where n = 1", "ab"), ("truncate s.a, s.b", "ab"), ("truncate s.c", "c"),
    ("begin; insert into s.c values (1); insert into s.b values (2); commit", "bc"),
    ("begin; insert into s.c values (1); rollback", ""),
    ("begin; insert into s.c values (1); savepoint x; insert into s.a values (5); rollback to x; commit", "c"),
    ("set session_replication_role = replica; insert into s.c values (1)", "c"),
    ("select pg_logical_emit_message(false, 'x', '')", ""),
    ("begin; insert into s.c values (1); select pg_logical_emit_message(true, 'x', ''); commit", "c")])
def test_a_request_behind_a_commit_finds_its_tables_changed_and_no_others(fed, statement, changed):
    before = fed.number("catalog")
    fed.cluster.sql(statement)
    fed.ready()
    assert fed.check("a", "b", "c") == ["changed" if name in changed else "current" for name in "abc"]
    assert fed.number("catalog") == before


def test_copy_is_told(fed):
    with client(fed.cluster) as writer, writer.cursor().copy("copy s.c from stdin") as copy:
        for number in range(5000):
            copy.write_row([number])
    fed.ready()
    assert fed.check("a", "b", "c") == ["current", "current", "changed"]
    assert fed.number("changes") >= 5000


@pytest.mark.parametrize("statement", [
    "create table s.d (n int)", "alter table s.a add x int", "drop table s.b", "create index on s.a (w)",
    "grant select on s.a to reports", "alter table s.a enable row level security",
    "create policy p on s.a using (false)", "create or replace view s.v as select 1",
    "begin; set local session_replication_role = replica; alter table s.a add x int; commit"])
def test_ddl_changes_the_whole_database_and_its_catalog(fed, statement):
    before = fed.number("catalog")
    fed.cluster.sql(statement)
    fed.ready()
    assert fed.check("a", "b", "c") == ["changed"] * 3
    assert fed.number("catalog") > before


@pytest.mark.parametrize("statement", [
    "refresh materialized view s.m", "analyze s.a", "cluster s.a using a_pkey", "reindex table s.a",
    "select pg_logical_emit_message(true, 'application', 'x')"])
def test_what_names_no_table_changes_the_whole_database(fed, statement):
    fed.cluster.sql(statement)
    fed.ready()
    assert fed.check("a", "b", "c") == ["changed"] * 3


@pytest.mark.parametrize("statement", [
    "select count(*) from s.a", "begin; create table s.d (n int); rollback",
    "create table if not exists s.a (n int)",
    "begin; create temp table gone (n int) on commit drop; insert into gone values (1); commit",
    "begin; create temp table gone (n int); drop table gone; commit"])
def test_what_changes_nothing_for_others_changes_no_table(fed, statement):
    fed.cluster.sql(statement)
    fed.ready()
    assert fed.check("a", "b", "c") == ["current"] * 3


def test_temporary_objects_change_nothing_but_their_end_with_the_session_may_be_anything(fed):
    """Nothing fires when a session ends with temporary tables: an empty transaction drops them."""
    with client(fed.cluster) as session:
        session.execute("create temp table gone (n int)")
        session.execute("create temp view seen as select * from s.a")
        session.execute("create index on gone (n)")
        session.execute("alter table gone add m int")
        session.execute("drop view seen")
        fed.ready()
        assert fed.check("a", "b", "c") == ["current"] * 3
    eventually(lambda: fed.ask() == 1 and fed.check("a", "b", "c") == ["changed"] * 3)


def test_ddl_beside_temporary_objects_is_told(fed):
    fed.cluster.sql("begin; create temp table gone (n int) on commit drop; alter table s.a add x int; commit")
    fed.ready()
    assert fed.check("a", "b", "c") == ["changed"] * 3


def test_the_setup_breaks_no_ddl_of_users_without_rights(fed):
    emit = "execute on function pg_logical_emit_message(boolean, text, text)"
    fed.cluster.sql(f"revoke {emit} from public; grant {emit} to trusted; grant create on schema s to app")
    try:
        with fed.cluster.endpoint().connect() as user:
            user.execute("create table s.mine (n int)")
            fed.ready()
            assert fed.check("a") == ["changed"]
            fed.captures("a")
            user.execute("drop table s.mine")
            fed.ready()
            assert fed.check("a") == ["changed"]
    finally:
        fed.cluster.sql(f"revoke {emit} from trusted; grant {emit} to public")


def test_other_databases_change_nothing(fed):
    fed.cluster.sql("create table if not exists x (n int); insert into x values (1)", database="session")
    fed.ready()
    assert fed.check("a", "b", "c") == ["current"] * 3


def test_a_row_longer_than_the_feed_keeps_is_a_change_of_anything(fed):
    fed.cluster.sql("insert into s.a values (9, repeat('x', 5000000)); insert into s.c values (1)")
    fed.ready()
    assert fed.check("a", "b", "c") == ["changed"] * 3
    fed.captures("a", "b", "c")
    fed.cluster.sql("insert into s.c values (2)")
    fed.ready()
    assert fed.check("a", "b", "c") == ["current", "current", "changed"]
    assert fed.state()[0] == "streaming" and fed.number("sessions") == 1


# -- positions


def test_an_asynchronous_commit_is_brought_by_a_marker(cluster):
    """Nothing else flushes it for a long time; the marker itself changes no table."""
    made = prepare(cluster(wal_level="logical", max_wal_senders=5, max_replication_slots=5,
                           synchronous_commit="on", wal_writer_delay="10s", wal_writer_flush_after="0",
                           checkpoint_timeout="1h"))
    made.sql(SCHEMA)
    with Feed(made) as feed, client(made, synchronous_commit="off") as writer:
        feed.start()
        for number in range(10, 30):
            feed.ready()
            feed.captures("a", "c")
            markers = feed.number("markers")
            writer.execute("insert into s.a values (%s)", (number,))
            feed.ready()
            assert feed.check("a", "c") == ["changed", "current"]
            assert feed.number("markers") > markers


def test_after_a_switch_of_the_log_file_requests_are_still_served(fed):
    """The end of the log is behind a page header that the feed does not reach: no marker is needed."""
    def switched():
        fed.cluster.sql("insert into s.c values (1)")
        markers = fed.number("markers")
        fed.cluster.sql("select pg_switch_wal()")
        fed.ready()
        return fed.number("markers") == markers

    eventually(switched)
    assert fed.number("bypasses") == 0


def test_a_thousand_requests_share_few_probes(fed):
    before = fed.number("probes")
    assert fed.ask(1000) == 1000
    assert fed.number("probes") - before < 100


def test_no_request_is_answered_by_a_probe_from_before_it(fed):
    """While another client's requests keep the probes busy: what was committed before a request is
    changed after it."""
    assert fed.command("noise") == "ok"
    with client(fed.cluster) as writer:
        for number in range(100, 400):
            fed.captures("a")
            writer.execute("insert into s.a values (%s)", (number,))
            assert fed.ask(3) == 3
            assert fed.check("a") == ["changed"]


def test_a_request_is_bypassed_when_its_time_is_over(logical):
    prepare(logical)
    with Feed(logical, timeout=200) as feed:
        feed.start()
        feed.ready()
        stopped = logical.one("select pid from pg_stat_activity where application_name = 'trunkline probe'")
        os.kill(stopped, 19)
        try:
            assert feed.ask(3) == 0
            eventually(lambda: feed.number("bypasses") == 3)
        finally:
            os.kill(stopped, 18)
        eventually(lambda: feed.ask() == 1)


# -- decoded before visible


@pytest.fixture
def alone(cluster):
    """A cluster of the test's own: lose_standby() makes its commits wait."""
    made = prepare(cluster(wal_level="logical", max_wal_senders=5, max_replication_slots=5,
                           synchronous_commit="on", max_prepared_transactions=5))
    made.sql(SCHEMA)
    return made


def waiting(cluster, pid):
    return cluster.sql("select 1 from pg_stat_activity where pid = %s and wait_event = 'SyncRep'", pid)


def writes(wire, cluster, statement):
    wire.startup("postgres", "app")
    wire.send(query(statement))
    eventually(lambda: waiting(cluster, wire.pid))


def test_a_commit_that_waits_for_a_standby_is_unsettled_until_others_see_it(alone):
    lose_standby(alone)
    with Feed(alone) as feed, Wire(str(alone.folder), alone.port) as writer:
        feed.start()
        feed.captures("a", "c")
        writes(writer, alone, "insert into s.a values (7)")
        feed.ready()
        assert feed.check("a", "c") == ["changed", "current"]
        for _ in range(10):
            feed.ready()
            assert feed.watch("a", "c") == ["held", "captured"]
        assert feed.number("unsettled") == 1
        with client(alone, synchronous_commit="local") as local:
            local.execute("insert into s.c values (1)")
            feed.ready()
            feed.captures("c")
        assert feed.watch("a") == ["held"]
        alone.sql("select pg_cancel_backend(%s)", writer.pid)
        writer.until("Z")
        feed.ready()
        assert feed.watch("a") == ["captured"]
        assert feed.number("unsettled") == 0


def test_a_role_that_is_changed_elsewhere_is_noticed_when_it_is_visible(alone):
    """Its commit is in the log long before, so the end of the log does not tell."""
    lose_standby(alone)
    with Feed(alone) as feed, Wire(str(alone.folder), alone.port) as writer:
        feed.start()
        feed.ready()
        writer.startup("postgres", "postgres")
        writer.send(query("alter role app createdb"))
        eventually(lambda: waiting(alone, writer.pid))
        for _ in range(3):
            feed.ready()
        feed.captures("a")
        feed.ready()
        assert feed.check("a") == ["current"]
        alone.sql("select pg_cancel_backend(%s)", writer.pid)
        writer.until("Z")
        feed.ready()
        assert feed.check("a") == ["changed"]


def test_a_prepared_transaction_is_unsettled_by_its_second_phase(alone):
    alone.sql("begin; insert into s.a values (8); prepare transaction 'one'")
    with Feed(alone) as feed, Wire(str(alone.folder), alone.port) as writer:
        feed.follow()
        feed.until("creating")
        alone.sql("rollback prepared 'one'")
        feed.until("streaming")
        alone.sql("begin; insert into s.a values (8); prepare transaction 'two'")
        feed.ready()
        feed.captures("a")
        lose_standby(alone)
        writes(writer, alone, "commit prepared 'two'")
        feed.ready()
        assert feed.check("a") == ["changed"]
        assert feed.watch("a") == ["held"]
        alone.sql("select pg_cancel_backend(%s)", writer.pid)
        writer.until("Z")
        feed.ready()
        assert feed.watch("a") == ["captured"]


def test_what_was_decoded_by_nobody_and_is_not_visible_yet_holds_up_a_new_session(alone):
    """The session is lost while a commit waits for a standby, and a new slot doesn't tell of it."""
    lose_standby(alone)
    with Feed(alone) as feed, Wire(str(alone.folder), alone.port) as writer:
        feed.start()
        feed.captures("a")
        writes(writer, alone, "insert into s.a values (7)")
        terminate(alone, "trunkline feed")
        eventually(lambda: feed.number("failures") > 0 or feed.state()[0] != "streaming")
        assert feed.watch("a") == ["held"]
        for _ in range(20):
            assert feed.ask() == 0
        assert feed.state()[0] in ("connecting", "creating", "proving", "failed")
        alone.sql("select pg_cancel_backend(%s)", writer.pid)
        writer.until("Z")
        feed.until("streaming")
        feed.ready()
        feed.captures("a")


def locked(cluster, pid):
    """Whether the creation of a slot waits for this session's transaction."""
    return cluster.sql("""select 1 from pg_locks w join pg_locks h using (transactionid)
        join pg_stat_activity a on a.pid = w.pid where not w.granted and h.granted and h.pid = %s
        and w.locktype = 'transactionid' and a.application_name = 'trunkline feed'""", pid)


def test_a_commit_before_the_slot_begins_that_is_seen_later_holds_up_the_session(alone):
    """It began after the last transactions for which the creation waits, and its commit was logged
    before the slot is consistent: no slot tells of it."""
    with Feed(alone) as feed, Wire(str(alone.folder), alone.port) as writer, \
            client(alone) as first, client(alone) as second:
        first.execute("begin")
        first.execute("insert into s.c values (1)")
        feed.follow()
        eventually(lambda: locked(alone, first.info.backend_pid))
        second.execute("begin")
        second.execute("insert into s.c values (1)")
        first.execute("rollback")
        eventually(lambda: locked(alone, second.info.backend_pid))
        lose_standby(alone)
        writes(writer, alone, "insert into s.a values (7)")
        second.execute("rollback")
        feed.until("proving")
        eventually(lambda: feed.number("probes") > 5)
        assert feed.state()[0] == "proving" and feed.number("changes") == 0
        assert feed.watch("a") == ["held"] and feed.ask() == 0
        alone.sql("select pg_cancel_backend(%s)", writer.pid)
        writer.until("Z")
        feed.until("streaming")
        assert feed.number("changes") == 0


# -- what no log tells


@pytest.mark.parametrize("change, back", [
    ("alter role app bypassrls", "alter role app nobypassrls"),
    ("grant app to reports", "revoke app from reports"),
    ("alter role app set search_path = s", "alter role app reset search_path"),
    ("alter database app set timezone = 'Asia/Tokyo'", "alter database app reset timezone"),
    ("create role more", "drop role more"),
    ("alter role app in database app set work_mem = '5MB'", "alter role app in database app reset work_mem")])
def test_a_change_of_roles_or_defaults_changes_everything(fed, change, back):
    """Made in another database, whose log tells nothing here."""
    for statement in (change, back):
        before = fed.number("catalog"), fed.number("digests")
        fed.cluster.sql(statement, database="session")
        fed.ready()
        assert fed.check("a", "b", "c") == ["changed"] * 3
        assert (fed.number("catalog"), fed.number("digests")) == (before[0] + 1, before[1] + 1)
        fed.captures("a", "b", "c")


@pytest.mark.parametrize("before, change, back", [
    ("", "alter role app bypassrls", "alter role app nobypassrls"),
    ("grant app to reports", "grant app to reports with admin option",
     "revoke admin option for app from reports"),
    ("alter role app set search_path = s", "alter role app set search_path = t",
     "alter role app set search_path = s")])
def test_a_change_that_was_undone_between_two_probes_is_noticed_where_a_row_is_left(
        fed, before, change, back):
    try:
        fed.cluster.sql(before)
        fed.ready()
        fed.captures("a")
        fed.cluster.sql(change, database="session")
        fed.cluster.sql(back, database="session")
        fed.ready()
        assert fed.check("a") == ["changed"]
    finally:
        fed.cluster.sql("revoke app from reports; alter role app reset all")


def test_a_reload_of_the_configuration_changes_everything(fed):
    fed.cluster.sql("select pg_reload_conf()")
    eventually(lambda: fed.ask() == 1 and fed.number("digests") == 1)
    assert fed.check("a", "b", "c") == ["changed"] * 3


# -- all together

KINDS = {
    "plain": ["update s.k set n = n + 1 where id = 0"],
    "asynchronous": ["set synchronous_commit = off", "update s.k set n = n + 1 where id = 1"],
    "prepared": ["begin", "update s.k set n = n + 1 where id = 2", "prepare transaction 'k'",
                 "commit prepared 'k'"],
    "savepoints": ["begin", "savepoint x", "update s.k set n = n + 1 where id = 3", "release x",
                   "insert into s.c values (1)", "commit"],
    "moved": ["begin", "delete from s.k where id = 4",
              "insert into s.k values (4, (select n + 1 from s.moves)); update s.moves set n = n + 1", "commit"],
    "rewritten": ["begin", "create temp table r on commit drop as table s.one", "truncate s.one",
                  "insert into s.one select n + 1 from r", "commit"],
    "late": ["set synchronous_commit = on", "update s.k set n = n + 1 where id = 6"],
}


class Checker:
    """A cache of one answer in front of a feed, and writers that it does not see."""

    def __init__(self, feed):
        self.feed, self.stop = feed, threading.Event()
        self.over = self.stop
        self.acknowledged = [0] * len(KINDS)  # each has one writer
        self.seen = [0] * len(KINDS)  # by requests that were executed
        self.failed = []

    def write(self, number, statements):
        choose = random.Random(number)
        try:
            with client(self.feed.cluster, synchronous_commit="local") as writer:
                while not self.stop.wait(choose.uniform(0, 0.04)):
                    for statement in statements:
                        writer.execute(statement)
                    self.acknowledged[number] += 1
        except psycopg.Error as error:
            self.failed.append(error)

    # -- what support.consistency asks of a run

    def primary(self):
        return self.feed.cluster

    def event(self, text):
        pass

    # -- the reader

    def read(self, reader):
        answer = dict(reader.execute("select id, n from s.k union all select 5, n from s.one").fetchall())
        self.seen = [max(answer[n], least) for n, least in enumerate(self.seen)]
        return answer

    def check(self, done):
        """Each request gets an answer that has all that was acknowledged before it; returns the hits."""
        stored, hits = None, 0
        with client(self.feed.cluster) as reader:
            while not done():
                before = list(map(max, self.acknowledged, self.seen))
                ready = self.feed.ask() == 1
                if ready and stored is not None and self.feed.check("k", "one") == ["current"] * 2:
                    answer, hits = stored, hits + 1
                else:
                    captured = self.feed.watch("k", "one") == ["captured"] * 2
                    answer = self.read(reader)
                    stored = answer if captured else None
                late = {n: (answer[n], least) for n, least in enumerate(before) if answer[n] < least}
                assert not late, f"answers older than their requests: {late}, {hits} hits"
        return hits


def test_no_answer_from_memory_is_older_than_its_request(alone):
    alone.sql("create table s.k (id int primary key, n bigint); create table s.moves (n bigint);"
              f"insert into s.k select id, 0 from generate_series(0, {len(KINDS) - 1}) id where id <> 5;"
              "create table s.one (n bigint); insert into s.one values (0); insert into s.moves values (0)")
    lose_standby(alone)
    with Feed(alone, timeout=1000) as feed:
        feed.start()
        feed.command("noise")
        checker = Checker(feed)
        threads = [threading.Thread(target=checker.write, args=(number, statements))
                   for number, statements in enumerate(KINDS.values())]
        others = [threading.Thread(target=other, args=(checker,))
                  for other in (releasing, repeating(*DISTURBED), terminating(FEEDS, pause=3))]
        for thread in threads + others:
            thread.start()
        try:
            hits = checker.check(lambda: checker.failed or min(checker.acknowledged) >= 60
                                 and feed.number("sessions") >= 4)
        finally:
            checker.stop.set()
            alone.sql("alter system reset synchronous_standby_names")
            alone.sql("select pg_reload_conf()")
            for thread in threads + others:
                thread.join()
        assert not checker.failed
        assert hits > 5  # on a busy machine most probes are late


# -- what ends a session


def terminate(cluster, name):
    assert cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
                       name) == [(True,)]


@pytest.mark.parametrize("name", ["trunkline feed", "trunkline probe"])
def test_a_lost_connection_changes_everything_and_a_new_one_serves_again(fed, name):
    terminate(fed.cluster, name)
    eventually(lambda: fed.number("sessions") == 2)
    assert fed.check("a", "b", "c") == ["changed"] * 3
    fed.ready()
    fed.captures("a")
    fed.cluster.sql("insert into s.a values (77)")
    fed.ready()
    assert fed.check("a") == ["changed"]


def test_while_there_is_no_connection_nothing_is_served_or_captured(fed):
    fed.cluster.stop()
    eventually(lambda: fed.state()[0] == "failed")
    assert fed.check("a", "b", "c") == ["held"] * 3 or fed.check("a") == ["changed"]
    assert fed.watch("a", "b") == ["held"] * 2
    assert fed.ask(10) == 0
    fed.cluster.start()
    fed.until("streaming")
    assert fed.check("a", "b", "c") == ["changed"] * 3
    fed.ready()


def test_the_creation_waits_for_an_open_write_transaction(logical):
    prepare(logical)
    logical.sql(SCHEMA)
    with Feed(logical) as feed, client(logical) as writer:
        writer.execute("begin")
        writer.execute("insert into s.a values (50)")
        feed.follow()
        feed.until("creating")
        assert feed.ask(5) == 0
        assert feed.watch("a") == ["held"]
        writer.execute("commit")
        feed.until("streaming")
        feed.ready()


def test_a_creation_that_waits_is_given_up_at_the_server_too(logical):
    """The server doesn't notice that the connection is closed, so it is told to cancel."""
    prepare(logical)
    logical.sql(SCHEMA)
    slots = "select count(*) from pg_replication_slots"
    with Feed(logical) as feed, client(logical) as writer:
        writer.execute("begin")
        writer.execute("insert into s.a values (51)")
        feed.follow()
        feed.until("creating")
        eventually(lambda: logical.one(slots) == 1)
        feed.command("pause")
        feed.until("paused")
        eventually(lambda: logical.one(slots) == 0)
        writer.execute("rollback")


def test_a_paused_feed_lets_go_of_its_slot_so_that_the_database_can_be_dropped(logical):
    logical.sql("create database short")
    prepare(logical, "short")
    with Feed(logical, database="short") as feed:
        feed.start()
        with pytest.raises(psycopg.errors.ObjectInUse):
            logical.sql("drop database short with (force)")
        feed.until("streaming")
        feed.command("pause")
        feed.until("paused")
        assert feed.ask() == 0
        feed.command("resume")
        feed.until("streaming")
        feed.command("pause")
        feed.until("paused")
        eventually(lambda: not logical.sql("select 1 from pg_replication_slots"))
        logical.sql("drop database short with (force)")


def test_a_new_source_voids_what_was_known_of_the_old_one(fed):
    fed.follow()
    eventually(lambda: fed.state()[:2] == ["streaming", "2"])
    assert fed.check("a", "b", "c") == ["changed"] * 3
    fed.ready()
    assert fed.number("sessions") == 2


def test_a_standby_cannot_feed(replication):
    cluster = replication(replicas=1)
    prepare(cluster.primary)
    eventually(lambda: cluster.replicas[0].one("select rolreplication from pg_roles where rolname = 'trusted'"))
    with Feed(cluster.replicas[0]) as feed:
        feed.follow()
        feed.until("failed", "standby")


def test_without_its_level_of_log_the_feed_says_so(cluster):
    made = prepare(cluster(wal_level="replica", max_wal_senders=5))
    with Feed(made) as feed:
        feed.follow()
        feed.until("failed", "wal_level = logical")
        assert feed.ask() == 0


def test_both_connections_log_in_with_a_password(logical):
    """Without any right but REPLICATION; a wrong password is told as the server says it."""
    prepare(logical)
    logical.sql("alter role reports replication")
    with Feed(logical, login=("reports", "reports")) as feed:
        feed.start().ready()
    with Feed(logical, login=("reports", "wrong")) as feed:
        feed.follow()
        feed.until("failed", "password authentication failed")


def test_without_the_right_to_replicate_the_feed_says_so(logical):
    prepare(logical)
    logical.sql("alter role trusted noreplication")
    with Feed(logical) as feed:
        feed.follow()
        feed.until("failed", "replication")


def test_without_its_event_triggers_the_feed_does_not_start(logical):
    prepare(logical)
    for change in ("alter event trigger trunkline_feed_ddl disable",
                   "alter event trigger trunkline_feed_drop enable",
                   "drop event trigger trunkline_feed_drop",
                   "drop function trunkline.feed_digest()"):
        logical.sql(change)
        with Feed(logical) as feed:
            feed.follow()
            feed.until("failed", "event triggers")
        prepare(logical)
    with Feed(logical) as feed:
        feed.start()


@pytest.mark.parametrize("change", ["alter event trigger trunkline_feed_ddl disable",
                                    "drop event trigger trunkline_feed_drop",
                                    "drop function trunkline.feed_digest()"])
def test_event_triggers_that_go_away_end_the_session(fed, change):
    fed.cluster.sql(change)
    fed.ask()
    fed.until("failed")
    assert fed.watch("a") == ["held"]
    prepare(fed.cluster)
    fed.until("streaming")
