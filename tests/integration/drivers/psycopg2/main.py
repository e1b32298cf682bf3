"""psycopg2: the simple protocol, its own quoting, threads."""
import io
import os
import sys
import threading

import psycopg2
import psycopg2.extras
from psycopg2.extras import Json

psycopg2.extras.register_uuid()

ASLEEP = ("select count(*) from pg_stat_activity"
          " where query = 'select pg_sleep(20)' and wait_event = 'PgSleep'")


def connect():
    connection = psycopg2.connect("")
    connection.autocommit = True
    return connection


def one(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0] if cursor.description else None


def state(connection, sql):
    try:
        one(connection, sql)
    except psycopg2.Error as error:
        return error.pgcode or type(error).__name__
    return "none"


def count(connection):
    return one(connection, "select count(*) from driver_rows")


def types(connection):
    with connection.cursor() as cursor:
        cursor.execute("select %s, %s, %s, %s::bytea, 12345.6789, timestamp '2024-02-29 12:34:56.789',"
                       " timestamptz '2024-02-29 12:34:56+00', %s::jsonb, %s, %s, true, 1.5::float4,"
                       " '00000000-0000-0000-0000-00000000002a'::uuid",
                       (42, 9007199254740993, "grüße 'n \\", b"\xde\xad\x00\xef",
                        Json({"a": [1, 2]}), [1, None, 3], None))
        for column, value in zip(cursor.description, cursor.fetchone()):
            value = bytes(value) if isinstance(value, memoryview) else value
            print("types", column.type_code, repr(value))


def prepared(connection):
    one(connection, "prepare repeated as select $1::int")
    print("prepared.repeated",
          sum(one(connection, "execute repeated (%s)", (n,)) for n in range(1, 21)))
    one(connection, "deallocate repeated")
    print("prepared.many",
          sum(one(connection, f"select %s * {n}", (1,)) for n in range(1, 201)))


def transactions(connection):
    connection.autocommit = False
    one(connection, "insert into driver_rows values (1)")
    connection.commit()
    print("transactions.commit", count(connection))
    one(connection, "insert into driver_rows values (2)")
    connection.rollback()
    print("transactions.rollback", count(connection))
    print("transactions.error", state(connection, "select 1/0"), state(connection, "select 1"))
    connection.rollback()
    print("transactions.after", count(connection))
    connection.rollback()
    connection.autocommit = True


def copy(connection):
    one(connection, "truncate driver_rows")
    with connection.cursor() as cursor:
        cursor.copy_from(io.StringIO("".join(f"{n}\n" for n in range(1, 10001))), "driver_rows")
        print("copy.in", one(connection, "select sum(n) from driver_rows"))
        out = io.StringIO()
        cursor.copy_to(out, "driver_rows")
        print("copy.out", len(out.getvalue()))
        try:
            cursor.copy_from(io.StringIO("x\n"), "driver_rows")
        except psycopg2.Error as error:
            print("copy.refused", error.pgcode)


def cancel_asleep(connection):
    other = connect()
    while not one(other, ASLEEP):
        continue
    other.close()
    connection.cancel()


def cancel(connection):
    canceller = threading.Thread(target=cancel_asleep, args=(connection,))
    canceller.start()
    print("cancel", state(connection, "select pg_sleep(20)"))
    canceller.join()  # until then another signal may be on its way
    print("cancel.after", one(connection, "select 1"))


def large(connection):
    text = "x" * int(os.environ["DRIVER_LARGE"])
    with connection.cursor() as cursor:
        cursor.execute("select %(t)s, length(%(t)s)", {"t": text})
        back, length = cursor.fetchone()
    print("large", length, "same" if back == text else "different")


def terminated(connection):
    print("terminated",
          state(connection, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)"))
    connection.close()
    print("terminated.after", one(connect(), "select 1"))


def work():
    connection = connect()
    connection.autocommit = False
    for _ in range(20):
        one(connection, "insert into driver_rows values (0)")
        connection.commit()
    connection.close()


def crowd():
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection = connect()
    print("crowd", one(connection, "select count(*) from driver_rows where n = 0"))
    one(connection, "drop table driver_rows")


def restart():
    connection = connect()
    one(connection, "select 1")
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(600):
        try:
            if connection.closed:
                connection = connect()
            one(connection, "select 1")
            print("restart works")
            return
        except psycopg2.Error:
            continue  # the connection is lost; the next one waits for its answer


def main():
    connection = connect()
    one(connection, "drop table if exists driver_rows; create table driver_rows (n int)")
    types(connection)
    prepared(connection)
    transactions(connection)
    copy(connection)
    cancel(connection)
    large(connection)
    one(connection, "truncate driver_rows")
    terminated(connection)
    crowd()


restart() if "restart" in sys.argv else main()
