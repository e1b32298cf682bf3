"""What the tests of failovers share: clients that write all the time, and what each server was told."""
import re
import threading
import time

import psycopg

from .patience import PATIENCE, eventually

# How clients may lose a transaction that runs when its server goes.  None: libpq's own error, when
# the connection has ended.
LOST = {"57P01", "08006", "08007", None}


def elected(daemon, server, times=1):
    eventually(lambda: len(re.findall(rf"primary\.elected .*backend=\S*:{server.port}\b",
                                      daemon.log())) >= times)


def told(server):
    """(epoch in ms, text) of each statement that clients sent to a server."""
    found = re.findall(r"^\d+ app@app (\d+)\.?(\d*) LOG:  (?:statement|execute \S+): (.*)$",
                       server.log(), re.M)
    return [(int(seconds) * 1000 + int((millis or "0").ljust(3, "0")), text)
            for seconds, millis, text in found if "recovery" not in text]


class Writers:
    """Clients that write all the time, and connect again after an error."""

    def __init__(self, daemon, count=6):
        self.daemon, self.ended = daemon, threading.Event()
        self.acknowledged, self.errors = [[] for _ in range(count)], []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        eventually(lambda: all(self.acknowledged))
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def run(self, worker):
        n = 0
        while not self.ended.is_set():
            try:
                with self.daemon.connect(autocommit=False) as client:
                    while not self.ended.is_set():
                        n += 1
                        client.execute(f"insert into t values ({worker}, {n})")
                        client.commit()
                        self.acknowledged[worker].append((time.time() * 1000, worker, n))
            except psycopg.Error as error:
                self.errors.append(error.sqlstate or error.diag.sqlstate)

    def all(self):
        return sorted(one for worker in self.acknowledged for one in worker)

    def resume(self, after, timeout=PATIENCE):
        """Waits until each writes again after this time, and returns when the first one did."""
        eventually(lambda: all(worker[-1][0] > after for worker in self.acknowledged), timeout)
        return min(one[0] for one in self.all() if one[0] > after)
