"""Many light servers that speak just enough of PostgreSQL's protocol, in a process of their own.

    crowd.py --count 200 --port 6000 --flapping 100 --up 2 --down 1 --delay 5

Server N listens at 127.1.0.N + 1 and PORT.  Lets everybody in and answers every query after DELAY
milliseconds.  The first FLAPPING servers go down again and again: each stays up and down for about
the times given, in seconds; when it goes down, its connections are reset.  SIGTERM ends it; then it
prints in JSON what the servers saw: the most connections at once, of one server and of all, and the
most logins within any second.
"""
import argparse
import asyncio
import bisect
import contextlib
import json
import random
import signal
import socket
import struct
import sys


def message(kind, body=b""):
    return kind + struct.pack(">i", len(body) + 4) + body


def parameter(name, value):
    return message(b"S", name + b"\0" + value + b"\0")


READY = message(b"Z", b"I")
HELLO = (message(b"R", struct.pack(">i", 0)) + parameter(b"server_version", b"15.0")
         + parameter(b"client_encoding", b"UTF8") + parameter(b"in_hot_standby", b"off")
         + message(b"K", struct.pack(">ii", 1, 2)) + READY)
ROW = (message(b"T", struct.pack(">h", 1) + b"n\0" + struct.pack(">ihihih", 0, 0, 23, 4, -1, 0))
       + message(b"D", struct.pack(">hi", 1, 1) + b"1") + message(b"C", b"SELECT 1\0") + READY)
EMPTY = message(b"I") + READY


def address(number):
    return f"127.1.0.{number + 1}"


class Server:
    def __init__(self, crowd, number):
        self.crowd, self.number = crowd, number
        self.open, self.most, self.logins, self.falls = set(), 0, [], 0
        self.listener = None

    async def start(self):
        self.listener = await asyncio.start_server(
            self.serve, address(self.number), self.crowd.port, backlog=64)

    async def fall(self):
        self.falls += 1
        self.listener.close()
        for writer in list(self.open):
            self.close(writer)

    def close(self, writer):
        """Counts first: the other side may connect elsewhere as soon as it is closed."""
        if writer in self.open:
            self.open.discard(writer)
            self.crowd.change(-1)
        writer.transport.abort()

    async def flap(self, up, down, chance):
        while True:
            await asyncio.sleep(up * chance.uniform(0.5, 1.5))
            await self.fall()
            await asyncio.sleep(down * chance.uniform(0.5, 1.5))
            await self.start()

    async def serve(self, reader, writer):
        self.open.add(writer)
        self.most = max(self.most, len(self.open))
        self.crowd.change(1)
        try:
            await self.session(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.close(writer)

    async def session(self, reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size, = struct.unpack(">i", await reader.readexactly(4))
        await reader.readexactly(size - 4)
        self.logins.append(asyncio.get_running_loop().time())
        writer.write(HELLO)
        while True:
            kind, size = struct.unpack(">ci", await reader.readexactly(5))
            body = await reader.readexactly(size - 4)
            if kind == b"X":
                return
            if kind != b"Q":
                continue
            if len(body) > 1:
                await asyncio.sleep(self.crowd.delay)
                self.crowd.queries += 1
            writer.write(ROW if len(body) > 1 else EMPTY)


def most_within(times, window):
    """The most points of time within any window of this length."""
    times = sorted(times)
    return max((bisect.bisect_left(times, at + window) - index
                for index, at in enumerate(times)), default=0)


class Crowd:
    def __init__(self, count, port, delay):
        self.port, self.delay = port, delay
        self.servers = [Server(self, number) for number in range(count)]
        self.open, self.most, self.queries = 0, 0, 0

    def change(self, by):
        self.open += by
        self.most = max(self.most, self.open)

    def report(self):
        logins = [at for server in self.servers for at in server.logins]
        return {"most_of_one": max(server.most for server in self.servers), "most": self.most,
                "queries": self.queries, "logins": len(logins),
                "logins_within_a_second": most_within(logins, 1),
                "logins_of_one_within_a_second": max(most_within(server.logins, 1)
                                                     for server in self.servers),
                "used": sum(1 for server in self.servers if server.logins),
                "falls": sum(server.falls for server in self.servers)}


async def main():
    parser = argparse.ArgumentParser()
    for name, kind in (("count", int), ("port", int), ("flapping", int), ("up", float),
                       ("down", float), ("delay", float)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    wants = parser.parse_args()
    crowd = Crowd(wants.count, wants.port, wants.delay / 1000)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    for server in crowd.servers:
        await server.start()
    flaps = [asyncio.create_task(server.flap(wants.up, wants.down, random.Random(server.number)))
             for server in crowd.servers[:wants.flapping]]
    print("ready", flush=True)
    await over.wait()
    for task in flaps:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    print(json.dumps(crowd.report()), flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
