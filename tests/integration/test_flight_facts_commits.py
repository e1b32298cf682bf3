"""When others see what a session has committed, and what the session has been told by then."""
import threading

from support.patience import eventually
from support.wire import FLUSH, SYNC, bind, execute, kinds, parse, query


def extended(sql):
    return parse("", sql) + bind() + execute()


def seen(cluster):
    return cluster.one("select count(*) from done")


def table(cluster):
    cluster.sql("drop table if exists done cascade; create table done (n int primary key, m int);"
                "grant all on done to app")


def test_in_the_extended_protocol_the_command_is_complete_before_its_commit(postgres):
    """The commit is done by Sync: after CommandComplete nobody else sees the row yet."""
    table(postgres)
    with postgres.endpoint().wire() as writer:
        writer.send(extended("insert into done values (1)"), FLUSH)
        assert writer.until("C")[-1].tag == "INSERT 0 1"
        assert seen(postgres) == 0
        assert writer.ask(SYNC)[-1].body == b"I"
        assert seen(postgres) == 1


def test_a_commit_by_sync_may_fail_after_the_command_was_complete(postgres):
    table(postgres)
    postgres.sql("alter table done add foreign key (m) references done"
                 " deferrable initially deferred")
    with postgres.endpoint().wire() as writer:
        writer.send(extended("insert into done values (1, 2)"), FLUSH)
        assert writer.until("C")[-1].tag == "INSERT 0 1"
        answers = writer.ask(SYNC)
        assert answers[0].sqlstate == "23503"
        assert seen(postgres) == 0


def test_others_see_the_row_before_the_writer_reads_anything(postgres):
    table(postgres)
    with postgres.endpoint().wire() as writer:
        for number, message in enumerate([query("insert into done values (1)"),
                                          extended("insert into done values (2)") + SYNC], 1):
            writer.send(message)
            eventually(lambda number=number: seen(postgres) == number)
            assert writer.until("Z")[-1].body == b"I"


def test_a_commit_within_a_batch_is_seen_long_before_its_command_complete_comes(postgres):
    """The server keeps its answers until the batch ends or they fill its buffer."""
    table(postgres)
    with postgres.endpoint().wire() as writer:
        with postgres.endpoint().connect() as holder:
            holder.execute("select pg_advisory_lock(12)")
            writer.send(query("begin; insert into done values (1); commit;"
                              "select pg_advisory_lock(12)"))
            eventually(lambda: seen(postgres) == 1)
            assert writer.silent()
            holder.execute("select pg_advisory_unlock(12)")
        assert [m.tag for m in writer.until("Z") if m.kind == "C"] == [
            "BEGIN", "INSERT 0 1", "COMMIT", "SELECT 1"]


def test_a_batch_without_begin_commits_at_its_end(postgres):
    table(postgres)
    with postgres.endpoint().wire() as writer, postgres.endpoint().connect() as holder:
        holder.execute("select pg_advisory_lock(12)")
        writer.send(query("insert into done values (1); select pg_advisory_lock(12)"))
        eventually(lambda: postgres.sql("select 1 from pg_locks where locktype = 'advisory'"
                                        " and not granted"))
        assert seen(postgres) == 0
        holder.execute("select pg_advisory_unlock(12)")
        writer.until("Z")
        assert seen(postgres) == 1


def test_a_backend_whose_client_is_gone_still_commits(postgres):
    """A closed connection says nothing about its last write, until the backend is gone."""
    table(postgres)
    with postgres.endpoint().connect() as holder:
        holder.execute("begin")
        holder.execute("lock table done in share mode")
        with postgres.endpoint().wire() as writer:
            writer.send(query("insert into done values (1)"))
            eventually(lambda: postgres.sql("select 1 from pg_locks where pid = %s and not granted",
                                            writer.pid))
            pid = writer.pid
        assert postgres.sql("select 1 from pg_stat_activity where pid = %s", pid)
        holder.execute("commit")
    eventually(lambda: not postgres.sql("select 1 from pg_stat_activity where pid = %s", pid))
    assert seen(postgres) == 1


def test_a_session_without_outstanding_writes_reads_what_it_wrote(postgres):
    """A pipeline may hold a write and a read; the read comes after the write's commit or in it."""
    table(postgres)
    with postgres.endpoint().wire() as client:
        client.send(extended("insert into done values (1)"),
                    extended("select count(*) from done"), SYNC,
                    extended("insert into done values (2)"), SYNC,
                    extended("select count(*) from done"), SYNC)
        rows = [m.values for m in client.until("Z", times=3) if m.kind == "D"]
        assert rows == [[b"1"], [b"2"]]


def test_an_error_within_a_pipeline_undoes_the_writes_since_the_last_sync(postgres):
    table(postgres)
    with postgres.endpoint().wire() as client:
        answers = client.ask(extended("insert into done values (1)"), extended("select 1/0"), SYNC)
        assert kinds(answers) == "1 2 C 1 E Z", "its division is done when the plan is made"
        assert seen(postgres) == 0


def test_a_commit_is_seen_by_every_later_snapshot_once_its_answer_was_sent(postgres):
    table(postgres)
    done = threading.Event()
    wrong = []

    def read():
        with postgres.endpoint().connect() as reader:
            while not done.is_set():
                told = answered[0]
                found, = reader.execute("select count(*) from done").fetchone()
                if found < told:
                    wrong.append((found, told))

    answered = [0]
    reader = threading.Thread(target=read)
    reader.start()
    with postgres.endpoint().connect() as writer:
        for number in range(1, 200):
            writer.execute("insert into done values (%s)", (number,))
            answered[0] = number
    done.set()
    reader.join()
    assert wrong == []
