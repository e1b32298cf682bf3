"""psqlODBC through unixODBC, as programs on it do: prepared by the driver, SAVEPOINTs of its own."""
import os
import sys
import threading
from decimal import Decimal

import pyodbc

pyodbc.pooling = False

ASLEEP = ("select count(*) from pg_stat_activity"
          " where query = 'select pg_sleep(20)' and wait_event = 'PgSleep'")


def connect(**options):
    words = {"Driver": "PostgreSQL Unicode", "Servername": os.environ["PGHOST"],
             "Port": os.environ["PGPORT"], "Database": os.environ["PGDATABASE"],
             "UserName": os.environ["PGUSER"], "Password": os.environ["PGPASSWORD"],
             "MaxLongVarcharSize": "0", "TextAsLongVarchar": "1"}
    if "DRIVER_CA" in os.environ:
        words["SSLmode"] = "require"
    text = ";".join(f"{key}={value}" for key, value in words.items())
    return pyodbc.connect(text, autocommit=options.get("autocommit", True))


def one(connection, sql, *values):
    row = connection.execute(sql, *values).fetchone()
    return row[0]


def state(connection, sql):
    try:
        connection.execute(sql)
    except pyodbc.Error as error:
        return error.args[0]
    return "none"


def count(connection):
    return one(connection, "select count(*) from driver_rows")


def types(connection):
    row = connection.execute(
        "select ?::int8, ?::text, ?::bytea, ?::numeric, 1.5::float4, 0.1::float8,"
        " timestamp '2024-02-29 12:34:56.789', '{\"a\": [1, 2]}'::jsonb, '{1,NULL,3}'::int[],"
        " null::int, true", 9007199254740993, "grüße 'n \\", b"\xde\xad\x00\xef",
        Decimal("12345.6789")).fetchone()
    for value in row:
        print("types", repr(value))


def prepared(connection):
    cursor = connection.cursor()
    print("prepared.repeated",
          sum(cursor.execute("select ?::int", n).fetchone()[0] for n in range(1, 21)))
    cursors = [connection.cursor() for _ in range(200)]
    print("prepared.many", sum(cursor.execute(f"select ?::int * {n + 1}", 1).fetchone()[0]
                               for n, cursor in enumerate(cursors)))


def transactions(connection):
    connection.autocommit = False
    connection.execute("insert into driver_rows values (?)", 1)
    connection.commit()
    print("transactions.commit", count(connection))
    connection.execute("insert into driver_rows values (?)", 2)
    connection.rollback()
    print("transactions.rollback", count(connection))
    print("transactions.error", state(connection, "select 1/0"), state(connection, "select 1"))
    connection.rollback()
    print("transactions.after", count(connection))
    connection.rollback()
    connection.autocommit = True


def cancel_asleep(cursor):
    other = connect()
    while not one(other, ASLEEP):
        continue
    other.close()
    cursor.cancel()


def cancel(connection):
    cursor = connection.cursor()
    canceller = threading.Thread(target=cancel_asleep, args=(cursor,))
    canceller.start()
    try:
        cursor.execute("select pg_sleep(20)")
    except pyodbc.Error as error:
        print("cancel", error.args[0])
    canceller.join()  # until then another signal may be on its way
    print("cancel.after", one(connection, "select 1"))


def large(connection):
    text = "x" * int(os.environ["DRIVER_LARGE"])
    back, length = connection.execute("select t, length(t) from (select ?::text t) x",
                                      text).fetchone()
    print("large", length, "same" if back == text else "different")


def terminated(connection):
    print("terminated",
          state(connection, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)"))
    connection.close()
    connection = connect()
    print("terminated.after", one(connection, "select 1"))
    connection.close()


def work():
    connection = connect(autocommit=False)
    for _ in range(20):
        connection.execute("insert into driver_rows values (?)", 0)
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
    connection.execute("drop table driver_rows")
    connection.close()


def restart():
    connection = connect()
    one(connection, "select ?::int", 1)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(600):
        try:
            connection = connection or connect()
            one(connection, "select ?::int", 1)
            print("restart works")
            return
        except pyodbc.Error:
            connection = None


def main():
    connection = connect()
    connection.execute("drop table if exists driver_rows")
    connection.execute("create table driver_rows (n int)")
    types(connection)
    prepared(connection)
    transactions(connection)
    cancel(connection)
    large(connection)
    connection.execute("truncate driver_rows")
    terminated(connection)
    crowd()


restart() if "restart" in sys.argv else main()
