"""asyncpg: binary values, a cache of prepared statements, pools that reset what they give back."""
import asyncio
import io
import os
import sys

import asyncpg


async def state(connection, sql):
    try:
        await connection.fetch(sql)
    except asyncpg.PostgresError as error:
        return error.sqlstate
    except (asyncpg.InterfaceError, OSError) as error:
        return type(error).__name__
    return "none"


async def count(connection):
    return await connection.fetchval("select count(*) from driver_rows")


async def types(connection):
    row = await connection.fetchrow(
        "select $1::int8, $2::text, $3::bytea, 12345.6789::numeric, 1.5::float4, 0.1::float8,"
        " timestamp '2024-02-29 12:34:56.789', timestamptz '2024-02-29 12:34:56+00',"
        " '{\"a\": [1, 2]}'::jsonb, $4::int[], null::int, true,"
        " '00000000-0000-0000-0000-00000000002a'::uuid, row(1, 'x'), inet '10.0.0.1'",
        9007199254740993, "grüße 'n \\", b"\xde\xad\x00\xef", [1, None, 3])
    for value in row.values():
        print("types", repr(value))
    await connection.execute("create type mood as enum ('sad', 'happy')")
    print("types.enum", await connection.fetchval("select $1::mood[]", ["happy", "sad"]))
    await connection.execute("drop type mood")


async def prepared(connection):
    statement = await connection.prepare("select $1::int")
    print("prepared.repeated", sum([await statement.fetchval(n) for n in range(1, 21)]))
    many = [await connection.fetchval(f"select $1::int * {n}", 1) for n in range(1, 201)]
    print("prepared.many", sum(many))
    await connection.executemany("insert into driver_rows values ($1)", [(n,) for n in range(500)])
    print("prepared.batch", await count(connection))
    await connection.execute("truncate driver_rows")


async def transactions(connection):
    async with connection.transaction():
        await connection.execute("insert into driver_rows values (1)")
    print("transactions.commit", await count(connection))
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("insert into driver_rows values (2)")
    await transaction.rollback()
    print("transactions.rollback", await count(connection))
    transaction = connection.transaction()
    await transaction.start()
    print("transactions.error", await state(connection, "select 1/0"),
          await state(connection, "select 1"))
    await transaction.rollback()
    print("transactions.after", await count(connection))
    async with connection.transaction():
        numbers = [row[0] async for row in connection.cursor("select generate_series(1, 500)")]
    print("transactions.cursor", sum(numbers))


async def copy(connection):
    await connection.execute("truncate driver_rows")
    await connection.copy_records_to_table("driver_rows", records=[(n,) for n in range(1, 10001)])
    print("copy.in", await connection.fetchval("select sum(n) from driver_rows"))
    sink = io.BytesIO()
    await connection.copy_from_table("driver_rows", output=sink)
    print("copy.out", len(sink.getvalue()))
    try:
        await connection.copy_to_table("driver_rows", source=io.BytesIO(b"x\n"))
    except asyncpg.PostgresError as error:
        print("copy.refused", error.sqlstate)


async def cancel(connection):
    try:
        await connection.fetch("select pg_sleep(20)", timeout=0.2)
    except asyncio.TimeoutError:
        print("cancel timeout")
    print("cancel.after", await connection.fetchval("select 1"))
    print("cancel.statement", await state(
        connection, "select pg_cancel_backend(pg_backend_pid()), pg_sleep(20)"))


async def large(connection):
    text = "x" * int(os.environ["DRIVER_LARGE"])
    back, length = await connection.fetchrow("select $1::text, length($1::text)", text)
    print("large", length, "same" if back == text else "different")


async def terminated(connection):
    print("terminated", await state(
        connection, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)"))
    connection = await asyncpg.connect()
    print("terminated.after", await connection.fetchval("select 1"))
    await connection.close()


async def work(pool):
    for _ in range(20):
        async with pool.acquire() as connection:
            async with connection.transaction():
                await connection.execute("insert into driver_rows values ($1)", 0)


async def crowd():
    async with asyncpg.create_pool(min_size=2, max_size=4) as pool:
        await asyncio.gather(*(work(pool) for _ in range(8)))
        print("crowd", await pool.fetchval("select count(*) from driver_rows where n = 0"))
        await pool.execute("drop table driver_rows")


async def restart():
    async with asyncpg.create_pool(min_size=1, max_size=1) as pool:
        await pool.fetchval("select $1::int", 1)
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        for _ in range(600):
            try:
                await pool.fetchval("select $1::int", 1)
                print("restart works")
                return
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                continue  # the connection is lost; the next one waits for its answer


async def main():
    connection = await asyncpg.connect()
    await connection.execute("drop table if exists driver_rows; create table driver_rows (n int)")
    await types(connection)
    await prepared(connection)
    await transactions(connection)
    await copy(connection)
    await cancel(connection)
    await large(connection)
    await connection.execute("truncate driver_rows")
    await terminated(connection)
    await crowd()


asyncio.run(restart() if "restart" in sys.argv else main())
