"""psycopg 3 as it comes: statements are prepared from their fifth use on; pipelines; asyncio."""
import asyncio
import os
import sys
import threading
import uuid
from decimal import Decimal

import psycopg
from psycopg.types.json import Jsonb

ASLEEP = ("select count(*) from pg_stat_activity"
          " where query = 'select pg_sleep(20)' and wait_event = 'PgSleep'")


def connect():
    return psycopg.connect("", autocommit=True)


def one(connection, sql, values=None, **options):
    cursor = connection.execute(sql, values, **options)
    return cursor.fetchone()[0] if cursor.description else None


def state(connection, sql):
    try:
        one(connection, sql)
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__
    return "none"


def count(connection):
    return one(connection, "select count(*) from driver_rows")


def types(connection):
    for binary in (False, True):
        cursor = connection.execute(
            "select %s, %s, %s, %s, %s, timestamp '2024-02-29 12:34:56.789',"
            " timestamptz '2024-02-29 12:34:56+00', %s, %s, %s, true, 1.5::float4, %s",
            (42, 9007199254740993, "grüße 'n \\", b"\xde\xad\x00\xef", Decimal("12345.6789"),
             Jsonb({"a": [1, 2]}), [1, None, 3], None, uuid.UUID(int=42)), binary=binary)
        for column, value in zip(cursor.description, cursor.fetchone()):
            print("types", column.type_code, repr(value))


def prepared(connection):
    print("prepared.repeated", sum(one(connection, "select %s::int", (n,)) for n in range(1, 21)))
    print("prepared.kept", len(connection._prepared._names))
    many = [one(connection, f"select %s::int * {n}", (1,)) for n in range(1, 201)]
    print("prepared.many", sum(many))
    connection.prepared_max = 3  # beyond it the oldest is given up by DEALLOCATE
    beyond = [one(connection, f"select %s::int + {n}", (1,)) for _ in range(2)
              for n in range(10) for _ in range(7)]
    print("prepared.beyond", sum(beyond), len(connection._prepared._names))


def transactions(connection):
    with connection.transaction():
        one(connection, "insert into driver_rows values (1)")
    print("transactions.commit", count(connection))
    with connection.transaction(force_rollback=True):
        one(connection, "insert into driver_rows values (2)")
    print("transactions.rollback", count(connection))
    with connection.transaction(force_rollback=True):
        print("transactions.error", state(connection, "select 1/0"), state(connection, "select 1"))
    with connection.transaction():
        with connection.transaction(force_rollback=True):
            one(connection, "insert into driver_rows values (3)")
    print("transactions.after", count(connection))


def copy(connection):
    one(connection, "truncate driver_rows")
    cursor = connection.cursor()
    with cursor.copy("copy driver_rows from stdin") as sink:
        for n in range(1, 10001):
            sink.write_row((n,))
    print("copy.in", one(connection, "select sum(n) from driver_rows"))
    with cursor.copy("copy driver_rows to stdout") as source:
        print("copy.out", sum(len(block) for block in source))
    with cursor.copy("copy driver_rows to stdout (format binary)") as source:
        print("copy.binary", sum(len(block) for block in source))
    try:
        with cursor.copy("copy driver_rows from stdin") as sink:
            sink.write("x\n")
    except psycopg.Error as error:
        print("copy.refused", error.sqlstate)


def cancel_asleep(connection):
    with connect() as other:
        while not one(other, ASLEEP):
            continue
    connection.cancel()


def cancel(connection):
    canceller = threading.Thread(target=cancel_asleep, args=(connection,))
    canceller.start()
    print("cancel", state(connection, "select pg_sleep(20)"))
    canceller.join()  # until then another signal may be on its way
    print("cancel.after", one(connection, "select 1"))


def large(connection):
    text = "x" * int(os.environ["DRIVER_LARGE"])
    back, length = connection.execute("select %(t)s::text, length(%(t)s)", {"t": text}).fetchone()
    print("large", length, "same" if back == text else "different")


def pipeline(connection):
    with connection.pipeline():
        cursors = [connection.execute("select %s::int", (n,)) for n in range(200)]
    print("pipeline.sum", sum(cursor.fetchone()[0] for cursor in cursors))
    try:
        with connection.pipeline():
            for text in ("select 1", "select 1/0", "select 2"):
                connection.execute(text)
    except psycopg.Error as error:
        print("pipeline.error", error.sqlstate)
    with connection.pipeline(), connection.transaction():
        for n in range(50):
            connection.execute("insert into driver_rows values (%s)", (-n,))
    print("pipeline.after", one(connection, "select count(*) from driver_rows where n < 0"))


async def asynchronous():
    async with await psycopg.AsyncConnection.connect("", autocommit=True) as connection:
        total = 0
        for n in range(20):
            cursor = await connection.execute("select %s::int", (n,))
            total += (await cursor.fetchone())[0]
        print("async.sum", total)
        async with connection.cursor(name="held") as cursor:
            try:
                await cursor.execute("select 1")
            except psycopg.Error as error:
                print("async.cursor", error.sqlstate)
        async with connection.transaction():
            async with connection.cursor(name="named") as cursor:
                await cursor.execute("select n from generate_series(1, 1000) n")
                print("async.named", sum([row[0] async for row in cursor]))
        task = asyncio.create_task(connection.execute("select pg_sleep(20)"))
        await asyncio.to_thread(cancel_asleep, connection)
        try:
            await task
        except psycopg.Error as error:
            print("async.cancel", error.sqlstate)


def terminated(connection):
    print("terminated",
          state(connection, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)"))
    connection.close()
    with connect() as connection:
        print("terminated.after", one(connection, "select 1"))


def work():
    with connect() as connection:
        for _ in range(20):
            with connection.transaction():
                one(connection, "insert into driver_rows values (%s)", (0,))


def crowd():
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connect() as connection:
        print("crowd", one(connection, "select count(*) from driver_rows where n = 0"))
        one(connection, "drop table driver_rows")


def restart():
    connection = connect()
    for n in range(10):
        one(connection, "select %s::int", (n,))
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(600):
        try:
            if connection.closed:
                connection = connect()
            one(connection, "select %s::int", (1,))
            print("restart works")
            return
        except psycopg.Error:
            continue  # the connection is lost; the next one waits for its answer


def main():
    connection = connect()
    one(connection, "drop table if exists driver_rows")
    one(connection, "create table driver_rows (n int)")
    types(connection)
    prepared(connection)
    transactions(connection)
    copy(connection)
    cancel(connection)
    large(connection)
    pipeline(connection)
    one(connection, "truncate driver_rows")
    asyncio.run(asynchronous())
    terminated(connection)
    crowd()


restart() if "restart" in sys.argv else main()
