"""Clients of the simple protocol on one loop, which ask again and again and note how long it took."""
import asyncio
import struct

from . import wire as w


class Claimers:
    """`count` clients, each with a pause between its queries."""

    def __init__(self, port, count, pause, host="127.0.0.1"):
        self.host, self.port, self.pause = host, port, pause
        self.times, self.errors, self.lost = [], {}, 0
        self.over = False
        self.tasks = [asyncio.create_task(self.live()) for _ in range(count)]

    async def end(self):
        self.over = True
        await asyncio.gather(*self.tasks)

    def percentile(self, part):
        times = sorted(self.times)
        return times[min(int(len(times) * part), len(times) - 1)]

    async def live(self):
        while not self.over:
            try:
                reader, writer = await asyncio.open_connection(self.host, self.port)
                writer.write(w.startup_packet(user="app", database="app"))
                await self.until_ready(reader)
                while not self.over:
                    await self.ask(reader, writer)
                writer.close()
            except (asyncio.IncompleteReadError, OSError):
                self.lost += 1

    async def ask(self, reader, writer):
        loop = asyncio.get_running_loop()
        began = loop.time()
        writer.write(w.query("select 1"))
        state = await self.until_ready(reader)
        if state is None:
            self.times.append(loop.time() - began)
        else:
            self.errors[state] = self.errors.get(state, 0) + 1
        await asyncio.sleep(self.pause)

    async def until_ready(self, reader):
        """Returns the SQLSTATE of an error before ReadyForQuery, or None."""
        state = None
        while True:
            kind, size = struct.unpack(">ci", await reader.readexactly(5))
            body = await reader.readexactly(size - 4)
            if kind == b"E":
                state = w.Message(b"E", body).sqlstate
            if kind == b"Z":
                return state
